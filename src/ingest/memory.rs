//! What ingest remembers over a restart: the last sample of each series, the scrapes of targets, and who is elected.
//!
//! Plain data, and how it is taken and given back. It does not know where it is kept.
//!
//! Invariant: what is taken in one [`freeze`](super::Ingest::freeze) is the effect of the requests counted before
//! it, and of no other.

use super::{ExtraState, Ingest, SeriesState, ha};
use crate::{
    counter::Counter,
    histogram::HistogramCounter,
    labels::{Labels, SeriesKey},
    time::Timestamp,
};

/// What is remembered of all that was counted.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// In no certain order.
    pub series: Vec<SeriesMemory>,
    /// In no certain order.
    pub targets: Vec<TargetMemory>,
    /// Who is elected among replicas.
    pub elections: ha::ElectionsState,
}

/// What is remembered of a series.
#[derive(Clone, Debug)]
pub struct SeriesMemory {
    /// Which series it is.
    pub key: SeriesKey,
    /// Its last sample.
    pub counter: Counter,
    /// When that arrived.
    pub last_arrival: Timestamp,
    /// In which election won the replica that sent it; 0 if there was none.
    pub replica_epoch: u32,
    /// What few series have: native histograms, and a counter for those that read a gauge where others do not.
    pub extra: Option<Box<(HistogramCounter, Counter)>>,
}

/// What is remembered of a target, as one SLO saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetMemory {
    /// The SLO's place in the plan.
    pub slo: usize,
    /// What tells targets apart.
    pub labels: Labels,
    /// When it was scraped.
    pub scrapes: Scrapes,
}

/// Three scrapes of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrapes {
    /// The first that was seen.
    pub first: Timestamp,
    /// The last but one.
    pub previous: Timestamp,
    /// The last one.
    pub latest: Timestamp,
}

// === impl SeriesMemory ===

impl SeriesMemory {
    /// The same as plain numbers.
    pub fn state(&self) -> SeriesState {
        let extra = self.extra.as_deref();
        let extra =
            extra.map(|(histogram, gauge)| ExtraState { gauge: gauge.state(), histogram: histogram.state() });
        SeriesState {
            key: self.key.0,
            counter: self.counter.state(),
            last_arrival: self.last_arrival,
            replica_epoch: self.replica_epoch,
            extra: extra.map(Box::new),
        }
    }

    /// What [`state`](Self::state) gave.
    ///
    /// # Errors
    /// When no samples lead to such a state.
    pub fn from_state(state: SeriesState) -> Result<Self, String> {
        let counter = |state| Counter::from_state(state).map_err(|error| error.to_string());
        let histogram = |state| HistogramCounter::from_state(state).map_err(|error| error.to_string());
        let extra = match state.extra {
            Some(extra) => Some(Box::new((histogram(extra.histogram)?, counter(extra.gauge)?))),
            None => None,
        };
        Ok(Self {
            key: SeriesKey(state.key),
            counter: counter(state.counter)?,
            last_arrival: state.last_arrival,
            replica_epoch: state.replica_epoch,
            extra,
        })
    }
}

// === impl Ingest ===

impl Ingest {
    /// Looks at what is remembered while nothing is being counted. Requests wait meanwhile, so that `look` should do
    /// no more than what must be done at this moment.
    pub fn freeze<T>(&self, look: impl FnOnce(Memory) -> T) -> T {
        self.table.freeze(|table| {
            let (series, targets) = (table.memories(), self.routes.target_memories());
            look(Memory { series, targets, elections: self.elections.state() })
        })
    }

    /// Goes on with what was remembered. To be called before the first request; targets are by the places of their
    /// SLOs in the plan in force.
    pub fn remember(&self, memory: Memory) {
        let generation = self.instances.plan().generation();
        self.table.freeze(|table| table.remember(memory.series));
        self.routes.remember_targets(generation, memory.targets);
        self.elections.restore(&memory.elections);
    }

    /// Goes on with what is remembered elsewhere of series and targets that are not known here. Targets are by the
    /// places of their SLOs in the plan in force.
    pub fn adopt(&self, memory: Memory) {
        let generation = self.instances.plan().generation();
        self.table.freeze(|table| table.adopt(memory.series));
        self.routes.adopt_targets(generation, memory.targets);
    }
}
