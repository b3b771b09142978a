//! The messages that state is kept in, and how plain states become them.
//!
//! One module for each part of the state. The messages are those of `proto/state_*.proto`; what wraps them on disk is
//! [`state`](super::state)'s. Invariant: whatever bytes are decoded, the outcome is a state or an error.

pub mod instances;

/// The generated types.
#[allow(missing_docs, clippy::doc_markdown, reason = "generated from proto/, which says what they are")]
pub mod generated {
    include!(concat!(env!("OUT_DIR"), "/slod.state.v1.rs"));
}

/// Why bytes are no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

// === impl DecodeError ===

impl From<prost::DecodeError> for DecodeError {
    fn from(error: prost::DecodeError) -> Self {
        Self(error.to_string())
    }
}
