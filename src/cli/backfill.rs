//! `slod backfill`: history for a data directory that no slod runs on.
//!
//! What was filled in goes to standard output, progress and what is left out to standard error.

mod directory;
mod input;

use std::{fmt::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::{Context, ensure};
use clap::Args;

use super::{
    backtest::{Range, moment, progress::Progress},
    complain, print,
};
use crate::{
    backfill::Backfill,
    config::{self, Config, Flags, specs},
    daemon::SystemClock,
    report::SloReport,
    slo::Slo,
    time::{Clock, Timestamp},
};
use directory::{Directory, Job, Skipped};
use input::Input;

#[derive(Debug, Args)]
pub(super) struct BackfillArgs {
    /// Configuration file
    #[arg(long = "config.file", default_value = "slod.yaml", value_name = "FILE")]
    config_file: PathBuf,
    /// Directory for state [default: data]
    #[arg(long = "storage.path", value_name = "DIR")]
    storage_path: Option<PathBuf>,
    #[command(flatten)]
    history: HistoryArgs,
    /// Fill in nothing before this time: RFC 3339, seconds since 1970, or as long ago, like 30d
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
}

/// Where history comes from; the first of the configured sources if it is not said.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct HistoryArgs {
    /// History as OpenMetrics with times, or Prometheus' text format with times; - for standard input
    #[arg(long, value_name = "FILE")]
    openmetrics: Option<PathBuf>,
    /// History as `promtool tsdb dump` prints it; - for standard input
    #[arg(long = "tsdb-dump", value_name = "FILE")]
    tsdb_dump: Option<PathBuf>,
    /// History of a server with Prometheus' API
    #[arg(long, value_name = "URL")]
    source: Option<String>,
}

/// What became of some SLOs.
#[derive(Debug)]
struct Done {
    slos: Vec<Slo>,
    range: Range,
    samples: u64,
}

// What a report is evaluated behind the clock, and a little more: history must not be ahead of it.
const MARGIN: Duration = Duration::from_secs(10);

pub(super) fn backfill(args: &BackfillArgs) -> anyhow::Result<ExitCode> {
    let clock = SystemClock::default();
    let now = clock.now();
    let config = args.config()?;
    let slos = load_specs(&config)?;
    let from = args.from.as_deref().map(|text| moment(text, now)).transpose().context("cannot use --from")?;
    let latest = now - config.engine.delay - config.engine.resolution() * 4 - MARGIN;
    let progress = Progress::new();
    // Before anything is read, which may take long.
    let mut directory = Directory::open(&config, slos.clone(), now)?;
    let mut input = Input::new(&args.history, &config, &slos, &progress)?;
    let end = input.end(now).min(latest);
    let (jobs, skipped) = directory.jobs(end);
    let mut all = Vec::new();
    for job in jobs {
        let done = fill(&mut directory, &mut input, job, from, &progress)?;
        all.push(done);
    }
    progress.clear();
    let reports = directory.commit(clock.now(), end)?;
    print(&summary(&all, &skipped, &reports))?;
    Ok(ExitCode::SUCCESS)
}

fn fill(
    directory: &mut Directory,
    input: &mut Input<'_>,
    job: Job,
    from: Option<Timestamp>,
    progress: &Progress,
) -> anyhow::Result<Done> {
    let slos: Vec<Slo> = job.slos.iter().map(|(_, slo)| Slo::clone(slo)).collect();
    let mut backfill = Backfill::new(directory.config().clone(), slos.clone(), job.beginning);
    let (first, until) = backfill.span();
    let range = Range { from: from.map_or(first, |from| from.max(first)), to: until };
    input.read(&mut backfill, range, progress)?;
    let samples = backfill.samples();
    directory.add(&job, backfill)?;
    Ok(Done { slos, range, samples })
}

fn load_specs(config: &Config) -> anyhow::Result<Vec<Slo>> {
    let specs = specs::load_under(&config.specs, &config.spec_settings());
    specs.diagnostics.iter().for_each(|diagnostic| complain(&diagnostic.to_string()));
    ensure!(!specs.has_errors(), "the specs have errors; nothing was filled in");
    ensure!(!specs.slos.is_empty(), "there are no SLOs (specs in the configuration file)");
    Ok(specs.slos)
}

fn summary(all: &[Done], skipped: &[Skipped], reports: &[SloReport]) -> String {
    let mut text = String::new();
    let mut line = |line: String| _ = writeln!(text, "{line}");
    for Done { slos, range: Range { from, to }, samples } in all {
        line(format!("from {} to {}, {samples} samples of the series of:", show(*from), show(*to)));
        for slo in slos {
            let report = reports.iter().find(|report| report.slo.id == slo.id && report.group.is_empty());
            let budget = report.and_then(|report| report.budgets.first());
            line(match budget {
                Some(budget) => format!(
                    "  {}: {:.4}% of the budget is left, {:.1}% of its window is covered",
                    slo.id,
                    budget.remaining * 100.0,
                    budget.coverage * 100.0
                ),
                None => format!("  {}", slo.id),
            });
        }
    }
    for Skipped { slo, reason } in skipped {
        line(format!("not filled in, {slo}: {reason}"));
    }
    text
}

fn show(at: Timestamp) -> String {
    super::backtest::sections::moment(at)
}

// === impl BackfillArgs ===

impl BackfillArgs {
    fn config(&self) -> anyhow::Result<Config> {
        let flags = Flags { storage_path: self.storage_path.clone(), ..Flags::default() };
        config::load(Some(&self.config_file), &flags)
    }
}
