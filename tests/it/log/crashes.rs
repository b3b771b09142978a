//! Whatever happens, and in which order: what was acknowledged is read again.

use std::collections::BTreeMap;

use proptest::prelude::*;
use slod::{
    storage::log::{Config, Durability, Entry, Log, Sequence, Ticket},
    testing::faults::{FaultyDisk, Operation, Times},
    time::Timestamp,
};

use super::{START, config, entry, open_at, outcome, read_from};

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    Round,
    Pass { ms: u32 },
    Release { back: u8 },
    Fail { operation: Operation, nth: u8, forever: bool },
    Heal,
    Kill,
    Crash { seed: u64 },
}

/// A log beside what is known of it.
struct World {
    disk: FaultyDisk,
    config: Config,
    log: Log,
    now: Timestamp,
    /// What was appended last with each sequence.
    appended: BTreeMap<u64, Entry>,
    waiting: Vec<(u64, Ticket)>,
    /// Acknowledged and not released.
    acknowledged: BTreeMap<u64, Entry>,
    /// Up to where a checkpoint covers it.
    position: u64,
    numbers: u64,
    sync_failed: bool,
}

// === impl World ===

impl World {
    fn new(durability: Durability) -> Self {
        let disk = FaultyDisk::new();
        let config = Config { durability, ..config() };
        let (log, _) = open_at(&disk, config.clone(), 0);
        Self {
            disk,
            config,
            log,
            now: START,
            appended: BTreeMap::new(),
            waiting: Vec::new(),
            acknowledged: BTreeMap::new(),
            position: 0,
            numbers: 0,
            sync_failed: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Append(count) => (0..*count).for_each(|_| self.append()),
            Step::Round => self.round(),
            Step::Pass { ms } => self.now = Timestamp(self.now.0 + i64::from(*ms)),
            Step::Release { back } => self.release(u64::from(*back)),
            Step::Fail { operation, nth, forever } => {
                self.sync_failed |= *operation == Operation::Sync;
                let times = if *forever { Times::Forever } else { Times::Once };
                self.disk.fail(*operation, u64::from(*nth), std::io::ErrorKind::Other, times);
            }
            Step::Heal => self.disk.heal(),
            Step::Kill => {
                self.disk.kill();
                self.restart();
            }
            Step::Crash { seed } => {
                self.disk.crash(*seed);
                self.restart();
            }
        }
    }

    fn append(&mut self) {
        if self.log.accepts().is_err() {
            return;
        }
        let (sequence, entry) = (self.log.next().0, entry(self.numbers));
        self.numbers += 1;
        self.waiting.push((sequence, self.log.append(entry.clone())));
        self.appended.insert(sequence, entry);
    }

    fn round(&mut self) {
        self.log.write_queued(self.now);
        for (sequence, ticket) in self.waiting.drain(..) {
            let is_durable = outcome(ticket).expect("a round tells everyone") == Ok(());
            if is_durable && sequence >= self.position {
                self.acknowledged.insert(sequence, self.appended[&sequence].clone());
            }
        }
    }

    /// A checkpoint of some moments ago; the state that it holds survives by itself.
    fn release(&mut self, back: u64) {
        self.position = self.position.max(self.log.next().0.saturating_sub(back));
        self.acknowledged = self.acknowledged.split_off(&self.position);
        self.log.release(Sequence(self.position));
    }

    fn restart(&mut self) {
        self.waiting.clear();
        let (records, report) = read_from(&self.disk, self.position);
        let records: BTreeMap<u64, Entry> =
            records.into_iter().map(|record| (record.sequence.0, record.entry)).collect();
        for (sequence, entry) in &self.acknowledged {
            assert_eq!(records.get(sequence), Some(entry), "{sequence} of {report:?}");
        }
        for (sequence, entry) in &records {
            assert_eq!(self.appended.get(sequence), Some(entry), "{sequence} of {report:?}");
        }
        // What was read once may be gone after a sync that failed: it may have been acknowledged, so it is told.
        assert!(report.lost() == 0 || self.sync_failed, "nothing that was acknowledged is gone: {report:?}");
        self.log = open_at(&self.disk, self.config.clone(), self.position).0;
        assert!(records.keys().all(|sequence| *sequence < self.log.next().0));
    }

    /// Without faults it takes requests again after a while.
    fn heal(&mut self) {
        self.disk.heal();
        for _ in 0..2 {
            self.now = Timestamp(self.now.0 + 30_000);
            self.round();
        }
        let before = self.acknowledged.len();
        self.append();
        self.round();
        assert_eq!(self.acknowledged.len(), before + 1, "{:?}", self.log.accepts());
    }
}

fn any_step(ends: impl Strategy<Value = Step> + 'static) -> impl Strategy<Value = Step> {
    let operations = [
        Operation::Create,
        Operation::Write,
        Operation::SetLen,
        Operation::Allocate,
        Operation::Sync,
        Operation::SyncDirectory,
        Operation::Remove,
    ];
    let fail = (prop::sample::select(operations.to_vec()), 0..6_u8, any::<bool>())
        .prop_map(|(operation, nth, forever)| Step::Fail { operation, nth, forever });
    prop_oneof![
        6 => (1..6_u8).prop_map(Step::Append),
        8 => Just(Step::Round),
        2 => (0..40_000_u32).prop_map(|ms| Step::Pass { ms }),
        1 => (0..20_u8).prop_map(|back| Step::Release { back }),
        2 => fail,
        2 => Just(Step::Heal),
        2 => ends,
    ]
}

fn check(durability: Durability, steps: &[Step]) {
    let mut world = World::new(durability);
    steps.iter().for_each(|step| world.step(step));
    world.heal();
    world.step(&Step::Kill);
}

proptest! {
    #[test]
    fn synced_records_survive_power_cuts(
        steps in prop::collection::vec(
            any_step(prop_oneof![any::<u64>().prop_map(|seed| Step::Crash { seed }), Just(Step::Kill)]),
            1..60,
        )
    ) {
        check(Durability::Sync, &steps);
    }

    #[test]
    fn written_records_survive_the_end_of_the_process(
        steps in prop::collection::vec(any_step(Just(Step::Kill)), 1..60)
    ) {
        check(Durability::Interval, &steps);
    }
}
