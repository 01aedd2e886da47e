//! Inodes and their attributes.

use super::reader::{Reader, inode_of, shown};
use crate::attr::{Attr, FileKind};
use crate::flags::InodeFlags;
use crate::id::{InodeId, Version};
use crate::namespace::record::InodeRecord;
use crate::namespace::space::MAX_SIZE;
use crate::permission::MODE_MASK;
use crate::problem::ProblemKind;
use crate::tree::{Body, FIRST_COOKIE, Inode};
use crate::wire::MAX_SYMLINK;

/// The place of an entry is a `loff_t` for programs, and it only rises.
const MAX_COOKIE: u64 = 1 << 62;
/// Counters that only rise start again above this.
const MAX_COUNTER: u64 = 1 << 62;

impl Reader {
    pub(super) fn inode(&mut self, key: &[u8], value: &[u8]) {
        self.reading.is_new = false;
        let Some((ino, [])) = inode_of(key) else {
            return self.unknown(key, value);
        };
        self.greatest = self.greatest.max(ino.0);
        let Ok(record) = InodeRecord::decode(key, value) else {
            self.leave_out(key);
            let remedy = "remove what is left of it; a directory with entries is made anew";
            return self.report(
                ProblemKind::MalformedValue,
                ino,
                "its attributes cannot be read",
                remedy,
            );
        };
        let stored = record.flags();
        let mut inode = record.into_inode();
        if ino == InodeId::ROOT && !matches!(inode.body, Body::Directory(_)) {
            self.leave_out(key);
            let remedy = "make it anew, with mode 0700 and owned by root";
            return self.report(ProblemKind::NoRoot, ino, "the root is no directory", remedy);
        }
        let before = inode.clone();
        if inode.attr.ino != ino {
            let what = format!("it says that it is inode {}", inode.attr.ino);
            self.report(
                ProblemKind::WrongInodeId,
                ino,
                what,
                format!("let it be inode {ino}"),
            );
            inode.attr.ino = ino;
        }
        self.attributes(&mut inode);
        self.flags(&mut inode, stored);
        let changed = inode != before || inode.attr.flags.bits() != stored;
        self.reading.tree.restore(inode);
        if changed {
            self.touch(ino);
        }
    }

    fn attributes(&mut self, inode: &mut Inode) {
        let ino = inode.attr.ino;
        let mut wrong = Vec::new();
        let (attr, body) = (&mut inode.attr, &mut inode.body);
        if !fits(attr.kind, body) {
            wrong.push(format!("it is no {:?}", attr.kind));
            attr.kind = match body {
                Body::File { .. } => FileKind::Regular,
                Body::Directory(_) => FileKind::Directory,
                Body::Symlink(_) => FileKind::Symlink,
                Body::Special => FileKind::Fifo,
            };
        }
        if attr.mode > MODE_MASK {
            wrong.push(format!("its mode is {:o}", attr.mode));
            attr.mode &= MODE_MASK;
        }
        if attr.version.0 > MAX_COUNTER || attr.truncate_seq > MAX_COUNTER {
            wrong.push("its counters are impossible".into());
            (attr.version, attr.truncate_seq) = (Version(1), 0);
        }
        wrong.extend(wrong_target(body));
        wrong.extend(wrong_size(attr, body));
        if !wrong.is_empty() {
            let remedy = "put that right";
            self.report(ProblemKind::BadAttribute, ino, wrong.join(", "), remedy);
        }
        if let Body::Directory(directory) = body
            && !(FIRST_COOKIE..=MAX_COOKIE).contains(&directory.next_cookie)
        {
            let what = format!("{} cannot be the next place in it", directory.next_cookie);
            directory.next_cookie = FIRST_COOKIE;
            self.anew.insert(ino);
            self.report(
                ProblemKind::BadCookie,
                ino,
                what,
                "give all its entries new places",
            );
        }
    }

    /// `stored`: with what no flag has.
    fn flags(&mut self, inode: &mut Inode, stored: u32) {
        let attr = &mut inode.attr;
        if !attr.kind.has_flags() {
            attr.flags = InodeFlags::NONE;
        }
        if attr.flags.bits() != stored {
            let (ino, what) = (attr.ino, format!("its flags are {stored:#x}"));
            self.report(
                ProblemKind::BadAttribute,
                ino,
                what,
                "keep those that it can have",
            );
        }
    }
}

fn fits(kind: FileKind, body: &Body) -> bool {
    match kind {
        FileKind::Regular => matches!(body, Body::File { .. }),
        FileKind::Directory => matches!(body, Body::Directory(_)),
        FileKind::Symlink => matches!(body, Body::Symlink(_)),
        FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => {
            matches!(body, Body::Special)
        }
    }
}

/// Puts a size right that cannot be; says what was wrong.
fn wrong_size(attr: &mut Attr, body: &Body) -> Option<String> {
    let size = match body {
        Body::File { .. } => attr.size.min(MAX_SIZE),
        Body::Symlink(target) => target.len() as u64,
        Body::Directory(_) | Body::Special => 0,
    };
    let before = std::mem::replace(&mut attr.size, size);
    (before != size).then(|| format!("its size is {before}"))
}

/// Makes a target of what cannot be one; says what was wrong.
fn wrong_target(body: &mut Body) -> Option<String> {
    let Body::Symlink(target) = body else { return None };
    let sound = (1..=MAX_SYMLINK).contains(&target.len()) && !target.contains(&0);
    if sound {
        return None;
    }
    let what = format!("its target is '{}'", shown(target));
    target.retain(|byte| *byte != 0);
    target.truncate(MAX_SYMLINK);
    if target.is_empty() {
        target.push(b'.');
    }
    Some(what)
}
