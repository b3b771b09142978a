//! A disk that only looks: what is written to it is in memory, and the directory below stays as it is.
//!
//! For looking at files through code that repairs, cuts and renames. Memory is taken for pages that were written, not
//! for files that were read. The invariant: no file is created, changed, renamed or removed, and none is opened to be
//! written.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{Disk, DiskFile, RealDisk, told};

/// A directory that may be on a disk that cannot be written.
#[derive(Debug)]
pub struct Overlay {
    path: PathBuf,
    /// Files that were opened or made, and `None` for names that are not there any more.
    touched: Mutex<BTreeMap<String, Option<Arc<Shadow>>>>,
}

/// A file as it would be.
#[derive(Debug)]
struct Shadow {
    below: Option<File>,
    path: PathBuf,
    content: Mutex<Content>,
}

#[derive(Debug)]
struct Content {
    len: u64,
    /// How much of the file below still shows.
    below_len: u64,
    /// What was written, by the number of the page.
    pages: BTreeMap<u64, Box<[u8; PAGE_BYTES]>>,
}

// What redb writes at once, mostly.
const PAGE_BYTES: usize = 4_096;

// === impl Overlay ===

impl Overlay {
    /// The files of a directory as they are now.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), touched: Mutex::default() }
    }

    fn shadow(&self, name: &str) -> io::Result<Arc<Shadow>> {
        let mut touched = self.touched.lock();
        if let Some(known) = touched.get(name) {
            return known.clone().ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let shadow = Arc::new(Shadow::of(&self.path.join(name))?);
        touched.insert(name.to_owned(), Some(Arc::clone(&shadow)));
        Ok(shadow)
    }
}

impl Disk for Overlay {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        match self.shadow(name) {
            Ok(_) => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        let shadow = Arc::new(Shadow::empty(&self.path.join(name)));
        self.touched.lock().insert(name.to_owned(), Some(Arc::clone(&shadow)));
        Ok(shadow)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.shadow(name)?)
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let below = RealDisk::new(&self.path).list(directory)?;
        let mut names: BTreeSet<String> = below.into_iter().collect();
        for (name, shadow) in &*self.touched.lock() {
            let (parent, name) = name.rsplit_once('/').unwrap_or(("", name));
            match shadow {
                _ if parent != directory => false,
                Some(_) => names.insert(name.to_owned()),
                None => names.remove(name),
            };
        }
        Ok(names.into_iter().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.shadow(name)?;
        self.touched.lock().insert(name.to_owned(), None);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let shadow = self.shadow(from)?;
        let mut touched = self.touched.lock();
        touched.insert(from.to_owned(), None);
        touched.insert(to.to_owned(), Some(shadow));
        Ok(())
    }

    fn sync_directory(&self, _directory: &str) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

// === impl Shadow ===

impl Shadow {
    fn of(path: &Path) -> io::Result<Self> {
        let below = told(File::open(path), path)?;
        let len = told(below.metadata(), path)?.len();
        let content = Mutex::new(Content { len, below_len: len, pages: BTreeMap::new() });
        Ok(Self { below: Some(below), path: path.to_owned(), content })
    }

    fn empty(path: &Path) -> Self {
        let content = Mutex::new(Content { len: 0, below_len: 0, pages: BTreeMap::new() });
        Self { below: None, path: path.to_owned(), content }
    }

    /// Fills `buffer` from the file below, and with zeros behind what shows of it.
    fn read_below(&self, buffer: &mut [u8], offset: u64, below_len: u64) -> io::Result<()> {
        let shown = below_len.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (shown, hidden) = buffer.split_at_mut(shown);
        hidden.fill(0);
        match &self.below {
            Some(file) if !shown.is_empty() => told(file.read_exact_at(shown, offset), &self.path),
            _ => Ok(()),
        }
    }
}

impl DiskFile for Shadow {
    fn len(&self) -> io::Result<u64> {
        Ok(self.content.lock().len)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let content = self.content.lock();
        let end = offset.saturating_add(buffer.len() as u64);
        if end > content.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read_below(buffer, offset, content.below_len)?;
        for (number, page) in content.pages.range(offset / PAGE_BYTES as u64..) {
            let page_at = number * PAGE_BYTES as u64;
            if page_at >= end {
                break;
            }
            let (from, to) = (page_at.max(offset), (page_at + PAGE_BYTES as u64).min(end));
            let shown = &page[(from - page_at) as usize..(to - page_at) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(shown);
        }
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let (number, within) = (at / PAGE_BYTES as u64, (at % PAGE_BYTES as u64) as usize);
            let (now, later) = rest.split_at(rest.len().min(PAGE_BYTES - within));
            if !content.pages.contains_key(&number) {
                let mut page = Box::new([0; PAGE_BYTES]);
                self.read_below(&mut page[..], at - within as u64, content.below_len)?;
                content.pages.insert(number, page);
            }
            if let Some(page) = content.pages.get_mut(&number) {
                page[within..within + now.len()].copy_from_slice(now);
            }
            at += now.len() as u64;
            rest = later;
        }
        content.len = content.len.max(at);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut content = self.content.lock();
        let (number, within) = (len / PAGE_BYTES as u64, (len % PAGE_BYTES as u64) as usize);
        // What is cut off does not come back when it grows again.
        content.pages.split_off(&(number + u64::from(within > 0)));
        if let Some(page) = content.pages.get_mut(&number) {
            page[within..].fill(0);
        }
        content.below_len = content.below_len.min(len);
        content.len = len;
        Ok(())
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    /// Something done to a file.
    #[derive(Clone, Debug)]
    enum Act {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            3 => (0..20_000_u64, prop::collection::vec(any::<u8>(), 0..9_000)).prop_map(|(at, bytes)| Act::Write(at, bytes)),
            1 => (0..20_000_u64).prop_map(Act::SetLen),
        ]
    }

    fn apply(file: &dyn DiskFile, act: &Act) {
        match act {
            Act::Write(at, bytes) => file.write_all_at(bytes, *at).unwrap(),
            Act::SetLen(len) => file.set_len(*len).unwrap(),
        }
    }

    fn content(file: &dyn DiskFile) -> Vec<u8> {
        let mut content = vec![7; file.len().unwrap() as usize];
        file.read_exact_at(&mut content, 0).unwrap();
        content
    }

    proptest! {
        #[test]
        fn a_file_is_as_a_real_one_would_be(
            before in prop::collection::vec(any::<u8>(), 0..10_000),
            acts in prop::collection::vec(act(), 0..6),
            start in 0..20_000_usize,
        ) {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join("real"), &before).unwrap();
            fs::write(directory.path().join("below"), &before).unwrap();
            let real = RealDisk::new(directory.path()).open("real").unwrap();
            let shadow = Overlay::new(directory.path()).open("below").unwrap();
            for act in &acts {
                apply(&*real, act);
                apply(&*shadow, act);
            }
            let expected = content(&*real);
            prop_assert!(content(&*shadow) == expected);
            let mut part = vec![0; expected.len().saturating_sub(start)];
            shadow.read_exact_at(&mut part, start.min(expected.len()) as u64).unwrap();
            prop_assert!(part == expected[start.min(expected.len())..]);
            prop_assert_eq!(fs::read(directory.path().join("below")).unwrap(), before);
        }
    }

    #[test]
    fn names_change_in_memory_alone() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a"), b"a").unwrap();
        fs::write(directory.path().join("b"), b"b").unwrap();
        let disk = Overlay::new(directory.path());
        let kind = |error: io::Error| error.kind();
        assert_eq!(disk.create("a").map_err(kind).err(), Some(io::ErrorKind::AlreadyExists));
        assert_eq!(disk.open("none").map_err(kind).err(), Some(io::ErrorKind::NotFound));
        disk.create("log/c").unwrap().write_all_at(b"c", 0).unwrap();
        disk.rename("a", "d").unwrap();
        disk.remove("b").unwrap();
        assert_eq!(disk.list("").unwrap(), ["d"]);
        assert_eq!(disk.list("log").unwrap(), ["c"]);
        assert_eq!(content(&*disk.open("d").unwrap()), b"a");
        assert_eq!(disk.remove("b").map_err(kind), Err(io::ErrorKind::NotFound));
        disk.create("b").unwrap();
        assert_eq!(RealDisk::new(directory.path()).list("").unwrap(), ["a", "b"]);
        assert!(!directory.path().join("log").exists());
    }
}
