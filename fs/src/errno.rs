//! The only map from errors to errno.

use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::NodeId;
use rdmafs_meta::wire::WireVersion;
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
    /// EIO: the bytes lie on a node to which this handler has no link.
    #[error("no link to node {0} of the pool")]
    NoLink(NodeId),
    /// ESTALE: another pool is served where this one was.
    #[error("another pool is served at {0} now")]
    OtherPool(String),
    /// EIO: what is open is of a pool in whose place another one is served.
    #[error("the pool that this file is of is not served any more")]
    PoolReplaced,
    /// The service answered something else than was asked.
    #[error("the node sent an answer that does not fit the request")]
    Protocol,
    /// EOPNOTSUPP: the node is of a build that does not know what it would be asked.
    #[error("the node speaks protocol {spoken}, and this needs {needed}: upgrade rdmafs on the node's host")]
    NotSpoken {
        /// What is spoken with the node.
        spoken: WireVersion,
        /// What the call needs.
        needed: WireVersion,
    },
    /// The caller is being killed.
    #[error("interrupted")]
    Interrupted,
    /// ENFILE: as many files and directories are open as the user may have.
    #[error("too many files are open at this mount")]
    TooManyOpen,
    /// A handle that does not exist, or not open for this.
    #[error("bad handle")]
    BadHandle,
    /// An operation on a read-only mount.
    #[error("the mount is read-only")]
    ReadOnly,
    /// ENXIO: a seek found nothing.
    #[error("no such place in the file")]
    NoSuchPlace,
    /// EIO: the file was locked, and the locks ended with their session.
    #[error("the locks of this file were lost: close it, or unlock it")]
    LocksLost,
    /// ENOTTY, for ioctls that are not ours.
    #[error("no such ioctl")]
    NoSuchIoctl,
    /// A buffer that is too short for the extended attribute.
    #[error("the buffer is too short for what there is")]
    ShortBuffer,
    /// It was replaced again and again while it was read.
    #[error("the extended attribute changes all the time")]
    Changing,
    /// Something in this program failed: a bug.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Error {
    /// What a program sees, above 0.
    #[must_use]
    pub fn errno(&self) -> i32 {
        match self {
            Self::Meta(error) => meta_errno(*error),
            Self::Link(error) => link_errno(error),
            Self::Down(_) | Self::Protocol | Self::Internal(_) => libc::EIO,
            Self::NoLink(_) | Self::LocksLost | Self::PoolReplaced => libc::EIO,
            Self::OtherPool(_) => libc::ESTALE,
            Self::NotSpoken { .. } => libc::EOPNOTSUPP,
            Self::Interrupted => libc::EINTR,
            Self::TooManyOpen => libc::ENFILE,
            Self::BadHandle => libc::EBADF,
            Self::ReadOnly => libc::EROFS,
            Self::NoSuchPlace => libc::ENXIO,
            Self::NoSuchIoctl => libc::ENOTTY,
            Self::ShortBuffer => libc::ERANGE,
            Self::Changing => libc::EAGAIN,
        }
    }
}

fn meta_errno(error: MetaError) -> i32 {
    match error {
        MetaError::NotFound => libc::ENOENT,
        MetaError::Exists => libc::EEXIST,
        MetaError::NotDirectory => libc::ENOTDIR,
        MetaError::IsDirectory => libc::EISDIR,
        MetaError::NotEmpty => libc::ENOTEMPTY,
        MetaError::AccessDenied => libc::EACCES,
        MetaError::NotOwner => libc::EPERM,
        MetaError::Invalid => libc::EINVAL,
        MetaError::NameTooLong => libc::ENAMETOOLONG,
        MetaError::TooManyLinks => libc::EMLINK,
        MetaError::TooBig => libc::EFBIG,
        // Cleaning is waited for; a program sees it only after that took too long.
        MetaError::NoSpace | MetaError::Cleaning => libc::ENOSPC,
        MetaError::BeyondEnd => libc::ENXIO,
        MetaError::Stale => libc::ESTALE,
        MetaError::Unsupported => libc::EOPNOTSUPP,
        MetaError::Lost | MetaError::Unreachable | MetaError::Delayed => libc::EIO,
        MetaError::SessionEnded | MetaError::StoreFailed => libc::EIO,
        MetaError::StillConnected | MetaError::Draining | MetaError::NotDone => libc::EIO,
        MetaError::NoXattr => libc::ENODATA,
        MetaError::XattrTooBig => libc::E2BIG,
        MetaError::XattrsFull => libc::ENOSPC,
        MetaError::QuotaExceeded => libc::EDQUOT,
        MetaError::TextBusy => libc::ETXTBSY,
        MetaError::NotStaged => libc::EIO,
        MetaError::Locked => libc::EAGAIN,
        MetaError::Deadlock => libc::EDEADLK,
        MetaError::TooManyLocks => libc::ENOLCK,
        MetaError::OtherPool => libc::ESTALE,
        MetaError::Protected => libc::EPERM,
    }
}

fn link_errno(error: &LinkError) -> i32 {
    match error {
        LinkError::TimedOut(_) | LinkError::Fabric(_) => libc::EIO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_rdma::fabric::FabricError;
    use std::time::Duration;

    #[test]
    fn whatever_fails_below_is_eio_and_what_is_refused_keeps_its_name() {
        let broken = [
            Error::Link(LinkError::TimedOut(Duration::from_secs(5))),
            Error::Link(LinkError::Fabric(FabricError::Flushed)),
            Error::Down("node1".into()),
            Error::Protocol,
            MetaError::Lost.into(),
            MetaError::SessionEnded.into(),
            MetaError::Unreachable.into(),
            Error::NoLink(NodeId(2)),
            Error::PoolReplaced,
        ];
        assert!(broken.iter().all(|error| error.errno() == libc::EIO));
        assert_eq!(Error::from(MetaError::AccessDenied).errno(), libc::EACCES);
        assert_eq!(Error::from(MetaError::Cleaning).errno(), libc::ENOSPC);
        assert_eq!(Error::Interrupted.errno(), libc::EINTR);
        let error = Error::NotSpoken {
            spoken: WireVersion::FIRST,
            needed: WireVersion {
                version: 2,
                features: 0,
            },
        };
        assert_eq!(error.errno(), libc::EOPNOTSUPP);
        let wanted =
            "the node speaks protocol version 1, and this needs version 2: upgrade rdmafs on the node's host";
        assert_eq!(error.to_string(), wanted);
        assert_eq!(Error::OtherPool("node1".into()).errno(), libc::ESTALE);
    }
}
