//! Makes the mounts of a handler that died again, in their mount namespaces, with their options and their last share.
//!
//! Each dead mount is detached and made anew on the very directory that it covered, or it is forgotten, or it waits: the log says which
//! and why in one line. A node that is not there holds up nobody: its mounts are made at once, and answer EIO until it is back. What
//! waits (for its key file, for what stands over it) is tried again every two seconds.
//!
//! A record says `unmade` from before its mount is detached until the new one is recorded, so that a handler that dies in between leaves
//! enough for the next one.

use super::answer::Daemon;
use super::begin::Beginning;
use super::mounts::Busy;
use super::records::{Beneath, Number, Record};
use crate::mount::{Attached, Detach, Identity, MountPoint, Namespace, NamespaceId, Sought, Unmade, View};
use std::collections::BTreeSet;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// A recorded mount that nobody serves.
struct Lost {
    number: Number,
    record: Record,
    state: State,
    /// The last line that the log has of it.
    said: String,
}

enum State {
    /// Its dead mount is there, or may be.
    Dead,
    /// Nothing of it is mounted.
    Down,
    /// Later, for this reason; an empty one is not worth a line.
    Waits(String),
    Back,
    /// For this reason.
    Forgotten(String),
}

/// The life of the restoring thread. `first` hears when everything was tried once that waits for nothing. Blocking, until nothing is
/// lost any more or the daemon ends.
pub(super) fn restore(daemon: &Arc<Daemon>, first: mpsc::Sender<()>) {
    let records = daemon.records.load();
    let lost = records.into_iter().map(|(number, record)| Lost {
        number,
        record,
        state: State::Dead,
        said: String::new(),
    });
    let mut lost: Vec<Lost> = lost.collect();
    // Whoever waits for a mount to come back is a reason to live.
    let busy: Option<Busy<'_>> = daemon.mounts.busy();
    pass(daemon, &mut lost, true);
    drop(first);
    let nested = lost.iter().any(Lost::is_nested);
    let mut ending = busy.is_none() || daemon.mounts.pause(if nested { Duration::ZERO } else { PAUSE });
    while !lost.is_empty() && !ending {
        pass(daemon, &mut lost, false);
        ending = !lost.is_empty() && daemon.mounts.pause(PAUSE);
    }
    give_up(daemon, lost);
}

/// Tries all of them once, in each namespace by itself; keeps those that wait. In the first pass those that lie in another one wait:
/// looking for their directory may take as long as a node does.
fn pass(daemon: &Arc<Daemon>, lost: &mut Vec<Lost>, first: bool) {
    let namespaces: BTreeSet<NamespaceId> = lost.iter().map(|lost| lost.record.namespace).collect();
    for id in namespaces {
        let (mut here, elsewhere): (Vec<_>, Vec<_>) =
            lost.drain(..).partition(|lost| lost.record.namespace == id);
        *lost = elsewhere;
        let entered = match Namespace::find(id) {
            Some(namespace) => namespace.enter(|view| inside(daemon, view, &mut here, first)),
            None => {
                let gone = || State::Forgotten("the mount namespace that it was in is gone".into());
                here.iter_mut().for_each(|lost| lost.state = gone());
                Ok(())
            }
        };
        if let Err(error) = entered {
            let waits = || State::Waits(format!("its mount namespace cannot be entered: {error}"));
            here.iter_mut().for_each(|lost| lost.state = waits());
        }
        lost.extend(here.into_iter().filter_map(|lost| lost.settle(daemon)));
    }
    lost.sort_by_key(|lost| lost.number);
}

fn inside(daemon: &Arc<Daemon>, view: &View, lost: &mut [Lost], first: bool) {
    // The upper ones first: what is detached takes along what stands on it.
    for index in (0..lost.len()).rev() {
        lost[index].state = take_down(daemon, view, lost, index);
    }
    for index in 0..lost.len() {
        if matches!(lost[index].state, State::Down) {
            let nested = first && lost[index].is_nested();
            lost[index].state = if nested {
                State::Waits(String::new())
            } else {
                put_up(daemon, view, lost, index)
            };
        }
    }
}

/// Detaches the dead mount.
fn take_down(daemon: &Daemon, view: &View, lost: &mut [Lost], index: usize) -> State {
    let Lost {
        number, ref record, ..
    } = lost[index];
    let (mut record, source) = (record.clone(), record.source.to_string());
    // Without its key it would not come back: then a dead mount says more than a bare directory.
    if let Err(line) = daemon.handler.check_key(&record.options) {
        return State::Waits(line);
    }
    let dir = record.dir.clone();
    let (unmade, device) = (record.unmade, record.device);
    let mut mark = || {
        record.unmade = true;
        if let Err(error) = daemon.records.save(number, &record) {
            tracing::warn!(dir = %record.dir.display(), "cannot record that this mount is being made again: {error}");
        }
    };
    let falls = |mount: &MountPoint| lost.iter().any(|lost| lost.is(mount));
    let mut detach = |device| {
        let sought = Sought {
            dir: &dir,
            source: &source,
            device,
            dead: true,
        };
        view.detach(sought, &falls, &mut mark)
    };
    let mut detached = detach(Some(device));
    if unmade && matches!(detached, Detach::Nothing | Detach::Elsewhere(_)) {
        detached = detach(None);
    }
    if detached == Detach::Falls {
        mark();
    }
    lost[index].record.unmade = record.unmade;
    match detached {
        Detach::Done | Detach::Falls => State::Down,
        Detach::Nothing if unmade => State::Down,
        Detach::Nothing => State::Forgotten("it was unmounted while nobody served it".into()),
        Detach::Alive => State::Forgotten("another handler serves it".into()),
        Detach::Elsewhere(place) => State::Forgotten(format!(
            "its dead mount is now on {0}: 'umount -l {0}'",
            place.display()
        )),
        Detach::Kept(line) => State::Waits(line),
    }
}

/// Mounts again what was detached.
fn put_up(daemon: &Arc<Daemon>, view: &View, lost: &[Lost], index: usize) -> State {
    let Lost {
        number, ref record, ..
    } = lost[index];
    let expected = match record.beneath {
        Beneath::Directory(identity) => identity,
        Beneath::Mount { number, inode } => match daemon.mounts.get(number).and_then(|live| live.device) {
            Some(device) => Identity { device, inode },
            None if lost.iter().any(|other| other.number == number && other.is_lost()) => {
                return State::Waits("the mount that it lies in is not back".into());
            }
            None => return State::Forgotten("the mount that it lay in is gone".into()),
        },
    };
    let mount = match daemon.handler.mount_unreached(&record.source, &record.options) {
        Ok(mount) => mount,
        Err(line) => return State::Waits(line),
    };
    let source = record.source.to_string();
    let Attached { fuse, place } = match view.attach(&source, &record.dir, record.flags, Some(expected)) {
        Ok(attached) => attached,
        Err(unmade) => {
            mount.close();
            return match unmade {
                Unmade::NoPlace(line) => State::Forgotten(line),
                Unmade::Failed(line) => State::Waits(line),
            };
        }
    };
    let begun = daemon.begin(Beginning {
        number,
        record: Record {
            device: place.device,
            unmade: false,
            ..record.clone()
        },
        mount,
        fuse,
        callers_visible: true,
    });
    begun.map_or_else(State::Waits, |()| State::Back)
}

/// The daemon ends in order: dead mounts go, and nobody shall make them again.
fn give_up(daemon: &Daemon, lost: Vec<Lost>) {
    for lost in lost.iter().rev() {
        let source = lost.record.source.to_string();
        let sought = Sought {
            dir: &lost.record.dir,
            source: &source,
            device: (!lost.record.unmade).then_some(lost.record.device),
            dead: true,
        };
        let namespace = Namespace::find(lost.record.namespace);
        let detached =
            namespace.map(|namespace| namespace.enter(|view| view.detach(sought, &|_| false, || ())));
        tracing::info!(source, dir = %lost.record.dir.display(), ?detached, "given up");
        daemon.records.remove(lost.number);
    }
}

impl Lost {
    /// Whether a line of the mount table is, or may be, this dead mount.
    fn is(&self, mount: &MountPoint) -> bool {
        mount.is_ours
            && mount.dir == self.record.dir
            && mount.source == self.record.source.to_string()
            && (self.record.unmade || mount.device == self.record.device)
    }

    fn is_nested(&self) -> bool {
        matches!(self.record.beneath, Beneath::Mount { .. })
    }

    fn is_lost(&self) -> bool {
        !matches!(self.state, State::Back | State::Forgotten(_))
    }

    /// Logs what became of it; gives it back if it is to be tried again.
    fn settle(mut self, daemon: &Daemon) -> Option<Self> {
        let (source, dir) = (&self.record.source, self.record.dir.display());
        let waits = match std::mem::replace(&mut self.state, State::Dead) {
            State::Back => {
                tracing::info!(%source, %dir, "mounted again");
                return None;
            }
            State::Forgotten(why) => {
                tracing::warn!(%source, %dir, "not mounted again: {why}");
                daemon.records.remove(self.number);
                return None;
            }
            State::Waits(why) => why,
            State::Dead | State::Down => String::new(),
        };
        if !waits.is_empty() && waits != self.said {
            tracing::warn!(%source, %dir, "not mounted again yet: {waits}");
            self.said = waits;
        }
        Some(self)
    }
}
