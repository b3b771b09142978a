//! Subqueries over the window: what is asked is asked anew at every step of it, so that each step counts by itself.

use std::time::Duration;

use promql_parser::parser::{
    self, AggregateExpr, Call, Expr, SubqueryExpr,
    token::{T_AVG, T_DIV, T_LOR, T_SUB, T_SUM},
};

use super::{compile::STEP, instant, number, without_parentheses};
use crate::{expression::Expression, slo::Question};

/// An expression over the steps of the window.
struct Steps {
    /// What each step adds.
    each: Expression,
    step: Duration,
    /// Whether what the steps add is divided by their number.
    is_mean: bool,
}

/// The question that bad events and all events over steps ask at each of them, and how long a step is. Both are
/// sums, or both are means over as many steps.
pub(super) fn events(
    bad: &Expr,
    total: &Expr,
    template: Option<Duration>,
) -> Option<(Question<Expression>, Duration)> {
    let (bad, total) = (steps(bad, template)?, steps(total, template)?);
    let is_alike = bad.is_mean == total.is_mean && bad.step == total.step;
    is_alike.then_some((Question::Events { bad: bad.each, total: total.each }, bad.step))
}

/// The steps that `sum_over_time((…)[window:1m])` and its like go through; none if the expression is something else.
fn steps(expr: &Expr, template: Option<Duration>) -> Option<Steps> {
    let (kind, each, step) = find(expr, template)?;
    let each = match kind {
        Kind::Count => parser::parse(&format!("clamp({each}, 1, 1)")).ok()?,
        Kind::Sum | Kind::Mean => each,
    };
    Some(Steps { each: instant::lower(&each, None).ok()?, step, is_mean: kind == Kind::Mean })
}

/// The question that a ratio over steps asks at each of them, and how long a step is.
pub(super) fn ratio(
    expr: &Expr,
    template: Option<Duration>,
    is_bad: bool,
) -> Option<(Question<Expression>, Duration)> {
    let expr = peel(expr);
    if let Expr::Binary(binary) = expr {
        return match binary.op.id() {
            T_SUB if number(&binary.lhs) == Some(1.0) => ratio(&binary.rhs, template, !is_bad),
            T_DIV if is_bad => events(&binary.lhs, &binary.rhs, template),
            _ => None,
        };
    }
    let mean = steps(expr, template).filter(|steps| steps.is_mean)?;
    let question = if is_bad { Question::BadRatio(mean.each) } else { Question::GoodRatio(mean.each) };
    Some((question, mean.step))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sum,
    Count,
    Mean,
}

fn find(expr: &Expr, template: Option<Duration>) -> Option<(Kind, Expr, Duration)> {
    match peel(expr) {
        Expr::Call(call) => find_call(call, template),
        Expr::Aggregate(aggregate) => {
            let (kind, each, step) = find(&aggregate.expr, template)?;
            let is_same = match aggregate.op.id() {
                T_SUM => kind != Kind::Mean,
                // The mean of means, where series are there at the same steps.
                T_AVG => kind == Kind::Mean,
                _ => false,
            };
            let each = Expr::Aggregate(AggregateExpr { expr: Box::new(each), ..aggregate.clone() });
            is_same.then_some((kind, each, step))
        }
        _ => None,
    }
}

fn find_call(call: &Call, template: Option<Duration>) -> Option<(Kind, Expr, Duration)> {
    let kind = match call.func.name {
        "sum_over_time" => Kind::Sum,
        "count_over_time" => Kind::Count,
        "avg_over_time" => Kind::Mean,
        _ => return None,
    };
    match without_parentheses(call.args.args.first()?) {
        Expr::Subquery(SubqueryExpr { expr, offset: None, at: None, range, step })
            if template.is_none_or(|template| template == *range) =>
        {
            Some((kind, Expr::clone(expr), step.unwrap_or(STEP)))
        }
        _ => None,
    }
}

/// Without parentheses and `or vector(0)`: a step at which there is nothing adds nothing.
fn peel(expr: &Expr) -> &Expr {
    match expr {
        Expr::Paren(paren) => peel(&paren.expr),
        Expr::Binary(binary) if binary.op.id() == T_LOR && is_zero(&binary.rhs) => peel(&binary.lhs),
        _ => expr,
    }
}

fn is_zero(expr: &Expr) -> bool {
    match without_parentheses(expr) {
        zero @ Expr::Call(_) => number(zero) == Some(0.0),
        _ => false,
    }
}
