//! One request, one answer.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Body, Incoming},
    header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Config, SharedService};
use crate::ingest::WriteError;

/// What every request needs.
#[derive(Clone, Debug)]
pub(super) struct Responder {
    config: Arc<Config>,
    service: SharedService,
    /// What is left of `concurrent_bytes_max`.
    room: Arc<Semaphore>,
    /// Who may render a page of metrics.
    renderers: Arc<Semaphore>,
}

type Answer = Response<Full<Bytes>>;

/// A request that is not served, and why.
#[derive(Debug)]
struct Fault {
    status: StatusCode,
    reason: String,
}

// Prometheus backs off for this long; longer than an evaluation takes, shorter than its own maximum.
const RETRY_AFTER_SECONDS: &str = "1";

const LANDING: &str = "\
slod, a streaming SLO evaluator

POST /api/v1/write   Prometheus remote-write 1.0
GET  /metrics        SLOs and slod itself, Prometheus text format
GET  /-/healthy      200 while the process runs
GET  /-/ready        200 once SLOs are evaluated
";

// === impl Responder ===

impl Responder {
    pub(super) fn new(config: Arc<Config>, service: SharedService) -> Self {
        let room = Arc::new(Semaphore::new(config.concurrent_bytes_max / ROOM_UNIT_BYTES));
        Self { config, service, room, renderers: Arc::new(Semaphore::new(RENDERERS)) }
    }

    pub(super) async fn respond(&self, request: Request<Incoming>) -> Answer {
        let (path, method) = (request.uri().path(), request.method());
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        match path {
            "/api/v1/write" if *method == Method::POST => self.write(request).await,
            "/api/v1/write" => not_allowed("POST"),
            "/" | "/metrics" | "/-/healthy" | "/-/ready" if !is_read => not_allowed("GET, HEAD"),
            "/" => text(StatusCode::OK, LANDING),
            "/metrics" => self.metrics().await,
            "/-/healthy" => text(StatusCode::OK, "slod is healthy\n"),
            "/-/ready" => self.ready(),
            _ => text(StatusCode::NOT_FOUND, format!("no such page: {path}\n")),
        }
    }

    /// Rendered away from the threads that serve requests, so that a large page holds up no sender.
    async fn metrics(&self) -> Answer {
        let _permit = self.renderers.acquire().await.expect("the semaphore is never closed");
        let service = Arc::clone(&self.service);
        let page = tokio::task::spawn_blocking(move || service.metrics()).await;
        match page.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(page) => {
                let mut answer = text(StatusCode::OK, page.text);
                let content_type = HeaderValue::from_static(page.content_type);
                answer.headers_mut().insert(CONTENT_TYPE, content_type);
                answer
            }
            Err(reason) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")),
        }
    }

    fn ready(&self) -> Answer {
        match self.service.ready() {
            Ok(()) => text(StatusCode::OK, "slod is ready\n"),
            Err(missing) => text(StatusCode::SERVICE_UNAVAILABLE, format!("slod is not ready: {missing}\n")),
        }
    }

    async fn write(&self, request: Request<Incoming>) -> Answer {
        let (answer, duration) = match self.read_body(request).await {
            Ok(body) => {
                let start = self.service.elapsed();
                let answer = write_answer(self.service.write_v1(body));
                (answer, self.service.elapsed().saturating_sub(start))
            }
            Err(fault) => (fault.answer(), Duration::ZERO),
        };
        self.service.note_write(answer.status().as_u16(), duration);
        answer
    }

    /// The whole body of a write request, once its headers say that it is one we read.
    async fn read_body(&self, request: Request<Incoming>) -> Result<Bytes, Fault> {
        check_headers(request.headers())?;
        let bytes_max = self.config.body_bytes_max;
        let declared = request.body().size_hint().lower();
        if declared > bytes_max as u64 {
            return Err(too_large(declared, bytes_max));
        }
        match tokio::time::timeout(self.config.read_timeout, self.read_frames(request.into_body())).await {
            Ok(read) => read,
            Err(_) => Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time".into())),
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

/// A unit of room for bodies: semaphores count in 32 bits.
const ROOM_UNIT_BYTES: usize = 1_024;

/// Content-Type and Content-Encoding decide the protocol, before the body is looked at (remote-write
/// specification 2.0, "Protocol"). Absent ones mean remote-write 1.0 with snappy, as in Prometheus.
fn check_headers(headers: &HeaderMap) -> Result<(), Fault> {
    let unsupported = |reason| Fault::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, reason);
    if let Some(encoding) = headers.get(CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"snappy")
    {
        return Err(unsupported(format!(
            "content encoding {encoding:?} is not supported; send snappy (block format)"
        )));
    }
    if let Some(content_type) = headers.get(CONTENT_TYPE)
        && !is_write_v1(content_type.to_str().unwrap_or(""))
    {
        return Err(unsupported(format!(
            "content type {content_type:?} is not supported; send application/x-protobuf;proto=prometheus.WriteRequest (remote-write 1.0)"
        )));
    }
    Ok(())
}

/// Whether a media type is a remote-write 1.0 request. Parameters as RFC 9110 writes them: blanks around
/// `;`, values in quotes.
fn is_write_v1(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let is_protobuf = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("application/x-protobuf"));
    let message = parts.filter_map(|parameter| parameter.split_once('=')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
    });
    is_protobuf && message.is_none_or(|message| message == "prometheus.WriteRequest")
}

/// 400 for what no repetition makes better, 503 for what one may.
fn write_answer(result: Result<impl Sized, WriteError>) -> Answer {
    match result {
        Ok(_) => empty(StatusCode::NO_CONTENT),
        Err(error @ WriteError::Busy(..)) => {
            Fault::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).answer()
        }
        Err(error @ (WriteError::Malformed(_) | WriteError::Refused { .. })) => {
            Fault::new(StatusCode::BAD_REQUEST, error.to_string()).answer()
        }
    }
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

    fn answer(self) -> Answer {
        let mut answer = text(self.status, format!("{}\n", self.reason));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        answer
    }
}

fn not_allowed(allowed: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("allowed: {allowed}\n"));
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::default();
    *answer.status_mut() = status;
    answer
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_remote_write_1_is_taken_for_it() {
        for content_type in [
            "application/x-protobuf",
            "application/x-protobuf;proto=prometheus.WriteRequest",
            "Application/X-Protobuf; proto=\"prometheus.WriteRequest\"",
            "application/x-protobuf; charset=x",
        ] {
            assert!(is_write_v1(content_type), "{content_type}");
        }
        for content_type in [
            "application/json",
            "application/x-protobuf;proto=io.prometheus.write.v2.Request",
            "application/x-protobuf; proto=io.prometheus.write.v2.Request",
            "",
        ] {
            assert!(!is_write_v1(content_type), "{content_type}");
        }
    }
}
