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
