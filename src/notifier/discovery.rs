//! Where Alertmanagers are: those of the configuration, and those of files that others write (Prometheus'
//! `file_sd_configs`).
//!
//! A file that cannot be read or has something else in it keeps the targets that it had. It does not read the clock:
//! who asks says how much time has passed.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::Deserialize;

use super::{Group, receiver};

/// An Alertmanager that was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// What it is called: the URL that alerts are sent to.
    pub url: String,
    /// The group of the configuration that it is of.
    pub group: usize,
    /// `host:port`
    pub address: String,
}

/// Finds them.
#[derive(Debug, Default)]
pub struct Discovery {
    groups: Vec<Group>,
    /// What each file said last.
    files: BTreeMap<(usize, PathBuf), Known>,
    /// When files were last read whether or not they looked changed.
    refreshed: Vec<Duration>,
}

#[derive(Debug)]
struct Known {
    stamp: Option<(SystemTime, u64)>,
    targets: Vec<String>,
}

/// An entry of such a file. Labels would be for relabelling, which there is none of.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    targets: Vec<String>,
    #[serde(default)]
    #[expect(dead_code, reason = "it may be there")]
    labels: BTreeMap<String, String>,
}

// A file of targets is kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

// === impl Discovery ===

impl Discovery {
    /// Of the groups of the configuration.
    pub fn new(groups: Vec<Group>) -> Self {
        let refreshed = vec![Duration::ZERO; groups.len()];
        Self { groups, files: BTreeMap::new(), refreshed }
    }

    /// Whether there is anything to look for again.
    pub fn is_fixed(&self) -> bool {
        self.groups.iter().all(|group| group.files.is_empty())
    }

    /// The groups.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Reads files that look changed, and after the refresh interval all; `elapsed` is steady time. Returns every
    /// target once, and what is wrong with files.
    pub fn look(&mut self, elapsed: Duration) -> (Vec<Target>, Vec<String>) {
        let mut complaints = Vec::new();
        for number in 0..self.groups.len() {
            let is_due =
                elapsed.saturating_sub(self.refreshed[number]) >= self.groups[number].refresh_interval;
            if is_due {
                self.refreshed[number] = elapsed;
            }
            self.read_files(number, is_due, &mut complaints);
        }
        (self.targets(), complaints)
    }

    fn read_files(&mut self, number: usize, is_due: bool, complaints: &mut Vec<String>) {
        let found: Vec<PathBuf> =
            self.groups[number].files.iter().flat_map(|pattern| matching(pattern)).collect();
        // A file that was taken away takes its targets with it.
        self.files.retain(|(group, file), _| *group != number || found.contains(file));
        for file in found {
            let stamp = stamp(&file);
            let key = (number, file);
            let known = self.files.get(&key);
            if known.is_some_and(|known| known.stamp == stamp && !is_due) {
                continue;
            }
            let read = read(&key.1).and_then(|targets| checked(&self.groups[number], targets));
            let targets = read.unwrap_or_else(|reason| {
                complaints.push(format!("{}: {reason}; the targets it had before stay", key.1.display()));
                known.map(|known| known.targets.clone()).unwrap_or_default()
            });
            self.files.insert(key, Known { stamp, targets });
        }
    }

    fn targets(&self) -> Vec<Target> {
        let fixed = self.groups.iter().enumerate();
        let fixed =
            fixed.flat_map(|(number, group)| group.targets.iter().map(move |target| (number, target)));
        let filed = self.files.iter();
        let filed =
            filed.flat_map(|((number, _), known)| known.targets.iter().map(move |target| (*number, target)));
        let target = |(group, address): (usize, &String)| Target {
            url: receiver::url(&self.groups[group], address),
            group,
            address: address.clone(),
        };
        let mut targets: Vec<Target> = fixed.chain(filed).map(target).collect();
        targets.sort();
        targets.dedup_by(|one, other| one.url == other.url);
        targets
    }
}

/// The files that a path or a glob means.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    let paths = glob::glob(&pattern.display().to_string());
    let mut found: Vec<PathBuf> = paths.into_iter().flatten().filter_map(Result::ok).collect();
    found.sort();
    found
}

/// What changes when a file does.
fn stamp(file: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

fn read(file: &Path) -> Result<Vec<String>, String> {
    let bytes = fs::metadata(file).map_err(|error| format!("cannot read file: {error}"))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!("file has {bytes} bytes, the limit is {FILE_BYTES_MAX}"));
    }
    let text = fs::read_to_string(file).map_err(|error| format!("cannot read file: {error}"))?;
    // JSON is YAML, too.
    let entries: Vec<Entry> =
        serde_saphyr::from_str(&text).map_err(|error| format!("not a list of targets: {error}"))?;
    Ok(entries.into_iter().flat_map(|entry| entry.targets).collect())
}

fn checked(group: &Group, targets: Vec<String>) -> Result<Vec<String>, String> {
    for target in &targets {
        receiver::check_target(group, target).map_err(|error| error.to_string())?;
    }
    Ok(targets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{client::Tls, notifier::ServerConfig};

    fn group(files: Vec<PathBuf>) -> Group {
        Group {
            server: ServerConfig { credentials: None, tls: Tls::default(), timeout: Duration::from_secs(10) },
            scheme: "http".to_owned(),
            path_prefix: "/am".to_owned(),
            targets: vec!["fixed:9093".to_owned()],
            files,
            refresh_interval: Duration::from_secs(300),
        }
    }

    #[track_caller]
    fn check(discovery: &mut Discovery, elapsed: u64, expected: &[&str], complaint: &str) {
        let (targets, complaints) = discovery.look(Duration::from_secs(elapsed));
        let addresses: Vec<&str> = targets.iter().map(|target| target.address.as_str()).collect();
        assert_eq!(addresses, expected);
        assert!(complaints.join("\n").contains(complaint), "{complaints:?}");
        assert_eq!(complaints.is_empty(), complaint.is_empty(), "{complaints:?}");
    }

    #[test]
    fn files_come_change_break_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.json");
        let discovery = &mut Discovery::new(vec![group(vec![directory.path().join("*.json")])]);
        check(discovery, 0, &["fixed:9093"], "");
        fs::write(&file, r#"[{"targets": ["a:1", "b:2", "fixed:9093"], "labels": {"x": "y"}}]"#).unwrap();
        check(discovery, 1, &["a:1", "b:2", "fixed:9093"], "");
        fs::write(&file, "[{targets: [").unwrap();
        check(discovery, 2, &["a:1", "b:2", "fixed:9093"], "not a list of targets");
        // Told once, and again when all files are read anew.
        check(discovery, 3, &["a:1", "b:2", "fixed:9093"], "");
        check(discovery, 400, &["a:1", "b:2", "fixed:9093"], "not a list of targets");
        fs::write(&file, "- targets: [http://c:3]").unwrap();
        check(discovery, 401, &["a:1", "b:2", "fixed:9093"], "\"http://c:3\" is no host:port");
        fs::write(&file, "- targets: [c:3]").unwrap();
        check(discovery, 402, &["c:3", "fixed:9093"], "");
        fs::remove_file(&file).unwrap();
        check(discovery, 403, &["fixed:9093"], "");
    }

    #[test]
    fn a_target_is_called_by_its_url() {
        let targets = Discovery::new(vec![group(vec![])]).look(Duration::ZERO).0;
        assert_eq!(targets[0].url, "http://fixed:9093/am/api/v2/alerts");
    }
}
