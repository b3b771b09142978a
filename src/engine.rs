//! The tick: from counts to a report.
//!
//! `tick(now)` closes event time up to `now - evaluation_delay`, and judges every SLO instance at that
//! moment. The delay gives the samples of one scrape, which arrive in several requests, the time to be
//! there together. Nothing here waits, reads a clock or talks to anyone; the same calls with the same
//! arguments give the same reports.
//!
//! A tick streams through memory from end to end and, while no instance comes or goes, allocates nothing:
//! reports that nobody reads any more are written anew.

mod judged;
mod state;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    matching::{Instance, Instances, Presences},
    report::{Report, Roster, Shape},
    telemetry::EvaluationMetrics,
    time::{Latest, SET_BACK_MIN, Timestamp},
    window::{self, Copied, OpenSlots, SliId, Windows},
};
use judged::{Judged, Moment};
pub use state::{AlertMemory, ClockState, Exported, HeadState, Lost, Mark, Restored, SliState, State};

/// When to evaluate, and when to stop believing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How often all SLOs are evaluated.
    pub interval: Duration,
    /// How far behind the clock event time is evaluated.
    pub delay: Duration,
    /// How long the series of an SLO may be silent before it counts as stale.
    pub stale_after: Duration,
    /// How long all senders may be silent before they count as down.
    pub sender_timeout: Duration,
}

// The series of a group that ended may be remembered for a day: no need to ask for them at every tick.
const ASK_IDLE_EVERY: Duration = Duration::from_secs(60);
// The one being written, the one published, and two that slow readers hold.
const REPORTS_KEPT: usize = 4;

/// The evaluation of all SLO instances.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    instances: Arc<Instances>,
    windows: Windows,
    resolution: Duration,
    started: Timestamp,
    /// In the order of reports.
    judged: Vec<Judged>,
    presences: Presences,
    /// Each another one.
    shapes: Vec<Arc<Shape>>,
    roster: Arc<Roster>,
    reports: Vec<Arc<Report>>,
    ticks: u64,
    /// Whether the last tick found instances that seem to have gone.
    has_idle: bool,
    /// When those were last closed that no series holds.
    asked_idle_at: Timestamp,
    /// Instances closed by the last tick, whose windows go with this one.
    closed: Vec<SliId>,
    /// SLIs of which what was stored last is wrong.
    departed: BTreeSet<SliId>,
    telemetry: EvaluationMetrics,
}

// === impl Engine ===

impl Engine {
    /// An engine that has evaluated nothing yet. `open` must have the resolution of this configuration.
    pub fn new(
        config: Config,
        instances: Arc<Instances>,
        open: Arc<OpenSlots>,
        telemetry: EvaluationMetrics,
        now: Timestamp,
    ) -> Self {
        let at = (now - config.delay).floor(config.resolution());
        Self::at(config, instances, open, telemetry, now, at)
    }

    /// An engine that has evaluated event time up to `at`.
    fn at(
        config: Config,
        instances: Arc<Instances>,
        open: Arc<OpenSlots>,
        telemetry: EvaluationMetrics,
        now: Timestamp,
        at: Timestamp,
    ) -> Self {
        Self {
            resolution: config.resolution(),
            windows: Windows::new(open, at),
            config,
            instances,
            started: now,
            judged: Vec::new(),
            presences: Presences::default(),
            shapes: Vec::new(),
            roster: Arc::default(),
            reports: Vec::new(),
            ticks: 0,
            has_idle: false,
            asked_idle_at: Timestamp::default(),
            closed: Vec::new(),
            departed: BTreeSet::new(),
            telemetry,
        }
    }

    /// The event time that is evaluated at a time of the clock.
    pub fn event_time(&self, now: Timestamp) -> Timestamp {
        (now - self.config.delay).floor(self.resolution)
    }

    /// Evaluates every instance. `last_request` is when any sender last delivered anything.
    pub fn tick(&mut self, now: Timestamp, last_request: &Latest) -> Arc<Report> {
        self.ticks += 1;
        self.close_idle_instances(now);
        let at = self.event_time(now);
        if self.windows.now().since(at) > SET_BACK_MIN.max(self.resolution * 2) {
            self.set_back(at, now, last_request);
        }
        self.windows.close(at);
        let replaced = self.take_changes();
        self.windows.count();
        self.forget_closed_instances();
        self.replace_instances(replaced);
        let at = self.windows.now();
        // What was heard before says nothing of who is there now.
        let heard = last_request.get().unwrap_or(self.started).max(self.started);
        let report = self.judge_all(Moment {
            at,
            now,
            ticks: self.ticks,
            sender_is_down: now.since(heard) > self.config.sender_timeout,
            stale_after: self.config.stale_after,
        });
        self.telemetry.evaluations.inc();
        self.telemetry.evaluated_to.set(at.seconds());
        self.telemetry.instances.set(self.judged.len() as i64);
        self.telemetry.window_memory.set(self.windows.bytes() as i64);
        let too_late = self.windows.too_late().saturating_sub(self.telemetry.too_late.get());
        self.telemetry.too_late.inc_by(too_late);
        report
    }

    /// A clock that is a little behind waits; one that was set back far takes with it the windows, which
    /// would stand still until it caught up, and every other time that it showed.
    fn set_back(&mut self, at: Timestamp, now: Timestamp, last_request: &Latest) {
        self.windows.set_back(at);
        for judged in &mut self.judged {
            judged.set_back(at);
            self.presences.of(judged.sli).set_back(at);
        }
        last_request.lower_to(now);
        self.started = self.started.min(now);
        self.asked_idle_at = self.asked_idle_at.min(now);
        self.telemetry.set_backs.inc();
    }

    fn judge_all(&mut self, moment: Moment) -> Arc<Report> {
        let mut shared = self.take_report();
        if let Some(report) = Arc::get_mut(&mut shared) {
            let mut inconsistent = 0;
            let mut pen = report.begin(moment.at, self.config.delay, &self.roster);
            for judged in &mut self.judged {
                let (history, columns) = (self.windows.history(judged.sli), pen.next(&judged.shape));
                let (Some(history), Some(columns)) = (history, columns) else { continue };
                let presence = self.presences.of(judged.sli);
                inconsistent += u64::from(judged.judge(history, presence, moment, columns));
                self.has_idle |= judged.is_idle;
            }
            self.telemetry.inconsistent.inc_by(inconsistent);
        }
        self.reports.push(Arc::clone(&shared));
        shared
    }

    /// A report that nobody else holds.
    fn take_report(&mut self) -> Arc<Report> {
        let unused = self.reports.iter_mut().position(|report| Arc::get_mut(report).is_some());
        match unused {
            Some(unused) => self.reports.remove(unused),
            None => {
                if self.reports.len() == REPORTS_KEPT {
                    self.reports.remove(0);
                }
                Arc::default()
            }
        }
    }

    /// Copies of histories, by the places of their instances in reports of this roster. `None` if instances came or
    /// went since: then a newer report has them.
    pub fn copied(&self, roster: &Arc<Roster>, places: &[usize]) -> Option<Vec<Copied>> {
        if !Arc::ptr_eq(&self.roster, roster) {
            return None;
        }
        places.iter().map(|place| self.windows.copied(self.judged.get(*place)?.sli)).collect()
    }

    // --- instances come and go ---

    /// Meets new instances, and closes those whose SLO is not in force any more. Returns those that take the place
    /// of others, which is for after the count: then all windows are at the same time.
    fn take_changes(&mut self) -> Vec<Arc<Instance>> {
        let Some(changes) = self.instances.take_changes() else { return Vec::new() };
        self.presences = changes.presences;
        changes.opened.into_iter().for_each(|instance| self.open(instance));
        let removed: HashSet<SliId> = changes.removed.iter().copied().collect();
        self.judged.retain(|judged| !removed.contains(&judged.sli));
        self.departed.extend(&changes.removed);
        self.closed.extend(changes.removed);
        self.line_up();
        changes.replaced
    }

    fn open(&mut self, instance: Arc<Instance>) {
        self.windows.insert(instance.sli, &instance.layout);
        let shape = self.share(Shape::new(&instance.slo, &instance.layout, instance.role));
        self.judged.push(Judged::new(instance, shape));
    }

    fn replace_instances(&mut self, replaced: Vec<Arc<Instance>>) {
        if replaced.is_empty() {
            return;
        }
        // Of several that replaced each other the last one counts.
        let mut replaced: HashMap<SliId, Arc<Instance>> =
            replaced.into_iter().map(|instance| (instance.sli, instance)).collect();
        for number in 0..self.judged.len() {
            let Some(instance) = replaced.remove(&self.judged[number].sli) else { continue };
            if self.windows.relayout(instance.sli, &instance.layout) {
                self.departed.insert(instance.sli);
            }
            let shape = self.share(Shape::new(&instance.slo, &instance.layout, instance.role));
            self.judged[number].succeed(instance, shape);
        }
        self.shapes.retain(|shape| Arc::strong_count(shape) > 1);
        self.line_up();
    }

    fn line_up(&mut self) {
        // Stable: groups of one SLO stay in the order of their appearance.
        self.judged.sort_by_key(|judged| judged.instance.slo_index);
        self.take_roster();
    }

    fn share(&mut self, shape: Shape) -> Arc<Shape> {
        if let Some(known) = self.shapes.iter().find(|known| ***known == shape) {
            return Arc::clone(known);
        }
        let shape = Arc::new(shape);
        self.shapes.push(Arc::clone(&shape));
        shape
    }

    /// Closes groups that the last tick found idle and that no series belongs to. Before this tick counts,
    /// so that what their series added last is counted before their windows go.
    fn close_idle_instances(&mut self, now: Timestamp) {
        let is_due = now.since(self.asked_idle_at) >= ASK_IDLE_EVERY;
        if !std::mem::take(&mut self.has_idle) || !is_due {
            return;
        }
        self.asked_idle_at = now;
        let Self { instances, judged, closed, .. } = self;
        judged.retain(|judged| {
            let is_closed = judged.is_idle && instances.close_unused(&judged.instance);
            if is_closed {
                closed.push(judged.sli);
            }
            !is_closed
        });
        if !self.closed.is_empty() {
            self.departed.extend(&self.closed);
            self.take_roster();
        }
    }

    fn forget_closed_instances(&mut self) {
        if !self.closed.is_empty() {
            self.windows.remove(&self.closed);
            self.closed.drain(..).for_each(|sli| self.instances.release(sli));
        }
    }

    fn take_roster(&mut self) {
        let members = self.judged.iter().map(|judged| (&*judged.instance, &judged.shape));
        self.roster = Arc::new(Roster::new(members));
    }
}

// === impl Config ===

impl Config {
    /// The step of event time in which events are counted and evaluated.
    pub fn resolution(&self) -> Duration {
        window::resolution(self.interval, self.delay)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            // One flush of a Prometheus sender.
            delay: Duration::from_secs(5),
            // Prometheus' lookback.
            stale_after: Duration::from_secs(300),
            // Two scrapes at the default interval of a minute.
            sender_timeout: Duration::from_secs(120),
        }
    }
}
