//! Native histograms against what Prometheus 3 says of them, and against their own observations.

use std::time::Duration;

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::{
    counter::{Baseline, Growth, Rejection, STALE_MARKER_BITS},
    prompb::generated::v2::{
        self, BucketSpan,
        histogram::{Count, ResetHint, ZeroCount},
    },
};

/// What Prometheus 3 says of random histograms; `main.go` beside it tells how it was asked.
const PROMETHEUS: &str = include_str!("../../tests/testdata/histogram/prometheus.tsv");

const DAY: Duration = Duration::from_secs(86_400);

// === making histograms ===

/// Observations of whole numbers in buckets `(index, count)`.
#[derive(Clone, Debug, Default)]
struct Plain<'a> {
    schema: i32,
    zero: (f64, u64),
    negative: &'a [(i32, i64)],
    positive: &'a [(i32, i64)],
    bounds: &'a [f64],
    sum: f64,
}

impl Plain<'_> {
    fn message(&self) -> v2::Histogram {
        let (negative_spans, negative_deltas) = spans(self.negative);
        let (positive_spans, positive_deltas) = spans(self.positive);
        let in_buckets: i64 = self.negative.iter().chain(self.positive).map(|(_, count)| count).sum();
        v2::Histogram {
            schema: self.schema,
            zero_threshold: self.zero.0,
            zero_count: Some(ZeroCount::ZeroCountInt(self.zero.1)),
            count: Some(Count::CountInt(self.zero.1 + in_buckets as u64)),
            sum: self.sum,
            negative_spans,
            negative_deltas,
            positive_spans,
            positive_deltas,
            custom_values: self.bounds.to_vec(),
            ..v2::Histogram::default()
        }
    }

    fn distribution(&self) -> Distribution {
        decode(&self.message()).unwrap().observed().unwrap().clone()
    }
}

fn spans(buckets: &[(i32, i64)]) -> (Vec<BucketSpan>, Vec<i64>) {
    let (mut next, mut last) = (0, 0);
    buckets
        .iter()
        .map(|(index, count)| {
            let span = BucketSpan { offset: index - next, length: 1 };
            let delta = count - last;
            (next, last) = (index + 1, *count);
            (span, delta)
        })
        .unzip()
}

fn decode(message: &v2::Histogram) -> Result<Histogram, HistogramError> {
    Histogram::decode(&message.encode_to_vec())
}

fn from_hex(hex: &str) -> Result<Histogram, HistogramError> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    Histogram::decode(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>())
}

// === what Prometheus says ===

#[test]
fn histograms_are_valid_that_prometheus_takes() {
    let mut verdicts = [0, 0];
    for line in PROMETHEUS.lines() {
        let ["valid", message, verdict] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        let decoded = from_hex(message);
        assert_eq!(decoded.is_ok(), verdict == "yes", "{message}: {decoded:?}");
        verdicts[usize::from(decoded.is_ok())] += 1;
    }
    assert!(verdicts.iter().all(|count| *count > 20), "{verdicts:?}");
}

#[test]
fn growth_is_what_prometheus_finds() {
    let mut verdicts = [0, 0];
    for line in PROMETHEUS.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let ["pair", earlier, later, verdict, count, fractions @ ..] = &fields[..] else { continue };
        let (earlier, later) = (from_hex(earlier).unwrap(), from_hex(later).unwrap());
        let later = later.observed().unwrap();
        let since = later.since(earlier.observed().unwrap());
        verdicts[usize::from(since.is_some())] += 1;
        assert_eq!(since.is_some(), *verdict == "grew", "{line}");
        let growth = since.unwrap_or_else(|| later.clone());
        assert_eq!(growth.count().to_string(), *count, "{line}");
        check_fractions(&growth, fractions, line);
    }
    assert!(verdicts.iter().all(|count| *count > 20), "{verdicts:?}");
}

fn check_fractions(growth: &Distribution, fractions: &[&str], line: &str) {
    assert!(!fractions.is_empty(), "{line}");
    for fraction in fractions.chunks_exact(3) {
        let number = |nth: usize| fraction[nth].parse::<f64>().unwrap();
        let (lower, upper, expected) = (number(0), number(1), number(2));
        let found = growth.within(lower, upper);
        assert!((found - expected).abs() < 1e-9, "({lower}, {upper}]: {found}, not {expected}\n{line}");
    }
}

/// Answers of `promql/promqltest/testdata/native_histograms.test`, as a share of all.
#[test]
fn fractions_of_prometheus_own_tests() {
    #[track_caller]
    fn check(plain: &Plain<'_>, bounds: (f64, f64), expected: f64) {
        let distribution = plain.distribution();
        let found = distribution.within(bounds.0, bounds.1) / distribution.count();
        assert!((found - expected).abs() < 1e-12, "{bounds:?}: {found}, not {expected}");
    }
    const INFINITY: f64 = f64::INFINITY;
    let buckets = [(0, 2), (1, 3), (3, 1), (4, 4)];
    let positive = Plain { zero: (0.001, 2), positive: &buckets, ..Plain::default() };
    check(&positive, (0.0, INFINITY), 1.0);
    check(&positive, (-INFINITY, 0.0), 0.0);
    check(&positive, (0.0, 0.0005), 0.083_333_333_333_333_33);
    check(&positive, (0.001, INFINITY), 0.833_333_333_333_333_4);
    check(&positive, (0.0, 1.5), 0.479_573_958_513_622_4);
    check(&positive, (1.5, 6.0), 0.152_506_249_879_807_24);
    check(&positive, (42.0, 3.5), 0.0);
    check(&positive, (3.5, f64::NAN), 0.0);
    let negative = Plain { zero: (0.001, 2), negative: &buckets, ..Plain::default() };
    check(&negative, (-0.0005, 0.0), 0.083_333_333_333_333_33);
    check(&negative, (-INFINITY, -0.0005), 0.916_666_666_666_666_6);
    check(&negative, (-INFINITY, -6.0), 0.367_919_791_606_570_35);
    check(&negative, (-6.0, -1.5), 0.152_506_249_879_807_24);
    // Only the zero bucket: it lies on both sides.
    check(&Plain { zero: (0.5, 1), ..Plain::default() }, (-0.5, 0.0), 0.5);
}

// === decoding ===

#[test]
fn what_is_refused_and_why() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut v2::Histogram), expected: &str) {
        let plain =
            Plain { zero: (0.5, 1), negative: &[(3, 2)], positive: &[(1, 2), (3, 1)], ..Plain::default() };
        let mut message = plain.message();
        change(&mut message);
        let error = decode(&message).unwrap_err();
        assert_eq!(error.to_string(), format!("histogram {expected}"));
    }
    check(
        |message| message.count = Some(Count::CountInt(7)),
        "makes no sense: 6 observations are in buckets, but its count is 7",
    );
    check(
        |message| {
            message.count = Some(Count::CountInt(5));
            message.sum = f64::NAN;
        },
        "makes no sense: 6 observations are in buckets, but its count is 5",
    );
    check(
        |message| message.positive_deltas[1] = -3,
        "makes no sense: deltas of buckets lead to a negative count",
    );
    check(
        |message| message.positive_deltas = vec![i64::MAX, 1],
        "makes no sense: deltas of buckets lead to a negative count",
    );
    check(
        |message| message.positive_spans[1].length = u32::MAX,
        "makes no sense: positive spans need 4294967296 buckets, there are 2",
    );
    check(
        |message| message.positive_spans[1].offset = -1,
        "makes no sense: positive span 1 has the negative offset -1",
    );
    check(
        |message| message.negative_spans[0].offset = i32::MIN,
        "makes no sense: index -2147483648 of a negative bucket has no bounds",
    );
    check(
        |message| message.positive_spans[1].offset = i32::MAX,
        "makes no sense: index 2147483649 of a positive bucket has no bounds",
    );
    check(|message| message.schema = 53, "makes no sense: schema 53 is not known; -53 and -4 to 52 are");
    check(|message| message.schema = 300, "makes no sense: schema 300 is not known; -53 and -4 to 52 are");
    check(
        |message| message.custom_values = vec![1.0],
        "makes no sense: schema 0 must not have custom bounds",
    );
    check(
        |message| message.zero_threshold = -1.0,
        "makes no sense: zero threshold is -1; it must be finite and not negative",
    );
    check(|message| message.schema = -53, "makes no sense: bucket 1 lies outside of the 0 custom bounds");
    check(
        |message| message.custom_values = vec![0.0; 40_000],
        "has 320043 bytes, the limit is 320000; reduce its resolution",
    );
    check(
        |message| {
            message.positive_deltas = vec![0; 10_001];
            message.positive_spans = vec![BucketSpan { offset: 0, length: 10_001 }];
            message.count = Some(Count::CountInt(3));
        },
        "has 10002 buckets, the limit is 10000; reduce its resolution",
    );
}

#[test]
fn custom_bounds_are_checked() {
    #[track_caller]
    fn check(change: impl FnOnce(&mut v2::Histogram), expected: &str) {
        let plain =
            Plain { schema: -53, positive: &[(1, 2), (3, 1)], bounds: &[1.0, 2.0, 5.0], ..Plain::default() };
        let mut message = plain.message();
        change(&mut message);
        let error = decode(&message).unwrap_err();
        assert_eq!(error.to_string(), format!("histogram makes no sense: {expected}"));
    }
    let order = "custom bounds must ascend, and end before +Inf";
    check(|message| message.custom_values[1] = 1.0, order);
    check(|message| message.custom_values[1] = f64::NAN, order);
    check(|message| message.custom_values[2] = f64::INFINITY, order);
    check(|message| message.custom_values = vec![1.0, 2.0], "bucket 3 lies outside of the 2 custom bounds");
    let only_positive = "with custom bounds there is neither a zero bucket nor a negative one";
    check(|message| message.zero_threshold = 0.5, only_positive);
    check(|message| message.negative_spans = vec![BucketSpan::default()], only_positive);
    check(
        |message| {
            message.zero_count = Some(ZeroCount::ZeroCountInt(1));
            message.count = Some(Count::CountInt(4));
        },
        only_positive,
    );
}

#[test]
fn float_counts_are_finite_and_not_negative() {
    let message = |count: f64, bucket: f64| v2::Histogram {
        count: Some(Count::CountFloat(count)),
        positive_spans: vec![BucketSpan { offset: 0, length: 1 }],
        positive_counts: vec![bucket],
        ..v2::Histogram::default()
    };
    assert_eq!(decode(&message(2.5, 1.5)).unwrap().observed().unwrap().count(), 2.5);
    for (count, bucket) in [(-1.0, 1.0), (f64::NAN, 1.0), (f64::INFINITY, 1.0), (1.0, -0.5), (1.0, f64::NAN)]
    {
        let error = decode(&message(count, bucket)).unwrap_err().to_string();
        assert!(error.contains("it must be finite and not negative"), "{error}");
    }
}

#[test]
fn empty_buckets_take_no_memory() {
    let buckets: Vec<_> = (0..1_000).map(|index| (index, i64::from(index == 7))).collect();
    let histogram = decode(&Plain { positive: &buckets, ..Plain::default() }.message()).unwrap();
    let positive = &histogram.observed().unwrap().positive;
    assert_eq!((positive.len(), positive.capacity()), (1, 1));
}

#[test]
fn of_a_stale_marker_only_the_sum_is_read() {
    let marker = v2::Histogram {
        sum: f64::from_bits(STALE_MARKER_BITS),
        schema: 99,
        timestamp: 5,
        ..v2::Histogram::default()
    };
    let decoded = decode(&marker).unwrap();
    assert!(decoded.is_stale_marker() && decoded.observed().is_none());
    assert_eq!(decoded.at(), Timestamp(5));
    let other_nan = v2::Histogram { sum: f64::NAN, schema: 99, ..marker };
    assert!(decode(&other_nan).is_err());
}

#[test]
fn times_and_hints_are_read() {
    let message = v2::Histogram { timestamp: 7, start_timestamp: 3, ..v2::Histogram::default() };
    let decoded = decode(&message).unwrap();
    assert_eq!((decoded.at(), decoded.started_at()), (Timestamp(7), Some(Timestamp(3))));
    assert!(!decoded.is_gauge());
    let gauge = v2::Histogram { start_timestamp: 0, reset_hint: ResetHint::Gauge.into(), ..message };
    let decoded = decode(&gauge).unwrap();
    assert!(decoded.is_gauge() && decoded.started_at().is_none());
}

#[test]
fn a_schema_of_the_future_is_reduced() {
    let fine = Plain { schema: 10, positive: &[(-3, 1), (1, 2), (4, 3), (5, 4)], ..Plain::default() };
    let coarse = Plain { schema: 8, positive: &[(0, 1), (1, 5), (2, 4)], ..Plain::default() };
    assert!(fine.distribution().is_same(&coarse.distribution()));
    let finest = Plain { schema: 52, positive: &[(-9, 1), (i32::MAX - 9, 1)], ..Plain::default() };
    let merged = Plain { schema: 8, positive: &[(0, 1), (1, 1)], ..Plain::default() };
    assert!(finest.distribution().is_same(&merged.distribution()));
}

// === one series ===

/// A sample at a second, and what makes it special.
struct Sample<'a> {
    second: i64,
    plain: Plain<'a>,
    start: i64,
    hint: ResetHint,
    is_handover: bool,
}

fn sample<'a>(second: i64, positive: &'a [(i32, i64)]) -> Sample<'a> {
    let plain = Plain { schema: 2, positive, ..Plain::default() };
    Sample { second, plain, start: 0, hint: ResetHint::Unspecified, is_handover: false }
}

fn custom<'a>(second: i64, bounds: &'a [f64], positive: &'a [(i32, i64)]) -> Sample<'a> {
    let plain = Plain { schema: -53, bounds, positive, ..Plain::default() };
    Sample { plain, ..sample(second, &[]) }
}

fn stale(second: i64) -> Sample<'static> {
    let plain = Plain { sum: f64::from_bits(STALE_MARKER_BITS), ..Plain::default() };
    Sample { plain, ..sample(second, &[]) }
}

fn observe(counter: &mut HistogramCounter, sample: &Sample<'_>, born: Option<i64>) -> HistogramObservation {
    let message = v2::Histogram {
        timestamp: sample.second * 1_000,
        start_timestamp: sample.start * 1_000,
        reset_hint: sample.hint.into(),
        ..sample.plain.message()
    };
    let reading = HistogramReading {
        histogram: decode(&message).unwrap(),
        is_handover: sample.is_handover,
        max_gap: DAY,
    };
    counter.observe(reading, || born.map(|second| Timestamp(second * 1_000)))
}

/// What each sample comes to: growth with its count and buckets.
#[track_caller]
fn check(born: Option<i64>, samples: &[Sample<'_>], expected: &[&str]) {
    let mut counter = HistogramCounter::default();
    let observed: Vec<String> =
        samples.iter().map(|sample| show(&observe(&mut counter, sample, born))).collect();
    assert_eq!(observed, expected);
}

fn show(observation: &HistogramObservation) -> String {
    match observation {
        HistogramObservation::Increment { from, growth, kind } => {
            let bucket = |bucket: &distribution::Bucket| format!(" {}:{}", bucket.index, bucket.count);
            let buckets: String = growth.positive.iter().map(bucket).collect();
            format!("{kind:?} {}{buckets} from {}", growth.count(), from.0 / 1_000)
        }
        HistogramObservation::Baseline(why) => format!("Baseline {why:?}"),
        HistogramObservation::Rejected(why) => format!("{why:?}"),
        HistogramObservation::Stale => "Stale".to_owned(),
        HistogramObservation::Gauge => "Gauge".to_owned(),
    }
}

#[test]
fn differences_and_resets() {
    check(
        None,
        &[
            sample(0, &[(1, 4)]),
            sample(15, &[(0, 1), (1, 6)]),
            sample(30, &[(0, 1), (1, 6)]),
            // As many as before, but not in the same buckets.
            sample(45, &[(1, 7)]),
            sample(60, &[(1, 2)]),
        ],
        &[
            "Baseline First",
            "Difference 3 0:1 1:2 from 0",
            "Difference 0 from 15",
            "Reset 7 1:7 from 30",
            "Reset 2 1:2 from 45",
        ],
    );
}

#[test]
fn what_is_not_newer_counts_for_nothing_and_changes_nothing() {
    check(
        None,
        &[
            sample(0, &[(1, 4)]),
            sample(15, &[(1, 5)]),
            sample(15, &[(1, 5)]),
            sample(15, &[(2, 5)]),
            sample(0, &[(1, 4)]),
            sample(30, &[(1, 6)]),
        ],
        &[
            "Baseline First",
            "Difference 1 1:1 from 0",
            "Duplicate",
            "Conflict",
            "OutOfOrder",
            "Difference 1 1:1 from 15",
        ],
    );
}

#[test]
fn nan_observations_are_counted_without_a_bucket() {
    let with_nan = |second| Sample {
        plain: Plain { schema: 2, positive: &[(1, 4)], sum: f64::NAN, ..Plain::default() },
        ..sample(second, &[])
    };
    let mut counter = HistogramCounter::default();
    observe(&mut counter, &sample(0, &[(1, 2)]), None);
    let HistogramObservation::Increment { growth, .. } = observe(&mut counter, &with_nan(15), None) else {
        panic!("a difference");
    };
    assert!(growth.sum().is_nan());
    assert_eq!((growth.count(), growth.within(0.0, f64::INFINITY)), (2.0, 2.0));
    assert_eq!(show(&observe(&mut counter, &with_nan(15), None)), "Duplicate");
}

#[test]
fn a_first_sample_counts_what_is_known_to_be_new() {
    check(Some(5), &[sample(15, &[(1, 4)])], &["Born 4 1:4 from 5"]);
    check(None, &[Sample { start: 10, ..sample(15, &[(1, 4)]) }], &["Started 4 1:4 from 10"]);
    check(Some(12), &[Sample { start: 10, ..sample(15, &[(1, 4)]) }], &["Started 4 1:4 from 12"]);
    // OpenTelemetry's unknown start, and one too long ago to say when.
    check(None, &[Sample { start: 15, ..sample(15, &[(1, 4)]) }], &["Baseline First"]);
    check(None, &[Sample { start: 15, ..sample(86_416, &[(1, 4)]) }], &["Baseline Gap"]);
    check(Some(0), &[sample(15, &[]), sample(30, &[(1, 4)])], &["Baseline Zero", "Difference 4 1:4 from 15"]);
}

#[test]
fn start_timestamps_tell_resets() {
    let at = |second, start, count: &'static [(i32, i64)]| Sample { start, ..sample(second, count) };
    check(
        None,
        &[
            at(100, 0, &[(1, 1)]),
            at(115, 90, &[(1, 2)]),
            at(130, 90, &[(1, 3)]),
            at(145, 132, &[(1, 9)]),
            // Before the last sample, at it, and in the future.
            at(160, 140, &[(1, 10)]),
            at(175, 160, &[(1, 12)]),
            at(190, 200, &[(1, 13)]),
            at(205, 195, &[(1, 3)]),
            at(300_000, 299_990, &[(1, 20)]),
        ],
        &[
            "Baseline First",
            "Difference 1 1:1 from 100",
            "Difference 1 1:1 from 115",
            "Restart 9 1:9 from 132",
            "Difference 1 1:1 from 145",
            "Restart 12 1:12 from 160",
            "Difference 1 1:1 from 175",
            "Reset 3 1:3 from 195",
            "Baseline Gap",
        ],
    );
    // A start that is the time of the sample before means nothing if that one's start meant nothing.
    check(
        None,
        &[at(100, 0, &[(1, 1)]), at(115, 100, &[(1, 2)])],
        &["Baseline First", "Difference 1 1:1 from 100"],
    );
    check(
        None,
        &[at(100, 100, &[(1, 1)]), at(115, 100, &[(1, 2)])],
        &["Baseline First", "Difference 1 1:1 from 100"],
    );
}

#[test]
fn the_sender_may_say_that_it_was_reset() {
    let hinted = |second, hint, count: &'static [(i32, i64)]| Sample { hint, ..sample(second, count) };
    check(
        None,
        &[
            sample(0, &[(1, 4)]),
            hinted(15, ResetHint::Yes, &[(1, 5)]),
            // Said of a sample that was lost.
            hinted(30, ResetHint::No, &[(1, 3)]),
            hinted(45, ResetHint::No, &[(1, 4)]),
        ],
        &["Baseline First", "Reset 5 1:5 from 0", "Reset 3 1:3 from 15", "Difference 1 1:1 from 30"],
    );
}

#[test]
fn a_replica_that_takes_over_may_lag() {
    let taking_over =
        |second, count: &'static [(i32, i64)]| Sample { is_handover: true, ..sample(second, count) };
    let start = || [sample(0, &[(1, 70)]), sample(15, &[(1, 72), (2, 8)])];
    #[track_caller]
    fn check_after(start: [Sample<'_>; 2], next: &[Sample<'_>], expected: &[&str]) {
        let mut counter = HistogramCounter::default();
        for sample in &start {
            observe(&mut counter, sample, None);
        }
        let observed: Vec<String> =
            next.iter().map(|sample| show(&observe(&mut counter, sample, None))).collect();
        assert_eq!(observed, expected);
    }
    check_after(
        start(),
        &[taking_over(30, &[(1, 71), (2, 7)]), sample(45, &[(1, 73), (2, 9)])],
        &["Skew 0 from 15", "Difference 2 1:1 2:1 from 30"],
    );
    // Too much is missing, it is too late, and it is ahead in one bucket.
    check_after(start(), &[taking_over(30, &[(1, 60), (2, 7)])], &["Reset 67 1:60 2:7 from 15"]);
    check_after(start(), &[taking_over(76, &[(1, 71), (2, 7)])], &["Reset 78 1:71 2:7 from 15"]);
    check_after(start(), &[taking_over(30, &[(1, 73), (2, 5)])], &["Reset 78 1:73 2:5 from 15"]);
    check_after(start(), &[sample(30, &[(1, 71), (2, 7)])], &["Reset 78 1:71 2:7 from 15"]);
}

#[test]
fn a_gauge_is_no_counter() {
    let gauge = |second| Sample { hint: ResetHint::Gauge, ..sample(second, &[(1, 4)]) };
    check(
        Some(0),
        &[
            sample(10, &[(1, 4)]),
            gauge(15),
            sample(30, &[(1, 900)]),
            sample(45, &[(1, 901)]),
            gauge(40),
            sample(60, &[(1, 902)]),
            gauge(75),
            Sample { start: 76, ..sample(90, &[(1, 2)]) },
        ],
        &[
            "Born 4 1:4 from 0",
            "Gauge",
            "Baseline First",
            "Difference 1 1:1 from 30",
            "Gauge",
            "Difference 1 1:1 from 45",
            "Gauge",
            "Restart 2 1:2 from 76",
        ],
    );
}

#[test]
fn resolution_may_fall_but_not_rise() {
    let at = |second, schema, positive: &'static [(i32, i64)]| Sample {
        plain: Plain { schema, positive, ..Plain::default() },
        ..sample(second, &[])
    };
    check(
        None,
        &[
            at(0, 2, &[(1, 1), (3, 2), (5, 3)]),
            at(15, 1, &[(1, 2), (2, 2), (3, 3)]),
            at(30, -1, &[(1, 7), (2, 1)]),
            at(45, 0, &[(1, 7), (2, 2)]),
        ],
        &["Baseline First", "Difference 1 1:1 from 0", "Difference 1 2:1 from 15", "Reset 9 1:7 2:2 from 30"],
    );
}

#[test]
fn the_zero_bucket_may_swallow_but_not_cut_or_shrink() {
    let at = |second, zero, positive: &'static [(i32, i64)]| Sample {
        plain: Plain { zero, positive, ..Plain::default() },
        ..sample(second, &[])
    };
    let narrow = || at(0, (0.25, 1), &[(0, 2), (1, 3)]);
    // Schema 0: bucket 0 is (0.5, 1].
    check(None, &[narrow(), at(15, (1.0, 4), &[(1, 3)])], &["Baseline First", "Difference 1 from 0"]);
    check(
        None,
        &[narrow(), at(15, (0.75, 4), &[(0, 2), (1, 3)])],
        &["Baseline First", "Reset 9 0:2 1:3 from 0"],
    );
    check(
        None,
        &[narrow(), at(15, (0.1, 4), &[(0, 2), (1, 3)])],
        &["Baseline First", "Reset 9 0:2 1:3 from 0"],
    );
}

#[test]
fn custom_bounds_meet_in_those_they_share() {
    check(
        None,
        &[
            custom(0, &[1.0, 2.0, 3.0], &[(0, 1), (1, 1), (2, 1), (3, 1)]),
            custom(15, &[1.0, 2.5, 3.0], &[(0, 1), (1, 3), (2, 1), (3, 1)]),
            custom(30, &[1.0, 2.5, 3.0], &[(0, 1), (1, 4), (2, 1), (3, 1)]),
            custom(45, &[7.0], &[(0, 4), (1, 4)]),
        ],
        &[
            "Baseline First",
            "Difference 2 1:2 from 0",
            "Difference 1 1:1 from 15",
            "Difference 1 0:1 from 30",
        ],
    );
}

#[test]
fn another_kind_of_buckets_is_a_new_baseline_unless_observations_are_missing() {
    let bounds = &[1.0, 2.0];
    check(
        None,
        &[
            sample(0, &[(1, 500)]),
            custom(15, bounds, &[(1, 501)]),
            sample(30, &[(1, 502)]),
            custom(45, bounds, &[(1, 3)]),
        ],
        &["Baseline First", "Baseline First", "Baseline First", "Reset 3 1:3 from 30"],
    );
}

#[test]
fn a_stale_marker_is_neither_reset_nor_start() {
    check(
        None,
        &[
            sample(0, &[(1, 5)]),
            stale(15),
            sample(30, &[(1, 7)]),
            stale(20),
            stale(45),
            sample(60, &[(1, 1)]),
        ],
        &["Baseline First", "Stale", "Difference 2 1:2 from 0", "OutOfOrder", "Stale", "Reset 1 1:1 from 30"],
    );
}

#[test]
fn liveness_follows_markers() {
    let mut counter = HistogramCounter::default();
    assert!(!counter.is_live());
    for (sample, is_live) in [
        (sample(0, &[(1, 1)]), true),
        (stale(3), false),
        (sample(2, &[(1, 2)]), false),
        (sample(4, &[(1, 2)]), true),
    ] {
        observe(&mut counter, &sample, None);
        assert_eq!(counter.is_live(), is_live, "{}", sample.second);
    }
}

#[test]
fn a_gap_beyond_the_limit_starts_over() {
    check(
        None,
        &[sample(0, &[(1, 5)]), sample(86_400, &[(1, 6)]), sample(172_801, &[(1, 9)])],
        &["Baseline First", "Difference 1 1:1 from 0", "Baseline Gap"],
    );
}

#[test]
fn a_count_nobody_could_trust_is_rejected() {
    check(
        None,
        &[sample(0, &[(1, 5)]), sample(15, &[(1, (1 << 53) + 2)]), sample(30, &[(1, 6)])],
        &["Baseline First", "TooLarge", "Difference 1 1:1 from 0"],
    );
}

#[test]
fn what_is_kept_stays_bounded_and_goes_on_counting() {
    let wide = |count| (0..3_000).map(|index| (index, count)).collect::<Vec<_>>();
    let (once, twice) = (wide(1), wide(2));
    let at = |second, positive| Sample {
        plain: Plain { schema: 8, positive, ..Plain::default() },
        ..sample(second, &[])
    };
    let mut counter = HistogramCounter::default();
    observe(&mut counter, &at(0, &once), None);
    let HistogramObservation::Increment { growth, kind, .. } = observe(&mut counter, &at(15, &twice), None)
    else {
        panic!("a difference");
    };
    assert_eq!((kind, growth.count()), (Growth::Difference, 3_000.0));
    assert!(growth.positive.len() <= 640, "{}", growth.positive.len());
    assert_eq!(show(&observe(&mut counter, &at(15, &twice), None)), "Duplicate");
    // Fewer buckets than before: what is kept stays coarse until the counter starts over.
    let HistogramObservation::Increment { growth, kind, .. } =
        observe(&mut counter, &at(30, &once[..9]), None)
    else {
        panic!("a reset");
    };
    assert_eq!((kind, growth.positive.len()), (Growth::Reset, 9));
}

#[test]
fn what_is_too_coarse_to_tell_is_no_reset() {
    // From 1 up; the later zero bucket swallows the first two, of which what is kept has merged more.
    let wide: Vec<(i32, i64)> = (1..3_000).map(|index| (index, 1)).collect();
    let at = |second, zero, positive| Sample {
        plain: Plain { schema: 8, zero, positive, ..Plain::default() },
        ..sample(second, &[])
    };
    let threshold = Plain { schema: 8, ..Plain::default() }.distribution().bound(2);
    check(
        None,
        &[at(0, (0.5, 0), &wide), at(15, (threshold, 3), &wide[2..])],
        &["Baseline First", "Baseline First"],
    );
    // The same within what is kept as it was sent.
    check(
        None,
        &[at(0, (0.5, 0), &wide[..100]), at(15, (threshold, 3), &wide[2..100])],
        &["Baseline First", "Difference 1 from 0"],
    );
}

// === properties ===

/// The bucket of a positive value, by trying all.
fn index_of(value: f64, schema: i32) -> i32 {
    let bound = |index: i32| 2_f64.powf(f64::from(index) / 2_f64.powi(schema));
    (-200..200).find(|index| value <= bound(*index)).unwrap()
}

fn buckets_of(values: &[f64], schema: i32) -> Vec<(i32, i64)> {
    let mut buckets = std::collections::BTreeMap::new();
    for value in values {
        *buckets.entry(index_of(*value, schema)).or_default() += 1;
    }
    buckets.into_iter().collect()
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    proptest::collection::vec(0.01..50.0, 0..30)
}

fn some_plain() -> impl Strategy<Value = Distribution> {
    let side = || proptest::collection::btree_map(-20..20_i32, 1..9_i64, 0..6);
    (-4..=8_i32, side(), side(), 0.0..1.0_f64, 0..5_u64).prop_map(
        |(schema, negative, positive, threshold, zero)| {
            let [negative, positive] = [negative, positive].map(|side| side.into_iter().collect::<Vec<_>>());
            let (negative, positive) = (negative.as_slice(), positive.as_slice());
            Plain { schema, zero: (threshold, zero), negative, positive, ..Plain::default() }.distribution()
        },
    )
}

proptest! {
    /// What a histogram gained is the histogram of what was observed since, at the later resolution.
    #[test]
    fn growth_is_what_was_observed_since(
        before in values(),
        since in values(),
        schema in -2..=4_i32,
        coarser_by in 0..3_i32,
    ) {
        let later_schema = (schema - coarser_by).max(-4);
        let all: Vec<f64> = before.iter().chain(&since).copied().collect();
        let [earlier, later, gained] = [(&before, schema), (&all, later_schema), (&since, later_schema)]
            .map(|(values, schema)| buckets_of(values, schema));
        let [earlier, later, gained] = [(&earlier, schema), (&later, later_schema), (&gained, later_schema)]
            .map(|(positive, schema)| Plain { schema, positive, ..Plain::default() }.distribution());
        let growth = later.since(&earlier).unwrap();
        prop_assert!(growth.is_same(&gained), "{growth:?}\n{gained:?}");
        prop_assert_eq!(earlier.since(&later).is_some(), since.is_empty() && coarser_by == 0);
    }

    #[test]
    fn the_parts_of_the_line_add_up(distribution in some_plain(), mut cuts in proptest::collection::vec(-9.0..9.0, 0..9)) {
        cuts.sort_by(f64::total_cmp);
        let points: Vec<f64> = [f64::NEG_INFINITY].into_iter().chain(cuts).chain([f64::INFINITY]).collect();
        let parts: Vec<f64> = points.windows(2).map(|pair| distribution.within(pair[0], pair[1])).collect();
        prop_assert!(parts.iter().all(|part| *part >= 0.0), "{parts:?}");
        prop_assert!((parts.iter().sum::<f64>() - distribution.count()).abs() < 1e-9, "{parts:?}");
    }

    /// Between bounds of buckets nothing is estimated.
    #[test]
    fn whole_buckets_count_exactly(observed in values(), schema in -2..=4_i32, from in -20..20_i32, to in -20..20_i32) {
        let buckets = buckets_of(&observed, schema);
        let distribution = Plain { schema, positive: &buckets, ..Plain::default() }.distribution();
        let expected: i64 =
            buckets.iter().filter(|(index, _)| *index > from && *index <= to).map(|(_, count)| count).sum();
        let found = distribution.within(distribution.bound(from), distribution.bound(to));
        prop_assert!((found - expected as f64).abs() < 1e-9, "{found}, not {expected}");
    }

    #[test]
    fn damaged_bytes_never_panic(
        pair in 0..150_usize,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        length in any::<prop::sample::Index>(),
    ) {
        let line = PROMETHEUS.lines().nth(pair).unwrap();
        let hex = line.split('\t').nth(1).unwrap();
        let mut bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes.truncate(length.index(bytes.len() + 1).max(bytes.len() / 2));
        if let Ok(histogram) = Histogram::decode(&bytes)
            && let Some(observed) = histogram.observed()
        {
            prop_assert!(observed.within(0.0, 0.3).is_finite());
            prop_assert!(observed.since(observed).is_some_and(|nothing| nothing.count() == 0.0));
        }
    }

    /// Whatever is sent again changes nothing, and what is counted adds up to what was observed.
    #[test]
    fn increments_add_up(steps in proptest::collection::vec((values(), prop::bool::weighted(0.1)), 1..12)) {
        let mut counter = HistogramCounter::default();
        let (mut so_far, mut truth, mut counted) = (Vec::new(), 0.0, 0.0);
        let mut sent: Vec<(i64, Vec<(i32, i64)>)> = Vec::new();
        for (step, (observed, restart)) in steps.into_iter().enumerate() {
            // A restart that loses nothing cannot be seen.
            if restart && !so_far.is_empty() && observed.len() < so_far.len() {
                so_far.clear();
            }
            truth += if step == 0 { 0.0 } else { observed.len() as f64 };
            so_far.extend(observed);
            sent.push((step as i64 * 15, buckets_of(&so_far, 3)));
            for (second, buckets) in &sent {
                let plain = Plain { schema: 3, positive: buckets, ..Plain::default() };
                let again = Sample { plain, ..sample(*second, &[]) };
                if let HistogramObservation::Increment { growth, .. } = observe(&mut counter, &again, None) {
                    counted += growth.count();
                }
            }
        }
        prop_assert_eq!(counted, truth);
    }
}

#[test]
fn rejections_are_those_of_counters() {
    let mut counter = HistogramCounter::default();
    let first = observe(&mut counter, &sample(15, &[(1, 1)]), None);
    assert!(matches!(first, HistogramObservation::Baseline(Baseline::First)));
    let older = observe(&mut counter, &sample(0, &[(1, 1)]), None);
    assert!(matches!(older, HistogramObservation::Rejected(Rejection::OutOfOrder)));
}
