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
    let vector = |argument: &&Box<Expr>| argument.value_type() != ValueType::Scalar;
    match call.func.name {
        "scalar" | "vector" | "time" | "pi" => true,
        "absent" | "absent_over_time" | "label_replace" | "label_join" => false,
        "histogram_quantile" => call.args.args.last().is_some_and(|of| is_single_but_for_buckets(of)),
        _ => call.args.args.iter().find(vector).is_some_and(|of| is_single(of)),
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
