//! A followed series: its counter, and what each increment counts for.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{Config, Ingest};
use crate::{
    counter::{Counter, Observation},
    labels::Labels,
    matching::{Instance, Instances, Match, Role, Worth},
    time::Timestamp,
    window::{Batch, Counts},
};

/// A series that at least one SLO counts.
#[derive(Debug)]
pub(super) struct Series {
    labels: Labels,
    /// Whether any route reads it as a counter; otherwise it is a gauge.
    is_counter: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counter: Counter,
    routes: Vec<Route>,
    refused: Option<Box<Refused>>,
    last_arrival: Timestamp,
    /// Forgotten by the cache: whoever still holds it must look the series up again.
    is_ended: bool,
}

/// Groups that their SLOs had no room for. All series of a group must enter it together as soon as there
/// is: otherwise its errors, newer than its other series, would open it for themselves alone.
#[derive(Debug)]
struct Refused {
    matches: Vec<Match>,
    /// How many groups had been closed when room was last asked for.
    asked_at: u64,
}

/// A sample on its way in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) value: f64,
    /// The time of its arrival.
    pub(super) now: Timestamp,
}

/// What a series counts for in one SLO instance.
#[derive(Debug)]
struct Route {
    instance: Arc<Instance>,
    worth: Arc<Worth>,
    /// `None` when the labels do not tell where the series was scraped.
    target: Option<Arc<Target>>,
}

/// The scrapes of one target as far as one SLO sees them. Tells whether a new series of it was born
/// since the last scrape or merely never seen.
#[derive(Debug)]
pub(super) struct Target {
    latest_ms: AtomicI64,
    scrapes: Mutex<Option<Scrapes>>,
}

#[derive(Clone, Copy, Debug)]
struct Scrapes {
    first: Timestamp,
    previous: Timestamp,
    latest: Timestamp,
}

/// The targets of every SLO.
#[derive(Debug, Default)]
pub(super) struct Targets(Mutex<HashMap<(usize, Labels), Arc<Target>>>);

// What tells one target from another. A series must at least have `instance`.
const TARGET_LABELS: [&str; 3] = ["cluster", "instance", "job"];

// Prometheus' lookback: a target silent for longer may have been away, and its series are not new.
const SCRAPE_GAP_MAX: Duration = Duration::from_secs(300);

// === impl Series ===

impl Series {
    /// A series and how many of its groups were not opened because their SLO has too many.
    pub(super) fn new(
        labels: Labels,
        matches: Vec<Match>,
        instances: &Instances,
        targets: &Targets,
        now: Timestamp,
    ) -> (Self, u64) {
        let asked_at = instances.closed();
        let (mut routes, mut refused) = (Vec::new(), Vec::new());
        for found in matches {
            let open = instances.of_group(found.slo, &found.group);
            let is_refused = matches!(open.as_slice(), [only] if only.role == Role::RollUp);
            let (worth, target) = (Arc::new(found.worth.clone()), targets.of_series(found.slo, &labels));
            routes.extend(open.into_iter().map(|instance| {
                let (worth, target) = (Arc::clone(&worth), target.clone());
                Route { instance, worth, target }
            }));
            refused.extend(is_refused.then_some(found));
        }
        let is_counter = routes.iter().any(|route| route.worth.growth != Counts::ZERO);
        let refusals = refused.len() as u64;
        let refused = (refusals > 0).then(|| Box::new(Refused { matches: refused, asked_at }));
        let counter = Counter::default();
        let state = State { counter, routes, refused, last_arrival: now, is_ended: false };
        (Self { labels, is_counter, state: Mutex::new(state) }, refusals)
    }

    pub(super) fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Takes a sample, and counts what it adds. Both happen under the series' lock: a second copy of the
    /// sample finds the counter moved on. `None` if the series has been forgotten.
    pub(super) fn observe(
        &self,
        ingest: &Ingest,
        batch: &mut Batch<'_>,
        arrival: Arrival,
    ) -> Option<Observation> {
        let mut state = self.state.lock();
        if state.is_ended {
            return None;
        }
        state.last_arrival = arrival.now;
        if state.refused.is_some() {
            state.enter_groups(ingest, &self.labels);
        }
        let State { counter, routes, .. } = &mut *state;
        let (config, was_live) = (&ingest.config, counter.is_live());
        let observation = if self.is_counter {
            let born_after = || born_after(routes, arrival.at, config.warm_up);
            counter.observe(arrival.at, arrival.value, born_after, config.max_gap)
        } else {
            counter.observe_gauge(arrival.at, arrival.value)
        };
        match observation {
            Observation::Increment { from, value, .. } => {
                count(routes, config, batch, (from, value), arrival)
            }
            Observation::Baseline(_) | Observation::Sample => {
                count(routes, config, batch, (arrival.at, 0.0), arrival);
            }
            Observation::Stale | Observation::Rejected(_) => (),
        }
        note_liveness(routes, was_live, counter.is_live());
        Some(observation)
    }

    /// Ends the series if nothing of it has arrived since `oldest`. True if it has ended.
    pub(super) fn end_if_silent_since(&self, oldest: Timestamp) -> bool {
        let mut state = self.state.lock();
        if state.last_arrival < oldest && !state.is_ended {
            state.is_ended = true;
            note_liveness(&state.routes, state.counter.is_live(), false);
        }
        state.is_ended
    }

    pub(super) fn is_ended(&self) -> bool {
        self.state.lock().is_ended
    }
}

/// Counts growth since a time.
fn count(
    routes: &[Route],
    config: &Config,
    batch: &mut Batch<'_>,
    growth: (Timestamp, f64),
    arrival: Arrival,
) {
    let is_late = arrival.at < arrival.now - config.late_after;
    for route in routes {
        if is_late {
            route.instance.note_late_arrival(arrival.now);
        }
        route.count(batch, growth, arrival);
    }
}

fn note_liveness(routes: &[Route], was_live: bool, is_live: bool) {
    if was_live != is_live {
        for route in routes {
            route.instance.note_live_series(if is_live { 1 } else { -1 });
        }
    }
}

/// A moment at which the series is known not to have existed: every SLO it counts for had followed its
/// target for a while, and saw it scraped shortly before without this series.
fn born_after(routes: &[Route], at: Timestamp, warm_up: Duration) -> Option<Timestamp> {
    let scrapes = routes.iter().map(|route| route.target.as_ref()?.scraped_before(at, warm_up));
    scrapes.collect::<Option<Vec<_>>>()?.into_iter().max()
}

// === impl State ===

impl State {
    /// Enters groups that were refused, if others have made room since it was last asked for.
    fn enter_groups(&mut self, ingest: &Ingest, labels: &Labels) {
        let closed = ingest.instances.closed();
        let Some(mut refused) = self.refused.take_if(|refused| refused.asked_at != closed) else { return };
        refused.asked_at = closed;
        refused.matches.retain(|Match { slo, worth, group }| {
            let Some(instance) = ingest.instances.group(*slo, group) else { return true };
            instance.note_live_series(i64::from(self.counter.is_live()));
            let target = ingest.targets.of_series(*slo, labels);
            self.routes.push(Route { instance, worth: Arc::new(worth.clone()), target });
            false
        });
        self.refused = Some(refused).filter(|refused| !refused.matches.is_empty());
    }
}

// === impl Route ===

impl Route {
    fn count(&self, batch: &mut Batch<'_>, (from, growth): (Timestamp, f64), arrival: Arrival) {
        let (sli, at) = (self.instance.sli, arrival.at);
        if let Some(target) = &self.target {
            target.note_scrape(at);
        }
        if let Some(unseen_since) = self.instance.note_sample(at) {
            batch.note_unseen(sli, unseen_since.0, at.0);
        }
        let events = self.worth.events(growth, arrival.value);
        if events != Counts::ZERO {
            self.instance.add(batch, from, at, events);
        }
    }
}

// === impl Target ===

impl Target {
    fn note_scrape(&self, at: Timestamp) {
        // Relaxed: only spares the lock for the other series of a scrape.
        if self.latest_ms.load(Ordering::Relaxed) == at.0 {
            return;
        }
        let mut scrapes = self.scrapes.lock();
        let next = match *scrapes {
            None => Scrapes { first: at, previous: at, latest: at },
            Some(seen) if at > seen.latest => Scrapes { previous: seen.latest, latest: at, ..seen },
            Some(seen) => seen,
        };
        *scrapes = Some(next);
        self.latest_ms.store(next.latest.0, Ordering::Relaxed);
    }

    /// The last scrape before `at`, if it is recent and the target had been followed for a while by then.
    fn scraped_before(&self, at: Timestamp, warm_up: Duration) -> Option<Timestamp> {
        let Scrapes { first, previous, latest } = (*self.scrapes.lock())?;
        let before = if latest < at { latest } else { previous };
        let is_recent = before < at && at.since(before) <= SCRAPE_GAP_MAX;
        (is_recent && before >= first + warm_up).then_some(before)
    }
}

// === impl Targets ===

impl Targets {
    fn of_series(&self, slo: usize, labels: &Labels) -> Option<Arc<Target>> {
        if labels.get("instance").is_empty() {
            return None;
        }
        let key = (slo, labels.keep(&TARGET_LABELS.map(str::to_owned)));
        let new = || Target { latest_ms: AtomicI64::new(i64::MIN), scrapes: Mutex::default() };
        Some(Arc::clone(self.0.lock().entry(key).or_insert_with(|| Arc::new(new()))))
    }

    /// Forgets targets that no series belongs to any more.
    pub(super) fn forget_unused(&self) {
        self.0.lock().retain(|_, target| Arc::strong_count(target) > 1);
    }
}
