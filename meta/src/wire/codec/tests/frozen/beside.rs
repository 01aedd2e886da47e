//! What stands beside a call and an answer since version 6.

use super::Pins;
use super::values::attr;
use crate::acl::tests::acl_of;
use crate::acl::{AclKind, Acls};
use crate::attr::Attr;
use crate::wire::{Call, StampedAnswer, WireVersion, encode};

pub(super) fn pin(pins: &mut Pins, call: &Call, stamped: StampedAnswer) {
    let bytes = encode(call, WireVersion::SIXTH).unwrap();
    pins.pin_bytes("Call since version 6", &bytes);
    let with_acls = StampedAnswer {
        changed: vec![attr(), with_acls(), unasked()],
        ..stamped
    };
    let bytes = encode(&with_acls, WireVersion::SIXTH).unwrap();
    pins.pin_bytes("StampedAnswer since version 6", &bytes);
}

/// With an access ACL and a default one.
fn with_acls() -> Attr {
    let entries = [
        (1, 6, u32::MAX),
        (2, 4, 1000),
        (4, 4, u32::MAX),
        (16, 6, u32::MAX),
        (32, 0, u32::MAX),
    ];
    let acl = acl_of(&entries);
    let acls = Acls::None
        .with(AclKind::Access, Some(acl.clone()))
        .with(AclKind::Default, Some(acl));
    Attr { acls, ..attr() }
}

/// With ACLs that are to be asked for.
fn unasked() -> Attr {
    let acls = Acls::Unasked;
    Attr { acls, ..attr() }
}
