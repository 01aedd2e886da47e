//! The wire form of every metadata message.
//!
//! A handler sends a [`Call`], the service answers with an [`Answer`]; it may also send a
//! [`Notice`] of its own accord. Which is which, and to what it answers, is the link's framing. Notices that a call causes for the calling session are sent before
//! its answer, on the same ordered connection: when the answer is there, the notices were seen.
//! Encoding is postcard; decoding is total: any bytes give a message or a [`WireError`](super::WireError), never a panic.
//! One encoded message is at most [`MAX_MESSAGE`] bytes; long answers (directories, layouts) come in pages.

use super::reply::Reply;
use super::request::Request;
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::{InodeId, LockTicket, RecallId, RequestId, SessionId, Term, Version};
use crate::time::AccessTime;
use serde::{Deserialize, Serialize};

/// The longest encoded message, in bytes.
pub const MAX_MESSAGE: usize = 60 * 1024;

/// One request, with everything that makes a retry recognisable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The session; 0 in [`Request::Begin`].
    pub session: SessionId,
    /// The service's term as the handler knows it; 0 in [`Request::Begin`].
    pub term: Term,
    /// Rises within the session; [`RequestId::NOT_KEPT`] where a retry is harmless.
    pub id: RequestId,
    /// Who asks.
    pub caller: Credentials,
    /// What becomes of the access time of what is read.
    pub access_time: AccessTime,
    /// What is asked.
    pub request: Request,
}

/// What a call is answered with.
pub type Answer = Result<Reply, MetaError>;

/// What the service tells a session of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Notice {
    /// Give up the layout of `ino` from file offset `from` on; answer with [`Request::Recalled`]
    /// once nothing is in flight on it. The extents are reused after that.
    Recall {
        /// Round.
        recall: RecallId,
        /// Inode.
        ino: InodeId,
        /// First file offset.
        from: u64,
        /// [`Attr::shrinks`](crate::attr::Attr::shrinks) from now on.
        shrinks: u64,
    },
    /// Another session changed the file's layout: forget what you know of it, holes too.
    Changed {
        /// Inode.
        ino: InodeId,
        /// Its version now.
        version: Version,
    },
    /// The node ends soon: commit what is written and answer with [`Request::Drained`].
    Drain,
    /// Another session gave an open file file capabilities: the next change of its bytes takes them away.
    Capabilities {
        /// Inode.
        ino: InodeId,
    },
    /// A lock that was waited for is held now.
    Granted {
        /// Which asking.
        ticket: LockTicket,
    },
}
