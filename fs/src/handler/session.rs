//! One session at a pool: the link that carries it and the calls that speak for it.

use crate::errno::Error;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{RequestId, SessionId, Term};
use rdmafs_meta::wire::{Answer, Arena, Begun, Call, Reply, Request, decode, encode};
use rdmafs_rdma::link::Link;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A session that has begun.
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) link: Arc<Link>,
    pub(super) arenas: Vec<Arena>,
    /// Runs out this long after the last renewal.
    pub(super) lease: Duration,
    term: Term,
    next: AtomicU64,
}

impl Session {
    /// Begins a session on a fresh link.
    ///
    /// # Errors
    /// The link's, or the service's refusal.
    pub(super) async fn begin(link: Arc<Link>, host: String) -> Result<Self, Error> {
        let mut call = Call {
            session: SessionId(0),
            term: Term(0),
            id: RequestId(0),
            caller: Credentials::root(),
            request: Request::Begin { host },
        };
        let Reply::Begun(begun) = send(&link, &mut call).await? else {
            return Err(Error::Protocol);
        };
        let Begun {
            session,
            term,
            lease_ms,
            arenas,
        } = begun;
        Ok(Self {
            id: session,
            link,
            arenas,
            lease: Duration::from_millis(lease_ms.max(1)),
            term,
            next: AtomicU64::new(1),
        })
    }

    /// Asks the service.
    ///
    /// # Errors
    /// The link's or the service's.
    pub(super) async fn call(&self, caller: Credentials, request: Request) -> Result<Reply, Error> {
        self.send(&mut Call {
            session: self.id,
            term: self.term,
            id: RequestId(0),
            caller,
            request,
        })
        .await
    }

    /// Asks the service what `call` says, in this session's name.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub(super) async fn send(&self, call: &mut Call) -> Result<Reply, Error> {
        (call.session, call.term) = (self.id, self.term);
        call.id = RequestId(self.next.fetch_add(1, Ordering::Relaxed));
        send(&self.link, call).await
    }

    /// A call in the handler's own name.
    pub(super) async fn call_as_root(&self, request: Request) -> Result<Reply, Error> {
        self.call(Credentials::root(), request).await
    }
}

async fn send(link: &Arc<Link>, call: &mut Call) -> Result<Reply, Error> {
    let message = encode(call).map_err(|_| Error::Protocol)?;
    let answer = link.call(&message).await?;
    let answer: Answer = decode(&answer).map_err(|_| Error::Protocol)?;
    Ok(answer?)
}
