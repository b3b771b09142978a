//! What all objects of OpenSLO have in common: their metadata, around a `spec` of their own.

use std::collections::BTreeMap;

use crate::spec::{
    names::is_label_name,
    reader::{Fields, Place, Reader},
    yaml::{Key, Node, Value},
};

/// An object, or one written in the place of a reference.
pub(super) struct Envelope<'n> {
    pub(super) metadata: Metadata<'n>,
    pub(super) spec: Fields<'n>,
}

/// What an object says of itself.
#[derive(Clone)]
pub(super) struct Metadata<'n> {
    pub(super) name: &'n str,
    /// Where its name is.
    pub(super) at: Place,
    pub(super) display_name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

// RFC 1123: what the format asks of names.
const NAME_LENGTH_MAX: usize = 63;

// What a Kubernetes API server adds to the metadata of an object; an operator's objects have these fields.
const KUBERNETES: [&str; 9] = [
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "ownerReferences",
    "finalizers",
    "selfLink",
];

/// Reads an object whose `spec` may have these fields.
pub(super) fn read<'n>(reader: &mut Reader<'_>, root: &'n Node, known: &[&str]) -> Option<Envelope<'n>> {
    let fields = reader.fields(root, &["apiVersion", "kind", "metadata", "spec", "status"])?;
    let metadata = reader.required(&fields, "metadata").and_then(|node| read_metadata(reader, node));
    let spec = reader.required_fields(&fields, "spec", known);
    Some(Envelope { metadata: metadata?, spec: spec? })
}

/// Reads an object in the place of a reference. It needs no name: nothing refers to it.
pub(super) fn read_inline<'n>(
    reader: &mut Reader<'_>,
    node: &'n Node,
    known: &[&str],
) -> Option<(Option<Metadata<'n>>, Fields<'n>)> {
    let fields = reader.fields(node, &["apiVersion", "kind", "metadata", "spec"])?;
    let metadata = fields.get("metadata").and_then(|node| read_metadata(reader, node));
    let spec = reader.required_fields(&fields, "spec", known)?;
    Some((metadata, spec))
}

/// Reads the field `metadata`.
pub(super) fn read_metadata<'n>(reader: &mut Reader<'_>, node: &'n Node) -> Option<Metadata<'n>> {
    let own = ["name", "displayName", "labels", "annotations"];
    let known: Vec<&str> = own.into_iter().chain(KUBERNETES).collect();
    let fields = reader.fields(node, &known)?;
    let name = reader.required_text(&fields, "name");
    let at = fields.place("name");
    if let Some(name) = name.filter(|name| !is_dns_label(name)) {
        let message = format!(
            "name {name:?} is no DNS label, which OpenSLO asks for: at most {NAME_LENGTH_MAX} lower case letters, \
             digits and -"
        );
        reader.warn(at, message);
    }
    let display_name = reader.optional_text(&fields, "displayName");
    let labels = read_labels(reader, &fields);
    let annotations = read_annotations(reader, &fields);
    Some(Metadata { name: name?, at, display_name, labels, annotations })
}

fn is_dns_label(name: &str) -> bool {
    let is_end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= NAME_LENGTH_MAX
        && name.starts_with(is_end)
        && name.ends_with(is_end)
        && name.chars().all(|c| is_end(c) || c == '-')
}

/// The name of an object, and where it is.
pub(super) fn name_of(root: &Node) -> Option<(&str, Place)> {
    let metadata = field(root, "metadata")?;
    let name = field(metadata, "name")?;
    match &name.value {
        Value::Scalar(text) => Some((text, name.at)),
        _ => None,
    }
}

fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.name == name).map(|(_, value)| value)
}

/// Labels for series; names that series cannot have are changed.
fn read_labels(reader: &mut Reader<'_>, metadata: &Fields<'_>) -> BTreeMap<String, String> {
    let entries = metadata.get("labels").and_then(|node| reader.map(node)).unwrap_or_default().iter();
    let labels: Vec<(&Key, String)> =
        entries.filter_map(|(key, node)| Some((key, read_label(reader, node)?))).collect();
    let named = labels.iter().map(|(key, value)| (key.at, key.name.as_str(), value.as_str()));
    reader.picked_labels_renamed(named.collect())
}

/// A text, or a list of texts, which becomes one.
fn read_label(reader: &mut Reader<'_>, node: &Node) -> Option<String> {
    let Value::List(items) = &node.value else { return reader.text(node).map(str::to_owned) };
    let items: Vec<&str> = items.iter().filter_map(|item| reader.text(item)).collect();
    Some(items.join(","))
}

/// Annotations that alerts can have; others, such as `nobl9.com/project`, are for other tools.
fn read_annotations(reader: &mut Reader<'_>, metadata: &Fields<'_>) -> BTreeMap<String, String> {
    let entries = reader.string_map(metadata, "annotations");
    let legal = entries.into_iter().filter(|(key, _)| is_label_name(&key.name));
    legal.map(|(key, value)| (key.name.clone(), value.to_owned())).collect()
}
