//! What the real Sloth makes of a spec.

use std::{collections::BTreeMap, process::Command, time::Duration};

use serde::Deserialize;
use slod::time::parse_duration;

/// The rules of one SLO.
#[derive(Default)]
pub struct Rules {
    /// Its alert windows, shortest first.
    pub windows: Vec<Rule>,
    pub period: Option<Rule>,
    pub metadata: Vec<Rule>,
    pub alerts: Vec<Rule>,
}

#[derive(Clone, Deserialize)]
pub struct Rule {
    #[serde(default)]
    pub record: String,
    pub expr: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

/// Flags by which it asks for the whole period what it asks for the other windows.
pub const WITHOUT_AVERAGES: &[&str] = &[
    "--disable-default-slo-plugins",
    r#"--slo-plugins={"id":"sloth.dev/core/sli_rules/v1","config":{"disableOptimized":true}}"#,
];

const PERIOD: &str = "30d";

/// The rules for each SLO of a file, by the id that Sloth gives it.
pub fn generate(spec: &str, flags: &[&str]) -> BTreeMap<String, Rules> {
    let program = std::env::var_os("SLOTH");
    let program = program.expect("SLOTH does not say where Sloth is; run `make test-peers`");
    let output = Command::new(program).args(["generate", "--input", spec]).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file: File = serde_saphyr::from_str(std::str::from_utf8(&output.stdout).unwrap()).unwrap();
    let mut all = BTreeMap::<String, Rules>::new();
    for Group { name, rules } in file.groups {
        let (kind, id) = ["sli-recordings", "meta-recordings", "alerts"]
            .into_iter()
            .find_map(|kind| Some((kind, name.strip_prefix(&format!("sloth-slo-{kind}-"))?)))
            .unwrap_or_else(|| panic!("Sloth has a group {name}"));
        all.entry(id.to_owned()).or_default().add(kind, rules);
    }
    all
}

// === impl Rules ===

impl Rules {
    fn add(&mut self, kind: &str, rules: Vec<Rule>) {
        match kind {
            "alerts" => self.alerts = rules,
            "meta-recordings" => self.metadata = rules,
            _ => {
                let (mut period, windows): (Vec<Rule>, _) =
                    rules.into_iter().partition(|rule| rule.window_text() == PERIOD);
                (self.period, self.windows) = (period.pop(), windows);
            }
        }
    }
}

// === impl Rule ===

impl Rule {
    pub fn window(&self) -> Duration {
        parse_duration(self.window_text()).unwrap()
    }

    pub fn window_text(&self) -> &str {
        &self.labels["sloth_window"]
    }

    pub fn severity(&self) -> &str {
        &self.labels["sloth_severity"]
    }

    /// The same question without extrapolation: what a counter grew since its last sample before the window.
    pub fn anchored(&self) -> String {
        let range = format!("[{}]", self.window_text());
        self.expr.replace(&range, &format!("{range} anchored"))
    }
}
