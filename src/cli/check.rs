//! `slod check`: what the specs say, and what is wrong with them.

use std::{collections::BTreeSet, process::ExitCode};

use serde::Serialize;

use super::{CheckArgs, complain, print};
use crate::{
    config::{self, Flags, specs},
    labels::{METRIC_NAME, MatchOp, Selector},
    slo::Slo,
    spec::Specs,
};

/// `write_relabel_configs` as Prometheus has it.
#[derive(Debug, Serialize)]
struct KeepList {
    write_relabel_configs: [Relabel; 1],
}

#[derive(Debug, Serialize)]
struct Relabel {
    source_labels: [&'static str; 1],
    regex: String,
    action: &'static str,
}

pub(super) fn check(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let patterns = if args.paths.is_empty() {
        config::load(Some(&args.config_file), &Flags::default())?.specs
    } else {
        args.paths
    };
    let specs = specs::load(&patterns);
    for diagnostic in &specs.diagnostics {
        complain(&diagnostic.to_string());
    }
    if args.keep_list {
        print(&keep_list(&specs.slos)?)?;
    } else {
        print(&summary(&specs))?;
    }
    Ok(if specs.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn summary(specs: &Specs) -> String {
    let errors = specs.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let warnings = specs.diagnostics.len() - errors;
    format!("{} SLOs, {errors} errors, {warnings} warnings\n", specs.slos.len())
}

fn keep_list(slos: &[Slo]) -> anyhow::Result<String> {
    let regex = metric_names(slos).into_iter().collect::<Vec<_>>().join("|");
    let list =
        KeepList { write_relabel_configs: [Relabel { source_labels: [METRIC_NAME], regex, action: "keep" }] };
    Ok(serde_saphyr::to_string(&list)?)
}

/// A regular expression for each metric that an SLO counts.
fn metric_names(slos: &[Slo]) -> BTreeSet<String> {
    slos.iter().flat_map(|slo| slo.indicator.selectors()).map(metric_name).collect()
}

fn metric_name(selector: &Selector) -> String {
    if let Some(name) = selector.metric_name() {
        return regex::escape(name);
    }
    let by_regex = |m: &&crate::labels::Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Regex;
    // A selector that says nothing of the name may need any series.
    selector.matchers.iter().find(by_regex).map_or_else(|| ".+".to_owned(), |m| m.value().to_owned())
}
