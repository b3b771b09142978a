//! The [`Pipeline`] driven by hand, with samples that a test makes up.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prost::Message;

use crate::{
    api, engine, exposition,
    ingest::{self, WriteError, WriteStats},
    labels::Labels,
    matching::Instances,
    pipeline::{self, Pipeline},
    prompb::{
        Version,
        generated::{v1 as wire, v2},
    },
    report::{Report, Roster},
    sampling::{Answered, Order, PullerState, SamplerState, Unanswered},
    slo::Slo,
    telemetry::Telemetry,
    time::Timestamp,
    web,
};

/// One sample of one series, as a sender has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// The series.
    pub labels: Labels,
    /// The time of the sample.
    pub at: Timestamp,
    /// Its value.
    pub value: f64,
}

/// A daemon without its shell, and what it says of itself.
#[derive(Debug)]
pub struct World {
    pipeline: Pipeline,
    telemetry: Telemetry,
}

/// More groups than any test opens by accident.
const GROUPS_MAX: usize = 1_000;

// === impl World ===

impl World {
    /// A world in which it is `now`.
    pub fn new(slos: Vec<Slo>, engine: engine::Config, ingest: ingest::Config, now: Timestamp) -> Self {
        Self::with_groups(slos, engine, ingest, now, GROUPS_MAX)
    }

    /// A world with another limit on the groups of an SLO.
    pub fn with_groups(
        slos: Vec<Slo>,
        engine: engine::Config,
        ingest: ingest::Config,
        now: Timestamp,
        groups_per_slo_max: usize,
    ) -> Self {
        let telemetry = Telemetry::new();
        let config = pipeline::Config {
            engine,
            ingest,
            groups_per_slo_max,
            pull_delay: Duration::ZERO,
            begins_after: None,
        };
        let pipeline = Pipeline::new(config, slos, &telemetry, now);
        Self { pipeline, telemetry }
    }

    /// The usual configuration, but evaluated without delay and with series counted as born at once.
    pub fn immediate(slos: Vec<Slo>, interval: Duration, now: Timestamp) -> Self {
        let engine = engine::Config { delay: Duration::ZERO, interval, ..engine::Config::default() };
        let ingest = ingest::Config { warm_up: Duration::ZERO, ..ingest::Config::default() };
        Self::new(slos, engine, ingest, now)
    }

    /// Puts other SLOs in force.
    pub fn install(&self, slos: Vec<Slo>) {
        let now = self.pipeline.last_request().get().unwrap_or_default();
        self.pipeline.install(slos, now);
    }

    /// Delivers samples as one remote-write 1.0 request.
    ///
    /// # Errors
    /// What ingest says of it.
    pub fn send(&self, samples: &[Sent], now: Timestamp) -> Result<WriteStats, WriteError> {
        self.send_body(&encode(samples), now)
    }

    /// Delivers a body of remote-write 1.0 as it is.
    ///
    /// # Errors
    /// What ingest says of it.
    pub fn send_body(&self, body: &[u8], now: Timestamp) -> Result<WriteStats, WriteError> {
        self.send_body_of(Version::V1, body, now)
    }

    /// Delivers a body of either version as it is.
    ///
    /// # Errors
    /// What ingest says of it.
    pub fn send_body_of(
        &self,
        version: Version,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WriteStats, WriteError> {
        self.pipeline.write(version, body, now)
    }

    /// Evaluates.
    pub fn tick(&mut self, now: Timestamp) -> Arc<Report> {
        self.pipeline.tick(now)
    }

    /// Answers a request to the API, by this report, at this time.
    pub fn ask(&self, question: &web::Question, report: &Arc<Report>, now: Timestamp) -> Option<web::Reply> {
        let copied = |roster: &Arc<Roster>, places: &[usize]| {
            self.pipeline.copied(roster, places).ok_or_else(|| "the report is too old".to_owned())
        };
        let facts = api::Facts {
            report: Arc::clone(report),
            exposition: &exposition::Config::default(),
            own: self.telemetry.gather(),
            now,
            interval: Duration::from_secs(1),
            copied: &copied,
            is_overdue: &|| false,
        };
        api::answer(question, &facts)
    }

    /// What a source is to be asked, at most `room` orders.
    pub fn poll_orders(&mut self, now: Timestamp, room: usize) -> Vec<Order> {
        self.pipeline.poll_orders(now, room)
    }

    /// Tells what became of an order.
    pub fn handle_answer(&mut self, order: u64, answer: Result<Answered, Unanswered>) {
        self.pipeline.handle_answer(order, answer);
    }

    /// What is known of steps, as of now.
    pub fn export_steps(&mut self) -> (SamplerState, PullerState) {
        self.pipeline.freeze(|| ());
        self.pipeline.steps()
    }

    /// Goes on with the steps of another world, where nothing has happened in this one yet. The instances of SLOs
    /// are known to have been seen as late as there.
    pub fn restore_steps(
        &mut self,
        (sampler, puller): (SamplerState, PullerState),
        other: &Self,
        now: Timestamp,
    ) {
        let (own, other) = (self.pipeline.instances(), other.pipeline.instances());
        let (plan, others) = (own.plan(), other.plan());
        for place in 0..plan.slos().len().min(others.slos().len()) {
            let all = own.of_all(plan.generation(), place);
            let last = other.of_all(others.generation(), place).and_then(|all| all.last_sample());
            if let (Some(all), Some(last)) = (all, last) {
                let _ = all.note_sample(last);
            }
        }
        self.pipeline.restore_steps(sampler, puller, now);
    }

    /// How many steps that a source was to be asked for came to this outcome so far.
    pub fn pulled(&self, outcome: &str) -> u64 {
        self.telemetry.pull.steps.with_label_values(&[outcome]).get()
    }

    /// Forgets what is long silent.
    pub fn sweep(&self, now: Timestamp) {
        self.pipeline.ingest().sweep(now);
    }

    /// The instances of its SLOs.
    pub fn instances(&self) -> &Instances {
        self.pipeline.instances()
    }

    /// The memory of all windows after the last evaluation.
    pub fn window_memory(&self) -> i64 {
        self.telemetry.evaluation.window_memory.get()
    }

    /// How many series, or label blocks, are in this state.
    pub fn series(&self, state: &str) -> i64 {
        self.pipeline.ingest().publish_sizes();
        self.telemetry.ingest.series.with_label_values(&[state]).get()
    }

    /// How many series so far were not let into a group.
    pub fn groups_refused(&self) -> u64 {
        self.telemetry.ingest.groups_refused.get()
    }

    /// How many steps of expressions came to this outcome so far.
    pub fn steps(&self, outcome: &str) -> u64 {
        self.telemetry.sampling.steps.with_label_values(&[outcome]).get()
    }

    /// How many series are recorded for expressions, and how many samples of them.
    pub fn recorded(&self) -> (i64, i64) {
        (self.telemetry.sampling.series.get(), self.telemetry.sampling.samples.get())
    }

    /// How many samples came to this outcome so far.
    pub fn outcome(&self, outcome: &str) -> u64 {
        self.telemetry.ingest.samples.with_label_values(&[outcome]).get()
    }
}

/// The body of a remote-write 2.0 request, each sample in a series of its own.
pub fn encode_v2(samples: &[Sent]) -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut numbers = HashMap::from([(String::new(), 0)]);
    let mut number = |text: &str| {
        *numbers.entry(text.to_owned()).or_insert_with(|| {
            symbols.push(text.to_owned());
            symbols.len() as u32 - 1
        })
    };
    let series = |sent: &Sent| v2::TimeSeries {
        labels_refs: sent.labels.iter().flat_map(|(name, value)| [name, value]).map(&mut number).collect(),
        samples: vec![v2::Sample { value: sent.value, timestamp: sent.at.0, start_timestamp: 0 }],
        ..v2::TimeSeries::default()
    };
    let timeseries = samples.iter().map(series).collect();
    compress(&v2::Request { symbols, timeseries }.encode_to_vec())
}

/// The body of a remote-write 1.0 request, each sample in a series of its own, as Prometheus sends them.
pub fn encode(samples: &[Sent]) -> Vec<u8> {
    let series = |sent: &Sent| wire::TimeSeries {
        labels: sent
            .labels
            .iter()
            .map(|(name, value)| wire::Label { name: name.to_owned(), value: value.to_owned() })
            .collect(),
        samples: vec![wire::Sample { value: sent.value, timestamp: sent.at.0 }],
        ..wire::TimeSeries::default()
    };
    let timeseries = samples.iter().map(series).collect();
    compress(&wire::WriteRequest { timeseries, metadata: Vec::new() }.encode_to_vec())
}

/// A message as a request carries it.
pub fn compress(message: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(message).expect("a test's request is far below 4 GiB")
}
