//! redb, kept at arm's length: what the store asks of it, with its errors sorted and its panics caught.
//!
//! A database is only ever used after every page that it reaches has been verified, because redb may panic on
//! pages that were changed behind its back. Pages that change after that may still make it panic, which
//! then counts as damage. Commits have two phases, so that the newest state is either whole or reported:
//! with one phase redb would take damage for an unfinished commit and silently return to the state before.

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError, WriteTransaction};

use super::{
    Change, Checkpoint, Committed, Damaged, Part,
    backend::{Backend, UNREADABLE},
    value::{Unwrapper, Wrapper},
};
use crate::{storage::disk::DiskFile, time::Timestamp};

/// Why redb did not do what it was asked, by what is to be done about it.
#[derive(Debug)]
pub(super) enum Failure {
    /// The file is of a later format.
    Newer(u32),
    /// The file is not as it was written.
    Damaged(String),
    /// The disk did not do what it was asked.
    Io(io::Error),
}

type Key = &'static [u8];
type Value = &'static [u8];

/// Format 1 is described in docs/format/state.md.
pub(super) const FORMAT: u32 = 1;
/// In `Part::Meta`: the format, not wrapped, so that every version of slod can read it.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// In `Part::Meta`: what the state is of.
const CHECKPOINT_KEY: &[u8] = b"checkpoint";
/// Reads are few and in order, and redb writes out early what does not fit: 16 MiB are as fast as 128.
const CACHE_BYTES: usize = 16 << 20;

/// Opens a file that has a database, and verifies it.
pub(super) fn open(file: Arc<dyn DiskFile>) -> Result<(Database, Option<Checkpoint>), Failure> {
    contained(|| {
        let database = builder(true).create_with_backend(Backend(file)).map_err(sorted)?;
        match format(&database)? {
            Some(FORMAT) => {}
            Some(newer) if newer > FORMAT => return Err(Failure::Newer(newer)),
            Some(other) => return Err(Failure::Damaged(format!("format is {other}, which never was"))),
            None => return Err(Failure::Damaged("it does not say its format".to_owned())),
        }
        let checkpoint = checkpoint(&database)?;
        Ok((database, checkpoint))
    })
}

/// Makes a database in an empty file.
pub(super) fn create(file: Arc<dyn DiskFile>) -> Result<Database, Failure> {
    contained(|| {
        let database = builder(false).create_with_backend(Backend(file)).map_err(sorted)?;
        let transaction = begin(&database)?;
        let mut meta = transaction.open_table(definition(Part::Meta)).map_err(sorted)?;
        meta.insert(FORMAT_KEY, &FORMAT.to_le_bytes()[..]).map_err(sorted)?;
        drop(meta);
        transaction.commit().map_err(sorted)?;
        Ok(database)
    })
}

/// Commits changes together with what the state is of afterwards.
pub(super) fn commit(
    database: &Database,
    checkpoint: Checkpoint,
    clear: &[Part],
    changes: impl IntoIterator<Item = Change>,
) -> Result<Committed, Failure> {
    contained(|| {
        let transaction = begin(database)?;
        for part in clear.iter().filter(|part| **part != Part::Meta) {
            transaction.delete_table(definition(*part)).map_err(sorted)?;
        }
        let committed = write(&transaction, checkpoint, changes)?;
        transaction.commit().map_err(sorted)?;
        Ok(committed)
    })
}

/// Calls `visit` with every key and value of a part.
pub(super) fn read(
    database: &Database,
    part: Part,
    mut visit: impl FnMut(&[u8], Result<&[u8], Damaged>),
) -> Result<(), Failure> {
    let mut unwrapper = Unwrapper::default();
    contained(|| {
        let transaction = database.begin_read().map_err(sorted)?;
        let table = match transaction.open_table(definition(part)) {
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            table => table.map_err(sorted)?,
        };
        for entry in table.iter().map_err(sorted)? {
            let (key, stored) = entry.map_err(sorted)?;
            if !is_ours(part, key.value()) {
                visit(key.value(), unwrapper.unwrap(part, key.value(), stored.value()));
            }
        }
        Ok(())
    })
}

/// Verifies every page again.
pub(super) fn check(database: &mut Database) -> Result<(), Failure> {
    match contained(|| database.check_integrity().map_err(sorted))? {
        true => Ok(()),
        false => Err(Failure::Damaged("what is free was not written down right; repaired".to_owned())),
    }
}

/// Moves pages to the front of the file and cuts it.
pub(super) fn compact(database: &mut Database) -> Result<(), Failure> {
    contained(|| database.compact().map(drop).map_err(sorted))
}

/// Ends the use of a database that may be in any state.
pub(super) fn discard(database: Database) {
    // What it has to say is known: the failure before.
    let _ = contained(|| database.close().map_err(sorted));
}

fn builder(verify: bool) -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(verify);
    builder
}

fn begin(database: &Database) -> Result<WriteTransaction, Failure> {
    let mut transaction = database.begin_write().map_err(sorted)?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

fn write(
    transaction: &WriteTransaction,
    checkpoint: Checkpoint,
    changes: impl IntoIterator<Item = Change>,
) -> Result<Committed, Failure> {
    let mut wrapper = Wrapper::default();
    let tables = Part::ALL.map(|part| transaction.open_table(definition(part)));
    let mut tables = tables.into_iter().collect::<Result<Vec<_>, _>>().map_err(sorted)?;
    let mut committed = Committed { bytes: 0 };
    let last = checkpoint.change();
    for Change { part, key, value } in
        changes.into_iter().filter(|change| !is_ours(change.part, &change.key)).chain([last])
    {
        let table = &mut tables[part as usize];
        let Some(value) = value else {
            table.remove(&*key).map_err(sorted)?;
            continue;
        };
        let stored = wrapper.wrap(part, &key, &value).map_err(io::Error::other).map_err(Failure::Io)?;
        table.insert(&*key, stored).map_err(sorted)?;
        committed.bytes += (key.len() + stored.len()) as u64;
    }
    Ok(committed)
}

/// What the state is of, if this is the change that says so.
pub(super) fn as_checkpoint(change: &Change) -> Option<Checkpoint> {
    let is_it = change.part == Part::Meta && change.key == CHECKPOINT_KEY;
    Checkpoint::from_value(change.value.as_deref().filter(|_| is_it)?)
}

/// Whether a key belongs to the store itself.
pub(super) fn is_ours(part: Part, key: &[u8]) -> bool {
    part == Part::Meta && (key == FORMAT_KEY || key == CHECKPOINT_KEY)
}

fn definition(part: Part) -> TableDefinition<'static, Key, Value> {
    TableDefinition::new(part.name())
}

fn format(database: &Database) -> Result<Option<u32>, Failure> {
    let format = meta(database, FORMAT_KEY)?;
    Ok(format.and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_le_bytes))
}

fn checkpoint(database: &Database) -> Result<Option<Checkpoint>, Failure> {
    let Some(stored) = meta(database, CHECKPOINT_KEY)? else { return Ok(None) };
    let mut unwrapper = Unwrapper::default();
    let value = unwrapper.unwrap(Part::Meta, CHECKPOINT_KEY, &stored);
    let checkpoint = value.ok().and_then(Checkpoint::from_value);
    checkpoint.map(Some).ok_or_else(|| Failure::Damaged("it does not say what it is the state of".to_owned()))
}

fn meta(database: &Database, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
    let transaction = database.begin_read().map_err(sorted)?;
    match transaction.open_table(definition(Part::Meta)) {
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        table => {
            let value = table.map_err(sorted)?.get(key).map_err(sorted)?;
            Ok(value.map(|value| value.value().to_vec()))
        }
    }
}

/// Runs what may panic in redb's depths.
fn contained<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
        Err(Failure::Damaged(format!("redb panicked: {text}")))
    })
}

fn sorted(error: impl Into<redb::Error>) -> Failure {
    match error.into() {
        redb::Error::Io(error) if error.kind() == UNREADABLE => Failure::Damaged(error.to_string()),
        redb::Error::Io(error) => Failure::Io(error),
        error @ redb::Error::PreviousIo => Failure::Io(io::Error::other(error.to_string())),
        error => Failure::Damaged(error.to_string()),
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer(format) => write!(f, "format {format} is later than {FORMAT}"),
            Self::Damaged(reason) => write!(f, "{reason}"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Io(error) => error,
            other => Self::other(other.to_string()),
        }
    }
}

// === impl Checkpoint ===

impl Checkpoint {
    fn change(self) -> Change {
        let value = [self.position.to_le_bytes(), self.at.0.to_le_bytes()].concat();
        Change { part: Part::Meta, key: CHECKPOINT_KEY.to_vec(), value: Some(value) }
    }

    fn from_value(value: &[u8]) -> Option<Self> {
        let (position, at) = value.split_first_chunk()?;
        let at = i64::from_le_bytes(at.try_into().ok()?);
        Some(Self { position: u64::from_le_bytes(*position), at: Timestamp(at) })
    }
}
