//! PromQL at one moment: what an expression says of the samples that arrived lately.
//!
//! For SLIs that are no sums over samples. This module does not parse; `promql` makes expressions of queries.

use std::fmt;

use crate::labels::Selector;

/// An expression over series, with an instant vector as its value.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A number.
    Number(f64),
}

// === impl Expression ===

impl Expression {
    /// Whether its value has one element without labels, or none, whatever the series are.
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Number(_))
    }

    /// Every selector of series in it.
    pub fn selectors(&self) -> Vec<&Selector> {
        Vec::new()
    }
}

/// The expression as PromQL.
impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}
