//! How an endpoint remembers that it is dead, and why.

use crate::fabric::FabricError;
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Alive, or dead of the first reason given. Once dead, always dead.
#[derive(Debug, Default)]
pub(crate) struct CloseReason {
    /// Set after `reason`, so that who sees it finds a reason.
    dead: AtomicBool,
    said: AtomicBool,
    reason: Mutex<Option<FabricError>>,
}

impl CloseReason {
    /// Declares it dead; only the first reason counts. True the first time.
    pub(crate) fn end(&self, reason: FabricError) -> bool {
        let mut known = self.reason.lock();
        if known.is_some() {
            return false;
        }
        *known = Some(reason);
        self.dead.store(true, Ordering::Release);
        true
    }

    /// The reason, once dead.
    pub(crate) fn ended(&self) -> Option<FabricError> {
        if !self.dead.load(Ordering::Acquire) {
            return None;
        }
        self.reason.lock().clone()
    }

    /// The reason, to the first who asks once dead.
    pub(crate) fn say_once(&self) -> Option<FabricError> {
        let reason = self.ended()?;
        (!self.said.swap(true, Ordering::AcqRel)).then_some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_reason_stays_and_is_said_once() {
        let close_reason = CloseReason::default();
        assert_eq!((close_reason.ended(), close_reason.say_once()), (None, None));
        assert!(close_reason.end(FabricError::Flushed));
        assert!(!close_reason.end(FabricError::AccessRefused));
        assert_eq!(close_reason.say_once(), Some(FabricError::Flushed));
        assert_eq!(
            (close_reason.say_once(), close_reason.ended()),
            (None, Some(FabricError::Flushed))
        );
    }
}
