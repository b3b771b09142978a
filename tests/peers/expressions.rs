//! Expressions at moments beside Prometheus 3, at every second between two samples: also where a sample lies on the
//! edge of a range, which `it::expressions` cannot ask of an older promtool.

use std::{fmt::Write, time::Duration};

use slod::{
    expression::Vector,
    promql,
    testing::{Kept, Sent},
    time::Timestamp,
};

use crate::{prometheus::Prometheus, support::seconds_since_epoch};

const SERIES: &str = include_str!("../testdata/promql/series.txt");
const EXPRESSIONS: &str = include_str!("../testdata/promql/expressions.txt");
const INTERVAL: Duration = Duration::from_secs(13);
/// From the start of the series on, to their end and a little more.
const AGE: Duration = Duration::from_secs(1_200);
/// Every second between two samples.
const MOMENTS: std::ops::Range<u64> = 598..611;

#[test]
fn every_expression_is_what_prometheus_3_says() {
    let directory = tempfile::tempdir().unwrap();
    let config = "scrape_configs: []\nstorage: {tsdb: {out_of_order_time_window: 3h}}\n";
    let prometheus = Prometheus::start(directory.path(), config, &["--web.enable-remote-write-receiver"]);
    let now = Timestamp((seconds_since_epoch() * 1e3) as i64);
    let start = (now - AGE).floor(Duration::from_secs(60));
    let kept = Kept::parse(SERIES, start, INTERVAL).unwrap();
    send(&prometheus, &kept);
    let (mut wrong, mut elements) = (String::new(), 0);
    for text in EXPRESSIONS.lines().filter(|line| !line.is_empty()) {
        let expression = promql::expression(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for second in MOMENTS {
            let at = start + Duration::from_secs(second);
            let ours = sorted(expression.evaluate(at, &kept).unwrap());
            let theirs = sorted(prometheus.vector(text, at.seconds()));
            elements += theirs.len();
            if !is_same(&ours, &theirs) {
                writeln!(wrong, "{text} at {second} s\n  ours:   {ours:?}\n  theirs: {theirs:?}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(elements > 2_000, "only {elements} elements were compared");
}

fn send(prometheus: &Prometheus, kept: &Kept) {
    for (labels, samples) in &kept.0 {
        let sent = |sample: &slod::expression::Sample| Sent {
            labels: labels.clone(),
            at: sample.at,
            value: sample.value,
        };
        // One sample of a series at a time, as a sender has them.
        for samples in samples.chunks(1) {
            prometheus.write(&samples.iter().map(sent).collect::<Vec<_>>());
        }
    }
}

fn sorted(mut elements: Vector) -> Vector {
    elements.sort_by(|a, b| a.0.cmp(&b.0));
    elements
}

fn is_same(ours: &Vector, theirs: &Vector) -> bool {
    let is_close =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(our, their)| our.0 == their.0 && is_close(our.1, their.1))
}
