//! The few system calls that this crate makes by hand, behind safe functions.
//!
//! A `Mapping` owns a range of address space and gives out nothing but its raw address: what may be done with the
//! bytes is decided, and proved, by its users, [`arena`](crate::arena), [`buffer`](crate::buffer)
//! and [`verbs`](crate::verbs).

use nix::sys::mman::{self, MapFlags, MmapAdvise, ProtFlags};
use nix::sys::socket::ControlMessageOwned;
use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

/// A readable and writable mapping, unmapped when dropped and left out of core dumps.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: NonNull<c_void>,
    len: NonZeroUsize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and this type lets nobody at its bytes.
unsafe impl Send for Mapping {}
// SAFETY: as above; all methods that take `&self` only read the two fields or call madvise(2), which is thread-safe.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Fresh private memory, all zero, no page of it present yet.
    pub(crate) fn anonymous(len: NonZeroUsize) -> io::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let address = unsafe { mman::mmap_anonymous(None, len, protection, MapFlags::MAP_PRIVATE)? };
        Self { address, len }.undumped()
    }

    /// The first `len` bytes of a file, shared with all who map it.
    pub(crate) fn shared(fd: impl AsFd, len: NonZeroUsize) -> io::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let address = unsafe { mman::mmap(None, len, protection, MapFlags::MAP_SHARED, fd, 0)? };
        Self { address, len }.undumped()
    }

    fn undumped(self) -> io::Result<Self> {
        // SAFETY: the range is this mapping's own; MADV_DONTDUMP leaves its contents alone.
        unsafe { mman::madvise(self.address, self.len.get(), MmapAdvise::MADV_DONTDUMP)? };
        Ok(self)
    }

    /// Leaves the mapping out of children that fork(2) makes.
    pub(crate) fn unforked(self) -> io::Result<Self> {
        // SAFETY: the range is this mapping's own; MADV_DONTFORK leaves its contents alone.
        unsafe { mman::madvise(self.address, self.len.get(), MmapAdvise::MADV_DONTFORK)? };
        Ok(self)
    }

    /// Makes the pages of `[start, start + len)` present, as far as the kernel can (5.14). Out of bounds does nothing.
    pub(crate) fn populate(&self, start: usize, len: usize) -> io::Result<()> {
        if start.checked_add(len).is_none_or(|end| end > self.len.get()) {
            return Ok(());
        }
        // SAFETY: the range was just checked to lie in this mapping; populating changes no byte.
        let done = unsafe {
            let from = NonNull::new_unchecked(self.address.as_ptr().byte_add(start));
            mman::madvise(from, len, MmapAdvise::MADV_POPULATE_WRITE)
        };
        match done {
            Err(nix::Error::EINVAL) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The first byte.
    pub(crate) fn start(&self) -> *mut u8 {
        self.address.as_ptr().cast()
    }

    /// The length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by this value and nobody else unmaps it; users that keep the address also keep
        // the mapping. It cannot fail for a range that was mapped whole.
        let _ = unsafe { mman::munmap(self.address, self.len.get()) };
    }
}

/// SO_NETNS_COOKIE of socket(7), which libc lacks.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// Names the network namespace of a socket, among those of this boot; never 0. From Linux 5.14.
pub(crate) fn network_namespace(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut len: libc::socklen_t = 8;
    // SAFETY: `cookie` is valid for writes of the 8 bytes that `len` says, and `len` is valid for reads and writes.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    match (done, len) {
        (0, 8) => Ok(cookie),
        (0, _) => Err(io::ErrorKind::InvalidData.into()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Names this boot of the kernel.
pub(crate) fn boot_id() -> io::Result<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    u128::from_str_radix(&digits, 16).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Fills `to` with bytes of the kernel's CSPRNG. Blocks only early at boot.
pub(crate) fn random(to: &mut [u8]) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is valid for writes of its length.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        match usize::try_from(got) {
            Ok(got) => done += got,
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(())
}

/// Lets other threads go first from now on (nice 10 for the calling thread). That it cannot be had is no error.
pub(crate) fn give_way() {
    // SAFETY: setpriority(2) takes three integers and touches no memory of ours; on Linux 0 is the calling thread.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// From now on a block of 1 MiB or more of the heap is a mapping of its own, for ever: what is freed goes back to the kernel, and what is
/// asked for zeroed is not touched. By itself glibc takes larger blocks from its heaps once such a block was freed, where they stay in
/// memory, locked, and are zeroed by hand. Other C libraries have no such setting.
pub fn keep_large_blocks_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) takes two integers, locks what it changes, and leaves blocks that are in use as they are.
    let _ = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20) };
}

/// An instruction of a filter of system calls (classic BPF).
pub use libc::sock_filter as Instruction;

/// The kernel runs this program before each system call of every thread of this process, from now on; `log` says that it logs what the
/// program refuses. No new privileges must be set, or the process have CAP_SYS_ADMIN.
///
/// # Errors
/// The kernel or a filter that is there already refuses it, or the program is empty or of more than 4096 instructions.
pub fn filter_system_calls(program: &[Instruction], log: bool) -> io::Result<()> {
    let invalid = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let whole = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(invalid)?,
        filter: program.as_ptr().cast_mut(),
    };
    let logged = if log { libc::SECCOMP_FILTER_FLAG_LOG } else { 0 };
    let flags = libc::SECCOMP_FILTER_FLAG_TSYNC | logged;
    // SAFETY: `whole` is valid for reads, and its `filter` for reads of `len` instructions; the kernel copies them and writes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const whole,
        )
    };
    match done {
        0 => Ok(()),
        ..0 => Err(io::Error::last_os_error()),
        thread => Err(io::Error::other(format!("thread {thread} has another filter"))),
    }
}

/// A descriptor that becomes readable when process `pid` has ended.
pub(crate) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes two integers and touches no memory of ours.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so `fd` is open and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The descriptors that a control message carries; the kernel has just put them into our table. A buffer with room for one
/// may have room for a second, by its padding: whoever wants one drops, and so closes, the rest.
pub fn carried(message: ControlMessageOwned) -> Vec<OwnedFd> {
    let ControlMessageOwned::ScmRights(fds) = message else {
        return Vec::new();
    };
    // SAFETY: the message is consumed and names each descriptor once, so nobody else owns what recvmsg(2) installed for it.
    let owned = fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    owned.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn random_bytes_differ() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        random(&mut a).unwrap();
        random(&mut b).unwrap();
        assert_ne!(a, b);
    }

    #[test]
    fn a_pidfd_is_for_a_process_that_exists() {
        assert!(pidfd(std::process::id()).unwrap().as_raw_fd() > 2);
        assert_eq!(pidfd(0x3fff_ffff).unwrap_err().raw_os_error(), Some(libc::ESRCH));
    }
}
