//! What the two sides say first, once they know that they hold the same key.
//!
//! Builds of before the negotiation of versions know Hello and Welcome without their last fields, and pass over what follows the fields
//! that they know. So a Hello ends with what its sender speaks, and only a Hello that does is answered with a Welcome that ends with what
//! was chosen. What follows the fields known here is passed over too: it is a later version's.

use super::ends::Ends;
use crate::fabric::{FabricKind, Target};
use crate::protocol::{Negotiated, Protocol, Versions};
use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

/// Longest Hello or Answer record, in bytes of ciphertext.
pub(crate) const MAX_SETUP_RECORD: usize = 1024;
/// Longest host id that is sent, in bytes.
const MAX_HOST: usize = 255;

/// The version of the protocol since which data connections say what protects them.
pub(crate) const PROTECTED_DATA: u16 = 6;

/// Joins data connections to their control connection; as secret as the key.
pub(crate) type Token = [u8; 32];

/// The initiator's first words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The pool it wants.
    pub(crate) pool: String,
    /// The host it says it is.
    pub(crate) host: String,
    /// What this connection is for.
    pub(crate) role: Role,
    /// What it speaks; `None` from a build that says nothing of versions.
    pub(crate) protocol: Option<Protocol>,
}

/// What every build says and hears of a [`Hello`].
#[derive(Deserialize)]
struct HelloHead {
    pool: String,
    host: String,
    role: Role,
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
    /// Data of a peer, on tcp, by who says what protects them (version 6).
    ProtectedData {
        /// From the peer's [`Welcome`].
        token: Token,
        /// What protects requests and data on the wire.
        protection: Protection,
        /// What this side sees of the connection, where it can see it.
        ends: Option<Ends>,
    },
}

/// What protects requests and data on a data connection.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Protection {
    /// The kernel of the one host that both ends are on: what both say of the connection matches.
    Kernel,
    /// Each record is authenticated, with this key, and can be read on the way.
    Authenticated([u8; 32]),
    /// Each record is encrypted and authenticated.
    Encrypted,
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Control { fabric, queues } => write!(f, "Control({}, {queues})", fabric.name()),
            Self::Data { encrypted, .. } => write!(f, "Data(encrypted: {encrypted})"),
            Self::ProtectedData { protection, .. } => {
                let word = match protection {
                    Protection::Kernel => "the kernel",
                    Protection::Authenticated(_) => "authentication",
                    Protection::Encrypted => "encryption",
                };
                write!(f, "Data(protected by {word})")
            }
        }
    }
}

/// The node's answer.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub(crate) enum Answer {
    /// Come in.
    Welcome(Welcome),
    /// Go away.
    Refused(Refusal),
}

/// What an admitted initiator needs to know.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Bytes of the arena.
    pub(crate) arena: u64,
    /// For the data connections.
    pub(crate) token: Token,
    /// What is spoken from now on; `None` where one of the two says nothing of versions.
    pub(crate) chosen: Option<Negotiated>,
}

/// What every build says and hears of an [`Answer`].
#[derive(Deserialize)]
enum AnswerHead {
    Welcome { arena: u64, token: Token },
    Refused(Refusal),
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
    /// It speaks these versions of the protocol, from the first to the second, and none of the initiator's.
    #[error("it speaks other versions of the protocol ({0} to {1})")]
    NoCommonVersion(u16, u16),
    /// It does not see the connection as the initiator does, so somebody may be in between: data must be protected.
    #[error("it does not see this connection as this side does")]
    NotProven,
    /// It serves encrypted data only.
    #[error("it demands encryption")]
    EncryptionDemanded,
}

impl std::fmt::Debug for Welcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Welcome")
            .field("arena", &self.arena)
            .field("chosen", &self.chosen)
            .finish_non_exhaustive()
    }
}

impl Serialize for Hello {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = (&self.pool, &self.host, &self.role);
        match &self.protocol {
            Some(protocol) => (head, protocol).serialize(serializer),
            None => head.serialize(serializer),
        }
    }
}

impl Serialize for Welcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let head = (self.arena, &self.token);
        match &self.chosen {
            Some(chosen) => (head, chosen).serialize(serializer),
            None => head.serialize(serializer),
        }
    }
}

impl Hello {
    /// A Hello whose host id has a length that fits.
    pub(crate) fn new((pool, host): (&str, &str), role: Role, protocol: Option<Protocol>) -> Self {
        let end = (0..=host.len().min(MAX_HOST))
            .rev()
            .find(|end| host.is_char_boundary(*end));
        Self {
            pool: pool.to_owned(),
            host: host[..end.unwrap_or(0)].to_owned(),
            role,
            protocol,
        }
    }

    /// The Hello of a handler or tool that wants what `target` names.
    pub(crate) fn to(target: &Target, role: Role) -> Self {
        Self::new((&target.pool, &target.host_id), role, Some(target.protocol))
    }

    /// What its sender speaks.
    pub(crate) fn speaks(&self) -> Protocol {
        self.protocol.unwrap_or(Protocol::FIRST)
    }

    /// Total: any bytes give a Hello or `None`.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest): (HelloHead, _) = postcard::take_from_bytes(bytes).ok()?;
        let protocol = what_follows(rest)?;
        let HelloHead { pool, host, role } = head;
        (host.len() <= MAX_HOST).then_some(Self {
            pool,
            host,
            role,
            protocol,
        })
    }
}

impl Welcome {
    /// What is spoken from now on.
    pub(crate) fn negotiated(&self) -> Negotiated {
        self.chosen.unwrap_or(Negotiated::FIRST)
    }
}

impl Answer {
    /// Total: any bytes give an answer or `None`.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest): (AnswerHead, _) = postcard::take_from_bytes(bytes).ok()?;
        match head {
            AnswerHead::Refused(refusal) => Some(Self::Refused(refusal)),
            AnswerHead::Welcome { arena, token } => Some(Self::Welcome(Welcome {
                arena,
                token,
                chosen: what_follows(rest)?,
            })),
        }
    }
}

impl Refusal {
    /// A peer's versions, where it refused for them; `None` for another refusal, and for what is no range.
    pub(crate) fn versions(self) -> Option<Versions> {
        match self {
            Self::NoCommonVersion(oldest, newest) => Versions::new(oldest, newest),
            _ => None,
        }
    }
}

/// The field after those that every build knows: `Some(None)` from a build that has no such field, `None` when it makes no sense.
fn what_follows<'a, T: Deserialize<'a>>(rest: &'a [u8]) -> Option<Option<T>> {
    if rest.is_empty() {
        return Some(None);
    }
    let (field, _later) = postcard::take_from_bytes(rest).ok()?;
    Some(Some(field))
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
        let hello = Hello::new(("pool", &"ä".repeat(200)), role, Some(Protocol::FIRST));
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
        let protected = |protection| Role::ProtectedData {
            token: [0xab; 32],
            protection,
            ends: None,
        };
        let shown = format!("{:?}", protected(Protection::Authenticated([0xcd; 32])));
        assert_eq!(shown, "Data(protected by authentication)");
        assert_eq!(
            format!("{:?}", protected(Protection::Kernel)),
            "Data(protected by the kernel)"
        );
    }

    /// A Hello as builds of before the negotiation say it: pool, host, Control over tcp with 2 queues.
    const FIRST_HELLO: &[u8] = b"\x04pool\x04host\x00\x02\x02";

    fn hello(protocol: Option<Protocol>) -> Hello {
        let fabric = FabricKind::Tcp;
        Hello::new(("pool", "host"), Role::Control { fabric, queues: 2 }, protocol)
    }

    fn later() -> Protocol {
        let versions = Versions::new(2, 300).unwrap();
        Protocol {
            versions,
            features: 5,
        }
    }

    #[test]
    fn a_hello_is_pinned_to_its_bytes() {
        assert_eq!(postcard::to_allocvec(&hello(None)).unwrap(), FIRST_HELLO);
        let bytes = postcard::to_allocvec(&hello(Some(later()))).unwrap();
        assert_eq!(bytes, [FIRST_HELLO, b"\x02\xac\x02\x05"].concat());
        assert_eq!(Hello::decode(&bytes), Some(hello(Some(later()))));
    }

    #[test]
    fn data_connections_are_pinned_to_their_bytes() {
        let said = |role| postcard::to_allocvec(&Hello::new(("p", "h"), role, Some(later()))).unwrap();
        let token = [7; 32];
        let data = said(Role::Data {
            token,
            encrypted: true,
        });
        assert_eq!(
            data,
            [&b"\x01p\x01h\x01"[..], &token, b"\x01\x02\xac\x02\x05"].concat()
        );
        let ends = Ends {
            boot: 300,
            namespace: 301,
            own: "127.0.0.1:302".parse().unwrap(),
            other: "[::1]:303".parse().unwrap(),
        };
        let protected = |protection, ends| {
            said(Role::ProtectedData {
                token,
                protection,
                ends,
            })
        };
        let kernel = protected(Protection::Kernel, Some(ends));
        let own =
            b"\xac\x02\xad\x02\x00\x7f\x00\x00\x01\xae\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\xaf\x02";
        let head = [&b"\x01p\x01h\x02"[..], &token].concat();
        let tail = b"\x02\xac\x02\x05";
        assert_eq!(kernel, [&head[..], b"\x00\x01", own, tail].concat());
        let authenticated = protected(Protection::Authenticated([9; 32]), None);
        assert_eq!(
            authenticated,
            [&head[..], b"\x01", &[9; 32], b"\x00", tail].concat()
        );
        let encrypted = protected(Protection::Encrypted, None);
        assert_eq!(encrypted, [&head[..], b"\x02\x00", tail].concat());
        assert!(Hello::decode(&kernel).is_some_and(|hello| format!("{:?}", hello.role).contains("kernel")));
    }

    #[test]
    fn a_hello_without_versions_is_of_the_first_one_and_later_fields_are_passed_over() {
        let first = Hello::decode(FIRST_HELLO).unwrap();
        assert_eq!((first.protocol, first.speaks()), (None, Protocol::FIRST));
        let bytes = [FIRST_HELLO, b"\x02\xac\x02\x05 and what version 300 adds"].concat();
        assert_eq!(Hello::decode(&bytes).unwrap().speaks(), later());
    }

    #[test]
    fn a_hello_with_hostile_versions_is_none() {
        // Half a range, version 0, an empty range, numbers beyond all versions and beyond 16 bits, no end of a number.
        for tail in [
            &b"\x01"[..],
            b"\x00\x01\x00",
            b"\x02\x01\x00",
            b"\x01\xff\xff\x03\x00",
            b"\x01\xff\xff\x7f\x00",
            b"\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(Hello::decode(&[FIRST_HELLO, tail].concat()), None, "{tail:?}");
        }
    }

    #[test]
    fn a_welcome_is_pinned_to_its_bytes_with_and_without_a_choice() {
        let welcome = |chosen| Welcome {
            arena: 300,
            token: [7; 32],
            chosen,
        };
        let first = [&b"\x00\xac\x02"[..], &[7; 32]].concat();
        let none = Answer::Welcome(welcome(None));
        assert_eq!(postcard::to_allocvec(&none).unwrap(), first);
        assert!(Answer::decode(&first) == Some(none));
        let (version, features) = (2, 1);
        let chosen = Answer::Welcome(welcome(Some(Negotiated { version, features })));
        let bytes = postcard::to_allocvec(&chosen).unwrap();
        assert_eq!(bytes, [&first[..], b"\x02\x01"].concat());
        assert!(Answer::decode(&bytes) == Some(chosen.clone()));
        assert!(Answer::decode(&[&bytes[..], b"more"].concat()) == Some(chosen));
        assert!(Answer::decode(&bytes[..bytes.len() - 1]).is_none());
    }

    #[test]
    fn a_refusal_keeps_its_bytes() {
        let rejections = [
            (Refusal::NoSuchPool, &b"\x01\x00"[..]),
            (Refusal::NoSuchFabric, b"\x01\x01"),
            (Refusal::NoSuchPeer, b"\x01\x02"),
            (Refusal::TooManyQueues, b"\x01\x03"),
            (Refusal::ProcessHidden, b"\x01\x04"),
            (Refusal::Closing, b"\x01\x05"),
            (Refusal::TooManySessions(300), b"\x01\x06\xac\x02"),
            (Refusal::NoRoom, b"\x01\x07"),
            (Refusal::Preparing(9), b"\x01\x08\x09"),
            (Refusal::NoCommonVersion(2, 3), b"\x01\x09\x02\x03"),
            (Refusal::NotProven, b"\x01\x0a"),
            (Refusal::EncryptionDemanded, b"\x01\x0b"),
        ];
        for (refusal, bytes) in rejections {
            assert_eq!(postcard::to_allocvec(&Answer::Refused(refusal)).unwrap(), bytes);
            assert!(Answer::decode(bytes) == Some(Answer::Refused(refusal)));
        }
        assert_eq!(Refusal::NoCommonVersion(2, 3).versions(), Versions::new(2, 3));
        assert_eq!(Refusal::NoCommonVersion(3, 2).versions(), None, "a hostile range");
    }

    proptest! {
        #[test]
        fn decoding_is_total(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Hello::decode(&bytes);
            let _ = Answer::decode(&bytes);
        }
    }
}
