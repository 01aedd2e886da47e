//! A call on its way to an answer: in which session it was asked, and where it may be asked again.

use super::holder::Client;
use super::session::ClientSession;
use crate::errno::Error;
use crate::handler::values::{CallContext, Connection};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, RequestId, SessionId, Term};
use rdmafs_meta::wire::{Call, Request};
use std::time::Duration;

/// A call on its way to an answer.
pub(in crate::handler) struct OutgoingCall {
    pub(super) call: Call,
    pub(in crate::handler) timeout: Duration,
    /// The session in which it may have been done.
    pub(super) asked_in: Option<Connection>,
    /// It was asked more than once: the answer may be an old one.
    repeated: bool,
    /// Only in the session that began over this connection does it mean anything.
    only_in: Option<Connection>,
    /// Asked before it is sent in any session.
    allowed: Option<Allowed>,
    /// Opens to give back on the way, in the session that began over this connection.
    closes: (Connection, Vec<(InodeId, u32)>),
}

type Allowed = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

impl OutgoingCall {
    pub(in crate::handler) fn new(context: CallContext, request: Request) -> Self {
        Self {
            call: Call {
                session: SessionId(0),
                term: Term(0),
                id: RequestId(0),
                caller: context.who,
                access_time: context.access_time,
                request,
                closes: Vec::new(),
            },
            timeout: context.timeout,
            asked_in: None,
            repeated: false,
            only_in: None,
            allowed: None,
            closes: (Connection::default(), Vec::new()),
        }
    }

    /// Makes the call give back so many opens of each of these, if it is made in the session that began over `origin`.
    pub(in crate::handler) fn closing(self, origin: Connection, closes: Vec<(InodeId, u32)>) -> Self {
        Self {
            closes: (origin, closes),
            ..self
        }
    }

    /// Makes the call depend on `allowed`, which is asked in each session that the call is tried in: its error is the answer.
    pub(in crate::handler) fn if_allowed(
        self,
        allowed: impl Fn() -> Result<(), Error> + Send + Sync + 'static,
    ) -> Self {
        Self {
            allowed: Some(Box::new(allowed)),
            ..self
        }
    }

    /// Ties the call to the session that began over `origin`: in a later one it is answered [`MetaError::SessionEnded`].
    pub(in crate::handler) fn only_in(self, origin: Connection) -> Self {
        Self {
            only_in: Some(origin),
            ..self
        }
    }

    /// The session in which the call may have been carried out, and its id there.
    pub(in crate::handler) fn asked(&self) -> Option<(Connection, RequestId)> {
        Some((self.asked_in?, self.call.id))
    }

    /// What was answered may have been so a while ago.
    pub(in crate::handler) fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Prepares it for `session`.
    ///
    /// # Errors
    /// [`Error::Down`]: it was asked in a session that is over, and may not be asked again in another one. [`MetaError::SessionEnded`]: it is not
    /// meant for this one. That of [`OutgoingCall::if_allowed`].
    pub(super) fn enter(&mut self, client: &Client, session: &ClientSession) -> Result<(), Error> {
        self.allowed.as_ref().map_or(Ok(()), |allowed| allowed())?;
        if self.only_in.is_some_and(|origin| origin != session.origin) {
            return Err(MetaError::SessionEnded.into());
        }
        self.repeated |= self.asked_in.is_some();
        match self.asked_in {
            Some(origin) if origin == session.origin => return Ok(()),
            Some(_) if !may_be_asked_anew(&self.call.request) => {
                return Err(Error::Down(client.connect.label()));
            }
            Some(_) | None => {}
        }
        self.call.closes = match self.closes.0 == session.origin {
            true => self.closes.1.clone(),
            false => Vec::new(),
        };
        self.call.id = client.next_request();
        self.asked_in = Some(session.origin);
        Ok(())
    }
}

/// Whether it may be asked in another session, where nobody knows whether the one before has done it. A commit may too: in whichever
/// session, it says the size and times of what was written, and whoever changed them meanwhile did so under way.
fn may_be_asked_anew(request: &Request) -> bool {
    request.is_idempotent() || matches!(request, Request::Commit { .. })
}
