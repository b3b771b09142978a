//! What is read of a log that something happened to.

use std::io::ErrorKind;

use slod::{
    storage::{
        disk::Disk,
        log::{Finding, Log, OpenError, Recovery, Sequence},
    },
    telemetry::Telemetry,
    testing::faults::{FaultyDisk, Operation, Times},
};

use super::{
    AsDisk, START, config, disk_with, entry, expected, open, open_at, read, read_from, segments, write,
};

/// Which records are lost and what is found, in words.
#[track_caller]
fn check(disk: &FaultyDisk, of: u64, lost: &[u64], findings: &[&str]) {
    let (records, report) = read(disk);
    assert_eq!(records, expected((0..of).filter(|n| !lost.contains(n))));
    let found: Vec<_> = report.findings.iter().map(Finding::to_string).collect();
    assert_eq!(found, findings);
    assert_eq!(report.lost(), lost.len() as u64);
}

#[test]
fn a_flipped_bit_costs_at_most_the_record_that_it_is_in() {
    let disk = disk_with(12);
    for name in segments(&disk) {
        let content = disk.content(&name).unwrap();
        for offset in 0..content.len() {
            disk.flip_bit(&name, offset, offset as u32 % 8);
            let (records, report) = read(&disk);
            assert!(!report.findings.is_empty(), "{name} {offset}");
            assert!(records.len() >= 11, "{name} {offset}: {report:?}");
            if offset < 48 {
                assert_eq!(records.len(), 12, "{name} {offset}: {report:?}");
            }
            assert!(expected(0..12).iter().filter(|record| !records.contains(record)).count() <= 1);
            assert!(records.iter().all(|record| expected(0..12).contains(record)));
            // Appending behind it gives nobody's sequence twice.
            assert!(
                Some(open_at(&disk, config(), 0).0.next()) > records.last().map(|record| record.sequence)
            );
            disk.flip_bit(&name, offset, offset as u32 % 8);
        }
    }
    check(&disk, 12, &[], &[]);
}

#[test]
fn every_prefix_of_a_log_is_a_prefix_of_its_records() {
    let disk = disk_with(12);
    let mut found = Vec::new();
    for name in segments(&disk).into_iter().rev() {
        let content = disk.content(&name).unwrap();
        for len in (0..content.len()).rev() {
            disk.put(&name, &content[..len]);
            let (records, report) = read(&disk);
            assert_eq!(records, expected(0..records.len() as u64));
            assert_eq!(report.lost(), 0, "{name} {len}: {report:?}");
            found.push(records.len());
        }
        disk.remove(&name).unwrap();
    }
    assert!(found.is_sorted_by(|a, b| a >= b));
    assert_eq!((found[0], found.last()), (11, Some(&0)));
}

#[test]
fn damage_is_told_with_its_place() {
    let flipped = |offset, bit| {
        let disk = disk_with(12);
        disk.flip_bit("log/00000000000000000000.log", offset, bit);
        disk
    };
    // Records 0 and 1 have bodies of 17 and 70 bytes.
    check(
        &flipped(48 + 44 + 5, 0),
        12,
        &[0],
        &["log/00000000000000000000.log: 61 damaged bytes at 48, records lost: 1 (from sequence 0)"],
    );
    check(
        &flipped(109 + 4, 7),
        12,
        &[1],
        &["log/00000000000000000000.log: 114 damaged bytes at 109, records lost: 1 (from sequence 1)"],
    );
    check(
        &flipped(20, 3),
        12,
        &[],
        &["log/00000000000000000000.log: the header is damaged, its records are not"],
    );
}

#[test]
fn a_missing_segment_is_told() {
    let disk = disk_with(30);
    let names = segments(&disk);
    let first_of = |name: &str| name[4..24].parse::<u64>().unwrap();
    let (from, below) = (first_of(&names[1]), first_of(&names[2]));
    disk.remove(&names[1]).unwrap();
    let lost: Vec<u64> = (from..below).collect();
    let told = format!("{} records are missing (from sequence {from})", below - from);
    check(&disk, 30, &lost, &[&told]);
    assert_eq!(read_from(&disk, below).1.findings, []);

    for name in segments(&disk) {
        disk.remove(&name).unwrap();
    }
    check(&disk, 0, &[], &[]);
    let told = read_from(&disk, 30).1.findings[0].to_string();
    assert_eq!(told, "there is no log in log/, but one went up to sequence 30 at least");
}

#[test]
fn a_segment_that_cannot_be_read_does_not_hide_the_next() {
    let disk = disk_with(30);
    let mut recovery = Recovery::open(disk.as_disk(), Sequence(0)).unwrap();
    disk.fail(Operation::Read, 1, ErrorKind::Other, Times::Once);
    let records: Vec<_> = recovery.by_ref().map(|record| record.sequence.0).collect();
    let report = recovery.report();
    assert!(
        matches!(report.findings[..], [Finding::Unreadable { .. }, Finding::Missing { .. }]),
        "{report:?}"
    );
    assert_eq!(records.len() as u64 + report.missing, 30);
    assert_eq!(records.last(), Some(&29));
}

#[test]
fn a_segment_that_was_not_begun_is_nothing() {
    let begun: [&[u8]; 4] = [b"", b"slod", &[0; 48], &[0; 4_000]];
    for content in begun {
        let disk = disk_with(3);
        disk.put("log/00000000000000000003.log", content);
        check(&disk, 3, &[], &[]);
        // Its name is taken.
        let log = open(&disk, config());
        assert_eq!(log.next(), Sequence(4));
        write(&log, [4]);
        assert_eq!(read(&disk).1.findings, []);
        assert_eq!(read(&disk).0.len(), 4);
    }
}

#[test]
fn segments_that_were_tried_in_vain_hide_nothing() {
    let disk = disk_with(3);
    disk.put("log/00000000000000000003.log", b"slodlog\n\x01");
    disk.put("log/00000000000000000005.log", b"slodlog\n\x01");
    check(&disk, 3, &[], &[]);
    let log = open(&disk, config());
    assert_eq!(log.next(), Sequence(6));
    write(&log, [6]);
    let (records, report) = read(&disk);
    assert_eq!((records.len(), report.lost(), report.findings.len()), (4, 0, 0));
}

#[test]
fn files_that_are_none_of_ours_are_refused_and_left() {
    #[track_caller]
    fn check(name: &str, content: &[u8], expected: &str) {
        let disk = disk_with(3);
        disk.put(name, content);
        let opened = Log::open(disk.as_disk(), config(), Sequence(0), Telemetry::new().log);
        let error = opened.err().map(|error: OpenError| error.to_string());
        assert_eq!(error.as_deref(), Some(expected));
        assert_eq!(disk.content(name).unwrap(), content);
    }
    check(
        "log/00000000000000000003.log",
        b"127.0.0.1 - - \"GET / HTTP/1.1\" 200",
        "log/00000000000000000003.log (storage.path) is no segment of a log; move it elsewhere",
    );
    let mut newer = disk_with(1).content("log/00000000000000000000.log").unwrap()[..48].to_vec();
    check(
        "log/00000000000000000007.log",
        &newer,
        "log/00000000000000000007.log (storage.path) begins with sequence 0; give it back the name log/00000000000000000000.log",
    );
    newer[8] = 2;
    let checksum = xxhash_rust::xxh3::xxh3_64(&newer[..40]);
    newer[40..].copy_from_slice(&checksum.to_le_bytes());
    check(
        "log/00000000000000000007.log",
        &newer,
        "log/00000000000000000007.log (storage.path) has format 2, this slod reads up to 1; run the one that wrote it",
    );
}

#[test]
fn other_files_beside_segments_are_left_alone() {
    let disk = disk_with(3);
    disk.put("log/README", b"hands off");
    disk.put("log/00000000000000000000.log.bak", b"hands off");
    check(&disk, 3, &[], &[]);
}

#[test]
fn a_directory_that_cannot_be_read_is_told() {
    let disk = disk_with(3);
    disk.fail(Operation::Open, 0, ErrorKind::PermissionDenied, Times::Once);
    let error = Recovery::open(disk.as_disk(), Sequence(0)).unwrap_err().to_string();
    assert_eq!(error, "cannot read log/00000000000000000000.log (storage.path): permission denied");
}

#[test]
fn reading_is_counted() {
    let disk = disk_with(12);
    disk.flip_bit("log/00000000000000000000.log", 48 + 44, 0);
    let metrics = Telemetry::new().log;
    read(&disk).1.count(&metrics);
    assert_eq!((metrics.recovered.get(), metrics.corrupt.get(), metrics.missing.get()), (11, 1, 0));
}

#[test]
fn what_was_written_together_may_be_there_in_part() {
    let disk = disk_with(3);
    let log = open(&disk, config());
    let tickets: Vec<_> = (3..7).map(|n| log.append(entry(n))).collect();
    log.write_queued(START);
    drop(tickets);
    // Of the last round, as after a power cut before it was synced.
    disk.flip_bit("log/00000000000000000003.log", 48 + 44, 0);
    let (records, report) = read(&disk);
    assert_eq!(records, expected([0, 1, 2, 4, 5, 6]));
    assert!(matches!(report.findings[..], [Finding::Torn { .. }]), "{report:?}");
    write(&open(&disk, config()), [7]);
    assert_eq!((read(&disk).0.len(), read(&disk).1.lost()), (7, 0));
    disk.remove("log/00000000000000000007.log").unwrap();
    // A round that came after says that they were acknowledged.
    write(&log, [7]);
    let (records, report) = read(&disk);
    assert_eq!((records.len(), report.lost()), (7, 1));
}

#[test]
fn damage_at_the_end_is_told_once_and_then_behind_the_log() {
    let disk = disk_with(3);
    let name = &segments(&disk)[0];
    let end = disk.content(name).unwrap().len();
    disk.flip_bit(name, end - 1, 0);
    let (records, report) = read(&disk);
    assert_eq!(records, expected(0..2));
    assert!(matches!(report.findings[..], [Finding::Torn { .. }]), "{report:?}");
    let log = open(&disk, config());
    assert_eq!(log.next(), Sequence(3), "it was one");
    write(&log, 3..5);
    log.close(START).unwrap();
    let (records, report) = read(&disk);
    assert_eq!(records, expected([0, 1, 3, 4]));
    assert_eq!((report.lost(), report.findings.len()), (0, 1));
}
