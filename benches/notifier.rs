//! How long it takes from the arrival of a sample that makes an alert's condition true to the POST at Alertmanager.
//!
//! The real binary with `evaluation_interval: 1s` and `evaluation_delay: 0s`; a service of many instances, each a group
//! with an alert of its own, all scraped once a second. At a random moment one of them begins to fail with a sample of
//! its own; from that request's being sent to the arrival of the POST that has its alert is measured.
//!
//! `cargo bench --bench notifier` measures 200 incidents in four minutes; `-- --test` three, so that it keeps working.

#![expect(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use slod::{
    labels::Labels,
    testing::{Sent, encode},
    time::Timestamp,
};

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: by-instance, service: shop}
spec:
  sli:
    type: availability
    bad: sum by (instance) (rate(requests_total{code="500"}[1m]))
    total: sum by (instance) (rate(requests_total[1m]))
  objective: {target: 99, window: 1h}
  alerting:
    burn_rate_alerts:
      - {severity: page, burn_rate: 5, window: 1m, short_window: 5s}
"#;

/// When the POST came that has the alert of an instance.
type Arrivals = Arc<Mutex<BTreeMap<String, Instant>>>;

/// A slod that is killed when it is over.
struct Slod {
    child: Child,
    address: SocketAddr,
}

fn main() {
    let has = |flag: &str| std::env::args().any(|arg| arg == flag);
    let incidents = if has("--test") || !has("--bench") { 3 } else { 200 };
    let arrivals = Arrivals::default();
    let alertmanager = receive(Arc::clone(&arrivals));
    let directory = tempfile::tempdir().unwrap();
    let slod = Slod::start(directory.path(), alertmanager);
    // Two scrapes: instances are there, and followed.
    for scrape in 1..=2 {
        slod.deliver((0..incidents).flat_map(|instance| scraped(instance, 100.0 * f64::from(scrape), 0.0)));
        thread::sleep(Duration::from_millis(1_500));
    }
    let mut latencies = Vec::new();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for instance in 0..incidents {
        // At every phase of the evaluations alike.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        thread::sleep(Duration::from_micros((random >> 33) % 1_000_000));
        let start = Instant::now();
        slod.deliver(scraped(instance, 300.0, 100.0).into_iter());
        latencies.push(wait_for(&arrivals, &name(instance)).duration_since(start));
    }
    latencies.sort();
    let quantile = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize].as_millis();
    println!(
        "{incidents} incidents: p50 {} ms, p90 {} ms, p99 {} ms, at most {} ms",
        quantile(0.5),
        quantile(0.9),
        quantile(0.99),
        quantile(1.0)
    );
}

fn name(instance: i32) -> String {
    format!("shop-{instance}")
}

fn scraped(instance: i32, total: f64, bad: f64) -> [Sent; 2] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = Timestamp(now.as_millis() as i64);
    [("200", total - bad), ("500", bad)].map(|(code, value)| {
        let labels = [("__name__", "requests_total"), ("code", code), ("instance", &name(instance))];
        Sent { labels: Labels::new(labels).unwrap(), at, value }
    })
}

fn wait_for(arrivals: &Arrivals, instance: &str) -> Instant {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if let Some(at) = arrivals.lock().unwrap().get(instance) {
            return *at;
        }
        thread::sleep(Duration::from_micros(500));
    }
    panic!("no alert of {instance}");
}

/// An Alertmanager that takes everything, and notes when what came.
fn receive(arrivals: Arrivals) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, arrivals) = (stream.unwrap(), Arc::clone(&arrivals));
            thread::spawn(move || while receive_one(&mut stream, &arrivals).is_some() {});
        }
    });
    address
}

fn receive_one(stream: &mut TcpStream, arrivals: &Arrivals) -> Option<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 65_536]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        request.extend(&buffer[..read]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
        if body.len() < length.parse().unwrap() {
            continue;
        }
        let now = Instant::now();
        let alerts: serde_json::Value = serde_json::from_str(body).unwrap();
        for alert in alerts.as_array().unwrap() {
            let instance = alert["labels"]["instance"].as_str().unwrap_or_default();
            arrivals.lock().unwrap().entry(instance.to_owned()).or_insert(now);
        }
        return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok();
    }
}

// === impl Slod ===

impl Slod {
    fn start(directory: &std::path::Path, alertmanager: SocketAddr) -> Self {
        let write = |name: &str, text: &str| {
            fs::write(directory.join(name), text).unwrap();
            directory.join(name)
        };
        write("specs.yaml", SPEC);
        let config = write(
            "slod.yaml",
            &format!(
                "specs: [specs.yaml]\nevaluation_delay: 0s\ningest: {{warm_up: 0s}}\n\
                 alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n"
            ),
        );
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = fs::File::create(directory.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_slod"))
            .args(["serve", "--web.listen-address", &address.to_string(), "--config.file"])
            .arg(config)
            .arg("--storage.path")
            .arg(directory.join("data"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        while TcpStream::connect(address).is_err() {
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, address }
    }

    fn deliver(&self, sent: impl Iterator<Item = Sent>) {
        let body = encode(&sent.collect::<Vec<Sent>>());
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "POST /api/v1/write HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nContent-Type: application/x-protobuf\r\n\
             Content-Encoding: snappy\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
}

impl Drop for Slod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
