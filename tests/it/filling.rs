//! The real binary fills in the history of its SLOs from real servers, while they are streamed: in the end they are what
//! streaming all of it comes to.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use slod::{
    engine, exposition, ingest,
    testing::{Sent, World, encode, parse_labels, slos},
    time::Timestamp,
};

use crate::{
    history::{Server, openmetrics, promtool},
    support::{Slod, http, seconds_since_epoch, try_post_write, wait_until, write_headers},
};

const SPECS: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: counted, service: api}
spec:
  sli:
    bad: sum(rate(requests_total{code="500"}[5m]))
    total: sum(rate(requests_total[5m]))
  objective: {target: 99, windows: [30d, {calendar: month}]}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: grouped, service: api}
spec:
  sli:
    query: sum by (zone) (rate(seconds_total{code!="500"}[5m])) / sum by (zone) (rate(seconds_total[5m]))
  objective: {target: 90, window: 7d}
---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: sampled, service: api}
spec:
  sli: {step: 5s, threshold: {metric: max by (zone) (queue_depth), op: lt, value: 30}}
  objective: {target: 90, window: 7d}
"#;

const LATER: &str = r#"---
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: later, service: api}
spec:
  sli:
    bad: sum(rate(requests_total{code="500"}[5m]))
    total: sum(rate(requests_total[5m]))
  objective: {target: 90, window: 7d, budgeting: Timeslices, slice: {window: 1m, target: 80}}
"#;

const DELAY: Duration = Duration::from_secs(1);
/// How long history is: six hours and a half.
const SCRAPES: u32 = 1_560;
const SCRAPE: Duration = Duration::from_secs(15);
/// Live ones are a second apart.
const LIVE: Duration = Duration::from_secs(1);

/// What is scraped.
struct Scrapes {
    numbers: u64,
    values: Vec<f64>,
}

/// Delivers scrapes to a server and to slod, each until both have it.
struct Sender {
    sent: Arc<Mutex<Vec<Sent>>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Stands before a server, and may be closed.
struct Gate {
    address: SocketAddr,
    is_open: Arc<AtomicBool>,
}

#[test]
fn a_daemon_fills_in_what_prometheus_has() {
    let (history, scrapes) = history();
    let server = Server::prometheus(&history, "{}");
    let gate = Gate::closed_before(server.address);
    let mut slod = Slod::start(SPECS, &config(gate.address, "1s"));
    let sender = Sender::start(history, scrapes, vec![server.address, slod.address]);

    // The source is down at first.
    wait_until("slod asks", || slod.log().contains("history cannot be had; it is asked for again"));
    assert_eq!(progress(&slod, "counted"), Some(0.0));

    // It is filling when it is killed.
    gate.open();
    wait_until("slod fills", || progress(&slod, "counted").is_some_and(|progress| progress > 0.0));
    slod.kill();
    gate.close();
    slod.start_again();
    slod.wait_until_ready();
    assert_eq!(progress(&slod, "counted").map(|progress| progress < 1.0), Some(true), "killed too late");
    gate.open();
    wait_until_filled(&slod, &["counted", "grouped", "sampled"]);
    sender.check(&slod, SPECS);

    // What is filled is filled.
    thread::sleep(Duration::from_secs(2));
    wait_until("it is written down", || slod.sum("slod_storage_state_commits_total") > 3.0);
    slod.kill();
    slod.start_again();
    slod.wait_until_ready();
    wait_until_filled(&slod, &["counted", "grouped", "sampled"]);
    assert_eq!(slod.sum("slod_backfill_samples_total"), 0.0);
    sender.check(&slod, SPECS);

    // A new SLO is filled while the others go on.
    let specs = SPECS.to_owned() + LATER;
    fs::write(slod.directory.path().join("specs.yaml"), &specs).unwrap();
    slod.process.signal("HUP");
    wait_until_filled(&slod, &["later"]);
    assert!(slod.sum("slod_backfill_samples_total") > 0.0);
    sender.check(&slod, &specs);
}

#[test]
fn a_daemon_fills_in_what_victoria_metrics_has() {
    let (history, scrapes) = history();
    let server = Server::victoria_metrics(&history);
    let slod = Slod::start(SPECS, &config(server.address, "5s"));
    let sender = Sender::start(history, scrapes, vec![server.address, slod.address]);
    wait_until_filled(&slod, &["counted", "grouped", "sampled"]);
    sender.check(&slod, SPECS);
}

/// Fills the directory of a slod that has counted nothing, twice; goes on with live samples, and compares.
#[track_caller]
fn check_offline(config: &str, history: (Vec<Sent>, Scrapes), args: &[&str], stdin: &str) {
    let (sent, scrapes) = history;
    let mut slod = Slod::start(SPECS, config);
    fs::write(slod.directory.path().join("history.om"), openmetrics(&sent)).unwrap();
    let (code, _, errors) = backfill(&slod, args, stdin);
    assert!(code == 1 && errors.contains("in use by another slod"), "{errors}");
    slod.stop();
    for samples in [sent.len(), 0] {
        let (code, summary, errors) = backfill(&slod, args, stdin);
        assert_eq!((code, errors.as_str()), (0, ""), "{summary}");
        let counted: usize = summary.lines().filter_map(samples_of).sum();
        assert!(counted == samples || samples == 0 && counted < 20, "{summary}");
    }
    slod.start_again();
    slod.wait_until_ready();
    let sender = Sender::start(sent, scrapes, vec![slod.address]);
    wait_until("live samples arrive", || slod.sum("slod_ingest_samples_total") > 50.0);
    sender.check(&slod, SPECS);
}

fn samples_of(line: &str) -> Option<usize> {
    line.strip_prefix("from ")?.split_once(", ")?.1.split(' ').next()?.parse().ok()
}

/// Exit code, standard output and standard error of `slod backfill`.
fn backfill(slod: &Slod, args: &[&str], stdin: &str) -> (i32, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_slod"))
        .current_dir(slod.directory.path())
        .args(["backfill", "--storage.path", "data"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever does not read it may be gone.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_directory_is_filled_from_openmetrics() {
    check_offline("evaluation_delay: 1s", history(), &["--openmetrics", "history.om"], "");
}

#[test]
fn a_directory_is_filled_from_a_dump_of_blocks() {
    let (history, directory) = (history(), tempfile::tempdir().unwrap());
    let (file, data) = (directory.path().join("history.om"), directory.path().join("data"));
    fs::write(&file, openmetrics(&history.0)).unwrap();
    promtool(&["tsdb", "create-blocks-from", "openmetrics"], &[&file, &data]);
    fs::create_dir(data.join("wal")).unwrap();
    let dump = promtool(&["tsdb", "dump"], &[&data]);
    check_offline("evaluation_delay: 1s", history, &["--tsdb-dump", "-"], &dump);
}

#[test]
fn a_directory_is_filled_from_the_configured_source() {
    let history = history();
    let server = Server::prometheus(&history.0, "{}");
    let source = format!("[{{url: 'http://{}', delay: 1s, backfill: false}}]", server.address);
    // All of it is so long ago that slod takes it for complete.
    thread::sleep(Duration::from_secs(5));
    check_offline(&format!("evaluation_delay: 1s\nsources: {source}"), history, &[], "");
}

#[test]
fn what_cannot_be_filled_in_is_told() {
    #[track_caller]
    fn check(slod: &Slod, args: &[&str], code: i32, expected: &str) {
        let (found, _, errors) = backfill(slod, args, "");
        assert_eq!(found, code, "{args:?}: {errors}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
    }
    let mut slod = Slod::start(SPECS, "");
    slod.stop();
    fs::write(slod.directory.path().join("others.om"), "others_total 1 1700000000\n# EOF\n").unwrap();
    check(&slod, &[], 1, "no history is given, and the configuration file has no sources");
    check(&slod, &["--openmetrics", "nowhere"], 1, "cannot read history from nowhere");
    check(&slod, &["--openmetrics", "/dev/null"], 1, "it has no samples");
    check(&slod, &["--openmetrics", "others.om"], 1, "no series of the history is one that an SLO selects");
    check(&slod, &["--openmetrics", "slod.yaml"], 1, "it has no samples");
    check(&slod, &["--openmetrics", "others.om", "--tsdb-dump", "-"], 2, "cannot be used with");
    check(&slod, &["--from", "tomorrow"], 1, "cannot use --from");
    check(&slod, &["--config.file", "nowhere"], 1, "nowhere");
}

fn config(source: SocketAddr, delay: &str) -> String {
    format!(
        "evaluation_delay: 1s\nstorage: {{checkpoint_interval: 500ms}}\n\
         sources: [{{url: 'http://{source}', delay: {delay}, backfill_after: 5s}}]\n"
    )
}

fn history() -> (Vec<Sent>, Scrapes) {
    let mut scrapes = Scrapes { numbers: 42, values: vec![0.0; 8] };
    let start = Timestamp(seconds_since_epoch() as i64 * 1_000) - SCRAPE * SCRAPES;
    let history = (0..SCRAPES).flat_map(|n| scrapes.next(start + SCRAPE * n)).collect();
    (history, scrapes)
}

fn progress(slod: &Slod, name: &str) -> Option<f64> {
    let page = http(slod.address, "GET /metrics HTTP/1.0", &[], b"").body;
    let series = format!("slo_backfill_progress_ratio{{service=\"api\",slo=\"{name}\"}} ");
    page.lines().find_map(|line| line.strip_prefix(&series)?.parse().ok())
}

fn wait_until_filled(slod: &Slod, names: &[&str]) {
    wait_until("history is filled in", || names.iter().all(|name| progress(slod, name) == Some(1.0)));
}

/// What a page says of SLOs, but for the lives of alerts, of which the past had other ones.
fn numbers(page: &str) -> BTreeMap<String, f64> {
    let is_wanted = |line: &&str| {
        // The time to recovery is worked out every so many ticks.
        let others = ["slo_alert", "slo_backfill", "slo_inconsistent", "slo_time_to_recovery"];
        line.starts_with("slo_") && !others.iter().any(|other| line.starts_with(other))
    };
    let number = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    page.lines().filter(is_wanted).map(number).collect()
}

// === impl Scrapes ===

impl Scrapes {
    /// Counters of whole numbers and of fractions, and gauges. Now and then a counter starts over.
    fn next(&mut self, at: Timestamp) -> Vec<Sent> {
        let mut sent = Vec::new();
        for number in 0..self.values.len() {
            let (code, zone) = (["200", "500"][number % 2], number / 2 % 2);
            let name = ["requests_total", "seconds_total"][number / 4];
            let random = self.random();
            let value = &mut self.values[number];
            *value = if random.is_multiple_of(500) { 0.0 } else { *value };
            *value +=
                (random % if number % 2 == 0 { 90 } else { 7 }) as f64 * if number < 4 { 1.0 } else { 0.25 };
            let labels = format!("{name}{{code=\"{code}\",zone=\"{zone}\",instance=\"i\",job=\"j\"}}");
            sent.push(Sent { labels: parse_labels(&labels).unwrap(), at, value: *value });
        }
        for zone in 0..2 {
            let labels = parse_labels(&format!("queue_depth{{zone=\"{zone}\",instance=\"i\",job=\"j\"}}"));
            sent.push(Sent { labels: labels.unwrap(), at, value: (self.random() % 33) as f64 });
        }
        sent
    }

    fn random(&mut self) -> u64 {
        self.numbers =
            self.numbers.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.numbers >> 33
    }
}

// === impl Sender ===

impl Sender {
    fn start(history: Vec<Sent>, mut scrapes: Scrapes, to: Vec<SocketAddr>) -> Self {
        let (sent, done) = (Arc::new(Mutex::new(history)), Arc::new(AtomicBool::new(false)));
        let thread = {
            let (sent, done) = (Arc::clone(&sent), Arc::clone(&done));
            thread::spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    let at = Timestamp((seconds_since_epoch() * 1_000.0) as i64);
                    let scrape = scrapes.next(at);
                    let body = encode(&scrape);
                    let mut sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
                    to.iter().for_each(|address| deliver(*address, &body, &done));
                    sent.extend(scrape);
                    drop(sent);
                    thread::sleep(LIVE);
                }
            })
        };
        Self { sent, done, thread: Some(thread) }
    }

    /// Holds the sender back, and compares what slod says with what streaming of everything says.
    #[track_caller]
    fn check(&self, slod: &Slod, specs: &str) {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let last = sent.last().unwrap().at;
        let evaluated = || slod.sum("slod_evaluated_to_timestamp_seconds");
        wait_until("all is evaluated", || evaluated() > last.seconds());
        let (mut page, mut at) = (String::new(), 0.0);
        wait_until("a page is of one evaluation", || {
            at = evaluated();
            page = http(slod.address, "GET /metrics HTTP/1.0", &[], b"").body;
            page.contains(&format!("slod_evaluated_to_timestamp_seconds {at}\n"))
        });
        let (found, expected) = (numbers(&page), streamed(&sent, specs, Timestamp((at * 1_000.0) as i64)));
        let missing = expected.keys().find(|series| !found.contains_key(*series));
        assert_eq!((missing, found.len()), (None, expected.len()), "{}", slod.log());
        for ((series, found), expected) in found.iter().zip(expected.values()) {
            let is_same = found == expected || (found - expected).abs() <= expected.abs() * 1e-9;
            assert!(is_same, "{series} is {found} instead of {expected}\n{}", slod.log());
        }
    }
}

/// What streaming all samples comes to.
fn streamed(sent: &[Sent], specs: &str, at: Timestamp) -> BTreeMap<String, f64> {
    let engine = engine::Config { delay: DELAY, ..engine::Config::default() };
    let start = sent[0].at;
    let mut world = World::new(slos(specs), engine, ingest::Config::default(), start);
    for scrape in sent.chunk_by(|a, b| a.at == b.at) {
        world.send(scrape, scrape[0].at).unwrap();
        world.tick(scrape[0].at);
    }
    let report = world.tick(at + DELAY);
    assert_eq!(report.evaluated_at, at);
    numbers(&exposition::text(&report))
}

fn deliver(address: SocketAddr, body: &[u8], done: &AtomicBool) {
    let length = format!("Content-Length: {}", body.len());
    let headers = [&write_headers()[..], &[length.as_str()]].concat();
    let is_delivered =
        || try_post_write(address, &headers, body).is_ok_and(|answer| answer.starts_with("HTTP/1.1 204"));
    while !done.load(Ordering::SeqCst) && !is_delivered() {
        thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        let _ = self.thread.take().unwrap().join();
    }
}

// === impl Gate ===

impl Gate {
    fn closed_before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, is_open) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let gate = Arc::clone(&is_open);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let gate = Arc::clone(&gate);
                // What is closed, or breaks, ends.
                thread::spawn(move || pass(stream?, server, &gate));
            }
        });
        Self { address, is_open }
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
    }
}

fn pass(client: TcpStream, server: SocketAddr, gate: &Arc<AtomicBool>) -> io::Result<()> {
    if !gate.load(Ordering::SeqCst) {
        return Ok(());
    }
    let server = TcpStream::connect(server)?;
    let (from, to, other) = (client.try_clone()?, server.try_clone()?, Arc::clone(gate));
    thread::spawn(move || copy(from, to, &other));
    copy(server, client, gate)
}

fn copy(mut from: TcpStream, mut to: TcpStream, gate: &AtomicBool) -> io::Result<()> {
    let mut buffer = [0; 16_384];
    loop {
        let bytes = from.read(&mut buffer)?;
        if bytes == 0 || !gate.load(Ordering::SeqCst) {
            from.shutdown(Shutdown::Both)?;
            return to.shutdown(Shutdown::Both);
        }
        to.write_all(&buffer[..bytes])?;
    }
}
