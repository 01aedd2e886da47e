//! The bytes of every message, pinned: `frozen.txt` has a line for each variant of each enum that crosses the wire.
//!
//! Peers of other builds read and write these bytes. A line that stands in a landed `frozen.txt` is never changed: see the opening
//! of `wire/version.rs` for what to do instead.

mod values;
mod beside;
mod samples;

use postcard::Error as Postcard;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Write;

/// As it was landed.
const FROZEN: &str = include_str!("frozen.txt");

const WHAT_TO_DO: &str = "the wire has changed. A message that was landed keeps its bytes in its version: undo that change, and append a variant \
    that says since when it is there (meta/src/wire/version.rs, with a new NEWEST). The line of a variant that was never landed is \
    written, or written anew, into meta/src/wire/codec/tests/frozen.txt as it stands above";

/// The bytes of what the wire has now, a line for each.
#[derive(Default)]
struct Pins {
    lines: BTreeMap<String, String>,
    /// Enums whose samples are not exactly one for each variant, in order.
    incomplete: Vec<String>,
}

impl Pins {
    /// One value, under a name.
    fn pin(&mut self, name: &str, value: &impl Serialize) {
        self.pin_bytes(name, &postcard::to_allocvec(value).unwrap());
    }

    /// The bytes of a value, under a name.
    fn pin_bytes(&mut self, name: &str, bytes: &[u8]) {
        let mut hex = String::new();
        for byte in bytes {
            write!(hex, "{byte:02x}").unwrap();
        }
        let before = self.lines.insert(name.into(), hex);
        assert_eq!(before, None, "two samples are named {name}");
    }

    /// An enum: a value of each variant, in their order.
    fn pin_all<T: Serialize + DeserializeOwned + std::fmt::Debug>(&mut self, of: &str, samples: &[T]) {
        for (number, sample) in samples.iter().enumerate() {
            let shown = format!("{sample:?}");
            let variant = shown.split([' ', '(', '{']).next().unwrap();
            let first = postcard::to_allocvec(sample).unwrap()[0];
            if usize::from(first) != number {
                self.incomplete
                    .push(format!("{of}::{variant} is number {first}, not {number}"));
            }
            self.pin(&format!("{of} {number:02} {variant}"), sample);
        }
        let next = u8::try_from(samples.len()).unwrap();
        // A number that no variant has is refused; that of a variant is taken, or more bytes are missed.
        let beyond = postcard::from_bytes::<T>(&[next]);
        if !matches!(beyond, Err(Postcard::SerdeDeCustom)) {
            self.incomplete
                .push(format!("{of} has a variant of number {next} and no sample of it"));
        }
    }
}

#[test]
fn no_message_changes_its_bytes() {
    let mut pins = Pins::default();
    samples::pin(&mut pins);
    assert!(pins.incomplete.is_empty(), "samples.rs: {:#?}", pins.incomplete);
    let frozen: BTreeMap<String, String> = FROZEN
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_once(": ").expect("NAME: BYTES"))
        .map(|(name, bytes)| (name.to_owned(), bytes.to_owned()))
        .collect();
    let mut differ = String::new();
    for (name, bytes) in &pins.lines {
        match frozen.get(name) {
            Some(landed) if landed == bytes => {}
            Some(landed) => writeln!(differ, "now   {name}: {bytes}\nthen  {name}: {landed}").unwrap(),
            None => writeln!(differ, "new   {name}: {bytes}").unwrap(),
        }
    }
    for name in frozen.keys().filter(|name| !pins.lines.contains_key(*name)) {
        writeln!(differ, "gone  {name}").unwrap();
    }
    assert!(differ.is_empty(), "\n{differ}\n{WHAT_TO_DO}");
}
