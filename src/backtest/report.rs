//! What a replay came to.

use std::{sync::Arc, time::Duration};

use super::{incidents::Incident, span::Span, tune::Tuning};
use crate::{
    labels::Labels,
    matching::Role,
    slo::{Slo, SloId},
    time::Timestamp,
};

/// What would have happened.
#[derive(Clone, Debug)]
pub struct Report {
    /// From the first sample to the last evaluation.
    pub span: Span,
    /// The time between two evaluations: so exact are times of alerts.
    pub interval: Duration,
    /// How many samples were replayed.
    pub samples: u64,
    /// How many were left out, since they were not later than the one before in their series.
    pub unordered: u64,
    /// How many were refused, as they would have been by a daemon.
    pub refused: u64,
    /// Why the first of them was.
    pub first_refusal: Option<String>,
    /// Every instance, by SLO as the specs give them.
    pub instances: Vec<InstanceReport>,
    /// SLOs that history says nothing of, and why.
    pub silent: Vec<Silent>,
    /// How the alerts did in the incidents that were given; empty if none were.
    pub scores: Vec<Score>,
    /// Incidents that were given and lie outside of this history.
    pub outside: Vec<Incident>,
    /// Better settings, where they were asked for: one for each SLO and severity.
    pub tunings: Vec<Tuning>,
}

/// An SLO that history says nothing of.
#[derive(Clone, Debug, PartialEq)]
pub struct Silent {
    /// Which.
    pub slo: SloId,
    /// Why.
    pub reason: String,
}

/// What an instance of an SLO came to.
#[derive(Clone, Debug)]
pub struct InstanceReport {
    /// The SLO as specified.
    pub slo: Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping and for a roll-up.
    pub group: Labels,
    /// Which part of the SLO it is.
    pub role: Role,
    /// Events counted.
    pub events: f64,
    /// The bad ones among them.
    pub bad_events: f64,
    /// Every alert, in the order of time.
    pub firings: Vec<Firing>,
    /// By severity, in the order of the SLO's alerts.
    pub severities: Vec<SeverityTotal>,
    /// The budget at the end of each day, UTC; the last one at the end of history.
    pub days: Vec<Remaining>,
    /// The budget at every hour.
    pub hours: Vec<Remaining>,
    /// When the least of it remained.
    pub lowest: Remaining,
    /// What alerts should have told, and how they did.
    pub incidents: Vec<Met>,
}

/// What remained of a budget.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Remaining {
    /// When.
    pub at: Timestamp,
    /// As a ratio of the budget.
    pub ratio: f64,
    /// The share of the window that was observed.
    pub coverage: f64,
}

/// An alert that would have been raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Firing {
    /// Its place among the SLO's alerts.
    pub alert: usize,
    /// From when to when it fired.
    pub span: Span,
    /// Whether it was still firing at the end of history.
    pub is_open: bool,
    /// What remained of the budget when it was raised.
    pub remaining: f64,
}

/// What the alerts of a severity came to. Those of several tiers at once count once.
#[derive(Clone, Debug, PartialEq)]
pub struct SeverityTotal {
    /// Such as `page`.
    pub severity: String,
    /// How often anything of it was raised.
    pub alerts: usize,
    /// How long anything of it fired.
    pub firing: Duration,
    /// The same in minutes a week.
    pub minutes_per_week: f64,
}

/// An incident and what the alerts of an instance said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Met {
    /// Which.
    pub incident: Incident,
    /// The share of the period's budget that was spent in it.
    pub spent: f64,
    /// By severity, in the order of the SLO's alerts.
    pub answers: Vec<Answer>,
}

/// What the alerts of a severity said of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Such as `page`.
    pub severity: String,
    /// How long after its start anything fired; `None` if nothing did.
    pub detected: Option<Duration>,
    /// How long after its end something still fired; `None` if nothing did, or does to the end of history.
    pub reset: Option<Duration>,
}

/// How the alerts of a kind did in the incidents that were given.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Such as `page`.
    pub severity: String,
    /// Its windows and factor; `None` for all of the severity together.
    pub tier: Option<Tier>,
    /// How many alerts there were.
    pub alerts: usize,
    /// The share of the alerts that belong to an incident; `None` without alerts.
    pub precision: Option<f64>,
    /// How many incidents could have been told.
    pub incidents: usize,
    /// The share of the incidents that were; `None` without incidents.
    pub recall: Option<f64>,
    /// How long it took to tell, in the middle.
    pub detection_median: Option<Duration>,
    /// How long at most.
    pub detection_max: Option<Duration>,
    /// The incidents that were not.
    pub missed: Vec<String>,
    /// The alerts that belong to none.
    pub false_alerts: Vec<(SloId, Timestamp)>,
}

/// The windows and the factor of an alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tier {
    /// The long window.
    pub long: Duration,
    /// The short window.
    pub short: Duration,
    /// The burn rate that both must exceed.
    pub factor: f64,
}
