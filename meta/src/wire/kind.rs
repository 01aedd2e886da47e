//! Which request is which, whatever it asks for: to count requests by their kind.

use super::request::Request;

/// Writes the kinds once: each with its name, and the variant of [`Request`] that is of it.
macro_rules! kinds {
    ($($kind:ident => $name:literal,)*) => {
        /// The kind of a [`Request`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RequestKind {
            $(#[doc = concat!("[`Request::", stringify!($kind), "`].")] $kind,)*
        }

        impl RequestKind {
            /// All kinds.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$kind),*];

            /// Like `get_attr`: what programs read in `rdmafs status --json`, so a name stays as it is.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// Where it stands in [`RequestKind::ALL`].
            #[must_use]
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl Request {
            /// The kind of this request.
            #[must_use]
            pub const fn kind(&self) -> RequestKind {
                match self {
                    $(Self::$kind { .. } => RequestKind::$kind,)*
                }
            }
        }
    };
}

kinds! {
    Begin => "begin",
    Renew => "renew",
    Reopen => "reopen",
    Recalled => "recalled",
    Lookup => "lookup",
    Parent => "parent",
    GetAttr => "get_attr",
    SetAttr => "set_attr",
    Make => "make",
    Link => "link",
    Unlink => "unlink",
    RemoveDir => "remove_dir",
    Rename => "rename",
    ReadLink => "read_link",
    ReadDir => "read_dir",
    Open => "open",
    Release => "release",
    Lock => "lock",
    Unlock => "unlock",
    CancelLock => "cancel_lock",
    GetLock => "get_lock",
    Layout => "layout",
    Allocate => "allocate",
    Punch => "punch",
    Seek => "seek",
    Copy => "copy",
    Append => "append",
    Atomic => "atomic",
    Commit => "commit",
    Sync => "sync",
    StatFs => "stat_fs",
    Outcome => "outcome",
    Drained => "drained",
    Examine => "examine",
    GetXattr => "get_xattr",
    ListXattr => "list_xattr",
    StageXattr => "stage_xattr",
    SetXattr => "set_xattr",
    RemoveXattr => "remove_xattr",
    SetFlags => "set_flags",
    Leases => "leases",
    Forgotten => "forgotten",
    TakeRoomBack => "take_room_back",
    CatchUp => "catch_up",
    StatFsAt => "stat_fs_at",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::InodeId;
    use std::collections::HashSet;

    #[test]
    fn each_kind_has_a_name_and_a_place_of_its_own() {
        let names: HashSet<_> = RequestKind::ALL.map(RequestKind::name).into();
        assert_eq!(names.len(), RequestKind::ALL.len());
        for (index, kind) in RequestKind::ALL.iter().enumerate() {
            assert_eq!(kind.index(), index);
        }
    }

    #[test]
    fn a_kind_is_called_as_its_request_is() {
        for kind in RequestKind::ALL {
            let joined: String = kind.name().split('_').collect();
            assert_eq!(joined, format!("{kind:?}").to_lowercase());
        }
        let ino = InodeId::ROOT;
        assert_eq!(Request::GetAttr { ino }.kind().name(), "get_attr");
        assert_eq!(Request::Renew.kind(), RequestKind::Renew);
    }
}
