//! What goes in and out of a mount, in our own types.

use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::InodeId;
use rdmafs_rdma::buffer::Buffer;
use std::ops::Range;
use std::time::Duration;

/// What a mount tells its kernel, from a thread of its own (never a FUSE worker).
pub trait KernelNotify: Send + Sync {
    /// Attributes (size) of the inode changed: the kernel must ask again. `done` is called when the kernel knows.
    fn attributes_changed(&self, ino: InodeId, done: Option<Box<dyn FnOnce() + Send>>);
    /// Bytes of the inode changed by someone else: drop cached pages (and attributes).
    fn data_changed(&self, ino: InodeId);
    /// What programs stored through mappings of the inode is to be written now; pages may be dropped. `done` is called when all of it
    /// was.
    fn write_back(&self, ino: InodeId, done: Box<dyn FnOnce() + Send>);
    /// Bytes of this range were changed past the kernel's cache: what it has of it is to be written back, then dropped. `done` is called
    /// when it was.
    fn drop_range(&self, ino: InodeId, range: Range<u64>, done: Box<dyn FnOnce() + Send>);
}

/// All bytes that a file has or may have: what [`KernelNotify::drop_range`] takes for the whole file.
pub(crate) const WHOLE_FILE: Range<u64> = 0..u64::MAX;

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
    /// O_NOATIME.
    pub no_access_time: bool,
}

/// A byte of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// The file.
    pub handle: HandleId,
    /// Offset of the byte in the file.
    pub offset: u64,
}

/// What `fallocate(2)` does to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceChange {
    /// The range has space from now on; its bytes stay.
    Allocate {
        /// Also past the size, which stays.
        keep_size: bool,
    },
    /// The range has space from now on, and is zeros.
    Zero {
        /// Also past the size, which stays.
        keep_size: bool,
    },
    /// The range is zeros and takes no space; the size stays.
    Punch,
}

/// How a `write(2)`, or a writing back of pages, is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteMode {
    /// The file had O_APPEND when the program wrote: fcntl(2) changes that while it is open, and stores through a mapping are
    /// never appended.
    pub append: bool,
    /// O_SYNC or O_DSYNC. After a write through its cache the kernel asks for an fsync by itself, after a direct one it does not.
    pub sync: bool,
    /// The kernel writes pages of its cache.
    pub write_back: bool,
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
    /// What tells the inode from one with its id in another pool ([`Mount::generation`](super::Mount::generation)).
    pub generation: u32,
}

/// What a read gives: the bytes up to the wanted length or the end of the file. Contiguous data in one buffer.
#[derive(Debug)]
pub enum ReadData {
    /// Bytes of the file, in a buffer of the handler.
    Bytes(Buffer),
    /// So many zero bytes (a hole).
    Zeros(usize),
    /// The end of the file.
    End,
}
