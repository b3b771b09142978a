//! Diagnostics with the line of the spec that they are about, and what is meant underlined:
//!
//! ```text
//! api.yaml:14:13: error: target 0.99 is below 1%; did you mean 99?
//!    |
//! 14 |     target: 0.99
//!    |             ^^^^
//! ```
//!
//! How far a thing goes is guessed from the text: a word, what is in brackets, a call with its arguments.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs,
};

use crate::spec::{Diagnostic, Severity};

/// Whether to use escape codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colors {
    On,
    Off,
}

/// Renders diagnostics, and keeps the files that it has read for them.
pub(super) struct Snippets {
    colors: Colors,
    /// Nothing for a file that cannot be read any more.
    files: BTreeMap<String, Option<String>>,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const BOLD: &str = "\x1b[1m";
const RESET: &str = "\x1b[0m";

// What is shown of a longer line: a terminal or two wide.
const WIDTH_MAX: usize = 160;
// Of which so much before the place.
const WIDTH_BEFORE: usize = 60;

// === impl Snippets ===

impl Snippets {
    pub(super) fn new(colors: Colors) -> Self {
        Self { colors, files: BTreeMap::new() }
    }

    /// A diagnostic and, if there is one, the line that it is about.
    pub(super) fn render(&mut self, diagnostic: &Diagnostic) -> String {
        let color = match diagnostic.severity {
            Severity::Error => RED,
            Severity::Warning => YELLOW,
        };
        let head = self.head(diagnostic, color);
        let Some(line) = self.line(diagnostic) else { return head };
        let column = diagnostic.column.saturating_sub(1) as usize;
        let (shown, before, length) = excerpt(&line, column);
        let number = diagnostic.line.to_string();
        let margin = " ".repeat(number.len());
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let bar = |margin: &str| self.painted(BLUE, &format!("{margin} |"));
        let carets = self.painted(color, &"^".repeat(length));
        format!("{head}\n{}\n{} {shown}\n{} {indent}{carets}", bar(&margin), bar(&number), bar(&margin))
    }

    fn head(&self, diagnostic: &Diagnostic, color: &str) -> String {
        let Diagnostic { severity, message, .. } = diagnostic;
        let text = diagnostic.to_string();
        // `path:line:column: ` goes before.
        let place = text.strip_suffix(&format!("{severity}: {message}")).unwrap_or_default();
        let severity = self.painted(color, &format!("{severity}:"));
        format!("{}{severity} {message}", self.painted(BOLD, place))
    }

    fn painted(&self, color: &str, text: &str) -> String {
        match self.colors {
            Colors::On => format!("{color}{text}{RESET}"),
            Colors::Off => text.to_owned(),
        }
    }

    fn line(&mut self, diagnostic: &Diagnostic) -> Option<String> {
        let index = (diagnostic.line as usize).checked_sub(1)?;
        let text = match self.files.entry(diagnostic.path.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(fs::read_to_string(&diagnostic.path).ok()),
        };
        let line = text.as_deref()?.lines().nth(index)?;
        let line = if index == 0 { line.trim_start_matches('\u{feff}') } else { line };
        Some(line.to_owned())
    }
}

// === the line ===

/// What is shown of a line, what of that lies before a column, and how many characters are meant there.
fn excerpt(line: &str, column: usize) -> (String, String, usize) {
    // Escape codes of a spec are none of a terminal.
    let line: Vec<char> =
        line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
    let column = column.min(line.len());
    let start = if line.len() > WIDTH_MAX { column.saturating_sub(WIDTH_BEFORE) } else { 0 };
    let end = line.len().min(start + WIDTH_MAX);
    let length = extent(&line[column..]).min(end - column).max(1);
    (line[start..end].iter().collect(), line[start..column].iter().collect(), length)
}

/// How many characters belong to what begins here.
fn extent(text: &[char]) -> usize {
    match text.first() {
        None => 0,
        Some(quote @ ('"' | '\'')) => 1 + text[1..].iter().take_while(|c| *c != quote).count() + 1,
        Some('(' | '[' | '{') => bracketed(text),
        Some(c) if is_word(*c) => word_and_arguments(text),
        Some(_) => {
            text.iter().take_while(|c| !c.is_whitespace() && !is_word(**c) && !is_bracket(**c)).count()
        }
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | ':' | '.' | '%' | '-' | '$' | '/')
}

fn is_bracket(c: char) -> bool {
    matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '"' | '\'' | ',')
}

/// `sum by (job) (rate(x{job="a"}[5m]))`, or a key without its colon.
fn word_and_arguments(text: &[char]) -> usize {
    let mut end = word(text);
    loop {
        let rest = &text[end..];
        let blanks = rest.iter().take_while(|c| **c == ' ').count();
        let next = &rest[blanks..];
        match next.first() {
            Some('(' | '[' | '{') if blanks == 0 => end += bracketed(next),
            // After a modifier's labels, or before them.
            Some('(') if text[..end].ends_with(&[')']) || is_modifier(&text[..end]) => {
                end += blanks + bracketed(next);
            }
            Some(_) if is_modifier(&next[..word(next)]) => end += blanks + word(next),
            _ => return end,
        }
    }
}

fn word(text: &[char]) -> usize {
    let word = text.iter().take_while(|c| is_word(**c)).count();
    if word > 1 && text[word - 1] == ':' { word - 1 } else { word }
}

fn is_modifier(text: &[char]) -> bool {
    let last: String = text.rsplit(|c| !is_word(*c)).next().unwrap_or_default().iter().collect();
    matches!(last.as_str(), "by" | "without")
}

/// Up to the bracket that closes the first one, else to the end of the line.
fn bracketed(text: &[char]) -> usize {
    let (mut depth, mut quote) = (0, None);
    for (index, c) in text.iter().enumerate() {
        match (c, quote) {
            (c, Some(open)) => quote = Some(open).filter(|open| open != c),
            ('"' | '\'', None) => quote = Some(*c),
            ('(' | '[' | '{', None) => depth += 1,
            (')' | ']' | '}', None) => depth -= 1,
            _ => (),
        }
        if depth == 0 {
            return index + 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is underlined at the mark.
    #[track_caller]
    fn check(marked: &str, expected: &str) {
        let (before, after) = marked.split_once('‸').unwrap();
        let (shown, indent, length) = excerpt(&format!("{before}{after}"), before.chars().count());
        let found: String = shown.chars().skip(indent.chars().count()).take(length).collect();
        assert_eq!(found, expected, "{marked}");
    }

    #[test]
    fn what_is_meant_is_underlined() {
        check("    target: ‸0.99  # no", "0.99");
        check("    ‸targt: 0.99", "targt");
        check("  - ‸\"30 days\" x", "\"30 days\"");
        check("    query: ‸sum(rate(a{b=\")\"}[5m])) / 2", "sum(rate(a{b=\")\"}[5m]))");
        check("‸sum by (job) (rate(a[5m])) / b", "sum by (job) (rate(a[5m]))");
        check("‸sum (a) by (job) + 1", "sum");
        check("‸topk(3, sum(", "topk(3, sum(");
        check("a ‸== bool b", "==");
        check("rate(a‸[5m])", "[5m]");
        check("{‸name: x, b: c}", "name");
        check("é ‸ü: x", "ü");
        check("x‸", "");
    }

    #[test]
    fn long_lines_are_cut_and_control_characters_are_not_shown() {
        let line = format!("{}here{}", "a ".repeat(500), " b".repeat(500));
        let (shown, before, length) = excerpt(&line, 1_000);
        assert_eq!((shown.chars().count(), before.chars().count(), length), (WIDTH_MAX, WIDTH_BEFORE, 4));
        assert_eq!(excerpt("\tx\u{1b}[2Jy", 1).0, "\tx\u{fffd}[2Jy");
    }

    #[test]
    fn colours_are_around_the_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.yaml");
        fs::write(&path, "\u{feff}a: b\n").unwrap();
        let path = path.to_str().unwrap();
        let at = crate::spec::Location { path: path.to_owned(), line: 1, column: 4 };
        let error = Diagnostic::error(&at, "bad b".to_owned());
        let render = |colors| Snippets::new(colors).render(&error).replace(path, "P");
        assert_eq!(render(Colors::Off), "P:1:4: error: bad b\n  |\n1 | a: b\n  |    ^");
        assert_eq!(
            render(Colors::On),
            "\x1b[1mP:1:4: \x1b[0m\x1b[1;31merror:\x1b[0m bad b\n\x1b[1;34m  |\x1b[0m\n\
             \x1b[1;34m1 |\x1b[0m a: b\n\x1b[1;34m  |\x1b[0m    \x1b[1;31m^\x1b[0m"
        );
        let gone = Diagnostic::of_file("/nowhere", "no such file".to_owned());
        assert_eq!(Snippets::new(Colors::Off).render(&gone), "/nowhere: error: no such file");
    }
}
