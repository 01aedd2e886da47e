//! A connection that breaks under a call, wherever: the call is answered as if nothing had happened, and was done once.

use super::sweep::lab::Lab;
use super::world::{RW, World, pattern, world};
use crate::atomic_ioctl::FETCH_ADD;
use crate::handler::{HandleId, OpenMode};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::{NewInode, RenameMode};
use rdmafs_rdma::sim::Fault;
use std::time::Duration;

const ROOT: InodeId = InodeId::ROOT;
const ARENA: u64 = 1 << 20;

fn root() -> Credentials {
    Credentials::root()
}

fn name(text: &str) -> Vec<u8> {
    text.into()
}

/// Each kind of change once. Doing one of them twice would fail, or show.
fn changes(world: &World) {
    let mount = || world.mount.clone();
    let run = &world.pool;
    let (ino, file) = world.create("a");
    assert_eq!(world.write(file, 0, &pattern(9000, 1)), Ok(9000));
    run.run(mount().fsync(file)).unwrap();
    let append = OpenMode { append: true, ..RW };
    let appended = world.open(ino, append).unwrap();
    assert_eq!(world.write(appended, 0, &[3, 0, 0, 0, 0, 0, 0, 0]), Ok(8));
    for before in [3, 8] {
        assert_eq!(add(world, file, 9000), before);
    }
    let replace = RenameMode::Replace;
    run.run(mount().rename(root(), (ROOT, name("a")), (ROOT, name("b")), replace))
        .unwrap();
    run.run(mount().link(root(), ino, ROOT, name("c"))).unwrap();
    world.unlink("b");
    let (what, mode) = (NewInode::Directory, 0o755);
    run.run(mount().make(root(), ROOT, name("d"), what, mode))
        .unwrap();
    run.run(mount().make(root(), ROOT, name("e"), NewInode::Directory, mode))
        .unwrap();
    run.run(mount().rmdir(root(), ROOT, name("e"))).unwrap();
    assert_eq!(world.truncate(ino, 10_000).size, 10_000);
    assert_eq!(world.read(file, 0, 20_000).unwrap().len(), 10_000);
    world.release(file);
    world.release(appended);
}

/// Adds 5 to the word at an offset, whose first byte is at least 3 and the others are zero.
fn add(world: &World, file: HandleId, offset: u64) -> u64 {
    let asked: Vec<u8> = [offset, 5, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
    let ioctl = world.mount.clone().ioctl(root(), file, FETCH_ADD, asked);
    let answer = world.pool.run(ioctl).unwrap();
    u64::from_ne_bytes(*answer.last_chunk().unwrap())
}

/// What came of it: attributes and bytes of the file, the names, and the free space.
fn outcome(world: &World) -> (u32, u64, Vec<u8>, Vec<Vec<u8>>, u64) {
    let found = world.mount.clone().lookup(root(), ROOT, name("c"));
    let attr = world.pool.run(found).unwrap().attr;
    let file = world.open(attr.ino, RW).unwrap();
    let bytes = world.read(file, 0, 20_000).unwrap();
    world.release(file);
    let listing = world.pool.run(world.mount.clone().opendir(root(), ROOT)).unwrap();
    let entries = world
        .pool
        .run(world.mount.clone().readdir(listing, 0, 100))
        .unwrap();
    let names = entries.into_iter().map(|entry| entry.name).collect();
    world.unlink("c");
    (attr.nlink, attr.size, bytes, names, free(world))
}

fn free(world: &World) -> u64 {
    let space = world.pool.run(world.mount.clone().statfs(InodeId::ROOT));
    space.unwrap().space.free
}

#[test]
fn whichever_operation_breaks_the_connection_every_change_is_done_once() {
    let plain = world(ARENA);
    let before = plain.pool.node().sim().operations();
    changes(&plain);
    let operations = plain.pool.node().sim().operations() - before;
    let wanted = outcome(&plain);
    assert_eq!(wanted.4, ARENA, "nothing has it open");
    assert!(operations > 30, "{operations}");
    for n in 1..=operations {
        let world = world(ARENA);
        world.pool.node().sim().fault_at(n, Fault::Disconnect);
        changes(&world);
        let mut got = outcome(&world);
        // A file is given up in the background.
        for _ in 0..1000 {
            if got.4 == ARENA {
                break;
            }
            world
                .pool
                .run(world.mount.executor().sleep(Duration::from_millis(5)));
            got.4 = free(&world);
        }
        assert_eq!(got, wanted, "the connection broke at operation {n}");
        world.pool.node().check().unwrap();
    }
}

/// The answer comes so late that its caller has gone: what was opened for it is given back, or it would use space for ever.
#[test]
fn an_open_that_nobody_heard_of_is_given_back() {
    let world = world(ARENA);
    let (ino, file) = world.create("f");
    world.write(file, 0, &pattern(9000, 1)).unwrap();
    world.flush(file);
    let sim = world.pool.node().sim();
    // Its answer: an open is one operation there and one back.
    sim.fault_at(2, Fault::Lose);
    assert!(world.open(ino, RW).is_err());
    world.release(file);
    world.unlink("f");
    let freed = (0..4000).any(|_| {
        world
            .pool
            .run(world.mount.executor().sleep(Duration::from_millis(5)));
        free(&world) == ARENA
    });
    assert!(freed);
}

/// Bytes that were written before and not committed do not take the file's time back when they are.
#[test]
fn an_atomic_change_is_newer_than_what_was_written_before() {
    let world = world(ARENA);
    let (ino, file) = world.create("f");
    world.write(file, 0, &[0; 16]).unwrap();
    world.flush(file);
    world.write(file, 0, &[1; 8]).unwrap();
    let written = world.attr(ino).unwrap().mtime;
    let asked = [8_u64, 1, 0, 0]
        .iter()
        .flat_map(|field| field.to_ne_bytes())
        .collect();
    let ioctl = world.mount.clone().ioctl(root(), file, FETCH_ADD, asked);
    world.pool.run(ioctl).unwrap();
    let changed = world.attr(ino).unwrap().mtime;
    assert_ne!(changed, written);
    world.flush(file);
    assert_eq!(world.attr(ino).unwrap().mtime, changed);
}

/// The file is cut, and others append to it, while an append that has its place waits for a new connection.
#[test]
fn an_append_whose_place_was_cut_off_takes_nobody_elses() {
    const APPEND: OpenMode = OpenMode { append: true, ..RW };
    let mut crossed = 0;
    for n in 1..=40 {
        let mut lab = Lab::new();
        lab.create(lab.a, "f").unwrap();
        lab.write("f", 0, &pattern(100, 1)).unwrap();
        lab.fsync("f").unwrap();
        lab.open(lab.a, "f", APPEND, "log").unwrap();
        lab.open(lab.b, "f", APPEND, "theirs").unwrap();
        let (host, ino, log) = lab.open["log"];
        let (ours, theirs) = (pattern(50, 2), pattern(160, 3));
        lab.sim.sim().fault_at(n, Fault::Disconnect);
        let buffer = lab.sim.buffer(host, &ours).unwrap();
        let write = lab.sim.mount(host).write(log, 0, buffer, false);
        let write = lab.sim.start(host, write);
        let cut = SetAttr {
            size: Some(0),
            ..SetAttr::default()
        };
        lab.call(lab.b, |mount| {
            Box::pin(mount.setattr(Credentials::root(), ino, cut, None))
        })
        .unwrap();
        let before = write.take();
        lab.write("theirs", 0, &theirs).unwrap();
        lab.sim.pass_by(Duration::from_secs(5));
        let has = |whole: &[u8], part: &[u8]| whole.windows(part.len()).any(|some| some == part);
        let file = lab.read("theirs", 0, 1000).unwrap();
        assert!(has(&file, &theirs), "{n}: a record of another host is torn");
        if before.is_none() {
            assert_eq!(write.take(), Some(Ok(50)), "{n}");
            assert!(has(&file, &ours), "{n}");
            crossed += 1;
        }
    }
    assert!(crossed > 0, "no append was under way");
}
