//! The operating system's clocks, read here and nowhere else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::{Clock, Timestamp};

/// Wall time for timestamps, and steady time for measuring.
#[derive(Clone, Debug)]
pub struct SystemClock {
    start: Instant,
}

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
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        // A clock before 1970 is set wrong; time zero is as good as any.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Timestamp(0) + since_epoch
    }
}
