//! SLIs whose expressions are evaluated over recent samples, from the sender to the report.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use slod::{
    expression::Sample,
    labels::Labels,
    matching::Role,
    promql,
    report::{DataStatus, SloReport},
    slo::{
        Budgeting, Indicator, Objective, Question, Sampled, Slo, SloId, Target, Threshold, ThresholdOp,
        workbook_alerts,
    },
    testing::{Kept, Sent, World, parse_labels, slos},
    time::Timestamp,
    window::Counts,
};

use crate::support::{AVAILABILITY, cases};

// A whole hour.
const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
const SCRAPE: i64 = 15;

fn slo(question: Question<&str>) -> Slo {
    let read = |text: &str| promql::expression(text).unwrap();
    let question = match question {
        Question::BadRatio(of) => Question::BadRatio(read(of)),
        Question::GoodRatio(of) => Question::GoodRatio(read(of)),
        Question::Condition(of, good) => Question::Condition(read(of), good),
        Question::Events { bad, total } => Question::Events { bad: read(bad), total: read(total) },
    };
    let month = Duration::from_secs(30 * 86_400);
    Slo {
        id: SloId { service: "shop".into(), name: "sampled".into() },
        description: String::new(),
        labels: Default::default(),
        annotations: Default::default(),
        objective: Objective::rolling(Target::new(0.99).unwrap(), month),
        indicator: Indicator::Sampled(Sampled { question, step: MINUTE }),
        alerts: workbook_alerts(month, Budgeting::Occurrences),
        state_alerts: Vec::new(),
        inhibits: true,
    }
}

fn below(bound: f64) -> Threshold {
    Threshold { op: ThresholdOp::Less, bound }
}

fn world(question: Question<&str>) -> World {
    World::immediate(vec![slo(question)], SECOND, NOW)
}

fn at(second: i64) -> Timestamp {
    Timestamp(NOW.0 + second * 1_000)
}

fn sent(series: &str, second: i64, value: f64) -> Sent {
    Sent { labels: parse_labels(series).unwrap(), at: at(second), value }
}

/// Sends what is scraped in each of some seconds, and evaluates each second. Returns the last report.
fn run(
    world: &mut World,
    seconds: std::ops::Range<i64>,
    scrape: impl Fn(i64) -> Vec<Sent>,
) -> Vec<SloReport> {
    let mut last = Vec::new();
    for second in seconds {
        let samples = if second % SCRAPE == 0 { scrape(second) } else { Vec::new() };
        if !samples.is_empty() {
            world.send(&samples, at(second)).unwrap();
        }
        last = world.tick(at(second)).snapshot().slos;
    }
    last
}

fn events(slo: &SloReport) -> Counts {
    Counts { bad: slo.bad_events_total, total: slo.events_total }
}

/// The events after ten minutes of a gauge that is 1 at first, and 3 after five.
#[track_caller]
fn check(question: Question<&str>, bad: f64, total: f64) {
    let mut world = world(question);
    let gauge = |second: i64| vec![sent("load{job=\"a\"}", second, if second <= 300 { 1.0 } else { 3.0 })];
    let reports = run(&mut world, 0..601, gauge);
    assert_eq!(events(&reports[0]), Counts { bad, total });
    let expected = if total > 0.0 { DataStatus::Ok } else { DataStatus::NoTraffic };
    assert_eq!(reports[0].status, expected);
}

#[test]
fn every_question_has_its_events() {
    // Ten steps have samples: those at a minute to ten minutes. Of the first five all say 1.
    check(Question::BadRatio("sum(load) / 4"), 5.0 * 0.25 + 5.0 * 0.75, 10.0);
    check(Question::GoodRatio("sum(load) / 4"), 5.0 * 0.75 + 5.0 * 0.25, 10.0);
    check(Question::BadRatio("sum(load)"), 10.0, 10.0);
    check(Question::BadRatio("sum(load) - 2"), 5.0, 10.0);
    check(Question::Condition("sum(load)", below(2.0)), 5.0, 10.0);
    check(Question::Condition("sum(load > 2)", below(2.0)), 5.0, 5.0);
    check(Question::Condition("sum(load) / 0 * 0", below(2.0)), 0.0, 0.0);
    check(Question::Events { bad: "sum(load) - 1", total: "sum(load) * 2" }, 10.0, 40.0);
    check(Question::Events { bad: "sum(load > 2)", total: "sum(load)" }, 15.0, 20.0);
    check(Question::Events { bad: "sum(load)", total: "sum(load < 0)" }, 20.0, 0.0);
    check(Question::Condition("max_over_time(sum(load)[3m:1m])", below(2.0)), 5.0, 10.0);
    check(Question::Condition("sum(load offset 2m)", below(2.0)), 3.0, 9.0);
}

/// A latency histogram of ten requests a second, of which a part is slow from some second on.
fn latency(second: i64, slow_from: i64) -> Vec<Sent> {
    let slow = (second - slow_from).max(0) as f64 * 2.0;
    let count = second as f64 * 10.0;
    let bucket = |le: &str, value| sent(&format!("latency_bucket{{job=\"a\",le=\"{le}\"}}"), second, value);
    vec![bucket("0.5", count - slow), bucket("2.5", count), bucket("+Inf", count)]
}

const P90: &str = "histogram_quantile(0.9, sum by (le) (rate(latency_bucket[1m])))";

#[test]
fn a_quantile_that_is_too_slow_pages() {
    let mut world = world(Question::Condition(P90, below(0.5)));
    let quiet = run(&mut world, 0..3_600, |second| latency(second, 3_600));
    assert_eq!(events(&quiet[0]), Counts { bad: 0.0, total: 59.0 });
    assert!(quiet[0].alerts.iter().all(|alert| alert.level == 0));
    let burning = run(&mut world, 3_600..4_800, |second| latency(second, 3_600));
    assert!(events(&burning[0]).bad >= 18.0, "{:?}", events(&burning[0]));
    assert!(burning[0].alerts.iter().any(|alert| alert.level == 2), "{:?}", burning[0].alerts);
}

#[test]
fn every_label_set_of_a_result_is_a_group() {
    let mut world =
        world(Question::Condition("avg by (job) (up)", Threshold { op: ThresholdOp::Greater, bound: 0.5 }));
    let scrape = |second: i64| {
        let up =
            |job: &str, pod: &str, value| sent(&format!("up{{job=\"{job}\",pod=\"{pod}\"}}"), second, value);
        let mut samples = vec![up("a", "1", 1.0), up("a", "2", 0.0), up("b", "1", 1.0)];
        samples.retain(|sample| second < 300 || sample.labels.get("job") == "a");
        samples
    };
    let found = |reports: &[SloReport]| {
        let line = |slo: &SloReport| {
            let Counts { bad, total } = events(slo);
            format!("{:?} {} {bad}/{total} {:?}", slo.role, slo.group, slo.status)
        };
        reports.iter().map(line).collect::<Vec<_>>()
    };
    let reports = run(&mut world, 0..301, scrape);
    assert_eq!(reports[0].role, Role::RollUp);
    assert_eq!(
        found(&reports),
        ["RollUp {} 5/10 Ok", r#"Group {job="a"} 5/5 Ok"#, r#"Group {job="b"} 0/5 Ok"#]
    );
    // Prometheus looks back five minutes, and so long there is a value.
    let reports = run(&mut world, 301..1_500, scrape);
    assert_eq!(
        found(&reports),
        ["RollUp {} 24/33 Ok", r#"Group {job="a"} 24/24 Ok"#, r#"Group {job="b"} 0/9 Stale"#]
    );
}

#[test]
fn duplicates_and_old_samples_change_nothing() {
    let mut world = world(Question::Condition("sum_over_time(load[1m])", below(5.0)));
    let reports = run(&mut world, 0..601, |second| {
        vec![
            sent("load", second, 1.0),
            sent("load", second, 9.0),
            sent("load", second - SCRAPE, 9.0),
            sent("load", second - 3, 9.0),
        ]
    });
    assert_eq!(events(&reports[0]), Counts { bad: 0.0, total: 10.0 });
}

#[test]
fn a_series_that_ends_is_not_asked_about() {
    let mut world = world(Question::Condition("sum(load)", below(2.0)));
    let reports =
        run(&mut world, 0..600, |second| vec![sent("load", second, if second < 300 { 1.0 } else { STALE })]);
    assert_eq!(events(&reports[0]), Counts { bad: 0.0, total: 4.0 });
    assert_eq!((world.steps("evaluated"), world.steps("empty")), (4, 1));
    let reports = run(&mut world, 600..1_200, |_| vec![]);
    assert_eq!(reports[0].status, DataStatus::SenderDown);
    let reports = run(&mut world, 1_200..1_500, |second| vec![sent("load", second, 3.0)]);
    // The steps in between were pending: nothing was there.
    assert_eq!(events(&reports[0]), Counts { bad: 5.0, total: 9.0 });
    assert_eq!((world.steps("evaluated"), world.steps("empty")), (9, 15));
}

#[test]
fn an_expression_that_prometheus_refuses_is_counted() {
    let mut world = world(Question::BadRatio("load * on () limit"));
    let reports = run(&mut world, 0..301, |second| {
        vec![
            sent("load{a=\"1\"}", second, 1.0),
            sent("load{a=\"2\"}", second, 1.0),
            sent("limit", second, 1.0),
        ]
    });
    assert_eq!((events(&reports[0]), world.steps("ambiguous")), (Counts::ZERO, 5));
}

#[test]
fn a_counter_is_both_counted_and_looked_at() {
    let mut all = slos(AVAILABILITY);
    all.push(slo(Question::BadRatio("sum(rate(http_requests_total{code=\"500\"}[1m])) / 4")));
    let mut world = World::immediate(all, SECOND, NOW);
    let requests = |code: &str, second: i64| {
        let series = format!(r#"http_requests_total{{job="api",instance="a",code="{code}"}}"#);
        sent(&series, second, second as f64)
    };
    let reports = run(&mut world, 0..601, |second| vec![requests("200", second), requests("500", second)]);
    let [counted, sampled] = &reports[..] else { panic!("{} SLOs", reports.len()) };
    assert_eq!(events(counted), Counts { bad: 600.0, total: 1_200.0 });
    // Each step is seen by a rate of 1, but the first, which has no two samples of one minute before it.
    assert_eq!(events(sampled), Counts { bad: 2.5, total: 10.0 });
}

#[test]
fn what_nobody_looks_back_to_is_forgotten() {
    let mut world = world(Question::BadRatio("sum(rate(load[2m]))"));
    let scrape = |second: i64| vec![sent("load{a=\"1\"}", second, 0.0), sent("load{a=\"2\"}", second, 0.0)];
    run(&mut world, 0..7_200, scrape);
    // Up to the next step, which is a minute away.
    let (series, samples) = world.recorded();
    assert_eq!(series, 2);
    assert!(samples <= 2 * 180 / SCRAPE, "{samples} samples");
    // The sender forgets one of them.
    let scrape = |second: i64| vec![sent("load{a=\"1\"}", second, 0.0)];
    run(&mut world, 7_200..7_500, scrape);
    assert_eq!(world.recorded().0, 2, "ingest remembers it");
    run(&mut world, 7_500 + 86_400..7_500 + 86_520, scrape);
    world.sweep(at(7_500 + 86_520));
    run(&mut world, 7_500 + 86_520..7_500 + 86_700, scrape);
    assert_eq!(world.recorded().0, 1);
}

#[test]
fn steps_that_are_pending_for_too_long_expire() {
    let mut world = world(Question::Condition("sum(load)", below(2.0)));
    let up = |second: i64| vec![sent("load", second, 1.0)];
    run(&mut world, 0..301, up);
    assert_eq!(world.steps("expired"), 0);
    world.tick(at(5 * 3_600));
    assert_eq!(world.steps("expired"), 2 * 60 - 6);
    let reports = run(&mut world, 5 * 3_600..5 * 3_600 + 301, up);
    assert_eq!(world.steps("empty") + world.steps("evaluated") + world.steps("expired"), 5 * 60 + 5);
    assert_eq!(reports[0].status, DataStatus::Ok);
}

#[test]
fn a_clock_that_is_set_back_does_not_stop_it() {
    let mut world = world(Question::Condition("sum(load)", below(2.0)));
    let up = |second: i64| sent("load", second, 1.0);
    // slod's clock is two hours ahead of its senders'.
    for second in 0..1_201 {
        let now = at(second + 7_200);
        if second % SCRAPE == 0 {
            world.send(&[up(second)], now).unwrap();
        }
        world.tick(now);
    }
    assert_eq!(world.steps("evaluated"), 20);
    let reports = run(&mut world, 1_201..1_801, |second| vec![up(second)]);
    assert_eq!(world.steps("evaluated"), 30);
    assert_eq!(reports[0].status, DataStatus::Ok);
}

// --- backlogs ---

fn windows(slo: &SloReport) -> Vec<Counts> {
    slo.windows.iter().map(|window| Counts { bad: window.bad_events, total: window.events }).collect()
}

#[test]
fn a_backlog_is_looked_at_in_its_own_time() {
    // Ten minutes of trouble, in the middle of the two hours that the sender cannot deliver.
    let scrape = |second: i64| {
        let load = if (6_000..6_600).contains(&second) { 5.0 } else { 1.0 };
        vec![sent("load{a=\"1\"}", second, load), sent("load{a=\"2\"}", second, 1.0)]
    };
    let question = Question::Condition("sum(avg_over_time(load[1m]))", below(4.0));
    let (mut live, mut late) = (world(question.clone()), world(question));
    run(&mut live, 0..10_900, scrape);
    run(&mut late, 0..3_600, scrape);
    run(&mut late, 3_600..10_800, |_| vec![]);
    // One series comes after the other, in ten seconds.
    for (n, name) in ["1", "2"].into_iter().enumerate() {
        for part in 0..5 {
            let (from, now) = (3_600 + part * 1_440, at(10_800 + 5 * n as i64 + part));
            let times = (from..from + 1_440).filter(|second| second % SCRAPE == 0);
            let samples: Vec<_> =
                times.flat_map(scrape).filter(|sent| sent.labels.get("a") == name).collect();
            late.send(&samples, now).unwrap();
            let report = &late.tick(now).snapshot().slos[0];
            assert!(report.alerts.iter().all(|alert| alert.level == 0), "{:?}", report.alerts);
        }
    }
    let scrape_after = |second: i64| if second < 10_815 { vec![] } else { scrape(second) };
    run(&mut late, 10_810..10_900, scrape_after);
    let (live, late) = (run(&mut live, 10_900..11_000, scrape), run(&mut late, 10_900..11_000, scrape));
    assert_eq!(events(&live[0]), events(&late[0]));
    assert_eq!(windows(&live[0]), windows(&late[0]));
    assert_eq!(events(&late[0]).bad, 10.0);
}

// --- across a restart ---

/// A world with other SLOs that goes on with the steps of one that ends.
fn restarted(before: &mut World, slos: Vec<Slo>, second: i64) -> World {
    let mut after = World::immediate(slos, SECOND, at(second));
    let state = before.export_steps();
    after.restore_steps(state, before, at(second));
    after
}

#[test]
fn a_restart_neither_repeats_a_step_nor_leaves_one_out() {
    let question = Question::Condition("sum(sum_over_time(load[3m]))", below(13.0));
    let load = |second: i64| vec![sent("load", second, if second < 300 { 1.0 } else { 2.0 })];
    let mut before = world(question.clone());
    run(&mut before, 0..401, load);
    let mut after = restarted(&mut before, vec![slo(question)], 401);
    // The last request is sent again, and older ones are, too.
    after.send(&load(390), at(401)).unwrap();
    after.send(&load(120), at(401)).unwrap();
    let reports = run(&mut after, 401..601, load);
    assert_eq!(events(&reports[0]), Counts { bad: 4.0, total: 4.0 }, "with samples of before");
    assert_eq!(after.steps("evaluated"), 4, "420 to 600");
    assert_eq!(after.recorded().0, 1, "the series is the same");
}

#[test]
fn an_slo_that_asks_something_else_begins_anew() {
    let up = |second: i64| vec![sent("load", second, 1.0)];
    let mut before = world(Question::Condition("sum(load)", below(2.0)));
    run(&mut before, 0..241, up);
    let other = slo(Question::Condition("sum(load)", below(1.0)));
    let mut after = restarted(&mut before, vec![other], 241);
    run(&mut after, 241..301, up);
    // From the first sample on that is still there.
    assert!(after.steps("evaluated") > 1, "{} steps", after.steps("evaluated"));
    let renamed = slo(Question::Condition("sum(load)", below(2.0)));
    let renamed = Slo { id: SloId { name: "renamed".into(), ..renamed.id.clone() }, ..renamed };
    let same = slo(Question::Condition("sum(load)", below(2.0)));
    let mut both = restarted(&mut before, vec![renamed, same], 241);
    run(&mut both, 241..301, up);
    assert_eq!(both.steps("evaluated"), after.steps("evaluated") + 1);
}

#[test]
fn groups_live_on_after_a_restart_and_end_in_their_time() {
    let question = || Question::Condition("avg by (job) (up)", below(0.5));
    let up = |second: i64| {
        let jobs: &[&str] = if second < 240 { &["a", "b"] } else { &["a"] };
        jobs.iter().map(|job| sent(&format!("up{{job=\"{job}\"}}"), second, 1.0)).collect::<Vec<_>>()
    };
    let mut before = world(question());
    run(&mut before, 0..301, up);
    let mut after = restarted(&mut before, vec![slo(question())], 301);
    let reports = run(&mut after, 301..361, up);
    let groups = |reports: &[SloReport]| {
        let line = |slo: &SloReport| format!("{} {} {:?}", slo.group, slo.events_total, slo.status);
        reports.iter().map(line).collect::<Vec<_>>()
    };
    assert_eq!(groups(&reports), ["{} 2 Ok", r#"{job="a"} 1 Ok"#, r#"{job="b"} 1 Ok"#]);
    let reports = run(&mut after, 361..1_261, up);
    assert_eq!(groups(&reports), ["{} 19 Ok", r#"{job="a"} 16 Ok"#, r#"{job="b"} 3 Stale"#]);
}

#[test]
fn what_was_recorded_after_the_mark_is_not_in_the_state() {
    let mut world = world(Question::BadRatio("sum(load)"));
    world.send(&[sent("load", 0, 1.0)], at(0)).unwrap();
    let (state, _) = world.export_steps();
    world.send(&[sent("load", 15, 1.0)], at(15)).unwrap();
    let series = |state: &slod::sampling::SamplerState| {
        state.series.iter().map(|series| (series.last_at, series.samples.len())).collect::<Vec<_>>()
    };
    assert_eq!(series(&state), [(Some(at(0)), 1)]);
    assert_eq!(series(&world.export_steps().0), [(Some(at(15)), 2)]);
}

const ACROSS: [&str; 5] = [
    "sum(load)",
    "sum by (n) (load)",
    "max(max_over_time(load[7m] offset 10m))",
    "sum by (n) (rate(load[3m])) / 10",
    "avg_over_time((sum(load) > bool 20)[10m:2m])",
];

fn lifetimes(reports: &[SloReport]) -> BTreeMap<(String, String), Counts> {
    reports.iter().map(|slo| ((slo.slo.id.to_string(), slo.group.to_string()), events(slo))).collect()
}

proptest! {
    #![proptest_config(cases(32))]

    /// Stopped at any moment, with requests sent again after it: all count what they would have counted.
    #[test]
    fn a_restart_changes_no_count(
        values in proptest::collection::vec((0..3_usize, 0..30_u8, 1..40_i64, 0..30_i64), 60..200),
        stopped_after in 0..200_usize,
        again in 1..20_usize,
    ) {
        let named = |n: usize| {
            let slo = slo(Question::Condition(ACROSS[n], below(10.0)));
            Slo { id: SloId { name: n.to_string(), ..slo.id.clone() }, ..slo }
        };
        let all = || (0..ACROSS.len()).map(named).collect::<Vec<_>>();
        let mut through = World::immediate(all(), SECOND, NOW);
        let mut other = World::immediate(all(), SECOND, NOW);
        let (mut second, mut sent_before, mut counted) = (0, Vec::new(), BTreeMap::new());
        for (n, (series, value, pause, late)) in values.into_iter().enumerate() {
            for second in second..second + pause {
                through.tick(at(second));
                other.tick(at(second));
            }
            second += pause;
            let request = [sent(&format!("load{{n=\"{series}\"}}"), second - late, f64::from(value))];
            through.send(&request, at(second)).unwrap();
            other.send(&request, at(second)).unwrap();
            sent_before.push(request);
            if n == stopped_after {
                through.tick(at(second));
                counted = lifetimes(&other.tick(at(second)).snapshot().slos);
                other = restarted(&mut other, all(), second);
                // What is older would look like a backlog, which steps wait for.
                let is_recent = |request: &&[Sent; 1]| request[0].at > at(second) - SECOND * 60;
                for request in sent_before.iter().rev().take(again).filter(is_recent) {
                    other.send(request, at(second)).unwrap();
                }
            }
        }
        let expected = lifetimes(&through.tick(at(second)).snapshot().slos);
        let mut found = lifetimes(&other.tick(at(second)).snapshot().slos);
        for (instance, before) in counted {
            *found.entry(instance).or_insert(Counts::ZERO) += before;
        }
        prop_assert_eq!(found, expected);
    }
}

// --- against all samples ---

const LOOKING_BACK: [&str; 5] = [
    "sum(load)",
    "max(max_over_time(load[7m] offset 10m))",
    "sum(rate(load[3m])) / 10",
    "avg_over_time((sum(load) > bool 20)[10m:2m])",
    "sum(load offset 20m) - sum(load)",
];

proptest! {
    #![proptest_config(cases(24))]

    /// What is kept is as good as everything.
    #[test]
    fn nothing_is_forgotten_that_an_expression_looks_back_to(
        values in proptest::collection::vec((0..3_usize, 0..30_u8, 0..14_i64), 400..900),
        expression in prop::sample::select(LOOKING_BACK.to_vec()),
    ) {
        let question = Question::Condition(expression, below(10.0));
        let mut world = world(question);
        let mut all: Vec<(Labels, Vec<Sample>)> = (0..3)
            .map(|n| (parse_labels(&format!("load{{n=\"{n}\"}}")).unwrap(), Vec::new()))
            .collect();
        let (mut now, mut first) = (0, None);
        for (n, value, pause) in values {
            for second in now..now + pause {
                world.tick(at(second));
            }
            now += pause;
            let (labels, samples) = &mut all[n];
            let sample = Sample { at: at(now), value: f64::from(value) };
            if samples.last().is_none_or(|last| last.at < sample.at) {
                world.send(&[Sent { labels: labels.clone(), at: sample.at, value: sample.value }], at(now)).unwrap();
                samples.push(sample);
                first.get_or_insert(now);
            }
        }
        let report = &world.tick(at(now)).snapshot().slos[0];
        let (all, expression) = (Kept(all), promql::expression(expression).unwrap());
        let mut expected = Counts::ZERO;
        for second in (first.unwrap() / 60 + 1..=now / 60).map(|minute| minute * 60) {
            for (_, value) in expression.evaluate(at(second), &all).unwrap() {
                expected += Counts { bad: f64::from(value >= 10.0), total: f64::from(!value.is_nan()) };
            }
        }
        prop_assert_eq!(events(report), expected);
    }
}
