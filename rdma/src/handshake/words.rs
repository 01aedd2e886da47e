//! What the two sides say first, once they know that they hold the same key.

use crate::fabric::FabricKind;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest Hello or Answer record, in bytes of ciphertext.
pub(crate) const MAX_SETUP_RECORD: usize = 1024;
/// Longest host id that is sent, in bytes.
const MAX_HOST: usize = 255;

/// Joins data connections to their control connection; as secret as the key.
pub(crate) type Token = [u8; 32];

/// The initiator's first words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// The pool it wants.
    pub(crate) pool: String,
    /// The host it says it is.
    pub(crate) host: String,
    /// What this connection is for.
    pub(crate) role: Role,
}

/// What a connection is for.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Messages; makes a peer.
    Control {
        /// The fabric that will carry its data.
        fabric: FabricKind,
        /// How many data connections will follow, 0 to 16.
        queues: u8,
    },
    /// Data of a peer, on tcp.
    Data {
        /// From the peer's [`Welcome`].
        token: Token,
        /// Data bytes are encrypted on the wire.
        encrypted: bool,
    },
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Control { fabric, queues } => write!(f, "Control({}, {queues})", fabric.name()),
            Self::Data { encrypted, .. } => write!(f, "Data(encrypted: {encrypted})"),
        }
    }
}

/// The node's answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Come in.
    Welcome(Welcome),
    /// Go away.
    Refused(Refusal),
}

/// What an admitted initiator needs to know.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Bytes of the arena.
    pub(crate) arena: u64,
    /// For the data connections.
    pub(crate) token: Token,
}

/// Why an initiator with the right key is refused. Variants are only ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub(crate) enum Refusal {
    /// The node serves another pool.
    #[error("it serves another pool")]
    NoSuchPool,
    /// The fabric is not offered.
    #[error("it does not offer this fabric")]
    NoSuchFabric,
    /// The token belongs to no peer.
    #[error("it does not know the peer that this connection belongs to")]
    NoSuchPeer,
    /// More queues than it serves.
    #[error("it does not serve so many queues")]
    TooManyQueues,
    /// It cannot see the peer's process, so it could not tell when the process ends.
    #[error("it cannot see this process (is it in another PID namespace?)")]
    ProcessHidden,
    /// The node is closing, or failed.
    #[error("it is closing")]
    Closing,
    /// It has this many sessions, which is as many as it takes.
    #[error("it has as many sessions as it takes ({0})")]
    TooManySessions(u32),
    /// It has no descriptor, thread or place left for this connection.
    #[error("it has no descriptor or thread left for another connection")]
    NoRoom,
    /// So much of its memory is prepared, in percent: nobody is let in before all is.
    #[error("it is preparing its memory, {0} %")]
    Preparing(u8),
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Welcome")
            .field("arena", &self.arena)
            .finish_non_exhaustive()
    }
}

impl Hello {
    /// A Hello whose host id has a length that fits.
    pub(crate) fn new(pool: &str, host: &str, role: Role) -> Self {
        let end = (0..=host.len().min(MAX_HOST))
            .rev()
            .find(|end| host.is_char_boundary(*end));
        Self {
            pool: pool.to_owned(),
            host: host[..end.unwrap_or(0)].to_owned(),
            role,
        }
    }

    /// Total: any bytes give a Hello or `None`.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let hello: Self = postcard::from_bytes(bytes).ok()?;
        (hello.host.len() <= MAX_HOST).then_some(hello)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn host_ids_are_cut_at_a_character() {
        let role = Role::Control {
            fabric: FabricKind::Tcp,
            queues: 1,
        };
        let hello = Hello::new("pool", &"ä".repeat(200), role);
        assert_eq!(hello.host, "ä".repeat(127));
        let bytes = postcard::to_allocvec(&hello).unwrap();
        assert_eq!(Hello::decode(&bytes), Some(hello));
    }

    #[test]
    fn tokens_are_not_printed() {
        let role = Role::Data {
            token: [0xab; 32],
            encrypted: true,
        };
        assert_eq!(format!("{role:?}"), "Data(encrypted: true)");
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Hello::decode(&bytes);
            let _ = postcard::from_bytes::<Answer>(&bytes);
        }
    }
}
