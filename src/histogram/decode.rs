//! From protobuf to a histogram that makes sense.
//!
//! A `Histogram` has the same field numbers in remote-write 1.0 and 2.0, but for the start timestamp, which
//! 1.0 does not have. It is checked as Prometheus' receiver does (`Validate` in its `model/histogram`) and a
//! little more: counts that are not finite are refused, too.
//!
//! Invariant: nothing is allocated for what a message only declares. Spans are a few bytes that may stand
//! for billions of buckets; they are compared with the buckets that are really there first.

use std::sync::Arc;

use prost::Message;

use super::{
    Content, Histogram,
    distribution::{Bucket, Distribution, SCHEMA_MAX, SCHEMA_MIN, Scale, Zero},
};
use crate::{
    counter::is_stale_marker,
    prompb::generated::v2::{
        self, BucketSpan,
        histogram::{Count, ResetHint, ZeroCount},
    },
    time::Timestamp,
};

/// Why a message is no histogram. Always the sender's fault: repeating it is vain.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// Not protobuf, or not of this schema.
    #[error("cannot decode histogram: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// More than any histogram needs.
    #[error("histogram has {found} {what}, the limit is {limit}; reduce its resolution")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much of it there is.
        found: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// A histogram that contradicts itself.
    #[error("histogram makes no sense: {0}")]
    Invalid(String),
}

// Schema 8, the finest, has 256 buckets between a number and its double: 10,000 are 39 doublings, from a
// microsecond to six days. Usual limits of scrapers and clients are 160 to 200.
pub(super) const BUCKETS_MAX: usize = 10_000;

// 10,000 buckets, each with a bound of its own (8 bytes), its largest count (10) and a span for itself (14).
const MESSAGE_BYTES_MAX: usize = BUCKETS_MAX * 32;

// The schemas that the format reserves. What is finer than is supported is reduced, as Prometheus does.
const SCHEMA_RESERVED_MAX: i32 = 52;
const SCHEMA_CUSTOM: i32 = -53;

// === impl Histogram ===

impl Histogram {
    /// Reads one `Histogram` message of a remote-write request, 1.0 or 2.0.
    ///
    /// # Errors
    /// When it is no such message, contradicts itself, or has more than 10,000 buckets.
    pub fn decode(message: &[u8]) -> Result<Self, HistogramError> {
        check_size("bytes", message.len(), MESSAGE_BYTES_MAX)?;
        let message = v2::Histogram::decode(message)?;
        let content = if is_stale_marker(message.sum) {
            Content::StaleMarker
        } else {
            content(distribution(&message)?, message.reset_hint())
        };
        let started_at = Some(Timestamp(message.start_timestamp)).filter(|start| start.0 != 0);
        Ok(Self { at: Timestamp(message.timestamp), started_at, content })
    }
}

// That there was no reset is not believed: it is said of the sample before, which may have been lost.
fn content(observed: Distribution, hint: ResetHint) -> Content {
    match hint {
        ResetHint::Gauge => Content::Gauge,
        ResetHint::Yes => Content::Counter { observed, is_reset: true },
        ResetHint::No | ResetHint::Unspecified => Content::Counter { observed, is_reset: false },
    }
}

/// The counts of a message, absolute.
struct Counts {
    count: f64,
    zero: f64,
    negative: Vec<f64>,
    positive: Vec<f64>,
}

fn distribution(message: &v2::Histogram) -> Result<Distribution, HistogramError> {
    let Counts { count, zero, negative, positive } = match message.count {
        Some(Count::CountFloat(count)) => float_counts(message, count)?,
        Some(Count::CountInt(count)) => int_counts(message, count)?,
        None => int_counts(message, 0)?,
    };
    check_size("buckets", negative.len() + positive.len(), BUCKETS_MAX)?;
    let positive = buckets("positive", &message.positive_spans, &positive)?;
    let negative = buckets("negative", &message.negative_spans, &negative)?;
    let zero = Zero { threshold: message.zero_threshold, count: zero };
    let sum = message.sum;
    match message.schema {
        SCHEMA_CUSTOM => {
            check_custom(message, &positive)?;
            let bounds = Arc::from(message.custom_values.as_slice());
            Ok(Distribution::new(count, sum, Scale::Custom(bounds), zero, negative, positive))
        }
        schema => {
            let schema = check_exponential(message, schema)?;
            let scale = Scale::Exponential(schema);
            Ok(Distribution::new(count, sum, scale, zero, negative, positive).coarsened(SCHEMA_MAX))
        }
    }
}

// === counts ===

fn float_counts(message: &v2::Histogram, count: f64) -> Result<Counts, HistogramError> {
    let zero = match message.zero_count {
        Some(ZeroCount::ZeroCountFloat(zero)) => zero,
        _ => 0.0,
    };
    let (negative, positive) = (message.negative_counts.clone(), message.positive_counts.clone());
    let is_count = |count: &&f64| count.is_finite() && **count >= 0.0;
    if let Some(wrong) =
        negative.iter().chain(&positive).chain([&count, &zero]).find(|count| !is_count(count))
    {
        return invalid(format!("a count is {wrong}; it must be finite and not negative"));
    }
    Ok(Counts { count, zero, negative, positive })
}

fn int_counts(message: &v2::Histogram, count: u64) -> Result<Counts, HistogramError> {
    let zero = match message.zero_count {
        Some(ZeroCount::ZeroCountInt(zero)) => zero,
        _ => 0,
    };
    let negative = absolute(&message.negative_deltas)?;
    let positive = absolute(&message.positive_deltas)?;
    // Wide enough for 2^64 buckets.
    let in_buckets = negative.iter().chain(&positive).chain([&zero]).map(|count| u128::from(*count)).sum();
    check_total(count, in_buckets, message.sum)?;
    let floats = |counts: Vec<u64>| counts.into_iter().map(|count| count as f64).collect();
    Ok(Counts {
        count: count as f64,
        zero: zero as f64,
        negative: floats(negative),
        positive: floats(positive),
    })
}

/// Every count is written as the difference to the one before.
fn absolute(deltas: &[i64]) -> Result<Vec<u64>, HistogramError> {
    let mut count: i64 = 0;
    let mut next = |delta: &i64| {
        count = count.checked_add(*delta)?;
        u64::try_from(count).ok()
    };
    match deltas.iter().map(&mut next).collect() {
        Some(counts) => Ok(counts),
        None => invalid("deltas of buckets lead to a negative count".to_owned()),
    }
}

/// An observation that is NaN is in the sum and in no bucket.
fn check_total(count: u64, in_buckets: u128, sum: f64) -> Result<(), HistogramError> {
    let fits = if sum.is_nan() { in_buckets <= count.into() } else { in_buckets == count.into() };
    if fits {
        return Ok(());
    }
    invalid(format!("{in_buckets} observations are in buckets, but its count is {count}"))
}

// === buckets ===

/// The populated buckets of one side.
fn buckets(side: &str, spans: &[BucketSpan], counts: &[f64]) -> Result<Vec<Bucket>, HistogramError> {
    let declared: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
    if declared != counts.len() as u64 {
        let found = counts.len();
        return invalid(format!("{side} spans need {declared} buckets, there are {found}"));
    }
    // They are kept with the series: no room for empty ones.
    let mut buckets = Vec::with_capacity(counts.iter().filter(|count| **count > 0.0).count());
    let mut counts = counts.iter();
    let mut next: i64 = 0;
    for (nth, span) in spans.iter().enumerate() {
        if nth > 0 && span.offset < 0 {
            return invalid(format!("{side} span {nth} has the negative offset {}", span.offset));
        }
        next += i64::from(span.offset);
        for count in counts.by_ref().take(span.length as usize) {
            let index = index(side, next)?;
            if *count > 0.0 {
                buckets.push(Bucket { index, count: *count });
            }
            next += 1;
        }
    }
    Ok(buckets)
}

/// The lower bound of a bucket is the upper bound of the index before.
fn index(side: &str, index: i64) -> Result<i32, HistogramError> {
    match i32::try_from(index) {
        Ok(index) if index > i32::MIN => Ok(index),
        _ => invalid(format!("index {index} of a {side} bucket has no bounds")),
    }
}

fn check_exponential(message: &v2::Histogram, schema: i32) -> Result<i8, HistogramError> {
    let known = i32::from(SCHEMA_MIN)..=SCHEMA_RESERVED_MAX;
    let Some(schema) = i8::try_from(schema).ok().filter(|_| known.contains(&schema)) else {
        let (first, last) = known.into_inner();
        return invalid(format!("schema {schema} is not known; {SCHEMA_CUSTOM} and {first} to {last} are"));
    };
    if !message.custom_values.is_empty() {
        return invalid(format!("schema {schema} must not have custom bounds"));
    }
    check_threshold(message.zero_threshold)?;
    Ok(schema)
}

pub(super) fn check_threshold(threshold: f64) -> Result<(), HistogramError> {
    if threshold.is_finite() && threshold >= 0.0 {
        return Ok(());
    }
    invalid(format!("zero threshold is {threshold}; it must be finite and not negative"))
}

fn check_custom(message: &v2::Histogram, positive: &[Bucket]) -> Result<(), HistogramError> {
    let has_zero_count = !matches!(
        message.zero_count,
        None | Some(ZeroCount::ZeroCountInt(0) | ZeroCount::ZeroCountFloat(0.0))
    );
    let has_others = has_zero_count || message.zero_threshold != 0.0 || !message.negative_spans.is_empty();
    check_bounds(&message.custom_values, positive, has_others)
}

/// Whether custom bounds make sense; `has_others` of buckets that custom bounds do not have.
pub(super) fn check_bounds(
    bounds: &[f64],
    positive: &[Bucket],
    has_others: bool,
) -> Result<(), HistogramError> {
    check_size("custom bounds", bounds.len(), BUCKETS_MAX)?;
    let ascend = |pair: &[f64]| pair[0] < pair[1];
    let has_nan = bounds.iter().any(|bound| bound.is_nan());
    if has_nan || !bounds.windows(2).all(ascend) || bounds.last() == Some(&f64::INFINITY) {
        return invalid("custom bounds must ascend, and end before +Inf".to_owned());
    }
    // One more than the bounds: the last bucket ends at infinity.
    let has_bounds = |bucket: &Bucket| usize::try_from(bucket.index).is_ok_and(|index| index <= bounds.len());
    if let Some(Bucket { index, .. }) = positive.iter().find(|bucket| !has_bounds(bucket)) {
        return invalid(format!("bucket {index} lies outside of the {} custom bounds", bounds.len()));
    }
    if has_others {
        return invalid("with custom bounds there is neither a zero bucket nor a negative one".to_owned());
    }
    Ok(())
}

pub(super) fn check_size(what: &'static str, found: usize, limit: usize) -> Result<(), HistogramError> {
    if found > limit { Err(HistogramError::TooLarge { what, found, limit }) } else { Ok(()) }
}

pub(super) fn invalid<T>(reason: String) -> Result<T, HistogramError> {
    Err(HistogramError::Invalid(reason))
}
