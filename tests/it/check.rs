//! `slod check`, `convert` and `schema` as the real binary: what goes where, and exit codes.

use std::{fs, process::Command};

const GOOD: &str = "tests/testdata/specs/native/counted.yaml";
const BAD: &str = "tests/testdata/specs/bad.yaml";

/// Exit code, standard output and standard error of a command.
fn slod(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_slod")).args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn exit_codes_say_whether_anything_is_wrong() {
    #[track_caller]
    fn check(args: &[&str], code: i32) {
        let (found, _, errors) = slod(args);
        assert_eq!(found, code, "{args:?}: {errors}");
    }
    let directory = tempfile::tempdir().unwrap();
    let doubtful = directory.path().join("doubtful.yaml");
    let dead = fs::read_to_string("tests/testdata/specs/sloth/vans.yaml").unwrap();
    fs::write(&doubtful, dead.replace("objective: 99.5", "objective: 90")).unwrap();
    let doubtful = doubtful.to_str().unwrap();
    check(&["check", GOOD], 0);
    check(&["check", BAD], 1);
    check(&["check", GOOD, BAD], 1);
    check(&["check", "--format", "json", BAD], 1);
    check(&["check", "/nowhere"], 1);
    check(&["check", "--config.file", "/nowhere"], 1);
    check(&["check", doubtful], 0);
    check(&["check", "--fatal-warnings", doubtful], 1);
    check(&["check", "--fatal-warnings", GOOD], 0);
    check(&["check", "--format", "yaml", GOOD], 2);
    check(&["check", "--explain", "--format", "json", GOOD], 2);
    check(&["convert", GOOD], 0);
    check(&["convert", BAD], 1);
    check(&["convert", "--no-such-flag"], 2);
}

#[test]
fn what_is_right_and_what_is_wrong_go_different_ways() {
    let (_, found, problems) = slod(&["check", GOOD, BAD]);
    assert!(
        found.starts_with("post/parcels-delivered: streamed, 2 alerts, 30d and month and 2w\n"),
        "{found}"
    );
    assert!(found.ends_with("8 errors, 1 warning\n"), "{found}");
    assert!(problems.starts_with(&format!("{BAD}:5:3: error: unknown field `nam`")), "{problems}");
    assert!(!problems.contains('\x1b'), "colours without a terminal: {problems}");
    let (_, found, problems) = slod(&["check", "--format", "json", BAD]);
    let found: serde_json::Value = serde_json::from_str(&found).unwrap();
    assert_eq!((found["summary"]["errors"].as_u64(), problems.as_str()), (Some(8), ""));
}

#[test]
fn converted_specs_are_checked_and_converted_to_themselves() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("converted.yaml");
    let (_, converted, _) = slod(&["convert", "tests/testdata/specs/sloth", "tests/testdata/specs/pyrra"]);
    assert!(converted.starts_with("---\napiVersion: slod.dev/v1\n"), "{converted}");
    fs::write(&path, &converted).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(slod(&["convert", path]).1, converted);
    assert_eq!(slod(&["check", path]).0, 0);
}

#[test]
fn the_schema_is_the_one_that_is_checked_in() {
    assert_eq!(slod(&["schema"]).1, fs::read_to_string("config/slo.schema.json").unwrap());
}
