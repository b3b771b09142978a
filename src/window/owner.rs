//! The owner of all histories: closes open slots and places what they held.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Counts, History, Layout, OpenSlots, SliId,
    open::{Deferred, SLIS_MAX, SLOTS},
};
use crate::time::Timestamp;

/// The histories of every SLI, and the far side of the open slots. The order of calls at a tick:
/// `insert` new SLIs, `advance`, then read.
#[derive(Debug)]
pub struct Windows {
    open: Arc<OpenSlots>,
    histories: Vec<History>,
    now_ms: i64,
    /// Up to here no batch can add to open slots any more.
    final_ms: i64,
    /// What was closed before the present generation of batches began.
    closed_before_turn_ms: i64,
    /// Counts that lie ahead of the evaluation, by their time.
    parked: BTreeMap<i64, Vec<Deferred>>,
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
            histories: Vec::new(),
            now_ms,
            final_ms: now_ms,
            closed_before_turn_ms: now_ms,
            parked: BTreeMap::new(),
        }
    }

    /// The number the next SLI gets; `None` when there are as many as there can be.
    pub fn next_id(len: usize) -> Option<SliId> {
        u32::try_from(len).ok().filter(|_| len < SLIS_MAX).map(SliId)
    }

    /// Adds the next SLI.
    pub fn insert(&mut self, layout: Arc<Layout>) {
        self.histories.push(History::new(layout, self.now_ms));
    }

    /// The event time up to which everything is counted.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.now_ms)
    }

    /// The history of an SLI.
    pub fn history(&self, sli: SliId) -> &History {
        &self.histories[sli.0 as usize]
    }

    /// Begins again at an earlier time, with empty windows: what was counted lies in a future that a wrong
    /// clock showed. Lifetime counts stay.
    pub fn set_back(&mut self, to: Timestamp) {
        for history in &mut self.histories {
            history.clear(to.0);
        }
        (self.now_ms, self.final_ms, self.closed_before_turn_ms) = (to.0, to.0, to.0);
        self.open.close(to.0);
        self.open.reuse(to.0);
    }

    /// Counts everything with an event time up to `to`, which must be a multiple of the resolution.
    /// Going back in time only places what came late.
    pub fn advance(&mut self, to: Timestamp) {
        let to_ms = to.0.max(self.now_ms);
        self.now_ms = to_ms;
        self.open.close(to_ms);
        let final_ms = self.turn_generation();
        for history in &mut self.histories {
            history.advance(to_ms);
        }
        self.take_open_slots();
        self.take_deferred();
        self.final_ms = final_ms;
        self.open.reuse(final_ms);
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
        let resolution_ms = self.open.resolution_ms();
        // Cells further ahead were never open: the limit is one ring turn after `final_ms`.
        let last_ms = self.now_ms.min(self.final_ms + SLOTS as i64 * resolution_ms);
        let mut at_ms = self.final_ms + resolution_ms;
        while at_ms <= last_ms {
            for (index, history) in self.histories.iter_mut().enumerate() {
                let counts = self.open.take(SliId(index as u32), at_ms);
                if counts != Counts::ZERO {
                    history.add(at_ms, counts);
                }
            }
            at_ms += resolution_ms;
        }
    }

    fn take_deferred(&mut self) {
        let ahead = self.parked.split_off(&(self.now_ms + 1));
        for deferred in std::mem::replace(&mut self.parked, ahead).into_values().flatten() {
            self.place(deferred);
        }
        // Bounded by what is there now, so that a flood cannot keep the tick here.
        for _ in 0..self.open.deferred() {
            match self.open.take_deferred() {
                Some(deferred) => self.place(deferred),
                None => break,
            }
        }
    }

    fn place(&mut self, deferred: Deferred) {
        let Deferred { sli, from_ms, to_ms, counts } = deferred;
        let known = (sli.0 as usize) < self.histories.len();
        if to_ms > self.now_ms || !known {
            // An SLI the tick has not met yet is met at the next: try again then.
            let until_ms = if known { to_ms } else { to_ms.max(self.now_ms + 1) };
            return self.parked.entry(until_ms).or_default().push(deferred);
        }
        self.open.note_placed();
        let history = &mut self.histories[sli.0 as usize];
        if from_ms < to_ms {
            history.add_spread(from_ms, to_ms, counts);
        } else {
            history.add(to_ms, counts);
        }
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
        windows.insert(Arc::new(Layout::new(&lengths, SECOND)));
        (open, windows)
    }

    fn total(windows: &Windows, window: usize) -> f64 {
        windows.history(SliId(0)).counts(window).total
    }

    #[test]
    fn an_event_counts_once_the_evaluation_reaches_its_time() {
        let (open, mut windows) = windows(&[60]);
        open.batch().add(SliId(0), START.0 + 1_500, Counts::events(0.0, 1.0));
        windows.advance(START + SECOND);
        assert_eq!(total(&windows, 0), 0.0);
        windows.advance(START + SECOND * 2);
        assert_eq!(total(&windows, 0), 1.0);
    }

    #[test]
    fn late_far_and_unknown_are_deferred_and_counted() {
        let (open, mut windows) = windows(&[60, 3_600]);
        let batch = open.batch();
        batch.add(SliId(0), START.0 - 600_000, Counts::events(0.0, 1.0));
        batch.add(SliId(0), START.0 + 120_000, Counts::events(0.0, 2.0));
        batch.add(SliId(1), START.0 - 1_000, Counts::events(0.0, 4.0));
        drop(batch);
        assert_eq!(open.deferred(), 3);
        windows.advance(START + SECOND);
        assert_eq!((total(&windows, 0), total(&windows, 1)), (0.0, 1.0));
        windows.insert(Arc::new(Layout::new(&[SECOND * 60], SECOND)));
        for second in 2..=120 {
            windows.advance(START + SECOND * second);
        }
        assert_eq!((total(&windows, 0), total(&windows, 1)), (2.0, 3.0));
        assert_eq!(windows.history(SliId(1)).lifetime().total, 4.0);
        assert_eq!(open.deferred(), 0);
    }

    #[test]
    fn what_is_parked_counts_as_deferred() {
        let (open, mut windows) = windows(&[60]);
        open.batch().add(SliId(0), START.0 + 60_000, Counts::events(0.0, 1.0));
        windows.advance(START + SECOND);
        assert_eq!(open.deferred(), 1);
        windows.advance(START + SECOND * 60);
        assert_eq!((open.deferred(), total(&windows, 0)), (0, 1.0));
    }

    #[test]
    fn a_clock_set_back_counts_on_from_there() {
        let (open, mut windows) = windows(&[60]);
        open.batch().add(SliId(0), START.0 + 1_000, Counts::events(0.0, 1.0));
        windows.advance(START + SECOND * 86_400);
        windows.set_back(START + SECOND * 10);
        open.batch().add(SliId(0), START.0 + 11_000, Counts::events(0.0, 2.0));
        windows.advance(START + SECOND * 11);
        assert_eq!(total(&windows, 0), 2.0);
        assert_eq!(windows.history(SliId(0)).lifetime().total, 3.0);
    }

    #[test]
    fn a_batch_that_outlives_its_slots_is_still_counted_in_its_time() {
        let (open, mut windows) = windows(&[10, 3_600]);
        let batch = open.batch();
        for second in 1..=100 {
            windows.advance(START + SECOND * second);
        }
        batch.add(SliId(0), START.0 + 5_000, Counts::events(0.0, 1.0));
        batch.add(SliId(0), START.0 + 99_000, Counts::events(0.0, 1.0));
        drop(batch);
        windows.advance(START + SECOND * 101);
        assert_eq!((total(&windows, 0), total(&windows, 1)), (1.0, 2.0));
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
                            open.batch().add(SliId(0), at, Counts::events(1.0, 2.0));
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
        let counted = windows.history(SliId(0)).lifetime();
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
                    open.batch().add(SliId(0), at_ms, Counts::events(0.0, f64::from(events)));
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
