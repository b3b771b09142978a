//! Reads a whole log in its order, and says what is missing from it.
//!
//! Reading changes nothing. What was not acknowledged and is there all the same is handed out, too: it counted before.
//!
//! The invariant: sequences rise, and every one from the first asked for to the last found is handed out, or was
//! given up by whoever wrote the log, or is counted as lost in the [`Report`].

use std::{fmt, ops::Range, sync::Arc};

use super::{
    OpenError, Record, Sequence,
    format::{FORMAT_VERSION, HeaderError},
    segment::{self, DIRECTORY, Item, SegmentReader, name_of},
};
use crate::{storage::disk::Disk, telemetry::LogMetrics, time::Timestamp};

/// The records of a log from a sequence on, as an iterator. Holds a megabyte, or a record that is larger.
#[derive(Debug)]
pub struct Recovery {
    disk: Arc<dyn Disk>,
    from: u64,
    /// All that there are.
    on_disk: Vec<Segment>,
    /// Those that were begun.
    segments: Vec<Segment>,
    /// Which segment comes next.
    index: usize,
    reader: Option<SegmentReader>,
    /// The sequence behind those met.
    expected: u64,
    /// Where the records end that were acknowledged, as far as can be told.
    solid_end: Sequence,
    /// A sequence behind every one that a segment may have.
    end: Sequence,
    report: Report,
}

/// What reading a log came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records handed out.
    pub records: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Records that were written and cannot be read.
    pub corrupt: u64,
    /// Records of segments that are not there.
    pub missing: u64,
    /// What was found wrong; of more than a thousand findings the first ones.
    pub findings: Vec<Finding>,
}

/// Something wrong with a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Damaged bytes in the middle of a segment, and the records that were lost with them.
    Corrupt {
        /// The file.
        segment: String,
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        bytes: u64,
        /// What is lost; empty if the bytes were no record.
        sequences: Range<u64>,
    },
    /// Bytes that are no record at the end of what was written before the process ended or the disk failed.
    Torn {
        /// The file.
        segment: String,
        /// Where in the file.
        offset: u64,
        /// How many bytes.
        bytes: u64,
    },
    /// The header of a segment; its records are not affected.
    Header {
        /// The file.
        segment: String,
    },
    /// The file system does not give the rest of a segment.
    Unreadable {
        /// The file.
        segment: String,
        /// From where on.
        offset: u64,
        /// The file system's words.
        error: String,
    },
    /// Records of which nothing is there.
    Missing {
        /// Their sequences.
        sequences: Range<u64>,
    },
    /// There are no segments at all, although there was a log.
    Gone {
        /// The sequence that was to come next.
        from: u64,
    },
}

/// A segment on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// The sequence that it begins with.
    pub first: Sequence,
    /// Where the acknowledged records before it end.
    pub follows: Sequence,
    /// When it was made, if that is known.
    pub created: Option<Timestamp>,
    /// How much of the disk it takes.
    pub bytes: u64,
    /// Whether its header was written to the end. If not, nothing else was written.
    pub is_begun: bool,
}

// Enough to see what is going on, and little memory.
const FINDINGS_MAX: usize = 1_000;

// === impl Recovery ===

impl Recovery {
    /// Reads the log in `log/` from this sequence on.
    ///
    /// # Errors
    /// When files cannot be read, or are none of a log's that this version knows.
    pub fn open(disk: Arc<dyn Disk>, from: Sequence) -> Result<Self, OpenError> {
        let mut report = Report::default();
        let on_disk = survey(&*disk, &mut report)?;
        Self::of(disk, on_disk, from, report)
    }

    /// Reads all that there is of the log in `log/`. Given a position, what should be there from it on and is not is
    /// found missing.
    ///
    /// # Errors
    /// As [`Recovery::open`].
    pub fn open_whole(disk: Arc<dyn Disk>, position: Option<Sequence>) -> Result<Self, OpenError> {
        let mut report = Report::default();
        let on_disk = survey(&*disk, &mut report)?;
        let oldest = on_disk.iter().find(|segment| segment.is_begun).map(|segment| segment.follows);
        let from = oldest.into_iter().chain(position).min().unwrap_or_default();
        Self::of(disk, on_disk, from, report)
    }

    fn of(
        disk: Arc<dyn Disk>,
        on_disk: Vec<Segment>,
        from: Sequence,
        mut report: Report,
    ) -> Result<Self, OpenError> {
        let segments: Vec<_> = on_disk.iter().copied().filter(|segment| segment.is_begun).collect();
        // Those before the last one that does not begin behind `from` hold nothing that is asked for.
        let index = segments.partition_point(|segment| segment.first <= from).saturating_sub(1);
        let (solid_end, end) = match segments.last() {
            Some(newest) => ends(&*disk, *newest)?,
            None => (Sequence(0), Sequence(0)),
        };
        // The name of the newest is taken, whatever is in it.
        let end = on_disk.last().map_or(end, |newest| end.max(Sequence(newest.first.0 + 1)));
        if on_disk.is_empty() && from.0 > 0 {
            report.add(Finding::Gone { from: from.0 });
        }
        let (from, expected) = (from.0, from.0);
        Ok(Self { disk, from, on_disk, segments, index, reader: None, expected, solid_end, end, report })
    }

    /// What was found up to here.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// The sequence of the oldest record that may be there; `None` without segments.
    pub fn oldest(&self) -> Option<Sequence> {
        self.segments.first().map(|segment| segment.first)
    }

    /// All segments from the oldest to the newest.
    pub fn on_disk(&self) -> &[Segment] {
        &self.on_disk
    }

    /// The newest segment that was begun, and those after it.
    pub(super) fn unsettled(&self) -> &[Segment] {
        let settled = self.on_disk.iter().rposition(|segment| segment.is_begun).unwrap_or(0);
        &self.on_disk[settled..]
    }

    /// Where the records end that were acknowledged, as far as can be told.
    pub(super) fn solid_end(&self) -> Sequence {
        self.solid_end
    }

    /// A sequence that no record on the disk has, nor any after it.
    pub(super) fn end(&self) -> Sequence {
        self.end
    }

    /// Begins with the next segment. False if there is none.
    fn open_segment(&mut self) -> bool {
        let Some(segment) = self.segments.get(self.index) else { return false };
        let (first, follows) = (segment.first, segment.follows);
        let limit = self.segments.get(self.index + 1).map_or(u64::MAX, |next| next.first.0);
        self.index += 1;
        self.note_missing(follows.0);
        self.expected = self.expected.max(first.0);
        match SegmentReader::open(&*self.disk, &name_of(first), first.0..limit) {
            Ok(reader) => self.reader = Some(reader),
            Err(error) => self.note_unreadable(0, &error),
        }
        true
    }

    fn handle(&mut self, item: Item) -> Option<Record> {
        match item {
            Item::Record(record) => {
                self.expected = record.sequence.0 + 1;
                self.report.records += 1;
                self.report.bytes += record.entry.body.len() as u64;
                return Some(record);
            }
            Item::Corrupt { offset, bytes, sequences } => self.note_corrupt(offset, bytes, sequences),
            Item::Torn { offset, bytes } => {
                let sequences = self.expected..self.acknowledged_end();
                self.note_corrupt(offset, bytes, sequences);
            }
            Item::Unreadable { offset, error } => self.note_unreadable(offset, &error),
        }
        None
    }

    /// Where the acknowledged records of the segment being read end.
    fn acknowledged_end(&self) -> u64 {
        self.segments.get(self.index).map_or(self.solid_end, |next| next.follows).0
    }

    fn note_corrupt(&mut self, offset: u64, bytes: u64, sequences: Range<u64>) {
        let segment = self.segment_name();
        let lost = sequences.start.max(self.from)..sequences.end.min(self.acknowledged_end());
        self.expected = self.expected.max(sequences.end);
        self.report.corrupt += lost.end.saturating_sub(lost.start);
        let is_torn = lost.is_empty() && !(sequences.is_empty() && sequences.start < self.acknowledged_end());
        self.report.add(if is_torn {
            Finding::Torn { segment, offset, bytes }
        } else {
            Finding::Corrupt { segment, offset, bytes, sequences: lost }
        });
    }

    fn note_missing(&mut self, below: u64) {
        if below > self.expected {
            let sequences = self.expected..below;
            self.report.missing += below - self.expected;
            self.report.add(Finding::Missing { sequences });
        }
    }

    fn note_unreadable(&mut self, offset: u64, error: &std::io::Error) {
        let segment = self.segment_name();
        self.report.add(Finding::Unreadable { segment, offset, error: error.to_string() });
    }

    /// Of the segment being read.
    fn segment_name(&self) -> String {
        name_of(self.segments[self.index - 1].first)
    }
}

impl Iterator for Recovery {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            match self.reader.as_mut().map(|reader| reader.next(self.from)) {
                Some(Some(item)) => {
                    if let Some(record) = self.handle(item) {
                        return Some(record);
                    }
                }
                Some(None) => {
                    let reached = self.reader.take().map_or(0, |reader| reader.next_sequence());
                    self.expected = self.expected.max(reached);
                }
                None if self.open_segment() => (),
                None => return None,
            }
        }
    }
}

/// Whether the log in `log/` is one that this version reads, as far as its headers say.
///
/// # Errors
/// As [`Recovery::open`].
pub fn check(disk: &dyn Disk) -> Result<(), OpenError> {
    survey(disk, &mut Report::default()).map(drop)
}

/// The segments there are, oldest first.
fn survey(disk: &dyn Disk, report: &mut Report) -> Result<Vec<Segment>, OpenError> {
    let names =
        disk.list(DIRECTORY).map_err(|source| OpenError::Io { name: DIRECTORY.to_owned(), source })?;
    let firsts = names.iter().filter_map(|name| segment::first_of(name));
    firsts.map(|first| inspect(disk, first, report)).collect()
}

fn inspect(disk: &dyn Disk, first: Sequence, report: &mut Report) -> Result<Segment, OpenError> {
    let name = name_of(first);
    let io = |source| OpenError::Io { name: name.clone(), source };
    let bytes = disk.open(&name).and_then(|file| file.len()).map_err(io)?;
    let unknown = Segment { first, follows: first, created: None, bytes, is_begun: true };
    match segment::read_header(disk, &name).map_err(io)? {
        Ok(header) if header.first == first => {
            Ok(Segment { follows: header.follows, created: Some(header.created), ..unknown })
        }
        Ok(header) => Err(OpenError::Misnamed { name, first: header.first }),
        Err(HeaderError::Newer(version)) => {
            Err(OpenError::Newer { name, version, supported: FORMAT_VERSION })
        }
        // The name says as much as is needed.
        Err(_) if has_records(disk, unknown)? => {
            report.add(Finding::Header { segment: name });
            Ok(unknown)
        }
        // The process ended while it made this one, so there is nothing in it yet.
        Err(HeaderError::Damaged) => Ok(Segment { is_begun: false, ..unknown }),
        Err(HeaderError::Foreign) => Err(OpenError::Foreign { name }),
    }
}

fn has_records(disk: &dyn Disk, segment: Segment) -> Result<bool, OpenError> {
    let mut reader = open(disk, segment)?;
    let mut items = std::iter::from_fn(|| reader.next(0));
    Ok(items.any(|item| matches!(item, Item::Record(_))))
}

/// Of the newest segment: where the records end that may have been acknowledged, and a sequence behind all in it.
fn ends(disk: &dyn Disk, newest: Segment) -> Result<(Sequence, Sequence), OpenError> {
    let mut reader = open(disk, newest)?;
    while reader.next(newest.first.0).is_some() {}
    let is_solid = reader.solid() > newest.first.0;
    let solid_end = if is_solid { Sequence(reader.solid()) } else { newest.follows };
    Ok((solid_end, Sequence(reader.next_sequence())))
}

fn open(disk: &dyn Disk, segment: Segment) -> Result<SegmentReader, OpenError> {
    let name = name_of(segment.first);
    let reader = SegmentReader::open(disk, &name, segment.first.0..u64::MAX);
    reader.map_err(|source| OpenError::Io { name, source })
}

// === impl Segment ===

impl Segment {
    /// The name of its file.
    pub fn name(&self) -> String {
        name_of(self.first)
    }
}

// === impl Report ===

impl Report {
    /// How many records that may have been acknowledged are gone.
    pub fn lost(&self) -> u64 {
        self.corrupt + self.missing
    }

    /// Adds this to what recovering is counted by.
    pub fn count(&self, metrics: &LogMetrics) {
        metrics.recovered.inc_by(self.records);
        metrics.corrupt.inc_by(self.corrupt);
        metrics.missing.inc_by(self.missing);
    }

    fn add(&mut self, finding: Finding) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt { segment, offset, bytes, sequences } => {
                let lost = sequences.end.saturating_sub(sequences.start);
                write!(f, "{segment}: {bytes} damaged bytes at {offset}, records lost: {lost}")?;
                if lost > 0 { write!(f, " (from sequence {})", sequences.start) } else { Ok(()) }
            }
            Self::Torn { segment, offset, bytes } => {
                write!(f, "{segment}: the last {bytes} bytes, at {offset}, were never written to their end")
            }
            Self::Header { segment } => write!(f, "{segment}: the header is damaged, its records are not"),
            Self::Unreadable { segment, offset, error } => {
                write!(f, "{segment}: cannot be read from {offset} on: {error}")
            }
            Self::Missing { sequences } => {
                let count = sequences.end - sequences.start;
                write!(f, "{count} records are missing (from sequence {})", sequences.start)
            }
            Self::Gone { from } => {
                write!(f, "there is no log in {DIRECTORY}/, but one went up to sequence {from} at least")
            }
        }
    }
}
