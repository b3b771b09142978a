//! What goes wrong with a log, for whoever sends, waits or starts slod.

use std::{io, sync::Arc};

use super::{Sequence, segment};

/// Why requests are not accepted. Their senders should repeat them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The disk does not take them.
    #[error("the log cannot be written: {reason}; it is tried again within 30 s")]
    Failed {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// The disk does not take them fast enough.
    #[error(
        "{bytes} bytes wait to be written to the log, the limit is {limit}; storage.path is on a disk that is too slow"
    )]
    QueueFull {
        /// Bytes of bodies that wait.
        bytes: usize,
        /// How many may.
        limit: usize,
    },
    /// The disk has hardly any space left.
    #[error(
        "{free} bytes are free on the disk of storage.path, the limit is {limit} (storage.free_bytes_min)"
    )]
    DiskFull {
        /// What is free.
        free: u64,
        /// What must be.
        limit: u64,
    },
    /// It is shutting down.
    #[error("the log is closed, slod is shutting down")]
    Closed,
}

/// Why a record is not in the log, or not for sure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// A write or sync failed.
    #[error("cannot write the log: {0}")]
    Failed(Arc<str>),
    /// A length of 32 bits does not hold it.
    #[error("a body of {0} bytes does not go into the log, the limit is 4294967295 (web.body_bytes_max)")]
    TooLarge(usize),
    /// It was closed.
    #[error("the log is closed")]
    Closed,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read.
    #[error("cannot read {name} (storage.path): {source}")]
    Io {
        /// The file.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A file of another program.
    #[error("{name} (storage.path) is no segment of a log; move it elsewhere")]
    Foreign {
        /// The file.
        name: String,
    },
    /// A file with another's name.
    #[error("{name} (storage.path) begins with sequence {}; give it back the name {}", .first.0, segment::name_of(*.first))]
    Misnamed {
        /// The file.
        name: String,
        /// What it begins with.
        first: Sequence,
    },
    /// A file of a later version of slod.
    #[error(
        "{name} (storage.path) has format {version}, this slod reads up to {supported}; run the one that wrote it"
    )]
    Newer {
        /// The file.
        name: String,
        /// Its format.
        version: u32,
        /// The newest format that is known.
        supported: u32,
    },
}
