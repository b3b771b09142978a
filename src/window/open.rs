//! Open slots: where ingest threads count the present, without locks.
//!
//! Each SLI has a ring of [`SLOTS`] cells, one per step of event time. An add to a cell is an atomic
//! add; what does not fit the ring (late, spread over a gap, far ahead) goes to a queue that the owner
//! applies when it next advances.
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

use crossbeam_queue::SegQueue;
use crossbeam_utils::CachePadded;

use super::{
    Counts,
    sync::{AtomicI64, AtomicU64, AtomicUsize, Ordering, fence},
};
use crate::time::millis;

/// The number of an SLI in the window store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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

/// The step of event time in which SLIs are counted and evaluated: the evaluation interval, or more
/// when the delay is so long that live samples would not fit the open slots.
pub fn resolution(evaluation_interval: Duration, evaluation_delay: Duration) -> Duration {
    let interval = evaluation_interval.max(Duration::from_millis(1));
    let delay_steps = evaluation_delay.as_millis().div_ceil(8);
    interval * u32::try_from(delay_steps.div_ceil(interval.as_millis())).unwrap_or(u32::MAX).max(1)
}

/// The open slots of every SLI, shared by ingest and the tick.
#[derive(Debug)]
pub struct OpenSlots {
    resolution_ms: i64,
    closed_ms: AtomicI64,
    limit_ms: AtomicI64,
    chunks: Box<[OnceLock<Box<Chunk>>]>,
    deferred: SegQueue<Deferred>,
    deferred_len: AtomicUsize,
    generation: AtomicUsize,
    batches: [CachePadded<AtomicUsize>; 2],
}

/// Step by step, so that the owner reads what it closes in a row.
#[derive(Debug)]
struct Chunk {
    steps: [[Cell; SLIS_PER_CHUNK]; SLOTS],
}

/// Counts as bits of `f64`.
#[derive(Debug, Default)]
struct Cell {
    bad: AtomicU64,
    total: AtomicU64,
    observed_ms: AtomicU64,
}

/// Counts that the owner places: at `to_ms`, or spread over `(from_ms, to_ms]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deferred {
    pub(super) sli: SliId,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
    pub(super) counts: Counts,
}

/// The adds of one request. While it lives, no cell it may add to changes its meaning.
#[derive(Debug)]
pub struct Batch<'a> {
    open: &'a OpenSlots,
    generation: usize,
    closed_ms: i64,
    limit_ms: i64,
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

    fn cell(&self, sli: SliId, step: usize) -> &Cell {
        let (chunk, lane) = (sli.0 as usize / SLIS_PER_CHUNK, sli.0 as usize % SLIS_PER_CHUNK);
        let chunk = self.chunks[chunk].get_or_init(|| {
            Box::new(Chunk { steps: std::array::from_fn(|_| std::array::from_fn(|_| Cell::default())) })
        });
        &chunk.steps[step][lane]
    }

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

    /// Takes what the cell for this step of time holds.
    pub(super) fn take(&self, sli: SliId, at_ms: i64) -> Counts {
        let cell = self.cell(sli, self.step(at_ms));
        // Relaxed: each number is complete in itself, and batches are synchronised by the generation.
        let take = |bits: &AtomicU64| f64::from_bits(bits.swap(0, Ordering::Relaxed));
        if cell.is_empty() {
            return Counts::ZERO;
        }
        Counts { bad: take(&cell.bad), total: take(&cell.total), observed_ms: take(&cell.observed_ms) }
    }

    /// The next of what was deferred; it counts as deferred until it is [placed](Self::note_placed).
    pub(super) fn take_deferred(&self) -> Option<Deferred> {
        self.deferred.pop()
    }

    pub(super) fn note_placed(&self) {
        self.deferred_len.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Cell ===

impl Cell {
    fn is_empty(&self) -> bool {
        [&self.bad, &self.total, &self.observed_ms].iter().all(|bits| bits.load(Ordering::Relaxed) == 0)
    }

    fn add(&self, counts: Counts) {
        add(&self.bad, counts.bad);
        add(&self.total, counts.total);
        add(&self.observed_ms, counts.observed_ms);
    }
}

/// Adds to an `f64` held as bits. A loop, because there is no atomic float addition; counts may be
/// negative or fractional (`count - bucket`, weights), so integers would not do.
fn add(bits: &AtomicU64, value: f64) {
    if value == 0.0 {
        return;
    }
    let mut seen = bits.load(Ordering::Relaxed);
    loop {
        let sum = (f64::from_bits(seen) + value).to_bits();
        // Relaxed: only the number itself is shared.
        match bits.compare_exchange_weak(seen, sum, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

// === impl Batch ===

impl Batch<'_> {
    /// Adds counts at an event time.
    pub fn add(&self, sli: SliId, at_ms: i64, counts: Counts) {
        let step_end = at_ms.div_euclid(self.open.resolution_ms) * self.open.resolution_ms;
        let step_end = if step_end == at_ms { at_ms } else { step_end + self.open.resolution_ms };
        if step_end > self.closed_ms && step_end <= self.limit_ms {
            self.open.cell(sli, self.open.step(step_end)).add(counts);
        } else {
            self.add_spread(sli, at_ms, at_ms, counts);
        }
    }

    /// Adds counts spread evenly over `(from, to]`, or all at `to` when they are equal.
    pub fn add_spread(&self, sli: SliId, from_ms: i64, to_ms: i64, counts: Counts) {
        self.open.deferred_len.fetch_add(1, Ordering::Relaxed);
        self.open.deferred.push(Deferred { sli, from_ms, to_ms, counts });
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
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
        assert_eq!(resolution(ms(1_000), ms(60_000)), ms(8_000));
        assert_eq!(resolution(ms(15_000), ms(5_000)), ms(15_000));
        assert_eq!(resolution(ms(0), ms(0)), ms(1));
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
