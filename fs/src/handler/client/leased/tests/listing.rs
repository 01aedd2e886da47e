//! Listings of directories.

use super::*;

fn dots(names: &[(&'static str, u64)]) -> Vec<(&'static str, u64)> {
    [&[(".", 1), ("..", 1)], names].concat()
}

fn listing_of_directory(stamp: u64) -> (Request, StampedAnswer) {
    let request = Request::ReadDir {
        ino: DIRECTORY,
        after: 0,
        limit: 100,
    };
    let entries = [(".", DIRECTORY.0), ("..", ROOT.0)];
    (request, said(stamp, listed(&entries, 1, true)))
}

impl Test {
    /// Names after a place, if they are held.
    fn page(&mut self, after: u64, limit: usize) -> Option<Vec<String>> {
        let (entries, next) = self.0.page(ROOT, after, limit)?;
        assert_eq!(next, 100);
        let names = entries.into_iter().map(|entry| String::from_utf8(entry.name));
        Some(names.map(Result::unwrap).collect())
    }

    fn all(&mut self) -> Option<String> {
        self.page(0, 100).map(|names| names.join(" "))
    }

    /// A directory of two names.
    fn lists(&mut self, stamp: u64) {
        let names = dots(&[("a", 2), ("b", 3)]);
        self.call(&page(0), stamp, listed(&names, 1, true));
        assert_eq!(self.all().as_deref(), Some(". .. a b"));
    }
}

#[test]
fn what_was_listed_is_listed_from_what_is_held() {
    let mut test = Test::new();
    assert_eq!(test.all(), None);
    test.lists(5);
    assert_eq!(test.page(1, 2), Some(vec!["..".into(), "a".into()]));
    assert_eq!(test.page(4, 2), Some(Vec::new()), "the end");
    assert_eq!(test.0.page(ROOT, 0, 1).map(|(_, next)| next), Some(100));
}

/// As far as a pass has come it need not be done twice.
#[test]
fn the_beginning_of_a_directory_is_held() {
    let mut test = Test::new();
    test.call(&page(0), 5, listed(&dots(&[]), 1, false));
    assert_eq!(test.page(0, 100), Some(vec![".".into(), "..".into()]));
    assert_eq!(test.page(2, 100), None, "more stands there");
    test.call(&page(2), 6, listed(&[("a", 2)], 3, false));
    test.call(&page(3), 7, listed(&[("b", 3)], 4, true));
    assert_eq!(test.all().as_deref(), Some(". .. a b"));
}

#[test]
fn a_page_after_a_gap_is_not_joined() {
    let mut test = Test::new();
    test.call(&page(0), 5, listed(&dots(&[]), 1, false));
    test.call(&page(3), 6, listed(&[("b", 3)], 4, true));
    assert_eq!((test.page(2, 100), test.page(3, 100)), (None, None));
    test.call(&page(2), 7, listed(&[("a", 2)], 3, false));
    assert_eq!(test.page(2, 100), Some(vec!["a".into()]));
}

#[test]
fn a_page_that_is_asked_for_its_attributes_leaves_the_rest_held() {
    let mut test = Test::new();
    test.lists(5);
    test.0.forget(InodeId(2), Stamp(6));
    assert_eq!(test.all(), None, "its attributes are not held");
    test.call(&page(0), 7, listed(&dots(&[("a", 2)]), 1, false));
    assert_eq!(test.all().as_deref(), Some(". .. a b"));
}

#[test]
fn a_longer_beginning_is_held_instead_of_a_short_one() {
    let mut test = Test::new();
    test.call(&page(0), 5, listed(&[(".", 1)], 1, false));
    test.call(&page(0), 6, listed(&dots(&[]), 1, false));
    test.call(&page(2), 7, listed(&[("a", 2)], 3, true));
    assert_eq!(test.all().as_deref(), Some(". .. a"));
}

#[test]
fn what_was_forgotten_is_not_listed_nor_what_was_read_before() {
    let mut test = Test::new();
    test.lists(5);
    test.0.forget(ROOT, Stamp(5));
    assert_eq!(test.all(), None);
    test.call(&page(0), 5, listed(&dots(&[("a", 2)]), 1, true));
    test.call(&Request::GetAttr { ino: ROOT }, 6, Ok(Reply::Attr(attr(1, 0))));
    assert_eq!(test.all(), None, "it came late");
    test.lists(7);
}

/// Another host makes a name between the pages.
#[test]
fn pages_from_before_and_after_a_change_are_not_joined() {
    let mut test = Test::new();
    test.call(&page(0), 5, listed(&dots(&[]), 1, false));
    test.0.forget(ROOT, Stamp(5));
    test.call(&page(2), 8, listed(&[("a", 2)], 3, true));
    test.call(&Request::GetAttr { ino: ROOT }, 9, Ok(Reply::Attr(attr(1, 0))));
    assert_eq!(test.all(), None);
}

/// A page of a pass before the change comes after the first page of the pass behind it: neither is a name absent for it.
#[test]
fn a_late_page_of_an_earlier_pass_is_not_joined_with_a_later_one() {
    let mut test = Test::new();
    test.call(&page(0), 3, listed(&dots(&[("a", 2)]), 1, false));
    let late = test.sends(&page(3));
    test.0.forget(ROOT, Stamp(5));
    test.call(&page(0), 7, listed(&dots(&[("a", 2)]), 1, false));
    test.0
        .answered(&page(3), &late, &said(4, listed(&[("b", 3)], 4, true)));
    assert_eq!(test.page(3, 100), None);
    assert_eq!((test.at("b"), test.at("z")), (None, None));
}

#[test]
fn whatever_this_handler_changes_in_a_directory_is_not_listed_as_it_was() {
    let file = NewInode::File { open: false };
    let link = Request::Link {
        ino: InodeId(2),
        parent: ROOT,
        name: name("c"),
    };
    let rmdir = Request::RemoveDir {
        parent: ROOT,
        name: name("a"),
    };
    let moved = rename("a", "c", RenameMode::NoReplace);
    let made = make("c", file);
    for change in [made, link, unlink("a"), rmdir, moved] {
        let mut test = Test::new();
        test.lists(5);
        let sent = test.sends(&change);
        assert_eq!(test.all(), None, "{change:?}");
        let late = test.sends(&page(0));
        let changed = [1, 2, 3].map(|ino| attr(ino, 0)).to_vec();
        let answer = StampedAnswer {
            changed,
            ..said(7, Ok(Reply::Done))
        };
        test.0.answered(&change, &sent, &answer);
        assert_eq!(test.all(), None, "{change:?}");
        let before = listed(&dots(&[("a", 2), ("b", 3)]), 1, true);
        test.0.answered(&page(0), &late, &said(6, before));
        assert_eq!(test.all(), None, "{change:?}, and a page from before");
        test.lists(8);
    }
}

#[test]
fn a_call_that_was_not_sent_and_one_that_changes_no_name_leave_listings_alone() {
    let mut test = Test::new();
    test.lists(5);
    let sent = test.sends(&unlink("a"));
    test.0.not_done(&sent);
    assert!(test.all().is_some());
    let get = Request::SetFlags {
        ino: ROOT,
        flags: InodeFlags::default(),
    };
    test.call(&get, 6, Ok(Reply::Attr(attr(1, 0))));
    assert!(test.all().is_some());
}

#[test]
fn a_moved_directory_is_not_listed_with_the_directory_where_it_was() {
    for known in [true, false] {
        let mut test = Test::new();
        let directory = attr(DIRECTORY.0, 0);
        if known {
            test.call(&lookup("d"), 4, Ok(Reply::Attr(directory.clone())));
            test.call(&lookup("e"), 4, Err(MetaError::NotFound));
        }
        let (list, answer) = listing_of_directory(5);
        let sent = test.sends(&list);
        test.0.answered(&list, &sent, &answer);
        assert!(test.0.page(DIRECTORY, 0, 9).is_some());
        let late = test.sends(&list);
        let moved = rename("d", "e", RenameMode::Replace);
        let sent = test.sends(&moved);
        assert_eq!(test.0.page(DIRECTORY, 0, 9), None, "known: {known}");
        let changed = vec![attr(1, 0), directory];
        let done = StampedAnswer {
            changed,
            ..said(7, Ok(Reply::Done))
        };
        test.0.answered(&moved, &sent, &done);
        assert_eq!(test.0.page(DIRECTORY, 0, 9), None, "known: {known}");
        let (_, before) = listing_of_directory(6);
        test.0.answered(&list, &late, &before);
        assert_eq!(test.0.page(DIRECTORY, 0, 9), None, "known: {known}");
    }
}

#[test]
fn no_listing_outlives_a_change_of_which_nobody_knows_when_it_was() {
    let mut test = Test::new();
    test.lists(5);
    let late = test.sends(&page(0));
    test.call(&unlink("b"), 0, Ok(Reply::Done));
    assert_eq!(test.all(), None);
    let before = listed(&dots(&[("a", 2)]), 1, true);
    test.0.answered(&page(0), &late, &said(6, before));
    assert_eq!(test.all(), None);
    let attributes = [1, 2, 3].map(|ino| attr(ino, 0)).to_vec();
    let answer = StampedAnswer {
        changed: attributes,
        ..said(7, Ok(Reply::Done))
    };
    let sync = test.sends(&Request::Sync);
    test.0.answered(&Request::Sync, &sync, &answer);
    assert_eq!((test.size(3), test.all()), (Some(0), None));
    test.lists(8);
}

#[test]
fn entries_and_bytes_of_names_have_bounds() {
    let mut listings = Listings::new(SMALL);
    let entry = |cookie, text: &str| {
        let entry = DirEntry {
            name: text.into(),
            cookie,
            attr: attr(cookie, 0),
        };
        ListedEntry::of(&entry, Name::new(text).ok().as_ref()).unwrap()
    };
    let whole = |last| Page {
        after: 0,
        last,
        end: true,
        next: 100,
    };
    let long = "x".repeat(19);
    for (names, held) in [(vec!["a", "b", "c"], 2), (vec![&*long], 2), (vec!["a"], 6)] {
        listings.clear();
        for directory in 2..10 {
            let entries = (1..).zip(&names).map(|(at, name)| entry(at, name)).collect();
            listings.learn(InodeId(directory), whole(3), entries, Stamp(5));
        }
        let (entries, bytes) = listings.sizes();
        assert!(entries <= SMALL.listed && bytes <= SMALL.listed_bytes);
        assert_eq!(entries, held * names.len());
        let there = (2..10).filter(|directory| listings.get(InodeId(*directory)).is_some());
        assert_eq!(
            there.collect::<Vec<_>>(),
            (10 - held as u64..10).collect::<Vec<_>>()
        );
    }
    let many = SMALL.attributes as u64 + 1;
    let entries = (1..=many).map(|at| entry(at, "n")).collect();
    listings.learn(InodeId(20), whole(many), entries, Stamp(5));
    assert!(listings.get(InodeId(20)).is_none() && listings.get(InodeId(9)).is_some());
}
