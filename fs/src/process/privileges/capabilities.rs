//! The capabilities of the daemons: the only list, each with its reason.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// Which daemon a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A memory node.
    Node {
        /// It listens on a port below 1024.
        low_port: bool,
    },
    /// The handler of a host.
    Handler {
        /// `/proc` hides callers from who may not trace them.
        hidden_tasks: bool,
    },
    /// The process that mounts for it.
    Mounter,
}

/// What is kept for which reason.
type Kept = &'static [(CapabilitySet, &'static str, &'static str)];

const LOCKED: (CapabilitySet, &str, &str) = (
    CapabilitySet::IPC_LOCK,
    "CAP_IPC_LOCK",
    "memory that is allocated later is locked as well, and memory of RDMA pinned, whatever RLIMIT_MEMLOCK a container has",
);

const NODE: Kept = &[LOCKED];

const NODE_ON_LOW_PORT: Kept = &[
    LOCKED,
    (
        CapabilitySet::NET_BIND_SERVICE,
        "CAP_NET_BIND_SERVICE",
        "--listen names a port below 1024",
    ),
];

const HANDLER: Kept = &[LOCKED];

const HANDLER_BEHIND_HIDEPID: Kept = &[
    LOCKED,
    (
        CapabilitySet::SYS_PTRACE,
        "CAP_SYS_PTRACE",
        "/proc is mounted with hidepid= and gid=: callers' groups, and whether they are being killed, cannot be seen without",
    ),
];

const MOUNTER: Kept = &[
    (
        CapabilitySet::SYS_ADMIN,
        "CAP_SYS_ADMIN",
        "mounts of a handler that ended are taken over, in the mount namespaces that they are in; FUSE connections are ended",
    ),
    (
        CapabilitySet::SYS_CHROOT,
        "CAP_SYS_CHROOT",
        "setns(2) into a mount namespace",
    ),
    (
        CapabilitySet::SYS_PTRACE,
        "CAP_SYS_PTRACE",
        "of other users' processes in /proc: their namespaces, to find one again and to see whether a caller's ids are of this one; and by which call a caller asks for a lock",
    ),
    (
        CapabilitySet::DAC_READ_SEARCH,
        "CAP_DAC_READ_SEARCH",
        "the way to a directory of another user's that root has mounted on",
    ),
];

impl Role {
    /// What the daemon keeps.
    pub(super) fn kept(self) -> Kept {
        match self {
            Self::Node { low_port: false } => NODE,
            Self::Node { low_port: true } => NODE_ON_LOW_PORT,
            Self::Handler { hidden_tasks: false } => HANDLER,
            Self::Handler { hidden_tasks: true } => HANDLER_BEHIND_HIDEPID,
            Self::Mounter => MOUNTER,
        }
    }

    /// The same as a set.
    pub(super) fn set(self) -> CapabilitySet {
        self.kept()
            .iter()
            .fold(CapabilitySet::empty(), |set, (one, _, _)| set | *one)
    }
}

/// The calling thread, and those it starts from now on, keep what the role has and had before: permitted, effective and bounding alike, nothing
/// ambient or inheritable.
///
/// # Errors
/// The system refused it; the bounding set needs CAP_SETPCAP, and is left where the process has no capability at all.
pub(super) fn keep_only(role: Role) -> rustix::io::Result<()> {
    let before = capabilities(None)?;
    if !before.permitted.is_empty() {
        shrink_bounding_set(role.set())?;
        clear_ambient_capability_set()?;
    }
    let kept = before.permitted & role.set();
    set_capabilities(
        None,
        CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        },
    )
}

fn shrink_bounding_set(to: CapabilitySet) -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << number);
        if to.contains(one) {
            continue;
        }
        match remove_capability_from_bounding_set(one) {
            Ok(()) => {}
            // After the last one that this kernel knows.
            Err(Errno::INVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
