//! Makes the mounts of a handler that died again, in their mount namespaces, with their options and their last share.
//!
//! Each dead mount is detached and made anew on the very directory that it covered, or it is forgotten, or it waits: the log says which
//! and why in one line. Nobody holds up another: a node that is not there does not, for its mounts are made at once and answer EIO until
//! it is back, and neither does a directory that does not answer, for each family of mounts has a thread of its own. What waits (for its
//! key file, for what stands over it) is tried again every two seconds.
//!
//! A record says `unmade` from before its mount is detached until the new one is recorded, so that a handler that dies in between leaves
//! enough for the next one.

use super::answer::Daemon;
use super::begin::Beginning;
use super::records::{Beneath, Number, Record};
use crate::mount::{Attached, Detach, Device, Falls, Identity, MountPoint, Namespace, Sought, Unmade, View};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(2);

/// A recorded mount that nobody serves.
pub(super) struct Lost {
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

/// What is recorded, in families: mounts that lie in or on one another, in one namespace. Oldest first.
pub(super) fn families(records: Vec<(Number, Record)>) -> Vec<Vec<Lost>> {
    let mut families: Vec<Vec<Lost>> = Vec::new();
    for (number, record) in records {
        let lost = Lost {
            number,
            record,
            state: State::Dead,
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

/// Makes a family again. `first` is dropped when everything was tried once that waits for nothing. Blocking, until nothing is lost any
/// more or the daemon ends.
pub(super) fn restore(daemon: &Arc<Daemon>, mut lost: Vec<Lost>, first: mpsc::Sender<()>) {
    // Whoever waits for a mount to come back is a reason to live.
    let busy = daemon.mounts.busy();
    pass(daemon, &mut lost, true);
    drop(first);
    let pause = if lost.iter().any(Lost::is_nested) {
        Duration::ZERO
    } else {
        PAUSE
    };
    let mut ending = busy.is_none() || !lost.is_empty() && daemon.mounts.pause(pause);
    while !lost.is_empty() && !ending {
        pass(daemon, &mut lost, false);
        ending = !lost.is_empty() && daemon.mounts.pause(PAUSE);
    }
    give_up(daemon, &lost);
}

/// Tries all of them once; keeps those that wait. In the first pass those that lie in another one wait: looking for their directory may
/// take as long as a node does.
fn pass(daemon: &Arc<Daemon>, lost: &mut Vec<Lost>, first: bool) {
    let Some(namespace) = lost.first().map(|lost| Namespace::find(lost.record.namespace)) else {
        return;
    };
    if let Some(namespace) = namespace {
        // The upper ones first: what is detached takes along what stands on it.
        for index in (0..lost.len()).rev() {
            lost[index].state = take_down(daemon, &namespace, lost, index);
        }
        for index in 0..lost.len() {
            if matches!(lost[index].state, State::Down) {
                let later = first && lost[index].is_nested();
                lost[index].state = if later {
                    State::Waits(String::new())
                } else {
                    put_up(daemon, &namespace, lost, index).unwrap_or_else(|state| state)
                };
            }
        }
    } else {
        let gone = || State::Forgotten("the mount namespace that it was in is gone".into());
        lost.iter_mut().for_each(|lost| lost.state = gone());
    }
    let tried = std::mem::take(lost);
    lost.extend(tried.into_iter().filter_map(|lost| lost.settle(daemon)));
}

/// Detaches the dead mount.
fn take_down(daemon: &Daemon, namespace: &Namespace, lost: &mut [Lost], index: usize) -> State {
    let unmade = lost[index].record.unmade;
    // Without its key it would not come back: then a dead mount says more than a bare directory.
    if let Err(line) = daemon.handler.check_key(&lost[index].record.options) {
        return State::Waits(line);
    }
    let mut device = Some(lost[index].record.device);
    let mut found = detach(namespace, lost, index, device, View::would_detach);
    if unmade && matches!(found, Detach::Nothing | Detach::Elsewhere(_)) {
        device = None;
        found = detach(namespace, lost, index, device, View::would_detach);
    }
    if matches!(found, Detach::Done | Detach::Falls) {
        lost[index].mark(daemon);
    }
    if found == Detach::Done {
        found = detach(namespace, lost, index, device, View::detach);
    }
    match found {
        Detach::Done | Detach::Falls => State::Down,
        Detach::Nothing if unmade => State::Down,
        Detach::Nothing => State::Forgotten("it was unmounted while nobody served it".into()),
        Detach::Alive => State::Forgotten("it is served already".into()),
        Detach::Elsewhere(place) => State::Forgotten(format!(
            "its dead mount is now on {0}: 'umount -l {0}'",
            place.display()
        )),
        Detach::Kept(line) => State::Waits(line),
    }
}

/// Detaches the mount, or says what would come of that.
fn detach(
    namespace: &Namespace,
    lost: &[Lost],
    index: usize,
    device: Option<Device>,
    act: fn(&View, Sought<'_>, Falls<'_>) -> Detach,
) -> Detach {
    let record = &lost[index].record;
    let source = record.source.to_string();
    let sought = Sought {
        dir: &record.dir,
        source: &source,
        device,
        dead: true,
    };
    let falls: Falls<'_> = &|mount| lost.iter().any(|lost| lost.is(mount));
    let done = namespace.enter(|view| act(view, sought, falls));
    done.unwrap_or_else(|error| Detach::Kept(cannot_enter(&error)))
}

fn cannot_enter(error: &std::io::Error) -> String {
    format!("its mount namespace cannot be entered: {error}")
}

/// Mounts again what was detached.
///
/// # Errors
/// What becomes of it instead.
fn put_up(daemon: &Arc<Daemon>, namespace: &Namespace, lost: &[Lost], index: usize) -> Result<State, State> {
    let Lost {
        number, ref record, ..
    } = lost[index];
    let beneath = beneath(daemon, lost, record)?;
    let mount = daemon
        .handler
        .mount_unreached(&record.source, &record.options, record.pool)
        .map_err(State::Waits)?;
    let source = record.source.to_string();
    let attached = namespace.enter(|view| view.attach(&source, &record.dir, record.flags, Some(beneath)));
    let attached = attached.unwrap_or_else(|error| Err(Unmade::Failed(cannot_enter(&error))));
    let Attached { fuse, place } = attached.map_err(|unmade| {
        mount.close();
        match unmade {
            Unmade::NoPlace(line) => State::Forgotten(line),
            Unmade::Failed(line) => State::Waits(line),
        }
    })?;
    let record = Record {
        device: place.device,
        unmade: false,
        ..record.clone()
    };
    let begun = daemon.begin(Beginning {
        number,
        record,
        mount,
        fuse,
        callers_visible: true,
    });
    begun.map(|()| State::Back).map_err(State::Waits)
}

/// The directory that it must be mounted on.
fn beneath(daemon: &Daemon, lost: &[Lost], record: &Record) -> Result<Identity, State> {
    match record.beneath {
        Beneath::Directory(identity) => Ok(identity),
        Beneath::Mount { number, inode } => match daemon.mounts.find(|live| live.number == number) {
            Some(live) => Ok(Identity {
                device: live.record.device,
                inode,
            }),
            None if lost.iter().any(|other| other.number == number && other.is_lost()) => {
                Err(State::Waits("the mount that it lies in is not back".into()))
            }
            None => Err(State::Forgotten("the mount that it lay in is gone".into())),
        },
    }
}

/// The daemon ends in order: dead mounts go, and nobody shall make them again.
fn give_up(daemon: &Daemon, lost: &[Lost]) {
    for index in (0..lost.len()).rev() {
        let Lost {
            number, ref record, ..
        } = lost[index];
        let device = (!record.unmade).then_some(record.device);
        let namespace = Namespace::find(record.namespace);
        let detached = namespace.map(|namespace| detach(&namespace, lost, index, device, View::detach));
        tracing::info!(source = %record.source, dir = %record.dir.display(), ?detached, "given up");
        daemon.records.remove(number);
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

    /// Whether one lies in or on the other.
    fn is_related(&self, other: &Lost) -> bool {
        let (one, other) = (&self.record, &other.record);
        let one_in_other = one.dir.starts_with(&other.dir) || other.dir.starts_with(&one.dir);
        one.namespace == other.namespace && one_in_other
    }

    /// Says in its record, before its mount is detached, that it is being made again.
    fn mark(&mut self, daemon: &Daemon) {
        self.record.unmade = true;
        if let Err(error) = daemon.records.save(self.number, &self.record) {
            let dir = self.record.dir.display();
            tracing::warn!(%dir, "cannot record that this mount is being made again: {error}");
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::MountTable;

    fn record(dir: &str, namespace: u32, minor: u32) -> Record {
        let text = format!(
            r#"{{"source":"n:/p","dir":"{dir}","options":{{"fabric":null,"key":"/k","crypt":"auto","timeout_ms":5000,"cache":"auto",
            "share":{{"bw":0,"iops":0,"burst":0,"weight":100}},"read_only":false}},"flags":{{"read_only":false,"suid":false,
            "dev":false,"noexec":false,"noatime":false,"nodiratime":false,"relatime":false,"strictatime":false,"sync":false,
            "dirsync":false}},"namespace":{namespace},"device":{{"major":0,"minor":{minor}}},"unmade":false,
            "beneath":{{"directory":{{"device":{{"major":8,"minor":1}},"inode":2}}}}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn mounts_in_or_on_one_another_are_a_family_and_others_wait_for_nobody() {
        let dirs = [
            ("/a/b", 1),
            ("/c", 1),
            ("/a/b/d", 1),
            ("/a/b", 2),
            ("/c", 1),
            ("/ab", 1),
            ("/a", 1),
        ];
        let records = dirs
            .iter()
            .zip(1..)
            .map(|((dir, namespace), number)| (Number(number), record(dir, *namespace, 40)));
        let families = families(records.collect());
        let numbers = |family: &Vec<Lost>| family.iter().map(|lost| lost.number.0).collect::<Vec<_>>();
        let mut numbers: Vec<_> = families.iter().map(numbers).collect();
        numbers.sort();
        assert_eq!(numbers, [vec![1, 3, 7], vec![2, 5], vec![4], vec![6]]);
    }

    #[test]
    fn a_dead_mount_is_told_by_its_number_unless_it_is_being_made_again() {
        let table = MountTable::parse(
            b"30 1 0:40 / /a rw - fuse.rdmafs n:/p rw,user_id=0\n\
            31 1 0:41 / /a rw - fuse.rdmafs n:/p rw,user_id=0\n\
            32 1 0:40 / /b rw - fuse.rdmafs n:/p rw,user_id=0\n\
            33 1 0:40 / /a rw - fuse.rdmafs n:/q rw,user_id=0\n\
            34 1 0:40 / /a rw - fuse.rdmafs n:/p rw,user_id=1000",
        );
        let mut lost = families(vec![(Number(1), record("/a", 1, 40))])
            .remove(0)
            .remove(0);
        let those = |lost: &Lost| {
            table
                .iter()
                .filter(|mount| lost.is(mount))
                .map(|mount| mount.id)
                .collect::<Vec<_>>()
        };
        assert_eq!(those(&lost), [30]);
        lost.record.unmade = true;
        assert_eq!(those(&lost), [30, 31]);
    }
}
