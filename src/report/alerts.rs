//! Alerts spelled out, for whoever tells people of them.
//!
//! Asked for on demand: a tick writes down no more than numbers and times. It does not know who is told.
//! The invariant: what goes by one set of labels is in the list once.

use std::{collections::BTreeMap, sync::Arc};

use super::{ActiveAlert, Member, Report, View};
use crate::{
    alert::AlertState,
    burn_rate,
    labels::Labels,
    slo::{self, BurnRateAlert, Slo},
    time::format_duration,
};

/// An alert that is pending or firing, or was resolved of late.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The SLO that it is about.
    pub slo: Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping.
    pub group: Labels,
    /// Everything that tells it from others: `alertname`, `severity`, `service`, `slo`, and the labels of the group, of
    /// the SLO and its own.
    pub labels: BTreeMap<String, String>,
    /// Those of the SLO and its own, as specified: templates are not expanded.
    pub annotations: BTreeMap<String, String>,
    /// Where it is in its life, by the clock. Never [`AlertState::Inactive`].
    pub state: AlertState,
    /// Whether a more severe alert of the same instance fires, so that nobody needs to be told of this one.
    pub is_muted: bool,
    /// The burn rate over the long window.
    pub value: f64,
    /// Why it is what it is, with numbers.
    pub reason: String,
}

// === impl Report ===

impl Report {
    /// Every alert that is pending, firing, or was resolved in the last 15 minutes. Tiers of one instance whose name,
    /// severity and labels are the same are one alert, with the state of the most advanced one. An alert that
    /// fired and is not in a later report as firing has been resolved, even if it is pending again.
    pub fn alerts(&self) -> Vec<Alert> {
        let by_instance = self.active.chunk_by(|one, other| one.instance == other.instance);
        by_instance.flat_map(|active| self.alerts_of(active)).collect()
    }

    fn alerts_of(&self, active: &[ActiveAlert]) -> Vec<Alert> {
        let tier = |active: &ActiveAlert| &self.roster.members[active.instance].slo.alerts[active.alert];
        let mut alerts: Vec<Vec<&ActiveAlert>> = Vec::new();
        for one in active {
            match alerts.iter_mut().find(|known| tier(known[0]).is_one_with(tier(one))) {
                Some(known) => known.push(one),
                None => alerts.push(vec![one]),
            }
        }
        let is_urgent_firing =
            active.iter().any(|one| one.state.level() == 2 && slo::is_urgent(&tier(one).severity));
        let alert = |tiers: &Vec<&ActiveAlert>| {
            let is_muted = is_urgent_firing && !slo::is_urgent(&tier(tiers[0]).severity);
            Alert { is_muted, ..self.joined(tiers) }
        };
        alerts.iter().map(alert).collect()
    }

    /// One alert of tiers that are one.
    fn joined(&self, tiers: &[&ActiveAlert]) -> Alert {
        let member = &self.roster.members[tiers[0].instance];
        let view = self.view(tiers[0].instance);
        // The one that speaks for all: the first of the most advanced whose condition holds.
        let holds = |tier: &ActiveAlert| view.alerts[tier.alert].condition;
        let first = |tier: &ActiveAlert| std::cmp::Reverse(tier.alert);
        let leading = tiers.iter().max_by_key(|tier| (advance(tier.state), holds(tier), first(tier)));
        let Some(leading) = leading else { unreachable!("BUG: an alert of no tier") };
        let (slo, alert) = (&member.slo, &member.slo.alerts[leading.alert]);
        let of_tiers = tiers.iter().rev().flat_map(|tier| &slo.alerts[tier.alert].annotations);
        let annotations = slo.annotations.iter().chain(of_tiers);
        Alert {
            slo: Arc::clone(slo),
            group: member.group.clone(),
            labels: labels(member, alert),
            annotations: annotations.map(|(name, value)| (name.clone(), value.clone())).collect(),
            state: joined_state(tiers, leading.state).later_by(self.delay),
            is_muted: false,
            value: self.burn_rate(&view, view.shape.rules[leading.alert].long),
            reason: self.reason(&view, leading.alert),
        }
    }

    fn burn_rate(&self, view: &View<'_>, window: usize) -> f64 {
        let counts = view.counts[window];
        burn_rate::burn_rate(counts.bad, counts.total, view.slo.objective.target.budget_ratio())
    }

    fn reason(&self, view: &View<'_>, alert: usize) -> String {
        let (rule, alert) = (view.shape.rules[alert], &view.slo.alerts[alert]);
        let over =
            |window, length| format!("{:.1}x over {}", self.burn_rate(view, window), format_duration(length));
        format!("{}, {}", over(rule.long, alert.long), over(rule.short, alert.short))
    }
}

/// What matters more is greater; of those that were resolved the last one counts.
fn advance(state: AlertState) -> (u8, i64) {
    match state {
        AlertState::Inactive => (0, 0),
        AlertState::Resolved { at, .. } => (1, at.0),
        AlertState::Pending { .. } => (2, 0),
        AlertState::Firing { .. } => (3, 0),
    }
}

/// The state of the leading tier, since the earliest one that is in the same.
fn joined_state(tiers: &[&ActiveAlert], leading: AlertState) -> AlertState {
    let same = tiers.iter().map(|tier| tier.state).filter(|state| state.name() == leading.name());
    match leading {
        AlertState::Pending { since, held_at } => {
            let earliest = same.filter_map(AlertState::since).min();
            AlertState::Pending { since: earliest.unwrap_or(since), held_at }
        }
        AlertState::Firing { since, .. } => {
            leading.raised_by(same.filter_map(AlertState::since).min().unwrap_or(since))
        }
        _ => leading,
    }
}

/// What is more particular wins where names collide: the name and the severity, then the identity, then
/// the group, then what the alert says, then the SLO.
fn labels(member: &Member, alert: &BurnRateAlert) -> BTreeMap<String, String> {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut labels = member.slo.labels.clone();
    labels.extend(alert.labels.clone());
    labels.extend(member.group.iter().map(|(name, value)| own(name, value)));
    labels.extend([
        own("service", &member.slo.id.service),
        own("slo", &member.slo.id.name),
        own("severity", &alert.severity),
        own("alertname", slo::BURN_RATE_ALERT),
    ]);
    labels
}
