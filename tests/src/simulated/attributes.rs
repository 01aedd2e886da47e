//! Attributes: look at them, change mode, owner and times.

use crate::ops::{Attributes, CHOSEN_TIME, FilePath, Kind, Op, Outcome, Stat};
use crate::simulated::system::{Result, SimCaller, Simulated, done, mode_change};
use rdmafs_meta::attr::{Attr, FileKind, SetAttr, SetTime};
use rdmafs_meta::time::Timestamp;

impl Simulated {
    pub(super) fn attributes(&self, op: &Op, call: &Attributes) -> Result<Outcome> {
        let caller = || self.caller(op.mount, op.caller);
        match call {
            Attributes::Stat { path } => self.find(&caller(), path, false).map(|attr| stat(&attr)),
            Attributes::Chmod { path, mode } => self.change(caller(), path, mode_change(*mode)),
            Attributes::Chown { path, uid, gid } => self.change(caller(), path, owner_change(*uid, *gid)),
            Attributes::SetTime { path, seconds } => self.set_time(caller(), path, *seconds),
        }
    }

    fn change(&self, caller: SimCaller, path: &FilePath, change: SetAttr) -> Result<Outcome> {
        let attr = self.find(&caller, path, true)?;
        done(self.run(caller.mount.setattr(caller.who, attr.ino, change, None)))
    }

    fn set_time(&self, caller: SimCaller, path: &FilePath, seconds: i64) -> Result<Outcome> {
        let time = Some(SetTime::At(Timestamp { seconds, nanos: 0 }));
        let (atime, mtime, rest) = (time, time, SetAttr::default());
        let change = SetAttr { atime, mtime, ..rest };
        self.change(caller, path, change)
    }
}

fn owner_change(uid: Option<u32>, gid: Option<u32>) -> SetAttr {
    let rest = SetAttr::default();
    SetAttr { uid, gid, ..rest }
}

pub(super) fn kind(kind: FileKind) -> Kind {
    match kind {
        FileKind::Directory => Kind::Directory,
        FileKind::Symlink => Kind::Symlink,
        FileKind::CharDevice => Kind::Whiteout,
        _ => Kind::File,
    }
}

pub(super) fn stat(attr: &Attr) -> Outcome {
    let kind = kind(attr.kind);
    let Attr {
        mode,
        nlink,
        uid,
        gid,
        ..
    } = *attr;
    let size = if kind == Kind::Directory { 0 } else { attr.size };
    let chosen = attr.mtime.seconds >= CHOSEN_TIME;
    let mtime = Some(if chosen { attr.mtime.seconds } else { 0 });
    Outcome::Stat(Stat {
        kind,
        mode,
        nlink,
        uid,
        gid,
        size,
        mtime,
    })
}
