//! Sloth's SLO plugins: they change the rules that Sloth generates, of which slod has none.
//!
//! None is run. What a plugin would have changed for those who read the series or get the alerts is a warning;
//! where slod's series are what the plugin makes, nothing is said.

use super::fields;
use crate::spec::{
    reader::{Fields, Reader},
    yaml::Node,
};

// What Sloth v0.16 brings. All others are somebody's own.
const KNOWN: [(&str, Option<&str>); 12] = [
    ("sloth.dev/core/validate/v1", None),
    ("sloth.dev/core/sli_rules/v1", None),
    ("sloth.dev/core/metadata_rules/v1", None),
    (ALERT_RULES, None),
    ("sloth.dev/core/debug/v1", None),
    ("sloth.dev/core/noop/v1", None),
    // slod weighs events and not time, which is what this one is for.
    ("sloth.dev/contrib/denominator_corrected_rules/v1", None),
    ("sloth.dev/contrib/validate_victoria_metrics/v1", None),
    (
        "sloth.dev/contrib/error_budget_exhausted_alert/v1",
        Some(
            "there is no alert of it: compare slo_error_budget_remaining_ratio with its threshold in a rule",
        ),
    ),
    (
        "sloth.dev/contrib/info_labels/v1",
        Some("its info metric is not published: put its labels into the SLO's, or read slo_info"),
    ),
    ("sloth.dev/contrib/remove_labels/v1", Some("no label is removed: drop them where slod is scraped")),
    ("sloth.dev/contrib/rule_intervals/v1", Some("its intervals mean nothing: slod evaluates at every tick")),
];

const ALERT_RULES: &str = "sloth.dev/core/alert_rules/v1";

/// Remarks on the plugins of a field.
pub(super) fn check(reader: &mut Reader<'_>, owner: &Fields<'_>, name: &str) {
    let Some(node) = owner.get(name) else { return };
    let Some(plugins) = fields(reader, node, &["overridePrevious", "chain"]) else { return };
    let chain = plugins.get("chain").and_then(|node| reader.list(node)).unwrap_or_default();
    let ids: Vec<Option<&str>> = chain.iter().map(|item| check_plugin(reader, item)).collect();
    if reader.optional_flag(&plugins, "overridePrevious") && !ids.contains(&Some(ALERT_RULES)) {
        let message = format!(
            "without plugin {ALERT_RULES} Sloth makes no alerts here, and slod does: disable them in alerting"
        );
        reader.warn(plugins.place("overridePrevious"), message);
    }
}

fn check_plugin<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<&'n str> {
    let plugin = fields(reader, node, &["id", "config", "priority"])?;
    let id = reader.required_text(&plugin, "id")?;
    let lost = match KNOWN.iter().find(|(known, _)| *known == id) {
        Some((_, lost)) => *lost,
        None => Some("slod generates no rules that it could change"),
    };
    if let Some(lost) = lost {
        reader.warn(plugin.place("id"), format!("plugin {id} is not run; {lost}"));
    }
    Some(id)
}
