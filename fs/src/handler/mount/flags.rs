//! Inode flags: asking for them and setting them. The service judges by them whatever it is asked.

use super::state::Mount;
use super::types::HandleId;
use crate::errno::Error;
use crate::flags_ioctl::{self, IoctlRequest};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::flags::InodeFlags;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::wire::Request;
use std::sync::Arc;

impl Mount {
    /// An ioctl on an inode that is open: through a handle if it is a file.
    ///
    /// # Errors
    /// As [`Mount::ioctl`]. For inode flags the namespace's, EOPNOTSUPP for those that there are not, and EROFS.
    pub async fn ioctl_on(
        self: Arc<Self>,
        caller: Credentials,
        (ino, file): (InodeId, Option<HandleId>),
        command: u32,
        input: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let query = flags_ioctl::decode_request(command, &input).transpose()?;
        match (query, file) {
            (Some(IoctlRequest::Get { extended }), _) => {
                let flags = self.flags(ino).await?;
                Ok(flags_ioctl::answer(flags, extended))
            }
            (Some(IoctlRequest::Set(flags)), _) => {
                self.set_flags(caller, ino, flags).await.map(|()| Vec::new())
            }
            (None, Some(file)) => self.ioctl(caller, file, command, input).await,
            (None, None) => Err(Error::NoSuchIoctl),
        }
    }

    async fn flags(&self, ino: InodeId) -> Result<InodeFlags, Error> {
        Ok(self.files.attributes(self.itself(), ino).await?.flags)
    }

    async fn set_flags(&self, caller: Credentials, ino: InodeId, flags: InodeFlags) -> Result<(), Error> {
        self.writable()?;
        let request = Request::SetFlags { ino, flags };
        self.files.call_for_attr(self.context(caller), request).await?;
        // It does not know that the ctime has changed.
        self.kernel_forgets(ino).await;
        Ok(())
    }

    /// Why a copy is not done at the node: so that the kernel reads and writes instead, unless it may not.
    pub(in crate::handler) async fn refuses_copy(&self, target: InodeId) -> Error {
        match self.flags(target).await {
            Ok(flags) if flags.any(InodeFlags::IMMUTABLE) => MetaError::Protected.into(),
            Ok(_) => MetaError::Unsupported.into(),
            Err(error) => error,
        }
    }
}
