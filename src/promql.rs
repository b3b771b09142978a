//! PromQL: from the queries of an SLI to its indicator.
//!
//! A query is read with the parser of the `promql-parser` crate. What is linear in the growth of series is counted
//! sample by sample (`linear`), for any window. What is not is evaluated at steps of time, over the samples of the
//! last minutes (`instant`). What neither can do is left to a Prometheus, if there is one, or refused with a
//! position, the reason and the way out.

use std::time::Duration;

use promql_parser::{
    label,
    parser::{
        Expr, Offset, VectorSelector,
        token::{T_AT, T_OFFSET, TokenId},
    },
};

use crate::labels::{METRIC_NAME, MatchOp, Matcher, Selector};

mod compile;
mod histograms;
mod instant;
mod labels;
mod linear;
mod parse;
mod precedence;
mod reasons;
mod steps;
mod tokens;
mod write;

pub use compile::{Asked, Compiled, Doubt, Refusal, Settings, Template, compile, compile_at_steps};
pub use instant::{expression, expression_without_ranges};
pub use write::{Queries, count_of, queries};

use tokens::Tokens;

/// A query that is no PromQL, or that cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Where in the query's text, in bytes.
    pub offset: usize,
    /// What is not supported, why, and the way out.
    pub message: String,
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
    let parsed = Parsed::new(text)?;
    lower_lone_selector(&parsed.root).map_err(|refused| parsed.error(&refused))
}

/// Parses a selector that stands alone, and need not name a metric.
///
/// # Errors
/// When the text is no PromQL, or more than a selector.
pub fn any_selector(text: &str) -> Result<Selector, Error> {
    let parsed = Parsed::new(text)?;
    let lowered = match without_parentheses(&parsed.root) {
        expr @ Expr::VectorSelector(vector) if vector.offset.is_none() && vector.at.is_none() => {
            lower_any_selector(expr, vector)
        }
        expr => refuse(expr, "only a selector is accepted here, such as slo_burn_rate{service=\"shop\"}"),
    };
    lowered.map_err(|refused| parsed.error(&refused))
}

/// Whether a name ends as those of counters, histograms and summaries do (OpenMetrics).
pub fn is_counter_name(name: &str) -> bool {
    COUNTER_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

/// A query and its syntax tree.
struct Parsed<'t> {
    text: &'t str,
    root: Expr,
}

/// A node of the syntax tree that cannot be lowered, or is doubtful. It learns its position only when reported.
#[derive(Debug)]
struct Refused<'e> {
    node: &'e Expr,
    spot: Spot,
    message: String,
    /// Whether it cannot be what was meant, so that no other way of evaluating it is to be tried.
    is_wrong: bool,
}

/// What of a node is refused.
#[derive(Clone, Copy, Debug)]
enum Spot {
    /// All of it.
    Itself,
    /// The first token of this kind after the node's own.
    Token(TokenId),
    /// Its range.
    Range,
    /// The value of the selector's n-th matcher.
    MatcherValue(usize),
}

fn refuse<'e, T>(node: &'e Expr, message: impl Into<String>) -> Result<T, Refused<'e>> {
    refuse_at(node, Spot::Itself, message)
}

fn refuse_at<'e, T>(node: &'e Expr, spot: Spot, message: impl Into<String>) -> Result<T, Refused<'e>> {
    Err(Refused { node, spot, message: message.into(), is_wrong: false })
}

fn refuse_wrong<'e, T>(node: &'e Expr, message: impl Into<String>) -> Result<T, Refused<'e>> {
    Err(Refused { node, spot: Spot::Itself, message: message.into(), is_wrong: true })
}

fn nonzero_range(expr: &Expr, range: Duration) -> Result<Duration, Refused<'_>> {
    if range.is_zero() {
        let refused = refuse_at(expr, Spot::Range, "range [0s] is empty; write one like [5m]");
        return refused.map_err(Refused::wrong);
    }
    Ok(range)
}

fn lower_lone_selector(expr: &Expr) -> Result<Selector, Refused<'_>> {
    let expr = without_parentheses(expr);
    match expr {
        Expr::VectorSelector(vector) if vector.offset.is_some() => {
            let message = "offset is not supported here: every sample counts when it comes; remove it";
            refuse_at(expr, Spot::Token(T_OFFSET), message)
        }
        Expr::VectorSelector(vector) if vector.at.is_some() => refuse_at(
            expr,
            Spot::Token(T_AT),
            "@ is not supported here: every sample counts when it comes; remove it",
        ),
        Expr::VectorSelector(vector) => lower_selector(expr, vector),
        Expr::MatrixSelector(_) => {
            let message = "a range is not supported here: every sample counts by itself; remove it";
            refuse_at(expr, Spot::Range, message).map_err(Refused::wrong)
        }
        _ => refuse(expr, "only a selector is supported here, such as queue_length{job=\"mail\"}"),
    }
}

fn lower_selector<'e>(expr: &'e Expr, vector: &VectorSelector) -> Result<Selector, Refused<'e>> {
    let selector = lower_any_selector(expr, vector)?;
    if !selector.matchers.iter().any(|matcher| matcher.name() == METRIC_NAME && !matcher.matches("")) {
        return refuse_wrong(expr, "a selector without a metric name would match every metric; name one");
    }
    Ok(selector)
}

fn lower_any_selector<'e>(expr: &'e Expr, vector: &VectorSelector) -> Result<Selector, Refused<'e>> {
    if !vector.matchers.or_matchers.is_empty() {
        return refuse_wrong(
            expr,
            "or between matchers is not supported; use a regular expression or a sum of two sums",
        );
    }
    let mut matchers = lower_matchers(expr, &vector.matchers.matchers)?;
    matchers.splice(0..0, vector.name.as_deref().map(|name| Matcher::equal(METRIC_NAME, name)));
    // Stable: the conditions on the name first, the others as written.
    matchers.sort_by_key(|matcher| matcher.name() != METRIC_NAME);
    Ok(Selector { matchers })
}

fn lower_matchers<'e>(expr: &'e Expr, matchers: &[label::Matcher]) -> Result<Vec<Matcher>, Refused<'e>> {
    matchers
        .iter()
        .enumerate()
        .map(|(index, matcher)| {
            Matcher::new(&matcher.name, match_op(&matcher.op), &matcher.value)
                .or_else(|error| refuse_at(expr, Spot::MatcherValue(index), error.to_string()))
                .map_err(Refused::wrong)
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

fn offset_ms(vector: &VectorSelector) -> i64 {
    let millis = |offset: &Duration| i64::try_from(offset.as_millis()).unwrap_or(i64::MAX);
    match &vector.offset {
        None => 0,
        Some(Offset::Pos(offset)) => millis(offset),
        Some(Offset::Neg(offset)) => -millis(offset),
    }
}

fn without_parentheses(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => without_parentheses(&paren.expr),
        _ => expr,
    }
}

fn number(expr: &Expr) -> Option<f64> {
    match without_parentheses(expr) {
        Expr::NumberLiteral(literal) => Some(literal.val),
        Expr::Unary(unary) => number(&unary.expr).map(|number| -number),
        Expr::Call(call) if call.func.name == "vector" => {
            call.args.args.first().and_then(|argument| number(argument))
        }
        _ => None,
    }
}

fn string(expr: &Expr) -> Option<&str> {
    match without_parentheses(expr) {
        Expr::StringLiteral(literal) => Some(&literal.val),
        _ => None,
    }
}

/// Visits a node and all below it, in the order of the text.
fn walk<'e>(expr: &'e Expr, visit: &mut impl FnMut(&'e Expr)) {
    visit(expr);
    match expr {
        Expr::Paren(paren) => walk(&paren.expr, visit),
        Expr::Aggregate(aggregate) => {
            aggregate.param.iter().for_each(|param| walk(param, visit));
            walk(&aggregate.expr, visit);
        }
        Expr::Binary(binary) => {
            walk(&binary.lhs, visit);
            walk(&binary.rhs, visit);
        }
        Expr::Unary(unary) => walk(&unary.expr, visit),
        Expr::Subquery(subquery) => walk(&subquery.expr, visit),
        Expr::Call(call) => call.args.args.iter().for_each(|argument| walk(argument, visit)),
        _ => (),
    }
}

// As long as each other, so that positions hold.
const SHARE: &str = "histogram_share";
const SHARE_AS_PROMQL: &str = "quantile       ";

// === impl Refused ===

impl Refused<'_> {
    /// As what cannot be meant in any way.
    fn wrong(self) -> Self {
        Self { is_wrong: true, ..self }
    }

    /// With the last way out.
    fn or_pull(mut self) -> Self {
        self.message += "; name a Prometheus under sources to have it asked instead";
        self
    }
}

// === impl Parsed ===

impl<'t> Parsed<'t> {
    fn new(text: &'t str) -> Result<Self, Error> {
        // MetricsQL's function is none of PromQL's. An aggregation with a parameter reads alike.
        let promql = text.replace(SHARE, SHARE_AS_PROMQL);
        let tokens = Tokens::lex(&promql)?;
        let root = parse::parse(&promql, &tokens).map_err(|message| tokens.syntax_error(&message))?;
        Ok(Self { text, root })
    }

    /// The nodes that stand for MetricsQL's `histogram_share`.
    fn shares(&self) -> Vec<&Expr> {
        let mut quantiles = Vec::new();
        if self.text.contains(SHARE) {
            walk(&self.root, &mut |node| {
                quantiles.extend(
                    matches!(node, Expr::Aggregate(aggregate) if aggregate.param.is_some()).then_some(node),
                );
            });
        }
        quantiles.retain(|node| self.text[self.offset(node, Spot::Itself)..].starts_with(SHARE));
        quantiles
    }

    fn error(&self, refused: &Refused<'_>) -> Error {
        Error { offset: self.offset(refused.node, refused.spot), message: refused.message.clone() }
    }

    fn offset(&self, node: &Expr, spot: Spot) -> usize {
        let promql = self.text.replace(SHARE, SHARE_AS_PROMQL);
        Tokens::lex(&promql).map_or(0, |tokens| tokens.locate(&self.root, node, spot))
    }
}

#[cfg(test)]
mod tests;
