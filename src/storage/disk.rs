//! The seam between storage and the file system: all that storage asks of a disk.
//!
//! It knows no formats. The invariant: what a call has not synced may be lost, torn or applied out of order by
//! a loss of power, and tests stand on exactly that.

use std::{fmt::Debug, io, sync::Arc};

/// A directory of files: the real one, or one that fails on purpose. Names are relative, `/`-separated.
pub trait Disk: Debug + Send + Sync {
    /// Makes a file; fails if it exists.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file to read and write; `NotFound` if it is absent.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// The names of the files in a directory, sorted; none if it is absent.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in place of what had that name before.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Creations, renames and removals in a directory are durable after it.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;
    /// Bytes that files may still take.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
#[expect(clippy::len_without_is_empty, reason = "nothing asks whether a file is empty")]
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Fills the buffer with what is at an offset.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all bytes at an offset.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts it, or lengthens it by zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Reserves blocks; a hint, may do nothing.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// What was written is durable after it.
    fn sync_data(&self) -> io::Result<()>;
}
