//! What those see who read reports, and an Alertmanager that is told of them.

use std::collections::{BTreeMap, BTreeSet};

use super::setting::SHIFTING;
use crate::{
    matching::Role,
    report::{Report, SloReport, Snapshot},
    slo::{BurnRateAlert, SloId},
    time::Timestamp,
};

/// A report, as far as two runs are to agree in it.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// By SLO, and by group; without one for all of it.
    pub(super) instances: BTreeMap<(SloId, String), Counts>,
    /// The names of the alerts that fire.
    pub(super) firing: BTreeSet<String>,
    /// Whether alerts must fire, by name, of those for which the windows leave no doubt.
    certain: BTreeMap<String, bool>,
}

/// Bad and all events: since ever, and in each window.
pub(super) type Counts = Vec<(f64, f64)>;

/// Notes when alerts begin to fire and when they are resolved. It outlives slod.
#[derive(Debug, Default)]
pub(super) struct Alertmanager {
    /// By alert: since when it fires or does not, one after the other.
    alerts: BTreeMap<String, Vec<(Timestamp, bool)>>,
}

// === impl Seen ===

impl Seen {
    pub(super) fn new(report: &Report) -> Self {
        let Snapshot { slos, evaluated_at } = report.snapshot();
        let mut seen = Self { instances: BTreeMap::new(), firing: BTreeSet::new(), certain: BTreeMap::new() };
        for slo in slos {
            let (id, group) = (slo.slo.id.clone(), group(&slo));
            for (alert, state) in slo.slo.alerts.iter().zip(&slo.alerts) {
                let name = format!("{id}{group} {} {:?}", alert.severity, alert.long);
                if let Some(holds) = must_fire(&slo, alert, evaluated_at) {
                    seen.certain.insert(name.clone(), holds);
                }
                if state.level == 2 {
                    seen.firing.insert(name);
                }
            }
            let windows = slo.windows.iter().map(|window| (window.bad_events, window.events));
            let counts = [(slo.bad_events_total, slo.events_total)].into_iter().chain(windows).collect();
            seen.instances.insert((id, group), counts);
        }
        seen
    }

    /// An alert that is not what the windows of the same report say.
    pub(super) fn contradiction(&self) -> Option<String> {
        let wrong = self.certain.iter().find(|(name, holds)| self.firing.contains(*name) != **holds);
        wrong.map(|(name, holds)| format!("{name} {}", if *holds { "must fire" } else { "must not fire" }))
    }

    /// What differs from another one of the same time.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        let names: BTreeSet<_> = self.instances.keys().chain(other.instances.keys()).collect();
        names.into_iter().find_map(|name| {
            let (own, others) = (self.instances.get(name), other.instances.get(name));
            // Windows that a restart changes are made of those before at another moment than by a reload.
            let compared = if name.0.name == SHIFTING { 1 } else { usize::MAX };
            let own = own.map(|own| &own[..compared.min(own.len())]);
            let others = others.map(|others| &others[..compared.min(others.len())]);
            let is_same = match (own, others) {
                (Some(own), Some(others)) => own.len() == others.len() && own.iter().zip(others).all(is_near),
                // A group without events is closed when it has no series, which after a restart it has not yet.
                (Some(only), None) | (None, Some(only)) => only.iter().all(|counts| *counts == (0.0, 0.0)),
                (None, None) => true,
            };
            let (slo, group) = name;
            (!is_same).then(|| format!("{slo}{group}: {own:?} instead of {others:?}"))
        })
    }
}

/// Whether an alert must fire, as far as the windows of its report say: not where slod cannot see, not where an alert has
/// a past, and not where rounding decides.
fn must_fire(slo: &SloReport, alert: &BurnRateAlert, at: Timestamp) -> Option<bool> {
    let is_of_now = alert.for_.is_zero() && alert.keep_firing_for.is_zero();
    let is_seen = slo.last_sample.is_some_and(|last| last > at - alert.short);
    if slo.status.is_blind() || !is_seen || !is_of_now {
        return None;
    }
    let (long, short) = (slo.window(alert.long)?, slo.window(alert.short)?);
    let least = slo.slo.min_bad_events(alert);
    let sides = [
        side(long.burn_rate, alert.factor)?,
        side(short.burn_rate, alert.factor)?,
        side(long.bad_events, least)?,
    ];
    Some(sides.iter().all(|above| *above))
}

/// Whether a number is above a limit; `None` if it is so near that rounding decides, or that the limit itself counts.
fn side(number: f64, limit: f64) -> Option<bool> {
    let is_clear = (number - limit).abs() > 1e-6 * limit.abs().max(1.0);
    is_clear.then_some(number > limit)
}

// Of sums of fractions in different orders.
const ROUNDING: f64 = 1e-9;

fn is_near((own, others): (&(f64, f64), &(f64, f64))) -> bool {
    let is_near = |a: f64, b: f64| (a - b).abs() <= ROUNDING * a.abs().max(b.abs()).max(1.0);
    is_near(own.0, others.0) && is_near(own.1, others.1)
}

fn group(slo: &SloReport) -> String {
    match slo.role {
        Role::Group => slo.group.to_string(),
        Role::Whole | Role::RollUp => String::new(),
    }
}

// === impl Alertmanager ===

impl Alertmanager {
    /// Takes what fires now. Returns what has changed.
    pub(super) fn notify(&mut self, now: Timestamp, firing: &BTreeSet<String>) -> Vec<(String, bool)> {
        for name in firing {
            self.alerts.entry(name.clone()).or_default();
        }
        let mut changes = Vec::new();
        for (name, transitions) in &mut self.alerts {
            let (was_firing, is_firing) =
                (transitions.last().is_some_and(|(_, was_firing)| *was_firing), firing.contains(name));
            if was_firing != is_firing {
                transitions.push((now, is_firing));
                changes.push((name.clone(), is_firing));
            }
        }
        changes
    }
}
