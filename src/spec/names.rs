//! Names of labels in formats that allow more of them than slod: a spec does not fail for one.

use super::reader::{Place, Reader, is_label_name};
use crate::slo::{EXPORTED, OWN_LABELS};

/// A label's name as slod can use it, with a warning if it is not the one given.
pub(super) fn label(reader: &mut Reader<'_>, at: Place, name: &str) -> String {
    let usable = plain(reader, at, "label", name);
    if !OWN_LABELS.contains(&usable.as_str()) {
        return usable;
    }
    // What Prometheus does with labels of a target that are its own.
    let exported = format!("{EXPORTED}{usable}");
    reader.warn(at, format!("label {usable} is slod's own; this one is called {exported} here"));
    exported
}

/// An annotation's name as slod can use it, with a warning if it is not the one given.
pub(super) fn annotation(reader: &mut Reader<'_>, at: Place, name: &str) -> String {
    plain(reader, at, "annotation", name)
}

/// The name, or the most similar one of letters, digits and `_`.
fn plain(reader: &mut Reader<'_>, at: Place, what: &str, name: &str) -> String {
    if is_label_name(name) {
        return name.to_owned();
    }
    let character = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut plain: String = name.chars().map(character).collect();
    if !is_label_name(&plain) {
        plain.insert(0, '_');
    }
    reader.warn(at, format!("{what} {name:?} is called {plain} here: names have letters, digits and _ only"));
    plain
}
