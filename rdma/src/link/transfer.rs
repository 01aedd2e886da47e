//! The future of a transfer.

use super::core::Core;
use super::table::Aftermath;
use super::types::LinkError;
use crate::buffer::Buffer;
use crate::fabric::FabricError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A transfer that was posted or queued. Dropping it abandons the transfer.
pub(super) struct Transfer {
    /// What is known before the first poll.
    ready: Option<Result<Buffer, LinkError>>,
    /// Where its record stands, until its outcome was taken: the slot is another's after that.
    pending: Option<(Arc<Core>, u32)>,
}

impl Transfer {
    pub(super) fn ready(result: Result<Buffer, LinkError>) -> Self {
        Self {
            ready: Some(result),
            pending: None,
        }
    }

    pub(super) fn pending(core: Arc<Core>, slot: u32) -> Self {
        Self {
            ready: None,
            pending: Some((core, slot)),
        }
    }
}

impl Future for Transfer {
    type Output = Result<Buffer, LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((core, slot)) = &self.pending else {
            let result = self.ready.take();
            return Poll::Ready(result.unwrap_or_else(|| Err(FabricError::Flushed.into())));
        };
        let mut after = Aftermath::default();
        let outcome = core.table.lock().poll(*slot, context.waker(), &mut after);
        after.run();
        let Some(outcome) = outcome else {
            return Poll::Pending;
        };
        self.pending = None;
        Poll::Ready(outcome)
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        if let Some((core, slot)) = self.pending.take() {
            core.abandon(slot);
        }
    }
}
