//! The HTTP side: the write receiver, `/metrics`, the API that reads, and the life-cycle endpoints.
//!
//! Knows requests and answers, not what is behind them: the daemon implements [`Service`]. Bodies,
//! header sections, connections and the time a client may take are bounded.

mod api;
mod body;
mod negotiation;
mod respond;
mod server;

use std::{fmt::Debug, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    ingest::{WriteError, WriteStats},
    prompb::Version,
};

pub use api::{Question, Reply};
pub use server::Server;

/// What is served.
pub trait Service: Debug + Send + Sync + 'static {
    /// Counts a remote-write body at once; what it gives is there once the effect is as durable as promised.
    fn write(&self, version: Version, body: Bytes) -> Writing<'_>;

    /// Notes that a write request was turned away before its body was looked at, and why.
    fn note_turned_away(&self, reason: &str);

    /// Notes how a write request was answered.
    fn note_write(&self, status: u16, duration: Duration);

    /// What `/metrics` shows whom, by the headers `Accept` and `Accept-Encoding`. Takes its time.
    fn metrics(&self, accept: &str, accept_encoding: &str) -> Page;

    /// Reads the specs anew and puts them in force. Returns how many SLOs there are. Takes its time.
    ///
    /// # Errors
    /// Why those before stay in force.
    fn reload(&self) -> Result<usize, String>;

    /// Answers a request to a path below `/api/v1/`; `None` if there is no such path. Takes its time.
    fn ask(&self, question: &Question) -> Option<Reply>;

    /// Whether evaluations run; else why not yet.
    ///
    /// # Errors
    /// What is missing.
    fn ready(&self) -> Result<(), String>;

    /// Time since some fixed moment, for measuring.
    fn elapsed(&self) -> Duration;
}

/// What becomes of a remote-write body.
pub type Writing<'a> = Pin<Box<dyn Future<Output = Result<WriteStats, WriteError>> + Send + 'a>>;

/// A page and its media type.
#[derive(Clone, Debug)]
pub struct Page {
    /// The value of the header `Content-Type`.
    pub content_type: &'static str,
    /// The value of the header `Content-Encoding`, if it is compressed.
    pub content_encoding: Option<&'static str>,
    /// One after the other they are the page but for its end, which other answers may share.
    pub chunks: Arc<Vec<Bytes>>,
    /// Its end.
    pub end: Bytes,
}

/// Where to listen, and the bounds of what comes in.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub listen_address: SocketAddr,
    /// The most bytes of a compressed body. A larger one is answered 400.
    pub body_bytes_max: usize,
    /// How long a client may take to send a request, or let its answer wait.
    pub read_timeout: Duration,
    /// The most connections open at once. Further ones wait to be accepted.
    pub connections_max: usize,
    /// The most bytes of bodies being received at once. Further requests are answered 503. Bytes and not
    /// requests, so that slow senders of small bodies shut nobody out.
    pub concurrent_bytes_max: usize,
    /// Whether `/-/reload` does anything. Off unless asked for, as in Prometheus: whoever reaches the address may
    /// call it.
    pub enable_lifecycle: bool,
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            listen_address: SocketAddr::from(([0, 0, 0, 0], 9720)),
            // As large as what it may unpack to: real bodies are a tenth of that.
            body_bytes_max: 32 << 20,
            // As long as Prometheus' default remote_timeout; it has given up by then.
            read_timeout: Duration::from_secs(30),
            // As Prometheus' --web.max-connections.
            connections_max: 512,
            // Thousands of usual bodies (50 KB), a few of the largest.
            concurrent_bytes_max: 256 << 20,
            enable_lifecycle: false,
        }
    }
}

/// A service that requests share.
pub type SharedService = Arc<dyn Service>;
