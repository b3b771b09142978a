//! What an SLO has alerts for beside a budget that burns too fast: what is left of it, and data that does not come.
//!
//! Everything that has a life as an alert, whatever it waits for, is an [`AnyAlert`], and has a number within its SLO:
//! burn-rate alerts first.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{BurnRateAlert, Slo};
use crate::time::format_duration;

/// An alert on a state that an SLO is in.
#[derive(Clone, Debug, PartialEq)]
pub struct StateAlert {
    /// The name of the alert, if the spec gives it one.
    pub name: Option<String>,
    /// How urgent it is.
    pub severity: String,
    /// The state.
    pub cause: Cause,
    /// How long the SLO must be in it before the alert fires.
    pub for_: Duration,
    /// How long the alert goes on firing afterwards.
    pub keep_firing_for: Duration,
    /// Labels put on this alert beside those of the SLO.
    pub labels: BTreeMap<String, String>,
    /// Annotations put on this alert beside those of the SLO.
    pub annotations: BTreeMap<String, String>,
}

/// A state that is worth an alert. Budgets are those of the objective's first window.
#[derive(Clone, Debug, PartialEq)]
pub enum Cause {
    /// Less than this share of the budget is left.
    RemainingBelow(f64),
    /// Nothing is left of it.
    Exhausted,
    /// At the present burn rate it lasts less than this long.
    ExhaustedWithin(Duration),
    /// More than this share of it was spent within a time.
    DroppedBy {
        /// The share.
        share: f64,
        /// The time.
        within: Duration,
    },
    /// The data of the SLO is in one of these states.
    NoData(Vec<DataStatus>),
}

/// Whether an SLO's numbers can be believed, and if not, why. Exactly one holds at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataStatus {
    /// Samples arrive and events happen.
    Ok,
    /// Samples arrive, but no event happened in the shortest window of a minute or more.
    NoTraffic,
    /// A backlog is coming in: samples arrive much later than their time, and not yet all of them.
    CatchingUp,
    /// Its series ended, or sent nothing for five minutes, while the sender sends others.
    Stale,
    /// No sender has delivered anything for a while.
    SenderDown,
    /// No series has ever matched its selectors.
    #[default]
    NoSeries,
}

/// Any alert of an SLO.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AnyAlert<'a> {
    /// On a budget that burns too fast.
    BurnRate(&'a BurnRateAlert),
    /// On a state.
    State(&'a StateAlert),
}

// The names of alerts whose spec gives them none.
const BURN_RATE_ALERT: &str = "SLOErrorBudgetBurn";
const LOW_BUDGET_ALERT: &str = "SLOErrorBudgetLow";
const EXHAUSTED_ALERT: &str = "SLOErrorBudgetExhausted";
const EXHAUSTS_SOON_ALERT: &str = "SLOErrorBudgetExhaustsSoon";
const DROP_ALERT: &str = "SLOErrorBudgetDrop";
const NO_DATA_ALERT: &str = "SLONoData";

// === impl Slo ===

impl Slo {
    /// All its alerts, as they are numbered.
    pub fn all_alerts(&self) -> impl Iterator<Item = AnyAlert<'_>> {
        let of_state = self.state_alerts.iter().map(AnyAlert::State);
        self.alerts.iter().map(AnyAlert::BurnRate).chain(of_state)
    }

    /// The alert of a number.
    pub fn alert(&self, number: usize) -> Option<AnyAlert<'_>> {
        match number.checked_sub(self.alerts.len()) {
            None => self.alerts.get(number).map(AnyAlert::BurnRate),
            Some(number) => self.state_alerts.get(number).map(AnyAlert::State),
        }
    }
}

// === impl AnyAlert ===

impl<'a> AnyAlert<'a> {
    /// The label `alertname`.
    pub fn name(self) -> &'a str {
        let (given, usual) = match self {
            Self::BurnRate(alert) => (&alert.name, BURN_RATE_ALERT),
            Self::State(alert) => (&alert.name, alert.cause.usual_name()),
        };
        given.as_deref().unwrap_or(usual)
    }

    /// The label `severity`.
    pub fn severity(self) -> &'a str {
        match self {
            Self::BurnRate(alert) => &alert.severity,
            Self::State(alert) => &alert.severity,
        }
    }

    /// How long its condition must hold before it fires.
    pub fn for_(self) -> Duration {
        match self {
            Self::BurnRate(alert) => alert.for_,
            Self::State(alert) => alert.for_,
        }
    }

    /// How long it goes on firing after its condition ended.
    pub fn keep_firing_for(self) -> Duration {
        match self {
            Self::BurnRate(alert) => alert.keep_firing_for,
            Self::State(alert) => alert.keep_firing_for,
        }
    }

    /// Labels of its own.
    pub fn labels(self) -> &'a BTreeMap<String, String> {
        match self {
            Self::BurnRate(alert) => &alert.labels,
            Self::State(alert) => &alert.labels,
        }
    }

    /// Annotations of its own.
    pub fn annotations(self) -> &'a BTreeMap<String, String> {
        match self {
            Self::BurnRate(alert) => &alert.annotations,
            Self::State(alert) => &alert.annotations,
        }
    }

    /// Whether one goes on where the other was, whatever else they say.
    pub fn has_state_of(self, other: Self) -> bool {
        match (self, other) {
            (Self::BurnRate(one), Self::BurnRate(other)) => one.is_tier_of(other),
            (Self::State(one), Self::State(other)) => {
                one.severity == other.severity && one.cause == other.cause
            }
            _ => false,
        }
    }

    /// Whether both are one alert to whoever is told of them.
    pub fn is_one_with(self, other: Self) -> bool {
        let key = |alert: AnyAlert<'a>| (alert.name(), alert.severity(), alert.labels());
        key(self) == key(other)
    }
}

// === impl Cause ===

impl Cause {
    fn usual_name(&self) -> &'static str {
        match self {
            Self::RemainingBelow(_) => LOW_BUDGET_ALERT,
            Self::Exhausted => EXHAUSTED_ALERT,
            Self::ExhaustedWithin(_) => EXHAUSTS_SOON_ALERT,
            Self::DroppedBy { .. } => DROP_ALERT,
            Self::NoData(_) => NO_DATA_ALERT,
        }
    }

    /// The rolling window that it needs beside those of the objective.
    pub fn window(&self) -> Option<Duration> {
        match self {
            Self::DroppedBy { within, .. } => Some(*within),
            _ => None,
        }
    }
}

/// As it is stored: what it is known by after a restart.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemainingBelow(share) => write!(f, "remaining_below {share}"),
            Self::Exhausted => f.write_str("exhausted"),
            Self::ExhaustedWithin(time) => write!(f, "exhausted_within {}", format_duration(*time)),
            Self::DroppedBy { share, within } => {
                write!(f, "dropped_by {share} within {}", format_duration(*within))
            }
            Self::NoData(statuses) => {
                let names: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
                write!(f, "no_data {}", names.join(" "))
            }
        }
    }
}

// === impl DataStatus ===

impl DataStatus {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Ok, Self::NoTraffic, Self::CatchingUp, Self::Stale, Self::SenderDown, Self::NoSeries];

    /// The value of the label `status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoTraffic => "no_traffic",
            Self::CatchingUp => "catching_up",
            Self::Stale => "stale",
            Self::SenderDown => "sender_down",
            Self::NoSeries => "no_series",
        }
    }

    /// Whether the newest events are unknown, so that the windows prove nothing.
    pub fn is_blind(self) -> bool {
        matches!(self, Self::CatchingUp | Self::Stale | Self::SenderDown)
    }

    /// Of a grouped SLO: whether it is a matter of all groups at once, and not of one.
    pub fn is_of_all_groups(self) -> bool {
        matches!(self, Self::NoSeries | Self::SenderDown)
    }
}
