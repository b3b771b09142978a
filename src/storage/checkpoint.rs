//! From a pipeline to what is written of it.
//!
//! A checkpoint is taken on the thread that evaluates, between two ticks. Nothing is counted while a moment is marked;
//! what is slow happens afterwards. Of windows only what changed is written; series, targets and what expressions look
//! back to are small, and nearly all of them change from one checkpoint to the next: they are written whole.
//!
//! Invariant: what was written for a position, and the log from there on, is everything that counted.

use super::{
    codec::{
        self,
        instances::{self, SloState},
    },
    log::Sequence,
    state::{Change, Part},
};
use crate::{
    engine::Exported,
    ingest::{Memory, SeriesMemory, SeriesState},
    matching::{Beginning, Directory},
    pipeline::{Mark, Pipeline},
    time::Timestamp,
    window::{RingPlace, Scope, SliId},
};

/// What is to be written, all or nothing.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// The first sequence of the log that is not in it.
    pub position: Sequence,
    /// When it was taken.
    pub at: Timestamp,
    /// What of the state is none any more.
    pub clear: Vec<Part>,
    /// What takes its place.
    pub changes: Vec<Change>,
}

/// Takes checkpoints, one after the other.
#[derive(Debug, Default)]
pub struct Checkpoints {
    /// What the last one said of instances and SLOs; `None` if it may not have been written.
    written: Option<Written>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    directory: u64,
    generation: u64,
    beginnings: Vec<Beginning>,
}

// More than any layout has.
const TIERS_MAX: u8 = 64;

// Some 45 bytes each, before snappy.
const SERIES_PER_VALUE: usize = 1_024;
const TARGETS_PER_VALUE: usize = 1_024;

/// The key of what there is one of.
pub(super) const ONLY: &[u8] = b"all";
pub(super) const CLOCK: &[u8] = b"clock";
pub(super) const PULLER: &[u8] = b"puller";
/// In place of a tier.
pub(super) const SLICES: u8 = u8::MAX;

// === impl Checkpoints ===

impl Checkpoints {
    /// Takes one of a [frozen](Pipeline::freeze) moment, which must be written before the next; before the next tick.
    pub fn take(
        &mut self,
        pipeline: &mut Pipeline,
        at: Timestamp,
        (position, mark): (Sequence, Mark),
    ) -> Checkpoint {
        let before = self.written.take();
        let before = before.as_ref();
        let scope = if before.is_some() { Scope::Changed } else { Scope::Everything };
        let mut checkpoint = Checkpoint { position, at, clear: Vec::new(), changes: Vec::new() };
        checkpoint.put_directory(&mark.directory, before);
        checkpoint.put_memory(&mark.memory);
        checkpoint.put_windows(pipeline, &mark, scope);
        checkpoint.put_sampling(pipeline);
        let Directory { plan, beginnings, version, .. } = mark.directory;
        self.written = Some(Written { directory: version, generation: plan.generation(), beginnings });
        checkpoint
    }

    /// Forgets what was written: the next one is of everything. To be called when one could not be written.
    pub fn start_over(&mut self) {
        self.written = None;
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    /// Whether nothing of what was written before stays.
    pub fn is_of_everything(&self) -> bool {
        self.clear.contains(&Part::Rings)
    }

    /// The keys of SLOs are their places in the plan.
    fn put_directory(&mut self, directory: &Directory, before: Option<&Written>) {
        let Directory { plan, beginnings, instances, version } = directory;
        if before
            .is_none_or(|before| before.generation != plan.generation() || before.beginnings != *beginnings)
        {
            self.clear.push(Part::Slos);
            for (place, (slo, beginning)) in plan.slos().zip(beginnings).enumerate() {
                let slo = SloState { id: slo.id.clone(), identity: slo.identity(), beginning: *beginning };
                self.put(Part::Slos, key(place as u32), instances::encode_slo(&slo));
            }
        }
        if before.is_none_or(|before| before.directory != *version) {
            self.clear.push(Part::Instances);
            for instance in instances {
                let slo = instance.slo_index as u32;
                let value = instances::encode_instance(slo, instance.role, &instance.group);
                self.put(Part::Instances, key(instance.sli.0), value);
            }
        }
    }

    fn put_memory(&mut self, memory: &Memory) {
        self.clear.extend([Part::Series, Part::Targets, Part::Elections]);
        for (number, series) in memory.series.chunks(SERIES_PER_VALUE).enumerate() {
            let states: Vec<SeriesState> = series.iter().map(SeriesMemory::state).collect();
            self.put(Part::Series, key(number as u32), codec::counter::encode_series(&states));
        }
        for (number, targets) in memory.targets.chunks(TARGETS_PER_VALUE).enumerate() {
            let keyed = targets.iter().map(|target| (target.slo as u32, target));
            self.put(Part::Targets, key(number as u32), instances::encode_targets(keyed));
        }
        self.put(Part::Elections, ONLY.to_vec(), codec::counter::encode_elections(&memory.elections));
    }

    fn put_windows(&mut self, pipeline: &mut Pipeline, mark: &Mark, scope: Scope) {
        self.clear.push(Part::Pending);
        if scope == Scope::Everything {
            self.clear.extend([Part::Heads, Part::Rings]);
        }
        let mut pending = 0;
        pipeline.export(mark, scope, &mut |exported| match exported {
            Exported::Removed(sli) => self.remove_sli(sli),
            Exported::Clock(clock) => {
                self.put(Part::Meta, CLOCK.to_vec(), codec::engine::encode_clock(&clock));
            }
            Exported::Head(sli, head) => {
                self.put(Part::Heads, key(sli.0), codec::engine::encode_head(&head));
            }
            Exported::Ring(sli, place, ring) => {
                let value = (!ring.slots.is_empty()).then(|| codec::engine::encode_ring(ring));
                self.changes.push(Change { part: Part::Rings, key: ring_key(sli, place), value });
            }
            Exported::Pending(list) => {
                self.put(Part::Pending, key(pending), codec::engine::encode_pending(&list));
                pending += 1;
            }
        });
    }

    fn put_sampling(&mut self, pipeline: &Pipeline) {
        self.clear.push(Part::Sampling);
        let (sampler, puller) = pipeline.steps();
        for (number, part) in codec::sampling::encode_sampler(&sampler).into_iter().enumerate() {
            self.put(Part::Sampling, key(number as u32), part);
        }
        self.put(Part::Sampling, PULLER.to_vec(), codec::sampling::encode_puller(&puller));
    }

    fn remove_sli(&mut self, sli: SliId) {
        self.changes.push(Change { part: Part::Heads, key: key(sli.0), value: None });
        for place in (0..TIERS_MAX).map(RingPlace::Tier).chain([RingPlace::Slices]) {
            self.changes.push(Change { part: Part::Rings, key: ring_key(sli, place), value: None });
        }
    }

    fn put(&mut self, part: Part, key: Vec<u8>, value: Vec<u8>) {
        self.changes.push(Change { part, key, value: Some(value) });
    }
}

/// Numbers are kept in their order.
pub(super) fn key(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

pub(super) fn ring_key(sli: SliId, place: RingPlace) -> Vec<u8> {
    let place = match place {
        RingPlace::Tier(tier) => tier,
        RingPlace::Slices => SLICES,
    };
    [&sli.0.to_be_bytes()[..], &[place]].concat()
}
