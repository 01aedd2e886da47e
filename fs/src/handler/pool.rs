//! A pool as this host sees it: one session and one inode table for all mounts that share a key.
//!
//! When the link fails a maintenance thread connects again and goes on with the session, or begins a new one. Operations that start
//! meanwhile wait for it until their mount's timeout, counted from the failure, is over; what was in flight is done again then.

use super::again::{Asker, Question, UNDER_WAY};
use super::call_counter::CallCounter;
use super::commit_later::Later;
use super::connect::Connect;
use super::inode::Inode;
use super::locks::{Leaving, Waits};
use super::mount::Mount;
use super::node_clock::NodeClock;
use super::session::{Before, Connection, Session};
use crate::errno::Error;
use crate::executor::Executor;
use event_listener::Event;
use parking_lot::{Mutex, RwLock};
use rdmafs_meta::attr::Attr;
use rdmafs_meta::id::{InodeId, Lineage, PoolId, RequestId};
use rdmafs_meta::wire::{MAX_STAGED, Reply, Request};
use rdmafs_rdma::buffer::BufferPool;
use rdmafs_rdma::clock::Clock;
use rdmafs_rdma::log_limit::LogLimit;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Lines about the link in ten seconds that are said at once.
const LINES: u32 = 8;

/// A node that has owed an answer for so long is said not to answer.
pub(super) const SILENT: Duration = Duration::from_secs(1);

/// Where the session stands.
pub(super) enum State {
    /// It works, since then.
    Up { session: Arc<Session>, since: Duration },
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

/// A pool.
///
/// Lock order: none of these is held while another is taken, and none across a wait.
pub(super) struct Pool {
    pub(super) name: String,
    pub(super) executor: Executor,
    pub(super) buffers: BufferPool,
    /// For connecting, and for what the handler asks in its own name: the first mount's.
    pub(super) timeout: Duration,
    pub(super) connect: Box<dyn Connect>,
    pub(super) clock: Arc<dyn Clock>,
    /// Of which all times of files are.
    pub(super) node_clock: NodeClock,
    pub(super) state: RwLock<State>,
    /// Which pool it is, once its first session or a record of a mount has said so. It never changes.
    identity: OnceLock<PoolId>,
    /// Of this pool's connections.
    pub(super) lineage: Lineage,
    /// The last session that worked.
    pub(super) last: Mutex<Option<Before>>,
    connections: AtomicU64,
    requests: AtomicU64,
    /// What went to the service and came from it.
    pub(super) counter: Arc<CallCounter>,
    /// A place for each call whose answer the service must keep.
    pub(super) under_way: Semaphore,
    /// How often any file may have been given file capabilities: not all inodes are in the table when that is heard of.
    given: AtomicU64,
    /// One large extended attribute for each place that the service keeps the first part of.
    pub(super) staging: Semaphore,
    /// Operations that ask for locks.
    pub(super) lock_waits: Waits,
    pub(super) leaving: Leaving,
    /// What is to be committed when its time comes.
    pub(super) later: Later,
    /// The connection whose node said that it ends soon.
    pub(super) draining: Mutex<Connection>,
    /// Which fabric is used, and why.
    pub(super) note: Mutex<String>,
    /// Lines about the link: a node that takes every connection and drops it fills no log. Taken last.
    lines: Mutex<LogLimit<String>>,
    /// Tells operations that the state changed.
    pub(super) changed: Event,
    /// Tells the keeper of the session.
    pub(super) nudge: (AtomicBool, Event),
    inodes: Mutex<HashMap<InodeId, Known>>,
    mounts: Mutex<Vec<Weak<Mount>>>,
}

struct Known {
    inode: Arc<Inode>,
    holders: u32,
}

/// Keeps an inode in its pool's table.
pub(super) struct Held {
    pub(super) pool: Arc<Pool>,
    pub(super) inode: Arc<Inode>,
}

impl std::ops::Deref for Held {
    type Target = Inode;
    fn deref(&self) -> &Inode {
        &self.inode
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        self.pool.hold(self.inode.ino)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut inodes = self.pool.inodes.lock();
        if let Some(known) = inodes.get_mut(&self.inode.ino) {
            known.holders -= 1;
            if known.holders == 0 {
                inodes.remove(&self.inode.ino);
            }
        }
    }
}

impl Pool {
    pub(super) fn new(
        name: String,
        executor: Executor,
        buffers: BufferPool,
        timeout: Duration,
        connect: Box<dyn Connect>,
    ) -> std::io::Result<Arc<Self>> {
        let lineage = Lineage(rdmafs_rdma::fabric::Lineage::random()?.bytes());
        Ok(Arc::new(Self {
            name,
            executor,
            buffers,
            timeout,
            clock: connect.clock(),
            node_clock: NodeClock::default(),
            connect,
            state: RwLock::new(State::Down {
                since: Duration::ZERO,
                why: "not connected yet".into(),
                silent: false,
            }),
            identity: OnceLock::new(),
            lineage,
            last: Mutex::default(),
            connections: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            counter: Arc::default(),
            under_way: Semaphore::new(UNDER_WAY),
            given: AtomicU64::new(0),
            staging: Semaphore::new(MAX_STAGED),
            lock_waits: Waits::default(),
            leaving: Leaving::default(),
            later: Later::default(),
            draining: Mutex::default(),
            note: Mutex::default(),
            lines: Mutex::new(LogLimit::new(LINES)),
            changed: Event::new(),
            nudge: (AtomicBool::new(false), Event::new()),
            inodes: Mutex::default(),
            mounts: Mutex::default(),
        }))
    }

    /// Which pool it is; `None` before its first session.
    pub(super) fn identity(&self) -> Option<PoolId> {
        self.identity.get().copied()
    }

    /// Takes in which pool it is. False when it is another one.
    pub(super) fn identify(&self, id: PoolId) -> bool {
        *self.identity.get_or_init(|| id) == id
    }

    /// Another pool is served in its place.
    pub(super) fn is_replaced(&self) -> bool {
        matches!(*self.state.read(), State::Replaced { .. })
    }

    /// Another pool was met where this one was: all mounts of this one answer so from now on, and their kernels forget what they know.
    pub(super) fn replaced(&self) {
        {
            let mut state = self.state.write();
            if !matches!(*state, State::Down { .. }) {
                return;
            }
            let since = self.clock.now();
            *state = State::Replaced { since };
        }
        tracing::error!(pool = %self.name, "{}", self.replacement());
        self.changed.notify(usize::MAX);
        self.lock_waits.look_again();
        for mount in self.mounts() {
            mount.kernel_forgets_all();
        }
    }

    /// What became of it then, and what to do.
    pub(super) fn replacement(&self) -> String {
        let node = self.connect.label();
        format!(
            "another pool is served at {node} now: mounts of the one before answer ESTALE until they are unmounted (umount -l) and mounted again, or its node serves it again (with its --state)"
        )
    }

    /// The session, if it works now.
    pub(super) fn session_now(&self) -> Option<Arc<Session>> {
        match &*self.state.read() {
            State::Up { session, .. } => Some(session.clone()),
            State::Down { .. } | State::Replaced { .. } | State::Closed => None,
        }
    }

    /// The session; waits for a new connection while the link is down, but not longer than `patience` from its failure.
    ///
    /// # Errors
    /// [`Error::Down`], [`Error::OtherPool`].
    pub(super) async fn session(&self, patience: Duration) -> Result<Arc<Session>, Error> {
        loop {
            let listener = match &*self.state.read() {
                State::Up { session, .. } => return Ok(session.clone()),
                State::Closed => return Err(Error::Down(self.connect.label())),
                State::Replaced { .. } => return Err(Error::OtherPool(self.connect.label())),
                State::Down { since, .. } => {
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
    pub(super) async fn session_of(&self, origin: Connection) -> Option<Arc<Session>> {
        loop {
            let listener = match &*self.state.read() {
                State::Up { session, .. } => return (session.origin == origin).then(|| session.clone()),
                State::Closed => return None,
                State::Down { .. } | State::Replaced { .. } => self.changed.listen(),
            };
            listener.await;
        }
    }

    /// The number of a new connection.
    pub(super) fn next_connection(&self) -> Connection {
        Connection(self.connections.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// How many there were.
    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    /// An id that no request of this pool had.
    pub(super) fn next_request(&self) -> RequestId {
        RequestId(self.requests.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Asks the service.
    ///
    /// # Errors
    /// As [`Pool::ask`].
    pub(super) async fn call(&self, asker: Asker, request: Request) -> Result<Reply, Error> {
        let (_, reply) = self.ask(&mut Question::new(asker, request)).await?;
        Ok(reply)
    }

    /// A call that is answered with attributes: as programs see them.
    pub(super) async fn call_for_attr(&self, asker: Asker, request: Request) -> Result<Attr, Error> {
        match self.call(asker, request).await? {
            Reply::Attr(attr) => Ok(self.show(attr)),
            _ => Err(Error::Protocol),
        }
    }

    /// A call that is answered with nothing.
    pub(super) async fn call_for_done(&self, asker: Asker, request: Request) -> Result<(), Error> {
        match self.call(asker, request).await? {
            Reply::Done => Ok(()),
            _ => Err(Error::Protocol),
        }
    }

    /// Attributes as programs see them: with what this handler wrote and did not commit.
    pub(super) fn show(&self, attr: Attr) -> Attr {
        self.node_clock.shown(attr.ctime, self.clock.now());
        match self.find(attr.ino) {
            Some(inode) => inode.show(attr),
            None => attr,
        }
    }

    /// The inode, if it is in the table.
    pub(super) fn find(&self, ino: InodeId) -> Option<Arc<Inode>> {
        self.inodes.lock().get(&ino).map(|known| known.inode.clone())
    }

    /// The inode, put in the table if need be. It must be there before the service is asked for anything that makes
    /// it hold the layout, or a recall would be acknowledged too early.
    pub(super) fn hold(self: &Arc<Self>, ino: InodeId) -> Held {
        let mut inodes = self.inodes.lock();
        let known = inodes.entry(ino).or_insert_with(|| Known {
            inode: Inode::new(ino),
            holders: 0,
        });
        known.holders += 1;
        Held {
            pool: self.clone(),
            inode: known.inode.clone(),
        }
    }

    /// To be taken before it is asked whether a file has file capabilities.
    pub(super) fn given(&self) -> u64 {
        self.given.load(Ordering::Acquire)
    }

    /// It was asked at `given` (of the pool, and of the inode), and the file has none.
    pub(super) fn learn_plain(&self, inode: &Inode, given: (u64, u64)) {
        if self.given() == given.0 {
            inode.learn_plain(given.1);
        }
    }

    /// The file may have been given file capabilities.
    pub(super) fn may_have_capabilities(&self, ino: InodeId) {
        self.given.fetch_add(1, Ordering::AcqRel);
        if let Some(inode) = self.find(ino) {
            inode.may_have_capabilities();
        }
    }

    /// A new connection: notices may have been missed.
    pub(super) fn missed_notices(&self) {
        self.given.fetch_add(1, Ordering::AcqRel);
    }

    /// All inodes of the table, in the order of their ids.
    pub(super) fn inodes(&self) -> Vec<Arc<Inode>> {
        let inodes = self.inodes.lock();
        let mut all: Vec<_> = inodes.values().map(|known| known.inode.clone()).collect();
        drop(inodes);
        all.sort_unstable_by_key(|inode| inode.ino);
        all
    }

    /// The session's connection has failed. Said by the link, by a call, or both. What is not answered any more is down since it was not.
    pub(super) fn lost(&self, session: &Session, why: &str) {
        let silence = session.link.silence();
        {
            let mut state = self.state.write();
            if !matches!(&*state, State::Up { session: up, .. } if up.connection == session.connection) {
                return;
            }
            *state = State::Down {
                since: self.clock.now().saturating_sub(silence),
                why: why.into(),
                silent: silence >= SILENT,
            };
        }
        // An ended lease ends what is left of the connection; on one that has failed this does nothing.
        session.link.close();
        self.say(format!("link down: {why}"));
        self.nudge();
    }

    /// Logs what became of the link, now or as part of a count.
    pub(super) fn say(&self, what: String) {
        let said = self.lines.lock().event(self.clock.now(), what);
        if let Some(what) = said {
            tracing::warn!(pool = %self.name, node = %self.connect.label(), "{what}");
        }
    }

    /// Says how often the link went down and up, where that was too often for lines of their own.
    pub(super) fn say_counts(&self) {
        let held = self.lines.lock().held(self.clock.now());
        if let Some(held) = held {
            let (count, seconds) = (held.count, held.span.as_secs());
            tracing::warn!(pool = %self.name, node = %self.connect.label(), count, seconds, "the link goes down and up, the last: {}", held.last);
        }
    }

    /// Adds a mount; false when the pool is closed.
    pub(super) fn attach(&self, mount: &Arc<Mount>) -> bool {
        let mut mounts = self.mounts.lock();
        let open = !matches!(*self.state.read(), State::Closed);
        if open {
            mounts.push(Arc::downgrade(mount));
        }
        open
    }

    /// A mount is gone; the pool closes with the last.
    pub(super) fn detach(&self, mount: u64) {
        let mut mounts = self.mounts.lock();
        mounts.retain(|other| other.upgrade().is_some_and(|other| other.id != mount));
        if mounts.is_empty() {
            let before = std::mem::replace(&mut *self.state.write(), State::Closed);
            drop(mounts);
            if let State::Up { session, .. } = before {
                session.link.close();
            }
            self.changed.notify(usize::MAX);
            self.nudge();
        }
    }

    /// The mounts there are.
    pub(super) fn mounts(&self) -> Vec<Arc<Mount>> {
        self.mounts.lock().iter().filter_map(Weak::upgrade).collect()
    }

    /// Bytes of the inode changed by these mounts: the kernels behind all others drop what they cached.
    pub(super) fn tell_others(&self, ino: InodeId, writers: &[u64]) {
        for mount in self.mounts() {
            if !writers.contains(&mount.id) {
                mount.data_changed(ino);
            }
        }
    }

    /// Wakes the keeper of the session.
    pub(super) fn nudge(&self) {
        self.nudge.0.store(true, Ordering::Release);
        self.nudge.1.notify(usize::MAX);
    }
}
