//! A series of native histograms as plain data, which outlives the process.
//!
//! Knows nothing of how it is kept. The invariant: a counter made of a state goes on exactly as the one that the
//! state was taken of, and its histogram makes as much sense as one that was decoded.

use std::sync::Arc;

use super::{
    HistogramError,
    counter::{HistogramCounter, Last},
    decode::{BUCKETS_MAX, check_bounds, check_size, check_threshold, invalid},
    distribution::{Bucket, Distribution, SCHEMA_MAX, SCHEMA_MIN, Scale, Zero},
};
use crate::{counter::COUNT_MAX, time::Timestamp};

/// What is remembered of a series of native histograms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HistogramState {
    /// The last accepted sample.
    pub last: Option<HistogramSampleState>,
    /// The newest staleness marker.
    pub ended_at: Option<Timestamp>,
}

/// An accepted sample.
#[derive(Clone, Debug, PartialEq)]
pub struct HistogramSampleState {
    /// Its time.
    pub at: Timestamp,
    /// When the series began to count, if the sender said so.
    pub started_at: Option<Timestamp>,
    /// The schema as it was sent; what is kept may be coarser. `None` with custom bounds and of a gauge.
    pub sent_schema: Option<i8>,
    /// What was observed; `None` of a gauge.
    pub observed: Option<DistributionState>,
}

/// Observations by value.
#[derive(Clone, Debug, PartialEq)]
pub struct DistributionState {
    /// How many.
    pub count: f64,
    /// Their sum.
    pub sum: f64,
    /// Where the bounds of buckets are.
    pub scale: ScaleState,
    /// How far from zero the bucket around it reaches.
    pub zero_threshold: f64,
    /// What that counts.
    pub zero_count: f64,
    /// Index and count of the populated buckets below zero; indexes ascend.
    pub negative: Vec<(i32, f64)>,
    /// Those above zero, or with custom bounds all.
    pub positive: Vec<(i32, f64)>,
}

/// Where the bounds of buckets are.
#[derive(Clone, Debug, PartialEq)]
pub enum ScaleState {
    /// At the powers of `2^2^-schema`.
    Exponential(i8),
    /// The upper bounds of all buckets but the last.
    Custom(Vec<f64>),
}

// === impl HistogramCounter ===

impl HistogramCounter {
    /// What is remembered.
    pub fn state(&self) -> HistogramState {
        HistogramState { last: self.last.as_ref().map(Last::state), ended_at: self.ended_at }
    }

    /// The counter that a state was taken of.
    ///
    /// # Errors
    /// When no samples lead to such a state.
    pub fn from_state(state: HistogramState) -> Result<Self, HistogramError> {
        let HistogramState { last, ended_at } = state;
        Ok(Self { last: last.map(Last::from_state).transpose()?, ended_at })
    }
}

// === impl Last ===

impl Last {
    fn state(&self) -> HistogramSampleState {
        let Self { at, started_at, sent_schema, ref observed } = *self;
        let observed = observed.as_ref().map(Distribution::state);
        HistogramSampleState { at, started_at, sent_schema, observed }
    }

    fn from_state(state: HistogramSampleState) -> Result<Self, HistogramError> {
        let HistogramSampleState { at, started_at, sent_schema, observed } = state;
        if let Some(started_at) = started_at.filter(|started_at| *started_at >= at) {
            return invalid(format!("it started at {started_at}, not before its last sample at {at}"));
        }
        let observed = observed.map(Distribution::from_state).transpose()?;
        let kept_schema = observed.as_ref().and_then(Distribution::schema);
        // What is kept may be coarser than what was sent, never finer.
        if kept_schema.is_some() != sent_schema.is_some() || kept_schema > sent_schema {
            return invalid("buckets are kept in a finer scale, or another, than was sent".to_owned());
        }
        sent_schema.map_or(Ok(()), check_schema)?;
        Ok(Self { at, started_at, sent_schema, observed })
    }
}

// === impl Distribution ===

impl Distribution {
    fn state(&self) -> DistributionState {
        let pairs = |buckets: &[Bucket]| buckets.iter().map(|bucket| (bucket.index, bucket.count)).collect();
        DistributionState {
            count: self.count,
            sum: self.sum,
            scale: match &self.scale {
                Scale::Exponential(schema) => ScaleState::Exponential(*schema),
                Scale::Custom(bounds) => ScaleState::Custom(bounds.to_vec()),
            },
            zero_threshold: self.zero.threshold,
            zero_count: self.zero.count,
            negative: pairs(&self.negative),
            positive: pairs(&self.positive),
        }
    }

    fn from_state(state: DistributionState) -> Result<Self, HistogramError> {
        let DistributionState { count, sum, scale, zero_threshold, zero_count, negative, positive } = state;
        if !((0.0..=COUNT_MAX).contains(&count) && zero_count.is_finite() && zero_count >= 0.0) {
            return invalid(format!("it counts {count}, and {zero_count} of them around zero"));
        }
        check_threshold(zero_threshold)?;
        check_size("buckets", negative.len() + positive.len(), BUCKETS_MAX)?;
        let (negative, positive) = (buckets(negative)?, buckets(positive)?);
        let zero = Zero { threshold: zero_threshold, count: zero_count };
        let scale = match scale {
            ScaleState::Exponential(schema) => {
                check_schema(schema)?;
                Scale::Exponential(schema)
            }
            ScaleState::Custom(bounds) => {
                let has_zero = zero_count != 0.0 || zero_threshold != 0.0 || !negative.is_empty();
                check_bounds(&bounds, &positive, has_zero)?;
                Scale::Custom(Arc::from(bounds))
            }
        };
        Ok(Self::new(count, sum, scale, zero, negative, positive))
    }
}

fn buckets(pairs: Vec<(i32, f64)>) -> Result<Vec<Bucket>, HistogramError> {
    let ascend = |pair: &[(i32, f64)]| pair[0].0 < pair[1].0;
    // The lower bound of a bucket is the upper bound of the index before.
    if !pairs.windows(2).all(ascend) || pairs.first().is_some_and(|(index, _)| *index == i32::MIN) {
        return invalid("indexes of buckets must ascend, and have bounds".to_owned());
    }
    if let Some((_, count)) = pairs.iter().find(|(_, count)| !(count.is_finite() && *count > 0.0)) {
        return invalid(format!("a populated bucket counts {count}"));
    }
    Ok(pairs.into_iter().map(|(index, count)| Bucket { index, count }).collect())
}

fn check_schema(schema: i8) -> Result<(), HistogramError> {
    if (SCHEMA_MIN..=SCHEMA_MAX).contains(&schema) {
        return Ok(());
    }
    invalid(format!("schema {schema} is not kept; {SCHEMA_MIN} to {SCHEMA_MAX} are"))
}

#[cfg(test)]
mod tests;
