//! Identities of the SLOs of whole spec files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use slod::{slo::Slo, spec};

#[test]
fn slos_of_all_formats_have_one_identity_if_they_ask_the_same() {
    let slos: Vec<Slo> = specs(Path::new("tests/testdata")).iter().flat_map(read).collect();
    assert!(slos.len() > 20, "{} SLOs", slos.len());
    let mut others = 0;
    for one in &slos {
        for other in &slos {
            let asks_the_same = Slo { id: one.id.clone(), ..other.clone() }.has_history_of(one);
            assert_eq!(one.identity() == other.identity(), asks_the_same, "{} and {}", one.id, other.id);
            others += usize::from(!asks_the_same);
        }
    }
    assert!(others > slos.len(), "nearly all ask the same");
}

#[test]
fn an_identity_is_the_same_whenever_a_spec_is_read() {
    for path in specs(Path::new("tests/testdata")) {
        let identities = |slos: Vec<Slo>| slos.iter().map(Slo::identity).collect::<Vec<_>>();
        assert_eq!(identities(read(&path)), identities(read(&path)), "{}", path.display());
    }
}

fn read(path: &PathBuf) -> Vec<Slo> {
    spec::read(&path.display().to_string(), &fs::read_to_string(path).unwrap()).slos
}

/// Every YAML file below a directory.
fn specs(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let of = |path: PathBuf| if path.is_dir() { specs(&path) } else { vec![path] };
    paths.flat_map(of).filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect()
}
