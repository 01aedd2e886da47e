//! Whole handlers without sockets, for tests of this crate and of others. Nothing here is part of the product.
//!
//! [`mount_on_sim`] gives handlers with threads of their own, in real time. A [`Simulation`] is one thread and simulated time: real
//! handlers, real links, a real service with its journal; what happens depends on nothing but what the test does.

mod threaded;
mod store;
mod simulated_peer;
mod host;
mod rules;
mod simulation;

pub use host::{HostId, Started};
pub use rules::Rules;
pub use simulated_peer::Watch;
pub use simulation::Simulation;
pub use store::{SimStore, StoreFault};
pub use threaded::{SimNode, SimPool, mount_on_sim};
