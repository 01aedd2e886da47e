//! What a failed verb says, and what a failed completion means.

use super::ffi;
use crate::fabric::FabricError;
use std::ffi::c_int;
use std::io;
use std::ptr::NonNull;
use thiserror::Error;

/// A verb failed.
#[derive(Debug, Error)]
#[error("{verb} failed: {source}")]
pub(super) struct VerbError {
    /// The call of libibverbs that failed.
    pub(super) verb: &'static str,
    /// The system's reason.
    pub(super) source: io::Error,
}

impl From<VerbError> for io::Error {
    fn from(error: VerbError) -> Self {
        let kind = error.source.kind();
        Self::new(kind, error)
    }
}

/// What a verb that makes an object returned: null is a failure that `errno` explains.
pub(super) fn made<T>(verb: &'static str, object: *mut T) -> Result<NonNull<T>, VerbError> {
    NonNull::new(object).ok_or_else(|| VerbError {
        verb,
        source: io::Error::last_os_error(),
    })
}

/// What a verb that does something returned: 0, an error number, or -1 with the number in `errno`.
pub(super) fn done(verb: &'static str, result: c_int) -> Result<(), VerbError> {
    let source = match result {
        0 => return Ok(()),
        code if code > 0 => io::Error::from_raw_os_error(code),
        _ => io::Error::last_os_error(),
    };
    Err(VerbError { verb, source })
}

/// Why work came back without success. Every such status has put the queue pair into its error state.
pub(super) fn meaning(code: u32) -> FabricError {
    let gone = |why: &str| FabricError::Disconnected(why.to_owned());
    match code {
        ffi::IBV_WC_REM_ACCESS_ERR => FabricError::AccessRefused,
        ffi::IBV_WC_WR_FLUSH_ERR => FabricError::Flushed,
        ffi::IBV_WC_RETRY_EXC_ERR => gone("the node's device does not acknowledge"),
        ffi::IBV_WC_RNR_RETRY_EXC_ERR => gone("the peer takes no messages"),
        ffi::IBV_WC_REM_INV_REQ_ERR | ffi::IBV_WC_REM_OP_ERR | ffi::IBV_WC_REM_ABORT_ERR => {
            gone("the peer's queue pair has stopped")
        }
        ffi::IBV_WC_FATAL_ERR => gone("the device has failed"),
        other => gone(&format!("work failed on this host's device (status {other})")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_name_the_verb_and_the_reason() {
        let error = done("ibv_modify_qp", libc::EINVAL).unwrap_err();
        assert!(
            error.to_string().starts_with("ibv_modify_qp failed: Invalid"),
            "{error}"
        );
        assert!(done("ibv_modify_qp", 0).is_ok());
        let error = io::Error::from(done("ibv_reg_mr", libc::ENOMEM).unwrap_err());
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        assert!(made::<u8>("ibv_alloc_pd", std::ptr::null_mut()).is_err());
    }

    #[test]
    fn a_refused_access_is_distinguished_from_a_lost_peer() {
        assert_eq!(meaning(ffi::IBV_WC_REM_ACCESS_ERR), FabricError::AccessRefused);
        assert_eq!(meaning(ffi::IBV_WC_WR_FLUSH_ERR), FabricError::Flushed);
        let unknown = 99;
        for lost in [ffi::IBV_WC_RETRY_EXC_ERR, unknown] {
            assert!(matches!(meaning(lost), FabricError::Disconnected(_)));
        }
    }
}
