//! States as protobuf messages, and back: `proto/state_*.proto`.
//!
//! Core types know no encoding; here is all that does. Every message is complete in itself. This module does not know
//! files, checksums or compression. The invariant: any bytes decode to a state or to an error, and what was encoded to
//! the same state.

mod columns;
pub mod counter;
pub mod engine;
pub mod instances;
pub mod sampling;

/// Types that `build.rs` makes of the messages.
mod generated {
    #![allow(missing_docs, unreachable_pub, clippy::doc_markdown, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/slod.state.v1.rs"));
}

/// Why bytes are no state.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or not of this message.
    #[error("not a message of this kind: {0}")]
    Message(#[from] prost::DecodeError),
    /// A message, but not one that was written here.
    #[error("a message that makes no sense: {0}")]
    Content(String),
}

fn content<T>(reason: impl Into<String>) -> Result<T, DecodeError> {
    Err(DecodeError::Content(reason.into()))
}
