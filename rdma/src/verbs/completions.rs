//! A completion queue and the channel that wakes who sleeps for it.

use super::device::Device;
use super::error::{VerbError, done, made};
use super::ffi;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;

/// Completions fetched with one call.
const BATCH: usize = 32;

/// A completion queue with a channel of its own.
#[derive(Debug)]
pub(super) struct Completions {
    queue: NonNull<ffi::ibv_cq>,
    channel: Channel,
}

// SAFETY: as for `Device`: libibverbs is thread-safe; the other field is of the same kind.
unsafe impl Send for Completions {}
// SAFETY: as above.
unsafe impl Sync for Completions {}

/// A completion channel, destroyed after the queue that uses it.
#[derive(Debug)]
struct Channel {
    raw: NonNull<ffi::ibv_comp_channel>,
    device: Arc<Device>,
}

impl Completions {
    /// A queue with room for `depth` completions at least, or as many as the device allows.
    pub(super) fn new(device: &Arc<Device>, depth: u32) -> io::Result<Self> {
        // SAFETY: the device is open, and `Channel` keeps it so.
        let raw = made("ibv_create_comp_channel", unsafe {
            ffi::ibv_create_comp_channel(device.raw())
        })?;
        let channel = Channel {
            raw,
            device: Arc::clone(device),
        };
        fcntl(&channel, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let depth = i32::try_from(depth.min(device.limits.completions)).unwrap_or(i32::MAX);
        // SAFETY: device and channel are alive, and stay so as long as the queue; no context pointer is passed.
        let queue =
            unsafe { ffi::ibv_create_cq(device.raw(), depth, std::ptr::null_mut(), channel.raw.as_ptr(), 0) };
        let queue = made("ibv_create_cq", queue)?;
        Ok(Self { queue, channel })
    }

    /// For calls of the library.
    pub(super) fn raw(&self) -> *mut ffi::ibv_cq {
        self.queue.as_ptr()
    }

    /// Moves at most a batch of completions into `into`; true when there may be more. Never blocks.
    pub(super) fn poll(&self, into: &mut Vec<ffi::ibv_wc>) -> Result<bool, VerbError> {
        let mut batch = [const { MaybeUninit::<ffi::ibv_wc>::uninit() }; BATCH];
        let room = i32::try_from(BATCH).unwrap_or(1);
        // SAFETY: the queue is alive; its table of calls was filled when the device was opened. The provider writes at
        // most `room` completions from the start of `batch` on.
        let found = unsafe {
            let poll = (*(*self.queue.as_ptr()).context).ops.poll_cq;
            poll.map(|poll| poll(self.queue.as_ptr(), room, batch.as_mut_ptr().cast()))
        };
        let found = found.unwrap_or(-1);
        let count = usize::try_from(found).map_err(|_| VerbError {
            verb: "ibv_poll_cq",
            source: io::Error::from_raw_os_error(libc::EIO),
        })?;
        for completion in batch.iter().take(count) {
            // SAFETY: the provider has written the first `count` of the batch.
            into.push(unsafe { completion.assume_init_read() });
        }
        Ok(count == BATCH)
    }

    /// Makes the channel readable at the next completion. What came before is not announced: poll after this.
    pub(super) fn arm(&self) -> Result<(), VerbError> {
        // SAFETY: as in `poll`; the call touches no memory of ours.
        let armed = unsafe {
            let arm = (*(*self.queue.as_ptr()).context).ops.req_notify_cq;
            arm.map(|arm| arm(self.queue.as_ptr(), 0))
        };
        done("ibv_req_notify_cq", armed.unwrap_or(libc::ENOSYS))
    }

    /// Takes the announcements off the channel. Never blocks.
    pub(super) fn drain_events(&self) {
        loop {
            let mut queue = std::ptr::null_mut();
            let mut context = std::ptr::null_mut();
            // SAFETY: the channel is alive and does not block; both targets are valid.
            let got =
                unsafe { ffi::ibv_get_cq_event(self.channel.raw.as_ptr(), &raw mut queue, &raw mut context) };
            if got != 0 {
                return;
            }
            // SAFETY: one event of this queue was taken, and is acknowledged once; else destroying the queue would wait.
            unsafe { ffi::ibv_ack_cq_events(queue, 1) };
        }
    }
}

/// The channel, to be watched.
impl AsFd for Completions {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Drop for Completions {
    fn drop(&mut self) {
        // SAFETY: created by `new`, destroyed only here; queue pairs keep an Arc of `self`, so none uses it. All events
        // that were taken were acknowledged.
        let destroyed = unsafe { ffi::ibv_destroy_cq(self.queue.as_ptr()) };
        if let Err(error) = done("ibv_destroy_cq", destroyed) {
            tracing::warn!(device = self.channel.device.name(), "{error}");
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the channel is alive, and its descriptor open as long as it, which `self` keeps.
        unsafe { BorrowedFd::borrow_raw((*self.raw.as_ptr()).fd) }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: created in `Completions::new` and destroyed only here, after its only queue: fields drop in order.
        let destroyed = unsafe { ffi::ibv_destroy_comp_channel(self.raw.as_ptr()) };
        if let Err(error) = done("ibv_destroy_comp_channel", destroyed) {
            tracing::warn!(device = self.device.name(), "{error}");
        }
    }
}
