//! Extended attributes: their limits, who may touch them, and that all of it is in the store.

use super::world::{ROOT, World, attr_of, user};
use crate::attr::{Attr, FileKind};
use crate::error::MetaError;
use crate::id::{InodeId, RequestId, SessionId};
use crate::wire::{Answer, MAX_STAGED, MAX_XATTR_PART, NewInode, Reply, Request, XattrMode};
use crate::xattr::{MAX_XATTR_BYTES, MAX_XATTR_VALUE, MAX_XATTRS, XattrName};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// All values of a namespace.
pub(super) fn values(w: &World) -> BTreeMap<(InodeId, XattrName), Vec<u8>> {
    let of_inode = |(ino, xattrs): (InodeId, &crate::tree::Xattrs)| {
        let value = |name: &XattrName| ((ino, name.clone()), xattrs.get(name).unwrap().0.to_vec());
        xattrs.names().map(value).collect::<Vec<_>>()
    };
    w.space.tree.all_xattrs().flat_map(of_inode).collect()
}

fn page(w: &mut World, s: SessionId, ino: InodeId, name: &str, from: u32) -> Answer {
    let name = XattrName::new(name).unwrap();
    let limit = u32::MAX;
    w.ask(
        s,
        Request::GetXattr {
            ino,
            name,
            from,
            limit,
        },
    )
}

/// The whole value, page by page.
pub(super) fn get(w: &mut World, s: SessionId, ino: InodeId, name: &str) -> Result<Vec<u8>, MetaError> {
    let mut value = Vec::new();
    loop {
        let from = u32::try_from(value.len()).unwrap();
        let Reply::Xattr { total, page, .. } = page(w, s, ino, name, from)? else {
            panic!()
        };
        value.extend(page);
        if value.len() == total as usize {
            return Ok(value);
        }
    }
}

fn list(w: &mut World, s: SessionId, ino: InodeId) -> Vec<String> {
    let Ok(Reply::XattrNames(names)) = w.ask(s, Request::ListXattr { ino }) else {
        panic!()
    };
    let names = String::from_utf8(names).unwrap();
    names.split_terminator('\0').map(String::from).collect()
}

pub(super) fn remove(w: &mut World, s: SessionId, ino: InodeId, name: &str) -> Result<Attr, MetaError> {
    let name = XattrName::new(name).unwrap();
    attr_of(w.ask(s, Request::RemoveXattr { ino, name }))
}

#[test]
fn what_was_set_is_read_and_only_the_change_time_tells() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    let before = w.write(s, ino, 100);
    let after = w.set_xattr(s, ino, "user.a", b"one").unwrap();
    assert!(after.ctime > before.ctime);
    let ctime = before.ctime;
    assert_eq!(
        Attr {
            ctime,
            ..after.clone()
        },
        before
    );
    assert_eq!(get(&mut w, s, ino, "user.a"), Ok(b"one".to_vec()));
    assert_eq!(get(&mut w, s, ino, "user.b"), Err(MetaError::NoXattr));
    w.set_xattr(s, ino, "user.a", b"").unwrap();
    assert_eq!(get(&mut w, s, ino, "user.a"), Ok(vec![]));
    let removed = remove(&mut w, s, ino, "user.a").unwrap();
    assert!(removed.ctime > after.ctime);
    assert_eq!(remove(&mut w, s, ino, "user.a"), Err(MetaError::NoXattr));
    assert_eq!(w.stat(s, ino), Ok(removed), "a refusal changes nothing");
    assert_eq!(get(&mut w, s, InodeId(999), "user.a"), Err(MetaError::Stale));
    assert_eq!(w.set_xattr(s, InodeId(999), "user.a", b""), Err(MetaError::Stale));
}

#[test]
fn create_and_replace_are_what_they_say() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.dir(s, ROOT, "d");
    let (create, replace) = (
        XattrMode {
            create: true,
            ..XattrMode::default()
        },
        XattrMode {
            replace: true,
            ..XattrMode::default()
        },
    );
    let both = XattrMode {
        create: true,
        replace: true,
    };
    for (mode, value, wanted) in [
        (replace, b"0", Err(MetaError::NoXattr)),
        (both, b"0", Err(MetaError::NoXattr)),
        (create, b"1", Ok(())),
        (create, b"2", Err(MetaError::Exists)),
        (both, b"2", Err(MetaError::Exists)),
        (replace, b"3", Ok(())),
    ] {
        let set = w.set_xattr_if(s, ino, "user.a", value, mode).map(|_| ());
        assert_eq!(set, wanted, "{mode:?} {value:?}");
    }
    assert_eq!(get(&mut w, s, ino, "user.a"), Ok(b"3".to_vec()));
}

#[test]
fn an_inode_has_so_many_and_so_much() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    let long = vec![3; MAX_XATTR_VALUE];
    w.set_xattr(s, ino, "user.a", &long).unwrap();
    assert_eq!(get(&mut w, s, ino, "user.a"), Ok(long.clone()));
    let longer = vec![3; MAX_XATTR_PART];
    w.ask(
        s,
        Request::StageXattr {
            token: 1,
            part: longer.clone(),
        },
    )
    .unwrap();
    let set = Request::SetXattr {
        ino,
        name: XattrName::new("user.a").unwrap(),
        staged: Some(1),
        value: vec![3; MAX_XATTR_PART + 1],
        mode: XattrMode::default(),
    };
    assert_eq!(w.ask(s, set), Err(MetaError::XattrTooBig));
    w.set_xattr(s, ino, "user.b", &vec![4; MAX_XATTR_BYTES - MAX_XATTR_VALUE])
        .unwrap();
    assert_eq!(w.set_xattr(s, ino, "user.c", b"x"), Err(MetaError::XattrsFull));
    w.set_xattr(s, ino, "user.c", b"").unwrap();
    w.set_xattr(s, ino, "user.a", &long[1..]).unwrap();
    w.set_xattr(s, ino, "user.c", b"x").unwrap();
    for number in 3..MAX_XATTRS {
        w.set_xattr(s, ino, &format!("trusted.{number:0245}"), b"")
            .unwrap();
    }
    assert_eq!(w.set_xattr(s, ino, "user.d", b""), Err(MetaError::XattrsFull));
    w.set_xattr(s, ino, "user.c", b"y").unwrap();
    let names = list(&mut w, s, ino);
    assert_eq!(names.len(), MAX_XATTRS);
    // All of them go with the file, and from the store.
    w.release(s, ino);
    w.unlink(s, "f");
    while w.tick() {}
    assert!(!w.store_has(b"A"));
}

#[test]
fn a_directory_takes_its_attributes_along() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.dir(s, ROOT, "d");
    w.set_xattr(s, ino, "user.a", b"one").unwrap();
    assert!(w.store_has(b"A"));
    w.remove_dir(s, ROOT, "d").unwrap();
    assert!(!w.store_has(b"A"));
    assert_eq!(get(&mut w, s, ino, "user.a"), Err(MetaError::Stale));
}

#[test]
fn first_parts_are_few_and_are_used_once() {
    let mut w = World::new(8);
    let s = w.session();
    let other = w.session();
    let ino = w.file(s, "f");
    let stage = |token, byte| Request::StageXattr {
        token,
        part: vec![byte; 10],
    };
    let set = |token| Request::SetXattr {
        ino,
        name: XattrName::new("user.a").unwrap(),
        staged: Some(token),
        value: vec![0; 2],
        mode: XattrMode::default(),
    };
    let too_long = vec![0; MAX_XATTR_PART + 1];
    assert_eq!(
        w.ask(
            s,
            Request::StageXattr {
                token: 1,
                part: too_long
            }
        ),
        Err(MetaError::Invalid)
    );
    w.ask(s, stage(1, 1)).unwrap();
    assert_eq!(
        w.ask(other, set(1)),
        Err(MetaError::NotStaged),
        "it is that session's"
    );
    w.ask(s, stage(1, 9)).unwrap();
    w.ask(s, set(1)).unwrap();
    assert_eq!(
        get(&mut w, s, ino, "user.a"),
        Ok([[9; 10].as_slice(), &[0; 2]].concat())
    );
    assert_eq!(w.ask(s, set(1)), Err(MetaError::NotStaged));
    for token in 0..=MAX_STAGED as u64 {
        w.ask(s, stage(token, 1)).unwrap();
    }
    assert_eq!(w.ask(s, set(0)), Err(MetaError::NotStaged), "the oldest one went");
    w.ask(s, set(1)).unwrap();
}

#[test]
fn a_set_that_is_asked_anew_is_not_done_anew() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    let create = XattrMode {
        create: true,
        ..XattrMode::default()
    };
    w.ask(
        s,
        Request::StageXattr {
            token: 1,
            part: vec![1],
        },
    )
    .unwrap();
    let set = Request::SetXattr {
        ino,
        name: XattrName::new("user.a").unwrap(),
        staged: Some(1),
        value: vec![2],
        mode: create,
    };
    let mut call = w.next_call(s, set);
    call.id = RequestId(4711);
    let first = w.serve(call.clone()).answer.unwrap();
    assert!(first.is_ok());
    assert_eq!(w.serve(call).answer.unwrap(), first);
    let removal = Request::RemoveXattr {
        ino,
        name: XattrName::new("user.a").unwrap(),
    };
    let mut call = w.next_call(s, removal);
    call.id = RequestId(4712);
    let first = w.serve(call.clone()).answer.unwrap();
    assert_eq!(w.serve(call).answer.unwrap(), first);
    assert!(first.is_ok());
}

#[test]
fn pages_of_different_values_do_not_fit_together() {
    let mut w = World::new(8);
    let s = w.session();
    let ino = w.file(s, "f");
    let mut editions = Vec::new();
    for byte in 0..3 {
        w.set_xattr(s, ino, "user.a", &[byte; 40_000]).unwrap();
        for from in [0, 39_999, 40_000, u32::MAX] {
            let Ok(Reply::Xattr { total, edition, page }) = page(&mut w, s, ino, "user.a", from) else {
                panic!()
            };
            assert_eq!(total, 40_000);
            let left = 40_000_usize.saturating_sub(from as usize);
            assert_eq!(page.len(), left.min(MAX_XATTR_PART));
            editions.push(edition);
        }
    }
    w.restart();
    let s = w.session();
    let Ok(Reply::Xattr { edition, .. }) = page(&mut w, s, ino, "user.a", 0) else {
        panic!()
    };
    editions.push(edition);
    editions.dedup();
    assert_eq!(
        editions.len(),
        4,
        "one for each value, and one for each life of the service"
    );
}

#[test]
fn the_service_decides_who_may() {
    let mut w = World::new(8);
    let s = w.session();
    w.who = user(7);
    let ino = w.file(s, "f");
    w.set_xattr(s, ino, "user.a", b"one").unwrap();
    assert_eq!(w.set_xattr(s, ino, "trusted.a", b""), Err(MetaError::NotOwner));
    assert_eq!(w.set_xattr(s, ino, "security.a", b""), Err(MetaError::NotOwner));
    w.who = user(0);
    w.set_xattr(s, ino, "trusted.a", b"").unwrap();
    w.set_xattr(s, ino, "security.a", b"label").unwrap();
    assert_eq!(list(&mut w, s, ino), ["security.a", "trusted.a", "user.a"]);
    w.who = user(8);
    assert_eq!(list(&mut w, s, ino), ["security.a", "user.a"]);
    assert_eq!(get(&mut w, s, ino, "trusted.a"), Err(MetaError::NoXattr));
    assert_eq!(get(&mut w, s, ino, "security.a"), Ok(b"label".to_vec()));
    assert_eq!(get(&mut w, s, ino, "user.a"), Ok(b"one".to_vec()), "0755");
    assert_eq!(w.set_xattr(s, ino, "user.a", b""), Err(MetaError::AccessDenied));
    assert_eq!(remove(&mut w, s, ino, "user.a"), Err(MetaError::AccessDenied));
    assert_eq!(remove(&mut w, s, ino, "security.a"), Err(MetaError::NotOwner));
    w.who = user(7);
    let kind = FileKind::Fifo;
    let fifo = w.make(s, ROOT, "fifo", NewInode::Special { kind, rdev: 0 }).ino;
    assert_eq!(w.set_xattr(s, fifo, "user.a", b""), Err(MetaError::NotOwner));
    assert_eq!(get(&mut w, s, fifo, "user.a"), Err(MetaError::NoXattr));
}

#[test]
fn they_come_back_after_a_restart() {
    let mut w = World::new(8);
    let s = w.session();
    let dir = w.dir(s, ROOT, "d");
    let file = w.file(s, "f");
    w.set_xattr(s, dir, "user.a", b"one").unwrap();
    w.set_xattr(s, file, "user.b", &[5; MAX_XATTR_VALUE]).unwrap();
    w.set_xattr(s, file, "security.c", b"two").unwrap();
    w.set_xattr(s, file, "user.gone", b"").unwrap();
    remove(&mut w, s, file, "user.gone").unwrap();
    let before = values(&w);
    assert_eq!(before.len(), 3);
    w.restart();
    assert_eq!(values(&w), before);
}

/// One of few files, one of few names, and what is done.
type Act = (bool, u8, u8, usize, [bool; 2]);

/// A step by step comparison with a map.
fn agrees(acts: Vec<Act>) {
    let mut w = World::new(8);
    let s = w.session();
    let files = [w.file(s, "f"), w.dir(s, ROOT, "d")];
    let mut model: BTreeMap<(InodeId, XattrName), Vec<u8>> = BTreeMap::new();
    for (which, number, what, len, [create, replace]) in acts {
        let ino = files[usize::from(which)];
        let text = format!(
            "{}.{number}",
            ["user", "trusted", "security"][usize::from(number % 3)]
        );
        let key = (ino, XattrName::new(text.clone()).unwrap());
        let there = model.contains_key(&key);
        if what == 0 {
            w.restart();
            return agrees_after(w, &model);
        }
        if what < 4 {
            let removed = remove(&mut w, s, ino, &text).map(|_| ());
            assert_eq!(removed, model.remove(&key).map(|_| ()).ok_or(MetaError::NoXattr));
            continue;
        }
        let value = vec![what; len];
        let others: usize = model
            .iter()
            .filter(|((of, name), _)| *of == ino && *name != key.1)
            .map(|(_, value)| value.len())
            .sum();
        let wanted = match () {
            () if create && there => Err(MetaError::Exists),
            () if replace && !there => Err(MetaError::NoXattr),
            () if others + len > MAX_XATTR_BYTES => Err(MetaError::XattrsFull),
            () => Ok(()),
        };
        let set = w.set_xattr_if(s, ino, &text, &value, XattrMode { create, replace });
        assert_eq!(set.map(|_| ()), wanted);
        if wanted.is_ok() {
            model.insert(key, value);
        }
        assert_eq!(values(&w), model);
    }
    agrees_after(w, &model);
}

fn agrees_after(w: World, model: &BTreeMap<(InodeId, XattrName), Vec<u8>>) {
    assert_eq!(&values(&w), model);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn they_are_a_map_for_each_inode(
        acts in prop::collection::vec((any::<bool>(), 0u8..7, 0u8..20, 0usize..60_000, any::<[bool; 2]>()), 1..40),
    ) {
        agrees(acts);
    }
}
