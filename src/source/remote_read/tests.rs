//! Answers of both kinds, whole and damaged.

use hyper::header::HeaderValue;
use proptest::prelude::*;

use super::*;
use crate::{
    history::Series,
    prompb::generated::v1::{self, ChunkedSeries, QueryResult, TimeSeries},
};

const START: Timestamp = Timestamp(1_000);
const END: Timestamp = Timestamp(3_000);

fn headers(kind: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))])
}

fn read_answer(kind: &'static str, body: Vec<u8>) -> Result<(Vec<Series>, u64), Reason> {
    let external_labels = Labels::default();
    let mut found = Found::new(&external_labels, START, END);
    answer(&headers(kind), body.into(), &mut found)?;
    let piece = found.piece();
    Ok((piece.series, piece.histograms))
}

fn label(name: &str, value: &str) -> Label {
    Label { name: name.to_owned(), value: value.to_owned() }
}

/// A chunk of one sample.
fn chunk(ms: u8, value: f64) -> Chunk {
    // The time by zigzag, 100 ms each.
    let mut data = vec![0, 1];
    prost::encoding::encode_varint(u64::from(ms) * 200, &mut data);
    data.extend(value.to_be_bytes());
    Chunk { min_time_ms: 0, max_time_ms: 0, r#type: Encoding::Xor.into(), data }
}

fn histogram(count: u16) -> Chunk {
    let data = count.to_be_bytes().to_vec();
    Chunk { r#type: Encoding::Histogram.into(), data, ..chunk(0, 0.0) }
}

fn stream(frames: &[(&str, Vec<Chunk>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (instance, chunks) in frames {
        let labels = vec![label("__name__", "up"), label("instance", instance)];
        let series = ChunkedSeries { labels, chunks: chunks.clone() };
        let message = ChunkedReadResponse { chunked_series: vec![series], query_index: 0 }.encode_to_vec();
        prost::encoding::encode_varint(message.len() as u64, &mut body);
        body.extend(crc32c::crc32c(&message).to_be_bytes());
        body.extend(message);
    }
    body
}

fn example() -> Vec<u8> {
    stream(&[
        ("a", vec![chunk(9, 0.0), chunk(10, 1.0), chunk(20, 2.0)]),
        ("a", vec![histogram(7), chunk(30, 3.0), chunk(31, 4.0)]),
        ("b", vec![chunk(9, 0.0)]),
    ])
}

fn series(instance: &str, samples: &[(i64, f64)]) -> Series {
    let labels = Labels::new([("__name__", "up"), ("instance", instance)]).unwrap();
    let samples = samples.iter().map(|(ms, value)| Sample { at: Timestamp(*ms), value: *value });
    Series { labels, samples: samples.collect() }
}

#[test]
fn a_stream_of_chunks_is_read_within_its_time() {
    let expected = vec![series("a", &[(1_000, 1.0), (2_000, 2.0), (3_000, 3.0)])];
    assert_eq!(read_answer(STREAMED, example()), Ok((expected, 7)));
    assert_eq!(read_answer(STREAMED, Vec::new()), Ok((vec![], 0)));
}

#[test]
fn samples_are_read_within_their_time() {
    let sample = |timestamp, value| v1::Sample { timestamp, value };
    let found = TimeSeries {
        labels: vec![label("instance", "a"), label("__name__", "up")],
        samples: vec![sample(999, 0.0), sample(1_000, 1.0), sample(3_000, 3.0), sample(3_001, 4.0)],
        histograms: vec![v1::Histogram::default(); 2],
        exemplars: vec![],
    };
    let response = ReadResponse { results: vec![QueryResult { timeseries: vec![found] }] };
    let body = snap::raw::Encoder::new().compress_vec(&response.encode_to_vec()).unwrap();
    let expected = vec![series("a", &[(1_000, 1.0), (3_000, 3.0)])];
    assert_eq!(read_answer("application/x-protobuf", body), Ok((expected, 2)));
}

#[test]
fn what_is_no_answer_is_told() {
    #[track_caller]
    fn check(kind: &'static str, body: Vec<u8>, expected: &str) {
        let error = read_answer(kind, body).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let mut flipped = example();
    *flipped.last_mut().unwrap() ^= 1;
    check(STREAMED, flipped, "the checksum of a frame is ");
    let mut cut = example();
    cut.pop();
    check(STREAMED, cut, "its stream of chunks is cut off");
    check(STREAMED, [example(), b"query timed out\n".to_vec()].concat(), "its stream of chunks is cut off");
    let unknown = Chunk { r#type: 9, ..chunk(10, 1.0) };
    check(STREAMED, stream(&[("a", vec![unknown])]), "a chunk of encoding 9");
    let short = Chunk { data: vec![0, 1], ..chunk(10, 1.0) };
    check(STREAMED, stream(&[("a", vec![short])]), "the chunk ends after 0 of its 1 samples");
    let bomb = vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00];
    check("application/x-protobuf", bomb, "the answer has more than 67108864 bytes");
    check("text/html", b"<html>".to_vec(), "the answer is not one of Prometheus' API: ");
}

#[test]
fn a_byte_of_a_chunk_that_holds_many_samples_fills_no_memory() {
    // 65,535 samples of the same value at the same interval, two bits each.
    let mut data = vec![0xff, 0xff, 0x00];
    data.extend([0; 8]);
    data.push(0x00);
    data.extend([0; 16_384]);
    let chunks = vec![Chunk { data, ..chunk(0, 0.0) }; 65];
    let error = read_answer(STREAMED, stream(&[("a", chunks)])).unwrap_err();
    assert_eq!(error, Reason::TooManySamples(4 << 20));
}

proptest! {
    #[test]
    fn any_change_of_an_answer_is_read_without_a_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        is_summed in any::<bool>(),
    ) {
        let mut body = example();
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] ^= byte;
        }
        // That the checksum keeps nothing from being tried.
        if is_summed && body[0] < 0x80 && body.len() > 5 + usize::from(body[0]) {
            let end = 5 + usize::from(body[0]);
            let sum = crc32c::crc32c(&body[5..end]);
            body[1..5].copy_from_slice(&sum.to_be_bytes());
        }
        if let Ok((series, _)) = read_answer(STREAMED, body.clone()) {
            let times = series.iter().flat_map(|series| &series.samples).map(|sample| sample.at);
            prop_assert!(times.into_iter().all(|at| (START..=END).contains(&at)));
        }
        let _ = read_answer("application/x-protobuf", body);
    }
}
