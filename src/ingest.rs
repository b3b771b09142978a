//! The hot path over one request: decode, match, observe, count.
//!
//! ```text
//! body ─▶ prompb (whole request, or nothing) ─▶ per series: cache by raw label bytes
//!                                                 │ known, no SLO selects it: done
//!                                                 │ stranger: decode labels, match the plan, remember
//!                                                 └ followed: counter ─▶ increment × share ─▶ window
//! ```
//!
//! A request runs to completion on its caller's thread, without waiting for anything. The state of a
//! series is behind a lock of its own, so that the same batch arriving twice at once counts once.
//! Samples are accepted whether or not an SLO selects them. Data errors refuse only the series or sample
//! they are in; the rest of the request counts.

mod cache;
mod series;

use std::{sync::Arc, time::Duration};

use cache::{Known, SeriesCache};
use series::{Arrival, Series, Targets};

use crate::{
    counter::{Baseline, Growth, Observation, Rejection},
    labels::{Labels, LabelsError, METRIC_NAME},
    matching::Instances,
    prompb::{self, Sample, v1},
    telemetry::IngestMetrics,
    time::Timestamp,
    window::{Batch, OpenSlots},
};

/// The bounds and intervals of the write path.
#[derive(Clone, Debug)]
pub struct Config {
    /// The most bytes a body may have after snappy. A larger one is refused whole.
    pub decoded_bytes_max: usize,
    /// The most labels a series may have. A series with more is refused.
    pub labels_per_series_max: usize,
    /// The most bytes the encoded labels of a series may have. A series with more is refused.
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
}

/// The write path. Shared by all requests.
#[derive(Debug)]
pub struct Ingest {
    config: Config,
    instances: Arc<Instances>,
    open: Arc<OpenSlots>,
    cache: SeriesCache,
    targets: Targets,
    telemetry: IngestMetrics,
}

/// What a request held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteStats {
    /// Samples accepted.
    pub samples: usize,
    /// Native histograms accepted.
    pub histograms: usize,
    /// Exemplars accepted.
    pub exemplars: usize,
}

/// Why a request, or a part of it, was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The body cannot be read; nothing of it counted. Repeating it is vain.
    #[error(transparent)]
    Malformed(#[from] prompb::Error),
    /// Some series or samples are not acceptable; all others counted. Repeating it is vain.
    #[error("{refused} of {received} samples refused, the others are counted; the first: {first}")]
    Refused {
        /// Samples refused.
        refused: usize,
        /// Samples in the request.
        received: usize,
        /// What was wrong with the first of them.
        first: Refusal,
    },
    /// Too much waits for the evaluation; nothing counted. To be repeated later.
    #[error("{0} counts wait for evaluation, the limit is {1} (limits.deferred_max); try again")]
    Busy(usize, usize),
}

/// Why a series or a sample was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
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
        /// Bytes of its encoded labels.
        bytes: usize,
        /// The most labels.
        labels_max: usize,
        /// The most bytes.
        bytes_max: usize,
    },
    /// As many series as may be are followed.
    #[error("{0} series are followed, which is the limit (limits.series_max)")]
    TooManySeries(usize),
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

/// What became of a sample: the label `outcome` of `slod_ingest_samples_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Increment,
    Reset,
    Born,
    Baseline,
    Gap,
    Sample,
    StaleMarker,
    Duplicate,
    Conflict,
    OutOfOrder,
    NotFinite,
    Negative,
    TooLarge,
    TooOld,
    Unselected,
    Histogram,
    Refused,
}

const OUTCOMES: [(Outcome, &str); 17] = [
    (Outcome::Increment, "increment"),
    (Outcome::Reset, "reset"),
    (Outcome::Born, "born"),
    (Outcome::Baseline, "baseline"),
    (Outcome::Gap, "gap"),
    (Outcome::Sample, "sample"),
    (Outcome::StaleMarker, "stale_marker"),
    (Outcome::Duplicate, "duplicate"),
    (Outcome::Conflict, "conflict"),
    (Outcome::OutOfOrder, "out_of_order"),
    (Outcome::NotFinite, "not_finite"),
    (Outcome::Negative, "negative"),
    (Outcome::TooLarge, "too_large"),
    (Outcome::TooOld, "too_old"),
    (Outcome::Unselected, "unselected"),
    (Outcome::Histogram, "histogram_ignored"),
    (Outcome::Refused, "refused"),
];

// The longest window there can be: what is older counts in none.
const AGE_MAX: Duration = Duration::from_secs(90 * 86_400);

/// One request under way.
struct Request<'a> {
    batch: Batch<'a>,
    now: Timestamp,
    tally: [u64; OUTCOMES.len()],
    first_refusal: Option<Refusal>,
}

// === impl Ingest ===

impl Ingest {
    /// A write path that follows no series yet.
    pub fn new(
        config: Config,
        instances: Arc<Instances>,
        open: Arc<OpenSlots>,
        telemetry: IngestMetrics,
    ) -> Self {
        for (_, name) in OUTCOMES {
            // So that every outcome is there from the start, and `rate()` sees the first of a kind.
            telemetry.samples.with_label_values(&[name]);
        }
        Self {
            config,
            instances,
            open,
            cache: SeriesCache::default(),
            targets: Targets::default(),
            telemetry,
        }
    }

    /// Counts a remote-write 1.0 body that arrived at `now`.
    ///
    /// # Errors
    /// See [`WriteError`]; after `Refused` the acceptable part of the request is counted.
    pub fn write_v1(&self, body: &[u8], now: Timestamp) -> Result<WriteStats, WriteError> {
        let deferred = self.open.deferred();
        if deferred > self.config.deferred_max {
            return Err(WriteError::Busy(deferred, self.config.deferred_max));
        }
        self.telemetry.bytes.inc_by(body.len() as u64);
        let mut message = Vec::new();
        prompb::decompress(body, self.config.decoded_bytes_max, &mut message)?;
        let write = v1::parse(&message)?;
        let mut request =
            Request { batch: self.open.batch(), now, tally: [0; OUTCOMES.len()], first_refusal: None };
        for series in &write.series {
            self.write_series(&mut request, series, write.samples(series));
        }
        self.finish(request, &write)
    }

    /// Forgets series that have been silent for so long that their next sample would start over. To be
    /// called now and then.
    ///
    /// Silent since when is told by arrival: a backlog may be older than any gap.
    pub fn sweep(&self, now: Timestamp) {
        self.cache.forget_before(now - self.config.max_gap);
        self.targets.forget_unused();
    }

    /// Publishes how much is held at present.
    pub fn publish_sizes(&self) {
        self.telemetry.series.with_label_values(&["followed"]).set(self.cache.followed() as i64);
        self.telemetry.series.with_label_values(&["unselected"]).set(self.cache.unselected() as i64);
        self.telemetry.deferred.set(self.open.deferred() as i64);
    }

    fn finish(&self, request: Request<'_>, write: &v1::WriteRequest<'_>) -> Result<WriteStats, WriteError> {
        for (outcome, name) in OUTCOMES {
            let count = request.tally[outcome as usize];
            if count > 0 {
                self.telemetry.samples.with_label_values(&[name]).inc_by(count);
            }
        }
        match request.first_refusal {
            Some(first) => Err(WriteError::Refused {
                refused: request.tally[Outcome::Refused as usize] as usize,
                received: write.sample_count(),
                first,
            }),
            None => Ok(WriteStats {
                samples: write.sample_count(),
                histograms: write.series.iter().map(|series| series.histograms).sum(),
                exemplars: write.exemplars,
            }),
        }
    }

    fn write_series(&self, request: &mut Request<'_>, view: &v1::SeriesView<'_>, samples: &[Sample]) {
        request.count(Outcome::Histogram, view.histograms);
        let known = match self.cache.find(&view.raw_labels) {
            Some(known) => Ok(known),
            None => self.learn(&view.raw_labels, request.now),
        };
        match known {
            Ok(Known::Unselected) => request.count(Outcome::Unselected, samples.len()),
            Ok(Known::Followed(series)) => self.write_samples(request, view, series, samples),
            Err(refusal) => request.refuse(refusal, samples.len()),
        }
    }

    fn write_samples(
        &self,
        request: &mut Request<'_>,
        view: &v1::SeriesView<'_>,
        mut series: Arc<Series>,
        samples: &[Sample],
    ) {
        for sample in samples {
            let at = Timestamp(sample.timestamp_ms);
            if at > request.now + self.config.future_max {
                let ahead_max_seconds = self.config.future_max.as_secs();
                let series = series.labels().to_string();
                request.refuse(Refusal::Future { at, series, ahead_max_seconds }, 1);
                continue;
            }
            if at < request.now - AGE_MAX {
                request.count(Outcome::TooOld, 1);
                continue;
            }
            let arrival = Arrival { at, value: sample.value, now: request.now };
            // A series that was forgotten between finding it and now is met anew.
            let observation = loop {
                match series.observe(self, &mut request.batch, arrival) {
                    Some(observation) => break observation,
                    None => match self.learn(&view.raw_labels, request.now) {
                        Ok(Known::Followed(anew)) => series = anew,
                        Ok(Known::Unselected) => return request.count(Outcome::Unselected, 1),
                        Err(refusal) => return request.refuse(refusal, 1),
                    },
                }
            };
            request.count(Outcome::of(observation), 1);
        }
    }

    /// Meets a series for the first time: reads its labels and finds the SLOs it counts for.
    fn learn(&self, raw_labels: &[u8], now: Timestamp) -> Result<Known, Refusal> {
        let labels = self.read_labels(raw_labels)?;
        let matches = self.instances.plan().matches(&labels);
        if matches.is_empty() {
            self.cache.insert(raw_labels, Known::Unselected);
            return Ok(Known::Unselected);
        }
        // Another order of the same labels is the same series.
        let series = self.cache.find_or_follow(&labels, self.config.series_max, || {
            let (series, refused) = Series::new(labels.clone(), matches, &self.instances, &self.targets, now);
            self.telemetry.groups_refused.inc_by(refused);
            series
        });
        let series = series.map_err(Refusal::TooManySeries)?;
        let known = Known::Followed(series);
        self.cache.insert(raw_labels, known.clone());
        Ok(known)
    }

    fn read_labels(&self, raw_labels: &[u8]) -> Result<Labels, Refusal> {
        // The block has been walked once when the request was read.
        let pairs = v1::labels(raw_labels).unwrap_or_default();
        let (labels_max, bytes_max) = (self.config.labels_per_series_max, self.config.label_bytes_max);
        if pairs.len() > labels_max || raw_labels.len() > bytes_max {
            let (labels, bytes) = (pairs.len(), raw_labels.len());
            return Err(Refusal::TooLong { labels, bytes, labels_max, bytes_max });
        }
        let text: Result<Vec<(&str, &str)>, _> = pairs
            .iter()
            .map(|(name, value)| Ok((str::from_utf8(name)?, str::from_utf8(value)?)))
            .collect::<Result<_, std::str::Utf8Error>>();
        let text = text.map_err(|_| Refusal::NotUtf8(show(&pairs)))?;
        let labels = Labels::new(text).map_err(|error| Refusal::Labels { series: show(&pairs), error })?;
        match labels.get(METRIC_NAME) {
            "" => Err(Refusal::NoMetricName(labels.to_string())),
            _ => Ok(labels),
        }
    }
}

// What a refusal shows of a series: enough to find it, not enough to fill a log.
const SHOWN_CHARS_MAX: usize = 200;

fn show(pairs: &[v1::RawLabel<'_>]) -> String {
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(name, value)| {
            format!("{}={:?}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        })
        .collect();
    format!("{{{}}}", pairs.join(",")).chars().take(SHOWN_CHARS_MAX).collect()
}

// === impl Request ===

impl Request<'_> {
    fn count(&mut self, outcome: Outcome, samples: usize) {
        self.tally[outcome as usize] += samples as u64;
    }

    fn refuse(&mut self, refusal: Refusal, samples: usize) {
        self.count(Outcome::Refused, samples);
        self.first_refusal.get_or_insert(refusal);
    }
}

// === impl Outcome ===

impl Outcome {
    fn of(observation: Observation) -> Self {
        match observation {
            Observation::Increment { kind: Growth::Difference, .. } => Self::Increment,
            Observation::Increment { kind: Growth::Reset, .. } => Self::Reset,
            Observation::Increment { kind: Growth::Born, .. } => Self::Born,
            Observation::Baseline(Baseline::First) => Self::Baseline,
            Observation::Baseline(Baseline::Gap) => Self::Gap,
            Observation::Sample => Self::Sample,
            Observation::Stale => Self::StaleMarker,
            Observation::Rejected(Rejection::Duplicate) => Self::Duplicate,
            Observation::Rejected(Rejection::Conflict) => Self::Conflict,
            Observation::Rejected(Rejection::OutOfOrder) => Self::OutOfOrder,
            Observation::Rejected(Rejection::NotFinite) => Self::NotFinite,
            Observation::Rejected(Rejection::Negative) => Self::Negative,
            Observation::Rejected(Rejection::TooLarge) => Self::TooLarge,
        }
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
        }
    }
}
