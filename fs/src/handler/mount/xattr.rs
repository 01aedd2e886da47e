//! Extended attributes.
//!
//! A value can be longer than a message. It comes in pages that carry the edition of the value, and is read anew when that changed; it goes
//! in two parts, of which the first waits in the session for the second.
//!
//! Short values, and lists of names, are held by lease, as far as they are the same for everybody. Who may read them is judged as the service would, by the attributes
//! that are held; where they say no, the service is asked. ACLs are held with the attributes.

use super::state::Mount;
use crate::errno::Error;
use crate::handler::client::{Extra, Known, LONGEST_HELD, OutgoingCall};
use rdmafs_meta::acl::Acls;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::permission;
use rdmafs_meta::wire::{MAX_XATTR_PART, Reply, Request, XattrMode};
use rdmafs_meta::xattr::{MAX_XATTR_VALUE, XattrName};
use std::sync::Arc;

/// How often a value is read anew because it changed between two pages.
const READINGS: u32 = 16;
/// How often a value is sent anew because its first part was gone.
const SENDINGS: u32 = 4;

/// What getxattr(2) and listxattr(2) give.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum XattrData {
    /// The number of bytes, for who brought no buffer.
    Size(u32),
    /// The bytes.
    Bytes(Vec<u8>),
}

impl Mount {
    /// getxattr(2). `room` is the length of the caller's buffer; 0 asks for the size.
    ///
    /// # Errors
    /// The namespace's; ERANGE when the buffer is too short, EOPNOTSUPP for names that are not offered.
    pub async fn getxattr(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        name: Vec<u8>,
        room: u32,
    ) -> Result<XattrData, Error> {
        let name = XattrName::new(name)?;
        if let Some(kind) = name.acl() {
            match self.acls(&caller, ino).await? {
                Acls::Unasked => {}
                acls => {
                    let acl = acls.get(kind).ok_or(MetaError::NoXattr)?;
                    return fitting(acl.encode(), room);
                }
            }
        }
        let inode = self.files.find(ino).filter(|_| name.is_capability());
        // The kernel asks before it changes bytes, and again whenever its attributes are a second old.
        if inode.as_ref().is_some_and(|inode| inode.is_plain()) {
            return Err(MetaError::NoXattr.into());
        }
        let may = |attr: &Attr| permission::read_xattr(&caller, attr, &name).is_ok();
        match self.client.leases.extra(ino, &Extra::Xattr(name.clone()), may) {
            Some(Known::Bytes(value)) => return fitting(value, room),
            Some(Known::Absent) => return Err(MetaError::NoXattr.into()),
            None => {}
        }
        let given = inode.as_ref().map(|inode| (self.files.given(), inode.given()));
        let value = self.value(&caller, ino, &name, room).await;
        if let (Err(Error::Meta(MetaError::NoXattr)), Some(inode), Some(given)) = (&value, &inode, given) {
            self.files.learn_plain(inode, given);
        }
        value
    }

    /// What the inode's attributes say of ACLs: they are asked for after these, so that is no other call. Of a node that knows none they say that there
    /// are none.
    async fn acls(&self, caller: &Credentials, ino: InodeId) -> Result<Acls, Error> {
        match self.files.attributes(self.context(caller.clone()), ino).await {
            Ok(attr) => Ok(attr.acls),
            Err(Error::Meta(MetaError::Stale)) => {
                let attr = self.directories.removed(ino).ok_or(MetaError::Stale)?;
                Ok(attr.acls)
            }
            Err(error) => Err(error),
        }
    }

    async fn value(
        &self,
        caller: &Credentials,
        ino: InodeId,
        name: &XattrName,
        room: u32,
    ) -> Result<XattrData, Error> {
        // Whoever asks for the size asks for the value next.
        let least = u32::from(self.client.leases.are_taken()) * LONGEST_HELD;
        for _ in 0..READINGS {
            let (total, edition, mut value) = self.page(caller, ino, name, (0, room.max(least))).await?;
            match room {
                0 => return Ok(XattrData::Size(total)),
                room if total > room => return Err(Error::ShortBuffer),
                _ => {}
            }
            let whole = total as usize;
            while value.len() < whole {
                let from = u32::try_from(value.len()).map_err(|_| Error::Protocol)?;
                let (_, of, page) = self.page(caller, ino, name, (from, room)).await?;
                match () {
                    () if of != edition => break,
                    () if page.is_empty() => return Err(Error::Protocol),
                    () => value.extend(page),
                }
            }
            if value.len() == whole {
                return Ok(XattrData::Bytes(value));
            }
        }
        Err(Error::Changing)
    }

    /// Bytes of the whole value, its edition, and a page of it.
    async fn page(
        &self,
        caller: &Credentials,
        ino: InodeId,
        name: &XattrName,
        (from, limit): (u32, u32),
    ) -> Result<(u32, u64, Vec<u8>), Error> {
        let request = Request::GetXattr {
            ino,
            name: name.clone(),
            from,
            limit,
        };
        match self.client.call(self.context(caller.clone()), request).await? {
            Reply::Xattr { total, edition, page } if total as usize <= MAX_XATTR_VALUE => {
                Ok((total, edition, page))
            }
            _ => Err(Error::Protocol),
        }
    }

    /// listxattr(2), likewise.
    ///
    /// # Errors
    /// The namespace's; ERANGE.
    pub async fn listxattr(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        room: u32,
    ) -> Result<XattrData, Error> {
        // To root the service shows more names.
        let may = |_: &Attr| !permission::lists_all_xattrs(&caller);
        if let Some(Known::Bytes(names)) = self.client.leases.extra(ino, &Extra::XattrNames, may) {
            return fitting(names, room);
        }
        let request = Request::ListXattr { ino };
        let Reply::XattrNames(names) = self.client.call(self.context(caller), request).await? else {
            return Err(Error::Protocol);
        };
        fitting(names, room)
    }

    /// setxattr(2).
    ///
    /// # Errors
    /// The namespace's; E2BIG, EOPNOTSUPP, EROFS.
    pub async fn setxattr(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        name: Vec<u8>,
        value: Vec<u8>,
        mode: XattrMode,
    ) -> Result<(), Error> {
        self.writable()?;
        let name = XattrName::new(name)?;
        if value.len() > MAX_XATTR_VALUE {
            return Err(MetaError::XattrTooBig.into());
        }
        if !name.is_capability() {
            return self.put_xattr(&caller, (ino, &name), &value, mode).await;
        }
        let held = self.files.hold(ino);
        // What was written before must not take them away when it is committed later.
        self.files.commit(&held, self.by(), false).await?;
        // Neither an answer from before this, nor one from while it is done, says that there are none.
        self.files.may_have_capabilities(ino);
        let set = self.put_xattr(&caller, (ino, &name), &value, mode).await;
        self.files.may_have_capabilities(ino);
        set
    }

    async fn put_xattr(
        &self,
        caller: &Credentials,
        (ino, name): (InodeId, &XattrName),
        value: &[u8],
        mode: XattrMode,
    ) -> Result<(), Error> {
        let request = |staged, part: &[u8]| Request::SetXattr {
            ino,
            name: name.clone(),
            staged,
            value: part.to_vec(),
            mode,
        };
        let context = self.context(caller.clone());
        let parts = value.split_at_checked(MAX_XATTR_PART);
        let Some((first, rest)) = parts.filter(|(_, rest)| !rest.is_empty()) else {
            return self
                .files
                .call_for_attr(context, request(None, value))
                .await
                .map(drop);
        };
        // Never closed; and whoever has a place gives it back within its timeout.
        let _place = self
            .client
            .staging
            .acquire()
            .await
            .map_err(|_| Error::Internal("staging"))?;
        let mut tries = 0;
        loop {
            tries += 1;
            let token = self.client.next_request().0;
            let part = first.to_vec();
            let stage = Request::StageXattr { token, part };
            let (session, _) = self
                .client
                .ask(&mut OutgoingCall::new(context.clone(), stage))
                .await?;
            // In another session the first part is not there.
            let mut set =
                OutgoingCall::new(context.clone(), request(Some(token), rest)).only_in(session.origin);
            match self.client.ask(&mut set).await {
                Ok((_, Reply::Attr(attr))) => {
                    self.files.show(attr);
                    return Ok(());
                }
                Ok(_) => return Err(Error::Protocol),
                Err(Error::Meta(MetaError::NotStaged)) if tries < SENDINGS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// removexattr(2).
    ///
    /// # Errors
    /// The namespace's; EOPNOTSUPP, EROFS.
    pub async fn removexattr(
        self: Arc<Self>,
        caller: Credentials,
        ino: InodeId,
        name: Vec<u8>,
    ) -> Result<(), Error> {
        self.writable()?;
        let name = XattrName::new(name)?;
        let request = Request::RemoveXattr { ino, name };
        self.files
            .call_for_attr(self.context(caller), request)
            .await
            .map(drop)
    }
}

/// The bytes for a caller whose buffer has this length.
fn fitting(bytes: Vec<u8>, room: u32) -> Result<XattrData, Error> {
    match u32::try_from(bytes.len()).map_err(|_| Error::Protocol)? {
        len if room == 0 => Ok(XattrData::Size(len)),
        len if len > room => Err(Error::ShortBuffer),
        _ => Ok(XattrData::Bytes(bytes)),
    }
}
