//! What an SLO alerts on, as types.

use schemars::{JsonSchema, Schema};
use serde::Serialize;

use super::{Number, Percent, PromDuration, Texts};

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec::native) struct Alerting {
    /// Default: the alerts of the SRE workbook, chapter 5. An empty list means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) burn_rate_alerts: Option<Vec<BurnRateAlert>>,
    /// On what is left of the budget of the objective's first window.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::spec::native) budget_alerts: Vec<BudgetAlert>,
    /// On data that does not come.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::spec::native) no_data_alerts: Vec<NoDataAlert>,
    /// Whether a page that fires mutes tickets of burn rates. Default: true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) inhibit: Option<bool>,
    /// Of burn-rate alerts that say nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) min_bad_events: Option<Number>,
    /// Of burn-rate alerts that say nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) min_total_events: Option<Number>,
}

/// Fires while the burn rate is above burn_rate over the long and the short window.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec::native) struct BurnRateAlert {
    /// The label alertname. Default: SLOErrorBudgetBurn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) name: Option<String>,
    /// How urgent it is, such as page or ticket.
    #[schemars(length(min = 1))]
    pub(in crate::spec::native) severity: String,
    /// The burn rate that both windows must exceed.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub(in crate::spec::native) burn_rate: Number,
    /// The long window.
    pub(in crate::spec::native) window: PromDuration,
    /// Default: 1/12 of the long one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) short_window: Option<PromDuration>,
    /// How long the condition must hold before the alert fires. Default: 0s.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) for_: Option<PromDuration>,
    /// How long the alert goes on firing after the condition ended. Default: 0s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) keep_firing_for: Option<PromDuration>,
    /// Bad events in the long window below which it does not fire. Default: 3 for page and critical, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) min_bad_events: Option<Number>,
    /// Events in the long window below which it does not fire: small services cannot page then. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) min_total_events: Option<Number>,
    /// Beside those of the SLO.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(in crate::spec::native) labels: Texts,
    /// Beside those of the SLO.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(in crate::spec::native) annotations: Texts,
}

/// Fires while the budget is in one of these states: remaining_below, exhausted, exhausted_within or dropped_by.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_budget_state)]
pub(in crate::spec::native) struct BudgetAlert {
    /// The label alertname. Default: one that says what is the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) name: Option<String>,
    /// How urgent it is, such as page or ticket.
    #[schemars(length(min = 1))]
    pub(in crate::spec::native) severity: String,
    /// Less than this share of the budget is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) remaining_below: Option<Percent>,
    /// Nothing is left of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) exhausted: Option<bool>,
    /// At the present burn rate it lasts less than this long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) exhausted_within: Option<PromDuration>,
    /// More than this share of it was spent within a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) dropped_by: Option<Percent>,
    /// That time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) within: Option<PromDuration>,
    /// How long the budget must be in that state before the alert fires. Default: 0s.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) for_: Option<PromDuration>,
    /// How long the alert goes on firing afterwards. Default: 0s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) keep_firing_for: Option<PromDuration>,
    /// Beside those of the SLO.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(in crate::spec::native) labels: Texts,
    /// Beside those of the SLO.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(in crate::spec::native) annotations: Texts,
}

/// Fires while the SLO's data is in one of these states.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::spec::native) struct NoDataAlert {
    /// The label alertname. Default: SLONoData.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) name: Option<String>,
    /// How urgent it is, such as page or ticket.
    #[schemars(length(min = 1))]
    pub(in crate::spec::native) severity: String,
    #[schemars(length(min = 1))]
    pub(in crate::spec::native) status: Vec<DataStatus>,
    /// How long it must be in such a state before the alert fires. Default: 0s.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) for_: Option<PromDuration>,
    /// How long the alert goes on firing afterwards. Default: 0s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::spec::native) keep_firing_for: Option<PromDuration>,
    /// Beside those of the SLO.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(in crate::spec::native) labels: Texts,
    /// Beside those of the SLO.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(in crate::spec::native) annotations: Texts,
}

/// Why an SLO's numbers cannot be believed.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::spec::native) enum DataStatus {
    NoTraffic,
    CatchingUp,
    Stale,
    SenderDown,
    NoSeries,
}

fn one_budget_state(schema: &mut Schema) {
    let states: [&[&str]; 4] =
        [&["remaining_below"], &["exhausted"], &["exhausted_within"], &["dropped_by", "within"]];
    let states = states.map(|required| serde_json::json!({ "required": required }));
    schema.insert("oneOf".to_owned(), serde_json::Value::from(states.to_vec()));
}
