//! What is stored of an instance beside its history, and how it goes on with it.

use std::{sync::Arc, time::Duration};

use super::Judged;
use crate::{
    alert::AlertState,
    engine::state::{AlertMemory, HeadState},
    matching::{Instance, PresenceState},
    report::Shape,
    slo::BurnRateAlert,
    window::RowState,
};

// === impl Judged ===

impl Judged {
    /// Goes on as what was stored of it.
    pub(in crate::engine) fn restored(instance: Arc<Instance>, shape: Arc<Shape>, head: &HeadState) -> Self {
        let mut restored = Self::new(instance, shape);
        let alerts = restored.memory.alerts.iter_mut().zip(&restored.instance.slo.alerts);
        for (number, (state, alert)) in alerts.enumerate() {
            let is_tier = |known: &&AlertMemory| {
                (known.severity.as_str(), known.short, known.long)
                    == (&alert.severity, alert.short, alert.long)
            };
            // Of several tiers that look the same, each is itself.
            let known = head.alerts.get(number).filter(is_tier).or_else(|| head.alerts.iter().find(is_tier));
            *state = known.map_or(AlertState::Inactive, |known| known.state);
        }
        restored.is_quiet = restored.memory.alerts.iter().all(|state| *state == AlertState::Inactive);
        restored.published = head.published;
        restored.is_presumed_live = head.presence.is_live;
        restored
    }

    /// What is stored of it.
    pub(in crate::engine) fn head(&self, row: RowState, presence: PresenceState) -> HeadState {
        let alerts = self.memory.alerts.iter().zip(&self.instance.slo.alerts);
        let memory = |(state, alert): (&AlertState, &BurnRateAlert)| AlertMemory {
            severity: alert.severity.clone(),
            short: alert.short,
            long: alert.long,
            state: *state,
        };
        let is_live = presence.is_live || self.is_presumed_live;
        HeadState {
            row,
            presence: PresenceState { is_live, ..presence },
            published: self.published,
            alerts: if self.is_quiet { Vec::new() } else { alerts.map(memory).collect() },
        }
    }

    /// Goes on after a time in which nobody looked.
    pub(in crate::engine) fn resume(&mut self, missed: Duration) {
        self.memory.alerts.iter_mut().for_each(|state| *state = state.resume(missed));
    }
}
