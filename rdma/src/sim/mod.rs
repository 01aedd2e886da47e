//! A deterministic fabric in one process, for tests: simulated clock, latency, reordering between queues, and a fault at
//! the n-th operation.
//!
//! ```
//! # use rdmafs_rdma::sim::{Pace, Sim};
//! let sim = Sim::new(1 << 20, 42);
//! // The node: each message in gives any number of messages out. This one echoes.
//! let endpoint = sim.endpoint(Pace::AtOnce, Box::new(|message| vec![message.to_vec()]));
//! sim.fail_at(7); // the seventh post, send or event from now on fails
//! sim.advance(std::time::Duration::from_secs(1));
//! # drop(endpoint);
//! ```
//!
//! One [`Sim`] is one memory node: an arena, a clock, and any number of endpoints (one for each session). Give [`Sim::clock`]
//! to the link, so that its timeouts and caps run in simulated time, which moves only when
//! - a test calls [`Sim::advance`], or [`Sim::drive`], which steps from event to event until a future is ready; or,
//! - after [`Sim::advance_on_wait`], a poller waits with work outstanding: the clock then jumps to the next event.
//!
//! Work takes effect when it completes, not when it is posted: a write that is closed over never happens.

mod types;
mod world;
mod shared;
mod endpoint;
mod simulator;

pub use endpoint::SimEndpoint;
pub use simulator::{Sim, SimClock};
pub use types::{Access, Fault, Operation, Pace, PeerFn, Watcher};
