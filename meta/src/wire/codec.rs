//! Messages to bytes and back.
//!
//! The far side may be hostile: decoding takes any bytes, allocates in proportion to them, and never panics. Both ways a message is
//! held against what the two peers speak: one that the peer does not know is not encoded, one that it cannot have sent not decoded.

use super::acls::{take_with_acls, with_acls};
use super::{Answer, Call, MAX_MESSAGE, Notice, Request, StampedAnswer, WireVersion};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// The bits that a umask has.
const UMASK: u16 = 0o777;

/// What crosses the wire whole: a [`Call`], an [`Answer`] or a [`Notice`].
pub trait Message: Serialize + DeserializeOwned {
    /// The least that a peer must speak to understand this message.
    fn needs(&self) -> WireVersion;

    /// The bytes of the message for who speaks that.
    ///
    /// # Errors
    /// It has none.
    fn to_bytes(&self, _spoken: WireVersion) -> postcard::Result<Vec<u8>> {
        postcard::to_allocvec(self)
    }

    /// The message at the start of these bytes, as who speaks that writes it, and what follows it. Total.
    ///
    /// # Errors
    /// They mean nothing.
    fn take_from_bytes(bytes: &[u8], _spoken: WireVersion) -> postcard::Result<(Self, &[u8])> {
        postcard::take_from_bytes(bytes)
    }
}

impl Message for Call {
    fn needs(&self) -> WireVersion {
        match self.closes.is_empty() {
            true => self.request.needs(),
            false => WireVersion::FOURTH,
        }
    }

    fn to_bytes(&self, spoken: WireVersion) -> postcard::Result<Vec<u8>> {
        if spoken.covers(WireVersion::SIXTH) {
            let beside = (self.caller.umask, self.caller.groups_unseen);
            return postcard::to_allocvec(&(self, &self.closes, beside));
        }
        // A service that knows of no umask knows of no default ACL either.
        let mut masked = self.clone();
        if let Request::Make { mode, .. } = &mut masked.request {
            *mode &= !self.caller.umask;
        }
        match spoken.covers(WireVersion::FOURTH) {
            true => postcard::to_allocvec(&(&masked, &self.closes)),
            false => postcard::to_allocvec(&masked),
        }
    }

    fn take_from_bytes(bytes: &[u8], spoken: WireVersion) -> postcard::Result<(Self, &[u8])> {
        if spoken.covers(WireVersion::SIXTH) {
            let ((mut call, closes, beside), rest) =
                postcard::take_from_bytes::<(Self, _, (u16, bool))>(bytes)?;
            call.closes = closes;
            (call.caller.umask, call.caller.groups_unseen) = (beside.0 & UMASK, beside.1);
            return Ok((call, rest));
        }
        if !spoken.covers(WireVersion::FOURTH) {
            return postcard::take_from_bytes(bytes);
        }
        let ((call, closes), rest) = postcard::take_from_bytes::<(Self, _)>(bytes)?;
        Ok((Self { closes, ..call }, rest))
    }
}

impl Message for Answer {
    fn needs(&self) -> WireVersion {
        match self {
            Ok(reply) => reply.needs(),
            Err(error) => error.needs(),
        }
    }
}

impl Message for StampedAnswer {
    fn needs(&self) -> WireVersion {
        StampedAnswer::needs(self)
    }

    fn to_bytes(&self, spoken: WireVersion) -> postcard::Result<Vec<u8>> {
        match spoken.covers(WireVersion::SIXTH) {
            true => with_acls(self),
            false => postcard::to_allocvec(self.without_acls().as_ref().unwrap_or(self)),
        }
    }

    fn take_from_bytes(bytes: &[u8], spoken: WireVersion) -> postcard::Result<(Self, &[u8])> {
        match spoken.covers(WireVersion::SIXTH) {
            true => take_with_acls(bytes),
            false => postcard::take_from_bytes(bytes),
        }
    }
}

impl Message for Notice {
    fn needs(&self) -> WireVersion {
        Notice::needs(self)
    }
}

/// Why bytes are no message, or a message has no bytes.
#[derive(Debug, Error)]
pub enum WireError {
    /// The message is longer than [`MAX_MESSAGE`].
    #[error("a message of {len} bytes is longer than {MAX_MESSAGE}")]
    TooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// The message ends before the bytes do.
    #[error("{extra} bytes follow the message")]
    Trailing {
        /// How many bytes are left over.
        extra: usize,
    },
    /// The peers speak a version that does not have the message.
    #[error("the other side speaks protocol {spoken}, and this needs {needed}: upgrade rdmafs there")]
    NotSpoken {
        /// What the two speak with each other.
        spoken: WireVersion,
        /// What the message needs.
        needed: WireVersion,
    },
    /// The bytes mean nothing.
    #[error("the bytes are no message")]
    Malformed(#[from] postcard::Error),
}

/// Encodes a message for a peer with whom `spoken` was negotiated.
///
/// # Errors
/// [`WireError::TooLong`]; [`WireError::NotSpoken`]: the peer would not understand it.
pub fn encode<M: Message>(message: &M, spoken: WireVersion) -> Result<Vec<u8>, WireError> {
    is_spoken(message, spoken)?;
    let bytes = message.to_bytes(spoken)?;
    within_limit(&bytes)?;
    Ok(bytes)
}

/// Decodes exactly one message of a peer with whom `spoken` was negotiated. Total.
///
/// # Errors
/// [`WireError`].
pub fn decode<M: Message>(bytes: &[u8], spoken: WireVersion) -> Result<M, WireError> {
    within_limit(bytes)?;
    let (message, rest) = M::take_from_bytes(bytes, spoken)?;
    is_spoken(&message, spoken)?;
    match rest.len() {
        0 => Ok(message),
        extra => Err(WireError::Trailing { extra }),
    }
}

/// Decodes what a service answered a call with, in the form that the version has.
///
/// # Errors
/// [`WireError`].
pub fn decode_answer(bytes: &[u8], spoken: WireVersion) -> Result<StampedAnswer, WireError> {
    match spoken.covers(WireVersion::THIRD) {
        true => decode(bytes, spoken),
        false => decode::<Answer>(bytes, spoken).map(StampedAnswer::from),
    }
}

fn is_spoken<M: Message>(message: &M, spoken: WireVersion) -> Result<(), WireError> {
    let needed = message.needs();
    if spoken.covers(needed) {
        Ok(())
    } else {
        Err(WireError::NotSpoken { spoken, needed })
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
