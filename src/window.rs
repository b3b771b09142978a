//! Event counts per SLI over every window an SLO asks for.
//!
//! Time is cut into slots. Ingest threads add to *open slots*, a small ring per SLI of slots as wide as
//! the evaluation's resolution; the owner (the tick) closes them and keeps what they held in *tables*: a
//! row per SLI, with a running sum for each window and, per tier, a ring of ever wider slots:
//!
//! ```text
//!            any number of ingest threads                      one owner: close, insert, count
//!   add(sli, at) ──▶ open slots  │ 1s │ 1s │ 1s │ ··· 16 ──▶ sums ─ tier 10s × 181   5m 30m
//!          └──────▶ deferred     (late, spread, far ahead) ─▶     ─ tier  2m × 181   1h 2h 6h
//!                   lists, placed SLI by SLI                      ─ tier 20m × 217   1d 3d
//!                                                                 ─ tier  1h × 721   30d
//! ```
//!
//! An SLI whose budget is counted in *slices* of time puts the verdict on each slice in there, instead of
//! its events. A *calendar* window has no slots: nothing leaves it until it begins anew.
//!
//! A slot number `k` of width `s` covers the event times `(k·s, (k+1)·s]`. The slot that the start of a
//! window `(t - W, t]` cuts counts by the share `1 - f` of it that lies inside. So every count but that
//! slot's is exact, and a window whose start is the edge of a slot is exact as a whole.
//!
//! **How far a ratio may be off.** Let the cut slot hold `n` events and the estimated window `N`. Each event
//! of the cut slot counts `1 - f` instead of 0 or 1, so its weight is off by at most `max(f, 1 - f)`, and
//! contributes that times `(1 or 0) - r` to the error of the ratio, where `r` is the exact one. Hence
//! `|ratio - exact| ≤ max(f, 1 - f) · n / N ≤ n / N`. A slot is at most a thirtieth of any window that it
//! serves; for even traffic the error is nothing, because shares are then right. An incident can move when
//! a condition begins or ends by at most one slot.
//!
//! Sums are kept by adding what arrives and subtracting what expires. That is exact for whole numbers of
//! events; when a slot expires whose content may have been rounded (fractions, or more than 2^43), the
//! sum is taken afresh from the slots, so that nothing drifts.
//!
//! The invariant: every count added is counted exactly once in [`History::lifetime`], and in each window
//! that contains its event time, whatever the order of arrival. No lock is taken on either side.
//! This module does not know series, SLOs or clocks.

mod arrived;
mod coverage;
mod layout;
#[cfg(all(test, slod_loom))]
mod model;
mod open;
mod owner;
mod past;
mod ring;
mod slices;
mod state;
mod sync;
mod table;

use std::ops::{AddAssign, Mul, Sub, SubAssign};

pub use layout::{Layout, Slices, TierLayout, WindowLayout};
pub use open::{Batch, OpenSlots, SliId, resolution};
pub use owner::{History, Mark, Windows};
pub use past::{Copied, Past, Seen};
pub use state::{PendingState, RingPlace, RingState, RowError, RowState, Scope, is_bounded};

// As many as a window has slots, at most 1,024 or so, add up below 2^53, from where `f64` skips whole numbers.
const EXACT_BELOW: f64 = (1_u64 << 43) as f64;

/// What a slot or a window holds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counts {
    /// Bad events.
    pub bad: f64,
    /// All events.
    pub total: f64,
}

// === impl Counts ===

impl Counts {
    /// Nothing.
    pub const ZERO: Self = Self { bad: 0.0, total: 0.0 };

    /// Whether both are numbers to reckon with.
    pub fn is_finite(self) -> bool {
        self.bad.is_finite() && self.total.is_finite()
    }

    /// Whether adding this to other such counts, and taking it away again, loses nothing.
    fn is_exact(self) -> bool {
        // Not `fract`, which is a call on processors without SSE 4.1.
        let is_exact = |count: f64| count as i64 as f64 == count && count.abs() < EXACT_BELOW;
        is_exact(self.bad) && is_exact(self.total)
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.bad += other.bad;
        self.total += other.total;
    }
}

impl SubAssign for Counts {
    fn sub_assign(&mut self, other: Self) {
        self.bad -= other.bad;
        self.total -= other.total;
    }
}

impl Sub for Counts {
    type Output = Self;
    fn sub(mut self, other: Self) -> Self {
        self -= other;
        self
    }
}

impl Mul<f64> for Counts {
    type Output = Self;
    fn mul(self, factor: f64) -> Self {
        Self { bad: self.bad * factor, total: self.total * factor }
    }
}
