//! A disk in memory that fails on purpose, and forgets what a power cut makes a real one forget.
//!
//! It keeps for each file what is durable and what was written since, and for each directory which names are durable.
//! It is as unkind as file systems may be: of what is not synced a power cut keeps any part; a write that fails was
//! written in part; what was written before a sync that failed is there to be read, and lost with the power even if a
//! later sync succeeds.
//!
//! Deterministic: what a crash keeps follows from its seed.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::storage::disk::{Disk, DiskFile};

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk {
    inner: Arc<Mutex<Inner>>,
}

/// What can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// Making a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading from a file.
    Read,
    /// Writing to a file: half of it is written.
    Write,
    /// Changing the length of a file.
    SetLen,
    /// Reserving space.
    Allocate,
    /// Syncing a file.
    Sync,
    /// Syncing a directory.
    SyncDirectory,
    /// Renaming a file.
    Rename,
    /// Removing a file.
    Remove,
}

/// How often something fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// Once.
    Once,
    /// From then on, until the disk is healed.
    Forever,
}

#[derive(Debug, Default)]
struct Inner {
    files: Vec<File>,
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    /// What happened to names since their directory was synced.
    renamings: Vec<Renaming>,
    faults: Vec<Fault>,
    counts: BTreeMap<Operation, u64>,
    capacity: Option<u64>,
    /// Handles of a process that is dead do nothing.
    process: u64,
}

type FileId = usize;

#[derive(Debug, Default)]
struct File {
    content: Vec<u8>,
    durable: Vec<u8>,
    changes: Vec<Change>,
}

/// What was done to a file since it was synced.
#[derive(Clone, Debug)]
struct Change {
    what: What,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// No sync since.
    Open,
    /// A sync failed since: no later one makes it durable. If it ever was, then before what followed.
    Lost,
    /// Durable, after something that may be.
    Synced,
}

#[derive(Clone, Debug)]
enum What {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

#[derive(Clone, Debug)]
enum Renaming {
    Create(String, FileId),
    Rename(String, String),
    Remove(String),
}

#[derive(Debug)]
struct Fault {
    operation: Operation,
    /// At which count of the operation.
    nth: u64,
    kind: ErrorKind,
    times: Times,
}

#[derive(Debug)]
struct Handle {
    disk: FaultyDisk,
    file: FileId,
    process: u64,
}

/// Numbers that follow from a seed (Steele, Lea, Flood: splitmix64).
struct Random(u64);

// === impl FaultyDisk ===

impl FaultyDisk {
    /// An empty disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets an operation fail the `nth` time from now, 0 being the next.
    pub fn fail(&self, operation: Operation, nth: u64, kind: ErrorKind, times: Times) {
        let inner = &mut *self.inner.lock();
        let nth = nth + inner.counts.get(&operation).copied().unwrap_or(0);
        inner.faults.push(Fault { operation, nth, kind, times });
    }

    /// Lets writes fail once the files have so many bytes in all.
    pub fn limit(&self, capacity: u64) {
        self.inner.lock().capacity = Some(capacity);
    }

    /// Takes back all faults and limits to come.
    pub fn heal(&self) {
        let inner = &mut *self.inner.lock();
        inner.faults.clear();
        inner.capacity = None;
    }

    /// How often an operation was tried.
    pub fn count(&self, operation: Operation) -> u64 {
        self.inner.lock().counts.get(&operation).copied().unwrap_or(0)
    }

    /// The process dies: all that was written stays. Faults are over, and its handles are of no use any more.
    pub fn kill(&self) {
        self.heal();
        self.inner.lock().process += 1;
    }

    /// The power fails: of what was not synced any part stays, by the seed. Faults are over.
    pub fn crash(&self, seed: u64) {
        self.kill();
        let inner = &mut *self.inner.lock();
        let mut random = Random(seed);
        for renaming in std::mem::take(&mut inner.renamings) {
            if random.below(2) == 0 {
                apply_renaming(&mut inner.durable_names, renaming);
            }
        }
        inner.names.clone_from(&inner.durable_names);
        for file in &mut inner.files {
            file.crash(&mut random);
        }
    }

    /// Flips a bit, 0 to 7, of the byte at `offset`.
    ///
    /// # Panics
    /// When there is no such byte.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u32) {
        let inner = &mut *self.inner.lock();
        let file = &mut inner.files[inner.names[name]];
        file.content[offset] ^= 1 << bit;
        if let Some(byte) = file.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    /// What is in a file; `None` without one.
    pub fn content(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.inner.lock();
        inner.names.get(name).map(|file| inner.files[*file].content.clone())
    }

    /// Puts a file there, durable.
    pub fn put(&self, name: &str, content: &[u8]) {
        let inner = &mut *self.inner.lock();
        let (content, durable) = (content.to_vec(), content.to_vec());
        inner.files.push(File { content, durable, changes: Vec::new() });
        inner.names.insert(name.to_owned(), inner.files.len() - 1);
        inner.durable_names.insert(name.to_owned(), inner.files.len() - 1);
    }

    fn handle(&self, file: FileId, process: u64) -> Arc<dyn DiskFile> {
        Arc::new(Handle { disk: self.clone(), file, process })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inner = &mut *self.inner.lock();
        inner.attempt(Operation::Create)?;
        if inner.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = inner.files.len();
        inner.files.push(File::default());
        inner.rename(Renaming::Create(name.to_owned(), file));
        Ok(self.handle(file, inner.process))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let inner = &mut *self.inner.lock();
        inner.attempt(Operation::Open)?;
        let file = *inner.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(self.handle(file, inner.process))
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let inner = self.inner.lock();
        let names = inner.names.keys().filter_map(|name| in_directory(name, directory));
        Ok(names.map(str::to_owned).collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let inner = &mut *self.inner.lock();
        inner.attempt(Operation::Remove)?;
        inner.names.get(name).ok_or(ErrorKind::NotFound)?;
        inner.rename(Renaming::Remove(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let inner = &mut *self.inner.lock();
        inner.attempt(Operation::Rename)?;
        inner.names.get(from).ok_or(ErrorKind::NotFound)?;
        inner.rename(Renaming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let inner = &mut *self.inner.lock();
        inner.attempt(Operation::SyncDirectory)?;
        for renaming in std::mem::take(&mut inner.renamings) {
            if renaming.is_in(directory) {
                apply_renaming(&mut inner.durable_names, renaming);
            } else {
                inner.renamings.push(renaming);
            }
        }
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let inner = self.inner.lock();
        Ok(inner.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(inner.used())))
    }
}

/// The name within a directory of a file that is in it.
fn in_directory<'a>(name: &'a str, directory: &str) -> Option<&'a str> {
    let (parent, file_name) = name.rsplit_once('/').unwrap_or(("", name));
    (parent == directory).then_some(file_name)
}

// === impl Inner ===

impl Inner {
    /// Counts an operation, and lets it fail if it is to.
    fn attempt(&mut self, operation: Operation) -> io::Result<()> {
        let count = self.counts.entry(operation).or_default();
        let nth = std::mem::replace(count, *count + 1);
        let fault = self.faults.iter().find(|fault| {
            fault.operation == operation
                && match fault.times {
                    Times::Once => fault.nth == nth,
                    Times::Forever => fault.nth <= nth,
                }
        });
        fault.map_or(Ok(()), |fault| Err(fault.kind.into()))
    }

    fn rename(&mut self, renaming: Renaming) {
        self.renamings.push(renaming.clone());
        apply_renaming(&mut self.names, renaming);
    }

    fn used(&self) -> u64 {
        self.names.values().map(|file| self.files[*file].content.len() as u64).sum()
    }

    /// How many of these bytes there is space for.
    fn fitting(&self, file: FileId, offset: usize, bytes: usize) -> usize {
        let longer = (offset + bytes).saturating_sub(self.files[file].content.len()) as u64;
        let free = self.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()));
        bytes - longer.saturating_sub(free) as usize
    }
}

fn apply_renaming(names: &mut BTreeMap<String, FileId>, renaming: Renaming) {
    match renaming {
        Renaming::Create(name, file) => {
            names.insert(name, file);
        }
        Renaming::Rename(from, to) => {
            // After a power cut the file may never have been there.
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
        Renaming::Remove(name) => {
            names.remove(&name);
        }
    }
}

// === impl Renaming ===

impl Renaming {
    fn is_in(&self, directory: &str) -> bool {
        let (Self::Create(name, _) | Self::Rename(_, name) | Self::Remove(name)) = self;
        in_directory(name, directory).is_some()
    }
}

// === impl File ===

impl File {
    fn change(&mut self, what: What) {
        apply(&mut self.content, &what);
        self.changes.push(Change { what, fate: Fate::Open });
    }

    fn sync(&mut self) {
        self.decide(Fate::Synced);
        let certain = self.changes.iter().take_while(|change| change.fate == Fate::Synced).count();
        for change in self.changes.drain(..certain) {
            apply(&mut self.durable, &change.what);
        }
    }

    fn fail_sync(&mut self) {
        self.decide(Fate::Lost);
    }

    fn decide(&mut self, fate: Fate) {
        self.changes
            .iter_mut()
            .filter(|change| change.fate == Fate::Open)
            .for_each(|change| change.fate = fate);
    }

    fn crash(&mut self, random: &mut Random) {
        for change in std::mem::take(&mut self.changes) {
            let die = if change.fate == Fate::Synced { 1 } else { random.below(3) };
            match die {
                0 => (),
                1 => apply(&mut self.durable, &change.what),
                _ => apply(&mut self.durable, &torn(change.what, random)),
            }
        }
        self.content.clone_from(&self.durable);
    }
}

fn apply(content: &mut Vec<u8>, what: &What) {
    match what {
        What::Write { offset, bytes } => {
            let end = offset + bytes.len();
            content.resize(content.len().max(end), 0);
            content[*offset..end].copy_from_slice(bytes);
        }
        What::SetLen(len) => content.resize(*len, 0),
    }
}

/// A piece of a write, from anywhere in it.
fn torn(what: What, random: &mut Random) -> What {
    let What::Write { offset, bytes } = what else { return what };
    let start = random.below(bytes.len() + 1);
    let end = start + random.below(bytes.len() - start + 1);
    What::Write { offset: offset + start, bytes: bytes[start..end].to_vec() }
}

// === impl Handle ===

impl Handle {
    /// Does something to the file, unless it is to fail.
    fn attempt<T>(
        &self,
        operation: Operation,
        act: impl FnOnce(&mut Inner) -> io::Result<T>,
    ) -> io::Result<T> {
        let inner = &mut *self.disk.inner.lock();
        if inner.process != self.process {
            return Err(io::Error::other("the process that opened this file is dead"));
        }
        inner.attempt(operation)?;
        act(inner)
    }

    fn write(&self, inner: &mut Inner, bytes: &[u8], offset: u64) {
        let (offset, bytes) = (offset as usize, bytes.to_vec());
        inner.files[self.file].change(What::Write { offset, bytes });
    }
}

impl DiskFile for Handle {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.inner.lock().files[self.file].content.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.attempt(Operation::Read, |inner| {
            let content = &inner.files[self.file].content;
            let start = offset as usize;
            let bytes = content.get(start..start + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let result = self.attempt(Operation::Write, |inner| {
            let fitting = inner.fitting(self.file, offset as usize, bytes.len());
            self.write(inner, &bytes[..fitting], offset);
            if fitting < bytes.len() { Err(ErrorKind::StorageFull.into()) } else { Ok(fitting) }
        });
        let inner = &mut *self.disk.inner.lock();
        match result {
            Err(error) if error.kind() != ErrorKind::StorageFull && inner.process == self.process => {
                self.write(inner, &bytes[..bytes.len() / 2], offset);
                Err(error)
            }
            result => result.map(drop),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.attempt(Operation::SetLen, |inner| {
            inner.files[self.file].change(What::SetLen(len as usize));
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.attempt(Operation::Allocate, |inner| {
            let fits = inner.fitting(self.file, 0, len as usize) == len as usize;
            if fits { Ok(()) } else { Err(ErrorKind::StorageFull.into()) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let result = self.attempt(Operation::Sync, |inner| {
            inner.files[self.file].sync();
            Ok(())
        });
        let inner = &mut *self.disk.inner.lock();
        if result.is_err() && inner.process == self.process {
            inner.files[self.file].fail_sync();
        }
        result
    }
}

// === impl Random ===

impl Random {
    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SEEDS: std::ops::Range<u64> = 0..200;

    /// Everything that a file may hold after a power cut; `None` if it is gone.
    #[track_caller]
    fn check(prepare: impl Fn(&FaultyDisk), expected: &[Option<&[u8]>]) {
        let outcome = |seed| {
            let disk = FaultyDisk::new();
            prepare(&disk);
            disk.crash(seed);
            disk.content("a/b")
        };
        let found: BTreeSet<_> = SEEDS.map(outcome).collect();
        let expected: BTreeSet<_> = expected.iter().map(|content| content.map(<[u8]>::to_vec)).collect();
        assert_eq!(found, expected);
        assert_eq!(outcome(7), outcome(7));
    }

    #[test]
    fn what_is_synced_survives_a_power_cut() {
        check(
            |disk| {
                let file = disk.create("a/b").unwrap();
                file.write_all_at(b"xy", 0).unwrap();
                file.sync_data().unwrap();
                disk.sync_directory("a").unwrap();
            },
            &[Some(b"xy")],
        );
    }

    #[test]
    fn of_what_is_not_synced_any_part_may_survive() {
        let synced_name = |disk: &FaultyDisk| {
            let file = disk.create("a/b").unwrap();
            disk.sync_directory("a").unwrap();
            file
        };
        let parts: [Option<&[u8]>; 6] = [b"".as_slice(), b"x", b"\0y", b"xy", b"\0", b"\0\0"].map(Some);
        check(|disk| synced_name(disk).write_all_at(b"xy", 0).unwrap(), &parts);
        check(
            |disk| {
                disk.create("a/b").unwrap().sync_data().unwrap();
                disk.sync_directory("").unwrap();
            },
            &[None, Some(b"")],
        );
    }

    #[test]
    fn a_rename_may_not_have_happened() {
        check(
            |disk| {
                disk.put("a/b", b"old");
                disk.put("a/c", b"new");
                disk.rename("a/c", "a/b").unwrap();
            },
            &[Some(b"old"), Some(b"new")],
        );
    }

    #[test]
    fn a_sync_that_failed_is_not_made_good_by_the_next() {
        check(
            |disk| {
                let file = disk.create("a/b").unwrap();
                disk.sync_directory("a").unwrap();
                file.write_all_at(b"x", 0).unwrap();
                disk.fail(Operation::Sync, 0, ErrorKind::Other, Times::Once);
                file.sync_data().unwrap_err();
                file.write_all_at(b"y", 1).unwrap();
                file.sync_data().unwrap();
            },
            &[Some(b"\0y"), Some(b"xy")],
        );
    }

    #[test]
    fn what_was_lost_does_not_undo_what_was_synced_later() {
        check(
            |disk| {
                let file = disk.create("a/b").unwrap();
                disk.sync_directory("a").unwrap();
                file.write_all_at(b"old", 0).unwrap();
                disk.fail(Operation::Sync, 0, ErrorKind::Other, Times::Once);
                file.sync_data().unwrap_err();
                file.write_all_at(b"new", 0).unwrap();
                file.sync_data().unwrap();
            },
            &[Some(b"new")],
        );
    }

    #[test]
    fn faults_come_when_they_are_told_to() {
        let disk = FaultyDisk::new();
        let file = disk.create("f").unwrap();
        let write = || file.write_all_at(b"abcd", 0).map_err(|error| error.kind());
        disk.fail(Operation::Write, 1, ErrorKind::TimedOut, Times::Once);
        disk.fail(Operation::Write, 3, ErrorKind::Other, Times::Forever);
        let outcomes = [write(), write(), write(), write(), write()];
        let other = Err(ErrorKind::Other);
        assert_eq!(outcomes, [Ok(()), Err(ErrorKind::TimedOut), Ok(()), other, other]);
        disk.heal();
        assert_eq!(write(), Ok(()));
        assert_eq!(disk.count(Operation::Write), 6);
        disk.kill();
        assert_eq!(write(), other);
        assert_eq!(disk.content("f").unwrap(), b"abcd");
    }

    #[test]
    fn a_full_disk_takes_what_fits() {
        let disk = FaultyDisk::new();
        let file = disk.create("f").unwrap();
        disk.limit(6);
        file.allocate(6).unwrap();
        assert_eq!(file.allocate(7).unwrap_err().kind(), ErrorKind::StorageFull);
        file.write_all_at(b"abcd", 0).unwrap();
        assert_eq!(file.write_all_at(b"efgh", 4).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(disk.content("f").unwrap(), b"abcdef");
        assert_eq!(disk.free_bytes().unwrap(), 0);
        file.write_all_at(b"ABCDEF", 0).unwrap();
        disk.remove("f").unwrap();
        assert_eq!(disk.free_bytes().unwrap(), 6);
    }
}
