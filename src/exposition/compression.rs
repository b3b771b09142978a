//! Packing a page. Fast rather than small: a page is packed once, and sent to a scraper or two nearby.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::Encoding;

// Names and labels repeat so much that even the fastest level leaves a fifteenth of a page.
const ZSTD_LEVEL: i32 = 1;
const RATIO: usize = 12;

/// A page in this encoding.
pub(super) fn packed<'a>(page: impl Iterator<Item = &'a Bytes> + Clone, encoding: Encoding) -> Vec<Bytes> {
    let length: usize = page.clone().map(Bytes::len).sum();
    let out = Vec::with_capacity(length / RATIO);
    let packed = match encoding {
        Encoding::Identity => return page.cloned().collect(),
        Encoding::Gzip => gzip(page, out),
        Encoding::Zstd => zstd(page, out),
    };
    vec![packed.expect("BUG: memory cannot be written to").into()]
}

fn gzip<'a>(mut page: impl Iterator<Item = &'a Bytes>, out: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(out, Compression::fast());
    page.try_for_each(|chunk| encoder.write_all(chunk))?;
    encoder.finish()
}

fn zstd<'a>(mut page: impl Iterator<Item = &'a Bytes>, out: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
    page.try_for_each(|chunk| encoder.write_all(chunk))?;
    encoder.finish()
}
