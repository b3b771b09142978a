//! `slod check --keep-list`: what a sender must send, and nothing else.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    labels::{METRIC_NAME, MatchOp, Matcher, Selector},
    slo::Slo,
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

/// The relabelling that keeps the metrics of these SLOs. Of those that are pulled there is nothing to send.
pub(super) fn keep_list(slos: &[Slo]) -> anyhow::Result<String> {
    let regex = metric_names(slos).into_iter().collect::<Vec<_>>().join("|");
    let list =
        KeepList { write_relabel_configs: [Relabel { source_labels: [METRIC_NAME], regex, action: "keep" }] };
    Ok(serde_saphyr::to_string(&list)?)
}

/// A regular expression for each metric that an SLO needs.
fn metric_names(slos: &[Slo]) -> BTreeSet<String> {
    slos.iter().flat_map(|slo| slo.indicator.selectors()).map(metric_name).collect()
}

fn metric_name(selector: &Selector) -> String {
    if let Some(name) = selector.metric_name() {
        return regex::escape(name);
    }
    let by_regex = |m: &&Matcher| m.name() == METRIC_NAME && m.op() == MatchOp::Regex;
    match selector.matchers.iter().find(by_regex) {
        // Flags such as (?i) end with the group that they are in.
        Some(matcher) if matcher.value().contains("(?") => format!("(?:{})", matcher.value()),
        Some(matcher) => matcher.value().to_owned(),
        // A selector that says nothing of the name may need any series.
        None => ".+".to_owned(),
    }
}
