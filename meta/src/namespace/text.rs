//! Programs that change who runs them: while somebody may run one, nobody else changes its bytes, on whichever hosts they are. On one host the kernel sees
//! to that for every program (ETXTBSY, execve(2)); between hosts only these need it.

use super::service::Namespace;
use crate::id::{InodeId, SessionId};
use crate::permission::has_set_id;
use crate::wire::OpenAccess;

impl Namespace {
    /// Whether this session would open the file to run it while another one may write it, and it gives rights to who runs it; or to write it while another
    /// one runs it, and it does or did when that began: whoever may write a file can take its bits away first.
    pub(super) fn is_busy_text(&self, session: SessionId, ino: InodeId, access: OpenAccess) -> bool {
        let writes = access.write || access.truncate;
        if !writes && !access.execute {
            return false;
        }
        let others = || self.sessions.held_by_others(session, ino);
        let ran_with_rights = writes && others().any(|open| open.ran_with_rights);
        let at_odds = || others().any(|open| access.execute && open.writable || writes && open.runs);
        ran_with_rights || at_odds() && self.gives_rights(ino)
    }

    /// Whether who runs the file may get other rights than his own.
    pub(super) fn gives_rights(&self, ino: InodeId) -> bool {
        let inode = self.tree.get(ino);
        inode.is_ok_and(|inode| has_set_id(inode.attr.mode)) || !self.is_plain(ino)
    }
}
