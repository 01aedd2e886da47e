//! Connections that break, callers that die, nodes that say nothing.

use super::world::{RW, World, pattern, world};
use crate::errno::Error;
use crate::handler::{HandleId, ReadData};
use crate::options::CacheMode;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_rdma::link::LinkError;
use rdmafs_rdma::qos::share::Share;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;

#[test]
fn after_a_reconnect_open_files_are_open_and_their_bytes_are_there() {
    let world = world(4 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 0, &pattern(100_000, 1)).unwrap();
    world.flush(file);
    let (_, unnamed) = world.create("unnamed");
    world.write(unnamed, 0, b"never synced").unwrap();
    world.unlink("unnamed");
    let free = world
        .pool
        .run(world.mount.clone().statfs(InodeId::ROOT))
        .unwrap()
        .space
        .free;
    break_off(&world);
    // What starts now waits for the new session.
    assert_eq!(world.attr(ino).map(|attr| attr.size), Ok(100_000));
    assert_eq!(world.read(file, 0, MIB).unwrap(), pattern(100_000, 1));
    world.write(file, 0, b"again").unwrap();
    assert_eq!(
        world
            .pool
            .run(world.mount.clone().statfs(InodeId::ROOT))
            .unwrap()
            .space
            .free,
        free
    );
    assert_eq!(world.read(file, 0, 5).unwrap(), b"again");
    // A file without a name, and bytes that were not synced, are kept for a handler that comes back.
    assert_eq!(world.read(unnamed, 0, 12).unwrap(), b"never synced");
    world.release(unnamed);
}

#[test]
fn what_was_written_and_not_committed_is_there_after_a_short_break() {
    let world = world(4 << 20);
    let (_, file) = world.create("f");
    world.write(file, 0, &pattern(100_000, 1)).unwrap();
    break_off(&world);
    assert_eq!(eventually_reads(&world, file, MIB), pattern(100_000, 1));
    world.pool.run(world.mount.clone().fsync(file)).unwrap();
}

#[test]
fn what_a_long_break_lost_is_eio_once_for_each_open_file_and_gone_for_good() {
    let world = world(4 << 20);
    let (ino, file) = world.create("f");
    let other = world.open(ino, RW).unwrap();
    world.write(file, 0, &pattern(5_000, 1)).unwrap();
    world.flush(file);
    let (_, orphans) = world.create("doomed");
    world.unlink("doomed");
    world.write(file, 5_000, &pattern(100_000, 3)).unwrap();
    world.pool.node().break_off(true);
    world.pool.node().outlast();
    world.pool.node().break_off(false);
    assert_eq!(eventually_reads(&world, file, MIB), pattern(5_000, 1));
    assert_eq!(world.read(orphans, 0, 5).unwrap_err().errno(), libc::ESTALE);
    let sync = |file| world.pool.run(world.mount.clone().fsync(file));
    assert_eq!(sync(file).unwrap_err().errno(), libc::EIO);
    sync(file).unwrap();
    let closed = world.pool.run(world.mount.clone().flush(other));
    assert_eq!(closed.unwrap_err().errno(), libc::EIO);
    assert_eq!(world.attr(ino).unwrap().size, 5_000);
    let later = world.open(ino, RW).unwrap();
    sync(later).unwrap();
    world.write(later, 5_000, b"new").unwrap();
    sync(later).unwrap();
    assert_eq!(world.attr(ino).unwrap().size, 5_003);
}

/// The node may have been restarted: what is cached is no proof of what it has.
#[test]
fn after_a_reconnect_no_cached_page_is_believed() {
    let direct = world(4 << 20);
    let cached = direct.beside(CacheMode::Auto);
    let (ino, file) = direct.create("f");
    direct.write(file, 0, b"bytes").unwrap();
    direct.flush(file);
    let keeps_cache = || {
        let opening = cached.mount.clone().open(Credentials::root(), ino, RW);
        let opened = cached.pool.run(opening).unwrap();
        cached.flush(opened.handle);
        opened.keep_cache
    };
    assert!(!keeps_cache());
    assert!(keeps_cache());
    break_off(&direct);
    assert_eq!(eventually_reads(&direct, file, 5), b"bytes");
    assert!(!keeps_cache());
    assert!(keeps_cache());
}

/// Reads again and again, for at most 20 s, until the node is reached.
fn eventually_reads(world: &World, file: HandleId, len: usize) -> Vec<u8> {
    for _ in 0..200 {
        if let Ok(bytes) = world.read(file, 0, len) {
            return bytes;
        }
        world
            .pool
            .run(world.mount.executor().sleep(Duration::from_millis(100)));
    }
    panic!("the node was not reached again");
}

#[test]
fn a_node_that_stays_away_is_eio_within_the_timeout_and_its_return_is_noticed() {
    let world = world(4 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 0, b"bytes").unwrap();
    world.flush(file);
    world.pool.node().break_off(true);
    let reading = world
        .mount
        .executor()
        .within(LONG, world.mount.clone().read(file, 0, 5));
    let answer = world.pool.run(reading).expect("an answer in time");
    assert_eq!(answer.unwrap_err().errno(), libc::EIO);
    let attr = world.attr(ino);
    assert!(matches!(attr, Err(Error::Down(_))), "{attr:?}");
    world.pool.node().break_off(false);
    assert_eq!(eventually_reads(&world, file, 5), b"bytes");
}

/// Breaks the connection and waits until the handler knows.
fn break_off(world: &World) {
    let session = world.mount.client.session_now().map(|session| session.connection);
    world.pool.node().break_off(false);
    while world.mount.client.session_now().map(|session| session.connection) == session {
        std::thread::yield_now();
    }
}

/// A transfer that waits for its mount's share.
fn slow(world: &World) {
    let share = Share {
        bw: 100_000,
        burst: 4096,
        ..Share::default()
    };
    world.mount.set_share(share);
}

#[test]
fn a_killed_read_is_interrupted_and_a_truncate_still_waits_for_its_transfer() {
    let world = world(4 << 20);
    let far = world.elsewhere();
    let (ino, file) = world.create("f");
    world.write(file, 0, &pattern(400_000, 1)).unwrap();
    world.flush(file);
    let free = world
        .pool
        .run(world.mount.clone().statfs(InodeId::ROOT))
        .unwrap()
        .space
        .free;
    slow(&world);
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let (send, answers) = mpsc::channel();
    let reading = world.mount.clone().read(file, 0, 400_000);
    world.mount.executor().run(child.id(), reading, move |result| {
        send.send(result.map(|_: ReadData| ())).unwrap()
    });
    child.kill().unwrap();
    assert_eq!(answers.recv_timeout(LONG).unwrap(), Err(Error::Interrupted));
    child.wait().unwrap();
    far.truncate(ino, 0);
    let quarantined = world.pool.node();
    quarantined.check().unwrap();
    assert_eq!(far.attr(ino).unwrap().size, 0);
    assert_eq!(
        world
            .pool
            .run(world.mount.clone().statfs(InodeId::ROOT))
            .unwrap()
            .space
            .free,
        free + 401_408
    );
    // A new file over the whole pool comes only after the transfer has ended, and is none of its bytes.
    world.mount.set_share(Share::default());
    let (_, all) = far.create("all");
    for part in 0..4 {
        assert_eq!(far.write(all, part * MIB as u64, &vec![3; MIB]), Ok(MIB));
    }
    assert!(world.read(file, 0, 10).unwrap().is_empty());
}

#[test]
fn a_silent_node_is_eio_for_data_and_calls() {
    let world = world(4 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 0, b"bytes").unwrap();
    world.flush(file);
    world.pool.node().sim().fault_at(1, rdmafs_rdma::sim::Fault::Lose);
    let timed_out = world.read(file, 0, 5).unwrap_err();
    assert!(
        matches!(timed_out, Error::Link(LinkError::TimedOut(_))),
        "{timed_out:?}"
    );
    world.pool.node().sim().fault_at(1, rdmafs_rdma::sim::Fault::Lose);
    assert_eq!(world.attr(ino).unwrap_err().errno(), libc::EIO);
    assert_eq!(eventually_reads(&world, file, 5), b"bytes");
}

/// Whatever breaks, at whichever operation: an answer, no wrong byte, and a file that works again afterwards.
#[test]
fn a_fault_at_every_operation_is_an_answer_and_never_a_wrong_byte() {
    let run = |world: &World, fault_at: Option<u64>| {
        if let Some(n) = fault_at {
            world.pool.node().sim().fail_at(n);
        }
        let before = world.pool.node().sim().operations();
        let making = world.mount.clone().create(
            Credentials::root(),
            (rdmafs_meta::id::InodeId::ROOT, b"f".to_vec()),
            0o644,
            RW,
            false,
        );
        let Ok((entry, opened)) = world.pool.run(making) else {
            return 0;
        };
        let wrote = world.write(opened.handle, 1000, &pattern(9000, 1));
        let read = world.read(opened.handle, 0, 20_000);
        if let (Ok(9000), Ok(bytes)) = (&wrote, &read) {
            assert_eq!(bytes[1000..], pattern(9000, 1), "fault at {fault_at:?}");
        }
        let change = SetAttr {
            size: Some(500),
            ..SetAttr::default()
        };
        let _any = world.set(entry.attr.ino, change);
        let _any = world.pool.run(world.mount.clone().fsync(opened.handle));
        let _any = world.pool.run(world.mount.clone().release(opened.handle));
        world.pool.node().sim().operations() - before
    };
    let operations = run(&world(1 << 20), None);
    assert!(operations > 10);
    for n in 1..=operations + 2 {
        let world = world(1 << 20);
        run(&world, Some(n));
        world.pool.node().sim().fail_at(u64::MAX);
        let (_, file) = world.create("after");
        assert_eq!(world.write(file, 0, b"works"), Ok(5), "fault at {n}");
        assert_eq!(world.read(file, 0, 9).unwrap(), b"works", "fault at {n}");
        world.pool.node().check().unwrap();
    }
}

#[test]
fn a_closed_mount_commits_and_the_last_one_ends_the_session() {
    let world = world(1 << 20);
    let far = world.elsewhere();
    let (ino, file) = world.create("f");
    world.write(file, 0, b"kept").unwrap();
    world.mount.close();
    assert_eq!(far.attr(ino).unwrap().size, 4);
    assert!(matches!(world.attr(ino), Err(Error::Down(_))));
}
