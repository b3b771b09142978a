//! The format as it is on disks: files of each version that was ever written open for ever.

use std::{fs, path::Path, time::Duration};

use bytes::Bytes;
use slod::{
    prompb::Version,
    storage::{
        disk::RealDisk,
        log::{Entry, Record, Sequence},
    },
    testing::faults::FaultyDisk,
};

use super::{START, config, open, read};

const VERSION_1: &str = "tests/testdata/storage/log/v1";

fn entries() -> [Entry; 3] {
    let body = |text: &'static str| Bytes::from_static(text.as_bytes());
    [
        Entry { arrived: START, version: Version::V1, epoch: 0, body: body("first") },
        Entry { arrived: START + Duration::from_secs(15), version: Version::V2, epoch: 7, body: body("") },
        Entry {
            arrived: START - Duration::from_secs(1),
            version: Version::V2,
            epoch: u32::MAX,
            body: body("third"),
        },
    ]
}

#[test]
fn files_of_version_1_are_read() {
    // Copied, since reading must not change what is checked in.
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    for file in fs::read_dir(VERSION_1).unwrap() {
        let path = file.unwrap().path();
        fs::copy(&path, directory.path().join("log").join(path.file_name().unwrap())).unwrap();
    }
    let (records, report) = read(&RealDisk::new(directory.path()));
    let expected: Vec<_> =
        (0..).map(Sequence).zip(entries()).map(|(sequence, entry)| Record { sequence, entry }).collect();
    assert_eq!(records, expected);
    assert_eq!(report.findings, []);
}

#[test]
fn what_is_written_is_version_1() {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    let tickets = entries().map(|entry| log.append(entry));
    log.close(START).unwrap();
    drop(tickets);
    let written = disk.content("log/00000000000000000000.log").unwrap();
    let expected = fs::read(Path::new(VERSION_1).join("00000000000000000000.log")).unwrap();
    assert_eq!(written, expected, "a change of the format needs a new version");
}
