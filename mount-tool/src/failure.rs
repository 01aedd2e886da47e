//! How a subcommand fails: one line and an exit code of mount(8).

use std::fmt;

/// The codes of mount(8) that this program uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Wrong words, or not root.
    Usage = 1,
    /// A system call or a daemon failed.
    System = 2,
    /// The mount could not be made.
    Mount = 32,
}

/// One line that says what failed, on what, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    line: String,
}

impl Failure {
    /// The caller said something wrong, or may not do this.
    pub(crate) fn usage(line: impl Into<String>) -> Self {
        Self::new(Code::Usage, line.into())
    }

    /// The system or a daemon said no.
    pub(crate) fn system(line: impl Into<String>) -> Self {
        Self::new(Code::System, line.into())
    }

    /// The mount could not be made.
    pub(crate) fn mount(line: impl Into<String>) -> Self {
        Self::new(Code::Mount, line.into())
    }

    fn new(code: Code, line: String) -> Self {
        // A daemon's message may have been wrapped; what a user sees is one line.
        let line = line
            .lines()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        Self { code, line }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line() {
        assert_eq!(Failure::system("a\n  b\n\nc").to_string(), "a b c");
    }

    #[test]
    fn codes_are_those_of_mount_8() {
        assert_eq!(
            [Code::Usage as u8, Code::System as u8, Code::Mount as u8],
            [1, 2, 32]
        );
    }
}
