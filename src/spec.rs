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
mod lint;
mod names;
pub mod native;
mod objects;
mod openslo;
mod pyrra;
mod query;
mod reader;
mod slices;
mod slo_generator;
mod sloth;
mod windows;
mod yaml;

pub use diagnostic::{Diagnostic, Severity};
pub use reader::WINDOW_MAX;

use lint::Promises;
use objects::Object;
use reader::{Place, Reader};
use yaml::Node;

/// What specs mean depends on, beside their text.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How often a Prometheus may be asked for what cannot be streamed, if there is one.
    pub pull_interval: Option<Duration>,
    /// The period of Sloth's SLOs, which do not say it: its flag `--default-slo-period`.
    pub sloth_default_slo_period: Duration,
}

/// What was read from specs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Specs {
    /// The valid SLOs, in the order of the text. No two have the same id.
    pub slos: Vec<Slo>,
    /// Where the name of each of them is.
    pub places: BTreeMap<SloId, Location>,
    /// What is wrong or doubtful, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// A position in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The file, as the caller named it.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// What objects say for others to use, of whatever file.
struct Shared<'o> {
    sloth_windows: sloth::catalog::Catalog,
    policies: slo_generator::Policies,
    openslo: openslo::Catalog<'o>,
}

/// What an object is.
#[derive(Clone, Copy)]
enum Format {
    Native,
    Sloth,
    Pyrra,
    SlothResource,
    SlothWindows,
    SloGenerator,
    SloGeneratorConfig,
    OpenSlo,
}

/// An SLO, and where its name and its SLI are.
struct Placed {
    slo: Slo,
    at: Place,
    sli: Place,
}

impl Default for Settings {
    fn default() -> Self {
        // Sloth's own default.
        const SLOTH_PERIOD: Duration = Duration::from_secs(30 * 86_400);
        Self { pull_interval: None, sloth_default_slo_period: SLOTH_PERIOD }
    }
}

impl Specs {
    /// Whether anything is not served.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

const ACCEPTED: &str = "accepted are kind: ServiceLevelObjective with apiVersion: slod.dev/v1, pyrra.dev/v1alpha1 or \
                        sre.google.com/v2, Sloth's version: prometheus/v1 and apiVersion: sloth.slok.dev/v1, and \
                        OpenSLO's apiVersion: openslo/v1 and openslo/v1alpha";

/// Reads the documents of one file. `path` is for the diagnostics only.
pub fn read(path: &str, text: &str) -> Specs {
    read_all([(path, text)], &Settings::default())
}

/// Reads files, given as path and text. Of SLOs with the same id the first is kept.
///
/// Objects of one file may be of use to those of another, so that all files are parsed before any SLO is read.
pub fn read_all<P: AsRef<str>, T: AsRef<str>>(
    files: impl IntoIterator<Item = (P, T)>,
    settings: &Settings,
) -> Specs {
    let files: Vec<(P, T)> = files.into_iter().collect();
    let mut specs = Specs::default();
    let mut objects = Vec::new();
    for (path, text) in &files {
        objects::parse(settings, path.as_ref(), text.as_ref(), &mut objects, &mut specs.diagnostics);
    }
    let shared = Shared::collect(settings, &objects, &mut specs.diagnostics);
    read_slos(settings, &objects, &shared, &mut specs);
    sort(&mut specs.diagnostics, files.iter().map(|(path, _)| path.as_ref()));
    specs
}

/// Into the order of the files, and of the text within each.
fn sort<'p>(diagnostics: &mut [Diagnostic], paths: impl Iterator<Item = &'p str>) {
    let order: BTreeMap<&str, usize> = paths.zip(0..).collect();
    diagnostics.sort_by_key(|diagnostic| {
        (order.get(diagnostic.path.as_str()).copied(), diagnostic.line, diagnostic.column)
    });
}

// === what objects share ===

impl<'o> Shared<'o> {
    fn collect(settings: &Settings, objects: &'o [Object<'_>], diagnostics: &mut Vec<Diagnostic>) -> Self {
        let mut shared = Self {
            sloth_windows: sloth::catalog::Catalog::default(),
            policies: slo_generator::Policies::default(),
            openslo: openslo::Catalog::collect(settings, objects, diagnostics),
        };
        for Object { source, root } in objects {
            let mut reader = Reader::new(settings, *source);
            match Format::of(root) {
                Some(Format::SlothWindows) => shared.sloth_windows.collect(&mut reader, root),
                Some(Format::SloGeneratorConfig) => shared.policies.read(&mut reader, root),
                _ => {}
            }
            diagnostics.append(&mut reader.into_diagnostics());
        }
        shared
    }
}

// === objects to SLOs ===

fn read_slos<'o>(settings: &Settings, objects: &'o [Object<'_>], shared: &Shared<'o>, specs: &mut Specs) {
    let mut promises = Promises::default();
    for object in objects {
        let mut reader = Reader::new(settings, object.source);
        let is_for_prometheus = Format::of(&object.root).is_some_and(Format::is_for_prometheus);
        for Placed { slo, at, sli } in read_object(&mut reader, object, shared) {
            match specs.places.entry(slo.id.clone()) {
                Entry::Vacant(vacant) => {
                    vacant.insert(reader.locate(at));
                    lint::check(&mut reader, sli, &slo.indicator, is_for_prometheus);
                    promises.check(&mut reader, at, &slo, &specs.slos);
                    specs.slos.push(slo);
                }
                Entry::Occupied(first) => report_second(&mut reader, at, &slo.id, first.get()),
            }
        }
        specs.diagnostics.append(&mut reader.into_diagnostics());
    }
}

fn report_second(reader: &mut Reader<'_>, at: Place, id: &SloId, first: &Location) {
    reader.error(at, format!("SLO {id} is already defined at {first}"));
}

/// The SLOs of an object. One that is there for others has none.
fn read_object<'o>(reader: &mut Reader<'_>, object: &'o Object<'_>, shared: &Shared<'o>) -> Vec<Placed> {
    let root = &object.root;
    match Format::of(root) {
        Some(Format::Native) => native::read(reader, root).into_iter().collect(),
        Some(Format::Pyrra) => pyrra::read(reader, root).into_iter().collect(),
        Some(Format::Sloth) => sloth::read(reader, root, &shared.sloth_windows),
        Some(Format::SlothResource) => sloth::read_resource(reader, root, &shared.sloth_windows),
        Some(Format::SlothWindows) => Vec::new(),
        Some(Format::SloGenerator) => {
            slo_generator::read(reader, root, &shared.policies).into_iter().collect()
        }
        // Read before.
        Some(Format::SloGeneratorConfig) => Vec::new(),
        Some(Format::OpenSlo) => openslo::read(reader, object, &shared.openslo),
        None => {
            reader.error(root.at, format!("{}; {ACCEPTED}", describe_head(root)));
            Vec::new()
        }
    }
}

// === impl Location ===

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.path, self.line, self.column)
    }
}

// === impl Format ===

impl Format {
    fn of(root: &Node) -> Option<Self> {
        if openslo::is_object(root) {
            return Some(Self::OpenSlo);
        }
        match (root.scalar("apiVersion"), root.scalar("kind"), root.scalar("version")) {
            (Some(version), Some(native::KIND), _) if native::API_VERSIONS.contains(&version) => {
                Some(Self::Native)
            }
            (None, None, Some(sloth::VERSION)) => Some(Self::Sloth),
            (Some(version), Some(pyrra::KIND), _) if pyrra::API_VERSIONS.contains(&version) => {
                Some(Self::Pyrra)
            }
            (Some(sloth::API_VERSION), Some(sloth::KIND), _) => Some(Self::SlothResource),
            (Some(sloth::API_VERSION), Some(sloth::catalog::KIND), _) => Some(Self::SlothWindows),
            (Some(slo_generator::API_VERSION), Some(slo_generator::KIND), _) => Some(Self::SloGenerator),
            (None, None, None) if slo_generator::is_config(root) => Some(Self::SloGeneratorConfig),
            _ => None,
        }
    }

    /// Whether its queries are meant for a Prometheus as they are written. Nothing but slod reads native ones, and
    /// Pyrra rewrites those that it is given.
    fn is_for_prometheus(self) -> bool {
        !matches!(self, Self::Native | Self::Pyrra)
    }
}

fn describe_head(root: &Node) -> String {
    match (root.scalar("apiVersion"), root.scalar("kind"), root.scalar("version")) {
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
mod golden;
#[cfg(test)]
mod tests;
