//! The life of a burn-rate alert: inactive → pending → firing → resolved, as Prometheus' rules have it.
//!
//! A pure state machine: the condition and the time go in, the next state comes out. It does not know
//! who is told.

use std::time::Duration;

use crate::{slo::BurnRateAlert, time::Timestamp};

/// Where an alert is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AlertState {
    /// The condition does not hold.
    #[default]
    Inactive,
    /// The condition holds, but not for long enough.
    Pending {
        /// When it began to hold.
        since: Timestamp,
        /// When it last held.
        held_at: Timestamp,
    },
    /// The alert is raised.
    Firing {
        /// When it was raised.
        since: Timestamp,
        /// When the condition last held: it keeps firing for a while after.
        held_at: Timestamp,
    },
}

/// What is known of an alert's condition at an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Both windows burn faster than the factor allows.
    Holds,
    /// At least one does not.
    Clear,
    /// The data stopped: nothing can be said of the present.
    Unknown,
}

// === impl AlertState ===

impl AlertState {
    /// The state after an evaluation at `now`.
    ///
    /// An unknown condition neither raises nor resolves for a while: the alert stays as it is until
    /// `stale_after` or its short window, whichever is longer, has passed since the condition was last
    /// seen to hold. By then the data status says that nothing can be seen, and the alert leaves the word
    /// to it: a service that was taken away for good must not fire for ever.
    #[must_use]
    pub fn next(
        self,
        condition: Condition,
        alert: &BurnRateAlert,
        now: Timestamp,
        stale_after: Duration,
    ) -> Self {
        match (self, condition) {
            (Self::Inactive, Condition::Holds) => Self::pending_or_firing(now, alert, now),
            (Self::Pending { since, .. }, Condition::Holds) => Self::pending_or_firing(since, alert, now),
            (Self::Firing { since, .. }, Condition::Holds) => Self::Firing { since, held_at: now },
            (Self::Firing { held_at, .. }, Condition::Clear) if now < held_at + alert.keep_firing_for => self,
            (Self::Pending { held_at, .. } | Self::Firing { held_at, .. }, Condition::Unknown)
                if now < held_at + stale_after.max(alert.short).max(alert.keep_firing_for) =>
            {
                self
            }
            _ => Self::Inactive,
        }
    }

    /// The state after the clock was set back to `to`: later times were wrong.
    #[must_use]
    pub fn set_back(self, to: Timestamp) -> Self {
        match self {
            Self::Inactive => self,
            Self::Pending { since, held_at } => {
                Self::Pending { since: since.min(to), held_at: held_at.min(to) }
            }
            Self::Firing { since, held_at } => {
                Self::Firing { since: since.min(to), held_at: held_at.min(to) }
            }
        }
    }

    /// The state after a time in which nobody looked: it counts neither as seen nor as blind. As Prometheus restores
    /// the `for` of its alerts.
    #[must_use]
    pub fn resume(self, missed: Duration) -> Self {
        match self {
            Self::Inactive => self,
            Self::Pending { since, held_at } => {
                Self::Pending { since: since + missed, held_at: held_at + missed }
            }
            Self::Firing { since, held_at } => Self::Firing { since, held_at: held_at + missed },
        }
    }

    /// 0 inactive, 1 pending, 2 firing: the value published for it.
    pub fn level(self) -> u8 {
        match self {
            Self::Inactive => 0,
            Self::Pending { .. } => 1,
            Self::Firing { .. } => 2,
        }
    }

    fn pending_or_firing(since: Timestamp, alert: &BurnRateAlert, now: Timestamp) -> Self {
        if now.since(since) >= alert.for_ {
            Self::Firing { since: now, held_at: now }
        } else {
            Self::Pending { since, held_at: now }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::{Budgeting, WORKBOOK_WINDOWS};

    const SECOND: Duration = Duration::from_secs(1);

    fn alert(for_: u32, keep_firing_for: u32) -> BurnRateAlert {
        let page = WORKBOOK_WINDOWS[0].alert(SECOND * 30 * 86_400, Budgeting::Occurrences);
        BurnRateAlert { for_: SECOND * for_, keep_firing_for: SECOND * keep_firing_for, ..page }
    }

    /// The levels an alert goes through: `h`olds, `c`lear, `?` unknown, one a second.
    #[track_caller]
    fn check(alert: &BurnRateAlert, conditions: &str, expected: &str) {
        let mut state = AlertState::default();
        let mut levels = String::new();
        for (second, condition) in conditions.chars().enumerate() {
            let condition = match condition {
                'h' => Condition::Holds,
                'c' => Condition::Clear,
                _ => Condition::Unknown,
            };
            state = state.next(condition, alert, Timestamp(second as i64 * 1_000), SECOND);
            levels.push(char::from(b'0' + state.level()));
        }
        assert_eq!(levels, expected, "for {conditions}");
    }

    #[test]
    fn without_for_it_fires_at_once_and_resolves_at_once() {
        check(&alert(0, 0), "chhcc", "02200");
    }

    #[test]
    fn for_makes_it_wait_and_one_clear_evaluation_starts_over() {
        check(&alert(2, 0), "hhhhc", "11220");
        check(&alert(2, 0), "hhchhh", "110112");
    }

    #[test]
    fn keep_firing_for_bridges_short_gaps() {
        check(&alert(0, 3), "hcchccccc", "222222000");
    }

    #[test]
    fn unknown_neither_raises_nor_resolves() {
        check(&alert(0, 0), "??h??c", "002220");
        check(&alert(2, 0), "h?h", "112");
    }

    /// When an alert whose condition held once becomes inactive without further sight of it.
    #[track_caller]
    fn check_blind(alert: &BurnRateAlert, stale_after: Duration, expected: Duration) {
        let start = AlertState::default().next(Condition::Holds, alert, Timestamp(0), stale_after);
        let level = |at| start.next(Condition::Unknown, alert, at, stale_after).level();
        assert_eq!(level(Timestamp(0) + expected - Duration::from_millis(1)), start.level());
        assert_eq!(level(Timestamp(0) + expected), 0);
    }

    #[test]
    fn a_blind_alert_ends_once_the_data_counts_as_stale() {
        check_blind(&alert(0, 0), SECOND * 400, SECOND * 400);
        check_blind(&alert(0, 0), SECOND * 200, SECOND * 300); // the short window
        check_blind(&alert(900, 0), SECOND * 400, SECOND * 400); // pending
    }
}
