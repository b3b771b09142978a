//! What the increments of a series count for: its share in the instances of SLOs.
//!
//! Most series of a target count for the same: they share their routes, which are found by what makes
//! them so. And the scrapes of a target tell whether a new series of it was born since the last one.

use std::{
    collections::hash_map::Entry,
    mem,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use foldhash::HashMap;
use parking_lot::Mutex;
use smallvec::SmallVec;

use super::{
    Config,
    memory::{Scrapes, TargetMemory},
};
use crate::{
    histogram::Distribution,
    labels::{LabelSet, Labels, LabelsRef},
    matching::{Instance, Instances, Match, Plan, Role, Succession, TermId, Worth},
    time::Timestamp,
    window::{Batch, Counts},
};

/// What a series counts for.
#[derive(Debug)]
pub(super) struct Routes {
    /// One; two in a grouped SLO. Here and not behind a pointer, for this is read with every sample.
    routes: SmallVec<[Route; 2]>,
    /// Whether any of them reads the series as a counter; otherwise it is a gauge.
    is_counter: bool,
    /// Whether some of them read it as a gauge although others read it as a counter.
    is_mixed: bool,
    /// Whether any of them reads native histograms.
    is_of_histogram: bool,
    /// Whether any of them keeps samples for an expression.
    is_sampled: bool,
}

/// What a series counts for in one SLO instance.
#[derive(Clone, Debug)]
pub(super) struct Route {
    instance: Arc<Instance>,
    /// What the growth of a counter is worth; of `worth`, and here because nearly every sample asks for it.
    growth: Counts,
    worth: Arc<Worth>,
    /// `None` when the labels do not tell where the series was scraped.
    target: Option<Arc<Target>>,
}

/// The routes found last: most series of a target come one after the other.
#[derive(Debug, Default)]
pub(super) struct LastRoutes {
    key: Vec<u8>,
    next_key: Vec<u8>,
    routes: Option<Arc<Routes>>,
}

/// Groups that their SLOs had no room for. All series of a group must enter it together as soon as there
/// is: otherwise its errors, newer than its other series, would open it for themselves alone.
#[derive(Debug)]
pub(super) struct Refused {
    matches: Vec<Match>,
    /// Where the series is scraped.
    scraped: Labels,
    /// How many groups had been closed when room was last asked for.
    asked_at: u64,
    /// Of the plan that the matches are of.
    generation: u64,
}

/// The routes of series once another plan is in force. Series that share theirs go on sharing them.
#[derive(Debug)]
pub(super) struct RouteSuccession<'a> {
    succession: &'a Succession,
    /// By the address of the routes before, which lives as long as they do.
    known: HashMap<usize, (Arc<Routes>, Option<Arc<Routes>>)>,
}

/// A sample on its way in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    at: Timestamp,
    /// The time of its arrival.
    now: Timestamp,
    /// It arrived much later than its time.
    is_late: bool,
}

/// The routes of all series, by what makes them the same.
#[derive(Debug, Default)]
pub(super) struct RouteBook {
    known: Mutex<HashMap<Box<[u8]>, Arc<Routes>>>,
    targets: Mutex<Targets>,
}

/// The targets of each SLO of a plan, by its place there.
#[derive(Debug, Default)]
struct Targets {
    generation: u64,
    known: HashMap<(usize, Labels), Arc<Target>>,
}

/// The scrapes of one target as far as one SLO sees them. Tells whether a new series of it was born
/// since the last scrape or merely never seen.
#[derive(Debug)]
struct Target {
    latest_ms: AtomicI64,
    scrapes: Mutex<Option<Scrapes>>,
}

// What tells one target from another. A series must at least have `instance`.
const TARGET_LABELS: [&str; 3] = ["cluster", "instance", "job"];

// No byte of UTF-8.
const SEPARATOR: u8 = 0xff;

// Prometheus' lookback: a target silent for longer may have been away, and its series are not new.
const SCRAPE_GAP_MAX: Duration = Duration::from_secs(300);

// === impl Arrival ===

impl Arrival {
    #[inline]
    pub(super) fn new(at: Timestamp, now: Timestamp, config: &Config) -> Self {
        Self { at, now, is_late: at < now - config.late_after }
    }
}

// === impl Routes ===

impl Routes {
    fn new(routes: SmallVec<[Route; 2]>) -> Self {
        let is_counter = routes.iter().any(|route| route.worth.growth != Counts::ZERO);
        let is_mixed = is_counter && routes.iter().any(|route| route.worth.is_of_gauge());
        let is_of_histogram = routes.iter().any(|route| route.worth.is_of_histogram());
        let is_sampled = routes.iter().any(|route| route.worth.is_sampled);
        Self { routes, is_counter, is_mixed, is_of_histogram, is_sampled }
    }

    pub(super) fn is_counter(&self) -> bool {
        self.is_counter
    }

    pub(super) fn is_mixed(&self) -> bool {
        self.is_mixed
    }

    pub(super) fn is_of_histogram(&self) -> bool {
        self.is_of_histogram
    }

    pub(super) fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// Counts the events since a time, which are to be told for each route.
    #[inline]
    pub(super) fn count(
        &self,
        batch: &mut Batch<'_>,
        arrival: Arrival,
        from: Timestamp,
        events: impl Fn(&Route) -> Counts,
    ) {
        for route in &self.routes {
            route.count(batch, arrival, from, events(route));
        }
    }

    /// Notes that the series came alive, or ended.
    pub(super) fn note_liveness(&self, was_live: bool, is_live: bool) {
        if was_live != is_live {
            for route in &self.routes {
                route.instance.note_live_series(if is_live { 1 } else { -1 });
            }
        }
    }

    /// A moment at which the series is known not to have existed: an SLO it counts for had followed its
    /// target for a while, and saw it scraped shortly before without this series.
    pub(super) fn born_after(&self, at: Timestamp, warm_up: Duration) -> Option<Timestamp> {
        let targets = self.routes.iter().filter_map(|route| route.target.as_ref());
        targets.filter_map(|target| target.scraped_before(at, warm_up)).max()
    }

    /// The routes that do not lead where others do.
    pub(super) fn beside<'r>(&'r self, others: &Self) -> impl Iterator<Item = &'r Route> {
        let is_other =
            |route: &&Route| others.routes.iter().all(|other| other.instance.sli != route.instance.sli);
        self.routes.iter().filter(is_other)
    }

    /// Those of SLOs that go on with what they counted before a restart of a series whose last sample came then;
    /// `None` if there are none.
    pub(super) fn continued(self: &Arc<Self>, last_arrival: Timestamp) -> Option<Arc<Self>> {
        let continued = |route: &&Route| route.instance.continues(last_arrival);
        match self.routes.iter().filter(continued).count() {
            0 => None,
            all if all == self.routes.len() => Some(Arc::clone(self)),
            _ => Some(Arc::new(Self::new(self.routes.iter().filter(continued).cloned().collect()))),
        }
    }

    /// Takes back what is known of the targets: their scrapes held series that nobody took note of.
    pub(super) fn start_over(&self) {
        self.routes.iter().filter_map(|route| route.target.as_ref()).for_each(|target| target.start_over());
    }
}

// === impl Route ===

impl Route {
    fn new(instance: Arc<Instance>, worth: &Arc<Worth>, target: Option<Arc<Target>>) -> Self {
        Self { instance, growth: worth.growth, worth: Arc::clone(worth), target }
    }

    /// The events of the growth of a counter.
    #[inline]
    pub(super) fn growth_events(&self, growth: f64) -> Counts {
        self.growth * growth
    }

    /// The events of a sample of a gauge.
    pub(super) fn sample_events(&self, value: f64) -> Counts {
        self.worth.sample_events(value)
    }

    /// The events of what a native histogram gained.
    pub(super) fn histogram_events(&self, growth: &Distribution) -> Counts {
        self.worth.histogram_events(growth)
    }

    /// Whether its SLO had seen the target scraped shortly before: then it has counted the other series of the
    /// target since.
    pub(super) fn saw_scrape_before(&self, at: Timestamp) -> bool {
        self.target.as_ref().is_some_and(|target| target.scraped_before(at, Duration::ZERO).is_some())
    }

    /// When its SLO came into force.
    pub(super) fn since(&self) -> Timestamp {
        self.instance.since
    }

    /// Notes a series that was alive before it counted here.
    pub(super) fn note_live_series(&self) {
        self.instance.note_live_series(1);
    }

    #[inline]
    pub(super) fn count(&self, batch: &mut Batch<'_>, arrival: Arrival, from: Timestamp, events: Counts) {
        let (sli, at) = (self.instance.sli, arrival.at);
        if arrival.is_late {
            self.instance.note_late_arrival(arrival.now);
        }
        if let Some(target) = &self.target {
            target.note_scrape(at);
        }
        if let Some(unseen_since) = self.instance.note_sample(at) {
            batch.note_unseen(sli, unseen_since.0, at.0);
        }
        if events != Counts::ZERO {
            self.instance.add(batch, from, at, events);
        }
    }
}

// === impl RouteBook ===

impl RouteBook {
    /// The routes of a series that these terms select, and the groups that were not opened for it because
    /// their SLO has too many. `None` if its shares cancel out.
    pub(super) fn routes_of(
        &self,
        plan: &Plan,
        terms: &[TermId],
        labels: LabelsRef<'_>,
        instances: &Instances,
        last: &mut LastRoutes,
    ) -> Option<(Arc<Routes>, Option<Refused>)> {
        write_key(plan, terms, labels, &mut last.next_key);
        if last.key != last.next_key {
            mem::swap(&mut last.key, &mut last.next_key);
            last.routes = self.known.lock().get(&*last.key).cloned();
        }
        if let Some(routes) = &last.routes {
            return Some((Arc::clone(routes), None));
        }
        let (asked_at, generation) = (instances.closed(), plan.generation());
        let scraped = labels.keep(&TARGET_LABELS.map(str::to_owned));
        let (mut routes, mut matches) = (SmallVec::new(), Vec::new());
        for found in plan.matches(terms, labels) {
            // What group a sample belongs to is known when it is evaluated.
            let open = if found.worth.is_sampled {
                Vec::from_iter(instances.of_all(generation, found.slo))
            } else {
                instances.of_group(generation, found.slo, &found.group)
            };
            let is_grouped = matches!(open.as_slice(), [only] if only.role == Role::RollUp);
            let is_refused = is_grouped && !found.worth.is_sampled;
            let worth = Arc::new(found.worth.clone());
            routes.extend(
                open.into_iter()
                    .map(|instance| self.route(generation, instance, &worth, found.slo, &scraped)),
            );
            matches.extend(is_refused.then_some(found));
        }
        if routes.is_empty() {
            return None;
        }
        let routes = Arc::new(Routes::new(routes));
        if matches.is_empty() {
            self.known.lock().insert(last.key.as_slice().into(), Arc::clone(&routes));
            last.routes = Some(Arc::clone(&routes));
            return Some((routes, None));
        }
        Some((routes, Some(Refused { matches, scraped, asked_at, generation })))
    }

    /// The routes of a series with those of groups that had refused it, and now have room. `None` if there
    /// are none; they are asked only after somebody has made room.
    pub(super) fn enter_groups(
        &self,
        routes: &Routes,
        refused: &mut Refused,
        instances: &Instances,
        is_live: bool,
    ) -> Option<Arc<Routes>> {
        let closed = instances.closed();
        if mem::replace(&mut refused.asked_at, closed) == closed {
            return None;
        }
        let mut all = routes.routes.clone();
        let generation = refused.generation;
        refused.matches.retain(|Match { slo, worth, group }| {
            let Some(instance) = instances.group(generation, *slo, group) else { return true };
            instance.note_live_series(i64::from(is_live));
            all.push(self.route(generation, instance, &Arc::new(worth.clone()), *slo, &refused.scraped));
            false
        });
        (all.len() > routes.routes.len()).then(|| Arc::new(Routes::new(all)))
    }

    /// Follows a plan to the next: series that are met from now on find routes of that.
    pub(super) fn succeed(&self, succession: &Succession) {
        self.known.lock().clear();
        let mut targets = self.targets.lock();
        let known = mem::take(&mut targets.known).into_iter();
        let place = |(slo, scraped): (usize, Labels)| succession.places[slo].map(|place| (place, scraped));
        let known = known.filter_map(|(key, target)| Some((place(key)?, target))).collect();
        *targets = Targets { generation: succession.generation, known };
    }

    /// Forgets routes that no series uses any more, and targets that were last scraped before `oldest`, too.
    pub(super) fn forget_unused(&self, oldest: Timestamp) {
        self.known.lock().retain(|_, routes| Arc::strong_count(routes) > 1);
        // After a restart it takes a while until the series of a target are there again.
        let is_kept = |target: &Arc<Target>| Arc::strong_count(target) > 1 || target.is_scraped_since(oldest);
        self.targets.lock().known.retain(|_, target| is_kept(target));
    }

    /// What is to be remembered of targets.
    pub(super) fn target_memories(&self) -> Vec<TargetMemory> {
        let targets = self.targets.lock();
        let memory = |((slo, labels), target): (&(usize, Labels), &Arc<Target>)| {
            let scrapes = (*target.scrapes.lock())?;
            Some(TargetMemory { slo: *slo, labels: labels.clone(), scrapes })
        };
        targets.known.iter().filter_map(memory).collect()
    }

    /// Goes on with what was known of targets before a restart, by the places of their SLOs in this plan.
    pub(super) fn remember_targets(&self, generation: u64, memories: Vec<TargetMemory>) {
        *self.targets.lock() = Targets { generation, known: HashMap::default() };
        self.adopt_targets(generation, memories);
    }

    /// Takes over what was known of targets elsewhere, unless they are known here.
    pub(super) fn adopt_targets(&self, generation: u64, memories: Vec<TargetMemory>) {
        let mut targets = self.targets.lock();
        if targets.generation != generation {
            return;
        }
        for TargetMemory { slo, labels, scrapes } in memories {
            let latest_ms = AtomicI64::new(scrapes.latest.0);
            let target = || Arc::new(Target { latest_ms, scrapes: Mutex::new(Some(scrapes)) });
            targets.known.entry((slo, labels)).or_insert_with(target);
        }
    }

    fn route(
        &self,
        generation: u64,
        instance: Arc<Instance>,
        worth: &Arc<Worth>,
        slo: usize,
        scraped: &Labels,
    ) -> Route {
        Route::new(instance, worth, self.target(generation, slo, scraped))
    }

    /// One for itself if the plan is not in force any more: then nobody will follow these routes.
    fn target(&self, generation: u64, slo: usize, scraped: &Labels) -> Option<Arc<Target>> {
        if scraped.get("instance").is_empty() {
            return None;
        }
        let new = || Target { latest_ms: AtomicI64::new(i64::MIN), scrapes: Mutex::default() };
        let mut targets = self.targets.lock();
        if targets.generation != generation {
            return Some(Arc::new(new()));
        }
        Some(Arc::clone(targets.known.entry((slo, scraped.clone())).or_insert_with(|| Arc::new(new()))))
    }
}

/// Series with the same key have the same routes: the same terms select them, and they agree in the
/// labels that make their groups and their target. Of one plan, since terms are.
fn write_key(plan: &Plan, terms: &[TermId], labels: LabelsRef<'_>, key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(&plan.generation().to_le_bytes());
    let push_value = |key: &mut Vec<u8>, name: &str| {
        key.extend_from_slice(labels.get(name).as_bytes());
        key.push(SEPARATOR);
    };
    TARGET_LABELS.iter().for_each(|name| push_value(key, name));
    for term in terms {
        key.extend_from_slice(&term.0.to_le_bytes());
        plan.write_key(*term, labels, key);
    }
}

// === impl Refused ===

impl Refused {
    /// How many groups the series is not in.
    pub(super) fn groups(&self) -> usize {
        self.matches.len()
    }

    /// The same in the next plan; `None` if nothing is left of it.
    pub(super) fn succeed(self, succession: &Succession) -> Option<Self> {
        let place = |found: Match| Some(Match { slo: succession.places[found.slo]?, ..found });
        let matches: Vec<Match> = self.matches.into_iter().filter_map(place).collect();
        (!matches.is_empty()).then_some(Self { matches, generation: succession.generation, ..self })
    }
}

// === impl RouteSuccession ===

impl<'a> RouteSuccession<'a> {
    pub(super) fn new(succession: &'a Succession) -> Self {
        Self { succession, known: HashMap::default() }
    }

    pub(super) fn succession(&self) -> &'a Succession {
        self.succession
    }

    /// What is left of routes; `None` if nothing is.
    pub(super) fn of(&mut self, routes: &Arc<Routes>) -> Option<Arc<Routes>> {
        match self.known.entry(Arc::as_ptr(routes) as usize) {
            Entry::Occupied(known) => known.get().1.clone(),
            Entry::Vacant(vacant) => {
                let next = |route: &Route| {
                    let instance = Arc::clone(self.succession.instances.get(&route.instance.sli)?);
                    Some(Route { instance, ..route.clone() })
                };
                let left: SmallVec<[Route; 2]> = routes.routes.iter().filter_map(next).collect();
                let left = (!left.is_empty()).then(|| Arc::new(Routes::new(left)));
                vacant.insert((Arc::clone(routes), left)).1.clone()
            }
        }
    }
}

// === impl Target ===

impl Target {
    #[inline]
    fn note_scrape(&self, at: Timestamp) {
        // Relaxed: only spares the lock for the other series of a scrape, and for other shards that lag.
        if self.latest_ms.load(Ordering::Relaxed) < at.0 {
            self.note_next_scrape(at);
        }
    }

    #[cold]
    fn note_next_scrape(&self, at: Timestamp) {
        let mut scrapes = self.scrapes.lock();
        let next = match *scrapes {
            None => Scrapes { first: at, previous: at, latest: at },
            Some(seen) if at > seen.latest => Scrapes { previous: seen.latest, latest: at, ..seen },
            Some(seen) => seen,
        };
        *scrapes = Some(next);
        self.latest_ms.store(next.latest.0, Ordering::Relaxed);
    }

    fn is_scraped_since(&self, oldest: Timestamp) -> bool {
        self.latest_ms.load(Ordering::Relaxed) >= oldest.0
    }

    fn start_over(&self) {
        let mut scrapes = self.scrapes.lock();
        *scrapes = None;
        self.latest_ms.store(i64::MIN, Ordering::Relaxed);
    }

    /// The last scrape before `at`, if it is recent and the target had been followed for a while by then.
    fn scraped_before(&self, at: Timestamp, warm_up: Duration) -> Option<Timestamp> {
        let Scrapes { first, previous, latest } = (*self.scrapes.lock())?;
        let before = if latest < at { latest } else { previous };
        let is_recent = before < at && at.since(before) <= SCRAPE_GAP_MAX;
        (is_recent && before >= first + warm_up).then_some(before)
    }
}
