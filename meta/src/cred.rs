//! Who asks.

use serde::{Deserialize, Serialize};

/// The identity that a request is judged by: the file-system uid and gid of the calling task and
/// its supplementary groups (`/proc/PID/status`). Capabilities are not carried over FUSE, so uid 0
/// stands for all of them and nothing else does.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Credentials {
    /// File-system uid.
    pub uid: u32,
    /// File-system gid.
    pub gid: u32,
    /// Supplementary groups, at most 65,536 (NGROUPS_MAX).
    pub groups: Vec<u32>,
    /// The kernel of the caller's host has judged the call, and knew more of the caller than uid and gid say (an idmapped mount, ADR 0018): the
    /// service refuses nothing for who asks. What is made belongs to uid and gid.
    pub kernel_decides: bool,
    /// The caller's umask, 0 to 0o777, where something is made: it is taken from the mode unless the directory has a default ACL. Crosses the wire behind the
    /// call (version 6).
    #[serde(skip)]
    pub umask: u16,
    /// The handler cannot see which groups the caller has beside `gid`, and a kernel that does has judged the call: what membership of any group might give
    /// is not refused. Crosses the wire behind the call (version 6).
    #[serde(skip)]
    pub groups_unseen: bool,
}

impl Credentials {
    /// A caller whom the service judges.
    #[must_use]
    pub fn new(uid: u32, gid: u32, groups: Vec<u32>) -> Self {
        Self {
            uid,
            gid,
            groups,
            kernel_decides: false,
            umask: 0,
            groups_unseen: false,
        }
    }

    /// The superuser: what the handler itself acts as.
    #[must_use]
    pub fn root() -> Self {
        Self::new(0, 0, Vec::new())
    }

    /// The same caller with this umask.
    #[must_use]
    pub fn with_umask(self, umask: u16) -> Self {
        Self { umask, ..self }
    }

    /// True when nothing is refused for who asks: root, and a caller whom a kernel has judged.
    #[must_use]
    pub fn may_do_all(&self) -> bool {
        self.uid == 0 || self.kernel_decides
    }

    /// True when a change of bytes by this caller leaves set-id bits: root's, who has CAP_FSETID. Of whoever a kernel has judged that is not known.
    #[must_use]
    pub fn keeps_set_id(&self) -> bool {
        self.uid == 0 && !self.kernel_decides
    }

    /// True when `gid` is the caller's group or one of the supplementary ones.
    #[must_use]
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}
