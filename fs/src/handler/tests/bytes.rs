//! Bytes written are the bytes read.

use super::world::{RW, pattern, world};
use crate::errno::Error;
use crate::handler::{OpenMode, ReadData, WriteMode};
use rdmafs_meta::attr::{SetAttr, SetTime};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::time::Timestamp;

const MIB: usize = 1 << 20;

#[test]
fn what_was_written_is_read_at_every_granularity() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    let bytes = pattern(300_000, 3);
    let mut at = 0;
    for step in [1, 511, 4096, 5000, 100_000, 190_392].iter().cycle() {
        let end = (at + step).min(bytes.len());
        assert_eq!(world.write(file, at as u64, &bytes[at..end]), Ok(end - at));
        at = end;
        if at == bytes.len() {
            break;
        }
    }
    assert_eq!(world.read(file, 0, MIB).unwrap(), bytes);
    assert_eq!(world.read(file, 4095, 2).unwrap(), bytes[4095..4097]);
    assert!(world.read(file, 300_000, 10).unwrap().is_empty());
    assert_eq!(
        world.attr(ino).unwrap().size,
        300_000,
        "uncommitted bytes are shown"
    );
    world.flush(file);
    world.release(file);
    let file = world.open(ino, RW).unwrap();
    assert_eq!(world.read(file, 0, MIB).unwrap(), bytes);
    world.pool.node().check().unwrap();
}

#[test]
fn a_write_ends_a_time_that_was_chosen_even_in_the_future() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    let chosen = Timestamp {
        seconds: 4_000_000_000,
        nanos: 0,
    };
    let change = SetAttr {
        mtime: Some(SetTime::At(chosen)),
        ..SetAttr::default()
    };
    assert_eq!(world.set(ino, change).unwrap().mtime, chosen);
    world.write(file, 0, b"x").unwrap();
    assert!(world.attr(ino).unwrap().mtime < chosen, "before the commit");
    world.flush(file);
    assert!(world.attr(ino).unwrap().mtime < chosen, "after the commit");
}

#[test]
fn holes_are_zeros_that_use_neither_network_nor_space() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 40_000, b"x").unwrap();
    world.write(file, 1 << 40, b"y").unwrap();
    world.flush(file);
    let got = world.read(file, 0, 50_000).unwrap();
    assert_eq!(got.len(), 50_000);
    assert!(
        got.iter()
            .enumerate()
            .all(|(at, byte)| *byte == if at == 40_000 { b'x' } else { 0 })
    );
    let reads = world.mount.traffic().read_bytes;
    let hole = world.mount.clone().read(file, 1 << 30, MIB);
    assert!(matches!(world.pool.run(hole), Ok(ReadData::Zeros(MIB))));
    assert_eq!(world.mount.traffic().read_bytes, reads);
    let attr = world.attr(ino).unwrap();
    assert_eq!(attr.size, (1 << 40) + 1);
    assert!(attr.allocated < 65_536, "{}", attr.allocated);
}

#[test]
fn a_range_of_many_extents_is_read_and_written_whole() {
    let world = world(16 << 20);
    let (_, a) = world.create("a");
    let (_, b) = world.create("b");
    let bytes = pattern(256 * 1024, 5);
    // Steps of two files in turn, backwards, make many extents.
    for step in (0..64_usize).rev() {
        let at = step * 4096;
        world.write(a, at as u64, &bytes[at..at + 4096]).unwrap();
        world.write(b, at as u64, &[9; 4096]).unwrap();
    }
    assert_eq!(world.read(a, 0, MIB).unwrap(), bytes);
    let other = pattern(256 * 1024 - 10, 11);
    world.write(a, 5, &other).unwrap();
    let got = world.read(a, 0, MIB).unwrap();
    assert_eq!((&got[..5], &got[5..got.len() - 5]), (&bytes[..5], &other[..]));
    assert!(world.read(b, 0, MIB).unwrap().iter().all(|byte| *byte == 9));
}

#[test]
fn a_cut_file_that_grows_anew_reads_zeros() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    world.write(file, 0, &pattern(20_000, 1)).unwrap();
    assert_eq!(world.truncate(ino, 5000).size, 5000);
    assert_eq!(world.read(file, 0, MIB).unwrap(), pattern(20_000, 1)[..5000]);
    assert_eq!(world.truncate(ino, 30_000).size, 30_000);
    let got = world.read(file, 0, MIB).unwrap();
    assert_eq!(got.len(), 30_000);
    assert_eq!(got[..5000], pattern(20_000, 1)[..5000]);
    assert!(got[5000..].iter().all(|byte| *byte == 0));
    world.flush(file);
    assert_eq!(world.attr(ino).unwrap().size, 30_000);
    let file = world.open(ino, OpenMode { truncate: true, ..RW }).unwrap();
    assert!(world.read(file, 0, 10).unwrap().is_empty());
    world.pool.node().check().unwrap();
}

#[test]
fn appending_ignores_the_kernels_offset_and_never_overlaps() {
    let world = world(16 << 20);
    let (ino, plain) = world.create("log");
    let append = OpenMode { append: true, ..RW };
    let other = world.elsewhere();
    let (mine, theirs) = (world.open(ino, append).unwrap(), other.open(ino, append).unwrap());
    world.write(plain, 0, b"head;").unwrap();
    for round in 0..50 {
        world.write(mine, 0, format!("m{round};").as_bytes()).unwrap();
        other.write(theirs, 7, format!("t{round};").as_bytes()).unwrap();
    }
    world.flush(mine);
    other.flush(theirs);
    let text = String::from_utf8(world.read(plain, 0, MIB).unwrap()).unwrap();
    let records: Vec<_> = text.trim_end_matches(';').split(';').collect();
    assert_eq!(records.len(), 101, "{text}");
    for (who, skip) in [('m', 0), ('t', 1)] {
        let of: Vec<_> = records.iter().skip(1 + skip).step_by(2).copied().collect();
        assert_eq!(
            of,
            (0..50).map(|round| format!("{who}{round}")).collect::<Vec<_>>()
        );
    }
}

#[test]
fn an_unlinked_open_file_keeps_its_bytes_and_gives_its_space_back_at_the_end() {
    let world = world(1 << 20);
    let free = || {
        world
            .pool
            .run(world.mount.clone().statfs(InodeId::ROOT))
            .unwrap()
            .space
            .free
    };
    let before = free();
    let (ino, file) = world.create("f");
    world.write(file, 0, &pattern(500_000, 1)).unwrap();
    world.unlink("f");
    assert_eq!(world.read(file, 0, MIB).unwrap(), pattern(500_000, 1));
    world.write(file, 0, b"still").unwrap();
    assert_eq!(world.attr(ino).unwrap().nlink, 0);
    world.release(file);
    assert_eq!(free(), before);
    assert!(matches!(
        world.open(ino, RW),
        Err(Error::Meta(MetaError::NotFound | MetaError::Stale))
    ));
}

#[test]
fn a_full_pool_refuses_and_freed_space_is_zero_for_the_next() {
    let world = world(1 << 20);
    let (_, secret) = world.create("secret");
    assert_eq!(world.write(secret, 0, &vec![0xAA; MIB]), Ok(MIB));
    let (_, other) = world.create("other");
    assert_eq!(world.write(other, 0, b"x"), Err(MetaError::NoSpace.into()));
    world.unlink("secret");
    world.release(secret);
    for at in (0..256_u64).map(|granule| granule * 4096 + 100) {
        assert_eq!(world.write(other, at, b"x"), Ok(1));
    }
    let got = world.read(other, 0, MIB).unwrap();
    assert!(
        got.iter()
            .enumerate()
            .all(|(at, byte)| *byte == if at % 4096 == 100 { b'x' } else { 0 })
    );
}

#[test]
fn a_write_appends_when_it_says_so_whatever_the_open_said() {
    let world = world(16 << 20);
    let (ino, plain) = world.create("log");
    let appending = world.open(ino, OpenMode { append: true, ..RW }).unwrap();
    world.write(appending, 0, b"one,two").unwrap();
    let write = |file, append, bytes| {
        let mode = WriteMode {
            append,
            ..WriteMode::default()
        };
        let buffer = world.pool.buffer(&world.mount, bytes);
        world
            .pool
            .run(world.mount.clone().write_as(file, 0, buffer, mode, None))
    };
    assert_eq!(write(appending, false, b"ONE"), Ok(3));
    assert_eq!(write(plain, true, b",three"), Ok(6));
    assert_eq!(world.read(plain, 0, 100).unwrap(), b"ONE,two,three");
}

#[test]
fn a_synchronous_direct_write_is_observed_elsewhere_without_a_close() {
    let world = world(16 << 20);
    let elsewhere = world.elsewhere();
    let (ino, _) = world.create("f");
    let file = world.open(ino, OpenMode { direct: true, ..RW }).unwrap();
    for (sync, size) in [(false, 0), (true, 5)] {
        let buffer = world.pool.buffer(&world.mount, b"bytes");
        let mode = WriteMode {
            sync,
            ..WriteMode::default()
        };
        let wrote = world.mount.clone().write_as(file, 0, buffer, mode, None);
        assert_eq!(world.pool.run(wrote), Ok(5));
        assert_eq!(elsewhere.attr(ino).unwrap().size, size);
    }
}

#[test]
fn a_write_waits_for_space_that_is_being_cleaned() {
    let world = world(1 << 20);
    let (_, old) = world.create("old");
    world.write(old, 0, &vec![1; MIB]).unwrap();
    world.pool.node().clean_lazily(true);
    world.unlink("old");
    world.release(old);
    let (_, new) = world.create("new");
    let buffer = world.pool.buffer(&world.mount, &vec![2; MIB]);
    let (send, answers) = std::sync::mpsc::channel();
    let writing = world.mount.clone().write(new, 0, buffer, false);
    world
        .mount
        .executor()
        .run(0, writing, move |result| send.send(result).unwrap());
    assert!(
        answers
            .recv_timeout(std::time::Duration::from_millis(30))
            .is_err()
    );
    world.pool.node().clean_lazily(false);
    assert_eq!(
        answers.recv_timeout(std::time::Duration::from_secs(20)).unwrap(),
        Ok(MIB)
    );
}

#[test]
fn renaming_over_an_open_file_leaves_both_handles_their_own_bytes() {
    let world = world(1 << 20);
    let (_, a) = world.create("a");
    let (_, b) = world.create("b");
    world.write(a, 0, b"from a").unwrap();
    world.write(b, 0, b"from b").unwrap();
    let renaming = world.mount.clone().rename(
        Credentials::root(),
        (InodeId::ROOT, b"a".to_vec()),
        (InodeId::ROOT, b"b".to_vec()),
        rdmafs_meta::wire::RenameMode::Replace,
    );
    world.pool.run(renaming).unwrap();
    assert_eq!(world.read(a, 0, 10).unwrap(), b"from a");
    assert_eq!(world.read(b, 0, 10).unwrap(), b"from b");
    world.release(a);
    let found = world.pool.run(
        world
            .mount
            .clone()
            .lookup(Credentials::root(), InodeId::ROOT, b"b".to_vec()),
    );
    assert_eq!(found.unwrap().attr.size, 6);
}

#[test]
fn limits_and_bad_handles_are_refused() {
    let world = world(1 << 20);
    let (ino, file) = world.create("f");
    let end = u64::try_from(i64::MAX).unwrap();
    assert_eq!(world.write(file, end, b"x"), Err(MetaError::TooBig.into()));
    assert_eq!(world.write(file, u64::MAX, b"x"), Err(MetaError::TooBig.into()));
    assert_eq!(world.write(file, end - 1, b"x"), Ok(1));
    assert_eq!(world.read(file, end - 1, 5).unwrap(), b"x");
    assert!(world.read(file, u64::MAX, 5).unwrap().is_empty());
    let reader = world.open(ino, OpenMode { write: false, ..RW }).unwrap();
    assert_eq!(world.write(reader, 0, b"x"), Err(Error::BadHandle));
    let writer = world.open(ino, OpenMode { read: false, ..RW }).unwrap();
    assert_eq!(world.read(writer, 0, 1), Err(Error::BadHandle));
    world.release(writer);
    assert_eq!(world.read(writer, 0, 1), Err(Error::BadHandle));
    assert!(world.mount.try_buffer(0).is_none() && world.mount.try_buffer(MIB + 1).is_none());
}

#[test]
fn a_time_or_mode_set_after_a_write_survives_the_close() {
    let world = world(1 << 20);
    let (ino, file) = world.create("f");
    let buffer = world.pool.buffer(&world.mount, b"bytes");
    world
        .pool
        .run(world.mount.clone().write(file, 0, buffer, true))
        .unwrap();
    let time = rdmafs_meta::time::Timestamp {
        seconds: 1234,
        nanos: 5,
    };
    let change = SetAttr {
        mode: Some(0o4755),
        mtime: Some(rdmafs_meta::attr::SetTime::At(time)),
        ..SetAttr::default()
    };
    world.set(ino, change).unwrap();
    world.flush(file);
    world.release(file);
    let attr = world.attr(ino).unwrap();
    assert_eq!((attr.mode, attr.mtime, attr.size), (0o4755, time, 5));
    let file = world.open(ino, RW).unwrap();
    let buffer = world.pool.buffer(&world.mount, b"more");
    world
        .pool
        .run(world.mount.clone().write(file, 0, buffer, true))
        .unwrap();
    assert_eq!(
        world.attr(ino).unwrap().mode,
        0o755,
        "a write clears set-id bits at once"
    );
}

/// git notes what fstat(2) shows before it closes, and make compares the times of what several hosts wrote.
#[test]
fn times_are_of_the_nodes_clock_and_what_was_shown_after_a_write_stays() {
    let world = world(16 << 20);
    let (ino, file) = world.create("f");
    let made = world.attr(ino).unwrap();
    world.write(file, 0, b"x").unwrap();
    let shown = world.attr(ino).unwrap();
    assert!(shown.mtime >= made.ctime && shown.mtime == shown.ctime);
    let (_, other) = world.create("g");
    world.release(other);
    world.flush(file);
    let closed = world.attr(ino).unwrap();
    assert_eq!((closed.mtime, closed.ctime), (shown.mtime, shown.ctime));
    let near = |time: Timestamp| time.seconds.abs_diff(made.birth.seconds) < 60;
    assert!(near(closed.mtime), "of this host's clock: {:?}", closed.mtime);
}
