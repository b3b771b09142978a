//! Reads one segment from end to end, past what is damaged in it.
//!
//! A damaged body is skipped by the length in its header. Behind a damaged header the next record is looked for by
//! its marker and the checksum of its header. What is read is held a chunk at a time; bodies are parts of it.

use std::{io, ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::{
    Entry, Record, Sequence,
    format::{HeaderError, MARKER, RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader},
};
use crate::storage::disk::{Disk, DiskFile};

/// A segment that is being read.
#[derive(Debug)]
pub(super) struct SegmentReader {
    file: Arc<dyn DiskFile>,
    len: u64,
    /// Sequences that its records may still have.
    sequences: Range<u64>,
    /// The bytes of the file from `chunk_at` on.
    chunk: Bytes,
    chunk_at: u64,
    /// Where the next record is.
    at: u64,
    /// Where the records end that were acknowledged or are all there: what is missing behind may never have been
    /// written to its end.
    solid: u64,
}

/// What stands next in a segment.
#[derive(Debug)]
pub(super) enum Item {
    /// A record as it was written.
    Record(Record),
    /// A record with a damaged body, or damage with a record behind it. Without sequences it cost none.
    Corrupt { offset: u64, bytes: u64, sequences: Range<u64> },
    /// Damage up to the end of the file.
    Torn { offset: u64, bytes: u64 },
    /// The file system does not give the rest.
    Unreadable { offset: u64, error: io::Error },
}

// As much as the file system reads ahead and the processor's second cache holds; larger ones read no faster.
const CHUNK_BYTES: usize = 1 << 20;

/// Where the segments are.
pub(super) const DIRECTORY: &str = "log";

/// The name of the segment that begins with this sequence.
pub(super) fn name_of(first: Sequence) -> String {
    format!("{DIRECTORY}/{:020}.log", first.0)
}

/// The sequence that a segment of this name begins with; `None` if it is no segment's.
pub(super) fn first_of(file_name: &str) -> Option<Sequence> {
    let digits = file_name.strip_suffix(".log")?;
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_ours { digits.parse().ok().map(Sequence) } else { None }
}

/// The header of a segment.
pub(super) fn read_header(disk: &dyn Disk, name: &str) -> io::Result<Result<SegmentHeader, HeaderError>> {
    let file = disk.open(name)?;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let len = file.len()?.min(SEGMENT_HEADER_BYTES as u64) as usize;
    file.read_exact_at(&mut bytes[..len], 0)?;
    Ok(SegmentHeader::decode(&bytes))
}

// === impl SegmentReader ===

impl SegmentReader {
    /// Reads the records of these sequences, and of no others.
    pub(super) fn open(disk: &dyn Disk, name: &str, sequences: Range<u64>) -> io::Result<Self> {
        let file = disk.open(name)?;
        let len = file.len()?;
        let (at, solid) = (SEGMENT_HEADER_BYTES as u64, sequences.start);
        Ok(Self { file, len, sequences, chunk: Bytes::new(), chunk_at: at, at, solid })
    }

    /// The sequence behind those met.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequences.start
    }

    /// Where the records end that were acknowledged or are all there, of those met.
    pub(super) fn solid(&self) -> u64 {
        self.solid
    }

    /// Goes on to the next item. Bodies of records below `from` are neither checked nor handed out.
    pub(super) fn next(&mut self, from: u64) -> Option<Item> {
        self.try_next(from).unwrap_or_else(|error| {
            let offset = std::mem::replace(&mut self.at, self.len);
            Some(Item::Unreadable { offset, error })
        })
    }

    fn try_next(&mut self, from: u64) -> io::Result<Option<Item>> {
        loop {
            let Some(header) = self.header()? else { return self.resume() };
            if header.sequence.0 > self.sequences.start {
                return Ok(Some(self.pass(self.at, header.sequence.0)));
            }
            let (offset, bytes) = (self.at, header.record_bytes());
            if header.sequence.0 < from {
                self.at += bytes as u64;
                self.sequences.start += 1;
                continue;
            }
            let body = self.bytes(offset, bytes)?.slice(RECORD_HEADER_BYTES..);
            self.at += bytes as u64;
            if !header.matches(&body) {
                return Ok(Some(self.pass(offset, header.sequence.0 + 1)));
            }
            self.sequences.start += 1;
            self.extend_solid(&header);
            let entry = entry(&header, body);
            return Ok(Some(Item::Record(Record { sequence: header.sequence, entry })));
        }
    }

    fn extend_solid(&mut self, header: &RecordHeader) {
        let sequence = header.sequence.0;
        self.solid = self.solid.max(sequence.saturating_sub(u64::from(header.unacknowledged)));
        if self.solid == sequence {
            self.solid += 1;
        }
    }

    /// Goes on to a sequence without those before it, whose bytes were from `offset` to the place reached.
    fn pass(&mut self, offset: u64, sequence: u64) -> Item {
        let sequences = std::mem::replace(&mut self.sequences.start, sequence)..sequence;
        Item::Corrupt { offset, bytes: self.at - offset, sequences }
    }

    /// The header at the place reached, if a record that belongs there fits behind it.
    fn header(&mut self) -> io::Result<Option<RecordHeader>> {
        if self.len.saturating_sub(self.at) < RECORD_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let bytes = self.bytes(self.at, RECORD_HEADER_BYTES)?;
        Ok(RecordHeader::decode(&bytes).filter(|header| self.belongs(self.at, header)))
    }

    fn belongs(&self, at: u64, header: &RecordHeader) -> bool {
        self.sequences.contains(&header.sequence.0) && header.record_bytes() as u64 <= self.len - at
    }

    /// Goes to the next record behind what is none.
    fn resume(&mut self) -> io::Result<Option<Item>> {
        let (offset, mut dirty_end) = (self.at, self.at);
        while self.at < self.len {
            let chunk = self.chunk_from(self.at)?;
            let found = self.find_record(&chunk);
            let passed = &chunk[..found.map_or(chunk.len(), |(at, _)| at)];
            if let Some(last) = passed.iter().rposition(|byte| *byte != 0) {
                dirty_end = self.at + last as u64 + 1;
            }
            if let Some((at, sequence)) = found {
                self.at += at as u64;
                return Ok(Some(self.pass(offset, sequence)));
            }
            // A header may lie across the end of the chunk.
            let is_last = self.at + chunk.len() as u64 == self.len;
            self.at += (chunk.len() - if is_last { 0 } else { RECORD_HEADER_BYTES - 1 }) as u64;
        }
        // Zeros at the end were reserved and never written.
        let bytes = dirty_end - offset;
        Ok((bytes > 0).then_some(Item::Torn { offset, bytes }))
    }

    /// The first record that belongs somewhere in this chunk, which begins at the place reached.
    fn find_record(&self, chunk: &[u8]) -> Option<(usize, u64)> {
        memmem::find_iter(chunk, MARKER).find_map(|at| {
            let header = RecordHeader::decode(&chunk[at..])?;
            self.belongs(self.at + at as u64, &header).then_some((at, header.sequence.0))
        })
    }

    /// These bytes of the file, which has them.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<Bytes> {
        let chunk_end = self.chunk_at + self.chunk.len() as u64;
        if offset < self.chunk_at || offset + count as u64 > chunk_end {
            self.read(offset, count)?;
        }
        let start = (offset - self.chunk_at) as usize;
        Ok(self.chunk.slice(start..start + count))
    }

    /// What is at hand from `offset` on, a header at least unless the file ends before.
    fn chunk_from(&mut self, offset: u64) -> io::Result<Bytes> {
        let count = (self.len - offset).min(RECORD_HEADER_BYTES as u64) as usize;
        self.bytes(offset, count)?;
        Ok(self.chunk.slice((offset - self.chunk_at) as usize..))
    }

    /// Fills the chunk from `offset` on, with `count` bytes at least.
    fn read(&mut self, offset: u64, count: usize) -> io::Result<()> {
        let wanted = (count.max(CHUNK_BYTES) as u64).min(self.len - offset) as usize;
        // Its memory is used again once nobody holds a body in it.
        let mut buffer = std::mem::take(&mut self.chunk).try_into_mut().unwrap_or_else(|_| BytesMut::new());
        buffer.resize(wanted, 0);
        self.file.read_exact_at(&mut buffer, offset)?;
        self.chunk = buffer.freeze();
        self.chunk_at = offset;
        Ok(())
    }
}

fn entry(header: &RecordHeader, body: Bytes) -> Entry {
    Entry { arrived: header.arrived, version: header.version, epoch: header.epoch, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_segments_are_taken_for_them() {
        assert_eq!(name_of(Sequence(7)), "log/00000000000000000007.log");
        assert_eq!(first_of("00000000000000000007.log"), Some(Sequence(7)));
        assert_eq!(first_of("18446744073709551615.log"), Some(Sequence(u64::MAX)));
        for name in
            ["7.log", "0000000000000000007x.log", "00000000000000000007.log.bak", "99999999999999999999.log"]
        {
            assert_eq!(first_of(name), None, "{name}");
        }
    }
}
