//! The same random system calls, by root and other users, on a directory of tmpfs and on a real mount: results, errnos, stat
//! fields, listings and bytes must be the same.

use rdmafs_tests::fixture::{Fixture, set_mode};
use rdmafs_tests::ops::{Action, Attributes, Bytes, CALLERS, FilePath, How, Mix, Names, Op};
use rdmafs_tests::posix::Posix;
use rdmafs_tests::replay;
use std::cell::Cell;
use std::path::PathBuf;

const LEN: usize = 1500;

fn differ(fabric: &str, caches: &[&str], seeds: std::ops::Range<u64>) {
    let fixture = Fixture::new("256M", fabric, caches);
    let (mounts, callers, protected) = (caches.len(), CALLERS.len(), true);
    let atomics = caches.iter().all(|cache| *cache == "none");
    let mix = Mix {
        mounts,
        callers,
        protected,
        atomics,
    };
    let run = Cell::new(0);
    for seed in seeds {
        replay::run(seed, LEN, mix, |ops| {
            run.set(run.get() + 1);
            let fresh = format!("run-{}", run.get());
            let reference = tempfile::tempdir_in("/dev/shm").expect("a directory of tmpfs");
            set_mode(reference.path(), 0o777);
            std::fs::create_dir(fixture.mounts()[0].join(&fresh)).expect("a directory of the mount");
            set_mode(&fixture.mounts()[0].join(&fresh), 0o777);
            let roots: Vec<PathBuf> = fixture.mounts().iter().map(|mount| mount.join(&fresh)).collect();
            let mut tmpfs = Posix::new(vec![reference.path().to_owned(); roots.len()]);
            let mut mounted = Posix::on_rdmafs(roots.clone());
            let all: Vec<Op> = ops.iter().cloned().chain(look_at_everything()).collect();
            let end = replay::compare(&all, |op| tmpfs.apply(op), |op| mounted.apply(op));
            drop(mounted);
            std::fs::remove_dir_all(&roots[0]).expect("its removal");
            end
        });
    }
}

/// After the random operations: every name that there may be, listed, looked at and read.
fn look_at_everything() -> Vec<Op> {
    let names: [&'static [u8]; 6] = [b"a", b"b", b"c", b"d", b"e", b"\xff odd\n"];
    let one = names.iter().map(|name| vec![*name]);
    let two = names
        .iter()
        .flat_map(|first| names.map(|second| vec![*first, second]));
    let paths = one.chain(two).map(FilePath);
    let (read, len) = (true, 200_000);
    let (write, append, truncate, create, exclusive, mode) = (false, false, false, false, false, 0);
    let how = How {
        read,
        write,
        append,
        truncate,
        create,
        exclusive,
        mode,
    };
    let all = paths.flat_map(|path| {
        [
            Action::Attributes(Attributes::Stat { path: path.clone() }),
            Action::Names(Names::List { path: path.clone() }),
            Action::Names(Names::ReadLink { path: path.clone() }),
            Action::Bytes(Bytes::Close { slot: 0 }),
            Action::Bytes(Bytes::Open { slot: 0, path, how }),
            Action::Bytes(Bytes::Read { slot: 0, at: 0, len }),
        ]
    });
    let (caller, mount) = (0, 0);
    all.map(|action| Op {
        caller,
        mount,
        action,
    })
    .collect()
}

#[test]
fn shm_without_cache() {
    differ("shm", &["none"], 0..6);
}

#[test]
fn shm_with_cache() {
    differ("shm", &["auto"], 10..16);
}

#[test]
fn tcp_without_cache() {
    differ("tcp", &["none"], 20..26);
}

#[test]
fn tcp_with_cache() {
    differ("tcp", &["auto"], 30..36);
}
