//! Periods around the moments at which calendars are odd.

use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn at(text: &str) -> Timestamp {
    Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
}

fn calendar(unit: CalendarUnit, zone: &str) -> Calendar {
    Calendar::new(unit, zone).unwrap()
}

/// The period of a moment, in UTC.
#[track_caller]
fn check(unit: CalendarUnit, zone: &str, moment: &str, (start, end): (&str, &str)) {
    assert_eq!(calendar(unit, zone).period(at(moment)), (at(start), at(end)), "{unit:?} {zone} {moment}");
}

#[track_caller]
fn check_utc(unit: CalendarUnit, moment: &str, (start, end): (&str, &str)) {
    let midnight = |day| format!("{day}T00:00:00Z");
    check(unit, "UTC", moment, (&midnight(start), &midnight(end)));
}

#[test]
fn every_unit() {
    use CalendarUnit::{Day, Month, Quarter, Week, Year};
    let moment = "2025-05-15T12:00:00Z"; // a Thursday
    check_utc(Day, moment, ("2025-05-15", "2025-05-16"));
    check_utc(Week, moment, ("2025-05-12", "2025-05-19"));
    check_utc(Month, moment, ("2025-05-01", "2025-06-01"));
    check_utc(Quarter, moment, ("2025-04-01", "2025-07-01"));
    check_utc(Year, moment, ("2025-01-01", "2026-01-01"));
}

#[test]
fn a_week_goes_from_monday_to_sunday_across_the_year() {
    check_utc(CalendarUnit::Week, "2024-12-30T00:00:00.001Z", ("2024-12-30", "2025-01-06"));
    check_utc(CalendarUnit::Week, "2025-01-05T23:59:59Z", ("2024-12-30", "2025-01-06"));
}

#[test]
fn quarters_and_years_end_together() {
    check_utc(CalendarUnit::Quarter, "2024-12-31T23:59:59.999Z", ("2024-10-01", "2025-01-01"));
    check_utc(CalendarUnit::Year, "2024-12-31T23:59:59.999Z", ("2024-01-01", "2025-01-01"));
    check_utc(CalendarUnit::Month, "2024-12-15T00:00:00Z", ("2024-12-01", "2025-01-01"));
}

#[test]
fn february_of_leap_years_and_others() {
    check_utc(CalendarUnit::Month, "2024-02-29T12:00:00Z", ("2024-02-01", "2024-03-01"));
    check_utc(CalendarUnit::Month, "2023-02-28T12:00:00Z", ("2023-02-01", "2023-03-01"));
    let days_of_february = |year| {
        let (start, end) =
            calendar(CalendarUnit::Month, "UTC").period(at(&format!("{year}-02-02T00:00:00Z")));
        (end.0 - start.0) / DAY_MS
    };
    assert_eq!([2023, 2024, 2100, 2000].map(days_of_february), [28, 29, 28, 29]);
}

#[test]
fn a_boundary_belongs_to_the_period_that_ends_there() {
    for (unit, start) in [
        (CalendarUnit::Day, "2025-06-30"),
        (CalendarUnit::Month, "2025-06-01"),
        (CalendarUnit::Quarter, "2025-04-01"),
    ] {
        check_utc(unit, "2025-07-01T00:00:00Z", (start, "2025-07-01"));
    }
    check_utc(CalendarUnit::Day, "2025-07-01T00:00:00.001Z", ("2025-07-01", "2025-07-02"));
}

#[test]
fn days_on_which_clocks_are_changed() {
    let day = CalendarUnit::Day;
    check(
        day,
        "Europe/Berlin",
        "2024-03-31T12:00:00Z",
        ("2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"), // 23 hours
    );
    check(
        day,
        "Europe/Berlin",
        "2024-10-27T12:00:00Z",
        ("2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"), // 25 hours
    );
    check(
        day,
        "America/New_York",
        "2024-03-10T12:00:00Z",
        ("2024-03-10T05:00:00Z", "2024-03-11T04:00:00Z"), // 23 hours
    );
    check(
        day,
        "America/New_York",
        "2024-11-03T12:00:00Z",
        ("2024-11-03T04:00:00Z", "2024-11-04T05:00:00Z"), // 25 hours
    );
    check(
        CalendarUnit::Month,
        "Europe/Berlin",
        "2024-10-15T00:00:00Z",
        ("2024-09-30T22:00:00Z", "2024-10-31T23:00:00Z"),
    );
}

#[test]
fn a_day_without_midnight_begins_later() {
    // Clocks went from 24:00 to 01:00.
    check(
        CalendarUnit::Day,
        "America/Sao_Paulo",
        "2018-11-04T12:00:00Z",
        ("2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z"),
    );
    check(
        CalendarUnit::Day,
        "Africa/Cairo",
        "2024-04-26T12:00:00Z",
        ("2024-04-25T22:00:00Z", "2024-04-26T21:00:00Z"),
    );
}

#[test]
fn a_day_that_never_was_is_no_period() {
    // Samoa went over the date line from the 29th to the 31st.
    check(
        CalendarUnit::Day,
        "Pacific/Apia",
        "2011-12-30T09:59:59Z",
        ("2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z"),
    );
    check(
        CalendarUnit::Day,
        "Pacific/Apia",
        "2011-12-30T10:00:01Z",
        ("2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z"),
    );
}

#[test]
fn clocks_that_go_back_over_midnight_do_not_bring_back_a_day() {
    // At 00:01 it was 23:01 again.
    let new_day = ("2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z");
    for moment in ["2010-11-07T02:30:01Z", "2010-11-07T02:31:01Z", "2010-11-07T03:30:01Z"] {
        check(CalendarUnit::Day, "America/St_Johns", moment, new_day);
    }
}

#[test]
fn zones_off_the_hour() {
    check(
        CalendarUnit::Month,
        "Asia/Kolkata",
        "2025-05-15T12:00:00Z",
        ("2025-04-30T18:30:00Z", "2025-05-31T18:30:00Z"),
    );
    check(
        CalendarUnit::Day,
        "Asia/Kathmandu",
        "2025-05-15T12:00:00Z",
        ("2025-05-14T18:15:00Z", "2025-05-15T18:15:00Z"),
    );
}

#[test]
fn zones_have_names() {
    let zone = |name| Calendar::new(CalendarUnit::Day, name).map(|calendar| calendar.zone().to_owned());
    assert_eq!(zone("Europe/Berlin").as_deref(), Ok("Europe/Berlin"));
    assert_eq!(zone("UTC").as_deref(), Ok("UTC"));
    assert_eq!(calendar(CalendarUnit::Month, "Asia/Tokyo").to_string(), "month (Asia/Tokyo)");
    for unknown in ["Europe/Berln", "", "Etc/Unknown", "+02:00", "../../etc/passwd"] {
        assert_eq!(zone(unknown), Err(UnknownTimeZone(unknown.to_owned())));
    }
}

#[test]
fn the_ends_of_time_do_no_harm() {
    for ms in [i64::MIN, -377_705_023_201_000, 0, 253_402_207_200_000, i64::MAX] {
        for unit in CalendarUnit::ALL {
            let (start, end) = calendar(unit, "Pacific/Apia").period(Timestamp(ms));
            assert!(start <= end, "{unit:?} of {ms}");
        }
    }
}

// --- periods that begin elsewhere ---

fn starting(unit: CalendarUnit, zone: &str, start: &str, count: u16) -> Calendar {
    calendar(unit, zone).starting(start, count).unwrap()
}

/// The period of a moment of a calendar whose periods begin elsewhere.
#[track_caller]
fn check_starting(calendar: &Calendar, moment: &str, (start, end): (&str, &str)) {
    assert_eq!(calendar.period(at(moment)), (at(start), at(end)), "{calendar:?} {moment}");
}

#[test]
fn weeks_of_a_saturday_noon() {
    let weeks = starting(CalendarUnit::Week, "America/New_York", "2022-01-01 12:00:00", 1);
    let first = ("2022-01-01T17:00:00Z", "2022-01-08T17:00:00Z");
    check_starting(&weeks, "2022-01-05T00:00:00Z", first);
    check_starting(&weeks, "2022-01-01T17:00:00.001Z", first);
    check_starting(&weeks, "2022-01-08T17:00:00Z", first);
    // Before the first, and across a change of clocks.
    check_starting(&weeks, "2022-01-01T17:00:00Z", ("2021-12-25T17:00:00Z", "2022-01-01T17:00:00Z"));
    check_starting(&weeks, "2024-03-10T12:00:00Z", ("2024-03-09T17:00:00Z", "2024-03-16T16:00:00Z"));
}

#[test]
fn months_of_the_31st_begin_on_their_last_day_if_need_be() {
    let months = starting(CalendarUnit::Month, "UTC", "2024-01-31 06:30:15", 1);
    check_starting(&months, "2024-02-10T00:00:00Z", ("2024-01-31T06:30:15Z", "2024-02-29T06:30:15Z"));
    // From the anchor, not from the month before: March has its 31st again.
    check_starting(&months, "2024-03-10T00:00:00Z", ("2024-02-29T06:30:15Z", "2024-03-31T06:30:15Z"));
    check_starting(&months, "2023-12-31T06:30:15Z", ("2023-11-30T06:30:15Z", "2023-12-31T06:30:15Z"));
}

#[test]
fn several_units_at_a_time() {
    let quarters = starting(CalendarUnit::Quarter, "Europe/Berlin", "2024-02-01 00:00:00", 2);
    check_starting(&quarters, "2024-12-24T00:00:00Z", ("2024-07-31T22:00:00Z", "2025-01-31T23:00:00Z"));
    let years = starting(CalendarUnit::Year, "UTC", "2024-02-29 00:00:00", 3);
    check_starting(&years, "2029-06-01T00:00:00Z", ("2027-02-28T00:00:00Z", "2030-02-28T00:00:00Z"));
    let days = starting(CalendarUnit::Day, "UTC", "2024-01-01 18:00:00", 10);
    check_starting(&days, "2023-12-31T00:00:00Z", ("2023-12-22T18:00:00Z", "2024-01-01T18:00:00Z"));
}

#[test]
fn a_start_at_which_the_clock_skips_or_repeats_an_hour() {
    // At 02:00 it was 03:00; on other days 02:30 is in its place.
    let days = starting(CalendarUnit::Day, "Europe/Berlin", "2024-03-30 02:30:00", 1);
    check_starting(&days, "2024-03-30T12:00:00Z", ("2024-03-30T01:30:00Z", "2024-03-31T01:30:00Z"));
    check_starting(&days, "2024-03-31T12:00:00Z", ("2024-03-31T01:30:00Z", "2024-04-01T00:30:00Z"));
    // At 03:00 it was 02:00: the first 02:30 counts.
    check_starting(&days, "2024-10-27T01:00:00Z", ("2024-10-27T00:30:00Z", "2024-10-28T01:30:00Z"));
}

#[test]
fn names_and_lengths_of_several_units() {
    let fortnight = starting(CalendarUnit::Week, "Asia/Tokyo", "2024-01-01T09:00:00", 2);
    assert_eq!(fortnight.to_string(), "2w (Asia/Tokyo)");
    assert_eq!(fortnight.nominal(), CalendarUnit::Week.nominal() * 2);
    assert_eq!(starting(CalendarUnit::Month, "UTC", "2024-01-15 00:00:00", 1).name(), "month");
}

#[test]
fn a_start_has_a_date_and_a_time_and_no_zone() {
    for text in [
        "",
        "2024-01-01",
        "12:00:00",
        "2024-02-30 00:00:00",
        "2024-01-01 25:00:00",
        "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00-05:00",
        "9999-01-01 00:00:00",
        "0000-01-01 00:00:00",
    ] {
        let refused = calendar(CalendarUnit::Day, "UTC").starting(text, 1);
        assert_eq!(refused, Err(CivilTimeError(text.to_owned())));
    }
}

#[test]
fn the_ends_of_time_do_no_harm_to_other_starts() {
    for ms in [i64::MIN, -377_705_023_201_000, 0, 253_402_207_200_000, i64::MAX] {
        for start in ["0001-01-01 00:00:00", "2024-01-31 12:00:00", "9998-12-31 23:59:59"] {
            for unit in CalendarUnit::ALL {
                let (start, end) = starting(unit, "Pacific/Apia", start, u16::MAX).period(Timestamp(ms));
                assert!(start < end, "{unit:?} of {ms}");
            }
        }
    }
}

#[track_caller]
fn check_tiles(calendar: &Calendar, moment: Timestamp) {
    let (start, end) = calendar.period(moment);
    assert!(start < moment && moment <= end, "{calendar} at {moment}: {start} to {end}");
    assert_eq!(calendar.period(end), (start, end), "{calendar} at {moment}");
    assert_eq!(calendar.period(start).1, start, "{calendar} at {moment}");
    assert_eq!(calendar.period(Timestamp(end.0 + 1)).0, end, "{calendar} at {moment}");
}

#[test]
fn days_tile_time_around_every_change_of_clocks_since_1970() {
    for name in time_zone_names().filter(|name| name != "Etc/Unknown") {
        let days = calendar(CalendarUnit::Day, &name);
        let changes = days.zone.following(jiff::Timestamp::UNIX_EPOCH);
        let changes = changes.map(|change| change.timestamp().as_millisecond());
        for change in changes.take_while(|change| *change < at("2040-01-01T00:00:00Z").0) {
            for half_hours in -3..=3 {
                check_tiles(&days, Timestamp(change + half_hours * HOUR_MS / 2));
                check_tiles(&days, Timestamp(change + half_hours * HOUR_MS / 2 + 1));
            }
        }
    }
}

proptest! {
    /// In every zone, from 1970 to 2200.
    #[test]
    fn periods_tile_time(
        ms in 1_i64..7_258_118_400_000,
        unit in proptest::sample::select(CalendarUnit::ALL.to_vec()),
        zone in proptest::sample::select(time_zone_names().collect::<Vec<_>>()),
    ) {
        prop_assume!(zone != "Etc/Unknown");
        check_tiles(&calendar(unit, &zone), Timestamp(ms));
    }

    /// Wherever they begin, and however many units they have.
    #[test]
    fn periods_that_begin_elsewhere_tile_time(
        ms in 1_i64..7_258_118_400_000,
        unit in proptest::sample::select(CalendarUnit::ALL.to_vec()),
        zone in proptest::sample::select(time_zone_names().collect::<Vec<_>>()),
        count in 1_u16..30,
        (year, month, day) in (1_990_i16..2_040, 1_i8..=12, 1_i8..=28),
        (hour, minute, second) in (0_i8..24, 0_i8..60, 0_i8..60),
        last_day in any::<bool>(),
    ) {
        prop_assume!(zone != "Etc/Unknown");
        let first = date(year, month, day);
        let day = if last_day { first.last_of_month() } else { first };
        let start = day.at(hour, minute, second, 0).to_string();
        check_tiles(&starting(unit, &zone, &start, count), Timestamp(ms));
    }
}
