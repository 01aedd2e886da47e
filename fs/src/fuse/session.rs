//! One mount's FUSE session: the handshake, the worker threads, the end.

use super::adapter::{Adapter, Callers};
use super::meter::Meter;
use super::notify::Notify;
use crate::handler::Mount;
use fuser::{Config, InitFlags, KernelConfig, SessionACL};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

/// The largest request: what the kernel allows by default (256 pages), and the largest registered buffer.
const MAX_WRITE: u32 = 1 << 20;

/// Background requests (cached reads, read-ahead, writeback) in flight: more than can be parked at a time without
/// holding up others.
const MAX_BACKGROUND: u16 = 256;

/// Milliseconds.
const INIT_WAIT: u16 = 5000;

/// What is asked of the kernel, where it has it.
const WANTED: [InitFlags; 10] = [
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_AUTO_INVAL_DATA,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
    // Locks are the service's, so that they hold between hosts.
    InitFlags::FUSE_POSIX_LOCKS,
    InitFlags::FUSE_FLOCK_LOCKS,
    // The kernel asks for ACLs and decides by them.
    InitFlags::FUSE_POSIX_ACL,
    // A default ACL stands in the place of the umask, and the service has it.
    InitFlags::FUSE_DONT_MASK,
];

const NO_IDMAP: &str =
    "this kernel has no idmapped FUSE mounts: use Linux 6.12 or newer, or leave the mount option idmap out";

/// A mount that the kernel has shaken hands with, ready to run.
pub struct FuseSession {
    session: fuser::Session<Adapter>,
    notify: Arc<Notify>,
    meter: Arc<Meter>,
}

impl FuseSession {
    /// Shakes hands on an open and mounted /dev/fuse and joins it to `mount`. Blocking, briefly.
    ///
    /// # Errors
    /// The device is not mounted (any more), another process has shaken hands on it, threads cannot be had, or the kernel has no idmapped
    /// FUSE mounts (before Linux 6.12) and they are wanted.
    pub fn start(mount: Arc<Mount>, device: OwnedFd, callers: Callers) -> io::Result<Self> {
        await_init(&device)?;
        let meter = Arc::new(Meter::default());
        let adapter = Adapter::new(mount.clone(), meter.clone(), callers);
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.n_threads = Some(workers());
        config.clone_fd = true;
        let session =
            fuser::Session::from_fd(adapter, device, SessionACL::All, config).map_err(|error| match error
                .raw_os_error()
            {
                Some(libc::ENOSYS) => io::Error::new(io::ErrorKind::Unsupported, NO_IDMAP),
                _ => error,
            })?;
        let notify = Arc::new(Notify::start(session.notifier(), mount.root())?);
        mount.set_notify(notify.clone());
        Ok(Self {
            session,
            notify,
            meter,
        })
    }

    /// The mount's counters.
    #[must_use]
    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    /// Serves the mount until it is unmounted. Blocking.
    ///
    /// # Errors
    /// The session ended in any other way; the kernel may still believe in it until the process ends.
    pub fn run(self) -> io::Result<()> {
        let ended = self.session.run();
        self.notify.stop();
        ended
    }
}

/// INIT waits in a mounted device from mount(2) on; one that has none is served by someone else, and reading it would
/// block for ever.
fn await_init(device: &OwnedFd) -> io::Result<()> {
    let mut polled = [PollFd::new(device.as_fd(), PollFlags::POLLIN)];
    match poll(&mut polled, INIT_WAIT) {
        Ok(0) => Err(io::Error::other("no INIT request came from it")),
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Two at least, so that one parked in the kernel never is the only one; beyond sixteen they only cost memory.
fn workers() -> usize {
    available_parallelism().map_or(2, usize::from).clamp(2, 16)
}

/// Answers the kernel's INIT. Symbolic links may be cached where nobody needs to hear of it when one is followed again: its target never
/// changes, and its inode id is never used again. Not asked for: the writeback cache (the kernel would ignore other hosts' sizes), atomic
/// O_TRUNC (the kernel would send it before it looks whether the program runs, and O_RDONLY would cut that off), and
/// extended setxattr (fuser misreads it).
///
/// # Errors
/// ENOSYS: idmapped mounts are wanted, and this kernel's FUSE has none.
pub(super) fn negotiate(config: &mut KernelConfig, mount: &Mount, callers: Callers) -> io::Result<()> {
    let links = (!mount.counts_each_access()).then_some(InitFlags::FUSE_CACHE_SYMLINKS);
    // Inode ids are durable and "." and ".." can be looked up: enough for NFS. By a file handle any inode of the pool is found, so a mount of
    // a directory does without.
    let export = (!mount.is_confined()).then_some(InitFlags::FUSE_EXPORT_SUPPORT);
    for flag in WANTED.into_iter().chain(links).chain(export) {
        if config.add_capabilities(flag).is_err() {
            tracing::debug!("this kernel's FUSE lacks {flag:?}");
        }
    }
    let set = config.set_max_write(MAX_WRITE).is_ok()
        && config.set_max_background(MAX_BACKGROUND).is_ok()
        && config.set_time_granularity(Duration::from_nanos(1)).is_ok();
    debug_assert!(set, "these are in fuser's ranges");
    if callers.idmapped && config.add_capabilities(InitFlags::FUSE_ALLOW_IDMAP).is_err() {
        return Err(io::Error::from_raw_os_error(libc::ENOSYS));
    }
    Ok(())
    // Read-ahead starts with what the kernel offers, and is raised on the mount's bdi afterwards.
}
