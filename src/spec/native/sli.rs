//! The native SLI: which events count, and which are bad.

use std::time::Duration;

use super::fields;
use crate::{
    slo::{Grouping, Indicator, Question, Threshold, ThresholdOp},
    spec::{
        query::{self, Dialect, Pair, Query, Ratio},
        reader::{Fields, Place, Reader, unknown},
        yaml::Node,
    },
    time::format_duration,
};

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

const CHOICE: &str =
    "sli needs either query, or bad_ratio, or threshold, or exactly two of good, bad and total";

const CHOICE_AT_STEPS: &str =
    "sli with step needs either query, or bad_ratio, or threshold, or bad and total";

// No service is scraped more often.
const STEP_MIN: Duration = Duration::from_secs(1);
// A day has 24 such moments: too few to say anything of most windows.
const STEP_MAX: Duration = Duration::from_secs(3_600);

/// Reads the field `sli`.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Indicator> {
    let fields = reader.required_fields(spec, "sli", &fields::SLI)?;
    check_type(reader, &fields);
    let group_by = read_group_by(reader, &fields);
    let mut indicator = read_events(reader, &fields)?;
    merge_group_by(reader, &mut indicator, group_by);
    Some(indicator)
}

/// Where what it counts is said.
pub(super) fn place(spec: &Fields<'_>) -> Place {
    let sli = spec.place("sli");
    let fields = ["bad", "good", "query", "threshold"].map(|name| spec.place_within(&["sli", name]));
    fields.into_iter().find(|place| *place != sli).unwrap_or(sli)
}

fn check_type(reader: &mut Reader<'_>, sli: &Fields<'_>) {
    let found = reader.optional_text(sli, "type");
    if !found.is_empty() && !SLI_TYPES.contains(&found.as_str()) {
        reader.error(sli.place("type"), unknown("sli type", &found, &SLI_TYPES));
    }
}

fn read_events(reader: &mut Reader<'_>, sli: &Fields<'_>) -> Option<Indicator> {
    if let Some(step) = sli.get("step") {
        return read_at_steps(reader, sli, step);
    }
    let Some(threshold) = sli.get("threshold") else { return read_queries(reader, sli) };
    if ["query", "bad_ratio", "good", "bad", "total"].iter().any(|name| sli.get(name).is_some()) {
        reader.error(sli.at, CHOICE);
    }
    let (metric, condition) = read_threshold(reader, threshold)?;
    query::read_condition(reader, Dialect::Plain, &metric, condition)
}

fn read_threshold<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<(Query<'n>, Threshold)> {
    let fields = reader.fields(node, &fields::THRESHOLD)?;
    let metric = reader.required(&fields, "metric").and_then(|node| Query::of(reader, "metric", node));
    let ops = ThresholdOp::ALL.map(|op| (op.name(), op));
    let op = reader.required(&fields, "op").and_then(|node| reader.choice(node, "op", &ops));
    let bound = reader.required(&fields, "value").and_then(|node| reader.number(node, "value"));
    Some((metric?, Threshold { op: op?, bound: bound? }))
}

// --- at steps of time ---

fn read_at_steps(reader: &mut Reader<'_>, sli: &Fields<'_>, step: &Node) -> Option<Indicator> {
    let step = read_step(reader, step);
    let ways = ["query", "bad_ratio", "threshold", "good", "bad", "total"];
    let given: Vec<&str> = ways.into_iter().filter(|name| sli.get(name).is_some()).collect();
    let mut query = |name: &'static str| Query::of(reader, name, sli.get(name)?);
    let question = match given.as_slice() {
        ["query"] => Question::GoodRatio(query("query")?),
        ["bad_ratio"] => Question::BadRatio(query("bad_ratio")?),
        ["bad", "total"] => Question::Events { bad: query("bad")?, total: query("total")? },
        ["threshold"] => {
            let (metric, condition) = read_threshold(reader, sli.get("threshold")?)?;
            Question::Condition(metric, condition)
        }
        _ => {
            reader.error(sli.at, CHOICE_AT_STEPS);
            return None;
        }
    };
    query::read_at_steps(reader, &question, step?)
}

fn read_step(reader: &mut Reader<'_>, node: &Node) -> Option<Duration> {
    let step = reader.window(node, "step")?;
    if (STEP_MIN..=STEP_MAX).contains(&step) {
        return Some(step);
    }
    let [step, least, most] = [step, STEP_MIN, STEP_MAX].map(format_duration);
    reader.error(node.at, format!("step {step} must be from {least} to {most}"));
    None
}

// --- counted ---

fn read_queries(reader: &mut Reader<'_>, sli: &Fields<'_>) -> Option<Indicator> {
    if let Some(ratio) = sli.get("bad_ratio") {
        if ["query", "good", "bad", "total"].iter().any(|name| sli.get(name).is_some()) {
            reader.error(sli.at, CHOICE);
        }
        return read_ratio(reader, Ratio::Bad, "bad_ratio", ratio);
    }
    match (sli.get("query"), sli.get("good"), sli.get("bad"), sli.get("total")) {
        (Some(ratio), None, None, None) => read_ratio(reader, Ratio::Good, "query", ratio),
        (None, Some(good), None, Some(total)) => {
            read_pair(reader, Pair::GoodOfTotal, ("good", good), ("total", total))
        }
        (None, None, Some(bad), Some(total)) => {
            read_pair(reader, Pair::BadOfTotal, ("bad", bad), ("total", total))
        }
        (None, Some(good), Some(bad), None) => {
            read_pair(reader, Pair::GoodAndBad, ("good", good), ("bad", bad))
        }
        _ => {
            reader.error(sli.at, CHOICE);
            None
        }
    }
}

fn read_ratio(reader: &mut Reader<'_>, ratio: Ratio, name: &str, node: &Node) -> Option<Indicator> {
    let query = Query::of(reader, name, node)?;
    query::read_ratio(reader, Dialect::Plain, ratio, &query)
}

fn read_pair(
    reader: &mut Reader<'_>,
    pair: Pair,
    first: (&str, &Node),
    second: (&str, &Node),
) -> Option<Indicator> {
    let one = Query::of(reader, first.0, first.1);
    let other = Query::of(reader, second.0, second.1);
    query::read_pair(reader, Dialect::Plain, pair, &one?, &other?)
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
    indicator: &mut Indicator,
    group_by: Option<(Place, Vec<String>)>,
) {
    let Some((at, labels)) = group_by else { return };
    let Indicator::Counted(counted) = indicator else {
        return reader
            .error(at, "group_by is for queries that count; group this one by itself, and remove it");
    };
    let group_by = Grouping::by(labels);
    if counted.group_by != Grouping::none() && counted.group_by != group_by {
        let theirs = &counted.group_by;
        reader.error(
            at,
            format!("group_by {group_by} differs from the queries' by {theirs}; drop one of them"),
        );
    }
    counted.group_by = group_by;
}
