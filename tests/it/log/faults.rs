//! A disk that fails while the log is written.

use std::io::ErrorKind;

use slod::{
    storage::log::{Log, LogError, Record, Refusal, Sequence},
    testing::faults::{FaultyDisk, Operation, Times},
    time::Timestamp,
};

use super::{SECOND, START, config, entry, expected, open, outcome, read, segments};

const OPERATIONS: [Operation; 6] = [
    Operation::Create,
    Operation::Allocate,
    Operation::Write,
    Operation::Sync,
    Operation::SyncDirectory,
    Operation::SetLen,
];

/// Appends two entries a second for so long as a sender that is refused stays away. Returns what was acknowledged.
fn send(log: &Log, seconds: u32) -> Vec<Record> {
    let mut acknowledged = Vec::new();
    for second in 0..seconds {
        let tickets: Vec<_> = (0..2)
            .filter(|_| log.accepts().is_ok())
            .map(|_| {
                let sequence = log.next();
                let record = Record { sequence, entry: entry(sequence.0) };
                (record.clone(), log.append(record.entry))
            })
            .collect();
        log.write_queued(START + second * SECOND);
        let of_round = tickets.into_iter().filter_map(|(record, ticket)| {
            let is_durable = outcome(ticket).expect("a round tells everyone") == Ok(());
            is_durable.then_some(record)
        });
        acknowledged.extend(of_round);
    }
    acknowledged
}

/// Lets an operation fail at its nth time, and checks what is left after the power failed, too. Returns whether it
/// came to that.
#[track_caller]
fn check(operation: Operation, nth: u64, times: Times, seed: u64) -> bool {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    disk.fail(operation, nth, ErrorKind::Other, times);
    let mut acknowledged = send(&log, 10);
    let failed = disk.count(operation) > nth;
    disk.heal();
    let after = send(&log, 60);
    assert!(after.len() >= 60, "{operation:?} {nth}: it heals within 30 s");
    acknowledged.extend(after.iter().cloned());
    disk.crash(seed);
    let (records, report) = read(&disk);
    let lost: Vec<_> = acknowledged.iter().filter(|record| !records.contains(record)).collect();
    assert!(lost.is_empty(), "{operation:?} {nth} {times:?}: {lost:?}");
    assert_eq!(report.lost(), 0, "{operation:?} {nth} {times:?}: {report:?}");
    failed
}

#[test]
fn whatever_fails_costs_nothing_that_was_acknowledged() {
    for operation in OPERATIONS {
        for times in [Times::Once, Times::Forever] {
            let failures = (0..).take_while(|nth| check(operation, *nth, times, *nth)).count();
            assert!(failures > 2, "{operation:?} {times:?} failed only {failures} times");
        }
    }
}

#[test]
fn a_failure_is_told_to_everyone_until_there_is_a_new_segment() {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    assert_eq!(send(&log, 2), expected(0..4));
    disk.fail(Operation::Sync, 0, ErrorKind::Other, Times::Once);
    let late = log.append(entry(4));
    assert!(!log.write_queued(START).succeeded);
    let reason = "sync failed: other error";
    assert_eq!(outcome(late), Some(Err(LogError::Failed(reason.into()))));
    assert_eq!(log.accepts(), Err(Refusal::Failed { reason: reason.into() }));

    // Who was on the way is told at the next round, and it is not tried again at once.
    let late = log.append(entry(5));
    log.write_queued(START + SECOND / 2);
    assert_eq!(outcome(late), Some(Err(LogError::Failed(reason.into()))));

    // What was given up lies between the segments.
    log.write_queued(START + SECOND);
    assert_eq!(log.accepts(), Ok(()));
    assert_eq!(segments(&disk), ["log/00000000000000000000.log", "log/00000000000000000006.log"]);
    assert_eq!(log.next(), Sequence(6));
    assert_eq!(send(&log, 1), expected(6..8));
    disk.kill();
    let (records, report) = read(&disk);
    // The record whose sync failed is there still: it counted, so it may count again.
    assert_eq!(records, expected([0, 1, 2, 3, 4, 6, 7]));
    assert_eq!(report.findings, []);
}

#[test]
fn a_disk_that_stays_broken_is_asked_ever_more_seldom() {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    disk.fail(Operation::Create, 0, ErrorKind::Other, Times::Forever);
    let _ticket = log.append(entry(0));
    let tried: Vec<i64> = (0..200)
        .filter(|second| {
            let before = disk.count(Operation::Create);
            log.write_queued(Timestamp(START.0 + second * 1_000));
            disk.count(Operation::Create) > before
        })
        .collect();
    assert_eq!(tried, [0, 1, 3, 7, 15, 31, 61, 91, 121, 151, 181]);
    // A clock that was set back must not put it off.
    let before = disk.count(Operation::Create);
    log.write_queued(Timestamp(START.0 - 3_600_000));
    assert_eq!(disk.count(Operation::Create), before + 1);
}

#[test]
fn closing_says_when_not_everything_is_safe() {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    let ticket = log.append(entry(0));
    disk.fail(Operation::Sync, 1, ErrorKind::Other, Times::Forever);
    assert_eq!(log.close(START), Err(LogError::Failed("sync failed: other error".into())));
    assert!(outcome(ticket).unwrap().is_err());
}
