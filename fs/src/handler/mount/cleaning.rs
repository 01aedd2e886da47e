//! Waiting for space that was freed and is not clean yet.

use super::state::Mount;
use crate::errno::Error;
use rdmafs_meta::error::MetaError;
use std::time::Duration;

/// How long a write waits for freed space to be cleaned.
const CLEANING: Duration = Duration::from_secs(30);
/// Waits between attempts: from, to.
const CLEANING_STEPS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// Waiting for freed space: it is still being recalled and zeroed.
pub(in crate::handler) struct CleaningWait<'a> {
    mount: &'a Mount,
    next: Duration,
    left: Duration,
}

impl<'a> CleaningWait<'a> {
    pub(in crate::handler) fn new(mount: &'a Mount) -> Self {
        Self {
            mount,
            next: CLEANING_STEPS.0,
            left: CLEANING,
        }
    }

    /// Waits when `error` says that trying again may help.
    pub(in crate::handler) async fn wait_or(&mut self, error: Error) -> Result<(), Error> {
        if error != Error::Meta(MetaError::Cleaning) {
            return Err(error);
        }
        if self.left.is_zero() {
            return Err(MetaError::NoSpace.into());
        }
        self.mount.executor().sleep(self.next).await;
        self.left = self.left.saturating_sub(self.next);
        self.next = (self.next * 2).min(CLEANING_STEPS.1);
        Ok(())
    }
}
