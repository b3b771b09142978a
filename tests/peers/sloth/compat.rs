//! The series that slod publishes under Sloth's names, beside those that the real Sloth's rules recorded.

use std::{collections::BTreeMap, time::Duration};

use slod::{
    exposition::{self, Dialect},
    labels::{Labels, METRIC_NAME},
    report::Report,
    time::Timestamp,
};

use crate::{prometheus::Prometheus, support::json};

/// Values by name and labels.
pub type Published = BTreeMap<Labels, f64>;

/// How the rules came about, which is another story with slod.
const ORIGIN: [&str; 3] = ["sloth_mode", "sloth_spec", "sloth_version"];

/// What follows from the spec alone is the same but for rounding: Sloth has 0.9990000000000001 for 99.9%.
const OF_SPEC: [&str; 4] =
    ["slo:objective:ratio", "slo:error_budget:ratio", "slo:time_period:days", "sloth_slo_info"];
const ROUNDING: f64 = 1e-12;

/// What slod publishes under Sloth's names.
pub fn published(report: &Report) -> Published {
    let config = exposition::Config { compat: [Dialect::Sloth].into(), ..exposition::Config::default() };
    let mut published = Published::new();
    exposition::visit(report, &config, |name, labels, value| {
        if labels.iter().any(|(label, _)| label.starts_with("sloth_")) {
            let labels = labels.iter().copied().chain([(METRIC_NAME, name)]);
            published.insert(without_origin(labels), value);
        }
    });
    published
}

/// Everything that Sloth's rules recorded last before a time.
fn recorded(prometheus: &Prometheus, at: Timestamp) -> Published {
    let path = format!("/api/v1/query?time={}&query=%7Bsloth_id!%3D%22%22%7D", at.seconds());
    let answer = json(prometheus.address, &path);
    let result = answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let of_series = |series: &serde_json::Value| {
        let pairs = series["metric"].as_object().unwrap().iter();
        let labels = without_origin(pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
        (labels, series["value"][1].as_str().unwrap().parse().unwrap())
    };
    result.iter().map(of_series).collect()
}

fn without_origin<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Labels {
    Labels::new(labels.filter(|(name, _)| !ORIGIN.contains(name))).unwrap()
}

/// Names and labels are the same; values are those of the spec, or ratios that `docs/sloth-differences.md` bounds.
pub fn check(prometheus: &Prometheus, at: Timestamp, ours: &Published) {
    let theirs = recorded(prometheus, at + Duration::from_secs(1));
    let names = |published: &Published| published.keys().map(Labels::to_string).collect::<Vec<_>>();
    assert_eq!(names(ours), names(&theirs));
    for ((labels, ours), theirs) in ours.iter().zip(theirs.values()) {
        if OF_SPEC.contains(&labels.get(METRIC_NAME)) {
            assert!((ours - theirs).abs() < ROUNDING, "{labels}: {ours}, Sloth has {theirs}");
        }
    }
}
