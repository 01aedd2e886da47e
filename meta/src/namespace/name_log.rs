//! Which names of which directories changed lately, so that a session which knew all names of a directory hears of those only.
//!
//! The log is in memory only, and of one life of the service: stamps begin anew with the next one, and so do the sessions' leases. It is bounded:
//! a directory has its [`MOST_NAMES`] names that changed last, and the pool its [`MOST_DIRECTORIES`] directories that changed last, in
//! [`MOST_BYTES`] of memory. What is pushed out raises the stamp since which the log is complete: that of the directory, or, with a whole directory, that of all
//! which the log does not have.

use crate::id::{InodeId, Stamp};
use crate::name::Name;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most names of one directory: what changed fits in a message, with attributes.
pub(super) const MOST_NAMES: usize = 128;
/// Most directories.
const MOST_DIRECTORIES: usize = 4096;
/// Most memory, by [`NAME_BYTES`] and [`DIRECTORY_BYTES`].
const MOST_BYTES: usize = 4 << 20;
/// Of a name, beside its own bytes.
const NAME_BYTES: usize = 64;
/// Of a directory, beside its names.
const DIRECTORY_BYTES: usize = 192;

/// The names that changed lately.
#[derive(Debug, Default)]
pub(super) struct NameLog {
    directories: BTreeMap<InodeId, Changed>,
    /// By the stamp of their last change.
    by_age: BTreeSet<(Stamp, InodeId)>,
    bytes: usize,
    /// Of a directory that is not here no name changed after this.
    since: Stamp,
}

/// What changed in one directory.
#[derive(Debug)]
struct Changed {
    /// All names are here that changed after this.
    since: Stamp,
    /// Each once, with its last change; the newest is the last one.
    names: VecDeque<(Stamp, Name)>,
}

impl Changed {
    fn newest(&self) -> Stamp {
        self.names.back().map_or(self.since, |(stamp, _)| *stamp)
    }

    fn bytes(&self) -> usize {
        DIRECTORY_BYTES + self.names.iter().map(|(_, name)| bytes_of(name)).sum::<usize>()
    }
}

impl NameLog {
    /// The name changed in this step, no earlier than what changed before.
    pub(super) fn changed(&mut self, directory: InodeId, name: Name, stamp: Stamp) {
        let mut changed = self.take(directory).unwrap_or(Changed {
            since: self.since,
            names: VecDeque::new(),
        });
        assert!(changed.newest() <= stamp, "stamps rise");
        changed.names.retain(|(_, known)| *known != name);
        changed.names.push_back((stamp, name));
        if changed.names.len() > MOST_NAMES
            && let Some((stamp, _)) = changed.names.pop_front()
        {
            changed.since = stamp;
        }
        self.bytes += changed.bytes();
        self.by_age.insert((stamp, directory));
        self.directories.insert(directory, changed);
        while self.directories.len() > MOST_DIRECTORIES || self.bytes > MOST_BYTES {
            self.cut();
        }
    }

    /// Nothing is known of what changed up to this step.
    pub(super) fn forget_all(&mut self, stamp: Stamp) {
        self.directories.clear();
        self.by_age.clear();
        self.bytes = 0;
        self.since = stamp;
    }

    /// The names of the directory that changed after `since`; `None`: some that did may be forgotten.
    pub(super) fn since(&self, directory: InodeId, since: Stamp) -> Option<Vec<&Name>> {
        let Some(changed) = self.directories.get(&directory) else {
            return (since >= self.since).then(Vec::new);
        };
        let after = changed.names.iter().filter(|(stamp, _)| *stamp > since);
        (since >= changed.since).then(|| after.map(|(_, name)| name).collect())
    }

    fn take(&mut self, directory: InodeId) -> Option<Changed> {
        let changed = self.directories.remove(&directory)?;
        self.by_age.remove(&(changed.newest(), directory));
        self.bytes -= changed.bytes();
        Some(changed)
    }

    /// Forgets the directory whose last change is the oldest.
    fn cut(&mut self) {
        if let Some((newest, directory)) = self.by_age.first().copied() {
            self.take(directory);
            self.since = newest;
        }
    }
}

fn bytes_of(name: &Name) -> usize {
    NAME_BYTES + name.as_bytes().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: InodeId = InodeId(7);

    fn name(at: u64) -> Name {
        Name::new(at.to_string()).unwrap()
    }

    fn since(log: &NameLog, directory: InodeId, stamp: u64) -> Option<Vec<Name>> {
        let names = log.since(directory, Stamp(stamp))?;
        Some(names.into_iter().cloned().collect())
    }

    /// A log in which name `n` of [`D`] changed in step `n`.
    fn of_names(count: u64) -> NameLog {
        let mut log = NameLog::default();
        for at in 1..=count {
            log.changed(D, name(at), Stamp(at));
        }
        log
    }

    #[test]
    fn what_changed_after_a_stamp_is_there_once() {
        let mut log = of_names(3);
        assert_eq!(since(&log, D, 0), Some(vec![name(1), name(2), name(3)]));
        assert_eq!(since(&log, D, 2), Some(vec![name(3)]));
        assert_eq!(since(&log, D, 3), Some(vec![]));
        log.changed(D, name(1), Stamp(9));
        assert_eq!(since(&log, D, 2), Some(vec![name(3), name(1)]));
        log.changed(D, name(4), Stamp(9));
        assert_eq!(since(&log, D, 8), Some(vec![name(1), name(4)]), "of one step");
        assert_eq!(since(&log, InodeId(8), 0), Some(vec![]), "nothing changed there");
    }

    #[test]
    fn a_directory_has_the_last_names_and_says_since_when_it_has_all() {
        let most = MOST_NAMES as u64;
        for count in [most - 1, most] {
            let of_all = since(&of_names(count), D, 0).map(|names| names.len() as u64);
            assert_eq!(of_all, Some(count));
        }
        let mut log = of_names(most + 1);
        assert_eq!(since(&log, D, 0), None);
        assert_eq!(since(&log, D, 1).map(|names| names.len()), Some(MOST_NAMES));
        log.changed(D, name(most + 1), Stamp(most + 2));
        assert_eq!(
            since(&log, D, 1).map(|names| names.len()),
            Some(MOST_NAMES),
            "it was there"
        );
    }

    /// A log in which a name of directory `n` changed in step `n`.
    fn of_directories(count: u64) -> NameLog {
        let mut log = NameLog::default();
        for at in 1..=count {
            log.changed(InodeId(at), name(1), Stamp(at));
        }
        log
    }

    #[test]
    fn the_directory_that_changed_longest_ago_goes_for_one_more() {
        let most = MOST_DIRECTORIES as u64;
        for count in [most - 1, most] {
            let log = of_directories(count);
            assert_eq!(since(&log, InodeId(1), 0), Some(vec![name(1)]));
            assert_eq!(since(&log, InodeId(most * 2), 0), Some(vec![]));
        }
        let mut log = of_directories(most);
        log.changed(InodeId(1), name(2), Stamp(most + 1));
        log.changed(InodeId(most * 2), name(1), Stamp(most + 2));
        assert_eq!(since(&log, InodeId(1), 0), Some(vec![name(1), name(2)]));
        assert_eq!(since(&log, InodeId(2), 1), None, "it is forgotten");
        assert_eq!(
            since(&log, InodeId(2), 2),
            Some(vec![]),
            "that was its last change"
        );
        assert_eq!(since(&log, InodeId(most * 3), 1), None, "it may be forgotten");
        log.changed(InodeId(2), name(3), Stamp(most + 3));
        assert_eq!(since(&log, InodeId(2), 1), None, "what was forgotten stays so");
        assert_eq!(since(&log, InodeId(2), 3), Some(vec![name(3)]));
    }

    #[test]
    fn all_names_take_no_more_than_the_memory_for_them() {
        let long = |at: u64| Name::new(format!("{at:0255}")).unwrap();
        let of_one = DIRECTORY_BYTES + MOST_NAMES * (NAME_BYTES + Name::MAX);
        let fit = (MOST_BYTES / of_one) as u64;
        let mut log = NameLog::default();
        let mut stamp = 0;
        for at in 1..=fit + 1 {
            assert_eq!(
                since(&log, InodeId(1), 0).map(|names| names.len()),
                (at > 1).then_some(MOST_NAMES).or(Some(0))
            );
            for of in 0..MOST_NAMES as u64 {
                stamp += 1;
                log.changed(InodeId(at), long(of), Stamp(stamp));
                assert!(log.bytes <= MOST_BYTES);
            }
        }
        assert_eq!(since(&log, InodeId(1), 0), None);
        assert_eq!(since(&log, InodeId(1), MOST_NAMES as u64), Some(vec![]));
        let bytes: usize = log.directories.values().map(Changed::bytes).sum();
        assert_eq!(log.bytes, bytes);
        assert_eq!(log.by_age.len(), log.directories.len());
    }

    #[test]
    fn what_is_forgotten_is_not_taken_for_unchanged() {
        let mut log = of_names(3);
        log.forget_all(Stamp(5));
        assert_eq!(since(&log, D, 4), None);
        assert_eq!(since(&log, D, 5), Some(vec![]));
        log.changed(D, name(1), Stamp(6));
        assert_eq!(since(&log, D, 4), None);
        assert_eq!(since(&log, D, 5), Some(vec![name(1)]));
    }
}
