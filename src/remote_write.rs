//! The published series, written to other servers by remote-write 1.0.
//!
//! A round is every series of one report, at the event time of that report; [`Rounds`] makes requests of it, and
//! [`Queue`] holds them until they are sent, in their order. Series that are not there any more are ended with a
//! staleness marker, so that nobody sees their last value for five minutes more. This module does no IO and knows no
//! clock: the daemon sends.
//!
//! Invariant: the samples of a series are sent in the order of their times, each once unless the server failed it.

mod queue;
mod rounds;

use std::{collections::BTreeSet, time::Duration};

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};

use crate::{
    client::{self, Failure},
    labels::Labels,
};

pub use queue::{Batch, Queue};
pub use rounds::Rounds;

/// Where to write, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What it is called in metrics and logs.
    pub name: String,
    /// The server; its address is that of the endpoint.
    pub client: client::Config,
    /// How often a report is written.
    pub interval: Duration,
    /// Labels of every series; one that a series has itself is left as it is.
    pub external_labels: Labels,
    /// Families that are not written, beside those that are not published at all.
    pub excluded: BTreeSet<String>,
    /// Whether alerts are written, too, as Prometheus writes those of its rules.
    pub sends_alerts: bool,
    /// The bytes of requests that may wait; beyond that the oldest round is given up.
    pub queue_bytes_max: usize,
}

/// What is to be done about a request that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is not needed any more.
    Sent,
    /// It is refused, and would be again.
    Refused,
    /// It may be taken later, and not before this has passed if the server says so.
    Later(Option<Duration>),
}

/// Of Prometheus' sender: 30 ms, doubled up to 5 s.
const BACKOFF_MIN: Duration = Duration::from_millis(30);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
// A server that asks for more would be asked too seldom to see that it is back.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);

/// What a request says of itself.
pub fn headers() -> Vec<(HeaderName, HeaderValue)> {
    vec![
        (CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf")),
        (CONTENT_ENCODING, HeaderValue::from_static("snappy")),
        (HeaderName::from_static("x-prometheus-remote-write-version"), HeaderValue::from_static("0.1.0")),
    ]
}

/// How long to wait before a request is sent again that failed so often in a row.
pub fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1 << failures.clamp(1, 16) >> 1).min(BACKOFF_MAX)
}

// === impl Verdict ===

impl Verdict {
    /// By the remote-write specification: only what the server or the way to it did wrong is repeated.
    pub fn of<T>(answer: &Result<T, Failure>) -> Self {
        match answer {
            Ok(_) => Self::Sent,
            Err(Failure::Status(refusal)) => match refusal.status.as_u16() {
                429 | 500.. => Self::Later(asked_for(refusal)),
                _ => Self::Refused,
            },
            // The answer to what was taken is of no interest.
            Err(Failure::TooLarge(_)) => Self::Refused,
            Err(_) => Self::Later(None),
        }
    }

    /// What it is called in metrics.
    pub fn outcome(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Later(_) => "failed",
        }
    }
}

fn asked_for(refusal: &client::Refusal) -> Option<Duration> {
    let seconds = refusal.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests;
