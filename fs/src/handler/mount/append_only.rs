//! What the kernel would see to if it knew of inode flags.
//!
//! A write and a store through a mapping ask the service nothing: what may be opened to append only must be held to that here, because
//! the kernel of a FUSE mount takes O_APPEND off a descriptor (fcntl(2)) and maps it for writing.

use super::open_file::OpenFile;
use super::state::Mount;
use super::types::WriteMode;
use crate::errno::Error;
use rdmafs_meta::error::MetaError;

impl Mount {
    /// What may be written through a file that was opened when its inode was append-only.
    ///
    /// # Errors
    /// EPERM for anything but appending. Pages of the kernel may be those of another file that was opened before, which may be stored to.
    pub(in crate::handler) fn check_appends(&self, file: &OpenFile, mode: WriteMode) -> Result<(), Error> {
        if !file.only_appends || mode.append {
            return Ok(());
        }
        let ino = file.inode().ino;
        if mode.write_back {
            let files = self.handles.read();
            let mut others = files.values().filter(|other| other.inode().ino == ino);
            if others.any(|other| other.mode.write && !other.only_appends) {
                return Ok(());
            }
            drop(files);
            // It would go on showing what was stored and is not there.
            self.drop_pages(ino);
        }
        Err(MetaError::Protected.into())
    }
}
