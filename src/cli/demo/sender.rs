//! A remote-write 1.0 sender, as Prometheus is one: it scrapes the simulated service every second and
//! posts the samples over HTTP.
//!
//! It keeps a real sender's manners. A request that meets a 5xx or no answer is sent again, byte for
//! byte, until it is taken; one that meets a 4xx is dropped, as sending it again would not help. What
//! became due meanwhile follows in its own time stamps, several scrapes to a request.
//!
//! It does not know the daemon: all they share is a URL.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode, Uri,
    body::Incoming,
    header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use prost::Message;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use super::service::{Phase, Series, Service};
use crate::{
    client::with_causes,
    prompb::generated::v1,
    time::{Clock, Timestamp},
};

/// Sends the samples of a [`Service`] that it owns. Dropping the future of [`run`](Self::run) stops it.
pub struct Sender {
    client: Client<HttpConnector, Full<Bytes>>,
    url: Uri,
    clock: Arc<dyn Clock>,
    service: Service,
    next_scrape: Timestamp,
    progress: watch::Sender<Progress>,
}

/// What the sender did so far, as it saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Where the simulated service is in its script.
    pub phase: Phase,
    /// Requests that were taken.
    pub requests_total: u64,
    /// The samples in them.
    pub samples_total: u64,
    /// How often a request was sent again.
    pub retries_total: u64,
    /// Requests given up because the receiver called them wrong.
    pub dropped_total: u64,
    /// Why the last retry or drop happened.
    pub last_error: Option<String>,
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error("{0}")]
    Retryable(String),
    #[error("{0}")]
    Final(String),
}

const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);

// Prometheus' defaults: queue_config min_backoff, max_backoff, max_samples_per_send, remote_timeout.
const BACKOFF_MIN: Duration = Duration::from_millis(30);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
const REQUEST_SAMPLES_MAX: usize = 2_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

// A Prometheus keeps about two hours in its log; what is older when the receiver returns is lost.
const BACKLOG_MAX: Duration = Duration::from_secs(2 * 3_600);

// The seed is fixed, so that every demonstration shows the same traffic.
const SEED: u64 = 1;

// An error message longer than this is none for a screen.
const ERROR_BYTES_MAX: usize = 4_096;

// === impl Sender ===

impl Sender {
    /// A sender to `url`, whose service has already run for `history`, healthily. That comes first, like
    /// the backlog of a Prometheus whose receiver was away.
    pub fn new(url: Uri, clock: Arc<dyn Clock>, history: Duration) -> (Self, watch::Receiver<Progress>) {
        let now = clock.now();
        let start = now.floor(SCRAPE_INTERVAL) - history;
        let service = Service::new(SEED, start, now);
        let (progress, watched) = watch::channel(Progress::new(service.phase()));
        let client = Client::builder(TokioExecutor::new()).build_http();
        (Self { client, url, clock, service, next_scrape: start, progress }, watched)
    }

    /// Scrapes and sends every second until the future is dropped.
    pub async fn run(mut self) {
        let mut every_second = interval(SCRAPE_INTERVAL);
        every_second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            every_second.tick().await;
            self.send_due().await;
        }
    }

    async fn send_due(&mut self) {
        let now = self.clock.now();
        self.next_scrape = self.next_scrape.max(now.floor(SCRAPE_INTERVAL) - BACKLOG_MAX);
        while self.next_scrape <= now {
            let request = self.next_request(now);
            self.progress.send_modify(|progress| progress.phase = self.service.phase());
            self.deliver(encode(&request), request.timeseries.len() as u64).await;
        }
    }

    /// The scrapes that are due, as many as fit into one request.
    fn next_request(&mut self, now: Timestamp) -> v1::WriteRequest {
        let mut request = v1::WriteRequest::default();
        while self.next_scrape <= now && request.timeseries.len() < REQUEST_SAMPLES_MAX {
            let at = self.next_scrape;
            self.service.advance(at);
            request.timeseries.extend(self.service.series().iter().map(|series| time_series(series, at)));
            self.next_scrape = at + SCRAPE_INTERVAL;
        }
        request
    }

    async fn deliver(&self, body: Bytes, samples: u64) {
        let mut backoff = BACKOFF_MIN;
        while let Err(error) = self.post(body.clone()).await {
            self.progress.send_modify(|progress| progress.note(&error));
            if matches!(error, SendError::Final(_)) {
                return;
            }
            sleep(backoff).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
        self.progress.send_modify(|progress| {
            progress.requests_total += 1;
            progress.samples_total += samples;
        });
    }

    async fn post(&self, body: Bytes) -> Result<(), SendError> {
        let request = write_request(&self.url, body)?;
        match timeout(REQUEST_TIMEOUT, self.client.request(request)).await {
            Err(_) => Err(SendError::Retryable(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))),
            Ok(Err(error)) => Err(SendError::Retryable(with_causes(&error))),
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(refusal(response.status(), response.into_body()).await),
        }
    }
}

fn write_request(url: &Uri, body: Bytes) -> Result<Request<Full<Bytes>>, SendError> {
    Request::post(url)
        .header(CONTENT_TYPE, "application/x-protobuf")
        .header(CONTENT_ENCODING, "snappy")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .header(USER_AGENT, concat!("slod-demo/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(body))
        .map_err(|error| SendError::Final(error.to_string()))
}

async fn refusal(status: StatusCode, body: Incoming) -> SendError {
    #[expect(clippy::disallowed_methods, reason = "bounded by `Limited`")]
    let text = Limited::new(body, ERROR_BYTES_MAX).collect().await.map(|body| body.to_bytes());
    let text = text.unwrap_or_default();
    let message = format!("{status}: {}", String::from_utf8_lossy(&text).trim());
    if status.is_server_error() { SendError::Retryable(message) } else { SendError::Final(message) }
}

/// Protobuf in snappy's block format, as remote-write 1.0 has it.
fn encode(request: &v1::WriteRequest) -> Bytes {
    let plain = request.encode_to_vec();
    let compressed = snap::raw::Encoder::new().compress_vec(&plain);
    compressed.expect("at most 2,000 samples and one scrape are far below snappy's 4 GiB").into()
}

fn time_series(series: &Series, at: Timestamp) -> v1::TimeSeries {
    let label = |&(name, value): &(&str, &str)| v1::Label { name: name.to_owned(), value: value.to_owned() };
    v1::TimeSeries {
        labels: series.labels.iter().map(label).collect(),
        samples: vec![v1::Sample { value: series.value, timestamp: at.0 }],
        ..Default::default()
    }
}

// === impl Progress ===

impl Progress {
    fn new(phase: Phase) -> Self {
        Self {
            phase,
            requests_total: 0,
            samples_total: 0,
            retries_total: 0,
            dropped_total: 0,
            last_error: None,
        }
    }

    fn note(&mut self, error: &SendError) {
        match error {
            SendError::Retryable(_) => self.retries_total += 1,
            SendError::Final(_) => self.dropped_total += 1,
        }
        self.last_error = Some(error.to_string());
    }
}

impl std::fmt::Display for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { requests_total, samples_total, retries_total, dropped_total, .. } = self;
        write!(f, "sent {samples_total} samples in {requests_total} requests")?;
        write!(f, ", {retries_total} sent again, {dropped_total} dropped")?;
        self.last_error.iter().try_for_each(|error| write!(f, "; last error: {error}"))
    }
}

#[cfg(test)]
mod tests;
