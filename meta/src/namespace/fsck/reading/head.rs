//! What stands under `M`: the format, the ids that were given out, and which pool it is.

use super::reader::{FRESH, Reader, shown};
use crate::id::InodeId;
use crate::namespace::format;
use crate::namespace::fsck::found::Found;
use crate::namespace::identity::{self, Identity};
use crate::namespace::record::{self, number};
use crate::problem::ProblemKind;

impl Reader {
    pub(super) fn head(&mut self, key: &[u8], value: &[u8]) {
        // Every store has both from its first commit on; its identity is another matter.
        self.reading.is_new &= ![format::KEY, record::CEILING_KEY].contains(&key);
        match key {
            format::KEY => self.format = Some(value.to_vec()),
            record::CEILING_KEY => match number(value) {
                Ok(ceiling) => self.reading.ceiling = Some(InodeId(ceiling)),
                Err(_) => self.report(
                    ProblemKind::MalformedValue,
                    None,
                    "the number of the next inode cannot be read",
                    "find a free one",
                ),
            },
            identity::KEY => match Identity::decode(value) {
                Ok(identity) => self.largest = identity.largest,
                Err(_) => {
                    self.leave_out(key);
                    let remedy = "forget it: the next start takes what it is told";
                    self.report(
                        ProblemKind::MalformedValue,
                        None,
                        "pool and memory size cannot be read",
                        remedy,
                    );
                }
            },
            _ => self.unknown(key, value),
        }
    }

    /// After all else: ids and format are judged by what was read.
    pub(super) fn check_head(&mut self) {
        let fresh = InodeId(self.greatest + FRESH);
        let sound = |ceiling: &InodeId| (self.greatest + 1..=u64::MAX / 2).contains(&ceiling.0);
        match self.reading.ceiling {
            Some(ceiling) if sound(&ceiling) => self.reading.tree.next = ceiling,
            None if self.reading.is_new => {}
            stored => {
                let what = match stored {
                    Some(ceiling) => format!("inode ids from {ceiling} on are said to be free"),
                    None => "it is not known which inode ids are free".into(),
                };
                let remedy = format!("begin with {fresh}");
                self.report(ProblemKind::BadCeiling, None, what, remedy);
                self.reading.ceiling = None;
                self.reading.tree.next = fresh;
            }
        }
        if self.reading.is_new && self.format.is_none()
            || self.format.as_deref().is_some_and(format::is_known)
        {
            return;
        }
        let malformed = |found: &Found| {
            matches!(
                found.kind,
                ProblemKind::MalformedKey | ProblemKind::MalformedValue
            )
        };
        self.reading.foreign = self.format.is_some() && self.reading.found.iter().any(malformed);
        let what = match &self.format {
            Some(stored) => format!("it is of format '{}', not {}", shown(stored), format::NEWEST),
            None => "it does not say of which format it is".into(),
        };
        let remedy = if self.reading.foreign {
            "nothing: use the version of rdmafs that wrote it".into()
        } else {
            format!("say {}: all records are of it", format::NEWEST)
        };
        self.report(ProblemKind::UnknownFormat, None, what, remedy);
    }
}
