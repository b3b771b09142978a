//! What a range query says of the past is what reports said then.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use slod::{
    report::Report,
    testing::{Sent, World, parse_labels, slos},
    time::{Timestamp, parse_duration},
    web::{Question, Reply},
};

// The beginning of a day.
pub const START: Timestamp = Timestamp(1_700_006_400_000);
const SCRAPE: Duration = Duration::from_secs(10);

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: shop, labels: {tier: "1"}, annotations: {runbook_url: "http://r"}}
spec:
  sli: {bad: "sum(rate(errors_total[5m]))", total: "sum(rate(requests_total[5m]))"}
  objective: {target: 99, windows: [7d, {calendar: day}]}
  alerting:
    burn_rate_alerts:
      - {severity: page, burn_rate: 14.4, window: 1h, short_window: 5m}
      - {severity: page, burn_rate: 6, window: 6h, short_window: 30m}
      - {severity: ticket, burn_rate: 3, window: 2h, short_window: 10m, for: 1h}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-route, service: shop}
spec:
  sli: {bad: "sum by (route) (rate(errors_total[5m]))", total: "sum by (route) (rate(requests_total[5m]))"}
  objective: {target: 99, window: 30d}
  alerting:
    burn_rate_alerts: []
    budget_alerts:
      - {severity: ticket, exhausted: true}
      - {severity: ticket, remaining_below: 50%, for: 2h}
      - {severity: ticket, exhausted_within: 30d, name: EndsSoon}
      - {severity: page, dropped_by: 90%, within: 1h}
    no_data_alerts:
      - {severity: ticket, status: [no_traffic, stale]}
"#;

/// A service of two routes, and slod.
pub struct Service {
    world: World,
    pub now: Timestamp,
    requests: f64,
    errors: f64,
    pub report: Arc<Report>,
}

impl Service {
    pub fn new() -> Self {
        let world = World::immediate(slos(SPEC), SCRAPE, START);
        Self { world, now: START, requests: 0.0, errors: 0.0, report: Arc::default() }
    }

    /// A scrape with ten requests to each route, of which so many to one fail.
    pub fn scrape(&mut self, errors: f64) {
        self.now = self.now + SCRAPE;
        (self.requests, self.errors) = (self.requests + 10.0, self.errors + errors);
        let sample =
            |series: &str, value| Sent { labels: parse_labels(series).unwrap(), at: self.now, value };
        let samples = [
            sample(r#"requests_total{route="/pay"}"#, self.requests),
            sample(r#"errors_total{route="/pay"}"#, self.errors),
            sample(r#"requests_total{route="/home"}"#, self.requests),
        ];
        self.world.send(&samples, self.now).unwrap();
        self.report = self.world.tick(self.now);
    }

    pub fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Reply {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let question =
            Question { path: format!("/api/v1/{path}"), parameters: parameters.iter().map(owned).collect() };
        self.world.ask(&question, &self.report, self.now).unwrap()
    }

    /// Asks what has an answer.
    #[track_caller]
    pub fn data(&self, path: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let reply = self.ask(path, parameters);
        assert_eq!(reply.status, 200, "{path} {parameters:?}: {}", reply.json);
        serde_json::from_str::<serde_json::Value>(&reply.json).unwrap()["data"].clone()
    }

    /// The values of the only series of a range query, by time.
    fn range(&self, query: &str, start: Timestamp, step: Duration) -> BTreeMap<i64, f64> {
        let (start, end) = (start.seconds().to_string(), self.now.seconds().to_string());
        let step = step.as_secs().to_string();
        let parameters = [("query", query), ("start", &start), ("end", &end), ("step", &step)];
        let data = self.data("query_range", &parameters);
        let lines = data["result"].as_array().unwrap();
        assert_eq!((&data["resultType"], lines.len()), (&"matrix".into(), 1), "{query}: {data}");
        let point = |point: &serde_json::Value| {
            ((point[0].as_f64().unwrap() * 1_000.0) as i64, point[1].as_str().unwrap().parse().unwrap())
        };
        lines[0]["values"].as_array().unwrap().iter().map(point).collect()
    }
}

/// What reports said of the first SLO, by query and time.
#[derive(Default)]
struct Said(BTreeMap<String, BTreeMap<i64, f64>>);

impl Said {
    fn note(&mut self, report: &Report) {
        let mut note = |query: String, value| {
            self.0.entry(query).or_default().insert(report.evaluated_at.0, value);
        };
        let slo = &report.snapshot().slos[0];
        for window in &slo.windows {
            let of = |family: &str| format!("{family}{{slo=\"availability\",window=\"{}\"}}", window.window);
            note(of("slo_error_ratio"), window.error_ratio);
            note(of("slo_burn_rate"), window.burn_rate);
        }
        for budget in &slo.budgets {
            let family = "slo_error_budget_remaining_ratio";
            note(format!("{family}{{slo=\"availability\",window=\"{}\"}}", budget.window), budget.remaining);
        }
        note("slo_events_total{slo=\"availability\"}".to_owned(), slo.events_total);
        note("slo_bad_events_total{slo=\"availability\"}".to_owned(), slo.bad_events_total);
    }

    /// They are the same, but for so much.
    #[track_caller]
    fn check(&self, query: &str, found: &BTreeMap<i64, f64>, but_for: f64) {
        let said = &self.0[query];
        for (at, value) in found {
            let expected = said[at];
            let is_right = (value - expected).abs() <= but_for + 1e-9 * expected.abs().max(1.0);
            assert!(is_right, "{query} was {expected} at {at}, and now it is said to have been {value}");
        }
    }
}

/// What the burn rate over a window may be off by in the last hours, where slots are cut. At each end is one whose
/// events are taken to be even. Where the burn rate of the service jumps by 20 in it, the events up to the cut are
/// off by a quarter of the slot at most.
fn off_by(window: Duration) -> f64 {
    // There is nothing before the two days.
    let minutes = (window.as_secs() / 60).min(44 * 60);
    let slot = if minutes < 30 { 2.0 } else { 20.0 };
    2.0 * 20.0 * slot / 4.0 / minutes as f64
}

#[test]
fn a_range_query_says_what_reports_said() {
    let (mut service, mut said) = (Service::new(), Said::default());
    // Two days, with an incident of 40 minutes in the last hours of the first and one of 20 in those of the second.
    for step in 0..17_000_u32 {
        let errors =
            if (7_000..7_240).contains(&step) || (15_500..15_620).contains(&step) { 4.0 } else { 0.0 };
        service.scrape(errors);
        said.note(&service.report);
    }
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let now = service.now;
    assert_eq!(said.0.len(), 2 * 7 + 2 + 2 + 2, "{:?}", said.0.keys());
    for query in said.0.keys() {
        // Of the last minutes every tier knows everything: the edges of slots are those of the finest one.
        let of_late = service.range(query, now - minutes(3), SCRAPE);
        assert_eq!(of_late.len(), 19, "{query}");
        assert_eq!(of_late[&now.0], said.0[query][&now.0], "{query}: the present");
        // A day back in whole hours, the edges of slots of an hour and less.
        let hours = service.range(query, now.floor(minutes(60)) - minutes(24 * 60), minutes(60));
        let is_short = ["\"5m\"", "\"10m\""].iter().any(|window| query.contains(window));
        assert_eq!(hours.len(), if is_short { 6 } else { 25 }, "{query}: slots must be shorter than windows");
        said.check(query, &hours, 0.0);
        // And at odd times.
        let window = query.rsplit('"').nth(1).and_then(|window| parse_duration(window).ok());
        if let Some(window) = window.filter(|_| query.starts_with("slo_burn_rate")) {
            let odd = service.range(query, now - minutes(8 * 60), Duration::from_secs(70));
            said.check(query, &odd, off_by(window));
        }
    }
}
