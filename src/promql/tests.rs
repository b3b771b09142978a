//! Tables of queries: what they are lowered to, or why and where they are refused.

use super::*;

#[track_caller]
fn check(query: &str, expected: &str) {
    assert_eq!(
        lower(query).map_or_else(|error| error.to_string(), |lowered| print(&lowered)),
        expected,
        "{query}"
    );
}

fn print(lowered: &Lowered) -> String {
    match lowered {
        Lowered::Sum(sum) => print_sum(sum),
        Lowered::Ratio(Ratio { numerator, denominator, complement }) => {
            let complement = if *complement { "1 - " } else { "" };
            format!("{complement}{} / {}", print_sum(numerator), print_sum(denominator))
        }
    }
}

fn print_sum(sum: &Sum) -> String {
    let terms: Vec<String> = sum.terms.iter().map(print_term).collect();
    let by = if sum.group_by == Grouping::none() { String::new() } else { format!(" by {}", sum.group_by) };
    format!("{}{by}", terms.join(" "))
}

fn print_term(Term { coefficient, selector, measure, .. }: &Term) -> String {
    let measured = match measure {
        Measure::Increase
        | Measure::Samples
        | Measure::SamplesWhere(_)
        | Measure::Values
        | Measure::VmRange(_) => selector.to_string(),
        Measure::Histogram(HistogramMeasure::Count) => format!("count({selector})"),
        Measure::Histogram(HistogramMeasure::Sum) => format!("sum({selector})"),
        Measure::Histogram(HistogramMeasure::Within(Interval { lower, upper })) => {
            format!("within({lower}, {upper}, {selector})")
        }
    };
    format!("{coefficient:+}*{measured}")
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
}

#[test]
fn grouping() {
    check("sum by (z, a) (rate(a[5m]))", "+1*a by a,z");
    check("sum(rate(a[5m])) by (z, a, z)", "+1*a by a,z");
    check("sum by () (rate(a[5m]))", "+1*a");
    check("sum by (a, b) (rate(x[5m])) / sum(rate(y[5m])) by (b, a)", "+1*x by a,b / +1*y by a,b");
}

#[test]
fn ratios() {
    check("sum(rate(a[5m])) / sum(rate(b[5m]))", "+1*a / +1*b");
    check("(sum(rate(a[5m])) - sum(rate(b[5m]))) / sum(rate(c[5m]))", "+1*a -1*b / +1*c");
    check("1 - sum(rate(a[5m])) / sum(rate(b[5m]))", "1 - +1*a / +1*b");
    check("1 - (sum(rate(a[5m])) / sum(rate(b[5m])))", "1 - +1*a / +1*b");
    check("(1) - (1 - (sum(rate(a[5m])) / sum(rate(b[5m]))))", "+1*a / +1*b");
}

#[test]
fn or_zero_is_no_op() {
    check("sum(rate(a[5m])) or vector(0)", "+1*a");
    check("(sum(rate(a[5m])) OR on() vector(0)) / sum(rate(b[5m]))", "+1*a / +1*b");
    check("(sum(rate(a[5m])) or (vector((0)))) + (sum(rate(b[5m])) or vector(0))", "+1*a +1*b");
    check("sum(rate(a[5m]) or vector(0))", "+1*a");
}

#[test]
fn native_histograms() {
    check("histogram_count(sum(rate(h[5m])))", "+1*count(h)");
    check("sum(histogram_count(rate(h[5m])))", "+1*count(h)");
    check("(histogram_sum((sum by (b, a) (increase(h[5m])))))", "+1*sum(h) by a,b");
    check("sum by (a) (histogram_sum((rate(h[5m]))))", "+1*sum(h) by a");
    check("histogram_count(sum(rate(a[5m])) + sum(rate(b[5m])))", "+1*count(a) +1*count(b)");
    check("histogram_count(sum(rate(a[5m]))) - sum(rate(b[5m]))", "+1*count(a) -1*b");
    check("histogram_count(sum(rate(a[5m]))) or vector(0)", "+1*count(a)");
}

#[test]
fn fractions_of_native_histograms() {
    let fraction = "histogram_fraction(0, 0.3, sum by (a) (rate(h[5m])))";
    let count = "histogram_count(sum by (a) (rate(h[5m])))";
    check(fraction, "+1*within(0, 0.3, h) by a / +1*count(h) by a");
    check(&format!("1 - ({fraction})"), "1 - +1*within(0, 0.3, h) by a / +1*count(h) by a");
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

/// The mark `‸` stands in front of the refused token.
#[track_caller]
fn check_refused(marked: &str, expected: &str) {
    check_marked(marked, lower(&marked.replace('‸', "")).err(), expected);
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
    check_refused("sum(rate(a[5m] ‸offset 1h))", "offset is not supported");
    check_refused("sum(rate(a[5m] ‸@ 1609746000))", "@ is not supported");
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
    check_refused("sum(rate(sum[5m])) / ‸avg(rate(a[5m]))", "aggregation avg is not supported");
    check_refused("‸count by (sum) (rate(a[5m]))", "aggregation count");
    check_refused("‸topk(5, rate(a[5m]))", "aggregation topk");
    check_refused("sum ‸without (a) (rate(a[5m]))", "name them with by (…)");
    check_refused("sum(rate(a[5m])) ‸without (a)", "name them with by (…)");
    check_refused("sum(‸sum by (a) (rate(a[5m])))", "aggregation inside sum(…)");
    check_refused("sum(rate(a[5m]) ‸+ rate(b[5m]))", "operator inside sum(…)");
}

#[test]
fn refused_functions() {
    check_refused("sum(‸irate(a[5m]))", "use rate");
    check_refused("‸rate(a[5m])", "write sum(rate(…))");
    check_refused("sum(‸sum_over_time(a[5m]))", "function sum_over_time is not supported");
    check_refused("‸histogram_quantile(0.9, sum by (le) (rate(a_bucket[5m])))", "histogram_quantile");
    check_refused("sum(rate(a[5m])) / ‸vector(1)", "vector(0) only");
    check_refused("sum(rate(rate(a[5m])‸[5m:1m]))", "subqueries are not supported");
    check_refused("‸nosuch(a[5m])", "nosuch");
}

#[test]
fn refused_histogram_functions() {
    check_refused("histogram_count(‸rate(h[5m]))", "write sum(rate(…))");
    check_refused("histogram_count(‸h)", "h is not wrapped in rate(…)");
    check_refused("‸histogram_avg(sum(rate(h[5m])))", "function histogram_avg is not supported");
    check_refused("histogram_sum(‸histogram_count(sum(rate(h[5m]))))", "takes histograms, no counts");
    check_refused("sum(histogram_count(‸histogram_sum(rate(h[5m]))))", "function histogram_sum");
    check_refused("histogram_count(‸sum by (le) (rate(h_bucket[5m])))", "of classic buckets count the one");
    check_refused("histogram_count(sum(rate(h[5m] ‸offset 1h)))", "offset is not supported");
    check_refused("histogram_count(‸avg(rate(h[5m])))", "aggregation avg");
}

#[test]
fn refused_fractions() {
    check_refused("histogram_fraction(0, 0.3, ‸rate(h[5m]))", "gives one result per series");
    check_refused(
        "histogram_fraction(0, ‸scalar(x), sum(rate(h[5m])))",
        "bound of histogram_fraction must be",
    );
    check_refused("‸histogram_fraction(0.3, 0, sum(rate(h[5m])))", "nothing lies above 0.3 and up to 0");
    check_refused("‸histogram_fraction(0, NaN, sum(rate(h[5m])))", "nothing lies above 0 and up to NaN");
    check_refused(
        "‸histogram_fraction(0, 1, sum(rate(h[5m]))) / sum(rate(x[5m]))",
        "is a ratio, no event count",
    );
    check_refused("sum(‸histogram_fraction(0, 1, rate(h[5m])))", "multiply it by histogram_count(…)");
    check_refused(
        "histogram_fraction(0, 1, sum(rate(h[5m]))) ‸* histogram_count(sum(rate(g[5m])))",
        "the two sides of * take different histograms",
    );
    check_refused(
        "histogram_fraction(0, 1, sum(rate(h[5m]))) ‸* histogram_count(sum(rate(h[1m])))",
        "the two sides of * take different histograms",
    );
    check_refused("histogram_count(sum(rate(h[5m]))) ‸* 2", "remove the factor");
    check_refused("sum(histogram_count(rate(h[5m])) ‸* histogram_sum(rate(h[5m])))", "remove the factor");
    check_refused("sum(rate(a[5m]) ‸* 2)", "remove the factor");
    check_refused(
        "histogram_fraction(0, 1, sum(rate(h[5m]))) * ‸on (a) histogram_count(sum(rate(h[5m])))",
        "on (…) is not supported",
    );
}

#[test]
fn refused_operators() {
    check_refused("100 ‸* (sum(rate(a[5m])) / sum(rate(b[5m])))", "operator *");
    check_refused("sum(rate(a[5m])) / sum(rate(b[5m])) ‸> 0", "comparison >");
    check_refused("(sum(rate(a[5m])) ‸> 0) / sum(rate(b[5m]))", "comparison >");
    check_refused("sum(rate(a[5m])) / on (x) ‸group_left sum(rate(b[5m]))", "group_left is not supported");
    check_refused("sum(rate(a[5m])) / ‸on (x) sum(rate(b[5m]))", "on (…) is not supported");
    check_refused("sum(rate(a[5m])) + ‸ignoring (x) sum(rate(b[5m]))", "ignoring (…) is not supported");
    check_refused("sum(rate(a[5m])) ‸or vector(1)", "or vector(0) only");
    check_refused("sum(rate(a[5m])) ‸or on (a) vector(0)", "or vector(0) only");
    check_refused("sum(rate(a[5m])) ‸unless sum(rate(b[5m]))", "operator unless");
    check_refused("‸-sum(rate(a[5m]))", "unary -");
    check_refused("1 ‸- sum(rate(a[5m]))", "before a ratio only");
    check_refused("‸2 - sum(rate(a[5m]))", "number 2 counts no events");
    check_refused("(sum(rate(a[5m])) ‸/ sum(rate(b[5m]))) + sum(rate(c[5m]))", "top of a query only");
}

#[test]
fn refused_mixtures() {
    let message = "group by different labels: (x) and (); group both by the same";
    check_refused("sum by (x) (rate(a[5m])) ‸/ sum(rate(b[5m]))", message);
    check_refused("sum(rate(a[5m])) ‸/ sum(increase(b[5m]))", "different functions: rate and increase");
    check_refused("sum(rate(a[5m])) ‸/ sum(rate(b[1h]))", "different ranges: [5m] and [1h]");
    check_refused("sum(rate(a[5m])) ‸- sum(rate(b[1h]))", "the two sides of - have different ranges");
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
    check_refused(r#"sum(rate(a{b=~‸"(c"}[5m]))"#, "illegal regex for (c");
}

#[test]
fn a_huge_query_is_refused_and_does_not_overflow_the_stack() {
    for deep in [
        format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000)),
        vec!["a"; 100_000].join("+"),
        "-".repeat(1_000_000) + "a",
    ] {
        assert!(lower(&deep).unwrap_err().message.contains("more than 2000 tokens"));
    }
    assert!(lower(&format!("{}sum(rate(a[5m])){}", "(".repeat(900), ")".repeat(900))).is_ok());
    assert!(lower(&vec!["sum(rate(a[5m]))"; 150].join("+")).is_ok());
}
