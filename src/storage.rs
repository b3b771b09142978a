//! What outlives the process: the log of accepted requests, and the state as of a position of it.
//!
//! ```text
//! disk ◀─ log: bodies, in the order in which they counted        ─┐
//!      ◀─ state: what they came to, up to a position of the log  ─┴▶ recovery ─▶ a pipeline that goes on
//!                  ▲ checkpoint ◀─ pipeline
//! ```
//!
//! All of it goes through [`disk`], which tests replace by one that fails. The directory belongs to one process at a
//! time ([`DataDirectory`]). Invariant: what was acknowledged is in the state, or in the log behind its position.

pub mod checkpoint;
pub mod codec;
pub mod disk;
pub mod inspect;
pub mod log;
pub mod recovery;
pub mod state;

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

/// A data directory that belongs to this process for as long as the value lives.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be made or written.
    #[error("cannot use data directory {path}: {source} (storage.path)")]
    Io {
        /// The directory.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// Another process has it.
    #[error("data directory {0} is in use by another slod; give each its own (storage.path)")]
    InUse(PathBuf),
}

/// A data directory that others may look at, too, but no slod may use for as long as the value lives.
#[derive(Debug)]
pub struct SharedDirectory {
    /// `None` in a directory that no slod ever had, as in a copy of some files.
    _lock: Option<File>,
}

const LOCK_FILE: &str = "lock";

// === impl DataDirectory ===

impl DataDirectory {
    /// Makes the directory if there is none, and locks it.
    ///
    /// # Errors
    /// When it cannot be written, or another process holds it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(io)?;
        let lock = File::create(path.join(LOCK_FILE)).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

// === impl SharedDirectory ===

impl SharedDirectory {
    /// Keeps slod out, and changes nothing; also where nothing can be written.
    ///
    /// # Errors
    /// When it cannot be read, or a slod has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        fs::read_dir(path).map_err(io)?;
        let lock = match File::open(path.join(LOCK_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self { _lock: None }),
            lock => lock.map_err(io)?,
        };
        match lock.try_lock_shared() {
            Ok(()) => Ok(Self { _lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let first = DataDirectory::open(&path).unwrap();
        assert!(matches!(DataDirectory::open(&path), Err(OpenError::InUse(_))));
        drop(first);
        assert_eq!(DataDirectory::open(&path).unwrap().path(), path);
    }

    #[test]
    fn who_looks_keeps_slod_out_and_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let nothing_made = SharedDirectory::open(directory.path()).unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        let slod = DataDirectory::open(directory.path()).unwrap();
        assert!(matches!(SharedDirectory::open(directory.path()), Err(OpenError::InUse(_))));
        drop((slod, nothing_made));
        let both = [(); 2].map(|()| SharedDirectory::open(directory.path()).unwrap());
        assert!(matches!(DataDirectory::open(directory.path()), Err(OpenError::InUse(_))));
        drop(both);
        DataDirectory::open(directory.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let error = DataDirectory::open(Path::new("/proc/slod")).unwrap_err().to_string();
        assert!(error.starts_with("cannot use data directory /proc/slod: "), "{error}");
    }
}
