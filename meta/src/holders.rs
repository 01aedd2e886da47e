//! Who takes leases, as the store knows it, and the grace period after a start.
//!
//! A service that starts knows no lease that was given before. Whoever had some may still believe what they cover, until he hears that the
//! connection is over or his time is up. So the store knows whose sessions take leases, and after a start nothing that could be leased is changed until
//! all of these have come back, which ends what they believed, or their leases have run out (RFC 8881 section 8.4.2 has the same for NFS).

use crate::id::{ClientOwner, SessionId};
use std::collections::BTreeMap;
use std::time::Duration;

/// Whose sessions take leases, and who had some when the service ended.
#[derive(Debug, Default)]
pub(crate) struct Holders {
    /// Sessions that take leases.
    present: BTreeMap<SessionId, ClientOwner>,
    /// Who had leases before this start and has not come back; until when what he believes may last.
    awaited: BTreeMap<ClientOwner, Duration>,
    /// What the store has to hear: true where it is to know of the owner.
    changed: BTreeMap<ClientOwner, bool>,
}

impl Holders {
    /// The service starts: these had leases of so long.
    pub(crate) fn new(stored: impl IntoIterator<Item = (ClientOwner, Duration)>, now: Duration) -> Self {
        let awaited = stored.into_iter();
        Self {
            awaited: awaited
                .map(|(owner, lease)| (owner, now.saturating_add(lease)))
                .collect(),
            ..Self::default()
        }
    }

    /// The session takes leases from now on, and believes nothing of before. True when the store has to hear that before it may be given any.
    pub(crate) fn take(&mut self, session: SessionId, owner: ClientOwner) -> bool {
        // Of one that was awaited the store may have another lease than it is given now.
        self.awaited.remove(&owner);
        let is_known = self.present.insert(session, owner).is_some();
        if !is_known {
            self.changed.insert(owner, true);
        }
        !is_known
    }

    /// The session takes no leases any more.
    pub(crate) fn end(&mut self, session: SessionId) {
        if let Some(owner) = self.present.remove(&session) {
            self.changed.insert(owner, false);
        }
    }

    /// So late it is: whose time is up is not waited for.
    pub(crate) fn ticks(&mut self, now: Duration) {
        let over = self.awaited.extract_if(.., |_, until| *until <= now);
        self.changed.extend(over.map(|(owner, _)| (owner, false)));
    }

    /// How many may still believe what they believed before the start.
    pub(crate) fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// Somebody may.
    pub(crate) fn are_awaited(&self) -> bool {
        !self.awaited.is_empty()
    }

    /// What the store has not heard yet: true where it is to know of the owner.
    pub(crate) fn take_changes(&mut self) -> BTreeMap<ClientOwner, bool> {
        std::mem::take(&mut self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ClientOwner = ClientOwner([1; 16]);
    const B: ClientOwner = ClientOwner([2; 16]);
    const S: fn(u64) -> Duration = Duration::from_secs;

    fn changes(holders: &mut Holders) -> Vec<(ClientOwner, bool)> {
        holders.take_changes().into_iter().collect()
    }

    #[test]
    fn the_store_hears_of_each_owner_once_and_when_he_has_left() {
        let mut holders = Holders::default();
        assert!(holders.take(SessionId(1), A));
        assert!(!holders.take(SessionId(1), A), "over the next connection");
        assert_eq!(changes(&mut holders), [(A, true)]);
        holders.end(SessionId(1));
        holders.end(SessionId(1));
        assert_eq!(changes(&mut holders), [(A, false)]);
        // Both before the store has heard of either.
        holders.take(SessionId(2), A);
        holders.end(SessionId(2));
        assert_eq!(changes(&mut holders), [(A, false)]);
    }

    #[test]
    fn after_a_start_all_are_awaited_until_they_are_back_or_their_time_is_up() {
        let mut holders = Holders::new([(A, S(10)), (B, S(60))], S(100));
        holders.ticks(S(110) - Duration::from_nanos(1));
        assert!(holders.are_awaited());
        assert!(holders.take(SessionId(1), A), "with the lease of this start");
        assert_eq!(changes(&mut holders), [(A, true)]);
        assert!(holders.are_awaited());
        holders.ticks(S(160) - Duration::from_nanos(1));
        assert!(holders.are_awaited());
        assert_eq!(changes(&mut holders), []);
        holders.ticks(S(160));
        assert!(!holders.are_awaited());
        assert_eq!(changes(&mut holders), [(B, false)]);
    }
}
