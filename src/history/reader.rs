//! From lines to samples: which series a line is of, what is counted, and what is too much.

use std::{
    hash::BuildHasher,
    io::{self, BufRead, Read},
};

use foldhash::{HashMap, HashMapExt, fast::FixedState};

use super::{
    BadLine, Format, ReadError, Sample, Summary, block, dump,
    line::{self, Line, Parts},
    number_or_marker, openmetrics,
};
use crate::labels::{Labels, LabelsRef};

/// Of a file of another kind nearly every line is bad; of one with a flaw, not so many.
pub(super) const BAD_LINES_MAX: u64 = 1_000;
// Enough to see what is wrong with them.
const BAD_LINES_TOLD: usize = 5;
// Samples take some hundreds of bytes, and a label's value may be a stack trace.
const LINE_BYTES_MAX: u64 = 1 << 20;
// Three times 30 days of 1,000 series at 30 s; 4 GiB of plain samples.
const SAMPLES_MAX: u64 = 1 << 28;

/// Which series are wanted, by the bytes that they are written with.
struct Table<F> {
    is_wanted: F,
    unescape: block::Unescape,
    /// By the hash of the bytes; `None`: not wanted.
    by_bytes: HashMap<u64, Option<usize>>,
    /// The same series may be written in several ways.
    by_labels: HashMap<Labels, usize>,
    labels: Vec<Labels>,
    /// The last line's, which is often the next one's, too.
    last: Vec<u8>,
    last_series: Option<usize>,
}

/// Lines of an input, at most so long.
struct Lines<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
}

enum Next {
    Line,
    TooLong,
    CutOff,
    End,
}

/// Reads all lines, and passes on the samples of wanted series, with their number and labels. Returns the labels of each number.
pub(super) fn read(
    input: impl BufRead,
    format: Format,
    is_wanted: impl FnMut(&LabelsRef<'_>) -> bool,
    mut keep: impl FnMut(usize, &Labels, Sample),
) -> Result<(Vec<Labels>, Summary), ReadError> {
    let mut lines = Lines { input, line: Vec::new(), number: 0 };
    let mut table = Table::new(is_wanted, format);
    let mut summary = Summary::default();
    loop {
        let next = lines.next().map_err(|error| ReadError::Io { line: lines.number, error })?;
        let read = match next {
            Next::End => break,
            Next::Line => summary.count(&lines.line, format, &mut table, &mut keep),
            Next::TooLong => Err(format!("it has more than {LINE_BYTES_MAX} bytes")),
            Next::CutOff => Err("it does not end with a line feed; the file may be cut off".to_owned()),
        };
        summary.lines = lines.number;
        if let Err(reason) = read {
            summary.refuse(reason, format)?;
        }
        if summary.samples > SAMPLES_MAX {
            return Err(ReadError::TooManySamples(SAMPLES_MAX));
        }
    }
    Ok((table.labels, summary))
}

fn sample(format: Format, parts: Parts<'_>) -> Result<Sample, String> {
    let value = number_or_marker(line::number(parts.value)?);
    let at = match format {
        Format::OpenMetrics => openmetrics::time(parts.time)?,
        Format::Dump => dump::time(parts.time)?,
    };
    Ok(Sample { at, value })
}

// === impl Summary ===

impl Summary {
    fn count(
        &mut self,
        line: &[u8],
        format: Format,
        table: &mut Table<impl FnMut(&LabelsRef<'_>) -> bool>,
        keep: &mut impl FnMut(usize, &Labels, Sample),
    ) -> Result<(), String> {
        self.has_eof = line == b"# EOF";
        if line.first().is_none_or(|first| *first == b'#') || line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Line::Sample(parts) = line::split(line, &table.last)? else {
            self.histograms += 1;
            return Ok(());
        };
        let Some(series) = table.find(parts.series)? else {
            self.others += 1;
            return Ok(());
        };
        keep(series, &table.labels[series], sample(format, parts)?);
        self.samples += 1;
        Ok(())
    }

    fn refuse(&mut self, reason: String, format: Format) -> Result<(), ReadError> {
        self.bad_lines += 1;
        if self.first_bad.len() < BAD_LINES_TOLD {
            self.first_bad.push(BadLine { line: self.lines, reason });
        }
        if self.bad_lines > BAD_LINES_MAX {
            return Err(ReadError::TooManyBadLines { format, first: std::mem::take(&mut self.first_bad) });
        }
        Ok(())
    }
}

// === impl Table ===

impl<F: FnMut(&LabelsRef<'_>) -> bool> Table<F> {
    fn new(is_wanted: F, format: Format) -> Self {
        let unescape = match format {
            Format::OpenMetrics => openmetrics::unescape,
            Format::Dump => dump::unescape,
        };
        Self {
            is_wanted,
            unescape,
            by_bytes: HashMap::new(),
            by_labels: HashMap::new(),
            labels: Vec::new(),
            last: Vec::new(),
            last_series: None,
        }
    }

    /// The number of a series, if it is wanted.
    fn find(&mut self, series: &[u8]) -> Result<Option<usize>, String> {
        if series == self.last {
            return Ok(self.last_series);
        }
        let hash = FixedState::default().hash_one(series);
        let found = match self.by_bytes.get(&hash) {
            Some(found) => *found,
            None => {
                let found = self.meet(series)?;
                self.by_bytes.insert(hash, found);
                found
            }
        };
        self.last.clear();
        self.last.extend_from_slice(series);
        self.last_series = found;
        Ok(found)
    }

    fn meet(&mut self, series: &[u8]) -> Result<Option<usize>, String> {
        let pairs = block::labels(series, self.unescape)?;
        let mut pairs = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        let labels = LabelsRef::new(&mut pairs).map_err(|error| error.to_string())?;
        if !(self.is_wanted)(&labels) {
            return Ok(None);
        }
        let labels = Labels::new(labels.iter()).map_err(|error| error.to_string())?;
        let number = *self.by_labels.entry(labels.clone()).or_insert(self.labels.len());
        if number == self.labels.len() {
            self.labels.push(labels);
        }
        Ok(Some(number))
    }
}

// === impl Lines ===

impl<R: BufRead> Lines<R> {
    /// Reads the next line, without its end.
    fn next(&mut self) -> io::Result<Next> {
        self.line.clear();
        let input = &mut self.input;
        if input.take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(Next::End);
        }
        self.number += 1;
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.line.pop_if(|last| *last == b'\r');
            return Ok(Next::Line);
        }
        match self.skip()? {
            _ if self.line == b"# EOF" => Ok(Next::Line),
            0 => Ok(Next::CutOff),
            _ => Ok(Next::TooLong),
        }
    }

    /// Leaves out the rest of a line.
    fn skip(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let part = self.input.fill_buf()?;
            let end = memchr::memchr(b'\n', part);
            let length = end.map_or(part.len(), |end| end + 1);
            self.input.consume(length);
            skipped += length as u64;
            if end.is_some() || length == 0 {
                return Ok(skipped);
            }
        }
    }
}
