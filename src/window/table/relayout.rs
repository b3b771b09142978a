//! The past of an SLI whose windows change: moved from the slots of one layout into those of another.
//!
//! Each stretch of the past is taken from the finest tier that reaches it, and laid over the new slots as a gap is:
//! whole events to whole slots, none lost. So a window is exact where slots of the two layouts end together, and
//! else off by what a slot held. What the old layout did not reach is gone, and what the new one does not is let go.

use super::Table;
use crate::window::{Counts, layout::TierLayout};

// === impl Table ===

impl Table {
    /// Fills an empty row with the history that a table of another layout has in one of its rows. Both must count
    /// the same, events or equal slices, and be at the same time.
    pub(in crate::window) fn take_over(&mut self, row: usize, from: &Self, from_row: usize) {
        for (start_ms, end_ms, counts) in from.past(from_row) {
            self.spread(row, start_ms, end_ms, counts);
        }
        for (number, calendar) in self.layout.calendars.iter().enumerate() {
            if let Some(known) = from.layout.calendars.iter().position(|known| known == calendar) {
                let calendars = self.layout.calendars.len();
                self.calendar_sums[row * calendars + number] = from.calendars(from_row)[known];
            }
        }
        if let (Some(slices), Some(from)) = (&mut self.slices, &from.slices) {
            slices.take_over(row, from, from_row);
        }
        self.lifetimes[row] = from.lifetimes[from_row];
    }

    /// Everything that the slots of a row hold, `(start, end]` by piece, no piece twice.
    fn past(&self, row: usize) -> Vec<(i64, i64, Counts)> {
        let mut pieces = Vec::new();
        let mut end_ms = self.clock.now_ms;
        for (tier, layout) in self.layout.tiers.iter().enumerate() {
            let newest = self.clock.newest[tier];
            let oldest_ms = (newest - layout.slots as i64 + 1) * layout.slot_ms;
            let start_ms = match self.layout.tiers.get(tier + 1) {
                Some(coarser) => seam(oldest_ms, end_ms, layout, coarser).unwrap_or(end_ms),
                None => oldest_ms,
            };
            // Both are ends of slots, or the present.
            let slots = start_ms.div_euclid(layout.slot_ms)..=layout.slot_of(end_ms);
            for slot in slots.filter(|_| start_ms < end_ms) {
                let (counts, slot_ms) = (self.slot(row, tier, slot), slot * layout.slot_ms);
                if counts != Counts::ZERO {
                    pieces.push((slot_ms, (slot_ms + layout.slot_ms).min(self.clock.now_ms), counts));
                }
            }
            end_ms = start_ms;
        }
        pieces
    }
}

/// The first time within the reach of a tier at which slots of both it and the coarser one end. Without one the
/// coarser tier must do for all of it.
fn seam(oldest_ms: i64, end_ms: i64, finer: &TierLayout, coarser: &TierLayout) -> Option<i64> {
    let first = oldest_ms.div_euclid(coarser.slot_ms) + i64::from(oldest_ms.rem_euclid(coarser.slot_ms) > 0);
    (first..)
        .map(|slot| slot * coarser.slot_ms)
        .take_while(|seam| *seam < end_ms)
        .find(|seam| seam % finer.slot_ms == 0)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        time::{Calendar, CalendarUnit},
        window::{Layout, Slices},
    };

    const START_MS: i64 = 1_000 * 3_600_000;
    const SECOND: Duration = Duration::from_secs(1);

    fn layout(windows: &[u64], budget: u64) -> Layout {
        let windows: Vec<Duration> = windows.iter().map(|s| Duration::from_secs(*s)).collect();
        Layout::new(&windows, &[Duration::from_secs(budget)], SECOND)
    }

    fn table(layout: Layout, now_ms: i64) -> Table {
        let mut table = Table::new(Arc::new(layout), now_ms);
        assert_eq!(table.insert(), 0);
        table
    }

    fn taken_over(old: &Table, layout: Layout) -> Table {
        let mut new = table(layout, old.clock.now_ms);
        new.take_over(0, old, 0);
        new
    }

    fn counts(table: &Table) -> Vec<Counts> {
        table.windows(0).collect()
    }

    #[test]
    fn a_window_more_or_less_leaves_the_others_as_they_were() {
        let mut old = table(layout(&[300, 3_600, 21_600], 30 * 86_400), START_MS - 86_400_000);
        for minute in 0..=1_440 {
            old.advance(START_MS - 86_400_000 + minute * 60_000);
            old.add(0, old.clock.now_ms, Counts { bad: 1.0, total: 7.0 });
        }
        let before = counts(&old);
        let more = counts(&taken_over(&old, layout(&[300, 1_800, 3_600, 21_600], 30 * 86_400)));
        assert_eq!([more[0], more[2], more[3], more[4]], before[..]);
        assert_eq!(more[1], Counts { bad: 30.0, total: 210.0 });
        let fewer = counts(&taken_over(&old, layout(&[3_600], 30 * 86_400)));
        assert_eq!(fewer, [before[1], before[3]]);
    }

    #[test]
    fn a_calendar_window_goes_on_and_a_new_one_has_what_the_slots_hold() {
        let calendar = |unit| Calendar::new(unit, "UTC").unwrap();
        let with = |units: &[CalendarUnit]| Layout {
            calendars: units.iter().map(|unit| calendar(*unit)).collect(),
            ..layout(&[], 3_600)
        };
        let mut old = table(with(&[CalendarUnit::Year]), START_MS - 7_200_000);
        for step in 1..=2 {
            old.add(0, old.clock.now_ms, Counts { bad: 0.0, total: 10.0 });
            old.advance(START_MS - 7_200_000 + step * 3_600_000);
        }
        let new = taken_over(&old, with(&[CalendarUnit::Day, CalendarUnit::Year]));
        let totals: Vec<f64> = new.calendars(0).iter().map(|counts| counts.total).collect();
        assert_eq!(totals, [10.0, 20.0]);
    }

    #[test]
    fn slices_keep_their_verdicts_and_may_change_them_still() {
        let slices = Some(Slices { width_ms: 60_000, good_from: Some(0.9) });
        let mut old = table(Layout { slices, ..layout(&[600], 3_600) }, START_MS);
        old.advance(START_MS + 90_000);
        old.add(0, START_MS + 30_000, Counts { bad: 0.0, total: 10.0 });
        old.add(0, START_MS + 80_000, Counts { bad: 5.0, total: 10.0 });
        let mut new = taken_over(&old, Layout { slices, ..layout(&[300], 7_200) });
        assert_eq!(counts(&new), [Counts { bad: 0.0, total: 1.0 }; 2]);
        new.add(0, START_MS + 30_000, Counts { bad: 10.0, total: 10.0 });
        new.advance(START_MS + 121_000);
        assert_eq!(counts(&new), [Counts { bad: 2.0, total: 2.0 }; 2]);
        assert_eq!(new.lifetime(0).total, 2.0);
    }

    proptest! {
        #[test]
        fn nothing_within_reach_is_lost_or_counted_twice(
            adds in proptest::collection::vec((1i64..30_000, 0u32..50), 1..300),
            old_windows in proptest::collection::vec(20u64..20_000, 0..4),
            new_windows in proptest::collection::vec(20u64..20_000, 0..4),
            (old_budget, new_budget) in (20_000u64..40_000, 20_000u64..40_000),
            resolution in 1u64..8,
        ) {
            let resolution = SECOND * resolution as u32;
            let of = |windows: &[u64], budget: u64| {
                let windows: Vec<Duration> = windows.iter().map(|s| Duration::from_secs(*s)).collect();
                Layout::new(&windows, &[Duration::from_secs(budget)], resolution)
            };
            let first_ms = START_MS.div_euclid(840_000) * 840_000;
            let mut old = table(of(&old_windows, old_budget), first_ms);
            let mut adds = adds;
            adds.sort_unstable();
            let step_ms = resolution.as_millis() as i64;
            let step = |second: i64| (second * 1_000 + step_ms - 1) / step_ms * step_ms;
            for (second, events) in &adds {
                old.advance(first_ms + step(*second));
                old.add(0, first_ms + second * 1_000, Counts { bad: 0.0, total: f64::from(*events) });
            }
            let new = taken_over(&old, of(&new_windows, new_budget));
            prop_assert_eq!(new.lifetime(0), old.lifetime(0));
            let now_ms = old.clock.now_ms;
            let within = |length_ms: i64| -> f64 {
                let is_in = |(second, _): &&(i64, u32)| first_ms + second * 1_000 > now_ms - length_ms;
                adds.iter().filter(is_in).map(|(_, events)| f64::from(*events)).sum()
            };
            let reach_ms = old.layout.longest_ms();
            let widest = |table: &Table| table.layout.tiers.iter().map(|tier| tier.slot_ms).max().unwrap();
            let slack_ms = widest(&old) + widest(&new);
            for (window, counts) in new.layout.windows.iter().zip(new.windows(0)) {
                let (least, most) = (within(window.length_ms.min(reach_ms) - slack_ms), within(window.length_ms + slack_ms));
                prop_assert!((least..=most).contains(&counts.total), "{window:?}: {} not in {least}..={most}", counts.total);
            }
        }
    }
}
