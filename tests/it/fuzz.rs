//! The fuzzers' corpus, tried without a fuzzer. The name of a file says what is to become of it.

use std::{fs, path::Path};

use slod::{
    prompb::Version,
    testing::fuzz::{self, Fate},
};

#[track_caller]
fn check(version: Version, target: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut fates = Vec::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let fate = fuzz::remote_write(version, &fs::read(&path).unwrap());
        let name = path.file_name().unwrap().to_str().unwrap();
        let expected = if name.starts_with("read-") { Fate::Read } else { Fate::Refused };
        assert!(name.starts_with("read-") || name.starts_with("refused-"), "{name}");
        assert_eq!(fate, expected, "{name}");
        fates.push(fate);
    }
    assert!(fates.contains(&Fate::Read) && fates.contains(&Fate::Refused), "{target}: {fates:?}");
}

#[test]
fn the_corpus_of_remote_write_1() {
    check(Version::V1, "remote_write_v1");
}

#[test]
fn the_corpus_of_remote_write_2() {
    check(Version::V2, "remote_write_v2");
}
