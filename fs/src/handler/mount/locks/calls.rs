//! Taking locks, waiting for them, giving them back, and asking who has them.

use super::kind::LockCaller;
use super::notes::{FileOwner, Unlocking};
use super::waits::Wait;
use crate::errno::Error;
use crate::handler::client::OutgoingCall;
use crate::handler::lock_order::Mutex;
use crate::handler::mount::{HandleId, Mount, OpenFile};
use crate::handler::values::{CallContext, Connection};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, LockTicket};
use rdmafs_meta::lock::{Lock, LockKind, LockState, Span};
use rdmafs_meta::wire::{Reply, Request};
use std::sync::Arc;
use std::time::Duration;

/// A waiter asks again how it stands: the notice of its grant may have been lost.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A lock as a program asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockCall {
    /// The open file.
    pub handle: HandleId,
    /// The kernel's number of the owner.
    pub owner: u64,
    /// The bytes to lock, or to ask about.
    pub span: Span,
    /// Nobody else may have them, too.
    pub exclusive: bool,
    /// The process, in this host's numbers; 0: it cannot be told.
    pub process: u32,
    /// The process or open file that asks.
    pub caller: LockCaller,
    /// The user whose lock it counts as; `None`: it cannot be told (an idmapped mount).
    pub uid: Option<u32>,
}

impl Mount {
    /// Takes a lock in the place of what its owner has of these bytes; `wait`: as soon as nobody has it any more. Who has it sees what was
    /// written under the lock before. Dropped before its end, it waits no longer, and what it was granted meanwhile is given back.
    ///
    /// # Errors
    /// EAGAIN when somebody has it, EDEADLK, ENOLCK; EIO when earlier locks of the file were lost or the node does not answer.
    pub async fn lock(self: Arc<Self>, call: LockCall, wait: bool) -> Result<(), Error> {
        let file = self.file(call.handle)?;
        file.check_locks()?;
        let ino = file.inode().ino;
        self.pool_locks
            .closing_files
            .is_settled(ino, (self.id, call.handle));
        let mut may_end = self.pool_locks.closing_files.any(ino);
        if !call.exclusive {
            self.commit_before_sharing(&file, (ino, call.owner), call.span)
                .await;
        }
        let asking = self.clone().begin(&file, &call).await?;
        loop {
            let session = self.client.session(self.timeout()).await?;
            // The session may have been lost since.
            file.check_locks()?;
            let woken = asking.wait.listen();
            let state = asking.ask(session.origin, wait).await;
            let held = match state {
                Ok(LockState::Held) => true,
                Ok(_) => {
                    self.executor().within(RETRY_AFTER, woken).await;
                    asking.wait.is_granted_in(session.origin)
                }
                // Another one has begun, in which nothing of it is held.
                Err(Error::Meta(MetaError::SessionEnded)) => false,
                // Only of a program that has ended, perhaps.
                Err(Error::Meta(MetaError::Locked)) if std::mem::take(&mut may_end) => {
                    self.pool_locks
                        .closing_files
                        .are_settled(self.executor(), ino)
                        .await;
                    false
                }
                Err(error) => return Err(error),
            };
            if self.is_closed() {
                return Err(Error::BadHandle);
            }
            if held && asking.is_held(session.origin) {
                self.revalidate(&file).await?;
                file.check_locks()?;
                asking.is_answered();
                return Ok(());
            }
        }
    }

    async fn begin(self: Arc<Self>, file: &Arc<OpenFile>, call: &LockCall) -> Result<Asking, Error> {
        let by = (file.inode().ino, call.owner);
        let kind = self.kind_of(call.caller, by, call.span).await;
        let through = (call.handle, file.lock_losses.clone());
        let (owner, left) = self.locks.lock().begins(by, through, kind);
        let (ticket, wait) = self.pool_locks.waits.begin();
        let asking = Asking {
            by,
            ticket,
            wait,
            lock: Lock {
                owner,
                kind,
                exclusive: call.exclusive,
                span: call.span,
                process: process(call),
            },
            who: user(call.uid),
            asked: Mutex::default(),
            mount: self,
        };
        if let Some(left) = left {
            asking.mount.give_back(by.0, vec![left]).await;
        }
        Ok(asking)
    }

    /// Gives locks back, after what was written is committed: who gets them next sees it.
    ///
    /// # Errors
    /// ENOLCK when it would make one more; EIO when the node does not answer.
    pub async fn unlock(self: Arc<Self>, call: LockCall) -> Result<(), Error> {
        let file = self.handles.read().get(&call.handle).cloned();
        let file = file.ok_or(Error::BadHandle)?;
        let ino = file.inode().ino;
        let by = (ino, call.owner);
        let Some(kind) = self.kind_to_unlock(call.caller, by, call.span).await else {
            return Ok(());
        };
        let timeout = self.commit_under_lock(&file).await;
        let Unlocking::Ask { owed, kind } = self.locks.lock().unlocks(by, call.span, kind) else {
            return Ok(());
        };
        let mut ending = Ending {
            mount: self.clone(),
            by,
            unsure: true,
        };
        let request = Request::Unlock {
            ino,
            owner: owed.owner,
            kind,
            span: call.span,
        };
        let context = CallContext {
            timeout,
            ..self.itself()
        };
        let mut outgoing = OutgoingCall::new(context, request).only_in(owed.origin);
        match self.client.ask(&mut outgoing).await {
            // With that session its locks went.
            Ok(_) | Err(Error::Meta(MetaError::SessionEnded)) => ending.unsure = false,
            Err(error) => return Err(error),
        }
        let mut locks = self.locks.lock();
        if call.span == Span::WHOLE && locks.kinds(by).len() == 1 {
            locks.gave_all_back(by);
        }
        Ok(())
    }

    /// The lock that would be in the way of this one (F_GETLK), with its process where that is one of this host.
    ///
    /// # Errors
    /// EIO when the node does not answer, or earlier locks of the file were lost.
    pub async fn conflict(self: Arc<Self>, call: LockCall) -> Result<Option<(Span, bool, u32)>, Error> {
        let file = self.file(call.handle)?;
        file.check_locks()?;
        let ino = file.inode().ino;
        self.pool_locks
            .closing_files
            .is_settled(ino, (self.id, call.handle));
        let mut may_end = self.pool_locks.closing_files.any(ino);
        let lock = Lock {
            owner: self.locks.lock().owner((ino, call.owner)),
            kind: LockKind::Posix,
            exclusive: call.exclusive,
            span: call.span,
            process: process(&call),
        };
        let found = loop {
            let request = Request::GetLock { ino, lock };
            match self.client.call(self.itself(), request).await? {
                // Only of a program that has ended, perhaps.
                Reply::LockedBy(Some(_)) if std::mem::take(&mut may_end) => {
                    self.pool_locks
                        .closing_files
                        .are_settled(self.executor(), ino)
                        .await;
                }
                Reply::LockedBy(found) => break found,
                _ => return Err(Error::Protocol),
            }
        };
        Ok(found.map(|found| {
            let process = u32::try_from(found.process).unwrap_or(0);
            (found.span, found.exclusive, process)
        }))
    }
}

/// Processes that cannot be seen are told apart by the kernel's number of their tables of descriptors.
fn process(call: &LockCall) -> u64 {
    match call.process {
        0 => call.owner | 1 << 63,
        process => process.into(),
    }
}

/// As whom the service counts a lock. Whether the file may be locked the kernel has judged.
fn user(uid: Option<u32>) -> Credentials {
    let nobody = Credentials {
        kernel_decides: true,
        ..Credentials::new(u32::MAX, u32::MAX, Vec::new())
    };
    uid.map_or(nobody, |uid| Credentials::new(uid, u32::MAX, Vec::new()))
}

/// One asking for a lock, until it is answered or given up.
struct Asking {
    mount: Arc<Mount>,
    by: FileOwner,
    ticket: LockTicket,
    wait: Arc<Wait>,
    lock: Lock,
    who: Credentials,
    asked: Mutex<Asked>,
}

/// What the service may know of it.
#[derive(Clone, Copy, Default)]
struct Asked {
    /// The session in which it was asked, if it may be waiting or have been granted there.
    open: Option<Connection>,
    /// Some of the bytes were held before.
    upgrade: bool,
    /// It was granted, and noted as held; its program has not heard so yet.
    noted: bool,
}

impl Asking {
    /// Asks in one session how it stands.
    async fn ask(&self, origin: Connection, wait: bool) -> Result<LockState, Error> {
        let upgrade = self.mount.locks.lock().enters(self.by, origin, self.lock.span)?;
        *self.asked.lock() = Asked {
            open: Some(origin),
            upgrade: upgrade && self.lock.kind != LockKind::Flock,
            noted: false,
        };
        let request = Request::Lock {
            ino: self.by.0,
            ticket: self.ticket,
            lock: self.lock,
            wait,
        };
        let context = self.mount.context(self.who.clone());
        let mut outgoing = OutgoingCall::new(context, request).only_in(origin);
        let answer = self.mount.client.ask(&mut outgoing).await;
        let refused = matches!(answer, Err(Error::Meta(_)));
        if refused {
            self.asked.lock().open = None;
        }
        let waits = matches!(answer, Ok((_, Reply::LockIs(LockState::Waiting))));
        let locked = matches!(answer, Err(Error::Meta(MetaError::Locked)));
        if self.lock.kind == LockKind::Flock && (waits || locked) {
            self.mount.locks.lock().has_no_more(self.by);
        }
        match answer? {
            (_, Reply::LockIs(state)) => Ok(state),
            _ => Err(Error::Protocol),
        }
    }

    /// It was granted in this session: true when that is not over.
    fn is_held(&self, origin: Connection) -> bool {
        let held = self.mount.locks.lock().has(self.by, origin, self.lock.span);
        self.asked.lock().noted = held;
        held
    }

    /// The program hears that it has it.
    fn is_answered(&self) {
        self.asked.lock().open = None;
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let client = self.mount.client.clone();
        self.mount.pool_locks.waits.end(self.ticket);
        let Asked { open, upgrade, noted } = *self.asked.lock();
        if open.is_some() && noted && !upgrade {
            self.mount.locks.lock().has_not(self.by, self.lock.span);
        }
        self.mount.locks.lock().ends(self.by, open.is_some());
        let Some(origin) = open else { return };
        // Of an upgrade nobody knows what there was before: it is kept rather than given away.
        let request = Request::CancelLock {
            ticket: self.ticket,
            give_back: !upgrade,
        };
        let executor = client.executor.clone();
        let cancel = async move {
            let _over = client.ask_in(origin, request).await;
            Ok(())
        };
        executor.run(0, cancel, |_: Result<(), Error>| ());
    }
}

/// Notes the end of an unlock, also of one that was given up.
struct Ending {
    mount: Arc<Mount>,
    by: (InodeId, u64),
    unsure: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.mount.locks.lock().ends(self.by, self.unsure);
    }
}
