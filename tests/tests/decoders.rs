//! Every decoder of bytes from outside has a fuzz target, and every target has inputs that are kept: `tests/fuzz/decoders`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 4] = ["meta", "rdma", "fs", "mount-tool"];

/// What only code has that makes something of bytes or words.
const SIGNS: [&str; 9] = [
    "postcard::from_bytes",
    "take_from_bytes",
    "serde_json::from_",
    "from_le_bytes(",
    "from_be_bytes(",
    "from_str_radix(",
    "fn decode",
    "fn parse",
    "impl FromStr",
];

#[test]
fn every_decoder_has_a_fuzz_target() {
    let listed = listed();
    let decoders: BTreeSet<String> = CRATES.iter().flat_map(|name| decoders(name)).collect();
    let missing: Vec<_> = decoders
        .iter()
        .filter(|file| !listed.contains_key(*file))
        .collect();
    assert!(missing.is_empty(), "not in tests/fuzz/decoders: {missing:?}");
    for file in listed.keys() {
        assert!(
            root().join(file).exists(),
            "tests/fuzz/decoders names {file}, which is not there"
        );
    }
    assert!(decoders.len() > 25, "only {decoders:?} were found");
}

#[test]
fn every_fuzz_target_is_named_and_has_inputs() {
    let named: BTreeSet<String> = listed().into_values().flatten().collect();
    let targets: BTreeSet<String> = CRATES.iter().flat_map(|name| targets(name)).collect();
    assert_eq!(
        named, targets,
        "the targets in tests/fuzz/decoders, and those there are"
    );
    for target in targets {
        let kept = read(&root().join("tests/fuzz/corpus").join(&target));
        assert!(
            kept.lines().any(|line| !line.starts_with('#')),
            "no inputs are kept for {target}"
        );
    }
}

/// Each listed file with its targets; none where a reason stands instead.
fn listed() -> BTreeMap<String, Vec<String>> {
    let table = read(&root().join("tests/fuzz/decoders"));
    let lines = table.lines().filter(|line| !line.starts_with('#'));
    let entry = |line: &str| {
        let (file, targets) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("no target: {line}"));
        let reasoned = targets.starts_with("- ");
        let targets = targets.split(' ').filter(|_| !reasoned).map(str::to_owned);
        (file.to_owned(), targets.collect())
    };
    lines.map(entry).collect()
}

/// The source files of a crate that decode something, from the root.
fn decoders(name: &str) -> Vec<String> {
    let decodes = |path: &PathBuf| {
        let text = read(path);
        let before_tests = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
        SIGNS.iter().any(|sign| before_tests.contains(sign))
    };
    let for_tests = ["tests", "testing.rs", "tests.rs", "fuzzing.rs", "conformance.rs"];
    let product = |path: &PathBuf| path.iter().all(|part| for_tests.iter().all(|test| part != *test));
    let found = files(&root().join(name).join("src"));
    let paths = found.into_iter().filter(product).filter(decodes);
    paths
        .map(|path| {
            path.strip_prefix(root())
                .expect("a file below the root")
                .display()
                .to_string()
        })
        .collect()
}

/// The names in a crate's `TARGETS`.
fn targets(name: &str) -> Vec<String> {
    let text = read(&root().join(name).join("src/fuzzing.rs"));
    let (_, list) = text.split_once("TARGETS: ").expect("a list of targets");
    let list = list.split("];").next().unwrap_or_default();
    list.split("(\"")
        .skip(1)
        .filter_map(|part| part.split('"').next())
        .map(str::to_owned)
        .collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = folders.iter().flat_map(|folder| self::files(folder));
    let rust = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.chain(below).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
