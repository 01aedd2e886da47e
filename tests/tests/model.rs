//! The reference model against the kernel's own tmpfs, and the handler on the simulator against the model.

use rdmafs_tests::model::Model;
use rdmafs_tests::ops::Mix;
use rdmafs_tests::posix::Posix;
use rdmafs_tests::replay;
use rdmafs_tests::simulated::Simulated;

/// The judge is judged first: what the model wants is what Linux does.
#[test]
fn the_model_agrees_with_tmpfs() {
    let (mounts, callers, protected) = (1, 4, false);
    let mix = Mix {
        mounts,
        callers,
        protected,
    };
    for seed in 0..20 {
        replay::run(seed, 2000, mix, |ops| {
            let dir = tempfile::tempdir_in("/dev/shm").unwrap();
            set_mode(dir.path(), 0o777);
            let mut model = Model::new(0o777);
            let mut tmpfs = Posix::new(vec![dir.path().to_owned()]);
            replay::compare(ops, |op| model.apply(op), |op| tmpfs.apply(op))
        });
    }
}

/// 100,000 operations of four users through two mounts of one pool.
#[test]
fn the_handler_agrees_with_the_model() {
    let (mounts, callers, protected) = (2, 4, true);
    let mix = Mix {
        mounts,
        callers,
        protected,
    };
    for seed in 0..50 {
        replay::run(seed, 2000, mix, |ops| {
            let mut model = Model::new(0o777);
            let mut handler = Simulated::new(seed, mix.mounts, 0o777);
            replay::compare(ops, |op| model.apply(op), |op| handler.apply(op))
        });
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
