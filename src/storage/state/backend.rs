//! redb's view of a file on our disk.
//!
//! It takes no lock: the directory has one. The invariant: an error in reading is told apart from one in
//! writing, because what cannot be read is set aside, and what cannot be written is tried again.

use std::{io, sync::Arc};

use crate::storage::disk::DiskFile;

/// A file that redb may use.
#[derive(Debug)]
pub(super) struct Backend(pub(super) Arc<dyn DiskFile>);

/// The kind of every error in reading.
pub(super) const UNREADABLE: io::ErrorKind = io::ErrorKind::InvalidData;

impl redb::StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let length = out.len();
        let unreadable = |error| format!("cannot read {length} bytes at {offset}: {error}");
        self.0.read_exact_at(out, offset).map_err(|error| io::Error::new(UNREADABLE, unreadable(error)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_all_at(data, offset)
    }
}
