//! What the handler asks, and what it is answered: one line of JSON each, over a pair of sockets of its own for each request.

use crate::mount::{Device, Identity, KernelFlags, MountPoint, NamespaceId, Standing};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Comes with a socket on which one request is asked.
pub(super) const REQUEST: u8 = b'?';
/// Comes with a socket on which threads are looked at: four bytes of a thread's number are answered by one byte.
pub(super) const LOOKS: u8 = b'l';

/// Names something that the mounter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Token(pub(super) u64);

/// A mount that counts as the handler's own: one of rdmafs, made by root, on this directory, and with this source and number where they are
/// said.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ours {
    /// `node:/pool`.
    pub source: Option<String>,
    /// The directory that it is on.
    pub dir: PathBuf,
    /// Its device number.
    pub device: Option<Device>,
}

impl Ours {
    /// Whether a line of the mount table is this.
    #[must_use]
    pub fn is(&self, mount: &MountPoint) -> bool {
        mount.is_ours
            && mount.dir == self.dir
            && self.source.as_ref().is_none_or(|source| *source == mount.source)
            && self.device.is_none_or(|device| device == mount.device)
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Finds a mount namespace and holds it.
    Find(NamespaceId),
    /// Holds it no more.
    Release(Token),
    /// What stands on a directory.
    Standing(Place),
    /// Holds the only dead mount that is left there.
    Cap(Place),
    /// Makes a mount that is not anywhere yet, holds it, and passes its open /dev/fuse.
    Make {
        namespace: Token,
        source: String,
        flags: KernelFlags,
    },
    /// Puts it in the place of a dead one.
    Put {
        namespace: Token,
        new: Token,
        cap: Token,
        dir: PathBuf,
    },
    /// Puts it on a directory in a mount of rdmafs.
    PutOn {
        namespace: Token,
        new: Token,
        within: Option<Token>,
        path: PathBuf,
        expected: Identity,
    },
    /// Detaches a dead mount.
    Uncover {
        namespace: Token,
        cap: Token,
        dir: PathBuf,
    },
    /// Detaches a dead mount that was covered.
    Detach {
        namespace: NamespaceId,
        dir: PathBuf,
        source: String,
        device: Device,
    },
    /// Who still has a mount that is on its directory no more.
    Copies {
        namespace: NamespaceId,
        dir: PathBuf,
        device: Device,
    },
    /// Ends a FUSE connection.
    Abort(Device),
    /// Whether a process lives in this pid namespace.
    SeesPids(u32),
}

/// A directory in a namespace, and what counts as the handler's own there.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    pub(super) namespace: Token,
    pub(super) dir: PathBuf,
    pub(super) ours: Vec<Ours>,
}

impl Place {
    pub(super) fn is_ours(&self, mount: &MountPoint) -> bool {
        self.ours.iter().any(|ours| ours.is(mount))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Reply {
    Done,
    /// It is not there.
    Nothing,
    Held {
        token: Token,
        /// Of a mount.
        device: Option<Device>,
    },
    Standing {
        standing: Standing,
        /// All mounts of rdmafs of root in that namespace.
        mounts: Vec<MountPoint>,
    },
    /// Beneath the dead one, or over it.
    Put {
        beneath: bool,
    },
    Lines(Vec<String>),
    Is(bool),
    /// Another thing stands where a cap was wanted.
    Stands(Standing),
    Failed {
        line: String,
        of_the_place: bool,
    },
}
