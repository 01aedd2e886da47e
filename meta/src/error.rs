//! Everything the namespace may answer instead of doing what it was asked, and what it finds wrong with itself.
//!
//! Each variant of [`MetaError`] is one reason; `rdmafs_fs::errno` is the only place that turns it into an errno.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What contradicts what in a namespace, in one line. Tests that fail show it, and so does a node that does not begin to serve.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Inconsistency(pub(crate) String);

/// Why the namespace refused. Crosses the wire, so variants are only ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum MetaError {
    /// ENOENT.
    #[error("no such file or directory")]
    NotFound,
    /// EEXIST.
    #[error("it exists already")]
    Exists,
    /// ENOTDIR.
    #[error("not a directory")]
    NotDirectory,
    /// EISDIR.
    #[error("it is a directory")]
    IsDirectory,
    /// ENOTEMPTY.
    #[error("the directory is not empty")]
    NotEmpty,
    /// EACCES: the mode bits refuse it.
    #[error("permission denied")]
    AccessDenied,
    /// EPERM: only the owner or root may do it.
    #[error("only the owner or root may do this")]
    NotOwner,
    /// EINVAL.
    #[error("the request makes no sense")]
    Invalid,
    /// ENAMETOOLONG.
    #[error("the name is longer than 255 bytes")]
    NameTooLong,
    /// EMLINK.
    #[error("too many links to one inode")]
    TooManyLinks,
    /// EFBIG.
    #[error("the file would be larger than a file can be")]
    TooBig,
    /// ENOSPC: no free extents are left, and none are being cleaned.
    #[error("the pool is full")]
    NoSpace,
    /// Space enough is free but still being recalled or zeroed: ask again shortly. Never shown to a program.
    #[error("freed space is still being cleaned")]
    Cleaning,
    /// EIO: the bytes lay in an arena that is gone.
    #[error("the bytes were lost with the memory that held them")]
    Lost,
    /// ENXIO: the bytes are not all before the end of the file.
    #[error("the file ends before that")]
    BeyondEnd,
    /// ESTALE: the inode is gone.
    #[error("the inode does not exist any more")]
    Stale,
    /// The session is unknown or was fenced: begin a new one.
    #[error("the session has ended")]
    SessionEnded,
    /// EOPNOTSUPP.
    #[error("not supported")]
    Unsupported,
    /// EIO: the store of the namespace failed.
    #[error("the store of the namespace failed")]
    StoreFailed,
    /// EIO: an earlier connection of the session is being closed: begin again shortly. Never shown to a program.
    #[error("the session's earlier connection is still being closed")]
    StillConnected,
    /// EIO: the node ends and takes no new sessions.
    #[error("the node is draining")]
    Draining,
    /// The request whose outcome was asked for has not been done. Never shown to a program.
    #[error("the request was not done")]
    NotDone,
    /// ENODATA.
    #[error("there is no such extended attribute")]
    NoXattr,
    /// E2BIG.
    #[error("the value is longer than that of an extended attribute can be")]
    XattrTooBig,
    /// ENOSPC: the inode has as many extended attributes, or bytes in them, as one may have.
    #[error("the inode has as many extended attributes as it can have")]
    XattrsFull,
    /// The first part of a value is not there any more: send it again. Never shown to a program.
    #[error("the first part of the value is gone")]
    NotStaged,
    /// EAGAIN: somebody else has such a lock.
    #[error("somebody else has locked it")]
    Locked,
    /// EDEADLK: it would wait for somebody who waits for it.
    #[error("each would wait for the other's lock for ever")]
    Deadlock,
    /// ENOLCK.
    #[error("there are too many locks")]
    TooManyLocks,
    /// ESTALE: this service serves another pool than the one that was meant.
    #[error("another pool is served here")]
    OtherPool,
    /// EPERM: an inode flag forbids it, to everybody.
    #[error("it is immutable or append-only: see lsattr(1)")]
    Protected,
    /// EIO: the bytes lie in an arena of another node, which the node that was asked has no way to.
    #[error("the bytes lie in memory that the node cannot reach")]
    Unreachable,
    /// Other sessions are still asked to forget what they believe of it: ask again, as the same request. Never shown to a program.
    #[error("other hosts are asked to forget what they know of it")]
    Delayed,
    /// EDQUOT: a user's files have as many names, or as much in attributes and link targets, as one user's may have.
    #[error("the user's files have as many names and attributes as one user's may have")]
    QuotaExceeded,
    /// ETXTBSY: a program with set-id bits, or file capabilities, is not run while somebody else has its file open for writing, nor opened for that while it runs.
    #[error("a set-id program's file is open for writing, or it runs, on another host")]
    TextBusy,
}
