//! The native field `alerting`: burn rates, budgets, and data that does not come.

use std::{collections::BTreeMap, time::Duration};

use super::{LONG_BY_SHORT, fields};
use crate::{
    slo::{self, AnyAlert, BurnRateAlert, Cause, DataStatus, Objective, StateAlert},
    spec::{
        alerting,
        reader::{Fields, Reader},
        yaml::Node,
    },
    time::format_duration,
};

/// What an SLO alerts on.
pub(super) struct Alerting {
    pub(super) burn_rates: Vec<BurnRateAlert>,
    pub(super) states: Vec<StateAlert>,
    pub(super) inhibits: bool,
}

/// How many events a burn-rate alert asks for, as far as that is said.
#[derive(Clone, Copy, Default)]
struct Least {
    bad: Option<f64>,
    total: Option<f64>,
}

/// What every alert may say.
struct Common {
    name: Option<String>,
    severity: String,
    for_: Duration,
    keep_firing_for: Duration,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

/// Reads the field `alerting`.
pub(super) fn read(reader: &mut Reader<'_>, spec: &Fields<'_>, objective: Option<&Objective>) -> Alerting {
    let Some(fields) = spec.get("alerting").and_then(|node| reader.fields(node, &fields::ALERTING)) else {
        let burn_rates = objective
            .map_or_else(Vec::new, |objective| default_alerts(reader, spec, objective, Least::default()));
        return Alerting { burn_rates, states: Vec::new(), inhibits: true };
    };
    let least = Least {
        bad: read_least(reader, &fields, "min_bad_events"),
        total: read_least(reader, &fields, "min_total_events"),
    };
    let burn_rates = match (fields.get("burn_rate_alerts"), objective) {
        (Some(list), _) => read_burn_rates(reader, list, objective, least),
        (None, Some(objective)) => default_alerts(reader, spec, objective, least),
        (None, None) => Vec::new(),
    };
    let mut states = read_states(reader, fields.get("budget_alerts"), |reader, node| {
        read_budget_alert(reader, node, objective)
    });
    states.extend(read_states(reader, fields.get("no_data_alerts"), read_no_data_alert));
    let inhibits = fields.get("inhibit").is_none() || reader.optional_flag(&fields, "inhibit");
    Alerting { burn_rates, states, inhibits }
}

// === burn rates ===

fn read_burn_rates(
    reader: &mut Reader<'_>,
    list: &Node,
    objective: Option<&Objective>,
    least: Least,
) -> Vec<BurnRateAlert> {
    let mut alerts: Vec<BurnRateAlert> = Vec::new();
    for item in reader.list(list).unwrap_or_default() {
        let Some(alert) = read_alert(reader, item, objective, least) else { continue };
        // They would be one series.
        if alerts.iter().any(|other| other.is_tier_of(&alert)) {
            reader.error(item.at, "another alert has the same severity and windows; drop one of them");
        }
        alerts.push(alert);
    }
    alerts
}

fn default_alerts(
    reader: &mut Reader<'_>,
    spec: &Fields<'_>,
    objective: &Objective,
    least: Least,
) -> Vec<BurnRateAlert> {
    let mut alerts = slo::workbook_alerts(objective.period(), objective.budgeting);
    alerts.iter_mut().for_each(|alert| least.guard(alert));
    let at = spec.place_within(&["objective", "target"]);
    for alert in &alerts {
        alerting::warn_if_dead(reader, at, alert, objective, "write burn_rate_alerts with lower ones");
    }
    alerts
}

fn read_alert(
    reader: &mut Reader<'_>,
    node: &Node,
    objective: Option<&Objective>,
    least: Least,
) -> Option<BurnRateAlert> {
    let fields = reader.fields(node, &fields::ALERT)?;
    let common = read_common(reader, &fields);
    let factor = read_burn_rate(reader, &fields);
    let windows = read_windows(reader, &fields);
    let own = Least {
        bad: read_least(reader, &fields, "min_bad_events"),
        total: read_least(reader, &fields, "min_total_events"),
    };
    let budgeting = objective.map(|objective| objective.budgeting).unwrap_or_default();
    let (common, factor, (short, long)) = (common?, factor?, windows?);
    let mut alert = BurnRateAlert {
        name: common.name,
        short,
        long,
        factor,
        for_: common.for_,
        keep_firing_for: common.keep_firing_for,
        min_bad_events: slo::default_min_bad_events(&common.severity, budgeting),
        min_total_events: 0.0,
        severity: common.severity,
        labels: common.labels,
        annotations: common.annotations,
    };
    least.guard(&mut alert);
    own.guard(&mut alert);
    if let Some(objective) = objective {
        let at = fields.place("burn_rate");
        alerting::warn_if_dead(reader, at, &alert, objective, "lower burn_rate or drop the alert");
        alerting::warn_if_longer(reader, fields.place("window"), &alert, objective);
    }
    Some(alert)
}

fn read_burn_rate(reader: &mut Reader<'_>, alert: &Fields<'_>) -> Option<f64> {
    let node = reader.required(alert, "burn_rate")?;
    let factor = reader.number(node, "burn_rate")?;
    if factor <= 0.0 {
        reader.error(node.at, format!("burn_rate {factor} is always exceeded; it must be above 0"));
    }
    Some(factor)
}

/// The short and the long window.
fn read_windows(reader: &mut Reader<'_>, alert: &Fields<'_>) -> Option<(Duration, Duration)> {
    let node = reader.required(alert, "window")?;
    let long = reader.window(node, "window")?;
    let Some(node) = alert.get("short_window") else { return Some((long / LONG_BY_SHORT, long)) };
    let short = reader.window(node, "short_window")?;
    if short >= long {
        let (short, long) = (format_duration(short), format_duration(long));
        reader.error(node.at, format!("short_window {short} must be shorter than window {long}"));
    }
    Some((short, long))
}

fn read_least(reader: &mut Reader<'_>, fields: &Fields<'_>, name: &str) -> Option<f64> {
    let node = fields.get(name)?;
    let number = reader.number(node, name).unwrap_or_default();
    if number < 0.0 {
        reader.error(node.at, format!("{name} {number} must not be negative"));
    }
    Some(number)
}

// === states ===

fn read_states(
    reader: &mut Reader<'_>,
    list: Option<&Node>,
    read: impl Fn(&mut Reader<'_>, &Node) -> Option<StateAlert>,
) -> Vec<StateAlert> {
    let mut alerts: Vec<StateAlert> = Vec::new();
    for item in list.and_then(|list| reader.list(list)).unwrap_or_default() {
        let Some(alert) = read(reader, item) else { continue };
        if alerts.iter().any(|other| AnyAlert::State(other).has_state_of(AnyAlert::State(&alert))) {
            reader.error(item.at, "another alert has the same severity and condition; drop one of them");
        }
        alerts.push(alert);
    }
    alerts
}

fn read_budget_alert(
    reader: &mut Reader<'_>,
    node: &Node,
    objective: Option<&Objective>,
) -> Option<StateAlert> {
    let fields = reader.fields(node, &fields::BUDGET_ALERT)?;
    let common = read_common(reader, &fields);
    let causes = fields::BUDGET_CAUSES.iter().filter_map(|name| Some((*name, fields.get(name)?)));
    let causes: Vec<(&str, &Node)> = causes.collect();
    let [(name, node)] = causes[..] else {
        let words = fields::BUDGET_CAUSES.join(", ");
        reader.error(fields.at, format!("a budget alert has one of {words}; got {}", causes.len()));
        return None;
    };
    if name != "dropped_by"
        && let Some(within) = fields.get("within")
    {
        reader
            .error(within.at, format!("within belongs to dropped_by, and means nothing to {name}; drop it"));
    }
    let cause = read_budget_cause(reader, &fields, name, node, objective);
    Some(common?.on(cause?))
}

fn read_budget_cause(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    name: &str,
    node: &Node,
    objective: Option<&Objective>,
) -> Option<Cause> {
    match name {
        "remaining_below" => reader.ratio(node, name).map(Cause::RemainingBelow),
        "exhausted_within" => reader.window(node, name).map(Cause::ExhaustedWithin),
        "dropped_by" => {
            let share = reader.ratio(node, name);
            let within = reader.required(fields, "within")?;
            let (at, within) = (within.at, reader.window(within, "within")?);
            let period = objective.map_or(within, Objective::period);
            if within > period {
                let (within, period) = (format_duration(within), format_duration(period));
                let message =
                    format!("within {within} is longer than the objective's window {period}; shorten it");
                reader.error(at, message);
            }
            Some(Cause::DroppedBy { share: share?, within })
        }
        _ if reader.optional_flag(fields, name) => Some(Cause::Exhausted),
        _ => {
            reader.error(node.at, "exhausted is true, or the alert means nothing; drop it");
            None
        }
    }
}

fn read_no_data_alert(reader: &mut Reader<'_>, node: &Node) -> Option<StateAlert> {
    let fields = reader.fields(node, &fields::NO_DATA_ALERT)?;
    let common = read_common(reader, &fields);
    let list = reader.required(&fields, "status")?;
    let choices = DataStatus::ALL.map(|status| (status.name(), status));
    // That all is well is no reason to tell anybody.
    let choices: Vec<_> = choices.into_iter().filter(|(_, status)| *status != DataStatus::Ok).collect();
    let items = reader.list(list)?;
    let mut statuses: Vec<DataStatus> =
        items.iter().filter_map(|item| reader.choice(item, "status", &choices)).collect();
    if items.is_empty() {
        reader.error(list.at, "status is empty; name at least one, such as stale");
    }
    statuses.sort_unstable();
    statuses.dedup();
    Some(common?.on(Cause::NoData(statuses)))
}

// === what all alerts have ===

fn read_common(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Option<Common> {
    let severity = reader.required_text(fields, "severity");
    let name = reader.optional_text(fields, "name");
    let for_ = reader.optional_duration(fields, "for");
    let keep_firing_for = reader.optional_duration(fields, "keep_firing_for");
    let labels = reader.labels(fields, "labels");
    let annotations = reader.annotations(fields, "annotations");
    Some(Common {
        name: Some(name).filter(|name| !name.is_empty()),
        severity: severity?.to_owned(),
        for_,
        keep_firing_for,
        labels,
        annotations,
    })
}

// === impl Common ===

impl Common {
    fn on(self, cause: Cause) -> StateAlert {
        let Self { name, severity, for_, keep_firing_for, labels, annotations } = self;
        StateAlert { name, severity, cause, for_, keep_firing_for, labels, annotations }
    }
}

// === impl Least ===

impl Least {
    fn guard(self, alert: &mut BurnRateAlert) {
        alert.min_bad_events = self.bad.unwrap_or(alert.min_bad_events);
        alert.min_total_events = self.total.unwrap_or(alert.min_total_events);
    }
}

#[cfg(test)]
mod tests;
