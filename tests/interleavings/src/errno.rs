//! The errors that an operation is answered with by what runs it, in place of `fs::errno`.

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Error {
    /// Its caller is being killed.
    Interrupted,
    /// A bug.
    Internal(&'static str),
}
