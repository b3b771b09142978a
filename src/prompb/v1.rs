//! Remote-write 1.0: a request as slices of its body.
//!
//! ```text
//! WriteRequest { repeated TimeSeries timeseries = 1; repeated MetricMetadata metadata = 3 }
//! TimeSeries   { repeated Label labels = 1; repeated Sample samples = 2;
//!                repeated Exemplar exemplars = 3; repeated Histogram histograms = 4 }
//! Label        { string name = 1; string value = 2 }
//! Sample       { double value = 1; int64 timestamp = 2 }
//! ```
//!
//! Unknown fields are skipped, absent numbers are zero, as proto3 has it.

use std::{borrow::Cow, ops::Range};

use super::{
    Error, Sample,
    wire::{Reader, Value},
};

/// A whole request. Borrows from the decompressed body.
#[derive(Debug, Default)]
pub struct WriteRequest<'a> {
    /// Every series that carries samples or histograms, in the order of the body.
    pub series: Vec<SeriesView<'a>>,
    /// How many exemplars it holds; they are accepted and not kept.
    pub exemplars: usize,
    samples: Vec<Sample>,
}

/// A series of a request.
#[derive(Debug)]
pub struct SeriesView<'a> {
    /// The encoded labels: equal bytes mean equal labels, and senders repeat them exactly.
    pub raw_labels: Cow<'a, [u8]>,
    /// How many native histograms it carries.
    pub histograms: usize,
    samples: Range<usize>,
}

// Real requests have thousands; 32 MiB of the shortest possible series would be millions, each of them
// twenty times its size in memory.
const ENTRIES_MAX: usize = 1_000_000;

/// Name and value of a label.
pub type RawLabel<'a> = (&'a [u8], &'a [u8]);

/// Reads a request, all of it.
///
/// # Errors
/// When the bytes are not protobuf of this schema.
pub fn parse(message: &[u8]) -> Result<WriteRequest<'_>, Error> {
    let mut request = WriteRequest::default();
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(series)) => request.read_series(series)?,
            (1, _) => return Err(reader.malformed("timeseries has a wrong wire type")),
            _ => (),
        }
        if request.series.len() + request.samples.len() > ENTRIES_MAX {
            return Err(reader.malformed("more than 1000000 series and samples"));
        }
    }
    Ok(request)
}

/// Name and value of each label in an encoded label block, as bytes: nobody has checked them for UTF-8.
///
/// # Errors
/// When the block is not a run of labels.
pub fn labels(raw_labels: &[u8]) -> Result<Vec<RawLabel<'_>>, Error> {
    let mut reader = Reader::new(raw_labels);
    let mut labels = Vec::new();
    while let Some((_, value)) = reader.field()? {
        let Value::Bytes(label) = value else { return Err(reader.malformed("label has a wrong wire type")) };
        labels.push(read_label(label)?);
    }
    Ok(labels)
}

// === impl WriteRequest ===

impl<'a> WriteRequest<'a> {
    /// The samples of one of its series.
    pub fn samples(&self, series: &SeriesView<'a>) -> &[Sample] {
        &self.samples[series.samples.clone()]
    }

    /// How many samples it holds.
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    fn read_series(&mut self, message: &'a [u8]) -> Result<(), Error> {
        let first_sample = self.samples.len();
        let mut raw_labels = Cow::Borrowed(&message[..0]);
        let mut histograms = 0;
        let mut reader = Reader::new(message);
        let mut field_start = 0;
        while let Some((number, value)) = reader.field()? {
            match (number, value) {
                (1, Value::Bytes(label)) => {
                    read_label(label)?;
                    extend_labels(&mut raw_labels, message, field_start..reader.position());
                }
                (2, Value::Bytes(sample)) => self.samples.push(read_sample(sample)?),
                (3, Value::Bytes(_)) => self.exemplars += 1,
                (4, Value::Bytes(_)) => histograms += 1,
                (1..=4, _) => return Err(reader.malformed("field of a series has a wrong wire type")),
                _ => (),
            }
            field_start = reader.position();
        }
        let samples = first_sample..self.samples.len();
        // Prometheus sends exemplars as series of their own, without samples.
        if !samples.is_empty() || histograms > 0 {
            self.series.push(SeriesView { raw_labels, histograms, samples });
        }
        Ok(())
    }
}

/// Appends a label field. Labels come in one run from every known sender, and are then a slice of the
/// message; scattered ones are copied together.
fn extend_labels<'a>(raw_labels: &mut Cow<'a, [u8]>, message: &'a [u8], field: Range<usize>) {
    match raw_labels {
        Cow::Borrowed(run) if run.len() == field.start => *run = &message[..field.end],
        _ => raw_labels.to_mut().extend_from_slice(&message[field]),
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

fn read_sample(message: &[u8]) -> Result<Sample, Error> {
    let mut sample = Sample { timestamp_ms: 0, value: 0.0 };
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Fixed64(bits)) => sample.value = f64::from_bits(bits),
            (2, Value::Varint(timestamp)) => sample.timestamp_ms = timestamp.cast_signed(),
            (1 | 2, _) => return Err(reader.malformed("sample has a wrong wire type")),
            _ => (),
        }
    }
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompb::generated::v1 as generated;
    use proptest::prelude::*;
    use prost::Message;

    type Plain = Vec<(Vec<(String, String)>, Vec<(i64, u64)>, usize)>;

    /// A request in plain data, by the walk under test.
    fn walked(body: &[u8]) -> Result<Plain, Error> {
        let request = parse(body)?;
        request
            .series
            .iter()
            .map(|series| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let labels = labels(&series.raw_labels)?.iter().map(|(n, v)| (text(n), text(v))).collect();
                let samples =
                    request.samples(series).iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect();
                Ok((labels, samples, series.histograms))
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
        let request = parse(&body).unwrap();
        let series = &request.series[0];
        assert_eq!(
            labels(&series.raw_labels).unwrap(),
            [(&b"__name__"[..], &b"up"[..]), (&b"job"[..], &b"api"[..])]
        );
        assert_eq!(request.samples(series), [Sample { timestamp_ms: 5, value: 0.0 }]);
    }

    #[test]
    fn a_body_of_millions_of_empty_samples_is_refused() {
        let body = b"\x0a\x02\x12\x00".repeat(2_000_000);
        refused(&body, "more than 1000000 series and samples at byte 2000004 of 8000000");
    }

    #[track_caller]
    fn refused(body: &[u8], expected: &str) {
        assert_eq!(parse(body).unwrap_err().to_string(), format!("body is not a write request: {expected}"));
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
