//! What holds of any bytes that a peer or a disk gives to this crate: one function per fuzz target, which panics where it does not.
//!
//! The fuzzer (`scripts/fuzz`) calls them with bytes of its own, every test run with those it kept (`tests/fuzz/corpus`).

use crate::attr::{Attr, SetAttr};
use crate::cred::Credentials;
use crate::extent::{Extent, GRANULE};
use crate::id::{ClientOwner, Incarnation, InodeId, NodeId, PoolId, RequestId, SessionId};
use crate::layout::LayoutSlice;
use crate::name::Name;
use crate::namespace::{Config, Identity, Namespace, Output, examine};
use crate::store::{Batch, MAX_BATCH_BYTES, MAX_BATCH_KEYS, MemoryStore, Store, StoreError};
use crate::time::{AccessTime, Now, Timestamp};
use crate::wire::{
    self, Answer, Call, Message, NewInode, Notice, OpenAccess, Reply, Request, StampedAnswer, WireVersion,
};
use std::fmt::Debug;
use std::time::Duration;

/// A name, and what holds of any bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of this crate.
pub const TARGETS: &[Target] = &[("wire", wire), ("store", store), ("service", service)];

const ARENA: u64 = 1 << 20;
const NODE: NodeId = NodeId(1);

/// Messages between handler and service. The first byte chooses which.
fn wire(bytes: &[u8]) {
    match bytes.split_first() {
        Some((0, message)) => decoded::<Call>(message),
        Some((1, message)) => {
            decoded::<Answer>(message);
            if let Ok(Ok(Reply::Layout(slice))) = wire::decode::<Answer>(message, WireVersion::NEWEST) {
                promised(&slice);
            }
        }
        Some((2, message)) => decoded::<Notice>(message),
        Some((3, message)) => decoded::<StampedAnswer>(message),
        _ => {}
    }
}

/// What was decoded comes back the same, from no more bytes than it took.
fn decoded<M: Message + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(message) = wire::decode::<M>(bytes, WireVersion::NEWEST) else {
        return;
    };
    let encoded =
        wire::encode(&message, WireVersion::NEWEST).expect("it is no longer than what it came from");
    assert!(encoded.len() <= bytes.len(), "{message:?}");
    let anew = wire::decode::<M>(&encoded, WireVersion::NEWEST).expect("ours always decode");
    assert_eq!(anew, message);
}

/// What the rest relies on in a layout that was decoded.
fn promised(slice: &LayoutSlice) {
    for run in &slice.runs {
        assert!(!run.is_empty() && run.start.checked_add(run.len()).is_some());
        assert!(run.start.is_multiple_of(GRANULE) && run.len().is_multiple_of(GRANULE));
        assert!(run.replicas.iter().all(|copy| copy.extent.len == run.len()));
    }
    assert!(slice.runs.windows(2).all(|pair| pair[0].end() <= pair[1].start));
}

/// A store with any pairs: as it is, or once it is repaired, it loads as a sound namespace that goes on working; or it is refused.
fn store(bytes: &[u8]) {
    let mut store = MemoryStore::default();
    let changes = pairs(bytes);
    let batch = Batch { changes };
    store
        .commit(&[batch], store.term().expect("in memory"))
        .expect("its term");
    if let Ok(Some(identity)) = Identity::read(&store) {
        store
            .commit(&[identity.batch()], store.term().expect("in memory"))
            .expect("its term");
        assert_eq!(
            Identity::read(&store).expect("what we wrote ourselves"),
            Some(identity)
        );
    }
    let Some(namespace) = loaded_or_repaired(&mut store) else {
        return;
    };
    sound(&namespace);
    let mut world = World::begin(namespace, store);
    world.use_it();
    // What a namespace wrote itself always loads, and is the same.
    let (entries, space) = (world.listing(), world.used());
    let mut store = world.store;
    let namespace = Namespace::load(&mut store, config(), Now::default()).expect("what we wrote ourselves");
    let mut world = World::begin(namespace, store);
    assert_eq!(world.listing(), entries);
    assert!(world.used() <= space);
}

/// What does not load has something wrong, and loads once that is repaired. `None` where it cannot be.
fn loaded_or_repaired(store: &mut MemoryStore) -> Option<Namespace> {
    let now = Now::default();
    let examined = match examine(store, now.wall) {
        Err(StoreError::NewerFormat { found, newest }) => {
            assert!(found > newest, "a format that is known");
            assert!(Namespace::load(store, config(), now).is_err());
            return None;
        }
        examined => examined.expect("damage is no error"),
    };
    if let Ok(namespace) = Namespace::load(store, config(), now) {
        return Some(namespace);
    }
    assert!(
        !examined.examination.problems.is_empty(),
        "a sound store is refused"
    );
    examined.repair(store).ok()?;
    let anew = examine(store, now.wall).expect("damage is no error");
    assert!(
        anew.examination.problems.is_empty(),
        "{:?}",
        anew.examination.problems
    );
    Some(Namespace::load(store, config(), now).expect("it was repaired"))
}

/// Calls of a hostile peer that holds the key, one after the other: each is answered, and the namespace stays sound.
fn service(bytes: &[u8]) {
    let mut store = MemoryStore::default();
    let namespace = Namespace::load(&mut store, config(), Now::default()).expect("an empty store");
    let mut world = World::begin(namespace, store);
    let mut rest = bytes;
    while let Some((&[step, length], more)) = rest.split_first_chunk() {
        let (message, more) = more.split_at(usize::from(length).min(more.len()));
        rest = more;
        match step % 8 {
            0 => world.clean(),
            1 => world.wait(Duration::from_secs(u64::from(step) / 8)),
            2 => world.lose(step / 8 % 2),
            _ => {
                let Ok(mut call) = wire::decode::<Call>(message, WireVersion::NEWEST) else {
                    continue;
                };
                // Else nearly all calls would end at the first check.
                if step & 8 == 0 {
                    call.session = world.sessions[usize::from(step / 16 % 2)];
                    call.term = world.space.term();
                }
                let _ = world.call(call);
            }
        }
        sound(&world.space);
    }
}

fn sound(namespace: &Namespace) {
    if let Err(broken) = namespace.check() {
        panic!("{broken}");
    }
}

fn config() -> Config {
    Config {
        pool: PoolId([7; 16]),
        lease: Duration::from_secs(10),
        root_owner: (0, 0),
        root_mode: 0o755,
        metadata: u64::MAX,
    }
}

/// `key length u8, key, value length u16 little-endian, value`, as often as they come.
fn pairs(mut bytes: &[u8]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut pairs = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (key, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        let Some((length, rest)) = rest.split_first_chunk() else {
            break;
        };
        let length = usize::from(u16::from_le_bytes(*length));
        let (value, rest) = rest.split_at(length.min(rest.len()));
        pairs.push((key.to_vec(), Some(value.to_vec())));
        bytes = rest;
    }
    pairs
}

/// A namespace, its node, and two sessions.
struct World {
    space: Namespace,
    store: MemoryStore,
    now: Now,
    sessions: [SessionId; 2],
    cleaning: Vec<Extent>,
}

impl World {
    fn begin(mut space: Namespace, store: MemoryStore) -> Self {
        // Of no life that a store remembers.
        space.add_arena(NODE, Incarnation(u64::MAX), ARENA);
        let mut world = World {
            space,
            store,
            now: Now::default(),
            sessions: [SessionId(0); 2],
            cleaning: Vec::new(),
        };
        world.sessions = [1, 2].map(|number| world.session(number));
        world
    }

    fn session(&mut self, number: u8) -> SessionId {
        let call = Call {
            session: SessionId(0),
            term: self.space.term(),
            id: RequestId::NOT_KEPT,
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request: Request::Begin {
                host: "host".into(),
                client_owner: ClientOwner([number; 16]),
                pool: None,
            },
            closes: Vec::new(),
        };
        match self.call(call) {
            Ok(Reply::Begun(begun)) => begun.session,
            other => panic!("no session: {other:?}"),
        }
    }

    fn call(&mut self, call: Call) -> Answer {
        let mut out = self.space.call(call, self.now);
        if let Some(atomic) = out.atomic.take() {
            out.answer = Some(self.space.atomic_done(atomic, 0));
        }
        if let Some(moving) = out.moving.take() {
            self.apply(out);
            out = self.space.moved(&moving, self.now);
        }
        let answer = out.answer.clone().expect("a call is answered");
        // Too long is what the node's framing answers for; the messages are bounded by what they tell of.
        if let Ok(encoded) = wire::encode(&answer, WireVersion::NEWEST) {
            assert_eq!(
                wire::decode::<Answer>(&encoded, WireVersion::NEWEST)
                    .ok()
                    .as_ref(),
                Some(&answer)
            );
        } else {
            panic!("an answer cannot be sent: {answer:?}");
        }
        self.apply(out);
        answer
    }

    fn ask(&mut self, request: Request) -> Answer {
        self.call(Call {
            session: self.sessions[0],
            term: self.space.term(),
            id: RequestId::NOT_KEPT,
            caller: Credentials::root(),
            access_time: AccessTime::default(),
            request,
            closes: Vec::new(),
        })
    }

    fn apply(&mut self, out: Output) {
        for batch in &out.batch {
            assert!(batch.changes.len() <= MAX_BATCH_KEYS && batch.bytes() <= MAX_BATCH_BYTES);
        }
        self.store
            .commit(&out.batch, self.space.term())
            .expect("its term");
        self.cleaning.extend(out.clean);
        for (_, notice) in out.notices {
            wire::encode(&notice, WireVersion::NEWEST).expect("a notice can be sent");
        }
    }

    /// The node has zeroed what it was given to clean.
    fn clean(&mut self) {
        self.space.cleaned(&std::mem::take(&mut self.cleaning));
    }

    fn wait(&mut self, time: Duration) {
        self.now.monotonic += time;
        let (out, _) = self.space.tick(self.now);
        let ended = out.disconnect.clone();
        self.apply(out);
        for session in ended {
            let out = self.space.fenced(session);
            self.apply(out);
        }
    }

    /// The connection of a session breaks and its handler comes back.
    fn lose(&mut self, which: u8) {
        let out = self.space.fenced(self.sessions[usize::from(which)]);
        self.apply(out);
        self.sessions[usize::from(which)] = self.session(which + 1);
    }

    /// Makes, writes, cuts, renames and removes, beside what is there.
    fn use_it(&mut self) {
        let name = |text: &str| Name::new(text).expect("a name");
        let parent = InodeId::ROOT;
        let made = self.ask(Request::Make {
            parent,
            name: name("\u{1}made"),
            what: NewInode::File { open: true },
            mode: 0o644,
        });
        if let Ok(Reply::Opened { attr, .. }) = made {
            self.fill(attr.ino);
        }
        let listed = self.listing();
        for entry in listed.iter().filter(|attr| attr.ino != parent).take(4) {
            let ino = entry.ino;
            let access = OpenAccess {
                read: true,
                write: true,
                ..OpenAccess::default()
            };
            if self.ask(Request::Open { ino, access }).is_ok() {
                self.fill(ino);
            }
        }
        let _ = self.ask(Request::Unlink {
            parent,
            name: name("\u{1}made"),
        });
        self.clean();
        sound(&self.space);
    }

    /// Writes to an open file, shortens it, and closes it.
    fn fill(&mut self, ino: InodeId) {
        let size = |size| SetAttr {
            size: Some(size),
            ..SetAttr::default()
        };
        let requests = [
            Request::Layout {
                ino,
                start: 0,
                end: 9000,
                allocate: true,
            },
            Request::Append { ino, len: 5000 },
            Request::Commit {
                ino,
                size: 9000,
                truncate_seq: 0,
                mtime: Timestamp::default(),
                clear_set_id: true,
                sync: true,
            },
            Request::Copy {
                from: ino,
                from_offset: 0,
                to: ino,
                to_offset: 20_000,
                len: 6000,
            },
            Request::Allocate {
                ino,
                start: 100,
                end: 40_000,
                keep_size: false,
                zero: true,
            },
            Request::Punch {
                ino,
                start: 100,
                end: 30_000,
            },
            Request::SetAttr {
                ino,
                change: size(5),
                by_handle: true,
            },
            Request::Release { ino, opens: 1 },
        ];
        for request in requests {
            let _ = self.ask(request);
            sound(&self.space);
        }
    }

    /// The attributes of what the root directory holds.
    fn listing(&mut self) -> Vec<Attr> {
        let listed = self.ask(Request::ReadDir {
            ino: InodeId::ROOT,
            after: 0,
            limit: 64,
        });
        match listed {
            Ok(Reply::Directory { entries, .. }) => entries.into_iter().map(|entry| entry.attr).collect(),
            other => panic!("no listing: {other:?}"),
        }
    }

    fn used(&mut self) -> u64 {
        match self.ask(Request::StatFs) {
            Ok(Reply::Space(space)) => space.total - space.free,
            other => panic!("no space: {other:?}"),
        }
    }
}

#[cfg(test)]
#[path = "../../tests/fuzz/src/replay.rs"]
mod replay;
