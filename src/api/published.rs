//! The series of a report as selectors see them, and what their values were.
//!
//! Names and labels are those of `/metrics`; a test compares the two. A series either follows from counts, of which
//! histories know the past, or stands in the spec and was the same all along, or is known of the present only.

use std::{borrow::Cow, collections::BTreeMap};

use prometheus::proto::{MetricFamily, MetricType};

use super::Facts;
use crate::{
    burn_rate,
    exposition::conventions::{self as names, Family},
    labels::{Labels, METRIC_NAME, Selector},
    report::{BudgetShape, DataStatus, View},
    slo::BurnRateAlert,
    time::{Timestamp, format_duration},
    window::{Past, Seen},
};

/// A published series.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    /// Its value in the report.
    pub(super) present: f64,
    /// Where its past is found.
    pub(super) past: Option<Origin>,
}

/// What a past value is worked out from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The place of the instance in the report.
    pub(super) place: usize,
    value: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    /// What the spec says.
    Specified,
    /// Of the counted window of this number.
    ErrorRatio(usize),
    /// Of the counted window of this number.
    BurnRate(usize),
    /// Of the budget of this number.
    Remaining(usize),
    Events,
    BadEvents,
}

/// A value of the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PastValue {
    pub(super) value: f64,
    /// The part of its window that is known.
    pub(super) share: f64,
}

type Pairs<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// Goes through the series of a report that a selector may select.
struct Walk<'a> {
    selectors: &'a [&'a Selector],
    found: Vec<Series>,
}

// Of a window of which less is known nothing is said: what is said is of the known part, and off by at most as
// much as the other half differs from it.
const SHARE_MIN: f64 = 0.5;

/// The series that any of these selectors selects, in the order of the report; then slod's own.
pub(super) fn select(facts: &Facts<'_>, selectors: &[&Selector]) -> Vec<Series> {
    let mut walk = Walk { selectors, found: Vec::new() };
    for (place, view) in facts.report.views().enumerate() {
        walk.instance(place, &view);
    }
    facts.own.iter().for_each(|family| walk.own(family));
    walk.found
}

/// Every published family: name, type, help.
pub(super) fn families<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = (&'a str, &'static str, &'a str)> {
    let type_of = |family: &Family| if family.is_counter { "counter" } else { "gauge" };
    let slos = names::OWN.iter().map(move |family| (family.name, type_of(family), family.help));
    let own = facts.own.iter().map(|family| {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::SUMMARY => "summary",
            MetricType::HISTOGRAM => "histogram",
            _ => "gauge",
        };
        (family.name(), kind, family.help())
    });
    slos.chain(own)
}

// === impl Walk ===

impl Walk<'_> {
    fn is_wanted(&self, name: &str) -> bool {
        let is_of = |selector: &&Selector| {
            let mut of_name = selector.matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME);
            of_name.all(|matcher| matcher.matches(name))
        };
        self.selectors.iter().any(is_of)
    }

    fn push(&mut self, labels: Pairs<'_>, present: f64, past: Option<Origin>) {
        // Names are those of a map, and none is empty: specs are refused that have such.
        let Ok(labels) = Labels::new(labels) else { return };
        if self.selectors.iter().any(|selector| selector.matches(&labels)) {
            self.found.push(Series { labels, present, past });
        }
    }

    fn instance(&mut self, place: usize, view: &View<'_>) {
        let identity = identity(view);
        let mut add = |family: Family, extra: Pairs<'_>, present: f64, value: Option<Value>| {
            if !self.is_wanted(family.name) {
                return;
            }
            // What is more particular wins where names collide.
            let mut labels = identity.clone();
            labels.extend(extra);
            labels.insert(METRIC_NAME, family.name.into());
            self.push(labels, present, value.map(|value| Origin { place, value }));
        };
        let none = Pairs::new;
        let last_sample = view.row.last_sample.map_or(0.0, Timestamp::seconds);
        add(names::OBJECTIVE, none(), view.slo.objective.target.ratio(), Some(Value::Specified));
        add(names::EVENTS, none(), view.row.lifetime.total, Some(Value::Events));
        add(names::BAD_EVENTS, none(), view.row.lifetime.bad, Some(Value::BadEvents));
        add(names::LAST_SAMPLE, none(), last_sample, None);
        add(names::INFO, info_labels(view), 1.0, Some(Value::Specified));
        for (number, (window, budget)) in view.slo.objective.windows.iter().zip(view.budgets).enumerate() {
            let labels = || Pairs::from([(names::LABEL_WINDOW, window.to_string().into())]);
            let seconds = |seconds: f64, otherwise: f64| if seconds >= 0.0 { seconds } else { otherwise };
            let remaining = Some(Value::Remaining(number));
            add(names::ERROR_BUDGET_REMAINING, labels(), budget.remaining, remaining);
            add(names::TIME_TO_EXHAUSTION, labels(), seconds(budget.exhaustion_s, f64::INFINITY), None);
            add(names::TIME_TO_RECOVERY, labels(), seconds(budget.recovery_s, 0.0), None);
            add(names::WINDOW_COVERAGE, labels(), budget.coverage, None);
        }
        for (window, number) in &view.shape.windows {
            let labels = || Pairs::from([(names::LABEL_WINDOW, window.to_string().into())]);
            let (ratio, burn) = (Value::ErrorRatio(*number), Value::BurnRate(*number));
            let counts = view.counts[*number];
            let value = |value: Value| value.of(view, counts.bad, counts.total);
            add(names::ERROR_RATIO, labels(), value(ratio), Some(ratio));
            add(names::BURN_RATE, labels(), value(burn), Some(burn));
        }
        for status in DataStatus::ALL {
            let labels = Pairs::from([(names::LABEL_STATUS, status.name().into())]);
            add(names::DATA_STATUS, labels, f64::from(u8::from(status == view.row.status)), None);
        }
        for (labels, holds) in conditions(view) {
            add(names::BURN_RATE_CONDITION, labels, f64::from(u8::from(holds)), None);
        }
        for (labels, level) in levels(view) {
            add(names::ALERT_STATE, labels, f64::from(level), None);
        }
    }

    fn own(&mut self, family: &MetricFamily) {
        let name = family.name();
        let (sum, count) = (format!("{name}_sum"), format!("{name}_count"));
        if ![name, &sum, &count].iter().any(|name| self.is_wanted(name)) {
            return;
        }
        for metric in family.get_metric() {
            let labels =
                |name: &'_ str| -> Pairs<'static> { Pairs::from([(METRIC_NAME, name.to_owned().into())]) };
            let own = || metric.get_label().iter().map(|pair| (pair.name(), Cow::Borrowed(pair.value())));
            let mut add = |name: &str, extra: Option<(&'static str, String)>, value: f64| {
                let mut pairs: Pairs<'_> = labels(name);
                pairs.extend(own());
                pairs.extend(extra.map(|(name, value)| (name, Cow::Owned(value))));
                self.push(pairs, value, None);
            };
            match family.get_field_type() {
                MetricType::COUNTER => add(name, None, metric.get_counter().get_value()),
                MetricType::GAUGE => add(name, None, metric.get_gauge().get_value()),
                MetricType::SUMMARY => {
                    let summary = metric.get_summary();
                    add(&sum, None, summary.sample_sum());
                    add(&count, None, summary.sample_count() as f64);
                    for quantile in summary.get_quantile() {
                        add(name, Some(("quantile", quantile.quantile().to_string())), quantile.value());
                    }
                }
                // slod has none of these.
                MetricType::HISTOGRAM | MetricType::UNTYPED => (),
            }
        }
    }
}

fn identity<'a>(view: &View<'a>) -> Pairs<'a> {
    let mut labels = pairs(&view.slo.labels);
    labels.extend(view.group.iter().map(|(name, value)| (name, value.into())));
    labels.insert(names::LABEL_SERVICE, view.slo.id.service.as_str().into());
    labels.insert(names::LABEL_SLO, view.slo.id.name.as_str().into());
    labels
}

fn pairs(map: &BTreeMap<String, String>) -> Pairs<'_> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_str().into())).collect()
}

fn alerts<'a>(view: &View<'a>) -> impl Iterator<Item = (usize, &'a BurnRateAlert)> {
    // A roll-up has none of them.
    view.slo.alerts.iter().enumerate().take(view.alerts.len())
}

fn conditions<'a>(view: &View<'a>) -> BTreeMap<Pairs<'a>, bool> {
    let mut conditions: BTreeMap<Pairs<'a>, bool> = BTreeMap::new();
    for (number, alert) in alerts(view) {
        let mut labels = alert_labels(view, alert);
        labels.insert(names::LABEL_SEVERITY, alert.severity.as_str().into());
        labels.insert(names::LABEL_LONG_WINDOW, format_duration(alert.long).into());
        labels.insert(names::LABEL_SHORT_WINDOW, format_duration(alert.short).into());
        *conditions.entry(labels).or_default() |= view.alerts[number].condition;
    }
    conditions
}

/// One per severity, with the state of its most advanced alert.
fn levels<'a>(view: &View<'a>) -> impl Iterator<Item = (Pairs<'a>, u8)> {
    let mut levels: BTreeMap<&str, (Pairs<'a>, u8)> = BTreeMap::new();
    for (number, alert) in alerts(view) {
        let (labels, level) = levels.entry(&alert.severity).or_default();
        labels.extend(alert_labels(view, alert));
        labels.insert(names::LABEL_SEVERITY, alert.severity.as_str().into());
        *level = view.alerts[number].level.max(*level);
    }
    levels.into_values()
}

/// The labels of an alert but those that tell instances apart.
fn alert_labels<'a>(view: &View<'a>, alert: &'a BurnRateAlert) -> Pairs<'a> {
    let mut labels = pairs(&alert.labels);
    let is_own = |name: &str| [names::LABEL_SLO, names::LABEL_SERVICE].contains(&name);
    labels.retain(|name, _| !is_own(name) && view.group.get(name).is_empty());
    labels
}

/// What the spec says, annotations included: those of the SLO before those of its alerts, in their order.
fn info_labels<'a>(view: &View<'a>) -> Pairs<'a> {
    let slo = view.slo;
    let of_alerts = slo.alerts.iter().rev().flat_map(|alert| &alert.annotations);
    let annotations = of_alerts.chain(&slo.annotations);
    let mut labels: Pairs<'a> =
        annotations.map(|(name, value)| (name.as_str(), value.as_str().into())).collect();
    labels.insert(names::LABEL_WINDOW, slo.objective.windows[0].to_string().into());
    labels.insert("objective", slo.objective.target.ratio().to_string().into());
    labels.insert("description", slo.description.as_str().into());
    let is_identity = |name: &str| {
        let is_own = [names::LABEL_SLO, names::LABEL_SERVICE].contains(&name) || name.starts_with("__");
        is_own || slo.labels.contains_key(name) || !view.group.get(name).is_empty()
    };
    labels.retain(|name, value| is_label_name(name) && !value.is_empty() && !is_identity(name));
    labels
}

/// Prometheus' rule for label names.
fn is_label_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

// === impl Value ===

impl Value {
    /// The ratio or the burn rate that counts are.
    fn of(self, view: &View<'_>, bad: f64, total: f64) -> f64 {
        match self {
            Self::ErrorRatio(_) => burn_rate::error_ratio(bad, total),
            _ => burn_rate::burn_rate(bad, total, view.slo.objective.target.budget_ratio()),
        }
    }

    /// What it was at a time. `None` if that is not known.
    fn at(self, view: &View<'_>, past: &Past, at: Timestamp) -> Option<PastValue> {
        let whole = |value| Some(PastValue { value, share: 1.0 });
        match self {
            // The same all along, which the caller has.
            Self::Specified => None,
            Self::Events => whole(past.lifetime(at)?.total),
            Self::BadEvents => whole(past.lifetime(at)?.bad),
            Self::ErrorRatio(number) | Self::BurnRate(number) => {
                let (seen, _) = seen(past, number, at)?;
                let value = self.of(view, seen.counts.bad, seen.counts.total);
                Some(PastValue { value, share: seen.share() })
            }
            Self::Remaining(number) => {
                let budget = view.shape.budgets[number];
                let (seen, end) = seen(past, budget.window(), at)?;
                let burn_rate = self.of(view, seen.counts.bad, seen.counts.total);
                let passed = match budget {
                    BudgetShape::Rolling { .. } => 1.0,
                    BudgetShape::Calendar { .. } => share(seen.start, at, end),
                };
                Some(PastValue { value: burn_rate::remaining(burn_rate, passed), share: seen.share() })
            }
        }
    }
}

/// What a counted window held at a time, and when that window ends.
fn seen(past: &Past, number: usize, at: Timestamp) -> Option<(Seen, Timestamp)> {
    match number.checked_sub(past.rolling_windows()) {
        Some(calendar) => past.calendar(calendar, at),
        None => past.rolling(number, at).map(|seen| (seen, at)),
    }
}

fn share(start: Timestamp, at: Timestamp, end: Timestamp) -> f64 {
    (at.0 - start.0) as f64 / (end.0 - start.0) as f64
}

// === impl Origin ===

impl Origin {
    /// The value at a time. `None` before the first sample, and where too little is known.
    pub(super) fn at(self, view: &View<'_>, past: &Past, present: f64, at: Timestamp) -> Option<PastValue> {
        if past.since().is_none_or(|since| at < since) {
            return None;
        }
        if self.value == Value::Specified {
            return Some(PastValue { value: present, share: 1.0 });
        }
        self.value.at(view, past, at).filter(|value| value.share >= SHARE_MIN)
    }
}
