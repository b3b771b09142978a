//! OpenSLO in, SLOs and diagnostics out. Goldens show what is read; most diagnostics come of an edit of a good
//! spec.

use std::{fmt::Write as _, time::Duration};

use crate::{
    slo::{BurnRateAlert, Indicator, Measure, Slo, Term, Threshold},
    spec::{Settings, Specs, read_all},
    time::format_duration,
};

const RATIO: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata:
  name: orders-answered
  displayName: Orders are answered
  labels: {team: [web, shop], tier: 1}
  annotations: {runbook_url: "https://runbooks.test/orders", example.com/owner: nobody}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow:
    - duration: 4w
      isRolling: true
  indicator:
    metadata: {name: orders-answered}
    spec:
      ratioMetric:
        counter: true
        good:
          metricSource:
            type: Prometheus
            spec: {query: 'sum(rate(orders_total{outcome!="failed"}[5m]))'}
        total:
          metricSource:
            type: Prometheus
            spec: {query: 'sum(rate(orders_total[5m]))'}
  objectives:
    - displayName: Most
      target: 0.999
"#;

const SLICES: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata: {name: queue-age}
spec:
  description: Mail does not wait for long.
  service: mail
  budgetingMethod: Timeslices
  timeWindow: [{duration: 30d, isRolling: true}]
  indicator:
    spec:
      thresholdMetric:
        metricSource: {spec: {promql: 'queue_age_seconds{queue="out"}'}}
  objectives:
    - op: lte
      value: 30
      target: 0.99
      timeSliceTarget: 0.9
      timeSliceWindow: 1m
"#;

const COMPOSITE: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata: {name: checkout}
spec:
  service: shop
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  objectives:
    - displayName: Cart
      target: 0.99
      compositeWeight: 2
      indicator:
        metadata: {name: cart}
        spec:
          ratioMetric:
            bad: {metricSource: {spec: {query: 'sum(rate(cart_errors_total[5m]))'}}}
            total: {metricSource: {spec: {query: 'sum(rate(cart_requests_total[5m]))'}}}
    - displayName: Payment, by card
      target: 0.99
      indicatorRef: payment
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: payment}
spec:
  ratioMetric:
    bad: {metricSource: {spec: {query: 'sum(rate(payment_errors_total[5m]))'}}}
    total: {metricSource: {spec: {query: 'sum(rate(payments_total[5m]))'}}}
"#;

const SHARED: &str = r#"apiVersion: openslo/v1
kind: Service
metadata: {name: search}
spec: {description: Finds things}
---
apiVersion: openslo/v1
kind: DataSource
metadata: {name: main-prometheus}
spec: {type: AmazonPrometheus, connectionDetails: {url: "https://prometheus.test"}}
---
apiVersion: openslo/v1
kind: AlertNotificationTarget
metadata: {name: on-call}
spec: {target: pager, description: Whoever is on call}
---
apiVersion: openslo/v1
kind: AlertCondition
metadata: {name: fast-hour}
spec:
  severity: page
  condition: {kind: burnrate, op: gt, threshold: 14.4, lookbackWindow: 1h, alertAfter: 2m}
---
apiVersion: openslo/v1
kind: AlertPolicy
metadata: {name: fast, labels: {route: night}}
spec:
  alertWhenNoData: false
  conditions: [{conditionRef: fast-hour}]
  notificationTargets: [{targetRef: on-call}]
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: found}
spec:
  ratioMetric:
    rawType: failure
    raw: {metricSource: {metricSourceRef: main-prometheus, spec: {query: 'sum(rate(lost_total[{{.window}}])) / sum(rate(searches_total[{{.window}}]))'}}}
"#;

const REFERRING: &str = r#"apiVersion: openslo/v1
kind: SLO
metadata: {name: found}
spec:
  service: search
  budgetingMethod: Occurrences
  timeWindow: [{duration: 30d, isRolling: true}]
  indicatorRef: found
  objectives: [{targetPercent: 99.5}]
  alertPolicies:
    - alertPolicyRef: fast
    - kind: AlertPolicy
      metadata: {name: slow}
      spec:
        conditions:
          - kind: AlertCondition
            metadata: {name: slow}
            spec: {severity: ticket, condition: {op: gte, threshold: 1, lookbackWindow: 3d}}
        notificationTargets:
          - kind: AlertNotificationTarget
            metadata: {name: backlog}
            spec: {target: tickets}
"#;

const ALPHA: &str = r#"apiVersion: openslo/v1alpha
kind: SLO
metadata: {name: uploads, displayName: Uploads}
spec:
  service: files
  budgetingMethod: Occurrences
  timeWindows: [{unit: Day, count: 28}]
  objectives:
    - target: 0.99
      ratioMetrics:
        good: {source: prometheus, queryType: promql, query: 'sum(rate(uploads_total{ok="1"}[{{.window}}]))'}
        total: {source: prometheus, queryType: promql, query: 'sum(rate(uploads_total[{{.window}}]))'}
"#;

fn print(terms: &[Term]) -> String {
    let each = |term: &Term| format!("{:+} {}{}", term.coefficient, term.selector, measure(term.measure));
    terms.iter().map(each).collect::<Vec<_>>().join("\n        ")
}

fn measure(measure: Measure) -> String {
    match measure {
        Measure::Increase => String::new(),
        Measure::SamplesWhere(Threshold { op, bound }) => format!(" [samples {op:?} {bound}]"),
        other => format!(" [{other:?}]").to_lowercase(),
    }
}

fn print_alert(alert: &BurnRateAlert) -> String {
    let BurnRateAlert { severity, short, long, factor, for_, min_bad_events, labels, annotations, .. } =
        alert;
    let [short, long, for_] = [short, long, for_].map(|duration| format_duration(*duration));
    format!(
        "{severity} {short}/{long} x{factor:.2} for {for_}, {min_bad_events} bad, {labels:?} {annotations:?}"
    )
}

fn print_slo(slo: &Slo) -> String {
    let mut text = format!("{}: {}\n", slo.id, slo.description);
    let windows: Vec<String> = slo.objective.windows.iter().map(ToString::to_string).collect();
    let (target, budgeting) = (slo.objective.target.ratio(), slo.objective.budgeting);
    writeln!(text, "  {target} over {}, {budgeting:?}", windows.join(" and ")).unwrap();
    writeln!(text, "  {:?} {:?}", slo.labels, slo.annotations).unwrap();
    match &slo.indicator {
        Indicator::Counted(counted) => {
            writeln!(text, "  bad   {}", print(&counted.bad)).unwrap();
            writeln!(text, "  total {}", print(&counted.total)).unwrap();
            writeln!(text, "  by    {}", counted.group_by).unwrap();
        }
        Indicator::Sampled(_) => text.push_str("  sampled\n"),
        Indicator::Pulled(_) => text.push_str("  pulled\n"),
    }
    slo.alerts.iter().for_each(|alert| writeln!(text, "  {}", print_alert(alert)).unwrap());
    text
}

fn read_files(files: &[(&str, &str)]) -> Specs {
    read_all(files.iter().copied(), &Settings::default())
}

fn print_specs(specs: &Specs) -> String {
    let slos = specs.slos.iter().map(print_slo);
    let diagnostics = specs.diagnostics.iter().map(|diagnostic| format!("{diagnostic}\n"));
    slos.chain(diagnostics).collect()
}

#[track_caller]
fn edit(text: &str, from: &str, to: &str) -> String {
    assert_eq!(text.matches(from).count(), 1, "{from:?}");
    text.replace(from, to)
}

/// What edits of a text lead to: each edit with its diagnostics, and how many SLOs are left.
#[track_caller]
fn remarks(text: &str, edits: &[(&str, &str)]) -> String {
    let remark = |(from, to): &(&str, &str)| {
        let specs = read_files(&[("f", &edit(text, from, to))]);
        assert!(!specs.diagnostics.is_empty(), "nothing is said of {to:?}");
        let lines: String =
            specs.diagnostics.iter().map(|diagnostic| format!("    {diagnostic}\n")).collect();
        format!("{from} -> {to} ({} left)\n{lines}", specs.slos.len())
    };
    edits.iter().map(remark).collect()
}

/// The SLOs of an edited text of which nothing is to be said.
#[track_caller]
fn good(text: &str, edits: &[(&str, &str)]) -> Vec<Slo> {
    let text = edits.iter().fold(text.to_owned(), |text, (from, to)| edit(&text, from, to));
    let specs = read_files(&[("f", &text)]);
    assert_eq!(specs.diagnostics, [], "{edits:?}");
    assert!(!specs.slos.is_empty());
    specs.slos
}

// === what is read ===

#[test]
fn every_way_to_say_it() {
    let specs = [RATIO, SLICES, COMPOSITE, ALPHA].map(|text| print_specs(&read_files(&[("f", text)])));
    insta::assert_snapshot!(specs.join("\n"));
}

#[test]
fn objects_of_other_files_in_any_order() {
    let in_order = read_files(&[("shared", SHARED), ("slo", REFERRING)]);
    let backwards = read_files(&[("slo", REFERRING), ("shared", SHARED)]);
    assert_eq!(in_order, backwards);
    insta::assert_snapshot!(print_specs(&in_order));
}

#[test]
fn objects_in_lists() {
    let item = |text: &str| format!("- {}\n", text.trim_end().replace('\n', "\n  "));
    let documents = SHARED.split("---\n").chain([REFERRING]);
    let list: String = documents.map(item).collect();
    let of_list = read_files(&[("f", &list)]);
    assert_eq!(of_list.diagnostics, []);
    assert_eq!(of_list.slos, read_files(&[("shared", SHARED), ("slo", REFERRING)]).slos);
}

#[test]
fn several_objectives_are_known_by_their_names() {
    let names = |objectives: &str| {
        let slos = good(RATIO, &[("    - displayName: Most\n      target: 0.999\n", objectives)]);
        slos.into_iter().map(|slo| slo.id.name).collect::<Vec<_>>()
    };
    assert_eq!(names("    - {target: 0.99}\n"), ["orders-answered"]);
    assert_eq!(
        names("    - {target: 0.99, displayName: Good enough!}\n    - {target: 0.95, displayName: Über}\n"),
        ["orders-answered-good-enough", "orders-answered-über"]
    );
    let numbers = ["orders-answered-0", "orders-answered-1"];
    assert_eq!(names("    - {target: 0.99, displayName: A}\n    - {target: 0.95}\n"), numbers);
    assert_eq!(
        names("    - {target: 0.99, displayName: A}\n    - {target: 0.95, displayName: a}\n"),
        numbers
    );
}

#[test]
fn a_lone_counter_is_its_growth() {
    let bare = [
        ("sum(rate(orders_total{outcome!=\"failed\"}[5m]))", "orders_total{outcome!=\"failed\"}"),
        ("'sum(rate(orders_total[5m]))'", "orders_total"),
    ];
    assert_eq!(good(RATIO, &bare)[0].indicator, good(RATIO, &[])[0].indicator);
    let unsaid = [("counter: true", "counter: false"), bare[0], bare[1]];
    let text = unsaid.iter().fold(RATIO.to_owned(), |text, (from, to)| edit(&text, from, to));
    insta::assert_snapshot!(print_specs(&read_files(&[("f", &text)])));
}

#[test]
fn windows_of_all_kinds() {
    let window = |to: &str| {
        let slos = good(RATIO, &[("    - duration: 4w\n      isRolling: true", to)]);
        slos[0].objective.windows[0].to_string()
    };
    for (rolling, shown) in
        [("90m", "1h30m"), ("36h", "1d12h"), ("7d", "1w"), ("4w", "4w"), ("3M", "90d"), ("1Q", "90d")]
    {
        assert_eq!(window(&format!("    - {{duration: {rolling}, isRolling: true}}")), shown);
        assert_eq!(window(&format!("    - {{duration: {rolling}}}")), shown);
    }
    for (calendar, shown) in
        [("1d", "day"), ("10d", "10d"), ("1w", "week"), ("1M", "month"), ("2Q", "2Q"), ("1Y", "year")]
    {
        let rest = "calendar: {startTime: 2024-01-31 06:30:15, timeZone: Asia/Kolkata}";
        assert_eq!(window(&format!("    - {{duration: {calendar}, {rest}}}")), shown);
        assert_eq!(window(&format!("    - {{duration: {calendar}, isRolling: false, {rest}}}")), shown);
    }
}

#[test]
fn slices_in_minutes_and_in_shorthand() {
    for (slice, seconds) in [("1", 60), ("2m", 120), ("30s", 30), ("1h", 3_600)] {
        let to = format!("timeSliceWindow: {slice}\n  alertPolicies: [{POLICY}]");
        let slos = good(SLICES, &[("timeSliceWindow: 1m", &to)]);
        assert_eq!(slos[0].objective.budgeting.slice(), Some(Duration::from_secs(seconds)));
    }
}

const POLICY: &str = "{metadata: {name: p}, spec: {conditions: [{metadata: {name: c}, spec: {severity: s, condition: \
                      {op: gt, threshold: 2, lookbackWindow: 3d}}}], notificationTargets: [{targetRef: t}]}}";

// === alerts ===

/// The alerts of policies, each given as severity, threshold, window and what else it says.
fn alerts(policies: &[(&str, &str, &str, &str)]) -> String {
    let mut text = RATIO.to_owned() + "  alertPolicies:\n";
    for (index, (severity, threshold, window, rest)) in policies.iter().enumerate() {
        let condition = format!("op: gt, threshold: {threshold}, lookbackWindow: {window}{rest}");
        writeln!(
            text,
            "    - {{kind: AlertPolicy, metadata: {{name: p{index}}}, spec: {{conditions: [{{kind: AlertCondition, \
             metadata: {{name: c}}, spec: {{severity: {severity}, condition: {{{condition}}}}}}}], \
             notificationTargets: [{{targetRef: team{index}}}]}}}}"
        )
        .unwrap();
    }
    let specs = read_files(&[("f", &text)]);
    let alerts = specs.slos.iter().flat_map(|slo| slo.alerts.iter().map(print_alert));
    alerts.chain(specs.diagnostics.iter().map(ToString::to_string)).map(|line| line + "\n").collect()
}

#[test]
fn policies_become_alerts() {
    let cases = [
        alerts(&[("page", "14.4", "1h", ""), ("page", "14.4", "5m", "")]),
        alerts(&[("page", "14.4", "1h", ", alertAfter: 5m"), ("page", "14.4", "5m", ", alertAfter: 0m")]),
        alerts(&[("page", "6", "6h", ""), ("ticket", "6", "30m", ""), ("page", "3", "30m", "")]),
        alerts(&[("page", "2", "1h", ""), ("page", "2", "6h", ""), ("page", "2", "1d", "")]),
        alerts(&[("page", "2", "1h", ""), ("page", "2", "1h", "")]),
        alerts(&[("page", "1500", "1h", ""), ("page", "1", "60d", "")]),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn default_alerts_leave_room_for_slices() {
    let print = |slice| {
        let specs =
            read_files(&[("f", &edit(SLICES, "timeSliceWindow: 1m", &format!("timeSliceWindow: {slice}")))]);
        print_specs(&specs)
    };
    insta::assert_snapshot!([print("5m"), print("15m")].join("\n"));
}

// === composites ===

#[test]
fn what_keeps_a_composite_apart() {
    let slices = [
        ("budgetingMethod: Occurrences", "budgetingMethod: RatioTimeslices"),
        ("compositeWeight: 2", "timeSliceWindow: 1m"),
        ("indicatorRef: payment", "indicatorRef: payment\n      timeSliceWindow: 1m"),
    ];
    let cases: [&[(&str, &str)]; 4] = [
        &slices,
        &[("target: 0.99\n      indicatorRef", "target: 0.95\n      indicatorRef")],
        &[
            ("sum(rate(payment_errors_total[5m]))", "sum by (card) (rate(payment_errors_total[5m]))"),
            ("sum(rate(payments_total[5m]))", "sum by (card) (rate(payments_total[5m]))"),
        ],
        &[("target: 0.99\n      indicatorRef", "target: 1.99\n      indicatorRef")],
    ];
    let print = |edits: &[(&str, &str)]| {
        let text = edits.iter().fold(COMPOSITE.to_owned(), |text, (from, to)| edit(&text, from, to));
        let specs = read_files(&[("f", &text)]);
        let names: Vec<&str> = specs.slos.iter().map(|slo| slo.id.name.as_str()).collect();
        let diagnostics: Vec<String> = specs.diagnostics.iter().map(ToString::to_string).collect();
        format!("{names:?}\n{}\n", diagnostics.join("\n"))
    };
    insta::assert_snapshot!(cases.map(print).join("\n"));
}

// === diagnostics ===

#[test]
fn remarks_on_slos() {
    insta::assert_snapshot!(remarks(
        RATIO,
        &[
            ("name: orders-answered\n  displayName", "name: Orders_Answered\n  displayName"),
            ("  name: orders-answered\n  displayName", "  displayName"),
            ("tier: 1", "service: 1, app.kubernetes.io/name: x, 1st: y"),
            ("tier: 1", "tier: {a: b}"),
            ("  service: shop\n", ""),
            ("  service: shop\n", "  service: shop\n  timewindow: []\n"),
            ("  budgetingMethod: Occurrences\n", ""),
            ("budgetingMethod: Occurrences", "budgetingMethod: Occurences"),
            ("    - displayName: Most\n      target: 0.999\n", "    []\n"),
            ("target: 0.999", "target: 99.9"),
            ("target: 0.999", "target: 1"),
            ("target: 0.999", "target: 0"),
            ("target: 0.999", "targetPercent: 100"),
            ("target: 0.999", "targetPercent: 0.9"),
            ("target: 0.999", "target: 0.9\n      targetPercent: 90"),
            ("target: 0.999", "name: x"),
            ("target: 0.999", "target: 0.99\n      op: lt\n      value: 1"),
            ("target: 0.999", "target: 0.99\n      compositeWeight: 2"),
            ("target: 0.999", "target: 0.99\n      timeSliceWindow: 1m"),
            ("target: 0.999", "target: 0.99\n      indicatorRef: x"),
            ("  indicator:\n", "  indicatorRef: x\n  indicator:\n"),
            ("kind: SLO", "kind: SLOO"),
            ("kind: SLO\n", ""),
        ]
    ));
}

#[test]
fn remarks_on_windows() {
    const WINDOW: &str = "    - duration: 4w\n      isRolling: true";
    let calendar = "calendar: {startTime: 2024-01-01 00:00:00, timeZone: UTC}";
    let edits = [
        "    []".to_owned(),
        "    - {duration: 1w}\n    - {duration: 2w}".to_owned(),
        "    - {isRolling: true}".to_owned(),
        "    - {duration: 4 weeks, isRolling: true}".to_owned(),
        "    - {duration: 0d, isRolling: true}".to_owned(),
        "    - {duration: 1Y, isRolling: true}".to_owned(),
        "    - {duration: 1w, isRolling: false}".to_owned(),
        format!("    - {{duration: 1w, isRolling: true, {calendar}}}"),
        format!("    - {{duration: 24h, {calendar}}}"),
        "    - {duration: 1w, calendar: {timeZone: UTC}}".to_owned(),
        "    - {duration: 1w, calendar: {startTime: 2024-01-01, timeZone: UTC}}".to_owned(),
        "    - {duration: 1w, calendar: {startTime: 2024-01-01 00:00:00, timeZone: Europe/Berln}}".to_owned(),
    ];
    let edits: Vec<(&str, &str)> = edits.iter().map(|to| (WINDOW, to.as_str())).collect();
    let missing = [("  timeWindow:\n    - duration: 4w\n      isRolling: true\n", "")];
    insta::assert_snapshot!(remarks(RATIO, &edits) + &remarks(RATIO, &missing));
}

#[test]
fn remarks_on_indicators() {
    insta::assert_snapshot!(remarks(
        RATIO,
        &[
            ("        good:", "        bad: {}\n        good:"),
            ("        good:", "        goood:"),
            ("      ratioMetric:", "      ratioMetrics:"),
            ("            type: Prometheus\n            spec: {query: 'sum(rate(orders_total[5m]))'}", ""),
            (
                "type: Prometheus\n            spec: {query: 'sum(rate(orders_total[5m]))'}",
                "type: Datadog\n            spec: {query: 'sum:orders'}"
            ),
            ("{query: 'sum(rate(orders_total[5m]))'}", "{select: orders}"),
            ("{query: 'sum(rate(orders_total[5m]))'}", "{query: 'sum(rate(orders_total[5m])'}"),
            ("{query: 'sum(rate(orders_total[5m]))'}", "{query: [a]}"),
        ]
    ));
}

#[test]
fn remarks_on_slices_and_thresholds() {
    insta::assert_snapshot!(remarks(
        SLICES,
        &[
            ("op: lte\n      value", "value"),
            ("op: lte", "op: le"),
            ("      value: 30\n", ""),
            ("value: 30", "value: 30s"),
            ("      timeSliceTarget: 0.9\n", ""),
            ("timeSliceTarget: 0.9", "timeSliceTarget: 90"),
            ("      timeSliceWindow: 1m\n", ""),
            ("timeSliceWindow: 1m", "timeSliceWindow: 7m"),
            ("timeSliceWindow: 1m", "timeSliceWindow: 0"),
            ("timeSliceWindow: 1m", "timeSliceWindow: a minute"),
            ("budgetingMethod: Timeslices", "budgetingMethod: RatioTimeslices"),
        ]
    ));
}

#[test]
fn remarks_on_what_is_referred_to() {
    let both = format!("{REFERRING}---\n{SHARED}");
    insta::assert_snapshot!(remarks(
        &both,
        &[
            ("indicatorRef: found", "indicatorRef: fond"),
            ("indicatorRef: found", "indicatorRef: nowhere"),
            ("- alertPolicyRef: fast", "- alertPolicyRef: fats"),
            ("- alertPolicyRef: fast", "- alertPolicyRef: elsewhere"),
            ("- alertPolicyRef: fast", "- fast\n    - {}"),
            ("- alertPolicyRef: fast", "- alertPolicyRf: fast"),
            ("conditionRef: fast-hour", "conditionRef: fats-hour"),
            ("targetRef: on-call", "targetRef: on-cal"),
            ("metricSourceRef: main-prometheus", "metricSourceRef: main-promtheus"),
            ("service: search", "service: serach"),
            ("metadata: {name: search}", "metadata: {name: search}\nextra: 1"),
            ("type: AmazonPrometheus", "type: Datadog"),
            ("type: AmazonPrometheus, ", ""),
            ("target: pager, ", ""),
            ("op: gt,", "op: lte,"),
            ("op: gt,", ""),
            ("kind: burnrate", "kind: latency"),
            ("threshold: 14.4", "threshold: -1"),
            ("lookbackWindow: 1h", "lookbackWindow: 1Y"),
            ("severity: page", "severity: ''"),
            ("alertAfter: 2m", "alertAfter: soon"),
            ("[{conditionRef: fast-hour}]", "[]"),
            ("alertWhenNoData: false", "alertWhenNoData: maybe"),
            ("rawType: failure", "rawType: error"),
            ("    rawType: failure\n", ""),
            ("/ sum(rate(searches_total[{{.window}}]))", "/ sum(rate(searches_total[{{.window}}])"),
            ("kind: AlertCondition\nmetadata: {name: fast-hour}", "kind: AlertCondition\nmetadata: {}"),
        ]
    ));
}

#[test]
fn a_name_is_defined_once_for_each_kind() {
    let second = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: search}\nspec: {}\n";
    let specs = read_files(&[("a", SHARED), ("b", second), ("c", REFERRING)]);
    let second = "b:3:18: error: Service search is already defined at a:3:18";
    assert_eq!(specs.diagnostics[0].to_string(), second);
    assert_eq!((specs.slos.len(), specs.diagnostics.len()), (1, 1));
}

#[test]
fn the_errors_of_an_object_are_in_its_own_file() {
    let shared = edit(SHARED, "threshold: 14.4", "threshold: 0");
    let specs = read_files(&[("slo", REFERRING), ("shared", &shared)]);
    insta::assert_snapshot!(print_specs(&specs));
}

#[test]
fn a_threshold_of_another_file_is_checked_there_and_used_here() {
    let sli = "apiVersion: openslo/v1\nkind: SLI\nmetadata: {name: age}\nspec:\n  thresholdMetric:\n    \
               metricSource: {spec: {query: queue_age_seconds}}\n";
    let slo = edit(
        SLICES,
        "  indicator:\n    spec:\n      thresholdMetric:\n        metricSource: {spec: {promql: \
         'queue_age_seconds{queue=\"out\"}'}}\n",
        "  indicatorRef: age\n",
    );
    let good = read_files(&[("slo", &slo), ("sli", sli)]);
    let bad = read_files(&[("slo", &slo), ("sli", &edit(sli, "queue_age_seconds", "queue_age_seconds{"))]);
    insta::assert_snapshot!(print_specs(&good) + "\n" + &print_specs(&bad));
}

// === v1alpha ===

#[test]
fn v1alpha_beyond_sloth() {
    let slices = [
        ("budgetingMethod: Occurrences", "budgetingMethod: Timeslices"),
        ("target: 0.99\n", "target: 0.99\n      timeSliceTarget: 0.9\n"),
        (
            "{unit: Day, count: 28}",
            "{unit: Month, count: 1, isRolling: false, calendar: {startTime: 2024-01-01 00:00:00, timeZone: UTC}}",
        ),
    ];
    let text = slices.iter().fold(ALPHA.to_owned(), |text, (from, to)| edit(&text, from, to));
    let threshold = "apiVersion: openslo/v1alpha\nkind: SLO\nmetadata: {name: age}\nspec:\n  service: mail\n  \
                     indicator: {thresholdMetric: {source: prometheus, queryType: promql, query: age_seconds}}\n  \
                     objectives: [{op: lte, value: 30, target: 0.95}, {op: lte, value: 60, target: 0.99}]\n";
    insta::assert_snapshot!(print_specs(&read_files(&[("a", &text), ("b", threshold)])));
}

#[test]
fn remarks_on_v1alpha() {
    insta::assert_snapshot!(remarks(
        ALPHA,
        &[
            ("    - target: 0.99\n", "    - targt: 0.99\n"),
            ("timeWindows: [{unit: Day, count: 28}]", "timeWindows: [{unit: Day, count: 28}, {}]"),
            ("unit: Day", "unit: Days"),
            ("count: 28", "count: 0"),
            ("count: 28", "count: 100"),
            ("good: {source: prometheus", "good: {source: datadog"),
            ("      ratioMetrics:", "      ratio:"),
            ("  service: files\n", ""),
            ("kind: SLO", "kind: SLI"),
        ]
    ));
}
