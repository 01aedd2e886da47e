//! The memory that a node lends: one contiguous, zeroed, fully allocated memfd.
//!
//! Sealed against shrinking, growing and further seals; MADV_DONTDUMP; zeroed by memset, never by hole punching, since
//! registered pages would part from the mapping. All accesses go through raw copies: other processes
//! (shm) and NICs touch the same bytes at the same time.
//!
//! So no reference to the mapped bytes is ever formed: Rust would be told that they cannot change under it. Two parties
//! that touch the same bytes at once leave either's bytes, in any mixture, as with any RDMA memory; what the bytes mean
//! is settled above. The seals make a mapped range stay backed: no access can end in SIGBUS.

use crate::sys::Mapping;
use nix::fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

/// Bytes allocated between two calls of `progress`.
const STEP: usize = 64 << 20;

/// What [`Arena::attach`] insists on: the size never changes, and nobody can seal it further (against writing, say).
const SEALS: SealFlag = SealFlag::F_SEAL_SHRINK
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SEAL);

/// A mapped arena: the node's own, or (shm) the handler's view of it.
#[derive(Debug)]
pub struct Arena {
    memory: Mapping,
    fd: OwnedFd,
}

#[allow(clippy::len_without_is_empty, reason = "an arena is never empty")]
impl Arena {
    /// Allocates `len` bytes (a multiple of the page size, above 0), all zero, every page present; `progress` is
    /// called with the bytes done so far. Blocking: about 0.3 s per GiB.
    ///
    /// # Errors
    /// Not enough memory, a length that is no positive multiple of 4,096, or a system call failed.
    pub fn allocate(len: u64, progress: &mut dyn FnMut(u64)) -> io::Result<Self> {
        Self::allocate_while(len, &mut |done| {
            progress(done);
            true
        })
    }

    /// Allocates like [`Arena::allocate`], and stops when `progress` answers `false`.
    ///
    /// # Errors
    /// Not enough memory, a wrong length, or a system call failed; [`io::ErrorKind::Interrupted`] when it was told to stop.
    pub fn allocate_while(len: u64, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<Self> {
        let bytes = whole_pages(len)?;
        let fd = memfd_create(
            "rdmafs-arena",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?;
        nix::unistd::ftruncate(&fd, to_off(len)?)?;
        let memory = Mapping::shared(&fd, bytes)?;
        for start in (0..bytes.get()).step_by(STEP) {
            let step = STEP.min(bytes.get() - start);
            let (at, step_len) = (to_off(start as u64)?, to_off(step as u64)?);
            fallocate(&fd, FallocateFlags::empty(), at, step_len)?;
            memory.populate(start, step)?;
            if !progress((start + step) as u64) {
                return Err(io::ErrorKind::Interrupted.into());
            }
        }
        fcntl(&fd, FcntlArg::F_ADD_SEALS(SEALS))?;
        Ok(Self { memory, fd })
    }

    /// Maps an arena that another process passed, after checking its seals and its size.
    ///
    /// # Errors
    /// It is no sealed memfd of `len` bytes.
    pub fn attach(fd: OwnedFd, len: u64) -> io::Result<Self> {
        let bytes = whole_pages(len)?;
        let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("the arena {what}"));
        let seals = fcntl(&fd, FcntlArg::F_GET_SEALS).map_err(|_| wrong("is no memfd"))?;
        if !SealFlag::from_bits_retain(seals).contains(SEALS) {
            return Err(wrong("is not sealed"));
        }
        if u64::try_from(nix::sys::stat::fstat(&fd)?.st_size) != Ok(len) {
            return Err(wrong("has not the size that its node said"));
        }
        // A child process would keep touching it when the node believes that this one has let go.
        let memory = Mapping::shared(&fd, bytes)?.unforked()?;
        Ok(Self { memory, fd })
    }

    /// Size of the arena in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.memory.len() as u64
    }

    /// First byte and length of the mapping, for registration.
    #[cfg(feature = "verbs")]
    pub(crate) fn mapped(&self) -> (*mut u8, usize) {
        (self.memory.start(), self.memory.len())
    }

    /// To pass to another process.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// True when `[offset, offset + len)` lies in the arena.
    #[must_use]
    pub fn contains(&self, offset: u64, len: u64) -> bool {
        offset.checked_add(len).is_some_and(|end| end <= self.len())
    }

    /// Copies arena bytes from `offset` on into `to`. `None` when out of bounds.
    #[must_use]
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Option<()> {
        let from = self.at(offset, to.len())?;
        // SAFETY: `at` checked that the source lies in the mapping, which `self` keeps; `to` is an exclusive borrow of
        // other memory, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, to.as_mut_ptr(), to.len()) };
        Some(())
    }

    /// Copies `from` to `offset` on. `None` when out of bounds.
    #[must_use]
    pub fn write(&self, offset: u64, from: &[u8]) -> Option<()> {
        let to = self.at(offset, from.len())?;
        // SAFETY: `at` checked that the target lies in the mapping, which `self` keeps and to which no reference exists;
        // so `from` is other memory.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        Some(())
    }

    /// Zeroes a range. `None` when out of bounds.
    #[must_use]
    pub fn zero(&self, range: Range<u64>) -> Option<()> {
        let len = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
        let to = self.at(range.start, len)?;
        // SAFETY: `at` checked that the range lies in the mapping, which `self` keeps and to which no reference exists.
        unsafe { std::ptr::write_bytes(to, 0, len) };
        Some(())
    }

    /// Copies `to`'s length of arena bytes from `from` on to `to`. `None` when out of bounds, or when they overlap.
    #[must_use]
    pub fn copy(&self, from: u64, to: Range<u64>) -> Option<()> {
        let len = to.end.checked_sub(to.start)?;
        if from.abs_diff(to.start) < len {
            return None;
        }
        let len = usize::try_from(len).ok()?;
        let (source, target) = (self.at(from, len)?, self.at(to.start, len)?);
        // SAFETY: `at` checked that both ranges lie in the mapping, which `self` keeps and to which no reference exists; their starts are
        // at least their length apart, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(source, target, len) };
        Some(())
    }

    /// Adds to the little-endian number in the 8 bytes from `offset` on, modulo 2^64; gives what it was. Atomic among all callers of
    /// this and of [`Arena::compare_swap`] on this host's processors, sequentially consistent. `None` when out of bounds or not aligned to 8.
    #[must_use]
    pub fn fetch_add(&self, offset: u64, add: u64) -> Option<u64> {
        let added = |word: u64| Some(u64::from_le(word).wrapping_add(add).to_le());
        let before = self.word(offset)?.fetch_update(SeqCst, SeqCst, added);
        let (Ok(before) | Err(before)) = before;
        Some(u64::from_le(before))
    }

    /// Puts `new` in the place of the number there if it is `expected`; gives what it was. Otherwise like [`Arena::fetch_add`].
    #[must_use]
    pub fn compare_swap(&self, offset: u64, expected: u64, new: u64) -> Option<u64> {
        let swapped = self
            .word(offset)?
            .compare_exchange(expected.to_le(), new.to_le(), SeqCst, SeqCst);
        let (Ok(before) | Err(before)) = swapped;
        Some(u64::from_le(before))
    }

    fn word(&self, offset: u64) -> Option<&AtomicU64> {
        let at = self.at(offset, size_of::<u64>())?;
        if !offset.is_multiple_of(align_of::<u64>() as u64) {
            return None;
        }
        // SAFETY: `at` checked that the 8 bytes lie in the mapping, which `self` keeps for as long as the reference lives. The mapping starts
        // on a page, so they are aligned to 8. A reference to an atomic lets others change the bytes; that some of them do so by plain
        // copies (see the module's head) leaves either's bytes.
        Some(unsafe { AtomicU64::from_ptr(at.cast()) })
    }

    /// Sends `head` and then arena bytes `[offset, offset + len)` on a socket in one system call, without a copy in
    /// between. Answers with the bytes sent, possibly fewer. `None` when out of bounds.
    pub(crate) fn send(
        &self,
        socket: BorrowedFd<'_>,
        head: &[u8],
        offset: u64,
        len: usize,
    ) -> Option<io::Result<usize>> {
        let from = self.at(offset, len)?;
        let mut parts = [
            libc::iovec {
                iov_base: head.as_ptr().cast_mut().cast(),
                iov_len: head.len(),
            },
            libc::iovec {
                iov_base: from.cast(),
                iov_len: len,
            },
        ];
        // SAFETY: all-zero bytes are a valid msghdr: null pointers with zero lengths.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = parts.as_mut_ptr();
        message.msg_iovlen = parts.len();
        // SAFETY: `message` and `parts` live until the call returns; sendmsg(2) only reads the two ranges, the first
        // borrowed as `head`, the second checked by `at`.
        Some(counted(unsafe {
            libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
        }))
    }

    /// Receives up to `len` bytes from a socket straight into the arena from `offset` on. 0 at its end. `None` when out of bounds.
    pub(crate) fn receive(
        &self,
        socket: BorrowedFd<'_>,
        offset: u64,
        len: usize,
    ) -> Option<io::Result<usize>> {
        let to = self.at(offset, len)?;
        // SAFETY: the kernel writes at most `len` bytes from `to` on, which `at` checked to lie in the mapping, and
        // to which no reference exists.
        Some(counted(unsafe {
            libc::recv(socket.as_raw_fd(), to.cast(), len, 0)
        }))
    }

    /// The address of `[offset, offset + len)` if all of it lies in the mapping.
    fn at(&self, offset: u64, len: usize) -> Option<*mut u8> {
        if !self.contains(offset, len as u64) {
            return None;
        }
        let offset = usize::try_from(offset).ok()?;
        // SAFETY: `offset <= len of the mapping`, so the result lies in it or one past its end.
        Some(unsafe { self.memory.start().add(offset) })
    }
}

fn whole_pages(len: u64) -> io::Result<NonZeroUsize> {
    usize::try_from(len)
        .ok()
        .filter(|len| len % 4096 == 0)
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                "an arena has a positive number of whole 4 KiB pages",
            )
        })
}

fn to_off(len: u64) -> io::Result<libc::off_t> {
    libc::off_t::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory.into())
}

/// What a system call that counts bytes returned.
fn counted(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixStream;

    const LEN: u64 = 8 * 4096;

    fn arena() -> Arena {
        Arena::allocate(LEN, &mut |_| ()).unwrap()
    }

    #[test]
    fn it_starts_zeroed_and_reports_progress() {
        let mut said = Vec::new();
        let len = STEP as u64 + 4096;
        let arena = Arena::allocate(len, &mut |done| said.push(done)).unwrap();
        assert_eq!(said, [STEP as u64, len]);
        let mut bytes = vec![1; 4096];
        arena.read(len - 4096, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0));
        assert_eq!(
            nix::sys::stat::fstat(arena.fd()).unwrap().st_blocks * 512,
            len.cast_signed()
        );
    }

    #[test]
    fn odd_sizes_are_refused() {
        for len in [0, 1, 4095, 4097, u64::MAX, u64::MAX - 4095] {
            assert!(Arena::allocate(len, &mut |_| ()).is_err(), "{len}");
        }
    }

    #[test]
    fn bounds_hold_at_below_and_above() {
        let arena = arena();
        let mut four = [0; 4];
        assert!(arena.read(LEN - 4, &mut four).is_some());
        assert!(arena.read(LEN, &mut []).is_some());
        for offset in [LEN - 3, LEN, LEN + 1, u64::MAX - 3, u64::MAX] {
            assert!(arena.read(offset, &mut four).is_none(), "{offset}");
            assert!(arena.write(offset, &four).is_none(), "{offset}");
            assert!(arena.zero(offset..offset.saturating_add(4)).is_none() || offset > LEN);
        }
        assert!(arena.zero(0..LEN + 1).is_none());
        assert!(arena.zero(Range { start: 5, end: 4 }).is_none());
        assert!(arena.zero(0..LEN).is_some());
    }

    #[test]
    fn atomics_are_changed_within_bounds_and_aligned() {
        let arena = arena();
        arena.write(LEN - 8, &9_u64.to_le_bytes()).unwrap();
        assert_eq!(arena.fetch_add(LEN - 8, u64::MAX), Some(9));
        assert_eq!(arena.compare_swap(LEN - 8, 9, 1), Some(8));
        assert_eq!(arena.compare_swap(LEN - 8, 8, 1 << 56), Some(8));
        let mut bytes = [0; 8];
        arena.read(LEN - 8, &mut bytes).unwrap();
        assert_eq!(bytes, [0, 0, 0, 0, 0, 0, 0, 1]);
        for offset in [1, 4, LEN - 7, LEN - 4, LEN, LEN + 8, u64::MAX - 7, u64::MAX] {
            assert_eq!(arena.fetch_add(offset, 1), None, "{offset}");
            assert_eq!(arena.compare_swap(offset, 0, 1), None, "{offset}");
        }
    }

    #[test]
    fn no_addition_of_two_views_is_lost() {
        let arena = arena();
        let view = Arena::attach(arena.fd().try_clone_to_owned().unwrap(), LEN).unwrap();
        std::thread::scope(|scope| {
            for arena in [&arena, &view, &arena, &view] {
                scope.spawn(move || (0..20_000).all(|_| arena.fetch_add(4096, 1).is_some()));
            }
        });
        assert_eq!(arena.fetch_add(4096, 0), Some(80_000));
    }

    #[test]
    fn a_passed_arena_shows_the_same_bytes() {
        let arena = arena();
        let view = Arena::attach(arena.fd().try_clone_to_owned().unwrap(), LEN).unwrap();
        view.write(4095, b"over a page").unwrap();
        let mut bytes = [0; 11];
        arena.read(4095, &mut bytes).unwrap();
        assert_eq!(&bytes, b"over a page");
        arena.zero(4095..4100).unwrap();
        view.read(4095, &mut bytes).unwrap();
        assert_eq!(&bytes, b"\0\0\0\0\0a page");
    }

    #[test]
    fn only_a_sealed_memfd_of_the_size_said_is_attached() {
        let arena = arena();
        let refused = |fd: OwnedFd, len| Arena::attach(fd, len).unwrap_err().to_string();
        let clone = || arena.fd().try_clone_to_owned().unwrap();
        assert!(refused(clone(), LEN + 4096).contains("size"));
        assert!(refused(clone(), LEN - 4096).contains("size"));
        let open = memfd_create("open", MFdFlags::MFD_ALLOW_SEALING).unwrap();
        nix::unistd::ftruncate(&open, i64::try_from(LEN).unwrap()).unwrap();
        assert!(refused(open, LEN).contains("not sealed"));
        let socket = UnixStream::pair().unwrap().0;
        assert!(refused(socket.into(), LEN).contains("no memfd"));
        assert!(nix::unistd::ftruncate(arena.fd(), 0).is_err());
        assert!(fcntl(arena.fd(), FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_err());
    }

    #[test]
    fn sockets_are_served_without_a_copy() {
        let arena = arena();
        let (a, b) = UnixStream::pair().unwrap();
        arena.write(100, b"bytes").unwrap();
        assert_eq!(arena.send(a.as_fd(), b"head", 100, 5).unwrap().unwrap(), 9);
        assert_eq!(arena.receive(b.as_fd(), 200, 9).unwrap().unwrap(), 9);
        let mut got = [0; 10];
        arena.read(200, &mut got).unwrap();
        assert_eq!(&got, b"headbytes\0");
        assert!(arena.send(a.as_fd(), b"", LEN - 4, 5).is_none());
        assert!(arena.receive(b.as_fd(), u64::MAX, 5).is_none());
        drop(a);
        assert_eq!(arena.receive(b.as_fd(), 0, 1).unwrap().unwrap(), 0);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(offset in 0..LEN + 10, bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            let arena = arena();
            let fits = offset + bytes.len() as u64 <= LEN;
            prop_assert_eq!(arena.write(offset, &bytes).is_some(), fits);
            let mut back = vec![0; bytes.len()];
            prop_assert_eq!(arena.read(offset, &mut back).is_some(), fits);
            prop_assert!(!fits || back == bytes);
        }

        #[test]
        fn what_is_copied_is_there_and_ranges_that_overlap_are_refused(
            from in 0..LEN + 10,
            to in 0..LEN + 10,
            len in 0..5000_u64,
        ) {
            let arena = arena();
            let whole = usize::try_from(LEN).unwrap();
            let mut model: Vec<u8> = (0..whole).map(|at| u8::try_from(at % 251).unwrap()).collect();
            arena.write(0, &model).unwrap();
            let possible = from.max(to) + len <= LEN && from.abs_diff(to) >= len;
            prop_assert_eq!(arena.copy(from, to..to + len).is_some(), possible);
            if possible {
                let [from, to, len] = [from, to, len].map(|at| usize::try_from(at).unwrap());
                model.copy_within(from..from + len, to);
            }
            let mut now = vec![0; whole];
            arena.read(0, &mut now).unwrap();
            prop_assert!(now == model);
        }
    }

    #[test]
    fn absurd_copies_are_refused() {
        let arena = arena();
        let absurd = [
            (u64::MAX, 0, 1),
            (0, u64::MAX - 1, u64::MAX),
            (0, 5, 4),
            (LEN, 0, 1),
        ];
        for (from, start, end) in absurd {
            assert!(arena.copy(from, start..end).is_none());
        }
    }
}
