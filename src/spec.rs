//! Reads SLO specs: text in, [`Slo`]s and diagnostics out.
//!
//! Each format has a reader of its own; which one reads a document is told by the document itself
//! (`apiVersion` and `kind`, or `version`), so formats may be mixed even within a file. Nothing here
//! opens a file, and nothing here knows how an SLO is evaluated.
//!
//! Invariant: a bad SLO never hides a good one. Every SLO without an error is returned, and every
//! error is reported with its position, not only the first.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};

use crate::slo::{Slo, SloId};

mod alerting;
mod diagnostic;
mod native;
mod query;
mod reader;
mod slices;
mod sloth;
mod windows;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};

use reader::{Place, Reader};

/// What specs mean depends on, beside their text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// How often a Prometheus may be asked for what cannot be streamed, if there is one.
    pub pull_interval: Option<Duration>,
}

/// What was read from specs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Specs {
    /// The valid SLOs, in the order of the text. No two have the same id.
    pub slos: Vec<Slo>,
    /// What is wrong or doubtful, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// An SLO and where its name is.
struct Placed {
    slo: Slo,
    at: Place,
}

impl Specs {
    /// Whether anything is not served.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

const ACCEPTED: &str = "accepted are apiVersion: slod.dev/v1 with kind: ServiceLevelObjective, and Sloth's \
                        version: prometheus/v1";

/// Reads the documents of one file. `path` is for the diagnostics only.
pub fn read(path: &str, text: &str) -> Specs {
    read_all([(path, text)], &Settings::default())
}

/// Reads files, given as path and text. Of SLOs with the same id the first is kept.
pub fn read_all<P: AsRef<str>, T: AsRef<str>>(
    files: impl IntoIterator<Item = (P, T)>,
    settings: &Settings,
) -> Specs {
    let mut specs = Specs::default();
    let mut known = BTreeMap::new();
    for (path, text) in files {
        read_file(settings, path.as_ref(), text.as_ref(), &mut specs, &mut known);
    }
    specs
}

fn read_file(
    settings: &Settings,
    path: &str,
    text: &str,
    specs: &mut Specs,
    known: &mut BTreeMap<SloId, String>,
) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut is_empty = true;
    for (first_line, document) in yaml::documents(text) {
        is_empty = false;
        let mut reader = Reader::new(settings, path, document, first_line);
        for Placed { slo, at } in read_document(&mut reader, document) {
            match known.entry(slo.id.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(reader.describe(at));
                    specs.slos.push(slo);
                }
                Entry::Occupied(first) => {
                    reader.error(at, format!("SLO {} is already defined at {}", slo.id, first.get()));
                }
            }
        }
        specs.diagnostics.append(&mut reader.into_diagnostics());
    }
    if is_empty {
        let message = format!("file defines no SLO; {ACCEPTED}");
        specs.diagnostics.push(Diagnostic::warning(path, 1, 1, message));
    }
}

fn read_document(reader: &mut Reader<'_>, text: &str) -> Vec<Placed> {
    let root = match yaml::parse(text) {
        Ok(root) => root,
        Err(error) => {
            reader.error(error.at, error.message);
            return Vec::new();
        }
    };
    let api_version = root.scalar("apiVersion");
    let kind = root.scalar("kind");
    match (api_version, kind, root.scalar("version")) {
        (Some(version), Some(native::KIND), _) if native::API_VERSIONS.contains(&version) => {
            native::read(reader, &root).into_iter().collect()
        }
        (None, None, Some(sloth::VERSION)) => sloth::read(reader, &root),
        head => {
            reader.error(root.at, format!("{}; {ACCEPTED}", describe_head(head)));
            Vec::new()
        }
    }
}

fn describe_head(head: (Option<&str>, Option<&str>, Option<&str>)) -> String {
    match head {
        (None, None, None) => "document says neither apiVersion and kind nor version".to_owned(),
        (Some(api_version), Some(kind), _) => {
            format!("cannot read apiVersion {api_version:?} with kind {kind:?}")
        }
        (Some(api_version), None, _) => format!("cannot read apiVersion {api_version:?} without kind"),
        (None, Some(kind), _) => format!("cannot read kind {kind:?} without apiVersion"),
        (None, None, Some(version)) => format!("cannot read version {version:?}"),
    }
}

#[cfg(test)]
mod tests;
