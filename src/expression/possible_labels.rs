//! Which labels the elements of an expression may have, as far as that is known without any series.

use std::collections::BTreeSet;

use super::{BUCKET_BOUND, Binary, Expression, Function, Labeling, Operator, OverTime, Source};
use crate::labels::{Labels, METRIC_NAME, MatchOp, Matcher, Selector};

/// What `absent` says of a selector that selects nothing: the labels it would have had for sure.
pub(super) fn absent_labels(selector: Option<&Selector>) -> Labels {
    let matchers = selector.map_or(&[][..], |selector| &selector.matchers);
    let is_certain = |matcher: &&Matcher| {
        let same_name = matchers.iter().filter(|other| other.name() == matcher.name()).count();
        matcher.op() == MatchOp::Equal && matcher.name() != METRIC_NAME && same_name == 1
    };
    let certain = matchers.iter().filter(is_certain).map(|matcher| (matcher.name(), matcher.value()));
    // Each name once, and none is empty.
    Labels::new(certain).unwrap_or_default()
}

fn names(labels: &Labels) -> BTreeSet<String> {
    labels.iter().map(|(name, _)| name.to_owned()).collect()
}

// === impl Expression ===

impl Expression {
    /// The names of all labels that its elements may have; `None` if it may be any.
    pub(super) fn possible_labels(&self) -> Option<BTreeSet<String>> {
        match self {
            Self::Number(_) | Self::Time | Self::Call(Function::Scalar | Function::Vector, _) => {
                Some(BTreeSet::new())
            }
            Self::Latest(..) => None,
            Self::OverTime(OverTime::Absent, span) => Some(names(&absent_labels(span.selector()))),
            Self::OverTime(_, span) | Self::QuantileOverTime(_, span) => match &span.of {
                Source::Series(_) => None,
                Source::Steps(of, _) => of.possible_labels(),
            },
            Self::Call(Function::Absent, arguments) => Some(names(&absent_labels(arguments[0].selector()))),
            Self::Call(Function::HistogramQuantile, arguments) => {
                Labeling::AllBut(vec![BUCKET_BOUND.to_owned()]).narrow(arguments[1].possible_labels())
            }
            Self::Call(_, arguments) => arguments[0].possible_labels(),
            Self::LabelReplace(of, replace) => with_label(of, &replace.label),
            Self::LabelJoin(of, join) => with_label(of, &join.label),
            Self::Aggregate(_, labeling, of) | Self::Quantile(_, labeling, of) => {
                labeling.narrow(of.possible_labels())
            }
            Self::Negative(of) => of.possible_labels(),
            Self::Binary(binary) => binary.possible_labels(),
        }
    }
}

fn with_label(of: &Expression, label: &str) -> Option<BTreeSet<String>> {
    of.possible_labels().map(|names| names.into_iter().chain([label.to_owned()]).collect())
}

// === impl Binary ===

impl Binary {
    fn possible_labels(&self) -> Option<BTreeSet<String>> {
        let (left, right) = (self.left.possible_labels(), self.right.possible_labels());
        match self.operator {
            Operator::And | Operator::Unless => left,
            Operator::Or => Some(&left? | &right?),
            _ if self.left.is_scalar() => right,
            _ if self.right.is_scalar() => left,
            _ => match (self.matching.narrow(left), self.matching.narrow(right)) {
                (Some(left), Some(right)) => Some(&left & &right),
                (left, right) => left.or(right),
            },
        }
    }
}

// === impl Labeling ===

impl Labeling {
    fn narrow(&self, names: Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
        match (self, names) {
            (Self::Only(only), None) => Some(only.iter().cloned().collect()),
            (Self::Only(only), Some(names)) => {
                Some(names.into_iter().filter(|name| only.contains(name)).collect())
            }
            (Self::AllBut(_), None) => None,
            (Self::AllBut(others), Some(names)) => {
                Some(names.into_iter().filter(|name| !others.contains(name)).collect())
            }
        }
    }
}
