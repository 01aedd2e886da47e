//! What is held by lease, step by step.

use super::bounds::Bounds;
use super::cache::{Cache, Found};
use super::changing::Change;
use super::leases::Leases;
use super::listing::{ListedEntry, Listings, Page};
use crate::handler::values::Connection;
use parking_lot::Mutex;
use rdmafs_meta::acl::Acls;
use rdmafs_meta::attr::{Attr, FileKind};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::flags::InodeFlags;
use rdmafs_meta::id::{InodeId, Stamp, Version};
use rdmafs_meta::name::Name;
use rdmafs_meta::time::Timestamp;
use rdmafs_meta::wire::{Answer, DirEntry, NewInode, RenameMode, Reply, Request, StampedAnswer};
use rdmafs_rdma::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

mod caught_up;
mod extras;
mod listing;

const ROOT: InodeId = InodeId::ROOT;
/// Another directory.
const DIRECTORY: InodeId = InodeId(99);

pub(super) fn attr(ino: u64, size: u64) -> Attr {
    Attr {
        ino: InodeId(ino),
        kind: match InodeId(ino) {
            ROOT | DIRECTORY => FileKind::Directory,
            _ => FileKind::Regular,
        },
        mode: 0o644,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        size,
        allocated: 0,
        atime: Timestamp::default(),
        mtime: Timestamp::default(),
        ctime: Timestamp::default(),
        birth: Timestamp::default(),
        version: Version(1),
        truncate_seq: 0,
        flags: InodeFlags::default(),
        acls: Acls::None,
    }
}

pub(super) fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

pub(super) fn said(stamp: u64, answer: Answer) -> StampedAnswer {
    StampedAnswer {
        stamp: Stamp(stamp),
        changed: Vec::new(),
        answer,
    }
}

pub(super) const SMALL: Bounds = Bounds {
    attributes: 4,
    names: 3,
    directories: 2,
    extras: 3,
    extra_bytes: 100,
    listed: 6,
    listed_bytes: 40,
};

fn lookup(of: &str) -> Request {
    Request::Lookup {
        parent: ROOT,
        name: name(of),
    }
}

fn unlink(of: &str) -> Request {
    Request::Unlink {
        parent: ROOT,
        name: name(of),
    }
}

fn make(of: &str, what: NewInode) -> Request {
    Request::Make {
        parent: ROOT,
        name: name(of),
        what,
        mode: 0o755,
    }
}

fn rename(from: &str, to: &str, mode: RenameMode) -> Request {
    Request::Rename {
        parent: ROOT,
        name: name(from),
        new_parent: ROOT,
        new_name: name(to),
        mode,
    }
}

fn page(after: u64) -> Request {
    Request::ReadDir {
        ino: ROOT,
        after,
        limit: 100,
    }
}

fn listed(names: &[(&str, u64)], first: u64, end: bool) -> Answer {
    let entry = |(at, (name, ino)): (u64, &(&str, u64))| DirEntry {
        name: name.as_bytes().to_vec(),
        cookie: at,
        attr: attr(*ino, 0),
    };
    Ok(Reply::Directory {
        entries: (first..).zip(names).map(entry).collect(),
        end,
        next: 100,
    })
}

/// A cache, and what is done to it.
struct Test(Cache);

impl Test {
    fn new() -> Self {
        Self(Cache::new(Bounds::OF_A_POOL))
    }

    fn sends(&mut self, request: &Request) -> Change {
        self.0.begins(request)
    }

    /// A call from its sending to its answer.
    fn call(&mut self, request: &Request, stamp: u64, answer: Answer) {
        let change = self.sends(request);
        self.0.answered(request, &change, &said(stamp, answer));
    }

    /// `None`: unknown; 0: absent.
    fn at(&mut self, of: &str) -> Option<u64> {
        self.0.find(&(ROOT, name(of))).map(|found| match found {
            Found::Here(attr) => attr.ino.0,
            Found::Absent => 0,
        })
    }

    fn size(&mut self, ino: u64) -> Option<u64> {
        self.0.attributes(InodeId(ino)).map(|attr| attr.size)
    }

    fn has(&mut self, of: &str, ino: u64, stamp: u64) {
        self.call(&lookup(of), stamp, Ok(Reply::Attr(attr(ino, 0))));
    }
}

/// Whoever keeps such a file open must hear of it, or its space never comes back.
#[test]
fn who_lost_its_last_name_is_reported_however_late_the_answer_is() {
    let mut cache = Cache::new(SMALL);
    let mut gone = said(5, Ok(Reply::Done));
    gone.changed.push(Attr {
        nlink: 0,
        ..attr(7, 0)
    });
    // What the name leads to is not known, and what a later step says comes first.
    let change = cache.begins(&unlink("a"));
    cache.forget(ROOT, Stamp(6));
    cache.answered(&unlink("a"), &change, &gone);
    assert_eq!(cache.take_unnamed(), Some(vec![InodeId(7)]));
    assert_eq!(cache.take_unnamed(), Some(Vec::new()));
    let change = cache.begins(&unlink("b"));
    cache.answered(&unlink("b"), &change, &said(0, Ok(Reply::Done)));
    assert_eq!(cache.take_unnamed(), None, "an answer from a while ago");
}

#[test]
fn an_answer_without_a_stamp_teaches_nothing() {
    let mut test = Test::new();
    test.has("a", 2, 0);
    assert_eq!((test.at("a"), test.size(2)), (None, None));
    test.has("a", 2, 1);
    assert_eq!((test.at("a"), test.size(2)), (Some(2), Some(0)));
}

#[test]
fn the_higher_stamp_counts_whichever_comes_first() {
    let mut test = Test::new();
    let get = Request::GetAttr { ino: InodeId(2) };
    test.call(&get, 5, Ok(Reply::Attr(attr(2, 50))));
    test.call(&get, 4, Ok(Reply::Attr(attr(2, 40))));
    assert_eq!(test.size(2), Some(50));
    test.call(&get, 6, Ok(Reply::Attr(attr(2, 60))));
    assert_eq!(test.size(2), Some(60));
}

#[test]
fn what_is_forgotten_is_not_taken_in_afterwards() {
    let mut test = Test::new();
    test.has("a", 2, 5);
    test.0.forget(InodeId(2), Stamp(5));
    assert_eq!(test.size(2), None);
    assert_eq!(test.at("a"), None, "a name is answered with its attributes");
    test.has("a", 2, 5);
    assert_eq!(test.size(2), None);
    test.has("a", 2, 6);
    assert_eq!(test.size(2), Some(0));
    test.0.forget(InodeId(2), Stamp(5));
    assert_eq!(test.size(2), Some(0), "it was learned after that");
}

#[test]
fn a_directory_is_forgotten_with_its_names_absent_ones_too() {
    let mut test = Test::new();
    test.has("a", 2, 5);
    test.call(&lookup("b"), 6, Err(MetaError::NotFound));
    assert_eq!((test.at("a"), test.at("b")), (Some(2), Some(0)));
    test.0.forget(ROOT, Stamp(5));
    assert_eq!((test.at("a"), test.at("b")), (None, Some(0)));
    test.0.forget(ROOT, Stamp(6));
    assert_eq!(test.at("b"), None);
    assert_eq!(test.size(2), Some(0), "what the name led to has not changed");
}

#[test]
fn all_names_are_known_after_a_pass_from_the_start_to_the_end() {
    let mut test = Test::new();
    test.call(&page(0), 5, listed(&[(".", 1), ("..", 1), ("a", 2)], 1, false));
    assert_eq!((test.at("a"), test.at("z")), (Some(2), None));
    test.call(&page(3), 6, listed(&[("b", 3)], 4, true));
    assert_eq!((test.at("b"), test.at("z")), (Some(3), Some(0)));
    test.0.forget(ROOT, Stamp(7));
    assert_eq!(test.at("z"), None);
}

#[test]
fn a_pass_with_a_gap_or_a_change_in_it_tells_of_no_absence() {
    let mut test = Test::new();
    test.call(&page(0), 5, listed(&[("a", 2)], 3, false));
    test.call(&page(4), 6, listed(&[("b", 3)], 5, true));
    assert_eq!(test.at("z"), None, "pages are missing");
    test.call(&page(0), 7, listed(&[("a", 2)], 3, false));
    test.0.forget(ROOT, Stamp(7));
    test.call(&page(3), 8, listed(&[("b", 3)], 4, true));
    assert_eq!((test.at("b"), test.at("z")), (Some(3), None));
}

#[test]
fn a_directory_that_was_made_here_is_wholly_known() {
    let mut test = Test::new();
    test.call(&make("d", NewInode::Directory), 5, Ok(Reply::Attr(attr(9, 0))));
    assert_eq!(test.at("d"), Some(9));
    let inside = (InodeId(9), name("x"));
    assert_eq!(test.0.find(&inside), Some(Found::Absent));
    test.0.forget(InodeId(9), Stamp(6));
    assert_eq!(test.0.find(&inside), None);
}

#[test]
fn own_changes_of_names_are_known() {
    let mut test = Test::new();
    let file = NewInode::File { open: false };
    test.call(&make("a", file), 5, Ok(Reply::Attr(attr(2, 0))));
    assert_eq!(test.at("a"), Some(2));
    test.call(&lookup("b"), 6, Err(MetaError::NotFound));
    test.call(&rename("a", "b", RenameMode::Replace), 7, Ok(Reply::Done));
    assert_eq!(test.at("a"), Some(0));
    assert_eq!(
        test.at("b"),
        None,
        "its ctime has changed, and the answer did not bring it"
    );
    test.call(
        &Request::GetAttr { ino: InodeId(2) },
        8,
        Ok(Reply::Attr(attr(2, 0))),
    );
    assert_eq!(test.at("b"), Some(2));
    test.call(&unlink("b"), 9, Ok(Reply::Done));
    assert_eq!((test.at("b"), test.size(2)), (Some(0), None));
}

#[test]
fn a_rename_of_what_is_not_known_leaves_both_names_to_be_asked() {
    let mut test = Test::new();
    test.has("a", 2, 5);
    test.call(&rename("a", "b", RenameMode::Replace), 6, Ok(Reply::Done));
    assert_eq!(
        (test.at("a"), test.at("b")),
        (None, None),
        "both may be one inode"
    );
    test.has("a", 2, 7);
    test.has("b", 2, 7);
    test.call(&rename("a", "b", RenameMode::Replace), 8, Ok(Reply::Done));
    test.call(
        &Request::GetAttr { ino: InodeId(2) },
        9,
        Ok(Reply::Attr(attr(2, 0))),
    );
    assert_eq!((test.at("a"), test.at("b")), (None, None), "they are");
    for mode in [
        RenameMode::Exchange,
        RenameMode::Whiteout,
        RenameMode::WhiteoutNoReplace,
    ] {
        test.has("a", 2, 10);
        test.has("b", 3, 10);
        test.call(&rename("a", "b", mode), 11, Ok(Reply::Done));
        assert_eq!((test.at("a"), test.at("b")), (None, None), "{mode:?}");
        test = Test::new();
    }
}

#[test]
fn after_an_error_a_name_is_asked_also_where_all_are_known() {
    let mut test = Test::new();
    test.call(&page(0), 5, listed(&[("a", 2)], 3, true));
    assert_eq!(test.at("b"), Some(0));
    let file = NewInode::File { open: false };
    test.call(&make("b", file.clone()), 6, Err(MetaError::Exists));
    assert_eq!((test.at("b"), test.at("c")), (None, Some(0)));
    test.call(&lookup("b"), 7, Err(MetaError::NotFound));
    assert_eq!(test.at("b"), Some(0));
}

#[test]
fn after_a_change_of_which_nobody_knows_when_it_was_nothing_is_held_or_taken_in() {
    let mut test = Test::new();
    test.has("a", 2, 5);
    let slow = lookup("b");
    let sent = test.sends(&slow);
    test.call(&unlink("b"), 0, Ok(Reply::Done));
    assert_eq!((test.at("a"), test.size(2)), (None, None));
    test.0
        .answered(&slow, &sent, &said(6, Ok(Reply::Attr(attr(3, 0)))));
    assert_eq!(
        (test.at("b"), test.size(3)),
        (None, None),
        "it may be from before"
    );
    test.has("a", 2, 7);
    assert_eq!(test.at("a"), Some(2));
}

#[test]
fn what_is_reported_too_late_to_be_taken_in_is_not_as_it_was() {
    let mut test = Test::new();
    let layout = Request::Layout {
        ino: InodeId(2),
        start: 0,
        end: 1,
        allocate: true,
    };
    let sent = test.sends(&layout);
    test.call(&unlink("b"), 0, Ok(Reply::Done));
    test.has("a", 2, 5);
    let answer = StampedAnswer {
        changed: vec![attr(2, 1)],
        ..said(6, Ok(Reply::Done))
    };
    test.0.answered(&layout, &sent, &answer);
    assert_eq!(test.size(2), None);
}

#[test]
fn what_a_call_under_way_changes_is_asked() {
    let mut test = Test::new();
    test.has("a", 2, 5);
    test.has("b", 3, 5);
    let unlink = unlink("a");
    let change = test.sends(&unlink);
    assert_eq!((test.at("a"), test.size(2)), (None, None));
    assert_eq!((test.at("b"), test.size(3)), (Some(3), Some(0)));
    test.0.answered(&unlink, &change, &said(6, Ok(Reply::Done)));
    assert_eq!((test.at("a"), test.size(2)), (Some(0), None));
}

#[test]
fn what_an_unknown_name_led_to_may_be_anything() {
    let mut test = Test::new();
    test.has("b", 3, 5);
    let unlink = unlink("a");
    let change = test.sends(&unlink);
    assert_eq!(test.size(3), None, "it may be another name of that");
    test.0.answered(&unlink, &change, &said(6, Ok(Reply::Done)));
    assert_eq!(test.size(3), None);
    test.has("b", 3, 7);
    assert_eq!(test.at("b"), Some(3));
}

#[test]
fn a_call_that_was_not_sent_has_changed_nothing() {
    let mut test = Test::new();
    test.has("a", 2, 5);
    let change = test.sends(&unlink("a"));
    test.0.not_done(&change);
    assert_eq!(test.at("a"), Some(2));
}

#[test]
fn attributes_are_held_up_to_their_bound() {
    let mut cache = Cache::new(SMALL);
    let most = SMALL.attributes as u64;
    (2..2 + most).for_each(|ino| cache.learn_attributes(&attr(ino, 0), Stamp(5)));
    assert!((2..2 + most).all(|ino| cache.attributes(InodeId(ino)).is_some()));
    cache.learn_attributes(&attr(2 + most, 0), Stamp(6));
    assert_eq!(cache.sizes().0, SMALL.attributes);
    assert_eq!(cache.attributes(InodeId(2)), None, "the least recently used");
    cache.learn_attributes(&attr(2, 9), Stamp(4));
    assert_eq!(
        cache.attributes(InodeId(2)),
        None,
        "older than what was pushed out"
    );
}

#[test]
fn a_directory_is_not_wholly_known_without_a_name_that_was_pushed_out() {
    for (names, known) in [(2, true), (3, true), (4, false)] {
        let mut test = Test(Cache::new(SMALL));
        let all = [("a", 2), ("b", 3), ("c", 4), ("d", 5)];
        test.call(&page(0), 5, listed(&all[..names], 3, true));
        assert_eq!(test.at("z").is_some(), known, "{names} of {}", SMALL.names);
        assert!(test.0.sizes().1 <= SMALL.names);
    }
}

#[test]
fn directories_that_are_wholly_known_have_a_bound() {
    let mut cache = Cache::new(SMALL);
    (2..=4).for_each(|ino| cache.learn_whole(InodeId(ino), Stamp(5)));
    assert_eq!(cache.sizes().2, SMALL.directories);
    assert_eq!(cache.find(&(InodeId(2), name("a"))), None);
    assert_eq!(cache.find(&(InodeId(4), name("a"))), Some(Found::Absent));
}

#[derive(Default)]
struct Hand(Mutex<Duration>);

impl Clock for Hand {
    fn now(&self) -> Duration {
        *self.0.lock()
    }
}

#[test]
fn nothing_is_believed_after_nine_tenths_of_the_lease_or_over_another_connection() {
    let clock = Arc::new(Hand::default());
    let leases = Leases::new(clock.clone());
    let get = Request::GetAttr { ino: InodeId(2) };
    let answer = said(1, Ok(Reply::Attr(attr(2, 0))));
    let (first, next) = (Connection(1), Connection(2));
    let lease = Duration::from_secs(10);
    leases.begin(first);
    leases.renewed(first, Duration::ZERO, lease);
    assert!(leases.sends(next, &get).is_none(), "not over this connection");
    let sent = leases.sends(first, &get).unwrap();
    leases.answered(next, (&get, &sent), &answer);
    assert_eq!(leases.attributes(InodeId(2)), None, "not over this connection");
    leases.answered(first, (&get, &sent), &answer);
    *clock.0.lock() = Duration::from_millis(8_999);
    assert!(leases.attributes(InodeId(2)).is_some());
    *clock.0.lock() = Duration::from_secs(9);
    assert_eq!(leases.attributes(InodeId(2)), None);
    leases.renewed(first, Duration::from_millis(1), lease);
    assert!(leases.attributes(InodeId(2)).is_some());
    leases.end(next);
    assert!(leases.attributes(InodeId(2)).is_some(), "another one has ended");
    leases.end(first);
    leases.renewed(first, Duration::from_secs(9), lease);
    assert_eq!(leases.attributes(InodeId(2)), None);
    leases.begin(next);
    leases.renewed(next, Duration::from_secs(9), lease);
    assert_eq!(
        leases.attributes(InodeId(2)),
        None,
        "what the one before said is forgotten"
    );
}
