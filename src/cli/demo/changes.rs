//! What changed between reports, a line each: for logs and pipes, where a table cannot be redrawn.
//!
//! It remembers what it told last, not merely the last report: a budget that hovers around a step is
//! told once, not at every crossing.

use std::collections::BTreeMap;

use super::wording::{burn_rate_over, instance_name, percent, time_of_day};
use crate::{
    labels::Labels,
    report::{DataStatus, SloReport, Snapshot},
    slo::{BurnRateAlert, SloId},
};

/// What was told of each instance.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    told: BTreeMap<(SloId, Labels), Told>,
}

#[derive(Clone, Debug)]
struct Told {
    status: Option<DataStatus>,
    alert_levels: Vec<u8>,
    budget_remaining: f64,
}

// The levels of `AlertState::level`.
const INACTIVE: u8 = 0;
const PENDING: u8 = 1;
const FIRING: u8 = 2;

const BUDGET_STEPS: f64 = 10.0;
// Half a step: the least change of the budget that is news.
const BUDGET_NEWS: f64 = 0.5 / BUDGET_STEPS;

// === impl Changes ===

impl Changes {
    /// A line for each alert that changed its state, each data status that changed, and each budget
    /// that went into another tenth, since the last call.
    pub fn observe(&mut self, report: &Snapshot) -> Vec<String> {
        let time = time_of_day(report.evaluated_at);
        let mut lines = Vec::new();
        for slo in &report.slos {
            let key = (slo.slo.id.clone(), slo.group.clone());
            let told = self.told.entry(key).or_insert_with(|| Told::nothing(slo));
            let name = instance_name(slo);
            lines.extend(told.observe(slo).into_iter().map(|change| format!("{time} {name} {change}")));
        }
        lines
    }
}

// === impl Told ===

impl Told {
    fn nothing(slo: &SloReport) -> Self {
        Self { status: None, alert_levels: Vec::new(), budget_remaining: slo.budget().remaining }
    }

    fn observe(&mut self, slo: &SloReport) -> Vec<String> {
        let mut changes = Vec::new();
        changes.extend(self.status_change(slo));
        changes.extend(self.alert_changes(slo));
        changes.extend(self.budget_change(slo));
        changes
    }

    fn status_change(&mut self, slo: &SloReport) -> Option<String> {
        let before = self.status.replace(slo.status);
        let after = slo.status.name();
        match before {
            Some(before) if before == slo.status => None,
            Some(before) => Some(format!("data: {} → {after}", before.name())),
            None => Some(format!("data: {after} (budget {})", percent(slo.budget().remaining))),
        }
    }

    fn alert_changes(&mut self, slo: &SloReport) -> Vec<String> {
        self.alert_levels.resize(slo.alerts.len(), 0);
        let mut changes = Vec::new();
        for ((before, alert), report) in self.alert_levels.iter_mut().zip(&slo.slo.alerts).zip(&slo.alerts) {
            let after = report.level;
            if *before != after {
                changes.push(alert_change(slo, alert, *before, after));
                *before = after;
            }
        }
        changes
    }

    fn budget_change(&mut self, slo: &SloReport) -> Option<String> {
        let (before, after) = (self.budget_remaining, slo.budget().remaining);
        let step = |budget: f64| (budget * BUDGET_STEPS).floor();
        if step(before) == step(after) || (before - after).abs() < BUDGET_NEWS {
            return None;
        }
        self.budget_remaining = after;
        Some(format!("budget: {} → {}", percent(before), percent(after)))
    }
}

fn alert_change(slo: &SloReport, alert: &BurnRateAlert, before: u8, after: u8) -> String {
    format!(
        "{}: {} → {} (burn {}, {}; budget {})",
        alert.severity,
        state_name(before),
        if (before, after) == (FIRING, INACTIVE) { "resolved" } else { state_name(after) },
        burn_rate_over(slo, alert.long),
        burn_rate_over(slo, alert.short),
        percent(slo.budget().remaining),
    )
}

fn state_name(level: u8) -> &'static str {
    match level {
        INACTIVE => "inactive",
        PENDING => "pending",
        _ => "firing",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::fixture::{report, slo};

    fn one(budget: f64, state: u8) -> Snapshot {
        report(vec![slo("availability", "", budget, [88.0, 23.1], state)])
    }

    #[test]
    fn an_alert_is_told_when_its_state_changes() {
        let mut changes = Changes::default();
        let mut tell = |state| changes.observe(&one(0.612, state));
        assert_eq!(tell(INACTIVE), ["22:13:20Z shop/availability data: ok (budget 61.2%)"]);
        assert_eq!(
            tell(FIRING),
            [
                "22:13:20Z shop/availability page: inactive → firing (burn 23.1× over 1m, 88.0× over 5s; budget 61.2%)"
            ]
        );
        assert_eq!(tell(FIRING), [""; 0]);
        assert!(tell(INACTIVE)[0].contains("page: firing → resolved (burn"));
        assert!(tell(PENDING)[0].contains("page: inactive → pending (burn"));
        assert!(tell(INACTIVE)[0].contains("page: pending → inactive (burn"));
    }

    #[test]
    fn the_data_status_is_told_when_it_changes() {
        let mut changes = Changes::default();
        changes.observe(&one(1.0, INACTIVE));
        let mut silent = one(1.0, INACTIVE);
        silent.slos[0].status = DataStatus::SenderDown;
        assert_eq!(changes.observe(&silent), ["22:13:20Z shop/availability data: ok → sender_down"]);
        assert_eq!(changes.observe(&silent), [""; 0]);
    }

    #[test]
    fn a_budget_is_told_by_tenths_and_does_not_chatter() {
        let mut changes = Changes::default();
        changes.observe(&one(0.98, INACTIVE));
        let mut tell = |budget| changes.observe(&one(budget, INACTIVE));
        assert_eq!(tell(0.91), [""; 0]);
        assert_eq!(tell(0.899), ["22:13:20Z shop/availability budget: 98.0% → 89.9%"]);
        assert_eq!(tell(0.901), [""; 0]);
        assert_eq!(tell(0.899), [""; 0]);
        assert_eq!(tell(-0.05), ["22:13:20Z shop/availability budget: 89.9% → -5.0%"]);
    }

    #[test]
    fn groups_are_told_apart() {
        let mut changes = Changes::default();
        let both = |state| {
            let quiet = slo("availability", "/login", 1.0, [0.0, 0.0], INACTIVE);
            report(vec![slo("availability", "/checkout", 1.0, [9.0, 9.0], state), quiet])
        };
        assert_eq!(changes.observe(&both(INACTIVE)).len(), 2);
        let lines = changes.observe(&both(FIRING));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].starts_with("22:13:20Z shop/availability route=/checkout page: "), "{lines:?}");
    }
}
