//! Texts to objects: the first pass over all files, before any SLO is read.
//!
//! An object is what a format's reader takes: a document, or an item of a document that is a list, such as
//! what `kubectl get -o yaml` prints. What kind of object it is, nothing here knows.

use super::{
    ACCEPTED, Settings,
    diagnostic::Diagnostic,
    reader::{Reader, Source},
    yaml::{self, Key, Node, Value},
};

/// One thing that a spec defines.
pub(super) struct Object<'t> {
    /// The document that it is in.
    pub(super) source: Source<'t>,
    pub(super) root: Node,
}

/// Adds the objects of a file.
pub(super) fn parse<'t>(
    settings: &Settings,
    path: &'t str,
    text: &'t str,
    objects: &mut Vec<Object<'t>>,
    diagnostics: &mut Vec<Diagnostic>,
) {
    const BYTE_ORDER_MARK: char = '\u{feff}';
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let mut is_empty = true;
    for (first_line, text) in yaml::documents(text) {
        is_empty = false;
        let source = Source { path, text, first_line };
        let mut reader = Reader::new(settings, source);
        let roots = read_document(&mut reader, text);
        objects.extend(roots.into_iter().map(|root| Object { source, root }));
        diagnostics.append(&mut reader.into_diagnostics());
    }
    if is_empty {
        let message = format!("file defines no SLO; {ACCEPTED}");
        diagnostics.push(Diagnostic::warning(path, 1, 1, message));
    }
}

fn read_document(reader: &mut Reader<'_>, text: &str) -> Vec<Node> {
    let mut roots = Vec::new();
    match yaml::parse(text) {
        Ok(root) => unfold(reader, root, &mut roots),
        Err(error) => reader.error(error.at, error.message),
    }
    roots
}

/// A list is YAML's own, or Kubernetes' (`kind: List` with `items`).
fn unfold(reader: &mut Reader<'_>, root: Node, roots: &mut Vec<Node>) {
    let at = root.at;
    let is_list = root.scalar("kind").is_some_and(|kind| kind.ends_with("List"));
    let items = match root {
        Node { value: Value::List(items), .. } => items,
        Node { value: Value::Map(entries), .. } if is_list => items_of(entries),
        object => return roots.push(object),
    };
    if items.is_empty() {
        reader.warn(at, "list has no items");
    }
    items.into_iter().for_each(|item| unfold(reader, item, roots));
}

fn items_of(entries: Vec<(Key, Node)>) -> Vec<Node> {
    let items = |(key, node): (Key, Node)| match node.value {
        Value::List(items) if key.name == "items" => items,
        _ => Vec::new(),
    };
    entries.into_iter().flat_map(items).collect()
}

#[cfg(test)]
mod tests {
    use crate::spec::{Diagnostic, read};

    const SLO: &str = "{apiVersion: slod.dev/v1, kind: ServiceLevelObjective, metadata: {name: NAME, service: a}, \
                       spec: {sli: {bad: 'sum(rate(NAME[5m]))', total: 'sum(rate(c[5m]))'}, \
                       objective: {target: 99.9, window: 30d}}}";

    /// Reads a text in which X and Y stand for SLOs of these names.
    #[track_caller]
    fn check(text: &str, slos: &[&str], diagnostics: &[&str]) {
        let specs =
            read("f", &text.replace('X', &SLO.replace("NAME", "x")).replace('Y', &SLO.replace("NAME", "y")));
        let names: Vec<&str> = specs.slos.iter().map(|slo| slo.id.name.as_str()).collect();
        assert_eq!(names, slos, "{text}");
        assert_eq!(
            specs.diagnostics.iter().map(Diagnostic::to_string).collect::<Vec<_>>(),
            diagnostics,
            "{text}"
        );
    }

    #[test]
    fn lists_are_unfolded() {
        check("- X\n- Y\n", &["x", "y"], &[]);
        check("apiVersion: v1\nkind: List\nmetadata: {}\nitems:\n- X\n- Y\n", &["x", "y"], &[]);
        check("kind: ServiceLevelObjectiveList\napiVersion: slod.dev/v1\nitems: [X]\n", &["x"], &[]);
        check("- - X\n- {kind: List, items: [Y]}\n", &["x", "y"], &[]);
    }

    #[test]
    fn a_bad_item_does_not_hide_the_others() {
        let unknown = "f:2:3: error: cannot read kind \"Pod\" without apiVersion; accepted";
        let specs = read("f", &format!("- {}\n- kind: Pod\n", SLO));
        assert_eq!(specs.slos.len(), 1);
        assert!(specs.diagnostics[0].to_string().starts_with(unknown), "{}", specs.diagnostics[0]);
    }

    #[test]
    fn lists_without_items_are_remarked() {
        check("[]", &[], &["f:1:1: warning: list has no items"]);
        check("\n---\nkind: List\n", &[], &["f:3:1: warning: list has no items"]);
        check("kind: List\nitems: {a: b}\n---\nX", &["x"], &["f:1:1: warning: list has no items"]);
    }
}
