//! How an instance's alerts move.

use super::{Judged, Moment, Seen};
use crate::{
    alert::{AlertState, Condition, Timing},
    burn_rate,
    report::{AlertReport, Rule, Watch},
    slo::{AnyAlert, Cause},
    time::Timestamp,
    window::Counts,
};

// Conditions are worked out exactly only for what is not far from the factor. Wide enough for rounding.
const NEARLY: f64 = 1.0 - 1e-9;

// === impl Judged ===

impl Judged {
    /// Returns whether any condition holds.
    pub(super) fn test_conditions(&self, seen: Seen<'_>, alerts: &mut [AlertReport]) -> bool {
        let mut holds_any = false;
        for (alert, rule) in alerts.iter_mut().zip(&self.shape.rules) {
            let condition = self.holds(rule, seen.counts);
            *alert = AlertReport { condition, level: 0 };
            holds_any |= condition;
        }
        holds_any || self.shape.watches.iter().any(|watch| watched(watch, seen) == Condition::Holds)
    }

    /// Moves every alert, and tells of those that are not simply inactive.
    pub(super) fn move_alerts(
        &mut self,
        seen: Seen<'_>,
        moment: Moment,
        alerts: &mut [AlertReport],
        mut tell: impl FnMut(usize, AlertState, AlertState),
    ) {
        for number in 0..self.memory.alerts.len() {
            let Some(alert) = self.alert(number) else { continue };
            let before = self.memory.alerts[number];
            let condition = self.condition(number, alert, seen, moment, alerts);
            let mut state = before.next(condition, timing(alert, moment), moment.at);
            if matches!(state, AlertState::Firing { since, .. } if since == moment.at) {
                state = state.raised_by(self.raised(alert).unwrap_or(moment.at));
            }
            if state != AlertState::Inactive || matches!(before, AlertState::Pending { .. }) {
                tell(self.number_of(number), before, state);
            }
            self.memory.alerts[number] = state;
        }
        alerts.iter_mut().zip(&self.memory.alerts).for_each(|(report, state)| report.level = state.level());
        self.is_quiet = self.memory.alerts.iter().all(|state| *state == AlertState::Inactive);
    }

    fn condition(
        &self,
        number: usize,
        alert: AnyAlert<'_>,
        seen: Seen<'_>,
        moment: Moment,
        alerts: &[AlertReport],
    ) -> Condition {
        let AnyAlert::BurnRate(alert) = alert else {
            return watched(&self.shape.watches[number - self.shape.rules.len()], seen);
        };
        // A short window without any sample is not quiet but empty.
        let is_unseen = seen.last_sample.is_none_or(|last| last <= moment.at - alert.short);
        match (seen.status.is_blind() || is_unseen, alerts[number].condition) {
            (true, _) => Condition::Unknown,
            (false, true) => Condition::Holds,
            (false, false) => Condition::Clear,
        }
    }

    /// Since when any alert fires that is one with this one to whoever is told. That a slower tier fires, too, or
    /// outlasts a faster one, is no other incident.
    fn raised(&self, alert: AnyAlert<'_>) -> Option<Timestamp> {
        let raised = |(number, state): (usize, &AlertState)| match *state {
            AlertState::Firing { since, .. } => {
                self.alert(number).filter(|other| other.is_one_with(alert)).map(|_| since)
            }
            _ => None,
        };
        self.memory.alerts.iter().enumerate().filter_map(raised).min()
    }

    /// The alert whose state has this number.
    pub(super) fn alert(&self, number: usize) -> Option<AnyAlert<'_>> {
        self.instance.slo.alert(self.number_of(number))
    }

    /// The number among all alerts of the SLO, which may have more than the instance.
    fn number_of(&self, number: usize) -> usize {
        match number.checked_sub(self.shape.rules.len()) {
            None => number,
            Some(watch) => self.shape.watches[watch].alert,
        }
    }

    /// Takes over the states of the alerts that the one before has, too.
    pub(super) fn take_alerts(&mut self, before: &Self) {
        for number in 0..self.memory.alerts.len() {
            let Some(alert) = self.alert(number) else { continue };
            let is_same = |known: &usize| before.alert(*known).is_some_and(|known| known.has_state_of(alert));
            let known = (0..before.memory.alerts.len()).find(is_same);
            let state = known.map(|known| before.memory.alerts[known]).unwrap_or_default();
            self.memory.alerts[number] = state;
        }
        self.is_quiet = self.memory.alerts.iter().all(|state| *state == AlertState::Inactive);
    }

    /// SRE workbook, chapter 5: both windows strictly above the factor; and enough events to mean it.
    fn holds(&self, rule: &Rule, counts: &[Counts]) -> bool {
        let (short, long) = (counts[rule.short], counts[rule.long]);
        // Divisions only for what comes near: of most SLOs nothing does.
        let nearly = rule.factor * self.budget_ratio * NEARLY;
        long.bad >= rule.min_bad_events
            && long.total >= rule.min_total_events
            && long.bad >= nearly * long.total
            && short.bad >= nearly * short.total
            && self.burn_rate(long) > rule.factor
            && self.burn_rate(short) > rule.factor
    }
}

/// What was spent is known whatever comes; how fast it goes is not while nothing is seen.
fn watched(watch: &Watch, seen: Seen<'_>) -> Condition {
    let budget = seen.budget;
    let holds = match &watch.cause {
        Cause::RemainingBelow(share) => budget.remaining < *share,
        Cause::Exhausted => budget.remaining <= 0.0,
        Cause::NoData(statuses) => statuses.contains(&seen.status),
        Cause::ExhaustedWithin(_) | Cause::DroppedBy { .. } if seen.status.is_blind() => {
            return Condition::Unknown;
        }
        Cause::ExhaustedWithin(time) => budget.exhaustion_s < time.as_secs_f64(),
        Cause::DroppedBy { share, .. } => {
            let (recent, period) = (seen.counts[watch.window], seen.counts[watch.period]);
            burn_rate::dropped(budget.remaining, recent.bad, period.bad, budget.coverage) > *share
        }
    };
    if holds { Condition::Holds } else { Condition::Clear }
}

fn timing(alert: AnyAlert<'_>, moment: Moment) -> Timing {
    let short = match alert {
        AnyAlert::BurnRate(alert) => alert.short,
        AnyAlert::State(_) => std::time::Duration::ZERO,
    };
    Timing {
        for_: alert.for_(),
        keep_firing_for: alert.keep_firing_for(),
        blind_for: moment.stale_after.max(short),
    }
}
