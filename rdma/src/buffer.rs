//! Registered memory for transfers, handed out as guards.
//!
//! A pool is one slab, so that a NIC holds one MR for it however many transfers are in flight. A [`Buffer`]
//! is exclusive: while a work request runs, the fabric owns the buffer, so no one can touch it under the NIC.
//! Buffers split into disjoint parts (to keep slices of one large request in flight together) and rejoin.

/// A part of a pool's slab, owned exclusively; goes back to the pool when all parts of it are dropped.
#[derive(Debug)]
pub struct Buffer {
    _private: (),
}

#[allow(
    unused_variables,
    clippy::todo,
    clippy::len_without_is_empty,
    reason = "skeleton"
)]
impl Buffer {
    /// Its length in bytes, above 0.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// Splits: `self` keeps `[0, at)`, the answer is `[at, len)`. Panics unless `0 < at < len`.
    pub fn split_off(&mut self, at: usize) -> Buffer {
        todo!()
    }
    /// Joins `next`, which must follow `self` directly in the same slab part.
    ///
    /// # Errors
    /// Gives `next` back when it does not.
    pub fn rejoin(&mut self, next: Buffer) -> Result<(), Buffer> {
        todo!()
    }
}

#[allow(clippy::todo, reason = "skeleton")]
impl std::ops::Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        todo!()
    }
}

#[allow(clippy::todo, reason = "skeleton")]
impl std::ops::DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        todo!()
    }
}

/// The slab and its free parts: two size classes, [`BufferPool::SMALL`] and [`BufferPool::LARGE`].
#[derive(Debug, Clone)]
pub struct BufferPool {
    _private: (),
}

#[allow(unused_variables, clippy::todo, reason = "skeleton")]
impl BufferPool {
    /// Bytes of a small buffer.
    pub const SMALL: usize = 64 * 1024;
    /// Bytes of a large buffer: the largest FUSE request.
    pub const LARGE: usize = 1 << 20;

    /// Maps a slab with so many buffers of each class.
    ///
    /// # Errors
    /// `mmap(2)` failed.
    pub fn new(small: usize, large: usize) -> std::io::Result<Self> {
        todo!()
    }

    /// A buffer of exactly `len` bytes (1 to [`BufferPool::LARGE`]), its contents unspecified but never another
    /// file's in what the caller then reads: callers fill it before they use it. `None` when none is free. Never blocks.
    pub fn try_get(&self, len: usize) -> Option<Buffer> {
        todo!()
    }

    /// The same, waiting (parked) for a free one.
    pub fn get(&self, len: usize) -> impl Future<Output = Buffer> + Send + 'static {
        async { todo!() }
    }

    /// First byte and length of the slab, for registration.
    pub fn slab(&self) -> (*const u8, usize) {
        todo!()
    }
}
