//! How a value lies in the store: compressed, and under a checksum that covers where it belongs.
//!
//! ```text
//! xxh3-64, 8 bytes, little endian │ snappy block
//! ```
//!
//! The checksum is of the name of the part, the length of the key (4 bytes, little endian), the key, and the
//! block. The invariant: bytes under another key or in another part than theirs are damaged.

use xxhash_rust::xxh3::Xxh3;

use super::Part;
use crate::prompb;

/// Why a value cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// It has less bytes than a checksum.
    #[error("value is cut off")]
    Short,
    /// It is not what was written, or not where it was written.
    #[error("checksum does not match")]
    Checksum,
    /// Its checksum is right, but it is no snappy block.
    #[error("value is no snappy block")]
    Snappy,
}

/// Wraps values; keeps its buffers from one to the next.
pub(super) struct Wrapper {
    encoder: snap::raw::Encoder,
    wrapped: Vec<u8>,
}

/// Unwraps values; keeps its buffer from one to the next.
#[derive(Default)]
pub(super) struct Unwrapper {
    value: Vec<u8>,
}

const CHECKSUM_BYTES: usize = 8;
/// What snappy can declare. The length was checked by the checksum before it is believed.
const VALUE_BYTES_MAX: usize = u32::MAX as usize;

// === impl Wrapper ===

impl Default for Wrapper {
    fn default() -> Self {
        Self { encoder: snap::raw::Encoder::new(), wrapped: Vec::new() }
    }
}

impl Wrapper {
    /// The value as it is stored.
    ///
    /// # Errors
    /// When it is longer than a snappy block may be.
    pub(super) fn wrap(&mut self, part: Part, key: &[u8], value: &[u8]) -> Result<&[u8], snap::Error> {
        self.wrapped.resize(CHECKSUM_BYTES + snap::raw::max_compress_len(value.len()), 0);
        let length = self.encoder.compress(value, &mut self.wrapped[CHECKSUM_BYTES..])?;
        self.wrapped.truncate(CHECKSUM_BYTES + length);
        let checksum = checksum(part, key, &self.wrapped[CHECKSUM_BYTES..]);
        self.wrapped[..CHECKSUM_BYTES].copy_from_slice(&checksum.to_le_bytes());
        Ok(&self.wrapped)
    }
}

// === impl Unwrapper ===

impl Unwrapper {
    /// The value that was wrapped for this place.
    ///
    /// # Errors
    /// When it is not as it was written.
    pub(super) fn unwrap(&mut self, part: Part, key: &[u8], stored: &[u8]) -> Result<&[u8], Damaged> {
        let (written, block) = stored.split_first_chunk::<CHECKSUM_BYTES>().ok_or(Damaged::Short)?;
        if u64::from_le_bytes(*written) != checksum(part, key, block) {
            return Err(Damaged::Checksum);
        }
        prompb::decompress(block, VALUE_BYTES_MAX, &mut self.value).map_err(|_| Damaged::Snappy)?;
        Ok(&self.value)
    }
}

fn checksum(part: Part, key: &[u8], block: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(part.name().as_bytes());
    hash.update(&(key.len() as u32).to_le_bytes());
    hash.update(key);
    hash.update(block);
    hash.digest()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_value_comes_back(key: Vec<u8>, value: Vec<u8>) {
            let stored = Wrapper::default().wrap(Part::Heads, &key, &value).unwrap().to_vec();
            let mut unwrapper = Unwrapper::default();
            prop_assert_eq!(unwrapper.unwrap(Part::Heads, &key, &stored), Ok(&*value));
        }

        #[test]
        fn a_changed_bit_is_seen(value: Vec<u8>, at: prop::sample::Index) {
            let mut stored = Wrapper::default().wrap(Part::Heads, b"key", &value).unwrap().to_vec();
            let bit = at.index(stored.len() * 8);
            stored[bit / 8] ^= 1 << (bit % 8);
            let mut unwrapper = Unwrapper::default();
            prop_assert_eq!(unwrapper.unwrap(Part::Heads, b"key", &stored), Err(Damaged::Checksum));
        }
    }

    #[track_caller]
    fn check(part: Part, key: &[u8], length: usize, expected: Result<&[u8], Damaged>) {
        let mut wrapper = Wrapper::default();
        let stored = wrapper.wrap(Part::Heads, b"key", b"value").unwrap();
        assert_eq!(Unwrapper::default().unwrap(part, key, &stored[..length]), expected);
    }

    #[test]
    fn a_value_in_a_wrong_place_is_damaged() {
        let whole = CHECKSUM_BYTES + 7;
        check(Part::Heads, b"key", whole, Ok(b"value"));
        check(Part::Rings, b"key", whole, Err(Damaged::Checksum));
        check(Part::Heads, b"kez", whole, Err(Damaged::Checksum));
        check(Part::Heads, b"", whole, Err(Damaged::Checksum));
        check(Part::Heads, b"key", whole - 1, Err(Damaged::Checksum));
        check(Part::Heads, b"key", 7, Err(Damaged::Short));
    }
}
