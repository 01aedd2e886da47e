//! Framed, non-blocking byte streams (TCP and Unix) that tcp and shm share.
//!
//! A `Socket` moves bytes, `Records` finds the encrypted records in them, a `Mailbox` makes ordered messages
//! of those. `setup` runs the handshake over a socket with a time limit on each step, `admission` hears strangers. A `Fate` is how an
//! endpoint remembers that, and why, it is dead.

mod admission;
mod bell;
mod fate;
mod mailbox;
mod records;
mod setup;
mod socket;

pub(crate) use admission::{Admission, Admitted, turn_away};
pub(crate) use bell::{Bell, ready, watch};
pub(crate) use fate::Fate;
pub(crate) use mailbox::{Frame, Mailbox};
pub(crate) use records::Records;
pub(crate) use setup::{Limits, SetupError, answer, introduce};
pub(crate) use socket::{Received, Socket};
