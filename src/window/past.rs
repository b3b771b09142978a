//! What a history still holds of the past: a copy for readers, who work it out away from the owner.
//!
//! ```text
//!   tier 10s × 181   ├──────── 30m ────────┤now      a window that ended at a past time is taken from the
//!   tier  2m × 181   ├──────── 6h ─────────┤now      finest tier that reaches back to where it began
//!   tier  1h × 721   ├──────── 30d ────────┤now
//! ```
//!
//! Whatever begins or ends inside a slot counts by the share of the slot that lies inside, as in the windows
//! themselves. A window longer than half of what its tier keeps cannot be seen whole for long: then [`Seen`] says
//! from when on it was. This module does not know what the counts are for.
//!
//! The invariant: at the time of the copy the windows are those that the owner has.

use std::{collections::BTreeMap, sync::Arc};

use super::{Counts, Layout, RingPlace, RingState, RowState, TierLayout, ring::Ring};
use crate::time::Timestamp;

/// The rows and rings of an SLI as they were at a moment: as little work for the owner as can be.
#[derive(Clone, Debug)]
pub struct Copied {
    /// But for its rings.
    pub row: RowState,
    /// Those that hold anything.
    pub rings: BTreeMap<RingPlace, RingState>,
}

/// The past of an SLI.
#[derive(Clone, Debug)]
pub struct Past {
    layout: Arc<Layout>,
    at: Timestamp,
    since: Option<Timestamp>,
    lifetime: Counts,
    calendars: Vec<Counts>,
    tiers: Vec<TierPast>,
}

/// What a time of the past held, as far as it is still known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// The events.
    pub counts: Counts,
    /// When the time began.
    pub start: Timestamp,
    /// From when on they are known: not before the start.
    pub from: Timestamp,
    /// When the time ended.
    pub to: Timestamp,
}

/// What a tier holds, added up.
#[derive(Clone, Debug)]
struct TierPast {
    slot_ms: i64,
    /// The oldest slot that it keeps.
    first: i64,
    /// Where the newest one ends so far.
    end_ms: i64,
    /// What lies before each slot, and at last all of it.
    sums: Vec<Counts>,
    /// Whether it holds all that was ever counted, so that there is nothing before.
    holds_all: bool,
}

// === impl Past ===

impl Past {
    /// What was copied, added up.
    pub fn new(copied: Copied) -> Self {
        let Copied { row, mut rings } = copied;
        let tiers = row.layout.tiers.iter().zip(&row.tails).enumerate().map(|(number, (layout, tail))| {
            let ring = rings.remove(&RingPlace::Tier(number as u8)).unwrap_or_default();
            TierPast::new(layout, ring, *tail, row.at)
        });
        let mut tiers: Vec<TierPast> = tiers.collect();
        tiers.iter_mut().for_each(|tier| tier.holds_all = tier.sums.last() == Some(&row.lifetime));
        Self {
            tiers,
            at: row.at,
            since: row.since,
            lifetime: row.lifetime,
            calendars: row.calendars,
            layout: row.layout,
        }
    }

    /// The time of the copy.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// How many rolling windows there are.
    pub fn rolling_windows(&self) -> usize {
        self.layout.windows.len()
    }

    /// When observation began.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// What the rolling window of this number held at a time. `None` if no tier with slots shorter than the window
    /// knows anything of it.
    pub fn rolling(&self, number: usize, at: Timestamp) -> Option<Seen> {
        let length_ms = self.layout.windows.get(number)?.length_ms;
        self.seen(Timestamp(at.0 - length_ms), at, length_ms)
    }

    /// What the calendar window of this number held at a time since its period had begun, and that period, `(start,
    /// end]`.
    pub fn calendar(&self, number: usize, at: Timestamp) -> Option<(Seen, Timestamp)> {
        let calendar = self.layout.calendars.get(number)?;
        let (start, end) = calendar.period(at);
        if calendar.period(self.at).0 != start {
            return Some((self.seen(start, at, i64::MAX)?, end));
        }
        let later = self.whole(at, self.at)?;
        let counts = *self.calendars.get(number)? - later;
        Some((Seen { counts, start, from: start, to: at }, end))
    }

    /// Everything that had been counted up to a time. `None` if what came since is not known any more.
    pub fn lifetime(&self, at: Timestamp) -> Option<Counts> {
        let later = self.whole(at, self.at)?;
        let counts = self.lifetime - later;
        Some(Counts { bad: counts.bad.max(0.0), total: counts.total.max(0.0) })
    }

    /// What happened in `(start, to]`, of which all must be known.
    fn whole(&self, start: Timestamp, to: Timestamp) -> Option<Counts> {
        self.seen(start, to, i64::MAX).filter(|seen| seen.from == seen.start).map(|seen| seen.counts)
    }

    /// What happened in `(start, to]`, from the finest tier that reaches back to `start`, else from the one that
    /// reaches back furthest. Slots must not be longer than `slot_ms_max`.
    fn seen(&self, start: Timestamp, to: Timestamp, slot_ms_max: i64) -> Option<Seen> {
        let mut fitting = self.tiers.iter().filter(|tier| tier.slot_ms <= slot_ms_max);
        let tier = match fitting.clone().find(|tier| tier.reaches(start)) {
            Some(tier) => tier,
            None => fitting.next_back().filter(|tier| tier.start_ms() < to.0)?,
        };
        // What was before anyone looked is known: nothing.
        let is_known = tier.reaches(start) || self.since.is_some_and(|since| tier.start_ms() <= since.0);
        let from = if is_known { start } else { Timestamp(tier.start_ms()) };
        Some(Seen { counts: tier.until(to.0) - tier.until(from.0), start, from, to })
    }
}

// === impl Seen ===

impl Seen {
    /// Which part of the time is known.
    pub fn share(&self) -> f64 {
        let (known, all) = (self.to.0 - self.from.0, self.to.0 - self.start.0);
        if all <= 0 { 1.0 } else { known as f64 / all as f64 }
    }
}

// === impl TierPast ===

impl TierPast {
    fn new(layout: &TierLayout, ring: RingState, tail: Counts, at: Timestamp) -> Self {
        let newest = layout.slot_of(at.0);
        let ring = Ring::restored(ring, layout.slots, (newest, newest)).unwrap_or_default();
        let first = newest - layout.slots as i64;
        let mut sum = Counts::ZERO;
        let mut sums = vec![sum];
        for slot in first..newest {
            sum += ring.get(layout.index(slot));
            sums.push(sum);
        }
        sum += tail;
        sums.push(sum);
        Self { slot_ms: layout.slot_ms, first, end_ms: at.0, sums, holds_all: false }
    }

    fn start_ms(&self) -> i64 {
        self.first * self.slot_ms
    }

    /// Whether it knows all that happened since a time.
    fn reaches(&self, at: Timestamp) -> bool {
        self.start_ms() <= at.0 || self.holds_all
    }

    /// What it holds up to a time.
    fn until(&self, at_ms: i64) -> Counts {
        let at_ms = at_ms.min(self.end_ms);
        if at_ms <= self.start_ms() {
            return Counts::ZERO;
        }
        let slot = (at_ms - 1).div_euclid(self.slot_ms);
        let index = (slot - self.first) as usize;
        let start_ms = slot * self.slot_ms;
        // The newest slot has not ended.
        let width_ms = self.slot_ms.min(self.end_ms - start_ms);
        let mut sum = self.sums[index];
        sum += (self.sums[index + 1] - sum) * ((at_ms - start_ms) as f64 / width_ms as f64);
        sum
    }
}

#[cfg(test)]
mod tests;
