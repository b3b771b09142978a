//! Native alerts as they are read, and what is refused.

use std::time::Duration;

use crate::{
    slo::{Cause, DataStatus, Slo},
    spec,
};

const HOUR: Duration = Duration::from_secs(3_600);

/// Whose field `alerting` begins in line 8.
fn text(alerting: &str) -> String {
    format!(
        "apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {{name: a, service: b}}
spec:
  sli: {{bad: sum(rate(e_total[5m])), total: sum(rate(r_total[5m]))}}
  objective: {{target: 99, window: 7d}}
  alerting:
    {alerting}
"
    )
}

fn read(alerting: &str) -> Slo {
    let mut specs = spec::read("f", &text(alerting));
    assert!(specs.diagnostics.is_empty(), "{:?}", specs.diagnostics);
    specs.slos.remove(0)
}

#[test]
fn budget_alerts_have_one_condition_each() {
    #[track_caller]
    fn check(alert: &str, expected: &Cause) {
        let slo = read(&format!("budget_alerts: [{{severity: ticket, for: 5m, {alert}}}]"));
        assert_eq!(slo.alerts.len(), 4, "the usual ones stay");
        let [alert] = &slo.state_alerts[..] else { panic!("{:?}", slo.state_alerts) };
        assert_eq!((&alert.cause, alert.for_, &*alert.severity), (expected, HOUR / 12, "ticket"));
    }
    check("remaining_below: 10%", &Cause::RemainingBelow(0.1));
    check("remaining_below: 0.5%", &Cause::RemainingBelow(0.005));
    check("exhausted: true", &Cause::Exhausted);
    check("exhausted_within: 3d", &Cause::ExhaustedWithin(HOUR * 72));
    check("dropped_by: 5, within: 1d", &Cause::DroppedBy { share: 0.05, within: HOUR * 24 });
}

#[test]
fn no_data_alerts_name_their_statuses_in_any_order() {
    let slo = read("no_data_alerts: [{severity: page, name: Blind, status: [sender_down, stale, stale]}]");
    let [alert] = &slo.state_alerts[..] else { panic!("{:?}", slo.state_alerts) };
    assert_eq!(alert.cause, Cause::NoData(vec![DataStatus::Stale, DataStatus::SenderDown]));
    assert_eq!(alert.name.as_deref(), Some("Blind"));
}

#[test]
fn guards_of_the_whole_hold_where_an_alert_says_nothing_else() {
    let own = "burn_rate_alerts: [{severity: page, burn_rate: 10, window: 1h, min_bad_events: 9}, \
               {severity: page, burn_rate: 5, window: 6h}], min_bad_events: 7, min_total_events: 100";
    let own = format!("{{{own}}}");
    let guards = |slo: &Slo| -> Vec<(f64, f64)> {
        slo.alerts.iter().map(|alert| (alert.min_bad_events, alert.min_total_events)).collect()
    };
    assert_eq!(guards(&read(&own)), [(9.0, 100.0), (7.0, 100.0)]);
    assert_eq!(guards(&read("min_total_events: 50")), [(3.0, 50.0), (3.0, 50.0), (1.0, 50.0), (1.0, 50.0)]);
}

#[test]
fn a_page_mutes_tickets_unless_told_otherwise() {
    let inhibits = ["min_bad_events: 1", "inhibit: true", "inhibit: false"].map(|text| read(text).inhibits);
    assert_eq!(inhibits, [true, true, false]);
}

#[test]
fn what_means_nothing_is_refused_with_its_place() {
    #[track_caller]
    fn check(alerting: &str, expected: &str) {
        let specs = spec::read("f", &text(alerting));
        let found: Vec<String> = specs.diagnostics.iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected]);
        assert!(specs.slos.is_empty(), "an error refuses the SLO");
    }
    check(
        "budget_alerts: [{severity: a}]",
        "f:8:21: error: a budget alert has one of remaining_below, exhausted, exhausted_within, dropped_by; got 0",
    );
    check(
        "budget_alerts: [{severity: a, exhausted: true, remaining_below: 5%}]",
        "f:8:21: error: a budget alert has one of remaining_below, exhausted, exhausted_within, dropped_by; got 2",
    );
    check(
        "budget_alerts: [{severity: a, exhausted: false}]",
        "f:8:46: error: exhausted is true, or the alert means nothing; drop it",
    );
    check(
        "budget_alerts: [{severity: a, exhausted: true, within: 1d}]",
        "f:8:60: error: within belongs to dropped_by, and means nothing to exhausted; drop it",
    );
    check("budget_alerts: [{severity: a, dropped_by: 5%}]", "f:8:21: error: missing field `within`");
    check(
        "budget_alerts: [{severity: a, dropped_by: 5%, within: 8d}]",
        "f:8:59: error: within 8d is longer than the objective's window 1w; shorten it",
    );
    check(
        "budget_alerts: [{severity: a, exhausted: true}, {severity: a, exhausted: true}]",
        "f:8:53: error: another alert has the same severity and condition; drop one of them",
    );
    check(
        "no_data_alerts: [{severity: a, status: []}]",
        "f:8:44: error: status is empty; name at least one, such as stale",
    );
    check(
        "no_data_alerts: [{severity: a, status: [ok]}]",
        "f:8:45: error: unknown status `ok`, expected one of no_traffic, catching_up, stale, sender_down, no_series",
    );
    check("min_total_events: -1", "f:8:23: error: min_total_events -1 must not be negative");
    check("inhibit: maybe", "f:8:14: error: inhibit must be true or false; got \"maybe\"");
}
