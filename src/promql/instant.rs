//! Queries as expressions that are evaluated at one moment.

use std::time::Duration;

use promql_parser::parser::Expr;

use super::{Refused, reasons, refuse};
use crate::expression::Expression;

/// The expression of a query, with a range in place of another.
pub(super) fn lower(expr: &Expr, replace: Option<(Duration, Duration)>) -> Result<Expression, Refused<'_>> {
    let _ = replace;
    refuse(expr, reasons::of_operand(expr))
}
