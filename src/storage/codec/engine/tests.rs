//! States that are encoded and read back, and bytes that are none.

use proptest::{collection::vec, option, prelude::*};

use super::*;

fn any_counts() -> impl Strategy<Value = Counts> {
    let count = prop_oneof![any::<i32>().prop_map(f64::from), -1e18..1e18];
    (count.clone(), count).prop_map(|(bad, total)| Counts { bad, total })
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    (-(1i64 << 53)..1 << 53).prop_map(Timestamp)
}

fn any_calendar() -> impl Strategy<Value = Calendar> {
    let zone = prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("Asia/Kolkata")];
    let start = option::of((1u16..10, Just("2024-01-31 06:00:00")));
    (0..CalendarUnit::ALL.len(), zone, start).prop_map(|(unit, zone, start)| {
        let calendar = Calendar::new(CalendarUnit::ALL[unit], zone).unwrap();
        match start {
            Some((count, start)) => calendar.starting(start, count).unwrap(),
            None => calendar,
        }
    })
}

fn any_layout() -> impl Strategy<Value = Layout> {
    let slices = (1i64..86_400_000, option::of(0.0..1.0))
        .prop_map(|(width_ms, good_from)| Slices { width_ms, good_from });
    (vec(1u64..90 * 86_400, 0..9), 1u64..20, vec(any_calendar(), 0..3), option::of(slices)).prop_map(
        |(windows, resolution, calendars, slices)| {
            let windows: Vec<Duration> = windows.into_iter().map(Duration::from_secs).collect();
            let layout = Layout::new(&windows, &[], Duration::from_secs(resolution));
            Layout { calendars, slices, ..layout }
        },
    )
}

prop_compose! {
    fn any_row()(
        layout in any_layout(),
        at in any_time(),
        (lifetime, open_slice) in (any_counts(), any_counts()),
        (calendars, tails) in (vec(any_counts(), 0..3), vec(any_counts(), 0..5)),
        since in option::of(any_time()),
        holes in vec((any_time(), any_time()), 0..16),
        rings in 0u32..9,
    ) -> RowState {
        let open_slice = layout.slices.map_or(Counts::ZERO, |_| open_slice);
        RowState { layout: Arc::new(layout), at, lifetime, calendars, tails, open_slice, since, holes, rings }
    }
}

fn any_alert() -> impl Strategy<Value = AlertMemory> {
    let time = any_time;
    let state = prop_oneof![
        Just(AlertState::Inactive),
        (time(), time()).prop_map(|(since, held_at)| AlertState::Pending { since, held_at }),
        (time(), time(), time(), option::of(time())).prop_map(|(since, active_at, held_at, kept_since)| {
            AlertState::Firing { since, active_at, held_at, kept_since }
        }),
        (time(), time()).prop_map(|(since, at)| AlertState::Resolved { since, at }),
    ];
    let length = || (0u64..1 << 40).prop_map(Duration::from_millis);
    ("[a-z]{0,9}", length(), length(), "[a-z 0-9]{0,9}", state).prop_map(
        |(severity, short, long, condition, state)| AlertMemory { severity, short, long, condition, state },
    )
}

prop_compose! {
    fn any_head()(
        row in any_row(),
        times in (option::of(any_time()), option::of(any_time()), option::of(any_time())),
        is_live in any::<bool>(),
        published in any_counts(),
        alerts in vec(any_alert(), 0..4),
    ) -> HeadState {
        let (last_sample, late_arrival, late_since) = times;
        let presence = PresenceState { last_sample, late_arrival, late_since, is_live };
        HeadState { row, presence, published, alerts }
    }
}

fn any_ring() -> impl Strategy<Value = RingState> {
    (any::<i64>(), any::<u8>(), vec(any::<u8>(), 0..99)).prop_map(|(newest, number_bytes, slots)| RingState {
        newest,
        number_bytes,
        slots,
    })
}

fn any_pending() -> impl Strategy<Value = Vec<PendingState>> {
    let pending = (any::<u32>(), any_time(), 0u64..1 << 40, option::of(any_counts()));
    let pending = pending.prop_map(|(sli, to, length_ms, counts)| PendingState {
        sli: SliId(sli),
        from: to - Duration::from_millis(length_ms),
        to,
        counts,
    });
    vec(pending, 0..9)
}

/// Decodes as everything; what that says of bytes that were not written here is not asked, only that it says it.
fn decode_all(bytes: &[u8]) {
    let _ = decode_clock(bytes);
    let _ = decode_head(bytes);
    let _ = decode_ring(bytes);
    let _ = decode_pending(bytes);
}

proptest! {
    #[test]
    fn a_head_reads_back(head in any_head()) {
        prop_assert_eq!(decode_head(&encode_head(&head)).unwrap(), head);
    }

    #[test]
    fn rings_and_what_is_pending_read_back(ring in any_ring(), pending in any_pending(), at in any_time()) {
        prop_assert_eq!(&decode_ring(&encode_ring(ring.clone())).unwrap(), &ring);
        prop_assert_eq!(&decode_pending(&encode_pending(&pending)).unwrap(), &pending);
        let clock = ClockState { evaluated_to: at };
        prop_assert_eq!(decode_clock(&encode_clock(&clock)).unwrap(), clock);
    }

    #[test]
    fn any_bytes_decode_to_something_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
        decode_all(&bytes);
    }

    #[test]
    fn a_damaged_head_decodes_to_something_or_an_error(
        head in any_head(),
        damages in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_head(&head);
        for (at, byte) in damages {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        decode_all(&bytes);
        decode_all(&bytes[..end.index(bytes.len())]);
    }
}

#[track_caller]
fn check_refused(head: impl FnOnce(&mut wire::Head), expected: &str) {
    let mut message = wire::Head::default();
    head(&mut message);
    let error = decode_head(&message.encode_to_vec()).unwrap_err().to_string();
    assert_eq!(error, format!("a message that makes no sense: {expected}"));
}

#[test]
fn a_head_that_makes_no_sense_is_refused() {
    let calendar = |unit: &str, zone: &str, start: &str| wire::Calendar {
        unit: unit.to_owned(),
        count: 1,
        start: Some(start.to_owned()),
        time_zone: zone.to_owned(),
    };
    let in_layout = |calendar: wire::Calendar| {
        move |head: &mut wire::Head| {
            head.layout = Some(wire::Layout { calendars: vec![calendar], ..wire::Layout::default() });
        }
    };
    let start = "2024-01-01 00:00:00";
    check_refused(in_layout(calendar("eon", "UTC", start)), "a calendar of the unit \"eon\"");
    check_refused(
        in_layout(calendar("day", "Mars/Base", start)),
        "unknown time zone \"Mars/Base\"; write a name of the IANA database, such as Europe/Berlin or UTC",
    );
    check_refused(
        in_layout(calendar("day", "UTC", "soon")),
        "\"soon\" is no date and time; write one like 2024-01-01 00:00:00",
    );
    let window = wire::Layout { windows_ms: vec![1], ..wire::Layout::default() };
    check_refused(|head| head.layout = Some(window), "a window without a tier");
    check_refused(|head| head.tails = vec![1.0], "1 numbers where pairs of them should be");
    check_refused(|head| head.lifetime = vec![1.0; 4], "4 numbers where a pair should be");
    check_refused(|head| head.holes_ms = vec![1], "a hole without an end");
    let alert = wire::Alert { level: 7, ..wire::Alert::default() };
    check_refused(|head| head.alerts = vec![alert], "an alert at level 7");
    let alert = wire::Alert { short_ms: -1, ..wire::Alert::default() };
    check_refused(|head| head.alerts = vec![alert], "a window of -1 ms");
}

#[test]
fn a_clock_at_a_time_that_no_clock_shows_is_refused() {
    let bytes = wire::Clock { evaluated_to_ms: i64::MAX }.encode_to_vec();
    let error = decode_clock(&bytes).unwrap_err().to_string();
    assert_eq!(error, "a message that makes no sense: evaluated to 9223372036854776.000");
}
