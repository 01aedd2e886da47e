//! All fuzz targets in one program: `RDMAFS_FUZZ_TARGET` names the one to run, the arguments are libFuzzer's.
//!
//! One program, because what is fuzzed is built once for all. The targets stand beside what they hold to account, in the
//! `fuzzing` module of each crate, which is there in tests and with `--cfg fuzzing` only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;

type Target = fn(&[u8]);

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("RDMAFS_FUZZ_TARGET").unwrap_or_default();
        let all = [
            rdmafs_meta::fuzzing::TARGETS,
            rdmafs_rdma::fuzzing::TARGETS,
            rdmafs_fs::fuzzing::TARGETS,
            rdmafs_mount_tool::fuzzing::TARGETS,
        ];
        let found = all.into_iter().flatten().find(|(known, _)| *known == name);
        let Some((_, target)) = found else {
            panic!("RDMAFS_FUZZ_TARGET names no target: '{name}'");
        };
        let _ = TARGET.set(*target);
    },
    |bytes: &[u8]| {
        if let Some(target) = TARGET.get() {
            target(bytes);
        }
    }
);
