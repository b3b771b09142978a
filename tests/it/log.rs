//! The log of accepted requests, on a disk that fails on purpose and on a real one.

mod crashes;
mod damage;
mod faults;
mod format;
mod real;
mod space;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use slod::{
    prompb::Version,
    storage::{
        disk::Disk,
        log::{Config, Durability, Entry, Log, LogError, Record, Recovery, Report, Sequence, Ticket},
    },
    telemetry::Telemetry,
    testing::faults::FaultyDisk,
    time::Timestamp,
};

const START: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);

/// Small segments, so that there are some, and nothing that is covered is kept.
fn config() -> Config {
    Config {
        segment_bytes: 1_000,
        queue_bytes_max: 10_000,
        retention: Duration::ZERO,
        free_bytes_min: 0,
        ..Config::default()
    }
}

/// An entry that no other number gives.
fn entry(n: u64) -> Entry {
    let body: Vec<u8> = (0..17 + n * 53 % 160).map(|at| (n * 31 + at * 7 % 251) as u8).collect();
    Entry {
        arrived: START + Duration::from_millis(n),
        version: if n.is_multiple_of(2) { Version::V1 } else { Version::V2 },
        epoch: n as u32,
        body: Bytes::from(body),
    }
}

fn open(disk: &FaultyDisk, config: Config) -> Log {
    open_at(disk, config, 0).0
}

fn open_at(disk: &FaultyDisk, config: Config, position: u64) -> (Log, Recovery) {
    let disk = Arc::new(disk.clone());
    Log::open(disk, config, Sequence(position), Telemetry::new().log).unwrap()
}

/// Appends these, each in a round of its own, and expects that all are acknowledged.
#[track_caller]
fn write(log: &Log, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        let ticket = log.append(entry(n));
        log.write_queued(START);
        assert_eq!(outcome(ticket), Some(Ok(())), "entry {n}");
    }
}

fn outcome(mut ticket: Ticket) -> Option<Result<(), LogError>> {
    ticket.outcome()
}

/// A disk with these entries in a log that was closed. Their sequences are their numbers.
fn disk_with(count: u64) -> FaultyDisk {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    write(&log, 0..count);
    log.close(START).unwrap();
    disk
}

/// Everything that is in a log from a position on.
fn read_from(disk: &dyn AsDisk, position: u64) -> (Vec<Record>, Report) {
    let mut recovery = Recovery::open(disk.as_disk(), Sequence(position)).unwrap();
    let records: Vec<_> = recovery.by_ref().collect();
    let report = recovery.report().clone();
    assert_eq!(report.records, records.len() as u64);
    assert!(records.is_sorted_by(|a, b| a.sequence < b.sequence), "the order of the log");
    (records, report)
}

fn read(disk: &dyn AsDisk) -> (Vec<Record>, Report) {
    read_from(disk, 0)
}

fn expected(numbers: impl IntoIterator<Item = u64>) -> Vec<Record> {
    numbers.into_iter().map(|n| Record { sequence: Sequence(n), entry: entry(n) }).collect()
}

fn segments(disk: &dyn Disk) -> Vec<String> {
    disk.list("log").unwrap().into_iter().map(|name| format!("log/{name}")).collect()
}

trait AsDisk {
    fn as_disk(&self) -> Arc<dyn Disk>;
}

impl<D: Disk + Clone + 'static> AsDisk for D {
    fn as_disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }
}

#[test]
fn what_was_appended_is_read_in_its_order() {
    let disk = disk_with(30);
    let (records, report) = read(&disk);
    assert_eq!(records, expected(0..30));
    assert_eq!((report.findings.len(), report.lost()), (0, 0));
    assert!(segments(&disk).len() > 3, "one segment would show nothing of rotation");

    let (records, report) = read_from(&disk, 17);
    assert_eq!(records, expected(17..30));
    assert_eq!(report.findings, []);
}

#[test]
fn it_goes_on_behind_what_is_there() {
    let disk = disk_with(5);
    let (log, recovery) = open_at(&disk, config(), 3);
    assert_eq!(log.next(), Sequence(5));
    assert_eq!(recovery.count(), 2);
    write(&log, 5..9);
    disk.kill();
    let (log, _) = open_at(&disk, config(), 0);
    write(&log, 9..12);
    assert_eq!(read(&disk), (expected(0..12), Report { findings: vec![], ..read(&disk).1 }));
}

#[test]
fn opening_and_closing_without_an_entry_leaves_nothing() {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    log.write_queued(START);
    log.close(START).unwrap();
    assert_eq!(segments(&disk), Vec::<String>::new());
}

#[test]
fn sequences_that_the_state_knows_are_not_given_twice() {
    let disk = disk_with(5);
    let (log, recovery) = open_at(&disk, Config { retention: SECOND, ..config() }, 40);
    assert_eq!((log.next(), recovery.count()), (Sequence(40), 0));
    write(&log, 40..42);
    let (records, report) = read_from(&disk, 40);
    assert_eq!(records, expected(40..42));
    assert_eq!(report.findings, []);
    // What lies between was never to be read, and is not missed.
    assert_eq!(read(&disk).1.lost(), 0);
}

#[test]
fn a_round_is_one_write_and_one_sync() {
    use slod::testing::faults::Operation::{Sync, Write};
    let disk = FaultyDisk::new();
    let log = open(&disk, Config { segment_bytes: 1 << 20, ..config() });
    write(&log, [0]);
    let before = (disk.count(Write), disk.count(Sync));
    let tickets: Vec<_> = (1..50).map(|n| log.append(entry(n))).collect();
    assert_eq!(log.write_queued(START).records, 49);
    assert!(tickets.into_iter().all(|ticket| outcome(ticket) == Some(Ok(()))));
    assert_eq!((disk.count(Write), disk.count(Sync)), (before.0 + 1, before.1 + 1));
}

#[test]
fn when_a_request_is_acknowledged() {
    #[track_caller]
    fn check(durability: Durability, at_once: bool, syncs_each_second: [bool; 3]) {
        use slod::testing::faults::Operation::Sync;
        let disk = FaultyDisk::new();
        let log = open(&disk, Config { durability, sync_interval: 2 * SECOND, ..config() });
        let found = [0_u32, 1, 2].map(|second| {
            // The first one is synced with its segment in any case.
            if second == 0 {
                write(&log, [0]);
            }
            let mut ticket = log.append(entry(1 + u64::from(second)));
            assert_eq!(ticket.outcome().is_some(), at_once);
            let before = disk.count(Sync);
            assert!(log.write_queued(START + second * SECOND).succeeded);
            assert_eq!(ticket.outcome(), Some(Ok(())));
            disk.count(Sync) > before
        });
        assert_eq!(found, syncs_each_second);
        disk.kill();
        assert_eq!(read(&disk).0, expected(0..4));
    }
    check(Durability::Sync, false, [true, true, true]);
    check(Durability::Interval, false, [false, false, true]);
    check(Durability::None, true, [false, false, false]);
}

#[test]
fn what_is_written_is_synced_later_without_more_to_write() {
    let disk = FaultyDisk::new();
    let log = open(&disk, Config { durability: Durability::Interval, ..config() });
    write(&log, 0..3);
    log.write_queued(START + SECOND);
    for seed in 0..20 {
        let copy = read_after_crash(&disk, seed);
        assert_eq!(copy, expected(0..3));
    }
}

/// What is read after a power cut; the same seed keeps the same.
fn read_after_crash(disk: &FaultyDisk, seed: u64) -> Vec<Record> {
    disk.crash(seed);
    read(disk).0
}

#[test]
fn a_full_queue_refuses_and_takes_again() {
    let disk = FaultyDisk::new();
    let log = open(&disk, Config { queue_bytes_max: 100, ..config() });
    let ticket = log.append(Entry { body: Bytes::from(vec![0; 100]), ..entry(0) });
    let refusal = log.accepts().unwrap_err().to_string();
    assert!(refusal.starts_with("100 bytes wait to be written to the log, the limit is 100"), "{refusal}");
    log.write_queued(START);
    assert_eq!(outcome(ticket), Some(Ok(())));
    assert_eq!(log.accepts(), Ok(()));
}

#[test]
fn a_closed_log_takes_nothing() {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    let ticket = log.append(entry(0));
    log.close(START).unwrap();
    assert_eq!(outcome(ticket), Some(Ok(())));
    assert_eq!(log.accepts().unwrap_err().to_string(), "the log is closed, slod is shutting down");
    assert_eq!(outcome(log.append(entry(1))), Some(Err(LogError::Closed)));
    let ticket = open(&disk, config()).append(entry(1));
    assert_eq!(outcome(ticket), Some(Err(LogError::Closed)), "nobody is left to write it");
}
