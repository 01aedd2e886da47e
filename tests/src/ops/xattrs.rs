//! Extended attributes: set, get, list and remove them.
//!
//! `security.capability` is not among the names: the kernel judges its bytes before any file system does.

use crate::ops::path::{FilePath, path};
use rand::RngExt;
use rand::rngs::StdRng;

/// The longest value of each name: together they are no more than an inode may have.
const NAMES: [(&str, usize); 7] = [
    ("user.a", 65_536),
    ("user.b", 20_000),
    ("trusted.t", 20_000),
    ("security.s", 20_000),
    ("user.", 10),
    ("system.none", 10),
    ("strange.name", 10),
];

/// The first so many can be.
const SOUND: usize = 4;

/// A system call on extended attributes; none follows a symbolic link at the end of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the arguments of the system calls of these names")]
pub enum Xattrs {
    Set {
        path: FilePath,
        name: &'static str,
        value: Value,
        create: bool,
        replace: bool,
    },
    Get {
        path: FilePath,
        name: &'static str,
    },
    List {
        path: FilePath,
    },
    Remove {
        path: FilePath,
        name: &'static str,
    },
}

/// A value, by its length and what its bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// Bytes.
    pub len: usize,
    /// Tells values of one length apart.
    pub seed: u8,
}

impl Value {
    /// The bytes.
    #[must_use]
    pub fn bytes(self) -> Vec<u8> {
        let byte = |at: usize| u8::try_from(at % 251).unwrap_or(0).wrapping_add(self.seed);
        (0..self.len).map(byte).collect()
    }
}

impl Xattrs {
    /// Every kind that the coverage tells apart.
    pub(super) const KINDS: &[&str] = &["set xattr", "get xattr", "list xattrs", "remove xattr"];

    pub(super) fn random(rng: &mut StdRng) -> Self {
        let path = path(rng);
        let refused = rng.random_range(0..20) == 0;
        let (name, most) = NAMES[match refused {
            true => rng.random_range(SOUND..NAMES.len()),
            false => rng.random_range(0..SOUND),
        }];
        match rng.random_range(0..10) {
            0..=3 => {
                let len = match rng.random_range(0..6) {
                    0 => 0,
                    1 => most,
                    2 => rng.random_range(0..=most),
                    _ => rng.random_range(0..40).min(most),
                };
                let (create, replace) = (rng.random_bool(0.2), rng.random_bool(0.2));
                let seed = rng.random_range(0..=255);
                let value = Value { len, seed };
                Xattrs::Set {
                    path,
                    name,
                    value,
                    create,
                    replace,
                }
            }
            4..=6 => Xattrs::Get { path, name },
            7 => Xattrs::List { path },
            _ => Xattrs::Remove { path, name },
        }
    }

    /// Whether it hangs on a capability (CAP_SYS_ADMIN) that the system calls here keep, whoever they act as: they change the file-system
    /// ids of a thread only. What others may do with these names, 17-xattrs.sh compares.
    pub(super) fn is_for_root(&self) -> bool {
        match self {
            Xattrs::List { .. } => true,
            Xattrs::Set { name, .. } | Xattrs::Get { name, .. } | Xattrs::Remove { name, .. } => {
                name.starts_with("trusted.") || name.starts_with("security.")
            }
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Xattrs::Set { .. } => "set xattr",
            Xattrs::Get { .. } => "get xattr",
            Xattrs::List { .. } => "list xattrs",
            Xattrs::Remove { .. } => "remove xattr",
        }
    }
}
