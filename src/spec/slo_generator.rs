//! google/slo-generator's `ServiceLevelObjective`, as far as its backend is Prometheus.
//!
//! An SLO of it has no window and no alerts: they are in policies, apart from it (`policy`). This module does not
//! know Prometheus' addresses and exporters, which slod has no use for.
//!
//! Invariant: as in slo-generator, a field that is not known is ignored, with a warning.

use std::collections::BTreeMap;

use super::{
    Placed, alerting,
    query::{self, Dialect, Pair, Query, Ratio},
    reader::{Fields, Reader},
    yaml::{Node, Value},
};
use crate::{
    labels::{METRIC_NAME, Matcher, Selector},
    slo::{Grouping, Indicator, Measure, Objective, Slo, SloId, Target},
};

mod policy;

pub(super) use policy::{Policies, is_config};

use policy::Policy;

pub(super) const API_VERSION: &str = "sre.google.com/v2";
pub(super) const KIND: &str = "ServiceLevelObjective";
const NO_BUDGET: &str =
    "goal 1 leaves no error budget: every bad event overspends it without limit; promise less";
/// The tool whose format it is.
const TOOL: &str = "slo-generator";

const BACKEND: &str = "prometheus";
const SERVICE: &str = "service_name";

// For SLOs that do not name their service, which slo-generator allows.
const DEFAULT_SERVICE: &str = "default";

const DEAD_ALERT_WAY_OUT: &str = "it never fires in slo-generator either; lower the burn rate in a policy";

const METHODS: [(&str, Method); 3] = [
    ("good_bad_ratio", Method::GoodBadRatio),
    ("query_sli", Method::QuerySli),
    ("distribution_cut", Method::DistributionCut),
];

/// What slo-generator applies to a filter that does not say otherwise, the innermost first.
const OPERATORS: [&str; 2] = ["increase", "sum"];

const WINDOW: &str = "[window]";
const BUCKET_BOUND: &str = "le";

/// How an SLI is computed.
#[derive(Clone, Copy)]
enum Method {
    GoodBadRatio,
    QuerySli,
    DistributionCut,
}

/// Reads one document.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node, policies: &Policies) -> Option<Placed> {
    reader.checked(|reader| {
        refuse_placeholders(reader, document);
        let root = reader.fields_or_ignored(document, &["apiVersion", "kind", "metadata", "spec"], TOOL)?;
        let metadata = reader.required(&root, "metadata");
        let metadata = metadata.and_then(|node| reader.fields_or_ignored(node, &["name", "labels"], TOOL));
        let spec = reader.required(&root, "spec").and_then(|node| read_spec(reader, node));
        read_slo(reader, &metadata?, &spec?, policies)
    })
}

fn read_spec<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<Fields<'n>> {
    let known = [
        "description",
        "goal",
        "backend",
        "method",
        "exporters",
        "error_budget_policy",
        "service_level_indicator",
        "frequency",
    ];
    reader.fields_or_ignored(node, &known, TOOL)
}

fn read_slo(
    reader: &mut Reader<'_>,
    metadata: &Fields<'_>,
    spec: &Fields<'_>,
    policies: &Policies,
) -> Option<Placed> {
    let name = reader.required_text(metadata, "name");
    let (service, labels) = read_labels(reader, metadata);
    let description = reader.optional_text(spec, "description");
    let indicator = read_indicator(reader, spec);
    let policy = policies.of(reader, spec).cloned().unwrap_or_else(Policy::of_workbook);
    let objective = Objective::rolling(read_goal(reader, spec)?, policy.period);
    for alert in &policy.alerts {
        alerting::warn_if_dead(reader, spec.place("goal"), alert, &objective, DEAD_ALERT_WAY_OUT);
    }
    let id = SloId { service, name: name?.to_owned() };
    let annotations = BTreeMap::new();
    let slo = Slo {
        id,
        description,
        labels,
        annotations,
        objective,
        indicator: indicator?,
        alerts: policy.alerts,
        state_alerts: Vec::new(),
        inhibits: true,
    };
    Some(Placed { slo, at: metadata.place("name"), sli: spec.place("service_level_indicator") })
}

/// The service, and the other labels.
fn read_labels(reader: &mut Reader<'_>, metadata: &Fields<'_>) -> (String, BTreeMap<String, String>) {
    let mut service = DEFAULT_SERVICE.to_owned();
    let mut labels = Vec::new();
    for (key, value) in reader.string_map(metadata, "labels") {
        match key.name.as_str() {
            SERVICE if !value.is_empty() => service = value.to_owned(),
            name => labels.push((key.at, name, value)),
        }
    }
    (service, reader.picked_labels_renamed(labels))
}

fn read_goal(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Target> {
    let node = reader.required(spec, "goal")?;
    let goal = reader.number(node, "goal")?;
    match Target::new(goal) {
        Ok(target) => {
            if target.is_all() {
                reader.warn(node.at, NO_BUDGET);
            }
            Some(target)
        }
        Err(_) if goal > 1.0 && goal < 100.0 => {
            let meant = (goal * 1e6).round() / 1e8;
            reader.error(node.at, format!("goal {goal} is above 1; did you mean {meant}?"));
            None
        }
        Err(error) => {
            reader.error(node.at, format!("goal: {error}"));
            None
        }
    }
}

/// Reports every `${NAME}`, for which slo-generator puts in a variable of its environment.
fn refuse_placeholders(reader: &mut Reader<'_>, node: &Node) {
    match &node.value {
        Value::Null => {}
        Value::Scalar(text) => {
            if let Some(name) = placeholder(text) {
                let message = format!("${{{name}}} stands for an environment variable; substitute it first");
                reader.error(node.at, message);
            }
        }
        Value::List(items) => items.iter().for_each(|item| refuse_placeholders(reader, item)),
        Value::Map(entries) => entries.iter().for_each(|(_, value)| refuse_placeholders(reader, value)),
    }
}

fn placeholder(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("${")?;
    rest.split_once('}').map(|(name, _)| name)
}

// === the SLI ===

fn read_indicator(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Indicator> {
    let backend = reader.required_text(spec, "backend")?;
    // `prometheus/eu` is one of several of the same kind.
    if backend.split('/').next() != Some(BACKEND) {
        let message = format!("backend {backend} is not supported; slod reads SLOs of backend {BACKEND}");
        reader.error(spec.place("backend"), message);
        return None;
    }
    let method = reader.required(spec, "method").and_then(|node| reader.choice(node, "method", &METHODS));
    let sli = reader.required(spec, "service_level_indicator");
    let (method, sli) = (method?, sli?);
    match method {
        Method::GoodBadRatio => read_good_bad_ratio(reader, sli),
        Method::QuerySli => read_query_sli(reader, sli),
        Method::DistributionCut => read_distribution_cut(reader, sli),
    }
}

fn read_good_bad_ratio(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let known = ["filter_good", "filter_bad", "filter_valid", "operators"];
    let fields = reader.fields_or_ignored(node, &known, TOOL)?;
    let operators = read_operators(reader, &fields);
    let good = reader.required(&fields, "filter_good");
    let good = good.and_then(|node| events(reader, "filter_good", node, operators.as_deref()));
    let (pair, name) = match (fields.get("filter_bad"), fields.get("filter_valid")) {
        (Some(_), _) => (Pair::GoodAndBad, "filter_bad"),
        (None, Some(_)) => (Pair::GoodOfTotal, "filter_valid"),
        (None, None) => {
            reader.error(fields.at, "good_bad_ratio needs filter_bad or filter_valid beside filter_good");
            return None;
        }
    };
    let other = events(reader, name, fields.get(name)?, operators.as_deref());
    query::read_pair(reader, Dialect::SloGenerator, pair, &good?, &other?)
}

fn read_operators<'n>(reader: &mut Reader<'_>, sli: &Fields<'n>) -> Option<Vec<&'n str>> {
    let items = sli.get("operators").and_then(|node| reader.list(node))?;
    Some(items.iter().filter_map(|item| reader.text(item)).collect())
}

/// The query of a filter: a selector, to which range and operators are added.
fn events<'n>(
    reader: &mut Reader<'_>,
    name: &'n str,
    node: &'n Node,
    operators: Option<&[&str]>,
) -> Option<Query<'n>> {
    let filter = reader.text(node)?.trim();
    let has_window = filter.contains("[window");
    if operators.is_none() && !has_window {
        // For the place of what is wrong with it.
        let query = Query::of(reader, name, node)?;
        query::read_selector(reader, &query)?;
    }
    let ranged = if has_window { filter.to_owned() } else { format!("{filter}{WINDOW}") };
    let operators = operators.unwrap_or(&OPERATORS);
    let query = operators.iter().fold(ranged, |inner, operator| format!("{operator}({inner})"));
    Some(Query::made(name, query, node))
}

fn read_query_sli(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields_or_ignored(node, &["expression"], TOOL)?;
    let node = reader.required(&fields, "expression")?;
    let query = Query::of(reader, "expression", node)?;
    query::read_ratio(reader, Dialect::SloGenerator, Ratio::Good, &query)
}

fn read_distribution_cut(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields_or_ignored(node, &["expression", "threshold_bucket"], TOOL)?;
    let bound = reader.required(&fields, "threshold_bucket");
    let bound = bound.and_then(|node| reader.number(node, "threshold_bucket").and(reader.text(node)));
    let buckets = reader.required(&fields, "expression").and_then(|node| read_buckets(reader, node));
    let (bound, buckets) = (bound?, buckets?);
    let all = (1.0, counts_of(&buckets), Measure::Increase);
    let mut fast = buckets;
    fast.matchers.push(Matcher::equal(BUCKET_BOUND, bound));
    let bad = [all.clone(), (-1.0, fast, Measure::Increase)];
    Some(query::counted(bad, [all], Grouping::none()))
}

/// A selector of all buckets of histograms.
fn read_buckets(reader: &mut Reader<'_>, node: &Node) -> Option<Selector> {
    let text = reader.text(node)?;
    let bare = text.trim_end().strip_suffix(WINDOW).unwrap_or(text);
    let query = Query::made("expression", bare.to_owned(), node);
    let buckets = query::read_selector(reader, &query)?;
    if !buckets.metric_name().is_some_and(|name| name.ends_with("_bucket")) {
        reader.error(
            node.at,
            "distribution_cut needs the buckets of a histogram: a metric that ends in _bucket",
        );
        return None;
    }
    if buckets.matchers.iter().any(|matcher| matcher.name() == BUCKET_BOUND) {
        reader.error(node.at, "expression chooses buckets by le, too; threshold_bucket says which one");
        return None;
    }
    Some(buckets)
}

/// The counters of all observations beside the buckets.
fn counts_of(buckets: &Selector) -> Selector {
    let name = buckets.metric_name().and_then(|name| name.strip_suffix("_bucket")).unwrap_or_default();
    let count = Matcher::equal(METRIC_NAME, &format!("{name}_count"));
    let others = buckets.matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME).cloned();
    Selector { matchers: std::iter::once(count).chain(others).collect() }
}

#[cfg(test)]
mod tests;
