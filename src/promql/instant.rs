//! Queries that are evaluated at moments, for SLIs that are no sums: nearly all of PromQL.
//!
//! What is left out needs what slod does not keep: other moments than the present, hours of samples, native
//! histograms.

use std::time::Duration;

use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Call, Expr, LabelModifier, Offset, SubqueryExpr,
    VectorMatchCardinality, VectorSelector,
    token::{T_AT, T_COLON, T_GROUP_LEFT, T_GROUP_RIGHT, T_LEFT_BRACKET, T_OFFSET, TokenId},
};

use super::{Error, Parsed, Refused, Spot, compile::STEP, lower_selector, refuse, refuse_at};
use crate::{
    expression::{
        Aggregation, Binary, Expression, Function, LabelJoin, LabelReplace, Labeling, Operator, OverTime,
        Source, Span,
    },
    labels::{MatchOp, Matcher, Selector},
    time::format_duration,
};

/// Parses a query that is evaluated at moments.
///
/// ```
/// # use slod::promql::expression;
/// let query = "histogram_quantile(0.9, sum by (le) (rate(seconds_bucket[1m])))";
/// assert_eq!(expression(query)?.to_string(), query);
/// assert_eq!(expression("topk(3, x)").unwrap_err().message, "aggregation topk is not supported here");
/// # Ok::<(), slod::promql::Error>(())
/// ```
///
/// # Errors
/// When the text is no PromQL, or needs more than the samples of the last hour.
pub fn expression(text: &str) -> Result<Expression, Error> {
    let parsed = Parsed::new(text)?;
    lower(&parsed.root, None).map_err(|refused| parsed.error(&refused))
}

/// Parses a query that is evaluated at moments, and looks at nothing but the newest samples then.
///
/// ```
/// # use slod::promql::expression_without_ranges;
/// let refused = expression_without_ranges("rate(x[5m])").unwrap_err();
/// assert_eq!((refused.offset, refused.message.contains("range")), (6, true));
/// ```
///
/// # Errors
/// When the text is no PromQL, or needs more.
pub fn expression_without_ranges(text: &str) -> Result<Expression, Error> {
    let parsed = Parsed::new(text)?;
    let lowering = Lowering { replace: None, times: 1, has_ranges: false };
    lowering.lower(&parsed.root).map_err(|refused| parsed.error(&refused))
}

// Every sample in a span is kept in memory for as long as the span, and read again at every step of the SLI: 240
// samples of each series at a scrape each 15 s. The recordings of public SLOs take minutes.
const RANGE_MAX: Duration = Duration::from_secs(3_600);
// Samples are kept until then.
const OFFSET_MAX: Duration = Duration::from_secs(3_600);
// How often the innermost expression may be evaluated for one value: a step each 5 s for an hour, and room for
// subqueries in subqueries of a few steps.
const SUBQUERY_STEPS_MAX: u128 = 1_000;

const NO_MOMENT: &str = "@ is not supported here: slod evaluates the present; remove it";

const NO_RANGES: &str = "a range of time is not accepted here: ask for the value at each moment, or a Prometheus \
                         that scrapes slod";

/// What lowering needs to know.
#[derive(Clone, Copy)]
struct Lowering {
    /// A range that stands for another one.
    replace: Option<(Duration, Duration)>,
    /// How often this part is evaluated for one value.
    times: u128,
    /// Whether there are samples over ranges of time.
    has_ranges: bool,
}

/// Lowers a query. Ranges of the first duration stand for the second one.
pub(super) fn lower(expr: &Expr, replace: Option<(Duration, Duration)>) -> Result<Expression, Refused<'_>> {
    Lowering { replace, times: 1, has_ranges: true }.lower(expr)
}

// === impl Lowering ===

impl Lowering {
    fn lower(self, expr: &Expr) -> Result<Expression, Refused<'_>> {
        match expr {
            Expr::Paren(paren) => self.lower(&paren.expr),
            Expr::NumberLiteral(literal) => Ok(Expression::Number(literal.val)),
            Expr::Unary(unary) => Ok(match self.lower(&unary.expr)? {
                Expression::Number(number) => Expression::Number(-number),
                of => Expression::Negative(Box::new(of)),
            }),
            Expr::VectorSelector(vector) => {
                let offset = offset(expr, vector.offset.as_ref())?;
                Ok(Expression::Latest(selector_at_no_moment(expr, vector)?, offset))
            }
            Expr::Aggregate(aggregate) => self.aggregate(expr, aggregate),
            Expr::Binary(binary) => self.binary(expr, binary),
            Expr::Call(call) => self.call(expr, call),
            Expr::MatrixSelector(_) | Expr::Subquery(_) => {
                refuse_at(expr, Spot::Token(T_LEFT_BRACKET), "a range needs a function, such as rate(…)")
            }
            Expr::StringLiteral(_) => refuse(expr, "a string is no value here"),
            Expr::Extension(_) => refuse(expr, "this expression is not supported here"),
        }
    }

    fn boxed(self, expr: &Expr) -> Result<Box<Expression>, Refused<'_>> {
        self.lower(expr).map(Box::new)
    }

    fn aggregate<'e>(self, expr: &'e Expr, aggregate: &'e AggregateExpr) -> Result<Expression, Refused<'e>> {
        let name = aggregate.op.to_string();
        let labeling = match &aggregate.modifier {
            None => Labeling::Only(Vec::new()),
            Some(modifier) => labeling(modifier),
        };
        let of = || self.boxed(&aggregate.expr);
        match (Aggregation::named(&name), &aggregate.param) {
            (Some(aggregation), None) => Ok(Expression::Aggregate(aggregation, labeling, of()?)),
            (None, Some(quantile)) if name == "quantile" => {
                Ok(Expression::Quantile(self.boxed(quantile)?, labeling, of()?))
            }
            _ => refuse(expr, format!("aggregation {name} is not supported here")),
        }
    }

    fn binary<'e>(self, expr: &'e Expr, binary: &'e BinaryExpr) -> Result<Expression, Refused<'e>> {
        let name = binary.op.to_string();
        let Some(operator) = Operator::named(&name) else {
            return refuse(expr, format!("operator {name} is not supported here"));
        };
        let matching = match &binary.modifier {
            None => Labeling::AllBut(Vec::new()),
            Some(modifier) => matching(expr, modifier)?,
        };
        let (left, right) = (self.lower(&binary.lhs)?, self.lower(&binary.rhs)?);
        let is_bool = binary.return_bool();
        Ok(Expression::Binary(Box::new(Binary { operator, is_bool, matching, left, right })))
    }

    // --- functions ---

    fn call<'e>(self, expr: &'e Expr, call: &'e Call) -> Result<Expression, Refused<'e>> {
        let (name, arguments) = (call.func.name, &call.args.args);
        if let Some(function) = OverTime::named(name) {
            return Ok(Expression::OverTime(function, self.span(&arguments[0])?));
        }
        if let Some(function) = Function::named(name) {
            let arguments =
                arguments.iter().map(|argument| self.lower(argument)).collect::<Result<_, _>>()?;
            return Ok(Expression::Call(function, arguments));
        }
        match name {
            "time" => Ok(Expression::Time),
            // The order of elements says nothing here.
            "sort" | "sort_desc" => self.lower(&arguments[0]),
            "quantile_over_time" => {
                Ok(Expression::QuantileOverTime(self.boxed(&arguments[0])?, self.span(&arguments[1])?))
            }
            "label_replace" => self.label_replace(expr, call),
            "label_join" => self.label_join(expr, call),
            _ => refuse(expr, format!("function {name} is not supported here")),
        }
    }

    fn label_replace<'e>(self, expr: &'e Expr, call: &'e Call) -> Result<Expression, Refused<'e>> {
        let of = self.boxed(&call.args.args[0])?;
        let [label, replacement, source, regex] = strings(expr, call)?.try_into().unwrap_or_default();
        let label = label_name(expr, label)?;
        let source = Matcher::new(&source, MatchOp::Regex, &regex)
            .or_else(|error| refuse(&call.args.args[4], error.to_string()))?;
        Ok(Expression::LabelReplace(of, Box::new(LabelReplace { label, replacement, source })))
    }

    fn label_join<'e>(self, expr: &'e Expr, call: &'e Call) -> Result<Expression, Refused<'e>> {
        let of = self.boxed(&call.args.args[0])?;
        let mut words = strings(expr, call)?.into_iter();
        let label = label_name(expr, words.next().unwrap_or_default())?;
        let separator = words.next().unwrap_or_default();
        Ok(Expression::LabelJoin(of, LabelJoin { label, separator, sources: words.collect() }))
    }

    // --- spans ---

    fn span(self, expr: &Expr) -> Result<Span, Refused<'_>> {
        match expr {
            Expr::Paren(paren) => self.span(&paren.expr),
            Expr::MatrixSelector(matrix) => {
                let range = self.range(expr, matrix.range)?;
                let offset = offset(expr, matrix.vs.offset.as_ref())?;
                let selector = selector_at_no_moment(expr, &matrix.vs)?;
                Ok(Span { of: Source::Series(selector), range, offset })
            }
            Expr::Subquery(subquery) => self.subquery(expr, subquery),
            _ => refuse(expr, "a range is needed here, such as x[5m]"),
        }
    }

    fn subquery<'e>(self, expr: &'e Expr, subquery: &'e SubqueryExpr) -> Result<Span, Refused<'e>> {
        if subquery.at.is_some() {
            return refuse_at(expr, Spot::Token(T_AT), NO_MOMENT);
        }
        let range = self.range(expr, subquery.range)?;
        let offset = offset(expr, subquery.offset.as_ref())?;
        let step = subquery.step.unwrap_or(STEP);
        let times = self.times * range.as_millis().div_ceil(step.as_millis().max(1)).max(1);
        if times > SUBQUERY_STEPS_MAX {
            let message = format!(
                "{times} steps are too many to evaluate for one value, the limit is {SUBQUERY_STEPS_MAX}; \
                 write a longer step, such as [{}:1m]",
                format_duration(range)
            );
            return refuse_at(expr, Spot::Token(T_COLON), message);
        }
        let of = Lowering { times, ..self }.boxed(&subquery.expr)?;
        Ok(Span { of: Source::Steps(of, step), range, offset })
    }

    fn range(self, expr: &Expr, range: Duration) -> Result<Duration, Refused<'_>> {
        if !self.has_ranges {
            return refuse_at(expr, Spot::Token(T_LEFT_BRACKET), NO_RANGES);
        }
        let range = match self.replace {
            Some((template, window)) if template == range => window,
            _ => range,
        };
        let refuse_range = |message| refuse_at(expr, Spot::Token(T_LEFT_BRACKET), message);
        if range > RANGE_MAX {
            let (range, limit) = (format_duration(range), format_duration(RANGE_MAX));
            return refuse_range(format!(
                "range [{range}] is too long: slod would keep every sample of it, the limit is {limit}"
            ));
        }
        Ok(range)
    }
}

fn offset<'e>(expr: &'e Expr, offset: Option<&Offset>) -> Result<Duration, Refused<'e>> {
    let refuse_offset = |message| refuse_at(expr, Spot::Token(T_OFFSET), message);
    match offset {
        None => Ok(Duration::ZERO),
        Some(Offset::Neg(back)) if !back.is_zero() => {
            refuse_offset("a negative offset is not supported here: the future has not arrived".to_owned())
        }
        Some(Offset::Pos(back) | Offset::Neg(back)) if *back <= OFFSET_MAX => Ok(*back),
        Some(Offset::Pos(back) | Offset::Neg(back)) => {
            let (offset, limit) = (format_duration(*back), format_duration(OFFSET_MAX));
            refuse_offset(format!(
                "offset {offset} is too long: slod would keep every sample until then, the limit is {limit}"
            ))
        }
    }
}

fn selector_at_no_moment<'e>(expr: &'e Expr, vector: &'e VectorSelector) -> Result<Selector, Refused<'e>> {
    if vector.at.is_some() {
        return refuse_at(expr, Spot::Token(T_AT), NO_MOMENT);
    }
    lower_selector(expr, vector)
}

fn matching<'e>(expr: &'e Expr, modifier: &'e BinModifier) -> Result<Labeling, Refused<'e>> {
    let refuse_word = |token: TokenId, word: &str| {
        let message = format!("{word} is not supported here; aggregate both sides by the same labels");
        refuse_at(expr, Spot::Token(token), message)
    };
    match (&modifier.card, &modifier.matching) {
        (VectorMatchCardinality::ManyToOne(_), _) => refuse_word(T_GROUP_LEFT, "group_left"),
        (VectorMatchCardinality::OneToMany(_), _) => refuse_word(T_GROUP_RIGHT, "group_right"),
        _ if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() => {
            refuse(expr, "fill is not supported here; write … or vector(0)")
        }
        (_, None) => Ok(Labeling::AllBut(Vec::new())),
        (_, Some(matching)) => Ok(labeling(matching)),
    }
}

fn labeling(modifier: &LabelModifier) -> Labeling {
    let mut names = modifier.labels().labels.clone();
    names.sort_unstable();
    names.dedup();
    if modifier.is_include() { Labeling::Only(names) } else { Labeling::AllBut(names) }
}

/// The arguments behind the first one, which are strings.
fn strings<'e>(expr: &'e Expr, call: &'e Call) -> Result<Vec<String>, Refused<'e>> {
    let string = |argument: &'e Expr| match argument {
        Expr::StringLiteral(literal) => Ok(literal.val.clone()),
        _ => refuse(expr, format!("{} takes strings behind its first argument", call.func.name)),
    };
    call.args.args.iter().skip(1).map(|argument| string(argument)).collect()
}

fn label_name(expr: &Expr, name: String) -> Result<String, Refused<'_>> {
    if name.is_empty() { refuse(expr, "the label that is written has no name") } else { Ok(name) }
}

#[cfg(test)]
mod tests;
