//! Stretches of time, and what they have in common.

use std::time::Duration;

use crate::time::Timestamp;

/// From a moment on, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Its first moment.
    pub start: Timestamp,
    /// The first moment that is not in it.
    pub end: Timestamp,
}

// === impl Span ===

impl Span {
    /// How long it is.
    pub fn length(self) -> Duration {
        self.end.since(self.start)
    }

    /// Whether the two share a moment.
    pub fn meets(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The same with a later end.
    #[must_use]
    pub fn longer(self, by: Duration) -> Self {
        Self { end: self.end + by, ..self }
    }

    /// How much of it lies in the other.
    pub fn within(self, other: Self) -> Duration {
        self.end.min(other.end).since(self.start.max(other.start))
    }
}

/// The same time in spans that neither meet nor touch, in their order.
pub(super) fn union(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut union: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match union.last_mut().filter(|last| span.start <= last.end) {
            Some(last) => last.end = last.end.max(span.end),
            None => union.push(span),
        }
    }
    union
}

/// How long spans that do not meet are together.
pub(super) fn total(spans: &[Span]) -> Duration {
    spans.iter().map(|span| span.length()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span((start, end): (i64, i64)) -> Span {
        Span { start: Timestamp(start), end: Timestamp(end) }
    }

    #[test]
    fn spans_that_touch_are_one() {
        let spans = [(5, 7), (0, 2), (2, 3), (6, 6), (6, 9)].map(span).to_vec();
        let union = union(spans);
        assert_eq!(union, [(0, 3), (5, 9)].map(span));
        assert_eq!(total(&union), Duration::from_millis(7));
    }

    #[test]
    fn the_end_is_not_in_a_span() {
        assert!(!span((0, 5)).meets(span((5, 6))));
        assert!(span((0, 5)).longer(Duration::from_millis(1)).meets(span((5, 6))));
        assert_eq!(span((0, 5)).within(span((3, 9))), Duration::from_millis(2));
        assert_eq!(span((0, 5)).within(span((6, 9))), Duration::ZERO);
    }
}
