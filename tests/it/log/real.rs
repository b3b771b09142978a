//! The log on a real disk, with real threads.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use slod::{
    storage::{
        disk::RealDisk,
        log::{Config, Entry, Log, Sequence},
    },
    telemetry::Telemetry,
    time::Timestamp,
};

use super::{START, config, entry, expected, read, write};

const THREADS: u64 = 8;
const ENTRIES: u64 = 50;

fn open(path: &std::path::Path, config: Config) -> Log {
    let disk = Arc::new(RealDisk::new(path));
    Log::open(disk, config, Sequence(0), Telemetry::new().log).unwrap().0
}

#[test]
fn a_real_disk_holds_a_log() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path(), config());
    write(&log, 0..30);
    drop(log);
    let log = open(directory.path(), config());
    write(&log, 30..60);
    log.release(Sequence(40));
    log.close(START).unwrap();
    let (records, report) = read(&RealDisk::new(directory.path()));
    assert!(records.ends_with(&expected(40..60)));
    assert_eq!(report.missing, records[0].sequence.0, "those before were released");
}

#[test]
fn what_was_reserved_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log/00000000000000000000.log");
    let taken = || fs::metadata(&path).unwrap().blocks() * 512;
    let log = open(directory.path(), Config { segment_bytes: 1 << 20, ..config() });
    write(&log, 0..3);
    if taken() < 1 << 20 {
        println!("the file system of {} does not reserve space, so none can be given back", path.display());
    }
    drop(log);
    // The process after one that died.
    drop(open(directory.path(), config()));
    assert!(taken() < 1 << 16, "{}", taken());
}

#[test]
fn threads_append_while_one_writes() {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(open(directory.path(), Config { segment_bytes: 20_000, ..config() }));
    let time = AtomicI64::new(START.0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let now = || Timestamp(time.fetch_add(1, Ordering::Relaxed));
    let appended = thread::scope(|scope| {
        let writer = scope.spawn(|| log.run(now, || Duration::ZERO));
        let senders: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn({
                    let log = Arc::clone(&log);
                    move || append_all(&log, thread)
                })
            })
            .collect();
        let appended = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect::<Vec<_>>();
        let appended: Vec<Entry> = appended
            .into_iter()
            .map(|(entry, ticket)| {
                runtime.block_on(ticket.durable()).unwrap();
                entry
            })
            .collect();
        log.stop();
        writer.join().unwrap();
        appended
    });
    log.close(START).unwrap();

    let (records, report) = read(&RealDisk::new(directory.path()));
    assert_eq!((records.len() as u64, report.findings.len()), (THREADS * ENTRIES, 0));
    // The epoch is the number of the thread, the time that of the entry.
    for thread in 0..THREADS {
        let of_thread = |entry: &&Entry| u64::from(entry.epoch) == thread;
        let read: Vec<_> = records.iter().map(|record| &record.entry).filter(of_thread).collect();
        assert_eq!(read, appended.iter().filter(of_thread).collect::<Vec<_>>());
    }
}

fn append_all(log: &Log, thread: u64) -> Vec<(Entry, slod::storage::log::Ticket)> {
    let entries = (0..ENTRIES).map(|n| Entry { epoch: thread as u32, ..entry(thread * ENTRIES + n) });
    entries.map(|entry| (entry.clone(), log.append(entry))).collect()
}
