//! What must not allocate: a tick, a sample of a known series, and the question to a histogram that is asked of
//! every sample. And how much a series may take.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use prost::Message;
use slod::{
    engine,
    exposition::{self, Format, Renderer},
    histogram::Histogram,
    ingest,
    labels::Labels,
    prompb::{
        Version,
        generated::v2::{self, BucketSpan, histogram::Count},
    },
    report::Report,
    testing::{Fleet, Sent, World, encode, encode_v2, slos},
    time::Timestamp,
};

use crate::support::AVAILABILITY;

const SECOND: Duration = Duration::from_secs(1);

const SIZE: usize = 1_000;
/// How often each SLO has events, in seconds.
const SCRAPE: i64 = 15;
const HOUR: Duration = Duration::from_secs(3_600);

/// Busy services; every tenth SLO fails so often that it alerts, and every hundredth spends its budget.
fn scrape(fleet: &Fleet) {
    let at = fleet.now + SECOND;
    let second = at.0 / 1_000;
    let mut adds = fleet.adds();
    for slo in (0..SIZE).filter(|slo| (second + *slo as i64) % SCRAPE == 0) {
        let bad = if slo % 100 == 0 { 750 } else { u32::from(slo % 10 == 0) * 30 };
        adds.add(slo, at, bad, 1_500);
    }
}

fn tick(fleet: &mut Fleet, last: &mut Option<Arc<Report>>, ticks: usize) {
    for _ in 0..ticks {
        scrape(fleet);
        *last = Some(fleet.tick(SECOND));
    }
}

#[test]
fn a_tick_in_which_no_instance_comes_or_goes_allocates_nothing() {
    let mut fleet = Fleet::new(SIZE);
    let mut last = None;
    // A month in long steps, then two hours as they are, so that every ring is in use and wide enough.
    for step in [HOUR * 60; 12].into_iter().chain([HOUR; 24]) {
        last = Some(fleet.tick(step));
        tick(&mut fleet, &mut last, SCRAPE as usize);
    }
    tick(&mut fleet, &mut last, 7_200);
    // Slots of ten seconds and of two minutes end meanwhile, and some of an hour.
    let made = allocation_counter::measure(|| tick(&mut fleet, &mut last, 3_700));
    assert_eq!((made.count_total, made.bytes_total), (0, 0));
    let report = last.unwrap().snapshot();
    let firing = report.slos.iter().filter(|slo| slo.alerts.iter().any(|alert| alert.level == 2)).count();
    let overspent = report.slos.iter().filter(|slo| slo.budget().remaining < 0.0).count();
    assert_eq!((firing, overspent), (SIZE / 10, SIZE / 10), "they were busy");
}

#[test]
fn a_page_takes_little_more_memory_than_its_text_and_the_next_one_none() {
    let mut fleet = Fleet::new(SIZE);
    let report = fleet.tick(SECOND);
    let mut page = Vec::new();
    let mut renderer = Renderer::new(exposition::Config::default());
    let first = allocation_counter::measure(|| page = renderer.render(&report, Format::Text));
    let bytes: usize = page.iter().map(Bytes::len).sum();
    assert!(bytes > 2_000_000, "it is large");
    // Labels that are worked out on the way are part of it.
    assert!(first.bytes_max as f64 <= 1.2 * bytes as f64, "{} for a page of {bytes}", first.bytes_max);
    renderer.take_back(page);
    let mut page = Vec::new();
    let next = allocation_counter::measure(|| page = renderer.render(&report, Format::Text));
    assert_eq!(page.iter().map(Bytes::len).sum::<usize>(), bytes);
    // The list of chunks, and names.
    assert!(next.bytes_max < 100_000, "{}", next.bytes_max);
}

#[test]
fn what_lies_in_an_interval_is_found_without_allocating() {
    let message = v2::Histogram {
        count: Some(Count::CountInt(200)),
        schema: 3,
        positive_spans: vec![BucketSpan { offset: -50, length: 100 }],
        positive_deltas: [2].into_iter().chain([0; 99]).collect(),
        ..v2::Histogram::default()
    };
    let histogram = Histogram::decode(&message.encode_to_vec()).unwrap();
    let observed = histogram.observed().unwrap();
    let mut within = 0.0;
    let made = allocation_counter::measure(|| within = observed.within(0.0, 0.3));
    assert_eq!(made.count_total, 0);
    assert!(within > 0.0 && within < 200.0, "{within}");
}

// --- series ---

/// A scrape of so many series of a metric, as requests of 2,000 samples.
fn requests(version: Version, metric: &str, series: usize, at: Timestamp) -> Vec<Vec<u8>> {
    let sent = |n: usize| {
        let (pod, path) = (format!("api-{}", n / 100), format!("/api/v1/route/{n}"));
        let pairs =
            [("__name__", metric), ("code", "200"), ("instance", &pod), ("job", "api"), ("path", &path)];
        Sent { labels: Labels::new(pairs).unwrap(), at, value: at.0 as f64 }
    };
    let encode = if version == Version::V1 { encode } else { encode_v2 };
    (0..series).map(sent).collect::<Vec<_>>().chunks(2_000).map(encode).collect()
}

fn send(world: &World, version: Version, bodies: &[Vec<u8>], now: Timestamp) {
    for body in bodies {
        world.send_body_of(version, body, now).unwrap();
    }
}

fn world() -> World {
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    World::new(slos(AVAILABILITY), engine, ingest::Config::default(), Fleet::START)
}

#[test]
fn samples_of_known_series_allocate_nothing() {
    for version in [Version::V1, Version::V2] {
        let mut world = world();
        let scrape = |n: i64, series| {
            requests(version, "http_requests_total", series, Fleet::START + SECOND * n as u32)
        };
        for n in 0..3 {
            world.tick(Fleet::START + SECOND * n as u32);
            send(&world, version, &scrape(n, 2_000), Fleet::START + SECOND * n as u32);
        }
        let [few, many] = [(3, 10), (4, 2_000)].map(|(n, series)| {
            let bodies = scrape(n, series);
            allocation_counter::measure(|| send(&world, version, &bodies, Fleet::START + SECOND * n as u32))
        });
        // Those of a request, whatever it holds: the labels of its first series.
        assert!(few.count_total <= 5, "{version:?}: {few:?}");
        assert!(many.count_total <= 5, "{version:?}: {many:?}");
        assert_eq!(world.outcome("increment"), 2_000 * 2 + 10 + 2_000);
    }
}

/// The memory that so many series leave behind, in bytes each.
#[track_caller]
fn bytes_per_series(version: Version, metric: &str) -> f64 {
    const SERIES: usize = 100_000;
    let world = world();
    // What does not grow with the number of series.
    send(&world, version, &requests(version, metric, 2_000, Fleet::START), Fleet::START);
    let bodies = requests(version, metric, SERIES + 2_000, Fleet::START);
    let made = allocation_counter::measure(|| send(&world, version, &bodies, Fleet::START));
    let bytes = made.bytes_current as f64 / SERIES as f64;
    println!("{version:?} {metric}: {bytes:.1} bytes per series");
    bytes
}

#[test]
fn a_followed_series_takes_no_more_than_128_bytes() {
    assert!(bytes_per_series(Version::V1, "http_requests_total") <= 128.0);
    // Which has two label blocks: its own and the canonical one.
    assert!(bytes_per_series(Version::V2, "http_requests_total") <= 128.0);
}

#[test]
fn a_series_that_no_slo_selects_takes_no_more_than_32_bytes() {
    assert!(bytes_per_series(Version::V1, "other") <= 32.0);
    assert!(bytes_per_series(Version::V2, "other") <= 32.0);
}
