//! The thread that evaluates. A thread and not a task: a tick is pure computation, and must neither wait
//! for nor hold up the runtime that serves requests.

use std::{
    io,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{Shared, backfilling::Backfilling, keeping::Keeper, notifying::Bell, pulling::Pulling};
use crate::{
    pipeline::Pipeline,
    report::Roster,
    time::{Clock, Timestamp},
    window::Copied,
};

/// The running thread.
#[derive(Debug)]
pub(super) struct Ticker {
    calls: Calls,
    /// Closed when the thread ends, however it does.
    alive: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

/// What the thread is asked to do between evaluations.
pub(super) type Calls = mpsc::SyncSender<Call>;

/// See [`Calls`].
#[derive(Debug)]
pub(super) enum Call {
    /// Evaluate once more and end.
    Stop,
    /// Copy histories for a reader.
    Copy(CopyOrder),
}

/// Which histories to copy, and whom to give them to.
#[derive(Debug)]
pub(super) struct CopyOrder {
    /// That of the report that the places are of.
    pub(super) roster: Arc<Roster>,
    pub(super) places: Vec<usize>,
    /// `None` if instances came or went since that report.
    pub(super) answer: mpsc::SyncSender<Option<Vec<Copied>>>,
}

/// What it does beside evaluating.
#[derive(Debug)]
pub(super) struct Duties {
    pub(super) keeper: Keeper,
    pub(super) bell: Bell,
    pub(super) pulling: Option<Pulling>,
    pub(super) backfilling: Option<Backfilling>,
}

// Readers that wait for copies; further ones are told to try again.
pub(super) const CALLS_MAX: usize = 16;
// How often series that ended long ago are forgotten.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

// === impl Ticker ===

impl Ticker {
    /// Ticks at every multiple of `interval` of the wall clock.
    pub(super) fn start(
        pipeline: Pipeline,
        duties: Duties,
        shared: Arc<Shared>,
        interval: Duration,
        called: mpsc::Receiver<Call>,
    ) -> io::Result<Self> {
        let calls = shared.calls.clone();
        let (guard, alive) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("slod-tick".to_owned()).spawn(move || {
            let _guard = guard;
            run(pipeline, duties, &shared, interval, &called);
        })?;
        Ok(Self { calls, alive, thread })
    }

    /// Returns when the thread has ended, which it does by itself only by a bug of ours.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.alive).await;
    }

    /// Ticks once more and ends.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        // Fails only when the thread is gone already, which joining tells.
        let _ = self.calls.send(Call::Stop);
        self.thread.join().map_err(|_| anyhow::anyhow!("BUG: the evaluation thread panicked"))
    }
}

fn run(
    mut pipeline: Pipeline,
    mut duties: Duties,
    shared: &Shared,
    interval: Duration,
    called: &mpsc::Receiver<Call>,
) {
    // In steady time: a clock that was set back must not put it off.
    let mut swept = Duration::ZERO;
    loop {
        shared.tick(&mut pipeline, &mut duties);
        duties.keeper.advance(&mut pipeline, &shared.clock);
        let now = shared.clock.now();
        if shared.clock.elapsed().saturating_sub(swept) >= SWEEP_INTERVAL {
            shared.ingest.sweep(now);
            swept = shared.clock.elapsed();
        }
        if !answer_until(now.floor(interval) + interval, &pipeline, shared, called) {
            shared.tick(&mut pipeline, &mut duties);
            return duties.keeper.finish(&mut pipeline, &shared.clock);
        }
    }
}

/// Waits for the next evaluation and does what is asked meanwhile, a fraction of a millisecond each. False if it is to
/// end.
fn answer_until(
    next: Timestamp,
    pipeline: &Pipeline,
    shared: &Shared,
    called: &mpsc::Receiver<Call>,
) -> bool {
    loop {
        let left = next.since(shared.clock.now());
        match called.recv_timeout(left) {
            Err(mpsc::RecvTimeoutError::Timeout) => return true,
            Err(mpsc::RecvTimeoutError::Disconnected) | Ok(Call::Stop) => return false,
            Ok(Call::Copy(CopyOrder { roster, places, answer })) => {
                // Fails only when nobody waits any more.
                let _ = answer.try_send(pipeline.copied(&roster, &places));
                if left.is_zero() {
                    return true;
                }
            }
        }
    }
}
