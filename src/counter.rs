//! From the samples of one counter series to increments.
//!
//! The rules on one screen, in the order they are tried:
//! a staleness marker ends the series and counts nothing; a value that no counter can have is rejected;
//! a sample that is not newer than the last one is rejected (counters are cumulative, so nothing is
//! lost); the first sample counts from its start timestamp, or from zero when the caller knows that the
//! series was born after a moment it can name, else it is a baseline; a gap beyond `max_gap` starts over; a
//! smaller value, or a start timestamp after the last sample, is a reset and counts whole, unless another
//! replica has just taken over and merely lags; otherwise the difference counts.
//!
//! This module does not know labels, SLOs or windows, and reads no clock.

mod state;

use std::{cmp::Ordering, time::Duration};

use crate::time::Timestamp;

pub use state::{CounterState, UnsoundCounter};

/// The bits of the NaN that Prometheus sends when a series ends. A signalling NaN: compare bits.
pub const STALE_MARKER_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The largest count that is believed: from here on `f64` skips whole numbers. A million events a second
/// reach it in three centuries.
pub(crate) const COUNT_MAX: f64 = (1_u64 << 53) as f64;

// The replicas of a pair scrape the same counter within one interval of each other, Prometheus' default
// interval being a minute; and no process counts to seven eighths of its last value within one.
const SKEW_INTERVAL_MAX: Duration = Duration::from_secs(60);
const SKEW_PART_MAX: f64 = 1.0 / 8.0;

// Before every time that a sample can have.
const NEVER: Timestamp = Timestamp(i64::MIN);

/// What is remembered of a series: the last accepted sample.
///
/// Plain times with a time before all others for "none": a million of these are kept, and half a cache line holds one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Counter {
    last_at: Timestamp,
    last_value: f64,
    /// When the counter was at zero, if its sender says so.
    start: Timestamp,
    /// The newest staleness marker.
    ended_at: Timestamp,
}

/// A sample and the circumstances of its arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The time of the sample.
    pub at: Timestamp,
    /// Its value.
    pub value: f64,
    /// When the counter was at zero, if the sender says so (remote-write 2.0).
    pub start: Option<Timestamp>,
    /// Another replica of a highly available pair has taken over since the sample before.
    pub is_handover: bool,
    /// The longest gap in a series whose growth is still counted.
    pub max_gap: Duration,
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
    /// The first sample, and it is zero: whatever comes is exact. Senders that know when a counter was
    /// created put such a sample there.
    Zero,
    /// The gap since the last sample, or since the start, is too long to say when its events happened.
    Gap,
}

/// How an increment was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Growth {
    /// The difference of two samples.
    Difference,
    /// The counter started over at zero: its value fell.
    Reset,
    /// The counter started over at zero: its start timestamp says so, its value does not.
    Restart,
    /// The first sample of a series, which tells when it started.
    Started,
    /// The first sample of a series that did not exist before.
    Born,
    /// The replica that took over lags behind the one before: nothing has grown yet.
    Skew,
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

impl Default for Counter {
    fn default() -> Self {
        Self { last_at: NEVER, last_value: 0.0, start: NEVER, ended_at: NEVER }
    }
}

impl Counter {
    /// Whether the series has a last sample and no staleness marker after it.
    pub fn is_live(&self) -> bool {
        self.last_at > self.ended_at
    }

    /// Takes the next sample in order of arrival. `born_after` is a moment at which the series is known
    /// not to have existed; it is asked for the first sample only.
    pub fn observe(
        &mut self,
        reading: Reading,
        born_after: impl FnOnce() -> Option<Timestamp>,
    ) -> Observation {
        let Reading { at, value, .. } = reading;
        // Also false for NaN.
        if !(0.0..=COUNT_MAX).contains(&value) {
            return self.observe_odd(at, value);
        }
        let start = reading.start.filter(|start| *start < at);
        let observation = match at.cmp(&self.last_at) {
            Ordering::Greater if self.last_at == NEVER => first_sample(reading, start, born_after()),
            Ordering::Greater => self.next_sample(reading, start),
            _ => return Observation::Rejected(self.not_newer(at, value)),
        };
        if !matches!(observation, Observation::Increment { kind: Growth::Skew, .. }) {
            self.last_value = value;
        }
        (self.last_at, self.start) = (at, start.unwrap_or(NEVER));
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
        if at <= self.last_at {
            return Observation::Rejected(self.not_newer(at, value));
        }
        (self.last_at, self.last_value) = (at, value);
        Observation::Sample
    }

    /// Staleness markers, and values that no counter has.
    #[cold]
    fn observe_odd(&mut self, at: Timestamp, value: f64) -> Observation {
        if is_stale_marker(value) {
            return self.observe_stale_marker(at);
        }
        Observation::Rejected(match value {
            _ if !value.is_finite() => Rejection::NotFinite,
            _ if value < 0.0 => Rejection::Negative,
            _ => Rejection::TooLarge,
        })
    }

    fn observe_stale_marker(&mut self, at: Timestamp) -> Observation {
        if at < self.last_at {
            return Observation::Rejected(Rejection::OutOfOrder);
        }
        self.ended_at = self.ended_at.max(at);
        Observation::Stale
    }

    fn not_newer(&self, at: Timestamp, value: f64) -> Rejection {
        match at.cmp(&self.last_at) {
            Ordering::Less => Rejection::OutOfOrder,
            _ if value.to_bits() == self.last_value.to_bits() => Rejection::Duplicate,
            _ => Rejection::Conflict,
        }
    }

    fn next_sample(&self, reading: Reading, start: Option<Timestamp>) -> Observation {
        let Reading { at, value, .. } = reading;
        let (from, growth) = (self.last_at, value - self.last_value);
        let is_restart = start.is_some_and(|start| is_reset_by(start, self.last_at, self.start != NEVER));
        if at.since(from) > reading.max_gap {
            Observation::Baseline(Baseline::Gap)
        } else if is_restart {
            // It was at zero after the last sample.
            let from = start.map_or(from, |start| start.max(from));
            let kind = if growth < 0.0 { Growth::Reset } else { Growth::Restart };
            Observation::Increment { from, value, kind }
        } else if growth >= 0.0 {
            Observation::Increment { from, value: growth, kind: Growth::Difference }
        } else if reading.is_handover && is_skew(at.since(from), -growth / self.last_value) {
            Observation::Increment { from, value: 0.0, kind: Growth::Skew }
        } else {
            Observation::Increment { from, value, kind: Growth::Reset }
        }
    }
}

fn first_sample(reading: Reading, start: Option<Timestamp>, born_after: Option<Timestamp>) -> Observation {
    let Reading { at, value, max_gap, .. } = reading;
    match first_growth(at, value == 0.0, start, born_after, max_gap) {
        Ok((from, kind)) => Observation::Increment { from, value, kind },
        Err(baseline) => Observation::Baseline(baseline),
    }
}

/// Since when all that a first sample says has happened, and how that is known.
///
/// # Errors
/// When it is not known, or too long ago, or there is nothing.
pub(crate) fn first_growth(
    at: Timestamp,
    is_zero: bool,
    start: Option<Timestamp>,
    born_after: Option<Timestamp>,
    max_gap: Duration,
) -> Result<(Timestamp, Growth), Baseline> {
    match (start, born_after) {
        _ if is_zero => Err(Baseline::Zero),
        (Some(start), None) if at.since(start) > max_gap => Err(Baseline::Gap),
        (Some(start), _) => Ok((born_after.map_or(start, |born| born.max(start)), Growth::Started)),
        (None, Some(from)) => Ok((from, Growth::Born)),
        (None, None) => Err(Baseline::First),
    }
}

/// Whether a start timestamp, older than its sample, tells of a reset since the last sample. As Prometheus:
/// one equal to the last sample's time does only if that sample told of a start itself; otherwise it is a
/// synthetic zero, there to say when the counter began.
pub(crate) fn is_reset_by(start: Timestamp, last_at: Timestamp, last_told: bool) -> bool {
    match start.cmp(&last_at) {
        Ordering::Less => false,
        Ordering::Equal => last_told,
        Ordering::Greater => true,
    }
}

/// Whether a fall by this part of the last value, right after another replica took over, is its lag.
pub(crate) fn is_skew(interval: Duration, part: f64) -> bool {
    interval <= SKEW_INTERVAL_MAX && part <= SKEW_PART_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STALE: f64 = f64::from_bits(STALE_MARKER_BITS);
    const DAY: Duration = Duration::from_secs(86_400);

    fn at(second: i64) -> Timestamp {
        Timestamp(second * 1_000)
    }

    fn reading(at: Timestamp, value: f64) -> Reading {
        Reading { at, value, start: None, is_handover: false, max_gap: DAY }
    }

    fn show_all(born: Option<i64>, readings: impl IntoIterator<Item = Reading>) -> Vec<String> {
        let mut counter = Counter::default();
        readings.into_iter().map(|reading| show(counter.observe(reading, || born.map(at)))).collect()
    }

    /// What each `(second, value)` comes to; `born` is the moment before which there was no series.
    #[track_caller]
    fn check(born: Option<i64>, samples: &[(i64, f64)], expected: &[&str]) {
        let readings = samples.iter().map(|(second, value)| reading(at(*second), *value));
        assert_eq!(show_all(born, readings), expected);
    }

    /// What each `(second, value, start second)` comes to.
    #[track_caller]
    fn check_starts(born: Option<i64>, samples: &[(i64, f64, i64)], expected: &[&str]) {
        let readings = samples.iter().map(|(second, value, start)| Reading {
            start: Some(at(*start)),
            ..reading(at(*second), *value)
        });
        assert_eq!(show_all(born, readings), expected);
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
        counter.observe(reading(at(0), 1.0), || None);
        assert!(counter.is_live());
        counter.observe(reading(at(3), STALE), || None);
        assert!(!counter.is_live());
        counter.observe(reading(at(2), 2.0), || None);
        assert!(!counter.is_live(), "a late sample from before its end does not revive it");
        counter.observe(reading(at(4), 2.0), || None);
        assert!(counter.is_live());
    }

    #[test]
    fn a_start_timestamp_makes_the_first_sample_exact() {
        check_starts(None, &[(60, 9.0, 40), (75, 11.0, 40)], &["Started 9 from 40", "Difference 2 from 60"]);
        check_starts(Some(50), &[(60, 9.0, 40)], &["Started 9 from 50"]);
        check_starts(None, &[(90_000, 9.0, 0)], &["Baseline Gap"]);
        check_starts(None, &[(60, 9.0, 60), (75, 11.0, 99)], &["Baseline First", "Difference 2 from 60"]);
    }

    #[test]
    fn a_start_timestamp_tells_of_a_reset_that_the_value_hides() {
        check_starts(
            None,
            &[(60, 9.0, 40), (75, 11.0, 70), (90, 4.0, 80), (105, 5.0, 80), (120, 7.0, 105), (135, 7.0, 120)],
            &[
                "Started 9 from 40",
                "Restart 11 from 70",
                "Reset 4 from 80",
                "Difference 1 from 90",
                "Restart 7 from 105",
                "Restart 7 from 120",
            ],
        );
    }

    #[test]
    fn a_synthetic_zero_makes_the_first_increment_exact() {
        check(None, &[(10, 0.0), (15, 7.0)], &["Baseline Zero", "Difference 7 from 10"]);
        check(
            None,
            &[(15, 7.0), (20, 0.0), (30, 9.0)],
            &["Baseline First", "Reset 0 from 15", "Difference 9 from 20"],
        );
        check_starts(None, &[(10, 0.0, 10), (15, 7.0, 10)], &["Baseline Zero", "Difference 7 from 10"]);
    }

    #[test]
    fn a_replica_that_took_over_may_lag_but_not_reset_unseen() {
        let handed_over = |second, value| Reading { is_handover: true, ..reading(at(second), value) };
        let lagging = [reading(at(0), 100.0), handed_over(15, 95.0), reading(at(30), 103.0)];
        assert_eq!(show_all(None, lagging), ["Baseline First", "Skew 0 from 0", "Difference 3 from 15"]);
        let reset = [reading(at(0), 100.0), handed_over(15, 5.0)];
        assert_eq!(show_all(None, reset), ["Baseline First", "Reset 5 from 0"]);
        let later = [reading(at(0), 100.0), handed_over(75, 95.0)];
        assert_eq!(show_all(None, later), ["Baseline First", "Reset 95 from 0"]);
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
                    let observation = counter.observe(reading(*at, *value), || None);
                    if let Observation::Increment { value, .. } = observation {
                        counted += value;
                    }
                }
            }
            prop_assert_eq!(counted, truth);
        }
    }
}
