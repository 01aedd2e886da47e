//! A protection domain: what may be used together.

use super::device::Device;
use super::error::{VerbError, made};
use super::ffi;
use std::ptr::NonNull;
use std::sync::Arc;

/// A protection domain; freed when the last of its objects is gone.
#[derive(Debug)]
pub(super) struct Domain {
    raw: NonNull<ffi::ibv_pd>,
    pub(super) device: Arc<Device>,
}

// SAFETY: as for `Device`: libibverbs is thread-safe, and the other field is Send and Sync.
unsafe impl Send for Domain {}
// SAFETY: as above.
unsafe impl Sync for Domain {}

impl Domain {
    pub(super) fn new(device: Arc<Device>) -> Result<Arc<Self>, VerbError> {
        // SAFETY: the device is open, and stays so as long as the answer.
        let raw = made("ibv_alloc_pd", unsafe { ffi::ibv_alloc_pd(device.raw()) })?;
        Ok(Arc::new(Self { raw, device }))
    }

    /// For calls of the library.
    pub(super) fn raw(&self) -> *mut ffi::ibv_pd {
        self.raw.as_ptr()
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, freed only here; regions and queue pairs keep an Arc of `self`, so none is left.
        let freed = unsafe { ffi::ibv_dealloc_pd(self.raw.as_ptr()) };
        if freed != 0 {
            tracing::warn!(device = self.device.name(), "ibv_dealloc_pd failed: {freed}");
        }
    }
}
