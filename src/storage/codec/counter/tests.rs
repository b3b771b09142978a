//! Round trips, bytes that are no state, and how much room series take.

use proptest::prelude::*;

use super::*;

fn times() -> impl Strategy<Value = i64> {
    prop_oneof![0..100_000i64, i64::MIN + 1..i64::MAX]
}

fn some_times() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of(times().prop_map(Timestamp))
}

fn values() -> impl Strategy<Value = f64> {
    let edges = [0.0, -0.0, 0.5, (1_u64 << 53) as f64, (1_u64 << 54) as f64, f64::INFINITY, -1.0];
    prop_oneof![
        (0..1_000_000u32).prop_map(f64::from),
        any::<u64>().prop_map(f64::from_bits),
        prop::sample::select(edges.to_vec()),
    ]
}

fn counters() -> impl Strategy<Value = CounterState> {
    (some_times(), values(), some_times(), some_times()).prop_map(|(last_at, last_value, start, ended_at)| {
        CounterState { last_at, last_value, start, ended_at }
    })
}

fn histograms() -> impl Strategy<Value = HistogramState> {
    let buckets = || prop::collection::vec((any::<i32>(), values()), 0..5);
    let scale = prop_oneof![
        any::<i8>().prop_map(ScaleState::Exponential),
        prop::collection::vec(values(), 0..4).prop_map(ScaleState::Custom),
    ];
    let observed = (values(), values(), scale, values(), values(), buckets(), buckets()).prop_map(
        |(count, sum, scale, zero_threshold, zero_count, negative, positive)| DistributionState {
            count,
            sum,
            scale,
            zero_threshold,
            zero_count,
            negative,
            positive,
        },
    );
    let last = (times(), some_times(), any::<Option<i8>>(), prop::option::of(observed)).prop_map(
        |(at, started_at, sent_schema, observed)| HistogramSampleState {
            at: Timestamp(at),
            started_at,
            sent_schema,
            observed,
        },
    );
    (prop::option::of(last), some_times()).prop_map(|(last, ended_at)| HistogramState { last, ended_at })
}

fn all_series() -> impl Strategy<Value = Vec<SeriesState>> {
    let extra =
        (counters(), histograms()).prop_map(|(gauge, histogram)| Box::new(ExtraState { gauge, histogram }));
    let series = (any::<u128>(), counters(), times(), any::<u32>(), prop::option::weighted(0.2, extra))
        .prop_map(|(key, counter, last_arrival, replica_epoch, extra)| SeriesState {
            key,
            counter,
            last_arrival: Timestamp(last_arrival),
            replica_epoch,
            extra,
        });
    prop::collection::vec(series, 0..20)
}

/// As text: NaN is not equal to itself.
#[track_caller]
fn check(series: &[SeriesState]) {
    let back = decode_series(&encode_series(series)).unwrap();
    assert_eq!(format!("{back:?}"), format!("{series:?}"));
    let bits = |series: &[SeriesState]| -> Vec<u64> {
        series.iter().map(|of| of.counter.last_value.to_bits()).collect()
    };
    assert_eq!(bits(&back), bits(series));
}

/// Series of a thousand pods, scraped each 15 s in the order of the table, as a daemon has them.
fn typical(count: usize) -> Vec<SeriesState> {
    let mut noise = 1_u64;
    let mut random = |below: u64| {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (noise >> 33) % below
    };
    let mut scraped = 0;
    let series = |n: usize| {
        if n.is_multiple_of(40) {
            scraped = 1_700_000_000_000 + random(15_000) as i64;
        }
        SeriesState {
            key: u128::from(random(u64::MAX)) << 64 | u128::from(random(u64::MAX)),
            counter: CounterState {
                last_at: Some(Timestamp(scraped)),
                last_value: random(if n.is_multiple_of(3) { 30_000_000 } else { 3_000 }) as f64,
                ..CounterState::default()
            },
            last_arrival: Timestamp(scraped + 300),
            replica_epoch: 7,
            extra: None,
        }
    };
    (0..count).map(series).collect()
}

#[test]
fn a_series_takes_few_bytes() {
    let bytes = encode_series(&typical(1_000)).len();
    assert!(bytes <= 30_000, "{bytes} bytes for 1,000 series");
    let mut started = typical(1_000);
    started.iter_mut().for_each(|of| of.counter.start = Some(Timestamp(1_690_000_000_000)));
    let bytes = encode_series(&started).len();
    assert!(bytes <= 32_000, "{bytes} bytes for 1,000 series with start timestamps");
    // Sums of durations have all 53 bits.
    let mut sums = typical(1_000);
    sums.iter_mut().for_each(|of| of.counter.last_value += 0.1);
    let bytes = encode_series(&sums).len();
    assert!(bytes <= 36_000, "{bytes} bytes for 1,000 series with fractions");
}

#[test]
fn nothing_at_all_and_one_of_nothing() {
    check(&[]);
    check(&[SeriesState::default()]);
    check(&[SeriesState { extra: Some(Box::default()), ..SeriesState::default() }]);
    check(&typical(100));
    assert!(encode_series(&[]).len() <= 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn series_come_back_as_they_were(series in all_series()) {
        check(&series);
    }

    /// Also the other way round: what is read can be written.
    #[test]
    fn any_bytes_are_series_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(series) = decode_series(&bytes) {
            check(&series);
        }
        let _ = decode_elections(&bytes);
    }

    #[test]
    fn damaged_series_are_series_or_an_error(
        series in all_series(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encode_series(&series);
        let _ = decode_series(&bytes[..cut.index(bytes.len() + 1)]);
        for (place, byte) in changes.iter().filter(|_| !series.is_empty()) {
            let place = place.index(bytes.len());
            bytes[place] = *byte;
        }
        if let Ok(series) = decode_series(&bytes) {
            check(&series);
        }
    }

    #[test]
    fn elections_come_back_as_they_were(
        elections in any::<u32>(),
        clusters in prop::collection::vec((".*", ".*", any::<u32>(), times()), 0..5),
    ) {
        let clusters = clusters.into_iter().map(|(cluster, replica, epoch, heard)| {
            ElectedState { cluster, replica, epoch, heard: Timestamp(heard) }
        });
        let state = ElectionsState { elections, clusters: clusters.collect() };
        prop_assert_eq!(decode_elections(&encode_elections(&state)).unwrap(), state);
    }
}
