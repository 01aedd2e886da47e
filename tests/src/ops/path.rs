//! Paths of a few names, some of them odd or too long.

use rand::RngExt;
use rand::rngs::StdRng;
use std::fmt;

const TOO_LONG: [u8; 256] = [b'x'; 256];
const LONGEST: [u8; 255] = [b'y'; 255];
const NAMES: [&[u8]; 8] = [b"a", b"b", b"c", b"d", b"e", b"\xff odd\n", &LONGEST, &TOO_LONG];

/// A path from the root of the file system; at least one name.
#[derive(Clone, PartialEq, Eq)]
pub struct FilePath(pub Vec<&'static [u8]>);

impl FilePath {
    /// The names joined by '/'.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.0.join(&b'/')
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.bytes().escape_ascii().to_string();
        f.write_str(
            &text
                .replace(&"x".repeat(256), "TOO_LONG")
                .replace(&"y".repeat(255), "LONGEST"),
        )
    }
}

/// A path of up to three names, or one that is refused.
pub(super) fn path(rng: &mut StdRng) -> FilePath {
    let depth = [1, 1, 1, 1, 2, 2, 2, 3][rng.random_range(0..8)];
    FilePath((0..depth).map(|_| name(rng)).collect())
}

fn name(rng: &mut StdRng) -> &'static [u8] {
    match rng.random_range(0..100) {
        0 => NAMES[7],
        1..=3 => NAMES[rng.random_range(5..7)],
        _ => NAMES[rng.random_range(0..5)],
    }
}
