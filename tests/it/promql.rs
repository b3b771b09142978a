//! Compiled SLIs beside a Prometheus that is asked the same: random expressions over random series.
//!
//! Both get the same samples. Prometheus evaluates the SLI's ratio at one moment with the window as its range;
//! slod has counted all along. They differ in what lies at the ends of the window, which `rate` extrapolates and slod
//! counts by the sample: per series by at most what it gains in one scrape, or one sample of a gauge. So the bound
//! of each comparison follows from its data; it comes to a percent or two of the ratio.

use std::{cell::RefCell, collections::BTreeMap, fs, net::SocketAddr, process::Command, time::Duration};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::Value;
use slod::{
    labels::{Labels, LabelsRef},
    promql::{Asked, Settings, compile},
    slo::{Counted, Indicator, Measure, Objective, Slo, SloId, Target, Term},
    testing::{Sent, World, encode},
    time::Timestamp,
};
use tempfile::TempDir;

use crate::support::{Process, answers, cases, free_address, http, wait_until, write_headers};

const SCRAPE: Duration = Duration::from_secs(15);
/// An hour and five minutes, the last of which lies behind the question.
const SCRAPES: usize = 260;
const WINDOW: Duration = Duration::from_secs(3_600);
/// Samples do not lie on the edges of windows, which Prometheus 2 and 3 treat differently.
const OFFSET: Duration = Duration::from_secs(7);
const CASES: u32 = 60;

/// What stands for the prefix of metric names, and for the window.
const PREFIX: &str = "M_";
const RANGE: &str = "[W]";

/// Decisions, taken one after the other.
struct Tape {
    choices: Vec<u8>,
    next: usize,
}

/// An SLI as its author may write it.
#[derive(Clone, Debug)]
enum Sli {
    BadOfTotal(String, String),
    GoodOfTotal(String, String),
    BadRatio(String),
    GoodRatio(String),
}

#[test]
fn compiled_plans_say_what_prometheus_says() {
    let prometheus = Prometheus::receiver();
    let number = RefCell::new(0_u32);
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(cases(CASES), rng);
    let any =
        (proptest::collection::vec(any::<u8>(), 64), proptest::collection::vec(0u8..50, SERIES * SCRAPES));
    let shapes = RefCell::new(BTreeMap::new());
    let outcome = runner.run(&any, |(choices, gains)| {
        *number.borrow_mut() += 1;
        let prefix = format!("m{}_", number.borrow());
        let sli = Sli::any(&mut Tape { choices, next: 0 });
        let groups = check(&prometheus, &prefix, &sli, &gains)?;
        *shapes.borrow_mut().entry(groups > 1).or_insert(0) += 1;
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    // Both kinds were met.
    assert_eq!(shapes.borrow().len(), 2, "{:?}", shapes.borrow());
}

/// Compares every group's ratio. Returns how many groups there are.
fn check(prometheus: &Prometheus, prefix: &str, sli: &Sli, gains: &[u8]) -> Result<usize, TestCaseError> {
    let end = Timestamp(1_700_000_040_000).floor(WINDOW);
    let samples = samples(prefix, end, gains);
    let body = encode(&samples);
    let answer = http(prometheus.address, "POST /api/v1/write HTTP/1.1", &write_headers(), &body);
    prop_assert_eq!(answer.status, 204, "{}", answer.body);

    let texts = sli.named(prefix);
    let compiled = compile(texts.asked(), Settings::default())
        .map_err(|refusal| TestCaseError::fail(format!("{refusal} at {}: {sli:?}", refusal.error.offset)))?;
    let Indicator::Counted(counted) = &compiled.indicator else {
        return Err(TestCaseError::fail(format!("not counted: {sli:?}\n{:?}", compiled.doubts)));
    };
    let found = counted_ratios(&compiled.indicator, &samples, end);
    let expected = prometheus.vector(&texts.ratio(), end.seconds());
    let mut compared = 0;
    for (labels, ratio) in &expected {
        let ratio = ratio.clamp(0.0, 1.0);
        if ratio.is_nan() {
            continue;
        }
        let bound = bound(counted, labels, &samples, end, ratio);
        let counted = found.get(labels).copied();
        let differs = counted.is_none_or(|counted| (counted - ratio).abs() > bound);
        prop_assert!(
            !differs,
            "{sli:?}\n{labels}: counted {counted:?}, Prometheus {ratio}, bound {bound}\n{:?}",
            found.keys()
        );
        compared += 1;
    }
    prop_assert!(compared > 0, "nothing to compare: {sli:?}\n{found:?}");
    Ok(compared)
}

/// The error ratio of every group over the window.
fn counted_ratios(indicator: &Indicator, samples: &[Sent], end: Timestamp) -> BTreeMap<Labels, f64> {
    let slo = Slo {
        id: SloId { service: "s".into(), name: "n".into() },
        description: String::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        objective: Objective::rolling(Target::new(0.99).unwrap(), WINDOW),
        indicator: indicator.clone(),
        alerts: Vec::new(),
        state_alerts: Vec::new(),
        inhibits: true,
    };
    let start = samples[0].at;
    let mut world = World::immediate(vec![slo], Duration::from_secs(1), start);
    for scrape in samples.chunk_by(|a, b| a.at == b.at) {
        world.send(scrape, scrape[0].at).unwrap();
        if scrape[0].at <= end {
            world.tick(scrape[0].at);
        }
    }
    let report = world.tick(end).snapshot();
    let is_group = |role| !matches!(role, slod::matching::Role::RollUp);
    let instances = report.slos.iter().filter(|slo| is_group(slo.role));
    instances.map(|slo| (slo.group.clone(), slo.windows[0].error_ratio)).collect()
}

/// How far the two may be apart: one scrape of each series, in the numerator and in the denominator.
fn bound(counted: &Counted, group: &Labels, samples: &[Sent], end: Timestamp, ratio: f64) -> f64 {
    let mut series: BTreeMap<&Labels, Vec<f64>> = BTreeMap::new();
    for sent in samples.iter().filter(|sent| sent.at <= end && sent.at > end - WINDOW - SCRAPE) {
        series.entry(&sent.labels).or_default().push(sent.value);
    }
    let sum = |terms: &[Term]| -> (f64, f64) {
        let mut all = (0.0, 0.0);
        for term in terms {
            for (labels, values) in series.iter().filter(|(labels, _)| term.selector.matches(**labels)) {
                if group_of(counted, term, labels) == *group {
                    let (gain, most) = gain(term.measure, values);
                    all.0 += term.coefficient * gain;
                    all.1 += term.coefficient.abs() * most;
                }
            }
        }
        all
    };
    let ((_, bad_edge), (total, total_edge)) = (sum(&counted.bad), sum(&counted.total));
    1e-9 + (bad_edge + ratio * total_edge) / (total - total_edge).max(1e-9)
}

fn gain(measure: Measure, values: &[f64]) -> (f64, f64) {
    match measure {
        Measure::Increase => {
            let gains = values.windows(2).map(|pair| pair[1] - pair[0]);
            (gains.clone().sum(), gains.fold(0.0, f64::max))
        }
        Measure::Samples => (values.len() as f64, 1.0),
        _ => (values.iter().sum(), values.iter().copied().fold(0.0, f64::max)),
    }
}

fn group_of(counted: &Counted, term: &Term, labels: &Labels) -> Labels {
    let mut owned: Vec<(String, String)> = labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    for replace in &term.replaces {
        replace.apply(&mut owned);
    }
    let mut pairs: Vec<(&str, &str)> = owned.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    counted.group_by.of(LabelsRef::new(&mut pairs).unwrap())
}

// === Prometheus ===

/// One that takes write requests and is asked.
struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _directory: TempDir,
}

impl Prometheus {
    fn receiver() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("prometheus.yml");
        // A case begins before the one before ended.
        fs::write(&config, "storage: {tsdb: {out_of_order_time_window: 3h}}\n").unwrap();
        let address = free_address();
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--web.enable-remote-write-receiver");
        let process = Process::start(&mut command, directory.path().join("log"));
        wait_until("Prometheus is ready", || answers(address, "/-/ready"));
        Self { address, _process: process, _directory: directory }
    }

    /// What a query is at a moment, without metric names.
    fn vector(&self, query: &str, at_seconds: f64) -> Vec<(Labels, f64)> {
        let encode = |byte: u8| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        let body = format!("time={at_seconds}&query={}", query.bytes().map(encode).collect::<String>());
        let headers = ["Content-Type: application/x-www-form-urlencoded"];
        let answer = http(self.address, "POST /api/v1/query HTTP/1.0", &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{query}: {}", answer.body);
        let answer: Value = serde_json::from_str(&answer.body).unwrap();
        let element = |element: &Value| {
            let labels = element["metric"].as_object().unwrap();
            let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap()));
            let labels = Labels::new(pairs.filter(|(name, _)| *name != "__name__")).unwrap();
            (labels, element["value"][1].as_str().unwrap().parse().unwrap())
        };
        answer["data"]["result"].as_array().unwrap().iter().map(element).collect()
    }
}

// === series ===

const ROUTES: [&str; 2] = ["/pay", "/browse"];
const ZONES: [&str; 2] = ["east", "west"];
const CODES: [&str; 3] = ["200", "404", "500"];
const BOUNDS: [&str; 3] = ["0.1", "0.5", "+Inf"];
/// Two counters with codes, one histogram with its count, and a gauge, each by route and zone.
const SERIES: usize = 4 * (2 * CODES.len() + BOUNDS.len() + 1);

/// All samples, scrape by scrape.
fn samples(prefix: &str, end: Timestamp, gains: &[u8]) -> Vec<Sent> {
    let first = end - SCRAPE * (SCRAPES as u32 - 20) + OFFSET;
    let mut values = BTreeMap::new();
    let mut gains = gains.iter().copied();
    let mut samples = Vec::new();
    for scrape in 0..SCRAPES as u32 {
        let at = first + SCRAPE * scrape;
        for (route, zone) in ROUTES.iter().flat_map(|route| ZONES.iter().map(move |zone| (*route, *zone))) {
            let mut push = |name: &str, label: Option<(&str, &str)>, gain: f64, is_gauge: bool| {
                let name = format!("{prefix}{name}");
                let common =
                    [("__name__", name.as_str()), ("route", route), ("zone", zone), ("instance", "i")];
                let labels = Labels::new(common.into_iter().chain(label)).unwrap();
                let value: &mut f64 = values.entry(labels.clone()).or_insert(1_000.0);
                *value = if is_gauge { gain } else { *value + gain };
                samples.push(Sent { labels, at, value: *value });
            };
            for name in ["a_total", "b_total"] {
                for code in CODES {
                    push(name, Some(("code", code)), f64::from(gains.next().unwrap()), false);
                }
            }
            let mut below = 0.0;
            for bound in BOUNDS {
                below += f64::from(gains.next().unwrap());
                push("h_bucket", Some(("le", bound)), below, false);
            }
            push("h_count", None, below, false);
            push("up", None, f64::from(gains.next().unwrap() % 2), true);
        }
    }
    samples
}

// === expressions ===

/// The groups that all sums of an expression have.
const GROUPS: [&str; 5] =
    ["", "by (route)", "by (route, zone)", "without (instance, code, le)", "without (code, le, zone)"];

impl Tape {
    fn pick(&mut self, among: usize) -> usize {
        let choice = self.choices.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(choice) % among
    }

    fn one_of(&mut self, among: &[&str]) -> String {
        among[self.pick(among.len())].to_owned()
    }
}

impl Sli {
    fn any(tape: &mut Tape) -> Self {
        let group = tape.one_of(&GROUPS);
        let total = total(tape, &group);
        let part = part(tape, &group);
        match tape.pick(6) {
            0 => Self::BadOfTotal(part, total),
            1 => Self::GoodOfTotal(part, total),
            2 => Self::BadRatio(ratio(tape, &group, &part, &total)),
            3 => Self::GoodRatio(ratio(tape, &group, &part, &total)),
            4 => Self::GoodRatio(format!("1 - ({})", ratio(tape, &group, &part, &total))),
            _ => gauge(tape, &group),
        }
    }

    fn named(&self, prefix: &str) -> Self {
        let text = |text: &String| text.replace(PREFIX, prefix).replace(RANGE, "[1h]");
        match self {
            Self::BadOfTotal(one, other) => Self::BadOfTotal(text(one), text(other)),
            Self::GoodOfTotal(one, other) => Self::GoodOfTotal(text(one), text(other)),
            Self::BadRatio(one) => Self::BadRatio(text(one)),
            Self::GoodRatio(one) => Self::GoodRatio(text(one)),
        }
    }

    fn asked(&self) -> Asked<'_> {
        match self {
            Self::BadOfTotal(one, other) => Asked::BadOfTotal(one, other),
            Self::GoodOfTotal(one, other) => Asked::GoodOfTotal(one, other),
            Self::BadRatio(one) => Asked::BadRatio(one),
            Self::GoodRatio(one) => Asked::GoodRatio(one),
        }
    }

    /// The ratio of bad events, as PromQL.
    fn ratio(&self) -> String {
        match self {
            Self::BadOfTotal(bad, total) => format!("({bad}) / ({total})"),
            Self::GoodOfTotal(good, total) => format!("1 - ({good}) / ({total})"),
            Self::BadRatio(ratio) => ratio.clone(),
            Self::GoodRatio(ratio) => format!("1 - ({ratio})"),
        }
    }
}

/// A sum of some growth.
fn sum(tape: &mut Tape, group: &str, series: &str) -> String {
    let series = series.replace(' ', "");
    match tape.pick(5) {
        2 if group.starts_with("without") => format!("sum(sum {group} (rate({series}{RANGE}))) {group}"),
        0 => format!("sum {group} (rate({series}{RANGE}))"),
        1 => format!("sum(rate({series}{RANGE})) {group}"),
        2 => format!("sum {group} (sum by (route, zone, instance, code) (rate({series}{RANGE})))"),
        3 => format!("(sum {group} (rate({series}{RANGE}) * 2) / 2)"),
        _ => format!("sum {group} (sum without (code) (rate({series}{RANGE})))"),
    }
}

fn total(tape: &mut Tape, group: &str) -> String {
    let one = sum(tape, group, "M_a_total");
    match tape.pick(5) {
        0 => format!("{one} + {}", sum(tape, group, "M_b_total")),
        1 => format!("({one} > 0)"),
        2 => format!("clamp_min({one}, 0)"),
        3 => format!("{one} + 3 * {}", sum(tape, group, "M_h_count")),
        _ => one,
    }
}

/// Something smaller than any total.
fn part(tape: &mut Tape, group: &str) -> String {
    let matcher = tape.one_of(&[
        r#"{code="500"}"#,
        r#"{code=~"4..|5.."}"#,
        r#"{code!="200"}"#,
        r#"{code!~"5..",zone="east"}"#,
    ]);
    let one = sum(tape, group, &format!("M_a_total{matcher}"));
    let slow =
        format!("({} - {})", sum(tape, group, "M_h_count"), sum(tape, group, r#"M_h_bucket{le="0.5"}"#));
    match tape.pick(6) {
        0 => format!("0.5 * {one}"),
        1 => format!("{one} + 0.1 * {slow}"),
        2 if group.is_empty() => format!("({one} or vector(0))"),
        3 => format!("({one} - -{slow} / 10)"),
        4 => format!("0.25 * {slow}"),
        _ => one,
    }
}

fn ratio(tape: &mut Tape, group: &str, part: &str, total: &str) -> String {
    let meet = match group {
        "by (route)" => tape.one_of(&["", "on (route)", "ignoring (code)"]),
        "by (route, zone)" => tape.one_of(&["", "on (zone, route)", "ignoring (le)"]),
        _ => String::new(),
    };
    let ratio = format!("({part}) / {meet} ({total})");
    match tape.pick(5) {
        0 => format!("clamp_max({ratio}, 1)"),
        1 => format!("({ratio}) * 0.5 + 0.25"),
        2 if group == "by (route)" => {
            format!(r#"label_replace({ratio}, "path", "p$1", "route", "/(.*)")"#)
        }
        3 => format!("{ratio} - 0.1 * ({part}) / ({total})"),
        _ => ratio,
    }
}

/// A gauge of ones and zeros.
fn gauge(tape: &mut Tape, group: &str) -> Sli {
    match tape.pick(4) {
        0 => Sli::GoodRatio(format!("avg_over_time(M_up{RANGE})")),
        1 => Sli::GoodRatio(format!("avg {group} (avg_over_time(M_up{RANGE}))")),
        2 => Sli::BadOfTotal(
            format!("sum {group} (count_over_time(M_up{RANGE}) - sum_over_time(M_up{RANGE}))"),
            format!("sum {group} (count_over_time(M_up{RANGE}))"),
        ),
        _ => Sli::BadRatio(format!(
            "1 - sum {group} (sum_over_time(M_up{RANGE})) / sum {group} (count_over_time(M_up{RANGE}))"
        )),
    }
}
