//! Documents of Sloth in, plans and diagnostics out. Good ones and diagnostics are golden files; most of the latter
//! are edits of a good document.

use std::{fmt::Write as _, time::Duration};

use crate::{
    slo::{Indicator, Slo},
    spec::{Diagnostic, Settings, Specs, read, read_all},
};

const V1: &str = r#"version: "prometheus/v1"
service: shop
labels: {team: till, tier: 2}
slos:
  - name: checkout-availability
    objective: 99.5
    description: "Orders that are taken."
    labels: {tier: 1, generated: true}
    sli:
      events:
        error_query: sum(rate(orders_total{code=~"5.."}[{{.window}}]))
        total_query: sum(rate(orders_total[{{ .window }}]))
    alerting:
      name: CheckoutFails
      labels: {category: availability}
      annotations: {runbook_url: "https://run.example/checkout"}
      page_alert:
        labels: {severity: wakeup}
      ticket_alert:
        labels: {queue: till}
        annotations: {hint: "look at the queue"}
"#;

const RESOURCE: &str = r#"apiVersion: sloth.slok.dev/v1
kind: PrometheusServiceLevel
metadata:
  name: shop-slos
  namespace: monitoring
  labels: {release: prometheus}
spec:
  service: shop
  labels: {team: till, tier: 2}
  slos:
    - name: checkout-availability
      objective: 99.5
      description: "Orders that are taken."
      labels: {tier: 1, generated: true}
      sli:
        events:
          errorQuery: sum(rate(orders_total{code=~"5.."}[{{.window}}]))
          totalQuery: sum(rate(orders_total[{{ .window }}]))
      alerting:
        name: CheckoutFails
        labels: {category: availability}
        annotations: {runbook_url: "https://run.example/checkout"}
        pageAlert:
          labels: {severity: wakeup}
        ticketAlert:
          labels: {queue: till}
          annotations: {hint: "look at the queue"}
status: {processedSLOs: 1}
"#;

const WINDOWS: &str = "apiVersion: sloth.slok.dev/v1
kind: AlertWindows
spec:
  sloPeriod: 7d
  page:
    quick: {errorBudgetPercent: 8, shortWindow: 5m, longWindow: 1h}
    slow: {errorBudgetPercent: 12.5, shortWindow: 30m, longWindow: 6h}
  ticket:
    quick: {errorBudgetPercent: 20, shortWindow: 2h, longWindow: 1d}
    slow: {errorBudgetPercent: 42, shortWindow: 6h, longWindow: 3d}
";

const DAY: Duration = Duration::from_secs(86_400);

/// What was read, for people to compare.
fn show(specs: &Specs) -> String {
    let mut text: String = specs.slos.iter().map(show_slo).collect();
    specs.diagnostics.iter().for_each(|diagnostic| writeln!(text, "{diagnostic}").unwrap());
    text
}

fn show_slo(slo: &Slo) -> String {
    let mut text = format!("{} {} {:?}\n", slo.id, slo.objective.target.ratio(), slo.labels);
    writeln!(text, "  {:?} over {:?}", slo.description, slo.objective.period()).unwrap();
    write!(text, "{}", show_indicator(slo)).unwrap();
    for alert in &slo.alerts {
        let factor = (alert.factor * 1_000.0).round() / 1_000.0;
        write!(text, "  {} {:?}/{:?} x{factor}", alert.severity, alert.short, alert.long).unwrap();
        writeln!(text, " {:?} {:?}", alert.labels, alert.annotations).unwrap();
    }
    text
}

fn show_indicator(slo: &Slo) -> String {
    let Indicator::Counted(counted) = &slo.indicator else { return format!("  {:?}\n", slo.indicator) };
    let mut text = String::new();
    for (role, terms) in [("bad", &counted.bad), ("total", &counted.total)] {
        for term in terms {
            writeln!(text, "  {role} {:+} {} {:?}", term.coefficient, term.selector, term.measure).unwrap();
        }
    }
    text
}

fn report(specs: &Specs) -> Vec<String> {
    specs.diagnostics.iter().map(Diagnostic::to_string).collect()
}

#[track_caller]
fn edit(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?}");
    text.replace(from, to)
}

/// The diagnostics of edits of a text, each with whether its SLO is there.
#[track_caller]
fn show_edits(text: &str, edits: &[(&str, &str)]) -> String {
    let mut shown = String::new();
    for (from, to) in edits {
        let specs = read("f", &edit(text, from, to));
        assert!(!specs.diagnostics.is_empty(), "{from:?} -> {to:?}");
        writeln!(shown, "{from:?} -> {to:?}: {} SLOs", specs.slos.len()).unwrap();
        report(&specs).iter().for_each(|line| writeln!(shown, "  {line}").unwrap());
    }
    shown
}

/// The document with another SLI.
fn with_sli(sli: &str) -> String {
    let (start, end) = (V1.find("      events:").unwrap(), V1.find("    alerting:").unwrap());
    format!("{}      {sli}\n{}", &V1[..start], &V1[end..])
}

fn with_plugin(name: &str, options: &str) -> String {
    with_sli(&format!("plugin: {{id: sloth-common/{name}, options: {{{options}}}}}"))
}

/// What is read when the period is `days`.
fn read_with_period(days: u32, files: &[&str]) -> Specs {
    let settings = Settings { sloth_default_slo_period: DAY * days, ..Settings::default() };
    let files: Vec<(String, &str)> =
        files.iter().zip(["a", "b", "c"]).map(|(text, name)| (name.to_owned(), *text)).collect();
    read_all(files, &settings)
}

// === documents ===

#[test]
fn a_document_of_v1() {
    insta::assert_snapshot!(show(&read("f", V1)));
}

#[test]
fn a_resource_says_the_same_as_v1() {
    let (of_v1, of_resource) = (read("f", V1), read("f", RESOURCE));
    assert_eq!(of_resource.diagnostics, []);
    assert_eq!(of_resource.slos, of_v1.slos);
    let list = format!("apiVersion: v1\nkind: List\nitems:\n- {}", RESOURCE.trim_end().replace('\n', "\n  "));
    let of_list = read("f", &list);
    assert_eq!((of_list.slos, of_list.diagnostics), (of_resource.slos, of_resource.diagnostics));
}

#[test]
fn wrong_fields_of_v1() {
    insta::assert_snapshot!(show_edits(
        V1,
        &[
            ("service: shop", "service: s"),
            ("service: shop\n", ""),
            ("name: checkout-availability", "name: -checkout"),
            ("slos:\n", "slos: []\nslso:\n"),
            ("slos:\n", "slos: {}\nx-slos:\n"),
            ("objective: 99.5", "objective: 100"),
            ("objective: 99.5", "objective: 100.5"),
            ("objective: 99.5", "objective: 0"),
            ("objective: 99.5", "objective: high"),
            ("objective: 99.5", "objective: [99.5]"),
            ("objective: 99.5", "objektive: 99.5"),
            ("objective: 99.5", "objective: 92"),
            ("error_query", "errorQuery"),
            ("page_alert", "pageAlert"),
            ("      name: CheckoutFails\n", ""),
            ("      name: CheckoutFails\n", "      name: ''\n"),
            ("    alerting:", "    alert:"),
            ("labels: {team: till, tier: 2}", "labels: [team]"),
            ("labels: {team: till, tier: 2}", "labels: {team: {a: b}}"),
            ("labels: {queue: till}", "disable: perhaps"),
        ]
    ));
}

#[test]
fn wrong_fields_of_a_resource() {
    insta::assert_snapshot!(show_edits(
        RESOURCE,
        &[
            ("errorQuery", "error_query"),
            ("ticketAlert", "ticket_alert"),
            ("spec:\n", "specs:\n"),
            ("kind: PrometheusServiceLevel", "kind: PrometheusServiceLevels"),
            ("  service: shop\n", ""),
        ]
    ));
}

#[test]
fn wrong_slis_and_queries() {
    let wrong = [
        with_sli("raw: {error_ratio_query: 'sum(rate(a[{{.window}}])) / sum(rate(b[{{.range}}]))'}"),
        with_sli("raw: {error_ratio_query: 'sum(rate(a[{{.window}}])) / sum(rate(b[{{'}"),
        with_sli("raw: {error_ratio_query: 'sum(rate(a[5m])) / sum(rate(b[5m]))'}"),
        with_sli("raw: {error_ratio_query: [a]}"),
        with_sli("raw: {}"),
        with_sli(
            "events: {error_query: 'sum(rate(a[{{.window}}]))', total_query: 'sum(rate(a[{{.window}}]))'}",
        ),
        with_sli("evens: {}"),
    ];
    let shown: Vec<String> = wrong.iter().map(|text| show(&read("f", text))).collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn disabled_alerts_need_no_name() {
    let text = edit(V1, "      name: CheckoutFails\n", "");
    let text = edit(&text, "labels: {severity: wakeup}", "disable: true");
    let text = edit(&text, "        annotations: {hint: \"look at the queue\"}", "        disable: true");
    let specs = read("f", &text);
    assert_eq!(specs.diagnostics, []);
    assert!(specs.slos[0].alerts.is_empty());
}

#[test]
fn labels_that_cannot_be_published_are_renamed() {
    let labels = "labels: {app.kubernetes.io/name: shop, 1st: a, slo: mine, __x: y, a-b: 1, a_b: 2}";
    let text = edit(V1, "labels: {team: till, tier: 2}", labels);
    let text = edit(&text, "labels: {queue: till}", "labels: {severity: low, window: x, é: z}");
    let text = edit(&text, "runbook_url:", "run book:");
    insta::assert_snapshot!(show(&read("f", &text)));
}

// === windows ===

#[test]
fn the_period_picks_the_windows() {
    let factors = |specs: &Specs| {
        let alerts = specs.slos[0].alerts.iter();
        alerts.map(|alert| (alert.factor * 1_000.0).round() / 1_000.0).collect::<Vec<_>>()
    };
    assert_eq!(factors(&read_with_period(30, &[V1])), [14.4, 6.0, 3.0, 1.0]);
    assert_eq!(factors(&read_with_period(28, &[V1])), [13.44, 5.6, 2.8, 0.933]);
    // A catalog may stand behind the SLOs, and in another file.
    let of_a_week = read_with_period(7, &[V1, WINDOWS]);
    assert_eq!(of_a_week.diagnostics, []);
    assert_eq!(factors(&of_a_week), [13.44, 3.5, 1.4, 0.98]);
    assert_eq!(of_a_week.slos[0].objective.period(), DAY * 7);
    let own = edit(WINDOWS, "sloPeriod: 7d", "sloPeriod: 30d");
    assert_eq!(factors(&read_with_period(30, &[&own, V1])), [57.6, 15.0, 6.0, 4.2]);
}

#[test]
fn periods_without_windows_and_windows_twice() {
    let other = edit(WINDOWS, "42", "41");
    let months = edit(WINDOWS, "sloPeriod: 7d", "sloPeriod: 30d");
    let other_months = edit(&other, "sloPeriod: 7d", "sloPeriod: 4w2d");
    let read: Vec<String> = [
        read_with_period(7, &[V1]),
        read_with_period(14, &[RESOURCE, WINDOWS]),
        read_with_period(7, &[WINDOWS, WINDOWS, V1]),
        read_with_period(7, &[WINDOWS, &other, V1]),
        read_with_period(28, &[&months, &other_months]),
    ]
    .iter()
    .map(|specs| format!("{} SLOs\n{}", specs.slos.len(), report(specs).join("\n")))
    .collect();
    insta::assert_snapshot!(read.join("\n\n"));
}

#[test]
fn wrong_windows() {
    insta::assert_snapshot!(show_edits(
        WINDOWS,
        &[
            ("sloPeriod: 7d", "sloPeriod: 7"),
            ("sloPeriod: 7d", "sloPeriod: 0s"),
            ("sloPeriod: 7d", "sloPeriod: 2d"),
            ("sloPeriod: 7d", "slo_period: 7d"),
            ("errorBudgetPercent: 42", "errorBudgetPercent: 0"),
            ("errorBudgetPercent: 42, ", ""),
            ("shortWindow: 6h, longWindow: 3d", "shortWindow: 3d, longWindow: 6h"),
            ("shortWindow: 6h, longWindow: 3d", "longWindow: 3d"),
            ("  page:\n", "  pages:\n"),
            ("    slow: {errorBudgetPercent: 42", "    slower: {errorBudgetPercent: 42"),
        ]
    ));
}

// === plugins ===

#[test]
fn every_public_plugin_has_its_plan() {
    let calls = [
        ("coredns/availability", ""),
        ("coredns/availability", r#"filter: 'a="b"', custom_rcode_regex: 'SERV.*'"#),
        ("coredns/latency", "bucket: 0.25"),
        ("haproxy/frontend/availability", r#"filter: '{proxy="web",}'"#),
        ("istio/v1/availability", "service: shop, namespace: prod"),
        ("istio/v1/latency", "service: shop, namespace: prod, bucket: 500, exclude_errors: true"),
        ("kubernetes/apiserver/availability", ""),
        ("kubernetes/apiserver/latency", "bucket: 0.4"),
        ("kubernetes/kooper/availability", "controller: sloth"),
        ("kubernetes/kooper/latency", "controller: sloth, bucket: 2.5"),
        ("kubernetes/kooper/queue-congestion", "controller: sloth, bucket: 1"),
        ("kubernetes/nginx-ingress/availability", ""),
        ("linkerd/v2/availability", r#"filter: 'deployment="web"'"#),
        ("prometheus/rules/eval-availability", r#"filter: 'job="prometheus"'"#),
        ("prometheus/targets/availability", ""),
        ("prometheus/targets/availability", r#"filter: 'job!="lab"'"#),
        ("slok-go-http-metrics/availability", r#"filter: 'job="web"'"#),
        ("slok-go-http-metrics/latency", r#"filter: 'job="web"', bucket: 1, exclude_errors: T"#),
        ("traefik/v1/availability", "backend_regex: '^web.*'"),
        ("traefik/v1/latency", r#"backend_regex: '^web.*', bucket: 1, filter: 'a="b"', exclude_errors: '1'"#),
        ("traefik/v2/availability", "service_name_regex: '^web.*'"),
        ("traefik/v2/latency", "service_name_regex: '^web.*', bucket: 1, exclude_errors: false"),
    ];
    let mut shown = String::new();
    for (name, options) in calls {
        let specs = read("f", &with_plugin(name, options));
        assert!(!specs.has_errors(), "{name}: {:?}", specs.diagnostics);
        write!(shown, "{name} {{{options}}}\n{}", show_indicator(&specs.slos[0])).unwrap();
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn wrong_plugins_and_options() {
    let wrong = [
        with_sli("plugin: {id: sloth-common/coredns/availabilty}"),
        with_sli("plugin: {id: our/own}"),
        with_sli("plugin: {options: {}}"),
        with_sli("plugin: {id: sloth_common/noop}"),
        with_sli("plugin: {id: sloth-common/linkerd/v2/latency, optionz: {}}"),
        with_plugin("fake", "burn_rate: 2"),
        with_plugin("noop", ""),
        with_plugin("coredns/latency", "filters: 'a=\"b\"'"),
        with_plugin("coredns/latency", "bucket: fast"),
        with_plugin("coredns/latency", "bucket: 1, filter: 'a b'"),
        with_plugin("slok-go-http-metrics/latency", "bucket: 1"),
        with_plugin("slok-go-http-metrics/latency", "filter: 'a=\"b\"', bucket: 1, exclude_errors: maybe"),
        with_plugin("traefik/v1/availability", "backend_regex: '('"),
        with_plugin("istio/v1/availability", "service: [a], namespace: ' '"),
    ];
    let shown: Vec<String> = wrong.iter().map(|text| report(&read("f", text)).join("\n")).collect();
    insta::assert_snapshot!(shown.join("\n\n"));
}

#[test]
fn plugins_of_rules_are_not_run() {
    let chain = "slo_plugins:
  overridePrevious: true
  chain:
    - id: sloth.dev/core/validate/v1
    - id: sloth.dev/core/sli_rules/v1
      config: {disableOptimized: true}
      priority: -10
    - id: sloth.dev/contrib/error_budget_exhausted_alert/v1
      config: {threshold: 0.1}
    - id: sloth.dev/contrib/info_labels/v1
    - id: sloth.dev/contrib/remove_labels/v1
    - id: sloth.dev/contrib/rule_intervals/v1
    - id: our.example/plugin/v1
      prio: 1
    - {}
slos:
";
    let of_service = read("f", &edit(V1, "slos:\n", chain));
    let of_slo = read("f", &edit(V1, "    sli:\n", "    plugins: {overridePrevious: true}\n    sli:\n"));
    let harmless =
        "    plugins: {chain: [{id: sloth.dev/contrib/denominator_corrected_rules/v1}]}\n    sli:\n";
    assert_eq!(read("f", &edit(V1, "    sli:\n", harmless)).diagnostics, []);
    insta::assert_snapshot!([show(&of_service), report(&of_slo).join("\n")].join("\n\n"));
}
