//! Something that users of a mount can make the handler hold, shared so that nobody can take it away from others.
//!
//! A user has as much as is left ([`rdmafs_meta::share`]), as of names at the service. Root is bound by the whole only.

use super::lock_order::Mutex;
use rdmafs_meta::share::most_for_one;
use std::collections::HashMap;
use std::sync::Arc;

/// So much of something, and who has how much. The lock is a leaf.
#[derive(Debug)]
pub(super) struct Fair {
    limit: u64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u64,
    /// Of those who have any.
    users: HashMap<u32, u64>,
}

/// A user's part, until it is dropped.
#[derive(Debug)]
pub(super) struct FairPart {
    of: Arc<Fair>,
    uid: u32,
    amount: u64,
}

impl Fair {
    /// All of it is free.
    pub(super) fn new(limit: u64) -> Arc<Self> {
        let taken = Mutex::default();
        Arc::new(Self { limit, taken })
    }

    /// As much for this user; `None` when that is more than he may have now.
    pub(super) fn take(self: &Arc<Self>, uid: u32, amount: u64) -> Option<FairPart> {
        let mut taken = self.taken.lock();
        let own = taken.users.get(&uid).copied().unwrap_or(0);
        let left = self.limit.saturating_sub(taken.all).checked_sub(amount)?;
        let may = uid == 0 || own.saturating_add(amount) <= most_for_one(self.limit, left);
        may.then(|| {
            taken.all += amount;
            *taken.users.entry(uid).or_default() += amount;
            let of = self.clone();
            FairPart { of, uid, amount }
        })
    }
}

impl Drop for FairPart {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        taken.all -= self.amount;
        if let Some(own) = taken.users.get_mut(&self.uid) {
            *own -= self.amount;
            if *own == 0 {
                taken.users.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(fair: &Arc<Fair>, uid: u32) -> Vec<FairPart> {
        std::iter::from_fn(|| fair.take(uid, 1)).collect()
    }

    #[test]
    fn one_user_has_half_and_leaves_others_room() {
        let fair = Fair::new(1600);
        let first = all(&fair, 1000);
        assert_eq!(first.len(), 750, "half of what is not root's alone");
        let second = all(&fair, 1001);
        assert_eq!(second.len(), 375);
        assert!(fair.take(1002, 187).is_some() && fair.take(1002, 188).is_none());
        let roots = all(&fair, 0);
        assert_eq!(roots.len(), 1600 - 750 - 375);
        assert!(fair.take(0, 1).is_none() && fair.take(1002, 0).is_some());
    }

    #[test]
    fn what_is_given_back_may_be_taken_anew() {
        let fair = Fair::new(32);
        let parts = all(&fair, 5);
        assert_eq!(parts.len(), 15);
        drop(parts);
        assert!(fair.taken.lock().users.is_empty());
        assert!(fair.take(5, 16).is_none());
        let half = fair.take(5, 15);
        assert!(half.is_some() && fair.take(5, 1).is_none());
        assert!(fair.take(0, 17).is_some() && fair.take(0, 18).is_none());
        assert!(fair.take(0, u64::MAX).is_none());
    }
}
