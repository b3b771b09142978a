//! How much of the disk the log takes, and what it does when there is no more.

use std::time::Duration;

use slod::{
    storage::{
        disk::Disk,
        log::{Config, Log, Refusal, Sequence},
    },
    telemetry::{LogMetrics, Telemetry},
    testing::faults::{FaultyDisk, Operation, Times},
    time::Timestamp,
};

use super::{
    AsDisk, SECOND, START, config, entry, expected, open, outcome, read, read_from, segments, write,
};

const HOUR: Duration = Duration::from_secs(3_600);

fn open_counted(disk: &FaultyDisk, config: Config) -> (Log, LogMetrics) {
    let metrics = Telemetry::new().log;
    (Log::open(disk.as_disk(), config, Sequence(0), metrics.clone()).unwrap().0, metrics)
}

/// The sequence that the oldest segment begins with.
fn oldest(disk: &FaultyDisk) -> u64 {
    segments(disk)[0][4..24].parse().unwrap()
}

#[test]
fn only_what_a_checkpoint_covers_goes() {
    let disk = FaultyDisk::new();
    let log = open(&disk, config());
    write(&log, 0..30);
    let all = segments(&disk).len();
    log.release(Sequence(0));
    log.write_queued(START);
    assert_eq!(segments(&disk).len(), all);

    log.release(Sequence(17));
    log.write_queued(START);
    assert!((1..=17).contains(&oldest(&disk)));
    assert_eq!(read_from(&disk, 17).0, expected(17..30));

    log.release(Sequence(30));
    log.write_queued(START);
    assert_eq!(segments(&disk).len(), 1, "the newest stays");
    // A checkpoint that is older changes nothing.
    log.release(Sequence(2));
    write(&log, 30..32);
    assert_eq!(read_from(&disk, 30).0, expected(30..32));
}

#[test]
fn what_is_covered_is_kept_as_long_and_as_much_as_was_asked_for() {
    let disk = FaultyDisk::new();
    let log = open(&disk, Config { retention: HOUR, size_max: 5_000, ..config() });
    write(&log, 0..20);
    log.release(Sequence(20));
    log.write_queued(START + HOUR - SECOND);
    assert_eq!(oldest(&disk), 0);
    write(&log, 20..60);
    assert!(oldest(&disk) <= 20, "what is not covered stays, however much it is");
    log.release(Sequence(60));
    log.write_queued(START);
    let kept: u64 = segments(&disk).iter().map(|name| disk.content(name).unwrap().len() as u64).sum();
    assert!(oldest(&disk) > 20 && (3_000..=5_000).contains(&kept), "{kept}");
    log.write_queued(START + HOUR);
    assert_eq!(segments(&disk).len(), 1);
}

#[test]
fn what_no_checkpoint_covers_is_shown() {
    let disk = FaultyDisk::new();
    let (log, metrics) = open_counted(&disk, config());
    write(&log, 0..30);
    log.write_queued(START);
    assert_eq!(metrics.uncovered.get(), metrics.size.get());
    assert_eq!(metrics.segments.get(), segments(&disk).len() as i64);
    assert_eq!((metrics.oldest.get(), metrics.next.get()), (0, 30));
    assert_eq!((metrics.records.get(), metrics.queue.get(), metrics.accepting.get()), (30, 0, 1));
    log.release(Sequence(30));
    log.write_queued(START);
    assert_eq!((metrics.segments.get(), metrics.uncovered.get()), (1, 1_000));
}

#[test]
fn a_full_disk_frees_what_is_not_needed() {
    let disk = FaultyDisk::new();
    let (log, metrics) = open_counted(&disk, Config { retention: HOUR, ..config() });
    write(&log, 0..20);
    log.release(Sequence(15));
    log.write_queued(START);
    assert_eq!(oldest(&disk), 0);
    disk.limit(segments(&disk).iter().map(|name| disk.content(name).unwrap().len() as u64).sum());
    write(&log, 20..25);
    assert!((1..=15).contains(&oldest(&disk)));
    assert_eq!(metrics.accepting.get(), 1);
    assert_eq!(read_from(&disk, 15).0, expected(15..25));
}

#[test]
fn a_full_disk_is_survived() {
    let disk = FaultyDisk::new();
    let (log, metrics) = open_counted(&disk, config());
    write(&log, 0..20);
    disk.limit(0);
    let ticket = log.append(entry(20));
    log.write_queued(START);
    assert!(outcome(ticket).unwrap().is_err());
    assert_eq!(metrics.accepting.get(), 0);
    assert_eq!(metrics.failures.with_label_values(&["write"]).get(), 1);
    assert!(matches!(log.accepts(), Err(Refusal::Failed { .. })));
    // A checkpoint frees segments, and the log heals by itself.
    log.release(Sequence(21));
    disk.limit(10_000);
    log.write_queued(START + SECOND);
    assert_eq!(log.accepts(), Ok(()));
    assert_eq!(metrics.accepting.get(), 1);
    write(&log, 21..25);
    disk.kill();
    assert_eq!(read_from(&disk, 21).0, expected(21..25));
}

#[test]
fn requests_are_refused_before_the_disk_is_full() {
    let disk = FaultyDisk::new();
    let log = open(&disk, Config { free_bytes_min: 2_000, retention: HOUR, ..config() });
    write(&log, 0..20);
    disk.limit(5_000);
    let free = disk.free_bytes().unwrap();
    assert!(free < 2_000);
    log.write_queued(START + SECOND);
    let refusal = log.accepts().unwrap_err();
    assert_eq!(refusal, Refusal::DiskFull { free, limit: 2_000 });
    assert_eq!(
        refusal.to_string(),
        format!(
            "{free} bytes are free on the disk of storage.path, the limit is 2000 (storage.free_bytes_min)"
        )
    );
    // Those that were let in before are written.
    let ticket = log.append(entry(20));
    log.write_queued(START + SECOND);
    assert_eq!(outcome(ticket), Some(Ok(())));
    // What is covered goes before its time.
    log.release(Sequence(20));
    log.write_queued(START + 2 * SECOND);
    assert_eq!(log.accepts(), Ok(()));
    assert!(oldest(&disk) > 0);
}

#[test]
fn a_segment_that_cannot_be_removed_is_tried_again() {
    let disk = FaultyDisk::new();
    let (log, metrics) = open_counted(&disk, config());
    write(&log, 0..20);
    log.release(Sequence(20));
    disk.fail(Operation::Remove, 0, std::io::ErrorKind::Other, Times::Once);
    log.write_queued(START);
    assert_eq!((oldest(&disk), metrics.failures.with_label_values(&["remove"]).get()), (0, 1));
    log.write_queued(Timestamp(START.0 + 1));
    assert_eq!(segments(&disk).len(), 1);
}

#[test]
fn a_record_larger_than_a_segment_has_one_for_itself() {
    let disk = FaultyDisk::new();
    let log = open(&disk, Config { segment_bytes: 60, ..config() });
    write(&log, 0..5);
    assert_eq!(segments(&disk).len(), 5);
    assert_eq!(read(&disk).0, expected(0..5));
}
