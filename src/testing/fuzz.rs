//! What a fuzzer tries: bodies that nobody would write, read by the walk and by prost.
//!
//! The targets in `fuzz/` call this, and so does an ordinary test with the corpus that is kept there. It
//! panics where the walk and prost disagree.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use prost::{DecodeError, Message};

use crate::prompb::{
    self, Error, Request, Version,
    generated::{v1, v2},
};

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was read, as prost reads it.
    Read,
    /// It is no write request.
    Refused,
}

/// A request in plain data.
#[derive(Debug, Default, PartialEq)]
struct Plain {
    series: Vec<PlainSeries>,
    exemplars: usize,
}

#[derive(Debug, PartialEq)]
struct PlainSeries {
    /// `None` if they are not in the request.
    labels: Option<Vec<PlainLabel>>,
    /// Time, bits of the value, start.
    samples: Vec<(i64, u64, i64)>,
    /// Encoded by prost: values may be NaN, which equals nothing.
    histograms: Vec<Vec<u8>>,
}

type PlainLabel = (Vec<u8>, Vec<u8>);

// Far more than a fuzzer writes, far less than it would fill.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

// Where the walk is stricter than prost: there are no groups in these schemas, the first symbol is empty, and
// there are bounds.
const STRICTER: [&str; 3] = ["unknown wire type", "the first symbol is not the empty string", "more than "];

/// Reads a body as a receiver does, and compares.
///
/// What is not snappy is taken for what snappy would have come to: hardly a change of a compressed body comes
/// through to the walk.
///
/// # Panics
/// When prost reads something else, or reads what the walk refuses for no known reason.
pub fn remote_write(version: Version, input: &[u8]) -> Fate {
    let mut message = Vec::new();
    if prompb::decompress(input, MESSAGE_BYTES_MAX, &mut message).is_err() {
        message = input.to_vec();
    }
    let mut request = Request::default();
    let walked = walk(&mut request, version, &message);
    // A second time in used memory, after a request of the other version.
    let _ = walk(&mut request, other(version), &message);
    assert_eq!(walk(&mut request, version, &message), walked, "another outcome in used memory");
    if walked.is_ok() {
        check_guess(version, &message, &request);
    }
    match (walked, decode(version, &message)) {
        (Ok(walked), Ok(decoded)) => assert_eq!(walked, decoded, "prost reads something else"),
        (Err(Error::Malformed { what, .. }), Ok(_)) => {
            assert!(STRICTER.iter().any(|reason| what.starts_with(reason)), "prost reads it, but {what}");
            return Fate::Refused;
        }
        (Err(_), _) => return Fate::Refused,
        (Ok(_), Err(_)) => (),
    }
    Fate::Read
}

fn other(version: Version) -> Version {
    match version {
        Version::V1 => Version::V2,
        Version::V2 => Version::V1,
    }
}

/// Whose label blocks are all known may be read without going through them.
fn check_guess(version: Version, message: &[u8], read: &Request) {
    let known: HashSet<u64> = read.series.iter().map(|series| series.hash).collect();
    let mut guessed = Request::default();
    let outcome = guessed.read_guessing(version, message, &FixedState::default());
    assert_eq!(outcome, Ok(()), "what can be read cannot be guessed");
    if guessed.series.iter().all(|series| known.contains(&series.hash)) {
        let outline = |request: &Request| {
            let series = request.series.iter().map(|s| (s.hash, s.samples_end, s.histograms_end));
            let samples = request.samples.iter().map(|s| (s.timestamp_ms, s.value.to_bits(), s.start_ms));
            (series.collect::<Vec<_>>(), samples.collect::<Vec<_>>(), request.exemplars)
        };
        assert_eq!(outline(&guessed), outline(read), "a guess of known label blocks is wrong");
    }
}

fn walk(request: &mut Request, version: Version, message: &[u8]) -> Result<Plain, Error> {
    request.read(version, message, &FixedState::default())?;
    let mut plain = Plain { series: Vec::new(), exemplars: request.exemplars };
    let (mut samples, mut histograms) = (0, 0);
    for view in &request.series {
        let mut pairs = Vec::new();
        let labels = match request.labels(message, view, &mut pairs) {
            Ok(_) => Some(pairs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()),
            Err(Error::References(_)) => None,
            Err(error) => return Err(error),
        };
        let of_series = &request.samples[samples..view.samples_end as usize];
        let encoded = request.histograms(message, histograms..view.histograms_end as usize);
        plain.series.push(PlainSeries {
            labels,
            samples: of_series.iter().map(|s| (s.timestamp_ms, s.value.to_bits(), s.start_ms)).collect(),
            histograms: encoded.map(|bytes| again(version, bytes.message)).collect(),
        });
        (samples, histograms) = (view.samples_end as usize, view.histograms_end as usize);
    }
    Ok(plain)
}

/// A histogram as prost writes it, empty if it cannot be read.
fn again(version: Version, histogram: &[u8]) -> Vec<u8> {
    match version {
        Version::V1 => v1::Histogram::decode(histogram).unwrap_or_default().encode_to_vec(),
        Version::V2 => v2::Histogram::decode(histogram).unwrap_or_default().encode_to_vec(),
    }
}

fn decode(version: Version, message: &[u8]) -> Result<Plain, DecodeError> {
    match version {
        Version::V1 => v1::WriteRequest::decode(message).map(plain_v1),
        Version::V2 => v2::Request::decode(message).map(plain_v2),
    }
}

fn plain_v1(request: v1::WriteRequest) -> Plain {
    let mut plain = Plain::default();
    for series in request.timeseries {
        let labels = series.labels.into_iter().map(|label| (label.name.into(), label.value.into()));
        plain.exemplars += series.exemplars.len();
        plain.push(PlainSeries {
            labels: Some(labels.collect()),
            samples: series.samples.iter().map(|s| (s.timestamp, s.value.to_bits(), 0)).collect(),
            histograms: series.histograms.iter().map(Message::encode_to_vec).collect(),
        });
    }
    plain
}

fn plain_v2(v2::Request { symbols, timeseries }: v2::Request) -> Plain {
    let symbol = |reference: u32| symbols.get(reference as usize).map(|symbol| symbol.clone().into_bytes());
    let mut plain = Plain::default();
    for series in timeseries {
        let labels = series.labels_refs.chunks(2).map(|pair| {
            let [name, value] = *pair else { return None };
            symbol(name).zip(symbol(value))
        });
        let start = |own: i64| if own == 0 { series.created_timestamp } else { own };
        let samples = series.samples.iter();
        plain.exemplars += series.exemplars.len();
        plain.push(PlainSeries {
            labels: labels.collect(),
            samples: samples.map(|s| (s.timestamp, s.value.to_bits(), start(s.start_timestamp))).collect(),
            histograms: series.histograms.iter().map(Message::encode_to_vec).collect(),
        });
    }
    plain
}

// === impl Plain ===

impl Plain {
    /// Adds a series, unless it carries nothing but exemplars.
    fn push(&mut self, series: PlainSeries) {
        if !series.samples.is_empty() || !series.histograms.is_empty() {
            self.series.push(series);
        }
    }
}
