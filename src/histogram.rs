//! Native histograms: from the samples of one series to what was observed between them.
//!
//! [`Histogram::decode`] reads one message of a write request, [`HistogramCounter`] finds what a sample adds to
//! the one before, and [`Distribution`] answers how many of these observations lie between two values:
//!
//! ```text
//! message ─decode─▶ Histogram ─observe─▶ Distribution (the growth) ─count, sum, within─▶ events
//! ```
//!
//! Observations are counted in buckets whose bounds grow exponentially (schemas -4 to 8), or lie where the
//! client put them (schema -53). Buckets of different resolution meet in the coarser one. What lies inside a
//! bucket is estimated as Prometheus 3 does in `histogram_fraction`, so that both give the same number.
//!
//! This module does not know labels, SLOs or windows, and reads no clock.
//!
//! Invariant: a decoded histogram makes sense. No count is negative or not finite, indexes ascend, and every
//! bucket has its bounds.

mod counter;
mod decode;
mod distribution;
mod interpolation;
mod state;

pub use counter::{HistogramCounter, HistogramObservation, HistogramReading};
pub use decode::HistogramError;
pub use distribution::Distribution;
pub use state::{DistributionState, HistogramSampleState, HistogramState, ScaleState};

use crate::time::Timestamp;

/// A sample of a series of native histograms: all that was observed since the series began.
#[derive(Clone, Debug)]
pub struct Histogram {
    at: Timestamp,
    started_at: Option<Timestamp>,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    /// The series ended.
    StaleMarker,
    /// What goes up and down, such as the present ages of all jobs in a queue.
    Gauge,
    /// What was observed.
    Counter {
        observed: Distribution,
        /// The sender says that the series started over.
        is_reset: bool,
    },
}

// === impl Histogram ===

impl Histogram {
    /// The time of the sample.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// When the series began to count, if the sender knows.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    /// Says when the series began, if that is not known.
    #[must_use]
    pub fn or_started_at(self, started_at: Timestamp) -> Self {
        Self { started_at: self.started_at.or(Some(started_at)), ..self }
    }

    /// Whether it says that the series ended, and nothing else.
    pub fn is_stale_marker(&self) -> bool {
        matches!(self.content, Content::StaleMarker)
    }

    /// Whether it is a gauge, whose growth means nothing.
    pub fn is_gauge(&self) -> bool {
        matches!(self.content, Content::Gauge)
    }

    /// What was observed since the series began; `None` for what is no counter.
    pub fn observed(&self) -> Option<&Distribution> {
        match &self.content {
            Content::Counter { observed, .. } => Some(observed),
            Content::StaleMarker | Content::Gauge => None,
        }
    }
}

#[cfg(test)]
mod tests;
