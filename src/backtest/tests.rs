//! Replays whose outcome is known.

use std::time::Duration;

use super::*;
use crate::{
    labels::METRIC_NAME,
    testing::{Sent, World, slos},
};

/// An SLO over 30 days with the alerts of the SRE workbook.
pub(super) const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    query: sum(rate(http_requests_total{code!~"5.."}[5m])) / sum(rate(http_requests_total[5m]))
  objective: {target: 99.9, window: 30d}
"#;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
// A midnight.
const START: Timestamp = Timestamp(1_700_006_400_000);

fn config() -> Config {
    Config {
        interval: SECOND * 30,
        engine: engine::Config::default(),
        ingest: ingest::Config::default(),
        groups_per_slo_max: 1_000,
        incidents: Vec::new(),
        tune: false,
    }
}

/// What a service counts: requests that go wrong by this ratio at a time after its start.
struct Service<R> {
    every: Duration,
    length: Duration,
    requests_per_second: f64,
    error_ratio: R,
}

impl<R: Fn(Duration) -> f64> Service<R> {
    fn series(&self) -> Vec<Series> {
        let codes = ["200", "500"].map(|code| {
            Labels::new([(METRIC_NAME, "http_requests_total"), ("code", code), ("instance", "a")]).unwrap()
        });
        let mut series = codes.map(|labels| Series { labels, samples: Vec::new() });
        let (mut good, mut bad) = (0.0, 0.0);
        let mut since = Duration::ZERO;
        while since <= self.length {
            let at = START + since;
            for (series, value) in series.iter_mut().zip([good, bad]) {
                series.samples.push(Sample { at, value: f64::floor(value) });
            }
            let requests = self.requests_per_second * self.every.as_secs_f64();
            let wrong = requests * (self.error_ratio)(since);
            (good, bad) = (good + requests - wrong, bad + wrong);
            since += self.every;
        }
        series.into()
    }
}

fn replay(specs: &str, config: Config, history: &[Series]) -> Report {
    let mut backtest = Backtest::new(slos(specs), config).unwrap();
    history.iter().for_each(|series| backtest.add(series));
    backtest.finish(|_| ()).unwrap()
}

fn outage(from: Duration, length: Duration, ratio: f64) -> impl Fn(Duration) -> f64 {
    move |since| if (from..from + length).contains(&since) { ratio } else { 0.0 }
}

/// When the first alert of a severity fires after the start of an outage, and ends after its end.
#[track_caller]
fn check_outage(ratio: f64, length: Duration, severity: &str, fires_after: Duration, resets_after: Duration) {
    let from = HOUR * 80;
    let error_ratio = outage(from, length, ratio);
    let history = Service { every: SECOND * 15, length: HOUR * 90, requests_per_second: 100.0, error_ratio };
    let report = replay(SPEC, config(), &history.series());
    let slo = &report.instances[0].slo;
    let firings = report.instances[0].firings.iter();
    let first = firings.filter(|f| slo.alerts[f.alert].severity == severity).min_by_key(|f| f.span.start);
    let first = first.expect("an alert");
    let is_near = |at: Timestamp, expected: Timestamp| {
        // A step, and the scrape that tells.
        at >= expected && at.since(expected) <= report.interval + SECOND * 15
    };
    let (start, end) = (first.span.start, first.span.end);
    assert!(is_near(start, START + from + fires_after), "fires after {:?}", start.since(START + from));
    let ended = START + from + length;
    assert!(is_near(end, ended + resets_after), "resets after {:?}", end.since(ended));
}

#[test]
fn outages_page_when_the_workbook_says() {
    // All fail: the hour is at 14.4 times 0.1% after 0.0144 of it, and 5 minutes later nothing is left of it
    // but that which is below the factor: 1.44% of 5 minutes.
    let quick = Duration::from_millis(51_840);
    check_outage(1.0, MINUTE * 10, "page", quick, MINUTE * 5 - Duration::from_millis(4_320));
    // A tenth fails: the hour is there after 14.4% of it; of 5 minutes 14.4% may be left.
    check_outage(0.1, MINUTE * 30, "page", Duration::from_millis(518_400), Duration::from_millis(256_800));
    // 1% fails: 14.4 times is never reached, 6 times in 6 hours after 60% of them.
    check_outage(0.01, HOUR * 5, "page", HOUR * 36 / 10, MINUTE * 12);
}

#[test]
fn alerts_and_budgets_are_those_of_a_daemon_that_was_there() {
    let incidents = |since: Duration| {
        let minute = since.as_secs() / 60;
        if (30..34).contains(&minute) {
            0.7
        } else if (90..130).contains(&minute) {
            0.03
        } else {
            0.0002
        }
    };
    let service =
        Service { every: SECOND * 15, length: HOUR * 4, requests_per_second: 50.0, error_ratio: incidents };
    let history = service.series();
    let report = replay(SPEC, config(), &history);

    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let start = START - SECOND * 30;
    let mut world = World::new(slos(SPEC), engine, ingest::Config::default(), start);
    let mut levels = Vec::new();
    let mut remaining = Vec::new();
    let mut second = start;
    while second < report.span.end {
        second = second + SECOND;
        let sent: Vec<Sent> = history
            .iter()
            .flat_map(|series| series.samples.iter().map(|sample| (&series.labels, sample)))
            .filter(|(_, sample)| sample.at == second)
            .map(|(labels, sample)| Sent { labels: labels.clone(), at: sample.at, value: sample.value })
            .collect();
        if !sent.is_empty() {
            world.send(&sent, second).unwrap();
        }
        let snapshot = world.tick(second).snapshot();
        if second.floor(report.interval) == second {
            levels
                .push((second, snapshot.slos[0].alerts.iter().map(|alert| alert.level).collect::<Vec<_>>()));
        }
        if second.floor(HOUR) == second {
            remaining.push((second, snapshot.slos[0].budget().remaining));
        }
    }
    let replayed = &report.instances[0];
    assert!(replayed.firings.len() >= 3, "{:?}", replayed.firings);
    for (at, levels) in levels {
        for (alert, level) in levels.into_iter().enumerate() {
            let fires = replayed
                .firings
                .iter()
                .any(|f| f.alert == alert && f.span.start <= at && (at < f.span.end || f.is_open));
            assert_eq!(fires, level == 2, "alert {alert} at {at}");
        }
    }
    let hours: Vec<_> = replayed.hours.iter().map(|hour| (hour.at, hour.ratio)).collect();
    assert_eq!(hours, remaining[1..]);
}

#[test]
fn history_in_pieces_gives_the_same_report() {
    let error_ratio = outage(HOUR * 2, MINUTE * 20, 0.2);
    let service = Service { every: SECOND * 15, length: HOUR * 5, requests_per_second: 20.0, error_ratio };
    let history = service.series();
    let whole = replay(SPEC, config(), &history);
    let mut backtest = Backtest::new(slos(SPEC), config()).unwrap();
    for piece in 0..6 {
        let end = START + HOUR * piece;
        for Series { labels, samples } in &history {
            let is_in = |sample: &&Sample| sample.at > end - HOUR && sample.at <= end;
            let samples = samples.iter().filter(is_in).copied().collect();
            backtest.add(&Series { labels: labels.clone(), samples });
        }
        backtest.advance(end, |_| ());
    }
    let pieces = backtest.finish(|_| ()).unwrap();
    assert_eq!(format!("{pieces:?}"), format!("{whole:?}"));
    assert_eq!(whole.instances[0].incidents.len(), 1);
    assert_eq!(whole.instances[0].days.len(), 1);
}

#[test]
fn what_the_budget_shows_is_an_incident_with_a_share_of_it() {
    // Over 10 days the budget of 30 is 3 times 0.1% of 10 days; 1 hour at 10% is 1/720 · 100 of the period.
    let error_ratio = outage(DAY * 5, HOUR, 0.1);
    let service = Service { every: MINUTE, length: DAY * 10, requests_per_second: 10.0, error_ratio };
    let report = replay(SPEC, config(), &service.series());
    let [met] = report.instances[0].incidents.as_slice() else {
        panic!("{:?}", report.instances[0].incidents)
    };
    assert!((met.spent - 100.0 / 720.0).abs() < 1e-4, "{}", met.spent);
    // The first scrape that tells lies in the second half of its minute.
    assert_eq!(met.incident.span.length(), HOUR - report.interval);
    assert_eq!(met.answers[0].severity, "page");
    assert_eq!(report.instances[0].days.len(), 10);
    assert_eq!(report.instances[0].severities[0].alerts, 1);
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let finish = |history: &[Series]| {
        let mut backtest = Backtest::new(slos(SPEC), config()).unwrap();
        history.iter().for_each(|series| backtest.add(series));
        backtest.finish(|_| ()).unwrap_err()
    };
    assert_eq!(finish(&[]), BacktestError::Empty);
    let labels = Labels::new([(METRIC_NAME, "up")]).unwrap();
    let samples = vec![Sample { at: START, value: 1.0 }];
    let error = finish(&[Series { labels, samples }]);
    insta::assert_snapshot!(error, @r#"
    none of 1 series of the history is selected by any SLO; these selectors match nothing:
      http_requests_total
      http_requests_total{code!~"5.."}
    "#);
    assert_eq!(Backtest::new(Vec::new(), config()).unwrap_err(), BacktestError::NoSlos);
}

#[test]
fn samples_out_of_order_are_left_out_and_counted() {
    let service = Service { every: MINUTE, length: HOUR, requests_per_second: 1.0, error_ratio: |_| 0.0 };
    let mut history = service.series();
    history[0].samples.swap(10, 11);
    let report = replay(SPEC, config(), &history);
    assert_eq!((report.samples, report.unordered), (121, 1));
}

#[test]
fn the_tuner_finds_what_is_best() {
    // Every 12 hours a burst of errors that spends little and yet pages at present; one real outage.
    let noise = |since: Duration| since.as_secs() % 43_200 < 120 && since > HOUR * 6;
    let outage = outage(DAY * 6 + HOUR * 3, MINUTE * 40, 0.5);
    let error_ratio = move |since| if noise(since) { 0.9 } else { outage(since) };
    let service = Service { every: SECOND * 30, length: DAY * 10, requests_per_second: 20.0, error_ratio };
    let incident = Span { start: START + DAY * 6 + HOUR * 3, end: START + DAY * 6 + HOUR * 3 + MINUTE * 40 };
    let incidents = vec![Incident { name: "outage".to_owned(), slo: None, span: incident }];
    let report = replay(SPEC, Config { tune: true, incidents, ..config() }, &service.series());
    let page = &report.tunings[0].severities[0];
    let of = |find: fn(&Setting) -> bool| page.settings.iter().find(|s| find(s)).unwrap().outcome;
    let (present, best) = (of(|s| s.is_present), of(|s| s.is_recommended));
    assert!(present.false_alerts >= 19, "{present:?}");
    assert_eq!((best.missed, best.false_alerts), (0, 0), "{best:?}");
    // The noise exceeds 25 times an hour's budget; what exceeds more needs the outage for 3 minutes at least.
    assert!(best.detection_max.unwrap() <= MINUTE * 8, "{best:?}");
    assert!(report.tunings[0].yaml.as_ref().unwrap().starts_with("alerting:\n  burn_rate_alerts:\n"));
    let is_front = |a: &Setting| {
        page.settings.iter().all(|b| {
            let (a, b) = (a.outcome, b.outcome);
            b.missed > a.missed || b.false_alerts > a.false_alerts || b.detection_mean >= a.detection_mean
        })
    };
    assert!(page.settings.iter().filter(|s| !s.is_present).all(is_front));
}

#[test]
fn expressions_are_asked_at_their_steps() {
    // What no sum expresses: the worst of two probes, each a gauge that fails for 30 minutes.
    let spec = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: probes, service: api}
spec:
  sli: {query: min(probe_success), step: 1m}
  objective: {target: 99, window: 30d}
"#;
    let failing = |start: u32| move |minute: u32| (start..start + 30).contains(&minute);
    let probe = |name: &str, fails: &dyn Fn(u32) -> bool| Series {
        labels: Labels::new([(METRIC_NAME, "probe_success"), ("instance", name)]).unwrap(),
        samples: (0..300)
            .map(|minute| Sample { at: START + MINUTE * minute, value: f64::from(u8::from(!fails(minute))) })
            .collect(),
    };
    let history = [probe("a", &failing(100)), probe("b", &failing(110))];
    let report = replay(spec, config(), &history);
    let InstanceReport { events, bad_events, firings, .. } = &report.instances[0];
    assert!((*events - 299.0).abs() <= 1.0, "{events}");
    assert_eq!(*bad_events, 40.0);
    assert!(!firings.is_empty());
}
