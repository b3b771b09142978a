//! Tells others of alerts: every Alertmanager of every group, and webhooks.
//!
//! ```text
//! Report::alerts ─▶ Ledger::due ─▶ Outbox (by labels, newest version only) ─batches─▶ Receiver::send ─▶ POST
//!                    what is due          one for each receiver                        one at a time
//! ```
//!
//! What is due follows from the state of alerts and from when each was last told ([`Ledger`], Prometheus' rules); queues
//! only carry it. It does not read the clock and starts no tasks: `daemon` does.
//!
//! The invariant: nothing is told that the state did not have, and what could not be told is due again.

mod annotations;
mod discovery;
mod ledger;
mod message;
mod outbox;
mod receiver;
mod round;

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use crate::client::{self, Secret};

pub use discovery::{Discovery, Target};
pub use ledger::{Due, Key, Ledger, Pace, Status};
pub use message::Notification;
pub use outbox::Outbox;
pub use receiver::{Outcome, Receiver, ReceiverError, check_target};
pub use round::Round;

/// Who is told, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Groups of Alertmanagers; each one of each is told of everything.
    pub alertmanagers: Vec<Group>,
    /// Other systems.
    pub webhooks: Vec<Webhook>,
    /// Labels of every alert that does not have them itself.
    pub external_labels: BTreeMap<String, String>,
    /// How often a firing alert is told again.
    pub resend_delay: Duration,
    /// The most alerts that wait for one receiver.
    pub queue_capacity: usize,
    /// Where people find slod, without a slash at its end.
    pub external_url: String,
}

/// Alertmanagers that are talked to in the same way.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// How; the address is that of each target.
    pub server: ServerConfig,
    /// `http` or `https`.
    pub scheme: String,
    /// Before `/api/v2/alerts`; without a slash at its end.
    pub path_prefix: String,
    /// `host:port` of each.
    pub targets: Vec<String>,
    /// Files with more of them; globs are allowed.
    pub files: Vec<PathBuf>,
    /// How often the files are read, even if they look unchanged.
    pub refresh_interval: Duration,
}

/// How a server is talked to, wherever it is.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// Who asks.
    pub credentials: Option<client::Credentials>,
    /// Certificates.
    pub tls: client::Tls,
    /// How long one request may take.
    pub timeout: Duration,
}

/// A system that takes alerts in the format of Alertmanager's webhooks.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    /// What it is called in metrics, logs and messages: its URL may hold a secret.
    pub name: String,
    /// Where it is, but for the path.
    pub server: client::Config,
    /// The path with its query.
    pub path: String,
    /// The key of signatures.
    pub secret: Option<Secret>,
    /// How often an alert that goes on firing is told again.
    pub repeat_interval: Duration,
}

/// Prometheus' default.
pub const RESEND_DELAY: Duration = Duration::from_secs(60);
/// Prometheus' default (`--alertmanager.notification-queue-capacity`).
pub const QUEUE_CAPACITY: usize = 10_000;
/// Prometheus' default.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Prometheus' default of file discovery.
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// Alertmanager's default for whoever it tells.
pub const REPEAT_INTERVAL: Duration = Duration::from_secs(4 * 3_600);
/// The most alerts of one request: Prometheus' default (`--alertmanager.notification-batch-size`).
pub const BATCH_MAX: usize = 256;
