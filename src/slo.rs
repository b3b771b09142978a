//! The vocabulary: what an SLO is, free of where it was written and of how it is computed.
//!
//! Every spec reader lowers its format to [`Slo`]; everything after the readers knows only this.
//! A [`Counted`] indicator is the one algebra of the product: bad and total events are each a sum of what series
//! measure (the growth of a counter or a native histogram, the samples of a gauge) with coefficients. What is no
//! such sum is asked at every step of time ([`Sampled`], [`Pulled`]).
//!
//! Invariant: an [`Slo`] is valid. Its target lies above 0 and is at most 1, its windows are
//! positive, and a short window is below its long one.

mod alerts;
mod identity;

use std::{collections::BTreeMap, fmt, time::Duration};

use crate::{
    expression::Expression,
    labels::{Labels, LabelsRef, Matcher, Selector},
    time::{Calendar, format_duration},
};

pub use alerts::{AnyAlert, Cause, DataStatus, StateAlert};

/// A service level objective, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// What tells this SLO from all others.
    pub id: SloId,
    /// What it promises, for people.
    pub description: String,
    /// Labels put on every published series and alert of the SLO.
    pub labels: BTreeMap<String, String>,
    /// Annotations put on its alerts, such as `runbook_url`.
    pub annotations: BTreeMap<String, String>,
    /// The promise.
    pub objective: Objective,
    /// Which events count, and which of them are bad.
    pub indicator: Indicator,
    /// When the budget burns too fast.
    pub alerts: Vec<BurnRateAlert>,
    /// What else is worth an alert.
    pub state_alerts: Vec<StateAlert>,
    /// Whether an urgent burn-rate alert that fires mutes less urgent ones: somebody is awake already.
    pub inhibits: bool,
}

/// The identity of an SLO: names are unique within a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SloId {
    /// The service that makes the promise.
    pub service: String,
    /// The SLO's name within the service.
    pub name: String,
}

/// The share of good events promised over one or several time windows.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// The promised ratio of good events.
    pub target: Target,
    /// The windows over which the promise holds, each with a budget of its own. At least one; the first
    /// is the SLO's period.
    pub windows: Vec<TimeWindow>,
    /// What the budget is counted in.
    pub budgeting: Budgeting,
}

/// A time over which a promise holds.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeWindow {
    /// The time of this length that ends now.
    Rolling(Duration),
    /// The present day, week, month, quarter or year.
    Calendar(Calendar),
}

/// What an error budget is counted in: OpenSLO's budgeting methods.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Budgeting {
    /// Events: bad ones among all.
    #[default]
    Occurrences,
    /// Slices of time: bad ones among all that had events. A slice is good if at least this ratio of its
    /// events is, within 0 (excluded) and 1.
    Timeslices {
        /// The length of a slice.
        slice: Duration,
        /// The ratio of good events that makes a slice good.
        target: f64,
    },
    /// Slices of time that had events, each bad to the extent that its events are.
    RatioTimeslices {
        /// The length of a slice.
        slice: Duration,
    },
}

/// A ratio above 0 and up to 1. A target of 1 has no budget: one bad event overspends it without limit.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Target(f64);

/// A number that cannot be a target.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("target must be above 0 and at most 1 (100%); got {0}")]
pub struct TargetError(pub f64);

/// Labels that slod itself puts on its series.
pub const OWN_LABELS: [&str; 7] =
    ["slo", "service", "window", "severity", "long_window", "short_window", "status"];

/// What a label of slod's own names is called that comes from elsewhere, as in Prometheus' `honor_labels`.
pub const EXPORTED: &str = "exported_";

/// The service level indicator: where bad events and all events come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Indicator {
    /// What series measure, counted with every sample.
    Counted(Counted),
    /// An expression over the latest samples of series, evaluated at every step of time.
    Sampled(Sampled),
    /// A query that a Prometheus evaluates at every step of time.
    Pulled(Pulled),
}

/// Bad and total events as sums over series.
#[derive(Clone, Debug, PartialEq)]
pub struct Counted {
    /// Terms that add up to the bad events.
    pub bad: Vec<Term>,
    /// Terms that add up to all events.
    pub total: Vec<Term>,
    /// What splits the SLO.
    pub group_by: Grouping,
}

/// Which series are counted together: each set of the labels that are kept is an instance of the SLO with a
/// budget of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Only labels of these names are kept. Sorted, no repeats; none means that the SLO is not split.
    By(Vec<String>),
    /// Every label but the metric name and those of these names is kept. Sorted, no repeats.
    Without(Vec<String>),
}

/// What every series that a selector matches adds, times a coefficient.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// How often it counts; `-1` in `count - bucket`.
    pub coefficient: f64,
    /// The series.
    pub selector: Selector,
    /// What is counted of them.
    pub measure: Measure,
    /// How their labels are rewritten, in this order, before they are grouped; nearly always not at all.
    pub replaces: Vec<Replace>,
}

/// PromQL's `label_replace`: writes a label from the value of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// The label that is written.
    pub label: String,
    /// What it becomes, with `$1` and the like for groups of the expression. Empty removes it.
    pub replacement: String,
    /// The condition on the other label: a series that does not meet it is left as it is.
    pub source: Matcher,
}

/// An SLI that no sum over samples expresses, such as a quantile, a maximum or a subquery: at every step it
/// is worked out what PromQL would say of that moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// What is asked at every step.
    pub question: Question<Expression>,
    /// The time between two steps, which lie at its multiples.
    pub step: Duration,
}

/// An SLI that must be asked of a Prometheus.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulled {
    /// What is asked at every step.
    pub question: Question<String>,
    /// The time between two steps, which lie at its multiples.
    pub step: Duration,
    /// Whether the answers may have labels, so that there are groups.
    pub is_grouped: bool,
}

/// What the values of expressions at one moment mean. Every label set of a result is an instance of the SLO;
/// a value that is NaN says nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Question<E> {
    /// Each value is one event, bad to the extent of the value, from 0 to 1.
    BadRatio(E),
    /// Each value is one event, good to the extent of the value, from 0 to 1.
    GoodRatio(E),
    /// Each value is one event, good if it meets the condition.
    Condition(E, Threshold),
    /// The values are bad events and all events. One that is missing while the other is there is zero.
    Events {
        /// The bad events.
        bad: E,
        /// All events.
        total: E,
    },
}

/// What is counted of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Measure {
    /// The growth of a counter.
    Increase,
    /// The samples of a gauge, one event each.
    Samples,
    /// The samples of a gauge that meet a condition, one event each.
    SamplesWhere(Threshold),
    /// The values of a gauge's samples, added up.
    Values,
    /// The growth of a counter of VictoriaMetrics' histograms, as far as its `vmrange` lies in an interval.
    VmRange(Interval),
    /// What native histograms gained.
    Histogram(HistogramMeasure),
}

/// What is counted of the growth of a native histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HistogramMeasure {
    /// The observations.
    Count,
    /// What the observations add up to.
    Sum,
    /// The observations in an interval.
    Within(Interval),
}

/// The values in `(lower, upper]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Not in it.
    pub lower: f64,
    /// In it.
    pub upper: f64,
}

/// A condition on a value: `value op bound`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// How to compare.
    pub op: ThresholdOp,
    /// What to compare with.
    pub bound: f64,
}

/// A comparison, by OpenSLO's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThresholdOp {
    /// `lt`: less than.
    Less,
    /// `lte`: less than or equal.
    LessOrEqual,
    /// `gt`: greater than.
    Greater,
    /// `gte`: greater than or equal.
    GreaterOrEqual,
}

/// One multi-window burn-rate condition and the alert it raises (SRE workbook, chapter 5): it holds
/// while the burn rate is above `factor` over the long *and* the short window.
#[derive(Clone, Debug, PartialEq)]
pub struct BurnRateAlert {
    /// The name of the alert, if the spec gives it one.
    pub name: Option<String>,
    /// How urgent it is: `page`, `ticket`, or the spec's own word.
    pub severity: String,
    /// The window that makes the alert reset soon after the errors stop.
    pub short: Duration,
    /// The window over which a share of the budget was spent.
    pub long: Duration,
    /// The burn rate that both windows must exceed.
    pub factor: f64,
    /// How long the condition must hold before the alert fires.
    pub for_: Duration,
    /// How long the alert goes on firing after the condition ended.
    pub keep_firing_for: Duration,
    /// The condition holds only with at least this many bad events in the long window. Guards small
    /// services from paging on a single error without making them unpageable.
    pub min_bad_events: f64,
    /// The condition holds only with at least this many events in the long window. None by default: it makes small
    /// services unpageable, even when nothing works.
    pub min_total_events: f64,
    /// Labels put on this alert's series beside those of the SLO, such as a routing key.
    pub labels: BTreeMap<String, String>,
    /// Annotations put on this alert beside those of the SLO.
    pub annotations: BTreeMap<String, String>,
}

/// A row of the SRE workbook's table: spending `budget_share` of the period's budget within `long`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WorkbookWindow {
    /// `page` or `ticket`.
    pub severity: &'static str,
    /// The short window.
    pub short: Duration,
    /// The long window.
    pub long: Duration,
    /// The share of the period's error budget whose loss within `long` is worth the alert.
    pub budget_share: f64,
}

const HOUR: u64 = 3_600;

/// SRE workbook, chapter 5, table of recommended windows. For a 30-day period the factors come out
/// as 14.4, 6, 3 and 1.
pub const WORKBOOK_WINDOWS: [WorkbookWindow; 4] = [
    WorkbookWindow {
        severity: "page",
        short: Duration::from_secs(HOUR / 12),
        long: Duration::from_secs(HOUR),
        budget_share: 0.02,
    },
    WorkbookWindow {
        severity: "page",
        short: Duration::from_secs(HOUR / 2),
        long: Duration::from_secs(6 * HOUR),
        budget_share: 0.05,
    },
    WorkbookWindow {
        severity: "ticket",
        short: Duration::from_secs(2 * HOUR),
        long: Duration::from_secs(24 * HOUR),
        budget_share: 0.10,
    },
    WorkbookWindow {
        severity: "ticket",
        short: Duration::from_secs(6 * HOUR),
        long: Duration::from_secs(72 * HOUR),
        budget_share: 0.10,
    },
];

/// The least number of bad events in the long window for an alert of this severity: 3 where a human
/// is woken, else 1. In simulation three failures remove about 98% of the false pages of a service
/// with 1,000 requests a day, and cost nothing above 5,000. A bad slice is more than a failure: one is
/// enough; and where slices are bad in part, no sum of parts means anything.
pub fn default_min_bad_events(severity: &str, budgeting: Budgeting) -> f64 {
    match budgeting {
        Budgeting::Occurrences if is_urgent(severity) => 3.0,
        Budgeting::Occurrences | Budgeting::Timeslices { .. } => 1.0,
        Budgeting::RatioTimeslices { .. } => 0.0,
    }
}

/// Whether an alert of this severity wakes somebody.
pub fn is_urgent(severity: &str) -> bool {
    matches!(severity, "page" | "critical")
}

// Below a week the workbook's longest window is most of the period, and a share of its budget says little.
const WINDOWS_SCALE_BELOW: Duration = Duration::from_secs(7 * 24 * HOUR);
const WORKBOOK_PERIOD: Duration = Duration::from_secs(30 * 24 * HOUR);

/// The workbook's alerts for a period. From a week on its windows stay, and each factor follows from the
/// budget share; for shorter periods the factors of 30 days stay, and the windows shrink with the period.
pub fn workbook_alerts(period: Duration, budgeting: Budgeting) -> Vec<BurnRateAlert> {
    if period >= WINDOWS_SCALE_BELOW {
        return WORKBOOK_WINDOWS.iter().map(|row| row.alert(period, budgeting)).collect();
    }
    let shrunk = |window: Duration| {
        let scaled = window.mul_f64(period.as_secs_f64() / WORKBOOK_PERIOD.as_secs_f64());
        Duration::from_secs(scaled.as_secs_f64().round().max(1.0) as u64)
    };
    let alert = |row: &WorkbookWindow| {
        let usual = row.alert(WORKBOOK_PERIOD, budgeting);
        BurnRateAlert { short: shrunk(row.short), long: shrunk(row.long), ..usual }
    };
    WORKBOOK_WINDOWS.iter().map(alert).collect()
}

// === impl Slo ===

impl Slo {
    /// How many bad events its long window must hold for this alert. Nothing, where events are bad in part, as
    /// shares are: no sum of parts means anything.
    pub fn min_bad_events(&self, alert: &BurnRateAlert) -> f64 {
        let counts_parts = match &self.indicator {
            Indicator::Counted(_) => false,
            Indicator::Sampled(sampled) => sampled.question.is_of_parts(),
            Indicator::Pulled(pulled) => pulled.question.is_of_parts(),
        };
        if counts_parts { 0.0 } else { alert.min_bad_events }
    }

    /// Every rolling window whose counts the SLO needs: those of its alerts and of its objective, each
    /// once, shortest first.
    pub fn rolling_windows(&self) -> Vec<Duration> {
        let rolling = self.objective.windows.iter().filter_map(TimeWindow::rolling);
        let alerts = self.alerts.iter().flat_map(|alert| [alert.short, alert.long]);
        let of_states = self.state_alerts.iter().filter_map(|alert| alert.cause.window());
        let mut windows: Vec<Duration> = rolling.chain(alerts).chain(of_states).collect();
        windows.sort_unstable();
        windows.dedup();
        windows
    }

    /// Whether what has been counted for it counts for the other, too: the same SLO, asked the same, in the
    /// same kind of events. What it promises, how it alerts and how it is labelled may differ. On disk their
    /// [identities](Self::identity) are compared.
    pub fn has_history_of(&self, other: &Self) -> bool {
        self.id == other.id
            && self.indicator == other.indicator
            && self.objective.budgeting == other.objective.budgeting
    }
}

impl fmt::Display for SloId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.service, self.name)
    }
}

// === impl Indicator ===

impl Indicator {
    /// Whether the SLO may have several instances, and a roll-up of them.
    pub fn is_grouped(&self) -> bool {
        match self {
            Self::Counted(counted) => counted.group_by != Grouping::none(),
            Self::Sampled(sampled) => {
                sampled.question.expressions().any(|expression| !expression.is_single())
            }
            Self::Pulled(pulled) => pulled.is_grouped,
        }
    }

    /// Every selector of series that it needs.
    pub fn selectors(&self) -> Vec<&Selector> {
        match self {
            Self::Counted(counted) => {
                counted.bad.iter().chain(&counted.total).map(|term| &term.selector).collect()
            }
            Self::Sampled(sampled) => {
                sampled.question.expressions().flat_map(Expression::selectors).collect()
            }
            Self::Pulled(_) => Vec::new(),
        }
    }
}

// === impl Question ===

impl<E> Question<E> {
    /// Whether its values are shares of events.
    pub fn is_of_parts(&self) -> bool {
        matches!(self, Self::BadRatio(_) | Self::GoodRatio(_))
    }

    /// The same with references to its expressions.
    pub fn as_ref(&self) -> Question<&E> {
        match self {
            Self::BadRatio(of) => Question::BadRatio(of),
            Self::GoodRatio(of) => Question::GoodRatio(of),
            Self::Condition(of, good) => Question::Condition(of, *good),
            Self::Events { bad, total } => Question::Events { bad, total },
        }
    }

    /// The same with something else in place of each expression.
    pub fn map<T>(self, mut change: impl FnMut(E) -> T) -> Question<T> {
        match self {
            Self::BadRatio(of) => Question::BadRatio(change(of)),
            Self::GoodRatio(of) => Question::GoodRatio(change(of)),
            Self::Condition(of, good) => Question::Condition(change(of), good),
            Self::Events { bad, total } => Question::Events { bad: change(bad), total: change(total) },
        }
    }

    /// The same with something else in place of each expression, if each has that.
    ///
    /// # Errors
    /// The first of `change`.
    pub fn try_map<T, X>(&self, mut change: impl FnMut(&E) -> Result<T, X>) -> Result<Question<T>, X> {
        Ok(match self {
            Self::BadRatio(of) => Question::BadRatio(change(of)?),
            Self::GoodRatio(of) => Question::GoodRatio(change(of)?),
            Self::Condition(of, good) => Question::Condition(change(of)?, *good),
            Self::Events { bad, total } => Question::Events { bad: change(bad)?, total: change(total)? },
        })
    }

    /// Each of its expressions, the bad events' first.
    pub fn expressions(&self) -> impl Iterator<Item = &E> {
        let (one, other) = match self {
            Self::BadRatio(one) | Self::GoodRatio(one) | Self::Condition(one, _) => (one, None),
            Self::Events { bad, total } => (bad, Some(total)),
        };
        std::iter::once(one).chain(other)
    }
}

// === impl Replace ===

impl Replace {
    /// Rewrites labels, given as names and values without order.
    pub fn apply(&self, labels: &mut Vec<(String, String)>) {
        let value_of = |name: &str| labels.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
        let Some(written) = self.source.expand(value_of(self.source.name()), &self.replacement) else {
            return;
        };
        labels.retain(|(name, _)| *name != self.label);
        if !written.is_empty() {
            labels.push((self.label.clone(), written));
        }
    }
}

// === impl Grouping ===

impl Grouping {
    /// All series together.
    pub fn none() -> Self {
        Self::By(Vec::new())
    }

    /// Groups by labels of these names, sorted.
    pub fn by<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::By(sorted(names))
    }

    /// Groups by labels of all other names, sorted.
    pub fn without<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self::Without(sorted(names))
    }

    /// The labels of the group that a series belongs to. One that has the name of a label of slod's own is
    /// renamed.
    pub fn of(&self, labels: LabelsRef<'_>) -> Labels {
        exported(match self {
            Self::By(names) => labels.keep(names),
            Self::Without(names) => labels.leave_out(names),
        })
    }
}

/// Labels of a group as they are published: none has the name of one of slod's own.
pub fn exported(labels: Labels) -> Labels {
    if !labels.iter().any(|(name, _)| OWN_LABELS.contains(&name)) {
        return labels;
    }
    let renamed = labels.iter().map(|(name, value)| match name {
        own if OWN_LABELS.contains(&own) => (format!("{EXPORTED}{own}"), value),
        other => (other.to_owned(), value),
    });
    // Of a label that is there under both names, the series' own is left out.
    let mut pairs: Vec<(String, &str)> = renamed.collect();
    pairs.sort();
    pairs.dedup_by(|a, b| a.0 == b.0);
    Labels::new(pairs).unwrap_or_default()
}

/// `(a, b)`, or `without (a, b)`.
impl fmt::Display for Grouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(names) => write!(f, "({})", names.join(", ")),
            Self::Without(names) => write!(f, "without ({})", names.join(", ")),
        }
    }
}

fn sorted<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Vec<String> {
    let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
    names.sort_unstable();
    names.dedup();
    names
}

// === impl Objective ===

impl Objective {
    /// A promise in events over a rolling window.
    pub fn rolling(target: Target, window: Duration) -> Self {
        Self { target, windows: vec![TimeWindow::Rolling(window)], budgeting: Budgeting::Occurrences }
    }

    /// The length of the first window, from which default alerts follow.
    pub fn period(&self) -> Duration {
        self.windows.first().map_or(Duration::ZERO, TimeWindow::nominal)
    }
}

// === impl TimeWindow ===

impl TimeWindow {
    /// The length of a rolling window.
    pub fn rolling(&self) -> Option<Duration> {
        match self {
            Self::Rolling(length) => Some(*length),
            Self::Calendar(_) => None,
        }
    }

    /// Its length; of a calendar window the usual one, whatever the present month has.
    pub fn nominal(&self) -> Duration {
        match self {
            Self::Rolling(length) => *length,
            Self::Calendar(calendar) => calendar.nominal(),
        }
    }
}

/// `30d`, or `month`: the value of the label `window`.
impl fmt::Display for TimeWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rolling(length) => f.write_str(&format_duration(*length)),
            Self::Calendar(calendar) => f.write_str(&calendar.name()),
        }
    }
}

// === impl Budgeting ===

impl Budgeting {
    /// The length of a slice, if it counts in slices.
    pub fn slice(&self) -> Option<Duration> {
        match *self {
            Self::Occurrences => None,
            Self::Timeslices { slice, .. } | Self::RatioTimeslices { slice } => Some(slice),
        }
    }
}

// === impl Threshold ===

impl Threshold {
    /// Whether a value meets the condition. NaN meets none.
    pub fn is_met_by(&self, value: f64) -> bool {
        match self.op {
            ThresholdOp::Less => value < self.bound,
            ThresholdOp::LessOrEqual => value <= self.bound,
            ThresholdOp::Greater => value > self.bound,
            ThresholdOp::GreaterOrEqual => value >= self.bound,
        }
    }
}

// === impl ThresholdOp ===

impl ThresholdOp {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Less, Self::LessOrEqual, Self::Greater, Self::GreaterOrEqual];

    /// OpenSLO's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Less => "lt",
            Self::LessOrEqual => "lte",
            Self::Greater => "gt",
            Self::GreaterOrEqual => "gte",
        }
    }

    /// PromQL's operator.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

// === impl Target ===

impl Target {
    /// A target from a ratio.
    ///
    /// # Errors
    /// When the ratio is above all there is, or promises nothing (0 and below).
    pub fn new(ratio: f64) -> Result<Self, TargetError> {
        if ratio > 0.0 && ratio <= 1.0 { Ok(Self(ratio)) } else { Err(TargetError(ratio)) }
    }

    /// The promised ratio of good events.
    pub fn ratio(self) -> f64 {
        self.0
    }

    /// Whether no event may be bad.
    pub fn is_all(self) -> bool {
        self.0 >= 1.0
    }

    /// The ratio of events that may be bad: `1 - target`.
    pub fn budget_ratio(self) -> f64 {
        1.0 - self.0
    }
}

// === impl BurnRateAlert ===

impl BurnRateAlert {
    /// Whether both are the same tier of an SLO's alerts, whatever else they say.
    pub fn is_tier_of(&self, other: &Self) -> bool {
        (&self.severity, self.short, self.long) == (&other.severity, other.short, other.long)
    }

    /// Whether the factor asks for more than every event being bad, so that it can never fire.
    pub fn can_never_fire(&self, target: Target) -> bool {
        self.factor * target.budget_ratio() >= 1.0
    }
}

// === impl WorkbookWindow ===

impl WorkbookWindow {
    /// The alert of this row for a period: `factor = share × period / long`.
    pub fn alert(&self, period: Duration, budgeting: Budgeting) -> BurnRateAlert {
        BurnRateAlert {
            name: None,
            min_total_events: 0.0,
            severity: self.severity.to_owned(),
            short: self.short,
            long: self.long,
            factor: self.budget_share * period.as_secs_f64() / self.long.as_secs_f64(),
            for_: Duration::ZERO,
            keep_firing_for: Duration::ZERO,
            min_bad_events: default_min_bad_events(self.severity, budgeting),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn the_workbook_factors_of_30_and_28_days() {
        let factors = |days| {
            let rounded = |alert: &BurnRateAlert| (alert.factor * 1_000.0).round() / 1_000.0;
            workbook_alerts(DAY * days, Budgeting::Occurrences).iter().map(rounded).collect::<Vec<_>>()
        };
        assert_eq!(factors(30), [14.4, 6.0, 3.0, 1.0]);
        assert_eq!(factors(28), [13.44, 5.6, 2.8, 0.933]);
    }

    #[test]
    fn a_short_period_shrinks_the_windows_instead() {
        let alerts = workbook_alerts(DAY / 2, Budgeting::Occurrences);
        let windows: Vec<u64> = alerts.iter().map(|alert| alert.long.as_secs()).collect();
        assert_eq!(windows, [60, 360, 1_440, 4_320]);
        assert_eq!(alerts[0].short.as_secs(), 5);
        assert!((alerts[0].factor - 14.4).abs() < 1e-9);
    }

    #[test]
    fn a_target_is_a_ratio() {
        assert!(!Target::new(0.999).unwrap().is_all());
        let all = Target::new(1.0).unwrap();
        assert!(all.is_all() && all.budget_ratio() == 0.0);
        for ratio in [0.0, 1.000_1, -0.5, 99.9, f64::NAN, f64::INFINITY] {
            assert!(Target::new(ratio).is_err(), "{ratio}");
        }
    }

    #[test]
    fn labels_of_groups_do_not_take_names_of_slod_s_own() {
        #[track_caller]
        fn check(grouping: &Grouping, expected: &str) {
            let mut pairs = vec![("__name__", "a"), ("job", "j"), ("service", "s"), ("zone", "z")];
            assert_eq!(grouping.of(LabelsRef::new(&mut pairs).unwrap()).to_string(), expected);
        }
        check(&Grouping::none(), "{}");
        check(&Grouping::by(["zone", "job", "none"]), r#"{job="j",zone="z"}"#);
        check(&Grouping::by(["service"]), r#"{exported_service="s"}"#);
        check(&Grouping::without(["job"]), r#"{exported_service="s",zone="z"}"#);
    }

    #[test]
    fn a_page_at_14_4_cannot_fire_at_90_percent() {
        let target = Target::new(0.9).unwrap();
        let dead: Vec<bool> = workbook_alerts(DAY * 30, Budgeting::Occurrences)
            .iter()
            .map(|alert| alert.can_never_fire(target))
            .collect();
        assert_eq!(dead, [true, false, false, false]);
    }
}
