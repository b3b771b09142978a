//! OpenSLO: objects of several kinds that refer to each other by name, in whatever files they are.
//!
//! What others refer to is read first, every object once, for the errors of its own file ([`Catalog::collect`]).
//! An SLO then takes what was read; that something it refers to is missing or wrong is an error at the reference.
//! Nothing here opens a file: an object that nobody gave to read does not exist.
//!
//! Invariant: an object refers only to kinds that come before its own in [`Kind::IN_ORDER`], so that references
//! cannot go in circles.

mod alerts;
mod alpha;
mod composite;
mod envelope;
mod objective;
mod sli;
mod slo;
mod window;

use std::{cell::Cell, collections::BTreeMap};

use super::{
    Placed, Settings,
    diagnostic::Diagnostic,
    objects::Object,
    reader::{Reader, nearest},
    yaml::Node,
};
use alerts::{Condition, Policy};
use sli::{DataSource, Sli};

pub(super) const V1: &str = "openslo/v1";
pub(super) const V1_ALPHA: &str = "openslo/v1alpha";

/// What objects of v1 have to say to others.
pub(super) struct Catalog<'o> {
    services: Named<'o, ()>,
    sources: Named<'o, DataSource>,
    targets: Named<'o, ()>,
    conditions: Named<'o, Condition>,
    slis: Named<'o, Sli<'o>>,
    policies: Named<'o, Policy>,
}

/// The kinds of objects of v1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Service,
    DataSource,
    AlertNotificationTarget,
    AlertCondition,
    Sli,
    AlertPolicy,
    Slo,
}

/// Objects of one kind by name.
struct Named<'o, T> {
    kind: Kind,
    by_name: BTreeMap<&'o str, Defined<T>>,
    /// How many more names may be compared with all of these.
    comparisons: Cell<u32>,
}

// With 10,000 names a comparison takes milliseconds. Beyond this many wrong names, near ones are not looked for.
const COMPARISONS_MAX: u32 = 100;

struct Defined<T> {
    /// Its place, for messages.
    at: String,
    /// What it says; `None` if it has errors.
    meaning: Option<T>,
}

/// Whether this is an object of OpenSLO, of whichever version and kind.
pub(super) fn is_object(root: &Node) -> bool {
    root.scalar("apiVersion").is_some_and(|version| [V1, V1_ALPHA].contains(&version))
}

/// Reads the SLOs of an object; only kind SLO has any.
pub(super) fn read<'o>(
    reader: &mut Reader<'_>,
    object: &'o Object<'_>,
    catalog: &Catalog<'o>,
) -> Vec<Placed> {
    let root = &object.root;
    match (root.scalar("apiVersion"), Kind::of(root)) {
        (Some(V1), Some(Kind::Slo)) => slo::read(reader, object, catalog),
        (Some(V1_ALPHA), Some(Kind::Slo)) => alpha::read(reader, root),
        // Of v1 they are in the catalog; v1alpha's describe something, and nothing refers to them.
        (Some(V1), Some(_)) | (_, Some(Kind::Service | Kind::AlertNotificationTarget)) => Vec::new(),
        (version, _) => {
            reader.error(root.at, unknown_kind(version.unwrap_or_default(), root));
            Vec::new()
        }
    }
}

fn unknown_kind(version: &str, root: &Node) -> String {
    let known = if version == V1 { Kind::IN_ORDER.as_slice() } else { &[Kind::Slo, Kind::Service] };
    let known: Vec<&str> = known.iter().map(|kind| kind.name()).collect();
    match root.scalar("kind") {
        Some(kind) => super::reader::unknown(&format!("kind of {version}"), kind, &known),
        None => format!("missing field `kind`, one of {}", known.join(", ")),
    }
}

// === impl Catalog ===

impl<'o> Catalog<'o> {
    /// Reads what SLOs may refer to.
    pub(super) fn collect(
        settings: &Settings,
        objects: &'o [Object<'_>],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut catalog = Self::empty();
        for kind in Kind::IN_ORDER {
            let is_meant = |object: &&Object<'_>| is_v1(&object.root) && Kind::of(&object.root) == Some(kind);
            for object in objects.iter().filter(is_meant) {
                let mut reader = Reader::new(settings, object.source);
                catalog.define(&mut reader, kind, object);
                diagnostics.append(&mut reader.into_diagnostics());
            }
        }
        catalog
    }

    fn empty() -> Self {
        Self {
            services: Named::of(Kind::Service),
            sources: Named::of(Kind::DataSource),
            targets: Named::of(Kind::AlertNotificationTarget),
            conditions: Named::of(Kind::AlertCondition),
            slis: Named::of(Kind::Sli),
            policies: Named::of(Kind::AlertPolicy),
        }
    }

    fn define(&mut self, reader: &mut Reader<'_>, kind: Kind, object: &'o Object<'_>) {
        let root = &object.root;
        match kind {
            Kind::Service => {
                let service = reader.checked(|reader| envelope::read(reader, root, &["description"]));
                self.services.define(reader, root, service.map(|_| ()));
            }
            Kind::DataSource => {
                let source = reader.checked(|reader| sli::read_source(reader, root));
                self.sources.define(reader, root, source);
            }
            Kind::AlertNotificationTarget => {
                let target = reader.checked(|reader| alerts::read_target(reader, root));
                self.targets.define(reader, root, target);
            }
            Kind::AlertCondition => {
                let condition = reader.checked(|reader| alerts::read_condition(reader, root));
                self.conditions.define(reader, root, condition);
            }
            Kind::Sli => {
                let sli = reader.checked(|reader| sli::read_object(reader, object, &self.sources));
                self.slis.define(reader, root, sli);
            }
            Kind::AlertPolicy => {
                let policy = reader.checked(|reader| alerts::read_policy(reader, root, self));
                self.policies.define(reader, root, policy);
            }
            // Nothing refers to them; `read` reads them.
            Kind::Slo => (),
        }
    }
}

fn is_v1(root: &Node) -> bool {
    root.scalar("apiVersion") == Some(V1)
}

// === impl Named ===

impl<'o, T> Named<'o, T> {
    fn of(kind: Kind) -> Self {
        Self { kind, by_name: BTreeMap::new(), comparisons: Cell::new(COMPARISONS_MAX) }
    }

    /// Adds what an object says, `None` if it has errors.
    fn define(&mut self, reader: &mut Reader<'_>, root: &'o Node, meaning: Option<T>) {
        // That there is no name was reported when the object was read.
        let Some((name, at)) = envelope::name_of(root) else { return };
        if let Some(first) = self.by_name.get(name) {
            let message = format!("{} {name} is already defined at {}", self.kind.name(), first.at);
            return reader.error(at, message);
        }
        self.by_name.insert(name, Defined { at: reader.describe(at), meaning });
    }

    /// What the object says whose name is in `node`. Without it the reference is reported.
    fn resolve(&self, reader: &mut Reader<'_>, node: &Node) -> Option<&T> {
        let name = reader.text(node)?;
        let Some(found) = self.by_name.get(name) else {
            reader.error(node.at, self.describe_missing(name));
            return None;
        };
        if found.meaning.is_none() {
            let kind = self.kind.name();
            reader.error(node.at, format!("{kind} {name} has errors; it is defined at {}", found.at));
        }
        found.meaning.as_ref()
    }

    fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    fn nearest(&self, name: &str) -> Option<&'o str> {
        self.comparisons.set(self.comparisons.get().checked_sub(1)?);
        let names: Vec<&'o str> = self.by_name.keys().copied().collect();
        nearest(name, &names)
    }

    fn describe_missing(&self, name: &str) -> String {
        let kind = self.kind.name();
        match self.nearest(name) {
            Some(near) => format!("no {kind} has the name {name:?}, did you mean {near:?}?"),
            None => {
                format!(
                    "no {kind} has the name {name:?}; read the file that defines it together with this one"
                )
            }
        }
    }

    /// Warns of a name that only seems to be one of these. What it names need not be defined.
    fn warn_if_misspelt(&self, reader: &mut Reader<'_>, node: &Node) {
        let Some(name) = reader.text(node).filter(|name| !self.contains(name)) else { return };
        if let Some(near) = self.nearest(name) {
            let kind = self.kind.name();
            reader.warn(node.at, format!("no {kind} has the name {name:?}, did you mean {near:?}?"));
        }
    }
}

// === impl Kind ===

impl Kind {
    const IN_ORDER: [Self; 7] = [
        Self::Service,
        Self::DataSource,
        Self::AlertNotificationTarget,
        Self::AlertCondition,
        Self::Sli,
        Self::AlertPolicy,
        Self::Slo,
    ];

    fn of(root: &Node) -> Option<Self> {
        let name = root.scalar("kind")?;
        Self::IN_ORDER.into_iter().find(|kind| kind.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::DataSource => "DataSource",
            Self::AlertNotificationTarget => "AlertNotificationTarget",
            Self::AlertCondition => "AlertCondition",
            Self::Sli => "SLI",
            Self::AlertPolicy => "AlertPolicy",
            Self::Slo => "SLO",
        }
    }
}

#[cfg(test)]
mod tests;
