//! The closed past of all SLIs of one layout. Owned by the tick.
//!
//! A row per SLI, in columns by how often they are needed: sums, which every tick reads from end to end;
//! tails, which an add touches; and rings, which are touched when a slot ends and by what comes late.
//! All rows share one clock, so what depends on the time alone is worked out once for all of them.

mod absorb;
mod relayout;
mod state;

use std::{cmp::Ordering, sync::Arc};

use super::{Counts, Layout, ring::Ring, slices::SliceColumn};
use crate::time::Timestamp;

/// The histories of SLIs with the same windows.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) layout: Arc<Layout>,
    clock: Clock,
    /// By row, then window.
    sums: Vec<WindowSum>,
    /// By row, then calendar window.
    calendar_sums: Vec<Counts>,
    /// By row: everything ever counted, whether or not any window still holds it.
    lifetimes: Vec<Counts>,
    /// By row, then tier: what the newest slot holds. It takes its place in the ring when it ends.
    tails: Vec<Counts>,
    /// By tier, then row: a slot ends in all rows of a tier at once.
    rings: Vec<Vec<Ring>>,
    slices: Option<SliceColumn>,
    free_rows: Vec<u32>,
    ring_bytes: usize,
    /// What `advance` works with, kept for the next time.
    turn: Turn,
    inexact: Vec<(usize, usize)>,
}

/// The slots of a window from the one its start cuts to the newest, and that one alone.
#[derive(Clone, Copy, Debug, Default)]
struct WindowSum {
    counts: Counts,
    cut: Counts,
}

/// Where the present is in every tier and window.
#[derive(Debug)]
struct Clock {
    now_ms: i64,
    /// What is later than this lies in the newest slot of every tier, and in no window's cut slot.
    tails_from_ms: i64,
    /// By tier: the newest slot.
    newest: Vec<i64>,
    /// By tier: where it will lie in the ring.
    newest_index: Vec<usize>,
    /// By window: the slot that its start cuts, and the share of it that lies outside.
    cuts: Vec<(i64, f64)>,
    /// By calendar window: the present period, `(start, end]`.
    periods: Vec<(Timestamp, Timestamp)>,
}

/// What the passing of time does to every row.
#[derive(Debug, Default)]
struct Turn {
    ended: Vec<Ended>,
    moved: Vec<Moved>,
}

/// A slot that was the newest of its tier.
#[derive(Debug)]
struct Ended {
    tier: usize,
    slot: i64,
    index: usize,
    newest: i64,
}

/// A window whose start moved to another slot.
#[derive(Debug)]
struct Moved {
    window: usize,
    tier: usize,
    before: i64,
    now: i64,
    /// The newest slot before this turn: the rings hold nothing that is newer.
    known: i64,
    /// Where the slot lies that the start cuts now.
    cut_index: usize,
}

// === impl Table ===

impl Table {
    pub(super) fn new(layout: Arc<Layout>, now_ms: i64) -> Self {
        Self {
            clock: Clock::new(&layout, now_ms),
            sums: Vec::new(),
            calendar_sums: Vec::new(),
            lifetimes: Vec::new(),
            tails: Vec::new(),
            rings: vec![Vec::new(); layout.tiers.len()],
            slices: layout.slices.map(|slices| SliceColumn::new(slices, layout.longest_ms(), now_ms)),
            free_rows: Vec::new(),
            ring_bytes: 0,
            turn: Turn::default(),
            inexact: Vec::new(),
            layout,
        }
    }

    /// A row for another SLI.
    pub(super) fn insert(&mut self) -> usize {
        if let Some(row) = self.free_rows.pop() {
            return row as usize;
        }
        let rows = self.lifetimes.len() + 1;
        self.sums.resize(rows * self.layout.windows.len(), WindowSum::default());
        self.calendar_sums.resize(rows * self.layout.calendars.len(), Counts::ZERO);
        self.lifetimes.resize(rows, Counts::ZERO);
        self.tails.resize(rows * self.layout.tiers.len(), Counts::ZERO);
        self.rings.iter_mut().for_each(|tier| tier.resize(rows, Ring::default()));
        if let Some(slices) = &mut self.slices {
            slices.resize(rows);
        }
        rows - 1
    }

    /// Empties a row, and lets another SLI have it.
    pub(super) fn remove(&mut self, row: usize) {
        self.clear(row);
        self.lifetimes[row] = Counts::ZERO;
        // What is stored of the row is nothing to its next SLI.
        self.rings.iter_mut().for_each(|tier| tier[row] = Ring::default());
        if let Some(slices) = &mut self.slices {
            slices.forget(row);
        }
        self.free_rows.push(row as u32);
    }

    /// Whether no SLI has a row.
    pub(super) fn is_unused(&self) -> bool {
        self.free_rows.len() == self.lifetimes.len()
    }

    /// Empties every window and begins again at `now_ms`. Lifetime counts stay.
    pub(super) fn restart(&mut self, now_ms: i64) {
        for row in 0..self.lifetimes.len() {
            self.clear(row);
        }
        self.clock = Clock::new(&self.layout, now_ms);
        if let Some(slices) = &mut self.slices {
            slices.restart(now_ms);
        }
    }

    fn clear(&mut self, row: usize) {
        let of = |columns: usize| row * columns..(row + 1) * columns;
        self.sums[of(self.layout.windows.len())].fill(WindowSum::default());
        self.calendar_sums[of(self.layout.calendars.len())].fill(Counts::ZERO);
        self.tails[of(self.layout.tiers.len())].fill(Counts::ZERO);
        for tier in &mut self.rings {
            self.ring_bytes -= tier[row].clear();
        }
        if let Some(slices) = &mut self.slices {
            slices.clear(row);
        }
    }

    /// The memory of all rows.
    pub(super) fn bytes(&self) -> usize {
        let counts = self.calendar_sums.capacity() + self.lifetimes.capacity() + self.tails.capacity();
        self.ring_bytes
            + self.slices.as_ref().map_or(0, SliceColumn::bytes)
            + self.sums.capacity() * size_of::<WindowSum>()
            + counts * size_of::<Counts>()
            + self.rings.iter().map(Vec::capacity).sum::<usize>() * size_of::<Ring>()
            + self.free_rows.capacity() * size_of::<u32>()
    }

    /// How many counts came too late to change the verdict of their slice.
    pub(super) fn too_late(&self) -> u64 {
        self.slices.as_ref().map_or(0, SliceColumn::too_late)
    }

    // --- reading ---

    /// Everything ever counted.
    pub(super) fn lifetime(&self, row: usize) -> Counts {
        self.lifetimes[row]
    }

    /// The counts of every window, `(now - length, now]`, in the layout's order. The slot that the start
    /// cuts counts by the share of it that lies inside.
    pub(super) fn windows(&self, row: usize) -> impl ExactSizeIterator<Item = Counts> {
        let windows = self.layout.windows.len();
        let sums = &self.sums[row * windows..][..windows];
        sums.iter().zip(&self.clock.cuts).map(|(sum, (_, outside))| sum.counts - sum.cut * *outside)
    }

    /// The counts of every calendar window since its period began.
    pub(super) fn calendars(&self, row: usize) -> &[Counts] {
        let calendars = self.layout.calendars.len();
        &self.calendar_sums[row * calendars..][..calendars]
    }

    /// The present period of a calendar window, `(start, end]`.
    pub(super) fn period(&self, calendar: usize) -> (Timestamp, Timestamp) {
        self.clock.periods[calendar]
    }

    /// Whether no window holds anything, nor the slice that has not ended.
    pub(super) fn is_empty(&self, row: usize) -> bool {
        let is_zero = |counts: Counts| counts == Counts::ZERO;
        let open_slice = self.slices.as_ref().map_or(Counts::ZERO, |slices| slices.open(row));
        self.windows(row).chain(self.calendars(row).iter().copied()).all(is_zero) && is_zero(open_slice)
    }

    /// How long from now until `enough` holds of a window's counts if nothing more is added: events leave
    /// with the slots that expire. At most the window's length.
    pub(super) fn time_until(&self, row: usize, window: usize, enough: impl Fn(Counts) -> bool) -> i64 {
        let layout = self.layout.windows[window];
        let slot_ms = self.layout.tiers[layout.tier].slot_ms;
        let Some(mut left) = self.windows(row).nth(window) else { return 0 };
        let start_ms = self.clock.now_ms - layout.length_ms;
        let (mut slot, mut from_ms) = (self.clock.cuts[window].0, start_ms);
        while !enough(left) && from_ms < self.clock.now_ms {
            let end_ms = ((slot + 1) * slot_ms).min(self.clock.now_ms);
            let part = (end_ms - from_ms) as f64 / slot_ms as f64;
            left -= self.slot(row, layout.tier, slot) * part;
            (slot, from_ms) = (slot + 1, end_ms);
        }
        from_ms - start_ms
    }

    fn slot(&self, row: usize, tier: usize, slot: i64) -> Counts {
        match slot.cmp(&self.clock.newest[tier]) {
            Ordering::Less => self.rings[tier][row].get(self.layout.tiers[tier].index(slot)),
            Ordering::Equal => self.tails[row * self.layout.tiers.len() + tier],
            Ordering::Greater => Counts::ZERO,
        }
    }

    // --- the passing of time ---

    /// Moves the present to `to_ms`; going back in time changes nothing.
    pub(super) fn advance(&mut self, to_ms: i64) {
        if to_ms <= self.clock.now_ms {
            return;
        }
        let mut turn = std::mem::take(&mut self.turn);
        self.clock.advance(&self.layout, to_ms, &mut turn);
        // Short loops over all rows, of which the processor has several under way at once.
        turn.ended.iter().for_each(|ended| self.end_slot(ended));
        turn.moved.iter().for_each(|moved| self.move_start(moved));
        turn.ended.iter().for_each(|ended| self.recycle_slots(ended));
        self.take_inexact_sums();
        self.turn = turn;
        self.begin_calendar_periods();
        self.end_slices(to_ms);
    }

    /// Puts the tails of a tier into its rings.
    fn end_slot(&mut self, ended: &Ended) {
        let (tiers, slots) = (self.layout.tiers.len(), self.layout.tiers[ended.tier].slots);
        let tails = self.tails.iter_mut().skip(ended.tier).step_by(tiers);
        for (ring, tail) in self.rings[ended.tier].iter_mut().zip(tails) {
            self.ring_bytes += ring.set(slots, ended.index, *tail);
            *tail = Counts::ZERO;
        }
    }

    /// Takes from the sums of a window what left it.
    fn move_start(&mut self, moved: &Moved) {
        let layout = self.layout.tiers[moved.tier];
        let sums = self.sums.iter_mut().skip(moved.window).step_by(self.layout.windows.len());
        for (row, (ring, sum)) in self.rings[moved.tier].iter().zip(sums).enumerate() {
            let mut is_exact = sum.cut.is_exact();
            sum.counts -= sum.cut;
            for skipped in moved.before + 1..moved.now.min(moved.known + 1) {
                let expired = ring.get(layout.index(skipped));
                is_exact &= expired.is_exact();
                sum.counts -= expired;
            }
            sum.cut = if moved.now > moved.known { Counts::ZERO } else { ring.get(moved.cut_index) };
            if !is_exact {
                self.inexact.push((row, moved.window));
            }
        }
    }

    /// Empties the slots that no tail was put into, and lets go of rings that hold nothing.
    fn recycle_slots(&mut self, ended: &Ended) {
        let layout = self.layout.tiers[ended.tier];
        let rings = &mut self.rings[ended.tier];
        for skipped in (ended.slot + 1).max(ended.newest - layout.slots as i64)..ended.newest {
            let index = layout.index(skipped);
            rings.iter_mut().for_each(|ring| {
                ring.set(layout.slots, index, Counts::ZERO);
            });
        }
        // Once a turn of the ring is soon enough.
        if ended.newest.div_euclid(layout.slots as i64) != ended.slot.div_euclid(layout.slots as i64) {
            self.ring_bytes -= rings.iter_mut().map(Ring::release_if_zero).sum::<usize>();
        }
    }

    /// Takes sums from their slots, where taking away what expired was not exact.
    fn take_inexact_sums(&mut self) {
        while let Some((row, window)) = self.inexact.pop() {
            let tier = self.layout.windows[window].tier;
            let mut counts = Counts::ZERO;
            for slot in self.clock.cuts[window].0..=self.clock.newest[tier] {
                counts += self.slot(row, tier, slot);
            }
            self.sums[row * self.layout.windows.len() + window].counts = counts;
        }
    }

    fn begin_calendar_periods(&mut self) {
        let calendars = self.layout.calendars.len();
        for calendar in 0..calendars {
            if self.clock.now_ms > self.clock.periods[calendar].1.0 {
                self.clock.periods[calendar] =
                    self.layout.calendars[calendar].period(Timestamp(self.clock.now_ms));
                let sums = self.calendar_sums.iter_mut().skip(calendar).step_by(calendars);
                sums.for_each(|sum| *sum = Counts::ZERO);
            }
        }
    }

    fn end_slices(&mut self, to_ms: i64) {
        let Some(mut slices) = self.slices.take() else { return };
        if let Some(ended) = slices.advance(to_ms) {
            for row in 0..self.lifetimes.len() {
                let verdict = slices.end(row, ended);
                if verdict.counts != Counts::ZERO {
                    self.count(row, verdict.at_ms, verdict.counts);
                }
            }
        }
        self.slices = Some(slices);
    }

    // --- adding ---

    /// Adds counts at an event time that is not in the future.
    pub(super) fn add(&mut self, row: usize, at_ms: i64, counts: Counts) {
        debug_assert!(at_ms <= self.clock.now_ms, "BUG: {at_ms} is after the present, {}", self.clock.now_ms);
        match &mut self.slices {
            None => self.count(row, at_ms, counts),
            Some(slices) => {
                if let Some(verdict) = slices.add(row, at_ms, counts) {
                    self.count(row, verdict.at_ms, verdict.counts);
                }
            }
        }
    }

    /// Adds counts spread evenly over `(from, to]`: whole events to whole slots, none lost to rounding.
    pub(super) fn add_spread(&mut self, row: usize, from_ms: i64, to_ms: i64, counts: Counts) {
        let Some(slices) = &self.slices else { return self.spread(row, from_ms, to_ms, counts) };
        let until = |end_ms| share(counts, end_ms, from_ms, to_ms);
        for (start_ms, end_ms) in slices.parts(from_ms, to_ms) {
            self.add(row, end_ms.min(to_ms), until(end_ms) - until(start_ms));
        }
    }

    /// As [`add_spread`](Self::add_spread), of what windows count: events, or slices.
    fn spread(&mut self, row: usize, from_ms: i64, to_ms: i64, counts: Counts) {
        let part = |start_ms, end_ms| {
            share(counts, end_ms, from_ms, to_ms) - share(counts, start_ms, from_ms, to_ms)
        };
        self.lifetimes[row] += counts;
        self.count_in_calendars(row, |start_ms| part(start_ms, to_ms), from_ms, to_ms);
        for tier in 0..self.layout.tiers.len() {
            let layout = self.layout.tiers[tier];
            let oldest = self.clock.newest[tier] - layout.slots as i64 + 1;
            for slot in from_ms.div_euclid(layout.slot_ms).max(oldest)..=layout.slot_of(to_ms) {
                let start_ms = slot * layout.slot_ms;
                self.count_in_slot(row, tier, slot, part(start_ms, start_ms + layout.slot_ms));
            }
        }
    }

    fn count(&mut self, row: usize, at_ms: i64, counts: Counts) {
        self.lifetimes[row] += counts;
        self.count_in_calendars(row, |_| counts, at_ms - 1, at_ms);
        if at_ms > self.clock.tails_from_ms {
            // What happens now: in the newest slot of every tier, and in every window.
            let (tiers, windows) = (self.layout.tiers.len(), self.layout.windows.len());
            self.tails[row * tiers..][..tiers].iter_mut().for_each(|tail| *tail += counts);
            self.sums[row * windows..][..windows].iter_mut().for_each(|sum| sum.counts += counts);
            return;
        }
        for tier in 0..self.layout.tiers.len() {
            self.count_in_slot(row, tier, self.layout.tiers[tier].slot_of(at_ms), counts);
        }
    }

    /// Counts in each calendar window what lies after the start of its period.
    fn count_in_calendars(&mut self, row: usize, after: impl Fn(i64) -> Counts, from_ms: i64, to_ms: i64) {
        let calendars = self.layout.calendars.len();
        let sums = &mut self.calendar_sums[row * calendars..][..calendars];
        for (sum, (start, _)) in sums.iter_mut().zip(&self.clock.periods) {
            if to_ms > start.0 {
                *sum += after(start.0.max(from_ms));
            }
        }
    }

    /// Counts in a tier; what lies beyond its reach is not counted there.
    fn count_in_slot(&mut self, row: usize, tier: usize, slot: i64, counts: Counts) {
        let layout = self.layout.tiers[tier];
        let newest = self.clock.newest[tier];
        if slot == newest {
            self.tails[row * self.layout.tiers.len() + tier] += counts;
        } else if slot > newest - layout.slots as i64 {
            // Back around the ring; a remainder would cost more than the rest.
            let (at, back) = (self.clock.newest_index[tier], (newest - slot) as usize);
            let index = if at >= back { at - back } else { at + layout.slots - back };
            let ring = &mut self.rings[tier][row];
            let mut content = ring.get(index);
            content += counts;
            self.ring_bytes += ring.set(layout.slots, index, content);
        } else {
            return;
        }
        let first = row * self.layout.windows.len();
        for window in layout.windows() {
            let (sum, cut) = (&mut self.sums[first + window], self.clock.cuts[window].0);
            if slot >= cut {
                sum.counts += counts;
            }
            if slot == cut {
                sum.cut += counts;
            }
        }
    }
}

/// The part of counts spread over `(from, to]` that lies up to `until`. Whole numbers stay whole, and
/// opposite ones opposite: what `total - good` cancels as a whole it cancels in every part.
fn share(counts: Counts, until_ms: i64, from_ms: i64, to_ms: i64) -> Counts {
    let part = (until_ms.clamp(from_ms, to_ms) - from_ms) as f64 / (to_ms - from_ms).max(1) as f64;
    let take = |whole: f64| if whole.fract() == 0.0 { (whole * part).trunc() } else { whole * part };
    Counts { bad: take(counts.bad), total: take(counts.total) }
}

// === impl Clock ===

impl Clock {
    fn new(layout: &Layout, now_ms: i64) -> Self {
        let now = Timestamp(now_ms);
        let mut clock = Self {
            now_ms,
            tails_from_ms: i64::MIN,
            newest: layout.tiers.iter().map(|tier| tier.slot_of(now_ms)).collect(),
            newest_index: layout.tiers.iter().map(|tier| tier.index(tier.slot_of(now_ms))).collect(),
            cuts: vec![(0, 0.0); layout.windows.len()],
            periods: layout.calendars.iter().map(|calendar| calendar.period(now)).collect(),
        };
        for window in 0..clock.cuts.len() {
            clock.cuts[window] = clock.cut(layout, window);
        }
        clock.tails_from_ms = clock.tails_from(layout);
        clock
    }

    /// The slot that a window's start cuts now, or at whose end it begins, and the share of it that lies
    /// outside. So the start moves on when slots end: one pass over the rows, not two.
    fn cut(&self, layout: &Layout, window: usize) -> (i64, f64) {
        let window = layout.windows[window];
        let slot_ms = layout.tiers[window.tier].slot_ms;
        let start_ms = self.now_ms - window.length_ms;
        let slot = (start_ms - 1).div_euclid(slot_ms);
        (slot, (start_ms - slot * slot_ms) as f64 / slot_ms as f64)
    }

    fn tails_from(&self, layout: &Layout) -> i64 {
        let newest = self.newest.iter().zip(&layout.tiers).map(|(newest, tier)| newest * tier.slot_ms);
        let cuts = self.cuts.iter().zip(&layout.windows);
        let cuts = cuts.map(|((slot, _), window)| (slot + 1) * layout.tiers[window.tier].slot_ms);
        newest.chain(cuts).max().unwrap_or(i64::MIN)
    }

    /// Moves to `to_ms`, and notes what that changes in every row.
    fn advance(&mut self, layout: &Layout, to_ms: i64, turn: &mut Turn) {
        turn.ended.clear();
        turn.moved.clear();
        self.now_ms = to_ms;
        for window in 0..self.cuts.len() {
            let tier = layout.windows[window].tier;
            let known = self.newest[tier];
            let cut = self.cut(layout, window);
            let (before, _) = std::mem::replace(&mut self.cuts[window], cut);
            if cut.0 > before {
                let cut_index = layout.tiers[tier].index(cut.0);
                turn.moved.push(Moved { window, tier, before, now: cut.0, known, cut_index });
            }
        }
        for (tier, layout) in layout.tiers.iter().enumerate() {
            let newest = layout.slot_of(to_ms);
            let slot = std::mem::replace(&mut self.newest[tier], newest);
            if newest > slot {
                self.newest_index[tier] = layout.index(newest);
                turn.ended.push(Ended { tier, slot, index: layout.index(slot), newest });
            }
        }
        self.tails_from_ms = self.tails_from(layout);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use proptest::prelude::*;

    use crate::{
        time::{Calendar, CalendarUnit},
        window::Slices,
    };

    const HOUR_MS: i64 = 3_600_000;
    const START_MS: i64 = 1_000 * HOUR_MS;
    const SECOND: Duration = Duration::from_secs(1);

    /// A table with one row.
    struct OneRow(Table);

    impl OneRow {
        fn new(windows: &[u64]) -> Self {
            let windows: Vec<Duration> = windows.iter().map(|s| Duration::from_secs(*s)).collect();
            Self::of(Layout::new(&windows, &[], SECOND))
        }

        fn of(layout: Layout) -> Self {
            let mut table = Table::new(Arc::new(layout), START_MS);
            assert_eq!(table.insert(), 0);
            Self(table)
        }

        fn now_ms(&self) -> i64 {
            self.0.clock.now_ms
        }

        fn add(&mut self, at_ms: i64, bad: f64, total: f64) {
            self.0.add(0, at_ms, Counts { bad, total });
        }

        fn counts(&self, window: usize) -> Counts {
            self.0.windows(0).nth(window).unwrap()
        }

        fn total(&self, window: usize) -> f64 {
            self.counts(window).total
        }
    }

    #[test]
    fn an_event_leaves_a_window_exactly_its_length_later() {
        let mut row = OneRow::new(&[60]);
        row.add(START_MS, 0.0, 1.0);
        row.0.advance(START_MS + 59_000);
        assert_eq!(row.total(0), 1.0);
        row.0.advance(START_MS + 60_000);
        assert_eq!(row.total(0), 0.0);
        assert_eq!(row.0.lifetime(0).total, 1.0);
    }

    #[test]
    fn the_slot_that_the_start_cuts_counts_in_part() {
        let mut row = OneRow::new(&[1_800]); // slots of 10 s
        row.0.advance(START_MS + 10_000);
        row.add(START_MS + 10_000, 0.0, 10.0);
        row.0.advance(START_MS + 1_800_000 + 4_000);
        assert_eq!(row.total(0), 6.0);
    }

    #[test]
    fn late_counts_land_in_their_own_time() {
        let mut row = OneRow::new(&[60, 3_600]);
        row.add(START_MS - 600_000, 0.0, 1.0);
        assert_eq!((row.total(0), row.total(1)), (0.0, 1.0));
        row.add(START_MS - 2 * HOUR_MS, 0.0, 1.0);
        assert_eq!(row.total(1), 1.0);
        assert_eq!(row.0.lifetime(0).total, 2.0);
    }

    #[test]
    fn what_comes_late_to_the_cut_slot_leaves_with_it() {
        let mut row = OneRow::new(&[1_800]);
        row.0.advance(START_MS + 4_000);
        row.add(START_MS - 1_795_000, 0.0, 10.0);
        assert_eq!(row.total(0), 6.0);
        row.0.advance(START_MS + 10_000);
        assert_eq!(row.total(0), 0.0);
    }

    #[test]
    fn spread_counts_are_whole_and_complete() {
        let mut row = OneRow::new(&[300, 3_600]);
        row.0.add_spread(0, START_MS - 600_000, START_MS, Counts { bad: 0.0, total: 7.0 });
        assert_eq!(row.total(1), 7.0);
        assert_eq!(row.total(0), 4.0, "half of seven, and the odd one is in the later half");
        row.0.add_spread(0, START_MS - 600_000, START_MS, Counts { bad: 1.5, total: 0.0 });
        assert!((row.counts(0).bad - 0.75).abs() < 1e-9);
    }

    #[test]
    fn what_cancels_as_a_whole_cancels_in_every_window() {
        let mut row = OneRow::new(&[300, 3_600]);
        for _ in 0..50 {
            row.0.add_spread(0, START_MS - 7_200_000, START_MS, Counts { bad: 15.0, total: 15.0 });
            row.0.add_spread(0, START_MS - 7_200_000, START_MS, Counts { bad: -15.0, total: 0.0 });
        }
        assert_eq!((row.counts(0).bad, row.counts(1).bad), (0.0, 0.0));
    }

    #[test]
    fn a_huge_count_leaves_no_trace_when_it_expires() {
        let mut row = OneRow::new(&[300, 1_800]);
        row.add(START_MS, 0.0, 9e15);
        row.add(START_MS, 0.5, 9e15);
        for second in 1..=1_000 {
            row.0.advance(START_MS + second * 1_000);
            row.add(row.now_ms(), 0.0, 1.0);
        }
        assert_eq!(row.counts(0), Counts { bad: 0.0, total: 300.0 });
    }

    #[test]
    fn a_jump_over_everything_leaves_nothing_behind() {
        let mut row = OneRow::new(&[60, 3_600]);
        row.add(START_MS, 0.0, 1.0);
        row.0.advance(START_MS + 1_000 * HOUR_MS);
        assert_eq!((row.counts(0), row.counts(1)), (Counts::ZERO, Counts::ZERO));
        assert!(row.0.is_empty(0));
        row.0.advance(row.now_ms() - HOUR_MS);
        row.add(row.now_ms(), 0.0, 1.0);
        assert_eq!(row.total(0), 1.0);
    }

    #[test]
    fn fractions_do_not_drift_over_many_turns() {
        let mut row = OneRow::new(&[60]);
        for second in 1..=100_000 {
            row.0.advance(START_MS + second * 1_000);
            row.add(row.now_ms(), 0.1, 0.7);
        }
        assert!((row.total(0) - 42.0).abs() < 1e-10, "{}", row.total(0));
    }

    #[test]
    fn the_time_until_a_budget_recovers_follows_the_slots() {
        let mut row = OneRow::new(&[1_800]);
        row.0.advance(START_MS + 900_000);
        row.add(row.now_ms(), 10.0, 10.0);
        row.0.advance(START_MS + 1_000_000);
        let wait = row.0.time_until(0, 0, |counts| counts.bad < 1.0);
        assert_eq!(row.now_ms() + wait, START_MS + 900_000 + 1_800_000);
        assert_eq!(row.0.time_until(0, 0, |_| true), 0);
        assert_eq!(row.0.time_until(0, 0, |_| false), 1_800_000);
    }

    #[test]
    fn an_idle_row_takes_no_slots_and_a_row_gone_idle_gives_them_back() {
        let mut row = OneRow::new(&[300, 3_600]);
        let empty = row.0.bytes();
        for second in 1..=10_000 {
            row.0.advance(START_MS + second * 1_000);
            row.add(row.now_ms(), 0.0, if second < 1_000 { 5.0 } else { 0.0 });
            if second == 4_000 {
                assert!(row.0.bytes() > empty, "the last events are 3,000 s old");
            }
        }
        assert_eq!(row.0.bytes(), empty);
    }

    #[test]
    fn a_row_is_reused_clean() {
        let mut row = OneRow::new(&[60, 3_600]);
        row.add(START_MS, 1.0, 5.0);
        row.0.advance(START_MS + 1_000_000);
        row.0.remove(0);
        assert_eq!(row.0.insert(), 0);
        assert_eq!((row.total(1), row.0.lifetime(0)), (0.0, Counts::ZERO));
    }

    // --- calendars ---

    #[test]
    fn a_calendar_window_begins_anew_at_midnight_of_its_zone() {
        let day = Calendar::new(CalendarUnit::Day, "Asia/Kolkata").unwrap();
        let (start, end) = day.period(Timestamp(START_MS));
        let mut row = OneRow::of(Layout { calendars: vec![day], ..Layout::new(&[SECOND * 60], &[], SECOND) });
        row.add(start.0, 0.0, 1.0); // the last moment of the day before
        assert_eq!(row.0.calendars(0)[0].total, 0.0);
        row.add(start.0 + 1, 0.0, 2.0);
        row.0.advance(end.0);
        row.add(end.0, 0.0, 4.0);
        assert_eq!(row.0.calendars(0)[0].total, 6.0);
        assert_eq!(row.0.period(0), (start, end));
        row.0.advance(end.0 + 1_000);
        assert_eq!(row.0.calendars(0)[0].total, 0.0);
        row.add(end.0 + 500, 0.0, 8.0);
        row.add(end.0 - 500, 0.0, 16.0); // late, for yesterday
        assert_eq!(row.0.calendars(0)[0].total, 8.0);
        assert_eq!(row.0.period(0).0, end);
    }

    #[test]
    fn of_a_gap_across_midnight_a_calendar_window_counts_its_part() {
        let day = Calendar::new(CalendarUnit::Day, "UTC").unwrap();
        let (start, _) = day.period(Timestamp(START_MS));
        let mut row = OneRow::of(Layout { calendars: vec![day], ..Layout::new(&[SECOND * 60], &[], SECOND) });
        row.0.advance(start.0 + 3 * HOUR_MS);
        row.0.add_spread(0, start.0 - HOUR_MS, start.0 + 3 * HOUR_MS, Counts { bad: 4.0, total: 40.0 });
        assert_eq!(row.0.calendars(0)[0], Counts { bad: 3.0, total: 30.0 });
    }

    // --- slices ---

    /// A row of one-minute slices, and what its one-hour window counts.
    fn sliced(good_from: Option<f64>) -> OneRow {
        let slices = Some(Slices { width_ms: 60_000, good_from });
        OneRow::of(Layout { slices, ..Layout::new(&[SECOND * 3_600], &[], SECOND) })
    }

    #[test]
    fn a_slice_counts_once_it_has_ended_by_the_ratio_of_its_events() {
        let mut row = sliced(Some(0.95));
        row.0.advance(START_MS + 30_000);
        row.add(START_MS + 30_000, 5.0, 100.0);
        assert_eq!(row.counts(0), Counts::ZERO, "it has not ended");
        row.0.advance(START_MS + 61_000);
        assert_eq!(row.counts(0), Counts { bad: 0.0, total: 1.0 }, "95 of 100 are enough");
        row.add(START_MS + 61_000, 6.0, 100.0);
        row.0.advance(START_MS + 181_000);
        assert_eq!(row.counts(0), Counts { bad: 1.0, total: 2.0 }, "and a slice without events is none");
        row.0.advance(START_MS + 60_000 + 3_600_000);
        assert_eq!(row.counts(0), Counts { bad: 1.0, total: 1.0 }, "an hour after the first slice ended");
    }

    #[test]
    fn a_slice_may_be_bad_in_part() {
        let mut row = sliced(None);
        row.add(START_MS, 1.0, 4.0);
        row.0.advance(START_MS + 1_000);
        row.add(START_MS + 1_000, 3.0, 4.0);
        row.0.advance(START_MS + 61_000);
        assert_eq!(row.counts(0), Counts { bad: 1.0, total: 2.0 });
    }

    #[test]
    fn what_comes_late_changes_the_verdict() {
        let mut row = sliced(Some(0.95));
        row.add(START_MS, 10.0, 10.0);
        row.0.advance(START_MS + 1_800_000);
        assert_eq!(row.counts(0), Counts { bad: 1.0, total: 1.0 });
        row.add(START_MS, 0.0, 990.0);
        assert_eq!(row.counts(0), Counts { bad: 0.0, total: 1.0 });
        row.add(START_MS + 60_000, 1.0, 1.0);
        assert_eq!(row.counts(0), Counts { bad: 1.0, total: 2.0 });
        row.0.add_spread(0, START_MS + 60_000, START_MS + 300_000, Counts { bad: 0.0, total: 400.0 });
        assert_eq!(row.counts(0), Counts { bad: 1.0, total: 6.0 });
    }

    #[test]
    fn what_comes_too_late_is_told() {
        let mut row = sliced(Some(0.95));
        row.0.advance(START_MS + 100 * HOUR_MS);
        row.add(START_MS + HOUR_MS, 1.0, 1.0);
        assert_eq!(row.0.too_late(), 1);
    }

    // --- against every event ---

    /// Seconds to advance, then adds: seconds of age, bad and total events.
    type Step = (i64, Vec<(i64, i32, i32)>);

    fn any_steps() -> impl Strategy<Value = Vec<Step>> {
        let age = prop_oneof![6 => Just(0i64), 2 => 0i64..100, 1 => 0i64..40_000];
        let add = (age, 0i32..300, 0i32..70_000);
        let advance = prop_oneof![8 => 1i64..20, 2 => 20i64..900, 1 => 900i64..50_000];
        proptest::collection::vec((advance, proptest::collection::vec(add, 0..4)), 1..120)
    }

    proptest! {
        #[test]
        fn every_window_holds_its_events_but_for_the_cut_slot(steps in any_steps()) {
            let windows = [60, 300, 1_800, 3_600, 21_600];
            let mut row = OneRow::new(&windows);
            let mut events: Vec<(i64, i32, i32)> = Vec::new();
            for (seconds, adds) in steps {
                row.0.advance(row.now_ms() + seconds * 1_000);
                let now_ms = row.now_ms();
                for (age, bad, total) in adds {
                    let at_ms = (now_ms - age * 1_000).max(START_MS - 100 * HOUR_MS);
                    row.add(at_ms, f64::from(bad), f64::from(total));
                    events.push((at_ms, bad, total));
                }
                for (window, seconds) in windows.iter().enumerate() {
                    let start_ms = now_ms - *seconds as i64 * 1_000;
                    let cut = row.0.clock.cuts[window];
                    let slot_ms = row.0.layout.tiers[row.0.layout.windows[window].tier].slot_ms;
                    let in_cut = |at: i64| at > cut.0 * slot_ms && at <= (cut.0 + 1) * slot_ms;
                    // Whole slots are exact; of the cut one, the part of its content that its inside is of it.
                    let share = |at: i64| if in_cut(at) { 1.0 - cut.1 } else { f64::from(u8::from(at > start_ms)) };
                    let expected = events.iter().fold(Counts::ZERO, |mut sum, (at, bad, total)| {
                        sum += Counts { bad: f64::from(*bad), total: f64::from(*total) } * share(*at);
                        sum
                    });
                    let found = row.counts(window);
                    let is_close = |a: f64, b: f64| if cut.1 == 0.0 { a == b } else { (a - b).abs() < 1e-6 };
                    prop_assert!(is_close(found.bad, expected.bad), "{} of {}", found.bad, expected.bad);
                    prop_assert!(is_close(found.total, expected.total), "{} of {}", found.total, expected.total);
                }
            }
        }
    }
}
