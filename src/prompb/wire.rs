//! Protobuf fields, borrowed from their message.

use super::Error;

/// A position in a message that is being read.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

/// The payload of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

// A varint holds 64 bits in groups of seven.
const VARINT_BYTES_MAX: usize = 10;

// In each byte of a varint the bit that says that another byte follows.
const CONTINUES: u64 = 0x8080_8080_8080_8080;

/// Joins the seven low bits of each byte, lowest first: neighbours first, then pairs, then halves.
fn joined_groups(word: u64) -> u64 {
    let word = word & !CONTINUES;
    let word = (word & 0x007f_007f_007f_007f) | ((word & 0x7f00_7f00_7f00_7f00) >> 1);
    let word = (word & 0x0000_3fff_0000_3fff) | ((word & 0x3fff_0000_3fff_0000) >> 2);
    (word & 0x0fff_ffff) | ((word & 0x0fff_ffff_0000_0000) >> 4)
}

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// How far it has read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.message.len()
    }

    /// The next field's number and payload; `None` at the end of the message.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Error> {
        if self.is_at_end() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).map_err(|_| self.malformed("field number out of range"))?;
        if number == 0 {
            return Err(self.malformed("field number 0"));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.bytes()?),
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            // 3 and 4 are groups, which proto3 does not have.
            _ => return Err(self.malformed("unknown wire type")),
        };
        Ok(Some((number, value)))
    }

    /// The next field, which most likely has this tag of one byte and for bytes.
    pub(super) fn field_tagged(&mut self, tag: u8) -> Result<Option<(u32, Value<'a>)>, Error> {
        match self.bytes_tagged(tag)? {
            Some(bytes) => Ok(Some((u32::from(tag >> 3), Value::Bytes(bytes)))),
            None => self.field(),
        }
    }

    /// The payload of the next field if that has this tag, which must be one of a byte and for bytes.
    #[inline]
    pub(super) fn bytes_tagged(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Error> {
        if self.message.get(self.at) != Some(&tag) {
            return Ok(None);
        }
        self.at += 1;
        self.bytes().map(Some)
    }

    /// The number after a one-byte tag, if that and nothing else follows.
    #[inline]
    pub(super) fn last_varint_tagged(&mut self, tag: u8) -> Option<u64> {
        if self.message.get(self.at) != Some(&tag) {
            return None;
        }
        self.at += 1;
        self.varint().ok().filter(|_| self.at == self.message.len())
    }

    /// The eight bytes after a one-byte tag, if that follows.
    #[inline]
    pub(super) fn fixed64_tagged(&mut self, tag: u8) -> Option<u64> {
        let (first, bytes) = self.message[self.at..].first_chunk::<9>()?.split_first()?;
        if *first != tag {
            return None;
        }
        self.at += 9;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// An error at the present position.
    #[cold]
    pub(super) fn malformed(&self, what: &'static str) -> Error {
        Error::Malformed { what, at: self.at, of: self.message.len() }
    }

    /// A number of 32 bits. More bits are dropped, as proto3 has it.
    #[inline]
    pub(super) fn uint32(&mut self) -> Result<u32, Error> {
        self.varint().map(|value| value as u32)
    }

    /// A number, which is mostly a length of one byte or two.
    #[inline]
    fn varint(&mut self) -> Result<u64, Error> {
        match self.message[self.at..] {
            [byte, ..] if byte < 0x80 => {
                self.at += 1;
                Ok(u64::from(byte))
            }
            [low, high, ..] if high < 0x80 => {
                self.at += 2;
                Ok(u64::from(low & 0x7f) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    #[inline]
    fn long_varint(&mut self) -> Result<u64, Error> {
        let rest = self.message.len() - self.at;
        let word = match (self.message[self.at..].first_chunk(), self.message.last_chunk()) {
            (Some(bytes), _) => u64::from_le_bytes(*bytes),
            // Samples end with their timestamp.
            (None, Some(bytes)) if rest > 0 => u64::from_le_bytes(*bytes) >> (8 * (8 - rest)),
            _ => return self.varint_by_bytes(),
        };
        // The last byte is the first without the bit that says that another follows.
        let bytes = ((!word & CONTINUES).trailing_zeros() / 8 + 1) as usize;
        if bytes > rest.min(8) {
            return self.varint_by_bytes();
        }
        self.at += bytes;
        Ok(joined_groups(word & (u64::MAX >> (64 - 8 * bytes))))
    }

    /// The longest varints, those in the shortest messages, and those without an end.
    #[cold]
    fn varint_by_bytes(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for group in 0..VARINT_BYTES_MAX {
            let byte = *self.message.get(self.at).ok_or_else(|| self.malformed("truncated varint"))?;
            self.at += 1;
            // The tenth byte holds the 64th bit alone.
            if group == VARINT_BYTES_MAX - 1 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * group);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("varint longer than 64 bits"))
    }

    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], Error> {
        let length = self.varint()?;
        let rest = &self.message[self.at..];
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        let length = length.ok_or_else(|| self.malformed("length beyond the end"))?;
        self.at += length;
        Ok(&rest[..length])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let bytes = self.message[self.at..].first_chunk::<N>();
        let bytes = *bytes.ok_or_else(|| self.malformed("truncated number"))?;
        self.at += N;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_varint() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(value, shift)| value >> shift)
    }

    proptest! {
        #[test]
        fn varints_are_read_as_prost_writes_them(values in proptest::collection::vec(any_varint(), 1..20)) {
            let mut message = Vec::new();
            values.iter().for_each(|value| prost::encoding::encode_varint(*value, &mut message));
            let mut reader = Reader::new(&message);
            for value in values {
                prop_assert_eq!(reader.varint(), Ok(value));
            }
            prop_assert_eq!(reader.at, message.len());
        }

        #[test]
        fn numbers_of_32_bits_are_read_so_too(values in proptest::collection::vec(any_varint(), 1..20)) {
            let mut message = Vec::new();
            values.iter().for_each(|value| prost::encoding::encode_varint(*value, &mut message));
            let mut reader = Reader::new(&message);
            for value in values {
                prop_assert_eq!(reader.uint32(), Ok(value as u32));
            }
            prop_assert!(reader.is_at_end());
        }

        #[test]
        fn a_varint_without_its_last_byte_is_no_number(value in any_varint(), before in 0..12_usize) {
            let mut message = vec![0; before];
            prost::encoding::encode_varint(value | 0x80, &mut message);
            message.pop();
            let mut reader = Reader { message: &message, at: before };
            prop_assert!(reader.varint().is_err());
            reader.at = before;
            prop_assert!(reader.uint32().is_err());
        }
    }
}
