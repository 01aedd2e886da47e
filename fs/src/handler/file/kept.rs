//! Opens that are not given back when programs close a file: opening it once more costs no call.
//!
//! The service counts one open of a file for this handler, however many programs have it open: they share a [`ServiceOpen`]. When the last of
//! them closes it, the open is kept as long as the file's attributes are held by lease, so that this handler hears before anything of the file changes
//! elsewhere, its removal too: then it is given back. Whether a program may open the file is judged as the service would, by the attributes that are held; where they
//! say no, the service is asked.

use super::inode::Inode;
use super::open::ServiceOpen;
use crate::handler::lock_order::Mutex;
use crate::handler::values::CallContext;
use lru::LruCache;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::extent::granule_ceil;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::permission;
use rdmafs_meta::wire::OpenAccess;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Most files of a pool whose opens are shared and kept: each takes about a KiB here, and 100 bytes at the service.
const MOST: NonZeroUsize = NonZeroUsize::new(4096).expect("above 0");

/// What the service counts as open for a pool's handler, as far as it is shared and kept: of each file the newest.
///
/// Lock order: `opens` is a leaf. What is taken out is dropped after it.
pub(in crate::handler) struct KeptOpens {
    opens: Mutex<LruCache<InodeId, Arc<ServiceOpen>>>,
}

impl Default for KeptOpens {
    fn default() -> Self {
        Self {
            opens: Mutex::new(LruCache::new(MOST)),
        }
    }
}

impl KeptOpens {
    /// The service has counted an open: others who open the file share it, and it stands for one that was kept.
    pub(in crate::handler) fn opened(&self, mut open: ServiceOpen) -> Arc<ServiceOpen> {
        if let Some(kept) = self.take_unused(open.held.ino) {
            open.absorb(kept);
        }
        let open = Arc::new(open);
        self.keep(&open);
        open
    }

    fn keep(&self, open: &Arc<ServiceOpen>) {
        if !open.held.files.client.leases.are_taken() {
            return;
        }
        let mut opens = self.opens.lock();
        let ino = open.held.ino;
        // What is kept already serves as well.
        let last = match opens.get(&ino) {
            Some(_) => None,
            None => opens.push(ino, open.clone()),
        };
        drop(opens);
        drop(last);
    }

    /// A program has closed the file that it had open so: that is kept, or given back when nobody else uses it.
    pub(in crate::handler) fn closed(&self, open: &Arc<ServiceOpen>) {
        // It must be there to be found by who hears that the file changes, before it is asked whether that has been heard.
        self.keep(open);
        if !is_worth_keeping(open) {
            self.let_go(open.held.ino);
        }
    }

    /// Nobody is to find the file open here: its open is given back, once no program has it open.
    pub(in crate::handler) fn let_go(&self, ino: InodeId) {
        let open = self.opens.lock().pop(&ino);
        drop(open);
    }

    /// The same of all files.
    pub(in crate::handler) fn let_go_of_all(&self) {
        let opens = std::mem::replace(&mut *self.opens.lock(), LruCache::new(MOST));
        drop(opens);
    }

    /// The file whose open was used the longest ago, where it has to go for the next one.
    pub(super) fn oldest(&self) -> Option<InodeId> {
        let opens = self.opens.lock();
        let oldest = opens.peek_lru().filter(|_| opens.len() >= MOST.get());
        oldest.map(|(ino, _)| *ino)
    }

    /// An open that nobody uses; it is kept no longer.
    pub(super) fn take_unused(&self, ino: InodeId) -> Option<ServiceOpen> {
        let open = self.opens.lock().pop(&ino);
        Arc::into_inner(open?)
    }

    /// Opens a file without a call where nothing is left to ask: an open serves that the service counts already, the caller may by attributes that are held
    /// by lease, and no access time is to be renewed.
    pub(in crate::handler) fn open_here(
        &self,
        inode: &Inode,
        context: &CallContext,
        access: OpenAccess,
    ) -> Option<(Arc<ServiceOpen>, Attr)> {
        if access.truncate {
            return None;
        }
        let open = self.opens.lock().get(&inode.ino).cloned()?;
        let client = &open.held.files.client;
        let attr = client.leases.attributes(inode.ino)?;
        let now = client.node_clock.stamp(attr.atime, client.clock.now());
        let asks = access.write && !open.writable
            || access.execute && !open.runs_as(&attr)
            || access.read && attr.renews_access_time(context.access_time, now)
            || permission::open(&context.who, &attr, access).is_err();
        (!asks && inode.check().is_ok()).then_some((open, attr))
    }
}

/// Space past the file's end goes back with its last open, and so do the bytes of a file without names.
fn is_worth_keeping(open: &ServiceOpen) -> bool {
    let inode = &open.held;
    let attr = inode.files.client.leases.held(inode.ino);
    let whole = attr.is_some_and(|attr| attr.nlink > 0 && attr.allocated <= granule_ceil(attr.size));
    whole && inode.uncommitted().is_none() && inode.room() == 0 && inode.check().is_ok()
}
