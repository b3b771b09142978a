//! Expressions at moments, in Prometheus' own words: what `promtool` says of the same series.
//!
//! Debian's promtool is of the time before Prometheus 3, when ranges were closed to the left. So no sample lies
//! on the edge of a range: they are 13 s apart, and moments and ranges are such that none is hit.

use std::{collections::BTreeMap, fmt::Write, fs, process::Command, time::Duration};

use slod::{
    expression::{Expression, Vector},
    labels::Labels,
    promql,
    testing::{Kept, parse_labels},
    time::Timestamp,
};

const INTERVAL: Duration = Duration::from_secs(13);

const SERIES: &str = include_str!("../testdata/promql/series.txt");

// 10 min 7 s is 9 s behind a sample; 4 min 1 s is 7 s behind one.
const MOMENTS: [&str; 2] = ["10m7s", "4m1s"];

const EXPRESSIONS: &str = include_str!("../testdata/promql/expressions.txt");

fn kept() -> Kept {
    Kept::parse(SERIES, Timestamp::default(), INTERVAL).unwrap()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

/// What promtool says of each expression at each moment. An expression that selects nothing has no answer.
fn ask_promtool() -> BTreeMap<(String, String), Vec<(Labels, f64)>> {
    let directory = tempfile::tempdir().unwrap();
    let mut tests = String::from("tests:\n  - interval: 13s\n    input_series:\n");
    for line in lines(SERIES) {
        let (series, values) = line.split_once(' ').unwrap();
        writeln!(tests, "      - {{series: '{series}', values: '{values}'}}").unwrap();
    }
    tests.push_str("    promql_expr_test:\n");
    for (expression, moment) in lines(EXPRESSIONS).flat_map(|e| MOMENTS.map(|moment| (e, moment))) {
        let expression = expression.replace('\'', "''");
        writeln!(tests, "      - {{expr: '{expression}', eval_time: {moment}}}").unwrap();
    }
    let path = directory.path().join("test.yml");
    fs::write(&path, tests).unwrap();
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&path)
        .output()
        .unwrap_or_else(|error| panic!("cannot run promtool ({error}); install it: make test-deps"));
    read_answers(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
}

/// No samples are expected, so that promtool complains of each it finds:
/// `expr: "x", time: 5m,` `exp: nil` `got: {a="b"} 1E+00, {} 2E+00`.
fn read_answers(said: &str) -> BTreeMap<(String, String), Vec<(Labels, f64)>> {
    let mut answers = BTreeMap::new();
    let mut asked = None;
    for line in said.lines().map(str::trim) {
        if let Some(question) = line.strip_prefix("expr: ") {
            let (expression, moment) = question.rsplit_once(", time: ").unwrap();
            let expression: String = serde_json::from_str(expression).unwrap();
            asked = Some((expression, moment.trim_end_matches(',').to_owned()));
        } else if let Some(got) = line.strip_prefix("got:") {
            answers.insert(asked.take().unwrap(), read_elements(got.trim()));
        }
    }
    assert!(!said.contains("err:"), "{said}");
    answers
}

fn read_elements(text: &str) -> Vec<(Labels, f64)> {
    let mut rest = text;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (labels, after) = rest.split_at(rest.find("} ").unwrap() + 1);
        let (value, after) = after.trim_start().split_once(", ").unwrap_or((after.trim_start(), ""));
        let labels = if labels == "{}" { Labels::default() } else { parse_labels(labels).unwrap() };
        elements.push((labels, value.parse().unwrap()));
        rest = after;
    }
    elements
}

fn without_names(elements: Vec<(Labels, f64)>) -> Vector {
    sorted(elements.into_iter().map(|(labels, value)| (labels.leave_out(&[]), value)).collect())
}

fn sorted(mut elements: Vector) -> Vector {
    elements.sort_by(|a, b| a.0.cmp(&b.0));
    elements
}

fn is_same(ours: &Vector, theirs: &Vector) -> bool {
    let is_close =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(our, their)| our.0 == their.0 && is_close(our.1, their.1))
}

fn expression(text: &str) -> Expression {
    promql::expression(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_expression_is_what_prometheus_says() {
    let kept = kept();
    let answers = ask_promtool();
    let (mut wrong, mut elements) = (String::new(), 0);
    for (text, moment) in lines(EXPRESSIONS).flat_map(|text| MOMENTS.map(|moment| (text, moment))) {
        let at = Timestamp::default() + slod::time::parse_duration(moment).unwrap();
        let ours = expression(text).evaluate(at, &kept);
        let ours = sorted(ours.unwrap_or_else(|error| panic!("{text} at {moment}: {error}")));
        let theirs = answers.get(&(text.to_owned(), moment.to_owned())).cloned();
        let theirs = without_names(theirs.unwrap_or_default());
        elements += theirs.len();
        if !is_same(&ours, &theirs) {
            writeln!(wrong, "{text} at {moment}\n  ours:   {ours:?}\n  theirs: {theirs:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(elements > 2 * lines(EXPRESSIONS).count(), "only {elements} elements were compared");
}

#[track_caller]
fn check(text: &str, at_seconds: u64, expected: &str) {
    let at = Timestamp::default() + Duration::from_secs(at_seconds);
    let elements = expression(text).evaluate(at, &kept());
    let shown = match elements {
        Ok(elements) => {
            elements.iter().map(|(labels, value)| format!("{labels} {value}")).collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(shown, expected, "{text} at {at_seconds} s");
}

#[test]
fn ranges_are_open_to_the_left() {
    check("count_over_time(limit{job=\"api\"}[26s])", 130, r#"{job="api"} 2"#);
    check("count_over_time(limit{job=\"api\"}[26s])", 131, r#"{job="api"} 2"#);
    check("count_over_time(vector(1)[2m:1m])", 120, "{} 2");
    check("count_over_time(vector(1)[2m:1m])", 121, "{} 2");
    // Its last sample was 780 s after the start.
    check("up{pod=\"a\"}", 1_079, r#"{job="api",pod="a"} 1"#);
    check("up{pod=\"a\"}", 1_080, "");
}

#[test]
fn a_staleness_marker_ends_a_series() {
    check("up{pod=\"c\"}", 402, r#"{job="web",pod="c"} 1"#);
    check("up{pod=\"c\"}", 403, "");
    check("count_over_time(up{pod=\"c\"}[30s])", 403, r#"{job="web",pod="c"} 2"#);
}

#[test]
fn what_cannot_be_told_apart_is_an_error() {
    let error = "several elements have the labels";
    check(
        "limit * on () limit{job=\"api\"}",
        60,
        &format!("error: {error} {{}}; aggregate them, or match on more labels"),
    );
    check(
        "limit{job=\"api\"} * on () limit",
        60,
        &format!("error: {error} {{}}; aggregate them, or match on more labels"),
    );
    let both = r#"{job="api",pod="a"}"#;
    check(
        "{__name__=~\"up|down\"}",
        60,
        &format!("error: {error} {both}; aggregate them, or match on more labels"),
    );
    check(
        "label_replace(up, \"pod\", \"x\", \"\", \"\")",
        60,
        &format!("error: {error} {{job=\"api\",pod=\"x\"}}; aggregate them, or match on more labels"),
    );
}
