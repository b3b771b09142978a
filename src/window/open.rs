//! Open slots: where ingest threads count the present, without locks.
//!
//! Each SLI has a ring of [`SLOTS`] cells, one per step of event time. An add to a cell is one atomic
//! add, which never waits and never retries; what does not fit the ring (late, spread over a gap, far
//! ahead) or the cell (fractions, millions of events at once) goes to a queue that the owner applies when
//! it next advances.
//!
//! ```text
//!        final            closed, may still be added to           open              not yet
//!   ───────────────┤ final_ms ├──────────────────┤ closed_ms ├─────────────┤ limit_ms ├────────
//!                                                             adds go to cells
//! ```
//!
//! A cell is reused for the time one ring turn later only when nobody can add to its old time any more.
//! That is what batches are for: a batch reads `closed_ms` and `limit_ms` once, after it registered in the
//! present generation. The owner turns to the next generation once the one before has no batch left;
//! what was closed before a turn is out of reach for every batch of the generation that follows it.

use std::{sync::OnceLock, time::Duration};

use crossbeam_queue::{ArrayQueue, SegQueue};
use crossbeam_utils::CachePadded;

use super::{
    Counts,
    sync::{AtomicI64, AtomicUsize, Ordering, fence},
};
use crate::time::millis;

/// The number of an SLI in the window store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliId(pub u32);

// Eight steps for what arrives within the evaluation delay (see `resolution`), two or three until a
// closed step is final, the rest for senders whose clocks run ahead.
#[cfg(not(all(test, slod_loom)))]
pub(super) const SLOTS: usize = 16;
#[cfg(not(all(test, slod_loom)))]
const SLIS_PER_CHUNK: usize = 256;
// Few enough to explore.
#[cfg(all(test, slod_loom))]
pub(super) const SLOTS: usize = 2;
#[cfg(all(test, slod_loom))]
const SLIS_PER_CHUNK: usize = 1;
/// The most SLIs there can be. The table of chunks is allocated at start, 16 bytes a chunk.
pub(super) const SLIS_MAX: usize = SLIS_PER_CHUNK * 4_096;

// Steps that divide a quarter of an hour, as midnights of all time zones do.
const STEPS_MS: [u64; 23] = [
    1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 3_000, 5_000, 6_000, 10_000, 12_000, 15_000, 20_000,
    30_000, 60_000, 180_000, 300_000, QUARTER_MS,
];
const QUARTER_MS: u64 = 900_000;

/// The step of event time in which SLIs are counted and evaluated: the evaluation interval, or more where
/// the delay is so long that live samples would not fit the open slots, or where midnights would not lie
/// between steps.
pub fn resolution(evaluation_interval: Duration, evaluation_delay: Duration) -> Duration {
    let least = evaluation_interval.max(evaluation_delay / 8).as_micros().div_ceil(1_000).max(1);
    let step = STEPS_MS.into_iter().find(|step| u128::from(*step) >= least);
    let quarters = || u64::try_from(least.div_ceil(u128::from(QUARTER_MS))).unwrap_or(u64::MAX);
    Duration::from_millis(step.unwrap_or_else(|| quarters().saturating_mul(QUARTER_MS)))
}

/// The open slots of every SLI, shared by ingest and the tick.
#[derive(Debug)]
pub struct OpenSlots {
    resolution_ms: i64,
    closed_ms: AtomicI64,
    limit_ms: AtomicI64,
    chunks: Box<[OnceLock<Box<Chunk>>]>,
    deferred: SegQueue<Vec<Deferred>>,
    deferred_len: AtomicUsize,
    /// Empty lists for the next requests that defer something.
    spare: ArrayQueue<Vec<Deferred>>,
    generation: AtomicUsize,
    batches: [CachePadded<AtomicUsize>; 2],
}

/// Step by step, so that the owner reads what it closes in a row.
#[derive(Debug)]
struct Chunk {
    steps: [[Cell; SLIS_PER_CHUNK]; SLOTS],
}

/// Whole counts, `total << 32` plus `bad`, each of them within 2^31 in size.
#[derive(Debug, Default)]
pub(super) struct Cell(AtomicI64);

// As many requests as a backlog brings in a second or so, with some 2,000 counts of 48 bytes each: 25 MiB.
const SPARE_LISTS: usize = 256;
const SPARE_CAPACITY: usize = 4_096;

// The most that one add puts into a cell, and from where on whoever adds empties it: 256 threads may add
// once more each before the first of them has done so.
#[cfg(not(all(test, slod_loom)))]
const CELL_ADD_MAX: u32 = 1 << 22;
#[cfg(not(all(test, slod_loom)))]
const CELL_FULL: u32 = 1 << 30;
// So small that the second add meets a full cell.
#[cfg(all(test, slod_loom))]
const CELL_ADD_MAX: u32 = 1;
#[cfg(all(test, slod_loom))]
const CELL_FULL: u32 = 0;

/// What the owner places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deferred {
    pub(super) sli: SliId,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// Counts at `to_ms`, or spread over `(from_ms, to_ms]`.
    Counts(Counts),
    /// No series of the SLI had a sample in `(from_ms, to_ms)`.
    Unseen,
}

/// The adds of one request. While it lives, no cell it may add to changes its meaning.
#[derive(Debug)]
pub struct Batch<'a> {
    open: &'a OpenSlots,
    generation: usize,
    closed_ms: i64,
    limit_ms: i64,
    /// The step of the last add: the samples of a scrape share their time.
    last_at_ms: i64,
    last_step: Option<usize>,
    /// What is to be added next: the series of an SLI come one after the other.
    pending: Pending,
    deferred: Vec<Deferred>,
}

/// Whole counts for one cell. Threads that add to the same cells wait for each other's cache lines, so that
/// one add for many series is worth more than it saves here.
#[derive(Clone, Copy, Debug, Default)]
struct Pending {
    sli: SliId,
    at_ms: i64,
    step: usize,
    bad: i32,
    total: i32,
}

// === impl OpenSlots ===

impl OpenSlots {
    /// Open slots of this width; everything up to the first `advance` is deferred.
    pub fn new(resolution: Duration) -> Self {
        Self {
            resolution_ms: millis(resolution).max(1),
            closed_ms: AtomicI64::new(i64::MIN),
            limit_ms: AtomicI64::new(i64::MIN),
            chunks: (0..SLIS_MAX / SLIS_PER_CHUNK).map(|_| OnceLock::new()).collect(),
            deferred: SegQueue::new(),
            deferred_len: AtomicUsize::new(0),
            spare: ArrayQueue::new(SPARE_LISTS),
            generation: AtomicUsize::new(0),
            batches: Default::default(),
        }
    }

    /// The width of an open slot.
    pub fn resolution_ms(&self) -> i64 {
        self.resolution_ms
    }

    /// How many adds wait for the owner or for their time; what a caller bounds by refusing requests.
    pub fn deferred(&self) -> usize {
        // A momentary figure; nothing is read on the strength of it.
        self.deferred_len.load(Ordering::Relaxed)
    }

    /// Begins the adds of a request.
    pub fn batch(&self) -> Batch<'_> {
        let generation = self.enter();
        Batch {
            open: self,
            generation,
            // What was stored before the turn to this generation is seen: `enter` acquired that turn.
            closed_ms: self.closed_ms.load(Ordering::Acquire),
            limit_ms: self.limit_ms.load(Ordering::Acquire),
            last_at_ms: i64::MIN,
            last_step: None,
            pending: Pending::default(),
            deferred: Vec::new(),
        }
    }

    fn enter(&self) -> usize {
        loop {
            // Acquire: all that the owner stored before it turned to this generation.
            let generation = self.generation.load(Ordering::Acquire);
            self.batches[generation % 2].fetch_add(1, Ordering::Relaxed);
            // With the fence in `turn`: the owner sees this registration, or we see that it has turned.
            fence(Ordering::SeqCst);
            if self.generation.load(Ordering::Acquire) == generation {
                return generation;
            }
            self.batches[generation % 2].fetch_sub(1, Ordering::Release);
        }
    }

    pub(super) fn cell(&self, sli: SliId, step: usize) -> &Cell {
        let (chunk, lane) = (sli.0 as usize / SLIS_PER_CHUNK, sli.0 as usize % SLIS_PER_CHUNK);
        let chunk = self.chunks[chunk].get_or_init(|| {
            Box::new(Chunk { steps: std::array::from_fn(|_| std::array::from_fn(|_| Cell::default())) })
        });
        &chunk.steps[step][lane]
    }

    /// The step of an event time, counted on around the ring.
    fn step(&self, at_ms: i64) -> usize {
        (at_ms.div_euclid(self.resolution_ms)).rem_euclid(SLOTS as i64) as usize
    }

    // --- the owner's side ---

    /// Event times up to here go to the queue from now on.
    pub(super) fn close(&self, to_ms: i64) {
        // Release, here and below: paired with the loads in `batch`.
        self.closed_ms.store(to_ms, Ordering::Release);
    }

    /// Turns to the next generation if no batch of the one before is left. True if it did: then every
    /// batch alive has seen what was closed before the turn before this one.
    pub(super) fn turn(&self) -> bool {
        // Relaxed: only the owner stores it.
        let generation = self.generation.load(Ordering::Relaxed);
        // Acquire: the adds of the batches that have left.
        let previous_done = self.batches[(generation + 1) % 2].load(Ordering::Acquire) == 0;
        if previous_done {
            self.generation.store(generation + 1, Ordering::Release);
        }
        // Between this turn and the count at the next one: see `enter`.
        fence(Ordering::SeqCst);
        previous_done
    }

    /// Event times up to `final_ms` are done with; their cells may stand for the turn after.
    pub(super) fn reuse(&self, final_ms: i64) {
        self.limit_ms.store(final_ms + SLOTS as i64 * self.resolution_ms, Ordering::Release);
    }

    /// Visits the cells of all SLIs that hold something, with the time that they stand for if what is up to
    /// `final_ms` is done with.
    pub(super) fn visit_open(&self, final_ms: i64, mut visit: impl FnMut(SliId, i64, &Cell)) {
        for step in 1..=SLOTS as i64 {
            let at_ms = final_ms + step * self.resolution_ms;
            self.visit_step(at_ms, SLIS_MAX, |sli, cell| visit(sli, at_ms, cell));
        }
    }

    /// Visits the cells of the first `slis` SLIs that hold something for this step of time.
    pub(super) fn visit_step(&self, at_ms: i64, slis: usize, mut visit: impl FnMut(SliId, &Cell)) {
        let step = self.step(at_ms);
        for (number, chunk) in self.chunks.iter().take(slis.div_ceil(SLIS_PER_CHUNK)).enumerate() {
            let Some(chunk) = chunk.get() else { continue };
            let first = number * SLIS_PER_CHUNK;
            for (lane, cell) in chunk.steps[step].iter().take(slis - first).enumerate() {
                if !cell.is_zero() {
                    visit(SliId((first + lane) as u32), cell);
                }
            }
        }
    }

    /// Empties the cells of an SLI to which nobody adds any more: another may get its number.
    pub(super) fn clear(&self, sli: SliId) {
        for step in 0..SLOTS {
            self.cell(sli, step).take();
        }
    }

    /// The next of what was deferred; it counts as deferred until it is [placed](Self::note_placed).
    pub(super) fn take_deferred(&self) -> Option<Vec<Deferred>> {
        self.deferred.pop()
    }

    /// How many requests have deferred something.
    pub(super) fn deferred_batches(&self) -> usize {
        self.deferred.len()
    }

    /// Takes back a list that has been emptied, if it is of the usual size.
    pub(super) fn recycle(&self, mut list: Vec<Deferred>) {
        list.clear();
        if list.capacity() <= SPARE_CAPACITY {
            // One too many is dropped.
            let _ = self.spare.push(list);
        }
    }

    /// Counts as deferred what the owner brought itself.
    pub(super) fn note_deferred(&self, deferred: usize) {
        self.deferred_len.fetch_add(deferred, Ordering::Relaxed);
    }

    pub(super) fn note_placed(&self, placed: usize) {
        self.deferred_len.fetch_sub(placed, Ordering::Relaxed);
    }

    /// The memory of the cells of the first `slis` SLIs.
    pub(super) fn bytes(&self, slis: usize) -> usize {
        let chunks = self.chunks.iter().take(slis.div_ceil(SLIS_PER_CHUNK));
        let chunks = chunks.filter(|chunk| chunk.get().is_some()).count();
        size_of_val::<[OnceLock<Box<Chunk>>]>(&self.chunks) + chunks * size_of::<Chunk>()
    }
}

// === impl Cell ===

// Relaxed throughout: each number is complete in itself, and batches are synchronised by the generation.
impl Cell {
    /// Adds what [`packed`] made. Returns the contents if they became so large that they must move on.
    fn add(&self, packed: i64) -> Option<Counts> {
        let before = self.0.fetch_add(packed, Ordering::Relaxed);
        let is_full = |half: i32| half.unsigned_abs() > CELL_FULL;
        (is_full(before as i32) || is_full((before >> 32) as i32)).then(|| self.take())
    }

    fn is_zero(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// What it holds.
    pub(super) fn counts(&self) -> Counts {
        unpacked(self.0.load(Ordering::Relaxed))
    }

    /// Empties the cell.
    pub(super) fn take(&self) -> Counts {
        unpacked(self.0.swap(0, Ordering::Relaxed))
    }
}

/// What [`packed`] made one of.
fn unpacked(packed: i64) -> Counts {
    let bad = packed as i32;
    let total = ((packed - i64::from(bad)) >> 32) as i32;
    Counts { bad: f64::from(bad), total: f64::from(total) }
}

/// Bad and all events, if they are whole and not too many for one add to a cell.
fn whole(counts: Counts) -> Option<(i32, i32)> {
    let whole = |count: f64| {
        let whole = count as i32;
        (f64::from(whole) == count && whole.unsigned_abs() <= CELL_ADD_MAX).then_some(whole)
    };
    Some((whole(counts.bad)?, whole(counts.total)?))
}

/// Counts as a cell holds them.
fn packed(bad: i32, total: i32) -> i64 {
    (i64::from(total) << 32) + i64::from(bad)
}

// === impl Batch ===

impl Batch<'_> {
    /// Adds counts at an event time.
    pub fn add(&mut self, sli: SliId, at_ms: i64, counts: Counts) {
        let Some((step, (bad, total))) = self.open_step(at_ms).zip(whole(counts)) else {
            return self.add_late(sli, at_ms, counts);
        };
        let pending = &mut self.pending;
        let (sum_bad, sum_total) = (pending.bad + bad, pending.total + total);
        let fits = sum_bad.unsigned_abs() <= CELL_ADD_MAX && sum_total.unsigned_abs() <= CELL_ADD_MAX;
        if pending.sli == sli && pending.step == step && fits {
            (pending.bad, pending.total) = (sum_bad, sum_total);
        } else {
            self.add_pending();
            self.pending = Pending { sli, at_ms, step, bad, total };
        }
    }

    fn add_pending(&mut self) {
        let Pending { sli, at_ms, step, bad, total } = std::mem::take(&mut self.pending);
        if (bad, total) != (0, 0)
            && let Some(counts) = self.open.cell(sli, step).add(packed(bad, total))
        {
            self.add_late(sli, at_ms, counts);
        }
    }

    /// Adds counts at an event time, to the millisecond and not to the step.
    pub fn add_late(&mut self, sli: SliId, at_ms: i64, counts: Counts) {
        self.add_spread(sli, at_ms, at_ms, counts);
    }

    /// Adds counts spread evenly over `(from, to]`, or all at `to` when they are equal.
    pub fn add_spread(&mut self, sli: SliId, from_ms: i64, to_ms: i64, counts: Counts) {
        self.defer(Deferred { sli, from_ms, to_ms, what: What::Counts(counts) });
    }

    /// Notes that no series of the SLI had a sample in `(from, to)`, and one had at `to`. Its first sample
    /// is to be noted, with any `from`: observation begins with it.
    pub fn note_unseen(&mut self, sli: SliId, from_ms: i64, to_ms: i64) {
        self.defer(Deferred { sli, from_ms, to_ms, what: What::Unseen });
    }

    fn defer(&mut self, deferred: Deferred) {
        if self.deferred.capacity() == 0 {
            self.deferred = self.open.spare.pop().unwrap_or_default();
        }
        self.deferred.push(deferred);
    }

    /// The step of an event time if it is open.
    fn open_step(&mut self, at_ms: i64) -> Option<usize> {
        if at_ms != self.last_at_ms {
            let resolution_ms = self.open.resolution_ms;
            let end_ms =
                (at_ms - 1).div_euclid(resolution_ms).saturating_add(1).saturating_mul(resolution_ms);
            let is_open = end_ms > self.closed_ms && end_ms <= self.limit_ms;
            (self.last_at_ms, self.last_step) = (at_ms, is_open.then(|| self.open.step(end_ms)));
        }
        self.last_step
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.add_pending();
        if !self.deferred.is_empty() {
            self.open.deferred_len.fetch_add(self.deferred.len(), Ordering::Relaxed);
            self.open.deferred.push(std::mem::take(&mut self.deferred));
        }
        // Release: the owner that sees this batch gone sees its adds.
        self.open.batches[self.generation % 2].fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_resolution_leaves_room_for_the_delay() {
        let ms = Duration::from_millis;
        assert_eq!(resolution(ms(1_000), ms(5_000)), ms(1_000));
        assert_eq!(resolution(ms(1_000), ms(60_000)), ms(10_000));
        assert_eq!(resolution(ms(7_000), ms(5_000)), ms(10_000));
        assert_eq!(resolution(ms(100), ms(5_000)), ms(1_000));
        assert_eq!(resolution(ms(1_000), ms(3 * 3_600_000)), ms(1_800_000));
        assert_eq!(resolution(ms(15_000), ms(5_000)), ms(15_000));
        assert_eq!(resolution(ms(0), ms(0)), ms(1));
    }

    #[test]
    fn a_cell_holds_both_counts_whatever_their_signs() {
        let cell = Cell::default();
        for (bad, total) in [(3, 10), (-5, 0), (0, -4), (-1, -7), (4, 2)] {
            assert_eq!(cell.add(packed(bad, total)), None);
        }
        assert_eq!(cell.take(), Counts { bad: 1.0, total: 1.0 });
        assert!(cell.is_zero());
    }

    #[test]
    fn a_full_cell_moves_on_before_it_overflows() {
        let cell = Cell::default();
        let add_max = CELL_ADD_MAX as i32;
        let most = Counts { bad: -f64::from(add_max), total: f64::from(add_max) };
        let mut moved = Counts::ZERO;
        for _ in 0..10_000 {
            moved += cell.add(packed(-add_max, add_max)).unwrap_or(Counts::ZERO);
        }
        moved += cell.take();
        assert_eq!(moved, most * 10_000.0);
    }

    #[test]
    fn a_cell_takes_no_fractions_and_no_millions() {
        for count in [0.5, f64::from(CELL_ADD_MAX) + 1.0, -1e12, f64::NAN] {
            assert_eq!(whole(Counts { bad: 0.0, total: count }), None, "{count}");
        }
    }

    #[test]
    fn no_turn_while_a_batch_of_the_generation_before_lives() {
        let open = OpenSlots::new(Duration::from_secs(1));
        let old = open.batch();
        assert!(open.turn(), "nothing lives in the generation before");
        assert!(!open.turn(), "`old` does now");
        let new = open.batch();
        drop(old);
        assert!(open.turn());
        drop(new);
    }
}
