//! How many observations lie between two values, estimated inside of buckets as Prometheus 3 does in
//! `histogram_fraction`.
//!
//! Inside an exponential bucket observations are taken to spread evenly over the logarithm of their values,
//! inside the zero bucket and those with custom bounds over the values themselves. The zero bucket
//! lies on both sides of zero, unless all other observations have one sign. A first custom bucket begins at
//! zero if its bound is positive. A bucket that ends at infinity counts as lying there.
//!
//! Invariant: [`Distribution::within`] is the difference of two ranks, so that the parts of an interval
//! always add up to it. It allocates nothing.

use super::distribution::{Bucket, Distribution, Scale, Signs, counts};

/// Bounds of a bucket.
#[derive(Clone, Copy)]
struct Bounds {
    lower: f64,
    upper: f64,
}

// Beyond the largest number there are only infinities, which have a bucket of their own.
const OCTAVE_OF_MAX: i64 = 1_024;

// === impl Distribution ===

impl Distribution {
    /// How many observations lie in `(lower, upper]`. Zero if that is empty, or if a bound is NaN.
    pub fn within(&self, lower: f64, upper: f64) -> f64 {
        if lower < upper { (self.rank(upper) - self.rank(lower)).max(0.0) } else { 0.0 }
    }

    /// How many observations lie at or below a value.
    fn rank(&self, value: f64) -> f64 {
        if value == f64::NEG_INFINITY {
            return 0.0;
        }
        let in_buckets = counts(&self.negative) + self.zero.count + counts(&self.positive);
        // Only NaN is counted without a bucket, and only then is the sum NaN.
        let all = if self.sum.is_nan() { in_buckets } else { self.count };
        let below = self.negative_rank(value) + self.zero_rank(value) + self.positive_rank(value);
        if below == in_buckets { all } else { below.min(all) }
    }

    fn negative_rank(&self, value: f64) -> f64 {
        let above = self.negative.partition_point(|bucket| self.negative_bounds(bucket).upper > value);
        let (above, below) = self.negative.split_at(above);
        counts(below)
            + above.last().map_or(0.0, |bucket| self.share(bucket, self.negative_bounds(bucket), value))
    }

    fn positive_rank(&self, value: f64) -> f64 {
        let below = self.positive.partition_point(|bucket| self.positive_bounds(bucket).upper <= value);
        let (below, above) = self.positive.split_at(below);
        counts(below)
            + above.first().map_or(0.0, |bucket| self.share(bucket, self.positive_bounds(bucket), value))
    }

    fn zero_rank(&self, value: f64) -> f64 {
        let threshold = self.zero.threshold;
        let bounds = match self.signs {
            Signs { negative: false, positive: true } => Bounds { lower: 0.0, upper: threshold },
            Signs { negative: true, positive: false } => Bounds { lower: -threshold, upper: 0.0 },
            _ => Bounds { lower: -threshold, upper: threshold },
        };
        if bounds.lower >= value {
            0.0
        } else if bounds.upper <= value {
            self.zero.count
        } else {
            self.zero.count * bounds.linear_fraction(value)
        }
    }

    /// How much of a bucket that does not end below `value` lies at or below it.
    fn share(&self, bucket: &Bucket, bounds: Bounds, value: f64) -> f64 {
        if bounds.lower >= value {
            return 0.0;
        }
        let is_around_zero = bounds.lower <= 0.0 && bounds.upper >= 0.0;
        let fraction = match self.scale {
            Scale::Custom(_) if bounds.lower == f64::NEG_INFINITY => 1.0,
            Scale::Exponential(_) if !is_around_zero => bounds.logarithmic_fraction(value),
            Scale::Custom(_) | Scale::Exponential(_) => bounds.linear_fraction(value),
        };
        // NaN between bounds whose difference is no number.
        if fraction.is_nan() { 0.0 } else { bucket.count * fraction }
    }

    fn positive_bounds(&self, bucket: &Bucket) -> Bounds {
        let mut bounds = Bounds { lower: self.bound_before(bucket.index), upper: self.bound(bucket.index) };
        match self.scale {
            Scale::Exponential(_) if bounds.lower > 0.0 => {
                bounds.lower = bounds.lower.max(self.zero.threshold)
            }
            Scale::Custom(_) if bounds.lower == f64::NEG_INFINITY && bounds.upper > 0.0 => bounds.lower = 0.0,
            Scale::Exponential(_) | Scale::Custom(_) => (),
        }
        bounds
    }

    fn negative_bounds(&self, bucket: &Bucket) -> Bounds {
        let Bounds { lower, upper } = self.positive_bounds(bucket);
        Bounds { lower: -upper, upper: -lower }
    }

    /// The upper bound of the bucket before, which is the lower bound of this one.
    pub(super) fn bound_before(&self, index: i32) -> f64 {
        self.bound_at(i64::from(index) - 1)
    }

    /// The upper bound of a bucket, for a negative one with the sign reversed.
    pub(super) fn bound(&self, index: i32) -> f64 {
        self.bound_at(i64::from(index))
    }

    fn bound_at(&self, index: i64) -> f64 {
        match &self.scale {
            Scale::Exponential(schema) => exponential_bound(index, *schema),
            Scale::Custom(_) if index < 0 => f64::NEG_INFINITY,
            Scale::Custom(bounds) => bounds.get(index as usize).copied().unwrap_or(f64::INFINITY),
        }
    }
}

/// `2^(index / 2^schema)`. Whole powers of two are exact.
fn exponential_bound(index: i64, schema: i8) -> f64 {
    let (octave, fraction) = if schema < 0 {
        (index << -schema, 0.0)
    } else {
        let per_octave = 1_i64 << schema;
        (index >> schema, (index & (per_octave - 1)) as f64 / per_octave as f64)
    };
    if octave == OCTAVE_OF_MAX && fraction == 0.0 {
        return f64::MAX;
    }
    (octave as f64).exp2() * fraction.exp2()
}

// === impl Bounds ===

impl Bounds {
    fn linear_fraction(self, value: f64) -> f64 {
        (value - self.lower) / (self.upper - self.lower)
    }

    fn logarithmic_fraction(self, value: f64) -> f64 {
        let [lower, upper, at] = [self.lower, self.upper, value].map(|bound| bound.abs().log2());
        if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
    }
}
