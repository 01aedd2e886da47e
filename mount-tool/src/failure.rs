//! How a subcommand fails: one line and an exit code of mount(8), or of fsck(8) for `rdmafs fsck`.

use rdmafs_fs::shown::shown;
use std::fmt;

/// Why this program ends with another code than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// Wrong words, or not root.
    Usage,
    /// A system call or a daemon failed.
    System,
    /// The mount could not be made.
    Mount,
    /// fsck: all problems were repaired.
    FsckRepaired,
    /// fsck: problems are left.
    FsckLeft,
    /// fsck: it could not be examined.
    FsckFailed,
    /// fsck: wrong words, or not root.
    FsckUsage,
}

impl Code {
    /// The exit code.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Usage | Self::FsckRepaired => 1,
            Self::System => 2,
            Self::FsckLeft => 4,
            Self::FsckFailed => 8,
            Self::FsckUsage => 16,
            Self::Mount => 32,
        }
    }
}

/// The end of a subcommand: one line that says what failed, on what, and what to do. Whatever error led to it was told apart before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    line: String,
}

impl Failure {
    /// The caller said something wrong, or may not do this.
    pub(crate) fn usage(line: impl fmt::Display) -> Self {
        Self::new(Code::Usage, &line)
    }

    /// The system or a daemon said no.
    pub(crate) fn system(line: impl fmt::Display) -> Self {
        Self::new(Code::System, &line)
    }

    /// The mount could not be made.
    pub(crate) fn mount(line: impl fmt::Display) -> Self {
        Self::new(Code::Mount, &line)
    }

    /// `rdmafs fsck` has something to say, or failed.
    pub(crate) fn fsck(code: Code, line: impl fmt::Display) -> Self {
        Self::new(code, &line)
    }

    fn new(code: Code, line: &dyn fmt::Display) -> Self {
        // A daemon's message may have been wrapped; what a user sees is one line.
        let line = line
            .to_string()
            .lines()
            .map(str::trim)
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" ");
        let line = shown(&line).to_string();
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
        assert_eq!(Failure::system("a\x1b[2J\rb").to_string(), "a\\u{1b}[2J\\rb");
    }

    #[test]
    fn codes_are_those_of_mount_8() {
        assert_eq!(
            [Code::Usage, Code::System, Code::Mount].map(Code::number),
            [1, 2, 32]
        );
    }

    #[test]
    fn codes_of_fsck_are_those_of_fsck_8() {
        let codes = [
            Code::FsckRepaired,
            Code::FsckLeft,
            Code::FsckFailed,
            Code::FsckUsage,
        ];
        assert_eq!(codes.map(Code::number), [1, 4, 8, 16]);
    }
}
