//! One instance of an SLO through a replay: what is written down of each step.
//!
//! It does not know samples or incidents. The memory is that of its alerts, a number an hour, and the stretches in which
//! the budget burned.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::{
    incidents::{Burn, Burns},
    report::{Firing, Remaining},
    span::Span,
    tune::{Grid, Trial},
};
use crate::{
    labels::Labels,
    matching::Role,
    report::{Budget, Report, Roster, View},
    slo::{Slo, SloId},
    time::Timestamp,
    window::Counts,
};

/// All instances.
#[derive(Debug)]
pub(super) struct Watches {
    /// The SLOs as specified.
    slos: Vec<Arc<Slo>>,
    grids: Vec<Option<Arc<Grid>>>,
    places: HashMap<SloId, usize>,
    watches: Vec<Watch>,
    known: HashMap<(usize, Role, Labels), usize>,
    /// By the place in the report: the watch.
    lineup: Vec<usize>,
    roster: Arc<Roster>,
    last: Option<Timestamp>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Watch {
    /// The SLO's place.
    pub(super) slo: usize,
    pub(super) role: Role,
    pub(super) group: Labels,
    pub(super) counts: Counts,
    pub(super) firings: Vec<Firing>,
    pub(super) days: Vec<Remaining>,
    pub(super) hours: Vec<Remaining>,
    pub(super) lowest: Remaining,
    pub(super) last: Remaining,
    pub(super) trial: Option<Trial>,
    budget_ratio: f64,
    /// By alert: its entry among the firings while it fires.
    open: Vec<Option<usize>>,
    burns: Burns,
}

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

// === impl Watches ===

impl Watches {
    /// For these SLOs, and what is tried of each.
    pub(super) fn new(slos: Vec<Arc<Slo>>, grids: Vec<Option<Arc<Grid>>>) -> Self {
        let places = slos.iter().enumerate().map(|(place, slo)| (slo.id.clone(), place)).collect();
        Self {
            slos,
            grids,
            places,
            watches: Vec::new(),
            known: HashMap::new(),
            lineup: Vec::new(),
            roster: Arc::default(),
            last: None,
        }
    }

    /// Writes down a step.
    pub(super) fn step(&mut self, report: &Report) {
        if !Arc::ptr_eq(&self.roster, report.roster()) {
            self.line_up(report);
        }
        let at = report.evaluated_at;
        let step = Span { start: self.last.unwrap_or(at), end: at };
        for (view, watch) in report.views().zip(&self.lineup) {
            self.watches[*watch].step(step, view);
        }
        self.last = Some(at);
    }

    /// The instances, by SLO, and the SLOs.
    pub(super) fn finish(mut self) -> (Vec<Arc<Slo>>, Vec<Watch>) {
        self.watches.sort_by(|a, b| {
            (a.slo, a.role == Role::Group, &a.group).cmp(&(b.slo, b.role == Role::Group, &b.group))
        });
        (self.slos, self.watches)
    }

    /// Instances come and go; one that comes again goes on.
    fn line_up(&mut self, report: &Report) {
        self.roster = Arc::clone(report.roster());
        self.lineup.clear();
        for view in report.views() {
            let slo = self.places[&view.slo.id];
            let key = (slo, view.role, view.group.clone());
            let next = self.watches.len();
            let watch = *self.known.entry(key).or_insert(next);
            if watch == next {
                self.watches.push(Watch::new(slo, &self.slos[slo], self.grids[slo].as_ref(), view));
            }
            self.lineup.push(watch);
        }
    }
}

// === impl Watch ===

impl Watch {
    fn new(place: usize, slo: &Slo, grid: Option<&Arc<Grid>>, view: View<'_>) -> Self {
        let alerts = if view.role == Role::RollUp { 0 } else { slo.alerts.len() };
        let grid = grid.filter(|_| view.role != Role::RollUp);
        Self {
            slo: place,
            role: view.role,
            group: view.group.clone(),
            counts: Counts::ZERO,
            firings: Vec::new(),
            days: Vec::new(),
            hours: Vec::new(),
            lowest: Remaining { ratio: f64::INFINITY, ..Remaining::default() },
            last: Remaining::default(),
            trial: grid.map(|grid| Trial::new(grid, view.shape)),
            budget_ratio: slo.objective.target.budget_ratio(),
            open: vec![None; alerts],
            burns: Burns::default(),
        }
    }

    fn step(&mut self, step: Span, view: View<'_>) {
        let budget = &view.budgets[0];
        self.note_burn(step, view.row.lifetime);
        self.note_budget(step, budget);
        self.note_alerts(step.end, budget.remaining, view);
        if let Some(trial) = &mut self.trial {
            trial.step(step.end, view);
        }
    }

    /// The stretches in which the budget burned.
    pub(super) fn take_burns(&mut self) -> Vec<Burn> {
        std::mem::take(&mut self.burns).finish()
    }

    fn note_burn(&mut self, step: Span, lifetime: Counts) {
        // An instance that came again counts anew.
        let counted = if lifetime.total < self.counts.total { Counts::ZERO } else { self.counts };
        let events = lifetime - counted;
        self.counts = lifetime;
        self.burns.step(step, events.bad, events.total * self.budget_ratio);
    }

    fn note_budget(&mut self, step: Span, budget: &Budget) {
        let at = step.end;
        let remaining = Remaining { at, ratio: budget.remaining, coverage: budget.coverage };
        let is_next = |unit: Duration| at.floor(unit) > step.start.floor(unit);
        if is_next(HOUR) {
            self.hours.push(remaining);
        }
        if is_next(DAY) {
            self.days.push(remaining);
        }
        if remaining.ratio < self.lowest.ratio {
            self.lowest = remaining;
        }
        self.last = remaining;
    }

    fn note_alerts(&mut self, at: Timestamp, remaining: f64, view: View<'_>) {
        for (alert, (open, report)) in self.open.iter_mut().zip(view.alerts).enumerate() {
            match (*open, report.level == FIRING) {
                (None, true) => {
                    *open = Some(self.firings.len());
                    let span = Span { start: at, end: at };
                    self.firings.push(Firing { alert, span, is_open: true, remaining });
                }
                (Some(entry), is_firing) => {
                    self.firings[entry].span.end = at;
                    self.firings[entry].is_open = is_firing;
                    *open = is_firing.then_some(entry);
                }
                (None, false) => (),
            }
        }
    }
}

/// See [`AlertReport::level`](crate::report::AlertReport::level).
const FIRING: u8 = 2;
