//! All series known, found by the hash of their label block.
//!
//! ```text
//! hash ─▶ index ─▶ label block, in the order of arrival ─▶ series, in chunks behind one lock each
//!         5-12 B   12 B                                    64 B; none if no SLO selects the block
//! ```
//!
//! Label blocks and labels are not kept. Two blocks are taken for the same if their hashes are, 64 bits with
//! a secret of this process: among a million blocks that happens once in 37 million daemons. A series may
//! have several blocks: another order of its labels, another protocol, another replica of its sender. One of
//! them, the *canonical* one, is made by us from the sorted labels, so that all of them lead to it.
//!
//! Senders repeat their order: the block after a block is most likely the next one in the order of arrival.
//! So most blocks are found by looking at the next one, which the processor has fetched before it is asked
//! for, and not by the index, which is a miss of the cache for each.
//!
//! Requests read the index together; who has new series to add, or forgets silent ones, has it alone. While
//! a request holds the index no series changes its number.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{memory::SeriesMemory, routes::RouteSuccession, series::Series, strangers::Followed};
use crate::{labels::SeriesKey, prompb::SeriesView, telemetry::IngestMetrics, time::Timestamp};

/// All series known.
#[derive(Debug)]
pub(super) struct SeriesTable {
    /// Makes the hashes of label blocks.
    pub(super) hasher: RandomState,
    inner: RwLock<Inner>,
}

/// The index and the series, for as long as a request holds it.
pub(super) type Held<'a> = RwLockReadGuard<'a, Inner>;

#[derive(Debug)]
pub(super) struct Inner {
    blocks: Vec<Block>,
    free_blocks: Vec<u32>,
    /// Places in `blocks`. In parts, so that one that must grow holds nobody up for long.
    index: [HashTable<u32>; PARTS],
    unselected: usize,
    chunks: Vec<Box<Mutex<Chunk>>>,
    /// By chunk: what its series are called on disk.
    keys: Vec<[SeriesKey; PER_CHUNK]>,
    /// What is remembered of series from before a restart that have not come again.
    remembered: HashMap<SeriesKey, SeriesMemory>,
    /// Series that had not ended and came again since this was last asked.
    revived: usize,
    followed: usize,
    /// Numbers of series that are free.
    free: Vec<u32>,
    /// Of the plan that selects them.
    generation: u64,
}

/// The series of a run of numbers. Senders repeat their order, so that a request stays within a chunk for a
/// while and seldom meets another there.
pub(super) type Chunk = [Option<Series>; PER_CHUNK];

/// What is known of a label block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing, or nothing that holds for the plan in force.
    Stranger,
    /// No SLO selects it.
    Unselected,
    /// An SLO counts it.
    Followed(SeriesNumber),
}

/// The place of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeriesNumber(u32);

/// A label block: 12 bytes, since there may be millions that no SLO selects.
#[derive(Clone, Copy, Debug)]
struct Block {
    hash: [u32; 2],
    /// The number of its series.
    series: u32,
}

const PARTS: usize = 64;
const BLOCKS_AT_ONCE: usize = 1_024;
// 8,192 series: some 100 µs.
const CHUNKS_AT_ONCE: usize = 64;
const PER_CHUNK: usize = 128;

// Numbers of series are below.
const UNSELECTED: u32 = u32::MAX;
const FREE: u32 = u32::MAX - 1;
// Marks a block that is not the canonical one of its series.
const ALIAS: u32 = 1 << 31;
// Marks a block of a series for which there may be SLOs that it was not asked for yet. Numbers are below.
const STALE: u32 = 1 << 30;

// === impl SeriesTable ===

impl Default for SeriesTable {
    fn default() -> Self {
        let inner = Inner {
            blocks: Vec::new(),
            free_blocks: Vec::new(),
            index: std::array::from_fn(|_| HashTable::new()),
            unselected: 0,
            chunks: Vec::new(),
            keys: Vec::new(),
            remembered: HashMap::new(),
            revived: 0,
            followed: 0,
            free: Vec::new(),
            generation: 0,
        };
        Self { hasher: RandomState::default(), inner: RwLock::new(inner) }
    }
}

impl SeriesTable {
    /// Holds the table for reading: numbers keep their meaning.
    pub(super) fn hold(&self) -> Held<'_> {
        self.inner.read()
    }

    /// Has the table alone: nothing is counted meanwhile.
    pub(super) fn freeze<T>(&self, look: impl FnOnce(&mut Inner) -> T) -> T {
        look(&mut self.inner.write())
    }

    /// Changes the table; it is held for reading afterwards, with nobody in between.
    pub(super) fn change(&self, change: impl FnOnce(&mut Inner)) -> Held<'_> {
        let mut inner = self.inner.write();
        change(&mut inner);
        RwLockWriteGuard::downgrade(inner)
    }

    /// Forgets series of which nothing has arrived since `oldest`. Returns how many of them had not ended.
    pub(super) fn forget_before(&self, oldest: Timestamp) -> usize {
        // Taking out holds up everybody, so it is found out first whether there is anything to take. A few
        // chunks at a time: who waits to insert holds up those that come later.
        let starts = (0..).step_by(CHUNKS_AT_ONCE);
        let mut found =
            starts.map_while(|start| self.hold().has_silent(start..start + CHUNKS_AT_ONCE, oldest));
        if found.any(|found| found) {
            let inner = &mut *self.inner.write();
            inner.remembered.retain(|_, memory| memory.last_arrival >= oldest);
            inner.retain_series(|series| !series.is_silent_since(oldest))
        } else {
            0
        }
    }

    /// Publishes how much is known.
    pub(super) fn publish_sizes(&self, telemetry: &IngestMetrics) {
        let inner = self.hold();
        let set = |state, value: usize| telemetry.series.with_label_values(&[state]).set(value as i64);
        set("followed", inner.followed);
        set("unselected", inner.unselected);
        set("cached", inner.block_count());
    }
}

// === impl Inner ===

impl Inner {
    /// What is known of the label blocks of these series, in their order. True if there are strangers.
    pub(super) fn find_all(&self, series: &[SeriesView], known: &mut Vec<Known>) -> bool {
        known.clear();
        let (mut next, mut has_strangers) = (0, false);
        known.extend(series.iter().map(|view| {
            // A block that is not the canonical one comes after that.
            let guess = (next..next + 2).find(|place| self.is_at(*place, view.hash));
            let found = guess.or_else(|| self.place_of(view.hash));
            next = found.map_or(next, |place| place + 1);
            let known = found.map_or(Known::Stranger, |place| self.blocks[place].known());
            has_strangers |= known == Known::Stranger;
            known
        }));
        has_strangers
    }

    #[inline]
    fn is_at(&self, place: usize, hash: u64) -> bool {
        self.blocks.get(place).is_some_and(|block| block.hash() == hash)
    }

    fn place_of(&self, hash: u64) -> Option<usize> {
        let place = self.index[part(hash)].find(hash, |place| self.blocks[*place as usize].hash() == hash);
        place.map(|place| *place as usize)
    }

    fn block_count(&self) -> usize {
        self.blocks.len() - self.free_blocks.len()
    }

    /// Of the plan that selects these series.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Follows a plan to the next. Series that nobody counts any more are taken out; whether there are SLOs that
    /// count others of them, or those of no interest so far, their labels must tell when they come again. Returns
    /// how many of those taken out had not ended.
    pub(super) fn succeed(&mut self, routes: &mut RouteSuccession<'_>) -> usize {
        let (generation, has_new) = (routes.succession().generation, routes.succession().has_new);
        self.generation = generation;
        let live = self.retain_series(|series| series.succeed(routes));
        if has_new {
            self.retain_blocks(|block| block.series != UNSELECTED);
            self.blocks
                .iter_mut()
                .filter(|block| block.number().is_some())
                .for_each(|block| block.series |= STALE);
        }
        live
    }

    pub(super) fn chunk(&self, number: SeriesNumber) -> &Mutex<Chunk> {
        &self.chunks[number.chunk()]
    }

    /// Remembers a label block that no SLO selects.
    pub(super) fn insert_unselected(&mut self, hash: u64) {
        if self.insert(hash, UNSELECTED) {
            self.unselected += 1;
        }
    }

    /// Remembers a label block of a series by its canonical one; makes the series if there is none. True if these
    /// are its routes from now on, false if it has them already.
    ///
    /// # Errors
    /// With the number of series followed, when that is `series_max`.
    pub(super) fn insert_followed(
        &mut self,
        hash: u64,
        series_max: usize,
        followed: Followed,
        now: Timestamp,
    ) -> Result<bool, usize> {
        let canonical = followed.canonical;
        let known = self.place_of(canonical).map(|place| self.blocks[place]);
        let (number, is_rerouted) = match known.and_then(|block| Some((block.number()?, block.is_stale()))) {
            Some((number, false)) => (number, false),
            Some((number, true)) => {
                self.series(number).reroute(followed);
                (number, true)
            }
            None if self.followed >= series_max => return Err(self.followed),
            None => (self.place(followed, now), true),
        };
        self.insert(canonical, number.0);
        if hash != canonical {
            self.insert(hash, number.0 | ALIAS);
        }
        Ok(is_rerouted)
    }

    /// Forgets label blocks that can be learned again, if there are more than `blocks_max`. True if it did.
    pub(super) fn limit_blocks(&mut self, blocks_max: usize) -> bool {
        let is_full = self.block_count() > blocks_max;
        if is_full {
            self.retain_blocks(|block| block.series < ALIAS);
        }
        is_full
    }

    fn series(&mut self, number: SeriesNumber) -> &mut Series {
        let series = self.chunks[number.chunk()].get_mut()[number.lane()].as_mut();
        series.expect("BUG: a block leads to no series")
    }

    /// Remembers series from before a restart until they come again.
    pub(super) fn remember(&mut self, series: Vec<SeriesMemory>) {
        self.remembered = series.into_iter().map(|memory| (memory.key, memory)).collect();
    }

    /// Remembers further series, unless they are known.
    pub(super) fn adopt(&mut self, series: Vec<SeriesMemory>) {
        let known: HashSet<SeriesKey> = self.memories().into_iter().map(|memory| memory.key).collect();
        let unknown = series.into_iter().filter(|memory| !known.contains(&memory.key));
        self.remembered.extend(unknown.map(|memory| (memory.key, memory)));
    }

    /// What is to be remembered of all series.
    pub(super) fn memories(&mut self) -> Vec<SeriesMemory> {
        let mut memories = Vec::with_capacity(self.followed + self.remembered.len());
        for (chunk, keys) in self.chunks.iter_mut().zip(&self.keys) {
            let series = chunk.get_mut().iter().zip(keys.iter());
            memories.extend(series.filter_map(|(series, key)| Some(series.as_ref()?.memory(*key))));
        }
        memories.extend(self.remembered.values().cloned());
        memories
    }

    /// How many series that had not ended came again since the last call.
    pub(super) fn take_revived(&mut self) -> usize {
        std::mem::take(&mut self.revived)
    }

    fn place(&mut self, followed: Followed, now: Timestamp) -> SeriesNumber {
        let key = followed.key;
        let series = match self.remembered.remove(&key) {
            Some(memory) => Series::remembered(memory, followed, now),
            None => Series::new(followed, now),
        };
        self.revived += usize::from(series.is_live());
        self.followed += 1;
        let number = self.free.pop().unwrap_or_else(|| {
            let next = self.chunks.len() * PER_CHUNK;
            self.chunks.push(Box::new(Mutex::new(std::array::from_fn(|_| None))));
            if self.keys.len() == self.keys.capacity() {
                // Not twice the memory for the sake of the last one.
                self.keys.reserve_exact(self.keys.len() / 8 + 1);
            }
            self.keys.push([SeriesKey::default(); PER_CHUNK]);
            self.free.extend((next as u32 + 1..(next + PER_CHUNK) as u32).rev());
            next as u32
        });
        let number = SeriesNumber(number);
        self.keys[number.chunk()][number.lane()] = key;
        self.chunks[number.chunk()].get_mut()[number.lane()] = Some(series);
        number
    }

    /// True if the block is new.
    fn insert(&mut self, hash: u64, series: u32) -> bool {
        if let Some(place) = self.place_of(hash) {
            self.blocks[place].series = series;
            return false;
        }
        let block = Block { hash: [hash as u32, (hash >> 32) as u32], series };
        let place = self.free_blocks.pop().unwrap_or_else(|| self.push_block(block));
        self.blocks[place as usize] = block;
        let blocks = &self.blocks;
        self.index[part(hash)].insert_unique(hash, place, |place| blocks[*place as usize].hash());
        true
    }

    fn push_block(&mut self, block: Block) -> u32 {
        if self.blocks.len() == self.blocks.capacity() {
            // Not twice the memory for the sake of the last one.
            self.blocks.reserve_exact((self.blocks.len() / 8).max(BLOCKS_AT_ONCE));
        }
        self.blocks.push(block);
        (self.blocks.len() - 1) as u32
    }

    /// Whether one of some chunks has a silent series; `None` if there are no such chunks.
    fn has_silent(&self, chunks: Range<usize>, oldest: Timestamp) -> Option<bool> {
        let chunks = self.chunks.get(chunks.start..chunks.end.min(self.chunks.len()))?;
        let is_silent = |series: &Series| series.is_silent_since(oldest);
        (!chunks.is_empty()).then(|| chunks.iter().any(|chunk| chunk.lock().iter().flatten().any(is_silent)))
    }

    /// Takes out the other series. Returns how many of them had not ended.
    fn retain_series(&mut self, mut keep: impl FnMut(&mut Series) -> bool) -> usize {
        let (mut live, before) = (0, self.followed);
        for (n, chunk) in self.chunks.iter_mut().enumerate() {
            for (lane, place) in chunk.get_mut().iter_mut().enumerate() {
                if let Some(series) = place.take_if(|series| !keep(series)) {
                    live += usize::from(series.end());
                    self.free.push((n * PER_CHUNK + lane) as u32);
                    self.followed -= 1;
                }
            }
        }
        if self.followed < before {
            let chunks = std::mem::take(&mut self.chunks);
            let leads_on = |number: SeriesNumber| chunks[number.chunk()].lock()[number.lane()].is_some();
            self.retain_blocks(|block| block.number().is_none_or(leads_on));
            self.chunks = chunks;
        }
        live
    }

    fn retain_blocks(&mut self, keep: impl Fn(&Block) -> bool) {
        let (blocks, free) = (&mut self.blocks, &mut self.free_blocks);
        for part in &mut self.index {
            part.retain(|place| {
                let block = &mut blocks[*place as usize];
                let is_kept = keep(block);
                if !is_kept {
                    self.unselected -= usize::from(block.series == UNSELECTED);
                    *block = Block { hash: [0; 2], series: FREE };
                    free.push(*place);
                }
                is_kept
            });
            // Room that a flood has left behind.
            if part.capacity() > 4 * part.len() {
                part.shrink_to(2 * part.len(), |place| blocks[*place as usize].hash());
            }
        }
    }
}

/// Bits that a part does not use for its buckets.
fn part(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

// === impl Block ===

impl Block {
    fn hash(&self) -> u64 {
        u64::from(self.hash[0]) | u64::from(self.hash[1]) << 32
    }

    fn known(&self) -> Known {
        match self.series {
            FREE => Known::Stranger,
            UNSELECTED => Known::Unselected,
            number if number & STALE != 0 => Known::Stranger,
            number => Known::Followed(SeriesNumber(number & !ALIAS)),
        }
    }

    /// The number of its series, stale or not.
    fn number(&self) -> Option<SeriesNumber> {
        (self.series < FREE).then_some(SeriesNumber(self.series & !(ALIAS | STALE)))
    }

    fn is_stale(&self) -> bool {
        self.series & STALE != 0
    }
}

// === impl SeriesNumber ===

impl SeriesNumber {
    /// The chunk it is in.
    pub(super) fn chunk(self) -> usize {
        self.0 as usize / PER_CHUNK
    }

    /// Its place in the chunk.
    pub(super) fn lane(self) -> usize {
        self.0 as usize % PER_CHUNK
    }
}
