//! Who takes leases.

use super::reader::Reader;
use crate::id::ClientOwner;
use crate::namespace::record::{self, LONGEST_LEASE};
use crate::problem::ProblemKind;
use std::time::Duration;

impl Reader {
    pub(super) fn holder(&mut self, key: &[u8], value: &[u8]) {
        self.reading.is_new = false;
        let Ok(owner) = key[record::HOLDERS.len()..].try_into() else {
            return self.unknown(key, value);
        };
        match record::decode::<u64>(key, value) {
            Ok(lease @ 0..=LONGEST_LEASE) => {
                let lease = Duration::from_millis(lease);
                self.reading.holders.push((ClientOwner(owner), lease));
            }
            _ => {
                self.leave_out(key);
                let what = "how long the lease of a session is cannot be read";
                let remedy = "forget the session: nobody waits for its host";
                self.report(ProblemKind::MalformedValue, None, what, remedy);
            }
        }
    }
}
