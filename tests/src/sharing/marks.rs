//! Calls that mark files, by permission bits, times and extended attributes, and calls that look at marks and names.
//!
//! Each mark is a number that its file has not had for long, so that a look says which call it comes from.

use super::looks::Thing;
use rdmafs_fs::errno::Error;
use rdmafs_fs::handler::{Mount, XattrData};
use rdmafs_meta::attr::{Attr, SetAttr, SetTime};
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::time::Timestamp;
use rdmafs_meta::wire::XattrMode;
use std::sync::Arc;

/// Names there are that one call at a time changes.
pub(super) const NAMES: usize = 8;
/// Permission bits that a file is made with.
pub(super) const FIRST_MODE: u16 = 0o644;
const EXTRA: &[u8] = b"user.mark";
/// Bytes of a page of a directory: all of it.
const PAGE: u32 = 1000;
const ROOT: InodeId = InodeId::ROOT;

/// A call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Mode(u64),
    Time(u64),
    Extra(u64),
    /// Takes the extended attribute away.
    NoExtra,
    Stat,
    ReadExtra,
    Find {
        name: usize,
    },
    List,
}

/// What is shown of an inode.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub(super) ino: u64,
    pub(super) mode: u64,
    pub(super) links: u64,
    pub(super) seconds: u64,
    pub(super) size: u64,
}

/// What such a call gives.
#[derive(Debug)]
pub(super) enum Shows {
    Inode(Shown),
    Extra(u64),
    /// To which inode each of the names leads; 0: it is not there.
    Names([u64; NAMES]),
    Done,
}

pub(super) fn name(number: usize) -> Vec<u8> {
    format!("n{number}").into_bytes()
}

impl Shown {
    pub(super) fn of(attr: &Attr) -> Self {
        Self {
            ino: attr.ino.0,
            mode: attr.mode.into(),
            links: attr.nlink.into(),
            seconds: seconds(attr),
            size: attr.size,
        }
    }
}

impl Mark {
    /// Its kind.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Mode(_) => "chmod",
            Self::Time(_) => "utimes",
            Self::Extra(_) => "setxattr",
            Self::NoExtra => "removexattr",
            Self::Stat => "stat",
            Self::ReadExtra => "getxattr",
            Self::Find { .. } => "lookup-any",
            Self::List => "readdir",
        }
    }

    /// What it gives the file, if it changes any.
    pub(super) fn change(self, ino: u64) -> Option<(Thing, u64)> {
        match self {
            Self::Mode(mode) => Some((Thing::Mode(ino), mode)),
            Self::Time(time) => Some((Thing::Time(ino), time)),
            Self::Extra(value) => Some((Thing::Extra(ino), value)),
            Self::NoExtra => Some((Thing::Extra(ino), 0)),
            Self::Stat | Self::ReadExtra | Self::Find { .. } | Self::List => None,
        }
    }
}

/// Asks for it.
pub(super) async fn ask(mount: Arc<Mount>, mark: Mark, ino: InodeId) -> Result<Shows, Error> {
    let root = Credentials::root();
    let extra = EXTRA.to_vec();
    match mark {
        Mark::Mode(mode) => {
            let mode = u16::try_from(mode).ok();
            let change = SetAttr {
                mode,
                ..SetAttr::default()
            };
            change_attr(mount, ino, change).await
        }
        Mark::Time(seconds) => {
            let seconds = i64::try_from(seconds).unwrap_or(0);
            let mtime = Some(SetTime::At(Timestamp { seconds, nanos: 0 }));
            let change = SetAttr {
                mtime,
                ..SetAttr::default()
            };
            change_attr(mount, ino, change).await
        }
        Mark::Extra(value) => {
            let value = value.to_string().into_bytes();
            let set = mount.setxattr(root, ino, extra, value, XattrMode::default());
            set.await.map(|()| Shows::Done)
        }
        Mark::NoExtra => mount.removexattr(root, ino, extra).await.map(|()| Shows::Done),
        Mark::Stat => {
            let entry = mount.getattr(root, ino).await?;
            Ok(Shows::Inode(Shown::of(&entry.attr)))
        }
        Mark::ReadExtra => match mount.getxattr(root, ino, extra, 64).await? {
            XattrData::Bytes(bytes) => Ok(Shows::Extra(number(&bytes))),
            XattrData::Size(_) => Err(Error::Protocol),
        },
        Mark::Find { name: number } => {
            let found = mount.lookup(root, ROOT, name(number)).await?;
            Ok(Shows::Inode(Shown::of(&found.attr)))
        }
        Mark::List => list(mount).await,
    }
}

async fn change_attr(mount: Arc<Mount>, ino: InodeId, change: SetAttr) -> Result<Shows, Error> {
    let changed = mount.setattr(Credentials::root(), ino, change, None).await?;
    Ok(Shows::Inode(Shown::of(&changed.attr)))
}

/// One page of the directory, which has all of it, and to which inode each name leads there.
async fn list(mount: Arc<Mount>) -> Result<Shows, Error> {
    let handle = mount.clone().opendir(Credentials::root(), ROOT).await?;
    let read = mount.clone().readdir(handle, 0, PAGE).await;
    mount.releasedir(handle).await?;
    let entries = read?;
    let mut names = [0; NAMES];
    for (number, holds) in names.iter_mut().enumerate() {
        let name = name(number);
        let entry = entries.iter().find(|entry| entry.name == name);
        *holds = entry.map_or(0, |entry| entry.attr.ino.0);
    }
    Ok(Shows::Names(names))
}

fn number(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(u64::MAX)
}

fn seconds(attr: &Attr) -> u64 {
    u64::try_from(attr.mtime.seconds).unwrap_or(0)
}
