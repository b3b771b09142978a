//! The instances of the SLOs in force: one per SLO, or one per group of a grouped one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;

use super::Plan;
use crate::{
    labels::Labels,
    slo::Slo,
    time::{Latest, Timestamp, millis},
    window::{Layout, SliId, Windows},
};

/// One SLO, or one group of it, with a budget of its own.
#[derive(Debug)]
pub struct Instance {
    /// The SLO's place in the plan.
    pub slo_index: usize,
    /// The SLO.
    pub slo: Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping.
    pub group: Labels,
    /// Where its events are counted.
    pub sli: SliId,
    /// Its windows.
    pub layout: Arc<Layout>,
    spread_above_ms: i64,
    last_sample: Latest,
    live_series: AtomicI64,
    late_arrival: Latest,
    late_since: Latest,
}

/// Every instance there is. New ones are rare, so a lock guards them; no sample takes it.
#[derive(Debug)]
pub struct Instances {
    plan: Arc<Plan>,
    groups_per_slo_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_group: HashMap<(usize, Labels), Arc<Instance>>,
    groups_of: Vec<usize>,
    all: Vec<Arc<Instance>>,
}

/// The SLO has as many groups as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the SLO has {0} groups, which is the limit (limits.groups_per_slo_max)")]
pub struct TooManyGroups(pub usize);

// A sample that closes a longer interval than this part of the shortest window stands for a gap, and its
// events are spread over it, so that a catch-up is no spike. The shortest window should span at least
// four scrapes, so that ordinary intervals stay below.
const SPREAD_ABOVE_PART: i64 = 4;
// A sender's shards wait at most 5 s between two tries of a request; this many tries of the slowest.
const CATCH_UP_QUIET: Duration = Duration::from_secs(30);
// Two hours of backlog take a sender a minute or two.
const CATCH_UP_MAX: Duration = Duration::from_secs(300);

// === impl Instances ===

impl Instances {
    /// The instances of ungrouped SLOs; groups follow as their series appear.
    pub fn new(plan: Arc<Plan>, groups_per_slo_max: usize) -> Self {
        let inner = Inner { groups_of: vec![0; plan.slos().len()], ..Inner::default() };
        let instances = Self { plan, groups_per_slo_max, inner: Mutex::new(inner) };
        for index in 0..instances.plan.slos().len() {
            if instances.plan.slo(index).indicator.group_by.is_empty() {
                // The one group there is fits any limit but a limit of zero on all SLOs together.
                let _ = instances.find_or_open(index, &Labels::default());
            }
        }
        instances
    }

    /// The SLOs these are instances of.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The instance of a group, opened if there is none yet.
    ///
    /// # Errors
    /// When there are as many groups as there may be.
    pub fn find_or_open(&self, slo_index: usize, group: &Labels) -> Result<Arc<Instance>, TooManyGroups> {
        let inner = &mut *self.inner.lock();
        let key = (slo_index, group.clone());
        if let Some(instance) = inner.by_group.get(&key) {
            return Ok(Arc::clone(instance));
        }
        let sli = Windows::next_id(inner.all.len())
            .filter(|_| inner.groups_of[slo_index] < self.groups_per_slo_max)
            .ok_or(TooManyGroups(inner.groups_of[slo_index]))?;
        let instance = Arc::new(self.new_instance(slo_index, group, sli));
        inner.groups_of[slo_index] += 1;
        inner.all.push(Arc::clone(&instance));
        inner.by_group.insert(key, Arc::clone(&instance));
        Ok(instance)
    }

    /// The instances from number `first` on, in the order of their SLI numbers.
    pub fn from(&self, first: usize) -> Vec<Arc<Instance>> {
        self.inner.lock().all[first..].to_vec()
    }

    fn new_instance(&self, slo_index: usize, group: &Labels, sli: SliId) -> Instance {
        let slo = Arc::clone(self.plan.slo(slo_index));
        let layout = Arc::clone(self.plan.layout(slo_index));
        let shortest = slo.rolling_windows().first().copied().unwrap_or(Duration::ZERO);
        Instance {
            slo_index,
            group: group.clone(),
            sli,
            layout,
            spread_above_ms: millis(shortest) / SPREAD_ABOVE_PART,
            last_sample: Latest::default(),
            live_series: AtomicI64::new(0),
            late_arrival: Latest::default(),
            late_since: Latest::default(),
            slo,
        }
    }
}

// === impl Instance ===

// All orderings are relaxed: each figure stands for itself, and a tick that misses the newest of them
// sees it a second later.
impl Instance {
    /// Notes a sample of one of its series. Returns how much of `(from, at]` no sample had covered yet.
    pub fn note_sample(&self, from: Timestamp, at: Timestamp) -> Duration {
        // Most samples of a scrape share its time with one seen before: no write for them.
        if self.last_sample() >= Some(at) {
            return Duration::ZERO;
        }
        let before = self.last_sample.note(at);
        at.since(before.map_or(from, |before| before.max(from)))
    }

    /// Notes that a sample arrived much later than its time.
    pub fn note_late_arrival(&self, now: Timestamp) {
        if self.late_arrival.note(now).is_none_or(|before| now.since(before) > CATCH_UP_QUIET) {
            self.late_since.note(now);
        }
    }

    /// Whether a backlog is coming in: its series arrive one after the other, and until all are there the
    /// counts of the recent past do not belong together. Not believed for ever, because a sender may
    /// always be late.
    pub fn is_catching_up(&self, now: Timestamp) -> bool {
        let is_within = |latest: &Latest, limit| latest.get().is_some_and(|at| now.since(at) <= limit);
        is_within(&self.late_arrival, CATCH_UP_QUIET) && is_within(&self.late_since, CATCH_UP_MAX)
    }

    /// Notes series that came alive, or ended (negative).
    pub fn note_live_series(&self, change: i64) {
        self.live_series.fetch_add(change, Ordering::Relaxed);
    }

    /// The newest sample of any of its series.
    pub fn last_sample(&self) -> Option<Timestamp> {
        self.last_sample.get()
    }

    /// How many of its series have not ended.
    pub fn live_series(&self) -> i64 {
        self.live_series.load(Ordering::Relaxed)
    }

    /// Whether an increment over this interval stands for a gap, and is to be spread over it.
    pub fn is_gap(&self, from: Timestamp, at: Timestamp) -> bool {
        at.0.saturating_sub(from.0) > self.spread_above_ms
    }
}
