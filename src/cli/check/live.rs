//! `slod check --live URL`: which selectors match nothing, asked of a server with Prometheus' API.
//!
//! A selector without series is no error: what fails seldom has no series of failures. So all of this is warnings. The
//! number of questions is bounded, and so is the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    labels::{METRIC_NAME, MatchOp, Matcher, Selector},
    slo::{Indicator, Slo},
    source::{self, Config, Source},
    spec::{Diagnostic, Specs},
    time::{Timestamp, format_duration},
};

// A batch job may be scraped for minutes only; looking back longer costs the server more.
const LOOKBACK: Duration = Duration::from_secs(3_600);
// How many questions a server answers at a time on our behalf: half of what Prometheus allows by default.
const CONCURRENCY: usize = 10;
// With 1,000 SLOs this is all of their selectors; the rest is not asked for.
const SELECTORS_MAX: usize = 5_000;
// Why there is nothing is asked for the first selectors only: a mistake is seldom alone.
const REASONS_MAX: usize = 50;
const TIME_MAX: Duration = Duration::from_secs(120);
// A name of which a third differs is another name.
const NEAR: usize = 3;

/// A warning for each selector of an SLO that has no series.
///
/// # Errors
/// When the server cannot be asked.
pub(super) fn warnings(url: &str, specs: &Specs, now: Timestamp) -> anyhow::Result<Vec<Diagnostic>> {
    let address = source::address(url).context("cannot use the URL of --live")?;
    let source = Source::new(Config::new("--live", address))?;
    let live = Live { source: Arc::new(source), now };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async { timeout(TIME_MAX, live.warnings(specs)).await });
    asked.unwrap_or_else(|_| bail!("cannot ask for all series within {}", format_duration(TIME_MAX)))
}

/// A server, and the moment that is looked back from.
struct Live {
    source: Arc<Source>,
    now: Timestamp,
}

// === impl Live ===

impl Live {
    async fn warnings(&self, specs: &Specs) -> anyhow::Result<Vec<Diagnostic>> {
        let selectors = selectors(specs);
        let texts: Vec<&String> = selectors.keys().take(SELECTORS_MAX).collect();
        let empty = self.empty(&texts).await?;
        let mut names = None;
        let mut reasons = BTreeMap::new();
        for text in empty.iter().take(REASONS_MAX) {
            reasons.insert(text.as_str(), self.reason(selectors[text], &mut names).await?);
        }
        let mut warnings = Vec::new();
        for slo in &specs.slos {
            for selector in distinct(slo).into_iter().filter(|text| empty.contains(text)) {
                let reason = reasons.get(selector.as_str()).map_or("", String::as_str);
                let message = message(slo, &selector, reason);
                warnings.push(Diagnostic::warning_at(&specs.places[&slo.id], message));
            }
        }
        Ok(warnings)
    }

    /// Those of the selectors that have no series.
    async fn empty(&self, selectors: &[&String]) -> anyhow::Result<BTreeSet<String>> {
        let mut empty = BTreeSet::new();
        for some in selectors.chunks(CONCURRENCY) {
            let mut questions = JoinSet::new();
            for selector in some {
                let (source, now, selector) = (Arc::clone(&self.source), self.now, (*selector).clone());
                questions.spawn(async move {
                    let found = source.query(&count(&selector), now).await?;
                    anyhow::Ok((selector, found.is_empty()))
                });
            }
            for answer in questions.join_all().await {
                let (selector, is_empty) = answer?;
                empty.extend(is_empty.then_some(selector));
            }
        }
        Ok(empty)
    }

    /// Why a selector has no series, as far as that can be said.
    async fn reason(&self, selector: &Selector, names: &mut Option<Vec<String>>) -> anyhow::Result<String> {
        let Some(name) = selector.metric_name() else { return Ok(String::new()) };
        if names.is_none() {
            let start = Timestamp(self.now.0 - crate::time::millis(LOOKBACK));
            *names = Some(self.source.label_values(METRIC_NAME, start, self.now).await?);
        }
        let names = names.as_deref().unwrap_or_default();
        if !names.iter().any(|known| known == name) {
            return Ok(format!("; there is no metric {name}{}", suggestion(name, names)));
        }
        for matcher in selector.matchers.iter().filter(|matcher| matcher.name() != METRIC_NAME) {
            let alone =
                Selector { matchers: vec![Matcher::equal(METRIC_NAME, name), matcher.clone()] }.to_string();
            if self.source.query(&count(&alone), self.now).await?.is_empty() {
                return self.reason_of(name, matcher).await;
            }
        }
        Ok("; each of its conditions has some, but not all together".to_owned())
    }

    /// Why no series of a metric meets a condition.
    async fn reason_of(&self, name: &str, matcher: &Matcher) -> anyhow::Result<String> {
        let label = matcher.name();
        let values = format!("group by ({label}) (last_over_time({name}[{}]))", format_duration(LOOKBACK));
        let values = self.source.query(&values, self.now).await?;
        let values: Vec<String> = values.iter().map(|(labels, _)| labels.get(label).to_owned()).collect();
        let near =
            if matcher.op() == MatchOp::Equal { suggestion(matcher.value(), &values) } else { String::new() };
        Ok(format!("; no {name} has {matcher}{near}"))
    }
}

/// Counts the series of a selector.
fn count(selector: &str) -> String {
    format!("count(last_over_time({selector}[{}]))", format_duration(LOOKBACK))
}

/// Every selector once, by its text.
fn selectors(specs: &Specs) -> BTreeMap<String, &Selector> {
    let all = specs.slos.iter().flat_map(|slo| slo.indicator.selectors());
    all.map(|selector| (selector.to_string(), selector)).collect()
}

fn distinct(slo: &Slo) -> BTreeSet<String> {
    slo.indicator.selectors().into_iter().map(ToString::to_string).collect()
}

fn message(slo: &Slo, selector: &str, reason: &str) -> String {
    let lookback = format_duration(LOOKBACK);
    let only_bad = match &slo.indicator {
        Indicator::Counted(counted) => {
            !counted.total.iter().any(|term| term.selector.to_string() == selector)
        }
        Indicator::Sampled(_) | Indicator::Pulled(_) => false,
    };
    let fine = if only_bad { "; that is right if nothing was bad" } else { "" };
    format!("SLO {}: {selector} has no series in the last {lookback}{reason}{fine}", slo.id)
}

/// `, did you mean …?` with the nearest name, if one is near.
fn suggestion(name: &str, known: &[String]) -> String {
    let distance = |known: &String| strsim::damerau_levenshtein(name, known);
    match known.iter().filter(|known| !known.is_empty()).min_by_key(|known| distance(known)) {
        Some(near) if distance(near) * NEAR <= near.len() => format!(" (did you mean {near}?)"),
        _ => String::new(),
    }
}
