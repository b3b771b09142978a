//! Files of each indicator, each thing that can be wrong, and Pyrra's windows.

use crate::spec::{
    golden::{golden, print_alert},
    read,
};

const RATIO: &str = r#"apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata:
  name: checkout-errors
  namespace: shop
  labels:
    prometheus: main
    pyrra.dev/team: payments
  annotations:
    kubectl.kubernetes.io/last-applied: "{}"
    pyrra.dev/runbook_url: https://runbooks.example/{{ $labels.slo }}
spec:
  description: Orders get through.
  target: "99.5"
  window: 4w
  indicator:
    ratio:
      errors:
        metric: orders_total{job="checkout",result=~"failed|lost"}
      total:
        metric: orders_total{job="checkout"}
      grouping:
        - shop
        - region
"#;

const LATENCY: &str = r#"apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: search-latency}
spec:
  target: '99'
  window: 2w
  indicator:
    latency:
      success:
        metric: search_seconds_bucket{job="search",le="0.5"}
      total:
        metric: search_seconds_count{job="search"}
"#;

const LATENCY_NATIVE: &str = r#"apiVersion: pyrra.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: search-latency, namespace: shop}
spec:
  target: "99"
  window: 7d
  indicator:
    latencyNative:
      latency: 1s500ms
      total:
        metric: search_seconds{job="search"}
      grouping: [route]
  alerting:
    name: SearchIsSlow
    absent: false
    severities: {fastBurn: sev1, slowBurn: critical, longTermBurn: info, absent: info}
"#;

const BOOL_GAUGE: &str = r#"apiVersion: v1alpha1
kind: ServiceLevelObjective
metadata:
  name: probes
  creationTimestamp: null
  labels: {pyrra.dev/service: edge}
spec:
  target: 95
  window: 30d
  indicator:
    bool_gauge:
      metric: probe_success{job="edge"}
      grouping: [target, service]
  alerting: {burnrates: false}
  partial_response_strategy: warn
  performanceOverAccuracy: true
  ruleOutput: {shortRulesLabels: {a: b}}
status: {}
"#;

#[test]
fn a_file_of_each_indicator() {
    insta::assert_snapshot!("ratio", golden(RATIO));
    insta::assert_snapshot!("latency", golden(LATENCY));
    insta::assert_snapshot!("latency_native", golden(LATENCY_NATIVE));
    insta::assert_snapshot!("bool_gauge", golden(BOOL_GAUGE));
}

#[test]
fn several_documents_make_several_slos() {
    let specs = read("f", &[RATIO, LATENCY, LATENCY_NATIVE, BOOL_GAUGE].join("---\n"));
    assert_eq!(specs.diagnostics, []);
    let ids: Vec<String> = specs.slos.iter().map(|slo| slo.id.to_string()).collect();
    assert_eq!(ids, ["shop/checkout-errors", "default/search-latency", "shop/search-latency", "edge/probes"]);
}

/// An SLO in slod's own format, with this SLI.
fn native(sli: &str) -> String {
    format!(
        "apiVersion: slod.dev/v1\nkind: ServiceLevelObjective\nmetadata: {{name: n, service: s}}\nspec:\n  \
         objective: {{target: 99, window: 30d}}\n  sli:\n{sli}"
    )
}

/// A Pyrra SLO counts what the expression of Pyrra's rule does.
#[track_caller]
fn check_indicator(pyrra: &str, sli: &str) {
    let read = |text: &str| {
        let specs = read("f", text);
        assert!(!specs.has_errors(), "{:?}", specs.diagnostics);
        specs.slos.into_iter().map(|slo| slo.indicator).collect::<Vec<_>>()
    };
    assert_eq!(read(pyrra), read(&native(sli)));
}

#[test]
fn indicators_are_the_expressions_of_pyrra_s_rules() {
    check_indicator(
        RATIO,
        "    bad: sum by (shop, region) (rate(orders_total{job=\"checkout\",result=~\"failed|lost\"}[5m]))\n    \
         total: sum by (shop, region) (rate(orders_total{job=\"checkout\"}[5m]))\n",
    );
    check_indicator(
        LATENCY,
        "    good: sum(rate(search_seconds_bucket{job=\"search\",le=\"0.5\"}[5m]))\n    \
         total: sum(rate(search_seconds_count{job=\"search\"}[5m]))\n",
    );
    check_indicator(
        LATENCY_NATIVE,
        "    query: histogram_fraction(0, 1.5, sum by (route) (rate(search_seconds{job=\"search\"}[5m])))\n",
    );
}

// === diagnostics ===

/// The diagnostics of a text after an edit. An SLO with a warning remains.
#[track_caller]
fn check(text: &str, from: &str, to: &str, expected: &[&str]) {
    assert_eq!(text.matches(from).count(), 1, "{from:?}");
    let specs = read("f", &text.replace(from, to));
    let found: Vec<String> = specs.diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(found, expected, "{from:?} -> {to:?}");
    assert_eq!(specs.slos.len(), usize::from(!specs.has_errors()), "{from:?} -> {to:?}");
}

#[test]
fn unknown_fields_are_errors() {
    let one = |from, to, expected: &str| check(RATIO, from, to, &[expected]);
    one("spec:", "sepc: {}\nspec:", "f:12:1: error: unknown field `sepc`, did you mean `spec`?");
    one("  namespace:", "  namespce:", "f:5:3: error: unknown field `namespce`, did you mean `namespace`?");
    one(
        "  description:",
        "  desc: x\n  description:",
        "f:13:3: error: unknown field `desc`, expected one of description, target, window, indicator, alerting, \
         partial_response_strategy, performanceOverAccuracy, ruleOutput",
    );
    one(
        "      grouping:",
        "      groupBy:",
        "f:22:7: error: unknown field `groupBy`, expected one of errors, total, grouping",
    );
    one(
        "  window: 4w",
        "  window: 4w\n  alerting: {burnrate: true}",
        "f:16:14: error: unknown field `burnrate`, did you mean `burnrates`?",
    );
    one(
        "  window: 4w",
        "  window: 4w\n  alerting: {severities: {fast: page}}",
        "f:16:27: error: unknown field `fast`, expected one of fastBurn, mediumBurn, slowBurn, longTermBurn, absent",
    );
}

#[test]
fn what_an_slo_needs() {
    let one = |from, to, expected: &str| check(RATIO, from, to, &[expected]);
    one("  name: checkout-errors\n", "", "f:4:3: error: missing field `name`");
    one("  target: \"99.5\"\n", "", "f:13:3: error: missing field `target`");
    one(
        "  target: \"99.5\"",
        "  target: most",
        "f:14:11: error: target must be a percentage such as 99.9; got \"most\"",
    );
    one("  target: \"99.5\"", "  target: 0", "f:14:11: error: target 0 promises nothing; it must be above 0");
    one("  target: \"99.5\"", "  target: 101", "f:14:11: error: target 101 is above 100%");
    one("  window: 4w\n", "", "f:13:3: error: missing field `window`");
    one(
        "  window: 4w",
        "  window: 4 weeks",
        "f:15:11: error: window: \"4 weeks\" is not a duration; write one like 5m, 1h30m or 30d (units: y w d h m s ms)",
    );
    one(
        "  window: 4w",
        "  window: 52w",
        "f:15:11: error: window 52w is too long; the longest retained window is 90d",
    );
    one(
        "  window: 4w",
        "  window: 1d",
        "f:15:11: warning: window 1d is too short for Pyrra's alerts, of which the shortest window rounds to 0s; slod takes 1m",
    );
}

#[test]
fn a_target_below_one_is_in_percent_all_the_same() {
    let ratio = RATIO.replace("window: 4w", "window: 4w\n  alerting: {disabled: true}");
    let warning = "f:14:11: warning: target 0.995 is taken as 0.995%; did you mean 99.5?";
    check(&ratio, "\"99.5\"", "0.995", &[warning]);
}

#[test]
fn labels_that_slod_cannot_use_are_renamed() {
    let one = |to, expected: &str| check(RATIO, "pyrra.dev/team: payments", to, &[expected]);
    one(
        "pyrra.dev/cost-center: x",
        "f:8:5: warning: label cost-center is published as cost_center: names have letters, digits and _ only",
    );
    one(
        "pyrra.dev/service: checkout",
        "f:8:5: warning: label service is published as exported_service: slod and Prometheus use that name",
    );
    one(
        "pyrra.dev/2nd: x",
        "f:8:5: warning: label 2nd is published as _2nd: names have letters, digits and _ only",
    );
    check(RATIO, "pyrra.dev/team: payments", "pyrra.dev/service: shop", &[]);
    check(
        RATIO,
        "pyrra.dev/runbook_url",
        "pyrra.dev/runbook-url",
        &[
            "f:11:5: warning: annotation runbook-url is published as runbook_url: names have letters, digits and _ only",
        ],
    );
}

#[test]
fn exactly_one_indicator() {
    check(
        RATIO,
        "    ratio:\n",
        "    ratios:\n",
        &[
            "f:17:5: error: unknown field `ratios`, did you mean `ratio`?",
            "f:17:5: error: indicator needs one of ratio, latency, latencyNative and bool_gauge",
        ],
    );
    let both = "    ratio:\n      errors: {metric: a}\n      total: {metric: b}\n    latency:\n";
    check(
        LATENCY,
        "    latency:\n",
        both,
        &["f:12:7: error: indicator has both ratio and latency; make two SLOs of it"],
    );
    let unused = "    bool_gauge: {metric: up}\n    latency:\n";
    check(
        LATENCY,
        "    latency:\n",
        unused,
        &["f:8:17: warning: bool_gauge is not used: latency goes before it, as in Pyrra"],
    );
    // What is not used must be right all the same.
    let broken = "    bool_gauge: {metric: 'up{'}\n    latency:\n";
    check(
        LATENCY,
        "    latency:\n",
        broken,
        &[
            "f:8:17: warning: bool_gauge is not used: latency goes before it, as in Pyrra",
            "f:8:30: error: cannot parse query as PromQL: unexpected end of input inside braces",
        ],
    );
}

#[test]
fn metrics_are_selectors() {
    let errors = r#"orders_total{job="checkout",result=~"failed|lost"}"#;
    let one = |to, expected: &str| check(RATIO, errors, to, &[expected]);
    one(
        "rate(orders_total[5m])",
        "f:19:17: error: only a selector is supported here, such as queue_length{job=\"mail\"}",
    );
    one("orders_total{job=}", "f:19:34: error: cannot parse query as PromQL: invalid promql query");
    one("orders_total{result=~\"(\"}", "f:19:38: error: cannot use regular expression \"(\": unclosed group");
    one(
        "'{job=\"checkout\"}'",
        "f:19:18: error: a selector without a metric name would match every metric; name one",
    );
    one(
        "orders_total{job=\"checkout\"}",
        "f:19:17: warning: errors selects what total selects: every event is bad",
    );
    one("''", "f:19:17: error: metric is empty");
    check(
        LATENCY,
        "      total:\n        metric: search_seconds_count{job=\"search\"}\n",
        "",
        &["f:9:7: error: missing field `total`"],
    );
    check(
        LATENCY,
        "metric: search_seconds_count{job=\"search\"}",
        "expr: x",
        &[
            "f:12:9: error: unknown field `expr`, expected one of metric",
            "f:12:9: error: missing field `metric`",
        ],
    );
}

#[test]
fn latencies_have_bounds() {
    check(
        LATENCY,
        ",le=\"0.5\"",
        "",
        &[
            "f:10:17: error: success needs the bound of its bucket, such as le=\"0.5\": it would count every bucket",
        ],
    );
    check(
        LATENCY,
        "le=\"0.5\"",
        "le=\"half\"",
        &["f:10:17: error: le must be a number, the bound of a bucket; got \"half\""],
    );
    check(
        LATENCY,
        "search_seconds_bucket",
        "search_seconds",
        &[
            "f:10:17: warning: success metric search_seconds does not end in _bucket, as those of histograms do",
        ],
    );
    check(
        LATENCY,
        "search_seconds_count",
        "search_seconds",
        &["f:12:17: warning: total metric search_seconds does not end in _count, as those of histograms do"],
    );
    check(
        LATENCY_NATIVE,
        "1s500ms",
        "1.5s",
        &[
            "f:9:16: error: latency: \"1.5s\" is not a duration; write one like 5m, 1h30m or 30d (units: y w d h m s ms)",
        ],
    );
    check(
        LATENCY_NATIVE,
        "1s500ms",
        "0s",
        &["f:9:16: error: latency must be longer than 0s: nothing is faster"],
    );
    check(LATENCY_NATIVE, "      latency: 1s500ms\n", "", &["f:9:7: error: missing field `latency`"]);
}

#[test]
fn grouping_is_by_labels() {
    check(
        RATIO,
        "- region",
        "- my-region",
        &["f:24:11: error: grouping by \"my-region\", which is no label name"],
    );
    check(RATIO, "- region", "- [region]", &["f:24:11: error: expected a text, found a list"]);
    check(RATIO, "- region", "- severity", &[]);
}

#[test]
fn templates_are_to_be_filled_in_first() {
    check(
        RATIO,
        "  name: checkout-errors",
        "  name: \"{{ .name }}\"",
        &["f:4:9: error: name is a template; fill {{ … }} in first"],
    );
    check(
        RATIO,
        "  namespace: shop",
        "  namespace: \"{{ .Release.Namespace }}\"",
        &["f:5:14: error: namespace is a template; fill {{ … }} in first"],
    );
    check(
        RATIO,
        "\"99.5\"",
        "\"{{ .target | default 99 }}\"",
        &["f:14:11: error: target is a template; fill {{ … }} in first"],
    );
    check(RATIO, "4w", "'{{ .window }}'", &["f:15:11: error: window is a template; fill {{ … }} in first"]);
    check(
        RATIO,
        "orders_total{job=\"checkout\"}",
        "'{{ .total }}'",
        &["f:21:17: error: metric is a template; fill {{ … }} in first"],
    );
    check(
        RATIO,
        "spec:",
        "{{- if .enabled }}\nspec:",
        &[
            "f:12:3: error: cannot parse YAML: this is a template, such as a Helm chart's; fill {{ … }} in first",
        ],
    );
}

// === alerts ===

fn alerts(text: &str) -> Vec<String> {
    let specs = read("f", text);
    assert!(!specs.has_errors(), "{:?}", specs.diagnostics);
    specs.slos.iter().flat_map(|slo| &slo.alerts).map(print_alert).collect()
}

/// The alerts of an SLO over `window`: short, long and how long they wait.
#[track_caller]
fn check_windows(window: &str, expected: [&str; 4]) {
    let heads = ["critical ", "critical ", "warning ", "warning "];
    let factors = [(" ×14 for ", 3), (" ×7 for ", 3), (" ×2 for ", 1), (" ×1 for ", 1)];
    let spell = |row: usize| {
        let (windows, for_) = expected[row].rsplit_once('/').unwrap();
        let (factor, min) = factors[row];
        format!("{}{windows}{factor}{for_}, {min} bad events", heads[row])
    };
    let expected: Vec<String> = (0..4).map(spell).collect();
    assert_eq!(alerts(&RATIO.replace("window: 4w", &format!("window: {window}"))), expected, "{window}");
}

#[test]
fn windows_scale_with_the_slo_s() {
    check_windows("7d", ["1m/15m/1m", "8m/1h30m/4m", "30m/6h/15m", "1h30m/1d/45m"]);
    check_windows("14d", ["3m/30m/1m", "15m/3h/8m", "1h/12h/30m", "3h/2d/1h30m"]);
    check_windows("28d", ["5m/1h/2m", "30m/6h/15m", "2h/1d/1h", "6h/4d/3h"]);
    check_windows("30d", ["5m/1h4m/2m", "32m/6h26m/16m", "2h9m/1d1h43m/1h4m", "6h26m/4d6h51m/3h13m"]);
    check_windows("12w", ["15m/3h/6m", "1h30m/18h/45m", "6h/3d/3h", "18h/12d/9h"]);
    // Where Pyrra has 0s.
    check_windows("1d", ["1m/2m/0s", "1m/13m/1m", "4m/51m/2m", "13m/3h26m/6m"]);
}

#[test]
fn alerts_of_short_windows_are_told_apart() {
    let hour = RATIO.replace("window: 4w", "window: 1h");
    assert_eq!(
        alerts(&hour),
        [
            "critical 1m/2m ×7 for 0s, 3 bad events",
            "warning 1m/2m ×2 for 0s, 1 bad events",
            "warning 1m/9m ×1 for 0s, 1 bad events"
        ]
    );
}

#[test]
fn alerts_are_switched_off() {
    let with =
        |alerting: &str| alerts(&RATIO.replace("spec:", &format!("spec:\n  alerting: {{{alerting}}}"))).len();
    assert_eq!(with(""), 4);
    assert_eq!(with("burnrates: true, absent: false, absentName: x"), 4);
    assert_eq!(with("burnrates: false"), 0);
    assert_eq!(with("disabled: true"), 0);
    assert_eq!(with("disabled: false"), 4);
}

#[test]
fn alerts_that_cannot_fire_are_remarked() {
    check(
        RATIO,
        "\"99.5\"",
        "\"90\"",
        &[
            "f:14:11: warning: burn rate 14 of the 1h window can never be exceeded: with every event bad it is 10; it never fires in Pyrra either; slod's own format takes lower burn rates",
        ],
    );
}
