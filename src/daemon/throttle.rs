//! A bound on log lines: a sender that is refused repeats itself many times a second.
//!
//! Counters hold every refusal; the log needs one now and then. Does not read the clock.

use std::{fmt::Display, time::Duration};

use parking_lot::Mutex;

/// Lets through one line per interval, and counts those it holds back.
#[derive(Debug, Default)]
pub(super) struct Throttle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the last line was let through.
    last: Option<Duration>,
    held_back: u64,
}

// Often enough to follow what happens, too seldom to fill a disk.
const INTERVAL: Duration = Duration::from_secs(1);

// === impl Throttle ===

impl Throttle {
    /// Logs why a write request was not accepted, unless a line was written just before.
    pub(super) fn warn(&self, reason: &dyn Display, now: Duration) {
        if let Some(held_back) = self.admit(now) {
            tracing::warn!(%reason, held_back, "write request not accepted");
        }
    }

    /// Whether a line may be written at `now`, in steady time; if so, how many were held back before it.
    pub(super) fn admit(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock();
        if state.last.is_some_and(|last| now.saturating_sub(last) < INTERVAL) {
            state.held_back += 1;
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_which_counts_the_others() {
        let throttle = Throttle::default();
        let admitted = [0, 10, 999, 1_000, 1_500, 1_999, 2_500, 60_000]
            .map(|ms| throttle.admit(Duration::from_millis(ms)));
        assert_eq!(admitted, [Some(0), None, None, Some(2), None, None, Some(2), Some(0)]);
    }

    #[test]
    fn an_earlier_reading_of_another_thread_is_held_back() {
        let throttle = Throttle::default();
        assert_eq!(throttle.admit(Duration::from_secs(5)), Some(0));
        assert_eq!(throttle.admit(Duration::from_secs(4)), None);
    }
}
