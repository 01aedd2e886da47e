//! The name of a directory entry.

use crate::error::MetaError;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// 1 to 255 bytes without '/' and NUL, and neither "." nor "..". Not necessarily UTF-8.
/// A copy shares the bytes: a directory has each name twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The longest name, in bytes (NAME_MAX).
    pub const MAX: usize = 255;

    /// Parses a name.
    ///
    /// # Errors
    /// [`MetaError::NameTooLong`] above 255 bytes, [`MetaError::Invalid`] for anything else that is no name.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, MetaError> {
        let bytes = bytes.into();
        if bytes.len() > Self::MAX {
            return Err(MetaError::NameTooLong);
        }
        let special = matches!(bytes.as_slice(), b"" | b"." | b"..");
        if special || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
            return Err(MetaError::Invalid);
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Name {
    type Error = MetaError;

    fn try_from(bytes: Vec<u8>) -> Result<Self, MetaError> {
        Self::new(bytes)
    }
}

impl From<Name> for Vec<u8> {
    fn from(name: Name) -> Self {
        name.0.to_vec()
    }
}
