//! What users of a link configure, implement and are told.

use crate::clock::Clock;
use crate::fabric::FabricError;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Why a transfer or call failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LinkError {
    /// No answer within the timeout of its flow, or of the call.
    #[error("the node did not answer within {0:?}")]
    TimedOut(Duration),
    /// The fabric's reason.
    #[error(transparent)]
    Fabric(#[from] FabricError),
}

/// How a link behaves.
#[derive(Clone)]
pub struct LinkConfig {
    /// Most bytes in flight.
    pub window: u64,
    /// Largest slice that is posted as one work request.
    pub slice: usize,
    /// Optional rate of the whole link in bytes per second, 0 for none.
    pub rate: u64,
    /// The clock of all time limits and shares.
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
