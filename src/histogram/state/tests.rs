//! Histograms that are stopped and go on, and states that make no sense.

use std::time::Duration;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{
    histogram::{Histogram, HistogramReading},
    prompb::generated::v2::{
        self, BucketSpan,
        histogram::{Count, ResetHint, ZeroCount},
    },
};

/// A sample that changes one thing about the one before.
#[derive(Clone, Debug)]
enum Step {
    Grows(usize, f64),
    Shrinks(usize),
    Schema(i32),
    Bounds(u8),
    Gauge,
    Ends,
    Starts(i64),
    Waits(i64),
    HandsOver,
    Threshold(f64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..6usize, 0..9u8).prop_map(|(place, by)| Step::Grows(place, f64::from(by) / 2.0)),
        1 => (0..6usize).prop_map(Step::Shrinks),
        1 => prop::sample::select(vec![-4, 0, 1, 3, 8, 12]).prop_map(Step::Schema),
        1 => (0..3u8).prop_map(Step::Bounds),
        1 => Just(Step::Gauge),
        1 => Just(Step::Ends),
        1 => (0..90_000i64).prop_map(Step::Starts),
        2 => (-1..90i64).prop_map(|seconds| Step::Waits(seconds * 1_000)),
        1 => Just(Step::HandsOver),
        1 => prop::sample::select(vec![0.0, 0.001, 0.5]).prop_map(Step::Threshold),
    ];
    prop::collection::vec(step, 1..50)
}

/// A series as its sender has it.
struct Series {
    at: i64,
    schema: i32,
    bounds: Vec<f64>,
    counts: [f64; 6],
    threshold: f64,
}

impl Series {
    fn new() -> Self {
        Self { at: 1_000, schema: 3, bounds: Vec::new(), counts: [1.0; 6], threshold: 0.001 }
    }

    fn next(&mut self, step: &Step) -> HistogramReading {
        let (mut start, mut hint, mut is_handover, mut sum) = (0, ResetHint::Unspecified, false, f64::NAN);
        self.at += 15_000;
        match *step {
            Step::Grows(place, by) => self.counts[place] += by,
            Step::Shrinks(place) => self.counts[place] /= 2.0,
            Step::Schema(schema) => (self.schema, self.bounds) = (schema, Vec::new()),
            Step::Bounds(shift) => self.bounds = (0..6).map(|n| f64::from(n + shift)).collect(),
            Step::Gauge => hint = ResetHint::Gauge,
            Step::Ends => sum = f64::from_bits(crate::counter::STALE_MARKER_BITS),
            Step::Starts(before) => start = self.at - before,
            Step::Waits(for_) => self.at += for_ - 15_000,
            Step::HandsOver => is_handover = true,
            Step::Threshold(threshold) => self.threshold = threshold,
        }
        let histogram = Histogram::decode(&self.message(sum, hint, start).encode_to_vec()).unwrap();
        HistogramReading { histogram, is_handover, max_gap: Duration::from_secs(60) }
    }

    fn message(&self, sum: f64, hint: ResetHint, start: i64) -> v2::Histogram {
        let is_custom = !self.bounds.is_empty();
        let positive = if is_custom { &self.counts[..] } else { &self.counts[..4] };
        let negative = if is_custom { &[] } else { &self.counts[4..] };
        let spans = |counts: &[f64]| match counts.len() {
            0 => Vec::new(),
            length => vec![BucketSpan { offset: 0, length: length as u32 }],
        };
        v2::Histogram {
            schema: if is_custom { -53 } else { self.schema },
            zero_threshold: if is_custom { 0.0 } else { self.threshold },
            zero_count: (!is_custom).then_some(ZeroCount::ZeroCountFloat(2.0)),
            count: Some(Count::CountFloat(self.counts.iter().sum::<f64>() + 2.0)),
            sum,
            positive_spans: spans(positive),
            positive_counts: positive.to_vec(),
            negative_spans: spans(negative),
            negative_counts: negative.to_vec(),
            custom_values: self.bounds.clone(),
            reset_hint: hint.into(),
            timestamp: self.at,
            start_timestamp: start,
            ..v2::Histogram::default()
        }
    }
}

proptest! {
    #[test]
    fn a_series_goes_on_where_it_was(steps in steps(), stopped_after in 0..50usize) {
        let (mut through, mut other) = (HistogramCounter::default(), HistogramCounter::default());
        let mut series = Series::new();
        for (n, step) in steps.iter().enumerate() {
            if n == stopped_after {
                other = HistogramCounter::from_state(other.state()).unwrap();
            }
            let reading = series.next(step);
            let (one, two) = (through.observe(reading.clone(), || None), other.observe(reading, || None));
            prop_assert_eq!(format!("{:?}", one), format!("{:?}", two), "{:?}", step);
            prop_assert_eq!(format!("{:?}", through), format!("{:?}", other));
        }
    }
}

fn exponential() -> DistributionState {
    DistributionState {
        count: 10.0,
        sum: f64::NAN,
        scale: ScaleState::Exponential(3),
        zero_threshold: 0.001,
        zero_count: 1.0,
        negative: vec![(1, 2.0)],
        positive: vec![(-3, 3.0), (4, 4.0)],
    }
}

fn custom() -> DistributionState {
    let (zero_threshold, zero_count, negative) = (0.0, 0.0, Vec::new());
    let (scale, positive) = (ScaleState::Custom(vec![0.5, 1.0]), vec![(0, 3.0), (2, 7.0)]);
    DistributionState { scale, zero_threshold, zero_count, negative, positive, ..exponential() }
}

fn sample(sent_schema: Option<i8>, observed: DistributionState) -> HistogramSampleState {
    HistogramSampleState { at: Timestamp(5_000), started_at: None, sent_schema, observed: Some(observed) }
}

#[track_caller]
fn refusal(last: HistogramSampleState) -> String {
    let state = HistogramState { last: Some(last), ended_at: None };
    HistogramCounter::from_state(state).unwrap_err().to_string()
}

#[test]
fn what_makes_sense_is_taken() {
    for last in [sample(Some(3), exponential()), sample(Some(8), exponential()), sample(None, custom())] {
        let state = HistogramState { last: Some(last), ended_at: Some(Timestamp(9)) };
        let back = HistogramCounter::from_state(state.clone()).unwrap().state();
        assert_eq!(format!("{back:?}"), format!("{state:?}"));
    }
}

#[test]
fn what_no_samples_lead_to_is_refused() {
    let exponential = |change: fn(&mut DistributionState)| {
        let mut observed = exponential();
        change(&mut observed);
        refusal(sample(Some(3), observed))
    };
    let custom = |change: fn(&mut DistributionState)| {
        let mut observed = custom();
        change(&mut observed);
        refusal(sample(None, observed))
    };
    let refusals = [
        refusal(HistogramSampleState {
            started_at: Some(Timestamp(5_000)),
            ..sample(Some(3), self::exponential())
        }),
        refusal(sample(None, self::exponential())),
        refusal(sample(Some(2), self::exponential())),
        refusal(sample(Some(9), self::exponential())),
        refusal(sample(Some(3), self::custom())),
        refusal(HistogramSampleState { observed: None, ..sample(Some(3), self::custom()) }),
        exponential(|of| of.count = f64::NAN),
        exponential(|of| of.count = 1e16),
        exponential(|of| of.zero_count = -1.0),
        exponential(|of| of.zero_threshold = f64::INFINITY),
        exponential(|of| of.scale = ScaleState::Exponential(-5)),
        exponential(|of| of.positive[1].0 = -3),
        exponential(|of| of.negative[0].0 = i32::MIN),
        exponential(|of| of.negative[0].1 = 0.0),
        exponential(|of| of.positive = (0..10_001).map(|index| (index, 1.0)).collect()),
        custom(|of| of.positive[1].0 = 3),
        custom(|of| of.scale = ScaleState::Custom(vec![1.0, 0.5])),
        custom(|of| of.zero_count = 1.0),
        custom(|of| of.negative = vec![(0, 1.0)]),
    ];
    insta::assert_snapshot!(refusals.join("\n"), @"
    histogram makes no sense: it started at 5.000, not before its last sample at 5.000
    histogram makes no sense: buckets are kept in a finer scale, or another, than was sent
    histogram makes no sense: buckets are kept in a finer scale, or another, than was sent
    histogram makes no sense: schema 9 is not kept; -4 to 8 are
    histogram makes no sense: buckets are kept in a finer scale, or another, than was sent
    histogram makes no sense: buckets are kept in a finer scale, or another, than was sent
    histogram makes no sense: it counts NaN, and 1 of them around zero
    histogram makes no sense: it counts 10000000000000000, and 1 of them around zero
    histogram makes no sense: it counts 10, and -1 of them around zero
    histogram makes no sense: zero threshold is inf; it must be finite and not negative
    histogram makes no sense: schema -5 is not kept; -4 to 8 are
    histogram makes no sense: indexes of buckets must ascend, and have bounds
    histogram makes no sense: indexes of buckets must ascend, and have bounds
    histogram makes no sense: a populated bucket counts 0
    histogram has 10002 buckets, the limit is 10000; reduce its resolution
    histogram makes no sense: bucket 3 lies outside of the 2 custom bounds
    histogram makes no sense: custom bounds must ascend, and end before +Inf
    histogram makes no sense: with custom bounds there is neither a zero bucket nor a negative one
    histogram makes no sense: with custom bounds there is neither a zero bucket nor a negative one
    ");
}
