//! The state as of a position of the log, in one file: `state.redb`.
//!
//! ```text
//! commit(position, at, changes) ──▶ one transaction ──▶ state.redb      read(part) at the next start
//! ```
//!
//! Keys and values are plain bytes here; what they mean is known to who writes them. A commit is durable and
//! whole or has not happened, and says of which position of the log the state now is: the invariant on which
//! recovery stands. State that cannot be read is set aside under another name, never deleted, and a new one is
//! begun: slod goes on with less history rather than not at all. The format is described byte by byte in
//! docs/format/state.md, the choice of redb in docs/adr/0009-where-state-is-kept.md.
//!
//! A commit that failed leaves the database closed; the next use opens and verifies it again, so that what is
//! believed is what is on the disk.

mod backend;
mod engine;
mod part;
mod value;

use std::{io, sync::Arc};

use redb::Database;

use self::engine::Failure;
pub use self::{
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

/// What was found in place of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing: an empty state was begun.
    New,
    /// State, every page of it as it was written.
    Intact,
    /// State that cannot be read: it has another name now, and an empty one was begun.
    SetAside {
        /// Its name now.
        to: String,
        /// What is wrong with it.
        reason: String,
    },
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

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedValue {
    /// Its table.
    pub part: Part,
    /// Its key.
    pub key: Vec<u8>,
    /// What is wrong.
    pub damage: Damaged,
}

/// What was found in looking at everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Values looked at, the damaged ones among them.
    pub values: u64,
    /// The damaged ones.
    pub damaged: Vec<DamagedValue>,
    /// What is wrong with the file around them.
    pub file: Option<String>,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Written by a later version of slod. It is left as it is.
    #[error(
        "cannot read {FILE}: it has format {found}, this slod reads {FORMAT}; start the version that wrote it, or move the file away to begin anew",
        FORMAT = engine::FORMAT
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// The disk failed.
    #[error("cannot open {FILE}: {0} (storage.path)")]
    Io(#[from] io::Error),
}

/// Why a commit has not happened, as far as is known. Either way the next one may be tried.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The state is what it was; or, if only the last word of the disk was missing, what it was to be.
    #[error("cannot write state: {0}")]
    Failed(String),
    /// What had been committed is gone, and an empty state was begun: the next commit must hold everything.
    #[error("cannot go on with state: {0}; all of it has to be written again")]
    Anew(Found),
    /// There is no state to write to.
    #[error(transparent)]
    NotOpen(#[from] OpenError),
}

/// Why a part cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {part} of {FILE}: {reason}", part = .part.name())]
pub struct ReadError {
    /// The table.
    pub part: Part,
    /// What is wrong.
    pub reason: String,
}

#[derive(Debug)]
struct Open {
    database: Database,
    file: Arc<dyn DiskFile>,
}

const FILE: &str = "state.redb";
/// Where a file is begun: it gets its name once it is a database, so that a file with that name always is one.
const NEW_FILE: &str = "state.redb.new";
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
        let found = match self.open_existing() {
            Ok(found) => found,
            Err(Failure::Newer(found)) => return Err(OpenError::Newer { found }),
            Err(Failure::Io(error)) => return Err(error.into()),
            Err(Failure::Damaged(reason)) => {
                let to = self.set_aside()?;
                self.begin_anew()?;
                Found::SetAside { to, reason }
            }
        };
        self.note_bytes();
        Ok(found)
    }

    fn open_existing(&mut self) -> Result<Found, Failure> {
        let file = match self.disk.open(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.begin_anew().map_err(Failure::Io)?;
                return Ok(Found::New);
            }
            file => file.map_err(Failure::Io)?,
        };
        let (database, checkpoint) = engine::open(Arc::clone(&file))?;
        self.open = Some(Open { database, file });
        self.checkpoint = checkpoint;
        Ok(Found::Intact)
    }

    fn begin_anew(&mut self) -> io::Result<()> {
        match self.disk.remove(NEW_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = self.disk.create(NEW_FILE)?;
        let database =
            engine::create(Arc::clone(&file)).map_err(|failure| io::Error::other(failure.to_string()))?;
        self.disk.rename(NEW_FILE, FILE)?;
        self.disk.sync_directory(ROOT)?;
        self.open = Some(Open { database, file });
        self.checkpoint = None;
        Ok(())
    }

    fn set_aside(&self) -> io::Result<String> {
        let taken = self.disk.list(ROOT)?;
        let names = (1..).map(|number| format!("{FILE}.corrupt-{number}"));
        let to =
            names.into_iter().find(|name| !taken.contains(name)).expect("a directory that is not endless");
        self.disk.rename(FILE, &to)?;
        self.disk.sync_directory(ROOT)?;
        self.telemetry.set_aside.inc();
        Ok(to)
    }

    fn note_bytes(&self) {
        self.telemetry.bytes.set(self.bytes() as i64);
    }
}

// === impl Found ===

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New => write!(f, "there was no {FILE}"),
            Self::Intact => write!(f, "{FILE} is intact"),
            Self::SetAside { to, reason } => write!(f, "{FILE} cannot be read ({reason}) and is now {to}"),
        }
    }
}

#[cfg(test)]
mod tests;
