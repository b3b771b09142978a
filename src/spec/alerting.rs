//! What every format checks on alerts.

use super::reader::{Place, Reader};
use crate::{
    slo::{BurnRateAlert, Objective},
    time::format_duration,
};

/// Warns of an alert that does not do what it seems to do.
pub(super) fn warn_of_useless(
    reader: &mut Reader<'_>,
    at: Place,
    alert: &BurnRateAlert,
    objective: &Objective,
) {
    if alert.can_never_fire(objective.target) {
        let largest = 1.0 / objective.target.budget_ratio();
        let message = format!(
            "burn rate {} of the {} window can never be exceeded: with every event bad it is {}",
            rounded(alert.factor),
            format_duration(alert.long),
            rounded(largest),
        );
        reader.warn(at, message);
    }
    if alert.long > objective.period() {
        let (long, window) = (format_duration(alert.long), format_duration(objective.period()));
        reader.warn(at, format!("alert window {long} is longer than the objective's window {window}"));
    }
}

/// To at most three decimals, which is enough for people.
fn rounded(number: f64) -> f64 {
    (number * 1_000.0).round() / 1_000.0
}
