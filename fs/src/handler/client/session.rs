//! A session at a pool over one connection: the link that carries its calls, and those that carry bytes.

use super::call_counter::CallCounter;
use super::connect::host_name;
use super::exchange::{Exchange, ask_without_session};
use super::leased::Leases;
use super::links::Links;
use super::patience::PatientClock;
use crate::errno::Error;
use crate::executor::Executor;
use crate::handler::values::Connection;
use crate::protocol;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::{ClientOwner, PoolId, RequestId, SessionId, Term};
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::{Arena, Begun, Call, Reply, Request, WireVersion};
use rdmafs_rdma::link::Link;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A session that has begun, or goes on, over a connection.
pub(in crate::handler) struct ClientSession {
    /// What is known of layouts, and every grant, belongs to one connection.
    pub(in crate::handler) connection: Connection,
    /// The connection over which this handler began the session: what it has open at the service belongs to that. The connections that
    /// go on with it have the same one.
    pub(in crate::handler) origin: Connection,
    id: SessionId,
    /// Carries the calls.
    pub(in crate::handler) link: Arc<Link>,
    /// Carry the bytes of files.
    pub(in crate::handler) links: Links,
    pub(in crate::handler) arenas: Vec<Arena>,
    /// Runs out this long after the last renewal.
    pub(in crate::handler) lease: Duration,
    term: Term,
    exchange: Exchange,
    /// The log has said that the node is too old for something.
    said_too_old: AtomicBool,
}

/// A session that worked until its connection was lost.
#[derive(Clone, Copy, Debug)]
pub(in crate::handler) struct Before {
    id: SessionId,
    term: Term,
    origin: Connection,
}

/// What a handler says of itself where a session begins.
pub(in crate::handler) struct Introduction {
    /// Of the pool's connections.
    pub(in crate::handler) client_owner: ClientOwner,
    /// Which pool is meant, where that is known.
    pub(in crate::handler) pool: Option<PoolId>,
    /// How long the service may take.
    pub(in crate::handler) timeout: Duration,
}

/// A fresh link, over which a session begins or goes on.
pub(in crate::handler) struct NewLink {
    /// The link.
    pub(in crate::handler) link: Arc<Link>,
    /// The number of the connection among the pool's.
    pub(in crate::handler) connection: Connection,
    /// Counts what goes over it.
    pub(in crate::handler) counter: Arc<CallCounter>,
    /// What is held by lease.
    pub(in crate::handler) leases: Arc<Leases>,
    /// What the time limits of operations count by.
    pub(super) patience: Arc<PatientClock>,
    /// Hears answers whose callers have gone.
    pub(in crate::handler) executor: Executor,
}

/// Asks the service for a session over a fresh link.
///
/// # Errors
/// The link's, or the service's refusal: [`MetaError::OtherPool`](rdmafs_meta::error::MetaError::OtherPool) where it serves another pool
/// than the one that is mounted.
pub(in crate::handler) async fn ask_to_begin(
    link: &Arc<Link>,
    counter: &CallCounter,
    who: Introduction,
) -> Result<Begun, Error> {
    let call = Call {
        session: SessionId(0),
        term: Term(0),
        id: RequestId::NOT_KEPT,
        caller: Credentials::root(),
        access_time: AccessTime::default(),
        request: Request::Begin {
            host: host_name(),
            client_owner: who.client_owner,
            pool: who.pool,
        },
        closes: Vec::new(),
    };
    match ask_without_session(link, counter, &call, who.timeout).await? {
        Reply::Begun(begun) => Ok(begun),
        _ => Err(Error::Protocol),
    }
}

impl ClientSession {
    /// The session that the service says has begun over this link, or that of `before` where it goes on with it.
    pub(in crate::handler) fn new(new: NewLink, begun: Begun, before: Option<Before>) -> Self {
        let connection = new.connection;
        let same = |before: &Before| (before.id, before.term) == (begun.session, begun.term);
        let goes_on = before.filter(same).map(|before| before.origin);
        // The service tells of its own node's arena first, and that is where this link leads.
        let own = begun.arenas.first().map(|arena| arena.node);
        let links = Links::new(own.map(|node| (node, new.link.clone())));
        let lease = Duration::from_millis(begun.lease_ms.max(1));
        let exchange = Exchange {
            connection,
            link: new.link.clone(),
            counter: new.counter,
            leases: new.leases,
            patience: new.patience,
            executor: new.executor,
            lease,
        };
        Self {
            connection,
            origin: goes_on.unwrap_or(connection),
            id: begun.session,
            link: new.link,
            links,
            arenas: begun.arenas,
            lease,
            term: begun.term,
            exchange,
            said_too_old: AtomicBool::new(false),
        }
    }

    /// What the next connection must know of this one.
    pub(in crate::handler) fn before(&self) -> Before {
        Before {
            id: self.id,
            term: self.term,
            origin: self.origin,
        }
    }

    /// True when it is the session that an earlier connection had.
    pub(in crate::handler) fn goes_on(&self) -> bool {
        self.origin != self.connection
    }

    /// Asks what `call` says, in this session's name. The call's id is the caller's to choose.
    ///
    /// # Errors
    /// The link's or the service's.
    pub(in crate::handler) async fn send(&self, call: &mut Call, timeout: Duration) -> Result<Reply, Error> {
        (call.session, call.term) = (self.id, self.term);
        let answered = self.exchange.ask(call, timeout).await;
        if let Err(error @ Error::NotSpoken { .. }) = &answered
            && !self.said_too_old.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("a call was not sent, and fails with EOPNOTSUPP: {error}");
        }
        answered
    }

    /// What messages this handler and the node have for each other.
    pub(in crate::handler) fn spoken(&self) -> WireVersion {
        protocol::spoken(self.link.facts().negotiated)
    }

    /// A call in the handler's own name that is idempotent, so that its answer need not be kept under an id.
    ///
    /// # Errors
    /// As [`ClientSession::send`].
    pub(in crate::handler) async fn call_as_root(
        &self,
        request: Request,
        timeout: Duration,
    ) -> Result<Reply, Error> {
        let mut call = Call {
            session: self.id,
            term: self.term,
            id: RequestId::NOT_KEPT,
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request,
            closes: Vec::new(),
        };
        self.send(&mut call, timeout).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdmafs_meta::time::Timestamp;
    use rdmafs_rdma::fabric::FabricError;
    use rdmafs_rdma::link::{LinkConfig, LinkEvents};
    use rdmafs_rdma::protocol::Negotiated;
    use rdmafs_rdma::sim::{Pace, Sim};
    use std::pin::pin;
    use std::sync::atomic::AtomicUsize;
    use std::task::{Context, Poll, Waker};

    struct Deaf;

    impl LinkEvents for Deaf {
        fn notice(&self, _: Vec<u8>) {}
        fn down(&self, _: FabricError) {}
        fn idle(&self) {}
    }

    /// A link to a node with which nothing but this was agreed; the node counts what it hears.
    fn link(negotiated: Negotiated) -> (Arc<Link>, Arc<AtomicUsize>) {
        let sim = Sim::new(4096, 1);
        let heard = Arc::new(AtomicUsize::new(0));
        let counts = Arc::clone(&heard);
        let peer = move |_: &[u8]| {
            counts.fetch_add(1, Ordering::Relaxed);
            Vec::new()
        };
        let endpoint = sim.endpoint_that_speaks(negotiated, Pace::AtOnce, Box::new(peer));
        let config = LinkConfig {
            window: 1 << 20,
            slice: 4096,
            rate: 0,
            clock: sim.clock(),
        };
        let (link, _) = Link::with_poller(endpoint, config, Arc::new(Deaf));
        (link, heard)
    }

    fn now<T>(future: impl Future<Output = T>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        }
    }

    /// A version before all others stands for one that is older than what is asked.
    #[test]
    fn what_the_node_does_not_speak_is_refused_here_and_never_sent() {
        let (link, heard) = link(Negotiated {
            version: 0,
            features: 0,
        });
        let timeout = Duration::from_secs(5);
        let counter = Arc::new(CallCounter::default());
        let who = Introduction {
            client_owner: ClientOwner([1; 16]),
            pool: None,
            timeout,
        };
        let refusal = Error::NotSpoken {
            spoken: protocol::spoken(link.facts().negotiated),
            needed: Request::Renew.needs(),
        };
        let begun = now(ask_to_begin(&link, &counter, who)).expect("nothing to wait for");
        assert_eq!(begun, Err(refusal.clone()));
        let session = ClientSession::new(
            NewLink {
                link: Arc::clone(&link),
                connection: Connection(1),
                counter,
                leases: Arc::new(Leases::new(Sim::new(4096, 1).clock())),
                patience: Arc::new(PatientClock::new(Sim::new(4096, 1).clock())),
                executor: Executor::stepped(Sim::new(4096, 1).clock()),
            },
            Begun {
                session: SessionId(1),
                pool: PoolId([1; 16]),
                term: Term(1),
                lease_ms: 1,
                arenas: Vec::new(),
                wall: Timestamp::default(),
            },
            None,
        );
        let answered = now(session.call_as_root(Request::StatFs, timeout)).expect("nothing to wait for");
        assert_eq!(answered, Err(refusal));
        assert_eq!(heard.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_the_node_speaks_is_sent() {
        let (link, heard) = link(Negotiated::FIRST);
        let who = Introduction {
            client_owner: ClientOwner([1; 16]),
            pool: None,
            timeout: Duration::from_secs(5),
        };
        let begun = now(ask_to_begin(&link, &CallCounter::default(), who));
        assert_eq!(begun, None, "the answer is waited for");
        assert_eq!(heard.load(Ordering::Relaxed), 1);
    }
}
