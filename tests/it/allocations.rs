//! What must not allocate: a tick, and the question to a histogram that is asked of every sample.

use std::{sync::Arc, time::Duration};

use prost::Message;
use slod::{
    histogram::Histogram,
    prompb::generated::v2::{self, BucketSpan, histogram::Count},
    report::Report,
    testing::Fleet,
};

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
