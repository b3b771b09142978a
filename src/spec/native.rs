//! slod's own format: one SLO per document. Read here, and written of SLOs of any format.

use std::time::Duration;

use super::{
    Placed, alerting,
    reader::{Fields, Reader},
    slices,
    yaml::Node,
};
use crate::{
    slo::{self, BurnRateAlert, Objective, Slo, SloId},
    time::format_duration,
};

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
    let alerts = read_alerting(reader, spec, objective.as_ref());
    if let Some(objective) = &objective {
        slices::check_fit(reader, spec.place_within(&["objective", "slice", "window"]), objective, &alerts);
    }
    let id = SloId { service: service?.to_owned(), name: name?.to_owned() };
    let (indicator, objective) = (indicator?, objective?);
    let slo = Slo { id, description, labels, annotations, objective, indicator, alerts };
    Some(Placed { slo, at: metadata.place("name"), sli: sli::place(spec) })
}

// === alerting ===

fn read_alerting(
    reader: &mut Reader<'_>,
    spec: &Fields<'_>,
    objective: Option<&Objective>,
) -> Vec<BurnRateAlert> {
    let fields = spec.get("alerting").and_then(|node| reader.fields(node, &fields::ALERTING));
    let Some(list) = fields.and_then(|fields| fields.get("burn_rate_alerts")) else {
        return objective.map_or_else(Vec::new, |objective| default_alerts(reader, spec, objective));
    };
    let mut alerts: Vec<BurnRateAlert> = Vec::new();
    for item in reader.list(list).unwrap_or_default() {
        let Some(alert) = read_alert(reader, item, objective) else { continue };
        // They would be one series.
        let key = |alert: &BurnRateAlert| (alert.severity.clone(), alert.short, alert.long);
        if alerts.iter().any(|other| key(other) == key(&alert)) {
            reader.error(item.at, "another alert has the same severity and windows; drop one of them");
        }
        alerts.push(alert);
    }
    alerts
}

fn default_alerts(reader: &mut Reader<'_>, spec: &Fields<'_>, objective: &Objective) -> Vec<BurnRateAlert> {
    let alerts = slo::workbook_alerts(objective.period(), objective.budgeting);
    let at = spec.place_within(&["objective", "target"]);
    for alert in &alerts {
        alerting::warn_if_dead(reader, at, alert, objective, "write burn_rate_alerts with lower ones");
    }
    alerts
}

fn read_alert(reader: &mut Reader<'_>, node: &Node, objective: Option<&Objective>) -> Option<BurnRateAlert> {
    let fields = reader.fields(node, &fields::ALERT)?;
    let severity = reader.required_text(&fields, "severity");
    let factor = read_burn_rate(reader, &fields);
    let windows = read_windows(reader, &fields);
    let for_ = reader.optional_duration(&fields, "for");
    let keep_firing_for = reader.optional_duration(&fields, "keep_firing_for");
    let labels = reader.labels(&fields, "labels");
    let annotations = reader.annotations(&fields, "annotations");
    let budgeting = objective.map(|objective| objective.budgeting).unwrap_or_default();
    let default = slo::default_min_bad_events(severity.unwrap_or_default(), budgeting);
    let min_bad_events = read_min_bad_events(reader, &fields, default);
    let (severity, factor, (short, long)) = (severity?.to_owned(), factor?, windows?);
    let alert = BurnRateAlert {
        severity,
        short,
        long,
        factor,
        for_,
        keep_firing_for,
        min_bad_events,
        labels,
        annotations,
    };
    if let Some(objective) = objective {
        let at = fields.place("burn_rate");
        alerting::warn_if_dead(reader, at, &alert, objective, "lower burn_rate or drop the alert");
        alerting::warn_if_longer(reader, fields.place("window"), &alert, objective);
    }
    Some(alert)
}

fn read_burn_rate(reader: &mut Reader<'_>, alert: &Fields<'_>) -> Option<f64> {
    let node = reader.required(alert, "burn_rate")?;
    let factor = reader.number(node, "burn_rate")?;
    if factor <= 0.0 {
        reader.error(node.at, format!("burn_rate {factor} is always exceeded; it must be above 0"));
    }
    Some(factor)
}

/// The short and the long window.
fn read_windows(reader: &mut Reader<'_>, alert: &Fields<'_>) -> Option<(Duration, Duration)> {
    let node = reader.required(alert, "window")?;
    let long = reader.window(node, "window")?;
    let Some(node) = alert.get("short_window") else { return Some((long / LONG_BY_SHORT, long)) };
    let short = reader.window(node, "short_window")?;
    if short >= long {
        let (short, long) = (format_duration(short), format_duration(long));
        reader.error(node.at, format!("short_window {short} must be shorter than window {long}"));
    }
    Some((short, long))
}

fn read_min_bad_events(reader: &mut Reader<'_>, alert: &Fields<'_>, default: f64) -> f64 {
    let Some(node) = alert.get("min_bad_events") else { return default };
    let number = reader.number(node, "min_bad_events").unwrap_or_default();
    if number < 0.0 {
        reader.error(node.at, format!("min_bad_events {number} must not be negative"));
    }
    number
}

#[cfg(test)]
mod tests;
