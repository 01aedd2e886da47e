//! Extended attributes, lists of them and targets of symbolic links that are held, step by step.

use super::super::extras::{Extra, Extras, Known, LONGEST_HELD};
use super::super::leases::Leases;
use super::{Hand, SMALL, Test, attr, said};
use crate::handler::values::Connection;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::wire::{Answer, Reply, Request, StampedAnswer, XattrMode};
use rdmafs_meta::xattr::XattrName;
use std::sync::Arc;
use std::time::Duration;

const INO: InodeId = InodeId(2);

fn named(name: &str) -> Extra {
    Extra::Xattr(XattrName::new(name).unwrap())
}

fn get(name: &str, from: u32) -> Request {
    Request::GetXattr {
        ino: INO,
        name: XattrName::new(name).unwrap(),
        from,
        limit: 1 << 16,
    }
}

fn value(total: usize, page: &[u8]) -> Answer {
    Ok(Reply::Xattr {
        total: u32::try_from(total).unwrap(),
        edition: 1,
        page: page.to_vec(),
    })
}

fn set(name: &str) -> Request {
    Request::SetXattr {
        ino: INO,
        name: XattrName::new(name).unwrap(),
        staged: None,
        value: Vec::new(),
        mode: XattrMode::default(),
    }
}

impl Test {
    /// A call whose answer brings the inode's attributes along.
    fn reads(&mut self, request: &Request, stamp: u64, answer: Answer) {
        let change = self.sends(request);
        let said = StampedAnswer {
            changed: vec![attr(INO.0, 0)],
            ..said(stamp, answer)
        };
        self.0.answered(request, &change, &said);
    }

    fn extra(&mut self, extra: &Extra) -> Option<Known> {
        self.0.extra(INO, extra).cloned()
    }
}

fn bytes(bytes: &[u8]) -> Option<Known> {
    Some(Known::Bytes(bytes.to_vec()))
}

#[test]
fn what_is_asked_once_is_held_until_it_is_forgotten() {
    let mut test = Test::new();
    let no_xattr = || Err(MetaError::NoXattr);
    test.reads(&get("user.a", 0), 5, value(2, b"hi"));
    test.reads(&get("user.b", 0), 6, no_xattr());
    test.reads(
        &Request::ListXattr { ino: INO },
        7,
        Ok(Reply::XattrNames(b"user.a\0".to_vec())),
    );
    test.reads(
        &Request::ReadLink { ino: INO },
        8,
        Ok(Reply::Target(b"to".to_vec())),
    );
    assert_eq!(test.extra(&named("user.a")), bytes(b"hi"));
    assert_eq!(test.extra(&named("user.b")), Some(Known::Absent));
    assert_eq!(test.extra(&Extra::XattrNames), bytes(b"user.a\0"));
    assert_eq!(test.extra(&Extra::Target), bytes(b"to"));
    test.0.forget(INO, Stamp(8));
    test.reads(&get("user.c", 0), 9, no_xattr());
    assert_eq!(test.extra(&named("user.c")), Some(Known::Absent));
    for extra in [named("user.a"), named("user.b"), Extra::XattrNames, Extra::Target] {
        assert_eq!(
            test.extra(&extra),
            None,
            "{extra:?}: its attributes are held again"
        );
    }
    test.reads(&get("user.a", 0), 8, value(3, b"old"));
    assert_eq!(test.extra(&named("user.a")), None, "it is from before");
}

#[test]
fn of_two_values_the_later_one_is_held() {
    let mut test = Test::new();
    test.reads(&get("user.a", 0), 6, value(3, b"new"));
    test.reads(&get("user.a", 0), 5, value(3, b"old"));
    assert_eq!(test.extra(&named("user.a")), bytes(b"new"));
}

#[test]
fn an_own_change_is_asked_while_it_is_under_way_and_afterwards() {
    let mut test = Test::new();
    test.reads(&get("user.a", 0), 5, value(3, b"old"));
    let set = set("user.a");
    let change = test.sends(&set);
    assert_eq!(test.extra(&named("user.a")), None);
    test.0
        .answered(&set, &change, &said(7, Ok(Reply::Attr(attr(INO.0, 1)))));
    assert_eq!(test.size(INO.0), Some(1));
    assert_eq!(test.extra(&named("user.a")), None);
    test.reads(&get("user.a", 0), 6, value(3, b"old"));
    assert_eq!(test.extra(&named("user.a")), None, "it is from before");
    test.reads(&get("user.a", 0), 8, value(3, b"new"));
    assert_eq!(test.extra(&named("user.a")), bytes(b"new"));
}

/// They report all that they change of attributes, and file capabilities go without being named.
#[test]
fn what_may_change_bytes_takes_what_is_held_and_what_reads_does_not() {
    let layout = |allocate| Request::Layout {
        ino: INO,
        start: 0,
        end: 1,
        allocate,
    };
    for (request, taken) in [
        (layout(true), true),
        (layout(false), false),
        (Request::ReadLink { ino: INO }, false),
        (Request::Release { ino: INO, opens: 1 }, false),
    ] {
        let mut test = Test::new();
        test.reads(&get("security.capability", 0), 5, value(1, b"x"));
        test.call(&request, 6, Ok(Reply::Done));
        let held = test.extra(&named("security.capability"));
        assert_eq!(held.is_none(), taken, "{request:?}");
    }
}

/// An answer of which nobody knows that a lease came with it, as nodes of earlier builds give them.
#[test]
fn what_comes_without_attributes_is_held_only_where_these_are() {
    let mut test = Test::new();
    test.call(&get("user.a", 0), 5, value(2, b"hi"));
    let stat = Request::GetAttr { ino: INO };
    test.call(&stat, 6, Ok(Reply::Attr(attr(INO.0, 0))));
    assert_eq!(test.extra(&named("user.a")), None, "the lease came later");
    test.call(&get("user.a", 0), 7, value(2, b"hi"));
    assert_eq!(test.extra(&named("user.a")), bytes(b"hi"));
}

#[test]
fn what_depends_on_the_caller_is_not_held() {
    let mut test = Test::new();
    test.reads(&get("trusted.a", 0), 5, value(2, b"hi"));
    test.reads(&get("trusted.b", 0), 6, Err(MetaError::NoXattr));
    test.reads(&get("user.a", 0), 7, Err(MetaError::AccessDenied));
    let names = b"security.a\0trusted.a\0user.a\0".to_vec();
    test.reads(&Request::ListXattr { ino: INO }, 8, Ok(Reply::XattrNames(names)));
    for name in ["trusted.a", "trusted.b", "user.a"] {
        assert_eq!(test.extra(&named(name)), None, "{name}");
    }
    assert_eq!(test.extra(&Extra::XattrNames), bytes(b"security.a\0user.a\0"));
}

#[test]
fn a_target_is_given_where_reading_it_renews_nothing() {
    let (leases, over) = (Leases::new(Arc::new(Hand::default())), Connection(1));
    leases.begin(over);
    leases.renewed(over, Duration::ZERO, Duration::from_secs(10));
    let read = Request::ReadLink { ino: INO };
    let change = leases.sends(over, &read).unwrap();
    let answer = StampedAnswer {
        changed: vec![attr(INO.0, 7)],
        ..said(5, Ok(Reply::Target(b"to".to_vec())))
    };
    leases.answered(over, (&read, &change), &answer);
    assert_eq!(leases.target(INO, |attr| attr.size != 7), Some(b"to".to_vec()));
    assert_eq!(leases.target(INO, |attr| attr.size == 7), None);
    assert_eq!(leases.target(InodeId(3), |_| false), None);
    assert!(leases.extra(INO, &Extra::Target, |_| true).is_some());
    leases.end(over);
    assert_eq!(leases.target(INO, |_| false), None);
}

#[test]
fn only_whole_values_are_held_and_no_long_ones() {
    let longest = LONGEST_HELD as usize;
    for (from, total, page, held) in [
        (0, longest, longest, true),
        (0, longest + 1, longest + 1, false),
        (0, 10, 9, false),
        (0, 10, 0, false),
        (0, 0, 0, true),
        (1, 9, 9, false),
    ] {
        let mut test = Test::new();
        test.reads(&get("user.a", from), 5, value(total, &vec![7; page]));
        let found = test.extra(&named("user.a")).is_some();
        assert_eq!(found, held, "{page} of {total} bytes from {from}");
    }
}

#[test]
fn extras_are_held_up_to_their_bounds() {
    let mut extras = Extras::new(SMALL);
    let there = |extras: &mut Extras| {
        let held = (2..9).filter(|ino| extras.get(InodeId(*ino), &Extra::Target).is_some());
        held.collect::<Vec<u64>>()
    };
    let target = |len: usize| Known::Bytes(vec![1; len]);
    for ino in 2..6 {
        extras.learn((InodeId(ino), Extra::Target), target(10), Stamp(ino));
    }
    assert_eq!(there(&mut extras), [3, 4, 5], "the least recently used goes");
    extras.learn((InodeId(3), Extra::Target), target(90), Stamp(9));
    assert_eq!(there(&mut extras), [3, 5], "100 bytes are held");
    extras.learn((InodeId(6), Extra::Target), target(101), Stamp(9));
    assert_eq!(there(&mut extras), [0; 0], "more than all");
    let long = format!("user.{}", "a".repeat(95));
    extras.learn((INO, named(&long)), Known::Absent, Stamp(9));
    assert!(extras.get(INO, &named(&long)).is_some());
    extras.learn((InodeId(3), Extra::Target), target(1), Stamp(9));
    assert!(extras.get(INO, &named(&long)).is_none(), "names count");
    extras.clear();
    for ino in 2..5 {
        extras.learn((InodeId(ino), Extra::Target), target(33), Stamp(9));
    }
    assert_eq!(there(&mut extras), [2, 3, 4], "what is cleared counts no more");
}
