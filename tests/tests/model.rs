//! The reference model against the kernel's own tmpfs, and the handler on the simulator against the model.
//!
//! `RDMAFS_MODEL_OPS` asks for more operations than the default, `RDMAFS_MODEL_SEED` for another first seed; a failure names
//! its seed.

use nix::errno::Errno;
use rdmafs_tests::coverage::Coverage;
use rdmafs_tests::fixture::set_mode;
use rdmafs_tests::model::Model;
use rdmafs_tests::ops::Mix;
use rdmafs_tests::posix::Posix;
use rdmafs_tests::replay;
use rdmafs_tests::simulated::Simulated;
use std::ops::Range;

/// Operations in one sequence: they start with an empty file system.
const LEN: u32 = 2000;

/// What a file system refuses with, each of which must have been seen.
const REFUSED: [Errno; 15] = [
    Errno::EACCES,
    Errno::EAGAIN,
    Errno::EBADF,
    Errno::EEXIST,
    Errno::EINVAL,
    Errno::EISDIR,
    Errno::ELOOP,
    Errno::ENAMETOOLONG,
    Errno::ENOENT,
    Errno::ENOTDIR,
    Errno::ENOTEMPTY,
    Errno::EPERM,
    Errno::ENODATA,
    Errno::EOPNOTSUPP,
    Errno::ENXIO,
];

/// The judge is judged first: what the model wants is what Linux does.
#[test]
fn the_model_agrees_with_tmpfs() {
    let (mounts, callers, protected, atomics) = (1, 4, false, true);
    let mix = Mix {
        mounts,
        callers,
        protected,
        atomics,
    };
    let mut coverage = Coverage::default();
    for seed in seeds(80_000) {
        replay::run(seed, LEN as usize, mix, |ops| {
            let dir = tempfile::tempdir_in("/dev/shm").unwrap();
            set_mode(dir.path(), 0o777);
            let mut model = Model::new(0o777);
            let mut tmpfs = Posix::new(vec![dir.path().to_owned()]);
            let other = |op: &_| coverage.counted(op, tmpfs.apply(op));
            replay::compare(ops, |op| model.apply(op), other)
        });
    }
    println!("{coverage}");
    coverage.require(10, &REFUSED);
}

/// 100,000 operations of four users through two mounts of one pool.
#[test]
fn the_handler_agrees_with_the_model() {
    let (mounts, callers, protected, atomics) = (2, 4, true, true);
    let mix = Mix {
        mounts,
        callers,
        protected,
        atomics,
    };
    let mut coverage = Coverage::default();
    let seeds = seeds(100_000);
    let wanted = (seeds.end - seeds.start) * u64::from(LEN);
    for seed in seeds {
        replay::run(seed, LEN as usize, mix, |ops| {
            let mut model = Model::new(0o777);
            let mut handler = Simulated::new(seed, mix.mounts, 0o777);
            let other = |op: &_| coverage.counted(op, handler.apply(op));
            replay::compare(ops, |op| model.apply(op), other)
        });
    }
    println!("{coverage}");
    assert_eq!(coverage.total(), wanted, "operations that were compared");
    coverage.require(10, &REFUSED);
}

/// Enough seeds for `least` operations, or for as many as were asked for.
fn seeds(least: u64) -> Range<u64> {
    let named = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(
            text.parse()
                .unwrap_or_else(|_| panic!("{name}={text} is no number")),
        )
    };
    let first: u64 = named("RDMAFS_MODEL_SEED").unwrap_or(0);
    let wanted = named("RDMAFS_MODEL_OPS").unwrap_or(0).max(least);
    first..first + wanted.div_ceil(LEN.into())
}
