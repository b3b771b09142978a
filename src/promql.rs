//! PromQL, as far as it says which counters to add up.
//!
//! A query of an SLO is read with the parser of the `promql-parser` crate and lowered to sums of
//! counters and native histograms, and ratios of two sums; a gauge is a lone selector. What a streaming evaluator cannot
//! answer is refused with a position, the reason and the way out. This module does not know what an SLO is.
//!
//! Invariant: a lowered query means what Prometheus would compute for it, up to the window: slod
//! brings its own windows, so a range is only checked for being the same everywhere.

use std::{fmt, time::Duration};

use promql_parser::{
    label,
    parser::{
        self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, VectorSelector,
        token::{
            T_ADD, T_AT, T_DIV, T_GROUP_LEFT, T_GROUP_RIGHT, T_IGNORING, T_LEFT_BRACKET, T_LOR, T_MUL,
            T_OFFSET, T_ON, T_SUB, T_SUM, T_WITHOUT, TokenId,
        },
    },
};

use crate::{
    labels::{METRIC_NAME, MatchOp, Matcher, Selector},
    slo::{Grouping, HistogramMeasure, Interval, Measure, Term},
    time::format_duration,
};

mod compile;
mod histograms;
mod tokens;

pub use compile::{Asked, Compiled, Doubt, Refusal, Settings, compile};

use histograms::HistogramFunction;
use tokens::Tokens;

/// A query that a streaming evaluator can answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Lowered {
    /// A number of events.
    Sum(Sum),
    /// One number of events over another.
    Ratio(Ratio),
}

/// A sum over another, or what it lacks to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// Above the line.
    pub numerator: Sum,
    /// Below the line.
    pub denominator: Sum,
    /// Whether the query is `1 - numerator / denominator`.
    pub complement: bool,
}

/// What series gained, added up, each with a coefficient.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    /// What is added up.
    pub terms: Vec<Term>,
    /// What splits the sum.
    pub group_by: Grouping,
    /// The function on every series.
    pub function: Function,
    /// The range of every series.
    pub range: Duration,
}

/// A function from a counter's samples to its growth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Growth per second.
    Rate,
    /// Growth.
    Increase,
}

/// A query that is no PromQL, or that a streaming evaluator cannot answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Where in the query's text, in bytes.
    pub offset: usize,
    /// What is not supported, why, and the way out.
    pub message: String,
}

/// Parses and lowers a query.
///
/// ```
/// # use slod::promql::{Lowered, lower};
/// let query = r#"sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m]))"#;
/// assert!(matches!(lower(query), Ok(Lowered::Ratio(_))));
///
/// let error = lower("avg(rate(http_requests_total[5m]))").unwrap_err();
/// assert_eq!(error.offset, 0);
/// assert_eq!(error.to_string(), "aggregation avg is not supported; count events with sum(rate(…))");
/// ```
///
/// # Errors
/// When the text is no PromQL, or not of the accepted subset.
pub fn lower(text: &str) -> Result<Lowered, Error> {
    parse(text, lower_query)
}

/// Parses a selector that stands alone, as for a gauge.
///
/// ```
/// # use slod::promql::selector;
/// assert_eq!(selector(r#"queue_length{job="mail"}"#)?.to_string(), r#"queue_length{job="mail"}"#);
/// assert_eq!(selector("queue_length[5m]").unwrap_err().offset, "queue_length".len());
/// # Ok::<(), slod::promql::Error>(())
/// ```
///
/// # Errors
/// When the text is no PromQL, or more than a selector that names a metric.
pub fn selector(text: &str) -> Result<Selector, Error> {
    parse(text, lower_lone_selector)
}

fn parse<T>(text: &str, lower: impl Fn(&Expr) -> Result<T, Refused<'_>>) -> Result<T, Error> {
    let tokens = Tokens::lex(text)?;
    let root = parser::parse(text).map_err(|message| tokens.syntax_error(&message))?;
    lower(&root).map_err(|refused| Error { offset: tokens.locate(&root, &refused), message: refused.message })
}

/// A node of the syntax tree that cannot be lowered. It learns its position only when reported.
struct Refused<'e> {
    node: &'e Expr,
    spot: Spot,
    message: String,
}

/// What of a node is refused.
#[derive(Clone, Copy)]
enum Spot {
    /// All of it.
    Itself,
    /// The first token of this kind after the node's own.
    Token(TokenId),
    /// The value of the selector's n-th matcher.
    MatcherValue(usize),
}

fn refuse<'e, T>(node: &'e Expr, message: impl Into<String>) -> Result<T, Refused<'e>> {
    refuse_at(node, Spot::Itself, message)
}

fn refuse_at<'e, T>(node: &'e Expr, spot: Spot, message: impl Into<String>) -> Result<T, Refused<'e>> {
    Err(Refused { node, spot, message: message.into() })
}

fn lower_query(expr: &Expr) -> Result<Lowered, Refused<'_>> {
    let expr = peel(expr)?;
    match expr {
        Expr::Binary(binary) if binary.op.id() == T_DIV => lower_ratio(expr, binary).map(Lowered::Ratio),
        Expr::Binary(binary) if binary.op.id() == T_SUB && is_number(&binary.lhs, 1.0) => {
            lower_complement(expr, &binary.rhs).map(Lowered::Ratio)
        }
        Expr::Call(call) if HistogramFunction::of(call) == Some(HistogramFunction::Fraction) => {
            histograms::lower_fraction(expr, call).map(Lowered::Ratio)
        }
        _ => lower_sum(expr).map(Lowered::Sum),
    }
}

fn lower_ratio<'e>(expr: &'e Expr, binary: &'e BinaryExpr) -> Result<Ratio, Refused<'e>> {
    refuse_modifiers(expr, binary)?;
    let numerator = lower_sum(&binary.lhs)?;
    let denominator = lower_sum(&binary.rhs)?;
    match numerator.difference(&denominator) {
        Some(difference) => refuse(expr, format!("the two sides of / {difference}")),
        None => Ok(Ratio { numerator, denominator, complement: false }),
    }
}

fn lower_complement<'e>(expr: &'e Expr, subtrahend: &'e Expr) -> Result<Ratio, Refused<'e>> {
    match lower_query(subtrahend)? {
        Lowered::Ratio(ratio) => Ok(Ratio { complement: !ratio.complement, ..ratio }),
        Lowered::Sum(_) => refuse(expr, "1 - … is supported before a ratio only: 1 - sum(…) / sum(…)"),
    }
}

fn lower_sum(expr: &Expr) -> Result<Sum, Refused<'_>> {
    let expr = peel(expr)?;
    match expr {
        Expr::Aggregate(aggregate) => lower_aggregate(expr, aggregate),
        Expr::Binary(binary) if matches!(binary.op.id(), T_ADD | T_SUB) => add(expr, binary),
        Expr::Binary(binary) if binary.op.id() == T_MUL => histograms::lower_product(expr, binary),
        Expr::Binary(binary) => refuse(expr, operator_reason(binary)),
        Expr::Call(call) if function(call).is_some() => {
            refuse(expr, format!("{0}(…) gives one result per series; write sum({0}(…))", call.func.name))
        }
        Expr::Call(call) => match HistogramFunction::of(call) {
            Some(function) => histograms::lower_call(expr, call, function),
            None => refuse(expr, operand_reason(expr)),
        },
        _ => refuse(expr, operand_reason(expr)),
    }
}

fn add<'e>(expr: &'e Expr, binary: &'e BinaryExpr) -> Result<Sum, Refused<'e>> {
    refuse_modifiers(expr, binary)?;
    let mut sum = lower_sum(&binary.lhs)?;
    let other = lower_sum(&binary.rhs)?;
    if let Some(difference) = sum.difference(&other) {
        return refuse(expr, format!("the two sides of {} {difference}", binary.op));
    }
    let sign = if binary.op.id() == T_SUB { -1.0 } else { 1.0 };
    sum.terms
        .extend(other.terms.into_iter().map(|term| Term { coefficient: sign * term.coefficient, ..term }));
    Ok(sum)
}

fn lower_aggregate<'e>(expr: &'e Expr, aggregate: &'e AggregateExpr) -> Result<Sum, Refused<'e>> {
    if aggregate.op.id() != T_SUM {
        let message =
            format!("aggregation {} is not supported; count events with sum(rate(…))", aggregate.op);
        return refuse(expr, message);
    }
    let group_by = match &aggregate.modifier {
        None => Grouping::none(),
        Some(LabelModifier::Include(labels)) => Grouping::by(labels.labels.iter().cloned()),
        Some(LabelModifier::Exclude(_)) => {
            let message = "without (…) leaves the group labels open; name them with by (…)";
            return refuse_at(expr, Spot::Token(T_WITHOUT), message);
        }
    };
    let (series, measure) = lower_summand(&aggregate.expr)?;
    let Series { function, range, selector } = series;
    Ok(Sum {
        terms: vec![Term { coefficient: 1.0, selector, measure, replaces: Vec::new() }],
        group_by,
        function,
        range,
    })
}

/// The growth of selected series, each by itself.
#[derive(PartialEq)]
struct Series {
    function: Function,
    range: Duration,
    selector: Selector,
}

/// The argument of `sum`.
fn lower_summand(expr: &Expr) -> Result<(Series, Measure), Refused<'_>> {
    let expr = peel(expr)?;
    match expr {
        Expr::Call(call) => match HistogramFunction::of(call) {
            Some(function) => histograms::lower_series_call(expr, call, function),
            None => Ok((lower_series(expr)?, Measure::Increase)),
        },
        Expr::Binary(binary) if binary.op.id() == T_MUL => histograms::lower_series_product(expr, binary),
        _ => Ok((lower_series(expr)?, Measure::Increase)),
    }
}

/// The argument of `sum` when it is no histogram function.
fn lower_series(expr: &Expr) -> Result<Series, Refused<'_>> {
    let expr = peel(expr)?;
    match expr {
        Expr::Call(call) => match function(call) {
            Some(function) => lower_range(function, &call.args.args[0]),
            None => refuse(expr, function_reason(call)),
        },
        Expr::Aggregate(_) => {
            refuse(expr, "an aggregation inside sum(…) is not supported; use one sum(rate(…))")
        }
        Expr::Binary(_) => refuse(
            expr,
            "an operator inside sum(…) is not supported; operate on sums: sum(rate(…)) + sum(rate(…))",
        ),
        _ => refuse(expr, operand_reason(expr)),
    }
}

fn lower_range(function: Function, argument: &Expr) -> Result<Series, Refused<'_>> {
    let argument = without_parentheses(argument);
    match argument {
        Expr::MatrixSelector(matrix) => {
            let selector = lower_selector(argument, &matrix.vs)?;
            let range = nonzero_range(argument, matrix)?;
            Ok(Series { function, range, selector })
        }
        _ => refuse(argument, operand_reason(argument)),
    }
}

fn nonzero_range<'e>(expr: &'e Expr, matrix: &MatrixSelector) -> Result<Duration, Refused<'e>> {
    if matrix.range.is_zero() {
        return refuse_at(expr, Spot::Token(T_LEFT_BRACKET), "range [0s] is empty; write one like [5m]");
    }
    Ok(matrix.range)
}

fn lower_lone_selector(expr: &Expr) -> Result<Selector, Refused<'_>> {
    let expr = without_parentheses(expr);
    match expr {
        Expr::VectorSelector(vector) => lower_selector(expr, vector),
        Expr::MatrixSelector(_) => {
            let message = "a range is not supported here: every sample counts by itself; remove it";
            refuse_at(expr, Spot::Token(T_LEFT_BRACKET), message)
        }
        _ => refuse(expr, "only a selector is supported here, such as queue_length{job=\"mail\"}"),
    }
}

fn lower_selector<'e>(expr: &'e Expr, vector: &VectorSelector) -> Result<Selector, Refused<'e>> {
    if vector.offset.is_some() {
        let message = "offset is not supported: slod counts samples as they arrive; remove it";
        return refuse_at(expr, Spot::Token(T_OFFSET), message);
    }
    if vector.at.is_some() {
        let message = "@ is not supported: slod counts samples as they arrive; remove it";
        return refuse_at(expr, Spot::Token(T_AT), message);
    }
    if !vector.matchers.or_matchers.is_empty() {
        return refuse(
            expr,
            "or between matchers is not supported; use a regular expression or a sum of two sums",
        );
    }
    let mut matchers = lower_matchers(expr, &vector.matchers.matchers)?;
    matchers.splice(0..0, vector.name.as_deref().map(|name| Matcher::equal(METRIC_NAME, name)));
    // Stable: the conditions on the name first, the others as written.
    matchers.sort_by_key(|matcher| matcher.name() != METRIC_NAME);
    if !matchers.iter().any(|matcher| matcher.name() == METRIC_NAME && !matcher.matches("")) {
        return refuse(expr, "a selector without a metric name would match every metric; name one");
    }
    Ok(Selector { matchers })
}

fn lower_matchers<'e>(expr: &'e Expr, matchers: &[label::Matcher]) -> Result<Vec<Matcher>, Refused<'e>> {
    matchers
        .iter()
        .enumerate()
        .map(|(index, matcher)| {
            Matcher::new(&matcher.name, match_op(&matcher.op), &matcher.value)
                .or_else(|error| refuse_at(expr, Spot::MatcherValue(index), error.to_string()))
        })
        .collect()
}

fn match_op(op: &label::MatchOp) -> MatchOp {
    match op {
        label::MatchOp::Equal => MatchOp::Equal,
        label::MatchOp::NotEqual => MatchOp::NotEqual,
        label::MatchOp::Re(_) => MatchOp::Regex,
        label::MatchOp::NotRe(_) => MatchOp::NotRegex,
    }
}

fn function(call: &Call) -> Option<Function> {
    match call.func.name {
        "rate" => Some(Function::Rate),
        "increase" => Some(Function::Increase),
        _ => None,
    }
}

/// The expression inside parentheses and `… or vector(0)`, which a counter that is zero until its
/// first increment does not need.
fn peel(expr: &Expr) -> Result<&Expr, Refused<'_>> {
    match expr {
        Expr::Paren(paren) => peel(&paren.expr),
        Expr::Binary(binary) if binary.op.id() == T_LOR => {
            if is_or_zero(binary) {
                peel(&binary.lhs)
            } else {
                refuse(expr, "or is supported in … or vector(0) only: slod itself tells zero from no traffic")
            }
        }
        _ => Ok(expr),
    }
}

fn without_parentheses(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => without_parentheses(&paren.expr),
        _ => expr,
    }
}

/// `or vector(0)` and `or on() vector(0)`.
fn is_or_zero(binary: &BinaryExpr) -> bool {
    let on_nothing = binary
        .modifier
        .as_ref()
        .and_then(|modifier| modifier.matching.as_ref())
        .is_none_or(|matching| matching.is_include() && matching.labels().is_empty());
    on_nothing && is_vector_zero(&binary.rhs)
}

fn is_vector_zero(expr: &Expr) -> bool {
    match without_parentheses(expr) {
        Expr::Call(call) => call.func.name == "vector" && is_number(&call.args.args[0], 0.0),
        _ => false,
    }
}

fn is_number(expr: &Expr, number: f64) -> bool {
    matches!(without_parentheses(expr), Expr::NumberLiteral(literal) if literal.val == number)
}

/// Both sides have the same group labels, so a one-to-one match on them needs no words.
fn refuse_modifiers<'e>(expr: &'e Expr, binary: &BinaryExpr) -> Result<(), Refused<'e>> {
    let Some(modifier) = &binary.modifier else { return Ok(()) };
    let (token, word) = match (&modifier.card, &modifier.matching) {
        (parser::VectorMatchCardinality::ManyToOne(_), _) => (T_GROUP_LEFT, "group_left"),
        (parser::VectorMatchCardinality::OneToMany(_), _) => (T_GROUP_RIGHT, "group_right"),
        (_, Some(LabelModifier::Include(_))) => (T_ON, "on (…)"),
        (_, Some(LabelModifier::Exclude(_))) => (T_IGNORING, "ignoring (…)"),
        (_, None) => return Ok(()),
    };
    let message = format!("{word} is not supported; group both sides by the same labels and remove it");
    refuse_at(expr, Spot::Token(token), message)
}

fn operator_reason(binary: &BinaryExpr) -> String {
    match binary.op.id() {
        T_DIV => "a ratio is supported at the top of a query only: sum(…) / sum(…)".to_owned(),
        T_MUL => {
            "operator * is supported in histogram_fraction(…) * histogram_count(…) only: an SLI is a ratio of \
             event counts; remove the factor"
                .to_owned()
        }
        _ if binary.op.is_comparison_operator() => {
            format!(
                "comparison {} is not supported: slod itself tells zero from no traffic; remove it",
                binary.op
            )
        }
        _ => format!(
            "operator {} is not supported; use + and - between sums, / between the two sides",
            binary.op
        ),
    }
}

fn function_reason(call: &Call) -> String {
    let name = call.func.name;
    match name {
        "irate" => "function irate sees only the last two samples of a range; use rate".to_owned(),
        "histogram_quantile" => {
            "function histogram_quantile gives no event count; count events up to the limit: \
             sum(rate(…_bucket{le=\"0.3\"}[5m])) / sum(rate(…_count[5m])), or of a native histogram \
             histogram_fraction(0, 0.3, sum(rate(…[5m])))"
                .to_owned()
        }
        "vector" => "function vector is supported in … or vector(0) only".to_owned(),
        _ => format!("function {name} is not supported; count events with sum(rate(…)) or sum(increase(…))"),
    }
}

/// Why this is no sum, and no argument of one.
fn operand_reason(expr: &Expr) -> String {
    match expr {
        Expr::Call(call) => function_reason(call),
        Expr::VectorSelector(vector) => {
            let name = vector.name.as_deref().unwrap_or("{…}");
            format!("{name} is not wrapped in rate(…); count its events with sum(rate({name}[5m]))")
        }
        Expr::MatrixSelector(matrix) => {
            let name = matrix.vs.name.as_deref().unwrap_or("{…}");
            format!("range selector {name}[…] needs a function; write sum(rate({name}[…]))")
        }
        Expr::Subquery(_) => {
            "subqueries are not supported: slod keeps counts, not samples; use rate over a counter".to_owned()
        }
        Expr::NumberLiteral(literal) => format!("number {} counts no events; use sum(rate(…))", literal.val),
        Expr::StringLiteral(_) => "a string counts no events; use sum(rate(…))".to_owned(),
        Expr::Unary(_) => "unary - is not supported; write a difference: sum(…) - sum(…)".to_owned(),
        _ => "this expression is not supported; count events with sum(rate(…))".to_owned(),
    }
}

// === impl Sum ===

impl Sum {
    /// How the other sum differs, so that the two cannot be added or divided; `None` when they agree.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.group_by != other.group_by {
            let (ours, theirs) = (&self.group_by, &other.group_by);
            Some(format!("group by different labels: {ours} and {theirs}; group both by the same"))
        } else if self.function != other.function {
            let (ours, theirs) = (self.function, other.function);
            Some(format!("use different functions: {ours} and {theirs}; use the same on both"))
        } else if self.range != other.range {
            let (ours, theirs) = (format_duration(self.range), format_duration(other.range));
            Some(format!("have different ranges: [{ours}] and [{theirs}]; use the same on both"))
        } else {
            None
        }
    }
}

// === impl Function ===

impl fmt::Display for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "rate",
            Self::Increase => "increase",
        })
    }
}

#[cfg(test)]
mod tests;
