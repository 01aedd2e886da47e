//! Memory in place of `rdma::sys`: plays do not touch a buffer's bytes but cells that stand for them, whose accesses loom orders.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Zeroed memory.
#[derive(Debug)]
pub(crate) struct Mapping {
    bytes: Vec<u8>,
    start: AtomicPtr<u8>,
}

impl Mapping {
    pub(crate) fn anonymous(len: NonZeroUsize) -> std::io::Result<Self> {
        let mut bytes = vec![0; len.get()];
        let start = AtomicPtr::new(bytes.as_mut_ptr());
        Ok(Self { bytes, start })
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start.load(Ordering::Relaxed)
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}
