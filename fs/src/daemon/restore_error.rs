//! Why the mount of a handler that ended is not taken over yet.

use super::begin::BeginError;
use crate::handler::PoolError;
use crate::mounter::MounterError;
use rdmafs_rdma::key::KeyError;
use thiserror::Error;

/// A step of taking over that failed; it is tried again. Whoever reads the log reads why.
#[derive(Debug, Error)]
pub(super) enum RestoreError {
    /// What stands on its directory is in the way.
    #[error("{0}")]
    Standing(String),
    #[error(transparent)]
    Mounter(#[from] MounterError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Pool(#[from] PoolError),
    #[error(transparent)]
    Begin(#[from] BeginError),
}
