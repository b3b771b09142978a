//! The linter: what is valid, and still cannot be what was meant.
//!
//! It looks at indicators, whatever format they came from; what only a query's text shows is for `promql`. A remark says
//! what was found, what follows from it, and the way out. This module does not know what series there are.
//!
//! Invariant: a remark is a warning, and there is none without proof: a query that may be right is left alone.

use std::collections::HashMap;

use super::reader::{Place, Reader};
use crate::{
    labels::Matcher,
    slo::{Indicator, Slo},
};

mod names;
mod rules;
mod selection;

/// The promises of the SLOs so far, to find those that are made twice.
#[derive(Default)]
pub(super) struct Promises {
    /// Positions of SLOs, by what they select.
    by_input: HashMap<String, Vec<usize>>,
}

/// Warns of what is wrong with an indicator, at its place. `is_for_prometheus` says that its queries are also asked of
/// a Prometheus, as they are.
pub(super) fn check(reader: &mut Reader<'_>, at: Place, indicator: &Indicator, is_for_prometheus: bool) {
    if let Indicator::Counted(counted) = indicator {
        for rule in rules::ALL {
            rule(counted).into_iter().for_each(|remark| reader.warn(at, remark));
        }
    }
    if is_for_prometheus && let Some(remark) = spelling(indicator) {
        reader.warn(at, remark);
    }
}

/// Bounds of buckets that only slod compares as numbers. Once per SLO: they tend to have the same.
fn spelling(indicator: &Indicator) -> Option<String> {
    let selectors = indicator.selectors().into_iter();
    let mut matchers = selectors.flat_map(|selector| &selector.matchers);
    let (written, canonical) = matchers.find_map(|matcher| Some((matcher, other_spelling(matcher)?)))?;
    let value = written.value();
    let both = format!("{}|{}", regex::escape(value), regex::escape(&canonical)).replace('\\', "\\\\");
    Some(format!(
        "{written} selects nothing where Prometheus 3 stored the bucket as le={canonical:?}; slod matches either, but \
         rules and dashboards of the same query do not: write le=~\"{both}\" in them"
    ))
}

fn other_spelling(matcher: &Matcher) -> Option<String> {
    matcher.canonical_bound().filter(|canonical| canonical != matcher.value())
}

// === impl Promises ===

impl Promises {
    /// Warns of an SLO that promises the same of the same events as one of those before it.
    pub(super) fn check(&mut self, reader: &mut Reader<'_>, at: Place, slo: &Slo, before: &[Slo]) {
        let alike = self.by_input.entry(input(&slo.indicator)).or_default();
        let is_same = |other: &&Slo| other.indicator == slo.indicator && other.objective == slo.objective;
        if let Some(first) = alike.iter().filter_map(|index| before.get(*index)).find(is_same) {
            let message = format!(
                "{} makes the promise of {} again, with the same queries and objective, so that both always say the \
                 same; correct the copy or remove it",
                slo.id, first.id
            );
            return reader.warn(at, message);
        }
        alike.push(before.len());
    }
}

/// What is the same of indicators that are the same, and seldom of others.
fn input(indicator: &Indicator) -> String {
    match indicator {
        Indicator::Pulled(pulled) => format!("{:?}", pulled.question),
        _ => indicator.selectors().into_iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests;
