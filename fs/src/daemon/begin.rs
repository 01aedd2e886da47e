//! A mount's life in the daemon: from the descriptor of its /dev/fuse to its unmount.

use super::mounts::Live;
use super::records::{Beneath, Number, Record};
use super::shared::Daemon;
use crate::fuse::{Callers, FuseSession};
use crate::handler::Mount;
use crate::mount::Identity;
use parking_lot::Mutex;
use rdmafs_rdma::shown::shown;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use thiserror::Error;

/// What the kernel reads ahead of a sequential reader: one largest request. Its own 128 KiB would bound every cached read.
const READ_AHEAD_KIB: u32 = 1024;

/// A mount that is not served: what mount(2) made is dead.
#[derive(Debug, Error)]
pub(super) enum BeginError {
    #[error("the kernel did not shake hands on {}: {source}", shown(.dir))]
    Handshake { dir: PathBuf, source: io::Error },
    #[error("the handler is ending: try again")]
    Ending,
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

/// A mount that mount(2) has made and nobody serves yet.
pub(super) struct Beginning {
    pub(super) number: Number,
    pub(super) record: Record,
    pub(super) mount: Arc<Mount>,
    /// The open /dev/fuse.
    pub(super) fuse: OwnedFd,
    /// mount(2) was called in this process's pid namespace.
    pub(super) callers_visible: bool,
}

/// A mount that the kernel has shaken hands with. Dropped, nobody serves it.
pub(super) struct Shaken {
    number: Number,
    pub(super) record: Record,
    mount: Arc<Mount>,
    session: FuseSession,
}

impl Beginning {
    /// Shakes hands with the kernel. Blocking, briefly.
    ///
    /// # Errors
    /// The mount is closed, and what mount(2) made is dead.
    pub(super) fn shake_hands(self) -> Result<Shaken, BeginError> {
        let mount = self.mount;
        let callers = Callers {
            visible: self.callers_visible,
            idmapped: self.record.options.idmap,
        };
        let session = FuseSession::start(mount.clone(), self.fuse, callers).map_err(|source| {
            mount.close();
            let dir = self.record.dir.clone();
            BeginError::Handshake { dir, source }
        })?;
        Ok(Shaken {
            number: self.number,
            record: self.record,
            mount,
            session,
        })
    }
}

impl Daemon {
    /// Shakes hands with the kernel, records the mount, and serves it in a thread of its own. Blocking, briefly.
    ///
    /// # Errors
    /// The mount is closed, and what mount(2) made is dead.
    pub(super) fn begin(self: &Arc<Self>, new: Beginning) -> Result<(), BeginError> {
        let live = self.serve_from_now(new.shake_hands()?)?;
        self.settle(&live);
        Ok(())
    }

    /// Serves a mount in a thread of its own, and records nothing yet.
    ///
    /// # Errors
    /// The mount is closed and dead.
    pub(super) fn serve_from_now(self: &Arc<Self>, shaken: Shaken) -> Result<Arc<Live>, BeginError> {
        let Shaken { mount, session, .. } = shaken;
        let live = self.mounts.add(Live {
            number: shaken.number,
            flags: Mutex::new(shaken.record.flags),
            record: shaken.record,
            meter: session.meter(),
            mount: mount.clone(),
            recorded: Mutex::new(false),
            ended: AtomicBool::new(false),
        });
        let Some(live) = live else {
            mount.close();
            return Err(BeginError::Ending);
        };
        raise_read_ahead(&live);
        let (daemon, served) = (self.clone(), live.clone());
        let thread = thread::Builder::new().name("mount".into());
        let spawned = thread.spawn(move || daemon.serve(session, &served));
        spawned.map_err(|error| {
            self.mounts.remove(&live);
            mount.close();
            BeginError::Thread(error)
        })?;
        Ok(live)
    }

    /// It is in its place: from now on it is recorded, until it is unmounted.
    pub(super) fn settle(&self, live: &Arc<Live>) {
        let mut recorded = live.recorded.lock();
        *recorded = !live.has_ended();
        drop(recorded);
        self.record(live);
    }

    /// Serves a mount until it is unmounted, or this daemon stops.
    fn serve(&self, session: FuseSession, live: &Arc<Live>) {
        let ran = session.run();
        if self.mounts.is_ending() {
            // The record stays: whether it was unmounted at the last moment is seen at the next start.
            return self.mounts.remove(live);
        }
        if let (Err(error), false) = (&ran, live.has_ended()) {
            tracing::error!(dir = %shown(&live.record.dir), "the FUSE session failed: {error}");
            // Else the kernel might wait for answers until this process ends.
            self.abort(live);
        }
        live.ended.store(true, Ordering::Relaxed);
        self.forget(live);
        self.remove_covered(&live.record);
        tracing::info!(source = %live.record.source, dir = %shown(&live.record.dir), "unmounted");
    }

    /// The directory beneath a mount, as it can be found again when the mounts of this handler have other device numbers.
    pub(super) fn beneath(&self, directory: Identity) -> Beneath {
        match self.mounts.find(|live| live.record.device == directory.device) {
            Some(live) => Beneath::Mount {
                number: live.number,
                inode: directory.inode,
            },
            None => Beneath::Directory(directory),
        }
    }

    /// Writes the mount's record, with its share, times and flags as they are now. Where that fails, the mount works all the same.
    pub(super) fn record(&self, live: &Live) {
        let recorded = live.recorded.lock();
        if !*recorded {
            return;
        }
        let record = live.as_it_is();
        if let Err(error) = self.records.save(live.number, &record) {
            tracing::warn!(dir = %shown(&record.dir), "cannot record this mount: after a crash it would not come back as it is: {error}");
        }
    }

    /// It was unmounted, or never was served: nobody shall mount it again. Blocking, as [`Mount::leave`].
    pub(super) fn forget(&self, live: &Arc<Live>) {
        self.unrecord(live);
        live.mount.leave();
        self.mounts.remove(live);
    }

    pub(super) fn unrecord(&self, live: &Live) {
        *live.recorded.lock() = false;
        self.records.remove(live.number);
    }

    /// Detaches the dead mount that was covered by one that is unmounted.
    pub(super) fn remove_covered(&self, record: &Record) {
        let Some(covered) = record.covered else {
            return;
        };
        let source = record.source.to_string();
        let detached = self
            .mounter
            .detach(record.namespace, &record.dir, &source, covered);
        if let Err(error) = detached {
            tracing::warn!(dir = %shown(&record.dir), "the dead mount below stays: {error}");
        }
    }

    /// Ends the FUSE connections: from now on no call of a program succeeds that was not answered before.
    pub(super) fn abort_all(&self) {
        self.mounts.all().iter().for_each(|live| self.abort(live));
    }

    fn abort(&self, live: &Live) {
        if let Err(error) = self.mounter.abort(live.record.device) {
            tracing::warn!(dir = %shown(&live.record.dir), "cannot abort the FUSE connection: {error}");
        }
    }
}

fn raise_read_ahead(live: &Live) {
    if let Err(error) = live.record.device.set_read_ahead(READ_AHEAD_KIB) {
        tracing::debug!(dir = %shown(&live.record.dir), %error, "read-ahead stays at the kernel's default");
    }
}
