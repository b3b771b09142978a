//! From the samples of one series of native histograms to what was observed between them.
//!
//! The rules are those of [`crate::counter`], in the same order, with what only histograms have: a gauge is
//! no counter; a start timestamp tells when the series began or started over; the sender may say that it
//! started over; and it did if the resolution rose or any bucket lost observations. Sums are not looked
//! at: with negative observations they fall on their own.
//!
//! A change between exponential and custom bounds is a change of how the target is scraped. Nobody knows
//! how many of the observations are new then, so that it is a new baseline, and so is a counter after a gauge.

use std::{borrow::Cow, cmp::Ordering, time::Duration};

use super::{Content, Distribution, Histogram};
use crate::{
    counter::{Baseline, Growth, Rejection},
    time::Timestamp,
};

// As for plain counters: a million events a second reach it in three centuries.
const COUNT_MAX: f64 = (1_u64 << 53) as f64;

// Four times the 160 of OpenTelemetry's and Prometheus' clients: 10 KiB per series at most. Beyond it the
// resolution is halved until the buckets fit. Custom buckets cannot be merged, and are as many as were sent.
const BUCKETS_KEPT_MAX: usize = 640;

/// What is remembered of a series: the last accepted sample.
#[derive(Clone, Debug, Default)]
pub struct HistogramCounter {
    last: Option<Last>,
    /// The newest staleness marker.
    ended_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
struct Last {
    at: Timestamp,
    started_at: Option<Timestamp>,
    /// The schema as it was sent; what is kept may be coarser. `None` with custom bounds.
    sent_schema: Option<i8>,
    /// `None` of a gauge.
    observed: Option<Distribution>,
}

/// What a sample means.
#[derive(Clone, Debug)]
pub enum HistogramObservation {
    /// The series is known from here on; nothing is counted.
    Baseline(Baseline),
    /// Observations made in `(from, at]`.
    Increment {
        /// The time of the sample before, or at which the series began.
        from: Timestamp,
        /// What was observed. Boxed: most outcomes are small.
        growth: Box<Distribution>,
        /// How it was found.
        kind: Growth,
    },
    /// The series ended.
    Stale,
    /// A gauge, whose growth means nothing. It counts for nothing.
    Gauge,
    /// The sample counts for nothing.
    Rejected(Rejection),
}

/// A sample that is neither a staleness marker nor a gauge.
struct Next {
    at: Timestamp,
    started_at: Option<Timestamp>,
    is_reset: bool,
    sent_schema: Option<i8>,
    observed: Distribution,
}

// === impl HistogramCounter ===

impl HistogramCounter {
    /// The time of the last accepted sample.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|last| last.at)
    }

    /// Whether the series has a last sample and no staleness marker after it.
    pub fn is_live(&self) -> bool {
        self.last_at().is_some_and(|at| self.ended_at.is_none_or(|ended_at| ended_at < at))
    }

    /// Takes the next sample in order of arrival. `born_after` is a moment at which the series is known
    /// not to have existed; it matters for the first sample only.
    pub fn observe(
        &mut self,
        histogram: Histogram,
        born_after: impl FnOnce() -> Option<Timestamp>,
        max_gap: Duration,
    ) -> HistogramObservation {
        let Histogram { at, started_at, content } = histogram;
        match content {
            Content::StaleMarker => self.observe_stale_marker(at),
            Content::Gauge => self.observe_gauge(at, started_at),
            Content::Counter { observed, is_reset } => {
                let sent_schema = observed.schema();
                let observed = observed.limited(BUCKETS_KEPT_MAX);
                self.observe_counter(
                    Next { at, started_at, is_reset, sent_schema, observed },
                    born_after,
                    max_gap,
                )
            }
        }
    }

    fn observe_stale_marker(&mut self, at: Timestamp) -> HistogramObservation {
        if self.last_at().is_some_and(|last_at| at < last_at) {
            return HistogramObservation::Rejected(Rejection::OutOfOrder);
        }
        self.ended_at = self.ended_at.max(Some(at));
        HistogramObservation::Stale
    }

    /// What was counted before a gauge says nothing about what comes after it.
    fn observe_gauge(&mut self, at: Timestamp, started_at: Option<Timestamp>) -> HistogramObservation {
        if self.last_at().is_none_or(|last_at| last_at < at) {
            self.last = Some(Last { at, started_at, sent_schema: None, observed: None });
        }
        HistogramObservation::Gauge
    }

    fn observe_counter(
        &mut self,
        mut next: Next,
        born_after: impl FnOnce() -> Option<Timestamp>,
        max_gap: Duration,
    ) -> HistogramObservation {
        if next.observed.count() > COUNT_MAX {
            return HistogramObservation::Rejected(Rejection::TooLarge);
        }
        let observation = match &self.last {
            None => next.first(born_after(), max_gap),
            Some(last) => last.observe(&mut next, max_gap),
        };
        if !matches!(observation, HistogramObservation::Rejected(_)) {
            let Next { at, started_at, sent_schema, observed, .. } = next;
            self.last = Some(Last { at, started_at, sent_schema, observed: Some(observed) });
        }
        observation
    }
}

// === impl Last ===

impl Last {
    fn observe(&self, next: &mut Next, max_gap: Duration) -> HistogramObservation {
        if let Some(rejection) = self.not_newer(next) {
            return HistogramObservation::Rejected(rejection);
        }
        let restarted_at = self.restarted_at(next);
        let from = restarted_at.unwrap_or(self.at);
        if next.at.since(from) > max_gap {
            return HistogramObservation::Baseline(Baseline::Gap);
        }
        if restarted_at.is_some() {
            return next.counted_whole(from, Growth::Reset);
        }
        match &self.observed {
            Some(observed) => self.compare(observed, next),
            None => HistogramObservation::Baseline(Baseline::First),
        }
    }

    fn not_newer(&self, next: &Next) -> Option<Rejection> {
        let is_same = |observed: &Distribution| observed.is_same(&next.like(observed));
        match next.at.cmp(&self.at) {
            Ordering::Greater => None,
            Ordering::Less => Some(Rejection::OutOfOrder),
            Ordering::Equal if self.observed.as_ref().is_some_and(is_same) => Some(Rejection::Duplicate),
            Ordering::Equal => Some(Rejection::Conflict),
        }
    }

    /// When the series started over, by its start timestamp. One that equals the time of the last sample
    /// means a restart only if the one before meant anything (Prometheus' `isStartTimestampReset`).
    fn restarted_at(&self, next: &Next) -> Option<Timestamp> {
        let started_at =
            next.started_at.filter(|start| *start < next.at && self.started_at != Some(*start))?;
        let is_restart = match started_at.cmp(&self.at) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => self.started_at.is_some_and(|before| before < self.at),
        };
        is_restart.then_some(started_at)
    }

    fn compare(&self, observed: &Distribution, next: &mut Next) -> HistogramObservation {
        if next.is_reset || next.observed.count() < observed.count() {
            return next.counted_whole(self.at, Growth::Reset);
        }
        if next.sent_schema.is_some() != self.sent_schema.is_some() {
            return HistogramObservation::Baseline(Baseline::First);
        }
        if next.sent_schema > self.sent_schema {
            return next.counted_whole(self.at, Growth::Reset);
        }
        let like = next.like(observed);
        let Some(growth) = like.since(observed) else { return self.not_continued(observed, next) };
        if let Cow::Owned(coarser) = like {
            next.observed = coarser;
        }
        next.observed.share_bounds(observed);
        let (from, growth) = (self.at, Box::new(growth));
        HistogramObservation::Increment { from, growth, kind: Growth::Difference }
    }

    /// Observations are missing: a reset, unless what is kept is too coarse to tell. Then a wider zero bucket
    /// may cut a bucket of ours where it swallowed whole ones of the sender's.
    fn not_continued(&self, observed: &Distribution, next: &Next) -> HistogramObservation {
        if observed.schema() < self.sent_schema {
            return HistogramObservation::Baseline(Baseline::First);
        }
        next.counted_whole(self.at, Growth::Reset)
    }
}

// === impl Next ===

impl Next {
    fn first(&self, born_after: Option<Timestamp>, max_gap: Duration) -> HistogramObservation {
        let started_at = self.started_at.filter(|start| *start < self.at);
        match started_at.max(born_after) {
            Some(from) if self.at.since(from) <= max_gap => self.counted_whole(from, Growth::Born),
            _ => HistogramObservation::Baseline(Baseline::First),
        }
    }

    /// As coarse as what is kept, which may be coarser than what was sent.
    fn like(&self, kept: &Distribution) -> Cow<'_, Distribution> {
        match kept.schema() {
            Some(schema) if self.observed.schema() > Some(schema) => {
                Cow::Owned(self.observed.clone().coarsened(schema))
            }
            _ => Cow::Borrowed(&self.observed),
        }
    }

    fn counted_whole(&self, from: Timestamp, kind: Growth) -> HistogramObservation {
        HistogramObservation::Increment { from, growth: Box::new(self.observed.clone()), kind }
    }
}
