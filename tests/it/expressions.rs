//! Expressions at moments, in Prometheus' own words: what `promtool` says of the same series.
//!
//! Debian's promtool is of the time before Prometheus 3, when ranges were closed to the left. So no sample lies
//! on the edge of a range: they are 13 s apart, and moments and ranges are such that none is hit.

use std::{collections::BTreeMap, fmt::Write, fs, process::Command, time::Duration};

use slod::{
    expression::{Expression, Sample, Samples, Vector},
    labels::{Labels, Selector},
    promql,
    testing::{parse_labels, parse_series},
    time::Timestamp,
};

const INTERVAL: Duration = Duration::from_secs(13);

const SERIES: &str = r#"
requests{job="api",code="200",pod="a"} 1000+13x60
requests{job="api",code="500",pod="a"} 50+1x20 0+2x39
requests{job="api",code="200",pod="b"} 700+7x30 _x20 910+3x9
requests{job="web",code="200",pod="c"} 9000+100x10 3+17x49
requests{job="web",code="500",pod="c"} _x30 400+4x10 stale
up{job="api",pod="a"} 1x60
up{job="api",pod="b"} 1x20 0x19 1x20
up{job="web",pod="c"} 1x30 stale
temperature{room="x"} 20.5-0.25x20 15.5+0.5x39
temperature{room="y"} 3 NaN 5 7 -2 8+1x55
temperature{room="z"} 1 Inf 4+0x58
down{job="api",pod="a"} 0x60
limit{job="api"} 2x60
limit{job="web"} 3.5x60
limit 5x60
latency_bucket{job="api",le="0.1"} 0+10x60
latency_bucket{job="api",le="0.5"} 0+20x60
latency_bucket{job="api",le="1.0"} 0+23x60
latency_bucket{job="api",le="+Inf"} 0+25x60
latency_bucket{job="web",le="0.1"} 0+1x60
latency_bucket{job="web",le="0.5"} 0+2x60
latency_bucket{job="web",le="1"} 0+3x60
latency_bucket{job="web",le="+Inf"} 0+3x60
latency_bucket{job="odd",le="1"} 0+3x60
latency_bucket{job="low",le="-1"} 0+3x60
latency_bucket{job="low",le="+Inf"} 0+6x60
"#;

// 10 min 7 s is 9 s behind a sample; 4 min 1 s is 7 s behind one.
const MOMENTS: [&str; 2] = ["10m7s", "4m1s"];

const EXPRESSIONS: &str = r#"
requests
requests{job="web"} offset 3m10s
requests{job!="web",code=~"2.."}
up offset 5m40s
temperature
rate(requests[5m])
rate(requests[101s])
rate(requests[2m] offset 2m)
increase(requests[3m])
irate(requests[2m])
delta(temperature[2m])
idelta(temperature[1m])
deriv(temperature[2m])
resets(requests[9m])
changes(up[9m])
changes(temperature[9m])
sum_over_time(temperature[3m])
avg_over_time(temperature[3m])
min_over_time(temperature[9m])
max_over_time(temperature[9m])
count_over_time(requests[5m])
last_over_time(requests[2m])
present_over_time(up[1m])
stddev_over_time(temperature[2m])
stdvar_over_time(temperature[2m])
quantile_over_time(0.9, temperature[3m])
quantile_over_time(-1, temperature[3m])
quantile_over_time(scalar(limit{job="api"}), temperature[3m])
absent(nothing)
absent(nothing{job="x",code!="y",a="1",a="2"})
absent(up)
absent(sum(nothing))
absent_over_time(nothing{job="x"}[5m])
absent_over_time(up[5m])
sum(rate(requests[5m]))
sum by (job) (rate(requests[5m]))
sum by (job, code) (rate(requests[5m]))
sum without (pod) (rate(requests[5m]))
sum without () (requests)
avg by (job) (requests)
min by (job) (requests)
max by (room) (temperature)
max(temperature)
min(temperature)
count(requests)
max(count by (__name__) ({__name__=~"up|limit"}))
group by (code) (requests)
stddev(requests)
stdvar by (job) (requests)
quantile(0.5, requests)
quantile by (job) (0.75, requests)
1 + 2 * 3 ^ 2 % 5
-up
- 2 ^ 2
1 - sum(rate(requests{code="500"}[5m])) / sum(rate(requests[5m]))
sum by (job) (rate(requests{code="500"}[5m])) / sum by (job) (rate(requests[5m]))
requests{code="500"} / ignoring (code) requests{code="200"}
requests{code="500"} / on (job, pod) requests{code="200"}
requests / 0
0 / (requests * 0)
requests % 7
requests ^ 0.5
requests > 1000
1000 < requests
requests > bool 1000
temperature == 4
temperature != bool 4
4 >= bool 4
temperature < temperature
sum by (job) (up) >= on (job) limit
sum by (job) (up) > bool on (job) limit
up and limit
up and on (job) limit{job="api"}
up unless on (job) limit{job="api"}
up{pod="a"} or up
up{pod="a"} or on (job) up
up{pod="a"} or ignoring (pod) up
sum(nothing) or vector(0)
sum(rate(nothing[5m])) or vector(7)
vector(1) or up
abs(temperature - 18)
ceil(temperature / 3)
floor(temperature / 3)
round(temperature / 3)
round(temperature / 3, 0.05)
sgn(temperature - 18)
sqrt(temperature)
exp(temperature / 10)
ln(temperature)
log2(temperature)
log10(temperature)
clamp(temperature, 5, 20)
clamp(temperature, 5, 4)
clamp_min(temperature, 12)
clamp_max(temperature, 12)
clamp_max(sum(nothing), 1)
scalar(limit{job="api"})
scalar(up)
vector(time())
timestamp(up)
timestamp(up + 0)
timestamp(requests offset 2m)
time() - timestamp(requests)
label_replace(up, "host", "$1-x", "pod", "(.*)")
label_replace(up, "pod", "", "pod", "a")
label_replace(up, "job", "other", "pod", "b.+")
label_join(up, "both", "/", "job", "nothing", "pod")
sum by (host) (label_replace(up, "host", "$1", "pod", "([ab])"))
sort(up)
sort_desc(up)
histogram_quantile(0.9, sum by (le) (rate(latency_bucket{job=~"api|web"}[5m])))
histogram_quantile(0.9, sum by (le, job) (rate(latency_bucket[5m])))
histogram_quantile(0.3, rate(latency_bucket[5m]))
histogram_quantile(0.99, rate(latency_bucket[5m]))
histogram_quantile(1.1, rate(latency_bucket[5m]))
histogram_quantile(0.5, up)
histogram_quantile(0.9, sum by (le) (rate(latency_bucket{job=~"api|web"}[2m]))) < bool 0.5
avg_over_time((sum(rate(requests{code="500"}[100s])) / sum(rate(requests[100s])) > bool 0.01)[3m:1m])
avg_over_time((up == bool 0)[3m:30s])
sum_over_time(up[3m:])
count_over_time((up == 0)[5m:20s])
max_over_time(rate(requests[100s])[2m:20s])
max_over_time(rate(requests[100s])[2m:20s] offset 1m)
last_over_time(requests[2m:30s])
rate(sum(requests)[3m:20s])
quantile_over_time(0.5, sum(temperature{room="x"})[3m:20s])
min_over_time(max_over_time(temperature{room="x"}[45s])[3m:50s])
count_over_time(vector(1)[3m:1m])
absent_over_time(sum(nothing)[3m:1m])
avg by (job) (max_over_time(up[1m]))
1 - (sum(increase(latency_bucket{job="api",le="0.5"}[5m])) / sum(increase(latency_bucket{job="api",le="+Inf"}[5m])))
"#;

/// The samples of series, each series under its labels.
struct Recorded(Vec<(Labels, Vec<Sample>)>);

impl Samples for Recorded {
    fn select<'a>(&'a self, selector: &Selector) -> impl Iterator<Item = (&'a Labels, &'a [Sample])> {
        let selected = self.0.iter().filter(move |(labels, _)| selector.matches(labels));
        selected.map(|(labels, samples)| (labels, samples.as_slice())).collect::<Vec<_>>().into_iter()
    }
}

impl Recorded {
    fn parse(series: &str) -> Self {
        let lines = series.lines().filter(|line| !line.is_empty());
        Self(
            lines
                .map(|line| parse_series(line).unwrap())
                .map(|line| (line.labels, samples(line.values)))
                .collect(),
        )
    }
}

fn samples(values: Vec<Option<f64>>) -> Vec<Sample> {
    let at = |n: usize| Timestamp::default() + INTERVAL * n as u32;
    values
        .into_iter()
        .enumerate()
        .filter_map(|(n, value)| Some(Sample { at: at(n), value: value? }))
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty())
}

/// What promtool says of each expression at each moment. An expression that selects nothing has no answer.
fn ask_promtool() -> BTreeMap<(String, String), Vec<(Labels, f64)>> {
    let directory = tempfile::tempdir().unwrap();
    let mut tests = String::from("tests:\n  - interval: 13s\n    input_series:\n");
    for line in lines(SERIES) {
        let (series, values) = line.split_once(' ').unwrap();
        writeln!(tests, "      - {{series: '{series}', values: '{values}'}}").unwrap();
    }
    tests.push_str("    promql_expr_test:\n");
    for (expression, moment) in lines(EXPRESSIONS).flat_map(|e| MOMENTS.map(|moment| (e, moment))) {
        let expression = expression.replace('\'', "''");
        writeln!(tests, "      - {{expr: '{expression}', eval_time: {moment}}}").unwrap();
    }
    let path = directory.path().join("test.yml");
    fs::write(&path, tests).unwrap();
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(&path)
        .output()
        .unwrap_or_else(|error| panic!("cannot run promtool ({error}); install it: make test-deps"));
    read_answers(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
}

/// No samples are expected, so that promtool complains of each it finds:
/// `expr: "x", time: 5m,` `exp: nil` `got: {a="b"} 1E+00, {} 2E+00`.
fn read_answers(said: &str) -> BTreeMap<(String, String), Vec<(Labels, f64)>> {
    let mut answers = BTreeMap::new();
    let mut asked = None;
    for line in said.lines().map(str::trim) {
        if let Some(question) = line.strip_prefix("expr: ") {
            let (expression, moment) = question.rsplit_once(", time: ").unwrap();
            let expression: String = serde_json::from_str(expression).unwrap();
            asked = Some((expression, moment.trim_end_matches(',').to_owned()));
        } else if let Some(got) = line.strip_prefix("got:") {
            answers.insert(asked.take().unwrap(), read_elements(got.trim()));
        }
    }
    assert!(!said.contains("err:"), "{said}");
    answers
}

fn read_elements(text: &str) -> Vec<(Labels, f64)> {
    let mut rest = text;
    let mut elements = Vec::new();
    while !rest.is_empty() {
        let (labels, after) = rest.split_at(rest.find("} ").unwrap() + 1);
        let (value, after) = after.trim_start().split_once(", ").unwrap_or((after.trim_start(), ""));
        let labels = if labels == "{}" { Labels::default() } else { parse_labels(labels).unwrap() };
        elements.push((labels, value.parse().unwrap()));
        rest = after;
    }
    elements
}

fn without_names(elements: Vec<(Labels, f64)>) -> Vector {
    sorted(elements.into_iter().map(|(labels, value)| (labels.leave_out(&[]), value)).collect())
}

fn sorted(mut elements: Vector) -> Vector {
    elements.sort_by(|a, b| a.0.cmp(&b.0));
    elements
}

fn is_same(ours: &Vector, theirs: &Vector) -> bool {
    let is_close =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * a.abs().max(b.abs());
    ours.len() == theirs.len()
        && ours.iter().zip(theirs).all(|(our, their)| our.0 == their.0 && is_close(our.1, their.1))
}

fn expression(text: &str) -> Expression {
    promql::expression(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn every_expression_is_what_prometheus_says() {
    let recorded = Recorded::parse(SERIES);
    let answers = ask_promtool();
    let (mut wrong, mut elements) = (String::new(), 0);
    for (text, moment) in lines(EXPRESSIONS).flat_map(|text| MOMENTS.map(|moment| (text, moment))) {
        let at = Timestamp::default() + slod::time::parse_duration(moment).unwrap();
        let ours = expression(text).evaluate(at, &recorded);
        let ours = sorted(ours.unwrap_or_else(|error| panic!("{text} at {moment}: {error}")));
        let theirs = answers.get(&(text.to_owned(), moment.to_owned())).cloned();
        let theirs = without_names(theirs.unwrap_or_default());
        elements += theirs.len();
        if !is_same(&ours, &theirs) {
            writeln!(wrong, "{text} at {moment}\n  ours:   {ours:?}\n  theirs: {theirs:?}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(elements > 2 * lines(EXPRESSIONS).count(), "only {elements} elements were compared");
}

#[track_caller]
fn check(text: &str, at_seconds: u64, expected: &str) {
    let at = Timestamp::default() + Duration::from_secs(at_seconds);
    let elements = expression(text).evaluate(at, &Recorded::parse(SERIES));
    let shown = match elements {
        Ok(elements) => {
            elements.iter().map(|(labels, value)| format!("{labels} {value}")).collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(shown, expected, "{text} at {at_seconds} s");
}

#[test]
fn ranges_are_open_to_the_left() {
    check("count_over_time(limit{job=\"api\"}[26s])", 130, r#"{job="api"} 2"#);
    check("count_over_time(limit{job=\"api\"}[26s])", 131, r#"{job="api"} 2"#);
    check("count_over_time(vector(1)[2m:1m])", 120, "{} 2");
    check("count_over_time(vector(1)[2m:1m])", 121, "{} 2");
    // Its last sample was 780 s after the start.
    check("up{pod=\"a\"}", 1_079, r#"{job="api",pod="a"} 1"#);
    check("up{pod=\"a\"}", 1_080, "");
}

#[test]
fn a_staleness_marker_ends_a_series() {
    check("up{pod=\"c\"}", 402, r#"{job="web",pod="c"} 1"#);
    check("up{pod=\"c\"}", 403, "");
    check("count_over_time(up{pod=\"c\"}[30s])", 403, r#"{job="web",pod="c"} 2"#);
}

#[test]
fn what_cannot_be_told_apart_is_an_error() {
    let error = "several elements have the labels";
    check(
        "limit * on () limit{job=\"api\"}",
        60,
        &format!("error: {error} {{}}; aggregate them, or match on more labels"),
    );
    check(
        "limit{job=\"api\"} * on () limit",
        60,
        &format!("error: {error} {{}}; aggregate them, or match on more labels"),
    );
    let both = r#"{job="api",pod="a"}"#;
    check(
        "{__name__=~\"up|down\"}",
        60,
        &format!("error: {error} {both}; aggregate them, or match on more labels"),
    );
    check(
        "label_replace(up, \"pod\", \"x\", \"\", \"\")",
        60,
        &format!("error: {error} {{job=\"api\",pod=\"x\"}}; aggregate them, or match on more labels"),
    );
}
