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

// === impl Reader ===

impl<'a> Reader<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// How far it has read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next field's number and payload; `None` at the end of the message.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Value<'a>)>, Error> {
        if self.at == self.message.len() {
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

    /// An error at the present position.
    pub(super) fn malformed(&self, what: &'static str) -> Error {
        Error::Malformed { what, at: self.at, of: self.message.len() }
    }

    fn varint(&mut self) -> Result<u64, Error> {
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
