//! From the queries of an SLI to its indicator.

use std::time::Duration;

use super::{Error, Lowered, Ratio, Sum, lower};
use crate::slo::{Counted, Grouping, Indicator, Term, Threshold};

/// The queries of an SLI, and what they mean.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'t> {
    /// Bad events, and all events.
    BadOfTotal(&'t str, &'t str),
    /// Good events, and all events.
    GoodOfTotal(&'t str, &'t str),
    /// Good events, and bad events.
    GoodAndBad(&'t str, &'t str),
    /// The ratio of bad events.
    BadRatio(&'t str),
    /// The ratio of good events.
    GoodRatio(&'t str),
    /// A value that is good if it meets the condition.
    Condition(&'t str, Threshold),
}

/// What is known of the queries beside their text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    /// The range that stands for whichever window is asked for, where the format has a template. Without one,
    /// every range does.
    pub template: Option<Duration>,
    /// How often a Prometheus may be asked for what cannot be streamed, if there is one.
    pub pull_interval: Option<Duration>,
}

/// An indicator, and what its author should know about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// The indicator.
    pub indicator: Indicator,
    /// What is doubtful in the queries.
    pub doubts: Vec<Doubt>,
}

/// Something that is not an error and maybe not what was meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Which of the queries asked, from 0.
    pub query: usize,
    /// Where in its text, in bytes.
    pub offset: usize,
    /// What is doubtful, and the way out.
    pub message: String,
}

/// Why there is no indicator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Refusal {
    /// Which of the queries asked, from 0.
    pub query: usize,
    /// What is wrong with it.
    pub error: Error,
}

/// Compiles the queries of an SLI.
///
/// # Errors
/// When a query is no PromQL, is refused, or the two do not go together.
pub fn compile(asked: Asked<'_>, settings: Settings) -> Result<Compiled, Refusal> {
    let _ = settings;
    let indicator = match asked {
        Asked::BadOfTotal(bad, total) => {
            let (bad, total) = sums(bad, total)?;
            counted(bad.terms, total.terms, total.group_by)
        }
        Asked::GoodOfTotal(good, total) => {
            let (good, total) = sums(good, total)?;
            good_of_total(good, total)
        }
        Asked::GoodAndBad(good, bad) => {
            let (good, bad) = sums(good, bad)?;
            let total = good.terms.into_iter().chain(bad.terms.clone()).collect();
            counted(bad.terms, total, bad.group_by)
        }
        Asked::BadRatio(text) => of_ratio(text, true)?,
        Asked::GoodRatio(text) => of_ratio(text, false)?,
        Asked::Condition(..) => return refuse(0, "not yet"),
    };
    Ok(Compiled { indicator, doubts: Vec::new() })
}

fn refuse<T>(query: usize, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { query, error: Error { offset: 0, message: message.into() } })
}

fn of_ratio(text: &str, is_bad: bool) -> Result<Indicator, Refusal> {
    match lower(text).map_err(|error| Refusal { query: 0, error })? {
        Lowered::Ratio(Ratio { numerator, denominator, complement }) if complement == is_bad => {
            Ok(good_of_total(numerator, denominator))
        }
        Lowered::Ratio(Ratio { numerator, denominator, .. }) => {
            Ok(counted(numerator.terms, denominator.terms, denominator.group_by))
        }
        Lowered::Sum(_) => refuse(0, "must be a ratio of two counts: sum(…) / sum(…)"),
    }
}

fn sums(first: &str, second: &str) -> Result<(Sum, Sum), Refusal> {
    let sum = |query, text| match lower(text) {
        Ok(Lowered::Sum(sum)) => Ok(sum),
        Ok(Lowered::Ratio(_)) => refuse(query, "must count events: it is a ratio"),
        Err(error) => Err(Refusal { query, error }),
    };
    let (first, second) = (sum(0, first)?, sum(1, second)?);
    match first.difference(&second) {
        Some(difference) => refuse(1, format!("the two queries {difference}")),
        None => Ok((first, second)),
    }
}

fn good_of_total(good: Sum, total: Sum) -> Indicator {
    let minus = |term: Term| Term { coefficient: -term.coefficient, ..term };
    let bad = total.terms.iter().cloned().chain(good.terms.into_iter().map(minus)).collect();
    counted(bad, total.terms, total.group_by)
}

fn counted(bad: Vec<Term>, total: Vec<Term>, group_by: Grouping) -> Indicator {
    Indicator::Counted(Counted { bad, total, group_by })
}
