//! What the tuner found, in words.

use super::{length, percent, tier, weeks};
use crate::{
    backtest::{Report, Setting, SeverityTuning, Tuning},
    cli::backtest::page::{Section, Table},
};

// The set is shown as far as it fits a screen with the rest; the present setting and the best are always there.
const SETTINGS_MAX: usize = 12;
// Fewer incidents say more about themselves than about the next.
const INCIDENTS_MIN: usize = 5;

const COLUMNS: &str =
    "Settings that no other beats in all of missed incidents, false alerts and mean time to tell.
alerts a week: how often anything fires; false: of these, what belongs to no incident;
minutes a week: how long anything fires; told after: mean and maximum from the start of incidents.
* present, > recommended: fewest missed; then the least of mean time to tell, plus a price for each false
alert a week (5 minutes for a page, an hour for others); as sensitive to slow burns as at present.";

pub(super) fn sections(report: &Report) -> Vec<Section> {
    let mut sections = Vec::new();
    if !report.tunings.is_empty() {
        sections.push(Section::Heading(1, "Tuning".to_owned()));
        sections.push(Section::Text(COLUMNS.to_owned()));
    }
    sections.extend(report.tunings.iter().flat_map(|tuning| of_slo(tuning, weeks(report.span))));
    sections
}

fn of_slo(tuning: &Tuning, weeks: f64) -> Vec<Section> {
    let mut sections = Vec::new();
    for severity in &tuning.severities {
        sections.push(Section::Heading(2, format!("{}: {}", tuning.slo, severity.severity)));
        sections.push(Section::Text(basis(severity)));
        sections.push(Section::Table(table(severity, weeks)));
    }
    if let Some(yaml) = &tuning.yaml {
        sections.push(Section::Text("To paste below spec:".to_owned()));
        sections.push(Section::Yaml(yaml.clone()));
    }
    sections
}

/// What it rests on.
fn basis(tuning: &SeverityTuning) -> String {
    let of = match tuning.incident_share {
        Some(share) => format!("stretches that spent {} of the budget or more", percent(share, 2)),
        None => "as given".to_owned(),
    };
    let caution = match tuning.incidents {
        0 => "; nothing can be recommended without any",
        incidents if incidents < INCIDENTS_MIN => "; so few are a hint, no proof",
        _ => "",
    };
    format!("settings tried: {}; incidents: {} ({of}){caution}", tuning.tried, tuning.incidents)
}

fn table(tuning: &SeverityTuning, weeks: f64) -> Table {
    let mut left = SETTINGS_MAX;
    let shown = tuning.settings.iter().filter(|setting| {
        let is_kept = setting.is_present || setting.is_recommended || left > 0;
        left = left.saturating_sub(1);
        is_kept
    });
    let header = ["", "tiers", "missed", "alerts a week", "false", "minutes a week", "told after"];
    Table::new(2, &header, shown.map(|setting| row(setting, weeks)).collect())
}

fn row(setting: &Setting, weeks: f64) -> Vec<String> {
    let mark = match (setting.is_present, setting.is_recommended) {
        (true, true) => "*>",
        (true, false) => "*",
        (false, true) => ">",
        (false, false) => "",
    };
    let outcome = &setting.outcome;
    let told = match (outcome.detection_mean, outcome.detection_max) {
        (Some(mean), Some(max)) => format!("{}, {}", length(mean), length(max)),
        _ => "-".to_owned(),
    };
    let tiers: Vec<String> = setting.tiers.iter().map(|of| tier(*of)).collect();
    vec![
        mark.to_owned(),
        tiers.join(" or "),
        outcome.missed.to_string(),
        format!("{:.1}", outcome.alerts as f64 / weeks),
        outcome.false_alerts.to_string(),
        format!("{:.1}", outcome.firing.as_secs_f64() / 60.0 / weeks),
        told,
    ]
}
