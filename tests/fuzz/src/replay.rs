//! The kept inputs, in the tests of each crate that has targets: a child of its `fuzzing` module.
//!
//! `tests/fuzz/corpus/TARGET` has an input in each line, in hex, where `#` begins a remark.

use std::path::Path;

#[test]
fn kept_inputs_hold() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
    for (name, target) in super::TARGETS {
        let kept = std::fs::read_to_string(corpus.join(name)).unwrap();
        let mut held = 0;
        for line in kept.lines().filter(|line| !line.starts_with('#')) {
            target(&unhex(line));
            held += 1;
        }
        assert!(held > 0, "no inputs are kept for {name}");
    }
}

fn unhex(line: &str) -> Vec<u8> {
    let pairs = line.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
