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
        let labels = &with_names_of_sloth(labels);
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

/// Texts of Sloth's specs are about Sloth's labels, which slod's alerts do not have.
fn with_names_of_sloth(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut named = labels.clone();
    for (of_sloth, own) in
        [("sloth_service", "service"), ("sloth_slo", "slo"), ("sloth_severity", "severity")]
    {
        if let Some(value) = labels.get(own) {
            named.entry(of_sloth.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let id = || Some(format!("{}-{}", labels.get("service")?, labels.get("slo")?));
    if let Some(id) = id() {
        named.entry("sloth_id".to_owned()).or_insert(id);
    }
    named
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{alert::AlertState, labels::Labels, spec, time::Timestamp};

    const SPEC: &str = r#"
apiVersion: slod.dev/v1
kind: ServiceLevelObjective
metadata: {name: availability, service: shop}
spec:
  sli:
    type: availability
    query: sum(rate(errors_total[5m])) / sum(rate(requests_total[5m]))
  objective: {target: 99, window: 30d}
"#;

    #[track_caller]
    fn check(alertname: &str, specified: &[(&str, &str)], expected: &[(&str, &str)]) {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let labels = map(&[("alertname", alertname), ("service", "shop"), ("slo", "availability")]);
        let alert = Alert {
            slo: Arc::new(spec::read("slo.yaml", SPEC).slos.remove(0)),
            group: Labels::default(),
            labels: labels.clone(),
            annotations: map(specified),
            state: AlertState::Resolved { since: Timestamp(0), at: Timestamp(1) },
            is_muted: false,
            value: 14.9,
            reason: "14.9x over 1h".to_owned(),
        };
        let mut writer = Writer {
            templates: Templates::default(),
            external_labels: BTreeMap::new(),
            external_url: String::new(),
        };
        assert_eq!(writer.annotations(&alert, &labels), map(expected));
    }

    #[test]
    fn an_alert_says_what_is_the_case_unless_its_spec_says_more() {
        let summary = ("summary", "SLO availability of shop burns its error budget too fast.");
        check("SLOErrorBudgetBurn", &[], &[summary, ("description", "14.9x over 1h")]);
        check("Other", &[("description", "")], &[("summary", "Other: SLO availability of shop.")]);
        check(
            "Other",
            &[
                ("summary", "{{ $labels.sloth_service }}/{{ $labels.sloth_id }}"),
                ("description", "{{ $value }}"),
            ],
            &[("summary", "shop/shop-availability"), ("description", "14.9")],
        );
    }

    #[test]
    fn a_text_that_fails_says_why() {
        check(
            "Other",
            &[("summary", "s"), ("description", "{{ labels.slo | humanize }}")],
            &[
                ("summary", "s"),
                ("description", "<error expanding template: invalid operation: 'availability' is no number>"),
            ],
        );
    }
}
