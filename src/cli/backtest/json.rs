//! `slod backtest --format json`: for programs. Fields are added, never changed (docs/backtesting.md).
//!
//! Times are RFC 3339, lengths are seconds, ratios are numbers.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{Cost, sections::moment};
use crate::{
    backtest::{
        Answer, Firing, Incident, InstanceReport, Met, Remaining, Report, Score, Setting, Tier, Tuning,
    },
    matching::Role,
    slo::Slo,
};

pub(super) fn document(report: &Report, cost: Cost) -> Value {
    json!({
        "from": moment(report.span.start),
        "to": moment(report.span.end),
        "evaluation_interval_seconds": report.interval.as_secs_f64(),
        "samples": report.samples,
        "samples_unordered": report.unordered,
        "samples_refused": report.refused,
        "slos": report.instances.iter().map(instance).collect::<Vec<_>>(),
        "silent": report.silent.iter()
            .map(|silent| json!({"slo": silent.slo.to_string(), "reason": silent.reason}))
            .collect::<Vec<_>>(),
        "scores": report.scores.iter().map(score).collect::<Vec<_>>(),
        "incidents_outside": report.outside.iter().map(incident).collect::<Vec<_>>(),
        "tuning": report.tunings.iter().map(tuning).collect::<Vec<_>>(),
        "run": {
            "reading_seconds": cost.reading.as_secs_f64(),
            "replaying_seconds": cost.replaying.as_secs_f64(),
            "peak_memory_bytes": cost.peak_bytes,
        },
    })
}

fn instance(instance: &InstanceReport) -> Value {
    let group: BTreeMap<&str, &str> = instance.group.iter().collect();
    json!({
        "service": instance.slo.id.service,
        "name": instance.slo.id.name,
        "group": group,
        "is_roll_up": instance.role == Role::RollUp,
        "target": instance.slo.objective.target.ratio(),
        "window": instance.slo.objective.windows[0].to_string(),
        "events": instance.events,
        "bad_events": instance.bad_events,
        "lowest": remaining(&instance.lowest),
        "days": instance.days.iter().map(remaining).collect::<Vec<_>>(),
        "severities": instance.severities.iter().map(|total| json!({
            "severity": total.severity,
            "alerts": total.alerts,
            "firing_seconds": total.firing.as_secs_f64(),
            "minutes_per_week": total.minutes_per_week,
        })).collect::<Vec<_>>(),
        "alerts": instance.firings.iter().map(|one| firing(&instance.slo, one)).collect::<Vec<_>>(),
        "incidents": instance.incidents.iter().map(met).collect::<Vec<_>>(),
    })
}

fn remaining(remaining: &Remaining) -> Value {
    json!({"at": moment(remaining.at), "budget_remaining": remaining.ratio, "coverage": remaining.coverage})
}

fn firing(slo: &Slo, firing: &Firing) -> Value {
    let alert = &slo.alerts[firing.alert];
    let end = (!firing.is_open).then(|| moment(firing.span.end));
    json!({
        "severity": alert.severity,
        "tier": tier(&Tier::of(alert)),
        "start": moment(firing.span.start),
        "end": end,
        "seconds": firing.span.length().as_secs_f64(),
        "budget_remaining": firing.remaining,
    })
}

fn met(Met { incident: of, spent, answers }: &Met) -> Value {
    let mut value = incident(of);
    value["budget_spent"] = json!(spent);
    value["alerts"] = answers.iter().map(answer).collect();
    value
}

fn answer(answer: &Answer) -> Value {
    json!({
        "severity": answer.severity,
        "detected_after_seconds": seconds(answer.detected),
        "reset_after_seconds": seconds(answer.reset),
    })
}

fn incident(incident: &Incident) -> Value {
    json!({
        "name": incident.name,
        "slo": incident.slo,
        "start": moment(incident.span.start),
        "end": moment(incident.span.end),
    })
}

fn score(score: &Score) -> Value {
    let false_alerts = score.false_alerts.iter();
    json!({
        "severity": score.severity,
        "tier": score.tier.as_ref().map(tier),
        "alerts": score.alerts,
        "incidents": score.incidents,
        "precision": score.precision,
        "recall": score.recall,
        "detection_median_seconds": seconds(score.detection_median),
        "detection_max_seconds": seconds(score.detection_max),
        "missed": score.missed,
        "false_alerts": false_alerts
            .map(|(slo, at)| json!({"slo": slo.to_string(), "start": moment(*at)}))
            .collect::<Vec<_>>(),
    })
}

fn tuning(tuning: &Tuning) -> Value {
    let severities = tuning.severities.iter().map(|severity| {
        json!({
            "severity": severity.severity,
            "incidents": severity.incidents,
            "incident_budget_share": severity.incident_share,
            "tried": severity.tried,
            "settings": severity.settings.iter().map(setting).collect::<Vec<_>>(),
        })
    });
    json!({
        "slo": tuning.slo.to_string(),
        "severities": severities.collect::<Vec<_>>(),
        "yaml": tuning.yaml,
    })
}

fn setting(setting: &Setting) -> Value {
    json!({
        "tiers": setting.tiers.iter().map(tier).collect::<Vec<_>>(),
        "is_present": setting.is_present,
        "is_recommended": setting.is_recommended,
        "alerts": setting.outcome.alerts,
        "false_alerts": setting.outcome.false_alerts,
        "missed": setting.outcome.missed,
        "firing_seconds": setting.outcome.firing.as_secs_f64(),
        "detection_mean_seconds": seconds(setting.outcome.detection_mean),
        "detection_max_seconds": seconds(setting.outcome.detection_max),
    })
}

fn tier(tier: &Tier) -> Value {
    json!({
        "long_window_seconds": tier.long.as_secs_f64(),
        "short_window_seconds": tier.short.as_secs_f64(),
        "burn_rate": tier.factor,
    })
}

fn seconds(length: Option<Duration>) -> Option<f64> {
    length.map(|length| length.as_secs_f64())
}
