//! Which engine keeps slod's state, and whether it should keep the log, too.
//!
//! Each engine is measured in a process of its own. Seeds are fixed. `slod-stores DIRECTORY` measures all in
//! that directory, which must not exist yet and is on the disk that is measured.

mod disk;
mod engines;
mod load;
mod log;

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use load::Random;

const COMMITS: usize = 20;
const KILLS: u64 = 5;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [directory] => all(Path::new(directory)),
        ["state", engine, directory] => state(engine, Path::new(directory)),
        ["commit", engine, directory] => commit_until_killed(engine, Path::new(directory)),
        ["open", engine, directory] => reopen(engine, Path::new(directory)),
        _ => panic!("usage: slod-stores DIRECTORY"),
    }
}

fn all(directory: &Path) {
    std::fs::create_dir(directory).unwrap();
    println!("state in memory: {} MB", load::bytes_in_memory() / 1_000_000);
    println!(
        "\n| state | full commit ms | increment ms, median of {COMMITS} | max | MB written per increment | MB on disk | of length | compacted | ms | peak RSS MB |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for engine in engines::ENGINES {
        ours(&["state", engine], &directory.join(engine)).spawn().unwrap().wait().unwrap();
    }
    println!("\n| after kill -9 in a commit, {KILLS} times | open ms, median | max | read all ms |");
    println!("|---|--:|--:|--:|");
    for engine in engines::ENGINES {
        kills(engine, &directory.join(engine));
    }
    log::measure(directory);
}

fn ours(arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(arguments).arg(directory);
    command
}

fn state(engine: &str, directory: &Path) {
    let mut random = Random(1);
    let mut store = engines::open(engine, directory);
    let whole = load::whole(&mut random);
    let full = timed(|| store.commit(&whole));
    drop(whole);
    let before = disk::written();
    let mut increments: Vec<f64> = (0..COMMITS)
        .map(|_| {
            let increment = load::increment(&mut random);
            timed(|| store.commit(&increment))
        })
        .collect();
    let written = (disk::written() - before) / COMMITS as u64;
    let (median, max) = median_and_max(&mut increments);
    let used = disk::used(directory);
    let peak = disk::peak_memory();
    let compaction = timed(|| store.compact());
    println!(
        "| {engine} | {full:.0} | {median:.0} | {max:.0} | {} | {} | {} | {} | {compaction:.0} | {} |",
        written / 1_000_000,
        used.0 / 1_000_000,
        used.1 / 1_000_000,
        disk::used(directory).0 / 1_000_000,
        peak / 1_000_000
    );
}

fn commit_until_killed(engine: &str, directory: &Path) {
    let mut random = Random(3);
    let mut store = engines::open(engine, directory);
    loop {
        let increment = load::increment(&mut random);
        println!("commit");
        store.commit(&increment);
    }
}

fn kills(engine: &str, directory: &Path) {
    let (mut opens, mut reads) = (Vec::new(), Vec::new());
    for kill in 0..KILLS {
        let mut child = ours(&["commit", engine], directory).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for _ in 0..3 {
            lines.next().unwrap().unwrap();
        }
        thread::sleep(Duration::from_millis(20 + 30 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
        let opened = ours(&["open", engine], directory).output().unwrap();
        let opened = String::from_utf8(opened.stdout).unwrap();
        let mut times = opened.split_whitespace().map(|ms| ms.parse().unwrap());
        opens.push(times.next().unwrap());
        reads.push(times.next().unwrap());
    }
    let (open, open_max) = median_and_max(&mut opens);
    println!("| {engine} | {open:.0} | {open_max:.0} | {:.0} |", median_and_max(&mut reads).0);
}

fn reopen(engine: &str, directory: &Path) {
    let directory = PathBuf::from(directory);
    let mut store = None;
    let open = timed(|| store = Some(engines::open(engine, &directory)));
    let store = store.unwrap();
    let read = timed(|| assert_eq!(store.read().0, expected_values()));
    println!("{open} {read}");
}

fn expected_values() -> u64 {
    u64::from(load::SLIS) * (1 + u64::from(load::RINGS)) + u64::from(load::SERIES_BLOCKS)
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn median_and_max(values: &mut [f64]) -> (f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[values.len() - 1])
}
