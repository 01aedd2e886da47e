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
    /// Rises within the session; [`RequestId::NOT_KEPT`] where what is asked is idempotent.
    pub id: RequestId,
    /// For whom the call is made; permissions are checked against these.
    pub caller: Credentials,
    /// What becomes of the access time of what is read.
    pub access_time: AccessTime,
    /// What the service shall do.
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
        /// Which recall: the acknowledgement names it.
        recall: RecallId,
        /// The inode that the notice is about.
        ino: InodeId,
        /// First file offset whose layout is recalled; all after it is, too.
        from: u64,
        /// [`Attr::truncate_seq`](crate::attr::Attr::truncate_seq) from now on.
        truncate_seq: u64,
    },
    /// Another session changed the file's layout: forget what you know of it, holes too.
    Changed {
        /// The inode that the notice is about.
        ino: InodeId,
        /// The version of the file from now on.
        version: Version,
    },
    /// The node ends soon: commit what is written and answer with [`Request::Drained`].
    Drain,
    /// Another session gave an open file file capabilities: the next change of its bytes takes them away.
    Capabilities {
        /// The inode that the notice is about.
        ino: InodeId,
    },
    /// A lock that was waited for is held now.
    Granted {
        /// Which call asked for the lock.
        ticket: LockTicket,
    },
}
