//! Remote-write 2.0: a request as places in its body, its labels as references to symbols.
//!
//! ```text
//! Request    { repeated string symbols = 4; repeated TimeSeries timeseries = 5 }
//! TimeSeries { repeated uint32 labels_refs = 1; repeated Sample samples = 2;
//!              repeated Histogram histograms = 3; repeated Exemplar exemplars = 4;
//!              Metadata metadata = 5; int64 created_timestamp = 6 }
//! ```
//!
//! References are a request's own: what stays the same from request to request are the symbols. So each
//! symbol is hashed once, and the labels of a series have the hash of their symbols' hashes. References are
//! looked up when all is read, for symbols may come after the series. One that leads nowhere is a fault of
//! its series alone, which shows when the labels are asked for.
//!
//! Unknown fields are skipped, absent numbers are zero, as proto3 has it.

use std::hash::{BuildHasher, Hasher};

use super::{
    BadReferences, Error, RawLabel, Request, Sample, Version,
    request::{Span, hash_bytes},
    wire::{Reader, Value},
};

/// The strings of a request, and who refers to them.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    places: Vec<Span>,
    hashes: Vec<u64>,
    /// The references of all series, one series after the other: name, value, name, value, ….
    references: Vec<u32>,
}

// Field number and wire type of what makes up nearly all of a request.
const SERIES: u8 = 0x2a;
const REFERENCES: u8 = 0x0a;
const SAMPLE: u8 = 0x12;

// As many as a request may have series and samples.
const SYMBOLS_MAX: usize = 1_000_000;
// Ten labels for each of 400,000 series; 32 MB of memory.
const REFERENCES_MAX: usize = 8_000_000;
// What a fault shows of a metric's name.
const SHOWN_CHARS_MAX: usize = 200;

/// Reads a request into an empty one.
pub(super) fn read(request: &mut Request, message: &[u8], hasher: &impl BuildHasher) -> Result<(), Error> {
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field_tagged(SERIES)? {
        match (number, value) {
            (4, Value::Bytes(symbol)) => {
                request.symbols.places.push(Span::before(reader.position(), symbol));
                check_symbols(request, symbol, &reader)?;
            }
            (5, Value::Bytes(series)) => read_series(request, series, reader.position() - series.len())?,
            (4, _) => return Err(reader.malformed("symbol has a wrong wire type")),
            (5, _) => return Err(reader.malformed("timeseries has a wrong wire type")),
            _ => (),
        }
    }
    hash_labels(request, message, hasher);
    Ok(())
}

/// The first symbol must be empty, so that a reference of 0 stands for nothing.
fn check_symbols(request: &Request, symbol: &[u8], reader: &Reader<'_>) -> Result<(), Error> {
    match request.symbols.places.len() {
        1 if !symbol.is_empty() => Err(reader.malformed("the first symbol is not the empty string")),
        count if count > SYMBOLS_MAX => Err(reader.malformed("more than 1000000 symbols")),
        _ => Ok(()),
    }
}

/// Series are hashed by symbols, so that the same labels have the same hash in every request. The hash of
/// labels that lead nowhere is that of none, which is the hash of no acceptable series.
fn hash_labels(request: &mut Request, message: &[u8], hasher: &impl BuildHasher) {
    let Symbols { places, hashes, references } = &mut request.symbols;
    hashes.extend(places.iter().map(|place| hash_bytes(hasher, &message[place.range()])));
    for series in &mut request.series {
        let references = &references[series.labels.range()];
        series.hash = hash_of(references, hashes, hasher).unwrap_or_else(|| hash_bytes(hasher, b""));
    }
}

fn hash_of(references: &[u32], hashes: &[u64], hasher: &impl BuildHasher) -> Option<u64> {
    let mut hasher = hasher.build_hasher();
    for reference in references {
        hasher.write_u64(*hashes.get(*reference as usize)?);
    }
    references.len().is_multiple_of(2).then(|| hasher.finish())
}

/// Reads a series that begins at `base` in the body.
fn read_series(request: &mut Request, message: &[u8], base: usize) -> Result<(), Error> {
    let (samples, histograms) = (request.samples.len(), request.histograms.len());
    let references = request.symbols.references.len();
    let mut created_ms = 0;
    let mut reader = Reader::new(message);
    // As every known sender begins.
    if let Some(packed) = reader.bytes_tagged(REFERENCES)? {
        request.symbols.read_references(packed)?;
    }
    if let Some(sample) = reader.bytes_tagged(SAMPLE)? {
        request.samples.push(Sample::read(sample, Version::V2)?);
    }
    while let Some((number, value)) = reader.field()? {
        match (number, value) {
            (1, Value::Bytes(packed)) => request.symbols.read_references(packed)?,
            (1, Value::Varint(reference)) => {
                request.symbols.check_references(1, &reader)?;
                request.symbols.references.push(reference as u32);
            }
            (2, Value::Bytes(sample)) => request.samples.push(Sample::read(sample, Version::V2)?),
            (3, Value::Bytes(bytes)) => {
                request.push_histogram(base + reader.position(), bytes);
            }
            (4, Value::Bytes(_)) => request.exemplars += 1,
            (5, Value::Bytes(_)) => (),
            (6, Value::Varint(created)) => created_ms = created.cast_signed(),
            (1..=6, _) => return Err(reader.malformed("field of a series has a wrong wire type")),
            _ => (),
        }
        request.check_size(&reader)?;
    }
    // Prometheus sends exemplars as series of their own, without samples.
    if request.samples.len() == samples && request.histograms.len() == histograms {
        request.symbols.references.truncate(references);
        return Ok(());
    }
    if created_ms != 0 {
        note_created(request, samples, histograms, created_ms);
    }
    request.push_series(0, Span::new(references..request.symbols.references.len()), false);
    request.check_size(&reader)
}

/// Up to 2.0-rc.3 the start timestamp was the series'; since then each sample has its own.
fn note_created(request: &mut Request, samples: usize, histograms: usize, created_ms: i64) {
    for sample in request.samples[samples..].iter_mut().filter(|sample| sample.start_ms == 0) {
        sample.start_ms = created_ms;
    }
    for histogram in &mut request.histograms[histograms..] {
        histogram.series_start_ms = created_ms;
    }
}

// === impl Symbols ===

impl Symbols {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.hashes.clear();
        self.references.clear();
    }

    /// For how many symbols it has memory, or series of ten labels.
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity().max(self.references.capacity() / 20)
    }

    /// Name and value of each label of a series.
    pub(super) fn labels<'a>(
        &self,
        message: &'a [u8],
        series: Span,
        labels: &mut Vec<RawLabel<'a>>,
    ) -> Result<(), BadReferences> {
        let (pairs, rest) = self.references[series.range()].as_chunks::<2>();
        let symbol = |reference| {
            self.symbol(message, reference).ok_or_else(|| self.no_such_symbol(message, series, reference))
        };
        for [name, value] in pairs {
            labels.push((symbol(*name)?, symbol(*value)?));
        }
        if rest.is_empty() { Ok(()) } else { Err(self.odd_references(message, series)) }
    }

    fn symbol<'a>(&self, message: &'a [u8], reference: u32) -> Option<&'a [u8]> {
        self.places.get(reference as usize).map(|place| &message[place.range()])
    }

    fn read_references(&mut self, packed: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(packed);
        // Each takes a byte at least.
        self.check_references(packed.len(), &reader)?;
        self.references.reserve(packed.len());
        while !reader.is_at_end() {
            self.references.push(reader.uint32()?);
        }
        Ok(())
    }

    fn check_references(&self, more: usize, reader: &Reader<'_>) -> Result<(), Error> {
        if self.references.len() + more > REFERENCES_MAX {
            return Err(reader.malformed("more than 8000000 label references"));
        }
        Ok(())
    }

    #[cold]
    fn no_such_symbol(&self, message: &[u8], series: Span, reference: u32) -> BadReferences {
        let (metric, symbols) = (self.metric(message, series), self.places.len());
        BadReferences::NoSuchSymbol { metric, reference, symbols }
    }

    #[cold]
    fn odd_references(&self, message: &[u8], series: Span) -> BadReferences {
        BadReferences::Odd { metric: self.metric(message, series), references: series.range().len() }
    }

    /// The metric name of a series, as far as it can be told.
    fn metric(&self, message: &[u8], series: Span) -> String {
        let (pairs, _) = self.references[series.range()].as_chunks::<2>();
        let name = pairs.iter().find(|[name, _]| self.symbol(message, *name) == Some(b"__name__"));
        let name = name.and_then(|[_, value]| self.symbol(message, *value)).unwrap_or(b"?");
        String::from_utf8_lossy(name).chars().take(SHOWN_CHARS_MAX).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompb::generated::v2 as generated;
    use foldhash::fast::FixedState;
    use proptest::{collection::vec, prelude::*};
    use prost::Message;

    /// Labels, samples with value and start, histograms.
    type PlainSeries = (Option<Vec<(String, String)>>, Vec<(i64, u64, i64)>, Vec<generated::Histogram>);
    type Plain = (Vec<PlainSeries>, usize);

    fn read(message: &[u8]) -> Result<Request, Error> {
        let mut request = Request::default();
        request.read(Version::V2, message, &FixedState::default())?;
        Ok(request)
    }

    /// A request in plain data, by the walk under test.
    fn walked(message: &[u8]) -> Result<Plain, Error> {
        read(message).map(|request| plain(&request, message))
    }

    fn plain(request: &Request, message: &[u8]) -> Plain {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (mut samples, mut histograms) = (0, 0);
        let series = request.series.iter().map(|series| {
            let mut pairs = Vec::new();
            let labels = request.labels(message, series, &mut pairs).ok();
            let labels = labels.map(|_| pairs.iter().map(|(n, v)| (text(n), text(v))).collect());
            let of_series = &request.samples[samples..series.samples_end as usize];
            let values = of_series.iter().map(|s| (s.timestamp_ms, s.value.to_bits(), s.start_ms)).collect();
            let encoded = request.histograms(message, histograms..series.histograms_end as usize);
            let decoded = encoded.map(|bytes| generated::Histogram::decode(bytes.message).unwrap()).collect();
            (samples, histograms) = (series.samples_end as usize, series.histograms_end as usize);
            (labels, values, decoded)
        });
        (series.collect(), request.exemplars)
    }

    /// The same by prost. `None` where the symbols do not begin with the empty one.
    fn decoded(message: &[u8]) -> Result<Option<Plain>, prost::DecodeError> {
        let generated::Request { symbols, timeseries } = generated::Request::decode(message)?;
        let exemplars = timeseries.iter().map(|series| series.exemplars.len()).sum();
        let with_content =
            timeseries.into_iter().filter(|s| !s.samples.is_empty() || !s.histograms.is_empty());
        let series = with_content.map(|series| {
            let created = series.created_timestamp;
            let start = |own: i64| if own == 0 { created } else { own };
            let samples = series.samples.iter();
            let samples = samples.map(|s| (s.timestamp, s.value.to_bits(), start(s.start_timestamp)));
            let symbol = |reference: u32| symbols.get(reference as usize).cloned();
            let labels = series.labels_refs.chunks(2).map(|pair| {
                let [name, value] = *pair else { return None };
                symbol(name).zip(symbol(value))
            });
            (labels.collect(), samples.collect(), series.histograms)
        });
        let plain = (series.collect(), exemplars);
        Ok(symbols.first().is_none_or(String::is_empty).then_some(plain))
    }

    fn any_series() -> impl Strategy<Value = generated::TimeSeries> {
        let number = || prop_oneof![Just(0), any::<i64>()];
        let sample = (number(), any::<u64>(), number()).prop_map(|(timestamp, bits, start_timestamp)| {
            generated::Sample { value: f64::from_bits(bits), timestamp, start_timestamp }
        });
        let histogram = (number(), number()).prop_map(|(timestamp, start_timestamp)| generated::Histogram {
            timestamp,
            start_timestamp,
            ..Default::default()
        });
        (vec(0..9_u32, 0..8), vec(sample, 0..4), vec(histogram, 0..2), number(), 0..3_usize).prop_map(
            |(labels_refs, samples, histograms, created_timestamp, exemplars)| generated::TimeSeries {
                labels_refs,
                samples,
                histograms,
                exemplars: vec![generated::Exemplar::default(); exemplars],
                metadata: Some(generated::Metadata { help_ref: 1, ..Default::default() }),
                created_timestamp,
            },
        )
    }

    fn any_request() -> impl Strategy<Value = generated::Request> {
        (vec(".{0,6}", 0..8), vec(any_series(), 0..6)).prop_map(|(mut symbols, timeseries)| {
            symbols.insert(0, String::new());
            generated::Request { symbols, timeseries }
        })
    }

    proptest! {
        #[test]
        fn the_walk_reads_what_prost_reads(request in any_request()) {
            let message = request.encode_to_vec();
            prop_assert_eq!(Some(walked(&message).unwrap()), decoded(&message).unwrap());
        }

        #[test]
        fn damage_is_refused_or_read_as_prost_reads_it(
            request in any_request(),
            damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut message = request.encode_to_vec();
            for (at, byte) in damage {
                let at = at.index(message.len());
                message[at] = byte;
            }
            message.truncate(cut.index(message.len()) + 1);
            // prost also looks into exemplars, histograms and metadata, and checks UTF-8; where it finds no
            // fault, the walk must agree with it.
            match decoded(&message) {
                Ok(Some(decoded)) => prop_assert_eq!(walked(&message), Ok(decoded)),
                Ok(None) => prop_assert!(walked(&message).is_err()),
                Err(_) => drop(read(&message)),
            }
        }

        #[test]
        fn labels_have_one_hash_wherever_their_symbols_are(
            texts in vec("[a-c]{1,2}", 2..8),
            order in any::<prop::sample::Index>(),
        ) {
            let texts = &texts[..texts.len() / 2 * 2];
            let message = |turn: usize| {
                let mut symbols = texts.to_vec();
                symbols.rotate_left(turn);
                symbols.insert(0, String::new());
                let position = |text: &String| symbols.iter().position(|symbol| symbol == text).unwrap();
                let labels_refs = texts.iter().map(|text| position(text) as u32).collect();
                let samples = vec![generated::Sample::default()];
                let series = generated::TimeSeries { labels_refs, samples, ..Default::default() };
                generated::Request { symbols, timeseries: vec![series] }.encode_to_vec()
            };
            let hash = |turn| read(&message(turn)).unwrap().series[0].hash;
            prop_assert_eq!(hash(0), hash(order.index(texts.len())));
        }
    }

    /// A request of one series with one sample of all zeros, and these label references.
    fn message(symbols: &[&str], labels_refs: &[u32]) -> Vec<u8> {
        let samples = vec![generated::Sample::default()];
        let series =
            generated::TimeSeries { labels_refs: labels_refs.to_vec(), samples, ..Default::default() };
        let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        generated::Request { symbols, timeseries: vec![series] }.encode_to_vec()
    }

    #[test]
    fn other_labels_have_another_hash() {
        let symbols = ["", "a", "b", "ab"];
        let hash = |references: &[u32]| read(&message(&symbols, references)).unwrap().series[0].hash;
        let all = [&[][..], &[1, 2], &[2, 1], &[1, 2, 1, 2], &[0, 3], &[3, 0], &[1, 1], &[2, 2]].map(hash);
        let distinct: std::collections::BTreeSet<u64> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[track_caller]
    fn faulty(labels_refs: &[u32], expected: &str) {
        let message = message(&["", "__name__", "up", "job"], labels_refs);
        let request = read(&message).unwrap();
        let fault = request.labels(&message, &request.series[0], &mut Vec::new()).unwrap_err();
        assert_eq!(fault.to_string(), expected);
        assert_eq!(request.series[0].hash, hash_bytes(&FixedState::default(), b""));
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_a_fault_of_its_series() {
        faulty(&[1, 2, 3, 4], "series of metric \"up\" refers to symbol 4, the request has 4");
        faulty(&[u32::MAX, 2], "series of metric \"?\" refers to symbol 4294967295, the request has 4");
        faulty(&[1, 2, 3], "series of metric \"up\" has 3 label references; they go in pairs");
        faulty(&[1], "series of metric \"?\" has 1 label references; they go in pairs");
    }

    #[test]
    fn symbols_may_come_last_and_references_one_by_one() {
        let series = b"\x08\x01\x12\x02\x10\x05\x0a\x01\x02";
        let symbols = b"\x22\x00\x22\x08__name__\x22\x02up";
        let message = [&[0x2a, series.len() as u8], &series[..], symbols].concat();
        let labels = vec![("__name__".to_owned(), "up".to_owned())];
        assert_eq!(walked(&message), Ok((vec![(Some(labels), vec![(5, 0, 0)], vec![])], 0)));
    }

    #[test]
    fn nothing_is_left_of_the_request_before() {
        let full = generated::Sample { value: 1.5, timestamp: 7, start_timestamp: 3 };
        let timeseries = vec![
            generated::TimeSeries {
                labels_refs: vec![1, 2],
                samples: vec![full, full],
                histograms: vec![Default::default()],
                exemplars: vec![Default::default()],
                created_timestamp: 4,
                ..Default::default()
            };
            3
        ];
        let symbols = ["", "__name__", "up"].map(str::to_owned).to_vec();
        let before = generated::Request { symbols, timeseries }.encode_to_vec();
        for after in [message(&["", "a", "b"], &[1, 2]), message(&[], &[1, 2]), Vec::new()] {
            let mut request = read(&before).unwrap();
            request.read(Version::V2, &after, &FixedState::default()).unwrap();
            assert_eq!(Ok(plain(&request, &after)), walked(&after));
        }
    }

    #[test]
    fn a_second_request_takes_no_memory() {
        let message = message(&["", "__name__", "up"], &[1, 2]);
        let mut request = read(&message).unwrap();
        let allocated = allocation_counter::measure(|| {
            request.read(Version::V2, &message, &FixedState::default()).unwrap();
        });
        assert_eq!(allocated.count_total, 0);
    }

    #[track_caller]
    fn refused(message: &[u8], expected: &str) {
        let error = read(message).unwrap_err().to_string();
        assert_eq!(error, format!("body is not a write request: {expected}"));
    }

    #[test]
    fn hostile_bytes_are_refused() {
        refused(b"\x22\x01x", "the first symbol is not the empty string at byte 3 of 3");
        refused(b"\x20\x01", "symbol has a wrong wire type at byte 2 of 2");
        refused(b"\x28\x01", "timeseries has a wrong wire type at byte 2 of 2");
        refused(b"\x2a\x02\x28\x01", "field of a series has a wrong wire type at byte 2 of 2");
        refused(b"\x2a\x04\x12\x02\x18\x80", "truncated varint at byte 2 of 2");
        refused(b"\x2a\x04\x12\x02\x0a\x00", "sample has a wrong wire type at byte 2 of 2");
        refused(b"\x2a\x03\x0a\x01\x80", "truncated varint at byte 1 of 1");
        refused(b"\x2a\x05\x00", "length beyond the end at byte 2 of 3");
        refused(b"\x2b\x2c", "unknown wire type at byte 1 of 2");
        refused(b"\x00\x00", "field number 0 at byte 1 of 2");
    }

    /// A message of one series of these bytes.
    fn series_of(bytes: &[u8]) -> Vec<u8> {
        let mut message = vec![SERIES];
        prost::encoding::encode_varint(bytes.len() as u64, &mut message);
        message.extend_from_slice(bytes);
        message
    }

    #[test]
    fn a_message_of_millions_of_parts_is_refused() {
        refused(&b"\x22\x00".repeat(2_000_000), "more than 1000000 symbols at byte 2000002 of 4000000");
        let (too_many, references) =
            ("more than 1000000 series and samples", "more than 8000000 label references");
        refused(
            &series_of(&b"\x12\x00".repeat(2_000_000)),
            &format!("{too_many} at byte 2000002 of 4000000"),
        );
        refused(&b"\x2a\x02\x12\x00".repeat(2_000_000), &format!("{too_many} at byte 2 of 2"));
        refused(
            &series_of(&b"\x08\x01".repeat(9_000_000)),
            &format!("{references} at byte 16000002 of 18000000"),
        );
        let packed = [&b"\x0a\x81\x92\xf4\x01"[..], &[1; 4_000_001]].concat();
        refused(&series_of(&packed.repeat(2)), &format!("{references} at byte 0 of 4000001"));
    }
}
