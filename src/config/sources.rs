//! The servers that may be asked for what cannot be streamed.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, anyhow, ensure};
use serde::Deserialize;

use super::{
    Length,
    client::{RawAuthorization, RawBasicAuth, RawTls, credentials, headers},
    positive,
};
use crate::{
    client,
    labels::{Labels, METRIC_NAME},
    source,
    time::format_duration,
};

/// A server, and when it is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// How it is talked to.
    pub client: source::Config,
    /// How often the queries of pulled SLOs are asked.
    pub pull_interval: Duration,
    /// How far behind evaluated time, so that the server has every sample of the moment that it is asked about.
    pub delay: Duration,
    /// How long SLOs are streamed before their history is asked for; `None` if it is not.
    pub backfill_after: Option<Duration>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    name: Option<String>,
    url: String,
    pull_interval: Option<Length>,
    delay: Option<Length>,
    backfill: Option<bool>,
    backfill_after: Option<Length>,
    timeout: Option<Length>,
    basic_auth: Option<RawBasicAuth>,
    authorization: Option<RawAuthorization>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    tls_config: RawTls,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
}

// Prometheus' own evaluation interval.
const PULL_INTERVAL: Duration = Duration::from_secs(60);
// Three hours of steps, which are caught up with after an outage, fit the 11,000 points of a range query.
const PULL_INTERVAL_MIN: Duration = Duration::from_secs(1);
// What VictoriaMetrics holds back by itself (-search.latencyOffset), and more than remote-write and the
// replication of Mimir or Thanos take. A step that is asked too early is counted without what came later.
const DELAY: Duration = Duration::from_secs(30);

// A sample of each series must come before what is not asked for: the longest usual scrape interval, and a flush of
// remote write.
const BACKFILL_AFTER: Duration = Duration::from_secs(90);

/// Checks the sources. An SLO whose source does not answer must not count as stale at once.
pub(super) fn validate(
    raw: Vec<RawSource>,
    base: &Path,
    stale_after: Duration,
) -> anyhow::Result<Vec<Source>> {
    ensure!(
        raw.len() <= 1,
        "sources has {} entries, at most one may be asked: an SLO does not say which; where data are in several \
         servers, name the Thanos or Mimir that queries them all",
        raw.len()
    );
    let validate = |(n, raw): (usize, RawSource)| {
        raw.validate(base, stale_after).with_context(|| format!("cannot use sources[{n}]"))
    };
    raw.into_iter().enumerate().map(validate).collect()
}

// === impl RawSource ===

impl RawSource {
    fn validate(self, base: &Path, stale_after: Duration) -> anyhow::Result<Source> {
        let address = source::address(&self.url).map_err(|error| anyhow!("url is no address: {error}"))?;
        let name = self.name.clone().unwrap_or_else(|| address.to_string());
        ensure!(!name.is_empty(), "name is empty; leave it out, and the url is the name");
        let usual = source::Config::new(&name, address);
        let in_url = usual.server.credentials.is_some();
        let said = credentials(in_url, self.basic_auth.as_ref(), self.authorization.as_ref(), base)?;
        let server = client::Config {
            timeout: positive("timeout", self.timeout, usual.server.timeout)?,
            credentials: said.or(usual.server.credentials),
            headers: headers(&self.headers)?,
            tls: self.tls_config.validate(base)?,
            ..usual.server
        };
        let external_labels = external_labels(&self.external_labels)?;
        let client = source::Config { server, external_labels, ..usual };
        let pull_interval = self.pull_interval.map_or(PULL_INTERVAL, |length| length.0);
        let delay = self.delay.map_or(DELAY, |length| length.0);
        check_interval(pull_interval, delay, stale_after)?;
        let backfill_after = self.backfill_after.map_or(BACKFILL_AFTER, |length| length.0);
        let backfill_after = self.backfill.unwrap_or(true).then_some(backfill_after);
        Ok(Source { client, pull_interval, delay, backfill_after })
    }
}

fn check_interval(pull_interval: Duration, delay: Duration, stale_after: Duration) -> anyhow::Result<()> {
    ensure!(
        pull_interval >= PULL_INTERVAL_MIN && pull_interval.subsec_nanos() == 0,
        "pull_interval is {}, it must be of whole seconds and at least {}",
        format_duration(pull_interval),
        format_duration(PULL_INTERVAL_MIN)
    );
    ensure!(
        pull_interval * 2 + delay <= stale_after,
        "pull_interval is {} and delay {}, so that SLOs would be stale ({}) when one request fails; twice the \
         interval and the delay must not exceed stale_after",
        format_duration(pull_interval),
        format_duration(delay),
        format_duration(stale_after)
    );
    Ok(())
}

pub(super) fn external_labels(labels: &BTreeMap<String, String>) -> anyhow::Result<Labels> {
    ensure!(
        !labels.contains_key(METRIC_NAME),
        "external_labels has {METRIC_NAME}, which every series has itself"
    );
    Labels::new(labels).context("external_labels are no labels")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE_AFTER: Duration = Duration::from_secs(300);

    fn read(yaml: &str) -> anyhow::Result<Vec<Source>> {
        validate(serde_saphyr::from_str(yaml)?, Path::new("/etc/slod"), STALE_AFTER)
    }

    #[track_caller]
    fn refused(yaml: &str, expected: &str) {
        let error = format!("{:#}", read(yaml).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "a secret is told: {error}");
    }

    #[test]
    fn a_url_is_enough() {
        let source = &read("[{url: 'http://prometheus:9090/'}]").unwrap()[0];
        assert_eq!(source.client.name, "http://prometheus:9090");
        assert_eq!((source.pull_interval, source.delay), (PULL_INTERVAL, DELAY));
        assert_eq!(source.client.server.timeout, Duration::from_secs(10));
        assert_eq!(source.client.server.credentials, None);
    }

    #[test]
    fn who_asks_is_said_in_one_way_and_not_shown() {
        #[track_caller]
        fn check(yaml: &str, expected: &str) {
            let source = read(yaml).unwrap().remove(0);
            assert_eq!(format!("{:?}", source.client.server.credentials.clone().unwrap()), expected);
            assert!(!format!("{source:?}").contains("hunter2"), "{source:?}");
        }
        check(
            "[{url: 'https://me:hunter2@mimir/prometheus'}]",
            r#"Basic { username: "me", password: <secret> }"#,
        );
        check(
            "[{url: 'http://p', basic_auth: {username: me, password_file: pass}}]",
            r#"Basic { username: "me", password: <secret in /etc/slod/pass> }"#,
        );
        check(
            "[{url: 'http://p', authorization: {credentials: hunter2}, headers: {X-Scope-OrgID: hunter2}}]",
            r#"Token { scheme: "Bearer", token: <secret> }"#,
        );
    }

    #[test]
    fn external_labels_are_labels() {
        let source = &read("[{url: 'http://p', external_labels: {cluster: a, prometheus: b}}]").unwrap()[0];
        assert_eq!(source.client.external_labels.to_string(), r#"{cluster="a",prometheus="b"}"#);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        refused("[{url: 'p:9090'}]", "cannot use sources[0]: url is no address: ");
        refused("[{url: 'ftp://p'}]", "no scheme that slod speaks; write http://host:port");
        refused("[{url: 'http://u:hunter2@p/?x=1'}]", "it has a query");
        refused("[{url: 'http://u:hunter2@p/api/v1/'}]", "ends in /api/v1, which slod adds itself");
        refused("[{url: 'http://p'}, {url: 'http://q'}]", "sources has 2 entries, at most one may be asked");
        refused("[{url: 'http://p', name: ''}]", "name is empty");
        refused("[{url: 'http://p', timeout: 0s}]", "timeout is 0s");
        refused("[{url: 'http://p', pull_interval: 500ms}]", "pull_interval is 500ms, it must be of whole");
        refused("[{url: 'http://p', pull_interval: 3m}]", "pull_interval is 3m and delay 30s, so that SLOs");
        refused("[{url: 'http://p', basic_auth: {username: u}}]", "basic_auth.password is missing, and");
        refused(
            "[{url: 'http://u:hunter2@p', authorization: {credentials: hunter2}}]",
            "it says in several ways who asks",
        );
        refused(
            "[{url: 'http://p', authorization: {credentials: hunter2, credentials_file: x}}]",
            "authorization.credentials and authorization.credentials_file are both there",
        );
        refused("[{url: 'http://p', headers: {Authorization: hunter2}}]", "use authorization or basic_auth");
        refused(
            "[{url: 'http://p', external_labels: {__name__: x}}]",
            "external_labels has __name__, which every",
        );
        refused(
            "[{url: 'http://p', external_labels: {'': x}}]",
            "external_labels are no labels: a label has no name",
        );
        refused("[{url: 'http://p', header: {}}]", "unknown field `header`");
    }
}
