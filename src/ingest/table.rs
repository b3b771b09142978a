//! All series known, found by the hash of their label block.
//!
//! ```text
//! hash of a label block ─▶ index ─▶ unselected: no SLO counts it (12 bytes, and room for growth)
//!                                 └▶ number ─▶ chunk of 128 series behind one lock ─▶ series (64 bytes)
//! ```
//!
//! Label blocks and labels are not kept. Two blocks are taken for the same if their hashes are, 64 bits with
//! a secret of this process: among a million blocks that happens once in 37 million daemons. A series may
//! have several blocks: another order of its labels, another protocol, another replica of its sender. One of
//! them, the *canonical* one, is made by us from the sorted labels, so that all of them lead to it.
//!
//! Requests read the index together; who has new series to add, or forgets silent ones, has it alone. While
//! a request holds the index no series changes its number.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::series::Series;
use crate::{prompb::SeriesView, telemetry::IngestMetrics, time::Timestamp};

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
    /// In parts, so that one that must grow holds nobody up for long.
    index: [HashTable<Entry>; PARTS],
    blocks: usize,
    unselected: usize,
    chunks: Vec<Box<Mutex<Chunk>>>,
    followed: usize,
    /// Numbers that are free again.
    free: Vec<u32>,
}

/// The series of a run of numbers. Senders repeat their order, so that a request stays within a chunk for a
/// while and seldom meets another there.
pub(super) type Chunk = [Option<Series>; PER_CHUNK];

/// What is known of a label block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing.
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
struct Entry {
    hash: [u32; 2],
    number: u32,
}

const PARTS: usize = 64;
const PER_CHUNK: usize = 128;

// Numbers are below.
const UNSELECTED: u32 = u32::MAX;
// Marks a block that is not the canonical one of its series.
const ALIAS: u32 = 1 << 31;

// === impl SeriesTable ===

impl Default for SeriesTable {
    fn default() -> Self {
        let inner = Inner {
            index: std::array::from_fn(|_| HashTable::new()),
            blocks: 0,
            unselected: 0,
            chunks: Vec::new(),
            followed: 0,
            free: Vec::new(),
        };
        Self { hasher: RandomState::default(), inner: RwLock::new(inner) }
    }
}

impl SeriesTable {
    /// Holds the table for reading: numbers keep their meaning.
    pub(super) fn hold(&self) -> Held<'_> {
        self.inner.read()
    }

    /// Changes the table; it is held for reading afterwards, with nobody in between.
    pub(super) fn change(&self, change: impl FnOnce(&mut Inner)) -> Held<'_> {
        let mut inner = self.inner.write();
        change(&mut inner);
        RwLockWriteGuard::downgrade(inner)
    }

    /// Forgets series of which nothing has arrived since `oldest`.
    pub(super) fn forget_before(&self, oldest: Timestamp) {
        // Going through all series holds up nobody; taking some out does.
        if self.hold().has_silent(oldest) {
            self.inner.write().forget_before(oldest);
        }
    }

    /// Publishes how much is known.
    pub(super) fn publish_sizes(&self, telemetry: &IngestMetrics) {
        let inner = self.hold();
        let set = |state, value: usize| telemetry.series.with_label_values(&[state]).set(value as i64);
        set("followed", inner.followed);
        set("unselected", inner.unselected);
        set("cached", inner.blocks);
    }
}

// === impl Inner ===

impl Inner {
    /// What is known of the label blocks of these series, in their order. True if there are strangers.
    pub(super) fn find_all(&self, series: &[SeriesView], known: &mut Vec<Known>) -> bool {
        known.clear();
        known.extend(series.iter().map(|view| self.find(view.hash)));
        known.contains(&Known::Stranger)
    }

    #[inline]
    pub(super) fn find(&self, hash: u64) -> Known {
        let entry = self.index[part(hash)].find(hash, |entry| entry.hash() == hash);
        entry.map_or(Known::Stranger, |entry| entry.known())
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

    /// Remembers a label block of a series by its canonical one; `follow` makes the series if there is none.
    ///
    /// # Errors
    /// With the number of series followed, when that is `series_max`.
    pub(super) fn insert_followed(
        &mut self,
        hash: u64,
        canonical: u64,
        series_max: usize,
        follow: impl FnOnce() -> Series,
    ) -> Result<(), usize> {
        let number = match self.find(canonical) {
            Known::Followed(number) => number,
            Known::Unselected | Known::Stranger if self.followed >= series_max => return Err(self.followed),
            Known::Unselected | Known::Stranger => {
                let number = self.place(follow());
                self.insert(canonical, number.0);
                number
            }
        };
        if hash != canonical {
            self.insert(hash, number.0 | ALIAS);
        }
        Ok(())
    }

    /// Forgets label blocks that can be learned again, if there are more than `blocks_max`. True if it did.
    pub(super) fn limit_blocks(&mut self, blocks_max: usize) -> bool {
        let is_full = self.blocks > blocks_max;
        if is_full {
            self.retain_blocks(|entry| entry.number < ALIAS);
        }
        is_full
    }

    fn place(&mut self, series: Series) -> SeriesNumber {
        self.followed += 1;
        let number = self.free.pop().unwrap_or_else(|| {
            let next = self.chunks.len() * PER_CHUNK;
            self.chunks.push(Box::new(Mutex::new(std::array::from_fn(|_| None))));
            self.free.extend((next as u32 + 1..(next + PER_CHUNK) as u32).rev());
            next as u32
        });
        let number = SeriesNumber(number);
        self.chunks[number.chunk()].get_mut()[number.lane()] = Some(series);
        number
    }

    /// True if the block is new.
    fn insert(&mut self, hash: u64, number: u32) -> bool {
        let entry = Entry { hash: [hash as u32, (hash >> 32) as u32], number };
        let part = &mut self.index[part(hash)];
        if let Some(known) = part.find_mut(hash, |known| known.hash() == hash) {
            *known = entry;
            return false;
        }
        part.insert_unique(hash, entry, Entry::hash);
        self.blocks += 1;
        true
    }

    fn has_silent(&self, oldest: Timestamp) -> bool {
        self.chunks
            .iter()
            .any(|chunk| chunk.lock().iter().flatten().any(|series| series.is_silent_since(oldest)))
    }

    fn forget_before(&mut self, oldest: Timestamp) {
        for (n, chunk) in self.chunks.iter_mut().enumerate() {
            for (lane, place) in chunk.get_mut().iter_mut().enumerate() {
                if let Some(series) = place.take_if(|series| series.is_silent_since(oldest)) {
                    series.end();
                    self.free.push((n * PER_CHUNK + lane) as u32);
                    self.followed -= 1;
                }
            }
        }
        let chunks = std::mem::take(&mut self.chunks);
        self.retain_blocks(|entry| match entry.known() {
            Known::Followed(number) => chunks[number.chunk()].lock()[number.lane()].is_some(),
            Known::Unselected | Known::Stranger => true,
        });
        self.chunks = chunks;
    }

    fn retain_blocks(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        let (mut blocks, mut unselected) = (0, 0);
        for part in &mut self.index {
            part.retain(|entry| {
                let is_kept = keep(entry);
                blocks += usize::from(is_kept);
                unselected += usize::from(is_kept && entry.number == UNSELECTED);
                is_kept
            });
            // Room that a flood has left behind.
            if part.capacity() > 4 * part.len() {
                part.shrink_to(2 * part.len(), Entry::hash);
            }
        }
        (self.blocks, self.unselected) = (blocks, unselected);
    }
}

/// Bits that a part does not use for its buckets.
fn part(hash: u64) -> usize {
    (hash >> 48) as usize % PARTS
}

// === impl Entry ===

impl Entry {
    fn hash(&self) -> u64 {
        u64::from(self.hash[0]) | u64::from(self.hash[1]) << 32
    }

    fn known(&self) -> Known {
        match self.number {
            UNSELECTED => Known::Unselected,
            number => Known::Followed(SeriesNumber(number & !ALIAS)),
        }
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
