//! A client of a server with Prometheus' HTTP API: Prometheus itself, Thanos, Mimir, VictoriaMetrics.
//!
//! It asks what an expression says at a moment, or at the steps of a range, what values a label has, and for the
//! samples of the past ([`Source::read`]). Every request has a time limit and every answer a limit of bytes; what goes wrong is told with the server, the
//! query and the server's own words. It does not know SLOs, keeps nothing of what it was told, and does not ask
//! again by itself. A server that has only a part of the answer is asked to refuse.
//!
//! The invariant: secrets are in requests only, never in errors, logs or `Debug`.

mod answer;
mod read;
mod remote_read;

use std::{sync::atomic::AtomicBool, time::Duration};

use bytes::Bytes;
use hyper::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    http::response::Parts,
};

use crate::{
    client::{self, Address, AddressError, CertificateError, Client, Failure, Question, Refusal, Tls},
    labels::Labels,
    time::{Timestamp, millis},
};

pub use read::{Piece, Pieces, pause_after};

/// Which server, and how it is talked to.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What it is called in metrics, logs and errors.
    pub name: String,
    /// Where it is, and who asks.
    pub server: client::Config,
    /// What a Prometheus adds to series that it sends, but not to those that queries find.
    pub external_labels: Labels,
}

/// A server that may be asked. Cheap to share; its connections are kept and used again.
#[derive(Debug)]
pub struct Source {
    config: Config,
    client: Client,
    /// It does not offer remote-read. Each request may find out by itself, so that orderings are relaxed.
    lacks_remote_read: AtomicBool,
}

/// What an expression says at a moment, by labels. Those of `__name__` are among them.
pub type Vector = Vec<(Labels, f64)>;

/// What an expression says at the steps of a range, by labels; a step without a value is left out.
pub type Matrix = Vec<(Labels, Vec<(Timestamp, f64)>)>;

/// A request without a usable answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("cannot ask {name} at {address} for {query:?}: {reason}")]
pub struct Error {
    /// The source.
    pub name: String,
    /// Its address.
    pub address: String,
    /// What was asked.
    pub query: String,
    /// Why there is no answer.
    pub reason: Reason,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// It took too long.
    #[error("no answer within {} (timeout)", crate::time::format_duration(*.0))]
    Timeout(Duration),
    /// There is no connection, or it ended.
    #[error("cannot reach it: {0}")]
    Unreachable(String),
    /// A file of a secret cannot be read.
    #[error("{0}")]
    Credentials(String),
    /// It does not know who asks, or does not let them.
    #[error("it refuses the credentials with status {status}: {message}")]
    Unauthorized {
        /// 401 or 403.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The query cannot be answered, however often it is asked.
    #[error("it refuses the query with status {status}: {message}")]
    Refused {
        /// The status of the answer.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// It failed.
    #[error("it failed with status {status}: {message}")]
    Failed {
        /// The status of the answer.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The answer is longer than it may be.
    #[error("the answer has more than {0} bytes; aggregate by fewer labels")]
    TooLarge(usize),
    /// The answer has more samples than it may have.
    #[error("the answer has more than {0} samples; ask for less time")]
    TooManySamples(usize),
    /// The answer is not one of Prometheus' API.
    #[error("the answer is not one of Prometheus' API: {0}; url must be that before /api/v1")]
    Malformed(String),
    /// The answer is not of numbers.
    #[error("the answer is of no use: {0}")]
    Unusable(String),
    /// The answer lacks what some servers behind the source have.
    #[error("the answer is partial: {0}")]
    Partial(String),
}

// A group takes some 200 bytes in an answer, so this is a moment of 80,000 groups: more than an SLO may have.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
// Prometheus' own default is two minutes, which no step of a pulled SLO can wait for.
const TIMEOUT: Duration = Duration::from_secs(10);

const FORM_HEADERS: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/x-www-form-urlencoded")];

/// The address of a server: its URL up to `/api/v1`.
///
/// # Errors
/// When the text is none.
pub fn address(text: &str) -> Result<Address, AddressError> {
    let address: Address = text.parse()?;
    if address.prefix().ends_with("/api/v1") {
        return Err(AddressError("it ends in /api/v1, which slod adds itself".to_owned()));
    }
    Ok(address)
}

// === impl Config ===

impl Config {
    /// The server of an address, with the usual limits, and who the address says that asks.
    pub fn new(name: &str, address: Address) -> Self {
        let server = client::Config {
            credentials: address.credentials().cloned(),
            address,
            headers: Vec::new(),
            tls: Tls::default(),
            timeout: TIMEOUT,
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        Self { name: name.to_owned(), server, external_labels: Labels::default() }
    }
}

// === impl Source ===

impl Source {
    /// A client; connects when it is asked.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub fn new(config: Config) -> Result<Self, CertificateError> {
        let client = Client::new(config.server.clone())?;
        Ok(Self { config, client, lacks_remote_read: AtomicBool::new(false) })
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    /// What an expression says at a moment.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn query(&self, expression: &str, at: Timestamp) -> Result<Vector, Error> {
        let form = self.form(expression, &[("time", seconds(at))]);
        let body = self.ask("query", expression, form).await?;
        answer::vector(&body).map_err(|reason| self.error(expression, reason))
    }

    /// What an expression says at `start` and at every step after it, up to `end`.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn query_range(
        &self,
        expression: &str,
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    ) -> Result<Matrix, Error> {
        let step = seconds(Timestamp(millis(step)));
        let range = [("start", seconds(start)), ("end", seconds(end)), ("step", step)];
        let body = self.ask("query_range", expression, self.form(expression, &range)).await?;
        answer::matrix(&body).map_err(|reason| self.error(expression, reason))
    }

    /// All values of a label in a time, in no certain order.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub async fn label_values(
        &self,
        label: &str,
        start: Timestamp,
        end: Timestamp,
    ) -> Result<Vec<String>, Error> {
        let name = encoded(label);
        let query = form_of(&[("start", seconds(start)), ("end", seconds(end))]);
        let path = format!("label/{name}/values?{query}");
        let body = self.ask(&path, label, String::new()).await?;
        answer::values(&body).map_err(|reason| self.error(label, reason))
    }

    fn form(&self, expression: &str, more: &[(&str, String)]) -> String {
        let timeout = format!("{}ms", self.config.server.timeout.as_millis());
        // Thanos and VictoriaMetrics answer with what they have unless told otherwise; others ignore it.
        let common = [
            ("query", expression.to_owned()),
            ("timeout", timeout),
            ("partial_response", "false".to_owned()),
            ("deny_partial_response", "1".to_owned()),
            // VictoriaMetrics fits ranges to its cache otherwise.
            ("nocache", "1".to_owned()),
        ];
        form_of(&[&common, more].concat())
    }

    /// The body of a good answer. Without a form it is a GET.
    async fn ask(&self, path: &str, query: &str, form: String) -> Result<Bytes, Error> {
        let headers = if form.is_empty() { &[][..] } else { &FORM_HEADERS };
        let answer = self.exchange(path, headers, form.into()).await;
        answer.map(|(_, body)| body).map_err(|reason| self.error(query, reason))
    }

    /// A good answer. Without a body it is a GET.
    async fn exchange(
        &self,
        path: &str,
        headers: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> Result<(Parts, Bytes), Reason> {
        let method = if body.is_empty() { Method::GET } else { Method::POST };
        let path = &format!("/api/v1/{path}");
        let headers = headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let question = Question { method, path, headers: headers.collect(), body };
        self.client.ask(question).await.map_err(Reason::from)
    }

    fn error(&self, query: &str, reason: Reason) -> Error {
        let Config { name, server: client::Config { address, .. }, .. } = &self.config;
        Error { name: name.clone(), address: address.to_string(), query: query.to_owned(), reason }
    }
}

fn refusal(refusal: &Refusal) -> Reason {
    let said = || answer::error(&refusal.body);
    let message = refusal.moved().or_else(said).unwrap_or_else(|| refusal.message());
    let status = refusal.status.as_u16();
    match refusal.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Unauthorized { status, message },
        // Prometheus says 422 of what it cannot execute, such as a match of many to many.
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Reason::Refused { status, message },
        _ => Reason::Failed { status, message },
    }
}

fn form_of(pairs: &[(&str, String)]) -> String {
    let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// Unix seconds with milliseconds, as the API takes times and steps.
fn seconds(at: Timestamp) -> String {
    let sign = if at.0 < 0 { "-" } else { "" };
    let (whole, part) = (at.0.unsigned_abs() / 1_000, at.0.unsigned_abs() % 1_000);
    format!("{sign}{whole}.{part:03}")
}

// === impl Reason ===

impl From<Failure> for Reason {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Timeout(after) => Self::Timeout(after),
            Failure::Unreachable(error) => Self::Unreachable(error),
            Failure::Credentials(error) => Self::Credentials(error),
            Failure::TooLarge(limit) => Self::TooLarge(limit),
            Failure::Status(status) => refusal(&status),
        }
    }
}

impl Reason {
    /// What its kind is called in metrics.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Unreachable(_) => "unreachable",
            Self::Credentials(_) | Self::Unauthorized { .. } => "unauthorized",
            Self::Refused { .. } => "refused",
            Self::Failed { .. } => "failed",
            Self::TooLarge(_) | Self::TooManySamples(_) => "too_large",
            Self::Malformed(_) => "malformed",
            Self::Unusable(_) => "unusable",
            Self::Partial(_) => "partial",
        }
    }

    /// Whether fewer steps may be answered where these were not.
    pub fn may_be_of_size(&self) -> bool {
        matches!(
            self,
            Self::Timeout(_)
                | Self::TooLarge(_)
                | Self::TooManySamples(_)
                | Self::Refused { .. }
                | Self::Failed { .. }
        )
    }
}

/// Every [`Reason::outcome`], and that of an answer.
pub const OUTCOMES: [&str; 10] = [
    "answered",
    "timeout",
    "unreachable",
    "unauthorized",
    "refused",
    "failed",
    "too_large",
    "malformed",
    "unusable",
    "partial",
];

#[cfg(test)]
mod tests;
