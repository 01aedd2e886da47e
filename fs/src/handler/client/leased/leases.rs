//! What is held by lease over the connection that a session has now, and until when it may be believed.

use super::bounds::Bounds;
use super::cache::{Cache, Found};
use super::changing::Change;
use super::extras::{Extra, Known};
use crate::control::LeaseStatus;
use crate::handler::lock_order::Mutex;
use crate::handler::values::Connection;
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{DirEntry, Request, StampedAnswer};
use rdmafs_rdma::clock::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// What a pool's handler holds by lease.
///
/// Lock order: `held` is a leaf, and not held across a wait.
pub(in crate::handler) struct Leases {
    /// Goes on while the host sleeps, as the service's does.
    clock: Arc<dyn Clock>,
    /// The session's connection takes leases.
    taken: AtomicBool,
    /// What was answered without a call.
    answered: AtomicU64,
    held: Mutex<Held>,
}

struct Held {
    /// Over this connection; nothing is taken in from others.
    over: Option<Connection>,
    /// Nothing is believed from then on.
    until: Duration,
    cache: Cache,
}

impl Held {
    fn new(over: Option<Connection>) -> Self {
        Self {
            over,
            until: Duration::ZERO,
            cache: Cache::new(Bounds::OF_A_POOL),
        }
    }
}

impl Leases {
    /// Nothing is held.
    pub(in crate::handler) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            taken: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            held: Mutex::new(Held::new(None)),
        }
    }

    /// The time that leases are measured by.
    pub(in crate::handler) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// A session has begun, or goes on, over this connection: what was held is dropped, and what is heard over it is taken in.
    pub(in crate::handler) fn begin(&self, over: Connection) {
        self.holds(Held::new(Some(over)));
        self.taken.store(true, Ordering::Release);
    }

    /// The connection takes no leases, or is over: what was held is dropped.
    pub(in crate::handler) fn end(&self, over: Connection) {
        let before = {
            let mut held = self.held.lock();
            (held.over == Some(over)).then(|| std::mem::replace(&mut *held, Held::new(None)))
        };
        drop(before);
    }

    /// No leases are taken: the node is of a build that gives none.
    pub(in crate::handler) fn none(&self) {
        self.holds(Held::new(None));
        self.taken.store(false, Ordering::Release);
    }

    /// What was held until now is dropped after the lock is given back: it may be much.
    fn holds(&self, new: Held) {
        let before = std::mem::replace(&mut *self.held.lock(), new);
        drop(before);
    }

    /// True when the last session took leases: the kernel is to believe nothing, since what it believes cannot be taken back in time.
    pub(in crate::handler) fn are_taken(&self) -> bool {
        self.taken.load(Ordering::Acquire)
    }

    /// The session's lease was renewed by a request that was sent at `asked`. A tenth of it is for answers to reach those who asked, and
    /// for clocks that go at different speeds.
    pub(in crate::handler) fn renewed(&self, over: Connection, asked: Duration, lease: Duration) {
        let mut held = self.held.lock();
        if held.over == Some(over) {
            held.until = held.until.max(asked.saturating_add(lease.saturating_mul(9) / 10));
        }
    }

    /// Over which connection what is held was learned.
    #[cfg(any(test, feature = "testing"))]
    pub(in crate::handler) fn over(&self) -> Option<Connection> {
        self.held.lock().over
    }

    /// The attributes of the inode, if they are held.
    pub(in crate::handler) fn held(&self, ino: InodeId) -> Option<Attr> {
        self.believed(|cache| cache.attributes(ino).cloned())
    }

    /// Its permission bits, if they are held.
    pub(in crate::handler) fn mode(&self, ino: InodeId) -> Option<u16> {
        self.believed(|cache| cache.attributes(ino).map(|attr| attr.mode))
    }

    /// The attributes of the inode, if they are held, to answer a program.
    pub(in crate::handler) fn attributes(&self, ino: InodeId) -> Option<Attr> {
        let attr = self.held(ino);
        self.counts(attr.as_ref());
        attr
    }

    /// What the name leads to, if that is held and the caller may search the directory by what is held.
    pub(in crate::handler) fn find(&self, who: &Credentials, parent: InodeId, name: &Name) -> Option<Found> {
        let found = self.believed(|cache| match cache.may_search(who, parent) {
            true => cache.find(&(parent, name.clone())),
            false => None,
        });
        self.counts(found.as_ref());
        found
    }

    /// From when on the directory can be caught up, where what is held of it is not believed without that.
    pub(in crate::handler) fn behind(&self, directory: InodeId) -> Option<Stamp> {
        self.believed(|cache| cache.behind(directory))
    }

    /// The directory that is to be caught up so that the name is found, and from when on.
    pub(in crate::handler) fn behind_at(
        &self,
        who: &Credentials,
        parent: InodeId,
        name: &Name,
    ) -> Option<(InodeId, Stamp)> {
        self.believed(|cache| cache.behind_at(who, &(parent, name.clone())))
    }

    fn counts<T>(&self, answer: Option<&T>) {
        if answer.is_some() {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// For `rdmafs status`.
    pub(in crate::handler) fn status(&self) -> LeaseStatus {
        let (attributes, names, _) = self.held.lock().cache.sizes();
        LeaseStatus {
            attributes: attributes as u64,
            names: names as u64,
            answered: self.answered.load(Ordering::Relaxed),
        }
    }

    /// The file of which this name is held to be the only one.
    pub(in crate::handler) fn last_name(&self, parent: InodeId, name: &Name) -> Option<InodeId> {
        match self.believed(|cache| cache.find(&(parent, name.clone())))? {
            Found::Here(attr) => (attr.kind == FileKind::Regular && attr.nlink == 1).then_some(attr.ino),
            Found::Absent => None,
        }
    }

    /// Of what this handler asked for, some inodes lost their last name: which, since this was asked last. `None`: nobody knows.
    pub(in crate::handler) fn take_unnamed(&self) -> Option<Vec<InodeId>> {
        self.held.lock().cache.take_unnamed()
    }

    /// What is known of an extra of the inode, if that is held and may be shown, as its attributes say.
    pub(in crate::handler) fn extra(
        &self,
        ino: InodeId,
        extra: &Extra,
        may: impl FnOnce(&Attr) -> bool,
    ) -> Option<Known> {
        let known = self.believed(|cache| match cache.attributes(ino) {
            Some(attr) if may(attr) => cache.extra(ino, extra).cloned(),
            Some(_) | None => None,
        });
        self.counts(known.as_ref());
        known
    }

    /// The target of a symbolic link, if that is held and reading it renews nothing, as its attributes say.
    pub(in crate::handler) fn target(
        &self,
        ino: InodeId,
        renews: impl FnOnce(&Attr) -> bool,
    ) -> Option<Vec<u8>> {
        let target = self.believed(|cache| match cache.attributes(ino) {
            Some(attr) if !renews(attr) => cache.extra(ino, &Extra::Target)?.bytes(),
            Some(_) | None => None,
        });
        self.counts(target.as_ref());
        target
    }

    /// Entries of a directory after a place, at most so many, and the place that its next name gets: where they are held, and reading renews nothing, as the
    /// directory's attributes say.
    pub(in crate::handler) fn page(
        &self,
        directory: InodeId,
        (after, limit): (u64, u32),
        renews: impl FnOnce(&Attr) -> bool,
    ) -> Option<(Vec<DirEntry>, u64)> {
        let page = self.believed(|cache| match cache.attributes(directory) {
            Some(attr) if !renews(attr) => cache.page(directory, after, limit as usize),
            Some(_) | None => None,
        });
        self.counts(page.as_ref());
        page
    }

    /// What is found in that which is held now.
    fn believed<T>(&self, find: impl FnOnce(&mut Cache) -> Option<T>) -> Option<T> {
        if !self.are_taken() {
            return None;
        }
        let mut held = self.held.lock();
        if self.clock.now() >= held.until {
            return None;
        }
        find(&mut held.cache)
    }

    /// The service asks to forget an inode. It is forgotten when this returns, for good.
    pub(in crate::handler) fn forget(&self, over: Connection, ino: InodeId, stamp: Stamp) {
        let mut held = self.held.lock();
        if held.over == Some(over) {
            held.cache.forget(ino, stamp);
        }
    }

    /// A request is about to be sent over this connection; `None`: nothing is held over it. What comes of it goes to [`Leases::answered`] once it is answered; without an
    /// answer nobody knows whether it is done yet, and what it changes is not believed over this connection any more.
    pub(in crate::handler) fn sends(&self, over: Connection, request: &Request) -> Option<Change> {
        if !self.are_taken() {
            return None;
        }
        let mut held = self.held.lock();
        (held.over == Some(over)).then(|| held.cache.begins(request))
    }

    /// It was not sent after all.
    pub(in crate::handler) fn not_sent(&self, over: Connection, change: &Change) {
        let mut held = self.held.lock();
        if held.over == Some(over) {
            held.cache.not_done(change);
        }
    }

    /// It was answered: the handler takes in what the answer says, before anybody else hears of it.
    pub(in crate::handler) fn answered(
        &self,
        over: Connection,
        (request, change): (&Request, &Change),
        said: &StampedAnswer,
    ) {
        let mut held = self.held.lock();
        if held.over == Some(over) {
            held.cache.answered(request, change, said);
        }
    }
}
