//! What keeps the state over restarts: recovery at the start, checkpoints while it runs, and the two threads that write.
//!
//! ```text
//! requests ─append─▶ log thread: write, sync, acknowledge
//! ticks ─checkpoint─▶ state thread: commit, release the log ─outcome─▶ ticks
//! ```
//!
//! The thread that ticks takes checkpoints and never waits for the disk: while one is being written the next is not
//! taken.

use std::{
    io,
    path::Path,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use super::SystemClock;
use crate::{
    pipeline::{self, Mark, Pipeline},
    slo::Slo,
    storage::{
        checkpoint::{Checkpoint, Checkpoints},
        disk::{Disk, RealDisk},
        log::{self, Log, Sequence},
        recovery::{self, Findings, Recovered},
        state::{self, Found, StateStore},
    },
    telemetry::{StateMetrics, Telemetry},
    time::Clock,
};

/// Takes checkpoints when they are due. Belongs to the thread that ticks.
#[derive(Debug)]
pub(super) struct Keeper {
    interval: Duration,
    checkpoints: Checkpoints,
    /// When the last one was taken, in steady time; `None` before the first.
    taken: Option<Duration>,
    /// The plan that it was of.
    generation: u64,
    log: Arc<Log>,
    writer: Writer,
    log_thread: JoinHandle<()>,
    metrics: StateMetrics,
}

/// The thread that commits, as the one that ticks sees it.
#[derive(Debug)]
struct Writer {
    /// Each with the time at which it was begun.
    checkpoints: mpsc::SyncSender<(Duration, Checkpoint)>,
    /// Whether one was written.
    outcomes: mpsc::Receiver<bool>,
    is_busy: bool,
    thread: JoinHandle<()>,
}

/// Reads what is in a directory, and says what was found.
pub(super) fn recover(
    path: &Path,
    config: pipeline::Config,
    log: log::Config,
    slos: Vec<Slo>,
    telemetry: &Telemetry,
    clock: &SystemClock,
) -> anyhow::Result<Recovered> {
    let start = clock.elapsed();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path));
    let recovered = recovery::recover(&disk, config, log, slos, telemetry, clock.now())?;
    tell(&recovered.findings, clock.elapsed().saturating_sub(start));
    Ok(recovered)
}

fn tell(findings: &Findings, duration: Duration) {
    let Findings { state, log, damaged, left_behind, samples, .. } = findings;
    match state {
        Found::New if log.records > 0 => {
            tracing::error!("{state}: SLOs have the history that the log holds");
        }
        Found::New | Found::Intact => (),
        Found::Salvaged { .. } => tracing::error!("{state}; what is not whole begins anew"),
        Found::SetAside { .. } => tracing::error!("{state}: SLOs have the history that the log holds"),
    }
    for damaged in damaged {
        tracing::error!("{damaged}");
    }
    for finding in &log.findings {
        tracing::warn!("log: {finding}");
    }
    if log.lost() > 0 {
        tracing::error!(records = log.lost(), "acknowledged requests are missing from the log");
    }
    if *left_behind > 0 {
        tracing::info!(slos = left_behind, "the history of SLOs ends that are not in force as they were");
    }
    tracing::info!(samples, records = log.records, ?duration, "recovered");
}

// === impl Keeper ===

impl Keeper {
    /// Starts the threads that write.
    pub(super) fn start(
        interval: Duration,
        log: Arc<Log>,
        store: StateStore,
        telemetry: &Telemetry,
        clock: &Arc<SystemClock>,
    ) -> io::Result<Self> {
        let log_thread = {
            let (log, clock) = (Arc::clone(&log), Arc::clone(clock));
            let thread = thread::Builder::new().name("slod-log".to_owned());
            thread.spawn(move || log.run(|| clock.now(), || clock.elapsed()))?
        };
        let writer = Writer::start(store, Arc::clone(&log), telemetry.clone(), Arc::clone(clock))?;
        Ok(Self {
            interval,
            checkpoints: Checkpoints::default(),
            taken: None,
            generation: 0,
            log,
            writer,
            log_thread,
            metrics: telemetry.state.clone(),
        })
    }

    /// Takes a checkpoint if one is due. To be called after a tick.
    pub(super) fn advance(&mut self, pipeline: &mut Pipeline, clock: &SystemClock) {
        if self.writer.poll() == Some(false) {
            self.checkpoints.start_over();
        }
        let now = clock.elapsed();
        let generation = pipeline.instances().plan().generation();
        let is_due = self.taken.is_none_or(|taken| now.saturating_sub(taken) >= self.interval);
        if self.writer.is_busy || !(is_due || generation != self.generation) {
            return;
        }
        (self.taken, self.generation) = (Some(now), generation);
        let (at, frozen) = (clock.now(), freeze(pipeline, &self.log, &self.metrics, clock));
        let checkpoint = self.checkpoints.take(pipeline, at, frozen);
        self.writer.begin(now, checkpoint);
    }

    /// Takes a last checkpoint, and waits until everything is written. Nobody may write requests any more.
    pub(super) fn finish(mut self, pipeline: &mut Pipeline, clock: &SystemClock) {
        if self.writer.wait() == Some(false) {
            self.checkpoints.start_over();
        }
        self.log.stop();
        let joined = self.log_thread.join();
        let closed = self.log.close(clock.now());
        if joined.is_err() || closed.is_err() {
            tracing::error!(reason = ?closed.err(), "not all of the log is known to be written");
        }
        let now = clock.elapsed();
        let (at, frozen) = (clock.now(), freeze(pipeline, &self.log, &self.metrics, clock));
        let checkpoint = self.checkpoints.take(pipeline, at, frozen);
        self.writer.begin(now, checkpoint);
        self.writer.finish();
    }
}

// === impl Writer ===

impl Writer {
    fn start(
        mut store: StateStore,
        log: Arc<Log>,
        telemetry: Telemetry,
        clock: Arc<SystemClock>,
    ) -> io::Result<Self> {
        let (checkpoints, to_write) = mpsc::sync_channel::<(Duration, Checkpoint)>(1);
        let (done, outcomes) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("slod-state".to_owned()).spawn(move || {
            for (start, checkpoint) in to_write {
                let is_written = commit(&mut store, &log, checkpoint);
                let duration = clock.elapsed().saturating_sub(start);
                telemetry.state.checkpoint_duration.record(duration);
                // Fails only when nobody ticks any more.
                let _ = done.send(is_written);
            }
        })?;
        Ok(Self { checkpoints, outcomes, is_busy: false, thread })
    }

    /// Whether the last one was written; `None` while it is not known, or nothing was to be.
    fn poll(&mut self) -> Option<bool> {
        let outcome = self.outcomes.try_recv().ok()?;
        self.is_busy = false;
        Some(outcome)
    }

    fn wait(&mut self) -> Option<bool> {
        let outcome = self.is_busy.then(|| self.outcomes.recv().unwrap_or(false));
        self.is_busy = false;
        outcome
    }

    fn begin(&mut self, start: Duration, checkpoint: Checkpoint) {
        // Not full, as the one before is done with.
        self.is_busy = self.checkpoints.try_send((start, checkpoint)).is_ok();
    }

    fn finish(mut self) {
        if self.wait() != Some(true) {
            tracing::error!("the last checkpoint is not written; the log has what came since the one before");
        }
        drop(self.checkpoints);
        if self.thread.join().is_err() {
            tracing::error!("BUG: the thread that writes the state panicked");
        }
    }
}

/// What was there before stays in the file until all is written anew: so it is twice as long as it need be.
fn compact(store: &mut StateStore) {
    if let Err(error) = store.compact() {
        tracing::warn!(%error, "the file of the state is larger than it need be");
    }
}

fn freeze(
    pipeline: &mut Pipeline,
    log: &Log,
    metrics: &StateMetrics,
    clock: &SystemClock,
) -> (Sequence, Mark) {
    let start = clock.elapsed();
    let frozen = pipeline.freeze(|| log.next());
    metrics.freeze_duration.record(clock.elapsed().saturating_sub(start));
    frozen
}

fn commit(store: &mut StateStore, log: &Log, checkpoint: Checkpoint) -> bool {
    let is_of_everything = checkpoint.is_of_everything();
    let Checkpoint { position, at, clear, changes } = checkpoint;
    match store.commit(state::Checkpoint { position: position.0, at }, &clear, changes) {
        Ok(_) => {
            log.release(position);
            if is_of_everything {
                compact(store);
            }
            true
        }
        Err(error) => {
            tracing::error!(%error, "a checkpoint is not written; the log keeps what came since the one before");
            false
        }
    }
}
