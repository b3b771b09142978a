//! One telling of all receivers after an evaluation: every alert is spelled out once, and only if somebody is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Config, Due, Key, Notification, annotations::Writer};
use crate::{report::Alert, slo::SloId, template::Templates, time::Timestamp};

/// Writes what receivers are told of the alerts of an evaluation.
#[derive(Debug)]
pub struct Round {
    writer: Writer,
    alerts: Vec<(Key, Alert)>,
    now: Timestamp,
    /// What an alert looks like but for what differs between receivers.
    written: Vec<OnceLock<Written>>,
}

#[derive(Clone, Debug)]
struct Written {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    generator_url: String,
}

// === impl Round ===

impl Round {
    /// With nothing to tell.
    pub fn new(config: &Config) -> Self {
        let writer = Writer {
            templates: Templates::default(),
            external_labels: config.external_labels.clone(),
            external_url: config.external_url.clone(),
        };
        Self { writer, alerts: Vec::new(), now: Timestamp::default(), written: Vec::new() }
    }

    /// Begins with the alerts of an evaluation.
    pub fn begin(&mut self, alerts: Vec<Alert>, now: Timestamp) {
        self.alerts = alerts.into_iter().map(|alert| (Key::of(&alert.labels), alert)).collect();
        self.written = vec![OnceLock::new(); self.alerts.len()];
        self.now = now;
    }

    /// The moment at which it is told.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The alerts with their keys.
    pub fn alerts(&self) -> &[(Key, Alert)] {
        &self.alerts
    }

    /// What a receiver is told of one that is due.
    pub fn notification(&mut self, due: &Due) -> Arc<Notification> {
        let alert = &self.alerts[due.index].1;
        let written = self.written[due.index].get_or_init(|| write(&mut self.writer, alert)).clone();
        let Written { labels, annotations, generator_url } = written;
        let Due { key, status, starts_at, ends_at, .. } = *due;
        Arc::new(Notification { key, labels, annotations, status, starts_at, ends_at, generator_url })
    }
}

fn write(writer: &mut Writer, alert: &Alert) -> Written {
    // As Prometheus: labels of the alert win, and those without a value are none.
    let external = writer.external_labels.clone().into_iter();
    let mut labels: BTreeMap<String, String> = external.chain(alert.labels.clone()).collect();
    labels.retain(|_, value| !value.is_empty());
    let annotations = writer.annotations(alert, &labels);
    Written { annotations, labels, generator_url: generator_url(&writer.external_url, &alert.slo.id) }
}

/// The page of the SLO.
fn generator_url(external_url: &str, id: &SloId) -> String {
    let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    format!("{external_url}/?service={}&slo={}", encoded(&id.service), encoded(&id.name))
}
