//! What there is to ask for: series, the names and values of labels, and what series mean.
//!
//! All of it is of the present: `start` and `end` are read over.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{
    Facts, Fault,
    json::{self, Metric},
    parameters::Parameters,
    published,
};
use crate::{
    labels::{Labels, Selector},
    web::Reply,
};

/// What a series means, as `/api/v1/metadata` has it.
#[derive(Serialize)]
struct Meaning<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    help: &'a str,
    unit: &'a str,
}

/// `/api/v1/status/buildinfo`: what tools ask to find out whom they talk to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BuildInfo {
    application: &'static str,
    version: &'static str,
    revision: &'static str,
    branch: &'static str,
    build_user: &'static str,
    build_date: &'static str,
    go_version: &'static str,
}

/// `/api/v1/series`.
pub(super) fn series(parameters: Parameters<'_>, facts: &Facts<'_>) -> Result<Reply, Fault> {
    let selectors = parameters.selectors()?;
    if selectors.is_empty() {
        return Err(Fault::bad_data("no match[] parameter provided"));
    }
    let limit = parameters.limit()?;
    let found: Vec<Metric> = selected(&selectors, facts).into_iter().take(limit).map(Metric).collect();
    Ok(json::success(found, Vec::new()))
}

/// `/api/v1/labels`.
pub(super) fn labels(parameters: Parameters<'_>, facts: &Facts<'_>) -> Result<Reply, Fault> {
    let found = selected(&parameters.selectors()?, facts);
    let names: BTreeSet<&str> = found.iter().flat_map(|labels| labels.iter()).map(|(name, _)| name).collect();
    let names: Vec<&str> = names.into_iter().take(parameters.limit()?).collect();
    Ok(json::success(names, Vec::new()))
}

/// `/api/v1/label/<name>/values`.
pub(super) fn label_values(
    name: &str,
    parameters: Parameters<'_>,
    facts: &Facts<'_>,
) -> Result<Reply, Fault> {
    if name.is_empty() || name.contains('/') {
        return Err(Fault::bad_data(format!("invalid label name: {name:?}")));
    }
    let found = selected(&parameters.selectors()?, facts);
    let values: BTreeSet<&str> = found.iter().map(|labels| labels.get(name)).collect();
    let values = values.into_iter().filter(|value| !value.is_empty());
    let values: Vec<&str> = values.take(parameters.limit()?).collect();
    Ok(json::success(values, Vec::new()))
}

/// `/api/v1/metadata`.
pub(super) fn metadata(parameters: Parameters<'_>, facts: &Facts<'_>) -> Result<Reply, Fault> {
    let limit = parameters.limit()?;
    let is_asked = |name: &str| parameters.get("metric").is_none_or(|asked| asked == name);
    let meaning = |(name, kind, help)| (name, [Meaning { kind, help, unit: "" }]);
    let all = published::families(facts).filter(|(name, ..)| is_asked(name)).map(meaning);
    let all: BTreeMap<&str, [Meaning<'_>; 1]> = all.take(limit).collect();
    Ok(json::success(all, Vec::new()))
}

/// `/api/v1/status/buildinfo`.
pub(super) fn build_info() -> Result<Reply, Fault> {
    let info = BuildInfo {
        application: "slod",
        version: env!("CARGO_PKG_VERSION"),
        revision: "",
        branch: "",
        build_user: "",
        build_date: "",
        go_version: "",
    };
    Ok(json::success(info, Vec::new()))
}

/// The series that any of these selects, each once; all of them if there is no selector.
fn selected(selectors: &[Selector], facts: &Facts<'_>) -> BTreeSet<Labels> {
    let all = [Selector { matchers: Vec::new() }];
    let selectors = if selectors.is_empty() { &all } else { selectors };
    let selectors: Vec<&Selector> = selectors.iter().collect();
    published::select(facts, &selectors).into_iter().map(|series| series.labels).collect()
}
