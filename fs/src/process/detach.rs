//! Detaching: a daemon is this program started again, with its own session and log file, and a pipe to tell its starter
//! how it fares.
//!
//! Nothing forks without exec, so no thread or lock is lost on the way. The pipe is the daemon's standard
//! output until it is ready; on it go lines of JSON. The starter returns with the first line that is final.

use rdmafs_rdma::shown::shown;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use thiserror::Error;

/// Set in the environment of a detached process.
const DETACHED: &str = "RDMAFS_DETACHED";

/// A daemon to start.
#[derive(Clone, Debug)]
pub struct Daemon<'a> {
    /// Of its log file, `RUN_DIR/NAME.log`.
    pub name: &'a str,
    /// Directory of the log file; it must exist.
    pub run_dir: &'a Path,
    /// Arguments of this program that run it in the foreground. Paths in them must be absolute: a daemon works in `/`.
    pub arguments: Vec<OsString>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Line {
    Progress(String),
    Ready(String),
    Error(String),
}

/// What a daemon that did not get ready says of it, in one line: its starter's caller reads it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DaemonFailed(String);

/// No daemon serves.
#[derive(Debug, Error)]
pub enum DetachError {
    /// Its log file cannot be opened.
    #[error("cannot open the log file {}: {source}", shown(.path))]
    Log {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This program cannot be started again.
    #[error("cannot start the daemon: {0}")]
    Start(#[source] io::Error),
    /// Nothing can be heard of the daemon.
    #[error("the daemon has no pipe")]
    NoPipe,
    /// The daemon said why it does not serve.
    #[error(transparent)]
    Daemon(#[from] DaemonFailed),
    /// The daemon ended in this way and said nothing.
    #[error("the daemon ended before it was ready ({end}): see {}", shown(.log))]
    Ended {
        /// Its exit status, or why that is not known.
        end: String,
        /// Its log file.
        log: PathBuf,
    },
}

/// Starts a daemon and waits until it is ready; answers its ready text. `progress` is called with what it says before. Blocking,
/// as long as the daemon takes. When the caller dies first, a daemon that reports progress ends with it.
///
/// # Errors
/// The daemon's own error, or that it ended without one, with the name of its log.
pub fn detach(daemon: &Daemon<'_>, progress: impl FnMut(&str)) -> Result<String, DetachError> {
    let log_path = daemon.run_dir.join(format!("{}.log", daemon.name));
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&log_path);
    let log = match log {
        Ok(log) => log,
        Err(source) => {
            let path = log_path;
            return Err(DetachError::Log { path, source });
        }
    };
    // By its link in /proc, so that it is this very program, even if the file was replaced by another version.
    let mut child = Command::new("/proc/self/exe")
        .arg0("rdmafs")
        .args(&daemon.arguments)
        .env(DETACHED, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(DetachError::Start)?;
    let pipe = child.stdout.take().ok_or(DetachError::NoPipe)?;
    match follow(BufReader::new(pipe), progress) {
        Some(said) => Ok(said?),
        None => {
            let end = child
                .wait()
                .map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(DetachError::Ended { end, log: log_path })
        }
    }
}

/// Reads until a final line; `None` at the pipe's end.
pub(crate) fn follow(
    pipe: impl BufRead,
    mut progress: impl FnMut(&str),
) -> Option<Result<String, DaemonFailed>> {
    for line in pipe.lines() {
        // What is no message of ours is output of some library: it cannot be the final word.
        match serde_json::from_str(&line.ok()?) {
            Ok(Line::Progress(text)) => progress(&text),
            Ok(Line::Ready(text)) => return Some(Ok(text)),
            Ok(Line::Error(text)) => return Some(Err(DaemonFailed(text))),
            Err(_) => {}
        }
    }
    None
}

/// How a daemon tells its starter how it fares. In the foreground it tells nobody: the caller prints.
#[derive(Debug)]
pub struct Report {
    pipe: Option<io::Stdout>,
}

impl Report {
    /// Finds out whether [`detach`] started this process, and then makes it a session of its own and closes what it
    /// inherited, so that nobody waits for a pipe that it holds by accident. Call it first of all, before anything is opened.
    ///
    /// # Errors
    /// A system call failed.
    pub fn begin() -> io::Result<Self> {
        if std::env::var_os(DETACHED).is_none() {
            return Ok(Self { pipe: None });
        }
        nix::unistd::setsid()?;
        close_inherited()?;

        std::env::set_current_dir("/")?;
        nix::sys::prctl::set_name(c"rdmafs")?;
        Ok(Self {
            pipe: Some(io::stdout()),
        })
    }

    /// True when someone waits for this process to get ready, and standard error is a log file.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.pipe.is_some()
    }

    /// Says how far the start has come. A daemon whose starter was interrupted exits here: nobody wants it any more.
    pub fn progress(&mut self, text: &str) {
        let reported = self.tell(&Line::Progress(text.to_owned()));
        if reported.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            tracing::error!("the process that started this one is gone: it ends too");
            std::process::exit(1);
        }
    }

    /// Says that the daemon serves: [`detach`] returns `text`. Standard output is `/dev/null` from now on.
    pub fn ready(&mut self, text: &str) {
        self.last(&Line::Ready(text.to_owned()));
    }

    /// Says why it does not: [`detach`] returns `text` as its error. Does nothing once the daemon is ready: log what comes later.
    pub fn failed(&mut self, text: &str) {
        self.last(&Line::Error(text.to_owned()));
    }

    fn last(&mut self, line: &Line) {
        let reported = self.tell(line);
        if self.pipe.take().is_some() {
            let closed = File::options()
                .write(true)
                .open("/dev/null")
                .and_then(|null| Ok(nix::unistd::dup2_stdout(null)?));
            if let Err(error) = reported.and(closed) {
                tracing::warn!(%error, "cannot tell the process that started this one");
            }
        }
    }

    fn tell(&mut self, line: &Line) -> io::Result<()> {
        let Some(pipe) = &mut self.pipe else {
            return Ok(());
        };
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        pipe.write_all(text.as_bytes())?;
        pipe.flush()
    }
}

/// Closes every descriptor but the standard ones.
fn close_inherited() -> io::Result<()> {
    let open = std::fs::read_dir("/proc/self/fd")?;
    let names = open.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let found: Vec<RawFd> = names.filter_map(|name| name.parse().ok()).collect();
    for descriptor in found.into_iter().filter(|descriptor| *descriptor > 2) {
        // Bad only if it is the one that listed them, closed by now.
        let _ = nix::unistd::close(descriptor);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{PollFd, PollFlags, poll};
    use std::os::fd::AsFd;
    fn detach_test(test: &str, progress: impl FnMut(&str)) -> (Result<String, String>, String) {
        let run_dir = tempfile::tempdir().unwrap();
        let daemon = Daemon {
            name: "child",
            run_dir: run_dir.path(),
            arguments: ["--exact", test, "--nocapture", "--test-threads=1"]
                .map(OsString::from)
                .to_vec(),
        };
        let answer = detach(&daemon, progress).map_err(|error| error.to_string());
        let log = std::fs::read_to_string(run_dir.path().join("child.log")).unwrap();
        (answer, log)
    }

    /// The daemons below are tests that do nothing unless they were detached.
    fn detached() -> Option<Report> {
        std::env::var_os(DETACHED)?;
        // The test runner has begun a line of its own.
        println!();
        Some(Report::begin().unwrap())
    }

    #[test]
    fn the_starter_hears_progress_and_readiness() {
        let mut heard = Vec::new();
        let (held, inherited) = std::io::pipe().unwrap();
        nix::fcntl::fcntl(&inherited, nix::fcntl::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
        let (answer, log) = detach_test("process::detach::tests::child_gets_ready", |text| {
            heard.push(text.to_owned())
        });
        let text = answer.unwrap();
        drop(inherited);
        // The daemon lives on for longer than this waits.
        let mut ends = [PollFd::new(held.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut ends, 10_000_u16).unwrap(), 1, "the pipe is at its end");
        assert_eq!(heard, ["half\nway"]);
        let (pid, session) = text.split_once('\n').unwrap();
        assert_eq!(pid, session, "a daemon leads its session");
        let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).unwrap();
        nix::sys::wait::waitpid(pid, None).unwrap();
        assert!(log.contains("before it was ready"), "{log}");
    }

    #[test]
    fn child_gets_ready() {
        let Some(mut report) = detached() else { return };
        assert!(report.is_detached());
        eprintln!("before it was ready");
        report.progress("half\nway");
        let session = nix::unistd::getsid(None).unwrap();
        report.ready(&format!("{}\n{session}", std::process::id()));
        // Later words go nowhere, and do not kill it.
        report.failed("too late");
        println!("to nobody");
        // Its starter kills it, or it was orphaned.
        std::thread::sleep(std::time::Duration::from_secs(30));
    }

    #[test]
    fn the_starter_hears_the_daemons_error() {
        let (answer, _) = detach_test("process::detach::tests::child_fails", |_| {});
        assert_eq!(answer, Err("no such pool".to_owned()));
    }

    #[test]
    fn child_fails() {
        let Some(mut report) = detached() else { return };
        report.failed("no such pool");
        std::process::exit(1);
    }

    #[test]
    fn a_daemon_that_dies_silently_is_an_error_that_names_its_log() {
        let (answer, _) = detach_test("process::detach::tests::child_dies", |_| {});
        let line = answer.unwrap_err();
        assert!(
            line.contains("exit status: 7") && line.contains("child.log"),
            "{line}"
        );
    }

    #[test]
    fn child_dies() {
        if detached().is_some() {
            std::process::exit(7);
        }
    }

    #[test]
    fn in_the_foreground_nobody_is_notified() {
        let mut report = Report { pipe: None };
        assert!(!report.is_detached());
        report.progress("x");
        report.ready("y");
    }

    #[test]
    fn foreign_output_is_no_message() {
        let pipe = b"warning: {\n{\"other\":1}\n{\"ready\":\"yes\"}\n".as_slice();
        assert_eq!(
            follow(pipe, |_| panic!("no progress")),
            Some(Ok("yes".to_owned()))
        );
        assert_eq!(follow(b"\xff\xfe\n".as_slice(), |_| {}), None);
        assert_eq!(follow(b"".as_slice(), |_| {}), None);
    }
}
