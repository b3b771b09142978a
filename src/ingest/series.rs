//! A followed series: its counter, and what each increment counts for.

use std::{sync::Arc, time::Duration};

use super::{
    Ingest,
    memory::SeriesMemory,
    outcome::Outcome,
    routes::{Arrival, Refused, Route, RouteSuccession, Routes},
    strangers::Followed,
};
use crate::{
    counter::{Counter, Growth, Observation, Reading},
    histogram::{Histogram, HistogramCounter, HistogramObservation, HistogramReading},
    labels::SeriesKey,
    prompb::Sample,
    sampling::Recorded,
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
    /// Its routes from the next sample on, which more SLOs count that were not in force at the last one.
    joining: Option<Arc<Routes>>,
    /// Where samples are kept, if an expression is over them.
    recorded: Option<Arc<Recorded>>,
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
    pub(super) fn new(Followed { routes, refused, recorded, .. }: Followed, now: Timestamp) -> Self {
        let has_extra = refused.is_some() || recorded.is_some();
        let extra = has_extra.then(|| Box::new(Extra { refused, recorded, ..Extra::default() }));
        Self { counter: Counter::default(), routes, extra, last_arrival: now, replica_epoch: 0 }
    }

    /// A series from before a restart that came again. For SLOs that were not in force at its last sample it begins now.
    pub(super) fn remembered(memory: SeriesMemory, followed: Followed, now: Timestamp) -> Self {
        let SeriesMemory { counter, last_arrival, replica_epoch, extra, .. } = memory;
        let known = followed.routes.continued(last_arrival);
        let Some(known) = known else { return Self::new(followed, now) };
        let all = Arc::clone(&followed.routes);
        let mut series = Self { counter, last_arrival, replica_epoch, ..Self::new(followed, now) };
        let joins = !Arc::ptr_eq(&known, &all);
        if joins || extra.is_some() {
            let known = series.extra.get_or_insert_default();
            known.joining = joins.then_some(all);
            (known.histogram, known.gauge) = extra.map_or_else(Default::default, |extra| *extra);
        }
        series.routes = known;
        series.routes.note_liveness(false, series.is_live());
        series
    }

    /// What is to be remembered of it over a restart.
    pub(super) fn memory(&self, key: SeriesKey) -> SeriesMemory {
        let extra = self.extra.as_ref().filter(|extra| extra.is_worth_remembering());
        SeriesMemory {
            key,
            counter: self.counter,
            last_arrival: self.last_arrival.min(self.joined_until()),
            replica_epoch: self.replica_epoch,
            extra: extra.map(|extra| Box::new((extra.histogram.clone(), extra.gauge))),
        }
    }

    /// Whether any SLO counts its native histograms.
    pub(super) fn is_of_histogram(&self) -> bool {
        let joins = |extra: &Extra| extra.joining.as_ref().is_some_and(|joining| joining.is_of_histogram());
        self.routes.is_of_histogram() || self.extra.as_deref().is_some_and(joins)
    }

    /// Follows a plan to the next. False if nothing is left that counts it.
    pub(super) fn succeed(&mut self, routes: &mut RouteSuccession<'_>) -> bool {
        if let Some(extra) = &mut self.extra {
            extra.joining = extra.joining.take().and_then(|joining| routes.of(&joining));
            extra.refused = extra.refused.take().and_then(|refused| refused.succeed(routes.succession()));
        }
        let Some(next) = routes.of(&self.routes) else { return false };
        self.routes = next;
        true
    }

    /// Gives it the routes that it has in the plan in force, what it has in that already among them.
    pub(super) fn reroute(&mut self, Followed { routes, refused, recorded, .. }: Followed) {
        let joins = routes.beside(&self.routes).next().is_some();
        if joins || refused.is_some() || recorded.is_some() || self.extra.is_some() {
            let extra = self.extra.get_or_insert_default();
            (extra.refused, extra.recorded) = (refused, recorded);
            extra.joining = joins.then(|| Arc::clone(&routes));
        }
        if !joins {
            self.routes = routes;
        }
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
        if let Some(extra) = &self.extra {
            extra.record(at, sample.value);
        }
        let is_handover = self.note_arrival(ingest, moment);
        let was_live = self.is_live();
        let start = (sample.start_ms != 0).then_some(Timestamp(sample.start_ms));
        let reading = Reading { at, value: sample.value, start, is_handover, max_gap: config.max_gap };
        let observation = if self.routes.is_counter() {
            self.counter.observe(reading, || self.routes.born_after(at, config.warm_up))
        } else {
            self.counter.observe_gauge(at, sample.value)
        };
        let arrival = Arrival::new(at, moment.now, config);
        match observation {
            Observation::Increment { from, value, kind: Growth::Born } => {
                self.routes.count(batch, arrival, from, |route| {
                    if route.saw_scrape_before(at) { route.growth_events(value) } else { Counts::ZERO }
                });
            }
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
        let is_behind = matches!(observation, Observation::Increment { kind: Growth::Skew, .. });
        let counts = !matches!(observation, Observation::Rejected(_) | Observation::Stale);
        if counts && self.extra.is_some() {
            self.join(batch, arrival, reading, was_live);
        }
        self.note_liveness(ingest, was_live);
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
        let first = self.is_joining().then(|| reading.clone());
        let routes = &self.routes;
        let observation = self
            .extra
            .get_or_insert_default()
            .histogram
            .observe(reading, || routes.born_after(at, config.warm_up));
        let arrival = Arrival::new(at, moment.now, config);
        match &observation {
            HistogramObservation::Increment { from, growth, kind: Growth::Born } => {
                self.routes.count(batch, arrival, *from, |route| {
                    if route.saw_scrape_before(at) { route.histogram_events(growth) } else { Counts::ZERO }
                });
            }
            HistogramObservation::Increment { from, growth, .. } => {
                self.routes.count(batch, arrival, *from, |route| route.histogram_events(growth));
            }
            HistogramObservation::Baseline(_) => self.routes.count(batch, arrival, at, |_| Counts::ZERO),
            HistogramObservation::Stale | HistogramObservation::Gauge | HistogramObservation::Rejected(_) => {
            }
        }
        let is_behind = matches!(observation, HistogramObservation::Increment { kind: Growth::Skew, .. });
        let counts = !matches!(observation, HistogramObservation::Rejected(_) | HistogramObservation::Stale);
        if let Some(first) = first.filter(|_| counts) {
            self.join_histogram(batch, arrival, at, first, was_live);
        }
        self.note_liveness(ingest, was_live);
        self.note_handover(moment, is_handover && counts && !is_behind);
        (&observation).into()
    }

    /// Before this it has counted for all SLOs in force: for those that it has yet to join it has not, whatever
    /// came of it since.
    fn joined_until(&self) -> Timestamp {
        let joining = self.extra.as_deref().and_then(|extra| extra.joining.as_deref());
        let joining = joining.into_iter().flat_map(|joining| joining.beside(&self.routes));
        let since = joining.map(|route| route.since()).min();
        since.map_or(Timestamp(i64::MAX), |since| since - Duration::from_millis(1))
    }

    fn is_joining(&self) -> bool {
        self.extra.as_deref().is_some_and(|extra| extra.joining.is_some())
    }

    /// Lets in SLOs that have come into force since the last sample. For them the series begins with this one, like
    /// those that nobody had followed: errors that count from one moment on and all events that do from another
    /// would look like an outage.
    #[cold]
    fn join(&mut self, batch: &mut Batch<'_>, arrival: Arrival, reading: Reading, was_live: bool) {
        let (from, growth) = match Counter::default().observe(reading, || None) {
            Observation::Increment { from, value, .. } => (from, value),
            _ => (reading.at, 0.0),
        };
        self.join_with(batch, arrival, was_live, |route| match route.growth_events(growth) {
            Counts::ZERO => (reading.at, route.sample_events(reading.value)),
            events => (from, events),
        });
    }

    #[cold]
    fn join_histogram(
        &mut self,
        batch: &mut Batch<'_>,
        arrival: Arrival,
        at: Timestamp,
        first: HistogramReading,
        was_live: bool,
    ) {
        let observation = HistogramCounter::default().observe(first, || None);
        self.join_with(batch, arrival, was_live, |route| match &observation {
            HistogramObservation::Increment { from, growth, .. } => (*from, route.histogram_events(growth)),
            _ => (at, Counts::ZERO),
        });
    }

    fn join_with(
        &mut self,
        batch: &mut Batch<'_>,
        arrival: Arrival,
        was_live: bool,
        first: impl Fn(&Route) -> (Timestamp, Counts),
    ) {
        let Some(all) = self.extra.as_mut().and_then(|extra| extra.joining.take()) else { return };
        for route in all.beside(&self.routes) {
            let (from, events) = first(route);
            route.count(batch, arrival, from, events);
            if was_live {
                route.note_live_series();
            }
        }
        self.routes = all;
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

    /// Whether it has a last sample and no staleness marker after it.
    #[inline]
    pub(super) fn is_live(&self) -> bool {
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

// === impl Extra ===

impl Extra {
    fn is_worth_remembering(&self) -> bool {
        self.gauge != Counter::default() || !self.histogram.is_new()
    }

    /// Keeps a sample for the expressions that are over it.
    #[inline]
    fn record(&self, at: Timestamp, value: f64) {
        if let Some(recorded) = &self.recorded {
            recorded.record(at, value);
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
