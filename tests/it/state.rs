//! The store of the state on a disk that fails at any operation, loses its power, and changes its bits.

use std::{collections::BTreeMap, fs, io, sync::Arc};

use redb::{ReadableTable, TableDefinition};
use slod::{
    storage::{
        disk::{Disk, RealDisk},
        state::{
            Change, Checkpoint, CommitError, Committed, Damaged, DamagedValue, Found, OpenError, Opened,
            Part, StateStore,
        },
    },
    telemetry::Telemetry,
    testing::faults::{FaultyDisk, Operation, Times},
    time::Timestamp,
};

type Content = BTreeMap<(Part, Vec<u8>), Vec<u8>>;

const FILE: &str = "state.redb";
const COMMITS: u64 = 4;
const HEADS: u64 = 40;
const CHANGING: [Operation; 7] = [
    Operation::Create,
    Operation::Write,
    Operation::SetLen,
    Operation::Sync,
    Operation::SyncDirectory,
    Operation::Rename,
    Operation::Remove,
];
const RAW: TableDefinition<&[u8], &[u8]> = TableDefinition::new("heads");

fn open(disk: &Arc<dyn Disk>) -> Result<Opened, OpenError> {
    StateStore::open(disk, &Telemetry::new().state)
}

fn shared(disk: &FaultyDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

fn commit(store: &mut StateStore, position: u64) -> Result<Committed, CommitError> {
    store.commit(checkpoint(position), cleared(position), changes(position))
}

fn checkpoint(position: u64) -> Checkpoint {
    Checkpoint { position, at: Timestamp(1_700_000_000_000 + position as i64) }
}

/// Heads anew in each commit, some rings, a long value for which the file has to grow once, and a key that comes
/// and goes.
fn changes(position: u64) -> Vec<Change> {
    let value = |key: u64, length: u64| -> Vec<u8> {
        (0..length).map(|at| (at * (key + 1) / 7 + at * at / 11 + position) as u8).collect()
    };
    let mut changes = Vec::new();
    let mut change = |part, key: u64, value| {
        changes.push(Change { part, key: key.to_be_bytes().to_vec(), value });
    };
    for key in 0..HEADS {
        change(Part::Heads, key, Some(value(key, 200 + key)));
        if key % COMMITS < position {
            change(Part::Rings, key, Some(value(key, 900)));
        }
    }
    let words = if position == 2 { 150_000_u64 } else { 2_500 };
    let noise =
        (0..words).flat_map(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17).to_le_bytes());
    change(Part::Series, position, Some(noise.collect()));
    change(Part::Targets, 1, (position % 2 == 1).then(|| b"here".to_vec()));
    changes
}

fn cleared(position: u64) -> &'static [Part] {
    if position == 3 { &[Part::Series, Part::Targets] } else { &[] }
}

/// What is to be there at a position.
fn expected(position: u64) -> Content {
    let mut content = Content::new();
    for position in 1..=position {
        content.retain(|(part, _), _| !cleared(position).contains(part));
        for Change { part, key, value } in changes(position) {
            match value {
                Some(value) => content.insert((part, key), value),
                None => content.remove(&(part, key)),
            };
        }
    }
    content
}

fn content(store: &StateStore) -> Content {
    let mut content = Content::new();
    for part in Part::ALL {
        let add = |key: &[u8], value: Result<&[u8], Damaged>| {
            content.insert((part, key.to_vec()), value.unwrap().to_vec());
        };
        store.read(part, add).unwrap();
    }
    content
}

/// The position of what is there, which is exactly what belongs to it.
#[track_caller]
fn check(store: &StateStore) -> u64 {
    let position = store.checkpoint().map_or(0, |checkpoint| checkpoint.position);
    assert!(content(store) == expected(position), "content is not that of position {position}");
    position
}

/// A disk with everything committed, closed in good order.
fn full() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let mut store = open(&shared(&disk)).unwrap().store;
    (1..=COMMITS).for_each(|position| assert!(commit(&mut store, position).is_ok()));
    // Without the remains of former commits, most of the file matters.
    store.compact().unwrap();
    drop(store);
    disk
}

/// Commits until something fails; returns what was acknowledged last.
fn run(disk: &FaultyDisk) -> u64 {
    let Ok(Opened { mut store, .. }) = open(&shared(disk)) else { return 0 };
    let acknowledged = (1..=COMMITS).take_while(|position| commit(&mut store, *position).is_ok()).count();
    // As by a kill: what closing would write is not written.
    std::mem::forget(store);
    acknowledged as u64
}

#[test]
fn what_was_committed_is_found_again() {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory.path()));
    let opened = open(&disk).unwrap();
    assert_eq!((opened.found, opened.store.checkpoint()), (Found::New, None));
    drop(opened.store);

    for position in 1..=COMMITS {
        let Opened { mut store, found } = open(&disk).unwrap();
        assert_eq!((found, check(&store)), (Found::Intact, position - 1));
        let committed = commit(&mut store, position).unwrap();
        assert!(committed.bytes > 0 && store.bytes() > committed.bytes, "{committed:?}");
        assert_eq!((store.checkpoint(), check(&store)), (Some(checkpoint(position)), position));
    }
}

#[test]
fn a_loss_of_power_leaves_a_state_that_was_committed() {
    let disk = FaultyDisk::new();
    assert_eq!(run(&disk), COMMITS);
    let mut found = BTreeMap::<u64, u32>::new();
    for operation in CHANGING {
        for nth in 0..disk.count(operation) {
            for seed in [0, nth + 1] {
                let disk = FaultyDisk::new();
                disk.fail(operation, nth, io::ErrorKind::Other, Times::Forever);
                let acknowledged = run(&disk);
                if seed == 0 {
                    disk.kill()
                } else {
                    disk.crash(seed)
                }
                let place = format!("{operation:?} {nth}, seed {seed}");

                let mut opened = open(&shared(&disk)).unwrap();
                assert!(
                    matches!(opened.found, Found::New | Found::Intact),
                    "{:?} after {place}",
                    opened.found
                );
                let position = check(&opened.store);
                let possible = acknowledged..=acknowledged + 1;
                assert!(possible.contains(&position), "{position} after {acknowledged}, {place}");
                *found.entry(position).or_default() += 1;
                for position in position + 1..=COMMITS {
                    commit(&mut opened.store, position).unwrap();
                    assert_eq!(check(&opened.store), position, "{place}");
                }
            }
        }
    }
    assert_eq!(found.len() as u64, COMMITS + 1, "{found:?}");
}

#[test]
fn after_an_operation_that_failed_the_next_commit_works() {
    let disk = FaultyDisk::new();
    run(&disk);
    let mut failed = 0;
    for operation in [Operation::Write, Operation::SetLen, Operation::Sync, Operation::Read] {
        for nth in 0..disk.count(operation) {
            let disk = FaultyDisk::new();
            let mut store = open(&shared(&disk)).unwrap().store;
            disk.fail(operation, nth, io::ErrorKind::Other, Times::Once);
            for position in 1..=COMMITS {
                while let Err(error) = commit(&mut store, position) {
                    assert!(matches!(error, CommitError::Failed(_)), "{error} at {operation:?} {nth}");
                    failed += 1;
                }
                assert_eq!(check(&store), position, "{operation:?} {nth}");
            }
            std::mem::forget(store);
            disk.crash(nth);
            let opened = open(&shared(&disk)).unwrap();
            assert_eq!((opened.found, check(&opened.store)), (Found::Intact, COMMITS), "{operation:?} {nth}");
        }
    }
    assert!(failed > 20, "{failed} commits failed");
}

#[test]
fn a_full_disk_refuses_commits_and_keeps_what_it_has() {
    let disk = FaultyDisk::new();
    let mut store = open(&shared(&disk)).unwrap().store;
    commit(&mut store, 1).unwrap();
    disk.fail(Operation::Write, 5, io::ErrorKind::StorageFull, Times::Forever);
    let closed = "cannot open state.redb: no storage space (storage.path)";
    for expected in ["cannot write state: no storage space", closed, closed] {
        assert_eq!(commit(&mut store, 2).unwrap_err().to_string(), expected);
        assert_eq!(store.checkpoint(), Some(checkpoint(1)));
    }
    disk.heal();
    commit(&mut store, 2).unwrap();
    assert_eq!(check(&store), 2);
}

/// What becomes of a file whose bit is another, and how much of it is lost.
#[derive(Debug, Default)]
struct Tally {
    intact: u32,
    older: u32,
    salvaged: u32,
    of_one_value: u32,
    set_aside: u32,
}

#[test]
fn a_changed_bit_costs_little_and_is_reported() {
    let full = full();
    let bytes = full.content(FILE).unwrap();
    let mut tally = Tally::default();
    // Most of the header, and some of everything else that is not zero.
    let places = (0..bytes.len())
        .filter(|at| if *at < 320 { at % 5 == 0 } else { bytes[*at] != 0 && at % 1_499 == 0 });
    for (index, at) in places.enumerate() {
        let disk = FaultyDisk::new();
        disk.put(FILE, &bytes);
        disk.flip_bit(FILE, at, (index % 8) as u32);
        let mut opened = open(&shared(&disk)).unwrap();
        judge(&opened, &mut tally, at);
        if opened.found != Found::Intact {
            assert!(disk.content("state.redb.corrupt-1").is_some());
        }
        let all = (1..=COMMITS).flat_map(changes);
        opened.store.commit(checkpoint(COMMITS), &Part::ALL, all).unwrap();
        assert_eq!(opened.store.checkpoint(), Some(checkpoint(COMMITS)));
    }
    assert!(tally.salvaged > 20 && tally.of_one_value > 10, "{tally:?}");
    // The slot of the header that counts has no other copy: a fifth of its bytes were tried.
    assert!(tally.set_aside < 40 && tally.older < 5, "{tally:?}");
}

#[track_caller]
fn judge(opened: &Opened, tally: &mut Tally, at: usize) {
    let position = opened.store.checkpoint().map_or(0, |checkpoint| checkpoint.position);
    let (content, expected) = (content(&opened.store), expected(position));
    match &opened.found {
        Found::Intact => {
            assert!(content == expected, "byte {at}");
            tally.intact += 1;
            tally.older += u32::from(position < COMMITS);
        }
        Found::Salvaged { lost, .. } => {
            assert!(content.iter().all(|(key, value)| expected[key] == *value), "byte {at}");
            let missing = expected.len() - content.len();
            let told = lost.values.len();
            assert!(
                if lost.pages.is_empty() { missing <= told } else { missing >= 1 },
                "byte {at}: {lost:?}"
            );
            tally.salvaged += 1;
            tally.of_one_value += u32::from(missing == 1 && told == 1);
        }
        Found::SetAside { .. } => {
            assert!(content.is_empty(), "byte {at}");
            tally.set_aside += 1;
        }
        Found::New => panic!("byte {at} makes the file disappear"),
    }
}

#[test]
fn what_is_no_state_is_set_aside() {
    let full = full().content(FILE).unwrap();
    let garbage = vec![7; 100_000];
    for bytes in [&[][..], &full[..100], &full[..5_000], &garbage] {
        let disk = FaultyDisk::new();
        disk.put(FILE, bytes);
        disk.put("state.redb.corrupt-1", b"of long ago");
        let mut opened = open(&shared(&disk)).unwrap();
        let Found::SetAside { to, .. } = &opened.found else { panic!("{:?}", opened.found) };
        assert_eq!((to.as_str(), opened.store.checkpoint()), ("state.redb.corrupt-2", None));
        assert_eq!(disk.content("state.redb.corrupt-1").unwrap(), b"of long ago");
        commit(&mut opened.store, 1).unwrap();
        assert_eq!(check(&opened.store), 1);
    }
}

#[test]
fn a_power_cut_while_a_damaged_file_is_replaced_loses_nothing_more() {
    let bytes = full().content(FILE).unwrap();
    let damaged = |at| {
        let disk = FaultyDisk::new();
        disk.put(FILE, &bytes);
        disk.flip_bit(FILE, at, 0);
        disk
    };
    let count = |disk: &FaultyDisk| CHANGING.map(|operation| disk.count(operation));
    let salvaged = (5_000..bytes.len()).step_by(499).find_map(|at| {
        let disk = damaged(at);
        let found = open(&shared(&disk)).unwrap().found;
        matches!(found, Found::Salvaged { lost, .. } if lost.values.len() == 1).then_some((at, disk))
    });
    let (at, disk) = salvaged.unwrap();
    for (operation, count) in CHANGING.into_iter().zip(count(&disk)) {
        for nth in 0..count {
            for seed in 0..4 {
                let disk = damaged(at);
                disk.fail(operation, nth, io::ErrorKind::Other, Times::Forever);
                std::mem::forget(open(&shared(&disk)));
                disk.crash(seed);
                let opened = open(&shared(&disk)).unwrap();
                let kept = content(&opened.store).len();
                assert!(
                    kept + 1 >= expected(COMMITS).len(),
                    "{kept} kept at {operation:?} {nth}, {:?}",
                    opened.found
                );
            }
        }
    }
}

/// A store on a real disk, whose file was changed by redb itself in between.
fn with_redb(change: impl FnOnce(&redb::WriteTransaction)) -> (tempfile::TempDir, Arc<dyn Disk>) {
    let directory = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory.path()));
    commit(&mut open(&disk).unwrap().store, 1).unwrap();
    let database = redb::Database::open(directory.path().join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
    (directory, disk)
}

#[test]
fn a_later_format_is_refused_and_left_alone() {
    let (directory, disk) = with_redb(|transaction| {
        let meta = TableDefinition::<&[u8], &[u8]>::new("meta");
        transaction.open_table(meta).unwrap().insert(&b"format"[..], &2_u32.to_le_bytes()[..]).unwrap();
    });
    let error = open(&disk).unwrap_err();
    insta::assert_snapshot!(error, @"cannot read state.redb: it has format 2, this slod reads 1; start the version that wrote it, or move the file away to begin anew");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_value_costs_only_itself() {
    let key = 3_u64.to_be_bytes();
    let other = 4_u64.to_be_bytes();
    let (_directory, disk) = with_redb(|transaction| {
        let mut heads = transaction.open_table(RAW).unwrap();
        let moved = heads.get(&other[..]).unwrap().unwrap().value().to_vec();
        heads.insert(&key[..], &*moved).unwrap();
    });
    let telemetry = Telemetry::new();
    let Opened { mut store, found } = StateStore::open(&disk, &telemetry.state).unwrap();
    assert_eq!(found, Found::Intact);
    let mut damaged = Vec::new();
    let note = |key: &[u8], value: Result<&[u8], Damaged>| {
        damaged.extend(value.err().map(|why| (key.to_vec(), why)))
    };
    store.read(Part::Heads, note).unwrap();
    assert_eq!(damaged, [(key.to_vec(), Damaged::Checksum)]);
    assert_eq!(telemetry.state.damaged_values.get(), 1);

    let verified = store.verify();
    assert_eq!(
        verified.damaged,
        [DamagedValue { part: Part::Heads, key: key.to_vec(), damage: Damaged::Checksum }]
    );
    assert_eq!((verified.values, verified.file), (expected(1).len() as u64, None));
    commit(&mut store, 2).unwrap();
    assert_eq!(check(&store), 2);
    assert_eq!(store.verify().damaged, []);
}

#[test]
fn a_compact_file_has_the_same_content() {
    let disk = FaultyDisk::new();
    let mut store = open(&shared(&disk)).unwrap().store;
    let value = |key: u64| (0..200_000_u64).map(|at| (at * at * key) as u8).collect();
    let large =
        |key: u64| Change { part: Part::Pending, key: key.to_be_bytes().to_vec(), value: Some(value(key)) };
    store.commit(checkpoint(1), &[], (1..100).map(large)).unwrap();
    store.commit(checkpoint(1), &[Part::Pending], changes(1)).unwrap();
    let before = store.bytes();
    store.compact().unwrap();
    assert!(store.bytes() < before / 2, "{} of {before}", store.bytes());
    assert_eq!(check(&store), 1);
    commit(&mut store, 2).unwrap();
    assert_eq!(check(&store), 2);
}

#[test]
fn what_happened_is_counted() {
    let telemetry = Telemetry::new();
    let disk = FaultyDisk::new();
    disk.put(FILE, b"garbage");
    let mut store = StateStore::open(&shared(&disk), &telemetry.state).unwrap().store;
    commit(&mut store, 1).unwrap();
    disk.fail(Operation::Sync, 0, io::ErrorKind::Other, Times::Once);
    commit(&mut store, 2).unwrap_err();
    let families = telemetry.gather();
    let text = prometheus::TextEncoder::new().encode_to_string(&families).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("slod_storage_state") && !line.contains("bytes"));
    let lines: Vec<&str> = lines.filter(|line| !line.contains("duration")).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    slod_storage_state_commits_total{outcome="failure"} 1
    slod_storage_state_commits_total{outcome="success"} 1
    slod_storage_state_damaged_values_total 0
    slod_storage_state_last_checkpoint_timestamp_seconds 1700000000.001
    slod_storage_state_set_aside_total 1
    "#);
}

fn golden() -> Vec<Change> {
    let change =
        |part, key: &[u8], value: &[u8]| Change { part, key: key.to_vec(), value: Some(value.to_vec()) };
    vec![
        change(Part::Meta, b"build", b"of format 1"),
        change(Part::Heads, &[0, 0, 0, 1], b"head of 1"),
        change(Part::Heads, &[0, 0, 0, 2], &[0; 1_000]),
        change(Part::Rings, &[0, 0, 0, 2, 3], &[1, 2, 3].repeat(2_000)),
    ]
}

/// The file is what a commit of [`golden`] and a compaction left in an empty directory. It is never written again.
#[test]
fn a_file_of_format_1_is_read() {
    let directory = tempfile::tempdir().unwrap();
    fs::copy("tests/testdata/storage/state/v1/state.redb", directory.path().join(FILE)).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(directory.path()));
    let Opened { mut store, found } = open(&disk).unwrap();
    assert_eq!((found, store.checkpoint()), (Found::Intact, Some(checkpoint(42))));
    let expected = golden().into_iter().map(|change| ((change.part, change.key), change.value.unwrap()));
    assert_eq!(content(&store), expected.collect());
    commit(&mut store, 1).unwrap();
}
