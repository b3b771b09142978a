//! Of how much of a window an SLI's series were observed.

/// When observation began, and the holes in it since.
#[derive(Clone, Debug, Default)]
pub(super) struct Coverage {
    since_ms: Option<i64>,
    /// Oldest first.
    holes: Vec<Hole>,
}

/// `(from, to]`, in which nothing was seen.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Hole {
    from_ms: i64,
    to_ms: i64,
}

// Holes are rare. Of a target that flaps the oldest are merged, which moves them a little, and loses
// nothing of their length.
const HOLES_MAX: usize = 16;

// === impl Coverage ===

impl Coverage {
    /// Notes that nothing was seen in `(from, to]`, and something at `to`. The first such note begins the
    /// observation, whatever `from` is.
    pub(super) fn note_unseen(&mut self, from_ms: i64, to_ms: i64) {
        if self.since_ms.is_none() {
            self.since_ms = Some(to_ms);
            return;
        }
        self.holes.push(Hole { from_ms, to_ms });
        if self.holes.len() > HOLES_MAX {
            let oldest = self.holes.remove(0);
            self.holes[0].from_ms -= oldest.to_ms - oldest.from_ms;
        }
    }

    /// Begins again at `now_ms`, if it had begun.
    pub(super) fn restart(&mut self, now_ms: i64) {
        self.since_ms = self.since_ms.map(|_| now_ms);
        self.holes.clear();
    }

    /// How much of `(from, to]` was observed.
    pub(super) fn observed_ms(&self, from_ms: i64, to_ms: i64) -> i64 {
        let Some(since_ms) = self.since_ms else { return 0 };
        let length = |from: i64, to: i64| (to.min(to_ms) - from.max(from_ms).max(since_ms)).max(0);
        let holes: i64 = self.holes.iter().map(|hole| length(hole.from_ms, hole.to_ms)).sum();
        (length(since_ms, to_ms) - holes).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observation_begins_with_the_first_sample_and_has_holes() {
        let mut coverage = Coverage::default();
        assert_eq!(coverage.observed_ms(0, 1_000), 0);
        coverage.note_unseen(i64::MIN, 400);
        assert_eq!(coverage.observed_ms(0, 1_000), 600);
        coverage.note_unseen(500, 600);
        coverage.note_unseen(900, 1_100);
        assert_eq!(coverage.observed_ms(0, 1_000), 400, "the last hole is in the window by half");
        assert_eq!(coverage.observed_ms(550, 1_000), 300);
    }

    #[test]
    fn many_holes_keep_their_length_in_bounded_memory() {
        let mut coverage = Coverage::default();
        coverage.note_unseen(0, 0);
        for n in 1..=1_000 {
            coverage.note_unseen(n * 100, n * 100 + 10);
        }
        assert!(coverage.holes.len() <= HOLES_MAX);
        assert_eq!(coverage.observed_ms(-1_000_000, 101_000), 101_000 - 1_000 * 10);
    }
}
