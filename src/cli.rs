//! The commands of the `slod` binary: what a person types, and what they see.
//!
//! The only place that writes to standard output. Exit codes: 0 done, 1 something is wrong with what was
//! given or it cannot be done, 2 the command line is not understood.

mod backfill;
mod backtest;
mod check;
mod convert;
pub mod demo;
mod serve;
mod storage;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::level_filters::LevelFilter;

use crate::{
    config::{self, Flags},
    dashboards, rules, spec,
};

/// slod evaluates service level objectives on a stream of Prometheus samples.
#[derive(Debug, Parser)]
#[command(name = "slod", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Receive remote-write, evaluate SLOs, publish them
    Serve(ServeArgs),
    /// Validate spec files; exit code 1 if one has an error
    Check(CheckArgs),
    /// Print specs of any format as YAML of slod's own; exit code 1 if one cannot be
    Convert(ConvertArgs),
    /// Print the JSON Schema of slod's own spec format, for editors
    Schema,
    /// Print Prometheus rules that alert on slod's series
    Rules(RulesArgs),
    /// Write Grafana dashboards of slod's series
    Dashboards(DashboardsArgs),
    /// Fill a data directory with history, while no slod runs on it
    Backfill(backfill::BackfillArgs),
    /// Replay history: which alerts would have fired, and with --tune which settings do better
    Backtest(backtest::BacktestArgs),
    /// Look at what a data directory holds, and whether all of it can be read
    Storage(storage::StorageArgs),
    /// Run slod with a simulated service and a live view of its SLOs
    Demo(DemoArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Configuration file
    #[arg(long = "config.file", default_value = "slod.yaml", value_name = "FILE")]
    config_file: PathBuf,
    /// Address to listen on [default: 0.0.0.0:9720]
    #[arg(long = "web.listen-address", value_name = "HOST:PORT")]
    listen_address: Option<String>,
    /// Read the specs anew at POST /-/reload, for whoever reaches the address; SIGHUP does so in any case
    #[arg(long = "web.enable-lifecycle")]
    enable_lifecycle: bool,
    /// Directory for state [default: data]
    #[arg(long = "storage.path", value_name = "DIR")]
    storage_path: Option<PathBuf>,
    #[command(flatten)]
    log: LogArgs,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// Only log messages of this severity or above: debug, info, warn, error
    #[arg(long = "log.level", default_value = "info", value_name = "LEVEL")]
    log_level: LevelFilter,
}

/// Which specs a command is for.
#[derive(Debug, Args)]
struct SpecArgs {
    /// Spec files, directories or globs; those of the configuration file when none is given
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// Configuration file to take the specs from
    #[arg(long = "config.file", default_value = "slod.yaml", value_name = "FILE")]
    config_file: PathBuf,
}

#[derive(Debug, Args)]
struct ConvertArgs {
    #[command(flatten)]
    specs: SpecArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    specs: SpecArgs,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Print what is counted of which series, when each alert fires, and what it costs, of each SLO
    #[arg(long, conflicts_with_all = ["format", "keep_list"])]
    explain: bool,
    /// Print the write_relabel_configs that send only the series the SLOs need
    #[arg(long = "keep-list", conflicts_with = "format")]
    keep_list: bool,
    /// Ask the Prometheus of this URL which selectors have no series; with basic auth as user:password@
    #[arg(long, value_name = "URL")]
    live: Option<String>,
    /// Exit with 1 for warnings, too
    #[arg(long = "fatal-warnings")]
    fatal_warnings: bool,
}

#[derive(Debug, Args)]
struct RulesArgs {
    /// Who reads them
    #[arg(long, value_enum, default_value_t = RulesFormat::Prometheus)]
    format: RulesFormat,
}

/// Who reads rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum RulesFormat {
    /// A rule file of Prometheus
    Prometheus,
    /// A PrometheusRule of the Prometheus operator
    PrometheusOperator,
}

#[derive(Debug, Args)]
struct DashboardsArgs {
    /// Directory for the files
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
}

/// For whom to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For programs (docs/checking.md, docs/storage.md)
    Json,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Address to listen on
    #[arg(long = "web.listen-address", default_value = "127.0.0.1:9720", value_name = "HOST:PORT")]
    listen_address: String,
}

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Serve(args) => serve::serve(args),
        Command::Check(args) => check::check(&args),
        Command::Convert(args) => convert::convert(&args),
        Command::Schema => convert::schema(),
        Command::Rules(args) => print(&rules::rule_file(args.format.into())).map(|()| ExitCode::SUCCESS),
        Command::Dashboards(args) => write_dashboards(&args).map(|()| ExitCode::SUCCESS),
        Command::Backfill(args) => backfill::backfill(&args),
        Command::Backtest(args) => backtest::backtest(&args),
        Command::Storage(args) => storage::storage(&args),
        Command::Demo(args) => serve::demo(&args),
    };
    done.unwrap_or_else(|error| {
        complain(&format!("slod: {error:#}"));
        ExitCode::FAILURE
    })
}

// === impl SpecArgs ===

impl SpecArgs {
    /// The paths given, else those of the configuration; and what that says for specs, if it is there.
    fn resolve(&self) -> anyhow::Result<(Vec<String>, spec::Settings)> {
        if !self.paths.is_empty() && !self.config_file.exists() {
            return Ok((self.paths.clone(), spec::Settings::default()));
        }
        let config = config::load(Some(&self.config_file), &Flags::default())?;
        let settings = config.spec_settings();
        Ok((if self.paths.is_empty() { config.specs } else { self.paths.clone() }, settings))
    }
}

fn write_dashboards(args: &DashboardsArgs) -> anyhow::Result<()> {
    for dashboard in dashboards::all() {
        let path = args.directory.join(dashboard.file_name());
        fs::write(&path, dashboard.json()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

// === impl RulesFormat ===

impl From<RulesFormat> for rules::Format {
    fn from(format: RulesFormat) -> Self {
        match format {
            RulesFormat::Prometheus => Self::Prometheus,
            RulesFormat::PrometheusOperator => Self::PrometheusOperator,
        }
    }
}

/// Writes to standard output. A reader that went away is none of our errors.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Colours are for terminals, and for people who did not ask for none (<https://no-color.org>).
fn is_colorful(stream: &impl IsTerminal) -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    stream.is_terminal() && !is_unwanted
}

/// Writes a line to standard error; where that is gone nobody is left to tell.
fn complain(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
