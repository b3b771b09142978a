//! Metrics of what others are told of alerts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus::{
    IntCounterVec, IntGauge, IntGaugeVec, Registry,
    core::{Collector, Desc},
    proto,
};

use super::{Distribution, counter_vec, family, int_gauge, int_gauge_vec, register};

/// Metrics of what others are told of alerts, by whom; Prometheus' `prometheus_notifications_*`. A receiver is called
/// `alertmanager` whatever it is. Labels of those that are gone disappear.
#[derive(Clone, Debug)]
pub struct NotificationMetrics {
    /// Alerts that a receiver took.
    pub sent: IntCounterVec,
    /// Alerts whose sending failed, each time it did.
    pub errors: IntCounterVec,
    /// Alerts that a receiver refused, or for which there was no room in its queue.
    pub dropped: IntCounterVec,
    /// Alerts that wait.
    pub queue_length: IntGaugeVec,
    /// The most that may wait for one receiver.
    pub queue_capacity: IntGauge,
    /// How long it takes to send a batch.
    pub latency: LatencyVec,
    /// Alertmanagers that are told.
    pub discovered: IntGauge,
}

/// A distribution of durations for each value of a label.
#[derive(Clone, Debug)]
pub struct LatencyVec(Arc<LatencyVecInner>);

#[derive(Debug)]
struct LatencyVecInner {
    desc: Desc,
    by_value: Mutex<BTreeMap<String, Distribution>>,
}

// === impl NotificationMetrics ===

impl NotificationMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let by_receiver = |name, help| counter_vec(registry, name, help, &["alertmanager"]);
        let latency = LatencyVec::new(
            "slod_notifications_latency_seconds",
            "Time from a batch of alerts to its answer, or until it is given up.",
            "alertmanager",
        );
        register(registry, latency.clone());
        Self {
            sent: by_receiver("slod_notifications_sent_total", "Alerts sent."),
            errors: by_receiver("slod_notifications_errors_total", "Alerts whose sending failed."),
            dropped: by_receiver(
                "slod_notifications_dropped_total",
                "Alerts that were refused, or had no room in the queue; the next evaluations tell them again.",
            ),
            queue_length: int_gauge_vec(
                registry,
                "slod_notifications_queue_length",
                "Alerts that wait to be sent.",
                &["alertmanager"],
            ),
            queue_capacity: int_gauge(
                registry,
                "slod_notifications_queue_capacity",
                "Alerts that may wait for one receiver.",
            ),
            latency,
            discovered: int_gauge(
                registry,
                "slod_notifications_alertmanagers_discovered",
                "Alertmanagers that are told of alerts.",
            ),
        }
    }

    /// Has every series of a receiver from the start, so that `rate()` sees the first event.
    pub fn add(&self, receiver: &str) {
        for counter in [&self.sent, &self.errors, &self.dropped] {
            counter.with_label_values(&[receiver]).inc_by(0);
        }
        self.queue_length.with_label_values(&[receiver]).set(0);
    }

    /// Forgets a receiver.
    pub fn remove(&self, receiver: &str) {
        for counter in [&self.sent, &self.errors, &self.dropped] {
            // Fails if there was none.
            let _ = counter.remove_label_values(&[receiver]);
        }
        let _ = self.queue_length.remove_label_values(&[receiver]);
        self.latency.remove(receiver);
    }
}

// === impl LatencyVec ===

impl LatencyVec {
    fn new(name: &str, help: &str, label: &str) -> Self {
        let desc = Desc::new(name.to_owned(), help.to_owned(), vec![label.to_owned()], Default::default())
            .expect("a fixed, valid name");
        Self(Arc::new(LatencyVecInner { desc, by_value: Mutex::default() }))
    }

    /// Records one duration; what is longer than a minute counts as a minute.
    pub fn record(&self, value: &str, duration: Duration) {
        let mut by_value = self.0.by_value.lock();
        match by_value.get_mut(value) {
            Some(known) => known.record(duration),
            None => by_value.entry(value.to_owned()).or_insert_with(Distribution::new).record(duration),
        }
    }

    /// Forgets a value.
    pub fn remove(&self, value: &str) {
        self.0.by_value.lock().remove(value);
    }
}

impl Collector for LatencyVec {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let labelled = |(value, distribution): (&String, &Distribution)| {
            let mut label = proto::LabelPair::default();
            label.set_name(self.0.desc.variable_labels[0].clone());
            label.set_value(value.clone());
            let mut metric = distribution.metric();
            metric.set_label(vec![label]);
            metric
        };
        let metrics: Vec<_> = self.0.by_value.lock().iter().map(labelled).collect();
        if metrics.is_empty() { Vec::new() } else { vec![family(&self.0.desc, metrics)] }
    }
}
