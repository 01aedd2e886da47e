//! Doing again, over the connection that replaces a lost one, what the lost one left undone.
//!
//! A session begins or goes on over a new connection only after the node has fenced the one before: queue pairs destroyed, sockets
//! drained, mappings given up. So nothing of a first attempt can arrive after the second one. A READ or WRITE is simply done again. A
//! call is asked again under its id in the session in which it was asked first: the service answers it again if it did it, and does it
//! if it did not. In another session nobody knows whether it was done, so only what is harmless to repeat is asked there.

use super::pool::Pool;
use super::session::{Connection, Session};
use crate::errno::Error;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{RequestId, SessionId, Term};
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{Call, Reply, Request};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::LinkError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;

/// Calls of a pool that may be under way at once whose answers the service must keep; it keeps twice as many.
pub(super) const UNDER_WAY: usize = 128;

/// Who asks, and how long that may take.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) who: Credentials,
    pub(super) access_time: AccessTime,
    pub(super) timeout: Duration,
}

/// A call on its way to an answer.
pub(super) struct Question {
    call: Call,
    timeout: Duration,
    /// The session in which it may have been done.
    asked_in: Option<Connection>,
    /// It was asked more than once: the answer may be an old one.
    repeated: bool,
    /// Only in the session that began over this connection does it mean anything.
    only_in: Option<Connection>,
    /// Asked before it is sent in any session.
    allowed: Option<Allowed>,
}

type Allowed = Box<dyn Fn() -> Result<(), Error> + Send + Sync>;

impl Question {
    pub(super) fn new(asker: Asker, request: Request) -> Self {
        Self {
            call: Call {
                session: SessionId(0),
                term: Term(0),
                id: RequestId(0),
                caller: asker.who,
                access_time: asker.access_time,
                request,
            },
            timeout: asker.timeout,
            asked_in: None,
            repeated: false,
            only_in: None,
            allowed: None,
        }
    }

    /// The same, but an error of `allowed` is the answer in a session for which it gives one.
    pub(super) fn if_allowed(self, allowed: impl Fn() -> Result<(), Error> + Send + Sync + 'static) -> Self {
        Self {
            allowed: Some(Box::new(allowed)),
            ..self
        }
    }

    /// The same, for the session that began over `origin` only: in a later one it is answered [`MetaError::SessionEnded`].
    pub(super) fn only_in(self, origin: Connection) -> Self {
        Self {
            only_in: Some(origin),
            ..self
        }
    }

    /// The session in which it may have been done, and its id there.
    pub(super) fn asked(&self) -> Option<(Connection, RequestId)> {
        Some((self.asked_in?, self.call.id))
    }

    /// What was answered may have been so a while ago.
    pub(super) fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Prepares it for `session`.
    ///
    /// # Errors
    /// [`Error::Down`]: it was asked in a session that is over, and is not harmless to repeat. [`MetaError::SessionEnded`]: it is not
    /// meant for this one. That of [`Question::if_allowed`].
    fn enter(&mut self, pool: &Pool, session: &Session) -> Result<(), Error> {
        self.allowed.as_ref().map_or(Ok(()), |allowed| allowed())?;
        if self.only_in.is_some_and(|origin| origin != session.origin) {
            return Err(MetaError::SessionEnded.into());
        }
        self.repeated |= self.asked_in.is_some();
        match self.asked_in {
            Some(origin) if origin == session.origin => return Ok(()),
            Some(_) if !is_harmless(&self.call.request) => return Err(Error::Down(pool.connect.label())),
            Some(_) | None => {}
        }
        self.call.id = pool.next_request();
        self.asked_in = Some(session.origin);
        Ok(())
    }
}

impl Pool {
    /// Asks until there is an answer, or the asker's time is over.
    ///
    /// # Errors
    /// [`Error::Down`], the link's, or the service's.
    pub(super) async fn ask(&self, question: &mut Question) -> Result<(Arc<Session>, Reply), Error> {
        let again = Again::new(self, question.timeout);
        let _place = match is_harmless(&question.call.request) {
            true => None,
            false => Some(self.place(question.timeout).await?),
        };
        loop {
            let session = self.session(question.timeout).await?;
            let first = question.asked_in.is_none();
            question.enter(self, &session)?;
            match session.send(&mut question.call, question.timeout).await {
                Ok(reply) => return Ok((session, reply)),
                Err(error) => {
                    if first && error == Error::Meta(MetaError::SessionEnded) {
                        // The service did not do what was asked.
                        question.asked_in = None;
                    }
                    if !again.after(&session, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// A place among the calls under way.
    async fn place(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.under_way.try_acquire() {
            return Ok(place);
        }
        let place = Box::pin(self.under_way.acquire());
        let place = self.executor.within(timeout, place).await;
        // The semaphore is never closed.
        place
            .and_then(Result::ok)
            .ok_or_else(|| Error::Down(self.connect.label()))
    }

    /// Asks in the handler's own name in the session that began over `origin`, however long its connections take to come back. `None`
    /// when that session is over.
    pub(super) async fn ask_in(&self, origin: Connection, request: Request) -> Option<Result<Reply, Error>> {
        let asker = Asker {
            who: Credentials::root(),
            access_time: AccessTime::default(),
            timeout: self.timeout,
        };
        let mut question = Question::new(asker, request);
        question.call.id = self.next_request();
        loop {
            let session = self.session_of(origin).await?;
            match session.send(&mut question.call, self.timeout).await {
                Err(error) if is_lost(&session, &error) => self.lost(&session, &error.to_string()),
                Err(error) if is_unheard(&error) => self.executor.sleep(UNHEARD).await,
                done => return Some(done),
            }
        }
    }

    /// Asks what is harmless to repeat in the handler's own name until the node has heard it, or this connection is over: then there is
    /// nobody to whom it would mean anything.
    pub(super) async fn ask_over(&self, session: &Session, request: Request) -> Result<Reply, Error> {
        loop {
            match session.call_as_root(request.clone()).await {
                Err(error) if is_unheard(&error) && session.link.is_up() => {
                    self.executor.sleep(UNHEARD).await
                }
                done => return done,
            }
        }
    }
}

/// An operation that may be done again while nine tenths of its timeout are not over, counted from its start: the rest
/// is for its answer to get to the program in time.
pub(super) struct Again<'a> {
    pool: &'a Pool,
    until: Duration,
    timeout: Duration,
}

impl<'a> Again<'a> {
    pub(super) fn new(pool: &'a Pool, timeout: Duration) -> Self {
        Self {
            pool,
            until: pool.clock.now() + timeout.saturating_mul(9) / 10,
            timeout,
        }
    }

    /// Whether the operation, which failed in `session` with `error`, is to be done again: then there is a new connection. Waits
    /// for that.
    pub(super) async fn after(&self, session: &Session, error: &Error) -> bool {
        if !is_lost(session, error) {
            return false;
        }
        // The pool may not have heard of it yet.
        self.pool.lost(session, &error.to_string());
        let left = self.until.saturating_sub(self.pool.clock.now());
        let next = Box::pin(self.pool.session(self.timeout));
        matches!(self.pool.executor.within(left, next).await, Some(Ok(_)))
    }
}

/// Before the node is told again what it may not have heard.
const UNHEARD: Duration = Duration::from_millis(100);

/// Whether the node may not have heard the question, on a connection that is still there.
fn is_unheard(error: &Error) -> bool {
    matches!(
        error,
        Error::Link(LinkError::TimedOut(_) | LinkError::Fabric(FabricError::Full))
    )
}

/// Whether the connection went away under the work.
fn is_lost(session: &Session, error: &Error) -> bool {
    match error {
        Error::Link(LinkError::Fabric(FabricError::Disconnected(_)))
        | Error::Meta(MetaError::SessionEnded) => true,
        // What a mount that goes away leaves behind is flushed as well.
        Error::Link(LinkError::Fabric(FabricError::Flushed)) => !session.link.is_up(),
        _ => false,
    }
}

/// Whether asking twice is as good as asking once.
fn is_harmless(request: &Request) -> bool {
    matches!(
        request,
        Request::Lookup { .. }
            | Request::Parent { .. }
            | Request::GetAttr { .. }
            | Request::ReadLink { .. }
            | Request::ReadDir { .. }
            | Request::Layout { .. }
            | Request::Allocate { .. }
            | Request::Punch { .. }
            | Request::Seek { .. }
            | Request::Copy { .. }
            | Request::StatFs
            | Request::Sync
            | Request::Commit { .. }
            | Request::GetXattr { .. }
            | Request::ListXattr { .. }
            | Request::StageXattr { .. }
            | Request::Lock { .. }
            | Request::Unlock { .. }
            | Request::CancelLock { .. }
            | Request::GetLock { .. }
    )
}
