//! Keeps a pool's session: connects, begins, renews, begins anew, and hears what the node says of its own accord.

use super::commit::By;
use super::pool::{Pool, State};
use super::session::Session;
use crate::errno::Error;
use crate::executor::Executor;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{Notice, Reply, Request, decode};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::{Link, LinkConfig, LinkEvents};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Most bytes in flight on a link.
const WINDOW: u64 = 8 << 20;
/// Largest work request: what a small transfer waits for at most.
const SLICE: usize = 256 << 10;
/// Waits between attempts to connect again: twice as long each time, from and to.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// Between attempts to find a pool again in whose place another one was met.
const REPLACED: Duration = Duration::from_secs(5);
/// Inodes in one [`Request::Reopen`]: each takes at most 15 bytes.
const REOPEN: usize = 2048;

/// Connects and begins a session. Connecting blocks.
///
/// # Errors
/// One line with the remedy.
pub(super) async fn establish(pool: &Arc<Pool>) -> Result<(), String> {
    let (endpoint, note) = pool.connect.connect(&pool.buffers)?;
    let events = Arc::new(Events {
        pool: Arc::downgrade(pool),
        executor: pool.executor.clone(),
        session: OnceLock::new(),
    });
    let config = LinkConfig {
        window: WINDOW,
        slice: SLICE,
        rate: 0,
        clock: pool.connect.clock(),
    };
    let (link, poller) = Link::with_poller(endpoint, config, events.clone());
    let started = pool.connect.start(poller);
    started.map_err(|error| format!("cannot start a thread: {error}"))?;
    let session = begin(pool, &link, &events).await.map_err(|error| {
        link.close();
        if error == Error::Meta(MetaError::OtherPool) {
            pool.replaced();
            return pool.replacement();
        }
        format!("{} does not begin a session: {error}", pool.connect.label())
    })?;
    *pool.note.lock() = note;
    if !install(pool, &session) {
        link.close();
    }
    Ok(())
}

async fn begin(pool: &Arc<Pool>, link: &Arc<Link>, events: &Events) -> Result<Arc<Session>, Error> {
    let before = *pool.last.lock();
    let session = Arc::new(Session::begin(pool, link.clone(), before).await?);
    let _first = events.session.set(Arc::downgrade(&session));
    if !session.goes_on() {
        reopen(pool, &session).await?;
    }
    pool.missed_notices();
    pool.inodes().iter().for_each(|inode| inode.reconnected());
    for mount in pool.mounts() {
        mount.seen.lock().forget();
    }
    Ok(session)
}

/// Tells a new session what is open. What it does not find is gone for ever, and what was written and not committed is lost.
async fn reopen(pool: &Pool, session: &Session) -> Result<(), Error> {
    let inodes = pool.inodes();
    let told = inodes.iter().map(|inode| (inode.ino, inode.told(session.origin)));
    let opens: Vec<(InodeId, u32)> = told.filter(|(_, opens)| *opens > 0).collect();
    for some in opens.chunks(REOPEN) {
        let opens = some.to_vec();
        let Reply::Reopened { gone } = session.call_as_root(Request::Reopen { opens }).await? else {
            return Err(Error::Protocol);
        };
        for inode in gone.into_iter().filter_map(|ino| pool.find(ino)) {
            inode.mark_gone();
        }
    }
    pool.mounts().iter().for_each(|mount| mount.locks_are_lost());
    for inode in inodes {
        if inode.begins_anew() {
            tracing::error!(pool = %pool.name, ino = %inode.ino, "bytes that were written and not synced are lost");
        }
    }
    Ok(())
}

/// Lets operations use the session. False when the pool was closed meanwhile.
fn install(pool: &Pool, session: &Arc<Session>) -> bool {
    {
        let mut state = pool.state.write();
        if matches!(*state, State::Closed) {
            return false;
        }
        *state = State::Up {
            session: session.clone(),
            since: pool.clock.now(),
        };
    }
    *pool.last.lock() = Some(session.before());
    pool.changed.notify(usize::MAX);
    pool.lock_waits.look_again();
    // The link may have failed before anybody listened to it.
    if !session.link.is_up() {
        pool.lost(session, "the link failed during set-up");
    }
    true
}

/// Starts the thread that keeps the session until the pool is closed: connecting blocks.
pub(super) fn start(pool: &Arc<Pool>) -> std::io::Result<()> {
    let (executor, weak) = (pool.executor.clone(), Arc::downgrade(pool));
    std::thread::Builder::new()
        .name("rdmafs-pool".into())
        .spawn(move || executor.block_on(life(weak)))?;
    Ok(())
}

/// Keeps the session until the pool is closed.
pub(super) async fn life(pool: Weak<Pool>) {
    while let Some(pool) = pool.upgrade() {
        if !keep(&pool).await {
            return;
        }
    }
}

/// One step of keeping; false when the pool is closed.
async fn keep(pool: &Arc<Pool>) -> bool {
    pool.say_counts();
    let up = match &*pool.state.read() {
        State::Closed => return false,
        State::Up { session, .. } => Some(session.clone()),
        State::Down { .. } | State::Replaced { .. } => None,
    };
    match up {
        Some(session) => {
            if !pause(pool, session.lease / 4).await {
                renew(pool, session);
            }
        }
        None => connect_again(pool).await,
    }
    true
}

/// Waits; true when nudged.
async fn pause(pool: &Pool, duration: Duration) -> bool {
    let heard = pool.nudge.1.listen();
    if !pool.nudge.0.load(Ordering::Acquire) {
        pool.executor.within(duration, heard).await;
    }
    pool.nudge.0.swap(false, Ordering::AcqRel)
}

/// Renews the lease without waiting for the answer: the link's time limit watches over it.
fn renew(pool: &Arc<Pool>, session: Arc<Session>) {
    let owner = pool.clone();
    let renewal = async move {
        let asked = owner.clock.now();
        match session.call_as_root(Request::Renew).await {
            Ok(Reply::Renewed { wall }) => owner.node_clock.said(wall, asked, owner.clock.now()),
            Err(Error::Meta(_)) => owner.lost(&session, "the lease ran out"),
            _ => {}
        }
        Ok(())
    };
    pool.executor.run(0, renewal, |_: Result<(), Error>| ());
}

async fn connect_again(pool: &Arc<Pool>) {
    let longer = |wait: &Duration| Some((*wait * 2).min(RETRY.1));
    for mut wait in std::iter::successors(Some(RETRY.0), longer) {
        if pool.is_replaced() {
            wait = REPLACED;
        }
        pause(pool, wait).await;
        let down = match &*pool.state.read() {
            State::Down { since, .. } | State::Replaced { since } => *since,
            State::Up { .. } | State::Closed => return,
        };
        let began = pool.clock.now();
        match establish(pool).await {
            Ok(()) => {
                let took = pool.clock.now().saturating_sub(down).as_secs_f64();
                let note = pool.note.lock().clone();
                pool.say(format!("link up again after {took:.1} s: {note}"));
                return;
            }
            Err(error) => {
                // Who refuses, or is not there at all, says so sooner.
                let waited = pool.clock.now().saturating_sub(began) >= pool.timeout * 9 / 10;
                if let State::Down { why, silent, .. } = &mut *pool.state.write() {
                    (*why, *silent) = (error, waited);
                }
            }
        }
    }
}

/// What a link tells its pool. Runs on the link's poller thread: nothing here blocks.
struct Events {
    pool: Weak<Pool>,
    executor: Executor,
    session: OnceLock<Weak<Session>>,
}

impl LinkEvents for Events {
    fn notice(&self, message: Vec<u8>) {
        let session = self.session.get().and_then(Weak::upgrade);
        let (Some(pool), Some(session)) = (self.pool.upgrade(), session) else {
            return;
        };
        pool.counter.received(message.len());
        match decode::<Notice>(&message) {
            Ok(Notice::Recall {
                recall,
                ino,
                from,
                shrinks,
            }) => {
                let unused = pool.find(ino).map(|inode| inode.recall(from, shrinks));
                let acknowledge = async move {
                    if let Some(unused) = unused {
                        unused.await;
                    }
                    // An acknowledgement that is lost would keep the space from everybody for as long as this connection lives.
                    let acknowledged = pool.ask_over(&session, Request::Recalled { recall });
                    acknowledged.await.map(|_| ())
                };
                self.executor.run(0, acknowledge, log_failure);
            }
            Ok(Notice::Drain) => {
                tracing::warn!(pool = %pool.name, node = %pool.connect.label(), "the node ends soon: what is written is committed");
                *pool.draining.lock() = session.connection;
                self.executor.run(0, commit_all(pool, session), log_failure);
            }
            Ok(Notice::Granted { ticket }) => pool.lock_waits.granted(ticket, session.origin),
            Ok(Notice::Changed { ino, .. }) => {
                if let Some(inode) = pool.find(ino) {
                    inode.changed();
                }
            }
            Ok(Notice::Capabilities { ino }) => pool.may_have_capabilities(ino),
            Err(error) => {
                tracing::error!(pool = %pool.name, "the node sent no notice: {error}");
                pool.lost(&session, "the node broke the protocol");
            }
        }
    }

    fn down(&self, error: FabricError) {
        let session = self.session.get().and_then(Weak::upgrade);
        if let (Some(pool), Some(session)) = (self.pool.upgrade(), session) {
            pool.lost(&session, &error.to_string());
        }
        self.executor.run_ready();
    }

    fn idle(&self) {
        self.executor.run_ready();
    }
}

/// Commits everything, and says so to the service.
async fn commit_all(pool: Arc<Pool>, session: Arc<Session>) -> Result<(), Error> {
    commit_inodes(pool).await?;
    session.call_as_root(Request::Drained).await.map(|_| ())
}

/// Commits everything that was written, until the store has it.
pub(super) async fn commit_inodes(pool: Arc<Pool>) -> Result<(), Error> {
    let by = By {
        mount: 0,
        timeout: pool.timeout,
    };
    let mut first = Ok(());
    for inode in pool.inodes() {
        first = first.and(pool.commit(&inode, by, false).await);
    }
    first?;
    pool.sync(by).await
}

fn log_failure(result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::debug!("a notice was not answered: {error}");
    }
}
