//! What is made of numbers: sums, variances and quantiles, as Prometheus computes them.

/// A sum that loses nothing to the order of what is added (Neumaier's variant of Kahan's).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    sum: f64,
    lost: f64,
}

/// A bucket of a classic histogram: how many observations were up to a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub(super) bound: f64,
    pub(super) count: f64,
}

// What two counts of buckets may differ by, relatively, and still be taken for the same: Prometheus' figure for
// what rates lose to rounding.
const SAME_COUNT: f64 = 1e-12;

/// The sum of numbers.
pub(super) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sum = Sum::default();
    values.into_iter().for_each(|value| sum.add(value));
    sum.value()
}

/// The smallest of some numbers; NaN only if there is nothing else.
pub(super) fn min(values: impl IntoIterator<Item = f64>) -> f64 {
    // `f64::min` gives the other one beside a NaN.
    values.into_iter().fold(f64::NAN, f64::min)
}

/// The largest of some numbers; NaN only if there is nothing else.
pub(super) fn max(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(f64::NAN, f64::max)
}

/// The variance of all of a population (Welford's way).
pub(super) fn variance(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Sum::default(), Sum::default());
    for value in values {
        count += 1.0;
        let delta = value - mean.value();
        mean.add(delta / count);
        squares.add(delta * (value - mean.value()));
    }
    squares.value() / count
}

/// The `q`-quantile of some numbers, between two of them if need be. NaN sorts below all others.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    values.sort_unstable_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let last = values.len() - 1;
    let rank = q * last as f64;
    let below = rank.floor() as usize;
    let weight = rank - rank.floor();
    if weight == 0.0 {
        return values[below];
    }
    values[below] * (1.0 - weight) + values[(below + 1).min(last)] * weight
}

/// The `q`-quantile of what a classic histogram observed, taken to lie evenly in each bucket.
pub(super) fn histogram_quantile(q: f64, mut buckets: Vec<Bucket>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    merge_same_bounds(&mut buckets);
    force_monotonic(&mut buckets);
    match buckets.as_slice() {
        [.., below, last] if last.bound == f64::INFINITY && last.count != 0.0 => {
            let rank = q * last.count;
            let reached = buckets.partition_point(|bucket| bucket.count < rank);
            if reached >= buckets.len() - 1 { below.bound } else { within(&buckets, reached, rank) }
        }
        _ => f64::NAN,
    }
}

/// Where a rank lies in the bucket that reaches it, which is not the last.
fn within(buckets: &[Bucket], reached: usize, rank: f64) -> f64 {
    let bucket = buckets[reached];
    let start = match reached.checked_sub(1) {
        Some(below) => buckets[below],
        None if bucket.bound <= 0.0 => return bucket.bound,
        None => Bucket { bound: 0.0, count: 0.0 },
    };
    start.bound + (bucket.bound - start.bound) * ((rank - start.count) / (bucket.count - start.count))
}

fn merge_same_bounds(buckets: &mut Vec<Bucket>) {
    buckets.dedup_by(|next, bucket| {
        let is_same = next.bound == bucket.bound;
        if is_same {
            bucket.count += next.count;
        }
        is_same
    });
}

/// Takes back what a bucket seems to have less than the one below it, and what is rounding only.
fn force_monotonic(buckets: &mut [Bucket]) {
    let Some(first) = buckets.first() else { return };
    let mut below = first.count;
    for bucket in buckets {
        let scale = below.abs() + bucket.count.abs();
        if bucket.count < below || (bucket.count - below).abs() / scale.min(f64::MAX) < SAME_COUNT {
            bucket.count = below;
        }
        below = bucket.count;
    }
}

// === impl Sum ===

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        if sum.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - sum) + value;
        } else {
            self.lost += (value - sum) + self.sum;
        }
        self.sum = sum;
    }

    pub(super) fn value(self) -> f64 {
        self.sum + self.lost
    }
}
