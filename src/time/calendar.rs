//! Calendar-aligned time: the day, week, month, quarter or year of a time zone that a moment lies in.

use std::{fmt, time::Duration};

use jiff::{
    Span, Zoned,
    civil::{DateTime, date},
    tz::{self, TimeZone},
};

use super::Timestamp;

/// Periods of a calendar, one after the other, in one time zone.
///
/// Each is `count` units long. One begins at `start`, and the others as many units before or after it: the
/// clock shows the same time at the start of each. A period excludes its first moment and includes its last,
/// as event times do: what a counter shows at midnight happened before. Days have 23 or 25 hours where the
/// zone's clocks are changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    unit: CalendarUnit,
    count: u16,
    start: DateTime,
    zone: TimeZone,
}

/// The length of a calendar's periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CalendarUnit {
    /// From midnight to midnight.
    Day,
    /// From Monday (ISO 8601).
    Week,
    /// From the first of the month.
    Month,
    /// From the first of January, April, July and October.
    Quarter,
    /// From the first of January.
    Year,
}

/// The length of a unit: in each, a day has its hours and a month its days.
#[derive(Clone, Copy)]
enum Length {
    Days(i64),
    Months(i64),
}

// One year within what a clock can show, whatever its zone.
const YEARS: std::ops::RangeInclusive<i16> = 1..=9_998;
const EARLIEST: Timestamp = Timestamp(-62_135_596_800_000); // 0001-01-01
const LATEST: Timestamp = Timestamp(253_370_764_800_000); // 9999-01-01

/// Not a name of the IANA time zone database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0:?}; write a name of the IANA database, such as Europe/Berlin or UTC")]
pub struct UnknownTimeZone(pub String);

/// Not a date and a time of day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no date and time; write one like 2024-01-01 00:00:00")]
pub struct CivilTimeError(pub String);

/// The IANA names of all time zones.
pub fn time_zone_names() -> impl Iterator<Item = String> {
    tz::db().available().map(|name| name.as_str().to_owned())
}

// === impl Calendar ===

impl Calendar {
    /// Periods of one unit, from midnight, in the time zone of this IANA name.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn new(unit: CalendarUnit, zone: &str) -> Result<Self, UnknownTimeZone> {
        let found = TimeZone::get(zone).ok().filter(|zone| !zone.is_unknown());
        let zone = found.ok_or_else(|| UnknownTimeZone(zone.to_owned()))?;
        Ok(Self { unit, count: 1, start: unit.natural_start(), zone })
    }

    /// The same units of the same zone, `count` at a time, of which one period begins at `start`, a date and
    /// time of day without a zone. Where months are too short for its day, a period begins on their last.
    ///
    /// ```
    /// # use slod::time::{Calendar, CalendarUnit, Timestamp};
    /// let fortnights = Calendar::new(CalendarUnit::Week, "UTC").unwrap();
    /// let fortnights = fortnights.starting("2024-01-01 12:00:00", 2).unwrap();
    /// let (start, end) = fortnights.period(Timestamp(1_706_000_000_000)); // 2024-01-23
    /// assert_eq!(start, Timestamp(1_705_320_000_000)); // 2024-01-15 12:00:00
    /// assert_eq!(end.since(start).as_secs(), 14 * 86_400);
    /// ```
    ///
    /// # Errors
    /// When `start` is no date and time.
    pub fn starting(self, start: &str, count: u16) -> Result<Self, CivilTimeError> {
        let is_whole = |time: &str| time.chars().all(|c| c.is_ascii_digit() || c == ':');
        // A date alone, or a zone that would be ignored, was not meant so.
        let has_time = start.split_once([' ', 'T']).is_some_and(|(_, time)| is_whole(time));
        let parsed = start.parse().ok().filter(|start: &DateTime| has_time && YEARS.contains(&start.year()));
        let start = parsed.ok_or_else(|| CivilTimeError(start.to_owned()))?;
        Ok(Self { start, count: count.max(1), ..self })
    }

    /// The unit of its periods' length.
    pub fn unit(&self) -> CalendarUnit {
        self.unit
    }

    /// How many units long its periods are.
    pub fn count(&self) -> u16 {
        self.count
    }

    /// The beginning of one of its periods, where another one than usual, as [`Self::starting`] takes it.
    pub fn unusual_start(&self) -> Option<String> {
        let is_usual = self.count == 1 && self.start == self.unit.natural_start();
        (!is_usual).then(|| self.start.strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    /// The usual length of its periods.
    pub fn nominal(&self) -> Duration {
        self.unit.nominal() * u32::from(self.count)
    }

    /// The length of its periods in short: `month`, or `2M` as OpenSLO writes several.
    pub fn name(&self) -> String {
        match self.count {
            1 => self.unit.name().to_owned(),
            count => format!("{count}{}", self.unit.letter()),
        }
    }

    /// The IANA name of its time zone.
    pub fn zone(&self) -> &str {
        self.zone.iana_name().unwrap_or("UTC")
    }

    /// The period `(start, end]` that a moment lies in.
    ///
    /// ```
    /// # use slod::time::{Calendar, CalendarUnit, Timestamp};
    /// let months = Calendar::new(CalendarUnit::Month, "Europe/Berlin")?;
    /// let (start, end) = months.period(Timestamp(1_711_900_000_000)); // 2024-03-31
    /// assert_eq!(end.since(start).as_secs(), 31 * 86_400 - 3_600, "clocks went forward that day");
    /// # Ok::<(), slod::time::UnknownTimeZone>(())
    /// ```
    pub fn period(&self, at: Timestamp) -> (Timestamp, Timestamp) {
        let at = at.clamp(EARLIEST, LATEST);
        // A first guess by the clock; where clocks are changed, or months are short, it is off by a few.
        let mut number = self.number_of(at);
        while self.begins(number) >= at {
            number -= 1;
        }
        while self.begins(number + 1) < at {
            number += 1;
        }
        (self.begins(number), self.begins(number + 1))
    }

    /// About which period a moment lies in; the one that begins at `start` is 0.
    fn number_of(&self, at: Timestamp) -> i64 {
        let moment = jiff::Timestamp::from_millisecond(at.0).unwrap_or_default();
        let clock = Zoned::new(moment, self.zone.clone()).datetime();
        let months = |time: DateTime| i64::from(time.year()) * 12 + i64::from(time.month());
        let (units, length) = match self.unit.length() {
            Length::Days(days) => (clock.duration_since(self.start).as_hours() / 24, days),
            Length::Months(length) => (months(clock) - months(self.start), length),
        };
        units.div_euclid(length * i64::from(self.count))
    }

    /// When a period begins. Where clocks skip its time of day, it begins later, where they show it twice, at
    /// the first.
    fn begins(&self, number: i64) -> Timestamp {
        let units = number * i64::from(self.count);
        let offset = match self.unit.length() {
            Length::Days(days) => Span::new().try_days(units * days),
            Length::Months(months) => Span::new().try_months(units * months),
        };
        let start = offset.and_then(|offset| self.start.checked_add(offset));
        match start.and_then(|start| start.to_zoned(self.zone.clone())) {
            Ok(start) => Timestamp(start.timestamp().as_millisecond()),
            // Before and after the years that have a number.
            Err(_) => Timestamp(if number < 0 { i64::MIN } else { i64::MAX }),
        }
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), self.zone())
    }
}

// === impl CalendarUnit ===

impl CalendarUnit {
    /// Shortest first.
    pub const ALL: [Self; 5] = [Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// Its name in specs and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }

    /// Its usual length, as OpenSLO takes it: months of 30 days, quarters of 90, years of 365.
    pub fn nominal(self) -> Duration {
        let days = match self {
            Self::Day => 1,
            Self::Week => 7,
            Self::Month => 30,
            Self::Quarter => 90,
            Self::Year => 365,
        };
        Duration::from_secs(days * 86_400)
    }

    /// How OpenSLO abbreviates it.
    fn letter(self) -> char {
        match self {
            Self::Day => 'd',
            Self::Week => 'w',
            Self::Month => 'M',
            Self::Quarter => 'Q',
            Self::Year => 'Y',
        }
    }

    fn length(self) -> Length {
        match self {
            Self::Day => Length::Days(1),
            Self::Week => Length::Days(7),
            Self::Month => Length::Months(1),
            Self::Quarter => Length::Months(3),
            Self::Year => Length::Months(12),
        }
    }

    /// A midnight at which a unit begins, and with it all others: January 1, of weeks a Monday.
    fn natural_start(self) -> DateTime {
        let day = if self == Self::Week { 5 } else { 1 };
        date(1970, 1, day).at(0, 0, 0, 0)
    }
}

#[cfg(test)]
mod tests;
