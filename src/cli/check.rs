//! `slod check`: what the specs say, and what is wrong with them.
//!
//! What is found goes to standard output, a line per SLO; what is wrong goes to standard error, with the line of the
//! spec. As JSON both go to standard output, for programs.

mod explain;
mod json;
mod keep;
mod live;
mod snippet;

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use super::{CheckArgs, Format, complain, is_colorful, print};
use crate::{
    config::specs,
    daemon::SystemClock,
    slo::{Indicator, Slo, TimeWindow},
    spec::Specs,
    time::{Clock, format_duration},
};
use snippet::{Colors, Snippets};

pub(super) fn check(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let (patterns, settings) = args.specs.resolve()?;
    let mut specs = specs::load_under(&patterns, &settings);
    if let Some(url) = &args.live {
        let warnings = live::warnings(url, &specs, SystemClock::default().now())?;
        specs.diagnostics.extend(warnings);
    }
    match args.format {
        Format::Human => {
            report(&specs);
            print(&found(args, &specs)?)?;
        }
        Format::Json => print(&json::render(&specs)?)?,
    }
    let is_bad = specs.has_errors() || (args.fatal_warnings && !specs.diagnostics.is_empty());
    Ok(if is_bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn report(specs: &Specs) {
    let mut snippets = Snippets::new(Colors::of(&io::stderr()));
    for diagnostic in &specs.diagnostics {
        complain(&snippets.render(diagnostic));
    }
}

/// What was asked for of the good SLOs.
fn found(args: &CheckArgs, specs: &Specs) -> anyhow::Result<String> {
    if args.keep_list {
        return keep::keep_list(&specs.slos);
    }
    let lines = if args.explain {
        specs.slos.iter().map(|slo| explain::page(slo, &specs.places[&slo.id])).collect::<String>()
    } else {
        specs.slos.iter().map(line).collect()
    };
    Ok(lines + &summary(specs))
}

fn line(slo: &Slo) -> String {
    let alerts = counted(slo.all_alerts().count(), "alert");
    let windows: Vec<String> = slo.objective.windows.iter().map(TimeWindow::to_string).collect();
    format!("{}: {}, {alerts}, {}\n", slo.id, evaluation(&slo.indicator), windows.join(" and "))
}

/// How an SLI is evaluated.
fn evaluation(indicator: &Indicator) -> String {
    match indicator {
        Indicator::Counted(_) => "streamed".to_owned(),
        Indicator::Sampled(sampled) => format!("streamed at steps of {}", format_duration(sampled.step)),
        Indicator::Pulled(pulled) => format!("pulled every {}", format_duration(pulled.step)),
    }
}

fn summary(specs: &Specs) -> String {
    let (errors, warnings) = problems(specs);
    format!(
        "{}, {}, {}\n",
        counted(specs.slos.len(), "SLO"),
        counted(errors, "error"),
        counted(warnings, "warning")
    )
}

/// How many errors and warnings there are.
fn problems(specs: &Specs) -> (usize, usize) {
    let errors = specs.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    (errors, specs.diagnostics.len() - errors)
}

fn counted(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

// === impl Colors ===

impl Colors {
    fn of(stream: &impl IsTerminal) -> Self {
        if is_colorful(stream) { Self::On } else { Self::Off }
    }
}

#[cfg(test)]
mod tests;
