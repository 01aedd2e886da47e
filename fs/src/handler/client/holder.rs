//! The client of a pool: this host's one session there, for all mounts that share a key, and what its calls have in common.
//!
//! When the link fails the session's maintainer connects again and goes on with the session, or begins a new one. Operations that start
//! meanwhile wait for it until their mount's timeout, counted from the failure, is over; what was in flight is done again then.

use super::call_counter::CallCounter;
use super::connect::Connect;
use super::events::{Reset, SessionEvents};
use super::leased::Leases;
use super::missed::Missed;
use super::node_clock::NodeClock;
use super::patience::PatientClock;
use super::session::{Before, ClientSession};
use crate::errno::Error;
use crate::executor::Executor;
use crate::handler::lock_order::{Mutex, RwLock};
use crate::handler::values::Connection;
use event_listener::Event;
use rdmafs_meta::id::{ClientOwner, PoolId, RequestId};
use rdmafs_meta::wire::{MAX_STAGED, Request};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::Clock;
use rdmafs_rdma::log_limit::LogLimit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Calls of a pool that may be under way at once whose answers the service must keep; it keeps twice as many.
const IN_FLIGHT: usize = 128;

/// Lines about the link in ten seconds that are said at once.
const LINES: u32 = 8;

/// How long the last words of a session may take.
const GOODBYE: Duration = Duration::from_millis(200);

/// A node that has owed an answer for so long is said not to answer.
pub(in crate::handler) const NOT_ANSWERING: Duration = Duration::from_secs(1);

/// Another pool is served where this one was, with the remedy. Holds the node, as the user wrote it.
#[derive(Debug, thiserror::Error)]
#[error(
    "another pool is served at {0} now: mounts of the one before answer ESTALE until they are unmounted (umount -l) and mounted again, or its node serves it again (with its --state)"
)]
pub struct PoolReplaced(String);

/// Whether the pool's session can be used.
pub(in crate::handler) enum SessionState {
    /// The session works since then.
    Up {
        session: Arc<ClientSession>,
        since: Duration,
    },
    /// It does not, since then (on the pool's clock), because of this. `silent`: the node is there, as it seems, and does not answer.
    Down {
        since: Duration,
        why: String,
        silent: bool,
    },
    /// Another pool is served in its place, since then: nothing is asked of that one. Whatever is tried meets an error at once, until
    /// this pool is served again.
    Replaced { since: Duration },
    /// The last mount is gone.
    Closed,
}

/// What a client is made of.
pub(in crate::handler) struct Parts {
    /// The pool, as users call it.
    pub(in crate::handler) name: String,
    /// Runs what it starts.
    pub(in crate::handler) executor: Executor,
    /// For bytes of all its transfers and messages.
    pub(in crate::handler) buffers: BufferPool,
    /// For what the handler asks in its own name while the pool has no mounts.
    pub(in crate::handler) timeout: Duration,
    /// Reaches the node.
    pub(in crate::handler) connect: Box<dyn Connect>,
    /// Of this pool's connections.
    pub(in crate::handler) client_owner: ClientOwner,
}

/// The client of a pool.
///
/// Lock order: `state`, `last`, `draining`, `note`, `lines` and `goodbye` are leaves, and so is what `leases` has: under none of them another lock of the handler is taken, and none
/// is held across a wait.
pub(in crate::handler) struct Client {
    pub(in crate::handler) name: String,
    pub(in crate::handler) executor: Executor,
    pub(in crate::handler) buffers: BufferPool,
    first_timeout: Duration,
    /// The longest `timeout=` of the mounts in milliseconds; `u64::MAX`: there are none.
    longest_ms: AtomicU64,
    pub(in crate::handler) connect: Box<dyn Connect>,
    pub(in crate::handler) events: Box<dyn SessionEvents>,
    pub(in crate::handler) clock: Arc<dyn Clock>,
    /// Of which all times of files are.
    pub(in crate::handler) node_clock: NodeClock,
    pub(in crate::handler) state: RwLock<SessionState>,
    /// Which pool it is, once its first session or a record of a mount has said so. It never changes.
    identity: OnceLock<PoolId>,
    /// Of this pool's connections.
    pub(in crate::handler) client_owner: ClientOwner,
    /// The last session that worked.
    pub(in crate::handler) last: Mutex<Option<Before>>,
    connections: AtomicU64,
    requests: AtomicU64,
    /// What went to the service and came from it.
    pub(in crate::handler) counter: Arc<CallCounter>,
    /// What is held by lease, and answered without a call.
    pub(in crate::handler) leases: Arc<Leases>,
    /// Names that were asked for in vain.
    pub(super) missed: Missed,
    /// What the time limits of operations count by.
    pub(super) patience: Arc<PatientClock>,
    /// A place for each call whose answer the service must keep.
    pub(in crate::handler) in_flight: Semaphore,
    /// One large extended attribute for each place that the service keeps the first part of.
    pub(in crate::handler) staging: Semaphore,
    /// The connection whose node said that it ends soon.
    pub(in crate::handler) draining: Mutex<Connection>,
    /// Which fabric is used, and why.
    pub(in crate::handler) note: Mutex<String>,
    /// Lines about the link: a node that takes every connection and drops it fills no log.
    lines: Mutex<LogLimit<String>>,
    /// Ends when the last words of the last session are heard.
    goodbye: Mutex<Option<mpsc::Receiver<()>>>,
    /// Tells operations that the state changed.
    pub(in crate::handler) changed: Event,
    /// Tells the maintainer of the session.
    pub(in crate::handler) nudge: (AtomicBool, Event),
}

impl Client {
    /// A client that is not connected yet. `events` hears what happens to its session.
    pub(in crate::handler) fn new(parts: Parts, events: Box<dyn SessionEvents>) -> Arc<Self> {
        Arc::new(Self {
            name: parts.name,
            executor: parts.executor,
            buffers: parts.buffers,
            first_timeout: parts.timeout,
            longest_ms: AtomicU64::new(u64::MAX),
            clock: parts.connect.clock(),
            patience: Arc::new(PatientClock::new(parts.connect.clock())),
            node_clock: NodeClock::default(),
            leases: Arc::new(Leases::new(parts.connect.lease_clock())),
            missed: Missed::default(),
            connect: parts.connect,
            events,
            state: RwLock::new(SessionState::Down {
                since: Duration::ZERO,
                why: "not connected yet".into(),
                silent: false,
            }),
            identity: OnceLock::new(),
            client_owner: parts.client_owner,
            last: Mutex::default(),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            counter: Arc::default(),
            in_flight: Semaphore::new(IN_FLIGHT),
            staging: Semaphore::new(MAX_STAGED),
            draining: Mutex::default(),
            note: Mutex::default(),
            lines: Mutex::new(LogLimit::new(LINES)),
            goodbye: Mutex::default(),
            changed: Event::new(),
            nudge: (AtomicBool::new(false), Event::new()),
        })
    }

    /// Which pool it is; `None` before its first session.
    pub(in crate::handler) fn identity(&self) -> Option<PoolId> {
        self.identity.get().copied()
    }

    /// Takes in which pool it is. False when it is another one.
    pub(in crate::handler) fn identify(&self, id: PoolId) -> bool {
        *self.identity.get_or_init(|| id) == id
    }

    /// Another pool is served in its place.
    pub(in crate::handler) fn is_replaced(&self) -> bool {
        matches!(*self.state.read(), SessionState::Replaced { .. })
    }

    /// Another pool was met where this one was: all mounts of this one answer so from now on, and their kernels forget what they know.
    pub(in crate::handler) fn replaced(&self) {
        {
            let mut state = self.state.write();
            if !matches!(*state, SessionState::Down { .. }) {
                return;
            }
            let since = self.clock.now();
            *state = SessionState::Replaced { since };
        }
        tracing::error!(pool = %self.name, "{}", self.replacement());
        self.changed.notify(usize::MAX);
        self.events.reset(Reset::Replaced);
    }

    /// What became of it then, and what to do.
    pub(in crate::handler) fn replacement(&self) -> PoolReplaced {
        PoolReplaced(self.connect.label())
    }

    /// The session, if it works now.
    pub(in crate::handler) fn session_now(&self) -> Option<Arc<ClientSession>> {
        match &*self.state.read() {
            SessionState::Up { session, .. } => Some(session.clone()),
            SessionState::Down { .. } | SessionState::Replaced { .. } | SessionState::Closed => None,
        }
    }

    /// The session; waits for a new connection while the link is down, but not longer than `patience` from its failure.
    ///
    /// # Errors
    /// [`Error::Down`], [`Error::OtherPool`].
    pub(in crate::handler) async fn session(&self, patience: Duration) -> Result<Arc<ClientSession>, Error> {
        loop {
            let listener = match &*self.state.read() {
                SessionState::Up { session, .. } => return Ok(session.clone()),
                SessionState::Closed => return Err(Error::Down(self.connect.label())),
                SessionState::Replaced { .. } => return Err(Error::OtherPool(self.connect.label())),
                SessionState::Down { since, .. } => {
                    let left = (*since + patience).saturating_sub(self.clock.now());
                    (!left.is_zero()).then(|| (self.changed.listen(), left))
                }
            };
            let Some((listener, left)) = listener else {
                return Err(Error::Down(self.connect.label()));
            };
            self.executor.within(left, listener).await;
        }
    }

    /// The session that began over `origin`, once it is connected; `None` when it is over.
    pub(in crate::handler) async fn session_of(&self, origin: Connection) -> Option<Arc<ClientSession>> {
        loop {
            let listener = match &*self.state.read() {
                SessionState::Up { session, .. } => {
                    return (session.origin == origin).then(|| session.clone());
                }
                SessionState::Closed => return None,
                SessionState::Down { .. } | SessionState::Replaced { .. } => self.changed.listen(),
            };
            listener.await;
        }
    }

    /// The number of a new connection.
    pub(in crate::handler) fn next_connection(&self) -> Connection {
        Connection(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many there were.
    pub(in crate::handler) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// An id that no request of this pool had.
    pub(in crate::handler) fn next_request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The session's connection has failed. Said by the link, by a call, or both. What is not answered any more is down since it was not.
    pub(in crate::handler) fn lost(&self, session: &ClientSession, why: &str) {
        let silence = session.link.silence();
        {
            let mut state = self.state.write();
            if !matches!(&*state, SessionState::Up { session: up, .. } if up.connection == session.connection)
            {
                return;
            }
            *state = SessionState::Down {
                since: self.clock.now().saturating_sub(silence),
                why: why.into(),
                silent: silence >= NOT_ANSWERING,
            };
        }
        self.leases.end(session.connection);
        // An ended lease ends what is left of the connection; on one that has failed this does nothing.
        session.link.close();
        self.say(format!("link down: {why}"));
        self.nudge();
    }

    /// Logs what became of the link, now or as part of a count.
    pub(in crate::handler) fn say(&self, what: String) {
        let said = self.lines.lock().event(self.clock.now(), what);
        if let Some(what) = said {
            tracing::warn!(pool = %self.name, node = %self.connect.label(), "{what}");
        }
    }

    /// Says how often the link went down and up, where that was too often for lines of their own.
    pub(in crate::handler) fn say_counts(&self) {
        let held = self.lines.lock().held(self.clock.now());
        if let Some(held) = held {
            let (count, seconds) = (held.count, held.span.as_secs());
            tracing::warn!(pool = %self.name, node = %self.connect.label(), count, seconds, "the link goes down and up, the last: {}", held.last);
        }
    }

    /// The last mount is gone: nothing is asked any more.
    pub(in crate::handler) fn close(&self) {
        let before = std::mem::replace(&mut *self.state.write(), SessionState::Closed);
        if let SessionState::Up { session, .. } = before {
            self.leave(session);
        }
        self.changed.notify(usize::MAX);
        self.nudge();
    }

    /// Ends a session that nobody uses any more. Who waits for this handler to forget something need not wait for its lease to run out: the
    /// service is told that nothing is held. The link is closed when that was heard, soon in any case.
    fn leave(&self, session: Arc<ClientSession>) {
        self.leases.end(session.connection);
        if !self.leases.are_taken() {
            return session.link.close();
        }
        let executor = self.executor.clone();
        let goodbye = async move {
            let last = Box::pin(session.call_as_root(Request::Leases { take: false }, GOODBYE));
            let _heard = executor.within(GOODBYE, last).await;
            session.link.close();
            Ok(())
        };
        let (heard, is_heard) = mpsc::channel();
        *self.goodbye.lock() = Some(is_heard);
        self.executor
            .run(0, goodbye, move |_: Result<(), Error>| drop(heard));
    }

    /// Waits until the service has heard that nothing is held any more, if the session has ended. Blocking, briefly.
    pub(in crate::handler) fn await_goodbye(&self) {
        let goodbye = self.goodbye.lock().take();
        if let Some(is_heard) = goodbye {
            // Ends when the sender is gone.
            let _ended: Result<(), _> = is_heard.recv_timeout(GOODBYE);
        }
    }

    /// For what the handler asks in its own name: the longest `timeout=` of the mounts.
    pub(in crate::handler) fn timeout(&self) -> Duration {
        match self.longest_ms.load(Ordering::Relaxed) {
            u64::MAX => self.first_timeout,
            longest => Duration::from_millis(longest),
        }
    }

    /// The longest `timeout=` of the mounts is this from now on; `None`: there are none.
    pub(in crate::handler) fn set_timeout(&self, longest: Option<Duration>) {
        let longest = longest.map(|longest| u64::try_from(longest.as_millis()).unwrap_or(u64::MAX));
        self.longest_ms
            .store(longest.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Wakes the maintainer of the session.
    pub(in crate::handler) fn nudge(&self) {
        self.nudge.0.store(true, Ordering::Release);
        self.nudge.1.notify(usize::MAX);
    }
}
