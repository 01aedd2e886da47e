//! Space of ranges and copies at the node, through one handler and through two.

use super::world::{RW, World, pattern, world};
use crate::errno::Error;
use crate::handler::{FilePlace, HandleId, OpenMode, SpaceChange};
use crate::options::CacheMode;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const MIB: usize = 1 << 20;
const ALLOCATE: SpaceChange = SpaceChange::Allocate { keep_size: false };
const ZERO: SpaceChange = SpaceChange::Zero { keep_size: false };

impl World {
    fn change(&self, file: HandleId, offset: u64, len: u64, change: SpaceChange) -> Result<(), Error> {
        let changing = self
            .mount
            .clone()
            .fallocate(Credentials::root(), file, (offset, len), change);
        self.pool.run(changing)
    }

    fn copy(&self, from: (HandleId, u64), to: (HandleId, u64), len: u64) -> Result<usize, Error> {
        let place = |(handle, offset)| FilePlace { handle, offset };
        let copying = self
            .mount
            .clone()
            .copy(Credentials::root(), place(from), place(to), len);
        self.pool.run(copying)
    }

    fn seek(&self, file: HandleId, offset: u64, hole: bool) -> Result<u64, Error> {
        self.pool.run(self.mount.clone().seek(file, offset, hole))
    }

    fn all(&self, file: HandleId) -> Vec<u8> {
        self.read(file, 0, MIB).unwrap()
    }
}

#[test]
fn a_range_is_zeroed_punched_and_filled() {
    let w = world(4 << 20);
    let (ino, file) = w.create("f");
    let mut model = pattern(100_000, 1);
    w.write(file, 0, &model).unwrap();
    // Known here as space before, and as a hole afterwards.
    w.change(file, 5000, 20_000, SpaceChange::Punch).unwrap();
    model[5000..25_000].fill(0);
    assert!(w.all(file) == model);
    let attr = w.attr(ino).unwrap();
    assert_eq!((attr.size, attr.allocated), (100_000, 102_400 - 16_384));
    w.write(file, 9000, &pattern(300, 3)).unwrap();
    model[9000..9300].copy_from_slice(&pattern(300, 3));
    assert!(w.all(file) == model);
    w.change(file, 9100, 91_000, ZERO).unwrap();
    model.resize(100_100, 0);
    model[9100..].fill(0);
    assert!(w.all(file) == model);
    w.change(file, 0, 300_000, SpaceChange::Allocate { keep_size: true })
        .unwrap();
    let attr = w.attr(ino).unwrap();
    assert_eq!((attr.size, attr.allocated), (100_100, 303_104));
    w.change(file, 0, 300_000, ALLOCATE).unwrap();
    model.resize(300_000, 0);
    assert!(w.all(file) == model);
}

#[test]
fn what_is_not_committed_counts() {
    let w = world(4 << 20);
    let (ino, file) = w.create("f");
    let (_, other) = w.create("g");
    w.truncate(ino, 50_000);
    w.write(file, 60_000, &[1; 10]).unwrap();
    assert_eq!(w.seek(file, 0, false), Ok(57_344));
    assert_eq!(w.seek(file, 57_344, true), Ok(60_010));
    assert_eq!(w.seek(file, 60_010, true), Err(Error::NoSuchPlace));
    w.write(file, 70_000, &[2; 10]).unwrap();
    assert_eq!(w.copy((file, 0), (other, 0), 1 << 40), Ok(70_010));
    assert!(w.all(other) == w.all(file));
}

#[test]
fn what_was_known_as_a_hole_has_bytes_after_a_copy() {
    let a = world(4 << 20);
    let b = a.elsewhere();
    let (from, source) = a.create("f");
    let (to, target) = a.create("g");
    a.write(source, 0, &pattern(50_000, 1)).unwrap();
    a.truncate(to, 100_000);
    let theirs = b.open(to, RW).unwrap();
    assert!(a.all(target) == vec![0; 100_000] && b.all(theirs) == vec![0; 100_000]);
    assert_eq!(a.copy((source, 100), (target, 5000), 40_000), Ok(40_000));
    let mut wanted = vec![0; 100_000];
    wanted[5000..45_000].copy_from_slice(&pattern(50_000, 1)[100..40_100]);
    assert!(a.all(target) == wanted);
    let kernel_cache = (0..200).any(|_| {
        b.pool.run(b.mount.executor().sleep(Duration::from_millis(5)));
        b.all(theirs) == wanted
    });
    assert!(kernel_cache);
    // The same for space that was given: the other host writes there, and nobody is told of that.
    a.change(target, 60_000, 20_000, ALLOCATE).unwrap();
    b.write(theirs, 65_000, &[9; 10]).unwrap();
    assert_eq!(a.read(target, 65_000, 10).unwrap(), [9; 10]);
    let _ = from;
}

#[test]
fn what_makes_no_sense_is_refused() {
    let w = world(MIB as u64);
    let (ino, file) = w.create("f");
    w.write(file, 0, &pattern(10_000, 1)).unwrap();
    let reader = w.open(ino, OpenMode { write: false, ..RW }).unwrap();
    let appender = w.open(ino, OpenMode { append: true, ..RW }).unwrap();
    let writer = w.open(ino, OpenMode { read: false, ..RW }).unwrap();
    let largest = i64::MAX as u64;
    let too_big = Err(MetaError::TooBig.into());
    assert_eq!(w.change(reader, 0, 1, ZERO), Err(Error::BadHandle));
    assert_eq!(w.change(file, 0, 0, ZERO), Err(MetaError::Invalid.into()));
    assert_eq!(w.change(file, largest, 1, ALLOCATE), too_big);
    assert_eq!(w.change(file, u64::MAX, u64::MAX, SpaceChange::Punch), too_big);
    assert_eq!(
        w.change(file, 0, largest, ALLOCATE),
        Err(MetaError::NoSpace.into())
    );
    assert_eq!(w.change(file, 0, largest, SpaceChange::Punch), Ok(()));
    w.write(file, 0, &pattern(10_000, 1)).unwrap();
    assert_eq!(w.copy((writer, 0), (file, 20_000), 5), Err(Error::BadHandle));
    assert_eq!(w.copy((file, 0), (reader, 20_000), 5), Err(Error::BadHandle));
    assert_eq!(w.copy((file, 0), (appender, 20_000), 5), Err(Error::BadHandle));
    assert_eq!(w.copy((file, 0), (reader, 20_000), 5), Err(Error::BadHandle));
    assert_eq!(
        w.copy((file, 0), (file, 100), 101),
        Err(MetaError::Invalid.into())
    );
    assert_eq!(w.copy((file, 10_000), (file, 0), 5), Ok(0));
    assert_eq!(
        w.copy((file, 0), (file, largest - 4), 5),
        Err(MetaError::TooBig.into())
    );
    assert_eq!(w.copy((file, 0), (file, 20_000), 10_000), Ok(10_000));
    assert_eq!(w.seek(file, u64::MAX, false), Err(Error::NoSuchPlace));
}

#[test]
fn a_full_pool_refuses_before_it_takes_and_a_copy_says_how_far_it_came() {
    let w = world(16 << 20);
    let (ino, file) = w.create("f");
    let (_, other) = w.create("g");
    w.change(file, 0, 10 << 20, ALLOCATE).unwrap();
    assert_eq!(
        w.change(other, 0, 7 << 20, ALLOCATE),
        Err(MetaError::NoSpace.into())
    );
    assert_eq!(w.copy((file, 0), (other, 0), 10 << 20), Ok(6 << 20));
    assert_eq!(
        w.copy((file, 6 << 20), (other, 6 << 20), 1 << 20),
        Err(MetaError::NoSpace.into())
    );
    // Zeroing takes nothing where there is space already; what is punched can be had again.
    w.change(file, 0, 10 << 20, ZERO).unwrap();
    w.change(file, 0, 4 << 20, SpaceChange::Punch).unwrap();
    assert_eq!(w.copy((file, 6 << 20), (other, 6 << 20), 4 << 20), Ok(4 << 20));
    assert_eq!(w.attr(ino).unwrap().allocated, 6 << 20);
}

#[test]
fn a_caller_who_may_not_keep_set_id_bits_clears_them() {
    let w = world(MIB as u64);
    let (ino, file) = w.create("f");
    w.write(file, 0, &[1; 100]).unwrap();
    let mode = SetAttr {
        mode: Some(0o6777),
        ..SetAttr::default()
    };
    w.set(ino, mode).unwrap();
    w.change(file, 0, 10, ZERO).unwrap();
    assert_eq!(w.attr(ino).unwrap().mode, 0o6777);
    let user = Credentials::new(7, 7, vec![]);
    let punching = w.mount.clone().fallocate(user, file, (0, 10), SpaceChange::Punch);
    w.pool.run(punching).unwrap();
    assert_eq!(w.attr(ino).unwrap().mode, 0o777);
}

#[test]
fn the_other_mounts_of_the_host_hear_of_it() {
    let a = world(4 << 20);
    let b = a.beside(CacheMode::Auto);
    let (ino, file) = a.create("f");
    a.write(file, 0, &pattern(10_000, 1)).unwrap();
    let theirs = b.open(ino, RW).unwrap();
    assert!(b.all(theirs) == pattern(10_000, 1));
    a.change(file, 0, 5000, SpaceChange::Punch).unwrap();
    assert!(!b.mount.kernel_cache.lock().changed(ino), "it was told already");
    assert_eq!(b.read(theirs, 4990, 10).unwrap(), [0; 10]);
}

/// Says that a thread has ended, however it did.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Both hosts write at full speed to what one of them punches, zeroes and copies while another file takes the space that this frees:
/// every byte that is ever read is zero or one of this file's.
#[test]
fn punching_and_copying_under_load_never_shows_or_harms_another_file() {
    let a = world(4 << 20);
    let b = a.elsewhere();
    let (ino, file) = a.create("f");
    let (_, second) = a.create("g");
    let (noise_ino, noise) = b.create("noise");
    let theirs = b.open(ino, RW).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ends = Ends(&stop);
            for round in 0..300_u64 {
                a.write(file, (round % 7) * 40_000, &[1; 90_000]).unwrap();
                a.copy((file, (round % 5) * 4096), (second, (round % 3) * 5000), 200_000)
                    .unwrap();
                assert!(a.all(second).iter().all(|byte| *byte <= 1), "round {round}");
                a.change(second, 0, 300_000, SpaceChange::Punch).unwrap();
            }
        });
        scope.spawn(|| {
            let mut round = 0_u64;
            while !stop.load(Ordering::SeqCst) {
                round += 1;
                b.write(theirs, (round % 11) * 20_000, &[1; 30_000]).unwrap();
                b.change(theirs, (round % 13) * 9000, 70_000, SpaceChange::Punch)
                    .unwrap();
                if round.is_multiple_of(5) {
                    b.truncate(ino, 10_000);
                }
                b.write(noise, 0, &[2; 300_000]).unwrap();
                assert!(b.all(noise).iter().all(|byte| *byte == 2), "round {round}");
                b.truncate(noise_ino, 0);
            }
        });
    });
    a.flush(file);
    a.pool.node().check().unwrap();
}

/// Copies in opposite directions, and truncates of both files that wait for them.
#[test]
fn opposite_copies_end() {
    let w = world(8 << 20);
    let (one, first) = w.create("f");
    let (two, second) = w.create("g");
    w.write(first, 0, &[1; 100_000]).unwrap();
    w.write(second, 0, &[1; 100_000]).unwrap();
    let copies = |from, to| {
        for _ in 0..100 {
            w.copy((from, 0), (to, 1000), 50_000).unwrap();
        }
    };
    let cuts = |ino: InodeId| {
        for _ in 0..50 {
            w.truncate(ino, 60_000);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| copies(first, second));
        scope.spawn(|| copies(second, first));
        scope.spawn(|| cuts(one));
        scope.spawn(|| cuts(two));
    });
    w.pool.node().check().unwrap();
}
