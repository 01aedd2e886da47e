//! What stands beside a message of version 6: the umask of a call, the ACLs of an answer.

use super::messages;
use super::{decode, encode};
use crate::acl::tests::acl_of;
use crate::acl::{Acl, AclKind, Acls};
use crate::attr::Attr;
use crate::error::MetaError;
use crate::id::{InodeId, Stamp};
use crate::name::Name;
use crate::wire::{
    Call, DirEntry, MAX_CHANGED, MAX_MESSAGE, NewInode, Reply, Request, StampedAnswer, WireVersion,
};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

fn attr() -> Attr {
    let made = super::parts::attr()
        .new_tree(&mut TestRunner::deterministic())
        .unwrap();
    Attr {
        acls: Acls::None,
        ..made.current()
    }
}

/// An ACL with so many users.
fn acl(users: u32) -> Acl {
    let none = u32::MAX;
    let named = (0..users).map(|user| (2, 4, 70_000 + user));
    let ends = [(4, 4, none), (16, 4, none), (32, 0, none)];
    acl_of(
        &[(1, 6, none)]
            .into_iter()
            .chain(named)
            .chain(ends)
            .collect::<Vec<_>>(),
    )
}

fn with(acl: &Acl) -> Attr {
    let acls = Acls::None.with(AclKind::Access, Some(acl.clone()));
    Attr { acls, ..attr() }
}

#[test]
fn a_service_without_default_acls_hears_the_masked_mode() {
    let make = |umask, mode| {
        let mut call = messages::renew();
        call.caller.umask = umask;
        let (parent, name, what) = (InodeId::ROOT, Name::new("new").unwrap(), NewInode::Directory);
        call.request = Request::Make {
            parent,
            name,
            what,
            mode,
        };
        call
    };
    let call = make(0o027, 0o2777);
    for version in [WireVersion::FIRST, WireVersion::THIRD, WireVersion::FIFTH] {
        let bytes = super::super::encode(&call, version).unwrap();
        let heard = super::super::decode::<Call>(&bytes, version).unwrap();
        assert_eq!(heard, make(0, 0o2750), "{version}");
    }
    assert_eq!(decode::<Call>(&encode(&call).unwrap()).unwrap(), call);
    let odd = make(0o7777, 0o777);
    let heard = decode::<Call>(&encode(&odd).unwrap()).unwrap();
    assert_eq!(heard.caller.umask, 0o777, "a umask has no other bits");
}

#[test]
fn acls_are_not_asked_of_a_service_that_has_none() {
    use crate::xattr::XattrName;
    let ino = InodeId(7);
    for kind in [AclKind::Access, AclKind::Default] {
        let request = Request::RemoveXattr {
            ino,
            name: XattrName::of_acl(kind),
        };
        assert_eq!(request.needs(), WireVersion::SIXTH);
    }
    let name = XattrName::capability();
    assert_eq!(Request::RemoveXattr { ino, name }.needs(), WireVersion::FIRST);
}

#[test]
fn earlier_handlers_hear_a_mode_that_gives_no_more_than_the_acl() {
    let said = StampedAnswer {
        stamp: Stamp(1),
        changed: vec![with(&acl(1))],
        answer: Ok(Reply::Attr(with(&acl(2)))),
    };
    let bytes = super::super::encode(&said, WireVersion::FIFTH).unwrap();
    let heard = super::super::decode::<StampedAnswer>(&bytes, WireVersion::FIFTH).unwrap();
    // rw for the owner; the group has no more than those who are named, which is r.
    let mode = attr().mode & !0o777 | 0o640;
    let plain = Attr { mode, ..attr() };
    assert_eq!(heard.changed, std::slice::from_ref(&plain));
    assert_eq!(heard.answer, Ok(Reply::Attr(plain)));
    assert_eq!(decode::<StampedAnswer>(&encode(&said).unwrap()).unwrap(), said);
}

/// Whatever an answer has, it is as long as a message at most, and what it does not have is asked for.
#[test]
fn acls_that_do_not_fit_are_to_be_asked_for() {
    let long = acl(507);
    let entry = |number: u64| DirEntry {
        name: format!("{number:0200}").into(),
        cookie: number,
        attr: with(&long),
    };
    let page = |names| Reply::Directory {
        entries: (0..names).map(entry).collect(),
        end: true,
        next: 9,
    };
    for (names, whole) in [(2, true), (13, true), (14, false), (150, false)] {
        let said = StampedAnswer {
            stamp: Stamp(1),
            changed: Vec::new(),
            answer: Ok(page(names)),
        };
        let bytes = encode(&said).unwrap();
        assert!(bytes.len() <= MAX_MESSAGE);
        let heard = decode::<StampedAnswer>(&bytes).unwrap();
        let acls = heard.answer.as_ref().unwrap().attributes();
        let whole_here = acls.iter().all(|attr| attr.acls == with(&long).acls);
        assert_eq!(whole_here, whole, "{names} names");
        assert!(
            acls.iter()
                .all(|attr| attr.acls == Acls::Unasked || attr.acls == with(&long).acls)
        );
    }
    let most = StampedAnswer {
        stamp: Stamp(1),
        changed: vec![with(&long); MAX_CHANGED],
        answer: Ok(Reply::Attr(with(&long))),
    };
    assert_eq!(decode::<StampedAnswer>(&encode(&most).unwrap()).unwrap(), most);
}

#[test]
fn acls_of_no_attributes_are_no_message() {
    let said = StampedAnswer::from(Err(MetaError::Exists));
    let bytes = encode(&said).unwrap();
    let plain = bytes.strip_suffix(&[0]).unwrap();
    let behind = |place: u32| [plain, &postcard::to_allocvec(&vec![(place, None::<u8>)]).unwrap()].concat();
    assert!(decode::<StampedAnswer>(&behind(0)).is_err());
    let one = StampedAnswer {
        changed: vec![attr()],
        ..said
    };
    let bytes = encode(&one).unwrap();
    let plain = bytes.strip_suffix(&[0]).unwrap();
    let behind = |place: u32| [plain, &postcard::to_allocvec(&vec![(place, None::<u8>)]).unwrap()].concat();
    assert_eq!(
        decode::<StampedAnswer>(&behind(0)).unwrap().changed[0].acls,
        Acls::Unasked
    );
    assert!(decode::<StampedAnswer>(&behind(1)).is_err());
}
