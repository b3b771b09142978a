//! How the demonstration writes names, times and numbers: the table and the lines use the same words.

use std::time::Duration;

use crate::{
    report::SloReport,
    time::{Timestamp, format_duration},
};

/// `shop/availability`, or `shop/availability route=/search` for a group.
pub(super) fn instance_name(slo: &SloReport) -> String {
    let mut name = slo.slo.id.to_string();
    for (label, value) in slo.group.iter() {
        name.push_str(&format!(" {label}={value}"));
    }
    name
}

/// The time of day in UTC, as RFC 3339 writes it: `12:31:07Z`.
pub(super) fn time_of_day(at: Timestamp) -> String {
    let second = at.0.div_euclid(1_000).rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

/// `61.2%`
pub(super) fn percent(ratio: f64) -> String {
    format!("{:.1}%", ratio * 100.0)
}

/// `99.95%`: as many digits as the target has, within reason.
pub(super) fn target_percent(ratio: f64) -> String {
    format!("{}%", (ratio * 1e6).round() / 1e4)
}

/// `23.1×`, or `?` for a window that the report does not have.
pub(super) fn burn_rate(slo: &SloReport, window: Duration) -> String {
    let found = slo.window(window);
    found.map_or("?".to_owned(), |report| format!("{:.1}×", report.burn_rate))
}

/// `23.1× over 1m`
pub(super) fn burn_rate_over(slo: &SloReport, window: Duration) -> String {
    format!("{} over {}", burn_rate(slo, window), format_duration(window))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_the_day_in_utc() {
        assert_eq!(time_of_day(Timestamp(0)), "00:00:00Z");
        assert_eq!(time_of_day(Timestamp(1_700_000_000_999)), "22:13:20Z");
        assert_eq!(time_of_day(Timestamp(-1)), "23:59:59Z");
    }

    #[test]
    fn targets_keep_their_digits() {
        assert_eq!(target_percent(0.999), "99.9%");
        assert_eq!(target_percent(0.99), "99%");
        assert_eq!(target_percent(0.9995), "99.95%");
    }
}
