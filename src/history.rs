//! Samples of the past, and the files that they are read from.
//!
//! Two formats are read, line by line: [`Format::OpenMetrics`], with what Prometheus' text format differs in, and
//! [`Format::Dump`], what `promtool tsdb dump` prints. Only the samples of wanted series are kept. A series is known
//! by a hash of the bytes that its labels are written with, as in `ingest`, so that labels are parsed once. A line
//! that cannot be read is an error for itself: it is counted, the first few are told, and the rest is read.
//!
//! No text can say that a series ended: promtool prints Prometheus' staleness marker as `NaN`, like any other NaN. A NaN
//! is read as the marker ([`number_or_marker`]), since nearly every NaN of a TSDB is one, and no other is worth anything
//! to a counter or as an event.
//!
//! Sketch: a line of 100 bytes is two passes of `memchr`, a hash and two numbers, so 100 ns or less. Measured on a busy
//! machine, 110 to 130 bytes a line: 7 million samples a second of a dump, which goes series by series; 4 million of
//! an exposition that goes through 1,000 series at each time, whose samples lie far from each other in memory; 10
//! million of series that nobody wants.
//!
//! It does not know SLOs, and opens no files. The invariant: the samples of a series are in the order of time, each
//! time once.

mod block;
mod dump;
mod line;
mod openmetrics;
mod reader;
pub mod xor;

use std::{
    fmt,
    io::{self, BufRead},
};

use crate::{
    counter::STALE_MARKER_BITS,
    labels::{Labels, LabelsRef},
    time::Timestamp,
};

/// A sample as it was scraped. A staleness marker is one, too, by the bits of its value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was scraped.
    pub at: Timestamp,
    /// Its value.
    pub value: f64,
}

/// A series and its samples, in the order of time, each time once.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels; the metric name is among them.
    pub labels: Labels,
    /// Its samples.
    pub samples: Vec<Sample>,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0, or Prometheus' text format; every sample has its time.
    ///
    /// OpenMetrics has seconds, the text format milliseconds. A number below 10^11 is taken for seconds: in seconds
    /// it would be the year 5138, in milliseconds 1973.
    OpenMetrics,
    /// What `promtool tsdb dump` prints. Native histograms are counted, and left out.
    Dump,
}

/// What a file was made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines of any kind.
    pub lines: u64,
    /// Samples of wanted series.
    pub samples: u64,
    /// Samples of other series.
    pub others: u64,
    /// Native histograms, which are left out.
    pub histograms: u64,
    /// Lines that could not be read.
    pub bad_lines: u64,
    /// The first of them.
    pub first_bad: Vec<BadLine>,
    /// Whether the last line is `# EOF`, with which OpenMetrics ends. Without it such a file may have been cut off.
    pub has_eof: bool,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct BadLine {
    /// Its number, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read after line {line}: {error}")]
    Io {
        /// The last line that was read.
        line: u64,
        /// The system's words.
        error: io::Error,
    },
    /// So many lines are bad that the file is likely another kind.
    #[error("more than {} lines cannot be read as {format}, the first are:\n{}", reader::BAD_LINES_MAX, listed(.first))]
    TooManyBadLines {
        /// What it was read as.
        format: Format,
        /// The first bad lines.
        first: Vec<BadLine>,
    },
    /// More than is held in memory.
    #[error("there are more than {0} samples of wanted series; cut the file by time, or want fewer series")]
    TooManySamples(u64),
}

/// Reads the series that are wanted, in the order in which the file has them first.
///
/// A series is asked about once. Samples of the same time count once, the first. They are held in memory, at 16 bytes
/// each and, while it reads, up to twice that: 30 days of 1,000 series at 30 s, 86 million, come to 1.4 GB.
///
/// # Errors
/// When reading fails, or the file is not of this format.
pub fn read(
    input: impl BufRead,
    format: Format,
    is_wanted: impl FnMut(&LabelsRef<'_>) -> bool,
) -> Result<(Vec<Series>, Summary), ReadError> {
    let mut samples: Vec<Vec<Sample>> = Vec::new();
    let (labels, summary) = reader::read(input, format, is_wanted, |series, _, sample| {
        if series >= samples.len() {
            samples.resize_with(series + 1, Vec::new);
        }
        samples[series].push(sample);
    })?;
    let series = labels.into_iter().zip(samples).filter(|(_, samples)| !samples.is_empty());
    Ok((series.map(|(labels, samples)| Series::new(labels, samples)).collect(), summary))
}

/// The number that a text was read as, or the staleness marker for NaN.
pub fn number_or_marker(number: f64) -> f64 {
    if number.is_nan() { f64::from_bits(STALE_MARKER_BITS) } else { number }
}

/// Reads the series that are wanted as [`read`] does, and holds nothing of them: each sample goes to `keep` as its line is
/// read, with the labels of its series and their number, which counts up from 0.
///
/// # Errors
/// When reading fails, or the file is not of this format.
pub fn read_each(
    input: impl BufRead,
    format: Format,
    is_wanted: impl FnMut(&LabelsRef<'_>) -> bool,
    keep: impl FnMut(usize, &Labels, Sample),
) -> Result<Summary, ReadError> {
    reader::read(input, format, is_wanted, keep).map(|(_, summary)| summary)
}

fn listed(bad: &[BadLine]) -> String {
    bad.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

// === impl Series ===

impl Series {
    /// A series of samples in any order; of those of the same time the first counts.
    pub fn new(labels: Labels, mut samples: Vec<Sample>) -> Self {
        if !samples.is_sorted_by_key(|sample| sample.at) {
            samples.sort_by_key(|sample| sample.at);
        }
        samples.dedup_by_key(|sample| sample.at);
        samples.shrink_to_fit();
        Self { labels, samples }
    }
}

// === impl Format ===

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpenMetrics => "OpenMetrics",
            Self::Dump => "the output of promtool tsdb dump",
        })
    }
}

#[cfg(test)]
mod tests;
