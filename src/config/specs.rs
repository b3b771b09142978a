//! Finds and reads spec files: the only place where specs touch the disk.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::spec::{self, Diagnostic, Specs};

// A spec file is kilobytes; a mistaken path may be anything.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Reads every spec that `patterns` name: files, directories (their `*.yaml` and `*.yml`) or globs. What
/// cannot be read becomes a diagnostic beside those of the specs.
pub fn load<P: AsRef<str>>(patterns: &[P]) -> Specs {
    load_under(patterns, &spec::Settings::default())
}

/// As [`load`], under other settings.
pub fn load_under<P: AsRef<str>>(patterns: &[P], settings: &spec::Settings) -> Specs {
    let mut files = Vec::new();
    let mut unreadable = Vec::new();
    for pattern in patterns {
        match find(pattern.as_ref()) {
            Ok(found) => files.extend(found),
            Err(reason) => unreadable.push(Diagnostic::of_file(pattern.as_ref(), reason)),
        }
    }
    files.sort();
    files.dedup();
    let texts = files.iter().filter_map(|file| {
        let path = file.display().to_string();
        let text = read(file).map_err(|reason| unreadable.push(Diagnostic::of_file(&path, reason)));
        Some((path, text.ok()?))
    });
    let mut specs = spec::read_all(texts.collect::<Vec<_>>(), settings);
    unreadable.append(&mut specs.diagnostics);
    specs.diagnostics = unreadable;
    specs
}

fn find(pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = Path::new(pattern);
    if path.is_dir() {
        return in_directory(path).map_err(|error| format!("cannot read directory: {error}"));
    }
    if path.exists() {
        return Ok(vec![path.to_owned()]);
    }
    let paths = glob::glob(pattern).map_err(|error| format!("not a file, a directory or a glob: {error}"))?;
    let found: Vec<PathBuf> = paths.filter_map(Result::ok).filter(|path| path.is_file()).collect();
    if found.is_empty() { Err("no such file, and no file matches".to_owned()) } else { Ok(found) }
}

/// Hidden files are left out: a mounted Kubernetes ConfigMap holds each of its files a second time below
/// hidden directories.
fn in_directory(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let is_spec = |path: &PathBuf| {
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        is_yaml && !is_hidden && path.is_file()
    };
    let entries: Vec<fs::DirEntry> = fs::read_dir(directory)?.collect::<io::Result<_>>()?;
    Ok(entries.iter().map(fs::DirEntry::path).filter(is_spec).collect())
}

fn read(file: &Path) -> Result<String, String> {
    let bytes = fs::metadata(file).map_err(|error| format!("cannot read file: {error}"))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("file has {bytes} bytes, the limit is {FILE_BYTES_MAX}; split it"));
    }
    let bytes = fs::read(file).map_err(|error| format!("cannot read file: {error}"))?;
    String::from_utf8(bytes).map_err(|error| format!("file is not UTF-8: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_globs_are_searched_and_what_is_missing_is_told() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.yaml", "b.yml", ".hidden.yaml", "c.txt"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let names = |pattern: String| {
            let mut found = find(&pattern).unwrap();
            found.sort();
            found.iter().map(|path| path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let root = directory.path().display().to_string();
        assert_eq!(names(root.clone()), ["a.yaml", "b.yml"]);
        assert_eq!(names(format!("{root}/*.yml")), ["b.yml"]);
        assert_eq!(names(format!("{root}/c.txt")), ["c.txt"]);
        let specs = load(&[format!("{root}/none.yaml")]);
        let message = specs.diagnostics[0].to_string();
        assert!(message.ends_with("none.yaml: error: no such file, and no file matches"), "{message}");
    }
}
