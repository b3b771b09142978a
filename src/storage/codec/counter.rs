//! Temporary.

use super::DecodeError;
use crate::{
    counter::{Counter, CounterState},
    ingest::SeriesMemory,
    labels::SeriesKey,
    time::Timestamp,
};

/// Temporary.
pub fn encode_series(series: &[SeriesMemory]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for s in series {
        let c = s.counter.state();
        bytes.extend_from_slice(&s.key.0.to_le_bytes());
        for t in [c.last_at, c.start, c.ended_at] {
            bytes.extend_from_slice(&t.map_or(i64::MIN, |t| t.0).to_le_bytes());
        }
        bytes.extend_from_slice(&c.last_value.to_le_bytes());
        bytes.extend_from_slice(&s.last_arrival.0.to_le_bytes());
        bytes.extend_from_slice(&u64::from(s.replica_epoch).to_le_bytes());
    }
    bytes
}

/// Temporary.
///
/// # Errors
/// None.
pub fn decode_series(bytes: &[u8]) -> Result<Vec<SeriesMemory>, DecodeError> {
    let w = |b: &[u8], n: usize| i64::from_le_bytes(b[16 + n * 8..24 + n * 8].try_into().unwrap_or_default());
    let t = |v: i64| (v != i64::MIN).then_some(Timestamp(v));
    Ok(bytes
        .chunks_exact(64)
        .map(|b| SeriesMemory {
            key: SeriesKey(u128::from_le_bytes(b[..16].try_into().unwrap_or_default())),
            counter: Counter::from_state(CounterState {
                last_at: t(w(b, 0)),
                start: t(w(b, 1)),
                ended_at: t(w(b, 2)),
                last_value: f64::from_bits(w(b, 3) as u64),
            })
            .unwrap_or_default(),
            last_arrival: Timestamp(w(b, 4)),
            replica_epoch: w(b, 5) as u32,
            extra: None,
        })
        .collect())
}
