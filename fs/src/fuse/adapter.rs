//! What all FUSE requests have in common: who asks, a run on the executor, the count, and a panic that stays in its request.

use super::convert::{bytes, handle, ino, permissions};
use super::groups::{Groups, NO_UID};
use super::meter::Meter;
use super::reply;
use crate::errno::Error;
use crate::executor::Executor;
use crate::handler::{LockCall, LockCaller, Mount};
use fuser::{FileHandle, INodeNo, LockOwner, ReplyEntry, Request};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::lock::Span;
use rdmafs_meta::wire::NewInode;
use rdmafs_rdma::clock::{Clock, SystemClock};
use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The file system that fuser drives.
pub(super) struct Adapter {
    pub(super) mount: Arc<Mount>,
    executor: Executor,
    meter: Arc<Meter>,
    groups: Groups,
    clock: SystemClock,
    pub(super) callers: Callers,
}

/// What requests say of who makes them.
#[derive(Clone, Copy, Debug)]
pub struct Callers {
    /// mount(2) was called in this process's pid namespace, so the thread ids of requests mean what they say here.
    pub visible: bool,
    /// Idmapped mounts may be made of the mount: only requests that make something carry a uid and gid, those that what is made belongs to, and
    /// the kernel alone knows who may do what.
    pub idmapped: bool,
}

impl Adapter {
    pub(super) fn new(mount: Arc<Mount>, meter: Arc<Meter>, callers: Callers) -> Self {
        Self {
            executor: mount.executor().clone(),
            mount,
            meter,
            groups: Groups::new(),
            clock: SystemClock::new(),
            callers,
        }
    }

    /// Starts an operation and sees to its reply. fuser answers EIO for a reply that a panic dropped.
    pub(super) fn serve<T, F>(
        &self,
        request: &Request,
        start: impl FnOnce(Arc<Mount>) -> F,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.serve_as(request, false, start, reply);
    }

    /// Starts an operation and sees to its reply. One that is `for_ever` may wait without limit, and any signal of its caller ends it.
    pub(super) fn serve_as<T, F>(
        &self,
        request: &Request,
        for_ever: bool,
        start: impl FnOnce(Arc<Mount>) -> F,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let running = self.meter.start();
        let run = move || {
            let operation = start(self.mount.clone());
            let answer = move |result| {
                reply(result);
                drop(running);
            };
            match for_ever {
                false => self.executor.run(self.tid(request), operation, answer),
                true => self
                    .executor
                    .run_interruptibly(self.tid(request), operation, answer),
            }
        };
        // A panic would end the mount (in fuser's first worker) or lose a worker (in any other).
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(?request, "a request panicked: this is a bug");
        }
    }

    /// The thread that asks; 0 where it is of a pid namespace that this process does not know.
    pub(super) fn tid(&self, request: &Request) -> u32 {
        if self.callers.visible { request.pid() } else { 0 }
    }

    /// What a program asks of a lock; EINVAL when that is no range.
    pub(super) fn lock_call(
        &self,
        request: &Request,
        (file, owner): (FileHandle, LockOwner),
        (start, last): (u64, u64),
        (kind, process): (i32, u32),
    ) -> Result<LockCall, Error> {
        Ok(LockCall {
            handle: handle(file),
            owner: owner.0,
            span: Span::new(start, last).ok_or(MetaError::Invalid)?,
            exclusive: kind == libc::F_WRLCK,
            process: if self.callers.visible { process } else { 0 },
            caller: LockCaller::Thread(self.tid(request)),
            uid: (!self.callers.idmapped).then(|| request.uid()),
        })
    }

    /// The inode that the kernel calls so.
    pub(super) fn at(&self, node: INodeNo) -> InodeId {
        match ino(node) {
            InodeId::ROOT => self.mount.root(),
            ino => ino,
        }
    }

    /// A name in a directory.
    pub(super) fn name(&self, parent: INodeNo, name: &OsStr) -> (InodeId, Vec<u8>) {
        (self.at(parent), bytes(name))
    }

    pub(super) fn caller(&self, request: &Request) -> Credentials {
        let (uid, gid, tid, now) = (request.uid(), request.gid(), self.tid(request), self.clock.now());
        if !self.callers.idmapped {
            let groups = self.groups.of((tid, uid, gid), now);
            return Credentials {
                groups_unseen: groups.is_none(),
                ..Credentials::new(uid, gid, groups.unwrap_or_default())
            };
        }
        let uid = match uid {
            NO_UID => self.groups.fs_uid(tid, now),
            uid => uid,
        };
        Credentials {
            kernel_decides: true,
            ..Credentials::new(uid, gid, Vec::new())
        }
    }

    /// Makes an inode; EINVAL when `what` was nothing that can be made.
    pub(super) fn make(
        &self,
        request: &Request,
        place: (INodeNo, &OsStr),
        what: Option<NewInode>,
        (mode, umask): (u32, u32),
        reply: ReplyEntry,
    ) {
        let (parent, name) = self.name(place.0, place.1);
        self.serve(
            request,
            |mount| {
                let caller = self.caller(request).with_umask(permissions(umask));
                async move {
                    let what = what.ok_or(Error::Meta(MetaError::Invalid))?;
                    mount.make(caller, parent, name, what, permissions(mode)).await
                }
            },
            |made| reply::entry(reply, made),
        );
    }
}
