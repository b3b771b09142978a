//! Specs in, SLOs and the lines of diagnostics out. Most cases are an edit of a good spec.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use super::*;
use crate::slo::{BurnRateAlert, Indicator, Term};

const NATIVE: &str = r#"apiVersion: slo.intra365.io/v1
kind: ServiceLevelObjective
metadata:
  name: api-availability
  service: intra365-gateway
spec:
  description: "API Gateway availability SLO"
  sli:
    type: availability
    query: |
      sum(rate(http_requests_total{job="gateway",code!~"5.."}[5m]))
      /
      sum(rate(http_requests_total{job="gateway"}[5m]))
  objective:
    target: 99.9  # 99.9% availability
    window: 30d
  alerting:
    burn_rate_alerts:
      - severity: critical
        burn_rate: 14.4
        window: 1h
      - severity: warning
        burn_rate: 6
        window: 6h
"#;

const SLOTH: &str = r#"version: "prometheus/v1"
service: myservice
labels: {owner: myteam, tier: 2}
slos:
  - name: requests-availability
    objective: 99.9
    description: "Requests that do not fail."
    labels: {tier: 1}
    sli:
      events:
        error_query: sum(rate(http_requests_total{code=~"(5..|429)"}[{{.window}}]))
        total_query: sum(rate(http_requests_total[{{ .window }}]))
    alerting:
      name: HighErrorRate
      labels: {category: availability}
      annotations: {summary: "High error rate"}
      page_alert:
        labels: {severity: pageteam, category: paging}
      ticket_alert:
        disable: true
"#;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

fn print(terms: &[Term]) -> String {
    let each = |term: &Term| format!("{:+}*{}", term.coefficient, term.selector);
    terms.iter().map(each).collect::<Vec<_>>().join(" ")
}

fn print_indicator(Indicator { bad, total, group_by }: &Indicator) -> String {
    format!("{} of {} by ({})", print(bad), print(total), group_by.join(","))
}

fn print_alert(alert: &BurnRateAlert) -> String {
    let mut text = format!("{} {:?}/{:?} x{:.1}", alert.severity, alert.short, alert.long, alert.factor);
    write!(text, " min {} {:?} {:?}", alert.min_bad_events, alert.labels, alert.annotations).unwrap();
    text
}

/// The only SLO of a text without anything to remark.
#[track_caller]
fn only(text: &str) -> Slo {
    let mut specs = read("f", text);
    assert_eq!(specs.diagnostics, [], "{text}");
    assert_eq!(specs.slos.len(), 1, "{text}");
    specs.slos.remove(0)
}

fn report(specs: &Specs) -> Vec<String> {
    specs.diagnostics.iter().map(Diagnostic::to_string).collect()
}

/// Replaces the one occurrence of `from` in `text`.
#[track_caller]
fn edit(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?}");
    text.replace(from, to)
}

/// The diagnostics of a text with an edit, and whether its SLO survives.
#[track_caller]
fn check(text: &str, from: &str, to: &str, survives: bool, expected: &[&str]) {
    let specs = read("f", &edit(text, from, to));
    assert_eq!(report(&specs), expected, "{from:?} -> {to:?}");
    assert_eq!(specs.slos.len(), usize::from(survives), "{from:?} -> {to:?}");
}

#[track_caller]
fn check_native(from: &str, to: &str, expected: &str) {
    check(NATIVE, from, to, expected.contains(": warning: "), &[expected]);
}

#[track_caller]
fn check_sloth(from: &str, to: &str, expected: &str) {
    check(SLOTH, from, to, expected.contains(": warning: "), &[expected]);
}

// === native ===

#[test]
fn a_native_spec_is_read() {
    let slo = only(NATIVE);
    assert_eq!(slo.id.to_string(), "intra365-gateway/api-availability");
    assert_eq!(slo.description, "API Gateway availability SLO");
    assert_eq!(slo.objective.target.ratio(), 0.999);
    assert_eq!(slo.objective.period(), 720 * HOUR);
    assert_eq!(
        print_indicator(&slo.indicator),
        "+1*http_requests_total{job=\"gateway\"} -1*http_requests_total{job=\"gateway\",code!~\"5..\"} \
         of +1*http_requests_total{job=\"gateway\"} by ()"
    );
    let alerts: Vec<String> = slo.alerts.iter().map(print_alert).collect();
    assert_eq!(alerts, ["critical 300s/3600s x14.4 min 3 {} {}", "warning 1800s/21600s x6.0 min 1 {} {}"]);
}

#[test]
fn labels_annotations_and_every_field_of_an_alert() {
    let metadata = "  service: intra365-gateway\n";
    let with_labels =
        format!("{metadata}  labels: {{tier: 2, on: true}}\n  annotations: {{runbook_url: http://r}}\n");
    let alert = "window: 1h\n";
    let with_fields = "window: 1h\n        short_window: 10m\n        for: 2m\n        keep_firing_for: 3m\n        \
                       min_bad_events: 7\n        labels: {team: a}\n        annotations: {b: c}\n";
    let slo = only(&edit(&edit(NATIVE, metadata, &with_labels), alert, with_fields));
    assert_eq!(format!("{:?}", slo.labels), r#"{"on": "true", "tier": "2"}"#);
    assert_eq!(format!("{:?}", slo.annotations), r#"{"runbook_url": "http://r"}"#);
    let alert = &slo.alerts[0];
    assert_eq!(print_alert(alert), r#"critical 600s/3600s x14.4 min 7 {"team": "a"} {"b": "c"}"#);
    assert_eq!((alert.for_, alert.keep_firing_for), (2 * MINUTE, 3 * MINUTE));
}

fn native_with_sli(sli: &str) -> String {
    let start = NATIVE.find("    type:").unwrap();
    let end = NATIVE.find("  objective:").unwrap();
    format!("{}{sli}\n{}", &NATIVE[..start], &NATIVE[end..])
}

#[test]
fn all_shapes_of_an_sli() {
    #[track_caller]
    fn check(sli: &str, expected: &str) {
        assert_eq!(print_indicator(&only(&native_with_sli(sli)).indicator), expected);
    }
    check("    query: 1 - sum(rate(b[5m])) / sum(rate(t[5m]))", "+1*b of +1*t by ()");
    check("    good: sum(rate(g[5m]))\n    total: sum(rate(t[5m]))", "+1*t -1*g of +1*t by ()");
    check("    bad: sum(rate(b[5m]))\n    total: sum(rate(t[5m]))", "+1*b of +1*t by ()");
    check("    good: sum(rate(g[5m]))\n    bad: sum(rate(b[5m]))", "+1*b of +1*g +1*b by ()");
    let grouped = "    bad: sum by (z) (rate(b[5m]))\n    total: sum by (z) (rate(t[5m]))";
    check(grouped, "+1*b of +1*t by (z)");
    check(&format!("{grouped}\n    group_by: [z]"), "+1*b of +1*t by (z)");
    check(
        "    query: sum(rate(g[5m])) / sum(rate(t[5m]))\n    group_by: [z, a, z]",
        "+1*t -1*g of +1*t by (a,z)",
    );
}

#[test]
fn wrong_shapes_of_an_sli() {
    #[track_caller]
    fn check(sli: &str, expected: &str) {
        let specs = read("f", &native_with_sli(sli));
        assert_eq!(report(&specs), [expected], "{sli}");
        assert!(specs.slos.is_empty(), "{sli}");
    }
    let choice = "f:9:5: error: sli needs either query, or exactly two of good, bad and total";
    check("    type: latency", choice);
    check("    query: a\n    good: b", choice);
    check("    good: a\n    bad: b\n    total: c", choice);
    check(
        "    query: sum(rate(g[5m]))",
        "f:9:12: error: query must be a ratio of two counts: sum(…) / sum(…)",
    );
    check(
        "    good: sum(rate(a[5m])) / sum(rate(b[5m]))\n    total: sum(rate(t[5m]))",
        "f:9:11: error: good must count events: it is a ratio",
    );
    check(
        "    good: sum(rate(a[5m]))\n    total: sum(increase(t[5m]))",
        "f:10:12: error: good and total use different functions: rate and increase; use the same on both",
    );
    check(
        "    good: sum by (a) (rate(a[5m]))\n    total: sum by (a) (rate(t[5m]))\n    group_by: [b]",
        "f:11:15: error: group_by (b) differs from the queries' by (a); drop one of them",
    );
    check(
        "    query: sum(rate(a[5m])) / sum(rate(b[5m]))\n    group_by: [slo]",
        "f:10:16: error: label slo is slod's own; choose another name",
    );
}

#[test]
fn alerts_by_default_and_by_choice() {
    let (before, _) = NATIVE.split_once("  alerting:").unwrap();
    let factors = |text: &str| {
        only(text).alerts.iter().map(|alert| (alert.factor * 10.0).round() / 10.0).collect::<Vec<_>>()
    };
    assert_eq!(factors(before), [14.4, 6.0, 3.0, 1.0]);
    assert_eq!(factors(&format!("{before}  alerting:\n")), [14.4, 6.0, 3.0, 1.0]);
    assert_eq!(factors(&format!("{before}  alerting: {{}}\n")), [14.4, 6.0, 3.0, 1.0]);
    assert!(factors(&format!("{before}  alerting:\n    burn_rate_alerts: []\n")).is_empty());
}

#[test]
fn native_targets() {
    assert_eq!(only(&edit(NATIVE, "99.9  #", "99.9%  #")).objective.target.ratio(), 0.999);
    assert_eq!(only(&edit(NATIVE, "99.9  #", "'99.95 %'  #")).objective.target.ratio(), 0.9995);
    check_native("99.9  #", "0.999  #", "f:15:13: error: target 0.999 is below 1%; did you mean 99.9?");
    check_native(
        "99.9  #",
        "100  #",
        "f:15:13: error: target 100 leaves no error budget; it must be below 100",
    );
    check_native("99.9  #", "-1  #", "f:15:13: error: target -1 promises nothing; it must be above 0");
    check_native("99.9  #", "0  #", "f:15:13: error: target 0 promises nothing; it must be above 0");
    check_native("99.9  #", "x  #", "f:15:13: error: target must be a percentage such as 99.9; got \"x\"");
    check_native("99.9  #", "[1]  #", "f:15:13: error: expected a text, found a list");
}

#[test]
fn native_windows_and_burn_rates() {
    check_native("30d", "91d", "f:16:13: error: window 91d is too long; the longest retained window is 90d");
    check_native("30d", "0s", "f:16:13: error: window must be longer than 0s");
    let syntax = "is not a duration; write one like 5m, 1h30m or 30d (units: y w d h m s ms)";
    check_native("30d", "30 days", &format!("f:16:13: error: window: \"30 days\" {syntax}"));
    let short = "window: 1h\n        short_window: 1h";
    check_native("window: 1h", short, "f:22:23: error: short_window must be shorter than window");
    check_native("14.4", "0", "f:20:20: error: burn_rate 0 is always exceeded; it must be above 0");
    check_native("14.4", "fast", "f:20:20: error: burn_rate must be a number; got \"fast\"");
    check_native(
        "14.4",
        "1000",
        "f:20:20: warning: burn rate 1000 of the 1h window can never be exceeded: with every event bad it is 1000",
    );
    check_native("30d", "2h", "f:23:20: warning: alert window 6h is longer than the objective's window 2h");
}

#[test]
fn native_fields() {
    check(
        NATIVE,
        "objective:",
        "objectives:",
        false,
        &[
            "f:7:3: error: missing field `objective`",
            "f:14:3: error: unknown field `objectives`, did you mean `objective`?",
        ],
    );
    check_native("  name: api-availability\n", "  name: ''\n", "f:4:9: error: name is empty");
    check_native("  name: api-availability\n", "", "f:4:3: error: missing field `name`");
    check_native(
        "availability\n    query",
        "speed\n    query",
        concat!(
            "f:9:11: error: unknown sli type `speed`, expected one of availability, latency, quality, freshness, ",
            "correctness, coverage, throughput, durability"
        ),
    );
    check_native("service: intra365-gateway", "service: [a]", "f:5:12: error: expected a text, found a list");
    check_native(
        "service: intra365-gateway",
        "service: a\n  labels: {1a: b}",
        "f:6:12: error: \"1a\" is no label name; it must match [a-zA-Z_][a-zA-Z0-9_]*",
    );
    check_native(
        "service: intra365-gateway",
        "service: a\n  labels: {window: b}",
        "f:6:12: error: label window is slod's own; choose another name",
    );
    check_native(
        "kind: ServiceLevelObjective",
        "kind: SLO",
        &format!("f:1:1: error: cannot read apiVersion \"slo.intra365.io/v1\" with kind \"SLO\"; {ACCEPTED}"),
    );
}

#[test]
fn an_alert_is_not_given_twice() {
    check_native(
        "severity: warning\n        burn_rate: 6\n        window: 6h",
        "severity: critical\n        burn_rate: 6\n        window: 1h",
        "f:22:9: error: another alert has the same severity and windows; drop one of them",
    );
}

// === Sloth ===

#[test]
fn a_sloth_spec_is_read() {
    let slo = only(SLOTH);
    assert_eq!(slo.id.to_string(), "myservice/requests-availability");
    assert_eq!(slo.description, "Requests that do not fail.");
    assert_eq!(format!("{:?}", slo.labels), r#"{"owner": "myteam", "tier": "1"}"#);
    assert_eq!((slo.objective.target.ratio(), slo.objective.period()), (0.999, 720 * HOUR));
    let counter = "http_requests_total";
    assert_eq!(
        print_indicator(&slo.indicator),
        format!("+1*{counter}{{code=~\"(5..|429)\"}} of +1*{counter} by ()")
    );
    let marks = r#"min 3 {"category": "paging"} {"summary": "High error rate"}"#;
    let alerts: Vec<String> = slo.alerts.iter().map(print_alert).collect();
    let expected = ["pageteam 300s/3600s x14.4", "pageteam 1800s/21600s x6.0"];
    assert_eq!(alerts, expected.map(|alert| format!("{alert} {marks}")));
}

#[test]
fn sloth_raw_queries_are_error_ratios() {
    let start = SLOTH.find("      events:").unwrap();
    let end = SLOTH.find("    alerting:").unwrap();
    let with_raw = |query: &str| {
        format!("{}      raw:\n        error_ratio_query: {query}\n{}", &SLOTH[..start], &SLOTH[end..])
    };
    let indicator = |query: &str| print_indicator(&only(&with_raw(query)).indicator);
    let ratio = "sum(rate(a[{{.window}}])) / sum(rate(b[{{.window}}]))";
    assert_eq!(indicator(ratio), "+1*a of +1*b by ()");
    assert_eq!(indicator(&format!("1 - ({ratio})")), "+1*b -1*a of +1*b by ()");
    let mixed = "sum(rate(a[{{.window}}])) / sum(rate(b[5m]))";
    assert_eq!(
        report(&read("f", &with_raw(mixed))),
        [
            "f:11:54: error: the two sides of / have different ranges: [{{.window}}] and [5m]; use the same on both"
        ]
    );
}

#[test]
fn sloth_fields() {
    check_sloth(
        "service: myservice",
        "service: a",
        concat!(
            "f:2:10: error: service \"a\" must have two or more letters, digits, -, _ and ., and begin and end with a ",
            "letter or digit"
        ),
    );
    check_sloth("service: myservice\n", "", "f:1:1: error: missing field `service`");
    check(
        SLOTH,
        "error_query",
        "errorQuery",
        false,
        &[
            "f:11:9: error: unknown field `errorQuery`, did you mean `error_query`?",
            "f:11:9: error: missing field `error_query`",
        ],
    );
    check_sloth("99.9", "100", "f:6:16: error: objective 100 leaves no error budget; it must be below 100");
    check_sloth("      name: HighErrorRate\n", "", "f:14:7: error: missing field `name`");
    check_sloth(
        "disable: true",
        "disable: maybe",
        "f:20:18: error: disable must be true or false; got \"maybe\"",
    );
    check_sloth(
        "[{{ .window }}]",
        "[5m]",
        "f:12:22: error: total_query must have {{.window}} for its ranges",
    );
    check_sloth(
        r#"{code=~"(5..|429)"}"#,
        "",
        "f:12:22: error: total_query is the same as error_query: every event would be bad",
    );
    check_sloth(
        "    sli:\n",
        "    plugins: {chain: []}\n    sli:\n",
        "f:9:14: warning: plugins are not run: slod generates no rules for them to change",
    );
    check_sloth(
        "objective: 99.9",
        "objective: 92",
        "f:6:16: warning: burn rate 14.4 of the 1h window can never be exceeded: with every event bad it is 12.5",
    );
    check_sloth(
        "sum(rate(http_requests_total[{{",
        "sum(irate(http_requests_total[{{",
        "f:12:26: error: function irate sees only the last two samples of a range; use rate",
    );
}

#[test]
fn sloth_plugin_slis_are_refused() {
    let start = SLOTH.find("      events:").unwrap();
    let end = SLOTH.find("    alerting:").unwrap();
    let text = format!("{}      plugin: {{id: a}}\n{}", &SLOTH[..start], &SLOTH[end..]);
    let expected = "f:10:15: error: plugin SLIs are not supported; write the queries as events or raw";
    assert_eq!(report(&read("f", &text)), [expected]);
}

#[test]
fn a_bad_slo_does_not_hide_the_others() {
    let second = &SLOTH[SLOTH.find("  - name").unwrap()..];
    let third = edit(second, "requests-availability", "other");
    let text = format!("{SLOTH}{}{third}", edit(second, "objective: 99.9", "objectiv: 99.9"));
    let specs = read("f", &text);
    assert_eq!(specs.slos.len(), 2);
    assert_eq!(
        report(&specs),
        [
            "f:21:5: error: missing field `objective`",
            "f:22:5: error: unknown field `objectiv`, did you mean `objective`?",
        ]
    );
}

// === positions of PromQL ===

#[test]
fn errors_in_queries_are_placed_in_every_style_of_scalar() {
    #[track_caller]
    fn check(query: &str, expected: &str) {
        let text = native_with_sli(&format!("    query: {query}"));
        for text in [text.clone(), text.replace('\n', "\r\n")] {
            let found = report(&read("f", &text)).join("\n");
            assert!(found.starts_with(&format!("{expected}: error: aggregation avg")), "{query:?}\n{found}");
        }
    }
    check("avg(a)", "f:9:12");
    check("sum(rate(a[5m])) / avg(a)", "f:9:31");
    check("sum(rate(a[5m]))\n      / avg(a)", "f:10:9");
    check("|\n      sum(rate(a[5m]))\n        / avg(a)", "f:11:11");
    check("|2-  # why\n\n      sum(rate(a[5m])) /\n\n      avg(a)", "f:13:7");
    check(">-\n      sum(rate(a[5m]))\n      / avg(a)", "f:11:9");
    check("'sum(rate(a{b=''c''}[5m])) / avg(a)'", "f:9:41");
    check(r#""sum(rate(a{b=\"c\\\\d\"}[5m])) /\n avg(a)""#, "f:9:48");
    check("&x sum(rate(a{b=\"é\"}[5m])) / avg(a)", "f:9:41");
    check("!!str\n      sum(rate(a[5m])) / avg(a)", "f:10:26");
}

#[test]
fn an_alias_is_reported_where_its_query_is_written() {
    let text = format!(
        "{}---\n{}",
        NATIVE,
        native_with_sli("    good: &q sum(rate(a[5m])) / avg(a)\n    total: *q").replace("api-", "web-")
    );
    let found = report(&read("f", &text));
    assert_eq!(found.len(), 2);
    let message = "aggregation avg is not supported; count events with sum(rate(…))";
    assert_eq!(found, vec![format!("f:34:33: error: {message}"); 2]);
}

// === files ===

#[test]
fn documents_of_both_formats_and_broken_ones_share_a_file() {
    let text = format!("# head\n---\n{NATIVE}---\na: [\n---\n{SLOTH}...\n---\n---\n# end\n--- {{a: b}}\n");
    let specs = read("f", &text);
    let names: Vec<&str> = specs.slos.iter().map(|slo| slo.id.name.as_str()).collect();
    assert_eq!(names, ["api-availability", "requests-availability"]);
    assert_eq!(
        report(&specs),
        [
            "f:28:4: error: cannot parse YAML: unclosed bracket '['".to_owned(),
            format!("f:54:5: error: document says neither apiVersion and kind nor version; {ACCEPTED}"),
        ]
    );
}

#[test]
fn the_first_of_two_slos_with_the_same_id_is_kept() {
    let other = NATIVE.replace("description: \"API", "description: \"Another");
    let specs = read_all([("a.yaml", NATIVE), ("b.yaml", &other)]);
    assert_eq!(specs.slos, [only(NATIVE)]);
    let expected =
        "b.yaml:4:9: error: SLO intra365-gateway/api-availability is already defined at a.yaml:4:9";
    assert_eq!(report(&specs), [expected]);
}

#[test]
fn texts_that_are_no_specs() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        let specs = read("f", text);
        assert!(specs.slos.is_empty());
        let found = report(&specs).join("\n");
        assert!(found.starts_with(expected), "{text:?}\n{found}");
    }
    check("", "f:1:1: warning: file defines no SLO");
    check("# nothing\n---\n", "f:1:1: warning: file defines no SLO");
    check("just text", "f:1:1: error: document says neither");
    check("a: b: c", "f:1:5: error: cannot parse YAML: mapping values are not allowed in this context");
    check("a:\n\t- b", "f:2:2: error: cannot parse YAML: tabs");
    check("a: 1\na: 2", "f:2:1: error: cannot parse YAML: duplicate mapping key: a");
    check("a: *x", "f:1:4: error: cannot parse YAML: alias references unknown anchor");
    check("a: {{ .Values.a }}", "f:1:5: error: cannot parse YAML: a key must be a text");
    check("\0\u{1}\u{fffd}", "f:1:1: error: cannot parse YAML: unexpected character");
    check("version: prometheus/v2", "f:1:1: error: cannot read version \"prometheus/v2\"; accepted");
    check("kind: SLO", "f:1:1: error: cannot read kind \"SLO\" without apiVersion");
}

#[test]
fn a_byte_order_mark_and_dos_line_ends_do_not_matter() {
    let text = format!("\u{feff}{}", NATIVE.replace('\n', "\r\n"));
    assert_eq!(only(&text), only(NATIVE));
}

#[test]
fn small_texts_that_mean_huge_documents_are_refused() {
    let mut laughs = "a0: &a0 [ha, ha]\n".to_owned();
    for i in 1..40 {
        let last = i - 1;
        writeln!(laughs, "a{i}: &a{i} [*a{last}, *a{last}, *a{last}, *a{last}]").unwrap();
    }
    for text in [laughs, "[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
        let specs = read("f", &text);
        assert!(report(&specs)[0].contains("error: cannot parse YAML"), "{:?}", report(&specs)[0]);
    }
}

#[test]
fn ten_thousand_documents() {
    // Without its regular expression: to compile 20,000 of them takes seconds and tests nothing here.
    let plain = edit(NATIVE, r#"code!~"5..""#, r#"code!="500""#);
    let text: String = (0..10_000)
        .map(|i| format!("---\n{}", plain.replace("api-availability", &format!("a{i}"))))
        .collect();
    let specs = read("f", &text);
    assert_eq!((specs.slos.len(), specs.diagnostics.len()), (10_000, 0));
}

/// Public specs, where they are at hand: no panic, and nothing but what is known to be unsupported.
#[test]
fn public_sloth_specs() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus/sloth");
    let mut paths: Vec<_> =
        fs::read_dir(&dir).map(|dir| dir.map(|entry| entry.unwrap().path()).collect()).unwrap_or_default();
    paths.sort();
    let mut reasons = BTreeMap::<String, usize>::new();
    let mut slos = 0;
    for path in &paths {
        let specs = read(&path.display().to_string(), &fs::read_to_string(path).unwrap());
        slos += specs.slos.len();
        for diagnostic in specs.diagnostics {
            *reasons.entry(diagnostic.message).or_default() += 1;
        }
    }
    println!("read {} files with {slos} SLOs", paths.len());
    for (reason, count) in reasons {
        println!("{count:5} {reason}");
    }
}
