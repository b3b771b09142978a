//! A followed series: its counter, and what each increment counts for.

use std::sync::Arc;

use super::{
    Config,
    routes::{Arrival, Refused, RouteBook, Routes},
};
use crate::{
    counter::{Counter, Observation, Reading},
    matching::Instances,
    prompb::Sample,
    time::Timestamp,
    window::Batch,
};

/// A series that at least one SLO counts. Its labels are not kept: 64 bytes, a line of the cache.
#[derive(Debug)]
pub(super) struct Series {
    counter: Counter,
    routes: Arc<Routes>,
    refused: Option<Box<Refused>>,
    last_arrival: Timestamp,
    /// In which election won the replica that sent the last sample; 0 if there was none.
    replica_epoch: u32,
}

/// What observing a sample needs beside the series, the same for all samples of a request.
#[derive(Debug)]
pub(super) struct Circumstances<'a> {
    pub(super) config: &'a Config,
    pub(super) instances: &'a Instances,
    pub(super) routes: &'a RouteBook,
    /// The time of arrival.
    pub(super) now: Timestamp,
    /// Which replica sends, if one of several does.
    pub(super) replica_epoch: Option<u32>,
}

// === impl Series ===

impl Series {
    /// A series of which nothing has been counted yet.
    pub(super) fn new(routes: Arc<Routes>, refused: Option<Box<Refused>>, now: Timestamp) -> Self {
        Self { counter: Counter::default(), routes, refused, last_arrival: now, replica_epoch: 0 }
    }

    /// Takes a sample, and counts what it adds. Both happen while the caller has the series for itself: a
    /// second copy of the sample finds the counter moved on.
    #[inline]
    pub(super) fn observe(
        &mut self,
        context: &Circumstances<'_>,
        batch: &mut Batch<'_>,
        sample: &Sample,
    ) -> Observation {
        let (config, now, at) = (context.config, context.now, Timestamp(sample.timestamp_ms));
        if self.refused.is_some() {
            self.enter_groups(context);
        }
        self.last_arrival = now;
        let was_live = self.counter.is_live();
        let observation = if self.routes.is_counter() {
            let reading = Reading {
                at,
                value: sample.value,
                start: (sample.start_ms != 0).then_some(Timestamp(sample.start_ms)),
                is_handover: self.note_replica(context.replica_epoch),
                max_gap: config.max_gap,
            };
            self.counter.observe(reading, || self.routes.born_after(at, config.warm_up))
        } else {
            self.counter.observe_gauge(at, sample.value)
        };
        let arrival = Arrival { at, value: sample.value, now, is_late: at < now - config.late_after };
        match observation {
            Observation::Increment { from, value, .. } => self.routes.count(batch, (from, value), arrival),
            Observation::Baseline(_) | Observation::Sample => self.routes.count(batch, (at, 0.0), arrival),
            Observation::Stale | Observation::Rejected(_) => (),
        }
        self.routes.note_liveness(was_live, self.counter.is_live());
        observation
    }

    /// Whether nothing of it has arrived since `oldest`.
    pub(super) fn is_silent_since(&self, oldest: Timestamp) -> bool {
        self.last_arrival < oldest
    }

    /// To be called before it is forgotten.
    pub(super) fn end(&self) {
        self.routes.note_liveness(self.counter.is_live(), false);
    }

    /// Whether another replica has taken over since the last sample.
    fn note_replica(&mut self, epoch: Option<u32>) -> bool {
        epoch.is_some_and(|epoch| std::mem::replace(&mut self.replica_epoch, epoch) != epoch)
    }

    /// Enters groups that were refused, if others have made room since it was last asked for.
    #[cold]
    fn enter_groups(&mut self, context: &Circumstances<'_>) {
        let Some(refused) = &mut self.refused else { return };
        let is_live = self.counter.is_live();
        if let Some(routes) = context.routes.enter_groups(&self.routes, refused, context.instances, is_live) {
            self.routes = routes;
            self.refused = self.refused.take().filter(|refused| refused.groups() > 0);
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
