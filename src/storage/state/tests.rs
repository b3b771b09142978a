//! The store on a disk that fails at every operation, loses its power at every operation, and changes its bits.

mod disk;

use std::collections::BTreeMap;

use self::disk::{Fault, MemoryDisk};
use super::*;
use crate::telemetry::Telemetry;

type Content = BTreeMap<(Part, Vec<u8>), Vec<u8>>;

/// A store and what should be in it after each of some commits.
struct Scenario {
    disk: MemoryDisk,
    /// By position of the checkpoint; nothing at all before the first.
    expected: Vec<Content>,
}

const HEADS: u64 = 20;
const COMMITS: u64 = 4;

// === impl Scenario ===

impl Scenario {
    fn new() -> Self {
        let mut expected = vec![Content::new()];
        for position in 1..=COMMITS {
            let mut content = expected[position as usize - 1].clone();
            content.retain(|(part, _), _| !cleared(position).contains(part));
            for Change { part, key, value } in changes(position) {
                match value {
                    Some(value) => content.insert((part, key), value),
                    None => content.remove(&(part, key)),
                };
            }
            expected.push(content);
        }
        Self { disk: MemoryDisk::default(), expected }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.shared())
    }

    /// Commits until something fails; returns what was acknowledged last.
    fn run(&self) -> u64 {
        let Ok(mut opened) = open(&self.disk()) else { return 0 };
        for position in 1..=COMMITS {
            if commit(&mut opened.store, position).is_err() {
                return position - 1;
            }
        }
        COMMITS
    }

    /// The position of what is there, which is exactly what it should be.
    #[track_caller]
    fn check(&self, store: &StateStore) -> u64 {
        let position = store.checkpoint().map_or(0, |checkpoint| checkpoint.position);
        assert_eq!(content(store), self.expected[position as usize], "at position {position}");
        position
    }
}

fn open(disk: &Arc<dyn Disk>) -> Result<Opened, OpenError> {
    StateStore::open(disk, &Telemetry::new().state)
}

fn commit(store: &mut StateStore, position: u64) -> Result<Committed, CommitError> {
    store.commit(checkpoint(position), cleared(position), changes(position))
}

fn checkpoint(position: u64) -> Checkpoint {
    Checkpoint { position, at: Timestamp(1_700_000_000_000 + position as i64) }
}

/// Heads anew in each commit, a ring of some SLIs, a long value, and a key that comes and goes.
fn changes(position: u64) -> Vec<Change> {
    let change =
        |part, key: u64, value: Option<Vec<u8>>| Change { part, key: key.to_be_bytes().to_vec(), value };
    let value =
        |key: u64, length: u64| (0..length).map(|at| (at * key / 7 + position) as u8).collect::<Vec<u8>>();
    let heads = (0..HEADS).map(|key| change(Part::Heads, key, Some(value(key, 100 + key))));
    let rings = (0..HEADS)
        .filter(|key| key % COMMITS < position)
        .map(|key| change(Part::Rings, key, Some(value(key, 900))));
    let long = change(Part::Series, position, Some(value(position, 20_000)));
    let target = change(Part::Targets, 1, (position % 2 == 1).then(|| b"here".to_vec()));
    heads.chain(rings).chain([long, target]).collect()
}

fn cleared(position: u64) -> &'static [Part] {
    if position == 3 { &[Part::Series, Part::Targets] } else { &[] }
}

fn content(store: &StateStore) -> Content {
    let mut content = Content::new();
    for part in Part::ALL {
        let add = |key: &[u8], value: Result<&[u8], Damaged>| {
            content.insert((part, key.to_vec()), value.expect("an intact value").to_vec());
        };
        store.read(part, add).unwrap();
    }
    content
}

#[test]
fn what_was_committed_is_found_again() {
    let scenario = Scenario::new();
    let opened = open(&scenario.disk()).unwrap();
    assert_eq!((opened.found, opened.store.checkpoint()), (Found::New, None));
    drop(opened.store);

    for position in 1..=COMMITS {
        let Opened { mut store, found } = open(&scenario.disk()).unwrap();
        assert_eq!(found, Found::Intact);
        assert_eq!(scenario.check(&store), position - 1);
        let committed = commit(&mut store, position).unwrap();
        assert!(committed.bytes > 0 && store.bytes() > committed.bytes, "{committed:?}");
        assert_eq!(scenario.check(&store), position);
        assert_eq!(store.checkpoint(), Some(checkpoint(position)));
    }
}

#[test]
fn power_lost_at_any_operation_leaves_a_state_that_was_committed() {
    let scenario = Scenario::new();
    assert_eq!(scenario.run(), COMMITS);
    let mut positions = BTreeMap::<u64, u32>::new();
    for number in 1..=scenario.disk.operations() {
        for seed in 0..4 {
            let scenario = Scenario::new();
            scenario.disk.fail(Some(Fault::From(number, io::ErrorKind::Other)));
            let acknowledged = scenario.run();
            let Opened { mut store, found } = open(&scenario.disk.after_power_loss(seed)).unwrap();
            assert!(
                !matches!(found, Found::SetAside { .. }),
                "{found:?} after operation {number}, seed {seed}"
            );
            let position = scenario.check(&store);
            let possible = acknowledged..=acknowledged + 1;
            assert!(
                possible.contains(&position),
                "{position} after {acknowledged}, operation {number}, seed {seed}"
            );
            *positions.entry(position).or_default() += 1;
            for position in position + 1..=COMMITS {
                commit(&mut store, position).unwrap();
                assert_eq!(scenario.check(&store), position);
            }
        }
    }
    assert_eq!(positions.len() as u64, COMMITS + 1, "{positions:?}");
}

#[test]
fn after_any_operation_that_fails_the_next_commit_works() {
    for kind in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
        let (mut number, mut failed) = (1, 0);
        loop {
            let scenario = Scenario::new();
            let mut store = open(&scenario.disk()).unwrap().store;
            let begun = scenario.disk.operations();
            scenario.disk.fail(Some(Fault::Once(begun + number, kind)));
            for position in 1..=COMMITS {
                if let Err(error) = commit(&mut store, position) {
                    assert!(matches!(error, CommitError::Failed(_)), "{error} at operation {number}");
                    failed += 1;
                    commit(&mut store, position).unwrap();
                }
                assert_eq!(scenario.check(&store), position, "operation {number}");
            }
            if scenario.disk.operations() < begun + number {
                break;
            }
            number += 1;
        }
        assert!(failed > 10, "{failed} commits failed");
    }
}

#[test]
fn a_disk_that_stays_full_refuses_every_commit_and_keeps_what_it_has() {
    let scenario = Scenario::new();
    let mut store = open(&scenario.disk()).unwrap().store;
    commit(&mut store, 1).unwrap();
    scenario.disk.fail(Some(Fault::From(0, io::ErrorKind::StorageFull)));
    for _ in 0..3 {
        let error = commit(&mut store, 2).unwrap_err().to_string();
        assert!(error.contains("no storage space"), "{error}");
        assert_eq!(store.checkpoint(), Some(checkpoint(1)));
    }
    scenario.disk.fail(None);
    commit(&mut store, 2).unwrap();
    assert_eq!(scenario.check(&store), 2);
}
