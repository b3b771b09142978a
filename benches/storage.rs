//! What it takes to keep the state and the log, and to go on from them: in process, on a real disk.
//!
//! 100,000 series, each counted by one of 10,000 SLOs whose windows are half full; logs are of requests of 2,000 samples,
//! as Prometheus sends them. What a checkpoint takes of the thread that evaluates is `checkpoint/take`, what it holds
//! requests up for is `checkpoint/freeze`.
//!
//! `cargo bench` measures; `cargo bench -- --test` runs each once, so that they keep working.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

#[path = "peers/history.rs"]
#[allow(dead_code, reason = "the end-to-end benchmark uses more of it")]
mod history;
#[path = "peers/load.rs"]
#[allow(dead_code, reason = "the end-to-end benchmark uses more of it")]
mod load;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slod::{
    pipeline::Pipeline,
    prompb::Version,
    storage::{
        checkpoint::Checkpoints,
        disk::{Disk, RealDisk},
        log::{self, Durability, Entry, Log, Sequence},
        recovery,
        state::{self, StateStore},
    },
    telemetry::Telemetry,
    testing::slos,
    time::Timestamp,
};

use load::{Load, Protocol, Scrapes, Shape};

const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
/// A usual one.
const INTERVAL: Duration = Duration::from_secs(15);
const USUAL: Shape = Shape {
    series: 100_000,
    samples_per_request: 2_000,
    unselected: 0,
    protocol: Protocol::V1,
    services: 5_000,
    handlers: 2,
    connections: 2,
};
/// For the replay: as many samples as ten minutes of the usual interval have.
const REPLAYED_SCRAPES: usize = 40;

/// A pipeline with half a month behind it, and who sends to it.
struct Running {
    load: Load,
    pipeline: Pipeline,
    scrape: usize,
}

/// What a checkpoint took, step by step.
#[derive(Clone, Copy, Default)]
struct Took {
    freeze: Duration,
    take: Duration,
    commit: Duration,
}

// === impl Running ===

impl Running {
    fn new() -> Self {
        let pipeline = history::half_full(slos(&load::specs(USUAL.services)), USUAL, NOW);
        let mut running = Self { load: Load::new(USUAL), pipeline, scrape: 0 };
        (0..2).for_each(|_| running.scrape());
        running
    }

    /// An interval in which each series is scraped once.
    fn scrape(&mut self) {
        for (at, body) in bodies(&self.load, self.scrape, 1) {
            self.pipeline.write(Version::V1, &body, at).unwrap();
        }
        let start = NOW + INTERVAL * self.scrape as u32;
        for second in 1..=INTERVAL.as_secs() as u32 {
            self.pipeline.tick(start + SECOND * second);
        }
        self.scrape += 1;
    }

    fn checkpoint(&mut self, checkpoints: &mut Checkpoints, store: &mut StateStore) -> Took {
        self.scrape();
        let at = NOW + INTERVAL * self.scrape as u32;
        let (frozen, freeze) = timed(|| self.pipeline.freeze(|| Sequence(0)));
        let (checkpoint, take) = timed(|| checkpoints.take(&mut self.pipeline, at, frozen));
        let of = state::Checkpoint { position: checkpoint.position.0, at };
        let (committed, commit) = timed(|| store.commit(of, &checkpoint.clear, checkpoint.changes));
        committed.unwrap();
        Took { freeze, take, commit }
    }
}

/// The bodies of some scrapes and when they arrive.
fn bodies(load: &Load, first: usize, count: usize) -> Vec<(Timestamp, Vec<u8>)> {
    let scrapes = Scrapes { first, count, start: NOW + INTERVAL * first as u32, interval: INTERVAL };
    let requests = (0..load.connections()).flat_map(|connection| load.requests(connection, "bench", scrapes));
    let mut bodies: Vec<_> = requests.map(|request| (request.at, request.body().to_vec())).collect();
    bodies.sort_by_key(|(at, _)| *at);
    bodies
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

fn store(directory: &Path) -> StateStore {
    StateStore::open(&disk(directory), &Telemetry::new().state).unwrap().store
}

fn disk(directory: &Path) -> Arc<dyn Disk> {
    Arc::new(RealDisk::new(directory))
}

fn checkpoints(c: &mut Criterion) {
    let mut running = None;
    let mut group = c.benchmark_group("checkpoint");
    group.sample_size(10);
    type Step = fn(Took) -> Duration;
    let steps: [(_, Step); 3] =
        [("freeze", |took| took.freeze), ("take", |took| took.take), ("commit", |took| took.commit)];
    for is_everything in [true, false] {
        for (step, of) in steps {
            let scope = if is_everything { "everything" } else { "changed" };
            group.bench_function(format!("{step}/{scope}"), |b| {
                let running = running.get_or_insert_with(Running::new);
                let directory = tempfile::tempdir().unwrap();
                let (mut checkpoints, mut store) = (Checkpoints::default(), store(directory.path()));
                running.checkpoint(&mut checkpoints, &mut store);
                b.iter_custom(|count| {
                    let one = |_| {
                        if is_everything {
                            checkpoints.start_over();
                        }
                        of(running.checkpoint(&mut checkpoints, &mut store))
                    };
                    (0..count).map(one).sum()
                });
            });
        }
    }
    group.finish();
}

/// A start on a state and on a log, one after the other.
fn recover(c: &mut Criterion) {
    let mut group = c.benchmark_group("recover");
    group.sample_size(10);
    let directory = tempfile::tempdir().unwrap();
    let mut is_made = false;
    group.bench_function("state", |b| {
        if !std::mem::replace(&mut is_made, true) {
            Running::new().checkpoint(&mut Checkpoints::default(), &mut store(directory.path()));
        }
        let slos = slos(&load::specs(USUAL.services));
        b.iter(|| recovered(directory.path(), slos.clone(), NOW + INTERVAL * 3));
    });
    let directory = tempfile::tempdir().unwrap();
    let mut samples = None;
    group.throughput(Throughput::Elements((USUAL.series * REPLAYED_SCRAPES) as u64));
    group.bench_function("log", |b| {
        let expected = *samples.get_or_insert_with(|| write_log(directory.path()));
        let slos = slos(&load::specs(500));
        b.iter(|| assert_eq!(recovered(directory.path(), slos.clone(), NOW + INTERVAL * 40), expected));
    });
    group.finish();
}

/// Returns how many samples counted again.
fn recovered(directory: &Path, slos: Vec<slod::slo::Slo>, now: Timestamp) -> u64 {
    let (config, telemetry) = (history::config(), Telemetry::new());
    recovery::recover(&disk(directory), config, log::Config::default(), slos, &telemetry, now)
        .unwrap()
        .findings
        .samples
}

/// Returns how many samples are in it.
fn write_log(directory: &Path) -> u64 {
    let log = open_log(directory);
    let load = Load::new(Shape { services: 500, handlers: 10, ..USUAL });
    for scrape in 0..REPLAYED_SCRAPES {
        for (arrived, body) in bodies(&load, scrape, 1) {
            append(&log, arrived, body);
        }
        log.write_queued(NOW);
    }
    log.close(NOW).unwrap();
    (USUAL.series * REPLAYED_SCRAPES) as u64
}

fn open_log(directory: &Path) -> Log {
    let config = log::Config { durability: Durability::None, ..log::Config::default() };
    Log::open(disk(directory), config, Sequence(0), Telemetry::new().log).unwrap().0
}

fn append(log: &Log, arrived: Timestamp, body: Vec<u8>) {
    // Nobody waits.
    drop(log.append(Entry { arrived, version: Version::V1, epoch: 0, body: body.into() }));
}

/// Counting with and without a log, which is written and not synced.
fn write(c: &mut Criterion) {
    let mut group = c.benchmark_group("write");
    group.sample_size(20);
    group.throughput(Throughput::Elements(USUAL.series as u64));
    let mut running = None;
    for is_kept in [false, true] {
        group.bench_function(if is_kept { "log" } else { "no log" }, |b| {
            let running = running.get_or_insert_with(Running::new);
            let directory = tempfile::tempdir().unwrap();
            let log = open_log(directory.path());
            b.iter_custom(|count| (0..count).map(|_| timed_scrape(running, is_kept.then_some(&log))).sum());
        });
    }
    group.finish();
}

fn timed_scrape(running: &mut Running, log: Option<&Log>) -> Duration {
    running.scrape();
    let bodies = bodies(&running.load, running.scrape, 1);
    let bodies: Vec<(Timestamp, bytes::Bytes)> =
        bodies.into_iter().map(|(at, body)| (at, body.into())).collect();
    let ingest = running.pipeline.ingest();
    let ((), took) = timed(|| {
        for (at, body) in &bodies {
            let Some(log) = log else {
                ingest.write(Version::V1, body, *at).unwrap();
                continue;
            };
            let entry = |epoch| Entry { arrived: *at, version: Version::V1, epoch, body: body.clone() };
            let mut note = |epoch| drop(log.append(entry(epoch)));
            ingest.write_noting(Version::V1, body, *at, &mut note).unwrap();
            log.write_queued(*at);
        }
    });
    running.scrape += 1;
    took
}

criterion_group!(benches, checkpoints, recover, write);
criterion_main!(benches);
