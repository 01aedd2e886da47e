//! Doing again, over the connection that replaces a lost one, what the lost one left undone.
//!
//! A session begins or goes on over a new connection only after the node has fenced the one before: queue pairs destroyed, sockets
//! drained, mappings given up. So nothing of a first attempt can arrive after the second one. A READ or WRITE is simply done again. A
//! call is asked again under its id in the session in which it was asked first: the service answers it again if it did it, and does it
//! if it did not. In another session nobody knows whether it was done, so only what is idempotent is asked there, and commits.

use super::holder::Client;
use super::outgoing::OutgoingCall;
use super::session::ClientSession;
use crate::errno::Error;
use crate::handler::values::{CallContext, Connection};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{Reply, Request};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::LinkError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::SemaphorePermit;

impl Client {
    /// Asks until there is an answer, or the caller's time is over.
    ///
    /// # Errors
    /// [`Error::Down`], the link's, or the service's.
    pub(in crate::handler) async fn ask(
        &self,
        outgoing: &mut OutgoingCall,
    ) -> Result<(Arc<ClientSession>, Reply), Error> {
        let anew = Retry::new(self, outgoing.timeout);
        // The answers of others are kept, so many at a time.
        let _slot = match outgoing.call.request.is_idempotent() {
            true => None,
            false => Some(self.slot(outgoing.timeout).await?),
        };
        loop {
            let session = self.session(outgoing.timeout).await?;
            let first = outgoing.asked_in.is_none();
            outgoing.enter(self, &session)?;
            match session.send(&mut outgoing.call, outgoing.timeout).await {
                Ok(reply) => return Ok((session, reply)),
                Err(error) => {
                    if first && error == Error::Meta(MetaError::SessionEnded) {
                        // The service did not do what was asked.
                        outgoing.asked_in = None;
                    }
                    if !anew.after(&session, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Asks the service.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub(in crate::handler) async fn call(
        &self,
        context: CallContext,
        request: Request,
    ) -> Result<Reply, Error> {
        let (_, reply) = self.ask(&mut OutgoingCall::new(context, request)).await?;
        Ok(reply)
    }

    /// A call that is answered with nothing.
    pub(in crate::handler) async fn call_for_done(
        &self,
        context: CallContext,
        request: Request,
    ) -> Result<(), Error> {
        match self.call(context, request).await? {
            Reply::Done => Ok(()),
            _ => Err(Error::Protocol),
        }
    }

    /// A place among the calls under way.
    async fn slot(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(slot) = self.in_flight.try_acquire() {
            return Ok(slot);
        }
        let slot = Box::pin(self.in_flight.acquire());
        let slot = self.within(timeout, slot).await;
        // The semaphore is never closed.
        slot.and_then(Result::ok)
            .ok_or_else(|| Error::Down(self.connect.label()))
    }

    /// The time that operations are charged.
    pub(in crate::handler) fn charged(&self) -> Duration {
        self.patience.now()
    }

    /// The future's result, or `None` when it is not done within `limit`, without the time for which the service puts calls off.
    pub(in crate::handler) async fn within<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Option<T> {
        self.patience.within(&self.executor, limit, future).await
    }

    /// Asks in the handler's own name in the session that began over `origin`, however long its connections take to come back. `None`
    /// when that session is over.
    pub(in crate::handler) async fn ask_in(
        &self,
        origin: Connection,
        request: Request,
    ) -> Option<Result<Reply, Error>> {
        let context = CallContext {
            who: Credentials::root(),
            access_time: AccessTime::default(),
            timeout: self.timeout(),
        };
        let mut outgoing = OutgoingCall::new(context, request);
        outgoing.call.id = self.next_request();
        let mut slot = None;
        loop {
            let session = self.session_of(origin).await?;
            if slot.is_none() && !outgoing.call.request.is_idempotent() {
                // As in `ask`, but only while there is a connection: what waits for one must not keep others from hearing that there is none.
                // The semaphore is never closed.
                slot = self.in_flight.acquire().await.ok();
                continue;
            }
            match session.send(&mut outgoing.call, outgoing.timeout).await {
                Err(error) if is_lost(&session, &error) => self.lost(&session, &error.to_string()),
                Err(error) if is_unheard(&error) => self.executor.sleep(UNHEARD).await,
                done => return Some(done),
            }
        }
    }

    /// Asks what is idempotent in the handler's own name until the node has heard it, or this connection is over: then there is
    /// nobody to whom it would mean anything.
    pub(in crate::handler) async fn ask_over(
        &self,
        session: &ClientSession,
        request: Request,
    ) -> Result<Reply, Error> {
        loop {
            match session.call_as_root(request.clone(), self.timeout()).await {
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
pub(in crate::handler) struct Retry<'a> {
    client: &'a Client,
    until: Duration,
    timeout: Duration,
}

impl<'a> Retry<'a> {
    pub(in crate::handler) fn new(client: &'a Client, timeout: Duration) -> Self {
        Self {
            client,
            until: client.patience.now() + timeout.saturating_mul(9) / 10,
            timeout,
        }
    }

    /// Whether the operation, which failed in `session` with `error`, is to be done again: then there is a new connection. Waits
    /// for that.
    pub(in crate::handler) async fn after(&self, session: &ClientSession, error: &Error) -> bool {
        if !is_lost(session, error) {
            return false;
        }
        // The pool may not have heard of it yet.
        self.client.lost(session, &error.to_string());
        let left = self.until.saturating_sub(self.client.patience.now());
        let next = Box::pin(self.client.session(self.timeout));
        matches!(self.client.executor.within(left, next).await, Some(Ok(_)))
    }
}

/// Before the node is told again what it may not have heard.
const UNHEARD: Duration = Duration::from_millis(100);

/// Whether the node may not have received the call, on a connection that is still there.
fn is_unheard(error: &Error) -> bool {
    matches!(
        error,
        Error::Link(LinkError::TimedOut(_) | LinkError::Fabric(FabricError::Full))
    )
}

/// Whether the connection went away under the work.
fn is_lost(session: &ClientSession, error: &Error) -> bool {
    match error {
        Error::Link(LinkError::Fabric(FabricError::Disconnected(_)))
        | Error::Meta(MetaError::SessionEnded) => true,
        // What a mount that goes away leaves behind is flushed as well.
        Error::Link(LinkError::Fabric(FabricError::Flushed)) => !session.link.is_up(),
        _ => false,
    }
}
