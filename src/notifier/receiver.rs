//! One receiver: where a batch of alerts is sent, and what came of it.
//!
//! It keeps nothing, and does not send again by itself. It tells apart what may succeed later (no connection, 429,
//! 5xx) and what will not (other answers): those are the receiver's own words on what slod sends.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hyper::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use ring::hmac;

use super::{
    Group, Webhook,
    ledger::Pace,
    message::{self, Notification},
};
use crate::{
    client::{self, Address, AddressError, CertificateError, Client, Failure, Question, Secret},
    time::Timestamp,
};

/// Somebody who is told.
#[derive(Debug)]
pub struct Receiver {
    name: String,
    client: Client,
    path: String,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Alertmanager,
    Webhook { secret: Option<Secret>, repeat_interval: Duration, external_url: String },
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered,
    /// It may be delivered later; says why it was not.
    Later(String),
    /// It will not be taken however often it is sent; says why.
    Refused(String),
}

/// Why there is no receiver.
#[derive(Debug, thiserror::Error)]
pub enum ReceiverError {
    /// It is nowhere.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Certificates cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

// Alertmanager answers nothing, webhooks what they like; more than this is not read.
const RESPONSE_BYTES_MAX: usize = 64 << 10;

// === impl Receiver ===

impl Receiver {
    /// An Alertmanager at `host:port`.
    ///
    /// # Errors
    /// When that is no address, or certificates cannot be used.
    pub fn alertmanager(group: &Group, target: &str) -> Result<Self, ReceiverError> {
        let address = address(group, target)?;
        let client = Client::new(client::Config {
            address,
            credentials: group.server.credentials.clone(),
            headers: Vec::new(),
            tls: group.server.tls.clone(),
            timeout: group.server.timeout,
            response_bytes_max: RESPONSE_BYTES_MAX,
        })?;
        let (name, path) = (url(group, target), "/api/v2/alerts".to_owned());
        Ok(Self { name, client, path, format: Format::Alertmanager })
    }

    /// A webhook.
    ///
    /// # Errors
    /// When certificates cannot be used.
    pub fn webhook(webhook: &Webhook, external_url: &str) -> Result<Self, CertificateError> {
        let Webhook { name, server, path, secret, repeat_interval } = webhook.clone();
        let format = Format::Webhook { secret, repeat_interval, external_url: external_url.to_owned() };
        let server = client::Config { response_bytes_max: RESPONSE_BYTES_MAX, ..server };
        Ok(Self { name, client: Client::new(server)?, path, format })
    }

    /// What it is called in metrics and logs: an Alertmanager by its URL.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How often it is told.
    pub fn pace(&self, resend_delay: Duration, evaluation_interval: Duration) -> Pace {
        match &self.format {
            Format::Alertmanager => Pace::of_alertmanager(resend_delay, evaluation_interval),
            Format::Webhook { repeat_interval, .. } => Pace::of_webhook(*repeat_interval),
        }
    }

    /// Sends a batch once.
    pub async fn send(&self, batch: &[Arc<Notification>], now: Timestamp) -> Outcome {
        let question = match self.question(batch, now) {
            Ok(question) => question,
            Err(reason) => return Outcome::Later(reason),
        };
        match self.client.ask(question).await {
            // What is more than enough of an answer is an answer.
            Ok(_) | Err(Failure::TooLarge(_)) => Outcome::Delivered,
            Err(Failure::Status(refusal)) if !may_succeed(refusal.status) => {
                Outcome::Refused(Failure::Status(refusal).to_string())
            }
            Err(failure) => Outcome::Later(failure.to_string()),
        }
    }

    fn question(&self, batch: &[Arc<Notification>], now: Timestamp) -> Result<Question<'_>, String> {
        let mut headers = vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        let body = match &self.format {
            Format::Alertmanager => message::for_alertmanager(batch),
            Format::Webhook { secret, external_url, .. } => {
                let body = message::for_webhook(batch, &self.name, external_url);
                let key = message::idempotency_key(batch);
                headers.push((HeaderName::from_static("idempotency-key"), value(key)?));
                if let Some(secret) = secret {
                    let signature = signature(&secret.read()?, now, &body);
                    headers.push((HeaderName::from_static("x-slod-signature"), value(signature)?));
                }
                body
            }
        };
        Ok(Question { method: Method::POST, path: &self.path, headers, body: Bytes::from(body) })
    }
}

/// Whether the same may succeed later. A 401 or 404 may, too, once somebody repairs it, and then state is told anew.
fn may_succeed(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

fn value(text: String) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|error| format!("BUG: no text for a header: {error}"))
}

/// `t=<unix seconds>,v1=<hex of HMAC-SHA256 over "<unix seconds>.<body>">`.
fn signature(secret: &str, now: Timestamp, body: &[u8]) -> String {
    let seconds = now.0.div_euclid(1_000);
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()));
    context.update(format!("{seconds}.").as_bytes());
    context.update(body);
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={seconds},v1={hex}")
}

fn address(group: &Group, target: &str) -> Result<Address, AddressError> {
    if target.contains(['/', '@', '?', '#']) || target.is_empty() {
        let reason =
            format!("{target:?} is no host:port; scheme, path_prefix and basic_auth are keys of their own");
        return Err(AddressError(reason));
    }
    format!("{}://{target}{}", group.scheme, group.path_prefix).parse()
}

/// As Prometheus calls it.
pub(super) fn url(group: &Group, target: &str) -> String {
    format!("{}://{target}{}/api/v2/alerts", group.scheme, group.path_prefix)
}

/// Whether an address can be made of a target.
///
/// # Errors
/// When it cannot.
pub fn check_target(group: &Group, target: &str) -> Result<(), AddressError> {
    address(group, target).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_one_of_time_and_body() {
        // As Python's hmac says.
        let expected = "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03";
        assert_eq!(signature("key", Timestamp(1_700_000_000_999), br#"{"a":1}"#), expected);
    }

    #[test]
    fn what_may_succeed_later_is_told_apart() {
        let may = |status| may_succeed(StatusCode::from_u16(status).unwrap());
        assert!([500, 502, 503, 429, 408].into_iter().all(may));
        assert!(![400, 401, 404, 413, 422, 302].into_iter().any(may));
    }
}
