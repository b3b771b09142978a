//! The native objective: a target, its windows, and what the budget is counted in.

use std::time::Duration;

use super::fields;
use crate::{
    slo::{Budgeting, Objective, TimeWindow},
    spec::{
        reader::{Fields, Reader},
        slices::{self, Method},
        windows,
        yaml::{Node, Value},
    },
    time::{Calendar, CalendarUnit},
};

// Ten years of months; anything longer was not meant.
const COUNT_MAX: f64 = 120.0;

/// Reads the field `objective`.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<Objective> {
    let fields = reader.required_fields(spec, "objective", &fields::OBJECTIVE)?;
    let target = reader.required(&fields, "target").and_then(|node| reader.target(node, "target"));
    let windows = read_windows(reader, &fields);
    let budgeting = read_budgeting(reader, &fields);
    Some(Objective { target: target?, windows: windows?, budgeting: budgeting? })
}

// === windows ===

fn read_windows(reader: &mut Reader<'_>, objective: &Fields<'_>) -> Option<Vec<TimeWindow>> {
    match (objective.get("window"), objective.get("windows")) {
        (Some(node), None) => read_window(reader, node).map(|window| vec![window]),
        (None, Some(node)) => read_list(reader, node),
        (None, None) => {
            reader.error(objective.at, "missing field `window`, or `windows` for several");
            None
        }
        (Some(_), Some(several)) => {
            reader.error(several.at, "window and windows are both given; put all of them into windows");
            None
        }
    }
}

/// The windows of a list, if all of them can be read.
fn read_list(reader: &mut Reader<'_>, node: &Node) -> Option<Vec<TimeWindow>> {
    let items = reader.list(node)?;
    if items.is_empty() {
        reader.error(node.at, "windows is empty; name at least one, such as 30d");
        return None;
    }
    let read: Vec<_> = items.iter().filter_map(|item| Some((item.at, read_window(reader, item)?))).collect();
    windows::check_distinct(reader, &read);
    (read.len() == items.len()).then(|| read.into_iter().map(|(_, window)| window).collect())
}

fn read_window(reader: &mut Reader<'_>, node: &Node) -> Option<TimeWindow> {
    match &node.value {
        Value::List(_) => {
            reader.error(node.at, "window is a list; write `windows` for several");
            None
        }
        Value::Map(_) => read_calendar(reader, node).map(TimeWindow::Calendar),
        Value::Scalar(unit) if CalendarUnit::ALL.iter().any(|known| known.name() == unit) => {
            reader.error(node.at, format!("window {unit} is no duration; write {{calendar: {unit}}}"));
            None
        }
        _ => reader.window(node, "window").map(TimeWindow::Rolling),
    }
}

fn read_calendar(reader: &mut Reader<'_>, node: &Node) -> Option<Calendar> {
    let fields = reader.fields(node, &fields::CALENDAR)?;
    let units = CalendarUnit::ALL.map(|unit| (unit.name(), unit));
    let unit = reader.required(&fields, "calendar");
    let unit = unit.and_then(|node| reader.choice(node, "calendar unit", &units));
    // The zone is read even if the unit is wrong, for its errors.
    let calendar = windows::read_calendar(reader, unit.unwrap_or(CalendarUnit::Day), fields.get("time_zone"));
    let calendar = read_start(reader, &fields, calendar?)?;
    unit.map(|_| calendar)
}

/// Where periods begin, if not where units do, and how many units long they are.
fn read_start(reader: &mut Reader<'_>, window: &Fields<'_>, calendar: Calendar) -> Option<Calendar> {
    let count = window.get("count").map_or(Some(1), |node| {
        let count = reader.number(node, "count")?;
        let whole = (1.0..=COUNT_MAX).contains(&count) && count.fract() == 0.0;
        if !whole {
            reader.error(node.at, format!("count {count} must be a whole number from 1 to {COUNT_MAX}"));
        }
        whole.then_some(count as u16)
    });
    let Some(node) = window.get("start") else {
        if count? != 1 {
            reader.error(window.place("count"), "periods of several units need a start; add one of them");
        }
        return Some(calendar);
    };
    match calendar.starting(reader.text(node)?, count?) {
        Ok(calendar) => Some(calendar),
        Err(error) => {
            reader.error(node.at, format!("start {error}"));
            None
        }
    }
}

// === budgeting ===

fn read_budgeting(reader: &mut Reader<'_>, objective: &Fields<'_>) -> Option<Budgeting> {
    let method = match objective.get("budgeting") {
        Some(node) => reader.choice(node, "budgeting", &slices::METHODS)?,
        None => Method::Occurrences,
    };
    match method {
        Method::Occurrences => {
            if let Some(slice) = objective.get("slice") {
                let message = "slice means nothing to budgeting Occurrences; choose another or drop slice";
                reader.error(slice.at, message);
            }
            Some(Budgeting::Occurrences)
        }
        Method::Timeslices => {
            let (fields, slice) = read_slice(reader, objective)?;
            let target = reader.required(&fields, "target");
            let target = target.and_then(|node| reader.ratio(node, "slice target"));
            Some(Budgeting::Timeslices { slice: slice?, target: target? })
        }
        Method::RatioTimeslices => {
            let (fields, slice) = read_slice(reader, objective)?;
            if let Some(target) = fields.get("target") {
                let message =
                    "slice target is for Timeslices: RatioTimeslices has no good and bad slices; drop it";
                reader.error(target.at, message);
            }
            Some(Budgeting::RatioTimeslices { slice: slice? })
        }
    }
}

/// The fields of `slice`, and its length.
fn read_slice<'n>(reader: &mut Reader<'_>, objective: &Fields<'n>) -> Option<(Fields<'n>, Option<Duration>)> {
    let fields = reader.required_fields(objective, "slice", &fields::SLICE)?;
    let slice = reader.required(&fields, "window");
    let slice = slice.and_then(|node| slices::read_slice(reader, node, "slice window"));
    Some((fields, slice))
}
