//! What is stored of an engine, and how another one goes on with it.
//!
//! `mark` is for the moment at which ingest stands still, `export` for afterwards, both before the next tick: what an
//! export says is how things were at its mark. The parts of an export are values under keys. To apply one in its
//! order to what was stored before gives what was stored of that moment; see [`State::apply`].
//!
//! This module does not know where states are kept. The invariant: an engine that is restored and one that was not
//! say the same of whatever comes after, but for when an overspent budget recovers, which is worked out anew.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{Config, Engine, judged::Judged};
use crate::{
    alert::AlertState,
    labels::Labels,
    matching::{Instance, Instances, PresenceState},
    report::Shape,
    slo::SloId,
    telemetry::EvaluationMetrics,
    time::Timestamp,
    window::{self, Counts, OpenSlots, PendingState, RingPlace, RingState, RowError, RowState, Scope, SliId},
};

/// A moment of an engine, to be exported before the next tick.
#[derive(Debug)]
pub struct Mark {
    windows: window::Mark,
    presences: Vec<PresenceState>,
}

/// A part of what is stored of an engine.
#[derive(Clone, Debug, PartialEq)]
pub enum Exported {
    /// Nothing that was stored of an SLI so far, nor of one that had its number, counts any more.
    Removed(SliId),
    /// How far time was evaluated.
    Clock(ClockState),
    /// An SLI, but for its rings.
    Head(SliId, Box<HeadState>),
    /// A ring of an SLI; without slots, there is none any more.
    Ring(SliId, RingPlace, RingState),
    /// Some of what no SLI held yet, in its order. All of an export take the place of all before.
    Pending(Vec<PendingState>),
}

/// How far time was evaluated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockState {
    /// The event time of the last evaluation.
    pub evaluated_to: Timestamp,
}

/// An SLI, but for its rings.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadState {
    /// Its history.
    pub row: RowState,
    /// When its series were seen.
    pub presence: PresenceState,
    /// The largest lifetime counts so far.
    pub published: Counts,
    /// Its alerts, in the order of its SLO; none if all are inactive.
    pub alerts: Vec<AlertMemory>,
}

/// An alert and where it is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertMemory {
    /// With the windows, what tells it from others of its SLO.
    pub severity: String,
    /// Its short window.
    pub short: Duration,
    /// Its long window.
    pub long: Duration,
    /// What it is about, if it is no burn-rate alert: those have windows, and nothing here.
    pub condition: String,
    /// Where it is.
    pub state: AlertState,
}

/// All that is stored of an engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// How far time was evaluated.
    pub clock: ClockState,
    /// By number.
    pub slis: BTreeMap<SliId, SliState>,
    /// What no SLI held yet.
    pub pending: Vec<PendingState>,
}

/// All that is stored of an SLI.
#[derive(Clone, Debug, PartialEq)]
pub struct SliState {
    /// But for its rings.
    pub head: HeadState,
    /// Those that hold anything.
    pub rings: BTreeMap<RingPlace, RingState>,
}

/// An engine that goes on from a state.
#[derive(Debug)]
pub struct Restored {
    /// The engine.
    pub engine: Engine,
    /// Instances that start with nothing, as what was stored of them cannot be right.
    pub lost: Vec<Lost>,
    /// How much of what was pending made no sense.
    pub pending_lost: usize,
}

/// An instance whose history could not be restored.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("cannot restore the history of {slo}{group}, which begins anew: {error}")]
pub struct Lost {
    /// Its SLO.
    pub slo: SloId,
    /// The labels of its group.
    pub group: Labels,
    /// Why.
    pub error: RowError,
}

// In one value of a store: some 100 KiB.
const PENDING_PER_PART: usize = 4_096;

// === impl Engine ===

impl Engine {
    /// Marks this moment, at which nobody may be counting. Takes time for each SLI, but little.
    pub fn mark(&mut self) -> Mark {
        Mark { windows: self.windows.mark(), presences: self.instances.presences().states() }
    }

    /// Tells how things were at a mark, of which only what is in this scope. It counts as stored from now on: if it
    /// could not be, the next export must be of everything.
    pub fn export(&mut self, mark: &Mark, scope: Scope, visit: &mut dyn FnMut(Exported)) {
        // The next tick would hear of them too late: they may have events that are pending.
        let replaced = self.take_changes();
        self.replace_instances(replaced);
        let departed = std::mem::take(&mut self.departed);
        if scope == Scope::Changed {
            departed.into_iter().for_each(|sli| visit(Exported::Removed(sli)));
        }
        visit(Exported::Clock(ClockState { evaluated_to: self.windows.now() }));
        for judged in &self.judged {
            let sli = judged.sli;
            let Some(row) = self.windows.row_state(sli) else { continue };
            let presence = mark.presences.get(sli.0 as usize).copied().unwrap_or_default();
            visit(Exported::Head(sli, Box::new(judged.head(row, presence))));
            self.windows.take_rings(sli, scope, &mut |place, ring| visit(Exported::Ring(sli, place, ring)));
        }
        let mut pending = self.windows.pending(&mark.windows).peekable();
        while pending.peek().is_some() {
            visit(Exported::Pending(pending.by_ref().take(PENDING_PER_PART).collect()));
        }
    }

    /// An engine that goes on from a state. `instances` must have those that were restored, with their numbers, and
    /// `open` nothing yet.
    pub fn restored(
        config: Config,
        instances: Arc<Instances>,
        open: Arc<OpenSlots>,
        telemetry: EvaluationMetrics,
        now: Timestamp,
        state: State,
    ) -> Restored {
        let resolution = config.resolution();
        // Steps of another length than before may not end there.
        let at = (state.clock.evaluated_to + resolution - Duration::from_millis(1)).floor(resolution);
        let mut engine = Self::at(config, instances, open, telemetry, now, at);
        engine.asked_idle_at = now;
        let State { mut slis, mut pending, .. } = state;
        let lost = engine.restore_instances(&mut slis);
        engine.departed.extend(slis.into_keys());
        // A number may have gone to another instance.
        let continued = engine.judged.iter().filter(|judged| judged.instance.is_continued);
        let continued: HashSet<SliId> = continued.map(|judged| judged.sli).collect();
        pending.retain(|pending| continued.contains(&pending.sli));
        let pending_lost = engine.windows.restore_pending(&pending);
        Restored { engine, lost, pending_lost }
    }

    /// Goes on at `now` after a time in which nobody evaluated, nor could have been heard. Nobody was blind in it,
    /// and no condition was seen to hold: what alerts wait for waits that much longer.
    pub fn resume(&mut self, now: Timestamp) {
        let missed = self.event_time(now).since(self.windows.now());
        self.judged.iter_mut().for_each(|judged| judged.resume(missed));
        self.started = now;
    }

    /// Adds what another engine counted to an instance: see
    /// [`Windows::absorb`](window::Windows::absorb).
    ///
    /// # Errors
    /// When that cannot be right; nothing of it is counted.
    pub fn absorb(&mut self, sli: SliId, state: SliState) -> Result<(), RowError> {
        let replaced = self.take_changes();
        self.replace_instances(replaced);
        let SliState { head: HeadState { row, presence, .. }, rings } = state;
        let last_sample = presence.last_sample;
        self.windows.absorb(sli, &row, rings, last_sample.unwrap_or(row.at))?;
        self.presences.of(sli).restore(&PresenceState { last_sample, ..PresenceState::default() });
        Ok(())
    }

    fn restore_instances(&mut self, slis: &mut BTreeMap<SliId, SliState>) -> Vec<Lost> {
        let changes = self.instances.take_changes().unwrap_or_default();
        self.presences = changes.presences;
        let mut lost = Vec::new();
        for instance in changes.opened {
            match instance.is_continued.then(|| slis.remove(&instance.sli)).flatten() {
                None => self.open(instance),
                Some(state) => lost.extend(self.restore_instance(instance, state).err()),
            }
        }
        self.line_up();
        lost
    }

    fn restore_instance(&mut self, instance: Arc<Instance>, state: SliState) -> Result<(), Lost> {
        let SliState { head, rings } = state;
        match self.windows.restore(instance.sli, &instance.layout, &head.row, rings) {
            Ok(is_changed) => {
                if is_changed {
                    self.departed.insert(instance.sli);
                }
                self.presences.of(instance.sli).restore(&head.presence);
                let shape = self.share(Shape::new(&instance.slo, &instance.layout, instance.role));
                self.judged.push(Judged::restored(instance, shape, &head));
                Ok(())
            }
            Err(error) => {
                self.departed.insert(instance.sli);
                let (slo, group) = (instance.slo.id.clone(), instance.group.clone());
                self.open(instance);
                Err(Lost { slo, group, error })
            }
        }
    }
}

// === impl State ===

impl State {
    /// Forgets what was pending: the next export says what is.
    pub fn begin_export(&mut self, scope: Scope) {
        self.pending.clear();
        if scope == Scope::Everything {
            self.slis.clear();
        }
    }

    /// Takes in a part of an export that has [begun](Self::begin_export).
    pub fn apply(&mut self, part: Exported) {
        match part {
            Exported::Removed(sli) => {
                self.slis.remove(&sli);
            }
            Exported::Clock(clock) => self.clock = clock,
            Exported::Head(sli, head) => match self.slis.get_mut(&sli) {
                Some(state) => state.head = *head,
                None => {
                    self.slis.insert(sli, SliState { head: *head, rings: BTreeMap::new() });
                }
            },
            Exported::Ring(sli, place, ring) => self.apply_ring(sli, place, ring),
            Exported::Pending(pending) => self.pending.extend(pending),
        }
    }

    fn apply_ring(&mut self, sli: SliId, place: RingPlace, ring: RingState) {
        let Some(state) = self.slis.get_mut(&sli) else { return };
        if ring.slots.is_empty() {
            state.rings.remove(&place);
        } else {
            state.rings.insert(place, ring);
        }
    }
}

#[cfg(test)]
mod tests;
