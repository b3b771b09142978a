//! One SLO in detail.

use serde_json::json;

use super::model::{Dashboard, Panel, Variable};
use crate::exposition::conventions::{
    ALERT_STATE, BAD_EVENTS, BURN_RATE, BURN_RATE_CONDITION, DATA_STATUS, ERROR_BUDGET_REMAINING,
    ERROR_RATIO, EVENTS, Family, INFO, LAST_SAMPLE, OBJECTIVE, TIME_TO_EXHAUSTION, TIME_TO_RECOVERY,
    WINDOW_COVERAGE,
};

const STATES: [(&str, &str, &str); 3] =
    [("0", "inactive", "green"), ("1", "pending", "yellow"), ("2", "firing", "red")];

pub(super) fn detail() -> Dashboard {
    let services = Variable::label("service", "Service", INFO.name, "service");
    let of_service = format!("{}{{service=\"$service\"}}", INFO.name);
    let slos = Variable::label("slo", "SLO", &of_service, "slo");
    Dashboard::new(
        "slod-slo",
        "SLOs / one SLO",
        "The error budget of an SLO and what spends it. Made by slod dashboards.",
        vec![services, slos],
        [numbers(), budget(), alerts(), data()].concat(),
    )
}

/// The series of a family of the SLO that is chosen: one for each group.
fn of(family: Family) -> String {
    of_with(family, "")
}

fn of_with(family: Family, matchers: &str) -> String {
    format!("{}{{service=\"$service\",slo=\"$slo\"{matchers}}}", family.name)
}

fn numbers() -> Vec<Panel> {
    let by_window = |aggregation: &str, family| format!("{aggregation} by (window) ({})", of(family));
    let budget = Panel::stat("Budget left", [4, 0, 5, 5], by_window("min", ERROR_BUDGET_REMAINING))
        .about("Of several groups the least.")
        .unit("percentunit")
        .colors("red", &[(0.0, "orange"), (0.1, "yellow"), (0.5, "green")]);
    let firing = format!("max({})", of(ALERT_STATE));
    vec![
        Panel::stat("Objective", [0, 0, 4, 5], format!("max({})", of(OBJECTIVE)))
            .unit("percentunit")
            .default("decimals", json!(3)),
        budget,
        Panel::stat("It lasts", [9, 0, 4, 5], by_window("min", TIME_TO_EXHAUSTION))
            .about("At the present burn rate; for ever when nothing burns.")
            .unit("s"),
        Panel::stat("Recovered in", [13, 0, 4, 5], by_window("max", TIME_TO_RECOVERY))
            .about("When a spent budget is positive again if nothing bad happens.")
            .unit("s"),
        Panel::stat("Alerts", [17, 0, 3, 5], firing).words(&STATES),
        Panel::stat("Data", [20, 0, 4, 5], format!("max by (status) ({} == 1)", of(DATA_STATUS)))
            .about("Whether the numbers can be believed.")
            .default("displayName", json!("${__field.labels.status}"))
            .words(&[("1", "now", "text")]),
    ]
}

fn budget() -> Vec<Panel> {
    let by_window = |aggregation: &str, family| format!("{aggregation} by (window) ({})", of(family));
    let rate = |family| format!("sum(rate({}[$__rate_interval]))", of(family));
    vec![
        Panel::row("Budget", 5),
        Panel::lines("Error budget left", [0, 6, 12, 9])
            .range(by_window("min", ERROR_BUDGET_REMAINING), "{{window}}")
            .unit("percentunit"),
        Panel::lines("Burn rates", [12, 6, 12, 9])
            .about("1 spends the budget exactly by the end of the SLO's window.")
            .range(by_window("max", BURN_RATE), "{{window}}"),
        Panel::lines("Error ratios", [0, 15, 12, 9])
            .range(by_window("max", ERROR_RATIO), "{{window}}")
            .unit("percentunit"),
        Panel::lines("Events", [12, 15, 12, 9])
            .range(rate(EVENTS), "all")
            .range(rate(BAD_EVENTS), "bad")
            .unit("cps"),
    ]
}

fn alerts() -> Vec<Panel> {
    let conditions = format!("max by (severity, long_window, short_window) ({})", of(BURN_RATE_CONDITION));
    vec![
        Panel::row("Alerts", 24),
        Panel::states("Alerts", [0, 25, 12, 7])
            .range(format!("max by (severity) ({})", of(ALERT_STATE)), "{{severity}}")
            .words(&STATES),
        Panel::states("Conditions", [12, 25, 12, 7])
            .about("Whether both windows burn faster than the alert's factor.")
            .range(conditions, "{{severity}} {{long_window}}, {{short_window}}")
            .words(&[("0", "no", "green"), ("1", "yes", "orange")]),
    ]
}

fn data() -> Vec<Panel> {
    vec![
        Panel::row("Data and groups", 32),
        Panel::states("Data status", [0, 33, 12, 7])
            .range(format!("max by (status) ({})", of(DATA_STATUS)), "{{status}}")
            .words(&[("0", "no", "transparent"), ("1", "yes", "blue")]),
        Panel::lines("Age of the newest sample", [12, 33, 6, 7])
            .range(format!("time() - max({} > 0)", of(LAST_SAMPLE)), "newest sample")
            .unit("s"),
        Panel::lines("Coverage", [18, 33, 6, 7])
            .about("The share of the window in which series were observed.")
            .range(format!("min by (window) ({})", of(WINDOW_COVERAGE)), "{{window}}")
            .unit("percentunit"),
        Panel::table("Groups", [0, 40, 24, 10])
            .column(of(ERROR_BUDGET_REMAINING), "Budget left", "percentunit")
            .transformed(
                "organize",
                json!({"excludeByName": {"Time": true, "__name__": true, "instance": false, "job": true}}),
            )
            .transformed("sortBy", json!({"sort": [{"field": "Value #A", "desc": false}]})),
    ]
}
