//! The names of all fields, as the reader knows them.

pub(super) const ROOT: [&str; 4] = ["apiVersion", "kind", "metadata", "spec"];
pub(super) const METADATA: [&str; 4] = ["name", "service", "labels", "annotations"];
pub(super) const SPEC: [&str; 4] = ["description", "sli", "objective", "alerting"];
pub(super) const SLI: [&str; 9] =
    ["type", "query", "bad_ratio", "good", "bad", "total", "threshold", "step", "group_by"];
pub(super) const THRESHOLD: [&str; 3] = ["metric", "op", "value"];
pub(super) const OBJECTIVE: [&str; 5] = ["target", "window", "windows", "budgeting", "slice"];
pub(super) const CALENDAR: [&str; 4] = ["calendar", "time_zone", "start", "count"];
pub(super) const SLICE: [&str; 2] = ["window", "target"];
pub(super) const ALERTING: [&str; 6] =
    ["burn_rate_alerts", "budget_alerts", "no_data_alerts", "inhibit", "min_bad_events", "min_total_events"];
pub(super) const ALERT: [&str; 11] = [
    "name",
    "severity",
    "burn_rate",
    "window",
    "short_window",
    "for",
    "keep_firing_for",
    "min_bad_events",
    "min_total_events",
    "labels",
    "annotations",
];
pub(super) const BUDGET_CAUSES: [&str; 4] =
    ["remaining_below", "exhausted", "exhausted_within", "dropped_by"];
pub(super) const BUDGET_ALERT: [&str; 11] = [
    "name",
    "severity",
    "remaining_below",
    "exhausted",
    "exhausted_within",
    "dropped_by",
    "within",
    "for",
    "keep_firing_for",
    "labels",
    "annotations",
];
pub(super) const NO_DATA_ALERT: [&str; 7] =
    ["name", "severity", "status", "for", "keep_firing_for", "labels", "annotations"];
