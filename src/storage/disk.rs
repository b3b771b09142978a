//! The seam between storage and the file system: what [`crate::storage`] does to files goes through [`Disk`].
//!
//! The real one is [`RealDisk`]; [`Overlay`] only looks; `testing::faults` has one that fails on purpose. A disk knows
//! nothing of what is in its files, and repeats nothing.
//!
//! The invariant: what is written is durable only after [`DiskFile::sync_data`], and a name that was created,
//! renamed or removed only after [`Disk::sync_directory`]. After a sync that failed nothing is known of what was
//! written since the one before, and a later one that succeeds does not make up for it.

mod overlay;

use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::fs::FallocateFlags;

pub use overlay::Overlay;

/// A directory of files: the real one, or one that fails on purpose. Names are relative, `/`-separated.
pub trait Disk: Debug + Send + Sync {
    /// Makes a file to read and write, and the directory that it is in.
    ///
    /// # Errors
    /// When it exists, among others.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens a file to read and write.
    ///
    /// # Errors
    /// `NotFound` when there is none, among others.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// The names of the files in a directory, sorted; none if there is no such directory.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn list(&self, directory: &str) -> io::Result<Vec<String>>;

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when there is none, among others.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, in place of the file that has it.
    ///
    /// # Errors
    /// `NotFound` when there is none, among others.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes durable which names a directory has; `""` is the one of the disk itself.
    ///
    /// # Errors
    /// When that is not certain.
    fn sync_directory(&self, directory: &str) -> io::Result<()>;

    /// How much more can be written.
    ///
    /// # Errors
    /// When the file system does not say.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A file of a [`Disk`]. Threads may share it; each call says where in the file it means.
pub trait DiskFile: Debug + Send + Sync {
    /// How long it is.
    ///
    /// # Errors
    /// When the file system does not say.
    fn len(&self) -> io::Result<u64>;

    /// Whether nothing is in it.
    ///
    /// # Errors
    /// When the file system does not say.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before, among others.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// When a part was not written; which one is not known.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts it off, or has it end in zeros.
    ///
    /// # Errors
    /// When its length did not change.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Reserves space for this many bytes in all, without changing how long it is. A file system that cannot do
    /// that does nothing. [`DiskFile::set_len`] gives back what was not used.
    ///
    /// # Errors
    /// When there is not that much.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes durable what was written and how long it is.
    ///
    /// # Errors
    /// When that is not certain.
    fn sync_data(&self) -> io::Result<()>;
}

/// A directory of the file system. Its errors name the file.
#[derive(Clone, Debug)]
pub struct RealDisk {
    path: PathBuf,
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

// === impl RealDisk ===

impl RealDisk {
    /// The files of a directory, which should exist.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn open_with(&self, name: &str, options: &mut OpenOptions) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = told(options.read(true).write(true).open(&path), &path)?;
        Ok(Arc::new(RealFile { file, path }))
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(directory) = self.path.join(name).parent() {
            told(fs::create_dir_all(directory), directory)?;
        }
        self.open_with(name, OpenOptions::new().create_new(true))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open_with(name, &mut OpenOptions::new())
    }

    fn list(&self, directory: &str) -> io::Result<Vec<String>> {
        let path = self.path.join(directory);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => told(entries, &path)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = told(entry, &path)?;
            // A name that is no UTF-8 is none of ours.
            if let (true, Ok(name)) =
                (told(entry.file_type(), &path)?.is_file(), entry.file_name().into_string())
            {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path.join(name);
        told(fs::remove_file(&path), &path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let path = self.path.join(from);
        told(fs::rename(&path, self.path.join(to)), &path)
    }

    fn sync_directory(&self, directory: &str) -> io::Result<()> {
        let path = self.path.join(directory);
        told(File::open(&path).and_then(|directory| directory.sync_all()), &path)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let space = told(rustix::fs::statvfs(&self.path).map_err(io::Error::from), &self.path)?;
        // What is left to users, not what root has in reserve.
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

// === impl RealFile ===

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        told(self.file.metadata(), &self.path).map(|metadata| metadata.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        told(self.file.read_exact_at(buffer, offset), &self.path)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        told(self.file.write_all_at(bytes, offset), &self.path)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        told(self.file.set_len(len), &self.path)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::KEEP_SIZE, 0, len).map_err(io::Error::from) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            result => told(result, &self.path),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        told(self.file.sync_data(), &self.path)
    }
}

/// Adds to an error which file it is about.
fn told<T>(result: io::Result<T>, path: &Path) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let disk = RealDisk::new(directory.path());
        assert_eq!(disk.list("log").unwrap(), Vec::<String>::new());
        let file = disk.create("log/b").unwrap();
        disk.create("log/a").unwrap();
        disk.sync_directory("log").unwrap();
        assert_eq!(disk.list("log").unwrap(), ["a", "b"]);
        assert_eq!(disk.create("log/b").unwrap_err().kind(), io::ErrorKind::AlreadyExists);

        file.allocate(1 << 20).unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(b"cdef", 2).unwrap();
        file.sync_data().unwrap();
        file.set_len(5).unwrap();
        let mut read = [1; 5];
        disk.open("log/b").unwrap().read_exact_at(&mut read, 0).unwrap();
        assert_eq!(&read, b"\0\0cde");

        disk.rename("log/b", "log/a").unwrap();
        assert_eq!(disk.open("log/a").unwrap().len().unwrap(), 5);
        disk.remove("log/a").unwrap();
        assert_eq!(disk.list("log").unwrap(), Vec::<String>::new());
        assert!(disk.free_bytes().unwrap() > 0);
    }

    #[test]
    fn an_error_names_the_file() {
        let disk = RealDisk::new(Path::new("/nowhere"));
        let error = disk.open("log/a").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().starts_with("/nowhere/log/a: "), "{error}");
    }
}
