//! What an answer says of attributes, extended ones too, and names: the one place where any of it is learned.

use super::cache::{Cache, Learn};
use super::changing::Change;
use super::extras::Extra;
use super::listing::{ListedEntry, Page};
use super::named::Named;
use rdmafs_meta::attr::Attr;
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::name::Name;
use rdmafs_meta::wire::{Answer, ChangedName, DirEntry, NewInode, RenameMode, Reply, Request, StampedAnswer};

impl Cache {
    /// The request was answered; `change` is what [`Cache::begins`] said of it.
    pub(super) fn answered(&mut self, request: &Request, change: &Change, said: &StampedAnswer) {
        let learn = self.ends(change, said.stamp);
        let of_answer = said.answer.as_ref().ok().and_then(attributes);
        for attr in said.changed.iter().chain(of_answer) {
            self.loses_names(attr);
        }
        if learn == Learn::Nothing {
            return;
        }
        for attr in &said.changed {
            self.learn_attributes(attr, said.stamp);
        }
        if let Some(attr) = of_answer {
            self.learn_attributes(attr, said.stamp);
        }
        if let Some((ino, extra)) = Extra::answered(request, &said.answer) {
            self.learn_extra(ino, extra, said.stamp);
        }
        match (request, &said.answer) {
            (Request::ReadDir { ino, after, .. }, Ok(Reply::Directory { entries, end, next })) => {
                let page = Page {
                    after: *after,
                    last: entries.last().map_or(*after, |entry| entry.cookie),
                    end: *end,
                    next: *next,
                };
                self.learn_entries(*ino, page, entries, said.stamp);
            }
            (
                Request::CatchUp { ino, since },
                Ok(Reply::CaughtUp {
                    attr,
                    complete,
                    names,
                }),
            ) => {
                self.learn_attributes(attr, said.stamp);
                match complete {
                    true => self.learn_caught_up((*ino, *since), names, said.stamp),
                    false => self.cannot_follow(*ino, *since),
                }
            }
            (Request::Rename { mode, .. }, Ok(Reply::Done)) => {
                if learn == Learn::All && !moves_more(*mode) {
                    self.learn_moved(change, said.stamp);
                }
            }
            (request, answer) => self.learn_one(request, answer, said.stamp),
        }
    }

    /// What the answer says of one name.
    fn learn_one(&mut self, request: &Request, answer: &Answer, stamp: Stamp) {
        let attr = answer.as_ref().ok().and_then(attributes);
        let (parent, name, named) = match (request, answer) {
            (Request::Lookup { parent, name }, Err(MetaError::NotFound)) => (parent, name, Named::Absent),
            (Request::Unlink { parent, name } | Request::RemoveDir { parent, name }, Ok(_)) => {
                (parent, name, Named::Absent)
            }
            (
                Request::Lookup { parent, name }
                | Request::Make { parent, name, .. }
                | Request::Link { parent, name, .. },
                Ok(_),
            ) => match attr {
                Some(attr) => (parent, name, Named::At(attr.ino)),
                None => return,
            },
            _ => return,
        };
        if let (
            Request::Make {
                what: NewInode::Directory,
                ..
            },
            Some(attr),
        ) = (request, attr)
        {
            self.learn_whole(attr.ino, stamp);
        }
        self.learn_name((*parent, name.clone()), named, stamp);
    }

    /// Between two names of one inode nothing moves (rename(2)), so both must have been known.
    fn learn_moved(&mut self, change: &Change, stamp: Stamp) {
        let ([old, new], [(_, from), (_, onto)]) = (&*change.names, &*change.relies_on) else {
            return;
        };
        if matches!(from, Named::At(_)) && from != onto {
            self.learn_name(old.clone(), Named::Absent, stamp);
            self.learn_name(new.clone(), *from, stamp);
        }
    }

    fn learn_caught_up(&mut self, from: (InodeId, Stamp), names: &[ChangedName], stamp: Stamp) {
        for attr in names.iter().filter_map(|name| name.attr.as_ref()) {
            self.learn_attributes(attr, stamp);
        }
        let named = names.iter().map(|ChangedName { name, attr }| {
            let ino = attr.as_ref().map(|attr| attr.ino);
            (name.clone(), ino.map_or(Named::Absent, Named::At))
        });
        self.learn_changed(from, named, stamp);
    }

    fn learn_entries(&mut self, directory: InodeId, page: Page, entries: &[DirEntry], stamp: Stamp) {
        let mut listed = Vec::with_capacity(entries.len());
        for entry in entries {
            self.learn_attributes(&entry.attr, stamp);
            // "." and ".." are no names.
            let name = Name::new(entry.name.as_slice()).ok();
            listed.extend(ListedEntry::of(entry, name.as_ref()));
            if let Some(name) = name {
                self.learn_name((directory, name), Named::At(entry.attr.ino), stamp);
            }
        }
        self.learn_page(directory, page, stamp);
        if listed.len() == entries.len() {
            self.learn_listing(directory, (page, listed), stamp);
        }
    }
}

/// The attributes in a reply that has those of one inode.
fn attributes(reply: &Reply) -> Option<&Attr> {
    match reply {
        Reply::Attr(attr) | Reply::Opened { attr, .. } | Reply::Appended { attr, .. } => Some(attr),
        Reply::Spaced { attr, .. } | Reply::Copied { attr, .. } => Some(attr),
        Reply::Done | Reply::Begun(_) | Reply::Reopened { .. } | Reply::Target(_) => None,
        Reply::CaughtUp { .. } => None,
        Reply::Directory { .. } | Reply::Layout(_) | Reply::Atomic { .. } | Reply::Sought(_) => None,
        Reply::Space(_)
        | Reply::Room(_)
        | Reply::Examined(_)
        | Reply::Xattr { .. }
        | Reply::XattrNames(_) => None,
        Reply::LockIs(_) | Reply::LockedBy(_) | Reply::Renewed { .. } => None,
    }
}

/// The old name leads to something afterwards.
fn moves_more(mode: RenameMode) -> bool {
    match mode {
        RenameMode::Replace | RenameMode::NoReplace => false,
        RenameMode::Exchange | RenameMode::Whiteout | RenameMode::WhiteoutNoReplace => true,
    }
}
