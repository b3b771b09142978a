//! The owner of all histories: closes open slots and places what they held.

mod state;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{
    Counts, Layout, OpenSlots, SliId,
    arrived::Arrived,
    coverage::Coverage,
    open::{Deferred, SLIS_MAX, SLOTS, What},
    table::Table,
};
use crate::time::Timestamp;
pub use state::Mark;

/// The histories of every SLI, and the far side of the open slots. The order of calls at a tick:
/// `close`, `insert` new SLIs, `count`, then read.
#[derive(Debug)]
pub struct Windows {
    open: Arc<OpenSlots>,
    tables: Vec<Table>,
    /// By SLI number.
    places: Vec<Option<Place>>,
    coverages: Vec<Coverage>,
    now_ms: i64,
    /// Up to here no batch can add to open slots any more.
    final_ms: i64,
    /// … and once what is closed has been counted.
    next_final_ms: i64,
    /// What was closed before the present generation of batches began.
    closed_before_turn_ms: i64,
    /// What lies ahead of the evaluation, by its time.
    parked: BTreeMap<i64, Vec<Deferred>>,
    /// Counts that came too late to tables that are gone.
    too_late: u64,
    /// What was deferred, and taken from the queue before its time to be placed.
    waiting: Vec<Vec<Deferred>>,
    /// What is being placed; empty between advances.
    arrived: Arrived,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    table: u32,
    row: u32,
}

/// The history of one SLI.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    table: &'a Table,
    row: usize,
    coverage: &'a Coverage,
}

// === impl Windows ===

impl Windows {
    /// No SLI yet; time begins at `now`, which should be a multiple of the resolution.
    pub fn new(open: Arc<OpenSlots>, now: Timestamp) -> Self {
        let now_ms = now.0;
        open.close(now_ms);
        open.reuse(now_ms);
        Self {
            open,
            tables: Vec::new(),
            places: Vec::new(),
            coverages: Vec::new(),
            now_ms,
            final_ms: now_ms,
            next_final_ms: now_ms,
            closed_before_turn_ms: now_ms,
            parked: BTreeMap::new(),
            too_late: 0,
            waiting: Vec::new(),
            arrived: Arrived::default(),
        }
    }

    /// The number of the SLI after this many; `None` when there are as many as there can be.
    pub fn next_id(len: usize) -> Option<SliId> {
        u32::try_from(len).ok().filter(|_| len < SLIS_MAX).map(SliId)
    }

    /// Begins the history of an SLI. Its number is new or has been [removed](Self::remove).
    pub fn insert(&mut self, sli: SliId, layout: &Arc<Layout>) {
        let table = self.table_of(layout);
        let row = self.tables[table].insert();
        self.settle(sli, Place { table: table as u32, row: row as u32 });
    }

    fn settle(&mut self, sli: SliId, place: Place) {
        let index = sli.0 as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, None);
            self.coverages.resize(index + 1, Coverage::default());
        }
        debug_assert!(self.places[index].is_none(), "BUG: SLI {index} is there already");
        self.places[index] = Some(place);
    }

    /// Gives an SLI other windows, with as much of its history as both layouts reach. The layouts must count
    /// the same, events or equal slices. Returns whether they differ: then its rings are others.
    pub fn relayout(&mut self, sli: SliId, layout: &Arc<Layout>) -> bool {
        let Some(place) = self.places[sli.0 as usize] else { return false };
        let (table, old_row) = (self.table_of(layout), place.row as usize);
        // Fails if they are the same.
        let Ok([old, new]) = self.tables.get_disjoint_mut([place.table as usize, table]) else {
            return false;
        };
        let row = new.insert();
        new.take_over(row, old, old_row);
        old.remove(old_row);
        self.places[sli.0 as usize] = Some(Place { table: table as u32, row: row as u32 });
        let (old_ms, new_ms) = (old.layout.longest_ms(), layout.longest_ms());
        if old_ms < new_ms {
            self.coverages[sli.0 as usize].forget_before(self.now_ms - old_ms);
        }
        true
    }

    /// The table of SLIs of a layout; there is one from now on.
    fn table_of(&mut self, layout: &Arc<Layout>) -> usize {
        let is_same = |table: &Table| Arc::ptr_eq(&table.layout, layout) || *table.layout == **layout;
        if let Some(known) = self.tables.iter().position(is_same) {
            return known;
        }
        let table = Table::new(Arc::clone(layout), self.now_ms);
        match self.tables.iter_mut().position(|table| table.is_unused()) {
            Some(unused) => {
                self.too_late += std::mem::replace(&mut self.tables[unused], table).too_late();
                unused
            }
            None => {
                self.tables.push(table);
                self.tables.len() - 1
            }
        }
    }

    /// Ends the histories of SLIs to which nobody adds any more, and whose last counts have been
    /// [counted](Self::count) or lie ahead. Their numbers may be given to others.
    pub fn remove(&mut self, slis: &[SliId]) {
        for sli in slis {
            let index = sli.0 as usize;
            if let Some(place) = self.places[index].take() {
                self.tables[place.table as usize].remove(place.row as usize);
                self.coverages[index] = Coverage::default();
            }
            self.open.clear(*sli);
        }
        let removed: HashSet<SliId> = slis.iter().copied().collect();
        let count = |parked: &BTreeMap<i64, Vec<Deferred>>| parked.values().map(Vec::len).sum::<usize>();
        let before = count(&self.parked);
        self.parked.values_mut().for_each(|list| list.retain(|deferred| !removed.contains(&deferred.sli)));
        self.open.note_placed(before - count(&self.parked));
    }

    /// The event time up to which everything is counted.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.now_ms)
    }

    /// The history of an SLI, unless it has been removed.
    pub fn history(&self, sli: SliId) -> Option<History<'_>> {
        let place = self.places.get(sli.0 as usize).copied().flatten()?;
        let (table, coverage) = (&self.tables[place.table as usize], &self.coverages[sli.0 as usize]);
        Some(History { table, row: place.row as usize, coverage })
    }

    /// The memory of all histories and open slots.
    pub fn bytes(&self) -> usize {
        self.open.bytes(self.places.len())
            + self.tables.iter().map(Table::bytes).sum::<usize>()
            + self.places.capacity() * size_of::<Option<Place>>()
            + self.coverages.capacity() * size_of::<Coverage>()
            + self.arrived.bytes()
    }

    /// How many counts came too late to change what their slice counts for.
    pub fn too_late(&self) -> u64 {
        self.too_late + self.tables.iter().map(Table::too_late).sum::<u64>()
    }

    /// Begins again at an earlier time, with empty windows: what was counted lies in a future that a wrong
    /// clock showed. Lifetime counts stay.
    pub fn set_back(&mut self, to: Timestamp) {
        for table in &mut self.tables {
            table.restart(to.0);
        }
        self.coverages.iter_mut().for_each(|coverage| coverage.restart(to.0));
        // Cells would come to stand for times to come.
        for step in 0..SLOTS as i64 {
            self.open.visit_step(step * self.open.resolution_ms(), self.places.len(), |_, cell| {
                cell.take();
            });
        }
        self.open.note_placed(self.parked.values().map(Vec::len).sum());
        self.parked.clear();
        self.wait_for_deferred();
        self.drop_waiting_after(to);
        (self.now_ms, self.final_ms, self.closed_before_turn_ms) = (to.0, to.0, to.0);
        self.open.close(to.0);
        self.open.reuse(to.0);
    }

    /// Moves time to `to`, which must be a multiple of the resolution, and counts what happened up to then.
    /// Going back in time only places what came late.
    pub fn advance(&mut self, to: Timestamp) {
        self.close(to);
        self.count();
    }

    /// The first half of [`advance`](Self::advance): from here on what is later than `to` is open. SLIs that
    /// have counts up to then must be inserted between the halves. Whoever meets one later belongs to a
    /// generation of batches that no longer reaches what [`count`](Self::count) finds final.
    pub fn close(&mut self, to: Timestamp) {
        self.now_ms = to.0.max(self.now_ms);
        self.open.close(self.now_ms);
        self.next_final_ms = self.turn_generation();
    }

    /// The second half of [`advance`](Self::advance).
    pub fn count(&mut self) {
        for table in &mut self.tables {
            table.advance(self.now_ms);
        }
        self.take_open_slots();
        self.take_deferred();
        self.final_ms = self.next_final_ms;
        self.open.reuse(self.final_ms);
    }

    /// Up to where no living batch can add. Asked before the cells are read, so that what is found
    /// final has been read after its last add.
    fn turn_generation(&mut self) -> i64 {
        if !self.open.turn() {
            return self.final_ms;
        }
        std::mem::replace(&mut self.closed_before_turn_ms, self.now_ms)
    }

    fn take_open_slots(&mut self) {
        let Self { open, tables, places, .. } = self;
        let resolution_ms = open.resolution_ms();
        // Cells further ahead were never open: the limit is one ring turn after `final_ms`.
        let last_ms = self.now_ms.min(self.final_ms + SLOTS as i64 * resolution_ms);
        let mut at_ms = self.final_ms + resolution_ms;
        while at_ms <= last_ms {
            open.visit_step(at_ms, places.len(), |sli, cell| {
                // One that was opened since `close`: its cells are not final.
                if let Some(place) = places[sli.0 as usize] {
                    tables[place.table as usize].add(place.row as usize, at_ms, cell.take());
                }
            });
            at_ms += resolution_ms;
        }
    }

    fn take_deferred(&mut self) {
        let ahead = self.parked.split_off(&(self.now_ms + 1));
        let due = std::mem::replace(&mut self.parked, ahead);
        let mut arrived = std::mem::take(&mut self.arrived);
        arrived.extend(due.into_values().flatten());
        self.wait_for_deferred();
        for list in self.waiting.drain(..) {
            arrived.extend(list.iter().copied());
            self.open.recycle(list);
        }
        let count = arrived.len();
        let parked = arrived.drain_by_sli(|deferred| self.place(deferred));
        self.open.note_placed(count - parked);
        self.arrived = arrived;
    }

    /// Takes what is in the queue: bounded by what is there now, so that a flood cannot keep the tick here.
    fn wait_for_deferred(&mut self) {
        let queued = self.open.deferred_batches();
        self.waiting.extend((0..queued).filter_map(|_| self.open.take_deferred()));
    }

    /// False if it has to wait, and was parked.
    fn place(&mut self, deferred: Deferred) -> bool {
        let Deferred { sli, from_ms, to_ms, what } = deferred;
        let place = self.places.get(sli.0 as usize).copied().flatten();
        let Some(place) = place.filter(|_| to_ms <= self.now_ms) else {
            // An SLI the tick has not met yet is met at the next: try again then.
            let until_ms = to_ms.max(self.now_ms + 1);
            self.parked.entry(until_ms).or_default().push(deferred);
            return false;
        };
        let (table, row) = (&mut self.tables[place.table as usize], place.row as usize);
        match what {
            What::Unseen => self.coverages[sli.0 as usize].note_unseen(from_ms, to_ms),
            What::Counts(counts) if from_ms < to_ms => table.add_spread(row, from_ms, to_ms, counts),
            What::Counts(counts) => table.add(row, to_ms, counts),
        }
        true
    }
}

// === impl History ===

impl<'a> History<'a> {
    /// Everything ever added, whether or not any window still holds it.
    pub fn lifetime(&self) -> Counts {
        self.table.lifetime(self.row)
    }

    /// The counts of every window, `(now - length, now]`, in the layout's order. The slot that a start
    /// cuts counts by the share of it that lies inside.
    pub fn windows(&self) -> impl ExactSizeIterator<Item = Counts> + 'a {
        self.table.windows(self.row)
    }

    /// The counts of every calendar window since its period began, in the layout's order.
    pub fn calendars(&self) -> &'a [Counts] {
        self.table.calendars(self.row)
    }

    /// The present period of a calendar window, `(start, end]`.
    pub fn period(&self, calendar: usize) -> (Timestamp, Timestamp) {
        self.table.period(calendar)
    }

    /// Whether no window holds anything.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty(self.row)
    }

    /// How long from now, in milliseconds, until `enough` holds of a window's counts if nothing more is
    /// added: events leave with the slots that expire. At most the window's length.
    pub fn time_until(&self, window: usize, enough: impl Fn(Counts) -> bool) -> i64 {
        self.table.time_until(self.row, window, enough)
    }

    /// How much of `(from, to]` its series were observed, in milliseconds.
    pub fn observed_ms(&self, from: Timestamp, to: Timestamp) -> i64 {
        self.coverage.observed_ms(from.0, to.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: Duration = Duration::from_secs(1);
    const START: Timestamp = Timestamp(1_000_000_000);

    fn windows(lengths_s: &[u64]) -> (Arc<OpenSlots>, Windows) {
        let open = Arc::new(OpenSlots::new(SECOND));
        let mut windows = Windows::new(Arc::clone(&open), START);
        let lengths: Vec<Duration> = lengths_s.iter().map(|s| Duration::from_secs(*s)).collect();
        windows.insert(SliId(0), &Arc::new(Layout::new(&lengths, &[], SECOND)));
        (open, windows)
    }

    fn total(windows: &Windows, window: usize) -> f64 {
        windows.history(SliId(0)).unwrap().windows().nth(window).unwrap().total
    }

    #[test]
    fn an_event_counts_once_the_evaluation_reaches_its_time() {
        let (open, mut windows) = windows(&[60]);
        open.batch().add(SliId(0), START.0 + 1_500, Counts { bad: 0.0, total: 1.0 });
        windows.advance(START + SECOND);
        assert_eq!(total(&windows, 0), 0.0);
        windows.advance(START + SECOND * 2);
        assert_eq!(total(&windows, 0), 1.0);
    }

    #[test]
    fn late_far_and_unknown_are_deferred_and_counted() {
        let (open, mut windows) = windows(&[60, 3_600]);
        let mut batch = open.batch();
        batch.add(SliId(0), START.0 - 600_000, Counts { bad: 0.0, total: 1.0 });
        batch.add(SliId(0), START.0 + 120_000, Counts { bad: 0.0, total: 2.0 });
        batch.add(SliId(1), START.0 - 1_000, Counts { bad: 0.0, total: 4.0 });
        assert_eq!(open.deferred(), 0);
        drop(batch);
        assert_eq!(open.deferred(), 3);
        windows.advance(START + SECOND);
        assert_eq!((total(&windows, 0), total(&windows, 1)), (0.0, 1.0));
        windows.insert(SliId(1), &Arc::new(Layout::new(&[SECOND * 60], &[], SECOND)));
        for second in 2..=120 {
            windows.advance(START + SECOND * second);
        }
        assert_eq!((total(&windows, 0), total(&windows, 1)), (2.0, 3.0));
        assert_eq!(windows.history(SliId(1)).unwrap().lifetime().total, 4.0);
        assert_eq!(open.deferred(), 0);
    }

    #[test]
    fn what_is_parked_counts_as_deferred() {
        let (open, mut windows) = windows(&[60]);
        open.batch().add(SliId(0), START.0 + 60_000, Counts { bad: 0.0, total: 1.0 });
        windows.advance(START + SECOND);
        assert_eq!(open.deferred(), 1);
        windows.advance(START + SECOND * 60);
        assert_eq!((open.deferred(), total(&windows, 0)), (0, 1.0));
    }

    #[test]
    fn a_clock_set_back_counts_on_from_there() {
        let (open, mut windows) = windows(&[60]);
        open.batch().add(SliId(0), START.0 + 1_000, Counts { bad: 0.0, total: 1.0 });
        windows.advance(START + SECOND * 86_400);
        windows.set_back(START + SECOND * 10);
        open.batch().add(SliId(0), START.0 + 11_000, Counts { bad: 0.0, total: 2.0 });
        windows.advance(START + SECOND * 11);
        assert_eq!(total(&windows, 0), 2.0);
        assert_eq!(windows.history(SliId(0)).unwrap().lifetime().total, 3.0);
    }

    #[test]
    fn nothing_of_a_wrong_clock_appears_in_the_right_time() {
        let (open, mut windows) = windows(&[60]);
        (7_198..=7_200).for_each(|second| windows.advance(START + SECOND * second));
        let mut batch = open.batch();
        batch.add(SliId(0), START.0 + 7_205_000, Counts { bad: 0.0, total: 5.0 }); // to an open cell
        batch.add(SliId(0), START.0 + 7_300_000, Counts { bad: 0.0, total: 5.0 }); // parked
        drop(batch);
        windows.advance(START + SECOND * 7_201);
        assert_eq!(open.deferred(), 1);
        windows.set_back(START + SECOND * 10);
        assert_eq!(open.deferred(), 0);
        for second in 11..=120 {
            windows.advance(START + SECOND * second);
            assert_eq!(total(&windows, 0), 0.0);
        }
    }

    #[test]
    fn observation_goes_on_after_a_clock_was_set_back() {
        let (open, mut windows) = windows(&[60]);
        open.batch().note_unseen(SliId(0), START.0, START.0);
        windows.advance(START + SECOND * 7_200);
        windows.set_back(START + SECOND * 10);
        windows.advance(START + SECOND * 30);
        let history = windows.history(SliId(0)).unwrap();
        assert_eq!(history.observed_ms(START, START + SECOND * 30), 20_000);
    }

    #[test]
    fn an_sli_opened_by_an_old_batch_is_counted_at_its_time() {
        let (open, mut windows) = windows(&[60]);
        let mut batch = open.batch();
        windows.advance(START + SECOND);
        windows.close(START + SECOND * 2);
        // Whoever opens an SLI before `close` is met now; whoever does so now belongs to a batch that the
        // next ticks wait for.
        batch.add(SliId(1), START.0 + 1_000, Counts { bad: 0.0, total: 1.0 });
        windows.count();
        drop(batch);
        windows.close(START + SECOND * 3);
        windows.insert(SliId(1), &Arc::new(Layout::new(&[SECOND * 60], &[], SECOND)));
        windows.count();
        let total = |windows: &Windows| windows.history(SliId(1)).unwrap().windows().next().unwrap().total;
        assert_eq!(total(&windows), 1.0);
        windows.advance(START + SECOND * 61);
        assert_eq!(total(&windows), 0.0);
    }

    #[test]
    fn a_batch_that_outlives_its_slots_is_still_counted_in_its_time() {
        let (open, mut windows) = windows(&[10, 3_600]);
        let mut batch = open.batch();
        for second in 1..=100 {
            windows.advance(START + SECOND * second);
        }
        batch.add(SliId(0), START.0 + 5_000, Counts { bad: 0.0, total: 1.0 });
        batch.add(SliId(0), START.0 + 99_000, Counts { bad: 0.0, total: 1.0 });
        drop(batch);
        windows.advance(START + SECOND * 101);
        assert_eq!((total(&windows, 0), total(&windows, 1)), (1.0, 2.0));
    }

    /// Bytes per SLI of a thousand with the workbook's windows at 30 days, in which each counts `total`
    /// events every ten seconds or so.
    #[track_caller]
    fn check_memory(total: f64, most: usize) {
        const SLIS: u32 = 1_000;
        const MINUTES: [u64; 7] = [5, 30, 60, 120, 360, 1_440, 4_320];
        let open = Arc::new(OpenSlots::new(SECOND));
        let mut windows = Windows::new(Arc::clone(&open), START);
        let lengths = MINUTES.map(|minutes| Duration::from_secs(60 * minutes));
        let layout = Arc::new(Layout::new(&lengths, &[SECOND * 30 * 86_400], SECOND));
        (0..SLIS).for_each(|sli| windows.insert(SliId(sli), &layout));
        // Slots of every tier with what they hold in ten seconds, two minutes, twenty and an hour.
        let mut now = START;
        for (step, slots) in [(10, 1.0), (120, 12.0), (1_200, 120.0), (3_600, 360.0), (3_600, 360.0)] {
            now = now + SECOND * step;
            let mut batch = open.batch();
            let counts = Counts { bad: 0.0, total: total * slots };
            (0..SLIS).for_each(|sli| batch.add(SliId(sli), now.0 - 1_000, counts));
            drop(batch);
            windows.advance(now);
        }
        let bytes = windows.bytes() / SLIS as usize;
        assert!(bytes <= most, "{bytes} bytes");
    }

    #[test]
    fn an_idle_sli_takes_less_than_two_kilobytes_and_a_busy_one_less_than_twelve() {
        check_memory(0.0, 2_000);
        check_memory(1_000.0, 12_000);
        check_memory(5_000_000.0, 12_000); // half a million events a second
    }

    #[test]
    fn threads_lose_nothing_while_slots_close_under_them() {
        const ADDS: u64 = 50_000;
        let (open, mut windows) = windows(&[3_600]);
        let clock = std::sync::atomic::AtomicI64::new(START.0);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for n in 0..ADDS {
                            let at = clock.load(std::sync::atomic::Ordering::Relaxed) + (n as i64 % 7) * 400;
                            open.batch().add(SliId(0), at, Counts { bad: 1.0, total: 2.0 });
                        }
                    })
                })
                .collect();
            let mut now = START;
            while !writers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
                now = now + SECOND;
                clock.store(now.0, std::sync::atomic::Ordering::Relaxed);
                windows.advance(now);
            }
            for second in 1..=30 {
                windows.advance(now + SECOND * second);
            }
        });
        let counted = windows.history(SliId(0)).unwrap().lifetime();
        assert_eq!((counted.bad, counted.total), (4.0 * ADDS as f64, 8.0 * ADDS as f64));
    }

    proptest! {
        #[test]
        fn windows_hold_what_happened_in_them_whatever_the_order(
            adds in proptest::collection::vec((0i64..400, -300i64..40, 1u32..100), 1..200),
        ) {
            // (tick at which it arrives, event time relative to that tick, events)
            let (open, mut windows) = windows(&[30, 60]);
            let mut arrivals = adds.clone();
            arrivals.sort_unstable();
            let mut arrivals = arrivals.into_iter().peekable();
            for tick in 0..500 {
                while let Some((_, offset, events)) = arrivals.next_if(|(at, ..)| *at == tick) {
                    let at_ms = START.0 + (tick + offset) * 1_000 - 250;
                    open.batch().add(SliId(0), at_ms, Counts { bad: 0.0, total: f64::from(events) });
                }
                windows.advance(START + SECOND * tick as u32);
                for (window, length) in [(0, 30), (1, 60)] {
                    let expected: u32 = adds
                        .iter()
                        .filter(|(at, offset, _)| {
                            let (event, end) = (at + offset, tick);
                            *at <= tick && event > end - length && event <= end
                        })
                        .map(|(_, _, events)| events)
                        .sum();
                    prop_assert_eq!(total(&windows, window), f64::from(expected));
                }
            }
        }
    }
}
