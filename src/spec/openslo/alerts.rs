//! OpenSLO's alert policies: who is told when a budget burns too fast.
//!
//! A policy has one condition with one window, but a burn rate is judged over two (SRE workbook, chapter 5). Two
//! policies that differ only in their windows are therefore one alert with both, and a policy that stands alone
//! gets a short window of 1/12 of its own.

use std::{collections::BTreeMap, time::Duration};

use super::{Catalog, Named, envelope, window};
use crate::{
    slo::{self, BurnRateAlert, Objective},
    spec::{
        alerting,
        reader::{Fields, Place, Reader, unknown},
        slices,
        yaml::{Node, Value},
    },
    time::format_duration,
};

/// What an object of kind AlertCondition says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    severity: String,
    factor: f64,
    lookback: Duration,
    after: Duration,
}

/// What an object of kind AlertPolicy says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy {
    condition: Condition,
    /// The names of who is told.
    targets: Vec<String>,
    labels: Strings,
    annotations: Strings,
}

/// An alert of an SLO, whatever the objective.
#[derive(Debug)]
pub(super) struct Burn {
    policy: Policy,
    /// Where the SLO names the policy.
    at: Place,
    /// The short window, if another policy says it.
    short: Option<Duration>,
}

/// A reference, or what stands in its place.
enum Given<'n> {
    Reference(&'n Node),
    Inline(&'n Node),
}

type Strings = BTreeMap<String, String>;

// The only kind of condition.
const KIND: &str = "burnrate";

/// The label that says who is told, for routes.
const TARGET_LABEL: &str = "notification_target";

// SRE workbook, chapter 5: a good short window is 1/12 of the long one.
const LONG_BY_SHORT: u32 = 12;

const CONDITION: [&str; 3] = ["description", "severity", "condition"];
const TARGET: [&str; 2] = ["target", "description"];
const POLICY: [&str; 6] = [
    "description",
    "alertWhenNoData",
    "alertWhenResolved",
    "alertWhenBreaching",
    "conditions",
    "notificationTargets",
];

// === objects ===

/// Reads an object of kind AlertNotificationTarget.
pub(super) fn read_target(reader: &mut Reader<'_>, root: &Node) -> Option<()> {
    let spec = envelope::read(reader, root, &TARGET)?.spec;
    reader.required_text(&spec, "target").map(|_| ())
}

/// Reads an object of kind AlertCondition.
pub(super) fn read_condition(reader: &mut Reader<'_>, root: &Node) -> Option<Condition> {
    let spec = envelope::read(reader, root, &CONDITION)?.spec;
    read_condition_spec(reader, &spec)
}

/// Reads an object of kind AlertPolicy.
pub(super) fn read_policy(reader: &mut Reader<'_>, root: &Node, catalog: &Catalog<'_>) -> Option<Policy> {
    let envelope = envelope::read(reader, root, &POLICY)?;
    let metadata = envelope.metadata;
    read_policy_spec(reader, &envelope.spec, (metadata.labels, metadata.annotations), catalog)
}

fn read_condition_spec(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Condition> {
    let severity = reader.required_text(spec, "severity");
    let known = ["kind", "op", "threshold", "lookbackWindow", "alertAfter"];
    let condition = reader.required_fields(spec, "condition", &known)?;
    check_kind(reader, &condition);
    check_op(reader, &condition);
    let factor = read_threshold(reader, &condition);
    let lookback = reader.required(&condition, "lookbackWindow");
    let lookback = lookback.and_then(|node| window::read_duration(reader, node, "lookbackWindow"));
    let after = read_after(reader, &condition);
    Some(Condition { severity: severity?.to_owned(), factor: factor?, lookback: lookback?, after: after? })
}

fn check_kind(reader: &mut Reader<'_>, condition: &Fields<'_>) {
    let Some(node) = condition.get("kind") else { return };
    let kind = reader.text(node).unwrap_or_default();
    if !kind.eq_ignore_ascii_case(KIND) {
        reader.error(node.at, unknown("kind of condition", kind, &[KIND]));
    }
}

/// A burn rate is too high, never too low: the format's own example has it the wrong way round.
fn check_op(reader: &mut Reader<'_>, condition: &Fields<'_>) {
    let ops = [("gt", false), ("gte", false), ("lt", true), ("lte", true)];
    let Some(node) = reader.required(condition, "op") else { return };
    if reader.choice(node, "op", &ops) == Some(true) {
        reader.warn(node.at, "a burn rate below its threshold is good; the alert is for one above (gt)");
    }
}

fn read_threshold(reader: &mut Reader<'_>, condition: &Fields<'_>) -> Option<f64> {
    let node = reader.required(condition, "threshold")?;
    let factor = reader.number(node, "threshold")?;
    if factor <= 0.0 {
        reader.error(node.at, format!("threshold {factor} is always exceeded; it must be above 0"));
    }
    Some(factor)
}

/// `0m` and none are none.
fn read_after(reader: &mut Reader<'_>, condition: &Fields<'_>) -> Option<Duration> {
    let Some(node) = condition.get("alertAfter") else { return Some(Duration::ZERO) };
    let text = reader.text(node)?;
    let is_zero = text.trim_end_matches(char::is_alphabetic).trim_start_matches('0').is_empty();
    if is_zero && text.starts_with('0') {
        return Some(Duration::ZERO);
    }
    window::read_duration(reader, node, "alertAfter")
}

fn read_policy_spec(
    reader: &mut Reader<'_>,
    spec: &Fields<'_>,
    (labels, annotations): (Strings, Strings),
    catalog: &Catalog<'_>,
) -> Option<Policy> {
    for name in ["alertWhenNoData", "alertWhenResolved", "alertWhenBreaching"] {
        reader.optional_flag(spec, name);
    }
    let node = reader.required(spec, "conditions").and_then(|node| only(reader, node));
    let condition = node.and_then(|node| read_given_condition(reader, node, &catalog.conditions));
    let targets = spec.get("notificationTargets").and_then(|node| reader.list(node)).unwrap_or_default();
    let targets: Vec<String> =
        targets.iter().filter_map(|node| read_given_target(reader, node, &catalog.targets)).collect();
    Some(Policy { condition: condition?, targets, labels, annotations })
}

fn only<'n>(reader: &mut Reader<'_>, list: &'n Node) -> Option<&'n Node> {
    match reader.list(list)? {
        [item] => Some(item),
        items => {
            let count = items.len();
            reader
                .error(list.at, format!("conditions has {count} items; OpenSLO takes exactly one condition"));
            None
        }
    }
}

fn read_given_condition(
    reader: &mut Reader<'_>,
    node: &Node,
    conditions: &Named<'_, Condition>,
) -> Option<Condition> {
    match read_given(reader, node, "conditionRef")? {
        Given::Reference(name) => conditions.resolve(reader, name).cloned(),
        Given::Inline(node) => {
            let (_, spec) = envelope::read_inline(reader, node, &CONDITION)?;
            read_condition_spec(reader, &spec)
        }
    }
}

/// The name of who is told. What is defined of it elsewhere is not used.
fn read_given_target(reader: &mut Reader<'_>, node: &Node, targets: &Named<'_, ()>) -> Option<String> {
    match read_given(reader, node, "targetRef")? {
        Given::Reference(name) => {
            targets.warn_if_misspelt(reader, name);
            reader.text(name).map(str::to_owned)
        }
        Given::Inline(node) => {
            let (metadata, spec) = envelope::read_inline(reader, node, &TARGET)?;
            let target = reader.required_text(&spec, "target")?;
            Some(metadata.map_or(target, |metadata| metadata.name).to_owned())
        }
    }
}

/// A reference may be a mapping with its name, or the name alone, which the format's first text had.
fn read_given<'n>(reader: &mut Reader<'_>, node: &'n Node, reference: &str) -> Option<Given<'n>> {
    match &node.value {
        Value::Scalar(_) => Some(Given::Reference(node)),
        Value::Map(entries) if entries.iter().any(|(key, _)| key.name == "spec") => Some(Given::Inline(node)),
        _ => {
            let fields = reader.fields(node, &[reference, "kind", "metadata", "spec"])?;
            reader.required(&fields, reference).map(Given::Reference)
        }
    }
}

// === the alerts of an SLO ===

/// Reads `alertPolicies`. Without any, an SLO has the workbook's alerts.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>, catalog: &Catalog<'_>) -> Vec<Burn> {
    let nodes = spec.get("alertPolicies").and_then(|node| reader.list(node)).unwrap_or_default();
    let read = |node: &Node| {
        let policy = match read_given(reader, node, "alertPolicyRef")? {
            Given::Reference(name) => read_reference(reader, name, &catalog.policies)?,
            Given::Inline(node) => {
                let (metadata, spec) = envelope::read_inline(reader, node, &POLICY)?;
                let marks = metadata.map(|metadata| (metadata.labels, metadata.annotations));
                read_policy_spec(reader, &spec, marks.unwrap_or_default(), catalog)?
            }
        };
        Some((node.at, policy))
    };
    let policies: Vec<(Place, Policy)> = nodes.iter().filter_map(read).collect();
    paired(reader, policies)
}

/// The policy of a name. One that is not there, and that no other resembles, was left to another place: an SLO
/// without it is better than none.
fn read_reference(reader: &mut Reader<'_>, name: &Node, policies: &Named<'_, Policy>) -> Option<Policy> {
    let text = reader.text(name)?;
    if policies.contains(text) || policies.nearest(text).is_some() {
        return policies.resolve(reader, name).cloned();
    }
    let message = format!(
        "no AlertPolicy has the name {text:?}, so that its alert is missing, or the workbook's take the place of all; \
         read the file that defines it together with this one"
    );
    reader.warn(name.at, message);
    None
}

/// Makes one of two policies that differ only in their windows. Of more than two nobody can say which belong
/// together: each stands alone.
fn paired(reader: &mut Reader<'_>, policies: Vec<(Place, Policy)>) -> Vec<Burn> {
    let mut burns: Vec<Burn> = Vec::new();
    for (index, (at, policy)) in policies.iter().enumerate() {
        let is_like = |other: &Policy| policy.condition.is_like(&other.condition);
        let alike: Vec<usize> = (0..policies.len()).filter(|other| is_like(&policies[*other].1)).collect();
        let lookback = policy.condition.lookback;
        let partner = alike.iter().find(|other| **other != index).map(|other| &policies[*other].1);
        match partner {
            Some(partner) if alike.len() == 2 && partner.condition.lookback > lookback => (),
            Some(partner) if alike.len() == 2 && partner.condition.lookback < lookback => {
                let short = Some(partner.condition.lookback);
                burns.push(Burn { policy: policy.clone().with_targets_of(partner), at: *at, short });
            }
            _ => {
                if burns.iter().any(|other| other.policy.condition.is_same_series(&policy.condition)) {
                    reader.error(*at, "another policy has the same severity and window; drop one of them");
                }
                burns.push(Burn { policy: policy.clone(), at: *at, short: None });
            }
        }
    }
    burns
}

/// The alerts of an objective whose target is at `at`.
pub(super) fn of_objective(
    reader: &mut Reader<'_>,
    at: Place,
    burns: &[Burn],
    objective: &Objective,
) -> Vec<BurnRateAlert> {
    if burns.is_empty() {
        let defaults = slo::workbook_alerts(objective.period(), objective.budgeting);
        let way_out = "write alertPolicies with lower thresholds";
        let alerts: Vec<_> =
            defaults.into_iter().filter_map(|alert| with_room(reader, at, alert, objective)).collect();
        alerts.iter().for_each(|alert| alerting::warn_if_dead(reader, at, alert, objective, way_out));
        return alerts;
    }
    let alert = |burn: &Burn| {
        let alert = burn.alert(objective);
        let alert = if burn.short.is_some() { alert } else { with_room(reader, burn.at, alert, objective)? };
        let way_out = "lower its threshold or drop the policy";
        alerting::warn_if_dead(reader, burn.at, &alert, objective, way_out);
        alerting::warn_if_longer(reader, burn.at, &alert, objective);
        Some(alert)
    };
    burns.iter().filter_map(alert).collect()
}

/// An alert whose short window nobody wrote, with room in it for enough slices. One without room is left out.
fn with_room(
    reader: &mut Reader<'_>,
    at: Place,
    alert: BurnRateAlert,
    objective: &Objective,
) -> Option<BurnRateAlert> {
    let Some(slice) = objective.budgeting.slice() else { return Some(alert) };
    let short = alert.short.max(slice * slices::SLICES_IN_SHORT_WINDOW);
    if short >= alert.long {
        let (slice, long) = (format_duration(slice), format_duration(alert.long));
        let message = format!("slices of {slice} are too long for an alert over {long}, which is left out");
        reader.warn(at, message);
        return None;
    }
    Some(BurnRateAlert { short, ..alert })
}

// === impl Condition ===

impl Condition {
    /// Whether it differs in its window only.
    fn is_like(&self, other: &Self) -> bool {
        self.severity == other.severity && self.factor == other.factor && self.after == other.after
    }

    /// Whether alerts of both would have the same labels.
    fn is_same_series(&self, other: &Self) -> bool {
        self.severity == other.severity && self.lookback == other.lookback
    }
}

// === impl Policy ===

impl Policy {
    fn with_targets_of(mut self, other: &Self) -> Self {
        let new = other.targets.iter().filter(|target| !self.targets.contains(target)).cloned();
        let new: Vec<String> = new.collect();
        self.targets.extend(new);
        self
    }
}

// === impl Burn ===

impl Burn {
    fn alert(&self, objective: &Objective) -> BurnRateAlert {
        let Policy { condition, targets, labels, annotations } = &self.policy;
        let mut labels = labels.clone();
        if !targets.is_empty() {
            labels.insert(TARGET_LABEL.to_owned(), targets.join(","));
        }
        BurnRateAlert {
            name: None,
            min_total_events: 0.0,
            severity: condition.severity.clone(),
            short: self.short.unwrap_or(condition.lookback / LONG_BY_SHORT),
            long: condition.lookback,
            factor: condition.factor,
            for_: condition.after,
            keep_firing_for: Duration::ZERO,
            min_bad_events: slo::default_min_bad_events(&condition.severity, objective.budgeting),
            labels,
            annotations: annotations.clone(),
        }
    }
}
