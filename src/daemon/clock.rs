//! The operating system's clocks, read here and nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::time::{Clock, Timestamp};

/// Wall time for timestamps, and steady time for measuring.
///
/// Wall time is trusted while it moves as steady time does. A step (a virtual machine that slept, a clock
/// set right, or wrong for a moment) is followed once it has held for a while: event time that jumped ahead
/// could not be taken back.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    wall: Mutex<Wall>,
}

/// The distance from steady time to wall time, as far as it is believed.
#[derive(Clone, Copy, Debug)]
struct Wall {
    offset_ms: i64,
    /// Another distance, and since when it shows.
    step: Option<(i64, Duration)>,
}

// More than NTP slews between two readings, less than any evaluation notices.
const STEP_MIN_MS: i64 = 1_000;
const STEP_HOLDS_FOR: Duration = Duration::from_secs(10);

// === impl SystemClock ===

impl SystemClock {
    /// Steady time since the clock was made.
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Default for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn default() -> Self {
        let start = Instant::now();
        Self { start, wall: Mutex::new(Wall { offset_ms: wall_ms(), step: None }) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall.lock().now(wall_ms(), self.elapsed())
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
fn wall_ms() -> i64 {
    // A clock before 1970 is set wrong; time zero is as good as any.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

// === impl Wall ===

impl Wall {
    fn now(&mut self, wall_ms: i64, steady: Duration) -> Timestamp {
        let steady_ms = i64::try_from(steady.as_millis()).unwrap_or(i64::MAX);
        let offset_ms = wall_ms.saturating_sub(steady_ms);
        let is_near = |other: i64| offset_ms.abs_diff(other) <= STEP_MIN_MS.unsigned_abs();
        match self.step {
            _ if is_near(self.offset_ms) => *self = Self { offset_ms, step: None },
            Some((step_ms, since)) if is_near(step_ms) => {
                if steady.saturating_sub(since) >= STEP_HOLDS_FOR {
                    tracing::warn!(seconds = (offset_ms - self.offset_ms) / 1_000, "the clock was set");
                    *self = Self { offset_ms, step: None };
                }
            }
            _ => self.step = Some((offset_ms, steady)),
        }
        Timestamp(self.offset_ms.saturating_add(steady_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told at each `(steady second, wall second)`.
    #[track_caller]
    fn check(readings: &[(u64, i64)], expected: &[i64]) {
        let mut wall = Wall { offset_ms: 1_000_000, step: None };
        let told: Vec<i64> = readings
            .iter()
            .map(|(steady, shown)| wall.now(shown * 1_000, Duration::from_secs(*steady)).0 / 1_000)
            .collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn small_corrections_are_followed() {
        check(&[(0, 1_000), (10, 1_011), (20, 1_020), (30, 1_031)], &[1_000, 1_011, 1_020, 1_031]);
    }

    #[test]
    fn a_step_that_does_not_hold_is_not_followed() {
        check(&[(0, 1_000), (1, 90_000), (2, 1_002), (20, 1_020)], &[1_000, 1_001, 1_002, 1_020]);
        check(&[(1, 90_001), (5, 50_005), (12, 90_012)], &[1_001, 1_005, 1_012]);
    }

    #[test]
    fn a_step_that_holds_is_followed_in_either_direction() {
        check(&[(1, 90_001), (6, 90_006), (11, 90_011), (12, 90_012)], &[1_001, 1_006, 90_011, 90_012]);
        check(&[(1, 501), (11, 511)], &[1_001, 511]);
    }
}
