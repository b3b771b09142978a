//! Runs every scenario in `tests/testdata/slo`.

use std::{fs, path::Path};

use slod::testing::run_script;

#[test]
fn every_scenario_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/slo");
    let mut scripts = 0;
    let mut failed = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "test") {
            continue;
        }
        scripts += 1;
        if let Err(error) = run_script(&fs::read_to_string(&path).unwrap()) {
            failed.push(format!("{}: {error}", path.display()));
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
    assert!(scripts >= 5, "only {scripts} scenarios found");
}

#[track_caller]
fn fails(script: &str, expected: &str) {
    let error = run_script(script).unwrap_err();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn a_script_that_is_wrong_says_where() {
    const SLO: &str = "slo\n  apiVersion: slod.dev/v1\n  kind: ServiceLevelObjective\n  metadata: {name: a, service: s}\n  spec:\n    sli: {type: availability, bad: 'sum(rate(b[1m]))', total: 'sum(rate(t[1m]))'}\n    objective: {target: 99, window: 1h}\nload 10s\n  b 0+1x90\n  t 0+10x90\n";
    run_script(&format!("{SLO}eval at 10m a\n  expect events 600\n  expect bad_events 60\n")).unwrap();
    fails(
        &format!("{SLO}eval at 10m a\n  expect status ok\n  expect events 601\n"),
        "line 13: events is 600, expected 601",
    );
    fails(&format!("{SLO}eval at 10m b\n  expect events 1\n"), "no SLO b");
    fails(&format!("{SLO}eval at 10m a\n  expect joy\n"), "line 12: unknown expectation");
    fails("load soon\n", "line 1: \"soon\" is not a duration");
    fails("load 10s\n  b 1+\n", "line 2: cannot read value");
    fails("\n\ndance\n", "line 3: unknown command");
}
