//! Which series a label block stands for. Keyed by the raw bytes: senders encode the labels of a series
//! the same way every time, so that a known series costs a hash and a comparison.

use std::{collections::HashMap, hash::BuildHasher, sync::Arc};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

use super::series::Series;
use crate::{labels::Labels, time::Timestamp};

// Enough that two cores seldom meet; a power of two.
const SHARDS: usize = 64;
// Above this many label blocks of no interest a shard forgets them all and learns again those that still
// come: 64 shards × 64 Ki blocks × ~250 bytes are 1 GiB at the very most.
const UNSELECTED_PER_SHARD_MAX: usize = 64 << 10;

/// What is known of a series.
#[derive(Clone, Debug)]
pub(super) enum Known {
    /// An SLO counts it.
    Followed(Arc<Series>),
    /// No SLO selects it.
    Unselected,
}

/// All series known, by their raw labels; the followed ones by their labels too.
#[derive(Debug)]
pub(super) struct SeriesCache {
    hasher: RandomState,
    shards: Box<[RwLock<Shard>]>,
    by_labels: Mutex<HashMap<Labels, Arc<Series>>>,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashTable<(Box<[u8]>, Known)>,
    unselected: usize,
}

// === impl SeriesCache ===

impl Default for SeriesCache {
    fn default() -> Self {
        Self {
            hasher: RandomState::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            by_labels: Mutex::default(),
        }
    }
}

impl SeriesCache {
    pub(super) fn find(&self, raw_labels: &[u8]) -> Option<Known> {
        let hash = self.hasher.hash_one(raw_labels);
        let shard = self.shard(hash).read();
        shard.entries.find(hash, |(raw, _)| **raw == *raw_labels).map(|(_, known)| known.clone())
    }

    pub(super) fn insert(&self, raw_labels: &[u8], known: Known) {
        let hash = self.hasher.hash_one(raw_labels);
        let shard = &mut *self.shard(hash).write();
        if shard.unselected >= UNSELECTED_PER_SHARD_MAX {
            shard.forget_unselected();
        }
        // Two requests may meet a stranger at once; the second adds nothing.
        if shard.entries.find(hash, |(raw, _)| **raw == *raw_labels).is_none() {
            shard.unselected += usize::from(matches!(known, Known::Unselected));
            shard
                .entries
                .insert_unique(hash, (raw_labels.into(), known), |(raw, _)| self.hasher.hash_one(&**raw));
        }
    }

    /// The followed series of these labels; `follow` makes it when there is none.
    pub(super) fn find_or_follow(&self, labels: &Labels, follow: impl FnOnce() -> Series) -> Arc<Series> {
        let mut by_labels = self.by_labels.lock();
        Arc::clone(by_labels.entry(labels.clone()).or_insert_with(|| Arc::new(follow())))
    }

    /// Forgets followed series without a sample since `oldest`.
    pub(super) fn forget_before(&self, oldest: Timestamp) {
        let is_silent = |series: &Series| series.last_at().is_some_and(|at| at < oldest);
        // Label blocks first: a sample that comes in between finds its series by its labels.
        for shard in &self.shards {
            let is_kept = |known: &Known| !matches!(known, Known::Followed(series) if is_silent(series));
            shard.write().entries.retain(|(_, known)| is_kept(known));
        }
        for (_, series) in self.by_labels.lock().extract_if(|_, series| is_silent(series)) {
            series.end();
        }
    }

    /// How many series are followed, and how many label blocks are known to be of no interest.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.by_labels.lock().len(), self.shards.iter().map(|shard| shard.read().unselected).sum())
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // Bits that the table inside does not use for its buckets.
        &self.shards[(hash >> 48) as usize % SHARDS]
    }
}

impl Shard {
    fn forget_unselected(&mut self) {
        self.entries.retain(|(_, known)| !matches!(known, Known::Unselected));
        self.unselected = 0;
    }
}
