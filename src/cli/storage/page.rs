//! A data directory, for people.

use super::{alert_state, moment, status};
use crate::{
    storage::{
        inspect::{
            AlertContents, Inspection, PartContents, SegmentContents, SloContents, State, StateContents,
        },
        state,
    },
    time::{Timestamp, format_duration},
};

/// What `inspect` prints.
pub(super) fn contents(inspection: &Inspection, now: Timestamp) -> String {
    let mut page = log(inspection);
    page += &match &inspection.state {
        State::Read(contents) => state(contents, now),
        other => format!("\nstate: {}\n", explained(other)),
    };
    for (file, bytes) in &inspection.aside {
        page += &format!("\nset aside: {file}, {bytes} bytes\n");
    }
    page + "\n" + &damage(inspection)
}

/// What `verify` prints.
pub(super) fn verdict(inspection: &Inspection) -> String {
    let (segments, records) = (inspection.segments.len(), inspection.records());
    let state = match &inspection.state {
        State::Read(_) => format!("{} values", inspection.values()),
        other => explained(other).to_owned(),
    };
    format!("log: {segments} segments, {records} records\nstate: {state}\n{}", damage(inspection))
}

fn explained(state: &State) -> &'static str {
    match state {
        State::InUse => "in use by a running slod; end it to look",
        State::Missing => "none",
        other => status(other),
    }
}

fn log(inspection: &Inspection) -> String {
    let (segments, records) = (inspection.segments.len(), inspection.records());
    let bytes: u64 = inspection.segments.iter().map(|segment| segment.file_bytes).sum();
    let mut rows = vec![["segment", "first", "last", "records", "bytes", "from", "to"].map(str::to_owned)];
    rows.extend(inspection.segments.iter().map(row));
    let table = if segments == 0 { String::new() } else { table(&rows) };
    format!("log: {segments} segments, {records} records, {bytes} bytes\n{table}")
}

fn row(segment: &SegmentContents) -> [String; 7] {
    let shown = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), moment);
    [
        segment.file.clone(),
        segment.first.0.to_string(),
        segment.last.map_or_else(|| "-".to_owned(), |last| last.0.to_string()),
        segment.records.to_string(),
        segment.file_bytes.to_string(),
        shown(segment.arrived.map(|(first, _)| first)),
        shown(segment.arrived.map(|(_, last)| last)),
    ]
}

fn state(contents: &StateContents, now: Timestamp) -> String {
    let taken = match (contents.position, contents.at) {
        (Some(position), Some(at)) => {
            let age = format_duration(now.since(at));
            format!("as of sequence {}, taken {} ({age} ago)", position.0, moment(at))
        }
        _ => "without a checkpoint".to_owned(),
    };
    let mut page = format!("\nstate: format {}, {} bytes, {taken}\n", state::FORMAT, contents.file_bytes);
    if let Some(evaluated_to) = contents.evaluated_to {
        page += &format!("  evaluated to {}\n", moment(evaluated_to));
    }
    page += &format!("  {} series, {} targets\n", contents.series, contents.targets);
    for elected in &contents.elected {
        let (cluster, replica) = (&elected.cluster, &elected.replica);
        page += &format!("  elected in {cluster}: {replica}, heard {}\n", moment(elected.heard));
    }
    let mut rows = vec![["part", "values", "bytes"].map(str::to_owned)];
    rows.extend(contents.parts.iter().map(|PartContents { part, values, bytes }| {
        [part.name().to_owned(), values.to_string(), bytes.to_string()]
    }));
    page + "\n" + &table(&rows) + &slos(&contents.slos)
}

fn slos(slos: &[SloContents]) -> String {
    let line = |slo: &SloContents| {
        let alerts: String = slo.alerts.iter().map(alert).collect();
        format!("  {}: instances {}\n    {}\n{alerts}", slo.id, slo.instances, slo.identity)
    };
    format!("\nSLOs: {}\n{}", slos.len(), slos.iter().map(line).collect::<String>())
}

fn alert(AlertContents { instance, alert }: &AlertContents) -> String {
    let (state, since) = alert_state(&alert.state);
    let since = since.map_or_else(String::new, |since| format!(" since {}", moment(since)));
    let (short, long) = (format_duration(alert.short), format_duration(alert.long));
    let what = match alert.condition.as_str() {
        "" => format!("over {long} and {short}"),
        condition => condition.to_owned(),
    };
    format!("    {} {what} of {instance}: {state}{since}\n", alert.severity)
}

fn damage(inspection: &Inspection) -> String {
    if inspection.damage.is_empty() {
        return "nothing is damaged\n".to_owned();
    }
    inspection.damage.iter().map(|damage| format!("damaged: {damage}\n")).collect()
}

/// Columns as wide as what is in them; the first is text, the others are numbers and times.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        format!("  {}\n", cells.collect::<Vec<_>>().join("  "))
    };
    rows.iter().map(line).collect()
}
