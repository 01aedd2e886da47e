//! From the lock file to the last unmount.

use super::mounts::Mounts;
use super::records::{FolderError, Records};
use super::restore::{families, restore};
use super::shared::Daemon;
use crate::control::{Connection, ControlReply, Listener, Refusal, socket_path};
use crate::executor::Executor;
use crate::handler::Handler;
use crate::mounter::Mounter;
use crate::process::lock_call;
use crate::process::{
    NotHardened, PidFile, PidFileError, Role, RunDirError, Signals, confine, harden, has_rdma_devices,
    hides_tasks, look_for_roce_rule, prepare_run_dir,
};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rdmafs_rdma::clock::{Clock, SystemClock};
use rdmafs_rdma::log_limit::{Held, LogLimit};
use rdmafs_rdma::shown::shown;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use thiserror::Error;

/// How long mounts that are just being made again may take to hear of the end.
const FAREWELL: Duration = Duration::from_secs(3);

/// How long the control socket waits for the mounts of a handler that died to be back. They wait for no node.
const RESTORE: Duration = Duration::from_secs(5);

/// Between two looks at what nobody tells of.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the lock of a handler that ends is tried: in all a little longer than its farewell.
const LOCK_TRIES: u32 = 100;

/// After so many tries a handler that still takes callers is believed to live. One that was killed takes them until its last thread is
/// gone.
const LIVES: u32 = 20;

/// A handler that does not come to serve: what it lacks.
#[derive(Debug, Error)]
pub enum RunError {
    /// Signals cannot be held back.
    #[error("cannot block signals: {0}")]
    Signals(#[source] io::Error),
    /// The process that mounts cannot be started.
    #[error("cannot start the process that mounts: {0}")]
    Mounter(#[source] io::Error),
    /// The process cannot be made safe.
    #[error(transparent)]
    Harden(#[from] NotHardened),
    /// The run directory.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The lock file cannot be opened.
    #[error("{}: {source}", shown(.path))]
    LockFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock file cannot be locked.
    #[error("cannot lock {}: {source}", shown(.path))]
    Lock {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: Errno,
    },
    /// Another handler has the lock of this run directory.
    #[error("another rdmafs handler runs in {}", shown(.0))]
    Another(PathBuf),
    /// The control socket.
    #[error("cannot make the control socket in {}: {source}", shown(.run_dir))]
    Socket {
        /// The run directory.
        run_dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The pid file.
    #[error(transparent)]
    PidFile(#[from] PidFileError),
    /// The folder of the records of mounts.
    #[error(transparent)]
    Records(#[from] FolderError),
    /// A thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// Runs the handler until its last mount is unmounted, dead ones that wait for something included (or, never mounted, until it has been
/// idle for 10 s), or until SIGTERM, which leaves the mounts to the next handler. `ready` is
/// called once the mounts of a handler that ended here are back, those that can be, and the control socket accepts. Blocking. Call it
/// before the process starts threads.
///
/// # Errors
/// Another handler runs, or a directory or socket cannot be had.
pub fn run(run_dir: PathBuf, ready: impl FnOnce()) -> Result<(), RunError> {
    let signals = Signals::block().map_err(RunError::Signals)?;
    let mut left_out = harden()?;
    if has_rdma_devices() {
        look_for_roce_rule();
    }
    let mounter = Mounter::start().map_err(RunError::Mounter)?;
    lock_call::look_by({
        let mounter = mounter.clone();
        move |tid| mounter.lock_call(tid)
    });
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let hidden_tasks = hides_tasks(&mounts);
    confine(Role::Handler { hidden_tasks }, &mut left_out);
    prepare_run_dir(&run_dir)?;
    let _lock = lock(&run_dir)?;
    let listener = Listener::bind(&run_dir).map_err(|source| {
        let run_dir = run_dir.clone();
        RunError::Socket { run_dir, source }
    })?;
    let _pid_file = PidFile::write(run_dir.join("handler.pid"))?;
    let daemon = Arc::new(Daemon {
        records: Records::open(&run_dir)?,
        handler: Handler::new(Executor::start(), run_dir),
        mounts: Mounts::new(),
        mounter,
    });
    let listener = Arc::new(listener);
    spawn("signals", {
        let daemon = daemon.clone();
        move || await_signal(signals, &daemon)
    })?;
    let restorers = start_restoring(&daemon)?;
    let acceptor = spawn("control", {
        let (daemon, listener) = (daemon.clone(), listener.clone());
        move || accept(&listener, &daemon)
    })?;
    ready();
    left_out.log();
    daemon.mounts.wait_for_end();
    listener.close();
    if acceptor.join().is_err() {
        tracing::error!("the control thread panicked");
    }
    // Its file goes now, while the lock is held: later it might be the next handler's.
    drop(listener);
    end(&daemon, restorers);
    Ok(())
}

/// Gives the threads that go on with what has to wait.
fn start_restoring(daemon: &Arc<Daemon>) -> Result<Vec<JoinHandle<()>>, RunError> {
    let (first, tried) = mpsc::channel();
    let mut restorers = Vec::new();
    for family in families(daemon.records.load()) {
        let (daemon, first) = (daemon.clone(), first.clone());
        restorers.push(spawn("restore", move || restore(&daemon, family, first))?);
    }
    drop(first);
    if tried.recv_timeout(RESTORE) == Err(mpsc::RecvTimeoutError::Timeout) {
        tracing::warn!("mounts of the handler that died here are not back yet: a directory does not answer");
    }
    Ok(restorers)
}

/// Holds `handler.lock` for as long as this process lives: the kernel lets go of it however the process ends. A handler that is
/// just ending, which listens no more, is waited for. Blocking.
fn lock(run_dir: &Path) -> Result<Flock<File>, RunError> {
    let path = run_dir.join("handler.lock");
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(source) => return Err(RunError::LockFile { path, source }),
    };
    let mut taken = 0;
    for _ in 0..LOCK_TRIES {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, source)) => return Err(RunError::Lock { path, source }),
        };
        taken += u32::from(UnixStream::connect(socket_path(run_dir)).is_ok());
        if taken == LIVES {
            break;
        }
        thread::sleep(PAUSE);
    }
    Err(RunError::Another(run_dir.to_owned()))
}

fn spawn(name: &str, job: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, RunError> {
    let thread = thread::Builder::new().name(name.into()).spawn(job);
    thread.map_err(RunError::Thread)
}

fn await_signal(signals: Signals, daemon: &Daemon) {
    match signals.wait() {
        Ok(name) => tracing::info!(
            "{name}: committing and ending; the mounts stay, dead, until a handler is started again"
        ),
        Err(error) => tracing::error!("cannot wait for signals, so the handler ends: {error}"),
    }
    daemon.mounts.end();
}

/// Takes callers until the listener is closed; each is served by a thread of its own. Only root can be one, so nobody else can
/// have threads or descriptors here.
fn accept(listener: &Listener, daemon: &Arc<Daemon>) {
    let clock = SystemClock::new();
    let mut scarcity = LogLimit::new(1);
    loop {
        let failed = match listener.accept() {
            Ok(connection) => take(connection, daemon).err().map(|error| error.to_string()),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(error) => {
                // Too many open files, most likely: that passes.
                thread::sleep(Duration::from_millis(100));
                Some(format!("a control request is not served: {error}"))
            }
        };
        let held = scarcity.held(clock.now());
        if let Some(Held { count, span, last }) = held {
            tracing::error!(count, seconds = span.as_secs(), "{last}");
        }
        if let Some(line) = failed.and_then(|line| scarcity.event(clock.now(), line)) {
            tracing::error!("{line}");
        }
    }
}

/// Serves a caller on a thread of its own. Who may not ask gets none.
fn take(connection: Connection, daemon: &Arc<Daemon>) -> Result<(), RunError> {
    if let Err(refusal) = connection.may_ask() {
        connection.turn_away(&refusal);
        return Ok(());
    }
    let connection = Arc::new(connection);
    let (theirs, daemon) = (Arc::clone(&connection), Arc::clone(daemon));
    spawn("request", move || serve(&theirs, &daemon))
        .map(drop)
        .inspect_err(|_| connection.turn_away(&Refusal::NoThread))
}

fn serve(connection: &Connection, daemon: &Arc<Daemon>) {
    // Closed without an answer, a caller knows that this handler ended, and starts another one.
    let Some(_busy) = daemon.mounts.busy() else {
        return;
    };
    let reply = match connection.receive() {
        Ok((request, device)) => daemon.answer(request, device, connection.pid()),
        Err(refusal) => ControlReply::Error(refusal.to_string()),
    };
    connection.reply(&reply);
}

/// What was written and answered is committed, and the sessions end. The mounts stay where they are, dead, until the next handler takes their
/// places, and so do their records: only umount unmounts.
fn end(daemon: &Daemon, restorers: Vec<JoinHandle<()>>) {
    daemon.handler.write_back_all();
    // First: what a program hears of as written from now on would not be committed.
    daemon.abort_all();
    daemon.handler.commit_all();
    let mounts = daemon.mounts.take_all();
    // Side by side: each may wait for a node that does not answer.
    thread::scope(|scope| {
        for mount in &mounts {
            scope.spawn(|| mount.leave());
        }
    });
    // One may wait for a directory that does not answer: it ends with the process.
    let busy = |restorers: &[JoinHandle<()>]| restorers.iter().any(|restorer| !restorer.is_finished());
    for _ in 0..FAREWELL.as_millis() / PAUSE.as_millis() {
        if !busy(&restorers) {
            break;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_handler_per_run_directory() {
        let dir = tempfile::tempdir().unwrap();
        let held = lock(dir.path()).unwrap();
        let listener = Listener::bind(dir.path()).unwrap();
        let refused = lock(dir.path()).unwrap_err().to_string();
        assert_eq!(
            refused,
            format!("another rdmafs handler runs in {}", shown(&dir.path()))
        );
        drop(listener);
        // The first one listens no more: the next one waits for its end.
        let path = dir.path().to_owned();
        let next = thread::spawn(move || lock(&path).map(drop));
        drop(held);
        next.join().unwrap().unwrap();
    }
}
