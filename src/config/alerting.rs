//! Who is told of alerts, in Prometheus' own words.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use hyper::Uri;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    Length, at_least_one,
    client::{RawAuthorization, RawBasicAuth, RawTls, credentials, headers, secret},
    positive,
};
use crate::{
    client::{self, Address, Tls},
    labels::Labels,
    notifier::{self, Group, ServerConfig, Webhook, check_target},
};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAlerting {
    alertmanagers: Vec<RawAlertmanagers>,
    webhooks: Vec<RawWebhook>,
    external_labels: BTreeMap<String, String>,
    alert_relabel_configs: Option<IgnoredAny>,
    resend_delay: Option<Length>,
    queue_capacity: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAlertmanagers {
    scheme: String,
    path_prefix: String,
    timeout: Option<Length>,
    api_version: String,
    basic_auth: Option<RawBasicAuth>,
    authorization: Option<RawAuthorization>,
    tls_config: RawTls,
    static_configs: Vec<RawTargets>,
    file_sd_configs: Vec<RawFiles>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTargets {
    targets: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFiles {
    files: Vec<PathBuf>,
    refresh_interval: Option<Length>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawWebhook {
    name: Option<String>,
    url: String,
    secret: Option<String>,
    secret_file: Option<PathBuf>,
    timeout: Option<Length>,
    repeat_interval: Option<Length>,
    basic_auth: Option<RawBasicAuth>,
    authorization: Option<RawAuthorization>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    tls_config: RawTls,
}

// What is needed of an answer to a webhook is its status.
const RESPONSE_BYTES_MAX: usize = 64 << 10;

impl Default for RawAlertmanagers {
    fn default() -> Self {
        Self {
            scheme: "http".to_owned(),
            path_prefix: String::new(),
            timeout: None,
            api_version: "v2".to_owned(),
            basic_auth: None,
            authorization: None,
            tls_config: RawTls::default(),
            static_configs: Vec::new(),
            file_sd_configs: Vec::new(),
        }
    }
}

// === impl RawAlerting ===

impl RawAlerting {
    pub(super) fn validate(self, base: &Path, external_url: String) -> anyhow::Result<notifier::Config> {
        ensure!(
            self.alert_relabel_configs.is_none(),
            "alerting.alert_relabel_configs is not known to slod; put labels into specs, or route by them in Alertmanager"
        );
        Labels::new(&self.external_labels).context("alerting.external_labels are no labels")?;
        let groups = self.alertmanagers.into_iter().enumerate().map(|(n, raw)| {
            raw.validate(base).with_context(|| format!("cannot use alerting.alertmanagers[{n}]"))
        });
        let groups = groups.collect::<anyhow::Result<_>>()?;
        let webhooks =
            self.webhooks.into_iter().enumerate().map(|(n, raw)| {
                raw.validate(base).with_context(|| format!("cannot use alerting.webhooks[{n}]"))
            });
        let webhooks: Vec<Webhook> = webhooks.collect::<anyhow::Result<_>>()?;
        check_names(&webhooks)?;
        let capacity = self.queue_capacity;
        Ok(notifier::Config {
            alertmanagers: groups,
            webhooks,
            external_labels: self.external_labels,
            resend_delay: positive("alerting.resend_delay", self.resend_delay, notifier::RESEND_DELAY)?,
            queue_capacity: at_least_one("alerting.queue_capacity", capacity, notifier::QUEUE_CAPACITY)?,
            external_url,
        })
    }
}

fn check_names(webhooks: &[Webhook]) -> anyhow::Result<()> {
    for (n, webhook) in webhooks.iter().enumerate() {
        ensure!(
            webhooks[..n].iter().all(|other| other.name != webhook.name),
            "two of alerting.webhooks are called {:?}; give each a name of its own",
            webhook.name
        );
    }
    Ok(())
}

// === impl RawAlertmanagers ===

impl RawAlertmanagers {
    fn validate(self, base: &Path) -> anyhow::Result<Group> {
        ensure!(self.api_version == "v2", "api_version is {:?}; slod speaks v2 only", self.api_version);
        ensure!(
            ["http", "https"].contains(&self.scheme.as_str()),
            "scheme is {:?}; it must be http or https",
            self.scheme
        );
        let credentials = credentials(false, self.basic_auth.as_ref(), self.authorization.as_ref(), base)?;
        let timeout = positive("timeout", self.timeout, notifier::TIMEOUT)?;
        let server = ServerConfig { credentials, tls: self.tls_config.validate(base)?, timeout };
        let group = Group {
            server,
            path_prefix: prefix(&self.path_prefix),
            scheme: self.scheme,
            targets: self.static_configs.into_iter().flat_map(|entry| entry.targets).collect(),
            refresh_interval: refresh_interval(&self.file_sd_configs)?,
            files: files(&self.file_sd_configs, base),
        };
        ensure!(
            !group.targets.is_empty() || !group.files.is_empty(),
            "it has no targets; give static_configs or file_sd_configs"
        );
        group.targets.iter().try_for_each(|target| check_target(&group, target))?;
        Ok(group)
    }
}

/// With a slash before it and none at its end.
fn prefix(text: &str) -> String {
    let bare = text.trim_matches('/');
    if bare.is_empty() { String::new() } else { format!("/{bare}") }
}

fn files(configs: &[RawFiles], base: &Path) -> Vec<PathBuf> {
    configs.iter().flat_map(|config| &config.files).map(|file| base.join(file)).collect()
}

/// The shortest, if there are several.
fn refresh_interval(configs: &[RawFiles]) -> anyhow::Result<std::time::Duration> {
    let intervals = configs.iter().map(|config| {
        positive("file_sd_configs.refresh_interval", config.refresh_interval, notifier::REFRESH_INTERVAL)
    });
    let intervals: Vec<_> = intervals.collect::<anyhow::Result<_>>()?;
    Ok(intervals.into_iter().min().unwrap_or(notifier::REFRESH_INTERVAL))
}

// === impl RawWebhook ===

impl RawWebhook {
    fn validate(self, base: &Path) -> anyhow::Result<Webhook> {
        // No error repeats the URL: such ones hold tokens.
        let uri: Uri = self.url.parse().context("url is no URL; write https://host/path")?;
        let Some((scheme, authority)) = uri.scheme_str().zip(uri.authority()) else {
            bail!("url has no scheme or no host; write https://host/path");
        };
        let address: Address = format!("{scheme}://{authority}").parse().context("url is of no use")?;
        let in_url = address.credentials().is_some();
        let said = credentials(in_url, self.basic_auth.as_ref(), self.authorization.as_ref(), base)?;
        let name = self.name.unwrap_or_else(|| address.to_string());
        ensure!(!name.is_empty(), "name is empty; leave it out, and the host is the name");
        let secret = match (&self.secret, &self.secret_file) {
            (None, None) => None,
            (text, file) => Some(secret("secret", text, file, base)?),
        };
        let server = client::Config {
            credentials: said.or_else(|| address.credentials().cloned()),
            address,
            headers: headers(&self.headers)?,
            tls: if uri.scheme_str() == Some("https") {
                self.tls_config.validate(base)?
            } else {
                Tls::default()
            },
            timeout: positive("timeout", self.timeout, notifier::TIMEOUT)?,
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let repeat_interval = positive("repeat_interval", self.repeat_interval, notifier::REPEAT_INTERVAL)?;
        Ok(Webhook { name, server, path, secret, repeat_interval })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(yaml: &str) -> anyhow::Result<notifier::Config> {
        let raw: RawAlerting = serde_saphyr::from_str(yaml)?;
        raw.validate(Path::new("/etc/slod"), "http://slod:9720".to_owned())
    }

    #[track_caller]
    fn refused(yaml: &str, expected: &str) {
        let error = format!("{:#}", read(yaml).unwrap_err());
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hunter2"), "a secret is told: {error}");
    }

    #[test]
    fn prometheus_words_mean_the_same() {
        let config = read(
            "
            alertmanagers:
              - scheme: https
                path_prefix: /am/
                timeout: 5s
                api_version: v2
                basic_auth: {username: slod, password_file: password}
                tls_config: {ca_file: ca.pem, cert_file: a.pem, key_file: a.key}
                static_configs: [{targets: ['a:9093', 'b:9093']}]
                file_sd_configs: [{files: ['am/*.yml'], refresh_interval: 30s}]
            external_labels: {cluster: eu}
            resend_delay: 30s
            queue_capacity: 5",
        )
        .unwrap();
        let group = &config.alertmanagers[0];
        assert_eq!((group.scheme.as_str(), group.path_prefix.as_str()), ("https", "/am"));
        assert_eq!(group.targets, ["a:9093", "b:9093"]);
        assert_eq!(group.files, [Path::new("/etc/slod/am/*.yml")]);
        assert_eq!((group.server.timeout.as_secs(), group.refresh_interval.as_secs()), (5, 30));
        assert_eq!(group.server.tls.ca_file.as_deref(), Some(Path::new("/etc/slod/ca.pem")));
        assert_eq!((config.resend_delay.as_secs(), config.queue_capacity), (30, 5));
        let defaults = &read("alertmanagers: [{static_configs: [{targets: [a]}]}]").unwrap();
        assert_eq!((defaults.resend_delay.as_secs(), defaults.queue_capacity), (60, 10_000));
        assert_eq!(defaults.alertmanagers[0].server.timeout.as_secs(), 10);
    }

    #[test]
    fn a_webhook_keeps_its_path_to_itself() {
        let url = "https://hooks.example.com/services/hunter2/?token=hunter2";
        let config = read(&format!("webhooks: [{{url: '{url}', secret: hunter2}}]")).unwrap();
        let webhook = &config.webhooks[0];
        assert_eq!(webhook.name, "https://hooks.example.com");
        assert_eq!(webhook.path, "/services/hunter2/?token=hunter2");
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        refused("alertmanagers: [{}]", "cannot use alerting.alertmanagers[0]: it has no targets");
        refused("alertmanagers: [{api_version: v1}]", "api_version is \"v1\"; slod speaks v2 only");
        refused("alertmanagers: [{scheme: ftp}]", "scheme is \"ftp\"; it must be http or https");
        refused(
            "alertmanagers: [{static_configs: [{targets: ['http://a:1']}]}]",
            "\"http://a:1\" is no host:port; scheme, path_prefix and basic_auth are keys of their own",
        );
        refused(
            "alertmanagers: [{static_configs: [{targets: [a]}], tls_config: {cert_file: a}}]",
            "tls_config has one of cert_file and key_file",
        );
        refused(
            "alert_relabel_configs: []",
            "alerting.alert_relabel_configs is not known to slod; put labels",
        );
        refused("external_labels: {'': x}", "alerting.external_labels are no labels");
        refused("resend_delay: 0s", "alerting.resend_delay is 0s");
        refused("queue_capacity: 0", "alerting.queue_capacity is 0, it must be at least 1");
        refused("webhooks: [{url: 'hunter2/x'}]", "cannot use alerting.webhooks[0]: url is no URL");
        refused(
            "webhooks: [{url: 'http://a/x'}, {url: 'http://a/y'}]",
            "two of alerting.webhooks are called \"http://a\"",
        );
        refused(
            "webhooks: [{url: 'http://a', secret: hunter2, secret_file: x}]",
            "secret and secret_file are both there",
        );
        refused("receivers: []", "unknown field `receivers`");
    }
}
