//! Where the events of steps are counted: in an SLO, and in its groups as they come and go.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::state::GroupState;
use crate::{
    labels::Labels,
    matching::{Instance, Instances, Role},
    time::Timestamp,
    window::{Batch, Counts},
};

/// The instances of an SLO that is asked at steps.
#[derive(Debug)]
pub(super) struct Tally {
    generation: u64,
    place: usize,
    step: Duration,
    /// The instance that counts every event.
    pub(super) all: Arc<Instance>,
    groups: HashMap<Labels, Group>,
}

/// A group that had values.
#[derive(Debug)]
struct Group {
    instance: Arc<Instance>,
    /// The newest step with a value.
    seen: Timestamp,
}

// Prometheus' lookback: a group without a value for that long has ended.
const GROUP_ENDS_AFTER: Duration = Duration::from_secs(300);

// === impl Tally ===

impl Tally {
    /// Nothing yet, for the SLO at a place of the plan in force.
    pub(super) fn new(generation: u64, place: usize, step: Duration, all: Arc<Instance>) -> Self {
        Self { generation, place, step, all, groups: HashMap::new() }
    }

    /// Goes on where the same SLO was in the plan before.
    pub(super) fn succeed(&mut self, before: Self, instances: &Instances) {
        let group = |(labels, Group { seen, .. }): (Labels, Group)| {
            let instance = instances.group(self.generation, self.place, &labels)?;
            Some((labels, Group { instance, seen }))
        };
        self.groups = before.groups.into_iter().filter_map(group).collect();
    }

    /// The groups that have not ended, by labels.
    pub(super) fn state(&self) -> Vec<GroupState> {
        let state =
            |(labels, group): (&Labels, &Group)| GroupState { labels: labels.clone(), seen: group.seen };
        let mut groups: Vec<GroupState> = self.groups.iter().map(state).collect();
        groups.sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        groups
    }

    /// Goes on with groups that had not ended before a restart, and are alive again.
    pub(super) fn restore(&mut self, groups: Vec<GroupState>, instances: &Instances) {
        // A later version may find that the same SLO has no groups.
        let is_grouped = self.all.role == Role::RollUp;
        for GroupState { labels, seen } in groups.into_iter().filter(|_| is_grouped) {
            // Beyond the limit they count in the roll-up alone, as before.
            let _ = self.group(instances, seen, labels);
        }
    }

    /// Adds the events of a step to the SLO, and to the group of these labels.
    pub(super) fn add(
        &mut self,
        batch: &mut Batch<'_>,
        instances: &Instances,
        at: Timestamp,
        labels: Labels,
        events: Counts,
    ) {
        self.all.add(batch, at, at, events);
        if self.all.role != Role::RollUp {
            return;
        }
        let step = self.step;
        if let Some(group) = self.group(instances, at, labels) {
            note_sample(&group.instance, batch, at, step);
            group.seen = at;
            group.instance.add(batch, at, at, events);
        }
    }

    /// A group that is alive from here on; `None` if the SLO has as many as it may.
    fn group(&mut self, instances: &Instances, at: Timestamp, labels: Labels) -> Option<&mut Group> {
        if !self.groups.contains_key(&labels) {
            let instance = instances.group(self.generation, self.place, &labels)?;
            instance.note_live_series(1);
            self.groups.insert(labels.clone(), Group { instance, seen: at });
        }
        self.groups.get_mut(&labels)
    }

    /// Lets go of groups without a value for a while.
    pub(super) fn end_groups(&mut self, at: Timestamp) {
        self.groups.retain(|_, group| {
            let is_alive = at.since(group.seen) < GROUP_ENDS_AFTER.max(self.step * 2);
            if !is_alive {
                group.instance.note_live_series(-1);
            }
            is_alive
        });
    }

    /// Takes back times later than this.
    pub(super) fn set_back(&mut self, at: Timestamp) {
        self.groups.values_mut().for_each(|group| group.seen = group.seen.min(at));
    }
}

/// Notes that an instance has something to say of a moment, and since when it had nothing to say, if it missed
/// steps.
pub(super) fn note_sample(instance: &Instance, batch: &mut Batch<'_>, at: Timestamp, step: Duration) {
    let Some(unseen_since) = instance.note_sample(at) else { return };
    // The first of all, or later than the next step.
    if unseen_since == at || at.since(unseen_since) > step {
        batch.note_unseen(instance.sli, unseen_since.0, at.0);
    }
}
