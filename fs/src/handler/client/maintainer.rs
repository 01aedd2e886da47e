//! Keeps a pool's session: connects, begins, renews, begins anew, and hears what the node says of its own accord.

use super::connect::ReachError;
use super::events::Reset;
use super::holder::{Client, PoolReplaced, SessionState};
use super::session::{Before, ClientSession, Introduction, NewLink, ask_to_begin};
use crate::errno::Error;
use crate::executor::Executor;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::{Notice, Reply, Request, WireVersion, decode};
use rdmafs_rdma::fabric::FabricError;
use rdmafs_rdma::link::{Link, LinkConfig, LinkEvents};
use std::io;
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

/// No session with a pool, with the remedy.
#[derive(Debug, thiserror::Error)]
pub enum EstablishError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] ReachError),
    /// No thread for the link.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// Another pool is served there.
    #[error(transparent)]
    Replaced(#[from] PoolReplaced),
    /// The service begins none.
    #[error("{node} does not begin a session: {source}")]
    Begin {
        /// The node, as the user wrote it.
        node: String,
        /// The answer to the call.
        source: Error,
    },
}

/// Connects and begins a session. Connecting blocks.
///
/// # Errors
/// Which step failed, and what to do.
pub(in crate::handler) async fn establish(client: &Arc<Client>) -> Result<(), EstablishError> {
    let (endpoint, note) = client.connect.connect(&client.buffers)?;
    let events = Arc::new(Events {
        client: Arc::downgrade(client),
        executor: client.executor.clone(),
        session: OnceLock::new(),
    });
    let config = LinkConfig {
        window: WINDOW,
        slice: SLICE,
        rate: 0,
        clock: client.connect.clock(),
    };
    let (link, poller) = Link::with_poller(endpoint, config, events.clone());
    let started = client.connect.start(poller);
    started.map_err(EstablishError::Thread)?;
    let session = begin(client, &link, &events).await.map_err(|source| {
        link.close();
        if source == Error::Meta(MetaError::OtherPool) {
            client.replaced();
            return client.replacement().into();
        }
        let node = client.connect.label();
        EstablishError::Begin { node, source }
    })?;
    *client.note.lock() = note;
    if !install(client, &session) {
        client.leases.end(session.connection);
        link.close();
    }
    Ok(())
}

async fn begin(client: &Arc<Client>, link: &Arc<Link>, events: &Events) -> Result<Arc<ClientSession>, Error> {
    let before = *client.last.lock();
    let (session, asked) = ask_for_session(client, link.clone(), before).await?;
    let session = Arc::new(session);
    let _first = events.session.set(Arc::downgrade(&session));
    if !session.goes_on() {
        client.events.begins_anew(session.clone()).await?;
    }
    take_leases(client, &session, asked).await?;
    client.events.reset(Reset::Connected);
    Ok(session)
}

/// Begins a session on a fresh link, or goes on with that of `before`. Says also when its lease was asked for.
///
/// # Errors
/// The link's, or the service's refusal: [`MetaError::OtherPool`] where it serves another pool than the one that is mounted.
async fn ask_for_session(
    client: &Client,
    link: Arc<Link>,
    before: Option<Before>,
) -> Result<(ClientSession, Duration), Error> {
    let who = Introduction {
        client_owner: client.client_owner,
        pool: client.identity(),
        timeout: client.timeout(),
    };
    let (asked, lease_asked) = (client.clock.now(), client.leases.now());
    let begun = ask_to_begin(&link, &client.counter, who).await?;
    if !client.identify(begun.pool) {
        return Err(MetaError::OtherPool.into());
    }
    client.node_clock.said(begun.wall, asked, client.clock.now());
    let new = NewLink {
        link,
        connection: client.next_connection(),
        counter: client.counter.clone(),
        leases: client.leases.clone(),
        patience: client.patience.clone(),
        executor: client.executor.clone(),
    };
    Ok((ClientSession::new(new, begun, before), lease_asked))
}

/// Drops what was held by lease over the connection before, and has the service give leases over this one. Its lease was asked for at
/// `asked`.
///
/// # Errors
/// The link's, or the service's.
async fn take_leases(client: &Client, session: &ClientSession, asked: Duration) -> Result<(), Error> {
    if !client.connect.takes_leases() || !session.spoken().covers(WireVersion::THIRD) {
        client.leases.none();
        return Ok(());
    }
    client.leases.begin(session.connection);
    let request = Request::Leases { take: true };
    session.call_as_root(request, client.timeout()).await?;
    client.leases.renewed(session.connection, asked, session.lease);
    Ok(())
}

/// Lets operations use the session. False when the pool was closed meanwhile.
fn install(client: &Client, session: &Arc<ClientSession>) -> bool {
    {
        let mut state = client.state.write();
        if matches!(*state, SessionState::Closed) {
            return false;
        }
        *state = SessionState::Up {
            session: session.clone(),
            since: client.clock.now(),
        };
    }
    *client.last.lock() = Some(session.before());
    client.changed.notify(usize::MAX);
    client.events.reset(Reset::Up);
    // The link may have failed before anybody listened to it.
    if !session.link.is_up() {
        client.lost(session, "the link failed during set-up");
    }
    true
}

/// Starts the thread that keeps the session until the pool is closed: connecting blocks.
pub(in crate::handler) fn start(client: &Arc<Client>) -> io::Result<()> {
    let (executor, weak) = (client.executor.clone(), Arc::downgrade(client));
    std::thread::Builder::new()
        .name("rdmafs-pool".into())
        .spawn(move || executor.block_on(keep_session(weak)))?;
    Ok(())
}

/// Keeps the session until the pool is closed.
pub(in crate::handler) async fn keep_session(client: Weak<Client>) {
    while let Some(client) = client.upgrade() {
        if !keep(&client).await {
            return;
        }
    }
}

/// One step of keeping; false when the pool is closed.
async fn keep(client: &Arc<Client>) -> bool {
    client.say_counts();
    let up = match &*client.state.read() {
        SessionState::Closed => return false,
        SessionState::Up { session, .. } => Some(session.clone()),
        SessionState::Down { .. } | SessionState::Replaced { .. } => None,
    };
    match up {
        Some(session) => {
            if !pause(client, session.lease / 4).await {
                renew(client, session);
            }
        }
        None => reconnect(client).await,
    }
    true
}

/// Waits; true when nudged.
async fn pause(client: &Client, duration: Duration) -> bool {
    let heard = client.nudge.1.listen();
    if !client.nudge.0.load(Ordering::Acquire) {
        client.executor.within(duration, heard).await;
    }
    client.nudge.0.swap(false, Ordering::AcqRel)
}

/// Renews the lease without waiting for the answer: the link's time limit watches over it.
fn renew(client: &Arc<Client>, session: Arc<ClientSession>) {
    let owner = client.clone();
    let renewal = async move {
        let (asked, lease_asked) = (owner.clock.now(), owner.leases.now());
        match session.call_as_root(Request::Renew, owner.timeout()).await {
            Ok(Reply::Renewed { wall }) => {
                owner.node_clock.said(wall, asked, owner.clock.now());
                owner
                    .leases
                    .renewed(session.connection, lease_asked, session.lease);
            }
            Err(Error::Meta(_)) => owner.lost(&session, "the lease ran out"),
            _ => {}
        }
        Ok(())
    };
    client.executor.run(0, renewal, |_: Result<(), Error>| ());
}

async fn reconnect(client: &Arc<Client>) {
    let longer = |wait: &Duration| Some((*wait * 2).min(RETRY.1));
    for mut wait in std::iter::successors(Some(RETRY.0), longer) {
        if client.is_replaced() {
            wait = REPLACED;
        }
        pause(client, wait).await;
        let down = match &*client.state.read() {
            SessionState::Down { since, .. } | SessionState::Replaced { since } => *since,
            SessionState::Up { .. } | SessionState::Closed => return,
        };
        let began = client.clock.now();
        match establish(client).await {
            Ok(()) => {
                let took = client.clock.now().saturating_sub(down).as_secs_f64();
                let note = client.note.lock().clone();
                client.say(format!("link up again after {took:.1} s: {note}"));
                return;
            }
            Err(error) => {
                // Who refuses, or is not there at all, says so sooner.
                let waited = client.clock.now().saturating_sub(began) >= client.timeout() * 9 / 10;
                if let SessionState::Down { why, silent, .. } = &mut *client.state.write() {
                    (*why, *silent) = (error.to_string(), waited);
                }
            }
        }
    }
}

/// What a link tells its client. Runs on the link's poller thread: nothing here blocks.
struct Events {
    client: Weak<Client>,
    executor: Executor,
    session: OnceLock<Weak<ClientSession>>,
}

impl LinkEvents for Events {
    fn notice(&self, message: Vec<u8>) {
        let session = self.session.get().and_then(Weak::upgrade);
        let (Some(client), Some(session)) = (self.client.upgrade(), session) else {
            return;
        };
        client.counter.received(message.len());
        match decode::<Notice>(&message, session.spoken()) {
            Ok(Notice::Recall {
                recall,
                ino,
                from,
                truncate_seq,
            }) => {
                let unused = client.events.recalled(ino, from, truncate_seq);
                let acknowledge = async move {
                    if let Some(unused) = unused {
                        unused.await;
                    }
                    // An acknowledgement that is lost would keep the space from everybody for as long as this connection lives.
                    let acknowledged = client.ask_over(&session, Request::Recalled { recall });
                    acknowledged.await.map(|_| ())
                };
                self.executor.run(0, acknowledge, log_failure);
            }
            Ok(Notice::Drain) => {
                tracing::warn!(pool = %client.name, node = %client.connect.label(), "the node ends soon: what is written is committed");
                *client.draining.lock() = session.connection;
                self.executor.run(0, drain(client, session), log_failure);
            }
            Ok(Notice::Granted { ticket }) => client.events.lock_granted(ticket, session.origin),
            Ok(Notice::Changed { ino, .. }) => client.events.layout_changed(ino),
            Ok(Notice::Forget { recall, ino, stamp }) => {
                client.leases.forget(session.connection, ino, stamp);
                client.events.forgotten(ino);
                if let Some(recall) = recall {
                    let acknowledge = async move {
                        let acknowledged = client.ask_over(&session, Request::Forgotten { recall });
                        acknowledged.await.map(|_| ())
                    };
                    self.executor.run(0, acknowledge, log_failure);
                }
            }
            Ok(Notice::Capabilities { ino }) => client.events.capabilities_given(ino),
            Err(error) => {
                tracing::error!(pool = %client.name, "the node sent no notice: {error}");
                client.lost(&session, "the node broke the protocol");
            }
        }
    }

    fn down(&self, error: FabricError) {
        let session = self.session.get().and_then(Weak::upgrade);
        if let (Some(client), Some(session)) = (self.client.upgrade(), session) {
            client.lost(&session, &error.to_string());
        }
        self.executor.run_ready();
    }

    fn idle(&self) {
        self.executor.run_ready();
    }
}

/// Has everything committed, and says so to the service.
async fn drain(client: Arc<Client>, session: Arc<ClientSession>) -> Result<(), Error> {
    let timeout = client.timeout();
    client.events.drain().await?;
    session.call_as_root(Request::Drained, timeout).await.map(|_| ())
}

fn log_failure(result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::debug!("a notice was not answered: {error}");
    }
}
