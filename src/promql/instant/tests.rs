//! Queries evaluated at moments: how they are printed, what is known of them, and why some are refused.

use proptest::prelude::*;

use super::*;
use crate::labels::{METRIC_NAME, Selector};

const HOUR: Duration = Duration::from_secs(3_600);

/// A query as it is printed.
#[track_caller]
fn check(text: &str, expected: &str) {
    let lowered = expression(text).unwrap();
    assert_eq!(lowered.to_string(), expected);
    assert_eq!(expression(expected).as_ref(), Ok(&lowered), "reads back to the same");
}

/// A query with `‸` where it is refused, and a part of the message.
#[track_caller]
fn check_refused(marked: &str, message: &str) {
    let offset = marked.find('‸').unwrap();
    let error = expression(&marked.replace('‸', "")).unwrap_err();
    assert!(error.message.contains(message), "{}", error.message);
    assert_eq!(error.offset, offset, "{}", error.message);
}

#[test]
fn printed_queries_read_back() {
    check("1", "1");
    check("-(1)", "-1");
    check("- - x", "-(-x)");
    check("2 * -1", "2 * (-1)");
    check("Inf - -Inf", "Inf - (-Inf)");
    check("((x))", "x");
    check("x{b=\"1\", a=~\"2|3\"} offset 5m", "x{b=\"1\",a=~\"2|3\"} offset 5m");
    check("a + b * c", "a + (b * c)");
    check("a > bool 3", "a > bool 3");
    check("a / on (z, y, z) b", "a / on (y, z) b");
    check("a and ignoring (x) b", "a and ignoring (x) b");
    check("a or on () vector(0)", "a or on () vector(0)");
    check("sum(x) by (b, a)", "sum by (a, b) (x)");
    check("sum by () (x)", "sum(x)");
    check("avg without (a) (x)", "avg without (a) (x)");
    check("quantile by (a) (0.9, x)", "quantile by (a) (0.9, x)");
    check("sort_desc(x)", "x");
    check("rate(x[90s] offset 1h)", "rate(x[1m30s] offset 1h)");
    check(
        "avg_over_time((sum(rate(a[1m])) > bool 1)[30m:])",
        "avg_over_time((sum(rate(a[1m])) > bool 1)[30m:1m])",
    );
    check("max_over_time((x offset 1m)[5m:30s] offset 2m)", "max_over_time((x offset 1m)[5m:30s] offset 2m)");
    check("quantile_over_time(scalar(x), y[5m])", "quantile_over_time(scalar(x), y[5m])");
    check("clamp(round(x, 0.1), 0, 1)", "clamp(round(x, 0.1), 0, 1)");
    check("label_join(x, 'a', \"-\", 'b', 'c')", "label_join(x, \"a\", \"-\", \"b\", \"c\")");
    check(
        r#"label_replace(x, "a", "$1\\\"", "b", "(.*)\\.d")"#,
        r#"label_replace(x, "a", "$1\\\"", "b", "(.*)\\.d")"#,
    );
    check("time() - timestamp(x) > 60", "(time() - timestamp(x)) > 60");
}

#[test]
fn refused_queries() {
    check_refused("‸topk(3, x)", "aggregation topk is not supported here");
    check_refused("‸count_values(\"a\", x)", "aggregation count_values");
    check_refused("a ‸atan2 b", "operator atan2 is not supported here");
    check_refused("a * on (x) ‸group_left b", "group_left is not supported here");
    check_refused("a * on (x) ‸group_right b", "group_right is not supported here");
    check_refused("x ‸@ 3", "@ is not supported");
    check_refused("sum_over_time(x[5m:1m] ‸@ end())", "@ is not supported");
    check_refused("sum(‸histogram_count(x))", "function histogram_count is not supported here");
    check_refused("‸day_of_week()", "function day_of_week");
    check_refused(
        "rate(x‸[2h])",
        "range [2h] is too long: slod would keep every sample of it, the limit is 1h",
    );
    check_refused("rate(x[‸0s])", "duration must be greater than 0");
    check_refused("max_over_time(x‸[61m:1m])", "range [1h1m] is too long");
    check_refused("max_over_time(x[1h‸:1s])", "3600 steps are too many");
    check_refused("max_over_time(max_over_time(x[30m‸:15s])[30m:1m])", "3600 steps are too many");
    check_refused("x ‸offset -5m", "negative offset");
    check_refused("x ‸offset 1d", "offset 1d is too long");
    check_refused("x‸[5m]", "a range needs a function");
    check_refused("‸\"x\"", "a string is no value");
    check_refused("label_replace(x, \"a\", \"b\", \"c\", ‸\"(\")", "cannot use regular expression");
    check_refused("‸{a=\"b\"}", "without a metric name");
}

#[test]
fn a_range_stands_for_another() {
    let replaced = |text: &str| {
        let parsed = Parsed::new(text)?;
        let lowered = lower(&parsed.root, Some((HOUR * 999, HOUR / 12)));
        lowered.map(|lowered| lowered.to_string()).map_err(|refused| parsed.error(&refused))
    };
    assert_eq!(
        replaced("sum(rate(x[999h])) + max_over_time(y[999h:1m]) + rate(z[1m])").as_deref(),
        Ok("(sum(rate(x[5m])) + max_over_time(y[5m:1m])) + rate(z[1m])")
    );
    assert!(replaced("rate(x[998h])").is_err());
}

#[track_caller]
fn check_properties(text: &str, is_single: bool, lookback_seconds: u64) {
    let lowered = expression(text).unwrap();
    assert_eq!(lowered.is_single(), is_single, "{text}");
    assert_eq!(lowered.lookback(), Duration::from_secs(lookback_seconds), "{text}");
}

#[test]
fn what_is_single_and_how_far_it_looks_back() {
    check_properties("1", true, 0);
    check_properties("x", false, 300);
    check_properties("x offset 1m", false, 360);
    check_properties("rate(x[1m] offset 1m)", false, 120);
    check_properties("sum(x) / sum(rate(y[10m]))", true, 600);
    check_properties("sum by (a) (x) / on () sum(y)", true, 300);
    check_properties("sum by (a) (x) / ignoring (a) sum(y)", true, 300);
    check_properties("sum by (a) (x) / 2", false, 300);
    check_properties("sum by (a) (x) or vector(0)", false, 300);
    check_properties("sum(x) or vector(0)", true, 300);
    check_properties("sum(x) and y", true, 300);
    check_properties("histogram_quantile(0.9, sum by (le) (rate(h_bucket[5m])))", true, 300);
    check_properties("histogram_quantile(0.9, rate(h_bucket[5m]))", false, 300);
    check_properties("max_over_time((sum(rate(x[1m])) > bool 1)[30m:1m])", true, 1_860);
    check_properties("max_over_time(x[30m:1m])", false, 2_100);
    check_properties("absent(x)", true, 300);
    check_properties("absent(x{a=\"b\"})", false, 300);
    check_properties("absent_over_time(x{a=\"b\",a!=\"c\"}[1m])", true, 60);
    check_properties("label_replace(sum(x), \"a\", \"b\", \"\", \"\")", false, 300);
    check_properties("count by (__name__) (x)", true, 300);
}

#[test]
fn selectors_come_from_left_to_right() {
    let lowered =
        expression("a + max_over_time((b - rate(c[1m]))[5m:]) * quantile_over_time(scalar(d), e[1m])");
    let names: Vec<String> = lowered.unwrap().selectors().iter().map(|s| s.to_string()).collect();
    assert_eq!(names.join(" "), "a b c e d");
}

// --- every expression that can be printed ---

fn any_selector() -> impl Strategy<Value = Selector> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let matcher = (prop::sample::select(vec!["a", "job", "le"]), op, "[a-z\"\\n .0-9]{0,4}");
    let matchers = proptest::collection::vec(matcher, 0..3);
    ("[a-z_:]{1,6}_", matchers).prop_map(|(name, matchers)| {
        let matchers = matchers.iter().map(|(name, op, value)| Matcher::new(name, *op, value).unwrap());
        Selector { matchers: [Matcher::equal(METRIC_NAME, &name)].into_iter().chain(matchers).collect() }
    })
}

fn any_labeling() -> impl Strategy<Value = Labeling> {
    let names = proptest::collection::btree_set("[a-c]", 0..3).prop_map(|names| names.into_iter().collect());
    (names, any::<bool>()).prop_map(
        |(names, is_only)| {
            if is_only { Labeling::Only(names) } else { Labeling::AllBut(names) }
        },
    )
}

fn any_offset() -> impl Strategy<Value = Duration> {
    prop_oneof![Just(0), 1..3_600_u64].prop_map(Duration::from_secs)
}

fn any_number() -> impl Strategy<Value = Expression> {
    prop_oneof![
        any::<f64>().prop_filter("NaN is not equal to itself", |number| !number.is_nan()),
        prop::sample::select(vec![f64::INFINITY, f64::NEG_INFINITY, 0.1, 1e-7]),
    ]
    .prop_map(Expression::Number)
}

fn any_span(vector: impl Strategy<Value = Expression>) -> impl Strategy<Value = Span> {
    let steps = (vector, 900..1_800_u64)
        .prop_map(|(of, step)| Source::Steps(Box::new(of), Duration::from_secs(step)));
    let of = prop_oneof![any_selector().prop_map(Source::Series), steps];
    (of, 1..3_600_u64, any_offset()).prop_map(|(of, range, offset)| Span {
        of,
        range: Duration::from_secs(range),
        offset,
    })
}

fn any_binary(vector: impl Strategy<Value = Expression> + Clone) -> impl Strategy<Value = Expression> {
    let operator = prop::sample::select(Operator::ALL.to_vec());
    let sides = (vector.clone(), prop_oneof![any_number(), vector]);
    (operator, any::<bool>(), any_labeling(), sides).prop_map(
        |(operator, is_bool, labeling, (left, right))| {
            let right = if operator.is_of_sets() { left.clone() } else { right };
            let is_of_vectors = !right.is_scalar();
            let matching = if is_of_vectors { labeling } else { Labeling::AllBut(Vec::new()) };
            let is_bool = is_bool && operator.is_comparison();
            Expression::Binary(Box::new(Binary { operator, is_bool, matching, left, right }))
        },
    )
}

fn any_vector() -> impl Strategy<Value = Expression> {
    let latest =
        (any_selector(), any_offset()).prop_map(|(selector, offset)| Expression::Latest(selector, offset));
    latest.prop_recursive(4, 24, 3, |vector| {
        let boxed = vector.clone().prop_map(Box::new);
        let number = any_number().boxed();
        let text = "[a-z$1 \"\\\\]{0,4}";
        prop_oneof![
            (prop::sample::select(OverTime::ALL.to_vec()), any_span(vector.clone()))
                .prop_map(|(function, span)| Expression::OverTime(function, span)),
            (number.clone(), any_span(vector.clone()))
                .prop_map(|(number, span)| Expression::QuantileOverTime(Box::new(number), span)),
            (prop::sample::select(Aggregation::ALL.to_vec()), any_labeling(), boxed.clone())
                .prop_map(|(aggregation, labeling, of)| Expression::Aggregate(aggregation, labeling, of)),
            (number.clone(), any_labeling(), boxed.clone())
                .prop_map(|(number, labeling, of)| Expression::Quantile(Box::new(number), labeling, of)),
            boxed.clone().prop_map(Expression::Negative),
            any_binary(vector.clone()),
            (vector.clone(), number.clone(), number.clone())
                .prop_map(|(of, min, max)| Expression::Call(Function::Clamp, vec![of, min, max])),
            (vector.clone(), number)
                .prop_map(|(of, q)| Expression::Call(Function::HistogramQuantile, vec![q, of])),
            vector.prop_map(|of| Expression::Call(
                Function::Vector,
                vec![Expression::Call(Function::Scalar, vec![of])]
            )),
            (boxed.clone(), text, "[a-z0-9.()\"]{0,2}").prop_filter_map(
                "a regex",
                |(of, replacement, regex)| {
                    let source = Matcher::new("b", MatchOp::Regex, &regex).ok()?;
                    Some(Expression::LabelReplace(
                        of,
                        Box::new(LabelReplace { label: "a".into(), replacement, source }),
                    ))
                }
            ),
            (boxed, text).prop_map(|(of, separator)| {
                let sources = vec!["b".into(), "c".into()];
                Expression::LabelJoin(of, LabelJoin { label: "a".into(), separator, sources })
            }),
        ]
    })
}

proptest! {
    #[test]
    fn every_printed_expression_reads_back(lowered in any_vector()) {
        let printed = lowered.to_string();
        prop_assert_eq!(expression(&printed), Ok(lowered), "{}", printed);
    }
}
