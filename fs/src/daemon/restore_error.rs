//! Why the mount of a handler that ended is not taken over yet.

use super::begin::BeginError;
use crate::handler::PoolError;
use crate::mount::MountError;
use rdmafs_rdma::key::KeyError;
use std::io;
use thiserror::Error;

/// A step of taking over that failed; it is tried again. Whoever reads the log reads why.
#[derive(Debug, Error)]
pub(super) enum RestoreError {
    #[error("its mount namespace cannot be entered: {0}")]
    Namespace(#[source] io::Error),
    #[error("cannot read the mount table: {0}")]
    Table(#[source] io::Error),
    #[error("a mount without a number: {0}")]
    NoNumber(#[source] io::Error),
    /// What stands on its directory is in the way.
    #[error("{0}")]
    Standing(String),
    #[error(transparent)]
    Mount(#[from] MountError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Begin(#[from] BeginError),
}
