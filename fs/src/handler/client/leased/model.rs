//! What is held, against a service that does one step at a time: whatever the order in which calls are served, answers are taken in and
//! what others change is forgotten, nothing is answered here that is not so at the service.

use super::bounds::Bounds;
use super::cache::{Cache, Found};
use super::changing::Change;
use super::tests::{attr, name};
use proptest::prelude::*;
use rdmafs_meta::attr::{Attr, SetAttr};
use rdmafs_meta::error::MetaError;
use rdmafs_meta::id::{InodeId, Stamp};
use rdmafs_meta::wire::{Answer, DirEntry, NewInode, RenameMode, Reply, Request, StampedAnswer};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

const ROOT: InodeId = InodeId::ROOT;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const PAGE: usize = 2;

#[derive(Clone, Copy, Debug)]
enum Op {
    Lookup(usize),
    Get(u64),
    Set(u64),
    Make(usize),
    Link(usize, u64),
    Unlink(usize),
    Rename(usize, usize),
    List(bool),
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// The handler sends a call.
    Send(Op),
    /// The service does one of the calls that it has. Its answer brings what it changed, or not; or it was kept, and has no stamp.
    Serve(usize, bool, bool),
    /// Another session changes something: it waits until this one has forgotten it.
    Foreign(Op),
    /// The oldest message reaches the handler.
    Deliver,
    /// A caller that has been answered comes to run; or it has gone.
    TakeIn(usize, bool),
}

/// The truth.
struct Service {
    step: u64,
    inodes: BTreeMap<InodeId, Attr>,
    names: BTreeMap<usize, (u64, InodeId)>,
    next_inode: u64,
    next_cookie: u64,
}

impl Service {
    fn new() -> Self {
        Self {
            step: 1,
            inodes: [(ROOT, attr(1, 0))].into(),
            names: BTreeMap::new(),
            next_inode: 2,
            next_cookie: 3,
        }
    }

    fn led(&self, name: usize) -> Option<InodeId> {
        self.names.get(&name).map(|(_, ino)| *ino)
    }

    fn changes(&mut self, ino: InodeId, links: i32) {
        let attr = self.inodes.get_mut(&ino).expect("it is there");
        attr.size += 1;
        attr.nlink = attr.nlink.checked_add_signed(links).expect("links are counted");
        if attr.nlink == 0 {
            self.inodes.remove(&ino);
        }
    }

    fn put(&mut self, name: usize, ino: InodeId) {
        self.next_cookie += 1;
        self.names.insert(name, (self.next_cookie, ino));
    }

    /// What the request would change.
    fn affected(&self, op: Op) -> Vec<InodeId> {
        let named = |names: &[usize]| {
            names
                .iter()
                .filter_map(|name| self.led(*name))
                .chain([ROOT])
                .collect()
        };
        match op {
            Op::Set(ino) => vec![InodeId(ino)],
            Op::Make(at) | Op::Unlink(at) => named(&[at]),
            Op::Link(at, ino) => [InodeId(ino)].into_iter().chain(named(&[at])).collect(),
            Op::Rename(from, to) => named(&[from, to]),
            Op::Lookup(_) | Op::Get(_) | Op::List(_) => Vec::new(),
        }
    }

    fn attr(&self, ino: InodeId) -> Answer {
        self.inodes
            .get(&ino)
            .cloned()
            .map(Reply::Attr)
            .ok_or(MetaError::Stale)
    }

    fn serve(&mut self, op: Op, after: u64) -> Answer {
        self.step += 1;
        match op {
            Op::Lookup(at) => self
                .led(at)
                .ok_or(MetaError::NotFound)
                .and_then(|ino| self.attr(ino)),
            Op::Get(ino) => self.attr(InodeId(ino)),
            Op::Set(ino) => {
                self.attr(InodeId(ino))?;
                self.changes(InodeId(ino), 0);
                self.attr(InodeId(ino))
            }
            Op::Make(at) => {
                let ino = InodeId(self.next_inode);
                self.free(at)?;
                self.next_inode += 1;
                self.inodes.insert(ino, attr(ino.0, 0));
                self.put(at, ino);
                self.changes(ROOT, 0);
                self.attr(ino)
            }
            Op::Link(at, ino) => {
                self.attr(InodeId(ino))?;
                self.free(at)?;
                self.put(at, InodeId(ino));
                self.changes(InodeId(ino), 1);
                self.changes(ROOT, 0);
                self.attr(InodeId(ino))
            }
            Op::Unlink(at) => {
                let (_, ino) = self.names.remove(&at).ok_or(MetaError::NotFound)?;
                self.changes(ino, -1);
                self.changes(ROOT, 0);
                Ok(Reply::Done)
            }
            Op::Rename(from, to) => self.rename(from, to),
            Op::List(first) => Ok(self.page(if first { 0 } else { after })),
        }
    }

    fn free(&self, at: usize) -> Result<(), MetaError> {
        self.led(at).map_or(Ok(()), |_| Err(MetaError::Exists))
    }

    fn rename(&mut self, from: usize, to: usize) -> Answer {
        let moved = self.led(from).ok_or(MetaError::NotFound)?;
        if self.led(to) == Some(moved) {
            return Ok(Reply::Done);
        }
        self.names.remove(&from);
        if let Some((_, replaced)) = self.names.remove(&to) {
            self.changes(replaced, -1);
        }
        self.put(to, moved);
        self.changes(moved, 0);
        self.changes(ROOT, 0);
        Ok(Reply::Done)
    }

    fn page(&self, after: u64) -> Reply {
        let mut entries: Vec<DirEntry> = self
            .names
            .iter()
            .map(|(at, (cookie, ino))| self.entry(*at, *cookie, *ino))
            .collect();
        entries.retain(|entry| entry.cookie > after);
        entries.sort_by_key(|entry| entry.cookie);
        let end = entries.len() <= PAGE;
        entries.truncate(PAGE);
        let next = self.next_cookie;
        Reply::Directory { entries, end, next }
    }

    fn entry(&self, at: usize, cookie: u64, ino: InodeId) -> DirEntry {
        DirEntry {
            name: NAMES[at].into(),
            cookie,
            attr: self.inodes[&ino].clone(),
        }
    }
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
            ever: BTreeSet::new(),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Send(op) => {
                let request = request(op, self.after);
                let change = self.cache.begins(&request);
                self.sent.push(Asked {
                    op,
                    request,
                    change,
                    said: None,
                });
            }
            Event::Serve(which, brings, kept) if !self.recalling && !self.sent.is_empty() => {
                let asked = self.sent.remove(which % self.sent.len());
                self.serve(asked, brings, kept);
            }
            Event::Foreign(op) if !self.recalling => {
                self.recalling = true;
                let stamp = Stamp(self.service.step);
                let forget = |ino| Message::Forget(ino, stamp);
                self.wire
                    .extend(self.service.affected(op).into_iter().map(forget));
                self.wire.push_back(Message::Forgotten(op));
            }
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

    fn serve(&mut self, mut asked: Asked, brings: bool, kept: bool) {
        let affected = self.service.affected(asked.op);
        let answer = self.service.serve(asked.op, after(&asked.request));
        let inodes = &self.service.inodes;
        let changed = affected
            .iter()
            .filter(|_| brings)
            .filter_map(|ino| inodes.get(ino).cloned());
        asked.said = Some(StampedAnswer {
            stamp: Stamp(if kept { 0 } else { self.service.step }),
            changed: changed.collect(),
            answer,
        });
        self.wire.push_back(Message::Answer(Box::new(asked)));
    }

    fn deliver(&mut self) {
        match self.wire.pop_front() {
            Some(Message::Answer(asked)) => self.answered.push(*asked),
            Some(Message::Forget(ino, stamp)) => self.cache.forget(ino, stamp),
            Some(Message::Forgotten(op)) => {
                let _refused = self.service.serve(op, 0);
                self.recalling = false;
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
        for ino in &self.ever {
            if let Some(attr) = self.cache.attributes(*ino) {
                prop_assert_eq!(Some(attr), self.service.inodes.get(ino));
                held += 1;
            }
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
        Ok(held)
    }
}

fn after(request: &Request) -> u64 {
    match request {
        Request::ReadDir { after, .. } => *after,
        _ => 0,
    }
}

fn request(op: Op, after: u64) -> Request {
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
        Op::List(first) => Request::ReadDir {
            ino: ROOT,
            after: if first { 0 } else { after },
            limit: 2,
        },
    }
}

fn op() -> impl Strategy<Value = Op> {
    let at = || 0..NAMES.len();
    let ino = || 1..6_u64;
    prop_oneof![
        at().prop_map(Op::Lookup),
        ino().prop_map(Op::Get),
        ino().prop_map(Op::Set),
        at().prop_map(Op::Make),
        (at(), 2..6_u64).prop_map(|(at, ino)| Op::Link(at, ino)),
        at().prop_map(Op::Unlink),
        (at(), at()).prop_map(|(from, to)| Op::Rename(from, to)),
        any::<bool>().prop_map(Op::List),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let serve = (0..4_usize, any::<bool>(), prop::bool::weighted(0.05));
    prop_oneof![
        4 => op().prop_map(Event::Send),
        4 => serve.prop_map(|(which, brings, kept)| Event::Serve(which, brings, kept)),
        1 => op().prop_map(Event::Foreign),
        5 => Just(Event::Deliver),
        5 => (0..4_usize, prop::bool::weighted(0.97)).prop_map(|(which, stays)| Event::TakeIn(which, stays)),
    ]
}

fn bounds() -> impl Strategy<Value = Bounds> {
    (1..8_usize, 1..6_usize, 1..3_usize).prop_map(|(attributes, names, directories)| Bounds {
        attributes,
        names,
        directories,
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
}
