//! `slod storage`: what a data directory holds, and whether all of it can be read.
//!
//! Both commands read everything and change nothing; they differ in what they print.

mod json;
mod page;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{Format, print};
use crate::{
    alert::AlertState,
    daemon::SystemClock,
    storage::inspect::{self, Inspection, State},
    time::{Clock, Timestamp},
};

#[derive(Debug, Args)]
pub(super) struct StorageArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what is in a data directory; beside a running slod, what is in its log
    Inspect(DirectoryArgs),
    /// Read everything in a data directory; exit code 1 if anything is damaged
    Verify(DirectoryArgs),
}

#[derive(Debug, Args)]
struct DirectoryArgs {
    /// Directory for state
    #[arg(long = "storage.path", default_value = "data", value_name = "DIR")]
    storage_path: PathBuf,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

pub(super) fn storage(args: &StorageArgs) -> anyhow::Result<ExitCode> {
    let (Command::Inspect(directory) | Command::Verify(directory)) = &args.command;
    let inspection = inspect::inspect(&directory.storage_path)?;
    let now = SystemClock::default().now();
    print(&text(&args.command, &inspection, now)?)?;
    let is_bad = matches!(args.command, Command::Verify(_)) && !inspection.damage.is_empty();
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(command: &Command, inspection: &Inspection, now: Timestamp) -> anyhow::Result<String> {
    Ok(match command {
        Command::Inspect(DirectoryArgs { format: Format::Human, .. }) => page::contents(inspection, now),
        Command::Verify(DirectoryArgs { format: Format::Human, .. }) => page::verdict(inspection),
        Command::Inspect(_) => json::render(&json::contents(inspection, now))?,
        Command::Verify(_) => json::render(&json::verdict(inspection))?,
    })
}

/// Of the state, in a word.
fn status(state: &State) -> &'static str {
    match state {
        State::Missing => "missing",
        State::InUse => "in use",
        State::Unreadable => "unreadable",
        State::Read(_) => "read",
    }
}

/// Where an alert is in its life, and since when.
fn alert_state(state: &AlertState) -> (&'static str, Option<Timestamp>) {
    (state.name(), state.since())
}

/// In UTC.
fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.to_string(), |at| at.to_string())
}

#[cfg(test)]
mod tests;
