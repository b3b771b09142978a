//! A runner for readable scenarios.
//!
//! ```text
//! # Comments and empty lines are skipped. Times count from the start of the script.
//! start 1711839600                 # in Unix seconds; a midnight of UTC when not given, before anything else
//! interval 10s                     # of evaluation; 1s when not given, before anything else
//! slo                              # an SLO in any accepted format, indented
//!   apiVersion: slod.dev/v1
//!   …
//! load 15s [from 1h] [arriving 3h] # series in Prometheus' notation, one sample every 15s; they arrive
//!                                  # at their own time, or all at once at a later one
//!   http_requests_total{job="api",instance="a",code="200"} 0+10x240
//! eval at 1h api-availability      # optionally {group="labels"}
//!   expect events 2400             # also bad_events, budget, coverage, time_to_exhaustion, alerts, instances
//!   expect burn_rate 1h 14.4       # also error_ratio and, by the window's label, budget; `~14.4` means within 1%
//!   expect status ok
//!   expect alert page inactive
//! within 2h api-availability page firing between 9m and 10m
//! ```
//!
//! `within` evaluates until the alert has that state, for at most the time given, and checks when that
//! was. Time only goes forward: every `eval` and `within` continues where the one before ended.

use std::{collections::BTreeMap, time::Duration};

use super::{Sent, World, notation, parse_series};
use crate::{
    labels::Labels,
    report::{SloReport, Snapshot},
    slo::Slo,
    spec,
    time::{Timestamp, format_duration, parse_duration},
};

/// The usual start of a script: a midnight, so that slots of every width begin there.
const START: Timestamp = Timestamp(1_700_006_400_000);

struct Script {
    start: Timestamp,
    interval: Duration,
    slos: Vec<Slo>,
    /// Samples that have not arrived, by time of arrival.
    pending: BTreeMap<Timestamp, Vec<Sent>>,
    world: Option<World>,
    /// The time of the next evaluation.
    next: Timestamp,
    report: Snapshot,
}

/// Runs a script.
///
/// # Errors
/// The first line that cannot be understood, or whose expectation is not met, with its number.
pub fn run_script(text: &str) -> Result<(), String> {
    let mut script = Script {
        start: START,
        interval: Duration::from_secs(1),
        slos: Vec::new(),
        pending: BTreeMap::new(),
        world: None,
        next: START,
        report: Snapshot::default(),
    };
    let lines: Vec<&str> = text.lines().collect();
    let mut number = 0;
    while number < lines.len() {
        let block_end = (number + 1..lines.len())
            .find(|next| !lines[*next].starts_with(char::is_whitespace) && !lines[*next].is_empty())
            .unwrap_or(lines.len());
        let command = lines[number].split('#').next().unwrap_or("").trim();
        if !command.is_empty() {
            script
                .command(command, &lines[number + 1..block_end])
                .map_err(|(offset, error)| format!("line {}: {error}", number + 1 + offset))?;
        }
        number = block_end;
    }
    Ok(())
}

/// The line within the block that is wrong (0: the command itself), and why.
type Fault = (usize, String);

fn at_command(error: impl ToString) -> Fault {
    (0, error.to_string())
}

/// The lines of a block that are neither empty nor comments, with their distance from the command.
fn content<'a>(block: &'a [&str]) -> impl Iterator<Item = (usize, &'a str)> {
    let lines = block.iter().enumerate().map(|(n, line)| (n + 1, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

// === impl Script ===

impl Script {
    fn command(&mut self, command: &str, block: &[&str]) -> Result<(), Fault> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match *words.as_slice() {
            ["start", seconds] => {
                let seconds: i64 = seconds.parse().map_err(at_command)?;
                (self.start, self.next) = (Timestamp(seconds * 1_000), Timestamp(seconds * 1_000));
                Ok(())
            }
            ["interval", interval] => {
                self.interval = parse_duration(interval).map_err(at_command)?;
                Ok(())
            }
            ["slo"] => self.read_slos(block),
            ["load", step, ref options @ ..] => self.load(step, options, block),
            ["eval", "at", time, slo] => self.evaluate(time, slo, block),
            ["within", limit, slo, severity, state, "between", from, "and", to] => {
                self.within(limit, slo, severity, state, (from, to)).map_err(at_command)
            }
            _ => Err(at_command(format!("unknown command {command:?}"))),
        }
    }

    fn read_slos(&mut self, block: &[&str]) -> Result<(), Fault> {
        let indent = block.iter().find_map(|line| line.find(|c: char| !c.is_whitespace())).unwrap_or(0);
        let text: Vec<&str> = block.iter().map(|line| line.get(indent..).unwrap_or("")).collect();
        let read = spec::read("slo", &text.join("\n"));
        if let Some(error) = read.diagnostics.iter().find(|diagnostic| diagnostic.is_error()) {
            return Err((error.line as usize, error.to_string()));
        }
        self.slos.extend(read.slos);
        Ok(())
    }

    fn load(&mut self, step: &str, options: &[&str], block: &[&str]) -> Result<(), Fault> {
        let step = parse_duration(step).map_err(at_command)?;
        let (mut from, mut arriving) = (Duration::ZERO, Duration::ZERO);
        for option in options.chunks(2) {
            match *option {
                ["from", time] => from = parse_duration(time).map_err(at_command)?,
                ["arriving", time] => arriving = parse_duration(time).map_err(at_command)?,
                _ => return Err(at_command(format!("unknown option {option:?} of load"))),
            }
        }
        for (offset, line) in content(block) {
            let series = parse_series(line).map_err(|error| (offset, error))?;
            for (n, value) in series.values.iter().enumerate() {
                let at = self.start + from + step * n as u32;
                let labels = series.labels.clone();
                let sent = value.map(|value| Sent { labels, at, value });
                self.pending.entry(at.max(self.start + arriving)).or_default().extend(sent);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, time: &str, slo: &str, block: &[&str]) -> Result<(), Fault> {
        let time = self.start + parse_duration(time).map_err(at_command)?;
        if time < self.report.evaluated_at {
            return Err(at_command("time only goes forward"));
        }
        while self.next <= time {
            self.step().map_err(at_command)?;
        }
        for (offset, line) in content(block) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let report = find(&self.report, slo).map_err(at_command)?;
            expect(&self.report, report, &words).map_err(|error| (offset, error))?;
        }
        Ok(())
    }

    fn within(
        &mut self,
        limit: &str,
        slo: &str,
        severity: &str,
        state: &str,
        (from, to): (&str, &str),
    ) -> Result<(), String> {
        let parse = |text| parse_duration(text).map_err(|error| error.to_string());
        let (limit, from, to) =
            (self.next + parse(limit)?, self.start + parse(from)?, self.start + parse(to)?);
        while self.next <= limit {
            self.step()?;
            let now = self.report.evaluated_at;
            if alert_state(find(&self.report, slo)?, severity)? == state {
                let in_time = (from..=to).contains(&now);
                let when = format_duration(now.since(self.start));
                return if in_time { Ok(()) } else { Err(format!("{severity} is {state} at {when}")) };
            }
        }
        Err(format!("{severity} was not {state} until {}", format_duration(limit.since(self.start))))
    }

    /// Moves on by one evaluation: first what arrived, then the tick.
    fn step(&mut self) -> Result<(), String> {
        let (slos, interval) = (&self.slos, self.interval);
        let world = self.world.get_or_insert_with(|| World::immediate(slos.clone(), interval, self.start));
        let later = self.pending.split_off(&(self.next + Duration::from_millis(1)));
        for (arrival, samples) in std::mem::replace(&mut self.pending, later) {
            world.send(&samples, arrival).map_err(|error| error.to_string())?;
        }
        self.report = world.tick(self.next).snapshot();
        self.next = self.next + self.interval;
        Ok(())
    }
}

fn find<'a>(report: &'a Snapshot, name: &str) -> Result<&'a SloReport, String> {
    let (name, group) = match name.find('{') {
        Some(brace) => (&name[..brace], notation::parse_labels(&name[brace..])?),
        None => (name, Labels::default()),
    };
    let found = report.slos.iter().find(|slo| slo.slo.id.name == name && slo.group == group);
    found.ok_or_else(|| format!("no SLO {name} with group {group}"))
}

fn expect(report: &Snapshot, slo: &SloReport, words: &[&str]) -> Result<(), String> {
    match *words {
        ["expect", "instances", number] => {
            let instances = report.slos.iter().filter(|other| other.slo.id == slo.slo.id);
            close("instances", instances.count() as f64, number)
        }
        ["expect", "budget", window, value] => {
            let found = slo.budgets.iter().find(|budget| budget.window.to_string() == window);
            let found = found.ok_or_else(|| format!("the objective has no window {window}"))?;
            close(&format!("budget {window}"), found.remaining, value)
        }
        ["expect", "status", status] => same("status", slo.status.name(), status),
        ["expect", "alert", severity, state] => same("alert", alert_state(slo, severity)?, state),
        ["expect", quantity @ ("burn_rate" | "error_ratio"), window, value] => {
            let length = parse_duration(window).map_err(|error| error.to_string())?;
            let found = slo.window(length);
            let found = found.ok_or_else(|| format!("the SLO has no window {window}"))?;
            let actual = if quantity == "burn_rate" { found.burn_rate } else { found.error_ratio };
            close(&format!("{quantity} {window}"), actual, value)
        }
        ["expect", quantity, value] => close(quantity, number(slo, quantity)?, value),
        _ => Err(format!("unknown expectation {:?}", words.join(" "))),
    }
}

fn number(slo: &SloReport, quantity: &str) -> Result<f64, String> {
    match quantity {
        "alerts" => Ok(slo.alerts.len() as f64),
        "events" => Ok(slo.events_total),
        "bad_events" => Ok(slo.bad_events_total),
        "budget" => Ok(slo.budget().remaining),
        "coverage" => Ok(slo.budget().coverage),
        "time_to_exhaustion" => {
            Ok(slo.budget().time_to_exhaustion.map_or(f64::INFINITY, |left| left.as_secs_f64()))
        }
        "time_to_recovery" => Ok(slo.budget().time_to_recovery.as_secs_f64()),
        _ => Err(format!("unknown quantity {quantity:?}")),
    }
}

fn alert_state(slo: &SloReport, severity: &str) -> Result<&'static str, String> {
    let of_severity = slo.slo.alerts.iter().zip(&slo.alerts).filter(|(alert, _)| alert.severity == severity);
    match of_severity.map(|(_, report)| report.level).max() {
        None => Err(format!("the SLO has no alert {severity:?}")),
        Some(0) => Ok("inactive"),
        Some(1) => Ok("pending"),
        Some(_) => Ok("firing"),
    }
}

fn same(what: &str, actual: &str, expected: &str) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{what} is {actual}, expected {expected}")) }
}

fn close(what: &str, actual: f64, expected: &str) -> Result<(), String> {
    let (digits, tolerance) = match expected.strip_prefix('~') {
        Some(digits) => (digits, 1e-2),
        None => (expected, 1e-9),
    };
    let value: f64 = digits.parse().map_err(|_| format!("{digits:?} is not a number"))?;
    let is_close = actual == value || (actual - value).abs() <= tolerance * value.abs().max(1e-12);
    if is_close { Ok(()) } else { Err(format!("{what} is {actual}, expected {expected}")) }
}
