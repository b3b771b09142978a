//! What every format reads and checks of objectives' windows.

use super::{
    reader::{Place, Reader, nearest},
    yaml::Node,
};
use crate::{
    slo::TimeWindow,
    time::{Calendar, CalendarUnit, UnknownTimeZone, time_zone_names},
};

const DEFAULT_ZONE: &str = "UTC";

/// A calendar in a time zone, or in UTC.
pub(super) fn read_calendar(
    reader: &mut Reader<'_>,
    unit: CalendarUnit,
    zone: Option<&Node>,
) -> Option<Calendar> {
    let Some(node) = zone else { return Calendar::new(unit, DEFAULT_ZONE).ok() };
    match Calendar::new(unit, reader.text(node)?) {
        Ok(calendar) => Some(calendar),
        Err(error) => {
            reader.error(node.at, with_nearest_zone(&error));
            None
        }
    }
}

fn with_nearest_zone(error: &UnknownTimeZone) -> String {
    let names: Vec<String> = time_zone_names().collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    match nearest(&error.0, &names) {
        Some(near) => format!("unknown time zone {:?}, did you mean {near}?", error.0),
        None => error.to_string(),
    }
}

/// Reports windows whose series would be the same.
pub(super) fn check_distinct(reader: &mut Reader<'_>, windows: &[(Place, TimeWindow)]) {
    for (index, (at, window)) in windows.iter().enumerate() {
        let label = window.to_string();
        if windows[..index].iter().any(|(_, other)| other.to_string() == label) {
            let message = format!("another window has the label window=\"{label}\", too; drop one of them");
            reader.error(*at, message);
        }
    }
}

/// A window in the words of a message.
pub(super) fn describe(window: &TimeWindow) -> String {
    match window {
        TimeWindow::Rolling(_) => window.to_string(),
        TimeWindow::Calendar(calendar) => format!("calendar {}", calendar.name()),
    }
}
