//! ACLs against the loops of `fs/posix_acl.c`, which go over entries as they stand.

use super::*;
use proptest::prelude::*;

/// Tag, permissions, id.
pub(crate) type Entry = (u16, u16, u32);

/// The bytes of these entries.
pub(crate) fn bytes_of(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = VERSION.to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

pub(crate) fn acl_of(entries: &[Entry]) -> Acl {
    Acl::decode(&bytes_of(entries)).unwrap().unwrap()
}

/// `posix_acl_valid`.
fn is_valid(entries: &[Entry]) -> bool {
    let (mut state, mut needs_mask) = (USER_OBJ, false);
    for (tag, permissions, id) in entries {
        if permissions & !ALL != 0 {
            return false;
        }
        state = match (*tag, state) {
            (USER_OBJ, USER_OBJ) => USER,
            (USER, USER) | (GROUP, GROUP) if *id != NO_ID => {
                needs_mask = true;
                state
            }
            (GROUP_OBJ, USER) => GROUP,
            (MASK, GROUP) => OTHER,
            (OTHER, OTHER) => 0,
            (OTHER, GROUP) if !needs_mask => 0,
            _ => return false,
        };
    }
    state == 0
}

/// `posix_acl_permission`, for who is not the owner.
pub(crate) fn is_permitted(entries: &[Entry], (uid, groups): (u32, &[u32]), gid: u32, wanted: u16) -> bool {
    let mask = entries
        .iter()
        .find(|(tag, ..)| *tag == MASK)
        .map_or(ALL, |entry| entry.1);
    let mut found = false;
    for (tag, permissions, id) in entries {
        let gives = wanted & !permissions == 0;
        let of_group = match *tag {
            USER if *id == uid => return wanted & !(permissions & mask) == 0,
            GROUP_OBJ => groups.contains(&gid),
            GROUP => groups.contains(id),
            OTHER => return !found && gives,
            _ => false,
        };
        if of_group && gives {
            return wanted & !(permissions & mask) == 0;
        }
        found |= of_group;
    }
    false
}

/// `posix_acl_create_masq`: entries and permission bits.
fn created(entries: &[Entry], mode: u16) -> (Vec<Entry>, u16) {
    let has_mask = entries.iter().any(|(tag, ..)| *tag == MASK);
    let mut bits = mode;
    let cut = |(tag, permissions, id): &Entry| {
        let shift = match *tag {
            USER_OBJ => 6,
            MASK => 3,
            GROUP_OBJ if !has_mask => 3,
            OTHER => 0,
            _ => return (*tag, *permissions, *id),
        };
        let permissions = permissions & mode >> shift;
        bits = bits & !(ALL << shift) | permissions << shift;
        (*tag, permissions, *id)
    };
    let entries = entries.iter().map(cut).collect();
    (entries, bits)
}

/// What is mostly an ACL.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let id = || prop_oneof![20 => 1..6_u32, 1 => Just(NO_ID)];
    let permissions = || prop_oneof![30 => 0..8_u16, 1 => 8..10_u16];
    let named = |tag| prop::collection::vec((Just(tag), permissions(), id()), 0..3);
    let one = move |tag, least| prop::collection::vec((Just(tag), permissions(), Just(NO_ID)), least..2);
    let all = (
        one(USER_OBJ, 1),
        named(USER),
        one(GROUP_OBJ, 1),
        named(GROUP),
        one(MASK, 0),
        one(OTHER, 1),
    );
    let change = prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<prop::sample::Index>()));
    (all, change).prop_map(|((a, b, c, d, e, f), change)| {
        let mut entries = [a, b, c, d, e, f].concat();
        if let Some((one, other)) = change {
            let (one, other) = (one.index(entries.len()), other.index(entries.len()));
            if one == other {
                entries.remove(one);
            } else {
                entries.swap(one, other);
            }
        }
        entries
    })
}

/// An ACL with its entries.
pub(crate) fn valid() -> impl Strategy<Value = Vec<Entry>> {
    entries().prop_filter("an ACL", |entries| is_valid(entries))
}

proptest! {
    #[test]
    fn what_is_an_acl_is_taken_and_comes_back(entries in entries()) {
        let bytes = bytes_of(&entries);
        match Acl::decode(&bytes) {
            _ if entries.is_empty() => prop_assert_eq!(Acl::decode(&bytes), Ok(None)),
            Ok(Some(acl)) => {
                prop_assert!(is_valid(&entries));
                prop_assert_eq!(acl.encode(), bytes);
            }
            other => {
                prop_assert_eq!(other, Err(MetaError::Invalid));
                prop_assert!(!is_valid(&entries));
            }
        }
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(Some(acl)) = Acl::decode(&bytes) {
            prop_assert_eq!(Acl::decode(&acl.encode()), Ok(Some(acl)));
        }
    }

    #[test]
    fn who_has_what_is_as_the_kernel_says(
        entries in valid(),
        (uid, groups, gid) in (0..7_u32, prop::collection::vec(0..7_u32, 0..4), 0..7_u32),
    ) {
        let acl = acl_of(&entries);
        let is_in = |gid| groups.contains(&gid);
        for wanted in 1..8 {
            let granted = acl.granted(uid, gid, is_in, wanted);
            let permitted = is_permitted(&entries, (uid, &groups), gid, wanted);
            prop_assert_eq!(wanted & !granted == 0, permitted, "{}", wanted);
            // Whoever may as a member of some group is not refused where groups are not seen.
            prop_assert!(!permitted || wanted & !acl.granted_by_any_group(uid) == 0);
            // Whoever judges by bits alone lets nobody in whom the ACL would not.
            let bits = if is_in(gid) { acl.least_mode() >> 3 } else { acl.least_mode() };
            prop_assert!(permitted || wanted & !bits != 0, "{:o}", acl.least_mode());
        }
    }

    #[test]
    fn what_is_made_has_what_both_give(entries in valid(), mode in 0..0o1000_u16) {
        let (wanted, bits) = created(&entries, mode);
        let inherited = acl_of(&entries).inherited(mode);
        prop_assert_eq!(inherited.encode(), bytes_of(&wanted));
        prop_assert_eq!(inherited.mode(), bits);
    }

    #[test]
    fn a_mode_and_an_acl_follow_each_other(entries in valid(), mode in 0..0o1000_u16) {
        let acl = acl_of(&entries);
        let changed = acl.with_mode(mode);
        prop_assert_eq!(changed.mode(), mode);
        prop_assert_eq!(changed.with_mode(acl.mode()), acl.clone());
        let named = entries.iter().any(|(tag, ..)| [USER, GROUP, MASK].contains(tag));
        prop_assert_eq!(acl.is_mode(), !named);
    }
}

const LEAST: [Entry; 3] = [(USER_OBJ, 6, NO_ID), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID)];

fn of_users(number: u32) -> Vec<u8> {
    let users = (0..number).map(|user| (USER, 4, user));
    let ends = [(GROUP_OBJ, 4, NO_ID), (MASK, 4, NO_ID), (OTHER, 0, NO_ID)];
    let entries: Vec<Entry> = [(USER_OBJ, 6, NO_ID)]
        .into_iter()
        .chain(users)
        .chain(ends)
        .collect();
    bytes_of(&entries)
}

#[test]
fn an_acl_fits_a_page() {
    assert_eq!(MAX_ACL_ENTRIES, 511);
    for (users, fits) in [(506, true), (507, true), (508, false)] {
        let decoded = Acl::decode(&of_users(users));
        match fits {
            true => assert!(decoded.unwrap().unwrap().encode().len() <= 4096),
            false => assert_eq!(decoded, Err(MetaError::XattrTooBig)),
        }
    }
}

#[test]
fn versions_and_lengths_are_judged() {
    let least = bytes_of(&LEAST);
    assert_eq!(Acl::decode(&VERSION), Ok(None));
    for bytes in [
        &[][..],
        &VERSION[..3],
        &least[..least.len() - 1],
        &[&least[..], &[0]].concat(),
    ] {
        assert_eq!(Acl::decode(bytes), Err(MetaError::Invalid));
    }
    for version in [1, 3_u8] {
        let other = [&[version], &least[1..]].concat();
        assert_eq!(Acl::decode(&other), Err(MetaError::Unsupported));
    }
}

#[test]
fn each_kind_is_set_and_taken_away_alone() {
    let (one, other) = (acl_of(&LEAST), acl_of(&LEAST).with_mode(0o777));
    let both = Acls::None
        .with(AclKind::Access, Some(one.clone()))
        .with(AclKind::Default, Some(other.clone()));
    assert_eq!(both.get(AclKind::Access), Some(&one));
    assert_eq!(both.get(AclKind::Default), Some(&other));
    let later = both.with_mode(0o123);
    assert_eq!(later.get(AclKind::Access).map(Acl::mode), Some(0o123));
    assert_eq!(later.get(AclKind::Default), Some(&other));
    assert_eq!(
        both.with(AclKind::Access, None).with(AclKind::Default, None),
        Acls::None
    );
    assert_eq!(Acls::Unasked.get(AclKind::Access), None);
}
