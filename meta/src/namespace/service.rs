//! The state of the service, and its life apart from calls.

use super::fsck::lost_bytes;
use super::name_log::NameLog;
use super::output::{Config, Output};
use crate::alloc::Allocator;
use crate::attr::Attr;
use crate::error::MetaError;
use crate::extent::Extent;
use crate::holders::Holders;
use crate::id::{Incarnation, InodeId, NodeId, RequestId, SessionId, Stamp, Term};
use crate::layout::{Replica, Run};
use crate::leases::Leases;
use crate::locks::{Grants, Locks};
use crate::session::Sessions;
use crate::time::Now;
use crate::tree::{Body, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All metadata of a pool, in memory. One owner calls it, a call at a time; it never waits.
#[derive(Debug)]
pub struct Namespace {
    pub(super) config: Config,
    pub(super) term: Term,
    pub(super) tree: Tree,
    pub(super) alloc: Allocator,
    pub(super) sessions: Sessions,
    pub(super) locks: Locks,
    pub(super) leases: Leases,
    pub(super) holders: Holders,
    /// Of directories that sessions may have known before.
    pub(super) name_log: NameLog,
    /// Of the last step.
    pub(super) stamp: Stamp,
    /// Files whose first bytes have space that only the session that made them can have written to.
    pub(super) rooms: BTreeMap<InodeId, SessionId>,
    /// Inodes without names and opens whose extents are still to be freed.
    pub(super) orphans: BTreeSet<InodeId>,
    /// Files that have lost bytes, and how many.
    pub(super) lost: BTreeMap<InodeId, u64>,
    /// Ids below this are known to the store as used.
    pub(super) ceiling: InodeId,
    /// The node in which this service runs.
    pub(super) home: Option<NodeId>,
}

impl Namespace {
    /// Adds an arena, all of it zero and free: first that of the node in which this service runs. Extents of earlier incarnations of
    /// the node's arena are lost from then on.
    pub fn add_arena(&mut self, node: NodeId, incarnation: Incarnation, len: u64) {
        self.home.get_or_insert(node);
        self.alloc.add_arena(node, incarnation, len);
        for layout in self.tree.layouts_mut() {
            layout.settle(node, incarnation);
            let replicas = layout.runs().flat_map(|run| &run.replicas);
            for copy in replicas.filter(|copy| copy.extent.node == node) {
                self.alloc.claim(copy.extent);
            }
        }
        let files = self.tree.iter().filter_map(|inode| match &inode.body {
            Body::File { layout, .. } => Some((inode.attr.ino, lost_bytes(layout))),
            _ => None,
        });
        self.lost = files.filter(|(_, bytes)| *bytes > 0).collect();
    }

    /// Where every file's bytes are: the inode, the first byte, and a copy. For those who check from outside; it takes time in proportion
    /// to the pool.
    pub fn places(&self) -> impl Iterator<Item = (InodeId, u64, Replica)> {
        let files = self.tree.iter().filter_map(|inode| match &inode.body {
            Body::File { layout, .. } => Some((inode.attr.ino, layout)),
            _ => None,
        });
        files.flat_map(|(ino, layout)| {
            let of_run = move |run: &Run| {
                run.replicas
                    .iter()
                    .map(|copy| (run.start, *copy))
                    .collect::<Vec<_>>()
            };
            let replicas = layout.runs().flat_map(of_run);
            replicas.map(move |(start, copy)| (ino, start, copy))
        })
    }

    /// Attributes of every inode, likewise.
    pub fn inodes(&self) -> impl Iterator<Item = &Attr> {
        self.tree.iter().map(|inode| &inode.attr)
    }

    /// Bytes that are free, and bytes that will be.
    #[must_use]
    pub fn room(&self) -> (u64, u64) {
        (self.alloc.free_bytes(), self.alloc.quarantined_bytes())
    }

    /// The store has no room: from now on what would add to it is refused with [`MetaError::NoSpace`]; or it has some again.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.tree.accounts.frozen = frozen;
    }

    /// This life of the service.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// The connection of a session closed and none of its work is running or will run (its fabric fenced it). The session goes on
    /// for what is left of its lease, in which its handler may come back; then, or at once when its lease had run out, what only it held
    /// open is reclaimed. Its grants are void with the connection; they are not revoked one by one.
    pub fn fenced(&mut self, session: SessionId) -> Output {
        let mut out = self.begin_step();
        let (opens, given_up) = self.sessions.fenced(session);
        self.give_up(session, given_up, &mut out);
        if !self.sessions.exists(session) {
            self.end_locks(session, &mut out);
            self.end_leases(session, &mut out);
        }
        for ino in opens {
            self.closed(ino, &mut out);
        }
        self.lease(None, Duration::ZERO, &mut out);
        self.finish(&mut out);
        out
    }

    /// The time between two ticks: a fortieth of a lease.
    #[must_use]
    pub fn tick_time(&self) -> Duration {
        self.sessions.tick()
    }

    /// Ends leases that ran out, or do within two ticks (the sessions in `disconnect` must be fenced by the node, which then calls
    /// [`Namespace::fenced`]), and goes on with long removals and with who waits for locks. Call it once every [`Namespace::tick_time`], and again at once while it
    /// returns `true`.
    pub fn tick(&mut self, now: Now) -> (Output, bool) {
        let expired = self.sessions.expire(now.monotonic);
        let mut out = self.begin_step();
        self.leases.ticks(now.monotonic);
        // Who was not heard of for a lease believes nothing any more, fenced or not: its own clock told it so before.
        for session in &expired.disconnect {
            self.end_leases(*session, &mut out);
        }
        out.disconnect = expired.disconnect;
        for session in expired.ended {
            self.end_locks(session, &mut out);
            self.end_leases(session, &mut out);
        }
        self.end_grace_period(now.monotonic, &mut out);
        let late = self.leases.late(now.monotonic.saturating_sub(self.config.lease));
        out.disconnect.extend(late);
        let mut grants = Grants::new();
        let locks_are_due = self.locks.tick(now.monotonic, &mut grants);
        out.notify_granted(grants);
        for ino in expired.let_go {
            self.closed(ino, &mut out);
        }
        self.lease(None, now.monotonic, &mut out);
        self.finish(&mut out);
        (out, locks_are_due || !self.orphans.is_empty())
    }

    /// These extents of an earlier `clean` are all zero now: they may be reused.
    pub fn cleaned(&mut self, extents: &[Extent]) {
        for extent in extents {
            let of_the_past = self.alloc.present(extent.node) != Some(extent.incarnation);
            let known = self.alloc.cleaned(*extent);
            debug_assert!(known || of_the_past, "{extent:?} was not in quarantine");
        }
    }

    /// An order on which the answer to this call depended was not carried out, so `why` was answered: a retry hears it, too.
    pub fn not_carried_out(&mut self, session: SessionId, id: RequestId, why: MetaError) {
        self.sessions.correct(session, id, Err(why));
    }

    /// The beginning of every step.
    pub(super) fn begin_step(&mut self) -> Output {
        self.stamp.0 += 1;
        let stamp = self.stamp;
        Output {
            stamp,
            ..Output::default()
        }
    }

    /// The end of every step: a part of what is to be removed goes, and the store is told of all changes.
    pub(super) fn finish(&mut self, out: &mut Output) {
        self.remove_orphans(out);
        self.log_names();
        self.tree.settle_accounts();
        self.persist(out);
    }
}
