//! The tasks that write reports to other servers: for each server one makes rounds of the newest report, and one
//! sends what waits, one request after the other, so that samples come in the order of their times.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle, time::MissedTickBehavior};

use super::{Shared, throttle::Throttle};
use crate::{
    client::{CertificateError, Client, Failure, Question},
    exposition,
    remote_write::{self, Batch, Config, Queue, Rounds, Verdict},
    time::Clock,
};

/// The running tasks; they end when this is dropped.
#[derive(Debug)]
pub(super) struct RemoteWriting(Vec<JoinHandle<()>>);

/// What both tasks of a server share.
#[derive(Debug)]
struct Endpoint {
    name: String,
    client: Client,
    queue: Mutex<Queue>,
    /// There is something to send.
    filled: Notify,
    shared: Arc<Shared>,
    log: Throttle,
}

// === impl RemoteWriting ===

impl RemoteWriting {
    /// Starts the tasks on the present runtime.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub(super) fn start(
        configs: Vec<Config>,
        published: &exposition::Config,
        shared: &Arc<Shared>,
    ) -> Result<Self, CertificateError> {
        let mut tasks = Self(Vec::new());
        for config in configs {
            let endpoint = Arc::new(Endpoint {
                name: config.name.clone(),
                client: Client::new(config.client.clone())?,
                queue: Mutex::new(Queue::new(config.queue_bytes_max)),
                filled: Notify::new(),
                shared: Arc::clone(shared),
                log: Throttle::default(),
            });
            endpoint.shared.telemetry.remote_write.begin(&endpoint.name);
            let (interval, rounds) = (config.interval, Rounds::new(config, published));
            tasks.0.push(tokio::spawn(fill(Arc::clone(&endpoint), interval, rounds)));
            tasks.0.push(tokio::spawn(send(endpoint)));
        }
        Ok(tasks)
    }
}

impl Drop for RemoteWriting {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Makes rounds, on a thread that may be busy for a while.
async fn fill(endpoint: Arc<Endpoint>, interval: Duration, rounds: Rounds) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Some(rounds);
    while let Some(mut rounds) = waiting.take() {
        ticks.tick().await;
        let shared = Arc::clone(&endpoint.shared);
        let made = tokio::task::spawn_blocking(move || {
            let batches = shared.report().map_or_else(Vec::new, |report| rounds.next(&report));
            (rounds, batches)
        });
        // It panicked, or the runtime ends.
        let Ok((rounds, batches)) = made.await else { return };
        waiting = Some(rounds);
        endpoint.push(batches);
    }
}

async fn send(endpoint: Arc<Endpoint>) {
    let mut failures = 0;
    loop {
        let Some(batch) = endpoint.front() else {
            endpoint.filled.notified().await;
            continue;
        };
        let question = Question {
            method: hyper::Method::POST,
            path: "",
            headers: remote_write::headers(),
            body: batch.body.clone(),
        };
        let answer = endpoint.client.ask(question).await.map(|_| ());
        let verdict = Verdict::of(&answer);
        endpoint.note(&batch, verdict, &answer, failures);
        let Verdict::Later(pause) = verdict else {
            failures = 0;
            continue;
        };
        failures += 1;
        tokio::time::sleep(pause.unwrap_or_else(|| remote_write::backoff(failures))).await;
    }
}

// === impl Endpoint ===

impl Endpoint {
    fn push(&self, batches: Vec<Batch>) {
        let metrics = &self.shared.telemetry.remote_write;
        let (dropped, bytes, samples) = {
            let mut queue = self.queue.lock();
            (queue.push(batches), queue.bytes(), queue.samples())
        };
        metrics.note_queue(&self.name, bytes, samples);
        metrics.note_samples(&self.name, "dropped", dropped);
        if dropped > 0 {
            tracing::warn!(
                to = self.name,
                samples = dropped,
                "the oldest samples are given up, the queue is full (queue_bytes_max)"
            );
        }
        self.filled.notify_one();
    }

    fn front(&self) -> Option<Batch> {
        self.queue.lock().front().cloned()
    }

    fn note(&self, batch: &Batch, verdict: Verdict, answer: &Result<(), Failure>, failures: u32) {
        let metrics = &self.shared.telemetry.remote_write;
        metrics.note_request(&self.name, verdict.outcome());
        if !matches!(verdict, Verdict::Later(_)) {
            let (was_there, bytes, samples) = {
                let mut queue = self.queue.lock();
                (queue.done(batch), queue.bytes(), queue.samples())
            };
            // What was given up meanwhile is counted as that.
            metrics.note_samples(&self.name, verdict.outcome(), if was_there { batch.samples } else { 0 });
            metrics.note_queue(&self.name, bytes, samples);
        }
        match answer {
            Ok(()) => {
                metrics.note_success(&self.name, self.shared.clock.now().seconds());
                if failures > 0 {
                    tracing::info!(to = self.name, "remote write goes on");
                }
            }
            Err(error) => {
                if let Some(held_back) = self.log.admit(self.shared.clock.elapsed()) {
                    let outcome = verdict.outcome();
                    tracing::warn!(to = self.name, %error, outcome, held_back, "cannot write series");
                }
            }
        }
    }
}
