//! What is published, and where it is written to.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use serde::Deserialize;

use super::{
    Length,
    client::{RawAuthorization, RawBasicAuth, RawTls, credentials, headers},
    sources::external_labels,
};
use crate::{
    client::{self, Address},
    exposition::{self, Dialect},
    remote_write,
    time::format_duration,
};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawExposition {
    compat: Vec<RawDialect>,
    families: RawFamilies,
    labels: RawLabels,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawDialect {
    Sloth,
    Pyrra,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawFamilies {
    exclude: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLabels {
    allow: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRemoteWrite {
    url: String,
    name: Option<String>,
    interval: Option<Length>,
    timeout: Option<Length>,
    basic_auth: Option<RawBasicAuth>,
    authorization: Option<RawAuthorization>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    tls_config: RawTls,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default)]
    families: RawFamilies,
    send_alerts: Option<bool>,
    queue_bytes_max: Option<usize>,
}

// As often as a usual scrape.
const INTERVAL: Duration = Duration::from_secs(15);
const INTERVAL_MIN: Duration = Duration::from_secs(1);
// An hour of 1,000 SLOs, five minutes of 10,000, by what snappy leaves of them.
const QUEUE_BYTES_MAX: usize = 64 << 20;
// As Prometheus' remote_timeout.
const TIMEOUT: Duration = Duration::from_secs(30);
// Answers to writes are a line at most.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

// === impl RawExposition ===

impl RawExposition {
    pub(super) fn validate(self) -> anyhow::Result<exposition::Config> {
        let dialect = |raw: &RawDialect| match raw {
            RawDialect::Sloth => Dialect::Sloth,
            RawDialect::Pyrra => Dialect::Pyrra,
        };
        Ok(exposition::Config {
            compat: self.compat.iter().map(dialect).collect(),
            excluded: self.families.validate("exposition.families.exclude")?,
            labels: self.labels.allow.map(|allowed| allowed.into_iter().collect()),
        })
    }
}

// === impl RawFamilies ===

impl RawFamilies {
    fn validate(self, key: &str) -> anyhow::Result<BTreeSet<String>> {
        for name in &self.exclude {
            if !exposition::Config::families().any(|family| family == name) {
                bail!("{key} has {name:?}, which slod does not publish{}", near(name));
            }
        }
        Ok(self.exclude.into_iter().collect())
    }
}

fn near(name: &str) -> String {
    let by_distance =
        exposition::Config::families().map(|family| (strsim::jaro_winkler(name, family), family));
    let nearest = by_distance.max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map_or_else(String::new, |(_, family)| format!("; did you mean {family}?"))
}

/// Checks where to write.
pub(super) fn validate_remote_write(
    raw: Vec<RawRemoteWrite>,
    base: &Path,
) -> anyhow::Result<Vec<remote_write::Config>> {
    let mut configs: Vec<remote_write::Config> = Vec::new();
    for (number, raw) in raw.into_iter().enumerate() {
        let config = raw.validate(base).with_context(|| format!("cannot use remote_write[{number}]"))?;
        ensure!(
            configs.iter().all(|known| known.name != config.name),
            "remote_write has {:?} twice; give one of them another name",
            config.name
        );
        configs.push(config);
    }
    Ok(configs)
}

// === impl RawRemoteWrite ===

impl RawRemoteWrite {
    fn validate(self, base: &Path) -> anyhow::Result<remote_write::Config> {
        let address: Address = self.url.parse().map_err(|error| anyhow!("url is no address: {error}"))?;
        ensure!(
            !address.prefix().is_empty(),
            "url has no path; write all of it, such as http://host:9090/api/v1/write"
        );
        let name = self.name.unwrap_or_else(|| address.to_string());
        let interval = self.interval.map_or(INTERVAL, |length| length.0);
        ensure!(
            interval >= INTERVAL_MIN,
            "interval is {}, it must be at least {}",
            format_duration(interval),
            format_duration(INTERVAL_MIN)
        );
        let in_url = address.credentials().is_some();
        let said = credentials(in_url, self.basic_auth.as_ref(), self.authorization.as_ref(), base)?;
        let client = client::Config {
            credentials: said.or_else(|| address.credentials().cloned()),
            address,
            headers: headers(&self.headers)?,
            tls: self.tls_config.validate(base)?,
            timeout: super::positive("timeout", self.timeout, TIMEOUT)?,
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        Ok(remote_write::Config {
            name,
            client,
            interval,
            external_labels: external_labels(&self.external_labels)?,
            excluded: self.families.validate("families.exclude")?,
            sends_alerts: self.send_alerts.unwrap_or(true),
            queue_bytes_max: super::at_least_one("queue_bytes_max", self.queue_bytes_max, QUEUE_BYTES_MAX)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(yaml: &str, expected: &str) {
        let raw: Result<Vec<RawRemoteWrite>, _> = serde_saphyr::from_str(yaml);
        let read = raw.map_err(Into::into).and_then(|raw| validate_remote_write(raw, Path::new("/etc/slod")));
        let error = format!("{:#}", read.unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "a secret is told: {error}");
    }

    #[test]
    fn a_url_is_enough() {
        let raw = serde_saphyr::from_str("[{url: 'https://me:hunter2@mimir/api/v1/push'}]").unwrap();
        let config = validate_remote_write(raw, Path::new("")).unwrap().remove(0);
        assert_eq!(config.name, "https://mimir/api/v1/push");
        assert!((config.interval, config.sends_alerts) == (INTERVAL, true));
        assert!(config.client.credentials.is_some() && !format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        refused("[{url: 'http://p'}]", "cannot use remote_write[0]: url has no path");
        refused("[{url: 'p:9090'}]", "url is no address");
        refused(
            "[{url: 'http://u:hunter2@p/w', interval: 500ms}]",
            "interval is 500ms, it must be at least 1s",
        );
        refused("[{url: 'http://p/w'}, {url: 'http://p/w'}]", "remote_write has \"http://p/w\" twice");
        refused(
            "[{url: 'http://p/w', families: {exclude: [slo_inf]}}]",
            "families.exclude has \"slo_inf\", which slod does not publish; did you mean slo_info?",
        );
        refused("[{url: 'http://p/w', queue_bytes_max: 0}]", "queue_bytes_max is 0");
        refused("[{uri: 'http://p/w'}]", "unknown field `uri`");
    }

    #[test]
    fn what_is_published_is_read() {
        let yaml = "{compat: [sloth], families: {exclude: [slo_info]}, labels: {allow: [team]}}";
        let config = serde_saphyr::from_str::<RawExposition>(yaml).unwrap().validate().unwrap();
        assert_eq!(config.compat.into_iter().collect::<Vec<_>>(), [Dialect::Sloth]);
        assert!(config.excluded.contains("slo_info") && config.labels.unwrap().contains("team"));
        let unknown =
            serde_saphyr::from_str::<RawExposition>("{families: {exclude: [x]}}").unwrap().validate();
        assert!(unknown.unwrap_err().to_string().contains("exposition.families.exclude has \"x\""));
    }
}
