//! Why mount options are refused, each with the remedy. Whoever mounts reads the line.

use super::foreign::NotHere;
use crate::value_error::ValueError;
use rdmafs_fs::options::FabricKind;
use thiserror::Error;

/// A list of mount options that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OptionError {
    #[error("unknown mount option '{0}': see 'rdmafs mount --help' for those there are")]
    Unknown(String),
    #[error("unknown mount option '{name}': did you mean '{nearest}'?")]
    Misspelt { name: String, nearest: &'static str },
    #[error("mount option '{name}' needs a value: {usage}")]
    NeedsValue { name: String, usage: String },
    #[error("mount option '{name}' takes no value: write {name}, not {name}={value}")]
    TakesNoValue { name: String, value: String },
    #[error("mount option {name}={value}: {source}")]
    Value {
        name: String,
        value: String,
        source: ValueError,
    },
    /// One of this file system's own that cannot be had; `why` has the remedy.
    #[error("mount option '{name}': {why}")]
    Refused { name: String, why: &'static str },
    #[error(transparent)]
    Foreign(#[from] NotHere),
    #[error("burst= needs bw=: give both or none")]
    BurstWithoutRate,
    #[error(
        "device=, port=, gid_index= and tclass= are for verbs, and fabric={} was asked for: leave one out",
        .0.name()
    )]
    ForVerbsOnly(FabricKind),
}

#[cfg(test)]
mod tests {
    use super::super::parse::read;
    use crate::units::UnitError;
    use crate::value_error::ValueError;
    use std::error::Error;

    #[test]
    fn the_cause_is_kept_below_the_line() {
        let error = read(&["bw=fast"], false).unwrap_err();
        let cause = error.source().and_then(|cause| cause.downcast_ref());
        let expected = ValueError::Unit(UnitError::NoRate("fast".to_owned()));
        assert_eq!(cause, Some(&expected));
        assert_eq!(error.to_string(), format!("mount option bw=fast: {expected}"));
    }
}
