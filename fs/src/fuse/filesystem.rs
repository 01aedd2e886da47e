//! One method per FUSE request: unpack, call the mount, reply.
//!
//! What is not here answers ENOSYS by fuser's default, on purpose: the kernel remembers that and stops asking. So it is for
//! `poll` and `bmap`. `access` never comes, because the kernel decides permissions itself; `forget` needs no work, because inode
//! ids are durable.

use super::adapter::Adapter;
use super::convert::{
    bytes, handle, new_node, open_mode, permissions, rename_mode, seek, set_time, space_change, write_mode,
    xattr_mode,
};
use super::reply;
use super::session::negotiate;
use crate::errno::Error;
use crate::handler::{DIRECTORY_PAGE, FilePlace, Mount};
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::wire::NewInode;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        negotiate(config, &self.mount, self.callers)
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.serve(
            req,
            |mount| mount.lookup_by(self.tid(req), self.caller(req), self.at(parent), bytes(name)),
            |found| reply::entry(reply, found),
        );
    }

    fn getattr(&self, req: &Request, node: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        self.serve(
            req,
            |mount| mount.getattr_as(self.caller(req), self.at(node), fh.is_some()),
            |found| reply::attr(reply, found),
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
            mode: mode.map(permissions),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
        };
        self.serve(
            req,
            |mount| mount.setattr(self.caller(req), self.at(node), change, fh.map(handle)),
            |changed| reply::attr(reply, changed),
        );
    }

    fn readlink(&self, req: &Request, node: INodeNo, reply: ReplyData) {
        self.serve(
            req,
            |mount| mount.readlink(self.caller(req), self.at(node)),
            |target| reply::target(reply, target),
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
        self.make(req, (parent, name), what, (mode, umask), reply);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let what = Some(NewInode::Directory);
        self.make(req, (parent, name), what, (mode, umask), reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let what = Some(NewInode::Symlink(bytes(target.as_os_str())));
        self.make(req, (parent, name), what, (0o777, 0), reply);
    }

    fn link(&self, req: &Request, node: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let (node, parent) = (self.at(node), self.at(newparent));
        self.serve(
            req,
            |mount| mount.link(self.caller(req), node, parent, bytes(newname)),
            |linked| reply::entry(reply, linked),
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.unlink(self.caller(req), self.at(parent), bytes(name)),
            |removed| reply::empty(reply, removed),
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.rmdir(self.caller(req), self.at(parent), bytes(name)),
            |removed| reply::empty(reply, removed),
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
        let (from, to) = (self.name(parent, name), self.name(newparent, newname));
        self.serve(
            req,
            |mount| {
                let caller = self.caller(req);
                async move {
                    let mode = rename_mode(flags).ok_or(Error::Meta(MetaError::Invalid))?;
                    mount.rename(caller, from, to, mode).await
                }
            },
            |renamed| reply::empty(reply, renamed),
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
        let (at, mode, umask) = (self.name(parent, name), permissions(mode), permissions(umask));
        let (open, exclusive) = (open_mode(OpenFlags(flags)), flags & libc::O_EXCL != 0);
        self.serve(
            req,
            |mount| mount.create(self.caller(req).with_umask(umask), at, mode, open, exclusive),
            |made| reply::created(reply, made),
        );
    }

    fn open(&self, req: &Request, node: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.serve(
            req,
            |mount| mount.open(self.caller(req), self.at(node), open_mode(flags)),
            |opened| reply::open(reply, opened),
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
        owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        // Only of a read that passes the kernel's cache by is it said whose locks count.
        let cached = owner.is_none();
        self.serve(
            req,
            |mount| mount.read_as(handle(fh), offset, size as usize, cached),
            |data| reply::data(reply, data),
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
        flags: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let clears = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let (mode, writer) = (write_mode(write_flags, flags), clears.then(|| self.caller(req)));
        let program = (!mode.write_back).then(|| req.uid());
        self.serve(
            req,
            |mount| {
                // fuser only lends them.
                let taken = mount.take_bytes(data, program);
                async move {
                    let buffer = taken.into_buffer(mount.clone()).await?;
                    mount.write_as(handle(fh), offset, buffer, mode, writer).await
                }
            },
            |written| reply::written(reply, written),
        );
    }

    fn flush(&self, req: &Request, _: INodeNo, fh: FileHandle, owner: LockOwner, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.flush_by(handle(fh), owner.0),
            |flushed| reply::empty(reply, flushed),
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
            |released| reply::empty(reply, released),
        );
    }

    fn fsync(&self, req: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.fsync(handle(fh)),
            |synced| reply::empty(reply, synced),
        );
    }

    fn getlk(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        reply: ReplyLock,
    ) {
        let call = self.lock_call(req, (fh, owner), (start, end), (typ, pid));
        self.serve(
            req,
            |mount| async move { mount.conflict(call?).await },
            |found| reply::lock(reply, found),
        );
    }

    fn setlk(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        owner: LockOwner,
        start: u64,
        end: u64,
        typ: i32,
        pid: u32,
        sleep: bool,
        reply: ReplyEmpty,
    ) {
        let call = self.lock_call(req, (fh, owner), (start, end), (typ, pid));
        let wait = sleep && typ != libc::F_UNLCK;
        let start = |mount: Arc<Mount>| async move {
            match typ {
                libc::F_UNLCK => mount.unlock(call?).await,
                _ => mount.lock(call?, wait).await,
            }
        };
        self.serve_as(req, wait, start, |done| reply::empty(reply, done));
    }

    fn opendir(&self, req: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.serve(
            req,
            |mount| mount.opendir(self.caller(req), self.at(node)),
            |opened| reply::directory(reply, opened),
        );
    }

    fn readdir(&self, req: &Request, _: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.serve(
            req,
            |mount| mount.readdir(handle(fh), offset, DIRECTORY_PAGE),
            |page| reply::page(reply, page),
        );
    }

    fn readdirplus(&self, req: &Request, _: INodeNo, fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let mount = self.mount.clone();
        self.serve(
            req,
            |mount| mount.readdir(handle(fh), offset, DIRECTORY_PAGE),
            move |page| reply::page_with_attrs(reply, page, &mount),
        );
    }

    fn fsyncdir(&self, req: &Request, _: INodeNo, fh: FileHandle, _: bool, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.fsyncdir(handle(fh)),
            |synced| reply::empty(reply, synced),
        );
    }

    fn releasedir(&self, req: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.releasedir(handle(fh)),
            |released| reply::empty(reply, released),
        );
    }

    fn statfs(&self, req: &Request, node: INodeNo, reply: ReplyStatfs) {
        self.serve(
            req,
            |mount| mount.statfs(self.at(node)),
            |room| reply::space(reply, room),
        );
    }

    fn fallocate(
        &self,
        req: &Request,
        _: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.serve(
            req,
            |mount| {
                let caller = self.caller(req);
                async move {
                    let change = space_change(mode).ok_or(Error::Meta(MetaError::Unsupported))?;
                    mount
                        .fallocate(caller, handle(fh), (offset, length), change)
                        .await
                }
            },
            |changed| reply::empty(reply, changed),
        );
    }

    fn lseek(&self, req: &Request, _: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        self.serve(
            req,
            |mount| async move {
                let (offset, hole) = seek(offset, whence).ok_or(Error::Meta(MetaError::Invalid))?;
                mount.seek(handle(fh), offset, hole).await
            },
            |found| reply::place(reply, found),
        );
    }

    fn copy_file_range(
        &self,
        req: &Request,
        _: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let place = |fh, offset| FilePlace {
            handle: handle(fh),
            offset,
        };
        let (from, to) = (place(fh_in, offset_in), place(fh_out, offset_out));
        self.serve(
            req,
            |mount| mount.copy(self.caller(req), from, to, len),
            |copied| reply::written(reply, copied),
        );
    }

    fn setxattr(
        &self,
        req: &Request,
        node: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (bytes(name), value.to_vec());
        self.serve(
            req,
            |mount| mount.setxattr(self.caller(req), self.at(node), name, value, xattr_mode(flags)),
            |set| reply::empty(reply, set),
        );
    }

    fn getxattr(&self, req: &Request, node: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.serve(
            req,
            |mount| mount.getxattr(self.caller(req), self.at(node), bytes(name), size),
            |value| reply::xattr(reply, value),
        );
    }

    fn listxattr(&self, req: &Request, node: INodeNo, size: u32, reply: ReplyXattr) {
        self.serve(
            req,
            |mount| mount.listxattr(self.caller(req), self.at(node), size),
            |names| reply::xattr(reply, names),
        );
    }

    fn removexattr(&self, req: &Request, node: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.serve(
            req,
            |mount| mount.removexattr(self.caller(req), self.at(node), bytes(name)),
            |removed| reply::empty(reply, removed),
        );
    }

    fn ioctl(
        &self,
        req: &Request,
        node: INodeNo,
        fh: FileHandle,
        flags: IoctlFlags,
        command: u32,
        input: &[u8],
        out_size: u32,
        reply: ReplyIoctl,
    ) {
        // A directory's handle is no file's.
        let file = (!flags.contains(IoctlFlags::FUSE_IOCTL_DIR)).then(|| handle(fh));
        let on = (self.at(node), file);
        self.serve(
            req,
            |mount| mount.ioctl_on(self.caller(req), on, command, input.to_vec()),
            move |output| reply::ioctl(reply, output, out_size),
        );
    }
}
