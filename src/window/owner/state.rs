//! The owner's part in storing histories and restoring them.

use std::{collections::BTreeMap, sync::Arc};

use super::{Place, Windows};
use crate::{
    time::Timestamp,
    window::{
        Copied, Layout, PendingState, RingPlace, RingState, RowError, RowState, Scope, SliId,
        coverage::Coverage,
        open::{Deferred, What},
        table::Table,
    },
};

/// What was in open slots at a moment at which nobody added to them.
#[derive(Debug, Default)]
pub struct Mark {
    cells: Vec<PendingState>,
    now_ms: i64,
}

// === impl Windows ===

impl Windows {
    /// Marks a moment at which no batch lives: a copy of what is in open slots is taken, and all that was deferred
    /// before is told apart from what will be. What is told of this mark is to be asked before time goes on.
    pub fn mark(&mut self) -> Mark {
        self.wait_for_deferred();
        let mut cells = Vec::new();
        self.open.visit_open(self.final_ms, |sli, at_ms, cell| {
            let (at, counts) = (Timestamp(at_ms), Some(cell.counts()));
            cells.push(PendingState { sli, from: at, to: at, counts });
        });
        Mark { cells, now_ms: self.now_ms }
    }

    /// What had not been placed at a mark, in the order in which it will be.
    pub fn pending<'a>(&'a self, mark: &'a Mark) -> impl Iterator<Item = PendingState> + 'a {
        debug_assert_eq!(mark.now_ms, self.now_ms, "BUG: time went on since the mark");
        let deferred = self.parked.values().chain(&self.waiting).flatten();
        deferred.map(PendingState::from).chain(mark.cells.iter().copied())
    }

    /// The row of an SLI as it is stored, unless it has been removed.
    pub fn row_state(&self, sli: SliId) -> Option<RowState> {
        let place = self.places.get(sli.0 as usize).copied().flatten()?;
        let (since, holes) = self.coverages[sli.0 as usize].state();
        let row = self.tables[place.table as usize].row_state(place.row as usize);
        Some(RowState { since, holes, ..row })
    }

    /// The rings of an SLI that are to be stored; one without slots is not to be any more. They count as stored from
    /// now on.
    pub fn take_rings(&mut self, sli: SliId, scope: Scope, visit: &mut dyn FnMut(RingPlace, RingState)) {
        if let Some(place) = self.places.get(sli.0 as usize).copied().flatten() {
            self.tables[place.table as usize].take_rings(place.row as usize, scope, visit);
        }
    }

    /// What an SLI's history holds, unless it has been removed. Nothing of it counts as stored.
    pub fn copied(&self, sli: SliId) -> Option<Copied> {
        let place = self.places.get(sli.0 as usize).copied().flatten()?;
        let rings = self.tables[place.table as usize].copied_rings(place.row as usize);
        Some(Copied { row: self.row_state(sli)?, rings })
    }

    /// Begins the history of an SLI with what was stored of it, as [`insert`](Self::insert) begins an empty one.
    /// Returns whether its layout is another one now, so that what is stored of its rings is wrong.
    ///
    /// # Errors
    /// When that cannot be right; the history has not begun.
    pub fn restore(
        &mut self,
        sli: SliId,
        layout: &Arc<Layout>,
        state: &RowState,
        rings: BTreeMap<RingPlace, RingState>,
    ) -> Result<bool, RowError> {
        state.check(self.now())?;
        if state.layout.slices != layout.slices {
            return Err(RowError::Slices);
        }
        if rings.len() != state.rings as usize {
            return Err(RowError::Rings { found: rings.len(), expected: state.rings });
        }
        let table = self.table_of(if *state.layout == **layout { layout } else { &state.layout });
        let row = self.tables[table].insert();
        if let Err(error) = self.tables[table].restore(row, state, rings) {
            self.tables[table].remove(row);
            return Err(error);
        }
        self.settle(sli, Place { table: table as u32, row: row as u32 });
        self.coverages[sli.0 as usize] = Coverage::restored(state.since, &state.holes);
        Ok(self.relayout(sli, layout))
    }

    /// Adds what was stored of another history of an SLI, which was observed up to `until`, to its own: neither may have
    /// counted what the other has.
    ///
    /// # Errors
    /// When what was stored cannot be right; nothing of it is counted.
    pub fn absorb(
        &mut self,
        sli: SliId,
        state: &RowState,
        rings: BTreeMap<RingPlace, RingState>,
        until: Timestamp,
    ) -> Result<(), RowError> {
        let Some(place) = self.places.get(sli.0 as usize).copied().flatten() else { return Ok(()) };
        state.check(self.now())?;
        let (table, row) = (&mut self.tables[place.table as usize], place.row as usize);
        if *state.layout != *table.layout {
            return Err(RowError::Layout("it is not that of its SLO any more"));
        }
        let mut other = Table::new(Arc::clone(&table.layout), self.now_ms);
        let other_row = other.insert();
        other.restore(other_row, state, rings)?;
        table.absorb(row, &other, other_row);
        self.coverages[sli.0 as usize].absorb(state.since, &state.holes, until);
        Ok(())
    }

    /// Takes up what was pending. Returns how much of it makes no sense, and is left out.
    pub fn restore_pending(&mut self, pending: &[PendingState]) -> usize {
        let sound = pending.iter().filter(|pending| pending.is_sound());
        let list: Vec<Deferred> = sound.map(Deferred::from).collect();
        let unsound = pending.len() - list.len();
        self.open.note_deferred(list.len());
        self.waiting.push(list);
        unsound
    }

    /// Drops of what waits what is later than this.
    pub(super) fn drop_waiting_after(&mut self, to: Timestamp) {
        for list in &mut self.waiting {
            let before = list.len();
            list.retain(|deferred| deferred.to_ms <= to.0);
            self.open.note_placed(before - list.len());
        }
    }
}

// === impl PendingState ===

impl From<&Deferred> for PendingState {
    fn from(deferred: &Deferred) -> Self {
        let counts = match deferred.what {
            What::Counts(counts) => Some(counts),
            What::Unseen => None,
        };
        Self { sli: deferred.sli, from: Timestamp(deferred.from_ms), to: Timestamp(deferred.to_ms), counts }
    }
}

// === impl Deferred ===

impl From<&PendingState> for Deferred {
    fn from(pending: &PendingState) -> Self {
        let what = pending.counts.map_or(What::Unseen, What::Counts);
        Self { sli: pending.sli, from_ms: pending.from.0, to_ms: pending.to.0, what }
    }
}
