//! Pyrra's indicators: selectors, and what is counted of them.

use crate::{
    labels::Selector,
    slo::{Grouping, HistogramMeasure, Indicator, Interval, Measure},
    spec::{
        names::is_label_name,
        query::{self, Query},
        reader::{Fields, Place, Reader},
        yaml::Node,
    },
};

type Read = fn(&mut Reader<'_>, &Node) -> Option<Indicator>;

/// In the order in which Pyrra chooses among several.
const KINDS: [(&str, Read); 4] = [
    ("ratio", read_ratio),
    ("latency", read_latency),
    ("latencyNative", read_latency_native),
    ("bool_gauge", read_bool_gauge),
];

const BUCKET_BOUND: &str = "le";

/// A selector, and where it was written.
struct Metric {
    selector: Selector,
    at: Place,
}

/// Reads the field `indicator`.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Indicator> {
    let fields = reader.required_fields(spec, "indicator", &KINDS.map(|(kind, _)| kind))?;
    check_choice(reader, &fields);
    // All are read, as Pyrra does, for their errors.
    let read: Vec<Option<Indicator>> =
        KINDS.iter().filter_map(|(kind, read)| Some(read(reader, fields.get(kind)?))).collect();
    read.into_iter().next().flatten()
}

fn check_choice(reader: &mut Reader<'_>, indicator: &Fields<'_>) {
    let given: Vec<&str> =
        KINDS.iter().map(|(kind, _)| *kind).filter(|kind| indicator.get(kind).is_some()).collect();
    match *given.as_slice() {
        [] => {
            let message = "indicator needs one of ratio, latency, latencyNative and bool_gauge";
            reader.error(indicator.at, message);
        }
        ["ratio", "latency", ..] => {
            let message = "indicator has both ratio and latency; make two SLOs of it";
            reader.error(indicator.place("latency"), message);
        }
        [chosen, ref others @ ..] => {
            for other in others {
                let message = format!("{other} is not used: {chosen} goes before it, as in Pyrra");
                reader.warn(indicator.place(other), message);
            }
        }
    }
}

fn read_ratio(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields(node, &["errors", "total", "grouping"])?;
    let (errors, total) = (read_query(reader, &fields, "errors"), read_query(reader, &fields, "total"));
    let group_by = read_grouping(reader, &fields);
    let (errors, total) = (errors?, total?);
    if errors.selector == total.selector {
        reader.warn(errors.at, "errors selects what total selects: every event is bad");
    }
    let bad = [(1.0, errors.selector, Measure::Increase)];
    Some(query::counted(bad, [(1.0, total.selector, Measure::Increase)], group_by))
}

fn read_latency(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields(node, &["success", "total", "grouping"])?;
    let (success, total) = (read_query(reader, &fields, "success"), read_query(reader, &fields, "total"));
    let group_by = read_grouping(reader, &fields);
    let (success, total) = (success?, total?);
    check_bucket_bound(reader, &success);
    warn_of_name(reader, &success, "success", "_bucket");
    warn_of_name(reader, &total, "total", "_count");
    let all = (1.0, total.selector, Measure::Increase);
    let bad = [all.clone(), (-1.0, success.selector, Measure::Increase)];
    Some(query::counted(bad, [all], group_by))
}

fn read_latency_native(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields(node, &["latency", "total", "grouping"])?;
    let node = reader.required(&fields, "latency");
    let upper = node.and_then(|node| reader.duration(node, "latency"));
    if upper.is_some_and(|upper| upper.is_zero()) {
        reader.error(fields.place("latency"), "latency must be longer than 0s: nothing is faster");
    }
    let total = read_query(reader, &fields, "total");
    let group_by = read_grouping(reader, &fields);
    let (interval, total) = (Interval { lower: 0.0, upper: upper?.as_secs_f64() }, total?.selector);
    let all = (1.0, total.clone(), Measure::Histogram(HistogramMeasure::Count));
    let fast = (-1.0, total, Measure::Histogram(HistogramMeasure::Within(interval)));
    Some(query::counted([all.clone(), fast], [all], group_by))
}

/// Samples are 1 when good and 0 when bad.
fn read_bool_gauge(reader: &mut Reader<'_>, node: &Node) -> Option<Indicator> {
    let fields = reader.fields(node, &["metric", "grouping"])?;
    let metric = read_metric(reader, &fields);
    let group_by = read_grouping(reader, &fields);
    let gauge = metric?.selector;
    let all = (1.0, gauge.clone(), Measure::Samples);
    Some(query::counted([all.clone(), (-1.0, gauge, Measure::Values)], [all], group_by))
}

// === fields of indicators ===

/// A mapping with a selector as its only field.
fn read_query(reader: &mut Reader<'_>, indicator: &Fields<'_>, name: &str) -> Option<Metric> {
    let fields = reader.required_fields(indicator, name, &["metric"])?;
    read_metric(reader, &fields)
}

fn read_metric(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Metric> {
    let text = reader.required_text(fields, "metric").filter(|text| !text.trim().is_empty())?;
    let node = fields.get("metric")?;
    // Braces are no error in the value of a matcher, and paths with them exist.
    if text.trim_start().starts_with("{{") {
        reader.error(node.at, "metric is a template; fill {{ … }} in first");
        return None;
    }
    let query = Query::of(reader, "metric", node)?;
    query::read_selector(reader, &query).map(|selector| Metric { selector, at: node.at })
}

fn read_grouping(reader: &mut Reader<'_>, indicator: &Fields<'_>) -> Grouping {
    let list = indicator.get("grouping").and_then(|node| reader.list(node));
    let mut names = Vec::new();
    for item in list.unwrap_or_default() {
        let Some(name) = reader.text(item) else { continue };
        if !is_label_name(name) {
            reader.error(item.at, format!("grouping by {name:?}, which is no label name"));
        }
        names.push(name);
    }
    Grouping::by(names)
}

fn check_bucket_bound(reader: &mut Reader<'_>, success: &Metric) {
    let bound = success.selector.matchers.iter().find(|matcher| matcher.name() == BUCKET_BOUND);
    match bound.map(|matcher| matcher.value()) {
        Some(value) if value.parse::<f64>().is_ok() => {}
        Some(value) => {
            reader.error(success.at, format!("le must be a number, the bound of a bucket; got {value:?}"));
        }
        None => {
            let message =
                "success needs the bound of its bucket, such as le=\"0.5\": it would count every bucket";
            reader.error(success.at, message);
        }
    }
}

fn warn_of_name(reader: &mut Reader<'_>, metric: &Metric, role: &str, suffix: &str) {
    let Some(name) = metric.selector.metric_name().filter(|name| !name.ends_with(suffix)) else { return };
    let message = format!("{role} metric {name} does not end in {suffix}, as those of histograms do");
    reader.warn(metric.at, message);
}
