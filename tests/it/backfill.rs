//! History that is filled in counts like history that was streamed.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use slod::{
    backfill::{Backfill, Filled},
    engine::{self, Exported},
    history::{Sample, Series},
    ingest,
    labels::Labels,
    matching::{Beginning, Role},
    pipeline::{self, Pipeline},
    prompb::Version,
    report::{SloReport, Snapshot},
    testing::{Sent, encode, parse_labels, slos},
    time::Timestamp,
    window::Scope,
};

use crate::support::cases;

// Two hours before a midnight, at which a calendar's day ends.
const START: Timestamp = Timestamp(1_700_006_400_000 - 2 * 3_600_000);
const SECOND: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(15);
const DELAY: Duration = Duration::from_secs(5);
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
/// Longer than targets are followed until births are believed, and than any expression looks back.
const AFTER: Duration = Duration::from_secs(700);
const SCRAPES: usize = 600;

const SPECS: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: counted, service: api}
spec:
  sli:
    bad: sum(rate(requests_total{code="500"}[5m]))
    total: sum(rate(requests_total[5m]))
  objective: {target: 99, windows: [6h, {calendar: day}]}
  alerting: {burn_rate_alerts: [{severity: page, burn_rate: 10, window: 1h, short_window: 5m}]}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: grouped, service: api}
spec:
  sli:
    query: sum by (zone) (rate(requests_total{code!="500"}[5m])) / sum by (zone) (rate(requests_total[5m]))
  objective: {target: 99, window: 6h}
  alerting: {burn_rate_alerts: [{severity: page, burn_rate: 10, window: 30m, short_window: 3m}]}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: sliced, service: api}
spec:
  sli:
    bad: sum(rate(requests_total{code="500"}[5m]))
    total: sum(rate(requests_total[5m]))
  objective: {target: 90, window: 6h, budgeting: Timeslices, slice: {window: 1m, target: 80}}
  alerting: {burn_rate_alerts: [{severity: page, burn_rate: 5, window: 1h, short_window: 10m}]}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: ratio-sliced, service: api}
spec:
  sli:
    bad: sum(rate(requests_total{code="500"}[5m]))
    total: sum(rate(requests_total[5m]))
  objective: {target: 90, window: 6h, budgeting: RatioTimeslices, slice: {window: 1m}}
  alerting: {burn_rate_alerts: [{severity: page, burn_rate: 5, window: 1h, short_window: 10m}]}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: sampled, service: api}
spec:
  sli:
    step: 30s
    threshold:
      metric: max by (zone) (rate({__name__=~"requests_total|beats_total",code="500"}[2m]))
      op: lt
      value: 1.4
  objective: {target: 90, window: 6h}
  alerting: {burn_rate_alerts: [{severity: page, burn_rate: 5, window: 1h, short_window: 10m}]}
"#;

/// What happens to a series at a scrape.
#[derive(Clone, Copy, Debug)]
enum Step {
    Grow(u32),
    Reset(u32),
    Miss,
    /// Misses a few.
    Pause,
    End,
}

/// A series from its birth to its end.
#[derive(Clone, Debug)]
struct Life {
    born: usize,
    ends: usize,
    steps: Vec<Step>,
}

/// When the parts of a case happen.
#[derive(Clone, Copy, Debug)]
struct Times {
    begins: Timestamp,
    /// How long after that history is added.
    absorbed_after: Duration,
    piece: Duration,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => (0u32..50).prop_map(Step::Grow),
        1 => (0u32..5).prop_map(Step::Reset),
        5 => Just(Step::Miss),
        1 => Just(Step::Pause),
        1 => Just(Step::End),
    ]
}

/// As targets are, one of the series of each is there all the time: what is not followed since `ingest.warm_up` has no
/// births.
fn any_lives() -> impl Strategy<Value = Vec<Life>> {
    prop::collection::vec(any_life(), 1..12).prop_map(|mut lives| {
        lives.iter_mut().step_by(2).take(3).for_each(|life| (life.born, life.ends) = (0, SCRAPES));
        lives
    })
}

/// Many are there all the time; others are born or end around the beginning, or at any time.
fn any_life() -> impl Strategy<Value = Life> {
    let born = prop_oneof![3 => Just(0), 1 => 0..SCRAPES, 2 => 290..420usize];
    let ends = prop_oneof![4 => Just(SCRAPES), 1 => 0..SCRAPES, 1 => 290..420usize];
    (born, ends, prop::collection::vec(any_step(), 40..200)).prop_map(|(born, ends, steps)| Life {
        born,
        ends,
        steps,
    })
}

fn any_times() -> impl Strategy<Value = Times> {
    (300_000..400_000i64, 15u64..2_000, 1u64..100).prop_map(|(begins, absorbed, piece)| Times {
        begins: START + Duration::from_millis(begins as u64 * 15),
        absorbed_after: SECOND * absorbed as u32,
        piece: Duration::from_secs(piece * 60),
    })
}

fn config(begins_after: Option<Duration>) -> pipeline::Config {
    pipeline::Config {
        engine: engine::Config { delay: DELAY, ..engine::Config::default() },
        ingest: ingest::Config::default(),
        groups_per_slo_max: 100,
        pull_delay: Duration::ZERO,
        begins_after,
    }
}

fn pipeline(begins_after: Option<Duration>, now: Timestamp) -> Pipeline {
    Pipeline::new(config(begins_after), slos(SPECS), &slod::telemetry::Telemetry::new(), now)
}

fn labels(number: usize) -> Labels {
    let (code, zone, instance) = (["200", "500"][number % 2], number / 2 % 2, number / 2 % 3);
    parse_labels(&format!(
        "requests_total{{code=\"{code}\",zone=\"{zone}\",instance=\"{instance}\",n=\"{number}\"}}"
    ))
    .unwrap()
}

/// The samples of a series; those of a target have the same times.
fn samples(number: usize, life: &Life) -> Vec<Sample> {
    let phase = Duration::from_millis((number / 2 % 3) as u64 * 4_321);
    let (mut value, mut missed) = (f64::from(number as u32 % 5) * 100.0, 0);
    let mut samples = Vec::new();
    for n in life.born..life.ends {
        let at = START + SCRAPE * n as u32 + phase;
        let step_at = |n: usize| life.steps[(n * 7 + number) % life.steps.len()];
        let is_paused = (n.saturating_sub(3)..n).any(|n| matches!(step_at(n), Step::Pause));
        let step = if is_paused { Step::Miss } else { step_at(n) };
        missed = if matches!(step, Step::Miss | Step::Pause) { missed + 1 } else { 0 };
        match step {
            Step::Grow(by) => value += f64::from(by),
            Step::Reset(to) => value = f64::from(to),
            Step::Miss | Step::Pause if missed < 8 => continue,
            Step::Miss | Step::Pause => (),
            Step::End => {
                samples.push(Sample { at, value: STALE });
                continue;
            }
        }
        samples.push(Sample { at, value });
    }
    if let Some(last) = samples.last().filter(|_| life.ends < SCRAPES) {
        samples.push(Sample { at: last.at + SCRAPE, value: STALE });
    }
    samples
}

/// Steps without any sample wait for the next one; so that they need not, something is always there for expressions.
fn history(lives: &[Life]) -> Vec<Series> {
    let series = |(number, life)| Series { labels: labels(number), samples: samples(number, life) };
    let beat = |n: usize| Sample { at: START + SCRAPE * n as u32, value: n as f64 };
    let beats = Series {
        labels: parse_labels(r#"beats_total{code="500",zone="beats"}"#).unwrap(),
        samples: (0..SCRAPES).map(beat).collect(),
    };
    lives.iter().enumerate().map(series).chain([beats]).collect()
}

/// Everything that is sent, by its time.
fn stream(history: &[Series]) -> BTreeMap<Timestamp, Vec<Sent>> {
    let mut stream: BTreeMap<Timestamp, Vec<Sent>> = BTreeMap::new();
    for Series { labels, samples } in history {
        for Sample { at, value } in samples {
            let sent = Sent { labels: labels.clone(), at: *at, value: *value };
            stream.entry(*at).or_default().push(sent);
        }
    }
    stream
}

/// Streams `[from, to)`, evaluating each second; the last report.
fn run(
    pipeline: &mut Pipeline,
    stream: &BTreeMap<Timestamp, Vec<Sent>>,
    from: Timestamp,
    to: Timestamp,
) -> Snapshot {
    let mut now = from.floor(SECOND) + SECOND;
    let mut rest = stream.range(from..to).peekable();
    loop {
        while let Some((at, samples)) = rest.next_if(|(at, _)| **at < now) {
            pipeline.write(Version::V1, &encode(samples), *at).unwrap();
        }
        let report = pipeline.tick(now);
        if now >= to {
            return report.snapshot();
        }
        now = now + SECOND;
    }
}

/// The history of every SLO up to a beginning, read in pieces.
fn fill(history: &[Series], beginning: Beginning, piece: Duration) -> Vec<Filled> {
    let mut backfill = Backfill::new(config(None), slos(SPECS), beginning);
    let (mut from, until) = backfill.span();
    while from <= until {
        let to = (from + piece - Duration::from_millis(1)).min(until);
        let part = |series: &Series| Series {
            labels: series.labels.clone(),
            samples: series.samples.iter().copied().filter(|s| s.at >= from && s.at <= to).collect(),
        };
        let part: Vec<Series> = history.iter().map(part).filter(|s| !s.samples.is_empty()).collect();
        backfill.add(&part, to);
        from = to + Duration::from_millis(1);
    }
    backfill.finish()
}

fn absorb(pipeline: &mut Pipeline, filled: Vec<Filled>, beginning: Beginning) {
    let mut by_slo: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Filled { slo, role, group, state } in filled {
        by_slo.entry(slo).or_default().push((role, group, state));
    }
    for (slo, known) in pipeline.instances().unfilled() {
        assert_eq!(known, beginning);
        let histories = by_slo.remove(&slo.id).unwrap_or_default();
        assert_eq!(pipeline.absorb(&slo, beginning, histories), []);
    }
    assert_eq!(pipeline.instances().unfilled().len(), 0);
}

/// Every number of a report, with what it is.
fn numbers(report: &Snapshot) -> BTreeMap<String, f64> {
    let mut numbers = BTreeMap::new();
    for found in &report.slos {
        let SloReport { slo, role, group, windows, budgets, .. } = found;
        let mut put = |what: String, value| {
            let role = if *role == Role::Whole { String::new() } else { format!(" {role:?}{group}") };
            numbers.insert(format!("{}{role}: {what}", slo.id.name), value);
        };
        for window in windows {
            put(format!("events in {:?}", window.window), window.events);
            put(format!("bad events in {:?}", window.window), window.bad_events);
        }
        for budget in budgets {
            put(format!("coverage of {:?}", budget.window), budget.coverage);
        }
        put("events".to_owned(), found.events_total);
        put("bad events".to_owned(), found.bad_events_total);
        put("last sample".to_owned(), found.last_sample.map_or(-1.0, Timestamp::seconds));
    }
    numbers
}

fn compare(found: &Snapshot, expected: &Snapshot, has_merged: bool) -> Result<(), TestCaseError> {
    let (mut found, mut expected) = (numbers(found), numbers(expected));
    // Of many holes the oldest are merged, and history and stream have theirs apart.
    for numbers in [&mut found, &mut expected] {
        numbers.retain(|what, _| !has_merged || !what.contains("coverage"));
    }
    prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for ((what, found), expected) in found.iter().zip(expected.values()) {
        let is_whole = what.ends_with("events") && !what.starts_with("ratio-sliced");
        let limit = if is_whole { 0.0 } else { expected.abs() * 1e-9 };
        // The verdict on the slice that both saw may become milder; a counter that was published must not fall.
        let surplus = if what == "ratio-sliced: bad events" { 1.0 } else { limit };
        let difference = found - expected;
        prop_assert!(-limit <= difference && difference <= surplus, "{what}: {found} instead of {expected}");
    }
    Ok(())
}

fn check(lives: &[Life], times: Times) -> Result<(), TestCaseError> {
    let history = history(lives);
    let stream = stream(&history);
    let started = times.begins - AFTER;
    let absorbed = (times.begins + DELAY + times.absorbed_after).floor(SECOND);
    let (mut whole, mut live) = (pipeline(None, START), pipeline(Some(AFTER), started));
    let beginning = live.instances().unfilled()[0].1;
    prop_assert_eq!(beginning.at, times.begins);
    run(&mut whole, &stream, START, absorbed);
    run(&mut live, &stream, started, absorbed);
    absorb(&mut live, fill(&history, beginning, times.piece), beginning);
    check_from(&mut whole, &mut live, &stream, absorbed, compare)
}

/// Whether an SLI has as many holes as are kept apart.
fn has_many_holes(pipeline: &mut Pipeline) -> bool {
    let ((), mark) = pipeline.freeze(|| ());
    let mut most = 0;
    pipeline.export(&mark, Scope::Everything, &mut |part| {
        if let Exported::Head(_, head) = part {
            most = most.max(head.row.holes.len());
        }
    });
    most >= 15
}

/// Compares two pipelines from a time on.
fn check_from(
    whole: &mut Pipeline,
    live: &mut Pipeline,
    stream: &BTreeMap<Timestamp, Vec<Sent>>,
    mut from: Timestamp,
    compare: impl Fn(&Snapshot, &Snapshot, bool) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    for pause in [1, 59, 600, 4_000] {
        let to = from + SECOND * pause;
        let expected = run(whole, stream, from, to);
        compare(&run(live, stream, from, to), &expected, has_many_holes(whole))?;
        from = to;
    }
    Ok(())
}

/// A pipeline whose history is complete is away for some hours, and what was missed is filled in. `undelivered` of the
/// samples before it went were never sent.
fn check_absence(lives: &[Life], times: Times, undelivered: Duration) -> Result<(), TestCaseError> {
    let history = history(lives);
    let stream = stream(&history);
    // 20 s behind a step of expressions, which has been evaluated.
    let heard = (times.begins - AFTER - SECOND * 1_800).floor(SECOND * 30) - SECOND * 10;
    let back = times.begins - AFTER;
    let absorbed = (times.begins + DELAY + times.absorbed_after).floor(SECOND);
    let (mut whole, mut live) = (pipeline(None, START), pipeline(Some(Duration::ZERO), START));
    (0..live.instances().unfilled().len()).for_each(|place| live.instances().note_filled(place));
    run(&mut whole, &stream, START, absorbed);
    run(&mut live, &stream, START, heard - undelivered);
    live.tick(heard);
    let beginning = Beginning { from: heard, ..Beginning::after(times.begins) };
    live.instances().begin_again(beginning);
    live.resume(back);
    run(&mut live, &stream, back, absorbed);
    absorb(&mut live, fill(&history, beginning, times.piece), beginning);
    // What a scrape adds at most.
    let lost_max = 50.0 * lives.len() as f64;
    check_from(&mut whole, &mut live, &stream, absorbed, |found, expected, has_merged| {
        if undelivered.is_zero() {
            return compare(found, expected, has_merged);
        }
        for what in ["counted: events", "counted: bad events"] {
            let lost = numbers(expected)[what] - numbers(found)[what];
            prop_assert!((0.0..=lost_max).contains(&lost), "{what}: {lost} are missing");
        }
        Ok(())
    })
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn filled_in_history_counts_like_streamed_history(
        lives in any_lives(),
        times in any_times(),
    ) {
        check(&lives, times)?;
    }

    #[test]
    fn what_was_missed_in_an_absence_counts_once(
        lives in any_lives(),
        times in any_times(),
    ) {
        check_absence(&lives, times, Duration::ZERO)?;
    }

    #[test]
    fn an_absence_costs_no_more_than_what_was_on_its_way(
        lives in any_lives(),
        times in any_times(),
    ) {
        check_absence(&lives, times, SCRAPE)?;
    }
}
