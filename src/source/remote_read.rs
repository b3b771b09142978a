//! Remote-read: one question for raw samples, and the two ways in which servers answer.
//!
//! Chunks are preferred, as they are: a stream of frames, each its length (uvarint), the CRC-32C of its message (4
//! bytes) and a `ChunkedReadResponse`. A server without them sends one `ReadResponse`, compressed by snappy.
//! Prometheus answers with whole chunks, so that samples before and after the asked time are among them.

use bytes::{Buf, Bytes};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName};
use prost::{Message, encoding::decode_varint};

use super::{Reason, read::Found};
use crate::{
    history::{Sample, xor},
    labels::{Labels, LabelsError, MatchOp, Matcher, Selector},
    prompb::{
        self,
        generated::v1::{
            Chunk, ChunkedReadResponse, Label, LabelMatcher, Query, ReadRequest, ReadResponse,
            chunk::Encoding, label_matcher::Type, read_request::ResponseType,
        },
    },
    time::Timestamp,
};

pub(super) const HEADERS: [(HeaderName, &str); 3] = [
    (CONTENT_TYPE, "application/x-protobuf"),
    (CONTENT_ENCODING, "snappy"),
    (HeaderName::from_static("x-prometheus-remote-read-version"), "0.1.0"),
];

const STREAMED: &str = "application/x-streamed-protobuf";
const CRC_BYTES: usize = 4;
// A sample takes some 18 bytes in an answer without chunks: 3.7 million of them.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// The body of a request for the series of a selector, both ends of the time included.
pub(super) fn question(selector: &Selector, start: Timestamp, end: Timestamp) -> Bytes {
    let query = Query {
        start_timestamp_ms: start.0,
        end_timestamp_ms: end.0,
        matchers: selector.matchers.iter().map(matcher).collect(),
    };
    let accepted = [ResponseType::StreamedXorChunks, ResponseType::Samples];
    let request =
        ReadRequest { queries: vec![query], accepted_response_types: accepted.map(i32::from).to_vec() };
    // A few hundred bytes; snappy fails from 4 GiB on.
    let compressed = snap::raw::Encoder::new().compress_vec(&request.encode_to_vec());
    compressed.expect("BUG: a question of 4 GiB").into()
}

/// Reads an answer of either kind.
pub(super) fn answer(headers: &HeaderMap, body: Bytes, found: &mut Found<'_>) -> Result<(), Reason> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with(STREAMED) { frames(body, found) } else { samples(&body, found) }
}

fn matcher(matcher: &Matcher) -> LabelMatcher {
    let kind = match matcher.op() {
        MatchOp::Equal => Type::Eq,
        MatchOp::NotEqual => Type::Neq,
        MatchOp::Regex => Type::Re,
        MatchOp::NotRegex => Type::Nre,
    };
    LabelMatcher { r#type: kind.into(), name: matcher.name().to_owned(), value: matcher.value().to_owned() }
}

fn samples(body: &[u8], found: &mut Found<'_>) -> Result<(), Reason> {
    let mut message = Vec::new();
    prompb::decompress(body, DECOMPRESSED_BYTES_MAX, &mut message).map_err(|error| match error {
        prompb::Error::TooLarge { limit, .. } => Reason::TooLarge(limit),
        error => malformed(&error),
    })?;
    let response = ReadResponse::decode(&message[..]).map_err(|error| malformed(&error))?;
    for series in response.results.into_iter().flat_map(|result| result.timeseries) {
        found.histograms += series.histograms.len() as u64;
        let labels = labels(&series.labels).map_err(|error| malformed(&error))?;
        let sample = |sample: &prompb::generated::v1::Sample| Sample {
            at: Timestamp(sample.timestamp),
            value: sample.value,
        };
        found.add(labels, series.samples.iter().map(sample))?;
    }
    Ok(())
}

fn frames(mut body: Bytes, found: &mut Found<'_>) -> Result<(), Reason> {
    while body.has_remaining() {
        let message = frame(&mut body)?;
        let response = ChunkedReadResponse::decode(message).map_err(|error| malformed(&error))?;
        for series in response.chunked_series {
            let labels = labels(&series.labels).map_err(|error| malformed(&error))?;
            let mut samples = Vec::new();
            for chunk in &series.chunks {
                found.histograms += read(chunk, &mut samples)?;
                found.check(samples.len())?;
            }
            found.add(labels, samples.into_iter())?;
        }
    }
    Ok(())
}

/// Takes the next message off a stream.
fn frame(body: &mut Bytes) -> Result<Bytes, Reason> {
    let cut_off = || Reason::Malformed("its stream of chunks is cut off".to_owned());
    let length = decode_varint(body).map_err(|_| cut_off())?;
    let length = usize::try_from(length)
        .ok()
        .filter(|length| length.checked_add(CRC_BYTES).is_some_and(|length| length <= body.remaining()));
    let length = length.ok_or_else(cut_off)?;
    let expected = body.get_u32();
    let message = body.split_to(length);
    let sum = crc32c::crc32c(&message);
    if sum != expected {
        let said = format!("the checksum of a frame is {sum:08x}, its stream says {expected:08x}");
        return Err(Reason::Malformed(said));
    }
    Ok(message)
}

/// Reads a chunk; returns how many native histograms it has.
fn read(chunk: &Chunk, samples: &mut Vec<Sample>) -> Result<u64, Reason> {
    match chunk.r#type() {
        Encoding::Xor => xor::decode(&chunk.data, |sample| samples.push(sample))
            .map(|()| 0)
            .map_err(|error| malformed(&error)),
        Encoding::Histogram | Encoding::FloatHistogram => Ok(xor::declared(&chunk.data).into()),
        Encoding::Unknown => Err(Reason::Malformed(format!("a chunk of encoding {}", chunk.r#type))),
    }
}

fn labels(labels: &[Label]) -> Result<Labels, LabelsError> {
    Labels::new(labels.iter().map(|label| (&label.name, &label.value)))
}

fn malformed(error: &dyn std::error::Error) -> Reason {
    Reason::Malformed(error.to_string())
}

#[cfg(test)]
mod tests;
