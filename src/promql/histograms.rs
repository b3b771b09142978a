//! Functions of native histograms, and of VictoriaMetrics' ones.
//!
//! `histogram_count` and `histogram_sum` are linear: it is the same whether histograms are added up inside of
//! them or their results outside. So is `histogram_fraction` times `histogram_count`, the number of observations
//! in an interval, but for the bucket that a bound cuts. Alone a fraction is a quotient.

use promql_parser::parser::{Call, Expr};

use super::{
    Refused,
    linear::{Lowering, Quotient, Sum, Value},
    number, refuse, refuse_wrong,
};
use crate::slo::{Grouping, HistogramMeasure, Interval, Measure};

/// The label that classic histograms have instead of native buckets.
pub(super) const CLASSIC_BUCKET: &str = "le";
/// The one that VictoriaMetrics' have.
pub(super) const VM_BUCKET: &str = "vmrange";

/// `histogram_count`, `histogram_sum` and `histogram_fraction`.
pub(super) fn lower_call<'e>(
    lowering: &mut Lowering<'e>,
    expr: &'e Expr,
    call: &'e Call,
) -> Result<Value, Refused<'e>> {
    let args = &call.args.args;
    let histograms = histograms(lowering, args.last().map_or(expr, |argument| argument))?;
    let measured = |measure| histograms.clone().measured(Measure::Histogram(measure));
    match call.func.name {
        "histogram_count" => Ok(Value::Sum(measured(HistogramMeasure::Count))),
        "histogram_sum" => Ok(Value::Sum(measured(HistogramMeasure::Sum))),
        _ => {
            let within = measured(HistogramMeasure::Within(interval(expr, &args[0], &args[1])?));
            Ok(Value::Quotient(Quotient::new(within, measured(HistogramMeasure::Count))))
        }
    }
}

/// MetricsQL's `histogram_share(bound, buckets)`, which the parser takes for an aggregation with a parameter.
pub(super) fn lower_share<'e>(lowering: &mut Lowering<'e>, expr: &'e Expr) -> Result<Value, Refused<'e>> {
    let Expr::Aggregate(share) = expr else {
        return refuse(expr, "histogram_share(…) takes a bound and buckets");
    };
    let Some(upper) = share.param.as_deref().and_then(number) else {
        return refuse(expr, "a bound of histogram_share must be a number");
    };
    let buckets = lowering.sum(&share.expr)?;
    let keeps = |label: &str| match &buckets.group_by {
        Grouping::By(names) => names.iter().any(|name| name == label),
        Grouping::Without(names) => !names.iter().any(|name| name == label),
    };
    if !keeps(VM_BUCKET) {
        return refuse_wrong(expr, "histogram_share(…) takes buckets by vmrange; write sum by (vmrange) (…)");
    }
    let group_by = match &buckets.group_by {
        Grouping::By(names) => {
            Grouping::by(names.iter().filter(|name| *name != VM_BUCKET && *name != CLASSIC_BUCKET).cloned())
        }
        Grouping::Without(names) => Grouping::without(names.iter().cloned().chain([VM_BUCKET.to_owned()])),
    };
    let buckets = Sum { group_by, ..buckets };
    let within =
        |upper| buckets.clone().measured(Measure::VmRange(Interval { lower: f64::NEG_INFINITY, upper }));
    Ok(Value::Quotient(Quotient::new(within(upper), within(f64::INFINITY))))
}

/// The argument of a histogram function.
fn histograms<'e>(lowering: &mut Lowering<'e>, argument: &'e Expr) -> Result<Sum, Refused<'e>> {
    let sum = lowering.sum(argument)?;
    let argument = super::without_parentheses(argument);
    if sum.terms.iter().any(|term| term.measure != Measure::Increase) {
        return refuse_wrong(
            argument,
            "a histogram function takes histograms, no counts; write sum(rate(…))",
        );
    }
    if matches!(&sum.group_by, Grouping::By(labels) if labels.iter().any(|label| label == CLASSIC_BUCKET)) {
        let message = "a histogram function takes native histograms; of classic buckets count the one of the \
                       limit: sum(rate(…_bucket{le=\"0.3\"}[5m]))";
        return refuse_wrong(argument, message);
    }
    Ok(sum)
}

fn interval<'e>(expr: &'e Expr, lower: &'e Expr, upper: &'e Expr) -> Result<Interval, Refused<'e>> {
    let bound = |argument: &'e Expr| {
        number(argument)
            .map_or_else(|| refuse(argument, "a bound of histogram_fraction must be a number"), Ok)
    };
    let (lower, upper) = (bound(lower)?, bound(upper)?);
    if lower < upper {
        return Ok(Interval { lower, upper });
    }
    let message =
        format!("nothing lies above {lower} and up to {upper}; write histogram_fraction(lower, upper, …)");
    refuse_wrong(expr, message)
}
