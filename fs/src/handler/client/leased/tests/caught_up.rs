//! A directory that was wholly known, and what becomes of it when others change it.

use super::*;
use rdmafs_meta::wire::ChangedName;

fn catch_up(since: u64) -> Request {
    let (ino, since) = (ROOT, Stamp(since));
    Request::CatchUp { ino, since }
}

/// Names that changed, each with its inode; 0: it is not there.
fn changed(names: &[(&str, u64)]) -> Answer {
    let names = names.iter().map(|(of, ino)| ChangedName {
        name: name(of),
        attr: (*ino > 0).then(|| attr(*ino, 0)),
    });
    Ok(Reply::CaughtUp {
        attr: attr(1, 0),
        complete: true,
        names: names.collect(),
    })
}

fn incomplete() -> Answer {
    Ok(Reply::CaughtUp {
        attr: attr(1, 0),
        complete: false,
        names: Vec::new(),
    })
}

impl Test {
    fn behind(&self) -> Option<u64> {
        self.0.behind(ROOT).map(|since| since.0)
    }
}

/// A directory that had the names a and b in step 10.
fn of_two_names() -> Test {
    let mut test = Test::new();
    test.call(&page(0), 10, listed(&[("a", 2), ("b", 3)], 3, true));
    assert_eq!(
        [test.at("a"), test.at("b"), test.at("c")],
        [Some(2), Some(3), Some(0)]
    );
    assert_eq!(test.behind(), None);
    test
}

#[test]
fn what_did_not_change_is_believed_once_the_directory_is_caught_up() {
    let mut test = of_two_names();
    test.0.forget(ROOT, Stamp(12));
    assert_eq!([test.at("a"), test.at("c")], [None, None]);
    // Until just before it was to be forgotten nobody else changed anything.
    assert_eq!(test.behind(), Some(11));
    test.call(&catch_up(11), 14, changed(&[("b", 0), ("c", 4)]));
    assert_eq!(test.behind(), None);
    assert_eq!(
        [test.at("a"), test.at("b"), test.at("c"), test.at("d")],
        [Some(2), Some(0), Some(4), Some(0)]
    );
    test.0.forget(ROOT, Stamp(16));
    test.call(&catch_up(15), 17, changed(&[]));
    assert_eq!(
        [test.at("a"), test.at("b"), test.at("c"), test.at("d")],
        [Some(2), Some(0), Some(4), Some(0)]
    );
}

#[test]
fn an_answer_that_is_overtaken_is_what_the_next_one_goes_on_from() {
    let mut test = of_two_names();
    test.0.forget(ROOT, Stamp(12));
    let change = test.sends(&catch_up(11));
    test.0.forget(ROOT, Stamp(15));
    test.0
        .answered(&catch_up(11), &change, &said(14, changed(&[("a", 7)])));
    assert_eq!([test.at("a"), test.at("b")], [None, None]);
    assert_eq!(test.behind(), Some(14));
    test.call(&catch_up(14), 18, changed(&[("c", 4)]));
    assert_eq!(
        [test.at("a"), test.at("b"), test.at("c")],
        [Some(7), Some(3), Some(4)]
    );
}

#[test]
fn of_two_answers_the_later_one_counts_in_either_order() {
    for later_first in [false, true] {
        let mut test = of_two_names();
        test.0.forget(ROOT, Stamp(12));
        let mut answers = [(14, changed(&[("a", 7)])), (16, changed(&[("a", 0), ("b", 8)]))];
        if later_first {
            answers.reverse();
        }
        for (stamp, answer) in answers {
            test.call(&catch_up(11), stamp, answer);
        }
        assert_eq!([test.at("a"), test.at("b")], [Some(0), Some(8)], "{later_first}");
        test.0.forget(ROOT, Stamp(15));
        assert_eq!(test.at("b"), Some(8), "step 16 was believed");
    }
}

#[test]
fn what_cannot_be_caught_up_is_not_tried_twice() {
    let mut test = of_two_names();
    test.0.forget(ROOT, Stamp(12));
    test.call(&catch_up(11), 14, incomplete());
    assert_eq!((test.behind(), test.at("a"), test.at("c")), (None, None, None));
    assert_eq!(test.0.attributes(ROOT), Some(&attr(1, 0)));
    // An older answer says nothing of what was learned since.
    let mut test = of_two_names();
    test.0.forget(ROOT, Stamp(12));
    test.call(&catch_up(11), 16, changed(&[]));
    test.call(&catch_up(11), 14, incomplete());
    assert_eq!(test.at("a"), Some(2));
}

#[test]
fn a_name_that_was_pushed_out_ends_it() {
    let mut test = Test(Cache::new(SMALL));
    test.call(&page(0), 10, listed(&[("a", 2), ("b", 3)], 3, true));
    for of in ["x", "y"] {
        let parent = InodeId(9);
        let request = Request::Lookup {
            parent,
            name: name(of),
        };
        test.call(&request, 11, Err(MetaError::NotFound));
    }
    test.0.forget(ROOT, Stamp(12));
    assert_eq!((test.behind(), test.at("a")), (None, None));
    // So does one that is pushed out by what changed.
    let mut test = Test(Cache::new(SMALL));
    test.call(&page(0), 10, listed(&[("a", 2), ("b", 3)], 3, true));
    test.0.forget(ROOT, Stamp(12));
    test.call(&catch_up(11), 14, changed(&[("c", 4), ("d", 5)]));
    assert_eq!([test.at("a"), test.at("e")], [None, None]);
}

#[test]
fn own_changes_come_along_or_are_not_believed() {
    let mut test = of_two_names();
    let own = test.sends(&unlink("a"));
    test.0.forget(ROOT, Stamp(12));
    // The call may have been served before.
    assert_eq!(test.behind(), Some(10));
    test.call(&catch_up(10), 14, changed(&[("a", 0), ("c", 4)]));
    assert_eq!(
        [test.at("a"), test.at("c")],
        [None, None],
        "attributes of any inode may be changing"
    );
    test.0.answered(&unlink("a"), &own, &said(11, Ok(Reply::Done)));
    test.call(
        &Request::GetAttr { ino: InodeId(4) },
        15,
        Ok(Reply::Attr(attr(4, 0))),
    );
    assert_eq!([test.at("a"), test.at("c")], [Some(0), Some(4)]);
    // One that was served after the directory was caught up.
    let own = test.sends(&unlink("c"));
    test.0.forget(ROOT, Stamp(16));
    // Nothing was under way when it was sent.
    assert_eq!(test.behind(), Some(15));
    test.call(&catch_up(15), 17, changed(&[]));
    test.0.answered(&unlink("c"), &own, &said(18, Ok(Reply::Done)));
    assert_eq!(test.at("c"), Some(0));
}

/// What was learned before all names were says nothing of what was there then.
#[test]
fn a_name_that_was_held_before_the_listing_and_is_not_in_it_is_absent() {
    let mut test = Test::new();
    test.call(&lookup("old"), 5, Ok(Reply::Attr(attr(9, 0))));
    test.0.forget(ROOT, Stamp(6));
    test.call(&page(0), 10, listed(&[("a", 2)], 3, true));
    assert_eq!(test.at("old"), Some(0));
    test.0.forget(ROOT, Stamp(12));
    test.call(&catch_up(11), 14, changed(&[]));
    assert_eq!(test.at("old"), Some(0));
}

#[test]
fn a_new_listing_goes_on_from_where_it_is() {
    let mut test = of_two_names();
    test.0.forget(ROOT, Stamp(12));
    test.call(&page(0), 20, listed(&[("c", 4)], 3, true));
    assert_eq!([test.at("a"), test.at("c")], [Some(0), Some(4)]);
    test.0.forget(ROOT, Stamp(22));
    assert_eq!(test.behind(), Some(21));
    test.call(&catch_up(21), 23, changed(&[]));
    assert_eq!([test.at("a"), test.at("c")], [Some(0), Some(4)]);
}
