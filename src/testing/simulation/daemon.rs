//! slod as the real daemon runs it, but for sockets, threads and the clock.
//!
//! What the threads of the real one do happens here in the steps of a simulation: requests count and wait, what is
//! queued is written, a tick evaluates and takes checkpoints, and those are committed some time later.

use std::sync::Arc;

use super::{
    senders::{Request, ShardId},
    setting::Setting,
};
use crate::{
    ingest::WriteError,
    pipeline::Pipeline,
    report::Report,
    slo::Slo,
    storage::{
        checkpoint::{Checkpoint, Checkpoints},
        disk::Disk,
        log::{Entry, Log, LogError, Sequence, Ticket},
        recovery::{Findings, RecoverError, Recovered, recover},
        state::{self, StateStore},
    },
    telemetry::Telemetry,
    time::Timestamp,
};

/// A process.
#[derive(Debug)]
pub(super) struct Daemon {
    setting: Setting,
    pipeline: Pipeline,
    log: Log,
    store: StateStore,
    checkpoints: Checkpoints,
    /// Taken, and not committed.
    committing: Option<Checkpoint>,
    taken: Option<Timestamp>,
    /// The plan of the last checkpoint.
    generation: u64,
    swept: Timestamp,
    waiting: Vec<Waiting>,
    report: Arc<Report>,
}

/// A request that counted and is not answered.
#[derive(Debug)]
struct Waiting {
    sequence: Sequence,
    ticket: Ticket,
    result: Result<(), WriteError>,
    from: Option<(ShardId, u64)>,
}

/// What became of a request.
#[derive(Debug)]
pub(super) struct Written {
    /// Which record it is to become.
    pub(super) counted: Option<(Sequence, Entry)>,
    /// What the sender hears at once; `None` if it has to wait.
    pub(super) answer: Option<Result<(), WriteError>>,
}

/// An answer to a request that had to wait.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) sequence: Sequence,
    pub(super) result: Result<(), WriteError>,
    pub(super) from: Option<(ShardId, u64)>,
}

/// A position of the log, and when a checkpoint was taken there.
pub(super) type Position = (Sequence, Timestamp);

// As the real one.
const SWEEP_INTERVAL_MS: i64 = 60_000;

// === impl Daemon ===

impl Daemon {
    /// Starts on what is on the disk.
    pub(super) fn start(
        disk: &Arc<dyn Disk>,
        setting: &Setting,
        slos: Vec<Slo>,
        now: Timestamp,
    ) -> Result<(Self, Findings), RecoverError> {
        let telemetry = Telemetry::new();
        let (pipeline, log) = (setting.pipeline.clone(), setting.log.clone());
        let Recovered { pipeline, log, store, findings } =
            recover(disk, pipeline, log, slos, &telemetry, now)?;
        let daemon = Self {
            setting: setting.clone(),
            pipeline,
            log,
            store,
            checkpoints: Checkpoints::default(),
            committing: None,
            taken: None,
            generation: 0,
            swept: now,
            waiting: Vec::new(),
            report: Arc::default(),
        };
        Ok((daemon, findings))
    }

    /// Of which checkpoint the state is that is on the disk.
    pub(super) fn position(&self) -> Option<Position> {
        self.store.checkpoint().map(position)
    }

    /// A request arrives.
    pub(super) fn write(
        &mut self,
        request: &Request,
        from: Option<(ShardId, u64)>,
        arrived: Timestamp,
    ) -> Written {
        if let Err(refusal) = self.log.accepts() {
            let answer = Some(Err(WriteError::NotKept(refusal.to_string())));
            return Written { counted: None, answer };
        }
        let (version, body) = (request.version, &request.body);
        let mut noted = None;
        let mut note = |epoch| {
            let entry = Entry { arrived, version, epoch, body: body.clone() };
            let sequence = self.log.next();
            noted = Some((sequence, entry.clone(), self.log.append(entry)));
        };
        let result = self.pipeline.ingest().write_noting(version, body, arrived, &mut note);
        if matches!(result, Ok(_) | Err(WriteError::Refused { .. })) {
            self.pipeline.last_request().note(arrived);
        }
        let result = result.map(drop);
        let Some((sequence, entry, ticket)) = noted else {
            return Written { counted: None, answer: Some(result) };
        };
        self.waiting.push(Waiting { sequence, ticket, result, from });
        Written { counted: Some((sequence, entry)), answer: None }
    }

    /// A round of the thread that writes the log. Returns who is answered.
    pub(super) fn write_queued(&mut self, now: Timestamp) -> Vec<Answered> {
        self.log.write_queued(now);
        let mut answered = Vec::new();
        for Waiting { sequence, mut ticket, result, from } in self.waiting.drain(..) {
            let kept = ticket.outcome().unwrap_or(Err(LogError::Closed));
            let result = kept.map_err(|error| WriteError::NotKept(error.to_string())).and(result);
            answered.push(Answered { sequence, result, from });
        }
        answered
    }

    /// A round that nobody is told of any more.
    pub(super) fn write_queued_in_vain(&mut self, now: Timestamp) {
        self.log.write_queued(now);
    }

    /// Who was waiting when it died.
    pub(super) fn abandon(&mut self) -> Vec<(ShardId, u64)> {
        self.waiting.drain(..).filter_map(|waiting| waiting.from).collect()
    }

    pub(super) fn tick(&mut self, now: Timestamp) -> Arc<Report> {
        self.report = self.pipeline.tick(now);
        self.report()
    }

    /// The last report.
    pub(super) fn report(&self) -> Arc<Report> {
        Arc::clone(&self.report)
    }

    /// Whether it forgets what is long silent now, as it does once a minute.
    pub(super) fn sweep(&mut self, now: Timestamp) -> bool {
        let is_due = now.0 - self.swept.0 >= SWEEP_INTERVAL_MS;
        if is_due {
            self.pipeline.ingest().sweep(now);
            self.swept = now;
        }
        is_due
    }

    /// After a tick, takes a checkpoint if one is due and the last is committed.
    pub(super) fn take_checkpoint(&mut self, now: Timestamp) -> Option<Position> {
        let generation = self.pipeline.instances().plan().generation();
        let interval = self.setting.checkpoint_interval;
        let is_due = self.taken.is_none_or(|taken| now.since(taken) >= interval);
        if self.committing.is_some() || !(is_due || generation != self.generation) {
            return None;
        }
        (self.taken, self.generation) = (Some(now), generation);
        Some(self.begin_checkpoint(now))
    }

    pub(super) fn is_committing(&self) -> bool {
        self.committing.is_some()
    }

    /// The thread that commits has done its work. Returns whether it could.
    pub(super) fn commit(&mut self) -> Option<Result<Position, String>> {
        let Checkpoint { position, at, clear, changes } = self.committing.take()?;
        let checkpoint = state::Checkpoint { position: position.0, at };
        let result = self.store.commit(checkpoint, &clear, changes);
        match &result {
            Ok(_) => self.log.release(position),
            Err(_) => self.checkpoints.start_over(),
        }
        Some(result.map(|_| (position, at)).map_err(|error| error.to_string()))
    }

    /// Whether the log takes requests.
    pub(super) fn accepts(&self) -> bool {
        self.log.accepts().is_ok()
    }

    /// Begins to end, when the last tick is done and nobody writes any more: what is left is for
    /// [`commit`](Self::commit). Returns whether the log is whole.
    pub(super) fn close(&mut self, now: Timestamp) -> (Vec<Answered>, bool, Position) {
        let answered = self.write_queued(now);
        let is_closed = self.log.close(now).is_ok();
        (answered, is_closed, self.begin_checkpoint(now))
    }

    pub(super) fn install(&self, slos: Vec<Slo>, now: Timestamp) {
        self.pipeline.install(slos, now);
    }

    fn begin_checkpoint(&mut self, now: Timestamp) -> Position {
        let frozen = self.pipeline.freeze(|| self.log.next());
        let checkpoint = self.checkpoints.take(&mut self.pipeline, now, frozen);
        let position = (checkpoint.position, checkpoint.at);
        self.committing = Some(checkpoint);
        position
    }
}

fn position(checkpoint: state::Checkpoint) -> Position {
    (Sequence(checkpoint.position), checkpoint.at)
}
