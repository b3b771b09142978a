//! What senders get wrong, and what must count all the same.

use std::time::Duration;

use prost::Message;
use slod::{
    engine,
    ingest::{self, WriteError},
    labels::Labels,
    matching::Role,
    prompb::{
        self, Version,
        generated::{v1 as wire, v2},
    },
    report::{DataStatus, SloReport},
    testing::{Sent, World, compress, parse_labels, slos},
    time::Timestamp,
    window::SliId,
};

use crate::support::AVAILABILITY;

const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);

fn world() -> World {
    World::immediate(slos(AVAILABILITY), SECOND, NOW)
}

fn requests(code: &str, at: Timestamp, value: f64) -> Sent {
    sent(&format!(r#"http_requests_total{{job="api",instance="a",code="{code}"}}"#), at, value)
}

fn sent(series: &str, at: Timestamp, value: f64) -> Sent {
    Sent { labels: parse_labels(series).unwrap(), at, value }
}

fn at(second: i64) -> Timestamp {
    Timestamp(NOW.0 + second * 1_000)
}

fn only(world: &mut World, now: Timestamp) -> SloReport {
    let [slo] = <[SloReport; 1]>::try_from(world.tick(now).snapshot().slos).expect("one SLO");
    slo
}

fn events(world: &mut World, now: Timestamp) -> (f64, f64) {
    let slo = only(world, now);
    (slo.bad_events_total, slo.events_total)
}

/// Labels as they stand, a time in milliseconds and a value.
type RawSample<'a> = (&'a [(&'a str, &'a str)], i64, f64);

/// A body of series whose labels may be unsorted and repeated, one sample each.
fn raw_body(series: &[RawSample<'_>]) -> Vec<u8> {
    let timeseries = series
        .iter()
        .map(|(labels, timestamp, value)| wire::TimeSeries {
            labels: labels
                .iter()
                .map(|(name, value)| wire::Label { name: (*name).into(), value: (*value).into() })
                .collect(),
            samples: vec![wire::Sample { value: *value, timestamp: *timestamp }],
            ..Default::default()
        })
        .collect();
    compress(&wire::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec())
}

#[test]
fn a_sample_counts_once_however_often_and_from_however_many_threads_it_is_sent() {
    let mut world = world();
    let scrapes: Vec<Vec<Sent>> = (0..50)
        .map(|n| vec![requests("200", at(n), (n * 3) as f64), requests("500", at(n), n as f64)])
        .collect();
    for scrape in &scrapes {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| world.send(scrape, NOW).unwrap());
            }
        });
    }
    for scrape in &scrapes {
        world.send(scrape, at(60)).unwrap();
    }
    assert_eq!(events(&mut world, at(60)), (49.0, 4.0 * 49.0));
    assert!(world.outcome("duplicate") >= 3 * 2 * 50);
}

#[test]
fn refused_series_and_samples_leave_their_neighbours_alone() {
    let mut world = world();
    world.send(&[requests("200", at(0), 0.0)], at(0)).unwrap();
    let good = [("__name__", "http_requests_total"), ("code", "200"), ("instance", "a"), ("job", "api")];
    let bad: [(&[(&str, &str)], &str); 4] = [
        (&[("__name__", "x"), ("a", "1"), ("a", "2")], "label \"a\" is given twice"),
        (&[("__name__", "x"), ("", "1")], "a label has no name"),
        (&[("job", "api")], "series {job=\"api\"} has no metric name"),
        (&[("__name__", ""), ("job", "api")], "has no metric name"),
    ];
    for (n, (labels, expected)) in bad.into_iter().enumerate() {
        let second = n as i64 + 1;
        let body = raw_body(&[(labels, at(second).0, 1.0), (&good, at(second).0, second as f64)]);
        let error = world.send_body(&body, at(second)).unwrap_err().to_string();
        assert!(error.starts_with("1 of 2 samples refused, the others are counted; the first: "), "{error}");
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(events(&mut world, at(10)), (0.0, 4.0));
    assert_eq!(world.outcome("refused"), 4);
}

#[test]
fn labels_in_another_order_are_the_same_series() {
    let mut world = world();
    let sorted = [("__name__", "http_requests_total"), ("code", "200"), ("job", "api")];
    let mixed = [sorted[2], sorted[0], sorted[1]];
    world.send_body(&raw_body(&[(&sorted, at(0).0, 1.0)]), at(0)).unwrap();
    world.send_body(&raw_body(&[(&mixed, at(1).0, 5.0)]), at(1)).unwrap();
    world.send_body(&raw_body(&[(&sorted, at(1).0, 5.0)]), at(1)).unwrap();
    assert_eq!(events(&mut world, at(2)), (0.0, 4.0));
}

#[test]
fn a_label_that_is_not_utf_8_is_refused() {
    let mut world = world();
    // TimeSeries { labels: [{ name: "__name__", value: "\xff" }], samples: [{ value: 0, timestamp: 1 }] }
    let series = b"\x0a\x0d\x0a\x08__name__\x12\x01\xff\x12\x02\x10\x01";
    let message = [&[0x0a, series.len() as u8], series.as_slice()].concat();
    let error = world.send_body(&compress(&message), NOW).unwrap_err().to_string();
    assert!(error.contains("not valid UTF-8"), "{error}");
    assert_eq!(events(&mut world, at(1)), (0.0, 0.0));
}

#[test]
fn too_many_labels_and_too_long_ones_are_refused() {
    let world = world();
    let names: Vec<String> = (0..200).map(|n| format!("l{n}")).collect();
    let mut labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).collect();
    labels.push(("__name__", "http_requests_total"));
    let error = world.send_body(&raw_body(&[(&labels, NOW.0, 1.0)]), NOW).unwrap_err().to_string();
    assert!(error.contains("series with 201 labels") && error.contains("limits are 128"), "{error}");
    let megabyte = "v".repeat(1 << 20);
    let labels = [("__name__", "http_requests_total"), ("a", megabyte.as_str())];
    let error = world.send_body(&raw_body(&[(&labels, NOW.0, 1.0)]), NOW).unwrap_err().to_string();
    assert!(error.contains("limits.label_bytes_max") && error.len() < 1_000, "{error}");
}

#[test]
fn the_limit_on_label_bytes_is_the_same_in_both_versions() {
    // __name__ http_requests_total code 200
    for (label_bytes_max, is_accepted) in [(34, true), (33, false)] {
        let ingest = ingest::Config { label_bytes_max, ..ingest::Config::default() };
        let world = World::new(slos(AVAILABILITY), engine::Config::default(), ingest, NOW);
        let labels = [("__name__", "http_requests_total"), ("code", "200")];
        let v1 = world.send_body(&raw_body(&[(&labels, at(0).0, 1.0)]), at(0));
        assert_eq!(v1.is_ok(), is_accepted, "{v1:?}");
        let world = World::new(
            slos(AVAILABILITY),
            engine::Config::default(),
            ingest::Config { label_bytes_max, ..ingest::Config::default() },
            NOW,
        );
        let v2 = send_v2(&world, vec![series_of(&[1, 2, 3, 4], at(0), 1.0, NO_START)]);
        assert_eq!(v2.is_ok(), is_accepted, "{v2:?}");
    }
}

#[test]
fn a_label_whose_empty_name_is_written_is_refused() {
    let mut world = world();
    let label = |name: &[u8], value: &[u8]| {
        let label = [&[0x0a, name.len() as u8], name, &[0x12, value.len() as u8], value].concat();
        [&[0x0a, label.len() as u8], label.as_slice()].concat()
    };
    let labels = [label(b"", b"x"), label(b"__name__", b"http_requests_total")].concat();
    let series = [labels.as_slice(), b"\x12\x02\x10\x01"].concat();
    let message = [&[0x0a, series.len() as u8], series.as_slice()].concat();
    let error = world.send_body(&compress(&message), NOW).unwrap_err().to_string();
    assert!(error.contains("a label has no name"), "{error}");
    assert_eq!(events(&mut world, at(1)), (0.0, 0.0));
}

#[test]
fn a_sample_from_the_future_is_refused_and_one_slightly_ahead_waits_for_its_time() {
    let mut world = world();
    world.send(&[requests("200", at(0), 0.0), requests("500", at(0), 0.0)], at(0)).unwrap();
    let error =
        world.send(&[requests("200", at(601), 9.0), requests("500", at(300), 2.0)], at(0)).unwrap_err();
    assert!(error.to_string().contains("more than 600 s ahead of the clock"), "{error}");
    assert_eq!(events(&mut world, at(1)), (0.0, 0.0));
    for second in 2..=300 {
        world.tick(at(second));
    }
    assert_eq!(events(&mut world, at(300)), (2.0, 2.0));
}

#[test]
fn values_that_no_counter_has_are_accepted_and_count_nothing() {
    let mut world = world();
    world.send(&[requests("200", at(0), 5.0)], at(0)).unwrap();
    for (n, value) in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0].into_iter().enumerate() {
        world.send(&[requests("200", at(n as i64 + 1), value)], at(5)).unwrap();
    }
    world.send(&[requests("200", at(6), 7.0)], at(6)).unwrap();
    assert_eq!(events(&mut world, at(7)), (0.0, 2.0));
    assert_eq!((world.outcome("not_finite"), world.outcome("negative")), (3, 1));
}

#[test]
fn times_that_no_clock_shows_harm_nothing() {
    let mut world = world();
    world.send(&[requests("200", at(0), 5.0)], at(0)).unwrap();
    for (n, ms) in [i64::MIN, i64::MIN + 1, -1, 0, 1].into_iter().enumerate() {
        world
            .send(&[requests("200", Timestamp(ms), n as f64), requests("404", Timestamp(ms), 1.0)], at(1))
            .unwrap();
    }
    for ms in [i64::MAX, i64::MAX - 1] {
        assert!(world.send(&[requests("200", Timestamp(ms), 9.0)], at(1)).is_err());
    }
    world.send(&[requests("200", at(2), 7.0)], at(2)).unwrap();
    assert_eq!(events(&mut world, at(3)), (0.0, 2.0));
    assert_eq!(world.outcome("too_old"), 10);
}

#[test]
fn a_broken_body_has_no_effect_at_all() {
    let mut world = world();
    world.send(&[requests("200", at(0), 0.0)], at(0)).unwrap();
    let series = [("__name__", "http_requests_total"), ("code", "200"), ("instance", "a"), ("job", "api")];
    let whole = raw_body(&[(&series, at(1).0, 100.0)]);
    let mut message = Vec::new();
    prompb::decompress(&whole, 1 << 20, &mut message).unwrap();
    message.extend_from_slice(b"\x0a\x7f\x00");
    let bodies = [compress(&message), whole[..whole.len() - 1].to_vec(), b"not snappy".to_vec(), Vec::new()];
    for body in bodies {
        assert!(matches!(world.send_body(&body, at(1)), Err(WriteError::Malformed(_))), "{body:?}");
    }
    assert_eq!(events(&mut world, at(2)), (0.0, 0.0));
    world.send_body(&whole, at(2)).unwrap();
    assert_eq!(events(&mut world, at(3)), (0.0, 100.0));
}

#[test]
fn requests_without_samples_are_fine() {
    let world = world();
    let metadata = wire::WriteRequest { timeseries: Vec::new(), metadata: vec![Default::default()] };
    world.send_body(&compress(&metadata.encode_to_vec()), NOW).unwrap();
    world.send_body(&compress(b""), NOW).unwrap();
}

#[test]
fn more_series_than_allowed_are_refused_and_the_known_ones_go_on() {
    let ingest = ingest::Config { series_max: 1, ..ingest::Config::default() };
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let mut world = World::new(slos(AVAILABILITY), engine, ingest, NOW);
    world.send(&[requests("200", at(0), 0.0)], at(0)).unwrap();
    let error = world.send(&[requests("500", at(1), 1.0), requests("200", at(1), 3.0)], at(1)).unwrap_err();
    assert!(error.to_string().contains("1 series are followed, which is the limit"), "{error}");
    assert_eq!(events(&mut world, at(2)), (0.0, 3.0));
}

#[test]
fn a_request_that_makes_room_for_its_strangers_loses_none_of_its_known_series() {
    let ingest = ingest::Config { series_max: 1, ..ingest::Config::default() };
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let mut world = World::new(slos(AVAILABILITY), engine, ingest, NOW);
    let good = [1, 2, 3, 4];
    send_v2(&world, vec![series_of(&good, at(0), 0.0, NO_START)]).unwrap();
    // With these, more label blocks are known than may be, and the next new one makes them be forgotten.
    for name in ["a", "b", "c"] {
        world.send(&[sent(name, at(0), 1.0)], at(0)).unwrap();
    }
    let request = vec![series_of(&good, at(1), 3.0, NO_START), series_of(&[1, 6], at(1), 1.0, NO_START)];
    assert_eq!(send_v2(&world, request).unwrap().samples, 2);
    assert_eq!(events(&mut world, at(2)), (0.0, 3.0));
    assert_eq!(world.outcome("refused"), 0);
}

#[test]
fn a_series_that_was_refused_for_want_of_room_is_not_taken_for_newly_born() {
    const DAY: i64 = 86_400;
    let ingest = ingest::Config { series_max: 2, ..ingest::Config::default() };
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let mut world = World::new(slos(AVAILABILITY), engine, ingest, at(-DAY));
    let other = sent(r#"http_requests_total{job="other",instance="b",code="200"}"#, at(-DAY), 0.0);
    world.send(&[other], at(-DAY)).unwrap();
    for second in (0..1_200).step_by(15) {
        world.send(&[requests("200", at(second), 0.0)], at(second)).unwrap();
        assert!(world.send(&[requests("500", at(second), 700.0)], at(second)).is_err());
    }
    world.sweep(at(1_200));
    world.send(&[requests("200", at(1_200), 0.0), requests("500", at(1_200), 701.0)], at(1_200)).unwrap();
    world.send(&[requests("500", at(1_215), 703.0)], at(1_215)).unwrap();
    assert_eq!(events(&mut world, at(1_216)), (2.0, 2.0));
}

#[test]
fn when_too_much_waits_requests_are_turned_away() {
    let ingest = ingest::Config { deferred_max: 0, ..ingest::Config::default() };
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let mut world = World::new(slos(AVAILABILITY), engine, ingest, NOW);
    world.send(&[requests("200", at(-500), 0.0)], NOW).unwrap();
    world.tick(NOW);
    world.send(&[requests("200", at(-490), 1.0)], NOW).unwrap();
    let next = [requests("200", at(-480), 2.0)];
    assert!(matches!(world.send(&next, NOW), Err(WriteError::Busy(1, 0))));
    world.tick(NOW);
    world.send(&next, NOW).unwrap();
    assert_eq!(events(&mut world, at(1)), (0.0, 2.0));
}

#[test]
fn a_lazily_born_error_series_counts_from_zero_once_its_target_is_known() {
    let ingest = ingest::Config { warm_up: SECOND * 60, ..ingest::Config::default() };
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let mut world = World::new(slos(AVAILABILITY), engine, ingest, NOW);
    // Within the warm-up of its target, and of a target without a past: an old counter, for all we know.
    world.send(&[requests("200", at(0), 1_000.0)], at(0)).unwrap();
    world.send(&[requests("200", at(15), 1_010.0), requests("503", at(15), 700.0)], at(15)).unwrap();
    assert_eq!(events(&mut world, at(15)), (0.0, 10.0));
    for scrape in 2..=8 {
        world.send(&[requests("200", at(scrape * 15), 1_010.0)], at(scrape * 15)).unwrap();
    }
    let other = sent(r#"http_requests_total{job="api",instance="b",code="500"}"#, at(120), 900.0);
    world.send(&[other, requests("500", at(120), 4.0)], at(120)).unwrap();
    assert_eq!(events(&mut world, at(120)), (4.0, 14.0));
    assert_eq!(world.outcome("born"), 1);
}

#[test]
fn what_the_data_says_of_itself() {
    let mut world = world();
    let status = |world: &mut World, second| only(world, at(second)).status;
    assert_eq!(status(&mut world, 0), DataStatus::NoSeries);
    world.send(&[requests("200", at(0), 0.0)], at(0)).unwrap();
    assert_eq!(status(&mut world, 1), DataStatus::NoTraffic);
    world.send(&[requests("200", at(2), 1.0)], at(2)).unwrap();
    assert_eq!(status(&mut world, 2), DataStatus::Ok);
    assert_eq!(status(&mut world, 130), DataStatus::SenderDown);
    world.send(&[sent("other", at(130), 1.0)], at(130)).unwrap();
    assert_eq!(status(&mut world, 131), DataStatus::Ok);
    world.send(&[requests("200", at(132), STALE)], at(132)).unwrap();
    assert_eq!(status(&mut world, 133), DataStatus::Stale);
    world.send(&[requests("200", at(134), 2.0)], at(134)).unwrap();
    assert_eq!(status(&mut world, 135), DataStatus::Ok);
    world.send(&[sent("other", at(440), 1.0)], at(440)).unwrap();
    assert_eq!(status(&mut world, 440), DataStatus::Stale, "silent for over five minutes");
}

#[test]
fn groups_have_budgets_of_their_own_and_a_limit() {
    let grouped = AVAILABILITY.replace("sum(", "sum by (route) (");
    let mut world = World::immediate(slos(&grouped), SECOND, NOW);
    let series = |route: usize| format!(r#"http_requests_total{{route="/{route}",code="500"}}"#);
    for second in 0..2 {
        let samples: Vec<Sent> = (0..1_100)
            .map(|route| sent(&series(route), at(second), (second * route as i64) as f64))
            .collect();
        world.send(&samples, at(second)).unwrap();
    }
    let report = world.tick(at(2)).snapshot();
    assert_eq!(report.slos.len(), 1_001, "the limit of the test's world, and the roll-up");
    let route_7 = Labels::new([("route", "/7")]).unwrap();
    let found = report.slos.iter().find(|slo| slo.group == route_7).unwrap();
    assert_eq!((found.bad_events_total, found.events_total), (7.0, 7.0));
    let all = f64::from((0..1_100).sum::<u32>());
    let roll_up = &report.slos[0];
    assert_eq!(roll_up.role, Role::RollUp);
    assert_eq!((roll_up.bad_events_total, roll_up.events_total), (all, all), "also of refused groups");
    assert!(roll_up.alerts.is_empty() && found.alerts.len() == 4);
}

#[test]
fn a_series_silent_for_longer_than_the_gap_allowed_starts_over() {
    const DAY: i64 = 86_400;
    let mut world = world();
    for (second, value) in [(0, 5.0), (10, 7.0)] {
        world.send(&[requests("200", at(second), value)], at(second)).unwrap();
    }
    world.sweep(at(2 * DAY));
    world.send(&[requests("200", at(2 * DAY), 100.0)], at(2 * DAY)).unwrap();
    world.send(&[requests("200", at(2 * DAY + 10), 101.0)], at(2 * DAY + 10)).unwrap();
    assert_eq!(events(&mut world, at(2 * DAY + 10)), (0.0, 3.0));
    assert_eq!(only(&mut world, at(2 * DAY + 11)).status, DataStatus::Ok);
}

#[test]
fn series_are_counted_by_what_is_known_of_them() {
    let world = world();
    let states = || ["followed", "active", "unselected", "cached"].map(|state| world.series(state));
    assert_eq!(states(), [0, 0, 0, 0]);
    world
        .send(&[requests("200", at(0), 1.0), requests("500", at(0), 1.0), sent("up", at(0), 1.0)], at(0))
        .unwrap();
    assert_eq!(states(), [2, 2, 1, 3]);
    world.send(&[requests("500", at(15), STALE)], at(15)).unwrap();
    assert_eq!(states(), [2, 1, 1, 3]);
    // Another order of the same labels is another block of the same series.
    let turned = [("job", "api"), ("instance", "a"), ("code", "200"), ("__name__", "http_requests_total")];
    world.send_body(&raw_body(&[(&turned, at(30).0, 2.0)]), at(30)).unwrap();
    assert_eq!(states(), [2, 1, 1, 4]);
    world.sweep(at(2 * 86_400));
    assert_eq!(states(), [0, 0, 1, 1]);
}

// --- groups that end ---

/// Groups whose longest window is ten minutes, of pods that may be silent for five.
fn short_lived(groups_max: usize) -> World {
    let spec = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    bad: sum by (pod) (rate(errors_total[1m]))
    total: sum by (pod) (rate(requests_total[1m]))
  objective: {target: 99, window: 10m}
  alerting:
    burn_rate_alerts: [{severity: page, burn_rate: 10, window: 10m, short_window: 1m}]
"#;
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let ingest = ingest::Config { max_gap: SECOND * 300, ..ingest::Config::default() };
    World::with_groups(slos(spec), engine, ingest, NOW, groups_max)
}

/// Delivers what a pod's counters show.
fn pod(world: &World, name: &str, second: i64, errors: f64, requests: f64) {
    let of = |metric| format!(r#"{metric}{{pod="{name}"}}"#);
    let samples =
        [sent(&of("errors_total"), at(second), errors), sent(&of("requests_total"), at(second), requests)];
    world.send(&samples, at(second)).unwrap();
}

/// A pod, and bad and all its events.
type Group = (String, f64, f64);

/// Sweeps and evaluates once. Bad and all events of the roll-up, and the groups.
fn after(world: &mut World, second: i64) -> ((f64, f64), Vec<Group>) {
    world.sweep(at(second));
    let slos = world.tick(at(second)).snapshot().slos;
    let (roll_up, groups) = slos.split_first().unwrap();
    assert_eq!(roll_up.role, Role::RollUp);
    let group = |slo: &SloReport| (slo.group.get("pod").to_owned(), slo.bad_events_total, slo.events_total);
    ((roll_up.bad_events_total, roll_up.events_total), groups.iter().map(group).collect())
}

fn number(world: &World, pod: &str) -> SliId {
    world.instances().of_group(0, 0, &Labels::new([("pod", pod)]).unwrap())[0].sli
}

fn group(pod: &str, bad: f64, total: f64) -> Group {
    (pod.to_owned(), bad, total)
}

#[test]
fn a_group_silent_for_longer_than_its_windows_makes_room_for_another() {
    let mut world = short_lived(1);
    pod(&world, "a", 0, 0.0, 0.0);
    pod(&world, "b", 0, 0.0, 0.0);
    pod(&world, "a", 10, 10.0, 100.0);
    pod(&world, "b", 10, 0.0, 50.0);
    assert_eq!(
        after(&mut world, 10),
        ((10.0, 150.0), vec![group("a", 10.0, 100.0)]),
        "one group is the limit"
    );
    let number_of_a = number(&world, "a");
    assert_eq!(after(&mut world, 400).1.len(), 1, "its series are forgotten, but not its events");
    assert_eq!(after(&mut world, 610).1, [group("a", 10.0, 100.0)]);
    after(&mut world, 611);
    assert_eq!(after(&mut world, 612), ((10.0, 150.0), vec![]));
    // The other one was refused, and is met anew.
    pod(&world, "b", 620, 0.0, 60.0);
    pod(&world, "b", 630, 1.0, 67.0);
    assert_eq!(after(&mut world, 630), ((11.0, 157.0), vec![group("b", 1.0, 7.0)]));
    assert_eq!(number(&world, "b"), number_of_a);
    let slos = world.tick(at(631)).snapshot().slos;
    let counts: Vec<_> = slos[1].windows.iter().map(|window| (window.bad_events, window.events)).collect();
    assert_eq!(counts, [(1.0, 7.0); 2]);
    assert!(slos[1].budget().coverage < 0.05, "it has been observed for ten seconds");
}

#[test]
fn a_group_that_returns_in_time_keeps_its_counts() {
    let mut world = short_lived(1);
    pod(&world, "a", 0, 0.0, 0.0);
    pod(&world, "a", 10, 10.0, 100.0);
    for second in [10, 320, 500] {
        assert_eq!(after(&mut world, second).1, [group("a", 10.0, 100.0)]);
    }
    // Its series were forgotten: another baseline, and then growth.
    pod(&world, "a", 510, 12.0, 110.0);
    pod(&world, "a", 520, 13.0, 115.0);
    assert_eq!(after(&mut world, 520), ((11.0, 105.0), vec![group("a", 11.0, 105.0)]));
    // Idle at 1,121 s, it would be closed at the next tick, before which it returns.
    for second in [700, 1_000, 1_121] {
        assert_eq!(after(&mut world, second).1, [group("a", 11.0, 105.0)]);
    }
    pod(&world, "a", 1_122, 20.0, 200.0);
    pod(&world, "a", 1_123, 21.0, 201.0);
    for second in 1_123..1_130 {
        assert_eq!(after(&mut world, second), ((12.0, 106.0), vec![group("a", 12.0, 106.0)]));
    }
}

#[test]
fn a_thousand_generations_of_groups_take_the_memory_of_a_few() {
    const GENERATIONS: i64 = 1_000;
    const LIFE_S: i64 = 400;
    let mut world = short_lived(3);
    let mut memory = Vec::new();
    let mut groups_max = 0;
    for generation in 0..GENERATIONS {
        let (name, start) = (format!("api-{generation}"), generation * LIFE_S);
        for n in 0..4 {
            let second = start + n * 90;
            pod(&world, &name, second, n as f64, (100 * n) as f64);
            groups_max = groups_max.max(after(&mut world, second + 5).1.len());
        }
        memory.push(world.window_memory());
    }
    let (roll_up, groups) = after(&mut world, GENERATIONS * LIFE_S);
    assert_eq!(roll_up, (3.0 * GENERATIONS as f64, 300.0 * GENERATIONS as f64));
    assert_eq!(groups_max, 3);
    let newest = format!("api-{}", GENERATIONS - 1);
    assert_eq!(groups.last(), Some(&group(&newest, 3.0, 300.0)), "none was refused");
    let few = memory[..20].iter().max().unwrap();
    let many = memory.iter().max().unwrap();
    assert_eq!(few, many);
}

#[test]
fn a_group_without_a_single_sample_that_counts_makes_room_for_another() {
    let mut world = short_lived(1);
    world.send(&[sent(r#"requests_total{pod="a"}"#, at(0), STALE)], at(0)).unwrap();
    assert_eq!(after(&mut world, 1).1, [group("a", 0.0, 0.0)]);
    for second in [400, 700, 1_500, 1_561, 100_000, 100_061] {
        after(&mut world, second);
    }
    assert_eq!(after(&mut world, 100_122).1, []);
    pod(&world, "b", 100_130, 0.0, 0.0);
    pod(&world, "b", 100_140, 1.0, 10.0);
    assert_eq!(after(&mut world, 100_140).1, [group("b", 1.0, 10.0)]);
}

#[test]
fn a_series_is_refused_by_a_group_once_in_whichever_encoding_it_comes() {
    let world = short_lived(1);
    pod(&world, "a", 0, 0.0, 0.0);
    for second in 0..3 {
        let labels = [("pod", "b"), ("__name__", "errors_total")];
        pod(&world, "b", second, 0.0, 0.0);
        world.send_body(&raw_body(&[(&labels, at(second).0, 0.0)]), at(second)).unwrap();
    }
    assert_eq!(world.groups_refused(), 2);
}

#[test]
fn a_refused_group_enters_with_all_its_series_once_there_is_room() {
    let mut world = short_lived(1);
    // `a` takes the only place; `b` is refused, and goes on.
    pod(&world, "a", 0, 0.0, 0.0);
    for second in (0..2_000).step_by(10) {
        pod(&world, "b", second, 0.0, second as f64 * 100.0);
        after(&mut world, second);
    }
    // Meanwhile `a` is gone. A few of very many requests of `b` fail.
    for second in (2_000..2_300).step_by(10) {
        pod(&world, "b", second, (second - 2_000) as f64, second as f64 * 100.0);
        after(&mut world, second);
    }
    let (_, groups) = after(&mut world, 2_300);
    let [(name, bad, total)] = groups.as_slice() else { panic!("one group of {groups:?}") };
    assert_eq!((name.as_str(), *bad), ("b", 290.0));
    assert!(*total > 29_000.0, "{bad} of {total}: its errors came without its other requests");
}

// --- remote-write 2.0 ---

#[rustfmt::skip]
const SYMBOLS: [&str; 12] = [
    "", "__name__", "http_requests_total", "code", "200", "job", "api",
    "cluster", "eu", "__replica__", "one", "two",
];

/// A sample that started at a time, with these labels as numbers of symbols.
fn series_of(labels_refs: &[u32], at: Timestamp, value: f64, start: Timestamp) -> v2::TimeSeries {
    let samples = vec![v2::Sample { value, timestamp: at.0, start_timestamp: start.0 }];
    v2::TimeSeries { labels_refs: labels_refs.to_vec(), samples, ..Default::default() }
}

fn send_v2(world: &World, timeseries: Vec<v2::TimeSeries>) -> Result<ingest::WriteStats, WriteError> {
    let symbols = SYMBOLS.map(str::to_owned).to_vec();
    let body = compress(&v2::Request { symbols, timeseries }.encode_to_vec());
    world.send_body_of(Version::V2, &body, at(10))
}

const NO_START: Timestamp = Timestamp(0);

#[test]
fn a_series_is_the_same_in_both_versions() {
    let mut world = world();
    let labels = [("__name__", "http_requests_total"), ("code", "200"), ("job", "api")];
    world.send_body(&raw_body(&[(&labels, at(0).0, 1.0)]), at(0)).unwrap();
    send_v2(&world, vec![series_of(&[5, 6, 1, 2, 3, 4], at(1), 5.0, NO_START)]).unwrap();
    send_v2(&world, vec![series_of(&[1, 2, 3, 4, 5, 6], at(2), 6.0, NO_START)]).unwrap();
    world.send_body(&raw_body(&[(&labels, at(3).0, 8.0)]), at(3)).unwrap();
    assert_eq!(events(&mut world, at(4)), (0.0, 7.0));
}

#[test]
fn a_start_time_makes_the_first_sample_count() {
    let mut world = world();
    send_v2(&world, vec![series_of(&[1, 2, 3, 4], at(5), 30.0, at(2))]).unwrap();
    let mut older_sender = series_of(&[1, 2, 5, 6], at(5), 12.0, NO_START);
    older_sender.created_timestamp = at(1).0;
    send_v2(&world, vec![older_sender]).unwrap();
    assert_eq!(events(&mut world, at(6)), (0.0, 42.0));
    assert_eq!(world.outcome("started"), 2);
}

#[test]
fn labels_that_are_not_there_refuse_their_series_alone() {
    let mut world = world();
    let good = [1, 2, 3, 4];
    send_v2(&world, vec![series_of(&good, at(0), 0.0, NO_START)]).unwrap();
    let histograms = vec![v2::Histogram::default()];
    let request = vec![
        series_of(&[1, 2, 3], at(1), 1.0, NO_START),
        v2::TimeSeries { histograms, ..series_of(&[1, 2, 3, 12], at(1), 1.0, NO_START) },
        series_of(&good, at(1), 3.0, NO_START),
        v2::TimeSeries { labels_refs: vec![12], exemplars: vec![Default::default()], ..Default::default() },
    ];
    let error = send_v2(&world, request).unwrap_err();
    let written = ingest::WriteStats { samples: 1, exemplars: 1, ..Default::default() };
    assert_eq!(error.written(), written);
    let first = "3 of 4 samples refused, the others are counted; the first: \
                 series of metric \"http_requests_total\" has 3 label references; they go in pairs";
    assert_eq!(error.to_string(), first);
    assert_eq!(events(&mut world, at(2)), (0.0, 3.0));
}

#[test]
fn a_histogram_has_the_start_of_its_series_if_it_has_none() {
    let mut world = latency_world();
    let histogram = v2::Histogram {
        count: Some(v2::histogram::Count::CountInt(8)),
        positive_spans: vec![v2::BucketSpan { offset: 0, length: 1 }],
        positive_deltas: vec![8],
        timestamp: at(5).0,
        ..Default::default()
    };
    let symbols = ["", "__name__", "request_duration_seconds"].map(str::to_owned).to_vec();
    let series = v2::TimeSeries {
        labels_refs: vec![1, 2],
        histograms: vec![histogram],
        created_timestamp: at(1).0,
        ..Default::default()
    };
    let body = compress(&v2::Request { symbols, timeseries: vec![series] }.encode_to_vec());
    world.send_body_of(Version::V2, &body, at(5)).unwrap();
    assert_eq!(events(&mut world, at(6)), (8.0, 8.0));
    assert_eq!(world.outcome("started"), 1);
}

// --- pairs of senders ---

/// A replica of the pair `eu` delivers the count of requests that failed.
fn replica(world: &World, name: &str, second: i64, value: f64) -> Result<ingest::WriteStats, WriteError> {
    world.send_body(&replica_body(name, &[(second, value)]), at(second))
}

/// One series of a replica, with the values of these seconds.
fn replica_body(name: &str, samples: &[(i64, f64)]) -> Vec<u8> {
    let labels = [
        ("__name__", "http_requests_total"),
        ("__replica__", name),
        ("cluster", "eu"),
        ("code", "500"),
        ("instance", "a"),
        ("job", "api"),
    ];
    let labels = labels.map(|(name, value)| wire::Label { name: name.into(), value: value.into() }).to_vec();
    let samples =
        samples.iter().map(|(second, value)| wire::Sample { value: *value, timestamp: at(*second).0 });
    let series = wire::TimeSeries { labels, samples: samples.collect(), ..Default::default() };
    let request = wire::WriteRequest { timeseries: vec![series], metadata: Vec::new() };
    compress(&request.encode_to_vec())
}

#[test]
fn a_pair_of_replicas_counts_once() {
    let mut world = world();
    for scrape in 0..4 {
        let (second, value) = (scrape * 15, (scrape * 10) as f64);
        assert!(!replica(&world, "one", second, value).unwrap().is_deduplicated);
        let dropped = replica(&world, "two", second + 1, value + 1.0).unwrap();
        assert_eq!((dropped.samples, dropped.is_deduplicated), (1, true), "it counts as written");
    }
    assert_eq!(events(&mut world, at(50)), (30.0, 30.0));
    assert_eq!((world.outcome("deduplicated"), world.outcome("reset")), (4, 0));
}

#[test]
fn a_replica_takes_over_without_loss_and_without_a_reset() {
    let mut world = world();
    replica(&world, "one", 0, 100.0).unwrap();
    replica(&world, "one", 15, 110.0).unwrap();
    // `one` is gone. Its sibling lags a little behind it, and catches up.
    for second in [16, 31, 44] {
        assert!(replica(&world, "two", second, 109.0).unwrap().is_deduplicated);
    }
    for (second, value) in [(46, 109.0), (61, 125.0)] {
        assert!(!replica(&world, "two", second, value).unwrap().is_deduplicated);
    }
    assert_eq!(events(&mut world, at(62)), (25.0, 25.0));
    assert_eq!((world.outcome("skew"), world.outcome("reset"), world.outcome("baseline")), (1, 0, 1));
    // A real reset after a change is one.
    replica(&world, "one", 100, 3.0).unwrap();
    assert_eq!(events(&mut world, at(101)), (28.0, 28.0));
    assert_eq!(world.outcome("reset"), 1);
}

#[test]
fn a_replica_that_takes_over_late_and_lags_for_long_is_no_reset() {
    let mut world = world();
    replica(&world, "one", 0, 100.0).unwrap();
    replica(&world, "one", 15, 110.0).unwrap();
    // `two` has a backlog, and its clock runs ahead of that of `one`.
    for (second, value) in [(10, 105.0), (16, 108.0), (31, 109.0), (46, 125.0), (61, 120.0)] {
        let body = replica_body("two", &[(second, value)]);
        assert!(!world.send_body(&body, at(60 + second)).unwrap().is_deduplicated);
    }
    assert_eq!(events(&mut world, at(140)), (145.0, 145.0));
    assert_eq!(["out_of_order", "skew", "reset"].map(|outcome| world.outcome(outcome)), [1, 2, 1]);
}

#[test]
fn all_samples_of_a_dropped_replica_are_counted_as_such() {
    let world = world();
    replica(&world, "one", 0, 0.0).unwrap();
    let message = |name: &str, samples: &[(i64, f64)]| {
        let mut message = Vec::new();
        prompb::decompress(&replica_body(name, samples), 1 << 20, &mut message).unwrap();
        message
    };
    // After a request of known series, one is read by looking at the ends of its series. That of the second
    // one looks like that of the first.
    replica(&world, "one", 1, 0.0).unwrap();
    let mut body = [message("two", &[(1, 1.0)]), message("two", &[(2, 2.0), (3, 3.0)])].concat();
    let written = world.send_body(&compress(&body), at(3)).unwrap();
    assert_eq!((written.samples, written.is_deduplicated), (3, true));
    assert_eq!(world.outcome("deduplicated"), 3);
    body.extend_from_slice(b"\x0a\x10\x0a\x7f\x12\x0c\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x01");
    assert!(matches!(world.send_body(&compress(&body), at(3)), Err(WriteError::Malformed(_))));
}

#[test]
fn histograms_of_a_dropped_replica_are_counted_as_such() {
    let world = world();
    replica(&world, "one", 0, 0.0).unwrap();
    let histograms = vec![v2::Histogram::default(); 2];
    let labels_refs = vec![1, 2, 7, 8, 9, 11];
    let written =
        send_v2(&world, vec![v2::TimeSeries { labels_refs, histograms, ..Default::default() }]).unwrap();
    assert_eq!((written.samples, written.histograms, written.is_deduplicated), (0, 2, true));
    assert_eq!(world.outcome("deduplicated"), 2);
}

#[test]
fn labels_beyond_the_limits_elect_nobody() {
    let world = world();
    let cluster = "c".repeat(1 << 20);
    for name in ["one", "two"] {
        let labels = [("__name__", "x"), ("__replica__", name), ("cluster", cluster.as_str())];
        let error = world.send_body(&raw_body(&[(&labels, NOW.0, 1.0)]), NOW).unwrap_err().to_string();
        assert!(error.contains("limits.label_bytes_max"), "{error}");
    }
}

#[test]
fn a_forwarder_that_mixes_replicas_is_told_so_and_makes_no_resets() {
    let mut world = world();
    let mixed = |first: (&str, f64), second: (&str, f64), at_second| {
        let labels = [first, second].map(|(replica, value)| {
            let labels = [
                ("__name__", "http_requests_total"),
                ("__replica__", replica),
                ("cluster", "eu"),
                ("code", "500"),
                ("instance", "a"),
                ("job", "api"),
            ];
            (labels, value)
        });
        let series: Vec<RawSample<'_>> =
            labels.iter().map(|(labels, value)| (labels.as_slice(), at(at_second).0, *value)).collect();
        world.send_body(&raw_body(&series), at(at_second))
    };
    for scrape in 0..10 {
        let value = 1_000.0 + f64::from(scrape);
        let second = i64::from(scrape) * 15;
        let error = mixed(("one", value), ("two", value - 1.0), second).unwrap_err();
        assert!(error.to_string().contains("is of another replica than the first one"), "{error}");
        assert_eq!(error.written().samples, 1, "that of the elected one");
        assert!(mixed(("two", value - 1.0), ("one", value), second + 1).unwrap().is_deduplicated);
    }
    assert_eq!(events(&mut world, at(140)), (9.0, 9.0));
    assert_eq!((world.outcome("reset"), world.outcome("refused")), (0, 10));
}

#[test]
fn a_replica_label_without_a_cluster_is_a_label_like_others() {
    let mut world = world();
    for (name, value) in [("one", 5.0), ("two", 7.0)] {
        let labels = [
            ("__name__", "http_requests_total"),
            ("__replica__", name),
            ("code", "500"),
            ("instance", "a"),
            ("job", "api"),
        ];
        for (second, value) in [(0, 0.0), (15, value)] {
            world.send_body(&raw_body(&[(&labels, at(second).0, value)]), at(second)).unwrap();
        }
    }
    assert_eq!(events(&mut world, at(16)), (12.0, 12.0));
}

#[test]
fn a_series_without_labels_does_not_hide_which_replica_sends() {
    let world = world();
    let (one, two) = ([1, 2, 7, 8, 9, 10], [1, 2, 7, 8, 9, 11]);
    send_v2(&world, vec![series_of(&one, at(0), 0.0, NO_START)]).unwrap();
    let request = vec![series_of(&[99, 99], at(1), 1.0, NO_START), series_of(&two, at(1), 1.0, NO_START)];
    assert!(send_v2(&world, request).unwrap().is_deduplicated);
}

#[test]
fn more_clusters_than_allowed_are_refused() {
    let ha = ingest::ha::Config { clusters_max: 0, ..Default::default() };
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let world = World::new(slos(AVAILABILITY), engine, ingest::Config { ha, ..Default::default() }, NOW);
    let error = replica(&world, "one", 0, 1.0).unwrap_err().to_string();
    assert!(
        error.contains("0 clusters of replicas are known, which is the limit (ha.clusters_max)"),
        "{error}"
    );
}

#[test]
fn what_one_slo_takes_for_a_counter_may_be_a_gauge_to_another() {
    let gauge = r#"
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: temperature, service: api}
spec:
  sli: {threshold: {metric: queue_depth, op: lte, value: 5}}
  objective: {target: 99, window: 30d}
"#;
    let specs = AVAILABILITY.replace("http_requests_total", "queue_depth") + gauge;
    let mut world = World::immediate(slos(&specs), SECOND, NOW);
    for (second, value) in [(0, 3.0), (15, -4.0), (30, 9.0), (45, 7.0)] {
        world.send(&[sent("queue_depth", at(second), value)], at(second)).unwrap();
    }
    let counts: Vec<_> = world
        .tick(at(46))
        .snapshot()
        .slos
        .iter()
        .map(|slo| (slo.bad_events_total, slo.events_total))
        .collect();
    // From 3 to 9 and a reset to 7; four samples, two of them above 5.
    assert_eq!(counts, [(0.0, 13.0), (2.0, 4.0)]);
}

// --- native histograms ---

/// A world with an SLO on a native histogram.
fn latency_world() -> World {
    let spec = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: latency, service: api}
spec:
  sli: {type: latency, query: 'histogram_fraction(0, 0.5, sum(rate(request_duration_seconds[5m])))'}
  objective: {target: 99, window: 30d}
"#;
    World::immediate(slos(spec), SECOND, NOW)
}

/// Delivers a histogram of schema 0: this many requests took up to half a second, and up to one.
fn durations(world: &World, second: i64, fast: i64, slow: i64) -> Result<ingest::WriteStats, WriteError> {
    let histogram = wire::Histogram {
        count: Some(wire::histogram::Count::CountInt((fast + slow) as u64)),
        sum: 1.0,
        // (0.25, 0.5] and (0.5, 1].
        positive_spans: vec![wire::BucketSpan { offset: -1, length: 2 }],
        positive_deltas: vec![fast, slow - fast],
        timestamp: at(second).0,
        ..Default::default()
    };
    world.send_body(&histogram_body("request_duration_seconds", vec![histogram]), at(second))
}

fn histogram_body(metric: &str, histograms: Vec<wire::Histogram>) -> Vec<u8> {
    let pairs = [("__name__", metric), ("instance", "a"), ("job", "api")];
    let labels = pairs.map(|(name, value)| wire::Label { name: name.into(), value: value.into() }).to_vec();
    let series = wire::TimeSeries { labels, histograms, ..Default::default() };
    let request = wire::WriteRequest { timeseries: vec![series], metadata: Vec::new() };
    compress(&request.encode_to_vec())
}

#[test]
fn a_native_histogram_counts_what_it_gained() {
    let mut world = latency_world();
    for (second, fast, slow) in [(0, 100, 5), (15, 190, 15), (15, 190, 15), (30, 7, 1), (45, 17, 1)] {
        let written = durations(&world, second, fast, slow).unwrap();
        assert_eq!((written.samples, written.histograms), (0, 1));
    }
    // 10 of 100, 1 of 8 after a reset, 0 of 10.
    assert_eq!(events(&mut world, at(46)), (11.0, 118.0));
    let outcomes = ["baseline", "increment", "duplicate", "reset", "histogram_ignored"];
    assert_eq!(outcomes.map(|outcome| world.outcome(outcome)), [1, 2, 1, 1, 0]);
    assert_eq!(only(&mut world, at(47)).status, DataStatus::Ok);
}

#[test]
fn a_histogram_that_contradicts_itself_is_refused_and_the_next_one_counts() {
    let mut world = latency_world();
    durations(&world, 0, 100, 5).unwrap();
    let count = Some(wire::histogram::Count::CountInt(3));
    let wrong = wire::Histogram { count, timestamp: at(15).0, ..Default::default() };
    let error =
        world.send_body(&histogram_body("request_duration_seconds", vec![wrong]), at(15)).unwrap_err();
    assert_eq!(error.written(), ingest::WriteStats::default());
    let error = error.to_string();
    assert!(
        error.contains("1 of 1 samples refused") && error.contains("histogram makes no sense"),
        "{error}"
    );
    durations(&world, 30, 110, 5).unwrap();
    assert_eq!(events(&mut world, at(31)), (0.0, 10.0));
}

#[test]
fn histograms_of_no_interest_are_accepted_whatever_they_say() {
    let mut world = world();
    let odd = || wire::Histogram { schema: 99, timestamp: at(0).0, ..Default::default() };
    for metric in ["other", "http_requests_total"] {
        let written = world.send_body(&histogram_body(metric, vec![odd()]), at(0)).unwrap();
        assert_eq!(written.histograms, 1);
    }
    assert_eq!((world.outcome("unselected"), world.outcome("histogram_ignored")), (1, 1));
    assert_eq!(events(&mut world, at(1)), (0.0, 0.0));
}
