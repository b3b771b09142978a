//! The real binary, asked over real sockets: what it answers, how it starts and how it ends.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    process::Command,
};

use slod::testing::compress;

use crate::support::{Slod, http, post_write, wait_until, write_headers};

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli: {type: availability, bad: 'sum(rate(errors_total[5m]))', total: 'sum(rate(requests_total[5m]))'}
  objective: {target: 99, window: 30d}
"#;

#[test]
fn the_pages_of_a_running_daemon() {
    let slod = Slod::start(SPEC, "");
    let get = |path: &str| http(slod.address, &format!("GET {path} HTTP/1.1"), &[], b"");
    assert_eq!(get("/-/healthy").status, 200);
    assert_eq!(get("/-/ready").status, 200);
    assert!(get("/").body.contains("POST /api/v1/write"));
    assert_eq!(get("/nowhere").status, 404);
    let metrics = get("/metrics");
    assert_eq!(metrics.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "slo_error_budget_remaining_ratio{service=\"api\",slo=\"availability\",window=\"30d\"} 1",
        "slo_data_status{service=\"api\",slo=\"availability\",status=\"no_series\"} 1",
        "slod_slos 1",
        "# TYPE slo_events_total counter",
        "# TYPE process_cpu_seconds_total counter",
    ] {
        assert!(metrics.body.lines().any(|found| found == line), "{line} is not in\n{}", metrics.body);
    }
    let wrong_method = http(slod.address, "GET /api/v1/write HTTP/1.1", &[], b"");
    assert_eq!((wrong_method.status, wrong_method.header("allow")), (405, "POST"));
    assert_eq!(http(slod.address, "DELETE /metrics HTTP/1.1", &[], b"").status, 405);
    assert!(http(slod.address, "HEAD /metrics HTTP/1.1", &[], b"").body.is_empty());
}

#[test]
fn every_wrong_write_request_has_its_answer() {
    let slod = Slod::start(SPEC, "limits: {decoded_bytes_max: 1000}\nweb: {body_bytes_max: 2000}\n");
    let request = compress(b"");
    let write = |headers: &[&str], body: &[u8]| {
        let answer = http(slod.address, "POST /api/v1/write HTTP/1.1", headers, body);
        (answer.status, answer.body)
    };
    let [protobuf, snappy] = ["Content-Type: application/x-protobuf", "Content-Encoding: snappy"];
    assert_eq!(write(&[protobuf, snappy], &request).0, 204);
    assert_eq!(write(&[], &request).0, 204, "both headers may be absent");
    for (header, reason) in [
        ("Content-Encoding: zstd", "content encoding \"zstd\" is not supported"),
        ("Content-Type: application/json", "content type \"application/json\" is not supported"),
        ("Content-Type: application/x-protobuf;proto=io.prometheus.write.v3.Request", "is not supported"),
        ("Content-Encoding: snappy\r\nContent-Encoding: snappy", "content-encoding is there twice"),
    ] {
        let (status, text) = write(&[header], b"not looked at");
        assert_eq!(status, 415, "{header}");
        assert!(text.contains(reason), "{text}");
    }
    for (body, reason) in [
        (&b"not snappy at all"[..], "not in snappy block format"),
        (b"", "not in snappy block format"),
        (b"\xff\xff\xff\xff\x0f\x00", "4294967295 bytes after snappy, the limit is 1000"),
        (&[0; 2_001], "the limit is 2000 (web.body_bytes_max)"),
    ] {
        let (status, text) = write(&[protobuf, snappy], body);
        assert_eq!(status, 400, "{text}");
        assert!(text.contains(reason), "{text}");
    }
    let truncated = compress(b"\x0a\x05\x00");
    assert!(write(&[], &truncated).1.contains("length beyond the end at byte 2 of 3"));
    let requests = http(slod.address, "GET /metrics HTTP/1.1", &[], b"").body;
    assert!(requests.contains("slod_ingest_requests_total{code=\"204\"} 2\n"), "{requests}");
    assert!(requests.contains("slod_ingest_requests_total{code=\"400\"} 5\n"), "{requests}");
    assert!(requests.contains("slod_ingest_requests_total{code=\"415\"} 4\n"), "{requests}");
    let log = slod.log();
    assert!(log.contains("content encoding \"zstd\" is not supported"), "{log}");
    assert!(log.contains("write request not accepted reason=body is not in snappy"), "{log}");
}

#[test]
fn only_remote_write_2_is_told_how_much_is_written() {
    const V2: &str = "Content-Type: application/x-protobuf; proto=\"io.prometheus.write.v2.Request\"";
    const SAMPLES_WRITTEN: &str = "x-prometheus-remote-write-samples-written";
    let slod = Slod::start(SPEC, "");
    let write = |headers: &[&str], body: &[u8]| {
        let answer = http(slod.address, "POST /api/v1/write HTTP/1.1", headers, body);
        (answer.status, answer.header(SAMPLES_WRITTEN).to_owned())
    };
    let empty = b"\x00";
    assert_eq!(write(&[V2], empty), (204, "0".to_owned()));
    assert_eq!(write(&[V2], b"not snappy"), (400, "0".to_owned()));
    assert_eq!(write(&[V2, "Content-Encoding: zstd"], empty), (415, "0".to_owned()));
    // Symbols "", "__name__" and "up". A sample of `up`, and one of a series of a third label.
    let request = b"\x22\x00\x22\x08__name__\x22\x02up\x2a\x08\x0a\x02\x01\x02\x12\x02\x10\x01";
    let bad_series = b"\x2a\x08\x0a\x02\x01\x03\x12\x02\x10\x01";
    assert_eq!(write(&[V2], &compress(request)), (204, "1".to_owned()));
    assert_eq!(write(&[V2], &compress(&[&request[..], bad_series].concat())), (400, "1".to_owned()));
    // The version header is none to go by.
    assert_eq!(write(&["X-Prometheus-Remote-Write-Version: 2.0.0"], empty), (204, String::new()));
    assert_eq!(write(&write_headers(), b"not snappy"), (400, String::new()));
    assert_eq!(write(&["Content-Encoding: zstd"], empty), (415, String::new()));
}

#[test]
fn a_declared_length_beyond_the_limit_is_refused_without_reading_it() {
    let slod = Slod::start(SPEC, "web: {body_bytes_max: 2000}\n");
    let answer = post_write(slod.address, &["Content-Length: 99999999999"], b"");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("99999999999 bytes, the limit is 2000"), "{}", answer.body);
}

#[test]
fn a_client_that_stalls_is_given_up_and_holds_up_nobody() {
    let slod =
        Slod::start(SPEC, "web: {read_timeout: 500ms, body_bytes_max: 1024, concurrent_bytes_max: 2048}\n");
    std::thread::scope(|scope| {
        let stall = || scope.spawn(|| post_write(slod.address, &["Content-Length: 1000"], &[b'x'; 999]));
        let stalled = [stall(), stall()];
        let busy = || post_write(slod.address, &["Content-Length: 1"], b"\x00");
        wait_until("there is no room", || busy().status == 503);
        assert_eq!(busy().header("retry-after"), "1");
        assert_eq!(http(slod.address, "GET /-/healthy HTTP/1.1", &[], b"").status, 200);
        for stalled in stalled {
            let answer = stalled.join().unwrap();
            assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
            assert!(
                answer.body.contains("did not arrive within 500ms (web.read_timeout)"),
                "{}",
                answer.body
            );
        }
    });
    assert_eq!(http(slod.address, "POST /api/v1/write HTTP/1.1", &write_headers(), b"\x00").status, 204);
}

#[test]
fn who_declares_much_and_sends_nothing_shuts_nobody_out() {
    let slod =
        Slod::start(SPEC, "web: {read_timeout: 2s, body_bytes_max: 1024, concurrent_bytes_max: 1024}\n");
    let idle: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect(slod.address).unwrap();
            let head = b"POST /api/v1/write HTTP/1.1\r\nHost: test\r\nContent-Length: 1024\r\n\r\n";
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    let answer = http(slod.address, "POST /api/v1/write HTTP/1.1", &write_headers(), b"\x00");
    assert_eq!(answer.status, 204, "{}", answer.body);
    drop(idle);
}

/// Whether the metrics have this line.
fn says(slod: &Slod, line: &str) -> bool {
    http(slod.address, "GET /metrics HTTP/1.1", &[], b"").body.lines().any(|found| found == line)
}

#[test]
fn specs_are_read_anew_at_sighup_and_when_asked() {
    let slod = Slod::start(SPEC, "web: {enable_lifecycle: true}\n");
    let specs = slod.directory.path().join("specs.yaml");
    let second = SPEC.replace("name: availability", "name: second");
    assert!(says(&slod, "slod_config_last_reload_successful 1"));
    fs::write(&specs, format!("{SPEC}---\n{second}")).unwrap();
    slod.process.signal("HUP");
    wait_until("two SLOs are in force", || says(&slod, "slod_slos 2"));
    wait_until("they are evaluated", || slod.sum("slo_objective_ratio{") > 1.9);

    let reload = |method: &str| http(slod.address, &format!("{method} /-/reload HTTP/1.1"), &[], b"");
    fs::write(&specs, format!("{SPEC}---\n{}", second.replace("target: 99", "target: 0.99"))).unwrap();
    let refused = reload("POST");
    assert_eq!(refused.status, 500);
    assert!(
        refused.body.starts_with("failed to reload config: ") && refused.body.contains("error: target 0.99")
    );
    assert!(says(&slod, "slod_config_last_reload_successful 0") && says(&slod, "slod_slos 2"));
    assert!(slod.log().contains("the SLOs in force stay, cannot reload"), "{}", slod.log());

    fs::write(&specs, SPEC).unwrap();
    let config = "specs: [specs.yaml]\nstale_after: 7m\nweb: {enable_lifecycle: true}\n";
    fs::write(slod.directory.path().join("slod.yaml"), config).unwrap();
    assert_eq!((reload("PUT").status, reload("POST").body.as_str()), (200, "specs reloaded, 1 SLOs\n"));
    assert!(says(&slod, "slod_config_last_reload_successful 1") && says(&slod, "slod_slos 1"));
    assert!(slod.log().contains("needs a restart changed=\"evaluation\""), "{}", slod.log());
    assert_eq!((reload("GET").status, reload("GET").header("allow")), (405, "POST, PUT"));
}

#[test]
fn nobody_reloads_over_http_unless_that_is_enabled() {
    let slod = Slod::start(SPEC, "");
    let answer = http(slod.address, "POST /-/reload HTTP/1.1", &[], b"");
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("start slod with --web.enable-lifecycle"), "{}", answer.body);
}

#[test]
fn sigterm_ends_it_cleanly_and_soon() {
    let mut slod = Slod::start(SPEC, "");
    slod.process.signal("TERM");
    let status = slod.process.wait();
    assert_eq!(status.code(), Some(0), "{}", slod.log());
    assert!(slod.log().contains("slod is down"), "{}", slod.log());
}

#[test]
fn a_request_under_way_at_sigterm_is_finished() {
    let mut slod = Slod::start(SPEC, "web: {body_bytes_max: 1024, concurrent_bytes_max: 1024}\n");
    let mut stream = TcpStream::connect(slod.address).unwrap();
    // A field that nobody knows, and so a request without samples.
    let body = compress(b"\x38\x01");
    let head = format!("POST /api/v1/write HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body[..1]).unwrap();
    // There is room for one small body, and this one is it once others are turned away.
    wait_until("the request is being read", || {
        post_write(slod.address, &["Content-Length: 1"], b"\x00").status == 503
    });
    slod.process.signal("TERM");
    wait_until("the listener is closed", || TcpStream::connect(slod.address).is_err());
    stream.write_all(&body[1..]).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert_eq!(slod.process.wait().code(), Some(0));
}

#[test]
fn two_daemons_do_not_share_a_data_directory() {
    let slod = Slod::start(SPEC, "");
    let second = Command::new(env!("CARGO_BIN_EXE_slod"))
        .args(["serve", "--web.listen-address", "127.0.0.1:0", "--config.file"])
        .arg(slod.directory.path().join("slod.yaml"))
        .arg("--storage.path")
        .arg(slod.directory.path().join("data"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let error = String::from_utf8_lossy(&second.stderr);
    assert!(error.contains("is in use by another slod"), "{error}");
}

#[test]
fn what_cannot_start_says_why() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("slod.yaml");
    let fails = |yaml: &str, reason: &str| {
        fs::write(&config, yaml).unwrap();
        let output = slod(&["serve", "--config.file", config.to_str().unwrap()]);
        assert_eq!(output.0, Some(1));
        assert!(output.2.contains(reason), "{}", output.2);
    };
    fails("evaluation_intervall: 1s", "unknown field `evaluation_intervall`");
    fails("web: {listen_address: '256.0.0.1:1'}", "web.listen_address \"256.0.0.1:1\" is no address");
    fails("storage: {path: /proc/slod}", "cannot use data directory /proc/slod");
    let missing = slod(&["serve", "--config.file", "/nowhere.yaml"]);
    assert!(missing.2.contains("cannot read configuration file /nowhere.yaml"), "{}", missing.2);
    assert_eq!(slod(&["serve", "--no-such-flag"]).0, Some(2));
}

#[test]
fn a_bad_spec_is_told_and_the_good_one_beside_it_is_served() {
    let specs = format!("{SPEC}---\n{}", SPEC.replace("name: availability", "nam: other"));
    let slod = Slod::start(&specs, "");
    let metrics = http(slod.address, "GET /metrics HTTP/1.1", &[], b"").body;
    assert!(metrics.contains("slod_slos 1\n") && metrics.contains("slod_spec_errors 2\n"), "{metrics}");
    assert!(slod.log().contains("unknown field `nam`, did you mean `name`?"), "{}", slod.log());
}

#[test]
fn check_judges_specs_and_prints_what_to_keep() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.yaml");
    let name = path.to_str().unwrap();
    fs::write(&path, SPEC).unwrap();
    assert_eq!(slod(&["check", name]).0, Some(0));
    let kept = slod(&["check", "--keep-list", name]).1;
    assert!(kept.contains("regex: errors_total|requests_total") && kept.contains("action: keep"), "{kept}");
    fs::write(&path, SPEC.replace("errors_total[5m]", "errors_total")).unwrap();
    let (code, _, errors) = slod(&["check", name]);
    assert_eq!(code, Some(1));
    assert!(errors.starts_with(&format!("{name}:6:")), "{errors}");
    fs::write(&path, SPEC.replace("target: 99", "target: 0.99")).unwrap();
    assert!(slod(&["check", name]).2.contains("a.yaml:7:23: error: target 0.99"));
    assert!(slod(&["check", "/nowhere"]).2.contains("/nowhere: error: no such file"));
}

/// Exit code, standard output and standard error of a command.
fn slod(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_slod")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
