//! slod's own format: one SLO per document. Read here, and written of SLOs of any format.

use super::{
    Placed,
    reader::{Fields, Reader},
    slices,
    yaml::Node,
};
use crate::slo::{Slo, SloId};

mod alerts;
mod document;
mod fields;
mod objective;
mod sli;
mod write;

pub use write::{Unsayable, alerting_yaml, schema, yaml};

pub(super) const API_VERSIONS: [&str; 2] = ["slo.intra365.io/v1", "slod.dev/v1"];
pub(super) const KIND: &str = "ServiceLevelObjective";

// SRE workbook, chapter 5: a good short window is 1/12 of the long one.
const LONG_BY_SHORT: u32 = 12;

/// Reads one document.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node) -> Option<Placed> {
    reader.checked(|reader| {
        let root = reader.fields(document, &fields::ROOT)?;
        let metadata = reader.required_fields(&root, "metadata", &fields::METADATA);
        let spec = reader.required_fields(&root, "spec", &fields::SPEC);
        read_slo(reader, &metadata?, &spec?)
    })
}

fn read_slo(reader: &mut Reader<'_>, metadata: &Fields<'_>, spec: &Fields<'_>) -> Option<Placed> {
    let name = reader.required_text(metadata, "name");
    let service = reader.required_text(metadata, "service");
    let labels = reader.labels(metadata, "labels");
    let annotations = reader.annotations(metadata, "annotations");
    let description = reader.optional_text(spec, "description");
    let indicator = sli::read(reader, spec);
    let objective = objective::read(reader, spec);
    let alerting = alerts::read(reader, spec, objective.as_ref());
    if let Some(objective) = &objective {
        slices::check_fit(
            reader,
            spec.place_within(&["objective", "slice", "window"]),
            objective,
            &alerting.burn_rates,
        );
    }
    let id = SloId { service: service?.to_owned(), name: name?.to_owned() };
    let (indicator, objective) = (indicator?, objective?);
    let slo = Slo {
        id,
        description,
        labels,
        annotations,
        objective,
        indicator,
        alerts: alerting.burn_rates,
        state_alerts: alerting.states,
        inhibits: alerting.inhibits,
    };
    Some(Placed { slo, at: metadata.place("name"), sli: sli::place(spec) })
}

#[cfg(test)]
mod tests;
