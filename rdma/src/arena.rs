//! The memory that a node lends: one contiguous, zeroed, fully allocated memfd.
//!
//! Sealed against shrinking, growing and further seals; MADV_DONTDUMP; zeroed by memset, never by hole punching, since
//! registered pages would part from the mapping. All accesses go through raw copies: other processes
//! (shm) and NICs touch the same bytes at the same time.

use std::ops::Range;
use std::os::fd::BorrowedFd;

/// A mapped arena: the node's own, or (shm) the handler's view of it.
#[derive(Debug)]
pub struct Arena {
    _private: (),
}

#[allow(
    unused_variables,
    clippy::todo,
    clippy::len_without_is_empty,
    reason = "skeleton"
)]
impl Arena {
    /// Allocates `len` bytes (a multiple of the page size, above 0), all zero, every page present; `progress` is
    /// called with the bytes done so far. Blocking: about 0.3 s per GiB.
    ///
    /// # Errors
    /// Not enough memory, or a system call failed.
    pub fn allocate(len: u64, progress: &mut dyn FnMut(u64)) -> std::io::Result<Self> {
        todo!()
    }

    /// Maps an arena that another process passed, after checking its seals and its size.
    ///
    /// # Errors
    /// It is no sealed memfd of `len` bytes.
    pub fn attach(fd: std::os::fd::OwnedFd, len: u64) -> std::io::Result<Self> {
        todo!()
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        todo!()
    }
    /// To pass to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
    /// Copies arena bytes from `offset` on into `to`. `None` when out of bounds.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Option<()> {
        todo!()
    }
    /// Copies `from` to `offset` on. `None` when out of bounds.
    pub fn write(&self, offset: u64, from: &[u8]) -> Option<()> {
        todo!()
    }
    /// Zeroes a range. `None` when out of bounds.
    pub fn zero(&self, range: Range<u64>) -> Option<()> {
        todo!()
    }
}
