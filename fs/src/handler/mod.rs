//! Files to layouts to byte ranges: everything a mount does, in our own types.
//!
//! A [`Handler`] serves all mounts of a host; mounts of one pool with the same key and fabric share one session, its links,
//! and one inode table. A [`Mount`] is what one FUSE session calls: an operation is an `async fn`, so the compiler makes
//! the owned state machine.

#[doc(hidden)]
pub mod testing;

use crate::control::{LinkStatus, PoolStatus};
use crate::errno::Error;
use crate::executor::Executor;
use crate::options::{MountOptions, Source};
use rdmafs_meta::attr::{Attr, SetAttr};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{DirEntry, NewInode, RenameMode, Space};
use rdmafs_rdma::buffer::Buffer;
use rdmafs_rdma::link::FlowCounters;
use rdmafs_rdma::qos::share::Share;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a mount tells its kernel, from a thread of its own (never a FUSE worker).
pub trait KernelNotify: Send + Sync {
    /// Attributes (size) of the inode changed: the kernel must ask again. `done` is called when the kernel knows.
    fn attributes_changed(&self, ino: InodeId, done: Option<Box<dyn FnOnce() + Send>>);
    /// Bytes of the inode changed by someone else: drop cached pages.
    fn data_changed(&self, ino: InodeId);
}

/// An open file or directory of one mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandleId(pub u64);

/// How `open(2)` asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// O_APPEND.
    pub append: bool,
    /// O_TRUNC.
    pub truncate: bool,
    /// FMODE_EXEC.
    pub execute: bool,
    /// O_DIRECT.
    pub direct: bool,
}

/// How the kernel shall treat an opened file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The handle.
    pub handle: HandleId,
    /// FOPEN_DIRECT_IO.
    pub direct_io: bool,
    /// FOPEN_KEEP_CACHE.
    pub keep_cache: bool,
}

/// An inode that a name led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its attributes, with what this handler wrote and did not commit yet.
    pub attr: Attr,
    /// How long the kernel may believe name and attributes.
    pub ttl: Duration,
}

/// What a read gives: `parts` in order, together the bytes up to the wanted length or the end of the file. Contiguous data in one buffer.
#[derive(Debug)]
pub enum ReadData {
    /// Bytes.
    Bytes(Buffer),
    /// So many zero bytes (a hole).
    Zeros(usize),
    /// The end of the file.
    End,
}

/// All mounts, pools and links of this host.
pub struct Handler {
    _private: (),
}

/// One mount of a pool.
pub struct Mount {
    _private: (),
}

#[allow(
    unused_variables,
    clippy::todo,
    clippy::missing_errors_doc,
    clippy::unused_async,
    reason = "skeleton"
)]
impl Handler {
    /// An empty handler. `run_dir` is where nodes of this host have their sockets.
    pub fn new(executor: Executor, run_dir: PathBuf) -> Arc<Self> {
        todo!()
    }

    /// Connects to the pool (or shares the connection that is there) and opens a mount on it. Blocking. The note says which
    /// fabric is used, and why not the ones before.
    pub fn mount(
        self: &Arc<Self>,
        source: &Source,
        options: &MountOptions,
    ) -> Result<(Arc<Mount>, String), String> {
        todo!()
    }

    /// For `status`.
    pub fn links(&self) -> Vec<LinkStatus> {
        todo!()
    }

    /// For `status`. Asks the nodes; blocking, at most a second.
    pub fn pools(&self) -> Vec<PoolStatus> {
        todo!()
    }
}

#[allow(
    unused_variables,
    clippy::todo,
    clippy::missing_errors_doc,
    clippy::unused_async,
    clippy::too_many_arguments,
    reason = "skeleton"
)]
impl Mount {
    /// Where notifications go; set once, before the first request.
    pub fn set_notify(&self, notify: Arc<dyn KernelNotify>) {
        todo!()
    }
    /// The executor that runs this mount's operations.
    pub fn executor(&self) -> &Executor {
        todo!()
    }
    /// Attribute time to live.
    pub fn ttl(&self) -> Duration {
        todo!()
    }
    /// The share now.
    pub fn share(&self) -> Share {
        todo!()
    }
    /// Changes it.
    pub fn set_share(&self, share: Share) {
        todo!()
    }
    /// Link traffic.
    pub fn traffic(&self) -> FlowCounters {
        todo!()
    }
    /// The mount is gone: closes what is open, and the session after its last mount.
    pub fn close(&self) {
        todo!()
    }

    /// Finds `name` in `parent`; "." and ".." are allowed (NFS export, mount-point crossing).
    pub async fn lookup(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<Entry, Error> {
        todo!()
    }
    /// Attributes.
    pub async fn getattr(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<Entry, Error> {
        todo!()
    }
    /// Changes attributes; `handle` when through an open file.
    pub async fn setattr(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        change: SetAttr,
        handle: Option<HandleId>,
    ) -> Result<Entry, Error> {
        todo!()
    }
    /// Target of a link.
    pub async fn readlink(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<Vec<u8>, Error> {
        todo!()
    }
    /// mkdir, mknod, symlink; `mode` with the umask applied.
    pub async fn make(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
        what: NewInode,
        mode: u16,
    ) -> Result<Entry, Error> {
        todo!()
    }
    /// open(O_CREAT) of a name that the kernel believes is free.
    pub async fn create(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
        mode: u16,
        open: OpenMode,
        exclusive: bool,
    ) -> Result<(Entry, Opened), Error> {
        todo!()
    }
    /// Another name.
    pub async fn link(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<Entry, Error> {
        todo!()
    }
    /// Removes a name of anything but a directory.
    pub async fn unlink(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Removes an empty directory.
    pub async fn rmdir(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Renames.
    pub async fn rename(
        self: Arc<Self>,
        caller: Credentials,
        parent: InodeId,
        name: Vec<u8>,
        new_parent: InodeId,
        new_name: Vec<u8>,
        mode: RenameMode,
    ) -> Result<(), Error> {
        todo!()
    }
    /// Opens a file.
    pub async fn open(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        open: OpenMode,
    ) -> Result<Opened, Error> {
        todo!()
    }
    /// Reads; always to the end of the range or of the file.
    pub async fn read(self: Arc<Self>, handle: HandleId, offset: u64, len: usize) -> Result<ReadData, Error> {
        todo!()
    }
    /// A buffer to put a write's bytes in, at once when one is free (`None`: use [`Mount::wait_buffer`]).
    pub fn try_buffer(&self, len: usize) -> Option<Buffer> {
        todo!()
    }
    /// The same, parked until one is free.
    pub async fn wait_buffer(self: Arc<Self>, len: usize) -> Result<Buffer, Error> {
        todo!()
    }
    /// Writes the buffer; `clear_set_id` as FUSE_WRITE_KILL_SUIDGID says. Gives the number of bytes written.
    pub async fn write(
        self: Arc<Self>,
        handle: HandleId,
        offset: u64,
        data: Buffer,
        clear_set_id: bool,
    ) -> Result<usize, Error> {
        todo!()
    }
    /// close(2): commits what was written.
    pub async fn flush(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        todo!()
    }
    /// fsync(2).
    pub async fn fsync(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        todo!()
    }
    /// The last reference to the handle is gone.
    pub async fn release(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        todo!()
    }
    /// Opens a directory.
    pub async fn opendir(self: Arc<Self>, caller: Credentials, ino: InodeId) -> Result<HandleId, Error> {
        todo!()
    }
    /// A page of entries after cookie `after`. Empty at the end.
    pub async fn readdir(
        self: Arc<Self>,
        handle: HandleId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<DirEntry>, Error> {
        todo!()
    }
    /// fsync(2) of a directory.
    pub async fn fsyncdir(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        todo!()
    }
    /// Closes a directory.
    pub async fn releasedir(self: Arc<Self>, handle: HandleId) -> Result<(), Error> {
        todo!()
    }
    /// Space.
    pub async fn statfs(self: Arc<Self>) -> Result<Space, Error> {
        todo!()
    }
    /// An ioctl on an open file: `rdmafs layout`.
    pub async fn ioctl(
        self: Arc<Self>,
        handle: HandleId,
        command: u32,
        input: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        todo!()
    }
}
