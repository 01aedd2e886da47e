//! Random operations of several sessions and users, with restarts, fences, late acknowledgements and slow cleaning.
//! The world checks every invariant after each step.

use super::world::{LEASE, READ, ROOT, World, client_owner, user};
use crate::acl::tests::bytes_of;
use crate::attr::SetAttr;
use crate::extent::GRANULE;
use crate::flags::InodeFlags;
use crate::id::{InodeId, SessionId};
use crate::name::Name;
use crate::wire::{MAX_XATTR_PART, NewInode, OpenAccess, RenameMode, Reply, Request, XattrMode};
use crate::xattr::XattrName;
use proptest::prelude::*;

/// A step: what, by whom, and three numbers to choose with.
pub(super) type Step = (u8, usize, [u64; 3]);

fn choose(list: &[InodeId], pick: u64) -> InodeId {
    let pick = usize::try_from(pick).unwrap();
    list[pick % list.len()]
}

fn text(pick: u64) -> Name {
    Name::new(format!("n{}", pick % 5)).unwrap()
}

#[expect(clippy::too_many_lines, reason = "a table: one line for each kind")]
fn tree_request(kind: u8, inodes: &[InodeId], [a, b, c]: [u64; 3]) -> Request {
    let (ino, other) = (choose(inodes, a), choose(inodes, b));
    let name = text(c);
    let mode = 0o777;
    match kind {
        0 | 1 => Request::Make {
            parent: ino,
            name,
            what: NewInode::File { open: b % 2 == 0 },
            mode,
        },
        2 => Request::Make {
            parent: ino,
            name,
            what: NewInode::Directory,
            mode,
        },
        3 => Request::Make {
            parent: ino,
            name,
            what: NewInode::Symlink(b"t".to_vec()),
            mode,
        },
        4 => Request::Link {
            ino,
            parent: other,
            name,
        },
        5 | 6 => Request::Unlink { parent: ino, name },
        7 => Request::RemoveDir { parent: ino, name },
        8 => Request::ReadDir {
            ino,
            after: b,
            limit: 9,
        },
        9 => Request::Parent { ino },
        _ => {
            let mode = [
                RenameMode::Replace,
                RenameMode::NoReplace,
                RenameMode::Exchange,
                RenameMode::Whiteout,
                RenameMode::WhiteoutNoReplace,
            ][usize::from(kind % 5)];
            Request::Rename {
                parent: ino,
                name,
                new_parent: other,
                new_name: text(a / 7),
                mode,
            }
        }
    }
}

#[expect(clippy::too_many_lines, reason = "a table: one line for each kind")]
fn file_request(kind: u8, inodes: &[InodeId], [a, b, c]: [u64; 3]) -> Request {
    let ino = choose(inodes, a);
    let (start, len) = (b % (40 * GRANULE), 1 + c % (12 * GRANULE));
    let end = start + len;
    match kind {
        13..=15 => {
            let (write, truncate) = (c % 3 > 0, b % 5 == 0);
            let access = OpenAccess {
                write,
                truncate,
                ..READ
            };
            Request::Open { ino, access }
        }
        16 | 17 => Request::Release { ino, opens: 1 },
        18..=21 => Request::Layout {
            ino,
            start,
            end,
            allocate: b % 4 > 0,
        },
        22 => Request::Append {
            ino,
            len: u32::try_from(len).unwrap(),
        },
        23 | 24 => {
            let (size, truncate_seq) = (end, b % 3);
            Request::Commit {
                ino,
                size,
                truncate_seq,
                mtime: super::world::at(5),
                clear_set_id: true,
                sync: false,
            }
        }
        37 | 38 => Request::Allocate {
            ino,
            start,
            end,
            keep_size: b % 2 == 0,
            zero: c % 3 == 0,
        },
        39 | 40 => Request::Punch { ino, start, end },
        41 | 42 => Request::Copy {
            from: ino,
            from_offset: start,
            to: choose(inodes, c / 3),
            to_offset: c % (40 * GRANULE),
            len,
        },
        43 => Request::Seek {
            ino,
            offset: start,
            hole: b % 2 == 0,
        },
        25 => Request::Reopen {
            opens: vec![(ino, 1), (choose(inodes, c), 2)],
        },
        _ => {
            let change = SetAttr {
                size: Some(end),
                mode: (b % 3 == 0).then_some(0o777),
                ..SetAttr::default()
            };
            Request::SetAttr {
                ino,
                change,
                by_handle: c % 2 == 0,
            }
        }
    }
}

fn xattr_name(pick: u64) -> XattrName {
    let names = [
        "user.a",
        "trusted.c",
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
    ];
    XattrName::new(names[usize::try_from(pick % 5).unwrap()]).unwrap()
}

/// Reads an extended attribute, the list of them, or the target of a link.
pub(super) fn read_request(inodes: &[InodeId], [a, b, c]: [u64; 3]) -> Request {
    let ino = choose(inodes, a);
    match c % 4 {
        0 => Request::ListXattr { ino },
        1 => Request::ReadLink { ino },
        _ => Request::GetXattr {
            ino,
            name: xattr_name(b),
            from: 0,
            limit: u32::MAX,
        },
    }
}

fn some_acl(pick: u64) -> Vec<u8> {
    let bits = |shift: u32| u16::try_from(pick >> shift & 7).unwrap();
    let none = u32::MAX;
    let user = (!pick.is_multiple_of(3)).then_some((2, bits(3), 1000));
    let mask = (!pick.is_multiple_of(3)).then_some((16, bits(6), none));
    let entries = [(1, bits(9), none)].into_iter().chain(user);
    let entries = entries
        .chain([(4, bits(12), none)])
        .chain(mask)
        .chain([(32, bits(15), none)]);
    bytes_of(&entries.collect::<Vec<_>>())
}

fn xattr_request(kind: u8, inodes: &[InodeId], [a, b, c]: [u64; 3]) -> Request {
    let (ino, name) = (choose(inodes, a), xattr_name(b));
    let value = match name.acl() {
        Some(_) => some_acl(a),
        None => vec![2; usize::try_from(a % 40_000).unwrap()],
    };
    match (kind, c % 6) {
        (44, 0) => Request::StageXattr {
            token: b % 2,
            part: vec![1; MAX_XATTR_PART],
        },
        (44, 1) => Request::RemoveXattr { ino, name },
        _ => Request::SetXattr {
            ino,
            name,
            staged: (c % 6 == 2).then_some(b % 2),
            value,
            mode: XattrMode {
                create: c % 6 == 3,
                replace: c % 6 == 4,
            },
        },
    }
}

fn flags_request(inodes: &[InodeId], [a, b, _]: [u64; 3]) -> Request {
    let ino = choose(inodes, a);
    let flags = [
        InodeFlags::NONE,
        InodeFlags::NONE,
        InodeFlags::NO_DUMP,
        InodeFlags::APPEND,
        InodeFlags::IMMUTABLE,
    ][usize::try_from(b % 5).unwrap()];
    Request::SetFlags { ino, flags }
}

/// The request of a step that makes one.
pub(super) fn request_of(kind: u8, inodes: &[InodeId], numbers: [u64; 3]) -> Request {
    match kind {
        0..=12 => tree_request(kind, inodes, numbers),
        13..=28 | 37..=43 => file_request(kind, inodes, numbers),
        44..=47 => xattr_request(kind, inodes, numbers),
        _ => flags_request(inodes, numbers),
    }
}

/// What nobody changes of a protected inode but by its flags: attributes, and links and entries of what is immutable. One without a name ends
/// with its last user, whatever its flags.
fn protected(w: &World) -> Vec<(InodeId, String)> {
    let inodes = w.space.tree.iter();
    let protected =
        inodes.filter(|inode| inode.attr.nlink > 0 && inode.attr.flags.any(InodeFlags::PROTECTING));
    let shown = protected.map(|inode| {
        let attr = &inode.attr;
        let entries = w.space.tree.directory(attr.ino).map(|(_, directory)| {
            let names = directory.entries().map(|(name, _, ino)| (name.clone(), ino));
            names.collect::<Vec<_>>()
        });
        let fixed = attr.flags.any(InodeFlags::IMMUTABLE);
        let shown = (attr.mode, attr.uid, attr.gid, attr.flags);
        let shown = (shown, fixed.then_some((attr.nlink, entries.ok())));
        (attr.ino, format!("{shown:?}"))
    });
    shown.collect()
}

fn run(steps: Vec<Step>) {
    let (mut w, sessions) = play(steps);
    settle(&mut w, &sessions);
}

/// Steps as they may come.
pub(super) fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    steps_of(49, most)
}

/// Steps of so many kinds.
pub(super) fn steps_of(kinds: u8, most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((0..kinds, 0usize..3, any::<[u64; 3]>()), 1..most)
}

/// Does the steps, in the middle of which everything may still be open.
pub(super) fn play(steps: Vec<Step>) -> (World, [SessionId; 3]) {
    let mut w = World::new(64);
    let client_owners = [100, 101, 102].map(client_owner);
    let begin = |w: &mut World| client_owners.map(|client_owner| w.begin(client_owner).unwrap());
    let mut sessions = begin(&mut w);
    for (kind, who, numbers) in steps {
        let inodes: Vec<InodeId> = w
            .space
            .tree
            .iter()
            .map(|inode| inode.attr.ino)
            .chain([InodeId(u64::MAX)])
            .collect();
        let session = sessions[who % 3];
        w.who = user([0, 0, 7][who % 3]);
        let before = protected(&w);
        match kind {
            0..=28 | 37..=48 => drop(w.ask(session, request_of(kind, &inodes, numbers))),
            29..=31 => w.acknowledge(),
            32 | 33 => w.clean(),
            34 => drop(w.tick()),
            35 => {
                w.fence(session);
                // It comes back in time or too late, and some others are silent for that long.
                w.now.monotonic += LEASE / 4 * u32::try_from(numbers[1] % 6).unwrap();
                w.tick();
                for ended in std::mem::take(&mut w.disconnect) {
                    w.fence(ended);
                }
                for (session, client_owner) in sessions.iter_mut().zip(client_owners) {
                    *session = w.begin(client_owner).unwrap_or(*session);
                }
                w.disconnect.clear();
            }
            _ => {
                w.restart();
                sessions = begin(&mut w);
            }
        }
        if kind != 48 {
            let after = protected(&w);
            assert!(
                before.iter().all(|inode| after.contains(inode)),
                "{kind}: {before:?}"
            );
        }
    }
    (w, sessions)
}

/// In the end everything is given back: what is not in a file is free.
fn settle(w: &mut World, sessions: &[SessionId]) {
    sessions.iter().for_each(|session| w.fence(*session));
    w.now.monotonic += LEASE * 2;
    while w.tick() {}
    w.clean();
    assert!(w.cleaning.is_empty());
    let used: u64 = w.space.tree.iter().map(|inode| inode.attr.allocated).sum();
    let session = w.session();
    let Ok(Reply::Space(space)) = w.ask(session, Request::StatFs) else {
        panic!()
    };
    assert!(space.free + used >= space.total);
    assert_eq!(w.space.alloc.quarantined_bytes(), 0);
    let names: Vec<_> = w
        .space
        .tree
        .iter()
        .map(|inode| {
            (
                inode.attr.ino,
                inode.attr.nlink,
                inode.attr.size,
                inode.attr.flags,
            )
        })
        .collect();
    let xattrs = |w: &World| format!("{:?}", super::xattrs::values(w));
    let before = xattrs(w);
    w.restart();
    assert_eq!(before, xattrs(w));
    let anew: Vec<_> = w
        .space
        .tree
        .iter()
        .map(|inode| {
            (
                inode.attr.ino,
                inode.attr.nlink,
                inode.attr.size,
                inode.attr.flags,
            )
        })
        .collect();
    assert_eq!(names, anew);
    assert!(w.space.tree.get(ROOT).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn nothing_breaks_the_invariants(
        steps in steps(200),
    ) {
        run(steps);
    }
}
