//! What is stored of an instance beside its history, and how it goes on with it.

use std::{sync::Arc, time::Duration};

use super::Judged;
use crate::{
    alert::AlertState,
    engine::state::{AlertMemory, HeadState},
    matching::{Instance, PresenceState},
    report::Shape,
    slo::AnyAlert,
    window::RowState,
};

// === impl Judged ===

impl Judged {
    /// Goes on as what was stored of it.
    pub(in crate::engine) fn restored(instance: Arc<Instance>, shape: Arc<Shape>, head: &HeadState) -> Self {
        let mut restored = Self::new(instance, shape);
        for number in 0..restored.memory.alerts.len() {
            let Some(memory) = restored.alert(number).map(|alert| memory(alert, AlertState::Inactive)) else {
                continue;
            };
            let is_same =
                |known: &&AlertMemory| AlertMemory { state: known.state, ..memory.clone() } == **known;
            // Of several tiers that look the same, each is itself.
            let known = head.alerts.get(number).filter(is_same).or_else(|| head.alerts.iter().find(is_same));
            restored.memory.alerts[number] = known.map_or(AlertState::Inactive, |known| known.state);
        }
        restored.is_quiet = restored.memory.alerts.iter().all(|state| *state == AlertState::Inactive);
        restored.published = head.published;
        restored.is_presumed_live = head.presence.is_live;
        restored
    }

    /// What is stored of it.
    pub(in crate::engine) fn head(&self, row: RowState, presence: PresenceState) -> HeadState {
        let states = self.memory.alerts.iter().enumerate();
        let alerts = states.filter_map(|(number, state)| Some(memory(self.alert(number)?, *state)));
        let is_live = presence.is_live || self.is_presumed_live;
        HeadState {
            row,
            presence: PresenceState { is_live, ..presence },
            published: self.published,
            alerts: if self.is_quiet { Vec::new() } else { alerts.collect() },
        }
    }

    /// Goes on after a time in which nobody looked.
    pub(in crate::engine) fn resume(&mut self, missed: Duration) {
        self.memory.alerts.iter_mut().for_each(|state| *state = state.resume(missed));
    }
}

/// What is stored of an alert.
fn memory(alert: AnyAlert<'_>, state: AlertState) -> AlertMemory {
    let (severity, condition) = (alert.severity().to_owned(), String::new());
    match alert {
        AnyAlert::BurnRate(alert) => {
            AlertMemory { severity, short: alert.short, long: alert.long, condition, state }
        }
        AnyAlert::State(alert) => AlertMemory {
            severity,
            short: Duration::ZERO,
            long: Duration::ZERO,
            condition: alert.cause.to_string(),
            state,
        },
    }
}
