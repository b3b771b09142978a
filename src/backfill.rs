//! Fills in what happened before SLOs were streamed.
//!
//! ```text
//! history, piece by piece ─▶ a pipeline of its own, for these SLOs alone ─▶ histories ─▶ added to those that are streamed
//! ```
//!
//! A streamed SLO counts what happens after a certain moment, its beginning ([`Beginning`]), and history what
//! happened up to then: so a sample counts once, wherever it was seen. The series are followed for a while before that
//! moment, so that their growth across it is known to the stream. History goes through the same code as the stream.
//!
//! It does not know where history comes from, nor the clock. The invariant: the histories that [`Backfill::finish`] gives
//! have no event after the beginning, and all before that history has.

use std::time::Duration;

use crate::{
    engine::{self, Exported, SliState},
    expression::Expression,
    history::{Sample, Series},
    ingest,
    labels::{Labels, Selector},
    matching::{Beginning, Plan, Role},
    pipeline::{self, Pipeline},
    prompb::{self, Version, Writer},
    sampling::SamplerState,
    slo::{Indicator, Sampled, Slo, SloId},
    telemetry::Telemetry,
    time::Timestamp,
    window::Scope,
};

/// The filling of some SLOs.
#[derive(Debug)]
pub struct Backfill {
    pipeline: Pipeline,
    selectors: Vec<Selector>,
    /// The first moment that is of interest, and the last.
    from: Timestamp,
    until: Timestamp,
    /// Up to where history has been counted.
    at: Timestamp,
    /// How far the clock of its pipeline is ahead of event time.
    ahead: Duration,
    resolution: Duration,
    samples: u64,
    writer: Writer,
}

/// The history of an instance.
#[derive(Debug)]
pub struct Filled {
    /// Its SLO.
    pub slo: SloId,
    /// Which part of it.
    pub role: Role,
    /// The labels of its group.
    pub group: Labels,
    /// What was counted.
    pub state: SliState,
}

// Windows are as wide as hours then, and slots of seconds are over within the step.
const STEP: Duration = Duration::from_secs(10);
/// Where a filling ended, for the stream to go on from.
#[derive(Debug)]
pub struct Handover {
    /// What is known of series and targets; these by the places of their SLOs in `slos`.
    pub memory: ingest::Memory,
    /// How far the steps of SLOs have come.
    pub steps: SamplerState,
    /// Its SLOs.
    pub slos: Vec<SloId>,
}

// As far back as a new series' target is looked for; see `ingest::routes`.
const LEAD: Duration = Duration::from_secs(300);
// What is sorted by time at once, of history that is there series by series.
const PIECE: Duration = Duration::from_secs(3_600);
const SAMPLES_PER_REQUEST: usize = 2_000;

// === impl Backfill ===

impl Backfill {
    /// The filling of SLOs that have the same beginning.
    pub fn new(config: pipeline::Config, slos: Vec<Slo>, beginning: Beginning) -> Self {
        let Beginning { from: counted_to, at: until, .. } = beginning;
        let resolution = config.engine.resolution();
        let plan = Plan::new(slos.clone(), resolution);
        let longest_ms = (0..slos.len()).map(|place| plan.layout(place).longest_ms()).max().unwrap_or(0);
        let lead = LEAD + config.ingest.warm_up + lookback(&slos);
        let from = Timestamp(until.0 - longest_ms).max(counted_to - lead).floor(resolution);
        let selectors = slos.iter().flat_map(|slo| slo.indicator.selectors());
        let mut selectors: Vec<Selector> = selectors.cloned().collect();
        selectors.sort_by_cached_key(ToString::to_string);
        selectors.dedup();
        let ahead = config.engine.delay;
        let engine = engine::Config { sender_timeout: Duration::MAX, ..config.engine };
        // What was counted already begins nothing but growth.
        let begins_after = Some(counted_to.since(from + ahead)).filter(|_| counted_to > from);
        let config = pipeline::Config { engine, begins_after, ..config };
        let pipeline = Pipeline::new(config, slos, &Telemetry::new(), from + ahead);
        let writer = Writer::default();
        Self { pipeline, selectors, from, until, at: from, ahead, resolution, samples: 0, writer }
    }

    /// Which series it needs.
    pub fn selectors(&self) -> &[Selector] {
        &self.selectors
    }

    /// The time that is of interest, with both its ends.
    pub fn span(&self) -> (Timestamp, Timestamp) {
        (self.from, self.until)
    }

    /// How much of the time has been counted, from 0 to 1.
    pub fn progress(&self) -> f64 {
        (self.at.0 - self.from.0) as f64 / (self.until.0 - self.from.0).max(1) as f64
    }

    /// How many samples it has taken.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Counts the samples of the time up to `to`, behind those that it was given before.
    pub fn add(&mut self, series: &[Series], to: Timestamp) {
        let labels: Vec<Vec<u8>> =
            series.iter().map(|series| prompb::encode_labels(series.labels.iter())).collect();
        let mut samples: Vec<(Timestamp, usize, f64)> = Vec::new();
        for (number, series) in series.iter().enumerate() {
            let own = series.samples.iter().filter(|sample| sample.at <= self.until);
            samples.extend(own.map(|sample| (sample.at, number, sample.value)));
        }
        // Stable: series stay in their order.
        samples.sort_by_key(|(at, ..)| *at);
        self.samples += samples.len() as u64;
        let mut rest = samples.as_slice();
        while let Some((next, ..)) = rest.first() {
            self.advance(*next);
            let end = self.at + STEP;
            let step = rest.partition_point(|(at, ..)| *at <= end);
            for request in rest[..step].chunks(SAMPLES_PER_REQUEST) {
                self.write(request, &labels, end);
            }
            rest = &rest[step..];
        }
        self.advance(to.min(self.until));
    }

    /// Counts the samples of its series, of all of its time from `from` on; `step` is told how far it has come.
    pub fn add_all(&mut self, series: &[Series], from: Timestamp, mut step: impl FnMut(Timestamp)) {
        let wanted =
            |series: &&Series| self.selectors.iter().any(|selector| selector.matches(&series.labels));
        let series: Vec<&Series> = series.iter().filter(wanted).collect();
        let mut next = self.from.max(from);
        while next <= self.until {
            let end = (next + PIECE - Duration::from_millis(1)).min(self.until);
            let part = |series: &&Series| Series {
                labels: series.labels.clone(),
                samples: within(&series.samples, next, end).to_vec(),
            };
            let part: Vec<Series> = series.iter().map(part).filter(|part| !part.samples.is_empty()).collect();
            self.add(&part, end);
            step(end);
            next = end + Duration::from_millis(1);
        }
    }

    /// Every history, once everything has been added.
    pub fn finish(self) -> Vec<Filled> {
        self.finish_handing_over().0
    }

    /// Every history, once everything has been added, and what a stream needs that goes on from there.
    pub fn finish_handing_over(mut self) -> (Vec<Filled>, Handover) {
        // Steps behind the beginning are not for here: expressions are asked no more. Of events those of the last step
        // are counted by the next evaluation, and what was opened there by the one after.
        self.pipeline.tick(self.until + self.ahead);
        for evaluation in 1..=3 {
            self.pipeline.judge(self.until + self.ahead + self.resolution * evaluation);
        }
        let ((), mark) = self.pipeline.freeze(|| ());
        let mut state = engine::State::default();
        self.pipeline.export(&mark, Scope::Everything, &mut |part: Exported| state.apply(part));
        let filled = mark.directory.instances.iter().filter_map(|instance| {
            Some(Filled {
                slo: instance.slo.id.clone(),
                role: instance.role,
                group: instance.group.clone(),
                state: state.slis.remove(&instance.sli)?,
            })
        });
        let filled = filled.collect();
        let slos = mark.directory.plan.slos().map(|slo| slo.id.clone()).collect();
        (filled, Handover { memory: mark.memory, steps: self.pipeline.steps().0, slos })
    }

    /// Evaluates up to the last step before a time.
    fn advance(&mut self, to: Timestamp) {
        while self.at + STEP < to {
            self.at = self.at + STEP;
            self.pipeline.tick(self.at + self.ahead);
        }
    }

    /// Counts samples of the step that ends at `now`.
    fn write(&mut self, request: &[(Timestamp, usize, f64)], labels: &[Vec<u8>], now: Timestamp) {
        self.writer.clear();
        for (at, number, value) in request {
            self.writer.push(&labels[*number], at.0, *value);
        }
        // What is refused was never streamed either.
        let _ = self.pipeline.write_message(Version::V1, self.writer.message(), now + self.ahead);
    }
}

/// Of samples in the order of time those within two times.
fn within(samples: &[Sample], from: Timestamp, to: Timestamp) -> &[Sample] {
    let start = samples.partition_point(|sample| sample.at < from);
    let end = samples.partition_point(|sample| sample.at <= to);
    &samples[start..end.max(start)]
}

/// How far back the expressions of SLOs look.
fn lookback(slos: &[Slo]) -> Duration {
    let sampled = slos.iter().filter_map(|slo| match &slo.indicator {
        Indicator::Sampled(sampled) => Some(sampled),
        Indicator::Counted(_) | Indicator::Pulled(_) => None,
    });
    let lookback = |sampled: &Sampled| {
        let longest = sampled.question.expressions().map(Expression::lookback).max();
        longest.unwrap_or_default() + sampled.step
    };
    sampled.map(lookback).max().unwrap_or_default()
}
