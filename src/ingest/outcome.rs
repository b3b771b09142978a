//! What becomes of samples: each has one outcome, and each outcome is counted by name.

use super::{Refusal, WriteStats};
use crate::{
    counter::{Baseline, Growth, Observation, Rejection},
    histogram::HistogramObservation,
};

/// What became of a sample: the label `outcome` of `slod_ingest_samples_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Increment,
    Reset,
    Restart,
    Started,
    Born,
    Skew,
    Baseline,
    Zero,
    Gap,
    Sample,
    StaleMarker,
    Duplicate,
    Conflict,
    OutOfOrder,
    NotFinite,
    Negative,
    TooLarge,
    TooOld,
    Unselected,
    Deduplicated,
    HistogramGauge,
    HistogramIgnored,
    Refused,
}

pub(super) const OUTCOMES: [(Outcome, &str); 23] = [
    (Outcome::Increment, "increment"),
    (Outcome::Reset, "reset"),
    (Outcome::Restart, "restart"),
    (Outcome::Started, "started"),
    (Outcome::Born, "born"),
    (Outcome::Skew, "skew"),
    (Outcome::Baseline, "baseline"),
    (Outcome::Zero, "zero"),
    (Outcome::Gap, "gap"),
    (Outcome::Sample, "sample"),
    (Outcome::StaleMarker, "stale_marker"),
    (Outcome::Duplicate, "duplicate"),
    (Outcome::Conflict, "conflict"),
    (Outcome::OutOfOrder, "out_of_order"),
    (Outcome::NotFinite, "not_finite"),
    (Outcome::Negative, "negative"),
    (Outcome::TooLarge, "too_large"),
    (Outcome::TooOld, "too_old"),
    (Outcome::Unselected, "unselected"),
    (Outcome::Deduplicated, "deduplicated"),
    (Outcome::HistogramGauge, "histogram_gauge"),
    (Outcome::HistogramIgnored, "histogram_ignored"),
    (Outcome::Refused, "refused"),
];

/// What became of a request, as far as it is done.
pub(super) struct Tally {
    pub(super) outcomes: [u64; OUTCOMES.len()],
    pub(super) written: WriteStats,
    pub(super) first_refusal: Option<Refusal>,
}

// === impl Tally ===

impl Tally {
    pub(super) fn new(exemplars: usize) -> Self {
        let written = WriteStats { exemplars, ..WriteStats::default() };
        Self { outcomes: [0; OUTCOMES.len()], written, first_refusal: None }
    }

    /// Counts samples that were accepted, whatever they came to.
    #[inline]
    pub(super) fn accept(&mut self, outcome: Outcome, samples: usize) {
        self.count(outcome, samples);
        self.written.samples += samples;
    }

    /// Counts native histograms that were accepted, whatever they came to.
    pub(super) fn accept_histograms(&mut self, outcome: Outcome, histograms: usize) {
        self.count(outcome, histograms);
        self.written.histograms += histograms;
    }

    pub(super) fn refuse(&mut self, refusal: impl FnOnce() -> Refusal) {
        self.count(Outcome::Refused, 1);
        self.first_refusal.get_or_insert_with(refusal);
    }

    #[inline]
    pub(super) fn count(&mut self, outcome: Outcome, samples: usize) {
        self.outcomes[outcome as usize] += samples as u64;
    }
}

// === impl Outcome ===

impl From<Observation> for Outcome {
    fn from(observation: Observation) -> Self {
        match observation {
            Observation::Increment { kind, .. } => kind.into(),
            Observation::Baseline(baseline) => baseline.into(),
            Observation::Sample => Self::Sample,
            Observation::Stale => Self::StaleMarker,
            Observation::Rejected(rejection) => rejection.into(),
        }
    }
}

impl From<&HistogramObservation> for Outcome {
    fn from(observation: &HistogramObservation) -> Self {
        match observation {
            HistogramObservation::Increment { kind, .. } => (*kind).into(),
            HistogramObservation::Baseline(baseline) => (*baseline).into(),
            HistogramObservation::Gauge => Self::HistogramGauge,
            HistogramObservation::Stale => Self::StaleMarker,
            HistogramObservation::Rejected(rejection) => (*rejection).into(),
        }
    }
}

impl From<Growth> for Outcome {
    fn from(kind: Growth) -> Self {
        match kind {
            Growth::Difference => Self::Increment,
            Growth::Reset => Self::Reset,
            Growth::Restart => Self::Restart,
            Growth::Started => Self::Started,
            Growth::Born => Self::Born,
            Growth::Skew => Self::Skew,
        }
    }
}

impl From<Baseline> for Outcome {
    fn from(baseline: Baseline) -> Self {
        match baseline {
            Baseline::First => Self::Baseline,
            Baseline::Zero => Self::Zero,
            Baseline::Gap => Self::Gap,
        }
    }
}

impl From<Rejection> for Outcome {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Duplicate => Self::Duplicate,
            Rejection::Conflict => Self::Conflict,
            Rejection::OutOfOrder => Self::OutOfOrder,
            Rejection::NotFinite => Self::NotFinite,
            Rejection::Negative => Self::Negative,
            Rejection::TooLarge => Self::TooLarge,
        }
    }
}
