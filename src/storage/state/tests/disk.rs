//! A disk in memory that fails at a chosen operation, and loses what was not synced when its power does.

use std::{collections::BTreeMap, io, sync::Arc};

use parking_lot::Mutex;

use crate::storage::disk::{Disk, DiskFile};

#[derive(Debug, Default)]
pub(super) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    operations: u64,
    fault: Option<Fault>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    written: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Bytes(usize, Vec<u8>),
    Length(usize),
}

/// Which operations fail. Operations are what changes something: reading is none.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Once(u64, io::ErrorKind),
    From(u64, io::ErrorKind),
}

#[derive(Debug)]
struct MemoryFile {
    disk: Arc<Mutex<State>>,
    index: usize,
}

// === impl MemoryDisk ===

impl MemoryDisk {
    /// The same disk again.
    pub(super) fn shared(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    pub(super) fn operations(&self) -> u64 {
        self.0.lock().operations
    }

    pub(super) fn fail(&self, fault: Option<Fault>) {
        self.0.lock().fault = fault;
    }

    /// The disk as it is found after its power was lost: of what was not synced any subset is there, the last
    /// of it torn.
    pub(super) fn after_power_loss(&self, seed: u64) -> Arc<dyn Disk> {
        let state = self.0.lock();
        let mut dice = Dice(seed);
        let names = if dice.roll(2) == 0 { &state.names } else { &state.durable_names };
        let mut after = State { names: names.clone(), durable_names: names.clone(), ..State::default() };
        for content in &state.files {
            let mut content = content.clone();
            for write in std::mem::take(&mut content.unsynced) {
                match (dice.roll(3), write) {
                    (0, write) => write.apply(&mut content.durable),
                    (1, Write::Bytes(at, mut bytes)) => {
                        bytes.truncate(dice.roll(bytes.len() as u64 + 1) as usize);
                        Write::Bytes(at, bytes).apply(&mut content.durable);
                    }
                    _ => {}
                }
            }
            content.written.clone_from(&content.durable);
            after.files.push(content);
        }
        Arc::new(Self(Arc::new(Mutex::new(after))))
    }

    pub(super) fn len(&self, name: &str) -> usize {
        let state = self.0.lock();
        state.files[state.names[name]].written.len()
    }

    pub(super) fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let state = &mut *self.0.lock();
        let content = &mut state.files[state.names[name]];
        change(&mut content.written);
        content.durable.clone_from(&content.written);
        content.unsynced.clear();
    }
}

impl Clone for MemoryDisk {
    /// Another disk with the same files, all of them durable.
    fn clone(&self) -> Self {
        let state = self.0.lock();
        let files = state.files.iter().map(|content| Content {
            written: content.written.clone(),
            durable: content.written.clone(),
            unsynced: Vec::new(),
        });
        let (files, names) = (files.collect(), state.names.clone());
        let copy = State { files, durable_names: names.clone(), names, operations: 0, fault: None };
        Self(Arc::new(Mutex::new(copy)))
    }
}

impl Disk for MemoryDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.operate()?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let index = state.files.len();
        state.files.push(Content::default());
        state.names.insert(name.to_owned(), index);
        Ok(Arc::new(MemoryFile { disk: Arc::clone(&self.0), index }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let index = *self.0.lock().names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(MemoryFile { disk: Arc::clone(&self.0), index }))
    }

    fn list(&self, _directory: &str) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        state.operate()?;
        state.names.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        let index = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), index);
        Ok(())
    }

    fn sync_directory(&self, _directory: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.operate()?;
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

// === impl State ===

impl State {
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        match self.fault {
            Some(Fault::Once(number, kind)) if self.operations == number => Err(kind.into()),
            Some(Fault::From(number, kind)) if self.operations >= number => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

// === impl MemoryFile ===

impl MemoryFile {
    fn write(&self, write: Write) -> io::Result<()> {
        let mut state = self.disk.lock();
        let operated = state.operate();
        let content = &mut state.files[self.index];
        // A write that fails may have happened all the same.
        write.apply(&mut content.written);
        content.unsynced.push(write);
        operated
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().files[self.index].written.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.disk.lock();
        let written = &state.files[self.index].written;
        let end = usize::try_from(offset).ok().and_then(|offset| offset.checked_add(buffer.len()));
        let bytes = end.and_then(|end| written.get(offset as usize..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(Write::Bytes(offset as usize, bytes.to_vec()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write(Write::Length(len as usize))
    }

    fn allocate(&self, _len: u64) -> io::Result<()> {
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.operate()?;
        let content = &mut state.files[self.index];
        for write in std::mem::take(&mut content.unsynced) {
            write.apply(&mut content.durable);
        }
        Ok(())
    }
}

// === impl Write ===

impl Write {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Length(length) => file.resize(*length, 0),
            Self::Bytes(at, bytes) => {
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

/// splitmix64
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}
