//! A call, from its sending on the caller's thread: a future of its answer.

use super::core::Core;
use super::types::LinkError;
use crate::fabric::{FabricError, MAX_MESSAGE};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Waits for an answer.
pub(super) struct Answer {
    /// Why it could not be sent.
    failed: Option<LinkError>,
    /// Its id, until its outcome was taken.
    pending: Option<(Arc<Core>, u64)>,
}

impl Answer {
    /// Sends a call.
    pub(super) fn to_call(core: &Arc<Core>, payload: &[u8], timeout: Duration) -> Self {
        let mut message = Vec::with_capacity(8 + payload.len());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(payload);
        if message.len() > MAX_MESSAGE {
            let why = format!("a call of {} bytes is too long", payload.len());
            return Self::failed(FabricError::Protocol(why).into());
        }
        let begun = core.calls.lock().begin(core.now(), timeout);
        let (id, patience) = match begun {
            Ok(begun) => begun,
            Err(error) => return Self::failed(error.into()),
        };
        core.watch_for(patience);
        message[..8].copy_from_slice(&id.to_le_bytes());
        if let Err(error) = core.endpoint.send(&message) {
            core.calls.lock().forget(id);
            return Self::failed(error.into());
        }
        Self {
            failed: None,
            pending: Some((Arc::clone(core), id)),
        }
    }

    fn failed(error: LinkError) -> Self {
        Self {
            failed: Some(error),
            pending: None,
        }
    }
}

impl Future for Answer {
    type Output = Result<Vec<u8>, LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((core, id)) = &self.pending else {
            let error = self.failed.take().unwrap_or(FabricError::Flushed.into());
            return Poll::Ready(Err(error));
        };
        let waker = context.waker().clone();
        // The old waker is dropped after the lock.
        let (outcome, _old) = core.calls.lock().poll(*id, waker);
        let Some(outcome) = outcome else {
            return Poll::Pending;
        };
        self.pending = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((core, id)) = self.pending.take() {
            let _old = core.calls.lock().abandon(id);
        }
    }
}
