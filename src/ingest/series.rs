//! A followed series: its counter, and what each increment counts for.

use std::sync::Arc;

use super::{
    Ingest,
    outcome::Outcome,
    routes::{Arrival, Refused, Routes},
};
use crate::{
    counter::{Counter, Growth, Observation, Reading},
    histogram::{Histogram, HistogramCounter, HistogramObservation, HistogramReading},
    prompb::Sample,
    time::Timestamp,
    window::{Batch, Counts},
};

/// A series that at least one SLO counts. Its labels are not kept: 64 bytes, a line of the cache.
#[derive(Debug)]
pub(super) struct Series {
    counter: Counter,
    routes: Arc<Routes>,
    extra: Option<Box<Extra>>,
    last_arrival: Timestamp,
    /// In which election won the replica that sent the last sample that counted; 0 if there was none.
    replica_epoch: u32,
}

/// What few series have.
#[derive(Debug, Default)]
struct Extra {
    histogram: HistogramCounter,
    /// As those see it that read a gauge, if others read a counter.
    gauge: Counter,
    refused: Option<Refused>,
}

/// When a request arrived, and from whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Timestamp,
    /// The election that the sender won, if it is one of several replicas.
    pub(super) replica_epoch: Option<u32>,
}

// === impl Series ===

impl Series {
    /// A series of which nothing has been counted yet.
    pub(super) fn new(routes: Arc<Routes>, refused: Option<Refused>, now: Timestamp) -> Self {
        let extra = refused.map(|refused| Box::new(Extra { refused: Some(refused), ..Extra::default() }));
        Self { counter: Counter::default(), routes, extra, last_arrival: now, replica_epoch: 0 }
    }

    /// Whether any SLO counts its native histograms.
    pub(super) fn is_of_histogram(&self) -> bool {
        self.routes.is_of_histogram()
    }

    /// Takes a sample, and counts what it adds. Both happen while the caller has the series for itself: a
    /// second copy of the sample finds the counter moved on.
    #[inline]
    pub(super) fn observe(
        &mut self,
        ingest: &Ingest,
        batch: &mut Batch<'_>,
        moment: Moment,
        sample: &Sample,
    ) -> Observation {
        let (config, at) = (&ingest.config, Timestamp(sample.timestamp_ms));
        let is_handover = self.note_arrival(ingest, moment);
        let was_live = self.is_live();
        let observation = if self.routes.is_counter() {
            let start = (sample.start_ms != 0).then_some(Timestamp(sample.start_ms));
            let reading = Reading { at, value: sample.value, start, is_handover, max_gap: config.max_gap };
            self.counter.observe(reading, || self.routes.born_after(at, config.warm_up))
        } else {
            self.counter.observe_gauge(at, sample.value)
        };
        let arrival = Arrival::new(at, moment.now, config);
        match observation {
            Observation::Increment { from, value, .. } => {
                self.routes.count(batch, arrival, from, |route| route.growth_events(value));
            }
            Observation::Baseline(_) => self.routes.count(batch, arrival, at, |_| Counts::ZERO),
            Observation::Sample => {
                self.routes.count(batch, arrival, at, |route| route.sample_events(sample.value));
            }
            Observation::Stale | Observation::Rejected(_) => (),
        }
        if self.routes.is_mixed() {
            self.observe_as_gauge(batch, arrival, at, sample.value);
        }
        self.note_liveness(ingest, was_live);
        let is_behind = matches!(observation, Observation::Increment { kind: Growth::Skew, .. });
        let counts = !matches!(observation, Observation::Rejected(_) | Observation::Stale);
        self.note_handover(moment, is_handover && counts && !is_behind);
        observation
    }

    /// Takes a sample for those SLOs that read a gauge where others read a counter: neither is to suffer from
    /// what the other makes of it.
    #[cold]
    fn observe_as_gauge(&mut self, batch: &mut Batch<'_>, arrival: Arrival, at: Timestamp, value: f64) {
        let gauge = &mut self.extra.get_or_insert_default().gauge;
        if gauge.observe_gauge(at, value) == Observation::Sample {
            self.routes.count(batch, arrival, at, |route| route.sample_events(value));
        }
    }

    /// Takes a native histogram, as [`observe`](Self::observe) takes a sample.
    pub(super) fn observe_histogram(
        &mut self,
        ingest: &Ingest,
        batch: &mut Batch<'_>,
        moment: Moment,
        histogram: Histogram,
    ) -> Outcome {
        let (config, at) = (&ingest.config, histogram.at());
        let is_handover = self.note_arrival(ingest, moment);
        let was_live = self.is_live();
        let reading = HistogramReading { histogram, is_handover, max_gap: config.max_gap };
        let routes = &self.routes;
        let observation = self
            .extra
            .get_or_insert_default()
            .histogram
            .observe(reading, || routes.born_after(at, config.warm_up));
        let arrival = Arrival::new(at, moment.now, config);
        match &observation {
            HistogramObservation::Increment { from, growth, .. } => {
                self.routes.count(batch, arrival, *from, |route| route.histogram_events(growth));
            }
            HistogramObservation::Baseline(_) => self.routes.count(batch, arrival, at, |_| Counts::ZERO),
            HistogramObservation::Stale | HistogramObservation::Gauge | HistogramObservation::Rejected(_) => {
            }
        }
        self.note_liveness(ingest, was_live);
        let is_behind = matches!(observation, HistogramObservation::Increment { kind: Growth::Skew, .. });
        let counts = !matches!(observation, HistogramObservation::Rejected(_) | HistogramObservation::Stale);
        self.note_handover(moment, is_handover && counts && !is_behind);
        (&observation).into()
    }

    /// Whether nothing of it has arrived since `oldest`.
    pub(super) fn is_silent_since(&self, oldest: Timestamp) -> bool {
        self.last_arrival < oldest
    }

    /// To be called before it is forgotten. Returns whether it was live.
    pub(super) fn end(&self) -> bool {
        let was_live = self.is_live();
        self.routes.note_liveness(was_live, false);
        was_live
    }

    #[inline]
    fn is_live(&self) -> bool {
        let has_live = |extra: &Extra| extra.histogram.is_live() || extra.gauge.is_live();
        self.counter.is_live() || self.extra.as_deref().is_some_and(has_live)
    }

    #[inline]
    fn note_liveness(&self, ingest: &Ingest, was_live: bool) {
        let is_live = self.is_live();
        if was_live != is_live {
            self.routes.note_liveness(was_live, is_live);
            ingest.active.add(if is_live { 1 } else { -1 });
        }
    }

    /// Returns whether another replica has taken over since the last sample that counted.
    #[inline]
    fn note_arrival(&mut self, ingest: &Ingest, moment: Moment) -> bool {
        self.last_arrival = moment.now;
        if self.extra.is_some() {
            self.enter_groups(ingest);
        }
        moment.replica_epoch.is_some_and(|epoch| self.replica_epoch != epoch)
    }

    /// Ends a handover. Not before a sample of the new replica has gone beyond what is known from the former
    /// one: those that lag behind it say nothing of the next.
    #[inline]
    fn note_handover(&mut self, moment: Moment, is_done: bool) {
        if is_done {
            self.replica_epoch = moment.replica_epoch.unwrap_or(self.replica_epoch);
        }
    }

    /// Enters groups that were refused, if others have made room since it was last asked for.
    #[cold]
    fn enter_groups(&mut self, ingest: &Ingest) {
        let is_live = self.is_live();
        let Some(refused) = self.extra.as_mut().and_then(|extra| extra.refused.as_mut()) else { return };
        let entered = ingest.routes.enter_groups(&self.routes, refused, &ingest.instances, is_live);
        let is_in_all = refused.groups() == 0;
        if let Some(routes) = entered {
            self.routes = routes;
        }
        if is_in_all && let Some(extra) = &mut self.extra {
            extra.refused = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_a_line_of_the_cache() {
        assert!(size_of::<Series>() <= 64, "{}", size_of::<Series>());
    }
}
