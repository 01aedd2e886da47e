//! The emptiest file system on FUSE, to compare with: `empty DIR [MIB]`. One file `data` in memory, read and written by as many
//! workers as a mount of rdmafs has. What it takes is FUSE; what a mount takes beyond is ours. Runs until it is unmounted.

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, ReplyWrite, Request, SessionACL, WriteFlags,
};
use parking_lot::RwLock;
use rdmafs_fs::mount::{KernelFlags, Namespace};
use std::error::Error;
use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

const DATA: INodeNo = INodeNo(2);
const TTL: Duration = Duration::from_secs(3600);

struct Empty {
    bytes: RwLock<Vec<u8>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let dir = words.next().ok_or("usage: empty DIR [MIB]")?;
    let mib: usize = words.next().map_or(Ok(64), |word| word.parse())?;
    // Not zeros of the kernel's: pages that are there.
    let bytes = RwLock::new(vec![1; mib << 20]);
    let dir = Path::new(&dir).canonicalize()?;
    let made = Namespace::own()?.enter(|view| view.attach("empty", &dir, KernelFlags::default(), None))?;
    let device = made?.fuse;
    let mut config = Config::default();
    config.acl = SessionACL::All;
    config.n_threads = Some(
        std::thread::available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, 16),
    );
    config.clone_fd = true;
    fuser::Session::from_fd(Empty { bytes }, device, SessionACL::All, config)?.run()?;
    Ok(())
}

impl Empty {
    fn attr(&self, node: INodeNo) -> FileAttr {
        let data = node == DATA;
        let size = if data { self.bytes.read().len() as u64 } else { 0 };
        FileAttr {
            ino: node,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if data {
                FileType::RegularFile
            } else {
                FileType::Directory
            },
            perm: if data { 0o666 } else { 0o755 },
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Empty {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == "data" {
            reply.entry(&TTL, &self.attr(DATA), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&TTL, &self.attr(node));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // As with cache=none.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let bytes = self.bytes.read();
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(size as usize).min(bytes.len());
        reply.data(&bytes[from..to]);
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut bytes = self.bytes.write();
        let place = usize::try_from(offset).ok().and_then(|from| {
            let to = from.checked_add(data.len())?;
            bytes.get_mut(from..to)
        });
        match (place, u32::try_from(data.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(data);
                reply.written(len);
            }
            _ => reply.error(Errno::ENOSPC),
        }
    }
}
