//! Registered memory for transfers, handed out as guards.
//!
//! A pool is one slab, so that a NIC holds one MR for it however many transfers are in flight. A [`Buffer`]
//! is exclusive: while a work request runs, the fabric owns the buffer, so no one can touch it under the NIC.
//! Buffers split into disjoint parts (to keep slices of one large request in flight together) and rejoin.
//!
//! The slab is cut into slots of two sizes. A slot counts its parts without any allocation, and free slots are
//! reused last in, first out: the one just used is still in the cache. A slot that comes free and is waited for
//! goes to a waiter directly and is never up for grabs; to which one, `buffer/free.rs` decides.

#[path = "buffer/free.rs"]
mod free;

use crate::sync::{AtomicU32, Mutex, Ordering, fence};
use crate::sys::Mapping;
use free::{Class, Free, ShareId, WHOLE};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

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
    whole: Arc<Share>,
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
        let slab = Slab {
            memory: Mapping::anonymous(bytes)?,
            small,
            parts: (0..small + large).map(|_| AtomicU32::new(0)).collect(),
            free: Mutex::new(Free::new(small, large)),
        };
        let slab = Arc::new(slab);
        Ok(Self {
            whole: Arc::new(Share { slab, id: WHOLE }),
        })
    }

    /// [`BufferShare::try_get`], without the bound of a share: whatever is free.
    ///
    /// # Panics
    /// As there.
    #[must_use]
    pub fn try_get(&self, len: usize) -> Option<Buffer> {
        self.whole.try_get(len)
    }

    /// [`BufferShare::get`], without the bound of a share.
    ///
    /// # Panics
    /// As there.
    pub fn get(&self, len: usize) -> impl Future<Output = Buffer> + Send + 'static {
        Get::new(&self.whole, len)
    }

    /// A share, for one of those who use the pool at once.
    #[must_use]
    pub fn share(&self) -> BufferShare {
        let slab = Arc::clone(&self.whole.slab);
        let id = slab.free.lock().open_share();
        BufferShare {
            share: Arc::new(Share { slab, id }),
        }
    }

    /// First byte and length of the slab, for registration.
    #[must_use]
    pub fn slab(&self) -> (*const u8, usize) {
        (self.whole.slab.memory.start(), self.whole.slab.memory.len())
    }
}

/// A part of a pool's buffers: of each size at most as many as are free meanwhile, and the next that comes free before those who hold more. What
/// it holds when it is dropped goes back to the pool as ever.
#[derive(Debug)]
pub struct BufferShare {
    share: Arc<Share>,
}

impl BufferShare {
    /// A buffer of exactly `len` bytes (1 to [`BufferPool::LARGE`]), its contents unspecified but never another
    /// file's in what the caller then reads: callers fill it before they use it. `None` when the share may have none now. Never blocks.
    ///
    /// # Panics
    /// When `len` is 0 or above [`BufferPool::LARGE`].
    #[must_use]
    pub fn try_get(&self, len: usize) -> Option<Buffer> {
        self.share.try_get(len)
    }

    /// A buffer of exactly `len` bytes, waiting (parked) until the share may have one; its waiters are served in order. Dropping the future
    /// gives up the place. Who waits here must hold nothing that the end of another transfer waits for.
    ///
    /// # Panics
    /// When `len` is 0 or above [`BufferPool::LARGE`].
    pub fn get(&self, len: usize) -> impl Future<Output = Buffer> + Send + 'static {
        Get::new(&self.share, len)
    }
}

#[derive(Debug)]
struct Share {
    slab: Arc<Slab>,
    id: ShareId,
}

impl Share {
    fn try_get(&self, len: usize) -> Option<Buffer> {
        let slot = self.slab.free.lock().take(self.id, class_of(len))?;
        Some(self.slab.buffer(slot, len))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.id != WHOLE {
            self.slab.free.lock().close_share(self.id);
        }
    }
}

/// The class of a length.
///
/// # Panics
/// When no buffer has it.
fn class_of(len: usize) -> Class {
    assert!(0 < len && len <= BufferPool::LARGE, "no buffer has {len} bytes");
    if len <= BufferPool::SMALL {
        Class::Any
    } else {
        Class::Large
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
        let woken = self.free.lock().give(slot);
        for waker in woken {
            waker.wake();
        }
    }
}

/// Waits for a slot. With a ticket it waits or was granted one, without one neither.
struct Get {
    share: Arc<Share>,
    class: Class,
    len: usize,
    ticket: Option<u64>,
}

impl Get {
    fn new(share: &Arc<Share>, len: usize) -> Self {
        Self {
            share: Arc::clone(share),
            class: class_of(len),
            len,
            ticket: None,
        }
    }
}

impl Future for Get {
    type Output = Buffer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Buffer> {
        let share = Arc::clone(&self.share);
        let mut free = share.slab.free.lock();
        let slot = match self.ticket {
            None => free.take(share.id, self.class),
            Some(ticket) => free.fetch(ticket),
        };
        if let Some(slot) = slot {
            self.ticket = None;
            return Poll::Ready(share.slab.buffer(slot, self.len));
        }
        match self.ticket {
            None => self.ticket = Some(free.enqueue(share.id, self.class, cx.waker().clone())),
            Some(ticket) => free.renew(share.id, ticket, cx.waker()),
        }
        Poll::Pending
    }
}

impl Drop for Get {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let granted = self.share.slab.free.lock().cancel(self.share.id, ticket);
        if let Some(slot) = granted {
            self.share.slab.release(slot);
        }
    }
}

#[cfg(test)]
#[path = "buffer/tests.rs"]
mod tests;
