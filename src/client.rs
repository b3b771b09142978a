//! A client of one HTTP server: where it is, who asks, over TLS where it is told to.
//!
//! Every request has a time limit and every answer a limit of bytes; what goes wrong is told in the server's own
//! words. It does not know what is asked, and does not ask again by itself. Connections are kept and used again.
//!
//! The invariant: secrets are in requests only, never in errors, logs or `Debug`.

mod address;
mod credentials;

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, USER_AGENT},
    http::response::Parts,
};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};

pub use address::{Address, AddressError};
pub use credentials::{Credentials, Secret};

/// Which server, and how it is talked to.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where it is.
    pub address: Address,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Sent with every request, such as the tenant `X-Scope-OrgID`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is trusted and shown over TLS.
    pub tls: Tls,
    /// How long one request may take.
    pub timeout: Duration,
    /// The bytes of an answer.
    pub response_bytes_max: usize,
}

/// Certificates, in PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Those to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// The one to show to the server, and its key.
    pub identity: Option<Identity>,
}

/// A certificate of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and one that the server trusts.
    pub cert_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

/// A server that may be asked. Cheap to share.
#[derive(Debug)]
pub struct Client {
    config: Config,
    connections: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// What is asked, beside what every request has.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// How.
    pub method: Method,
    /// Where, below the address; with its query.
    pub path: &'a str,
    /// Headers of its own.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

/// A request without a good answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// It took too long.
    #[error("no answer within {} (timeout)", crate::time::format_duration(*.0))]
    Timeout(Duration),
    /// There is no connection, or it ended.
    #[error("cannot reach it: {0}")]
    Unreachable(String),
    /// A file of a secret cannot be read.
    #[error("{0}")]
    Credentials(String),
    /// The answer is longer than it may be.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// The answer has a status that says no.
    #[error("it answers {}: {}", .0.status, .0.message())]
    Status(Box<Refusal>),
}

/// An answer with a status that says no.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
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

// Words of a proxy may be a page of HTML.
const MESSAGE_CHARS_MAX: usize = 200;

// === impl Client ===

impl Client {
    /// A client; connects when it is asked.
    ///
    /// # Errors
    /// When certificates cannot be read.
    pub fn new(config: Config) -> Result<Self, CertificateError> {
        let connector = address::connector(&config)?;
        let connections = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { config, connections })
    }

    /// Which server it is for.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A good answer.
    ///
    /// # Errors
    /// When there is none, or its status is not one of success.
    pub async fn ask(&self, question: Question<'_>) -> Result<(Parts, Bytes), Failure> {
        let exchange = async {
            let response = self.connections.request(self.request(question)?).await;
            self.receive(response.map_err(|error| Failure::Unreachable(with_causes(&error)))?).await
        };
        let timeout = self.config.timeout;
        let answer = tokio::time::timeout(timeout, exchange).await;
        answer.unwrap_or(Err(Failure::Timeout(timeout)))
    }

    fn request(&self, question: Question<'_>) -> Result<Request<Full<Bytes>>, Failure> {
        let Question { method, path, headers: own, body } = question;
        let uri = self.config.address.join(path);
        let mut request = Request::new(Full::from(body));
        *request.uri_mut() = uri.map_err(|error| Failure::Unreachable(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("slod/", env!("CARGO_PKG_VERSION"))));
        headers.extend(own);
        headers.extend(self.config.headers.iter().cloned());
        if let Some(credentials) = &self.config.credentials {
            headers.insert(AUTHORIZATION, credentials.header().map_err(Failure::Credentials)?);
        }
        *request.method_mut() = method;
        Ok(request)
    }

    async fn receive(&self, response: Response<Incoming>) -> Result<(Parts, Bytes), Failure> {
        let (head, body) = response.into_parts();
        #[expect(clippy::disallowed_methods, reason = "the body has a bound")]
        let body = Limited::new(body, self.config.response_bytes_max).collect().await;
        let body = body.map_err(|error| match error.is::<LengthLimitError>() {
            true => Failure::TooLarge(self.config.response_bytes_max),
            false => Failure::Unreachable(with_causes(&*error)),
        })?;
        let body = body.to_bytes();
        if head.status.is_success() {
            Ok((head, body))
        } else {
            Err(Failure::Status(Box::new(Refusal { status: head.status, headers: head.headers, body })))
        }
    }
}

// === impl Refusal ===

impl Refusal {
    /// What it says: where the server is instead, or its words on one line and not too long.
    pub fn message(&self) -> String {
        self.moved().unwrap_or_else(|| shortened(&String::from_utf8_lossy(&self.body)))
    }

    /// Where the server is instead, if it says so.
    pub fn moved(&self) -> Option<String> {
        let location = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        location.map(|location| format!("it is at {location}"))
    }
}

/// On one line, and not too long.
pub fn shortened(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(MESSAGE_CHARS_MAX).collect()
}

/// The error and what it stands on: a client's own text is only "client error (Connect)".
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
