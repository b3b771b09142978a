//! The series of a report as selectors see them, and what their values were.
//!
//! Which series there are `exposition` says. One either follows from counts, of which histories know the past, or
//! stands in the spec and was the same all along, or is known of the present only.

use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::Facts;
use crate::{
    burn_rate,
    exposition::{self, Shown, Value, conventions::Family},
    labels::{Labels, METRIC_NAME, Selector},
    report::{Budget, BudgetShape, Row, View},
    time::Timestamp,
    window::{Counts, Past, Seen},
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
#[derive(Clone, Debug)]
pub(super) struct Origin {
    /// The place of the instance in the report.
    pub(super) place: usize,
    value: Value,
}

/// A value of the past.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PastValue {
    pub(super) value: f64,
    /// The part of its window that is known.
    pub(super) share: f64,
}

/// Series that a selector may select.
struct Found<'a> {
    selectors: &'a [&'a Selector],
    series: Vec<Series>,
}

// Of a window of which less is known nothing is said: what is said is of the known part, and off by at most as
// much as the other half differs from it.
const SHARE_MIN: f64 = 0.5;

/// The series that any of these selectors selects, in the order of the report; then slod's own.
pub(super) fn select(facts: &Facts<'_>, selectors: &[&Selector]) -> Vec<Series> {
    let mut found = Found { selectors, series: Vec::new() };
    let is_wanted = |name: &str| is_wanted(selectors, name);
    exposition::visit_some(
        &facts.report,
        facts.exposition,
        is_wanted,
        |Shown { name, labels, value, view, place }| {
            let past = has_past(value).then(|| Origin { place, value: value.clone() });
            found.push(name, labels, value.of(&view), past);
        },
    );
    facts.own.iter().for_each(|family| found.push_own(family));
    found.series
}

/// Every published family: name, type, help.
pub(super) fn families<'a>(facts: &'a Facts<'_>) -> impl Iterator<Item = (&'a str, &'static str, &'a str)> {
    let type_of = |family: &Family| if family.is_counter { "counter" } else { "gauge" };
    let slos = facts.exposition.published().map(move |family| (family.name, type_of(&family), family.help));
    let own = facts.own.iter().map(|family| {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::SUMMARY => "summary",
            MetricType::HISTOGRAM => "histogram",
            MetricType::GAUGE => "gauge",
            MetricType::UNTYPED => "unknown",
        };
        (family.name(), kind, family.help())
    });
    slos.chain(own)
}

/// Whether a series of this name may be selected.
fn is_wanted(selectors: &[&Selector], name: &str) -> bool {
    let is_of = |selector: &&Selector| {
        let mut of_name = selector.matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME);
        of_name.all(|matcher| matcher.matches(name))
    };
    selectors.iter().any(is_of)
}

// === impl Found ===

impl Found<'_> {
    fn push(&mut self, name: &str, labels: &[(&str, &str)], present: f64, past: Option<Origin>) {
        let all = labels.iter().copied().chain([(METRIC_NAME, name)]);
        // Each name is there once, and none is empty: pages would be refused.
        let Ok(labels) = Labels::new(all) else { return };
        if self.selectors.iter().any(|selector| selector.matches(&labels)) {
            self.series.push(Series { labels, present, past });
        }
    }

    fn push_own(&mut self, family: &MetricFamily) {
        let name = family.name();
        let (sum, count) = (format!("{name}_sum"), format!("{name}_count"));
        if ![name, &sum, &count].iter().any(|name| is_wanted(self.selectors, name)) {
            return;
        }
        for metric in family.get_metric() {
            let labels = labels(metric);
            match family.get_field_type() {
                MetricType::COUNTER => self.push(name, &labels, metric.get_counter().get_value(), None),
                MetricType::GAUGE => self.push(name, &labels, metric.get_gauge().get_value(), None),
                MetricType::SUMMARY => {
                    let summary = metric.get_summary();
                    self.push(&sum, &labels, summary.sample_sum(), None);
                    self.push(&count, &labels, summary.sample_count() as f64, None);
                    for quantile in summary.get_quantile() {
                        let of = quantile.quantile().to_string();
                        let labels = [&labels[..], &[("quantile", of.as_str())]].concat();
                        self.push(name, &labels, quantile.value(), None);
                    }
                }
                // slod has none of these.
                MetricType::HISTOGRAM | MetricType::UNTYPED => (),
            }
        }
    }
}

fn labels(metric: &Metric) -> Vec<(&str, &str)> {
    metric.get_label().iter().map(|pair| (pair.name(), pair.value())).collect()
}

// --- the past ---

/// Whether values stand in the spec alone.
fn is_specified(value: &Value) -> bool {
    use Value::{BudgetRatio, Objective, One, PeriodDays, PeriodSeconds};
    matches!(value, One | Objective | BudgetRatio | PeriodDays | PeriodSeconds)
}

fn has_past(value: &Value) -> bool {
    use Value::{Availability, BadEvents, BurnRate, ErrorRatio, Events, Remaining, Spent};
    let is_counted = matches!(
        value,
        Remaining(_) | Spent(_) | ErrorRatio(_) | BurnRate(_) | Availability(_) | Events | BadEvents
    );
    is_counted || is_specified(value)
}

// === impl Origin ===

impl Origin {
    /// The value at a time. `None` before the first sample, and where too little is known.
    pub(super) fn at(&self, view: &View<'_>, past: &Past, at: Timestamp) -> Option<PastValue> {
        if past.since().is_none_or(|since| at < since) {
            return None;
        }
        self.value_at(view, past, at).filter(|value| value.share >= SHARE_MIN)
    }

    /// As the report of that time had it, as far as this value looks at it.
    fn value_at(&self, view: &View<'_>, past: &Past, at: Timestamp) -> Option<PastValue> {
        match self.value {
            Value::Events | Value::BadEvents => {
                let row = Row { lifetime: past.lifetime(at)?, ..*view.row };
                Some(PastValue { value: self.value.of(&View { row: &row, ..*view }), share: 1.0 })
            }
            Value::ErrorRatio(window) | Value::BurnRate(window) | Value::Availability(window) => {
                let (seen, _) = seen(past, window, at)?;
                let mut counts = vec![Counts::ZERO; view.counts.len()];
                counts[window] = seen.counts;
                let value = self.value.of(&View { counts: &counts, ..*view });
                Some(PastValue { value, share: seen.share() })
            }
            Value::Remaining(number) | Value::Spent(number) => {
                let (remaining, share) = remaining(view, number, past, at)?;
                let mut budgets = vec![Budget::default(); view.budgets.len()];
                budgets[number].remaining = remaining;
                Some(PastValue { value: self.value.of(&View { budgets: &budgets, ..*view }), share })
            }
            _ => is_specified(&self.value).then(|| PastValue { value: self.value.of(view), share: 1.0 }),
        }
    }
}

/// What remained of a budget, and the part of its window that is known.
fn remaining(view: &View<'_>, number: usize, past: &Past, at: Timestamp) -> Option<(f64, f64)> {
    let budget = view.shape.budgets[number];
    let (seen, end) = seen(past, budget.window(), at)?;
    let Counts { bad, total } = seen.counts;
    let burn_rate = burn_rate::burn_rate(bad, total, view.slo.objective.target.budget_ratio());
    let passed = match budget {
        BudgetShape::Rolling { .. } => 1.0,
        BudgetShape::Calendar { .. } => (at.0 - seen.start.0) as f64 / (end.0 - seen.start.0) as f64,
    };
    Some((burn_rate::remaining(burn_rate, passed), seen.share()))
}

/// What a counted window held at a time, and when that window ends.
fn seen(past: &Past, number: usize, at: Timestamp) -> Option<(Seen, Timestamp)> {
    match number.checked_sub(past.rolling_windows()) {
        Some(calendar) => past.calendar(calendar, at),
        None => past.rolling(number, at).map(|seen| (seen, at)),
    }
}
