//! Charging inodes to their owners.

use super::accounts::{Accounts, Charge, DIRECTORY, NAME};
use super::inode::{Body, Inode};
use super::table::Tree;
use super::xattrs::Xattrs;
use crate::error::Inconsistency;
use crate::id::InodeId;
use std::collections::BTreeMap;

impl Tree {
    /// Charges everything that is there, and bounds it from now on. What is there already stays, though it be more.
    pub(crate) fn begin_accounts(&mut self, limit: u64) {
        self.accounts = Accounts::new(limit);
        let all: Vec<InodeId> = self.inodes.keys().copied().collect();
        for ino in all {
            self.settle_account(ino, Charge::default());
        }
    }

    /// The end of a step: what changed is charged as it is now.
    pub(crate) fn settle_accounts(&mut self) {
        let changed = std::mem::take(&mut self.changes.inodes);
        for ino in &changed {
            let before = self.inodes.get(ino).map(|inode| inode.charge);
            self.settle_account(*ino, before.unwrap_or_default());
        }
        self.changes.inodes = changed;
    }

    fn settle_account(&mut self, ino: InodeId, before: Charge) {
        let xattrs = self.xattrs(ino);
        let Some(after) = self.inodes.get(&ino).map(|inode| charge_of(inode, xattrs)) else {
            return;
        };
        if let Some(inode) = self.inodes.get_mut(&ino) {
            inode.charge = after;
        }
        if before != after {
            self.accounts.replace(before, after);
        }
    }

    /// The accounts say what is there, as it was at the end of the last step.
    ///
    /// # Errors
    /// They do not.
    pub(crate) fn check_accounts(&self) -> Result<(), Inconsistency> {
        let mut users: BTreeMap<u32, u64> = BTreeMap::new();
        for inode in self.iter() {
            let charge = charge_of(inode, self.xattrs(inode.attr.ino));
            *users.entry(charge.uid).or_default() += charge.bytes;
        }
        let charged: u64 = users.values().sum();
        let known = (self.accounts.space().1, self.accounts.users());
        match known == (charged, &users) {
            true => Ok(()),
            false => Err(Inconsistency(format!(
                "the accounts say {known:?}, and it is {charged} of {users:?}"
            ))),
        }
    }
}

/// What an inode is charged as it is now.
fn charge_of(inode: &Inode, xattrs: Option<&Xattrs>) -> Charge {
    let more_names = match &inode.body {
        Body::Directory(_) => 0,
        _ => u64::from(inode.attr.nlink).saturating_sub(1),
    };
    Charge {
        uid: inode.attr.uid,
        bytes: charge_of_new(&inode.body) + more_names * NAME + xattrs.map_or(0, Xattrs::charge),
    }
}

/// What an inode is charged that has one name and no attributes.
pub(super) fn charge_of_new(body: &Body) -> u64 {
    match body {
        Body::Directory(_) => NAME + DIRECTORY,
        Body::Symlink(target) => NAME + target.len() as u64,
        Body::File { .. } | Body::Special => NAME,
    }
}
