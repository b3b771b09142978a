//! Why an expression cannot be counted sample by sample, in words for its author.

use promql_parser::parser::{
    BinaryExpr, Call, Expr,
    token::{T_DIV, T_MUL},
};

use super::linear::{Sum, Unit};

/// Why this is no sum of events.
pub(super) fn of_operand(expr: &Expr) -> String {
    match expr {
        Expr::Call(call) => of_function(call),
        Expr::VectorSelector(vector) => {
            let name = vector.name.as_deref().unwrap_or("{…}");
            format!("{name} is not wrapped in rate(…); count its events with sum(rate({name}[5m]))")
        }
        Expr::MatrixSelector(matrix) => {
            let name = matrix.vs.name.as_deref().unwrap_or("{…}");
            format!("range selector {name}[…] needs a function; write sum(rate({name}[…]))")
        }
        Expr::Subquery(_) => "a subquery is evaluated at steps of time".to_owned(),
        Expr::NumberLiteral(literal) => format!("number {} counts no events; use sum(rate(…))", literal.val),
        Expr::StringLiteral(_) => "a string counts no events; use sum(rate(…))".to_owned(),
        _ => "this expression counts no events; use sum(rate(…))".to_owned(),
    }
}

/// Why a count is no ratio. One near zero looks like one until there is traffic.
pub(super) fn of_count(sum: &Sum) -> String {
    let per = if sum.unit == Unit::Second { " a second" } else { "" };
    format!(
        "must be a ratio: this counts events{per}, any number of them, and no share of all; divide it by all events: \
         sum(…) / sum(…)"
    )
}

/// Why the result of this function is no sum of events.
pub(super) fn of_function(call: &Call) -> String {
    match call.func.name {
        "histogram_quantile" => "histogram_quantile gives no event count; count events up to the limit: \
             sum(rate(…_bucket{le=\"0.3\"}[5m])) / sum(rate(…_count[5m])), or of a native histogram \
             histogram_fraction(0, 0.3, sum(rate(…[5m])))"
            .to_owned(),
        name => format!("function {name} counts no events; count them with sum(rate(…)) or sum(increase(…))"),
    }
}

/// Why the result of this operator is no sum of events.
pub(super) fn of_operator(binary: &BinaryExpr) -> String {
    match binary.op.id() {
        T_DIV => "a ratio within an expression is no sum of events; write sum(…) / sum(…)".to_owned(),
        T_MUL => "a product of two counts is no sum of events; remove the factor".to_owned(),
        _ if binary.op.is_comparison_operator() => {
            format!("comparison {} depends on values at one moment", binary.op)
        }
        _ => format!(
            "operator {} is no sum of events; use + and - between sums, / between the two sides",
            binary.op
        ),
    }
}

/// Why series of one side that meet several of the other are refused.
pub(super) fn of_many(word: &str) -> String {
    format!("{word} joins series that are not split alike; group both sides by the same labels and remove it")
}
