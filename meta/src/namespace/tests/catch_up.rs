//! What changed in a directory after a stamp: each change of a name is among it, or the answer says that it may not be.

use super::random::{request_of, steps_of};
use super::world::{ROOT, World, attr_of, client_owner, name, user};
use crate::attr::{Attr, SetAttr};
use crate::error::MetaError;
use crate::id::{InodeId, SessionId, Stamp};
use crate::name::Name;
use crate::namespace::name_log::MOST_NAMES;
use crate::wire::{Answer, NewInode, Notice, RenameMode, Reply, Request};
use proptest::prelude::*;
use std::collections::BTreeMap;

const FILE: NewInode = NewInode::File { open: false };

/// What each name leads to.
type Names = BTreeMap<Name, InodeId>;

/// A pool with two sessions that take leases.
fn shared() -> (World, SessionId, SessionId) {
    let mut w = World::new(64);
    let (a, b) = (w.session(), w.session());
    for session in [a, b] {
        w.ask(session, Request::Leases { take: true }).unwrap();
    }
    (w, a, b)
}

fn catch_up(w: &mut World, s: SessionId, ino: InodeId, since: Stamp) -> Answer {
    w.ask(s, Request::CatchUp { ino, since })
}

/// It believes nothing that others would have to wait for.
fn forgets(w: &mut World, s: SessionId) {
    w.ask(s, Request::Leases { take: true }).unwrap();
}

/// Every name that changed; `None`: some may be missing.
fn changed(w: &mut World, s: SessionId, ino: InodeId, since: Stamp) -> Option<Vec<(Name, Option<Attr>)>> {
    let answer = catch_up(w, s, ino, since);
    forgets(w, s);
    match answer {
        Ok(Reply::CaughtUp {
            attr,
            complete,
            names,
        }) => {
            assert_eq!(attr, w.space.tree.get(ino).unwrap().attr);
            assert!(complete || names.is_empty());
            complete.then(|| {
                names
                    .into_iter()
                    .map(|changed| (changed.name, changed.attr))
                    .collect()
            })
        }
        other => panic!("{other:?}"),
    }
}

fn names_of(w: &World, ino: InodeId) -> Option<Names> {
    let (_, directory) = w.space.tree.directory(ino).ok()?;
    let names = directory.after(2).map(|(_, name, ino)| (name.clone(), ino));
    Some(names.collect())
}

fn rename(parents: [InodeId; 2], names: [&str; 2], mode: RenameMode) -> Request {
    Request::Rename {
        parent: parents[0],
        name: name(names[0]),
        new_parent: parents[1],
        new_name: name(names[1]),
        mode,
    }
}

#[expect(clippy::too_many_lines, reason = "a table: one entry for each kind of change")]
#[test]
fn every_kind_of_change_of_a_name_is_in_it() {
    let (mut w, a, b) = shared();
    let (d, e) = (w.dir(a, ROOT, "d"), w.dir(a, ROOT, "e"));
    let file = w.make(a, d, "f", FILE).ino;
    for text in ["g", "h"] {
        w.make(a, d, text, FILE);
    }
    w.dir(a, d, "sub");
    let (replace, whiteout) = (RenameMode::Replace, RenameMode::Whiteout);
    let (parent, both) = (d, [d, d]);
    let changes: Vec<(Request, &[&str], &[&str])> = vec![
        (
            Request::Make {
                parent,
                name: name("new"),
                what: FILE,
                mode: 0,
            },
            &["new"],
            &[],
        ),
        (
            Request::Link {
                ino: file,
                parent,
                name: name("link"),
            },
            &["link"],
            &[],
        ),
        (
            Request::Unlink {
                parent,
                name: name("link"),
            },
            &["link"],
            &[],
        ),
        (
            Request::RemoveDir {
                parent,
                name: name("sub"),
            },
            &["sub"],
            &[],
        ),
        (rename(both, ["new", "moved"], replace), &["new", "moved"], &[]),
        (rename(both, ["moved", "f"], replace), &["moved", "f"], &[]),
        (rename(both, ["f", "g"], RenameMode::Exchange), &["f", "g"], &[]),
        (rename(both, ["f", "left"], whiteout), &["f", "left"], &[]),
        (rename([d, e], ["h", "h"], replace), &["h"], &["h"]),
        (rename([e, d], ["h", "g"], RenameMode::Exchange), &["g"], &["h"]),
    ];
    for (request, in_d, in_e) in changes {
        let before = w.space.stamp;
        w.ask(a, request.clone())
            .unwrap_or_else(|error| panic!("{request:?}: {error}"));
        for (ino, wanted) in [(d, in_d), (e, in_e)] {
            let wanted: BTreeMap<Name, Option<InodeId>> = wanted
                .iter()
                .map(|text| (name(text), names_of(&w, ino).unwrap().get(&name(text)).copied()))
                .collect();
            let found = changed(&mut w, b, ino, before).expect("the log reaches back");
            let found: BTreeMap<_, _> = found
                .into_iter()
                .map(|(name, attr)| (name, attr.map(|attr| attr.ino)))
                .collect();
            assert_eq!(found, wanted, "{request:?}");
        }
    }
}

#[test]
fn what_the_log_does_not_have_any_more_is_not_taken_for_unchanged() {
    let (mut w, a, b) = shared();
    let d = w.dir(a, ROOT, "d");
    let first = w.space.stamp;
    for at in 0..MOST_NAMES {
        w.make(a, d, &at.to_string(), FILE);
    }
    assert_eq!(
        changed(&mut w, b, d, first).map(|names| names.len()),
        Some(MOST_NAMES)
    );
    w.make(a, d, "more", FILE);
    assert_eq!(changed(&mut w, b, d, first), None);
    let last = w.space.stamp;
    assert_eq!(changed(&mut w, b, d, last), Some(vec![]));
    let to_come = Stamp(w.space.stamp.0 + 2);
    assert_eq!(changed(&mut w, b, d, to_come), None, "of another life");
}

/// What one session alone changes is not written down.
#[test]
fn what_changed_while_one_session_took_leases_is_not_taken_for_unchanged() {
    let mut w = World::new(4);
    let (a, b) = (w.session(), w.session());
    w.ask(a, Request::Leases { take: true }).unwrap();
    let d = w.dir(a, ROOT, "d");
    let before = w.space.stamp;
    assert_eq!(changed(&mut w, a, d, before), Some(vec![]));
    w.make(b, d, "x", FILE);
    assert_eq!(changed(&mut w, a, d, before), None);
    w.ask(b, Request::Leases { take: true }).unwrap();
    let before = w.space.stamp;
    w.make(b, d, "y", FILE);
    assert_eq!(changed(&mut w, a, d, before).map(|names| names.len()), Some(1));
    w.ask(b, Request::Leases { take: false }).unwrap();
    w.make(a, d, "z", FILE);
    assert_eq!(changed(&mut w, a, d, before), None);
}

#[test]
fn who_may_not_search_a_directory_hears_its_attributes_only() {
    let (mut w, a, b) = shared();
    let d = w.dir(a, ROOT, "d");
    w.make(a, d, "x", FILE);
    let change = SetAttr {
        mode: Some(0o744),
        ..SetAttr::default()
    };
    let by_handle = false;
    w.ask(
        a,
        Request::SetAttr {
            ino: d,
            change,
            by_handle,
        },
    )
    .unwrap();
    w.who = user(1000);
    let attr = w.space.tree.get(d).unwrap().attr.clone();
    assert_eq!(catch_up(&mut w, b, d, Stamp(1)), Ok(Reply::Attr(attr)));
    let file = w.space.tree.lookup(&user(0), d, &name("x")).unwrap();
    assert_eq!(catch_up(&mut w, b, file, Stamp(1)), Err(MetaError::NotDirectory));
    assert_eq!(catch_up(&mut w, b, InodeId(999), Stamp(1)), Err(MetaError::Stale));
}

/// A lease of it would be recalled at once, by the first bytes or the close.
#[test]
fn what_another_session_is_about_to_write_is_named_and_not_leased() {
    let (mut w, a, b) = shared();
    let since = w.space.stamp;
    let room = NewInode::OpenFile { room: 4096 };
    let (open, made) = (
        w.make(a, ROOT, "open", room).ino,
        w.make(a, ROOT, "made", FILE).ino,
    );
    let before = w.space.lease_count();
    let since = Request::CatchUp { ino: ROOT, since };
    let call = w.next_call(b, since.clone());
    let out = w.serve(call);
    let forgotten: Vec<_> = out.notices.iter().collect();
    let (recall, ino, stamp) = (None, open, out.stamp);
    assert_eq!(forgotten, [&(b, Notice::Forget { recall, ino, stamp })]);
    assert_eq!(
        w.space.lease_count(),
        before + 2,
        "of the directory, and of what was {made:?}"
    );
    w.release(a, open);
    let call = w.next_call(b, since);
    assert!(w.serve(call).notices.is_empty());
    assert_eq!(w.space.lease_count(), before + 3);
}

/// The log is gone with the service, and so are the sessions that could ask by a stamp of before.
#[test]
fn nobody_asks_by_a_stamp_of_an_earlier_life() {
    let (mut w, a, _) = shared();
    let d = w.dir(a, ROOT, "d");
    let since = w.space.stamp;
    let earlier = w.next_call(a, Request::CatchUp { ino: d, since });
    w.make(a, d, "x", FILE);
    w.restart();
    assert_eq!(w.serve(earlier).answer, Some(Err(MetaError::SessionEnded)));
    let anew = w.begin(client_owner(1)).unwrap();
    assert!(w.space.stamp < since);
    assert_eq!(changed(&mut w, anew, d, since), None);
    assert!(attr_of(w.ask(anew, Request::GetAttr { ino: d })).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whoever knew the names of a directory at any time knows them by what changed since then.
    #[test]
    fn what_was_known_and_what_changed_is_what_there_is(steps in steps_of(37, 150), every in 1..20_usize) {
        let (mut w, a, b) = shared();
        let mut known: Vec<(Stamp, InodeId, Names)> = Vec::new();
        let mut followed = 0;
        for (at, (kind, who, numbers)) in steps.into_iter().enumerate() {
            let inodes: Vec<InodeId> = w.space.tree.iter().map(|inode| inode.attr.ino).collect();
            if kind < 29 {
                let call = w.next_call([a, b][who % 2], request_of(kind, &inodes, numbers));
                w.request += 1;
                forgets(&mut w, [b, a][who % 2]);
                w.serve(call);
            }
            if at % every == 0 {
                known.extend(inodes.iter().filter_map(|ino| Some((w.space.stamp, *ino, names_of(&w, *ino)?))));
            }
        }
        for (since, ino, mut names) in known {
            let Some(now) = names_of(&w, ino) else { continue };
            let Some(changes) = changed(&mut w, b, ino, since) else { continue };
            for (name, attr) in changes {
                match attr {
                    Some(attr) => names.insert(name, attr.ino),
                    None => names.remove(&name),
                };
            }
            prop_assert_eq!(names, now);
            followed += 1;
        }
        prop_assert!(followed > 0, "the root was there all the time");
    }
}
