//! Adding to windows from threads, counts that come late, the tick over many SLOs, and storing their state.
//!
//! `cargo bench` measures; `cargo bench -- --test` runs each once, so that they keep working.

#![expect(clippy::print_stderr, reason = "memory is a result, too")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slod::{
    engine::{Exported, State},
    slo::{Budgeting, workbook_alerts},
    storage::codec::engine as codec,
    testing::{Fleet, compress},
    time::Timestamp,
    window::{Counts, Layout, OpenSlots, Scope, SliId, Windows},
};

const NOW: Timestamp = Fleet::START;
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// How often each SLI has events, in seconds: a usual scrape interval.
const SCRAPE: usize = 15;
/// A busy service: 100 requests a second, one in a thousand bad.
const EVENTS: Counts = Counts { bad: 1.0, total: 1_500.0 };

/// Histories of `slis` SLIs with the workbook's windows at 30 days.
fn windows(slis: usize) -> (Arc<OpenSlots>, Windows) {
    let open = Arc::new(OpenSlots::new(SECOND));
    let mut windows = Windows::new(Arc::clone(&open), NOW);
    let lengths: Vec<Duration> = workbook_alerts(MONTH, Budgeting::Occurrences)
        .iter()
        .flat_map(|alert| [alert.short, alert.long])
        .collect();
    let layout = Arc::new(Layout::new(&lengths, &[MONTH], SECOND));
    for sli in 0..slis {
        windows.insert(SliId(sli as u32), &layout);
    }
    (open, windows)
}

fn add(c: &mut Criterion) {
    let (open, _windows) = windows(1);
    c.bench_function("window/add", |b| {
        let mut batch = open.batch();
        b.iter(|| batch.add(black_box(SliId(0)), black_box(NOW.0 + 1_500), black_box(EVENTS)));
    });
    // Measured on one thread while another one does nothing but add to the same SLI.
    c.bench_function("window/add_contended", |b| {
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut batch = open.batch();
                while !is_done.load(Ordering::Relaxed) {
                    batch.add(black_box(SliId(0)), black_box(NOW.0 + 1_500), black_box(EVENTS));
                }
            });
            let mut batch = open.batch();
            b.iter(|| batch.add(black_box(SliId(0)), black_box(NOW.0 + 1_500), black_box(EVENTS)));
            drop(batch);
            is_done.store(true, Ordering::Relaxed);
        });
    });
}

/// Adds of two series each to 10,000 SLIs, and the owner placing them, per add: as they happen, a scrape every
/// 15 s and the windows moved every second; and as a backlog of two hours, or of 29 days, within seconds.
fn late(c: &mut Criterion) {
    const SLIS: u32 = 10_000;
    const SCRAPES: u32 = 40;
    let mut group = c.benchmark_group("window/late");
    group.sample_size(10);
    group.throughput(Throughput::Elements(u64::from(2 * SLIS * SCRAPES)));
    let mut run = |name, age: Duration, is_live: bool| {
        let (open, mut windows) = windows(SLIS as usize);
        let mut now = NOW;
        fill(&mut now, |at| {
            let mut batch = open.batch();
            (0..SLIS).for_each(|sli| batch.add(SliId(sli), at.0, EVENTS));
            drop(batch);
            windows.advance(at);
        });
        group.bench_function(name, |b| {
            b.iter(|| {
                let start = now - age;
                for scrape in 0..SCRAPES {
                    let at = if is_live { now } else { start + age * scrape / SCRAPES };
                    for _series in 0..2 {
                        // As a sender cuts them: 2,000 samples a request.
                        for first in (0..SLIS).step_by(2_000) {
                            let mut batch = open.batch();
                            (first..first + 2_000).for_each(|sli| batch.add(SliId(sli), at.0, EVENTS));
                        }
                    }
                    if is_live {
                        for _ in 0..SCRAPE {
                            now = now + SECOND;
                            windows.advance(now);
                        }
                    } else if scrape % 10 == 9 {
                        // A backlog comes at some 100 scrapes a second or less.
                        now = now + SECOND;
                        windows.advance(now);
                    }
                }
            });
        });
    };
    run("live", Duration::ZERO, true);
    run("2h", HOUR * 2, false);
    run("29d", HOUR * 24 * 29, false);
    group.finish();
}

/// A month in long steps, then an hour in short ones, so that every ring is in use.
fn fill(now: &mut Timestamp, mut step: impl FnMut(Timestamp)) {
    for length in [HOUR * 60; 12].into_iter().chain([SECOND * 90; 40]) {
        *now = *now + length;
        step(*now);
    }
}

/// So many SLOs with a month of traffic.
fn fleet(size: usize) -> Fleet {
    let mut fleet = Fleet::new(size);
    let mut now = fleet.now;
    fill(&mut now, |at| {
        let step = at.since(fleet.now);
        let mut adds = fleet.adds();
        (0..size).for_each(|slo| adds.add_unseen(slo, at, EVENTS.bad as u32, EVENTS.total as u32));
        drop(adds);
        fleet.tick(step);
    });
    fleet
}

/// Events of these SLOs.
fn scrape(fleet: &Fleet, at: Timestamp, slos: impl Iterator<Item = usize>) {
    let mut adds = fleet.adds();
    slos.for_each(|slo| adds.add(slo, at, EVENTS.bad as u32, EVENTS.total as u32));
}

/// The mean of consecutive ticks, a second apart, with a fifteenth of the SLOs scraped before each: slots
/// of ten seconds and of two minutes end as they do in life.
fn tick(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick");
    group.sample_size(10);
    for size in [1_000, 10_000, 100_000, 1_000_000] {
        let mut made: Option<Fleet> = None;
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            let fleet = made.get_or_insert_with(|| fleet(size));
            b.iter_custom(|ticks| {
                let mut total = Duration::ZERO;
                for _ in 0..ticks {
                    let at = fleet.now + SECOND;
                    let phase = (at.0 / 1_000) as usize % SCRAPE;
                    scrape(fleet, at, (phase..size).step_by(SCRAPE));
                    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
                    let start = Instant::now();
                    black_box(fleet.tick(SECOND));
                    total += start.elapsed();
                }
                total
            });
        });
        if let Some(fleet) = made {
            eprintln!("tick/{size}: {} bytes of windows per SLO", fleet.window_memory() / size as i64);
        }
    }
    group.finish();
}

/// What a checkpoint of 10,000 SLOs with a month of traffic takes of the thread that ticks, and what a start does.
fn state(c: &mut Criterion) {
    const SIZE: usize = 10_000;
    let mut made: Option<Fleet> = None;
    let mut group = c.benchmark_group("state");
    group.sample_size(10);
    group.bench_function("mark", |b| {
        let fleet = made.get_or_insert_with(|| fleet(SIZE));
        b.iter(|| black_box(fleet.engine().mark()));
    });
    for (name, scope) in [("export/everything", Scope::Everything), ("export/changed", Scope::Changed)] {
        group.bench_function(name, |b| {
            let fleet = made.get_or_insert_with(|| fleet(SIZE));
            b.iter_custom(|exports| (0..exports).map(|_| timed_export(fleet, scope)).sum());
        });
    }
    group.bench_function("import", |b| {
        let fleet = made.get_or_insert_with(|| fleet(SIZE));
        let state = stored(fleet, Scope::Everything);
        let now = fleet.now;
        b.iter_batched(
            || state.clone(),
            |state| black_box(Fleet::restored(SIZE, now, state)),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("start", |b| b.iter(|| black_box(Fleet::new(SIZE))));
    group.finish();
    if let Some(fleet) = &mut made {
        print_sizes(fleet, "everything", Scope::Everything);
        timed_export(fleet, Scope::Changed);
        print_sizes(fleet, "changed", Scope::Changed);
    }
}

/// An export half a minute of traffic after the last one.
fn timed_export(fleet: &mut Fleet, scope: Scope) -> Duration {
    half_a_minute(fleet);
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
    let start = Instant::now();
    let mark = fleet.engine().mark();
    fleet.engine().export(&mark, scope, &mut |part| drop(black_box(part)));
    start.elapsed()
}

fn half_a_minute(fleet: &mut Fleet) {
    for _ in 0..30 {
        let at = fleet.now + SECOND;
        let phase = (at.0 / 1_000) as usize % SCRAPE;
        scrape(fleet, at, (phase..10_000).step_by(SCRAPE));
        fleet.tick(SECOND);
    }
}

fn stored(fleet: &mut Fleet, scope: Scope) -> State {
    let mut state = State::default();
    let mark = fleet.engine().mark();
    state.begin_export(scope);
    fleet.engine().export(&mark, scope, &mut |part| state.apply(part));
    state
}

fn print_sizes(fleet: &mut Fleet, name: &str, scope: Scope) {
    half_a_minute(fleet);
    let mark = fleet.engine().mark();
    let (mut parts, mut bytes, mut compressed) = ([0_usize; 4], [0_usize; 4], [0_usize; 4]);
    fleet.engine().export(&mark, scope, &mut |part| {
        let (kind, value) = match part {
            Exported::Head(_, head) => (0, codec::encode_head(&head)),
            Exported::Ring(_, _, ring) => (1, codec::encode_ring(ring)),
            Exported::Pending(pending) => (2, codec::encode_pending(&pending)),
            Exported::Clock(clock) => (3, codec::encode_clock(&clock)),
            Exported::Removed(_) => return,
        };
        parts[kind] += 1;
        bytes[kind] += value.len();
        compressed[kind] += compress(&value).len();
    });
    for (kind, what) in ["heads", "rings", "pending"].into_iter().enumerate() {
        let (parts, bytes, compressed) = (parts[kind], bytes[kind], compressed[kind]);
        eprintln!("state/{name}: {parts} {what}, {bytes} bytes, {compressed} compressed");
    }
    eprintln!("state/{name}: {} bytes of windows in memory", fleet.window_memory());
}

criterion_group!(benches, add, late, tick, state);
criterion_main!(benches);
