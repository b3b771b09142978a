//! Files that are gone, cut off, changed, or of another version: slod is started on them.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use redb::{ReadableDatabase, TableDefinition};
use xxhash_rust::xxh3::xxh3_64;

use super::segments;
use crate::{
    shop::{SPEC, Shop},
    support::Slod,
};

/// A directory with three segments, a killed slod, and what it had acknowledged.
struct Site {
    slod: Slod,
    shop: Shop,
    data: PathBuf,
}

/// Nothing is covered but by the checkpoint at the start, so that the newest segment counts again.
const SELDOM: &str = "evaluation_delay: 1s\nstorage: {checkpoint_interval: 1h}\n";
// docs/format/log.md
const SEGMENT_HEADER_BYTES: u64 = 48;

// === impl Site ===

impl Site {
    fn new() -> Self {
        let slod = Slod::start(SPEC, SELDOM);
        let (shop, data) = (Shop::new(slod.address), slod.directory.path().join("data"));
        let mut site = Self { slod, shop, data };
        for _ in 0..2 {
            site.work();
            site.slod.kill();
            site.slod.start_again();
            site.slod.wait_until_ready();
        }
        site.work();
        site.slod.kill();
        assert_eq!(segments(&site.data).len(), 3);
        site
    }

    fn work(&mut self) {
        for _ in 0..5 {
            self.shop.serve(100.0, 7.0);
            self.shop.deliver();
        }
    }

    fn start(&mut self) {
        self.slod.start_again();
        self.slod.wait_until_ready();
    }

    /// It goes on with all that was acknowledged, and what is acknowledged from now on.
    #[track_caller]
    fn check_nothing_lost(&mut self) {
        self.shop.check_counted(&self.slod);
        self.work();
        self.shop.check_counted(&self.slod);
        self.slod.kill();
        self.start();
        self.shop.check_counted(&self.slod);
    }

    #[track_caller]
    fn assert_told(&self, words: &[&str]) {
        let log = self.slod.log();
        for word in words {
            assert!(log.contains(word), "{word} is not in\n{log}");
        }
    }

    /// It ends with these words, and everything is as it was.
    #[track_caller]
    fn check_refused(&mut self, words: &[&str]) {
        let before = content(&self.data);
        self.slod.start_again();
        assert!(!self.slod.process.wait().success());
        self.assert_told(words);
        assert!(content(&self.data) == before, "nothing is touched");
    }

    fn state(&self) -> PathBuf {
        self.data.join("state.redb")
    }

    fn segment(&self, index: usize) -> PathBuf {
        self.data.join("log").join(&segments(&self.data)[index])
    }
}

/// The files of a directory, but for the lock.
fn content(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for directory in [data.to_owned(), data.join("log")] {
        for file in fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()) {
            if file.is_file() && !file.ends_with("lock") {
                files.push((file.clone(), fs::read(file).unwrap()));
            }
        }
    }
    files.sort();
    files
}

fn flip_bit(path: &Path, at: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn a_state_that_is_gone() {
    let mut site = Site::new();
    fs::remove_file(site.state()).unwrap();
    site.start();
    site.assert_told(&["there was no state.redb: SLOs have the history that the log holds"]);
    site.check_nothing_lost();
}

#[test]
fn a_state_that_is_garbled() {
    let mut site = Site::new();
    fs::write(site.state(), vec![0x5a; 200_000]).unwrap();
    site.start();
    site.assert_told(&[
        "state.redb cannot be read",
        "and is now state.redb.corrupt-1: SLOs have the history",
    ]);
    assert_eq!(site.slod.sum("slod_storage_state_set_aside_total"), 1.0);
    assert_eq!(fs::read(site.data.join("state.redb.corrupt-1")).unwrap(), vec![0x5a; 200_000]);
    site.check_nothing_lost();
}

#[test]
fn a_state_that_is_cut_off() {
    let mut site = Site::new();
    let file = File::options().write(true).open(site.state()).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    site.start();
    site.assert_told(&["and is now state.redb.corrupt-1"]);
    assert_eq!(site.slod.sum("slod_storage_state_set_aside_total"), 1.0);
    site.slod.process.assert_alive();
}

#[test]
fn a_state_of_a_later_version() {
    let mut site = Site::new();
    let database = redb::Database::open(site.state()).unwrap();
    let meta: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta");
    let transaction = database.begin_write().unwrap();
    transaction.open_table(meta).unwrap().insert(&b"format"[..], &2_u32.to_le_bytes()[..]).unwrap();
    transaction.commit().unwrap();
    database.begin_read().unwrap().open_table(meta).unwrap();
    drop(database);
    site.check_refused(&["cannot read state.redb: it has format 2, this slod reads 1", "start the version"]);
}

#[test]
fn a_log_of_a_later_version() {
    let mut site = Site::new();
    let mut header = fs::read(site.segment(2)).unwrap();
    header[8] = 2;
    let checksum = xxh3_64(&header[..40]);
    header[40..48].copy_from_slice(&checksum.to_le_bytes());
    fs::write(site.segment(2), header).unwrap();
    site.check_refused(&["has format 2, this slod reads up to 1; run the one that wrote it"]);
    // Nor is a state begun where there is none.
    fs::remove_file(site.state()).unwrap();
    site.check_refused(&["has format 2, this slod reads up to 1; run the one that wrote it"]);
}

#[test]
fn a_segment_that_a_checkpoint_covers_is_not_missed() {
    let mut site = Site::new();
    fs::remove_file(site.segment(0)).unwrap();
    site.start();
    assert_eq!(site.slod.sum("slod_storage_log_missing_records_total"), 0.0);
    site.check_nothing_lost();
}

#[test]
fn a_segment_that_is_needed_is_missed() {
    let mut site = Site::new();
    fs::remove_file(site.state()).unwrap();
    fs::remove_file(site.segment(1)).unwrap();
    site.start();
    site.assert_told(&[
        "5 records are missing (from sequence 5)",
        "acknowledged requests are missing from the log records=5",
    ]);
    assert_eq!(site.slod.sum("slod_storage_log_missing_records_total"), 5.0);
    // Counters bridge what is between two samples of a series.
    site.check_nothing_lost();
}

#[test]
fn a_log_that_is_gone() {
    let mut site = Site::new();
    fs::remove_dir_all(site.data.join("log")).unwrap();
    site.start();
    site.assert_told(&["there is no log in log/, but one went up to sequence 10 at least"]);
    // The counters of series are in the state, and bridge what was lost.
    site.work();
    site.shop.check_counted(&site.slod);
}

#[test]
fn a_segment_that_is_cut_off_in_a_record() {
    let mut site = Site::new();
    let file = File::options().write(true).open(site.segment(2)).unwrap();
    let records = file.metadata().unwrap().len() - SEGMENT_HEADER_BYTES;
    file.set_len(SEGMENT_HEADER_BYTES + records / 2).unwrap();
    site.start();
    site.assert_told(&["were never written to their end"]);
    site.work();
    site.shop.check_counted(&site.slod);
}

#[test]
fn a_changed_bit_in_a_segment() {
    let mut site = Site::new();
    // In the second of five records.
    let length = fs::metadata(site.segment(2)).unwrap().len();
    flip_bit(&site.segment(2), length * 3 / 10);
    site.start();
    site.assert_told(&["damaged bytes at", "records lost: 1 (from sequence 11)"]);
    assert_eq!(site.slod.sum("slod_storage_log_corrupt_records_total"), 1.0);
    site.check_nothing_lost();
}
