//! The Prometheus rules that turn slod's published series into alerts, as a file or as the manifest of the Prometheus
//! operator.
//!
//! It does not know any SLO: each rule reads the series of all of them, so the file stays the same
//! whatever is specified. Windows, factors, `for` and `keep_firing_for` of burn-rate alerts have been
//! applied by slod; the rule only reads its verdict.
//!
//! Invariant: what changes during an incident (windows that hold, numbers) is in annotations, never in
//! labels, or Prometheus would resolve the alert and raise another one. A broken annotation costs a
//! text, a broken expression costs the page: expressions are plain comparisons without joins.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_saphyr::LitStr;

/// Who reads the rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Prometheus: a rule file.
    #[default]
    Prometheus,
    /// The Prometheus operator: a manifest of the kind `PrometheusRule`.
    PrometheusOperator,
}

/// A rule file, in the form Prometheus reads.
#[derive(Debug, Serialize)]
struct RuleFile {
    groups: Vec<Group>,
}

/// A manifest for the Prometheus operator.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata,
    spec: RuleFile,
}

#[derive(Debug, Serialize)]
struct Metadata {
    name: &'static str,
    labels: BTreeMap<&'static str, &'static str>,
}

#[derive(Debug, Serialize)]
struct Group {
    name: &'static str,
    rules: Vec<Alert>,
}

#[derive(Debug, Serialize)]
struct Alert {
    alert: &'static str,
    expr: &'static str,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    for_: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'static str, &'static str>,
    annotations: BTreeMap<&'static str, Template>,
}

/// A text with Prometheus' template actions.
#[derive(Debug)]
struct Template(String);

const HEADER: &str = "\
# Alerts on the series that slod publishes, whatever its SLOs are. Printed by `slod rules`.
#
# Scrape slod with `honor_labels: true`. Otherwise labels of an SLO that the scrape sets as well
# (`service` in Kubernetes, `instance` of an SLO by instance) arrive as `exported_service` and so on.
";

/// Sets `$of` to matchers for the labels of the alert's series but its severity: what selects the SLO
/// instance among the series without a severity. `%q` quotes like PromQL.
const SELECT: &str = r#"
{{- $of := "" -}}
{{- range $name, $value := $labels -}}
  {{- if and (ne $name "__name__") (ne $name "severity") -}}
    {{- $of = printf "%s%s=%q," $of $name $value -}}
  {{- end -}}
{{- end -}}
"#;

/// Widens `$of` to the whole SLO where the spec puts labels on its alerts, which few other series have.
/// If that means several groups, the worst numbers are shown, and called so by [`WORST_GROUP`].
const WIDEN: &str = r#"
{{- if not (query (printf "slo_error_budget_remaining_ratio{%s}" $of)) -}}
  {{- $of = printf "slo=%q,service=%q," $labels.slo $labels.service -}}
{{- end -}}
"#;

/// One sentence per pair of windows that holds; none while `keep_firing_for` alone keeps the alert.
const BURN_RATES: &str = r#"
{{- $conditions := "max by (long_window, short_window) (slo_burn_rate_condition{%sseverity=%q}) == 1" -}}
{{- $rate := "max(slo_burn_rate{%swindow=%q})" -}}
{{- range query (printf $conditions $of $labels.severity) | sortByLabel "long_window" -}}
  Burn rate over {{ .Labels.long_window }}:
  {{- range query (printf $rate $of .Labels.long_window) }} {{ .Value | humanize }}{{ end -}}
  , over {{ .Labels.short_window }}:
  {{- range query (printf $rate $of .Labels.short_window) }} {{ .Value | humanize }}{{ end }}.
{{ end -}}
"#;

const BUDGET: &str = r#"
{{- range query (printf "min(slo_error_budget_remaining_ratio{%s})" $of) -}}
  Error budget left: {{ .Value | humanizePercentage }}.
{{ end -}}
"#;

/// Silent when nothing burns at present (`+Inf`) and when the budget is spent, which [`BUDGET`] shows.
const EXHAUSTION: &str = r#"
{{- range query (printf "min(slo_time_to_exhaustion_seconds{%s}) > 0 < Inf" $of) -}}
  At the present burn rate it lasts {{ .Value | humanizeDuration }}.
{{ end -}}
"#;

const RECOVERY: &str = r#"
{{- range query (printf "max(slo_time_to_recovery_seconds{%s}) > 0" $of) -}}
  Without further bad events it is positive again in {{ .Value | humanizeDuration }}.
{{ end -}}
"#;

const WORST_GROUP: &str = r#"
{{- $groups := query (printf "slo_alert_state{%sseverity=%q}" $of $labels.severity) | len -}}
{{- if gt $groups 1 }}Each number is the worst among {{ $groups }} groups.{{ end -}}
"#;

/// Empty without a runbook: Prometheus keeps the annotation, notification templates test it by `if`.
const RUNBOOK: &str = r#"
{{- with query (printf "slo_info{slo=%q,service=%q,runbook_url!=\"\"}" $labels.slo $labels.service) -}}
{{ . | first | label "runbook_url" }}
{{- end -}}
"#;

/// The rules as YAML, the same for every installation.
pub fn rule_file(format: Format) -> String {
    let file = RuleFile { groups: vec![burn_rate_group(), data_group(), health_group()] };
    let yaml = match format {
        Format::Prometheus => serde_saphyr::to_string(&file),
        Format::PrometheusOperator => serde_saphyr::to_string(&Manifest::of(file)),
    };
    let yaml = yaml.expect("lists and maps of strings have a YAML form");
    format!("{HEADER}{yaml}")
}

fn burn_rate_group() -> Group {
    Group { name: "slod-burn-rate", rules: vec![burn_rate(), low_budget(), spent_budget()] }
}

fn data_group() -> Group {
    Group { name: "slod-data", rules: vec![stale(), no_series(), sender_down()] }
}

fn health_group() -> Group {
    Group {
        name: "slod-health",
        rules: vec![
            not_evaluating(),
            not_accepting(),
            not_checkpointing(),
            not_notifying(),
            specs_not_loaded(),
        ],
    }
}

/// Pages and tickets in one rule: the severity is a label of the series.
fn burn_rate() -> Alert {
    Alert::new("SLOErrorBudgetBurn", "slo_alert_state == 2")
        .annotation(
            "summary",
            &["SLO {{ $labels.slo }} of {{ $labels.service }} burns its error budget too fast."],
        )
        .annotation("description", &[SELECT, WIDEN, BURN_RATES, BUDGET, EXHAUSTION, WORST_GROUP])
        .annotation("runbook_url", &[RUNBOOK])
}

/// Stays while the SLO is blind: what was spent is known, and a resolved alert would read as good news.
fn low_budget() -> Alert {
    Alert::new("ErrorBudgetBurning", "slo_error_budget_remaining_ratio < 0.1 > 0")
        // A ticket is in no hurry, and a budget that passes the mark for a moment is not worth one.
        .for_("5m")
        .severity("ticket")
        .annotation(
            "summary",
            &["SLO {{ $labels.slo }} of {{ $labels.service }} has {{ $value | humanizePercentage }} \
               of its error budget left."],
        )
        .annotation("description", &[SELECT, BUDGET, EXHAUSTION])
        .annotation("runbook_url", &[RUNBOOK])
}

/// Takes over from [`low_budget`]: what a budget policy waits for, such as a stop of releases.
fn spent_budget() -> Alert {
    Alert::new("ErrorBudgetSpent", "slo_error_budget_remaining_ratio <= 0")
        .for_("5m")
        .severity("ticket")
        .annotation(
            "summary",
            &["SLO {{ $labels.slo }} of {{ $labels.service }} has spent its error budget\
               {{ with $labels.window }} of {{ . }}{{ end }}."],
        )
        .annotation("description", &[SELECT, BUDGET, RECOVERY])
        .annotation("runbook_url", &[RUNBOOK])
}

/// slod says `stale` after five minutes of silence; ten more let a rollout pass.
fn stale() -> Alert {
    Alert::new("SLOSeriesStale", r#"slo_data_status{status="stale"} == 1"#)
        .for_("10m")
        .severity("ticket")
        .annotation("summary", &["SLO {{ $labels.slo }} of {{ $labels.service }} gets no samples any more."])
        .annotation(
            "description",
            &["Its series ended or fell silent while other series still arrive. Its burn-rate alerts \
               cannot fire. Check its targets, and whether write_relabel_configs still keep the series."],
        )
        .annotation("runbook_url", &[RUNBOOK])
}

/// A new SLO is deployed before its service more often than not, hence the wait.
fn no_series() -> Alert {
    Alert::new("SLONoSeries", r#"slo_data_status{status="no_series"} == 1"#)
        .for_("30m")
        .severity("ticket")
        .annotation(
            "summary",
            &["SLO {{ $labels.slo }} of {{ $labels.service }} has never matched a series."],
        )
        .annotation(
            "description",
            &["Its burn-rate alerts cannot fire. Check the selectors of its specification, and whether \
               write_relabel_configs keep the series they name."],
        )
        .annotation("runbook_url", &[RUNBOOK])
}

/// Hits every SLO at once, so it is one alert per slod. A page: until it is repaired, no other one comes.
fn sender_down() -> Alert {
    Alert::new("SlodSenderDown", r#"count by (job, instance) (slo_data_status{status="sender_down"} == 1)"#)
        .for_("5m")
        .severity("page")
        .annotation(
            "summary",
            &["slod{{ with $labels.instance }} at {{ . }}{{ end }} receives nothing: {{ $value }} SLOs \
               are blind."],
        )
        .annotation(
            "description",
            &["No sender has delivered samples for a while, and burn-rate alerts cannot fire. Check the \
               remote-write section of the senders and their prometheus_remote_storage_* metrics."],
        )
}

/// The dead man's switch, free of any scrape job's name: slod's series are gone, or its clock stands.
///
/// It cannot see that one of several slods is gone (its address may just have changed); an alert on
/// `up == 0` can.
fn not_evaluating() -> Alert {
    Alert::new(
        "SlodNotEvaluating",
        "absent(slo_info) or absent(slod_last_evaluation_timestamp_seconds) \
         or time() - slod_last_evaluation_timestamp_seconds > 60",
    )
    .for_("1m")
    .severity("page")
    .annotation("summary", &["slod{{ with $labels.instance }} at {{ . }}{{ end }} evaluates no SLOs."])
    .annotation(
        "description",
        &["{{ if gt $value 60.0 }}Its last evaluation was {{ $value | humanizeDuration }} ago.\
           {{ else }}Its series are missing: it is down, not scraped, or serves no SLO.{{ end }} \
           Burn-rate alerts cannot fire."],
    )
}

/// Senders keep what is refused for an hour or two; then it is lost.
fn not_accepting() -> Alert {
    Alert::new("SlodNotAccepting", "slod_storage_log_accepting == 0")
        .for_("1m")
        .severity("page")
        .annotation(
            "summary",
            &["slod{{ with $labels.instance }} at {{ . }}{{ end }} accepts no samples: it cannot write its log."],
        )
        .annotation(
            "description",
            &["Write requests are answered 503, and senders try again as long as they can. Burn-rate alerts cannot \
               fire. Check the disk of its storage.path: space, permissions, errors; slod's log tells which. It \
               goes on by itself once it can."],
        )
}

/// The alerts of these rules do not go that way, so that this one arrives.
fn not_notifying() -> Alert {
    Alert::new("SlodNotNotifying", "rate(slod_notifications_errors_total[5m]) > 0")
        .for_("5m")
        .severity("page")
        .annotation(
            "summary",
            &["slod{{ with $labels.instance }} at {{ . }}{{ end }} cannot deliver alerts\
               {{ with $labels.alertmanager }} to {{ . }}{{ end }}."],
        )
        .annotation(
            "description",
            &["Alerts wait and are sent again, but people do not hear of them in time. Other receivers may. slod's log \
               tells why, and slod_notifications_errors_total how many."],
        )
}

/// 1 GB is three hours of 100,000 series at 30 s, and minutes at the next start; with a checkpoint each minute it
/// is some 10 MB.
fn not_checkpointing() -> Alert {
    Alert::new("SlodNotCheckpointing", "slod_storage_log_uncovered_bytes > 1e9")
        .for_("10m")
        .severity("ticket")
        .annotation(
            "summary",
            &["slod{{ with $labels.instance }} at {{ . }}{{ end }} has {{ $value | humanize1024 }}B of log that no \
               checkpoint covers."],
        )
        .annotation(
            "description",
            &["The log grows until a checkpoint is written, and all of it is counted again at the next start. \
               slod's log tells why checkpoints fail; slod storage shows what the data directory holds."],
        )
}

/// What was deployed is not what is evaluated.
fn specs_not_loaded() -> Alert {
    Alert::new("SlodSpecsNotLoaded", "slod_config_last_reload_successful == 0")
        .for_("5m")
        .severity("ticket")
        .annotation(
            "summary",
            &["slod{{ with $labels.instance }} at {{ . }}{{ end }} does not evaluate all SLOs as they are written."],
        )
        .annotation(
            "description",
            &["A spec had an error when the specs were last read. At start the others are evaluated without it, \
               later those before stay in force. slod's log and slod check tell the file and the line."],
        )
}

// === impl Manifest ===

impl Manifest {
    fn of(spec: RuleFile) -> Self {
        let name = "slod";
        Self {
            api_version: "monitoring.coreos.com/v1",
            kind: "PrometheusRule",
            // What kube-prometheus selects rules by is a label more: `kubectl label` or a kustomization adds it.
            metadata: Metadata { name, labels: BTreeMap::from([("app.kubernetes.io/name", name)]) },
            spec,
        }
    }
}

// === impl Alert ===

impl Alert {
    fn new(alert: &'static str, expr: &'static str) -> Self {
        Self { alert, expr, for_: None, labels: BTreeMap::new(), annotations: BTreeMap::new() }
    }

    fn for_(mut self, duration: &'static str) -> Self {
        self.for_ = Some(duration);
        self
    }

    fn severity(mut self, severity: &'static str) -> Self {
        self.labels.insert("severity", severity);
        self
    }

    fn annotation(mut self, name: &'static str, parts: &[&str]) -> Self {
        self.annotations.insert(name, Template::joined(parts));
        self
    }
}

// === impl Template ===

impl Template {
    /// Parts one after the other. Their line breaks are trimmed by the template itself.
    fn joined(parts: &[&str]) -> Self {
        let parts: Vec<&str> = parts.iter().map(|part| part.trim()).collect();
        Self(parts.join("\n"))
    }
}

impl Serialize for Template {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Block style, so that people read long templates without YAML's escapes.
        if self.0.contains('\n') {
            LitStr(&self.0).serialize(serializer)
        } else {
            serializer.serialize_str(&self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISHED: [(Format, &str); 2] = [
        (Format::Prometheus, include_str!("../config/rules/slod.rules.yml")),
        (Format::PrometheusOperator, include_str!("../config/rules/slod.prometheusrule.yml")),
    ];
    const NAMES: [&str; 3] = [
        include_str!("exposition/conventions.rs"),
        include_str!("telemetry.rs"),
        include_str!("telemetry/notifications.rs"),
    ];

    #[test]
    fn the_published_files_are_fresh() {
        for (format, published) in PUBLISHED {
            let file = rule_file(format);
            assert!(file == published, "run `make rules`; it should be\n{file}");
        }
    }

    #[test]
    fn it_reads_only_series_that_slod_publishes() {
        let text = rule_file(Format::Prometheus);
        let mut names: Vec<&str> = text
            .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .filter(|word| word.starts_with("slo_") || word.starts_with("slod_"))
            .collect();
        names.sort_unstable();
        names.dedup();
        assert!(names.len() > 6, "{names:?}");
        let unknown = |name: &&str| !NAMES.iter().any(|file| file.contains(&format!("\"{name}\"")));
        assert_eq!(names.into_iter().find(unknown), None);
    }
}
