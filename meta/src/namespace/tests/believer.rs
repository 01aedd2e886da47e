//! A session that believes what it is answered, as a handler does.

use crate::attr::Attr;
use crate::error::MetaError;
use crate::id::{InodeId, RecallId, Stamp};
use crate::name::Name;
use crate::namespace::Output;
use crate::wire::{Answer, Reply, Request};
use crate::xattr::{XattrName, XattrSpace};
use std::collections::{BTreeMap, VecDeque};

/// What an inode has beside attributes and names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extra {
    Xattr(XattrName),
    /// Those that everybody sees.
    XattrNames,
    Target,
}

/// What came over the connection of a session and was not read yet.
pub(super) enum Heard {
    Forget(Option<RecallId>, InodeId, Stamp),
    /// The answer to a request of its own.
    Answer(Request, Box<Output>),
}

#[derive(Default)]
pub(super) struct Believer {
    pub(super) inbox: VecDeque<Heard>,
    pub(super) attributes: BTreeMap<InodeId, Attr>,
    pub(super) names: BTreeMap<(InodeId, Name), Option<InodeId>>,
    /// `None`: it is not there.
    pub(super) extras: BTreeMap<(InodeId, Extra), Option<Vec<u8>>>,
    /// What has this stamp or a lower one is not to be believed.
    forgotten: BTreeMap<InodeId, Stamp>,
}

impl Believer {
    /// Takes in an answer, as a handler does.
    pub(super) fn learn(&mut self, request: &Request, out: &Output) {
        if out.stamp == Stamp::NONE {
            return;
        }
        let in_answer = match &out.answer {
            Some(Ok(Reply::Attr(attr) | Reply::Opened { attr, .. } | Reply::Appended { attr, .. })) => {
                vec![attr]
            }
            Some(Ok(Reply::Spaced { attr, .. } | Reply::Copied { attr, .. })) => vec![attr],
            Some(Ok(Reply::Directory { entries, .. })) => entries.iter().map(|entry| &entry.attr).collect(),
            Some(Ok(Reply::CaughtUp { attr, names, .. })) => {
                let named = names.iter().filter_map(|name| name.attr.as_ref());
                named.chain([attr]).collect()
            }
            _ => vec![],
        };
        let named = match (request, &out.answer) {
            (
                Request::Lookup { parent, name }
                | Request::Make { parent, name, .. }
                | Request::Link { parent, name, .. },
                Some(Ok(_)),
            ) => Some(((*parent, name.clone()), Some(in_answer[0].ino))),
            (Request::Lookup { parent, name }, Some(Err(MetaError::NotFound))) => {
                Some(((*parent, name.clone()), None))
            }
            (Request::Unlink { parent, name } | Request::RemoveDir { parent, name }, Some(Ok(_))) => {
                Some(((*parent, name.clone()), None))
            }
            _ => None,
        };
        self.unlearn_moved(request, out);
        self.learn_changed(request, out);
        if let Some((place, ino)) = named {
            // What it was is not known any more, in any case.
            self.names.remove(&place);
            if self.may_believe(place.0, out.stamp) {
                self.names.insert(place, ino);
            }
        }
        for attr in in_answer.into_iter().chain(&out.changed) {
            if request.is_durable() {
                // File capabilities go with a change of bytes.
                self.extras.retain(|(ino, _), _| *ino != attr.ino);
            }
            if self.may_believe(attr.ino, out.stamp) {
                self.attributes.insert(attr.ino, attr.clone());
            }
        }
        if let Some(answer) = &out.answer {
            self.learn_extra(request, answer, out.stamp);
        }
    }

    /// Takes in what everybody is answered alike.
    fn learn_extra(&mut self, request: &Request, answer: &Answer, stamp: Stamp) {
        let is_open = |name: &XattrName| name.space() != XattrSpace::Trusted;
        let (ino, extra, known) = match (request, answer) {
            (Request::GetXattr { ino, name, .. }, Ok(Reply::Xattr { total, page, .. }))
                if is_open(name) && page.len() == *total as usize =>
            {
                (*ino, Extra::Xattr(name.clone()), Some(page.clone()))
            }
            (Request::GetXattr { ino, name, .. }, Err(MetaError::NoXattr)) if is_open(name) => {
                (*ino, Extra::Xattr(name.clone()), None)
            }
            (Request::ListXattr { ino }, Ok(Reply::XattrNames(names))) => {
                let names = names.split_inclusive(|byte| *byte == 0);
                let open = names.filter(|name| !name.starts_with(b"trusted."));
                (*ino, Extra::XattrNames, Some(open.flatten().copied().collect()))
            }
            (Request::ReadLink { ino }, Ok(Reply::Target(target))) => {
                (*ino, Extra::Target, Some(target.clone()))
            }
            _ => return,
        };
        if self.attributes.contains_key(&ino) && self.may_believe(ino, stamp) {
            self.extras.insert((ino, extra), known);
        }
    }

    fn learn_changed(&mut self, request: &Request, out: &Output) {
        if let (Request::CatchUp { ino, .. }, Some(Ok(Reply::CaughtUp { names, .. }))) =
            (request, &out.answer)
            && self.may_believe(*ino, out.stamp)
        {
            let named = names.iter().map(|changed| {
                let led = changed.attr.as_ref().map(|attr| attr.ino);
                ((*ino, changed.name.clone()), led)
            });
            self.names.extend(named);
        }
    }

    /// Nobody says what a rename left at its names.
    fn unlearn_moved(&mut self, request: &Request, out: &Output) {
        if let (
            Request::Rename {
                parent,
                name,
                new_parent,
                new_name,
                ..
            },
            Some(Ok(_)),
        ) = (request, &out.answer)
        {
            self.names.remove(&(*parent, name.clone()));
            self.names.remove(&(*new_parent, new_name.clone()));
        }
    }

    fn may_believe(&self, ino: InodeId, stamp: Stamp) -> bool {
        self.forgotten
            .get(&ino)
            .is_none_or(|forgotten| stamp > *forgotten)
    }

    pub(super) fn forget(&mut self, ino: InodeId, stamp: Stamp) {
        self.forgotten.insert(ino, stamp);
        self.attributes.remove(&ino);
        self.extras.retain(|(of, _), _| *of != ino);
        self.names.retain(|(directory, _), _| *directory != ino);
    }

    /// It was asked to forget, and did not hear it yet.
    pub(super) fn is_asked(&self, ino: InodeId) -> bool {
        let names_it = |heard: &Heard| matches!(heard, Heard::Forget(Some(_), named, _) if *named == ino);
        self.inbox.iter().any(names_it)
    }

    /// It was told, and did not hear it yet.
    pub(super) fn is_notified(&self, ino: InodeId) -> bool {
        let names_it = |heard: &Heard| matches!(heard, Heard::Forget(None, named, _) if *named == ino);
        self.inbox.iter().any(names_it)
    }
}
