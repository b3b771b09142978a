//! From the samples of one counter series to increments.
//!
//! The rules on one screen, in the order they are tried:
//! a staleness marker ends the series and counts nothing; a value that no counter can have is rejected;
//! a sample that is not newer than the last one is rejected (counters are cumulative, so nothing is
//! lost); the first sample is a baseline, or counts from zero when the caller knows that the series was
//! born after a moment it can name; a gap beyond `max_gap` starts over; a smaller value is a reset and
//! counts whole; otherwise the difference counts.
//!
//! This module does not know labels, SLOs or windows, and reads no clock.

use std::{cmp::Ordering, time::Duration};

use crate::time::Timestamp;

/// The bits of the NaN that Prometheus sends when a series ends. A signalling NaN: compare bits.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

// A million events a second reach it in three centuries.
const VALUE_MAX: f64 = (1_u64 << 53) as f64;

/// What is remembered of a series: the last accepted sample.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counter {
    last: Option<(Timestamp, f64)>,
    /// The newest staleness marker.
    ended_at: Option<Timestamp>,
}

/// What a sample means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Observation {
    /// The series is known from here on; nothing is counted.
    Baseline(Baseline),
    /// Events that happened in `(from, at]`.
    Increment {
        /// The time of the sample before, or before which the series did not exist.
        from: Timestamp,
        /// How many; not negative.
        value: f64,
        /// How it was found.
        kind: Growth,
    },
    /// A sample of a gauge: an event in itself.
    Sample,
    /// The series ended.
    Stale,
    /// The sample counts for nothing.
    Rejected(Rejection),
}

/// Why a sample is only a baseline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// The first sample, and nobody knows how old the counter is.
    First,
    /// The gap since the last sample is too long to say when its events happened.
    Gap,
}

/// How an increment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The difference of two samples.
    Difference,
    /// The counter started over at zero.
    Reset,
    /// The first sample of a series that did not exist before.
    Born,
}

/// Why a sample counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Same time and value as the last one: a retry.
    Duplicate,
    /// Same time as the last one, another value: the first stands.
    Conflict,
    /// Older than the last one: its events are contained in the last one.
    OutOfOrder,
    /// NaN, or for a counter infinite.
    NotFinite,
    /// Below zero.
    Negative,
    /// Beyond 2^53, from where `f64` skips whole numbers: no count of events that could be trusted.
    TooLarge,
}

/// Whether a value is the staleness marker.
pub fn is_stale_marker(value: f64) -> bool {
    value.to_bits() == STALE_MARKER_BITS
}

// === impl Counter ===

impl Counter {
    /// The time of the last accepted sample.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.last.map(|(at, _)| at)
    }

    /// Whether the series has a last sample and no staleness marker after it.
    pub fn is_live(&self) -> bool {
        self.last.is_some_and(|(at, _)| self.ended_at.is_none_or(|ended_at| ended_at < at))
    }

    /// Takes the next sample in order of arrival. `born_after` is a moment at which the series is known
    /// not to have existed; it matters for the first sample only.
    pub fn observe(
        &mut self,
        at: Timestamp,
        value: f64,
        born_after: impl FnOnce() -> Option<Timestamp>,
        max_gap: Duration,
    ) -> Observation {
        if is_stale_marker(value) {
            return self.observe_stale_marker(at);
        }
        if !value.is_finite() {
            return Observation::Rejected(Rejection::NotFinite);
        }
        if value < 0.0 {
            return Observation::Rejected(Rejection::Negative);
        }
        if value > VALUE_MAX {
            return Observation::Rejected(Rejection::TooLarge);
        }
        let observation = match self.last {
            None => first_sample(value, born_after()),
            Some(last) => next_sample(last, (at, value), max_gap),
        };
        if !matches!(observation, Observation::Rejected(_)) {
            self.last = Some((at, value));
        }
        observation
    }

    /// Takes the next sample of a series that is no counter: any value but NaN counts, as long as it is
    /// newer than the last one.
    pub fn observe_gauge(&mut self, at: Timestamp, value: f64) -> Observation {
        if is_stale_marker(value) {
            return self.observe_stale_marker(at);
        }
        if value.is_nan() {
            return Observation::Rejected(Rejection::NotFinite);
        }
        if let Some(rejection) = self.last.and_then(|last| not_newer(last, (at, value))) {
            return Observation::Rejected(rejection);
        }
        self.last = Some((at, value));
        Observation::Sample
    }

    fn observe_stale_marker(&mut self, at: Timestamp) -> Observation {
        if self.last.is_some_and(|(last_at, _)| at < last_at) {
            return Observation::Rejected(Rejection::OutOfOrder);
        }
        self.ended_at = self.ended_at.max(Some(at));
        Observation::Stale
    }
}

fn first_sample(value: f64, born_after: Option<Timestamp>) -> Observation {
    match born_after {
        Some(from) => Observation::Increment { from, value, kind: Growth::Born },
        None => Observation::Baseline(Baseline::First),
    }
}

fn not_newer(last: (Timestamp, f64), next: (Timestamp, f64)) -> Option<Rejection> {
    let ((last_at, last_value), (at, value)) = (last, next);
    match at.cmp(&last_at) {
        Ordering::Greater => None,
        Ordering::Less => Some(Rejection::OutOfOrder),
        Ordering::Equal if value.to_bits() == last_value.to_bits() => Some(Rejection::Duplicate),
        Ordering::Equal => Some(Rejection::Conflict),
    }
}

fn next_sample(last: (Timestamp, f64), next: (Timestamp, f64), max_gap: Duration) -> Observation {
    if let Some(rejection) = not_newer(last, next) {
        return Observation::Rejected(rejection);
    }
    let ((last_at, last_value), (at, value)) = (last, next);
    if at.since(last_at) > max_gap {
        return Observation::Baseline(Baseline::Gap);
    }
    if value < last_value {
        return Observation::Increment { from: last_at, value, kind: Growth::Reset };
    }
    Observation::Increment { from: last_at, value: value - last_value, kind: Growth::Difference }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STALE: f64 = f64::from_bits(STALE_MARKER_BITS);
    const DAY: Duration = Duration::from_secs(86_400);

    /// What each `(second, value)` comes to; `born` is the moment before which there was no series.
    #[track_caller]
    fn check(born: Option<i64>, samples: &[(i64, f64)], expected: &[&str]) {
        let mut counter = Counter::default();
        let born = || born.map(|second| Timestamp(second * 1_000));
        let observed: Vec<String> = samples
            .iter()
            .map(|(second, value)| show(counter.observe(Timestamp(second * 1_000), *value, born, DAY)))
            .collect();
        assert_eq!(observed, expected);
    }

    fn show(observation: Observation) -> String {
        match observation {
            Observation::Increment { from, value, kind } => {
                format!("{kind:?} {value} from {}", from.0 / 1_000)
            }
            Observation::Baseline(why) => format!("Baseline {why:?}"),
            Observation::Rejected(why) => format!("{why:?}"),
            Observation::Sample => "Sample".to_owned(),
            Observation::Stale => "Stale".to_owned(),
        }
    }

    #[test]
    fn differences_and_resets() {
        check(
            None,
            &[(0, 10.0), (15, 12.0), (30, 12.0), (45, 3.0), (60, 4.0)],
            &[
                "Baseline First",
                "Difference 2 from 0",
                "Difference 0 from 15",
                "Reset 3 from 30",
                "Difference 1 from 45",
            ],
        );
    }

    #[test]
    fn every_new_sample_of_a_gauge_is_an_event() {
        let mut gauge = Counter::default();
        let samples = [
            (0, -1.5),
            (15, 3.0),
            (15, 3.0),
            (15, 4.0),
            (10, 2.0),
            (30, f64::INFINITY),
            (45, f64::NAN),
            (60, STALE),
            (75, 0.0),
        ];
        let observed: Vec<String> = samples
            .iter()
            .map(|(second, value)| show(gauge.observe_gauge(Timestamp(second * 1_000), *value)))
            .collect();
        let expected = [
            "Sample",
            "Sample",
            "Duplicate",
            "Conflict",
            "OutOfOrder",
            "Sample",
            "NotFinite",
            "Stale",
            "Sample",
        ];
        assert_eq!(observed, expected);
    }

    #[test]
    fn a_series_known_to_be_born_counts_from_zero() {
        check(Some(0), &[(15, 2.0), (30, 5.0)], &["Born 2 from 0", "Difference 3 from 15"]);
    }

    #[test]
    fn what_is_not_newer_counts_for_nothing_and_changes_nothing() {
        check(
            None,
            &[(0, 1.0), (15, 5.0), (15, 5.0), (15, 9.0), (0, 1.0), (30, 6.0)],
            &[
                "Baseline First",
                "Difference 4 from 0",
                "Duplicate",
                "Conflict",
                "OutOfOrder",
                "Difference 1 from 15",
            ],
        );
    }

    #[test]
    fn impossible_values_are_rejected() {
        check(
            None,
            &[(0, 1.0), (1, f64::NAN), (2, f64::INFINITY), (3, -1.0), (4, 1e16), (5, 2.0)],
            &["Baseline First", "NotFinite", "NotFinite", "Negative", "TooLarge", "Difference 1 from 0"],
        );
    }

    #[test]
    fn a_stale_marker_is_neither_reset_nor_start() {
        check(
            None,
            &[(0, 5.0), (15, STALE), (30, 7.0), (20, STALE), (45, STALE), (60, 1.0)],
            &["Baseline First", "Stale", "Difference 2 from 0", "OutOfOrder", "Stale", "Reset 1 from 30"],
        );
    }

    #[test]
    fn liveness_follows_markers() {
        let mut counter = Counter::default();
        assert!(!counter.is_live());
        counter.observe(Timestamp(0), 1.0, || None, DAY);
        assert!(counter.is_live());
        counter.observe(Timestamp(3), STALE, || None, DAY);
        assert!(!counter.is_live());
        counter.observe(Timestamp(2), 2.0, || None, DAY);
        assert!(!counter.is_live(), "a late sample from before its end does not revive it");
        counter.observe(Timestamp(4), 2.0, || None, DAY);
        assert!(counter.is_live());
    }

    #[test]
    fn a_gap_beyond_the_limit_starts_over() {
        check(
            None,
            &[(0, 5.0), (86_400, 6.0), (172_801, 9.0)],
            &["Baseline First", "Difference 1 from 0", "Baseline Gap"],
        );
    }

    proptest! {
        /// Whatever a counter does, increments add up to its growth, resets included; and sending any
        /// of it again changes nothing.
        #[test]
        fn increments_add_up(steps in proptest::collection::vec((0u32..50, prop::bool::weighted(0.1)), 1..60)) {
            let mut counter = Counter::default();
            let (mut value, mut truth, mut counted) = (7.0, 0.0, 0.0);
            let mut sent = Vec::new();
            for (n, (growth, reset)) in steps.into_iter().enumerate() {
                // A reset that grows past the old value cannot be seen; keep below it.
                value = if reset { value / 2.0_f64 } else { value + f64::from(growth) }.floor();
                truth += match sent.last() {
                    None => 0.0,
                    Some((_, last)) if value < *last => value,
                    Some((_, last)) => value - last,
                };
                sent.push((Timestamp(n as i64 * 15_000), value));
                for (at, value) in &sent {
                    if let Observation::Increment { value, .. } = counter.observe(*at, *value, || None, DAY) {
                        counted += value;
                    }
                }
            }
            prop_assert_eq!(counted, truth);
        }
    }
}
