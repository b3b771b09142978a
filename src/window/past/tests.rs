//! Windows of the past, as a copy tells them, and as they were.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{
    time::{Calendar, CalendarUnit},
    window::{OpenSlots, SliId, Windows},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR_S: i64 = 3_600;
const SLI: SliId = SliId(0);

/// Windows of 5m, 1h, 6h and a budget of 30d, that count one good event a second, and one bad one a second in some
/// hours, for a number of hours.
fn counted(hours: i64, is_bad: impl Fn(i64) -> bool) -> (Windows, Timestamp) {
    let start = Timestamp(1_700_000_000_000).floor(SECOND * 86_400);
    let open = Arc::new(OpenSlots::new(SECOND));
    let mut windows = Windows::new(Arc::clone(&open), start);
    let lengths = [300, 3_600, 21_600].map(Duration::from_secs);
    windows.insert(SLI, &Arc::new(Layout::new(&lengths, &[SECOND * 30 * 86_400], SECOND)));
    open.batch().note_unseen(SLI, i64::MIN, start.0);
    let mut now = start;
    for step in 1..=hours * HOUR_S / 10 {
        now = now + SECOND * 10;
        let bad = if is_bad((step * 10 - 1) / HOUR_S) { 10.0 } else { 0.0 };
        open.batch().add(SLI, now.0, Counts { bad, total: 10.0 });
        windows.advance(now);
    }
    (windows, now)
}

fn past(windows: &Windows) -> Past {
    Past::new(windows.copied(SLI).unwrap())
}

#[track_caller]
fn check(seen: Option<Seen>, bad: f64, total: f64, share: f64) {
    let seen = seen.expect("it is known");
    let is_near = |found: f64, expected: f64| (found - expected).abs() < 1e-6;
    assert!(is_near(seen.counts.bad, bad) && is_near(seen.counts.total, total), "{seen:?}");
    assert!(is_near(seen.share(), share), "{seen:?}");
}

#[test]
fn past_windows_are_what_they_were() {
    let (windows, now) = counted(48, |hour| hour == 40);
    let past = past(&windows);
    let ago = |minutes: u32| now - SECOND * 60 * minutes;
    // Hour 40 is from eight to seven hours ago.
    check(past.rolling(1, now), 0.0, 3_600.0, 1.0);
    check(past.rolling(1, ago(7 * 60)), 3_600.0, 3_600.0, 1.0);
    check(past.rolling(1, ago(7 * 60 + 30)), 1_800.0, 3_600.0, 1.0);
    check(past.rolling(2, ago(5 * 60)), 3_600.0, 21_600.0, 1.0);
    check(past.rolling(0, ago(60)), 0.0, 300.0, 1.0);
    assert_eq!(past.rolling(0, ago(7 * 60)), None, "slots are longer than the window by then");
    // The observation began two days ago, so all of the budget's window is known.
    check(past.rolling(3, ago(7 * 60)), 3_600.0, 41.0 * 3_600.0, 1.0);
    check(past.rolling(3, ago(8 * 60)), 0.0, 40.0 * 3_600.0, 1.0);
    assert_eq!(past.since().unwrap(), now - SECOND * 48 * 3_600);
}

#[test]
fn what_all_tiers_forgot_is_known_in_part() {
    let (windows, now) = counted(35 * 24, |hour| hour < 24 * 6);
    let past = past(&windows);
    let days = |days: u32| now - SECOND * 86_400 * days;
    // Six bad days, of which the first five have left the window by now. The ring holds two hours more.
    check(past.rolling(3, now), 86_400.0, 30.0 * 86_400.0, 1.0);
    let known = (30.0 * 24.0 + 2.0 - 240.0) / (30.0 * 24.0);
    check(past.rolling(3, days(10)), 26.0 * 3_600.0, known * 30.0 * 86_400.0, known);
    assert_eq!(past.rolling(3, days(31)), None);
    assert_eq!(past.rolling(2, days(20)).map(|seen| seen.share()), Some(1.0));
}

#[test]
fn lifetimes_go_back_as_far_as_the_rings() {
    let (windows, now) = counted(48, |hour| hour == 47);
    let past = past(&windows);
    let at = |ago: u32| past.lifetime(now - SECOND * ago).unwrap();
    assert_eq!(at(0), Counts { bad: 3_600.0, total: 48.0 * 3_600.0 });
    assert_eq!(at(1_800), Counts { bad: 1_800.0, total: 47.5 * 3_600.0 });
    assert_eq!(at(86_400), Counts { bad: 0.0, total: 24.0 * 3_600.0 });
}

#[test]
fn calendar_windows_are_what_they_were_while_slots_reach() {
    let start = Timestamp(1_700_000_000_000).floor(SECOND * 86_400);
    let open = Arc::new(OpenSlots::new(SECOND));
    let mut windows = Windows::new(Arc::clone(&open), start);
    let mut layout = Layout::new(&[SECOND * 86_400 * 2], &[], SECOND);
    layout.calendars.push(Calendar::new(CalendarUnit::Day, "UTC").unwrap());
    windows.insert(SLI, &Arc::new(layout));
    open.batch().note_unseen(SLI, i64::MIN, start.0);
    for step in 1..=36 * 4 {
        let now = start + SECOND * 900 * step;
        open.batch().add(SLI, now.0, Counts { bad: 0.0, total: 900.0 });
        windows.advance(now);
    }
    let past = past(&windows);
    for (hour, total) in [(36, 12.0), (30, 6.0), (25, 1.0), (24, 24.0), (12, 12.0), (1, 1.0)] {
        let (seen, end) = past.calendar(0, start + SECOND * 3_600 * hour).unwrap();
        check(Some(seen), 0.0, total * 3_600.0, 1.0);
        assert_eq!(end, start + SECOND * 86_400 * hour.div_ceil(24), "hour {hour}");
    }
}

proptest! {
    #[test]
    fn the_present_is_what_the_owner_says(
        adds in proptest::collection::vec((0i64..90_000, 0u32..3, 1u32..1_000), 1..60),
        seconds in 1i64..100_000,
    ) {
        let start = Timestamp(1_700_000_000_000);
        let open = Arc::new(OpenSlots::new(SECOND));
        let mut windows = Windows::new(Arc::clone(&open), start);
        let lengths = [300, 3_600, 21_600, 86_400].map(Duration::from_secs);
        windows.insert(SLI, &Arc::new(Layout::new(&lengths, &[], SECOND)));
        let now = start + SECOND * seconds as u32;
        windows.advance(now);
        for (ago, bad, total) in adds {
            let counts = Counts { bad: f64::from(bad), total: f64::from(total) };
            open.batch().add(SLI, now.0 - ago * 1_000 - 500, counts);
        }
        windows.advance(now + SECOND);
        let past = past(&windows);
        for (number, counts) in windows.history(SLI).unwrap().windows().enumerate() {
            let found = past.rolling(number, past.at()).unwrap().counts;
            prop_assert!((found.total - counts.total).abs() < 1e-6, "{found:?} {counts:?}");
            prop_assert!((found.bad - counts.bad).abs() < 1e-6, "{found:?} {counts:?}");
        }
    }
}
