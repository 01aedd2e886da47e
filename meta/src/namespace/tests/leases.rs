//! What sessions believe by lease is true, at every step, however late they hear of anything.

use super::believer::{Believer, Extra, Heard};
use super::random::{Step, read_request, request_of, steps_of};
use super::world::{LEASE, ROOT, World, attr_of, client_owner, name, user};
use crate::attr::{Attr, SetAttr};
use crate::id::{InodeId, RecallId, RequestId, SessionId, Stamp};
use crate::namespace::{DelayedId, Output};
use crate::time::{AccessTime, Timestamp};
use crate::tree::Body;
use crate::wire::{Call, NewInode, Notice, Reply, Request, XattrMode};
use crate::xattr::{XattrName, XattrSpace};
use proptest::prelude::*;
use std::collections::BTreeMap;

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
        for (session, believer) in &self.believers {
            // Its own answer may be on the way.
            for (ino, attr) in &believer.attributes {
                if believer.is_notified(*ino) {
                    continue;
                }
                // The last close gives space back that was never part of the file, and waits for nobody.
                let asked = believer.is_asked(*ino);
                let shown = |attr: &Attr| Attr {
                    atime: Timestamp::default(),
                    allocated: if asked { 0 } else { attr.allocated },
                    ..attr.clone()
                };
                let now = self.w.space.tree.get(*ino).map(|inode| shown(&inode.attr));
                // Of what is gone for good, nobody has a name or an open file.
                let now = now.unwrap_or_else(|_| shown(attr));
                assert_eq!(shown(attr), now, "{session:?}");
                self.check_access_time(attr);
            }
            for ((ino, extra), known) in &believer.extras {
                let gone = self.w.space.tree.get(*ino).is_err();
                if !gone && !believer.is_notified(*ino) {
                    assert_eq!(
                        *known,
                        self.extra(*ino, extra),
                        "{session:?}: {extra:?} of {ino:?}"
                    );
                }
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

    /// Where reading renews nothing by what is believed, it does not.
    fn check_access_time(&self, believed: &Attr) {
        let (rule, now) = (AccessTime::Relative, self.w.now.wall);
        if let Ok(inode) = self.w.space.tree.get(believed.ino) {
            let renews = inode.attr.renews_access_time(rule, now);
            assert!(!renews || believed.renews_access_time(rule, now), "{believed:?}");
        }
    }

    fn extra(&self, ino: InodeId, extra: &Extra) -> Option<Vec<u8>> {
        let tree = &self.w.space.tree;
        let xattrs = tree.xattrs(ino);
        match extra {
            Extra::Xattr(name) => Some(xattrs?.get(name)?.0.to_vec()),
            Extra::XattrNames => {
                let names = xattrs.into_iter().flat_map(|xattrs| xattrs.names());
                let open = names.filter(|name| name.space() != XattrSpace::Trusted);
                let (acls, others): (Vec<_>, Vec<_>) = open.partition(|name| name.acl().is_some());
                let open = acls.into_iter().chain(others);
                Some(open.flat_map(|name| [name.as_bytes(), &[0]].concat()).collect())
            }
            Extra::Target => match &tree.get(ino).ok()?.body {
                Body::Symlink(target) => Some(target.clone()),
                _ => None,
            },
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
                let since = Stamp(numbers[2] % (play.w.space.stamp.0 + 1));
                play.ask(session, Request::CatchUp { ino: parent, since });
            }
            49.. => {
                play.ask(session, read_request(&inodes, numbers));
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
    fn what_is_believed_is_true_at_every_step(steps in steps_of(57, 200)) {
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

/// A close waits for nobody, and its notice may be on its way for long.
#[test]
fn who_has_not_heard_of_a_close_is_waited_for_by_the_next_change() {
    let mut play = Play::new(3);
    let [a, b, _] = play.sessions[..] else {
        unreachable!()
    };
    let room = NewInode::OpenFile { room: 4096 };
    let ino = play.w.make(a, ROOT, "f", room).ino;
    assert!(play.ask(b, Request::GetAttr { ino }));
    assert!(play.ask(a, Request::Release { ino, opens: 1 }), "room goes back");
    assert!(!play.ask(a, chmod(ino)), "the other one believes the old mode");
    play.hear(b);
    assert!(play.delayed.is_empty());
    assert!(play.ask(b, Request::GetAttr { ino }));
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

/// An extended attribute, an absent one, the list of them and a target are believed until another session changes the inode.
#[test]
fn what_hangs_on_an_inode_is_recalled_before_it_is_changed() {
    let mut play = Play::new(2);
    let [a, b] = play.sessions[..] else { unreachable!() };
    let ino = play.w.file(a, "f");
    let name = XattrName::new("user.a").unwrap();
    let get = Request::GetXattr {
        ino,
        name: name.clone(),
        from: 0,
        limit: u32::MAX,
    };
    for read in [get, Request::ListXattr { ino }] {
        assert!(play.ask(b, read), "it alone gives the lease");
        assert_eq!(play.believers[&b].extras.len(), 1);
        let set = Request::SetXattr {
            ino,
            name: name.clone(),
            staged: None,
            value: b"x".to_vec(),
            mode: XattrMode::default(),
        };
        assert!(!play.ask(a, set));
        play.hear(b);
        assert!(play.believers[&b].extras.is_empty() && play.delayed.is_empty());
    }
    let link = play.w.make(a, ROOT, "l", NewInode::Symlink(b"f".to_vec())).ino;
    let rule = AccessTime::Relative;
    for session in [a, b] {
        play.ask(session, Request::ReadLink { ino: link });
        let believer = &play.believers[&session];
        assert_eq!(
            believer.extras.get(&(link, Extra::Target)),
            Some(&Some(b"f".to_vec()))
        );
        let attr = &believer.attributes[&link];
        assert!(
            !attr.renews_access_time(rule, play.w.now.wall),
            "the first reading has done it, and each reader knows"
        );
    }
    assert!(!play.ask(a, chmod(link)));
    play.hear(b);
    assert!(play.believers[&b].extras.is_empty());
}
