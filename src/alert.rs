//! The life of an alert: inactive → pending → firing → resolved, as Prometheus' rules have it.
//!
//! A pure state machine: the condition and the time go in, the next state comes out. It does not know
//! who is told, nor whose condition it is. The invariant: what fired is resolved before it is inactive.

use std::time::Duration;

use crate::time::Timestamp;

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
        /// When the condition began to hold.
        active_at: Timestamp,
        /// When the condition last held.
        held_at: Timestamp,
        /// When it was first seen not to hold any more, if it is: it keeps firing for a while from then on.
        kept_since: Option<Timestamp>,
    },
    /// The alert was raised, and is not any more: who is told of alerts is told of this, too.
    Resolved {
        /// When it was raised.
        since: Timestamp,
        /// When it was resolved.
        at: Timestamp,
    },
}

/// For how long an alert that was resolved is remembered: Prometheus' `resolvedRetention`, in which whoever missed
/// the end of it is told again.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// What an alert waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// How long the condition must hold before the alert fires.
    pub for_: Duration,
    /// How long the alert goes on firing after the condition ended.
    pub keep_firing_for: Duration,
    /// How long it stays as it is while nothing is known of the condition.
    pub blind_for: Duration,
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
    /// `blind_for` has passed since the condition was last seen to hold. By then the data status says that
    /// nothing can be seen, and the alert leaves the word to it: a service that was taken away for good must
    /// not fire for ever.
    #[must_use]
    pub fn next(self, condition: Condition, timing: Timing, now: Timestamp) -> Self {
        match (self, condition) {
            (Self::Inactive | Self::Resolved { .. }, Condition::Holds) => {
                Self::pending_or_firing(now, timing, now)
            }
            (Self::Pending { since, .. }, Condition::Holds) => Self::pending_or_firing(since, timing, now),
            (Self::Firing { since, active_at, .. }, Condition::Holds) => {
                Self::Firing { since, active_at, held_at: now, kept_since: None }
            }
            (Self::Firing { since, active_at, held_at, kept_since }, Condition::Clear) => {
                let kept_since = kept_since.unwrap_or(now);
                if now.since(kept_since) < timing.keep_firing_for {
                    return Self::Firing { since, active_at, held_at, kept_since: Some(kept_since) };
                }
                Self::Resolved { since, at: now }
            }
            (Self::Pending { held_at, .. } | Self::Firing { held_at, .. }, Condition::Unknown)
                if now < held_at + timing.blind_for.max(timing.keep_firing_for) =>
            {
                self
            }
            (Self::Firing { since, .. }, Condition::Unknown) => Self::Resolved { since, at: now },
            (Self::Resolved { at, .. }, _) if now.since(at) <= RESOLVED_RETENTION => self,
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
            Self::Firing { since, active_at, held_at, kept_since } => Self::Firing {
                since: since.min(to),
                active_at: active_at.min(to),
                held_at: held_at.min(to),
                kept_since: kept_since.map(|kept_since| kept_since.min(to)),
            },
            Self::Resolved { since, at } => Self::Resolved { since: since.min(to), at: at.min(to) },
        }
    }

    /// The state after a time in which nobody looked: it counts neither as seen nor as blind. As Prometheus restores
    /// the `for` of its alerts.
    #[must_use]
    pub fn resume(self, missed: Duration) -> Self {
        match self {
            Self::Inactive | Self::Resolved { .. } => self,
            Self::Pending { since, held_at } => {
                Self::Pending { since: since + missed, held_at: held_at + missed }
            }
            Self::Firing { since, active_at, held_at, kept_since } => Self::Firing {
                since,
                active_at,
                held_at: held_at + missed,
                kept_since: kept_since.map(|kept_since| kept_since + missed),
            },
        }
    }

    /// The same since another time, if that is earlier.
    #[must_use]
    pub fn raised_by(self, earlier: Timestamp) -> Self {
        match self {
            Self::Firing { since, active_at, held_at, kept_since } => Self::Firing {
                since: since.min(earlier),
                active_at: active_at.min(earlier),
                held_at,
                kept_since,
            },
            _ => self,
        }
    }

    /// The same with every time so much later.
    #[must_use]
    pub fn later_by(self, delay: Duration) -> Self {
        match self {
            Self::Inactive => self,
            Self::Pending { since, held_at } => {
                Self::Pending { since: since + delay, held_at: held_at + delay }
            }
            Self::Firing { since, active_at, held_at, kept_since } => Self::Firing {
                since: since + delay,
                active_at: active_at + delay,
                held_at: held_at + delay,
                kept_since: kept_since.map(|kept_since| kept_since + delay),
            },
            Self::Resolved { since, at } => Self::Resolved { since: since + delay, at: at + delay },
        }
    }

    /// 0 inactive or resolved, 1 pending, 2 firing: the value published for it.
    pub fn level(self) -> u8 {
        match self {
            Self::Inactive | Self::Resolved { .. } => 0,
            Self::Pending { .. } => 1,
            Self::Firing { .. } => 2,
        }
    }

    /// Since when it has been what it is.
    pub fn since(self) -> Option<Timestamp> {
        match self {
            Self::Inactive => None,
            Self::Pending { since, .. } | Self::Firing { since, .. } => Some(since),
            Self::Resolved { at, .. } => Some(at),
        }
    }

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
            Self::Resolved { .. } => "resolved",
        }
    }

    fn pending_or_firing(since: Timestamp, timing: Timing, now: Timestamp) -> Self {
        if now.since(since) >= timing.for_ {
            Self::Firing { since: now, active_at: since, held_at: now, kept_since: None }
        } else {
            Self::Pending { since, held_at: now }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn timing(for_: u32, keep_firing_for: u32) -> Timing {
        let (for_, keep_firing_for) = (SECOND * for_, SECOND * keep_firing_for);
        Timing { for_, keep_firing_for, blind_for: SECOND * 300 }
    }

    /// The states an alert goes through: `h`olds, `c`lear, `?` unknown, one a second.
    #[track_caller]
    fn check(timing: Timing, conditions: &str, expected: &str) {
        let mut state = AlertState::default();
        let mut states = String::new();
        for (second, condition) in conditions.chars().enumerate() {
            let condition = match condition {
                'h' => Condition::Holds,
                'c' => Condition::Clear,
                _ => Condition::Unknown,
            };
            state = state.next(condition, timing, Timestamp(second as i64 * 1_000));
            states.extend(state.name().chars().next());
        }
        assert_eq!(states, expected, "for {conditions}");
    }

    #[test]
    fn without_for_it_fires_at_once_and_resolves_at_once() {
        check(timing(0, 0), "chhcc", "iffrr");
        check(timing(0, 0), "hchc", "frfr");
    }

    #[test]
    fn for_makes_it_wait_and_one_clear_evaluation_starts_over() {
        check(timing(2, 0), "hhhhc", "ppffr");
        check(timing(2, 0), "hhchhhch", "ppippfrp");
    }

    /// Prometheus counts from the first evaluation that does not see it any more.
    #[test]
    fn keep_firing_for_bridges_short_gaps() {
        check(timing(0, 3), "hcchccccc", "fffffffrr");
        check(timing(0, 3), "hc?cc", "ffffr");
    }

    #[test]
    fn unknown_neither_raises_nor_resolves() {
        check(timing(0, 0), "??h??c", "iifffr");
        check(timing(2, 0), "h?h", "ppf");
    }

    #[test]
    fn what_was_resolved_is_remembered_for_a_while() {
        let fired = AlertState::default().next(Condition::Holds, timing(0, 0), Timestamp(0));
        let resolved = fired.next(Condition::Clear, timing(0, 0), Timestamp(5_000));
        assert_eq!(resolved, AlertState::Resolved { since: Timestamp(0), at: Timestamp(5_000) });
        for condition in [Condition::Clear, Condition::Unknown] {
            let at = |ms: i64| resolved.next(condition, timing(0, 0), Timestamp(5_000 + ms)).name();
            assert_eq!((at(15 * 60_000), at(15 * 60_000 + 1)), ("resolved", "inactive"));
        }
    }

    #[test]
    fn an_alert_that_fires_knows_when_its_condition_began_to_hold() {
        let held = |state: AlertState, second: i64| {
            state.next(Condition::Holds, timing(2, 0), Timestamp(second * 1_000))
        };
        let fires = (0..4).fold(AlertState::default(), held);
        let (since, active_at, held_at) = (Timestamp(2_000), Timestamp(0), Timestamp(3_000));
        assert_eq!(fires, AlertState::Firing { since, active_at, held_at, kept_since: None });
    }

    #[test]
    fn a_blind_alert_ends_once_the_data_counts_as_stale() {
        #[track_caller]
        fn check(for_: u32, blind: &str, ended: &str) {
            let start = AlertState::default().next(Condition::Holds, timing(for_, 0), Timestamp(0));
            let after = |ms: i64| start.next(Condition::Unknown, timing(for_, 0), Timestamp(ms)).name();
            assert_eq!((after(299_999), after(300_000)), (blind, ended));
        }
        check(0, "firing", "resolved");
        check(900, "pending", "inactive");
    }
}
