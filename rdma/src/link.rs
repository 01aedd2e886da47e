//! The shared connection of a handler to one node.
//!
//! All mounts of a host use one link per node: it owns the endpoint, gives each mount a [`Flow`], cuts large transfers
//! into slices, and lets the scheduler decide which slice is posted next within the window of bytes in flight.

use crate::buffer::Buffer;
use crate::clock::Clock;
use crate::fabric::{Endpoint, FabricError, Facts};
use crate::qos::share::Share;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why a transfer or call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// No answer within the link's timeout.
    #[error("the node did not answer within {0:?}")]
    TimedOut(Duration),
    /// The fabric's reason.
    #[error(transparent)]
    Fabric(#[from] FabricError),
}

/// How a link behaves.
#[derive(Clone)]
pub struct LinkConfig {
    /// Transfers and calls fail with [`LinkError::TimedOut`] after this long, time spent throttled not counted.
    pub timeout: Duration,
    /// Most bytes in flight.
    pub window: u64,
    /// Largest slice that is posted as one work request.
    pub slice: usize,
    /// Optional rate of the whole link in bytes per second, 0 for none.
    pub rate: u64,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Called on the link's poller thread. Must not block.
pub trait LinkEvents: Send + Sync {
    /// A message that answers no call.
    fn notice(&self, message: Vec<u8>);
    /// The link is dead; all its transfers and calls have failed. Said once.
    fn down(&self, error: FabricError);
    /// The poller has dispatched a round of completions: run what became ready.
    fn idle(&self);
}

/// Anything that must live until the work it was given to has really ended, even if nobody waits for it any more.
pub type Keep = Arc<dyn Send + Sync>;

/// A shared, live connection.
pub struct Link {
    _private: (),
}

/// A mount's place in the scheduler of a link; dropping it gives the place back once its work is done.
pub struct Flow {
    _private: (),
}

/// Counters of a flow; all since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FlowCounters {
    /// Bytes read over the link.
    pub read_bytes: u64,
    /// Bytes written over the link.
    pub write_bytes: u64,
    /// Transfers completed.
    pub operations: u64,
    /// Transfers that had to wait for the share or the window.
    pub throttled: u64,
    /// Time transfers waited for that, in microseconds.
    pub throttled_us: u64,
}

#[allow(unused_variables, clippy::todo, clippy::unused_async, reason = "skeleton")]
impl Link {
    /// Takes an endpoint over and starts its poller thread.
    pub fn start(endpoint: Arc<dyn Endpoint>, config: LinkConfig, events: Arc<dyn LinkEvents>) -> Arc<Self> {
        todo!()
    }

    /// What the endpoint is.
    pub fn facts(&self) -> &Facts {
        todo!()
    }

    /// True until the link has failed or was closed.
    pub fn is_up(&self) -> bool {
        todo!()
    }

    /// A place for a mount.
    pub fn open_flow(self: &Arc<Self>, share: Share) -> Flow {
        todo!()
    }

    /// Reads arena bytes `[remote, remote + buffer.len())` into `buffer`. Work with equal `queue_key` uses the same queue.
    /// Posts before it returns when nothing throttles. Dropping the future abandons the transfer: buffer and `keep` live until it has ended.
    pub fn read(
        self: &Arc<Self>,
        flow: &Flow,
        queue_key: u64,
        remote: u64,
        buffer: Buffer,
        keep: Option<Keep>,
    ) -> impl Future<Output = Result<Buffer, LinkError>> + Send + 'static {
        async { todo!() }
    }

    /// Writes `buffer` to arena bytes from `remote` on. Otherwise like [`Link::read`].
    pub fn write(
        self: &Arc<Self>,
        flow: &Flow,
        queue_key: u64,
        remote: u64,
        buffer: Buffer,
        keep: Option<Keep>,
    ) -> impl Future<Output = Result<Buffer, LinkError>> + Send + 'static {
        async { todo!() }
    }

    /// Sends a call and waits (parked) for its answer.
    /// Messages are framed `id: u64 little-endian, payload`: the node answers with the same id; id 0 is a notice.
    pub fn call(
        self: &Arc<Self>,
        payload: &[u8],
    ) -> impl Future<Output = Result<Vec<u8>, LinkError>> + Send + 'static {
        async { todo!() }
    }

    /// Ends the link: everything outstanding fails with [`FabricError::Flushed`]. Idempotent.
    pub fn close(&self) {
        todo!()
    }
}

#[allow(unused_variables, clippy::todo, reason = "skeleton")]
impl Flow {
    /// Changes the share; queued work feels it at once.
    pub fn set_share(&self, share: Share) {
        todo!()
    }
    /// Counters.
    pub fn counters(&self) -> FlowCounters {
        todo!()
    }
}
