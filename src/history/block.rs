//! The labels of a series, as a line begins with them.
//!
//! `name{label="value",…}`, with spaces where the formats allow them. Names that are no identifiers stand in quotes, as
//! Prometheus 3 writes them; a quoted name without a value is that of the metric.

use std::borrow::Cow;

use crate::labels::METRIC_NAME;

/// A label with its escapes resolved.
pub(super) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// Resolves the escapes of a quoted text.
pub(super) type Unescape = fn(&str) -> Result<String, String>;

/// What is left to read.
struct Cursor<'a> {
    rest: &'a str,
    unescape: Unescape,
}

/// Reads the labels of a series; an error says what is wrong with them.
pub(super) fn labels(series: &[u8], unescape: Unescape) -> Result<Vec<Pair<'_>>, String> {
    let text = str::from_utf8(series).map_err(|_| "its labels are not UTF-8".to_owned())?;
    let (name, block) = text.split_once('{').map_or((text, None), |(name, block)| (name, Some(block)));
    let name = name.trim_ascii_end();
    let mut pairs = Vec::new();
    if !name.is_empty() {
        pairs.push((Cow::from(METRIC_NAME), Cow::from(identifier(name)?)));
    }
    if let Some(rest) = block {
        Cursor { rest, unescape }.pairs(&mut pairs)?;
    }
    Ok(pairs)
}

fn identifier(text: &str) -> Result<&str, String> {
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if text.is_empty() || text.starts_with(|c: char| c.is_ascii_digit()) || !text.chars().all(is_fine) {
        return Err(format!("{text:?} is no name; one that is no identifier needs quotes"));
    }
    Ok(text)
}

// === impl Cursor ===

impl<'a> Cursor<'a> {
    fn pairs(mut self, pairs: &mut Vec<Pair<'a>>) -> Result<(), String> {
        while !self.takes('}') {
            pairs.push(self.pair()?);
            if !self.takes(',') && !self.rest.starts_with('}') {
                return Err(format!(
                    "a comma or brace is missing between its labels, before {:?}",
                    self.rest
                ));
            }
        }
        Ok(())
    }

    fn pair(&mut self) -> Result<Pair<'a>, String> {
        if self.takes('"') {
            let name = self.quoted()?;
            return if self.takes('=') { Ok((name, self.value()?)) } else { Ok((METRIC_NAME.into(), name)) };
        }
        let (name, rest) = self.rest.split_once('=').ok_or("a label has no value")?;
        self.rest = rest;
        Ok((identifier(name.trim_ascii_end())?.into(), self.value()?))
    }

    fn value(&mut self) -> Result<Cow<'a, str>, String> {
        if self.takes('"') { self.quoted() } else { Err("the value of a label is not in quotes".to_owned()) }
    }

    /// What follows an opening quote.
    fn quoted(&mut self) -> Result<Cow<'a, str>, String> {
        let mut escaped = false;
        let end = self.rest.find(|c| {
            let closes = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            closes
        });
        let (text, rest) = self.rest.split_at(end.ok_or("a quote of its labels is not closed")?);
        self.rest = &rest[1..];
        if text.contains('\\') { (self.unescape)(text).map(Cow::from) } else { Ok(text.into()) }
    }

    /// Passes over spaces, and over this character if it is next.
    fn takes(&mut self, next: char) -> bool {
        self.rest = self.rest.trim_ascii_start();
        let rest = self.rest.strip_prefix(next);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn as_it_is(text: &str) -> Result<String, String> {
        Ok(text.to_owned())
    }

    #[test]
    fn names_and_labels_are_read() {
        #[track_caller]
        fn check(series: &str, expected: &[(&str, &str)]) {
            let pairs = labels(series.as_bytes(), as_it_is).unwrap();
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
            assert_eq!(pairs, expected);
        }
        check("up", &[("__name__", "up")]);
        check("up{}", &[("__name__", "up")]);
        check(r#"up{a="1",b="2",}"#, &[("__name__", "up"), ("a", "1"), ("b", "2")]);
        check(r#"up { a = "1" , b = "2" }"#, &[("__name__", "up"), ("a", "1"), ("b", "2")]);
        check(r#"{__name__="up", a="\"}, "}"#, &[("__name__", "up"), ("a", "\\\"}, ")]);
        check(r#"up{a=" 1 "}"#, &[("__name__", "up"), ("a", " 1 ")]);
        check(r#"{"dotted.name","a.b"="1"}"#, &[("__name__", "dotted.name"), ("a.b", "1")]);
    }

    #[test]
    fn what_is_no_label_set_is_told() {
        #[track_caller]
        fn check(series: &[u8], expected: &str) {
            let error = labels(series, as_it_is).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        check(b"1up", "\"1up\" is no name; one that is no identifier needs quotes");
        check(b"up{a.b=\"1\"}", "\"a.b\" is no name");
        check(b"up{a}", "a label has no value");
        check(b"up{a=1}", "the value of a label is not in quotes");
        check(b"up{a=\"1\"b=\"2\"}", "a comma or brace is missing");
        check(b"up{a=\"1}", "a quote of its labels is not closed");
        check(b"up{a=\"\xff\"}", "its labels are not UTF-8");
    }
}
