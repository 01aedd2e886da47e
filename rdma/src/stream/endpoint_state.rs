//! What the endpoints of all fabrics have in common: whether they are alive, and the thread that may sleep in them.

use super::close_reason::CloseReason;
use super::waker::{Waker, ready, watch};
use crate::fabric::FabricError;
use nix::poll::PollFd;
use std::io;
use std::time::Duration;

/// Alive, or dead of the first reason given; and the waker of whoever waits for events.
#[derive(Debug)]
pub(crate) struct EndpointState {
    close_reason: CloseReason,
    waker: Waker,
}

impl EndpointState {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            close_reason: CloseReason::default(),
            waker: Waker::new()?,
        })
    }

    /// Declares the endpoint dead and wakes who waits; only the first reason counts.
    pub(crate) fn end(&self, reason: FabricError) {
        self.close_reason.end(reason);
        self.waker.wake();
    }

    /// Declares the endpoint dead and wakes nobody: true the first time.
    pub(crate) fn end_quietly(&self, reason: FabricError) -> bool {
        self.close_reason.end(reason)
    }

    /// The reason, once dead.
    pub(crate) fn ended(&self) -> Option<FabricError> {
        self.close_reason.ended()
    }

    /// # Errors
    /// The reason, once dead.
    pub(crate) fn check(&self) -> Result<(), FabricError> {
        self.ended().map_or(Ok(()), Err)
    }

    /// The reason, to the first who asks once dead.
    pub(crate) fn say_once(&self) -> Option<FabricError> {
        self.close_reason.say_once()
    }

    /// Ends the current or next sleep.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// What must be watched first of all in [`EndpointState::sleep`].
    pub(crate) fn watched(&self) -> PollFd<'_> {
        watch(&self.waker, false)
    }

    /// Sleeps until something watched is ready, at most for `timeout`; false when nothing is. The first of `watched` is
    /// [`EndpointState::watched`]; a wake is forgotten once it was seen here.
    pub(crate) fn sleep(&self, watched: &mut [PollFd<'_>], timeout: Duration) -> bool {
        let woken = ready(watched, timeout).unwrap_or(false);
        if woken && watched[0].any().unwrap_or(false) {
            self.waker.clear();
        }
        woken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_wakes_who_sleeps_and_a_quiet_one_does_not() {
        let state = EndpointState::new().unwrap();
        let sleeps = || !state.sleep(&mut [state.watched()], Duration::ZERO);
        assert!(sleeps() && state.check().is_ok());
        assert!(state.end_quietly(FabricError::AccessRefused));
        assert!(sleeps());
        state.end(FabricError::Flushed);
        assert!(!sleeps(), "it is told");
        assert!(sleeps(), "once");
        assert_eq!(state.check(), Err(FabricError::AccessRefused));
        assert_eq!(state.say_once(), state.ended());
        assert_eq!(state.say_once(), None);
    }
}
