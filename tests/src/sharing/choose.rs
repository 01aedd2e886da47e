//! What a program may want to do next.

use super::history::{CELL, Reader};
use super::log::RECORD;
use super::marks::NAMES;
use super::plan::Plan;
use super::play::{Handle, Name, Play, is_log};
use rand::RngExt;

/// Cells of the largest file.
const CELLS: u64 = 96;
/// One operation of so many is with names that all hosts use at once.
const OPERATIONS: u32 = 10;
/// And one of so many of the others marks a file, or looks at one.
const MARKS: u32 = 6;
/// Bytes of a read of a whole file that is appended to.
const WHOLE: usize = 512 << 10;

impl Play {
    /// What comes to mind on this host, if it can be done.
    pub(super) fn choose(&mut self, host: usize) -> Option<Plan> {
        if self.random.random_ratio(1, OPERATIONS) {
            return self.choose_operation();
        }
        if self.random.random_ratio(1, MARKS) {
            return self.choose_mark();
        }
        let kind = self.random.random_range(0..100);
        let name = self.random.random_range(0..NAMES);
        let Name {
            holds,
            unknown,
            lost_by,
            busy,
        } = self.names[name];
        let calm = lost_by.is_none_or(|host| self.is_calm(host, self.sim.now()));
        if kind < 22 {
            return match (kind, holds) {
                _ if busy => None,
                _ if unknown => calm.then_some(Plan::Look { name }),
                (0..10, None) => Some(Plan::Create {
                    name,
                    append: is_log(name),
                }),
                (10..11, Some(_)) => Some(Plan::Unlink { name }),
                (11..14, Some(ino)) if self.is_worn(ino) => Some(Plan::Unlink { name }),
                (14..16, Some(_)) => self.choose_rename(name),
                (16..22, Some(ino)) => {
                    let append = is_log(name);
                    let truncate = !append && self.random.random_bool(0.1) && !self.is_worn(ino);
                    Some(Plan::Open {
                        ino,
                        truncate,
                        append,
                    })
                }
                _ => None,
            };
        }
        if (22..26).contains(&kind) {
            let ino = holds.filter(|ino| !unknown && !is_log(name) && !self.is_worn(*ino))?;
            let size = self.random.random_range(0..CELLS) * CELL as u64;
            return Some(Plan::Cut { ino, size });
        }
        let open: Vec<u64> = self.open_at(host);
        let handle = *open.get(self.random.random_range(0..open.len().max(1)))?;
        self.choose_use(host, handle, kind)
    }

    /// What to do with an open file.
    fn choose_use(&mut self, host: usize, handle: u64, kind: u32) -> Option<Plan> {
        let Handle { ino, opened, .. } = self.handles[&handle];
        // The kernel releases a file when nothing uses it any more.
        let used = self.doing.iter().any(|doing| doing.plan.handle() == Some(handle));
        let Some(file) = self.files.get(&ino) else {
            return (!used).then_some(Plan::Close { handle, ino });
        };
        let (log, worn) = (file.past.is_log(), file.past.is_worn());
        let from = self.random.random_range(0..CELLS - 1);
        let to = (from + self.random.random_range(1..40)).min(CELLS);
        let reader = Reader {
            host,
            opened,
            began: self.step + 1,
        };
        let part = (from * CELL as u64, usize::try_from(to - from).unwrap_or(1) * CELL);
        let (offset, len) = if log { (0, WHOLE) } else { part };
        match kind {
            26..58 if log && !worn => Some(Plan::Append {
                handle,
                ino,
                cells: self.random.random_range(1..=RECORD),
            }),
            26..58 if !worn => Some(Plan::Write {
                handle,
                ino,
                from,
                to,
            }),
            58..86 => Some(Plan::Read {
                handle,
                ino,
                reader,
                offset,
                len,
            }),
            86..92 => Some(Plan::Sync { handle, ino }),
            92.. if !used => Some(Plan::Close { handle, ino }),
            _ => None,
        }
    }

    fn choose_rename(&mut self, from: usize) -> Option<Plan> {
        let to = self.random.random_range(0..NAMES);
        let other = self.names[to];
        let fits = to != from && is_log(to) == is_log(from);
        (fits && !other.busy && !other.unknown).then_some(Plan::Rename { from, to })
    }

    fn is_worn(&self, ino: u64) -> bool {
        let file = self.files.get(&ino);
        file.is_none_or(|file| file.past.is_worn())
    }
}
