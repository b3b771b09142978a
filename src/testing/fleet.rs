//! An engine with many SLOs whose events a test or a benchmark adds itself, without the way in.

use std::{sync::Arc, time::Duration};

use super::slos;
use crate::{
    engine::{self, Engine, State},
    labels::Labels,
    matching::{Instance, Instances, Plan},
    report::Report,
    slo::{Slo, SloId},
    telemetry::{EvaluationMetrics, Telemetry},
    time::{Latest, Timestamp},
    window::{Batch, Counts, OpenSlots},
};

const SECOND: Duration = Duration::from_secs(1);

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    type: availability
    query: sum(rate(http_requests_total{code!~"5.."}[5m])) / sum(rate(http_requests_total[5m]))
  objective: {target: 99.9, window: 30d}
"#;

/// An engine, and the far side of what it counts.
#[derive(Debug)]
pub struct Fleet {
    /// The time of the last evaluation.
    pub now: Timestamp,
    last_request: Latest,
    engine: Engine,
    open: Arc<OpenSlots>,
    instances: Vec<Arc<Instance>>,
    telemetry: Telemetry,
}

/// The adds of one request.
#[derive(Debug)]
pub struct Adds<'a> {
    batch: Batch<'a>,
    instances: &'a [Arc<Instance>],
}

// === impl Fleet ===

impl Fleet {
    /// A midnight, so that slots of every width begin there.
    pub const START: Timestamp = Timestamp(1_700_006_400_000);

    /// This many SLOs over 30 days with the workbook's alerts, evaluated each second without delay.
    pub fn new(size: usize) -> Self {
        Self::with_engine(size, |config, instances, open, telemetry| {
            Engine::new(config, instances, open, telemetry, Self::START)
        })
    }

    /// The same SLOs at a later time, with an engine that goes on from a state.
    pub fn restored(size: usize, now: Timestamp, state: State) -> Self {
        let fleet = Self::with_engine(size, |config, instances, open, telemetry| {
            let restored = Engine::restored(config, instances, open, telemetry, now, state);
            assert!(restored.lost.is_empty(), "BUG: {:?}", restored.lost);
            restored.engine
        });
        Self { now, ..fleet }
    }

    fn with_engine(
        size: usize,
        engine: impl FnOnce(engine::Config, Arc<Instances>, Arc<OpenSlots>, EvaluationMetrics) -> Engine,
    ) -> Self {
        let slo = slos(SPEC).remove(0);
        let named =
            |n: usize| Slo { id: SloId { service: "api".to_owned(), name: n.to_string() }, ..slo.clone() };
        let config = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
        let plan = Arc::new(Plan::new((0..size).map(named).collect(), SECOND));
        let instances = Arc::new(Instances::new(plan, 1));
        let of = |n| instances.of_group(0, n, &Labels::default()).remove(0);
        let all: Vec<_> = (0..size).map(of).collect();
        all.iter().for_each(|instance| instance.note_live_series(1));
        let open = Arc::new(OpenSlots::new(SECOND));
        let telemetry = Telemetry::new();
        let engine = engine(config, instances, Arc::clone(&open), telemetry.evaluation.clone());
        Self { now: Self::START, last_request: Latest::default(), engine, open, instances: all, telemetry }
    }

    /// Begins a request.
    pub fn adds(&self) -> Adds<'_> {
        Adds { batch: self.open.batch(), instances: &self.instances }
    }

    /// Evaluates once, `step` later.
    pub fn tick(&mut self, step: Duration) -> Arc<Report> {
        self.now = self.now + step;
        self.last_request.note(self.now);
        self.engine.tick(self.now, &self.last_request)
    }

    /// Its engine.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What slod says of the memory of its windows.
    pub fn window_memory(&self) -> i64 {
        self.telemetry.evaluation.window_memory.get()
    }
}

// === impl Adds ===

impl Adds<'_> {
    /// Adds events of an SLO as the way in does.
    pub fn add(&mut self, slo: usize, at: Timestamp, bad: u32, total: u32) {
        let instance = &self.instances[slo];
        if let Some(unseen_since) = instance.note_sample(at) {
            self.batch.note_unseen(instance.sli, unseen_since.0, at.0);
        }
        self.add_unseen(slo, at, bad, total);
    }

    /// Adds events of an SLO without any sample: a long past that leaves no holes.
    pub fn add_unseen(&mut self, slo: usize, at: Timestamp, bad: u32, total: u32) {
        let counts = Counts { bad: f64::from(bad), total: f64::from(total) };
        self.batch.add(self.instances[slo].sli, at.0, counts);
    }
}
