//! Specs in, SLOs and the lines of diagnostics out. Most cases are an edit of a good spec.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use super::*;
use crate::slo::{
    Budgeting, BurnRateAlert, Counted, HistogramMeasure, Indicator, Interval, Measure, Term, Threshold,
    ThresholdOp, TimeWindow,
};

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
    let each =
        |term: &Term| format!("{:+}*{}{}", term.coefficient, term.selector, print_measure(term.measure));
    terms.iter().map(each).collect::<Vec<_>>().join(" ")
}

fn print_measure(measure: Measure) -> String {
    match measure {
        Measure::Increase => String::new(),
        Measure::Samples => "[samples]".to_owned(),
        Measure::SamplesWhere(Threshold { op, bound }) => format!("[samples {op:?} {bound}]"),
        Measure::Histogram(HistogramMeasure::Count) => "[count]".to_owned(),
        Measure::Histogram(HistogramMeasure::Sum) => "[sum]".to_owned(),
        Measure::Histogram(HistogramMeasure::Within(Interval { lower, upper })) => {
            format!("[{lower}..{upper}]")
        }
        Measure::Values => "[values]".to_owned(),
        Measure::VmRange(Interval { lower, upper }) => format!("[vmrange {lower}..{upper}]"),
    }
}

fn counted(slo: &Slo) -> &Counted {
    match &slo.indicator {
        Indicator::Counted(counted) => counted,
        other => panic!("not counted: {other:?}"),
    }
}

fn print_indicator(slo: &Slo) -> String {
    let Counted { bad, total, group_by } = counted(slo);
    format!("{} of {} by {group_by}", print(bad), print(total))
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
        print_indicator(&slo),
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
        assert_eq!(print_indicator(&only(&native_with_sli(sli))), expected);
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
        "+1*t -1*g of +1*t by (a, z)",
    );
    let threshold = "    threshold: {metric: 'q{a=\"b\"}', op: lte, value: 1e3}";
    let gauge = "q{a=\"b\"}";
    let samples = format!("+1*{gauge}[samples] -1*{gauge}[samples LessOrEqual 1000] of +1*{gauge}[samples]");
    check(threshold, &format!("{samples} by ()"));
    check(&format!("{threshold}\n    group_by: [z, a]"), &format!("{samples} by (a, z)"));
}

#[test]
fn native_histograms_are_inputs_of_an_sli() {
    const HISTOGRAMS: &str = "sum(rate(h[5m]))";
    const INDICATOR: &str = "+1*h[count] -1*h[0..0.3] of +1*h[count] by ()";
    #[track_caller]
    fn check(sli: &str, expected: &str) {
        assert_eq!(print_indicator(&only(&native_with_sli(sli))), expected);
    }
    let fraction = format!("histogram_fraction(0, 0.3, {HISTOGRAMS})");
    let count = format!("histogram_count({HISTOGRAMS})");
    check(&format!("    query: {fraction}"), INDICATOR);
    check(&format!("    good: {fraction} * {count}\n    total: {count}"), INDICATOR);
    check(&format!("    bad: {count} - {fraction} * {count}\n    total: {count}"), INDICATOR);
    check(
        &format!("    query: 1 - histogram_fraction(0.3, +Inf, {HISTOGRAMS})"),
        "+1*h[0.3..inf] of +1*h[count] by ()",
    );
    check(&format!("    bad: sum(rate(e[5m]))\n    total: {count}"), "+1*e of +1*h[count] by ()");
}

#[test]
fn native_histograms_in_sloth() {
    #[track_caller]
    fn check(sli: &str, expected: &str) {
        let start = SLOTH.find("      events:").unwrap();
        let end = SLOTH.find("    alerting:").unwrap();
        let text = format!("{}{sli}\n{}", &SLOTH[..start], &SLOTH[end..]);
        assert_eq!(print_indicator(&only(&text)), expected);
    }
    let fraction = "histogram_fraction(0, 0.3, sum by (a) (rate(h[{{.window}}])))";
    let count = "histogram_count(sum by (a) (rate(h[{{.window}}])))";
    let indicator = "+1*h[count] -1*h[0..0.3] of +1*h[count] by (a)";
    check(&format!("      raw:\n        error_ratio_query: 1 - {fraction}"), indicator);
    check(
        &format!(
            "      events:\n        error_query: {count} - {fraction} * {count}\n        total_query: {count}"
        ),
        indicator,
    );
}

#[test]
fn thresholds_compare_by_openslo_s_names() {
    use ThresholdOp::{Greater, GreaterOrEqual, Less, LessOrEqual};
    for (name, expected) in [("lt", Less), ("lte", LessOrEqual), ("gt", Greater), ("gte", GreaterOrEqual)] {
        let sli = format!("    threshold: {{metric: q, op: {name}, value: -0.5}}");
        let slo = only(&native_with_sli(&sli));
        let bad = &counted(&slo).bad;
        let threshold = Threshold { op: expected, bound: -0.5 };
        assert_eq!(bad[1].measure, Measure::SamplesWhere(threshold), "{name}");
    }
}

#[test]
fn native_thresholds() {
    const SLI: &str = "    threshold:\n      metric: q{a=\"b\"}\n      op: lt\n      value: 5";
    #[track_caller]
    fn check(from: &str, to: &str, expected: &str) {
        super::tests::check(&native_with_sli(SLI), from, to, expected.contains(": warning: "), &[expected]);
    }
    check("      op: lt\n", "", "f:10:7: error: missing field `op`");
    check("op: lt", "op: <", "f:11:11: error: unknown op `<`, expected one of lt, lte, gt, gte");
    check("op: lt", "op: LTE", "f:11:11: error: unknown op `LTE`, did you mean `lte`?");
    check("value: 5", "value: 300ms", "f:12:14: error: value must be a number; got \"300ms\"");
    check("value: 5", "value: 'inf'", "f:12:14: error: value must be a number; got \"inf\"");
    check("value: 5", "value: .nan", "f:12:14: error: cannot parse YAML: non-finite float `.nan`");
    check(
        "value: 5",
        "bound: 5\n      value: 5",
        "f:12:7: error: unknown field `bound`, expected one of metric, op, value",
    );
    check(
        "threshold:",
        "total: sum(rate(a[5m]))\n    threshold:",
        "f:9:5: error: sli needs either query, or bad_ratio, or threshold, or exactly two of good, bad and total",
    );
    let metric = "q{a=\"b\"}";
    check(metric, "[q]", "f:10:15: error: expected a text, found a list");
    check(metric, "''", "f:10:15: error: query is empty");
    check(
        metric,
        "q[5m]",
        "f:10:16: error: a range is not supported here: every sample counts by itself; remove it",
    );
    check(
        metric,
        "'{a=\"b\"}'",
        "f:10:16: error: a selector without a metric name would match every metric; name one",
    );
    for name in ["a_total", "a_bucket", "a_count", "a_sum"] {
        let message =
            "is a counter by its name, and a threshold is for gauges; count events with good, bad and total";
        check(metric, name, &format!("f:10:15: warning: {name} {message}"));
    }
}

#[test]
fn wrong_shapes_of_an_sli() {
    #[track_caller]
    fn check(sli: &str, expected: &str) {
        let specs = read("f", &native_with_sli(sli));
        assert_eq!(report(&specs), [expected], "{sli}");
        assert!(specs.slos.is_empty(), "{sli}");
    }
    let choice = "f:9:5: error: sli needs either query, or bad_ratio, or threshold, or exactly two of good, bad and total";
    check("    type: latency", choice);
    check("    query: a\n    good: b", choice);
    check("    good: a\n    bad: b\n    total: c", choice);
    check(
        "    query: sum(rate(g[5m]))",
        "f:9:12: error: query must be a ratio: this counts events a second, any number of them, and no share of all; \
         divide it by all events: sum(…) / sum(…)",
    );
    check(
        "    good: sum(rate(a[5m])) / sum(rate(b[5m]))\n    total: sum(rate(t[5m]))",
        "f:9:28: error: good must count events: it is a ratio",
    );
    check(
        "    good: histogram_fraction(0, 1, sum(rate(h[5m])))\n    total: histogram_count(sum(rate(h[5m])))",
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
    check_native("99.9  #", "101  #", "f:15:13: error: target 101 is above 100%");
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
    check_native("window: 1h", short, "f:22:23: error: short_window 1h must be shorter than window 1h");
    let dead = "can never be exceeded: with every event bad it is 1000; lower burn_rate or drop the alert";
    check_native("14.4", "1000", &format!("f:20:20: warning: burn rate 1000 of the 1h window {dead}"));
    check_native(
        "30d",
        "2h",
        concat!(
            "f:24:17: warning: alert window 6h is longer than the objective's window 2h; shorten it or drop the ",
            "alert"
        ),
    );
    check_native("14.4", "0", "f:20:20: error: burn_rate 0 is always exceeded; it must be above 0");
    check_native("14.4", "fast", "f:20:20: error: burn_rate must be a number; got \"fast\"");
}

#[test]
fn native_durations_are_positive_and_retained() {
    let too_long = "91d is too long; the longest retained window is 90d";
    check_native("window: 1h", "window: 91d", &format!("f:21:17: error: window {too_long}"));
    let with_short = |short: &str| format!("window: 1h\n        short_window: {short}");
    check_native("window: 1h", &with_short("91d"), &format!("f:22:23: error: short_window {too_long}"));
    check_native("window: 1h", &with_short("0s"), "f:22:23: error: short_window must be longer than 0s");
    check_native("window: 1h", &with_short("-5m"), "f:22:23: error: short_window -5m must not be negative");
    check_native("window: 1h", "window: -1h", "f:21:17: error: window -1h must not be negative");
    check_native("window: 1h", "window: 0", "f:21:17: error: window must be longer than 0s");
    check_native("30d", "-30d", "f:16:13: error: window -30d must not be negative");
    let with_for = "window: 1h\n        for: -1m";
    check_native("window: 1h", with_for, "f:22:14: error: for -1m must not be negative");
}

// === native objectives ===

#[track_caller]
fn check_windows(windows: &str, expected: &[&str]) {
    let objective = only(&edit(NATIVE, "window: 30d", windows)).objective;
    let print = |window: &TimeWindow| match window {
        TimeWindow::Rolling(_) => window.to_string(),
        TimeWindow::Calendar(calendar) => calendar.to_string(),
    };
    assert_eq!(objective.windows.iter().map(print).collect::<Vec<_>>(), expected, "{windows}");
}

#[test]
fn rolling_and_calendar_windows() {
    check_windows("window: 4w", &["4w"]);
    for unit in ["day", "week", "month", "quarter", "year"] {
        check_windows(&format!("window: {{calendar: {unit}}}"), &[&format!("{unit} (UTC)")]);
    }
    check_windows(
        "window:\n      calendar: month\n      time_zone: Europe/Berlin",
        &["month (Europe/Berlin)"],
    );
    check_windows(
        "windows: [7d, {calendar: year, time_zone: Asia/Kolkata}, 30d]",
        &["1w", "year (Asia/Kolkata)", "30d"],
    );
}

#[test]
fn wrong_windows() {
    #[track_caller]
    fn check(windows: &str, expected: &str) {
        check_native("window: 30d", windows, expected);
    }
    check("", "f:15:5: error: missing field `window`, or `windows` for several");
    check("windows: []", "f:16:14: error: windows is empty; name at least one, such as 30d");
    check("windows: 30d", "f:16:14: error: expected a list, found \"30d\"");
    check("window: [30d]", "f:16:13: error: window is a list; write `windows` for several");
    check(
        "windows: [30d]\n    window: 30d",
        "f:16:14: error: window and windows are both given; put all of them into windows",
    );
    check(
        "windows: [30d, 7d, 720h]",
        "f:16:24: error: another window has the label window=\"30d\", too; drop one of them",
    );
    check(
        "windows: [{calendar: day}, {calendar: day, time_zone: Asia/Tokyo}]",
        "f:16:32: error: another window has the label window=\"day\", too; drop one of them",
    );
    check(
        "windows: [30d, 91d]",
        "f:16:20: error: window 91d is too long; the longest retained window is 90d",
    );
    check("window: month", "f:16:13: error: window month is no duration; write {calendar: month}");
    check("window: {time_zone: UTC}", "f:16:13: error: missing field `calendar`");
    check(
        "window: {calendar: month, zone: UTC}",
        "f:16:31: error: unknown field `zone`, expected one of calendar, time_zone, start, count",
    );
    check(
        "window: {calendar: fortnight}",
        concat!(
            "f:16:24: error: unknown calendar unit `fortnight`, expected one of day, week, month, quarter, ",
            "year"
        ),
    );
    check(
        "window: {calendar: months}",
        "f:16:24: error: unknown calendar unit `months`, did you mean `month`?",
    );
    check(
        "window: {calendar: day, time_zone: Europe/Berln}",
        "f:16:40: error: unknown time zone \"Europe/Berln\", did you mean Europe/Berlin?",
    );
    check(
        "window: {calendar: day, time_zone: Middle-earth}",
        concat!(
            "f:16:40: error: unknown time zone \"Middle-earth\"; write a name of the IANA database, such as ",
            "Europe/Berlin or UTC"
        ),
    );
}

#[test]
fn errors_of_windows_do_not_hide_each_other() {
    check(
        NATIVE,
        "window: 30d",
        "windows: [0s, {calendar: a, time_zone: b}, -1d]",
        false,
        &[
            "f:16:15: error: window must be longer than 0s",
            "f:16:30: error: unknown calendar unit `a`, expected one of day, week, month, quarter, year",
            "f:16:44: error: unknown time zone \"b\"; write a name of the IANA database, such as Europe/Berlin or UTC",
            "f:16:48: error: window -1d must not be negative",
        ],
    );
}

#[test]
fn default_alerts_follow_the_first_window() {
    let (before, _) = NATIVE.split_once("  alerting:").unwrap();
    let longest = |windows: &str| {
        let slo = only(&edit(before, "window: 30d", windows));
        slo.alerts.iter().map(|alert| alert.long).max().unwrap()
    };
    assert_eq!(longest("windows: [{calendar: month}, 1d]"), 72 * HOUR);
    assert_eq!(longest("windows: [{calendar: day}, 30d]"), 72 * HOUR / 30);
}

#[test]
fn alerts_over_more_time_than_any_budget() {
    let longer = "is longer than the objective's window";
    let way_out = "shorten it or drop the alert";
    check_native(
        "window: 6h",
        "window: 40d",
        &format!("f:24:17: warning: alert window 40d {longer} 30d; {way_out}"),
    );
    let calendar = edit(NATIVE, "window: 6h", "window: 40d");
    let expected = format!("f:24:17: warning: alert window 40d {longer} calendar month; {way_out}");
    check(&calendar, "window: 30d", "window: {calendar: month}", true, &[&expected]);
    only(&edit(&calendar, "window: 30d", "windows: [1d, {calendar: quarter}]"));
}

#[test]
fn budgeting_methods() {
    #[track_caller]
    fn check(budgeting: &str, expected: Budgeting) {
        let text = edit(NATIVE, "window: 30d\n", &format!("window: 30d\n{budgeting}"));
        assert_eq!(only(&text).objective.budgeting, expected, "{budgeting}");
    }
    check("", Budgeting::Occurrences);
    check("    budgeting: Occurrences\n", Budgeting::Occurrences);
    for (percent, target) in [("95", 0.95), ("'99.9 %'", 0.999), ("100", 1.0), ("1", 0.01)] {
        check(
            &format!("    budgeting: Timeslices\n    slice: {{window: 1m, target: {percent}}}\n"),
            Budgeting::Timeslices { slice: MINUTE, target },
        );
    }
    check(
        "    budgeting: RatioTimeslices\n    slice: {window: 10s}\n",
        Budgeting::RatioTimeslices { slice: MINUTE / 6 },
    );
}

const SLICED: &str = "    budgeting: Timeslices\n    slice: {window: 1m, target: 95}\n";

fn native_with_slices() -> String {
    edit(NATIVE, "window: 30d\n", &format!("window: 30d\n{SLICED}"))
}

#[track_caller]
fn check_sliced(from: &str, to: &str, expected: &str) {
    check(&native_with_slices(), from, to, expected.contains(": warning: "), &[expected]);
}

#[test]
fn wrong_budgeting_and_slices() {
    check_sliced(
        "Timeslices",
        "timeslices",
        "f:17:16: error: unknown budgeting `timeslices`, did you mean `Timeslices`?",
    );
    check_sliced(
        "Timeslices",
        "Hours",
        concat!(
            "f:17:16: error: unknown budgeting `Hours`, expected one of Occurrences, Timeslices, ",
            "RatioTimeslices"
        ),
    );
    let useless = "slice means nothing to budgeting Occurrences; choose another or drop slice";
    check_sliced("Timeslices", "Occurrences", &format!("f:18:12: error: {useless}"));
    check_sliced("    budgeting: Timeslices\n", "", &format!("f:17:12: error: {useless}"));
    check_sliced("    slice: {window: 1m, target: 95}\n", "", "f:15:5: error: missing field `slice`");
    check_sliced("window: 1m, ", "", "f:18:12: error: missing field `window`");
    check_sliced(", target: 95", "", "f:18:12: error: missing field `target`");
    check_sliced(
        "Timeslices",
        "RatioTimeslices",
        "f:18:33: error: slice target is for Timeslices: RatioTimeslices has no good and bad slices; drop it",
    );
    check_sliced("95", "0", "f:18:33: error: slice target 0 promises nothing; it must be above 0");
    check_sliced("95", "101", "f:18:33: error: slice target 101 is above 100%");
    check_sliced("95", "0.95", "f:18:33: error: slice target 0.95 is below 1%; did you mean 95?");
    check_sliced("1m", "0s", "f:18:21: error: slice window must be longer than 0s");
    check_sliced("1m", "-5m", "f:18:21: error: slice window -5m must not be negative");
    check_sliced("1m", "500ms", "f:18:21: error: slice window 500ms is too short; the shortest slice is 1s");
    check_sliced(
        "1m",
        "7m",
        "f:18:21: error: slice window 7m does not divide a day evenly; choose 5m or 10m",
    );
    check_sliced("1m", "25h", "f:18:21: error: slice window 1d1h does not divide a day evenly; choose 1d");
}

#[test]
fn slices_fit_into_windows() {
    let way_out = "shorten the slice, or lengthen that window";
    check_sliced(
        "1m",
        "5m",
        &format!(
            "f:18:21: error: slice 5m must be shorter than the short window 5m of the 1h alert; {way_out}"
        ),
    );
    check_sliced(
        "1m",
        "2m",
        &format!(
            "f:18:21: warning: short window 5m of the 1h alert has fewer than 5 slices of 2m: its error ratio moves \
             in steps of 40%; {way_out}"
        ),
    );
    let (before, _) = NATIVE.split_once("  alerting:").unwrap();
    let without_alerts = format!("{before}{SLICED}  alerting: {{burn_rate_alerts: []}}\n");
    let days = edit(&without_alerts, "window: 1m", "window: 1d");
    only(&days);
    for window in ["1d", "{calendar: day}"] {
        let name = window.trim_matches(['{', '}']).replace(':', "");
        check(
            &days,
            "window: 30d",
            &format!("windows: [30d, {window}]"),
            false,
            &[&format!("f:18:21: error: slice 1d must be shorter than the objective's window {name}")],
        );
    }
    // The alerts by default.
    check(
        &format!("{before}{SLICED}"),
        "1m",
        "10m",
        false,
        &[&format!(
            "f:18:21: error: slice 10m must be shorter than the short window 5m of the 1h alert; {way_out}"
        )],
    );
}

#[test]
fn alerts_that_can_never_fire_over_slices_and_by_default() {
    check_sliced(
        "14.4",
        "1000",
        concat!(
            "f:22:20: warning: burn rate 1000 of the 1h window can never be exceeded: with every slice bad it is ",
            "1000; lower burn_rate or drop the alert"
        ),
    );
    let (before, _) = NATIVE.split_once("  alerting:").unwrap();
    check(
        before,
        "99.9  #",
        "92  #",
        true,
        &[concat!(
            "f:15:13: warning: burn rate 14.4 of the 1h window can never be exceeded: with every event bad it is ",
            "12.5; write burn_rate_alerts with lower ones"
        )],
    );
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
    assert_eq!(print_indicator(&slo), format!("+1*{counter}{{code=~\"(5..|429)\"}} of +1*{counter} by ()"));
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
    let indicator = |query: &str| print_indicator(&only(&with_raw(query)));
    let ratio = "sum(rate(a[{{.window}}])) / sum(rate(b[{{.window}}]))";
    assert_eq!(indicator(ratio), "+1*a of +1*b by ()");
    assert_eq!(indicator(&format!("1 - ({ratio})")), "+1*b -1*a of +1*b by ()");
    let mixed = "sum(rate(a[{{.window}}])) / sum(rate(b[5m]))";
    assert_eq!(
        report(&read("f", &with_raw(mixed))),
        [
            "f:11:66: warning: range [5m] is the same for every window, so that all alerts would look at it alone; it \
             is ignored: slod counts over its own windows"
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
            "f:11:9: warning: unknown field `errorQuery`, did you mean `error_query`? Sloth ignores it, and so does slod",
            "f:11:9: error: missing field `error_query`",
        ],
    );
    check_sloth("99.9", "101", "f:6:16: error: objective 101 is above 100%");
    check_sloth("99.9", "0", "f:6:16: error: objective 0 promises nothing; it must be above 0");
    check_sloth("99.9", "-1", "f:6:16: error: objective -1 promises nothing; it must be above 0");
    check_sloth("99.9", "0.999", "f:6:16: error: objective 0.999 is below 1%; did you mean 99.9?");
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
        "f:12:22: error: error_query and total_query count the same: every event would be bad",
    );
    check_sloth(
        "objective: 99.9",
        "objective: 92",
        concat!(
            "f:6:16: warning: burn rate 14.4 of the 1h window can never be exceeded: with every event bad it is ",
            "12.5; it never fires in Sloth either; slod's own format takes lower burn rates"
        ),
    );
    check_sloth(
        "sum(rate(http_requests_total[{{",
        "sum(irate(http_requests_total[{{",
        "f:12:26: warning: irate sees only the last two samples of a range; slod counts them all, as rate does",
    );
}

#[test]
fn a_bad_slo_does_not_hide_the_others() {
    let second = &SLOTH[SLOTH.find("  - name").unwrap()..];
    let third = edit(&edit(second, "requests-availability", "other"), "429", "418");
    let text = format!("{SLOTH}{}{third}", edit(second, "objective: 99.9", "objectiv: 99.9"));
    let specs = read("f", &text);
    assert_eq!(specs.slos.len(), 2);
    assert_eq!(
        report(&specs),
        [
            "f:21:5: error: missing field `objective`",
            "f:22:5: warning: unknown field `objectiv`, did you mean `objective`? Sloth ignores it, and so does slod",
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
            assert!(
                found.starts_with(&format!("{expected}: error: a_total is not wrapped")),
                "{query:?}\n{found}"
            );
        }
    }
    check("a_total", "f:9:12");
    check("sum(rate(a[5m])) / a_total", "f:9:31");
    check("sum(rate(a[5m]))\n      / a_total", "f:10:9");
    check("|\n      sum(rate(a[5m]))\n        / a_total", "f:11:11");
    check("|2-  # why\n\n      sum(rate(a[5m])) /\n\n      a_total", "f:13:7");
    check(">-\n      sum(rate(a[5m]))\n      / a_total", "f:11:9");
    check("'sum(rate(a{b=''c''}[5m])) / a_total'", "f:9:41");
    check(r#""sum(rate(a{b=\"c\\\\d\"}[5m])) /\n a_total""#, "f:9:48");
    check("&x sum(rate(a{b=\"é\"}[5m])) / a_total", "f:9:41");
    check("!!str\n      sum(rate(a[5m])) / a_total", "f:10:26");
}

#[test]
fn an_alias_is_reported_where_its_query_is_written() {
    let text = format!(
        "{}---\n{}",
        NATIVE,
        native_with_sli("    good: &q sum(rate(a[5m])) / a_total\n    total: *q").replace("api-", "web-")
    );
    let found = report(&read("f", &text));
    let message = "a_total is not wrapped in rate(…); count its events with sum(rate(a_total[5m]))";
    assert_eq!(found, [format!("f:34:33: error: {message}")]);
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
    let specs = read_all([("a.yaml", NATIVE), ("b.yaml", &other)], &Settings::default());
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
        .map(|i| {
            format!(
                "---\n{}",
                plain.replace("api-availability", &format!("a{i}")).replace("500", &i.to_string())
            )
        })
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
