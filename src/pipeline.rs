//! The core from remote-write body to report, put together: no clock, no socket, no thread.
//!
//! Who has it calls [`write`](Pipeline::write) with what arrives and [`tick`](Pipeline::tick) as time passes, and
//! passes the time to both. It does not know where bodies come from, nor who reads reports.
//!
//! The invariant: the same calls with the same arguments give the same reports, whether the samples are of this
//! moment or of last month.

use std::{sync::Arc, time::Duration};

use crate::{
    engine::{self, Engine},
    ingest::{self, Ingest, WriteError, WriteStats},
    matching::{Instances, Plan},
    prompb::Version,
    report::Report,
    sampling::{Answered, Order, Puller, Sampler, Unanswered},
    slo::Slo,
    telemetry::Telemetry,
    time::{Latest, Timestamp},
    window::OpenSlots,
};

/// How its parts behave.
#[derive(Clone, Debug)]
pub struct Config {
    /// When to evaluate.
    pub engine: engine::Config,
    /// What to accept.
    pub ingest: ingest::Config,
    /// The most groups of an SLO.
    pub groups_per_slo_max: usize,
    /// How far behind evaluated time sources are asked.
    pub pull_delay: Duration,
}

/// A daemon without its shell.
#[derive(Debug)]
pub struct Pipeline {
    ingest: Arc<Ingest>,
    instances: Arc<Instances>,
    sampler: Sampler,
    puller: Puller,
    engine: Engine,
    last_request: Arc<Latest>,
    resolution: Duration,
}

// === impl Pipeline ===

impl Pipeline {
    /// A pipeline for these SLOs that has seen nothing before `now`.
    pub fn new(config: Config, slos: Vec<Slo>, telemetry: &Telemetry, now: Timestamp) -> Self {
        let Config { engine, ingest, groups_per_slo_max, pull_delay } = config;
        let resolution = engine.resolution();
        let open = Arc::new(OpenSlots::new(resolution));
        let instances = Arc::new(Instances::new(Arc::new(Plan::new(slos, resolution)), groups_per_slo_max));
        let evaluation = telemetry.evaluation.clone();
        let engine = Engine::new(engine, Arc::clone(&instances), Arc::clone(&open), evaluation, now);
        let ingest = Ingest::new(ingest, Arc::clone(&instances), Arc::clone(&open), telemetry);
        let recent = ingest.recent();
        let sampling = telemetry.sampling.clone();
        let sampler = Sampler::new(Arc::clone(&instances), Arc::clone(&open), recent, sampling);
        let puller = Puller::new(Arc::clone(&instances), open, pull_delay, telemetry.pull.clone());
        let (ingest, last_request) = (Arc::new(ingest), Arc::default());
        Self { ingest, instances, sampler, puller, engine, last_request, resolution }
    }

    /// Puts other SLOs in force.
    pub fn install(&self, slos: Vec<Slo>) {
        self.ingest.install(Plan::new(slos, self.resolution));
    }

    /// Counts a body of either version as it came.
    ///
    /// # Errors
    /// What ingest says of it.
    pub fn write(&self, version: Version, body: &[u8], now: Timestamp) -> Result<WriteStats, WriteError> {
        self.last_request.note(now);
        self.ingest.write(version, body, now)
    }

    /// Counts a message of either version that is not compressed.
    ///
    /// # Errors
    /// What ingest says of it.
    pub fn write_message(
        &self,
        version: Version,
        message: &[u8],
        now: Timestamp,
    ) -> Result<WriteStats, WriteError> {
        self.last_request.note(now);
        self.ingest.write_message(version, message, now)
    }

    /// Evaluates: [`sample`](Self::sample), then [`judge`](Self::judge).
    pub fn tick(&mut self, now: Timestamp) -> Arc<Report> {
        self.sample(now);
        self.judge(now)
    }

    /// Asks expressions at the steps that are due. Returns how many those were.
    pub fn sample(&mut self, now: Timestamp) -> usize {
        self.sampler.advance(self.engine.event_time(now), now)
    }

    /// Judges every SLO.
    pub fn judge(&mut self, now: Timestamp) -> Arc<Report> {
        self.engine.tick(now, &self.last_request)
    }

    /// What a source is to be asked, at most `room` orders.
    pub fn poll_orders(&mut self, now: Timestamp, room: usize) -> Vec<Order> {
        self.puller.poll_orders(self.engine.event_time(now), room)
    }

    /// Tells what became of an order.
    pub fn handle_answer(&mut self, order: u64, answer: Result<Answered, Unanswered>) {
        self.puller.handle_answer(order, answer);
    }

    /// The way in, which threads may share.
    pub fn ingest(&self) -> &Arc<Ingest> {
        &self.ingest
    }

    /// When any sender last delivered anything; whoever writes to [`ingest`](Self::ingest) itself notes it there.
    pub fn last_request(&self) -> &Arc<Latest> {
        &self.last_request
    }

    /// The instances of its SLOs.
    pub fn instances(&self) -> &Instances {
        &self.instances
    }
}
