//! Whole write requests in process, every series routed to an SLI.
//!
//! `cargo bench` measures; `cargo bench -- --test` runs each once, so that they keep working.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

use std::{cell::RefCell, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slod::{
    engine, ingest,
    labels::Labels,
    testing::{Sent, World, encode, slos},
    time::Timestamp,
};

const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    type: availability
    query: sum by (route) (rate(http_requests_total{code!~"5.."}[5m])) / sum by (route) (rate(http_requests_total[5m]))
  objective: {target: 99.9, window: 30d}
"#;

/// A world in which every one of `slis` groups has two series and an hour of history.
fn world(slis: usize) -> (World, Timestamp) {
    let engine = engine::Config { delay: Duration::ZERO, ..engine::Config::default() };
    let mut world = World::with_groups(slos(SPEC), engine, ingest::Config::default(), NOW, slis);
    for scrape in 0..5 {
        let now = NOW + SECOND * 15 * scrape;
        for body in bodies(slis, now, f64::from(scrape)) {
            world.send_body(&body, now).unwrap();
        }
        world.tick(now);
    }
    (world, NOW + SECOND * 75)
}

/// The write requests of one scrape, 2,000 samples each, as Prometheus cuts them.
fn bodies(slis: usize, at: Timestamp, value: f64) -> Vec<Vec<u8>> {
    let series = |sli: usize, code| {
        let route = format!("/api/v1/route/{sli}");
        let pairs = [
            ("__name__", "http_requests_total"),
            ("code", code),
            ("instance", "10.0.12.34:8080"),
            ("job", "gateway"),
            ("method", "GET"),
            ("namespace", "production"),
            ("route", route.as_str()),
        ];
        Sent { labels: Labels::new(pairs).unwrap(), at, value }
    };
    let samples: Vec<Sent> = (0..slis).flat_map(|sli| [series(sli, "200"), series(sli, "500")]).collect();
    samples.chunks(2_000).map(encode).collect()
}

fn ingest_v1(c: &mut Criterion) {
    let mut group = c.benchmark_group("ingest/v1");
    for series in [10_000, 100_000] {
        let (world, start) = world(series / 2);
        let world = RefCell::new(world);
        let mut scrape = 0;
        group.throughput(Throughput::Elements(series as u64));
        group.sample_size(10);
        group.bench_function(BenchmarkId::from_parameter(series), |b| {
            b.iter_batched(
                || {
                    scrape += 1;
                    let at = start + SECOND * scrape;
                    world.borrow_mut().tick(at);
                    (at, bodies(series / 2, at, f64::from(scrape) * 10.0))
                },
                |(at, bodies)| {
                    for body in &bodies {
                        world.borrow().send_body(body, at).unwrap();
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, ingest_v1);
criterion_main!(benches);
