//! An operation of any theme, by somebody, through one of the mounts.

use crate::ops::atomics::Atomics;
use crate::ops::attributes::Attributes;
use crate::ops::bytes::Bytes;
use crate::ops::locks::Locks;
use crate::ops::names::Names;
use crate::ops::outcome::Outcome;
use crate::ops::space::Space;
use crate::ops::xattrs::Xattrs;
use rand::RngExt;
use rand::rngs::StdRng;

/// Open files that a sequence may have at a time.
pub const SLOTS: usize = 6;

/// Who acts: uid and gid, no other groups. The third shares the second's group.
pub const CALLERS: [(u32, u32); 4] = [(0, 0), (1001, 1001), (1002, 1001), (1003, 1003)];

/// A system call, by its theme.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "their names say it")]
pub enum Action {
    Names(Names),
    Attributes(Attributes),
    Bytes(Bytes),
    Space(Space),
    Xattrs(Xattrs),
    Locks(Locks),
    Atomics(Atomics),
}

/// A system call by somebody, through one of the mounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Index into [`CALLERS`].
    pub caller: usize,
    /// Which mount, where there are several of one pool. A slot stays with the mount that it was opened through.
    pub mount: usize,
    /// What.
    pub action: Action,
}

/// What a sequence may contain.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Mounts to spread operations over.
    pub mounts: usize,
    /// Callers are the first so many of [`CALLERS`].
    pub callers: usize,
    /// With what the kernel's `fs.protected_*` sysctls change: sticky directories, and hard links by others than root.
    pub protected: bool,
    /// With [`Atomics`]. Not on mounts that cache: there a read(2) need not see a change of a word (`docs/rdmafs.h`).
    pub atomics: bool,
}

/// The next random operation.
pub fn random(rng: &mut StdRng, mix: Mix) -> Op {
    let root = rng.random_bool(0.4);
    let caller = if root { 0 } else { rng.random_range(0..mix.callers) };
    let mount = rng.random_range(0..mix.mounts);
    let action = random_action(rng, mix);
    let tame = matches!(action, Action::Names(Names::Link { .. })) && !mix.protected;
    let privileged = matches!(&action, Action::Xattrs(xattrs) if xattrs.is_for_root());
    Op {
        caller: if tame || privileged { 0 } else { caller },
        mount,
        action,
    }
}

/// How often each theme comes.
fn random_action(rng: &mut StdRng, mix: Mix) -> Action {
    match rng.random_range(0..100) {
        0..=23 => Action::Names(Names::random(rng)),
        24..=38 => Action::Attributes(Attributes::random(rng, mix)),
        39..=45 => Action::Space(Space::random(rng)),
        46..=51 => Action::Xattrs(Xattrs::random(rng)),
        52..=64 => Action::Locks(Locks::random(rng)),
        65..=67 if mix.atomics => Action::Atomics(Atomics::random(rng)),
        _ => Action::Bytes(Bytes::random(rng)),
    }
}

/// What the kind of a later operation depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Observed {
    /// Which slots were opened to append.
    pub(super) appends: [bool; SLOTS],
}

impl Action {
    /// The kind of operation that this was, of all [`kinds`].
    pub fn kind(&self, outcome: &Outcome, observed: &mut Observed) -> &'static str {
        match self {
            Action::Names(names) => names.kind(),
            Action::Attributes(attributes) => attributes.kind(),
            Action::Bytes(bytes) => bytes.kind(outcome, observed),
            Action::Space(space) => space.kind(),
            Action::Xattrs(xattrs) => xattrs.kind(),
            Action::Locks(locks) => locks.kind(outcome),
            Action::Atomics(atomics) => atomics.kind(outcome),
        }
    }
}

/// Every kind that [`Action::kind`] tells apart.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    let themes = [
        Names::KINDS,
        Attributes::KINDS,
        Bytes::KINDS,
        Space::KINDS,
        Xattrs::KINDS,
        Locks::KINDS,
        Atomics::KINDS,
    ];
    themes.into_iter().flatten().copied()
}
