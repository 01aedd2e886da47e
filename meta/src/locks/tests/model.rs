//! Random calls against a model that keeps what each owner has of each byte.

use crate::error::MetaError;
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, LockState, Span};
use crate::locks::{Asked, Grants, Locks};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of a file.
const BYTES: usize = 12;
const KINDS: [LockKind; 4] = [LockKind::Flock, LockKind::Posix, LockKind::Ofd, LockKind::Unknown];

type Holder = (SessionId, LockOwner);
/// What an owner has of a byte, by kind: whether it is exclusive.
type Byte = BTreeMap<LockKind, bool>;

#[derive(Clone, Debug)]
enum Step {
    Lock(usize, u64, usize, bool, (u64, u64), bool),
    Unlock(usize, u64, usize, (u64, u64)),
    Cancel(usize, bool),
    End(usize),
    Tick(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let span = || (0..BYTES as u64, 0..BYTES as u64).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        8 => (0..3_usize, 0..3_u64, 0..4_usize, any::<bool>(), span(), any::<bool>())
            .prop_map(|(session, owner, kind, exclusive, span, wait)| {
                // flock has the whole file.
                let span = if kind == 0 { (0, BYTES as u64 - 1) } else { span };
                Step::Lock(session, owner, kind, exclusive, span, wait)
            }),
        6 => (0..3_usize, 0..3_u64, 0..4_usize, span())
            .prop_map(|(session, owner, kind, span)| Step::Unlock(session, owner, kind, span)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, back)| Step::Cancel(which, back)),
        1 => (0..3_usize).prop_map(Step::End),
        2 => (0..1500_u16).prop_map(Step::Tick),
    ]
}

#[derive(Default)]
struct Model {
    held: BTreeMap<Holder, Vec<Byte>>,
    waiting: BTreeMap<(SessionId, LockTicket), Lock>,
}

impl Model {
    fn cut(&mut self, holder: Holder, span: Span, kind: LockKind) {
        let bytes = self
            .held
            .entry(holder)
            .or_insert_with(|| vec![Byte::new(); BYTES]);
        for byte in &mut bytes[at(span)] {
            byte.retain(|held, _| !held.sees(kind));
        }
    }

    fn set(&mut self, holder: Holder, lock: &Lock) {
        self.cut(holder, lock.span, lock.kind);
        let bytes = self.held.get_mut(&holder).unwrap();
        for byte in &mut bytes[at(lock.span)] {
            byte.insert(lock.kind, lock.exclusive);
        }
    }

    fn is_free(&self, holder: Holder, lock: &Lock) -> bool {
        let others = self.held.iter().filter(|(other, _)| **other != holder);
        !others
            .flat_map(|(_, bytes)| &bytes[at(lock.span)])
            .flatten()
            .any(|(kind, exclusive)| kind.sees(lock.kind) && (*exclusive || lock.exclusive))
    }

    /// flock lets go first.
    fn prepare(&mut self, holder: Holder, lock: &Lock) {
        let bytes = self
            .held
            .entry(holder)
            .or_insert_with(|| vec![Byte::new(); BYTES]);
        let has_it = bytes
            .iter()
            .any(|byte| byte.get(&LockKind::Flock) == Some(&lock.exclusive));
        if lock.kind == LockKind::Flock && !has_it {
            self.cut(holder, lock.span, lock.kind);
        }
    }

    /// Takes in what was granted: each of it must have been free at its turn.
    fn granted(&mut self, grants: &mut Grants) -> Result<(), TestCaseError> {
        for (session, ticket) in grants.drain(..) {
            let lock = self.waiting.remove(&(session, ticket));
            prop_assert!(lock.is_some(), "granted without a wait");
            let lock = lock.unwrap();
            let holder = (session, lock.owner);
            prop_assert!(self.is_free(holder, &lock), "two holders: {lock:?}");
            self.set(holder, &lock);
        }
        Ok(())
    }
}

fn at(span: Span) -> std::ops::Range<usize> {
    usize::try_from(span.start()).unwrap()..usize::try_from(span.last()).unwrap() + 1
}

fn span((start, last): (u64, u64)) -> Span {
    Span::new(start, last).unwrap()
}

const FILE: InodeId = InodeId(3);

fn sessions(which: usize) -> SessionId {
    SessionId(which as u64 + 1)
}

/// Runs the steps; then everybody gives back what they hold, one after the other, and whoever waits gets it.
#[expect(clippy::too_many_lines, reason = "one story, in its order")]
fn run(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let (mut locks, mut model, mut grants) = (Locks::default(), Model::default(), Grants::new());
    let (mut now, mut next) = (Duration::ZERO, 0);
    for step in steps {
        match step {
            Step::Lock(session, owner, kind, exclusive, range, wait) => {
                next += 1;
                let (session, ticket) = (sessions(session), LockTicket(next));
                let lock = Lock {
                    owner: LockOwner(owner),
                    kind: KINDS[kind],
                    exclusive,
                    span: span(range),
                    // No circles here: they have tests of their own.
                    process: 0,
                };
                let asked = Asked {
                    session,
                    ino: FILE,
                    ticket,
                    lock,
                    wait,
                };
                let holder = (session, lock.owner);
                model.prepare(holder, &lock);
                let free = model.is_free(holder, &lock);
                match locks.lock(&asked, now, &mut grants) {
                    Ok(LockState::Held) => {
                        prop_assert!(free, "two holders: {lock:?}");
                        model.set(holder, &lock);
                    }
                    Ok(LockState::Waiting) => {
                        prop_assert!(wait);
                        model.waiting.insert((session, ticket), lock);
                    }
                    Err(MetaError::Locked) => prop_assert!(!wait && !free, "{lock:?}"),
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            Step::Unlock(session, owner, kind, range) => {
                let (session, owner) = (sessions(session), LockOwner(owner));
                model.cut((session, owner), span(range), KINDS[kind]);
                locks
                    .unlock((session, FILE), owner, (span(range), KINDS[kind]), &mut grants)
                    .unwrap();
            }
            Step::Cancel(which, back) => {
                let waits: Vec<_> = model.waiting.keys().copied().collect();
                if let Some((session, ticket)) = waits.get(which % waits.len().max(1)).copied() {
                    model.waiting.remove(&(session, ticket));
                    prop_assert_eq!(locks.cancel(session, ticket, back, &mut grants), LockState::Free);
                }
            }
            Step::End(session) => {
                let session = sessions(session);
                model.held.retain(|(of, _), _| *of != session);
                model.waiting.retain(|(of, _), _| *of != session);
                locks.end(session, &mut grants);
            }
            Step::Tick(milliseconds) => {
                now += Duration::from_millis(milliseconds.into());
                locks.tick(now, &mut grants);
            }
        }
        model.granted(&mut grants)?;
        let sound = locks.check(|_, _| true);
        prop_assert!(sound.is_ok(), "{sound:?}");
    }
    end(&mut locks, &mut model, now)
}

/// Whoever waits gets it in the end.
fn end(locks: &mut Locks, model: &mut Model, mut now: Duration) -> Result<(), TestCaseError> {
    let mut grants = Grants::new();
    for _ in 0..1000 {
        if model.waiting.is_empty() {
            return Ok(());
        }
        for session in 0..3 {
            for owner in 0..3 {
                let (session, owner) = (sessions(session), LockOwner(owner));
                model.cut((session, owner), span((0, BYTES as u64 - 1)), LockKind::Unknown);
                let all = (Span::WHOLE, LockKind::Unknown);
                locks.unlock((session, FILE), owner, all, &mut grants).unwrap();
                model.granted(&mut grants)?;
            }
        }
        now += Duration::from_secs(1);
        locks.tick(now, &mut grants);
        model.granted(&mut grants)?;
    }
    prop_assert!(false, "they wait for ever: {:?}", model.waiting);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn locks_agree_with_what_each_owner_has_of_each_byte(steps in prop::collection::vec(step(), 0..60)) {
        run(steps)?;
    }
}
