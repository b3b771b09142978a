//! The algebra of what can be counted sample by sample: sums over series, and quotients of two sums.
//!
//! An expression is worked out bottom up as far as it stays linear in what series gain. The window of a query
//! does not matter here: a sum over `[5m]` and one over `[30d]` add up the same series.
//!
//! Invariant: what is lowered means what Prometheus would compute for any window, but for what a doubt says,
//! for extrapolation, and for moments without any event, at which PromQL has no value or a default.

use std::time::Duration;

use promql_parser::parser::{
    AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, VectorMatchCardinality,
    VectorSelector,
    token::{
        T_ADD, T_AT, T_AVG, T_DIV, T_GROUP_LEFT, T_GROUP_RIGHT, T_GTE, T_GTR, T_LOR, T_MUL, T_NEQ, T_OFFSET,
        T_SUB, T_SUM,
    },
};

use super::{
    Refused, Spot, histograms, lower_selector, number, reasons, refuse, refuse_at, refuse_wrong, string,
    without_parentheses,
};
use crate::{
    labels::{MatchOp, Matcher},
    slo::{Grouping, Measure, Replace, Term},
    time::format_duration,
};

/// What an expression is worth.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The same whatever series do.
    Number(f64),
    /// A number of events.
    Sum(Sum),
    /// One number of events over another.
    Quotient(Quotient),
}

/// What series gain, added up, each with a coefficient.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub(super) terms: Vec<Term>,
    /// What splits it. One value per series is `without ()`.
    pub(super) group_by: Grouping,
    pub(super) unit: Unit,
    pub(super) range: Duration,
    /// How far back it looks, in milliseconds.
    pub(super) offset_ms: i64,
    /// What stands for it where it has no value.
    pub(super) default: Option<f64>,
    /// The least it can be, to divide by it.
    pub(super) floor: f64,
}

/// One sum over another of the same groups.
#[derive(Clone, Debug)]
pub(super) struct Quotient {
    pub(super) numerator: Sum,
    pub(super) denominator: Sum,
    /// What stands for it where it has no value.
    pub(super) default: Option<f64>,
    /// Whether it is a lone `avg_over_time`.
    is_mean: bool,
}

/// What the growth of a series is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Nothing: `increase` and `sum_over_time`.
    Window,
    /// The seconds of the window: `rate`.
    Second,
    /// Its samples in the window: `avg_over_time`.
    Sample,
}

/// Works out expressions, and notes what is doubtful in them.
#[derive(Default)]
pub(super) struct Lowering<'e> {
    /// The range that stands for the window; without one every range does.
    pub(super) template: Option<Duration>,
    /// Whether a selector without a function is a counter that is to be counted.
    pub(super) counts_bare_selectors: bool,
    pub(super) doubts: Vec<Refused<'e>>,
    /// Nodes that are MetricsQL's `histogram_share`.
    pub(super) shares: Vec<&'e Expr>,
}

// A summand that only keeps a denominator from being zero.
const EPSILON_MAX: f64 = 1e-3;

// === impl Lowering ===

impl<'e> Lowering<'e> {
    /// The value of an expression.
    pub(super) fn lower(&mut self, expr: &'e Expr) -> Result<Value, Refused<'e>> {
        match expr {
            Expr::Paren(paren) => self.lower(&paren.expr),
            Expr::NumberLiteral(literal) => Ok(Value::Number(literal.val)),
            Expr::Unary(unary) => Ok(self.lower(&unary.expr)?.scaled(-1.0)),
            Expr::Aggregate(_) if self.shares.iter().any(|share| std::ptr::eq(*share, expr)) => {
                histograms::lower_share(self, expr)
            }
            Expr::Aggregate(aggregate) => self.aggregate(expr, aggregate),
            Expr::Binary(binary) => self.binary(expr, binary),
            Expr::Call(call) => self.call(expr, call),
            Expr::VectorSelector(vector) => self.bare_selector(expr, vector),
            _ => refuse(expr, reasons::of_operand(expr)),
        }
    }

    /// The value of an expression that must count events.
    pub(super) fn sum(&mut self, expr: &'e Expr) -> Result<Sum, Refused<'e>> {
        match self.lower(expr)? {
            Value::Sum(sum) => Ok(sum),
            Value::Quotient(_) => refuse_wrong(without_parentheses(expr), "must count events: it is a ratio"),
            Value::Number(number) => refuse_wrong(
                without_parentheses(expr),
                format!("number {number} counts no events; use sum(rate(…))"),
            ),
        }
    }

    fn doubt(&mut self, node: &'e Expr, spot: Spot, message: String) {
        self.doubts.push(Refused { node, spot, message, is_wrong: false });
    }

    // --- aggregations ---

    fn aggregate(&mut self, expr: &'e Expr, aggregate: &'e AggregateExpr) -> Result<Value, Refused<'e>> {
        let outer = match &aggregate.modifier {
            None => Grouping::none(),
            Some(LabelModifier::Include(labels)) => Grouping::by(labels.labels.iter().cloned()),
            Some(LabelModifier::Exclude(labels)) => Grouping::without(labels.labels.iter().cloned()),
        };
        let op = aggregate.op.id();
        if !matches!(op, T_SUM | T_AVG) {
            return refuse(expr, format!("aggregation {} is no sum of events", aggregate.op));
        }
        match self.lower(&aggregate.expr)? {
            Value::Sum(sum) if op == T_SUM => {
                let group_by = regroup(&sum.group_by, &outer);
                Ok(Value::Sum(Sum { group_by, ..sum }))
            }
            Value::Quotient(Quotient { numerator, is_mean: true, .. }) if op == T_SUM => {
                let group_by = regroup(&numerator.group_by, &outer);
                Ok(Value::Sum(Sum { group_by, unit: Unit::Sample, ..numerator }))
            }
            // The mean of means, each weighed by its samples: the same where series are scraped alike.
            Value::Quotient(Quotient { numerator, denominator, is_mean: true, .. }) => {
                let group_by = regroup(&numerator.group_by, &outer);
                let numerator = Sum { group_by: group_by.clone(), ..numerator };
                Ok(Value::Quotient(Quotient::new(numerator, Sum { group_by, ..denominator })))
            }
            Value::Sum(_) => refuse(expr, "aggregation avg depends on how many series there are"),
            Value::Quotient(_) => {
                refuse(expr, format!("aggregation {} of ratios is no sum of events", aggregate.op))
            }
            Value::Number(number) => {
                refuse_wrong(expr, format!("number {number} counts no events; use sum(rate(…))"))
            }
        }
    }

    // --- functions ---

    fn call(&mut self, expr: &'e Expr, call: &'e Call) -> Result<Value, Refused<'e>> {
        let args = &call.args.args;
        match (call.func.name, args.as_slice()) {
            ("rate", [range]) => self.range(range, Measure::Increase, Unit::Second),
            ("irate", [range]) => {
                let message =
                    "irate sees only the last two samples of a range; slod counts them all, as rate does";
                self.doubt(expr, Spot::Itself, message.to_owned());
                self.range(range, Measure::Increase, Unit::Second)
            }
            ("increase", [range]) => self.range(range, Measure::Increase, Unit::Window),
            ("sum_over_time", [range]) => self.range(range, Measure::Values, Unit::Window),
            ("count_over_time", [range]) => self.range(range, Measure::Samples, Unit::Window),
            ("avg_over_time", [range]) => {
                let numerator = self.series(range, Measure::Values, Unit::Window)?;
                let terms =
                    numerator.terms.iter().map(|term| Term { measure: Measure::Samples, ..term.clone() });
                let denominator = Sum { terms: terms.collect(), ..numerator.clone() };
                let mean = Quotient { is_mean: true, ..Quotient::new(numerator, denominator) };
                Ok(Value::Quotient(mean))
            }
            ("vector", _) => match number(expr) {
                Some(number) => Ok(Value::Number(number)),
                None => refuse(expr, "vector(…) takes a number here"),
            },
            ("scalar", [argument]) => match self.lower(argument)? {
                Value::Sum(sum) if sum.group_by != Grouping::none() => {
                    refuse(expr, "scalar(…) has no value unless there is one series")
                }
                value => Ok(value),
            },
            ("clamp_min", [clamped, least]) => self.clamp(expr, clamped, Some(least), None),
            ("clamp_max", [clamped, most]) => self.clamp(expr, clamped, None, Some(most)),
            ("clamp", [clamped, least, most]) => self.clamp(expr, clamped, Some(least), Some(most)),
            ("label_replace", [relabelled, label, replacement, source, regex]) => {
                self.label_replace(expr, relabelled, [label, replacement, source, regex])
            }
            ("histogram_count" | "histogram_sum" | "histogram_fraction", _) => {
                histograms::lower_call(self, expr, call)
            }
            _ => refuse(expr, reasons::of_function(call)),
        }
    }

    fn range(&mut self, argument: &'e Expr, measure: Measure, unit: Unit) -> Result<Value, Refused<'e>> {
        self.series(argument, measure, unit).map(Value::Sum)
    }

    /// What each of some series gains.
    fn series(&mut self, argument: &'e Expr, measure: Measure, unit: Unit) -> Result<Sum, Refused<'e>> {
        let argument = without_parentheses(argument);
        let Expr::MatrixSelector(MatrixSelector { vs, range }) = argument else {
            return refuse(argument, reasons::of_operand(argument));
        };
        let range = super::nonzero_range(argument, *range)?;
        if self.template.is_some_and(|template| template != range) {
            let message = format!(
                "range [{}] is the same for every window, so that all alerts would look at it alone; it is ignored: \
                 slod counts over its own windows",
                format_duration(range)
            );
            self.doubt(argument, Spot::Range, message);
        }
        self.selected(argument, vs, measure, unit, self.template.unwrap_or(range))
    }

    fn bare_selector(&mut self, expr: &'e Expr, vector: &'e VectorSelector) -> Result<Value, Refused<'e>> {
        if self.counts_bare_selectors {
            let range = self.template.unwrap_or_default();
            return self.selected(expr, vector, Measure::Increase, Unit::Window, range).map(Value::Sum);
        }
        let is_counter = vector.name.as_deref().is_some_and(super::is_counter_name);
        refuse(expr, reasons::of_operand(expr)).map_err(|refused| Refused { is_wrong: is_counter, ..refused })
    }

    fn selected(
        &mut self,
        expr: &'e Expr,
        vector: &'e VectorSelector,
        measure: Measure,
        unit: Unit,
        range: Duration,
    ) -> Result<Sum, Refused<'e>> {
        if vector.at.is_some() {
            return refuse_at(expr, Spot::Token(T_AT), "@ fixes a moment, where slod counts as time goes on");
        }
        let selector = lower_selector(expr, vector)?;
        let offset_ms = super::offset_ms(vector);
        if offset_ms != 0 {
            let message = "offset is ignored: slod counts events when they happen, and not so much later";
            self.doubt(expr, Spot::Token(T_OFFSET), message.to_owned());
        }
        let term = Term { coefficient: 1.0, selector, measure, replaces: Vec::new() };
        let group_by = Grouping::Without(Vec::new());
        Ok(Sum { terms: vec![term], group_by, unit, range, offset_ms, default: None, floor: 0.0 })
    }

    /// What keeps a ratio within 0 and 1, or a denominator from being zero, is not needed.
    fn clamp(
        &mut self,
        expr: &'e Expr,
        clamped: &'e Expr,
        least: Option<&'e Expr>,
        most: Option<&'e Expr>,
    ) -> Result<Value, Refused<'e>> {
        let bound = |bound: Option<&'e Expr>, default| match bound {
            None => Ok(default),
            Some(bound) => number(bound).map_or_else(|| refuse(bound, "a bound must be a number"), Ok),
        };
        let (least, most) = (bound(least, f64::NEG_INFINITY)?, bound(most, f64::INFINITY)?);
        match self.lower(clamped)? {
            Value::Quotient(quotient) if least <= 0.0 && most >= 1.0 => Ok(Value::Quotient(quotient)),
            Value::Sum(sum) if least <= 0.0 && most == f64::INFINITY => Ok(Value::Sum(sum)),
            Value::Sum(sum) if most == f64::INFINITY => {
                self.warn_of_floor(expr, &sum, least);
                Ok(Value::Sum(Sum { floor: least, ..sum }))
            }
            _ => refuse(expr, "a value that is cut off is no sum of events"),
        }
    }

    fn warn_of_floor(&mut self, expr: &'e Expr, sum: &Sum, floor: f64) {
        if sum.unit == Unit::Second && floor > EPSILON_MAX {
            let message = format!(
                "clamp_min(…, {floor}) on a rate understates errors below {floor} events a second; it is ignored: slod \
                 needs no guard against dividing by zero"
            );
            self.doubt(expr, Spot::Itself, message);
        }
    }

    fn label_replace(
        &mut self,
        expr: &'e Expr,
        relabelled: &'e Expr,
        arguments: [&'e Expr; 4],
    ) -> Result<Value, Refused<'e>> {
        let [Some(label), Some(replacement), Some(source), Some(regex)] = arguments.map(string) else {
            return refuse(
                expr,
                "label_replace(…) takes texts: label, replacement, source label and regular expression",
            );
        };
        let source =
            Matcher::new(source, MatchOp::Regex, regex).or_else(|error| refuse(expr, error.to_string()))?;
        let replace = Replace { label: label.to_owned(), replacement: replacement.to_owned(), source };
        let relabelled = self.lower(relabelled)?;
        match relabelled.relabelled(&replace) {
            Some(value) => Ok(value),
            None => refuse(expr, "label_replace(…) rewrites a label here that the series were summed over"),
        }
    }

    // --- operators ---

    fn binary(&mut self, expr: &'e Expr, binary: &'e BinaryExpr) -> Result<Value, Refused<'e>> {
        match binary.op.id() {
            T_LOR => self.or(expr, binary),
            T_ADD | T_SUB | T_MUL | T_DIV => {
                let (one, other) = (self.lower(&binary.lhs)?, self.lower(&binary.rhs)?);
                self.arithmetic(expr, binary, one, other)
            }
            T_GTR | T_GTE | T_NEQ if !returns_bool(binary) => self.guard(expr, binary),
            _ => refuse(expr, reasons::of_operator(binary)),
        }
    }

    /// `… or vector(0)`: a default for when there is nothing to count.
    fn or(&mut self, expr: &'e Expr, binary: &'e BinaryExpr) -> Result<Value, Refused<'e>> {
        let on_nothing = matching(binary).is_none_or(
            |labels| matches!(labels, LabelModifier::Include(labels) if labels.labels.is_empty()),
        );
        let (one, other) = (self.lower(&binary.lhs)?, self.lower(&binary.rhs)?);
        match (one, other) {
            // A number is always there.
            (Value::Number(number), _) if on_nothing => Ok(Value::Number(number)),
            (Value::Sum(sum), Value::Number(default)) if on_nothing => {
                Ok(Value::Sum(Sum { default: sum.default.or(Some(default)), ..sum }))
            }
            (Value::Quotient(quotient), Value::Number(default)) if on_nothing => {
                Ok(Value::Quotient(Quotient { default: quotient.default.or(Some(default)), ..quotient }))
            }
            (Value::Sum(sum), Value::Sum(zero)) if zero.is_zero() => {
                Ok(Value::Sum(Sum { default: sum.default.or(Some(0.0)), ..sum }))
            }
            _ => refuse(
                expr,
                "or takes the one where there is no other, which depends on what series there are",
            ),
        }
    }

    /// `… > 0`: no value instead of zero.
    fn guard(&mut self, expr: &'e Expr, binary: &'e BinaryExpr) -> Result<Value, Refused<'e>> {
        let Some(least) = number(&binary.rhs) else { return refuse(expr, reasons::of_operator(binary)) };
        let value = self.lower(&binary.lhs)?;
        let is_rate = matches!(&value, Value::Sum(sum) if sum.unit == Unit::Second);
        match value {
            Value::Number(_) => refuse(expr, reasons::of_operator(binary)),
            value if least == 0.0 => Ok(value),
            value if is_rate && least > 0.0 && binary.op.id() != T_NEQ => {
                let message = format!(
                    "guard {} {least} is ignored: slod counts every event; a few failures of a small service do not \
                     page, because pages need three",
                    binary.op
                );
                self.doubt(expr, Spot::Itself, message);
                Ok(value)
            }
            _ => refuse(expr, reasons::of_operator(binary)),
        }
    }

    fn arithmetic(
        &mut self,
        expr: &'e Expr,
        binary: &'e BinaryExpr,
        one: Value,
        other: Value,
    ) -> Result<Value, Refused<'e>> {
        let op = binary.op.id();
        let sign = if op == T_SUB { -1.0 } else { 1.0 };
        let refused = || refuse(expr, reasons::of_operator(binary));
        match (one, op, other) {
            (Value::Number(one), _, Value::Number(other)) => Ok(Value::Number(calculate(op, one, other))),
            (Value::Number(factor), T_MUL, value) | (value, T_MUL, Value::Number(factor)) => {
                Ok(value.scaled(factor))
            }
            (value, T_DIV, Value::Number(divisor)) if divisor != 0.0 => Ok(value.scaled(divisor.recip())),
            (Value::Quotient(quotient), T_ADD | T_SUB, Value::Number(number)) => {
                Ok(Value::Quotient(quotient.plus(sign * number)))
            }
            (Value::Number(number), T_ADD | T_SUB, Value::Quotient(quotient)) => {
                Ok(Value::Quotient(quotient.scaled(sign).plus(number)))
            }
            (Value::Sum(sum), T_ADD | T_SUB, Value::Number(small)) if small.abs() <= EPSILON_MAX => {
                Ok(Value::Sum(sum))
            }
            (Value::Number(small), T_ADD, Value::Sum(sum)) if small.abs() <= EPSILON_MAX => {
                Ok(Value::Sum(sum))
            }
            (Value::Sum(one), T_ADD | T_SUB, Value::Sum(other)) => {
                let (one, other) = aligned(expr, binary, one, other)?;
                one.plus(other.scaled(sign)).map_or_else(refused, |sum| Ok(Value::Sum(sum)))
            }
            (Value::Sum(one), T_DIV, Value::Sum(other)) => {
                let (numerator, denominator) = aligned(expr, binary, one, other)?;
                if !numerator.is_plain() {
                    return refused();
                }
                Ok(Value::Quotient(Quotient::new(numerator, denominator)))
            }
            // The part of a whole.
            (Value::Quotient(part), T_MUL, Value::Sum(whole))
            | (Value::Sum(whole), T_MUL, Value::Quotient(part)) => {
                if part.denominator.is_like(&whole) {
                    Ok(Value::Sum(part.numerator))
                } else {
                    refused()
                }
            }
            (Value::Quotient(one), T_ADD | T_SUB, Value::Quotient(other))
                if one.denominator.is_like(&other.denominator) =>
            {
                let Quotient { numerator, denominator, .. } = one;
                let numerator = numerator.plus(other.numerator.scaled(sign));
                numerator.map_or_else(refused, |numerator| {
                    Ok(Value::Quotient(Quotient::new(numerator, denominator)))
                })
            }
            _ => refused(),
        }
    }
}

// === groups ===

/// What splits a sum of sums.
fn regroup(inner: &Grouping, outer: &Grouping) -> Grouping {
    let is_in = |names: &[String], name: &String| names.contains(name);
    match (inner, outer) {
        (Grouping::By(inner), Grouping::By(outer)) => {
            Grouping::by(outer.iter().filter(|n| is_in(inner, n)).cloned())
        }
        (Grouping::Without(inner), Grouping::By(outer)) => {
            Grouping::by(outer.iter().filter(|n| !is_in(inner, n)).cloned())
        }
        (Grouping::By(inner), Grouping::Without(outer)) => {
            Grouping::by(inner.iter().filter(|n| !is_in(outer, n)).cloned())
        }
        (Grouping::Without(inner), Grouping::Without(outer)) => {
            Grouping::without(inner.iter().chain(outer).cloned())
        }
    }
}

/// Both sides of an operator, grouped by the labels on which they meet.
fn aligned<'e>(
    expr: &'e Expr,
    binary: &'e BinaryExpr,
    one: Sum,
    other: Sum,
) -> Result<(Sum, Sum), Refused<'e>> {
    match binary.modifier.as_ref().map(|modifier| &modifier.card) {
        Some(VectorMatchCardinality::ManyToOne(_)) => {
            return refuse_at(expr, Spot::Token(T_GROUP_LEFT), reasons::of_many("group_left"));
        }
        Some(VectorMatchCardinality::OneToMany(_)) => {
            return refuse_at(expr, Spot::Token(T_GROUP_RIGHT), reasons::of_many("group_right"));
        }
        _ => (),
    }
    let meet = |sum: Sum| match matching(binary) {
        None => sum,
        Some(LabelModifier::Include(on)) => {
            Sum { group_by: regroup(&sum.group_by, &Grouping::by(on.labels.iter().cloned())), ..sum }
        }
        Some(LabelModifier::Exclude(ignoring)) => Sum {
            group_by: regroup(&sum.group_by, &Grouping::without(ignoring.labels.iter().cloned())),
            ..sum
        },
    };
    let (one, other) = (meet(one), meet(other));
    match one.difference(&other) {
        Some(difference) => {
            let message = format!("the two sides of {} {difference}", binary.op);
            refuse(expr, message).map_err(Refused::wrong)
        }
        None => Ok((one, other)),
    }
}

fn matching(binary: &BinaryExpr) -> Option<&LabelModifier> {
    binary.modifier.as_ref()?.matching.as_ref()
}

fn returns_bool(binary: &BinaryExpr) -> bool {
    binary.modifier.as_ref().is_some_and(|modifier| modifier.return_bool)
}

fn calculate(op: promql_parser::parser::token::TokenId, one: f64, other: f64) -> f64 {
    match op {
        T_ADD => one + other,
        T_SUB => one - other,
        T_MUL => one * other,
        _ => one / other,
    }
}

// === impl Value ===

impl Value {
    fn scaled(self, factor: f64) -> Self {
        match self {
            Self::Number(number) => Self::Number(number * factor),
            Self::Sum(sum) => Self::Sum(sum.scaled(factor)),
            Self::Quotient(quotient) => Self::Quotient(quotient.scaled(factor)),
        }
    }

    /// With labels rewritten; `None` if they are not there any more.
    fn relabelled(self, replace: &Replace) -> Option<Self> {
        Some(match self {
            Self::Number(number) => Self::Number(number),
            Self::Sum(sum) => Self::Sum(sum.relabelled(replace)?),
            Self::Quotient(quotient) => {
                let (numerator, denominator) =
                    (quotient.numerator.relabelled(replace)?, quotient.denominator.relabelled(replace)?);
                Self::Quotient(Quotient { numerator, denominator, ..quotient })
            }
        })
    }
}

// === impl Sum ===

impl Sum {
    /// How the other sum differs, so that the two cannot be added or divided; `None` when they agree.
    pub(super) fn difference(&self, other: &Self) -> Option<String> {
        if self.group_by != other.group_by {
            let (ours, theirs) = (&self.group_by, &other.group_by);
            Some(format!("group by different labels: {ours} and {theirs}; group both by the same"))
        } else if self.unit != other.unit && !self.is_zero() && !other.is_zero() {
            let (ours, theirs) = (self.unit, other.unit);
            Some(format!("use different functions: {ours} and {theirs}; use the same on both"))
        } else if self.range != other.range && !self.range.is_zero() && !other.range.is_zero() {
            let (ours, theirs) = (format_duration(self.range), format_duration(other.range));
            Some(format!("have different ranges: [{ours}] and [{theirs}]; use the same on both"))
        } else if self.offset_ms != other.offset_ms {
            Some("look back by different offsets; use the same on both".to_owned())
        } else {
            None
        }
    }

    /// With what the terms measure.
    pub(super) fn measured(mut self, measure: Measure) -> Self {
        for term in &mut self.terms {
            term.measure = measure;
        }
        self
    }

    /// Whether it is zero where there is nothing to count.
    pub(super) fn is_plain(&self) -> bool {
        self.default.is_none_or(|default| default == 0.0) && self.floor <= 0.0
    }

    /// Whether it is zero whatever series do: `0 * …`.
    fn is_zero(&self) -> bool {
        self.terms.iter().all(|term| term.coefficient == 0.0)
    }

    /// Whether both count the same.
    fn is_like(&self, other: &Self) -> bool {
        self.terms == other.terms && self.group_by == other.group_by && self.unit == other.unit
    }

    fn scaled(mut self, factor: f64) -> Self {
        for term in &mut self.terms {
            term.coefficient *= factor;
        }
        self.default = self.default.map(|default| default * factor);
        self
    }

    /// `None` if one of them has a default other than zero, which the other does not share.
    fn plus(mut self, other: Self) -> Option<Self> {
        if !self.is_plain() || !other.is_plain() {
            return None;
        }
        self.terms.extend(other.terms);
        self.terms = simplified(self.terms);
        Some(self)
    }

    fn relabelled(mut self, replace: &Replace) -> Option<Self> {
        let source = replace.source.name().to_owned();
        let is_new = match &self.group_by {
            Grouping::By(names) if !names.contains(&source) => return None,
            Grouping::By(names) => !names.contains(&replace.label),
            Grouping::Without(names) if names.contains(&source) || names.contains(&replace.label) => {
                return None;
            }
            Grouping::Without(_) => false,
        };
        for term in &mut self.terms {
            if is_new {
                term.replaces.push(removal(&replace.label));
            }
            term.replaces.push(replace.clone());
        }
        if let Grouping::By(names) = &self.group_by {
            self.group_by = Grouping::by(names.iter().chain([&replace.label]).cloned());
        }
        Some(self)
    }
}

/// Takes a label away that the series have and their sum has not.
fn removal(label: &str) -> Replace {
    let source = Matcher::new(label, MatchOp::Regex, ".*").expect("a regular expression");
    Replace { label: label.to_owned(), replacement: String::new(), source }
}

/// Terms that count the same in one, and those left out that count nothing.
pub(super) fn simplified(terms: Vec<Term>) -> Vec<Term> {
    let mut simplified: Vec<Term> = Vec::with_capacity(terms.len());
    for term in terms {
        let is_same = |known: &&mut Term| Term { coefficient: term.coefficient, ..(**known).clone() } == term;
        match simplified.iter_mut().find(is_same) {
            Some(known) => known.coefficient += term.coefficient,
            None => simplified.push(term),
        }
    }
    simplified.retain(|term| term.coefficient != 0.0);
    simplified
}

// === impl Quotient ===

impl Quotient {
    pub(super) fn new(numerator: Sum, denominator: Sum) -> Self {
        let default = numerator.default.filter(|_| denominator.default.is_some_and(|default| default != 0.0));
        Self { numerator, denominator, default, is_mean: false }
    }

    fn scaled(self, factor: f64) -> Self {
        let default = self.default.map(|default| default * factor);
        Self { numerator: self.numerator.scaled(factor), default, is_mean: false, ..self }
    }

    /// Plus a number: that many denominators more in the numerator.
    fn plus(self, number: f64) -> Self {
        let Self { mut numerator, denominator, default, .. } = self;
        let more = denominator.terms.iter().cloned();
        let more = more.map(|term| Term { coefficient: number * term.coefficient, ..term });
        numerator.terms = simplified(more.chain(numerator.terms).collect());
        Self { numerator, denominator, default: default.map(|default| default + number), is_mean: false }
    }
}

// === impl Unit ===

impl std::fmt::Display for Unit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Window => "increase",
            Self::Second => "rate",
            Self::Sample => "avg_over_time",
        })
    }
}
