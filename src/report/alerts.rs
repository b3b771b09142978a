//! Alerts spelled out, for whoever tells people of them.
//!
//! Asked for on demand: a tick writes down no more than numbers and times. It does not know who is told.
//! The invariant: what goes by one set of labels is in the list once.

mod reasons;

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use super::{ActiveAlert, Member, Report};
use crate::{
    alert::AlertState,
    labels::Labels,
    slo::{self, AnyAlert, Slo},
};
use reasons::Reasons;

/// An alert that is pending or firing, or was resolved of late.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// The SLO that it is about.
    pub slo: Arc<Slo>,
    /// The labels of the group; empty for an SLO without grouping, and for all groups together.
    pub group: Labels,
    /// Everything that tells it from others: `alertname`, `severity`, `service`, `slo`, and the labels of the group, of
    /// the SLO and its own.
    pub labels: BTreeMap<String, String>,
    /// Those of the SLO and its own, as specified: templates are not expanded.
    pub annotations: BTreeMap<String, String>,
    /// Where it is in its life, by the clock.
    pub state: AlertState,
    /// Whether a more severe alert of the same instance fires, so that nobody needs to be told of this one.
    pub is_muted: bool,
    /// The burn rate over the long window; of another alert what it compares.
    pub value: f64,
    /// Why it is what it is, with numbers.
    pub reason: String,
}

/// An alert that a tick moved.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// What it was.
    pub from: AlertState,
    /// What it is: [`AlertState::Inactive`] if it was pending for nothing.
    pub alert: Alert,
}

/// Tiers that are one alert.
type Tiers<'a> = Vec<&'a ActiveAlert>;

// === impl Report ===

impl Report {
    /// Every alert that is pending, firing, or was resolved in the last 15 minutes. Tiers of one instance whose name,
    /// severity and labels are the same are one alert, with the state of the most advanced one. An alert that
    /// fired and is not in a later report as firing has been resolved, even if it is pending again.
    pub fn alerts(&self) -> Vec<Alert> {
        let mut alerts = Vec::new();
        self.visit(&mut |tiers, is_muted, reasons| {
            if state_of(tiers, now) != AlertState::Inactive {
                alerts.push(Alert { is_muted, ..self.joined(tiers, reasons) });
            }
        });
        alerts
    }

    /// What the tick moved. Costs next to nothing while nothing moves.
    pub fn transitions(&self) -> Vec<Transition> {
        let has_moved = |one: &ActiveAlert| one.before.name() != one.state.name();
        if !self.active.iter().any(has_moved) {
            return Vec::new();
        }
        let mut transitions = Vec::new();
        self.visit(&mut |tiers, is_muted, reasons| {
            let from = state_of(tiers, |tier| tier.before).later_by(self.delay);
            if from.name() != state_of(tiers, now).name() {
                let alert = Alert { is_muted, ..self.joined(tiers, reasons) };
                transitions.push(Transition { from, alert });
            }
        });
        transitions
    }

    /// Every alert that is told of: its tiers, and whether it is muted.
    fn visit<'a>(&'a self, visit: &mut dyn FnMut(&Tiers<'a>, bool, &mut Reasons<'a>)) {
        let slo = |one: &ActiveAlert| Arc::as_ptr(&self.roster.members[one.instance].slo);
        for of_slo in self.active.chunk_by(|one, other| slo(one) == slo(other)) {
            let mut reasons = Reasons::new(self, of_slo[0].instance);
            for of_instance in of_slo.chunk_by(|one, other| one.instance == other.instance) {
                let inhibits = self.is_inhibited(of_instance);
                for tiers in self.tiers(of_instance) {
                    visit(&tiers, inhibits && self.can_be_muted(tiers[0]), &mut reasons);
                }
            }
        }
    }

    fn tiers<'a>(&self, active: &'a [ActiveAlert]) -> Vec<Tiers<'a>> {
        let mut alerts: Vec<Tiers<'a>> = Vec::new();
        for one in active {
            match alerts.iter_mut().find(|known| self.specified(known[0]).is_one_with(self.specified(one))) {
                Some(known) => known.push(one),
                None => alerts.push(vec![one]),
            }
        }
        alerts
    }

    /// Whether an urgent burn-rate alert of the instance fires, and mutes others.
    fn is_inhibited(&self, of_instance: &[ActiveAlert]) -> bool {
        let is_urgent_burn = |one: &ActiveAlert| {
            let alert = self.specified(one);
            matches!(alert, AnyAlert::BurnRate(_)) && slo::is_urgent(alert.severity())
        };
        let fires = |one: &ActiveAlert| matches!(one.state, AlertState::Firing { .. }) && is_urgent_burn(one);
        self.roster.members[of_instance[0].instance].slo.inhibits && of_instance.iter().any(fires)
    }

    fn can_be_muted(&self, one: &ActiveAlert) -> bool {
        let alert = self.specified(one);
        matches!(alert, AnyAlert::BurnRate(_)) && !slo::is_urgent(alert.severity())
    }

    fn specified(&self, one: &ActiveAlert) -> AnyAlert<'_> {
        let alert = self.roster.members[one.instance].slo.alert(one.alert);
        alert.expect("BUG: the tick told of an alert that its SLO does not have")
    }

    /// One alert of tiers that are one.
    fn joined<'a>(&'a self, tiers: &Tiers<'a>, reasons: &mut Reasons<'a>) -> Alert {
        let member = &self.roster.members[tiers[0].instance];
        let view = self.view(tiers[0].instance);
        // The one that speaks for all: the first of the most advanced whose condition holds.
        let holds = |tier: &ActiveAlert| view.alerts.get(tier.alert).is_some_and(|alert| alert.condition);
        let order = |tier: &&&ActiveAlert| (advance(tier.state), holds(tier), Reverse(tier.alert));
        let leading = tiers.iter().max_by_key(order).map_or(tiers[0].alert, |tier| tier.alert);
        let alert = self.specified(tiers[0]);
        let of_tiers = tiers.iter().rev().flat_map(|tier| self.specified(tier).annotations());
        let annotations = member.slo.annotations.iter().chain(of_tiers);
        let (value, reason) = reasons.of(tiers[0].instance, leading);
        Alert {
            slo: Arc::clone(&member.slo),
            group: member.group.clone(),
            labels: labels(member, alert),
            annotations: annotations.map(|(name, value)| (name.clone(), value.clone())).collect(),
            state: state_of(tiers, now).later_by(self.delay),
            is_muted: false,
            value,
            reason,
        }
    }
}

fn now(tier: &ActiveAlert) -> AlertState {
    tier.state
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

/// The state of the most advanced tier, since the earliest one that is in the same.
fn state_of(tiers: &Tiers<'_>, state: impl Fn(&ActiveAlert) -> AlertState) -> AlertState {
    let states = || tiers.iter().map(|tier| state(tier));
    let leading = states().max_by_key(|state| advance(*state)).unwrap_or_default();
    let earliest =
        states().filter(|state| state.name() == leading.name()).filter_map(AlertState::since).min();
    match (leading, earliest) {
        (AlertState::Pending { held_at, .. }, Some(since)) => AlertState::Pending { since, held_at },
        (AlertState::Firing { .. }, Some(since)) => leading.raised_by(since),
        _ => leading,
    }
}

/// What is more particular wins where names collide: the name and the severity, then the identity, then
/// the group, then what the alert says, then the SLO.
fn labels(member: &Member, alert: AnyAlert<'_>) -> BTreeMap<String, String> {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut labels = member.slo.labels.clone();
    labels.extend(alert.labels().clone());
    labels.extend(member.group.iter().map(|(name, value)| own(name, value)));
    labels.extend([
        own("service", &member.slo.id.service),
        own("slo", &member.slo.id.name),
        own("severity", alert.severity()),
        own("alertname", alert.name()),
    ]);
    labels
}
