//! Round trips, bytes that are no state, and the size of parts.

use proptest::prelude::*;

use super::*;
use crate::labels::Labels;

fn times() -> impl Strategy<Value = Timestamp> {
    prop_oneof![0..100_000i64, i64::MIN..i64::MAX].prop_map(Timestamp)
}

fn label_sets() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map("[a-z]{1,3}", ".*", 0..4).prop_map(|pairs| Labels::new(pairs).unwrap())
}

fn group_states() -> impl Strategy<Value = Vec<GroupState>> {
    let group = (label_sets(), times()).prop_map(|(labels, seen)| GroupState { labels, seen });
    prop::collection::vec(group, 0..4)
}

fn ids() -> impl Strategy<Value = (SloId, String)> {
    (".*", ".*", ".*").prop_map(|(service, name, identity)| (SloId { service, name }, identity))
}

fn sampled_slos() -> impl Strategy<Value = SampledState> {
    (ids(), prop::option::of(times()), group_states())
        .prop_map(|((id, identity), next, groups)| SampledState { id, identity, next, groups })
}

fn recorded_series() -> impl Strategy<Value = RecordedState> {
    let values = prop_oneof![(0..50u8).prop_map(f64::from), any::<u64>().prop_map(f64::from_bits)];
    let samples = prop::collection::btree_map(times(), values, 0..9);
    (label_sets(), prop::option::of(times()), samples).prop_map(|(labels, last_at, samples)| {
        let samples = samples.into_iter().map(|(at, value)| Sample { at, value }).collect();
        RecordedState { labels, last_at, samples }
    })
}

fn samplers() -> impl Strategy<Value = SamplerState> {
    let slos = prop::collection::vec(sampled_slos(), 0..4);
    (times(), slos, prop::collection::vec(recorded_series(), 0..4))
        .prop_map(|(at, slos, series)| SamplerState { at, slos, series })
}

fn pullers() -> impl Strategy<Value = PullerState> {
    let slo = (ids(), times(), any::<bool>(), group_states()).prop_map(
        |((id, identity), next, is_seen, groups)| PulledState { id, identity, next, is_seen, groups },
    );
    (times(), prop::collection::vec(slo, 0..4)).prop_map(|(at, slos)| PullerState { at, slos })
}

fn decode_all(parts: &[Vec<u8>]) -> SamplerState {
    let mut state = SamplerState::default();
    parts.iter().for_each(|part| decode_sampler(part, &mut state).unwrap());
    state
}

/// As text: NaN is not equal to itself.
#[track_caller]
fn check(state: &SamplerState) {
    let back = decode_all(&encode_sampler(state));
    assert_eq!(format!("{back:?}"), format!("{state:?}"));
    let bits = |state: &SamplerState| -> Vec<u64> {
        state.series.iter().flat_map(|of| &of.samples).map(|sample| sample.value.to_bits()).collect()
    };
    assert_eq!(bits(&back), bits(state));
}

#[test]
fn many_samples_come_in_parts() {
    let series = |n: i64, samples: i64| RecordedState {
        labels: Labels::new([("__name__", "x"), ("n", &n.to_string())]).unwrap(),
        last_at: Some(Timestamp(n)),
        samples: (0..samples).map(|n| Sample { at: Timestamp(n * 15_000), value: 0.5 + n as f64 }).collect(),
    };
    let lengths = [480; 100].into_iter().chain([18_000, 18_000]).chain([0; 1_100]);
    let state = SamplerState {
        series: lengths.enumerate().map(|(n, samples)| series(n as i64, samples)).collect(),
        ..SamplerState::default()
    };
    let parts = encode_sampler(&state);
    assert_eq!(parts.len(), 1 + 4 + 2 + 3);
    assert!(parts.iter().all(|part| part.len() < 300_000), "{:?}", parts.iter().map(Vec::len).max());
    check(&state);
    let mut rest = SamplerState::default();
    let is_read = |part: &&Vec<u8>| decode_sampler(&part[..part.len() - 1], &mut rest).is_ok();
    assert_eq!(parts.iter().filter(is_read).count(), 0, "nothing of a part that is cut off");
    assert_eq!(rest, SamplerState::default());
}

#[test]
fn samples_out_of_their_order_are_refused() {
    #[track_caller]
    fn check(series: wire::RecordedSeries, expected: &str) {
        let part = wire::Sampling { series: vec![series], ..wire::Sampling::default() }.encode_to_vec();
        let error = decode_sampler(&part, &mut SamplerState::default()).unwrap_err().to_string();
        assert_eq!(error, format!("a message that makes no sense: {expected}"));
    }
    let of = |later: u64| wire::RecordedSeries {
        first_at_ms: 5_000,
        later_ms: vec![later],
        values: Some(numbers([1.0, 2.0].into_iter())),
        ..wire::RecordedSeries::default()
    };
    check(of(0), "a sample 0 ms after one at 5.000");
    check(of(u64::MAX), "a sample 18446744073709551615 ms after one at 5.000");
    check(wire::RecordedSeries { later_ms: vec![], ..of(1) }, "2 values at 1 times");
    check(wire::RecordedSeries { labels: vec!["a".into()], ..of(1) }, "a label without a value");
    check(
        wire::RecordedSeries { labels: vec!["".into(), "b".into()], ..of(1) },
        "a label has no name (its value is \"b\")",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn states_come_back_as_they_were(sampler in samplers(), puller in pullers()) {
        check(&sampler);
        prop_assert_eq!(decode_puller(&encode_puller(&puller)).unwrap(), puller);
    }

    #[test]
    fn any_bytes_are_a_state_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut state = SamplerState::default();
        if decode_sampler(&bytes, &mut state).is_ok() {
            check(&state);
        }
        let _ = decode_puller(&bytes);
    }

    #[test]
    fn damaged_states_are_states_or_an_error(
        sampler in samplers(),
        puller in pullers(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let damaged = |mut bytes: Vec<u8>| {
            for (place, byte) in &changes {
                let place = place.index(bytes.len());
                bytes[place] = *byte;
            }
            bytes
        };
        let mut state = SamplerState::default();
        for part in encode_sampler(&sampler) {
            let _ = decode_sampler(&damaged(part), &mut state);
        }
        check(&state);
        let _ = decode_puller(&damaged(encode_puller(&puller)));
    }
}
