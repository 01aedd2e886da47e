//! What the handler answered, as FUSE replies.

use super::convert::{BLOCK, errno, file_attr, file_type, fopen_flags};
use crate::errno::Error;
use crate::handler::{Entry, HandleId, Mount, Opened, ReadData, XattrData};
use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr,
};
use rdmafs_meta::lock::Span;
use rdmafs_meta::wire::{DirEntry, Room};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// What a hole reads as, as long as the largest read.
static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

pub(super) fn entry(reply: ReplyEntry, entry: Result<Entry, Error>) {
    match entry {
        Ok(entry) => {
            let generation = Generation(entry.generation.into());
            reply.entry(&entry.ttl, &file_attr(&entry.attr), generation);
        }
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn attr(reply: ReplyAttr, entry: Result<Entry, Error>) {
    match entry {
        Ok(entry) => reply.attr(&entry.ttl, &file_attr(&entry.attr)),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn empty(reply: ReplyEmpty, done: Result<(), Error>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(&error)),
    }
}

/// What F_GETLK found: a span, whether it is exclusive, and a process.
pub(super) fn lock(reply: ReplyLock, found: Result<Option<(Span, bool, u32)>, Error>) {
    match found {
        Ok(None) => reply.locked(0, 0, libc::F_UNLCK, 0),
        Ok(Some((span, exclusive, process))) => {
            let kind = if exclusive { libc::F_WRLCK } else { libc::F_RDLCK };
            reply.locked(span.start(), span.last(), kind, process);
        }
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn open(reply: ReplyOpen, opened: Result<Opened, Error>) {
    match opened {
        Ok(opened) => reply.opened(FileHandle(opened.handle.0), fopen_flags(&opened)),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn space(reply: ReplyStatfs, room: Result<Room, Error>) {
    let Room {
        space,
        names,
        names_free,
    } = match room {
        Ok(room) => room,
        Err(error) => return reply.error(errno(&error)),
    };
    let blocks = |bytes: u64| bytes / u64::from(BLOCK);
    let free = blocks(space.free);
    reply.statfs(
        blocks(space.total),
        free,
        free,
        names,
        names_free,
        BLOCK,
        255,
        BLOCK,
    );
}

pub(super) fn target(reply: ReplyData, target: Result<Vec<u8>, Error>) {
    match target {
        Ok(target) => reply.data(&target),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn data(reply: ReplyData, data: Result<ReadData, Error>) {
    match data {
        Ok(ReadData::Bytes(bytes)) => reply.data(&bytes),
        Ok(ReadData::Zeros(len)) => match ZEROS.get(..len) {
            Some(zeros) => reply.data(zeros),
            None => reply.data(&vec![0; len]),
        },
        Ok(ReadData::End) => reply.data(&[]),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn written(reply: ReplyWrite, written: Result<usize, Error>) {
    match written {
        Ok(len) => reply.written(u32::try_from(len).unwrap_or(u32::MAX)),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn place(reply: ReplyLseek, found: Result<u64, Error>) {
    match found {
        Ok(offset) => reply.offset(offset.cast_signed()),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn xattr(reply: ReplyXattr, data: Result<XattrData, Error>) {
    match data {
        Ok(XattrData::Size(size)) => reply.size(size),
        Ok(XattrData::Bytes(bytes)) => reply.data(&bytes),
        Err(error) => reply.error(errno(&error)),
    }
}

/// `room`: what the command's number says that the caller has.
pub(super) fn ioctl(reply: ReplyIoctl, output: Result<Vec<u8>, Error>, room: u32) {
    match output {
        Ok(output) if output.len() <= room as usize => reply.ioctl(0, &output),
        Ok(_) => reply.error(Errno::EINVAL),
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn created(reply: ReplyCreate, made: Result<(Entry, Opened), Error>) {
    match made {
        Ok((entry, opened)) => {
            let handle = FileHandle(opened.handle.0);
            let (attr, generation) = (file_attr(&entry.attr), Generation(entry.generation.into()));
            reply.created(&entry.ttl, &attr, generation, handle, fopen_flags(&opened));
        }
        Err(error) => reply.error(errno(&error)),
    }
}

pub(super) fn directory(reply: ReplyOpen, opened: Result<HandleId, Error>) {
    match opened {
        Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
        Err(error) => reply.error(errno(&error)),
    }
}

/// What does not fit, the kernel asks for again.
pub(super) fn page(mut reply: ReplyDirectory, page: Result<Vec<DirEntry>, Error>) {
    let page = match page {
        Ok(page) => page,
        Err(error) => return reply.error(errno(&error)),
    };
    for entry in page {
        let node = INodeNo(entry.attr.ino.0);
        let name = OsStr::from_bytes(&entry.name);
        if reply.add(node, entry.cookie, file_type(entry.attr.kind), name) {
            break;
        }
    }
    reply.ok();
}

/// Answers READDIRPLUS: entries with attributes, as many as fit. `mount` hears of the attributes that are sent.
pub(super) fn page_with_attrs(
    mut reply: ReplyDirectoryPlus,
    page: Result<Vec<DirEntry>, Error>,
    mount: &Mount,
) {
    let page = match page {
        Ok(page) => page,
        Err(error) => return reply.error(errno(&error)),
    };
    for entry in page {
        let attr = file_attr(&entry.attr);
        // "." and ".." carry their number only: the kernel counts no look-up for them.
        let dots = matches!(entry.name.as_slice(), b"." | b"..");
        let node = if dots { INodeNo(0) } else { attr.ino };
        let name = OsStr::from_bytes(&entry.name);
        let generation = Generation(mount.generation(entry.attr.ino).into());
        if reply.add(node, entry.cookie, name, &mount.ttl(), &attr, generation) {
            break;
        }
        if !dots {
            mount.gives(&entry.attr);
        }
    }
    reply.ok();
}
