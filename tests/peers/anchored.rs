//! Window counts beside `increase(x[w] anchored)` of Prometheus 3, which is what slod counts: from the last
//! sample before the window to the last one in it, resets added, nothing extrapolated.
//!
//! Both get the same write requests with random counters that grow, are reset, pause, end and begin. Where the
//! rules differ, the data stays away from the difference:
//! - a gap so long that slod spreads its growth (here 15 s, a quarter of the shortest window) is not made longer;
//! - slod counts a series from zero that is born to a target it follows; `warm_up` keeps it from that;
//! - a window begins between slots; questions are asked at multiples of the widest one.

use std::{cell::Cell, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use slod::{
    engine, ingest,
    labels::Labels,
    report::WindowReport,
    testing::{Sent, World, encode, slos},
    time::Timestamp,
};

use crate::{
    prometheus::Prometheus,
    support::{cases, http, seconds_since_epoch, write_headers},
};

const SECOND: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(5);
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
const SERIES: usize = 12;
/// An hour and a quarter.
const STEPS: usize = 900;
/// The slots of the longest window, an hour, are 20 s wide.
const ASK_EVERY: Duration = Duration::from_secs(60);
const CASES: u32 = 20;

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    type: availability
    bad: sum(rate(requests_total{code="500"}[5m]))
    total: sum(rate(requests_total[5m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 10, window: 5m, short_window: 1m}]
"#;

// Scrapes in a row that a series may miss: its samples are 15 s apart then.
const MISSED_MAX: usize = 2;

/// What happens to a series at a scrape.
#[derive(Clone, Copy, Debug)]
enum Step {
    Grow(u32),
    Reset(u32),
    Miss,
    /// A staleness marker; it may come back.
    End,
    Repeat,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0u32..50).prop_map(Step::Grow),
        1 => (0u32..5).prop_map(Step::Reset),
        3 => Just(Step::Miss),
        1 => Just(Step::End),
        1 => Just(Step::Repeat),
    ]
}

/// Its first and last scrape, and what happens between.
fn any_series() -> impl Strategy<Value = (usize, usize, Vec<Step>)> {
    let birth = prop_oneof![Just(0), 0..STEPS];
    let end = prop_oneof![Just(STEPS), 0..STEPS];
    (birth, end, proptest::collection::vec(any_step(), STEPS))
}

#[test]
fn windows_are_anchored_increases() {
    let directory = tempfile::tempdir().unwrap();
    // A case begins before the one before ended.
    let config = "scrape_configs: []\nstorage: {tsdb: {out_of_order_time_window: 3h}}\n";
    let prometheus = Prometheus::start(
        directory.path(),
        config,
        &["--web.enable-remote-write-receiver", "--enable-feature=promql-extended-range-selectors"],
    );
    let mut runner = TestRunner::new(cases(CASES));
    let (number, most) = (Cell::new(0), Cell::new(0.0_f64));
    let any = proptest::collection::vec(any_series(), SERIES);
    let outcome = runner.run(&any, |series| {
        // Each case has series of its own in Prometheus.
        number.set(number.get() + 1);
        most.set(check(&prometheus, number.get(), &series)?.max(most.get()));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(most.get() > 1_000.0, "windows without events: {most:?}");
}

/// Sends the same to both, and compares every window at every question. Returns the most events of one.
fn check(
    prometheus: &Prometheus,
    case: u32,
    series: &[(usize, usize, Vec<Step>)],
) -> Result<f64, TestCaseError> {
    // In the past, because Prometheus does not take the future.
    let now = Timestamp((seconds_since_epoch() * 1e3) as i64);
    let start = (now - SCRAPE * STEPS as u32 - ASK_EVERY).floor(ASK_EVERY);
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let ingest = ingest::Config { warm_up: SECOND * 86_400, ..ingest::Config::default() };
    let mut world = World::new(slos(SPEC), engine, ingest, start);
    let samples = series
        .iter()
        .enumerate()
        .flat_map(|(number, (birth, end, steps))| samples(case, number, start, *birth..*end, steps));
    let samples: Vec<Sent> = samples.collect();
    let mut most = 0.0_f64;
    for step in 0..STEPS {
        let at = start + SCRAPE * step as u32;
        let scrape: Vec<Sent> = samples.iter().filter(|sent| sent.at == at).cloned().collect();
        world.send(&scrape, at).unwrap();
        let body = encode(&scrape);
        let answer = http(prometheus.address, "POST /api/v1/write HTTP/1.1", &write_headers(), &body);
        prop_assert_eq!(answer.status, 204, "{}", answer.body);
        let report = world.tick(at).snapshot();
        if at == at.floor(ASK_EVERY) {
            for window in &report.slos[0].windows {
                most = most.max(compare(prometheus, case, at, window)?);
            }
        }
    }
    Ok(most)
}

/// All events of a window, which both agree on.
fn compare(
    prometheus: &Prometheus,
    case: u32,
    at: Timestamp,
    window: &WindowReport,
) -> Result<f64, TestCaseError> {
    for (code, counted) in [("", window.events), (",code=\"500\"", window.bad_events)] {
        let selector = format!("requests_total{{case=\"{case}\"{code}}}[{}] anchored", window.window);
        let query = format!("sum(increase({selector}))");
        let expected = prometheus.value(&query, at.seconds()).unwrap_or(0.0);
        prop_assert_eq!(counted, expected, "{} at {}", query, at);
    }
    Ok(window.events)
}

/// The samples of a series, in order.
fn samples(
    case: u32,
    number: usize,
    start: Timestamp,
    life: std::ops::Range<usize>,
    steps: &[Step],
) -> Vec<Sent> {
    let code = ["200", "404", "500"][number % 3];
    let (case, number) = (case.to_string(), number.to_string());
    let labels = [
        ("__name__", "requests_total"),
        ("case", &*case),
        ("code", code),
        ("number", &*number),
        ("instance", "i"),
    ];
    let labels = Labels::new(labels).unwrap();
    let mut value = 1_000.0;
    let mut missed = 0;
    let mut samples: Vec<Sent> = Vec::new();
    for (step, what) in steps.iter().enumerate().filter(|(step, _)| life.contains(step)) {
        let at = start + SCRAPE * step as u32;
        // Also the marker of an end leaves a gap, if the series comes back.
        let is_gap = matches!(what, Step::Miss | Step::End) && missed < MISSED_MAX;
        missed = if is_gap { missed + 1 } else { 0 };
        match *what {
            Step::Grow(by) => value += f64::from(by),
            Step::Reset(to) => value = f64::from(to),
            Step::Miss | Step::End | Step::Repeat => (),
        }
        let sent = |value| Sent { labels: labels.clone(), at, value };
        match what {
            Step::Miss if is_gap => (),
            Step::End if is_gap => samples.push(sent(STALE)),
            _ => samples.push(sent(value)),
        }
        if matches!(what, Step::Repeat) {
            samples.push(sent(value));
        }
    }
    samples
}
