//! The only map from errors to errno.

use rdmafs_meta::error::MetaError;
use rdmafs_rdma::link::LinkError;
use thiserror::Error;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Error {
    /// The namespace refused.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The link failed.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The pool has no live link now.
    #[error("no connection to {0}")]
    Down(String),
    /// The service answered something else than was asked.
    #[error("the node sent an answer that does not fit the request")]
    Protocol,
    /// The caller is being killed.
    #[error("interrupted")]
    Interrupted,
    /// A handle that does not exist, or not open for this.
    #[error("bad handle")]
    BadHandle,
    /// An operation on a read-only mount.
    #[error("the mount is read-only")]
    ReadOnly,
    /// ENOTTY, for ioctls that are not ours.
    #[error("no such ioctl")]
    NoSuchIoctl,
    /// Something in this program failed: a bug.
    #[error("internal error: {0}")]
    Internal(&'static str),
}
