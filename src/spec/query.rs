//! PromQL within YAML: queries to indicators, and errors to their place in the file.

use std::{borrow::Cow, time::Duration};

use super::{
    reader::{Place, Reader},
    yaml::{Node, Value},
};
use crate::{
    labels::Selector,
    promql::{self, Asked, Compiled, Template},
    slo::{Counted, EXPORTED, Grouping, Indicator, Measure, OWN_LABELS, Question, Term, Threshold},
};

/// How a format writes the window that a query is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Not at all: every range stands for it.
    Plain,
    /// As `{{.window}}`, which Sloth insists on.
    Sloth,
    /// As `[window]`, or as a range.
    SloGenerator,
    /// As `{{.window}}`, `[window]`, `$window` or `$__window`, or as a range: OpenSLO does not say.
    OpenSlo,
}

/// A query with where it was written.
pub(super) struct Query<'n> {
    /// The name of its field.
    pub(super) name: &'n str,
    /// PromQL in a dialect.
    pub(super) text: Cow<'n, str>,
    /// The field's value. A text that differs from it was made from it: its errors are placed at its start.
    pub(super) node: &'n Node,
}

/// What two queries of an SLI count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    BadOfTotal,
    GoodOfTotal,
    GoodAndBad,
}

/// What the ratio that a query gives is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ratio {
    Bad,
    Good,
}

// A range nobody writes, no longer than any template it stands for.
const TEMPLATE: Template = Template { text: "9871ms", range: Duration::from_millis(9_871) };
const SLOTH_TEMPLATE: &str = "{{.window}}";

/// The indicator of two queries that count events.
pub(super) fn read_pair(
    reader: &mut Reader<'_>,
    dialect: Dialect,
    pair: Pair,
    first: &Query<'_>,
    second: &Query<'_>,
) -> Option<Indicator> {
    let (one, other) = (fill(reader, dialect, first), fill(reader, dialect, second));
    let (one, other) = (one?, other?);
    let asked = match pair {
        Pair::BadOfTotal => Asked::BadOfTotal(&one, &other),
        Pair::GoodOfTotal => Asked::GoodOfTotal(&one, &other),
        Pair::GoodAndBad => Asked::GoodAndBad(&one, &other),
    };
    let indicator = compile(reader, dialect, asked, &[first, second])?;
    if matches!(&indicator, Indicator::Counted(counted) if counted.bad == counted.total) {
        let message = format!("{} and {} count the same: every event would be bad", first.name, second.name);
        second.error(reader, 0, &message);
    }
    Some(indicator)
}

/// The indicator of a query that gives a ratio of events.
pub(super) fn read_ratio(
    reader: &mut Reader<'_>,
    dialect: Dialect,
    ratio: Ratio,
    query: &Query<'_>,
) -> Option<Indicator> {
    let text = fill(reader, dialect, query)?;
    let asked = match ratio {
        Ratio::Bad => Asked::BadRatio(&text),
        Ratio::Good => Asked::GoodRatio(&text),
    };
    compile(reader, dialect, asked, &[query])
}

/// The indicator of a query whose value is good if it meets a condition. A lone selector is a gauge, of which
/// every sample is an event.
pub(super) fn read_condition(
    reader: &mut Reader<'_>,
    dialect: Dialect,
    query: &Query<'_>,
    condition: Threshold,
) -> Option<Indicator> {
    let text = fill(reader, dialect, query)?;
    compile(reader, dialect, Asked::Condition(&text, condition), &[query])
}

/// The indicator of queries that are evaluated at steps of time, as they are written.
pub(super) fn read_at_steps(
    reader: &mut Reader<'_>,
    question: &Question<Query<'_>>,
    step: Duration,
) -> Option<Indicator> {
    let settings =
        promql::Settings { pull_interval: reader.settings.pull_interval, ..promql::Settings::default() };
    let texts = question.as_ref().map(|query| &*query.text);
    match promql::compile_at_steps(texts, step, settings) {
        Ok(indicator) => Some(indicator),
        Err(refusal) => {
            if let Some(query) = question.expressions().nth(refusal.query) {
                query.error(reader, refusal.error.offset, &refusal.error.message);
            }
            None
        }
    }
}

/// A selector that stands alone, such as Pyrra's metrics.
pub(super) fn read_selector(reader: &mut Reader<'_>, query: &Query<'_>) -> Option<Selector> {
    match promql::selector(&query.text) {
        Ok(selector) => Some(selector),
        Err(error) => {
            query.error(reader, error.offset, &error.message);
            None
        }
    }
}

/// An indicator of selectors, each with a coefficient and what is counted of it.
pub(super) fn counted(
    bad: impl IntoIterator<Item = (f64, Selector, Measure)>,
    total: impl IntoIterator<Item = (f64, Selector, Measure)>,
    group_by: Grouping,
) -> Indicator {
    let term =
        |(coefficient, selector, measure)| Term { coefficient, selector, measure, replaces: Vec::new() };
    Indicator::Counted(Counted {
        bad: bad.into_iter().map(term).collect(),
        total: total.into_iter().map(term).collect(),
        group_by,
    })
}

/// The PromQL of a query, its template filled in. The result is as long as the text, so that offsets hold.
fn fill<'q>(reader: &mut Reader<'_>, dialect: Dialect, query: &'q Query<'_>) -> Option<Cow<'q, str>> {
    let filled = match dialect {
        Dialect::Plain => return Some(Cow::Borrowed(&query.text)),
        Dialect::Sloth => fill_template(&query.text, find_braces),
        Dialect::SloGenerator => fill_template(&query.text, find_bracketed),
        Dialect::OpenSlo => fill_template(&query.text, |text| {
            let found = [find_braces(text), find_bracketed(text), find_variable(text)];
            found.into_iter().flatten().min()
        }),
    };
    if dialect == Dialect::Sloth && filled == query.text {
        query.error(reader, 0, &format!("{} must have {SLOTH_TEMPLATE} for its ranges", query.name));
        return None;
    }
    Some(Cow::Owned(filled))
}

fn compile(
    reader: &mut Reader<'_>,
    dialect: Dialect,
    asked: Asked<'_>,
    queries: &[&Query<'_>],
) -> Option<Indicator> {
    let has_template = queries.iter().any(|query| dialect != Dialect::Plain && query.has_template());
    let settings = promql::Settings {
        template: (dialect == Dialect::Sloth || has_template).then_some(TEMPLATE),
        counts_bare_selectors: dialect == Dialect::OpenSlo,
        pull_interval: reader.settings.pull_interval,
    };
    match promql::compile(asked, settings) {
        Ok(Compiled { indicator, doubts }) => {
            for doubt in doubts {
                queries[doubt.query].warn(reader, doubt.offset, &doubt.message);
            }
            if let Indicator::Counted(counted) = &indicator {
                warn_of_renamed(reader, queries[0], &counted.group_by);
            }
            Some(indicator)
        }
        Err(refusal) => {
            let (query, message) = (queries[refusal.query], refusal.error.message);
            query.error(reader, refusal.error.offset, &named(queries, query, &message));
            None
        }
    }
}

/// Warns of groups by labels of slod's own names.
fn warn_of_renamed(reader: &mut Reader<'_>, query: &Query<'_>, group_by: &Grouping) {
    let Grouping::By(names) = group_by else { return };
    for name in names.iter().filter(|name| OWN_LABELS.contains(&name.as_str())) {
        let message =
            format!("label {name} is slod's own; that of the query is published as {EXPORTED}{name}");
        query.warn(reader, 0, &message);
    }
}

/// The compiler does not know what its queries are called.
fn named(queries: &[&Query<'_>], query: &Query<'_>, message: &str) -> String {
    if let (Some(difference), [one, other]) = (message.strip_prefix("the two queries "), queries) {
        return format!("{} and {} {difference}", one.name, other.name);
    }
    let is_of_all = ["must ", "is "].iter().any(|start| message.starts_with(start));
    if is_of_all { format!("{} {message}", query.name) } else { message.to_owned() }
}

// === impl Query ===

impl<'n> Query<'n> {
    /// The query of a field, as it is written there.
    pub(super) fn of(reader: &mut Reader<'_>, name: &'n str, node: &'n Node) -> Option<Self> {
        let text = reader.text(node)?;
        Some(Self { name, text: Cow::Borrowed(text), node })
    }

    /// A query made of what a field says.
    pub(super) fn made(name: &'n str, text: String, node: &'n Node) -> Self {
        Self { name, text: Cow::Owned(text), node }
    }

    fn has_template(&self) -> bool {
        [find_braces(&self.text), find_bracketed(&self.text), find_variable(&self.text)]
            .iter()
            .any(Option::is_some)
    }

    fn error(&self, reader: &mut Reader<'_>, offset: usize, message: &str) {
        reader.error(self.place(reader, offset), restore(message));
    }

    fn warn(&self, reader: &mut Reader<'_>, offset: usize, message: &str) {
        reader.warn(self.place(reader, offset), restore(message));
    }

    fn place(&self, reader: &Reader<'_>, offset: usize) -> Place {
        match &self.node.value {
            Value::Scalar(written) if *written == self.text => place_of(reader, self.node, offset),
            _ => self.node.at,
        }
    }
}

/// Replaces templates by a range of the same length in bytes, so that offsets remain true.
fn fill_template(text: &str, find: impl Fn(&str) -> Option<(usize, usize)>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, length)) = find(rest) {
        filled.push_str(&rest[..start]);
        filled.push_str(&format!("{:<length$}", TEMPLATE.text));
        rest = &rest[start + length..];
    }
    filled + rest
}

/// Start and length of the first `{{.window}}`; blanks within are allowed.
fn find_braces(text: &str) -> Option<(usize, usize)> {
    let starts = text.match_indices("{{").map(|(start, _)| start);
    starts.into_iter().find_map(|start| {
        let length = text[start..].find("}}")? + 2;
        let inside = &text[start + 2..start + length - 2];
        (inside.trim_matches(' ') == ".window").then_some((start, length))
    })
}

/// Start and length of the `window` in the first `[window]` or `[window:…]`.
fn find_bracketed(text: &str) -> Option<(usize, usize)> {
    let start = ["[window]", "[window:"].iter().filter_map(|bracketed| text.find(bracketed)).min()?;
    Some((start + 1, "window".len()))
}

/// Start and length of the first `$window`, `$__window` or one of these in braces.
fn find_variable(text: &str) -> Option<(usize, usize)> {
    let names = ["$window", "$__window", "${window}", "${__window}"];
    names.iter().filter_map(|name| Some((text.find(name)?, name.len()))).min()
}

fn restore(message: &str) -> String {
    message.replace(TEMPLATE.text, "the window")
}

/// Where the byte `offset` of a scalar's content stands in the document.
///
/// A YAML scalar's content and its source differ in blanks (indentation, folding) and, in quotes,
/// in escapes. So the characters that are not blank are counted in both.
pub(super) fn place_of(reader: &Reader<'_>, node: &Node, offset: usize) -> Place {
    let source = reader.text.get(node.source.clone()).unwrap_or_default();
    let content = match &node.value {
        Value::Scalar(text) => text.as_str(),
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
        let fill = |text| fill_template(text, find_braces);
        assert_eq!(fill("rate(a[{{.window}}])"), "rate(a[9871ms     ])");
        assert_eq!(fill("é{{ .window }} {{.window}}"), "é9871ms        9871ms     ");
        assert_eq!(fill("{{ .other }} {{"), "{{ .other }} {{");
        assert_eq!(
            fill_template("rate(a[window]) / b[window:1m]", find_bracketed),
            "rate(a[9871ms]) / b[9871ms:1m]"
        );
        assert_eq!(fill_template("rate(a[$__window])", find_variable), "rate(a[9871ms   ])");
    }
}
