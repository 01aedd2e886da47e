//! Making and keeping FUSE mounts.
//!
//! mount(2) is called by the mount helper, in the caller's mount namespace; the open /dev/fuse then goes to the handler.

use std::os::fd::OwnedFd;
use std::path::Path;

/// What the kernel is told at mount(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of mount(8)")]
pub struct KernelFlags {
    pub read_only: bool,
    pub suid: bool,
    pub dev: bool,
    pub noexec: bool,
    pub noatime: bool,
    pub nodiratime: bool,
    pub relatime: bool,
    pub strictatime: bool,
    pub sync: bool,
    pub dirsync: bool,
}

/// Opens /dev/fuse and mounts it on `dir` as `fuse.rdmafs` with `allow_other,default_permissions`, and nosuid and nodev unless
/// the flags say otherwise.
///
/// # Errors
/// One line: what failed and how to mend it.
#[allow(unused_variables, clippy::todo, reason = "skeleton")]
pub fn attach(source: &str, dir: &Path, flags: KernelFlags) -> Result<OwnedFd, String> {
    todo!()
}

/// Unmounts again, after a failed set-up.
#[allow(unused_variables, clippy::todo, reason = "skeleton")]
pub fn detach(dir: &Path) {
    todo!()
}
