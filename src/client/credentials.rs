//! Who asks. What is secret is never shown.

use std::{fmt, fs, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::header::HeaderValue;

/// The header `Authorization`.
#[derive(Clone, Debug, PartialEq)]
pub enum Credentials {
    /// A user and a password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token of some scheme, such as `Bearer`.
    Token {
        /// The scheme.
        scheme: String,
        /// The token.
        token: Secret,
    },
}

/// A text that is not shown.
#[derive(Clone, PartialEq)]
pub enum Secret {
    /// The text itself.
    Text(String),
    /// The file that holds it, read at each use because it may be renewed; white space around it is left out.
    File(PathBuf),
}

// === impl Credentials ===

impl Credentials {
    /// The value of the header, or why there is none.
    pub(super) fn header(&self) -> Result<HeaderValue, String> {
        let text = match self {
            Self::Basic { username, password } => {
                format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{}", password.read()?)))
            }
            Self::Token { scheme, token } => format!("{scheme} {}", token.read()?),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| "the token is no text for a header")?;
        value.set_sensitive(true);
        Ok(value)
    }
}

// === impl Secret ===

impl Secret {
    /// The text, or why there is none.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn read(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(file) => {
                let text = fs::read_to_string(file)
                    .map_err(|error| format!("cannot read the secret in {}: {error}", file.display()))?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("<secret>"),
            Self::File(file) => write!(f, "<secret in {}>", file.display()),
        }
    }
}
