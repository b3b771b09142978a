//! What `slod storage` says of files of format 1, whole and damaged.

use std::{fs, path::Path, thread, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::storage::DataDirectory;

const FORMAT_1: &str = "tests/testdata/storage/v1";
/// Ten minutes after the state was taken.
const NOW: Timestamp = Timestamp(1_767_226_545_000);

fn command(format: Format, make: fn(DirectoryArgs) -> Command) -> Command {
    make(DirectoryArgs { storage_path: FORMAT_1.into(), format })
}

/// What both commands print of a directory, for people.
fn both(path: &Path) -> String {
    match inspect::inspect(path) {
        Ok(inspection) => page::contents(&inspection, NOW) + "\n" + &page::verdict(&inspection),
        Err(error) => error.to_string().replace(path.to_str().unwrap(), "DIR"),
    }
}

/// A copy of the files of format 1.
fn copied() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("log")).unwrap();
    for part in ["", "log"] {
        for file in fs::read_dir(Path::new(FORMAT_1).join(part)).unwrap().map(Result::unwrap) {
            if file.file_type().unwrap().is_file() {
                fs::copy(file.path(), directory.path().join(part).join(file.file_name())).unwrap();
            }
        }
    }
    directory
}

fn files(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path).unwrap().chain(fs::read_dir(path.join("log")).unwrap()) {
        let file = entry.unwrap().path();
        if file.is_file() {
            files.push((file.display().to_string(), fs::read(&file).unwrap()));
        }
    }
    files.sort();
    files
}

fn segment(directory: &TempDir, index: usize) -> std::path::PathBuf {
    let mut paths: Vec<_> =
        fs::read_dir(directory.path().join("log")).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.swap_remove(index)
}

#[test]
fn a_whole_directory() {
    let inspection = inspect::inspect(Path::new(FORMAT_1)).unwrap();
    let shown = |format, make| text(&command(format, make), &inspection, NOW).unwrap();
    insta::assert_snapshot!("inspect", shown(Format::Human, Command::Inspect));
    insta::assert_snapshot!("inspect_json", shown(Format::Json, Command::Inspect));
    insta::assert_snapshot!("verify", shown(Format::Human, Command::Verify));
    insta::assert_snapshot!("verify_json", shown(Format::Json, Command::Verify));
}

#[test]
fn what_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(both(&directory.path().join("none")));
    insta::assert_snapshot!(both(directory.path()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);

    let directory = copied();
    fs::remove_file(directory.path().join("state.redb")).unwrap();
    insta::assert_snapshot!(both(directory.path()));
    fs::remove_file(segment(&directory, 0)).unwrap();
    insta::assert_snapshot!(both(directory.path()));

    let directory = copied();
    fs::remove_dir_all(directory.path().join("log")).unwrap();
    let inspection = inspect::inspect(directory.path()).unwrap();
    insta::assert_snapshot!(page::verdict(&inspection));
}

#[test]
fn what_is_damaged() {
    let directory = copied();
    for (index, at) in [(0, 3), (1, 2_000)] {
        let path = segment(&directory, index);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    fs::write(directory.path().join("state.redb"), [0x5a; 10_000]).unwrap();
    fs::write(directory.path().join("state.redb.corrupt-1"), b"of yore").unwrap();
    let before = files(directory.path());
    insta::assert_snapshot!(both(directory.path()));
    let inspection = inspect::inspect(directory.path()).unwrap();
    insta::assert_snapshot!("damage_json", json::render(&json::verdict(&inspection)).unwrap());
    assert!(files(directory.path()) == before, "looking changes nothing");
}

#[test]
fn a_slod_that_runs_keeps_its_state_to_itself() {
    let directory = copied();
    let slod = DataDirectory::open(directory.path()).unwrap();
    let inspection = inspect::inspect(directory.path()).unwrap();
    insta::assert_snapshot!(page::verdict(&inspection));
    drop(slod);
    // A process that another test begins at this moment holds the lock until it is under way.
    let is_read = || inspect::inspect(directory.path()).unwrap().values() > 0;
    for _ in 0..500 {
        if is_read() {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("the state is not read");
}

#[test]
fn a_changed_bit_anywhere_in_the_log_is_found() {
    let directory = copied();
    fs::remove_file(directory.path().join("state.redb")).unwrap();
    let newest = fs::read_dir(directory.path().join("log")).unwrap().count() - 1;
    for index in 0..=newest {
        let path = segment(&directory, index);
        let bytes = fs::read(&path).unwrap();
        for at in (0..bytes.len()).step_by(5) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&path, changed).unwrap();
            // At the end of the newest one it may be a write that was cut off.
            let found = inspect::inspect(directory.path());
            let is_found = found.is_err() || found.is_ok_and(|found| !found.damage.is_empty());
            assert!(is_found || index == newest, "byte {at} of segment {index}");
        }
        fs::write(&path, bytes).unwrap();
    }
}

#[test]
fn a_changed_bit_anywhere_in_the_state_is_told_or_harmless() {
    let directory = copied();
    fs::remove_dir_all(directory.path().join("log")).unwrap();
    let path = directory.path().join("state.redb");
    let bytes = fs::read(&path).unwrap();
    let whole = both(directory.path());
    let mut found = 0;
    // Pages that are not in use are zero; what is left in them of earlier versions is not looked at either.
    for at in (0..bytes.len()).filter(|at| bytes[*at] != 0).step_by(101) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&path, changed).unwrap();
        let told = inspect::inspect(directory.path()).map_or(true, |now| !now.damage.is_empty());
        assert!(
            told || both(directory.path()) == whole,
            "byte {at} changes what is read, and nobody says so"
        );
        found += usize::from(told);
    }
    assert!(found > 0);
}
