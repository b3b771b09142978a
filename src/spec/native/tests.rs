//! What is written reads back as it was, and the schema knows what the reader knows.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use proptest::prelude::*;
use serde_json::Value;

use super::{fields, schema, yaml};
use crate::{
    labels::{METRIC_NAME, MatchOp, Matcher, Selector},
    slo::{
        Budgeting, BurnRateAlert, Cause, Counted, DataStatus, Grouping, HistogramMeasure, Indicator,
        Interval, Measure, Objective, Replace, Slo, SloId, StateAlert, Target, Term, Threshold, ThresholdOp,
        TimeWindow, workbook_alerts,
    },
    spec::{self, Diagnostic, Settings, Specs},
    time::{Calendar, CalendarUnit},
};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// With a Prometheus to ask.
fn settings() -> Settings {
    Settings { pull_interval: Some(Duration::from_secs(60)), ..Settings::default() }
}

// === fixtures ===

fn read_file(path: &Path) -> Specs {
    spec::read_all([("", fs::read_to_string(path).unwrap())], &settings())
}

/// The fixtures of all formats, in the order of their names.
fn fixtures() -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> =
        glob::glob("tests/testdata/specs/*/*.yaml").unwrap().map(Result::unwrap).collect();
    found.sort();
    assert!(found.len() >= 3, "fixtures are missing: {found:?}");
    found
}

#[test]
fn fixtures_of_all_formats_are_written_as_native_ones() {
    for path in fixtures() {
        let specs = read_file(&path);
        let errors: Vec<&Diagnostic> = specs.diagnostics.iter().filter(|found| found.is_error()).collect();
        assert!(errors.is_empty() && !specs.slos.is_empty(), "{}: {errors:?}", path.display());
        let written = specs.slos.iter().map(|slo| format!("---\n{}", yaml(slo, &settings()).unwrap()));
        let name = path.strip_prefix("tests/testdata/specs").unwrap().with_extension("");
        insta::assert_snapshot!(name.to_str().unwrap().replace('/', "_"), written.collect::<String>());
    }
}

#[test]
fn what_no_words_are_for_is_told() {
    let mut slo = slo_of(Indicator::Counted(Counted {
        bad: vec![term(1.0, "queue", Measure::SamplesWhere(LESS))],
        total: vec![term(1.0, "queue", Measure::Samples)],
        group_by: Grouping::none(),
    }));
    let message = |slo: &Slo| yaml(slo, &settings()).unwrap_err().to_string();
    assert_eq!(message(&slo), "cannot be written in the native format: PromQL has no sum of what it counts");
    slo.indicator = counter("a");
    slo.labels.insert("window".to_owned(), "x".to_owned());
    assert_eq!(
        message(&slo),
        "cannot be written in the native format: label window is slod's own; choose another name"
    );
}

// === schema ===

const SCHEMA_FILE: &str = "config/slo.schema.json";

#[test]
fn the_schema_is_fresh() {
    let found = fs::read_to_string(SCHEMA_FILE).unwrap_or_default();
    assert!(found == format!("{:#}\n", schema()), "{SCHEMA_FILE} is stale; `make schema` writes it anew");
}

#[test]
fn the_reader_knows_the_fields_of_the_schema() {
    let schema = schema();
    let mut properties = BTreeMap::from([("", names(&schema["properties"]))]);
    let definitions = schema["$defs"].as_object().unwrap();
    properties
        .extend(definitions.iter().map(|(name, definition)| (&**name, names(&definition["properties"]))));
    properties.retain(|_, names| !names.is_empty());
    let known = [
        ("", fields::ROOT.as_slice()),
        ("Alerting", &fields::ALERTING),
        ("BudgetAlert", &fields::BUDGET_ALERT),
        ("BurnRateAlert", &fields::ALERT),
        ("Calendar", &fields::CALENDAR),
        ("Metadata", &fields::METADATA),
        ("NoDataAlert", &fields::NO_DATA_ALERT),
        ("Objective", &fields::OBJECTIVE),
        ("Slice", &fields::SLICE),
        ("Sli", &fields::SLI),
        ("Spec", &fields::SPEC),
        ("Threshold", &fields::THRESHOLD),
    ];
    let known = known.map(|(name, fields)| {
        let mut fields: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        fields.sort();
        (name, fields)
    });
    assert_eq!(properties, BTreeMap::from(known));
}

fn names(properties: &Value) -> Vec<String> {
    let mut names: Vec<String> =
        properties.as_object().into_iter().flatten().map(|(n, _)| n.clone()).collect();
    names.sort();
    names
}

/// The first thing in each document that does not fit the schema.
fn misfits(text: &str) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    assert!(!documents.is_empty());
    let first = |document: &Value| validator.iter_errors(document).next().map(|error| error.to_string());
    documents.iter().filter_map(first).collect()
}

#[test]
fn native_specs_fit_the_schema() {
    let native = fixtures().into_iter().filter(|path| path.parent().unwrap().ends_with("native"));
    for path in native.chain(["config/demo-slos.yaml".into()]) {
        let misfits = misfits(&fs::read_to_string(&path).unwrap());
        assert!(misfits.is_empty(), "{}: {misfits:?}", path.display());
    }
    for path in fixtures() {
        for slo in read_file(&path).slos {
            let written = yaml(&slo, &settings()).unwrap();
            assert_eq!(misfits(&written), [""; 0], "{written}");
        }
    }
}

#[test]
fn what_the_reader_refuses_does_not_fit_the_schema() {
    const GOOD: &str = "apiVersion: slod.dev/v1\nkind: ServiceLevelObjective\n\
                        metadata: {name: a, service: b}\nspec:\n  \
                        sli: {bad: 'sum(rate(c[5m]))', total: 'sum(rate(d[5m]))'}\n  \
                        objective: {target: 99.9, window: 30d}\n";
    assert_eq!(misfits(GOOD), [""; 0]);
    for (from, to) in [
        ("slod.dev/v1", "slod.dev/v2"),
        ("kind: Service", "kind: Level"),
        ("name: a", "nam: a"),
        ("name: a", "name: ''"),
        ("service: b", "labels: {1a: b}"),
        ("bad:", "good: x, bad:"),
        ("bad:", "type: speed, bad:"),
        ("bad:", "query: x, step: fast, bad:"),
        ("99.9", "0.999"),
        ("99.9", "100.5"),
        ("99.9", "99 per cent"),
        ("window: 30d", "windows: []"),
        ("30d", "30 days"),
        ("30d", "{calendar: decade}"),
        ("30d", "{calendar: day, zone: UTC}"),
        ("30d", "30d, budgeting: Slices"),
    ] {
        let bad = GOOD.replacen(from, to, 1);
        assert_eq!(misfits(&bad).len(), 1, "{bad}");
        assert!(spec::read("", &bad).has_errors(), "{bad}");
    }
}

// === any SLO ===

const LESS: Threshold = Threshold { op: ThresholdOp::Less, bound: 0.5 };

fn selector(name: &str) -> Selector {
    let job = Matcher::new("job", MatchOp::Regex, r#"a"b\\.c"#).unwrap();
    Selector { matchers: vec![Matcher::equal(METRIC_NAME, name), job] }
}

fn term(coefficient: f64, name: &str, measure: Measure) -> Term {
    Term { coefficient, selector: selector(name), measure, replaces: Vec::new() }
}

fn counter(name: &str) -> Indicator {
    let terms = |name| vec![term(1.0, name, Measure::Increase)];
    Indicator::Counted(Counted { bad: terms(name), total: terms("all"), group_by: Grouping::none() })
}

fn slo_of(indicator: Indicator) -> Slo {
    let objective = Objective::rolling(Target::new(0.99).unwrap(), DAY * 30);
    let alerts = workbook_alerts(objective.period(), objective.budgeting);
    Slo {
        id: SloId { service: "a".to_owned(), name: "b".to_owned() },
        description: String::new(),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        objective,
        indicator,
        alerts,
        state_alerts: Vec::new(),
        inhibits: true,
    }
}

fn any_measure() -> impl Strategy<Value = Measure> {
    let bounds =
        (prop_oneof![Just(f64::NEG_INFINITY), -5.0..0.0], prop_oneof![Just(f64::INFINITY), 0.001..5.0]);
    prop_oneof![
        4 => Just(Measure::Increase),
        1 => Just(Measure::Samples),
        1 => Just(Measure::Values),
        1 => Just(Measure::Histogram(HistogramMeasure::Count)),
        1 => Just(Measure::Histogram(HistogramMeasure::Sum)),
        1 => bounds.prop_map(|(lower, upper)| {
            Measure::Histogram(HistogramMeasure::Within(Interval { lower, upper }))
        }),
    ]
}

fn any_replaces() -> impl Strategy<Value = Vec<Replace>> {
    let replace =
        ("[a-d]", "[a-d]", prop_oneof![Just("$1"), Just(""), Just("x\"y")]).prop_map(|(to, from, new)| {
            let source = Matcher::new(&from, MatchOp::Regex, r"(.*)-\d+").unwrap();
            Replace { label: to, replacement: new.to_owned(), source }
        });
    prop_oneof![3 => Just(Vec::new()), 1 => proptest::collection::vec(replace, 1..3)]
}

/// Terms of distinct metrics: those of the same would be added up.
fn any_terms(prefix: &'static str) -> impl Strategy<Value = Vec<Term>> {
    let coefficient = prop_oneof![4 => Just(1.0), 2 => Just(-1.0), 1 => -3.0..-0.001, 1 => 0.001..1e6];
    let any = (coefficient, any_measure(), any_replaces());
    proptest::collection::vec(any, 1..4).prop_map(move |terms| {
        let terms = terms.into_iter().enumerate().map(|(number, (coefficient, measure, replaces))| Term {
            replaces,
            ..term(coefficient, &format!("{prefix}{number}"), measure)
        });
        terms.collect()
    })
}

fn any_grouping() -> impl Strategy<Value = Grouping> {
    let names = proptest::collection::vec("[e-h]", 0..3);
    (any::<bool>(), names).prop_map(
        |(is_by, names)| {
            if is_by { Grouping::by(names) } else { Grouping::without(names) }
        },
    )
}

fn any_indicator() -> impl Strategy<Value = Indicator> {
    let sums = (any_terms("bad"), any_terms("all"), any_grouping(), any::<bool>());
    let sums = sums.prop_map(|(bad, total, group_by, is_rest)| {
        let bad = if is_rest { total.iter().cloned().chain(bad).collect() } else { bad };
        Counted { bad, total, group_by }
    });
    let threshold = (-1e9..1e9, 0..4usize, proptest::collection::vec("[e-h]", 0..2));
    let threshold = threshold.prop_map(|(bound, op, names)| {
        let all = term(1.0, "queue", Measure::Samples);
        let good = Measure::SamplesWhere(Threshold { op: ThresholdOp::ALL[op], bound });
        let bad = vec![all.clone(), term(-1.0, "queue", good)];
        Counted { bad, total: vec![all], group_by: Grouping::by(names) }
    });
    let share = (0.001..10.0, any_grouping(), any::<bool>()).prop_map(|(upper, group_by, is_bad)| {
        let within = |sign, upper| {
            term(sign, "h_bucket", Measure::VmRange(Interval { lower: f64::NEG_INFINITY, upper }))
        };
        let total = vec![within(1.0, f64::INFINITY)];
        let bad = if is_bad { vec![within(1.0, upper)] } else { vec![total[0].clone(), within(-1.0, upper)] };
        // The label of the buckets is none of a group.
        let group_by = match group_by {
            Grouping::Without(names) => Grouping::without(names.into_iter().chain(["vmrange".to_owned()])),
            by => by,
        };
        Counted { bad, total, group_by }
    });
    prop_oneof![4 => sums, 1 => threshold, 1 => share].prop_map(Indicator::Counted)
}

fn any_objective() -> impl Strategy<Value = Objective> {
    let target = prop_oneof![0.0001..0.9999, Just(0.999), Just(0.95)];
    // No whole weeks: `3w` is the label of three weeks of a calendar, too.
    let rolling = (7..90u32)
        .prop_filter("whole weeks", |days| days % 7 != 0)
        .prop_map(|days| TimeWindow::Rolling(DAY * days));
    let calendar = (0..5usize, any::<bool>(), 1..5u16).prop_map(|(unit, is_utc, count)| {
        let zone = if is_utc { "UTC" } else { "Asia/Kolkata" };
        let calendar = Calendar::new(CalendarUnit::ALL[unit], zone).unwrap();
        let start = "2024-02-29 07:30:00";
        TimeWindow::Calendar(if count > 1 { calendar.starting(start, count).unwrap() } else { calendar })
    });
    let minute = Duration::from_secs(60);
    let budgeting = prop_oneof![
        2 => Just(Budgeting::Occurrences),
        1 => (0.01..1.0).prop_map(move |target| Budgeting::Timeslices { slice: minute, target }),
        1 => Just(Budgeting::RatioTimeslices { slice: minute }),
    ];
    let several = (rolling.clone(), calendar).prop_map(|(rolling, calendar)| vec![rolling, calendar]);
    let windows = prop_oneof![rolling.prop_map(|window| vec![window]), several];
    (target, windows, budgeting).prop_map(|(target, windows, budgeting)| Objective {
        target: Target::new(target).unwrap(),
        windows,
        budgeting,
    })
}

fn any_texts() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-z]{1,8}x", any_text(), 0..3)
}

/// Texts with no broken template among them.
fn any_annotations() -> impl Strategy<Value = BTreeMap<String, String>> {
    let is_whole = |text: &String| crate::template::check(text).is_ok();
    any_texts().prop_filter("templates", move |texts| texts.values().all(is_whole))
}

/// What YAML might take for something else, too.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{1,12}",
        "\\PC{1,8}",
        Just("true".to_owned()),
        Just("1.0".to_owned()),
        Just("a\nb: |\n".to_owned())
    ]
    .prop_map(|text| format!("x{text}"))
}

fn any_alert() -> impl Strategy<Value = BurnRateAlert> {
    let windows = (1..48u32, any::<bool>());
    let times = (0..3u64, 0..3u64);
    let least = (0..9u32, 0..3u32);
    let name = proptest::option::of(any_text());
    ("[a-z]{1,5}", name, windows, 0.01..100.0, times, least, any_texts(), any_annotations()).prop_map(
        |(severity, name, (hours, is_usual), factor, times, least, labels, annotations)| BurnRateAlert {
            name,
            severity,
            short: if is_usual { HOUR * hours / 12 } else { HOUR * hours / 2 },
            long: HOUR * hours,
            factor,
            for_: Duration::from_millis(times.0 * 1_500),
            keep_firing_for: Duration::from_secs(times.1 * 100),
            min_bad_events: f64::from(least.0) / 2.0,
            min_total_events: f64::from(least.1) * 100.0,
            labels,
            annotations,
        },
    )
}

fn any_alerts() -> impl Strategy<Value = Option<Vec<BurnRateAlert>>> {
    let alerts = proptest::collection::vec(any_alert(), 0..4).prop_map(|mut alerts| {
        // They would be one series.
        alerts.sort_by_key(|alert| (alert.severity.clone(), alert.short, alert.long));
        alerts.dedup_by_key(|alert| (alert.severity.clone(), alert.short, alert.long));
        alerts
    });
    proptest::option::of(alerts)
}

/// Those of budgets before those of data, as they are written.
fn any_state_alerts() -> impl Strategy<Value = Vec<StateAlert>> {
    let share = || (1..100u32).prop_map(|percent| f64::from(percent) / 100.0);
    let hours = || (1..72u32).prop_map(|hours| HOUR * hours);
    let budget = prop_oneof![
        share().prop_map(Cause::RemainingBelow),
        Just(Cause::Exhausted),
        hours().prop_map(Cause::ExhaustedWithin),
        (share(), hours()).prop_map(|(share, within)| Cause::DroppedBy { share, within }),
    ];
    let no_data = proptest::sample::subsequence(DataStatus::ALL[1..].to_vec(), 1..=5).prop_map(Cause::NoData);
    let alert = |(severity, cause, seconds, labels): (String, Cause, u64, _)| StateAlert {
        name: None,
        severity,
        cause,
        for_: Duration::from_secs(seconds),
        keep_firing_for: Duration::from_secs(seconds / 2),
        labels,
        annotations: BTreeMap::new(),
    };
    let alerts = move |cause: BoxedStrategy<Cause>, severity: &'static str| {
        let alert = (severity.prop_map(String::from), cause, 0..600u64, any_texts()).prop_map(alert);
        proptest::option::of(alert)
    };
    (alerts(budget.boxed(), "[a-z]{1,5}"), alerts(no_data.boxed(), "[a-z]{1,5}"))
        .prop_map(|(budget, no_data)| budget.into_iter().chain(no_data).collect())
}

prop_compose! {
    fn any_slo()(
        indicator in any_indicator(), objective in any_objective(), alerts in any_alerts(),
        name in "[a-z0-9.-]{1,9}", description in prop_oneof![Just(String::new()), any_text()],
        labels in any_texts(), annotations in any_annotations(),
        state_alerts in any_state_alerts(), inhibits in any::<bool>(),
    ) -> Slo {
        let workbook = || workbook_alerts(objective.period(), objective.budgeting);
        let id = SloId { service: "1".to_owned(), name };
        let alerts = alerts.unwrap_or_else(workbook);
        Slo {
            id, description, labels, annotations, objective, indicator, alerts, state_alerts, inhibits,
        }
    }
}

proptest! {
    /// [`yaml`] itself compares.
    #[test]
    fn any_slo_is_read_back_as_it_was(slo in any_slo()) {
        yaml(&slo, &settings()).map_err(|error| TestCaseError::fail(error.to_string()))?;
    }
}
