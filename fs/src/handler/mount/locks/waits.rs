//! Operations that ask for locks, and what wakes them: a grant, a new connection, the end of their mount.

use crate::handler::lock_order::Mutex;
use crate::handler::values::Connection;
use event_listener::{Event, EventListener};
use rdmafs_meta::id::LockTicket;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// All operations of a pool that wait for a lock.
#[derive(Default)]
pub(in crate::handler) struct LockWaiters {
    next: AtomicU64,
    waiting: Mutex<HashMap<LockTicket, Arc<Wait>>>,
}

/// An operation that waits for a lock.
#[derive(Default)]
pub(super) struct Wait {
    /// The session in which the lock was granted, by its first connection; 0: not yet.
    granted: AtomicU64,
    woken: Event,
}

impl LockWaiters {
    /// A ticket that nobody had.
    pub(super) fn begin(&self) -> (LockTicket, Arc<Wait>) {
        let ticket = LockTicket(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let wait = Arc::new(Wait::default());
        self.waiting.lock().insert(ticket, wait.clone());
        (ticket, wait)
    }

    pub(super) fn end(&self, ticket: LockTicket) {
        self.waiting.lock().remove(&ticket);
    }

    /// The service says that a lock is held now, in the session that began over `origin`.
    pub(in crate::handler) fn granted(&self, ticket: LockTicket, origin: Connection) {
        let wait = self.waiting.lock().get(&ticket).cloned();
        if let Some(wait) = wait {
            wait.granted.store(origin.0, Ordering::Release);
            wait.woken.notify(usize::MAX);
        }
    }

    /// Something changed: all ask again.
    pub(in crate::handler) fn recheck(&self) {
        let all: Vec<_> = self.waiting.lock().values().cloned().collect();
        for wait in all {
            wait.woken.notify(usize::MAX);
        }
    }
}

impl Wait {
    /// To be had before the call whose answer is to be waited for.
    pub(super) fn listen(&self) -> EventListener {
        self.woken.listen()
    }

    pub(super) fn is_granted_in(&self, origin: Connection) -> bool {
        self.granted.load(Ordering::Acquire) == origin.0
    }
}
