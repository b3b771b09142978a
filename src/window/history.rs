//! The closed past of one SLI: tiers of slots and a running sum for each window. Owned by the tick.

use std::sync::Arc;

use super::{Counts, Layout};

/// The counts of one SLI up to now.
#[derive(Clone, Debug)]
pub struct History {
    layout: Arc<Layout>,
    now_ms: i64,
    tiers: Vec<Box<[Counts]>>,
    sums: Vec<WindowSum>,
    lifetime: Counts,
}

/// The whole slots of a window, from the one its start cuts to the newest.
#[derive(Clone, Copy, Debug)]
struct WindowSum {
    counts: Counts,
    first_slot: i64,
}

// === impl History ===

impl History {
    /// An empty history that ends at `now_ms`.
    pub fn new(layout: Arc<Layout>, now_ms: i64) -> Self {
        let tiers = layout.tiers.iter().map(|tier| vec![Counts::ZERO; tier.slots].into()).collect();
        let sums = layout
            .windows
            .iter()
            .map(|window| WindowSum {
                counts: Counts::ZERO,
                first_slot: (now_ms - window.length_ms).div_euclid(layout.tiers[window.tier].slot_ms),
            })
            .collect();
        Self { layout, now_ms, tiers, sums, lifetime: Counts::ZERO }
    }

    /// Empties every window and ends the history at `now_ms`.
    pub(super) fn clear(&mut self, now_ms: i64) {
        *self = Self { lifetime: self.lifetime, ..Self::new(Arc::clone(&self.layout), now_ms) };
    }

    /// Everything ever added, whether or not any window still holds it.
    pub fn lifetime(&self) -> Counts {
        self.lifetime
    }

    /// The counts in `(now - window, now]`, windows numbered as in the layout. The slot that the start
    /// cuts counts by the share of it that lies inside.
    pub fn counts(&self, window: usize) -> Counts {
        let (sum, length_ms) = (&self.sums[window], self.layout.windows[window].length_ms);
        let tier = self.layout.windows[window].tier;
        let slot_ms = self.layout.tiers[tier].slot_ms;
        let outside_ms = self.now_ms - length_ms - sum.first_slot * slot_ms;
        sum.counts - self.slot(tier, sum.first_slot) * (outside_ms as f64 / slot_ms as f64)
    }

    /// How long from now until `enough` holds of a window's counts if nothing more is added: the bad
    /// events leave with the slots that expire. At most the window's length.
    pub fn time_until(&self, window: usize, enough: impl Fn(Counts) -> bool) -> i64 {
        let layout = self.layout.windows[window];
        let slot_ms = self.layout.tiers[layout.tier].slot_ms;
        let mut left = self.counts(window);
        let start_ms = self.now_ms - layout.length_ms;
        let mut first_slot = self.sums[window].first_slot;
        let mut from_ms = start_ms;
        while !enough(left) && from_ms < self.now_ms {
            let end_ms = ((first_slot + 1) * slot_ms).min(self.now_ms);
            left -= self.slot(layout.tier, first_slot) * ((end_ms - from_ms) as f64 / slot_ms as f64);
            first_slot += 1;
            from_ms = end_ms;
        }
        from_ms - start_ms
    }

    /// Moves the end of the history to `to_ms`; going back in time changes nothing.
    pub fn advance(&mut self, to_ms: i64) {
        if to_ms <= self.now_ms {
            return;
        }
        let from_ms = std::mem::replace(&mut self.now_ms, to_ms);
        let inexact_tier = self.expire(from_ms, to_ms);
        for tier in 0..self.tiers.len() {
            self.recycle(tier, from_ms, to_ms);
            if Some(tier) <= inexact_tier {
                self.take_sums(tier);
            }
        }
    }

    /// Adds counts at an event time; what lies beyond a tier's reach is not added to that tier.
    pub fn add(&mut self, at_ms: i64, counts: Counts) {
        debug_assert!(at_ms <= self.now_ms, "BUG: {at_ms} is after the end of the history, {}", self.now_ms);
        self.lifetime += counts;
        for tier in 0..self.tiers.len() {
            let slot = (at_ms - 1).div_euclid(self.layout.tiers[tier].slot_ms);
            self.add_to_slot(tier, slot, counts);
        }
    }

    /// Adds counts spread evenly over `(from, to]`: whole events to whole slots, none lost to rounding.
    pub fn add_spread(&mut self, from_ms: i64, to_ms: i64, counts: Counts) {
        self.lifetime += counts;
        for tier in 0..self.tiers.len() {
            let layout = self.layout.tiers[tier];
            let oldest = self.newest_slot(tier) - layout.slots as i64 + 1;
            let last = (to_ms - 1).div_euclid(layout.slot_ms);
            let first = from_ms.div_euclid(layout.slot_ms).max(oldest);
            let mut before = share(counts, first * layout.slot_ms, from_ms, to_ms);
            for slot in first..=last {
                let after = share(counts, (slot + 1) * layout.slot_ms, from_ms, to_ms);
                self.add_to_slot(tier, slot, after - before);
                before = after;
            }
        }
    }

    fn add_to_slot(&mut self, tier: usize, slot: i64, counts: Counts) {
        let slots = self.tiers[tier].len() as i64;
        if slot <= self.newest_slot(tier) - slots {
            return;
        }
        self.tiers[tier][slot.rem_euclid(slots) as usize] += counts;
        for (window, sum) in self.layout.windows.iter().zip(&mut self.sums) {
            if window.tier == tier && slot >= sum.first_slot {
                sum.counts += counts;
            }
        }
    }

    /// Takes the slots that fell out of each window from its sum. Returns the coarsest tier in which that
    /// was not exact.
    fn expire(&mut self, from_ms: i64, to_ms: i64) -> Option<usize> {
        let mut inexact_tier = None;
        for index in 0..self.sums.len() {
            let window = self.layout.windows[index];
            let slot_ms = self.layout.tiers[window.tier].slot_ms;
            let first = (to_ms - window.length_ms).div_euclid(slot_ms);
            // Beyond the slot that was newest, the ring still holds slots of the turn before.
            let end = first.min((from_ms - 1).div_euclid(slot_ms) + 1);
            let WindowSum { mut counts, first_slot } = self.sums[index];
            for slot in first_slot..end {
                let expired = self.slot(window.tier, slot);
                counts -= expired;
                if !expired.is_exact() {
                    inexact_tier = Some(window.tier);
                }
            }
            self.sums[index] = WindowSum { counts, first_slot: first };
        }
        inexact_tier
    }

    /// Empties the slots that the passing of time makes new.
    fn recycle(&mut self, tier: usize, from_ms: i64, to_ms: i64) {
        let slot_ms = self.layout.tiers[tier].slot_ms;
        let slots = self.tiers[tier].len() as i64;
        let (old, new) = ((from_ms - 1).div_euclid(slot_ms), (to_ms - 1).div_euclid(slot_ms));
        for slot in old.max(new - slots) + 1..=new {
            self.tiers[tier][slot.rem_euclid(slots) as usize] = Counts::ZERO;
        }
    }

    /// Takes the sums of a tier from its slots.
    fn take_sums(&mut self, tier: usize) {
        for index in 0..self.sums.len() {
            if self.layout.windows[index].tier == tier {
                let mut counts = Counts::ZERO;
                for slot in self.sums[index].first_slot..=self.newest_slot(tier) {
                    counts += self.slot(tier, slot);
                }
                self.sums[index].counts = counts;
            }
        }
    }

    fn newest_slot(&self, tier: usize) -> i64 {
        (self.now_ms - 1).div_euclid(self.layout.tiers[tier].slot_ms)
    }

    fn slot(&self, tier: usize, slot: i64) -> Counts {
        let ring = &self.tiers[tier];
        ring[slot.rem_euclid(ring.len() as i64) as usize]
    }
}

/// The part of counts spread over `(from, to]` that lies up to `until`. Whole numbers stay whole, and
/// opposite ones opposite: what `total - good` cancels as a whole it cancels in every part.
fn share(counts: Counts, until_ms: i64, from_ms: i64, to_ms: i64) -> Counts {
    let part = (until_ms.clamp(from_ms, to_ms) - from_ms) as f64 / (to_ms - from_ms).max(1) as f64;
    let take = |whole: f64| if whole.fract() == 0.0 { (whole * part).trunc() } else { whole * part };
    Counts { bad: take(counts.bad), total: take(counts.total), observed_ms: take(counts.observed_ms) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const HOUR_MS: i64 = 3_600_000;

    fn history(windows: &[u64]) -> History {
        let windows: Vec<Duration> = windows.iter().map(|s| Duration::from_secs(*s)).collect();
        History::new(Arc::new(Layout::new(&windows, Duration::from_secs(1))), 1_000 * HOUR_MS)
    }

    fn one_event() -> Counts {
        Counts::events(0.0, 1.0)
    }

    #[test]
    fn an_event_leaves_a_window_exactly_its_length_later() {
        let mut history = history(&[60]);
        let at = history.now_ms;
        history.add(at, one_event());
        history.advance(at + 59_000);
        assert_eq!(history.counts(0).total, 1.0);
        history.advance(at + 60_000);
        assert_eq!(history.counts(0).total, 0.0);
        assert_eq!(history.lifetime().total, 1.0);
    }

    #[test]
    fn the_slot_that_the_start_cuts_counts_in_part() {
        let mut history = history(&[1_800]); // slots of 10 s
        let at = history.now_ms;
        history.advance(at + 10_000);
        history.add(at + 10_000, Counts::events(0.0, 10.0));
        history.advance(at + 1_800_000 + 4_000);
        assert_eq!(history.counts(0).total, 6.0);
    }

    #[test]
    fn late_counts_land_in_their_own_time() {
        let mut history = history(&[60, HOUR_MS as u64 / 1_000]);
        history.add(history.now_ms - 600_000, one_event());
        assert_eq!((history.counts(0).total, history.counts(1).total), (0.0, 1.0));
        history.add(history.now_ms - 2 * HOUR_MS, one_event());
        assert_eq!(history.counts(1).total, 1.0);
        assert_eq!(history.lifetime().total, 2.0);
    }

    #[test]
    fn spread_counts_are_whole_and_complete() {
        let mut history = history(&[300, 3_600]);
        let now = history.now_ms;
        history.add_spread(now - 600_000, now, Counts::events(0.0, 7.0));
        assert_eq!(history.counts(1).total, 7.0);
        assert_eq!(history.counts(0).total, 4.0, "half of seven, and the odd one is in the later half");
        history.add_spread(now - 600_000, now, Counts::events(1.5, 0.0));
        assert!((history.counts(0).bad - 0.75).abs() < 1e-9);
    }

    #[test]
    fn what_cancels_as_a_whole_cancels_in_every_window() {
        let mut history = history(&[300, 3_600]);
        let now = history.now_ms;
        for _ in 0..50 {
            history.add_spread(now - 7_200_000, now, Counts::events(15.0, 15.0));
            history.add_spread(now - 7_200_000, now, Counts::events(-15.0, 0.0));
        }
        assert_eq!((history.counts(0).bad, history.counts(1).bad), (0.0, 0.0));
    }

    #[test]
    fn a_huge_count_leaves_no_trace_when_it_expires() {
        let mut history = history(&[300, 1_800]);
        history.add(history.now_ms, Counts::events(0.0, 9e15));
        history.add(history.now_ms, Counts::events(0.5, 9e15));
        for second in 1..=1_000 {
            history.advance(1_000 * HOUR_MS + second * 1_000);
            history.add(history.now_ms, Counts::events(0.0, 1.0));
        }
        assert_eq!(history.counts(0), Counts::events(0.0, 300.0));
    }

    #[test]
    fn a_jump_over_everything_leaves_nothing_behind() {
        let mut history = history(&[60, 3_600]);
        history.add(history.now_ms, one_event());
        history.advance(history.now_ms + 1_000 * HOUR_MS);
        assert_eq!((history.counts(0), history.counts(1)), (Counts::ZERO, Counts::ZERO));
        history.advance(history.now_ms - HOUR_MS);
        history.add(history.now_ms, one_event());
        assert_eq!(history.counts(0).total, 1.0);
    }

    #[test]
    fn fractions_do_not_drift_over_many_turns() {
        let mut history = history(&[60]);
        for second in 1..=100_000 {
            history.advance(1_000 * HOUR_MS + second * 1_000);
            history.add(history.now_ms, Counts::events(0.1, 0.7));
        }
        assert!((history.counts(0).total - 42.0).abs() < 1e-10, "{}", history.counts(0).total);
    }

    #[test]
    fn the_time_until_a_budget_recovers_follows_the_slots() {
        let mut history = history(&[1_800]);
        let at = history.now_ms;
        history.advance(at + 900_000);
        history.add(at + 900_000, Counts::events(10.0, 10.0));
        history.advance(at + 1_000_000);
        let wait = history.time_until(0, |counts| counts.bad < 1.0);
        assert_eq!(at + 1_000_000 + wait, at + 900_000 + 1_800_000);
        assert_eq!(history.time_until(0, |_| true), 0);
        assert_eq!(history.time_until(0, |_| false), 1_800_000);
    }
}
