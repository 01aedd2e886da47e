//! Takes over the mounts of a handler that ended without unmounting them, in their mount namespaces, with their options and their last share.
//!
//! New mounts are put beneath the dead one that covers their directory, and served; mounts that lie in them are put in their places;
//! then the dead one is detached. So nobody ever sees the directory below. What cannot be taken over is forgotten, or it waits: the log says which
//! and why in one line. Nobody holds up another: a node that is not there does not, for its mounts are made at once and answer EIO until
//! it is back, and neither does a directory that does not answer, for each family of mounts has a thread of its own. What waits (for its
//! key file, for what stands over it) is tried again every two seconds.
//!
//! A record says `unmade` from before a new mount is made until the dead one is gone, so that a handler that dies in between leaves
//! enough for the next one.

use super::begin::{Beginning, Shaken};
use super::mounts::Live;
use super::records::{Beneath, Number, Record};
use super::restore_error::RestoreError;
use super::shared::Daemon;
use crate::mount::{Identity, MountPoint, Put, Standing};
use crate::mounter::{MounterError, Ours, RemoteCap, RemoteMount, RemoteNamespace};
use rdmafs_rdma::shown::shown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// A recorded mount that nobody serves, or not in its place yet.
pub(super) struct Lost {
    number: Number,
    record: Record,
    state: RestoreState,
    /// The last line that the log has of it.
    said: String,
}

enum RestoreState {
    /// Its dead mount is there, or may be.
    Dead,
    /// Nothing of it is mounted: its place is in another mount.
    Down,
    /// It is served, and covered by a dead mount.
    Covered(Arc<Live>),
    /// Later, for this reason; an empty one is not worth a line.
    Waiting(String),
    Back,
    /// For this reason.
    Forgotten(String),
}

/// A directory whose new mounts are served and still covered.
struct Covering {
    dir: PathBuf,
    cap: RemoteCap,
    /// `None` where they could not be put beneath: then they cover the dead one.
    top: Option<RemoteMount>,
}

impl From<RestoreError> for RestoreState {
    fn from(error: RestoreError) -> Self {
        Self::Waiting(error.to_string())
    }
}

impl From<RestoreError> for Otherwise {
    fn from(error: RestoreError) -> Self {
        let line = error.to_string();
        Box::new(move |_| RestoreState::Waiting(line.clone()))
    }
}

/// What becomes of a mount that is not taken over.
type Otherwise = Box<dyn Fn(&Lost) -> RestoreState>;

/// Mounts that lie in or on one another, in one namespace.
struct Family {
    lost: Vec<Lost>,
    covering: Vec<Covering>,
}

/// What is recorded, in families, oldest first.
pub(super) fn families(records: Vec<(Number, Record)>) -> Vec<Vec<Lost>> {
    let mut families: Vec<Vec<Lost>> = Vec::new();
    for (number, record) in records {
        let lost = Lost {
            number,
            record,
            state: RestoreState::Dead,
            said: String::new(),
        };
        let related = |family: &mut Vec<Lost>| family.iter().any(|other| other.is_related(&lost));
        let mut family: Vec<Lost> = families.extract_if(.., related).flatten().collect();
        family.push(lost);
        family.sort_by_key(|lost| lost.number);
        families.push(family);
    }
    families
}

/// Takes over a family. `first` is dropped when everything was tried once that waits for nothing. Blocking, until nothing is lost any
/// more or the daemon ends: then it stays as it is for the next handler.
pub(super) fn restore(daemon: &Arc<Daemon>, lost: Vec<Lost>, first: mpsc::Sender<()>) {
    // Whoever waits for a mount to come back is a reason to live.
    let busy = daemon.mounts.busy();
    let mut family = Family {
        lost,
        covering: Vec::new(),
    };
    family.pass(daemon, true);
    drop(first);
    let pause = if family.lost.iter().any(Lost::is_nested) {
        Duration::ZERO
    } else {
        PAUSE
    };
    let mut ending = busy.is_none() || !family.lost.is_empty() && daemon.mounts.pause(pause);
    while !family.lost.is_empty() && !ending {
        family.pass(daemon, false);
        ending = !family.lost.is_empty() && daemon.mounts.pause(PAUSE);
    }
}

impl Family {
    /// Tries all of them once; keeps those that wait. In the first pass those that lie in another one wait: looking for their directory may
    /// take as long as a node does.
    fn pass(&mut self, daemon: &Arc<Daemon>, first: bool) {
        let Some(namespace) = self
            .lost
            .first()
            .map(|lost| daemon.mounter.find(lost.record.namespace))
        else {
            return;
        };
        match namespace {
            Err(error) => {
                let waiting = || RestoreState::Waiting(error.to_string());
                self.lost.iter_mut().for_each(|lost| lost.state = waiting());
            }
            Ok(Some(namespace)) => self.pass_in(daemon, &namespace, first),
            Ok(None) => {
                let gone = || RestoreState::Forgotten("the mount namespace that it was in is gone".into());
                self.lost.iter_mut().for_each(|lost| lost.state = gone());
            }
        }
        let tried = std::mem::take(&mut self.lost);
        self.lost
            .extend(tried.into_iter().filter_map(|lost| lost.settle(daemon)));
    }

    fn ours(&self) -> Vec<Ours> {
        self.lost.iter().flat_map(|lost| lost.record.ours()).collect()
    }

    fn pass_in(&mut self, daemon: &Arc<Daemon>, namespace: &RemoteNamespace, first: bool) {
        let mut dirs: Vec<PathBuf> = self.lost.iter().map(|lost| lost.record.dir.clone()).collect();
        dirs.sort();
        dirs.dedup();
        // The outer ones first: what lies in a dead mount falls with it.
        for dir in dirs {
            let of_dir =
                |lost: &Lost| lost.record.dir == dir && !matches!(lost.state, RestoreState::Covered(_));
            let group: Vec<usize> = (0..self.lost.len())
                .filter(|index| of_dir(&self.lost[*index]))
                .collect();
            if group.is_empty() {
                continue;
            }
            if self
                .covering
                .iter()
                .any(|covering| dir.starts_with(&covering.dir))
            {
                for index in group {
                    self.lost[index].state = self.lost[index].nothing_is_there(&[]);
                }
                continue;
            }
            if let Err(state) = self.take_over(daemon, namespace, &group) {
                for index in group {
                    self.lost[index].state = state(&self.lost[index]);
                }
            }
        }
        for index in 0..self.lost.len() {
            if matches!(self.lost[index].state, RestoreState::Down) {
                let later = first && self.lost[index].is_nested();
                self.lost[index].state = if later {
                    RestoreState::Waiting(String::new())
                } else {
                    self.put_up(daemon, namespace, index)
                        .unwrap_or_else(|state| state)
                };
            }
        }
        self.uncover(daemon, namespace);
    }

    /// Puts new mounts beneath the dead ones of a directory.
    ///
    /// # Errors
    /// What becomes of each of them instead.
    fn take_over(
        &mut self,
        daemon: &Arc<Daemon>,
        namespace: &RemoteNamespace,
        group: &[usize],
    ) -> Result<(), Otherwise> {
        let dir = self.lost[group[0]].record.dir.clone();
        let found = namespace.standing(&dir, self.ours());
        let found = found.map_err(RestoreError::Mounter)?;
        let table = found.mounts;
        match found.standing {
            Standing::Dead(_) => {}
            Standing::Nothing => {
                return Err(Box::new(move |lost| lost.nothing_is_there(&table)));
            }
            Standing::Alive => {
                return Err(Box::new(|_| {
                    RestoreState::Forgotten("it is served already".into())
                }));
            }
            Standing::Falls => return Err(Box::new(Lost::falls)),
            Standing::Kept(line) => return Err(RestoreError::Standing(line).into()),
        }
        // Without their keys they would not come back: then a dead mount says more than one that cannot be used.
        for index in group {
            daemon
                .handler
                .check_key(&self.lost[*index].record.options)
                .map_err(RestoreError::Key)?;
        }
        let unmounted = |lost: &Lost| !table.iter().any(|mount| lost.is_itself(mount));
        if group.iter().all(|index| unmounted(&self.lost[*index])) {
            for index in group {
                daemon.remove_covered(&self.lost[*index].record);
            }
            return Err(Box::new(|lost| lost.nothing_is_there(&[])));
        }
        self.mark(daemon, &dir, &table);
        let cap = namespace.cap(&dir, self.ours());
        let cap = cap.map_err(RestoreError::Mounter)?;
        let made = self.make_all(daemon, namespace, group)?;
        Ok(self.put_all(daemon, namespace, (group, dir, cap), made)?)
    }

    /// Says in the records, before anything is changed, that these mounts are being made again, with those that fall with them.
    fn mark(&mut self, daemon: &Daemon, dir: &Path, table: &[MountPoint]) {
        for lost in &mut self.lost {
            let is_there = || table.iter().any(|mount| lost.is_itself(mount));
            if lost.record.dir == dir || lost.record.dir.starts_with(dir) && is_there() {
                lost.mark(daemon);
            }
        }
    }

    /// Makes the new mounts of a directory, not anywhere yet, and shakes hands on them.
    fn make_all(
        &self,
        daemon: &Daemon,
        namespace: &RemoteNamespace,
        group: &[usize],
    ) -> Result<Vec<(RemoteMount, Shaken)>, RestoreError> {
        group
            .iter()
            .map(|index| self.lost[*index].make(daemon, namespace))
            .collect()
    }

    /// Puts them in their place and serves them.
    fn put_all(
        &mut self,
        daemon: &Arc<Daemon>,
        namespace: &RemoteNamespace,
        (group, dir, cap): (&[usize], PathBuf, RemoteCap),
        made: Vec<(RemoteMount, Shaken)>,
    ) -> Result<(), RestoreError> {
        let mut top = None;
        for (index, (new, mut shaken)) in group.iter().zip(made) {
            let put = namespace.put(&new, &cap, &dir)?;
            if put == Put::Over && top.is_none() {
                shaken.record.covered = Some(cap.device());
            }
            let live = daemon.serve_from_now(shaken)?;
            self.lost[*index].state = RestoreState::Covered(live);
            top = Some((put, new));
        }
        let top = top.and_then(|(put, new)| (put == Put::Beneath).then_some(new));
        self.covering.push(Covering { dir, cap, top });
        Ok(())
    }

    /// Mounts again what fell with the mount that it lies in.
    ///
    /// # Errors
    /// What becomes of it instead.
    fn put_up(
        &self,
        daemon: &Arc<Daemon>,
        namespace: &RemoteNamespace,
        index: usize,
    ) -> Result<RestoreState, RestoreState> {
        let lost = &self.lost[index];
        let expected = self.beneath(daemon, &lost.record)?;
        let (new, shaken) = lost.make(daemon, namespace)?;
        let dir = &lost.record.dir;
        let around = self
            .covering
            .iter()
            .find(|covering| dir.starts_with(&covering.dir));
        let within = around.and_then(|covering| Some((covering.top.as_ref()?, &covering.dir)));
        let path = within.and_then(|(_, outer)| dir.strip_prefix(outer).ok());
        let root = within.map(|(root, _)| root);
        let put = namespace.put_on(&new, root, path.unwrap_or(dir), expected);
        put.map_err(|error| match error {
            MounterError::Refused {
                line,
                of_the_place: true,
            } => RestoreState::Forgotten(line),
            other => RestoreState::Waiting(other.to_string()),
        })?;
        let live = daemon.serve_from_now(shaken).map_err(RestoreError::Begin)?;
        daemon.settle(&live);
        Ok(RestoreState::Back)
    }

    /// Detaches the dead mounts in whose successors nothing is missing.
    fn uncover(&mut self, daemon: &Daemon, namespace: &RemoteNamespace) {
        let is_missing = |lost: &Lost, dir: &PathBuf| lost.record.dir.starts_with(dir) && lost.is_missing();
        let (whole, not_yet): (Vec<_>, Vec<_>) = std::mem::take(&mut self.covering)
            .into_iter()
            .partition(|covering| !self.lost.iter().any(|lost| is_missing(lost, &covering.dir)));
        self.covering = not_yet;
        for Covering { dir, cap, top } in whole {
            let done = match top {
                Some(_) => namespace.uncover(&cap, &dir),
                None => Ok(()),
            };
            if let Err(why) = done {
                tracing::error!(dir = %shown(&dir), "a dead mount covers the one that is served: {why}");
            }
            for lost in self.lost.iter_mut().filter(|lost| lost.record.dir == dir) {
                if let RestoreState::Covered(live) = &lost.state {
                    daemon.settle(live);
                    lost.state = RestoreState::Back;
                }
            }
        }
    }

    /// The directory that it must be mounted on.
    fn beneath(&self, daemon: &Daemon, record: &Record) -> Result<Identity, RestoreState> {
        match record.beneath {
            Beneath::Directory(identity) => Ok(identity),
            Beneath::Mount { number, inode } => match daemon.mounts.find(|live| live.number == number) {
                Some(live) => Ok(Identity {
                    device: live.record.device,
                    inode,
                }),
                None if self
                    .lost
                    .iter()
                    .any(|other| other.number == number && other.is_missing()) =>
                {
                    Err(RestoreState::Waiting(
                        "the mount that it lies in is not back".into(),
                    ))
                }
                None => Err(RestoreState::Forgotten("the mount that it lay in is gone".into())),
            },
        }
    }
}

impl Lost {
    fn is_itself(&self, mount: &MountPoint) -> bool {
        self.is_like(mount)
            && mount.dir == self.record.dir
            && (self.record.unmade || mount.device == self.record.device)
    }

    fn is_like(&self, mount: &MountPoint) -> bool {
        mount.is_ours && mount.source == self.record.source.to_string()
    }

    /// Nothing of it is on its directory: it fell with the mount that it lies in, or was unmounted, or moved.
    fn nothing_is_there(&self, table: &[MountPoint]) -> RestoreState {
        let mut moved = table
            .iter()
            .filter(|mount| self.is_like(mount) && mount.device == self.record.device);
        match moved.next() {
            Some(mount) if !(self.record.unmade && self.is_nested()) => RestoreState::Forgotten(format!(
                "its dead mount is now on {0}: 'umount -l {0}'",
                shown(&mount.dir)
            )),
            // Who walks a path in a mount that nobody serves makes the kernel detach what is mounted there (fs/fuse/dir.c,
            // fuse_dentry_revalidate; d_invalidate).
            _ if self.is_nested() => RestoreState::Down,
            _ => RestoreState::Forgotten("it was unmounted while nobody served it".into()),
        }
    }

    /// What becomes of a mount that lies in a dead one.
    fn falls(&self) -> RestoreState {
        match self.record.unmade {
            true => RestoreState::Down,
            false => RestoreState::Waiting("the mount that it lies in is not back".into()),
        }
    }

    /// Makes its new mount, not anywhere yet, and shakes hands on it.
    fn make(
        &self,
        daemon: &Daemon,
        namespace: &RemoteNamespace,
    ) -> Result<(RemoteMount, Shaken), RestoreError> {
        let record = &self.record;
        let source = record.source.to_string();
        let (new, fuse) = namespace.make(&source, record.flags)?;
        let device = new.device();
        let mount = daemon
            .handler
            .mount_unreached(&record.source, &record.options, record.pool)?;
        let shaken = Beginning {
            number: self.number,
            record: Record {
                device,
                unmade: false,
                covered: None,
                ..record.clone()
            },
            mount,
            fuse,
            callers_visible: true,
        };
        Ok((new, shaken.shake_hands()?))
    }

    /// Whether one lies in or on the other.
    fn is_related(&self, other: &Lost) -> bool {
        let (one, other) = (&self.record, &other.record);
        let one_in_other = one.dir.starts_with(&other.dir) || other.dir.starts_with(&one.dir);
        one.namespace == other.namespace && one_in_other
    }

    /// Says in its record, before its mount is detached, that it is being made again.
    fn mark(&mut self, daemon: &Daemon) {
        if std::mem::replace(&mut self.record.unmade, true) {
            return;
        }
        if let Err(error) = daemon.records.save(self.number, &self.record) {
            tracing::warn!(dir = %shown(&self.record.dir), "cannot record that this mount is being made again: {error}");
        }
    }

    fn is_nested(&self) -> bool {
        matches!(self.record.beneath, Beneath::Mount { .. })
    }

    /// Neither served nor given up.
    fn is_missing(&self) -> bool {
        matches!(
            self.state,
            RestoreState::Dead | RestoreState::Down | RestoreState::Waiting(_)
        )
    }

    /// Logs what became of it; gives it back if it is to be tried again.
    fn settle(mut self, daemon: &Daemon) -> Option<Self> {
        let (source, dir) = (&self.record.source, shown(&self.record.dir));
        let waits = match std::mem::replace(&mut self.state, RestoreState::Dead) {
            RestoreState::Back => {
                tracing::info!(%source, %dir, "mounted again");
                return None;
            }
            RestoreState::Forgotten(why) => {
                tracing::warn!(%source, %dir, "not mounted again: {why}");
                daemon.records.remove(self.number);
                return None;
            }
            RestoreState::Covered(live) => {
                self.state = RestoreState::Covered(live);
                return Some(self);
            }
            RestoreState::Waiting(why) => why,
            RestoreState::Dead | RestoreState::Down => String::new(),
        };
        if !waits.is_empty() && waits != self.said {
            tracing::warn!(%source, %dir, "not mounted again yet: {waits}");
            self.said = waits;
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests;
