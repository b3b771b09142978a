//! `slod check --format json`: for programs. Fields are added, never changed (docs/checking.md).

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    slo::{Indicator, Slo, TimeWindow},
    spec::{Diagnostic, Location, Specs},
    time::format_duration,
};

#[derive(Debug, Serialize)]
struct Check<'s> {
    slos: Vec<Found<'s>>,
    diagnostics: Vec<Problem<'s>>,
    summary: Summary,
}

#[derive(Debug, Serialize)]
struct Found<'s> {
    service: &'s str,
    name: &'s str,
    path: &'s str,
    line: u32,
    column: u32,
    /// `counted`, `sampled` or `pulled`.
    evaluation: &'static str,
    /// The time between two evaluations of what is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    target: f64,
    windows: Vec<String>,
    grouped: bool,
    alerts: usize,
    selectors: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Problem<'s> {
    path: &'s str,
    /// 0 when the file as a whole is meant.
    line: u32,
    column: u32,
    severity: String,
    message: &'s str,
}

#[derive(Debug, Serialize)]
struct Summary {
    slos: usize,
    errors: usize,
    warnings: usize,
}

/// One document on several lines.
pub(super) fn render(specs: &Specs) -> anyhow::Result<String> {
    let (errors, warnings) = super::problems(specs);
    let check = Check {
        slos: specs.slos.iter().map(|slo| found(slo, &specs.places[&slo.id])).collect(),
        diagnostics: specs.diagnostics.iter().map(problem).collect(),
        summary: Summary { slos: specs.slos.len(), errors, warnings },
    };
    Ok(serde_json::to_string_pretty(&check)? + "\n")
}

fn found<'s>(slo: &'s Slo, at: &'s Location) -> Found<'s> {
    let (evaluation, step) = match &slo.indicator {
        Indicator::Counted(_) => ("counted", None),
        Indicator::Sampled(sampled) => ("sampled", Some(sampled.step)),
        Indicator::Pulled(pulled) => ("pulled", Some(pulled.step)),
    };
    let selectors: BTreeSet<String> =
        slo.indicator.selectors().into_iter().map(ToString::to_string).collect();
    Found {
        service: &slo.id.service,
        name: &slo.id.name,
        path: &at.path,
        line: at.line,
        column: at.column,
        evaluation,
        step: step.map(format_duration),
        target: slo.objective.target.ratio(),
        windows: slo.objective.windows.iter().map(TimeWindow::to_string).collect(),
        grouped: slo.indicator.is_grouped(),
        alerts: slo.all_alerts().count(),
        selectors: selectors.into_iter().collect(),
    }
}

fn problem(diagnostic: &Diagnostic) -> Problem<'_> {
    let Diagnostic { severity, path, line, column, message } = diagnostic;
    Problem { path, line: *line, column: *column, severity: severity.to_string(), message }
}
