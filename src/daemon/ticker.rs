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
use crate::{pipeline::Pipeline, time::Clock};

/// The running thread.
#[derive(Debug)]
pub(super) struct Ticker {
    stop: mpsc::SyncSender<()>,
    /// Closed when the thread ends, however it does.
    alive: oneshot::Receiver<()>,
    thread: JoinHandle<()>,
}

/// What it does beside evaluating.
#[derive(Debug)]
pub(super) struct Duties {
    pub(super) keeper: Keeper,
    pub(super) bell: Bell,
    pub(super) pulling: Option<Pulling>,
    pub(super) backfilling: Option<Backfilling>,
}

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
    ) -> io::Result<Self> {
        let (stop, stopped) = mpsc::sync_channel(1);
        let (guard, alive) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("slod-tick".to_owned()).spawn(move || {
            let _guard = guard;
            run(pipeline, duties, &shared, interval, &stopped);
        })?;
        Ok(Self { stop, alive, thread })
    }

    /// Returns when the thread has ended, which it does by itself only by a bug of ours.
    pub(super) async fn ended(&mut self) {
        let _ = (&mut self.alive).await;
    }

    /// Ticks once more and ends.
    pub(super) fn stop(self) -> anyhow::Result<()> {
        // Fails only when the thread is gone already, which joining tells.
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| anyhow::anyhow!("BUG: the evaluation thread panicked"))
    }
}

fn run(
    mut pipeline: Pipeline,
    mut duties: Duties,
    shared: &Shared,
    interval: Duration,
    stopped: &mpsc::Receiver<()>,
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
        let next = now.floor(interval) + interval;
        if stopped.recv_timeout(next.since(now)) != Err(mpsc::RecvTimeoutError::Timeout) {
            shared.tick(&mut pipeline, &mut duties);
            return duties.keeper.finish(&mut pipeline, &shared.clock);
        }
    }
}
