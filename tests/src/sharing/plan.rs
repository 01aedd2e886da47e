//! Operations that are under way, and how they are asked of a mount.

use super::history::Reader;
use super::marks::{FIRST_MODE, Mark, Shown, Shows, name};
use super::operations::Operation;
use nix::libc::EIO;
use rdmafs_fs::errno::Error;
use rdmafs_fs::handler::testing::{HostId, Simulation, Started};
use rdmafs_fs::handler::{HandleId, Mount, OpenMode, ReadData};
use rdmafs_fs::options::AccessTimes;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::id::InodeId;
use rdmafs_meta::time::AccessTime;
use rdmafs_meta::wire::RenameMode;
use rdmafs_rdma::buffer::Buffer;
use std::sync::Arc;
use std::time::Duration;

/// What an operation gave.
#[derive(Debug)]
pub(super) enum Got {
    Opened(u64, HandleId),
    Found(Shown),
    Marks(Shows),
    Count(usize),
    Bytes(Vec<u8>),
    Done,
}

pub(super) type Answer = Result<Got, i32>;

/// What is under way. Names and handles by their numbers in the play.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    Create {
        name: usize,
        append: bool,
    },
    Open {
        ino: u64,
        truncate: bool,
        append: bool,
    },
    Write {
        handle: u64,
        ino: u64,
        from: u64,
        to: u64,
    },
    Append {
        handle: u64,
        ino: u64,
        cells: u64,
    },
    Read {
        handle: u64,
        ino: u64,
        reader: Reader,
        offset: u64,
        len: usize,
    },
    Sync {
        handle: u64,
        ino: u64,
    },
    Close {
        handle: u64,
        ino: u64,
    },
    Cut {
        ino: u64,
        size: u64,
    },
    Unlink {
        name: usize,
    },
    Rename {
        from: usize,
        to: usize,
    },
    Look {
        name: usize,
    },
    /// With a name that all hosts use at once. `ino`: of the file that is linked.
    Operation {
        operation: Operation,
        ino: u64,
    },
    /// Of this file, if it is about one.
    Mark {
        mark: Mark,
        ino: u64,
    },
}

impl Plan {
    /// The file that it is about.
    pub(super) fn file(&self) -> Option<u64> {
        match self {
            Self::Open { ino, .. } | Self::Write { ino, .. } | Self::Read { ino, .. } => Some(*ino),
            Self::Sync { ino, .. } | Self::Close { ino, .. } => Some(*ino),
            Self::Append { ino, .. } | Self::Cut { ino, .. } => Some(*ino),
            Self::Create { .. } | Self::Unlink { .. } | Self::Rename { .. } | Self::Look { .. } => None,
            Self::Operation { .. } | Self::Mark { .. } => None,
        }
    }

    /// The open file that it uses.
    pub(super) fn handle(&self) -> Option<u64> {
        match self {
            Self::Write { handle, .. } | Self::Read { handle, .. } => Some(*handle),
            Self::Append { handle, .. } => Some(*handle),
            Self::Sync { handle, .. } | Self::Close { handle, .. } => Some(*handle),
            Self::Create { .. } | Self::Open { .. } | Self::Cut { .. } => None,
            Self::Unlink { .. } | Self::Rename { .. } | Self::Look { .. } => None,
            Self::Operation { .. } | Self::Mark { .. } => None,
        }
    }

    /// Its kind.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Open { truncate: false, .. } => "open",
            Self::Open { truncate: true, .. } => "open-truncate",
            Self::Write { .. } => "write",
            Self::Append { .. } => "append",
            Self::Read { .. } => "read",
            Self::Sync { .. } => "fsync",
            Self::Close { .. } => "close",
            Self::Cut { .. } => "truncate",
            Self::Unlink { .. } => "unlink",
            Self::Rename { .. } => "rename",
            Self::Look { .. } => "lookup",
            Self::Operation { operation, .. } => operation.word(),
            Self::Mark { mark, .. } => mark.word(),
        }
    }
}

/// An operation under way.
pub(super) struct Doing {
    pub(super) plan: Plan,
    pub(super) host: usize,
    /// Step and time at which it began.
    pub(super) began: u64,
    pub(super) since: Duration,
    /// What its host held by lease was from before the node's last death.
    pub(super) of_old: bool,
    pub(super) answer: Started<Answer>,
}

pub(super) const ROOT: InodeId = InodeId::ROOT;

/// A name that nobody touches.
pub(super) fn name_of_file(number: usize) -> Vec<u8> {
    format!("k{number}").into_bytes()
}

fn name_of_operation(number: usize) -> Vec<u8> {
    format!("d{number}").into_bytes()
}

pub(super) const RW: OpenMode = OpenMode {
    read: true,
    write: true,
    append: false,
    truncate: false,
    execute: false,
    direct: false,
    no_access_time: false,
};

/// Where no access time is renewed a directory may be listed without a call however new it is.
const NO_DIRECTORY_TIMES: AccessTimes = AccessTimes {
    files: AccessTime::Relative,
    directories: AccessTime::Never,
};

/// Starts it. `handle` is the mount's own, `data` what is written.
pub(super) fn start(
    sim: &Simulation,
    host: usize,
    plan: Plan,
    handle: HandleId,
    data: Option<Buffer>,
) -> Started<Answer> {
    let mount = sim.mount(HostId(host));
    if host > 0 {
        mount.remount(false, NO_DIRECTORY_TIMES);
    }
    sim.start(HostId(host), async move {
        let done = ask(mount, plan, handle, data).await;
        done.map_err(|error| error.errno())
    })
}

#[expect(clippy::too_many_lines, reason = "a table: one arm for each plan")]
async fn ask(mount: Arc<Mount>, plan: Plan, handle: HandleId, data: Option<Buffer>) -> Result<Got, Error> {
    let root = Credentials::root();
    let done = |()| Got::Done;
    match plan {
        Plan::Create { name: number, append } => {
            let mode = OpenMode { append, ..RW };
            let (entry, opened) = mount
                .create(root, (ROOT, name(number)), FIRST_MODE, mode, true)
                .await?;
            Ok(Got::Opened(entry.attr.ino.0, opened.handle))
        }
        Plan::Open {
            ino,
            truncate,
            append,
        } => {
            let mode = OpenMode {
                truncate,
                append,
                ..RW
            };
            let opened = mount.open(root, InodeId(ino), mode).await?;
            Ok(Got::Opened(ino, opened.handle))
        }
        Plan::Write { .. } | Plan::Append { .. } => {
            let Some(data) = data else {
                return Err(Error::BadHandle);
            };
            // Where the kernel takes the end of a file to be says nothing.
            let from = if let Plan::Write { from, .. } = plan {
                from
            } else {
                0
            };
            let offset = from * super::history::CELL as u64;
            mount.write(handle, offset, data, false).await.map(Got::Count)
        }
        Plan::Read { offset, len, .. } => {
            let data = mount.read(handle, offset, len).await?;
            Ok(Got::Bytes(match data {
                ReadData::Bytes(buffer) => buffer.to_vec(),
                ReadData::Zeros(len) => vec![0; len],
                ReadData::End => Vec::new(),
            }))
        }
        Plan::Sync { .. } => mount.fsync(handle).await.map(done),
        Plan::Close { .. } => {
            let flushed = mount.clone().flush(handle).await;
            mount.release(handle).await?;
            flushed.map(done)
        }
        Plan::Cut { ino, size } => {
            let change = SetAttr {
                size: Some(size),
                ..SetAttr::default()
            };
            mount
                .setattr(root, InodeId(ino), change, None)
                .await
                .map(|_| Got::Done)
        }
        Plan::Unlink { name: number, .. } => mount.unlink(root, ROOT, name(number)).await.map(done),
        Plan::Rename { from, to } => mount
            .rename(root, (ROOT, name(from)), (ROOT, name(to)), RenameMode::Replace)
            .await
            .map(done),
        Plan::Look { name: number } => {
            let found = mount.lookup(root, ROOT, name(number)).await?;
            Ok(Got::Found(Shown::of(&found.attr)))
        }
        Plan::Operation { operation, ino } => act(mount, operation, InodeId(ino)).await,
        Plan::Mark { mark, ino } => super::marks::ask(mount, mark, InodeId(ino)).await.map(Got::Marks),
    }
}

async fn act(mount: Arc<Mount>, operation: Operation, ino: InodeId) -> Result<Got, Error> {
    let root = Credentials::root();
    let (from, to, mode) = match operation {
        Operation::Exchange { from, to } => (from, to, RenameMode::Exchange),
        Operation::Move { from, to } => (from, to, RenameMode::NoReplace),
        Operation::Replace { from, to } => (from, to, RenameMode::Replace),
        Operation::Link { to, .. } => {
            mount.link(root, ino, ROOT, name_of_operation(to)).await?;
            return Ok(Got::Done);
        }
        Operation::Remove { name } => {
            mount.unlink(root, ROOT, name_of_operation(name)).await?;
            return Ok(Got::Done);
        }
        Operation::Find { name } => {
            let found = mount.lookup(root, ROOT, name_of_operation(name)).await?;
            return Ok(Got::Found(Shown::of(&found.attr)));
        }
    };
    let (from, to) = (name_of_operation(from), name_of_operation(to));
    mount.rename(root, (ROOT, from), (ROOT, to), mode).await?;
    Ok(Got::Done)
}

/// The one error that a failure outside of the file system is.
pub(super) fn is_failure(errno: i32) -> bool {
    errno == EIO
}
