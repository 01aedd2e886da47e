//! Framed, non-blocking byte streams (TCP and Unix) that tcp and shm share.
//!
//! A `Socket` moves bytes, `Records` finds the encrypted records in them, `SealedFrames` seals and opens them, a `Mailbox` makes ordered messages
//! of those. `setup` runs the handshake over a socket with a time limit on each step, `admission` hears half-open connections. A `CloseReason` is how an
//! endpoint remembers that, and why, it is dead; an `EndpointState` wakes who waits for it, too.

mod admission;
mod waker;
mod close_reason;
mod endpoint_state;
mod sealed;
mod mailbox;
mod records;
mod setup;
mod socket;

pub(crate) use admission::{Admission, Admitted, Keys, turn_away};
#[cfg(feature = "verbs")]
pub(crate) use close_reason::CloseReason;
pub(crate) use endpoint_state::EndpointState;
pub(crate) use mailbox::{Frame, Mailbox};
pub(crate) use records::Records;
pub(crate) use sealed::SealedFrames;
pub(crate) use setup::{Limits, SetupError, answer, introduce};
pub(crate) use socket::{Received, Socket};
pub(crate) use waker::{Waker, ready, watch};
