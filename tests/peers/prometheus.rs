//! A Prometheus 3, and a page for it to scrape.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;
use slod::{
    labels::Labels,
    testing::{Sent, encode},
    time::Timestamp,
};

use crate::support::{Process, answers, free_address, http, json, wait_until, write_headers};

/// A running one.
pub struct Prometheus {
    pub address: SocketAddr,
    process: Process,
}

/// A metrics page that the test writes.
pub struct Page {
    pub address: SocketAddr,
    content: Arc<Mutex<Content>>,
}

#[derive(Debug, Default)]
struct Content {
    media_type: &'static str,
    body: Vec<u8>,
    scrapes: usize,
}

/// Series with their values, in the order of time.
pub type Matrix = BTreeMap<Labels, Vec<(Timestamp, f64)>>;

// Prometheus gives at most 11,000 points of a series at once.
const POINTS_MAX: u32 = 10_000;

/// A sender of remote-write 2.0, once filled in.
const SENDER: &str = "\
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: shop
    static_configs: [{targets: [TARGET]}]
SCRAPE
remote_write:
  - url: http://ADDRESS/api/v1/write
    protobuf_message: io.prometheus.write.v2.Request
    send_native_histograms: true
    queue_config: {batch_send_deadline: 500ms}
";

// === impl Prometheus ===

impl Prometheus {
    /// Starts it with this configuration and these flags.
    pub fn start(directory: &Path, config: &str, flags: &[&str]) -> Self {
        let program = std::env::var_os("PROMETHEUS_3");
        let program =
            program.expect("PROMETHEUS_3 does not say where Prometheus 3 is; run `make test-peers`");
        let file = directory.join("prometheus.yml");
        fs::write(&file, config).unwrap();
        let address = free_address();
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .args(flags);
        let process = Process::start(&mut command, directory.join("prometheus.log"));
        let mut prometheus = Self { address, process };
        wait_until("Prometheus is ready", || {
            prometheus.process.assert_alive();
            answers(address, "/-/ready")
        });
        prometheus
    }

    /// Starts one that scrapes a page and sends it by remote-write 2.0. `scrape` is added to the scrape
    /// configuration.
    pub fn sender(directory: &Path, page: &Page, to: SocketAddr, scrape: &str, flags: &[&str]) -> Self {
        let config = SENDER
            .replace("TARGET", &format!("\"{}\"", page.address))
            .replace("ADDRESS", &to.to_string())
            .replace("SCRAPE", &format!("    {scrape}"));
        Self::start(directory, &config, flags)
    }

    /// Writes samples, those of a series in the order of time.
    pub fn write(&self, samples: &[Sent]) {
        let answer = http(self.address, "POST /api/v1/write HTTP/1.1", &write_headers(), &encode(samples));
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    /// What an expression says at each step from `from` to `to`, without metric names.
    pub fn range(&self, promql: &str, from: Timestamp, to: Timestamp, step: Duration) -> Matrix {
        let (query, mut matrix, mut from) = (escaped(promql), Matrix::new(), from);
        while from <= to {
            let last = to.min(from + step * (POINTS_MAX - 1));
            let (start, end, step_seconds) = (from.seconds(), last.seconds(), step.as_secs());
            let path =
                format!("/api/v1/query_range?start={start}&end={end}&step={step_seconds}&query={query}");
            let answer = json(self.address, &path);
            let result = answer["data"]["result"].as_array();
            for series in result.unwrap_or_else(|| panic!("{promql}: {answer}")) {
                let points = series["values"].as_array().unwrap().iter().map(point);
                matrix.entry(labels(&series["metric"])).or_default().extend(points);
            }
            from = last + step;
        }
        matrix
    }

    /// The value of an expression without labels at a time; `None` without any.
    pub fn value(&self, promql: &str, at_seconds: f64) -> Option<f64> {
        let escaped = escaped(promql);
        let answer = json(self.address, &format!("/api/v1/query?time={at_seconds}&query={escaped}"));
        assert!(answer["infos"].is_null() && answer["warnings"].is_null(), "{answer}");
        let value = answer["data"]["result"].get(0).map(|only| only["value"][1].clone());
        value.map(|text: Value| text.as_str().unwrap().parse().unwrap())
    }

    /// What an expression says at a time, without metric names.
    pub fn vector(&self, promql: &str, at_seconds: f64) -> Vec<(Labels, f64)> {
        let escaped = escaped(promql);
        let answer = json(self.address, &format!("/api/v1/query?time={at_seconds}&query={escaped}"));
        let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{promql}: {answer}"));
        if answer["data"]["resultType"] == "scalar" {
            return vec![(Labels::default(), number(&result[1]))];
        }
        result.iter().map(|element| (labels(&element["metric"]), number(&element["value"][1]))).collect()
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn escaped(promql: &str) -> String {
    promql.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

fn point(pair: &Value) -> (Timestamp, f64) {
    (Timestamp((pair[0].as_f64().unwrap() * 1e3).round() as i64), number(&pair[1]))
}

/// Without the metric name.
fn labels(metric: &Value) -> Labels {
    let pairs = metric.as_object().unwrap().iter().map(|(name, value)| (name, value.as_str().unwrap()));
    Labels::new(pairs).unwrap().leave_out(&[])
}

// === impl Page ===

impl Page {
    /// An empty page on a port of its own. Its thread ends with the test.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let page = Self { address: listener.local_addr().unwrap(), content: Arc::default() };
        let content = Arc::clone(&page.content);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                // The request does not matter: there is one page.
                let _ = stream.read(&mut [0; 4_096]);
                let content = &mut *content.lock().unwrap();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    content.media_type,
                    content.body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &content.body].concat());
                content.scrapes += 1;
            }
        });
        page
    }

    /// Shows this from now on, and waits until two scrapes have seen it.
    pub fn show(&self, media_type: &'static str, body: impl Into<Vec<u8>>) {
        let enough = {
            let content = &mut *self.content.lock().unwrap();
            (content.media_type, content.body) = (media_type, body.into());
            content.scrapes + 2
        };
        wait_until("the page is scraped twice", || self.content.lock().unwrap().scrapes >= enough);
    }
}
