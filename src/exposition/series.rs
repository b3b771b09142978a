//! Which series an instance has, and where in a report the value of each is found.
//!
//! This is the one place that says so; pages and remote-write both go by it. It knows neither texts nor formats.
//!
//! Invariant: the series of a report differ in their names or labels. What tells instances apart (service, name and
//! group) is always among them, and of an instance's alerts that differ in nothing published one series speaks.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Config,
    conventions::{self as names, Family},
};
use crate::{
    burn_rate,
    matching::Role,
    report::{Budget, DataStatus, View},
    slo::{BurnRateAlert, EXPORTED, OWN_LABELS, Slo},
    time::format_duration,
};

/// A family of series, in the order of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Whose name it has.
    pub dialect: Dialect,
    number: u8,
    /// The part of the name that is a window.
    window: Option<Duration>,
}

/// Whose names and labels series have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// slod's own.
    Slod,
    /// Those of the rules that Sloth generates.
    Sloth,
    /// Those of Pyrra's generic rules.
    Pyrra,
}

/// Where the value of a series is found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// 1, of series whose labels say everything.
    One,
    /// The target.
    Objective,
    /// `1 - Objective`.
    BudgetRatio,
    /// The length of the first window in days.
    PeriodDays,
    /// The length of the first window in seconds.
    PeriodSeconds,
    /// Of the budget of this number.
    Remaining(usize),
    /// Of the budget of this number.
    Exhaustion(usize),
    /// Of the budget of this number.
    Recovery(usize),
    /// Of the budget of this number.
    Coverage(usize),
    /// Of the counted window of this number.
    ErrorRatio(usize),
    /// Of the counted window of this number.
    BurnRate(usize),
    /// `1 - ErrorRatio`.
    Availability(usize),
    /// Whether the condition of one of these alerts holds.
    AnyCondition(Vec<usize>),
    /// The state of the most advanced of these alerts.
    Level(Vec<usize>),
    /// All that were counted.
    Events,
    /// The bad ones among them.
    BadEvents,
    /// `1 - Remaining`.
    Spent(usize),
    /// Whether it is the data status of this number.
    Status(usize),
    /// When it was taken.
    LastSample,
}

/// The names that SLOs of several services have: Pyrra's series tell them apart by a label more.
#[derive(Debug, Default)]
pub(super) struct Repeated(BTreeSet<String>);

/// Labels by name.
pub(super) type Pairs<'a> = BTreeMap<&'a str, Cow<'a, str>>;

/// A series of an instance beside what all of the instance have.
#[derive(Debug)]
pub(super) struct Series<'a> {
    pub(super) kind: Kind,
    pub(super) labels: Pairs<'a>,
    pub(super) value: Value,
}

const OWN_KINDS: [Kind; names::OWN.len()] = kinds(Dialect::Slod);
const SLOTH_KINDS: [Kind; names::SLOTH.len()] = kinds(Dialect::Sloth);
const PYRRA_KINDS: [Kind; names::PYRRA.len()] = kinds(Dialect::Pyrra);

// The last of them.
const INFO: u8 = names::OWN.len() as u8 - 1;

const DAY_SECONDS: f64 = 86_400.0;

const fn kinds<const N: usize>(dialect: Dialect) -> [Kind; N] {
    let mut kinds = [Kind { dialect, number: 0, window: None }; N];
    let mut number = 0;
    while number < N {
        kinds[number].number = number as u8;
        number += 1;
    }
    kinds
}

// === impl Kind ===

impl Kind {
    /// The name of its series.
    pub fn name(self) -> Cow<'static, str> {
        let name = self.family().name;
        match self.window {
            Some(window) => Cow::Owned(format!("{name}{}", format_duration(window))),
            None => Cow::Borrowed(name),
        }
    }

    /// Whether labels are all that it says, so that every instance has others.
    pub(super) fn is_info(self) -> bool {
        self.dialect == Dialect::Slod && self.number == INFO
    }

    /// What it is.
    pub fn family(self) -> Family {
        self.dialect.families()[usize::from(self.number)]
    }
}

// === impl Dialect ===

impl Dialect {
    pub(super) const ALL: [Self; 3] = [Self::Slod, Self::Sloth, Self::Pyrra];

    pub(super) fn families(self) -> &'static [Family] {
        match self {
            Self::Slod => &names::OWN,
            Self::Sloth => &names::SLOTH,
            Self::Pyrra => &names::PYRRA,
        }
    }

    /// The labels that tell an instance from all others.
    pub(super) fn identity<'a>(self, view: &View<'a>, config: &Config, repeated: &Repeated) -> Pairs<'a> {
        let slo: &'a Slo = view.slo;
        let allowed = slo.labels.iter().filter(|(name, _)| config.allows(name));
        let mut labels: Pairs<'a> =
            allowed.map(|(name, value)| (name.as_str(), value.as_str().into())).collect();
        labels.extend(view.group.iter().map(|(name, value)| (name, value.into())));
        match self {
            Self::Slod => {
                labels.insert(names::LABEL_SERVICE, slo.id.service.as_str().into());
                labels.insert(names::LABEL_SLO, slo.id.name.as_str().into());
            }
            Self::Sloth => {
                labels = with_names_as_specified(labels);
                let id = format!("{}-{}", slo.id.service, slo.id.name);
                labels.insert(names::LABEL_SLOTH_ID, id.into());
                labels.insert(names::LABEL_SLOTH_SERVICE, slo.id.service.as_str().into());
                labels.insert(names::LABEL_SLOTH_SLO, slo.id.name.as_str().into());
            }
            Self::Pyrra => {
                labels = with_names_as_specified(labels);
                labels.insert(names::LABEL_SLO, slo.id.name.as_str().into());
                if repeated.0.contains(&slo.id.name) {
                    labels.insert(names::LABEL_NAMESPACE, slo.id.service.as_str().into());
                }
            }
        }
        labels
    }

    /// Its series of an instance.
    pub(super) fn series<'a>(self, view: &View<'a>, config: &Config) -> Vec<Series<'a>> {
        match self {
            Self::Slod => own_series(view, config),
            Self::Sloth => sloth_series(view),
            Self::Pyrra => pyrra_series(view),
        }
    }
}

/// The tools whose dialects these are have no labels of slod's, so that theirs need no other names.
fn with_names_as_specified(labels: Pairs<'_>) -> Pairs<'_> {
    let specified = |name: &str| name.strip_prefix(EXPORTED).is_some_and(|name| OWN_LABELS.contains(&name));
    let (renamed, mut rest): (Pairs<'_>, Pairs<'_>) =
        labels.into_iter().partition(|(name, _)| specified(name));
    for (name, value) in renamed {
        rest.entry(&name[EXPORTED.len()..]).or_insert(value);
    }
    rest
}

// === impl Repeated ===

impl Repeated {
    pub(super) fn of<'a>(views: impl Iterator<Item = View<'a>>) -> Self {
        // Others have no such series.
        let whole = views.filter(|view| view.role == Role::Whole);
        let ids: BTreeSet<(&str, &str)> =
            whole.map(|view| &view.slo.id).map(|id| (&*id.name, &*id.service)).collect();
        let ids: Vec<(&str, &str)> = ids.into_iter().collect();
        let repeated = ids.windows(2).filter(|pair| pair[0].0 == pair[1].0);
        Self(repeated.map(|pair| pair[0].0.to_owned()).collect())
    }
}

// === impl Value ===

impl Value {
    /// The number in a report. Never NaN.
    pub fn of(&self, view: &View<'_>) -> f64 {
        let target = view.slo.objective.target;
        let budget = |number: &usize| -> &Budget { &view.budgets[*number] };
        match self {
            Self::One => 1.0,
            Self::Objective => target.ratio(),
            Self::BudgetRatio => target.budget_ratio(),
            Self::PeriodDays => view.slo.objective.period().as_secs_f64() / DAY_SECONDS,
            Self::PeriodSeconds => view.slo.objective.period().as_secs_f64(),
            Self::Remaining(number) => budget(number).remaining,
            Self::Spent(number) => 1.0 - budget(number).remaining,
            Self::Exhaustion(number) => seconds(budget(number).exhaustion_s, f64::INFINITY),
            Self::Recovery(number) => seconds(budget(number).recovery_s, Duration::MAX.as_secs_f64()),
            Self::Coverage(number) => budget(number).coverage,
            Self::ErrorRatio(window) => error_ratio(view, *window),
            Self::Availability(window) => 1.0 - error_ratio(view, *window),
            Self::BurnRate(window) => {
                let counts = view.counts[*window];
                burn_rate::burn_rate(counts.bad, counts.total, target.budget_ratio())
            }
            Self::AnyCondition(alerts) => {
                f64::from(u8::from(alerts.iter().any(|alert| view.alerts[*alert].condition)))
            }
            Self::Level(alerts) => {
                f64::from(alerts.iter().map(|alert| view.alerts[*alert].level).max().unwrap_or(0))
            }
            Self::Events => view.row.lifetime.total,
            Self::BadEvents => view.row.lifetime.bad,
            Self::Status(number) => f64::from(u8::from(DataStatus::ALL[*number] == view.row.status)),
            Self::LastSample => view.row.last_sample.map_or(0.0, |last| last.seconds()),
        }
    }
}

fn error_ratio(view: &View<'_>, window: usize) -> f64 {
    let counts = view.counts[window];
    burn_rate::error_ratio(counts.bad, counts.total)
}

/// What no duration holds is said otherwise.
fn seconds(seconds: f64, otherwise: f64) -> f64 {
    if (0.0..=Duration::MAX.as_secs_f64()).contains(&seconds) { seconds } else { otherwise }
}

// === slod's own ===

fn own_series<'a>(view: &View<'a>, config: &Config) -> Vec<Series<'a>> {
    let [remaining, objective, ratio, burn, conditions, levels, rest @ ..] = OWN_KINDS;
    let [events, bad_events, exhaustion, recovery, coverage, status, last_sample, info] = rest;
    let mut all = vec![
        plain(objective, Value::Objective),
        plain(events, Value::Events),
        plain(bad_events, Value::BadEvents),
        plain(last_sample, Value::LastSample),
        Series { kind: info, labels: info_labels(view, config), value: Value::One },
    ];
    for (number, window) in view.slo.objective.windows.iter().enumerate() {
        let mut add = |kind, value| all.push(with(kind, names::LABEL_WINDOW, window.to_string(), value));
        add(remaining, Value::Remaining(number));
        add(exhaustion, Value::Exhaustion(number));
        add(recovery, Value::Recovery(number));
        add(coverage, Value::Coverage(number));
    }
    for (window, number) in &view.shape.windows {
        all.push(with(ratio, names::LABEL_WINDOW, window.to_string(), Value::ErrorRatio(*number)));
        all.push(with(burn, names::LABEL_WINDOW, window.to_string(), Value::BurnRate(*number)));
    }
    for (number, each) in DataStatus::ALL.iter().enumerate() {
        all.push(with(status, names::LABEL_STATUS, each.name(), Value::Status(number)));
    }
    all.extend(condition_series(conditions, view, config));
    all.extend(level_series(levels, view, config));
    all
}

fn plain<'a>(kind: Kind, value: Value) -> Series<'a> {
    Series { kind, labels: Pairs::new(), value }
}

fn with<'a>(kind: Kind, name: &'a str, label: impl Into<Cow<'a, str>>, value: Value) -> Series<'a> {
    Series { kind, labels: Pairs::from([(name, label.into())]), value }
}

fn alerts<'a>(view: &View<'a>) -> impl Iterator<Item = (usize, &'a BurnRateAlert)> {
    let slo: &'a Slo = view.slo;
    // A roll-up has none of them.
    slo.alerts.iter().enumerate().take(view.alerts.len())
}

/// One for each pair of windows; alerts whose labels are the same share it.
fn condition_series<'a>(kind: Kind, view: &View<'a>, config: &Config) -> impl Iterator<Item = Series<'a>> {
    let mut series: BTreeMap<Pairs<'a>, Vec<usize>> = BTreeMap::new();
    for (number, alert) in alerts(view) {
        let mut labels = alert_labels(view, alert, config);
        labels.insert(names::LABEL_SEVERITY, alert.severity.as_str().into());
        labels.insert(names::LABEL_LONG_WINDOW, format_duration(alert.long).into());
        labels.insert(names::LABEL_SHORT_WINDOW, format_duration(alert.short).into());
        series.entry(labels).or_default().push(number);
    }
    let series = series.into_iter();
    series.map(move |(labels, alerts)| Series { kind, labels, value: Value::AnyCondition(alerts) })
}

/// One per severity, with the state of its most advanced alert: an incident that two windows see is still one
/// alert.
fn level_series<'a>(kind: Kind, view: &View<'a>, config: &Config) -> impl Iterator<Item = Series<'a>> {
    let mut levels: BTreeMap<&str, (Pairs<'a>, Vec<usize>)> = BTreeMap::new();
    for (number, alert) in alerts(view) {
        let (labels, numbers) = levels.entry(&alert.severity).or_default();
        labels.extend(alert_labels(view, alert, config));
        labels.insert(names::LABEL_SEVERITY, alert.severity.as_str().into());
        numbers.push(number);
    }
    let levels = levels.into_values();
    levels.map(move |(labels, alerts)| Series { kind, labels, value: Value::Level(alerts) })
}

/// The labels of an alert but those that tell instances apart.
fn alert_labels<'a>(view: &View<'a>, alert: &'a BurnRateAlert, config: &Config) -> Pairs<'a> {
    let is_own = |name: &str| [names::LABEL_SLO, names::LABEL_SERVICE].contains(&name);
    let labels = alert
        .labels
        .iter()
        .filter(|(name, _)| config.allows(name) && !is_own(name) && view.group.get(name).is_empty());
    labels.map(|(name, value)| (name.as_str(), value.as_str().into())).collect()
}

/// What the spec says, annotations included: those of the SLO before those of its alerts, in their order.
fn info_labels<'a>(view: &View<'a>, config: &Config) -> Pairs<'a> {
    let slo: &'a Slo = view.slo;
    let of_alerts = slo.alerts.iter().rev().flat_map(|alert| &alert.annotations);
    let annotations = of_alerts.chain(&slo.annotations).filter(|(name, _)| config.allows(name));
    let mut labels: Pairs<'a> =
        annotations.map(|(name, value)| (name.as_str(), value.as_str().into())).collect();
    labels.insert(names::LABEL_WINDOW, slo.objective.windows[0].to_string().into());
    labels.insert("objective", slo.objective.target.ratio().to_string().into());
    labels.insert("description", slo.description.as_str().into());
    // What tells instances apart stays what it is.
    labels.retain(|name, value| is_label_name(name) && !value.is_empty() && !is_identity(view, name));
    labels
}

fn is_identity(view: &View<'_>, name: &str) -> bool {
    let is_own = [names::LABEL_SLO, names::LABEL_SERVICE].contains(&name) || name.starts_with("__");
    is_own || view.slo.labels.contains_key(name) || !view.group.get(name).is_empty()
}

/// Prometheus' rule for label names.
fn is_label_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

mod compat;
use compat::{pyrra_series, sloth_series};
