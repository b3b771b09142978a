//! The bytes of segments and records. `docs/format/log.md` says the same for other programs.
//!
//! This module reads and writes headers, and knows no files.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Entry, Sequence};
use crate::{prompb::Version, time::Timestamp};

/// How long the header of a segment is.
pub(super) const SEGMENT_HEADER_BYTES: usize = 48;
/// How long the header of a record is.
pub(super) const RECORD_HEADER_BYTES: usize = 44;
/// The version of the format that is written, and the newest that is read.
pub(super) const FORMAT_VERSION: u32 = 1;
/// What a header of a record begins with, so that the next one is found behind damage.
pub(super) const MARKER: &[u8; 3] = b"rec";

// A name for `file` and `hexdump`, and no text: the bytes after it tell when line ends were converted.
const MAGIC: &[u8; 8] = b"slodlog\n";
// What the header of a record has its own checksum of.
const CHECKED_BYTES: usize = 32;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Of its first record.
    pub(super) first: Sequence,
    /// Where the acknowledged records before it end. What lies between this and `first` was given up.
    pub(super) follows: Sequence,
    /// When it was made: all records of segments before it had arrived by then.
    pub(super) created: Timestamp,
}

/// Why bytes are no header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    /// The checksum does not match, or bytes are missing.
    Damaged,
    /// It does not begin like a segment.
    Foreign,
    /// Of a format that this version does not know.
    Newer(u32),
}

/// What stands before the body of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) sequence: Sequence,
    pub(super) arrived: Timestamp,
    pub(super) version: Version,
    pub(super) epoch: u32,
    /// How many records right before it were not acknowledged yet when it was written.
    pub(super) unacknowledged: u32,
    pub(super) body_bytes: u32,
    /// Of the body, with these fields mixed in.
    checksum: u64,
    /// Of these fields.
    seed: u64,
}

// === impl SegmentHeader ===

impl SegmentHeader {
    pub(super) fn encode(self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.follows.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created.0.to_le_bytes());
        let checksum = xxh3_64(&bytes[..40]);
        bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<Self, HeaderError> {
        if xxh3_64(&bytes[..40]) != u64_at(bytes, 40) {
            // Of a header that was not written to its end some bytes are zero, and disks change one bit, not a word.
            let others = bytes.iter().zip(MAGIC).filter(|(byte, ours)| byte != ours && **byte != 0);
            return Err(if others.count() <= 1 { HeaderError::Damaged } else { HeaderError::Foreign });
        }
        match u32_at(bytes, 8) {
            _ if bytes[..8] != *MAGIC => Err(HeaderError::Foreign),
            FORMAT_VERSION => Ok(Self {
                first: Sequence(u64_at(bytes, 16)),
                follows: Sequence(u64_at(bytes, 24)),
                created: Timestamp(u64_at(bytes, 32) as i64),
            }),
            version => Err(HeaderError::Newer(version)),
        }
    }
}

// === impl RecordHeader ===

impl RecordHeader {
    /// The header in these bytes; `None` if there is none.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
        if bytes[..3] != *MARKER {
            return None;
        }
        let seed = xxh3_64(&bytes[..CHECKED_BYTES]);
        if seed as u32 != u32_at(bytes, CHECKED_BYTES) {
            return None;
        }
        Some(Self {
            version: version(bytes[3])?,
            body_bytes: u32_at(bytes, 4),
            sequence: Sequence(u64_at(bytes, 8)),
            arrived: Timestamp(u64_at(bytes, 16) as i64),
            epoch: u32_at(bytes, 24),
            unacknowledged: u32_at(bytes, 28),
            checksum: u64_at(bytes, CHECKED_BYTES + 4),
            seed,
        })
    }

    /// Whether this is the body that it was written with.
    pub(super) fn matches(&self, body: &[u8]) -> bool {
        xxh3_64_with_seed(body, self.seed) == self.checksum
    }

    /// How long the record is, header and body.
    pub(super) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.body_bytes as usize
    }
}

/// Writes a record behind what is in `buffer`. So many right before it are not acknowledged.
pub(super) fn encode_record(sequence: Sequence, entry: &Entry, unacknowledged: usize, buffer: &mut Vec<u8>) {
    // A larger number says less than is known, and nothing wrong.
    let unacknowledged = u32::try_from(unacknowledged).unwrap_or(u32::MAX);
    let body_bytes = u32::try_from(entry.body.len()).expect("`Log::append` turns away longer ones");
    let mut bytes = [0; RECORD_HEADER_BYTES];
    bytes[..3].copy_from_slice(MARKER);
    bytes[3] = version_number(entry.version);
    bytes[4..8].copy_from_slice(&body_bytes.to_le_bytes());
    bytes[8..16].copy_from_slice(&sequence.0.to_le_bytes());
    bytes[16..24].copy_from_slice(&entry.arrived.0.to_le_bytes());
    bytes[24..28].copy_from_slice(&entry.epoch.to_le_bytes());
    bytes[28..32].copy_from_slice(&unacknowledged.to_le_bytes());
    let seed = xxh3_64(&bytes[..CHECKED_BYTES]);
    bytes[32..36].copy_from_slice(&(seed as u32).to_le_bytes());
    bytes[36..].copy_from_slice(&xxh3_64_with_seed(&entry.body, seed).to_le_bytes());
    buffer.extend_from_slice(&bytes);
    buffer.extend_from_slice(&entry.body);
}

/// How long a record of this body is.
pub(super) fn record_bytes(body: &[u8]) -> u64 {
    (RECORD_HEADER_BYTES + body.len()) as u64
}

fn version_number(version: Version) -> u8 {
    match version {
        Version::V1 => 1,
        Version::V2 => 2,
    }
}

fn version(number: u8) -> Option<Version> {
    match number {
        1 => Some(Version::V1),
        2 => Some(Version::V2),
        _ => None,
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const HEADER: SegmentHeader =
        SegmentHeader { first: Sequence(9), follows: Sequence(7), created: Timestamp(-5) };

    #[track_caller]
    fn check(damage: impl FnOnce(&mut [u8]), expected: Result<SegmentHeader, HeaderError>) {
        let mut bytes = HEADER.encode();
        damage(&mut bytes);
        assert_eq!(SegmentHeader::decode(&bytes), expected);
    }

    #[test]
    fn a_segment_header_says_what_is_wrong_with_it() {
        check(|_| (), Ok(HEADER));
        check(|bytes| bytes[20] ^= 1, Err(HeaderError::Damaged));
        check(|bytes| bytes[5] ^= 2, Err(HeaderError::Damaged));
        check(|bytes| bytes.fill(0), Err(HeaderError::Damaged));
        check(|bytes| bytes[5..].fill(0), Err(HeaderError::Damaged));
        check(|bytes| bytes[..4].copy_from_slice(b"\x7fELF"), Err(HeaderError::Foreign));
        let newer = |bytes: &mut [u8]| {
            bytes[8] = 2;
            let checksum = xxh3_64(&bytes[..40]);
            bytes[40..].copy_from_slice(&checksum.to_le_bytes());
        };
        check(newer, Err(HeaderError::Newer(2)));
    }

    #[test]
    fn no_bit_of_a_record_is_without_a_checksum() {
        let body = Bytes::from_static(b"body");
        let entry = Entry { arrived: Timestamp(-1), version: Version::V2, epoch: 3, body: body.clone() };
        let mut bytes = Vec::new();
        encode_record(Sequence(5), &entry, 4, &mut bytes);
        let header = RecordHeader::decode(&bytes).unwrap();
        assert!(header.matches(&body));
        assert_eq!(header.record_bytes(), bytes.len());
        assert_eq!((header.sequence, header.arrived), (Sequence(5), entry.arrived));
        assert_eq!((header.version, header.epoch, header.unacknowledged), (entry.version, entry.epoch, 4));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let (header, body) = (RecordHeader::decode(&bytes), &bytes[RECORD_HEADER_BYTES..]);
            assert!(header.is_none_or(|header| !header.matches(body)), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
