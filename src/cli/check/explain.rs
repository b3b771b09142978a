//! `slod check --explain`: what slod makes of an SLO, in words; a page for each.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    promql,
    slo::{
        Budgeting, BurnRateAlert, Cause, Counted, Grouping, Indicator, Objective, Question, Slo, StateAlert,
        Term, Threshold, TimeWindow,
    },
    spec::Location,
    time::format_duration,
};

/// The plan of an SLO.
pub(super) fn page(slo: &Slo, at: &Location) -> String {
    let mut page = format!("{} ({at})\n", slo.id);
    if !slo.description.is_empty() {
        page += &section("", slo.description.lines().map(str::to_owned));
    }
    page += &section("indicator", indicator(&slo.indicator));
    page += &section("objective", objective(&slo.objective));
    page += &section("alerts", alerts(slo));
    page += &section("labels", texts(&slo.labels));
    page += &section("annotations", texts(&slo.annotations));
    page + "\n"
}

/// A head with lines below it; nothing without lines.
fn section(head: &str, lines: impl IntoIterator<Item = String>) -> String {
    let lines: String = lines.into_iter().map(|line| format!("    {line}\n")).collect();
    match (head, lines.is_empty()) {
        (_, true) => String::new(),
        ("", _) => lines,
        _ => format!("  {head}\n{lines}"),
    }
}

fn texts(texts: &BTreeMap<String, String>) -> impl Iterator<Item = String> {
    texts.iter().map(|(name, value)| format!("{name}: {value}"))
}

// === the indicator ===

fn indicator(indicator: &Indicator) -> Vec<String> {
    let (head, mut lines) = match indicator {
        Indicator::Counted(counted) => {
            ("streamed: every sample counts when it arrives".to_owned(), self::counted(counted))
        }
        Indicator::Sampled(sampled) => (
            format!("streamed: evaluated every {} over the latest samples", format_duration(sampled.step)),
            question(&sampled.question.as_ref().map(ToString::to_string)),
        ),
        Indicator::Pulled(pulled) => (
            format!("pulled: a Prometheus is asked every {}", format_duration(pulled.step)),
            question(&pulled.question),
        ),
    };
    lines.insert(0, head);
    lines.extend(groups(indicator));
    lines
}

fn counted(counted: &Counted) -> Vec<String> {
    let mut lines = vec!["bad events:".to_owned()];
    lines.extend(terms(&counted.bad));
    lines.push("all events:".to_owned());
    lines.extend(terms(&counted.total));
    lines
}

fn terms(terms: &[Term]) -> Vec<String> {
    if terms.is_empty() {
        return vec!["  none, ever".to_owned()];
    }
    let line = |term: &Term| {
        let sign = if term.coefficient < 0.0 { '-' } else { '+' };
        let factor = match term.coefficient.abs() {
            1.0 => String::new(),
            factor => format!("{factor} * "),
        };
        format!("  {sign} {factor}{}", promql::count_of(term))
    };
    terms.iter().map(line).collect()
}

fn question(question: &Question<String>) -> Vec<String> {
    match question {
        Question::BadRatio(ratio) => {
            vec!["each value is one event, bad to this extent (0 to 1):".to_owned(), format!("  {ratio}")]
        }
        Question::GoodRatio(ratio) => {
            vec!["each value is one event, good to this extent (0 to 1):".to_owned(), format!("  {ratio}")]
        }
        Question::Condition(value, Threshold { op, bound }) => vec![
            format!("each value is one event, good if it is {} {bound}:", op.symbol()),
            format!("  {value}"),
        ],
        Question::Events { bad, total } => {
            vec!["bad events:".to_owned(), format!("  {bad}"), "all events:".to_owned(), format!("  {total}")]
        }
    }
}

fn groups(indicator: &Indicator) -> Option<String> {
    let of_what = match indicator {
        _ if !indicator.is_grouped() => return None,
        Indicator::Counted(Counted { group_by: Grouping::By(names), .. }) => {
            format!("the values of {}", names.join(", "))
        }
        Indicator::Counted(Counted { group_by: Grouping::Without(names), .. }) if names.is_empty() => {
            "all labels".to_owned()
        }
        Indicator::Counted(Counted { group_by: Grouping::Without(names), .. }) => {
            format!("all labels but {}", names.join(", "))
        }
        Indicator::Sampled(_) | Indicator::Pulled(_) => "the labels that values have".to_owned(),
    };
    Some(format!(
        "grouped: budgets and alerts for each set of {of_what}, and a budget of all together (the roll-up)"
    ))
}

// === the objective ===

fn objective(objective: &Objective) -> Vec<String> {
    let (target, budget) = (percent(objective.target.ratio()), percent(objective.target.budget_ratio()));
    let what = match objective.budgeting {
        Budgeting::Occurrences => "events are good".to_owned(),
        Budgeting::Timeslices { slice, target } => format!(
            "slices of {} are good, in which {} of the events or more are",
            format_duration(slice),
            percent(target)
        ),
        Budgeting::RatioTimeslices { slice } => {
            format!("each slice of {} is good, on average", format_duration(slice))
        }
    };
    let windows = objective.windows.iter().map(|window| match window {
        TimeWindow::Rolling(length) => format!("budget of the last {}", format_duration(*length)),
        TimeWindow::Calendar(calendar) => format!("budget of the present {calendar}"),
    });
    std::iter::once(format!("{target} of {what}; the budget is {budget}")).chain(windows).collect()
}

// === alerts ===

fn alerts(slo: &Slo) -> Vec<String> {
    if slo.all_alerts().next().is_none() {
        return vec!["none".to_owned()];
    }
    let of_states = slo.state_alerts.iter().flat_map(state_alert);
    slo.alerts.iter().flat_map(|alert| self::alert(slo, alert)).chain(of_states).collect()
}

fn state_alert(alert: &StateAlert) -> Vec<String> {
    let case = match &alert.cause {
        Cause::RemainingBelow(share) => format!("less than {} of the budget is left", percent(*share)),
        Cause::Exhausted => "the budget is spent".to_owned(),
        Cause::ExhaustedWithin(time) => {
            format!("the budget lasts less than {} at the present rate", format_duration(*time))
        }
        Cause::DroppedBy { share, within } => {
            format!(
                "more than {} of the budget was spent within {}",
                percent(*share),
                format_duration(*within)
            )
        }
        Cause::NoData(statuses) => {
            let names: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
            format!("the data status is {}", names.join(" or "))
        }
    };
    let waits = waits(alert.for_, alert.keep_firing_for);
    let mut lines = vec![format!("{}: fires while {case}{waits}", alert.severity)];
    lines.extend(texts(&alert.labels).map(|text| format!("  label {text}")));
    lines.extend(texts(&alert.annotations).map(|text| format!("  annotation {text}")));
    lines
}

fn waits(for_: Duration, keep_firing_for: Duration) -> String {
    let held = match for_ {
        Duration::ZERO => String::new(),
        for_ => format!(", for {}", format_duration(for_)),
    };
    let kept = match keep_firing_for {
        Duration::ZERO => String::new(),
        kept => format!(", and {} longer", format_duration(kept)),
    };
    held + &kept
}

fn alert(slo: &Slo, alert: &BurnRateAlert) -> Vec<String> {
    let (long, short) = (format_duration(alert.long), format_duration(alert.short));
    let waits = waits(alert.for_, alert.keep_firing_for);
    let factor = rounded(alert.factor);
    let mut lines = vec![format!(
        "{}: fires while the burn rate is above {factor} over {long} and over {short}{waits}",
        alert.severity
    )];
    lines.push(format!("  {}", sensitivity(slo, alert)));
    lines.push(format!("  {}", delays(slo, alert)));
    lines.extend(texts(&alert.labels).map(|text| format!("  label {text}")));
    lines.extend(texts(&alert.annotations).map(|text| format!("  annotation {text}")));
    lines
}

/// What makes it fire.
fn sensitivity(slo: &Slo, alert: &BurnRateAlert) -> String {
    let ratio = threshold_ratio(slo, alert);
    let long = format_duration(alert.long);
    let least = match slo.min_bad_events(alert) {
        0.0 => String::new(),
        1.0 => format!(" and a bad {} in {long}", unit(slo)),
        least => format!(" and at least {least} bad {}s in {long}", unit(slo)),
    };
    let total = match alert.min_total_events {
        0.0 => String::new(),
        total => format!(", and at least {total} {}s in all", unit(slo)),
    };
    format!("needs an error ratio above {}{least}{total}", percent(ratio))
}

/// When it fires, and what is spent by then: a burn rate of `factor` over the long window spends `factor × long` of a
/// budget that lasts for the period at a burn rate of 1.
fn delays(slo: &Slo, alert: &BurnRateAlert) -> String {
    let ratio = threshold_ratio(slo, alert);
    if ratio >= 1.0 {
        return "can never fire: that is more than all".to_owned();
    }
    let errors = match slo.objective.budgeting {
        Budgeting::Timeslices { .. } => "bad slices",
        Budgeting::Occurrences | Budgeting::RatioTimeslices { .. } => "errors",
    };
    let after = |error_ratio: f64| {
        let seconds = ratio * alert.long.as_secs_f64() / error_ratio + alert.for_.as_secs_f64();
        format_duration(Duration::from_secs(seconds.ceil() as u64))
    };
    let slower = if ratio < PARTIAL {
        format!(", after {} at {} {errors}", after(PARTIAL), percent(PARTIAL))
    } else {
        format!(", never at {} {errors}", percent(PARTIAL))
    };
    let period = slo.objective.period();
    let share = alert.factor * alert.long.as_secs_f64() / period.as_secs_f64();
    let spent = percent(share);
    format!("fires after {} at 100% {errors}{slower}; spent by then: {spent} of the budget", after(1.0))
}

// A partial outage, to compare with.
const PARTIAL: f64 = 0.1;

/// The error ratio that spends the budget `factor` times too fast.
fn threshold_ratio(slo: &Slo, alert: &BurnRateAlert) -> f64 {
    alert.factor * slo.objective.target.budget_ratio()
}

fn unit(slo: &Slo) -> &'static str {
    match (&slo.indicator, slo.objective.budgeting) {
        (_, Budgeting::Timeslices { .. } | Budgeting::RatioTimeslices { .. }) => "slice",
        (Indicator::Counted(_), Budgeting::Occurrences) => "event",
        (Indicator::Sampled(_) | Indicator::Pulled(_), Budgeting::Occurrences) => "moment",
    }
}

/// A ratio in percent.
fn percent(ratio: f64) -> String {
    format!("{}%", rounded(100.0 * ratio))
}

/// To four digits that say something, which is enough for people.
fn rounded(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return number;
    }
    let digits = (3.0 - number.abs().log10().floor()).clamp(0.0, 12.0);
    let scale = 10f64.powf(digits);
    (number * scale).round() / scale
}
