//! Pyrra's alerts: four pairs of windows that scale with the SLO's.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    slo::{self, Budgeting, BurnRateAlert, Objective},
    spec::{
        alerting,
        reader::{Fields, Reader},
    },
    time::format_duration,
};

/// A pair of windows as they are for an SLO over [`PERIOD`].
struct Tier {
    /// The name of its severity's field.
    field: &'static str,
    severity: &'static str,
    short: Duration,
    long: Duration,
    factor: f64,
    for_: Duration,
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

const PERIOD: Duration = DAY.saturating_mul(28);

// Pyrra's `slo/rules.go`.
const TIERS: [Tier; 4] = [
    Tier {
        field: "fastBurn",
        severity: "critical",
        short: MINUTE.saturating_mul(5),
        long: HOUR,
        factor: 14.0,
        for_: MINUTE.saturating_mul(2),
    },
    Tier {
        field: "mediumBurn",
        severity: "critical",
        short: MINUTE.saturating_mul(30),
        long: HOUR.saturating_mul(6),
        factor: 7.0,
        for_: MINUTE.saturating_mul(15),
    },
    Tier {
        field: "slowBurn",
        severity: "warning",
        short: HOUR.saturating_mul(2),
        long: DAY,
        factor: 2.0,
        for_: HOUR,
    },
    Tier {
        field: "longTermBurn",
        severity: "warning",
        short: HOUR.saturating_mul(6),
        long: DAY.saturating_mul(4),
        factor: 1.0,
        for_: HOUR.saturating_mul(3),
    },
];

const DEAD_ALERT_WAY_OUT: &str = "it never fires in Pyrra either; slod's own format takes lower burn rates";

// What Pyrra calls an alert whose spec does not.
const USUAL_NAME: &str = "ErrorBudgetBurn";

/// Reads the field `alerting`. What it says of absent metrics is not used: slod always tells of them, as the data
/// status.
pub(super) fn read(
    reader: &mut Reader<'_>,
    spec: &Fields<'_>,
    objective: Option<&Objective>,
) -> Vec<BurnRateAlert> {
    let known = ["disabled", "burnrates", "absent", "name", "absentName", "severities"];
    let fields = spec.get("alerting").and_then(|node| reader.fields(node, &known));
    let (mut is_on, mut name) = (true, String::new());
    let mut severities = TIERS.map(|tier| tier.severity.to_owned());
    if let Some(fields) = &fields {
        is_on = read_switches(reader, fields);
        name = reader.optional_text(fields, "name");
        read_severities(reader, fields, &mut severities);
    }
    match objective {
        Some(objective) if is_on => {
            let name = if name.is_empty() { USUAL_NAME.to_owned() } else { name };
            let named = |alert| BurnRateAlert { name: Some(name.clone()), ..alert };
            alerts(reader, spec, objective, severities).into_iter().map(named).collect()
        }
        _ => Vec::new(),
    }
}

/// Whether there are burn rate alerts.
fn read_switches(reader: &mut Reader<'_>, alerting: &Fields<'_>) -> bool {
    reader.optional_text(alerting, "absentName");
    reader.optional_flag(alerting, "absent");
    let is_disabled = reader.optional_flag(alerting, "disabled");
    let burn_rates = alerting.get("burnrates").is_none() || reader.optional_flag(alerting, "burnrates");
    burn_rates && !is_disabled
}

fn read_severities(reader: &mut Reader<'_>, alerting: &Fields<'_>, severities: &mut [String; 4]) {
    let known = ["fastBurn", "mediumBurn", "slowBurn", "longTermBurn", "absent"];
    let Some(fields) = alerting.get("severities").and_then(|node| reader.fields(node, &known)) else {
        return;
    };
    for (tier, severity) in TIERS.iter().zip(severities) {
        let own = reader.optional_text(&fields, tier.field);
        if !own.is_empty() {
            *severity = own;
        }
    }
}

fn alerts(
    reader: &mut Reader<'_>,
    spec: &Fields<'_>,
    objective: &Objective,
    severities: [String; 4],
) -> Vec<BurnRateAlert> {
    let window = objective.period();
    if scaled(TIERS[0].short, window).is_zero() {
        let message = format!(
            "window {} is too short for Pyrra's alerts, of which the shortest window rounds to 0s; slod takes 1m",
            format_duration(window)
        );
        reader.warn(spec.place("window"), message);
    }
    let alerts: Vec<BurnRateAlert> =
        TIERS.iter().zip(severities).map(|(tier, severity)| tier.alert(severity, window)).collect();
    for alert in &alerts {
        alerting::warn_if_dead(reader, spec.place("target"), alert, objective, DEAD_ALERT_WAY_OUT);
    }
    without_repeats(alerts)
}

/// Of alerts that would be one series, the one that fires first. There are some in windows of hours only.
fn without_repeats(alerts: Vec<BurnRateAlert>) -> Vec<BurnRateAlert> {
    let key = |alert: &BurnRateAlert| (alert.severity.clone(), alert.short, alert.long);
    let mut kept: Vec<BurnRateAlert> = Vec::new();
    for alert in alerts {
        kept.retain(|other| key(other) != key(&alert));
        kept.push(alert);
    }
    kept
}

/// As long for this window as it is for [`PERIOD`], rounded to a minute.
fn scaled(length: Duration, window: Duration) -> Duration {
    let exact_ms = length.as_millis() * window.as_millis() / PERIOD.as_millis();
    let minutes = (exact_ms + MINUTE.as_millis() / 2) / MINUTE.as_millis();
    MINUTE.saturating_mul(u32::try_from(minutes).unwrap_or(u32::MAX))
}

// === impl Tier ===

impl Tier {
    fn alert(&self, severity: String, window: Duration) -> BurnRateAlert {
        // Pyrra has rules without a range for SLOs below 2.8 days, which Prometheus refuses.
        let short = scaled(self.short, window).max(MINUTE);
        let min_bad_events = |severity| slo::default_min_bad_events(severity, Budgeting::Occurrences);
        BurnRateAlert {
            name: None,
            min_total_events: 0.0,
            short,
            long: scaled(self.long, window).max(short * 2),
            factor: self.factor,
            for_: scaled(self.for_, window),
            keep_firing_for: Duration::ZERO,
            // A severity may be called anything; what wakes people in Pyrra's words does so by any name.
            min_bad_events: min_bad_events(self.severity).max(min_bad_events(&severity)),
            severity,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
        }
    }
}
