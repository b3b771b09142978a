//! Names of labels and annotations: what may stand on slod's series, and what becomes of what may not.
//!
//! slod's own format refuses such names. Other formats allow any name, and their SLOs are not to be refused for one:
//! it is published as another, with a warning.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    query::place_of,
    reader::{Fields, Place, Reader},
    yaml::{Key, Value},
};
use crate::{
    slo::{EXPORTED, OWN_LABELS},
    template::{self, Problem, ProblemKind},
};

/// Something with a name, where it stands, and what it is.
pub(super) type Named<'n> = (Place, &'n str, &'n str);

const LABEL_PATTERN: &str = "[a-zA-Z_][a-zA-Z0-9_]*";
const LEGAL_NAMES: &str = "names have letters, digits and _ only";

// === impl Reader ===

impl Reader<'_> {
    /// Labels to put on series; names must be of use there.
    pub(super) fn labels(&mut self, fields: &Fields<'_>, name: &str) -> BTreeMap<String, String> {
        let entries = self.string_map(fields, name);
        for (key, _) in &entries {
            self.check_label_name(key.at, &key.name);
        }
        collect(entries)
    }

    /// Annotations of alerts; their names may be any label name.
    pub(super) fn annotations(&mut self, fields: &Fields<'_>, name: &str) -> BTreeMap<String, String> {
        self.check_templates(fields, name);
        let entries = self.string_map(fields, name);
        for (key, _) in entries.iter().filter(|(key, _)| !is_label_name(&key.name)) {
            self.error(
                key.at,
                format!("{:?} is no annotation name; it must match {LABEL_PATTERN}", key.name),
            );
        }
        collect(entries)
    }

    /// Labels of a format that allows any name: those that slod cannot put on its series get another one. The
    /// `allowed` ones keep theirs.
    pub(super) fn labels_renamed(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
        allowed: &[&str],
    ) -> BTreeMap<String, String> {
        let entries = self.named(fields, name);
        self.renamed(
            entries,
            "label",
            |name| if allowed.contains(&name) { legal(name) } else { usable(name) },
        )
    }

    /// The same of labels that were picked out.
    pub(super) fn picked_labels_renamed(&mut self, labels: Vec<Named<'_>>) -> BTreeMap<String, String> {
        self.renamed(labels, "label", usable)
    }

    /// The same of annotations that were picked out.
    pub(super) fn picked_annotations_renamed(
        &mut self,
        annotations: Vec<Named<'_>>,
    ) -> BTreeMap<String, String> {
        for (at, _, text) in &annotations {
            if let Err(problem) = template::check(text) {
                self.report_template(*at, &problem);
            }
        }
        self.renamed(annotations, "annotation", legal)
    }

    /// Annotations of a format that allows any name.
    pub(super) fn annotations_renamed(
        &mut self,
        fields: &Fields<'_>,
        name: &str,
    ) -> BTreeMap<String, String> {
        self.check_templates(fields, name);
        let entries = self.named(fields, name);
        self.renamed(entries, "annotation", legal)
    }

    /// Reports templates that are broken, at their own places.
    fn check_templates(&mut self, fields: &Fields<'_>, name: &str) {
        let Some(Value::Map(entries)) = fields.get(name).map(|node| &node.value) else { return };
        for (_, node) in entries {
            let Value::Scalar(text) = &node.value else { continue };
            if let Err(problem) = template::check(text) {
                self.report_template(place_of(self, node, problem.offset), &problem);
            }
        }
    }

    fn report_template(&mut self, at: Place, problem: &Problem) {
        let message = problem.kind.to_string();
        match problem.kind {
            ProblemKind::Broken(_) => self.error(at, message),
            ProblemKind::Foreign(_) => self.warn(at, message),
        }
    }

    fn named<'n>(&mut self, fields: &Fields<'n>, field: &str) -> Vec<Named<'n>> {
        let entries = self.string_map(fields, field);
        entries.into_iter().map(|(key, value)| (key.at, key.name.as_str(), value)).collect()
    }

    fn renamed(
        &mut self,
        entries: Vec<Named<'_>>,
        what: &str,
        rename: impl Fn(&str) -> String,
    ) -> BTreeMap<String, String> {
        let mut renamed = BTreeMap::new();
        // Names that stay go first: no other takes their place.
        let (stay, go): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|(_, name, _)| rename(name) == *name);
        renamed.extend(stay.into_iter().map(|(_, name, value)| (name.to_owned(), value.to_owned())));
        for (at, old, value) in go {
            let new = rename(old);
            let reason = if is_reserved(old) { "slod and Prometheus use that name" } else { LEGAL_NAMES };
            match renamed.entry(new) {
                Entry::Vacant(vacant) => {
                    let new = vacant.key();
                    self.warn(at, format!("{what} {old} is published as {new}: {reason}"));
                    vacant.insert(value.to_owned());
                }
                Entry::Occupied(other) => {
                    let new = other.key();
                    self.warn(at, format!("{what} {old} is left out: there is another one named {new}"));
                }
            }
        }
        renamed
    }

    /// Reports a label that slod cannot put on its series.
    pub(super) fn check_label_name(&mut self, at: Place, name: &str) {
        if !is_label_name(name) {
            self.error(at, format!("{name:?} is no label name; it must match {LABEL_PATTERN}"));
        } else if OWN_LABELS.contains(&name) {
            self.error(at, format!("label {name} is slod's own; choose another name"));
        } else if name.starts_with("__") {
            self.error(at, format!("label {name} is Prometheus' own; names must not begin with __"));
        }
    }
}

pub(super) fn is_label_name(name: &str) -> bool {
    let first_ok = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first_ok && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether a label is one of slod's own, or of Prometheus'.
fn is_reserved(name: &str) -> bool {
    OWN_LABELS.contains(&name) || name.starts_with("__")
}

/// A name that slod can put on its series: as Prometheus does where a target's own label collides with one of the
/// scrape.
fn usable(name: &str) -> String {
    if is_reserved(name) { format!("{EXPORTED}{}", legal(name)) } else { legal(name) }
}

/// The name with `_` for each character that no label name may have.
fn legal(name: &str) -> String {
    let legal: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    if is_label_name(&legal) { legal } else { format!("_{legal}") }
}

fn collect(entries: Vec<(&Key, &str)>) -> BTreeMap<String, String> {
    entries.into_iter().map(|(key, value)| (key.name.clone(), value.to_owned())).collect()
}
