//! How long slod and Prometheus take until they are ready again after `kill -9`, each on what it made of the same
//! samples: a minute of all series, a scrape a second, sent as time passes. slod's windows were half full before.

use std::{fs, path::Path, time::Duration};

use slod::spec;

use super::{
    client::{self, Pace},
    history,
    load::{self, Events, Load, Scrapes, Shape},
    process::{wait_until, wall},
    subject::{Peer, Setup, Subject},
};

const INTERVAL: Duration = Duration::from_secs(1);
/// As many as a checkpoint leaves in the log by default.
const SCRAPES: usize = 60;
/// Until requests are encoded.
const LEAD: Duration = Duration::from_secs(20);
const RESTARTS: usize = 5;

/// Sends, kills and starts both, and prints a table.
pub(crate) fn run(shape: Shape, slod_config: &str) {
    println!("| | data | state | restarts | ready after |\n|---|--:|--:|--:|---|");
    for peer in [Peer::Slod, Peer::Prometheus] {
        restart(peer, shape, slod_config);
    }
}

fn restart(peer: Peer, shape: Shape, slod_config: &str) {
    let specs = load::specs(shape.services);
    let setup = Setup::new(specs.clone(), slod_config.to_owned());
    if peer == Peer::Slod {
        let slos = spec::read("specs.yaml", &specs).slos;
        history::write(&setup.data(), slos, shape, wall());
    }
    let mut subject = Subject::start(peer, setup);
    let before = events(&subject);
    let load = Load::new(shape);
    let scrapes = Scrapes { first: 0, count: SCRAPES, start: wall() + LEAD, interval: INTERVAL };
    let prepared = client::prepare(&load, subject.address, scrapes);
    let sent = client::send(subject.address, &prepared, Pace::Live);
    eprintln!(
        "{peer:?}: p99 {:?}, max {:?}, event time {:?}",
        sent.latencies[sent.latencies.len() * 99 / 100],
        sent.latencies.last(),
        sent.event_time
    );
    let mut took = Vec::new();
    let (data, state) = (bytes(&subject.data()), bytes(&subject.data().join("state.redb")));
    subject.process.kill();
    let kept = subject.data().with_extension("kept");
    copy(&subject.data(), &kept);
    for _ in 0..RESTARTS {
        fs::remove_dir_all(subject.data()).expect("it is there");
        copy(&kept, &subject.data());
        took.push(subject.restart());
    }
    if peer == Peer::Slod {
        check_events(&subject, before, load.expected(), scrapes);
    }
    println!("| {peer:?} | {} MB | {} MB | {RESTARTS} | {took:.2?} |", data / 1_000_000, state / 1_000_000);
}

/// What was acknowledged counts, once.
fn check_events(subject: &Subject, before: Events, each: Events, scrapes: Scrapes) {
    wait_until("slod evaluates all samples", || subject.has_evaluated(scrapes.end().seconds()));
    let (after, grown) = (events(subject), (scrapes.count - 1) as f64);
    let expected = Events { bad: before.bad + each.bad * grown, total: before.total + each.total * grown };
    assert_eq!(after, expected, "slod miscounted");
}

fn events(subject: &Subject) -> Events {
    if subject.peer == Peer::Slod { subject.events() } else { Events::default() }
}

fn bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let inside = metadata.is_dir().then(|| fs::read_dir(path).into_iter().flatten().flatten());
    let inside = inside.into_iter().flatten().map(|entry| bytes(&entry.path()));
    metadata.blocks() * 512 + inside.sum::<u64>()
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot copy {}", from.display());
}
