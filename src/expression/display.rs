//! Expressions as PromQL that reads back to the same.

use std::{fmt, time::Duration};

use super::{Binary, Expression, LabelJoin, LabelReplace, Labeling, Source, Span};
use crate::{labels::quoted, time::format_duration};

/// An expression that something stands beside: in parentheses, where they are needed.
struct Operand<'a>(&'a Expression);

// === impl Expression ===

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) if number.is_infinite() => {
                f.write_str(if *number > 0.0 { "Inf" } else { "-Inf" })
            }
            Self::Number(number) => write!(f, "{number}"),
            Self::Time => f.write_str("time()"),
            Self::Latest(selector, offset) => write!(f, "{selector}{}", of_offset(*offset)),
            Self::OverTime(function, span) => write!(f, "{}({span})", function.name()),
            Self::QuantileOverTime(quantile, span) => write!(f, "quantile_over_time({quantile}, {span})"),
            Self::Call(function, arguments) => {
                write!(f, "{}({})", function.name(), list(arguments.iter().map(Self::to_string)))
            }
            Self::LabelReplace(of, replace) => {
                let LabelReplace { label, replacement, source } = &**replace;
                let words = [label, replacement, source.name(), source.value()].map(quoted);
                write!(f, "label_replace({of}, {})", list(words))
            }
            Self::LabelJoin(of, LabelJoin { label, separator, sources }) => {
                let words = [label, separator].into_iter().chain(sources).map(|word| quoted(word));
                write!(f, "label_join({of}, {})", list(words))
            }
            Self::Aggregate(aggregation, labeling, of) => {
                write!(f, "{}{}({of})", aggregation.name(), of_aggregation(labeling))
            }
            Self::Quantile(quantile, labeling, of) => {
                write!(f, "quantile{}({quantile}, {of})", of_aggregation(labeling))
            }
            Self::Negative(of) => write!(f, "-{}", Operand(of)),
            Self::Binary(binary) => write!(f, "{binary}"),
        }
    }
}

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs_parentheses = match self.0 {
            Expression::Number(number) => number.is_sign_negative(),
            Expression::Latest(_, offset) => !offset.is_zero(),
            Expression::Negative(_) | Expression::Binary(_) => true,
            _ => false,
        };
        if needs_parentheses { write!(f, "({})", self.0) } else { write!(f, "{}", self.0) }
    }
}

// === impl Span ===

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (range, offset) = (format_duration(self.range), of_offset(self.offset));
        match &self.of {
            Source::Series(selector) => write!(f, "{selector}[{range}]{offset}"),
            Source::Steps(of, step) => {
                write!(f, "{}[{range}:{}]{offset}", Operand(of), format_duration(*step))
            }
        }
    }
}

// === impl Binary ===

impl fmt::Display for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.is_bool { " bool" } else { "" };
        let matching = match &self.matching {
            Labeling::Only(names) => format!(" on ({})", names_of(names)),
            Labeling::AllBut(names) if names.is_empty() => String::new(),
            Labeling::AllBut(names) => format!(" ignoring ({})", names_of(names)),
        };
        write!(f, "{} {}{word}{matching} {}", Operand(&self.left), self.operator.name(), Operand(&self.right))
    }
}

fn of_aggregation(labeling: &Labeling) -> String {
    match labeling {
        Labeling::Only(names) if names.is_empty() => String::new(),
        Labeling::Only(names) => format!(" by ({}) ", names_of(names)),
        Labeling::AllBut(names) => format!(" without ({}) ", names_of(names)),
    }
}

fn of_offset(offset: Duration) -> String {
    if offset.is_zero() { String::new() } else { format!(" offset {}", format_duration(offset)) }
}

fn names_of(names: &[String]) -> String {
    list(names.iter().cloned())
}

fn list(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}
