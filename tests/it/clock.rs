//! A clock that was wrong and is set right again: nothing of the wrong time may speak in the right one.

use std::time::Duration;

use slod::{
    report::{DataStatus, SloReport},
    testing::{Sent, World, parse_labels, slos},
    time::Timestamp,
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(5);
const AHEAD: Duration = Duration::from_secs(7_200);

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli: {type: availability, bad: "sum(rate(errors_total[5m]))", total: "sum(rate(requests_total[5m]))"}
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 10, window: 30m, short_window: 5m}]
"#;

/// A service, and slod's clock beside the right one.
struct Service {
    world: World,
    now: Timestamp,
    instance: &'static str,
    requests: f64,
    errors: f64,
}

impl Service {
    fn new(clock: Timestamp) -> Self {
        let world = World::immediate(slos(SPEC), SECOND, clock);
        Self { world, now: START, instance: "a", requests: 0.0, errors: 0.0 }
    }

    /// Scrapes with ten requests each, of which so many are errors, seen by the sender's and by slod's
    /// clock with these offsets. Returns the last report.
    fn run(&mut self, scrapes: u32, errors: f64, sender: Duration, clock: Duration) -> SloReport {
        let mut last = None;
        for _ in 0..scrapes {
            self.now = self.now + SCRAPE;
            self.requests += 10.0;
            self.errors += errors;
            let sample = |name: &str, value| Sent {
                labels: parse_labels(&format!("{name}{{instance=\"{}\"}}", self.instance)).unwrap(),
                at: self.now + sender,
                value,
            };
            let samples = [sample("requests_total", self.requests), sample("errors_total", self.errors)];
            self.world.send(&samples, self.now + clock).unwrap();
            last = Some(self.world.tick(self.now + clock).snapshot().slos.remove(0));
        }
        last.expect("at least one scrape")
    }
}

#[test]
fn an_outage_after_the_clock_was_ahead_for_a_minute_pages() {
    let mut service = Service::new(START);
    service.run(120, 0.0, Duration::ZERO, Duration::ZERO);
    service.run(12, 0.0, Duration::ZERO, AHEAD);
    let report = service.run(120, 10.0, Duration::ZERO, Duration::ZERO);
    assert_eq!((report.status, report.alerts[0].level), (DataStatus::Ok, 2));
}

#[test]
fn coverage_and_counts_go_on_from_where_the_clock_was_set_back() {
    let mut service = Service::new(START);
    service.run(120, 0.0, Duration::ZERO, Duration::ZERO);
    service.run(12, 0.0, Duration::ZERO, AHEAD);
    let report = service.run(720, 0.0, Duration::ZERO, Duration::ZERO);
    let hour = report.window(SECOND * 3_600).unwrap();
    // The window reaches one scrape beyond the moment at which observation began anew.
    assert_eq!((hour.events, report.budget().coverage), (7_200.0, 3_595.0 / 3_600.0));
}

#[test]
fn a_page_of_the_wrong_time_does_not_stick() {
    let mut service = Service::new(START + AHEAD);
    let report = service.run(120, 10.0, AHEAD, AHEAD);
    assert_eq!(report.alerts[0].level, 2);
    // All clocks are set right, and the service starts anew, in good health.
    (service.instance, service.requests, service.errors) = ("b", 0.0, 0.0);
    let report = service.run(400, 0.0, Duration::ZERO, Duration::ZERO);
    assert_eq!((report.status, report.alerts[0].level), (DataStatus::Ok, 0));
}

#[test]
fn a_sender_that_falls_silent_after_the_clock_was_set_back_is_told() {
    let mut service = Service::new(START);
    service.run(12, 0.0, Duration::ZERO, AHEAD);
    let status = |service: &mut Service, second: u32| {
        service.world.tick(service.now + SECOND * second).snapshot().slos.remove(0).status
    };
    assert_ne!(status(&mut service, 1), DataStatus::SenderDown);
    assert_eq!(status(&mut service, 130), DataStatus::SenderDown);
}

#[test]
fn slices_shorter_than_an_evaluation_are_judged_by_their_own_times() {
    let sliced =
        SPEC.replace("window: 1h}", "window: 1h, budgeting: Timeslices, slice: {window: 10s, target: 95}}");
    for interval in [1, 15, 60] {
        let mut world = World::immediate(slos(&sliced), SECOND * interval, START);
        let (mut errors, mut report) = (0.0, None);
        for scrape in 1..=720_u32 {
            let at = START + SCRAPE * scrape;
            // One of six slices has errors.
            errors += if (1..=2).contains(&(scrape % 12)) { 2.0 } else { 0.0 };
            let sample = |name, value| Sent { labels: parse_labels(name).unwrap(), at, value };
            let requests = f64::from(scrape) * 10.0;
            world.send(&[sample("requests_total", requests), sample("errors_total", errors)], at).unwrap();
            if scrape * 5 % interval == 0 {
                report = Some(world.tick(at).snapshot().slos.remove(0));
            }
        }
        let report = report.unwrap();
        let hour = report.window(SECOND * 3_600).unwrap();
        assert!((358.0..=360.0).contains(&hour.events), "{} slices at {interval}s", hour.events);
        assert!((59.0..=60.0).contains(&hour.bad_events), "{} bad at {interval}s", hour.bad_events);
    }
}
