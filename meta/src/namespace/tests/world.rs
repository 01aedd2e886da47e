//! A namespace with its node played by the test: a store, the grants of every session, and the cleaning.
//!
//! After each step the world checks what the node relies on: all invariants hold, batches keep their limits, and
//! nothing is handed over for cleaning that a session may still touch.

pub(super) use super::values::{at, client_owner, config, name, user};
use crate::attr::{Attr, SetAttr};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::extent::{Extent, GRANULE};
use crate::id::{ClientOwner, Incarnation, InodeId, NodeId, RecallId, RequestId, SessionId};
use crate::layout::{LayoutSlice, Replica};
use crate::namespace::{AtomicChange, ByteMove, Moving, Namespace, Order, Output};
use crate::store::{MAX_BATCH_BYTES, MAX_BATCH_KEYS, MemoryStore, Store};
use crate::time::{AccessTime, Now};
use crate::wire::{
    Answer, AtomicOp, Call, MAX_XATTR_PART, NewInode, Notice, OpenAccess, Reply, Request, XattrMode,
};
use crate::xattr::XattrName;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) const LEASE: Duration = Duration::from_secs(10);
pub(super) const ROOT: InodeId = InodeId::ROOT;
pub(super) const READ: OpenAccess = OpenAccess {
    read: true,
    write: false,
    execute: false,
    truncate: false,
    append: false,
};
pub(super) const WRITE: OpenAccess = OpenAccess { write: true, ..READ };

pub(super) struct World {
    pub(super) space: Namespace,
    pub(super) store: MemoryStore,
    pub(super) now: Now,
    pub(super) who: Credentials,
    pub(super) recalls: Vec<(SessionId, RecallId)>,
    pub(super) cleaning: Vec<Extent>,
    pub(super) disconnect: Vec<SessionId>,
    /// The arena.
    pub(super) bytes: Vec<u8>,
    pub(super) granted: BTreeMap<SessionId, BTreeSet<(NodeId, u64)>>,
    pub(super) request: u64,
    client_owners: u8,
    runs: u64,
    granules: u64,
}

impl World {
    /// A pool with one arena of so many granules.
    pub(super) fn new(granules: u64) -> Self {
        let mut store = MemoryStore::default();
        let now = Now::default();
        let space = Namespace::load(&mut store, config(), now).unwrap();
        let mut world = World {
            space,
            store,
            now,
            who: Credentials::root(),
            recalls: vec![],
            cleaning: vec![],
            disconnect: vec![],
            bytes: vec![],
            granted: BTreeMap::new(),
            request: 0,
            client_owners: 0,
            runs: 0,
            granules,
        };
        world.add_arena();
        world
    }

    /// The service and its arena die and come back.
    pub(super) fn restart(&mut self) {
        self.space = Namespace::load(&mut self.store, config(), self.now).unwrap();
        self.recalls.clear();
        self.cleaning.clear();
        self.granted.clear();
        self.add_arena();
        while self.tick() {}
    }

    pub(super) fn session(&mut self) -> SessionId {
        self.client_owners += 1;
        self.begin(client_owner(self.client_owners)).unwrap()
    }

    /// A connection of this client owner begins its session, or goes on with it.
    pub(super) fn begin(&mut self, client_owner: ClientOwner) -> Result<SessionId, MetaError> {
        let (host, pool) = ("host".into(), None);
        match self.ask(
            SessionId(0),
            Request::Begin {
                host,
                client_owner,
                pool,
            },
        )? {
            Reply::Begun(begun) => Ok(begun.session),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn ask(&mut self, session: SessionId, request: Request) -> Answer {
        self.request += 1;
        let call = self.next_call(session, request);
        self.serve(call).answer.unwrap()
    }

    pub(super) fn next_call(&self, session: SessionId, request: Request) -> Call {
        Call {
            session,
            term: self.space.term(),
            id: RequestId(self.request),
            caller: self.who.clone(),
            access_time: AccessTime::default(),
            request,
            closes: Vec::new(),
        }
    }

    pub(super) fn serve(&mut self, call: Call) -> Output {
        self.now.wall.seconds += 1;
        let mut out = self.space.call(call, self.now);
        if let Some(atomic) = out.atomic.take() {
            let before = self.change_atomically(&atomic);
            out.answer = Some(self.space.atomic_done(atomic, before));
        }
        self.apply(&out);
        if let Some(moving) = out.moving.take() {
            self.moves(&moving);
            let before = std::mem::take(&mut out.notices);
            out = self.space.moved(&moving, self.now);
            self.apply(&out);
            out.notices.splice(0..0, before);
        }
        out
    }

    fn change_atomically(&mut self, change: &AtomicChange) -> u64 {
        assert_eq!((change.place.len, change.place.offset % 8), (8, 0));
        let at = usize::try_from(change.place.offset).unwrap();
        let atomic: &mut [u8; 8] = (&mut self.bytes[at..at + 8]).try_into().unwrap();
        let before = u64::from_le_bytes(*atomic);
        let after = match change.op {
            AtomicOp::FetchAdd(add) => before.wrapping_add(add),
            AtomicOp::CompareSwap { expected, new } if expected == before => new,
            AtomicOp::CompareSwap { .. } => before,
        };
        *atomic = after.to_le_bytes();
        before
    }

    /// Moves bytes as the node does: only within extents that are a file's.
    fn moves(&mut self, moving: &Moving) {
        for ByteMove { from, to } in &moving.moves {
            for extent in from.iter().chain([to]) {
                let holds =
                    |copy: &Replica| copy.extent.offset <= extent.offset && extent.end() <= copy.extent.end();
                assert!(self.space.places().any(|(_, _, copy)| holds(&copy)), "{extent:?}");
            }
            let at = |extent: &Extent| usize::try_from(extent.offset).unwrap();
            let len = usize::try_from(to.len).unwrap();
            match from {
                Some(from) => {
                    assert_eq!(from.len, to.len);
                    self.bytes.copy_within(at(from)..at(from) + len, at(to));
                }
                None => self.bytes[at(to)..at(to) + len].fill(0),
            }
        }
    }

    pub(super) fn fence(&mut self, session: SessionId) {
        self.granted.remove(&session);
        self.recalls.retain(|(owing, _)| *owing != session);
        let out = self.space.fenced(session);
        self.apply(&out);
    }

    pub(super) fn tick(&mut self) -> bool {
        let (out, more) = self.space.tick(self.now);
        self.apply(&out);
        more
    }

    pub(super) fn clean(&mut self) {
        let extents = std::mem::take(&mut self.cleaning);
        extents.iter().for_each(|extent| self.zero(extent));
        self.space.cleaned(&extents);
        self.space.check().unwrap();
    }

    /// Acknowledges the oldest recall that is not.
    pub(super) fn acknowledge(&mut self) {
        if !self.recalls.is_empty() {
            let (session, recall) = self.recalls.remove(0);
            assert_eq!(self.ask(session, Request::Recalled { recall }), Ok(Reply::Done));
        }
    }

    pub(super) fn acknowledge_all(&mut self) {
        while !self.recalls.is_empty() {
            self.acknowledge();
        }
    }

    pub(super) fn free(&mut self, session: SessionId) -> u64 {
        match self.ask(session, Request::StatFs) {
            Ok(Reply::Space(space)) => space.free,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn make(&mut self, session: SessionId, parent: InodeId, text: &str, what: NewInode) -> Attr {
        let name = name(text);
        let mode = 0o755;
        let answer = self.ask(
            session,
            Request::Make {
                parent,
                name,
                what,
                mode,
            },
        );
        attr_of(answer).unwrap()
    }

    pub(super) fn file(&mut self, session: SessionId, text: &str) -> InodeId {
        self.make(session, ROOT, text, NewInode::File { open: true }).ino
    }

    pub(super) fn dir(&mut self, session: SessionId, parent: InodeId, text: &str) -> InodeId {
        self.make(session, parent, text, NewInode::Directory).ino
    }

    pub(super) fn open(
        &mut self,
        session: SessionId,
        ino: InodeId,
        access: OpenAccess,
    ) -> Result<Attr, MetaError> {
        attr_of(self.ask(session, Request::Open { ino, access }))
    }

    pub(super) fn release(&mut self, session: SessionId, ino: InodeId) {
        assert_eq!(
            self.ask(session, Request::Release { ino, opens: 1 }),
            Ok(Reply::Done)
        );
    }

    pub(super) fn allocate(
        &mut self,
        session: SessionId,
        ino: InodeId,
        range: std::ops::Range<u64>,
    ) -> Result<LayoutSlice, MetaError> {
        let (start, end, allocate) = (range.start, range.end, true);
        match self.ask(
            session,
            Request::Layout {
                ino,
                start,
                end,
                allocate,
            },
        )? {
            Reply::Layout(slice) => Ok(slice),
            other => panic!("{other:?}"),
        }
    }

    /// Writes so many bytes from the start and commits.
    pub(super) fn write(&mut self, session: SessionId, ino: InodeId, size: u64) -> Attr {
        let mut done = 0;
        while done < size {
            done = self.allocate(session, ino, done..size).unwrap().end;
        }
        self.commit(session, ino, size).unwrap()
    }

    pub(super) fn commit(&mut self, session: SessionId, ino: InodeId, size: u64) -> Result<Attr, MetaError> {
        let truncate_seq = self.stat(session, ino)?.truncate_seq;
        let mtime = self.now.wall;
        attr_of(self.ask(
            session,
            Request::Commit {
                ino,
                size,
                truncate_seq,
                mtime,
                clear_set_id: false,
                sync: false,
            },
        ))
    }

    pub(super) fn truncate(
        &mut self,
        session: SessionId,
        ino: InodeId,
        size: u64,
    ) -> Result<Attr, MetaError> {
        let size = Some(size);
        let change = SetAttr {
            size,
            ..SetAttr::default()
        };
        attr_of(self.ask(
            session,
            Request::SetAttr {
                ino,
                change,
                by_handle: false,
            },
        ))
    }

    pub(super) fn unlink(&mut self, session: SessionId, text: &str) {
        assert_eq!(self.unlink_in(session, ROOT, text), Ok(Reply::Done));
    }

    pub(super) fn unlink_in(&mut self, session: SessionId, parent: InodeId, text: &str) -> Answer {
        let name = name(text);
        self.ask(session, Request::Unlink { parent, name })
    }

    pub(super) fn remove_dir(&mut self, session: SessionId, parent: InodeId, text: &str) -> Answer {
        let name = name(text);
        self.ask(session, Request::RemoveDir { parent, name })
    }

    pub(super) fn link(&mut self, session: SessionId, ino: InodeId, text: &str) -> Answer {
        let (parent, name) = (ROOT, name(text));
        self.ask(session, Request::Link { ino, parent, name })
    }

    pub(super) fn stat(&mut self, session: SessionId, ino: InodeId) -> Result<Attr, MetaError> {
        attr_of(self.ask(session, Request::GetAttr { ino }))
    }

    pub(super) fn lookup(
        &mut self,
        session: SessionId,
        parent: InodeId,
        text: &str,
    ) -> Result<Attr, MetaError> {
        let name = name(text);
        attr_of(self.ask(session, Request::Lookup { parent, name }))
    }

    pub(super) fn zero(&mut self, extent: &Extent) {
        let range = extent.offset..extent.end();
        self.bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].fill(0);
    }

    /// Whether the store has any key that begins so.
    pub(super) fn store_has(&self, prefix: &[u8]) -> bool {
        let mut any = false;
        let mut each = |_: &[u8], _: &[u8]| {
            any = true;
            Ok(())
        };
        self.store.scan(prefix, &mut each).unwrap();
        any
    }

    /// Sets an extended attribute, in two parts if need be.
    pub(super) fn set_xattr(
        &mut self,
        session: SessionId,
        ino: InodeId,
        name: &str,
        value: &[u8],
    ) -> Result<Attr, MetaError> {
        self.set_xattr_if(session, ino, name, value, XattrMode::default())
    }

    pub(super) fn set_xattr_if(
        &mut self,
        session: SessionId,
        ino: InodeId,
        name: &str,
        value: &[u8],
        mode: XattrMode,
    ) -> Result<Attr, MetaError> {
        let (first, rest) = value.split_at(value.len().min(MAX_XATTR_PART));
        let staged = (!rest.is_empty()).then_some(5);
        if let Some(token) = staged {
            let part = first.to_vec();
            let kept = self.ask(session, Request::StageXattr { token, part });
            assert_eq!(kept, Ok(Reply::Done));
        }
        attr_of(self.ask(
            session,
            Request::SetXattr {
                ino,
                name: XattrName::new(name).unwrap(),
                staged,
                value: if staged.is_some() { rest } else { first }.to_vec(),
                mode,
            },
        ))
    }

    pub(super) fn add_arena(&mut self) {
        self.bytes = vec![0; usize::try_from(self.granules * GRANULE).unwrap()];
        self.runs += 1;
        self.space
            .add_arena(NodeId(1), Incarnation(self.runs), self.granules * GRANULE);
        self.space.check().unwrap();
    }

    /// Does what a node does, in its order, and checks what it relies on.
    pub(super) fn apply(&mut self, out: &Output) {
        for (node, order) in &out.orders {
            match order {
                Order::Grant { session, extent, .. } => {
                    assert!(out.after.orders && extent.node == *node);
                    self.granted.entry(*session).or_default().extend(granules(extent));
                }
                Order::Revoke { session, extent } => {
                    assert_eq!(extent.node, *node);
                    let granted = self.granted.entry(*session).or_default();
                    let gone: BTreeSet<_> = granules(extent).collect();
                    granted.retain(|granule| !gone.contains(granule));
                }
                Order::Zero { extent } => {
                    assert!(out.after.orders && extent.node == *node && extent.len < GRANULE);
                    self.zero(extent);
                }
            }
        }
        for (session, notice) in &out.notices {
            if let Notice::Recall { recall, .. } = notice {
                self.recalls.push((*session, *recall));
            }
        }
        for batch in &out.batch {
            assert!(batch.changes.len() <= MAX_BATCH_KEYS && batch.bytes() <= MAX_BATCH_BYTES);
        }
        self.store.commit(&out.batch, self.space.term()).unwrap();
        for extent in &out.clean {
            let touched = self
                .granted
                .iter()
                .find(|(_, granted)| granules(extent).any(|at| granted.contains(&at)));
            assert!(touched.is_none(), "{extent:?} is cleaned under {touched:?}");
        }
        self.cleaning.extend(&out.clean);
        self.disconnect.extend(&out.disconnect);
        self.space.check().unwrap();
    }
}

/// The bytes that the node was told to zero.
pub(super) fn zeroed(out: &Output) -> Vec<Extent> {
    let zeroed = out.orders.iter().filter_map(|(_, order)| match order {
        Order::Zero { extent } => Some(*extent),
        Order::Grant { .. } | Order::Revoke { .. } => None,
    });
    zeroed.collect()
}

pub(super) fn attr_of(answer: Answer) -> Result<Attr, MetaError> {
    match answer? {
        Reply::Attr(attr) | Reply::Opened { attr, .. } => Ok(attr),
        Reply::Spaced { attr, .. } | Reply::Copied { attr, .. } => Ok(attr),
        other => panic!("{other:?}"),
    }
}

fn granules(extent: &Extent) -> impl Iterator<Item = (NodeId, u64)> + use<> {
    let node = extent.node;
    (extent.offset / GRANULE..extent.end().div_ceil(GRANULE)).map(move |at| (node, at))
}
