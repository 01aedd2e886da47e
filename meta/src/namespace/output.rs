//! What the memory node must do after a call.

use crate::attr::Attr;
use crate::cred::Credentials;
use crate::extent::Extent;
use crate::id::{InodeId, NodeId, PoolId, RequestId, SessionId, Stamp};
use crate::layout::LayoutSlice;
use crate::leases::DelayedId;
use crate::locks::Grants;
use crate::store::Batch;
use crate::wire::{Answer, AtomicOp, Call, Notice};
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
}

/// What the node of an arena must do with a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The session may read, and write if `write`: for fabrics whose node checks bounds (tcp).
    Grant {
        /// The session.
        session: SessionId,
        /// The bytes of the arena that the session may touch.
        extent: Extent,
        /// It may write to them, too.
        write: bool,
    },
    /// A session may touch an extent no more.
    Revoke {
        /// The session.
        session: SessionId,
        /// What; may span or cut earlier grants.
        extent: Extent,
    },
    /// Live bytes must read as zero from now on (the tail of a cut granule); less than a granule.
    Zero {
        /// The bytes of the arena.
        extent: Extent,
    },
}

/// What an answer waits for. It is an error if that fails, where nothing else is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct After {
    /// The store has the batch.
    pub store: bool,
    /// The store has the batch, or has failed: then nothing is changed any more in this life of the service.
    pub settled: bool,
    /// All orders are carried out.
    pub orders: bool,
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
    /// Where the bytes come from; `None`: they become zeros.
    pub from: Option<Extent>,
    /// To here; as long as `from`.
    pub to: Extent,
}

/// A call that waits until others have forgotten what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delayed {
    /// Names it.
    pub id: DelayedId,
    /// What is to be called again.
    pub call: Call,
}

/// A word to change before its call is answered, in the same step: [`Namespace::atomic_done`](super::Namespace::atomic_done) gives the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtomicChange {
    /// Where it is: 8 bytes, aligned to 8, little-endian.
    pub place: Extent,
    /// The change of the 8 bytes.
    pub op: AtomicOp,
    pub(super) session: SessionId,
    pub(super) id: RequestId,
    pub(super) layout: LayoutSlice,
}

/// What is true of a file when its bytes have been changed at the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) ino: InodeId,
    /// The file is at least this long, unless it has shrunk since `truncate_seq`.
    pub(super) size: u64,
    pub(super) truncate_seq: u64,
    pub(super) done: Done,
}

/// How far a call went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// Space was changed up to this byte of the file.
    Spaced(u64),
    /// So many bytes were copied.
    Copied(u64),
}

/// What the memory node must do, in this sequence: have `orders` carried out, send `notices`, hand `batch` to the
/// store, send `answer` (after what `after` names), clean `clean` in the background.
#[derive(Debug, Default)]
pub struct Output {
    /// To the nodes whose arenas they are about; to each of them in this sequence.
    pub orders: Vec<(NodeId, Order)>,
    /// To these sessions, before the answer.
    pub notices: Vec<(SessionId, Notice)>,
    /// To the store, in this order and after those of earlier outputs. What must happen together is one batch.
    pub batch: Vec<Batch>,
    /// Not done yet: others are asked to forget what they believe of it. It is to be called again, by [`Namespace::call`](super::Namespace::call), once an output has its id in
    /// `resume`, or to be given up by [`Namespace::forget_delayed`](super::Namespace::forget_delayed); there is no answer meanwhile.
    pub delayed: Option<Delayed>,
    /// Delayed calls that can go on.
    pub resume: Vec<DelayedId>,
    /// Inodes whose attributes come along with the answer although the store hears of no change.
    pub(super) along: Vec<InodeId>,
    /// Of this step: all that its answer and notices say is as it was then.
    pub stamp: Stamp,
    /// What the caller is to hear of beside the answer: attributes of what its call changed or read.
    pub changed: Vec<Attr>,
    /// To the caller; `None` when the call is not answered by this output (tick, cleaned).
    pub answer: Option<Answer>,
    /// To be done before the call is answered, in the place of `answer`.
    pub moving: Option<Moving>,
    /// To be changed in the same step, before anything else is done; it makes the answer.
    pub atomic: Option<AtomicChange>,
    /// What the answer waits for.
    pub after: After,
    /// Nobody can touch these any more: zero them, then call [`Namespace::cleaned`](super::Namespace::cleaned). What cannot be zeroed stays in
    /// quarantine.
    pub clean: Vec<Extent>,
    /// More of those who wait for locks may have them now: call [`Namespace::let_in`](super::Namespace::let_in), once others had their turn.
    pub lets_in: bool,
    /// Close the connections of these sessions: their leases ran out, or a newer connection waits for its turn.
    pub disconnect: Vec<SessionId>,
}

impl Output {
    /// A session may touch an extent before the answer, which tells of it.
    pub(super) fn grant(&mut self, session: SessionId, extent: Extent, write: bool) {
        let order = Order::Grant {
            session,
            extent,
            write,
        };
        self.orders.push((extent.node, order));
        self.after.orders = true;
    }

    /// A session may not touch an extent any more; that it gave the extent up was its own word.
    pub(super) fn revoke(&mut self, session: SessionId, extent: Extent) {
        self.orders.push((extent.node, Order::Revoke { session, extent }));
    }

    /// These bytes are zero before the answer.
    pub(super) fn zero(&mut self, extents: Vec<Extent>) {
        self.after.orders |= !extents.is_empty();
        let orders = extents
            .into_iter()
            .map(|extent| (extent.node, Order::Zero { extent }));
        self.orders.extend(orders);
    }

    /// Notices for those who waited for locks and have them now.
    pub(super) fn notify_granted(&mut self, grants: Grants) {
        let notices = grants
            .into_iter()
            .map(|(session, ticket)| (session, Notice::Granted { ticket }));
        self.notices.extend(notices);
    }
}
