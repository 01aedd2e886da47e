//! Attributes: look at them, change mode, owner and times.

use crate::ops::action::{CALLERS, Mix};
use crate::ops::outcome::CHOSEN_TIME;
use crate::ops::path::{FilePath, path};
use rand::RngExt;
use rand::rngs::StdRng;

/// A system call on attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the arguments of the system calls of these names")]
pub enum Attributes {
    Stat {
        path: FilePath,
    },
    Chmod {
        path: FilePath,
        mode: u16,
    },
    Chown {
        path: FilePath,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    SetTime {
        path: FilePath,
        seconds: i64,
    },
}

impl Attributes {
    /// Every kind that the coverage tells apart.
    pub(super) const KINDS: &[&str] = &["stat", "chmod", "chown", "set time"];

    pub(super) fn random(rng: &mut StdRng, mix: Mix) -> Self {
        match rng.random_range(0..15) {
            0..=7 => Attributes::Stat { path: path(rng) },
            8..=10 => Attributes::Chmod {
                path: path(rng),
                mode: random_mode(rng, mix),
            },
            11..=12 => random_chown(rng),
            _ => Attributes::SetTime {
                path: path(rng),
                seconds: CHOSEN_TIME + rng.random_range(0..1000),
            },
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Attributes::Stat { .. } => "stat",
            Attributes::Chmod { .. } => "chmod",
            Attributes::Chown { .. } => "chown",
            Attributes::SetTime { .. } => "set time",
        }
    }
}

/// Set-gid on files comes with group execute only: without it the bit means mandatory locking, and kernels differ.
fn random_mode(rng: &mut StdRng, mix: Mix) -> u16 {
    let modes = [
        0o644, 0o666, 0o600, 0o000, 0o755, 0o777, 0o700, 0o770, 0o711, 0o4755, 0o6777, 0o2775, 0o1777,
    ];
    let known = if mix.protected {
        modes.len()
    } else {
        modes.len() - 1
    };
    modes[rng.random_range(0..known)]
}

fn random_chown(rng: &mut StdRng) -> Attributes {
    let (uid, gid) = CALLERS[rng.random_range(0..CALLERS.len())];
    let which = rng.random_range(0..3);
    Attributes::Chown {
        path: path(rng),
        uid: (which != 0).then_some(uid),
        gid: (which != 1).then_some(gid),
    }
}
