//! `slod check --live` against a real Prometheus that scrapes itself.

use std::{fs, net::SocketAddr, path::Path, process::Command};

use crate::support::{Process, answers, free_address, json, wait_until};

const SPEC: &str = "apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: NAME, service: prometheus}
spec:
  sli: {bad: 'sum(rate(BAD[5m]))', total: 'sum(rate(TOTAL[5m]))'}
  objective: {target: 99, window: 30d}
";

fn start(directory: &Path) -> (Process, SocketAddr) {
    let address = free_address();
    let config = directory.join("prometheus.yml");
    let targets = format!("static_configs: [{{targets: ['{address}']}}]");
    let text = format!("global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: itself\n  {targets}\n");
    fs::write(&config, text).unwrap();
    let process = Process::start(
        Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}")),
        directory.join("prometheus.log"),
    );
    wait_until("Prometheus has scraped itself", || {
        answers(address, "/-/ready")
            && !json(address, "/api/v1/query?query=prometheus_http_requests_total")["data"]["result"]
                .as_array()
                .unwrap()
                .is_empty()
    });
    (process, address)
}

/// Exit code, standard output and standard error.
fn check(url: &str, specs: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slod"));
    let output = command.args(["check", "--live", url]).arg(specs).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn selectors_without_series_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (_process, address) = start(directory.path());
    let slo = |name: &str, bad: &str, total: &str| {
        SPEC.replace("NAME", name).replace("BAD", bad).replace("TOTAL", total)
    };
    let all = "prometheus_http_requests_total";
    let specs = [
        slo("fine", &format!("{all}{{handler=\"/-/ready\"}}"), all),
        slo("misspelt", &format!("{all}{{code=~\"6..\"}}"), "prometheus_http_request_total"),
        slo(
            "other-job",
            &format!("{all}{{job=\"itslef\",code=\"999\"}}"),
            &format!("{all}{{job=\"itslef\"}}"),
        ),
    ];
    let path = directory.path().join("specs.yaml");
    fs::write(&path, specs.join("---\n")).unwrap();

    let (code, found, problems) = check(&format!("http://{address}"), &path);
    assert_eq!(code, 0, "{problems}");
    assert!(found.ends_with("3 SLOs, 0 errors, 4 warnings\n"), "{found}");
    let expected = [
        "10:18: warning: SLO prometheus/misspelt: prometheus_http_request_total has no series in the last 1h; there is no \
         metric prometheus_http_request_total (did you mean prometheus_http_requests_total?)",
        "10:18: warning: SLO prometheus/misspelt: prometheus_http_requests_total{code=~\"6..\"} has no series in the last \
         1h; no prometheus_http_requests_total has code=~\"6..\"; that is right if nothing was bad",
        "17:18: warning: SLO prometheus/other-job: prometheus_http_requests_total{job=\"itslef\"} has no series in the \
         last 1h; no prometheus_http_requests_total has job=\"itslef\" (did you mean itself?)",
    ];
    for expected in expected {
        assert!(problems.contains(&format!("specs.yaml:{expected}\n")), "{expected}\n{problems}");
    }
}

#[test]
fn a_server_that_cannot_be_asked_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("specs.yaml");
    fs::write(&path, SPEC.replace("BAD", "a").replace("TOTAL", "b")).unwrap();
    let (code, _, problems) = check(&format!("http://user:secret@{}", free_address()), &path);
    assert_eq!(code, 1, "{problems}");
    assert!(problems.contains("cannot reach it") && !problems.contains("secret"), "{problems}");
    let (code, _, problems) = check("localhost", &path);
    assert_eq!(code, 1, "{problems}");
    assert!(problems.contains("cannot use the URL of --live"), "{problems}");
}
