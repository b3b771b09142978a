//! The tasks that ask a source for pulled SLOs, and the thread that ticks in between: it gives out orders and
//! counts answers, and never waits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, mpsc};

use super::{Shared, throttle::Throttle};
use crate::{
    pipeline::Pipeline,
    sampling::{Answered, Matrix, Order, Unanswered},
    source::{self, Source},
    time::{Clock, Timestamp},
};

/// The side of the thread that ticks.
#[derive(Debug)]
pub(super) struct Pulling {
    orders: mpsc::Sender<Order>,
    answers: mpsc::Receiver<Answer>,
}

/// The side of the tasks.
#[derive(Debug)]
struct Asker {
    source: Arc<Source>,
    shared: Arc<Shared>,
    log: Throttle,
    is_failing: AtomicBool,
}

type Answer = (u64, Result<Answered, Unanswered>);

// Less than half of what a Prometheus evaluates at once (query.max-concurrency); a source is there for others.
const CONCURRENT_MAX: usize = 8;
// Orders that wait for a task, and answers that wait for a tick. SLOs beyond that wait with the puller.
const QUEUE_MAX: usize = 64;

// === impl Pulling ===

impl Pulling {
    /// Starts the tasks on the present runtime. They end when this is dropped.
    pub(super) fn start(source: Arc<Source>, shared: Arc<Shared>) -> Self {
        let (orders, to_do) = mpsc::channel(QUEUE_MAX);
        let (done, answers) = mpsc::channel(QUEUE_MAX);
        for outcome in source::OUTCOMES {
            // Every outcome is there from the start, so that `rate()` sees the first of a kind.
            shared.telemetry.pull.requests.with_label_values(&[source.name(), outcome]).inc_by(0);
        }
        let asker = Asker { source, shared, log: Throttle::default(), is_failing: AtomicBool::new(false) };
        tokio::spawn(run(Arc::new(asker), to_do, done));
        Self { orders, answers }
    }

    /// Counts what was answered, and orders what is due.
    pub(super) fn advance(&mut self, pipeline: &mut Pipeline, now: Timestamp) {
        while let Ok((number, answer)) = self.answers.try_recv() {
            pipeline.handle_answer(number, answer);
        }
        for order in pipeline.poll_orders(now, self.orders.capacity()) {
            let number = order.number;
            if self.orders.try_send(order).is_err() {
                pipeline.handle_answer(number, Err(Unanswered { may_be_of_size: false }));
            }
        }
    }
}

async fn run(asker: Arc<Asker>, mut orders: mpsc::Receiver<Order>, answers: mpsc::Sender<Answer>) {
    let room = Arc::new(Semaphore::new(CONCURRENT_MAX));
    while let Some(order) = orders.recv().await {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let (asker, answers) = (Arc::clone(&asker), answers.clone());
        tokio::spawn(async move {
            let answer = asker.fetch(&order).await;
            // Fails only when nobody ticks any more.
            let _ = answers.send((order.number, answer)).await;
            drop(permit);
        });
    }
}

// === impl Asker ===

impl Asker {
    async fn fetch(&self, order: &Order) -> Result<Answered, Unanswered> {
        let mut said = Vec::new();
        for query in order.question.expressions() {
            said.push(self.ask(query, order).await?);
        }
        let mut said = said.into_iter();
        Ok(order.question.as_ref().map(|_| said.next().unwrap_or_default()))
    }

    async fn ask(&self, query: &str, order: &Order) -> Result<Matrix, Unanswered> {
        let Order { first, last, step, .. } = *order;
        let start = self.shared.clock.elapsed();
        let said = if first == last {
            let vector = self.source.query(query, first).await;
            vector.map(|vector| {
                vector.into_iter().map(|(labels, value)| (labels, vec![(first, value)])).collect()
            })
        } else {
            self.source.query_range(query, first, last, step).await
        };
        self.note(&said, self.shared.clock.elapsed().saturating_sub(start));
        said.map_err(|error| Unanswered { may_be_of_size: error.reason.may_be_of_size() })
    }

    fn note(&self, said: &Result<Matrix, source::Error>, duration: Duration) {
        let (metrics, name) = (&self.shared.telemetry.pull, self.source.name());
        let outcome = said.as_ref().map_or_else(|error| error.reason.outcome(), |_| "answered");
        metrics.requests.with_label_values(&[name, outcome]).inc();
        metrics.duration.record(duration);
        let was_failing = self.is_failing.swap(said.is_err(), Ordering::Relaxed);
        match said {
            Ok(_) => {
                metrics.last_success.with_label_values(&[name]).set(self.shared.clock.now().seconds());
                if was_failing {
                    tracing::info!(source = name, "the source answers again");
                }
            }
            Err(error) => {
                if let Some(held_back) = self.log.admit(self.shared.clock.elapsed()) {
                    tracing::warn!(%error, held_back, "the steps of an SLO wait, and are asked for again");
                }
            }
        }
    }
}
