//! Newtypes for every id, so that one can never be passed for another.
//!
//! Inode ids are durable and never reused: a handler may remember one across a restart of the
//! service and must then meet the same file or none. The FUSE node id is the inode id.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $int);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(/// An inode of a pool. 1 is the root; 0 is no inode.
    InodeId(u64));
id!(/// A memory node of a pool.
    NodeId(u16));
id!(/// One life of a node's arena: a restarted node has a new one, and what lay in the old one is lost.
    Incarnation(u64));
id!(/// A handler's authenticated presence at a pool. 0 before the service gave one.
    SessionId(u64));
id!(/// One life of the namespace service; rises with every start.
    Term(u64));
id!(/// Numbers the requests of one session, so that a retry is recognised.
    RequestId(u64));
id!(/// The state of an inode's bytes, size and layout: it rises when any of them changes.
    Version(u64));
id!(/// One round of recalling a layout.
    RecallId(u64));
id!(/// Rises with every step of the service, within its term: of two answers, the one with the higher stamp is newer.
    Stamp(u64));
id!(/// Whose a file lock is, within a session.
    LockOwner(u64));
id!(/// One asking for a file lock, within a session: asking again under it is the same asking.
    LockTicket(u64));

impl Stamp {
    /// Before every step.
    pub const NONE: Stamp = Stamp(0);
}

impl InodeId {
    /// The root directory of every pool (`FUSE_ROOT_ID`, include/uapi/linux/fuse.h).
    pub const ROOT: InodeId = InodeId(1);
}

impl Incarnation {
    /// Of no arena ever: bytes that lie in it are lost, whatever node comes back.
    pub const NEVER: Incarnation = Incarnation(0);
}

impl RequestId {
    /// Of a request whose answer need not be kept for a retry.
    pub const NOT_KEPT: RequestId = RequestId(0);
}

/// Which pool this is, whatever its name and address: 128 random bits, made with its namespace and kept with it. A node that keeps no
/// state makes a new pool at each start.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PoolId(pub [u8; 16]);

impl PoolId {
    /// The first 32 of its bits, which tell it apart where there is room for no more.
    #[must_use]
    pub fn first_bits(&self) -> u32 {
        let [a, b, c, d, ..] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolId({self})")
    }
}

/// Names the connections of one handler to one pool: a session goes on over the next connection of its client owner. Random, and known to
/// that handler and the service only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClientOwner(pub [u8; 16]);

impl fmt::Debug for ClientOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lineage(..)")
    }
}
