//! The permission function against the tables of POSIX and of Linux.

use super::*;
use crate::id::{InodeId, Version};
use crate::time::Timestamp;

fn who(uid: u32, gid: u32, groups: &[u32]) -> Credentials {
    Credentials::new(uid, gid, groups.to_vec())
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
        truncate_seq: 0,
        flags: InodeFlags::NONE,
        acls: Acls::None,
    }
}

fn file(mode: u16) -> Attr {
    attr(FileKind::Regular, mode)
}

#[test]
fn the_first_matching_class_decides() {
    let owner = who(1000, 1, &[]);
    let in_group = who(2, 100, &[]);
    let supplementary = who(2, 2, &[7, 100]);
    let other = who(2, 2, &[7]);
    let root = who(0, 0, &[]);
    let (r, w, x) = (Access::READ, Access::WRITE, Access::EXECUTE);
    let table = [
        (&owner, 0o600, r.and(w), true),
        (&owner, 0o400, w, false),
        (&owner, 0o077, r, false),
        (&in_group, 0o070, r.and(w).and(x), true),
        (&in_group, 0o707, r, false),
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
fn what_protects_from_root_is_roots_to_change() {
    let (root, owner, other) = (who(0, 0, &[]), who(1000, 1, &[]), who(7, 7, &[]));
    let [none, dump] = [InodeFlags::NONE, InodeFlags::NO_DUMP];
    let [fixed, append] = [InodeFlags::IMMUTABLE, InodeFlags::APPEND];
    let judged = Credentials {
        kernel_decides: true,
        ..other.clone()
    };
    for (caller, from, to, allowed) in [
        (&root, none, fixed | append | dump, true),
        (&root, fixed, none, true),
        (&owner, none, dump, true),
        (&owner, append | dump, append, true),
        (&owner, none, append, false),
        (&owner, fixed, none, false),
        (&owner, fixed, append, false),
        (&other, none, dump, false),
        (&other, dump, dump, false),
        (&judged, fixed, none, true),
    ] {
        let mut attr = file(0o777);
        attr.flags = from;
        let got = set_flags(caller, &attr, to).is_ok();
        assert_eq!(got, allowed, "{caller:?} {from:?} {to:?}");
    }
}

#[test]
fn flags_judge_changes_of_attributes() {
    let [now, then] = [SetTime::Now, SetTime::At(Timestamp::default())].map(Some);
    let (none, none_set) = (InodeFlags::NONE, SetAttr::default());
    let [fixed, append] = [InodeFlags::IMMUTABLE, InodeFlags::APPEND];
    let times = |atime, mtime| SetAttr {
        atime,
        mtime,
        ..SetAttr::default()
    };
    let mode = SetAttr {
        mode: Some(0),
        ..SetAttr::default()
    };
    let gid = SetAttr {
        gid: Some(0),
        ..SetAttr::default()
    };
    let size = SetAttr {
        size: Some(0),
        mtime: now,
        ..SetAttr::default()
    };
    for (flags, change, path, handle) in [
        (none, &mode, true, true),
        (fixed, &none_set, true, true),
        (append, &none_set, true, true),
        (fixed, &mode, false, false),
        (append, &mode, false, false),
        (append, &gid, false, false),
        (fixed, &size, false, true),
        (append, &size, false, false),
        (fixed | append, &size, false, false),
        (fixed, &times(now, now), false, false),
        (append, &times(now, now), true, true),
        (append, &times(now, None), false, false),
        (append, &times(now, then), false, false),
        (fixed, &times(None, then), false, false),
    ] {
        let mut attr = file(0o777);
        attr.flags = flags;
        let got = [false, true].map(|by_handle| change_attributes(&attr, change, by_handle).is_ok());
        assert_eq!(got, [path, handle], "{flags:?} {change:?}");
    }
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
    for (mode, in_group, other) in [
        (0o6755, 0o755, 0o755),
        (0o6745, 0o2745, 0o745),
        (0o1777, 0o1777, 0o1777),
    ] {
        for caller in [who(1000, 100, &[]), who(7, 7, &[100]), who(0, 0, &[])] {
            assert_eq!(
                without_set_id(&caller, &file(mode)),
                in_group,
                "{mode:o} {caller:?}"
            );
        }
        assert_eq!(without_set_id(&who(7, 7, &[]), &file(mode)), other, "{mode:o}");
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

/// `acl_permission_check` of Linux, for any caller and mode, over the entries of an ACL.
#[test]
fn an_acl_decides_for_all_but_the_owner_unless_its_mask_is_empty() {
    use crate::acl::tests::{acl_of, is_permitted};
    let none = u32::MAX;
    for bits in 0..0o10_0000_u32 {
        let bit = |shift: u32| u16::try_from(bits >> shift & 7).unwrap();
        let (other, mask, named, group, in_group) = (bit(0), bit(3), bit(6), bit(9), bit(12));
        let entries = [
            (1, 0, none),
            (2, named, 5),
            (4, group, none),
            (8, in_group, 70),
            (16, mask, none),
            (32, other, none),
        ];
        let acl = acl_of(&entries);
        let mut of = file(acl.mode());
        of.acls = Acls::None.with(AclKind::Access, Some(acl));
        for (uid, groups) in [
            (5, &[2, 100][..]),
            (6, &[100]),
            (6, &[70]),
            (6, &[100, 70]),
            (6, &[3]),
        ] {
            let caller = who(uid, groups[0], &groups[1..]);
            let wanted = u16::try_from(bits % 7 + 1).unwrap();
            let by_mode = match groups.contains(&100) {
                true => wanted & !mask == 0,
                false => wanted & !other == 0,
            };
            let permitted = match mask {
                0 => by_mode,
                _ => is_permitted(&entries, (uid, groups), 100, wanted),
            };
            assert_eq!(
                check(&caller, &of, Access(wanted)).is_ok(),
                permitted,
                "{entries:?} {caller:?}"
            );
            // Whom a kernel that sees his groups has let through is not refused.
            let unseen = Credentials {
                groups_unseen: true,
                ..who(uid, 2, &[])
            };
            assert!(!permitted || check(&unseen, &of, Access(wanted)).is_ok());
        }
    }
}

#[test]
fn of_acls_that_are_not_known_only_the_owner_has_his_bits() {
    let mut of = file(0o777);
    of.acls = Acls::Unasked;
    for (caller, may) in [
        (who(1000, 1, &[]), true),
        (who(0, 0, &[]), true),
        (who(2, 100, &[]), false),
        (who(2, 2, &[]), false),
    ] {
        assert_eq!(check(&caller, &of, Access::READ).is_ok(), may);
    }
}
