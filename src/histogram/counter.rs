//! From the samples of one series of native histograms to what was observed between them.
//!
//! The rules are those of [`crate::counter`], in the same order, with what only histograms have: a gauge is
//! no counter; the sender may say that the series started over; and it did if the resolution rose or any
//! bucket lost observations. Sums are not looked at: with negative observations they fall on their own.
//!
//! A change between exponential and custom bounds is a change of how the target is scraped. Nobody knows
//! how many of the observations are new then, so that it is a new baseline, and so is a counter after a gauge.

use std::{borrow::Cow, cmp::Ordering, time::Duration};

use super::{Content, Distribution, Histogram};
use crate::{
    counter::{Baseline, COUNT_MAX, Growth, Rejection, first_growth, is_reset_by, is_skew},
    time::Timestamp,
};

// Four times the 160 of OpenTelemetry's and Prometheus' clients: 10 KiB per series at most. Beyond it the
// resolution is halved until the buckets fit. Custom buckets cannot be merged, and are as many as were sent.
const BUCKETS_KEPT_MAX: usize = 640;

/// What is remembered of a series: the last accepted sample.
#[derive(Clone, Debug, Default)]
pub struct HistogramCounter {
    pub(super) last: Option<Last>,
    /// The newest staleness marker.
    pub(super) ended_at: Option<Timestamp>,
}

/// A sample and the circumstances of its arrival.
#[derive(Clone, Debug)]
pub struct HistogramReading {
    /// The sample.
    pub histogram: Histogram,
    /// Another replica of a highly available pair has taken over since the sample before.
    pub is_handover: bool,
    /// The longest gap in a series whose growth is still counted.
    pub max_gap: Duration,
}

#[derive(Clone, Debug)]
pub(super) struct Last {
    pub(super) at: Timestamp,
    /// Before `at`.
    pub(super) started_at: Option<Timestamp>,
    /// The schema as it was sent; what is kept may be coarser. `None` with custom bounds.
    pub(super) sent_schema: Option<i8>,
    /// `None` of a gauge.
    pub(super) observed: Option<Distribution>,
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
    /// Before `at`.
    started_at: Option<Timestamp>,
    is_reset: bool,
    is_handover: bool,
    max_gap: Duration,
    sent_schema: Option<i8>,
    observed: Distribution,
}

// === impl HistogramCounter ===

impl HistogramCounter {
    /// Whether nothing has been taken yet.
    pub fn is_new(&self) -> bool {
        self.last.is_none() && self.ended_at.is_none()
    }

    /// Whether the series has a last sample and no staleness marker after it.
    pub fn is_live(&self) -> bool {
        self.last_at().is_some_and(|at| self.ended_at.is_none_or(|ended_at| ended_at < at))
    }

    /// Takes the next sample in order of arrival. `born_after` is a moment at which the series is known
    /// not to have existed; it is asked for the first sample only.
    pub fn observe(
        &mut self,
        reading: HistogramReading,
        born_after: impl FnOnce() -> Option<Timestamp>,
    ) -> HistogramObservation {
        let HistogramReading { histogram: Histogram { at, started_at, content }, is_handover, max_gap } =
            reading;
        let started_at = started_at.filter(|started_at| *started_at < at);
        match content {
            Content::StaleMarker => self.observe_stale_marker(at),
            Content::Gauge => self.observe_gauge(at, started_at),
            Content::Counter { observed, is_reset } => {
                let sent_schema = observed.schema();
                let observed = observed.limited(BUCKETS_KEPT_MAX);
                let next = Next { at, started_at, is_reset, is_handover, max_gap, sent_schema, observed };
                self.observe_counter(next, born_after)
            }
        }
    }

    fn last_at(&self) -> Option<Timestamp> {
        self.last.as_ref().map(|last| last.at)
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
    ) -> HistogramObservation {
        if next.observed.count() > COUNT_MAX {
            return HistogramObservation::Rejected(Rejection::TooLarge);
        }
        let observation = match &self.last {
            None => next.first(born_after()),
            Some(last) => last.observe(&mut next),
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
    fn observe(&self, next: &mut Next) -> HistogramObservation {
        if let Some(rejection) = self.not_newer(next) {
            return HistogramObservation::Rejected(rejection);
        }
        if next.at.since(self.at) > next.max_gap {
            return HistogramObservation::Baseline(Baseline::Gap);
        }
        let told = self.started_at.is_some();
        let restarted_at = next.started_at.filter(|started_at| is_reset_by(*started_at, self.at, told));
        match (&self.observed, restarted_at) {
            (observed, Some(from)) => {
                let has_fallen = observed.as_ref().is_some_and(|observed| next.is_below(observed));
                next.counted_whole(from, if has_fallen { Growth::Reset } else { Growth::Restart })
            }
            (Some(observed), None) => self.compare(observed, next),
            (None, None) => HistogramObservation::Baseline(Baseline::First),
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

    fn compare(&self, kept: &Distribution, next: &mut Next) -> HistogramObservation {
        if next.is_reset {
            return next.counted_whole(self.at, Growth::Reset);
        }
        let like = next.like(kept);
        // Compared as sent: what is kept may be coarser.
        let has_risen = next.sent_schema > self.sent_schema;
        let Some(growth) = like.since(kept).filter(|_| !has_risen) else {
            return self.not_continued(kept, next);
        };
        if let Cow::Owned(coarser) = like {
            next.observed = coarser;
        }
        next.observed.share_bounds(kept);
        HistogramObservation::Increment { from: self.at, growth: Box::new(growth), kind: Growth::Difference }
    }

    /// Observations are missing, or the buckets are of another kind.
    fn not_continued(&self, kept: &Distribution, next: &mut Next) -> HistogramObservation {
        if next.is_below(kept) {
            return self.fallen(kept, next);
        }
        let is_other_scale = next.sent_schema.is_some() != self.sent_schema.is_some();
        // A wider zero bucket may cut a bucket of ours where it swallowed whole ones of the sender's.
        let is_too_coarse = kept.schema() < self.sent_schema;
        if is_other_scale || is_too_coarse {
            return HistogramObservation::Baseline(Baseline::First);
        }
        next.counted_whole(self.at, Growth::Reset)
    }

    /// A reset, unless another replica has just taken over and merely lags: then it is contained in what is
    /// known, and that is what its next sample will be compared with.
    fn fallen(&self, kept: &Distribution, next: &mut Next) -> HistogramObservation {
        let part = 1.0 - next.observed.count() / kept.count();
        let is_small = is_skew(next.at.since(self.at), part);
        let nothing =
            kept.since(kept).filter(|_| next.is_handover && is_small && kept.since(&next.observed).is_some());
        let Some(nothing) = nothing else { return next.counted_whole(self.at, Growth::Reset) };
        (next.observed, next.sent_schema) = (kept.clone(), self.sent_schema);
        HistogramObservation::Increment { from: self.at, growth: Box::new(nothing), kind: Growth::Skew }
    }
}

// === impl Next ===

impl Next {
    fn first(&self, born_after: Option<Timestamp>) -> HistogramObservation {
        let is_zero = self.observed.count() == 0.0;
        match first_growth(self.at, is_zero, self.started_at, born_after, self.max_gap) {
            Ok((from, kind)) => self.counted_whole(from, kind),
            Err(baseline) => HistogramObservation::Baseline(baseline),
        }
    }

    fn is_below(&self, kept: &Distribution) -> bool {
        self.observed.count() < kept.count()
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
