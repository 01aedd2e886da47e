//! Open directories: where a pass over one ends, and what is left of one that was removed.

use super::world::{World, world};
use crate::errno::Error;
use crate::handler::HandleId;
use rdmafs_meta::attr::{Attr, SetAttr, SetTime};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{NewInode, RenameMode};

const ROOT: InodeId = InodeId::ROOT;

fn open(world: &World, ino: InodeId) -> HandleId {
    let opened = world.mount.clone().opendir(Credentials::root(), ino);
    world.pool.run(opened).unwrap()
}

fn page(world: &World, handle: HandleId, after: u64) -> Vec<(Vec<u8>, u64)> {
    let page = world.mount.clone().readdir(handle, after, 2);
    let entries = world.pool.run(page).unwrap().into_iter();
    entries.map(|entry| (entry.name, entry.cookie)).collect()
}

fn rename(world: &World, from: &[u8], to: &[u8]) {
    let (root, mode) = (Credentials::root(), RenameMode::Replace);
    let renamed = world
        .mount
        .clone()
        .rename(root, (ROOT, from.to_vec()), (ROOT, to.to_vec()), mode);
    world.pool.run(renamed).unwrap();
}

fn make_dir(world: &World) -> Attr {
    let (root, what) = (Credentials::root(), NewInode::Directory);
    let made = world.mount.clone().make(root, ROOT, b"d".to_vec(), what, 0o755);
    world.pool.run(made).unwrap().attr
}

fn remove_dir(world: &World) {
    let removed = world
        .mount
        .clone()
        .rmdir(Credentials::root(), ROOT, b"d".to_vec());
    world.pool.run(removed).unwrap();
}

fn set(world: &World, uid: u32, ino: InodeId, change: SetAttr) -> Result<Attr, Error> {
    let who = Credentials::new(uid, uid, Vec::new());
    let changed = world.mount.clone().setattr(who, ino, change, None);
    world.pool.run(changed).map(|entry| entry.attr)
}

/// Also where another host renames.
#[test]
fn a_pass_that_renames_what_it_meets_ends_and_the_next_one_sees_the_new_names() {
    let near = world(1 << 20);
    let far = near.elsewhere();
    for number in 0..5 {
        let (_, file) = near.create(&format!("{number}"));
        near.release(file);
    }
    let handle = open(&near, ROOT);
    let (mut met, mut after) = (Vec::new(), 0);
    loop {
        let entries = page(&near, handle, after);
        let Some((_, last)) = entries.last() else { break };
        after = *last;
        for (name, _) in entries.into_iter().filter(|(name, _)| !name.starts_with(b".")) {
            let renames = if met.len() % 2 == 0 { &near } else { &far };
            rename(renames, &name, b"TEMP");
            rename(renames, b"TEMP", &name);
            met.push(name);
        }
        assert!(met.len() <= 5, "{met:?}");
    }
    assert_eq!(met, [b"0", b"1", b"2", b"3", b"4"]);
    let (_, file) = far.create("new");
    far.release(file);
    assert!(page(&near, handle, after).is_empty(), "the pass is over");
    let (mut names, mut after) = (0, 0);
    while let Some((_, last)) = page(&near, handle, after).last() {
        names += page(&near, handle, after).len();
        after = *last;
    }
    assert_eq!(names, 2 + 5 + 1, "another pass");
}

#[test]
fn a_directory_that_was_removed_keeps_its_attributes_for_who_has_it_open() {
    let near = world(1 << 20);
    let far = near.elsewhere();
    for remover in [&near, &far] {
        let made = make_dir(&near);
        let (ino, handle) = (made.ino, open(&near, made.ino));
        // To open it is to read it.
        let opened = near.attr(ino).unwrap();
        remove_dir(remover);
        assert_eq!(near.attr(ino), Ok(Attr { nlink: 0, ..opened }));
        assert!(page(&near, handle, 0).is_empty());
        let mode = SetAttr {
            mode: Some(0o700),
            mtime: Some(SetTime::Now),
            ..SetAttr::default()
        };
        assert_eq!(set(&near, 5, ino, mode.clone()), Err(MetaError::NotOwner.into()));
        set(&near, 0, ino, mode).unwrap();
        let left = near.attr(ino).unwrap();
        assert_eq!((left.mode, left.nlink), (0o700, 0));
        let size = SetAttr {
            size: Some(0),
            ..SetAttr::default()
        };
        assert!(set(&near, 0, ino, size).is_err());
        let closed = near.mount.clone().releasedir(handle);
        near.pool.run(closed).unwrap();
        assert_eq!(near.attr(ino), Err(MetaError::Stale.into()), "nobody has it open");
    }
}
