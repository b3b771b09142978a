//! Functions of native histograms.
//!
//! `histogram_count` and `histogram_sum` are linear: it is the same whether histograms are added up inside of
//! them or their results outside. So is `histogram_fraction` times `histogram_count`, the number of observations
//! in an interval, but for the bucket that a bound cuts. Alone a fraction is a ratio.

use promql_parser::parser::{BinaryExpr, Call, Expr};

use super::{
    Grouping, HistogramMeasure, Interval, Measure, Ratio, Refused, Series, Sum, Term, lower_series,
    lower_sum, operator_reason, peel, refuse, refuse_modifiers, without_parentheses,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HistogramFunction {
    Count,
    Sum,
    Fraction,
}

/// The label that classic histograms have instead of native buckets.
const CLASSIC_BUCKET: &str = "le";

const FRACTION_REASON: &str = "histogram_fraction(…) is a ratio, no event count; multiply it by histogram_count(…) \
                               of the same histograms";

/// A ratio: the observations in an interval over all.
pub(super) fn lower_fraction<'e>(expr: &'e Expr, call: &'e Call) -> Result<Ratio, Refused<'e>> {
    let within = lower_bounds(expr, call)?;
    let histograms = lower_histograms(&call.args.args[2])?;
    let denominator = measured(histograms.clone(), Measure::Histogram(HistogramMeasure::Count));
    Ok(Ratio { numerator: measured(histograms, within), denominator, complement: false })
}

/// A function over a sum of histograms: `histogram_count(sum(rate(…)))`.
pub(super) fn lower_call<'e>(
    expr: &'e Expr,
    call: &'e Call,
    function: HistogramFunction,
) -> Result<Sum, Refused<'e>> {
    let Some(measure) = function.measure() else { return refuse(expr, FRACTION_REASON) };
    Ok(measured(lower_histograms(&call.args.args[0])?, measure))
}

/// A function over each series of a sum: the `histogram_count(rate(…))` in `sum(…)`.
pub(super) fn lower_series_call<'e>(
    expr: &'e Expr,
    call: &'e Call,
    function: HistogramFunction,
) -> Result<(Series, Measure), Refused<'e>> {
    let Some(measure) = function.measure() else { return refuse(expr, FRACTION_REASON) };
    Ok((lower_series(&call.args.args[0])?, measure))
}

/// `histogram_fraction(…) * histogram_count(…)` over sums of histograms.
pub(super) fn lower_product<'e>(expr: &'e Expr, binary: &'e BinaryExpr) -> Result<Sum, Refused<'e>> {
    let (histograms, within) = lower_factors(expr, binary, lower_histograms)?;
    Ok(measured(histograms, within))
}

/// `histogram_fraction(…) * histogram_count(…)` over each series of a sum.
pub(super) fn lower_series_product<'e>(
    expr: &'e Expr,
    binary: &'e BinaryExpr,
) -> Result<(Series, Measure), Refused<'e>> {
    lower_factors(expr, binary, lower_series)
}

/// What both factors take, and the observations of it that their product counts.
fn lower_factors<'e, T: PartialEq>(
    expr: &'e Expr,
    binary: &'e BinaryExpr,
    lower: impl Fn(&'e Expr) -> Result<T, Refused<'e>>,
) -> Result<(T, Measure), Refused<'e>> {
    let (one, other) = (peel(&binary.lhs)?, peel(&binary.rhs)?);
    let factors = match (histogram_call(one), histogram_call(other)) {
        (Some((HistogramFunction::Fraction, fraction)), Some((HistogramFunction::Count, count))) => {
            Some((one, fraction, count))
        }
        (Some((HistogramFunction::Count, count)), Some((HistogramFunction::Fraction, fraction))) => {
            Some((other, fraction, count))
        }
        _ => None,
    };
    let Some((fraction_expr, fraction, count)) = factors else {
        return refuse(expr, operator_reason(binary));
    };
    refuse_modifiers(expr, binary)?;
    let within = lower_bounds(fraction_expr, fraction)?;
    let histograms = lower(&fraction.args.args[2])?;
    if histograms != lower(&count.args.args[0])? {
        return refuse(expr, "the two sides of * take different histograms; use the same on both");
    }
    Ok((histograms, within))
}

/// The argument of a histogram function that is not inside of a sum.
fn lower_histograms(argument: &Expr) -> Result<Sum, Refused<'_>> {
    let sum = lower_sum(argument)?;
    if sum.terms.iter().any(|term| term.measure != Measure::Increase) {
        return refuse(
            peel(argument)?,
            "a histogram function takes histograms, no counts; write sum(rate(…))",
        );
    }
    if matches!(&sum.group_by, Grouping::By(labels) if labels.iter().any(|label| label == CLASSIC_BUCKET)) {
        let message = "a histogram function takes native histograms; of classic buckets count the one of the \
                       limit: sum(rate(…_bucket{le=\"0.3\"}[5m]))";
        return refuse(peel(argument)?, message);
    }
    Ok(sum)
}

fn lower_bounds<'e>(expr: &'e Expr, call: &'e Call) -> Result<Measure, Refused<'e>> {
    let bound = |nth: usize| {
        let argument = &*call.args.args[nth];
        number(argument)
            .map_or_else(|| refuse(argument, "a bound of histogram_fraction must be a number"), Ok)
    };
    let (lower, upper) = (bound(0)?, bound(1)?);
    if lower < upper {
        return Ok(Measure::Histogram(HistogramMeasure::Within(Interval { lower, upper })));
    }
    let message =
        format!("nothing lies above {lower} and up to {upper}; write histogram_fraction(lower, upper, …)");
    refuse(expr, message)
}

fn number(expr: &Expr) -> Option<f64> {
    match without_parentheses(expr) {
        Expr::NumberLiteral(literal) => Some(literal.val),
        Expr::Unary(unary) => number(&unary.expr).map(|number| -number),
        _ => None,
    }
}

fn histogram_call(expr: &Expr) -> Option<(HistogramFunction, &Call)> {
    match expr {
        Expr::Call(call) => HistogramFunction::of(call).map(|function| (function, call)),
        _ => None,
    }
}

fn measured(mut sum: Sum, measure: Measure) -> Sum {
    for term in &mut sum.terms {
        *term = Term { measure, ..term.clone() };
    }
    sum
}

// === impl HistogramFunction ===

impl HistogramFunction {
    pub(super) fn of(call: &Call) -> Option<Self> {
        match call.func.name {
            "histogram_count" => Some(Self::Count),
            "histogram_sum" => Some(Self::Sum),
            "histogram_fraction" => Some(Self::Fraction),
            _ => None,
        }
    }

    /// What it counts by itself.
    fn measure(self) -> Option<Measure> {
        match self {
            Self::Count => Some(Measure::Histogram(HistogramMeasure::Count)),
            Self::Sum => Some(Measure::Histogram(HistogramMeasure::Sum)),
            Self::Fraction => None,
        }
    }
}
