//! The state as of a position of the log, in one file: `state.redb`.
//!
//! ```text
//! commit(position, at, changes) ──▶ one transaction ──▶ state.redb      read(part) at the next start
//! ```
//!
//! Keys and values are plain bytes here; what they mean is known to who writes them. A commit is durable and
//! whole or has not happened, and says of which position of the log the state now is: the invariant on which
//! recovery stands. A file that is damaged is set aside under another name, never deleted, and what can still be
//! read of it goes to a new one: slod goes on with less history rather than not at all. The format is described byte by byte in
//! docs/format/state.md, the choice of redb in docs/adr/0009-where-state-is-kept.md.
//!
//! A commit that failed leaves the database closed; the next use opens and verifies it again, so that what is
//! believed is what is on the disk.

mod backend;
mod engine;
mod outcome;
mod part;
mod salvage;
mod value;

use std::{io, sync::Arc};

use redb::Database;

use self::{engine::Failure, salvage::Salvage};
pub use self::{
    outcome::{CommitError, DamagedValue, Found, Lost, OpenError, ReadError, Verified},
    part::{Change, Part},
    value::Damaged,
};
use super::disk::{Disk, DiskFile};
use crate::{telemetry::StateMetrics, time::Timestamp};

/// The store. One at a time may have the file; the lock of the data directory sees to that.
#[derive(Debug)]
pub struct StateStore {
    disk: Arc<dyn Disk>,
    telemetry: StateMetrics,
    open: Option<Open>,
    checkpoint: Option<Checkpoint>,
}

/// A store, and what was there before.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: StateStore,
    /// What was found.
    pub found: Found,
}

/// What a state is of: everything below the position of the log is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first sequence of the log that is not in it.
    pub position: u64,
    /// When it was frozen.
    pub at: Timestamp,
}

/// What a commit wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Bytes of keys and values, as stored.
    pub bytes: u64,
}

#[derive(Debug)]
struct Open {
    database: Database,
    file: Arc<dyn DiskFile>,
}

/// The format that is written, and the newest that is read.
pub const FORMAT: u32 = engine::FORMAT;

/// The name of the file.
pub const FILE: &str = "state.redb";
/// Where a file is begun: it gets its name once it is a database, so that a file with that name always is one.
const NEW_FILE: &str = "state.redb.new";
/// Followed by a number: a file that was damaged.
pub const ASIDE: &str = "state.redb.corrupt-";
const ROOT: &str = "";

// === impl StateStore ===

impl StateStore {
    /// Opens the state of a directory, or begins one. Reads all of it, once.
    ///
    /// # Errors
    /// When the disk fails, or a later version of slod wrote the state.
    pub fn open(disk: &Arc<dyn Disk>, telemetry: &StateMetrics) -> Result<Opened, OpenError> {
        let disk = Arc::clone(disk);
        let mut store = Self { disk, telemetry: telemetry.clone(), open: None, checkpoint: None };
        let found = store.reopen()?;
        Ok(Opened { store, found })
    }

    /// Of which position of the log the state is, and when; `None` before the first commit.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.checkpoint
    }

    /// Writes changes and what the state is of then, all or nothing. Parts to clear are emptied before. Of two
    /// changes of a key the later counts.
    ///
    /// # Errors
    /// When the disk fails, or has changed what was written to it.
    pub fn commit(
        &mut self,
        checkpoint: Checkpoint,
        clear: &[Part],
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<Committed, CommitError> {
        let result = self.try_commit(checkpoint, clear, changes);
        self.telemetry
            .note_commit(result.as_ref().ok().map(|committed| committed.bytes), checkpoint.at.0 as f64 / 1e3);
        self.note_bytes();
        result
    }

    /// Calls `visit` with every key and value of a part, in the order of keys.
    ///
    /// # Errors
    /// When the table itself cannot be read, in the midst of it at worst.
    pub fn read(
        &self,
        part: Part,
        mut visit: impl FnMut(&[u8], Result<&[u8], Damaged>),
    ) -> Result<(), ReadError> {
        let Some(Open { database, .. }) = &self.open else {
            return Err(ReadError { part, reason: "it is closed after a failure; commit first".to_owned() });
        };
        let counted = |key: &[u8], value: Result<&[u8], Damaged>| {
            self.telemetry.damaged_values.inc_by(u64::from(value.is_err()));
            visit(key, value);
        };
        engine::read(database, part, counted)
            .map_err(|failure| ReadError { part, reason: failure.to_string() })
    }

    /// Looks at every page of the file and every value.
    pub fn verify(&mut self) -> Verified {
        let mut verified = Verified::default();
        for part in Part::ALL {
            let read = self.read(part, |key, value| {
                verified.values += 1;
                if let Err(damage) = value {
                    verified.damaged.push(DamagedValue { part, key: key.to_vec(), damage });
                }
            });
            verified.file = verified.file.or(read.err().map(|error| error.reason));
        }
        if let Err(failure) = self.with_database(engine::check) {
            verified.file = Some(failure.to_string());
        }
        verified
    }

    /// Makes the file as small as its content allows. Takes about as long as writing everything, and is worth it
    /// when `bytes` is far above what the state takes in memory.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn compact(&mut self) -> Result<(), CommitError> {
        self.ensure_open()?;
        let compacted = self.with_database(engine::compact);
        self.note_bytes();
        compacted.map_err(|failure| CommitError::Failed(failure.to_string()))
    }

    /// Length of the file; 0 while it is closed after a failure.
    pub fn bytes(&self) -> u64 {
        self.open.as_ref().and_then(|open| open.file.len().ok()).unwrap_or(0)
    }

    fn try_commit(
        &mut self,
        checkpoint: Checkpoint,
        clear: &[Part],
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<Committed, CommitError> {
        self.ensure_open()?;
        let committed = self.with_database(|database| engine::commit(database, checkpoint, clear, changes));
        let committed = committed.map_err(|failure| CommitError::Failed(failure.to_string()))?;
        self.checkpoint = Some(checkpoint);
        Ok(committed)
    }

    /// Uses the database, and closes it when that fails: nothing is believed of it until it is opened again.
    fn with_database<T>(
        &mut self,
        work: impl FnOnce(&mut Database) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let closed = || Failure::Io(io::Error::other("it is closed after a failure"));
        let mut open = self.open.take().ok_or_else(closed)?;
        let result = work(&mut open.database);
        match result {
            Ok(_) => self.open = Some(open),
            Err(_) => engine::discard(open.database),
        }
        result
    }

    fn ensure_open(&mut self) -> Result<(), CommitError> {
        if self.open.is_some() {
            return Ok(());
        }
        match self.reopen()? {
            Found::Intact => Ok(()),
            lost => Err(CommitError::Anew(lost)),
        }
    }

    fn reopen(&mut self) -> Result<Found, OpenError> {
        let file = match self.disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.begin(),
            file => file?,
        };
        // Before redb notes in the file that it is in use.
        let format = Salvage::new(Arc::clone(&file)).and_then(|salvage| salvage.format());
        if let Some(found) = format.filter(|format| *format > engine::FORMAT) {
            return Err(OpenError::Newer { found });
        }
        let found = match engine::open(Arc::clone(&file)) {
            Ok((database, checkpoint)) => {
                self.open = Some(Open { database, file });
                self.checkpoint = checkpoint;
                Found::Intact
            }
            Err(Failure::Newer(found)) => return Err(OpenError::Newer { found }),
            Err(Failure::Io(error)) => return Err(error.into()),
            Err(Failure::Damaged(reason)) => self.replace(file, reason)?,
        };
        self.note_bytes();
        Ok(found)
    }

    /// Begins a new file with what can be read of a damaged one.
    fn replace(&mut self, damaged: Arc<dyn DiskFile>, reason: String) -> Result<Found, OpenError> {
        let open = self.create()?;
        let salvaged = match Salvage::new(damaged) {
            Some(salvage) => salvaged(&salvage, &open.database)?,
            None => None,
        };
        // One after the other, so that a power cut never leaves neither: the name of the new file is durable, then
        // the old one has another, then the new one takes its place.
        self.disk.sync_directory(ROOT)?;
        let to = self.free_name()?;
        self.disk.rename(FILE, &to)?;
        self.disk.sync_directory(ROOT)?;
        self.take_into_use(open)?;
        self.telemetry.set_aside.inc();
        let Some((checkpoint, lost)) = salvaged else { return Ok(Found::SetAside { to, reason }) };
        self.checkpoint = Some(checkpoint);
        self.telemetry.damaged_values.inc_by(lost.values.len() as u64);
        Ok(Found::Salvaged { to, reason, lost })
    }

    /// Begins a file where there is none.
    fn begin(&mut self) -> Result<Found, OpenError> {
        if let Some(found) = self.finish_replacing()? {
            return Ok(found);
        }
        let open = self.create()?;
        self.take_into_use(open)?;
        Ok(Found::New)
    }

    /// A power cut between the two renames of `replace` leaves its new file under the first name. Only such a
    /// file has a checkpoint.
    fn finish_replacing(&mut self) -> Result<Option<Found>, OpenError> {
        let Ok(file) = self.disk.open(NEW_FILE) else { return Ok(None) };
        let Ok((database, Some(checkpoint))) = engine::open(Arc::clone(&file)) else { return Ok(None) };
        self.take_into_use(Open { database, file })?;
        self.checkpoint = Some(checkpoint);
        let names = self.disk.list(ROOT)?;
        let to = names.into_iter().rfind(|name| name.starts_with(ASIDE)).unwrap_or_else(|| ASIDE.to_owned());
        let reason = "slod ended while it was replaced; what was lost is not known any more".to_owned();
        Ok(Some(Found::Salvaged { to, reason, lost: Lost::default() }))
    }

    fn create(&self) -> io::Result<Open> {
        match self.disk.remove(NEW_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(NEW_FILE)?;
        Ok(Open { database: engine::create(Arc::clone(&file))?, file })
    }

    fn take_into_use(&mut self, open: Open) -> io::Result<()> {
        self.disk.rename(NEW_FILE, FILE)?;
        self.disk.sync_directory(ROOT)?;
        self.open = Some(open);
        self.checkpoint = None;
        Ok(())
    }

    fn free_name(&self) -> io::Result<String> {
        let taken = self.disk.list(ROOT)?;
        let mut names = (1_u64..).map(|number| format!("{ASIDE}{number}"));
        Ok(names.find(|name| !taken.contains(name)).expect("a directory has less than 2^64 files"))
    }

    fn note_bytes(&self) {
        self.telemetry.bytes.set(self.bytes() as i64);
    }
}

/// Copies what can be read of a damaged file; nothing if it is not known what that would be the state of.
fn salvaged(salvage: &Salvage, database: &Database) -> Result<Option<(Checkpoint, Lost)>, OpenError> {
    if let Some(found) = salvage.format().filter(|format| *format > engine::FORMAT) {
        return Err(OpenError::Newer { found });
    }
    let Some(checkpoint) = salvage.checkpoint() else { return Ok(None) };
    let mut lost = Lost::default();
    let values = Part::ALL.into_iter().flat_map(|part| salvage.values(part));
    let kept = values.filter_map(|value| value.map_err(|loss| lost.add(loss)).ok());
    engine::commit(database, checkpoint, &[], kept).map_err(io::Error::from)?;
    Ok(Some((checkpoint, lost)))
}
