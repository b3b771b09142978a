//! From sums of what series gain back to PromQL.
//!
//! Invariant: what is written here compiles to what it was written of.

use super::histograms::{CLASSIC_BUCKET, VM_BUCKET};
use crate::{
    labels::quoted,
    slo::{Counted, Grouping, HistogramMeasure, Interval, Measure, Replace, Term},
};

/// The queries of an SLI that is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queries {
    /// Bad events, and all events.
    BadOfTotal(String, String),
    /// Good events, and all events.
    GoodOfTotal(String, String),
    /// The ratio of bad events.
    BadRatio(String),
    /// The ratio of good events.
    GoodRatio(String),
}

/// The queries that compile to these sums; `None` if PromQL cannot say them.
///
/// ```
/// # use slod::{promql::{self, Asked, Queries, Settings}, slo::Indicator};
/// let asked = Asked::BadOfTotal("sum by (job) (rate(bad[1m]))", "sum by (job) (rate(all[1m]))");
/// let Indicator::Counted(counted) = promql::compile(asked, Settings::default())?.indicator else { panic!() };
/// let Some(Queries::BadOfTotal(bad, _)) = promql::queries(&counted) else { panic!() };
/// assert_eq!(bad, "sum by (job) (increase(bad[5m]))");
/// # Ok::<(), promql::Refusal>(())
/// ```
pub fn queries(counted: &Counted) -> Option<Queries> {
    let Counted { bad, total, group_by } = counted;
    if let Some(queries) = shares(counted) {
        return Some(queries);
    }
    let total_text = sum(total, group_by)?;
    if bad.is_empty() {
        // Nothing is bad ever.
        return Some(Queries::GoodOfTotal(total_text.clone(), total_text));
    }
    if let Some(good) = good(counted) {
        return Some(Queries::GoodOfTotal(sum(&good, group_by)?, total_text));
    }
    let bad_text = sum(bad, group_by)?;
    // Two counts that are the same are taken for a mistake.
    if bad == total {
        return Some(Queries::BadRatio(format!("({bad_text}) / ({total_text})")));
    }
    Some(Queries::BadOfTotal(bad_text, total_text))
}

/// What one term counts over a window, as PromQL; of MetricsQL's buckets, and samples that meet a condition, in words.
pub fn count_of(term: &Term) -> String {
    let series = relabelled(term, "increase", "window");
    match term.measure {
        Measure::SamplesWhere(condition) => {
            format!("samples of {} {} {}", term.selector, condition.op.symbol(), condition.bound)
        }
        Measure::VmRange(Interval { lower, upper }) => {
            format!("{series} as far as vmrange lies in ({}, {}]", literal(lower), literal(upper))
        }
        _ => sum_of(term, &Grouping::Without(Vec::new()), "window").unwrap_or(series),
    }
}

// Windows are slod's own; a range must be there.
const RANGE: &str = "5m";

fn sum(terms: &[Term], group_by: &Grouping) -> Option<String> {
    let mut text = String::new();
    for term in terms {
        let counted = sum_of(term, group_by, RANGE)?;
        let sign = match (text.is_empty(), term.coefficient < 0.0) {
            (true, true) => "-",
            (true, false) => "",
            (false, true) => " - ",
            (false, false) => " + ",
        };
        let factor = match term.coefficient.abs() {
            1.0 => String::new(),
            factor => format!("{factor} * "),
        };
        text += &format!("{sign}{factor}{counted}");
    }
    (!text.is_empty()).then_some(text)
}

/// What all but the bad events are, where the bad ones are all but something.
fn good(counted: &Counted) -> Option<Vec<Term>> {
    let taken = counted.bad.strip_prefix(counted.total.as_slice())?;
    let is_good = !taken.is_empty() && taken.iter().all(|term| term.coefficient < 0.0);
    let good = taken.iter().map(|term| Term { coefficient: -term.coefficient, ..term.clone() });
    is_good.then(|| good.collect())
}

/// What a term counts, without its coefficient.
fn sum_of(term: &Term, group_by: &Grouping, range: &str) -> Option<String> {
    let summed = |function| aggregated(&relabelled(term, function, range), group_by);
    Some(match term.measure {
        Measure::Increase => summed("increase"),
        Measure::Samples => summed("count_over_time"),
        Measure::Values => summed("sum_over_time"),
        Measure::Histogram(HistogramMeasure::Count) => format!("histogram_count({})", summed("increase")),
        Measure::Histogram(HistogramMeasure::Sum) => format!("histogram_sum({})", summed("increase")),
        Measure::Histogram(HistogramMeasure::Within(Interval { lower, upper })) => {
            let (histograms, lower, upper) = (summed("increase"), literal(lower), literal(upper));
            format!("histogram_fraction({lower}, {upper}, {histograms}) * histogram_count({histograms})")
        }
        Measure::SamplesWhere(_) | Measure::VmRange(_) => return None,
    })
}

/// `None` means one value per series.
fn aggregated(series: &str, group_by: &Grouping) -> String {
    match group_by {
        Grouping::By(names) if names.is_empty() => format!("sum({series})"),
        Grouping::By(names) => format!("sum by ({}) ({series})", names.join(", ")),
        Grouping::Without(names) if names.is_empty() => series.to_owned(),
        Grouping::Without(names) => format!("sum without ({}) ({series})", names.join(", ")),
    }
}

fn relabelled(term: &Term, function: &str, range: &str) -> String {
    let series = format!("{function}({}[{range}])", term.selector);
    term.replaces.iter().fold(series, |series, Replace { label, replacement, source }| {
        let words = [label, replacement, source.name(), source.value()].map(quoted);
        format!("label_replace({series}, {})", words.join(", "))
    })
}

/// A number as PromQL has it.
fn literal(number: f64) -> String {
    match number {
        f64::INFINITY => "Inf".to_owned(),
        f64::NEG_INFINITY => "-Inf".to_owned(),
        number => number.to_string(),
    }
}

// --- MetricsQL's histogram_share, which is a ratio only ---

/// The ratio of events up to a bound, or above it.
fn shares(counted: &Counted) -> Option<Queries> {
    let Counted { bad, total, group_by } = counted;
    let upper = bad.iter().find_map(|term| match term.measure {
        Measure::VmRange(Interval { upper, .. }) if upper.is_finite() => Some(upper),
        _ => None,
    })?;
    let everything = Measure::VmRange(Interval { lower: f64::NEG_INFINITY, upper: f64::INFINITY });
    let up_to = Measure::VmRange(Interval { lower: f64::NEG_INFINITY, upper });
    let within: Vec<Term> = total.iter().map(|term| Term { measure: up_to, ..term.clone() }).collect();
    let minus = within.iter().map(|term| Term { coefficient: -term.coefficient, ..term.clone() });
    let beyond: Vec<Term> = total.iter().cloned().chain(minus).collect();
    let buckets: Vec<Term> =
        total.iter().map(|term| Term { measure: Measure::Increase, ..term.clone() }).collect();
    let buckets = sum(&buckets, &with_buckets(group_by))?;
    let share = format!("histogram_share({}, {buckets})", literal(upper));
    if total.iter().any(|term| term.measure != everything) {
        None
    } else if *bad == within {
        Some(Queries::BadRatio(share))
    } else {
        (*bad == beyond).then_some(Queries::GoodRatio(share))
    }
}

fn with_buckets(group_by: &Grouping) -> Grouping {
    match group_by {
        Grouping::By(names) => Grouping::by(names.iter().cloned().chain([VM_BUCKET.to_owned()])),
        Grouping::Without(names) => Grouping::without(
            names.iter().filter(|name| *name != VM_BUCKET && *name != CLASSIC_BUCKET).cloned(),
        ),
    }
}
