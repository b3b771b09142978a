//! Of how much of a window an SLI's series were observed.

use crate::time::Timestamp;

/// When observation began, and the holes in it since.
#[derive(Clone, Debug)]
pub(super) struct Coverage {
    /// `NEVER` before the first sample.
    since_ms: i64,
    /// The length of all holes.
    holes_ms: i64,
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

const NEVER: i64 = i64::MAX;

// === impl Coverage ===

impl Default for Coverage {
    fn default() -> Self {
        Self { since_ms: NEVER, holes_ms: 0, holes: Vec::new() }
    }
}

impl Coverage {
    /// Notes that nothing was seen in `(from, to]`, and something at `to`. The first such note begins the
    /// observation, whatever `from` is.
    pub(super) fn note_unseen(&mut self, from_ms: i64, to_ms: i64) {
        if self.since_ms == NEVER {
            self.since_ms = to_ms;
            return;
        }
        self.holes.push(Hole { from_ms, to_ms });
        self.holes_ms += to_ms - from_ms;
        self.limit();
    }

    fn limit(&mut self) {
        while self.holes.len() > HOLES_MAX {
            let oldest = self.holes.remove(0);
            self.holes[0].from_ms -= oldest.to_ms - oldest.from_ms;
        }
    }

    /// When observation began, and the holes in it since.
    pub(super) fn state(&self) -> (Option<Timestamp>, Vec<(Timestamp, Timestamp)>) {
        let since = (self.since_ms != NEVER).then_some(Timestamp(self.since_ms));
        let hole = |hole: &Hole| (Timestamp(hole.from_ms), Timestamp(hole.to_ms));
        (since, self.holes.iter().map(hole).collect())
    }

    /// What [`state`](Self::state) gave.
    pub(super) fn restored(since: Option<Timestamp>, holes: &[(Timestamp, Timestamp)]) -> Self {
        let mut coverage = Self::default();
        if let Some(since) = since {
            coverage.note_unseen(since.0, since.0);
            holes.iter().for_each(|(from, to)| coverage.note_unseen(from.0, to.0));
        }
        coverage
    }

    /// Takes in another observation, which had begun before and went on until this one began.
    pub(super) fn absorb(&mut self, since: Option<Timestamp>, holes: &[(Timestamp, Timestamp)]) {
        let Some(since) = since else { return };
        let own_since_ms = self.since_ms;
        let before: Vec<Hole> = holes
            .iter()
            .filter(|(_, to)| to.0 <= own_since_ms)
            .map(|(from, to)| Hole { from_ms: from.0, to_ms: to.0 })
            .collect();
        self.since_ms = own_since_ms.min(since.0);
        self.holes_ms += before.iter().map(|hole| hole.to_ms - hole.from_ms).sum::<i64>();
        self.holes.splice(0..0, before);
        self.limit();
    }

    /// Begins again at `now_ms`, if it had begun.
    pub(super) fn restart(&mut self, now_ms: i64) {
        let since_ms = if self.since_ms == NEVER { NEVER } else { now_ms };
        *self = Self { since_ms, ..Self::default() };
    }

    /// Forgets what was observed before `since_ms`.
    pub(super) fn forget_before(&mut self, since_ms: i64) {
        // `NEVER` is later than that.
        self.since_ms = self.since_ms.max(since_ms);
    }

    /// How much of `(from, to]` was observed; `to` is not before the last hole's end.
    pub(super) fn observed_ms(&self, from_ms: i64, to_ms: i64) -> i64 {
        let start_ms = from_ms.max(self.since_ms);
        if self.holes_ms == 0 || start_ms >= to_ms {
            return (to_ms - start_ms).max(0);
        }
        let inside = |hole: &Hole| (hole.to_ms - hole.from_ms.max(start_ms)).max(0);
        to_ms - start_ms - self.holes.iter().map(inside).sum::<i64>()
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
        assert_eq!(coverage.observed_ms(0, 1_100), 400);
        assert_eq!(coverage.observed_ms(550, 1_100), 300, "the first hole is in the window by half");
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
