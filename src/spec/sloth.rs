//! Sloth's two formats: a service with a list of SLOs, their queries templates over the window.
//!
//! `prometheus/v1` and the Kubernetes resource `PrometheusServiceLevel` say the same, one in snake case and one in
//! camel case, so that one reader reads both. Sloth has the period in a flag and not in the spec; so has slod,
//! in its settings. Which alerts an SLO has follows from the period: see [`Catalog`].
//!
//! Sloth ignores fields that it does not know, and so must this reader, but not in silence.

use std::collections::BTreeMap;

use super::{
    Placed, alerting,
    query::{self, Dialect, Pair, Query, Ratio},
    reader::{Fields, Reader},
    yaml::Node,
};
use crate::{
    slo::{BurnRateAlert, Indicator, Objective, Slo, SloId},
    time::format_duration,
};

pub(super) mod catalog;
mod plugins;
mod rule_plugins;

use catalog::Catalog;

pub(super) const VERSION: &str = "prometheus/v1";
pub(super) const API_VERSION: &str = "sloth.slok.dev/v1";
pub(super) const KIND: &str = "PrometheusServiceLevel";

const SEVERITY: &str = "severity";

const DEAD_ALERT_WAY_OUT: &str = "it never fires in Sloth either; slod's own format takes lower burn rates";

type Strings = BTreeMap<String, String>;

/// How a format writes the names that consist of several words.
struct Spelling {
    slo_plugins: &'static str,
    error_query: &'static str,
    total_query: &'static str,
    error_ratio_query: &'static str,
    page_alert: &'static str,
    ticket_alert: &'static str,
}

const SNAKE: Spelling = Spelling {
    slo_plugins: "slo_plugins",
    error_query: "error_query",
    total_query: "total_query",
    error_ratio_query: "error_ratio_query",
    page_alert: "page_alert",
    ticket_alert: "ticket_alert",
};

const CAMEL: Spelling = Spelling {
    slo_plugins: "sloPlugins",
    error_query: "errorQuery",
    total_query: "totalQuery",
    error_ratio_query: "errorRatioQuery",
    page_alert: "pageAlert",
    ticket_alert: "ticketAlert",
};

/// What the SLOs of a document have in common.
struct Service {
    spelling: &'static Spelling,
    name: Option<String>,
    labels: Strings,
    /// The alerts of their period, without any marks.
    alerts: Vec<BurnRateAlert>,
}

/// Labels and annotations of an alert.
#[derive(Clone, Default)]
struct Marks {
    labels: Strings,
    annotations: Strings,
}

/// Reads a document of `prometheus/v1`.
pub(super) fn read(reader: &mut Reader<'_>, document: &Node, catalog: &Catalog) -> Vec<Placed> {
    let known = ["version", "service", "labels", SNAKE.slo_plugins, "slos"];
    let root = fields(reader, document, &known);
    root.map_or_else(Vec::new, |root| read_service(reader, &root, &SNAKE, catalog))
}

/// Reads a `PrometheusServiceLevel`. The labels of its metadata are for Kubernetes alone.
pub(super) fn read_resource(reader: &mut Reader<'_>, document: &Node, catalog: &Catalog) -> Vec<Placed> {
    let root = fields(reader, document, &["apiVersion", "kind", "metadata", "spec", "status"]);
    let known = ["service", "labels", CAMEL.slo_plugins, "slos"];
    let spec = root.and_then(|root| required_fields(reader, &root, "spec", &known));
    spec.map_or_else(Vec::new, |spec| read_service(reader, &spec, &CAMEL, catalog))
}

/// Every SLO that has no error, unless what they have in common has one.
fn read_service(
    reader: &mut Reader<'_>,
    root: &Fields<'_>,
    spelling: &'static Spelling,
    catalog: &Catalog,
) -> Vec<Placed> {
    let service = reader.checked(|reader| {
        let name = read_name(reader, root, "service");
        let labels = reader.labels_renamed(root, "labels", &[]);
        rule_plugins::check(reader, root, spelling.slo_plugins);
        let alerts = read_catalog(reader, root, catalog);
        Some(Service { spelling, name, labels, alerts })
    });
    // Without what is common no SLO is returned, but all are read for their errors.
    let service = service.unwrap_or_else(|| Service::unknown(spelling));
    let slos = reader.required(root, "slos").and_then(|node| read_list(reader, node)).unwrap_or_default();
    slos.iter().filter_map(|node| reader.checked(|reader| read_slo(reader, node, &service))).collect()
}

fn read_catalog(reader: &mut Reader<'_>, root: &Fields<'_>, catalog: &Catalog) -> Vec<BurnRateAlert> {
    let period = reader.settings.sloth_default_slo_period;
    if let Some(alerts) = catalog.alerts(period) {
        return alerts;
    }
    let message = format!(
        "no alert windows for the SLO period {} (sloth.default_slo_period), only for {}; define them in a document \
         of kind: {}",
        format_duration(period),
        catalog.known(),
        catalog::KIND,
    );
    reader.error(root.at, message);
    Vec::new()
}

fn read_list<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<&'n [Node]> {
    let slos = reader.list(node)?;
    if slos.is_empty() {
        reader.error(node.at, "slos is empty; Sloth wants at least one");
    }
    Some(slos)
}

fn read_slo(reader: &mut Reader<'_>, node: &Node, service: &Service) -> Option<Placed> {
    let known = ["name", "description", "objective", "labels", "plugins", "sli", "alerting"];
    let fields = fields(reader, node, &known)?;
    rule_plugins::check(reader, &fields, "plugins");
    let name = read_name(reader, &fields, "name");
    let description = reader.optional_text(&fields, "description");
    let labels = merged(&service.labels, reader.labels_renamed(&fields, "labels", &[]));
    let objective = read_objective(reader, &fields);
    let indicator = read_sli(reader, &fields, service.spelling);
    let alerts = read_alerting(reader, &fields, service, objective.as_ref());
    let id = SloId { service: service.name.clone()?, name: name? };
    let (objective, indicator) = (objective?, indicator?);
    let slo = Slo {
        id,
        description,
        labels,
        annotations: Strings::new(),
        objective,
        indicator,
        alerts,
        state_alerts: Vec::new(),
        inhibits: true,
    };
    Some(Placed {
        slo,
        at: fields.place("name"),
        sli: fields.place_within(&["sli", "events", service.spelling.error_query]),
    })
}

fn read_objective(reader: &mut Reader<'_>, slo: &Fields<'_>) -> Option<Objective> {
    let node = reader.required(slo, "objective")?;
    let target = reader.target_or_all(node, "objective")?;
    Some(Objective::rolling(target, reader.settings.sloth_default_slo_period))
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

/// Both maps; where they disagree, `over` is right.
fn merged(under: &Strings, over: Strings) -> Strings {
    let mut merged = under.clone();
    merged.extend(over);
    merged
}

/// The fields of a mapping; others are remarked.
fn fields<'n>(reader: &mut Reader<'_>, node: &'n Node, known: &[&str]) -> Option<Fields<'n>> {
    reader.fields_or_ignored(node, known, "Sloth")
}

fn required_fields<'n>(
    reader: &mut Reader<'_>,
    owner: &Fields<'n>,
    name: &str,
    known: &[&str],
) -> Option<Fields<'n>> {
    let node = reader.required(owner, name)?;
    fields(reader, node, known)
}

// === impl Service ===

impl Service {
    fn unknown(spelling: &'static Spelling) -> Self {
        Self { spelling, name: None, labels: Strings::new(), alerts: Vec::new() }
    }
}

// === the SLI ===

fn read_sli(reader: &mut Reader<'_>, slo: &Fields<'_>, spelling: &'static Spelling) -> Option<Indicator> {
    let sli = required_fields(reader, slo, "sli", &["events", "raw", "plugin"])?;
    match (sli.get("events"), sli.get("raw"), sli.get("plugin")) {
        (Some(events), None, None) => read_events(reader, events, spelling),
        (None, Some(raw), None) => read_raw(reader, raw, spelling),
        (None, None, Some(plugin)) => plugins::read(reader, plugin),
        _ => {
            reader.error(sli.at, "sli needs exactly one of events, raw and plugin");
            None
        }
    }
}

fn read_events(reader: &mut Reader<'_>, node: &Node, spelling: &'static Spelling) -> Option<Indicator> {
    let fields = fields(reader, node, &[spelling.error_query, spelling.total_query])?;
    let errors = read_query(reader, &fields, spelling.error_query);
    let total = read_query(reader, &fields, spelling.total_query);
    let (errors, total) = (errors?, total?);
    query::read_pair(reader, Dialect::Sloth, Pair::BadOfTotal, &errors, &total)
}

fn read_raw(reader: &mut Reader<'_>, node: &Node, spelling: &'static Spelling) -> Option<Indicator> {
    let fields = fields(reader, node, &[spelling.error_ratio_query])?;
    let query = read_query(reader, &fields, spelling.error_ratio_query)?;
    query::read_ratio(reader, Dialect::Sloth, Ratio::Bad, &query)
}

fn read_query<'n>(reader: &mut Reader<'_>, owner: &Fields<'n>, name: &'static str) -> Option<Query<'n>> {
    let node = reader.required(owner, name)?;
    let query = Query::of(reader, name, node)?;
    if let Some(template) = unknown_template(&query.text) {
        let message =
            format!("{name} has {template}, which Sloth does not fill in: it knows {{{{.window}}}} only");
        reader.error(node.at, message);
        return None;
    }
    Some(query)
}

/// The first template but that of the window.
fn unknown_template(query: &str) -> Option<&str> {
    query.match_indices("{{").find_map(|(start, _)| {
        let template = query[start..].split_inclusive("}}").next()?;
        let name = template.trim_start_matches('{').trim_end_matches('}');
        (name.trim_matches(' ') != ".window").then_some(template)
    })
}

// === alerting ===

fn read_alerting(
    reader: &mut Reader<'_>,
    slo: &Fields<'_>,
    service: &Service,
    objective: Option<&Objective>,
) -> Vec<BurnRateAlert> {
    let Spelling { page_alert, ticket_alert, .. } = service.spelling;
    let known = ["name", "labels", "annotations", page_alert, ticket_alert];
    let Some(fields) = required_fields(reader, slo, "alerting", &known) else { return Vec::new() };
    let common = read_marks(reader, &fields);
    let page = read_severity(reader, &fields, page_alert, &common);
    let ticket = read_severity(reader, &fields, ticket_alert, &common);
    let is_on = page.is_some() || ticket.is_some();
    let name = if is_on { reader.required_text(&fields, "name").map(str::to_owned) } else { None };
    let enabled = service.alerts.iter().filter_map(|alert| {
        let marks = if alert.severity == "page" { &page } else { &ticket };
        marks.clone().map(|marks| marked(BurnRateAlert { name: name.clone(), ..alert.clone() }, marks))
    });
    let alerts: Vec<BurnRateAlert> = enabled.collect();
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
    let fields = fields(reader, node, &["disable", "labels", "annotations"])?;
    let own = read_marks(reader, &fields);
    let labels = merged(&common.labels, own.labels);
    let annotations = merged(&common.annotations, own.annotations);
    (!reader.optional_flag(&fields, "disable")).then_some(Marks { labels, annotations })
}

fn read_marks(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Marks {
    let labels = reader.labels_renamed(fields, "labels", &[SEVERITY]);
    Marks { labels, annotations: reader.annotations_renamed(fields, "annotations") }
}

/// An alert with its labels. A `severity` among them, on which people's routes depend, takes the
/// place of `page` or `ticket`.
fn marked(alert: BurnRateAlert, mut marks: Marks) -> BurnRateAlert {
    let severity = marks.labels.remove(SEVERITY).unwrap_or(alert.severity);
    BurnRateAlert { severity, labels: marks.labels, annotations: marks.annotations, ..alert }
}

#[cfg(test)]
mod tests;
