//! Tables of queries: what they are lowered to, or why and where they are refused.

use super::{
    linear::{Lowering, Quotient, Sum, Value},
    *,
};
use crate::slo::{Grouping, HistogramMeasure, Indicator, Interval, Measure, Question, Term};

/// What an expression is worth, or why it is no sum of events, if the text ends with the message.
#[track_caller]
fn check(query: &str, expected: &str) {
    let parsed = Parsed::new(query).unwrap();
    let mut lowering = Lowering { shares: parsed.shares(), ..Lowering::default() };
    let value = lowering.lower(&parsed.root);
    assert_eq!(value.map_or_else(|refused| refused.message, |value| print(&value)), expected, "{query}");
    let doubts: Vec<&str> = lowering.doubts.iter().map(|doubt| doubt.message.as_str()).collect();
    assert_eq!(doubts, [""; 0], "{query}");
}

fn print(value: &Value) -> String {
    match value {
        Value::Number(number) => number.to_string(),
        Value::Sum(sum) => print_sum(sum),
        Value::Quotient(Quotient { numerator, denominator, default, .. }) => {
            let default = default.map_or_else(String::new, |default| format!(" or {default}"));
            format!("{} / {}{default}", print_sum(numerator), print_sum(denominator))
        }
    }
}

fn print_sum(sum: &Sum) -> String {
    let terms: Vec<String> = sum.terms.iter().map(print_term).collect();
    let by = match &sum.group_by {
        none if *none == Grouping::none() => String::new(),
        Grouping::By(names) => format!(" by {}", names.join(",")),
        Grouping::Without(names) => format!(" without {}", names.join(",")),
    };
    let default = sum.default.map_or_else(String::new, |default| format!(" or {default}"));
    format!("{}{by}{default}", terms.join(" "))
}

fn print_term(Term { coefficient, selector, measure, replaces }: &Term) -> String {
    let measured = match measure {
        Measure::Increase => selector.to_string(),
        Measure::Samples => format!("samples({selector})"),
        Measure::SamplesWhere(_) => format!("some({selector})"),
        Measure::Values => format!("values({selector})"),
        Measure::VmRange(Interval { upper, .. }) => format!("up_to({upper}, {selector})"),
        Measure::Histogram(HistogramMeasure::Count) => format!("count({selector})"),
        Measure::Histogram(HistogramMeasure::Sum) => format!("sum({selector})"),
        Measure::Histogram(HistogramMeasure::Within(Interval { lower, upper })) => {
            format!("within({lower}, {upper}, {selector})")
        }
    };
    let replaces: Vec<String> =
        replaces.iter().map(|replace| format!("[{}={}]", replace.label, replace.replacement)).collect();
    format!("{coefficient:+}*{measured}{}", replaces.concat())
}

#[test]
fn sums() {
    check("sum(rate(a[5m]))", "+1*a");
    check("sum(increase(a[1h]))", "+1*a");
    check("((sum((rate((a[5m]))))))", "+1*a");
    check(r#"sum(rate(a{code=~"5..",job!="x"}[5m]))"#, r#"+1*a{code=~"5..",job!="x"}"#);
    check(r#"sum(rate({job="x",__name__="a"}[5m]))"#, r#"+1*a{job="x"}"#);
    check(r#"sum(rate({__name__=~"a|b"}[5m]))"#, r#"+1*{__name__=~"a|b"}"#);
    check("sum(rate(a[5m])) + (sum(rate(b[5m])) - sum(rate(c[5m])))", "+1*a +1*b -1*c");
    check("sum(rate(a[5m])) - (sum(rate(b[5m])) - sum(rate(c[5m])))", "+1*a -1*b +1*c");
    check("2 * sum(rate(a[5m])) / 4 - -sum(rate(b[5m]) * 2)", "+0.5*a +2*b");
    check("sum(rate(a[5m])) + 0", "+1*a");
    check("scalar(sum(rate(a[5m])))", "+1*a");
}

#[test]
fn what_cancels_out_is_left_out() {
    check("sum(rate(a[5m])) + sum(rate(a[5m]))", "+2*a");
    check("sum(rate(a[5m])) - (sum(rate(a[5m])) - sum(rate(b[5m])))", "+1*b");
}

#[test]
fn grouping() {
    check("sum by (z, a) (rate(a[5m]))", "+1*a by a,z");
    check("sum(rate(a[5m])) by (z, a, z)", "+1*a by a,z");
    check("sum by () (rate(a[5m]))", "+1*a");
    check("sum without (b, a) (rate(x[5m]))", "+1*x without a,b");
    check("rate(x[5m])", "+1*x without ");
    check("sum by (a) (sum by (b, a) (rate(x[5m])))", "+1*x by a");
    check("sum by (a, c) (sum by (b, a) (rate(x[5m])))", "+1*x by a");
    check("sum by (a, c) (sum without (c) (rate(x[5m])))", "+1*x by a");
    check("sum without (a) (sum by (b, a) (rate(x[5m])))", "+1*x by b");
    check("sum without (a) (sum without (b) (rate(x[5m])))", "+1*x without a,b");
    check("sum by (a, b) (rate(x[5m])) / sum(rate(y[5m])) by (b, a)", "+1*x by a,b / +1*y by a,b");
}

#[test]
fn the_sides_of_an_operator_meet_on_labels() {
    check("sum(rate(a[5m])) / on () sum(rate(b[5m]))", "+1*a / +1*b");
    check("sum by (x) (rate(a[5m])) / on (x) sum by (x) (rate(b[5m]))", "+1*a by x / +1*b by x");
    check("sum by (x) (rate(a[5m])) / ignoring (le) sum by (x) (rate(b[5m]))", "+1*a by x / +1*b by x");
    check("increase(a[5m]) / ignoring (le) increase(b[5m])", "+1*a without le / +1*b without le");
    check("rate(a[5m]) - on (x, y) rate(b[5m])", "+1*a -1*b by x,y");
}

#[test]
fn quotients() {
    check("sum(rate(a[5m])) / sum(rate(b[5m]))", "+1*a / +1*b");
    check("(sum(rate(a[5m])) - sum(rate(b[5m]))) / sum(rate(c[5m]))", "+1*a -1*b / +1*c");
    check("1 - sum(rate(a[5m])) / sum(rate(b[5m]))", "+1*b -1*a / +1*b");
    check("(1) - (1 - (sum(rate(a[5m])) / sum(rate(b[5m]))))", "+1*a / +1*b");
    check("100 * (sum(rate(a[5m])) / sum(rate(b[5m])))", "+100*a / +1*b");
    check("sum(rate(a[5m])) / sum(rate(b[5m])) - 0.5", "-0.5*b +1*a / +1*b");
    check("sum(rate(a[5m])) / sum(rate(t[5m])) + sum(rate(b[5m])) / sum(rate(t[5m]))", "+1*a +1*b / +1*t");
    check("clamp(sum(rate(a[5m])) / sum(rate(b[5m])), 0, 1)", "+1*a / +1*b");
    check("clamp_max(sum(rate(a[5m])) / sum(rate(b[5m])), 1)", "+1*a / +1*b");
    check("clamp_min(sum(rate(a[5m])) / sum(rate(b[5m])), 0)", "+1*a / +1*b");
}

#[test]
fn what_divides_by_nothing_needs_no_guard() {
    check("sum(rate(a[5m])) / (sum(rate(b[5m])) > 0)", "+1*a / +1*b");
    check("sum(rate(a[5m])) / ((sum(rate(b[5m])) > 0) or vector(1))", "+1*a / +1*b or 1");
    check(
        "(sum(rate(a[5m])) or vector(0)) / ((sum(rate(b[5m])) > 0) or on() vector(1))",
        "+1*a or 0 / +1*b or 1 or 0",
    );
    check("sum(rate(a[5m])) / sum(rate(b[5m])) > 0", "+1*a / +1*b");
    check("sum(rate(a[5m])) / clamp_min(sum(rate(b[5m])), 0.001)", "+1*a / +1*b");
    check(
        "sum(rate(a[5m])) / clamp_min(sum(increase(b[5m])), 1)",
        "the two sides of / use different functions: rate \
           and increase; use the same on both",
    );
    check("sum(rate(a[5m])) / (sum(rate(b[5m])) + 1e-9)", "+1*a / +1*b");
}

#[test]
fn defaults() {
    check("sum(rate(a[5m])) or vector(0)", "+1*a or 0");
    check("(sum(rate(a[5m])) OR on() vector(0)) / sum(rate(b[5m]))", "+1*a or 0 / +1*b");
    check("(sum(rate(a[5m])) or (vector((0)))) + (sum(rate(b[5m])) or vector(0))", "+1*a +1*b or 0");
    check("sum(rate(a[5m]) or vector(0))", "+1*a or 0");
    check("sum by (x) (rate(a[5m])) or 0 * sum by (x) (rate(b[5m]))", "+1*a by x or 0");
    check("sum(rate(a[5m])) / sum(rate(b[5m])) or vector(1)", "+1*a / +1*b or 1");
    check("1 - (sum(rate(a[5m])) / sum(rate(b[5m])) or vector(1))", "+1*b -1*a / +1*b or 0");
}

#[test]
fn gauges() {
    check("sum(count_over_time(g[5m]) - sum_over_time(g[5m]))", "+1*samples(g) -1*values(g)");
    check("avg_over_time(g[5m])", "+1*values(g) without  / +1*samples(g) without ");
    check("1 - avg_over_time(g[5m])", "+1*samples(g) -1*values(g) without  / +1*samples(g) without ");
    check("avg by (x) (avg_over_time(g[5m]))", "+1*values(g) by x / +1*samples(g) by x");
    check("sum(avg_over_time(g[5m])) / sum(avg_over_time(h[5m]))", "+1*values(g) / +1*values(h)");
}

#[test]
fn labels_are_replaced() {
    check(r#"sum by (b) (label_replace(rate(x[5m]), "b", "$1", "a", "(.*)"))"#, "+1*x[b=$1] by b");
    check(r#"label_replace(sum by (a) (rate(x[5m])), "b", "$1", "a", "(.*)")"#, "+1*x[b=][b=$1] by a,b");
    check(
        r#"label_replace(sum by (c) (rate(x[5m])), "b", "$1", "a", "(.*)")"#,
        "label_replace(…) rewrites a label here that the series were summed over",
    );
}

#[test]
fn native_histograms() {
    check("histogram_count(sum(rate(h[5m])))", "+1*count(h)");
    check("sum(histogram_count(rate(h[5m])))", "+1*count(h)");
    check("(histogram_sum((sum by (b, a) (increase(h[5m])))))", "+1*sum(h) by a,b");
    check("sum by (a) (histogram_sum((rate(h[5m]))))", "+1*sum(h) by a");
    check("histogram_count(sum(rate(a[5m])) + sum(rate(b[5m])))", "+1*count(a) +1*count(b)");
    check("histogram_count(sum(rate(a[5m]))) - sum(rate(b[5m]))", "+1*count(a) -1*b");
    check("histogram_count(sum(rate(a[5m]))) or vector(0)", "+1*count(a) or 0");
}

#[test]
fn fractions_of_native_histograms() {
    let fraction = "histogram_fraction(0, 0.3, sum by (a) (rate(h[5m])))";
    let count = "histogram_count(sum by (a) (rate(h[5m])))";
    check(fraction, "+1*within(0, 0.3, h) by a / +1*count(h) by a");
    check(&format!("1 - ({fraction})"), "+1*count(h) -1*within(0, 0.3, h) by a / +1*count(h) by a");
    check(&format!("{fraction} * {count}"), "+1*within(0, 0.3, h) by a");
    check(&format!("({count}) * ({fraction})"), "+1*within(0, 0.3, h) by a");
    check(&format!("{count} - {fraction} * {count}"), "+1*count(h) -1*within(0, 0.3, h) by a");
    check(&format!("{fraction} * {count} / {count}"), "+1*within(0, 0.3, h) by a / +1*count(h) by a");
    check(
        "sum by (a) (histogram_fraction(0, 0.3, rate(h[5m])) * histogram_count(rate(h[5m])))",
        "+1*within(0, 0.3, h) by a",
    );
    check("histogram_fraction(-Inf, (-0.5), sum(rate(h[5m])))", "+1*within(-inf, -0.5, h) / +1*count(h)");
    check("histogram_fraction(1e-3, +Inf, sum(rate(h[5m])))", "+1*within(0.001, inf, h) / +1*count(h)");
}

#[test]
fn shares_of_victoria_metrics_histograms() {
    check(
        "histogram_share(0.2, sum by (vmrange) (rate(h_bucket[5m])))",
        "+1*up_to(0.2, h_bucket) / +1*up_to(inf, h_bucket)",
    );
    check(
        "1 - histogram_share(0.2, sum(increase(h_bucket[5m])) by (a, vmrange))",
        "+1*up_to(inf, h_bucket) -1*up_to(0.2, h_bucket) by a / +1*up_to(inf, h_bucket) by a",
    );
    check("quantile(0.2, rate(h_bucket[5m]))", "aggregation quantile is no sum of events");
}

#[test]
fn lone_selectors() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(selector(text).map(|selector| selector.to_string()).as_deref(), Ok(expected));
    }
    check("a", "a");
    check(r#"((a{b!="c"}))"#, r#"a{b!="c"}"#);
    check(r#"{__name__=~"a|b",c="d"}"#, r#"{__name__=~"a|b",c="d"}"#);
}

#[test]
fn refused_as_lone_selectors() {
    #[track_caller]
    fn check(marked: &str, expected: &str) {
        check_marked(marked, selector(&marked.replace('‸', "")).err(), expected);
    }
    check("a‸[5m]", "a range is not supported here");
    check("a{b=\"[\"}‸[5m] offset 1h", "a range is not supported here");
    check("a ‸offset 1h", "offset is not supported");
    check("a ‸@ 1609746000", "@ is not supported");
    check("‸{job=\"a\"}", "without a metric name would match every metric; name one");
    check("‸avg(a)", "only a selector");
    check("‸rate(a[5m])", "only a selector");
    check("a ‸> 5", "only a selector");
    check("a ‸or vector(0)", "only a selector");
    check("a‸[5m:1m]", "only a selector");
    check("‸-a", "only a selector");
    check("‸5", "only a selector");
    check("‸", "query is empty");
    check("a{b=\"c\"‸", "unexpected end of input inside braces");
}

/// The mark `‸` stands in front of the token that is no sum of events.
#[track_caller]
fn check_refused(marked: &str, expected: &str) {
    let query = marked.replace('‸', "");
    let refused = Parsed::new(&query).and_then(|parsed| {
        let refused = Lowering::default().lower(&parsed.root).map(|value| print(&value));
        refused.map_err(|refused| parsed.error(&refused))
    });
    check_marked(marked, refused.err(), expected);
}

#[track_caller]
fn check_marked(marked: &str, error: Option<Error>, expected: &str) {
    let query = marked.replace('‸', "");
    let error = error.expect(&query);
    let offset = marked.find('‸').expect("the test marks a position");
    let mut found = query;
    found.insert(error.offset, '‸');
    assert!(error.message.contains(expected), "{marked}\n{error}");
    assert_eq!(error.offset, offset, "found {found}: {error}");
}

#[test]
fn refused_selectors() {
    check_refused("sum(rate(a[5m] ‸@ 1609746000))", "@ fixes a moment");
    check_refused(r#"sum(rate(‸{job="x"}[5m]))"#, "without a metric name");
    check_refused(r#"sum(rate(‸{__name__=~".*",job="x"}[5m]))"#, "without a metric name");
    check_refused(r#"sum(rate(‸a{job="x" or job="y"}[5m]))"#, "or between matchers");
    check_refused(r#"sum(rate(a{job="x",code=~‸"a{b}"}[5m]))"#, "cannot use regular expression \"a{b}\"");
    check_refused("sum(rate(a[‸0s]))", "duration must be greater than 0");
    check_refused("sum(rate(x[5m])) + sum(‸x)", "x is not wrapped in rate(…)");
    check_refused("sum by (foo) (‸foo)", "foo is not wrapped in rate(…)");
    check_refused("‸a", "a is not wrapped in rate(…)");
}

#[test]
fn refused_aggregations() {
    check_refused("sum(rate(sum[5m])) / ‸avg(rate(a[5m]))", "aggregation avg depends on how many series");
    check_refused("‸count by (sum) (rate(a[5m]))", "aggregation count");
    check_refused("‸topk(5, rate(a[5m]))", "aggregation topk");
    check_refused("‸sum(rate(a[5m]) / rate(b[5m]))", "aggregation sum of ratios");
}

#[test]
fn refused_functions() {
    check_refused("‸histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))", "histogram_quantile");
    check_refused("sum(‸max_over_time(a[5m]))", "function max_over_time counts no events");
    check_refused("sum(rate(rate(a[5m])‸[5m:1m]))", "a subquery is evaluated at steps");
    check_refused("‸nosuch(a[5m])", "nosuch");
}

#[test]
fn refused_histogram_functions() {
    check_refused("histogram_count(‸h)", "h is not wrapped in rate(…)");
    check_refused("‸histogram_avg(sum(rate(h[5m])))", "function histogram_avg counts no events");
    check_refused("histogram_sum(‸histogram_count(sum(rate(h[5m]))))", "takes histograms, no counts");
    check_refused("sum(histogram_count(‸histogram_sum(rate(h[5m]))))", "takes histograms, no counts");
    check_refused("histogram_count(‸sum by (le) (rate(h_bucket[5m])))", "of classic buckets count the one");
    check_refused("histogram_count(‸avg(rate(h[5m])))", "aggregation avg");
}

#[test]
fn refused_fractions() {
    check_refused(
        "histogram_fraction(0, ‸scalar(x), sum(rate(h[5m])))",
        "bound of histogram_fraction must be",
    );
    check_refused("‸histogram_fraction(0.3, 0, sum(rate(h[5m])))", "nothing lies above 0.3 and up to 0");
    check_refused("‸histogram_fraction(0, NaN, sum(rate(h[5m])))", "nothing lies above 0 and up to NaN");
    check_refused(
        "histogram_fraction(0, 1, sum(rate(h[5m]))) ‸/ sum(rate(x[5m]))",
        "a ratio within an expression",
    );
    check_refused("‸sum(histogram_fraction(0, 1, rate(h[5m])))", "aggregation sum of ratios");
    check_refused(
        "histogram_fraction(0, 1, sum(rate(h[5m]))) ‸* histogram_count(sum(rate(g[5m])))",
        "product",
    );
    check_refused("sum(histogram_count(rate(h[5m])) ‸* histogram_sum(rate(h[5m])))", "remove the factor");
}

#[test]
fn refused_operators() {
    check_refused("sum(rate(a[5m])) ‸> bool 0", "comparison >");
    check_refused("sum(rate(a[5m])) ‸< 5", "comparison <");
    check_refused("sum(rate(a[5m])) / on (x) ‸group_left sum(rate(b[5m]))", "group_left joins series");
    check_refused("sum(rate(a[5m])) ‸or sum(rate(b[5m]))", "or takes the one where there is no other");
    check_refused("sum(rate(a[5m])) ‸or on (a) vector(0)", "or takes the one");
    check_refused("sum(rate(a[5m])) ‸unless sum(rate(b[5m]))", "operator unless");
    check_refused("1 ‸- sum(rate(a[5m]))", "operator -");
    check_refused("(sum(rate(a[5m])) / sum(rate(b[5m]))) ‸+ sum(rate(c[5m]))", "operator +");
}

#[test]
fn refused_mixtures() {
    let message = "group by different labels: (x) and (); group both by the same";
    check_refused("sum by (x) (rate(a[5m])) ‸/ sum(rate(b[5m]))", message);
    check_refused("sum(rate(a[5m])) ‸/ sum(increase(b[5m]))", "different functions: rate and increase");
    check_refused("sum(rate(a[5m])) ‸/ sum(rate(b[1h]))", "different ranges: [5m] and [1h]");
    check_refused("sum(rate(a[5m])) ‸- sum(rate(b[1h]))", "the two sides of - have different ranges");
    check_refused("sum(rate(a[5m])) ‸- sum(rate(b[5m] offset 1h))", "different offsets");
}

#[test]
fn broken_queries() {
    check_refused("‸", "query is empty");
    check_refused("‸  # nothing", "no expression");
    check_refused("sum(a) + sum(rate(a[5m])‸", "unclosed left parenthesis");
    check_refused("sum(rate(a[5m]))‸)", "unexpected right parenthesis");
    check_refused("sum(rate(a[5m])) / ‸§", "unexpected character");
    check_refused("sum(rate(a{b=‸\"c}[5m]))", "unterminated");
    check_refused("sum(rate(a[5m])) / ‸/ sum(rate(b[5m]))", "invalid promql query");
    check_refused("sum(rate(a[5m])) /‸", "invalid promql query");
    check_refused("sum(rate(a[5m])) by (x) ‸y", "invalid promql query");
    check_refused("sum(rate(a{b ‸\"c\"}[5m]))", "");
    check_refused(r#"sum(rate(a{b=~‸"(c"}[5m]))"#, r#"cannot use regular expression "(c": unclosed group"#);
}

#[test]
fn a_huge_query_is_refused_and_does_not_overflow_the_stack() {
    for deep in [
        format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000)),
        vec!["a"; 100_000].join("+"),
        "-".repeat(1_000_000) + "a",
    ] {
        assert!(Parsed::new(&deep).err().unwrap().message.contains("more than 2000 tokens"));
    }
    check(&format!("{}sum(rate(a[5m])){}", "(".repeat(900), ")".repeat(900)), "+1*a");
    check(&vec!["sum(rate(a[5m]))"; 150].join("+"), "+150*a");
}

// === what queries of an SLI become ===

const TEMPLATE: Template = Template { text: "9871ms", range: Duration::from_millis(9_871) };

/// The indicator in short, and the doubts about it with their places.
#[track_caller]
fn check_compiled(asked: Asked<'_>, settings: Settings, expected: &str, doubts: &[(usize, usize, &str)]) {
    let compiled = compile(asked, settings);
    let (found, found_doubts) = match compiled {
        Ok(Compiled { indicator, doubts }) => (print_indicator(&indicator), doubts),
        Err(Refusal { query, error }) => (format!("query {query} at {}: {error}", error.offset), Vec::new()),
    };
    assert_eq!(found, expected, "{asked:?}");
    let found_doubts: Vec<(usize, usize, &str)> =
        found_doubts.iter().map(|doubt| (doubt.query, doubt.offset, doubt.message.as_str())).collect();
    assert_eq!(found_doubts, doubts, "{asked:?}");
}

fn print_indicator(indicator: &Indicator) -> String {
    match indicator {
        Indicator::Counted(counted) => {
            let print = |terms: &[Term]| terms.iter().map(print_term).collect::<Vec<_>>().join(" ");
            format!("{} of {} by {}", print(&counted.bad), print(&counted.total), counted.group_by)
        }
        Indicator::Sampled(sampled) => format!("{:?}: {}", sampled.step, print_question(&sampled.question)),
        Indicator::Pulled(pulled) => {
            format!("pulled {:?}: {}", pulled.step, print_question(&pulled.question))
        }
    }
}

fn print_question<E: std::fmt::Display>(question: &Question<E>) -> String {
    match question {
        Question::BadRatio(bad) => format!("bad {bad}"),
        Question::GoodRatio(good) => format!("good {good}"),
        Question::Condition(value, condition) => format!("{value} {:?} {}", condition.op, condition.bound),
        Question::Events { bad, total } => format!("bad {bad} of {total}"),
    }
}

#[test]
fn two_counts_make_an_indicator() {
    let (a, b) = ("sum(rate(a[5m]))", "sum(rate(b[5m]))");
    let check = |asked, expected| check_compiled(asked, Settings::default(), expected, &[]);
    check(Asked::BadOfTotal(a, b), "+1*a of +1*b by ()");
    check(Asked::GoodOfTotal(a, b), "+1*b -1*a of +1*b by ()");
    check(Asked::GoodAndBad(a, b), "+1*b of +1*a +1*b by ()");
    check(Asked::BadRatio("sum(rate(a[5m])) / sum(rate(b[5m]))"), "+1*a of +1*b by ()");
    check(Asked::GoodRatio("sum(rate(a[5m])) / sum(rate(b[5m]))"), "+1*b -1*a of +1*b by ()");
    check(Asked::GoodRatio("1 - sum(rate(a[5m])) / sum(rate(b[5m]))"), "+1*a of +1*b by ()");
    check(
        Asked::BadOfTotal(a, "sum by (x) (rate(b[5m]))"),
        "query 1 at 0: the two queries group by different labels: \
           () and (x); group both by the same",
    );
    check(
        Asked::BadRatio(a),
        "query 0 at 0: must be a ratio: this counts events a second, any number of them, and no share of all; divide it \
         by all events: sum(…) / sum(…)",
    );
    check(
        Asked::BadRatio("increase(a_errors[5m])"),
        "query 0 at 0: must be a ratio: this counts events, any number of them, and no share of all; divide it by all \
         events: sum(…) / sum(…)",
    );
    check(Asked::BadOfTotal("1", b), "query 0 at 0: number 1 counts no events; use sum(rate(…))");
}

#[test]
fn a_default_that_an_operator_takes_away() {
    #[track_caller]
    fn check(marked: &str, expected: &str) {
        let query = marked.replace('‸', "");
        let settings = Settings { pull_interval: Some(Duration::from_secs(60)), ..Settings::default() };
        let refusal = compile(Asked::BadRatio(&query), settings).err();
        check_marked(marked, refusal.map(|refusal| refusal.error), expected);
    }
    check(
        "sum(rate(a[5m])) ‸or vector(0) / sum(rate(b[5m]))",
        "/ binds more than or, so that it takes only vector(0), and the result is a count where a ratio was meant; write \
         (… or vector(0)) / …",
    );
    check(
        "1 - (sum(rate(a[5m])) ‸or vector(0) + sum(rate(b[5m])) or vector(0)) / sum(rate(c[5m]))",
        "+ binds more than or, so that it takes only vector(0), and the result is the first of them alone; write \
         (… or vector(0)) + …",
    );
    check("sum(rate(a[5m])) ‸OR on() vector(0) - sum(rate(b[5m]))", "- binds more than or");
    check("sum_over_time((up ‸or vector(0) / sum(x))[5m:1m])", "/ binds more than or");
    check("a{b=\"or\"} ‸or (vector(0)) / sum(rate(b[5m]))", "/ binds more than or");
}

#[test]
fn a_default_that_is_where_it_belongs() {
    #[track_caller]
    fn check(query: &str) {
        let indicator = compile(Asked::BadRatio(query), Settings::default()).unwrap().indicator;
        assert_eq!(print_indicator(&indicator), "+1*a of +1*b by ()", "{query}");
    }
    check("(sum(rate(a[5m])) or vector(0)) / sum(rate(b[5m]))");
    check("sum(rate(a[5m])) / sum(rate(b[5m])) or vector(0)");
    check("(sum(rate(a[5m])) or 0 * sum(rate(c[5m]))) / sum(rate(b[5m]))");
    check("sum(rate(a[5m])) / sum(rate(b[5m])) or vector(0) / 1");
}

#[test]
fn ranges_beside_the_template_are_ignored() {
    let settings = Settings { template: Some(TEMPLATE), ..Settings::default() };
    let doubt = "range [5m] is the same for every window, so that all alerts would look at it alone; it is ignored: slod \
                 counts over its own windows";
    check_compiled(
        Asked::BadOfTotal("sum(rate(a[5m]))", "sum(rate(b[9871ms]))"),
        settings,
        "+1*a of +1*b by ()",
        &[(0, "sum(rate(a".len(), doubt)],
    );
}

#[test]
fn doubts_about_what_is_counted() {
    let irate = "irate sees only the last two samples of a range; slod counts them all, as rate does";
    let clamp = "clamp_min(…, 1) on a rate understates errors below 1 events a second; it is ignored: slod needs no guard \
                 against dividing by zero";
    let guard = "guard >= 0.02 is ignored: slod counts every event; a few failures of a small service do not page, because \
                 pages need three";
    let offset = "offset is ignored: slod counts events when they happen, and not so much later";
    let check = |bad: &str, total: &str, doubts: &[(usize, usize, &str)]| {
        check_compiled(Asked::BadOfTotal(bad, total), Settings::default(), "+1*a of +1*b by ()", doubts);
    };
    check("sum(irate(a[5m]))", "sum(rate(b[5m]))", &[(0, 4, irate)]);
    check("sum(rate(a[5m]))", "clamp_min(sum(rate(b[5m])), 1)", &[(1, 0, clamp)]);
    check("sum(rate(a[5m]))", "sum(rate(b[5m])) >= 0.02", &[(1, 17, guard)]);
    check("sum(rate(a[5m] offset 1m))", "sum(rate(b[5m] offset 1m))", &[(0, 15, offset), (1, 15, offset)]);
}

#[test]
fn a_threshold_on_a_lone_selector_counts_samples() {
    let condition = crate::slo::Threshold { op: crate::slo::ThresholdOp::Less, bound: 5.0 };
    let check = |query, doubts: &[(usize, usize, &str)]| {
        let expected = format!("+1*samples({query}) -1*some({query}) of +1*samples({query}) by ()");
        check_compiled(Asked::Condition(query, condition), Settings::default(), &expected, doubts);
    };
    check("a", &[]);
    let counter = "a_total is a counter by its name, and a threshold is for gauges; count events with good, bad and total";
    check("a_total", &[(0, 0, counter)]);
}

#[test]
fn bare_selectors_are_counters_where_the_format_says_so() {
    let settings = Settings { counts_bare_selectors: true, ..Settings::default() };
    let asked = Asked::GoodOfTotal(r#"sum(a_total{x="y"})"#, "sum(a_total)");
    check_compiled(asked, settings, r#"+1*a_total -1*a_total{x="y"} of +1*a_total by ()"#, &[]);
    let refused =
        "query 0 at 4: a_total is not wrapped in rate(…); count its events with sum(rate(a_total[5m]))";
    check_compiled(asked, Settings::default(), refused, &[]);
}

#[test]
fn a_ratio_of_one_is_a_ratio() {
    let settings = Settings { template: Some(TEMPLATE), ..Settings::default() };
    let asked = Asked::BadOfTotal("1 - avg_over_time(up[9871ms])", "vector(1)");
    check_compiled(asked, settings, "+1*samples(up) -1*values(up) of +1*samples(up) by without ()", &[]);
}
