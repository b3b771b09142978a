//! The task that fills in the history of SLOs from a source, and the thread that ticks in between, which adds what was
//! found to the windows.
//!
//! SLOs with the same beginning are filled in together, some at a time; what is done is done, also over a restart. The
//! source is busy with this for half of the time at most.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::sync::{mpsc, oneshot};

use super::{Shared, throttle::Throttle};
use crate::{
    backfill::{Backfill, Filled},
    matching::{Beginning, Instances},
    pipeline::{self, Histories, Pipeline},
    slo::{Slo, SloId},
    source::{Pieces, Source, pause_after},
    time::Clock,
};

/// The side of the thread that ticks.
#[derive(Debug)]
pub(super) struct Backfilling {
    filled: mpsc::Receiver<Batch>,
}

/// The side of the task.
#[derive(Debug)]
struct Filler {
    source: Arc<Source>,
    config: pipeline::Config,
    /// How far behind the clock history is complete.
    delay: Duration,
    instances: Arc<Instances>,
    shared: Arc<Shared>,
    log: Throttle,
}

/// The histories of some SLOs.
#[derive(Debug)]
struct Batch {
    beginning: Beginning,
    slos: Vec<(Arc<Slo>, Histories)>,
    /// Told once they are in the windows.
    done: oneshot::Sender<()>,
}

// A batch has windows of its own, some 10 KB for each SLO and group; and what is done is not done again.
const SLOS_AT_ONCE: usize = 200;
// Some hundred thousand samples of a thousand series. Where that is too much it is halved.
const PIECE: Duration = Duration::from_secs(3_600);
// Others have to be answered, too.
const SHARE_MAX: f64 = 0.5;
// How often it is looked for SLOs that have begun.
const IDLE: Duration = Duration::from_secs(1);
// After a request that was not answered: from and to.
const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(60);

// === impl Backfilling ===

impl Backfilling {
    /// Starts the task on the present runtime. It ends when this is dropped.
    pub(super) fn start(
        source: Arc<Source>,
        config: pipeline::Config,
        delay: Duration,
        instances: Arc<Instances>,
        shared: Arc<Shared>,
    ) -> Self {
        let (done, filled) = mpsc::channel(1);
        // Evaluated time must be beyond what is added.
        let delay = delay + config.engine.delay + config.engine.resolution() * 4;
        let filler = Filler { source, config, delay, instances, shared, log: Throttle::default() };
        tokio::spawn(filler.run(done));
        Self { filled }
    }

    /// Adds what was found to the windows. To be called between two evaluations.
    pub(super) fn advance(&mut self, pipeline: &mut Pipeline) {
        let Ok(Batch { beginning, slos, done }) = self.filled.try_recv() else { return };
        for (slo, histories) in slos {
            for error in pipeline.absorb(&slo, beginning, histories) {
                tracing::error!(slo = %slo.id, %error, "BUG: history cannot be added");
            }
        }
        // Fails when the daemon ends.
        let _ = done.send(());
    }
}

// === impl Filler ===

impl Filler {
    async fn run(self, batches: mpsc::Sender<Batch>) {
        while !batches.is_closed() {
            match self.next_batch() {
                Some((beginning, slos)) => self.fill(beginning, slos, &batches).await,
                None => tokio::time::sleep(IDLE).await,
            }
        }
    }

    /// SLOs of one beginning that is long enough ago.
    fn next_batch(&self) -> Option<(Beginning, Vec<Arc<Slo>>)> {
        self.publish(0.0, &HashSet::new());
        let unfilled = self.instances.unfilled();
        let now = self.shared.clock.now();
        let (_, beginning) = *unfilled.iter().find(|(_, beginning)| beginning.at + self.delay <= now)?;
        let same = unfilled.into_iter().filter(|(_, at)| *at == beginning);
        Some((beginning, same.map(|(slo, _)| slo).take(SLOS_AT_ONCE).collect()))
    }

    async fn fill(&self, beginning: Beginning, slos: Vec<Arc<Slo>>, batches: &mpsc::Sender<Batch>) {
        let start = self.shared.clock.elapsed();
        let (config, own) = (self.config.clone(), slos.iter().map(|slo| Slo::clone(slo)).collect());
        let Some(mut backfill) = apart(move || Backfill::new(config, own, beginning)).await else { return };
        let (from, until) = backfill.span();
        let (selectors, mut pieces) = (backfill.selectors().to_vec(), Pieces::new(from, until, PIECE));
        let filling: HashSet<_> = slos.iter().map(|slo| slo.id.clone()).collect();
        let mut backoff = BACKOFF_MIN;
        loop {
            let asked = self.shared.clock.elapsed();
            match self.source.read_next(&selectors, &mut pieces).await {
                Ok(Some(piece)) => {
                    backoff = BACKOFF_MIN;
                    let asked = self.shared.clock.elapsed().saturating_sub(asked);
                    let end = piece.end;
                    let added = apart(move || {
                        backfill.add(&piece.series, end);
                        backfill
                    });
                    let Some(added) = added.await else { return };
                    backfill = added;
                    self.publish(backfill.progress(), &filling);
                    tokio::time::sleep(pause_after(asked, SHARE_MAX)).await;
                }
                Ok(None) => break,
                Err(error) => {
                    if let Some(held_back) = self.log.admit(self.shared.clock.elapsed()) {
                        tracing::warn!(%error, held_back, "history cannot be had; it is asked for again");
                    }
                    tokio::time::sleep(backoff).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
            if batches.is_closed() {
                return;
            }
        }
        let samples = backfill.samples();
        let Some(filled) = apart(move || backfill.finish()).await else { return };
        let (done, is_done) = oneshot::channel();
        let batch = Batch { beginning, slos: by_slo(slos, filled), done };
        if batches.send(batch).await.is_ok() && is_done.await.is_ok() {
            let duration = self.shared.clock.elapsed().saturating_sub(start);
            self.shared.telemetry.backfill.samples.inc_by(samples);
            tracing::info!(slos = filling.len(), samples, %from, %until, ?duration, "history is filled in");
        }
    }

    /// Publishes how far SLOs are; those that are being filled in by this part.
    fn publish(&self, progress: f64, filling: &HashSet<SloId>) {
        let begun = self.instances.begun();
        let part = |slo: &Slo, beginning: &Beginning| match beginning.is_filled {
            true => 1.0,
            false if filling.contains(&slo.id) => progress,
            false => 0.0,
        };
        let parts =
            begun.iter().map(|(slo, beginning)| (&*slo.id.service, &*slo.id.name, part(slo, beginning)));
        self.shared.telemetry.backfill.publish(parts);
    }
}

fn by_slo(slos: Vec<Arc<Slo>>, filled: Vec<Filled>) -> Vec<(Arc<Slo>, Histories)> {
    let mut by_slo: Vec<(Arc<Slo>, Vec<_>)> = slos.into_iter().map(|slo| (slo, Vec::new())).collect();
    let places: HashMap<_, usize> =
        by_slo.iter().enumerate().map(|(place, (slo, _))| (slo.id.clone(), place)).collect();
    for Filled { slo, role, group, state } in filled {
        if let Some(place) = places.get(&slo) {
            by_slo[*place].1.push((role, group, state));
        }
    }
    by_slo
}

/// Counting takes its time, which requests should not wait for.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "BUG: filling in history panicked")).ok()
}
