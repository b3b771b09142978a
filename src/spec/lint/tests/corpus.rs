//! Public specs, where they are at hand: what is remarked is known to be wrong, and all that is known is remarked.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::spec::{
    Settings,
    lint::check,
    read,
    reader::{Place, Reader, Source},
};

/// Mistakes by file, in the order of the files.
const KNOWN: [(&str, &str); 8] = [
    ("sloth/041.yaml", "le=\"250\" selects nothing"),
    ("sloth/110.yaml", "bad events are those that went well"),
    ("sloth/110.yaml", "bad events are the observations"),
    ("sloth/110.yaml", "up to 1 ns, which nothing does"),
    ("sloth/110.yaml", "le=\"1\" selects nothing"),
    ("sloth/146.yaml", "le=\"300\" selects nothing"),
    ("sloth/146.yaml", "le=\"300\" selects nothing"),
    ("sloth/146.yaml", "le=\"300\" selects nothing"),
];

/// What was read of a file.
struct File {
    name: String,
    slos: usize,
    remarks: Vec<String>,
}

#[test]
fn public_specs() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let paths: Vec<PathBuf> = list(&dir).iter().flat_map(|dir| list(dir)).collect();
    let files: Vec<File> = paths.iter().map(|path| lint(path, &dir)).collect();
    let slos: usize = files.iter().map(|file| file.slos).sum();
    println!("read {slos} SLOs of {} files below {}", files.len(), dir.display());
    // A file without SLOs was refused.
    let is_read = |name: &str| files.iter().any(|file| file.slos > 0 && file.name == name);
    let known: Vec<_> = KNOWN.into_iter().filter(|(name, _)| is_read(name)).collect();
    let remarks =
        |file: &File| file.remarks.iter().map(|remark| format!("{}: {remark}", file.name)).collect();
    let found: Vec<String> = files.iter().flat_map(|file| -> Vec<String> { remarks(file) }).collect();
    let mut both = found.iter().zip(&known);
    let is_expected = both.all(|(found, (name, part))| found.starts_with(name) && found.contains(part));
    assert!(is_expected && found.len() == known.len(), "found {found:#?}\nknown {known:#?}");
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The linter's remarks alone, on each SLO by itself.
fn lint(path: &Path, below: &Path) -> File {
    let name = path.strip_prefix(below).unwrap().display().to_string();
    let text = fs::read_to_string(path).unwrap();
    let slos = read(&name, &text).slos;
    let settings = Settings::default();
    let mut reader = Reader::new(&settings, Source { path: &name, text: &text, first_line: 1 });
    for slo in &slos {
        check(&mut reader, Place::START, &slo.indicator, !name.starts_with("pyrra/"));
    }
    let remarks = reader.into_diagnostics().into_iter().map(|remark| remark.message);
    let remarks = remarks.collect();
    File { slos: slos.len(), remarks, name }
}
