//! The published rule file in Prometheus' own hands: `promtool` checks it, evaluates it over
//! hand-written series and compares alerts, labels and rendered annotations.

use std::process::Command;

use slod::rules;

const RULES: &str = "config/rules/slod.rules.yml";
const UNIT_TESTS: &str = "tests/testdata/rules/slod.test.yml";

#[test]
fn prometheus_accepts_the_rules() {
    promtool(&["check", "rules", RULES]);
}

#[test]
fn the_operator_gets_the_same_rules() {
    let read = |text: &str| -> serde_json::Value { serde_saphyr::from_str(text).unwrap() };
    let file = read(&rules::rule_file(rules::Format::Prometheus));
    let manifest = read(&rules::rule_file(rules::Format::PrometheusOperator));
    assert_eq!(manifest["spec"], file);
    assert_eq!(manifest["apiVersion"], "monitoring.coreos.com/v1");
    assert_eq!(
        (&manifest["kind"], &manifest["metadata"]["name"]),
        (&"PrometheusRule".into(), &"slod".into())
    );
}

#[test]
fn the_rules_raise_the_alerts_of_the_unit_tests() {
    promtool(&["test", "rules", UNIT_TESTS]);
}

#[track_caller]
fn promtool(args: &[&str]) {
    let output = Command::new("promtool")
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("cannot run promtool ({error}); install it: make test-deps"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {args:?}:\n{}", String::from_utf8_lossy(&said));
}
