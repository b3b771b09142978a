//! What all formats read: fields, texts, numbers, durations, labels; and the reporting of errors.
//!
//! A method that cannot read a field reports it and returns `None` or something harmless, so that
//! the caller goes on to the next field. Whether what it built counts is decided once, by
//! [`Reader::checked`].

use std::time::Duration;

use super::{
    Location, Settings,
    diagnostic::{Diagnostic, Severity},
    yaml::{Key, Node, Value},
};
use crate::{slo::Target, time::parse_duration};

/// The longest window whose counts are kept.
pub const WINDOW_MAX: Duration = Duration::from_secs(90 * 86_400);

/// A position in a document, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A document, and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'t> {
    pub(super) path: &'t str,
    pub(super) text: &'t str,
    /// The line of the file on which it begins, from 1.
    pub(super) first_line: u32,
}

/// Reports on one document.
pub(super) struct Reader<'t> {
    pub(super) settings: &'t Settings,
    path: &'t str,
    pub(super) text: &'t str,
    first_line: u32,
    diagnostics: Vec<Diagnostic>,
}

/// The fields of a mapping.
#[derive(Clone, Copy)]
pub(super) struct Fields<'n> {
    /// Where the mapping is.
    pub(super) at: Place,
    entries: &'n [(Key, Node)],
}

// === impl Place ===

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

// === impl Fields ===

impl<'n> Fields<'n> {
    /// The value of a field; an empty one is no value.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        let (_, node) = self.entries.iter().find(|(key, _)| key.name == name)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    /// The text of a field, if it is there and has one.
    pub(super) fn scalar(&self, name: &str) -> Option<&'n str> {
        match &self.get(name)?.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// The place of a field's value, else of the mapping.
    pub(super) fn place(&self, name: &str) -> Place {
        self.get(name).map_or(self.at, |node| node.at)
    }

    /// The place of a field's field's … value, or of the deepest mapping on the way that is there.
    pub(super) fn place_within(&self, path: &[&str]) -> Place {
        let Some((first, rest)) = path.split_first() else { return self.at };
        match self.get(first) {
            Some(Node { value: Value::Map(entries), at, .. }) => {
                Fields { at: *at, entries }.place_within(rest)
            }
            _ => self.place(first),
        }
    }
}

// === impl Reader ===

impl<'t> Reader<'t> {
    pub(super) fn new(settings: &'t Settings, source: Source<'t>) -> Self {
        let Source { path, text, first_line } = source;
        Self { settings, path, text, first_line, diagnostics: Vec::new() }
    }

    /// The diagnostics, in no order.
    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        self.diagnostics
    }

    pub(super) fn error(&mut self, at: Place, message: impl Into<String>) {
        self.report(Severity::Error, at, message.into());
    }

    pub(super) fn warn(&mut self, at: Place, message: impl Into<String>) {
        self.report(Severity::Warning, at, message.into());
    }

    fn report(&mut self, severity: Severity, at: Place, message: String) {
        let (path, line) = (self.path.to_owned(), self.line(at));
        self.diagnostics.push(Diagnostic { severity, path, line, column: at.column, message });
    }

    /// `path:line:column` of a place in the document.
    pub(super) fn describe(&self, at: Place) -> String {
        self.locate(at).to_string()
    }

    /// A place in the document as one in the file.
    pub(super) fn locate(&self, at: Place) -> Location {
        Location { path: self.path.to_owned(), line: self.line(at), column: at.column }
    }

    fn line(&self, at: Place) -> u32 {
        self.first_line.saturating_add(at.line - 1)
    }

    /// What `read` returns, unless it reported an error.
    pub(super) fn checked<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.errors();
        read(self).filter(|_| self.errors() == before)
    }

    fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count()
    }

    /// The fields of a mapping; other names than the known ones are reported.
    pub(super) fn fields<'n>(&mut self, node: &'n Node, known: &[&str]) -> Option<Fields<'n>> {
        let entries = self.map(node)?;
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            self.error(key.at, unknown("field", &key.name, known));
        }
        Some(Fields { at: node.at, entries })
    }

    /// The fields of a mapping, in a format whose tool ignores other names than the known ones: they are remarked.
    pub(super) fn fields_or_ignored<'n>(
        &mut self,
        node: &'n Node,
        known: &[&str],
        tool: &str,
    ) -> Option<Fields<'n>> {
        let entries = self.map(node)?;
        for (key, _) in entries.iter().filter(|(key, _)| !known.contains(&key.name.as_str())) {
            let reason = unknown("field", &key.name, known);
            let stop = if reason.ends_with('?') { "" } else { ";" };
            self.warn(key.at, format!("{reason}{stop} {tool} ignores it, and so does slod"));
        }
        Some(Fields { at: node.at, entries })
    }

    /// The fields of a mapping, whatever their names are.
    pub(super) fn any_fields<'n>(&mut self, node: &'n Node) -> Option<Fields<'n>> {
        Some(Fields { at: node.at, entries: self.map(node)? })
    }

    pub(super) fn map<'n>(&mut self, node: &'n Node) -> Option<&'n [(Key, Node)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ => self.unexpected(node, "a mapping"),
        }
    }

    pub(super) fn list<'n>(&mut self, node: &'n Node) -> Option<&'n [Node]> {
        match &node.value {
            Value::List(items) => Some(items),
            _ => self.unexpected(node, "a list"),
        }
    }

    pub(super) fn text<'n>(&mut self, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(text) => Some(text),
            _ => self.unexpected(node, "a text"),
        }
    }

    fn unexpected<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        let found = match &node.value {
            Value::Null => "nothing".to_owned(),
            Value::Scalar(text) => format!("{text:?}"),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
        };
        self.error(node.at, format!("expected {expected}, found {found}"));
        None
    }

    pub(super) fn required<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n Node> {
        let node = fields.get(name);
        if node.is_none() {
            self.error(fields.at, format!("missing field `{name}`"));
        }
        node
    }

    /// The fields of a required mapping.
    pub(super) fn required_fields<'n>(
        &mut self,
        fields: &Fields<'n>,
        name: &str,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let node = self.required(fields, name)?;
        self.fields(node, known)
    }

    /// A required text that says something.
    pub(super) fn required_text<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Option<&'n str> {
        let node = self.required(fields, name)?;
        let text = self.text(node)?;
        if text.trim().is_empty() {
            self.error(node.at, format!("{name} is empty"));
        }
        Some(text)
    }

    /// An optional text.
    pub(super) fn optional_text(&mut self, fields: &Fields<'_>, name: &str) -> String {
        fields.get(name).and_then(|node| self.text(node)).unwrap_or_default().to_owned()
    }

    pub(super) fn optional_flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        let Some(node) = fields.get(name) else { return false };
        match self.text(node) {
            Some("true") => true,
            None | Some("false") => false,
            Some(other) => {
                self.error(node.at, format!("{name} must be true or false; got {other:?}"));
                false
            }
        }
    }

    pub(super) fn number(&mut self, node: &Node, name: &str) -> Option<f64> {
        let text = self.text(node)?;
        let number = text.parse().ok().filter(|number: &f64| number.is_finite());
        if number.is_none() {
            self.error(node.at, format!("{name} must be a number; got {text:?}"));
        }
        number
    }

    /// What one of several words stands for.
    pub(super) fn choice<T: Copy>(&mut self, node: &Node, what: &str, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(node)?;
        let found = choices.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.error(node.at, unknown(what, text, &words));
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn duration(&mut self, node: &Node, name: &str) -> Option<Duration> {
        let text = self.text(node)?;
        if text.strip_prefix('-').is_some_and(|rest| parse_duration(rest).is_ok()) {
            self.error(node.at, format!("{name} {text} must not be negative"));
            return None;
        }
        match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                self.error(node.at, format!("{name}: {error}"));
                None
            }
        }
    }

    /// An optional duration, zero if absent.
    pub(super) fn optional_duration(&mut self, fields: &Fields<'_>, name: &str) -> Duration {
        fields.get(name).and_then(|node| self.duration(node, name)).unwrap_or_default()
    }

    /// A duration over which events can be counted.
    pub(super) fn window(&mut self, node: &Node, name: &str) -> Option<Duration> {
        let window = self.duration(node, name)?;
        if window.is_zero() {
            self.error(node.at, format!("{name} must be longer than 0s"));
            return None;
        }
        if window > WINDOW_MAX {
            let text = self.text(node)?;
            self.error(node.at, format!("{name} {text} is too long; the longest retained window is 90d"));
            return None;
        }
        Some(window)
    }

    /// A target in percent, such as `99.9` or `99.9%`.
    pub(super) fn target(&mut self, node: &Node, name: &str) -> Option<Target> {
        let target = Target::new(self.ratio(node, name)?).ok().filter(|target| !target.is_all());
        if target.is_none() {
            self.error(node.at, format!("{name} 100 leaves no error budget; it must be below 100"));
        }
        target
    }

    /// A target in percent, in a format whose tool takes 100, too.
    pub(super) fn target_or_all(&mut self, node: &Node, name: &str) -> Option<Target> {
        let target = Target::new(self.ratio(node, name)?).ok()?;
        if target.is_all() {
            let message = format!(
                "{name} 100 leaves no error budget: every bad event overspends it without limit; promise less"
            );
            self.warn(node.at, message);
        }
        Some(target)
    }

    /// A ratio of good events in percent, above 0 up to 100.
    pub(super) fn ratio(&mut self, node: &Node, name: &str) -> Option<f64> {
        let text = self.text(node)?;
        let digits = text.trim().trim_end_matches('%').trim_end();
        let Ok(percent) = digits.parse::<f64>() else {
            self.error(node.at, format!("{name} must be a percentage such as 99.9; got {text:?}"));
            return None;
        };
        match check_percent(percent, text.contains('%')) {
            // Of the text, whose digits a number may not hold.
            Ok(()) => format!("{digits}e-2").parse().ok().or(Some(shift(percent, -2))),
            Err(reason) => {
                self.error(node.at, format!("{name} {percent} {reason}"));
                None
            }
        }
    }

    /// A mapping of texts, with the places of its keys.
    pub(super) fn string_map<'n>(&mut self, fields: &Fields<'n>, name: &str) -> Vec<(&'n Key, &'n str)> {
        let entries = fields.get(name).and_then(|node| self.map(node)).unwrap_or_default();
        entries.iter().filter_map(|(key, node)| Some((key, self.text(node)?))).collect()
    }
}

/// Whether this may be a percentage. One below 1, if it has no sign, was meant as a ratio.
fn check_percent(percent: f64, has_sign: bool) -> Result<(), String> {
    if percent > 100.0 {
        Err("is above 100%".to_owned())
    } else if percent >= 1.0 || (has_sign && percent > 0.0) {
        Ok(())
    } else if percent > 0.0 {
        Err(format!("is below 1%; did you mean {}?", shift(percent, 2)))
    } else {
        Err("promises nothing; it must be above 0".to_owned())
    }
}

/// Moves the decimal point, `99.9` to `0.999`. A division would be off in the last digit.
fn shift(number: f64, digits: i32) -> f64 {
    format!("{number}e{digits}").parse().expect("a number's own text is a number")
}

/// Says that a name is unknown, and which known one it resembles.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(near) => format!("unknown {what} `{name}`, did you mean `{near}`?"),
        None => format!("unknown {what} `{name}`, expected one of {}", known.join(", ")),
    }
}

/// The most similar name, unless a third of it or more is different. Spellings such as `errorQuery`
/// and `error-query` are not different from `error_query`.
pub(super) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    let plain = |name: &str| name.replace(['_', '-'], "").to_lowercase();
    let distance = |candidate: &str| strsim::damerau_levenshtein(&plain(name), &plain(candidate));
    let nearest = known.iter().min_by_key(|candidate| distance(candidate))?;
    (distance(nearest) * 3 <= nearest.len()).then_some(nearest)
}
