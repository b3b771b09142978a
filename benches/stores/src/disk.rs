//! What the operating system knows of files and of this process.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    path::Path,
    process::Command,
};

/// Bytes that this process has had written to storage.
pub fn written() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// Highest resident memory of this process so far.
pub fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Bytes of blocks that everything below a directory takes, and the length of its files.
pub fn used(directory: &Path) -> (u64, u64) {
    let entries = fs::read_dir(directory).unwrap();
    let used = entries.map(|entry| {
        // An engine may remove a file meanwhile.
        let Ok(metadata) = entry.as_ref().unwrap().metadata() else { return (0, 0) };
        if metadata.is_dir() {
            used(&entry.unwrap().path())
        } else {
            (metadata.blocks() * 512, metadata.len())
        }
    });
    used.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// Reserves blocks; std has no call for it.
pub fn allocate(file: &File, bytes: u64) {
    let path = format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(file));
    let done = Command::new("fallocate").args(["-l", &bytes.to_string(), &path]).status().unwrap();
    assert!(done.success());
}
