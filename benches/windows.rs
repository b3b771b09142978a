//! Adding to windows from threads, counts that come late, and the tick over many SLOs.
//!
//! `cargo bench` measures; `cargo bench -- --test` runs each once, so that they keep working.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![expect(clippy::print_stderr, reason = "memory is a result, too")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slod::{
    engine::{self, Engine},
    labels::Labels,
    matching::{Instance, Instances, Plan},
    slo::{SloId, workbook_alerts},
    telemetry::Telemetry,
    testing::slos,
    time::{Latest, Timestamp},
    window::{Counts, Layout, OpenSlots, SliId, Windows},
};

const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);
const MONTH: Duration = Duration::from_secs(30 * 86_400);
/// How often each SLI has events, in seconds: a usual scrape interval.
const SCRAPE: u32 = 15;
/// A busy service: 100 requests a second, one in a thousand bad.
const EVENTS: Counts = Counts { bad: 1.0, total: 1_500.0 };

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    type: availability
    query: sum(rate(http_requests_total{code!~"5.."}[5m])) / sum(rate(http_requests_total[5m]))
  objective: {target: 99.9, window: 30d}
"#;

/// Histories of `slis` SLIs with the workbook's windows at 30 days.
fn windows(slis: usize) -> (Arc<OpenSlots>, Windows) {
    let open = Arc::new(OpenSlots::new(SECOND));
    let mut windows = Windows::new(Arc::clone(&open), NOW);
    let lengths: Vec<Duration> =
        workbook_alerts(MONTH).iter().flat_map(|alert| [alert.short, alert.long]).collect();
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

/// Adds of two series each to 10,000 SLIs, and the owner placing them, per add: as they happen, and as a
/// backlog of two hours, or of 29 days, that arrives within seconds.
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
                        now = now + SECOND;
                        windows.advance(now);
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

/// An engine with this many SLOs, each with traffic.
struct Fleet {
    engine: Engine,
    open: Arc<OpenSlots>,
    instances: Vec<Arc<Instance>>,
    telemetry: Telemetry,
    last_request: Latest,
    now: Timestamp,
}

impl Fleet {
    fn new(slos_count: usize) -> Self {
        let [slo] = <[_; 1]>::try_from(slos(SPEC)).unwrap();
        let named = |n: usize| slod::slo::Slo {
            id: SloId { service: "api".to_owned(), name: n.to_string() },
            ..slo.clone()
        };
        let config = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
        let plan = Arc::new(Plan::new((0..slos_count).map(named).collect(), SECOND));
        let instances = Arc::new(Instances::new(plan, 1));
        let open = Arc::new(OpenSlots::new(SECOND));
        let telemetry = Telemetry::new();
        let of = |n| instances.of_group(n, &Labels::default()).0.remove(0);
        let all: Vec<_> = (0..slos_count).map(of).collect();
        all.iter().for_each(|instance| instance.note_live_series(2));
        let engine = Engine::new(config, instances, Arc::clone(&open), telemetry.evaluation.clone(), NOW);
        let mut fleet =
            Self { engine, open, instances: all, telemetry, last_request: Latest::default(), now: NOW };
        let mut now = NOW;
        fill(&mut now, |at| {
            fleet.send(at, 0, 1);
            fleet.now = at;
            fleet.tick();
        });
        fleet
    }

    /// Events of every `step`th SLO from `first` on.
    fn send(&self, at: Timestamp, first: usize, step: usize) {
        let mut batch = self.open.batch();
        for instance in self.instances.iter().skip(first).step_by(step) {
            instance.note_sample(at);
            batch.add(instance.sli, at.0, EVENTS);
        }
    }

    fn tick(&mut self) {
        self.last_request.note(self.now);
        black_box(self.engine.tick(self.now, &self.last_request));
    }
}

/// The mean of consecutive ticks, a second apart, with a fifteenth of the SLOs scraped before each: slots
/// of ten seconds and of two minutes end as they do in life.
fn tick(c: &mut Criterion) {
    let mut group = c.benchmark_group("tick");
    group.sample_size(10);
    for slos_count in [1_000, 10_000, 100_000, 1_000_000] {
        let mut fleet: Option<Fleet> = None;
        group.throughput(Throughput::Elements(slos_count as u64));
        group.bench_function(BenchmarkId::from_parameter(slos_count), |b| {
            let fleet = fleet.get_or_insert_with(|| Fleet::new(slos_count));
            b.iter_custom(|ticks| {
                let mut total = Duration::ZERO;
                for _ in 0..ticks {
                    fleet.now = fleet.now + SECOND;
                    let second = (fleet.now.0 / 1_000) as usize;
                    fleet.send(fleet.now, second % SCRAPE as usize, SCRAPE as usize);
                    #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
                    let start = Instant::now();
                    fleet.tick();
                    total += start.elapsed();
                }
                total
            });
        });
        if let Some(fleet) = fleet {
            let bytes = fleet.telemetry.evaluation.window_memory.get() as usize;
            eprintln!("tick/{slos_count}: {} bytes of windows per SLO", bytes / slos_count);
        }
    }
    group.finish();
}

criterion_group!(benches, add, late, tick);
criterion_main!(benches);
