//! The moments that a query is evaluated at.

use std::time::Duration;

use super::Fault;
use crate::time::{Timestamp, format_duration, millis};

/// Evenly spaced, at least one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) start: Timestamp,
    step_ms: i64,
    count: i64,
}

// As Prometheus: enough for a minute's resolution over a week, or an hour's over a year.
const POINTS_MAX: i64 = 11_000;

// === impl Moments ===

impl Moments {
    pub(super) fn one(at: Timestamp) -> Self {
        Self { start: at, step_ms: 0, count: 1 }
    }

    pub(super) fn new(start: Timestamp, end: Timestamp, step: Duration) -> Result<Self, Fault> {
        if end < start {
            return Err(Fault::parameter("end", "end timestamp must not be before start time"));
        }
        let step_ms = millis(step);
        // Both are bounded, so that nothing overflows.
        let count = (end.0 - start.0) / step_ms + 1;
        if count > POINTS_MAX {
            return Err(Fault::bad_data(format!(
                "{count} points per series, the limit is {POINTS_MAX}; make the step longer than {}",
                format_duration(step)
            )));
        }
        Ok(Self { start, step_ms, count })
    }

    pub(super) fn len(self) -> usize {
        self.count as usize
    }

    pub(super) fn last(self) -> Timestamp {
        Timestamp(self.start.0 + (self.count - 1) * self.step_ms)
    }

    pub(super) fn step(self) -> Duration {
        Duration::from_millis(self.step_ms.unsigned_abs())
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Timestamp> {
        (0..self.count).map(move |number| Timestamp(self.start.0 + number * self.step_ms))
    }

    /// Each of them as much earlier.
    pub(super) fn earlier_by(self, offset: Duration) -> Self {
        Self { start: self.start - offset, ..self }
    }
}
