//! `slod backtest`: what alerts would have fired, had an SLO been there.
//!
//! The report goes to standard output, progress and what is left out to standard error.

mod chart;
pub(super) mod input;
mod json;
mod log;
mod page;
pub(super) mod progress;
pub(super) mod sections;

use std::{fs, io, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::{Args, ValueEnum};

use super::{SpecArgs, complain, is_colorful, print};
use crate::{
    backtest::{self, Backtest, Incident, Report},
    config::{self, Flags, specs},
    daemon::SystemClock,
    slo::Slo,
    spec::Specs,
    time::{Clock, Timestamp, parse_duration},
};
use chart::Paint;
use input::Input;
use page::Style;
use progress::Progress;

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    #[command(flatten)]
    specs: SpecArgs,
    #[command(flatten)]
    history: HistoryArgs,
    /// Replay from this time on: RFC 3339, seconds since 1970, or as long ago, like 30d
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Replay up to this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Time between two evaluations; times of alerts are as exact as this
    #[arg(long = "evaluation-interval", default_value = "30s", value_name = "DURATION")]
    interval: String,
    /// Only this SLO, by name or service/name; may be repeated
    #[arg(long = "slo", value_name = "NAME")]
    slos: Vec<String>,
    /// Incidents that alerts should have told, as YAML or CSV (docs/backtesting.md)
    #[arg(long, value_name = "FILE")]
    incidents: Option<PathBuf>,
    /// Try other windows and factors, and recommend the best
    #[arg(long)]
    tune: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t = Output::Human)]
    format: Output,
}

/// Where history comes from.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct HistoryArgs {
    /// History as OpenMetrics with times, or Prometheus' text format with times; - for standard input
    #[arg(long, value_name = "FILE")]
    openmetrics: Option<PathBuf>,
    /// History as `promtool tsdb dump` prints it; - for standard input
    #[arg(long = "tsdb-dump", value_name = "FILE")]
    tsdb_dump: Option<PathBuf>,
    /// History that slod itself received: its data directory (storage.path), also of one that runs
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    /// History of a server with Prometheus' API, at this URL or that of the first of the configured sources
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    source: Option<String>,
}

/// For whom to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Human,
    /// For a pull request
    Markdown,
    /// For programs (docs/backtesting.md)
    Json,
}

/// What a replay took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Reading history.
    reading: Duration,
    /// Replaying it.
    replaying: Duration,
    /// The most memory the process had; `None` where the system does not say.
    peak_bytes: Option<u64>,
}

/// From when to when to replay, with both ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn backtest(args: &BacktestArgs) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::default();
    let specs = args.load_specs()?;
    let incidents = args.incidents(&specs.slos)?;
    let range = args.range(clock.now())?;
    let daemon = args.as_configured()?;
    let config = args.config(&daemon, incidents)?;
    let configured = daemon.sources.into_iter().next().map(|source| source.client);
    let input = Input::new(&args.history, configured, clock.now())?;
    let mut backtest = Backtest::new(args.select(specs.slos)?, config)?;
    let progress = Progress::new();
    input.read(&mut backtest, range, &progress)?;
    let reading = clock.elapsed();
    progress.replaying(&backtest);
    let report = backtest.finish(|at| progress.step(at))?;
    progress.clear();
    let cost = Cost { reading, replaying: clock.elapsed().saturating_sub(reading), peak_bytes: peak_bytes() };
    print(&render(args.format, &report, cost)?)?;
    Ok(ExitCode::SUCCESS)
}

fn render(output: Output, report: &Report, cost: Cost) -> anyhow::Result<String> {
    let sections = || sections::sections(report, cost);
    match output {
        Output::Human => {
            let paint = if is_colorful(&io::stdout()) { Paint::Colors } else { Paint::Plain };
            Ok(page::render(&sections(), Style::Human(paint)))
        }
        Output::Markdown => Ok(page::render(&sections(), Style::Markdown)),
        Output::Json => Ok(serde_json::to_string_pretty(&json::document(report, cost))? + "\n"),
    }
}

// === impl BacktestArgs ===

impl BacktestArgs {
    fn load_specs(&self) -> anyhow::Result<Specs> {
        let (patterns, settings) = self.specs.resolve()?;
        let specs = specs::load_under(&patterns, &settings);
        specs.diagnostics.iter().for_each(|diagnostic| complain(&diagnostic.to_string()));
        ensure!(!specs.has_errors(), "the specs have errors; nothing was replayed");
        Ok(specs)
    }

    /// The SLOs that are asked for.
    fn select(&self, slos: Vec<Slo>) -> anyhow::Result<Vec<Slo>> {
        let is_of = |slo: &Slo, name: &String| *name == slo.id.name || *name == slo.id.to_string();
        if let Some(unknown) = self.slos.iter().find(|name| !slos.iter().any(|slo| is_of(slo, name))) {
            bail!("no SLO is called {unknown:?} (--slo); `slod check` lists those there are");
        }
        let is_asked_for = |slo: &Slo| self.slos.is_empty() || self.slos.iter().any(|name| is_of(slo, name));
        Ok(slos.into_iter().filter(is_asked_for).collect())
    }

    /// As the daemon would be, whose configuration this is.
    fn config(&self, daemon: &config::Config, incidents: Vec<Incident>) -> anyhow::Result<backtest::Config> {
        let interval = parse_duration(&self.interval).context("cannot use --evaluation-interval")?;
        ensure!(
            interval >= SECOND && interval <= HOUR,
            "--evaluation-interval is {}, it must be within 1s and 1h",
            self.interval
        );
        let resolution = daemon.engine.resolution();
        ensure!(
            interval.as_millis().is_multiple_of(resolution.as_millis()),
            "--evaluation-interval is {}, it must be a multiple of the resolution of {} s (evaluation.interval)",
            self.interval,
            resolution.as_secs_f64()
        );
        Ok(backtest::Config {
            interval,
            engine: daemon.engine.clone(),
            ingest: daemon.ingest.clone(),
            groups_per_slo_max: daemon.groups_per_slo_max,
            incidents,
            tune: self.tune,
        })
    }

    /// What the configuration file says, if it is there.
    fn as_configured(&self) -> anyhow::Result<config::Config> {
        let file = Some(&*self.specs.config_file).filter(|file| file.exists());
        config::load(file, &Flags::default())
    }

    fn incidents(&self, slos: &[Slo]) -> anyhow::Result<Vec<Incident>> {
        let Some(path) = &self.incidents else { return Ok(Vec::new()) };
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the incidents of {}", path.display()))?;
        let read = backtest::read_incidents(&path.display().to_string(), &text);
        let incidents = read.map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("cannot use the incidents:\n{}", lines.join("\n"))
        })?;
        for incident in &incidents {
            let is_known = slos.iter().any(|slo| incident.is_of(&slo.id));
            let slo = incident.slo.as_deref().unwrap_or_default();
            ensure!(is_known, "incident {:?} is about SLO {slo:?}, and no spec has it", incident.name);
        }
        Ok(incidents)
    }

    fn range(&self, now: Timestamp) -> anyhow::Result<Range> {
        let from =
            self.from.as_deref().map(|text| moment(text, now)).transpose().context("cannot use --from")?;
        let to = self.to.as_deref().map(|text| moment(text, now)).transpose().context("cannot use --to")?;
        let range =
            Range { from: from.unwrap_or(Timestamp(i64::MIN)), to: to.unwrap_or(Timestamp(i64::MAX)) };
        ensure!(range.from < range.to, "--from is not before --to");
        Ok(range)
    }
}

/// A time, or so long ago.
pub(super) fn moment(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(now - ago);
    }
    backtest::moment(text).map_err(|reason| anyhow::anyhow!("{reason}, or so long ago, like 30d"))
}

/// The most memory the process ever had, as Linux tells it.
fn peak_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests;
