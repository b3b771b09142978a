//! PromQL at one moment: what an expression says of the samples that arrived lately.
//!
//! For SLIs that are no sums over samples. The meaning is Prometheus 3's: ranges are open to the left, a
//! series is forgotten five minutes after its last sample or with its staleness marker, rates are
//! extrapolated. This module does not parse (`promql` makes expressions of queries), and does not know where
//! samples come from: who evaluates brings them as [`Samples`].
//!
//! Invariant: what an expression prints is PromQL that means the same.

mod aggregation;
mod display;
mod evaluation;
mod operators;
mod over_time;
mod possible_labels;
mod statistics;

use std::{borrow::Cow, time::Duration};

use crate::{
    labels::{Labels, METRIC_NAME, Matcher, Selector},
    time::Timestamp,
};

/// An expression over series. Its value is an instant vector, or a number as far as that
/// [is a scalar](Self::is_scalar).
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// A number.
    Number(f64),
    /// `time()`: the moment itself, in seconds.
    Time,
    /// The newest sample of each series, some time before the moment: `x offset 5m`.
    Latest(Selector, Duration),
    /// A function of what each series had in a span of time: `rate(x[5m])`.
    OverTime(OverTime, Span),
    /// `quantile_over_time`.
    QuantileOverTime(Box<Self>, Span),
    /// A function of values. There are as many arguments as it takes.
    Call(Function, Vec<Self>),
    /// `label_replace`.
    LabelReplace(Box<Self>, Box<LabelReplace>),
    /// `label_join`.
    LabelJoin(Box<Self>, LabelJoin),
    /// What elements have in common: `sum by (job) (x)`.
    Aggregate(Aggregation, Labeling, Box<Self>),
    /// The aggregation `quantile`.
    Quantile(Box<Self>, Labeling, Box<Self>),
    /// `-x`.
    Negative(Box<Self>),
    /// Two expressions with an operator between them.
    Binary(Box<Binary>),
}

/// A span of time up to some time before the moment: what is in the brackets of `x[5m] offset 1h`.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// What lies in it.
    pub of: Source,
    /// How long it is.
    pub range: Duration,
    /// How long before the moment it ends.
    pub offset: Duration,
}

/// Where the samples in a span come from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// From series.
    Series(Selector),
    /// From a subquery: an expression at every multiple of a step.
    Steps(Box<Expression>, Duration),
}

/// An operator between two expressions.
#[derive(Clone, Debug, PartialEq)]
pub struct Binary {
    /// The operator.
    pub operator: Operator,
    /// Whether a comparison gives 0 or 1, and does not filter.
    pub is_bool: bool,
    /// By which labels elements of two vectors find each other.
    pub matching: Labeling,
    /// On its left.
    pub left: Expression,
    /// On its right.
    pub right: Expression,
}

/// A choice of labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labeling {
    /// Those of these names: `by` and `on`. Sorted, no repeats.
    Only(Vec<String>),
    /// All but the metric name and those of these names: `without` and `ignoring`. Sorted, no repeats.
    AllBut(Vec<String>),
}

/// What `label_replace` does to the labels of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelReplace {
    /// The label that is written.
    pub label: String,
    /// What it becomes, with `$1` for the groups of the regular expression.
    pub replacement: String,
    /// A regular expression on another label.
    pub source: Matcher,
}

/// What `label_join` does to the labels of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelJoin {
    /// The label that is written.
    pub label: String,
    /// What stands between the values.
    pub separator: String,
    /// The labels whose values are joined.
    pub sources: Vec<String>,
}

/// A sample of a series; a staleness marker is one, too.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// When it was taken.
    pub at: Timestamp,
    /// What was measured.
    pub value: f64,
}

/// A series, as an evaluation looks at it.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Its labels without the metric name. Most functions leave it out, and to do so each time would be most of
    /// their work.
    pub nameless: Cow<'a, Labels>,
    /// Its samples, in the order of time.
    pub samples: &'a [Sample],
}

/// Where an evaluation finds samples.
pub trait Samples {
    /// Every series that this selector of the expression selects.
    fn select<'a>(&'a self, selector: &Selector) -> impl Iterator<Item = Series<'a>>;
}

/// A moment at which an expression has no value: Prometheus, too, answers with an error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("several elements have the labels {0}; aggregate them, or match on more labels")]
pub struct Ambiguous(pub Labels);

/// Elements of an instant vector.
pub type Vector = Vec<(Labels, f64)>;

macro_rules! named {
    ($(#[$doc:meta])* $type:ident { $($variant:ident $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)] // Each is what PromQL's documentation says under its name.
        pub enum $type { $($variant),* }

        impl $type {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its name in PromQL.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The one of this name.
            pub fn named(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.name() == name)
            }
        }
    };
}

named! {
    /// A function of what a series had in a span of time.
    OverTime {
        Rate "rate",
        Increase "increase",
        Irate "irate",
        Delta "delta",
        Idelta "idelta",
        Deriv "deriv",
        Resets "resets",
        Changes "changes",
        Sum "sum_over_time",
        Avg "avg_over_time",
        Min "min_over_time",
        Max "max_over_time",
        Count "count_over_time",
        Last "last_over_time",
        Present "present_over_time",
        Absent "absent_over_time",
        Stddev "stddev_over_time",
        Stdvar "stdvar_over_time",
    }
}

named! {
    /// A function of values at one moment.
    Function {
        Abs "abs",
        Absent "absent",
        Ceil "ceil",
        Clamp "clamp",
        ClampMax "clamp_max",
        ClampMin "clamp_min",
        Exp "exp",
        Floor "floor",
        HistogramQuantile "histogram_quantile",
        Ln "ln",
        Log10 "log10",
        Log2 "log2",
        Round "round",
        Scalar "scalar",
        Sgn "sgn",
        Sqrt "sqrt",
        Timestamp "timestamp",
        Vector "vector",
    }
}

named! {
    /// What is made of the elements of a group.
    Aggregation {
        Avg "avg",
        Count "count",
        Group "group",
        Max "max",
        Min "min",
        Stddev "stddev",
        Stdvar "stdvar",
        Sum "sum",
    }
}

named! {
    /// An operator between two expressions.
    Operator {
        Add "+",
        Sub "-",
        Mul "*",
        Div "/",
        Mod "%",
        Pow "^",
        Equal "==",
        NotEqual "!=",
        Less "<",
        LessOrEqual "<=",
        Greater ">",
        GreaterOrEqual ">=",
        And "and",
        Or "or",
        Unless "unless",
    }
}

// Prometheus' default: how old the newest sample of a series may be.
const LOOKBACK: Duration = Duration::from_secs(300);

/// The label of the upper bounds of a classic histogram's buckets.
const BUCKET_BOUND: &str = "le";

// === impl Expression ===

impl Expression {
    /// What it says of a moment: elements with labels, but without metric names, each label set once. A
    /// scalar has none.
    ///
    /// # Errors
    /// When elements cannot be told apart, where Prometheus answers with an error.
    pub fn evaluate(&self, at: Timestamp, samples: &impl Samples) -> Result<Vector, Ambiguous> {
        evaluation::evaluate(self, at, samples)
    }

    /// As [`evaluate`](Self::evaluate), with the metric names of elements that keep them.
    ///
    /// # Errors
    /// As there.
    pub fn evaluate_named(&self, at: Timestamp, samples: &impl Samples) -> Result<Vector, Ambiguous> {
        evaluation::evaluate_named(self, at, samples)
    }

    /// Whether its value is a number and no vector.
    pub fn is_scalar(&self) -> bool {
        match self {
            Self::Number(_) | Self::Time | Self::Call(Function::Scalar, _) => true,
            Self::Negative(of) => of.is_scalar(),
            Self::Binary(binary) => binary.left.is_scalar() && binary.right.is_scalar(),
            _ => false,
        }
    }

    /// Whether its value has one element without labels, or none, whatever the series are.
    pub fn is_single(&self) -> bool {
        self.possible_labels().is_some_and(|names| names.iter().all(|name| name == METRIC_NAME))
    }

    /// Every selector of series in it.
    pub fn selectors(&self) -> Vec<&Selector> {
        let mut selectors = Vec::new();
        self.visit(&mut |part| match part {
            Self::Latest(selector, _) => selectors.push(selector),
            _ => selectors.extend(part.span().and_then(Span::selector)),
        });
        selectors
    }

    /// Every selector of the newest samples of series, with how long before the moment it looks.
    pub fn latest(&self) -> Vec<(&Selector, Duration)> {
        let mut latest = Vec::new();
        self.visit(&mut |part| {
            if let Self::Latest(selector, offset) = part {
                latest.push((selector, *offset));
            }
        });
        latest
    }

    /// How long before a moment the samples may lie that decide on its value.
    pub fn lookback(&self) -> Duration {
        let own = match self {
            Self::Latest(_, offset) => LOOKBACK + *offset,
            _ => self.span().map_or(Duration::ZERO, Span::lookback),
        };
        self.parts().into_iter().map(Self::lookback).fold(own, Duration::max)
    }

    /// The span that it is a function of.
    fn span(&self) -> Option<&Span> {
        match self {
            Self::OverTime(_, span) | Self::QuantileOverTime(_, span) => Some(span),
            _ => None,
        }
    }

    /// The expressions it is made of that are evaluated at the same moment.
    fn parts(&self) -> Vec<&Self> {
        match self {
            Self::Number(_) | Self::Time | Self::Latest(..) | Self::OverTime(..) => Vec::new(),
            Self::Call(_, arguments) => arguments.iter().collect(),
            Self::QuantileOverTime(of, _)
            | Self::LabelReplace(of, _)
            | Self::LabelJoin(of, _)
            | Self::Aggregate(_, _, of)
            | Self::Negative(of) => vec![of],
            Self::Quantile(quantile, _, of) => vec![quantile, of],
            Self::Binary(binary) => vec![&binary.left, &binary.right],
        }
    }

    /// Visits it and all that it is made of, from left to right.
    fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        self.parts().into_iter().for_each(|part| part.visit(visit));
        if let Some(Span { of: Source::Steps(of, _), .. }) = self.span() {
            of.visit(visit);
        }
    }

    /// The selector that it consists of.
    fn selector(&self) -> Option<&Selector> {
        match self {
            Self::Latest(selector, _) => Some(selector),
            _ => None,
        }
    }
}

// === impl Span ===

impl Span {
    /// The selector of the series whose samples lie in it.
    fn selector(&self) -> Option<&Selector> {
        match &self.of {
            Source::Series(selector) => Some(selector),
            Source::Steps(..) => None,
        }
    }

    fn lookback(&self) -> Duration {
        let inner = match &self.of {
            Source::Series(_) => Duration::ZERO,
            Source::Steps(of, _) => of.lookback(),
        };
        self.offset + self.range + inner
    }
}

// === impl Labeling ===

impl Labeling {
    /// Those of the labels that are chosen.
    fn of(&self, labels: &Labels) -> Labels {
        match self {
            Self::Only(names) => labels.keep(names),
            Self::AllBut(names) => labels.leave_out(names),
        }
    }
}
