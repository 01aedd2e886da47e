//! Keeps a pool's session: connects, begins, renews, begins anew, and hears what the node says of its own accord.

use super::pool::{Pool, State};
use super::session::Session;
use crate::errno::Error;
use crate::executor::Executor;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{Notice, Reply, Request, decode};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::{Link, LinkConfig, LinkEvents};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

/// Most bytes in flight on a link.
const WINDOW: u64 = 8 << 20;
/// Largest work request: what a small transfer waits for at most.
const SLICE: usize = 256 << 10;
/// Wait before the first and before later attempts to connect again.
const RETRY: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];
/// Inodes in one [`Request::Reopen`]: each takes at most 15 bytes.
const REOPEN: usize = 2048;

/// Connects and begins a session. Blocking.
///
/// # Errors
/// One line with the remedy.
pub(super) fn establish(pool: &Arc<Pool>) -> Result<(), String> {
    let (endpoint, note) = pool.connect.connect(&pool.buffers)?;
    let events = Arc::new(Events {
        pool: Arc::downgrade(pool),
        executor: pool.executor.clone(),
        session: OnceLock::new(),
    });
    let config = LinkConfig {
        timeout: pool.timeout,
        window: WINDOW,
        slice: SLICE,
        rate: 0,
        clock: pool.connect.clock(),
    };
    let link = Link::start(endpoint, config, events.clone());
    let begun = pool.executor.block_on(begin(pool, &link, &events));
    let session = begun.map_err(|error| {
        link.close();
        format!("{} does not begin a session: {error}", pool.connect.label())
    })?;
    *pool.note.lock() = note;
    if !install(pool, &session) {
        link.close();
    }
    Ok(())
}

async fn begin(pool: &Arc<Pool>, link: &Arc<Link>, events: &Events) -> Result<Arc<Session>, Error> {
    let session = Arc::new(Session::begin(link.clone(), super::connect::host_name()).await?);
    let _first = events.session.set(Arc::downgrade(&session));
    reopen(pool, &session).await?;
    Ok(session)
}

/// Tells a new session what is open. What it does not find is gone for ever; what was written and not committed may be.
async fn reopen(pool: &Pool, session: &Session) -> Result<(), Error> {
    let inodes = pool.inodes();
    let opens: Vec<(InodeId, u32)> = inodes.iter().map(|inode| (inode.ino, inode.opens())).collect();
    let opens: Vec<_> = opens.into_iter().filter(|(_, opens)| *opens > 0).collect();
    let before = *pool.last.lock();
    for some in opens.chunks(REOPEN) {
        let opens = some.to_vec();
        let request = Request::Reopen { before, opens };
        let Reply::Reopened { gone, reclaimed } = session.call_as_root(request).await? else {
            return Err(Error::Protocol);
        };
        for inode in reclaimed.into_iter().filter_map(|ino| pool.find(ino)) {
            if inode.lose_written() {
                tracing::error!(pool = %pool.name, ino = %inode.ino, "bytes that were written and not synced are lost");
            }
        }
        for inode in gone.into_iter().filter_map(|ino| pool.find(ino)) {
            inode.mark_gone();
        }
    }
    for inode in inodes {
        inode.mark_stale();
    }
    for mount in pool.mounts() {
        mount.seen.lock().forget();
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
        *state = State::Up(session.clone());
    }
    *pool.last.lock() = session.id;
    pool.changed.notify(usize::MAX);
    // The link may have failed before anybody listened to it.
    if !session.link.is_up() {
        pool.lost(session.id, "the link failed during set-up");
    }
    true
}

/// Starts the thread that keeps the session until the pool is closed.
pub(super) fn start(pool: &Arc<Pool>) -> std::io::Result<()> {
    let weak = Arc::downgrade(pool);
    let life = move || while weak.upgrade().is_some_and(|pool| keep(&pool)) {};
    std::thread::Builder::new()
        .name("rdmafs-pool".into())
        .spawn(life)?;
    Ok(())
}

/// One step of keeping; false when the pool is closed.
fn keep(pool: &Arc<Pool>) -> bool {
    let up = match &*pool.state.read() {
        State::Closed => return false,
        State::Up(session) => Some(session.clone()),
        State::Down { .. } => None,
    };
    match up {
        Some(session) => {
            if !pause(pool, session.lease / 3) {
                renew(pool, session);
            }
        }
        None => connect_again(pool),
    }
    true
}

/// Waits; true when nudged.
fn pause(pool: &Pool, duration: Duration) -> bool {
    let mut nudged = pool.nudge.0.lock();
    if !*nudged {
        pool.nudge.1.wait_for(&mut nudged, duration);
    }
    std::mem::take(&mut *nudged)
}

/// Renews the lease without waiting for the answer: the link's time limit watches over it.
fn renew(pool: &Arc<Pool>, session: Arc<Session>) {
    let owner = pool.clone();
    let renewal = async move {
        let renewed = session.call_as_root(Request::Renew).await;
        if matches!(renewed, Err(Error::Meta(_))) {
            owner.lost(session.id, "the lease ran out");
            session.link.close();
        }
        Ok(())
    };
    pool.executor.run(0, renewal, |_: Result<(), Error>| ());
}

fn connect_again(pool: &Arc<Pool>) {
    for wait in std::iter::once(RETRY[0]).chain(std::iter::repeat(RETRY[1])) {
        pause(pool, wait);
        if matches!(*pool.state.read(), State::Closed) {
            return;
        }
        match establish(pool) {
            Ok(()) => {
                tracing::info!(pool = %pool.name, "connected again: {}", pool.note.lock());
                return;
            }
            Err(error) => {
                if let State::Down { why, .. } = &mut *pool.state.write() {
                    *why = error;
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
                    session
                        .call_as_root(Request::Recalled { recall })
                        .await
                        .map(|_| ())
                };
                self.executor.run(0, acknowledge, log_failure);
            }
            Ok(Notice::Changed { ino, .. }) => {
                if let Some(inode) = pool.find(ino) {
                    inode.changed();
                }
            }
            Err(error) => {
                tracing::error!(pool = %pool.name, "the node sent no notice: {error}");
                pool.lost(session.id, "the node broke the protocol");
                session.link.close();
            }
        }
    }

    fn down(&self, error: FabricError) {
        let session = self.session.get().and_then(Weak::upgrade);
        if let (Some(pool), Some(session)) = (self.pool.upgrade(), session) {
            pool.lost(session.id, &error.to_string());
        }
        self.executor.run_ready();
    }

    fn idle(&self) {
        self.executor.run_ready();
    }
}

fn log_failure(result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::debug!("a recall was not acknowledged: {error}");
    }
}
