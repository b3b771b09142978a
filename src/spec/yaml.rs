//! YAML with positions: text to documents, a document to a tree of nodes.
//!
//! A tree and not serde's structs, because serde stops at the first error. Numbers and booleans are
//! texts here; what they mean depends on the field. The parser's limits against documents that grow
//! by their aliases, or nest too deeply, are in force.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Location, Spanned};

use super::reader::Place;

/// A node of a document.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    /// Where it is used: of an alias, its own place.
    pub(super) at: Place,
    /// The bytes of the document that define it: of an alias, those of the anchored node.
    pub(super) source: std::ops::Range<usize>,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    Scalar(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) at: Place,
}

/// Text that is not YAML.
pub(super) struct YamlError {
    pub(super) at: Place,
    pub(super) message: String,
}

/// The documents of a text that say something, each with the number of its first line.
///
/// A line that begins with `---` is a document marker wherever it stands (YAML 1.2.2, 9.1.2), so
/// the text is split before it is parsed: a broken document does not hide the next one.
pub(super) fn documents(text: &str) -> impl Iterator<Item = (u32, &str)> {
    let mut starts = vec![(0, 1)];
    let mut offset = 0;
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        if offset > 0 && is_marker(line) {
            starts.push((offset, number));
        }
        offset += line.len();
    }
    let ends: Vec<usize> = starts.iter().skip(1).map(|(start, _)| *start).chain([text.len()]).collect();
    starts
        .into_iter()
        .zip(ends)
        .map(|((start, first_line), end)| (first_line, &text[start..end]))
        .filter(|(_, document)| !document.lines().all(is_silent))
}

fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line is blank, a comment, a directive or a bare marker.
fn is_silent(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with(['#', '%']) || line == "---" || line == "..."
}

/// Parses one document.
pub(super) fn parse(document: &str) -> Result<Node, YamlError> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options::<Node>(document, options).map_err(|error| {
        let at = error.location().map_or(Place::START, Place::from);
        let line = document.lines().nth(at.line as usize - 1).unwrap_or_default();
        let reason = reason(error.without_snippet(), line);
        YamlError { at, message: format!("cannot parse YAML: {reason}") }
    })
}

/// The parser's message without the position and the names of its own options.
fn reason(error: &serde_saphyr::Error, line: &str) -> String {
    let message = error.to_string();
    if message.starts_with("expected string scalar") {
        // What a template is to YAML.
        return "a key must be a text; fill templates such as {{ … }} in first".to_owned();
    }
    if line.contains("{{") {
        return "this is a template, such as a Helm chart's; fill {{ … }} in first".to_owned();
    }
    let ends = [" at line ", ", set DuplicateKeyPolicy", " rejected by the configured policy"];
    let end = ends.iter().filter_map(|end| message.find(end)).min();
    message[..end.unwrap_or(message.len())].to_owned()
}

// === impl Node ===

impl Node {
    /// The scalar of this key, if the node is a mapping and has one.
    pub(super) fn scalar(&self, key: &str) -> Option<&str> {
        let Value::Map(entries) = &self.value else { return None };
        match &entries.iter().find(|(found, _)| found.name == key)?.1.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        let (at, source) = (spanned.referenced.into(), byte_range(&spanned.defined));
        Ok(Self { value: spanned.value, at, source })
    }
}

fn byte_range(location: &Location) -> std::ops::Range<usize> {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0) as usize;
    start..start + span.byte_len().unwrap_or(0) as usize
}

// === impl Value ===

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some((key, value)) = entries.next_entry::<Spanned<String>, Node>()? {
            map.push((Key { name: key.value, at: key.referenced.into() }, value));
        }
        Ok(Value::Map(map))
    }
}

// === impl Place ===

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX).max(1);
        Self { line: narrow(location.line()), column: narrow(location.column()) }
    }
}
