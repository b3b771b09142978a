//! The series that Sloth's rules and Pyrra's generic rules would record of an SLO, for what reads those.

use super::{Kind, PYRRA_KINDS, SLOTH_KINDS, Series, Value, plain, with};
use crate::{
    exposition::conventions as names,
    matching::Role,
    report::View,
    slo::{Slo, TimeWindow},
    time::format_duration,
};

/// How the information came about; Sloth has `cli-gen-prom` and the like.
const MODE: &str = "slod";
// Of documents of all formats Sloth would say what it read; slod does not keep that.
const SPEC: &str = "prometheus/v1";

// Percentages of Sloth's specs have fewer digits; those of slod come from a ratio, with its rounding.
const PERCENT_DIGITS: f64 = 1e10;

/// Sloth divides SLOs into groups, but not what it says about them, and has no roll-ups.
pub(super) fn sloth_series<'a>(view: &View<'a>) -> Vec<Series<'a>> {
    match view.role {
        Role::Whole => [sloth_ratios(view), sloth_metadata(view)].into_iter().flatten().collect(),
        Role::Group => sloth_ratios(view),
        Role::RollUp => sloth_metadata(view),
    }
}

fn sloth_ratios<'a>(view: &View<'a>) -> Vec<Series<'a>> {
    let [ratio, _, _, _, current, spent, remaining, _] = SLOTH_KINDS;
    let slo: &'a Slo = view.slo;
    let mut series = Vec::new();
    let mut add = |kind, window: &TimeWindow, value| {
        series.push(with(kind, names::LABEL_SLOTH_WINDOW, format_duration(window.nominal()), value));
    };
    let period = &slo.objective.windows[0];
    // Windows have their lengths for names, so that no two may have the same.
    let is_of_sloth = |window: &TimeWindow| match window.rolling() {
        Some(length) => window == period || length != period.nominal(),
        None => window == period,
    };
    for (window, number) in view.shape.windows.iter().filter(|(window, _)| is_of_sloth(window)) {
        add(Kind { window: Some(window.nominal()), ..ratio }, window, Value::ErrorRatio(*number));
    }
    if let Some((window, number)) = view.shape.windows.first() {
        add(current, window, Value::BurnRate(*number));
    }
    add(spent, period, Value::Spent(0));
    add(remaining, period, Value::Remaining(0));
    series
}

fn sloth_metadata<'a>(view: &View<'a>) -> Vec<Series<'a>> {
    let [_, objective, budget, period, .., info] = SLOTH_KINDS;
    let percent = (view.slo.objective.target.ratio() * 100.0 * PERCENT_DIGITS).round() / PERCENT_DIGITS;
    let mut info = with(info, "sloth_mode", MODE, Value::One);
    info.labels.insert("sloth_objective", percent.to_string().into());
    info.labels.insert("sloth_spec", SPEC.into());
    info.labels.insert("sloth_version", env!("CARGO_PKG_VERSION").into());
    vec![
        plain(objective, Value::Objective),
        plain(budget, Value::BudgetRatio),
        plain(period, Value::PeriodDays),
        info,
    ]
}

/// Pyrra has no generic rules for SLOs with groups.
pub(super) fn pyrra_series<'a>(view: &View<'a>) -> Vec<Series<'a>> {
    if view.role != Role::Whole {
        return Vec::new();
    }
    let [objective, window, availability, requests, errors] = PYRRA_KINDS;
    vec![
        plain(objective, Value::Objective),
        plain(window, Value::PeriodSeconds),
        plain(availability, Value::Availability(view.shape.budgets[0].window())),
        plain(requests, Value::Events),
        plain(errors, Value::BadEvents),
    ]
}
