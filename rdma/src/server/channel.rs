//! How a peer's messages travel: on its connection, or over its queue pairs.

use crate::fabric::FabricError;
use crate::stream::{Frame, Mailbox, Socket, watch};
use crate::verbs::VerbsSession;
use nix::poll::PollFd;
use std::sync::Arc;

/// Where a peer's messages come and go.
pub(super) enum Channel {
    /// On the connection by which it came (shm, tcp).
    Stream(Box<Mailbox>),
    /// Over its queue pairs; the connection only says that it lives.
    Queues(Arc<VerbsSession>),
}

impl Channel {
    /// The connection by which the peer came, to watch and to end.
    pub(super) fn socket(&self) -> &Socket {
        match self {
            Self::Stream(mailbox) => mailbox.socket(),
            Self::Queues(session) => session.socket(),
        }
    }

    /// Sends a message, or keeps it: true when somebody must call [`Channel::flush`] once the connection is writable.
    pub(super) fn send(&self, message: &[u8]) -> Result<bool, FabricError> {
        match self {
            Self::Stream(mailbox) => mailbox.send(message),
            Self::Queues(session) => session.send(message).map(|()| false),
        }
    }

    /// Sends what waits for the connection to be writable.
    pub(super) fn flush(&self) -> Result<(), FabricError> {
        match self {
            Self::Stream(mailbox) => mailbox.flush().map(|_| ()),
            Self::Queues(_) => Ok(()),
        }
    }

    /// Moves what has come into `frames`.
    pub(super) fn receive(&self, frames: &mut Vec<Frame>) -> Result<(), FabricError> {
        match self {
            Self::Stream(mailbox) => mailbox.receive(frames),
            Self::Queues(session) => session.receive(frames),
        }
    }

    /// Makes ready for sleeping on [`Channel::watched`]; true when there is something to do already.
    pub(super) fn rest(&self) -> bool {
        match self {
            Self::Stream(_) => false,
            Self::Queues(session) => session.rest(),
        }
    }

    /// What to sleep on; `writing` unless nothing is to be sent any more.
    pub(super) fn watched(&self, writing: bool) -> Vec<PollFd<'_>> {
        match self {
            Self::Stream(mailbox) => vec![watch(mailbox.socket(), writing && mailbox.is_waiting())],
            Self::Queues(session) => vec![watch(session.socket(), false), watch(&**session, false)],
        }
    }

    /// Ends the connection. When this returns no queue pair of the peer is left.
    pub(super) fn end(&self) {
        match self {
            Self::Stream(mailbox) => mailbox.socket().end(),
            Self::Queues(session) => session.end(FabricError::Flushed),
        }
    }
}
