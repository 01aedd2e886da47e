//! What names take is not more than they are charged, whatever they are.
//!
//! Measured for the names that take the most: as long as a name can be, for each kind of inode, and extended attributes that are small and
//! many.
#![expect(clippy::unwrap_used, reason = "a test")]

mod world;

use rdmafs_meta::id::InodeId;
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{NewInode, Request, XattrMode};
use rdmafs_meta::xattr::XattrName;
use world::{World, resident};

/// Bytes that are charged.
fn charged_by(w: &World) -> u64 {
    let room = w.space.space_and_names();
    (room.names - room.names_free) * 1024
}

/// A name of 255 bytes.
fn long(number: u32) -> Name {
    Name::new(format!("{number:0255}")).unwrap()
}

/// What `count` of them take in memory, and are charged.
fn measured(what: &str, count: u32, mut add: impl FnMut(&mut World, InodeId, u32)) {
    let mut w = World::new(1 << 30);
    let directory = w.make(InodeId::ROOT, Name::new("d").unwrap(), NewInode::Directory);
    let (memory, charged) = (resident(), charged_by(&w));
    for number in 0..count {
        add(&mut w, directory, number);
    }
    let (memory, charged) = (resident().saturating_sub(memory), charged_by(&w) - charged);
    println!("{what}: {memory} bytes in memory, {charged} charged, for {count}");
    // What one gives back the next one would not have to ask for.
    std::mem::forget(w);
    assert!(
        memory < charged,
        "{what}: {memory} bytes in memory, and {charged} are charged"
    );
}

#[test]
fn names_take_no_more_than_they_are_charged() {
    const COUNT: u32 = 10_000;
    let kinds = [
        ("files", NewInode::File { open: false }),
        ("directories", NewInode::Directory),
        ("special files", NewInode::WHITEOUT),
        ("links of one byte", NewInode::Symlink(vec![b'x'])),
        ("links of 4095 bytes", NewInode::Symlink(vec![b'x'; 4095])),
    ];
    for (what, kind) in kinds {
        measured(what, COUNT, |w, directory, number| {
            w.make(directory, long(number), kind.clone());
        });
    }
    measured(
        "names in directories of their own",
        COUNT,
        |w, directory, number| {
            let own = w.make(directory, long(number), NewInode::Directory);
            w.make(own, long(number), NewInode::File { open: false });
        },
    );
    let mut ino = InodeId::ROOT;
    measured("names of one file", COUNT, |w, parent, number| match number {
        0 => ino = w.make(parent, long(0), NewInode::File { open: false }),
        _ => w.link(ino, parent, long(number)),
    });
    attributes(COUNT / 10);
}

/// Small ones and large ones, sixteen for each file.
fn attributes(count: u32) {
    for (what, len) in [
        ("empty attributes", 0),
        ("attributes of 100 bytes", 100),
        ("of 4000", 4000),
    ] {
        measured(what, count, |w, directory, number| {
            let ino = w.make(directory, long(number), NewInode::File { open: false });
            for nth in 0..16 {
                let set = Request::SetXattr {
                    ino,
                    name: XattrName::new(format!("user.{nth}")).unwrap(),
                    staged: None,
                    value: vec![7; len],
                    mode: XattrMode::default(),
                };
                w.ask(set).unwrap();
            }
        });
    }
}
