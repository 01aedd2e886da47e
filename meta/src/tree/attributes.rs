//! `chmod`, `chown`, `utimensat` and the attribute side of `truncate`, in one step that happens wholly or not at all.

use crate::attr::{Attr, FileKind, SetAttr, SetTime};
use crate::cred::Credentials;
use crate::error::MetaError;
use crate::permission::{self, Access};
use crate::time::Timestamp;

/// The attributes after `change`, except for the size, which is not this module's to change. `by_handle`: the caller
/// has the file open for writing.
pub(crate) fn changed(
    who: &Credentials,
    attr: &Attr,
    change: &SetAttr,
    by_handle: bool,
    now: Timestamp,
) -> Result<Attr, MetaError> {
    permission::change_attributes(attr, change, by_handle)?;
    let mut next = attr.clone();
    if change.uid.is_some() || change.gid.is_some() {
        next.mode = permission::chown(who, attr, change.uid, change.gid)?;
        next.uid = change.uid.unwrap_or(attr.uid);
        next.gid = change.gid.unwrap_or(attr.gid);
    }
    if change.size.is_some() {
        resizable(who, attr, by_handle)?;
        // Also to the size that it has: so say truncate(2) and O_TRUNC, which cannot be told apart here.
        next.mtime = now;
        if !who.keeps_set_id() {
            next.mode = permission::without_set_id(who, &next);
        }
    }
    if let Some(mode) = change.mode {
        if attr.kind == FileKind::Symlink {
            return Err(MetaError::Unsupported);
        }
        next.mode = permission::chmod(who, attr, next.gid, mode)?;
    }
    for (time, field) in [(change.atime, &mut next.atime), (change.mtime, &mut next.mtime)] {
        let Some(time) = time else { continue };
        if !(by_handle && time == SetTime::Now) {
            permission::utimens(who, attr, time)?;
        }
        *field = match time {
            SetTime::Now => now,
            SetTime::At(time) => time,
        };
    }
    if *change == SetAttr::default() {
        return touched(who, next, by_handle, now);
    }
    next.ctime = now;
    Ok(next)
}

/// A kernel that asks for no change wants what a write or a change of owner takes to go: chown(2) of nothing, or a write that is about to
/// come. So whoever may do either may have that. Of a file that is open for writing it may be a write by that descriptor, or chown(2) by anybody
/// on that host: neither fails, and nothing goes, because the write itself says that it takes set-id bits away.
fn touched(who: &Credentials, mut attr: Attr, by_handle: bool, now: Timestamp) -> Result<Attr, MetaError> {
    let writes = attr.kind == FileKind::Regular && permission::check(who, &attr, Access::WRITE).is_ok();
    let may = permission::owns(who, &attr) || writes;
    let kept = match attr.kind {
        FileKind::Directory => attr.mode,
        _ => permission::without_set_id(who, &attr),
    };
    match kept == attr.mode {
        _ if may => (attr.mode, attr.ctime) = (kept, now),
        _ if by_handle && attr.kind == FileKind::Regular => {}
        true => {}
        false => return Err(MetaError::NotOwner),
    }
    Ok(attr)
}

fn resizable(who: &Credentials, attr: &Attr, by_handle: bool) -> Result<(), MetaError> {
    match attr.kind {
        FileKind::Regular if by_handle => Ok(()),
        FileKind::Regular => permission::check(who, attr, Access::WRITE),
        FileKind::Directory => Err(MetaError::IsDirectory),
        _ => Err(MetaError::Invalid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InodeId;
    use crate::tree::inode::blank;

    const LATER: Timestamp = Timestamp { seconds: 9, nanos: 0 };

    fn file(mode: u16) -> Attr {
        let mut attr = blank(InodeId(5), FileKind::Regular, Timestamp::default());
        (attr.mode, attr.uid, attr.gid) = (mode, 7, 7);
        attr
    }

    fn user(uid: u32) -> Credentials {
        Credentials::new(uid, uid, vec![])
    }

    #[test]
    fn a_truncation_asks_the_mode_unless_by_handle() {
        let size = SetAttr {
            size: Some(3),
            ..SetAttr::default()
        };
        assert_eq!(
            changed(&user(8), &file(0o644), &size, false, LATER),
            Err(MetaError::AccessDenied)
        );
        let cut = changed(&user(8), &file(0o4644), &size, true, LATER).unwrap();
        assert_eq!((cut.mode, cut.mtime, cut.ctime), (0o644, LATER, LATER));
        assert_eq!(
            changed(&Credentials::root(), &file(0o4644), &size, false, LATER)
                .unwrap()
                .mode,
            0o4644
        );
        let mut other = file(0o777);
        other.kind = FileKind::Directory;
        assert_eq!(
            changed(&user(7), &other, &size, false, LATER),
            Err(MetaError::IsDirectory)
        );
        other.kind = FileKind::Fifo;
        assert_eq!(
            changed(&user(7), &other, &size, false, LATER),
            Err(MetaError::Invalid)
        );
    }

    #[test]
    fn a_truncation_to_the_same_size_is_a_change() {
        let size = SetAttr {
            size: Some(0),
            ..SetAttr::default()
        };
        let mtime = |by_handle| {
            changed(&user(7), &file(0o644), &size, by_handle, LATER)
                .unwrap()
                .mtime
        };
        assert_eq!((mtime(true), mtime(false)), (LATER, LATER));
    }

    #[test]
    fn set_group_id_is_judged_by_the_new_group() {
        let both = SetAttr {
            gid: Some(7),
            mode: Some(0o2755),
            ..SetAttr::default()
        };
        let mut theirs = file(0o755);
        theirs.gid = 100;
        assert_eq!(
            changed(&user(7), &theirs, &both, false, LATER).unwrap().mode,
            0o2755
        );
        let mode_only = SetAttr { gid: None, ..both };
        assert_eq!(
            changed(&user(7), &theirs, &mode_only, false, LATER).unwrap().mode,
            0o755
        );
    }

    #[test]
    fn nothing_asked_takes_set_id_bits_as_a_write_or_a_change_of_owner_does() {
        let nothing = |who: &Credentials, mode, by_handle| {
            let after = changed(who, &file(mode), &SetAttr::default(), by_handle, LATER)?;
            Ok((after.mode, after.ctime == LATER))
        };
        assert_eq!(nothing(&user(8), 0, false), Ok((0, false)));
        assert_eq!(nothing(&user(8), 0o6755, false), Err(MetaError::NotOwner));
        // Somebody has it open for writing, perhaps another one.
        assert_eq!(nothing(&user(8), 0o6755, true), Ok((0o6755, false)));
        assert_eq!(nothing(&user(7), 0o6755, true), Ok((0o755, true)));
        assert_eq!(nothing(&user(8), 0o6757, false), Ok((0o757, true)));
        assert_eq!(nothing(&user(7), 0o6555, false), Ok((0o555, true)));
        assert_eq!(nothing(&Credentials::root(), 0o6555, false), Ok((0o555, true)));
    }
}
