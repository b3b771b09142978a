//! Alerts as Prometheus shows them: its rules, and those that are active.
//!
//! Each alert of an SLO is a rule in the group of its service. What was resolved is not shown, as in Prometheus.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;

use super::{Facts, Fault, json, parameters::Parameters};
use crate::{
    alert::AlertState,
    exposition::conventions::{self as names},
    labels::quoted,
    report::Alert,
    slo::{AnyAlert, BurnRateAlert, Cause, Slo, StateAlert},
    time::format_duration,
    web::Reply,
};

#[derive(Serialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    file: &'static str,
    rules: Vec<Rule>,
    interval: f64,
    limit: u32,
    evaluation_time: f64,
    last_evaluation: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    state: &'static str,
    name: String,
    query: String,
    duration: f64,
    keep_firing_for: f64,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    alerts: Vec<Active>,
    health: &'static str,
    evaluation_time: f64,
    last_evaluation: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Alerts {
    alerts: Vec<Active>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Active {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    state: &'static str,
    active_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_firing_since: Option<String>,
    value: String,
}

/// What is asked of the rules.
struct Wanted<'a> {
    names: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
    files: BTreeSet<&'a str>,
    has_alerts: bool,
}

// Rules come from no file of Prometheus'.
const FILE: &str = "slod";
// The annotation that says why an alert is what it is, with numbers.
const REASON: &str = "reason";

/// `/api/v1/rules`.
pub(super) fn rules(parameters: Parameters<'_>, facts: &Facts<'_>) -> Result<Reply, Fault> {
    let wanted = Wanted::new(parameters)?;
    let alerts = if wanted.has_alerts { facts.report.alerts() } else { Vec::new() };
    let mut by_service: BTreeMap<&str, Vec<Rule>> = BTreeMap::new();
    let evaluated = json::rfc3339(facts.report.evaluated_at);
    for slo in slos(facts) {
        if !wanted.has_group(&slo.id.service) {
            continue;
        }
        for tiers in joined(slo) {
            let rule = Rule::new(slo, &tiers, &alerts, &evaluated);
            if wanted.has_name(&rule.name) {
                by_service.entry(&slo.id.service).or_default().push(rule);
            }
        }
    }
    let group = |(service, rules): (&str, Vec<Rule>)| Group {
        name: service.to_owned(),
        file: FILE,
        rules,
        interval: facts.interval.as_secs_f64(),
        limit: 0,
        // All SLOs are evaluated together: slod_evaluation_duration_seconds tells.
        evaluation_time: 0.0,
        last_evaluation: evaluated.clone(),
    };
    let groups = by_service.into_iter().map(group).collect();
    Ok(json::success(Groups { groups }, Vec::new()))
}

/// `/api/v1/alerts`.
pub(super) fn alerts(facts: &Facts<'_>) -> Result<Reply, Fault> {
    let alerts = facts.report.alerts().iter().filter_map(Active::new).collect();
    Ok(json::success(Alerts { alerts }, Vec::new()))
}

/// Each SLO once.
fn slos<'a>(facts: &'a Facts<'_>) -> Vec<&'a Arc<Slo>> {
    let mut slos: Vec<&Arc<Slo>> = facts.report.views().map(|view| view.slo).collect();
    // Instances of an SLO stand together.
    slos.dedup_by(|one, other| Arc::ptr_eq(one, other));
    slos
}

/// Tiers that are one alert, together.
fn joined(slo: &Slo) -> Vec<Vec<AnyAlert<'_>>> {
    let mut joined: Vec<Vec<AnyAlert<'_>>> = Vec::new();
    for alert in slo.all_alerts() {
        match joined.iter_mut().find(|known| known[0].is_one_with(alert)) {
            Some(known) => known.push(alert),
            None => joined.push(vec![alert]),
        }
    }
    joined
}

/// PromQL over slod's series that holds as the conditions of these alerts do, but for their least numbers of events, and
/// a drop of the budget as if traffic were even.
fn query(slo: &Slo, alerts: &[AnyAlert<'_>]) -> String {
    let condition = |alert: &AnyAlert<'_>| match alert {
        AnyAlert::BurnRate(tier) => burns(slo, tier),
        AnyAlert::State(alert) => is_in_state(slo, alert),
    };
    alerts.iter().map(condition).collect::<Vec<_>>().join(" or ")
}

fn burns(slo: &Slo, tier: &BurnRateAlert) -> String {
    let burns = |window: Duration| {
        let series = selector(slo, names::BURN_RATE, names::LABEL_WINDOW, &format_duration(window));
        format!("{series} > {}", tier.factor)
    };
    format!("({} and ignoring ({}) {})", burns(tier.long), names::LABEL_WINDOW, burns(tier.short))
}

fn is_in_state(slo: &Slo, alert: &StateAlert) -> String {
    let of_window = |family, window: &str| selector(slo, family, names::LABEL_WINDOW, window);
    let of_budget = |family| of_window(family, &slo.objective.windows[0].to_string());
    match &alert.cause {
        Cause::RemainingBelow(share) => format!("{} < {share}", of_budget(names::ERROR_BUDGET_REMAINING)),
        Cause::Exhausted => format!("{} <= 0", of_budget(names::ERROR_BUDGET_REMAINING)),
        Cause::ExhaustedWithin(time) => {
            format!("{} < {}", of_budget(names::TIME_TO_EXHAUSTION), time.as_secs_f64())
        }
        Cause::DroppedBy { share, within } => {
            let factor = share * slo.objective.period().as_secs_f64() / within.as_secs_f64();
            format!("{} > {factor}", of_window(names::BURN_RATE, &format_duration(*within)))
        }
        Cause::NoData(states) => {
            let states: Vec<&str> = states.iter().map(|status| status.name()).collect();
            let states =
                states.iter().map(|status| selector(slo, names::DATA_STATUS, names::LABEL_STATUS, status));
            states.map(|series| format!("{series} == 1")).collect::<Vec<_>>().join(" or ")
        }
    }
}

/// The series of an SLO in a family with a label.
fn selector(slo: &Slo, family: names::Family, label: &str, value: &str) -> String {
    let (service, name) = (quoted(&slo.id.service), quoted(&slo.id.name));
    let (of_service, of_slo, value) = (names::LABEL_SERVICE, names::LABEL_SLO, quoted(value));
    format!("{}{{{of_service}={service},{of_slo}={name},{label}={value}}}", family.name)
}

// === impl Wanted ===

impl<'a> Wanted<'a> {
    fn new(parameters: Parameters<'a>) -> Result<Self, Fault> {
        let has_alerts = match parameters.get("type") {
            None | Some("alert") => true,
            // slod records nothing.
            Some("record") => false,
            Some(other) => {
                return Err(Fault::parameter(
                    "type",
                    format!("not supported value {other:?}: alert or record"),
                ));
            }
        };
        Ok(Self {
            names: parameters.all("rule_name[]").collect(),
            groups: parameters.all("rule_group[]").collect(),
            files: parameters.all("file[]").collect(),
            has_alerts,
        })
    }

    fn has_group(&self, name: &str) -> bool {
        let is_in = |set: &BTreeSet<&str>, name| set.is_empty() || set.contains(name);
        self.has_alerts && is_in(&self.groups, name) && is_in(&self.files, FILE)
    }

    fn has_name(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.contains(name)
    }
}

// === impl Rule ===

impl Rule {
    fn new(slo: &Arc<Slo>, tiers: &[AnyAlert<'_>], alerts: &[Alert], evaluated: &str) -> Self {
        let first = tiers[0];
        let mut labels = slo.labels.clone();
        labels.extend(first.labels().clone());
        labels.extend([
            (names::LABEL_SERVICE.to_owned(), slo.id.service.clone()),
            (names::LABEL_SLO.to_owned(), slo.id.name.clone()),
            (names::LABEL_SEVERITY.to_owned(), first.severity().to_owned()),
        ]);
        let mut annotations = slo.annotations.clone();
        tiers.iter().rev().for_each(|tier| annotations.extend(tier.annotations().clone()));
        let is_own = |alert: &&Alert| {
            let has = |(name, value): (&String, &String)| {
                alert.labels.get(name) == Some(value) || !alert.group.get(name).is_empty()
            };
            let is_called_so = alert.labels.get("alertname").is_some_and(|name| name == first.name());
            Arc::ptr_eq(&alert.slo, slo) && is_called_so && labels.iter().all(has)
        };
        let active: Vec<Active> = alerts.iter().filter(is_own).filter_map(Active::new).collect();
        let shortest = |length: fn(AnyAlert<'_>) -> Duration| {
            tiers.iter().map(|tier| length(*tier)).min().unwrap_or_default().as_secs_f64()
        };
        Self {
            state: state_of(&active),
            name: first.name().to_owned(),
            query: query(slo, tiers),
            duration: shortest(|alert| alert.for_()),
            keep_firing_for: shortest(|alert| alert.keep_firing_for()),
            labels,
            annotations,
            alerts: active,
            health: "ok",
            evaluation_time: 0.0,
            last_evaluation: evaluated.to_owned(),
            kind: "alerting",
        }
    }
}

/// The most advanced one.
fn state_of(active: &[Active]) -> &'static str {
    let has = |state| active.iter().any(|alert| alert.state == state);
    ["firing", "pending"].into_iter().find(|state| has(*state)).unwrap_or("inactive")
}

// === impl Active ===

impl Active {
    /// An alert that is pending or firing.
    fn new(alert: &Alert) -> Option<Self> {
        let (state, active_at, kept_since) = match alert.state {
            AlertState::Pending { since, .. } => ("pending", since, None),
            AlertState::Firing { active_at, kept_since, .. } => ("firing", active_at, kept_since),
            AlertState::Inactive | AlertState::Resolved { .. } => return None,
        };
        let mut annotations = alert.annotations.clone();
        annotations.entry(REASON.to_owned()).or_insert_with(|| alert.reason.clone());
        Some(Self {
            labels: alert.labels.clone(),
            annotations,
            state,
            active_at: json::rfc3339(active_at),
            keep_firing_since: kept_since.map(json::rfc3339),
            value: json::scientific(alert.value),
        })
    }
}
