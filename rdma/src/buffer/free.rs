//! Free slots of a slab, who holds how many of them, and who waits for one.
//!
//! **A share holds at most as many as are free**, of each size: one share alone has half of the slots, two have a third each, and whoever holds
//! none gets one while any is free (dynamic thresholds: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998). Where none is
//! free, the next goes to the share that holds the fewest, whoever came first. So nobody waits for more than the end of one transfer because of
//! what others do, however slowly theirs go.

use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

/// Which slots will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Any; small ones are preferred.
    Any,
    /// Large ones.
    Large,
}

const CLASSES: [Class; 2] = [Class::Any, Class::Large];

impl Class {
    fn takes(self, size: Size) -> bool {
        self == Self::Any || size == Size::Large
    }
}

/// A slot's size, in the order in which they are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    Small,
    Large,
}

const SIZES: [Size; 2] = [Size::Small, Size::Large];

/// Names a share of a slab.
pub(super) type ShareId = usize;

/// What is not bounded by a share: it takes whatever is free.
pub(super) const WHOLE: ShareId = 0;

/// The slots of one slab. A waiter that may take a free slot does not exist.
#[derive(Debug)]
pub(super) struct Free {
    /// Slots below this are small.
    small: usize,
    /// By size; the one that came back last is taken first: it is still in the cache.
    slots: [Vec<usize>; 2],
    /// Of each slot that is not free.
    owners: Box<[ShareId]>,
    shares: Vec<Share>,
    /// Waiters of all shares.
    waiting: usize,
    /// Slots that belong to a waiter which has not fetched them yet, by ticket.
    granted: HashMap<u64, usize>,
    next_ticket: u64,
}

#[derive(Debug, Default)]
struct Share {
    /// False where the place may be given to a new share.
    is_used: bool,
    held: [usize; 2],
    /// By class, in order of arrival: who can use what comes free is found without a look at those who cannot.
    waiting: [BTreeMap<u64, Waker>; 2],
}

impl Share {
    fn held(&self) -> usize {
        self.held.iter().sum()
    }

    /// The first to arrive of these classes.
    fn first(&self, classes: impl Iterator<Item = Class>) -> Option<(u64, Class)> {
        let firsts = classes.filter_map(|class| {
            let (ticket, _) = self.waiting[class as usize].first_key_value()?;
            Some((*ticket, class))
        });
        firsts.min_by_key(|(ticket, _)| *ticket)
    }
}

impl Free {
    /// All of so many small slots, and so many large ones after them, are free.
    pub(super) fn new(small: usize, large: usize) -> Self {
        let whole = Share {
            is_used: true,
            ..Share::default()
        };
        Self {
            small,
            slots: [(0..small).rev().collect(), (small..small + large).rev().collect()],
            owners: vec![WHOLE; small + large].into(),
            shares: vec![whole],
            waiting: 0,
            granted: HashMap::new(),
            next_ticket: 0,
        }
    }

    pub(super) fn open_share(&mut self) -> ShareId {
        let gone = self.shares.iter().position(|share| !share.is_used);
        let id = gone.unwrap_or_else(|| {
            self.shares.push(Share::default());
            self.shares.len() - 1
        });
        self.shares[id].is_used = true;
        id
    }

    /// Nobody asks for it any more. The caller knows that nobody waits; what it holds comes back to the slab all the same.
    pub(super) fn close_share(&mut self, id: ShareId) {
        debug_assert!(
            self.shares[id].waiting.iter().all(BTreeMap::is_empty),
            "a waiter keeps its share"
        );
        self.shares[id].is_used = false;
    }

    /// A slot for a share that may have one now.
    pub(super) fn take(&mut self, share: ShareId, class: Class) -> Option<usize> {
        let size = SIZES
            .into_iter()
            .find(|size| class.takes(*size) && self.may_take(share, *size))?;
        let slot = self.slots[size as usize].pop()?;
        self.owners[slot] = share;
        self.shares[share].held[size as usize] += 1;
        Some(slot)
    }

    fn may_take(&self, share: ShareId, size: Size) -> bool {
        let free = self.slots[size as usize].len();
        match share {
            WHOLE => free > 0,
            _ => self.shares[share].held[size as usize] < free,
        }
    }

    /// Takes a slot back, and grants what may be taken now. Gives the wakers of those who were granted.
    pub(super) fn give(&mut self, slot: usize) -> Vec<Waker> {
        let size = if slot < self.small {
            Size::Small
        } else {
            Size::Large
        };
        self.shares[self.owners[slot]].held[size as usize] -= 1;
        self.slots[size as usize].push(slot);
        let mut woken = Vec::new();
        while self.waiting > 0
            && let Some((share, ticket, class)) = self.next()
        {
            woken.extend(self.grant(share, ticket, class));
        }
        woken
    }

    /// The waiter that comes next: of the share that holds the fewest of those that may take one.
    fn next(&self) -> Option<(ShareId, u64, Class)> {
        let firsts = self.shares.iter().enumerate().filter_map(|(id, share)| {
            let may = |class: &Class| {
                SIZES
                    .into_iter()
                    .any(|size| class.takes(size) && self.may_take(id, size))
            };
            let (ticket, class) = share.first(CLASSES.into_iter().filter(may))?;
            Some((share.held(), ticket, id, class))
        });
        let (_, ticket, id, class) = firsts.min_by_key(|(held, ticket, ..)| (*held, *ticket))?;
        Some((id, ticket, class))
    }

    fn grant(&mut self, share: ShareId, ticket: u64, class: Class) -> Option<Waker> {
        let waker = self.shares[share].waiting[class as usize].remove(&ticket)?;
        self.waiting -= 1;
        let slot = self.take(share, class)?;
        self.granted.insert(ticket, slot);
        Some(waker)
    }

    /// A place among those who wait.
    pub(super) fn enqueue(&mut self, share: ShareId, class: Class, waker: Waker) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting += 1;
        self.shares[share].waiting[class as usize].insert(ticket, waker);
        ticket
    }

    /// The slot that was granted, once.
    pub(super) fn fetch(&mut self, ticket: u64) -> Option<usize> {
        self.granted.remove(&ticket)
    }

    /// Another waker for a place.
    pub(super) fn renew(&mut self, share: ShareId, ticket: u64, waker: &Waker) {
        let mut waiting = self.shares[share].waiting.iter_mut();
        if let Some(waiter) = waiting.find_map(|waiting| waiting.get_mut(&ticket)) {
            waiter.clone_from(waker);
        }
    }

    /// Gives a place up. A slot that it was granted already is to be given back.
    pub(super) fn cancel(&mut self, share: ShareId, ticket: u64) -> Option<usize> {
        let mut waiting = self.shares[share].waiting.iter_mut();
        if waiting.any(|waiting| waiting.remove(&ticket).is_some()) {
            self.waiting -= 1;
        }
        self.granted.remove(&ticket)
    }
}
