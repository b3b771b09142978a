//! How alerts did in the incidents that were given.
//!
//! An alert *belongs* to an incident if it fires at any time from the incident's start until 5 minutes after its end: for
//! scrapes that come late, and people who end incidents early. *Precision* is the share of alerts that belong to an
//! incident, *recall* the share of incidents with an alert that belongs to them. It is detected with the first of these;
//! what fired when it began detects it at once.

use std::{sync::Arc, time::Duration};

use super::{
    incidents::{Incident, tells},
    report::{Firing, InstanceReport, Score, Tier},
};
use crate::slo::{BurnRateAlert, Slo};

/// Alerts of a kind.
type Kind = (String, Option<Tier>);

/// A row for each severity, and below it one for each of its tiers if there are several.
pub(super) fn scores(instances: &[InstanceReport], incidents: &[Incident]) -> Vec<Score> {
    if incidents.is_empty() {
        return Vec::new();
    }
    kinds(instances).into_iter().map(|kind| score(kind, instances, incidents)).collect()
}

/// The kinds of alerts, in the order of the SLOs'.
fn kinds(instances: &[InstanceReport]) -> Vec<Kind> {
    let mut severities: Vec<(String, Vec<Tier>)> = Vec::new();
    for alert in instances.iter().flat_map(|instance| &instance.slo.alerts) {
        let place = severities.iter().position(|(known, _)| *known == alert.severity).unwrap_or_else(|| {
            severities.push((alert.severity.clone(), Vec::new()));
            severities.len() - 1
        });
        let tiers = &mut severities[place].1;
        if !tiers.contains(&Tier::of(alert)) {
            tiers.push(Tier::of(alert));
        }
    }
    let rows = severities.into_iter().flat_map(|(severity, tiers)| {
        let tiers = if tiers.len() > 1 { tiers } else { Vec::new() };
        let tiers = tiers.into_iter().map({
            let severity = severity.clone();
            move |tier| (severity.clone(), Some(tier))
        });
        std::iter::once((severity, None)).chain(tiers)
    });
    rows.collect()
}

fn score((severity, tier): Kind, instances: &[InstanceReport], incidents: &[Incident]) -> Score {
    let is_kind =
        |alert: &BurnRateAlert| alert.severity == severity && tier.is_none_or(|tier| tier == Tier::of(alert));
    let fired: Vec<(&Arc<Slo>, &Firing, &BurnRateAlert)> = instances
        .iter()
        .flat_map(|instance| instance.firings.iter().map(|firing| (&instance.slo, firing)))
        .map(|(slo, firing)| (slo, firing, &slo.alerts[firing.alert]))
        .filter(|(_, _, alert)| is_kind(alert))
        .collect();
    let belongs = |(slo, firing, _): &(&Arc<Slo>, &Firing, &BurnRateAlert), incident: &Incident| {
        incident.is_of(&slo.id) && firing.span.meets(tells(incident.span))
    };
    let could_tell = |incident: &&Incident| {
        instances.iter().any(|i| incident.is_of(&i.slo.id) && i.slo.alerts.iter().any(is_kind))
    };
    let incidents: Vec<&Incident> = incidents.iter().filter(could_tell).collect();
    let mut detections: Vec<Duration> = Vec::new();
    let mut missed = Vec::new();
    for incident in &incidents {
        let told = fired.iter().filter(|fired| belongs(fired, incident));
        match told.map(|(_, firing, _)| firing.span.start.since(incident.span.start)).min() {
            Some(detection) => detections.push(detection),
            None => missed.push(incident.name.clone()),
        }
    }
    let is_false = |fired: &&(&Arc<Slo>, &Firing, &BurnRateAlert)| {
        !incidents.iter().any(|incident| belongs(fired, incident))
    };
    let false_alerts: Vec<_> =
        fired.iter().filter(is_false).map(|(slo, firing, _)| (slo.id.clone(), firing.span.start)).collect();
    detections.sort_unstable();
    Score {
        alerts: fired.len(),
        precision: ratio(fired.len() - false_alerts.len(), fired.len()),
        incidents: incidents.len(),
        recall: ratio(detections.len(), incidents.len()),
        detection_median: median(&detections),
        detection_max: detections.last().copied(),
        missed,
        false_alerts,
        severity,
        tier,
    }
}

fn ratio(part: usize, of: usize) -> Option<f64> {
    (of > 0).then(|| part as f64 / of as f64)
}

/// The middle one, or what is between the middle two.
fn median(sorted: &[Duration]) -> Option<Duration> {
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    Some(if sorted.len() % 2 == 1 { *upper } else { (*upper + sorted[middle - 1]) / 2 })
}

// === impl Tier ===

impl Tier {
    /// The tier of an alert.
    pub fn of(alert: &BurnRateAlert) -> Self {
        Self { long: alert.long, short: alert.short, factor: alert.factor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backtest::{report::Remaining, span::Span, tests::SPEC},
        labels::Labels,
        matching::Role,
        testing::slos,
        time::Timestamp,
    };

    const MINUTE: i64 = 60_000;

    fn instance(firings: &[(usize, i64, i64)]) -> InstanceReport {
        let slo = slos(SPEC).remove(0);
        let firing = |(alert, start, end): &(usize, i64, i64)| Firing {
            alert: *alert,
            span: span(*start, *end),
            is_open: false,
            remaining: 1.0,
        };
        InstanceReport {
            slo: Arc::new(slo),
            group: Labels::default(),
            role: Role::Whole,
            events: 0.0,
            bad_events: 0.0,
            firings: firings.iter().map(firing).collect(),
            severities: Vec::new(),
            days: Vec::new(),
            hours: Vec::new(),
            lowest: Remaining::default(),
            incidents: Vec::new(),
        }
    }

    fn span(start: i64, end: i64) -> Span {
        Span { start: Timestamp(start * MINUTE), end: Timestamp(end * MINUTE) }
    }

    fn incident(name: &str, slo: Option<&str>, start: i64, end: i64) -> Incident {
        Incident { name: name.to_owned(), slo: slo.map(str::to_owned), span: span(start, end) }
    }

    #[test]
    fn precision_and_recall_of_a_case_done_by_hand() {
        // Of the fast page: one within, one 4 minutes after the end, one of no incident; of the slow one one that fired
        // before the last incident began.
        let instance = instance(&[(0, 12, 30), (0, 104, 110), (0, 206, 210), (1, 290, 320)]);
        let incidents = [
            incident("a", None, 10, 20),
            incident("b", Some("availability"), 90, 100),
            incident("c", Some("api/availability"), 300, 310),
            incident("d", Some("other"), 200, 220),
        ];
        let scores = scores(&[instance], &incidents);
        let minutes = |d: Option<Duration>| d.map(|d| d.as_secs_f64() / 60.0);
        let rows: Vec<_> = scores
            .iter()
            .map(|s| (s.alerts, s.precision, s.recall, minutes(s.detection_median), minutes(s.detection_max)))
            .collect();
        let third = Some(2.0 / 3.0);
        assert_eq!(rows[0], (4, Some(0.75), Some(1.0), Some(2.0), Some(14.0)), "pages");
        assert_eq!(rows[1], (3, third, third, Some(8.0), Some(14.0)), "fast pages");
        assert_eq!(rows[2], (1, Some(1.0), Some(1.0 / 3.0), Some(0.0), Some(0.0)), "slow pages");
        assert_eq!(rows[3], (0, None, Some(0.0), None, None), "tickets");
        assert_eq!(scores[1].missed, ["c"]);
        assert_eq!(scores[0].false_alerts[0].1, Timestamp(206 * MINUTE));
        assert_eq!(scores[3].missed, ["a", "b", "c"]);
    }
}
