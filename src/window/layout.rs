//! Which tiers serve which windows: the shape of a history, shared by all SLIs of the same windows.

use std::{ops::Range, time::Duration};

use super::Counts;
use crate::time::{Calendar, millis};

// A slot is at most this part of the shortest window of its tier: what bounds the error of the cut slot.
const SLOTS_PER_WINDOW_MIN: i64 = 30;
// … at most this part of the tier's longest window …
const SLOTS_PER_TIER_MIN: i64 = 180;
// … and at most this part of a window with a budget, the number people look at: 30 days in slots of an
// hour, so that the budget at every full hour is exact.
const SLOTS_PER_BUDGET_MIN: i64 = 600;
// Windows up to this many times the shortest share a tier. Six puts 5m with 30m, and 1h with 6h.
const TIER_SPAN_MAX: i64 = 6;

// What a stored layout may have at most: ten times what those of a window of 100 years, in slots of a day, have. So
// nothing overflows, and no ring takes more than a few megabytes.
const LENGTH_MAX_MS: i64 = 1_000 * 366 * 86_400_000;
const SLOTS_MAX: usize = 366_000;
// Each tier's windows are more than `TIER_SPAN_MAX` times as long as those of the one before.
const TIERS_MAX: usize = 64;

// Widths that divide an hour or a day, so that full hours and days are edges of slots.
const WIDTHS_MS: [i64; 25] = {
    const S: i64 = 1_000;
    const M: i64 = 60 * S;
    const H: i64 = 60 * M;
    [
        100,
        200,
        500,
        S,
        2 * S,
        5 * S,
        10 * S,
        15 * S,
        20 * S,
        30 * S,
        M,
        2 * M,
        5 * M,
        10 * M,
        15 * M,
        20 * M,
        30 * M,
        H,
        2 * H,
        3 * H,
        4 * H,
        6 * H,
        8 * H,
        12 * H,
        24 * H,
    ]
};

/// The tiers of a history and the windows each serves.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Finest first.
    pub tiers: Vec<TierLayout>,
    /// Shortest first.
    pub windows: Vec<WindowLayout>,
    /// Calendar windows. They need no slots: nothing leaves them before they begin anew.
    pub calendars: Vec<Calendar>,
    /// What events are counted in, if not one by one.
    pub slices: Option<Slices>,
    /// The step in which events are counted.
    pub resolution_ms: i64,
}

/// Equal slices of time that each count as one event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slices {
    /// The length of a slice.
    pub width_ms: i64,
    /// Bad is a slice with a lower ratio of good events than this; without it, each slice is bad to the
    /// extent that its events are.
    pub good_from: Option<f64>,
}

/// A ring of slots of one width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierLayout {
    /// The width of a slot.
    pub slot_ms: i64,
    /// How many slots the ring holds.
    pub slots: usize,
    /// The numbers of the windows it serves: from this one …
    pub first_window: usize,
    /// … up to and excluding this one.
    pub end_window: usize,
}

/// A window and where its counts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowLayout {
    /// Its length.
    pub length_ms: i64,
    /// The index of its tier.
    pub tier: usize,
}

// === impl Layout ===

impl Layout {
    /// The layout for these windows, evaluated at multiples of `resolution`; `budgets` are those of them
    /// that are kept finer. Windows are taken shortest first and without repeats, and rounded up to the
    /// resolution.
    ///
    /// ```
    /// # use slod::window::Layout;
    /// # use std::time::Duration;
    /// let hours = |h: u64| Duration::from_secs(3_600 * h);
    /// let layout = Layout::new(&[hours(1), hours(6)], &[hours(720)], Duration::from_secs(1));
    /// let widths: Vec<i64> = layout.tiers.iter().map(|tier| tier.slot_ms / 60_000).collect();
    /// assert_eq!(widths, [2, 60], "minutes");
    /// ```
    pub fn new(windows: &[Duration], budgets: &[Duration], resolution: Duration) -> Self {
        let resolution_ms = millis(resolution).max(1);
        let length = |window: &Duration| millis(*window).max(1).next_multiple_of_ms(resolution_ms);
        let budgets: Vec<i64> = budgets.iter().map(length).collect();
        let mut lengths: Vec<i64> = windows.iter().map(length).chain(budgets.iter().copied()).collect();
        lengths.sort_unstable();
        lengths.dedup();
        let mut layout = Self {
            tiers: Vec::new(),
            windows: Vec::new(),
            calendars: Vec::new(),
            slices: None,
            resolution_ms,
        };
        let mut rest = lengths.as_slice();
        while let Some(&shortest) = rest.first() {
            let served = rest.partition_point(|length| *length <= shortest * TIER_SPAN_MAX);
            let (these, longer) = rest.split_at(served);
            layout.push_tier(these, &budgets, resolution_ms);
            rest = longer;
        }
        layout
    }

    /// The number of the window of this length, or of the next longer one.
    pub fn window_number(&self, length: Duration) -> usize {
        let longer = self.windows.partition_point(|window| window.length_ms < millis(length));
        longer.min(self.windows.len().saturating_sub(1))
    }

    /// Whether a step of the resolution may lie in two slices, so that events must be counted at their
    /// own times.
    pub fn slices_cut_steps(&self) -> bool {
        self.slices.is_some_and(|slices| slices.width_ms % self.resolution_ms != 0)
    }

    /// The longest rolling window, or the usual length of the longest calendar window.
    pub fn longest_ms(&self) -> i64 {
        let calendars = self.calendars.iter().map(|calendar| millis(calendar.nominal()));
        self.windows.iter().map(|window| window.length_ms).chain(calendars).max().unwrap_or(0)
    }

    /// Whether histories can be kept like this: true of every layout made here, but one that was stored may be none
    /// of those. Else what is wrong.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        let ensure = |is_so: bool, wrong| if is_so { Ok(()) } else { Err(wrong) };
        let is_length = |ms: i64| (1..=LENGTH_MAX_MS).contains(&ms);
        let slices_sound = self
            .slices
            .is_none_or(|slices| is_length(slices.width_ms) && slices.good_from.is_none_or(f64::is_finite));
        ensure(is_length(self.resolution_ms), "its resolution is no length of time")?;
        ensure(slices_sound, "its slices are no lengths of time")?;
        ensure(self.tiers.len() <= TIERS_MAX, "it has too many tiers")?;
        ensure(self.windows.iter().all(|window| is_length(window.length_ms)), "a window has no length")?;
        ensure(self.windows.is_sorted_by_key(|window| window.length_ms), "its windows are not in order")?;
        let mut windows = self.windows.as_slice();
        for (number, tier) in self.tiers.iter().enumerate() {
            ensure(is_length(tier.slot_ms), "the slots of a tier have no length")?;
            ensure((1..=SLOTS_MAX).contains(&tier.slots), "a tier has too few or too many slots")?;
            let first = self.windows.len() - windows.len();
            let count = tier.end_window.checked_sub(first).filter(|_| tier.first_window == first);
            let served = count.and_then(|count| windows.split_off(..count));
            let is_served = |window: &WindowLayout| {
                window.tier == number && window.length_ms.div_ceil_ms(tier.slot_ms) < tier.slots as i64
            };
            ensure(
                served.is_some_and(|served| served.iter().all(is_served)),
                "a tier does not serve its windows",
            )?;
        }
        ensure(windows.is_empty(), "a window has no tier")
    }

    fn push_tier(&mut self, lengths: &[i64], budgets: &[i64], resolution_ms: i64) {
        let (Some(&shortest), Some(&longest)) = (lengths.first(), lengths.last()) else { return };
        let budget = budgets.iter().filter(|budget| lengths.contains(budget)).min();
        let bound = (shortest / SLOTS_PER_WINDOW_MIN)
            .min(longest / SLOTS_PER_TIER_MIN)
            .min(budget.map_or(i64::MAX, |budget| budget / SLOTS_PER_BUDGET_MIN));
        let slot_ms = slot_width(bound, resolution_ms);
        // One more than the window spans: its start and its end may both cut a slot.
        let slots = usize::try_from(longest.div_ceil_ms(slot_ms) + 1).unwrap_or(usize::MAX);
        let tier = self.tiers.len();
        let first_window = self.windows.len();
        self.tiers.push(TierLayout {
            slot_ms,
            slots,
            first_window,
            end_window: first_window + lengths.len(),
        });
        self.windows.extend(lengths.iter().map(|&length_ms| WindowLayout { length_ms, tier }));
    }
}

// === impl TierLayout ===

impl TierLayout {
    /// The slot that an event time falls into.
    pub(super) fn slot_of(&self, at_ms: i64) -> i64 {
        (at_ms - 1).div_euclid(self.slot_ms)
    }

    /// The place of a slot in the ring.
    pub(super) fn index(&self, slot: i64) -> usize {
        slot.rem_euclid(self.slots as i64) as usize
    }

    /// The numbers of the windows it serves.
    pub(super) fn windows(&self) -> Range<usize> {
        self.first_window..self.end_window
    }
}

// === impl Slices ===

impl Slices {
    /// What a slice with these events counts for: nothing without any.
    pub(super) fn judge(&self, events: Counts) -> Counts {
        if events.total <= 0.0 {
            return Counts::ZERO;
        }
        let bad_ratio = (events.bad / events.total).clamp(0.0, 1.0);
        let good_ratio = ((events.total - events.bad) / events.total).clamp(0.0, 1.0);
        let bad = self.good_from.map_or(bad_ratio, |least| f64::from(u8::from(good_ratio < least)));
        Counts { bad, total: 1.0 }
    }
}

/// The widest usual width up to `bound_ms` that holds whole resolution steps; else the most steps that do
/// not exceed it. With a single step no window ever cuts a slot.
fn slot_width(bound_ms: i64, resolution_ms: i64) -> i64 {
    let fits = |width: &&i64| **width <= bound_ms && **width % resolution_ms == 0;
    WIDTHS_MS.iter().rev().find(fits).copied().unwrap_or((bound_ms / resolution_ms).max(1) * resolution_ms)
}

/// `i64` has no stable rounding division for positive numbers.
trait RoundUp {
    fn div_ceil_ms(self, by: i64) -> i64;
    fn next_multiple_of_ms(self, of: i64) -> i64;
}

impl RoundUp for i64 {
    fn div_ceil_ms(self, by: i64) -> i64 {
        (self + by - 1) / by
    }

    fn next_multiple_of_ms(self, of: i64) -> i64 {
        self.div_ceil_ms(of) * of
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[track_caller]
    fn check(windows: &[u64], expected: &[(i64, usize)]) {
        let windows: Vec<Duration> = windows.iter().map(|s| SECOND * *s as u32).collect();
        let (period, alerts) = windows.split_last().unwrap();
        let layout = Layout::new(alerts, &[*period], SECOND);
        let tiers: Vec<(i64, usize)> = layout.tiers.iter().map(|t| (t.slot_ms / 1_000, t.slots)).collect();
        assert_eq!(tiers, expected);
    }

    #[test]
    fn the_workbook_windows_of_30_days_take_four_tiers() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        let windows =
            [5 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 6 * HOUR, 24 * HOUR, 72 * HOUR, 30 * 24 * HOUR];
        check(&windows, &[(10, 181), (120, 181), (1_200, 217), (3_600, 721)]);
    }

    #[test]
    fn short_windows_fall_back_to_the_resolution() {
        check(&[5, 60], &[(1, 6), (1, 61)]);
    }

    #[test]
    fn an_odd_resolution_does_not_make_a_month_of_single_steps() {
        let month = SECOND * 30 * 86_400;
        let layout = Layout::new(&[], &[month], SECOND * 7);
        assert!(layout.tiers[0].slots < 700, "{layout:?}");
    }

    proptest! {
        #[test]
        fn every_window_has_a_tier_that_reaches_it_finely_enough(
            windows in proptest::collection::vec(1u64..90 * 86_400, 1..12),
            resolution in 1u64..20,
        ) {
            let windows: Vec<Duration> = windows.iter().map(|s| Duration::from_secs(*s)).collect();
            let layout = Layout::new(&windows, &[], Duration::from_secs(resolution));
            for window in &layout.windows {
                let tier = layout.tiers[window.tier];
                prop_assert!(tier.slots as i64 * tier.slot_ms >= window.length_ms + tier.slot_ms);
                let fine = tier.slot_ms * SLOTS_PER_WINDOW_MIN <= window.length_ms;
                prop_assert!(fine || tier.slot_ms == resolution as i64 * 1_000);
            }
        }
    }
}
