//! What a test says to a simulation, and what it is shown.

use crate::fabric::Verb;
use std::time::Duration;

/// The node's side of messages: one in, any number out, in order. Called on the sender's thread with no lock of the
/// simulation held, except the one that keeps this endpoint's messages in order; dropped when the endpoint goes down.
pub type PeerFn = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// How long things take on an endpoint.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Work is complete when `post` returns and answers are there when `send` returns; one queue.
    AtOnce,
    /// Work takes `min` to `max`, drawn from the seed, in order on each of the queues; answers likewise.
    Latency {
        /// The shortest time that work takes.
        min: Duration,
        /// The longest time that work takes.
        max: Duration,
        /// Queue pairs, at least 1.
        queues: usize,
    },
}

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A post completes with an error, a send is refused, a completion becomes an error, a message of the node is lost.
    Error,
    /// The work, message or event vanishes; the work's buffer comes back when the endpoint closes.
    Lose,
    /// The connection breaks.
    Disconnect,
    /// The operation is held back for so long, and what follows it on its way with it.
    Delay(Duration),
    /// The user's side dies: nothing that it did not post before is done, and it hears nothing.
    Die,
}

/// The operations that faults are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Work is posted.
    Post,
    /// A message to the node is sent.
    Send,
    /// Work is done.
    Completion,
    /// The node answers.
    Answer,
    /// The node says something of its own accord (its first 8 bytes are 0, as on a link). No fabric loses one and goes on: what it
    /// asks for would never be done.
    Notice,
}

/// What happens in the arena.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// Which endpoint posted it: [`SimEndpoint::index`](super::SimEndpoint::index).
    pub end: usize,
    /// The queue that it was posted on, as the poster named it.
    pub queue: usize,
    /// Whether the access reads or writes the arena.
    pub verb: Verb,
    /// First byte of the arena that is touched.
    pub remote: u64,
    /// The bytes that are written, or were read.
    pub bytes: &'a [u8],
}

/// Sees every access as it happens. Called under the simulation's lock: it must not use the simulation.
pub type Watcher = Box<dyn FnMut(Access<'_>) + Send>;
