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

    /// Takes in another observation, which began at `since`, had these holes and ended at `until`: unseen is what
    /// neither saw.
    pub(super) fn absorb(
        &mut self,
        since: Option<Timestamp>,
        holes: &[(Timestamp, Timestamp)],
        until: Timestamp,
    ) {
        let Some(since) = since else { return };
        let hole = |(from, to): &(Timestamp, Timestamp)| Hole { from_ms: from.0, to_ms: to.0 };
        let other = std::iter::once(Hole { from_ms: i64::MIN, to_ms: since.0 })
            .chain(holes.iter().map(hole))
            .chain([Hole { from_ms: until.0, to_ms: NEVER }]);
        let own = std::iter::once(Hole { from_ms: i64::MIN, to_ms: self.since_ms });
        let own: Vec<Hole> = own.chain(self.holes.iter().copied()).collect();
        let both = other.flat_map(|other| own.iter().filter_map(move |own| own.and(other)));
        // Until now is no hole: what comes next tells.
        let mut both = both.filter(|hole| hole.to_ms != NEVER);
        *self = Self { since_ms: both.next().map_or(NEVER, |first| first.to_ms), ..Self::default() };
        both.for_each(|hole| self.note_unseen(hole.from_ms, hole.to_ms));
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

// === impl Hole ===

impl Hole {
    /// What lies in both.
    fn and(self, other: Self) -> Option<Self> {
        let (from_ms, to_ms) = (self.from_ms.max(other.from_ms), self.to_ms.min(other.to_ms));
        (from_ms < to_ms).then_some(Self { from_ms, to_ms })
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

    /// What of a coverage is not observed, and what of two of them together.
    #[track_caller]
    fn check_absorbed(
        own: (Option<i64>, &[(i64, i64)]),
        other: (i64, &[(i64, i64)], i64),
        expected: (i64, &[(i64, i64)]),
    ) {
        let times = |holes: &[(i64, i64)]| -> Vec<_> {
            holes.iter().map(|(from, to)| (Timestamp(*from), Timestamp(*to))).collect()
        };
        let mut coverage = Coverage::restored(own.0.map(Timestamp), &times(own.1));
        coverage.absorb(Some(Timestamp(other.0)), &times(other.1), Timestamp(other.2));
        assert_eq!(coverage.state(), (Some(Timestamp(expected.0)), times(expected.1)));
        let length = expected.1.iter().map(|(from, to)| to - from).sum::<i64>();
        assert_eq!(coverage.holes_ms, length);
    }

    #[test]
    fn unseen_is_what_neither_of_two_observations_saw() {
        // History of an SLO that is new, with a hole of its own.
        check_absorbed((Some(90), &[(120, 130)]), (10, &[(40, 60)], 100), (10, &[(40, 60), (120, 130)]));
        // Of one whose series had ended before.
        check_absorbed((Some(90), &[]), (10, &[], 50), (10, &[(50, 90)]));
        // Of an absence, which is seen as a hole.
        check_absorbed((Some(0), &[(20, 30), (50, 90)]), (45, &[(60, 70)], 100), (0, &[(20, 30), (60, 70)]));
        // Of a group that is not there any more.
        check_absorbed((None, &[]), (10, &[(20, 30)], 50), (10, &[(20, 30)]));
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
