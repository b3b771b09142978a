//! What alerts would have fired, had an SLO been there: history is replayed through the pipeline at full speed.
//!
//! ```text
//! history, series by series ─▶ tape ─▶ scrape by scrape ─▶ pipeline (as live) ─▶ a report per step ─▶ watches
//!                                                                                    incidents ─▶ scores, tuner
//! ```
//!
//! It reads no file and no clock. Time is that of the samples: they arrive when they were scraped, and each step is
//! evaluated when they all have. Samples are counted with the resolution of the daemon, so that counts are those of a
//! daemon that had been there; it is only asked less often, once a step, and what it does in between is unseen. So
//! times of alerts are exact to a step.
//!
//! The invariant: whoever adds the same history gets the same report, in however many pieces it comes.
//!
//! Measured with 86 million samples of 1,000 series for 50 SLOs: less than 340 ns a sample (`benches/results`).

mod incidents;
mod report;
mod score;
mod span;
mod tape;
mod tune;
mod verdict;
mod watch;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    engine,
    history::{Sample, Series},
    ingest::{self, ha},
    labels::{Labels, LabelsRef, Selector},
    matching::Plan,
    pipeline::{self, Pipeline},
    prompb::{Version, Writer},
    slo::{Indicator, Slo},
    telemetry::Telemetry,
    time::Timestamp,
};
use tape::{Played, Tape};
use tune::Grid;
use watch::Watches;

pub use incidents::{Incident, IncidentError, moment, read as read_incidents};
pub use report::{
    Answer, Firing, InstanceReport, Met, Remaining, Report, Score, SeverityTotal, Silent, Tier,
};
pub use span::Span;
pub use tune::{Outcome, Setting, SeverityTuning, Tuning};

/// How to replay.
#[derive(Clone, Debug)]
pub struct Config {
    /// The time between two evaluations.
    pub interval: Duration,
    /// How the daemon would count.
    pub engine: engine::Config,
    /// How it would take samples in.
    pub ingest: ingest::Config,
    /// The most groups of an SLO.
    pub groups_per_slo_max: usize,
    /// What people know of; without any, those that the budget shows are taken.
    pub incidents: Vec<Incident>,
    /// Whether to try other windows and factors.
    pub tune: bool,
}

/// Why there is nothing to report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BacktestError {
    /// No SLO to replay for.
    #[error("there is no SLO to replay history for")]
    NoSlos,
    /// Only SLOs of which samples say nothing.
    #[error("no SLO can be replayed from samples: {0} asked of a server; see docs/backtesting.md")]
    OnlyPulled(String),
    /// History without any samples.
    #[error("the history has no samples; is the time range right?")]
    Empty,
    /// History without any samples for these SLOs.
    #[error("none of {series} series of the history is selected by any SLO; these selectors match nothing:\n{}", list(.selectors))]
    NothingSelected {
        /// How many series there were.
        series: usize,
        /// All selectors.
        selectors: Vec<String>,
    },
}

/// A replay. Add history, or pieces of it; advance; finish.
#[derive(Debug)]
pub struct Backtest {
    config: Config,
    /// As specified.
    slos: Vec<Arc<Slo>>,
    /// As replayed: with more windows where they are tuned.
    wide: Vec<Slo>,
    grids: Vec<Option<Arc<Grid>>>,
    silent: Vec<Silent>,
    /// Tells which series count.
    plan: Plan,
    /// Selectors, each with its SLO, that have matched nothing so far.
    unmatched: Vec<(usize, Selector)>,
    /// The place on the tape of series that an SLO counts.
    known: HashMap<Labels, TrackId>,
    /// How often a series was added that none does.
    unselected: usize,
    tape: Tape,
    /// Once the first sample is known.
    running: Option<Running>,
    samples: u64,
    unordered: u64,
}

/// A series that is replayed.
#[derive(Clone, Copy, Debug)]
pub struct TrackId(usize);

/// What runs.
#[derive(Debug)]
struct Running {
    pipeline: Pipeline,
    watches: Watches,
    start: Timestamp,
    /// The step that was evaluated last.
    at: Timestamp,
    refused: u64,
    first_refusal: Option<String>,
    played: Vec<Played>,
    writer: Writer,
}

// The least time there is: a step ends with the samples of its last moment.
const TICK: Duration = Duration::from_millis(1);
// As senders do. Much larger requests would not leave their memory to the next.
const SAMPLES_PER_REQUEST: usize = 10_000;
// Nobody scrapes less often and expects burn rates of it; and series of targets that ended go.
const SWEEP_STEPS: i64 = 128;

// === impl Backtest ===

impl Backtest {
    /// A replay for these SLOs.
    ///
    /// # Errors
    /// When there is none that samples say anything of.
    pub fn new(slos: Vec<Slo>, config: Config) -> Result<Self, BacktestError> {
        if slos.is_empty() {
            return Err(BacktestError::NoSlos);
        }
        let (pulled, slos): (Vec<Slo>, Vec<Slo>) =
            slos.into_iter().partition(|slo| matches!(slo.indicator, Indicator::Pulled(_)));
        if slos.is_empty() {
            let names: Vec<String> = pulled.iter().map(|slo| slo.id.to_string()).collect();
            let verb = if names.len() == 1 { "is" } else { "are" };
            return Err(BacktestError::OnlyPulled(format!("{} {verb}", names.join(", "))));
        }
        let silent = pulled.into_iter().map(|slo| Silent {
            slo: slo.id,
            reason: "its query is asked of a server, and samples do not answer it".to_owned(),
        });
        let grid = |slo: &Slo| config.tune.then(|| Grid::new(slo).map(Arc::new)).flatten();
        let grids: Vec<Option<Arc<Grid>>> = slos.iter().map(grid).collect();
        let widen = |(slo, grid): (&Slo, &Option<Arc<Grid>>)| {
            grid.as_ref().map_or_else(|| slo.clone(), |grid| grid.widen(slo))
        };
        let selectors = slos.iter().enumerate().flat_map(|(place, slo)| {
            slo.indicator.selectors().into_iter().map(move |selector| (place, selector.clone()))
        });
        Ok(Self {
            silent: silent.collect(),
            plan: Plan::new(slos.clone(), config.engine.resolution()),
            unmatched: selectors.collect(),
            wide: slos.iter().zip(&grids).map(widen).collect(),
            slos: slos.into_iter().map(Arc::new).collect(),
            grids,
            config,
            known: HashMap::new(),
            unselected: 0,
            tape: Tape::default(),
            running: None,
            samples: 0,
            unordered: 0,
        })
    }

    /// Every selector of the SLOs, each once: history of other series is of no use.
    pub fn selectors(&self) -> Vec<Selector> {
        let mut selectors: Vec<Selector> = Vec::new();
        for selector in self.slos.iter().flat_map(|slo| slo.indicator.selectors()) {
            if !selectors.contains(selector) {
                selectors.push(selector.clone());
            }
        }
        selectors
    }

    /// Whether any SLO counts a series. To be asked of each series once: those that none does are counted.
    pub fn wants(&mut self, labels: LabelsRef<'_>) -> bool {
        let is_wanted = self.plan.selects(labels);
        self.unselected += usize::from(!is_wanted);
        is_wanted
    }

    /// Adds samples of a series, later than those that were added of it before.
    pub fn add(&mut self, Series { labels, samples }: &Series) {
        let pairs: Vec<(&str, &str)> = labels.iter().collect();
        if !self.known.contains_key(labels) && !self.wants(LabelsRef::of_sorted(&pairs)) {
            return;
        }
        let track = self.open(labels);
        samples.iter().for_each(|sample| self.push(track, *sample));
    }

    /// Where samples of a series that is wanted are [pushed](Self::push).
    pub fn open(&mut self, labels: &Labels) -> TrackId {
        if let Some(known) = self.known.get(labels) {
            return *known;
        }
        self.unmatched.retain(|(_, selector)| !selector.matches(labels));
        let track = TrackId(self.tape.open(labels));
        self.known.insert(labels.clone(), track);
        track
    }

    /// Adds a sample to a series; one that is not later than those before is left out, and counted.
    pub fn push(&mut self, track: TrackId, sample: Sample) {
        if self.tape.push(track.0, sample) {
            self.samples += 1;
        } else {
            self.unordered += 1;
        }
    }

    /// The memory of what was added and not replayed.
    pub fn bytes(&self) -> usize {
        self.tape.bytes()
    }

    /// From when to when there are samples that are not replayed.
    pub fn ahead(&self) -> Option<Span> {
        Some(Span { start: self.tape.first()?, end: self.tape.last()? })
    }

    /// How many samples of interest were added.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Replays what was added, up to a time. `progress` is called after each step with its time.
    pub fn advance(&mut self, to: Timestamp, mut progress: impl FnMut(Timestamp)) {
        let interval = self.config.interval;
        if self.running.is_none() {
            let Some(first) = self.tape.first() else { return };
            // The first step ends behind the first sample.
            let start = (first - TICK).floor(interval);
            self.running = Some(self.start(start));
        }
        let Some(running) = &mut self.running else { return };
        while running.at + interval <= to {
            running.step(interval, &mut self.tape);
            progress(running.at);
        }
    }

    /// Replays what is left, and tells what came of it.
    ///
    /// # Errors
    /// When there was nothing to replay.
    pub fn finish(mut self, progress: impl FnMut(Timestamp)) -> Result<Report, BacktestError> {
        if let Some(last) = self.tape.last() {
            self.advance((last - TICK).floor(self.config.interval) + self.config.interval, progress);
        }
        let Some(running) = self.running.take() else { return Err(self.nothing()) };
        let span = Span { start: running.start, end: running.at };
        let mut silent = std::mem::take(&mut self.silent);
        silent.extend(self.slos_without_series());
        let (slos, watches) = running.watches.finish();
        let mut report = verdict::report(&self.config, &slos, &self.grids, watches, span);
        (report.samples, report.unordered, report.silent) = (self.samples, self.unordered, silent);
        (report.refused, report.first_refusal) = (running.refused, running.first_refusal);
        Ok(report)
    }

    fn start(&mut self, start: Timestamp) -> Running {
        let telemetry = Telemetry::new();
        let late = self.config.interval + self.config.ingest.late_after;
        // What arrives once a step is neither late nor gone.
        let engine = engine::Config {
            delay: Duration::ZERO,
            sender_timeout: self.config.engine.sender_timeout + self.config.interval,
            ..self.config.engine.clone()
        };
        // Replicas are told apart by what comes when, which history does not say.
        let ha = ha::Config { replica_label: String::new(), ..self.config.ingest.ha.clone() };
        let ingest = ingest::Config { late_after: late, ha, ..self.config.ingest.clone() };
        let groups_per_slo_max = self.config.groups_per_slo_max;
        let config = pipeline::Config {
            engine,
            ingest,
            groups_per_slo_max,
            pull_delay: Duration::ZERO,
            begins_after: None,
        };
        let pipeline = Pipeline::new(config, std::mem::take(&mut self.wide), &telemetry, start);
        Running {
            pipeline,
            watches: Watches::new(self.slos.clone(), self.grids.clone()),
            start,
            at: start,
            refused: 0,
            first_refusal: None,
            played: Vec::new(),
            writer: Writer::default(),
        }
    }

    fn nothing(&self) -> BacktestError {
        let selectors: BTreeSet<String> = self.unmatched.iter().map(|(_, s)| s.to_string()).collect();
        if self.unselected == 0 || !self.known.is_empty() {
            return BacktestError::Empty;
        }
        BacktestError::NothingSelected { series: self.unselected, selectors: selectors.into_iter().collect() }
    }

    /// SLOs of which no selector has matched anything.
    fn slos_without_series(&self) -> Vec<Silent> {
        let silent = |(place, slo): (usize, &Arc<Slo>)| {
            let all = slo.indicator.selectors().len();
            let unmatched: BTreeSet<String> =
                self.unmatched.iter().filter(|(of, _)| *of == place).map(|(_, s)| s.to_string()).collect();
            let is_silent = self.unmatched.iter().filter(|(of, _)| *of == place).count() == all;
            let selectors: Vec<String> = unmatched.into_iter().collect();
            is_silent.then(|| Silent {
                slo: slo.id.clone(),
                reason: format!("no series matches {}", selectors.join(" or ")),
            })
        };
        self.slos.iter().enumerate().filter_map(silent).collect()
    }
}

// === impl Running ===

impl Running {
    /// What the scrapes of a step bring, then an evaluation.
    fn step(&mut self, interval: Duration, tape: &mut Tape) {
        let at = self.at + interval;
        tape.take(at, &mut self.played);
        let played = std::mem::take(&mut self.played);
        played.chunks(SAMPLES_PER_REQUEST).for_each(|request| self.write(request, tape, at));
        self.played = played;
        let report = self.pipeline.tick(at);
        self.watches.step(&report);
        if at.0 / interval.as_millis().max(1) as i64 % SWEEP_STEPS == 0 {
            self.pipeline.ingest().sweep(at);
        }
        self.at = at;
    }

    fn write(&mut self, request: &[Played], tape: &Tape, at: Timestamp) {
        self.writer.clear();
        for Played { at, track, value } in request {
            self.writer.push(tape.labels(*track), at.0, *value);
        }
        if let Err(error) = self.pipeline.write_message(Version::V1, self.writer.message(), at) {
            self.refused += request.len().saturating_sub(error.written().samples) as u64;
            self.first_refusal.get_or_insert_with(|| error.to_string());
        }
    }
}

fn list(selectors: &[String]) -> String {
    // As many as a screen shows.
    const SHOWN_MAX: usize = 20;
    let mut lines: Vec<String> = selectors.iter().take(SHOWN_MAX).map(|s| format!("  {s}")).collect();
    if selectors.len() > SHOWN_MAX {
        lines.push(format!("  and {} others", selectors.len() - SHOWN_MAX));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests;
