//! What a report says to people.

mod tuning;

use std::time::Duration;

use super::{
    Cost,
    chart::{self, Paint},
    page::{Section, Table},
};
use crate::{
    backtest::{Answer, Firing, InstanceReport, Met, Remaining, Report, Score, SeverityTotal, Span, Tier},
    matching::Role,
    slo::Slo,
    time::{Timestamp, format_duration},
};

// Groups of an SLO that are shown in full; the others are counted. JSON has all.
const GROUPS_MAX: usize = 10;
// Rows of a table; beyond that people count, and programs read JSON.
const ROWS_MAX: usize = 40;

pub(super) fn sections(report: &Report, cost: Cost) -> Vec<Section> {
    let mut sections = vec![
        Section::Heading(0, format!("Backtest {} to {}", moment(report.span.start), moment(report.span.end))),
        Section::Text(format!(
            "evaluated every {}: times of alerts are exact to that",
            format_duration(report.interval)
        )),
    ];
    let mut groups = 0;
    let mut last: Option<&Slo> = None;
    for instance in &report.instances {
        if last.is_none_or(|last| last.id != instance.slo.id) {
            groups = 0;
        }
        last = Some(&instance.slo);
        groups += usize::from(instance.role == Role::Group && !instance.firings.is_empty());
        if instance.role != Role::Group || (!instance.firings.is_empty() && groups <= GROUPS_MAX) {
            sections.extend(of_instance(instance, report));
        }
    }
    sections.extend(hidden(report));
    sections.extend(scores(report));
    sections.extend(tuning::sections(report));
    sections.extend(remarks(report));
    sections.push(Section::Text(speed(report, cost)));
    sections
}

// === instances ===

fn of_instance(instance: &InstanceReport, report: &Report) -> Vec<Section> {
    let mut sections = vec![Section::Heading(1, title(instance)), Section::Text(summary(instance))];
    let drawing = |paint| chart::lines(instance, report.span, paint);
    let plain = drawing(Paint::Plain);
    if !plain.is_empty() {
        sections.push(Section::Drawing { colored: drawing(Paint::Colors), plain });
    }
    sections.push(Section::Table(days(instance)));
    if !instance.severities.is_empty() {
        sections.push(Section::Table(severities(instance)));
    }
    sections.extend(firings(instance));
    sections.extend(incidents(instance));
    sections
}

fn title(instance: &InstanceReport) -> String {
    let Slo { id, objective, .. } = &*instance.slo;
    let part = match instance.role {
        Role::Whole => String::new(),
        Role::RollUp => " (all groups)".to_owned(),
        Role::Group => format!(" {}", instance.group),
    };
    format!("{id}{part}: {} over {}", percent(objective.target.ratio(), 4), objective.windows[0])
}

fn summary(instance: &InstanceReport) -> String {
    let last = instance.days.last().copied().unwrap_or_default();
    let coverage = if last.coverage < 0.995 {
        format!("\n{} of the window was observed at the end", percent(last.coverage, 1))
    } else {
        String::new()
    };
    format!(
        "{} events, {} of them bad\nbudget at the end: {}; lowest: {} at {}{coverage}",
        whole(instance.events),
        whole(instance.bad_events),
        percent(last.ratio, 1),
        percent(instance.lowest.ratio, 1),
        moment(instance.lowest.at),
    )
}

fn days(instance: &InstanceReport) -> Table {
    let row = |day: &Remaining| vec![moment(day.at), percent(day.ratio, 1), percent(day.coverage, 1)];
    Table::new(1, &["end of day", "budget", "observed"], instance.days.iter().map(row).collect())
}

fn severities(instance: &InstanceReport) -> Table {
    let row = |total: &SeverityTotal| {
        vec![
            total.severity.clone(),
            total.alerts.to_string(),
            length(total.firing),
            format!("{:.1}", total.minutes_per_week),
        ]
    };
    Table::new(
        1,
        &["severity", "alerts", "firing", "minutes a week"],
        instance.severities.iter().map(row).collect(),
    )
}

fn firings(instance: &InstanceReport) -> Vec<Section> {
    let row = |firing: &Firing| {
        let alert = &instance.slo.alerts[firing.alert];
        let end = if firing.is_open { "still firing".to_owned() } else { moment(firing.span.end) };
        vec![
            alert.severity.clone(),
            tier(Tier::of(alert)),
            moment(firing.span.start),
            end,
            length(firing.span.length()),
            percent(firing.remaining, 1),
        ]
    };
    if instance.firings.is_empty() {
        return Vec::new();
    }
    let header = ["alert", "tier", "fires", "resolves", "after", "budget then"];
    cut(Table::new(4, &header, instance.firings.iter().map(row).collect()), "alerts")
}

fn incidents(instance: &InstanceReport) -> Vec<Section> {
    let row = |Met { incident, spent, answers }: &Met| {
        let mut row = vec![
            incident.name.clone(),
            moment(incident.span.start),
            length(incident.span.length()),
            percent(*spent, 1),
        ];
        row.extend(answers.iter().map(answer));
        row
    };
    if instance.incidents.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(2, &["incident", "from", "length", "budget spent"], Vec::new());
    let severities = instance.severities.iter();
    table.header.extend(severities.map(|total| format!("{}: detected, reset", total.severity)));
    table.rows = instance.incidents.iter().map(row).collect();
    cut(table, "incidents")
}

fn answer(answer: &Answer) -> String {
    let Some(detected) = answer.detected else { return "missed".to_owned() };
    let reset = answer.reset.map_or_else(|| "not yet".to_owned(), length);
    format!("{}, {reset}", length(detected))
}

/// The first rows, and how many there are beyond.
fn cut(mut table: Table, what: &str) -> Vec<Section> {
    let all = table.rows.len();
    table.rows.truncate(ROWS_MAX);
    let mut sections = vec![Section::Table(table)];
    if all > ROWS_MAX {
        sections.push(Section::Text(format!("and {} more {what}; --format json has all", all - ROWS_MAX)));
    }
    sections
}

/// How many groups are not shown.
fn hidden(report: &Report) -> Option<Section> {
    let groups = report.instances.iter().filter(|instance| instance.role == Role::Group);
    let quiet = groups.filter(|instance| instance.firings.is_empty()).count();
    (quiet > 0).then(|| {
        Section::Text(format!("{quiet} groups without an alert are not shown; --format json has all"))
    })
}

// === the whole ===

fn scores(report: &Report) -> Vec<Section> {
    if report.scores.is_empty() {
        return Vec::new();
    }
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let row = |score: &Score| {
        vec![
            score.severity.clone(),
            score.tier.map_or_else(|| "any".to_owned(), tier),
            score.alerts.to_string(),
            score.false_alerts.len().to_string(),
            or_none(score.precision.map(|precision| percent(precision, 1))),
            score.incidents.to_string(),
            score.missed.len().to_string(),
            or_none(score.recall.map(|recall| percent(recall, 1))),
            or_none(score.detection_median.map(length)),
            or_none(score.detection_max.map(length)),
        ]
    };
    let header = [
        "severity",
        "tier",
        "alerts",
        "false",
        "precision",
        "incidents",
        "missed",
        "recall",
        "median",
        "max",
    ];
    let table = Table::new(2, &header, report.scores.iter().map(row).collect());
    let mut sections = vec![Section::Heading(1, "Incidents".to_owned()), Section::Table(table)];
    let of_severities = report.scores.iter().filter(|score| score.tier.is_none());
    for score in of_severities {
        let named = |what: &str, list: Vec<String>| {
            (!list.is_empty())
                .then(|| Section::Text(format!("{} {what}: {}", score.severity, some_of(&list))))
        };
        sections.extend(named("missed", score.missed.clone()));
        let false_alerts = score.false_alerts.iter().map(|(slo, at)| format!("{slo} at {}", moment(*at)));
        sections.extend(named("false", false_alerts.collect()));
    }
    sections
}

fn some_of(list: &[String]) -> String {
    let more = list.len().saturating_sub(ROWS_MAX);
    let shown = list[..list.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn remarks(report: &Report) -> Vec<Section> {
    let mut remarks: Vec<String> =
        report.silent.iter().map(|silent| format!("{}: {}", silent.slo, silent.reason)).collect();
    if report.unordered > 0 {
        remarks.push(format!(
            "{} samples are left out: they are not later than the one before in their series",
            report.unordered
        ));
    }
    if let Some(reason) = &report.first_refusal {
        remarks.push(format!("{} samples are refused; the first: {reason}", report.refused));
    }
    let outside = report.outside.iter().map(|incident| incident.name.clone()).collect::<Vec<_>>();
    if !outside.is_empty() {
        remarks.push(format!("incidents outside of this history: {}", some_of(&outside)));
    }
    if remarks.is_empty() {
        return Vec::new();
    }
    vec![Section::Heading(1, "Remarks".to_owned()), Section::Text(remarks.join("\n"))]
}

fn speed(report: &Report, cost: Cost) -> String {
    let seconds = cost.replaying.as_secs_f64().max(1e-3);
    let memory = cost.peak_bytes.map_or_else(String::new, |bytes| {
        format!(", {:.0} MiB of memory at most", bytes as f64 / f64::from(1 << 20))
    });
    format!(
        "{} samples, read in {:.1} s, replayed in {seconds:.1} s ({} samples/s){memory}",
        whole(report.samples as f64),
        cost.reading.as_secs_f64(),
        whole(report.samples as f64 / seconds),
    )
}

// === words ===

fn tier(Tier { long, short, factor }: Tier) -> String {
    let factor = (factor * 1_000.0).round() / 1_000.0;
    format!("{}/{} > {factor}", format_duration(long), format_duration(short))
}

pub(in crate::cli) fn moment(at: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| at.to_string(), |at| at.to_string())
}

/// In whole seconds, which is as exact as it is.
fn length(length: Duration) -> String {
    format_duration(Duration::from_secs(length.as_secs_f64().round() as u64))
}

fn percent(ratio: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", ratio * 100.0);
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}%", if text == "-0" { "0" } else { text })
}

/// With thousands set apart.
fn whole(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < -0.5 { format!("-{text}") } else { text }
}

/// How many weeks a history has.
fn weeks(span: Span) -> f64 {
    span.length().as_secs_f64() / (7.0 * 86_400.0)
}
