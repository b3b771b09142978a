//! Remote-write 1.0: a request as slices of its body.
//!
//! ```text
//! WriteRequest { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3 }
//! TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2;
//!                repeated Exemplar exemplars = 3; repeated Histogram histograms = 4 }
//! Label        { string name = 1; string value = 2 }
//! ```
//!
//! Unknown fields are skipped, absent numbers are zero, as proto3 has it.

use std::hash::BuildHasher;

use prost::encoding::{encode_varint, encoded_len_varint};

use super::{
    Error, RawLabel, Request, Sample, Version,
    request::{ENTRIES_MAX, Span, hash_bytes},
    sample::VALUE_LEN,
    wire::{Reader, Value},
};

// Field number and wire type of what makes up nearly all of a request.
pub(super) const SERIES: u8 = 0x0a;
const LABEL: u8 = 0x0a;
const NAME: u8 = 0x0a;
const LABEL_VALUE: u8 = 0x12;
pub(super) const SAMPLE: u8 = 0x12;

/// Reads a request into an empty one, [skipping labels](Request::read_guessing) if it may.
pub(super) fn read(
    request: &mut Request,
    message: &[u8],
    hasher: &impl BuildHasher,
    may_guess: bool,
) -> Result<(), Error> {
    let mut reader = Reader::new(message);
    // The length of the timestamp field of the series before.
    let mut timestamp_len = 0;
    while let Some((number, value)) = reader.field_tagged(SERIES)? {
        match (number, value) {
            (1, Value::Bytes(series)) => {
                let base = reader.position() - series.len();
                if !(may_guess && guess_series(request, series, base, timestamp_len, hasher)) {
                    timestamp_len = read_series(request, series, base, hasher)?;
                }
                request.check_size(&reader)?;
            }
            (1, _) => return Err(reader.malformed("timeseries has a wrong wire type")),
            _ => (),
        }
    }
    Ok(())
}

/// Name and value of each label in an encoded label block.
pub(super) fn labels<'a>(block: &'a [u8], labels: &mut Vec<RawLabel<'a>>) -> Result<(), Error> {
    let mut reader = Reader::new(block);
    while let Some((_, value)) = reader.field()? {
        let Value::Bytes(label) = value else { return Err(reader.malformed("label has a wrong wire type")) };
        labels.push(read_label(label)?);
        if labels.len() > ENTRIES_MAX {
            return Err(reader.malformed("more than 1000000 labels"));
        }
    }
    Ok(())
}

/// The labels of a block if it is what [`encode_labels`] makes of them, and none is longer than usual.
///
/// One look at the whole block tells that all of it is text: lengths below 128 are, too.
pub(super) fn canonical_labels<'a>(block: &'a [u8], labels: &mut Vec<(&'a str, &'a str)>) -> Option<()> {
    let text = str::from_utf8(block).ok()?;
    let mut at = 0;
    while at < block.len() {
        let [LABEL, length, NAME, name_len] = *block[at..].first_chunk()? else { return None };
        let name_end = at + 4 + usize::from(name_len);
        let [LABEL_VALUE, value_len] = *block.get(name_end..)?.first_chunk()? else { return None };
        let value_end = name_end + 2 + usize::from(value_len);
        let (name, value) = (text.get(at + 4..name_end)?, text.get(name_end + 2..value_end)?);
        let is_next = labels.last().map_or(!name.is_empty(), |(last, _)| *last < name);
        let is_short = length < 0x80 && at + 2 + usize::from(length) == value_end;
        if !(is_next && is_short) || value.is_empty() || labels.len() == ENTRIES_MAX {
            return None;
        }
        labels.push((name, value));
        at = value_end;
    }
    Some(())
}

/// Appends labels to a label block as senders do that follow the specification: sorted, in one run.
pub(super) fn encode_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>, block: &mut Vec<u8>) {
    for (name, value) in labels {
        let field_len = |text: &str| 1 + encoded_len_varint(text.len() as u64) + text.len();
        block.push(LABEL);
        encode_varint((field_len(name) + field_len(value)) as u64, block);
        for (tag, text) in [(NAME, name), (LABEL_VALUE, value)] {
            block.push(tag);
            encode_varint(text.len() as u64, block);
            block.extend_from_slice(text.as_bytes());
        }
    }
}

/// Reads a series that ends like one whose only sample has a timestamp field of this length, and takes all
/// before that for labels. False if it ends otherwise.
#[inline]
fn guess_series(
    request: &mut Request,
    message: &[u8],
    base: usize,
    timestamp_len: usize,
    hasher: &impl BuildHasher,
) -> bool {
    let guess = sample_at_end(message, VALUE_LEN + timestamp_len)
        // Zero is not written.
        .or_else(|| sample_at_end(message, timestamp_len));
    let Some((labels, sample)) = guess else { return false };
    request.samples.push(sample);
    request.push_series(hash_bytes(hasher, labels), Span::new(base..base + labels.len()), false);
    request.is_guessed = true;
    true
}

/// What looks like a sample of `len` bytes at the end, and all before it.
#[inline]
fn sample_at_end(message: &[u8], len: usize) -> Option<(&[u8], Sample)> {
    let (before, sample) = message.split_at_checked(message.len().wrapping_sub(len + 2))?;
    let [SAMPLE, length, sample @ ..] = sample else { return None };
    let sample = (usize::from(*length) == len).then(|| Sample::read_usual(sample)).flatten()?;
    Some((before, sample))
}

/// Reads a series that begins at `base` in the body. Returns the length of the timestamp field of its
/// sample, if that is all it has after its labels; else 0.
fn read_series(
    request: &mut Request,
    message: &[u8],
    base: usize,
    hasher: &impl BuildHasher,
) -> Result<usize, Error> {
    let (samples, histograms) = (request.samples.len(), request.histograms.len());
    let mut reader = Reader::new(message);
    // Every known sender writes all labels first. They are looked into when the series is met for the first
    // time.
    while reader.bytes_tagged(LABEL)?.is_some() {}
    let run = 0..reader.position();
    let gathered = request.gathered.len();
    let mut field_start = run.end;
    while let Some((number, value)) = reader.field_tagged(SAMPLE)? {
        match (number, value) {
            (1, Value::Bytes(_)) => {
                gather(&mut request.gathered, gathered, &message[run.clone()]);
                request.gathered.extend_from_slice(&message[field_start..reader.position()]);
            }
            (2, Value::Bytes(sample)) => request.samples.push(Sample::read(sample, Version::V1)?),
            (3, Value::Bytes(_)) => request.exemplars += 1,
            (4, Value::Bytes(bytes)) => {
                request.push_histogram(base + reader.position(), bytes);
            }
            (1..=4, _) => return Err(reader.malformed("field of a series has a wrong wire type")),
            _ => (),
        }
        // One series may be as long as the body.
        request.check_size(&reader)?;
        field_start = reader.position();
    }
    // Prometheus sends exemplars as series of their own, without samples.
    if request.samples.len() == samples && request.histograms.len() == histograms {
        request.gathered.truncate(gathered);
        return Ok(0);
    }
    let is_gathered = request.gathered.len() > gathered;
    if is_gathered {
        let place = gathered..request.gathered.len();
        request.push_series(hash_bytes(hasher, &request.gathered[place.clone()]), Span::new(place), true);
    } else {
        let place = base..base + run.end;
        request.push_series(hash_bytes(hasher, &message[run.clone()]), Span::new(place), false);
    }
    let is_one_sample = !is_gathered && request.samples.len() == samples + 1;
    let after_labels = if is_one_sample { message.len() - run.end } else { 0 };
    Ok(if after_labels > 2 + VALUE_LEN {
        after_labels - 2 - VALUE_LEN
    } else {
        after_labels.saturating_sub(2)
    })
}

/// Begins the copy of scattered labels with those of the run, if that has not been done.
fn gather(gathered: &mut Vec<u8>, start: usize, run: &[u8]) {
    if gathered.len() == start {
        gathered.extend_from_slice(run);
    }
}

fn read_label(message: &[u8]) -> Result<RawLabel<'_>, Error> {
    let (mut name, mut label_value) = (&message[..0], &message[..0]);
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Bytes(bytes)) => label_value = bytes,
            (1 | 2, _) => return Err(reader.malformed("label has a wrong wire type")),
            _ => (),
        }
    }
    Ok((name, label_value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompb::{generated::v1 as generated, hash_labels};
    use foldhash::fast::FixedState;
    use proptest::prelude::*;
    use prost::Message;

    type Plain = Vec<(Vec<(String, String)>, Vec<(i64, u64)>, usize)>;

    /// A request in plain data, by the walk under test.
    fn walked(body: &[u8]) -> Result<Plain, Error> {
        let mut request = Request::default();
        request.read(Version::V1, body, &FixedState::default())?;
        plain(&request, body)
    }

    fn plain(request: &Request, body: &[u8]) -> Result<Plain, Error> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (mut samples, mut histograms, mut pairs) = (0, 0, Vec::new());
        request
            .series
            .iter()
            .map(|series| {
                request.labels(body, series, &mut pairs)?;
                let labels = pairs.iter().map(|(n, v)| (text(n), text(v))).collect();
                let of_series = &request.samples[samples..series.samples_end as usize];
                let values = of_series.iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect();
                let histograms_before = histograms;
                (samples, histograms) = (series.samples_end as usize, series.histograms_end as usize);
                Ok((labels, values, histograms - histograms_before))
            })
            .collect()
    }

    /// The same by prost.
    fn decoded(body: &[u8]) -> Result<Plain, prost::DecodeError> {
        let request = generated::WriteRequest::decode(body)?;
        let with_content =
            request.timeseries.into_iter().filter(|s| !s.samples.is_empty() || !s.histograms.is_empty());
        Ok(with_content
            .map(|series| {
                let labels = series.labels.into_iter().map(|l| (l.name, l.value)).collect();
                let samples = series.samples.iter().map(|s| (s.timestamp, s.value.to_bits())).collect();
                (labels, samples, series.histograms.len())
            })
            .collect())
    }

    fn any_series() -> impl Strategy<Value = generated::TimeSeries> {
        let label = (".{0,6}", ".{0,6}").prop_map(|(name, value)| generated::Label { name, value });
        let sample = (any::<i64>(), any::<u64>())
            .prop_map(|(timestamp, bits)| generated::Sample { value: f64::from_bits(bits), timestamp });
        let histogram = any::<i64>()
            .prop_map(|timestamp| generated::Histogram { timestamp, ..generated::Histogram::default() });
        use proptest::collection::vec;
        (vec(label, 0..5), vec(sample, 0..4), vec(histogram, 0..2)).prop_map(
            |(labels, samples, histograms)| generated::TimeSeries {
                labels,
                samples,
                histograms,
                exemplars: vec![generated::Exemplar::default()],
            },
        )
    }

    proptest! {
        /// Sorted or not, with empty values or without: what is called canonical has the hash of its labels.
        #[test]
        fn a_canonical_block_is_what_we_would_write(
            labels in proptest::collection::btree_map("[a-c]{1,2}", ".{0,3}", 0..4),
            is_turned in any::<bool>(),
        ) {
            let mut pairs: Vec<_> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            if is_turned {
                pairs.reverse();
            }
            let series = generated::TimeSeries {
                labels: pairs.iter().map(|(n, v)| generated::Label { name: (*n).into(), value: (*v).into() }).collect(),
                samples: vec![generated::Sample { value: 1.0, timestamp: 1 }],
                ..Default::default()
            };
            let body = generated::WriteRequest { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
            let (mut request, mut found, hasher) = (Request::default(), Vec::new(), FixedState::default());
            request.read(Version::V1, &body, &hasher).unwrap();
            let series = request.series[0];
            let is_canonical = request.canonical_labels(&body, &series, &mut found);
            let is_sorted = pairs.is_sorted() && labels.values().all(|value| !value.is_empty());
            prop_assert_eq!(is_canonical, is_sorted);
            prop_assert!(!is_canonical || found == pairs);
            let hash = hash_labels(&hasher, pairs.into_iter(), &mut Vec::new());
            prop_assert!(!is_canonical || hash == series.hash);
        }

        #[test]
        fn the_walk_reads_what_prost_reads(timeseries in proptest::collection::vec(any_series(), 0..6)) {
            let request = generated::WriteRequest { timeseries, metadata: vec![Default::default()] };
            let body = request.encode_to_vec();
            prop_assert_eq!(walked(&body).unwrap(), decoded(&body).unwrap());
        }

        #[test]
        fn damage_is_refused_or_read_as_prost_reads_it(
            timeseries in proptest::collection::vec(any_series(), 1..4),
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let request = generated::WriteRequest { timeseries, metadata: Vec::new() };
            let mut body = request.encode_to_vec();
            for (at, byte) in damage {
                let at = at.index(body.len());
                body[at] = byte;
            }
            body.truncate(cut.index(body.len()) + 1);
            // prost also looks into exemplars and histograms, and checks UTF-8; where it finds no fault,
            // the walk must agree with it.
            if let Ok(decoded) = decoded(&body) {
                prop_assert_eq!(walked(&body), Ok(decoded));
            } else {
                let _ = walked(&body);
            }
        }
    }

    #[test]
    fn scattered_labels_are_gathered() {
        let (name, sample, job) = (
            b"\x0a\x0e\x0a\x08__name__\x12\x02up".as_slice(),
            b"\x12\x02\x10\x05".as_slice(),
            b"\x0a\x0a\x0a\x03job\x12\x03api".as_slice(),
        );
        let series = [name, sample, job].concat();
        let body = [&[0x0a, series.len() as u8], series.as_slice()].concat();
        let found = walked(&body).unwrap();
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = vec![label("__name__", "up"), label("job", "api")];
        assert_eq!(found, [(labels, vec![(5, 0)], 0)]);
    }

    #[test]
    fn a_body_of_millions_of_empty_samples_is_refused() {
        let body = b"\x0a\x02\x12\x00".repeat(2_000_000);
        refused(&body, "more than 1000000 series and samples at byte 2 of 2");
        let series = [&b"\x0a\x80\x92\xf4\x01"[..], &b"\x12\x00".repeat(2_000_000)].concat();
        refused(&series, "more than 1000000 series and samples at byte 2000002 of 4000000");
    }

    #[test]
    fn a_series_of_millions_of_labels_is_refused() {
        let block = b"\x0a\x00".repeat(2_000_000);
        let refused = labels(&block, &mut Vec::new()).unwrap_err().to_string();
        assert!(refused.ends_with("more than 1000000 labels at byte 2000002 of 4000000"), "{refused}");
    }

    #[track_caller]
    fn refused(body: &[u8], expected: &str) {
        assert_eq!(walked(body).unwrap_err().to_string(), format!("body is not a write request: {expected}"));
    }

    #[test]
    fn hostile_bytes_are_refused() {
        refused(b"\x0a", "truncated varint at byte 1 of 1");
        refused(b"\x0a\x05\x00", "length beyond the end at byte 2 of 3");
        refused(b"\x0b\x0c", "unknown wire type at byte 1 of 2");
        refused(b"\x00\x00", "field number 0 at byte 1 of 2");
        refused(b"\x08\x01", "timeseries has a wrong wire type at byte 2 of 2");
        refused(&[0xff; 16], "varint longer than 64 bits at byte 10 of 16");
        refused(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "length beyond the end at byte 11 of 11");
    }
}
