//! Registered memory for transfers, handed out as guards.
//!
//! A pool is one slab, so that a NIC holds one MR for it however many transfers are in flight. A [`Buffer`]
//! is exclusive: while a work request runs, the fabric owns the buffer, so no one can touch it under the NIC.
//! Buffers split into disjoint parts (to keep slices of one large request in flight together) and rejoin.
//!
//! The slab is cut into slots of two sizes. A slot counts its parts without any allocation, and free slots are
//! reused last in, first out: the one just used is still in the cache. Who must wait is served in order: a slot
//! that comes free goes to the first waiter directly and is never up for grabs.

use crate::sync::{AtomicU32, Mutex, Ordering, fence};
use crate::sys::Mapping;
use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
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

    /// A buffer of exactly `len` bytes, waiting (parked) until one is free; waiters are served in order. Dropping the future gives up the
    /// place.
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
#[path = "buffer/tests.rs"]
mod tests;
