//! What every format reads and checks of budgets that count slices of time.

use std::time::Duration;

use super::{
    reader::{Place, Reader},
    windows,
    yaml::Node,
};
use crate::{
    slo::{BurnRateAlert, Objective},
    time::{format_duration, millis},
};

/// A budgeting method, by OpenSLO's name.
#[derive(Clone, Copy)]
pub(super) enum Method {
    Occurrences,
    Timeslices,
    RatioTimeslices,
}

pub(super) const METHODS: [(&str, Method); 3] = [
    ("Occurrences", Method::Occurrences),
    ("Timeslices", Method::Timeslices),
    ("RatioTimeslices", Method::RatioTimeslices),
];

// No service is scraped more often: shorter slices would hold no sample.
const SLICE_MIN: Duration = Duration::from_secs(1);

// With fewer slices in its short window, an alert's burn rate jumps over most factors.
pub(super) const SLICES_IN_SHORT_WINDOW: u32 = 5;

const DAY: Duration = Duration::from_secs(86_400);

// Lengths to propose, in seconds: all of them divide a day.
const ROUND_SLICES: [u64; 18] =
    [1, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1_200, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400];

/// The length of a slice. It divides a day, so that days of UTC begin with a slice of their own.
pub(super) fn read_slice(reader: &mut Reader<'_>, node: &Node, name: &str) -> Option<Duration> {
    let slice = reader.window(node, name)?;
    check_slice(reader, node.at, slice, name)
}

/// A length at `at` that slices can have.
pub(super) fn check_slice(
    reader: &mut Reader<'_>,
    at: Place,
    slice: Duration,
    name: &str,
) -> Option<Duration> {
    let text = format_duration(slice);
    if slice < SLICE_MIN {
        reader.error(at, format!("{name} {text} is too short; the shortest slice is 1s"));
        return None;
    }
    if millis(DAY) % millis(slice) != 0 {
        let near = round_slices_near(slice);
        reader.error(at, format!("{name} {text} does not divide a day evenly; choose {near}"));
        return None;
    }
    Some(slice)
}

/// `5m or 10m`: the next shorter and the next longer round length.
fn round_slices_near(slice: Duration) -> String {
    let round = ROUND_SLICES.map(Duration::from_secs);
    let shorter = round.iter().rev().find(|round| **round < slice);
    let longer = round.iter().find(|round| **round > slice);
    let near: Vec<String> = shorter.into_iter().chain(longer).copied().map(format_duration).collect();
    near.join(" or ")
}

/// Reports slices, their length given at `at`, that do not fit into the windows they are counted in.
pub(super) fn check_fit(reader: &mut Reader<'_>, at: Place, objective: &Objective, alerts: &[BurnRateAlert]) {
    let Some(slice) = objective.budgeting.slice() else { return };
    let text = format_duration(slice);
    if let Some(window) = objective.windows.iter().find(|window| window.nominal() <= slice) {
        let window = windows::describe(window);
        reader.error(at, format!("slice {text} must be shorter than the objective's window {window}"));
    }
    let Some(alert) = alerts.iter().min_by_key(|alert| alert.short) else { return };
    let (short, long) = (format_duration(alert.short), format_duration(alert.long));
    if alert.short <= slice {
        let message = format!(
            "slice {text} must be shorter than the short window {short} of the {long} alert; shorten the slice, \
             or lengthen that window"
        );
        reader.error(at, message);
    } else if alert.short < slice * SLICES_IN_SHORT_WINDOW {
        let step = (100.0 * slice.as_secs_f64() / alert.short.as_secs_f64()).round();
        let message = format!(
            "short window {short} of the {long} alert has fewer than {SLICES_IN_SHORT_WINDOW} slices of {text}: its \
             error ratio moves in steps of {step}%; shorten the slice, or lengthen that window"
        );
        reader.warn(at, message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposed_slices_divide_a_day() {
        assert!(ROUND_SLICES.iter().all(|seconds| DAY.as_secs().is_multiple_of(*seconds)));
        assert!(ROUND_SLICES.is_sorted());
        assert_eq!(round_slices_near(Duration::from_secs(420)), "5m or 10m");
        assert_eq!(round_slices_near(Duration::from_secs(2 * 86_400)), "1d");
    }
}
