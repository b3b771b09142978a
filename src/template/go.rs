//! The part of Prometheus' templates that says what an alert is about, as Jinja.
//!
//! An action that is a pipeline of Go (`$labels.slo`, `.Value`, `humanize $value`, `$value | printf "%.2f"`) becomes
//! calls of functions; others stay as they are, for Jinja to read. An action of Go's that is more than that, such as
//! `if` and `range`, makes the whole text foreign.

use super::{
    Problem, ProblemKind,
    humanize::{NUMBERS, OTHERS, TEXTS},
};

/// A text in Jinja's syntax, and where its actions were.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) text: String,
    /// Where each rewritten action begins and ends in the text, and where it began and ended before.
    actions: Vec<[usize; 4]>,
}

/// What begins an action of Go's that slod does not run. `if` and `for` of Jinja stand in `{% %}`.
const KEYWORDS: [&str; 12] =
    ["if", "else", "end", "range", "with", "define", "template", "block", "break", "continue", "query", "/*"];

/// The text in Jinja's syntax.
pub(super) fn translate(text: &str) -> Result<Translated, Problem> {
    let mut out = Translated { text: String::with_capacity(text.len()), actions: Vec::new() };
    let mut at = 0;
    while let Some(start) = text[at..].find("{{").map(|found| at + found) {
        let Some(length) = end_of_action(&text[start + 2..]) else { break };
        let (inside, end) = (&text[start + 2..start + 2 + length], start + 4 + length);
        out.text.push_str(&text[at..start]);
        let before = out.text.len();
        out.text.push_str(&action(inside).map_err(|kind| Problem { offset: start, kind })?);
        out.actions.push([before, out.text.len(), start, end]);
        at = end;
    }
    out.text.push_str(&text[at..]);
    Ok(out)
}

/// Where the `}}` of an action is, which may also stand in one of its texts.
fn end_of_action(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"' | '\'') if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => (),
            None if text[at..].starts_with("}}") => return Some(at),
            None if matches!(c, '"' | '\'' | '`') => quote = Some(c),
            None => (),
        }
    }
    None
}

/// An action with its braces.
fn action(inside: &str) -> Result<String, ProblemKind> {
    let (left, rest) = inside.strip_prefix('-').map_or(("", inside), |rest| ("-", rest));
    let (right, rest) = rest.strip_suffix('-').map_or(("", rest), |rest| ("-", rest));
    let code = rest.trim();
    let first = code.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let assigns = code.starts_with('$') && (code.contains(":=") || code.contains(" = "));
    if KEYWORDS.contains(&first) || code.starts_with("/*") || assigns {
        return Err(ProblemKind::Foreign(format!("{{{{ {} }}}}", shortened(code))));
    }
    match pipeline(code) {
        Some(call) => Ok(format!("{{{{{left} {call} {right}}}}}")),
        None if code.starts_with(['$', '.']) => {
            Err(ProblemKind::Foreign(format!("{{{{ {} }}}}", shortened(code))))
        }
        None => Ok(format!("{{{{{inside}}}}}")),
    }
}

fn shortened(code: &str) -> String {
    code.chars().take(40).collect()
}

/// A pipeline of Go as nested calls.
fn pipeline(code: &str) -> Option<String> {
    let words = words(code)?;
    let mut commands = words.split(|word| word == "|");
    let mut call = command(commands.next()?, None)?;
    for next in commands {
        call = command(next, Some(call))?;
    }
    Some(call)
}

/// One command of a pipeline, which gets what was before as its last argument.
fn command(words: &[String], piped: Option<String>) -> Option<String> {
    let (first, rest) = words.split_first()?;
    if !is_function(first) {
        let alone = rest.is_empty() && piped.is_none();
        return alone.then(|| operand(first)).flatten();
    }
    let arguments: Option<Vec<String>> = rest.iter().map(|word| operand(word)).collect();
    let arguments: Vec<String> = arguments?.into_iter().chain(piped).collect();
    // Jinja has filters and variables by other names only.
    (!arguments.is_empty()).then(|| format!("{first}({})", arguments.join(", ")))
}

fn is_function(word: &str) -> bool {
    let numbers = NUMBERS.iter().map(|(name, _)| *name);
    numbers.chain(TEXTS.iter().map(|(name, _)| *name)).chain(OTHERS).any(|name| name == word)
}

/// A variable, a text or a number.
fn operand(word: &str) -> Option<String> {
    if let Some(path) = word.strip_prefix('$').or_else(|| word.strip_prefix('.')) {
        let is_path = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        return (!path.is_empty() && path.chars().all(is_path) && is_known(path)).then(|| path.to_owned());
    }
    let is_text = word.len() > 1 && (word.starts_with('"') && word.ends_with('"'));
    (is_text || word.parse::<f64>().is_ok()).then(|| word.to_owned())
}

fn is_known(path: &str) -> bool {
    let first = path.split('.').next().unwrap_or_default();
    ["labels", "value", "externalLabels", "externalURL", "Labels", "Value", "ExternalLabels", "ExternalURL"]
        .contains(&first)
}

/// The words of a pipeline; `None` if it is not made of words, texts and bars only.
fn words(code: &str) -> Option<Vec<String>> {
    let (mut words, mut rest) = (Vec::new(), code.trim_start());
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '|' => 1,
            '"' => text_length(rest)?,
            '(' | ')' | '`' | '\'' => return None,
            _ => rest.find(|c: char| c.is_whitespace() || c == '|').unwrap_or(rest.len()),
        };
        words.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Some(words)
}

/// The bytes of a text with its quotes.
fn text_length(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => (),
        }
    }
    None
}

// === impl Translated ===

impl Translated {
    /// Where in the original text a byte of this one was: in a rewritten action, its beginning at the least.
    pub(super) fn offset(&self, offset: usize) -> usize {
        let before = self.actions.iter().rev().find(|[begin, ..]| *begin <= offset);
        match before {
            None => offset,
            Some([_, end, _, after]) if offset >= *end => after + (offset - end),
            // Most actions are as long as they were: a variable without its sign, and spaces.
            Some([begin, end, start, after]) if end - begin == after - start => start + (offset - begin),
            Some([_, _, start, _]) => *start,
        }
    }
}
