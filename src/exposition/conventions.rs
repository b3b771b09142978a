//! Every series and label name that slod publishes about SLOs, with the help text of each.
//!
//! One place, because dashboards, rules and people's queries depend on them: a change here is a
//! change of interface. What Sloth's rules and Pyrra's generic rules call the same is here, too: those names
//! are theirs.

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

/// The prefix of the names of Sloth's error ratios: the window follows.
pub const SLOTH_ERROR_RATIO_PREFIX: &str = "slo:sli_error:ratio_rate";
/// Sloth's `<service>-<slo>`.
pub const LABEL_SLOTH_ID: &str = "sloth_id";
/// The service, as Sloth's series have it.
pub const LABEL_SLOTH_SERVICE: &str = "sloth_service";
/// The SLO's name, as Sloth's series have it.
pub const LABEL_SLOTH_SLO: &str = "sloth_slo";
/// The window of Sloth's ratios and of what is divided by them.
pub const LABEL_SLOTH_WINDOW: &str = "sloth_window";
/// What tells SLOs of the same name apart, which Pyrra itself does not.
pub const LABEL_NAMESPACE: &str = "namespace";

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

// --- what Sloth's rules record ---

/// Error ratio per window; the name goes on with the window.
pub const SLOTH_ERROR_RATIO: Family =
    gauge(SLOTH_ERROR_RATIO_PREFIX, "Bad events divided by all events in the window, as Sloth names it.");
/// The target.
pub const SLOTH_OBJECTIVE: Family =
    gauge("slo:objective:ratio", "Promised ratio of good events, as Sloth names it.");
/// The budget.
pub const SLOTH_ERROR_BUDGET: Family =
    gauge("slo:error_budget:ratio", "Ratio of bad events that the promise allows, as Sloth names it.");
/// The period.
pub const SLOTH_PERIOD: Family =
    gauge("slo:time_period:days", "Days of the SLO's window, as Sloth names it.");
/// Burn rate in the shortest window.
pub const SLOTH_CURRENT_BURN_RATE: Family =
    gauge("slo:current_burn_rate:ratio", "Burn rate in the shortest window, as Sloth names it.");
/// Burn rate in the period.
pub const SLOTH_PERIOD_BURN_RATE: Family =
    gauge("slo:period_burn_rate:ratio", "Spent share of the error budget, as Sloth names it.");
/// What is left.
pub const SLOTH_REMAINING: Family =
    gauge("slo:period_error_budget_remaining:ratio", "Share of the error budget left, as Sloth names it.");
/// Information.
pub const SLOTH_INFO: Family = gauge("sloth_slo_info", "Always 1; labels say what Sloth's say about an SLO.");

// --- what Pyrra's generic rules record ---

/// The target.
pub const PYRRA_OBJECTIVE: Family =
    gauge("pyrra_objective", "Promised ratio of good events, as Pyrra names it.");
/// The period.
pub const PYRRA_WINDOW: Family = gauge("pyrra_window", "Seconds of the SLO's window, as Pyrra names it.");
/// What was good.
pub const PYRRA_AVAILABILITY: Family =
    gauge("pyrra_availability", "Ratio of good events in the SLO's window, as Pyrra names it.");
/// All events.
pub const PYRRA_REQUESTS: Family =
    counter("pyrra_requests_total", "Events counted for the SLO, as Pyrra names it.");
/// Bad events.
pub const PYRRA_ERRORS: Family =
    counter("pyrra_errors_total", "Bad events counted for the SLO, as Pyrra names it.");

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

/// Sloth's.
pub const SLOTH: [Family; 8] = [
    SLOTH_ERROR_RATIO,
    SLOTH_OBJECTIVE,
    SLOTH_ERROR_BUDGET,
    SLOTH_PERIOD,
    SLOTH_CURRENT_BURN_RATE,
    SLOTH_PERIOD_BURN_RATE,
    SLOTH_REMAINING,
    SLOTH_INFO,
];

/// Pyrra's.
pub const PYRRA: [Family; 5] =
    [PYRRA_OBJECTIVE, PYRRA_WINDOW, PYRRA_AVAILABILITY, PYRRA_REQUESTS, PYRRA_ERRORS];
