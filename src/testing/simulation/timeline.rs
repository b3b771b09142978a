//! All that happened and is not undone: what slod has to make its state of, however often it ended.
//!
//! A restart takes back the requests that were not acknowledged and were lost, and brings SLOs into force from the
//! checkpoint on that it began with. What is left is put to a pipeline without a disk that never ends, which must
//! come to the same.

use std::{collections::BTreeMap, ops::Range};

use super::{daemon::Position, setting::Setting, watch::Seen};
use crate::{
    pipeline::Pipeline,
    slo::Slo,
    storage::log::{Entry, Sequence},
    telemetry::Telemetry,
    testing::Sent,
    time::Timestamp,
};

/// What happened, in its order.
#[derive(Debug)]
pub(super) struct Timeline {
    started: Timestamp,
    specs: Specs,
    events: Vec<Event>,
    /// The last checkpoint that is known to be on the disk.
    committed: Option<Position>,
}

/// SLOs, and the number of the reload that brought them.
#[derive(Clone, Debug)]
pub(super) struct Specs {
    pub(super) number: u64,
    pub(super) slos: Vec<Slo>,
}

#[derive(Debug)]
enum Event {
    Counted(Counted),
    Ticked {
        at: Timestamp,
        seen: Seen,
        is_certain: bool,
    },
    Swept(Timestamp),
    /// By a reload, or by the restart that comes next.
    Installed(Specs),
    Checkpoint(Position),
    Restarted(Timestamp),
}

#[derive(Debug)]
struct Counted {
    sequence: Sequence,
    entry: Entry,
    samples: Vec<Sent>,
    is_acknowledged: bool,
}

/// What a restart took back.
#[derive(Debug, Default)]
pub(super) struct TakenBack {
    /// Requests that nobody had acknowledged.
    pub(super) requests: usize,
    /// Requests that had been acknowledged, all of them named as lost.
    pub(super) excused: usize,
}

// === impl Timeline ===

impl Timeline {
    pub(super) fn new(started: Timestamp, specs: Specs) -> Self {
        Self { started, specs, events: Vec::new(), committed: None }
    }

    // --- what happens ---

    pub(super) fn count(&mut self, sequence: Sequence, entry: Entry, samples: Vec<Sent>) {
        self.events.push(Event::Counted(Counted { sequence, entry, samples, is_acknowledged: false }));
    }

    pub(super) fn acknowledge(&mut self, sequence: Sequence) {
        let counted = self.events.iter_mut().rev().find_map(|event| match event {
            Event::Counted(counted) if counted.sequence == sequence => Some(counted),
            _ => None,
        });
        if let Some(counted) = counted {
            counted.is_acknowledged = true;
        }
    }

    pub(super) fn tick(&mut self, at: Timestamp, seen: Seen) {
        self.events.push(Event::Ticked { at, seen, is_certain: true });
    }

    pub(super) fn sweep(&mut self, at: Timestamp) {
        self.events.push(Event::Swept(at));
    }

    pub(super) fn install(&mut self, specs: Specs) {
        self.events.push(Event::Installed(specs));
    }

    pub(super) fn take_checkpoint(&mut self, position: Position) {
        self.events.push(Event::Checkpoint(position));
    }

    pub(super) fn commit(&mut self, position: Position) {
        self.committed = Some(position);
    }

    /// slod goes on from a checkpoint and the records behind it. `named` are those that it says are lost.
    pub(super) fn restart(
        &mut self,
        position: Option<Position>,
        records: &BTreeMap<Sequence, Entry>,
        named: &[Range<u64>],
        specs: Specs,
        now: Timestamp,
    ) -> Result<TakenBack, String> {
        let start = self.find(position)?;
        let tail = self.events.split_off(start);
        let is_replanned = specs.number != self.specs_in_force();
        let (mut taken_back, mut met) = (TakenBack::default(), 0);
        if is_replanned {
            self.events.push(Event::Installed(specs));
        }
        for event in tail {
            match event {
                Event::Counted(counted) if records.get(&counted.sequence) == Some(&counted.entry) => {
                    met += 1;
                    self.events.push(Event::Counted(counted));
                }
                Event::Counted(counted) => taken_back.note(&counted, named)?,
                Event::Ticked { at, seen, is_certain } => {
                    let is_certain = is_certain && !is_replanned && taken_back.is_nothing();
                    self.events.push(Event::Ticked { at, seen, is_certain });
                }
                Event::Installed(_) | Event::Checkpoint(_) => (),
                Event::Swept(_) | Event::Restarted(_) => self.events.push(event),
            }
        }
        if met < records.len() {
            return Err(format!("{} records are in the log that never counted", records.len() - met));
        }
        self.events.push(Event::Restarted(now));
        Ok(taken_back)
    }

    /// Where it goes on from.
    fn find(&self, position: Option<Position>) -> Result<usize, String> {
        let committed = self.committed;
        let Some(position) = position else {
            return committed.map_or(Ok(0), |known| Err(format!("the state of {known:?} is gone")));
        };
        if committed.is_some_and(|known| position < known) {
            return Err(format!("the state is of {position:?}, {committed:?} was committed"));
        }
        let is_it = |event: &Event| matches!(event, Event::Checkpoint(taken) if *taken == position);
        let found = self.events.iter().rposition(is_it).map(|index| index + 1);
        found.ok_or_else(|| format!("no checkpoint was taken at {position:?}"))
    }

    fn specs_in_force(&self) -> u64 {
        let installed = self.events.iter().rev().find_map(|event| match event {
            Event::Installed(specs) => Some(specs.number),
            _ => None,
        });
        installed.unwrap_or(self.specs.number)
    }

    // --- what it comes to ---

    /// Every sample that counted, in this order.
    pub(super) fn samples(&self) -> impl Iterator<Item = &[Sent]> {
        self.events.iter().filter_map(|event| match event {
            Event::Counted(counted) => Some(counted.samples.as_slice()),
            _ => None,
        })
    }

    /// Lets a pipeline that never ends go through it, and compares.
    pub(super) fn compare(self, setting: &Setting) -> Result<(), String> {
        let telemetry = Telemetry::new();
        let pipeline = Pipeline::new(setting.pipeline.clone(), self.specs.slos, &telemetry, self.started);
        let mut twin = Twin { pipeline, ticked: self.started };
        self.events.into_iter().try_for_each(|event| twin.handle(event))?;
        Ok(())
    }
}

// === impl TakenBack ===

impl TakenBack {
    fn note(&mut self, counted: &Counted, named: &[Range<u64>]) -> Result<(), String> {
        let is_named = named.iter().any(|range| range.contains(&counted.sequence.0));
        match (counted.is_acknowledged, is_named) {
            (false, _) => self.requests += 1,
            (true, true) => self.excused += 1,
            (true, false) => {
                let Counted { sequence, entry, .. } = counted;
                let arrived = entry.arrived;
                return Err(format!(
                    "{sequence:?}, which arrived at {arrived}, was acknowledged and is lost"
                ));
            }
        }
        Ok(())
    }

    fn is_nothing(&self) -> bool {
        self.requests + self.excused == 0
    }
}

/// The pipeline that never ends.
#[derive(Debug)]
struct Twin {
    pipeline: Pipeline,
    ticked: Timestamp,
}

// === impl Twin ===

impl Twin {
    fn handle(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Counted(Counted { entry, .. }) => {
                let Entry { arrived, version, epoch, body } = entry;
                self.pipeline.last_request().note(arrived);
                // What is refused was so when it came first.
                let _ = self.pipeline.ingest().replay(version, &body, arrived, epoch);
            }
            Event::Swept(at) => self.pipeline.ingest().sweep(at),
            Event::Installed(specs) => self.pipeline.install(specs.slos, self.ticked),
            Event::Checkpoint(_) => (),
            // It was up all the time.
            Event::Restarted(at) => {
                while self.ticked < at {
                    self.tick(Timestamp(self.ticked.0 + 1_000));
                }
            }
            Event::Ticked { at, seen, is_certain } => {
                let own = self.tick(at);
                let difference = if is_certain { seen.difference(&own) } else { None };
                return difference.map_or(Ok(()), |difference| {
                    Err(format!("at {at} otherwise than without restarts: {difference}"))
                });
            }
        }
        Ok(())
    }

    fn tick(&mut self, at: Timestamp) -> Seen {
        self.ticked = at;
        Seen::new(&self.pipeline.tick(at))
    }
}
