//! The events of each slice of time, for SLIs whose budget is counted in slices.
//!
//! A slice is judged once it has ended, and again when something late arrives for it. That takes its
//! events, not just the verdict, so they are kept for the last slices; what comes later than that is
//! counted as too late.

use super::{Counts, RingState, layout::Slices, ring::Ring};

/// By row: the events of the last slices.
#[derive(Debug)]
pub(super) struct SliceColumn {
    slices: Slices,
    /// How many ended slices are kept.
    kept: usize,
    /// The number of the slice that has not ended.
    newest: i64,
    tails: Vec<Counts>,
    rings: Vec<Ring>,
    ring_bytes: usize,
    too_late: u64,
}

/// A change of what a slice counts for, at the time the slice ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) at_ms: i64,
    pub(super) counts: Counts,
}

// Seventeen hours of one-minute slices, in at most 8 KiB for whole counts …
const KEPT_MAX: i64 = 1_024;
// … and of shorter ones as many as a sender's backlog may have.
const BACKLOG_MS: i64 = 3 * 3_600_000;

// === impl SliceColumn ===

impl SliceColumn {
    /// For rows whose longest window is this long.
    pub(super) fn new(slices: Slices, longest_ms: i64, now_ms: i64) -> Self {
        let most = KEPT_MAX.max(BACKLOG_MS / slices.width_ms);
        Self {
            slices,
            kept: (longest_ms / slices.width_ms).clamp(1, most) as usize,
            newest: (now_ms - 1).div_euclid(slices.width_ms),
            tails: Vec::new(),
            rings: Vec::new(),
            ring_bytes: 0,
            too_late: 0,
        }
    }

    pub(super) fn resize(&mut self, rows: usize) {
        self.tails.resize(rows, Counts::ZERO);
        self.rings.resize(rows, Ring::default());
    }

    pub(super) fn clear(&mut self, row: usize) {
        self.tails[row] = Counts::ZERO;
        self.ring_bytes -= self.rings[row].clear();
    }

    /// Forgets that the ring of a cleared row was ever stored.
    pub(super) fn forget(&mut self, row: usize) {
        self.rings[row] = Ring::default();
    }

    /// Fills an empty row with the slices of a row of another column of the same slices, at the same time.
    pub(super) fn take_over(&mut self, row: usize, from: &Self, from_row: usize) {
        self.tails[row] = from.tails[from_row];
        for number in self.newest - self.kept.min(from.kept) as i64..self.newest {
            self.put(row, number, from.rings[from_row].get(from.index(number)));
        }
    }

    /// Whether slices that have ended hold anything.
    pub(super) fn has_ring(&self, row: usize) -> bool {
        self.rings[row].bytes() > 0
    }

    /// The ring of a row if it is to be stored. It counts as stored from now on.
    pub(super) fn take_ring(&mut self, row: usize, is_all: bool) -> Option<RingState> {
        self.rings[row].take_change(is_all).then(|| self.rings[row].state(self.newest))
    }

    /// Gives an empty row the ring that was stored with it at `at`. `None` if it is no such ring.
    pub(super) fn restore_ring(&mut self, row: usize, at_ms: i64, state: RingState) -> Option<()> {
        let newest = (self.number(at_ms), self.newest);
        self.rings[row] = Ring::restored(state, self.kept, newest)?;
        self.ring_bytes += self.rings[row].bytes();
        Some(())
    }

    /// Begins again, with rows that have been cleared.
    pub(super) fn restart(&mut self, now_ms: i64) {
        self.newest = self.number(now_ms);
    }

    pub(super) fn bytes(&self) -> usize {
        self.ring_bytes
            + self.tails.capacity() * size_of::<Counts>()
            + self.rings.capacity() * size_of::<Ring>()
    }

    /// How many counts came too late to change the verdict of their slice.
    pub(super) fn too_late(&self) -> u64 {
        self.too_late
    }

    /// The events of the slice that has not ended.
    pub(super) fn open(&self, row: usize) -> Counts {
        self.tails[row]
    }

    /// Moves the present to `to_ms`. Returns the number of the slice that ended by that.
    pub(super) fn advance(&mut self, to_ms: i64) -> Option<i64> {
        let newest = self.number(to_ms);
        (newest > self.newest).then(|| std::mem::replace(&mut self.newest, newest))
    }

    /// The verdict on a slice that [ended](Self::advance), which is kept from now on.
    pub(super) fn end(&mut self, row: usize, ended: i64) -> Verdict {
        let events = std::mem::take(&mut self.tails[row]);
        self.put(row, ended, events);
        for skipped in (ended + 1).max(self.newest - self.kept as i64)..self.newest {
            self.put(row, skipped, Counts::ZERO);
        }
        if self.index(ended) == 0 {
            self.ring_bytes -= self.rings[row].release_if_zero();
        }
        Verdict { at_ms: self.end_ms(ended), counts: self.slices.judge(events) }
    }

    /// Adds events. Returns the change of the verdict if their slice has ended.
    pub(super) fn add(&mut self, row: usize, at_ms: i64, events: Counts) -> Option<Verdict> {
        let number = self.number(at_ms);
        if number == self.newest {
            self.tails[row] += events;
            return None;
        }
        if number < self.newest - self.kept as i64 {
            self.too_late += 1;
            return None;
        }
        let before = self.rings[row].get(self.index(number));
        let mut after = before;
        after += events;
        self.put(row, number, after);
        let counts = self.slices.judge(after) - self.slices.judge(before);
        Some(Verdict { at_ms: self.end_ms(number), counts })
    }

    /// Adds the events of a row of another column of the same slices, at the same time. Returns by how much verdicts
    /// on what both had events of differ from the sum of theirs.
    pub(super) fn absorb(&mut self, row: usize, from: &Self, from_row: usize) -> Vec<Verdict> {
        self.tails[row] += from.tails[from_row];
        let mut differences = Vec::new();
        for number in self.newest - self.kept as i64..self.newest {
            let (own, more) =
                (self.rings[row].get(self.index(number)), from.rings[from_row].get(from.index(number)));
            if more == Counts::ZERO {
                continue;
            }
            let mut all = own;
            all += more;
            self.put(row, number, all);
            if own != Counts::ZERO {
                let judge = |events| self.slices.judge(events);
                let counts = judge(all) - judge(own) - judge(more);
                differences.push(Verdict { at_ms: self.end_ms(number), counts });
            }
        }
        differences
    }

    /// The slices that `(from, to]` touches, and how it is cut into them.
    pub(super) fn parts(&self, from_ms: i64, to_ms: i64) -> impl Iterator<Item = (i64, i64)> + use<> {
        let (width_ms, newest, kept) = (self.slices.width_ms, self.newest, self.kept as i64);
        let first = from_ms.div_euclid(width_ms).max(newest - kept - 1);
        (first..=self.number(to_ms)).map(move |slice| (slice * width_ms, (slice + 1) * width_ms))
    }

    fn put(&mut self, row: usize, number: i64, events: Counts) {
        let index = self.index(number);
        self.ring_bytes += self.rings[row].set(self.kept, index, events);
    }

    fn number(&self, at_ms: i64) -> i64 {
        (at_ms - 1).div_euclid(self.slices.width_ms)
    }

    fn end_ms(&self, number: i64) -> i64 {
        (number + 1) * self.slices.width_ms
    }

    fn index(&self, number: i64) -> usize {
        number.rem_euclid(self.kept as i64) as usize
    }
}
