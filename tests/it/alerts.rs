//! Alerts as whoever is told of them sees them, over a service that fails and recovers.

use std::time::Duration;

use slod::{
    alert::AlertState,
    report::{Alert, Report},
    testing::{Sent, World, parse_labels, slos},
    time::Timestamp,
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(5);

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api, labels: {tier: "1"}, annotations: {runbook_url: "http://r"}}
spec:
  sli: {bad: "sum by (route) (rate(errors_total[5m]))", total: "sum by (route) (rate(requests_total[5m]))"}
  objective: {target: 99, window: 1d}
  alerting:
    burn_rate_alerts:
      - {severity: page, burn_rate: 10, window: 30m, short_window: 1m, labels: {team: sre}}
      - {severity: page, burn_rate: 5, window: 1h, short_window: 5m, labels: {team: sre}, annotations: {dashboard: "http://d"}}
      - {severity: ticket, burn_rate: 2, window: 2h, short_window: 10m, for: 1m}
"#;

/// A service of two routes, of which `/pay` fails when told to, and all that a report said of it since.
struct Service {
    world: World,
    now: Timestamp,
    requests: f64,
    errors: f64,
}

impl Service {
    fn new(spec: &str) -> Self {
        Self { world: World::immediate(slos(spec), SECOND, START), now: START, requests: 0.0, errors: 0.0 }
    }

    /// Scrapes for so long with ten requests each, of which so many are errors. Returns the last report's alerts.
    fn run(&mut self, time: Duration, errors: f64) -> Vec<Alert> {
        self.run_watched(time, errors, |_| ())
    }

    fn run_watched(&mut self, time: Duration, errors: f64, mut watch: impl FnMut(&Report)) -> Vec<Alert> {
        let mut last = Vec::new();
        for _ in 0..time.as_secs() / SCRAPE.as_secs() {
            self.now = self.now + SCRAPE;
            self.requests += 10.0;
            self.errors += errors;
            let sample =
                |series: &str, value| Sent { labels: parse_labels(series).unwrap(), at: self.now, value };
            let samples = [
                sample(r#"requests_total{route="/pay"}"#, self.requests),
                sample(r#"errors_total{route="/pay"}"#, self.errors),
                sample(r#"requests_total{route="/home"}"#, self.requests),
            ];
            self.world.send(&samples, self.now).unwrap();
            let report = self.world.tick(self.now);
            watch(&report);
            last = report.alerts();
        }
        last
    }
}

fn of<'a>(alerts: &'a [Alert], severity: &str) -> &'a Alert {
    alerts.iter().find(|alert| alert.labels["severity"] == severity).unwrap()
}

#[test]
fn an_incident_from_its_first_error_until_it_is_forgotten() {
    let mut service = Service::new(SPEC);
    assert_eq!(service.run(SECOND * 3_600, 0.0), []);
    let began = service.now;
    let alerts = service.run(SECOND * 600, 10.0);
    assert_eq!(alerts.len(), 2, "two tiers of a page are one alert: {alerts:#?}");
    let (page, ticket) = (of(&alerts, "page"), of(&alerts, "ticket"));
    let labels: Vec<String> = page.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let expected =
        "alertname=SLOErrorBudgetBurn route=/pay service=api severity=page slo=availability team=sre tier=1";
    assert_eq!(labels.join(" "), expected);
    assert_eq!(page.annotations["runbook_url"], "http://r");
    assert_eq!(page.annotations["dashboard"], "http://d");
    assert_eq!((page.is_muted, ticket.is_muted), (false, true));
    let AlertState::Firing { since, .. } = page.state else { panic!("{page:?}") };
    assert!(since > began && since < began + SECOND * 300, "the faster tier raised it: {since}");

    // The fast tier resolves a minute later, the slow one goes on: the same alert since the same time.
    let mut raised = Vec::new();
    service.run_watched(SECOND * 240, 0.0, |report| raised.push(of(&report.alerts(), "page").state));
    let is_same = |state: &AlertState| matches!(*state, AlertState::Firing { since: at, .. } if at == since);
    assert!(raised.iter().all(is_same), "{raised:?}");

    let alerts = service.run(SECOND * 300, 0.0);
    let AlertState::Resolved { since: raised, at } = of(&alerts, "page").state else { panic!("{alerts:?}") };
    assert_eq!(raised, since);
    assert!(at < service.now && at > service.now - SECOND * 300);
    assert!(service.run(SECOND * 3_600, 0.0).is_empty(), "forgotten after a quarter of an hour");
}
