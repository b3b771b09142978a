//! A row takes in what another one counted, as if it had been counted here.

use super::{Counts, Table};

// === impl Table ===

impl Table {
    /// Adds what a row of another table with the same layout holds, at the same time.
    pub(in crate::window) fn absorb(&mut self, row: usize, from: &Self, from_row: usize) {
        debug_assert_eq!(self.clock.now_ms, from.clock.now_ms, "BUG: they are at different times");
        for (tier, layout) in self.layout.tiers.iter().enumerate() {
            for index in 0..layout.slots {
                let more = from.rings[tier][from_row].get(index);
                if more != Counts::ZERO {
                    let mut counts = self.rings[tier][row].get(index);
                    counts += more;
                    self.ring_bytes += self.rings[tier][row].set(layout.slots, index, counts);
                }
            }
        }
        add_row(&mut self.tails, row, &from.tails, from_row, self.layout.tiers.len());
        add_row(&mut self.calendar_sums, row, &from.calendar_sums, from_row, self.layout.calendars.len());
        self.lifetimes[row] += from.lifetimes[from_row];
        self.take_sums(row);
        if let (Some(mut slices), Some(from)) = (self.slices.take(), &from.slices) {
            // What both saw a part of was judged twice.
            for verdict in slices.absorb(row, from, from_row) {
                self.count(row, verdict.at_ms, verdict.counts);
            }
            self.slices = Some(slices);
        }
    }
}

fn add_row(to: &mut [Counts], row: usize, from: &[Counts], from_row: usize, columns: usize) {
    let from = &from[from_row * columns..][..columns];
    to[row * columns..][..columns].iter_mut().zip(from).for_each(|(to, from)| *to += *from);
}
