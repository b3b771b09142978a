//! A counter as plain data, which outlives the process.
//!
//! Knows nothing of how it is kept. The invariant: a counter made of a state goes on exactly as the one that the
//! state was taken of.

use super::{Counter, NEVER};
use crate::time::Timestamp;

/// What is remembered of a series.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CounterState {
    /// The time of the last accepted sample.
    pub last_at: Option<Timestamp>,
    /// Its value; 0 if there was none.
    pub last_value: f64,
    /// When the counter was at zero, if its sender said so with the last sample.
    pub start: Option<Timestamp>,
    /// The newest staleness marker.
    pub ended_at: Option<Timestamp>,
}

/// Why a state is of no counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsoundCounter {
    /// No sample has this value.
    #[error("the last value of a series is NaN; its next sample has to be a first one")]
    NotANumber,
    /// A counter starts before its samples.
    #[error("a series started at {start}, not before its last sample; its next sample has to be a first one")]
    StartsLate {
        /// When it is said to have started.
        start: Timestamp,
    },
}

// === impl Counter ===

impl Counter {
    /// What is remembered.
    pub fn state(&self) -> CounterState {
        let some = |at: Timestamp| (at != NEVER).then_some(at);
        CounterState {
            last_at: some(self.last_at),
            last_value: self.last_value,
            start: some(self.start),
            ended_at: some(self.ended_at),
        }
    }

    /// The counter that a state was taken of.
    ///
    /// # Errors
    /// When no samples lead to such a state.
    pub fn from_state(state: CounterState) -> Result<Self, UnsoundCounter> {
        let CounterState { last_at, last_value, start, ended_at } = state;
        if last_value.is_nan() {
            return Err(UnsoundCounter::NotANumber);
        }
        if let Some(start) = start.filter(|start| last_at.is_none_or(|last_at| *start >= last_at)) {
            return Err(UnsoundCounter::StartsLate { start });
        }
        let or_never = |at: Option<Timestamp>| at.unwrap_or(NEVER);
        Ok(Self {
            last_at: or_never(last_at),
            last_value,
            start: or_never(start),
            ended_at: or_never(ended_at),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::counter::{Reading, STALE_MARKER_BITS};
    use proptest::prelude::*;

    #[track_caller]
    fn check_refused(state: CounterState, expected: &str) {
        assert_eq!(Counter::from_state(state).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_no_samples_lead_to_is_refused() {
        let sound =
            CounterState { last_at: Some(Timestamp(5_000)), last_value: 1.0, ..CounterState::default() };
        assert!(Counter::from_state(sound).is_ok());
        check_refused(
            CounterState { last_value: f64::from_bits(STALE_MARKER_BITS), ..sound },
            "the last value of a series is NaN; its next sample has to be a first one",
        );
        let late =
            "a series started at 5.000, not before its last sample; its next sample has to be a first one";
        check_refused(CounterState { start: Some(Timestamp(5_000)), ..sound }, late);
        check_refused(CounterState { start: Some(Timestamp(5_000)), ..CounterState::default() }, late);
    }

    fn values() -> impl Strategy<Value = f64> {
        let odd = [-0.0, 0.1, -3.0, 1e16, f64::INFINITY, f64::NAN, f64::from_bits(STALE_MARKER_BITS)];
        prop_oneof![6 => (0..40u8).prop_map(f64::from), 1 => prop::sample::select(odd.to_vec())]
    }

    proptest! {
        #[test]
        fn a_counter_goes_on_where_it_was(
            samples in prop::collection::vec((0..60i64, values(), prop::option::of(0..60i64), any::<bool>()), 1..60),
            is_gauge in any::<bool>(),
            stopped_after in 0..60usize,
        ) {
            let (mut through, mut other) = (Counter::default(), Counter::default());
            for (n, (at, value, start, is_handover)) in samples.into_iter().enumerate() {
                if n == stopped_after {
                    other = Counter::from_state(other.state()).unwrap();
                    prop_assert_eq!(other.state().last_value.to_bits(), through.last_value.to_bits());
                }
                let (at, start) = (Timestamp(at * 1_000), start.map(|start| Timestamp(start * 1_000)));
                let max_gap = Duration::from_secs(40);
                let reading = Reading { at, value, start, is_handover, max_gap };
                let observe = |counter: &mut Counter| match is_gauge {
                    true => counter.observe_gauge(at, value),
                    false => counter.observe(reading, || None),
                };
                prop_assert_eq!(observe(&mut through), observe(&mut other));
                prop_assert_eq!(through, other);
            }
        }
    }
}
