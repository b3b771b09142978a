//! What the oracle says of a report.

use std::time::Duration;

use super::setting::{Setting, WARM_UP, is_lasting};
use crate::{
    matching::Role,
    report::{SloReport, Snapshot, WindowReport},
    testing::Oracle,
    time::Timestamp,
};

/// One that counts as slod is configured to.
pub(super) fn oracle(setting: &Setting) -> Oracle {
    if setting.has_births { Oracle::with_births(WARM_UP) } else { Oracle::default() }
}

/// Compares the SLOs that were always in force.
pub(super) fn judge(oracle: &Oracle, snapshot: &Snapshot) -> Result<(), String> {
    let lasting = snapshot.slos.iter().filter(|report| is_lasting(&report.slo));
    for report in lasting {
        judge_lifetime(oracle, report, snapshot.evaluated_at)?;
        for window in &report.windows {
            judge_window(oracle, report, window, snapshot.evaluated_at)?;
        }
    }
    Ok(())
}

fn judge_lifetime(oracle: &Oracle, report: &SloReport, at: Timestamp) -> Result<(), String> {
    let group = (report.role == Role::Group).then_some(&report.group);
    let expected = oracle.lifetime(&report.slo, group, at);
    let found = (report.bad_events_total, report.events_total);
    if found == expected {
        return Ok(());
    }
    Err(format!("{}{} has counted {found:?}, not {expected:?}", report.slo.id, report.group))
}

// A quarter of the shortest window: growth over longer is spread.
const GAP: Duration = Duration::from_secs(15);
// Where growth is spread it is so in whole events: one for each series at each end.
const SERIES: f64 = 24.0;
// A slot is a thirtieth of a window at most.
const SLOTS_MIN: u32 = 30;

/// A window may be off by what is in the slot that its start cuts.
fn judge_window(
    oracle: &Oracle,
    report: &SloReport,
    window: &WindowReport,
    at: Timestamp,
) -> Result<(), String> {
    let Some(length) = window.window.rolling() else { return Ok(()) };
    let group = (report.role == Role::Group).then_some(&report.group);
    let of = |length| oracle.window(&report.slo, group, at, length, GAP);
    let slot = length / SLOTS_MIN;
    let (wide, narrow) = (of(length + slot), of(length - slot));
    let is_within = |found: f64, wide: f64, narrow: f64| narrow - SERIES <= found && found <= wide + SERIES;
    if is_within(window.bad_events, wide.0, narrow.0) && is_within(window.events, wide.1, narrow.1) {
        return Ok(());
    }
    let found = (window.bad_events, window.events);
    let name = &report.slo.id;
    Err(format!("{name}{} has {found:?} in {length:?}, not {narrow:?} to {wide:?}", report.group))
}
