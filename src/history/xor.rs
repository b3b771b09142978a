//! Prometheus' chunks of samples: each differs little from the one before, so only the difference is written.
//!
//! ```text
//! number of samples, 2 bytes
//! 1st: time (varint), value (64 bits)
//! 2nd: time since the 1st (uvarint), value as below
//! nth: how much longer that is than before:  0 · 10+14 · 110+17 · 1110+20 · 1111+64 bits
//!      value, XOR the one before:  0 same · 10+bits as wide as before · 11+leading zeros (5)+width (6)+bits
//! ```
//!
//! As in "Gorilla" (Pelkonen et al., VLDB 2015), with Prometheus' widths. Whatever the bytes, reading ends and does not
//! panic: every sample takes two bits or more, and the number of samples is in the chunk.

use super::Sample;
use crate::time::Timestamp;

/// A chunk that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// It ends within a sample.
    #[error("the chunk ends after {read} of its {all} samples")]
    CutOff {
        /// Samples that are whole.
        read: u16,
        /// Samples it should have.
        all: u16,
    },
    /// It is broken.
    #[error("the chunk is broken: {0}")]
    Broken(&'static str),
}

/// Bits, the highest of each byte first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Bits that were read.
    at: usize,
}

/// What is remembered from one value to the next.
struct Value {
    bits: u64,
    leading: u32,
    width: u32,
}

/// The bits that the change of an interval takes, by the number of ones before it.
const CHANGE_WIDTHS: [u32; 5] = [0, 14, 17, 20, 64];

/// How many samples a chunk says it has, of whatever encoding.
pub fn declared(chunk: &[u8]) -> u16 {
    chunk.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
}

/// Reads the samples of a chunk.
///
/// # Errors
/// When it is none; samples before the error have been passed on.
pub fn decode(chunk: &[u8], mut keep: impl FnMut(Sample)) -> Result<(), ChunkError> {
    let all = declared(chunk);
    let mut bits = Bits { bytes: chunk, at: 16 };
    let mut value = Value { bits: 0, leading: 0, width: 0 };
    let (mut at, mut interval) = (0_i64, 0_i64);
    for read in 0..all {
        let cut_off = ChunkError::CutOff { read, all };
        match read {
            0 => {
                at = signed(bits.varint()?.ok_or(cut_off)?);
                value.bits = bits.take(64).ok_or(cut_off)?;
            }
            1 => interval = bits.varint()?.ok_or(cut_off)? as i64,
            _ => interval = interval.wrapping_add(bits.change().ok_or(cut_off)?),
        }
        if read > 0 {
            at = at.wrapping_add(interval);
            value.read(&mut bits)?.ok_or(cut_off)?;
        }
        keep(Sample { at: Timestamp(at), value: f64::from_bits(value.bits) });
    }
    Ok(())
}

/// Zigzag: small numbers of either sign are short.
fn signed(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

// === impl Bits ===

impl Bits<'_> {
    /// The next bits as a number, 64 at most; `None` at the end.
    fn take(&mut self, count: u32) -> Option<u64> {
        let end = self.at.checked_add(count as usize).filter(|end| *end <= self.bytes.len() * 8)?;
        let first = self.at / 8;
        let mut window = [0; 16];
        let length = (self.bytes.len() - first).min(9);
        window[..length].copy_from_slice(&self.bytes[first..first + length]);
        let shifted = u128::from_be_bytes(window) << (self.at % 8);
        self.at = end;
        Some(if count == 0 { 0 } else { (shifted >> (128 - count)) as u64 })
    }

    /// Seven bits a byte, the lowest first; `None` at the end.
    fn varint(&mut self) -> Result<Option<u64>, ChunkError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let Some(byte) = self.take(8) else { return Ok(None) };
            number |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(Some(number));
            }
        }
        Err(ChunkError::Broken("a time has more than 64 bits"))
    }

    fn change(&mut self) -> Option<i64> {
        let mut ones = 0;
        while ones < 4 && self.take(1)? == 1 {
            ones += 1;
        }
        let width = CHANGE_WIDTHS[ones];
        let bits = self.take(width)?;
        // From -(2^(width-1) - 1) to 2^(width-1).
        let is_negative = (1..64).contains(&width) && bits > 1 << (width - 1);
        Some(if is_negative { bits as i64 - (1 << width) } else { bits as i64 })
    }
}

// === impl Value ===

impl Value {
    /// Reads the next; `None` at the end.
    fn read(&mut self, bits: &mut Bits<'_>) -> Result<Option<()>, ChunkError> {
        let Some(changes) = bits.take(1) else { return Ok(None) };
        if changes == 0 {
            return Ok(Some(()));
        }
        let Some(has_own_width) = bits.take(1) else { return Ok(None) };
        if has_own_width == 1 {
            let (Some(leading), Some(width)) = (bits.take(5), bits.take(6)) else { return Ok(None) };
            // 64 does not fit six bits, and no width of 0 is needed.
            (self.leading, self.width) = (leading as u32, if width == 0 { 64 } else { width as u32 });
        }
        if self.leading + self.width > 64 {
            return Err(ChunkError::Broken("a value has more than 64 bits"));
        }
        let Some(changed) = bits.take(self.width) else { return Ok(None) };
        self.bits ^= changed.checked_shl(64 - self.leading - self.width).unwrap_or(0);
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests;
