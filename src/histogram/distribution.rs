//! Observations by value: what a histogram holds at a moment, or what it gained between two.
//!
//! Only populated buckets are kept, by index, in absolute counts. With an exponential scale the bucket `i`
//! of schema `s` counts what lies in `(2^((i-1)/2^s), 2^(i/2^s)]`, its negative mirror in
//! `[-2^(i/2^s), -2^((i-1)/2^s))`, and what is closer to zero than a threshold has a bucket of its own.

use std::{borrow::Cow, sync::Arc};

/// How many observations there were, their sum, and how they spread over values.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub(super) count: f64,
    pub(super) sum: f64,
    pub(super) scale: Scale,
    pub(super) zero: Zero,
    /// Ascending indexes: away from zero.
    pub(super) negative: Vec<Bucket>,
    pub(super) positive: Vec<Bucket>,
    pub(super) signs: Signs,
}

/// Where the bounds of buckets are.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Scale {
    /// At the powers of `2^2^-schema`.
    Exponential(i8),
    /// The upper bounds of all buckets but the last, which ends at infinity.
    Custom(Arc<[f64]>),
}

/// The bucket around zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Zero {
    /// It counts what is no further from zero.
    pub(super) threshold: f64,
    pub(super) count: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) index: i32,
    pub(super) count: f64,
}

/// The signs of what the series ever observed since it began. Who never observed anything negative has
/// nothing negative around zero either.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Signs {
    pub(super) negative: bool,
    pub(super) positive: bool,
}

/// The coarsest exponential schema, with bounds at the powers of 2^16.
pub(super) const SCHEMA_MIN: i8 = -4;

/// The finest one that is supported, with 256 bounds up to the double. Prometheus has the same.
pub(super) const SCHEMA_MAX: i8 = 8;

// === impl Distribution ===

impl Distribution {
    pub(super) fn new(
        count: f64,
        sum: f64,
        scale: Scale,
        zero: Zero,
        negative: Vec<Bucket>,
        positive: Vec<Bucket>,
    ) -> Self {
        let signs = Signs { negative: !negative.is_empty(), positive: !positive.is_empty() };
        Self { count, sum, scale, zero, negative, positive, signs }
    }

    /// How many observations there were, those of NaN included.
    pub fn count(&self) -> f64 {
        self.count
    }

    /// The sum of the observations. Not finite once one of them was not.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// Whether nobody could tell the two apart. NaN equals itself here.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.count, self.sum.to_bits()) == (other.count, other.sum.to_bits())
            && (&self.scale, self.zero) == (&other.scale, other.zero)
            && (&self.negative, &self.positive) == (&other.negative, &other.positive)
    }

    /// The exponential schema, if it has one.
    pub(super) fn schema(&self) -> Option<i8> {
        match self.scale {
            Scale::Exponential(schema) => Some(schema),
            Scale::Custom(_) => None,
        }
    }

    /// What was observed since `earlier`. `None` if it does not continue `earlier` because observations are
    /// missing, or because its resolution rose, which no client does without starting over.
    ///
    /// The rules are Prometheus' (`DetectReset` in its `model/histogram`); a smaller sum means nothing.
    pub(super) fn since(&self, earlier: &Self) -> Option<Self> {
        let (now, earlier) = alike(self, earlier)?;
        Some(Self {
            count: growth(now.count, earlier.count)?,
            sum: now.sum - earlier.sum,
            scale: now.scale.clone(),
            zero: Zero { count: growth(now.zero.count, earlier.zero.count)?, ..now.zero },
            negative: grown(&now.negative, &earlier.negative)?,
            positive: grown(&now.positive, &earlier.positive)?,
            signs: self.signs,
        })
    }

    /// Merges buckets until the schema is at most this one. Custom bounds stay.
    pub(super) fn coarsened(mut self, schema_max: i8) -> Self {
        let Scale::Exponential(schema) = self.scale else { return self };
        if schema <= schema_max {
            return self;
        }
        let by = schema.abs_diff(schema_max).min(i32::BITS as u8 - 1);
        // Wide: the last index before the least one is of 33 bits.
        let merged = |index: i32| (((i64::from(index) - 1) >> by) + 1) as i32;
        self.scale = Scale::Exponential(schema_max);
        self.negative = mapped(&self.negative, merged);
        self.positive = mapped(&self.positive, merged);
        self
    }

    /// Merges buckets until there are at most so many, as far as exponential schemas go.
    pub(super) fn limited(mut self, buckets_max: usize) -> Self {
        while let Some(schema) = self.schema().filter(|schema| *schema > SCHEMA_MIN)
            && self.negative.len() + self.positive.len() > buckets_max
        {
            self = self.coarsened(schema - 1);
        }
        self
    }

    /// Uses the other's bounds if they are the same, so that one copy of them lasts for a series' life.
    pub(super) fn share_bounds(&mut self, other: &Self) {
        if self.scale == other.scale {
            self.scale = other.scale.clone();
        }
    }

    /// With a zero bucket up to `threshold`; `None` if it would cut a bucket, or shrink.
    fn with_zero_threshold(&self, threshold: f64) -> Option<Cow<'_, Self>> {
        if threshold == self.zero.threshold {
            return Some(Cow::Borrowed(self));
        }
        let swallowed = |buckets: &[Bucket]| buckets.partition_point(|b| self.bound(b.index) <= threshold);
        let is_cut = |rest: &[Bucket]| rest.first().is_some_and(|b| self.bound_before(b.index) < threshold);
        let (from_negative, negative) = self.negative.split_at(swallowed(&self.negative));
        let (from_positive, positive) = self.positive.split_at(swallowed(&self.positive));
        if threshold < self.zero.threshold || is_cut(negative) || is_cut(positive) {
            return None;
        }
        let count = self.zero.count + counts(from_negative) + counts(from_positive);
        let (negative, positive) = (negative.to_vec(), positive.to_vec());
        Some(Cow::Owned(Self { zero: Zero { threshold, count }, negative, positive, ..self.clone() }))
    }

    /// With a part of its custom bounds.
    fn with_bounds(&self, own: &[f64], bounds: &Arc<[f64]>) -> Self {
        let at = |index: i32| match usize::try_from(index).ok().and_then(|index| own.get(index)) {
            Some(upper) => bounds.partition_point(|bound| bound < upper) as i32,
            None => bounds.len() as i32,
        };
        let positive = mapped(&self.positive, at);
        Self { scale: Scale::Custom(Arc::clone(bounds)), positive, ..self.clone() }
    }
}

/// Both with the same buckets; `None` if the later one cannot come from the same counter.
fn alike<'d>(
    now: &'d Distribution,
    earlier: &'d Distribution,
) -> Option<(Cow<'d, Distribution>, Cow<'d, Distribution>)> {
    match (&now.scale, &earlier.scale) {
        (Scale::Exponential(schema), Scale::Exponential(earlier_schema)) => {
            if schema > earlier_schema {
                return None;
            }
            let mut earlier = earlier.with_zero_threshold(now.zero.threshold)?;
            if schema < earlier_schema {
                earlier = Cow::Owned(earlier.into_owned().coarsened(*schema));
            }
            Some((Cow::Borrowed(now), earlier))
        }
        (Scale::Custom(bounds), Scale::Custom(earlier_bounds)) if bounds == earlier_bounds => {
            Some((Cow::Borrowed(now), Cow::Borrowed(earlier)))
        }
        (Scale::Custom(bounds), Scale::Custom(earlier_bounds)) => {
            let common = common_bounds(bounds, earlier_bounds);
            let now = now.with_bounds(bounds, &common);
            Some((Cow::Owned(now), Cow::Owned(earlier.with_bounds(earlier_bounds, &common))))
        }
        _ => None,
    }
}

/// The bounds that both have, as they ascend.
fn common_bounds(one: &[f64], other: &[f64]) -> Arc<[f64]> {
    let is_common = |bound: &&f64| other.binary_search_by(|b| b.total_cmp(bound)).is_ok();
    one.iter().filter(is_common).copied().collect()
}

/// Gives buckets new indexes, which ascend as the old ones do, and merges what comes to the same.
fn mapped(buckets: &[Bucket], index: impl Fn(i32) -> i32) -> Vec<Bucket> {
    let mut merged: Vec<Bucket> = Vec::with_capacity(buckets.len());
    for bucket in buckets {
        let index = index(bucket.index);
        match merged.last_mut() {
            Some(last) if last.index == index => last.count += bucket.count,
            _ => merged.push(Bucket { index, ..*bucket }),
        }
    }
    merged
}

/// By how much each bucket grew; `None` if one shrank or is missing.
fn grown(now: &[Bucket], earlier: &[Bucket]) -> Option<Vec<Bucket>> {
    let mut earlier = earlier.iter().peekable();
    let mut grown = Vec::with_capacity(now.len());
    for &Bucket { index, count } in now {
        let before = earlier.next_if(|bucket| bucket.index == index).map_or(0.0, |bucket| bucket.count);
        let count = growth(count, before)?;
        if count > 0.0 {
            grown.push(Bucket { index, count });
        }
    }
    // What is left in front or behind is missing.
    earlier.next().is_none().then_some(grown)
}

fn growth(now: f64, earlier: f64) -> Option<f64> {
    (now >= earlier).then_some(now - earlier)
}

pub(super) fn counts(buckets: &[Bucket]) -> f64 {
    buckets.iter().map(|bucket| bucket.count).sum()
}
