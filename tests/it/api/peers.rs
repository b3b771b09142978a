//! The real binary, asked by promtool, beside a real Prometheus that scrapes it, which is asked the same.

use std::{collections::BTreeSet, fs, net::SocketAddr, process::Command};

use serde_json::Value;
use slod::{dashboards, testing::parse_labels};

use crate::{
    shop::{SPEC, Shop},
    support::{Process, Slod, answers, free_address, http, json, wait_until},
};

/// Slod with a service that has failed, until the page fires.
fn failed() -> Slod {
    let slod = Slod::start(SPEC, "evaluation_delay: 0s\ningest: {warm_up: 0s}\n");
    let mut shop = Shop::new(slod.address);
    shop.deliver();
    shop.fail_until_paged(&slod);
    slod
}

#[track_caller]
fn promtool(args: &[&str]) -> String {
    let output = Command::new("promtool")
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("cannot run promtool ({error}); install it: make test-deps"));
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(output.status.success(), "promtool {args:?}:\n{said}");
    said
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The elements that a server answers a query with.
fn query(address: SocketAddr, query: &str) -> Vec<Value> {
    let answer = json(address, &format!("/api/v1/query?query={}", escaped(query)));
    answer["data"]["result"].as_array().cloned().unwrap_or_else(|| panic!("{query}: {answer}"))
}

#[test]
fn promtool_asks_slod() {
    let slod = failed();
    let server = format!("http://{}", slod.address);
    let page = r#"slo_alert_state{slo="availability"}"#;
    let instant = promtool(&["query", "instant", &server, page]);
    assert!(
        instant.contains(r#"slo_alert_state{service="shop", severity="page", slo="availability"} => 2"#),
        "{instant}"
    );
    let summed = promtool(&["query", "instant", &server, "1 + 1"]);
    assert!(summed.starts_with("scalar: 2"), "{summed}");
    let range =
        promtool(&["query", "range", "--step=5s", &server, "max by (slo) (slo_burn_rate{window=\"1m\"})"]);
    assert!(range.contains(r#"{slo="availability"} =>"#), "{range}");
    let series = promtool(&["query", "series", "--match=slo_info", &server]);
    assert!(series.contains(r#"slo="availability""#), "{series}");
    let services = promtool(&["query", "labels", &server, "service"]);
    assert_eq!(services.trim(), "shop");
    let alerts = json(slod.address, "/api/v1/alerts");
    assert_eq!(alerts["data"]["alerts"][0]["state"], "firing", "{alerts}");
}

#[test]
fn the_api_and_the_page_have_the_same_series() {
    let slod = failed();
    let page = http(slod.address, "GET /metrics HTTP/1.0", &[], b"").body;
    let of_page = page.lines().filter(|line| line.starts_with("slo_"));
    let of_page: BTreeSet<_> =
        of_page.map(|line| parse_labels(line.rsplit_once(' ').unwrap().0).unwrap().to_string()).collect();
    let found = query(slod.address, "{__name__=~\"slo_.+\"}");
    let labels = |element: &Value| {
        let pairs = element["metric"].as_object().unwrap().iter();
        slod::labels::Labels::new(pairs.map(|(name, value)| (name, value.as_str().unwrap())))
            .unwrap()
            .to_string()
    };
    assert!(found.len() > 500, "{}", found.len());
    assert_eq!(found.iter().map(labels).collect::<BTreeSet<_>>(), of_page);
    // And the same values, where nothing moves.
    for (series, value) in [("slo_objective_ratio", 0.99), ("slo_window_coverage_ratio", f64::NAN)] {
        let line = page.lines().find(|line| line.starts_with(series)).unwrap();
        let published: f64 = line.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(value.is_nan() || published == value, "{line}");
    }
}

#[test]
fn requests_have_bounds() {
    let slod = Slod::start(SPEC, "");
    let ask = |line: &str, headers: &[&str], body: &[u8]| http(slod.address, line, headers, body);
    let form = "Content-Type: application/x-www-form-urlencoded";
    let posted = ask("POST /api/v1/query HTTP/1.1", &[form], b"query=1%2B1&time=4");
    assert_eq!((posted.status, posted.header("content-type")), (200, "application/json"));
    assert_eq!(posted.body, r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#);
    let refused = ask("GET /api/v1/query?query=rate(x[5m]) HTTP/1.1", &[], b"");
    assert_eq!(refused.status, 400, "{}", refused.body);
    assert!(
        refused.body.starts_with(r#"{"status":"error","errorType":"bad_data","error":"#),
        "{}",
        refused.body
    );
    let large = vec![b'x'; 300 << 10];
    assert_eq!(ask("POST /api/v1/query HTTP/1.1", &[form], &large).status, 400);
    assert_eq!(ask("POST /api/v1/query HTTP/1.1", &["Content-Type: text/plain"], b"query=1").status, 415);
    assert_eq!(ask("DELETE /api/v1/query HTTP/1.1", &[], b"").status, 405);
    assert_eq!(ask("GET /api/v1/nothing HTTP/1.1", &[], b"").status, 404);
}

#[test]
fn every_panel_shows_something() {
    let slod = failed();
    let (prometheus, directory) = (free_address(), slod.directory.path());
    let config = format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n- job_name: slod\n  honor_labels: true\n  \
         static_configs: [{{targets: [\"{}\"]}}]\n",
        slod.address
    );
    fs::write(directory.join("prometheus.yml"), config).unwrap();
    let mut process = Process::start(
        Command::new("prometheus")
            .arg(format!("--config.file={}", directory.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("prometheus").display()))
            .arg(format!("--web.listen-address={prometheus}")),
        directory.join("prometheus.log"),
    );
    wait_until("Prometheus is ready", || answers(prometheus, "/-/ready"));
    let mut asked_slod = 0;
    for dashboard in dashboards::all() {
        for template in dashboard.queries() {
            let text = template
                .replace("$service", "shop")
                .replace("$slo", "availability")
                .replace("$window", "1m")
                .replace("$__rate_interval", "20s");
            let has_data = |address| !query(address, &text).is_empty();
            wait_until(&format!("Prometheus has data for {text}"), || {
                process.assert_alive();
                has_data(prometheus)
            });
            if !text.contains('[') {
                assert!(has_data(slod.address), "slod has data for {text}");
                asked_slod += 1;
            }
        }
    }
    assert!(asked_slod > 20, "{asked_slod}");
}
