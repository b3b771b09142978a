//! From the queries of an SLI to its indicator.
//!
//! In this order: counted, if the queries are linear in what series gain; sampled, over subqueries of the window, or
//! over slices of five minutes in place of the window; pulled. An SLI that is worse than counted for another reason
//! than that its author wrote a subquery gets a doubt that says so.

use std::time::Duration;

use promql_parser::parser::{self, Expr};

use super::{
    Error, Parsed, Refused, Spot, instant, is_counter_name,
    labels::is_single,
    linear::{Lowering, Quotient, Sum, Value, simplified},
    lower_lone_selector, number, precedence, reasons, refuse, refuse_wrong, steps, walk,
};
use crate::{
    slo::{Counted, Indicator, Measure, Pulled, Question, Sampled, Term, Threshold},
    time::format_duration,
};

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
    /// What stands for whichever window is asked for, where the format has a template. Without one, every range
    /// does.
    pub template: Option<Template>,
    /// Whether a selector without a function is a counter that is to be counted.
    pub counts_bare_selectors: bool,
    /// How often a Prometheus may be asked for what cannot be streamed, if there is one.
    pub pull_interval: Option<Duration>,
}

/// A range that nobody writes, in place of a format's own notation for the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// As the queries have it.
    pub text: &'static str,
    /// What it parses to.
    pub range: Duration,
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

/// What stands for the window where it cannot be any: Sloth's shortest, of which it makes its budgets.
const SLICE: Duration = Duration::from_secs(300);
/// Prometheus' usual evaluation interval, the step of its subqueries.
pub(super) const STEP: Duration = Duration::from_secs(60);

/// Compiles the queries of an SLI.
///
/// ```
/// # use slod::{promql::{Asked, Settings, compile}, slo::Indicator};
/// let ratio = r#"sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m]))"#;
/// let compiled = compile(Asked::BadRatio(ratio), Settings::default())?;
/// assert!(matches!(compiled.indicator, Indicator::Counted(_)));
///
/// let refusal = compile(Asked::BadRatio("sum(rate(a[5m])) / sum(increase(b[5m]))"), Settings::default());
/// let message = "the two sides of / use different functions: rate and increase; use the same on both";
/// assert_eq!(refusal.unwrap_err().to_string(), message);
/// # Ok::<(), slod::promql::Refusal>(())
/// ```
///
/// # Errors
/// When a query is no PromQL, is refused, or the two do not go together.
pub fn compile(asked: Asked<'_>, settings: Settings) -> Result<Compiled, Refusal> {
    let (first, second) = asked.texts();
    let refusal = |query| move |error| Refusal { query, error };
    let mut parsed = vec![Parsed::new(first).map_err(refusal(0))?];
    if let Some(second) = second {
        parsed.push(Parsed::new(second).map_err(refusal(1))?);
    }
    Queries { asked, settings, parsed: &parsed }.compile()
}

/// Compiles the queries of an SLI that are to be evaluated at steps of time, whatever they are.
///
/// # Errors
/// When a query is no PromQL, or needs a Prometheus and there is none.
pub fn compile_at_steps(
    question: Question<&str>,
    step: Duration,
    settings: Settings,
) -> Result<Indicator, Refusal> {
    let (mut texts, mut is_grouped) = (0.., false);
    let sampled = question.try_map(|text| {
        let query = texts.next().unwrap_or_default();
        let parsed = Parsed::new(text).map_err(|error| (true, Refusal { query, error }))?;
        is_grouped |= !is_single(&parsed.root);
        instant::lower(&parsed.root, None).map_err(|refused| {
            let is_wrong = refused.is_wrong;
            (is_wrong, Refusal { query, error: parsed.error(&refused.or_pull()) })
        })
    });
    match sampled {
        Ok(question) => Ok(Indicator::Sampled(Sampled { question, step })),
        Err((false, _)) if settings.pull_interval.is_some() => {
            let question = question.map(str::to_owned);
            Ok(Indicator::Pulled(Pulled { question, step, is_grouped }))
        }
        Err((_, refusal)) => Err(refusal),
    }
}

/// The queries of an SLI, parsed.
struct Queries<'q> {
    asked: Asked<'q>,
    settings: Settings,
    parsed: &'q [Parsed<'q>],
}

/// A refused node of the n-th query.
type RefusedAt<'e> = (usize, Refused<'e>);

// === impl Queries ===

impl<'q> Queries<'q> {
    fn compile(&self) -> Result<Compiled, Refusal> {
        for (query, parsed) in self.parsed.iter().enumerate() {
            precedence::check(&parsed.root).map_err(|refused| self.refusal(query, &refused))?;
        }
        let (query, reason) = match self.counted() {
            Ok(compiled) => return Ok(compiled),
            Err((query, refused)) if refused.is_wrong => return Err(self.refusal(query, &refused)),
            Err(refused) => refused,
        };
        if let Some(indicator) = self.over_steps() {
            return Ok(Compiled { indicator, doubts: Vec::new() });
        }
        let is_condition = matches!(self.asked, Asked::Condition(..));
        let doubt = |how: String| {
            let message = format!("{}; {how}", reason.message);
            let offset = self.parsed[query].error(&reason).offset;
            if is_condition { Vec::new() } else { vec![Doubt { query, offset, message }] }
        };
        match (self.sampled(), self.settings.pull_interval) {
            (Ok(sampled), _) => {
                let over = if self.settings.template.is_some() { " over the last 5m" } else { "" };
                let how = format!("so it is evaluated every 1m{over}, and windows are made of these moments");
                Ok(Compiled { indicator: Indicator::Sampled(sampled), doubts: doubt(how) })
            }
            (Err(_), Some(interval)) => {
                let indicator = Indicator::Pulled(self.pulled(interval));
                let how = format!("so a Prometheus is asked every {}", format_duration(interval));
                Ok(Compiled { indicator, doubts: doubt(how) })
            }
            (Err((query, refused)), None) => Err(self.refusal(query, &refused.or_pull())),
        }
    }

    fn refusal(&self, query: usize, refused: &Refused<'_>) -> Refusal {
        Refusal { query, error: self.parsed[query].error(refused) }
    }

    fn root(&self, query: usize) -> &'q Expr {
        &self.parsed[query].root
    }

    // --- counted ---

    fn counted(&self) -> Result<Compiled, RefusedAt<'q>> {
        let mut lowerings: Vec<Lowering<'q>> =
            self.parsed.iter().map(|parsed| self.lowering(parsed)).collect();
        let indicator = self.count(&mut lowerings)?;
        let doubts = lowerings.into_iter().enumerate().flat_map(|(query, lowering)| {
            let error = move |refused: Refused<'_>| (query, self.parsed[query].error(&refused));
            lowering.doubts.into_iter().map(error)
        });
        let doubts = doubts.map(|(query, Error { offset, message })| Doubt { query, offset, message });
        Ok(Compiled { indicator: Indicator::Counted(indicator), doubts: doubts.collect() })
    }

    fn lowering(&self, parsed: &'q Parsed<'q>) -> Lowering<'q> {
        Lowering {
            template: self.settings.template.map(|template| template.range),
            counts_bare_selectors: self.settings.counts_bare_selectors,
            doubts: Vec::new(),
            shares: parsed.shares(),
        }
    }

    fn count(&self, lowerings: &mut [Lowering<'q>]) -> Result<Counted, RefusedAt<'q>> {
        match self.asked {
            // A ratio in place of the one count, and 1 in place of the other.
            Asked::BadOfTotal(..) | Asked::GoodOfTotal(..) if number(self.root(1)) == Some(1.0) => {
                let is_bad = matches!(self.asked, Asked::BadOfTotal(..));
                self.ratio(lowerings, is_bad)
            }
            Asked::BadOfTotal(..) => self.sums(lowerings).map(|(bad, total)| counted(bad.terms, total)),
            Asked::GoodOfTotal(..) => {
                self.sums(lowerings).map(|(good, total)| counted(rest(&total.terms, good.terms), total))
            }
            Asked::GoodAndBad(..) => {
                let (good, bad) = self.sums(lowerings)?;
                let all = simplified(good.terms.iter().chain(&bad.terms).cloned().collect());
                Ok(counted(bad.terms, Sum { terms: all, ..good }))
            }
            Asked::BadRatio(_) => self.ratio(lowerings, true),
            Asked::GoodRatio(_) => self.ratio(lowerings, false),
            Asked::Condition(_, condition) => self.samples_that_meet(lowerings, condition),
        }
    }

    fn ratio(&self, lowerings: &mut [Lowering<'q>], is_bad: bool) -> Result<Counted, RefusedAt<'q>> {
        let harmless = if is_bad { 0.0 } else { 1.0 };
        let Quotient { numerator, denominator, .. } = self.quotient(lowerings, harmless)?;
        let bad = if is_bad { numerator.terms } else { rest(&denominator.terms, numerator.terms) };
        Ok(counted(bad, denominator))
    }

    /// Two sums of the same groups.
    fn sums(&self, lowerings: &mut [Lowering<'q>]) -> Result<(Sum, Sum), RefusedAt<'q>> {
        let mut sum =
            |query: usize| lowerings[query].sum(self.root(query)).map_err(|refused| (query, refused));
        let (first, second) = (sum(0)?, sum(1)?);
        if let Some(difference) = first.difference(&second) {
            let refused = refuse_wrong(self.root(1), format!("the two queries {difference}"));
            return refused.map_err(|refused| (1, refused));
        }
        if !first.is_plain() {
            return refuse(self.root(0), "a count that is not zero where there is nothing to count")
                .map_err(|refused| (0, refused));
        }
        Ok((first, second))
    }

    /// A quotient whose default, if it has one, says that nothing is bad.
    fn quotient(&self, lowerings: &mut [Lowering<'q>], harmless: f64) -> Result<Quotient, RefusedAt<'q>> {
        let root = self.root(0);
        let value = lowerings[0].lower(root);
        let quotient = match value {
            Ok(Value::Quotient(quotient)) => Ok(quotient),
            Ok(Value::Sum(sum)) => refuse_wrong(root, reasons::of_count(&sum)),
            Ok(Value::Number(number)) => {
                refuse_wrong(root, format!("is {number} whatever happens; write a ratio: sum(…) / sum(…)"))
            }
            Err(refused) => Err(refused),
        };
        let quotient = quotient.map_err(|refused| (0, refused))?;
        match quotient.default {
            Some(default) if default != harmless => {
                refuse(root, format!("a ratio of {default} where there is nothing to count"))
                    .map_err(|refused| (0, refused))
            }
            _ => Ok(quotient),
        }
    }

    /// A lone selector is a gauge, of which every sample is an event.
    fn samples_that_meet(
        &self,
        lowerings: &mut [Lowering<'q>],
        condition: Threshold,
    ) -> Result<Counted, RefusedAt<'q>> {
        let root = self.root(0);
        let selector = lower_lone_selector(root).map_err(|refused| (0, refused))?;
        let names = selector.matchers.iter().filter(|matcher| matcher.name() == crate::labels::METRIC_NAME);
        if let Some(name) = names.into_iter().find(|matcher| is_counter_name(matcher.value())) {
            let message = format!(
                "{} is a counter by its name, and a threshold is for gauges; count events with good, bad and total",
                name.value()
            );
            lowerings[0].doubts.push(Refused { node: root, spot: Spot::Itself, message, is_wrong: false });
        }
        let term = |coefficient, measure| Term {
            coefficient,
            selector: selector.clone(),
            measure,
            replaces: Vec::new(),
        };
        let less_good = term(-1.0, Measure::SamplesWhere(condition));
        let total = term(1.0, Measure::Samples);
        let group_by = crate::slo::Grouping::none();
        Ok(Counted { bad: vec![total.clone(), less_good], total: vec![total], group_by })
    }

    // --- sampled ---

    /// Queries that are made of subqueries over the window: each step is what counts.
    fn over_steps(&self) -> Option<Indicator> {
        let template = self.settings.template.map(|template| template.range);
        let (question, step) = match self.asked {
            Asked::BadOfTotal(..) => steps::events(self.root(0), self.root(1), template)?,
            Asked::GoodOfTotal(..) | Asked::GoodAndBad(..) | Asked::Condition(..) => return None,
            Asked::BadRatio(_) => steps::ratio(self.root(0), template, true)?,
            Asked::GoodRatio(_) => steps::ratio(self.root(0), template, false)?,
        };
        Some(Indicator::Sampled(Sampled { question, step }))
    }

    /// The queries at moments, over a slice where they have the window.
    fn sampled(&self) -> Result<Sampled, RefusedAt<'q>> {
        let replace = self.settings.template.map(|template| (template.range, SLICE));
        let expression =
            |query: usize| instant::lower(self.root(query), replace).map_err(|refused| (query, refused));
        let question = match self.asked {
            Asked::BadRatio(_) => Question::BadRatio(expression(0)?),
            Asked::GoodRatio(_) => Question::GoodRatio(expression(0)?),
            Asked::Condition(_, condition) => Question::Condition(expression(0)?, condition),
            Asked::BadOfTotal(..) | Asked::GoodOfTotal(..) | Asked::GoodAndBad(..) => {
                expression(0)?;
                expression(1)?;
                let text = |query: usize| self.root(query).to_string();
                let events = self.events_of_pair(text, step_share(self.root(0), replace));
                let lower = |text: String| {
                    let made = parser::parse(&text).ok()?;
                    instant::lower(&made, replace).ok()
                };
                let (bad, total) = (lower(events.0), lower(events.1));
                let made = bad.zip(total).map_or_else(|| refuse(self.root(0), "cannot be combined"), Ok);
                let (bad, total) = made.map_err(|refused| (0, refused))?;
                Question::Events { bad, total }
            }
        };
        Ok(Sampled { question, step: STEP })
    }

    /// Bad and all events of two queries, as PromQL.
    fn events_of_pair(&self, text: impl Fn(usize) -> String, share: f64) -> (String, String) {
        let (one, other) = (text(0), text(1));
        match self.asked {
            Asked::GoodOfTotal(..) => {
                (format!("(({other}) - ({one})) * {share}"), format!("({other}) * {share}"))
            }
            Asked::GoodAndBad(..) => {
                (format!("({other}) * {share}"), format!("(({one}) + ({other})) * {share}"))
            }
            _ => (format!("({one}) * {share}"), format!("({other}) * {share}")),
        }
    }

    // --- pulled ---

    fn pulled(&self, interval: Duration) -> Pulled {
        let (first, second) = self.asked.texts();
        let fill = |text: &str| match self.settings.template {
            Some(template) => text.replace(template.text, &format_duration(SLICE)),
            None => text.to_owned(),
        };
        let question = match self.asked {
            Asked::BadRatio(text) => Question::BadRatio(fill(text)),
            Asked::GoodRatio(text) => Question::GoodRatio(fill(text)),
            Asked::Condition(text, condition) => Question::Condition(fill(text), condition),
            Asked::BadOfTotal(..) | Asked::GoodOfTotal(..) | Asked::GoodAndBad(..) => {
                let share = interval.as_secs_f64() / STEP.as_secs_f64() * step_share(self.root(0), None);
                let text = |query: usize| fill(if query == 0 { first } else { second.unwrap_or_default() });
                let (bad, total) = self.events_of_pair(text, share);
                Question::Events { bad, total }
            }
        };
        let is_grouped = !self.parsed.iter().all(|parsed| is_single(&parsed.root));
        Pulled { question, step: interval, is_grouped }
    }
}

/// How many of a query's units are events of one step: rates are per second, increases per range.
fn step_share(expr: &Expr, replace: Option<(Duration, Duration)>) -> f64 {
    let mut share = None;
    walk(expr, &mut |node| {
        let Expr::Call(call) = node else { return };
        let range = call.args.args.first().and_then(|argument| match super::without_parentheses(argument) {
            Expr::MatrixSelector(matrix) => Some(matrix.range),
            _ => None,
        });
        let range = range.map(|range| replace.filter(|(from, _)| *from == range).map_or(range, |(_, to)| to));
        match (call.func.name, range) {
            ("rate" | "irate" | "deriv", _) => share = Some(STEP.as_secs_f64()),
            ("increase" | "sum_over_time" | "count_over_time", Some(range)) if share.is_none() => {
                share = Some(STEP.as_secs_f64() / range.as_secs_f64());
            }
            _ => (),
        }
    });
    share.unwrap_or(1.0)
}

/// What remains of all when some are taken away.
fn rest(all: &[Term], taken: Vec<Term>) -> Vec<Term> {
    let minus = |term: Term| Term { coefficient: -term.coefficient, ..term };
    simplified(all.iter().cloned().chain(taken.into_iter().map(minus)).collect())
}

fn counted(bad: Vec<Term>, total: Sum) -> Counted {
    Counted { bad, total: total.terms, group_by: total.group_by }
}

// === impl Asked ===

impl<'t> Asked<'t> {
    fn texts(self) -> (&'t str, Option<&'t str>) {
        match self {
            Self::BadOfTotal(one, other) | Self::GoodOfTotal(one, other) | Self::GoodAndBad(one, other) => {
                (one, Some(other))
            }
            Self::BadRatio(text) | Self::GoodRatio(text) | Self::Condition(text, _) => (text, None),
        }
    }
}
