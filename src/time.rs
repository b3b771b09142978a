//! Points in time and Prometheus durations.
//!
//! This module knows nothing of clocks but their interface: who needs the present gets it as an
//! argument. Everything is in milliseconds, the resolution of a Prometheus sample.

mod calendar;

use std::{
    fmt,
    ops::{Add, Sub},
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

pub use calendar::{Calendar, CalendarUnit, CivilTimeError, UnknownTimeZone, time_zone_names};

/// From where on a clock that shows an earlier time was set back: longer than one is stepped or slewed in normal service.
pub const SET_BACK_MIN: Duration = Duration::from_secs(60);

/// Milliseconds since the Unix epoch: the time of a sample, of an evaluation, of an arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// Where the present comes from. Only `daemon` implements it for the operating system's clock.
pub trait Clock: Send + Sync {
    /// The present.
    fn now(&self) -> Timestamp;
}

/// The latest of the times that threads note in it.
///
/// Each time stands for itself, so all orderings are relaxed: who reads misses at most the newest.
#[derive(Debug)]
pub struct Latest(AtomicI64);

/// Why a text is no Prometheus duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Not of the form `1d12h`.
    #[error("{0:?} is not a duration; write one like 5m, 1h30m or 30d (units: y w d h m s ms)")]
    Syntax(String),
    /// Longer than can be held.
    #[error("duration {0:?} is too long")]
    TooLong(String),
}

// Largest unit first: the order in which Prometheus wants them written.
const UNITS_MS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads a duration as Prometheus writes it: whole numbers with units, largest unit first.
///
/// ```
/// # use slod::time::parse_duration;
/// # use std::time::Duration;
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
/// assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
/// assert!(parse_duration("5 minutes").is_err());
/// assert!(parse_duration("1m1h").is_err());
/// ```
///
/// # Errors
/// When the text has another form, or stands for more than 2^63 milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let syntax = || DurationError::Syntax(text.to_owned());
    let too_long = || DurationError::TooLong(text.to_owned());
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut units = UNITS_MS.iter();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(syntax)?;
        let (number, tail) = rest.split_at(digits);
        let unit_length = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_length);
        let (_, unit_ms) = units.find(|(name, _)| *name == unit).ok_or_else(syntax)?;
        if number.is_empty() {
            return Err(syntax());
        }
        let number: u64 = number.parse().map_err(|_| too_long())?;
        total_ms =
            number.checked_mul(*unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(too_long)?;
        rest = tail;
    }
    if text.is_empty() {
        return Err(syntax());
    }
    if total_ms > i64::MAX as u64 {
        return Err(too_long());
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration the way Prometheus prints one: years and weeks only when they come out even.
///
/// ```
/// # use slod::time::format_duration;
/// # use std::time::Duration;
/// assert_eq!(format_duration(Duration::from_secs(5_400)), "1h30m");
/// assert_eq!(format_duration(Duration::from_secs(30 * 86_400)), "30d");
/// assert_eq!(format_duration(Duration::from_secs(28 * 86_400)), "4w");
/// ```
pub fn format_duration(duration: Duration) -> String {
    let mut rest_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest_ms == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, unit_ms) in UNITS_MS {
        let even_only = matches!(unit, "y" | "w");
        if rest_ms < unit_ms || (even_only && !rest_ms.is_multiple_of(unit_ms)) {
            continue;
        }
        text.push_str(&format!("{}{unit}", rest_ms / unit_ms));
        rest_ms %= unit_ms;
    }
    text
}

/// A duration in whole milliseconds, at most `i64::MAX`.
pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

// === impl Latest ===

const NEVER: i64 = i64::MIN;

impl Default for Latest {
    fn default() -> Self {
        Self(AtomicI64::new(NEVER))
    }
}

impl Latest {
    /// Takes back times later than this: the clock that showed them was wrong.
    pub fn lower_to(&self, at: Timestamp) {
        self.0.fetch_min(at.0, Ordering::Relaxed);
    }

    /// Forgets every time noted.
    pub fn forget(&self) {
        self.0.store(NEVER, Ordering::Relaxed);
    }

    /// The latest time noted; `None` before the first.
    pub fn get(&self) -> Option<Timestamp> {
        some_time(self.0.load(Ordering::Relaxed))
    }

    /// Notes a time. Returns what was the latest before.
    pub fn note(&self, at: Timestamp) -> Option<Timestamp> {
        some_time(self.0.fetch_max(at.0, Ordering::Relaxed))
    }
}

fn some_time(ms: i64) -> Option<Timestamp> {
    (ms != NEVER).then_some(Timestamp(ms))
}

// === impl Timestamp ===

impl Timestamp {
    /// Seconds since the Unix epoch, the unit of published timestamps.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// The last multiple of `step` that is not after this time.
    #[must_use]
    pub fn floor(self, step: Duration) -> Self {
        let step = millis(step).max(1);
        Self(self.0.div_euclid(step) * step)
    }

    /// As APIs write it: `2026-01-31T12:00:00.5Z`.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or_default().to_string()
    }

    /// How long after `earlier` this is; zero if it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_what_prometheus_refuses() {
        for text in ["", "5", "m", "5x", "-5m", "1.5h", "1m1h", "5m5m", " 5m", "1s2ms3d"] {
            assert!(matches!(parse_duration(text), Err(DurationError::Syntax(_))), "{text:?}");
        }
        for text in ["99999999999999999999s", "300000000000y"] {
            assert!(matches!(parse_duration(text), Err(DurationError::TooLong(_))), "{text:?}");
        }
    }

    #[test]
    fn floor_goes_down_before_the_epoch_too() {
        assert_eq!(Timestamp(1_999).floor(Duration::from_secs(1)), Timestamp(1_000));
        assert_eq!(Timestamp(-1).floor(Duration::from_secs(1)), Timestamp(-1_000));
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(ms in 0..i64::MAX as u64) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }
}
