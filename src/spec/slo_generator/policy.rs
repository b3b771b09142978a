//! Error budget policies, which slo-generator has in a configuration that SLOs share.
//!
//! A policy is a list of steps: windows, each with a burn rate that is too much. Its longest window is the period of
//! the SLOs that follow it. What else is in that configuration is not for slod.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    slo::{self, Budgeting, BurnRateAlert},
    spec::{
        reader::{Fields, Reader, WINDOW_MAX, unknown},
        yaml::{Node, Value},
    },
    time::format_duration,
};

const POLICIES: &str = "error_budget_policies";
const POLICY: &str = "error_budget_policy";
const SECTIONS: [&str; 4] = ["backends", "exporters", "default_exporters", POLICIES];

// The policy of SLOs that name none.
const DEFAULT: &str = "default";

// slo-generator's examples alert where someone is to defend the SLO at once; their other steps do not alert.
const SEVERITY: &str = "page";

// SRE workbook, chapter 5: a good short window is 1/12 of the long one. slo-generator has none, and its alerts last
// as long as their window after the errors stopped.
const LONG_BY_SHORT: u32 = 12;

// Of SLOs without a policy: the SRE workbook's, whose alerts it comes with.
const PERIOD: Duration = Duration::from_secs(30 * 86_400);

/// Policies by name; those with an error are no more than known.
#[derive(Debug, Default)]
pub(in crate::spec) struct Policies(BTreeMap<String, Option<Policy>>);

/// What an SLO takes over from its policy.
#[derive(Clone, Debug)]
pub(super) struct Policy {
    pub(super) period: Duration,
    pub(super) alerts: Vec<BurnRateAlert>,
}

/// A window of a policy.
struct Step {
    window: Duration,
    alert: Option<BurnRateAlert>,
}

/// Whether a document is a shared configuration: it has no other head than its sections.
pub(in crate::spec) fn is_config(document: &Node) -> bool {
    let Value::Map(entries) = &document.value else { return false };
    let has = |name: &str| entries.iter().any(|(key, _)| key.name == name);
    SECTIONS.iter().any(|section| has(section))
        && !["apiVersion", "kind", "version"].iter().any(|head| has(head))
}

// === impl Policies ===

impl Policies {
    /// Adds the policies of a shared configuration. Of those with the same name the first is kept.
    pub(in crate::spec) fn read(&mut self, reader: &mut Reader<'_>, config: &Node) {
        let Some(fields) = reader.fields_or_ignored(config, &SECTIONS, super::TOOL) else { return };
        let policies = fields.get(POLICIES).and_then(|node| reader.map(node)).unwrap_or_default();
        for (key, node) in policies {
            let policy = reader.checked(|reader| read_policy(reader, node));
            if self.0.contains_key(&key.name) {
                reader.warn(key.at, format!("policy {} is already defined; this one is not used", key.name));
            } else {
                self.0.insert(key.name.clone(), policy);
            }
        }
    }

    /// The policy of an SLO; `None` if there are no policies at all, or if it is reported.
    pub(super) fn of(&self, reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<&Policy> {
        let name = spec.scalar(POLICY).unwrap_or(DEFAULT);
        match self.0.get(name) {
            Some(Some(policy)) => return Some(policy),
            Some(None) => {
                let message =
                    format!("error budget policy {name} has an error; without it there is no window");
                reader.error(spec.place(POLICY), message);
            }
            None if self.0.is_empty() => {}
            None => {
                let known: Vec<&str> = self.0.keys().map(String::as_str).collect();
                reader.error(spec.place(POLICY), unknown("error budget policy", name, &known));
            }
        }
        None
    }
}

// === impl Policy ===

impl Policy {
    pub(super) fn of_workbook() -> Self {
        Self { period: PERIOD, alerts: slo::workbook_alerts(PERIOD, Budgeting::Occurrences) }
    }
}

fn read_policy(reader: &mut Reader<'_>, node: &Node) -> Option<Policy> {
    let fields = reader.fields_or_ignored(node, &["steps"], super::TOOL)?;
    let node = reader.required(&fields, "steps")?;
    let items = reader.list(node)?;
    let mut steps: Vec<Step> = Vec::new();
    for item in items {
        let Some(step) = read_step(reader, item) else { continue };
        if steps.iter().any(|other| other.window == step.window) {
            let window = format_duration(step.window);
            reader.error(item.at, format!("another step has the window {window}, too; drop one of them"));
        }
        steps.push(step);
    }
    let Some(period) = steps.iter().map(|step| step.window).max() else {
        reader.error(node.at, "policy has no steps, and so no window");
        return None;
    };
    Some(Policy { period, alerts: steps.into_iter().filter_map(|step| step.alert).collect() })
}

fn read_step(reader: &mut Reader<'_>, node: &Node) -> Option<Step> {
    let known = ["name", "window", "burn_rate_threshold", "alert", "message_alert", "message_ok"];
    let fields = reader.fields_or_ignored(node, &known, super::TOOL)?;
    let window = read_window(reader, &fields);
    let node = reader.required(&fields, "burn_rate_threshold");
    let factor = node.and_then(|node| reader.number(node, "burn_rate_threshold"));
    let is_on = reader.optional_flag(&fields, "alert");
    let (window, factor) = (window?, factor?);
    Some(Step { window, alert: is_on.then(|| alert(window, factor)) })
}

fn read_window(reader: &mut Reader<'_>, step: &Fields<'_>) -> Option<Duration> {
    let node = reader.required(step, "window")?;
    let seconds = reader.number(node, "window")?;
    if !(1.0..=WINDOW_MAX.as_secs_f64()).contains(&seconds) {
        reader.error(
            node.at,
            format!("window must be from 1 to {} seconds (90d); got {seconds}", WINDOW_MAX.as_secs()),
        );
        return None;
    }
    Some(Duration::from_secs_f64(seconds))
}

fn alert(window: Duration, factor: f64) -> BurnRateAlert {
    BurnRateAlert {
        name: None,
        min_total_events: 0.0,
        severity: SEVERITY.to_owned(),
        short: window / LONG_BY_SHORT,
        long: window,
        factor,
        for_: Duration::ZERO,
        keep_firing_for: Duration::ZERO,
        min_bad_events: slo::default_min_bad_events(SEVERITY, Budgeting::Occurrences),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
    }
}
