//! SLOs of any format as documents of the native one.
//!
//! Invariant: what is written reads back as the same SLO, which [`yaml`] makes sure of each time.

use super::{
    API_VERSIONS,
    document::{
        Alerting, ApiVersion, BudgetAlert, Budgeting, BurnRateAlert, Calendar, CalendarUnit, DataStatus,
        Kind, Metadata, NoDataAlert, Number, Objective, Percent, PromDuration, ServiceLevelObjective, Sli,
        Slice, Spec, Texts, Threshold, Window,
    },
};
use crate::{
    promql::{self, Queries},
    slo::{self, Cause, Counted, Grouping, Indicator, Measure, Question, Slo, StateAlert, Term, TimeWindow},
    spec::{self, Settings},
    time,
};

/// An SLO that the native format has no words for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be written in the native format: {0}")]
pub struct Unsayable(String);

/// The document of an SLO, which [`spec::read_all`] reads back under these settings.
///
/// # Errors
/// When the format cannot say what the SLO is.
pub fn yaml(slo: &Slo, settings: &Settings) -> Result<String, Unsayable> {
    let document = document(slo)?;
    let options = serde_saphyr::ser_options! { folded_wrap_chars: LINE_WIDTH };
    let text = serde_saphyr::to_string_with_options(&document, options)
        .map_err(|error| Unsayable(error.to_string()))?;
    let read = spec::read_all([("", &text)], settings);
    if read.slos.first() == Some(slo) {
        return Ok(text);
    }
    let error = read.diagnostics.into_iter().find(spec::Diagnostic::is_error);
    Err(Unsayable(error.map_or_else(|| "it would mean something else".to_owned(), |error| error.message)))
}

/// The section `alerting` of an SLO's document, to be pasted below `spec`.
///
/// # Errors
/// When it cannot be written.
pub fn alerting_yaml(slo: &Slo) -> Result<String, Unsayable> {
    let section = std::collections::BTreeMap::from([("alerting", alerting(slo, burn_rate_alerts(slo)))]);
    serde_saphyr::to_string(&section).map_err(|error| Unsayable(error.to_string()))
}

/// The JSON Schema (2020-12) of a document.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(ServiceLevelObjective).to_value()
}

// As wide as most screens show.
const LINE_WIDTH: usize = 110;

fn document(slo: &Slo) -> Result<ServiceLevelObjective, Unsayable> {
    debug_assert!(API_VERSIONS.contains(&"slod.dev/v1"), "BUG: {API_VERSIONS:?}");
    let metadata = Metadata {
        name: slo.id.name.clone(),
        service: slo.id.service.clone(),
        labels: Texts(slo.labels.clone()),
        annotations: Texts(slo.annotations.clone()),
    };
    let description = Some(slo.description.clone()).filter(|description| !description.is_empty());
    let spec = Spec {
        description,
        sli: sli(&slo.indicator)?,
        objective: objective(&slo.objective),
        alerting: alerting_unless_usual(slo),
    };
    Ok(ServiceLevelObjective {
        api_version: ApiVersion::Slod,
        kind: Kind::ServiceLevelObjective,
        metadata,
        spec,
    })
}

// === the indicator ===

fn sli(indicator: &Indicator) -> Result<Sli, Unsayable> {
    match indicator {
        Indicator::Counted(counted) => self::counted(counted),
        Indicator::Sampled(sampled) => {
            let step = Some(PromDuration(sampled.step));
            Ok(Sli { step, ..question(sampled.question.as_ref().map(ToString::to_string)) })
        }
        Indicator::Pulled(pulled) => {
            let step = Some(PromDuration(pulled.step));
            Ok(Sli { step, ..question(pulled.question.clone()) })
        }
    }
}

fn counted(counted: &Counted) -> Result<Sli, Unsayable> {
    if let Some(threshold) = threshold(counted) {
        let group_by = match &counted.group_by {
            Grouping::By(names) => Some(names.clone()).filter(|names| !names.is_empty()),
            Grouping::Without(_) => return Err(Unsayable("a threshold is grouped by labels".to_owned())),
        };
        return Ok(Sli { threshold: Some(threshold), group_by, ..Sli::default() });
    }
    let Some(queries) = promql::queries(counted) else {
        return Err(Unsayable("PromQL has no sum of what it counts".to_owned()));
    };
    Ok(match queries {
        Queries::BadOfTotal(bad, total) => Sli { bad: Some(bad), total: Some(total), ..Sli::default() },
        Queries::GoodOfTotal(good, total) => Sli { good: Some(good), total: Some(total), ..Sli::default() },
        Queries::BadRatio(ratio) => Sli { bad_ratio: Some(ratio), ..Sli::default() },
        Queries::GoodRatio(ratio) => Sli { query: Some(ratio), ..Sli::default() },
    })
}

/// The threshold of a gauge, if that is what is counted: all samples but those that meet a condition.
fn threshold(counted: &Counted) -> Option<Threshold> {
    let ([all, good], [total]) = (counted.bad.as_slice(), counted.total.as_slice()) else { return None };
    let Measure::SamplesWhere(condition) = good.measure else { return None };
    let is_rest = all == total && *good == Term { coefficient: -1.0, measure: good.measure, ..total.clone() };
    let is_plain = total.coefficient == 1.0 && total.replaces.is_empty() && total.measure == Measure::Samples;
    (is_rest && is_plain).then(|| threshold_of(total.selector.to_string(), condition))
}

fn threshold_of(metric: String, condition: slo::Threshold) -> Threshold {
    Threshold { metric, op: condition.op.into(), value: Number(condition.bound) }
}

fn question(question: Question<String>) -> Sli {
    match question {
        Question::BadRatio(ratio) => Sli { bad_ratio: Some(ratio), ..Sli::default() },
        Question::GoodRatio(ratio) => Sli { query: Some(ratio), ..Sli::default() },
        Question::Condition(value, condition) => {
            Sli { threshold: Some(threshold_of(value, condition)), ..Sli::default() }
        }
        Question::Events { bad, total } => Sli { bad: Some(bad), total: Some(total), ..Sli::default() },
    }
}

// === the objective ===

fn objective(objective: &slo::Objective) -> Objective {
    let mut windows: Vec<Window> = objective.windows.iter().map(window).collect();
    let window = if windows.len() == 1 { windows.pop() } else { None };
    let windows = Some(windows).filter(|windows| !windows.is_empty());
    let (budgeting, slice) = match objective.budgeting {
        slo::Budgeting::Occurrences => (None, None),
        slo::Budgeting::Timeslices { slice, target } => {
            let slice = Slice { window: PromDuration(slice), target: Some(percent(target)) };
            (Some(Budgeting::Timeslices), Some(slice))
        }
        slo::Budgeting::RatioTimeslices { slice } => {
            (Some(Budgeting::RatioTimeslices), Some(Slice { window: PromDuration(slice), target: None }))
        }
    };
    Objective { target: percent(objective.target.ratio()), window, windows, budgeting, slice }
}

fn window(window: &TimeWindow) -> Window {
    let calendar = match window {
        TimeWindow::Rolling(length) => return Window::Rolling(PromDuration(*length)),
        TimeWindow::Calendar(calendar) => calendar,
    };
    Window::Calendar(Calendar {
        calendar: match calendar.unit() {
            time::CalendarUnit::Day => CalendarUnit::Day,
            time::CalendarUnit::Week => CalendarUnit::Week,
            time::CalendarUnit::Month => CalendarUnit::Month,
            time::CalendarUnit::Quarter => CalendarUnit::Quarter,
            time::CalendarUnit::Year => CalendarUnit::Year,
        },
        time_zone: Some(calendar.zone().to_owned()).filter(|zone| zone != "UTC"),
        start: calendar.unusual_start(),
        count: Some(calendar.count()).filter(|count| *count != 1),
    })
}

/// A ratio as a percentage that reads back to it.
fn percent(ratio: f64) -> Percent {
    let text = percent_text(ratio);
    match text.parse() {
        // What is printed of a number may have fewer digits than its text.
        Ok(number @ 1.0..) if f64::to_string(&number) == text => Percent::Number(Number(number)),
        _ => Percent::Text(format!("{text}%")),
    }
}

/// The digits of a ratio between 0 and 1 with the decimal point moved.
fn percent_text(ratio: f64) -> String {
    let digits = ratio.to_string();
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let fraction = format!("{fraction:0<2}");
    let (first, rest) = fraction.split_at(2);
    let whole = format!("{whole}{first}");
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    if rest.is_empty() { whole.to_owned() } else { format!("{whole}.{rest}") }
}

// === alerts ===

/// Nothing where the defaults are meant.
fn alerting_unless_usual(slo: &Slo) -> Option<Alerting> {
    let is_usual = slo.alerts == slo::workbook_alerts(slo.objective.period(), slo.objective.budgeting);
    let burn_rate_alerts = burn_rate_alerts(slo).filter(|_| !is_usual);
    let says_more = !slo.state_alerts.is_empty() || !slo.inhibits;
    (!is_usual || says_more).then(|| alerting(slo, burn_rate_alerts))
}

fn alerting(slo: &Slo, burn_rate_alerts: Option<Vec<BurnRateAlert>>) -> Alerting {
    Alerting {
        burn_rate_alerts,
        budget_alerts: slo.state_alerts.iter().filter_map(budget_alert).collect(),
        no_data_alerts: slo.state_alerts.iter().filter_map(no_data_alert).collect(),
        inhibit: (!slo.inhibits).then_some(false),
        min_bad_events: None,
        min_total_events: None,
    }
}

fn burn_rate_alerts(slo: &Slo) -> Option<Vec<BurnRateAlert>> {
    let budgeting = slo.objective.budgeting;
    Some(slo.alerts.iter().map(|alert| burn_rate_alert(alert, budgeting)).collect())
}

fn burn_rate_alert(alert: &slo::BurnRateAlert, budgeting: slo::Budgeting) -> BurnRateAlert {
    let default = slo::default_min_bad_events(&alert.severity, budgeting);
    let is_default_short = alert.short == alert.long / super::LONG_BY_SHORT;
    BurnRateAlert {
        name: alert.name.clone(),
        severity: alert.severity.clone(),
        burn_rate: Number(alert.factor),
        window: PromDuration(alert.long),
        short_window: (!is_default_short).then_some(PromDuration(alert.short)),
        for_: unless_zero(alert.for_),
        keep_firing_for: unless_zero(alert.keep_firing_for),
        min_bad_events: Some(alert.min_bad_events).filter(|least| *least != default).map(Number),
        min_total_events: Some(alert.min_total_events).filter(|least| *least != 0.0).map(Number),
        labels: Texts(alert.labels.clone()),
        annotations: Texts(alert.annotations.clone()),
    }
}

fn budget_alert(alert: &StateAlert) -> Option<BudgetAlert> {
    let empty = BudgetAlert {
        name: alert.name.clone(),
        severity: alert.severity.clone(),
        remaining_below: None,
        exhausted: None,
        exhausted_within: None,
        dropped_by: None,
        within: None,
        for_: unless_zero(alert.for_),
        keep_firing_for: unless_zero(alert.keep_firing_for),
        labels: Texts(alert.labels.clone()),
        annotations: Texts(alert.annotations.clone()),
    };
    Some(match alert.cause {
        Cause::RemainingBelow(share) => BudgetAlert { remaining_below: Some(percent(share)), ..empty },
        Cause::Exhausted => BudgetAlert { exhausted: Some(true), ..empty },
        Cause::ExhaustedWithin(time) => BudgetAlert { exhausted_within: Some(PromDuration(time)), ..empty },
        Cause::DroppedBy { share, within } => {
            BudgetAlert { dropped_by: Some(percent(share)), within: Some(PromDuration(within)), ..empty }
        }
        Cause::NoData(_) => return None,
    })
}

fn no_data_alert(alert: &StateAlert) -> Option<NoDataAlert> {
    let Cause::NoData(statuses) = &alert.cause else { return None };
    let status = |status: &slo::DataStatus| match status {
        slo::DataStatus::Ok => None,
        slo::DataStatus::NoTraffic => Some(DataStatus::NoTraffic),
        slo::DataStatus::CatchingUp => Some(DataStatus::CatchingUp),
        slo::DataStatus::Stale => Some(DataStatus::Stale),
        slo::DataStatus::SenderDown => Some(DataStatus::SenderDown),
        slo::DataStatus::NoSeries => Some(DataStatus::NoSeries),
    };
    Some(NoDataAlert {
        name: alert.name.clone(),
        severity: alert.severity.clone(),
        status: statuses.iter().filter_map(status).collect(),
        for_: unless_zero(alert.for_),
        keep_firing_for: unless_zero(alert.keep_firing_for),
        labels: Texts(alert.labels.clone()),
        annotations: Texts(alert.annotations.clone()),
    })
}

fn unless_zero(duration: std::time::Duration) -> Option<PromDuration> {
    Some(duration).filter(|duration| !duration.is_zero()).map(PromDuration)
}
