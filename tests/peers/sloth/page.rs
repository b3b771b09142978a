//! What was found as tables of a page.

use std::fmt::Write;

use slod::time::format_duration;

use super::findings::{Agreement, Budget, Difference, Findings};

/// What follows is written by the test.
pub const BEGIN: &str = "<!-- The rest is written by `UPDATE_DOCS=1 make test-peers`. -->";

pub fn tables(findings: &[Findings]) -> String {
    let mut text = String::new();
    windows(&mut text, findings);
    alerts(&mut text, findings);
    budgets(&mut text, findings);
    text
}

fn windows(text: &mut String, findings: &[Findings]) {
    *text += "### Burn rates apart\n\nAs root of the mean square / at most:\n\n";
    write_windows(text, findings, apart);
    let hours = findings[0].windows[0].hours;
    writeln!(text, "\nHours of {hours} at which Sloth's rule has no value, or NaN:\n").unwrap();
    let silent = |found: &&Findings| found.windows.iter().any(|window| window.silent > 0);
    write_windows(text, findings.iter().filter(silent), |found| found.silent.to_string());
}

fn alerts(text: &mut String, findings: &[Findings]) {
    *text += "\n### Alerts\n\nOf all fifth minutes those at which the alert's condition holds:\n\n";
    *text += "| SLO | severity | in both | in slod only | in Sloth only |\n|---|---|--:|--:|--:|\n";
    for found in findings {
        for Agreement { severity, both, slod_only, sloth_only } in &found.alerts {
            writeln!(text, "| {} | {severity} | {both} | {slod_only} | {sloth_only} |", name(found)).unwrap();
        }
    }
}

fn budgets(text: &mut String, findings: &[Findings]) {
    *text += "\n### Budgets\n\nWhat remains after 30 days:\n\n";
    *text +=
        "| SLO | target | slod | Sloth | Sloth, `disableOptimized` | minutes in Sloth's mean, of 43,200 |\n";
    *text += "|---|--:|--:|--:|--:|--:|\n";
    for found in findings {
        let Budget { target, slod, sloth, at_once, counted } = found.budget;
        let [slod, sloth, at_once] = [slod, sloth, at_once].map(percent);
        let (name, target) = (name(found), target * 100.0);
        writeln!(text, "| {name} | {target:.1}% | {slod} | {sloth} | {at_once} | {counted} |").unwrap();
    }
}

/// A row for each subject, with a cell for each window.
fn write_windows<'f>(
    text: &mut String,
    findings: impl IntoIterator<Item = &'f Findings>,
    cell: impl Fn(&Difference) -> String,
) {
    let mut is_first = true;
    for found in findings {
        if std::mem::take(&mut is_first) {
            let windows = found.windows.iter().map(|found| format_duration(found.window));
            writeln!(text, "| SLO | {} |", windows.collect::<Vec<_>>().join(" | ")).unwrap();
            writeln!(text, "|---|{}", "--:|".repeat(found.windows.len())).unwrap();
        }
        let cells: Vec<String> = found.windows.iter().map(&cell).collect();
        writeln!(text, "| {} | {} |", name(found), cells.join(" | ")).unwrap();
    }
}

fn name(found: &Findings) -> String {
    match found.subject {
        (id, _, "") => id.to_owned(),
        (id, _, route) => format!("{id} `{route}`"),
    }
}

fn apart(found: &Difference) -> String {
    format!("{} / {}", two_digits(found.usual()), two_digits(found.most))
}

/// Two digits that matter; what is less than rounding is nothing.
fn two_digits(value: f64) -> String {
    let decimals = (1.0 - value.log10().floor()).max(0.0);
    if value < 1e-6 { "0".to_owned() } else { format!("{value:.*}", decimals as usize) }
}

fn percent(ratio: f64) -> String {
    if ratio.is_nan() { "NaN".to_owned() } else { format!("{:.1}%", ratio * 100.0) }
}
