//! What an operator asks of a node on its own host: how it is, who locked what, and its end. See [`control`](crate::control).

use super::clocks::Clocks;
use super::config::ServeConfig;
use super::journal::Journal;
use super::service::Service;
use crate::control::{
    Connection, Listener, LockList, LockStatus, NodeReply, NodeRequest, NodeStatus, Refusal, node_socket_path,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;
use rdmafs_meta::lock::{LAST_BYTE, LockKind};
use rdmafs_meta::namespace::Locked;
use rdmafs_rdma::shown::shown;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use thiserror::Error;

/// Locks and waiters that one answer lists.
const MOST_LOCKS: usize = 1000;

/// A process that its host cannot tell has the highest bit of its number set.
const UNTOLD: u64 = 1 << 63;

/// A node as its operator sees it, from the beginning of its start on.
pub(super) struct Front {
    node: SocketAddr,
    pool: String,
    memory: u64,
    fabrics: Vec<String>,
    state_dir: Option<PathBuf>,
    lease: Duration,
    most_sessions: u32,
    drain: Duration,
    clocks: Clocks,
    begun: Duration,
    prepared: AtomicU8,
    service: OnceLock<Arc<Service>>,
    stopping: AtomicBool,
    hurried: AtomicBool,
    warnings: Mutex<Vec<String>>,
}

impl Front {
    pub(super) fn new(config: &ServeConfig, node: SocketAddr) -> Self {
        let clocks = Clocks::default();
        Self {
            node,
            pool: config.pool.clone(),
            memory: config.memory,
            fabrics: config.fabrics.iter().map(|kind| kind.name().to_owned()).collect(),
            state_dir: config.state.clone(),
            lease: config.lease,
            most_sessions: config.sessions,
            drain: config.drain,
            begun: clocks.now().monotonic,
            clocks,
            prepared: AtomicU8::new(0),
            service: OnceLock::new(),
            stopping: AtomicBool::new(false),
            hurried: AtomicBool::new(false),
            warnings: Mutex::new(Vec::new()),
        }
    }

    /// So much of the memory is prepared, in percent.
    pub(super) fn preparing(&self, percent: u8) {
        self.prepared.store(percent, Ordering::Relaxed);
    }

    /// It serves. A warning is what does not work.
    pub(super) fn serves(&self, service: &Arc<Service>, warning: Option<&str>) {
        self.preparing(100);
        self.warnings.lock().extend(warning.map(str::to_owned));
        // A node begins to serve once.
        let _ = self.service.set(Arc::clone(service));
    }

    /// It ends.
    pub(super) fn stops(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Its end is not to wait for handlers.
    pub(super) fn is_hurried(&self) -> bool {
        self.hurried.load(Ordering::Relaxed)
    }

    fn status(&self) -> NodeStatus {
        let service = self.service.get();
        let room = service.map(|service| service.look(|namespace| namespace.space_and_names()));
        let space = room.map(|room| room.space);
        let (free, inodes) = space.map_or((0, 0), |space| (space.free, space.inodes));
        let stopping = self.stopping.load(Ordering::Relaxed);
        let state = match service {
            _ if stopping => "stopping",
            None => "preparing",
            Some(_) => "serving",
        };
        NodeStatus {
            node: self.node.to_string(),
            pool: self.pool.clone(),
            pid: std::process::id(),
            state: state.to_owned(),
            prepared: self.prepared.load(Ordering::Relaxed),
            for_ms: millis(self.clocks.now().monotonic.saturating_sub(self.begun)),
            total: self.memory,
            used: space.map_or(0, |space| space.total.saturating_sub(space.free)),
            free,
            inodes,
            names: room.map_or(0, |room| room.names),
            names_free: room.map_or(0, |room| room.names_free),
            lost_files: space.map_or(0, |space| space.lost_files),
            lost_bytes: space.map_or(0, |space| space.lost_bytes),
            fabrics: self.fabrics.clone(),
            state_dir: self.state_dir.clone(),
            lease_ms: millis(self.lease),
            most_sessions: self.most_sessions,
            sessions: service.map(|service| service.sessions()).unwrap_or_default(),
            warnings: self.all_warnings(),
        }
    }

    fn all_warnings(&self) -> Vec<String> {
        let mut warnings = self.warnings.lock().clone();
        let journal = self.service.get().and_then(|service| service.journal());
        if journal.is_some_and(Journal::is_full) {
            let dir = self.state_dir.as_ref().map(|dir| shown(dir).to_string());
            let dir = dir.unwrap_or_default();
            warnings.push(format!(
                "no room in {dir}: names cannot grow; make room on its file system"
            ));
        }
        warnings
    }

    fn locks(&self) -> LockList {
        let Some(service) = self.service.get() else {
            return LockList::default();
        };
        let (locked, more) = service.locked(MOST_LOCKS);
        let list = locked.into_iter().map(|(host, locked)| self.lock(host, locked));
        LockList {
            locks: list.collect(),
            more: more as u64,
        }
    }

    fn lock(&self, host: String, locked: Locked) -> LockStatus {
        let kind = match locked.lock.kind {
            LockKind::Flock => "flock",
            LockKind::Posix => "posix",
            LockKind::Ofd => "ofd",
            LockKind::Unknown => "unknown",
        };
        let process = locked.lock.process;
        let notified = process != 0 && process & UNTOLD == 0;
        let last = locked.lock.span.last();
        LockStatus {
            pool: self.pool.clone(),
            inode: locked.ino.0,
            path: locked.path,
            host,
            pid: u32::try_from(process).ok().filter(|_| notified),
            kind: kind.to_owned(),
            exclusive: locked.lock.exclusive,
            start: locked.lock.span.start(),
            last: (last != LAST_BYTE).then_some(last),
            waiting: locked.waits.is_some(),
            waits_ms: locked.waits.map_or(0, millis),
        }
    }

    /// Ends the node, unless somebody uses it and `yes` was not said. Nobody new comes in from then on. A node that ends already is not
    /// signalled again.
    fn stop(&self, yes: bool, hurry: bool) -> NodeReply {
        let allowed = self
            .service
            .get()
            .is_none_or(|service| service.close(yes, self.state_dir.is_some()));
        if !allowed {
            return NodeReply::InUse(self.status());
        }
        if hurry {
            self.hurried.store(true, Ordering::Relaxed);
        }
        if !self.stopping.swap(true, Ordering::Relaxed) {
            tracing::info!("told to stop");
            // As from outside: one way to end.
            if let Err(error) = kill(Pid::this(), Signal::SIGTERM) {
                tracing::error!(%error, "cannot signal this process");
            }
        }
        NodeReply::Stopping {
            limit_ms: millis(self.drain),
        }
    }

    fn serve(&self, caller: &Connection) -> Result<(), Refusal> {
        let reply = match caller.hear()? {
            NodeRequest::Status => NodeReply::Status(self.status()),
            NodeRequest::Locks => NodeReply::Locks(self.locks()),
            NodeRequest::Stop { yes, hurry } => self.stop(yes, hurry),
        };
        caller.reply(&reply);
        Ok(())
    }
}

/// A control socket that cannot be had.
#[derive(Debug, Error)]
#[error("cannot make the control socket {}: {source}", shown(.path))]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

/// The control socket of a node, with the thread that serves it.
pub(super) struct Control {
    listener: Arc<Listener>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// # Errors
    /// The socket or the thread cannot be had.
    pub(super) fn open(front: &Arc<Front>, config: &ServeConfig) -> Result<Self, SocketError> {
        let path = node_socket_path(&config.run_dir, front.node.port());
        let failed = |source| {
            let path = path.clone();
            SocketError { path, source }
        };
        let listener = Arc::new(Listener::bind_at(path.clone()).map_err(failed)?);
        let (front, theirs) = (Arc::clone(front), Arc::clone(&listener));
        let thread = thread::Builder::new().name("control".into());
        let thread = thread.spawn(move || accept(&theirs, &front)).map_err(failed)?;
        Ok(Self {
            listener,
            thread: Some(thread),
        })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.listener.close();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the control thread panicked");
        }
    }
}

/// One caller after the other: only root and who runs the node get so far.
fn accept(listener: &Listener, front: &Front) {
    /// Between two tries where the process has no descriptor left.
    const PAUSE: Duration = Duration::from_millis(50);
    loop {
        match listener.accept() {
            Ok(caller) => {
                if let Err(refusal) = front.serve(&caller) {
                    caller.turn_away(&refusal);
                }
            }
            // After the listener was closed.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
            Err(error) => {
                tracing::debug!(%error, "no caller of the control socket");
                thread::sleep(PAUSE);
            }
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
