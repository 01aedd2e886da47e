//! A session at a pool over one connection: the link that carries it and the calls that speak for it.

use super::call_counter::CallCounter;
use super::pool::Pool;
use crate::errno::Error;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{RequestId, SessionId, Term};
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{Answer, Arena, Call, Reply, Request, decode, encode};
use rdmafs_rdma::link::Link;
use std::sync::Arc;
use std::time::Duration;

/// Numbers a pool's connections, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Connection(pub(super) u64);

/// A session that has begun, or goes on, over a connection.
pub(super) struct Session {
    /// What is known of layouts, and every grant, belongs to one connection.
    pub(super) connection: Connection,
    /// The connection over which this handler began the session: what it has open at the service belongs to that. The connections that
    /// go on with it have the same one.
    pub(super) origin: Connection,
    id: SessionId,
    pub(super) link: Arc<Link>,
    pub(super) arenas: Vec<Arena>,
    /// Runs out this long after the last renewal.
    pub(super) lease: Duration,
    term: Term,
    /// For calls in the handler's own name.
    timeout: Duration,
    counter: Arc<CallCounter>,
}

/// A session that worked until its connection was lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    id: SessionId,
    term: Term,
    origin: Connection,
}

impl Session {
    /// Begins a session on a fresh link, or goes on with that of `before`.
    ///
    /// # Errors
    /// The link's, or the service's refusal: [`MetaError::OtherPool`] where it serves another pool than the one that is mounted.
    pub(super) async fn begin(pool: &Pool, link: Arc<Link>, before: Option<Before>) -> Result<Self, Error> {
        let call = Call {
            session: SessionId(0),
            term: Term(0),
            id: RequestId::NOT_KEPT,
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request: Request::Begin {
                host: super::connect::host_name(),
                lineage: pool.lineage,
                pool: pool.identity(),
            },
        };
        let asked = pool.clock.now();
        let Reply::Begun(begun) = send(&link, &pool.counter, &call, pool.timeout).await? else {
            return Err(Error::Protocol);
        };
        if !pool.identify(begun.pool) {
            return Err(MetaError::OtherPool.into());
        }
        pool.node_clock.said(begun.wall, asked, pool.clock.now());
        let connection = pool.next_connection();
        let same = |before: &Before| (before.id, before.term) == (begun.session, begun.term);
        let goes_on = before.filter(same).map(|before| before.origin);
        Ok(Self {
            connection,
            origin: goes_on.unwrap_or(connection),
            id: begun.session,
            link,
            arenas: begun.arenas,
            lease: Duration::from_millis(begun.lease_ms.max(1)),
            term: begun.term,
            timeout: pool.timeout,
            counter: pool.counter.clone(),
        })
    }

    /// What the next connection must know of this one.
    pub(super) fn before(&self) -> Before {
        Before {
            id: self.id,
            term: self.term,
            origin: self.origin,
        }
    }

    /// True when it is the session that an earlier connection had.
    pub(super) fn goes_on(&self) -> bool {
        self.origin != self.connection
    }

    /// Asks what `call` says, in this session's name. The call's id is the caller's to choose.
    ///
    /// # Errors
    /// The link's or the service's.
    pub(super) async fn send(&self, call: &mut Call, timeout: Duration) -> Result<Reply, Error> {
        (call.session, call.term) = (self.id, self.term);
        send(&self.link, &self.counter, call, timeout).await
    }

    /// A call in the handler's own name that is harmless to repeat, so that its answer need not be kept under an id.
    ///
    /// # Errors
    /// As [`Session::send`].
    pub(super) async fn call_as_root(&self, request: Request) -> Result<Reply, Error> {
        let mut call = Call {
            session: self.id,
            term: self.term,
            id: RequestId::NOT_KEPT,
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request,
        };
        self.send(&mut call, self.timeout).await
    }
}

async fn send(
    link: &Arc<Link>,
    counter: &CallCounter,
    call: &Call,
    timeout: Duration,
) -> Result<Reply, Error> {
    let message = encode(call).map_err(|_| Error::Protocol)?;
    counter.sent(message.len());
    let answer = link.call(&message, timeout).await?;
    counter.received(answer.len());
    let answer: Answer = decode(&answer).map_err(|_| Error::Protocol)?;
    Ok(answer?)
}
