//! OpenSLO v1alpha: the version before references, which Sloth reads.
//!
//! Names are Sloth's, so that dashboards and routes still fit: one SLO per objective, with its number from 0 behind
//! the name. What Sloth passes over, slod does not: budgeting methods, windows of other units, thresholds.

use super::{
    envelope::{self, Metadata},
    objective, sli,
    slo::{Common, Member, to_slos},
    window,
};
use crate::{
    slo::Indicator,
    spec::{
        Placed,
        query::{self, Dialect, Pair, Query},
        reader::{Fields, Reader, unknown},
        slices::Method,
        yaml::Node,
    },
};

/// Who reads it, too.
pub(super) const SLOTH: &str = "Sloth";

const SPEC: [&str; 7] =
    ["service", "description", "budgetingMethod", "timeWindows", "indicator", "objectives", "alertPolicies"];
const OBJECTIVE: [&str; 6] = ["displayName", "value", "target", "timeSliceTarget", "op", "ratioMetrics"];

/// Reads an object of kind SLO. Fields that Sloth does not know it ignores, so they are warnings.
pub(super) fn read(reader: &mut Reader<'_>, root: &Node) -> Vec<Placed> {
    let mut spec = None;
    let mut common = Common::default();
    let is_good = reader.checked(|reader| {
        let fields = reader.fields_or_ignored(root, &["apiVersion", "kind", "metadata", "spec"], SLOTH)?;
        let metadata = reader.required(&fields, "metadata");
        let metadata = metadata.and_then(|node| envelope::read_metadata(reader, node));
        let node = reader.required(&fields, "spec")?;
        let fields = reader.fields_or_ignored(node, &SPEC, SLOTH)?;
        common = read_common(reader, &fields, metadata);
        spec = Some(fields);
        Some(())
    });
    let Some(spec) = spec else { return Vec::new() };
    let members = read_members(reader, &spec, &common);
    let placed = to_slos(reader, &common, members);
    if is_good.is_some() { placed } else { Vec::new() }
}

fn read_common<'n>(reader: &mut Reader<'_>, spec: &Fields<'n>, metadata: Option<Metadata<'n>>) -> Common<'n> {
    let method = match spec.get("budgetingMethod") {
        Some(node) => objective::read_method(reader, node),
        None => Some(Method::Occurrences),
    };
    Common {
        metadata,
        service: reader.required_text(spec, "service"),
        description: reader.optional_text(spec, "description"),
        window: window::read_alpha(reader, spec),
        method,
        ..Common::default()
    }
}

fn read_members(reader: &mut Reader<'_>, spec: &Fields<'_>, common: &Common<'_>) -> Vec<Member> {
    let nodes = reader.required(spec, "objectives").and_then(|node| reader.list(node));
    let nodes = nodes.unwrap_or_default().iter().enumerate();
    nodes
        .filter_map(|(index, node)| {
            reader.checked(|reader| read_member(reader, node, index.to_string(), spec, common))
        })
        .collect()
}

fn read_member(
    reader: &mut Reader<'_>,
    node: &Node,
    suffix: String,
    spec: &Fields<'_>,
    common: &Common<'_>,
) -> Option<Member> {
    let fields = reader.fields_or_ignored(node, &OBJECTIVE, SLOTH)?;
    let method = common.method.unwrap_or(Method::Occurrences);
    let objective = objective::read_alpha(reader, &fields, common.window.as_ref(), method);
    let indicator = read_indicator(reader, &fields, spec);
    Some(Member {
        suffix: Some(suffix),
        at: fields.at,
        slice_at: fields.at,
        target_at: fields.place("target"),
        objective: objective?,
        indicator: indicator?,
        weight: 1.0,
    })
}

fn read_indicator(reader: &mut Reader<'_>, objective: &Fields<'_>, spec: &Fields<'_>) -> Option<Indicator> {
    match (objective.get("ratioMetrics"), spec.get("indicator")) {
        (Some(ratio), None) => read_ratio(reader, ratio),
        (None, Some(indicator)) => {
            let condition = objective::read_condition(reader, objective);
            let fields = reader.fields_or_ignored(indicator, &["thresholdMetric"], SLOTH)?;
            let metric = reader.required(&fields, "thresholdMetric");
            let metric = metric.and_then(|node| read_metric(reader, "thresholdMetric", node));
            query::read_condition(reader, Dialect::OpenSlo, &metric?, condition?)
        }
        _ => {
            reader.error(objective.at, "an objective needs either ratioMetrics, or the SLO's indicator");
            None
        }
    }
}

fn read_ratio(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields_or_ignored(node, &["incremental", "good", "total"], SLOTH)?;
    let is_counter = reader.optional_flag(&fields, "incremental");
    let mut metric = |name| reader.required(&fields, name).and_then(|node| read_metric(reader, name, node));
    let (good, total) = (metric("good"), metric("total"));
    sli::read_pair(reader, Pair::GoodOfTotal, is_counter, good?, total?)
}

/// The query of a metric: of Prometheus and in PromQL, as Sloth insists.
fn read_metric<'n>(reader: &mut Reader<'_>, name: &'static str, node: &'n Node) -> Option<Query<'n>> {
    let fields = reader.fields_or_ignored(node, &["source", "queryType", "query"], SLOTH)?;
    for (field, known) in [("source", ["prometheus", "sloth"].as_slice()), ("queryType", &["promql"])] {
        let Some(node) = fields.get(field) else { continue };
        let text = reader.text(node).unwrap_or_default();
        if !known.contains(&text.to_lowercase().as_str()) {
            reader.error(node.at, unknown(field, text, known));
        }
    }
    let node = reader.required(&fields, "query")?;
    Query::of(reader, name, node)
}
