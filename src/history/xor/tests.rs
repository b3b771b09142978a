//! Chunks that are written as Prometheus does, and chunks that nobody writes.

use proptest::prelude::*;

use super::*;

/// Writes bits, the highest first.
#[derive(Default)]
struct Writer {
    bits: Vec<bool>,
}

impl Writer {
    fn put(&mut self, number: u64, count: u32) {
        self.bits.extend((0..count).rev().map(|bit| number >> bit & 1 == 1));
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.put(number & 0x7f | 0x80, 8);
            number >>= 7;
        }
        self.put(number, 8);
    }

    fn change(&mut self, change: i64) {
        let fits = |width: u32| (-((1 << (width - 1)) - 1)..=1 << (width - 1)).contains(&change);
        match change {
            0 => self.put(0, 1),
            _ if fits(14) => self.prefixed(0b10, 2, change, 14),
            _ if fits(17) => self.prefixed(0b110, 3, change, 17),
            _ if fits(20) => self.prefixed(0b1110, 4, change, 20),
            _ => self.prefixed(0b1111, 4, change, 64),
        }
    }

    fn prefixed(&mut self, prefix: u64, length: u32, change: i64, width: u32) {
        self.put(prefix, length);
        self.put(change as u64, width);
    }

    fn bytes(&self) -> Vec<u8> {
        let byte =
            |bits: &[bool]| bits.iter().enumerate().map(|(at, bit)| u8::from(*bit) << (7 - at)).sum::<u8>();
        self.bits.chunks(8).map(byte).collect()
    }
}

/// A chunk as Prometheus writes it.
fn encode(samples: &[(i64, f64)]) -> Vec<u8> {
    let mut out = Writer::default();
    out.put(samples.len() as u64, 16);
    let (mut last_at, mut interval, mut last) = (0_i64, 0_i64, 0_u64);
    let mut window: Option<(u32, u32)> = None;
    for (n, (at, value)) in samples.iter().enumerate() {
        let new_interval = at.wrapping_sub(last_at);
        match n {
            0 => out.varint((at << 1 ^ at >> 63) as u64),
            1 => out.varint(new_interval as u64),
            _ => out.change(new_interval.wrapping_sub(interval)),
        }
        let xor = value.to_bits() ^ last;
        if n == 0 {
            out.put(value.to_bits(), 64);
        } else if xor == 0 {
            out.put(0, 1);
        } else {
            let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
            match window {
                Some((l, t)) if leading >= l && trailing >= t => {
                    out.put(0b10, 2);
                    out.put(xor >> t, 64 - l - t);
                }
                _ => {
                    let width = 64 - leading - trailing;
                    out.put(0b11, 2);
                    out.put(u64::from(leading), 5);
                    out.put(u64::from(width) & 63, 6);
                    out.put(xor >> trailing, width);
                    window = Some((leading, trailing));
                }
            }
        }
        (last_at, interval, last) = (*at, if n == 0 { 0 } else { new_interval }, value.to_bits());
    }
    out.bytes()
}

fn decoded(chunk: &[u8]) -> (Vec<(i64, u64)>, Result<(), ChunkError>) {
    let mut samples = Vec::new();
    let outcome = decode(chunk, |sample| samples.push((sample.at.0, sample.value.to_bits())));
    (samples, outcome)
}

/// Times of a steady scrape, now and then late, and values of all kinds.
fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let interval = prop_oneof![
        Just(15_000_i64),
        14_900..15_100_i64,
        1..100_000_i64,
        1..10_000_000_i64,
        1..i64::from(u32::MAX)
    ];
    let value = prop_oneof![
        (0..1_000_u32).prop_map(f64::from),
        any::<f64>(),
        any::<u64>().prop_map(f64::from_bits),
        Just(1.0)
    ];
    let start = prop_oneof![Just(1_700_000_000_000_i64), any::<i32>().prop_map(i64::from)];
    (start, proptest::collection::vec((interval, value), 0..130)).prop_map(|(start, steps)| {
        let mut at = start;
        let mut sample = |(interval, value)| {
            at += interval;
            (at, value)
        };
        steps.into_iter().map(&mut sample).collect()
    })
}

#[test]
fn a_chunk_of_prometheus_is_read() {
    // As Prometheus 2.42 wrote it to a block: every 15 s, once 1 ms late.
    let chunk = [
        0x00, 0x08, 0x80, 0xa0, 0xab, 0xfe, 0xf9, 0x62, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x98,
        0x75, 0xc4, 0x57, 0xfe, 0xc2, 0x6f, 0xfe, 0x50, 0x03, 0xa0, 0x00, 0x75, 0x89, 0x37, 0xff, 0xda, 0x48,
        0xeb, 0x80, 0x01, 0xd6, 0x4f, 0x55, 0xa8, 0xad, 0xd4,
    ];
    let start = 1_700_000_000_000;
    let values = [0.0, 1.0, 5.0, 14.0, 30.0, 55.0, 91.25, 140.0];
    let at = |n: i64| start + n * 15_000 + i64::from(n == 4);
    let samples: Vec<(i64, f64)> = (0..).map(at).zip(values).collect();
    let bits = samples.iter().map(|(at, value)| (*at, value.to_bits())).collect();
    assert_eq!(decoded(&chunk), (bits, Ok(())));
    assert_eq!(encode(&samples), chunk, "what these tests write is what Prometheus writes");
}

#[test]
fn broken_chunks_are_told() {
    assert_eq!(decoded(&[]), (vec![], Ok(())));
    assert_eq!(decoded(&[0, 1]).1, Err(ChunkError::CutOff { read: 0, all: 1 }));
    let endless = [&[0, 1][..], &[0xff; 20]].concat();
    assert_eq!(decoded(&endless).1, Err(ChunkError::Broken("a time has more than 64 bits")));
    let mut wide = Writer::default();
    wide.put(2, 16);
    wide.varint(0);
    wide.put(0, 64);
    wide.varint(1);
    wide.put(0b11, 2);
    wide.put(31, 5);
    wide.put(63, 6);
    wide.put(0, 64);
    assert_eq!(decoded(&wide.bytes()).1, Err(ChunkError::Broken("a value has more than 64 bits")));
}

proptest! {
    #[test]
    fn what_is_written_comes_back(samples in samples()) {
        let bits: Vec<(i64, u64)> = samples.iter().map(|(at, value)| (*at, value.to_bits())).collect();
        prop_assert_eq!(decoded(&encode(&samples)), (bits, Ok(())));
    }

    #[test]
    fn a_chunk_that_is_cut_off_is_told(samples in samples(), part in 0.0..1.0_f64) {
        let chunk = encode(&samples);
        let cut = (chunk.len() as f64 * part) as usize;
        let (read, outcome) = decoded(&chunk[..cut]);
        let whole: Vec<(i64, u64)> = samples.iter().map(|(at, value)| (*at, value.to_bits())).collect();
        prop_assert!(whole.starts_with(&read));
        prop_assert!(outcome.is_err() || cut < 2 || samples.is_empty(), "{:?}", outcome);
    }

    #[test]
    fn any_change_of_a_chunk_is_read_without_a_panic(
        samples in samples(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut chunk = encode(&samples);
        for (at, byte) in changes {
            let at = at.index(chunk.len());
            chunk[at] ^= byte;
        }
        let (read, outcome) = decoded(&chunk);
        prop_assert!(outcome.is_err() || read.len() == usize::from(declared(&chunk)));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(chunk in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decoded(&chunk).0.len() <= usize::from(declared(&chunk)));
    }
}
