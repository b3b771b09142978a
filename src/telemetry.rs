//! slod's metrics about itself: registered once, handed to whoever counts.
//!
//! Names begin with `slod_`; what slod publishes about SLOs begins with `slo_` and lives in
//! `exposition::conventions`. Counters are raised once per request or tick, not per sample.

mod notifications;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use prometheus::{
    Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    core::{Collector, Desc},
    proto,
};

pub use notifications::{LatencyVec, NotificationMetrics};

/// All of slod's own metrics.
#[derive(Clone, Debug)]
pub struct Telemetry {
    registry: Registry,
    /// Counted by `ingest` and the write endpoint.
    pub ingest: IngestMetrics,
    /// Counted by the elections among replicas of senders.
    pub ha: HaMetrics,
    /// Counted at each tick.
    pub evaluation: EvaluationMetrics,
    /// Counted when expressions are evaluated over samples.
    pub sampling: SamplingMetrics,
    /// Counted when a Prometheus is asked.
    pub pull: PullMetrics,
    /// Counted when history is filled in.
    pub backfill: BackfillMetrics,
    /// Counted by the log of accepted requests.
    pub log: LogMetrics,
    /// What the specs came to.
    pub specs: SpecMetrics,
    /// Counted when state is written and read.
    pub state: StateMetrics,
    /// Counted when others are told of alerts.
    pub notifications: NotificationMetrics,
    /// What is written to other servers.
    pub remote_write: RemoteWriteMetrics,
}

/// Metrics of the write path.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    /// Requests by HTTP status code.
    pub requests: IntCounterVec,
    /// Time from the whole body's arrival to the answer.
    pub request_duration: Latency,
    /// Compressed bytes received.
    pub bytes: IntCounter,
    /// Samples by what became of them.
    pub samples: IntCounterVec,
    /// Series followed, and label blocks known.
    pub series: IntGaugeVec,
    /// How often all label blocks that can be learned again were forgotten.
    pub blocks_forgotten: IntCounter,
    /// Counts that wait for the next evaluation.
    pub deferred: IntGauge,
    /// Groups that were not opened because the SLO has too many.
    pub groups_refused: IntCounter,
}

/// Metrics of the elections among replicas. Labels of what is forgotten disappear.
#[derive(Clone, Debug)]
pub struct HaMetrics {
    /// Clusters that are known.
    pub clusters: IntGauge,
    elected: IntGaugeVec,
    changes: IntCounterVec,
    heard: GaugeVec,
    deduplicated: IntCounterVec,
}

/// Metrics of one cluster.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    /// When the last request of the elected replica arrived.
    pub heard: Gauge,
    /// Samples left to the elected replica.
    pub deduplicated: IntCounter,
}

/// Metrics of the tick.
#[derive(Clone, Debug)]
pub struct EvaluationMetrics {
    /// Evaluations done.
    pub evaluations: IntCounter,
    /// How long one takes.
    pub duration: Latency,
    /// Wall time of the last one; what the dead-man rule watches.
    pub last: Gauge,
    /// The event time up to which it counted.
    pub evaluated_to: Gauge,
    /// SLO instances evaluated.
    pub instances: IntGauge,
    /// How often the clock was set back so far that windows began anew.
    pub set_backs: IntCounter,
    /// SLO instances whose bad events were below zero or above all events.
    pub inconsistent: IntCounter,
    /// Bytes that histories and open slots take.
    pub window_memory: IntGauge,
    /// Counts that came too late to change what their slice counts for.
    pub too_late: IntCounter,
}

/// Metrics of the expressions that are evaluated over recent samples.
#[derive(Clone, Debug)]
pub struct SamplingMetrics {
    /// Steps of SLOs by what became of them.
    pub steps: IntCounterVec,
    /// How long it takes to evaluate all steps that are due.
    pub duration: Latency,
    /// Series whose samples are kept.
    pub series: IntGauge,
    /// Series whose samples should be kept, but are too many.
    pub refused: IntCounter,
    /// Samples that are kept.
    pub samples: IntGauge,
    /// Samples that were dropped before their time because a series had too many.
    pub dropped: IntCounter,
    /// Bytes that kept samples take.
    pub memory: IntGauge,
}

/// Metrics of what a Prometheus is asked for.
#[derive(Clone, Debug)]
pub struct PullMetrics {
    /// Requests by source and outcome.
    pub requests: IntCounterVec,
    /// How long one takes.
    pub duration: Latency,
    /// When a source last answered.
    pub last_success: GaugeVec,
    /// Steps of SLOs by what became of them.
    pub steps: IntCounterVec,
}

/// Metrics of filling in history.
#[derive(Clone, Debug)]
pub struct BackfillMetrics {
    /// By service and SLO.
    progress: GaugeVec,
    published: Arc<Mutex<BTreeSet<[String; 2]>>>,
    /// Samples that counted.
    pub samples: IntCounter,
}

/// Metrics of the log of accepted requests.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Records written.
    pub records: IntCounter,
    /// Bytes of records written.
    pub bytes: IntCounter,
    /// Syncs that succeeded.
    pub syncs: IntCounter,
    /// How long it takes to write and sync what is queued.
    pub commit_duration: Latency,
    /// What did not succeed, by operation.
    pub failures: IntCounterVec,
    /// Whether requests are accepted.
    pub accepting: IntGauge,
    /// Bytes of bodies that are not written.
    pub queue: IntGauge,
    /// Files.
    pub segments: IntGauge,
    /// Bytes that they take.
    pub size: IntGauge,
    /// Bytes of those that no checkpoint covers.
    pub uncovered: IntGauge,
    /// The sequence of the oldest record.
    pub oldest: IntGauge,
    /// The sequence of the record that comes next.
    pub next: IntGauge,
    /// Records read at start.
    pub recovered: IntCounter,
    /// Records that could not be read at start.
    pub corrupt: IntCounter,
    /// Records that were not there at start.
    pub missing: IntCounter,
}

/// Metrics of the specs in force.
#[derive(Clone, Debug)]
pub struct SpecMetrics {
    /// SLOs in force.
    slos: IntGauge,
    errors: IntGauge,
    reload_successful: IntGauge,
    reload_success_time: Gauge,
}

/// Metrics of the state on disk.
#[derive(Clone, Debug)]
pub struct StateMetrics {
    /// Length of the file.
    pub bytes: IntGauge,
    commits: IntCounterVec,
    last_checkpoint: Gauge,
    last_checkpoint_bytes: IntGauge,
    /// For how long nothing can be counted at a checkpoint.
    pub freeze_duration: Latency,
    /// How long checkpoints take, from the freeze to the commit.
    pub checkpoint_duration: Latency,
    /// Values that could not be read.
    pub damaged_values: IntCounter,
    /// Files that could not be read.
    pub set_aside: IntCounter,
}

/// Metrics of the published series that are written to other servers, by the name of the server.
#[derive(Clone, Debug)]
pub struct RemoteWriteMetrics {
    samples: IntCounterVec,
    requests: IntCounterVec,
    queue_bytes: IntGaugeVec,
    queue_samples: IntGaugeVec,
    last_success: GaugeVec,
}

/// A distribution of durations, published as a summary since start.
#[derive(Clone, Debug)]
pub struct Latency(Arc<LatencyInner>);

#[derive(Debug)]
struct LatencyInner {
    desc: Desc,
    state: Mutex<Distribution>,
}

#[derive(Debug)]
struct Distribution {
    histogram: Histogram<u64>,
    sum: Duration,
}

const QUANTILES: [f64; 4] = [0.5, 0.9, 0.99, 1.0];
// From a microsecond to a minute at two digits: about 20 KiB.
const LATENCY_MAX: Duration = Duration::from_secs(60);
const LATENCY_DIGITS: u8 = 2;

// === impl Telemetry ===

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// Fresh metrics in a registry of their own.
    pub fn new() -> Self {
        let registry = Registry::new();
        let telemetry = Self {
            ingest: IngestMetrics::new(&registry),
            ha: HaMetrics::new(&registry),
            evaluation: EvaluationMetrics::new(&registry),
            sampling: SamplingMetrics::new(&registry),
            pull: PullMetrics::new(&registry),
            backfill: BackfillMetrics::new(&registry),
            log: LogMetrics::new(&registry),
            specs: SpecMetrics::new(&registry),
            state: StateMetrics::new(&registry),
            notifications: NotificationMetrics::new(&registry),
            remote_write: RemoteWriteMetrics::new(&registry),
            registry,
        };
        telemetry.register_process();
        telemetry
    }

    /// Every metric at this moment.
    pub fn gather(&self) -> Vec<proto::MetricFamily> {
        self.registry.gather()
    }

    fn register_process(&self) {
        let build = int_gauge_vec(
            &self.registry,
            "slod_build_info",
            "Always 1; labels carry the version of slod.",
            &["version"],
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        register(&self.registry, prometheus::process_collector::ProcessCollector::for_self());
    }
}

impl IngestMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            requests: counter_vec(
                registry,
                "slod_ingest_requests_total",
                "Remote-write requests by HTTP status code.",
                &["code"],
            ),
            request_duration: latency(
                registry,
                "slod_ingest_request_duration_seconds",
                "Time from the arrival of a whole remote-write body to its answer.",
            ),
            bytes: counter(
                registry,
                "slod_ingest_bytes_total",
                "Bytes of remote-write bodies as received, compressed.",
            ),
            samples: counter_vec(
                registry,
                "slod_ingest_samples_total",
                "Samples by what became of them.",
                &["outcome"],
            ),
            series: int_gauge_vec(
                registry,
                "slod_ingest_series",
                "Series followed by an SLO, those of them that are active, label blocks of series that no SLO selects, and label blocks cached in all.",
                &["state"],
            ),
            blocks_forgotten: counter(
                registry,
                "slod_ingest_label_blocks_forgotten_total",
                "Times that there were too many label blocks, and those that can be learned again were forgotten.",
            ),
            deferred: int_gauge(
                registry,
                "slod_ingest_deferred",
                "Counts that wait for the next evaluation to be placed.",
            ),
            groups_refused: counter(
                registry,
                "slod_slo_groups_refused_total",
                "Series that count in the roll-up of their SLO only, because it has as many groups as it may.",
            ),
        }
    }
}

impl HaMetrics {
    fn new(registry: &Registry) -> Self {
        let heard = Opts::new(
            "slod_ha_elected_replica_timestamp_seconds",
            "When the last request of the elected replica arrived.",
        );
        let heard = GaugeVec::new(heard, &["cluster"]).expect("a fixed, valid name");
        register(registry, heard.clone());
        Self {
            clusters: int_gauge(
                registry,
                "slod_ha_clusters",
                "Clusters of sender replicas that were heard lately.",
            ),
            elected: int_gauge_vec(
                registry,
                "slod_ha_elected_replica",
                "Always 1; labels name the replica that counts for a cluster.",
                &["cluster", "replica"],
            ),
            changes: counter_vec(
                registry,
                "slod_ha_elected_replica_changes_total",
                "Times that another replica took over.",
                &["cluster"],
            ),
            heard,
            deduplicated: counter_vec(
                registry,
                "slod_ha_deduplicated_samples_total",
                "Samples that were dropped because the elected replica sends the same.",
                &["cluster"],
            ),
        }
    }

    /// Shows a newly elected replica of a cluster in place of its former one.
    pub fn elect(&self, cluster: &str, former: Option<&str>, replica: &str) -> ClusterMetrics {
        let changes = self.changes.with_label_values(&[cluster]);
        if let Some(former) = former {
            changes.inc();
            let _ = self.elected.remove_label_values(&[cluster, former]);
        }
        self.elected.with_label_values(&[cluster, replica]).set(1);
        ClusterMetrics {
            heard: self.heard.with_label_values(&[cluster]),
            deduplicated: self.deduplicated.with_label_values(&[cluster]),
        }
    }

    /// Takes away what is shown of a cluster.
    pub fn forget(&self, cluster: &str, replica: &str) {
        // An error says that it is gone already.
        let _ = self.elected.remove_label_values(&[cluster, replica]);
        let _ = self.changes.remove_label_values(&[cluster]);
        let _ = self.heard.remove_label_values(&[cluster]);
        let _ = self.deduplicated.remove_label_values(&[cluster]);
    }
}

impl EvaluationMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            evaluations: counter(registry, "slod_evaluations_total", "Evaluations of all SLOs."),
            duration: latency(
                registry,
                "slod_evaluation_duration_seconds",
                "Time that one evaluation of all SLOs takes.",
            ),
            last: gauge(
                registry,
                "slod_last_evaluation_timestamp_seconds",
                "When the last evaluation was completed.",
            ),
            evaluated_to: gauge(
                registry,
                "slod_evaluated_to_timestamp_seconds",
                "The event time up to which the last evaluation counted.",
            ),
            instances: int_gauge(
                registry,
                "slod_slo_instances",
                "SLO instances evaluated: SLOs, groups of grouped ones and their roll-ups.",
            ),
            set_backs: counter(
                registry,
                "slod_clock_set_backs_total",
                "Times that the clock was set back by more than a minute, and all windows began anew.",
            ),
            inconsistent: counter(
                registry,
                "slo_inconsistent_total",
                "Evaluations of SLO instances whose bad events were below zero or above all events.",
            ),
            window_memory: int_gauge(
                registry,
                "slod_window_memory_bytes",
                "Memory of the event counts of all SLO instances.",
            ),
            too_late: counter(
                registry,
                "slod_window_too_late_total",
                "Counts that came too late to change the verdict on their time slice.",
            ),
        }
    }
}

impl SamplingMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            steps: counter_vec(
                registry,
                "slod_sampling_steps_total",
                "Steps at which the expression of an SLO was evaluated, by outcome.",
                &["outcome"],
            ),
            duration: latency(
                registry,
                "slod_sampling_duration_seconds",
                "Time that the expressions take whose steps are due at one evaluation.",
            ),
            series: int_gauge(
                registry,
                "slod_sampling_series",
                "Series whose samples are kept for expressions.",
            ),
            refused: counter(
                registry,
                "slod_sampling_series_refused_total",
                "Series that expressions do not see because there are as many as may be.",
            ),
            samples: int_gauge(registry, "slod_sampling_samples", "Samples that are kept for expressions."),
            dropped: counter(
                registry,
                "slod_sampling_samples_dropped_total",
                "Samples that expressions do not see because their series had too many.",
            ),
            memory: int_gauge(
                registry,
                "slod_sampling_memory_bytes",
                "Memory of the samples that are kept for expressions.",
            ),
        }
    }
}

impl PullMetrics {
    fn new(registry: &Registry) -> Self {
        let last_success =
            Opts::new("slod_source_last_success_timestamp_seconds", "When a source last answered a query.");
        let last_success = GaugeVec::new(last_success, &["source"]).expect("a fixed, valid name");
        register(registry, last_success.clone());
        Self {
            requests: counter_vec(
                registry,
                "slod_source_requests_total",
                "Queries sent to a source by outcome.",
                &["source", "outcome"],
            ),
            duration: latency(
                registry,
                "slod_source_request_duration_seconds",
                "Time from a query to its answer, or until it is given up.",
            ),
            last_success,
            steps: counter_vec(
                registry,
                "slod_pull_steps_total",
                "Steps for which a source was to be asked for an SLO, by outcome.",
                &["outcome"],
            ),
        }
    }
}

impl BackfillMetrics {
    fn new(registry: &Registry) -> Self {
        let progress = Opts::new(
            "slo_backfill_progress_ratio",
            "How much of an SLO's history is filled in, where there is a source for it.",
        );
        let progress = GaugeVec::new(progress, &["service", "slo"]).expect("a fixed, valid name");
        register(registry, progress.clone());
        let samples =
            counter(registry, "slod_backfill_samples_total", "Samples of history that were filled in.");
        Self { progress, published: Arc::default(), samples }
    }

    /// Publishes how far all SLOs are that wait for their history or waited for it, by service and name.
    pub fn publish<'a>(&self, slos: impl Iterator<Item = (&'a str, &'a str, f64)>) {
        let mut known = BTreeSet::new();
        for (service, slo, progress) in slos {
            self.progress.with_label_values(&[service, slo]).set(progress);
            known.insert([service.to_owned(), slo.to_owned()]);
        }
        let published = std::mem::replace(&mut *self.published.lock(), known.clone());
        for [service, slo] in published.difference(&known) {
            // Fails if somebody else was quicker.
            let _ = self.progress.remove_label_values(&[service, slo]);
        }
    }
}

impl LogMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            records: counter(
                registry,
                "slod_storage_log_records_total",
                "Accepted requests written to the log.",
            ),
            bytes: counter(registry, "slod_storage_log_bytes_total", "Bytes written to the log."),
            syncs: counter(registry, "slod_storage_log_syncs_total", "Syncs of the log that succeeded."),
            commit_duration: latency(
                registry,
                "slod_storage_log_commit_duration_seconds",
                "Time to write what is queued to the log, and to sync it where it is synced at once.",
            ),
            failures: counter_vec(
                registry,
                "slod_storage_log_failures_total",
                "Operations on the files of the log that failed.",
                &["operation"],
            ),
            accepting: int_gauge(
                registry,
                "slod_storage_log_accepting",
                "Whether the log can be written; 0 while write requests are answered 503 because of it.",
            ),
            queue: int_gauge(
                registry,
                "slod_storage_log_queue_bytes",
                "Bytes of bodies that wait to be written to the log.",
            ),
            segments: int_gauge(registry, "slod_storage_log_segments", "Files of the log."),
            size: int_gauge(registry, "slod_storage_log_size_bytes", "Bytes that the files of the log take."),
            uncovered: int_gauge(
                registry,
                "slod_storage_log_uncovered_bytes",
                "Bytes of files of the log that are kept because no checkpoint covers them.",
            ),
            oldest: int_gauge(
                registry,
                "slod_storage_log_oldest_sequence",
                "Sequence of the oldest record in the log.",
            ),
            next: int_gauge(
                registry,
                "slod_storage_log_next_sequence",
                "Sequence of the record that is appended next.",
            ),
            recovered: counter(
                registry,
                "slod_storage_log_recovered_records_total",
                "Records of the log replayed at start.",
            ),
            corrupt: counter(
                registry,
                "slod_storage_log_corrupt_records_total",
                "Records of the log that were damaged at start, and skipped.",
            ),
            missing: counter(
                registry,
                "slod_storage_log_missing_records_total",
                "Records of the log that were not there at start.",
            ),
        }
    }
}

impl SpecMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            slos: int_gauge(registry, "slod_slos", "SLOs in force."),
            errors: int_gauge(
                registry,
                "slod_spec_errors",
                "Errors in the spec files in force; what has one is not served.",
            ),
            reload_successful: int_gauge(
                registry,
                "slod_config_last_reload_successful",
                "Whether the specs were without errors when they were last read.",
            ),
            reload_success_time: gauge(
                registry,
                "slod_config_last_reload_success_timestamp_seconds",
                "When the specs were last read without errors.",
            ),
        }
    }

    /// Notes that specs came into force.
    pub fn note_load(&self, slos: usize, errors: usize, now_seconds: f64) {
        self.slos.set(slos as i64);
        self.errors.set(errors as i64);
        self.reload_successful.set(i64::from(errors == 0));
        if errors == 0 {
            self.reload_success_time.set(now_seconds);
        }
    }

    /// Notes that specs had errors, and those before stay in force.
    pub fn note_reload_failure(&self) {
        self.reload_successful.set(0);
    }
}

impl StateMetrics {
    fn new(registry: &Registry) -> Self {
        Self {
            bytes: int_gauge(
                registry,
                "slod_storage_state_bytes",
                "Length of the file that holds the state.",
            ),
            commits: counter_vec(
                registry,
                "slod_storage_state_commits_total",
                "Attempts to write a checkpoint of the state, by outcome.",
                &["outcome"],
            ),
            last_checkpoint: gauge(
                registry,
                "slod_storage_state_last_checkpoint_timestamp_seconds",
                "The moment whose state was written last.",
            ),
            last_checkpoint_bytes: int_gauge(
                registry,
                "slod_storage_state_last_checkpoint_bytes",
                "Bytes of keys and values that the last checkpoint wrote.",
            ),
            freeze_duration: latency(
                registry,
                "slod_storage_freeze_duration_seconds",
                "Time at the start of a checkpoint in which no write request is counted.",
            ),
            checkpoint_duration: latency(
                registry,
                "slod_storage_state_checkpoint_duration_seconds",
                "Time from the start of a checkpoint until it is durable.",
            ),
            damaged_values: counter(
                registry,
                "slod_storage_state_damaged_values_total",
                "Values of the state that could not be read; what they held begins anew.",
            ),
            set_aside: counter(
                registry,
                "slod_storage_state_set_aside_total",
                "Files of state that could not be read, were given another name and replaced by an empty one.",
            ),
        }
    }

    /// Notes a commit of the state of a moment: the bytes it wrote, or that it failed.
    pub fn note_commit(&self, bytes: Option<u64>, at_seconds: f64) {
        let outcome = if bytes.is_some() { "success" } else { "failure" };
        self.commits.with_label_values(&[outcome]).inc();
        if let Some(bytes) = bytes {
            self.last_checkpoint.set(at_seconds);
            self.last_checkpoint_bytes.set(bytes as i64);
        }
    }
}

impl RemoteWriteMetrics {
    fn new(registry: &Registry) -> Self {
        let last_success = Opts::new(
            "slod_remote_write_last_success_timestamp_seconds",
            "When series were last written to a server.",
        );
        let last_success = GaugeVec::new(last_success, &["to"]).expect("a fixed, valid name");
        register(registry, last_success.clone());
        Self {
            samples: counter_vec(
                registry,
                "slod_remote_write_samples_total",
                "Samples for other servers by what became of them: sent, refused by the server, or dropped because too many waited.",
                &["to", "outcome"],
            ),
            requests: counter_vec(
                registry,
                "slod_remote_write_requests_total",
                "Requests to other servers by what came of them; one that failed is repeated.",
                &["to", "outcome"],
            ),
            queue_bytes: int_gauge_vec(
                registry,
                "slod_remote_write_queue_bytes",
                "Bytes of requests that wait to be sent to a server.",
                &["to"],
            ),
            queue_samples: int_gauge_vec(
                registry,
                "slod_remote_write_queue_samples",
                "Samples that wait to be sent to a server.",
                &["to"],
            ),
            last_success,
        }
    }

    /// Shows every series of a server from the start, so that `rate()` sees the first of a kind.
    pub fn begin(&self, to: &str) {
        for outcome in ["sent", "refused", "dropped"] {
            self.note_samples(to, outcome, 0);
        }
        for outcome in ["sent", "refused", "failed"] {
            self.requests.with_label_values(&[to, outcome]).inc_by(0);
        }
        self.note_queue(to, 0, 0);
    }

    /// Notes what became of samples.
    pub fn note_samples(&self, to: &str, outcome: &str, count: usize) {
        self.samples.with_label_values(&[to, outcome]).inc_by(count as u64);
    }

    /// Notes what came of a request.
    pub fn note_request(&self, to: &str, outcome: &str) {
        self.requests.with_label_values(&[to, outcome]).inc();
    }

    /// Notes what waits.
    pub fn note_queue(&self, to: &str, bytes: usize, samples: usize) {
        self.queue_bytes.with_label_values(&[to]).set(bytes as i64);
        self.queue_samples.with_label_values(&[to]).set(samples as i64);
    }

    /// Notes when a request was taken.
    pub fn note_success(&self, to: &str, at_seconds: f64) {
        self.last_success.with_label_values(&[to]).set(at_seconds);
    }
}

fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect("BUG: a metric is registered twice");
}

fn counter(registry: &Registry, name: &str, help: &str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect("a fixed, valid name");
    register(registry, counter.clone());
    counter
}

fn counter_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let vec = IntCounterVec::new(Opts::new(name, help), labels).expect("a fixed, valid name");
    register(registry, vec.clone());
    vec
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::new(name, help).expect("a fixed, valid name");
    register(registry, gauge.clone());
    gauge
}

fn int_gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect("a fixed, valid name");
    register(registry, gauge.clone());
    gauge
}

fn int_gauge_vec(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    let vec = IntGaugeVec::new(Opts::new(name, help), labels).expect("a fixed, valid name");
    register(registry, vec.clone());
    vec
}

fn latency(registry: &Registry, name: &str, help: &str) -> Latency {
    let latency = Latency::new(name, help);
    register(registry, latency.clone());
    latency
}

// === impl Latency ===

impl Latency {
    fn new(name: &str, help: &str) -> Self {
        let desc = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), Default::default())
            .expect("a fixed, valid name");
        Self(Arc::new(LatencyInner { desc, state: Mutex::new(Distribution::new()) }))
    }

    /// Records one duration; what is longer than a minute counts as a minute.
    pub fn record(&self, duration: Duration) {
        self.0.state.lock().record(duration);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Collector for Latency {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.0.desc]
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        vec![family(&self.0.desc, vec![self.0.state.lock().metric()])]
    }
}

// === impl Distribution ===

impl Distribution {
    fn new() -> Self {
        let histogram = Histogram::new_with_max(micros(LATENCY_MAX), LATENCY_DIGITS)
            .expect("a range and precision that hdrhistogram holds");
        Self { histogram, sum: Duration::ZERO }
    }

    fn record(&mut self, duration: Duration) {
        self.histogram.saturating_record(micros(duration));
        self.sum += duration;
    }

    fn metric(&self) -> proto::Metric {
        let quantiles = QUANTILES.map(|quantile| {
            let mut pair = proto::Quantile::default();
            pair.set_quantile(quantile);
            pair.set_value(self.histogram.value_at_quantile(quantile) as f64 / 1e6);
            pair
        });
        let mut summary = proto::Summary::default();
        summary.set_sample_count(self.histogram.len());
        summary.set_sample_sum(self.sum.as_secs_f64());
        summary.set_quantile(quantiles.to_vec());
        let mut metric = proto::Metric::default();
        metric.set_summary(summary);
        metric
    }
}

fn family(desc: &Desc, metrics: Vec<proto::Metric>) -> proto::MetricFamily {
    let mut family = proto::MetricFamily::default();
    family.set_name(desc.fq_name.clone());
    family.set_help(desc.help.clone());
    family.set_field_type(proto::MetricType::SUMMARY);
    family.set_metric(metrics);
    family
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_is_a_summary() {
        let telemetry = Telemetry::new();
        for ms in 1..=100 {
            telemetry.ingest.request_duration.record(Duration::from_millis(ms));
        }
        telemetry.ingest.request_duration.record(Duration::from_secs(3_600));
        let text = prometheus::TextEncoder::new().encode_to_string(&telemetry.gather()).unwrap();
        assert!(text.contains("slod_ingest_request_duration_seconds_count 101\n"), "{text}");
        assert!(text.contains("slod_ingest_request_duration_seconds_sum 3605.05\n"), "{text}");
        assert!(text.contains("slod_ingest_request_duration_seconds{quantile=\"0.5\"} 0.05"), "{text}");
    }
}
