//! Tables of queries: what is remarked of each, and what is not. `W` is the format's window.

use crate::spec::{Diagnostic, Severity, read};

mod corpus;

const SLOTH: &str = "{version: prometheus/v1, service: shop, slos: [{name: NAME, objective: 99, sli: SLI, alerting: \
                     {page_alert: {disable: true}, ticket_alert: {disable: true}}}]}";

const NATIVE: &str = "{apiVersion: slod.dev/v1, kind: ServiceLevelObjective, metadata: {name: NAME, service: shop}, \
                      spec: {sli: SLI, objective: {target: 99, window: 30d}, alerting: {burn_rate_alerts: []}}}";

const PYRRA: &str = "{apiVersion: pyrra.dev/v1alpha1, kind: ServiceLevelObjective, metadata: {name: NAME, namespace: shop}, \
                     spec: {indicator: SLI, target: '99', window: 30d, alerting: {burnrates: false}}}";

/// The remarks on the SLOs of a text, none of which is refused.
#[track_caller]
fn remarks(text: &str) -> Vec<Diagnostic> {
    let specs = read("f", text);
    assert!(!specs.slos.is_empty(), "{text}\n{:?}", specs.diagnostics);
    assert!(specs.diagnostics.iter().all(|diagnostic| diagnostic.severity == Severity::Warning), "{text}");
    specs.diagnostics
}

/// Each remark contains what is expected of it, in this order.
#[track_caller]
fn check_text(text: &str, expected: &[&str]) {
    let found: Vec<String> = remarks(text).into_iter().map(|remark| remark.message).collect();
    let is_expected = found.len() == expected.len() && found.iter().zip(expected).all(|(f, e)| f.contains(e));
    assert!(is_expected, "{text}\nfound {found:#?}\nexpected {expected:#?}");
}

fn sloth(sli: &str) -> String {
    SLOTH.replace("NAME", "slo").replace("SLI", sli).replace("[W]", "[{{.window}}]")
}

fn native(sli: &str) -> String {
    NATIVE.replace("NAME", "slo").replace("SLI", sli).replace("[W]", "[5m]")
}

fn pyrra(indicator: &str) -> String {
    PYRRA.replace("NAME", "slo").replace("SLI", indicator)
}

/// Sloth's queries, and the same natively.
#[track_caller]
fn check(errors: &str, total: &str, expected: &[&str]) {
    check_text(&sloth(&format!("{{events: {{error_query: '{errors}', total_query: '{total}'}}}}")), expected);
    check_text(&native(&format!("{{bad: '{errors}', total: '{total}'}}")), expected);
}

/// As a ratio of good events.
#[track_caller]
fn check_good(good: &str, total: &str, expected: &[&str]) {
    check_text(&native(&format!("{{good: '{good}', total: '{total}'}}")), expected);
    check_text(&native(&format!("{{query: '({good}) / ({total})'}}")), expected);
    check_text(&sloth(&format!("{{raw: {{error_ratio_query: '1 - ({good}) / ({total})'}}}}")), expected);
}

#[track_caller]
fn check_pyrra_ratio(errors: &str, total: &str, expected: &[&str]) {
    let indicator = format!("{{ratio: {{errors: {{metric: '{errors}'}}, total: {{metric: '{total}'}}}}}}");
    check_text(&pyrra(&indicator), expected);
}

#[track_caller]
fn check_pyrra_latency(success: &str, total: &str, expected: &[&str]) {
    let indicator =
        format!("{{latency: {{success: {{metric: '{success}'}}, total: {{metric: '{total}'}}}}}}");
    check_text(&pyrra(&indicator), expected);
}

fn rate(selector: &str) -> String {
    format!("sum(rate({selector}[W]))")
}

#[test]
fn the_bucket_of_the_fast_is_bad() {
    let all = rate("login_seconds_count");
    let fast = &["up to 0.3, the fast ones"];
    check(&rate(r#"login_seconds_bucket{le="0.3"}"#), &all, fast);
    check(&rate(r#"login_seconds_bucket{le="0.3"}"#), &rate(r#"login_seconds_bucket{le="+Inf"}"#), fast);
    check(&rate(r#"login_seconds_bucket{le="0.3",ok="y"}"#), &rate(r#"login_seconds_count{ok="y"}"#), fast);
    check(&rate(r#"login_seconds_bucket{le=~"0.3|0\\.3"}"#), &all, fast);
    check(&rate(r#"login_seconds_bucket{le=~"2(\\.0)?"}"#), &all, &["up to 2, the fast ones"]);
    check(&format!("{} or vector(0)", rate(r#"login_seconds_bucket{le="0.3"}"#)), &all, fast);
    check(
        &rate(r#"cart_wait_ms_bucket{le="2.5"}"#),
        &rate("cart_wait_ms_count"),
        &["up to 2.5, the fast ones"],
    );
    check(&rate(r#"login_seconds_bucket{le="0.3"}"#), &rate(r#"login_seconds_bucket{le="2.5"}"#), fast);
    check_good(&format!("{all} - {}", rate(r#"login_seconds_bucket{le="0.3"}"#)), &all, fast);
    check_pyrra_ratio(r#"login_seconds_bucket{le="0.3"}"#, "login_seconds_count", fast);
    let fraction = "histogram_fraction(0, 0.3, sum(rate(login_seconds[W])))";
    check_text(&sloth(&format!("{{raw: {{error_ratio_query: '{fraction}'}}}}")), fast);
    check_text(&native(&format!("{{query: '1 - {fraction}'}}")), fast);
}

#[test]
fn the_buckets_of_the_slow_are_bad() {
    let (all, fast) = (rate("login_seconds_count"), rate(r#"login_seconds_bucket{le="0.3"}"#));
    check(&format!("{all} - {fast}"), &all, &[]);
    check(&format!("{} - {fast}", rate(r#"login_seconds_bucket{le="+Inf"}"#)), &all, &[]);
    check_good(&fast, &all, &[]);
    check_good(&fast, &rate(r#"login_seconds_bucket{le="+Inf"}"#), &[]);
    check_pyrra_latency(r#"login_seconds_bucket{le="0.3"}"#, "login_seconds_count", &[]);
    check_text(&native("{query: 'histogram_fraction(0, 0.3, sum(rate(login_seconds[5m])))'}"), &[]);
    // A low value is bad, or may be.
    check(&rate(r#"answer_bytes_bucket{le="0.5"}"#), &rate("answer_bytes_count"), &[]);
    check(&rate(r#"session_seconds_bucket{le="0.5"}"#), &rate("session_seconds_count"), &[]);
    check(&rate(r#"satisfaction_ratio_bucket{le="0.5"}"#), &rate("satisfaction_ratio_count"), &[]);
    check(&rate(r#"login_seconds{le="0.3"}"#), &rate("login_seconds_count"), &[]);
    // Another histogram's.
    check(&rate(r#"login_seconds_bucket{le="0.3"}"#), &rate("logins_total"), &[]);
}

#[test]
fn what_is_never_bad() {
    let never = &["no event is ever bad"];
    let (all, fast) = (rate("login_seconds_count"), rate(r#"login_seconds_bucket{le="0.3"}"#));
    check(&format!("{fast} - {all}"), &all, never);
    check(&format!("{fast} - {}", rate(r#"login_seconds_bucket{le="+Inf"}"#)), &all, never);
    check(&format!("{} - {}", rate(r#"a_total{code="500"}"#), rate("a_total")), &rate("a_total"), never);
    check(&format!("-{}", rate("a_total")), &rate("a_total"), never);
    check_good(&all, &all, never);
    check_good(&rate("a_total"), &rate(r#"a_total{code="500"}"#), never);
    check_pyrra_latency(r#"login_seconds_bucket{le="+Inf"}"#, "login_seconds_count", never);
}

#[test]
fn what_may_be_bad() {
    check(&format!("{} - {}", rate("a_total"), rate(r#"a_total{code="200"}"#)), &rate("a_total"), &[]);
    check(&format!("{} - {}", rate("a_total"), rate("b_total")), &rate("a_total"), &[]);
    check(&format!("2 * {} - {}", rate(r#"a_total{b="c"}"#), rate("a_total")), &rate("a_total"), &[]);
    check("sum(count_over_time(up[W]) - sum_over_time(up[W]))", "sum(count_over_time(up[W]))", &[]);
    check_text(&native("{threshold: {metric: depth, op: lt, value: 5}}"), &[]);
    check_text(&pyrra("{bool_gauge: {metric: up}}"), &[]);
}

#[test]
fn what_is_no_part_of_the_total() {
    let total = r#"a_total{job="b"}"#;
    #[track_caller]
    fn check_all(errors: &str, total: &str, expected: &[&str]) {
        check(&rate(errors), &rate(total), expected);
        check_good(&rate(errors), &rate(total), expected);
        check_pyrra_ratio(errors, total, expected);
    }
    check_all(r#"a_total{code=~"5.."}"#, total, &[r#"it selects what job="b" excludes, too"#]);
    check_all(r#"a_total{job="c",code="500"}"#, total, &[r#"job="c" contradicts job="b""#]);
    check_all(r#"a_total{job=~"c|d",code="500"}"#, total, &[r#"job=~"c|d" contradicts job="b""#]);
    check_all(r#"a_total{job=~"b|d",code="500"}"#, total, &[r#"job=~"b|d" contradicts job="b""#]);
    check_all(r#"a_total{job!="b",code="500"}"#, total, &[r#"job!="b" contradicts job="b""#]);
    check_all(r#"a_total{code="500"}"#, r#"a_total{path!="/health"}"#, &[r#"what path!="/health" excludes"#]);
    check_all(r#"a_total{code="500"}"#, r#"a_total{code=~"2..|4.."}"#, &["contradicts"]);
    check_all(r#"a_count{code="500"}"#, r#"a_count{scope=~"x|"}"#, &[r#"what scope=~"x|" excludes"#]);
    check(
        &format!(
            "{} - {}",
            rate(r#"t_seconds_count{job="b"}"#),
            rate(r#"t_seconds_bucket{job="c",le="0.1"}"#)
        ),
        &rate(r#"t_seconds_count{job="b"}"#),
        &[r#"job="c" contradicts"#],
    );
    check(
        &rate("t_seconds_count"),
        &rate(r#"t_seconds_bucket{le="0.8"}"#),
        &["the total counts observations up to 0.8 alone"],
    );
    let both = format!("{} + {}", rate(r#"a_total{job="b"}"#), rate(r#"a_total{job="c"}"#));
    check(&rate(r#"a_total{job="d",code="500"}"#), &both, &[r#"job="d" contradicts"#]);
}

#[test]
fn what_is_or_may_be_a_part_of_the_total() {
    #[track_caller]
    fn check_all(errors: &str, total: &str) {
        check(&rate(errors), &rate(total), &[]);
        check_good(&rate(errors), &rate(total), &[]);
        check_pyrra_ratio(errors, total, &[]);
    }
    check_all(r#"a_total{code=~"5.."}"#, "a_total");
    check_all(r#"a_total{job="b",code=~"5.."}"#, r#"a_total{job="b"}"#);
    check_all(r#"a_total{job="b",code=~"5.."}"#, r#"a_total{job=~"b|c"}"#);
    check_all(r#"a_total{job="b",code=~"5.."}"#, r#"a_total{job=~"b.*"}"#);
    check_all(r#"a_total{job=~"b",code=~"5.."}"#, r#"a_total{job="b"}"#);
    check_all(r#"a_total{job=~"b.+",code=~"5.."}"#, r#"a_total{job=~"b.*"}"#);
    check_all(r#"a_total{code=~"5.."}"#, r#"a_total{code!="404"}"#);
    check_all(r#"a_total{code=~"5.."}"#, r#"a_total{code!~"404|429"}"#);
    check_all(r#"a_total{code=~"5.."}"#, r#"a_total{code=~"[2-5].."}"#);
    check_all(r#"a_total{code=~"5.."}"#, r#"a_total{path!=""}"#);
    check_all(r#"a_total{code=~"5.."}"#, r#"a_total{path=~".+"}"#);
    check_all(r#"a_errors_total{code="b"}"#, r#"a_requests_total{job="b"}"#);
    let split = format!("{} + {}", rate(r#"a_total{code="200"}"#), rate(r#"a_total{code="500"}"#));
    check(&rate(r#"a_total{code=~"5.."}"#), &split, &[]);
    check(&rate(r#"a_total{code="500"}"#), &split, &[]);
    let by_label = r#"sum by (x) (label_replace(rate(a_total{job="c"}[W]), "x", "$1", "job", "(.*)"))"#;
    check(by_label, &by_label.replace(r#"job="c""#, r#"job="d""#), &[]);
}

#[test]
fn success_as_the_error() {
    let well = &["bad events are those that went well"];
    let both = format!("{} + {}", rate("pay_success_total"), rate("pay_failure_total"));
    check(&rate("pay_success_total"), &both, well);
    check(&rate("pay_success_total"), &rate("pay_requests_total"), well);
    check(&rate(r#"a_total{code=~"2.."}"#), &rate("a_total"), well);
    check(&rate(r#"a_total{code!~"5.."}"#), &rate("a_total"), well);
    check(&rate(r#"a_total{status="success"}"#), &rate("a_total"), well);
    check(&rate(r#"a_total{status!="error"}"#), &rate("a_total"), well);
    check(&rate(r#"a_total{code!~"5..|429"}"#), &rate("a_total"), well);
    check(&rate(r#"a_total{grpc_code="OK",job="b"}"#), &rate(r#"a_total{job="b"}"#), well);
    check_pyrra_ratio(r#"a_total{code=~"2..|3.."}"#, "a_total", well);
    let good = rate(r#"a_total{result="failure"}"#);
    check_text(
        &native(&format!("{{bad: '{}', good: '{good}'}}", rate(r#"a_total{result="success"}"#))),
        well,
    );
    check_good(&rate(r#"a_total{code=~"5.."}"#), &rate("a_total"), &[]);
}

#[test]
fn errors_as_the_error() {
    let both = format!("{} + {}", rate("pay_success_total"), rate("pay_failure_total"));
    check(&rate("pay_failure_total"), &both, &[]);
    check_good(&rate("pay_success_total"), &both, &[]);
    check(&rate("pay_unsuccessful_total"), &rate("pay_total"), &[]);
    check(&rate("pay_success_late_total"), &rate("pay_success_total"), &[]);
    check(&rate(r#"pay_success_total{late="y"}"#), &rate("pay_success_total"), &[]);
    check(&rate(r#"a_total{code=~"(5..|429)"}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{code!="200"}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{code!="404"}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{status!~"success|cancelled"}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{code!~"2.."}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{grpc_code!="OK"}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{grpc_code="2"}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{rpc_error!=""}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{code="200",stale="y"}"#), &rate("a_total"), &[]);
    check(&rate(r#"slow_total{code="200"}"#), &rate("a_total"), &[]);
    check(&rate(r#"a_total{code="200"}"#), &rate(r#"a_total{code="200",job=~".+"}"#), &[]);
}

#[test]
fn buckets_without_a_bound() {
    let (bad, all) = (rate(r#"t_seconds_bucket{code="500"}"#), rate("t_seconds_bucket"));
    check(&bad, &all, &["counts an event in every bucket"]);
    check_good(&rate(r#"t_seconds_bucket{le="0.3"}"#), &all, &["counts an event in every bucket"]);
    check_pyrra_ratio(
        r#"t_seconds_bucket{code="500"}"#,
        "t_seconds_bucket",
        &["counts an event in every bucket"],
    );
    let by_bound = |query: &str| query.replace("sum", "sum by (le)");
    check(&by_bound(&bad), &by_bound(&all), &[]);
    check(&rate(r#"t_seconds_bucket{code="500",vmrange!=""}"#), &rate("t_seconds_count"), &[]);
    check(&rate(r#"t_seconds_bucket{code="500",le="+Inf"}"#), &rate(r#"t_seconds_bucket{le="+Inf"}"#), &[]);
}

#[test]
fn bounds_in_another_spelling() {
    #[track_caller]
    fn check(le: &str, expected: &[&str]) {
        let success = format!("t_bytes_bucket{{{le}}}");
        let (good, all) = (rate(&success), rate("t_bytes_count"));
        let events = format!("{{events: {{error_query: '{all} - {good}', total_query: '{all}'}}}}");
        check_text(&sloth(&events), expected);
        // What nothing else reads, and what Pyrra rewrites.
        check_text(&native(&format!("{{good: '{good}', total: '{all}'}}")), &[]);
        if le.starts_with("le=\"") {
            check_pyrra_latency(&success, "t_bytes_count", &[]);
        }
    }
    check(r#"le="1""#, &[r#"le="1" selects nothing where Prometheus 3 stored the bucket as le="1.0""#]);
    check(r#"le="250""#, &[r#"write le=~"250|250\\.0" in them"#]);
    check(r#"le="2000000""#, &[r#"write le=~"2000000|2e\\+06" in them"#]);
    check(r#"le="0.30""#, &[r#"as le="0.3""#]);
    for canonical in [r#"le="0.5""#, r#"le="5.0""#, r#"le="1e+06""#, r#"le=~"1|1\\.0""#, r#"le=~"1(\\.0)?""#]
    {
        check(canonical, &[]);
    }
}

#[test]
fn spellings_are_remarked_once() {
    let all = rate("t_bytes_count");
    let errors =
        format!("{all} - {} + {}", rate(r#"t_bytes_bucket{le="1"}"#), rate(r#"t_bytes_bucket{le="2"}"#));
    check_text(
        &sloth(&format!("{{events: {{error_query: '{errors}', total_query: '{all}'}}}}")),
        &[r#"le="1" selects nothing"#],
    );
}

#[test]
fn rates_of_recorded_series() {
    let made = &["job:errors:rate5m is made by a recording rule"];
    check(&rate("job:errors:rate5m"), &rate("job:requests:rate5m"), made);
    check_pyrra_ratio("job:errors:rate5m", "requests_total", made);
    check("sum(sum_over_time(job:errors:ratio[W]))", "sum(count_over_time(job:errors:ratio[W]))", &[]);
    check_text(&native("{threshold: {metric: 'job:depth:max', op: lt, value: 5}}"), &[]);
}

#[test]
fn bounds_in_another_unit() {
    #[track_caller]
    fn check_one(metric: &str, le: &str, expected: &[&str]) {
        let bucket = format!(r#"{metric}_bucket{{le="{le}"}}"#);
        check_pyrra_latency(&bucket, &format!("{metric}_count"), expected);
    }
    check_one(
        "t_nanoseconds",
        "1",
        &["up to 1 ns, which nothing does; if 1 s was meant, write le=\"1e+09\""],
    );
    check_one("t_ns", "0.5", &["up to 0.5 ns"]);
    check_one("t_microseconds", "0.5", &["write le=\"500000.0\""]);
    check_one(
        "t_milliseconds",
        "0.3",
        &["up to 0.3 ms, which nothing does; if 0.3 s was meant, write le=\"300.0\""],
    );
    check_one("t_milliseconds", "0.5", &[]);
    check_one("t_milliseconds", "250", &[]);
    check_one("t_nanoseconds", "1e9", &[]);
    check_one("t_seconds", "0.001", &[]);
    check_one("dns_lookups", "0.001", &[]);
}

#[test]
fn the_same_promise_twice() {
    let slo = |name: &str, query: &str, target: &str| {
        let sli = format!("{{bad: 'sum(rate({query}[5m]))', total: 'sum(rate(all[5m]))'}}");
        NATIVE.replace("NAME", name).replace("SLI", &sli).replace("target: 99", &format!("target: {target}"))
    };
    let check = |second: String, expected: &[&str]| {
        check_text(&format!("{}\n---\n{second}", slo("one", "a", "99")), expected);
    };
    let twice = "shop/two makes the promise of shop/one again, with the same queries and objective";
    check(slo("two", "a", "99"), &[twice]);
    check(slo("two", "a", "99.9"), &[]);
    check(slo("two", "b", "99"), &[]);
    check(
        format!("{}\n---\n{}", slo("two", "b", "99"), slo("three", "a", "99")),
        &["shop/three makes the promise"],
    );
}

#[test]
fn messages() {
    let events = |errors: &str, total: &str| {
        let sli = format!("{{events: {{error_query: '{}', total_query: '{}'}}}}", rate(errors), rate(total));
        sloth(&sli)
    };
    let mut messages = Vec::new();
    for text in [
        events(r#"login_seconds_bucket{le="1"}"#, "login_seconds_count"),
        sloth("{raw: {error_ratio_query: 'histogram_fraction(0, 0.3, sum(rate(login_seconds[W])))'}}"),
        native(r#"{good: 'sum(rate(t_count[5m]))', total: 'sum(rate(t_bucket{le="0.3"}[5m]))'}"#),
        native("{good: 'sum(rate(a[5m]))', total: 'sum(rate(a[5m]))'}"),
        native("{bad: '-sum(rate(a[5m]))', total: 'sum(rate(a[5m]))'}"),
        events(r#"a_total{code="500"}"#, r#"a_total{job="b"}"#),
        events(r#"a_total{job="c"}"#, r#"a_total{job="b"}"#),
        events("t_seconds_count", r#"t_seconds_bucket{le="0.3"}"#),
        events("pay_success_total", "pay_total"),
        events(r#"a_total{code=~"2.."}"#, "a_total"),
        events(r#"t_seconds_bucket{code="500"}"#, "t_seconds_count"),
        events("job:errors:rate5m", "requests_total"),
        native(r#"{good: 'sum(rate(t_ns_bucket{le="1"}[5m]))', total: 'sum(rate(t_ns_count[5m]))'}"#),
        format!(
            "[{0}, {1}]",
            native("{bad: 'sum(rate(a[5m]))', total: 'sum(rate(b[5m]))'}"),
            native("{bad: 'sum(rate(a[5m]))', total: 'sum(rate(b[5m]))'}").replace("slo,", "other,")
        ),
    ] {
        messages.extend(remarks(&text).iter().map(ToString::to_string));
    }
    insta::assert_snapshot!(messages.join("\n"));
}
