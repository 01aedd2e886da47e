//! From the lock file to the last unmount.

use super::answer::Daemon;
use super::mounts::Mounts;
use super::records::Records;
use super::restore::restore;
use crate::control::{Connection, ControlReply, Listener, socket_path};
use crate::executor::Executor;
use crate::handler::Handler;
use crate::process::{PidFile, Signals, harden, prepare_run_dir};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long unmounted mounts may take to end after a signal.
const FAREWELL: Duration = Duration::from_secs(3);

/// How long the control socket waits for the mounts of a handler that died to be back. They wait for no node.
const RESTORE: Duration = Duration::from_secs(5);

/// How often, and at what distance, the lock of a handler that ends is tried: in all a little longer than its farewell.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Runs the handler until its last mount is gone (or, never mounted, until it has been idle for 10 s), or SIGTERM. `ready` is
/// called once the mounts of a handler that died here are back, those that can be, and the control socket accepts. Blocking. Call it before the process starts threads.
///
/// # Errors
/// One line: another handler runs, or a directory or socket cannot be had.
pub fn run(run_dir: PathBuf, ready: impl FnOnce()) -> Result<(), String> {
    let signals = Signals::block().map_err(|error| format!("cannot block signals: {error}"))?;
    let left_out = harden()?;
    prepare_run_dir(&run_dir)?;
    let _lock = lock(&run_dir)?;
    let listener = Listener::bind(&run_dir)
        .map_err(|error| format!("cannot make the control socket in {}: {error}", run_dir.display()))?;
    let _pid_file = PidFile::write(run_dir.join("handler.pid"))?;
    let daemon = Arc::new(Daemon {
        records: Records::open(&run_dir)?,
        handler: Handler::new(Executor::start(), run_dir),
        mounts: Mounts::new(),
    });
    let listener = Arc::new(listener);
    spawn("signals", {
        let daemon = daemon.clone();
        move || await_signal(signals, &daemon)
    })?;
    let restorer = start_restoring(&daemon)?;
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
    end(&daemon, restorer);
    Ok(())
}

/// Gives the thread that goes on with what has to wait.
fn start_restoring(daemon: &Arc<Daemon>) -> Result<JoinHandle<()>, String> {
    let (first, tried) = mpsc::channel();
    let restorer = spawn("restore", {
        let daemon = daemon.clone();
        move || restore(&daemon, first)
    })?;
    if tried.recv_timeout(RESTORE) == Err(mpsc::RecvTimeoutError::Timeout) {
        tracing::warn!(
            "mounts of the handler that died here are not back yet: a directory of theirs does not answer"
        );
    }
    Ok(restorer)
}

/// Holds `handler.lock` for as long as this process lives: the kernel lets go of it however the process ends. A handler that is
/// just ending, which listens no more, is waited for. Blocking.
fn lock(run_dir: &Path) -> Result<Flock<File>, String> {
    let path = run_dir.join("handler.lock");
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    for _ in 0..LOCK_TRIES {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, error)) => return Err(format!("cannot lock {}: {error}", path.display())),
        };
        if UnixStream::connect(socket_path(run_dir)).is_ok() {
            break;
        }
        thread::sleep(LOCK_PAUSE);
    }
    Err(format!("another rdmafs handler runs in {}", run_dir.display()))
}

fn spawn(name: &str, job: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, String> {
    let thread = thread::Builder::new().name(name.into()).spawn(job);
    thread.map_err(|error| format!("cannot start a thread: {error}"))
}

fn await_signal(signals: Signals, daemon: &Daemon) {
    match signals.wait() {
        Ok(name) => tracing::info!("{name}: unmounting and ending"),
        Err(error) => tracing::error!("cannot wait for signals, so the handler ends: {error}"),
    }
    daemon.mounts.end();
}

/// Takes callers until the listener is closed; each is served by a thread of its own.
fn accept(listener: &Listener, daemon: &Arc<Daemon>) {
    loop {
        let connection = match listener.accept() {
            Ok(connection) => connection,
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                // Too many open files, most likely: that passes.
                tracing::error!("control socket: {error}");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let daemon = daemon.clone();
        if let Err(error) = spawn("request", move || serve(connection, &daemon)) {
            tracing::error!("a control request is dropped: {error}");
        }
    }
}

fn serve(connection: Connection, daemon: &Arc<Daemon>) {
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

fn end(daemon: &Daemon, restorer: JoinHandle<()>) {
    daemon.detach_all();
    daemon.mounts.wait_until_empty(FAREWELL);
    daemon.abort_all();
    for live in daemon.mounts.all() {
        daemon.unrecord(&live);
    }
    for mount in daemon.mounts.take_all() {
        mount.close();
    }
    if restorer.join().is_err() {
        tracing::error!("the restoring thread panicked");
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
        let refused = lock(dir.path()).unwrap_err();
        assert_eq!(
            refused,
            format!("another rdmafs handler runs in {}", dir.path().display())
        );
        drop(listener);
        // The first one listens no more: the next one waits for its end.
        let path = dir.path().to_owned();
        let next = thread::spawn(move || lock(&path).map(drop));
        drop(held);
        assert_eq!(next.join().unwrap(), Ok(()));
    }
}
