//! The parameters of a request, as Prometheus reads them.

use std::time::Duration;

use super::{Fault, moments::Moments};
use crate::{
    expression::Expression,
    labels::Selector,
    promql::{self, any_selector},
    time::{Timestamp, millis, parse_duration},
    window::is_bounded,
};

/// Names and values in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters<'a>(pub(super) &'a [(String, String)]);

// The largest queries of dashboards have some hundred bytes; to find the place of an error takes the square of it.
const QUERY_BYTES_MAX: usize = 4_096;
// To find the place of an error each way to close them is tried. People nest a handful.
const PARENTHESES_MAX: usize = 64;
// Prometheus has no limit; each takes a walk over every series.
const SELECTORS_MAX: usize = 64;

// === impl Parameters ===

impl<'a> Parameters<'a> {
    /// The first value of this name that is not empty.
    pub(super) fn get(self, name: &str) -> Option<&'a str> {
        self.0
            .iter()
            .find(|(found, value)| found == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// All values of this name.
    pub(super) fn all(self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The expression that is asked for.
    pub(super) fn query(self) -> Result<Expression, Fault> {
        let text = self.get("query").unwrap_or("");
        check_size("query", text)?;
        promql::expression_without_ranges(text).map_err(|error| not_accepted("query", text, &error))
    }

    /// The selectors `match[]`.
    pub(super) fn selectors(self) -> Result<Vec<Selector>, Fault> {
        const NAME: &str = "match[]";
        let selector = |text: &str| {
            check_size(NAME, text)?;
            any_selector(text).map_err(|error| not_accepted(NAME, text, &error))
        };
        let count = self.all(NAME).count();
        if count > SELECTORS_MAX {
            return Err(Fault::parameter(NAME, format!("given {count} times, the limit is {SELECTORS_MAX}")));
        }
        self.all(NAME).map(selector).collect()
    }

    /// The moment of an instant query.
    pub(super) fn moment(self, now: Timestamp) -> Result<Moments, Fault> {
        Ok(Moments::one(self.time("time")?.unwrap_or(now)))
    }

    /// The moments of a range query.
    pub(super) fn moments(self) -> Result<Moments, Fault> {
        let bound = |name| {
            self.time(name)?.ok_or_else(|| Fault::parameter(name, "it is missing; give seconds or RFC 3339"))
        };
        Moments::new(bound("start")?, bound("end")?, self.step()?)
    }

    /// How many elements an answer may have at most.
    pub(super) fn limit(self) -> Result<usize, Fault> {
        match self.get("limit").map(str::parse) {
            None | Some(Ok(0)) => Ok(usize::MAX),
            Some(Ok(limit)) => Ok(limit),
            Some(Err(error)) => Err(Fault::parameter("limit", error)),
        }
    }

    fn time(self, name: &str) -> Result<Option<Timestamp>, Fault> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let seconds = text.parse::<f64>().ok().map(|seconds| (seconds * 1_000.0).round());
        let ms = match seconds {
            Some(ms) if ms.is_finite() => Some(ms as i64),
            Some(_) => None,
            None => text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond),
        };
        let at = ms.map(Timestamp).filter(|at| is_bounded(*at));
        at.map(Some)
            .ok_or_else(|| Fault::parameter(name, format!("cannot parse {text:?} to a valid timestamp")))
    }

    fn step(self) -> Result<Duration, Fault> {
        let text = self.get("step").unwrap_or("");
        let seconds = text.parse::<f64>().ok().map(Duration::try_from_secs_f64);
        let step = match seconds {
            Some(step) => step.ok(),
            None => parse_duration(text).ok(),
        };
        let is_valid = |step: &Duration| (1..=i64::MAX / 4).contains(&millis(*step));
        step.filter(is_valid).ok_or_else(|| {
            Fault::parameter("step", format!("cannot parse {text:?} to a valid duration above zero"))
        })
    }
}

fn check_size(name: &str, text: &str) -> Result<(), Fault> {
    if text.len() > QUERY_BYTES_MAX {
        let message = format!("it has {} bytes, the limit is {QUERY_BYTES_MAX}; split it", text.len());
        return Err(Fault::parameter(name, message));
    }
    let parentheses = text.matches('(').count();
    if parentheses > PARENTHESES_MAX {
        let message = format!("it has {parentheses} parentheses, the limit is {PARENTHESES_MAX}; split it");
        return Err(Fault::parameter(name, message));
    }
    Ok(())
}

/// With line and column, as Prometheus does.
fn not_accepted(name: &str, text: &str, error: &promql::Error) -> Fault {
    let before = text.get(..error.offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Fault::parameter(name, format!("{line}:{column}: {error}"))
}
