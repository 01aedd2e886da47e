//! Of which kind a lock is that somebody asks for.

use super::notes::FileOwner;
use crate::handler::mount::Mount;
use crate::process::lock_call::{Sight, lock_call};
use rdmafs_meta::lock::{LockKind, Span};
use std::time::Duration;

/// Looks at a thread that has not come to rest: at once, then after a pause each.
const LOOKS: (u32, u32) = (4, 5);
const PAUSE: Duration = Duration::from_micros(500);

/// Who asks for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockCaller {
    /// A thread of this host, in its system call; 0: it cannot be seen.
    Thread(u32),
    /// Somebody of whom it is known.
    Known(LockKind),
}

impl Mount {
    /// The kind, as far as it can be told. A lock of less than the whole file is never one of flock(2).
    pub(super) async fn kind_of(&self, caller: LockCaller, by: FileOwner, span: Span) -> LockKind {
        let kinds = self.locks.lock().kinds(by);
        if kinds == [LockKind::Posix] {
            // The kernel's number of a process is that of no open file.
            return LockKind::Posix;
        }
        let known = match caller {
            LockCaller::Known(kind) => Some(kind),
            LockCaller::Thread(0) => None,
            LockCaller::Thread(tid) => self.look_at(tid).await,
        };
        match (known, kinds.as_slice()) {
            (Some(kind), _) => kind,
            // Who mixes calls on one descriptor is rarer than anything else.
            (None, [LockKind::Flock]) if span == Span::WHOLE => LockKind::Flock,
            (None, [LockKind::Ofd]) => LockKind::Ofd,
            (None, _) if span == Span::WHOLE => LockKind::Unknown,
            (None, _) => LockKind::Posix,
        }
    }

    /// The kind of what an unlock gives back; `None`: its owner has nothing of that kind.
    pub(super) async fn kind_to_unlock(
        &self,
        caller: LockCaller,
        by: FileOwner,
        span: Span,
    ) -> Option<LockKind> {
        let kinds = self.locks.lock().kinds(by);
        let known = match kinds.as_slice() {
            [] => return None,
            [LockKind::Flock] if span != Span::WHOLE => return None,
            [LockKind::Ofd] if span != Span::WHOLE => LockKind::Ofd,
            _ => self.kind_of(caller, by, span).await,
        };
        let only = if let [kind] = kinds[..] { kind } else { known };
        kinds.iter().any(|kind| kind.sees(known)).then_some(only)
    }

    async fn look_at(&self, tid: u32) -> Option<LockKind> {
        for look in 0..LOOKS.0 + LOOKS.1 {
            match lock_call(tid) {
                Sight::Kind(kind) => return Some(kind),
                Sight::Unseen => break,
                // It goes to sleep as soon as it has handed the request over.
                Sight::Running if look < LOOKS.0 => std::thread::yield_now(),
                Sight::Running => self.executor().sleep(PAUSE).await,
            }
        }
        tracing::debug!(tid, "by which call a lock is asked for cannot be told");
        None
    }
}
