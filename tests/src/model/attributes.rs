//! Attributes: look at them, change mode, owner and times.

use crate::model::state::{Model, Result, Who, kept_bits, refuse};
use crate::ops::{Attributes, FilePath, Kind, Outcome, Stat};
use nix::libc::EPERM;

impl Model {
    pub(super) fn attributes(&mut self, who: Who, call: &Attributes) -> Result<Outcome> {
        match call {
            Attributes::Stat { path } => self.find(who, path, false).map(|ino| self.stat(ino)),
            Attributes::Chmod { path, mode } => self.chmod(who, path, *mode),
            Attributes::Chown { path, uid, gid } => self.chown(who, path, *uid, *gid),
            Attributes::SetTime { path, seconds } => self.set_time(who, path, *seconds),
        }
    }

    fn owned(&mut self, who: Who, path: &FilePath) -> Result<&mut Stat> {
        let ino = self.find(who, path, true)?;
        refuse!(!self.owns(who, ino) => EPERM);
        Ok(&mut self.get(ino).stat)
    }

    fn chmod(&mut self, who: Who, path: &FilePath, mode: u16) -> Result<Outcome> {
        let stat = self.owned(who, path)?;
        let foreign = who.0 != 0 && who.1 != stat.gid;
        stat.mode = if foreign { mode & !0o2000 } else { mode };
        Ok(Outcome::Done)
    }

    fn chown(&mut self, who: Who, path: &FilePath, uid: Option<u32>, gid: Option<u32>) -> Result<Outcome> {
        let stat = self.owned(who, path)?;
        let (uid, gid) = (uid.unwrap_or(stat.uid), gid.unwrap_or(stat.gid));
        refuse!(who.0 != 0 && (uid != stat.uid || (gid != who.1 && gid != stat.gid)) => EPERM);
        (stat.uid, stat.gid) = (uid, gid);
        stat.mode &= kept_bits(stat.kind == Kind::Directory);
        Ok(Outcome::Done)
    }

    fn set_time(&mut self, who: Who, path: &FilePath, seconds: i64) -> Result<Outcome> {
        self.owned(who, path)?.mtime = Some(seconds);
        Ok(Outcome::Done)
    }
}
