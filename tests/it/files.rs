//! Whole data directories of each format that was ever written: recovery goes on from them as it did then.
//!
//! What comes of a directory is a golden text, the same for the files that are checked in and for what is written today.
//! A change of the text means that histories change at an upgrade. `cargo test --test it files -- --ignored` writes
//! files of a new format.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use slod::{
    engine, exposition, ingest,
    labels::Labels,
    pipeline,
    prompb::Version,
    slo::Slo,
    storage::{
        checkpoint::Checkpoints,
        disk::{Disk, RealDisk},
        log,
        recovery::{Recovered, recover},
        state,
    },
    telemetry::Telemetry,
    testing::{self, Sent, encode, encode_v2},
    time::Timestamp,
};

/// What [`write_directory`] wrote when format 1 was made. Never written again.
const FORMAT_1: &str = "tests/testdata/storage/v1";

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: shop}
spec:
  sli:
    type: availability
    bad: sum(rate(requests_total{code="500"}[1m]))
    total: sum(rate(requests_total[1m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts:
      - {severity: page, burn_rate: 5, window: 5m, short_window: 1m}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-instance, service: shop}
spec:
  sli:
    type: availability
    bad: sum by (instance) (rate(requests_total{code="500"}[1m]))
    total: sum by (instance) (rate(requests_total[1m]))
  objective: {target: 99, window: 1h}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: queue, service: shop}
spec:
  sli: {step: 30s, bad_ratio: 'max(max_over_time(queue_length[2m])) / 100'}
  objective: {target: 99, window: 1h}
"#;

const START: Timestamp = Timestamp(1_767_225_600_000);
const STEP: Duration = Duration::from_secs(15);
const STEPS: u32 = 40;
/// The checkpoint comes behind this many steps.
const CHECKPOINT: u32 = 24;

fn slos() -> Vec<Slo> {
    testing::slos(SPEC)
}

fn open(path: &Path, now: Timestamp) -> Recovered {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::new(path));
    let config = pipeline::Config {
        engine: engine::Config { delay: Duration::ZERO, interval: STEP, ..engine::Config::default() },
        ingest: ingest::Config::default(),
        groups_per_slo_max: 100,
        pull_delay: Duration::ZERO,
        begins_after: None,
    };
    let log = log::Config { segment_bytes: 4_000, free_bytes_min: 0, ..log::Config::default() };
    recover(&disk, config, log, slos(), &Telemetry::new(), now).unwrap()
}

/// What is scraped at a step: from the tenth on one request in four fails.
fn scrape(step: u32) -> Vec<Sent> {
    let at = START + STEP * step;
    let failing = f64::from(step.saturating_sub(10));
    let mut sent = Vec::new();
    for instance in ["a", "b"] {
        for (code, value) in [("200", 100.0 + 30.0 * f64::from(step)), ("500", 7.0 + 10.0 * failing)] {
            sent.push((vec![("__name__", "requests_total"), ("code", code), ("instance", instance)], value));
        }
    }
    sent.push((vec![("__name__", "queue_length")], f64::from(step % 7)));
    let replica = [("cluster", "shops"), ("__replica__", "first")];
    let labels =
        |own: Vec<(&'static str, &'static str)>| Labels::new(own.into_iter().chain(replica)).unwrap();
    sent.into_iter().map(|(own, value)| Sent { labels: labels(own), at, value }).collect()
}

/// Runs slod for a while in an empty directory, and ends it as `kill -9` does.
fn write_directory(path: &Path) {
    let Recovered { mut pipeline, log, mut store, .. } = open(path, START);
    for step in 0..STEPS {
        let now = START + STEP * step;
        let (version, body) = match step % 2 {
            0 => (Version::V1, encode(&scrape(step))),
            _ => (Version::V2, encode_v2(&scrape(step))),
        };
        let body = Bytes::from(body);
        let mut note =
            |epoch| drop(log.append(log::Entry { arrived: now, version, epoch, body: body.clone() }));
        pipeline.ingest().write_noting(version, &body, now, &mut note).unwrap();
        pipeline.last_request().note(now);
        assert!(log.write_queued(now).succeeded);
        pipeline.tick(now);
        if step + 1 == CHECKPOINT {
            let frozen = pipeline.freeze(|| log.next());
            let taken = Checkpoints::default().take(&mut pipeline, now, frozen);
            let checkpoint = state::Checkpoint { position: taken.position.0, at: taken.at };
            store.commit(checkpoint, &taken.clear, taken.changes).unwrap();
            store.compact().unwrap();
        }
    }
    log.close(START + STEP * STEPS).unwrap();
}

/// What recovery makes of a directory. It goes on in a copy, as it may write.
fn recovered(from: &Path) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    for part in ["", "log"] {
        for file in fs::read_dir(from.join(part)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), directory.path().join(part).join(file.file_name())).unwrap();
            }
        }
    }
    let now = START + STEP * STEPS;
    let Recovered { mut pipeline, log, store, findings } = open(directory.path(), now);
    let report = pipeline.tick(now);
    format!(
        "{}, checkpoint {:?}\nlog goes on at {}, {} records of it counted again, {} samples, {} lost: {:?}\ndamaged: {:?}, left behind: {}\n\n{}",
        findings.state,
        store.checkpoint(),
        log.next().0,
        findings.log.records,
        findings.samples,
        findings.log.lost(),
        findings.log.findings,
        findings.damaged,
        findings.left_behind,
        exposition::text(&report)
    )
}

#[test]
fn files_of_format_1_go_on_as_they_did() {
    insta::assert_snapshot!("files_of_format_1", recovered(Path::new(FORMAT_1)));
}

#[test]
fn what_is_written_today_goes_on_as_files_of_format_1() {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path());
    insta::assert_snapshot!("files_of_format_1", recovered(directory.path()));
}
