//! slod's own format: one SLO per document, its query the ratio of good events.

use std::time::Duration;

use super::{
    Placed, alerting, query,
    query::Dialect,
    reader::{Fields, Place, Reader, unknown},
    yaml::Node,
};
use crate::{
    promql::Sum,
    slo::{self, BurnRateAlert, Indicator, Objective, Slo, SloId},
};

pub(super) const API_VERSIONS: [&str; 2] = ["slo.intra365.io/v1", "slod.dev/v1"];
pub(super) const KIND: &str = "ServiceLevelObjective";

// SRE workbook, chapter 2 ("The SLI menu").
const SLI_TYPES: [&str; 8] = [
    "availability",
    "latency",
    "quality",
    "freshness",
    "correctness",
    "coverage",
    "throughput",
    "durability",
];

// SRE workbook, chapter 5: a good short window is 1/12 of the long one.
const LONG_BY_SHORT: u32 = 12;

/// Reads one document.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node) -> Option<Placed> {
    reader.checked(|reader| {
        let root = reader.fields(document, &["apiVersion", "kind", "metadata", "spec"])?;
        let metadata = ["name", "service", "labels", "annotations"];
        let metadata = reader.required_fields(&root, "metadata", &metadata);
        let spec = ["description", "sli", "objective", "alerting"];
        let spec = reader.required_fields(&root, "spec", &spec);
        read_slo(reader, &metadata?, &spec?)
    })
}

fn read_slo(reader: &mut Reader<'_>, metadata: &Fields<'_>, spec: &Fields<'_>) -> Option<Placed> {
    let name = reader.required_text(metadata, "name");
    let service = reader.required_text(metadata, "service");
    let labels = reader.labels(metadata, "labels");
    let annotations = reader.annotations(metadata, "annotations");
    let description = reader.optional_text(spec, "description");
    let indicator = read_sli(reader, spec);
    let objective = read_objective(reader, spec);
    let alerts = read_alerting(reader, spec, objective.as_ref());
    let id = SloId { service: service?.to_owned(), name: name?.to_owned() };
    let (indicator, objective) = (indicator?, objective?);
    let slo = Slo { id, description, labels, annotations, objective, indicator, alerts };
    Some(Placed { slo, at: metadata.place("name") })
}

fn read_objective(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Objective> {
    let fields = reader.required_fields(spec, "objective", &["target", "window"])?;
    let target = reader.required(&fields, "target").and_then(|node| reader.target(node, "target"));
    let window = reader.required(&fields, "window").and_then(|node| reader.window(node, "window"));
    Some(Objective::rolling(target?, window?))
}

// === the SLI ===

fn read_sli(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Indicator> {
    let known = ["type", "query", "good", "bad", "total", "group_by"];
    let fields = reader.required_fields(spec, "sli", &known)?;
    check_type(reader, &fields);
    let group_by = read_group_by(reader, &fields);
    let mut indicator = read_queries(reader, &fields)?;
    merge_group_by(reader, &fields, &mut indicator, group_by);
    Some(indicator)
}

fn check_type(reader: &mut Reader<'_>, sli: &Fields<'_>) {
    let found = reader.optional_text(sli, "type");
    if !found.is_empty() && !SLI_TYPES.contains(&found.as_str()) {
        reader.error(sli.place("type"), unknown("sli type", &found, &SLI_TYPES));
    }
}

fn read_queries(reader: &mut Reader<'_>, sli: &Fields<'_>) -> Option<Indicator> {
    match (sli.get("query"), sli.get("good"), sli.get("bad"), sli.get("total")) {
        (Some(ratio), None, None, None) => read_good_ratio(reader, ratio),
        (None, Some(good), None, Some(total)) => {
            let (good, total) = read_pair(reader, ("good", good), ("total", total))?;
            Some(query::good_of_total(good, total))
        }
        (None, None, Some(bad), Some(total)) => {
            let (bad, total) = read_pair(reader, ("bad", bad), ("total", total))?;
            Some(query::bad_of_total(bad, total))
        }
        (None, Some(good), Some(bad), None) => {
            let (good, bad) = read_pair(reader, ("good", good), ("bad", bad))?;
            Some(query::good_and_bad(good, bad))
        }
        _ => {
            reader.error(sli.at, "sli needs either query, or exactly two of good, bad and total");
            None
        }
    }
}

fn read_good_ratio(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let ratio = query::read_ratio(reader, node, "query", Dialect::Plain)?;
    let read = if ratio.complement { query::bad_of_total } else { query::good_of_total };
    Some(read(ratio.numerator, ratio.denominator))
}

fn read_pair(reader: &mut Reader<'_>, first: (&str, &Node), second: (&str, &Node)) -> Option<(Sum, Sum)> {
    let one = query::read_sum(reader, first.1, first.0, Dialect::Plain);
    let other = query::read_sum(reader, second.1, second.0, Dialect::Plain);
    let (one, other) = (one?, other?);
    query::check_alike(reader, second.1.at, (first.0, second.0), (&one, &other));
    Some((one, other))
}

/// The labels of the list, sorted, with the place of the list.
fn read_group_by(reader: &mut Reader<'_>, sli: &Fields<'_>) -> Option<(Place, Vec<String>)> {
    let node = sli.get("group_by")?;
    let items = reader.list(node)?;
    let mut labels = Vec::new();
    for item in items {
        if let Some(name) = reader.text(item) {
            reader.check_label_name(item.at, name);
            labels.push(name.to_owned());
        }
    }
    labels.sort_unstable();
    labels.dedup();
    Some((node.at, labels))
}

fn merge_group_by(
    reader: &mut Reader<'_>,
    sli: &Fields<'_>,
    indicator: &mut Indicator,
    group_by: Option<(Place, Vec<String>)>,
) {
    query::check_group_labels(reader, sli.at, indicator);
    let Some((at, labels)) = group_by else { return };
    if !indicator.group_by.is_empty() && indicator.group_by != labels {
        let (ours, theirs) = (labels.join(", "), indicator.group_by.join(", "));
        reader.error(
            at,
            format!("group_by ({ours}) differs from the queries' by ({theirs}); drop one of them"),
        );
    }
    indicator.group_by = labels;
}

// === alerting ===

fn read_alerting(
    reader: &mut Reader<'_>,
    spec: &Fields<'_>,
    objective: Option<&Objective>,
) -> Vec<BurnRateAlert> {
    let fields = spec.get("alerting").and_then(|node| reader.fields(node, &["burn_rate_alerts"]));
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
    let alerts = slo::workbook_alerts(objective.period());
    for alert in &alerts {
        alerting::warn_of_useless(reader, spec.place("objective"), alert, objective);
    }
    alerts
}

fn read_alert(reader: &mut Reader<'_>, node: &Node, objective: Option<&Objective>) -> Option<BurnRateAlert> {
    let known = [
        "severity",
        "burn_rate",
        "window",
        "short_window",
        "for",
        "keep_firing_for",
        "min_bad_events",
        "labels",
        "annotations",
    ];
    let fields = reader.fields(node, &known)?;
    let severity = reader.required_text(&fields, "severity");
    let factor = read_burn_rate(reader, &fields);
    let windows = read_windows(reader, &fields);
    let for_ = reader.optional_duration(&fields, "for");
    let keep_firing_for = reader.optional_duration(&fields, "keep_firing_for");
    let labels = reader.labels(&fields, "labels");
    let annotations = reader.annotations(&fields, "annotations");
    let min_bad_events = read_min_bad_events(reader, &fields, severity.unwrap_or_default());
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
        alerting::warn_of_useless(reader, fields.place("burn_rate"), &alert, objective);
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
        reader.error(node.at, "short_window must be shorter than window");
    }
    Some((short, long))
}

fn read_min_bad_events(reader: &mut Reader<'_>, alert: &Fields<'_>, severity: &str) -> f64 {
    let Some(node) = alert.get("min_bad_events") else { return slo::default_min_bad_events(severity) };
    let number = reader.number(node, "min_bad_events").unwrap_or_default();
    if number < 0.0 {
        reader.error(node.at, format!("min_bad_events {number} must not be negative"));
    }
    number
}
