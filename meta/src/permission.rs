//! The one permission function, and the rule of each mutation.
//!
//! Everything that decides who may do what stands here, so that the service's answer to any call can be read in one
//! place. The rules are those of Linux for a task whose only capabilities are root's: uid 0 has all, nobody else any.

use crate::attr::{Attr, FileKind, SetTime};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::xattr::{XattrName, XattrSpace};

/// A directory's or file's "group id on execution" bit (S_ISGID).
pub const SET_GID: u16 = 0o2000;
/// S_ISUID.
pub const SET_UID: u16 = 0o4000;
/// S_ISVTX: in a directory, only owners delete.
pub const STICKY: u16 = 0o1000;
/// Every bit that `chmod(2)` can set.
pub const MODE_MASK: u16 = 0o7777;

const GROUP_EXECUTE: u16 = 0o010;
const ANY_EXECUTE: u16 = 0o111;

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
/// [`MetaError::AccessDenied`].
pub fn check(who: &Credentials, attr: &Attr, want: Access) -> Result<(), MetaError> {
    let granted = if who.uid == 0 {
        let no_one_runs_it = attr.kind != FileKind::Directory && attr.mode & ANY_EXECUTE == 0;
        if no_one_runs_it { 6 } else { 7 }
    } else if who.uid == attr.uid {
        attr.mode >> 6
    } else if who.in_group(attr.gid) {
        attr.mode >> 3
    } else {
        attr.mode
    };
    if want.0 & !granted == 0 {
        Ok(())
    } else {
        Err(MetaError::AccessDenied)
    }
}

/// True for the owner and root.
#[must_use]
pub fn owns(who: &Credentials, attr: &Attr) -> bool {
    who.uid == 0 || who.uid == attr.uid
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
    let may_set_gid = who.uid == 0 || who.in_group(gid);
    Ok(if may_set_gid { mode } else { mode & !SET_GID })
}

/// `chown(2)`: only root gives a file away; an owner may move it to a group of his. The mode that it leaves.
///
/// # Errors
/// [`MetaError::NotOwner`].
pub fn chown(who: &Credentials, attr: &Attr, uid: Option<u32>, gid: Option<u32>) -> Result<u16, MetaError> {
    let uid_allowed = uid.is_none_or(|uid| who.uid == 0 || (who.uid == attr.uid && uid == attr.uid));
    let gid_allowed =
        gid.is_none_or(|gid| who.uid == 0 || (who.uid == attr.uid && (gid == attr.gid || who.in_group(gid))));
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
/// [`MetaError::AccessDenied`], or [`MetaError::NotOwner`] for the sticky rule.
pub fn remove_entry(who: &Credentials, directory: &Attr, victim: &Attr) -> Result<(), MetaError> {
    check(who, directory, Access::CHANGE_ENTRIES)?;
    if directory.mode & STICKY != 0 && !owns(who, victim) && !owns(who, directory) {
        return Err(MetaError::NotOwner);
    }
    Ok(())
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
    let stranger = who.uid != 0 && !who.in_group(directory.gid);
    let mode = match kind {
        FileKind::Directory => mode | SET_GID,
        _ if stranger && mode & executable == executable => mode & !SET_GID,
        _ => mode,
    };
    (directory.gid, mode)
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
    who.uid == 0 || who.in_group(attr.gid)
}

/// May `who` read this extended attribute? Nobody but root sees that there are `trusted.` ones; `security.` ones are everybody's to read.
///
/// # Errors
/// [`MetaError::AccessDenied`]; [`MetaError::NoXattr`] where he must not know.
pub fn read_xattr(who: &Credentials, attr: &Attr, name: &XattrName) -> Result<(), MetaError> {
    match name.space() {
        XattrSpace::Security => Ok(()),
        XattrSpace::Trusted if who.uid == 0 => Ok(()),
        XattrSpace::User if has_user_xattrs(attr.kind) => check(who, attr, Access::READ),
        XattrSpace::Trusted | XattrSpace::User => Err(MetaError::NoXattr),
    }
}

/// May `who` set or remove this extended attribute? In a sticky directory, `user.` ones are the owner's only.
///
/// # Errors
/// [`MetaError::AccessDenied`] or [`MetaError::NotOwner`].
pub fn change_xattr(who: &Credentials, attr: &Attr, name: &XattrName) -> Result<(), MetaError> {
    let sticky = attr.kind == FileKind::Directory && attr.mode & STICKY != 0;
    match name.space() {
        XattrSpace::Security | XattrSpace::Trusted if who.uid == 0 => Ok(()),
        XattrSpace::Security | XattrSpace::Trusted => Err(MetaError::NotOwner),
        XattrSpace::User if !has_user_xattrs(attr.kind) => Err(MetaError::NotOwner),
        XattrSpace::User if sticky && !owns(who, attr) => Err(MetaError::NotOwner),
        XattrSpace::User => check(who, attr, Access::WRITE),
    }
}

/// The mode bits of the other kinds do not say who may read and write what hangs on them.
fn has_user_xattrs(kind: FileKind) -> bool {
    matches!(kind, FileKind::Regular | FileKind::Directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{InodeId, Version};
    use crate::time::Timestamp;

    fn who(uid: u32, gid: u32, groups: &[u32]) -> Credentials {
        Credentials {
            uid,
            gid,
            groups: groups.to_vec(),
        }
    }

    fn attr(kind: FileKind, mode: u16) -> Attr {
        let zero = Timestamp::default();
        Attr {
            ino: InodeId(9),
            kind,
            mode,
            nlink: 1,
            uid: 1000,
            gid: 100,
            rdev: 0,
            size: 0,
            allocated: 0,
            atime: zero,
            mtime: zero,
            ctime: zero,
            birth: zero,
            version: Version(0),
            shrinks: 0,
        }
    }

    fn file(mode: u16) -> Attr {
        attr(FileKind::Regular, mode)
    }

    #[test]
    fn the_first_matching_class_decides() {
        let owner = who(1000, 1, &[]);
        let member = who(2, 100, &[]);
        let supplementary = who(2, 2, &[7, 100]);
        let other = who(2, 2, &[7]);
        let root = who(0, 0, &[]);
        let (r, w, x) = (Access::READ, Access::WRITE, Access::EXECUTE);
        let table = [
            (&owner, 0o600, r.and(w), true),
            (&owner, 0o400, w, false),
            (&owner, 0o077, r, false),
            (&member, 0o070, r.and(w).and(x), true),
            (&member, 0o707, r, false),
            (&supplementary, 0o040, r, true),
            (&supplementary, 0o604, r, false),
            (&other, 0o770, r, false),
            (&other, 0o001, x, true),
            (&other, 0o004, r.and(x), false),
            (&root, 0o000, r.and(w), true),
            (&root, 0o000, x, false),
            (&root, 0o001, x, true),
        ];
        for (caller, mode, want, allowed) in table {
            let got = check(caller, &file(mode), want).is_ok();
            assert_eq!(got, allowed, "{caller:?} {mode:o} {want:?}");
        }
        assert!(check(&root, &attr(FileKind::Directory, 0), x).is_ok());
    }

    #[test]
    fn chmod_is_the_owners_and_set_gid_the_groups() {
        let table = [
            (who(0, 0, &[]), 0o6755, Ok(0o6755)),
            (who(1000, 1, &[]), 0o6755, Ok(0o4755)),
            (who(1000, 1, &[100]), 0o2755, Ok(0o2755)),
            (who(1000, 1, &[]), 0o1777, Ok(0o1777)),
            (who(2, 100, &[]), 0o644, Err(MetaError::NotOwner)),
        ];
        for (caller, mode, want) in table {
            assert_eq!(
                chmod(&caller, &file(0o644), 100, mode),
                want,
                "{caller:?} {mode:o}"
            );
        }
    }

    #[test]
    fn chown_gives_away_only_for_root() {
        let refused = Err(MetaError::NotOwner);
        let table = [
            (who(0, 0, &[]), Some(5), Some(6), Ok(0o755)),
            (who(1000, 1, &[]), Some(1000), None, Ok(0o755)),
            (who(1000, 1, &[]), Some(5), None, refused),
            (who(1000, 1, &[]), None, Some(1), Ok(0o755)),
            (who(1000, 1, &[9]), None, Some(9), Ok(0o755)),
            (who(1000, 1, &[]), None, Some(100), Ok(0o755)),
            (who(1000, 1, &[]), None, Some(8), refused),
            (who(2, 100, &[]), None, Some(100), refused),
        ];
        for (caller, uid, gid, want) in table {
            assert_eq!(
                chown(&caller, &file(0o6755), uid, gid),
                want,
                "{caller:?} {uid:?} {gid:?}"
            );
        }
        let directory = attr(FileKind::Directory, 0o6755);
        assert_eq!(chown(&who(0, 0, &[]), &directory, Some(5), None), Ok(0o6755));
        assert_eq!(chown(&who(0, 0, &[]), &file(0o2745), Some(5), None), Ok(0o2745));
        assert_eq!(chown(&who(1000, 1, &[]), &file(0o2745), None, Some(1)), Ok(0o745));
    }

    #[test]
    fn a_chosen_time_needs_the_owner() {
        let at = SetTime::At(Timestamp::default());
        assert!(utimens(&who(1000, 1, &[]), &file(0), at).is_ok());
        assert!(utimens(&who(0, 1, &[]), &file(0), at).is_ok());
        assert_eq!(
            utimens(&who(2, 2, &[]), &file(0o666), at),
            Err(MetaError::NotOwner)
        );
        assert!(utimens(&who(2, 2, &[]), &file(0o666), SetTime::Now).is_ok());
        assert_eq!(
            utimens(&who(2, 2, &[]), &file(0o644), SetTime::Now),
            Err(MetaError::AccessDenied)
        );
    }

    #[test]
    fn a_sticky_directory_keeps_what_others_own() {
        let mut sticky = attr(FileKind::Directory, 0o1777);
        sticky.uid = 50;
        let victim = file(0o666);
        assert!(remove_entry(&who(1000, 1, &[]), &sticky, &victim).is_ok());
        assert!(remove_entry(&who(50, 1, &[]), &sticky, &victim).is_ok());
        assert!(remove_entry(&who(0, 1, &[]), &sticky, &victim).is_ok());
        assert_eq!(
            remove_entry(&who(7, 1, &[]), &sticky, &victim),
            Err(MetaError::NotOwner)
        );
        sticky.mode = 0o1755;
        assert_eq!(
            remove_entry(&who(1000, 1, &[]), &sticky, &victim),
            Err(MetaError::AccessDenied)
        );
        sticky.mode = 0o777;
        assert!(remove_entry(&who(7, 1, &[]), &sticky, &victim).is_ok());
    }

    #[test]
    fn a_set_gid_directory_hands_its_group_down() {
        let plain = attr(FileKind::Directory, 0o777);
        let set_gid = attr(FileKind::Directory, 0o2777);
        let caller = who(2, 3, &[]);
        let (dir, reg) = (FileKind::Directory, FileKind::Regular);
        assert_eq!(inherit(&caller, &plain, reg, 0o2755), (3, 0o2755));
        assert_eq!(inherit(&caller, &set_gid, reg, 0o644), (100, 0o644));
        assert_eq!(inherit(&caller, &set_gid, dir, 0o755), (100, 0o2755));
        assert_eq!(inherit(&caller, &set_gid, reg, 0o2755), (100, 0o755));
        assert_eq!(inherit(&who(2, 3, &[100]), &set_gid, reg, 0o2755), (100, 0o2755));
    }

    #[test]
    fn a_write_clears_what_runs_as_another() {
        for (mode, member, stranger) in [
            (0o6755, 0o755, 0o755),
            (0o6745, 0o2745, 0o745),
            (0o1777, 0o1777, 0o1777),
        ] {
            for caller in [who(1000, 100, &[]), who(7, 7, &[100]), who(0, 0, &[])] {
                assert_eq!(
                    without_set_id(&caller, &file(mode)),
                    member,
                    "{mode:o} {caller:?}"
                );
            }
            assert_eq!(without_set_id(&who(7, 7, &[]), &file(mode)), stranger, "{mode:o}");
        }
    }

    #[test]
    fn extended_attributes_are_under_the_rules_of_their_name() {
        let name = |text: &str| XattrName::new(text).unwrap();
        let (user, trusted, security) = (name("user.a"), name("trusted.a"), name("security.a"));
        let (owner, other, root) = (who(1000, 1, &[]), who(7, 7, &[]), who(0, 0, &[]));
        let denied = Err(MetaError::AccessDenied);
        let not_owner = Err(MetaError::NotOwner);
        let hidden = Err(MetaError::NoXattr);
        let mut sticky = attr(FileKind::Directory, 0o1777);
        sticky.uid = 50;
        let fifo = attr(FileKind::Fifo, 0o666);
        for (caller, of, name, read, change) in [
            (&owner, &file(0o600), &user, Ok(()), Ok(())),
            (&owner, &file(0o400), &user, Ok(()), denied),
            (&owner, &file(0o200), &user, denied, Ok(())),
            (&other, &file(0o604), &user, Ok(()), denied),
            (&root, &file(0), &user, Ok(()), Ok(())),
            (&other, &sticky, &user, Ok(()), not_owner),
            (&root, &sticky, &user, Ok(()), Ok(())),
            (&owner, &fifo, &user, hidden, not_owner),
            (&root, &fifo, &user, hidden, not_owner),
            (&root, &fifo, &trusted, Ok(()), Ok(())),
            (&owner, &file(0o777), &trusted, hidden, not_owner),
            (&other, &file(0), &security, Ok(()), not_owner),
            (&owner, &file(0o777), &security, Ok(()), not_owner),
            (&root, &fifo, &security, Ok(()), Ok(())),
        ] {
            assert_eq!(
                read_xattr(caller, of, name),
                read,
                "{caller:?} reads {name:?} of {of:?}"
            );
            assert_eq!(
                change_xattr(caller, of, name),
                change,
                "{caller:?} sets {name:?} of {of:?}"
            );
        }
    }
}
