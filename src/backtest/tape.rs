//! The samples of many series, kept small until they are replayed in the order of time.
//!
//! Files hold history series by series, and a replay needs it scrape by scrape. So all of it is held, as two numbers a
//! sample of which most take a byte or two:
//!
//! ```text
//! by how much the interval differs from the last one, as a zigzag varint; 1 byte when scrapes are regular
//! whole numbers: by how much the value differs, zigzag, shifted by one; 1 to 3 bytes for a counter
//! others:        a 1, and the 8 bytes of the value
//! ```
//!
//! 86 million samples of counters take some 300 MB. The invariant: what is read is what was written, bit by bit,
//! staleness markers included.

use prost::encoding::{decode_varint, encode_varint};

use crate::{history::Sample, labels::Labels, prompb, time::Timestamp};

/// All samples that are yet to be replayed.
#[derive(Debug, Default)]
pub(super) struct Tape {
    tracks: Vec<Track>,
}

/// A series.
#[derive(Debug)]
struct Track {
    /// What is read next; `None` at the end.
    next: Option<Sample>,
    reader: Cursor,
    writer: Cursor,
    has_begun: bool,
    /// Up to where it has been read.
    position: usize,
    bytes: Vec<u8>,
    /// As requests have its labels.
    labels: Vec<u8>,
}

/// What a sample is told as a difference from.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    at_ms: i64,
    interval_ms: i64,
    value: f64,
}

/// A sample, and the number of its series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Played {
    pub(super) at: Timestamp,
    pub(super) track: u32,
    pub(super) value: f64,
}

// Differences of whole numbers below this are exact.
const WHOLE_MAX: f64 = (1_u64 << 52) as f64;
/// Says that the value follows as it is.
const RAW: u64 = 1;

// === impl Tape ===

impl Tape {
    /// A series without samples; returns its number.
    pub(super) fn open(&mut self, labels: &Labels) -> usize {
        self.tracks.push(Track {
            next: None,
            reader: Cursor::default(),
            writer: Cursor::default(),
            has_begun: false,
            position: 0,
            bytes: Vec::new(),
            labels: prompb::encode_labels(labels.iter()),
        });
        self.tracks.len() - 1
    }

    /// Adds a sample to a series. False if it is not after the one before: then it is left out.
    pub(super) fn push(&mut self, track: usize, sample: Sample) -> bool {
        self.tracks[track].push(sample)
    }

    /// The labels of a series as requests have them.
    pub(super) fn labels(&self, track: u32) -> &[u8] {
        &self.tracks[track as usize].labels
    }

    /// When the first sample is due.
    pub(super) fn first(&self) -> Option<Timestamp> {
        self.tracks.iter().filter_map(|track| track.next).map(|sample| sample.at).min()
    }

    /// When the last sample is.
    pub(super) fn last(&self) -> Option<Timestamp> {
        let left = self.tracks.iter().filter(|track| track.next.is_some());
        left.map(|track| Timestamp(track.writer.at_ms)).max()
    }

    /// Takes all samples up to a time into an empty list, in the order of time; those of the same time in the order
    /// of their series.
    pub(super) fn take(&mut self, to: Timestamp, played: &mut Vec<Played>) {
        played.clear();
        for (number, track) in self.tracks.iter_mut().enumerate() {
            while let Some(sample) = track.next.filter(|sample| sample.at <= to) {
                played.push(Played { at: sample.at, track: number as u32, value: sample.value });
                track.read();
            }
            if track.next.is_none() {
                track.forget();
            }
        }
        // Stable, and quick where targets are scraped at the same times.
        played.sort_by_key(|played| played.at);
    }

    /// The memory of it.
    pub(super) fn bytes(&self) -> usize {
        let of = |track: &Track| size_of::<Track>() + track.bytes.capacity() + track.labels.capacity();
        self.tracks.iter().map(of).sum()
    }
}

// === impl Track ===

impl Track {
    fn push(&mut self, sample: Sample) -> bool {
        if self.has_begun && sample.at.0 <= self.writer.at_ms {
            return false;
        }
        self.has_begun = true;
        self.writer.write(sample, &mut self.bytes);
        if self.next.is_none() {
            self.read();
        }
        true
    }

    /// Gives room to what comes next, where history comes in pieces.
    fn forget(&mut self) {
        self.bytes.clear();
        self.position = 0;
    }

    fn read(&mut self) {
        let mut rest = &self.bytes[self.position..];
        self.next = self.reader.read(&mut rest);
        self.position = self.bytes.len() - rest.len();
    }
}

// === impl Cursor ===

impl Cursor {
    fn write(&mut self, sample: Sample, bytes: &mut Vec<u8>) {
        let interval_ms = sample.at.0.wrapping_sub(self.at_ms);
        encode_varint(zigzag(interval_ms.wrapping_sub(self.interval_ms)), bytes);
        match whole_difference(self.value, sample.value) {
            Some(difference) => encode_varint(zigzag(difference) << 1, bytes),
            None => {
                encode_varint(RAW, bytes);
                bytes.extend_from_slice(&sample.value.to_le_bytes());
            }
        }
        *self = Self { at_ms: sample.at.0, interval_ms, value: sample.value };
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Option<Sample> {
        self.interval_ms = self.interval_ms.wrapping_add(unzigzag(decode_varint(bytes).ok()?));
        self.at_ms = self.at_ms.wrapping_add(self.interval_ms);
        let code = decode_varint(bytes).ok()?;
        if code == RAW {
            let (value, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            self.value = f64::from_le_bytes(*value);
        } else {
            self.value += unzigzag(code >> 1) as f64;
        }
        Some(Sample { at: Timestamp(self.at_ms), value: self.value })
    }
}

fn whole_difference(before: f64, value: f64) -> Option<i64> {
    // By its bits: there is a zero that is below zero.
    let is_whole = |number: f64| (number as i64 as f64).to_bits() == number.to_bits();
    let is_exact = is_whole(value) && is_whole(before) && value.abs() < WHOLE_MAX && before.abs() < WHOLE_MAX;
    is_exact.then(|| value as i64 - before as i64)
}

fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(at: i64, value: f64) -> Sample {
        Sample { at: Timestamp(at), value }
    }

    fn labels() -> Labels {
        Labels::new([("__name__", "up")]).unwrap()
    }

    #[test]
    fn samples_of_a_time_come_in_the_order_of_series_and_late_ones_are_left_out() {
        let mut tape = Tape::default();
        let (a, b) = (tape.open(&labels()), tape.open(&labels()));
        for (track, at, expected) in
            [(b, 10, true), (b, 30, true), (a, 20, true), (a, 30, true), (a, 30, false), (a, 25, false)]
        {
            assert_eq!(tape.push(track, sample(at, 1.0)), expected, "at {at}");
        }
        assert_eq!((tape.first(), tape.last()), (Some(Timestamp(10)), Some(Timestamp(30))));
        let mut take = |to| {
            let mut played = Vec::new();
            tape.take(Timestamp(to), &mut played);
            played.iter().map(|played| (played.at.0, played.track)).collect::<Vec<_>>()
        };
        assert_eq!(take(20), [(10, 1), (20, 0)]);
        assert_eq!(take(30), [(30, 0), (30, 1)]);
        assert_eq!(take(40), []);
        assert_eq!((tape.first(), tape.last()), (None, None));
    }

    #[test]
    fn a_sample_of_a_counter_takes_four_bytes() {
        let mut tape = Tape::default();
        let track = tape.open(&labels());
        for n in 0..10_000 {
            tape.push(track, sample(1_700_000_000_000 + n * 30_000, (n * 731) as f64));
        }
        assert!(tape.tracks[0].bytes.len() < 40_000, "{}", tape.tracks[0].bytes.len());
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            steps in proptest::collection::vec((1_i64..1 << 40, any::<u64>(), -1_000_i64..1_000), 1..50),
        ) {
            let mut tape = Tape::default();
            let track = tape.open(&labels());
            let mut at = -5_000;
            let mut written = Vec::new();
            for (interval, bits, whole) in steps {
                at += interval;
                let value = if bits % 3 == 0 { f64::from_bits(bits) } else { whole as f64 };
                written.push((at, value.to_bits()));
                prop_assert!(tape.push(track, sample(at, value)));
            }
            let mut played = Vec::new();
            tape.take(Timestamp(i64::MAX), &mut played);
            let read: Vec<_> = played.iter().map(|played| (played.at.0, played.value.to_bits())).collect();
            prop_assert_eq!(read, written);
        }
    }
}
