//! The wire form of every metadata message.
//!
//! A handler sends a [`Call`], the service answers with an [`Answer`]; it may also send a
//! [`Notice`] of its own accord. Which is which, and to what it answers, is the link's framing. Notices that a call causes for the calling session are sent before
//! its answer, on the same ordered connection: when the answer is there, the notices were seen.
//! Encoding is postcard; decoding is total: any bytes give a message or a [`WireError`](super::WireError), never a panic.
//! One encoded message is at most [`MAX_MESSAGE`] bytes; long answers (directories, layouts) come in pages.

use super::reply::Reply;
use super::request::Request;
use crate::attr::Attr;
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::id::{InodeId, LockTicket, RecallId, RequestId, SessionId, Stamp, Term, Version};
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
    /// So many opens of each of these are given back before that (version 4), once however often the call is made; at most [`MAX_CLOSES`]. Only with what is
    /// not idempotent.
    #[serde(skip)]
    pub closes: Vec<(InodeId, u32)>,
}

/// Most inodes of which a call gives opens back on its way.
pub const MAX_CLOSES: usize = 8;

/// What a call is answered with.
pub type Answer = Result<Reply, MetaError>;

/// What a call is answered with where leases are spoken of (version 3): an answer, and how it stands to others.
///
/// A session that takes leases may believe the attributes in `changed` and in the reply, and what the reply says of names, until it is told to forget them
/// ([`Notice::Forget`]), its lease is over, or it learns something with a higher stamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampedAnswer {
    /// Of the step that gave the answer; 0 when the answer was kept from an earlier one, so that nothing of it is to be believed.
    pub stamp: Stamp,
    /// Attributes, as they are now, of inodes that the call changed beside those in the reply: at most [`MAX_CHANGED`].
    pub changed: Vec<Attr>,
    /// The answer.
    pub answer: Answer,
}

impl From<Answer> for StampedAnswer {
    /// An answer of which nothing is to be believed.
    fn from(answer: Answer) -> Self {
        Self {
            stamp: Stamp::NONE,
            changed: Vec::new(),
            answer,
        }
    }
}

/// Most attributes that an answer brings along of what its call changed.
pub const MAX_CHANGED: usize = 8;

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
    /// Another session changes an inode: forget its attributes and, of a directory, all its names, absent ones too, as far as they were learned up to `stamp`.
    Forget {
        /// To be acknowledged with [`Request::Forgotten`] at once; `None`: nobody waits for it.
        recall: Option<RecallId>,
        /// The inode that the notice is about.
        ino: InodeId,
        /// What has this stamp or a lower one is not to be believed any more.
        stamp: Stamp,
    },
}
