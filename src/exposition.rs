//! The published form of a report: Prometheus' text format 0.0.4.
//!
//! Every series carries `service`, `slo`, the labels of the spec and those of the group. Values are never
//! NaN: where nothing is known, `slo_data_status` says so.

pub mod conventions;

use std::collections::BTreeMap;

use prometheus::{TextEncoder, proto};

use crate::{
    report::{BudgetReport, DataStatus, SloReport, Snapshot},
    slo::BurnRateAlert,
    time::format_duration,
};
use conventions::{self as names, Family};

/// The content type of what [`render`] gives.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

type Labels<'a> = Vec<(&'a str, &'a str)>;

/// A family under construction.
struct Builder {
    family: Family,
    metrics: Vec<proto::Metric>,
}

/// The series of a report, followed by `own` (slod's metrics about itself).
///
/// # Errors
/// When a family cannot be encoded.
pub fn render(report: &Snapshot, own: &[proto::MetricFamily]) -> Result<String, prometheus::Error> {
    let mut families = slo_families(report);
    families.retain(|family| !family.get_metric().is_empty());
    families.extend_from_slice(own);
    TextEncoder::new().encode_to_string(&families)
}

fn slo_families(report: &Snapshot) -> Vec<proto::MetricFamily> {
    let one = |family, value: fn(&SloReport) -> f64| {
        let mut builder = Builder::new(family);
        for slo in &report.slos {
            builder.push(slo, &[], value(slo));
        }
        builder.build()
    };
    let budget = |family, value: fn(&BudgetReport) -> f64| {
        let mut builder = Builder::new(family);
        for slo in &report.slos {
            for budget in &slo.budgets {
                builder.push(slo, &[(names::LABEL_WINDOW, &budget.window.to_string())], value(budget));
            }
        }
        builder.build()
    };
    let many = |family, push: fn(&mut Builder, &SloReport)| {
        let mut builder = Builder::new(family);
        for slo in &report.slos {
            push(&mut builder, slo);
        }
        builder.build()
    };
    vec![
        budget(names::ERROR_BUDGET_REMAINING, |budget| budget.remaining),
        one(names::OBJECTIVE, |slo| slo.slo.objective.target.ratio()),
        many(names::ERROR_RATIO, push_error_ratios),
        many(names::BURN_RATE, push_burn_rates),
        many(names::BURN_RATE_CONDITION, push_conditions),
        many(names::ALERT_STATE, push_alert_states),
        one(names::EVENTS, |slo| slo.events_total),
        one(names::BAD_EVENTS, |slo| slo.bad_events_total),
        budget(names::TIME_TO_EXHAUSTION, |budget| {
            budget.time_to_exhaustion.map_or(f64::INFINITY, |left| left.as_secs_f64())
        }),
        budget(names::TIME_TO_RECOVERY, |budget| budget.time_to_recovery.as_secs_f64()),
        budget(names::WINDOW_COVERAGE, |budget| budget.coverage),
        many(names::DATA_STATUS, push_status),
        one(names::LAST_SAMPLE, |slo| slo.last_sample.map_or(0.0, |last| last.seconds())),
        many(names::INFO, push_info),
    ]
}

fn push_error_ratios(builder: &mut Builder, slo: &SloReport) {
    for window in &slo.windows {
        builder.push(slo, &[(names::LABEL_WINDOW, &window.window.to_string())], window.error_ratio);
    }
}

fn push_burn_rates(builder: &mut Builder, slo: &SloReport) {
    for window in &slo.windows {
        builder.push(slo, &[(names::LABEL_WINDOW, &window.window.to_string())], window.burn_rate);
    }
}

fn push_conditions(builder: &mut Builder, slo: &SloReport) {
    for (alert, report) in slo.slo.alerts.iter().zip(&slo.alerts) {
        let (long, short) = (format_duration(alert.long), format_duration(alert.short));
        let mut labels: Labels<'_> = vec![
            (names::LABEL_SEVERITY, &alert.severity),
            (names::LABEL_LONG_WINDOW, &long),
            (names::LABEL_SHORT_WINDOW, &short),
        ];
        labels.extend(alert_labels(slo, alert));
        builder.push(slo, &labels, f64::from(u8::from(report.condition)));
    }
}

/// One series per severity, with the state of its most advanced alert: an incident that two windows see
/// is still one alert.
fn push_alert_states(builder: &mut Builder, slo: &SloReport) {
    let mut levels: BTreeMap<&str, (u8, Labels<'_>)> = BTreeMap::new();
    for (alert, report) in slo.slo.alerts.iter().zip(&slo.alerts) {
        let (level, labels) = levels.entry(&alert.severity).or_default();
        *level = report.level.max(*level);
        labels.extend(alert_labels(slo, alert));
    }
    for (severity, (level, mut labels)) in levels {
        labels.push((names::LABEL_SEVERITY, severity));
        builder.push(slo, &labels, f64::from(level));
    }
}

/// The labels of an alert but those that tell groups apart.
fn alert_labels<'a>(
    slo: &'a SloReport,
    alert: &'a BurnRateAlert,
) -> impl Iterator<Item = (&'a str, &'a str)> {
    pairs(&alert.labels).filter(|(name, _)| slo.group.get(name).is_empty())
}

fn push_status(builder: &mut Builder, slo: &SloReport) {
    for status in DataStatus::ALL {
        let value = f64::from(u8::from(status == slo.status));
        builder.push(slo, &[(names::LABEL_STATUS, status.name())], value);
    }
}

/// What the spec says, annotations included: those of the SLO before those of its alerts, in their order.
fn push_info(builder: &mut Builder, slo: &SloReport) {
    let window = slo.budget().window.to_string();
    let objective = slo.slo.objective.target.ratio().to_string();
    let of_alerts = slo.slo.alerts.iter().rev().flat_map(|alert| pairs(&alert.annotations));
    let mut labels: Labels<'_> = of_alerts.chain(pairs(&slo.slo.annotations)).collect();
    labels.push((names::LABEL_WINDOW, &window));
    labels.push(("objective", &objective));
    labels.push(("description", &slo.slo.description));
    // What tells instances apart stays what it is.
    labels.retain(|(name, value)| is_label_name(name) && !value.is_empty() && !is_identity(slo, name));
    builder.push(slo, &labels, 1.0);
}

fn is_identity(slo: &SloReport, name: &str) -> bool {
    let is_own = [names::LABEL_SLO, names::LABEL_SERVICE].contains(&name) || name.starts_with("__");
    is_own || slo.slo.labels.contains_key(name) || !slo.group.get(name).is_empty()
}

fn pairs(map: &BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(name, value)| (name.as_str(), value.as_str()))
}

/// Prometheus' rule for label names.
fn is_label_name(name: &str) -> bool {
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts_well && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

// === impl Builder ===

impl Builder {
    fn new(family: Family) -> Self {
        Self { family, metrics: Vec::new() }
    }

    /// Adds a series. What is more particular wins where names collide: `extra`, then the identity,
    /// then the group, then the labels of the spec.
    fn push(&mut self, slo: &SloReport, extra: &[(&str, &str)], value: f64) {
        let mut labels: BTreeMap<&str, &str> = pairs(&slo.slo.labels).collect();
        labels.extend(slo.group.iter());
        labels.insert(names::LABEL_SERVICE, &slo.slo.id.service);
        labels.insert(names::LABEL_SLO, &slo.slo.id.name);
        labels.extend(extra.iter().copied());
        let labels = labels.into_iter().map(|(name, value)| label_pair(name, value)).collect();
        let mut metric = proto::Metric::from_label(labels);
        if self.family.is_counter {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        self.metrics.push(metric);
    }

    fn build(self) -> proto::MetricFamily {
        let kind = if self.family.is_counter { proto::MetricType::COUNTER } else { proto::MetricType::GAUGE };
        let mut family = proto::MetricFamily::default();
        family.set_name(self.family.name.to_owned());
        family.set_help(self.family.help.to_owned());
        family.set_field_type(kind);
        family.set_metric(self.metrics);
        family
    }
}

fn label_pair(name: &str, value: &str) -> proto::LabelPair {
    let mut pair = proto::LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        labels,
        matching::Role,
        report::{AlertReport, WindowReport},
        slo::{
            Budgeting, Counted, Grouping, Indicator, Objective, Slo, SloId, Target, TimeWindow,
            workbook_alerts,
        },
        time::Timestamp,
    };
    use std::{sync::Arc, time::Duration};

    const HOUR: Duration = Duration::from_secs(3_600);

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn slo_report() -> SloReport {
        let pages = workbook_alerts(HOUR * 720, Budgeting::Occurrences).into_iter().take(2);
        let with_label = |alert| BurnRateAlert {
            labels: map(&[("team", "sre"), ("route", "not this")]),
            annotations: map(&[("dashboard", "http://d"), ("runbook_url", "not this")]),
            ..alert
        };
        let slo = Slo {
            id: SloId { service: "shop".into(), name: "api \"fast\"".into() },
            description: "a\nb".into(),
            labels: map(&[("tier", "1"), ("service", "not this")]),
            annotations: map(&[
                ("runbook_url", "http://r"),
                ("not a label", "x"),
                ("slo", "x"),
                ("route", "x"),
            ]),
            objective: Objective::rolling(Target::new(0.999).unwrap(), HOUR * 720),
            indicator: Indicator::Counted(Counted {
                bad: vec![],
                total: vec![],
                group_by: Grouping::by(["route"]),
            }),
            alerts: pages.map(with_label).collect(),
            state_alerts: Vec::new(),
            inhibits: true,
        };
        SloReport {
            slo: Arc::new(slo),
            group: labels::Labels::new([("route", "/a")]).unwrap(),
            role: Role::Group,
            status: DataStatus::NoTraffic,
            windows: vec![WindowReport {
                window: TimeWindow::Rolling(HOUR),
                events: 10.0,
                bad_events: 1.0,
                error_ratio: 0.1,
                burn_rate: 100.0,
            }],
            events_total: 10.0,
            bad_events_total: 1.0,
            budgets: vec![BudgetReport {
                window: TimeWindow::Rolling(HOUR * 720),
                remaining: -1.5,
                coverage: 0.25,
                time_to_exhaustion: None,
                time_to_recovery: HOUR,
            }],
            last_sample: Some(Timestamp(1_500)),
            alerts: vec![
                AlertReport { condition: false, level: 0 },
                AlertReport { condition: true, level: 2 },
            ],
        }
    }

    #[test]
    fn the_page_of_an_slo() {
        let report = Snapshot { evaluated_at: Timestamp(2_000), slos: vec![slo_report()] };
        let page = render(&report, &[]).unwrap();
        let series: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        insta::assert_snapshot!(series.join("\n"));
    }

    #[test]
    fn an_empty_report_is_an_empty_page() {
        assert_eq!(render(&Snapshot::default(), &[]).unwrap(), "");
    }
}
