//! The main job with real parts: a real Prometheus scrapes a service, remote-writes to slod, scrapes slod,
//! evaluates the rules that slod prints, and notifies a real Alertmanager.
//!
//! The service is in this process, so that the test knows every request it served. Logs of all processes
//! stay in `target/e2e-logs` for the next run to overwrite.

mod shop;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::support::{Process, Slod, answers, free_address, http, json, seconds_since_epoch, wait_until};
use shop::Shop;

const SPECS: &str = include_str!("e2e/slos.yaml");
const EVALUATED_TO: &str = "slod_evaluated_to_timestamp_seconds";

/// Everything that runs beside slod.
struct Peers {
    prometheus: SocketAddr,
    alertmanager: SocketAddr,
    processes: Vec<Process>,
}

#[test]
fn an_incident_pages_with_exact_numbers() {
    let logs = log_directory();
    let shop = Shop::start();
    let slod = Slod::start(SPECS, "evaluation_delay: 2s\ningest: {warm_up: 5s}\n");
    let peers = Peers::start(&logs, slod.directory.path(), shop.address, slod.address);
    let outcome = std::panic::catch_unwind(|| incident(&shop, &slod, &peers));
    fs::write(logs.join("slod.log"), slod.log()).unwrap();
    if let Err(panic) = outcome {
        eprintln!("logs of all processes are in {}", logs.display());
        std::panic::resume_unwind(panic);
    }
    let (mut slod, mut peers) = (slod, peers);
    peers.processes.iter_mut().for_each(Process::assert_alive);
    slod.process.signal("TERM");
    assert_eq!(slod.process.wait().code(), Some(0), "{}", slod.log());
}

fn incident(shop: &Shop, slod: &Slod, peers: &Peers) {
    // Nothing is counted before the counters have a baseline, so nothing happens before.
    let followed = || counted(slod, "baseline") + counted(slod, "zero");
    wait_until("slod follows the service", || followed() >= shop::SERIES_AT_START);
    shop.serve(0.0);
    wait_until("the service has been followed for a while", || events(slod, "availability").1 > 1_500.0);
    assert_eq!(peers.alerts(), [""; 0], "nothing fires while all is well");

    let start = seconds_since_epoch();
    shop.serve(0.5);
    wait_until("the page is at Alertmanager", || peers.alert("availability", "page").is_some());
    println!("from incident to page at Alertmanager: {:.1} s", seconds_since_epoch() - start);
    check_page(&peers.alert("availability", "page").unwrap());
    wait_until("the ticket is there too", || peers.alert("availability", "ticket").is_some());
    wait_until("the group pages too", || peers.alert("by-route", "page").is_some());
    assert_eq!(peers.alert("by-route", "page").unwrap()["labels"]["route"], "/pay");

    let end = seconds_since_epoch();
    shop.serve(0.0);
    wait_until("the page is resolved", || peers.alert("availability", "page").is_none());
    println!("from recovery to resolution at Alertmanager: {:.1} s", seconds_since_epoch() - end);

    shop.stop();
    check_counts(shop, slod);
    check_history(peers);
    let metrics = http(slod.address, "GET /metrics HTTP/1.0", &[], b"").body;
    promtool(&["check", "metrics"], metrics.as_bytes());
}

fn check_page(page: &Value) {
    for (label, value) in [
        ("alertname", "SLOErrorBudgetBurn"),
        ("slo", "availability"),
        ("service", "shop"),
        ("severity", "page"),
        ("team", "payments"),
    ] {
        assert_eq!(page["labels"][label], value, "{page}");
    }
    assert_eq!(page["annotations"]["runbook_url"], "https://runbooks.example.com/shop", "{page}");
    let description = page["annotations"]["description"].as_str().unwrap();
    println!("description: {description}");
    for part in ["Burn rate over 1m: ", ", over 5s: ", "Error budget left: "] {
        assert!(description.contains(part), "{description}");
    }
}

/// What fired since the start, as Prometheus recorded it: the incident, and nothing else.
fn check_history(peers: &Peers) {
    let fired = |matchers: &str| {
        let firing = format!("count_over_time(ALERTS{{alertstate=\"firing\",{matchers}}}[10m])");
        peers.query(&firing).as_array().unwrap().clone()
    };
    // That the query finds what there is.
    assert_eq!(fired(r#"slo="availability",severity="page""#).len(), 1);
    let well = [
        r#"slo="healthy""#,
        r#"slo="latency""#,
        r#"slo="by-route",route="/browse""#,
        r#"alertname!="SLOErrorBudgetBurn""#,
    ];
    for matchers in well {
        assert_eq!(fired(matchers), [Value::Null; 0], "{matchers} never fires");
    }
}

/// Once the last scrape has arrived, every event is counted, and none twice.
fn check_counts(shop: &Shop, slod: &Slod) {
    let truth = shop.counts();
    assert!(truth.bad > 100 && truth.slow > 10, "the incident was one: {truth:?}");
    let expected = [
        ("availability", (truth.bad, truth.requests)),
        ("latency", (truth.slow, truth.requests)),
        ("healthy", (0, truth.healthy)),
        ("by-route /pay", (truth.bad, truth.pay_ok + truth.bad)),
        ("by-route /browse", (0, truth.browse_ok)),
    ]
    .map(|(slo, (bad, all))| (slo, (bad as f64, all as f64)));
    for (slo, counts) in expected {
        let what = format!("all events of {slo} are counted: {counts:?}");
        wait_until(&what, || events(slod, slo) == counts);
    }
    // An event counted twice would show itself with the scrapes that follow.
    let settled = seconds_since_epoch() + 3.0;
    wait_until("later scrapes are evaluated", || series(slod, EVALUATED_TO) > settled);
    for (slo, counts) in expected {
        assert_eq!(events(slod, slo), counts, "{slo}");
        check_budget(slod, slo, counts);
    }
}

fn check_budget(slod: &Slod, slo: &str, (bad, all): (f64, f64)) {
    let budget = 1.0 - (bad / all) / (1.0 - 0.999);
    let published = series(slod, &format!("slo_error_budget_remaining_ratio{{{}", selector(slo)));
    println!("{slo}: {bad} of {all} events bad, budget {published}");
    assert!((published - budget).abs() <= 1e-9 * budget.abs().max(1.0), "{published} is not {budget}");
}

/// Bad and all events that slod has counted for an SLO, or for the route named after it.
fn events(slod: &Slod, slo: &str) -> (f64, f64) {
    let of = |family: &str| series(slod, &format!("{family}{{{}", selector(slo)));
    (of("slo_bad_events_total"), of("slo_events_total"))
}

fn selector(slo: &str) -> String {
    match slo.split_once(' ') {
        None => format!("service=\"shop\",slo=\"{slo}\""),
        Some((slo, route)) => format!("route=\"{route}\",service=\"shop\",slo=\"{slo}\""),
    }
}

fn counted(slod: &Slod, outcome: &str) -> usize {
    series(slod, &format!("slod_ingest_samples_total{{outcome=\"{outcome}\"")) as usize
}

/// The value of the first series whose text begins so.
fn series(slod: &Slod, prefix: &str) -> f64 {
    let page = http(slod.address, "GET /metrics HTTP/1.0", &[], b"").body;
    let line = page.lines().find(|line| line.starts_with(prefix));
    let line = line.unwrap_or_else(|| panic!("no series {prefix} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn log_directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/e2e-logs");
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Runs promtool on an input, and fails with what it says.
fn promtool(args: &[&str], input: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("input");
    fs::write(&file, input).unwrap();
    let output = Command::new("promtool").args(args).stdin(fs::File::open(file).unwrap()).output();
    let output = output.expect("cannot start promtool; `make test-deps` installs what tests need");
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "promtool {args:?}: {said}");
}

// === impl Peers ===

impl Peers {
    fn start(logs: &Path, directory: &Path, shop: SocketAddr, slod: SocketAddr) -> Self {
        let (prometheus, alertmanager) = (free_address(), free_address());
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        write("slod.rules.yml", &printed_by_slod(&["rules"]));
        let specs = directory.join("specs.yaml").display().to_string();
        let alertmanager_config = write("alertmanager.yml", include_str!("e2e/alertmanager.yml"));
        let text = include_str!("e2e/prometheus.yml")
            .replace("SHOP", &shop.to_string())
            .replace("SLOD", &slod.to_string())
            .replace("ALERTMANAGER", &alertmanager.to_string())
            .replace("KEEP_LIST\n", &indented(&printed_by_slod(&["check", "--keep-list", &specs])));
        let prometheus_config = write("prometheus.yml", &text);
        let data = |name: &str| directory.join(name).display().to_string();
        let processes = vec![
            Process::start(
                Command::new("prometheus-alertmanager")
                    .arg(format!("--config.file={alertmanager_config}"))
                    .arg(format!("--storage.path={}", data("alertmanager")))
                    .arg(format!("--web.listen-address={alertmanager}"))
                    .arg("--cluster.listen-address="),
                logs.join("alertmanager.log"),
            ),
            Process::start(
                Command::new("prometheus")
                    .arg(format!("--config.file={prometheus_config}"))
                    .arg(format!("--storage.tsdb.path={}", data("prometheus")))
                    .arg(format!("--web.listen-address={prometheus}")),
                logs.join("prometheus.log"),
            ),
        ];
        wait_until("Alertmanager is ready", || answers(alertmanager, "/-/ready"));
        wait_until("Prometheus is ready", || answers(prometheus, "/-/ready"));
        Self { prometheus, alertmanager, processes }
    }

    /// The active alert of an SLO at Alertmanager.
    fn alert(&self, slo: &str, severity: &str) -> Option<Value> {
        let alerts = json(self.alertmanager, "/api/v2/alerts?active=true");
        let is_it = |alert: &&Value| {
            let labels = &alert["labels"];
            labels["alertname"] == "SLOErrorBudgetBurn"
                && labels["slo"] == slo
                && labels["severity"] == severity
        };
        alerts.as_array().unwrap().iter().find(is_it).cloned()
    }

    /// The names of all active alerts.
    fn alerts(&self) -> Vec<String> {
        let alerts = json(self.alertmanager, "/api/v2/alerts?active=true");
        alerts.as_array().unwrap().iter().map(|alert| alert["labels"].to_string()).collect()
    }

    fn query(&self, promql: &str) -> Value {
        let escaped: String = promql.bytes().map(|byte| format!("%{byte:02X}")).collect();
        json(self.prometheus, &format!("/api/v1/query?query={escaped}"))["data"]["result"].clone()
    }
}

fn printed_by_slod(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_slod")).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// As a person pastes it below `- url:`.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}\n")).collect()
}
