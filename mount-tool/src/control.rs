//! Asking the handler, and starting it where none runs.

use crate::settings::{RUN_DIR_VARIABLE, run_dir};
use rdmafs_fs::control::{ControlError, ControlReply, ControlRequest, call};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use thiserror::Error;

const UNIT: &str = "rdmafs-handler.service";
const UNIT_DIRS: [&str; 3] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/lib/systemd/system",
];

/// Why the handler did not do what was asked. What it says comes as a line over its socket.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    /// No handler runs, or it ended before it answered: another one may be started.
    #[error("{0}")]
    Gone(String),
    /// It died, and left mounts behind: another one may be started.
    #[error("{0}")]
    Died(String),
    /// The handler refused, or cannot be talked to.
    #[error("{0}")]
    Said(String),
}

/// No handler could be started.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// The command cannot be run.
    #[error("cannot start the handler with {command}: {source}")]
    Run { command: String, source: io::Error },
    /// The command ran and failed, and said why.
    #[error("cannot start the handler with {command}: {said}")]
    Failed { command: String, said: String },
}

/// Asks the handler of this host's run directory; `descriptor` goes with a mount request. Blocking.
pub(crate) fn ask(
    request: &ControlRequest,
    descriptor: Option<BorrowedFd<'_>>,
) -> Result<ControlReply, Refusal> {
    match call(&run_dir(), request, descriptor) {
        Ok(ControlReply::Error(line)) => Err(Refusal::Said(line)),
        Ok(reply) => Ok(reply),
        Err(error @ (ControlError::NoHandler(_) | ControlError::Closed(_))) => {
            Err(Refusal::Gone(error.to_string()))
        }
        Err(error @ ControlError::Died(_)) => Err(Refusal::Died(error.to_string())),
        Err(error) => Err(Refusal::Said(error.to_string())),
    }
}

/// The answer does not fit the request: the two programs are of different versions.
pub(crate) fn unexpected(reply: &ControlReply) -> String {
    let word = format!("{reply:?}");
    let word = word
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default();
    format!("the handler answered '{word}', which does not fit: unmount all, then use one version of rdmafs")
}

/// Starts the handler, through its systemd unit where that is installed; returns when it accepts requests. Blocking.
///
/// # Errors
/// Another starter may have been quicker: ask again before you believe it.
pub(crate) fn start_handler() -> Result<(), StartError> {
    let (mut program, command) = if unit_is_there() {
        let mut program = Command::new("systemctl");
        program.args(["start", UNIT]);
        (program, format!("'systemctl start {UNIT}'"))
    } else {
        let mut program = Command::new("/proc/self/exe");
        program.arg("handler");
        (program, "'rdmafs handler'".to_owned())
    };
    let output = match program.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(source) => return Err(StartError::Run { command, source }),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim().trim_start_matches("rdmafs handler: ").to_owned();
    Err(StartError::Failed { command, said })
}

/// A handler for a run directory of its own (tests) is none of systemd's.
fn unit_is_there() -> bool {
    std::env::var_os(RUN_DIR_VARIABLE).is_none()
        && Path::new("/run/systemd/system").is_dir()
        && UNIT_DIRS.iter().any(|dir| Path::new(dir).join(UNIT).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_does_not_fit_is_named_without_its_contents() {
        let line = unexpected(&ControlReply::Ready {
            note: "secret".to_owned(),
        });
        assert!(line.contains("'Ready'") && line.contains("one version") && !line.contains("secret"));
    }
}
