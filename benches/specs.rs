//! Reading 10,000 SLOs: files to SLOs, SLOs to a plan, and both of them up to the first evaluation.
//!
//! Half of them are native, four documents a file, half of them Sloth's, ten SLOs a file, all in one directory. Most
//! share their regular expressions, as real ones do (`code=~"5.."`); each third has one of its own.
//!
//! `cargo bench` measures; `cargo bench -- --test` runs each once, so that they keep working.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]

use std::{fmt::Write, fs, path::Path, time::Duration};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use slod::{config::specs, engine, ingest, matching::Plan, slo::Slo, testing::World, time::Timestamp};

const SLOS: usize = 10_000;
const NATIVE_PER_FILE: usize = 4;
const SLOTH_PER_FILE: usize = 10;
const NOW: Timestamp = Timestamp(1_700_006_400_000);
const SECOND: Duration = Duration::from_secs(1);

/// A directory of specs, kept for as long as it is measured.
struct Specs {
    directory: tempfile::TempDir,
}

// === impl Specs ===

impl Specs {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        write_all(directory.path());
        Self { directory }
    }

    fn load(&self) -> Vec<Slo> {
        let specs = specs::load(&[self.directory.path().display().to_string()]);
        assert_eq!((specs.slos.len(), specs.diagnostics.as_slice()), (SLOS, [].as_slice()));
        specs.slos
    }
}

fn write_all(directory: &Path) {
    let numbers: Vec<usize> = (0..SLOS).collect();
    let (native, sloth) = numbers.split_at(SLOS / 2);
    for (n, numbers) in native.chunks(NATIVE_PER_FILE).enumerate() {
        let text = numbers.iter().map(|n| native_document(*n)).collect::<Vec<_>>().join("---\n");
        fs::write(directory.join(format!("native-{n}.yaml")), text).unwrap();
    }
    for (n, numbers) in sloth.chunks(SLOTH_PER_FILE).enumerate() {
        fs::write(directory.join(format!("sloth-{n}.yml")), sloth_document(n, numbers)).unwrap();
    }
}

/// What the requests of an SLO have in common; each third is told by a regular expression of its own.
fn requests(n: usize) -> String {
    match n % 3 {
        0 => format!(r#"job="shop",handler=~"/api/v1/orders-{n}/.+""#),
        _ => format!(r#"job="shop-{n}",method=~"GET|HEAD""#),
    }
}

fn native_document(n: usize) -> String {
    let requests = requests(n);
    format!(
        r#"apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata:
  name: availability-{n}
  service: shop-{n}
  labels: {{team: payments, tier: "1"}}
spec:
  description: What share of the requests of part {n} is answered.
  sli:
    bad: sum(rate(http_requests_total{{{requests},code=~"5.."}}[5m]))
    total: sum(rate(http_requests_total{{{requests}}}[5m]))
  objective: {{target: 99.9, window: 30d}}
"#
    )
}

fn sloth_document(file: usize, numbers: &[usize]) -> String {
    let mut text =
        format!("version: prometheus/v1\nservice: stock-{file}\nlabels: {{owner: warehouse}}\nslos:\n");
    for n in numbers {
        let requests = requests(*n);
        write!(
            text,
            r#"  - name: requests-{n}
    objective: 99.5
    description: What share of the requests of part {n} is answered.
    sli:
      events:
        error_query: sum(rate(http_request_duration_seconds_count{{{requests},code=~"(5..|429)"}}[{{{{.window}}}}]))
        total_query: sum(rate(http_request_duration_seconds_count{{{requests}}}[{{{{.window}}}}]))
    alerting:
      name: TooManyErrors{n}
      labels: {{category: availability}}
      annotations: {{summary: Too many errors in part {n}}}
      page_alert: {{labels: {{severity: critical}}}}
      ticket_alert: {{labels: {{severity: warning}}}}
"#
        )
        .unwrap();
    }
    text
}

fn all(c: &mut Criterion) {
    let specs = Specs::new();
    let slos = specs.load();
    let mut group = c.benchmark_group("specs");
    group.sample_size(10).throughput(Throughput::Elements(SLOS as u64));
    group.bench_function("load/10000", |b| b.iter_with_large_drop(|| specs.load()));
    group.bench_function("plan/10000", |b| {
        b.iter_batched(|| slos.clone(), |slos| Plan::new(slos, SECOND), BatchSize::PerIteration);
    });
    group.bench_function("start/10000", |b| {
        b.iter_with_large_drop(|| {
            let (engine, ingest) = (engine::Config::default(), ingest::Config::default());
            let mut world = World::new(specs.load(), engine, ingest, NOW);
            world.tick(NOW);
            world
        });
    });
    group.finish();
}

criterion_group!(benches, all);
criterion_main!(benches);
