//! A 1.0 request written sample by sample, for who replays what was received elsewhere.

use prost::encoding::{encode_varint, encoded_len_varint};

use super::v1::{self, SAMPLE, SERIES};

/// A request that is being written. It keeps its memory for the next one.
#[derive(Debug, Default)]
pub struct Writer {
    message: Vec<u8>,
    series: usize,
}

// Field number and wire type of the two fields of a sample.
const VALUE: u8 = 0x09;
const TIMESTAMP: u8 = 0x10;

/// Labels, sorted by name, as each series of a request has them.
pub fn encode_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut block = Vec::new();
    v1::encode_labels(labels, &mut block);
    block
}

// === impl Writer ===

impl Writer {
    /// Adds a series of one sample, with its labels as [`encode_labels`] writes them.
    pub fn push(&mut self, labels: &[u8], timestamp_ms: i64, value: f64) {
        let message = &mut self.message;
        let sample_len = 1 + size_of::<f64>() + 1 + encoded_len_varint(timestamp_ms as u64);
        // A sample has at most 20 bytes: its length is one.
        let series_len = labels.len() + 2 + sample_len;
        message.push(SERIES);
        encode_varint(series_len as u64, message);
        message.extend_from_slice(labels);
        message.extend_from_slice(&[SAMPLE, sample_len as u8, VALUE]);
        message.extend_from_slice(&value.to_le_bytes());
        message.push(TIMESTAMP);
        encode_varint(timestamp_ms as u64, message);
        self.series += 1;
    }

    /// How many samples it holds.
    pub fn len(&self) -> usize {
        self.series
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.series == 0
    }

    /// The request so far, without snappy.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Begins the next request.
    pub fn clear(&mut self) {
        self.message.clear();
        self.series = 0;
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::prompb::generated::v1 as wire;

    #[test]
    fn what_is_written_is_a_write_request() {
        let labels = [("__name__", "up"), ("job", "api")];
        let block = encode_labels(labels.into_iter());
        let mut writer = Writer::default();
        let samples = [(1_700_000_000_000, 1.5), (-1, f64::INFINITY), (0, 0.0)];
        samples.iter().for_each(|(at, value)| writer.push(&block, *at, *value));
        let request = wire::WriteRequest::decode(writer.message()).unwrap();
        let read: Vec<(i64, f64)> =
            request.timeseries.iter().map(|s| (s.samples[0].timestamp, s.samples[0].value)).collect();
        assert_eq!((writer.len(), read.as_slice()), (3, samples.as_slice()));
        assert_eq!(request.timeseries[2].labels[1].value, "api");
        writer.clear();
        assert!(writer.is_empty() && writer.message().is_empty());
    }
}
