//! The space that a new file is given for its first bytes before anybody has written them: what a first write elsewhere leaves unused goes
//! back, so that a sparse file has no more than what was written.

use super::inode::Inode;
use super::table::Files;
use crate::handler::values::ChangedBy;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::wire::Request;

/// What a new file is given: a file of up to this size is written without asking where to.
pub(in crate::handler) const FIRST_ROOM: u32 = 4096;

impl Files {
    /// A write begins at `offset`: gives the room back if that is past it. To be called by who has none of the inode's locks.
    pub(in crate::handler) async fn use_room(&self, inode: &Inode, by: ChangedBy, offset: u64) {
        match inode.room() {
            0 => {}
            room if offset >= room => {
                let _alone = inode.data.write().await;
                self.give_room_back(inode, by).await;
            }
            // Before anything is written: who takes the room back has the file alone.
            _ => {
                let _shared = inode.data.read().await;
                inode.has_room(0);
            }
        }
    }

    /// The file gets a size, or bytes elsewhere. To be called by who has `data` alone. A room that cannot be given back stays part of the
    /// file, as zeros.
    pub(in crate::handler) async fn give_room_back(&self, inode: &Inode, by: ChangedBy) {
        if inode.room() == 0 {
            return;
        }
        inode.has_room(0);
        // Should the caller be killed on the way, or the answer be late, the service may still do it: who writes there asks where to, and is
        // answered after that.
        inode.forget_layout();
        let request = Request::TakeRoomBack { ino: inode.ino };
        match self.call_for_attr(by.context(Credentials::root()), request).await {
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(ino = %inode.ino, "the first bytes of a file keep their space: {error}")
            }
        }
    }
}
