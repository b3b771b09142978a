//! What an objective means from the spec to the published page, where arithmetic is at its limit.

use std::time::Duration;

use slod::{
    exposition, spec,
    testing::{Sent, World, parse_labels},
    time::Timestamp,
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const STEP: Duration = Duration::from_secs(15);

const NO_BUDGET: &str = r#"
version: prometheus/v1
service: shop
slos:
  - name: everything
    objective: 100
    sli:
      events:
        error_query: sum(rate(requests_total{code="500"}[{{.window}}]))
        total_query: sum(rate(requests_total[{{.window}}]))
    alerting: {name: Bad, ticket_alert: {disable: true}}
"#;

/// Sends both counters at each step, with `bad` bad events in the last one, and gives the page.
fn page(bad: f64) -> String {
    let specs = spec::read("f", NO_BUDGET);
    assert!(!specs.has_errors(), "{:?}", specs.diagnostics);
    let mut world = World::immediate(specs.slos, Duration::from_secs(1), START);
    let counter = |code: &str, at, value| {
        let labels = parse_labels(&format!(r#"requests_total{{job="shop",code="{code}"}}"#)).unwrap();
        Sent { labels, at, value }
    };
    let mut at = START;
    for step in 0..20 {
        let bad = if step == 19 { bad } else { 0.0 };
        world.send(&[counter("200", at, f64::from(step) * 150.0), counter("500", at, bad)], at).unwrap();
        world.tick(at);
        at = at + STEP;
    }
    let report = world.tick(at);
    exposition::text(&report)
}

#[track_caller]
fn check(page: &str, series: &str, value: &str) {
    let found = page.lines().find(|line| line.starts_with(series)).map(|line| line.rsplit(' ').next());
    assert_eq!(found, Some(Some(value)), "{series}\n{page}");
}

#[test]
fn a_target_of_100_percent_is_met_or_overspent_without_limit_and_never_nan() {
    let of_page = r#"slo_burn_rate_condition{service="shop",slo="everything",long_window="1h""#;
    let (met, missed) = (page(0.0), page(4.0));
    for page in [&met, &missed] {
        assert!(!page.to_lowercase().contains("nan"), "{page}");
        check(page, "slo_objective_ratio", "1");
    }
    check(&met, "slo_error_budget_remaining_ratio", "1");
    check(&met, "slo_burn_rate{", "0");
    check(&met, of_page, "0");
    check(&missed, "slo_error_budget_remaining_ratio", "-Inf");
    check(&missed, "slo_burn_rate{", "+Inf");
    check(&missed, of_page, "1");
}
