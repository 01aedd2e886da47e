//! Strings that come from somebody else - names, paths, hosts, a peer's reasons - as text for a terminal or a log.
//!
//! A name may hold any byte but `/` and 0. An escape sequence in one would act on the terminal of whoever reads it, and the end of a line would
//! forge the next line of a log. [`shown`] is the one way by which such a string gets into a text; [`plain`] is where texts leave
//! the process, and lets nothing through that was forgotten.

use std::ffi::OsStr;
use std::fmt::{self, Display, Formatter, Write};
use std::os::unix::ffi::OsStrExt;

/// A string in which whatever is no visible character is written as an escape: `\n`, `\u{1b}`, `\xff` for a byte that is no text.
#[must_use]
pub fn shown<T: AsRef<OsStr> + ?Sized>(text: &T) -> Shown<'_> {
    Shown(text.as_ref())
}

/// See [`shown`].
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(&'a OsStr);

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0
            .as_bytes()
            .utf8_chunks()
            .try_for_each(|chunk| write_chunk(f, chunk.valid(), chunk.invalid()))
    }
}

fn write_chunk(f: &mut Formatter<'_>, text: &str, bytes: &[u8]) -> fmt::Result {
    text.chars().try_for_each(|c| write_char(f, c))?;
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

fn write_char(f: &mut Formatter<'_>, c: char) -> fmt::Result {
    if is_hidden(c) {
        write!(f, "{}", c.escape_default())
    } else {
        f.write_char(c)
    }
}

/// A text of lines as it may be written to a terminal or a log: ends of lines and tabs are of the text, all else is as in [`shown`].
#[must_use]
pub fn plain(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) && c != '\n' && c != '\t' {
            written.extend(c.escape_default());
        } else {
            written.push(c);
        }
    }
    written
}

/// JSON as it may be written to a terminal. It escapes most control characters by itself; the others can only stand in its strings.
#[must_use]
pub fn plain_json(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            // None of them needs more than four digits.
            written.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            written.push(c);
        }
    }
    written
}

/// What a terminal obeys, or what makes lines or order of a text another one than the bytes are: controls (C1 too), separators of lines, marks of direction.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_as_text() {
        let name = OsStr::from_bytes(b"a\x1b]0;title\x07\nnext\tline\x7f\xff\xc2\x9b2J");
        assert_eq!(
            shown(name).to_string(),
            "a\\u{1b}]0;title\\u{7}\\nnext\\tline\\u{7f}\\xff\\u{9b}2J"
        );
        assert_eq!(shown("täglich 日本 \\n 'x'").to_string(), "täglich 日本 \\n 'x'");
        assert_eq!(shown("a\u{202e}b\u{2028}c").to_string(), "a\\u{202e}b\\u{2028}c");
        assert_eq!(plain("a\tb\nc\x1b[2J\r"), "a\tb\nc\\u{1b}[2J\\r");
        assert_eq!(
            plain_json("{\"a\":\"\u{9b}2J\u{7f}\u{202e}\"}"),
            r#"{"a":"\u009b2J\u007f\u202e"}"#
        );
    }

    proptest! {
        #[test]
        fn no_bytes_give_a_control(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let text = shown(OsStr::from_bytes(&bytes)).to_string();
            prop_assert!(!text.chars().any(is_hidden), "{text:?}");
            let lossy = String::from_utf8_lossy(&bytes);
            prop_assert!(!plain(&lossy).chars().any(|c| is_hidden(c) && c != '\n' && c != '\t'));
            prop_assert!(!plain_json(&lossy).chars().any(is_hidden));
            if let Ok(text) = std::str::from_utf8(&bytes) && !text.chars().any(is_hidden) {
                prop_assert_eq!(shown(text).to_string(), text);
            }
        }
    }
}
