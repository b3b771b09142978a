//! What labels the result of an expression can have, as far as its text tells.

use promql_parser::{
    label::Labels,
    parser::{
        AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
        token::{T_BOTTOMK, T_COUNT_VALUES, T_LAND, T_LOR, T_LUNLESS, T_TOPK},
        value::ValueType,
    },
};

/// Whether the result has one element without labels, or none, whatever the series are. Not everything that is
/// so is seen to be.
pub(super) fn is_single(expr: &Expr) -> bool {
    match expr {
        Expr::NumberLiteral(_) => true,
        Expr::Paren(inner) => is_single(&inner.expr),
        Expr::Unary(inner) => is_single(&inner.expr),
        Expr::Subquery(inner) => is_single(&inner.expr),
        Expr::Aggregate(aggregate) => is_single_aggregate(aggregate),
        Expr::Binary(binary) => is_single_binary(binary),
        Expr::Call(call) => is_single_call(call),
        Expr::VectorSelector(_) | Expr::MatrixSelector(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {
            false
        }
    }
}

fn is_single_aggregate(aggregate: &AggregateExpr) -> bool {
    let keeps_none = match &aggregate.modifier {
        None => true,
        Some(LabelModifier::Include(names)) => is_empty(names),
        Some(LabelModifier::Exclude(_)) => false,
    };
    match aggregate.op.id() {
        T_COUNT_VALUES => false,
        T_TOPK | T_BOTTOMK => is_single(&aggregate.expr),
        _ => keeps_none || is_single(&aggregate.expr),
    }
}

fn is_single_binary(binary: &BinaryExpr) -> bool {
    let (left, right) = (is_single(&binary.lhs), is_single(&binary.rhs));
    let is_scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
    let modifier = binary.modifier.as_ref();
    match modifier.map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToOne(taken)) => return left && is_empty(taken),
        Some(VectorMatchCardinality::OneToMany(taken)) => return right && is_empty(taken),
        _ => (),
    }
    let is_on_nothing = modifier
        .and_then(|modifier| modifier.matching.as_ref())
        .is_some_and(|matching| matches!(matching, LabelModifier::Include(names) if is_empty(names)));
    match binary.op.id() {
        T_LAND | T_LUNLESS => left,
        T_LOR => left && right,
        _ if is_scalar(&binary.lhs) => right,
        _ if is_scalar(&binary.rhs) => left,
        // Both sides have the same labels, but for those that the match leaves out.
        _ => left || right || is_on_nothing,
    }
}

fn is_empty(names: &Labels) -> bool {
    names.labels.is_empty()
}

fn is_single_call(call: &Call) -> bool {
    match call.func.name {
        "scalar" | "vector" | "time" | "pi" => true,
        "absent" | "absent_over_time" | "label_replace" | "label_join" => false,
        "histogram_quantile" => call.args.args.last().is_some_and(|of| is_single_but_for_buckets(of)),
        _ => {
            let mut vectors = call.args.args.iter().filter(|of| of.value_type() != ValueType::Scalar);
            vectors.next().is_some_and(|of| is_single(of))
        }
    }
}

fn is_single_but_for_buckets(of: &Expr) -> bool {
    let is_bucket = |modifier: &LabelModifier| matches!(modifier, LabelModifier::Include(names) if names.labels.iter().all(|name| name == "le"));
    match of {
        Expr::Paren(inner) => is_single_but_for_buckets(&inner.expr),
        Expr::Aggregate(aggregate) if aggregate.modifier.as_ref().is_some_and(is_bucket) => {
            !matches!(aggregate.op.id(), T_COUNT_VALUES | T_TOPK | T_BOTTOMK)
        }
        _ => is_single(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: bool) {
        assert_eq!(is_single(&promql_parser::parser::parse(query).unwrap()), expected, "{query}");
    }

    #[test]
    fn sums_have_no_labels_and_neither_has_what_is_made_of_them() {
        for query in [
            "1",
            "sum(a)",
            "sum by () (a)",
            "1 - sum(a) / sum(b)",
            "(sum(a) > 0) or vector(0)",
            "sum(a) / on () group_left () sum(b)",
            "sum(a * on (x) group_left (y) b) / sum(b)",
            "a / on () b",
            "sum(a) / ignoring (x) b",
            "histogram_quantile(0.9, sum by (le) (rate(a[5m])))",
            "clamp_max(-sum(a), 1)",
            "max_over_time(sum(a)[5m:1m])",
            "topk(1, sum(a))",
            "scalar(a)",
            "sum by (x) (sum(a))",
        ] {
            check(query, true);
        }
    }

    #[test]
    fn what_may_have_labels_is_taken_to_have_some() {
        for query in [
            "a",
            "sum by (x) (a)",
            "sum without (x) (a)",
            "1 - a",
            "a * on (x) group_left (y) b",
            "a * on () group_left () sum(b)",
            "sum(a) * on () group_left (x) b",
            "sum(a) or b",
            "a and sum(b)",
            "topk(1, a)",
            "count_values(\"x\", sum(a))",
            "label_replace(sum(a), \"x\", \"y\", \"z\", \"\")",
            "absent(a{x=\"y\"})",
            "histogram_quantile(0.9, sum by (le, x) (rate(a[5m])))",
            "rate(a[5m])",
        ] {
            check(query, false);
        }
    }
}
