//! Why an alert is what it is, in numbers: "14.9x over 1h, 16.1x over 5m (above 14.4x); 1,234 of 98,000 events bad".
//!
//! What people read in the middle of the night: what is the case first, what to expect last, and no word that all
//! alerts have in common.

use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

use crate::{
    burn_rate,
    matching::Role,
    report::{Report, Rule, View, Watch},
    slo::{AnyAlert, Budgeting, BurnRateAlert, Cause, DataStatus, Slo},
    time::format_duration,
    window::Counts,
};

/// Reasons of the alerts of one SLO.
#[derive(Debug)]
pub(super) struct Reasons<'a> {
    report: &'a Report,
    /// All instances of the SLO.
    instances: Range<usize>,
    /// Which groups most errors come from, by window.
    sources: HashMap<usize, Option<String>>,
}

// More do not help: an error that comes from everywhere has no source.
const SOURCES_MAX: usize = 3;

// === impl Reasons ===

impl<'a> Reasons<'a> {
    /// Those of the SLO that has this instance.
    pub(super) fn new(report: &'a Report, instance: usize) -> Self {
        let members = &report.roster.members;
        let is_other = |number: &usize| !Arc::ptr_eq(&members[*number].slo, &members[instance].slo);
        let start = (0..instance).rev().find(is_other).map_or(0, |before| before + 1);
        let end = (instance..members.len()).find(is_other).unwrap_or(members.len());
        Self { report, instances: start..end, sources: HashMap::new() }
    }

    /// The value of an alert of an instance, and the reason why it is what it is.
    pub(super) fn of(&mut self, instance: usize, alert: usize) -> (f64, String) {
        let view = self.report.view(instance);
        let slo = Arc::clone(view.slo);
        match slo.alert(alert) {
            Some(AnyAlert::BurnRate(specified)) => match view.shape.rules.get(alert) {
                Some(rule) => self.of_burn_rate(&view, rule, specified, view.alerts[alert].condition),
                None => (0.0, String::new()),
            },
            _ => match view.shape.watches.iter().find(|watch| watch.alert == alert) {
                Some(watch) => self.of_state(&view, watch),
                None => (0.0, String::new()),
            },
        }
    }

    // --- burn rates ---

    fn of_burn_rate(
        &mut self,
        view: &View<'_>,
        rule: &Rule,
        alert: &BurnRateAlert,
        holds: bool,
    ) -> (f64, String) {
        let (short, long) = (view.counts[rule.short], view.counts[rule.long]);
        let rates = (rate(view, long), rate(view, short));
        let is_above = rates.0 > rule.factor && rates.1 > rule.factor;
        let compared = if is_above { "above" } else { "not above" };
        let mut parts = Vec::new();
        if is_above && !holds {
            parts.push(held_back(rule, long));
        }
        parts.extend(self.sources(rule.long));
        parts.push(format!(
            "{} over {}, {} over {} ({compared} {})",
            times(rates.0),
            format_duration(alert.long),
            times(rates.1),
            format_duration(alert.short),
            times(rule.factor)
        ));
        parts.push(format!("{} of {} {} bad", count(long.bad), count(long.total), unit(view.slo)));
        parts.extend(lasting(view).filter(|_| is_above));
        parts.extend(blindness(view.row.status));
        (rates.0, parts.join("; "))
    }

    /// `98.2% of errors from route=/pay, 1.1% from route=/home`; nothing of an SLO that is not split.
    fn sources(&mut self, window: usize) -> Option<String> {
        let (report, instances) = (self.report, self.instances.clone());
        self.sources.entry(window).or_insert_with(|| sources(report, instances, window)).clone()
    }

    // --- states ---

    fn of_state(&mut self, view: &View<'_>, watch: &Watch) -> (f64, String) {
        let budget = view.budgets[0];
        let window = &view.slo.objective.windows[0];
        let left = format!("{} of the budget over {window} is left", percent(budget.remaining));
        match &watch.cause {
            Cause::RemainingBelow(share) => {
                let compared = if budget.remaining < *share { "below" } else { "not below" };
                (budget.remaining, format!("{left} ({compared} {})", percent(*share)))
            }
            Cause::Exhausted => (budget.remaining, left + &recovery(budget.recovery_s)),
            Cause::ExhaustedWithin(time) => {
                let lasts = lasting(view).unwrap_or_else(|| "nothing burns at present".to_owned());
                let compared = if budget.exhaustion_s < time.as_secs_f64() { "less" } else { "not less" };
                (budget.exhaustion_s, format!("{lasts} ({compared} than {}); {left}", format_duration(*time)))
            }
            Cause::DroppedBy { share, within } => {
                let (recent, period) = (view.counts[watch.window], view.counts[watch.period]);
                let dropped = burn_rate::dropped(budget.remaining, recent.bad, period.bad, budget.coverage);
                let compared = if dropped > *share { "more" } else { "not more" };
                let (spent, within) = (percent(dropped), format_duration(*within));
                let spent = format!("{spent} of the budget over {window} was spent within {within}");
                let mut parts = vec![format!("{spent} ({compared} than {})", percent(*share))];
                parts.extend(self.sources(watch.window));
                parts.push(left);
                (dropped, parts.join("; "))
            }
            Cause::NoData(_) => self.of_no_data(view),
        }
    }

    fn of_no_data(&self, view: &View<'_>) -> (f64, String) {
        let what = match view.row.status {
            DataStatus::Ok => "samples arrive",
            DataStatus::NoTraffic => "samples arrive, but no event happens",
            DataStatus::CatchingUp => "samples arrive much later than their time",
            DataStatus::Stale => "its series ended or fell silent, while others arrive",
            DataStatus::SenderDown => "no sender delivers anything",
            DataStatus::NoSeries => "no series has ever matched its selectors",
        };
        let Some(last) = view.row.last_sample else { return (0.0, what.to_owned()) };
        let age = self.report.evaluated_at.since(last);
        (age.as_secs_f64(), format!("{what}; the newest sample is {} old", about(age)))
    }
}

fn sources(report: &Report, instances: Range<usize>, window: usize) -> Option<String> {
    let views: Vec<View<'_>> = instances.map(|instance| report.view(instance)).collect();
    let mut groups: Vec<&View<'_>> = views.iter().filter(|view| view.role == Role::Group).collect();
    let all: f64 = groups.iter().map(|view| view.counts[window].bad.max(0.0)).sum();
    let bad = |view: &View<'_>| view.counts[window].bad.max(0.0);
    groups.retain(|view| bad(view) > 0.0);
    groups.sort_by(|one, other| bad(other).total_cmp(&bad(one)));
    let source = |view: &&View<'_>| {
        let labels: Vec<String> = view.group.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} from {}", percent(bad(view) / all), labels.join(","))
    };
    let named: Vec<String> = groups.iter().take(SOURCES_MAX).map(source).collect();
    (!named.is_empty()).then(|| named.join(", ").replacen(" from", " of errors from", 1))
}

fn held_back(rule: &Rule, long: Counts) -> String {
    let (what, found, least) = if long.bad < rule.min_bad_events {
        ("bad events", long.bad, rule.min_bad_events)
    } else {
        ("events", long.total, rule.min_total_events)
    };
    format!("held back: {} {what}, at least {} are asked for", count(found), count(least))
}

fn lasting(view: &View<'_>) -> Option<String> {
    let budget = view.budgets[0];
    if budget.remaining <= 0.0 {
        return Some(format!("the budget is spent: {} is left", percent(budget.remaining)));
    }
    let lasts = Duration::try_from_secs_f64(budget.exhaustion_s).ok()?;
    Some(format!("at this rate the budget lasts {}", about(lasts)))
}

fn recovery(recovery_s: f64) -> String {
    match Duration::try_from_secs_f64(recovery_s) {
        Ok(Duration::ZERO) | Err(_) => String::new(),
        Ok(wait) => format!("; without further errors it is positive again in {}", about(wait)),
    }
}

fn blindness(status: DataStatus) -> Option<String> {
    status.is_blind().then(|| format!("nothing newer is known: {}", status.name()))
}

fn rate(view: &View<'_>, counts: Counts) -> f64 {
    burn_rate::burn_rate(counts.bad, counts.total, view.slo.objective.target.budget_ratio())
}

fn unit(slo: &Slo) -> &'static str {
    match slo.objective.budgeting {
        Budgeting::Occurrences => "events",
        Budgeting::Timeslices { .. } | Budgeting::RatioTimeslices { .. } => "slices",
    }
}

// --- numbers for people ---

/// `14.4x`
fn times(factor: f64) -> String {
    format!("{factor:.1}x")
}

/// A ratio with a decimal, or two digits that say something.
fn percent(ratio: f64) -> String {
    match 100.0 * ratio {
        small if small != 0.0 && small.abs() < 0.1 => format!("{small:.3}%"),
        percent => format!("{percent:.1}%"),
    }
}

/// A whole number in groups of three digits; one with a decimal where that is most of it.
fn count(number: f64) -> String {
    if number.fract() != 0.0 && number.abs() < 10.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",").replace("-,", "-")
}

/// A duration in its two largest units.
fn about(time: Duration) -> String {
    let unit_s = match time.as_secs() {
        0..3_600 => 1,
        3_600..86_400 => 60,
        _ => 3_600,
    };
    format_duration(Duration::from_secs(time.as_secs() / unit_s * unit_s))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        let counts = [0.0, 2.5, 999.4, 1_234.0, 98_000.0, 1_234_567.0, -1_000.0].map(count);
        assert_eq!(counts, ["0", "2.5", "999", "1,234", "98,000", "1,234,567", "-1,000"]);
        let times = [0, 59, 3_661, 7_380, 90_061, 2_592_000].map(|s| about(Duration::from_secs(s)));
        assert_eq!(times, ["0s", "59s", "1h1m", "2h3m", "1d1h", "30d"]);
        let ratios = [0.982, 1.0, 0.000_5, 0.0, -0.5, f64::NEG_INFINITY].map(percent);
        assert_eq!(ratios, ["98.2%", "100.0%", "0.050%", "0.0%", "-50.0%", "-inf%"]);
    }
}
