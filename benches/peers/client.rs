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
/// When a request is not answered 204.
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
    read_answer(stream);
    (start.elapsed(), request.at.seconds() - wall().seconds())
}

fn read_answer(stream: &mut TcpStream) {
    let mut answer = [0; 4_096];
    let mut length = 0;
    while !answer[..length].ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut answer[length..]).expect("the receiver answers");
        length += read;
        let text = String::from_utf8_lossy(&answer[..length]);
        assert!(read > 0 && text.starts_with("HTTP/1.1 204"), "not accepted: {text}");
    }
}
