//! The first bytes of a new file: space that it is given when it is made, before anybody knows what will be written.
//!
//! While only the session that made the file has had it open, nobody else can have written there: what that session did not write it gives back,
//! so that a sparse file takes no more than was written.

use super::service::Namespace;
use super::space::AMPLE;
use super::step::Step;
use crate::error::MetaError;
use crate::id::{InodeId, SessionId};
use crate::wire::Answer;

impl Namespace {
    /// Gives a file that this session has just made its first bytes, where the pool has ample space.
    pub(super) fn give_room(&mut self, session: SessionId, ino: InodeId, len: u64) -> Result<(), MetaError> {
        if len == 0 || self.alloc.free_bytes() / AMPLE <= len {
            return Ok(());
        }
        self.rooms.insert(ino, session);
        self.fill(ino, 0, len).map(|_| ())
    }

    /// A session opens the file.
    pub(super) fn shares_room(&mut self, session: SessionId, ino: InodeId) {
        if self.rooms.get(&ino).is_some_and(|maker| *maker != session) {
            self.rooms.remove(&ino);
        }
    }

    /// Takes back what its maker did not write to. Where others may have written, or it has a size, it stays.
    pub(super) fn take_room_back(&mut self, step: &mut Step<'_>, ino: InodeId) -> Answer {
        let makes = self.rooms.get(&ino) == Some(&step.session);
        if makes {
            self.rooms.remove(&ino);
        }
        if makes && self.tree.get(ino)?.attr.size == 0 {
            let extents = self.free(ino, 0, u64::MAX, step.out)?;
            if !extents.is_empty() {
                self.recall(ino, 0, extents, step.out)?;
            }
        }
        self.attr(ino)
    }
}
