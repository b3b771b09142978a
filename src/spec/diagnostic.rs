//! What a reader has to say about a spec.

use std::fmt;

use super::Location;

/// A remark on a place in a spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as the caller named it.
    pub path: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is wrong, and the way out.
    pub message: String,
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The SLO is not used.
    Error,
    /// The SLO is used, but maybe not as meant.
    Warning,
}

// === impl Diagnostic ===

impl Diagnostic {
    /// An error that concerns a file as a whole.
    pub fn of_file(path: &str, message: String) -> Self {
        Self { severity: Severity::Error, path: path.to_owned(), line: 0, column: 0, message }
    }

    /// Whether something is not served because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// An error at a place in a file.
    pub fn error(at: &Location, message: String) -> Self {
        Self { severity: Severity::Error, ..Self::warning(&at.path, at.line, at.column, message) }
    }

    /// A warning at a place in a file.
    pub fn warning_at(at: &Location, message: String) -> Self {
        Self::warning(&at.path, at.line, at.column, message)
    }

    pub(super) fn warning(path: &str, line: u32, column: u32, message: String) -> Self {
        Self { severity: Severity::Warning, path: path.to_owned(), line, column, message }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { severity, path, line, column, message } = self;
        match line {
            0 => write!(f, "{path}: {severity}: {message}"),
            _ => write!(f, "{path}:{line}:{column}: {severity}: {message}"),
        }
    }
}

// === impl Severity ===

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}
