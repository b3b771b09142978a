//! Other SLOs come into force while samples come in: what stays goes on as if nothing had happened, and what is
//! new begins with what happens from then on.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use slod::{
    engine, ingest,
    matching::Role,
    report::{DataStatus, SloReport},
    slo::Slo,
    testing::{Sent, World, parse_labels, slos},
    time::Timestamp,
};

use crate::support::cases;

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(5);

/// An SLO of this name, with what it promises and asks.
fn slo(name: &str, target: f64, window: &str, bad: &str, total: &str) -> Slo {
    let spec = format!(
        "apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {{name: {name}, service: shop}}
spec:
  sli: {{bad: '{bad}', total: '{total}'}}
  objective: {{target: {target}, window: {window}}}
  alerting:
    burn_rate_alerts: [{{severity: page, burn_rate: 2, window: 5m, short_window: 1m}}]
"
    );
    slos(&spec).remove(0)
}

const BAD: &str = "sum by (zone) (rate(requests_total{code=~\"5..\"}[5m]))";
const TOTAL: &str = "sum by (zone) (rate(requests_total[5m]))";

/// The SLO that stays.
fn staying(target: f64) -> Slo {
    slo("staying", target, "1h", BAD, TOTAL)
}

/// SLOs that come and go: one of the same series, and one of others, too.
fn same() -> Slo {
    slo("same", 99.0, "30m", &BAD.replace("by (zone) ", ""), &TOTAL.replace("by (zone) ", ""))
}

fn other() -> Slo {
    slo("other", 99.0, "1h", "sum(rate(requests_total{code=\"500\"}[5m]))", "sum(rate(others_total[5m]))")
}

fn world(slos: Vec<Slo>) -> World {
    World::immediate(slos, SECOND, START)
}

fn at(second: u32) -> Timestamp {
    START + SECOND * second
}

fn sent(series: &str, at: Timestamp, value: f64) -> Sent {
    Sent { labels: parse_labels(series).unwrap(), at, value }
}

fn requests(code: &str, at: Timestamp, value: f64) -> Sent {
    sent(&format!(r#"requests_total{{instance="a",code="{code}",zone="z"}}"#), at, value)
}

fn others(at: Timestamp, value: f64) -> Sent {
    sent(r#"others_total{instance="a"}"#, at, value)
}

/// Scrapes every five seconds of 100 requests, a tenth of them bad, and of other counters.
fn scrape(world: &mut World, scrapes: std::ops::RangeInclusive<u32>) {
    for n in scrapes {
        let (at, count) = (START + SCRAPE * n, f64::from(n));
        let samples = [
            requests("200", at, 90.0 * count),
            requests("500", at, 10.0 * count),
            others(at, 1_000.0 * count),
        ];
        world.send(&samples, at).unwrap();
        world.tick(at);
    }
}

/// The report of an SLO, or of all its groups together.
fn of(world: &mut World, name: &str, now: Timestamp) -> SloReport {
    let all = world.tick(now).snapshot().slos;
    let is_it = |slo: &SloReport| slo.slo.id.name == name && slo.role != Role::Group;
    all.into_iter().find(is_it).unwrap_or_else(|| panic!("no SLO {name}"))
}

#[track_caller]
fn check(world: &mut World, name: &str, scrape: u32, bad_and_all: (f64, f64)) {
    let found = of(world, name, START + SCRAPE * scrape);
    assert_eq!((found.bad_events_total, found.events_total), bad_and_all, "{name}");
}

#[test]
fn a_changed_objective_keeps_its_history() {
    let mut world = world(vec![staying(99.0)]);
    scrape(&mut world, 0..=20);
    let before = of(&mut world, "staying", at(100));
    world.install(vec![other(), staying(90.0)]);
    let after = of(&mut world, "staying", at(100));
    assert_eq!((after.bad_events_total, after.events_total), (200.0, 2_000.0));
    assert_eq!((before.status, after.status), (DataStatus::Ok, DataStatus::Ok));
    assert!(before.budgets[0].remaining < -8.9 && after.budgets[0].remaining.abs() < 1e-9);
    scrape(&mut world, 21..=30);
    check(&mut world, "staying", 30, (300.0, 3_000.0));
}

#[test]
fn other_windows_take_over_what_both_reach() {
    let mut world = world(vec![staying(99.0)]);
    scrape(&mut world, 0..=720);
    let changed = slo("staying", 99.0, "2h", BAD, TOTAL);
    world.install(vec![changed]);
    let after = of(&mut world, "staying", at(3_600));
    assert_eq!((after.bad_events_total, after.events_total), (7_200.0, 72_000.0));
    let events: Vec<f64> = after.windows.iter().map(|window| window.events).collect();
    assert_eq!(events, [1_200.0, 6_000.0, 72_000.0]);
    assert!((after.budgets[0].coverage - 0.5).abs() < 0.01, "{}", after.budgets[0].coverage);
    scrape(&mut world, 721..=730);
    check(&mut world, "staying", 730, (7_300.0, 73_000.0));
}

#[test]
fn another_query_begins_anew_and_so_does_what_was_gone() {
    let mut world = world(vec![staying(99.0), same()]);
    scrape(&mut world, 0..=10);
    let changed = slo("same", 99.0, "30m", "sum(rate(requests_total{code=\"500\"}[5m]))", TOTAL_OF_ALL);
    world.install(vec![staying(99.0), changed]);
    check(&mut world, "same", 10, (0.0, 0.0));
    scrape(&mut world, 11..=20);
    // The first scrape is where it begins.
    check(&mut world, "same", 20, (90.0, 900.0));
    world.install(vec![staying(99.0)]);
    scrape(&mut world, 21..=22);
    world.install(vec![same(), staying(99.0)]);
    scrape(&mut world, 23..=30);
    check(&mut world, "same", 30, (70.0, 700.0));
    check(&mut world, "staying", 30, (300.0, 3_000.0));
    assert_eq!(world.series("active"), 2, "series of the others are let go");
}

const TOTAL_OF_ALL: &str = "sum(rate(requests_total[5m]))";

#[test]
fn a_new_slo_begins_with_all_its_series_at_once() {
    // Its errors are followed already, and all its events are not.
    let mut world = world(vec![staying(99.0)]);
    scrape(&mut world, 0..=100);
    world.install(vec![staying(99.0), other()]);
    scrape(&mut world, 101..=101);
    check(&mut world, "other", 101, (0.0, 0.0));
    assert_eq!(of(&mut world, "other", at(505)).status, DataStatus::NoTraffic);
    scrape(&mut world, 102..=102);
    check(&mut world, "other", 102, (10.0, 1_000.0));
}

#[test]
fn a_series_born_with_the_first_scrape_counts_for_who_knew_its_target() {
    let mut world = world(vec![staying(99.0)]);
    for n in 0..=10 {
        world.send(&[requests("200", at(5 * n), f64::from(n) * 10.0)], at(5 * n)).unwrap();
    }
    world.install(vec![same(), staying(99.0)]);
    world.send(&[requests("200", at(55), 110.0), requests("503", at(55), 7.0)], at(55)).unwrap();
    check(&mut world, "staying", 11, (7.0, 117.0));
    check(&mut world, "same", 11, (0.0, 0.0));
    world.send(&[requests("200", at(60), 120.0), requests("500", at(60), 3.0)], at(60)).unwrap();
    check(&mut world, "staying", 12, (10.0, 130.0));
    check(&mut world, "same", 12, (3.0, 13.0));
}

#[test]
fn a_repeated_request_counts_nothing_on_either_side_of_a_change() {
    let mut world = world(vec![staying(99.0)]);
    scrape(&mut world, 0..=10);
    world.install(vec![staying(99.0), same()]);
    scrape(&mut world, 9..=10);
    world.install(vec![same(), staying(98.0)]);
    scrape(&mut world, 8..=11);
    check(&mut world, "staying", 11, (110.0, 1_100.0));
    check(&mut world, "same", 11, (0.0, 0.0));
    scrape(&mut world, 11..=12);
    check(&mut world, "same", 12, (10.0, 100.0));
}

#[test]
fn a_firing_alert_goes_on_firing() {
    let mut world = world(vec![staying(99.0)]);
    scrape(&mut world, 0..=20);
    let firing = |world: &mut World| {
        let all = world.tick(at(100)).snapshot().slos;
        let group =
            all.into_iter().find(|slo| slo.slo.id.name == "staying" && slo.role == Role::Group).unwrap();
        group.alerts[0].level
    };
    let before = firing(&mut world);
    assert_eq!(before, 2);
    world.install(vec![staying(98.0), other()]);
    assert_eq!(firing(&mut world), before);
}

#[test]
fn what_is_gone_leaves_nothing_behind() {
    let mut world = world(vec![staying(99.0), same(), other()]);
    scrape(&mut world, 0..=10);
    // Ahead of the evaluation, for an SLO that will be gone by then.
    world.send(&[others(at(300), 99_999.0)], at(50)).unwrap();
    world.install(vec![staying(99.0)]);
    scrape(&mut world, 11..=11);
    assert_eq!((world.series("followed"), world.series("unselected")), (2, 1));
    // Their numbers are others' now.
    world.install(vec![staying(99.0), slo("later", 99.0, "1h", "sum(rate(x[5m]))", "sum(rate(y[5m]))")]);
    world.tick(at(60));
    for second in 61..=400 {
        world.tick(at(second));
    }
    assert_eq!(of(&mut world, "later", at(400)).events_total, 0.0);
}

/// What happens in a step of a random stream.
#[derive(Clone, Copy, Debug)]
enum Step {
    Scrape,
    Miss,
    Install(usize),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![10 => Just(Step::Scrape), 1 => Just(Step::Miss), 2 => (0usize..6).prop_map(Step::Install)]
}

fn set(number: usize) -> Vec<Slo> {
    match number {
        0 => vec![staying(99.0)],
        1 => vec![same(), staying(98.0)],
        2 => vec![staying(99.0), other()],
        3 => vec![other(), same(), staying(90.0)],
        4 => vec![staying(99.5), slo("same", 99.0, "1h", BAD, TOTAL)],
        _ => vec![
            slo("other", 99.0, "1h", "sum(rate(unheard[5m]))", "sum(rate(others_total[5m]))"),
            staying(99.0),
        ],
    }
}

/// Counters of two targets that grow, start over, and come into being, some of interest to some SLOs only.
fn samples(n: u32, seeds: &[u32], at: Timestamp) -> Vec<Sent> {
    let mut samples = Vec::new();
    for (number, seed) in seeds.iter().enumerate() {
        let (zone, code) = (["y", "z"][number % 2], ["200", "404", "500", "503"][number % 4]);
        let born = seed % 40;
        let Some(age) = n.checked_sub(born) else { continue };
        let value = f64::from((age % (7 + seed % 90) + 1) * (seed % 11));
        let name = if number % 5 == 4 { "others_total" } else { "requests_total" };
        let series = format!(r#"{name}{{instance="{zone}",code="{code}",zone="{zone}",n="{number}"}}"#);
        samples.push(sent(&series, at, value));
    }
    samples
}

/// What an SLO and its groups say, but for their objective.
fn said(world: &mut World, now: Timestamp) -> BTreeMap<String, String> {
    let all = world.tick(now).snapshot().slos;
    let staying = all.into_iter().filter(|slo| slo.slo.id.name == "staying");
    let windows = |slo: &SloReport| {
        slo.windows.iter().map(|window| (window.bad_events, window.events)).collect::<Vec<_>>()
    };
    let words = |slo: &SloReport| {
        let counts = (slo.bad_events_total, slo.events_total, windows(slo));
        format!("{:?} {counts:?} {:?} {}", slo.status, slo.last_sample, slo.budgets[0].coverage)
    };
    staying.map(|slo| (format!("{:?} {}", slo.role, slo.group), words(&slo))).collect()
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn who_stays_does_not_notice(
        steps in proptest::collection::vec(any_step(), 20..150),
        seeds in proptest::collection::vec(1u32..10_000, 1..14),
    ) {
        let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
        // An SLO that has followed a target for longer may tell others that a series of it was born; without a time to
        // warm up all know the same.
        let ingest = ingest::Config { warm_up: Duration::ZERO, ..ingest::Config::default() };
        let new = || World::new(set(0), engine.clone(), ingest.clone(), START);
        let (mut undisturbed, mut changing) = (new(), new());
        for (n, step) in (0..).zip(steps) {
            let now = START + SCRAPE * n;
            let samples = samples(n, &seeds, now);
            match step {
                Step::Miss => (),
                Step::Scrape => {
                    undisturbed.send(&samples, now).unwrap();
                    changing.send(&samples, now).unwrap();
                }
                Step::Install(number) => {
                    changing.install(set(number));
                    undisturbed.send(&samples, now).unwrap();
                    changing.send(&samples, now).unwrap();
                }
            }
            prop_assert_eq!(said(&mut undisturbed, now), said(&mut changing, now));
        }
    }
}
