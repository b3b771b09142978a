//! How far the steps of SLOs have come, and the samples of late, as plain data that outlives the process.

use crate::{expression::Sample, labels::Labels, slo::SloId, time::Timestamp};

/// What a [`Sampler`](super::Sampler) goes on with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplerState {
    /// How far event time had come.
    pub at: Timestamp,
    /// The SLOs.
    pub slos: Vec<SampledState>,
    /// The series that their expressions look at.
    pub series: Vec<RecordedState>,
}

/// An SLO whose expressions are evaluated at steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledState {
    /// Which SLO.
    pub id: SloId,
    /// What it [asks](crate::slo::Slo::identity).
    pub identity: String,
    /// The step that is evaluated next; `None` before it has samples.
    pub next: Option<Timestamp>,
    /// Its groups that have not ended.
    pub groups: Vec<GroupState>,
}

/// A series whose samples are recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedState {
    /// Its labels, with the metric name.
    pub labels: Labels,
    /// The time of its last sample, whether that is still needed or not.
    pub last_at: Option<Timestamp>,
    /// The samples that steps look back to, in the order of time.
    pub samples: Vec<Sample>,
}

/// What a [`Puller`](super::Puller) goes on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PullerState {
    /// How far event time had come.
    pub at: Timestamp,
    /// The SLOs.
    pub slos: Vec<PulledState>,
}

/// An SLO that a server is asked for at steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PulledState {
    /// Which SLO.
    pub id: SloId,
    /// What it [asks](crate::slo::Slo::identity).
    pub identity: String,
    /// The step that is counted next.
    pub next: Timestamp,
    /// Whether it ever had a value.
    pub is_seen: bool,
    /// Its groups that have not ended.
    pub groups: Vec<GroupState>,
}

/// A group that had values of late.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupState {
    /// Its labels.
    pub labels: Labels,
    /// The newest step with a value.
    pub seen: Timestamp,
}
