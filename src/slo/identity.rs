//! What an SLO asks, as a text that outlives the process and its version.
//!
//! It is kept beside what was counted, and what was counted is used again only under the same text. So it says
//! everything that [`Slo::has_history_of`] compares besides the id, and it is written out here from end to end:
//! neither a change to how queries are shown nor one to a type changes it by accident.
//!
//! Invariant: two texts are equal if and only if what they say is. (A NaN in an expression equals itself here.)

use std::time::Duration;

use super::{
    Budgeting, Counted, Grouping, HistogramMeasure, Indicator, Interval, Measure, Pulled, Question, Replace,
    Sampled, Slo, Term, Threshold,
};
use crate::{
    expression::{Binary, Expression, LabelJoin, LabelReplace, Labeling, Source, Span},
    labels::{MatchOp, Matcher, Selector, quoted},
};

// === impl Slo ===

impl Slo {
    /// What the SLO asks and what its budget is counted in, beginning with a word for the version of the text:
    /// `counted/1 bad: 1*increase({__name__="requests_total",code="500"}) total: ...`. An SLO of the same id and
    /// identity goes on with what was counted for this one.
    pub fn identity(&self) -> String {
        let asked = match &self.indicator {
            Indicator::Counted(counted) => of_counted(counted),
            Indicator::Sampled(sampled) => of_sampled(sampled),
            Indicator::Pulled(pulled) => of_pulled(pulled),
        };
        format!("{asked} budgeting: {}", budgeting(self.objective.budgeting))
    }
}

fn of_counted(Counted { bad, total, group_by }: &Counted) -> String {
    format!("counted/1 bad: {} total: {} group: {}", terms(bad), terms(total), grouping(group_by))
}

fn of_sampled(Sampled { question: asked, step }: &Sampled) -> String {
    format!("sampled/1 {} step: {}", question(asked, expression), duration(*step))
}

fn of_pulled(Pulled { question: asked, step, is_grouped }: &Pulled) -> String {
    let grouped = if *is_grouped { "yes" } else { "no" };
    let asked = question(asked, |query| quoted(query));
    format!("pulled/1 {asked} step: {} grouped: {grouped}", duration(*step))
}

fn budgeting(budgeting: Budgeting) -> String {
    match budgeting {
        Budgeting::Occurrences => "occurrences".to_owned(),
        Budgeting::Timeslices { slice, target } => call("timeslices", [duration(slice), number(target)]),
        Budgeting::RatioTimeslices { slice } => call("ratio_timeslices", [duration(slice)]),
    }
}

// --- sums ---

fn terms(terms: &[Term]) -> String {
    if terms.is_empty() {
        return "none".to_owned();
    }
    terms.iter().map(term).collect::<Vec<_>>().join(" + ")
}

fn term(Term { coefficient, selector: of, measure: measured, replaces }: &Term) -> String {
    let arguments = std::iter::once(selector(of)).chain(replaces.iter().map(replace));
    format!("{}*{}", number(*coefficient), call(&measure(*measured), arguments))
}

fn measure(measure: Measure) -> String {
    let within = |name, Interval { lower, upper }| format!("{name}[{}, {}]", number(lower), number(upper));
    match measure {
        Measure::Increase => "increase".to_owned(),
        Measure::Samples => "samples".to_owned(),
        Measure::SamplesWhere(threshold) => format!("samples[{}]", condition(threshold)),
        Measure::Values => "values".to_owned(),
        Measure::VmRange(interval) => within("vmrange", interval),
        Measure::Histogram(HistogramMeasure::Count) => "histogram_count".to_owned(),
        Measure::Histogram(HistogramMeasure::Sum) => "histogram_sum".to_owned(),
        Measure::Histogram(HistogramMeasure::Within(interval)) => within("histogram_within", interval),
    }
}

fn replace(Replace { label, replacement, source }: &Replace) -> String {
    call("replace", [quoted(label), quoted(replacement), matcher(source)])
}

fn grouping(grouping: &Grouping) -> String {
    match grouping {
        Grouping::By(names) => call("by", names.iter().map(|name| quoted(name))),
        Grouping::Without(names) => call("without", names.iter().map(|name| quoted(name))),
    }
}

// --- questions ---

fn question<E>(question: &Question<E>, text: impl Fn(&E) -> String) -> String {
    match question {
        Question::BadRatio(of) => call("bad_ratio", [text(of)]),
        Question::GoodRatio(of) => call("good_ratio", [text(of)]),
        Question::Condition(of, good) => call("condition", [text(of), condition(*good)]),
        Question::Events { bad, total } => call("events", [text(bad), text(total)]),
    }
}

fn condition(Threshold { op, bound }: Threshold) -> String {
    format!("{} {}", op.name(), number(bound))
}

/// Every part as a call, so that nothing hangs on precedence.
fn expression(of: &Expression) -> String {
    match of {
        Expression::Number(value) => number(*value),
        Expression::Time => "time()".to_owned(),
        Expression::Latest(of, offset) => call("latest", [selector(of), duration(*offset)]),
        Expression::OverTime(function, over) => call(function.name(), span(over)),
        Expression::QuantileOverTime(quantile, over) => {
            call("quantile_over_time", std::iter::once(expression(quantile)).chain(span(over)))
        }
        Expression::Call(function, arguments) => call(function.name(), arguments.iter().map(expression)),
        Expression::LabelReplace(of, replace) => {
            let LabelReplace { label, replacement, source } = &**replace;
            call("label_replace", [expression(of), quoted(label), quoted(replacement), matcher(source)])
        }
        Expression::LabelJoin(of, LabelJoin { label, separator, sources }) => {
            let words = [label, separator].into_iter().chain(sources).map(|word| quoted(word));
            call("label_join", std::iter::once(expression(of)).chain(words))
        }
        Expression::Aggregate(aggregation, by, of) => {
            call("aggregate", [aggregation.name().to_owned(), labeling(by), expression(of)])
        }
        Expression::Quantile(quantile, by, of) => {
            call("quantile", [expression(quantile), labeling(by), expression(of)])
        }
        Expression::Negative(of) => call("negative", [expression(of)]),
        Expression::Binary(binary) => of_binary(binary),
    }
}

fn span(Span { of, range, offset }: &Span) -> [String; 3] {
    let of = match of {
        Source::Series(of) => selector(of),
        Source::Steps(of, step) => call("steps", [expression(of), duration(*step)]),
    };
    [of, duration(*range), duration(*offset)]
}

fn of_binary(Binary { operator, is_bool, matching, left, right }: &Binary) -> String {
    let word = if *is_bool { "bool" } else { "" };
    let operator = format!("{}{word}", operator.name());
    call("binary", [operator, labeling(matching), expression(left), expression(right)])
}

fn labeling(labeling: &Labeling) -> String {
    match labeling {
        Labeling::Only(names) => call("only", names.iter().map(|name| quoted(name))),
        Labeling::AllBut(names) => call("all_but", names.iter().map(|name| quoted(name))),
    }
}

// --- words ---

fn call(name: &str, arguments: impl IntoIterator<Item = String>) -> String {
    format!("{name}({})", arguments.into_iter().collect::<Vec<_>>().join(", "))
}

fn selector(selector: &Selector) -> String {
    format!("{{{}}}", selector.matchers.iter().map(matcher).collect::<Vec<_>>().join(","))
}

fn matcher(matcher: &Matcher) -> String {
    let op = match matcher.op() {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    format!("{}{op}{}", label(matcher.name()), quoted(matcher.value()))
}

/// Names beyond Prometheus' classic ones may contain anything.
fn label(name: &str) -> String {
    let is_classic = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if !name.is_empty() && name.chars().all(is_classic) { name.to_owned() } else { quoted(name) }
}

/// The shortest digits that read back to the number. Zero has no sign.
fn number(number: f64) -> String {
    (number + 0.0).to_string()
}

fn duration(duration: Duration) -> String {
    match duration.subsec_nanos() {
        0 => format!("{}s", duration.as_secs()),
        nanos => format!("{}.{nanos:09}s", duration.as_secs()),
    }
}

#[cfg(test)]
mod tests;
