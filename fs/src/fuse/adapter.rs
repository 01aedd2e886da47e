//! One method per FUSE request: unpack, call the mount, reply.
//!
//! What is not here answers ENOSYS by fuser's default, on purpose: the kernel remembers that and stops asking. So it is for extended
//! attributes (programs get EOPNOTSUPP without another request), `fallocate`, `copy_file_range` and `lseek` (the kernel
//! falls back to its generic ways), `poll` and `bmap`. Locks are not offered at INIT, so the kernel keeps them itself, per
//! host; `access` never comes, because the kernel decides permissions itself; `forget` needs no work, because inode ids are durable.

use super::convert::{
    BLOCK, errno, file_attr, file_type, fopen_flags, ino, new_node, open_mode, permissions, rename_mode,
    set_time,
};
use super::groups::Groups;
use super::meter::Meter;
use super::session::negotiate;
use crate::errno::Error;
use crate::executor::Executor;
use crate::handler::{Entry, HandleId, Mount, Opened, ReadData};
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::cred::Credentials;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::{DirEntry, NewInode, Space};
use rdmafs_rdma::buffer::Buffer;
use rdmafs_rdma::clock::{Clock, SystemClock};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What a hole reads as, as long as the largest read.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// Entries asked for at once: about what fits the 32 KiB that readdir(3) of glibc reads.
const PAGE: u32 = 256;

/// Inode ids are never reused, so there is one generation.
const GENERATION: Generation = Generation(0);

/// The file system that fuser drives.
pub(super) struct Adapter {
    mount: Arc<Mount>,
    executor: Executor,
    meter: Arc<Meter>,
    groups: Groups,
    clock: SystemClock,
    callers_visible: bool,
}

impl Adapter {
    /// `callers_visible`: the thread ids of requests are those of this process's pid namespace.
    pub(super) fn new(mount: Arc<Mount>, meter: Arc<Meter>, callers_visible: bool) -> Self {
        Self {
            executor: mount.executor().clone(),
            mount,
            meter,
            groups: Groups::new(),
            clock: SystemClock::new(),
            callers_visible,
        }
    }

    /// Starts an operation and sees to its reply. fuser answers EIO for a reply that a panic dropped.
    fn serve<T, F>(
        &self,
        request: &Request,
        start: impl FnOnce(Arc<Mount>) -> F,
        reply: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let running = self.meter.start();
        let run = move || {
            let operation = start(self.mount.clone());
            self.executor.run(self.tid(request), operation, move |result| {
                reply(result);
                drop(running);
            });
        };
        // A panic would end the mount (in fuser's first worker) or lose a worker (in any other).
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(?request, "a request panicked: this is a bug");
        }
    }

    fn tid(&self, request: &Request) -> u32 {
        if self.callers_visible { request.pid() } else { 0 }
    }

    fn caller(&self, request: &Request) -> Credentials {
        let (uid, gid) = (request.uid(), request.gid());
        Credentials {
            uid,
            gid,
            groups: self.groups.of((self.tid(request), uid, gid), self.clock.now()),
        }
    }

    /// Makes an inode; EINVAL when `what` was nothing that can be made.
    fn make(
        &self,
        request: &Request,
        place: (INodeNo, &OsStr),
        what: Option<NewInode>,
        mode: u16,
        reply: ReplyEntry,
    ) {
        let (parent, name) = (ino(place.0), bytes(place.1));
        self.serve(
            request,
            |mount| {
                let caller = self.caller(request);
                async move {
                    let what = what.ok_or(Error::Meta(MetaError::Invalid))?;
                    mount.make(caller, parent, name, what, mode).await
                }
            },
            |made| entry(reply, made),
        );
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        negotiate(config);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.serve(
            req,
            |mount| mount.lookup(self.caller(req), ino(parent), bytes(name)),
            |found| entry(reply, found),
        );
    }

    fn getattr(&self, req: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.serve(
            req,
            |mount| mount.getattr(self.caller(req), ino(node)),
            |found| attr(reply, found),
        );
    }

    fn setattr(
        &self,
        req: &Request,
        node: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = SetAttr {
            mode: mode.map(|mode| permissions(mode, 0)),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
        };
        self.serve(
            req,
            |mount| mount.setattr(self.caller(req), ino(node), change, fh.map(handle)),
            |changed| attr(reply, changed),
        );
    }

    fn readlink(&self, req: &Request, node: INodeNo, reply: ReplyData) {
        self.serve(
            req,
            |mount| mount.readlink(self.caller(req), ino(node)),
            |target| match target {
                Ok(target) => reply.data(&target),
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let what = new_node(mode, rdev);
        self.make(req, (parent, name), what, permissions(mode, umask), reply);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let what = Some(NewInode::Directory);
        self.make(req, (parent, name), what, permissions(mode, umask), reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let what = Some(NewInode::Symlink(bytes(target.as_os_str())));
        self.make(req, (parent, name), what, 0o777, reply);
    }

    fn link(&self, req: &Request, node: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.serve(
            req,
            |mount| mount.link(self.caller(req), ino(node), ino(newparent), bytes(newname)),
            |linked| entry(reply, linked),
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.unlink(self.caller(req), ino(parent), bytes(name)),
            |removed| empty(reply, removed),
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.rmdir(self.caller(req), ino(parent), bytes(name)),
            |removed| empty(reply, removed),
        );
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (from, to) = ((ino(parent), bytes(name)), (ino(newparent), bytes(newname)));
        self.serve(
            req,
            |mount| {
                let caller = self.caller(req);
                async move {
                    let mode = rename_mode(flags).ok_or(Error::Meta(MetaError::Invalid))?;
                    mount.rename(caller, from.0, from.1, to.0, to.1, mode).await
                }
            },
            |renamed| empty(reply, renamed),
        );
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mode = permissions(mode, umask);
        let (open, exclusive) = (open_mode(OpenFlags(flags)), flags & libc::O_EXCL != 0);
        self.serve(
            req,
            |mount| mount.create(self.caller(req), ino(parent), bytes(name), mode, open, exclusive),
            |made| match made {
                Ok((entry, opened)) => reply.created(
                    &entry.ttl,
                    &file_attr(&entry.attr),
                    GENERATION,
                    FileHandle(opened.handle.0),
                    fopen_flags(&opened),
                ),
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn open(&self, req: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.serve(
            req,
            |mount| mount.open(self.caller(req), ino(node), open_mode(flags)),
            |opened| open_reply(reply, opened),
        );
    }

    fn read(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.serve(
            req,
            |mount| mount.read(handle(fh), offset, size as usize),
            |data| match data {
                Ok(ReadData::Bytes(bytes)) => reply.data(&bytes),
                Ok(ReadData::Zeros(len)) => match ZEROS.get(..len) {
                    Some(zeros) => reply.data(zeros),
                    None => reply.data(&vec![0; len]),
                },
                Ok(ReadData::End) => reply.data(&[]),
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn write(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let clear_set_id = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        self.serve(
            req,
            |mount| {
                let taken = take(&mount, data);
                async move {
                    let buffer = match taken {
                        Ok(buffer) => buffer,
                        Err(copy) => filled(mount.clone().wait_buffer(copy.len()).await?, &copy),
                    };
                    mount.write(handle(fh), offset, buffer, clear_set_id).await
                }
            },
            |written| match written {
                Ok(len) => reply.written(u32::try_from(len).unwrap_or(u32::MAX)),
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn flush(&self, req: &Request, _: INodeNo, fh: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.flush(handle(fh)),
            |flushed| empty(reply, flushed),
        );
    }

    fn release(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.serve(
            req,
            |mount| mount.release(handle(fh)),
            |released| empty(reply, released),
        );
    }

    fn fsync(&self, req: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.fsync(handle(fh)),
            |synced| empty(reply, synced),
        );
    }

    fn opendir(&self, req: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.serve(
            req,
            |mount| mount.opendir(self.caller(req), ino(node)),
            |opened| match opened {
                Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn readdir(&self, req: &Request, _: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.serve(
            req,
            |mount| mount.readdir(handle(fh), offset, PAGE),
            move |page| match page {
                Ok(page) => {
                    // What does not fit, the kernel asks for again.
                    let _full = page.iter().any(|entry| {
                        let node = INodeNo(entry.attr.ino.0);
                        let kind = file_type(entry.attr.kind);
                        reply.add(node, entry.cookie, kind, OsStr::from_bytes(&entry.name))
                    });
                    reply.ok();
                }
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn readdirplus(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let ttl = self.mount.ttl();
        self.serve(
            req,
            |mount| mount.readdir(handle(fh), offset, PAGE),
            move |page| match page {
                Ok(page) => {
                    let _full = page.iter().any(|entry| add_with_attr(&mut reply, entry, ttl));
                    reply.ok();
                }
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn fsyncdir(&self, req: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.fsyncdir(handle(fh)),
            |synced| empty(reply, synced),
        );
    }

    fn releasedir(&self, req: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.releasedir(handle(fh)),
            |released| empty(reply, released),
        );
    }

    fn statfs(&self, req: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.serve(
            req,
            |mount| mount.statfs(),
            |space| match space {
                Ok(space) => space_reply(reply, &space),
                Err(error) => reply.error(errno(&error)),
            },
        );
    }

    fn ioctl(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        flags: IoctlFlags,
        command: u32,
        input: &[u8],
        out_size: u32,
        reply: ReplyIoctl,
    ) {
        // A directory's handle is no file's.
        let directory = flags.contains(IoctlFlags::FUSE_IOCTL_DIR);
        self.serve(
            req,
            |mount| {
                let input = input.to_vec();
                async move {
                    if directory {
                        return Err(Error::NoSuchIoctl);
                    }
                    mount.ioctl(handle(fh), command, input).await
                }
            },
            move |output| match output {
                Ok(output) if output.len() <= out_size as usize => reply.ioctl(0, &output),
                Ok(_) => reply.error(Errno::EINVAL),
                Err(error) => reply.error(errno(&error)),
            },
        );
    }
}

fn handle(fh: FileHandle) -> HandleId {
    HandleId(fh.0)
}

fn bytes(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

/// The request's bytes, which are only borrowed: in a registered buffer, or beside it when none is free.
fn take(mount: &Mount, data: &[u8]) -> Result<Buffer, Vec<u8>> {
    match mount.try_buffer(data.len()) {
        Some(buffer) => Ok(filled(buffer, data)),
        None => Err(data.to_vec()),
    }
}

fn filled(mut buffer: Buffer, data: &[u8]) -> Buffer {
    buffer.copy_from_slice(data);
    buffer
}

fn entry(reply: ReplyEntry, entry: Result<Entry, Error>) {
    match entry {
        Ok(entry) => reply.entry(&entry.ttl, &file_attr(&entry.attr), GENERATION),
        Err(error) => reply.error(errno(&error)),
    }
}

fn attr(reply: ReplyAttr, entry: Result<Entry, Error>) {
    match entry {
        Ok(entry) => reply.attr(&entry.ttl, &file_attr(&entry.attr)),
        Err(error) => reply.error(errno(&error)),
    }
}

fn empty(reply: ReplyEmpty, done: Result<(), Error>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(&error)),
    }
}

fn open_reply(reply: ReplyOpen, opened: Result<Opened, Error>) {
    match opened {
        Ok(opened) => reply.opened(FileHandle(opened.handle.0), fopen_flags(&opened)),
        Err(error) => reply.error(errno(&error)),
    }
}

/// True when the entry did not fit. "." and ".." carry their number only: the kernel counts no look-up for them.
fn add_with_attr(reply: &mut ReplyDirectoryPlus, entry: &DirEntry, ttl: Duration) -> bool {
    let attr = file_attr(&entry.attr);
    let dots = matches!(entry.name.as_slice(), b"." | b"..");
    let node = if dots { INodeNo(0) } else { attr.ino };
    let name = OsStr::from_bytes(&entry.name);
    reply.add(node, entry.cookie, name, &ttl, &attr, GENERATION)
}

fn space_reply(reply: ReplyStatfs, space: &Space) {
    let blocks = |bytes: u64| bytes / u64::from(BLOCK);
    let free = blocks(space.free);
    // Every file with a byte in it needs a block.
    let files = space.inodes.saturating_add(free);
    reply.statfs(blocks(space.total), free, free, files, free, BLOCK, 255, BLOCK);
}
