//! The result of one evaluation: immutable, shared by every reader.
//!
//! `/metrics`, the terminal and later the API all show the same instant, because they all read one
//! `Arc<Report>`; none of them can hold up the evaluation or the ingest path.

use std::{sync::Arc, time::Duration};

use crate::{alert::AlertState, labels::Labels, slo::Slo, time::Timestamp};

/// Every SLO instance at one instant of event time.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The event time up to which samples were counted.
    pub evaluated_at: Timestamp,
    /// By SLO as the specs give them, the instances of one SLO in the order of their appearance.
    pub slos: Vec<SloReport>,
}

/// One instance of an SLO: the SLO itself, or one of its groups.
#[derive(Clone, Debug)]
pub struct SloReport {
    /// The SLO as specified.
    pub slo: Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping.
    pub group: Labels,
    /// Whether the numbers below can be believed.
    pub status: DataStatus,
    /// Every window of the SLO, its period among them, shortest first.
    pub windows: Vec<WindowReport>,
    /// All events counted since the instance exists.
    pub events_total: f64,
    /// The bad ones among them.
    pub bad_events_total: f64,
    /// `1 - error ratio / (1 - target)` over the period: 1 untouched, 0 spent, below 0 overspent.
    pub error_budget_remaining: f64,
    /// How long the budget lasts at the present burn rate; `None`: for ever.
    pub time_to_exhaustion: Option<Duration>,
    /// How long an overspent budget takes to be positive again if nothing bad happens; zero if it is.
    pub time_to_recovery: Duration,
    /// The share of the period that was observed.
    pub coverage: f64,
    /// The newest sample of any of its series.
    pub last_sample: Option<Timestamp>,
    /// One entry for each of `slo.alerts`, in their order.
    pub alerts: Vec<AlertReport>,
}

/// The counts of one window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WindowReport {
    /// The window's length; it ends at [`Report::evaluated_at`].
    pub window: Duration,
    /// Events in it; fractional where the window's edge cuts a slot.
    pub events: f64,
    /// The bad ones among them.
    pub bad_events: f64,
    /// `bad / all`, within 0 and 1; 0 when nothing happened.
    pub error_ratio: f64,
    /// `error_ratio / (1 - target)`.
    pub burn_rate: f64,
}

/// One burn-rate alert of an instance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlertReport {
    /// Whether both windows burn faster than the factor allows.
    pub condition: bool,
    /// Where the alert is in its life.
    pub state: AlertState,
}

/// Whether an SLO's numbers can be believed, and if not, why. Exactly one holds at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    NoSeries,
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
}
