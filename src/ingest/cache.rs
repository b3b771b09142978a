//! Which series a label block stands for. Keyed by the raw bytes: senders encode the labels of a series
//! the same way every time, so that a known series costs a hash and a comparison.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::BuildHasher,
    sync::Arc,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock};

use super::series::Series;
use crate::{labels::Labels, time::Timestamp};

// Enough that two cores seldom meet; a power of two.
const SHARDS: usize = 64;
// Label blocks above this many bytes make a shard forget them all and learn again those that still come;
// followed series are found by their labels. Together a gigabyte: four million usual blocks.
const SHARD_BYTES_MAX: usize = 16 << 20;

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
    bytes: usize,
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

    /// Remembers what a label block stands for, in place of what was known of it.
    pub(super) fn insert(&self, raw_labels: &[u8], known: Known) {
        let hash = self.hasher.hash_one(raw_labels);
        let shard = &mut *self.shard(hash).write();
        if shard.bytes + raw_labels.len() > SHARD_BYTES_MAX {
            *shard = Shard::default();
        }
        if let Some((_, present)) = shard.entries.find_mut(hash, |(raw, _)| **raw == *raw_labels) {
            *present = known;
            return;
        }
        shard.bytes += raw_labels.len();
        shard.unselected += usize::from(matches!(known, Known::Unselected));
        let entry = (raw_labels.into(), known);
        shard.entries.insert_unique(hash, entry, |(raw, _)| self.hasher.hash_one(&**raw));
    }

    /// The followed series of these labels; `follow` makes it when there is none.
    ///
    /// # Errors
    /// With the number of series followed, when that is `series_max`.
    pub(super) fn find_or_follow(
        &self,
        labels: &Labels,
        series_max: usize,
        follow: impl FnOnce() -> Series,
    ) -> Result<Arc<Series>, usize> {
        let mut by_labels = self.by_labels.lock();
        let followed = by_labels.len();
        match by_labels.entry(labels.clone()) {
            Entry::Occupied(known) => Ok(Arc::clone(known.get())),
            Entry::Vacant(_) if followed >= series_max => Err(followed),
            Entry::Vacant(vacant) => Ok(Arc::clone(vacant.insert(Arc::new(follow())))),
        }
    }

    /// Forgets followed series of which nothing has arrived since `oldest`.
    pub(super) fn forget_before(&self, oldest: Timestamp) {
        self.by_labels.lock().retain(|_, series| !series.end_if_silent_since(oldest));
        for shard in &self.shards {
            shard.write().forget_ended();
        }
    }

    /// How many series are followed.
    pub(super) fn followed(&self) -> usize {
        self.by_labels.lock().len()
    }

    /// How many label blocks are known to be of no interest.
    pub(super) fn unselected(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unselected).sum()
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        // Bits that the table inside does not use for its buckets.
        &self.shards[(hash >> 48) as usize % SHARDS]
    }
}

impl Shard {
    fn forget_ended(&mut self) {
        let bytes = &mut self.bytes;
        self.entries.retain(|(raw, known)| {
            let is_ended = matches!(known, Known::Followed(series) if series.is_ended());
            *bytes -= if is_ended { raw.len() } else { 0 };
            !is_ended
        });
    }
}
