//! The namespace service: one call in, one [`Output`] out.

use crate::extent::Extent;
use crate::id::{Incarnation, NodeId, SessionId, Term};
use crate::store::{Batch, Store, StoreError};
use crate::time::Now;
use crate::wire::{Answer, Call, Notice};
use std::time::Duration;

/// How a namespace behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// A session that does not renew for this long is over.
    pub lease: Duration,
    /// Owner of the root directory when it is made: uid, gid.
    pub root_owner: (u32, u32),
    /// Mode of the root directory when it is made.
    pub root_mode: u16,
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
    /// To the store. In order: batches of successive outputs must be applied in that order.
    pub batch: Batch,
    /// To the caller; `None` when the call is not answered by this output (tick, cleaned).
    pub answer: Option<Answer>,
    /// The answer waits for the store.
    pub sync: bool,
    /// Nobody can touch these any more: zero them, then call [`Namespace::cleaned`].
    pub clean: Vec<Extent>,
    /// These sessions are over: close their connections.
    pub ended: Vec<SessionId>,
}

/// All metadata of a pool, in memory.
#[derive(Debug)]
pub struct Namespace {
    _private: (),
}

#[allow(unused_variables, clippy::todo, missing_docs, reason = "skeleton")]
impl Namespace {
    /// Loads what the store holds, or makes a root directory in an empty one. The new [`Term`] and a fresh block of
    /// inode ids are committed before this returns. Blocking: call it before serving.
    ///
    /// # Errors
    /// The store's, or that what it holds is no namespace.
    pub fn load(store: &mut dyn Store, config: Config, now: Now) -> Result<Self, StoreError> {
        todo!()
    }

    /// Adds an arena, all of it zero and free. Extents of earlier lives of the node's arena are lost from then on.
    pub fn add_arena(&mut self, node: NodeId, incarnation: Incarnation, len: u64) {
        todo!()
    }

    /// This life of the service.
    pub fn term(&self) -> Term {
        todo!()
    }

    /// Serves one call. Total: hostile input gives an error answer.
    pub fn call(&mut self, call: Call, now: Now) -> Output {
        todo!()
    }

    /// The connection of a session closed and none of its work is running or will run (its fabric fenced it): reclaims
    /// what only it held open.
    pub fn fenced(&mut self, session: SessionId, now: Now) -> Output {
        todo!()
    }

    /// Ends leases that ran out (their `ended` sessions must be fenced by the node, which then calls
    /// [`Namespace::fenced`]) and goes on with long removals. Call it every second or so, and again at once while it returns `true`.
    pub fn tick(&mut self, now: Now) -> (Output, bool) {
        todo!()
    }

    /// These extents of an earlier `clean` are all zero now: they may be reused.
    pub fn cleaned(&mut self, extents: &[Extent]) {
        todo!()
    }
}
