//! Names: make, remove, link, rename, list.

use crate::ops::path::{FilePath, path};
use rand::RngExt;
use rand::rngs::StdRng;

/// `renameat2(2)` flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the flags of renameat2(2)")]
pub enum Rename {
    Replace,
    NoReplace,
    Exchange,
    Whiteout,
}

/// A system call on names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the arguments of the system calls of these names")]
pub enum Names {
    MakeDir {
        path: FilePath,
        mode: u16,
    },
    RemoveDir {
        path: FilePath,
    },
    Unlink {
        path: FilePath,
    },
    Link {
        old: FilePath,
        new: FilePath,
    },
    Symlink {
        target: FilePath,
        path: FilePath,
    },
    ReadLink {
        path: FilePath,
    },
    Rename {
        old: FilePath,
        new: FilePath,
        how: Rename,
    },
    List {
        path: FilePath,
    },
}

impl Names {
    /// Every kind that the coverage tells apart.
    pub(super) const KINDS: &[&str] = &[
        "mkdir",
        "rmdir",
        "unlink",
        "link",
        "symlink",
        "readlink",
        "rename",
        "rename, no replace",
        "rename, exchange",
        "rename, whiteout",
        "list",
    ];

    pub(super) fn random(rng: &mut StdRng) -> Self {
        match rng.random_range(0..24) {
            0..=4 => Names::MakeDir {
                path: path(rng),
                mode: [0o755, 0o777, 0o700, 0o770][rng.random_range(0..4)],
            },
            5..=6 => Names::RemoveDir { path: path(rng) },
            7..=9 => Names::Unlink { path: path(rng) },
            10..=11 => Names::Link {
                old: path(rng),
                new: path(rng),
            },
            12..=13 => Names::Symlink {
                target: path(rng),
                path: path(rng),
            },
            14 => Names::ReadLink { path: path(rng) },
            15..=20 => Names::Rename {
                old: path(rng),
                new: path(rng),
                how: random_rename(rng),
            },
            _ => Names::List { path: path(rng) },
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Names::MakeDir { .. } => "mkdir",
            Names::RemoveDir { .. } => "rmdir",
            Names::Unlink { .. } => "unlink",
            Names::Link { .. } => "link",
            Names::Symlink { .. } => "symlink",
            Names::ReadLink { .. } => "readlink",
            Names::Rename { how, .. } => match how {
                Rename::Replace => "rename",
                Rename::NoReplace => "rename, no replace",
                Rename::Exchange => "rename, exchange",
                Rename::Whiteout => "rename, whiteout",
            },
            Names::List { .. } => "list",
        }
    }
}

fn random_rename(rng: &mut StdRng) -> Rename {
    match rng.random_range(0..10) {
        0 => Rename::NoReplace,
        1 => Rename::Exchange,
        2 => Rename::Whiteout,
        _ => Rename::Replace,
    }
}
