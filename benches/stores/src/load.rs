//! What slod keeps, in the sizes that it has: rings and counters of 10,000 SLIs and 100,000 series.

pub const SLIS: u32 = 10_000;
pub const RINGS: u8 = 4;
/// Blocks of 128 series: what shares a lock in the table of series is written as one value.
pub const SERIES_BLOCKS: u32 = 782;

const HEAD_BYTES: usize = 250;
const SERIES_BLOCK_BYTES: usize = 6_000;
/// Slots of one byte for bad and one for all: 3 minutes at 1 s, 1 h, 3 days, 30 days.
const RING_BYTES: [usize; RINGS as usize] = [360, 740, 1_800, 6_000];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    Heads,
    Rings,
    Series,
}

pub const PARTS: [Part; 3] = [Part::Heads, Part::Rings, Part::Series];

pub struct Entry {
    pub part: Part,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

pub struct Random(pub u64);

impl Random {
    /// splitmix64
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn noise(&mut self, bytes: usize) -> Vec<u8> {
        let mut noise: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        noise.truncate(bytes);
        noise
    }

    /// Bad events, mostly none, and all events, which vary by a few: what a quiet service has in its slots.
    fn slots(&mut self, bytes: usize) -> Vec<u8> {
        let pairs = (0..bytes / 2).flat_map(|_| {
            let dice = self.next();
            [u8::from(dice.is_multiple_of(50)), 20 + (dice >> 32) as u8 % 8]
        });
        pairs.collect()
    }
}

/// The whole state, values in the order of their keys.
pub fn whole(random: &mut Random) -> Vec<Entry> {
    let mut entries = heads(random);
    for sli in 0..SLIS {
        entries.extend((0..RINGS).map(|ring| self::ring(random, sli, ring)));
    }
    entries.extend(series(random));
    entries
}

/// What a checkpoint writes: every head, one ring of each SLI, every block of series.
pub fn increment(random: &mut Random) -> Vec<Entry> {
    let mut entries = heads(random);
    for sli in 0..SLIS {
        let which = (random.next() % u64::from(RINGS)) as u8;
        entries.push(ring(random, sli, which));
    }
    entries.extend(series(random));
    entries
}

/// Bytes of the state before compression.
pub fn bytes_in_memory() -> u64 {
    let sli = HEAD_BYTES + RING_BYTES.iter().sum::<usize>();
    u64::from(SLIS) * sli as u64 + u64::from(SERIES_BLOCKS) * SERIES_BLOCK_BYTES as u64
}

fn heads(random: &mut Random) -> Vec<Entry> {
    let head = |sli: u32| Entry {
        part: Part::Heads,
        key: sli.to_be_bytes().to_vec(),
        value: compressed(&random.noise(HEAD_BYTES)),
    };
    (0..SLIS).map(head).collect()
}

fn ring(random: &mut Random, sli: u32, ring: u8) -> Entry {
    let mut key = sli.to_be_bytes().to_vec();
    key.push(ring);
    let value = compressed(&random.slots(RING_BYTES[ring as usize]));
    Entry { part: Part::Rings, key, value }
}

fn series(random: &mut Random) -> Vec<Entry> {
    let block = |block: u32| Entry {
        part: Part::Series,
        key: block.to_be_bytes().to_vec(),
        value: compressed(&random.noise(SERIES_BLOCK_BYTES)),
    };
    (0..SERIES_BLOCKS).map(block).collect()
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).expect("far below 4 GiB")
}
