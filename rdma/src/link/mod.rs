//! The shared connection of a handler to one node.
//!
//! All mounts of a host use one link per node: it owns the endpoint, gives each mount a [`Flow`], cuts large transfers
//! into slices, and lets the scheduler decide which slice is posted next within the window of bytes in flight.
//!
//! Locks: the table of transfers and the table of calls have one each, never held together, and neither while an endpoint,
//! a waker, an event or the drop of a buffer or a [`Keep`] runs. Under them no lock is taken but a clock's.

mod types;
mod counters;
mod silence;
mod call;
mod record;
mod table;
mod core;
mod flow;
mod transfer;
mod answer;
mod poller;
mod api;

pub use api::Link;
pub use counters::FlowCounters;
pub use flow::Flow;
pub use poller::Poller;
pub use types::{Keep, LinkConfig, LinkError, LinkEvents};

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
