//! Public specs, where they are at hand: everything that its own tool accepts is read and streamed.
//!
//! Prints which shapes of queries there are and what became of them, and fails when less is read than before.
//! Without the files it says so; the fixtures of the readers and of `promql` have every shape themselves.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use slod::{
    promql::{Asked, Settings, Template, compile},
    slo::{Indicator, Threshold, ThresholdOp},
    spec,
};

/// Files with errors, and what is said of them: templates that nobody filled in, plugins whose code is elsewhere,
/// and what Pyrra refuses, too.
const REFUSED: [(&str, &str); 13] = [
    ("pyrra/056.yaml", "unknown field `latency`"),
    ("pyrra/063.yaml", "template"),
    ("pyrra/064.yaml", "template"),
    ("pyrra/065.yaml", "template"),
    ("sloth/014.yaml", "unknown SLI plugin `getting_started_availability`"),
    ("sloth/024.yaml", "unknown SLI plugin `integration_test`"),
    ("sloth/053.yaml", "objective must be a percentage such as 99.9; got \"ERROR_OBJECTIVE\""),
    ("sloth/116.yaml", "template"),
    ("sloth/117.yaml", "template"),
    ("sloth/118.yaml", "template"),
    ("sloth/119.yaml", "template"),
    ("sloth/144.yaml", "its error ratio is made up"),
    ("sloth/152.yaml", "its error ratio is made up"),
];

// What was read when this was written.
const FILES_MIN: usize = 141;
const SLOS_MIN: usize = 144;
const STREAMED_MIN: f64 = 0.97;

const TEMPLATE: Template = Template { text: "9871ms", range: Duration::from_millis(9_871) };

/// What became of queries of one shape.
#[derive(Default)]
struct Outcomes {
    counted: usize,
    sampled: usize,
    refused: usize,
}

#[test]
fn public_specs_are_read() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let files = specs(&directory);
    println!("{} files below {}", files.len(), directory.display());
    if files.is_empty() {
        return;
    }
    assert!(files.len() >= FILES_MIN);
    let mut all = Outcomes::default();
    for path in &files {
        let name = path.strip_prefix(&directory).unwrap().display().to_string();
        let read = spec::read(&name, &fs::read_to_string(path).unwrap());
        // Excerpts are in no format; their queries are tried below.
        if name.contains(".snippet.") {
            continue;
        }
        let errors: Vec<String> =
            read.diagnostics.iter().filter(|d| d.is_error()).map(ToString::to_string).collect();
        match REFUSED.iter().find(|(refused, _)| *refused == name) {
            None => assert!(errors.is_empty(), "{errors:#?}"),
            Some((_, reason)) => {
                assert!(errors.iter().any(|error| error.contains(reason)), "{name}: {errors:#?}")
            }
        }
        read.slos.iter().for_each(|slo| all.note(Some(&slo.indicator)));
    }
    println!("SLOs: {} counted, {} sampled", all.counted, all.sampled);
    assert!(all.counted + all.sampled >= SLOS_MIN, "{}", all.counted + all.sampled);
}

#[test]
fn public_queries_are_streamed() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/expressions.tsv");
    let Ok(table) = fs::read_to_string(&table) else {
        return println!("there is no {}", table.display());
    };
    let rows: Vec<Vec<String>> = table.lines().skip(1).map(row).collect();
    let (mut shapes, mut refused) = (BTreeMap::<&str, Outcomes>::new(), Vec::new());
    let mut rows = rows.iter().filter(|row| row[2] != "TPL" && row[3] != "pyrra").peekable();
    while let Some(row) = rows.next() {
        let is_pair = matches!(row[1].as_str(), "error" | "good")
            && rows.peek().is_some_and(|next| next[0] == row[0] && next[1] == "total" || next[1] == "valid");
        let second = if is_pair { rows.next().map(|row| row[2].clone()) } else { None };
        // A total without its part.
        if matches!(row[1].as_str(), "total" | "valid") {
            continue;
        }
        let compiled = compiled(row, second.as_deref());
        let outcomes =
            shapes.entry(shape(&format!("{} {}", row[2], second.unwrap_or_default()))).or_default();
        outcomes.note(compiled.as_ref().ok());
        refused.extend(compiled.err().map(|error| format!("{} {}: {error}", row[0], row[2])));
    }
    let (mut streamed, mut all) = (0, 0);
    println!("{:<34}{:>9}{:>9}{:>9}", "shape", "counted", "sampled", "refused");
    for (shape, Outcomes { counted, sampled, refused }) in &shapes {
        println!("{shape:<34}{counted:>9}{sampled:>9}{refused:>9}");
        streamed += counted + sampled;
        all += counted + sampled + refused;
    }
    let share = streamed as f64 / all as f64;
    println!("{streamed} of {all} streamed");
    assert!(share >= STREAMED_MIN, "{share} of {all}\n{refused:#?}");
}

fn compiled(row: &[String], second: Option<&str>) -> Result<Indicator, String> {
    let fill = |text: &str| text.replace("{{.window}}", TEMPLATE.text).replace("[window]", "[9871ms]");
    let (first, second) = (fill(&row[2]), second.map(fill));
    let has_template =
        [Some(&first), second.as_ref()].into_iter().flatten().any(|text| text.contains(TEMPLATE.text));
    let limit = Threshold { op: ThresholdOp::Less, bound: 1.0 };
    let asked = match (row[1].as_str(), &second) {
        ("error", Some(total)) => Asked::BadOfTotal(&first, total),
        ("good", Some(total)) => Asked::GoodOfTotal(&first, total),
        ("threshold", _) => Asked::Condition(&first, limit),
        ("raw_error_ratio", _) => Asked::BadRatio(&first),
        _ => Asked::GoodRatio(&first),
    };
    let settings = Settings {
        template: has_template.then_some(TEMPLATE),
        counts_bare_selectors: row[3] == "openslo",
        pull_interval: None,
    };
    compile(asked, settings).map(|compiled| compiled.indicator).map_err(|refusal| refusal.to_string())
}

/// The shapes that occur, the rarest first that a query has.
fn shape(query: &str) -> &'static str {
    let has = |part: &str| query.to_lowercase().contains(part);
    match () {
        () if has("histogram_quantile") => "quantile",
        () if has(":]") || has("m]:") || has("window}}:") => "subquery",
        () if has("_over_time") => "samples of gauges",
        () if has("clamp") => "clamped",
        () if has("vector(") => "or vector(…)",
        () if has("_bucket") => "bucket",
        () if has(" by ") || has(")by") => "grouped",
        () if has(" - ") => "difference",
        () => "counters",
    }
}

/// The cells of a line: tabs between them, quotes around those with quotes in them, doubled.
fn row(line: &str) -> Vec<String> {
    let cell = |cell: &str| match cell.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => cell.to_owned(),
    };
    line.split('\t').map(cell).collect()
}

fn specs(directory: &Path) -> Vec<PathBuf> {
    let list = |directory: &Path| {
        let entries = fs::read_dir(directory).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect::<Vec<_>>()
    };
    let mut files: Vec<PathBuf> = list(directory).iter().flat_map(|path| list(path)).collect();
    files.sort();
    files
}

// === impl Outcomes ===

impl Outcomes {
    fn note(&mut self, indicator: Option<&Indicator>) {
        match indicator {
            Some(Indicator::Counted(_)) => self.counted += 1,
            Some(Indicator::Sampled(_)) => self.sampled += 1,
            Some(Indicator::Pulled(_)) | None => self.refused += 1,
        }
    }
}
