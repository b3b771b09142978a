//! Sloth's `prometheus/v1`: a service with a list of SLOs, their queries templates over the window.
//!
//! Sloth has the period in a flag and not in the spec; its default of 30 days is used, for which its
//! alert windows are those of the SRE workbook.

use std::{collections::BTreeMap, time::Duration};

use super::{
    Placed, alerting, query,
    query::{Dialect, Pair, Query, Ratio},
    reader::{Fields, Reader},
    yaml::Node,
};
use crate::slo::{self, Budgeting, BurnRateAlert, Indicator, Objective, Slo, SloId};

pub(super) const VERSION: &str = "prometheus/v1";

const PERIOD: Duration = Duration::from_secs(30 * 86_400);
const SEVERITY: &str = "severity";

const DEAD_ALERT_WAY_OUT: &str = "it never fires in Sloth either; slod's own format takes lower burn rates";

type Strings = BTreeMap<String, String>;

/// What the SLOs of a file have in common.
#[derive(Default)]
struct Service {
    name: Option<String>,
    labels: Strings,
}

/// Labels and annotations of an alert.
#[derive(Clone, Default)]
struct Marks {
    labels: Strings,
    annotations: Strings,
}

/// Reads one document: every SLO that has no error, unless the document's own fields have one.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node) -> Vec<Placed> {
    let known = ["version", "service", "labels", "slo_plugins", "slos"];
    // A field with a wrong name could matter to every SLO.
    let mut root = None;
    let service = reader.checked(|reader| {
        root = reader.fields(document, &known);
        read_service(reader, root.as_ref()?)
    });
    let slos = root.and_then(|root| reader.required(&root, "slos")).and_then(|node| reader.list(node));
    let service = service.unwrap_or_default();
    let slos = slos.unwrap_or_default().iter();
    slos.filter_map(|node| reader.checked(|reader| read_slo(reader, node, &service))).collect()
}

fn read_service(reader: &mut Reader<'_>, root: &Fields<'_>) -> Option<Service> {
    let name = read_name(reader, root, "service");
    let labels = reader.labels(root, "labels");
    warn_of_plugins(reader, root, "slo_plugins");
    Some(Service { name, labels })
}

/// Without a service no SLO is returned, but all are read for their errors.
fn read_slo(reader: &mut Reader<'_>, node: &Node, service: &Service) -> Option<Placed> {
    let known = ["name", "description", "objective", "labels", "plugins", "sli", "alerting"];
    let fields = reader.fields(node, &known)?;
    warn_of_plugins(reader, &fields, "plugins");
    let name = read_name(reader, &fields, "name");
    let description = reader.optional_text(&fields, "description");
    let labels = merged(&service.labels, reader.labels(&fields, "labels"));
    let target = reader.required(&fields, "objective").and_then(|node| reader.target(node, "objective"));
    let objective = target.map(|target| Objective::rolling(target, PERIOD));
    let indicator = read_sli(reader, &fields);
    let alerts = read_alerting(reader, &fields, objective.as_ref());
    let id = SloId { service: service.name.clone()?, name: name? };
    let (objective, indicator) = (objective?, indicator?);
    let slo = Slo { id, description, labels, annotations: Strings::new(), objective, indicator, alerts };
    Some(Placed { slo, at: fields.place("name") })
}

fn read_name(reader: &mut Reader<'_>, fields: &Fields<'_>, field: &str) -> Option<String> {
    let name = reader.required_text(fields, field)?;
    if !is_name(name) {
        let message = format!(
            "{field} {name:?} must have two or more letters, digits, -, _ and ., and begin and end with a letter \
             or digit"
        );
        reader.error(fields.place(field), message);
    }
    Some(name.to_owned())
}

/// Sloth's `^[A-Za-z0-9][-A-Za-z0-9_.]*[A-Za-z0-9]$`.
fn is_name(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_alphanumeric();
    let all = name.chars().all(|c| is_end(c) || matches!(c, '-' | '_' | '.'));
    all && name.len() > 1 && name.starts_with(is_end) && name.ends_with(is_end)
}

fn warn_of_plugins(reader: &mut Reader<'_>, fields: &Fields<'_>, field: &str) {
    if let Some(node) = fields.get(field) {
        reader.warn(node.at, format!("{field} are not run: slod generates no rules for them to change"));
    }
}

/// Both maps; where they disagree, `over` is right.
fn merged(under: &Strings, over: Strings) -> Strings {
    let mut merged = under.clone();
    merged.extend(over);
    merged
}

// === the SLI ===

fn read_sli(reader: &mut Reader<'_>, slo: &Fields<'_>) -> Option<Indicator> {
    let sli = reader.required_fields(slo, "sli", &["events", "raw", "plugin"])?;
    let indicator = match (sli.get("events"), sli.get("raw"), sli.get("plugin")) {
        (Some(events), None, None) => read_events(reader, events),
        (None, Some(raw), None) => read_raw(reader, raw),
        (None, None, Some(plugin)) => {
            reader.error(plugin.at, "plugin SLIs are not supported; write the queries as events or raw");
            None
        }
        _ => {
            reader.error(sli.at, "sli needs exactly one of events, raw and plugin");
            None
        }
    }?;
    Some(indicator)
}

fn read_events(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields(node, &["error_query", "total_query"])?;
    let mut query = |name| {
        let node = reader.required(&fields, name)?;
        Query::of(reader, name, node)
    };
    let (errors, total) = (query("error_query"), query("total_query"));
    let (errors, total) = (errors?, total?);
    query::read_pair(reader, Dialect::Sloth, Pair::BadOfTotal, &errors, &total)
}

fn read_raw(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields(node, &["error_ratio_query"])?;
    let node = reader.required(&fields, "error_ratio_query")?;
    let query = Query::of(reader, "error_ratio_query", node)?;
    query::read_ratio(reader, Dialect::Sloth, Ratio::Bad, &query)
}

// === alerting ===

fn read_alerting(
    reader: &mut Reader<'_>,
    slo: &Fields<'_>,
    objective: Option<&Objective>,
) -> Vec<BurnRateAlert> {
    let known = ["name", "labels", "annotations", "page_alert", "ticket_alert"];
    let Some(fields) = reader.required_fields(slo, "alerting", &known) else { return Vec::new() };
    let common = read_marks(reader, &fields);
    let page = read_severity(reader, &fields, "page_alert", &common);
    let ticket = read_severity(reader, &fields, "ticket_alert", &common);
    if page.is_some() || ticket.is_some() {
        reader.required_text(&fields, "name");
    }
    let alerts = slo::workbook_alerts(PERIOD, Budgeting::Occurrences).into_iter();
    let alerts: Vec<BurnRateAlert> = alerts
        .filter_map(|alert| {
            let marks = if alert.severity == "page" { &page } else { &ticket };
            marks.clone().map(|marks| marked(alert, marks))
        })
        .collect();
    if let Some(objective) = objective {
        for alert in &alerts {
            alerting::warn_if_dead(reader, slo.place("objective"), alert, objective, DEAD_ALERT_WAY_OUT);
        }
    }
    alerts
}

/// The marks of one severity; `None` if it is disabled.
fn read_severity(
    reader: &mut Reader<'_>,
    alerting: &Fields<'_>,
    field: &str,
    common: &Marks,
) -> Option<Marks> {
    let Some(node) = alerting.get(field) else { return Some(common.clone()) };
    let fields = reader.fields(node, &["disable", "labels", "annotations"])?;
    let own = read_marks(reader, &fields);
    let labels = merged(&common.labels, own.labels);
    let annotations = merged(&common.annotations, own.annotations);
    (!reader.optional_flag(&fields, "disable")).then_some(Marks { labels, annotations })
}

fn read_marks(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Marks {
    let entries = reader.string_map(fields, "labels");
    for (key, _) in entries.iter().filter(|(key, _)| key.name != SEVERITY) {
        reader.check_label_name(key.at, &key.name);
    }
    let labels = entries.into_iter().map(|(key, value)| (key.name.clone(), value.to_owned())).collect();
    Marks { labels, annotations: reader.annotations(fields, "annotations") }
}

/// An alert with its labels. A `severity` among them, on which people's routes depend, takes the
/// place of `page` or `ticket`.
fn marked(alert: BurnRateAlert, mut marks: Marks) -> BurnRateAlert {
    let severity = marks.labels.remove(SEVERITY).unwrap_or(alert.severity);
    BurnRateAlert { severity, labels: marks.labels, annotations: marks.annotations, ..alert }
}
