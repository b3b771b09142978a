//! The page of 10,000 SLOs: rendered in both formats, made anew when instances came or went, and packed.
//!
//! `cargo bench` measures; `cargo bench -- --test` runs each once, so that they keep working.

#![expect(clippy::print_stderr, reason = "sizes are a result, too")]

use std::{collections::BTreeSet, hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use slod::{
    exposition::{Config, Dialect, Encoding, Format, Moment, Pages, Renderer, Wanted},
    report::Report,
    testing::Fleet,
};

const SLOS: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);

/// Busy services, no two alike, so that numbers have all their digits.
fn report() -> Arc<Report> {
    let mut fleet = Fleet::new(SLOS);
    for _ in 0..600 {
        let at = fleet.now + SECOND;
        let mut adds = fleet.adds();
        for slo in (0..SLOS).filter(|slo| (at.0 / 1_000 + *slo as i64) % 15 == 0) {
            adds.add(slo, at, (slo % 7) as u32, 1_000 + (slo % 501) as u32);
        }
        drop(adds);
        fleet.tick(SECOND);
    }
    fleet.tick(SECOND)
}

fn lines(page: &[Bytes]) -> usize {
    page.iter().map(|chunk| chunk.iter().filter(|byte| **byte == b'\n').count()).sum()
}

fn render(c: &mut Criterion) {
    let report = report();
    let mut group = c.benchmark_group("exposition/render");
    let every = Config { compat: BTreeSet::from([Dialect::Sloth, Dialect::Pyrra]), ..Config::default() };
    let cases = [
        ("text", Format::Text, Config::default()),
        ("openmetrics", Format::OpenMetrics, Config::default()),
        ("compat", Format::Text, every),
    ];
    for (name, format, config) in cases {
        let mut renderer = Renderer::new(config);
        let page = renderer.render(&report, format);
        let bytes: usize = page.iter().map(Bytes::len).sum();
        eprintln!("{name}: {} lines, {bytes} bytes in {} chunks", lines(&page), page.len());
        group.throughput(Throughput::Elements(lines(&page) as u64));
        renderer.take_back(page);
        group.bench_function(name, |b| {
            b.iter(|| {
                let page = renderer.render(black_box(&report), format);
                renderer.take_back(page);
            });
        });
    }
    // As after a change of instances: all labels are written anew.
    group.sample_size(10).bench_function("new_roster", |b| {
        b.iter(|| Renderer::new(Config::default()).render(black_box(&report), Format::Text));
    });
}

fn pack(c: &mut Criterion) {
    let report = report();
    let mut group = c.benchmark_group("exposition/pack");
    group.sample_size(10);
    for (name, encoding) in [("gzip", Encoding::Gzip), ("zstd", Encoding::Zstd)] {
        let pages = Pages::new(Config::default());
        let mut evaluation = 0;
        let mut page = |encoding| {
            evaluation += 1;
            let moment = Moment { evaluation, now: SECOND };
            pages.page(moment, Wanted { format: Format::Text, encoding }, || Arc::clone(&report), Vec::new)
        };
        let bytes: usize = page(encoding).chunks.iter().map(Bytes::len).sum();
        eprintln!("{name}: {bytes} bytes");
        group.bench_function(name, |b| b.iter(|| page(encoding)));
    }
}

criterion_group!(benches, render, pack);
criterion_main!(benches);
