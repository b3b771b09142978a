//! An alert as receivers are told of it, and the two ways to write it: for Alertmanager's API, and as its webhooks do.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::ledger::{Key, Status};
use crate::time::Timestamp;

/// One alert, ready to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Its labels, in short.
    pub key: Key,
    /// Its labels with those of this slod.
    pub labels: Labels,
    /// Its texts.
    pub annotations: Labels,
    /// What it is.
    pub status: Status,
    /// Since when it fires, or fired.
    pub starts_at: Timestamp,
    /// When it was resolved, or until when it counts as firing.
    pub ends_at: Timestamp,
    /// Where people find more.
    pub generator_url: String,
}

/// A request of Alertmanager's API v2 (`PostableAlert` in its openapi.yaml).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Posted<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

/// The message of Alertmanager's webhooks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    version: &'static str,
    group_key: &'static str,
    truncated_alerts: u64,
    status: &'static str,
    receiver: &'a str,
    group_labels: BTreeMap<&'a str, &'a str>,
    common_labels: BTreeMap<&'a str, &'a str>,
    common_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(rename = "externalURL")]
    external_url: &'a str,
    alerts: Vec<Told<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    status: &'static str,
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
    fingerprint: String,
}

type Labels = BTreeMap<String, String>;

// Go's zero time, by which Alertmanager's webhooks say that there is no end yet.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// The body of a request to Alertmanager.
pub(super) fn for_alertmanager(batch: &[Arc<Notification>]) -> Vec<u8> {
    let posted = |notification: &Arc<Notification>| -> Vec<u8> {
        let posted = Posted {
            labels: &notification.labels,
            annotations: &notification.annotations,
            starts_at: notification.starts_at.rfc3339(),
            ends_at: notification.ends_at.rfc3339(),
            generator_url: &notification.generator_url,
        };
        written(&posted)
    };
    let alerts: Vec<Vec<u8>> = batch.iter().map(posted).collect();
    [&b"["[..], &alerts.join(&b","[..]), b"]"].concat()
}

/// The body of a request to a webhook.
pub(super) fn for_webhook(batch: &[Arc<Notification>], receiver: &str, external_url: &str) -> Vec<u8> {
    let is_firing = batch.iter().any(|notification| notification.status == Status::Firing);
    written(&Message {
        version: "4",
        group_key: "{}:{}",
        truncated_alerts: 0,
        status: if is_firing { Status::Firing.name() } else { Status::Resolved.name() },
        receiver,
        group_labels: BTreeMap::new(),
        common_labels: common(batch, |notification| &notification.labels),
        common_annotations: common(batch, |notification| &notification.annotations),
        external_url,
        alerts: batch.iter().map(|notification| told(notification)).collect(),
    })
}

fn told(notification: &Notification) -> Told<'_> {
    let Notification { key, labels, annotations, status, starts_at, ends_at, generator_url } = notification;
    Told {
        status: status.name(),
        labels,
        annotations,
        starts_at: starts_at.rfc3339(),
        ends_at: if *status == Status::Firing { NO_END.to_owned() } else { ends_at.rfc3339() },
        generator_url,
        fingerprint: key.to_string(),
    }
}

/// What all have with the same value.
fn common(batch: &[Arc<Notification>], of: impl Fn(&Notification) -> &Labels) -> BTreeMap<&str, &str> {
    let Some((first, others)) = batch.split_first() else { return BTreeMap::new() };
    let is_common = |(name, value): &(&String, &String)| {
        others.iter().all(|other| of(other).get(*name).is_some_and(|found| found == *value))
    };
    of(first).iter().filter(is_common).map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The same for the same news, however often and by whichever process it is told.
pub(super) fn idempotency_key(batch: &[Arc<Notification>]) -> String {
    let mut hash = Xxh3::new();
    for notification in batch {
        hash.update(&notification.key.0.to_be_bytes());
        hash.update(&notification.starts_at.0.to_be_bytes());
        hash.update(notification.status.name().as_bytes());
    }
    format!("{:032x}", hash.digest128())
}

fn written(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("texts, lists and maps with texts for keys have a JSON form")
}

// === impl Key ===

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

// === impl Status ===

impl Status {
    /// Alertmanager's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(route: &str, status: Status) -> Arc<Notification> {
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let labels: Labels = map(&[("alertname", "Burn"), ("route", route)]);
        Arc::new(Notification {
            key: Key::of(&labels),
            annotations: map(&[("summary", "said \"so\"")]),
            labels,
            status,
            starts_at: Timestamp(1_700_000_000_000),
            ends_at: Timestamp(1_700_000_240_500),
            generator_url: "http://slod:9720/?slo=a".to_owned(),
        })
    }

    #[test]
    fn alertmanager_is_told_a_list() {
        let batch = [notification("/pay", Status::Firing), notification("/", Status::Resolved)];
        let body = String::from_utf8(for_alertmanager(&batch)).unwrap();
        let alert = |route: &str| {
            format!(
                r#"{{"labels":{{"alertname":"Burn","route":"{route}"}},"annotations":{{"summary":"said \"so\""}},"#,
            ) + r#""startsAt":"2023-11-14T22:13:20Z","endsAt":"2023-11-14T22:17:20.5Z","#
                + r#""generatorURL":"http://slod:9720/?slo=a"}"#
        };
        assert_eq!(body, format!("[{},{}]", alert("/pay"), alert("/")));
        assert_eq!(for_alertmanager(&[]), b"[]");
    }

    #[test]
    fn a_webhook_is_told_what_alertmanager_would_tell_it() {
        let batch = [notification("/pay", Status::Firing), notification("/", Status::Resolved)];
        let body: serde_json::Value =
            serde_json::from_slice(&for_webhook(&batch, "me", "http://slod:9720")).unwrap();
        insta::assert_snapshot!(serde_json::to_string_pretty(&body).unwrap());
    }

    #[test]
    fn the_same_news_have_the_same_key() {
        let key = |status| idempotency_key(&[notification("/pay", status)]);
        assert_eq!(key(Status::Firing), key(Status::Firing));
        assert_ne!(key(Status::Firing), key(Status::Resolved));
    }
}
