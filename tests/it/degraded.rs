//! Degraded, not dead: each row of the table in docs/storage.md on the real binary.
//!
//! A disk is really full here: slod runs in a mount namespace with a small tmpfs under its directory. A file that may
//! grow no further needs no rights at all: the soft limit of `ulimit -f` is lowered and lifted while slod runs.

mod damage;
mod small_disk;

use std::{fs, path::Path, process::Command};

use crate::{
    shop::{EVALUATED_TO, PAGE, SPEC, Shop},
    support::{Slod, answers, http, seconds_since_epoch, wait_until},
};
use small_disk::SmallDisk;

const CONFIG: &str = "evaluation_delay: 1s\nstorage: {checkpoint_interval: 200ms}\n";
const FAILURES: &str = "slod_storage_log_failures_total";
const FAILED_COMMITS: &str = "slod_storage_state_commits_total{outcome=\"failure\"}";
const COMMITS: &str = "slod_storage_state_commits_total{outcome=\"success\"}";

/// Ignores the signal that a too long file brings, so that the write fails; as a full disk would have it.
const WITHOUT_SIGNAL: [&str; 4] = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"];

#[test]
fn what_cannot_be_written_is_refused_until_it_can() {
    let directory = tempfile::tempdir().unwrap();
    let mut slod = Slod::start_under(directory, &WITHOUT_SIGNAL, SPEC, CONFIG);
    let mut shop = Shop::new(slod.address);
    shop.deliver();
    shop.fail_until_paged(&slod);

    // More than slod logs in this test.
    limit_file_size(&slod, "65536");
    shop.serve(1_000.0, 0.0);
    wait_until("the log is full", || {
        shop.serve(10.0, 0.0);
        shop.try_deliver().status != 204
    });
    assert_goes_on(&mut slod, &mut shop, "cannot be written");
    assert!(slod.sum(FAILURES) > 0.0);
    wait_until("a checkpoint fails", || slod.sum(FAILED_COMMITS) > 0.0);
    assert_eq!(slod.sum(PAGE), 2.0, "an alert goes on");
    let log = slod.log();
    assert!(log.contains("cannot write the log: write requests are answered 503"), "{log}");
    assert!(log.contains("a checkpoint is not written"), "{log}");

    limit_file_size(&slod, "unlimited");
    wait_until("it is written again", || shop.try_deliver().status == 204);
    let before = slod.sum(COMMITS);
    wait_until("there is a checkpoint again", || slod.sum(COMMITS) > before);
    assert!(slod.log().contains("the log is written again"), "{}", slod.log());
    assert!(answers(slod.address, "/-/ready"));
    shop.check_counted(&slod);
    kill_and_check(&mut slod, &shop);
}

#[test]
fn a_disk_without_room_for_a_segment() {
    let (disk, mut slod) = slod_on_small_disk("90m", "{checkpoint_interval: 200ms, free_bytes_min: 0}");
    let mut shop = Shop::new(slod.address);
    disk.fill(40 << 20);
    assert_eq!(shop.try_deliver().status, 503);
    assert_goes_on(&mut slod, &mut shop, "No space left on device");
    disk.make_room();
    wait_until("there is room", || shop.try_deliver().status == 204);
    shop.serve(100.0, 1.0);
    shop.deliver();
    shop.check_counted(&slod);

    // Killed while it is full, it has everything when it is started, and takes more when there is space.
    disk.fill_up();
    slod.kill();
    slod.start_again();
    slod.wait_until_ready();
    disk.fill_up();
    shop.check_counted(&slod);
    shop.serve(100.0, 1.0);
    wait_until("the disk is full", || {
        shop.serve(1.0, 0.0);
        shop.try_deliver().status == 503
    });
    slod.kill();
    slod.start_again();
    disk.make_room();
    slod.wait_until_ready();
    wait_until("there is room again", || shop.try_deliver().status == 204);
    shop.check_counted(&slod);
    kill_and_check(&mut slod, &shop);
}

#[test]
fn a_disk_that_is_nearly_full() {
    let storage = "{checkpoint_interval: 200ms, free_bytes_min: 30000000}";
    let (disk, mut slod) = slod_on_small_disk("130m", storage);
    let mut shop = Shop::new(slod.address);
    shop.deliver();
    shop.fail_until_paged(&slod);
    disk.fill(50 << 20);
    wait_until("it is refused", || {
        shop.serve(1.0, 1.0);
        shop.try_deliver().status == 503
    });
    assert_goes_on(&mut slod, &mut shop, "storage.free_bytes_min");
    assert_eq!(slod.sum(FAILURES), 0.0, "it does not come to that");
    assert!(slod.log().contains("the disk of storage.path is nearly full"), "{}", slod.log());
    disk.make_room();
    wait_until("it is accepted", || shop.try_deliver().status == 204);
    assert!(slod.log().contains("has space again"), "{}", slod.log());
    shop.check_counted(&slod);
    kill_and_check(&mut slod, &shop);
}

#[test]
fn a_directory_that_cannot_be_written() {
    let (disk, mut slod) = slod_on_small_disk("80m", "{checkpoint_interval: 200ms}");
    slod.stop();
    disk.make_read_only();
    slod.start_again();
    assert!(!slod.process.wait().success());
    let log = slod.log();
    assert!(log.contains("cannot use data directory"), "{log}");
    assert!(log.contains("Read-only file system") && log.contains("(storage.path)"), "{log}");
}

#[test]
fn a_second_slod_does_not_start() {
    let mut slod = Slod::start(SPEC, CONFIG);
    let mut shop = Shop::new(slod.address);
    shop.deliver();
    let mut second = Command::new(env!("CARGO_BIN_EXE_slod"));
    second.arg("serve").args(["--web.listen-address", "127.0.0.1:0"]).current_dir(slod.directory.path());
    let second = second.output().unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success());
    assert!(error.contains("data is in use by another slod; give each its own (storage.path)"), "{error}");
    shop.serve(100.0, 1.0);
    shop.deliver();
    shop.check_counted(&slod);
    kill_and_check(&mut slod, &shop);
}

/// Senders are told to come again, and everybody else is served.
#[track_caller]
fn assert_goes_on(slod: &mut Slod, shop: &mut Shop, reason: &str) {
    slod.process.assert_alive();
    let refused = shop.try_deliver();
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert!(refused.body.contains(reason), "{}", refused.body);
    let ready = http(slod.address, "GET /-/ready HTTP/1.0", &[], b"");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("write requests are not accepted"), "{}", ready.body);
    assert_eq!(slod.sum("slod_storage_log_accepting"), 0.0);
    let now = seconds_since_epoch();
    wait_until("evaluation goes on", || slod.sum(EVALUATED_TO) > now);
}

#[track_caller]
fn kill_and_check(slod: &mut Slod, shop: &Shop) {
    slod.kill();
    slod.start_again();
    slod.wait_until_ready();
    shop.check_counted(slod);
}

fn slod_on_small_disk(size: &str, storage: &str) -> (SmallDisk, Slod) {
    let directory = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(&directory.path().join("data"), size);
    let under = disk.under();
    let under: Vec<&str> = under.iter().map(String::as_str).collect();
    let config = format!("evaluation_delay: 1s\nstorage: {storage}\n");
    let slod = Slod::start_under(directory, &under, SPEC, &config);
    (disk, slod)
}

/// How long files of a running slod may be from now on.
fn limit_file_size(slod: &Slod, bytes: &str) {
    let pid = slod.process.id().to_string();
    let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:")]).status();
    assert!(limited.expect("prlimit of util-linux is needed").success());
}

/// The names of the segments in a data directory.
fn segments(data: &Path) -> Vec<String> {
    let files = fs::read_dir(data.join("log")).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
