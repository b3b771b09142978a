//! Errors as Prometheus' API tells them.

use crate::{api::json, web::Reply};

/// Why a request is not answered.
#[derive(Debug)]
pub(super) struct Fault {
    kind: Kind,
    message: String,
}

/// Prometheus' `errorType`.
#[derive(Clone, Copy, Debug)]
enum Kind {
    BadData,
    Execution,
    Timeout,
    Unavailable,
}

// === impl Fault ===

impl Fault {
    /// The request itself is wrong.
    pub(super) fn bad_data(message: impl Into<String>) -> Self {
        Self { kind: Kind::BadData, message: message.into() }
    }

    /// A parameter is.
    pub(super) fn parameter(name: &str, message: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {message}"))
    }

    /// The request is right, and has no answer.
    pub(super) fn execution(message: impl Into<String>) -> Self {
        Self { kind: Kind::Execution, message: message.into() }
    }

    pub(super) fn timeout() -> Self {
        let message = "the query takes too long; ask for fewer series or steps".to_owned();
        Self { kind: Kind::Timeout, message }
    }

    /// The same may have an answer later.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: Kind::Unavailable, message: message.into() }
    }

    pub(super) fn reply(&self) -> Reply {
        Reply { status: self.kind.status(), json: json::error(self.kind.name(), &self.message) }
    }
}

// === impl Kind ===

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
        }
    }

    fn status(self) -> u16 {
        match self {
            Self::BadData => 400,
            Self::Execution => 422,
            Self::Timeout | Self::Unavailable => 503,
        }
    }
}
