//! How many locks and waiters a session and a file may have, and of them each user.
//!
//! A waiter takes the room of the locks that it may add when it is granted, so what is granted never goes past a bound. The last quarter of what a
//! session or a file may have is root's: users, however many, leave root room for its own locks, and none of them takes all that
//! is left to the others. Beyond a bound somebody hears [`MetaError::TooManyLocks`](crate::error::MetaError::TooManyLocks).

use crate::cred::Credentials;
use crate::id::SessionId;
use std::collections::BTreeMap;

/// Most locks and waiters of a session: about 24 MiB of memory.
const OF_SESSION: Bounds = Bounds {
    locks: Bound {
        user: 1 << 14,
        all: 1 << 16,
    },
    waiters: Bound {
        user: 1 << 11,
        all: 1 << 13,
    },
};

/// Most locks and waiters of a file, of all sessions.
const OF_FILE: Bounds = Bounds {
    locks: Bound {
        user: 1 << 13,
        all: 1 << 14,
    },
    waiters: Bound {
        user: 1 << 10,
        all: 1 << 11,
    },
};

/// So many locks the grant of a waiter can add at most: itself, and it is the middle of one lock of flock and of one of fcntl.
pub(super) const ADDED: usize = 3;

/// On whose account locks and waiters go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Account {
    /// Uid 0.
    Root,
    /// Another uid; of a file: on whichever host.
    User(u32),
    /// All callers of a session whose uids the service cannot tell (idmapped mounts).
    Idmapped(SessionId),
}

impl Account {
    /// Of the caller of a session.
    pub(crate) fn of(session: SessionId, who: &Credentials) -> Self {
        match who.uid {
            _ if who.kernel_decides => Self::Idmapped(session),
            0 => Self::Root,
            uid => Self::User(uid),
        }
    }
}

/// A bound of something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Of one user who is not root.
    pub(super) user: usize,
    /// Of all together, root's reserve included.
    pub(super) all: usize,
}

impl Bound {
    /// Of all users who are not root.
    pub(super) fn of_users(self) -> usize {
        self.all - self.all / 4
    }

    fn allows(self, account: Account, user: usize, all: usize) -> bool {
        match account {
            Account::Root => all <= self.all,
            _ => user <= self.user && all <= self.of_users(),
        }
    }
}

/// The bounds of a session or a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) locks: Bound,
    pub(super) waiters: Bound,
}

/// All bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) of_session: Bounds,
    pub(super) of_file: Bounds,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            of_session: OF_SESSION,
            of_file: OF_FILE,
        }
    }
}

/// Locks that are held, and waiters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) held: usize,
    pub(super) waiting: usize,
}

impl Count {
    fn room(self) -> usize {
        self.held + ADDED * self.waiting
    }
}

/// What a session or a file has, by account. No account is there without locks and waiters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    by_account: BTreeMap<Account, Count>,
    all: Count,
}

impl Tally {
    pub(super) fn is_empty(&self) -> bool {
        self.by_account.is_empty()
    }

    pub(super) fn all(&self) -> Count {
        self.all
    }

    /// Whether the account may have so many locks more.
    pub(super) fn has_room(&self, bounds: &Bounds, account: Account, more: usize) -> bool {
        let own = self.by_account.get(&account).copied().unwrap_or_default();
        let (user, all) = (own.room() + more, self.all.room() + more);
        more == 0 || bounds.locks.allows(account, user, all)
    }

    /// Whether the account may have one waiter more.
    pub(super) fn has_room_to_wait(&self, bounds: &Bounds, account: Account) -> bool {
        let own = self.by_account.get(&account).copied().unwrap_or_default();
        let (user, all) = (own.waiting + 1, self.all.waiting + 1);
        bounds.waiters.allows(account, user, all) && self.has_room(bounds, account, ADDED)
    }

    /// Counts what comes or goes.
    pub(super) fn change(&mut self, account: Account, by: impl Fn(&mut Count)) {
        let own = self.by_account.entry(account).or_default();
        by(own);
        if *own == Count::default() {
            self.by_account.remove(&account);
        }
        by(&mut self.all);
    }
}

/// The tallies of all sessions.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) limits: Limits,
    by_session: BTreeMap<SessionId, Tally>,
}

impl Tallies {
    pub(super) fn has_room(&self, session: SessionId, account: Account, more: usize) -> bool {
        let none = Tally::default();
        let tally = self.by_session.get(&session).unwrap_or(&none);
        tally.has_room(&self.limits.of_session, account, more)
    }

    pub(super) fn has_room_to_wait(&self, session: SessionId, account: Account) -> bool {
        let none = Tally::default();
        let tally = self.by_session.get(&session).unwrap_or(&none);
        tally.has_room_to_wait(&self.limits.of_session, account)
    }

    pub(super) fn change(&mut self, session: SessionId, account: Account, by: impl Fn(&mut Count)) {
        let tally = self.by_session.entry(session).or_default();
        tally.change(account, by);
        if tally.is_empty() {
            self.by_session.remove(&session);
        }
    }

    /// True when both count the same.
    pub(super) fn agree(&self, other: &Tallies) -> bool {
        self.by_session == other.by_session
    }
}
