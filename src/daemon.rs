//! Builds everything, owns threads and tasks, and is the only reader of the real clock.
//!
//! One thread ticks; it alone touches the engine, and publishes each report for all readers. Requests run
//! on the runtime's threads and share the write path. Shutdown goes with the stream: the server stops
//! accepting and finishes its requests, then the last tick counts them, then the data directory is let go.

mod backfilling;
mod clock;
mod keeping;
mod pulling;
mod reload;
mod throttle;
mod ticker;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use tokio::sync::watch;

use crate::{
    config::Config,
    exposition,
    ingest::{Ingest, WriteError, WriteStats},
    pipeline::{self, Pipeline},
    prompb::Version,
    report::{Report, Transition},
    slo::Slo,
    source,
    storage::{
        DataDirectory,
        log::{self, Log, Ticket},
        recovery::Recovered,
    },
    telemetry::Telemetry,
    time::{Clock, Latest},
    web::{self, Page, Server, Writing},
};

use backfilling::Backfilling;
pub use clock::SystemClock;
use keeping::Keeper;
use pulling::Pulling;
use reload::Reloader;
pub use reload::Source;
use throttle::Throttle;
use ticker::{Duties, Ticker};

/// A daemon with its address taken and its SLOs compiled, not yet running.
#[derive(Debug)]
pub struct Daemon {
    shared: Arc<Shared>,
    pipeline: Pipeline,
    duties: Duties,
    interval: Duration,
    server: Server,
    data: DataDirectory,
}

/// What requests and ticks share.
#[derive(Debug)]
pub struct Shared {
    ingest: Arc<Ingest>,
    kept: Arc<Log>,
    telemetry: Telemetry,
    clock: Arc<SystemClock>,
    report: ArcSwapOption<Report>,
    /// When the last evaluation was done, in milliseconds of steady time.
    evaluated_ms: AtomicU64,
    last_request: Arc<Latest>,
    log: RefusalLog,
    /// `None` where there is nothing to read anew.
    reloader: Option<Reloader>,
}

/// The log of write requests that are not accepted: a throttle for each kind of reason, so that a frequent
/// one does not hide a rare one.
#[derive(Debug, Default)]
struct RefusalLog {
    turned_away: Throttle,
    malformed: Throttle,
    refused: Throttle,
    busy: Throttle,
    not_kept: Throttle,
    too_many_clusters: Throttle,
}

// Twice the longest evaluation interval.
const READY_AGE_MAX: Duration = Duration::from_secs(120);

// === impl Daemon ===

impl Daemon {
    /// Builds a daemon for these SLOs. `spec_errors` is how many of their siblings are not served; `source` is
    /// where they can be read anew.
    ///
    /// # Errors
    /// When the data directory, the listening address or the certificates for a source cannot be had.
    pub async fn build(
        config: Config,
        slos: Vec<Slo>,
        spec_errors: usize,
        source: Option<Source>,
    ) -> anyhow::Result<Self> {
        let data = DataDirectory::open(&config.storage_path)?;
        let telemetry = Telemetry::new();
        let clock = Arc::new(SystemClock::default());
        telemetry.specs.note_load(slos.len(), spec_errors, clock.now().seconds());
        let reloader = source.map(|source| Reloader::new(source, &config));
        let interval = config.engine.interval;
        let core = pipeline::Config {
            engine: config.engine,
            ingest: config.ingest,
            groups_per_slo_max: config.groups_per_slo_max,
            begins_after: config.sources.first().and_then(|source| source.backfill_after),
            pull_delay: config.sources.first().map_or(Duration::ZERO, |source| source.delay),
        };
        let recovered = keeping::recover(data.path(), core.clone(), config.log, slos, &telemetry, &clock)?;
        let Recovered { pipeline, log, store, .. } = recovered;
        let kept = Arc::new(log);
        let keeper = Keeper::start(config.checkpoint_interval, Arc::clone(&kept), store, &telemetry, &clock)?;
        let shared = Arc::new(Shared {
            ingest: Arc::clone(pipeline.ingest()),
            kept,
            telemetry,
            clock,
            report: ArcSwapOption::empty(),
            evaluated_ms: AtomicU64::new(0),
            last_request: Arc::clone(pipeline.last_request()),
            log: RefusalLog::default(),
            reloader,
        });
        let mut duties = Duties { keeper, pulling: None, backfilling: None };
        if let Some(of) = config.sources.into_iter().next() {
            let source = Arc::new(source::Source::new(of.client).context("cannot use sources[0]")?);
            duties.pulling = Some(Pulling::start(Arc::clone(&source), Arc::clone(&shared)));
            let instances = Arc::clone(pipeline.instances());
            let backfill = || Backfilling::start(source, core, of.delay, instances, Arc::clone(&shared));
            duties.backfilling = of.backfill_after.map(|_| backfill());
        }
        let listen_address = config.web.listen_address;
        let server = Server::bind(config.web, Arc::clone(&shared) as web::SharedService)
            .await
            .with_context(|| format!("cannot listen on {listen_address} (web.listen_address)"))?;
        Ok(Self { shared, pipeline, duties, interval, server, data })
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// When the operating system does not say.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.server.local_address()
    }

    /// What others may look at while it runs.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Runs until `stop` becomes true, then drains.
    ///
    /// # Errors
    /// When the ticking thread cannot be started, or died.
    pub async fn run(self, stop: watch::Receiver<bool>) -> anyhow::Result<()> {
        let address = self.local_address()?;
        tracing::info!(%address, data = %self.data.path().display(), "slod is up");
        let shared = Arc::clone(&self.shared);
        let mut ticker = Ticker::start(self.pipeline, self.duties, shared, self.interval)?;
        tokio::select! {
            () = self.server.run(stop) => (),
            // Without evaluations there is no point in going on: whoever runs us starts us anew.
            () = ticker.ended() => tracing::error!("BUG: the evaluation thread ended by itself"),
        }
        tracing::info!("all requests are done, evaluating once more");
        tokio::task::spawn_blocking(|| ticker.stop()).await??;
        drop(self.data);
        tracing::info!("slod is down");
        Ok(())
    }
}

// === impl Shared ===

impl Shared {
    /// The newest report; `None` before the first tick.
    pub fn report(&self) -> Option<Arc<Report>> {
        self.report.load_full()
    }

    /// The clock the daemon reads.
    pub fn clock(&self) -> &SystemClock {
        &self.clock
    }

    /// Reads the specs anew and puts them in force. Returns how many SLOs there are.
    ///
    /// # Errors
    /// When there is an error in them, with every reason: then those before stay in force.
    pub fn reload(&self) -> Result<usize, String> {
        let reloader = self.reloader.as_ref().ok_or("there is no configuration file to read anew")?;
        reloader.reload(&self.ingest, &self.telemetry.specs, || self.clock.now())
    }

    fn tick(&self, pipeline: &mut Pipeline, duties: &mut Duties) {
        let (start, now) = (self.clock.elapsed(), self.clock.now());
        if pipeline.sample(now) > 0 {
            self.telemetry.sampling.duration.record(self.clock.elapsed().saturating_sub(start));
        }
        if let Some(pulling) = &mut duties.pulling {
            pulling.advance(pipeline, now);
        }
        if let Some(backfilling) = &mut duties.backfilling {
            backfilling.advance(pipeline);
        }
        let report = pipeline.judge(now);
        self.report.store(Some(Arc::clone(&report)));
        self.evaluated_ms.store(self.clock.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.ingest.publish_sizes();
        self.telemetry.evaluation.duration.record(self.clock.elapsed().saturating_sub(start));
        self.telemetry.evaluation.last.set(self.clock.now().seconds());
        report.transitions().iter().for_each(log_transition);
    }
}

/// What people look for first after a night: which alert became what, and why.
fn log_transition(Transition { from, alert }: &Transition) {
    let (name, severity) = (&alert.labels["alertname"], &alert.labels["severity"]);
    let group = if alert.group.is_empty() { String::new() } else { alert.group.to_string() };
    let (slo, from, to) = (&alert.slo.id, from.name(), alert.state.name());
    tracing::info!(%slo, %group, name, severity, from, to, muted = alert.is_muted, reason = alert.reason, "alert");
}

impl Shared {
    /// Counts a body, and has it written to the log if anything of it counted.
    fn count(&self, version: Version, body: Bytes) -> (Result<WriteStats, WriteError>, Option<Ticket>) {
        let arrived = self.clock.now();
        let mut ticket = None;
        let mut keep = |epoch| {
            let entry = log::Entry { arrived, version, epoch, body: body.clone() };
            ticket = Some(self.kept.append(entry));
        };
        let result = match self.kept.accepts() {
            Ok(()) => self.ingest.write_noting(version, &body, arrived, &mut keep),
            Err(refusal) => Err(WriteError::NotKept(refusal.to_string())),
        };
        // A sender that sends garbage is there all the same; one that is turned away delivers nothing.
        if matches!(result, Ok(_) | Err(WriteError::Refused { .. })) {
            self.last_request.note(arrived);
        }
        (result, ticket)
    }
}

impl web::Service for Shared {
    fn write(&self, version: Version, body: Bytes) -> Writing<'_> {
        let (counted, ticket) = self.count(version, body);
        Box::pin(async move {
            let kept = match ticket {
                Some(ticket) => {
                    ticket.durable().await.map_err(|error| WriteError::NotKept(error.to_string()))
                }
                None => Ok(()),
            };
            // What is not kept has to be sent again, whatever else is to be said of it.
            let result = kept.and(counted);
            if let Err(error) = &result {
                self.log.note(error, self.clock.elapsed());
            }
            result
        })
    }

    fn note_turned_away(&self, reason: &str) {
        self.log.turned_away.warn(&reason, self.clock.elapsed());
    }

    fn note_write(&self, status: u16, duration: Duration) {
        let ingest = &self.telemetry.ingest;
        ingest.requests.with_label_values(&[&status.to_string()]).inc();
        ingest.request_duration.record(duration);
    }

    fn metrics(&self) -> Result<Page, String> {
        let report = self.report().unwrap_or_default().snapshot();
        let text = exposition::render(&report, &self.telemetry.gather())
            .map_err(|error| format!("cannot encode metrics: {error}"))?;
        Ok(Page { content_type: exposition::CONTENT_TYPE, text })
    }

    fn reload(&self) -> Result<usize, String> {
        Self::reload(self)
    }

    fn ready(&self) -> Result<(), String> {
        let evaluated = Duration::from_millis(self.evaluated_ms.load(Ordering::Relaxed));
        let age = self.clock.elapsed().saturating_sub(evaluated);
        if self.report().is_none() {
            Err("the first evaluation is not done".to_owned())
        } else if age > READY_AGE_MAX {
            Err(format!("the last evaluation was {} s ago", age.as_secs()))
        } else {
            self.kept.accepts().map_err(|refusal| format!("write requests are not accepted: {refusal}"))
        }
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }
}

// === impl RefusalLog ===

impl RefusalLog {
    fn note(&self, error: &WriteError, now: Duration) {
        let throttle = match error {
            WriteError::Malformed(_) => &self.malformed,
            WriteError::Refused { .. } => &self.refused,
            WriteError::Busy(..) => &self.busy,
            WriteError::NotKept(_) => &self.not_kept,
            WriteError::TooManyClusters(_) => &self.too_many_clusters,
        };
        throttle.warn(error, now);
    }
}
