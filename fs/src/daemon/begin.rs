//! A mount's life in the daemon: from the descriptor of a mounted /dev/fuse to its unmount.

use super::answer::Daemon;
use super::mounts::Live;
use super::records::{Beneath, Number, Record};
use crate::fuse::Session;
use crate::handler::Mount;
use crate::mount::{Identity, Namespace, Sought};
use parking_lot::Mutex;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What the kernel reads ahead of a sequential reader: one largest request. Its own 128 KiB would bound every cached read.
const READ_AHEAD_KIB: u32 = 1024;

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

impl Daemon {
    /// Shakes hands with the kernel, records the mount, and serves it in a thread of its own. Blocking, briefly.
    ///
    /// # Errors
    /// One line; the mount is closed, and what mount(2) made is dead.
    pub(super) fn begin(self: &Arc<Self>, new: Beginning) -> Result<(), String> {
        let Beginning {
            number,
            record,
            mount,
            ..
        } = new;
        let dir = record.dir.display();
        let session = Session::start(mount.clone(), new.fuse, new.callers_visible).map_err(|error| {
            mount.close();
            format!("the kernel did not shake hands on {dir}: {error}")
        })?;
        let live = self.mounts.add(Live {
            number,
            flags: Mutex::new(record.flags),
            record,
            meter: session.meter(),
            mount: mount.clone(),
            recorded: Mutex::new(true),
            ended: AtomicBool::new(false),
        });
        let Some(live) = live else {
            mount.close();
            return Err("the handler is ending: try again".into());
        };
        self.record(&live);
        raise_read_ahead(&live);
        let (daemon, served) = (self.clone(), live.clone());
        let thread = thread::Builder::new().name("mount".into());
        let spawned = thread.spawn(move || daemon.serve(session, &served));
        spawned.map(drop).map_err(|error| {
            self.forget(&live);
            format!("cannot start a thread: {error}")
        })
    }

    /// Serves a mount until it is unmounted.
    fn serve(&self, session: Session, live: &Arc<Live>) {
        let ran = session.run();
        if let (Err(error), false) = (&ran, live.has_ended()) {
            tracing::error!(dir = %live.record.dir.display(), "the FUSE session failed: {error}");
            // Else the kernel might wait for answers until this process ends.
            abort(live);
        }
        live.ended.store(true, Ordering::Relaxed);
        self.forget(live);
        tracing::info!(source = %live.record.source, dir = %live.record.dir.display(), "unmounted");
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
            tracing::warn!(dir = %record.dir.display(), "cannot record this mount: after a crash it would not come back as it is: {error}");
        }
    }

    /// It was unmounted, or never was served: nobody shall mount it again. Blocking, as [`Mount::close`].
    pub(super) fn forget(&self, live: &Arc<Live>) {
        self.unrecord(live);
        live.mount.close();
        self.mounts.remove(live);
    }

    pub(super) fn unrecord(&self, live: &Live) {
        *live.recorded.lock() = false;
        self.records.remove(live.number);
    }

    /// Cuts off what is still in use: a thread that waits in the kernel for such a mount would keep this process from ending.
    pub(super) fn abort_all(&self) {
        self.mounts.all().iter().for_each(|live| abort(live));
    }

    /// Unmounts, lazily, wherever they are. What cannot be unmounted dies with the process.
    pub(super) fn detach_all(&self) {
        for live in self.mounts.all().iter().rev() {
            let (record, source) = (&live.record, live.record.source.to_string());
            let sought = Sought {
                dir: &record.dir,
                source: &source,
                device: Some(record.device),
                dead: false,
            };
            let namespace = Namespace::find(record.namespace);
            let detached = namespace.map(|namespace| namespace.enter(|view| view.detach(sought, &|_| false)));
            tracing::debug!(dir = %record.dir.display(), ?detached, "detached");
        }
    }
}

fn abort(live: &Live) {
    if let Err(error) = live.record.device.abort() {
        tracing::warn!(dir = %live.record.dir.display(), "cannot abort the FUSE connection: {error}");
    }
}

fn raise_read_ahead(live: &Live) {
    if let Err(error) = live.record.device.set_read_ahead(READ_AHEAD_KIB) {
        tracing::debug!(dir = %live.record.dir.display(), %error, "read-ahead stays at the kernel's default");
    }
}
