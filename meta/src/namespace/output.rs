//! What the memory node must do after a call.

use crate::cred::Credentials;
use crate::extent::Extent;
use crate::id::{InodeId, PoolId, RequestId, SessionId};
use crate::layout::LayoutSlice;
use crate::store::Batch;
use crate::wire::{Answer, AtomicOp, Notice};
use std::time::Duration;

/// How a namespace behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// Which pool this is.
    pub pool: PoolId,
    /// A session that does not renew for this long is over.
    pub lease: Duration,
    /// Owner of the root directory when it is made: uid, gid.
    pub root_owner: (u32, u32),
    /// Mode of the root directory when it is made.
    pub root_mode: u16,
    /// Inode ids of a new namespace begin after this one, at most 2^62. Random, so that an id which a handler remembers of a pool
    /// that is no more never names a file of the pool in its place.
    pub ids_after: InodeId,
}

/// A change of what a session may touch, for fabrics whose node checks bounds (tcp).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantChange {
    /// The session may read, and write if `write`.
    Grant {
        /// Who.
        session: SessionId,
        /// What.
        extent: Extent,
        /// Also writing.
        write: bool,
    },
    /// Not any more.
    Revoke {
        /// Who.
        session: SessionId,
        /// What; may span or cut earlier grants.
        extent: Extent,
    },
}

/// Bytes to copy or zero within the arenas before their call is answered. That is too long for one step, so others are served meanwhile;
/// then [`Namespace::moved`](super::Namespace::moved) gives the answer. None of these extents is reused before the session that asked
/// has sent another message or is fenced, so it must not be served again, nor fenced, before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// What goes where. No place is in two of them, or is one that another one comes from.
    pub moves: Vec<ByteMove>,
    pub(super) session: SessionId,
    pub(super) caller: Credentials,
    pub(super) change: Change,
}

/// Bytes that go to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteMove {
    /// From here; `None`: zeros.
    pub from: Option<Extent>,
    /// To here; as long as `from`.
    pub to: Extent,
}

/// A word to change before its call is answered, in the same step: [`Namespace::word_changed`](super::Namespace::word_changed) gives the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordChange {
    /// Where it is: 8 bytes, aligned to 8, little-endian.
    pub place: Extent,
    /// What becomes of it.
    pub op: AtomicOp,
    pub(super) session: SessionId,
    pub(super) id: RequestId,
    pub(super) layout: LayoutSlice,
}

/// What is true of a file when its bytes have been changed at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) ino: InodeId,
    /// The file is at least this long, unless it has shrunk since `shrinks`.
    pub(super) size: u64,
    pub(super) shrinks: u64,
    pub(super) done: Done,
}

/// How far a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Up to this byte.
    Spaced(u64),
    /// So many bytes.
    Copied(u64),
}

/// What the memory node must do, in this order: apply `grants`, zero `zero`, send `notices`, hand `batch` to the
/// store, send `answer` (after the store has the batch, if `sync`), clean `clean` in the background.
#[derive(Debug, Default)]
pub struct Output {
    /// Bounds for fabrics that check them.
    pub grants: Vec<GrantChange>,
    /// Live bytes that must read as zero from now on (the tail of a cut granule); less than a granule each.
    pub zero: Vec<Extent>,
    /// To these sessions, before the answer.
    pub notices: Vec<(SessionId, Notice)>,
    /// To the store, in this order and after those of earlier outputs. What must happen together is one batch.
    pub batch: Vec<Batch>,
    /// To the caller; `None` when the call is not answered by this output (tick, cleaned).
    pub answer: Option<Answer>,
    /// To be done before the call is answered, in the place of `answer`.
    pub moving: Option<Moving>,
    /// To be changed in the same step, before anything else is done; it makes the answer.
    pub word: Option<WordChange>,
    /// The answer waits for the store.
    pub sync: bool,
    /// Nobody can touch these any more: zero them, then call [`Namespace::cleaned`](super::Namespace::cleaned).
    pub clean: Vec<Extent>,
    /// Close the connections of these sessions: their leases ran out, or a newer connection waits for its turn.
    pub disconnect: Vec<SessionId>,
}
