//! What every format checks on alerts.

use super::{
    reader::{Place, Reader},
    windows,
};
use crate::{
    slo::{BurnRateAlert, Objective},
    time::format_duration,
};

/// Warns of an alert that can never fire; what to do about it differs between formats.
pub(super) fn warn_if_dead(
    reader: &mut Reader<'_>,
    at: Place,
    alert: &BurnRateAlert,
    objective: &Objective,
    way_out: &str,
) {
    if !alert.can_never_fire(objective.target) {
        return;
    }
    let unit = if objective.budgeting.slice().is_some() { "slice" } else { "event" };
    let message = format!(
        "burn rate {} of the {} window can never be exceeded: with every {unit} bad it is {}; {way_out}",
        rounded(alert.factor),
        format_duration(alert.long),
        rounded(1.0 / objective.target.budget_ratio()),
    );
    reader.warn(at, message);
}

/// Warns of an alert over more time than any budget of the SLO is for.
pub(super) fn warn_if_longer(
    reader: &mut Reader<'_>,
    at: Place,
    alert: &BurnRateAlert,
    objective: &Objective,
) {
    let Some(window) = objective.windows.iter().max_by_key(|window| window.nominal()) else { return };
    if alert.long > window.nominal() {
        let (long, window) = (format_duration(alert.long), windows::describe(window));
        let message = format!(
            "alert window {long} is longer than the objective's window {window}; shorten it or drop the alert"
        );
        reader.warn(at, message);
    }
}

/// To at most three decimals, which is enough for people.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
