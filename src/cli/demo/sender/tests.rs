//! The sender against a receiver on loopback that answers what it is told to.

use std::{convert::Infallible, sync::Mutex};

use hyper::{HeaderMap, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

const NOW: Timestamp = Timestamp(1_700_000_000_500);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// Keeps what it gets, and answers with the given statuses in turn, with 204 after the last.
#[derive(Default)]
struct Receiver {
    statuses: Mutex<Vec<u16>>,
    requests: Mutex<Vec<(HeaderMap, Bytes)>>,
}

impl Receiver {
    async fn start(statuses: &[u16]) -> (Arc<Self>, Uri) {
        let statuses = Mutex::new(statuses.iter().rev().copied().collect());
        let receiver = Arc::new(Self { statuses, ..Default::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/api/v1/write", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(Arc::clone(&receiver).serve(listener));
        (receiver, url)
    }

    async fn serve(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let receiver = Arc::clone(&self);
            let answer = service_fn(move |request| Arc::clone(&receiver).answer(request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads its own sender")]
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<String>, Infallible> {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/api/v1/write"));
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        self.requests.lock().unwrap().push((head.headers, body));
        let status = self.statuses.lock().unwrap().pop().unwrap_or(204);
        let text = if status == 204 { "" } else { "try\n" };
        Ok(Response::builder().status(status).body(text.to_owned()).unwrap())
    }

    fn requests(&self) -> Vec<v1::WriteRequest> {
        self.requests.lock().unwrap().iter().map(|(_, body)| decode(body)).collect()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test reads its own sender")]
fn decode(body: &[u8]) -> v1::WriteRequest {
    let plain = snap::raw::Decoder::new().decompress_vec(body).unwrap();
    v1::WriteRequest::decode(&*plain).unwrap()
}

/// Sends what is due at `NOW` after a history of so many seconds.
async fn send(statuses: &[u16], history_seconds: u64) -> (Arc<Receiver>, Progress) {
    let (receiver, url) = Receiver::start(statuses).await;
    let history = Duration::from_secs(history_seconds);
    let (mut sender, progress) = Sender::new(url, Arc::new(FixedClock), history);
    sender.send_due().await;
    let progress = progress.borrow().clone();
    (receiver, progress)
}

#[tokio::test]
async fn a_refused_request_is_sent_again_byte_for_byte() {
    let (receiver, progress) = send(&[503, 503], 10).await;
    let requests = receiver.requests.lock().unwrap();
    let bodies: Vec<&Bytes> = requests.iter().map(|(_, body)| body).collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    let samples = progress.samples_total;
    assert_eq!(
        progress.to_string(),
        format!(
            "sent {samples} samples in 1 requests, 2 sent again, 0 dropped; \
             last error: 503 Service Unavailable: try"
        )
    );
    assert_eq!(samples, decode(bodies[0]).timeseries.len() as u64);
}

#[tokio::test]
async fn a_wrong_request_is_dropped() {
    let (receiver, progress) = send(&[400], 0).await;
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!((progress.requests_total, progress.dropped_total), (0, 1));
    assert_eq!(progress.last_error.as_deref(), Some("400 Bad Request: try"));
}

#[tokio::test]
async fn the_headers_are_those_of_remote_write_1_0() {
    let (receiver, _) = send(&[], 0).await;
    let requests = receiver.requests.lock().unwrap();
    let header = |name: &str| requests[0].0[name].to_str().unwrap();
    assert_eq!(header("content-type"), "application/x-protobuf");
    assert_eq!(header("content-encoding"), "snappy");
    assert_eq!(header("x-prometheus-remote-write-version"), "0.1.0");
    assert!(header("user-agent").starts_with("slod-demo/"));
}

#[tokio::test]
async fn history_arrives_in_order_a_sample_a_second_in_bounded_requests() {
    let (receiver, progress) = send(&[], 120).await;
    let requests = receiver.requests();
    assert!(requests.len() > 1);
    assert_eq!(requests.len() as u64, progress.requests_total);
    assert!(requests.iter().all(|request| request.timeseries.len() < REQUEST_SAMPLES_MAX + 100));
    let series = requests.iter().flat_map(|request| &request.timeseries);
    let up = series.filter(|series| series.labels[0].value == "up");
    let times: Vec<i64> = up.map(|series| series.samples[0].timestamp).collect();
    let expected: Vec<i64> = (0..=120).map(|second| 1_699_999_880_000 + second * 1_000).collect();
    assert_eq!(times, expected);
}

#[test]
fn what_is_encoded_decodes_to_the_same() {
    let mut service = Service::new(1, NOW, NOW);
    service.advance(NOW + Duration::from_secs(60));
    let timeseries = service.series().iter().map(|series| time_series(series, NOW)).collect();
    let request = v1::WriteRequest { timeseries, metadata: vec![] };
    assert_eq!(decode(&encode(&request)), request);
}

#[tokio::test]
async fn an_unreachable_receiver_is_told_with_its_cause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let (sender, _progress) = Sender::new(url, Arc::new(FixedClock), Duration::ZERO);
    let error = sender.post(Bytes::new()).await.unwrap_err();
    assert!(matches!(error, SendError::Retryable(_)));
    assert!(error.to_string().contains("refused"), "{error}");
}
