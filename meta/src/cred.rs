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
}

impl Credentials {
    /// The superuser: what the handler itself acts as.
    #[must_use]
    pub fn root() -> Self {
        Self {
            uid: 0,
            gid: 0,
            groups: Vec::new(),
        }
    }

    /// True when `gid` is the caller's group or one of the supplementary ones.
    #[must_use]
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}
