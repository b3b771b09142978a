//! The sender: blocking sockets, one request in flight per connection, bodies made before.
//!
//! It shares two cores with what it measures, so it does nothing but write, read and note the time.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use super::{
    load::{Load, Request, Scrapes},
    process::{now, wall},
};

/// What came of sending.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) samples: usize,
    /// Bytes sent, and bytes of the messages before snappy.
    pub(crate) bytes: (usize, usize),
    pub(crate) took: Duration,
    /// Of each request, ascending.
    pub(crate) latencies: Vec<Duration>,
    /// How far the time of samples was from the clock when they were sent, in seconds: the latest and the
    /// earliest, behind it being negative.
    pub(crate) event_time: (f64, f64),
}

/// The requests of every connection.
pub(crate) struct Prepared(Vec<Vec<Request>>);

// A stuck receiver ends the benchmark.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Part of the latency of what is refused.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Encodes and compresses everything, on a thread per connection.
pub(crate) fn prepare(load: &Load, address: SocketAddr, scrapes: Scrapes) -> Prepared {
    let host = address.to_string();
    let host = &host;
    thread::scope(|scope| {
        let encoders: Vec<_> = (0..load.connections())
            .map(|connection| scope.spawn(move || load.requests(connection, host, scrapes)))
            .collect();
        Prepared(encoders.into_iter().map(|encoder| encoder.join().expect("encoding cannot fail")).collect())
    })
}

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// As fast as they are answered.
    Full,
    /// At the time of their samples.
    Live,
}

/// Sends everything.
///
/// # Panics
/// When a request is answered neither 204 nor, until it is sent again, 503.
pub(crate) fn send(address: SocketAddr, prepared: &Prepared, pace: Pace) -> Sent {
    let connections = prepared.0.iter().filter(|requests| !requests.is_empty());
    let mut streams: Vec<_> =
        connections.map(|requests| (connect(address), requests.as_slice(), Vec::new())).collect();
    let start = now();
    // A Prometheus with an empty head refuses ("out of bounds") what arrives while it sets the times of the head
    // upon its very first sample, so the first request goes alone.
    if let Some((stream, requests, done)) = streams.first_mut() {
        let (first, rest) = requests.split_first().expect("connections without requests were left out");
        done.push(send_one(stream, first, pace));
        *requests = rest;
    }
    let done: Vec<_> = thread::scope(|scope| {
        let senders: Vec<_> = streams
            .into_iter()
            .map(|(mut stream, requests, mut done)| {
                scope.spawn(move || {
                    done.extend(requests.iter().map(|request| send_one(&mut stream, request, pace)));
                    done
                })
            })
            .collect();
        senders.into_iter().map(|sender| sender.join().expect("a request failed")).collect()
    });
    let took = start.elapsed();
    let requests = || prepared.0.iter().flatten();
    let mut latencies: Vec<Duration> = done.iter().flatten().map(|(latency, _)| *latency).collect();
    latencies.sort_unstable();
    let aheads = || done.iter().flatten().map(|(_, ahead)| *ahead);
    Sent {
        samples: requests().map(|request| request.samples).sum(),
        bytes: (
            requests().map(|request| request.bytes.len()).sum(),
            requests().map(|request| request.decoded).sum(),
        ),
        took,
        latencies,
        event_time: (aheads().fold(f64::INFINITY, f64::min), aheads().fold(f64::NEG_INFINITY, f64::max)),
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the receiver is ready");
    stream.set_nodelay(true).expect("a socket option");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a socket option");
    stream.set_write_timeout(Some(TIMEOUT)).expect("a socket option");
    stream
}

/// Latency of the request, and how far its event time was ahead of the clock when it was answered.
fn send_one(stream: &mut TcpStream, request: &Request, pace: Pace) -> (Duration, f64) {
    if pace == Pace::Live {
        thread::sleep(request.at.since(wall()));
    }
    let start = now();
    stream.write_all(&request.bytes).expect("the receiver reads");
    while !is_accepted(stream) {
        thread::sleep(RETRY_DELAY);
        stream.write_all(&request.bytes).expect("the receiver reads");
    }
    (start.elapsed(), request.at.seconds() - wall().seconds())
}

/// False if it is to be sent again: 503, as a receiver answers whose disk does not keep up.
fn is_accepted(stream: &mut TcpStream) -> bool {
    let mut answer = [0; 4_096];
    let mut length = 0;
    let has_ended = |answer: &[u8]| {
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
        end.is_some_and(|end| answer.len() >= end + 4 + content_length(&answer[..end]))
    };
    while !has_ended(&answer[..length]) {
        let read = stream.read(&mut answer[length..]).expect("the receiver answers");
        length += read;
        let text = String::from_utf8_lossy(&answer[..length]);
        let is_known = ["HTTP/1.1 204", "HTTP/1.1 503"].iter().any(|status| text.starts_with(status));
        assert!(read > 0 && is_known, "not accepted: {text}");
    }
    answer.starts_with(b"HTTP/1.1 204")
}

fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
