//! What can still be read of a damaged file, without trusting any of it.
//!
//! redb takes a file as a whole: one bit that changed, and all of it is refused. This reads the trees of redb's
//! file format 3 by itself (redb's docs/design.md describes it), from the root down. Pages that lead to others
//! are believed only when they match their checksum. A page of values that does not is looked through value by
//! value, because each has a checksum of its own. So a changed bit costs the value that it is in, or what is below
//! its page; and nothing is followed that redb did not write, so that reading always ends.

use std::{io, sync::Arc, vec};

use xxhash_rust::xxh3::xxh3_128;

use super::{Change, Checkpoint, DamagedValue, Part, engine, value::Unwrapper};
use crate::storage::disk::DiskFile;

/// A damaged file of which the way to the tables is intact.
pub(super) struct Salvage {
    file: Arc<dyn DiskFile>,
    geometry: Geometry,
    tables: Vec<(Vec<u8>, Pointer)>,
}

/// The values of a part, and the losses among them.
pub(super) struct Values<'a> {
    salvage: &'a Salvage,
    part: Part,
    pages: Vec<Pointer>,
    found: vec::IntoIter<Result<Change, Loss>>,
    unwrapper: Unwrapper,
}

/// Something that cannot be read.
pub(super) enum Loss {
    /// A value whose key can be read.
    Value(DamagedValue),
    /// A page with any number of values.
    Page(Part),
}

/// Where pages lie.
struct Geometry {
    file_bytes: u64,
    page_bytes: u64,
    region_header_bytes: u64,
    region_bytes: u64,
}

/// A page and what it should be.
#[derive(Clone, Copy)]
struct Pointer {
    number: u64,
    checksum: u128,
}

struct Page {
    bytes: Vec<u8>,
    matches: bool,
}

const HEADER_BYTES: usize = 320;
const LEAF: u8 = 1;
const BRANCH: u8 = 2;
/// In the header: the byte whose lowest bit says which of two slots counts, and where these are.
const GOD_BYTE: usize = 9;
const SLOTS: [usize; 2] = [64, 192];
const SLOT_BYTES: usize = 128;
/// Pages have at most 2^20 times the base size; a number that says more is damaged.
const ORDER_MAX: u64 = 20;

// === impl Salvage ===

impl Salvage {
    /// Reads the way to the tables; nothing if that is damaged, too.
    pub(super) fn new(file: Arc<dyn DiskFile>) -> Option<Self> {
        let mut header = [0; HEADER_BYTES];
        file.read_exact_at(&mut header, 0).ok()?;
        let geometry = Geometry::read(&header, file.len().ok()?)?;
        let slot = &header[SLOTS[usize::from(header[GOD_BYTE] & 1)]..][..SLOT_BYTES];
        let (slot, checksum) = slot.split_last_chunk::<16>()?;
        if xxh3_128(slot) != u128::from_le_bytes(*checksum) || slot[1] == 0 {
            return None;
        }
        let mut salvage = Self { file, geometry, tables: Vec::new() };
        salvage.tables = salvage.read_tables(Pointer::read(slot, 8)?)?;
        Some(salvage)
    }

    /// What the state is of; nothing if that is not known.
    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        let meta = self.values(Part::Meta).filter_map(Result::ok);
        meta.filter_map(|change| engine::as_checkpoint(&change)).next()
    }

    /// The format, if it can be read.
    pub(super) fn format(&self) -> Option<u32> {
        let root = self.root(Part::Meta)?;
        let page = self.page(root).ok().filter(|page| page.matches)?;
        let format = page.entries().flatten().find(|(key, _)| *key == engine::FORMAT_KEY)?;
        Some(u32::from_le_bytes(format.1.try_into().ok()?))
    }

    /// All that is left of a part, in the order of keys.
    pub(super) fn values(&self, part: Part) -> Values<'_> {
        let pages = self.root(part).into_iter().collect();
        Values { salvage: self, part, pages, found: Vec::new().into_iter(), unwrapper: Unwrapper::default() }
    }

    fn root(&self, part: Part) -> Option<Pointer> {
        self.tables.iter().find(|(name, _)| name == part.name().as_bytes()).map(|(_, root)| *root)
    }

    /// Names and roots of the tables. Nothing but the pages' checksums covers them, so all must match.
    fn read_tables(&self, root: Pointer) -> Option<Vec<(Vec<u8>, Pointer)>> {
        let (mut tables, mut pages) = (Vec::new(), vec![root]);
        while let Some(pointer) = pages.pop() {
            let page = self.page(pointer).ok().filter(|page| page.matches)?;
            if page.bytes[0] == BRANCH {
                pages.extend(page.children()?);
                continue;
            }
            for entry in page.entries() {
                let (name, definition) = entry?;
                // Kind, number of values, whether there is a root, and the root.
                if *definition.get(9)? != 0 {
                    tables.push((name.to_vec(), Pointer::read(definition, 10)?));
                }
            }
        }
        Some(tables)
    }

    fn page(&self, pointer: Pointer) -> io::Result<Page> {
        let (offset, length) = self.geometry.place(pointer.number).ok_or(io::ErrorKind::InvalidData)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, offset)?;
        let mut page = Page { bytes, matches: false };
        page.matches =
            page.end().and_then(|end| page.bytes.get(..end)).map(xxh3_128) == Some(pointer.checksum);
        Ok(page)
    }
}

// === impl Values ===

impl Iterator for Values<'_> {
    type Item = Result<Change, Loss>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.found.next() {
                return Some(found);
            }
            let pointer = self.pages.pop()?;
            let Some(found) = self.open(pointer) else { return Some(Err(Loss::Page(self.part))) };
            self.found = found.into_iter();
        }
    }
}

impl Values<'_> {
    /// What a page holds itself; what it leads to comes later. Nothing if it cannot be read.
    fn open(&mut self, pointer: Pointer) -> Option<Vec<Result<Change, Loss>>> {
        let page = self.salvage.page(pointer).ok()?;
        match page.bytes[0] {
            LEAF => Some(page.entries().map(|entry| self.value(entry)).collect()),
            BRANCH if page.matches => {
                let children = page.children()?;
                self.pages.extend(children.into_iter().rev());
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn value(&mut self, entry: Option<(&[u8], &[u8])>) -> Result<Change, Loss> {
        let part = self.part;
        let (key, stored) = entry.ok_or(Loss::Page(part))?;
        match self.unwrapper.unwrap(part, key, stored) {
            Ok(value) => Ok(Change { part, key: key.to_vec(), value: Some(value.to_vec()) }),
            Err(damage) => Err(Loss::Value(DamagedValue { part, key: key.to_vec(), damage })),
        }
    }
}

// === impl Geometry ===

impl Geometry {
    fn read(header: &[u8], file_bytes: u64) -> Option<Self> {
        let [page_bytes, header_pages, data_pages] = [12, 16, 20].map(|at| u32_at(header, at).map(u64::from));
        let (page_bytes, header_pages, data_pages) = (page_bytes?, header_pages?, data_pages?);
        let region_header_bytes = page_bytes.checked_mul(header_pages)?;
        let region_bytes = page_bytes.checked_mul(header_pages + data_pages)?;
        (page_bytes >= 512).then_some(Self { file_bytes, page_bytes, region_header_bytes, region_bytes })
    }

    /// Offset and length of a page, if all of it is in the file.
    fn place(&self, number: u64) -> Option<(u64, usize)> {
        let order = number >> 59;
        if order > ORDER_MAX {
            return None;
        }
        let index = number & (0xf_ffff >> order);
        let region = (number >> 20) & 0xf_ffff;
        let length = self.page_bytes.checked_mul(1 << order)?;
        let in_region = self.region_header_bytes.checked_add(index.checked_mul(length)?)?;
        let offset =
            self.page_bytes.checked_add(region.checked_mul(self.region_bytes)?)?.checked_add(in_region)?;
        (offset.checked_add(length)? <= self.file_bytes).then_some((offset, usize::try_from(length).ok()?))
    }
}

// === impl Pointer ===

impl Pointer {
    /// As in a slot and in the definition of a table.
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let (number, checksum) = bytes.get(at..at + 24)?.split_first_chunk()?;
        let checksum = u128::from_le_bytes(checksum.try_into().ok()?);
        Some(Self { number: u64::from_le_bytes(*number), checksum })
    }
}

// === impl Page ===

impl Page {
    fn count(&self) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[2], self.bytes[3]]))
    }

    /// Where its content ends, as it says itself.
    fn end(&self) -> Option<usize> {
        let last = self.count().checked_sub(1)?;
        let ends = match self.bytes[0] {
            LEAF => 4 + 4 * self.count(),
            _ => 8 + 24 * (self.count() + 1),
        };
        Some(u32_at(&self.bytes, ends + 4 * last)? as usize)
    }

    /// Keys and values of a page that has them, where they are said to be; nothing where that cannot be.
    fn entries(&self) -> impl Iterator<Item = Option<(&[u8], &[u8])>> {
        let (count, bytes) = (self.count(), &self.bytes);
        let end_of_key = move |index: usize| u32_at(bytes, 4 + 4 * index).map(|end| end as usize);
        let end_of_value = move |index: usize| u32_at(bytes, 4 + 4 * (count + index)).map(|end| end as usize);
        (0..count).map(move |index| {
            let (before_key, before_value) = match index.checked_sub(1) {
                None => (4 + 8 * count, end_of_key(count - 1)?),
                Some(before) => (end_of_key(before)?, end_of_value(before)?),
            };
            Some((bytes.get(before_key..end_of_key(index)?)?, bytes.get(before_value..end_of_value(index)?)?))
        })
    }

    /// The pages that a branch leads to, in the order of keys.
    fn children(&self) -> Option<Vec<Pointer>> {
        let count = self.count() + 1;
        let checksums = self.bytes.get(8..8 + 16 * count)?.as_chunks::<16>().0.iter();
        let numbers = self.bytes.get(8 + 16 * count..8 + 24 * count)?.as_chunks::<8>().0.iter();
        let pointer = |(number, checksum): (&[u8; 8], &[u8; 16])| Pointer {
            number: u64::from_le_bytes(*number),
            checksum: u128::from_le_bytes(*checksum),
        };
        Some(numbers.zip(checksums).map(pointer).collect())
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
