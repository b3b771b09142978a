//! `slod backtest` as the real binary, from files and from a real Prometheus: the same history gives the same report.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use slod::{
    labels::Labels,
    testing::{Sent, encode, encode_v2},
    time::Timestamp,
};
use tempfile::TempDir;

use crate::support::{Process, Slod, answers, free_address, http, wait_until};

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    bad: sum(rate(http_requests_total{code=~"5.."}[5m]))
    total: sum(rate(http_requests_total[5m]))
  objective: {target: 99.9, window: 30d}
"#;

// Some time in 2026, far from any other data.
const START_S: i64 = 1_780_000_200;
const MINUTES: i64 = 600;

struct Files {
    directory: TempDir,
}

/// What the counter of a code shows, minute by minute.
fn values(code: &str) -> impl Iterator<Item = u32> {
    let is_failure = code == "500";
    (0..MINUTES).scan(0, move |value, minute| {
        let shown = *value;
        *value += if (300..320).contains(&minute) == is_failure { 600 } else { 0 };
        Some(shown)
    })
}

// === impl Files ===

impl Files {
    /// Ten hours of a service that fails altogether for 20 minutes after five of them.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut history = "# TYPE http_requests counter\n".to_owned();
        for code in ["200", "500"] {
            for (minute, value) in values(code).enumerate() {
                let at = START_S + minute as i64 * 60;
                history += &format!("http_requests_total{{code=\"{code}\",instance=\"a\"}} {value} {at}\n");
            }
        }
        fs::write(directory.path().join("slo.yaml"), SPEC).unwrap();
        fs::write(directory.path().join("history.txt"), history + "# EOF\n").unwrap();
        let incidents = format!("start,end,name\n{},{},outage\n", START_S + 18_000, START_S + 19_200);
        fs::write(directory.path().join("incidents.csv"), incidents).unwrap();
        Self { directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Exit code, standard output and standard error of a replay.
    fn backtest(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_slod"))
            .current_dir(self.directory.path())
            .args(["backtest", "slo.yaml"])
            .args(args)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// The report, without what differs from run to run.
    fn report(&self, args: &[&str]) -> serde_json::Value {
        let (code, found, errors) = self.backtest(&[args, &["--format", "json"]].concat());
        assert_eq!((code, errors.as_str()), (0, ""), "{found}");
        let mut report: serde_json::Value = serde_json::from_str(&found).unwrap();
        report.as_object_mut().unwrap().remove("run");
        report
    }
}

#[test]
fn files_of_both_kinds_and_a_prometheus_give_the_same_report() {
    let files = Files::new();
    let incidents = ["--incidents", "incidents.csv"];
    let of_file = files.report(&[&["--openmetrics", "history.txt"], &incidents[..]].concat());
    assert_eq!(of_file["samples"], 2 * MINUTES);
    let page = &of_file["scores"][0];
    assert_eq!((page["severity"].as_str(), page["recall"].as_f64()), (Some("page"), Some(1.0)), "{of_file}");
    assert!(page["detection_max_seconds"].as_f64().unwrap() <= 120.0, "{of_file}");

    let blocks = files.path("blocks");
    promtool(&["create-blocks-from", "openmetrics"], &[&files.path("history.txt"), &blocks]);
    // It reads the log of the newest samples, too, and wants it to be there.
    fs::create_dir(blocks.join("wal")).unwrap();
    let dump = promtool(&["dump"], &[&blocks]);
    fs::write(files.path("dump.txt"), dump).unwrap();
    let of_dump = files.report(&[&["--tsdb-dump", "dump.txt"], &incidents[..]].concat());
    assert_eq!(of_dump, of_file);

    let config = files.path("prometheus.yml");
    fs::write(&config, "{}").unwrap();
    let address = free_address();
    let mut command = Command::new("prometheus");
    command.args([
        format!("--config.file={}", config.display()),
        format!("--storage.tsdb.path={}", blocks.display()),
        "--storage.tsdb.retention.time=30y".to_owned(),
        format!("--web.listen-address={address}"),
    ]);
    let _prometheus = Process::start(&mut command, files.path("log"));
    wait_until("prometheus is ready", || answers(address, "/-/ready"));
    let (url, from, to) = (
        format!("http://{address}"),
        (START_S - 5_000).to_string(),
        (START_S + (MINUTES - 1) * 60).to_string(),
    );
    let of_source =
        files.report(&[&["--source", &url, "--from", &from, "--to", &to], &incidents[..]].concat());
    assert_eq!(of_source, of_file);
}

#[test]
fn the_log_of_a_running_slod_gives_the_same_report() {
    let files = Files::new();
    let slod = Slod::start(SPEC, "");
    for (minute, values) in values("200").zip(values("500")).enumerate() {
        let at = Timestamp((START_S + minute as i64 * 60) * 1_000);
        let sent = |code: &str, value: u32| {
            let labels = [("__name__", "http_requests_total"), ("code", code), ("instance", "a")];
            Sent { labels: Labels::new(labels).unwrap(), at, value: value.into() }
        };
        // Every other one by the other version.
        let sent = [sent("200", values.0), sent("500", values.1)];
        let (body, version) = match minute % 2 {
            0 => (encode(&sent), "application/x-protobuf"),
            _ => (encode_v2(&sent), "application/x-protobuf;proto=io.prometheus.write.v2.Request"),
        };
        let content_type = format!("Content-Type: {version}");
        let answer = http(slod.address, "POST /api/v1/write HTTP/1.1", &[&content_type], &body);
        assert_eq!(answer.status, 204, "{}", answer.body);
    }
    let data = slod.directory.path().join("data").display().to_string();
    assert_eq!(files.report(&["--log", &data]), files.report(&["--openmetrics", "history.txt"]));
    let (code, _, errors) = files.backtest(&["--log", "nowhere"]);
    assert_eq!(code, 1);
    assert!(errors.contains("there is no log in nowhere; it is the directory of storage.path"), "{errors}");
}

/// What promtool prints.
fn promtool(args: &[&str], paths: &[&Path]) -> Vec<u8> {
    let output = Command::new("promtool").arg("tsdb").args(args).args(paths).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn what_cannot_be_done_is_told() {
    let files = Files::new();
    fs::write(files.path("empty.txt"), "").unwrap();
    fs::write(files.path("wrong.csv"), "start,end\n2,1\n").unwrap();
    fs::write(files.path("other.csv"), "start,end,slo\n1,2,checkout\n").unwrap();
    #[track_caller]
    fn check(files: &Files, args: &[&str], code: i32, expected: &str) {
        let (found, _, errors) = files.backtest(args);
        assert_eq!(found, code, "{args:?}: {errors}");
        assert!(errors.contains(expected), "{args:?}: {errors}");
    }
    let history = ["--openmetrics", "history.txt"];
    let with = |args: &[&'static str]| [&history[..], args].concat();
    check(&files, &[], 2, "--openmetrics <FILE>");
    check(&files, &["--openmetrics", "nowhere"], 1, "cannot read history from nowhere");
    check(&files, &["--openmetrics", "empty.txt"], 1, "the history has no samples");
    check(&files, &["--source", "http://127.0.0.1:1"], 1, "--source needs --from");
    check(&files, &["--source", "--from", "1h"], 1, "the configuration file has no sources");
    check(&files, &with(&["--slo", "checkout"]), 1, "no SLO is called \"checkout\"");
    check(&files, &with(&["--evaluation-interval", "1500ms"]), 1, "it must be a multiple of the resolution");
    check(&files, &with(&["--from", "2h", "--to", "3h"]), 1, "--from is not before --to");
    check(&files, &with(&["--incidents", "wrong.csv"]), 1, "wrong.csv:2: the incident ends at 1");
    check(&files, &with(&["--incidents", "other.csv"]), 1, "is about SLO \"checkout\", and no spec has it");
}
