//! Set-id bits that a write takes away: they are gone before its bytes are there, and what another host sets meanwhile is gone before the write
//! is answered.
//!
//! A file is known to have none while its attributes are held by lease: whoever sets a bit has that recalled first, and a write that was done before is
//! older than the bit.

use super::inode::Inode;
use super::table::Files;
use crate::errno::Error;
use crate::handler::values::ChangedBy;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::permission::{self, has_set_id};
use rdmafs_meta::wire::Request;

impl Files {
    /// Whether the file may have set-id bits at this moment. Of a node that gives no leases the last answer counts.
    pub(in crate::handler) fn may_have_set_id(&self, inode: &Inode) -> bool {
        let mode = match self.client.leases.are_taken() {
            true => self.client.leases.mode(inode.ino),
            false => inode.attr().map(|attr| attr.mode),
        };
        mode.is_none_or(has_set_id)
    }

    /// Whether bytes that this caller changes may take set-id bits away. The kernel does not expect that of what is not a write, and would show the
    /// old mode for a second.
    pub(in crate::handler) fn may_clear_set_id(&self, caller: &Credentials, inode: &Inode) -> bool {
        !caller.keeps_set_id() && self.may_have_set_id(inode)
    }

    /// Takes set-id bits away before `writer`, who has no CAP_FSETID, writes. True when there were some. Blocks for a call or two where they are not
    /// known to be absent.
    ///
    /// # Errors
    /// As [`Files::call_for_attr`].
    pub(in crate::handler) async fn take_set_id(
        &self,
        inode: &Inode,
        by: ChangedBy,
        writer: &Credentials,
    ) -> Result<bool, Error> {
        if !self.may_have_set_id(inode) {
            return Ok(false);
        }
        let attr = self
            .attributes(by.context(Credentials::root()), inode.ino)
            .await?;
        if permission::without_set_id(writer, &attr) == attr.mode {
            return Ok(false);
        }
        let request = self.nothing_written(&attr);
        self.call_for_attr(by.context(writer.clone()), request).await?;
        Ok(true)
    }

    /// A commit of no bytes.
    fn nothing_written(&self, attr: &Attr) -> Request {
        Request::Commit {
            ino: attr.ino,
            size: 0,
            truncate_seq: attr.truncate_seq,
            mtime: self.client.node_clock.stamp(attr.ctime, self.client.clock.now()),
            clear_set_id: true,
            sync: false,
        }
    }
}
