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
pub(super) const ALERTING: [&str; 1] = ["burn_rate_alerts"];
pub(super) const ALERT: [&str; 9] = [
    "severity",
    "burn_rate",
    "window",
    "short_window",
    "for",
    "keep_firing_for",
    "min_bad_events",
    "labels",
    "annotations",
];
