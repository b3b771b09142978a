//! The native format as types: what `slod convert` writes, and what the JSON Schema is made of.
//!
//! The reader does not deserialise these, because serde stops at the first error. That both know the same fields is
//! tested.

mod alerting;

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::{slo::ThresholdOp, time::format_duration};
pub(super) use alerting::{Alerting, BudgetAlert, BurnRateAlert, DataStatus, NoDataAlert};

/// A service level objective of slod.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ServiceLevelObjective {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: ApiVersion,
    pub(super) kind: Kind,
    pub(super) metadata: Metadata,
    pub(super) spec: Spec,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) enum ApiVersion {
    #[serde(rename = "slod.dev/v1")]
    Slod,
    #[serde(rename = "slo.intra365.io/v1")]
    #[expect(dead_code, reason = "read, and not written")]
    Intra365,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(super) enum Kind {
    ServiceLevelObjective,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    /// The SLO's name, one of a kind within its service.
    #[schemars(length(min = 1))]
    pub(super) name: String,
    /// The service that makes the promise.
    #[schemars(length(min = 1))]
    pub(super) service: String,
    /// On every series and alert of the SLO.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(super) labels: Texts,
    /// On its alerts, such as runbook_url.
    #[serde(default, skip_serializing_if = "Texts::is_empty")]
    pub(super) annotations: Texts,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Spec {
    /// What is promised, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    pub(super) sli: Sli,
    pub(super) objective: Objective,
    /// Default: the alerts of the SRE workbook, chapter 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) alerting: Option<Alerting>,
}

/// Which events count, and which of them are bad: query, bad_ratio or threshold alone, or two of good, bad and total.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = one_way_to_count)]
pub(super) struct Sli {
    /// What kind of indicator it is, for people.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<SliType>,
    /// PromQL: the ratio of good events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query: Option<String>,
    /// PromQL: the ratio of bad events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bad_ratio: Option<String>,
    /// PromQL: the good events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) good: Option<String>,
    /// PromQL: the bad events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bad: Option<String>,
    /// PromQL: all events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<String>,
    /// A value that is good if it meets a condition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) threshold: Option<Threshold>,
    /// Evaluate the queries at every step of this length, and count the moments, even if events could be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<PromDuration>,
    /// One budget per value of these labels. Default: the labels that the queries group by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) group_by: Option<Vec<String>>,
}

/// SRE workbook, chapter 2 ("The SLI menu").
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "read, and not written")]
pub(super) enum SliType {
    Availability,
    Latency,
    Quality,
    Freshness,
    Correctness,
    Coverage,
    Throughput,
    Durability,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Threshold {
    /// A selector, every sample of which is an event; or, with step, PromQL.
    pub(super) metric: String,
    /// How values are compared: `sample op value` is good.
    pub(super) op: Op,
    pub(super) value: Number,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Op {
    Lt,
    Lte,
    Gt,
    Gte,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Objective {
    /// The promised percentage of good events.
    pub(super) target: Percent,
    /// The time over which the promise holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Window>,
    /// Several such times, in place of window. The first is the SLO's period.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub(super) windows: Option<Vec<Window>>,
    /// What the budget is counted in. Default: Occurrences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) budgeting: Option<Budgeting>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slice: Option<Slice>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Window {
    /// The time of this length that ends now.
    Rolling(PromDuration),
    /// Periods of a calendar.
    Calendar(Calendar),
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Calendar {
    pub(super) calendar: CalendarUnit,
    /// A name of the IANA database. Default: UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) time_zone: Option<String>,
    /// The date and time at which a period begins, such as 2024-01-01 06:00:00. Default: midnight, where units begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start: Option<String>,
    /// How many units a period is long. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(super) count: Option<u16>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum CalendarUnit {
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

/// OpenSLO's budgeting methods.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) enum Budgeting {
    #[expect(dead_code, reason = "the default: read, and not written")]
    Occurrences,
    Timeslices,
    RatioTimeslices,
}

/// The slices of time that a budget is counted in.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Slice {
    /// The length of a slice; it divides a day.
    pub(super) window: PromDuration,
    /// The percentage of good events that makes a slice good, with Timeslices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<Percent>,
}

/// Label or annotation names with their values.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(super) struct Texts(pub(super) BTreeMap<String, String>);

/// A duration as Prometheus writes it.
#[derive(Debug)]
pub(super) struct PromDuration(pub(super) Duration);

/// A number, whole ones without a decimal point.
#[derive(Debug)]
pub(super) struct Number(pub(super) f64);

/// A percentage: a number, or a text with `%`.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Percent {
    Number(Number),
    Text(String),
}

// Above this not every whole number is one of f64.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// The one of the choices that the reader insists on, as far as a schema can say it.
fn one_way_to_count(schema: &mut Schema) {
    let ways: [&[&str]; 6] =
        [&["query"], &["bad_ratio"], &["threshold"], &["good", "total"], &["bad", "total"], &["good", "bad"]];
    let ways = ways.map(|required| serde_json::json!({ "required": required }));
    schema.insert("oneOf".to_owned(), serde_json::Value::from(ways.to_vec()));
}

// === impl Texts ===

impl Texts {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl JsonSchema for Texts {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Texts".into()
    }

    /// Numbers and booleans are texts, too: `tier: 1`.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["object", "null"],
            "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
            "additionalProperties": {"type": ["string", "number", "boolean"]},
        })
    }
}

// === impl PromDuration ===

impl Serialize for PromDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_duration(self.0))
    }
}

impl JsonSchema for PromDuration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A Prometheus duration, such as 5m, 1h30m or 30d.",
            "type": ["string", "integer"],
            "pattern": "^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$",
            "minLength": 1,
            "minimum": 0,
            "maximum": 0,
        })
    }
}

// === impl Number ===

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < WHOLE_MAX {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

impl JsonSchema for Number {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Number".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number" })
    }
}

// === impl Percent ===

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A percentage, such as 99.9 or 99.9%. Below 1 only with the sign.",
            "type": ["number", "string"],
            "minimum": 1,
            "maximum": 100,
            "pattern": "^ *[0-9]+(\\.[0-9]+)? *%? *$",
        })
    }
}

// === impl Op ===

impl From<ThresholdOp> for Op {
    fn from(op: ThresholdOp) -> Self {
        match op {
            ThresholdOp::Less => Self::Lt,
            ThresholdOp::LessOrEqual => Self::Lte,
            ThresholdOp::Greater => Self::Gt,
            ThresholdOp::GreaterOrEqual => Self::Gte,
        }
    }
}
