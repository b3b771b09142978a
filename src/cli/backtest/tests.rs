//! What a replay prints, and what it says of input that is none.

use std::fmt::Write;

use super::*;
use crate::{backtest::BacktestError, engine, history::Format, ingest, testing::slos};

const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: api}
spec:
  sli:
    bad: sum(rate(http_requests_total{code=~"5.."}[5m]))
    total: sum(rate(http_requests_total[5m]))
  objective: {target: 99.9, window: 30d}
"#;

const ALL: Range = Range { from: Timestamp(i64::MIN), to: Timestamp(i64::MAX) };
const COST: Cost = Cost {
    reading: Duration::from_millis(1_500),
    replaying: Duration::from_millis(250),
    peak_bytes: Some(40 << 20),
};

/// Thirty hours of a service, of which 10% went wrong for 40 minutes after the tenth.
fn openmetrics() -> String {
    let mut text = "# TYPE http_requests counter\n".to_owned();
    for (code, wrong) in [("200", false), ("500", true)] {
        let mut value = 0;
        for minute in 0..30 * 60 {
            let seconds = 1_700_006_400 + minute * 60;
            writeln!(text, "http_requests_total{{code=\"{code}\",instance=\"a\"}} {value} {seconds}")
                .unwrap();
            let bad = if (600..640).contains(&minute) { 60 } else { 0 };
            value += if wrong { bad } else { 600 - bad };
        }
    }
    text + "# EOF\n"
}

fn config() -> backtest::Config {
    backtest::Config {
        interval: Duration::from_secs(30),
        engine: engine::Config::default(),
        ingest: ingest::Config::default(),
        groups_per_slo_max: 100,
        incidents: Vec::new(),
        tune: false,
    }
}

fn replay(config: backtest::Config) -> Report {
    let mut backtest = Backtest::new(slos(SPEC), config).unwrap();
    let progress = Progress::new();
    input::read(openmetrics().as_bytes(), Format::OpenMetrics, &mut backtest, ALL, &progress).unwrap();
    backtest.finish(|at| progress.step(at)).unwrap()
}

fn with_incidents() -> backtest::Config {
    let csv = "start,end,slo,name\n2023-11-15T10:00:00Z,2023-11-15T10:40:00Z,api/availability,\"database, full\"\n\
               1700020800,1700021400,,nobody noticed\n2023-11-01T00:00:00Z,2023-11-01T01:00:00Z,,long ago\n";
    backtest::Config { incidents: backtest::read_incidents("incidents.csv", csv).unwrap(), ..config() }
}

#[test]
fn a_page_for_people() {
    let page = page::render(&sections::sections(&replay(config()), COST), Style::Human(Paint::Plain));
    insta::assert_snapshot!("human", page);
}

#[test]
fn a_page_for_pull_requests() {
    let config = backtest::Config { tune: true, ..with_incidents() };
    let page = page::render(&sections::sections(&replay(config), COST), Style::Markdown);
    insta::assert_snapshot!("markdown", page);
}

#[test]
fn a_document_for_programs() {
    let document = json::document(&replay(with_incidents()), COST);
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&document).unwrap());
}

#[test]
fn colours_are_an_addition() {
    let report = replay(config());
    let (plain, colored) = (Paint::Plain, Paint::Colors);
    let lines = |paint| chart::lines(&report.instances[0], report.span, paint).join("\n");
    let bare = regex::Regex::new("\x1b\\[[0-9]*m").unwrap().replace_all(&lines(colored), "").into_owned();
    let trimmed: Vec<&str> = bare.lines().map(str::trim_end).collect();
    assert_eq!(trimmed.join("\n"), lines(plain));
    assert!(lines(colored).contains("\x1b[32m") && !lines(plain).contains('\x1b'));
}

#[track_caller]
fn check_input(text: &str, range: Range, expected: &str) {
    let mut backtest = Backtest::new(slos(SPEC), config()).unwrap();
    let read = input::read(text.as_bytes(), Format::OpenMetrics, &mut backtest, range, &Progress::new());
    let said = match read {
        Err(error) => format!("{error:#}"),
        Ok(_) => backtest.finish(|_| ()).unwrap_err().to_string(),
    };
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn what_is_no_history_is_told() {
    check_input("", ALL, &BacktestError::Empty.to_string());
    check_input("up 1 1700000000\n", ALL, "none of 1 series of the history is selected by any SLO;");
    let early = Range { from: Timestamp(0), to: Timestamp(1) };
    check_input(&openmetrics(), early, "none of its 3600 samples lies within --from and --to");
    check_input(&"x\n".repeat(2_000), ALL, "more than 1000 lines cannot be read as OpenMetrics");
}

#[test]
fn times_are_absolute_or_ago() {
    let now = Timestamp(1_700_000_000_000);
    let at = |text: &str| moment(text, now).map(|at| at.0 / 1_000).map_err(|error| error.to_string());
    assert_eq!(at("1h"), Ok(1_699_996_400));
    assert_eq!(at("1699990000"), Ok(1_699_990_000));
    assert_eq!(at("2023-11-14T22:13:20Z"), Ok(1_700_000_000));
    assert_eq!(at("2023-11-14T23:13:20+01:00"), Ok(1_700_000_000));
    let said = at("yesterday").unwrap_err();
    assert!(said.starts_with("\"yesterday\" is no time; write it like 2026-11-21T14:05:00Z"), "{said}");
}

#[test]
fn the_memory_of_this_process_is_known_on_linux() {
    assert_eq!(peak_bytes().is_some(), cfg!(target_os = "linux"));
}
