//! The daemon's configuration: a YAML file, then `SLOD_*` environment variables, then flags.
//!
//! Raw values are read into one struct with `deny_unknown_fields`, checked once here, and handed on as
//! the plain configuration struct of each module. Names in the environment separate levels with two
//! underscores: `SLOD_WEB__LISTEN_ADDRESS`.

mod alerting;
mod client;
mod exposition;
mod sources;
pub mod specs;

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use config::{Environment, File, FileFormat};
use serde::{Deserialize, Deserializer, de};

use crate::{
    engine,
    ingest::{self, ha},
    notifier, remote_write, spec,
    storage::log::{self, Durability},
    time, web,
};

pub use sources::Source;

/// Everything the daemon is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Files, directories or globs of specs, made absolute against the configuration file's directory.
    pub specs: Vec<String>,
    /// The server that is asked for what cannot be streamed; at most one.
    pub sources: Vec<Source>,
    /// The period of Sloth's SLOs, whose specs do not say one.
    pub sloth_default_slo_period: Duration,
    /// Where state is kept.
    pub storage_path: PathBuf,
    /// How accepted requests are kept.
    pub log: log::Config,
    /// How often state is written.
    pub checkpoint_interval: Duration,
    /// The most groups of one SLO.
    pub groups_per_slo_max: usize,
    /// Who is told of alerts.
    pub alerting: notifier::Config,
    /// What is published.
    pub exposition: crate::exposition::Config,
    /// Where it is written to beside.
    pub remote_write: Vec<remote_write::Config>,
    /// The HTTP side.
    pub web: web::Config,
    /// The write path.
    pub ingest: ingest::Config,
    /// The evaluation.
    pub engine: engine::Config,
}

/// What the command line may say; it wins over the file and the environment.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--web.listen-address`
    pub listen_address: Option<String>,
    /// `--storage.path`
    pub storage_path: Option<PathBuf>,
    /// `--web.enable-lifecycle`
    pub enable_lifecycle: bool,
}

/// Defaults are those of the modules; this mirrors `config/slod.yaml`, which a test keeps equal.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Raw {
    specs: Vec<String>,
    evaluation_interval: Option<Length>,
    evaluation_delay: Option<Length>,
    stale_after: Option<Length>,
    sender_timeout: Option<Length>,
    sources: Vec<sources::RawSource>,
    sloth: RawSloth,
    alerting: alerting::RawAlerting,
    exposition: exposition::RawExposition,
    remote_write: Vec<exposition::RawRemoteWrite>,
    web: RawWeb,
    storage: RawStorage,
    ingest: RawIngest,
    ha: RawHa,
    limits: RawLimits,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawWeb {
    listen_address: Option<String>,
    external_url: Option<String>,
    read_timeout: Option<Length>,
    body_bytes_max: Option<usize>,
    connections_max: Option<usize>,
    concurrent_bytes_max: Option<usize>,
    enable_lifecycle: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSloth {
    default_slo_period: Option<Length>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawStorage {
    path: Option<PathBuf>,
    durability: Option<RawDurability>,
    sync_interval: Option<Length>,
    checkpoint_interval: Option<Length>,
    retention_time: Option<Length>,
    retention_bytes: Option<u64>,
    free_bytes_min: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawDurability {
    Sync,
    Interval,
    None,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawIngest {
    warm_up: Option<Length>,
    max_gap: Option<Length>,
    future_max: Option<Length>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawHa {
    cluster_label: Option<String>,
    replica_label: Option<String>,
    failover_timeout: Option<Length>,
    clusters_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLimits {
    series_max: Option<usize>,
    groups_per_slo_max: Option<usize>,
    deferred_max: Option<usize>,
    labels_per_series_max: Option<usize>,
    label_bytes_max: Option<usize>,
    decoded_bytes_max: Option<usize>,
}

/// A duration as Prometheus writes it.
#[derive(Clone, Copy, Debug)]
struct Length(Duration);

// What is replayed at a start is a minute at most: a second or so at a hundred thousand samples a second.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(60);
// For tests of crashes; more often than evaluations it is not written.
const CHECKPOINT_INTERVAL_MIN: Duration = Duration::from_millis(100);
// An hour of log takes as long to replay as a minute sixty times.
const CHECKPOINT_INTERVAL_MAX: Duration = Duration::from_secs(3_600);
const STORAGE_PATH: &str = "data";
// As `web::Config::default`, whose port it is about.
const LISTEN_ADDRESS: &str = ":9720";
// Routes, tenants, methods: hundreds are usual; a user id as a label should not take the memory.
const GROUPS_PER_SLO_MAX: usize = 10_000;
// Below this the clock and the senders' batches say more than the evaluation does.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
// What a sender's retries and slow shards may add to a delay that is configured for its usual lag.
const LATE_MARGIN: Duration = Duration::from_secs(60);
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Reads the configuration.
///
/// # Errors
/// When the file cannot be read, a key is unknown, or a value is out of its range; says which.
pub fn load(file: Option<&Path>, flags: &Flags) -> anyhow::Result<Config> {
    let variables = std::env::vars().filter(|(name, _)| !is_service_link(name)).collect();
    load_from(file, flags, Environment::with_prefix("SLOD").source(Some(variables)))
}

/// Whether Kubernetes set a variable: it tells every container of a service called `slod` by
/// `SLOD_SERVICE_HOST`, `SLOD_PORT_9720_TCP` and the like.
fn is_service_link(name: &str) -> bool {
    name == "SLOD_PORT" || name.starts_with("SLOD_PORT_") || name.starts_with("SLOD_SERVICE_")
}

fn load_from(file: Option<&Path>, flags: &Flags, environment: Environment) -> anyhow::Result<Config> {
    let mut builder = config::Config::builder();
    if let Some(file) = file {
        let text = std::fs::read_to_string(file)
            .with_context(|| format!("cannot read configuration file {}", file.display()))?;
        builder = builder.add_source(File::from_str(&text, FileFormat::Yaml));
    }
    let environment = environment
        .prefix_separator("_")
        .separator("__")
        .try_parsing(true)
        .list_separator(",")
        .with_list_parse_key("specs");
    let raw: Raw = builder
        .add_source(environment)
        .set_override_option("web.listen_address", flags.listen_address.clone())?
        .set_override_option("web.enable_lifecycle", flags.enable_lifecycle.then_some(true))?
        .set_override_option("storage.path", flags.storage_path.as_ref().map(|p| p.display().to_string()))?
        .build()
        .and_then(config::Config::try_deserialize)
        .with_context(|| match file {
            Some(file) => {
                format!("cannot use configuration file {} with SLOD_* variables and flags", file.display())
            }
            None => "cannot use the configuration".to_owned(),
        })?;
    let base = file.and_then(Path::parent).unwrap_or(Path::new(""));
    raw.validate(base)
}

// === impl Config ===

impl Config {
    /// What the meaning of specs depends on.
    pub fn spec_settings(&self) -> spec::Settings {
        let pull_interval = self.sources.first().map(|source| source.pull_interval);
        spec::Settings { pull_interval, sloth_default_slo_period: self.sloth_default_slo_period }
    }
}

// === impl RawSloth ===

impl RawSloth {
    fn validate(self) -> anyhow::Result<Duration> {
        let default = spec::Settings::default().sloth_default_slo_period;
        let period = self.default_slo_period.map_or(default, |length| length.0);
        ensure!(
            !period.is_zero() && period <= spec::WINDOW_MAX,
            "sloth.default_slo_period is {}; it must be above 0s and at most {}",
            time::format_duration(period),
            time::format_duration(spec::WINDOW_MAX),
        );
        Ok(period)
    }
}

// === impl Raw ===

impl Raw {
    fn validate(self, base: &Path) -> anyhow::Result<Config> {
        let engine = self.engine()?;
        Ok(Config {
            sources: sources::validate(self.sources, base, engine.stale_after)?,
            sloth_default_slo_period: self.sloth.validate()?,
            alerting: self.alerting.validate(base, self.web.external_url()?)?,
            exposition: self.exposition.validate()?,
            remote_write: exposition::validate_remote_write(self.remote_write, base)?,
            web: self.web.validate()?,
            ingest: ingest::Config {
                ha: self.ha.validate()?,
                ..ingest_config(&self.ingest, &self.limits, engine.delay)?
            },
            engine,
            specs: self.specs.iter().map(|spec| base.join(spec).display().to_string()).collect(),
            log: self.storage.log()?,
            checkpoint_interval: self.storage.checkpoint_interval()?,
            storage_path: self.storage.path.unwrap_or_else(|| STORAGE_PATH.into()),
            groups_per_slo_max: at_least_one(
                "limits.groups_per_slo_max",
                self.limits.groups_per_slo_max,
                GROUPS_PER_SLO_MAX,
            )?,
        })
    }

    fn engine(&self) -> anyhow::Result<engine::Config> {
        let defaults = engine::Config::default();
        let interval = self.evaluation_interval.map_or(defaults.interval, |length| length.0);
        ensure!(
            (INTERVAL_MIN..=INTERVAL_MAX).contains(&interval),
            "evaluation_interval is {}, it must be between {} and {}",
            time::format_duration(interval),
            time::format_duration(INTERVAL_MIN),
            time::format_duration(INTERVAL_MAX),
        );
        Ok(engine::Config {
            interval,
            delay: self.evaluation_delay.map_or(defaults.delay, |length| length.0),
            stale_after: positive("stale_after", self.stale_after, defaults.stale_after)?,
            sender_timeout: positive("sender_timeout", self.sender_timeout, defaults.sender_timeout)?,
        })
    }
}

// === impl RawStorage ===

impl RawStorage {
    fn log(&self) -> anyhow::Result<log::Config> {
        let defaults = log::Config::default();
        let durability = self.durability.map(|durability| match durability {
            RawDurability::Sync => Durability::Sync,
            RawDurability::Interval => Durability::Interval,
            RawDurability::None => Durability::None,
        });
        Ok(log::Config {
            durability: durability.unwrap_or(defaults.durability),
            sync_interval: positive("storage.sync_interval", self.sync_interval, defaults.sync_interval)?,
            retention: self.retention_time.map_or(defaults.retention, |length| length.0),
            size_max: self.retention_bytes.unwrap_or(defaults.size_max),
            free_bytes_min: self.free_bytes_min.unwrap_or(defaults.free_bytes_min),
            ..defaults
        })
    }

    fn checkpoint_interval(&self) -> anyhow::Result<Duration> {
        let interval = self.checkpoint_interval.map_or(CHECKPOINT_INTERVAL, |length| length.0);
        ensure!(
            (CHECKPOINT_INTERVAL_MIN..=CHECKPOINT_INTERVAL_MAX).contains(&interval),
            "storage.checkpoint_interval is {}, it must be between {} and {}",
            time::format_duration(interval),
            time::format_duration(CHECKPOINT_INTERVAL_MIN),
            time::format_duration(CHECKPOINT_INTERVAL_MAX),
        );
        Ok(interval)
    }
}

// === impl RawWeb ===

impl RawWeb {
    /// Where people find slod, without a slash at its end: by default at this host, as Prometheus has it.
    fn external_url(&self) -> anyhow::Result<String> {
        let Some(url) = &self.external_url else {
            let port = self.listen_address.as_deref().unwrap_or(LISTEN_ADDRESS).rsplit(':').next();
            return Ok(format!("http://{}:{}", host_name(), port.unwrap_or_default()));
        };
        let uri: hyper::Uri = url
            .parse()
            .with_context(|| format!("web.external_url {url:?} is no URL; write https://host/path"))?;
        ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none(),
            "web.external_url {url:?} is of no use; write https://host/path"
        );
        Ok(url.trim_end_matches('/').to_owned())
    }

    fn validate(self) -> anyhow::Result<web::Config> {
        let defaults = web::Config::default();
        let body_bytes_max =
            at_least_one("web.body_bytes_max", self.body_bytes_max, defaults.body_bytes_max)?;
        let concurrent_bytes_max = self.concurrent_bytes_max.unwrap_or(defaults.concurrent_bytes_max);
        ensure!(
            concurrent_bytes_max >= body_bytes_max,
            "web.concurrent_bytes_max is {concurrent_bytes_max}, less than one body may have: {body_bytes_max} \
             (web.body_bytes_max)"
        );
        Ok(web::Config {
            body_bytes_max,
            listen_address: match &self.listen_address {
                Some(address) => parse_address(address)?,
                None => defaults.listen_address,
            },
            read_timeout: positive("web.read_timeout", self.read_timeout, defaults.read_timeout)?,
            connections_max: at_least_one(
                "web.connections_max",
                self.connections_max,
                defaults.connections_max,
            )?,
            concurrent_bytes_max,
            enable_lifecycle: self.enable_lifecycle,
        })
    }
}

// === impl RawHa ===

impl RawHa {
    fn validate(self) -> anyhow::Result<ha::Config> {
        let defaults = ha::Config::default();
        let config = ha::Config {
            cluster_label: self.cluster_label.unwrap_or(defaults.cluster_label),
            replica_label: self.replica_label.unwrap_or(defaults.replica_label),
            failover_timeout: positive(
                "ha.failover_timeout",
                self.failover_timeout,
                defaults.failover_timeout,
            )?,
            clusters_max: at_least_one("ha.clusters_max", self.clusters_max, defaults.clusters_max)?,
        };
        ensure!(
            !config.cluster_label.is_empty(),
            "ha.cluster_label is empty; to count every replica, set ha.replica_label to \"\" instead"
        );
        ensure!(
            config.cluster_label != config.replica_label,
            "ha.cluster_label and ha.replica_label are both {:?}; they must be two labels",
            config.cluster_label
        );
        Ok(config)
    }
}

/// What this machine is called, as far as is known without asking anybody.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}

/// `host:port`, or `:port` for every address, as Prometheus takes it.
fn parse_address(address: &str) -> anyhow::Result<SocketAddr> {
    let full = if address.starts_with(':') { format!("0.0.0.0{address}") } else { address.to_owned() };
    let mut resolved = full
        .to_socket_addrs()
        .with_context(|| format!("web.listen_address {address:?} is no address; write host:port"))?;
    resolved.next().with_context(|| format!("web.listen_address {address:?} has no address"))
}

fn ingest_config(
    raw: &RawIngest,
    limits: &RawLimits,
    evaluation_delay: Duration,
) -> anyhow::Result<ingest::Config> {
    let defaults = ingest::Config::default();
    let limit = |name: &str, value, default| at_least_one(&format!("limits.{name}"), value, default);
    Ok(ingest::Config {
        decoded_bytes_max: limit("decoded_bytes_max", limits.decoded_bytes_max, defaults.decoded_bytes_max)?,
        labels_per_series_max: limit(
            "labels_per_series_max",
            limits.labels_per_series_max,
            defaults.labels_per_series_max,
        )?,
        label_bytes_max: limit("label_bytes_max", limits.label_bytes_max, defaults.label_bytes_max)?,
        series_max: limit("series_max", limits.series_max, defaults.series_max)?,
        deferred_max: limit("deferred_max", limits.deferred_max, defaults.deferred_max)?,
        future_max: raw.future_max.map_or(defaults.future_max, |length| length.0),
        max_gap: positive("ingest.max_gap", raw.max_gap, defaults.max_gap)?,
        late_after: evaluation_delay + LATE_MARGIN,
        warm_up: raw.warm_up.map_or(defaults.warm_up, |length| length.0),
        ha: defaults.ha,
    })
}

fn at_least_one(name: &str, value: Option<usize>, default: usize) -> anyhow::Result<usize> {
    match value {
        Some(0) => bail!("{name} is 0, it must be at least 1"),
        value => Ok(value.unwrap_or(default)),
    }
}

fn positive(name: &str, value: Option<Length>, default: Duration) -> anyhow::Result<Duration> {
    let duration = value.map_or(default, |length| length.0);
    ensure!(!duration.is_zero(), "{name} is 0s, it must be longer");
    Ok(duration)
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        time::parse_duration(&text).map(Self).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn load_text(yaml: &str, environment: &[(&str, &str)], flags: &Flags) -> anyhow::Result<Config> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("slod.yaml");
        std::fs::write(&file, yaml).unwrap();
        let variables: HashMap<String, String> =
            environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        load_from(Some(&file), flags, Environment::with_prefix("SLOD").source(Some(variables)))
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let yaml = "web: {listen_address: '127.0.0.1:1'}\nevaluation_delay: 2s\nevaluation_interval: 5s\n";
        let environment = [
            ("SLOD_WEB__LISTEN_ADDRESS", "127.0.0.1:2"),
            ("SLOD_EVALUATION_INTERVAL", "3s"),
            ("SLOD_SPECS", "a,b"),
        ];
        let flags =
            Flags { listen_address: Some(":3".into()), storage_path: Some("/x".into()), ..Flags::default() };
        let config = load_text(yaml, &environment, &flags).unwrap();
        assert_eq!(config.web.listen_address.to_string(), "0.0.0.0:3");
        assert_eq!(config.engine.interval, Duration::from_secs(3));
        assert_eq!(config.engine.delay, Duration::from_secs(2));
        assert_eq!(config.storage_path, Path::new("/x"));
        assert_eq!(config.specs.len(), 2);
    }

    #[test]
    fn the_service_links_of_kubernetes_are_none_of_ours() {
        for name in ["SLOD_PORT", "SLOD_PORT_9720_TCP_ADDR", "SLOD_SERVICE_HOST", "SLOD_SERVICE_PORT_HTTP"] {
            assert!(is_service_link(name), "{name}");
        }
        assert!(!is_service_link("SLOD_WEB__LISTEN_ADDRESS") && !is_service_link("SLOD_SPECS"));
    }

    #[test]
    fn specs_are_found_beside_the_file() {
        let config = load_text("specs: [slos/*.yaml, /etc/x.yaml]", &[], &Flags::default()).unwrap();
        assert!(config.specs[0].ends_with("/slos/*.yaml") && config.specs[0].starts_with('/'));
        assert_eq!(config.specs[1], "/etc/x.yaml");
    }

    #[track_caller]
    fn refused(yaml: &str, expected: &str) {
        let error = format!("{:#}", load_text(yaml, &[], &Flags::default()).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        refused("spec: []", "unknown field `spec`, expected one of `specs`");
        refused("evaluation_interval: 10ms", "evaluation_interval is 10ms, it must be between 100ms and 1m");
        refused("evaluation_delay: soon", "\"soon\" is not a duration");
        refused("limits: {series_max: 0}", "limits.series_max is 0, it must be at least 1");
        refused("web: {listen_address: nowhere}", "web.listen_address \"nowhere\" is no address");
        refused(
            "web: {concurrent_bytes_max: 5}",
            "web.concurrent_bytes_max is 5, less than one body may have",
        );
        refused("stale_after: 0s", "stale_after is 0s");
        refused(
            "sloth: {default_slo_period: 91d}",
            "sloth.default_slo_period is 13w; it must be above 0s and at most 90d",
        );
        refused("ha: {failover_timeout: 0s}", "ha.failover_timeout is 0s");
        refused("ha: {clusters_max: 0}", "ha.clusters_max is 0");
        refused("ha: {cluster_label: ''}", "ha.cluster_label is empty");
        refused("ha: {cluster_label: x, replica_label: x}", "are both \"x\"");
        refused("specs: [", "cannot use configuration file");
    }

    #[test]
    fn an_empty_replica_label_turns_elections_off() {
        let config = load_text("ha: {replica_label: ''}", &[], &Flags::default()).unwrap();
        assert_eq!(config.ingest.ha.replica_label, "");
    }

    #[test]
    fn the_example_says_the_defaults() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/slod.yaml");
        let example = load_from(Some(&example), &Flags::default(), Environment::with_prefix("NONE")).unwrap();
        let defaults = load_text("{}", &[], &Flags::default()).unwrap();
        assert_eq!(example.engine, defaults.engine);
        assert_eq!(format!("{:?}", example.web), format!("{:?}", defaults.web));
        assert_eq!(format!("{:?}", example.ingest), format!("{:?}", defaults.ingest));
        assert_eq!(example.sources, defaults.sources);
        assert_eq!(example.alerting, defaults.alerting);
        assert_eq!(example.exposition, defaults.exposition);
        assert_eq!(example.remote_write, defaults.remote_write);
        assert_eq!(example.sloth_default_slo_period, defaults.sloth_default_slo_period);
        assert_eq!(example.storage_path, defaults.storage_path);
        assert_eq!(example.groups_per_slo_max, defaults.groups_per_slo_max);
    }
}
