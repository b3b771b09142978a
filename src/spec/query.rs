//! PromQL within YAML: queries to indicators, and errors to their place in the file.

use std::borrow::Cow;

use super::{
    reader::{Place, Reader},
    yaml::Node,
};
use crate::{
    labels::{METRIC_NAME, MatchOp, Selector},
    promql::{self, Lowered, Ratio, Sum},
    slo::{HistogramMeasure, Indicator, Interval, Measure, Term, Threshold},
};

/// What a query's text is beside PromQL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Nothing.
    Plain,
    /// A text with Sloth's `{{.window}}` for the range.
    Sloth,
}

// A range nobody writes, no longer than the template it stands for.
const SLOTH_RANGE: &str = "1m1s1ms";
const SLOTH_TEMPLATE: &str = "{{.window}}";

// OpenMetrics: what the samples of counters, histograms and summaries end in.
const COUNTER_SUFFIXES: [&str; 4] = ["_total", "_bucket", "_count", "_sum"];

/// A query that is one sum of counters.
pub(super) fn read_sum(reader: &mut Reader<'_>, node: &Node, name: &str, dialect: Dialect) -> Option<Sum> {
    match lower(reader, node, name, dialect)? {
        Lowered::Sum(sum) => Some(sum),
        Lowered::Ratio(_) => {
            reader.error(place_of(reader, node, 0), format!("{name} must count events: it is a ratio"));
            None
        }
    }
}

/// A query that is a ratio of sums.
pub(super) fn read_ratio(
    reader: &mut Reader<'_>,
    node: &Node,
    name: &str,
    dialect: Dialect,
) -> Option<Ratio> {
    match lower(reader, node, name, dialect)? {
        Lowered::Ratio(ratio) => Some(ratio),
        Lowered::Sum(_) => {
            let message = format!("{name} must be a ratio of two counts: sum(…) / sum(…)");
            reader.error(place_of(reader, node, 0), message);
            None
        }
    }
}

/// A selector of gauges.
pub(super) fn read_gauge(reader: &mut Reader<'_>, node: &Node) -> Option<Selector> {
    match promql::selector(reader.text(node)?) {
        Ok(selector) => {
            warn_of_counter(reader, node, &selector);
            Some(selector)
        }
        Err(error) => {
            reader.error(place_of(reader, node, error.offset), error.message);
            None
        }
    }
}

fn warn_of_counter(reader: &mut Reader<'_>, node: &Node, selector: &Selector) {
    let names = selector.matchers.iter().filter(|matcher| matcher.name() == METRIC_NAME);
    let mut names = names.filter(|matcher| matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex));
    if let Some(counter) = names.find(|name| COUNTER_SUFFIXES.iter().any(|end| name.value().ends_with(end))) {
        let message = format!(
            "{} is a counter by its name, and a threshold is for gauges; count events with good, bad and total",
            counter.value()
        );
        reader.warn(place_of(reader, node, 0), message);
    }
}

/// Reports that two sums cannot be compared, at the node of the second.
pub(super) fn check_alike(reader: &mut Reader<'_>, at: Place, names: (&str, &str), sums: (&Sum, &Sum)) {
    if let Some(difference) = sums.0.difference(sums.1) {
        reader.error(at, restore(format!("{} and {} {difference}", names.0, names.1)));
    }
}

/// The indicator of bad events among all.
pub(super) fn bad_of_total(bad: Sum, total: Sum) -> Indicator {
    Indicator { group_by: total.group_by, bad: terms(bad.terms, 1.0), total: terms(total.terms, 1.0) }
}

/// The indicator of good events among all: the others are bad.
pub(super) fn good_of_total(good: Sum, total: Sum) -> Indicator {
    let mut bad = terms(total.terms.clone(), 1.0);
    bad.extend(terms(good.terms, -1.0));
    Indicator { group_by: total.group_by, bad, total: terms(total.terms, 1.0) }
}

/// The indicator of good and bad events: all are one or the other.
pub(super) fn good_and_bad(good: Sum, bad: Sum) -> Indicator {
    let mut total = terms(good.terms, 1.0);
    total.extend(terms(bad.terms.clone(), 1.0));
    Indicator { group_by: bad.group_by, bad: terms(bad.terms, 1.0), total }
}

/// The indicator of a gauge's samples: those that do not meet the condition are bad.
pub(super) fn samples_that_meet(gauge: Selector, condition: Threshold) -> Indicator {
    let term = |coefficient, measure| Term { coefficient, selector: gauge.clone(), measure };
    let less_good = term(-1.0, Measure::SamplesWhere(condition));
    let total = term(1.0, Measure::Samples);
    Indicator { bad: vec![total.clone(), less_good], total: vec![total], group_by: Vec::new() }
}

/// Reports group labels that cannot be put on series.
pub(super) fn check_group_labels(reader: &mut Reader<'_>, at: Place, indicator: &Indicator) {
    for label in &indicator.group_by {
        reader.check_label_name(at, label);
    }
}

fn terms(terms: Vec<promql::Term>, factor: f64) -> Vec<Term> {
    let term = |term: promql::Term| Term {
        coefficient: factor * term.coefficient,
        selector: term.selector,
        measure: measure(term.measure),
    };
    terms.into_iter().map(term).collect()
}

fn measure(measure: promql::Measure) -> Measure {
    let histogram = match measure {
        promql::Measure::Increase => return Measure::Increase,
        promql::Measure::HistogramCount => HistogramMeasure::Count,
        promql::Measure::HistogramSum => HistogramMeasure::Sum,
        promql::Measure::HistogramWithin { lower, upper } => {
            HistogramMeasure::Within(Interval { lower, upper })
        }
    };
    Measure::Histogram(histogram)
}

fn lower(reader: &mut Reader<'_>, node: &Node, name: &str, dialect: Dialect) -> Option<Lowered> {
    let text = reader.text(node)?;
    let promql = match dialect {
        Dialect::Plain => Cow::Borrowed(text),
        Dialect::Sloth => Cow::Owned(fill_template(text)),
    };
    if dialect == Dialect::Sloth && promql == text {
        reader.error(place_of(reader, node, 0), format!("{name} must have {SLOTH_TEMPLATE} for its ranges"));
        return None;
    }
    match promql::lower(&promql) {
        Ok(lowered) => Some(lowered),
        Err(error) => {
            reader.error(place_of(reader, node, error.offset), restore(error.message));
            None
        }
    }
}

/// Replaces the template by a range of the same length in bytes, so that offsets remain true.
fn fill_template(text: &str) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, length)) = find_template(rest) {
        filled.push_str(&rest[..start]);
        filled.push_str(&format!("{SLOTH_RANGE:<length$}"));
        rest = &rest[start + length..];
    }
    filled + rest
}

/// Start and length of the first `{{.window}}`; blanks within are allowed.
fn find_template(text: &str) -> Option<(usize, usize)> {
    let starts = text.match_indices("{{").map(|(start, _)| start);
    starts.into_iter().find_map(|start| {
        let length = text[start..].find("}}")? + 2;
        let inside = &text[start + 2..start + length - 2];
        (inside.trim_matches(' ') == ".window").then_some((start, length))
    })
}

fn restore(message: String) -> String {
    message.replace(SLOTH_RANGE, SLOTH_TEMPLATE)
}

/// Where the byte `offset` of a scalar's content stands in the document.
///
/// A YAML scalar's content and its source differ in blanks (indentation, folding) and, in quotes,
/// in escapes. So the characters that are not blank are counted in both.
fn place_of(reader: &Reader<'_>, node: &Node, offset: usize) -> Place {
    let source = reader.text.get(node.source.clone()).unwrap_or_default();
    let content = match &node.value {
        super::yaml::Value::Scalar(text) => text.as_str(),
        _ => "",
    };
    match source_offset(source, content, offset) {
        Some(offset) => place_at(reader.text, node.source.start + offset),
        None => node.at,
    }
}

fn source_offset(source: &str, content: &str, offset: usize) -> Option<usize> {
    let mut visible = visible(source);
    let mut end = 0;
    for (index, character) in content.char_indices().filter(|(_, c)| !c.is_whitespace()) {
        let (start, after, found) = visible.next()?;
        if found != character {
            return None;
        }
        if index >= offset {
            return Some(start);
        }
        end = after;
    }
    Some(end)
}

/// The characters of a scalar's source that are not blank: start, end, and what they stand for.
fn visible(source: &str) -> Box<dyn Iterator<Item = (usize, usize, char)> + '_> {
    let quoted = |quote| source.len() > 1 && source.starts_with(quote) && source.ends_with(quote);
    if quoted('"') {
        Box::new(unescape(source).filter(|(_, _, c)| !c.is_whitespace()))
    } else if quoted('\'') {
        Box::new(plain(source, 1..source.len() - 1).filter(is_not_second_quote(source)))
    } else {
        Box::new(plain(source, 0..source.len()))
    }
}

fn plain(source: &str, range: std::ops::Range<usize>) -> impl Iterator<Item = (usize, usize, char)> {
    let start = range.start;
    let characters = source[range].char_indices().filter(|(_, c)| !c.is_whitespace());
    characters.map(move |(index, c)| (start + index, start + index + c.len_utf8(), c))
}

/// In single quotes, `''` stands for one quote.
fn is_not_second_quote(source: &str) -> impl FnMut(&(usize, usize, char)) -> bool + '_ {
    let mut first: Option<usize> = None;
    move |(start, _, c)| {
        let second = *c == '\'' && first == start.checked_sub(1) && source[..*start].ends_with('\'');
        first = (*c == '\'' && !second).then_some(*start);
        !second
    }
}

/// The characters between double quotes.
fn unescape(source: &str) -> impl Iterator<Item = (usize, usize, char)> + '_ {
    let mut next = 1;
    std::iter::from_fn(move || {
        let start = next;
        let rest = source.get(start..source.len() - 1)?;
        let mut characters = rest.chars();
        let (length, c) = match characters.next()? {
            '\\' => escape(characters.as_str()),
            c => (c.len_utf8(), c),
        };
        next += length;
        Some((start, next, c))
    })
}

/// Length and meaning of an escape, given what follows its backslash. Most are control characters,
/// blank for the purpose.
fn escape(rest: &str) -> (usize, char) {
    let hex = |digits: usize| {
        let number = rest.get(1..=digits).and_then(|hex| u32::from_str_radix(hex, 16).ok());
        (digits + 2, number.and_then(char::from_u32).unwrap_or(' '))
    };
    match rest.chars().next() {
        Some('x') => hex(2),
        Some('u') => hex(4),
        Some('U') => hex(8),
        Some(c @ ('"' | '\\' | '/')) => (2, c),
        Some(c) => (1 + c.len_utf8(), ' '),
        None => (1, ' '),
    }
}

fn place_at(text: &str, offset: usize) -> Place {
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
    Place { line: narrow(before.matches('\n').count()), column: narrow(before[line_start..].chars().count()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Finds the content's `!` in a source whose mark `‸` is in front of it.
    #[track_caller]
    fn check(content: &str, marked: &str) {
        let offset = content.find('!').unwrap_or(content.len());
        let found = source_offset(&marked.replace('‸', ""), content, offset);
        assert_eq!(found, marked.find('‸'), "{content:?} in {marked:?}");
    }

    #[test]
    fn offsets_in_all_styles_of_scalars() {
        check("a !b", "a ‸!b");
        check("a\nb !c\n", "a\n    b ‸!c\n");
        check("é a b !c", "é a\n  b\n  ‸!c");
        check("it's 'a' !b", "'it''s ''a'' ‸!b'");
        check("'' !b", "''''' ‸!b'");
        check(r#"a "b" \d é !c"#, r#""a \"b\" \\d \u00e9 ‸!c""#);
        check("a\n\tb !c", "\"a\\n\\tb \\\n   ‸!c\"");
        check("a b", "a b‸");
        check("a b\n", "a\n  b‸\n");
    }

    #[test]
    fn a_source_that_does_not_fit_has_no_offset() {
        assert_eq!(source_offset("x", "a b", 2), None);
        assert_eq!(source_offset("", "a b", 2), None);
    }

    #[test]
    fn templates_are_filled_without_moving_anything() {
        assert_eq!(fill_template("rate(a[{{.window}}])"), "rate(a[1m1s1ms    ])");
        assert_eq!(fill_template("é{{ .window }} {{.window}}"), "é1m1s1ms       1m1s1ms    ");
        assert_eq!(fill_template("{{ .other }} {{"), "{{ .other }} {{");
    }
}
