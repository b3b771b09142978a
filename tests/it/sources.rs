//! The real binary and a real Prometheus that it asks: an SLO that only Prometheus can evaluate.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::Command,
    thread,
};

use slod::{
    testing::{Sent, encode, parse_labels},
    time::Timestamp,
};

use crate::support::{
    Process, Slod, answers, free_address, json, post_write, seconds_since_epoch, wait_until, write_headers,
};

const QUERY: &str = "1 - \
    sum(rate(requests_total{code=\"500\"}[4s]) * on (instance) group_left (version) build_info) / \
    sum(rate(requests_total[4s]) * on (instance) group_left (version) build_info)";

/// A Prometheus that was told what it scraped, up to three minutes ahead.
struct Prometheus {
    address: SocketAddr,
    process: Process,
}

fn specs() -> String {
    format!(
        "apiVersion: slod.dev/v1\nkind: ServiceLevelObjective\nmetadata: {{name: joined, service: shop}}\nspec:\n  \
         sli: {{type: availability, query: '{QUERY}'}}\n  objective: {{target: 99, window: 30d}}\n"
    )
}

fn config(url: &str) -> String {
    format!(
        "evaluation_delay: 1s\nstale_after: 5s\n\
         sources: [{{name: main, url: '{url}', pull_interval: 1s, delay: 0s, timeout: 5s}}]\n"
    )
}

#[test]
fn the_budget_is_what_prometheus_says_whatever_happens_to_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut prometheus = Prometheus::start(directory.path(), free_address());
    prometheus.feed(seconds_since_epoch() as i64);
    let slod = Slod::start(&specs(), &config(&format!("http://{}", prometheus.address)));
    let status = |status: &str| {
        slod.sum(&format!("slo_data_status{{service=\"shop\",slo=\"joined\",status=\"{status}\""))
    };
    let events = || slod.sum("slo_events_total{");
    wait_until("some steps are counted", || events() >= 5.0);
    let first = first_step(&prometheus, &slod);

    prometheus.process.signal("TERM");
    prometheus.process.wait();
    wait_until("the SLO is stale", || status("stale") == 1.0);
    assert!(slod.sum("slod_source_requests_total{outcome=\"unreachable\"") > 0.0);
    let before = events();
    prometheus = Prometheus::start(directory.path(), prometheus.address);
    wait_until("the gap is filled", || events() > before + 8.0 && status("ok") == 1.0);
    assert_eq!(first_step(&prometheus, &slod), first, "no step is missing and none is counted twice");
    assert!(slod.log().contains("the source answers again"), "{}", slod.log());
}

#[test]
fn a_server_with_a_certificate_of_its_own_is_trusted_by_file_only() {
    let directory = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("cert.pem", &certified.cert.pem());
    write("key.pem", &certified.signing_key.serialize_pem());
    write("web.yml", "tls_server_config: {cert_file: cert.pem, key_file: key.pem}");
    let mut prometheus =
        Prometheus::spawn(directory.path(), free_address(), &["--web.config.file", "web.yml"]);
    let source = |ca_file: &str| {
        let url = format!("https://{}", prometheus.address);
        format!("evaluation_delay: 1s\nsources: [{{url: '{url}', pull_interval: 1s, delay: 0s{ca_file}}}]\n")
    };
    let ca_file = format!(", tls_config: {{ca_file: '{}'}}", directory.path().join("cert.pem").display());
    let trusting = Slod::start(&specs(), &source(&ca_file));
    let others = Slod::start(&specs(), &source(""));
    wait_until("it answers", || trusting.sum("slod_pull_steps_total{outcome=\"empty\"}") > 0.0);
    wait_until("it is not trusted", || others.log().contains("invalid peer certificate"));
    assert_eq!(others.sum("slod_pull_steps_total"), 0.0);
    prometheus.process.assert_alive();
}

/// The step that slod began with: that from which on as many steps as it counted come to its bad events.
fn first_step(prometheus: &Prometheus, slod: &Slod) -> i64 {
    let page = crate::support::http(slod.address, "GET /metrics HTTP/1.0", &[], b"").body;
    let value = |prefix: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(prefix));
        line.unwrap_or_else(|| panic!("no {prefix} in\n{page}")).rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (bad, total) = (value("slo_bad_events_total{"), value("slo_events_total{"));
    let remaining = 1.0 - bad / total / 0.01;
    let published = value("slo_error_budget_remaining_ratio{");
    assert!((published - remaining).abs() < 1e-6 * remaining.abs(), "{published} is not {remaining}");

    let said = prometheus.bad_ratios();
    let sum = |steps: &[(i64, f64)]| steps.iter().map(|(_, bad)| bad).sum::<f64>();
    let mut runs = said.windows(total as usize);
    let run = runs.find(|steps| (sum(steps) - bad).abs() < 1e-9 * bad);
    run.unwrap_or_else(|| panic!("no {total} steps come to {bad}: {said:?}"))[0].0
}

#[test]
fn a_source_that_refuses_is_told_of_and_not_taken_for_no_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4_096]);
            let _ = stream.write_all(
                b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 8\r\n\r\nwho, you",
            );
        }
    });
    let slod = Slod::start(&specs(), &config(&format!("http://me:hunter2@{address}")));
    wait_until("it is asked again", || {
        slod.sum("slod_source_requests_total{outcome=\"unauthorized\"") >= 2.0
    });
    assert_eq!(slod.sum("slo_data_status{service=\"shop\",slo=\"joined\",status=\"no_series\""), 1.0);
    assert_eq!(slod.sum("slo_events_total{"), 0.0);
    let log = slod.log();
    assert!(log.contains("it refuses the credentials with status 401: who, you"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

// === impl Prometheus ===

impl Prometheus {
    fn start(directory: &Path, address: SocketAddr) -> Self {
        let prometheus = Self::spawn(directory, address, &["--web.enable-remote-write-receiver"]);
        wait_until("Prometheus is ready", || answers(address, "/-/ready"));
        prometheus
    }

    fn spawn(directory: &Path, address: SocketAddr, args: &[&str]) -> Self {
        let config = directory.join("prometheus.yml");
        std::fs::write(&config, "{}").unwrap();
        let process = Process::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
                .arg(format!("--web.listen-address={address}"))
                .args(args)
                .current_dir(directory),
            directory.join("prometheus.log"),
        );
        Self { address, process }
    }

    /// Counters whose share of errors grows all the time, so that no two runs of steps come to the same.
    fn feed(&self, now: i64) {
        let sent = |labels: &str, second: i64, value: f64| Sent {
            labels: parse_labels(labels).unwrap(),
            at: Timestamp((now + second) * 1_000),
            value,
        };
        let of_second = |second: i64| {
            let age = (second + 60) as f64;
            [
                sent("requests_total{instance=\"a\",code=\"200\"}", second, 50.0 * age),
                sent("requests_total{instance=\"a\",code=\"500\"}", second, age * age / 100.0),
                sent("build_info{instance=\"a\",version=\"1\"}", second, 1.0),
            ]
        };
        let samples: Vec<Sent> = (-60..180).flat_map(of_second).collect();
        let answer = post_write_with_length(self.address, &encode(&samples));
        assert_eq!(answer, 204);
    }

    /// What it says of each second that there are samples for.
    fn bad_ratios(&self) -> Vec<(i64, f64)> {
        let query: String = QUERY.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let now = seconds_since_epoch() as i64;
        let path = format!("/api/v1/query_range?query={query}&start={}&end={now}&step=1", now - 120);
        let answer = json(self.address, &path);
        let values = answer["data"]["result"][0]["values"].as_array().unwrap().clone();
        let step = |value: &serde_json::Value| {
            let good: f64 = value[1].as_str().unwrap().parse().unwrap();
            (value[0].as_i64().unwrap(), 1.0 - good)
        };
        values.iter().map(step).collect()
    }
}

fn post_write_with_length(address: SocketAddr, body: &[u8]) -> u16 {
    let length = format!("Content-Length: {}", body.len());
    let headers = [&write_headers()[..], &[length.as_str()]].concat();
    post_write(address, &headers, body).status
}
