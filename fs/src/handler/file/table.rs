//! The files of a pool, as far as this host has them open or has something of them that is not committed: one table for all mounts.

use super::caches::KernelCaches;
use super::due::Later;
use super::inode::Inode;
use crate::errno::Error;
use crate::handler::client::Client;
use crate::handler::lock_order::Mutex;
use crate::handler::values::{CallContext, MountId};
use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{Reply, Request};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The files of a pool.
///
/// Lock order: `inodes` is a leaf. The locks of an inode say their order where they are defined; none of them is held while `inodes` is
/// taken but the ones that are held across waits.
pub(in crate::handler) struct Files {
    pub(in crate::handler) client: Arc<Client>,
    /// The caches of the kernels behind the mounts.
    pub(in crate::handler) caches: Arc<dyn KernelCaches>,
    /// How often any file may have been given file capabilities: not all inodes are in the table when that is heard of.
    given: AtomicU64,
    /// How often something was to be forgotten of an inode that was not in the table: it may be about to be put there.
    unmet: AtomicU64,
    /// What is to be committed when its time comes.
    pub(in crate::handler) later: Later,
    inodes: Mutex<HashMap<InodeId, Known>>,
}

struct Known {
    inode: Arc<Inode>,
    holders: u32,
}

/// Keeps an inode in its pool's table.
pub(in crate::handler) struct Held {
    pub(in crate::handler) files: Arc<Files>,
    pub(in crate::handler) inode: Arc<Inode>,
}

impl std::ops::Deref for Held {
    type Target = Inode;
    fn deref(&self) -> &Inode {
        &self.inode
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        self.files.hold(self.inode.ino)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inodes = self.files.inodes.lock();
        if let Some(known) = inodes.get_mut(&self.inode.ino) {
            known.holders -= 1;
            if known.holders == 0 {
                inodes.remove(&self.inode.ino);
            }
        }
    }
}

impl Files {
    /// No file yet.
    pub(in crate::handler) fn new(client: Arc<Client>, caches: Arc<dyn KernelCaches>) -> Self {
        Self {
            client,
            caches,
            given: AtomicU64::new(0),
            unmet: AtomicU64::new(0),
            later: Later::default(),
            inodes: Mutex::default(),
        }
    }

    /// A call that is answered with attributes: as programs see them.
    pub(in crate::handler) async fn call_for_attr(
        &self,
        context: CallContext,
        request: Request,
    ) -> Result<Attr, Error> {
        match self.client.call(context, request).await? {
            Reply::Attr(attr) => Ok(self.show(attr)),
            _ => Err(Error::Protocol),
        }
    }

    /// The attributes of an inode as programs see them, without a call where they are held by lease.
    ///
    /// # Errors
    /// As [`Files::call_for_attr`].
    pub(in crate::handler) async fn attributes(
        &self,
        context: CallContext,
        ino: InodeId,
    ) -> Result<Attr, Error> {
        if let Some(held) = self.client.leases.attributes(ino) {
            return Ok(self.show(held));
        }
        if let Some(since) = self.client.leases.behind(ino)
            && let Some(attr) = self.client.catch_up(context.clone(), (ino, since)).await?
        {
            return Ok(self.show(attr));
        }
        self.call_for_attr(context, Request::GetAttr { ino }).await
    }

    /// Attributes as programs see them: with what this handler wrote and did not commit.
    pub(in crate::handler) fn show(&self, attr: Attr) -> Attr {
        self.client.node_clock.shown(attr.ctime, self.client.clock.now());
        match self.find(attr.ino) {
            Some(inode) => inode.show(attr),
            None => attr,
        }
    }

    /// The inode, if it is in the table.
    pub(in crate::handler) fn find(&self, ino: InodeId) -> Option<Arc<Inode>> {
        self.inodes.lock().get(&ino).map(|known| known.inode.clone())
    }

    /// The inode whose layout is taken back, if it is in the table.
    pub(in crate::handler) fn find_recalled(&self, ino: InodeId) -> Option<Arc<Inode>> {
        let found = self.find(ino);
        if found.is_none() {
            self.unmet.fetch_add(1, Ordering::AcqRel);
        }
        found
    }

    /// To be taken before it is asked for the layout of an inode that is not in the table.
    pub(super) fn unmet(&self) -> u64 {
        self.unmet.load(Ordering::Acquire)
    }

    /// The inode, put in the table if need be. It must be there before the service is asked for anything that makes
    /// it hold the layout, or a recall would be acknowledged too early.
    pub(in crate::handler) fn hold(self: &Arc<Self>, ino: InodeId) -> Held {
        let mut inodes = self.inodes.lock();
        let known = inodes.entry(ino).or_insert_with(|| Known {
            inode: Inode::new(ino),
            holders: 0,
        });
        known.holders += 1;
        Held {
            files: self.clone(),
            inode: known.inode.clone(),
        }
    }

    /// To be taken before it is asked whether a file has file capabilities.
    pub(in crate::handler) fn given(&self) -> u64 {
        self.given.load(Ordering::Acquire)
    }

    /// It was asked at `given` (of the pool, and of the inode), and the file has none.
    pub(in crate::handler) fn learn_plain(&self, inode: &Inode, given: (u64, u64)) {
        if self.given() == given.0 {
            inode.learn_plain(given.1);
        }
    }

    /// The file may have been given file capabilities.
    pub(in crate::handler) fn may_have_capabilities(&self, ino: InodeId) {
        self.given.fetch_add(1, Ordering::AcqRel);
        if let Some(inode) = self.find(ino) {
            inode.may_have_capabilities();
        }
    }

    /// A new connection: notices may have been missed.
    pub(in crate::handler) fn missed_notices(&self) {
        self.given.fetch_add(1, Ordering::AcqRel);
    }

    /// All inodes of the table, in the order of their ids.
    pub(in crate::handler) fn inodes(&self) -> Vec<Arc<Inode>> {
        let inodes = self.inodes.lock();
        let mut all: Vec<_> = inodes.values().map(|known| known.inode.clone()).collect();
        drop(inodes);
        all.sort_unstable_by_key(|inode| inode.ino);
        all
    }

    /// Bytes of the inode changed by these mounts: the kernels behind all others drop what they cached.
    pub(in crate::handler) fn tell_others(&self, ino: InodeId, writers: &[MountId]) {
        self.caches.invalidate(ino, writers);
    }
}
