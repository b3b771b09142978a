//! The core from remote-write body to report, put together: no clock, no socket, no thread.
//!
//! Who has it calls [`write`](Pipeline::write) with what arrives and [`tick`](Pipeline::tick) as time passes, and
//! passes the time to both. It does not know where bodies come from, nor who reads reports.
//!
//! The invariant: the same calls with the same arguments give the same reports, whether the samples are of this
//! moment or of last month.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    engine::{self, Engine, Exported, SliState},
    ingest::{self, Ingest, WriteError, WriteStats},
    labels::Labels,
    matching::{Beginning, Directory, Instances, Known, Plan, Role},
    prompb::Version,
    report::{Report, Roster},
    sampling::{Answered, Order, Puller, PullerState, Sampler, SamplerState, Unanswered},
    slo::Slo,
    telemetry::{EvaluationMetrics, Telemetry},
    time::{Latest, Timestamp},
    window::{Copied, OpenSlots, RowError, Scope},
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
    /// How long after they come into force SLOs count as they come, if what was before is filled in from history.
    pub begins_after: Option<Duration>,
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
    interval: Duration,
}

/// What a pipeline has come to, for another one to go on from after a restart.
#[derive(Debug, Default)]
pub struct State {
    /// The instances whose SLOs are in force again, by their places in the plan.
    pub instances: Vec<Known>,
    /// From when on SLOs count as they come, by their places in the plan.
    pub beginnings: HashMap<usize, Beginning>,
    /// Their windows and alerts.
    pub engine: engine::State,
    /// The last samples of series.
    pub memory: ingest::Memory,
    /// The samples that expressions look back to, and how far their steps have come.
    pub sampler: SamplerState,
    /// How far steps have come that a source is asked for.
    pub puller: PullerState,
}

// As long as the longest wait between requests of a sender that is alive. Evaluating each second of a long absence
// would only make it longer.
const REPLAYED_SILENCE_MAX: Duration = Duration::from_secs(300);

// Judging 10,000 SLOs takes 25 ms, a minute of it as long as counting some five million samples. Alerts look back
// minutes at least; windows that move on by this much still have open slots for what was live.
const REPLAYED_JUDGING_INTERVAL: Duration = Duration::from_secs(5);

/// What was counted elsewhere for the instances of an SLO.
pub type Histories = Vec<(Role, Labels, SliState)>;

/// A moment of a pipeline, at which nothing is being counted. To be [told](Pipeline::export) before the next tick.
#[derive(Debug)]
pub struct Mark {
    /// What ingest remembers.
    pub memory: ingest::Memory,
    /// Which instances there are.
    pub directory: Directory,
    engine: engine::Mark,
}

/// A pipeline that goes on from a state.
#[derive(Debug)]
pub struct Restored {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// Instances that begin anew, because what was kept of them cannot be right.
    pub lost: Vec<engine::Lost>,
}

// === impl Config ===

impl Config {
    /// The plan of SLOs that come into force at this time.
    pub fn plan(&self, slos: Vec<Slo>, now: Timestamp) -> Plan {
        let plan = Plan::new(slos, self.engine.resolution());
        match self.begins_after {
            Some(after) => plan.beginning_at(now + after),
            None => plan,
        }
    }
}

// === impl Pipeline ===

impl Pipeline {
    /// A pipeline for these SLOs that has seen nothing before `now`.
    pub fn new(config: Config, slos: Vec<Slo>, telemetry: &Telemetry, now: Timestamp) -> Self {
        let plan = Arc::new(config.plan(slos, now));
        let instances = Arc::new(Instances::new(plan, config.groups_per_slo_max));
        Self::assemble(config, instances, telemetry, |config, instances, open, telemetry| {
            Engine::new(config, instances, open, telemetry, now)
        })
    }

    /// A pipeline for the SLOs of a plan that goes on from a state at `now`, the time of the clock at which that was
    /// taken.
    pub fn restored(
        config: Config,
        plan: Arc<Plan>,
        telemetry: &Telemetry,
        now: Timestamp,
        state: State,
    ) -> Restored {
        let State { instances, beginnings, engine: windows, memory, sampler, puller } = state;
        let (instances, _) = Instances::continued(plan, config.groups_per_slo_max, instances, &beginnings);
        let mut lost = Vec::new();
        let mut pipeline =
            Self::assemble(config, Arc::new(instances), telemetry, |config, instances, open, telemetry| {
                let restored = Engine::restored(config, instances, open, telemetry, now, windows);
                lost = restored.lost;
                restored.engine
            });
        pipeline.ingest.remember(memory);
        pipeline.restore_steps(sampler, puller, now);
        Restored { pipeline, lost }
    }

    fn assemble(
        config: Config,
        instances: Arc<Instances>,
        telemetry: &Telemetry,
        engine: impl FnOnce(engine::Config, Arc<Instances>, Arc<OpenSlots>, EvaluationMetrics) -> Engine,
    ) -> Self {
        let (resolution, interval) = (config.engine.resolution(), config.engine.interval);
        let open = Arc::new(OpenSlots::new(resolution));
        let (for_instances, for_open) = (|| Arc::clone(&instances), || Arc::clone(&open));
        let engine = engine(config.engine, for_instances(), for_open(), telemetry.evaluation.clone());
        let ingest = Ingest::new(config.ingest, for_instances(), for_open(), telemetry);
        let sampling = telemetry.sampling.clone();
        let sampler = Sampler::new(for_instances(), for_open(), ingest.recent(), sampling);
        let puller = Puller::new(for_instances(), for_open(), config.pull_delay, telemetry.pull.clone());
        let (ingest, last_request) = (Arc::new(ingest), Arc::default());
        Self { ingest, instances, sampler, puller, engine, last_request, resolution, interval }
    }

    /// Puts other SLOs in force, after what came until `now`.
    pub fn install(&self, slos: Vec<Slo>, now: Timestamp) {
        let since = now + Duration::from_millis(1);
        self.ingest.install(Plan::new(slos, self.resolution).in_force_since(since));
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

    /// Copies of histories: see [`Engine::copied`].
    pub fn copied(&self, roster: &Arc<Roster>, places: &[usize]) -> Option<Vec<Copied>> {
        self.engine.copied(roster, places)
    }

    /// Counts again what was written down of a request, evaluating on the way what was due before it came: steps each
    /// at its time, as they see the samples that had come, SLOs every few seconds. `ticked` is when it was last
    /// evaluated, and becomes that again.
    ///
    /// # Errors
    /// What ingest said of it then.
    pub fn replay(
        &mut self,
        version: Version,
        body: &[u8],
        epoch: u32,
        arrived: Timestamp,
        ticked: &mut Timestamp,
    ) -> Result<WriteStats, WriteError> {
        // Of a silence that was longer only the end is evaluated, as after any absence.
        *ticked = (*ticked).max(arrived.floor(self.interval) - REPLAYED_SILENCE_MAX);
        while *ticked + self.interval <= arrived {
            *ticked = *ticked + self.interval;
            self.sample(*ticked);
            // The first tick in each of these intervals.
            if ticked.since(ticked.floor(REPLAYED_JUDGING_INTERVAL)) < self.interval {
                self.judge(*ticked);
            }
        }
        self.last_request.note(arrived);
        self.ingest.replay(version, body, arrived, epoch)
    }

    /// Goes on at `now` after a time in which nothing could be heard.
    pub fn resume(&mut self, now: Timestamp) {
        self.engine.resume(now);
    }

    /// Adds the history of an SLO up to its beginning; nothing if it is not waited for any more, or the SLO has other
    /// windows by now and it is waited for with those. To be called between two evaluations. Returns what could not be
    /// added.
    pub fn absorb(&mut self, slo: &Slo, beginning: Beginning, histories: Histories) -> Vec<RowError> {
        let Some((generation, place)) = self.instances.unfilled_place(slo, beginning) else {
            return Vec::new();
        };
        let plan = self.instances.plan();
        if histories.iter().any(|(.., state)| *state.head.row.layout != **plan.layout(place)) {
            return Vec::new();
        }
        let mut errors = Vec::new();
        for (role, group, state) in histories {
            let instance = match role {
                Role::Group => self.instances.group(generation, place, &group),
                Role::Whole | Role::RollUp => self.instances.of_all(generation, place),
            };
            // Groups beyond the limit are in the roll-up.
            let Some(instance) = instance else { continue };
            errors.extend(self.engine.absorb(instance.sli, state).err());
        }
        self.instances.note_filled(place);
        errors
    }

    /// Goes on where another pipeline was with series that are not known here, and with SLOs whose steps have not
    /// begun here. Targets are by the places of their SLOs in this plan. Nobody may count meanwhile.
    pub fn adopt(&mut self, memory: ingest::Memory, steps: SamplerState) {
        self.ingest.adopt(memory);
        self.sampler.adopt(steps);
    }

    /// Has nothing counted for a moment, and marks it. `position` is asked for at that moment.
    pub fn freeze<T>(&mut self, position: impl FnOnce() -> T) -> (T, Mark) {
        let Self { ingest, instances, sampler, engine, .. } = self;
        ingest.freeze(|memory| {
            sampler.mark();
            (position(), Mark { memory, directory: instances.directory(), engine: engine.mark() })
        })
    }

    /// How far the steps of SLOs have come, with the samples that they look back to, as of the last mark.
    pub fn steps(&self) -> (SamplerState, PullerState) {
        (self.sampler.export(), self.puller.export())
    }

    /// Goes on with the steps of another pipeline, before anything has happened in this one.
    pub fn restore_steps(&mut self, sampler: SamplerState, puller: PullerState, now: Timestamp) {
        self.sampler.restore(sampler);
        self.puller.restore(puller, self.engine.event_time(now));
    }

    /// Tells how windows and alerts were at a mark.
    pub fn export(&mut self, mark: &Mark, scope: Scope, visit: &mut dyn FnMut(Exported)) {
        self.engine.export(&mark.engine, scope, visit);
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
    pub fn instances(&self) -> &Arc<Instances> {
        &self.instances
    }
}
