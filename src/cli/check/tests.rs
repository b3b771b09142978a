//! What `slod check` says of the fixtures, as people and programs read it.

use super::*;
use crate::spec::{self, Settings};

const FIXTURES: &str = "tests/testdata/specs/*/*.yaml";
const PULL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60);

/// The fixtures of all formats, with a Prometheus to ask.
fn fixtures() -> Specs {
    let specs = specs::load_under(&[FIXTURES], &with_prometheus());
    assert!(!specs.has_errors() && specs.slos.len() > 10, "{:?}", specs.diagnostics);
    specs
}

fn with_prometheus() -> Settings {
    Settings { pull_interval: Some(PULL_INTERVAL), ..Settings::default() }
}

#[test]
fn a_line_per_slo() {
    let specs = fixtures();
    insta::assert_snapshot!("lines", specs.slos.iter().map(line).collect::<String>() + &summary(&specs));
}

#[test]
fn a_page_per_slo() {
    let specs = fixtures();
    let pages = specs.slos.iter().map(|slo| explain::page(slo, &specs.places[&slo.id]));
    insta::assert_snapshot!("pages", pages.collect::<String>());
}

#[test]
fn json_for_programs() {
    let files = ["tests/testdata/specs/native/stepwise.yaml", "tests/testdata/specs/bad.yaml"];
    let specs = specs::load_under(&files, &with_prometheus());
    insta::assert_snapshot!("json", json::render(&specs).unwrap());
}

#[test]
fn problems_with_the_line_that_they_are_in() {
    let specs = specs::load(&["tests/testdata/specs/bad.yaml"]);
    let mut snippets = Snippets::new(Colors::Off);
    let shown: Vec<String> = specs.diagnostics.iter().map(|found| snippets.render(found)).collect();
    insta::assert_snapshot!("problems", shown.join("\n"));
}

#[test]
fn only_what_is_needed_is_kept() {
    let slos = |sli: &str| {
        let head = "apiVersion: slod.dev/v1\nkind: ServiceLevelObjective\nmetadata: {name: a, service: b}\n";
        let text = format!("{head}spec: {{sli: {sli}, objective: {{target: 99, window: 30d}}}}");
        let specs = spec::read_all([("f", text)], &with_prometheus());
        assert_eq!(specs.slos.len(), 1, "{:?}", specs.diagnostics);
        specs.slos
    };
    #[track_caller]
    fn check(slos: &[Slo], expected: &str) {
        let list = keep::keep_list(slos).unwrap();
        let regex = list.lines().find_map(|line| line.trim().strip_prefix("regex:"));
        assert_eq!(regex.map(str::trim), Some(expected), "{list}");
    }
    check(&slos("{bad: 'sum(rate(b[1m]))', total: 'sum(rate(a[1m])) + sum(rate(b{c=\"d\"}[1m]))'}"), "a|b");
    check(
        &slos("{bad: 'sum(rate({__name__=~\"a.*|b\"}[1m]))', total: 'sum(rate({__name__=~\"(?i)c\"}[1m]))'}"),
        "(?:(?i)c)|a.*|b",
    );
    check(&slos("{step: 1m, query: 'min(up{job=\"a\"}) * max(b:c)'}"), "b:c|up");
    check(&slos("{step: 1m, query: 'count(topk(3, a))'}"), "\"\"");
}
