//! One instance from tick to tick: what is remembered of it, and how it is judged.

mod alerts;
mod state;

use std::{sync::Arc, time::Duration};

use crate::{
    alert::AlertState,
    burn_rate,
    matching::{Instance, Presence, Role},
    report::{ActiveAlert, Budget, BudgetShape, Columns, DataStatus, Shape},
    slo::Indicator,
    time::{Timestamp, millis},
    window::{Counts, History, SliId},
};

/// An instance and what is remembered of it.
#[derive(Debug)]
pub(super) struct Judged {
    // A tick reads these from end to end. What it needs seldom is behind pointers.
    pub(super) sli: SliId,
    /// Whether all alerts are inactive.
    is_quiet: bool,
    /// Whether any budget is.
    is_overspent: bool,
    /// Whether it is a group of which no window holds anything.
    pub(super) is_idle: bool,
    /// Whether series of it are taken to be there that have not been met since a restart.
    is_presumed_live: bool,
    budget_ratio: f64,
    /// The largest lifetime counts so far. `count - bucket` can fall for a moment; a counter must not.
    published: Counts,
    pub(super) shape: Arc<Shape>,
    pub(super) instance: Arc<Instance>,
    memory: Box<Memory>,
}

/// What is remembered of what burns.
#[derive(Debug)]
struct Memory {
    /// Of burn-rate alerts, then of states that are watched for: each as its shape numbers them.
    alerts: Box<[AlertState]>,
    /// By budget: when an overspent one is positive again.
    recoveries: Box<[Option<Timestamp>]>,
}

/// What a tick knows about the world.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The event time evaluated.
    pub(super) at: Timestamp,
    /// The clock's time.
    pub(super) now: Timestamp,
    pub(super) ticks: u64,
    pub(super) sender_is_down: bool,
    pub(super) stale_after: Duration,
}

/// Whether and until when its series are seen.
#[derive(Clone, Copy, Debug)]
struct Sight {
    last_sample: Option<Timestamp>,
    is_recent: bool,
    is_live: bool,
    until: Timestamp,
}

/// What alerts are judged by.
#[derive(Clone, Copy, Debug)]
struct Seen<'a> {
    counts: &'a [Counts],
    /// The first one.
    budget: Budget,
    status: DataStatus,
    last_sample: Option<Timestamp>,
}

/// What a budget was spent on, and how far its period has come.
#[derive(Clone, Copy, Debug)]
struct Period {
    window: usize,
    start: Timestamp,
    end: Timestamp,
    is_calendar: bool,
}

// The walk through the slots of an overspent budget is taken every so many ticks.
const RECOVERY_TICKS: u64 = 16;

// === impl Judged ===

impl Judged {
    pub(super) fn new(instance: Arc<Instance>, shape: Arc<Shape>) -> Self {
        Self {
            sli: instance.sli,
            is_quiet: true,
            is_overspent: false,
            is_idle: false,
            is_presumed_live: false,
            budget_ratio: instance.slo.objective.target.budget_ratio(),
            published: Counts::ZERO,
            memory: Box::new(Memory {
                alerts: vec![AlertState::default(); shape.rules.len() + shape.watches.len()].into(),
                recoveries: vec![None; shape.budgets.len()].into(),
            }),
            instance,
            shape,
        }
    }

    /// Goes on as the instance that takes its place, with the states of the alerts that both have.
    pub(super) fn succeed(&mut self, instance: Arc<Instance>, shape: Arc<Shape>) {
        let mut next = Self::new(instance, shape);
        next.take_alerts(self);
        (next.published, next.is_idle) = (self.published, self.is_idle);
        next.is_presumed_live = self.is_presumed_live;
        *self = next;
    }

    /// Writes its columns, and moves its alerts. Returns whether its counts contradict each other.
    pub(super) fn judge(
        &mut self,
        history: History<'_>,
        presence: &Presence,
        moment: Moment,
        columns: Columns<'_>,
    ) -> bool {
        let Columns { row, counts, budgets, alerts, instance, active } = columns;
        let rolling = history.windows();
        let (of_rolling, of_calendars) = counts.split_at_mut(rolling.len());
        of_rolling.iter_mut().zip(rolling).for_each(|(column, counts)| *column = counts);
        of_calendars.copy_from_slice(history.calendars());

        let sight = self.look(presence, moment);
        row.last_sample = sight.last_sample;
        let moment = Moment { sender_is_down: moment.sender_is_down && !self.is_pulled(), ..moment };
        row.status = sight.status(presence, counts[self.shape.recent].total, moment);
        row.lifetime = self.publish(history.lifetime());
        for (number, budget) in budgets.iter_mut().enumerate() {
            *budget = self.budget(number, history, counts, sight, moment);
        }
        self.is_overspent = budgets.iter().any(|budget| budget.remaining < 0.0);
        let seen = Seen { counts, budget: budgets[0], status: row.status, last_sample: sight.last_sample };
        // What does not burn and did not stays as it is, whatever is known of the data.
        if self.test_conditions(seen, alerts) || !self.is_quiet {
            self.move_alerts(seen, moment, alerts, |alert, before, state| {
                active.push(ActiveAlert { instance, alert, before, state });
            });
        }

        self.is_idle = !sight.is_live && self.is_idle(history, sight, moment);

        let period = counts[self.shape.budgets[0].window()];
        burn_rate::is_inconsistent(period.bad, period.total)
    }

    /// Takes back times later than `to`: the clock has been set back.
    pub(super) fn set_back(&mut self, to: Timestamp) {
        self.memory.alerts.iter_mut().for_each(|state| *state = state.set_back(to));
        self.memory.recoveries.fill(None);
    }

    /// Series that were live before a restart are taken to be until the first of them is met.
    fn look(&mut self, presence: &Presence, moment: Moment) -> Sight {
        let sight = Sight::new(presence, moment);
        self.is_presumed_live &= !sight.is_live;
        if self.is_presumed_live { sight.presume_live(moment) } else { sight }
    }

    fn publish(&mut self, lifetime: Counts) -> Counts {
        if lifetime != self.published {
            self.published.bad = self.published.bad.max(lifetime.bad);
            self.published.total = self.published.total.max(lifetime.total);
        }
        self.published
    }

    /// Whether it does without senders.
    fn is_pulled(&self) -> bool {
        matches!(self.instance.slo.indicator, Indicator::Pulled(_))
    }

    fn is_idle(&self, history: History<'_>, sight: Sight, moment: Moment) -> bool {
        let longest_ms = self.instance.layout.longest_ms();
        let is_silent = sight.last_sample.is_none_or(|last| moment.at.0 - last.0 > longest_ms);
        self.instance.role == Role::Group && is_silent && history.is_empty()
    }

    // --- budgets ---

    fn budget(
        &mut self,
        number: usize,
        history: History<'_>,
        counts: &[Counts],
        sight: Sight,
        moment: Moment,
    ) -> Budget {
        let period = Period::new(self.shape.budgets[number], history, moment.at);
        let (spent, trend) = (counts[period.window], counts[self.shape.trend]);
        let remaining = burn_rate::remaining(self.burn_rate(spent), period.passed(moment.at));
        let lasts = burn_rate::periods_to_burn(trend.bad, trend.total, self.budget_ratio);
        let exhaustion_s = remaining.max(0.0) * period.length_s() * lasts;
        let outlives = period.is_calendar && remaining > 0.0 && exhaustion_s >= period.left_s(moment.at);
        let (observed_ms, passed_ms) =
            (history.observed_ms(period.start, sight.until), period.passed_ms(moment.at));
        Budget {
            remaining,
            // Divided only where something is missing.
            coverage: if observed_ms >= passed_ms { 1.0 } else { observed_ms as f64 / passed_ms as f64 },
            // NaN is what nothing left times for ever comes to.
            exhaustion_s: if outlives {
                f64::INFINITY
            } else if remaining > 0.0 {
                exhaustion_s
            } else {
                0.0
            },
            recovery_s: self.recovery_s(number, period, remaining, history, counts, moment),
        }
    }

    fn recovery_s(
        &mut self,
        number: usize,
        period: Period,
        remaining: f64,
        history: History<'_>,
        counts: &[Counts],
        moment: Moment,
    ) -> f64 {
        if remaining >= 0.0 {
            if self.is_overspent {
                self.memory.recoveries[number] = None;
            }
            return 0.0;
        }
        if period.is_calendar {
            return period.left_s(moment.at);
        }
        let is_due = (moment.ticks + u64::from(self.sli.0)).is_multiple_of(RECOVERY_TICKS);
        let known = self.memory.recoveries[number];
        let recovery = match known.filter(|recovery| !is_due && *recovery > moment.at) {
            Some(known) => known,
            None => {
                let allowed = burn_rate::allowed(counts[period.window].total, self.budget_ratio);
                let wait_ms = history.time_until(period.window, |left| left.bad <= allowed);
                Timestamp(moment.at.0 + wait_ms)
            }
        };
        self.memory.recoveries[number] = Some(recovery);
        (recovery.0 - moment.at.0) as f64 / 1_000.0
    }

    fn burn_rate(&self, counts: Counts) -> f64 {
        burn_rate::burn_rate(counts.bad, counts.total, self.budget_ratio)
    }
}

// === impl Sight ===

impl Sight {
    fn new(presence: &Presence, moment: Moment) -> Self {
        let last_sample = presence.last_sample();
        let stale_after_ms = millis(moment.stale_after);
        let is_recent = last_sample.is_some_and(|last| moment.at.0 - last.0 <= stale_after_ms);
        let is_live = is_recent && presence.live_series() > 0;
        // The time since the last sample counts as observed while the next one is not overdue.
        let until = if is_live { moment.at } else { last_sample.unwrap_or(moment.at).min(moment.at) };
        Self { last_sample, is_recent, is_live, until }
    }

    fn presume_live(self, moment: Moment) -> Self {
        if self.is_recent { Self { is_live: true, until: moment.at, ..self } } else { self }
    }

    fn status(self, presence: &Presence, recent_events: f64, moment: Moment) -> DataStatus {
        if moment.sender_is_down {
            DataStatus::SenderDown
        } else if self.last_sample.is_none() {
            DataStatus::NoSeries
        } else if presence.is_catching_up(moment.now) {
            DataStatus::CatchingUp
        } else if !self.is_live {
            DataStatus::Stale
        } else if recent_events <= 0.0 {
            DataStatus::NoTraffic
        } else {
            DataStatus::Ok
        }
    }
}

// === impl Period ===

impl Period {
    fn new(shape: BudgetShape, history: History<'_>, at: Timestamp) -> Self {
        match shape {
            BudgetShape::Rolling { window, length_ms } => {
                Self { window, start: Timestamp(at.0 - length_ms), end: at, is_calendar: false }
            }
            BudgetShape::Calendar { window, calendar } => {
                let (start, end) = history.period(calendar);
                Self { window, start, end, is_calendar: true }
            }
        }
    }

    fn passed_ms(self, at: Timestamp) -> i64 {
        (at.0 - self.start.0).max(1)
    }

    fn length_s(self) -> f64 {
        (self.end.0 - self.start.0) as f64 / 1_000.0
    }

    fn left_s(self, at: Timestamp) -> f64 {
        (self.end.0 - at.0) as f64 / 1_000.0
    }

    /// The part of it that has passed: all of a rolling one.
    fn passed(self, at: Timestamp) -> f64 {
        if self.is_calendar { (at.0 - self.start.0) as f64 / (self.end.0 - self.start.0) as f64 } else { 1.0 }
    }
}
