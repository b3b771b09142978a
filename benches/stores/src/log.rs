//! A log of bodies: an engine's journal against a plain file with its blocks reserved.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use fjall::{KeyspaceCreateOptions, PersistMode};

use crate::{disk, load::Random};

const BODY_BYTES: usize = 50_000;
const RUN: Duration = Duration::from_secs(5);
const SEGMENT_BYTES: u64 = 64 << 20;

pub fn measure(directory: &Path) {
    println!("\n| log | bodies per sync | MB/s | syncs/s | written per byte |");
    println!("|---|--:|--:|--:|--:|");
    for group in [1, 16] {
        run("plain file, fdatasync", group, &directory.join("plain"), plain(&directory.join("plain")));
        run("fjall, SyncAll", group, &directory.join("fjall"), lsm(&directory.join("fjall")));
    }
}

fn run(name: &str, group: usize, directory: &Path, mut append: impl FnMut(&[Vec<u8>])) {
    let mut random = Random(2);
    let bodies: Vec<Vec<u8>> = (0..group).map(|_| random.noise(BODY_BYTES)).collect();
    let (start, written_before) = (Instant::now(), disk::written());
    let mut syncs = 0_u64;
    while start.elapsed() < RUN {
        append(&bodies);
        syncs += 1;
    }
    let seconds = start.elapsed().as_secs_f64();
    // Dropping flushes what an engine still has to write of its own accord.
    drop(append);
    let bytes = (syncs as usize * group * BODY_BYTES) as f64;
    let written = (disk::written() - written_before) as f64;
    println!(
        "| {name} | {group} | {:.0} | {:.0} | {:.2} |",
        bytes / 1e6 / seconds,
        syncs as f64 / seconds,
        written / bytes,
    );
    std::fs::remove_dir_all(directory).unwrap();
}

/// Segments of zeros: blocks are allocated, so that a sync writes data and no metadata.
fn plain(directory: &Path) -> impl FnMut(&[Vec<u8>]) {
    std::fs::create_dir_all(directory).unwrap();
    let directory = directory.to_owned();
    let segment = move |number: u64| -> File {
        let path = directory.join(format!("{number:020}.log"));
        let file = OpenOptions::new().create_new(true).write(true).open(path).unwrap();
        disk::allocate(&file, SEGMENT_BYTES);
        file
    };
    let (mut number, mut offset) = (0, 0);
    let mut file = segment(0);
    move |bodies| {
        let record = bodies.concat();
        if offset + record.len() as u64 > SEGMENT_BYTES {
            (number, offset) = (number + 1, 0);
            file = segment(number);
        }
        file.write_all_at(&record, offset).unwrap();
        file.sync_data().unwrap();
        offset += record.len() as u64;
    }
}

fn lsm(directory: &Path) -> impl FnMut(&[Vec<u8>]) {
    std::fs::create_dir_all(directory).unwrap();
    let database = fjall::Database::builder(directory).open().unwrap();
    let log = database.keyspace("log", KeyspaceCreateOptions::default).unwrap();
    let mut sequence = 0_u64;
    move |bodies| {
        for body in bodies {
            log.insert(sequence.to_be_bytes(), body.as_slice()).unwrap();
            sequence += 1;
        }
        database.persist(PersistMode::SyncAll).unwrap();
    }
}
