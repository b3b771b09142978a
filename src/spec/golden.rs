//! What was read from specs as text, for golden tests: what is remarked, then every SLO in full.

use std::fmt::Write as _;

use super::{Specs, read};
use crate::{
    slo::{BurnRateAlert, Counted, HistogramMeasure, Indicator, Measure, Slo, Term},
    time::format_duration,
};

/// What a file with this text is read as.
pub(super) fn golden(text: &str) -> String {
    print(&read("f", text))
}

fn print(specs: &Specs) -> String {
    let mut text = String::new();
    for diagnostic in &specs.diagnostics {
        writeln!(text, "{diagnostic}").unwrap();
    }
    specs.slos.iter().for_each(|slo| print_slo(&mut text, slo));
    text
}

fn print_slo(text: &mut String, slo: &Slo) {
    let windows: Vec<String> = slo.objective.windows.iter().map(ToString::to_string).collect();
    let ratio = (slo.objective.target.ratio() * 1e9).round() / 1e9;
    writeln!(text, "{}: {ratio} over {}, {:?}", slo.id, windows.join(", "), slo.objective.budgeting).unwrap();
    writeln!(text, "  description: {:?}", slo.description).unwrap();
    writeln!(text, "  labels: {:?}", slo.labels).unwrap();
    writeln!(text, "  annotations: {:?}", slo.annotations).unwrap();
    match &slo.indicator {
        Indicator::Counted(counted) => print_counted(text, counted),
        other => writeln!(text, "  {other:?}").unwrap(),
    }
    for alert in &slo.alerts {
        writeln!(text, "  alert: {}", print_alert(alert)).unwrap();
    }
}

fn print_counted(text: &mut String, counted: &Counted) {
    let Counted { bad, total, group_by } = counted;
    bad.iter().for_each(|term| writeln!(text, "  bad: {}", print_term(term)).unwrap());
    total.iter().for_each(|term| writeln!(text, "  total: {}", print_term(term)).unwrap());
    writeln!(text, "  by: {group_by}").unwrap();
}

fn print_term(term: &Term) -> String {
    let measure = match term.measure {
        Measure::Increase => "increase".to_owned(),
        Measure::Histogram(HistogramMeasure::Within(interval)) => {
            format!("observations in ({}, {}]", interval.lower, interval.upper)
        }
        Measure::Histogram(HistogramMeasure::Count) => "observations".to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    format!("{:+} × {measure} of {}", term.coefficient, term.selector)
}

pub(super) fn print_alert(alert: &BurnRateAlert) -> String {
    let BurnRateAlert { severity, factor, min_bad_events, labels, annotations, .. } = alert;
    let [short, long, for_] = [alert.short, alert.long, alert.for_].map(format_duration);
    let factor = (factor * 1e6).round() / 1e6;
    let marks = if labels.is_empty() && annotations.is_empty() {
        String::new()
    } else {
        format!(" {labels:?} {annotations:?}")
    };
    format!("{severity} {short}/{long} ×{factor} for {for_}, {min_bad_events} bad events{marks}")
}
