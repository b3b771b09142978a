//! `slod storage --format json`: for programs. Fields are added, never changed (docs/storage.md).
//!
//! Times are RFC 3339, lengths are seconds.

use serde_json::{Value, json};

use super::{alert_state, moment, status};
use crate::{
    ingest::ha::ElectedState,
    storage::{
        inspect::{
            AlertContents, Damage, Inspection, PartContents, SegmentContents, SloContents, State,
            StateContents,
        },
        state,
    },
    time::Timestamp,
};

pub(super) fn contents(inspection: &Inspection, now: Timestamp) -> Value {
    json!({
        "log": {"segments": inspection.segments.iter().map(segment).collect::<Vec<_>>()},
        "state": match &inspection.state {
            State::Read(contents) => state(contents, now),
            other => json!({"status": status(other)}),
        },
        "set_aside": inspection.aside.iter()
            .map(|(file, bytes)| json!({"file": file, "bytes": bytes}))
            .collect::<Vec<_>>(),
        "damage": damage(&inspection.damage),
    })
}

pub(super) fn verdict(inspection: &Inspection) -> Value {
    json!({
        "log": {"segments": inspection.segments.len(), "records": inspection.records()},
        "state": {"status": status(&inspection.state), "values": inspection.values()},
        "damage": damage(&inspection.damage),
    })
}

/// One document on several lines.
pub(super) fn render(document: &Value) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(document)? + "\n")
}

fn segment(segment: &SegmentContents) -> Value {
    json!({
        "file": segment.file,
        "file_bytes": segment.file_bytes,
        "created": segment.created.map(moment),
        "first_sequence": segment.first.0,
        "last_sequence": segment.last.map(|last| last.0),
        "first_arrival": segment.arrived.map(|(first, _)| moment(first)),
        "last_arrival": segment.arrived.map(|(_, last)| moment(last)),
        "records": segment.records,
        "body_bytes": segment.body_bytes,
    })
}

fn state(contents: &StateContents, now: Timestamp) -> Value {
    json!({
        "status": "read",
        "file": state::FILE,
        "format": state::FORMAT,
        "file_bytes": contents.file_bytes,
        "position": contents.position.map(|position| position.0),
        "taken": contents.at.map(moment),
        "age_seconds": contents.at.map(|at| now.since(at).as_secs_f64()),
        "evaluated_to": contents.evaluated_to.map(moment),
        "parts": contents.parts.iter().map(part).collect::<Vec<_>>(),
        "slos": contents.slos.iter().map(slo).collect::<Vec<_>>(),
        "series": contents.series,
        "targets": contents.targets,
        "elected": contents.elected.iter().map(elected).collect::<Vec<_>>(),
    })
}

fn part(part: &PartContents) -> Value {
    json!({"name": part.part.name(), "values": part.values, "bytes": part.bytes})
}

fn slo(slo: &SloContents) -> Value {
    json!({
        "service": slo.id.service,
        "name": slo.id.name,
        "identity": slo.identity,
        "instances": slo.instances,
        "alerts": slo.alerts.iter().map(alert).collect::<Vec<_>>(),
    })
}

fn alert(AlertContents { instance, alert }: &AlertContents) -> Value {
    let (state, since) = alert_state(&alert.state);
    json!({
        "instance": instance,
        "severity": alert.severity,
        "short_window_seconds": alert.short.as_secs_f64(),
        "long_window_seconds": alert.long.as_secs_f64(),
        "condition": (!alert.condition.is_empty()).then_some(&alert.condition),
        "state": state,
        "since": since.map(moment),
    })
}

fn elected(elected: &ElectedState) -> Value {
    json!({
        "cluster": elected.cluster,
        "replica": elected.replica,
        "election": elected.epoch,
        "heard": moment(elected.heard),
    })
}

fn damage(damage: &[Damage]) -> Value {
    let one =
        |damage: &Damage| json!({"place": damage.place, "problem": damage.problem, "cost": damage.cost});
    damage.iter().map(one).collect()
}
