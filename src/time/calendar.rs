//! Calendar-aligned time: the day, week, month, quarter or year of a time zone that a moment lies in.

use std::{fmt, time::Duration};

use jiff::{
    ToSpan, Zoned,
    civil::{Date, Weekday},
    tz::{self, TimeZone},
};

use super::Timestamp;

/// Periods of a calendar, one after the other, in one time zone.
///
/// A period runs from its first midnight to the next one's, excluding the first moment and including the
/// last, as event times do: what a counter shows at midnight happened before. Days have 23 or 25 hours
/// where the zone's clocks are changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Calendar {
    unit: CalendarUnit,
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

/// Not a name of the IANA time zone database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown time zone {0:?}; write a name of the IANA database, such as Europe/Berlin or UTC")]
pub struct UnknownTimeZone(pub String);

/// The IANA names of all time zones.
pub fn time_zone_names() -> impl Iterator<Item = String> {
    tz::db().available().map(|name| name.as_str().to_owned())
}

// === impl Calendar ===

impl Calendar {
    /// Periods of this length in the time zone of this IANA name.
    ///
    /// # Errors
    /// When there is no such zone.
    pub fn new(unit: CalendarUnit, zone: &str) -> Result<Self, UnknownTimeZone> {
        let found = TimeZone::get(zone).ok().filter(|zone| !zone.is_unknown());
        let zone = found.ok_or_else(|| UnknownTimeZone(zone.to_owned()))?;
        Ok(Self { unit, zone })
    }

    /// The length of its periods.
    pub fn unit(&self) -> CalendarUnit {
        self.unit
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
        // The last moment of a period is the first of the next one on the clock.
        let inside = jiff::Timestamp::from_millisecond(at.0.saturating_sub(1)).unwrap_or_default();
        let day = Zoned::new(inside, self.zone.clone()).date();
        let first = self.unit.first_day(day);
        let next = self.unit.next(first);
        let (start, end) = (self.midnight(first), self.midnight(next));
        // Clocks that go back over midnight show a date again whose end they have passed.
        if at > end { (end, self.midnight(self.unit.next(next))) } else { (start, end) }
    }

    /// The first moment of a day. Where clocks skip midnight, the day begins later.
    fn midnight(&self, day: Date) -> Timestamp {
        let start = day.to_zoned(self.zone.clone()).map(|midnight| midnight.timestamp().as_millisecond());
        // Only a date at the end of all time has no place on the time line.
        Timestamp(start.unwrap_or(i64::MAX))
    }
}

impl fmt::Display for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.unit.name(), self.zone())
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

    fn first_day(self, day: Date) -> Date {
        let first_of_month = day.first_of_month();
        let months_into_quarter = (day.month() - 1) % 3;
        match self {
            Self::Day => day,
            Self::Week => day.saturating_sub(i64::from(day.weekday().since(Weekday::Monday)).days()),
            Self::Month => first_of_month,
            Self::Quarter => first_of_month.saturating_sub(i64::from(months_into_quarter).months()),
            Self::Year => day.first_of_year(),
        }
    }

    fn next(self, first: Date) -> Date {
        let one = match self {
            Self::Day => 1.day(),
            Self::Week => 1.week(),
            Self::Month => 1.month(),
            Self::Quarter => 3.months(),
            Self::Year => 1.year(),
        };
        first.saturating_add(one)
    }
}

#[cfg(test)]
mod tests;
