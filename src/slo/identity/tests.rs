//! Golden identities, and random indicators that differ in one thing or in nothing.

use proptest::prelude::*;

use super::*;
use crate::{
    expression::{Aggregation, Function, Operator, OverTime},
    slo::{Objective, SloId, Target, ThresholdOp},
};

fn slo(indicator: Indicator, budgeting: Budgeting) -> Slo {
    let objective = Objective::rolling(Target::new(0.99).unwrap(), Duration::from_secs(86_400));
    Slo {
        id: SloId { service: "shop".into(), name: "orders".into() },
        description: String::new(),
        labels: Default::default(),
        annotations: Default::default(),
        objective: Objective { budgeting, ..objective },
        indicator,
        alerts: Vec::new(),
        state_alerts: Vec::new(),
        inhibits: true,
    }
}

// === golden ===

/// `metric`, or `metric{name op value}` with a matcher more.
fn select(metric: &str, more: Option<(&str, MatchOp, &str)>) -> Selector {
    let more = more.map(|(name, op, value)| Matcher::new(name, op, value).unwrap());
    Selector { matchers: std::iter::once(Matcher::equal("__name__", metric)).chain(more).collect() }
}

fn term_of(coefficient: f64, measure: Measure, selector: Selector) -> Term {
    Term { coefficient, selector, measure, replaces: Vec::new() }
}

fn counted(bad: Vec<Term>, total: Vec<Term>, group_by: Grouping) -> Indicator {
    Indicator::Counted(Counted { bad, total, group_by })
}

fn sampled(question: Question<Expression>) -> Indicator {
    Indicator::Sampled(Sampled { question, step: Duration::from_secs(60) })
}

fn pulled(question: Question<&str>, is_grouped: bool) -> Indicator {
    let question = question.map(str::to_owned);
    Indicator::Pulled(Pulled { question, step: Duration::from_millis(1_500), is_grouped })
}

fn requests() -> Vec<Indicator> {
    let errors = select("requests_total", Some(("code", MatchOp::Regex, "5..")));
    let bad = term_of(1.0, Measure::Increase, errors);
    let total = || term_of(1.0, Measure::Increase, select("requests_total", None));
    let replace = Replace {
        label: "zone".into(),
        replacement: "$1-\"x\"".into(),
        source: Matcher::new("pod", MatchOp::Regex, "(.*)-.*").unwrap(),
    };
    let replaced = Term { replaces: vec![replace], ..total() };
    let utf8 =
        Selector { matchers: vec![Matcher::new("http.code", MatchOp::NotEqual, "a\"},b=\\\n").unwrap()] };
    vec![
        counted(vec![bad], vec![total()], Grouping::by(["zone", "job"])),
        counted(
            vec![total(), term_of(-0.5, Measure::Increase, utf8)],
            vec![replaced],
            Grouping::without(["pod"]),
        ),
        counted(Vec::new(), vec![total()], Grouping::none()),
    ]
}

fn measures() -> Vec<Indicator> {
    let interval = Interval { lower: f64::NEG_INFINITY, upper: 0.25 };
    let measures = [
        Measure::Samples,
        Measure::SamplesWhere(Threshold { op: ThresholdOp::GreaterOrEqual, bound: 2.5 }),
        Measure::Values,
        Measure::VmRange(interval),
        Measure::Histogram(HistogramMeasure::Count),
        Measure::Histogram(HistogramMeasure::Sum),
        Measure::Histogram(HistogramMeasure::Within(interval)),
    ];
    let of = |measure| counted(Vec::new(), vec![term_of(1.0, measure, select("x", None))], Grouping::none());
    measures.into_iter().map(of).collect()
}

fn series(metric: &str) -> Expression {
    Expression::Latest(select(metric, None), Duration::ZERO)
}

fn over(of: Source) -> Span {
    Span { of, range: Duration::from_secs(300), offset: Duration::from_secs(60) }
}

fn questions() -> Vec<Indicator> {
    let rate = Expression::OverTime(OverTime::Rate, over(Source::Series(select("x", None))));
    let by = Labeling::Only(vec!["le".into()]);
    let sum = Expression::Aggregate(Aggregation::Sum, by, Box::new(rate));
    let p99 = Expression::Call(Function::HistogramQuantile, vec![Expression::Number(0.99), sum]);
    let steps = over(Source::Steps(Box::new(series("x")), Duration::from_secs(60)));
    let compared = Expression::Binary(Box::new(Binary {
        operator: Operator::Greater,
        is_bool: true,
        matching: Labeling::AllBut(vec!["pod".into()]),
        left: Expression::QuantileOverTime(Box::new(Expression::Number(0.5)), steps),
        right: Expression::Negative(Box::new(Expression::Time)),
    }));
    let source = Matcher::new("pod", MatchOp::Regex, "(.*)").unwrap();
    let replace = LabelReplace { label: "p".into(), replacement: "$1".into(), source };
    let replaced = Expression::LabelReplace(Box::new(series("x")), Box::new(replace));
    let join = LabelJoin { label: "p".into(), separator: "-".into(), sources: vec!["a".into(), "b".into()] };
    let joined = Expression::LabelJoin(Box::new(series("x")), join);
    let quantile = Expression::Quantile(
        Box::new(Expression::Number(-0.0)),
        Labeling::AllBut(Vec::new()),
        Box::new(Expression::Latest(select("x", None), Duration::from_secs(3_600))),
    );
    vec![
        sampled(Question::Condition(p99, Threshold { op: ThresholdOp::Less, bound: 0.5 })),
        sampled(Question::BadRatio(compared)),
        sampled(Question::GoodRatio(quantile)),
        sampled(Question::Events { bad: replaced, total: joined }),
        pulled(Question::BadRatio("sum(rate(x{a=\"b\"}[5m]))"), true),
        pulled(Question::Events { bad: "a, b", total: "c" }, false),
    ]
}

/// Should this change, all that is kept on disk of such SLOs would be lost with the next version.
#[test]
fn identities_stay_as_they_are() {
    let asked = requests().into_iter().chain(measures()).chain(questions());
    let slice = Duration::from_secs(60);
    let budgets = [Budgeting::Timeslices { slice, target: 0.95 }, Budgeting::RatioTimeslices { slice }];
    let slos = asked.map(|indicator| slo(indicator, Budgeting::Occurrences));
    let others = budgets.map(|budgeting| slo(measures().remove(0), budgeting));
    let identities: Vec<String> = slos.chain(others).map(|slo| slo.identity()).collect();
    insta::assert_snapshot!(identities.join("\n"));
}

// === equal if and only if ===

// Few of each, and such that quotes and commas matter: by chance many are equal, and many nearly so.
fn texts() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "a\"", "a, b", "a\", \"b", "0", ")"]).prop_map(str::to_owned)
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(texts(), 0..3)
}

fn numbers() -> impl Strategy<Value = f64> {
    prop::sample::select(vec![0.0, -0.0, 1.0, -1.0, 0.1, 1e30, f64::INFINITY, f64::NEG_INFINITY])
}

fn durations() -> impl Strategy<Value = Duration> {
    prop::sample::select(vec![0, 1, 60_000_000_000, 60_000_000_001, 90_000_000_000])
        .prop_map(Duration::from_nanos)
}

fn matchers() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let value = prop::sample::select(vec!["", "a", "a\",b=\"a", "1", "1.0"]);
    (texts(), op, value).prop_map(|(name, op, value)| Matcher::new(&name, op, value).unwrap())
}

fn selectors() -> impl Strategy<Value = Selector> {
    prop::collection::vec(matchers(), 0..3).prop_map(|matchers| Selector { matchers })
}

fn thresholds() -> impl Strategy<Value = Threshold> {
    (prop::sample::select(ThresholdOp::ALL.to_vec()), numbers())
        .prop_map(|(op, bound)| Threshold { op, bound })
}

fn measure_strategy() -> impl Strategy<Value = Measure> {
    let interval = || (numbers(), numbers()).prop_map(|(lower, upper)| Interval { lower, upper });
    prop_oneof![
        Just(Measure::Increase),
        Just(Measure::Samples),
        thresholds().prop_map(Measure::SamplesWhere),
        Just(Measure::Values),
        interval().prop_map(Measure::VmRange),
        Just(Measure::Histogram(HistogramMeasure::Count)),
        Just(Measure::Histogram(HistogramMeasure::Sum)),
        interval().prop_map(|interval| Measure::Histogram(HistogramMeasure::Within(interval))),
    ]
}

fn replaces() -> impl Strategy<Value = Replace> {
    (texts(), texts(), matchers()).prop_map(|(label, replacement, source)| Replace {
        label,
        replacement,
        source,
    })
}

fn term_strategy() -> impl Strategy<Value = Vec<Term>> {
    let replaces = prop::collection::vec(replaces(), 0..2);
    let term = (numbers(), selectors(), measure_strategy(), replaces).prop_map(
        |(coefficient, selector, measure, replaces)| Term { coefficient, selector, measure, replaces },
    );
    prop::collection::vec(term, 0..3)
}

fn groupings() -> impl Strategy<Value = Grouping> {
    prop_oneof![names().prop_map(Grouping::By), names().prop_map(Grouping::Without)]
}

fn labelings() -> impl Strategy<Value = Labeling> {
    prop_oneof![names().prop_map(Labeling::Only), names().prop_map(Labeling::AllBut)]
}

fn expressions() -> impl Strategy<Value = Expression> {
    let leaf = prop_oneof![
        numbers().prop_map(Expression::Number),
        Just(Expression::Time),
        (selectors(), durations()).prop_map(|(selector, offset)| Expression::Latest(selector, offset)),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let source = prop_oneof![
            selectors().prop_map(Source::Series),
            (boxed(), durations()).prop_map(|(of, step)| Source::Steps(of, step)),
        ];
        let spans =
            (source, durations(), durations()).prop_map(|(of, range, offset)| Span { of, range, offset });
        let spans = spans.boxed();
        let function = prop::sample::select(Function::ALL.to_vec());
        let replace = (texts(), texts(), matchers())
            .prop_map(|(label, replacement, source)| Box::new(LabelReplace { label, replacement, source }));
        let join = (texts(), texts(), names()).prop_map(|(label, separator, sources)| LabelJoin {
            label,
            separator,
            sources,
        });
        let binary = (
            prop::sample::select(Operator::ALL.to_vec()),
            any::<bool>(),
            labelings(),
            inner.clone(),
            inner.clone(),
        );
        prop_oneof![
            (prop::sample::select(OverTime::ALL.to_vec()), spans.clone())
                .prop_map(|(function, span)| Expression::OverTime(function, span)),
            (boxed(), spans).prop_map(|(of, span)| Expression::QuantileOverTime(of, span)),
            (function, prop::collection::vec(inner.clone(), 0..3))
                .prop_map(|(function, arguments)| Expression::Call(function, arguments)),
            (boxed(), replace).prop_map(|(of, replace)| Expression::LabelReplace(of, replace)),
            (boxed(), join).prop_map(|(of, join)| Expression::LabelJoin(of, join)),
            (prop::sample::select(Aggregation::ALL.to_vec()), labelings(), boxed())
                .prop_map(|(aggregation, labeling, of)| Expression::Aggregate(aggregation, labeling, of)),
            (boxed(), labelings(), boxed()).prop_map(|(q, by, of)| Expression::Quantile(q, by, of)),
            boxed().prop_map(Expression::Negative),
            binary.prop_map(|(operator, is_bool, matching, left, right)| {
                Expression::Binary(Box::new(Binary { operator, is_bool, matching, left, right }))
            }),
        ]
    })
}

fn question_strategy<E: Clone + std::fmt::Debug + 'static>(
    of: impl Strategy<Value = E> + Clone + 'static,
) -> impl Strategy<Value = Question<E>> {
    prop_oneof![
        of.clone().prop_map(Question::BadRatio),
        of.clone().prop_map(Question::GoodRatio),
        (of.clone(), thresholds()).prop_map(|(of, good)| Question::Condition(of, good)),
        (of.clone(), of).prop_map(|(bad, total)| Question::Events { bad, total }),
    ]
}

fn indicators() -> impl Strategy<Value = Indicator> {
    let counted = (term_strategy(), term_strategy(), groupings())
        .prop_map(|(bad, total, group_by)| Indicator::Counted(Counted { bad, total, group_by }));
    let sampled = (question_strategy(expressions().boxed()), durations())
        .prop_map(|(question, step)| Indicator::Sampled(Sampled { question, step }));
    let pulled = (question_strategy(texts().boxed()), durations(), any::<bool>())
        .prop_map(|(question, step, is_grouped)| Indicator::Pulled(Pulled { question, step, is_grouped }));
    prop_oneof![counted, sampled, pulled]
}

/// So small that many are the same.
fn one_term() -> impl Strategy<Value = Indicator> {
    (measure_strategy(), matchers(), prop::option::of(replaces())).prop_map(|(measure, matcher, replace)| {
        let selector = Selector { matchers: vec![matcher] };
        let term = Term { replaces: replace.into_iter().collect(), ..term_of(1.0, measure, selector) };
        counted(Vec::new(), vec![term], Grouping::none())
    })
}

fn budgets() -> impl Strategy<Value = Budgeting> {
    prop_oneof![
        Just(Budgeting::Occurrences),
        (durations(), numbers()).prop_map(|(slice, target)| Budgeting::Timeslices { slice, target }),
        durations().prop_map(|slice| Budgeting::RatioTimeslices { slice }),
    ]
}

#[track_caller]
fn check(one: &Slo, other: &Slo) {
    let (identity, others) = (one.identity(), other.identity());
    assert_eq!(identity == others, one.has_history_of(other), "{identity}\n{others}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn identities_are_equal_if_and_only_if_what_is_asked_is(
        indicators in prop::collection::vec(indicators(), 6),
        terms in prop::collection::vec(one_term(), 6),
        budgets in prop::collection::vec(budgets(), 2),
    ) {
        let slos: Vec<Slo> = indicators.into_iter().chain(terms).zip(budgets.into_iter().cycle())
            .map(|(indicator, budgeting)| slo(indicator, budgeting))
            .collect();
        slos.iter().for_each(|one| slos.iter().for_each(|other| check(one, other)));
    }
}
