//! A file of each method, and each thing that can be wrong.

use crate::spec::{Settings, golden::golden, read, read_all};

const RATIO: &str = r#"apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata:
  name: orders-availability
  labels:
    service_name: checkout
    feature_name: orders
    slo_name: availability
    tier: 1
spec:
  description: Orders get through.
  backend: prometheus
  method: good_bad_ratio
  exporters: [prometheus]
  service_level_indicator:
    filter_good: orders_total{job="checkout",result="done"}
    filter_valid: orders_total{job="checkout"}
  goal: 0.995
"#;

const SHARE: &str = r#"apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata: {name: orders-share}
spec:
  description: Orders get through.
  backend: prometheus/eu
  method: query_sli
  service_level_indicator:
    expression: >
      sum(rate(orders_total{result="done"}[window]))
      /
      sum(rate(orders_total[window]))
  goal: 0.95
"#;

const CUT: &str = r#"apiVersion: sre.google.com/v2
kind: ServiceLevelObjective
metadata:
  name: orders-latency
  labels: {service_name: checkout}
spec:
  description: Orders are quick.
  backend: prometheus
  method: distribution_cut
  service_level_indicator:
    expression: order_seconds_bucket{job="checkout"}
    threshold_bucket: 2.5
  goal: 0.99
"#;

#[test]
fn a_file_of_each_method() {
    insta::assert_snapshot!("good_bad_ratio", golden(RATIO));
    insta::assert_snapshot!("query_sli", golden(SHARE));
    insta::assert_snapshot!("distribution_cut", golden(CUT));
}

#[track_caller]
fn check_same(text: &str, from: &str, to: &str) {
    assert_eq!(text.matches(from).count(), 1, "{from:?}");
    assert_eq!(golden(&text.replace(from, to)), golden(text), "{from:?} -> {to:?}");
}

#[test]
fn ways_to_say_the_same() {
    check_same(RATIO, "job=\"checkout\"}", "job=\"checkout\"}[window]");
    check_same(RATIO, "  goal:", "    operators: [increase, sum]\n  goal:");
    check_same(RATIO, "  goal:", "    operators: [rate, sum]\n  goal:");
    check_same(CUT, "job=\"checkout\"}", "job=\"checkout\"}[window]");
}

#[test]
fn bad_events_go_before_valid_ones() {
    let bad = "    filter_bad: orders_total{result=\"lost\"}\n  goal:";
    insta::assert_snapshot!("filter_bad", golden(&RATIO.replace("  goal:", bad)));
}

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
fn what_an_slo_needs() {
    check(CUT, "  name: orders-latency\n", "", &["f:4:3: error: missing field `name`"]);
    check(CUT, "  goal: 0.99\n", "", &["f:7:3: error: missing field `goal`"]);
    check(CUT, "0.99", "99.9", &["f:13:9: error: goal 99.9 is above 1; did you mean 0.999?"]);
    check(
        CUT,
        "0.99",
        "1",
        &[
            "f:13:9: warning: goal 1 leaves no error budget: every bad event overspends it without limit; promise less",
        ],
    );
    check(CUT, "0.99", "most", &["f:13:9: error: goal must be a number; got \"most\""]);
    check(
        CUT,
        "  description:",
        "  descripton: x\n  description:",
        &[
            "f:7:3: warning: unknown field `descripton`, did you mean `description`? slo-generator ignores it, and so does slod",
        ],
    );
    check(
        CUT,
        "prometheus",
        "datadog",
        &["f:8:12: error: backend datadog is not supported; slod reads SLOs of backend prometheus"],
    );
    check(
        CUT,
        "distribution_cut",
        "distribution-cut",
        &["f:9:11: error: unknown method `distribution-cut`, did you mean `distribution_cut`?"],
    );
    check(
        CUT,
        "distribution_cut",
        "basic",
        &[
            "f:9:11: error: unknown method `basic`, expected one of good_bad_ratio, query_sli, distribution_cut",
        ],
    );
    check(
        CUT,
        "checkout}",
        "\"${SERVICE}\"}",
        &["f:5:26: error: ${SERVICE} stands for an environment variable; substitute it first"],
    );
}

#[test]
fn what_an_sli_needs() {
    check(
        RATIO,
        "    filter_good: orders_total{job=\"checkout\",result=\"done\"}\n",
        "",
        &["f:16:5: error: missing field `filter_good`"],
    );
    check(
        RATIO,
        "    filter_valid: orders_total{job=\"checkout\"}\n",
        "",
        &["f:16:5: error: good_bad_ratio needs filter_bad or filter_valid beside filter_good"],
    );
    check(
        RATIO,
        "done\"}",
        "done\"} > 0",
        &["f:16:61: error: only a selector is supported here, such as queue_length{job=\"mail\"}"],
    );
    check(
        SHARE,
        "[window]))\n      /",
        "[window])\n      /",
        &["f:12:38: error: cannot parse query as PromQL: unclosed left parenthesis"],
    );
    check(CUT, "    threshold_bucket: 2.5\n", "", &["f:11:5: error: missing field `threshold_bucket`"]);
    check(CUT, "2.5", "quick", &["f:12:23: error: threshold_bucket must be a number; got \"quick\""]);
    check(
        CUT,
        "order_seconds_bucket",
        "order_seconds",
        &["f:11:17: error: distribution_cut needs the buckets of a histogram: a metric that ends in _bucket"],
    );
    check(
        CUT,
        "job=\"checkout\"",
        "le=\"1\"",
        &["f:11:17: error: expression chooses buckets by le, too; threshold_bucket says which one"],
    );
    check(
        CUT,
        "{job=\"checkout\"}",
        "{job=}",
        &["f:11:42: error: cannot parse query as PromQL: invalid promql query"],
    );
}

// === policies ===

const CONFIG: &str = r#"backends:
  prometheus: {url: "${PROMETHEUS_URL}"}
exporters: {}
error_budget_policies:
  default:
    steps:
      - {name: 1 hour, window: 3600, burn_rate_threshold: 9, alert: true, message_alert: Act, message_ok: Fine}
      - {name: 12 hours, window: 43200, burn_rate_threshold: 3, alert: true}
      - {name: 28 days, window: 2419200, burn_rate_threshold: 1, alert: false}
  quiet:
    steps:
      - {name: 7 days, window: 604800, burn_rate_threshold: 1.5}
"#;

#[test]
fn a_policy_has_the_window_and_the_alerts() {
    let with_config = |slo: &str| golden(&format!("{slo}---\n{CONFIG}"));
    insta::assert_snapshot!("policy_default", with_config(CUT));
    let quiet = CUT.replace("  goal:", "  error_budget_policy: quiet\n  goal:");
    insta::assert_snapshot!("policy_quiet", with_config(&quiet));
}

#[test]
fn a_configuration_may_be_in_another_file() {
    let settings = Settings::default();
    let specs = read_all([("slo", CUT), ("config", CONFIG)], &settings);
    assert_eq!(specs.diagnostics, []);
    assert_eq!(specs.slos, read_all([("config", CONFIG), ("slo", CUT)], &settings).slos);
    assert_eq!(specs.slos[0].alerts.len(), 2);
}

#[test]
fn what_policies_need() {
    let broken = "f:7:3: error: error budget policy default has an error; without it there is no window";
    let one = |from, to, expected: &str| check(&format!("{CUT}---\n{CONFIG}"), from, to, &[broken, expected]);
    one("window: 3600,", "", "f:21:9: error: missing field `window`");
    one("window: 3600", "window: 0", "f:21:32: error: window must be from 1 to 7776000 seconds (90d); got 0");
    one(
        "window: 2419200",
        "window: 31536000",
        "f:23:33: error: window must be from 1 to 7776000 seconds (90d); got 31536000",
    );
    one(
        "window: 3600",
        "window: 43200",
        "f:22:9: error: another step has the window 12h, too; drop one of them",
    );
    one(
        "burn_rate_threshold: 9",
        "burn_rate_threshold: high",
        "f:21:59: error: burn_rate_threshold must be a number; got \"high\"",
    );
}

#[test]
fn policies_that_are_not_there_or_not_used() {
    let one = |from, to, expected: &str| check(&format!("{CUT}---\n{CONFIG}"), from, to, &[expected]);
    one(
        "  goal:",
        "  error_budget_policy: quite\n  goal:",
        "f:13:24: error: unknown error budget policy `quite`, did you mean `quiet`?",
    );
    one(
        "burn_rate_threshold: 9",
        "burn_rate_threshold: 100",
        "f:13:9: warning: burn rate 100 of the 1h window can never be exceeded: with every event bad it is 100; it \
         never fires in slo-generator either; lower the burn rate in a policy",
    );
    one(
        "exporters: {}",
        "exportrs: {}",
        "f:17:1: warning: unknown field `exportrs`, did you mean `exporters`? slo-generator ignores it, and so does slod",
    );
    let twice =
        "  quiet: {steps: [{window: 60, burn_rate_threshold: 1}]}\n---\nerror_budget_policies:\n  quiet:\n";
    one("  quiet:\n", twice, "f:27:3: warning: policy quiet is already defined; this one is not used");
}

#[test]
fn a_broken_policy_is_no_matter_to_slos_of_others() {
    let text = format!("{CUT}---\n{}", CONFIG.replace("  quiet:\n", "  quiet: {steps: []}\n  silent:\n"));
    let specs = read("f", &text);
    assert_eq!(specs.diagnostics.len(), 1);
    assert_eq!(specs.diagnostics[0].to_string(), "f:24:18: error: policy has no steps, and so no window");
    assert_eq!(specs.slos.len(), 1);
}
