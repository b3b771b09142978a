//! OpenSLO's objectives: targets, and what budgets are counted in.

use std::time::Duration;

use super::window;
use crate::{
    slo::{Budgeting, Objective, Target, Threshold, ThresholdOp, TimeWindow},
    spec::{
        reader::{Fields, Reader},
        slices::{self, Method},
        yaml::Node,
    },
};

const OPS: [(&str, ThresholdOp); 4] = [
    ("lt", ThresholdOp::Less),
    ("lte", ThresholdOp::LessOrEqual),
    ("gt", ThresholdOp::Greater),
    ("gte", ThresholdOp::GreaterOrEqual),
];

// v1alpha has no field for it. Prometheus' own scrape interval by default is as long.
const ALPHA_SLICE: Duration = Duration::from_secs(60);

/// Reads `budgetingMethod`.
pub(super) fn read_method(reader: &mut Reader<'_>, node: &Node) -> Option<Method> {
    reader.choice(node, "budgetingMethod", &slices::METHODS)
}

/// Reads an objective of v1. What the SLO says of all objectives is `None` if it could not be read.
pub(super) fn read(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    window: Option<&TimeWindow>,
    method: Option<Method>,
) -> Option<Objective> {
    let target = read_target(reader, fields);
    let budgeting = method.and_then(|method| read_budgeting(reader, fields, method));
    Some(Objective { target: target?, windows: vec![window?.clone()], budgeting: budgeting? })
}

/// Reads an objective of v1alpha.
pub(super) fn read_alpha(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    window: Option<&TimeWindow>,
    method: Method,
) -> Option<Objective> {
    let node = reader.required(fields, "target");
    // Sloth takes 1, too.
    let target = node.and_then(|node| match reader.text(node)?.parse() {
        Ok(1.0) => Target::new(1.0).ok(),
        _ => read_ratio_target(reader, node),
    });
    let budgeting = match method {
        Method::Occurrences => Some(Budgeting::Occurrences),
        Method::RatioTimeslices => Some(Budgeting::RatioTimeslices { slice: ALPHA_SLICE }),
        Method::Timeslices => read_slice_target(reader, fields)
            .map(|target| Budgeting::Timeslices { slice: ALPHA_SLICE, target }),
    };
    Some(Objective { target: target?, windows: vec![window?.clone()], budgeting: budgeting? })
}

/// Reads `op` and `value`: the condition that a good value meets.
pub(super) fn read_condition(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Threshold> {
    let op = reader.required(fields, "op").and_then(|node| reader.choice(node, "op", &OPS));
    let bound = reader.required(fields, "value").and_then(|node| reader.number(node, "value"));
    Some(Threshold { op: op?, bound: bound? })
}

// === targets ===

fn read_target(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Target> {
    match (fields.get("target"), fields.get("targetPercent")) {
        (Some(node), None) => read_ratio_target(reader, node),
        (None, Some(node)) => read_percent_target(reader, node),
        (None, None) => {
            reader.error(fields.at, "missing field `target`, or `targetPercent`");
            None
        }
        (Some(_), Some(percent)) => {
            reader.error(percent.at, "target and targetPercent are both given; drop one of them");
            None
        }
    }
}

fn read_ratio_target(reader: &mut Reader<'_>, node: &Node) -> Option<Target> {
    let ratio = reader.number(node, "target")?;
    let target = Target::new(ratio).ok().filter(|target| !target.is_all());
    if target.is_none() {
        let message = match ratio {
            1.0 => "target 1 leaves no error budget; it must be below 1".to_owned(),
            _ if ratio > 1.0 && ratio < 100.0 => {
                format!("target {ratio} is above 1; did you mean targetPercent: {ratio}?")
            }
            _ => format!("target {ratio} must lie between 0 and 1, both excluded"),
        };
        reader.error(node.at, message);
    }
    target
}

fn read_percent_target(reader: &mut Reader<'_>, node: &Node) -> Option<Target> {
    let percent = reader.number(node, "targetPercent")?;
    // The decimal point is moved in the text: a division would be off in the last digit.
    let ratio = format!("{percent}e-2").parse().unwrap_or(f64::NAN);
    let target = Target::new(ratio).ok().filter(|target| !target.is_all());
    match target {
        None => {
            let message = format!("targetPercent {percent} must lie between 0 and 100, both excluded");
            reader.error(node.at, message);
        }
        Some(_) if percent < 1.0 => {
            let message = format!("targetPercent {percent} is below 1%; did you mean target: {percent}?");
            reader.warn(node.at, message);
        }
        Some(_) => (),
    }
    target
}

// === slices ===

fn read_budgeting(reader: &mut Reader<'_>, fields: &Fields<'_>, method: Method) -> Option<Budgeting> {
    let ignored: &[&str] = match method {
        Method::Occurrences => &["timeSliceTarget", "timeSliceWindow"],
        Method::Timeslices => &[],
        Method::RatioTimeslices => &["timeSliceTarget"],
    };
    for node in ignored.iter().filter_map(|name| fields.get(name)) {
        reader.warn(node.at, "this field of slices means nothing to the SLO's budgetingMethod");
    }
    match method {
        Method::Occurrences => Some(Budgeting::Occurrences),
        Method::Timeslices => {
            let slice = read_slice(reader, fields);
            let target = read_slice_target(reader, fields);
            Some(Budgeting::Timeslices { slice: slice?, target: target? })
        }
        Method::RatioTimeslices => Some(Budgeting::RatioTimeslices { slice: read_slice(reader, fields)? }),
    }
}

fn read_slice(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Duration> {
    const NAME: &str = "timeSliceWindow";
    let node = reader.required(fields, NAME)?;
    let slice = window::read_duration(reader, node, NAME)?;
    slices::check_slice(reader, node.at, slice, NAME)
}

fn read_slice_target(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<f64> {
    let node = reader.required(fields, "timeSliceTarget")?;
    let target = reader.number(node, "timeSliceTarget")?;
    if !(target > 0.0 && target <= 1.0) {
        reader.error(node.at, format!("timeSliceTarget {target} must be a ratio above 0 and at most 1"));
        return None;
    }
    Some(target)
}
