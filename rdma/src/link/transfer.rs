//! A transfer, from its start on the caller's thread: a future.

use super::core::Core;
use super::record::Transmission;
use super::table::Deferred;
use super::types::LinkError;
use crate::buffer::Buffer;
use crate::fabric::FabricError;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A transfer that was posted or queued. Dropping it abandons the transfer.
pub(super) struct LinkTransfer {
    /// What is known before the first poll.
    ready: Option<Result<Buffer, LinkError>>,
    /// Where its record stands, until its outcome was taken: the slot is another's after that.
    pending: Option<(Arc<Core>, u32)>,
}

impl LinkTransfer {
    /// Queues a transfer and posts what may be posted, on this thread.
    pub(super) fn start(core: &Arc<Core>, request: Transmission) -> Self {
        let mut table = core.table.lock();
        if let Some(error) = table.down.clone() {
            drop(table);
            return Self::ready(Err(error.into()));
        }
        let slot = table.admit(request, core.now());
        let mut after = Deferred::default();
        let record = core.pump(table, Some(slot), &mut after);
        after.run();
        match record {
            Some(mut record) => Self::ready(record.result()),
            None => Self {
                ready: None,
                pending: Some((Arc::clone(core), slot)),
            },
        }
    }

    fn ready(result: Result<Buffer, LinkError>) -> Self {
        Self {
            ready: Some(result),
            pending: None,
        }
    }
}

impl Future for LinkTransfer {
    type Output = Result<Buffer, LinkError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((core, slot)) = &self.pending else {
            let result = self.ready.take();
            return Poll::Ready(result.unwrap_or_else(|| Err(FabricError::Flushed.into())));
        };
        let mut after = Deferred::default();
        let outcome = core.table.lock().poll(*slot, context.waker(), &mut after);
        after.run();
        let Some(outcome) = outcome else {
            return Poll::Pending;
        };
        self.pending = None;
        Poll::Ready(outcome)
    }
}

impl Drop for LinkTransfer {
    fn drop(&mut self) {
        if let Some((core, slot)) = self.pending.take() {
            core.abandon(slot);
        }
    }
}
