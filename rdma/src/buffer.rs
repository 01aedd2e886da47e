//! Registered memory for transfers, handed out as guards.
//!
//! A pool is one slab, so that a NIC holds one MR for it however many transfers are in flight. A [`Buffer`]
//! is exclusive: while a work request runs, the fabric owns the buffer, so no one can touch it under the NIC.
//! Buffers split into disjoint parts (to keep slices of one large request in flight together) and rejoin.
//!
//! The slab is cut into slots of two sizes. A slot counts its parts without any allocation, and free slots are
//! reused last in, first out: the one just used is still in the cache. Who must wait is served in order: a slot
//! that comes free goes to the first waiter directly and is never up for grabs.

use crate::sys::Mapping;
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::task::{Context, Poll, Waker};

/// A part of a pool's slab, owned exclusively; goes back to the pool when all parts of it are dropped.
pub struct Buffer {
    pool: Arc<Slab>,
    slot: usize,
    /// Offset in the slab. `[start, start + len)` lies in `slot` and in no other buffer.
    start: usize,
    len: usize,
}

#[allow(clippy::len_without_is_empty, reason = "a buffer is never empty")]
impl Buffer {
    /// Its length in bytes, above 0.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Splits: `self` keeps `[0, at)`, the answer is `[at, len)`.
    ///
    /// # Panics
    /// Unless `0 < at < len`.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Buffer {
        assert!(0 < at && at < self.len, "split at {at} of {}", self.len);
        // Relaxed is enough to add a part while one is held, as in `Arc::clone`.
        self.pool.parts[self.slot].fetch_add(1, Ordering::Relaxed);
        let rest = Buffer {
            pool: Arc::clone(&self.pool),
            slot: self.slot,
            start: self.start + at,
            len: self.len - at,
        };
        self.len = at;
        rest
    }

    /// Keeps the memory of `[0, len)` from being used for anything else, so that the bytes can be had back when all parts
    /// of this buffer are gone.
    #[must_use]
    pub fn spare(&self) -> Spare {
        // As in `split_off`.
        self.pool.parts[self.slot].fetch_add(1, Ordering::Relaxed);
        // An empty part: a buffer of no bytes, which `reclaim` lets grow.
        let hold = Buffer {
            pool: Arc::clone(&self.pool),
            slot: self.slot,
            start: self.start,
            len: 0,
        };
        Spare { hold, len: self.len }
    }

    /// Joins `next`, which must follow `self` directly in the same slab part.
    ///
    /// # Errors
    /// Gives `next` back when it does not.
    pub fn rejoin(&mut self, mut next: Buffer) -> Result<(), Buffer> {
        let follows = Arc::ptr_eq(&self.pool, &next.pool)
            && self.slot == next.slot
            && self.start + self.len == next.start;
        if !follows {
            return Err(next);
        }
        // `next` gives its bytes up before it is dropped, so they never have two owners.
        self.len += std::mem::take(&mut next.len);
        Ok(())
    }
}

/// A claim on the memory of a [`Buffer`]; gives no access to it.
#[derive(Debug)]
pub struct Spare {
    hold: Buffer,
    len: usize,
}

impl Spare {
    /// The buffer again, with the bytes that it had last; `None` when a part of it, or of another buffer of the same memory,
    /// is still there.
    #[must_use]
    pub fn reclaim(mut self) -> Option<Buffer> {
        // Acquire: what was done by parts that are gone has happened. Who holds the only part is alone: a new one is only ever
        // made from one that is there.
        let alone = self.hold.pool.parts[self.hold.slot].load(Ordering::Acquire) == 1;
        alone.then(|| {
            self.hold.len = self.len;
            self.hold
        })
    }
}

impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: the range lies in the slab (see `start`), which lives as long as `pool` and is initialised (fresh
        // pages are zero); no other buffer overlaps it, and `&self` keeps this one from being written.
        unsafe { std::slice::from_raw_parts(self.pool.memory.start().add(self.start), self.len) }
    }
}

impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference to the range.
        unsafe { std::slice::from_raw_parts_mut(self.pool.memory.start().add(self.start), self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Release and acquire as in `Arc::drop`: all accesses to the slot happen before its reuse.
        if self.pool.parts[self.slot].fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            self.pool.release(self.slot);
        }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffer")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// The slab and its free parts: two size classes, [`BufferPool::SMALL`] and [`BufferPool::LARGE`].
#[derive(Debug, Clone)]
pub struct BufferPool {
    slab: Arc<Slab>,
}

impl BufferPool {
    /// Bytes of a small buffer.
    pub const SMALL: usize = 64 * 1024;
    /// Bytes of a large buffer: the largest FUSE request.
    pub const LARGE: usize = 1 << 20;

    /// Maps a slab with so many buffers of each class; at least one large one, so that every wait can end.
    ///
    /// # Errors
    /// `mmap(2)` failed, or there is no large buffer.
    pub fn new(small: usize, large: usize) -> std::io::Result<Self> {
        let bytes = (|| {
            let small = small.checked_mul(Self::SMALL)?;
            small.checked_add(large.checked_mul(Self::LARGE)?)
        })();
        let bytes = bytes
            .filter(|_| large > 0)
            .and_then(NonZeroUsize::new)
            .ok_or(std::io::ErrorKind::InvalidInput)?;
        let free = Free {
            small: (0..small).rev().collect(),
            large: (small..small + large).rev().collect(),
            ..Free::default()
        };
        let slab = Slab {
            memory: Mapping::anonymous(bytes)?,
            small,
            parts: (0..small + large).map(|_| AtomicU32::new(0)).collect(),
            free: Mutex::new(free),
        };
        Ok(Self { slab: Arc::new(slab) })
    }

    /// A buffer of exactly `len` bytes (1 to [`BufferPool::LARGE`]), its contents unspecified but never another
    /// file's in what the caller then reads: callers fill it before they use it. `None` when none is free. Never blocks.
    ///
    /// # Panics
    /// When `len` is 0 or above [`BufferPool::LARGE`].
    #[must_use]
    pub fn try_get(&self, len: usize) -> Option<Buffer> {
        let class = Class::of(len);
        let slot = self.slab.free.lock().take(class)?;
        Some(self.slab.buffer(slot, len))
    }

    /// The same, waiting (parked) for a free one; waiters are served in order. Dropping the future gives up the place.
    ///
    /// # Panics
    /// When `len` is 0 or above [`BufferPool::LARGE`].
    pub fn get(&self, len: usize) -> impl Future<Output = Buffer> + Send + 'static {
        Get {
            slab: Arc::clone(&self.slab),
            class: Class::of(len),
            len,
            ticket: None,
        }
    }

    /// First byte and length of the slab, for registration.
    #[must_use]
    pub fn slab(&self) -> (*const u8, usize) {
        (self.slab.memory.start(), self.slab.memory.len())
    }
}

/// Which slots will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Any; small ones are preferred.
    Any,
    /// Large ones.
    Large,
}

impl Class {
    fn of(len: usize) -> Self {
        assert!(0 < len && len <= BufferPool::LARGE, "no buffer has {len} bytes");
        if len <= BufferPool::SMALL {
            Self::Any
        } else {
            Self::Large
        }
    }
}

#[derive(Debug)]
struct Slab {
    memory: Mapping,
    /// Slots below this are small and come first in the slab.
    small: usize,
    /// Live buffers of each slot; 0 when it is free.
    parts: Box<[AtomicU32]>,
    /// Wakers run outside this lock.
    free: Mutex<Free>,
}

impl Slab {
    /// A free slot's first buffer. The slot was just taken off a free list, so nobody else has a part of it.
    fn buffer(self: &Arc<Self>, slot: usize, len: usize) -> Buffer {
        self.parts[slot].store(1, Ordering::Relaxed);
        let start = match slot.checked_sub(self.small) {
            None => slot * BufferPool::SMALL,
            Some(large) => self.small * BufferPool::SMALL + large * BufferPool::LARGE,
        };
        Buffer {
            pool: Arc::clone(self),
            slot,
            start,
            len,
        }
    }

    fn release(&self, slot: usize) {
        let woken = self.free.lock().give(slot, slot >= self.small);
        if let Some(waker) = woken {
            waker.wake();
        }
    }
}

/// Free slots and those who wait for one. A waiter that could use a free slot does not exist.
#[derive(Debug, Default)]
struct Free {
    small: Vec<usize>,
    large: Vec<usize>,
    waiting: VecDeque<Waiter>,
    /// Slots that belong to a waiter which has not fetched them yet, by ticket.
    granted: HashMap<u64, usize>,
    next_ticket: u64,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    class: Class,
    waker: Waker,
}

impl Free {
    fn take(&mut self, class: Class) -> Option<usize> {
        match class {
            Class::Any => self.small.pop().or_else(|| self.large.pop()),
            Class::Large => self.large.pop(),
        }
    }

    /// Grants the slot to the first waiter that can use it, whose waker is the answer, or puts it on its free list.
    fn give(&mut self, slot: usize, large: bool) -> Option<Waker> {
        let first = self
            .waiting
            .iter()
            .position(|waiter| large || waiter.class == Class::Any);
        let Some(waiter) = first.and_then(|first| self.waiting.remove(first)) else {
            let list = if large { &mut self.large } else { &mut self.small };
            list.push(slot);
            return None;
        };
        self.granted.insert(waiter.ticket, slot);
        Some(waiter.waker)
    }

    fn enqueue(&mut self, class: Class, waker: Waker) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.waiting.push_back(Waiter { ticket, class, waker });
        ticket
    }
}

/// Waits for a slot. With a ticket it stands in `Free::waiting` or `Free::granted`, without one in neither.
struct Get {
    slab: Arc<Slab>,
    class: Class,
    len: usize,
    ticket: Option<u64>,
}

impl Future for Get {
    type Output = Buffer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Buffer> {
        let slab = Arc::clone(&self.slab);
        let mut free = slab.free.lock();
        let slot = match self.ticket {
            None => free.take(self.class),
            Some(ticket) => free.granted.remove(&ticket),
        };
        if let Some(slot) = slot {
            self.ticket = None;
            return Poll::Ready(slab.buffer(slot, self.len));
        }
        match self.ticket {
            None => self.ticket = Some(free.enqueue(self.class, cx.waker().clone())),
            Some(ticket) => {
                if let Some(waiter) = free.waiting.iter_mut().find(|waiter| waiter.ticket == ticket) {
                    waiter.waker.clone_from(cx.waker());
                }
            }
        }
        Poll::Pending
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut free = self.slab.free.lock();
        free.waiting.retain(|waiter| waiter.ticket != ticket);
        let granted = free.granted.remove(&ticket);
        drop(free);
        if let Some(slot) = granted {
            self.slab.release(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn poll(future: &mut Pin<Box<impl Future<Output = Buffer>>>, count: &Arc<Count>) -> Poll<Buffer> {
        let waker = Waker::from(Arc::clone(count));
        future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn small_ones_fall_back_to_large_ones_and_not_the_other_way() {
        let pool = BufferPool::new(1, 1).unwrap();
        let small = pool.try_get(1).unwrap();
        let large = pool.try_get(BufferPool::SMALL).unwrap();
        assert!(pool.try_get(1).is_none());
        drop(small);
        assert!(pool.try_get(BufferPool::SMALL + 1).is_none());
        drop(large);
        assert_eq!(pool.try_get(BufferPool::LARGE).unwrap().len(), BufferPool::LARGE);
    }

    #[test]
    fn a_pool_without_a_large_buffer_is_refused() {
        assert!(BufferPool::new(4, 0).is_err());
        assert!(BufferPool::new(usize::MAX, 1).is_err());
    }

    #[test]
    #[should_panic(expected = "no buffer has")]
    fn nothing_is_longer_than_a_large_buffer() {
        let pool = BufferPool::new(0, 1).unwrap();
        drop(pool.try_get(BufferPool::LARGE + 1));
    }

    #[test]
    fn the_last_slot_freed_is_used_first() {
        let pool = BufferPool::new(3, 1).unwrap();
        let (a, b) = (pool.try_get(10).unwrap(), pool.try_get(10).unwrap());
        let address = b.as_ptr();
        drop(a);
        drop(b);
        assert_eq!(pool.try_get(10).unwrap().as_ptr(), address);
    }

    #[test]
    fn parts_are_disjoint_and_return_together() {
        let pool = BufferPool::new(0, 1).unwrap();
        let mut head = pool.try_get(100).unwrap();
        let mut tail = head.split_off(40);
        head.fill(1);
        tail.fill(2);
        assert_eq!((head.len(), tail.len()), (40, 60));
        drop(tail);
        assert!(pool.try_get(1).is_none());
        assert!(head.iter().all(|byte| *byte == 1));
        drop(head);
        assert!(pool.try_get(1).is_some());
    }

    #[test]
    fn a_spare_gives_the_bytes_back_when_all_parts_are_gone_and_not_before() {
        let pool = BufferPool::new(0, 1).unwrap();
        let mut head = pool.try_get(100).unwrap();
        head.fill(7);
        let (early, spare) = (head.spare(), head.spare());
        let tail = head.split_off(40);
        drop(head);
        assert!(early.reclaim().is_none(), "a part is still there");
        drop(tail);
        assert!(pool.try_get(1).is_none(), "the spare holds the memory");
        let whole = spare.reclaim().unwrap();
        assert!(whole.len() == 100 && whole.iter().all(|byte| *byte == 7));
        drop(whole);
        assert!(pool.try_get(1).is_some());
    }

    #[test]
    fn only_the_direct_successor_rejoins() {
        let pool = BufferPool::new(0, 2).unwrap();
        let mut a = pool.try_get(30).unwrap();
        let mut b = a.split_off(10);
        let c = b.split_off(10);
        let c = a.rejoin(c).unwrap_err();
        let stranger = pool.try_get(10).unwrap();
        assert!(a.rejoin(stranger).is_err());
        a.rejoin(b).unwrap();
        a.rejoin(c).unwrap();
        assert_eq!(a.len(), 30);
        drop(a);
        let both = (pool.try_get(1), pool.try_get(1));
        assert!(both.0.is_some() && both.1.is_some());
    }

    #[test]
    fn waiters_are_served_in_order_and_a_dropped_one_loses_no_slot() {
        let pool = BufferPool::new(0, 1).unwrap();
        let held = pool.try_get(1).unwrap();
        let wakes: Vec<_> = (0..3).map(|_| Arc::new(Count::default())).collect();
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(pool.get(1))).collect();
        for (future, count) in waiting.iter_mut().zip(&wakes) {
            assert!(poll(future, count).is_pending());
        }
        drop(held);
        let woken = |at: usize| wakes[at].0.load(Ordering::SeqCst);
        assert_eq!((woken(0), woken(1), woken(2)), (1, 0, 0));
        assert!(pool.try_get(1).is_none(), "the slot belongs to the first waiter");
        drop(waiting.remove(0));
        assert_eq!((woken(1), woken(2)), (1, 0));
        assert!(poll(&mut waiting[1], &wakes[2]).is_pending());
        let Poll::Ready(second) = poll(&mut waiting[0], &wakes[1]) else {
            panic!("it was granted a slot")
        };
        drop(waiting);
        drop(second);
        assert!(pool.try_get(1).is_some());
    }

    #[test]
    fn a_small_slot_skips_those_who_need_a_large_one() {
        let pool = BufferPool::new(1, 1).unwrap();
        let (small, large) = (pool.try_get(1).unwrap(), pool.try_get(BufferPool::LARGE).unwrap());
        let count = Arc::new(Count::default());
        let mut first = Box::pin(pool.get(BufferPool::LARGE));
        let mut second = Box::pin(pool.get(1));
        assert!(poll(&mut first, &count).is_pending());
        assert!(poll(&mut second, &count).is_pending());
        drop(small);
        assert!(poll(&mut second, &count).is_ready());
        drop(large);
        assert!(poll(&mut first, &count).is_ready());
    }

    #[test]
    fn threads_never_share_a_byte() {
        let pool = BufferPool::new(2, 2).unwrap();
        std::thread::scope(|scope| {
            for mark in 1..=8u8 {
                let pool = pool.clone();
                scope.spawn(move || {
                    for round in 0..500usize {
                        let Some(mut buffer) = pool.try_get(1 + (round * 977) % 4096) else {
                            continue;
                        };
                        buffer.fill(mark);
                        std::thread::yield_now();
                        assert!(buffer.iter().all(|byte| *byte == mark));
                    }
                });
            }
        });
        let all: Vec<_> = (0..4).map(|_| pool.try_get(1)).collect();
        assert!(all.iter().all(Option::is_some));
    }

    proptest! {
        #[test]
        fn any_splits_rejoin(cuts in proptest::collection::btree_set(1usize..4999, 0..20)) {
            let pool = BufferPool::new(0, 1).unwrap();
            let mut whole = pool.try_get(5000).unwrap();
            for (at, byte) in whole.iter_mut().enumerate() {
                *byte = u8::try_from(at % 251).unwrap();
            }
            let mut parts: Vec<Buffer> = cuts.iter().rev().map(|cut| whole.split_off(*cut)).collect();
            while let Some(next) = parts.pop() {
                prop_assert!(whole.rejoin(next).is_ok());
            }
            prop_assert!(whole.iter().enumerate().all(|(at, byte)| usize::from(*byte) == at % 251));
        }
    }
}
