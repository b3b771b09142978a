//! Queries of all kinds, and those that are refused.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::past::{START, Service};
use crate::support::cases;

/// A service that has failed for an hour.
fn failing() -> Service {
    let mut service = Service::new();
    for step in 0..720 {
        service.scrape(if step < 360 { 0.0 } else { 5.0 });
    }
    service
}

#[track_caller]
fn check(service: &Service, query: &str, expected: &[(&str, f64)]) {
    let data = service.data("query", &[("query", query)]);
    let label = |element: &Value| {
        let mut labels: Vec<String> = element["metric"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        labels.sort_unstable();
        labels.join(",").replace('"', "")
    };
    let found: Vec<(String, f64)> = data["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|element| (label(element), element["value"][1].as_str().unwrap().parse().unwrap()))
        .collect();
    let is_near = |(one, other): (&(String, f64), &(&str, f64))| {
        one.0 == other.0 && (one.1 - other.1).abs() <= 1e-9 * other.1.abs().max(1.0)
    };
    let is_same = found.len() == expected.len() && found.iter().zip(expected).all(is_near);
    assert!(is_same, "{query}: {found:?}, not {expected:?}");
}

#[test]
fn the_subset_of_queries() {
    let service = failing();
    let of_5m = r#"slo_burn_rate{slo="availability",window="5m"}"#;
    check(
        &service,
        of_5m,
        &[("__name__=slo_burn_rate,service=shop,slo=availability,tier=1,window=5m", 25.0)],
    );
    check(
        &service,
        &format!("{of_5m} > 20"),
        &[("__name__=slo_burn_rate,service=shop,slo=availability,tier=1,window=5m", 25.0)],
    );
    check(
        &service,
        &format!("{of_5m} > bool 20"),
        &[("service=shop,slo=availability,tier=1,window=5m", 1.0)],
    );
    check(&service, &format!("{of_5m} < 20"), &[]);
    check(&service, "count(slo_burn_rate{slo=\"availability\",window=~\"5m|1h\"})", &[("", 2.0)]);
    check(
        &service,
        "max by (service) (slo_burn_rate{window!~\"5m|.*[hd]|10m|day\"})",
        &[("service=shop", 25.0)],
    );
    check(
        &service,
        "sum without (slo, route) (slo_events_total{slo=\"by-route\"})",
        &[("service=shop", 28_800.0 - 40.0)],
    );
    check(&service, "avg(slo_objective_ratio) - 0.98", &[("", 0.01)]);
    check(&service, "-min(slo_error_ratio{window=\"5m\"} * 100)", &[("", -25.0)]);
    check(
        &service,
        "slo_alert_state{severity=\"page\"} == 2",
        &[("__name__=slo_alert_state,service=shop,severity=page,slo=availability,tier=1", 2.0)],
    );
    check(&service, "slo_error_ratio{slo!=\"\",window=\"5m\"} unless slo_error_ratio", &[]);
    check(&service, "vector(1)", &[("", 1.0)]);
    check(&service, "slod_slo_instances", &[("__name__=slod_slo_instances", 4.0)]);
    check(&service, "nothing_of_this_name", &[]);
}

#[test]
fn scalars_and_times() {
    let service = failing();
    let now = service.now.0 / 1_000;
    let data = |parameters: &[(&str, &str)]| service.data("query", parameters);
    // What Grafana asks to see whether anyone is there.
    assert_eq!(data(&[("query", "1+1"), ("time", "4")]), json!({"resultType": "scalar", "result": [4, "2"]}));
    assert_eq!(data(&[("query", "time()")])["result"], json!([now, now.to_string()]));
    let at =
        |time: &str| data(&[("query", "slo_burn_rate{window=\"5m\"}"), ("time", time)])["result"].clone();
    assert_eq!(
        at(&now.to_string()),
        at(&(now + 299).to_string())
            .as_array()
            .map(|found| {
                let mut found = found.clone();
                found[0]["value"][0] = now.into();
                Value::from(found)
            })
            .unwrap()
    );
    assert_eq!(at(&(now + 300).to_string()), json!([]), "as old as that nothing is the present");
    assert_eq!(at("2023-11-15T00:30:00Z")[0]["value"][1], "0", "before the incident");
    assert_eq!(at(&(START.0 / 1_000 - 60).to_string()), json!([]), "before anything was observed");
    // Of what has no history only the present is known, which also stands for the last moment of a query.
    let state = |end: i64| {
        let (start, end) = ((end - 120).to_string(), end.to_string());
        let query = ("query", "slo_alert_state{severity=\"page\"}");
        let range = [query, ("start", &start), ("end", &end), ("step", "60")];
        service.data("query_range", &range)["result"].clone()
    };
    assert_eq!(state(now - 30)[0]["values"], json!([[now - 30, "2"]]));
    assert_eq!(state(now - 90), json!([]));
}

#[track_caller]
fn check_refused(service: &Service, path: &str, parameters: &[(&str, &str)], status: u16, expected: &str) {
    let reply = service.ask(path, parameters);
    let answer: Value = serde_json::from_str(&reply.json).unwrap();
    let error = answer["error"].as_str().unwrap();
    assert_eq!((reply.status, answer["status"].as_str()), (status, Some("error")), "{parameters:?}");
    assert!(error.contains(expected), "{path} {parameters:?}: {error}");
}

#[test]
fn what_is_refused_and_why() {
    let service = failing();
    let many_parentheses = "(".repeat(65);
    let long = "x".repeat(4_097);
    for (query, expected) in [
        ("", r#"invalid parameter "query": 1:1: query is empty"#),
        (
            "rate(slo_events_total[5m])",
            r#"invalid parameter "query": 1:22: a range of time is not accepted here"#,
        ),
        ("max_over_time(slo_burn_rate[1h:1m])", "1:28: a range of time is not accepted here"),
        ("slo_burn_rate[5m]", "1:14: a range needs a function"),
        ("sum(slo_burn_rate)\n  + topk(3, slo_burn_rate)", "2:5: aggregation topk is not supported here"),
        ("{slo=\"x\"}", "1:1: a selector without a metric name would match every metric; name one"),
        ("slo_burn_rate @ 5", "1:15: @ is not supported here"),
        ("slo_burn_rate{", "1:15: cannot parse query as PromQL"),
        ("slo_burn_rate * on (slo) group_left slo_info", "1:26: group_left is not supported here"),
        ("\"text\"", "a string is no value here"),
        (&many_parentheses, "it has 65 parentheses, the limit is 64; split it"),
        (&long, "it has 4097 bytes, the limit is 4096; split it"),
    ] {
        check_refused(&service, "query", &[("query", query)], 400, expected);
    }
    let range = |start: &'static str, end: &'static str, step: &'static str| {
        [("query", "1"), ("start", start), ("end", end), ("step", step)]
    };
    for (parameters, expected) in [
        (range("", "1", "1"), r#"invalid parameter "start": it is missing"#),
        (range("x", "1", "1"), r#"invalid parameter "start": cannot parse "x" to a valid timestamp"#),
        (range("2", "1", "1"), r#"invalid parameter "end": end timestamp must not be before start time"#),
        (
            range("1", "2", "0"),
            r#"invalid parameter "step": cannot parse "0" to a valid duration above zero"#,
        ),
        (range("1", "2", "-5"), "a valid duration above zero"),
        (range("1", "2", "5 m"), "a valid duration above zero"),
        (range("1", "1e300", "1"), r#"invalid parameter "end": cannot parse"#),
        (
            range("0", "11000", "1"),
            "11001 points per series, the limit is 11000; make the step longer than 1s",
        ),
    ] {
        check_refused(&service, "query_range", &parameters, 400, expected);
    }
    check_refused(&service, "series", &[], 400, "no match[] parameter provided");
    check_refused(&service, "series", &[("match[]", "1 + 1")], 400, "only a selector is accepted here");
    check_refused(&service, "label//values", &[], 400, "invalid label name");
    check_refused(&service, "rules", &[("type", "x")], 400, "not supported value \"x\": alert or record");
    let ambiguous = "{__name__=~\"slo_error_ratio|slo_burn_rate\"} + 1";
    check_refused(&service, "query", &[("query", ambiguous)], 422, "several elements have the labels");
}

#[test]
fn what_there_is_to_ask_for() {
    let service = failing();
    let names = service.data("labels", &[]);
    let has = |name: &str| names.as_array().unwrap().contains(&name.into());
    assert!(["__name__", "route", "runbook_url", "slo", "tier", "window"].into_iter().all(has), "{names}");
    let of_info = [("match[]", "slo_info{slo=\"by-route\",route=\"/pay\"}")];
    assert_eq!(
        service.data("labels", &of_info),
        json!(["__name__", "objective", "route", "service", "slo", "window"])
    );
    assert_eq!(service.data("label/slo/values", &[]), json!(["availability", "by-route"]));
    assert_eq!(service.data("label/slo/values", &[("limit", "1")]), json!(["availability"]));
    assert_eq!(
        service.data("label/route/values", &[("match[]", "{slo=\"by-route\"}")]),
        json!(["/home", "/pay"])
    );
    assert_eq!(service.data("label/nothing/values", &[]), json!([]));
    let series = service.data(
        "series",
        &[("match[]", "slo_objective_ratio"), ("match[]", "slo_objective_ratio{slo!=\"x\"}")],
    );
    assert_eq!(series.as_array().unwrap().len(), 4, "each once: {series}");
    let metadata = service.data("metadata", &[("metric", "slo_events_total")]);
    assert_eq!(metadata["slo_events_total"][0]["type"], "counter", "{metadata}");
    assert_eq!(service.data("status/buildinfo", &[])["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn rules_and_alerts() {
    let service = failing();
    let rules = service.data("rules", &[]);
    let alerts = service.data("alerts", &[]);
    let shown = json!({"rules": rules, "alerts": alerts});
    let text = serde_json::to_string_pretty(&shown).unwrap();
    // What reasons say is tested where they are made.
    let shape: Vec<&str> = text.lines().filter(|line| !line.contains("\"reason\": ")).collect();
    insta::assert_snapshot!(shape.join("\n"));
    // What stands there as a query is one, and holds as the rule does.
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let found = service.data("query", &[("query", rule["query"].as_str().unwrap())]);
        let holds = !found["result"].as_array().unwrap().is_empty();
        assert_eq!(holds, rule["state"] != "inactive", "{rule}");
    }
    assert_eq!(service.data("rules", &[("type", "record")]), json!({"groups": []}));
    assert_eq!(service.data("rules", &[("rule_name[]", "other")]), json!({"groups": []}));
    assert_eq!(service.data("rules", &[("rule_group[]", "shop")]), rules);
}

/// Words of PromQL, in any order.
fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        proptest::sample::select(vec![
            "slo_burn_rate",
            "slo_info",
            "sum",
            "by",
            "without",
            "(",
            ")",
            "{",
            "}",
            "[",
            "]",
            ",",
            "=",
            "=~",
            "!=",
            "\"",
            "window",
            "\"5m\"",
            "5m",
            "1",
            "-",
            "+",
            "*",
            "/",
            "^",
            "%",
            "==",
            "bool",
            ">",
            "and",
            "or",
            "unless",
            "on",
            "ignoring",
            "offset",
            "@",
            ":",
            "time()",
            "vector(1)",
            "scalar",
            "absent",
            "round",
            "label_replace",
            "é",
            "'",
        ])
        .prop_map(str::to_owned),
        "\\PC{0,6}",
    ];
    proptest::collection::vec(word, 0..14).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(cases(256))]
    #[test]
    fn any_text_is_answered_or_refused(
        query in words(),
        start in prop_oneof![Just("0".to_owned()), "\\PC{0,8}", (-1e18..1e18).prop_map(|s: f64| s.to_string())],
        step in prop_oneof![Just("60".to_owned()), "\\PC{0,5}", (-1e18..1e18).prop_map(|s: f64| s.to_string())],
    ) {
        thread_local!(static SERVICE: Service = {
            let mut service = Service::new();
            (0..12).for_each(|_| service.scrape(1.0));
            service
        });
        SERVICE.with(|service| {
            let now = service.now.seconds().to_string();
            let parameters =
                [("query", query.as_str()), ("match[]", &query), ("start", &start), ("end", &now), ("step", &step)];
            for path in ["query", "query_range", "series", "labels", "label/slo/values"] {
                let reply = service.ask(path, &parameters);
                assert!([200, 400, 422].contains(&reply.status), "{path} {parameters:?}: {reply:?}");
                assert!(serde_json::from_str::<Value>(&reply.json).is_ok(), "{}", reply.json);
            }
        });
    }
}
