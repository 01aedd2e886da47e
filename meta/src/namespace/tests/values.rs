//! Names, times and callers of tests.

use super::world::LEASE;
use crate::cred::Credentials;
use crate::id::{ClientOwner, PoolId};
use crate::name::Name;
use crate::namespace::Config;
use crate::time::Timestamp;

pub(super) fn config() -> Config {
    Config {
        pool: PoolId([7; 16]),
        lease: LEASE,
        root_owner: (0, 0),
        root_mode: 0o777,
        metadata: u64::MAX,
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn client_owner(number: u8) -> ClientOwner {
    ClientOwner([number; 16])
}

pub(super) fn user(uid: u32) -> Credentials {
    Credentials::new(uid, uid, vec![])
}

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}
