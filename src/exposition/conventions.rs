//! Every series and label name that slod publishes about SLOs, with the help text of each.
//!
//! One place, because dashboards, rules and people's queries depend on them: a change here is a
//! change of interface.

/// The SLO's name within its service.
pub const LABEL_SLO: &str = "slo";
/// The service that makes the promise.
pub const LABEL_SERVICE: &str = "service";
/// The length of a window, as a Prometheus duration.
pub const LABEL_WINDOW: &str = "window";
/// The urgency of an alert.
pub const LABEL_SEVERITY: &str = "severity";
/// The long window of a burn-rate condition.
pub const LABEL_LONG_WINDOW: &str = "long_window";
/// The short window of a burn-rate condition.
pub const LABEL_SHORT_WINDOW: &str = "short_window";
/// One of the data statuses.
pub const LABEL_STATUS: &str = "status";

/// Name, help text and type of a published family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The metric name.
    pub name: &'static str,
    /// What it says, with its unit.
    pub help: &'static str,
    /// Whether it only ever grows.
    pub is_counter: bool,
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    Family { name, help, is_counter: false }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    Family { name, help, is_counter: true }
}

/// The central series.
pub const ERROR_BUDGET_REMAINING: Family = gauge(
    "slo_error_budget_remaining_ratio",
    "Share of the error budget that is left over the SLO's window: 1 untouched, 0 spent, negative overspent.",
);
/// The target.
pub const OBJECTIVE: Family = gauge("slo_objective_ratio", "Promised ratio of good events.");
/// Error ratio per window.
pub const ERROR_RATIO: Family =
    gauge("slo_error_ratio", "Bad events divided by all events in the window; 0 without events.");
/// Burn rate per window.
pub const BURN_RATE: Family =
    gauge("slo_burn_rate", "Error ratio in the window divided by the error budget ratio (1 - objective).");
/// Burn-rate conditions.
pub const BURN_RATE_CONDITION: Family = gauge(
    "slo_burn_rate_condition",
    "1 while the burn rate is above the alert's factor in both its long and its short window, else 0.",
);
/// Alert states.
pub const ALERT_STATE: Family = gauge(
    "slo_alert_state",
    "State of the burn-rate alert of this severity: 0 inactive, 1 pending, 2 firing.",
);
/// All events.
pub const EVENTS: Family = counter("slo_events_total", "Events counted for the SLO.");
/// Bad events.
pub const BAD_EVENTS: Family = counter("slo_bad_events_total", "Bad events counted for the SLO.");
/// Time to exhaustion.
pub const TIME_TO_EXHAUSTION: Family = gauge(
    "slo_time_to_exhaustion_seconds",
    "How long the error budget lasts at the present burn rate; +Inf when nothing burns, 0 when it is spent.",
);
/// Time to recovery.
pub const TIME_TO_RECOVERY: Family = gauge(
    "slo_time_to_recovery_seconds",
    "How long an overspent error budget takes to be positive again without further bad events; 0 when it is.",
);
/// Coverage.
pub const WINDOW_COVERAGE: Family =
    gauge("slo_window_coverage_ratio", "Share of the SLO's window in which its series were observed.");
/// Data status.
pub const DATA_STATUS: Family = gauge(
    "slo_data_status",
    "1 for the state the SLO's input is in, 0 for the others: ok, no_traffic, catching_up, stale, sender_down, no_series.",
);
/// Newest sample.
pub const LAST_SAMPLE: Family = gauge(
    "slo_last_sample_timestamp_seconds",
    "Time of the newest sample of any series of the SLO; 0 before the first.",
);
/// Information.
pub const INFO: Family =
    gauge("slo_info", "Always 1; labels carry what the SLO's specification says about it.");

/// slod's own families, in the order of the page.
pub const OWN: [Family; 14] = [
    ERROR_BUDGET_REMAINING,
    OBJECTIVE,
    ERROR_RATIO,
    BURN_RATE,
    BURN_RATE_CONDITION,
    ALERT_STATE,
    EVENTS,
    BAD_EVENTS,
    TIME_TO_EXHAUSTION,
    TIME_TO_RECOVERY,
    WINDOW_COVERAGE,
    DATA_STATUS,
    LAST_SAMPLE,
    INFO,
];
