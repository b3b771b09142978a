//! The result of one evaluation: immutable, shared by every reader.
//!
//! `/metrics`, the terminal and later the API all show the same instant, because they all read one
//! `Arc<Report>`; none of them can hold up the evaluation or the ingest path. A report keeps in columns
//! what the tick found, so that a tick over many SLOs writes little and allocates nothing; a reader asks
//! for a [`Snapshot`], which has it all spelled out.

mod alerts;
mod shape;

use std::{sync::Arc, time::Duration};

use crate::{
    alert::AlertState,
    burn_rate,
    labels::Labels,
    matching::{Instance, Role},
    slo::{Slo, TimeWindow},
    time::Timestamp,
    window::Counts,
};

pub use crate::slo::DataStatus;
pub use alerts::{Alert, Transition};
pub use shape::{BudgetShape, Rule, Shape, Watch};

/// Every SLO instance at one instant of event time.
#[derive(Debug, Default)]
pub struct Report {
    /// The event time up to which samples were counted.
    pub evaluated_at: Timestamp,
    /// How far behind the clock that is, but for rounding.
    delay: Duration,
    roster: Arc<Roster>,
    rows: Vec<Row>,
    counts: Vec<Counts>,
    budgets: Vec<Budget>,
    alerts: Vec<AlertReport>,
    active: Vec<ActiveAlert>,
}

/// Who is in a report: the same from one tick to the next until instances come or go.
#[derive(Debug, Default)]
pub struct Roster {
    /// By SLO as the specs give them; of one SLO the whole or the roll-up first, then groups in the order
    /// of their appearance.
    members: Vec<Member>,
    counts: usize,
    budgets: usize,
    alerts: usize,
}

#[derive(Debug)]
struct Member {
    slo: Arc<Slo>,
    group: Labels,
    role: Role,
    shape: Arc<Shape>,
    // Where its part of each column begins.
    counts_at: usize,
    budgets_at: usize,
    alerts_at: usize,
}

/// What the tick found of an instance beside its windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row {
    /// Whether the numbers can be believed.
    pub status: DataStatus,
    /// The newest sample of any of its series.
    pub last_sample: Option<Timestamp>,
    /// All that was counted since the instance exists.
    pub lifetime: Counts,
}

/// What the tick found of a budget.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    /// See [`BudgetReport::remaining`].
    pub remaining: f64,
    /// See [`BudgetReport::coverage`].
    pub coverage: f64,
    /// Seconds; infinite if it lasts for ever.
    pub exhaustion_s: f64,
    /// Seconds.
    pub recovery_s: f64,
}

/// What the tick found of an alert that is not simply inactive: of most there is nothing to tell.
#[derive(Clone, Copy, Debug)]
pub struct ActiveAlert {
    /// The number of its instance in the report.
    pub instance: usize,
    /// Its number among the alerts of its instance.
    pub alert: usize,
    /// Where it was in its life before.
    pub before: AlertState,
    /// Where it is in its life, in event time.
    pub state: AlertState,
}

/// A report spelled out.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The event time up to which samples were counted.
    pub evaluated_at: Timestamp,
    /// Every instance, in the order of the report.
    pub slos: Vec<SloReport>,
}

/// The columns of a report, to be written one instance after the other.
#[derive(Debug)]
pub struct Pen<'a> {
    rows: std::slice::IterMut<'a, Row>,
    counts: &'a mut [Counts],
    budgets: &'a mut [Budget],
    alerts: &'a mut [AlertReport],
    active: &'a mut Vec<ActiveAlert>,
    instance: usize,
}

/// The columns of one instance.
#[derive(Debug)]
pub struct Columns<'a> {
    /// Its row.
    pub row: &'a mut Row,
    /// The counts of its windows, as its shape numbers them.
    pub counts: &'a mut [Counts],
    /// Its budgets.
    pub budgets: &'a mut [Budget],
    /// Its alerts.
    pub alerts: &'a mut [AlertReport],
    /// Its number.
    pub instance: usize,
    /// Alerts that are not inactive, of all instances so far.
    pub active: &'a mut Vec<ActiveAlert>,
}

/// One instance as its report has it, with nothing spelled out.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The SLO as specified.
    pub slo: &'a Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping and for a roll-up.
    pub group: &'a Labels,
    /// Which part of the SLO it is.
    pub role: Role,
    /// Where the numbers are.
    pub shape: &'a Shape,
    /// What is not by window.
    pub row: &'a Row,
    /// The counts of its windows, as its shape numbers them.
    pub counts: &'a [Counts],
    /// Its budgets.
    pub budgets: &'a [Budget],
    /// Its alerts.
    pub alerts: &'a [AlertReport],
}

/// One instance of an SLO: the SLO itself, one of its groups, or all of them together.
#[derive(Clone, Debug)]
pub struct SloReport {
    /// The SLO as specified.
    pub slo: Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping and for a roll-up.
    pub group: Labels,
    /// Which part of the SLO it is.
    pub role: Role,
    /// Whether the numbers below can be believed.
    pub status: DataStatus,
    /// Every rolling window of the SLO, shortest first, then its calendar windows.
    pub windows: Vec<WindowReport>,
    /// One entry for each of `slo.objective.windows`, in their order.
    pub budgets: Vec<BudgetReport>,
    /// All events counted since the instance exists.
    pub events_total: f64,
    /// The bad ones among them.
    pub bad_events_total: f64,
    /// The newest sample of any of its series.
    pub last_sample: Option<Timestamp>,
    /// One entry for each of `slo.alerts`, in their order; none for a roll-up, whose groups have them.
    pub alerts: Vec<AlertReport>,
}

/// The counts of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowReport {
    /// Which window; it ends at [`Report::evaluated_at`].
    pub window: TimeWindow,
    /// Events in it; fractional where the window's edge cuts a slot.
    pub events: f64,
    /// The bad ones among them.
    pub bad_events: f64,
    /// `bad / all`, within 0 and 1; 0 when nothing happened.
    pub error_ratio: f64,
    /// `error_ratio / (1 - target)`.
    pub burn_rate: f64,
}

/// The error budget over one of the SLO's windows.
#[derive(Clone, Debug, PartialEq)]
pub struct BudgetReport {
    /// The window.
    pub window: TimeWindow,
    /// `1 - error ratio / (1 - target)`: 1 untouched, 0 spent, below 0 overspent. For a calendar window what
    /// is spent counts by the part of the period that has passed.
    pub remaining: f64,
    /// The share of the window, up to now, that was observed.
    pub coverage: f64,
    /// How long the budget lasts at the present burn rate; `None`: for ever.
    pub time_to_exhaustion: Option<Duration>,
    /// How long an overspent budget takes to be positive again if nothing bad happens; zero if it is.
    pub time_to_recovery: Duration,
}

/// One burn-rate alert of an instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AlertReport {
    /// Whether both windows burn faster than the factor allows.
    pub condition: bool,
    /// Where the alert is in its life: 0 inactive, 1 pending, 2 firing.
    pub level: u8,
}

// === impl Report ===

impl Report {
    /// Begins a report on these instances, to be written in their order. Reuses the memory of `self`.
    pub fn begin(&mut self, evaluated_at: Timestamp, delay: Duration, roster: &Arc<Roster>) -> Pen<'_> {
        if !Arc::ptr_eq(&self.roster, roster) {
            self.roster = Arc::clone(roster);
            self.rows.resize(roster.members.len(), Row::default());
            self.counts.resize(roster.counts, Counts::ZERO);
            self.budgets.resize(roster.budgets, Budget::default());
            self.alerts.resize(roster.alerts, AlertReport::default());
        }
        (self.evaluated_at, self.delay) = (evaluated_at, delay);
        self.active.clear();
        Pen {
            rows: self.rows.iter_mut(),
            counts: &mut self.counts,
            budgets: &mut self.budgets,
            alerts: &mut self.alerts,
            active: &mut self.active,
            instance: 0,
        }
    }

    /// How many instances there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Everything in it, spelled out.
    pub fn snapshot(&self) -> Snapshot {
        let slos = (0..self.rows.len()).map(|number| self.slo(number)).collect();
        Snapshot { evaluated_at: self.evaluated_at, slos }
    }

    /// Who is in it: the same from one report to the next until instances come or go.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// What was found of each instance, in columns, for who reads report after report.
    pub fn views(&self) -> impl ExactSizeIterator<Item = View<'_>> {
        (0..self.rows.len()).map(|number| self.view(number))
    }

    /// What was found of the instance at a place.
    pub fn view_at(&self, place: usize) -> Option<View<'_>> {
        (place < self.rows.len()).then(|| self.view(place))
    }

    fn view(&self, number: usize) -> View<'_> {
        let Member { slo, group, role, shape, counts_at, budgets_at, alerts_at } =
            &self.roster.members[number];
        View {
            slo,
            group,
            role: *role,
            shape,
            row: &self.rows[number],
            counts: &self.counts[*counts_at..][..shape.counts],
            budgets: &self.budgets[*budgets_at..][..shape.budgets.len()],
            alerts: &self.alerts[*alerts_at..][..shape.rules.len()],
        }
    }

    fn slo(&self, number: usize) -> SloReport {
        let (member, row) = (&self.roster.members[number], &self.rows[number]);
        let shape = &member.shape;
        let View { counts, budgets, .. } = self.view(number);
        SloReport {
            status: row.status,
            windows: shape.windows.iter().map(|(w, at)| window(&member.slo, w, counts[*at])).collect(),
            budgets: member.slo.objective.windows.iter().zip(budgets).map(BudgetReport::of).collect(),
            events_total: row.lifetime.total,
            bad_events_total: row.lifetime.bad,
            last_sample: row.last_sample,
            alerts: self.alerts[member.alerts_at..][..shape.rules.len()].to_vec(),
            slo: Arc::clone(&member.slo),
            group: member.group.clone(),
            role: member.role,
        }
    }
}

fn take<'a, T>(column: &mut &'a mut [T], length: usize) -> &'a mut [T] {
    let (first, rest) = std::mem::take(column).split_at_mut(length);
    *column = rest;
    first
}

fn window(slo: &Slo, window: &TimeWindow, counts: Counts) -> WindowReport {
    WindowReport {
        window: window.clone(),
        events: counts.total,
        bad_events: counts.bad,
        error_ratio: burn_rate::error_ratio(counts.bad, counts.total),
        burn_rate: burn_rate::burn_rate(counts.bad, counts.total, slo.objective.target.budget_ratio()),
    }
}

// === impl Pen ===

impl Pen<'_> {
    /// The columns of the next instance, which has this shape. `None` after the last one.
    pub fn next(&mut self, shape: &Shape) -> Option<Columns<'_>> {
        let row = self.rows.next()?;
        self.instance += 1;
        Some(Columns {
            row,
            counts: take(&mut self.counts, shape.counts),
            budgets: take(&mut self.budgets, shape.budgets.len()),
            alerts: take(&mut self.alerts, shape.rules.len()),
            instance: self.instance - 1,
            active: &mut *self.active,
        })
    }
}

// === impl Roster ===

impl Roster {
    /// The instances of a report, in its order.
    pub fn new<'a>(instances: impl Iterator<Item = (&'a Instance, &'a Arc<Shape>)>) -> Self {
        let mut roster = Self::default();
        for (instance, shape) in instances {
            roster.members.push(Member {
                slo: Arc::clone(&instance.slo),
                group: instance.group.clone(),
                role: instance.role,
                shape: Arc::clone(shape),
                counts_at: roster.counts,
                budgets_at: roster.budgets,
                alerts_at: roster.alerts,
            });
            roster.counts += shape.counts;
            roster.budgets += shape.budgets.len();
            roster.alerts += shape.rules.len();
        }
        roster
    }
}

// === impl SloReport ===

impl SloReport {
    /// The budget over the SLO's first window.
    pub fn budget(&self) -> &BudgetReport {
        &self.budgets[0]
    }

    /// The rolling window of this length.
    pub fn window(&self, length: Duration) -> Option<&WindowReport> {
        self.windows.iter().find(|report| report.window.rolling() == Some(length))
    }
}

// === impl BudgetReport ===

impl BudgetReport {
    fn of((window, budget): (&TimeWindow, &Budget)) -> Self {
        Self {
            window: window.clone(),
            remaining: budget.remaining,
            coverage: budget.coverage,
            // What is too long for a duration is as good as for ever.
            time_to_exhaustion: Duration::try_from_secs_f64(budget.exhaustion_s).ok(),
            time_to_recovery: Duration::try_from_secs_f64(budget.recovery_s).unwrap_or(Duration::MAX),
        }
    }
}
