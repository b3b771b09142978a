//! Pyrra's `ServiceLevelObjective`: one SLO per document, its SLI one of four indicators over selectors.
//!
//! What it says of recording rules and of Kubernetes is accepted and not used: slod writes no rules. This module does
//! not read PromQL; a selector is for `query`.
//!
//! Invariant: as in Pyrra, a field that is not known is an error.

use std::collections::BTreeMap;

use super::{
    Placed,
    names::Named,
    reader::{Fields, Reader},
    yaml::Node,
};
use crate::slo::{Objective, Slo, SloId, Target};

mod alerting;
mod indicator;

/// Pyrra itself does not look at it, and there are files that leave its group out.
pub(super) const API_VERSIONS: [&str; 2] = ["pyrra.dev/v1alpha1", "v1alpha1"];
pub(super) const KIND: &str = "ServiceLevelObjective";

/// What begins with it among labels and annotations is for Prometheus, the rest for Kubernetes.
const PREFIX: &str = "pyrra.dev/";
const SERVICE: &str = "service";

// Where Kubernetes puts what names no namespace.
const DEFAULT_SERVICE: &str = "default";

/// All of Kubernetes' `ObjectMeta`, for files that were exported from a cluster.
const METADATA: [&str; 16] = [
    "name",
    "namespace",
    "labels",
    "annotations",
    "clusterName",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

const SPEC: [&str; 8] = [
    "description",
    "target",
    "window",
    "indicator",
    "alerting",
    "partial_response_strategy",
    "performanceOverAccuracy",
    "ruleOutput",
];

type Strings = BTreeMap<String, String>;

/// Reads one document.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node) -> Option<Placed> {
    reader.checked(|reader| {
        let root = reader.fields(document, &["apiVersion", "kind", "metadata", "spec", "status"])?;
        let metadata = reader.required_fields(&root, "metadata", &METADATA);
        let spec = reader.required_fields(&root, "spec", &SPEC);
        read_slo(reader, &metadata?, &spec?)
    })
}

fn read_slo(reader: &mut Reader<'_>, metadata: &Fields<'_>, spec: &Fields<'_>) -> Option<Placed> {
    let id = read_id(reader, metadata);
    let labels = read_labels(reader, metadata, id.as_ref());
    let annotations = read_annotations(reader, metadata);
    let description = reader.optional_text(spec, "description");
    let indicator = indicator::read(reader, spec);
    let objective = read_objective(reader, spec);
    let alerts = alerting::read(reader, spec, objective.as_ref());
    let (id, indicator, objective) = (id?, indicator?, objective?);
    let slo = Slo {
        id,
        description,
        labels,
        annotations,
        objective,
        indicator,
        alerts,
        state_alerts: Vec::new(),
        inhibits: true,
    };
    Some(Placed {
        slo,
        at: metadata.place("name"),
        sli: spec.place_within(&["indicator", "ratio", "errors", "metric"]),
    })
}

// === metadata ===

/// Pyrra has no services. Names are unique within a namespace, so that takes the place of one.
fn read_id(reader: &mut Reader<'_>, metadata: &Fields<'_>) -> Option<SloId> {
    let name = reader.required_text(metadata, "name");
    check_filled(reader, metadata, "name");
    check_filled(reader, metadata, "namespace");
    let namespace = reader.optional_text(metadata, "namespace");
    let service = if namespace.is_empty() { service_label(metadata) } else { &namespace };
    Some(SloId { service: service.to_owned(), name: name?.to_owned() })
}

fn service_label<'n>(metadata: &Fields<'n>) -> &'n str {
    let label = metadata.get("labels").and_then(|labels| labels.scalar("pyrra.dev/service"));
    label.filter(|service| !service.is_empty()).unwrap_or(DEFAULT_SERVICE)
}

fn read_labels(reader: &mut Reader<'_>, metadata: &Fields<'_>, id: Option<&SloId>) -> Strings {
    let mut labels = prefixed(reader, metadata, "labels");
    // It says what the service says.
    labels.retain(|(_, name, value)| *name != SERVICE || id.is_none_or(|id| id.service != *value));
    reader.picked_labels_renamed(labels)
}

fn read_annotations(reader: &mut Reader<'_>, metadata: &Fields<'_>) -> Strings {
    let annotations = prefixed(reader, metadata, "annotations");
    reader.picked_annotations_renamed(annotations)
}

/// Place, name and value of what Pyrra gives to Prometheus.
fn prefixed<'n>(reader: &mut Reader<'_>, metadata: &Fields<'n>, field: &str) -> Vec<Named<'n>> {
    let entries = reader.string_map(metadata, field).into_iter();
    entries.filter_map(|(key, value)| Some((key.at, key.name.strip_prefix(PREFIX)?, value))).collect()
}

// === the objective ===

fn read_objective(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Objective> {
    let target = read_target(reader, spec);
    let node = reader.required(spec, "window")?;
    let window = if check_filled(reader, spec, "window") { reader.window(node, "window") } else { None };
    Some(Objective::rolling(target?, window?))
}

fn read_target(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Target> {
    let node = reader.required(spec, "target")?;
    if !check_filled(reader, spec, "target") {
        return None;
    }
    // Pyrra warns of a ratio where a percentage belongs, and takes it for one.
    let below_one = reader.text(node)?.parse().ok().filter(|percent: &f64| *percent > 0.0 && *percent < 1.0);
    let Some(percent) = below_one else { return reader.target_or_all(node, "target") };
    let meant = (percent * 1e8).round() / 1e6;
    reader.warn(node.at, format!("target {percent} is taken as {percent}%; did you mean {meant}?"));
    Target::new(percent / 100.0).ok()
}

/// Reports a field that is still a template of Helm or its like.
fn check_filled(reader: &mut Reader<'_>, fields: &Fields<'_>, name: &str) -> bool {
    let is_template = fields.scalar(name).is_some_and(|text| text.contains("{{"));
    if is_template {
        reader.error(fields.place(name), format!("{name} is a template; fill {{{{ … }}}} in first"));
    }
    !is_template
}

#[cfg(test)]
mod tests;
