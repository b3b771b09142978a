//! The texts of an alert: those of its spec with their templates filled in, and usual ones where it has none.

use std::collections::BTreeMap;

use crate::{
    report::Alert,
    template::{Context, Templates},
};

/// Writes the texts of alerts.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) templates: Templates,
    pub(super) external_labels: BTreeMap<String, String>,
    pub(super) external_url: String,
}

/// What an alert says whose spec says nothing else.
const DEFAULTS: [(&str, &str); 2] = [("summary", SUMMARY), ("description", "{{ reason }}")];

// As in the rules that slod prints; alerts of other names are told by them.
const SUMMARY: &str = "\
    {% if labels.alertname == 'SLOErrorBudgetBurn' %}\
    SLO {{ labels.slo }} of {{ labels.service }} burns its error budget too fast.\
    {% else %}\
    {{ labels.alertname }}: SLO {{ labels.slo }} of {{ labels.service }}.\
    {% endif %}";

// === impl Writer ===

impl Writer {
    /// The texts of an alert, by name. One that fails tells why: the alert itself is worth more.
    pub(super) fn annotations(
        &mut self,
        alert: &Alert,
        labels: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let context =
            Context::new(labels, &self.external_labels, alert.value, &alert.reason, &self.external_url);
        let specified = |name: &str| alert.annotations.contains_key(name);
        let defaults = DEFAULTS.iter().copied().filter(|(name, _)| !specified(name));
        let own = alert.annotations.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let rendered = |(name, text): (&str, &str)| (name.to_owned(), self.render(text, &context));
        own.chain(defaults).map(rendered).filter(|(_, text)| !text.is_empty()).collect()
    }

    fn render(&mut self, text: &str, context: &Context) -> String {
        // Prometheus' words.
        let failed = |reason| format!("<error expanding template: {reason}>");
        self.templates.render(text, context).unwrap_or_else(failed)
    }
}
