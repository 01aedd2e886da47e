//! The one permission function, and the rule of each mutation.
//!
//! Everything that decides who may do what stands here, so that the service's answer to any call can be read in one
//! place. The rules are those of Linux for a task whose only capabilities are root's: uid 0 has all, nobody else any. A caller
//! whom a kernel has judged may do all, and still takes set-id bits away. What is immutable or append-only is so for everybody.

use crate::acl::{Acl, AclKind, AclPair, Acls};
use crate::attr::{Attr, FileKind, SetAttr, SetTime};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::flags::InodeFlags;
use crate::wire::OpenAccess;
use crate::xattr::{XattrName, XattrSpace};

/// A directory's or file's "group id on execution" bit (S_ISGID).
pub const SET_GID: u16 = 0o2000;
/// S_ISUID.
pub const SET_UID: u16 = 0o4000;
/// Whether whoever runs a file of this mode may get another user's or group's rights.
#[must_use]
pub fn has_set_id(mode: u16) -> bool {
    mode & (SET_UID | SET_GID) != 0
}

/// S_ISVTX: in a directory, only owners delete.
pub const STICKY: u16 = 0o1000;
/// Every bit that `chmod(2)` can set.
pub const MODE_MASK: u16 = 0o7777;

const GROUP_EXECUTE: u16 = 0o010;
const ANY_EXECUTE: u16 = 0o111;
/// What a mode gives its group: of an inode with an ACL, the mask.
pub(crate) const GROUP_BITS: u16 = 0o070;
/// What a mode gives everybody else.
pub(crate) const OTHER_BITS: u16 = 0o007;
const PERMISSION_BITS: u16 = 0o777;

/// A set of wanted kinds of access: the bits r = 4, w = 2, x = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access(u16);

impl Access {
    /// To read bytes, or list a directory.
    pub const READ: Access = Access(4);
    /// To change bytes, or the entries of a directory.
    pub const WRITE: Access = Access(2);
    /// To run a file, or pass through a directory.
    pub const EXECUTE: Access = Access(1);
    /// To add or remove an entry of a directory.
    pub const CHANGE_ENTRIES: Access = Access(3);

    /// Both.
    #[must_use]
    pub fn and(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }
}

/// The permission function: may `who` have `want` of the inode with these attributes?
///
/// # Errors
/// [`MetaError::AccessDenied`]; [`MetaError::Protected`] to whoever would write to what is immutable.
pub fn check(who: &Credentials, attr: &Attr, want: Access) -> Result<(), MetaError> {
    if want.0 & Access::WRITE.0 != 0 && attr.flags.any(InodeFlags::IMMUTABLE) {
        return Err(MetaError::Protected);
    }
    let granted = if who.may_do_all() {
        let no_one_runs_it = attr.kind != FileKind::Directory && attr.mode & ANY_EXECUTE == 0;
        if no_one_runs_it { 6 } else { 7 }
    } else if who.uid == attr.uid {
        attr.mode >> 6
    } else {
        granted_to_others(who, attr, want.0)
    };
    if want.0 & !granted == 0 {
        Ok(())
    } else {
        Err(MetaError::AccessDenied)
    }
}

/// What is given to a caller who is not the owner. As on Linux, an ACL whose mask is empty is not asked. Where it is not known, nothing is given by it.
fn granted_to_others(who: &Credentials, attr: &Attr, wanted: u16) -> u16 {
    let is_in = |gid| who.in_group(gid);
    let asked = attr.mode & GROUP_BITS != 0;
    match (&attr.acls, attr.acls.get(AclKind::Access)) {
        (Acls::Unasked, _) => 0,
        (_, Some(acl)) if asked && who.groups_unseen => acl.granted_by_any_group(who.uid),
        (_, Some(acl)) if asked => acl.granted(who.uid, attr.gid, is_in, wanted),
        _ if who.groups_unseen => attr.mode | attr.mode >> 3,
        _ if is_in(attr.gid) => attr.mode >> 3,
        _ => attr.mode,
    }
}

/// True for the owner and root.
#[must_use]
pub fn owns(who: &Credentials, attr: &Attr) -> bool {
    who.may_do_all() || who.uid == attr.uid
}

/// FS_IOC_SETFLAGS: what protects from root is root's to change.
///
/// # Errors
/// [`MetaError::NotOwner`].
pub fn set_flags(who: &Credentials, attr: &Attr, flags: InodeFlags) -> Result<(), MetaError> {
    let protecting = attr.flags.differing(flags).any(InodeFlags::PROTECTING);
    match owns(who, attr) && (who.may_do_all() || !protecting) {
        true => Ok(()),
        false => Err(MetaError::NotOwner),
    }
}

/// Who may open a file so. An append-only file is opened to write only where it is to be appended to, and not cut.
///
/// # Errors
/// [`MetaError::IsDirectory`]; [`MetaError::Invalid`] for what is neither that nor a file; [`MetaError::AccessDenied`];
/// [`MetaError::Protected`].
pub fn open(who: &Credentials, attr: &Attr, access: OpenAccess) -> Result<(), MetaError> {
    match attr.kind {
        FileKind::Regular => {}
        FileKind::Directory => return Err(MetaError::IsDirectory),
        _ => return Err(MetaError::Invalid),
    }
    let wanted = [
        (access.read && !access.execute, Access::READ),
        (access.write || access.truncate, Access::WRITE),
        (access.execute, Access::EXECUTE),
    ];
    wanted
        .into_iter()
        .filter(|(asked, _)| *asked)
        .try_for_each(|(_, access)| check(who, attr, access))?;
    let changes = access.truncate || access.write && !access.append;
    match attr.flags.any(InodeFlags::APPEND) && changes {
        true => Err(MetaError::Protected),
        false => Ok(()),
    }
}

/// What the inode's flags say of a change of attributes (`may_setattr` of Linux). Of what is immutable or append-only, neither mode nor owner
/// change, nor times to what a program chose; utimes(2) to now, as a write does it, is for what is append-only. An append-only file is
/// never cut; an immutable one through a file that was opened before.
///
/// # Errors
/// [`MetaError::Protected`].
pub fn change_attributes(attr: &Attr, change: &SetAttr, by_handle: bool) -> Result<(), MetaError> {
    if !attr.flags.any(InodeFlags::PROTECTING) {
        return Ok(());
    }
    let now = Some(SetTime::Now);
    let times = change.size.is_none() && (change.atime.is_some() || change.mtime.is_some());
    let touches = times && change.atime == now && change.mtime == now;
    let chooses = change.mode.is_some() || change.uid.is_some() || change.gid.is_some() || times && !touches;
    let cuts = change.size.is_some();
    let refused = match attr.flags.any(InodeFlags::IMMUTABLE) {
        _ if chooses => true,
        _ if cuts && attr.flags.any(InodeFlags::APPEND) => true,
        immutable => immutable && (touches || cuts && !by_handle),
    };
    match refused {
        true => Err(MetaError::Protected),
        false => Ok(()),
    }
}

/// May it get another name?
///
/// # Errors
/// [`MetaError::Protected`].
pub fn add_link(attr: &Attr) -> Result<(), MetaError> {
    unprotected(attr)
}

fn unprotected(attr: &Attr) -> Result<(), MetaError> {
    match attr.flags.any(InodeFlags::PROTECTING) {
        true => Err(MetaError::Protected),
        false => Ok(()),
    }
}

/// `chmod(2)`: the mode that the inode gets. A caller outside the file's group cannot make it set-group-id.
///
/// # Errors
/// [`MetaError::NotOwner`].
pub fn chmod(who: &Credentials, attr: &Attr, gid: u32, mode: u16) -> Result<u16, MetaError> {
    if !owns(who, attr) {
        return Err(MetaError::NotOwner);
    }
    let mode = mode & MODE_MASK;
    let may_set_gid = who.may_do_all() || who.in_group(gid);
    Ok(if may_set_gid { mode } else { mode & !SET_GID })
}

/// `chown(2)`: only root gives a file away; an owner may move it to a group of his. The mode that it leaves.
///
/// # Errors
/// [`MetaError::NotOwner`].
pub fn chown(who: &Credentials, attr: &Attr, uid: Option<u32>, gid: Option<u32>) -> Result<u16, MetaError> {
    let uid_allowed = uid.is_none_or(|uid| who.may_do_all() || (who.uid == attr.uid && uid == attr.uid));
    let gid_allowed = gid.is_none_or(|gid| {
        who.may_do_all() || (who.uid == attr.uid && (gid == attr.gid || who.in_group(gid)))
    });
    if !uid_allowed || !gid_allowed {
        return Err(MetaError::NotOwner);
    }
    if attr.kind == FileKind::Directory {
        return Ok(attr.mode);
    }
    Ok(without_set_id(who, attr))
}

/// `utimensat(2)`: an explicit time needs the owner; "now" needs the owner or write permission.
///
/// # Errors
/// [`MetaError::NotOwner`] or [`MetaError::AccessDenied`].
pub fn utimens(who: &Credentials, attr: &Attr, time: SetTime) -> Result<(), MetaError> {
    match time {
        _ if owns(who, attr) => Ok(()),
        SetTime::At(_) => Err(MetaError::NotOwner),
        SetTime::Now => check(who, attr, Access::WRITE),
    }
}

/// May `who` add an entry to this directory?
///
/// # Errors
/// [`MetaError::AccessDenied`].
pub fn add_entry(who: &Credentials, directory: &Attr) -> Result<(), MetaError> {
    check(who, directory, Access::CHANGE_ENTRIES)
}

/// May `who` take the entry of `victim` out of this directory? In a sticky one only the victim's owner, the
/// directory's owner and root may.
///
/// # Errors
/// [`MetaError::AccessDenied`], [`MetaError::NotOwner`] for the sticky rule; [`MetaError::Protected`] where either is immutable or append-only.
pub fn remove_entry(who: &Credentials, directory: &Attr, victim: &Attr) -> Result<(), MetaError> {
    check(who, directory, Access::CHANGE_ENTRIES)?;
    unprotected(directory)?;
    if directory.mode & STICKY != 0 && !owns(who, victim) && !owns(who, directory) {
        return Err(MetaError::NotOwner);
    }
    unprotected(victim)
}

/// Group and mode of a new inode: a set-group-id directory hands its group down, and the bit to directories. Others
/// keep an executable set-group-id only when the maker is of that group.
#[must_use]
pub fn inherit(who: &Credentials, directory: &Attr, kind: FileKind, mode: u16) -> (u32, u16) {
    let mode = mode & MODE_MASK;
    if directory.mode & SET_GID == 0 {
        return (who.gid, mode);
    }
    let executable = SET_GID | GROUP_EXECUTE;
    let other = !who.may_do_all() && !who.in_group(directory.gid);
    let mode = match kind {
        FileKind::Directory => mode | SET_GID,
        _ if other && mode & executable == executable => mode & !SET_GID,
        _ => mode,
    };
    (directory.gid, mode)
}

/// Permission bits and ACLs of a new inode whose mode is inherited as [`inherit`] says. A default ACL of the directory decides in the place of the umask, and is handed down to
/// directories; the mode of a symbolic link says nothing.
#[must_use]
pub fn inherit_acls(who: &Credentials, directory: &Attr, kind: FileKind, mode: u16) -> (u16, AclPair) {
    let Some(default) = directory
        .acls
        .get(AclKind::Default)
        .filter(|_| kind != FileKind::Symlink)
    else {
        return (mode & !(who.umask & PERMISSION_BITS), AclPair::default());
    };
    let access = default.inherited(mode & PERMISSION_BITS);
    let mode = mode & !PERMISSION_BITS | access.mode();
    let pair = AclPair {
        access: (!access.is_mode()).then_some(access),
        default: (kind == FileKind::Directory).then(|| default.clone()),
    };
    (mode, pair)
}

/// May `who` give the inode this ACL, or take it away? And the mode that it has then: an access ACL says all permission bits, and a caller outside the
/// file's group cannot leave it set-group-id.
///
/// # Errors
/// [`MetaError::Unsupported`] for symbolic links; [`MetaError::AccessDenied`] for a default ACL of what is no directory; [`MetaError::NotOwner`];
/// [`MetaError::Protected`].
pub fn set_acl(who: &Credentials, attr: &Attr, kind: AclKind, acl: Option<&Acl>) -> Result<u16, MetaError> {
    unprotected(attr)?;
    match (attr.kind, kind) {
        (FileKind::Symlink, _) => return Err(MetaError::Unsupported),
        (FileKind::Directory, _) | (_, AclKind::Access) => {}
        (_, AclKind::Default) if acl.is_some() => return Err(MetaError::AccessDenied),
        // There is none to be taken away.
        (_, AclKind::Default) => return Ok(attr.mode),
    }
    if !owns(who, attr) {
        return Err(MetaError::NotOwner);
    }
    match kind {
        AclKind::Access => {
            let bits = acl.map_or(attr.mode & PERMISSION_BITS, Acl::mode);
            let mode = attr.mode & !PERMISSION_BITS | bits;
            // A kernel that decides leaves this to us: it says so by a flag that is not asked for.
            Ok(if in_group_of(who, attr) {
                mode
            } else {
                mode & !SET_GID
            })
        }
        AclKind::Default => Ok(attr.mode),
    }
}

/// The mode after someone without CAP_FSETID changed the bytes: set-user-id goes, and set-group-id. Only where that does not stand for
/// running with that group (without group execution it marks mandatory locking of old) does one of the group leave it.
#[must_use]
pub fn without_set_id(who: &Credentials, attr: &Attr) -> u16 {
    let stays = attr.mode & GROUP_EXECUTE == 0 && in_group_of(who, attr);
    let set_gid = if stays { 0 } else { SET_GID };
    attr.mode & !(SET_UID | set_gid)
}

fn in_group_of(who: &Credentials, attr: &Attr) -> bool {
    who.keeps_set_id() || who.in_group(attr.gid)
}

/// May `who` read this extended attribute? Nobody but root sees that there are `trusted.` ones; `security.` ones are everybody's to read.
///
/// # Errors
/// [`MetaError::AccessDenied`]; [`MetaError::NoXattr`] where he must not know.
pub fn read_xattr(who: &Credentials, attr: &Attr, name: &XattrName) -> Result<(), MetaError> {
    match name.space() {
        XattrSpace::Security | XattrSpace::Acl => Ok(()),
        XattrSpace::Trusted if who.may_do_all() => Ok(()),
        XattrSpace::User if has_user_xattrs(attr.kind) => check(who, attr, Access::READ),
        XattrSpace::Trusted | XattrSpace::User => Err(MetaError::NoXattr),
    }
}

/// May `who` set or remove this extended attribute? In a sticky directory, `user.` ones are the owner's only.
///
/// # Errors
/// [`MetaError::AccessDenied`] or [`MetaError::NotOwner`]; [`MetaError::Protected`].
pub fn change_xattr(who: &Credentials, attr: &Attr, name: &XattrName) -> Result<(), MetaError> {
    unprotected(attr)?;
    let sticky = attr.kind == FileKind::Directory && attr.mode & STICKY != 0;
    match name.space() {
        XattrSpace::Security | XattrSpace::Trusted if who.may_do_all() => Ok(()),
        XattrSpace::Security | XattrSpace::Trusted => Err(MetaError::NotOwner),
        XattrSpace::Acl => match owns(who, attr) {
            true => Ok(()),
            false => Err(MetaError::NotOwner),
        },
        XattrSpace::User if !has_user_xattrs(attr.kind) => Err(MetaError::NotOwner),
        XattrSpace::User if sticky && !owns(who, attr) => Err(MetaError::NotOwner),
        XattrSpace::User => check(who, attr, Access::WRITE),
    }
}

/// Whether the names of `trusted.` attributes are listed for him. Where a kernel decides, the uid may be another task's: it permits nothing.
#[must_use]
pub fn lists_all_xattrs(who: &Credentials) -> bool {
    who.uid == 0 && !who.kernel_decides
}

/// The mode bits of the other kinds do not say who may read and write what hangs on them.
fn has_user_xattrs(kind: FileKind) -> bool {
    matches!(kind, FileKind::Regular | FileKind::Directory)
}

#[cfg(test)]
mod tests;
