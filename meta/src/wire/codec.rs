//! Messages to bytes and back.
//!
//! The far side may be hostile: decoding takes any bytes, allocates in proportion to them, and never panics.

use super::{Answer, Call, MAX_MESSAGE, Notice};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// What crosses the wire whole: a [`Call`], an [`Answer`] or a [`Notice`].
pub trait Message: Serialize + DeserializeOwned {}

impl Message for Call {}
impl Message for Answer {}
impl Message for Notice {}

/// Why bytes are no message, or a message has no bytes.
#[derive(Debug, Error)]
pub enum WireError {
    /// Above [`MAX_MESSAGE`].
    #[error("a message of {len} bytes is longer than {MAX_MESSAGE}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The message ends before the bytes do.
    #[error("{extra} bytes follow the message")]
    Trailing {
        /// How many.
        extra: usize,
    },
    /// The bytes mean nothing.
    #[error("the bytes are no message")]
    Malformed(#[from] postcard::Error),
}

/// Encodes a message.
///
/// # Errors
/// [`WireError::TooLong`].
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, WireError> {
    let bytes = postcard::to_allocvec(message)?;
    within_limit(&bytes)?;
    Ok(bytes)
}

/// Decodes exactly one message. Total.
///
/// # Errors
/// [`WireError`].
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, WireError> {
    within_limit(bytes)?;
    let (message, rest) = postcard::take_from_bytes(bytes)?;
    match rest.len() {
        0 => Ok(message),
        extra => Err(WireError::Trailing { extra }),
    }
}

fn within_limit(bytes: &[u8]) -> Result<(), WireError> {
    if bytes.len() > MAX_MESSAGE {
        return Err(WireError::TooLong { len: bytes.len() });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
