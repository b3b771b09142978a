//! The time over which an OpenSLO objective holds, and OpenSLO's durations.

use std::time::Duration;

use super::alpha::SLOTH;
use crate::{
    slo::TimeWindow,
    spec::{
        reader::{Fields, Place, Reader, WINDOW_MAX, unknown},
        windows,
        yaml::Node,
    },
    time::{CalendarUnit, format_duration, parse_duration},
};

// Neither version of the format insists on a window. It is Sloth's default, and the workbook's.
const DEFAULT_DAYS: u32 = 30;
const DAY: Duration = Duration::from_secs(86_400);

/// A number of units: what a calendar counts, or a length.
#[derive(Clone, Copy)]
struct Amount {
    count: u16,
    unit: Unit,
}

#[derive(Clone, Copy)]
enum Unit {
    Calendar(CalendarUnit),
    Length(Duration),
}

// OpenSLO's duration-shorthand: m is a minute, M a month.
const UNITS: [(char, Unit); 7] = [
    ('m', Unit::Length(Duration::from_secs(60))),
    ('h', Unit::Length(Duration::from_secs(3_600))),
    ('d', Unit::Calendar(CalendarUnit::Day)),
    ('w', Unit::Calendar(CalendarUnit::Week)),
    ('M', Unit::Calendar(CalendarUnit::Month)),
    ('Q', Unit::Calendar(CalendarUnit::Quarter)),
    ('Y', Unit::Calendar(CalendarUnit::Year)),
];

// The words of v1alpha, in lower case: Sloth does not mind.
const ALPHA_UNITS: [(&str, Unit); 6] = [
    ("second", Unit::Length(Duration::from_secs(1))),
    ("day", Unit::Calendar(CalendarUnit::Day)),
    ("week", Unit::Calendar(CalendarUnit::Week)),
    ("month", Unit::Calendar(CalendarUnit::Month)),
    ("quarter", Unit::Calendar(CalendarUnit::Quarter)),
    ("year", Unit::Calendar(CalendarUnit::Year)),
];

/// Reads v1's `timeWindow`: a list of exactly one.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<TimeWindow> {
    let Some(list) = spec.get("timeWindow") else {
        reader.warn(
            spec.at,
            format!("missing field `timeWindow`; a rolling window of {DEFAULT_DAYS}d is taken"),
        );
        return Some(default());
    };
    let item = only(reader, list, "timeWindow")?;
    let fields = reader.fields(item, &["duration", "isRolling", "calendar"])?;
    let duration = reader.required(&fields, "duration");
    let amount = duration.and_then(|node| read_amount(reader, node, "duration"));
    let calendar = read_kind(reader, &fields);
    read_window(reader, duration?.at, amount?, calendar?)
}

/// Reads v1alpha's `timeWindows`.
pub(super) fn read_alpha(reader: &mut Reader<'_>, spec: &Fields<'_>) -> Option<TimeWindow> {
    let Some(list) = spec.get("timeWindows") else { return Some(default()) };
    let item = only(reader, list, "timeWindows")?;
    let fields = reader.fields_or_ignored(item, &["unit", "count", "isRolling", "calendar"], SLOTH)?;
    let unit = reader.required(&fields, "unit");
    let unit = unit.and_then(|node| read_alpha_unit(reader, node));
    let count = reader.required(&fields, "count");
    let count = count.and_then(|node| Some((node, read_count(reader, node)?)));
    let calendar = read_kind(reader, &fields);
    let (node, count) = count?;
    read_window(reader, node.at, Amount { count, unit: unit? }, calendar?)
}

fn default() -> TimeWindow {
    TimeWindow::Rolling(DAY * DEFAULT_DAYS)
}

/// The only item of a list.
fn only<'n>(reader: &mut Reader<'_>, list: &'n Node, name: &str) -> Option<&'n Node> {
    match reader.list(list)? {
        [item] => Some(item),
        items => {
            let count = items.len();
            reader.error(list.at, format!("{name} has {count} items; OpenSLO takes exactly one window"));
            None
        }
    }
}

/// The fields of the calendar, if it is one and not rolling.
fn read_kind<'n>(reader: &mut Reader<'_>, window: &Fields<'n>) -> Option<Option<Fields<'n>>> {
    let rolls = reader.optional_flag(window, "isRolling");
    let calendar = window.get("calendar");
    match (calendar, window.get("isRolling").is_some()) {
        (Some(node), _) if rolls => {
            reader.error(
                node.at,
                "a window that is rolling has no calendar; drop one of isRolling and calendar",
            );
            None
        }
        (Some(node), _) => reader.fields(node, &["startTime", "timeZone"]).map(Some),
        (None, true) if !rolls => {
            let message = "isRolling: false needs a calendar with startTime and timeZone";
            reader.error(window.place("isRolling"), message);
            None
        }
        (None, _) => Some(None),
    }
}

fn read_window(
    reader: &mut Reader<'_>,
    at: Place,
    amount: Amount,
    calendar: Option<Fields<'_>>,
) -> Option<TimeWindow> {
    let Some(fields) = calendar else { return read_rolling(reader, at, amount) };
    let zone = fields.get("timeZone");
    let start = reader.required(&fields, "startTime");
    let Unit::Calendar(unit) = amount.unit else {
        reader.error(at, "a calendar counts days, weeks, months, quarters or years; make the window rolling");
        return None;
    };
    let calendar = windows::read_calendar(reader, unit, zone)?;
    let start = start?;
    match calendar.starting(reader.text(start)?, amount.count) {
        Ok(calendar) => Some(TimeWindow::Calendar(calendar)),
        Err(error) => {
            reader.error(start.at, format!("startTime {error}"));
            None
        }
    }
}

fn read_rolling(reader: &mut Reader<'_>, at: Place, amount: Amount) -> Option<TimeWindow> {
    let length = amount.length();
    if length > WINDOW_MAX {
        let length = format_duration(length);
        reader.error(
            at,
            format!("a rolling window of {length} is too long; the longest retained window is 90d"),
        );
        return None;
    }
    Some(TimeWindow::Rolling(length))
}

// === durations ===

/// A duration over which events can be counted. A bare number is minutes, as the specification says of slices.
pub(super) fn read_duration(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<Duration> {
    let text = reader.text(node)?;
    if let Ok(minutes) = text.parse::<u16>() {
        return check_length(reader, node, name, Amount { count: minutes, unit: UNITS[0].1 }.length());
    }
    // Seconds, or several units, which are no shorthand but harmless.
    let length = match Amount::parse(text) {
        Some(amount) => Ok(amount.length()),
        None => parse_duration(text),
    };
    match length {
        Ok(length) => check_length(reader, node, name, length),
        Err(_) => refuse(reader, node, name, text),
    }
}

fn check_length(reader: &mut Reader<'_>, node: &Node, name: &str, length: Duration) -> Option<Duration> {
    if length.is_zero() || length > WINDOW_MAX {
        let length = format_duration(length);
        reader.error(node.at, format!("{name} {length} must be longer than 0m, and at most 90d"));
        return None;
    }
    Some(length)
}

fn refuse<T>(reader: &mut Reader<'_>, node: &Node, name: &str, text: &str) -> Option<T> {
    let message = format!(
        "{name} {text:?} is no duration; write a whole number with one of m h d w M Q Y, such as 30d (M is a month)"
    );
    reader.error(node.at, message);
    None
}

fn read_amount(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<Amount> {
    let text = reader.text(node)?;
    match Amount::parse(text).filter(|amount| amount.count > 0) {
        Some(amount) => Some(amount),
        None => refuse(reader, node, name, text),
    }
}

fn read_alpha_unit(reader: &mut Reader<'_>, node: &Node) -> Option<Unit> {
    let text = reader.text(node)?;
    let found = ALPHA_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    if found.is_none() {
        // As the format writes them.
        let known = ["Second", "Day", "Week", "Month", "Quarter"];
        reader.error(node.at, unknown("unit", text, &known));
    }
    found.map(|(_, unit)| *unit)
}

fn read_count(reader: &mut Reader<'_>, node: &Node) -> Option<u16> {
    let text = reader.text(node)?;
    let count = text.parse().ok().filter(|count| *count > 0);
    if count.is_none() {
        reader.error(node.at, format!("count must be a whole number from 1 to {}; got {text:?}", u16::MAX));
    }
    count
}

// === impl Amount ===

impl Amount {
    fn parse(text: &str) -> Option<Self> {
        let (letter, unit) = UNITS.iter().find(|(letter, _)| text.ends_with(*letter))?;
        let count = text.strip_suffix(*letter)?;
        let is_whole = count.bytes().all(|byte| byte.is_ascii_digit());
        Some(Self { count: count.parse().ok().filter(|_| is_whole)?, unit: *unit })
    }

    fn length(self) -> Duration {
        let unit = match self.unit {
            Unit::Calendar(unit) => unit.nominal(),
            Unit::Length(length) => length,
        };
        unit * u32::from(self.count)
    }
}
