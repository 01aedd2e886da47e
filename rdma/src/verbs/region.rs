//! Registered memory: what a device may touch.

use super::domain::Domain;
use super::error::{VerbError, done, made};
use super::ffi;
use crate::arena::Arena;
use crate::buffer::BufferPool;
use crate::sys::Mapping;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Arc;

/// A memory region; its memory stays mapped, and registered, until it is dropped.
#[derive(Debug)]
pub(super) struct Region {
    raw: NonNull<ffi::ibv_mr>,
    start: u64,
    len: usize,
    domain: Arc<Domain>,
    /// What keeps the memory mapped. Dropped after `drop` has given up the registration.
    memory: Memory,
}

// SAFETY: as for `Device`: libibverbs is thread-safe, and the other fields are Send and Sync or plain data.
unsafe impl Send for Region {}
// SAFETY: as above; bytes of the memory are reached only through raw copies (`Region::put`, `Region::get`) and by devices.
unsafe impl Sync for Region {}

/// Whose memory it is.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "arenas and buffers are kept, so that they stay mapped, and not read"
)]
enum Memory {
    /// The memory that a node lends.
    Arena(Arc<Arena>),
    /// The buffers of a handler's transfers.
    Buffers(BufferPool),
    /// Messages, on either side: of this region alone.
    Own(Mapping),
}

/// Where work finds local memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local {
    pub(super) address: u64,
    pub(super) len: u32,
    pub(super) key: u32,
}

impl Region {
    /// All of an arena, for peers to read, and to write if `writable`.
    pub(super) fn of_arena(
        domain: &Arc<Domain>,
        arena: Arc<Arena>,
        writable: bool,
    ) -> Result<Self, VerbError> {
        let mut access = ffi::IBV_ACCESS_REMOTE_READ;
        if writable {
            access = access | ffi::IBV_ACCESS_LOCAL_WRITE | ffi::IBV_ACCESS_REMOTE_WRITE;
        }
        let (start, len) = arena.mapped();
        Self::register(domain, (start, len), access, Memory::Arena(arena))
    }

    /// All buffers of a pool, for transfers of this host only.
    pub(super) fn of_buffers(domain: &Arc<Domain>, buffers: BufferPool) -> Result<Self, VerbError> {
        let (start, len) = buffers.slab();
        let access = ffi::IBV_ACCESS_LOCAL_WRITE;
        Self::register(domain, (start.cast_mut(), len), access, Memory::Buffers(buffers))
    }

    /// Fresh memory for messages, which peers cannot address.
    pub(super) fn fresh(domain: &Arc<Domain>, len: usize) -> io::Result<Self> {
        let len = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let memory = Mapping::anonymous(len)?.unforked()?;
        let range = (memory.start(), memory.len());
        let access = ffi::IBV_ACCESS_LOCAL_WRITE;
        Ok(Self::register(domain, range, access, Memory::Own(memory))?)
    }

    fn register(
        domain: &Arc<Domain>,
        (start, len): (*mut u8, usize),
        access: i32,
        memory: Memory,
    ) -> Result<Self, VerbError> {
        // SAFETY: the domain is alive; the range is mapped, and stays so as long as `memory`, which the region keeps
        // until it is deregistered. What the device writes there is never under a Rust reference that forbids it: arenas
        // and own memory are reached by raw copies only, and a buffer under work is owned by the endpoint.
        let raw = unsafe { ffi::ibv_reg_mr(domain.raw(), start.cast(), len, access) };
        let raw = made("ibv_reg_mr", raw)?;
        Ok(Self {
            raw,
            start: start.addr() as u64,
            len,
            domain: Arc::clone(domain),
            memory,
        })
    }

    /// Address of its first byte.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The key with which peers name it. As secret as the pool's key.
    pub(super) fn remote_key(&self) -> u32 {
        // SAFETY: the region is registered; the field is never changed.
        unsafe { (*self.raw.as_ptr()).rkey }
    }

    /// A part of it for work; `None` when `[address, address + len)` does not lie in it.
    pub(super) fn local(&self, address: u64, len: usize) -> Option<Local> {
        let offset = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let end = offset.checked_add(len)?;
        (end <= self.len).then_some(Local {
            address,
            len: u32::try_from(len).ok()?,
            // SAFETY: the region is registered; the field is never changed.
            key: unsafe { (*self.raw.as_ptr()).lkey },
        })
    }

    /// Copies `from` to offset `at` of fresh memory. `None` when out of bounds, or when the memory is another's.
    pub(super) fn put(&self, at: usize, from: &[u8]) -> Option<()> {
        let to = self.own(at, from.len())?;
        // SAFETY: `own` checked that the target lies in the mapping, which `self` keeps and to which no reference exists.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        Some(())
    }

    /// Copies fresh memory from offset `at` on to `to`. `None` as for [`Region::put`].
    pub(super) fn get(&self, at: usize, to: &mut [u8]) -> Option<()> {
        let from = self.own(at, to.len())?;
        // SAFETY: `own` checked that the source lies in the mapping, which `self` keeps; `to` is other memory.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        Some(())
    }

    fn own(&self, at: usize, len: usize) -> Option<*mut u8> {
        let Memory::Own(memory) = &self.memory else {
            return None;
        };
        let end = at.checked_add(len)?;
        // SAFETY: `at <= end <= len of the mapping`, so the result lies in it or one past its end.
        (end <= memory.len()).then(|| unsafe { memory.start().add(at) })
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: registered by `register`, given up only here. Work that names it has ended: who posts it keeps the region
        // until its queue pair is destroyed.
        let dropped = unsafe { ffi::ibv_dereg_mr(self.raw.as_ptr()) };
        if let Err(error) = done("ibv_dereg_mr", dropped) {
            tracing::warn!(device = self.domain.device.name(), "{error}");
        }
    }
}
