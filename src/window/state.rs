//! What is stored of windows: plain values, between the owner's columns and an encoding.
//!
//! An SLI's history is a row, which is stored whenever it may have changed, and rings, which are stored when they
//! did. A ring says which slot was the newest when it was stored: what expired since is empty, wherever it lies in
//! the ring. What no row holds yet, as it lies ahead or has not been placed, is pending.
//!
//! This module does not know how states are encoded, or where they are kept. The invariant: what is restored counts
//! like what was stored, and what cannot be is refused as a whole, and not in part.

use std::{fmt, sync::Arc};

use super::{Counts, Layout, SliId};
use crate::time::Timestamp;

/// The history of an SLI, but for its rings.
#[derive(Clone, Debug, PartialEq)]
pub struct RowState {
    /// How it was kept.
    pub layout: Arc<Layout>,
    /// The event time up to which it was counted.
    pub at: Timestamp,
    /// Everything ever counted.
    pub lifetime: Counts,
    /// By calendar window: what the period of `at` holds.
    pub calendars: Vec<Counts>,
    /// By tier: what the slot of `at` holds, which is in no ring yet.
    pub tails: Vec<Counts>,
    /// What the slice of `at` holds, if events are counted in slices.
    pub open_slice: Counts,
    /// When observation began.
    pub since: Option<Timestamp>,
    /// `(from, to]` in which nothing was seen since, oldest first.
    pub holes: Vec<(Timestamp, Timestamp)>,
    /// How many of its rings hold anything.
    pub rings: u32,
}

/// Which of an SLI's rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RingPlace {
    /// That of a tier of its layout.
    Tier(u8),
    /// The events of the last slices.
    Slices,
}

/// The slots of a ring. Slot `k` lies at `k` modulo their number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingState {
    /// The slot that followed those in the ring when it was stored.
    pub newest: i64,
    /// 1, 2 or 4 for signed integers, 8 for floating point numbers.
    pub number_bytes: u8,
    /// Pairs of numbers, bad and all events, little-endian. None if every slot is zero.
    pub slots: Vec<u8>,
}

/// Something that was not in any row yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PendingState {
    /// Of which SLI.
    pub sli: SliId,
    /// The same as `to` for events of one moment.
    pub from: Timestamp,
    /// When it happened.
    pub to: Timestamp,
    /// Events in `(from, to]`; without them, that no series was seen in between.
    pub counts: Option<Counts>,
}

/// How much of a state is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All there is: nothing that was stored before stays.
    Everything,
    /// What may have changed since the last time.
    Changed,
}

/// Why the stored history of an SLI cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// No history can be kept like this.
    #[error("the layout it was stored with is not sound: {0}")]
    Layout(&'static str),
    /// They count different things.
    #[error("it was stored in other slices of time than its SLO counts in")]
    Slices,
    /// Another number than the layout says.
    #[error("it was stored with {found} {what}, its layout has {expected}")]
    Columns {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Some were lost.
    #[error("it was stored with {expected} rings of slots, of which {found} are there")]
    Rings {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: u32,
    },
    /// A number that stands for nothing.
    #[error("it was stored with counts or times that are beyond all bounds")]
    Unbounded,
    /// Nobody knows what happened since.
    #[error("it was stored at {at}, after all others, at {now}")]
    Ahead {
        /// When it was stored.
        at: Timestamp,
        /// When all others were.
        now: Timestamp,
    },
    /// Not one that the layout has, or of another length or time.
    #[error("the ring of {place} is not that of its layout: {bytes} bytes, {number_bytes} a number")]
    Ring {
        /// Which one.
        place: RingPlace,
        /// The bytes of its slots.
        bytes: usize,
        /// The bytes of a number.
        number_bytes: u8,
    },
}

// Beyond this, some 285,000 years, sums and differences of times may overflow. Times that clocks show are far within.
const TIME_MAX_MS: i64 = 1 << 53;

// === impl RowState ===

impl RowState {
    /// Whether it can be put into a table of its layout that is at this time.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), RowError> {
        self.layout.check().map_err(RowError::Layout)?;
        check_columns("calendar windows", self.calendars.len(), self.layout.calendars.len())?;
        check_columns("tiers", self.tails.len(), self.layout.tiers.len())?;
        let counts = [self.lifetime, self.open_slice].into_iter();
        let mut counts = counts.chain(self.calendars.iter().chain(&self.tails).copied());
        let holes = self.holes.iter().flat_map(|(from, to)| [*from, *to]);
        let mut times = holes.chain(self.since).chain([self.at]);
        let is_ordered = self.holes.iter().all(|(from, to)| from <= to);
        if !is_ordered || !counts.all(Counts::is_finite) || !times.all(is_bounded) {
            return Err(RowError::Unbounded);
        }
        if self.at > now {
            return Err(RowError::Ahead { at: self.at, now });
        }
        Ok(())
    }
}

fn check_columns(what: &'static str, found: usize, expected: usize) -> Result<(), RowError> {
    if found == expected { Ok(()) } else { Err(RowError::Columns { what, found, expected }) }
}

/// Whether it is a time that can be reckoned with.
pub fn is_bounded(at: Timestamp) -> bool {
    (-TIME_MAX_MS..=TIME_MAX_MS).contains(&at.0)
}

// === impl RingPlace ===

impl fmt::Display for RingPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tier(tier) => write!(f, "tier {tier}"),
            Self::Slices => write!(f, "slices"),
        }
    }
}

// === impl PendingState ===

impl PendingState {
    pub(super) fn is_sound(&self) -> bool {
        is_bounded(self.from) && is_bounded(self.to) && self.counts.is_none_or(Counts::is_finite)
    }
}
