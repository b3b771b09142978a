//! Checks on the text of the code itself: which module uses which, and that every file says what it is for.

use std::{collections::BTreeMap, fs, path::Path};

/// Top-level modules by floor, ground floor first. A module uses only modules of lower floors.
/// A new arrow between modules is a design change: edit this table in the same commit and say why.
const FLOORS: &[&[&str]] = &[
    &["time", "labels", "telemetry"],
    &["client", "prompb", "counter", "template", "window"],
    &["expression", "histogram", "history"],
    &["slo"],
    &["promql"],
    &["spec", "matching", "burn_rate"],
    &["sampling"],
    &["ingest", "alert"],
    &["report"],
    &["engine"],
    &["exposition", "notifier", "pipeline", "rules", "source", "web"],
    &["api", "backfill", "dashboards", "remote_write", "storage"],
    &["config", "testing"],
    &["backtest", "daemon"],
    &["cli"],
];

#[test]
fn modules_use_only_lower_floors() {
    let floor_of: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, modules)| modules.iter().map(move |module| (*module, floor)))
        .collect();
    let mut wrong = Vec::new();
    for_each_source(Path::new("src"), &mut |module, path, text| {
        let Some(&own) = floor_of.get(module) else {
            return wrong.push(format!("{path}: module `{module}` has no floor"));
        };
        for used in crate_paths(text) {
            if used != module && floor_of.get(used.as_str()).is_none_or(|floor| own <= *floor) {
                wrong.push(format!("{path}: `{module}` may not use `crate::{used}`"));
            }
        }
    });
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let mut silent = Vec::new();
    for_each_source(Path::new("src"), &mut |_, path, text| {
        if !text.starts_with("//!") {
            silent.push(path.to_owned());
        }
    });
    assert!(silent.is_empty(), "files without module docs: {silent:?}");
}

#[test]
fn only_the_daemon_reads_the_clock() {
    let mut readers = Vec::new();
    for_each_source(Path::new("src"), &mut |module, path, text| {
        if module != "daemon" && ["Instant::now", "SystemTime::now"].iter().any(|call| text.contains(call)) {
            readers.push(path.to_owned());
        }
    });
    assert!(readers.is_empty(), "only `daemon` reads the clock, but so do {readers:?}");
}

#[test]
fn a_wrong_edge_is_seen_in_every_way_to_write_it() {
    assert_eq!(crate_paths("use crate::window::Counts;"), ["window"]);
    assert_eq!(crate_paths("use crate::{slo::{Slo, Target}, time};"), ["slo", "time"]);
    assert_eq!(crate_paths("fn f() -> crate::web::Server {"), ["web"]);
}

/// The first path segment after each `crate::`, including `crate::{a, b::c}` groups.
fn crate_paths(text: &str) -> Vec<String> {
    let identifier = |s: &str| -> String {
        s.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    let mut found = Vec::new();
    for rest in text.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => found.push(identifier(rest)),
            Some(group) => found.extend(group_members(group).into_iter().map(identifier)),
        }
    }
    found
}

/// The members of a `{…}` import group, given what follows its opening brace.
fn group_members(group: &str) -> Vec<&str> {
    let mut members = Vec::new();
    let mut depth = 0;
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => (),
        }
    }
    members.retain(|member| !member.trim().is_empty());
    members
}

/// Calls `visit(top_level_module, path, text)` for every file but `lib.rs` and `main.rs`.
fn for_each_source(dir: &Path, visit: &mut dyn FnMut(&str, &str, &str)) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            for_each_source(&path, visit);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inside = path.strip_prefix("src").unwrap();
            let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = first.strip_suffix(".rs").unwrap_or(first);
            if module != "lib" && module != "main" {
                visit(module, path.to_str().unwrap(), &fs::read_to_string(&path).unwrap());
            }
        }
    }
}
