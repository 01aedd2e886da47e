//! What sessions believe by lease is true, at every step, however late they hear of anything.

use super::random::{Step, request_of, steps};
use super::world::{LEASE, ROOT, World, attr_of, client_owner, name, user};
use crate::attr::{Attr, SetAttr};
use crate::error::MetaError;
use crate::id::{InodeId, RecallId, RequestId, SessionId, Stamp};
use crate::name::Name;
use crate::namespace::{DelayedId, Output};
use crate::time::Timestamp;
use crate::wire::{Call, NewInode, Notice, Reply, Request};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

/// What came over the connection of a session and was not read yet.
enum Heard {
    Forget(Option<RecallId>, InodeId, Stamp),
    /// The answer to a request of its own.
    Answer(Request, Box<Output>),
}

#[derive(Default)]
struct Believer {
    inbox: VecDeque<Heard>,
    attributes: BTreeMap<InodeId, Attr>,
    names: BTreeMap<(InodeId, Name), Option<InodeId>>,
    /// What has this stamp or a lower one is not to be believed.
    forgotten: BTreeMap<InodeId, Stamp>,
}

impl Believer {
    /// Takes in an answer, as a handler does.
    fn learn(&mut self, request: &Request, out: &Output) {
        if out.stamp == Stamp::NONE {
            return;
        }
        let in_answer = match &out.answer {
            Some(Ok(Reply::Attr(attr) | Reply::Opened { attr, .. } | Reply::Appended { attr, .. })) => {
                vec![attr]
            }
            Some(Ok(Reply::Spaced { attr, .. } | Reply::Copied { attr, .. })) => vec![attr],
            Some(Ok(Reply::Directory { entries, .. })) => entries.iter().map(|entry| &entry.attr).collect(),
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
        if let Some((place, ino)) = named {
            // What it was is not known any more, in any case.
            self.names.remove(&place);
            if self.may_believe(place.0, out.stamp) {
                self.names.insert(place, ino);
            }
        }
        for attr in in_answer.into_iter().chain(&out.changed) {
            if self.may_believe(attr.ino, out.stamp) {
                self.attributes.insert(attr.ino, attr.clone());
            }
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

    fn forget(&mut self, ino: InodeId, stamp: Stamp) {
        self.forgotten.insert(ino, stamp);
        self.attributes.remove(&ino);
        self.names.retain(|(directory, _), _| *directory != ino);
    }

    /// It was told, and did not hear it yet.
    fn is_notified(&self, ino: InodeId) -> bool {
        let names_it = |heard: &Heard| matches!(heard, Heard::Forget(None, named, _) if *named == ino);
        self.inbox.iter().any(names_it)
    }
}

/// Sessions that take leases, and hear of things when they come to it.
struct Play {
    w: World,
    sessions: Vec<SessionId>,
    believers: BTreeMap<SessionId, Believer>,
    delayed: BTreeMap<DelayedId, Call>,
    /// Calls that were delayed.
    waited: usize,
}

impl Play {
    fn new(count: u8) -> Self {
        let mut w = World::new(64);
        let sessions: Vec<SessionId> = (0..count)
            .map(|number| w.begin(client_owner(100 + number)).unwrap())
            .collect();
        let believers = sessions
            .iter()
            .map(|session| (*session, Believer::default()))
            .collect();
        let mut play = Self {
            w,
            sessions,
            believers,
            delayed: BTreeMap::new(),
            waited: 0,
        };
        for session in play.sessions.clone() {
            play.ask(session, Request::Leases { take: true });
        }
        play
    }

    /// Asks, and lets the caller hear what there is to hear. True when there is an answer.
    fn ask(&mut self, session: SessionId, request: Request) -> bool {
        self.w.request += 1;
        let call = self.w.next_call(session, request);
        self.serve(call)
    }

    fn serve(&mut self, call: Call) -> bool {
        let mut out = self.w.serve(call.clone());
        self.tell(&mut out, Some(&call));
        let answered = out.answer.is_some();
        if let Some(delayed) = out.delayed.take() {
            assert_eq!(delayed.call, call);
            self.delayed.insert(delayed.id, call);
            self.waited += 1;
        } else {
            let resume = std::mem::take(&mut out.resume);
            let heard = Heard::Answer(call.request, Box::new(out));
            self.believers
                .get_mut(&call.session)
                .unwrap()
                .inbox
                .push_back(heard);
            self.hear(call.session);
            self.resume(resume);
        }
        self.check();
        answered
    }

    fn resume(&mut self, ids: Vec<DelayedId>) {
        for id in ids {
            let call = self.delayed.remove(&id).unwrap();
            self.serve(call);
        }
    }

    fn tell(&mut self, out: &mut Output, call: Option<&Call>) {
        for (session, notice) in std::mem::take(&mut out.notices) {
            let Notice::Forget { recall, ino, stamp } = notice else {
                continue;
            };
            assert!(stamp > Stamp::NONE);
            let unasked = recall.is_none() && call.is_some_and(|call| call.session != session);
            let gives_space_back = call
                .is_some_and(|call| matches!(call.request, Request::Release { .. } | Request::Reopen { .. }));
            assert!(
                !unasked || gives_space_back,
                "{session:?} was not waited for: {call:?} changed {ino:?}"
            );
            if let Some(believer) = self.believers.get_mut(&session) {
                believer.inbox.push_back(Heard::Forget(recall, ino, stamp));
            }
        }
    }

    /// A session hears all that has come, and acknowledges.
    fn hear(&mut self, session: SessionId) {
        let believer = self.believers.get_mut(&session).unwrap();
        let mut owed = Vec::new();
        for heard in std::mem::take(&mut believer.inbox) {
            match heard {
                Heard::Forget(recall, ino, stamp) => {
                    believer.forget(ino, stamp);
                    owed.extend(recall);
                }
                Heard::Answer(request, out) => believer.learn(&request, &out),
            }
        }
        for recall in owed {
            self.ask(session, Request::Forgotten { recall });
        }
    }

    fn hear_all(&mut self) {
        // A call that goes on may have to wait for others, who were heard before.
        while self.believers.values().any(|believer| !believer.inbox.is_empty()) {
            for session in self.sessions.clone() {
                self.hear(session);
            }
        }
        assert!(self.delayed.is_empty(), "all have answered");
    }

    fn check(&self) {
        let without_atime = |attr: &Attr| Attr {
            atime: Timestamp::default(),
            ..attr.clone()
        };
        for (session, believer) in &self.believers {
            // Its own answer may be on the way.
            for (ino, attr) in &believer.attributes {
                if believer.is_notified(*ino) {
                    continue;
                }
                let now = self
                    .w
                    .space
                    .tree
                    .get(*ino)
                    .map(|inode| without_atime(&inode.attr));
                // Of what is gone for good, nobody has a name or an open file.
                let now = now.unwrap_or_else(|_| without_atime(attr));
                assert_eq!(without_atime(attr), now, "{session:?}");
            }
            for ((directory, name), ino) in &believer.names {
                if believer.is_notified(*directory) {
                    continue;
                }
                let now = self.w.space.tree.directory(*directory).ok();
                let now = now
                    .and_then(|(_, directory)| directory.get(name))
                    .map(|(_, ino)| ino);
                assert_eq!(*ino, now, "{session:?}: {name:?} in {directory:?}");
            }
        }
    }

    /// The connection of a session breaks; it may go on believing until its lease is over.
    fn fence(&mut self, session: SessionId) {
        self.w.granted.remove(&session);
        self.w.recalls.retain(|(owing, _)| *owing != session);
        let mut out = self.w.space.fenced(session);
        self.w.apply(&out);
        self.tell(&mut out, None);
        self.resume(out.resume);
    }

    fn tick(&mut self) {
        let (mut out, _) = self.w.space.tick(self.w.now);
        self.w.apply(&out);
        self.tell(&mut out, None);
        // Whose lease is over looks at his clock.
        let disconnect = std::mem::take(&mut self.w.disconnect);
        for session in &self.sessions {
            if disconnect.contains(session) || !self.w.space.sessions.exists(*session) {
                self.believers.insert(*session, Believer::default());
            }
        }
        self.resume(out.resume);
    }
}

fn run(steps: Vec<Step>) {
    let mut play = Play::new(3);
    for (kind, who, numbers) in steps {
        let inodes = play.w.space.tree.iter().map(|inode| inode.attr.ino);
        let inodes: Vec<InodeId> = inodes.chain([InodeId(u64::MAX)]).collect();
        let session = play.sessions[who % 3];
        play.w.who = user([0, 0, 7][who % 3]);
        match kind {
            29..=31 => play.hear(session),
            32 | 33 => play.w.clean(),
            34 => play.tick(),
            35 => play.w.acknowledge_all(),
            36 => {
                let name = name(&format!("n{}", numbers[1] % 5));
                let parent = inodes[usize::try_from(numbers[0]).unwrap() % inodes.len()];
                play.ask(session, Request::Lookup { parent, name });
            }
            _ => {
                play.ask(session, request_of(kind, &inodes, numbers));
            }
        }
    }
    play.hear_all();
    play.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn what_is_believed_is_true_at_every_step(steps in steps(200)) {
        run(steps);
    }
}

fn chmod(ino: InodeId) -> Request {
    let change = SetAttr {
        mode: Some(0o700),
        ..SetAttr::default()
    };
    Request::SetAttr {
        ino,
        change,
        by_handle: false,
    }
}

#[test]
fn a_change_is_answered_once_all_who_believe_otherwise_have_forgotten() {
    let mut play = Play::new(3);
    let [a, b, c] = play.sessions[..] else {
        unreachable!()
    };
    let ino = play.w.file(a, "f");
    for session in [a, b, c] {
        assert!(play.ask(session, Request::GetAttr { ino }));
    }
    assert!(!play.ask(a, chmod(ino)), "two others believe something of it");
    play.hear(b);
    assert_eq!(play.delayed.len(), 1);
    assert_ne!(
        play.w.space.tree.get(ino).unwrap().attr.mode,
        0o700,
        "it is not done"
    );
    play.hear(c);
    assert_eq!(play.w.space.tree.get(ino).unwrap().attr.mode, 0o700);
    assert_eq!(
        play.believers[&a].attributes[&ino].mode, 0o700,
        "and the caller knows it"
    );
    assert_eq!(play.waited, 1);
    assert!(play.ask(a, chmod(ino)), "nobody else believes anything any more");
}

#[test]
fn an_absent_name_is_believed_until_somebody_makes_it() {
    let mut play = Play::new(2);
    let [a, b] = play.sessions[..] else { unreachable!() };
    let (parent, name) = (ROOT, name("n"));
    let lookup = Request::Lookup {
        parent,
        name: name.clone(),
    };
    assert!(play.ask(b, lookup));
    assert_eq!(play.believers[&b].names.get(&(parent, name.clone())), Some(&None));
    let what = NewInode::Directory;
    let mode = 0o755;
    let make = Request::Make {
        parent,
        name,
        what,
        mode,
    };
    assert!(!play.ask(a, make));
    play.hear(b);
    assert!(play.believers[&b].names.is_empty() && play.delayed.is_empty());
    let root = &play.believers[&a].attributes[&ROOT];
    assert_eq!(root.nlink, 3, "the maker hears of the directory, too");
}

#[test]
fn a_stopped_holder_delays_a_change_by_one_lease() {
    for breaks in [false, true] {
        let mut play = Play::new(2);
        let [a, b] = play.sessions[..] else { unreachable!() };
        let ino = play.w.file(a, "f");
        play.ask(b, Request::GetAttr { ino });
        if breaks {
            play.fence(b);
        }
        assert!(!play.ask(a, chmod(ino)));
        play.w.now.monotonic += LEASE / 2;
        play.ask(a, Request::Renew);
        play.tick();
        assert_eq!(play.delayed.len(), 1, "it may still show what it believes");
        play.w.now.monotonic += LEASE / 2;
        play.ask(a, Request::Renew);
        play.tick();
        assert!(play.delayed.is_empty());
        assert_eq!(play.w.space.tree.get(ino).unwrap().attr.mode, 0o700);
    }
}

#[test]
fn who_renews_and_does_not_answer_is_shut_out() {
    let mut play = Play::new(2);
    let [a, b] = play.sessions[..] else { unreachable!() };
    let ino = play.w.file(a, "f");
    play.ask(b, Request::GetAttr { ino });
    assert!(!play.ask(a, chmod(ino)));
    for _ in 0..4 {
        play.w.now.monotonic += LEASE / 3;
        for session in [a, b] {
            let renewal = play.w.next_call(session, Request::Renew);
            play.w.serve(renewal);
        }
    }
    let (out, _) = play.w.space.tick(play.w.now);
    assert_eq!(out.disconnect, [b]);
    assert!(
        out.resume.is_empty(),
        "it may believe things for as long as its lease runs"
    );
}

#[test]
fn of_an_answer_that_was_kept_nothing_is_believed_and_leases_are_for_who_takes_them() {
    let mut play = Play::new(1);
    let a = play.sessions[0];
    let ino = play.w.file(a, "f");
    let mut call = play.w.next_call(a, chmod(ino));
    call.id = RequestId(9_999);
    let first = play.w.serve(call.clone());
    assert!(first.stamp > Stamp::NONE);
    let repeated = play.w.serve(call);
    assert_eq!((repeated.stamp, repeated.answer), (Stamp::NONE, first.answer));
    let count = play.w.space.lease_count();
    let plain = play.w.session();
    assert!(attr_of(play.w.ask(plain, Request::GetAttr { ino })).is_ok());
    assert_eq!(play.w.space.lease_count(), count);
    assert_eq!(
        play.w.ask(plain, Request::Forgotten { recall: RecallId(7) }),
        Ok(Reply::Done)
    );
}
