//! Whole write requests in process, and the stages they go through.
//!
//! Series are those of the end-to-end benchmark: real-shaped, 2,000 samples a request, each counted by one of
//! 1,000 SLOs, evaluated each second. An iteration is some scrapes of all series, delivered as they happen: enough
//! for the caches to hold what a stream leaves there, and not what encoding it did. What
//! a lookup costs is the difference of `ingest/unselected` and the stages `snappy` and `walk`; what an add
//! costs, `window/add` of the benchmark `windows` tells.
//!
//! `cargo bench` measures; `cargo bench -- --test` runs each once, so that they keep working.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

#[path = "peers/load.rs"]
#[allow(dead_code, reason = "the end-to-end benchmark uses more of it")]
mod load;

use std::{cell::RefCell, hint::black_box, time::Duration};

use criterion::{
    BatchSize, BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main,
    measurement::WallTime,
};
use foldhash::fast::RandomState;
use slod::{
    counter::{Counter, Reading},
    engine, ingest,
    prompb::{self, Request, Version},
    testing::{World, slos},
    time::Timestamp,
};

use load::{Load, Protocol, Scrapes, Shape};

const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);
const SAMPLES_PER_REQUEST: usize = 2_000;
const SAMPLES_PER_ITERATION: usize = 500_000;

const USUAL: Shape = Shape {
    series: 100_000,
    samples_per_request: SAMPLES_PER_REQUEST,
    unselected: 0,
    protocol: Protocol::V1,
    services: 500,
    handlers: 10,
    connections: 2,
};

/// A world that is sent scrape after scrape, one a second.
struct Sender {
    load: Load,
    version: Version,
    world: RefCell<World>,
    scrape: usize,
}

// === impl Sender ===

impl Sender {
    /// A sender of whose series nothing is known.
    fn unknown(shape: Shape) -> Self {
        let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
        let world = World::new(slos(&load::specs(shape.services)), engine, ingest::Config::default(), NOW);
        let version = if shape.protocol == Protocol::V1 { Version::V1 } else { Version::V2 };
        Self { load: Load::new(shape), version, world: RefCell::new(world), scrape: 0 }
    }

    /// A sender whose series are all known, and in the windows for some seconds.
    fn new(shape: Shape) -> Self {
        let mut sender = Self::unknown(shape);
        for _ in 0..5 {
            let scrape = sender.next_scrape();
            sender.send(&scrape);
        }
        sender
    }

    /// The bodies of the next scrape, and the time when it is over.
    fn next_scrape(&mut self) -> (Timestamp, Vec<Vec<u8>>) {
        let start = NOW + SECOND * self.scrape as u32;
        let scrapes = Scrapes { first: self.scrape, count: 1, start, interval: SECOND };
        self.scrape += 1;
        self.world.get_mut().tick(start);
        let requests = (0..self.load.connections())
            .flat_map(|connection| self.load.requests(connection, "bench", scrapes));
        (scrapes.end(), requests.map(|request| request.body().to_vec()).collect())
    }

    fn send(&self, (now, bodies): &(Timestamp, Vec<Vec<u8>>)) {
        let world = self.world.borrow();
        for body in bodies {
            world.send_body_of(self.version, body, *now).unwrap();
        }
    }
}

fn ingest_all(group: &mut BenchmarkGroup<'_, WallTime>, id: BenchmarkId, shape: Shape) {
    let sender = RefCell::new(None);
    let scrapes = (SAMPLES_PER_ITERATION / shape.series).clamp(1, 5);
    group.throughput(Throughput::Elements((shape.series * scrapes) as u64));
    group.bench_function(id, |b| {
        let mut sender = sender.borrow_mut();
        let sender = RefCell::new(sender.get_or_insert_with(|| Sender::new(shape)));
        b.iter_batched(
            || (0..scrapes).map(|_| sender.borrow_mut().next_scrape()).collect::<Vec<_>>(),
            |scrapes| scrapes.iter().for_each(|scrape| sender.borrow().send(scrape)),
            BatchSize::PerIteration,
        );
    });
}

fn requests(c: &mut Criterion) {
    let mut group = c.benchmark_group("ingest");
    group.sample_size(20);
    for series in [10_000, 100_000, 1_000_000] {
        ingest_all(&mut group, BenchmarkId::new("v1", series), Shape { series, ..USUAL });
    }
    let v2 = Shape { protocol: Protocol::V2, ..USUAL };
    ingest_all(&mut group, BenchmarkId::new("v2", v2.series), v2);
    ingest_all(&mut group, BenchmarkId::new("unselected", USUAL.series), Shape { unselected: 100, ..USUAL });
    group.finish();
}

/// The first scrape: every series is met for the first time.
fn strangers(c: &mut Criterion) {
    let mut group = c.benchmark_group("ingest/strangers");
    group.sample_size(10);
    group.throughput(Throughput::Elements(USUAL.series as u64));
    for (protocol, name) in [(Protocol::V1, "v1"), (Protocol::V2, "v2")] {
        let shape = Shape { protocol, ..USUAL };
        let setup = || {
            let mut sender = Sender::unknown(shape);
            let scrape = sender.next_scrape();
            (sender, scrape)
        };
        group.bench_function(name, |b| {
            b.iter_batched_ref(setup, |(sender, scrape)| sender.send(scrape), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn stages(c: &mut Criterion) {
    let scrapes = Scrapes { first: 0, count: 1, start: NOW, interval: SECOND };
    let request = Load::new(USUAL).requests(0, "bench", scrapes).remove(0);
    let (body, mut message, mut read) = (request.body(), Vec::new(), Request::default());
    let hasher = RandomState::default();
    let mut group = c.benchmark_group("stage");
    group.throughput(Throughput::Elements(SAMPLES_PER_REQUEST as u64));
    group.bench_function("snappy", |b| b.iter(|| prompb::decompress(body, 32 << 20, &mut message).unwrap()));
    group.bench_function("walk", |b| b.iter(|| read.read(Version::V1, &message, &hasher).unwrap()));
    let mut counters = vec![Counter::default(); SAMPLES_PER_REQUEST];
    let mut second = 0;
    group.bench_function("counter", |b| {
        b.iter(|| {
            second += 1;
            for counter in &mut counters {
                let (at, value) = (NOW + SECOND * second, f64::from(second));
                let reading = Reading { at, value, start: None, is_handover: false, max_gap: DAY };
                black_box(counter.observe(reading, || None));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, requests, strangers, stages);
criterion_main!(benches);
