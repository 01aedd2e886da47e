//! What is held, against a service that does one step at a time: whatever the order in which calls are served, answers are taken in and
//! what others change is forgotten, nothing is answered here that is not so at the service.

use super::bounds::Bounds;
use super::cache::{Cache, Found};
use super::changing::Change;
use super::extras::{Extra, Known};
use super::tests::name;
use proptest::prelude::*;
use rdmafs_meta::attr::SetAttr;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::wire::{NewInode, RenameMode, Reply, Request, StampedAnswer, XattrMode};
use rdmafs_meta::xattr::XattrName;
use service::{Op, Service, target};
use std::collections::{BTreeSet, VecDeque};

mod service;

const ROOT: InodeId = InodeId::ROOT;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const PAGE: usize = 2;
const XATTRS: [&str; 2] = ["user.a", "security.capability"];

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The handler sends a call.
    Send(Op),
    /// The handler does a call from its sending to its answer, before all that is under way.
    Call(Op),
    /// The service does one of the calls that it has. Its answer brings what it changed, or not; or it was kept, and has no stamp.
    Serve(usize, bool, bool),
    /// Another session changes something: it waits until this one has forgotten it.
    Foreign(Op),
    /// The oldest message reaches the handler.
    Deliver,
    /// A caller that has been answered comes to run; or it has gone.
    TakeIn(usize, bool),
}

/// A call of the handler.
struct Asked {
    op: Op,
    request: Request,
    change: Change,
    said: Option<StampedAnswer>,
}

enum Message {
    Answer(Box<Asked>),
    Forget(InodeId, Stamp),
    /// All that a change of another session waits for is forgotten.
    Forgotten(Op),
}

struct World {
    service: Service,
    cache: Cache,
    sent: Vec<Asked>,
    wire: VecDeque<Message>,
    answered: Vec<Asked>,
    /// A change of another session waits.
    recalling: bool,
    after: u64,
    /// From when on the directory could be caught up last.
    from: Stamp,
    ever: BTreeSet<InodeId>,
}

impl World {
    fn new(bounds: Bounds) -> Self {
        Self {
            service: Service::new(),
            cache: Cache::new(bounds),
            sent: Vec::new(),
            wire: VecDeque::new(),
            answered: Vec::new(),
            recalling: false,
            after: 0,
            from: Stamp::NONE,
            ever: BTreeSet::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Send(op) => {
                self.from = self.cache.behind(ROOT).unwrap_or(self.from);
                let request = request(op, self.after, self.from);
                let change = self.cache.begins(&request);
                self.sent.push(Asked {
                    op,
                    request,
                    change,
                    said: None,
                });
            }
            Event::Serve(which, brings, kept) if !self.sent.is_empty() => {
                let which = which % self.sent.len();
                // What changes something waits until others have forgotten it.
                if !self.recalling || self.service.affected(self.sent[which].op).is_empty() {
                    let asked = self.sent.remove(which);
                    self.serve(asked, brings, kept);
                }
            }
            Event::Foreign(op) if !self.recalling => {
                self.recalling = true;
                self.recall(op);
                self.wire.push_back(Message::Forgotten(op));
            }
            Event::Call(op) => self.call(op),
            Event::Deliver => self.deliver(),
            Event::TakeIn(which, stays) if !self.answered.is_empty() => {
                let asked = self.answered.remove(which % self.answered.len());
                if stays {
                    self.take_in(asked);
                }
            }
            Event::Serve(..) | Event::Foreign(_) | Event::TakeIn(..) => {}
        }
    }

    fn call(&mut self, op: Op) {
        self.deliver_all();
        self.happens(Event::Send(op));
        let asked = self.sent.pop().expect("it was sent");
        self.serve(asked, true, false);
        self.deliver_all();
        let asked = self.answered.pop().expect("it was answered");
        self.take_in(asked);
    }

    fn deliver_all(&mut self) {
        while !self.wire.is_empty() {
            self.deliver();
        }
    }

    fn serve(&mut self, mut asked: Asked, brings: bool, kept: bool) {
        let mut affected = self.service.affected(asked.op);
        // What reads an extra brings attributes along, or comes of a node of an earlier build. What is reported is always brought.
        let brings = brings || matches!(asked.op, Op::Layout(_));
        if let Op::GetXattr(ino, _) | Op::ListXattr(ino) | Op::ReadLink(ino) = asked.op {
            affected.push(InodeId(ino));
        }
        let answer = self.service.serve(asked.op, after(&asked.request));
        let inodes = &self.service.inodes;
        let changed = affected
            .iter()
            .filter(|_| brings)
            .filter_map(|ino| inodes.get(ino).cloned());
        let said = StampedAnswer {
            stamp: Stamp(if kept { 0 } else { self.service.step }),
            changed: changed.collect(),
            answer,
        };
        let refused = match kept {
            true => Vec::new(),
            false => self.service.lease(asked.op, &said),
        };
        let forget = |ino| Message::Forget(ino, said.stamp);
        self.wire.extend(refused.into_iter().map(forget));
        asked.said = Some(said);
        self.wire.push_back(Message::Answer(Box::new(asked)));
    }

    /// Has what another session is to change forgotten. False: nothing of it is believed.
    fn recall(&mut self, op: Op) -> bool {
        let stamp = Stamp(self.service.step);
        let affected = self.service.affected(op);
        let recalled = self.service.recall(affected);
        let waits = !recalled.is_empty();
        let forget = |ino| Message::Forget(ino, stamp);
        self.wire.extend(recalled.into_iter().map(forget));
        waits
    }

    fn deliver(&mut self) {
        match self.wire.pop_front() {
            Some(Message::Answer(asked)) => self.answered.push(*asked),
            Some(Message::Forget(ino, stamp)) => self.cache.forget(ino, stamp),
            Some(Message::Forgotten(op)) => {
                self.service.recalled();
                // What this session learned meanwhile it has to forget as well.
                match self.recall(op) {
                    true => self.wire.push_back(Message::Forgotten(op)),
                    false => {
                        let _refused = self.service.serve(op, 0);
                        self.recalling = false;
                    }
                }
            }
            None => {}
        }
    }

    fn take_in(&mut self, asked: Asked) {
        let said = asked.said.expect("it was served");
        if let Ok(Reply::Directory { entries, .. }) = &said.answer {
            self.after = entries.last().map_or(0, |entry| entry.cookie);
        }
        self.cache.answered(&asked.request, &asked.change, &said);
    }

    /// Nothing that is held is wrong. How much is held.
    fn check(&mut self) -> Result<usize, TestCaseError> {
        let mut held = 0;
        self.ever.extend(self.service.inodes.keys());
        for ino in self.ever.clone() {
            if let Some(attr) = self.cache.attributes(ino) {
                prop_assert_eq!(Some(attr), self.service.inodes.get(&ino));
                held += 1;
            }
            held += self.check_extras(ino)?;
        }
        for (at, of) in NAMES.iter().enumerate() {
            let truth = self.service.led(at);
            match self.cache.find(&(ROOT, name(of))) {
                Some(Found::Here(attr)) => prop_assert_eq!(Some(attr.ino), truth, "{}", of),
                Some(Found::Absent) => prop_assert_eq!(None, truth, "{}", of),
                None => continue,
            }
            held += 1;
        }
        Ok(held + self.check_listing()?)
    }

    /// From each place, what is held of the directory is what is there, whole or not.
    fn check_listing(&mut self) -> Result<usize, TestCaseError> {
        let mut held = 0;
        for (after, limit) in (0..self.service.next_cookie()).flat_map(|after| [(after, 1), (after, 100)]) {
            let Some((entries, next)) = self.cache.page(ROOT, after, limit) else {
                continue;
            };
            let truth = self.service.listed(after);
            prop_assert_eq!(next, self.service.next_cookie());
            prop_assert_eq!(entries.is_empty(), truth.is_empty());
            prop_assert!(entries.len() <= limit);
            prop_assert_eq!(&entries[..], &truth[..entries.len()]);
            held += entries.len();
        }
        Ok(held)
    }

    fn check_extras(&mut self, ino: InodeId) -> Result<usize, TestCaseError> {
        let xattrs = (0..XATTRS.len()).map(|of| (Extra::Xattr(xattr(of)), self.service.xattr(ino, of)));
        let mut extras: Vec<(Extra, Option<Vec<u8>>)> = xattrs.collect();
        extras.push((Extra::XattrNames, Some(self.service.xattrs(ino))));
        extras.push((Extra::Target, Some(target(ino))));
        let mut held = 0;
        for (extra, truth) in extras {
            if let Some(known) = self.cache.extra(ino, &extra) {
                prop_assert_eq!(known, &truth.map_or(Known::Absent, Known::Bytes), "{:?}", extra);
                held += 1;
            }
        }
        Ok(held)
    }
}

fn xattr(of: usize) -> XattrName {
    XattrName::new(XATTRS[of]).unwrap()
}

fn after(request: &Request) -> u64 {
    match request {
        Request::ReadDir { after, .. } => *after,
        Request::CatchUp { since, .. } => since.0,
        _ => 0,
    }
}

fn request(op: Op, after: u64, since: Stamp) -> Request {
    let parent = ROOT;
    let of = |at: usize| name(NAMES[at]);
    match op {
        Op::Lookup(at) => Request::Lookup { parent, name: of(at) },
        Op::Get(ino) => Request::GetAttr { ino: InodeId(ino) },
        Op::Set(ino) => Request::SetAttr {
            ino: InodeId(ino),
            change: SetAttr::default(),
            by_handle: false,
        },
        Op::Make(at) => Request::Make {
            parent,
            name: of(at),
            what: NewInode::File { open: false },
            mode: 0,
        },
        Op::Link(at, ino) => Request::Link {
            ino: InodeId(ino),
            parent,
            name: of(at),
        },
        Op::Unlink(at) => Request::Unlink { parent, name: of(at) },
        Op::Rename(from, to) => Request::Rename {
            parent,
            name: of(from),
            new_parent: parent,
            new_name: of(to),
            mode: RenameMode::Replace,
        },
        Op::Exchange(one, other) => Request::Rename {
            parent,
            name: of(one),
            new_parent: parent,
            new_name: of(other),
            mode: RenameMode::Exchange,
        },
        Op::List(first) => Request::ReadDir {
            ino: ROOT,
            after: if first { 0 } else { after },
            limit: 2,
        },
        Op::CatchUp => Request::CatchUp { ino: ROOT, since },
        op => extra_request(op),
    }
}

fn extra_request(op: Op) -> Request {
    match op {
        Op::GetXattr(ino, of) => Request::GetXattr {
            ino: InodeId(ino),
            name: xattr(of),
            from: 0,
            limit: 100,
        },
        Op::ListXattr(ino) => Request::ListXattr { ino: InodeId(ino) },
        Op::ReadLink(ino) => Request::ReadLink { ino: InodeId(ino) },
        Op::SetXattr(ino, of) => Request::SetXattr {
            ino: InodeId(ino),
            name: xattr(of),
            staged: None,
            value: Vec::new(),
            mode: XattrMode::default(),
        },
        Op::RemoveXattr(ino, of) => Request::RemoveXattr {
            ino: InodeId(ino),
            name: xattr(of),
        },
        Op::Layout(ino) => Request::Layout {
            ino: InodeId(ino),
            start: 0,
            end: 1,
            allocate: true,
        },
        _ => unreachable!("{op:?} is of names or attributes"),
    }
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..NAMES.len();
    let ino = || 1..6_u64;
    prop_oneof![
        1 => at().prop_map(Op::Lookup),
        1 => ino().prop_map(Op::Get),
        1 => ino().prop_map(Op::Set),
        1 => at().prop_map(Op::Make),
        1 => (at(), 2..6_u64).prop_map(|(at, ino)| Op::Link(at, ino)),
        1 => at().prop_map(Op::Unlink),
        1 => (at(), at()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => (at(), at()).prop_map(|(one, other)| Op::Exchange(one, other)),
        2 => Just(Op::CatchUp),
        2 => any::<bool>().prop_map(Op::List),
        4 => extra_op(),
    ]
}

fn extra_op() -> impl Strategy<Value = Op> {
    let (ino, of) = (|| 1..4_u64, || 0..XATTRS.len());
    prop_oneof![
        (ino(), of()).prop_map(|(ino, of)| Op::GetXattr(ino, of)),
        (ino(), of()).prop_map(|(ino, of)| Op::SetXattr(ino, of)),
        (ino(), of()).prop_map(|(ino, of)| Op::RemoveXattr(ino, of)),
        ino().prop_map(Op::ListXattr),
        ino().prop_map(Op::ReadLink),
        ino().prop_map(Op::Layout),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let serve = (0..4_usize, any::<bool>(), prop::bool::weighted(0.05));
    prop_oneof![
        4 => op().prop_map(Event::Send),
        4 => serve.prop_map(|(which, brings, kept)| Event::Serve(which, brings, kept)),
        1 => op().prop_map(Event::Foreign),
        1 => extra_op().prop_map(Event::Foreign),
        2 => extra_op().prop_map(Event::Call),
        2 => any::<bool>().prop_map(|first| Event::Call(Op::List(first))),
        5 => Just(Event::Deliver),
        5 => (0..4_usize, prop::bool::weighted(0.97)).prop_map(|(which, stays)| Event::TakeIn(which, stays)),
    ]
}

/// Of one directory only, most of the time wholly known.
fn names_event() -> impl Strategy<Value = Event> {
    let list = [Op::List(true), Op::List(false), Op::CatchUp];
    let serve = (0..3_usize, prop::bool::weighted(0.9)).prop_map(|(which, brings)| (which, brings, false));
    prop_oneof![
        2 => names_op().prop_map(Event::Send),
        2 => prop::sample::select(list.to_vec()).prop_map(Event::Send),
        2 => prop::sample::select(list.to_vec()).prop_map(Event::Call),
        4 => serve.prop_map(|(which, brings, kept)| Event::Serve(which, brings, kept)),
        2 => names_op().prop_map(Event::Foreign),
        4 => Just(Event::Deliver),
        4 => (0..3_usize).prop_map(|which| Event::TakeIn(which, true)),
    ]
}

fn names_op() -> impl Strategy<Value = Op> {
    let at = || 0..NAMES.len();
    prop_oneof![
        at().prop_map(Op::Lookup),
        at().prop_map(Op::Make),
        at().prop_map(Op::Unlink),
        (at(), at()).prop_map(|(from, to)| Op::Rename(from, to)),
    ]
}

fn bounds() -> impl Strategy<Value = Bounds> {
    let extras = (1..8_usize, 8..100_usize);
    let (listed, listed_bytes) = (1..8_usize, 1..10_usize);
    let all = (1..8_usize, 1..6_usize, 1..3_usize, extras, (listed, listed_bytes));
    all.prop_map(|(attributes, names, directories, extras, listed)| Bounds {
        attributes,
        names,
        directories,
        extras: extras.0,
        extra_bytes: extras.1,
        listed: listed.0,
        listed_bytes: listed.1,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_stale_is_ever_answered(
        bounds in bounds(),
        events in prop::collection::vec(event(), 1..120),
    ) {
        let mut world = World::new(bounds);
        for event in events {
            world.happens(event);
            world.check()?;
        }
    }

    #[test]
    fn nothing_stale_is_ever_answered_of_a_directory_that_is_caught_up(
        names in 2..8_usize,
        events in prop::collection::vec(names_event(), 1..120),
    ) {
        let mut world = World::new(Bounds {
            attributes: 16,
            names,
            directories: 2,
            extras: 1,
            extra_bytes: 8,
            listed: 16,
            listed_bytes: 100,
        });
        for event in events {
            world.happens(event);
            world.check()?;
        }
    }
}
