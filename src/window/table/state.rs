//! Rows as they are stored, and back.
//!
//! Sums of windows are not stored, but taken from the slots: so what a restored row counts follows from what it holds.

use std::collections::BTreeMap;

use super::{Table, WindowSum};
use crate::{
    time::Timestamp,
    window::{Counts, RingPlace, RingState, RowError, RowState, Scope, ring::Ring},
};

// === impl Table ===

impl Table {
    /// A row as it is stored, but for its rings and for when it was observed.
    pub(in crate::window) fn row_state(&self, row: usize) -> RowState {
        let tiers = self.layout.tiers.len();
        RowState {
            layout: self.layout.clone(),
            at: Timestamp(self.clock.now_ms),
            lifetime: self.lifetimes[row],
            calendars: self.calendars(row).to_vec(),
            tails: self.tails[row * tiers..][..tiers].to_vec(),
            open_slice: self.slices.as_ref().map_or(Counts::ZERO, |slices| slices.open(row)),
            since: None,
            holes: Vec::new(),
            rings: self.rings(row) as u32,
        }
    }

    /// How many rings of a row hold anything.
    fn rings(&self, row: usize) -> usize {
        let slices = self.slices.as_ref().is_some_and(|slices| slices.has_ring(row));
        self.rings.iter().filter(|tier| tier[row].bytes() > 0).count() + usize::from(slices)
    }

    /// The rings of a row that are to be stored. They count as stored from now on.
    pub(in crate::window) fn take_rings(
        &mut self,
        row: usize,
        scope: Scope,
        visit: &mut dyn FnMut(RingPlace, RingState),
    ) {
        let is_all = scope == Scope::Everything;
        for (tier, rings) in self.rings.iter_mut().enumerate() {
            if rings[row].take_change(is_all) {
                visit(RingPlace::Tier(tier as u8), rings[row].state(self.clock.newest[tier]));
            }
        }
        if let Some(slices) = &mut self.slices
            && let Some(state) = slices.take_ring(row, is_all)
        {
            visit(RingPlace::Slices, state);
        }
    }

    /// The rings of tiers of a row that hold anything.
    pub(in crate::window) fn copied_rings(&self, row: usize) -> BTreeMap<RingPlace, RingState> {
        let rings = self.rings.iter().enumerate().filter(|(_, rings)| rings[row].bytes() > 0);
        let state = |(tier, rings): (usize, &Vec<Ring>)| {
            (RingPlace::Tier(tier as u8), rings[row].state(self.clock.newest[tier]))
        };
        rings.map(state).collect()
    }

    /// Fills an empty row with what was stored of one, at this table's time or before. After an error the row is to
    /// be [removed](Self::remove).
    pub(in crate::window) fn restore(
        &mut self,
        row: usize,
        state: &RowState,
        rings: BTreeMap<RingPlace, RingState>,
    ) -> Result<(), RowError> {
        for (place, ring) in rings {
            let (bytes, number_bytes) = (ring.slots.len(), ring.number_bytes);
            self.restore_ring(row, state.at, place, ring).ok_or(RowError::Ring {
                place,
                bytes,
                number_bytes,
            })?;
        }
        for (tier, tail) in state.tails.iter().enumerate() {
            self.restore_tail(row, tier, state.at, *tail);
        }
        self.restore_calendars(row, state);
        self.lifetimes[row] = state.lifetime;
        self.take_sums(row);
        // Last, as the slice may have ended since, and counts then.
        if state.open_slice != Counts::ZERO {
            self.add(row, state.at.0, state.open_slice);
        }
        Ok(())
    }

    fn restore_ring(&mut self, row: usize, at: Timestamp, place: RingPlace, state: RingState) -> Option<()> {
        let bytes = match place {
            RingPlace::Tier(tier) => {
                let tier = usize::from(tier);
                let layout = self.layout.tiers.get(tier)?;
                let newest = (layout.slot_of(at.0), self.clock.newest[tier]);
                let ring = Ring::restored(state, layout.slots, newest)?;
                let bytes = ring.bytes();
                self.rings[tier][row] = ring;
                bytes
            }
            RingPlace::Slices => return self.slices.as_mut()?.restore_ring(row, at.0, state),
        };
        self.ring_bytes += bytes;
        Some(())
    }

    /// Puts what the newest slot held then where that slot is now.
    fn restore_tail(&mut self, row: usize, tier: usize, at: Timestamp, tail: Counts) {
        let (tiers, layout) = (self.layout.tiers.len(), self.layout.tiers[tier]);
        let (slot, newest) = (layout.slot_of(at.0), self.clock.newest[tier]);
        if slot == newest {
            self.tails[row * tiers + tier] = tail;
        } else if slot > newest - layout.slots as i64 {
            self.ring_bytes += self.rings[tier][row].set(layout.slots, layout.index(slot), tail);
        }
    }

    fn restore_calendars(&mut self, row: usize, state: &RowState) {
        let calendars = self.layout.calendars.len();
        let sums = self.calendar_sums[row * calendars..][..calendars].iter_mut().zip(&state.calendars);
        for ((sum, stored), (start, _)) in sums.zip(&self.clock.periods) {
            if state.at > *start {
                *sum = *stored;
            }
        }
    }

    /// Takes the sums of a row from its slots: back through each ring once, as windows of a tier end together.
    pub(super) fn take_sums(&mut self, row: usize) {
        let (tiers, windows) = (self.layout.tiers.len(), self.layout.windows.len());
        for (tier, layout) in self.layout.tiers.iter().enumerate() {
            let ring = &self.rings[tier][row];
            let (mut slot, mut index) = (self.clock.newest[tier], self.clock.newest_index[tier]);
            let mut cut = self.tails[row * tiers + tier];
            let mut counts = cut;
            for window in layout.windows() {
                while slot > self.clock.cuts[window].0 {
                    slot -= 1;
                    index = index.checked_sub(1).unwrap_or(layout.slots - 1);
                    cut = ring.get(index);
                    counts += cut;
                }
                self.sums[row * windows + window] = WindowSum { counts, cut };
            }
        }
    }
}
