//! Alerts as whoever is told of them sees them, over a service that fails and recovers.

use std::time::Duration;

use slod::{
    alert::AlertState,
    report::{Alert, Report, Transition},
    slo::{Budgeting, workbook_alerts},
    testing::{Sent, World, parse_labels, slos},
    time::Timestamp,
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(86_400);

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

/// A service of two routes, of which `/pay` fails when told to.
struct Service {
    world: World,
    now: Timestamp,
    requests_per_scrape: f64,
    requests: f64,
    errors: f64,
}

impl Service {
    fn new(spec: &str) -> Self {
        let world = World::immediate(slos(spec), SECOND, START);
        Self { world, now: START, requests_per_scrape: 10.0, requests: 0.0, errors: 0.0 }
    }

    /// Scrapes for so long, with so many errors each. Returns the last report's alerts.
    fn run(&mut self, time: Duration, errors: f64) -> Vec<Alert> {
        self.run_watched(time, errors, |_| ())
    }

    fn run_watched(&mut self, time: Duration, errors: f64, mut watch: impl FnMut(&Report)) -> Vec<Alert> {
        let mut last = Vec::new();
        for _ in 0..time.as_secs() / SCRAPE.as_secs() {
            self.now = self.now + SCRAPE;
            self.requests += self.requests_per_scrape;
            self.errors += errors;
            let sample =
                |series: &str, value| Sent { labels: parse_labels(series).unwrap(), at: self.now, value };
            let samples = [
                sample(r#"requests_total{route="/pay"}"#, self.requests),
                sample(r#"errors_total{route="/pay"}"#, self.errors),
                sample(r#"requests_total{route="/home"}"#, self.requests),
                sample(r#"errors_total{route="/home"}"#, (self.errors / 100.0).floor()),
            ];
            self.world.send(&samples, self.now).unwrap();
            let report = self.world.tick(self.now);
            watch(&report);
            last = report.alerts();
        }
        last
    }

    /// Evaluates for so long while no sample comes. Returns the last report's alerts.
    fn wait(&mut self, time: Duration) -> Vec<Alert> {
        let end = self.now + time;
        let mut last = Vec::new();
        while self.now < end {
            self.now = self.now + SCRAPE;
            last = self.world.tick(self.now).alerts();
        }
        last
    }
}

/// An SLO of both routes together, that alerts on this.
fn spec(alerting: &str) -> String {
    format!(
        r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {{name: availability, service: api}}
spec:
  sli: {{bad: "sum(rate(errors_total[5m]))", total: "sum(rate(requests_total{{route='/pay'}}[5m]))"}}
  objective: {{target: 99, window: 1d}}
  alerting: {alerting}
"#
    )
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
    assert!((page.value - 33.3).abs() < 0.1, "{}", page.value);
    for part in [
        "99.0% of errors from route=/pay, 1.0% from route=/home; ",
        "33.3x over 30m, 100.0x over 1m (above 10.0x); 1,200 of 3,600 events bad; the budget is spent: -",
    ] {
        assert!(page.reason.contains(part), "{}", page.reason);
    }
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

#[test]
fn every_transition_is_told_once() {
    let mut service = Service::new(SPEC);
    let mut told = Vec::new();
    let mut watch = |report: &Report| {
        let name = |transition: &Transition| {
            let Transition { from, alert } = transition;
            format!("{}: {} to {}", alert.labels["severity"], from.name(), alert.state.name())
        };
        told.extend(report.transitions().iter().filter(|t| t.alert.group.get("route") == "/pay").map(name));
    };
    service.run_watched(SECOND * 3_600, 0.0, &mut watch);
    service.run_watched(SECOND * 600, 10.0, &mut watch);
    service.run_watched(SECOND * 7_200, 0.0, &mut watch);
    told.sort();
    let expected = [
        "page: firing to resolved",
        "page: inactive to firing",
        "ticket: firing to resolved",
        "ticket: inactive to pending",
        "ticket: pending to firing",
    ];
    assert_eq!(told, expected);
}

#[test]
fn alerts_on_what_is_left_of_the_budget() {
    #[track_caller]
    fn check(alert: &str, outage: Duration, name: &str, reason: &str) {
        let mut service =
            Service::new(&spec(&format!("{{burn_rate_alerts: [], budget_alerts: [{{{alert}}}]}}")));
        assert_eq!(service.run(SECOND * 4 * 3_600, 0.0), [], "{alert}");
        let alerts = service.run(outage, 10.0);
        let [found] = &alerts[..] else { panic!("{alert}: {alerts:#?}") };
        assert_eq!((found.state.name(), &*found.labels["alertname"]), ("firing", name), "{alert}");
        assert!(found.reason.starts_with(reason), "{}", found.reason);
    }
    // A budget of 1% of what came in four of the 24 hours. A minute's outage is 121 errors of 28,920 requests.
    let minute = SECOND * 60;
    check(
        "severity: ticket, remaining_below: 90%",
        minute,
        "SLOErrorBudgetLow",
        "58.1% of the budget over 1d is left (below 90.0%)",
    );
    check(
        "severity: page, name: Spent, exhausted: true",
        minute * 5,
        "Spent",
        "-106.2% of the budget over 1d is left; without further errors it is positive again in ",
    );
    check(
        "severity: ticket, exhausted_within: 3d",
        minute,
        "SLOErrorBudgetExhaustsSoon",
        "at this rate the budget lasts 1d9h (less than 3d)",
    );
    check(
        "severity: ticket, dropped_by: 5%, within: 1h",
        minute,
        "SLOErrorBudgetDrop",
        "7.0% of the budget over 1d was spent within 1h (more than 5.0%); 58.1% of the budget over 1d is left",
    );
}

#[test]
fn a_budget_that_was_hardly_seen_yet_has_not_dropped_by_much() {
    let alerting = "{burn_rate_alerts: [], budget_alerts: [{severity: page, dropped_by: 5%, within: 1h}]}";
    let mut service = Service::new(&spec(alerting));
    service.run(SECOND * 600, 0.0);
    // Two errors of 1,300 requests are 18% of the budget of 1,300, and next to nothing of that of a day.
    assert_eq!(service.run(SECOND * 60, 0.2), []);
}

#[test]
fn alerts_on_data_that_does_not_come() {
    let no_data = "no_data_alerts: [{severity: ticket, status: [no_series, sender_down, stale], for: 10m}]";
    let grouped = SPEC.trim_end().to_owned() + "\n    " + no_data;
    let mut service = Service::new(&grouped);
    let alerts = service.wait(SECOND * 300);
    assert_eq!(alerts.iter().map(|alert| alert.state.name()).collect::<Vec<_>>(), ["pending"]);
    let alerts = service.wait(SECOND * 400);
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!((alert.state.name(), &*alert.labels["alertname"]), ("firing", "SLONoData"));
    assert_eq!(alert.reason, "no sender delivers anything");
    assert!(alert.group.is_empty());

    let alerts = service.run(SECOND * 60, 0.0);
    assert!(alerts.iter().all(|alert| alert.state.name() == "resolved"), "{alerts:#?}");
    // That nobody sends is a matter of the whole, and told of once.
    let alerts = service.wait(SECOND * 1_800);
    let [alert] = &alerts[..] else { panic!("{alerts:#?}") };
    assert_eq!(alert.reason, "no sender delivers anything; the newest sample is 30m old");
}

#[test]
fn too_few_events_hold_an_alert_back_and_it_says_so() {
    let alerting = "{burn_rate_alerts: [{severity: page, burn_rate: 10, window: 30m, short_window: 5m, \
                    min_total_events: 400}]}";
    let mut service = Service::new(&spec(alerting));
    let firing = service.run(SECOND * 300, 10.0);
    assert_eq!(firing.iter().map(|alert| alert.state.name()).collect::<Vec<_>>(), ["firing"]);
    // Everything goes on failing, but there is little of it.
    service.requests_per_scrape = 1.0;
    let alerts = service.run(SECOND * 1_800, 1.0);
    assert_eq!(alerts[0].state.name(), "resolved");
    let reason =
        "held back: 360 events, at least 400 are asked for; 100.0x over 30m, 100.0x over 5m (above 10.0x)";
    assert!(alerts[0].reason.starts_with(reason), "{}", alerts[0].reason);
}

#[test]
fn a_page_mutes_the_ticket_unless_told_otherwise() {
    #[track_caller]
    fn check(inhibit: &str, expected: bool) {
        let alerting = "{burn_rate_alerts: [{severity: page, burn_rate: 10, window: 30m, short_window: 5m}, \
                        {severity: ticket, burn_rate: 2, window: 1h, short_window: 5m}], \
                        budget_alerts: [{severity: ticket, exhausted: true}]INHIBIT}";
        let mut service = Service::new(&spec(&alerting.replace("INHIBIT", inhibit)));
        let alerts = service.run(SECOND * 600, 10.0);
        let mut muted: Vec<(&str, bool)> =
            alerts.iter().map(|alert| (&*alert.labels["alertname"], alert.is_muted)).collect();
        muted.sort_unstable();
        let expected = [
            ("SLOErrorBudgetBurn", false),
            ("SLOErrorBudgetBurn", expected),
            ("SLOErrorBudgetExhausted", false),
        ];
        assert_eq!(muted, expected);
        assert!(alerts.iter().all(|alert| alert.state.name() == "firing"), "{alerts:#?}");
    }
    check("", true);
    check(", inhibit: true", true);
    check(", inhibit: false", false);
}

// === the workbook's table ===

const WORKBOOK: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli: {bad: "sum(rate(errors_total[5m]))", total: "sum(rate(requests_total[5m]))"}
  objective: {target: 99.9, window: 30d}
"#;

const STEP: Duration = Duration::from_secs(10);
// The widest slot of the short windows of the table: an incident that ends at its edge is not cut by one.
const WIDEST_SLOT: Duration = Duration::from_secs(1_200);

/// When each tier fired after errors began, and was reset after they ended.
fn fire_and_reset(permille: u32) -> Vec<(Option<Duration>, Option<Duration>)> {
    let mut world = World::immediate(slos(WORKBOOK), STEP, START);
    let (mut now, mut requests, mut errors) = (START, 0.0, 0.0);
    let mut step = |time: Duration, permille: u32| {
        now = now + time;
        requests += 1_000.0 * time.as_secs_f64();
        errors += f64::from(permille) * time.as_secs_f64();
        let sample = |series: &str, value| Sent { labels: parse_labels(series).unwrap(), at: now, value };
        let samples = [sample("requests_total", requests), sample("errors_total", errors)];
        world.send(&samples, now).unwrap();
        let fires = |report: &Report| -> Vec<bool> {
            report.snapshot().slos[0].alerts.iter().map(|alert| alert.level == 2).collect()
        };
        (now, fires(&world.tick(now)))
    };
    // Three days of health fill the longest window, in steps no longer than data may be old.
    for _ in 0..3 * 360 {
        step(STEP * 24, 0);
    }
    let mut times = vec![(None::<Duration>, None::<Duration>); 4];
    let began = START + DAY * 3;
    let last = detection(3, permille).unwrap_or(DAY * 3) + STEP;
    let mut ended = began;
    while ended.since(began) < last || !ended.since(began).as_secs().is_multiple_of(WIDEST_SLOT.as_secs()) {
        let (now, fires) = step(STEP, permille);
        for ((fired, _), fires) in times.iter_mut().zip(fires) {
            if fires {
                fired.get_or_insert(now.since(began));
            }
        }
        ended = now;
    }
    // The longest short window.
    for _ in 0..=DAY.as_secs() / 4 / STEP.as_secs() {
        let (now, fires) = step(STEP, 0);
        for ((fired, reset), fires) in times.iter_mut().zip(fires) {
            if fired.is_some() && !fires {
                reset.get_or_insert(now.since(ended));
            }
        }
    }
    times
}

/// SRE workbook, chapter 5: the long window holds more than the factor allows after `factor × budget × long / rate`.
fn detection(tier: usize, permille: u32) -> Option<Duration> {
    let alert = &workbook_alerts(DAY * 30, Budgeting::Occurrences)[tier];
    let needed = alert.factor * 0.001 / (f64::from(permille) / 1_000.0);
    (needed < 1.0 - 1e-9).then(|| alert.long.mul_f64(needed))
}

/// And the short one no more than that once healthy events make up the rest of it.
fn reset(tier: usize, permille: u32) -> Duration {
    let alert = &workbook_alerts(DAY * 30, Budgeting::Occurrences)[tier];
    alert.short.mul_f64(1.0 - alert.factor * 0.001 / (f64::from(permille) / 1_000.0))
}

#[test]
fn the_workbook_s_table_holds_at_every_error_rate() {
    for permille in [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000] {
        for (tier, (fired, was_reset)) in fire_and_reset(permille).into_iter().enumerate() {
            let case = format!("tier {tier} at {permille} per mille");
            let Some(detection) = detection(tier, permille) else {
                assert_eq!((fired, was_reset), (None, None), "{case}");
                continue;
            };
            let within = |found: Option<Duration>, exact: Duration| {
                // Rounding of f64 may put it a tick earlier where both are the same.
                found.is_some_and(|found| found + STEP >= exact && found <= exact + STEP)
            };
            assert!(within(fired, detection), "{case}: fired after {fired:?}, not {detection:?}");
            let reset = reset(tier, permille);
            assert!(within(was_reset, reset), "{case}: reset after {was_reset:?}, not {reset:?}");
        }
    }
}
