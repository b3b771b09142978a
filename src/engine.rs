//! The tick: from counts to a report.
//!
//! `tick(now)` closes event time up to `now - evaluation_delay`, and judges every SLO instance at that
//! moment. The delay gives the samples of one scrape, which arrive in several requests, the time to be
//! there together. Nothing here waits, reads a clock or talks to anyone; the same calls with the same
//! arguments give the same reports.

use std::{sync::Arc, time::Duration};

use crate::{
    alert::{AlertState, Condition},
    burn_rate,
    labels::Labels,
    matching::{Instance, Instances},
    report::{AlertReport, DataStatus, Report, SloReport, WindowReport},
    slo::{BurnRateAlert, Slo},
    telemetry::EvaluationMetrics,
    time::{Timestamp, millis},
    window::{self, Counts, History, OpenSlots, Windows},
};

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

// A shorter window may lie between two scrapes, and be empty without meaning anything.
const RECENT_MIN: Duration = Duration::from_secs(60);

// Longer than a clock is stepped or slewed in normal service.
const SET_BACK_MIN: Duration = Duration::from_secs(60);

/// The evaluation of all SLO instances.
#[derive(Debug)]
pub struct Engine {
    config: Config,
    instances: Arc<Instances>,
    windows: Windows,
    resolution: Duration,
    started: Timestamp,
    /// By SLI number.
    judged: Vec<Judged>,
    /// SLI numbers by SLO, then by appearance: the order of reports.
    order: Vec<usize>,
    telemetry: EvaluationMetrics,
}

/// An instance and what is remembered of it from tick to tick.
#[derive(Debug)]
struct Judged {
    instance: Arc<Instance>,
    alerts: Vec<AlertState>,
    window_lengths: Vec<Duration>,
    /// The largest lifetime counts so far. `count - bucket` can fall for a moment; a counter must not.
    published: Counts,
}

/// What a tick knows about the world.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The event time evaluated.
    at: Timestamp,
    /// The clock's time.
    now: Timestamp,
    sender_is_down: bool,
    stale_after: Duration,
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
        let resolution = config.resolution();
        let windows = Windows::new(open, (now - config.delay).floor(resolution));
        let (judged, order) = (Vec::new(), Vec::new());
        Self { config, instances, windows, resolution, started: now, judged, order, telemetry }
    }

    /// Evaluates every instance. `last_request` is when any sender last delivered anything.
    pub fn tick(&mut self, now: Timestamp, last_request: Option<Timestamp>) -> Report {
        self.meet_new_instances();
        let at = self.advance_to((now - self.config.delay).floor(self.resolution));
        let heard = last_request.unwrap_or(self.started);
        let moment = Moment {
            at,
            now,
            sender_is_down: now.since(heard) > self.config.sender_timeout,
            stale_after: self.config.stale_after,
        };
        let report = Report { evaluated_at: at, slos: self.judge_all(moment) };
        self.telemetry.evaluations.inc();
        self.telemetry.evaluated_to.set(at.seconds());
        self.telemetry.instances.set(self.judged.len() as i64);
        report
    }

    /// Returns the event time reached. A clock that is a little behind waits; one that was set back far
    /// takes the windows with it, or they would stand still until it caught up.
    fn advance_to(&mut self, at: Timestamp) -> Timestamp {
        if self.windows.now().since(at) > SET_BACK_MIN {
            self.windows.set_back(at);
            self.telemetry.set_backs.inc();
        }
        self.windows.advance(at);
        self.windows.now()
    }

    fn meet_new_instances(&mut self) {
        let new = self.instances.from(self.judged.len());
        if new.is_empty() {
            return;
        }
        for instance in new {
            self.windows.insert(Arc::clone(&instance.layout));
            self.judged.push(Judged::new(instance));
        }
        self.order = (0..self.judged.len()).collect();
        self.order.sort_by_key(|sli| self.judged[*sli].instance.slo_index);
    }

    fn judge_all(&mut self, moment: Moment) -> Vec<SloReport> {
        let mut reports = Vec::with_capacity(self.judged.len());
        let mut order = self.order.iter().peekable();
        for (index, slo) in self.instances.plan().slos().enumerate() {
            let before = reports.len();
            while let Some(&sli) = order.next_if(|sli| self.judged[**sli].instance.slo_index == index) {
                let judged = &mut self.judged[sli];
                let history = self.windows.history(judged.instance.sli);
                reports.push(judged.judge(history, moment, &self.telemetry));
            }
            if reports.len() == before {
                reports.push(report_without_instance(slo, moment));
            }
        }
        reports
    }
}

/// A grouped SLO of which no group has appeared yet is shown all the same.
fn report_without_instance(slo: &Arc<Slo>, moment: Moment) -> SloReport {
    let status = if moment.sender_is_down { DataStatus::SenderDown } else { DataStatus::NoSeries };
    let windows =
        slo.rolling_windows().into_iter().map(|window| window_report(slo, window, Counts::ZERO)).collect();
    let quiet = AlertReport { condition: false, state: AlertState::Inactive };
    SloReport {
        slo: Arc::clone(slo),
        group: Labels::default(),
        status,
        windows,
        events_total: 0.0,
        bad_events_total: 0.0,
        error_budget_remaining: 1.0,
        time_to_exhaustion: None,
        time_to_recovery: Duration::ZERO,
        coverage: 0.0,
        last_sample: None,
        alerts: vec![quiet; slo.alerts.len()],
    }
}

// === impl Judged ===

impl Judged {
    fn new(instance: Arc<Instance>) -> Self {
        let window_lengths = instance.slo.rolling_windows();
        let alerts = vec![AlertState::default(); instance.slo.alerts.len()];
        Self { alerts, window_lengths, published: Counts::ZERO, instance }
    }

    fn judge(&mut self, history: &History, moment: Moment, telemetry: &EvaluationMetrics) -> SloReport {
        let slo = Arc::clone(&self.instance.slo);
        let windows = self.window_reports(history);
        let inconsistent =
            |window: &&WindowReport| burn_rate::is_inconsistent(window.bad_events, window.events);
        telemetry.inconsistent.inc_by(windows.iter().filter(inconsistent).count() as u64);
        let status = self.status(recent_events(&windows), moment);
        let alerts = self.step_alerts(&slo, &windows, status, moment);
        let period = self.window_number(slo.objective.period());
        let counts = history.counts(period);
        let spent = burn_rate::error_ratio(counts.bad, counts.total);
        let remaining = burn_rate::budget_remaining(spent, slo.objective.target);
        let allowed = counts.total * slo.objective.target.budget_ratio();
        let recovery_ms = history.time_until(period, |left| left.bad <= allowed);
        let lifetime = history.lifetime();
        self.published.bad = self.published.bad.max(lifetime.bad);
        self.published.total = self.published.total.max(lifetime.total);
        SloReport {
            status,
            events_total: self.published.total,
            bad_events_total: self.published.bad,
            error_budget_remaining: remaining,
            time_to_exhaustion: time_to_exhaustion(&slo, remaining, &windows),
            time_to_recovery: Duration::from_millis(recovery_ms.unsigned_abs()),
            coverage: self.coverage(counts, period, moment),
            last_sample: self.instance.last_sample(),
            group: self.instance.group.clone(),
            windows,
            alerts,
            slo,
        }
    }

    fn window_reports(&self, history: &History) -> Vec<WindowReport> {
        let report = |window: &Duration| {
            window_report(&self.instance.slo, *window, history.counts(self.window_number(*window)))
        };
        self.window_lengths.iter().map(report).collect()
    }

    /// The number of a window in the layout, where lengths are rounded up to the resolution.
    fn window_number(&self, window: Duration) -> usize {
        let windows = &self.instance.layout.windows;
        windows.partition_point(|layout| layout.length_ms < millis(window)).min(windows.len() - 1)
    }

    fn status(&self, recent_events: f64, moment: Moment) -> DataStatus {
        let Some(last) = self.instance.last_sample() else {
            return if moment.sender_is_down { DataStatus::SenderDown } else { DataStatus::NoSeries };
        };
        if moment.sender_is_down {
            DataStatus::SenderDown
        } else if self.instance.is_catching_up(moment.now) {
            DataStatus::CatchingUp
        } else if self.instance.live_series() <= 0 || moment.at.since(last) > moment.stale_after {
            DataStatus::Stale
        } else if recent_events <= 0.0 {
            DataStatus::NoTraffic
        } else {
            DataStatus::Ok
        }
    }

    fn step_alerts(
        &mut self,
        slo: &Slo,
        windows: &[WindowReport],
        status: DataStatus,
        moment: Moment,
    ) -> Vec<AlertReport> {
        let last_sample = self.instance.last_sample();
        let step = |(state, alert): (&mut AlertState, &BurnRateAlert)| {
            let holds = condition_holds(alert, windows);
            // A short window without any sample is not quiet but empty.
            let is_unseen = last_sample.is_none_or(|last| last <= moment.at - alert.short);
            let condition = match (status.is_blind() || is_unseen, holds) {
                (true, _) => Condition::Unknown,
                (false, true) => Condition::Holds,
                (false, false) => Condition::Clear,
            };
            *state = state.next(condition, alert, moment.at, moment.stale_after);
            AlertReport { condition: holds, state: *state }
        };
        self.alerts.iter_mut().zip(&slo.alerts).map(step).collect()
    }

    /// The share of the period in which its series were observed; the time since the last sample counts
    /// as observed while the next one is not overdue.
    fn coverage(&self, counts: Counts, period: usize, moment: Moment) -> f64 {
        let since_last = self.instance.last_sample().map_or(Duration::ZERO, |last| moment.at.since(last));
        let is_live = self.instance.live_series() > 0 && since_last <= moment.stale_after;
        let tail_ms = if is_live { since_last.as_millis() as f64 } else { 0.0 };
        let length_ms = self.instance.layout.windows[period].length_ms as f64;
        ((counts.observed_ms + tail_ms) / length_ms).clamp(0.0, 1.0)
    }
}

fn window_report(slo: &Slo, window: Duration, counts: Counts) -> WindowReport {
    let error_ratio = burn_rate::error_ratio(counts.bad, counts.total);
    WindowReport {
        window,
        events: counts.total,
        bad_events: counts.bad,
        error_ratio,
        burn_rate: burn_rate::burn_rate(error_ratio, slo.objective.target),
    }
}

/// The events of the shortest window that is no shorter than usual scrape intervals.
fn recent_events(windows: &[WindowReport]) -> f64 {
    let recent = windows.iter().find(|window| window.window >= RECENT_MIN).or(windows.last());
    recent.map_or(0.0, |window| window.events)
}

/// SRE workbook, chapter 5: both windows strictly above the factor; and enough bad events to mean it.
fn condition_holds(alert: &BurnRateAlert, windows: &[WindowReport]) -> bool {
    let (Some(short), Some(long)) = (find(windows, alert.short), find(windows, alert.long)) else {
        return false;
    };
    long.burn_rate > alert.factor && short.burn_rate > alert.factor && long.bad_events >= alert.min_bad_events
}

/// At the burn rate of the shortest long window: recent, but not a single bad moment.
fn time_to_exhaustion(slo: &Slo, remaining: f64, windows: &[WindowReport]) -> Option<Duration> {
    let recent = slo.alerts.iter().map(|alert| alert.long).min().unwrap_or(slo.objective.period());
    let burn_rate = find(windows, recent)?.burn_rate;
    burn_rate::time_to_exhaustion(remaining, burn_rate, slo.objective.period())
}

fn find(windows: &[WindowReport], length: Duration) -> Option<&WindowReport> {
    windows.iter().find(|window| window.window == length)
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
