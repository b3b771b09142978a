//! Random streams through the whole core, judged by an evaluator that keeps every sample.
//!
//! Each stream has counters that grow, reset, pause, end and return; requests come late by a different
//! delay for each series, are repeated, and contradict themselves. Lifetime counts must be equal to the
//! last event. Window counts must be equal but for the slot that the window's start cuts, whose content
//! the oracle knows, and for one event per series where growth over a gap is spread in whole events.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use slod::{
    engine, ingest,
    labels::Labels,
    matching::Role,
    slo::Slo,
    testing::{Oracle, Sent, World, slos},
    time::Timestamp,
};

use crate::support::cases;

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(5);
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

// The windows of the SLO. One-second slots serve the alert's; the period's slots are 20 s wide.
const WINDOWS: [(u64, u64); 3] = [(60, 1), (300, 1), (3_600, 20)];
const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    type: availability
    query: >
      sum by (zone) (rate(requests_total{code!~"5.."}[5m])) / sum by (zone) (rate(requests_total[5m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 10, window: 5m, short_window: 1m}]
"#;

/// What happens to a series at a scrape.
#[derive(Clone, Copy, Debug)]
enum Step {
    Grow(u32),
    Reset(u32),
    Miss,
    End,
    NotANumber,
    Repeat,
    Contradict,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (0u32..50).prop_map(Step::Grow),
        1 => (0u32..5).prop_map(Step::Reset),
        4 => Just(Step::Miss),
        1 => Just(Step::End),
        1 => Just(Step::NotANumber),
        1 => Just(Step::Repeat),
        1 => Just(Step::Contradict),
    ]
}

/// The steps of a series, and how late its samples arrive, changing now and then.
fn any_series() -> impl Strategy<Value = (Vec<Step>, Vec<u32>)> {
    let delays = prop_oneof![3 => Just(0u32), 2 => 0u32..10, 1 => 0u32..900];
    (proptest::collection::vec(any_step(), 100..900), proptest::collection::vec(delays, 1..6))
}

fn labels(number: usize) -> Labels {
    let code = ["200", "404", "500"][number % 3];
    let zone = ["a", "b"][number / 3 % 2];
    Labels::new([("__name__", "requests_total"), ("code", code), ("zone", zone), ("instance", "i")]).unwrap()
}

/// The samples of a series by their time of arrival; those of one series arrive in order.
fn arrivals(number: usize, steps: &[Step], delays: &[u32]) -> Vec<(Timestamp, Sent)> {
    let (mut value, mut arrival) = (1_000.0, START);
    let mut arrivals = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        let at = START + SCRAPE * n as u32;
        let delay = SECOND * delays[n * delays.len() / steps.len()];
        arrival = arrival.max(at + delay);
        let sent = |value| (arrival, Sent { labels: labels(number), at, value });
        match *step {
            Step::Grow(by) => value += f64::from(by),
            Step::Reset(to) => value = f64::from(to),
            Step::Miss => continue,
            Step::End => arrivals.push(sent(STALE)),
            Step::NotANumber => arrivals.push(sent(f64::NAN)),
            Step::Repeat => arrivals.extend(arrivals.last().cloned()),
            Step::Contradict => arrivals.extend([sent(value), sent(value + 7.0)]),
        }
        if matches!(step, Step::Grow(_) | Step::Reset(_)) {
            arrivals.push(sent(value));
        }
    }
    arrivals
}

fn slo() -> Slo {
    slos(SPEC).into_iter().next().unwrap()
}

fn check(series: &[(Vec<Step>, Vec<u32>)]) -> Result<(), TestCaseError> {
    let slo = slo();
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    // The oracle does not know births.
    let ingest = ingest::Config { warm_up: SECOND * 86_400, ..ingest::Config::default() };
    let mut world = World::new(vec![slo.clone()], engine, ingest, START);
    let mut oracle = Oracle::default();
    let mut pending: BTreeMap<Timestamp, Vec<Sent>> = BTreeMap::new();
    for (number, (steps, delays)) in series.iter().enumerate() {
        for (arrival, sent) in arrivals(number, steps, delays) {
            pending.entry(arrival).or_default().push(sent);
        }
    }
    let last = pending.last_key_value().map_or(START, |(at, _)| *at) + SECOND * 400;
    let mut now = START;
    while now < last {
        let later = pending.split_off(&(now + Duration::from_millis(1)));
        for (arrival, samples) in std::mem::replace(&mut pending, later) {
            world.send(&samples, arrival).unwrap();
            oracle.record(&samples);
        }
        let report = world.tick(now).snapshot();
        if now.0 % 37_000 == 0 {
            for found in &report.slos {
                compare(&oracle, &slo, found, now, series.len() as f64)?;
            }
        }
        now = now + SECOND;
    }
    Ok(())
}

fn compare(
    oracle: &Oracle,
    slo: &Slo,
    found: &slod::report::SloReport,
    now: Timestamp,
    series: f64,
) -> Result<(), TestCaseError> {
    let group = (found.role == Role::Group).then_some(&found.group);
    let lifetime = oracle.lifetime(slo, group, now);
    prop_assert_eq!((found.bad_events_total, found.events_total), lifetime, "since ever, at {}", now);
    let gap = SECOND * 60 / 4;
    for (report, (length, slot)) in found.windows.iter().zip(WINDOWS) {
        let window = |seconds: u64| oracle.window(slo, group, now, SECOND * seconds as u32, gap);
        let (bad, total) = window(length);
        let (wide, narrow) = (window(length + slot), window(length - slot));
        let slack = |wide: f64, narrow: f64| if slot > 1 { (wide - narrow) + series } else { series };
        prop_assert!(
            (report.events - total).abs() <= slack(wide.1, narrow.1),
            "events in {length}s at {now}: {} instead of {total}",
            report.events
        );
        prop_assert!(
            (report.bad_events - bad).abs() <= slack(wide.0, narrow.0),
            "bad events in {length}s at {now}: {} instead of {bad}",
            report.bad_events
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn counts_equal_the_oracles(series in proptest::collection::vec(any_series(), 1..7)) {
        check(&series)?;
    }
}
