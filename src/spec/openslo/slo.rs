//! OpenSLO v1's SLO: a service's promise, with one or several objectives.
//!
//! Each objective is an SLO of its own, known by the name of the whole and what tells it from the others; those
//! of a composite may be one together ([`composite`]).

use std::collections::BTreeSet;

use super::{
    Catalog, Sli,
    alerts::{self, Burn},
    composite,
    envelope::{self, Envelope, Metadata},
    objective, sli, window,
};
use crate::{
    slo::{Counted, Indicator, Objective, Slo, SloId, TimeWindow},
    spec::{
        Placed,
        objects::Object,
        reader::{Fields, Place, Reader, Source},
        slices::{self, Method},
        yaml::{Node, Value},
    },
};

/// What an SLO says of all its objectives; what could not be read is `None`.
#[derive(Default)]
pub(super) struct Common<'o> {
    pub(super) metadata: Option<Metadata<'o>>,
    pub(super) service: Option<&'o str>,
    pub(super) description: String,
    pub(super) window: Option<TimeWindow>,
    pub(super) method: Option<Method>,
    /// Of a composite, each objective has its own.
    pub(super) sli: Option<Found<'o>>,
    pub(super) burns: Vec<Burn>,
}

/// An objective with its indicator.
pub(super) struct Member {
    /// What tells it from other objectives of the SLO.
    pub(super) suffix: Option<String>,
    pub(super) at: Place,
    /// Where the length of its slices is.
    pub(super) slice_at: Place,
    /// Where its target is.
    pub(super) target_at: Place,
    pub(super) objective: Objective,
    pub(super) indicator: Indicator,
    pub(super) weight: f64,
}

/// An SLI, and where the reference to it is.
pub(super) struct Found<'o> {
    sli: Sli<'o>,
    reference: Option<Place>,
}

const SPEC: [&str; 8] = [
    "description",
    "service",
    "indicator",
    "indicatorRef",
    "timeWindow",
    "budgetingMethod",
    "objectives",
    "alertPolicies",
];

const OBJECTIVE: [&str; 10] = [
    "displayName",
    "op",
    "value",
    "target",
    "targetPercent",
    "timeSliceTarget",
    "timeSliceWindow",
    "indicator",
    "indicatorRef",
    "compositeWeight",
];

/// Reads an object of kind SLO: every objective that has no error, unless what they share has one.
pub(super) fn read<'o>(
    reader: &mut Reader<'_>,
    object: &'o Object<'_>,
    catalog: &Catalog<'o>,
) -> Vec<Placed> {
    let mut spec = None;
    let mut common = Common::default();
    let is_good = reader.checked(|reader| {
        let envelope = envelope::read(reader, &object.root, &SPEC)?;
        spec = Some(envelope.spec);
        common = read_common(reader, envelope, object.source, catalog);
        Some(())
    });
    let Some(spec) = spec else { return Vec::new() };
    let members = read_members(reader, &spec, &common, object.source, catalog);
    let placed = to_slos(reader, &common, members);
    if is_good.is_some() { placed } else { Vec::new() }
}

fn read_common<'o>(
    reader: &mut Reader<'_>,
    envelope: Envelope<'o>,
    source: Source<'o>,
    catalog: &Catalog<'o>,
) -> Common<'o> {
    let spec = &envelope.spec;
    let service = reader.required_text(spec, "service");
    if let Some(node) = spec.get("service") {
        catalog.services.warn_if_misspelt(reader, node);
    }
    let method = reader.required(spec, "budgetingMethod");
    Common {
        service,
        description: reader.optional_text(spec, "description"),
        window: window::read(reader, spec),
        method: method.and_then(|node| objective::read_method(reader, node)),
        sli: read_sli(reader, spec, source, catalog),
        burns: alerts::read(reader, spec, catalog),
        metadata: Some(envelope.metadata),
    }
}

/// The SLI of `indicator` or `indicatorRef`, if there is one.
fn read_sli<'o>(
    reader: &mut Reader<'_>,
    fields: &Fields<'o>,
    source: Source<'o>,
    catalog: &Catalog<'o>,
) -> Option<Found<'o>> {
    match (fields.get("indicator"), fields.get("indicatorRef")) {
        (Some(node), None) => {
            let (_, spec) = envelope::read_inline(reader, node, &sli::FIELDS)?;
            let sli = sli::read(reader, &spec, source, &catalog.sources)?;
            Some(Found { sli, reference: None })
        }
        (None, Some(node)) => {
            let sli = catalog.slis.resolve(reader, node)?.clone();
            Some(Found { sli, reference: Some(node.at) })
        }
        (Some(_), Some(reference)) => {
            reader.error(reference.at, "indicator and indicatorRef are both given; drop one of them");
            None
        }
        (None, None) => None,
    }
}

// === objectives ===

fn read_members<'o>(
    reader: &mut Reader<'_>,
    spec: &Fields<'o>,
    common: &Common<'o>,
    source: Source<'o>,
    catalog: &Catalog<'o>,
) -> Vec<Member> {
    let nodes = reader.required(spec, "objectives").and_then(|node| reader.list(node));
    let nodes = nodes.unwrap_or_default();
    let of_all = ["indicator", "indicatorRef"].iter().find_map(|name| spec.get(name));
    let is_composite = nodes.iter().any(has_indicator);
    match of_all {
        Some(node) if is_composite => {
            reader.error(
                node.at,
                "an indicator is either the SLO's or that of each objective; drop one of them",
            );
        }
        None if !is_composite => {
            reader.error(spec.at, "missing field `indicator` or `indicatorRef`, here or in each objective");
        }
        _ if nodes.is_empty() => {
            reader.error(spec.place("objectives"), "objectives is empty; name at least one")
        }
        _ => (),
    }
    let suffixes = suffixes(nodes);
    let mut members = Vec::new();
    for (node, suffix) in nodes.iter().zip(suffixes) {
        members.extend(reader.checked(|reader| {
            let fields = reader.fields(node, &OBJECTIVE)?;
            let own = if is_composite { read_sli(reader, &fields, source, catalog) } else { None };
            read_member(reader, &fields, suffix, common, own.as_ref(), is_composite)
        }));
    }
    if !is_composite {
        return members;
    }
    // A part of a composite would be something else under its name.
    let is_whole = members.len() == nodes.len();
    if is_whole { composite::combine(reader, spec.place("objectives"), members) } else { Vec::new() }
}

fn has_indicator(node: &Node) -> bool {
    let Value::Map(entries) = &node.value else { return false };
    entries.iter().any(|(key, _)| matches!(key.name.as_str(), "indicator" | "indicatorRef"))
}

fn read_member(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    suffix: Option<String>,
    common: &Common<'_>,
    own: Option<&Found<'_>>,
    is_composite: bool,
) -> Option<Member> {
    let objective = objective::read(reader, fields, common.window.as_ref(), common.method);
    let weight = read_weight(reader, fields, is_composite);
    if is_composite && !["indicator", "indicatorRef"].iter().any(|name| fields.get(name).is_some()) {
        reader.error(fields.at, "missing field `indicator` or `indicatorRef`, which other objectives have");
    }
    let found = own.or(common.sli.as_ref())?;
    let indicator = found.sli.indicator(reader, fields, found.reference);
    let target = if fields.get("target").is_some() { "target" } else { "targetPercent" };
    Some(Member {
        suffix,
        at: fields.at,
        slice_at: fields.place("timeSliceWindow"),
        target_at: fields.place(target),
        objective: objective?,
        indicator: indicator?,
        weight,
    })
}

fn read_weight(reader: &mut Reader<'_>, fields: &Fields<'_>, is_composite: bool) -> f64 {
    let Some(node) = fields.get("compositeWeight") else { return 1.0 };
    let weight = reader.number(node, "compositeWeight").unwrap_or(1.0);
    if weight <= 0.0 {
        reader.error(node.at, format!("compositeWeight {weight} must be above 0"));
    } else if !is_composite {
        reader.warn(node.at, "compositeWeight means nothing without an indicator in each objective");
    }
    weight
}

/// What tells each of several objectives from the others: its display name, or its number from 0.
fn suffixes(nodes: &[Node]) -> Vec<Option<String>> {
    if let [_] = nodes {
        return vec![None];
    }
    let slugs: Vec<String> =
        nodes.iter().map(|node| slug(node.scalar("displayName").unwrap_or(""))).collect();
    let distinct: BTreeSet<&String> = slugs.iter().filter(|slug| !slug.is_empty()).collect();
    // All or none: with some of each, one would change as another is added.
    let have_names = distinct.len() == slugs.len();
    let suffix = |(index, slug): (usize, String)| Some(if have_names { slug } else { index.to_string() });
    slugs.into_iter().enumerate().map(suffix).collect()
}

/// Letters and digits in lower case, with one `-` for whatever is between them.
fn slug(name: &str) -> String {
    let words = name.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

// === impl Member ===

impl Member {
    /// Its weight, and what it counts, if it counts with every sample.
    pub(super) fn counted(&self) -> Option<(f64, &Counted)> {
        match &self.indicator {
            Indicator::Counted(counted) => Some((self.weight, counted)),
            Indicator::Sampled(_) | Indicator::Pulled(_) => None,
        }
    }
}

/// The SLOs of objectives, with their alerts.
pub(super) fn to_slos(reader: &mut Reader<'_>, common: &Common<'_>, members: Vec<Member>) -> Vec<Placed> {
    members.into_iter().filter_map(|member| reader.checked(|reader| to_slo(reader, common, member))).collect()
}

fn to_slo(reader: &mut Reader<'_>, common: &Common<'_>, member: Member) -> Option<Placed> {
    let Member { suffix, at, slice_at, target_at, objective, indicator, weight: _ } = member;
    let alerts = alerts::of_objective(reader, target_at, &common.burns, &objective);
    slices::check_fit(reader, slice_at, &objective, &alerts);
    let metadata = common.metadata.as_ref()?;
    let name = match &suffix {
        Some(suffix) => format!("{}-{suffix}", metadata.name),
        None => metadata.name.to_owned(),
    };
    let at = if suffix.is_some() { at } else { metadata.at };
    let slo = Slo {
        id: SloId { service: common.service?.to_owned(), name },
        description: describe(common, metadata),
        labels: metadata.labels.clone(),
        annotations: metadata.annotations.clone(),
        objective,
        indicator,
        alerts,
        state_alerts: Vec::new(),
        inhibits: true,
    };
    Some(Placed { slo, at, sli: at })
}

fn describe(common: &Common<'_>, metadata: &Metadata<'_>) -> String {
    if common.description.is_empty() { metadata.display_name.clone() } else { common.description.clone() }
}
