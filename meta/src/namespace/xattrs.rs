//! Calls about extended attributes, and what a change of bytes takes away.

use super::service::Namespace;
use super::step::Step;
use crate::acl::{Acl, AclKind};
use crate::attr::FileKind;
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::flags::InodeFlags;
use crate::id::InodeId;
use crate::permission::{self, Access};
use crate::time::Timestamp;
use crate::wire::{Answer, MAX_MESSAGE, MAX_XATTR_PART, Notice, Reply, XattrMode};
use crate::xattr::{MAX_XATTR_NAME, MAX_XATTRS, XattrName, XattrSpace};

impl Namespace {
    /// Bytes of the file change, or its owner, at the hands of `who`: what a program of other bytes, or another's, must not run with goes. Set-id
    /// bits, if he has no CAP_FSETID (only root has); file capabilities always. Every change of bytes calls this, or
    /// [`Namespace::drop_capabilities`] where the set-id bits were seen to.
    pub(super) fn bytes_changed(
        &mut self,
        ino: InodeId,
        who: &Credentials,
        now: Timestamp,
    ) -> Result<(), MetaError> {
        let attr = &self.tree.get(ino)?.attr;
        let kept = permission::without_set_id(who, attr);
        if !who.keeps_set_id() && attr.mode != kept {
            let attr = &mut self.tree.get_mut(ino)?.attr;
            (attr.mode, attr.ctime) = (kept, now);
        }
        self.drop_capabilities(ino, now);
        Ok(())
    }

    /// Takes file capabilities away, if there are any.
    pub(super) fn drop_capabilities(&mut self, ino: InodeId, now: Timestamp) {
        if !self.is_plain(ino) {
            // It is there: asked before.
            let _there = self.tree.remove_xattr(ino, &XattrName::capability(), now);
        }
    }

    /// The inode has no file capabilities.
    pub(super) fn is_plain(&self, ino: InodeId) -> bool {
        let xattrs = self.tree.xattrs(ino);
        xattrs.is_none_or(|xattrs| xattrs.get(&XattrName::capability()).is_none())
    }

    pub(super) fn get_xattr(
        &self,
        step: &mut Step<'_>,
        ino: InodeId,
        name: &XattrName,
        (from, limit): (u32, u32),
    ) -> Answer {
        permission::read_xattr(step.who, &self.tree.get(ino)?.attr, name)?;
        step.out.along.push(ino);
        let xattrs = self.tree.xattrs(ino).ok_or(MetaError::NoXattr)?;
        let (value, edition) = xattrs.get(name).ok_or(MetaError::NoXattr)?;
        let start = value.len().min(from as usize);
        let len = (limit as usize).min(MAX_XATTR_PART).min(value.len() - start);
        Ok(Reply::Xattr {
            total: u32::try_from(value.len()).unwrap_or(u32::MAX),
            // Told apart from those of earlier lives of the service, as ids of sessions are.
            edition: (self.term.0 << 32).wrapping_add(edition),
            page: value[start..start + len].to_vec(),
        })
    }

    /// Whoever can name an inode may ask which attributes it has.
    pub(super) fn list_xattr(&self, step: &mut Step<'_>, ino: InodeId) -> Answer {
        self.tree.get(ino)?;
        step.out.along.push(ino);
        let names = || {
            self.tree
                .xattrs(ino)
                .into_iter()
                .flat_map(|xattrs| xattrs.names())
        };
        // Those of ACLs come first, as on a tmpfs.
        let acls = names().filter(|name| name.acl().is_some());
        let names = acls.chain(names().filter(|name| name.acl().is_none()));
        let sees_all = permission::lists_all_xattrs(step.who);
        let shown = names.filter(|name| sees_all || name.space() != XattrSpace::Trusted);
        let bytes = shown.flat_map(|name| name.as_bytes().iter().chain(&[0]));
        Ok(Reply::XattrNames(bytes.copied().collect()))
    }

    pub(super) fn stage_xattr(&mut self, step: &Step<'_>, token: u64, part: Vec<u8>) -> Answer {
        if part.len() > MAX_XATTR_PART {
            return Err(MetaError::Invalid);
        }
        self.sessions.stage(step.session, token, part);
        Ok(Reply::Done)
    }

    pub(super) fn set_xattr(
        &mut self,
        step: &mut Step<'_>,
        ino: InodeId,
        name: XattrName,
        (staged, part, mode): (Option<u64>, Vec<u8>, XattrMode),
    ) -> Answer {
        let mut value = match staged {
            Some(token) => self
                .sessions
                .take_staged(step.session, token)
                .ok_or(MetaError::NotStaged)?,
            None => Vec::new(),
        };
        value.extend(part);
        if let Some(kind) = name.acl() {
            return self.set_acl(step, ino, kind, Acl::decode(&value)?);
        }
        permission::change_xattr(step.who, &self.tree.get(ino)?.attr, &name)?;
        let privileges = name.is_capability();
        self.tree
            .set_xattr(step.who, ino, name, (value, mode), step.now.wall)?;
        if privileges {
            let holders = self.sessions.holders(ino);
            let others = holders.filter(|session| *session != step.session);
            let notices = others.map(|session| (session, Notice::Capabilities { ino }));
            step.out.notices.extend(notices);
        }
        self.attr(ino)
    }

    /// Gives an ACL, or takes it away, whether there was one or not: as Linux does it, without regard for `XATTR_CREATE` and `XATTR_REPLACE`.
    fn set_acl(&mut self, step: &Step<'_>, ino: InodeId, kind: AclKind, acl: Option<Acl>) -> Answer {
        let attr = &self.tree.get(ino)?.attr;
        let mode = permission::set_acl(step.who, attr, kind, acl.as_ref())?;
        if kind == AclKind::Default && attr.kind != FileKind::Directory {
            return self.attr(ino);
        }
        self.tree
            .set_acl(step.who, ino, (kind, acl, mode), step.now.wall)?;
        self.attr(ino)
    }

    pub(super) fn remove_xattr(&mut self, step: &Step<'_>, ino: InodeId, name: &XattrName) -> Answer {
        if let Some(kind) = name.acl() {
            return self.set_acl(step, ino, kind, None);
        }
        self.may_remove(step, ino, name)?;
        self.tree.remove_xattr(ino, name, step.now.wall)?;
        self.attr(ino)
    }

    /// A kernel takes file capabilities away before it lets anybody write, or change the owner, in his name: so whoever may do that may. Of an
    /// immutable or append-only file that is who has it open to write.
    fn may_remove(&self, step: &Step<'_>, ino: InodeId, name: &XattrName) -> Result<(), MetaError> {
        let attr = &self.tree.get(ino)?.attr;
        let open = self.sessions.held(step.session, ino);
        let open = open.is_ok_and(|open| open.writable);
        let may_write =
            || permission::owns(step.who, attr) || permission::check(step.who, attr, Access::WRITE).is_ok();
        let protected = attr.flags.any(InodeFlags::PROTECTING);
        let changes = attr.kind == FileKind::Regular && (open || !protected && may_write());
        if name.is_capability() && changes {
            return Ok(());
        }
        permission::change_xattr(step.who, attr, name)
    }
}

const _: () = assert!(MAX_XATTRS * (MAX_XATTR_NAME + 1) < MAX_MESSAGE - 1024);
