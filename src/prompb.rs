//! The remote-write wire format: capped snappy, and a walk over the protobuf that borrows from the body.
//!
//! [`Request::read`] reads a whole request before anything is done with it, so that a truncated body has
//! no effect. It yields places in the body, and a hash that stands for the labels of each series: whoever
//! meets a series the second time knows it by that, and only a stranger's labels are decoded and checked.
//! The types that prost generates from `proto/` are for senders (the demo, tests) and the oracle that the
//! walk is tested against.
//!
//! This module does not know SLOs, series or counters.

pub mod generated;
mod request;
mod sample;
mod snappy;
mod v1;
mod v2;
mod wire;
mod write;

pub use request::{EncodedHistogram, RawLabel, Request, SeriesView, hash_labels};
pub use snappy::decompress;
pub use write::{Writer, encode_labels};

/// The version of the protocol that a body is written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// Remote-write 1.0.
    #[default]
    V1,
    /// Remote-write 2.0.
    V2,
}

/// Why a body is no write request. All of these are the sender's fault: repeating the request is vain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not snappy's block format.
    #[error("body is not in snappy block format: {0}")]
    Snappy(String),
    /// Would be too large.
    #[error("body declares {declared} bytes after snappy, the limit is {limit} (limits.decoded_bytes_max)")]
    TooLarge {
        /// What the body declares.
        declared: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not protobuf, or not of this schema.
    #[error("body is not a write request: {what} at byte {at} of {of}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where in the message.
        at: usize,
        /// How long the message is.
        of: usize,
    },
    /// The labels of a series of a 2.0 request are not there. The others can be read.
    #[error(transparent)]
    References(#[from] BadReferences),
}

/// Why a series of a 2.0 request has no labels.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReferences {
    /// A name without a value.
    #[error("series of metric {metric:?} has {references} label references; they go in pairs")]
    Odd {
        /// Its metric name, as far as it can be told.
        metric: String,
        /// How many references it has.
        references: usize,
    },
    /// Beyond the symbols.
    #[error("series of metric {metric:?} refers to symbol {reference}, the request has {symbols}")]
    NoSuchSymbol {
        /// Its metric name, as far as it can be told.
        metric: String,
        /// To what it refers.
        reference: u32,
        /// How many symbols there are.
        symbols: usize,
    },
}

/// A sample: a value at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// The value; staleness markers are a NaN of their own.
    pub value: f64,
    /// When the counter was at zero, in milliseconds since the Unix epoch; 0 if the sender does not say.
    pub start_ms: i64,
}

// === impl Version ===

impl Version {
    /// The full name of its protobuf message, by which requests name it.
    pub fn message(self) -> &'static str {
        match self {
            Self::V1 => "prometheus.WriteRequest",
            Self::V2 => "io.prometheus.write.v2.Request",
        }
    }
}
