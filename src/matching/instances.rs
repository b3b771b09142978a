//! The instances of the SLOs in force: one per SLO, or one per group of a grouped one and their roll-up.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering, fence},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Plan,
    presence::{PresenceRef, Presences},
};
use crate::{
    labels::Labels,
    slo::Slo,
    time::{Timestamp, millis},
    window::{Batch, Counts, Layout, SliId, Windows},
};

/// One SLO, one group of it, or all its groups together, with a budget of its own.
#[derive(Debug)]
pub struct Instance {
    /// The SLO's place in the plan.
    pub slo_index: usize,
    /// The SLO.
    pub slo: Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping and for a roll-up.
    pub group: Labels,
    /// Which part of the SLO it is.
    pub role: Role,
    /// Where its events are counted.
    pub sli: SliId,
    /// Its windows.
    pub layout: Arc<Layout>,
    /// When its SLO came into force.
    pub since: Timestamp,
    /// Whether it goes on with what it counted before a restart.
    pub is_continued: bool,
    /// Events up to here are not counted as they come: they are filled in from history. In milliseconds; changes
    /// only before the first request.
    begins_at_ms: AtomicI64,
    /// Up to here events had been counted before that; `i64::MIN` if none had.
    counted_to_ms: AtomicI64,
    spread_above_ms: i64,
    slices_cut_steps: bool,
    presence: PresenceRef,
}

/// Which part of an SLO an instance is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// All of an SLO without grouping.
    Whole,
    /// All groups of a grouped SLO, also those beyond the limit.
    RollUp,
    /// One group.
    Group,
}

/// All instances at one moment.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// The plan they are of.
    pub plan: Arc<Plan>,
    /// By SLO: from when on its events count as they come.
    pub beginnings: Vec<Beginning>,
    /// In the order of their numbers.
    pub instances: Vec<Arc<Instance>>,
    /// Another one whenever an instance has come or gone.
    pub version: u64,
}

/// From when on an SLO counts events as they come. What happened before is filled in from history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// When the SLO came into force: series whose last sample came earlier have not counted for it.
    pub since: Timestamp,
    /// Up to here events have been counted already: none, if the SLO is new.
    pub from: Timestamp,
    /// Up to here they are filled in.
    pub at: Timestamp,
    /// Whether that is done, or need not be.
    pub is_filled: bool,
}

/// An instance from before a restart whose SLO goes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Where its events are counted.
    pub sli: SliId,
    /// The SLO's place in the plan.
    pub slo_index: usize,
    /// Which part of the SLO it is.
    pub role: Role,
    /// The labels of its group.
    pub group: Labels,
}

/// Every instance there is. New ones are rare, so a lock guards them; no sample takes it.
#[derive(Debug)]
pub struct Instances {
    groups_per_slo_max: usize,
    inner: Mutex<Inner>,
    closed: AtomicU64,
}

/// What the tick has not heard of yet.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// Instances there were not.
    pub opened: Vec<Arc<Instance>>,
    /// Instances that take the place of those with the same number, in this order.
    pub replaced: Vec<Arc<Instance>>,
    /// The numbers of those whose SLO is not in force any more, to be [released](Instances::release).
    pub removed: Vec<SliId>,
    /// The presences of all instances.
    pub presences: Presences,
}

/// How the instances of a plan follow those of the plan before.
#[derive(Clone, Debug, Default)]
pub struct Succession {
    /// The plan's number.
    pub generation: u64,
    /// By number: who takes the place of an instance.
    pub instances: HashMap<SliId, Arc<Instance>>,
    /// By the place of an SLO in the plan before.
    pub places: Vec<Option<usize>>,
    /// Whether some SLOs take nobody's place, so that any series may count for them.
    pub has_new: bool,
}

#[derive(Debug, Default)]
struct Inner {
    plan: Arc<Plan>,
    known: HashMap<(usize, Role, Labels), Arc<Instance>>,
    /// By SLO.
    groups: Vec<Groups>,
    /// By SLO: from when on its events count as they come.
    beginnings: Vec<Beginning>,
    /// What the tick has not heard of yet; without the presences.
    changes: Changes,
    presences: Presences,
    /// SLI numbers given out so far, and those among them that are free again.
    numbers: usize,
    free: Vec<SliId>,
    /// How often an instance came or went.
    version: u64,
}

#[derive(Clone, Debug, Default)]
struct Groups {
    open: usize,
    was_refused: bool,
}

// A sample that closes a longer interval than this part of the shortest window stands for a gap, and its
// events are spread over it, so that a catch-up is no spike. The shortest window should span at least
// four scrapes, so that ordinary intervals stay below.
const SPREAD_ABOVE_PART: i64 = 4;
// For an SLO without rolling windows: Prometheus' lookback.
const SHORTEST_WINDOW: Duration = Duration::from_secs(300);

// === impl Instances ===

impl Instances {
    /// The instances of ungrouped SLOs and the roll-ups of grouped ones; groups follow as their series
    /// appear.
    pub fn new(plan: Arc<Plan>, groups_per_slo_max: usize) -> Self {
        Self::continued(plan, groups_per_slo_max, Vec::new(), &HashMap::new()).0
    }

    /// As [`new`](Self::new), with instances from before a restart, which keep their numbers. One that cannot be
    /// here, because its number is taken or its SLO has no such part, is left out. Returns the numbers of those that
    /// are here as well. `beginnings` are those of SLOs that have been there before.
    pub fn continued(
        plan: Arc<Plan>,
        groups_per_slo_max: usize,
        mut known: Vec<Known>,
        beginnings: &HashMap<usize, Beginning>,
    ) -> (Self, HashSet<SliId>) {
        known.sort_by_key(|known| known.sli);
        let groups = vec![Groups::default(); plan.slos().len()];
        let known_beginning = |place| beginnings.get(&place).copied();
        let beginning = |place| known_beginning(place).unwrap_or_else(|| Beginning::of(&plan, place));
        let beginnings = (0..plan.slos().len()).map(beginning).collect();
        let mut inner = Inner { plan, groups, beginnings, ..Inner::default() };
        let numbers = known.into_iter().filter_map(|known| inner.open_known(known)).collect();
        let instances = Self { groups_per_slo_max, inner: Mutex::new(inner), closed: AtomicU64::new(0) };
        instances.open_all();
        (instances, numbers)
    }

    /// All there are, in the order of their numbers.
    pub fn directory(&self) -> Directory {
        let inner = self.inner.lock();
        let mut instances: Vec<Arc<Instance>> = inner.known.values().cloned().collect();
        instances.sort_unstable_by_key(|instance| instance.sli);
        let (plan, beginnings) = (Arc::clone(&inner.plan), inner.beginnings.clone());
        Directory { plan, beginnings, instances, version: inner.version }
    }

    /// The SLOs that wait for their history or waited for it, with their beginnings.
    pub fn begun(&self) -> Vec<(Arc<Slo>, Beginning)> {
        let inner = self.inner.lock();
        let all = inner.plan.slos().zip(&inner.beginnings);
        let begun = all.filter(|(_, beginning)| beginning.at != Beginning::EVER.at);
        begun.map(|(slo, beginning)| (Arc::clone(slo), *beginning)).collect()
    }

    /// The SLOs whose history is to be filled in, with their beginnings.
    pub fn unfilled(&self) -> Vec<(Arc<Slo>, Beginning)> {
        let mut begun = self.begun();
        begun.retain(|(_, beginning)| !beginning.is_filled);
        begun
    }

    /// The place of an SLO whose history is to be filled in up to this beginning still, and the plan's number.
    pub fn unfilled_place(&self, slo: &Slo, beginning: Beginning) -> Option<(u64, usize)> {
        let inner = self.inner.lock();
        let place = inner.plan.slos().position(|known| known.has_history_of(slo))?;
        (inner.beginnings[place] == beginning).then(|| (inner.plan.generation(), place))
    }

    /// Has all SLOs that had history begin again, after a time in which nothing could be counted. To be called before
    /// the first request. Those that wait for history already wait for more of it, or, if they have begun, for that
    /// alone: they keep the hole.
    pub fn begin_again(&self, beginning: Beginning) {
        let inner = &mut *self.inner.lock();
        for (place, known) in inner.beginnings.iter_mut().enumerate() {
            let has_history = Beginning::of(&inner.plan, place).at != Beginning::EVER.at;
            if known.is_filled && has_history {
                *known = Beginning { since: known.since, ..beginning };
            } else if !known.is_filled && beginning.from <= known.at {
                known.at = beginning.at;
            }
        }
        let Inner { known, beginnings, .. } = inner;
        known.values().for_each(|instance| {
            let known = &mut beginnings[instance.slo_index];
            // A sender's clock may be ahead: what it sent has counted.
            if known.from != Timestamp(i64::MIN)
                && let Some(last) = instance.last_sample()
            {
                known.from = known.from.max(last);
            }
        });
        known.values().for_each(|instance| instance.begin(beginnings[instance.slo_index]));
        inner.version += 1;
    }

    /// Has an SLO begin at another time. Nobody may count meanwhile.
    pub fn begin_at(&self, place: usize, beginning: Beginning) {
        let inner = &mut *self.inner.lock();
        inner.beginnings[place] = beginning;
        let own = inner.known.values().filter(|instance| instance.slo_index == place);
        own.for_each(|instance| instance.begin(beginning));
        inner.version += 1;
    }

    /// Notes that the history of an SLO has been filled in.
    pub fn note_filled(&self, place: usize) {
        let inner = &mut *self.inner.lock();
        inner.beginnings[place].is_filled = true;
        inner.version += 1;
    }

    /// The SLOs these are instances of.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.inner.lock().plan)
    }

    /// Puts another plan in force. Where an SLO goes on with the history of one before, its instances keep their
    /// numbers and presences; the instances of all others are closed. Nobody may count for any instance meanwhile,
    /// and afterwards only for those that are in force.
    pub fn install(&self, plan: Plan) -> Succession {
        let succession = self.inner.lock().succeed(plan);
        // There may be room for groups that were refused.
        self.closed.fetch_add(1, Ordering::Relaxed);
        self.open_all();
        succession
    }

    fn open_all(&self) {
        let plan = self.plan();
        for index in 0..plan.slos().len() {
            // More SLOs than there can be SLIs are seen in the number of instances published.
            let _ = self.of_all(plan.generation(), index);
        }
    }

    /// Where the events of a series of this group count: in the SLO, or in its group and the roll-up. In the
    /// roll-up alone where the SLO has as many groups as it may. Nowhere if the place of the SLO is that of a plan
    /// which is not in force any more.
    pub fn of_group(&self, generation: u64, slo_index: usize, group: &Labels) -> Vec<Arc<Instance>> {
        let all = self.of_all(generation, slo_index);
        let is_grouped = all.as_ref().is_some_and(|all| all.role == Role::RollUp);
        let group = is_grouped.then(|| self.group(generation, slo_index, group)).flatten();
        group.into_iter().chain(all).collect()
    }

    /// The instance of a group, opened if there is none yet and the SLO has room for it.
    pub fn group(&self, generation: u64, slo_index: usize, group: &Labels) -> Option<Arc<Instance>> {
        self.find_or_open(generation, slo_index, Some(group))
    }

    /// The instance that counts every series of the SLO.
    pub fn of_all(&self, generation: u64, slo_index: usize) -> Option<Arc<Instance>> {
        self.find_or_open(generation, slo_index, None)
    }

    /// How many groups have been closed so far: as long as this stays, no room was made for others.
    pub fn closed(&self) -> u64 {
        // Who asks a moment too early asks again at the next sample.
        self.closed.load(Ordering::Relaxed)
    }

    /// What changed since the last call.
    pub fn take_changes(&self) -> Option<Changes> {
        let inner = &mut *self.inner.lock();
        let Changes { opened, replaced, removed, .. } = &inner.changes;
        if opened.is_empty() && replaced.is_empty() && removed.is_empty() {
            return None;
        }
        Some(Changes { presences: inner.presences.clone(), ..std::mem::take(&mut inner.changes) })
    }

    /// Closes a group to which no series belongs any more. `instance` and the registry must hold the only
    /// references to it besides those of series. False if it is still needed.
    ///
    /// Its SLI number is free once it is [released](Self::release): what its last series left behind may
    /// still wait for the next tick.
    pub fn close_unused(&self, instance: &Arc<Instance>) -> bool {
        let inner = &mut *self.inner.lock();
        if instance.role != Role::Group || Arc::strong_count(instance) > 2 {
            return false;
        }
        let key = (instance.slo_index, instance.role, instance.group.clone());
        // Another has taken its place, of which the tick has not heard yet.
        if !inner.known.get(&key).is_some_and(|known| Arc::ptr_eq(known, instance)) {
            return false;
        }
        // Pairs with the release of the series' references: their last adds are seen from here on.
        fence(Ordering::Acquire);
        inner.groups[instance.slo_index].open -= 1;
        inner.version += 1;
        self.closed.fetch_add(1, Ordering::Relaxed);
        inner.known.remove(&key).is_some()
    }

    /// Gives the number of a closed instance free for another.
    pub fn release(&self, sli: SliId) {
        let inner = &mut *self.inner.lock();
        inner.presences.of(sli).forget();
        inner.free.push(sli);
    }

    /// The presences of all instances.
    pub fn presences(&self) -> Presences {
        self.inner.lock().presences.clone()
    }

    /// `None` if the SLO has as many groups as it may, or all SLI numbers are given out, or another plan is in
    /// force. Without a group, the instance of all.
    fn find_or_open(
        &self,
        generation: u64,
        slo_index: usize,
        group: Option<&Labels>,
    ) -> Option<Arc<Instance>> {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        if inner.plan.generation() != generation {
            return None;
        }
        let role = match group {
            Some(_) => Role::Group,
            None if inner.plan.slo(slo_index).indicator.is_grouped() => Role::RollUp,
            None => Role::Whole,
        };
        let group = group.cloned().unwrap_or_default();
        let key = (slo_index, role, group.clone());
        if let Some(instance) = inner.known.get(&key) {
            return Some(Arc::clone(instance));
        }
        let open = inner.groups[slo_index].open;
        let is_free = role != Role::Group || open < self.groups_per_slo_max;
        let Some(sli) = is_free.then(|| inner.next_number()).flatten() else {
            let is_news = !std::mem::replace(&mut inner.groups[slo_index].was_refused, true);
            if is_news {
                let slo = Arc::clone(inner.plan.slo(slo_index));
                // Not under the lock, which the tick takes: who reads the log may be slow.
                drop(guard);
                self.log_refusal(&slo, &group, open);
            }
            return None;
        };
        let presence = inner.presences.begin(sli);
        let instance = Instance::new(&inner.plan, slo_index, role, group, sli, presence);
        let instance = Arc::new(instance.begun(inner.beginnings[slo_index]));
        if role == Role::Group {
            inner.groups[slo_index].open += 1;
        }
        inner.changes.opened.push(Arc::clone(&instance));
        inner.known.insert(key, Arc::clone(&instance));
        inner.version += 1;
        Some(instance)
    }

    /// Says once per SLO what `slod_slo_groups_refused_total` counts.
    fn log_refusal(&self, slo: &Slo, group: &Labels, groups: usize) {
        tracing::warn!(
            slo = %slo.id, %group, groups, limit = self.groups_per_slo_max,
            "an SLO has as many groups as it may (limits.groups_per_slo_max), or there are too many SLIs: \
             this group and further ones count in the roll-up only"
        );
    }
}

// === impl Inner ===

impl Inner {
    fn succeed(&mut self, plan: Plan) -> Succession {
        let plan = Arc::new(plan.after(&self.plan));
        let places = plan.successors(&self.plan);
        let mut groups = vec![Groups::default(); plan.slos().len()];
        let mut beginnings: Vec<Beginning> =
            (0..plan.slos().len()).map(|place| Beginning::of(&plan, place)).collect();
        for (before, place) in places.iter().enumerate() {
            if let Some(place) = place {
                groups[*place] = self.groups[before].clone();
                beginnings[*place] = self.beginnings[before];
            }
        }
        let has_new = places.iter().flatten().count() < plan.slos().len();
        let mut succession =
            Succession { generation: plan.generation(), instances: HashMap::new(), places, has_new };
        (self.plan, self.groups, self.beginnings) = (plan, groups, beginnings);
        self.version += 1;
        std::mem::take(&mut self.known).into_values().for_each(|instance| {
            self.succeed_instance(&instance, &mut succession);
        });
        succession
    }

    fn succeed_instance(&mut self, before: &Instance, succession: &mut Succession) {
        let Instance { sli, role, .. } = *before;
        let Some(place) = succession.places[before.slo_index] else {
            return self.changes.removed.push(sli);
        };
        let (group, presence) = (before.group.clone(), before.presence.clone());
        let instance = Instance::new(&self.plan, place, role, group, sli, presence);
        let instance = instance.begun(self.beginnings[place]);
        let instance = Arc::new(Instance { is_continued: before.is_continued, ..instance });
        self.known.insert((place, role, instance.group.clone()), Arc::clone(&instance));
        self.changes.replaced.push(Arc::clone(&instance));
        succession.instances.insert(sli, instance);
    }

    /// Opens an instance from before a restart; the numbers of those come in order.
    fn open_known(&mut self, Known { sli, slo_index, role, group }: Known) -> Option<SliId> {
        let number = sli.0 as usize;
        let is_grouped = self.plan.slos().nth(slo_index)?.indicator.is_grouped();
        let is_possible = is_grouped == (role != Role::Whole) && (role == Role::Group || group.is_empty());
        let key = (slo_index, role, group);
        if !is_possible || number < self.numbers || self.known.contains_key(&key) {
            return None;
        }
        while self.numbers <= number {
            let next = Windows::next_id(self.numbers)?;
            self.presences.begin(next);
            self.free.extend((next != sli).then_some(next));
            self.numbers += 1;
        }
        let presence = self.presences.begin(sli);
        let instance = Instance::new(&self.plan, slo_index, role, key.2.clone(), sli, presence);
        let instance = instance.begun(self.beginnings[slo_index]);
        let instance = Arc::new(Instance { is_continued: true, ..instance });
        self.groups[slo_index].open += usize::from(role == Role::Group);
        self.changes.opened.push(Arc::clone(&instance));
        self.known.insert(key, instance);
        Some(sli)
    }

    fn next_number(&mut self) -> Option<SliId> {
        if let Some(sli) = self.free.pop() {
            return Some(sli);
        }
        let sli = Windows::next_id(self.numbers)?;
        self.numbers += 1;
        Some(sli)
    }
}

// === impl Beginning ===

impl Beginning {
    /// Before everything: nothing is to be filled in.
    pub const EVER: Self = {
        let ever = Timestamp(i64::MIN);
        Self { since: ever, from: ever, at: ever, is_filled: true }
    };

    /// That of an SLO which counts as it comes what happens after this.
    pub fn after(at: Timestamp) -> Self {
        Self { at, is_filled: false, ..Self::EVER }
    }

    /// That of an SLO of a plan which is new there. Without series there is no history of them.
    fn of(plan: &Plan, place: usize) -> Self {
        let has_history = !plan.slo(place).indicator.selectors().is_empty();
        let begins_at = plan.begins_at().filter(|_| has_history);
        let since = plan.since().unwrap_or(Self::EVER.since);
        Self { since, ..begins_at.map_or(Self::EVER, Self::after) }
    }
}

// === impl Instance ===

impl Instance {
    fn new(
        plan: &Plan,
        slo_index: usize,
        role: Role,
        group: Labels,
        sli: SliId,
        presence: PresenceRef,
    ) -> Self {
        let (slo, layout) = (Arc::clone(plan.slo(slo_index)), Arc::clone(plan.layout(slo_index)));
        let shortest = layout.windows.first().map_or(millis(SHORTEST_WINDOW), |window| window.length_ms);
        Self {
            slo_index,
            group,
            role,
            sli,
            spread_above_ms: shortest / SPREAD_ABOVE_PART,
            slices_cut_steps: layout.slices_cut_steps(),
            since: Beginning::EVER.since,
            is_continued: false,
            begins_at_ms: i64::MIN.into(),
            counted_to_ms: i64::MIN.into(),
            layout,
            presence,
            slo,
        }
    }

    /// Whether it goes on with the counting of a series whose last sample, before a restart, came at a time.
    pub fn continues(&self, last_arrival: Timestamp) -> bool {
        self.is_continued && last_arrival >= self.since
    }

    fn begun(self, beginning: Beginning) -> Self {
        self.begin(beginning);
        Self { since: beginning.since, ..self }
    }

    fn begin(&self, beginning: Beginning) {
        // Relaxed: nobody counts for it yet.
        self.begins_at_ms.store(beginning.at.0, Ordering::Relaxed);
        self.counted_to_ms.store(beginning.from.0, Ordering::Relaxed);
    }

    fn begins_at(&self) -> Timestamp {
        // Relaxed: a figure that stands for itself.
        Timestamp(self.begins_at_ms.load(Ordering::Relaxed))
    }

    /// Notes a sample of one of its series. Returns since when none had been seen, if that was so long that
    /// something is missing, or if none was seen ever.
    pub fn note_sample(&self, at: Timestamp) -> Option<Timestamp> {
        match self.presence.note_sample(at)? {
            None => Some(at),
            Some(before) => self.is_gap(before, at).then_some(before),
        }
    }

    /// The newest sample of any of its series.
    pub fn last_sample(&self) -> Option<Timestamp> {
        self.presence.last_sample()
    }

    /// Whether a backlog of its series is coming in.
    pub fn is_catching_up(&self, now: Timestamp) -> bool {
        self.presence.is_catching_up(now)
    }

    /// Notes that a sample arrived much later than its time.
    pub fn note_late_arrival(&self, now: Timestamp) {
        self.presence.note_late_arrival(now);
    }

    /// Notes series that came alive, or ended (negative).
    pub fn note_live_series(&self, change: i64) {
        self.presence.note_live_series(change);
    }

    /// Adds the events of `(from, at]`: at their time, or over the interval if that is a gap.
    pub fn add(&self, batch: &mut Batch<'_>, from: Timestamp, at: Timestamp, events: Counts) {
        if at <= self.begins_at() {
            // History has it.
        } else if self.is_gap(from, at) {
            let (from, events) = self.after_beginning(from, at, events);
            batch.add_spread(self.sli, from.0, at.0, events);
        } else if self.slices_cut_steps {
            batch.add_late(self.sli, at.0, events);
        } else {
            batch.add(self.sli, at.0, events);
        }
    }

    /// Of events spread over `(from, at]` those that history does not have. It ends with the last sample before the
    /// beginning, which the stream had as well, unless nothing had come since what was counted before.
    fn after_beginning(&self, from: Timestamp, at: Timestamp, events: Counts) -> (Timestamp, Counts) {
        let begins_at = self.begins_at();
        if from >= begins_at || from.0 > self.counted_to_ms.load(Ordering::Relaxed) {
            return (from, events);
        }
        let part = (at.0 - begins_at.0) as f64 / (at.0 - from.0) as f64;
        let share = |count: f64| if count.fract() == 0.0 { (count * part).round() } else { count * part };
        (begins_at, Counts { bad: share(events.bad), total: share(events.total) })
    }

    /// Whether an increment over this interval stands for a gap, and is to be spread over it.
    fn is_gap(&self, from: Timestamp, at: Timestamp) -> bool {
        at.0.saturating_sub(from.0) > self.spread_above_ms
    }
}
