//! Functions of what one series had in a span of time.

use super::{OverTime, Sample, statistics};
use crate::time::{Timestamp, millis};
use std::time::Duration;

/// A span of time, open to the left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) end: Timestamp,
    pub(super) range: Duration,
}

// A series is taken to reach the edge of a span if that is not further away than its samples are from each
// other, and a tenth.
const EDGE_TOLERANCE: f64 = 1.1;

/// The value of a function for samples in a span, of which none is a staleness marker. `None` where they are too few.
pub(super) fn apply(function: OverTime, samples: &[Sample], window: Window) -> Option<f64> {
    let last = samples.last()?;
    let values = || samples.iter().map(|sample| sample.value);
    Some(match function {
        OverTime::Rate => extrapolated(samples, window, true)? / window.range.as_secs_f64(),
        OverTime::Increase => extrapolated(samples, window, true)?,
        OverTime::Delta => extrapolated(samples, window, false)?,
        OverTime::Irate => instant_rate(samples)?,
        OverTime::Idelta => last_two(samples)?.1.value - last_two(samples)?.0.value,
        OverTime::Deriv => slope(samples)?,
        OverTime::Resets => pairs(samples).filter(|(before, after)| after < before).count() as f64,
        OverTime::Changes => {
            pairs(samples).filter(|(before, after)| is_change(*before, *after)).count() as f64
        }
        OverTime::Sum => statistics::sum(values()),
        OverTime::Avg => statistics::sum(values()) / samples.len() as f64,
        OverTime::Min => statistics::min(values()),
        OverTime::Max => statistics::max(values()),
        OverTime::Count => samples.len() as f64,
        OverTime::Last => last.value,
        OverTime::Present => 1.0,
        // Answered where it is seen that there are no samples.
        OverTime::Absent => return None,
        OverTime::Stddev => statistics::variance(values()).sqrt(),
        OverTime::Stdvar => statistics::variance(values()),
    })
}

/// The growth over all of the span, of which samples show the most.
fn extrapolated(samples: &[Sample], window: Window, is_counter: bool) -> Option<f64> {
    let (first, last) = (samples.first()?, samples.last()?);
    let intervals = samples.len().checked_sub(1).filter(|intervals| *intervals > 0)?;
    let resets = pairs(samples).filter(|(before, after)| is_counter && after < before);
    let growth = last.value - first.value + resets.map(|(before, _)| before).sum::<f64>();
    let shown = seconds(first.at, last.at);
    let interval = shown / intervals as f64;
    let reach = |distance: f64| if distance >= interval * EDGE_TOLERANCE { interval / 2.0 } else { distance };
    let mut before = reach(seconds(window.end - window.range, first.at));
    let after = reach(seconds(last.at, window.end));
    if is_counter && growth > 0.0 && first.value >= 0.0 {
        // A counter cannot have been below zero.
        before = before.min(shown * (first.value / growth));
    }
    Some(growth * ((shown + before + after) / shown))
}

fn instant_rate(samples: &[Sample]) -> Option<f64> {
    let (before, after) = last_two(samples)?;
    let growth = if after.value < before.value { after.value } else { after.value - before.value };
    Some(growth / seconds(before.at, after.at))
}

fn last_two(samples: &[Sample]) -> Option<(Sample, Sample)> {
    match samples {
        [.., before, after] => Some((*before, *after)),
        _ => None,
    }
}

/// The slope of the straight line that fits best.
fn slope(samples: &[Sample]) -> Option<f64> {
    let (first, _) = (samples.first()?, samples.get(1)?);
    if samples.iter().all(|sample| sample.value == first.value) {
        return Some(if first.value.is_infinite() { f64::NAN } else { 0.0 });
    }
    let count = samples.len() as f64;
    let points = || samples.iter().map(|sample| (seconds(first.at, sample.at), sample.value));
    let sum_x = statistics::sum(points().map(|(x, _)| x));
    let sum_y = statistics::sum(points().map(|(_, y)| y));
    let covariance = statistics::sum(points().map(|(x, y)| x * y)) - sum_x * sum_y / count;
    let variance = statistics::sum(points().map(|(x, _)| x * x)) - sum_x * sum_x / count;
    Some(covariance / variance)
}

fn pairs(samples: &[Sample]) -> impl Iterator<Item = (f64, f64)> {
    samples.windows(2).map(|pair| (pair[0].value, pair[1].value))
}

fn is_change(before: f64, after: f64) -> bool {
    before != after && !(before.is_nan() && after.is_nan())
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.0.saturating_sub(from.0) as f64 / 1_000.0
}

// === impl Window ===

impl Window {
    /// The part of some samples, which are in the order of time, that lies in it.
    pub(super) fn of<'a>(&self, samples: &'a [Sample]) -> &'a [Sample] {
        let start = self.end - self.range;
        let from = samples.partition_point(|sample| sample.at <= start);
        let to = samples.partition_point(|sample| sample.at <= self.end);
        &samples[from.min(to)..to]
    }

    /// The multiples of a step in it, in the order of time.
    pub(super) fn steps(self, step: Duration) -> impl Iterator<Item = Timestamp> {
        let (start, step_ms) = (self.end - self.range, millis(step).max(1));
        let first = start.floor(step) + step;
        (first.0..=self.end.0).step_by(step_ms as usize).map(Timestamp)
    }
}
