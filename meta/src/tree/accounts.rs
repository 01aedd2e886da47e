//! Who takes how much of the memory that names and inodes take.
//!
//! Names, inodes, link targets and extended attributes lie in the service's memory and in its store, not in the arena. So that nobody fills
//! them by making names, each inode is charged to its owner, [`NAME`] for each of its names and for what it has beside them, and all
//! together are bounded.
//!
//! **A user has as much as is left** ([`crate::share`]). Root is bound by the whole only.

use crate::cred::Credentials;
use crate::error::MetaError;
use crate::share::most_for_one;
use std::collections::BTreeMap;

/// What a name is charged, and the inode behind it: more than it takes if the name is as long as it can be (`meta/tests/charged.rs`).
pub(crate) const NAME: u64 = 1024;
/// What a directory is charged beside its own name: the table of its first entries.
pub(super) const DIRECTORY: u64 = 768;
/// What an extended attribute is charged beside its name and its value.
pub(super) const XATTR: u64 = 256;

/// What an inode is charged, and to whom.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(super) uid: u32,
    pub(super) bytes: u64,
}

/// All charges.
#[derive(Debug)]
pub(crate) struct Accounts {
    /// Bytes that all together may be charged.
    limit: u64,
    charged: u64,
    /// Nothing may grow now.
    pub(crate) frozen: bool,
    /// Of those who have any.
    users: BTreeMap<u32, u64>,
}

impl Accounts {
    /// Nothing is charged, and so many bytes may be.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            limit,
            charged: 0,
            frozen: false,
            users: BTreeMap::new(),
        }
    }

    /// What each user is charged.
    pub(super) fn users(&self) -> &BTreeMap<u32, u64> {
        &self.users
    }

    /// Bytes that may be charged, and bytes that are.
    pub(crate) fn space(&self) -> (u64, u64) {
        (self.limit, self.charged)
    }

    /// Whether `who` may let what belongs to `owner` grow by so many bytes.
    ///
    /// # Errors
    /// [`MetaError::NoSpace`] where that is more than is left, or nothing may grow; [`MetaError::QuotaExceeded`] where it is more than the user's part.
    pub(super) fn may_grow(&self, who: &Credentials, owner: u32, bytes: u64) -> Result<(), MetaError> {
        if self.frozen {
            return Err(MetaError::NoSpace);
        }
        let left = self.limit.saturating_sub(self.charged);
        let free = left.checked_sub(bytes).ok_or(MetaError::NoSpace)?;
        let own = self.users.get(&owner).copied().unwrap_or(0).saturating_add(bytes);
        let part = most_for_one(self.limit, free);
        let fits = match owner {
            _ if who.uid == 0 => true,
            _ if owner == who.uid => own <= part,
            // Names and attributes that others give to somebody's files leave him half of what he may have.
            0 => free >= self.limit / 2,
            _ => own <= part / 2,
        };
        fits.then_some(()).ok_or(MetaError::QuotaExceeded)
    }

    /// What was charged so is charged so from now on.
    pub(super) fn replace(&mut self, before: Charge, after: Charge) {
        self.charged = self.charged - before.bytes + after.bytes;
        if let Some(bytes) = self.users.get_mut(&before.uid) {
            *bytes -= before.bytes;
            if *bytes == 0 {
                self.users.remove(&before.uid);
            }
        }
        if after.bytes > 0 {
            *self.users.entry(after.uid).or_default() += after.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32) -> Credentials {
        Credentials::new(uid, uid, vec![])
    }

    /// Lets a user grow by one name at a time, until he is refused.
    fn fill(accounts: &mut Accounts, uid: u32) -> (u64, MetaError) {
        let mut bytes = 0;
        loop {
            match accounts.may_grow(&user(uid), uid, NAME) {
                Ok(()) => accounts.replace(
                    Charge { uid, bytes },
                    Charge {
                        uid,
                        bytes: bytes + NAME,
                    },
                ),
                Err(error) => return (bytes / NAME, error),
            }
            bytes += NAME;
        }
    }

    fn accounts(names: u64) -> Accounts {
        Accounts::new(names * NAME)
    }

    #[test]
    fn one_user_has_half_of_what_is_not_root_s_and_two_a_third() {
        let mut one = accounts(1600);
        assert_eq!(fill(&mut one, 7), (750, MetaError::QuotaExceeded));
        assert_eq!(
            fill(&mut one, 8),
            (375, MetaError::QuotaExceeded),
            "who comes later has half of the rest"
        );
        assert_eq!(
            fill(&mut one, 0),
            (475, MetaError::NoSpace),
            "root has all that is left"
        );
        assert_eq!(one.may_grow(&user(9), 9, NAME), Err(MetaError::NoSpace));
    }

    #[test]
    fn who_has_little_grows_whatever_others_did() {
        let mut many = accounts(1600);
        for uid in 1..=5 {
            fill(&mut many, uid);
        }
        assert_eq!(many.may_grow(&user(100), 100, 10 * NAME), Ok(()));
    }

    #[test]
    fn what_others_add_leaves_an_owner_half() {
        let mut shared = accounts(1600);
        let (owner, bytes) = (7, 374 * NAME);
        shared.replace(Charge::default(), Charge { uid: owner, bytes });
        assert_eq!(shared.may_grow(&user(8), owner, NAME), Ok(()));
        assert_eq!(
            shared.may_grow(&user(8), owner, 200 * NAME),
            Err(MetaError::QuotaExceeded)
        );
        assert_eq!(shared.may_grow(&user(7), owner, 200 * NAME), Ok(()));
        assert_eq!(shared.may_grow(&user(8), 0, 426 * NAME), Ok(()));
        assert_eq!(
            shared.may_grow(&user(8), 0, 427 * NAME),
            Err(MetaError::QuotaExceeded)
        );
    }

    #[test]
    fn an_account_that_is_empty_is_forgotten() {
        let mut one = accounts(10);
        let charge = Charge { uid: 7, bytes: NAME };
        one.replace(Charge::default(), charge);
        one.replace(charge, Charge::default());
        assert_eq!((one.charged, one.users.len()), (0, 0));
    }
}
