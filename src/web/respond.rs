//! One request, one answer.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{
        ACCEPT, ACCEPT_ENCODING, ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
        RETRY_AFTER, VARY,
    },
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Config, SharedService, api, body::Pieces, negotiation};
use crate::{
    ingest::{WriteError, WriteStats},
    prompb::Version,
};

/// What every request needs.
#[derive(Clone, Debug)]
pub(super) struct Responder {
    config: Arc<Config>,
    service: SharedService,
    /// What is left of `concurrent_bytes_max`.
    room: Arc<Semaphore>,
    /// Who may render a page of metrics.
    renderers: Arc<Semaphore>,
    /// Who may have a question worked out.
    askers: Arc<Semaphore>,
}

type Answer = Response<Pieces>;

/// A request that is not served, and why.
#[derive(Debug)]
struct Fault {
    status: StatusCode,
    reason: String,
}

// Prometheus backs off for this long; longer than an evaluation takes, shorter than its own maximum.
const RETRY_AFTER_SECONDS: &str = "1";

/// How much of a remote-write 2.0 request is written: samples, histograms, exemplars.
const WRITTEN_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("x-prometheus-remote-write-samples-written"),
    HeaderName::from_static("x-prometheus-remote-write-histograms-written"),
    HeaderName::from_static("x-prometheus-remote-write-exemplars-written"),
];

const LANDING: &str = "\
slod, a streaming SLO evaluator

POST /api/v1/write   Prometheus remote-write 1.0 and 2.0
GET  /metrics        SLOs and slod itself, Prometheus text format or OpenMetrics
GET  /api/v1/query   queries about them, and the rest of Prometheus' API that reads
GET  /-/healthy      200 while the process runs
GET  /-/ready        200 once SLOs are evaluated
POST /-/reload       reads the specs anew (--web.enable-lifecycle)
";

const LIFECYCLE_IS_OFF: &str = "the lifecycle API is not enabled; start slod with --web.enable-lifecycle \
                                (web.enable_lifecycle), or send it SIGHUP\n";

// === impl Responder ===

impl Responder {
    pub(super) fn new(config: Arc<Config>, service: SharedService) -> Self {
        let room = Arc::new(Semaphore::new(config.concurrent_bytes_max / ROOM_UNIT_BYTES));
        Self {
            config,
            service,
            room,
            renderers: Arc::new(Semaphore::new(RENDERERS)),
            askers: Arc::new(Semaphore::new(ASKERS)),
        }
    }

    pub(super) async fn respond(&self, request: Request<Incoming>) -> Answer {
        let (path, method) = (request.uri().path(), request.method());
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match path {
            "/api/v1/write" if *method == Method::POST => self.write(request).await,
            "/api/v1/write" => not_allowed("POST"),
            "/-/reload" if !self.config.enable_lifecycle => text(StatusCode::FORBIDDEN, LIFECYCLE_IS_OFF),
            "/-/reload" if matches!(*method, Method::POST | Method::PUT) => self.reload().await,
            "/-/reload" => not_allowed("POST, PUT"),
            "/" | "/metrics" | "/-/healthy" | "/-/ready" if !is_read => not_allowed("GET, HEAD"),
            "/" => text(StatusCode::OK, LANDING),
            "/metrics" => self.metrics(request.headers()).await,
            "/-/healthy" => text(StatusCode::OK, "slod is healthy\n"),
            "/-/ready" => self.ready(),
            _ if path.starts_with(API) && (is_read || *method == Method::POST) => self.ask(request).await,
            _ if path.starts_with(API) => not_allowed("GET, HEAD, POST"),
            _ => no_such_page(path),
        }
    }

    /// Rendered away from the threads that serve requests, so that a large page holds up no sender.
    async fn metrics(&self, headers: &HeaderMap) -> Answer {
        let _permit = self.renderers.acquire().await.expect("the semaphore is never closed");
        let service = Arc::clone(&self.service);
        let [accept, encoding] = [ACCEPT, ACCEPT_ENCODING].map(|name| joined(headers, &name));
        let page = tokio::task::spawn_blocking(move || service.metrics(&accept, &encoding)).await;
        match page {
            Ok(page) => {
                let mut answer = Response::new(Pieces::new(page.chunks, page.end));
                let headers = answer.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
                headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
                let encoding = page.content_encoding.map(HeaderValue::from_static);
                headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, encoding)));
                answer
            }
            Err(error) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot render metrics: {error}\n"))
            }
        }
    }

    /// Worked out away from the threads that serve requests, few at a time.
    async fn ask(&self, request: Request<Incoming>) -> Answer {
        let timeout = self.config.read_timeout;
        let question = match api::read(request, timeout).await {
            Ok(question) => question,
            Err((status, reason)) => return Fault::new(status, reason).answer(),
        };
        let Ok(permit) = tokio::time::timeout(timeout, Arc::clone(&self.askers).acquire_owned()).await else {
            let reason =
                format!("{ASKERS} queries at once are the limit, and those take too long; try again");
            return Fault::new(StatusCode::SERVICE_UNAVAILABLE, reason).answer();
        };
        let service = Arc::clone(&self.service);
        let answered = tokio::task::spawn_blocking(move || {
            // Held until it is done, even if nobody waits any more.
            let _permit = permit;
            let reply = service.ask(&question);
            reply.ok_or(question.path)
        });
        match answered.await {
            Ok(Ok(reply)) => json(reply),
            Ok(Err(path)) => no_such_page(&path),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    async fn reload(&self) -> Answer {
        let service = Arc::clone(&self.service);
        let result = tokio::task::spawn_blocking(move || service.reload()).await;
        match result.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(slos) => text(StatusCode::OK, format!("specs reloaded, {slos} SLOs\n")),
            Err(reason) => {
                text(StatusCode::INTERNAL_SERVER_ERROR, format!("failed to reload config: {reason}\n"))
            }
        }
    }

    fn ready(&self) -> Answer {
        match self.service.ready() {
            Ok(()) => text(StatusCode::OK, "slod is ready\n"),
            Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, format!("slod is not ready: {missing}\n")),
        }
    }

    async fn write(&self, request: Request<Incoming>) -> Answer {
        let (answer, duration) = match negotiation::version(request.headers()) {
            Ok(version) => self.write_as(version, request).await,
            Err(reason) => (self.turn_away(&unsupported(reason)), Duration::ZERO),
        };
        self.service.note_write(answer.status().as_u16(), duration);
        answer
    }

    /// The answer, and how long it took once the whole body was there.
    async fn write_as(&self, version: Version, request: Request<Incoming>) -> (Answer, Duration) {
        match self.read_body(request).await {
            Ok(body) => {
                let start = self.service.elapsed();
                let answer = write_answer(version, self.service.write(version, body).await);
                (answer, self.service.elapsed().saturating_sub(start))
            }
            Err(fault) => {
                (with_written(version, WriteStats::default(), self.turn_away(&fault)), Duration::ZERO)
            }
        }
    }

    fn turn_away(&self, fault: &Fault) -> Answer {
        self.service.note_turned_away(&fault.reason);
        fault.answer()
    }

    /// The whole body of a write request, once its headers say that it is one we read.
    async fn read_body(&self, request: Request<Incoming>) -> Result<Bytes, Fault> {
        negotiation::check_encoding(request.headers()).map_err(unsupported)?;
        let bytes_max = self.config.body_bytes_max;
        let declared = request.body().size_hint().lower();
        if declared > bytes_max as u64 {
            return Err(too_large(declared, bytes_max));
        }
        match tokio::time::timeout(self.config.read_timeout, self.read_frames(request.into_body())).await {
            Ok(read) => read,
            Err(_) => Err(Fault::new(StatusCode::SERVICE_UNAVAILABLE, self.too_slow())),
        }
    }

    /// Takes room for what has arrived, not for what is declared: who sends nothing takes nothing.
    async fn read_frames(&self, mut body: Incoming) -> Result<Bytes, Fault> {
        let mut bytes = BytesMut::new();
        let mut room: Option<SemaphorePermit<'_>> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Fault::new(StatusCode::BAD_REQUEST, format!("cannot read the body: {error}"))
            })?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > self.config.body_bytes_max {
                return Err(too_large((bytes.len() + data.len()) as u64, self.config.body_bytes_max));
            }
            bytes.extend_from_slice(&data);
            let missing =
                bytes.len().div_ceil(ROOM_UNIT_BYTES) - room.as_ref().map_or(0, SemaphorePermit::num_permits);
            let more = self.take_room(missing)?;
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
        }
        Ok(bytes.freeze())
    }

    /// Not 408: Prometheus gives up a batch for that, and repeats it for 503.
    fn too_slow(&self) -> String {
        format!("the body did not arrive within {:?} (web.read_timeout); try again", self.config.read_timeout)
    }

    fn take_room(&self, units: usize) -> Result<SemaphorePermit<'_>, Fault> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        self.room.try_acquire_many(units).map_err(|_| {
            let bytes_max = self.config.concurrent_bytes_max;
            let reason =
                format!("bodies of {bytes_max} bytes are on their way, the limit (web.concurrent_bytes_max)");
            Fault::new(StatusCode::SERVICE_UNAVAILABLE, reason)
        })
    }
}

// One page at a time is enough for any number of scrapers, and bounds the memory of pages being made.
const RENDERERS: usize = 1;

// As many as there are processors on a small machine: queries must not take all of them from senders.
const ASKERS: usize = 2;

const API: &str = "/api/v1/";

/// A unit of room for bodies: semaphores count in 32 bits.
const ROOM_UNIT_BYTES: usize = 1_024;

/// 204 for what is counted and 202 for what is left to the other replica, 400 for what no repetition makes
/// better, 503 for what one may.
fn write_answer(version: Version, result: Result<WriteStats, WriteError>) -> Answer {
    let status = match &result {
        Ok(WriteStats { is_deduplicated: false, .. }) => StatusCode::NO_CONTENT,
        Ok(WriteStats { is_deduplicated: true, .. }) => StatusCode::ACCEPTED,
        Err(WriteError::Busy(..) | WriteError::NotKept(_)) => StatusCode::SERVICE_UNAVAILABLE,
        Err(WriteError::Malformed(_) | WriteError::Refused { .. } | WriteError::TooManyClusters(_)) => {
            StatusCode::BAD_REQUEST
        }
    };
    match result {
        Ok(written) => with_written(version, written, empty(status)),
        Err(error) => with_written(version, error.written(), Fault::new(status, error.to_string()).answer()),
    }
}

/// What every answer to a remote-write 2.0 request says, and none to a 1.0 request may: there senders
/// take the header for a partial write (prometheus#17683).
fn with_written(version: Version, written: WriteStats, mut answer: Answer) -> Answer {
    if version == Version::V2 {
        let counts = [written.samples, written.histograms, written.exemplars];
        answer.headers_mut().extend(WRITTEN_HEADERS.into_iter().zip(counts.map(HeaderValue::from)));
    }
    answer
}

fn unsupported(reason: String) -> Fault {
    Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason)
}

/// Not 413: some senders repeat that for ever.
fn too_large(bytes: u64, bytes_max: usize) -> Fault {
    let reason = format!("body of at least {bytes} bytes, the limit is {bytes_max} (web.body_bytes_max)");
    Fault::new(StatusCode::BAD_REQUEST, reason)
}

// === impl Fault ===

impl Fault {
    fn new(status: StatusCode, reason: String) -> Self {
        Self { status, reason }
    }

    fn answer(&self) -> Answer {
        let mut answer = text(self.status, format!("{}\n", self.reason));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        answer
    }
}

/// A list may come in several headers (RFC 9110, 5.3).
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed: {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn no_such_page(path: &str) -> Answer {
    text(StatusCode::NOT_FOUND, format!("no such page: {path}\n"))
}

fn json(reply: api::Reply) -> Answer {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut answer = text(status, reply.json);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::default();
    *answer.status_mut() = status;
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Pieces::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ingest::Refusal, prompb::Error};

    #[track_caller]
    fn check(result: Result<WriteStats, WriteError>, status: u16, written: [&str; 3]) {
        let v1 = write_answer(Version::V1, result.clone());
        let v2 = write_answer(Version::V2, result);
        assert_eq!((v1.status().as_u16(), v2.status().as_u16()), (status, status));
        assert_eq!(v1.headers().contains_key(RETRY_AFTER), status == 503);
        assert_eq!(WRITTEN_HEADERS.map(|name| v2.headers()[name].to_str().unwrap().to_owned()), written);
        assert!(WRITTEN_HEADERS.iter().all(|name| !v1.headers().contains_key(name)));
    }

    #[test]
    fn each_outcome_has_its_answer_and_remote_write_2_its_counts() {
        let written = WriteStats { samples: 3, histograms: 2, exemplars: 1, is_deduplicated: false };
        check(Ok(written), 204, ["3", "2", "1"]);
        check(Ok(WriteStats { is_deduplicated: true, ..written }), 202, ["3", "2", "1"]);
        check(Ok(WriteStats::default()), 204, ["0", "0", "0"]);
        let first = Refusal::NoMetricName("{}".to_owned());
        check(Err(WriteError::Refused { refused: 1, written, first }), 400, ["3", "2", "1"]);
        check(Err(WriteError::Malformed(Error::Snappy(String::new()))), 400, ["0", "0", "0"]);
        check(Err(WriteError::TooManyClusters(1)), 400, ["0", "0", "0"]);
        check(Err(WriteError::Busy(2, 1)), 503, ["0", "0", "0"]);
    }
}
