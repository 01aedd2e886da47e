//! Why the value of an option or argument is refused. The line names no option: who parses says that before it.

use crate::units::UnitError;
use thiserror::Error;

/// A value that cannot be used, with what to write.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum ValueError {
    /// No size, rate or time.
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error("'{0}' is no number: use digits only")]
    NoNumber(String),
    /// The text is what may be written.
    #[error("out of range: {0}")]
    OutOfRange(&'static str),
    /// Of another form than is understood; the text is what may be written.
    #[error("{0}")]
    Form(&'static str),
    /// The text is what to write where a build has no verbs.
    #[error("this build has no verbs: {0}")]
    NoVerbs(&'static str),
}
