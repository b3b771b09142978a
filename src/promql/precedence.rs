//! `A or vector(0) / B`: operators that bind otherwise than their author thought.
//!
//! It is valid PromQL, and so it would be evaluated somehow. `or` binds least of all, so that the default takes
//! everything behind it along, and A stands alone.

use promql_parser::parser::{
    BinaryExpr, Expr,
    token::{T_ADD, T_DIV, T_LOR, T_SUB},
};

use super::{Refused, number, refuse_wrong, walk, without_parentheses};

/// Refuses a query with an operator behind the default of an `or`, where the `or` was to be in parentheses.
pub(super) fn check(root: &Expr) -> Result<(), Refused<'_>> {
    let mut trapped = None;
    walk(root, &mut |node| {
        if let Expr::Binary(or) = node
            && or.op.id() == T_LOR
            && let Some(stolen) = stolen(or)
        {
            trapped.get_or_insert((node, stolen));
        }
    });
    let Some((node, stolen)) = trapped else { return Ok(()) };
    let (op, default) = (stolen.op, &stolen.lhs);
    let outcome =
        if op.id() == T_DIV { "a count where a ratio was meant" } else { "the first of them alone" };
    refuse_wrong(
        node,
        format!(
            "{op} binds more than or, so that it takes only {default}, and the result is {outcome}; write (… or {default}) {op} …"
        ),
    )
}

/// The operator that takes the default away. A product does it on purpose: `0 * …` is a default with labels.
fn stolen(or: &BinaryExpr) -> Option<&BinaryExpr> {
    let Expr::Binary(stolen) = &*or.rhs else { return None };
    let takes = matches!(stolen.op.id(), T_DIV | T_ADD | T_SUB);
    (takes && is_default(&stolen.lhs) && number(&stolen.rhs).is_none() && !is_ratio(&or.lhs))
        .then_some(stolen)
}

/// Whether it is `vector(0)` or the like, and no number that something is divided into.
fn is_default(expr: &Expr) -> bool {
    matches!(without_parentheses(expr), Expr::Call(_)) && number(expr).is_some()
}

fn is_ratio(expr: &Expr) -> bool {
    matches!(without_parentheses(expr), Expr::Binary(binary) if binary.op.id() == T_DIV)
}
