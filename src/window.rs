//! Event counts per SLI over every window an SLO asks for.
//!
//! Time is cut into slots. Ingest threads add to *open slots*, a small ring per SLI of slots as wide as
//! the evaluation's resolution; the owner (the tick) closes them and keeps what they held in the *tiers*
//! of that SLI's history, rings of ever wider slots with a running sum for each window:
//!
//! ```text
//!            any number of ingest threads                      one owner: advance(to)
//!   add(sli, at) ──▶ open slots  │ 1s │ 1s │ 1s │ ··· 16 ──▶ tier 10s × 181   5m 30m
//!          └──────▶ deferred     (late, spread, far ahead) ─▶ tier  2m × 181   1h 2h 6h
//!                   a queue, applied at the next advance      tier 20m × 217   1d 3d
//!                                                             tier  4h × 181   30d
//! ```
//!
//! A slot number `k` of width `s` covers the event times `(k·s, (k+1)·s]`, so that a window `(t - W, t]`
//! that ends on a slot's edge holds whole slots. The slot that the window's start cuts counts in
//! proportion to the part inside. A window's count is therefore exact but for that one slot: it is off by
//! at most the slot's content, and by nothing when events are spread evenly over the slot. Widths are at
//! most a thirtieth of any window they serve.
//!
//! Sums are kept by adding what arrives and subtracting what expires. That is exact for whole numbers of
//! events; when a slot expires whose content may have been rounded (fractions, or more than 2^45), the sums
//! of its tier are taken afresh from the slots, so that nothing drifts.
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
mod ring;
mod slices;
mod sync;
mod table;

use std::ops::{AddAssign, Mul, Sub, SubAssign};

pub use layout::{Layout, Slices, TierLayout, WindowLayout};
pub use open::{Batch, OpenSlots, SliId, resolution};
pub use owner::{History, Windows};

// As many as a window has slots, about 256, add up below 2^53, from where `f64` skips whole numbers.
const EXACT_BELOW: f64 = (1_u64 << 45) as f64;

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
