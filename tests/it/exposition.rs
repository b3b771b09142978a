//! The page of a report: what is on it, in which form, and that nothing is made twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use slod::{
    exposition::{self, Config, Dialect, Encoding, Format, Moment, Pages, Renderer, Wanted},
    report::Report,
    spec,
    telemetry::Telemetry,
    testing::{Sent, World, parse_labels},
    time::Timestamp,
};

use crate::support::Slod;

const START: Timestamp = Timestamp(1_700_006_400_000);
const STEP: Duration = Duration::from_secs(15);

/// A grouped SLO with all that a spec may say, and one of Sloth's.
const SPECS: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata:
  name: fast
  service: shop
  labels: {tier: "1", team: sre}
  annotations: {runbook_url: "http://r/\"x\"", route: x}
spec:
  description: "a\nb \\ c"
  sli:
    type: availability
    query: sum by (route) (rate(requests_total{code!~"5.."}[5m])) / sum by (route) (rate(requests_total[5m]))
  objective: {target: 99.9, window: 30d}
---
version: prometheus/v1
service: back-office
labels: {owner: web, service: mine}
slos:
  - name: reports
    objective: 99.5
    sli:
      events:
        error_query: sum(rate(requests_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(requests_total[{{.window}}]))
    alerting:
      name: Reports
      labels: {owner: others, route_to: web}
      ticket_alert: {labels: {severity: mail}}
---
apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: fast, namespace: catalog, labels: {pyrra.dev/team: sre}}
spec:
  target: "99"
  window: 2w
  indicator:
    ratio:
      errors: {metric: 'requests_total{code=~"5.."}'}
      total: {metric: 'requests_total'}
"#;

fn report_of(specs: &str) -> Arc<Report> {
    let specs = spec::read_all([("specs.yaml", specs)], &spec::Settings::default());
    assert!(!specs.has_errors(), "{:?}", specs.diagnostics);
    let mut world = World::immediate(specs.slos, Duration::from_secs(1), START);
    let mut at = START;
    for step in 0..20 {
        for (route, per_step) in [("/a", 150.0), ("/b\\", 10.0)] {
            let sent =
                [("200", f64::from(step) * per_step), ("500", f64::from(step / 4))].map(|(code, value)| {
                    let labels =
                        [("__name__", "requests_total"), ("job", "shop"), ("code", code), ("route", route)];
                    Sent { labels: slod::labels::Labels::new(labels).unwrap(), at, value }
                });
            world.send(&sent, at).unwrap();
        }
        world.tick(at);
        at = at + STEP;
    }
    world.tick(at)
}

fn compat() -> Config {
    Config { compat: BTreeSet::from([Dialect::Sloth, Dialect::Pyrra]), ..Config::default() }
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn page(report: &Report, config: Config, format: Format) -> String {
    let slos = Renderer::new(config).render(report, format).concat();
    String::from_utf8(slos).unwrap() + &exposition::about_slod(&[], format)
}

/// The series of a page with the value of each; fails if one is there twice.
fn series(page: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let labels = parse_labels(series).unwrap_or_else(|error| panic!("{line}: {error}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert_eq!(found.insert(labels.to_string(), value), None, "twice: {line}");
    }
    found
}

#[test]
fn the_page_of_slos_of_each_kind() {
    insta::assert_snapshot!("page", page(&report_of(SPECS), Config::default(), Format::Text));
}

#[test]
fn the_series_of_sloth_and_pyrra() {
    let page = page(&report_of(SPECS), compat(), Format::Text);
    let compat: Vec<&str> = page
        .lines()
        .filter(|line| ["slo:", "sloth_", "pyrra_"].iter().any(|prefix| line.starts_with(prefix)))
        .collect();
    insta::assert_snapshot!("compat", compat.join("\n"));
}

#[test]
fn slos_that_collide_in_pyrra_are_told_apart() {
    let one = SPECS.split("---").last().unwrap();
    let other = one.replace("catalog", "search").replace("\"99\"", "\"98\"");
    let report = report_of(&format!("{one}---{other}"));
    let all = series(&page(&report, compat(), Format::Text));
    let objectives: Vec<&String> = all.keys().filter(|series| series.contains("pyrra_objective")).collect();
    assert!(
        objectives[0].contains("namespace=\"catalog\"") && objectives[1].contains("namespace=\"search\"")
    );
}

#[test]
fn open_metrics_says_what_the_text_says() {
    let report = report_of(SPECS);
    let (text, open) = (page(&report, compat(), Format::Text), page(&report, compat(), Format::OpenMetrics));
    assert_eq!(series(&text), series(&open));
    assert!(open.ends_with("\n# EOF\n") && open.matches("# EOF").count() == 1);
    let comments: Vec<&str> =
        open.lines().filter(|line| line.starts_with("# ") && !line.starts_with("# HELP")).collect();
    insta::assert_snapshot!("openmetrics", comments.join("\n"));
}

#[test]
fn what_is_visited_is_what_is_on_the_page() {
    let report = report_of(SPECS);
    let mut visited = BTreeMap::new();
    exposition::visit(&report, &compat(), |name, labels, value| {
        assert!(labels.is_sorted(), "{labels:?}");
        let labels = slod::labels::Labels::new(labels.iter().copied().chain([("__name__", name)])).unwrap();
        visited.insert(labels.to_string(), value);
    });
    assert_eq!(series(&page(&report, compat(), Format::Text)), visited);
}

#[test]
fn families_and_labels_are_left_out_as_told_and_identities_stay() {
    let report = report_of(SPECS);
    let config = Config {
        excluded: names(&["slo_info", "slo:sli_error:ratio_rate", "slo_burn_rate"]),
        labels: Some(names(&["tier"])),
        ..compat()
    };
    let found = series(&page(&report, config, Format::Text));
    let all = series(&page(&report, compat(), Format::Text));
    let has = |text: &str| found.keys().any(|series| series.contains(text));
    let left_out = ["\"slo_info\"", "\"slo:sli_error:ratio_rate", "\"slo_burn_rate\""];
    assert!(!left_out.into_iter().any(has), "{found:?}");
    assert!(!has("team=") && !has("owner=") && !has("route_to="), "{found:?}");
    assert!(has("tier=\"1\"") && has("route=\"/a\"") && has("severity=\"mail\""));
    let kept = |series: &&String| !left_out.iter().any(|name| series.contains(name));
    assert_eq!(found.len(), all.keys().filter(kept).count(), "only labels are missing, no series");
}

#[test]
fn metrics_about_slod_itself_are_right_in_both_formats() {
    let telemetry = Telemetry::new();
    telemetry.ingest.request_duration.record(Duration::from_millis(5));
    telemetry.ingest.requests.with_label_values(&["204"]).inc();
    let render = |format| exposition::about_slod(&telemetry.gather(), format);
    let (text, open) = (render(Format::Text), render(Format::OpenMetrics));
    assert_eq!(series(&text).keys().collect::<Vec<_>>(), series(&open).keys().collect::<Vec<_>>());
    assert!(
        text.contains(
            "# TYPE slod_ingest_requests_total counter\nslod_ingest_requests_total{code=\"204\"} 1\n"
        )
    );
    assert!(
        open.contains("# TYPE slod_ingest_requests counter\nslod_ingest_requests_total{code=\"204\"} 1\n")
    );
    assert!(open.contains("# UNIT slod_ingest_request_duration_seconds seconds\n"), "{open}");
}

#[test]
fn a_page_is_made_once_for_all_who_ask_and_its_memory_is_used_again() {
    let (pages, report) = (Pages::new(Config::default()), report_of(SPECS));
    let mut made = 0;
    let mut ask = |evaluation, seconds, encoding| {
        let moment = Moment { evaluation, now: Duration::from_secs(seconds) };
        let wanted = Wanted { format: Format::Text, encoding };
        let report = || {
            made += 1;
            Arc::clone(&report)
        };
        pages.page(moment, wanted, report, Vec::new)
    };
    let first = ask(1, 0, Encoding::Identity);
    let again = ask(1, 1, Encoding::Identity);
    assert!(Arc::ptr_eq(&first.chunks, &again.chunks));
    let gzip = ask(1, 1, Encoding::Gzip);
    assert!(Arc::ptr_eq(&gzip.chunks, &ask(1, 2, Encoding::Gzip).chunks));
    let place = first.chunks[0].as_ptr();
    drop((first, again));
    let next = ask(2, 2, Encoding::Identity);
    assert_eq!(next.chunks[0].as_ptr(), place, "the memory of the page before");
    // As time passes it is packed anew, because slod's metrics about itself go on.
    let packed = [2, 3, 60].map(|seconds| ask(2, seconds, Encoding::Gzip).chunks);
    assert!(Arc::ptr_eq(&packed[0], &packed[1]) && !Arc::ptr_eq(&packed[1], &packed[2]));
    // Readers that take their time hold pages, of which there are few.
    let held: Vec<_> = (3..20).map(|evaluation| ask(evaluation, 60, Encoding::Identity)).collect();
    let addresses: BTreeSet<_> = held.iter().map(|page| Arc::as_ptr(&page.chunks)).collect();
    assert!(addresses.len() <= 4, "{} pages", addresses.len());
    drop((next, held));
    ask(30, 61, Encoding::Identity);
    assert!(made < 10, "{made}");
    assert_eq!(Arc::strong_count(&report), 1, "nobody holds a report");
}

#[test]
fn what_is_packed_is_the_page() {
    let (pages, report) = (Pages::new(compat()), report_of(SPECS));
    let ask = |encoding| {
        let moment = Moment { evaluation: 1, now: Duration::ZERO };
        let page =
            pages.page(moment, Wanted { format: Format::Text, encoding }, || Arc::clone(&report), Vec::new);
        page.chunks.concat()
    };
    let plain = ask(Encoding::Identity);
    let mut gunzipped = Vec::new();
    let gzip = ask(Encoding::Gzip);
    flate2::read::GzDecoder::new(gzip.as_slice()).read_to_end(&mut gunzipped).unwrap();
    assert!(gunzipped == plain);
    assert!(zstd::decode_all(ask(Encoding::Zstd).as_slice()).unwrap() == plain);
}

/// The head and the body of an answer.
fn get(slod: &Slod, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(slod.address).unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200") && head.contains(&format!("content-length: {}\r", body.len())),
        "{head}"
    );
    assert!(head.contains("vary: Accept, Accept-Encoding"), "{head}");
    (head, body)
}

#[test]
fn a_scraper_gets_what_it_asks_for() {
    let slod = Slod::start(SPECS, "exposition: {compat: [sloth], families: {exclude: [slo_info]}}\n");
    let (head, body) = get(&slod, "");
    assert!(
        head.contains("content-type: text/plain; version=0.0.4; charset=utf-8")
            && !head.contains("content-encoding")
    );
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains("sloth_slo_info{") && !text.contains("\nslo_info{"));
    assert!(text.contains("\nslod_build_info{"));
    let open =
        "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\nAccept-Encoding: gzip\r\n";
    let (head, body) = get(&slod, open);
    assert!(
        head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
        "{head}"
    );
    assert!(head.contains("content-encoding: gzip"), "{head}");
    let mut text = String::new();
    flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
    assert!(text.ends_with("# EOF\n") && text.contains("# TYPE slod_evaluations counter\n"));
    let (head, body) = get(&slod, "Accept-Encoding: gzip, zstd\r\n");
    assert!(head.contains("content-encoding: zstd"), "{head}");
    assert!(zstd::decode_all(body.as_slice()).unwrap().starts_with(b"# HELP slo_"));
}
