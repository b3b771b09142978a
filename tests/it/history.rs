//! Samples of the past, from real servers and from the files that promtool writes.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use prost::Message;
use slod::{
    counter::STALE_MARKER_BITS,
    history::{self, Format, Series},
    labels::{Labels, MatchOp, Matcher, Selector},
    prompb::generated::v1::ReadRequest,
    source::{Config, Pieces, Source},
    testing::{Sent, encode, parse_labels},
    time::Timestamp,
};
use tempfile::TempDir;

use crate::support::{Process, answers, free_address, http, seconds_since_epoch, wait_until, write_headers};

const SCRAPE: Duration = Duration::from_secs(15);
const SCRAPES: i64 = 700;

/// A server that was sent the samples of [`sent`].
pub struct Server {
    process: Process,
    pub address: SocketAddr,
    directory: TempDir,
}

/// What a proxy lets through.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Remote-read without chunks.
    Samples,
    /// No remote-read.
    Queries,
}

const PLAIN: &str = "{}";
const OF_CLUSTER: &str = "{global: {external_labels: {cluster: eu}}}";

fn start() -> Timestamp {
    Timestamp(seconds_since_epoch() as i64 * 1_000).floor(SCRAPE) - 800 * SCRAPE
}

/// A counter, one with a fraction that ends and comes back, and a histogram's bucket; some scrapes are late or missing.
fn sent(start: Timestamp) -> Vec<Sent> {
    let of_scrape = |n: i64| {
        let at = start + SCRAPE * n as u32 + Duration::from_millis(if n % 7 == 0 { 3 } else { 0 });
        let stale = f64::from_bits(STALE_MARKER_BITS);
        let sample = |labels: &str, value: f64| Sent { labels: parse_labels(labels).unwrap(), at, value };
        let fraction = if n == 300 { stale } else { n as f64 * 0.1 };
        let mut samples = vec![
            sample("requests_total{code=\"200\",job=\"a\"}", (n * n) as f64),
            sample("seconds_total{job=\"a\"}", fraction),
            sample("latency_bucket{job=\"a\",le=\"1\"}", (n / 3) as f64),
            sample("latency_bucket{job=\"a\",le=\"+Inf\"}", n as f64),
            sample("others_total{job=\"b\"}", 1e300),
        ];
        if (301..320).contains(&n) {
            samples.remove(1);
        }
        samples
    };
    (0..SCRAPES).flat_map(of_scrape).collect()
}

/// What of it is selected in `scrapes`, by labels.
fn expected(sent: &[Sent], selectors: &[Selector], (from, to): (Timestamp, Timestamp)) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    for Sent { labels, at, value } in sent {
        let is_in = (from..=to).contains(at) && selectors.iter().any(|selector| selector.matches(labels));
        let sample = history::Sample { at: *at, value: *value };
        match series.iter_mut().find(|series| series.labels == *labels) {
            Some(series) if is_in => series.samples.push(sample),
            None if is_in => series.push(Series { labels: labels.clone(), samples: vec![sample] }),
            _ => (),
        }
    }
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    series
}

/// As text, which tells NaN from NaN.
fn text(series: &[Series]) -> Vec<String> {
    let sample = |sample: &history::Sample| format!(" {}@{:x}", sample.at.0, sample.value.to_bits());
    let line = |series: &Series| {
        format!("{}{}", series.labels, series.samples.iter().map(sample).collect::<String>())
    };
    series.iter().map(line).collect()
}

fn without_markers(series: &[Series]) -> Vec<Series> {
    let is_number = |sample: &history::Sample| sample.value.to_bits() != STALE_MARKER_BITS;
    let without = |series: &Series| Series {
        labels: series.labels.clone(),
        samples: series.samples.iter().copied().filter(is_number).collect(),
    };
    series.iter().map(without).collect()
}

fn selectors() -> Vec<Selector> {
    let selector = |matchers: &[(&str, MatchOp, &str)]| Selector {
        matchers: matchers.iter().map(|(name, op, value)| Matcher::new(name, *op, value).unwrap()).collect(),
    };
    vec![
        selector(&[
            ("__name__", MatchOp::Regex, "requests_total|seconds_total"),
            ("job", MatchOp::Equal, "a"),
        ]),
        selector(&[("__name__", MatchOp::Equal, "requests_total"), ("code", MatchOp::NotRegex, "5..")]),
        selector(&[("__name__", MatchOp::Equal, "latency_bucket"), ("le", MatchOp::Equal, "1.0")]),
    ]
}

#[track_caller]
fn check(found: &[Series], expected: &[Series]) {
    assert!(!expected.is_empty());
    let (found, expected) = (text(found), text(expected));
    assert!(found == expected, "found\n{}\nexpected\n{}", found.join("\n"), expected.join("\n"));
}

#[tokio::test]
async fn prometheus_streams_what_it_was_sent() {
    let (start, selectors) = (start(), selectors());
    let sent = sent(start);
    let server = Server::prometheus(&sent, PLAIN);
    let source = server.source(&format!("http://{}", server.address), "");
    // Chunks have 120 samples, of which the first and the last piece want some.
    let (from, to) = (start + 50 * SCRAPE, start + 650 * SCRAPE);
    let whole = source.read(&selectors, from, to).await.unwrap();
    check(&whole, &expected(&sent, &selectors, (from, to)));
    check_in_pieces(&source, &sent, from, to).await;
}

/// Pieces put together are the whole.
async fn check_in_pieces(source: &Source, sent: &[Sent], from: Timestamp, to: Timestamp) {
    let selectors = selectors();
    let mut pieces = Pieces::new(from, to, Duration::from_secs(3_600));
    let mut read = 0;
    while let Some(piece) = source.read_next(&selectors, &mut pieces).await.unwrap() {
        check(&piece.series, &expected(sent, &selectors, (piece.start, piece.end)));
        assert_eq!(piece.histograms, 0);
        read += 1;
    }
    assert_eq!(read, 3);
}

#[tokio::test]
async fn prometheus_sends_samples_where_chunks_are_not_wanted() {
    let (start, selectors) = (start(), selectors());
    let sent = sent(start);
    let server = Server::prometheus(&sent, PLAIN);
    let source = server.source(&format!("http://{}", proxy(server.address, Way::Samples)), "");
    let (from, to) = (start + 50 * SCRAPE, start + 650 * SCRAPE);
    let found = source.read(&selectors, from, to).await.unwrap();
    check(&found, &expected(&sent, &selectors, (from, to)));
}

#[tokio::test]
async fn a_query_for_a_range_has_all_but_staleness_markers() {
    let (start, selectors) = (start(), selectors());
    let sent = sent(start);
    let server = Server::prometheus(&sent, PLAIN);
    let source = server.source(&format!("http://{}", proxy(server.address, Way::Queries)), "");
    let (from, to) = (start + 50 * SCRAPE, start + 650 * SCRAPE);
    let found = source.read(&selectors, from, to).await.unwrap();
    check(&found, &without_markers(&expected(&sent, &selectors, (from, to))));
}

#[tokio::test]
async fn victoria_metrics_has_all_by_queries() {
    let (start, selectors) = (start(), selectors());
    let sent = sent(start);
    let server = Server::victoria_metrics(&sent);
    let source = server.source(&format!("http://{}", server.address), "");
    let (from, to) = (start + 50 * SCRAPE, start + 650 * SCRAPE);
    let all = expected(&sent, &selectors, (from, to));
    wait_until("samples are searchable", || {
        http(server.address, "GET /internal/force_flush HTTP/1.0", &[], b"");
        let query = format!("GET /api/v1/query?query=count(latency_bucket)&time={to} HTTP/1.0");
        http(server.address, &query, &[], b"").body.contains("\"2\"")
    });
    let found = source.read(&selectors, from, to).await.unwrap();
    // It stores decimals of some 15 digits.
    check(&rounded(&found), &rounded(&all));
}

fn rounded(series: &[Series]) -> Vec<Series> {
    let round = |sample: &history::Sample| match sample.value.to_bits() {
        STALE_MARKER_BITS => *sample,
        _ => history::Sample { value: format!("{:.12e}", sample.value).parse().unwrap(), ..*sample },
    };
    let round = |series: &Series| Series {
        labels: series.labels.clone(),
        samples: series.samples.iter().map(round).collect(),
    };
    series.iter().map(round).collect()
}

#[tokio::test]
async fn labels_that_only_remote_write_has_are_found() {
    let start = start();
    let sent = sent(start);
    let server = Server::prometheus(&sent, OF_CLUSTER);
    let of = |cluster: &str| {
        let mut selectors = selectors();
        selectors
            .iter_mut()
            .for_each(|s| s.matchers.push(Matcher::new("cluster", MatchOp::Regex, cluster).unwrap()));
        selectors
    };
    let (from, to) = (start, start + 20 * SCRAPE);
    let with_cluster = |series: &Series| Series {
        labels: Labels::new(series.labels.iter().chain([("cluster", "eu")])).unwrap(),
        samples: series.samples.clone(),
    };
    let mut all: Vec<Series> = expected(&sent, &selectors(), (from, to)).iter().map(with_cluster).collect();
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    // The server has the same labels in its configuration; by queries it does not know them.
    for address in [server.address, proxy(server.address, Way::Queries)] {
        let source = server.source(&format!("http://{address}"), "eu");
        check(&source.read(&of("eu|us"), from, to).await.unwrap(), &all);
        assert_eq!(source.read(&of("us"), from, to).await.unwrap(), []);
    }
}

#[test]
fn files_of_promtool_read_back() {
    let start = start();
    let numbers: Vec<Sent> =
        sent(start).into_iter().filter(|sent| sent.value.to_bits() != STALE_MARKER_BITS).collect();
    let directory = tempfile::tempdir().unwrap();
    let written = openmetrics(&numbers);
    let file = directory.path().join("samples.om");
    fs::write(&file, &written).unwrap();
    let data = directory.path().join("data");
    promtool(&["tsdb", "create-blocks-from", "openmetrics"], &[&file, &data]);
    // What a running Prometheus would have there.
    fs::create_dir(data.join("wal")).unwrap();
    let dump = promtool(&["tsdb", "dump"], &[&data]);

    let everything = selectors_of_everything();
    let all = expected(&numbers, &everything, (Timestamp(0), Timestamp(i64::MAX)));
    for (format, file) in [(Format::OpenMetrics, written), (Format::Dump, dump)] {
        let (mut series, summary) = history::read(file.as_bytes(), format, |_| true).unwrap();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        check(&series, &all);
        assert_eq!(summary.samples, numbers.len() as u64, "{summary:?}");
        assert_eq!(summary.bad_lines + summary.others + summary.histograms, 0, "{summary:?}");
    }
}

fn selectors_of_everything() -> [Selector; 1] {
    [Selector { matchers: vec![Matcher::new("__name__", MatchOp::Regex, ".+").unwrap()] }]
}

/// What promtool imports: families in one piece, counters by the name of their family.
pub fn openmetrics(sent: &[Sent]) -> String {
    let mut sent: Vec<&Sent> = sent.iter().collect();
    sent.sort_by(|a, b| (&a.labels, a.at).cmp(&(&b.labels, b.at)));
    let line = |Sent { labels, at, value }: &&Sent| {
        let rest: Vec<String> = labels
            .iter()
            .filter(|(name, _)| *name != "__name__")
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        format!("{}{{{}}} {value} {at}\n", labels.get("__name__"), rest.join(","))
    };
    sent.iter().map(line).collect::<String>() + "# EOF\n"
}

pub fn promtool(args: &[&str], paths: &[&Path]) -> String {
    let output = Command::new("promtool").args(args).args(paths).output();
    let output = output.expect("cannot start promtool; `make test-deps` installs what tests need");
    assert!(output.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A server before the server, which answers a question at a time.
fn proxy(server: SocketAddr, way: Way) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (head, body) = request(&mut stream);
            // Whoever asked may have gone.
            let _ = stream.write_all(&forwarded(server, way, &head, body));
        }
    });
    address
}

fn request(stream: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4_096]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        request.extend(&buffer[..read]);
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(request[..end].to_vec()).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        if request.len() == end + 4 + length.parse::<usize>().unwrap() {
            return (head, request.split_off(end + 4));
        }
    }
}

fn forwarded(server: SocketAddr, way: Way, head: &str, body: Vec<u8>) -> Vec<u8> {
    let is_read = head.starts_with("POST /api/v1/read ");
    if is_read && way == Way::Queries {
        return b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec();
    }
    let body = if is_read { without_chunks(&body) } else { body };
    let kept = |line: &&str| !line.starts_with("content-length: ") && !line.starts_with("connection: ");
    let head: Vec<&str> = head.lines().filter(kept).collect();
    let mut stream = TcpStream::connect(server).unwrap();
    let length = body.len();
    let head = format!("{}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n", head.join("\r\n"));
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(!is_read || text.contains("Content-Type: application/x-protobuf"), "not in samples: {text}");
    answer
}

fn without_chunks(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    slod::prompb::decompress(body, 1 << 20, &mut message).unwrap();
    let request =
        ReadRequest { accepted_response_types: vec![], ..ReadRequest::decode(&message[..]).unwrap() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).unwrap()
}

// === impl Server ===

impl Server {
    pub fn prometheus(sent: &[Sent], config: &str) -> Self {
        let (directory, address) = (tempfile::tempdir().unwrap(), free_address());
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver");
        let process = Process::start(&mut command, directory.path().join("log"));
        wait_until("Prometheus is ready", || answers(address, "/-/ready"));
        Self { process, address, directory }.fed(sent)
    }

    pub fn victoria_metrics(sent: &[Sent]) -> Self {
        let (directory, address) = (tempfile::tempdir().unwrap(), free_address());
        let mut command = Command::new("victoria-metrics");
        command
            .arg(format!("-storageDataPath={}", directory.path().join("data").display()))
            .arg(format!("-httpListenAddr={address}"));
        let process = Process::start(&mut command, directory.path().join("log"));
        wait_until("VictoriaMetrics is ready", || answers(address, "/health"));
        Self { process, address, directory }.fed(sent)
    }

    fn fed(mut self, sent: &[Sent]) -> Self {
        for request in sent.chunks(1_000) {
            let answer =
                http(self.address, "POST /api/v1/write HTTP/1.1", &write_headers(), &encode(request));
            assert_eq!(answer.status, 204, "{answer:?}");
        }
        self.process.assert_alive();
        assert!(self.directory.path().exists());
        self
    }

    fn source(&self, url: &str, cluster: &str) -> Source {
        let external_labels = Labels::new([("cluster", cluster)]).unwrap();
        Source::new(Config { external_labels, ..Config::new("test", url.parse().unwrap()) }).unwrap()
    }
}
