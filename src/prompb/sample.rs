//! A sample, which both versions write nearly alike.
//!
//! ```text
//! Sample { double value = 1; int64 timestamp = 2; int64 start_timestamp = 3, in 2.0 only }
//! ```

use super::{
    Error, Sample, Version,
    wire::{Reader, Value},
};

const VALUE: u8 = 0x09;
const TIMESTAMP: u8 = 0x10;
// The field of a value: its tag and eight bytes.
pub(super) const VALUE_LEN: usize = 9;

// === impl Sample ===

impl Sample {
    pub(super) fn read(message: &[u8], version: Version) -> Result<Self, Error> {
        Self::read_usual(message).map_or_else(|| Self::read_unusual(message, version), Ok)
    }

    /// Reads a sample if it is written as every known sender writes one whose start it does not know. Zero
    /// is not written.
    #[inline]
    pub(super) fn read_usual(message: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        let value = reader.fixed64_tagged(VALUE).map_or(0.0, f64::from_bits);
        let timestamp_ms = reader.last_varint_tagged(TIMESTAMP)?.cast_signed();
        Some(Self { timestamp_ms, value, start_ms: 0 })
    }

    fn read_unusual(message: &[u8], version: Version) -> Result<Self, Error> {
        let mut sample = Self { timestamp_ms: 0, value: 0.0, start_ms: 0 };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match (version, field) {
                (_, (1, Value::Fixed64(bits))) => sample.value = f64::from_bits(bits),
                (_, (2, Value::Varint(timestamp))) => sample.timestamp_ms = timestamp.cast_signed(),
                (Version::V2, (3, Value::Varint(start))) => sample.start_ms = start.cast_signed(),
                (_, (1 | 2, _)) | (Version::V2, (3, _)) => {
                    return Err(reader.malformed("sample has a wrong wire type"));
                }
                _ => (),
            }
        }
        Ok(sample)
    }
}
