//! `slod convert` and `slod schema`: specs of any format in slod's own, and what that format looks like.

use std::{process::ExitCode, time::Duration};

use super::{ConvertArgs, complain, print};
use crate::{
    config::specs,
    spec::{self, Diagnostic, Specs, native},
};

// Prometheus' usual evaluation interval.
const PULL_INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn convert(args: &ConvertArgs) -> anyhow::Result<ExitCode> {
    let (patterns, settings) = args.specs.resolve()?;
    // What needs a Prometheus is converted, too, if there is none to ask.
    let pull_interval = settings.pull_interval.or(Some(PULL_INTERVAL));
    let settings = spec::Settings { pull_interval, ..settings };
    let mut specs = specs::load_under(&patterns, &settings);
    let documents = documents(&mut specs, &settings);
    for diagnostic in specs.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()) {
        complain(&diagnostic.to_string());
    }
    print(&documents)?;
    Ok(if specs.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

pub(super) fn schema() -> anyhow::Result<ExitCode> {
    print(&format!("{:#}\n", native::schema()))?;
    Ok(ExitCode::SUCCESS)
}

/// A document for each SLO; one that has none adds an error.
fn documents(specs: &mut Specs, settings: &spec::Settings) -> String {
    let mut documents = String::new();
    for slo in &specs.slos {
        match native::yaml(slo, settings) {
            Ok(document) => documents += &format!("---\n{document}"),
            Err(error) => {
                let message = format!("SLO {} {error}", slo.id);
                specs.diagnostics.push(Diagnostic::error(&specs.places[&slo.id], message));
            }
        }
    }
    documents
}
