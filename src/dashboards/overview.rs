//! All SLOs at a glance, and slod itself.

use serde_json::json;

use super::model::{Dashboard, Panel, Variable};
use crate::exposition::conventions::{
    ALERT_STATE, BURN_RATE, DATA_STATUS, ERROR_BUDGET_REMAINING, EVENTS, Family, INFO, OBJECTIVE,
    TIME_TO_EXHAUSTION,
};

const BLIND: &str = "catching_up|stale|sender_down|no_series";
const LEGEND: &str = "{{service}} / {{slo}}";

pub(super) fn overview() -> Dashboard {
    let services = Variable::label("service", "Service", INFO.name, "service").multi();
    let windows = Variable::label("window", "Burn rate over", &of(BURN_RATE, ""), "window").initially("1h");
    let panels = [numbers(), slos(), over_time(), slod()].concat();
    Dashboard::new(
        "slod-overview",
        "SLOs / overview",
        "Error budgets and burn rates of all SLOs that slod evaluates. Made by slod dashboards.",
        vec![services, windows],
        panels,
    )
}

/// The series of a family of the services that are chosen.
fn of(family: Family, matchers: &str) -> String {
    format!("{}{{service=~\"$service\"{matchers}}}", family.name)
}

fn numbers() -> Vec<Panel> {
    let count = |what: String| format!("count({what}) or vector(0)");
    let warn = |panel: Panel| panel.colors("green", &[(1.0, "red")]);
    let blind = of(DATA_STATUS, &format!(",status=~\"{BLIND}\""));
    vec![
        Panel::stat("SLOs and groups", [0, 0, 4, 4], count(of(OBJECTIVE, ""))),
        warn(Panel::stat("Alerts firing", [4, 0, 5, 4], count(format!("{} == 2", of(ALERT_STATE, "")))))
            .about("Alerts of all severities."),
        warn(Panel::stat(
            "Budgets spent",
            [9, 0, 5, 4],
            count(format!("{} <= 0", of(ERROR_BUDGET_REMAINING, ""))),
        )),
        warn(Panel::stat("Blind", [14, 0, 5, 4], count(format!("{blind} == 1"))))
            .about("SLOs without usable data: their alerts cannot fire."),
        Panel::stat("Least budget left", [19, 0, 5, 4], format!("min({})", of(ERROR_BUDGET_REMAINING, "")))
            .unit("percentunit")
            .colors("red", &[(0.0, "orange"), (0.1, "yellow"), (0.5, "green")]),
    ]
}

fn slos() -> Vec<Panel> {
    let by_slo = |aggregation: &str, of: String| format!("{aggregation} by (service, slo) ({of})");
    let table = Panel::table("SLOs", [0, 4, 24, 11])
        .about("Of several windows or groups the worst.")
        .column(by_slo("min", of(ERROR_BUDGET_REMAINING, "")), "Budget left", "percentunit")
        .column(by_slo("max", of(BURN_RATE, ",window=\"$window\"")), "Burn rate", "none")
        .column(by_slo("min", of(TIME_TO_EXHAUSTION, "")), "Lasts", "s")
        .column(by_slo("max", of(ALERT_STATE, "")), "Alert (2 firing)", "none")
        .column(by_slo("max", of(OBJECTIVE, "")), "Objective", "percentunit")
        .transformed("organize", json!({"excludeByName": {"Time": true}}))
        .transformed("sortBy", json!({"sort": [{"field": "Value #A", "desc": false}]}));
    vec![table]
}

fn over_time() -> Vec<Panel> {
    let by_slo = |aggregation: &str, of: String| format!("{aggregation} by (service, slo) ({of})");
    vec![
        Panel::lines("Error budget left", [0, 15, 12, 9])
            .range(by_slo("min", of(ERROR_BUDGET_REMAINING, "")), LEGEND)
            .unit("percentunit"),
        Panel::lines("Burn rate over $window", [12, 15, 12, 9])
            .about("1 spends the budget exactly by the end of the SLO's window.")
            .range(by_slo("max", of(BURN_RATE, ",window=\"$window\"")), LEGEND),
    ]
}

/// What says whether the rest can be believed.
fn slod() -> Vec<Panel> {
    let rate = |of: &str| format!("rate({of}[$__rate_interval])");
    let by = |label: &str, of: String| format!("sum by ({label}) ({of})");
    vec![
        Panel::row("slod", 24),
        Panel::stat(
            "Last evaluation",
            [0, 25, 6, 4],
            "time() - slod_last_evaluation_timestamp_seconds".to_owned(),
        )
        .about("How long ago.")
        .unit("s")
        .colors("green", &[(60.0, "red")]),
        Panel::stat("Accepts samples", [6, 25, 6, 4], "slod_storage_log_accepting".to_owned())
            .words(&[("0", "no", "red"), ("1", "yes", "green")]),
        Panel::stat("Specs loaded", [12, 25, 6, 4], "slod_config_last_reload_successful".to_owned())
            .words(&[("0", "with errors", "red"), ("1", "yes", "green")]),
        Panel::stat(
            "Log without a checkpoint",
            [18, 25, 6, 4],
            "slod_storage_log_uncovered_bytes".to_owned(),
        )
        .unit("bytes")
        .colors("green", &[(1e9, "red")]),
        Panel::lines("Samples", [0, 29, 8, 8])
            .range(by("outcome", rate("slod_ingest_samples_total")), "{{outcome}}")
            .unit("cps"),
        Panel::lines("Events", [8, 29, 8, 8])
            .range(by("service", rate(&of(EVENTS, ""))), "{{service}}")
            .unit("cps"),
        Panel::lines("Evaluation", [16, 29, 8, 8])
            .range("slod_evaluation_duration_seconds".to_owned(), "quantile {{quantile}}")
            .unit("s"),
    ]
}
