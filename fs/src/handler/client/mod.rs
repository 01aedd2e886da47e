//! A pool's session: connecting, calls and their retries, reconnecting. The lowest floor of the handler: it knows no file
//! and no mount, and says what happens by [`SessionEvents`].

mod call_counter;
mod connect;
mod node_clock;
mod links;
mod leased;
mod missed;
mod patience;
mod exchange;
mod session;
mod events;
mod holder;
mod outgoing;
mod retry;
mod catching_up;
pub(super) mod maintainer;

pub use connect::ReachError;
pub(super) use connect::{Connect, Nodes};
pub(super) use events::{Reset, SessionEvents, Task};
pub use holder::PoolReplaced;
pub(super) use holder::{Client, NOT_ANSWERING, Parts, SessionState};
pub(super) use leased::{Extra, Found, Known, LONGEST_HELD};
pub(super) use links::Flows;
pub use maintainer::EstablishError;
pub(super) use outgoing::OutgoingCall;
pub(super) use retry::Retry;
pub(super) use session::ClientSession;
