//! `rdmafs handler`: the daemon that serves all mounts of this host. `rdmafs mount` starts it; people seldom do.

use crate::failure::Failure;
use crate::output;
use crate::settings::{run_dir, start_logging};
use nix::sched::{CloneFlags, setns};
use rdmafs_fs::daemon;
use rdmafs_fs::process::{Daemon, Report, detach, prepare_run_dir};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const EXAMPLES: &str = "\
'rdmafs mount' starts it where none runs. It ends after its last unmount, or 10 s after its start when nothing is
mounted. SIGTERM commits what was written and leaves the mounts, dead; started again, after that or a crash, it takes them over. Its log is RUN_DIR/handler.log (/run/rdmafs unless RDMAFS_RUN_DIR says otherwise).";

/// Run the daemon that serves all mounts of this host
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    foreground: bool,
    /// Stay in the mount namespace that this is started in, as the systemd unit wants it
    #[arg(long)]
    stay: bool,
}

/// Serves until the last mount is gone, or starts a daemon that does. Blocking.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::usage(
            "only root may run the handler: it mounts file systems (try sudo)",
        ));
    }
    if args.foreground {
        serve()
    } else {
        start(args.stay)
    }
}

fn serve() -> Result<(), Failure> {
    let report =
        Report::begin().map_err(|error| Failure::system(format!("cannot become a daemon: {error}")))?;
    start_logging();
    let report = std::cell::RefCell::new(report);
    let ready = || report.borrow_mut().ready(&ready_text());
    daemon::run(run_dir(), ready).map_err(|error| {
        report.borrow_mut().failed(&error.to_string());
        Failure::system(error)
    })
}

fn start(stay: bool) -> Result<(), Failure> {
    let run_dir = run_dir();
    prepare_run_dir(&run_dir).map_err(Failure::system)?;
    if !stay {
        // Best effort: a handler in the caller's namespace works as well, as long as that lives.
        let _ = enter_first_namespace(&run_dir);
    }
    let arguments = vec!["handler".into(), "--foreground".into()];
    let text = detach(
        &Daemon {
            name: "handler",
            run_dir: &run_dir,
            arguments,
        },
        |_| {},
    );
    output::print(&text.map_err(Failure::system)?)
}

/// A handler outlives whoever started it, and serves others: in a mount namespace of its starter's it would keep that alive,
/// with the mount it serves. So it goes to that of process 1, if the run directory is the same there.
fn enter_first_namespace(run_dir: &Path) -> io::Result<()> {
    let (first, own) = (Path::new("/proc/1/ns/mnt"), Path::new("/proc/self/ns/mnt"));
    if fs::read_link(first)? == fs::read_link(own)? {
        return Ok(());
    }
    let here = fs::metadata(run_dir)?;
    let there = fs::metadata(Path::new("/proc/1/root").join(run_dir.strip_prefix("/").unwrap_or(run_dir)))?;
    if (here.dev(), here.ino()) == (there.dev(), there.ino()) {
        setns(File::open(first)?, CloneFlags::CLONE_NEWNS)?;
    }
    Ok(())
}

fn ready_text() -> String {
    format!("the handler runs (pid {})", std::process::id())
}
