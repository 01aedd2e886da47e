//! The changes that are swept over.

use super::acts::{
    add, copy, filled, flag, forget_session, fragmented, lock, make, rename, set, set_xattr, shared, space,
    zero,
};
use super::lab::{ARENA, Did, Lab, ROOT, RW, pattern};
use super::picture::xattrs;
use crate::handler::{OpenMode, SpaceChange};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::lock::LockKind;
use rdmafs_meta::wire::{NewInode, RenameMode, XattrMode};

type Act = fn(&mut Lab) -> Did<()>;

/// A change: what is there before, and its steps, all on the first host.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) prepare: fn(&mut Lab),
    pub(super) acts: &'static [Act],
    /// What may be answered besides EIO.
    pub(super) refused: &'static [i32],
}

pub(super) const CASES: &[Case] = &[
    Case {
        name: "create exclusively, write, fsync, close",
        prepare: |_| (),
        acts: &[
            |lab| lab.create(lab.a, "new"),
            |lab| lab.write("new", 0, &pattern(9000, 3)),
            |lab| lab.fsync("new"),
            |lab| lab.close("new"),
        ],
        refused: &[],
    },
    Case {
        name: "open and truncate what another host has open, write, close",
        prepare: |lab| shared(lab, "f", 20_000),
        acts: &[
            |lab| lab.open(lab.a, "f", OpenMode { truncate: true, ..RW }, "mine"),
            |lab| lab.write("mine", 0, &pattern(5000, 5)),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "write over several extents and past the end",
        prepare: fragmented,
        acts: &[
            |lab| lab.write("f", 1000, &pattern(30_000, 5)),
            |lab| lab.fsync("f"),
            |lab| lab.close("f"),
        ],
        refused: &[],
    },
    Case {
        name: "append twice",
        prepare: |lab| {
            filled(lab, "f", 5000);
            lab.open(lab.a, "f", OpenMode { append: true, ..RW }, "mine")
                .unwrap();
        },
        acts: &[
            |lab| lab.write("mine", 0, &pattern(6000, 5)),
            |lab| lab.write("mine", 0, &pattern(3000, 9)),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "rename over an open file",
        prepare: |lab| {
            filled(lab, "a", 6000);
            shared(lab, "b", 9000);
        },
        acts: &[|lab| rename(lab, "a", "b", RenameMode::Replace)],
        refused: &[],
    },
    Case {
        name: "exchange two files",
        prepare: |lab| {
            filled(lab, "a", 6000);
            shared(lab, "b", 9000);
        },
        acts: &[|lab| rename(lab, "a", "b", RenameMode::Exchange)],
        refused: &[],
    },
    Case {
        name: "link, unlink the first name, unlink the last one while it is open, close",
        prepare: |lab| {
            filled(lab, "f", 6000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
        },
        acts: &[
            |lab| {
                let ino = lab.open["mine"].1;
                let root = Credentials::root();
                lab.call(lab.a, |mount| {
                    Box::pin(mount.link(root, ino, ROOT, b"g".to_vec()))
                })
                .map(drop)
            },
            |lab| lab.unlink(lab.a, "f"),
            |lab| lab.unlink(lab.a, "g"),
            |lab| lab.write("mine", 6000, &pattern(9000, 5)),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "make a directory, a symbolic link; remove the directory",
        prepare: |_| (),
        acts: &[
            |lab| make(lab, "d", NewInode::Directory),
            |lab| make(lab, "s", NewInode::Symlink(b"d/x".to_vec())),
            |lab| {
                let root = Credentials::root();
                lab.call(lab.a, |mount| Box::pin(mount.rmdir(root, ROOT, b"d".to_vec())))
            },
        ],
        refused: &[],
    },
    Case {
        name: "change mode and owner",
        prepare: |lab| shared(lab, "f", 100),
        acts: &[
            |lab| {
                set(
                    lab,
                    SetAttr {
                        mode: Some(0o600),
                        ..SetAttr::default()
                    },
                )
            },
            |lab| {
                set(
                    lab,
                    SetAttr {
                        uid: Some(5),
                        ..SetAttr::default()
                    },
                )
            },
        ],
        refused: &[],
    },
    Case {
        name: "shrink what another host has open, grow it, write into the hole",
        prepare: |lab| {
            shared(lab, "f", 30_000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
        },
        acts: &[
            |lab| {
                set(
                    lab,
                    SetAttr {
                        size: Some(5000),
                        ..SetAttr::default()
                    },
                )
            },
            |lab| {
                set(
                    lab,
                    SetAttr {
                        size: Some(60_000),
                        ..SetAttr::default()
                    },
                )
            },
            |lab| lab.write("mine", 40_000, &pattern(8192, 5)),
            |lab| lab.fsync("mine"),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "fill the pool again with what another file gave back",
        prepare: |lab| shared(lab, "full", ARENA - 4096),
        acts: &[
            |lab| lab.unlink(lab.a, "full"),
            |lab| lab.create(lab.a, "new"),
            |lab| {
                // The other host lets go only now.
                lab.close("theirs")
                    .and_then(|()| lab.write("new", 0, &pattern(200_000, 5)))
            },
            |lab| lab.fsync("new"),
            |lab| lab.close("new"),
        ],
        // The other host's release is late: then the space is not there yet.
        refused: &[libc::ENOSPC],
    },
    Case {
        name: "write into holes of a sparse file, through a handle of a new session",
        prepare: |lab| {
            shared(lab, "f", 5000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
            set(
                lab,
                SetAttr {
                    size: Some(200_000),
                    ..SetAttr::default()
                },
            )
            .unwrap();
            forget_session(lab);
        },
        acts: &[
            |lab| lab.write("mine", 100_000, &pattern(10_000, 5)),
            |lab| lab.write("mine", 50_001, &pattern(5000, 9)),
            |lab| lab.fsync("mine"),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "cut off what is written and not committed, through its handle",
        prepare: |lab| {
            shared(lab, "f", 5000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
        },
        acts: &[
            |lab| lab.write("mine", 4000, &pattern(20_000, 5)),
            |lab| {
                let (host, ino, handle) = lab.open["mine"];
                let change = SetAttr {
                    size: Some(9000),
                    ..SetAttr::default()
                };
                let root = Credentials::root();
                lab.call(host, |mount| {
                    Box::pin(mount.setattr(root, ino, change, Some(handle)))
                })
                .map(drop)
            },
            |lab| lab.write("mine", 20_000, &pattern(100, 9)),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "both hosts write to one file, in turns",
        prepare: |lab| {
            shared(lab, "f", 5000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
        },
        acts: &[
            |lab| lab.write("mine", 5000, &pattern(9000, 5)),
            |lab| lab.fsync("mine"),
            |lab| lab.write("theirs", 14_000, &pattern(9000, 9)),
            |lab| lab.fsync("theirs"),
            |lab| lab.write("mine", 2000, &pattern(20_000, 11)),
            |lab| lab.fsync("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "set a long extended attribute where there is none, shorten it, remove another one",
        prepare: |lab| {
            shared(lab, "f", 100);
            set_xattr(lab, b"user.old", 10, XattrMode::default()).unwrap();
            // The other host holds them from now on.
            xattrs(lab, lab.open["theirs"].1);
        },
        acts: &[
            // Done twice, it would be refused.
            |lab| {
                let create = true;
                set_xattr(
                    lab,
                    b"user.new",
                    40_000,
                    XattrMode {
                        create,
                        ..XattrMode::default()
                    },
                )
            },
            |lab| {
                let replace = true;
                set_xattr(
                    lab,
                    b"user.new",
                    7,
                    XattrMode {
                        replace,
                        ..XattrMode::default()
                    },
                )
            },
            |lab| {
                let (ino, root) = (lab.open["theirs"].1, Credentials::root());
                lab.call(lab.a, |mount| {
                    Box::pin(mount.removexattr(root, ino, b"user.old".to_vec()))
                })
            },
        ],
        refused: &[],
    },
    Case {
        name: "replace a file by a new one, as editors do",
        prepare: |lab| shared(lab, "f", 9000),
        acts: &[
            |lab| lab.create(lab.a, "new"),
            |lab| lab.write("new", 0, &pattern(12_000, 5)),
            |lab| lab.fsync("new"),
            |lab| lab.close("new"),
            |lab| rename(lab, "new", "f", RenameMode::Replace),
        ],
        refused: &[],
    },
    Case {
        name: "give space within and past what another host has open, keeping the size and not",
        prepare: |lab| {
            shared(lab, "f", 5000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
        },
        acts: &[
            |lab| space(lab, (20_000, 9000), SpaceChange::Allocate { keep_size: false }),
            |lab| space(lab, (4000, 60_000), SpaceChange::Allocate { keep_size: true }),
            |lab| lab.write("mine", 20_000, &pattern(100, 5)),
            |lab| lab.fsync("mine"),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "punch what another host has open, write into the hole",
        prepare: |lab| {
            shared(lab, "f", 60_000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
        },
        acts: &[
            |lab| lab.write("mine", 50_000, &pattern(20_000, 5)),
            |lab| space(lab, (5000, 50_000), SpaceChange::Punch),
            |lab| lab.write("mine", 20_000, &pattern(9000, 9)),
            |lab| lab.fsync("mine"),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "zero a range of a file in pieces, and past its end",
        prepare: fragmented,
        acts: &[
            |lab| zero(lab, "f", (1000, 9000)),
            |lab| zero(lab, "f", (15_000, 9000)),
            |lab| lab.fsync("f"),
            |lab| lab.close("f"),
        ],
        refused: &[],
    },
    Case {
        name: "copy to a file that another host has open, within it, and from a sparse one",
        prepare: |lab| {
            filled(lab, "source", 30_000);
            shared(lab, "f", 20_000);
            lab.open(lab.a, "source", RW, "from").unwrap();
            lab.open(lab.a, "f", RW, "mine").unwrap();
            lab.write("from", 100_000, &pattern(5000, 7)).unwrap();
            lab.fsync("from").unwrap();
        },
        acts: &[
            |lab| copy(lab, ("from", 100), ("mine", 15_000), 20_000),
            |lab| copy(lab, ("mine", 0), ("mine", 50_000), 30_000),
            |lab| copy(lab, ("from", 25_000), ("mine", 40_000), 80_000),
            |lab| lab.fsync("mine"),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "change words of a hole and of what another host has open",
        prepare: |lab| {
            shared(lab, "f", 20_000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
            space(lab, (4096, 4096), SpaceChange::Punch).unwrap();
        },
        acts: &[
            |lab| add(lab, "mine", 4104),
            |lab| add(lab, "mine", 4104),
            |lab| add(lab, "mine", 19_992),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "lock, write, unlock, lock a range, close",
        prepare: |lab| {
            shared(lab, "f", 5000);
            lab.open(lab.a, "f", RW, "mine").unwrap();
        },
        acts: &[
            |lab| lock(lab, "mine", LockKind::Flock, true),
            |lab| lab.write("mine", 4000, &pattern(9000, 5)),
            |lab| lab.fsync("mine"),
            |lab| lock(lab, "mine", LockKind::Flock, false),
            |lab| lock(lab, "mine", LockKind::Posix, true),
            |lab| lab.close("mine"),
        ],
        refused: &[],
    },
    Case {
        name: "give inode flags and take one away",
        prepare: |lab| shared(lab, "f", 5000),
        acts: &[|lab| flag(lab, 0xc0), |lab| flag(lab, 0x40)],
        refused: &[],
    },
];
