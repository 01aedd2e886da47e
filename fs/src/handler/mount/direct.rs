//! Bytes that are changed past the kernel's page cache, and the pages that it has of the file all the same: where a file that is opened
//! for direct I/O is mapped, too, or where the node changes bytes itself.
//!
//! The kernel writes back and drops the pages of the range before it asks for such a change, not after it. A fault in between brings an
//! old page in. So before the program has its answer the kernel is told to drop the range once more, which writes back what is dirty;
//! `PageOrder` (`fs::handler::file`) keeps those write-backs from undoing the change. The kernel takes only locks of pages for
//! that, and those are held by fills and write-backs alone, which never wait for a change that is done.

use super::open_file::OpenFile;
use super::put::{Put, Wanted};
use super::state::Mount;
use crate::errno::Error;
use crate::handler::file::{Inode, Takes, Turn};
use rdmafs_rdma::buffer::Buffer;

impl Mount {
    /// Writes pages that the kernel gives back, but for what was changed behind them. The kernel takes fewer bytes than it gave for all
    /// of them, so it is all or an error.
    pub(in crate::handler) async fn write_pages(
        &self,
        file: &OpenFile,
        wanted: &Wanted,
        data: Buffer,
    ) -> Result<(usize, Takes), Error> {
        let len = data.len();
        let turn = file.inode().pages.write_back(self.id, wanted.range()).await;
        let left = turn.left();
        if left == [wanted.range()] {
            return Ok((len, self.put_whole(file, wanted, data).await?));
        }
        // Rare. The parts go one after another through the same buffer: nobody waits for one while he has a turn.
        let bytes = data.to_vec();
        let mut spare = data.spare();
        drop(data);
        let mut takes = Takes::Nothing;
        for part in left {
            let from = usize::try_from(part.start - wanted.offset).unwrap_or(len);
            let to = usize::try_from(part.end - wanted.offset).unwrap_or(len);
            let gone = || Error::Down(self.client.connect.label());
            let mut buffer = spare.reclaim().ok_or_else(gone)?;
            spare = buffer.spare();
            if to - from < buffer.len() {
                drop(buffer.split_off(to - from));
            }
            buffer.copy_from_slice(&bytes[from..to]);
            match self.put_whole(file, &wanted.part(part), buffer).await? {
                Takes::Nothing => {}
                more => takes = more,
            }
        }
        Ok((len, takes))
    }

    async fn put_whole(&self, file: &OpenFile, wanted: &Wanted, data: Buffer) -> Result<Takes, Error> {
        let len = data.len();
        match self.put(file, wanted, data).await? {
            Put::Written(done, takes) if done == len => Ok(takes),
            Put::Written(..) | Put::CutOff(_) => Err(Error::Down(self.client.connect.label())),
        }
    }

    /// The first `len` bytes of a change are done. Ready when the kernel has no page without them.
    ///
    /// # Errors
    /// EIO: it did not drop them within the mount's timeout. What programs store to them meanwhile may undo the change.
    pub(in crate::handler) async fn drop_old_pages(
        &self,
        inode: &Inode,
        turn: Turn,
        len: u64,
    ) -> Result<(), Error> {
        let Some(range) = turn.done(len) else {
            return Ok(());
        };
        let dropped = self.notified(|done| {
            let done = move || {
                drop(turn);
                done();
            };
            self.drop_range(inode.ino, range, Box::new(done));
        });
        match dropped.await {
            true => Ok(()),
            false => Err(Error::Internal("the kernel does not drop old pages of a file")),
        }
    }
}
