//! Extended attributes.

use crate::ops::{Op, Outcome, Xattrs};
use crate::posix::listed;
use crate::simulated::system::{Result, Simulated, done};
use nix::libc::EIO;
use rdmafs_fs::handler::XattrData;
use rdmafs_meta::wire::XattrMode;

const ROOM: u32 = 1 << 16;

impl Simulated {
    pub(super) fn xattrs(&self, op: &Op, call: &Xattrs) -> Result<Outcome> {
        let caller = self.caller(op.mount, op.caller);
        let (Xattrs::Set { path, .. }
        | Xattrs::Get { path, .. }
        | Xattrs::List { path }
        | Xattrs::Remove { path, .. }) = call;
        let ino = self.find(&caller, path, false)?.ino;
        let (mount, who) = (caller.mount, caller.who);
        match call {
            Xattrs::Set {
                name,
                value,
                create,
                replace,
                ..
            } => {
                let (create, replace) = (*create, *replace);
                let mode = XattrMode { create, replace };
                done(self.run(mount.setxattr(who, ino, (*name).into(), value.bytes(), mode)))
            }
            Xattrs::Get { name, .. } => {
                bytes(self.run(mount.getxattr(who, ino, (*name).into(), ROOM))?).map(Outcome::Bytes)
            }
            Xattrs::List { .. } => {
                bytes(self.run(mount.listxattr(who, ino, ROOM))?).map(|names| listed(&names))
            }
            Xattrs::Remove { name, .. } => done(self.run(mount.removexattr(who, ino, (*name).into()))),
        }
    }
}

fn bytes(data: XattrData) -> Result<Vec<u8>> {
    match data {
        XattrData::Bytes(bytes) => Ok(bytes),
        XattrData::Size(_) => Err(EIO),
    }
}
