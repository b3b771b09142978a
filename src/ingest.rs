//! The hot path over one request: decode, match, observe, count.
//!
//! ```text
//! body ─▶ prompb: read the whole request, or nothing
//!      ─▶ table: what is known of each series, by the hash of its label block
//!          │ strangers: decode labels, match the plan, remember
//!      ─▶ series by series: counter ─▶ increment × share ─▶ window
//! ```
//!
//! Each step goes through the whole request before the next begins, so that a request that cannot be read
//! has no effect, and that the processor looks for many series at once. A request runs to completion on its
//! caller's thread, without waiting for anything, in memory that the next one uses again. Series are behind
//! locks, so that the same batch arriving twice at once counts once. Samples are accepted whether or not an
//! SLO selects them. Data errors refuse only the series or sample they are in; the rest of the request
//! counts.
//!
//! Measured with 2,000 samples a request, 270 bytes of labels each: 88 ns a sample, of which snappy takes 29,
//! walk, hash and lookup 30, counter, routes and window 29 (`benches/results`).

mod counting;
pub mod ha;
mod memory;
mod outcome;
mod routes;
mod series;
mod state;
mod strangers;
mod table;

use std::{hash::BuildHasher, mem, sync::Arc, time::Duration};

use crossbeam_queue::ArrayQueue;
use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge};

use ha::{Elections, Verdict};
pub use memory::{Memory, Scrapes, SeriesMemory, TargetMemory};
use outcome::{OUTCOMES, Outcome, Tally};
use routes::{RouteBook, RouteSuccession};
use series::Moment;
pub use state::{ExtraState, SeriesState};
use strangers::Strangers;
use table::{Known, SeriesTable};

use crate::{
    histogram::HistogramError,
    labels::LabelsError,
    matching::{Instances, Plan},
    prompb::{self, Request, SeriesView, Version},
    sampling::Recent,
    telemetry::{IngestMetrics, Telemetry},
    time::Timestamp,
    window::OpenSlots,
};

/// The bounds and intervals of the write path.
#[derive(Clone, Debug)]
pub struct Config {
    /// The most bytes a body may have after snappy. A larger one is refused whole.
    pub decoded_bytes_max: usize,
    /// The most labels a series may have. A series with more is refused.
    pub labels_per_series_max: usize,
    /// The most bytes that the names and values of its labels may have. A series with more is refused.
    pub label_bytes_max: usize,
    /// The most series followed at once. Further ones are refused.
    pub series_max: usize,
    /// The most counts that may wait for an evaluation. Requests are answered 503 above it.
    pub deferred_max: usize,
    /// How far ahead of the clock a sample may be. One further ahead is refused.
    pub future_max: Duration,
    /// The longest gap in a series whose growth is still counted.
    pub max_gap: Duration,
    /// How late a sample may be before its instances count as catching up.
    pub late_after: Duration,
    /// How long a target must have been followed, in event time, before a new series of it is taken for
    /// newly born and counts from zero. Covers the time in which shards of a sender drift apart.
    pub warm_up: Duration,
    /// How pairs of senders count once.
    pub ha: ha::Config,
}

/// The write path. Shared by all requests.
#[derive(Debug)]
pub struct Ingest {
    config: Config,
    instances: Arc<Instances>,
    open: Arc<OpenSlots>,
    elections: Elections,
    table: SeriesTable,
    routes: RouteBook,
    /// Held by the request that is counted and written down, so that both happen in the same order.
    turn: Mutex<()>,
    /// The samples that expressions are over.
    recent: Arc<Recent>,
    /// Memory that no request uses at present.
    spare: ArrayQueue<Box<Scratch>>,
    telemetry: IngestMetrics,
    /// Series with a sample and no staleness marker after it.
    active: IntGauge,
    outcomes: [IntCounter; OUTCOMES.len()],
}

/// The memory of a request.
#[derive(Debug, Default)]
struct Scratch {
    message: Vec<u8>,
    request: Request,
    known: Vec<Known>,
    /// The request before had some: new series come in numbers.
    expects_strangers: bool,
}

/// What of a request was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteStats {
    /// Samples accepted.
    pub samples: usize,
    /// Native histograms accepted.
    pub histograms: usize,
    /// Exemplars accepted.
    pub exemplars: usize,
    /// Whether all of it was left to the other replica of a pair, which sends the same.
    pub is_deduplicated: bool,
}

/// Why a request, or a part of it, was not accepted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum WriteError {
    /// The body cannot be read; nothing of it counted. Repeating it is vain.
    #[error(transparent)]
    Malformed(#[from] prompb::Error),
    /// Some series or samples are not acceptable; all others counted. Repeating it is vain.
    #[error("{refused} of {} samples refused, the others are counted; the first: {first}", refused + written.samples + written.histograms)]
    Refused {
        /// Samples refused, native histograms among them.
        refused: usize,
        /// What was accepted.
        written: WriteStats,
        /// What was wrong with the first of them.
        first: Refusal,
    },
    /// Too much waits for the evaluation; nothing counted. To be repeated later.
    #[error("{0} counts wait for evaluation, the limit is {1} (limits.deferred_max); try again")]
    Busy(usize, usize),
    /// It cannot be kept, or is not for sure; what it counted stays counted. To be repeated later.
    #[error("{0}; try again")]
    NotKept(String),
    /// The sender is one of a pair that is not known, and there are as many as may be; nothing counted.
    #[error(
        "{0} clusters of replicas are known, which is the limit (ha.clusters_max); raise it, or set ha.replica_label to \"\" to count every replica"
    )]
    TooManyClusters(usize),
}

/// Why a series or a sample was not accepted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Labels that are not in the request.
    #[error(transparent)]
    References(#[from] prompb::BadReferences),
    /// Not a label set.
    #[error("series {series}: {error}")]
    Labels {
        /// The labels as far as they can be shown.
        series: String,
        /// What is wrong.
        error: LabelsError,
    },
    /// No metric name.
    #[error("series {0} has no metric name")]
    NoMetricName(String),
    /// Of another replica than the request.
    #[error(
        "series {0} is of another replica than the first one of its request; send replicas in requests of their own, or without their label (ha.replica_label)"
    )]
    MixedReplicas(String),
    /// A label that is not text.
    #[error("a label of series {0} is not valid UTF-8")]
    NotUtf8(String),
    /// Too many or too long labels.
    #[error(
        "series with {labels} labels in {bytes} bytes, the limits are {labels_max} and {bytes_max} (limits.labels_per_series_max, limits.label_bytes_max)"
    )]
    TooLong {
        /// Labels of the series.
        labels: usize,
        /// Bytes of their names and values.
        bytes: usize,
        /// The most labels.
        labels_max: usize,
        /// The most bytes.
        bytes_max: usize,
    },
    /// As many series as may be are followed.
    #[error("{0} series are followed, which is the limit (limits.series_max)")]
    TooManySeries(usize),
    /// A native histogram that is none.
    #[error("series {series}: {error}")]
    Histogram {
        /// Its series.
        series: String,
        /// What is wrong.
        error: HistogramError,
    },
    /// Ahead of the clock.
    #[error("sample at {at} of series {series} is more than {ahead_max_seconds} s ahead of the clock")]
    Future {
        /// The sample's time.
        at: Timestamp,
        /// Its series.
        series: String,
        /// How far ahead it may be.
        ahead_max_seconds: u64,
    },
}

// As many as there are threads that serve requests, on a large machine; and the size of a request of ten
// thousand samples, the most that known senders put into one. Larger memory is given back.
const SPARES: usize = 64;
const SPARE_MESSAGE_MAX: usize = 8 << 20;
const SPARE_SERIES_MAX: usize = 20_000;

// Label blocks known per series that may be followed: other encodings of them, and series that no SLO
// selects. Beyond, those are forgotten and learned again as they come.
const BLOCKS_PER_SERIES: usize = 4;

/// How a replica is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// By the present election.
    Vote,
    /// By the one that it had won when its request came first; 0 if it had stood in none.
    Known(u32),
}

/// A cluster and a replica of it.
type Pair = (String, String);

// === impl WriteError ===

impl WriteError {
    /// What was accepted of the request all the same.
    pub fn written(&self) -> WriteStats {
        match self {
            Self::Refused { written, .. } => *written,
            Self::Malformed(_) | Self::Busy(..) | Self::NotKept(_) | Self::TooManyClusters(_) => {
                WriteStats::default()
            }
        }
    }
}

// === impl Ingest ===

impl Ingest {
    /// A write path that follows no series yet.
    pub fn new(
        config: Config,
        instances: Arc<Instances>,
        open: Arc<OpenSlots>,
        telemetry: &Telemetry,
    ) -> Self {
        let elections = Elections::new(config.ha.clone(), telemetry.ha.clone());
        let telemetry = telemetry.ingest.clone();
        Self {
            config,
            elections,
            instances,
            open,
            table: SeriesTable::default(),
            routes: RouteBook::default(),
            turn: Mutex::default(),
            recent: Arc::default(),
            spare: ArrayQueue::new(SPARES),
            active: telemetry.series.with_label_values(&["active"]),
            // Every outcome is there from the start, so that `rate()` sees the first of a kind.
            outcomes: OUTCOMES.map(|(_, name)| telemetry.samples.with_label_values(&[name])),
            telemetry,
        }
    }

    /// Counts a remote-write body that arrived at `now`.
    ///
    /// # Errors
    /// See [`WriteError`]; after `Refused` the acceptable part of the request is counted.
    pub fn write(&self, version: Version, body: &[u8], now: Timestamp) -> Result<WriteStats, WriteError> {
        self.write_as(Admission::Vote, version, body, now, None)
    }

    /// As [`write`](Self::write), and has the body written down if anything of it counted: `note` is called once with
    /// the election that the sender won, or 0, and in the order in which requests count. It must not wait.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub fn write_noting(
        &self,
        version: Version,
        body: &[u8],
        now: Timestamp,
        note: &mut dyn FnMut(u32),
    ) -> Result<WriteStats, WriteError> {
        self.write_as(Admission::Vote, version, body, now, Some(note))
    }

    /// Counts again what [`write_noting`](Self::write_noting) had noted, with the election that it told.
    ///
    /// # Errors
    /// See [`WriteError`]; what was refused then is refused again.
    pub fn replay(
        &self,
        version: Version,
        body: &[u8],
        arrived: Timestamp,
        epoch: u32,
    ) -> Result<WriteStats, WriteError> {
        self.write_as(Admission::Known(epoch), version, body, arrived, None)
    }

    fn write_as(
        &self,
        admission: Admission,
        version: Version,
        body: &[u8],
        now: Timestamp,
        note: Option<&mut dyn FnMut(u32)>,
    ) -> Result<WriteStats, WriteError> {
        let deferred = self.open.deferred();
        if deferred > self.config.deferred_max && admission == Admission::Vote {
            return Err(WriteError::Busy(deferred, self.config.deferred_max));
        }
        self.telemetry.bytes.inc_by(body.len() as u64);
        self.with_scratch(|scratch| {
            let mut message = mem::take(&mut scratch.message);
            prompb::decompress(body, self.config.decoded_bytes_max, &mut message)?;
            let result = self.write_in(scratch, admission, version, &message, now, note);
            scratch.message = message;
            result
        })
    }

    /// Counts a request that is not compressed, as [`write`](Self::write) does: history that is replayed has come
    /// over no wire, and waits for the evaluation as long as it must.
    ///
    /// # Errors
    /// See [`WriteError`]; after `Refused` the acceptable part of the request is counted.
    pub fn write_message(
        &self,
        version: Version,
        message: &[u8],
        now: Timestamp,
    ) -> Result<WriteStats, WriteError> {
        self.with_scratch(|scratch| self.write_in(scratch, Admission::Vote, version, message, now, None))
    }

    fn with_scratch<T>(&self, write: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = self.spare.pop().unwrap_or_default();
        let result = write(&mut scratch);
        if scratch.is_usual() {
            // One too many is dropped.
            let _ = self.spare.push(scratch);
        }
        result
    }

    /// Forgets series that have been silent for so long that their next sample would start over. To be
    /// called now and then.
    ///
    /// Silent since when is told by arrival: a backlog may be older than any gap.
    pub fn sweep(&self, now: Timestamp) {
        let live = self.table.forget_before(now - self.config.max_gap);
        self.active.sub(live as i64);
        self.routes.forget_unused(now - self.config.max_gap);
        self.elections.sweep(now);
    }

    /// Puts another plan in force, between two requests: what those before counted goes on in the SLOs that keep
    /// their history, and those after count for the SLOs of this plan. Goes through all SLOs and series known,
    /// during which requests wait.
    pub fn install(&self, plan: Plan) {
        let mut live = 0;
        drop(self.table.change(|table| {
            let succession = self.instances.install(plan);
            self.routes.succeed(&succession);
            live = table.succeed(&mut RouteSuccession::new(&succession));
        }));
        self.active.sub(live as i64);
    }

    /// The samples it keeps for expressions over them.
    pub fn recent(&self) -> Arc<Recent> {
        Arc::clone(&self.recent)
    }

    /// Publishes how much is held at present.
    pub fn publish_sizes(&self) {
        self.table.publish_sizes(&self.telemetry);
        self.telemetry.deferred.set(self.open.deferred() as i64);
    }

    fn write_in(
        &self,
        scratch: &mut Scratch,
        admission: Admission,
        version: Version,
        message: &[u8],
        now: Timestamp,
        note: Option<&mut dyn FnMut(u32)>,
    ) -> Result<WriteStats, WriteError> {
        let Scratch { request, known, expects_strangers, .. } = scratch;
        if mem::take(expects_strangers) {
            request.read(version, message, &self.table.hasher)?;
        } else {
            request.read_guessing(version, message, &self.table.hasher)?;
        }
        let pair = self.pair(message, request);
        let verdict = pair.as_ref().map(|(cluster, replica)| match admission {
            Admission::Vote | Admission::Known(0) => self.elections.admit(cluster, replica, now),
            Admission::Known(epoch) => {
                self.elections.readmit(cluster, replica, epoch, now);
                Verdict::Accept { epoch }
            }
        });
        let replica_epoch = match verdict {
            None => None,
            Some(Verdict::Accept { epoch }) => Some(epoch),
            Some(Verdict::TooManyClusters) => {
                return Err(WriteError::TooManyClusters(self.config.ha.clusters_max));
            }
            Some(Verdict::Drop) => {
                // Guesses hold for known series, and nobody knows those of the replica that does not count.
                if request.is_guessed() {
                    request.read(version, message, &self.table.hasher)?;
                }
                return Ok(self.leave_to_replica(pair.as_ref(), request));
            }
        };
        // What is known of a replica's series is not known of another's: those come in requests of their own.
        let mark = pair.as_ref().map_or(0, |pair| self.table.hasher.hash_one(pair));
        request.mark(mark);
        let mut tally = Tally::new(request.exemplars);
        let mut held = self.table.hold();
        let mut has_strangers = held.find_all(&request.series, known);
        if has_strangers && request.is_guessed() {
            request.read(version, message, &self.table.hasher)?;
            request.mark(mark);
            has_strangers = held.find_all(&request.series, known);
        }
        if has_strangers {
            *expects_strangers = true;
            drop(held);
            let strangers = Strangers::new(self, message, request, pair.as_ref());
            held = strangers.meet_all(known, &mut tally, now)?;
        }
        // The turn is taken after the table: who freezes that waits for both.
        let turn = note.is_some().then(|| self.turn.lock());
        self.count(&held, message, request, known, Moment { now, replica_epoch }, &mut tally);
        if let Some(note) = note {
            note(replica_epoch.unwrap_or(0));
        }
        drop(turn);
        drop(held);
        self.finish(tally)
    }

    /// The cluster and the replica that sends. As Mimir, by the first series of a request: external labels
    /// are on all of them.
    fn pair(&self, message: &[u8], request: &Request) -> Option<Pair> {
        let mut pairs = Vec::new();
        // A series whose labels cannot be read, or are too many or too long, does not speak for the others.
        let mut speaks =
            |series| request.labels(message, series, &mut pairs).is_ok() && self.check_limits(&pairs).is_ok();
        let is_any = self.elections.is_on() && request.series.iter().any(&mut speaks);
        let (cluster, replica) = is_any.then(|| self.elections.pair_of(pairs)).flatten()?;
        Some((cluster.to_owned(), replica.to_owned()))
    }

    /// Whether a series has not too many and not too long labels, in whichever way they are encoded.
    fn check_limits<T: AsRef<[u8]>>(&self, pairs: &[(T, T)]) -> Result<(), Refusal> {
        let (labels_max, bytes_max) = (self.config.labels_per_series_max, self.config.label_bytes_max);
        let bytes = |(name, value): &(T, T)| name.as_ref().len() + value.as_ref().len();
        let (labels, bytes) = (pairs.len(), pairs.iter().map(bytes).sum());
        if labels > labels_max || bytes > bytes_max {
            return Err(Refusal::TooLong { labels, bytes, labels_max, bytes_max });
        }
        Ok(())
    }

    /// What the replica that is not elected sends counts as written: the elected one sends the same.
    fn leave_to_replica(&self, pair: Option<&Pair>, request: &Request) -> WriteStats {
        let (samples, histograms) = (request.samples.len(), request.histogram_count());
        if let Some((cluster, _)) = pair {
            self.elections.note_deduplicated(cluster, samples + histograms);
        }
        let mut tally = Tally::new(request.exemplars);
        tally.accept(Outcome::Deduplicated, samples);
        tally.accept_histograms(Outcome::Deduplicated, histograms);
        WriteStats { is_deduplicated: true, ..self.publish(&tally) }
    }

    fn publish(&self, tally: &Tally) -> WriteStats {
        for (counter, count) in self.outcomes.iter().zip(tally.outcomes) {
            if count > 0 {
                counter.inc_by(count);
            }
        }
        tally.written
    }

    fn finish(&self, tally: Tally) -> Result<WriteStats, WriteError> {
        self.publish(&tally);
        match tally.first_refusal {
            Some(first) => {
                let refused = tally.outcomes[Outcome::Refused as usize] as usize;
                Err(WriteError::Refused { refused, written: tally.written, first })
            }
            None => Ok(tally.written),
        }
    }
}

// === impl Scratch ===

impl Scratch {
    /// Whether it is of the size that requests usually need.
    fn is_usual(&self) -> bool {
        self.message.capacity() <= SPARE_MESSAGE_MAX && self.request.capacity() <= SPARE_SERIES_MAX
    }
}

// What a refusal shows of a series: enough to find it, not enough to fill a log.
const SHOWN_CHARS_MAX: usize = 200;

/// The labels of a series as far as they can be shown.
fn show(message: &[u8], request: &Request, view: &SeriesView) -> String {
    let mut pairs = Vec::new();
    match request.labels(message, view, &mut pairs) {
        Ok(_) => show_pairs(&pairs),
        Err(error) => format!("({error})"),
    }
}

fn show_pairs(pairs: &[prompb::RawLabel<'_>]) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes);
    let shown = pairs.iter().map(|(name, value)| format!("{}={:?}", text(name), text(value)));
    let shown = format!("{{{}}}", shown.collect::<Vec<_>>().join(","));
    match shown.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &shown[..at]),
        None => shown,
    }
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            // What Prometheus and VictoriaMetrics accept.
            decoded_bytes_max: 32 << 20,
            // Far above real series (VictoriaMetrics stops at 40), far below harm.
            labels_per_series_max: 128,
            label_bytes_max: 64 << 10,
            series_max: 2_000_000,
            // 48 bytes each: half a gigabyte, and what the requests under way add to it.
            deferred_max: 10_000_000,
            // As Prometheus.
            future_max: Duration::from_secs(600),
            max_gap: Duration::from_secs(86_400),
            // An evaluation delay of 5 s, and a minute for retries and slow shards.
            late_after: Duration::from_secs(65),
            warm_up: Duration::from_secs(300),
            ha: ha::Config::default(),
        }
    }
}
