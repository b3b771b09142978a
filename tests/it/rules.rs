//! The published rule file in Prometheus' own hands: `promtool` checks it, evaluates it over
//! hand-written series and compares alerts, labels and rendered annotations.

use std::process::Command;

const RULES: &str = "config/rules/slod.rules.yml";
const UNIT_TESTS: &str = "tests/testdata/rules/slod.test.yml";

#[test]
fn prometheus_accepts_the_rules() {
    promtool(&["check", "rules", RULES]);
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
