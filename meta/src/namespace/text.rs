//! Programs that change who runs them: while somebody may run one, nobody else changes its bytes, on whichever hosts they are. On one host the kernel sees
//! to that for every program (ETXTBSY, execve(2)); between hosts only these need it.

use super::service::Namespace;
use crate::id::{InodeId, SessionId};
use crate::permission::{SET_GID, SET_UID};
use crate::wire::OpenAccess;

impl Namespace {
    /// Whether the file gives rights to who runs it, and this session would open it to run it while another one may write it, or the other way round.
    pub(super) fn is_busy_text(&self, session: SessionId, ino: InodeId, access: OpenAccess) -> bool {
        let writes = access.write || access.truncate;
        if !writes && !access.execute {
            return false;
        }
        let Ok(inode) = self.tree.get(ino) else {
            return false;
        };
        let gives_rights = inode.attr.mode & (SET_UID | SET_GID) != 0 || !self.is_plain(ino);
        gives_rights
            && self
                .sessions
                .held_by_others(session, ino)
                .any(|open| access.execute && open.writable || writes && open.runs)
    }
}
