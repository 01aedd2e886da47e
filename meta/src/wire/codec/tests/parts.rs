//! What messages are made of, as strategies.

use crate::acl::tests::{acl_of, valid};
use crate::acl::{AclPair, Acls};
use crate::attr::{Attr, FileKind, SetTime};
use crate::flags::InodeFlags;
use crate::id::{InodeId, Version};
use crate::name::Name;
use crate::time::Timestamp;
use crate::wire::ChangedName;
use proptest::prelude::*;

pub(super) fn time() -> impl Strategy<Value = Timestamp> {
    (any::<i64>(), 0u32..1_000_000_000).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos })
}

pub(super) fn ino() -> impl Strategy<Value = InodeId> {
    any::<u64>().prop_map(InodeId)
}

pub(super) fn name() -> impl Strategy<Value = Name> {
    prop::collection::vec(any::<u8>(), 1..256).prop_filter_map("a name", |bytes| Name::new(bytes).ok())
}

pub(super) fn set_time() -> impl Strategy<Value = SetTime> {
    prop_oneof![Just(SetTime::Now), time().prop_map(SetTime::At)]
}

pub(super) fn changed_names() -> impl Strategy<Value = Vec<ChangedName>> {
    let name = (name(), prop::option::of(attr()));
    prop::collection::vec(name.prop_map(|(name, attr)| ChangedName { name, attr }), 0..20)
}

fn acls() -> impl Strategy<Value = Acls> {
    let acl = || prop::option::of(valid().prop_map(|entries| acl_of(&entries)));
    prop_oneof![
        2 => Just(Acls::None),
        1 => Just(Acls::Unasked),
        2 => (acl(), acl()).prop_map(|(access, default)| Acls::of(AclPair { access, default })),
    ]
}

pub(super) fn attr() -> impl Strategy<Value = Attr> {
    let ids = (ino(), any::<u16>(), any::<u32>(), any::<u32>(), any::<u32>());
    let counts = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (ids, counts, (time(), time()), acls()).prop_map(
        |((ino, mode, nlink, uid, gid), (size, allocated, version, truncate_seq), (atime, mtime), acls)| {
            Attr {
                ino,
                kind: FileKind::Regular,
                mode,
                nlink,
                uid,
                gid,
                rdev: 0,
                size,
                allocated,
                atime,
                mtime,
                ctime: mtime,
                birth: atime,
                version: Version(version),
                truncate_seq,
                flags: InodeFlags::known(nlink),
                acls,
            }
        },
    )
}
