//! A client of a server with Prometheus' HTTP API: Prometheus itself, Thanos, Mimir, VictoriaMetrics.
//!
//! It asks what an expression says at a moment, or at the steps of a range, what values a label has, and for the
//! samples of the past ([`Source::read`]). Every request has a time limit and every answer a limit of bytes; what goes wrong is told with the server, the
//! query and the server's own words. It does not know SLOs, keeps nothing of what it was told, and does not ask
//! again by itself. A server that has only a part of the answer is asked to refuse.
//!
//! The invariant: secrets are in requests only, never in errors, logs or `Debug`.

mod address;
mod answer;
mod credentials;
mod read;
mod remote_read;

use std::{path::PathBuf, sync::atomic::AtomicBool, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT},
    http::response::Parts,
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::{
    labels::Labels,
    time::{Timestamp, millis},
};

pub use address::{Address, AddressError};
pub use credentials::{Credentials, Secret};
pub use read::{Piece, Pieces, pause_after};

/// Which server, and how it is talked to.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// What it is called in metrics, logs and errors.
    pub name: String,
    /// Where it is.
    pub address: Address,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Sent with every request, such as the tenant `X-Scope-OrgID`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Certificates to trust instead of the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// What a Prometheus adds to series that it sends, but not to those that queries find.
    pub external_labels: Labels,
    /// How long one request may take.
    pub timeout: Duration,
    /// The bytes of an answer.
    pub response_bytes_max: usize,
}

/// A server that may be asked. Cheap to share; its connections are kept and used again.
#[derive(Debug)]
pub struct Source {
    config: Config,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
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

/// Why there is no client for a server.
#[derive(Debug, thiserror::Error)]
#[error("cannot use certificates{}: {reason}", .file.as_ref().map_or(String::new(), |file| format!(" of {}", file.display())))]
pub struct CertificateError {
    /// The file; the system's own without one.
    pub file: Option<PathBuf>,
    /// What is wrong with it.
    pub reason: String,
}

// A group takes some 200 bytes in an answer, so this is a moment of 80,000 groups: more than an SLO may have.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
// Prometheus' own default is two minutes, which no step of a pulled SLO can wait for.
const TIMEOUT: Duration = Duration::from_secs(10);
// Words of a proxy may be a page of HTML.
const MESSAGE_CHARS_MAX: usize = 200;

const FORM_HEADERS: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/x-www-form-urlencoded")];

// === impl Config ===

impl Config {
    /// The server of an address, with the usual limits, and who the address says that asks.
    pub fn new(name: &str, address: Address) -> Self {
        Self {
            name: name.to_owned(),
            credentials: address.credentials().cloned(),
            address,
            headers: Vec::new(),
            ca_file: None,
            external_labels: Labels::default(),
            timeout: TIMEOUT,
            response_bytes_max: RESPONSE_BYTES_MAX,
        }
    }
}

// === impl Source ===

impl Source {
    /// A client; connects when it is asked.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub fn new(config: Config) -> Result<Self, CertificateError> {
        let connector = address::connector(&config)?;
        let client = Client::builder(TokioExecutor::new()).build(connector);
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
        let timeout = format!("{}ms", self.config.timeout.as_millis());
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
        let exchange = async {
            let response = self.client.request(self.request(path, headers, body)?).await;
            self.receive(response.map_err(|error| Reason::Unreachable(with_causes(&error)))?).await
        };
        let timeout = self.config.timeout;
        let answer = tokio::time::timeout(timeout, exchange).await;
        answer.unwrap_or(Err(Reason::Timeout(timeout)))
    }

    fn request(
        &self,
        path: &str,
        own: &[(HeaderName, &'static str)],
        body: Bytes,
    ) -> Result<Request<Full<Bytes>>, Reason> {
        let method = if body.is_empty() { Method::GET } else { Method::POST };
        let mut request = Request::new(Full::from(body));
        *request.uri_mut() = self.uri(path)?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("slod/", env!("CARGO_PKG_VERSION"))));
        headers.extend(own.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))));
        headers.extend(self.config.headers.iter().cloned());
        if let Some(credentials) = &self.config.credentials {
            headers.insert(AUTHORIZATION, credentials.header().map_err(Reason::Credentials)?);
        }
        *request.method_mut() = method;
        Ok(request)
    }

    fn uri(&self, path: &str) -> Result<Uri, Reason> {
        self.config.address.join(path).map_err(|error| Reason::Unreachable(error.to_string()))
    }

    async fn receive(&self, response: Response<Incoming>) -> Result<(Parts, Bytes), Reason> {
        let (head, body) = response.into_parts();
        #[expect(clippy::disallowed_methods, reason = "the body has a bound")]
        let body = Limited::new(body, self.config.response_bytes_max).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Reason::TooLarge(self.config.response_bytes_max),
            false => Reason::Unreachable(with_causes(&*error)),
        })?;
        let body = body.to_bytes();
        if head.status.is_success() {
            Ok((head, body))
        } else {
            Err(refusal(head.status, &head.headers, &body))
        }
    }

    fn error(&self, query: &str, reason: Reason) -> Error {
        let Config { name, address, .. } = &self.config;
        Error { name: name.clone(), address: address.to_string(), query: query.to_owned(), reason }
    }
}

fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Reason {
    let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let message = match (location, answer::error(body)) {
        (Some(location), _) => format!("it is at {location}"),
        (None, Some(said)) => said,
        (None, None) => shortened(&String::from_utf8_lossy(body)),
    };
    let number = status.as_u16();
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Unauthorized { status: number, message },
        // Prometheus says 422 of what it cannot execute, such as a match of many to many.
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => {
            Reason::Refused { status: number, message }
        }
        _ => Reason::Failed { status: number, message },
    }
}

/// On one line, and not too long.
fn shortened(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MESSAGE_CHARS_MAX).collect()
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

/// The error and what it stands on: a client's own text is only "client error (Connect)".
pub(crate) fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

// === impl Reason ===

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
