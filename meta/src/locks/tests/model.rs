//! Random calls against a model that keeps what each owner has of each byte, and counts locks as what lies side by side.

use crate::error::MetaError;
use crate::id::{InodeId, LockOwner, LockTicket, SessionId};
use crate::lock::{Lock, LockKind, LockState, Span};
use crate::locks::bounds::{ADDED, Bound, Bounds, Limits};
use crate::locks::{Account, Asked, Grants, Locks};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes of a file.
const BYTES: usize = 12;
const KINDS: [LockKind; 4] = [LockKind::Flock, LockKind::Posix, LockKind::Ofd, LockKind::Unknown];

type Holder = (SessionId, LockOwner);
/// What an owner has of a byte, by kind: whether it is exclusive, and who took it.
type Byte = BTreeMap<LockKind, (bool, Account)>;
const ACCOUNTS: [Account; 3] = [Account::Root, Account::User(1), Account::User(2)];

/// Bounds that random calls come to.
const NARROW: Limits = Limits {
    of_session: Bounds {
        locks: Bound { user: 9, all: 20 },
        waiters: Bound { user: 2, all: 6 },
    },
    of_file: Bounds {
        locks: Bound { user: 13, all: 28 },
        waiters: Bound { user: 4, all: 8 },
    },
};

#[derive(Clone, Debug)]
struct Ask {
    session: usize,
    owner: u64,
    kind: usize,
    exclusive: bool,
    range: (u64, u64),
    wait: bool,
    account: usize,
}

#[derive(Clone, Debug)]
enum Step {
    Lock(Ask),
    Unlock(usize, u64, usize, (u64, u64)),
    Cancel(usize, bool),
    End(usize),
    Tick(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let span = || (0..BYTES as u64, 0..BYTES as u64).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        8 => ask(),
        6 => (0..3_usize, 0..3_u64, 0..4_usize, span())
            .prop_map(|(session, owner, kind, span)| Step::Unlock(session, owner, kind, span)),
        1 => (any::<usize>(), any::<bool>()).prop_map(|(which, back)| Step::Cancel(which, back)),
        1 => (0..3_usize).prop_map(Step::End),
        2 => (0..1500_u16).prop_map(Step::Tick),
    ]
}

fn ask() -> impl Strategy<Value = Step> {
    let bytes = (0..BYTES as u64, 0..BYTES as u64);
    let who = (0..3_usize, 0..3_u64, 0..4_usize);
    (who, any::<bool>(), bytes, any::<bool>()).prop_map(|(who, exclusive, (a, b), wait)| {
        let (session, owner, kind) = who;
        // An owner that several share has locks of the one who came last; here each has one account.
        let account = usize::try_from(owner).unwrap();
        // flock has the whole file.
        let range = match kind {
            0 => (0, BYTES as u64 - 1),
            _ => (a.min(b), a.max(b)),
        };
        Step::Lock(Ask {
            session,
            owner,
            kind,
            exclusive,
            range,
            wait,
            account,
        })
    })
}

#[derive(Clone, Default)]
struct Model {
    limits: Limits,
    held: BTreeMap<Holder, Vec<Byte>>,
    waiting: BTreeMap<(SessionId, LockTicket), (Lock, Account)>,
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

    fn set(&mut self, holder: Holder, lock: &Lock, account: Account) {
        self.cut(holder, lock.span, lock.kind);
        let bytes = self.held.get_mut(&holder).unwrap();
        for byte in &mut bytes[at(lock.span)] {
            byte.insert(lock.kind, (lock.exclusive, account));
        }
    }

    fn is_free(&self, holder: Holder, lock: &Lock) -> bool {
        let others = self.held.iter().filter(|(other, _)| **other != holder);
        !others
            .flat_map(|(_, bytes)| &bytes[at(lock.span)])
            .flatten()
            .any(|(kind, (exclusive, _))| kind.sees(lock.kind) && (*exclusive || lock.exclusive))
    }

    /// flock lets go first.
    fn prepare(&mut self, holder: Holder, lock: &Lock) {
        let bytes = self
            .held
            .entry(holder)
            .or_insert_with(|| vec![Byte::new(); BYTES]);
        let has = |byte: &Byte| byte.get(&LockKind::Flock).map(|(exclusive, _)| *exclusive);
        let has_it = bytes.iter().any(|byte| has(byte) == Some(lock.exclusive));
        if lock.kind == LockKind::Flock && !has_it {
            self.cut(holder, lock.span, lock.kind);
        }
    }

    /// Takes in what was granted: each of it must have been free at its turn.
    fn granted(&mut self, grants: &mut Grants) -> Result<(), TestCaseError> {
        for (session, ticket) in grants.drain(..) {
            let lock = self.waiting.remove(&(session, ticket));
            prop_assert!(lock.is_some(), "granted without a wait");
            let (lock, account) = lock.unwrap();
            let holder = (session, lock.owner);
            prop_assert!(self.is_free(holder, &lock), "two holders: {lock:?}");
            self.set(holder, &lock, account);
        }
        Ok(())
    }

    /// Locks of those whom `counts` names.
    fn locks(&self, counts: impl Fn(SessionId, Account) -> bool) -> usize {
        let of_kind = |kind| self.locks_of_kind(kind, &counts);
        KINDS.into_iter().map(of_kind).sum()
    }

    fn locks_of_kind(&self, wanted: LockKind, counts: impl Fn(SessionId, Account) -> bool) -> usize {
        let of_owner = |(holder, bytes): (&Holder, &Vec<Byte>)| {
            let begins = |at: usize| {
                let before = at.checked_sub(1).map(|before| &bytes[before]);
                let alike = move |kind, kept| before.is_some_and(|byte| byte.get(kind) == Some(kept));
                let own = bytes[at].iter().filter(|(kind, _)| **kind == wanted);
                let new = own.filter(|(kind, kept)| !alike(*kind, *kept));
                new.filter(|(_, (_, account))| counts(holder.0, *account)).count()
            };
            (0..BYTES).map(begins).sum::<usize>()
        };
        self.held.iter().map(of_owner).sum()
    }

    fn waiters(&self, counts: impl Fn(SessionId, Account) -> bool) -> usize {
        let waiters = self.waiting.iter();
        waiters
            .filter(|((session, _), (_, account))| counts(*session, *account))
            .count()
    }

    /// Whether the account may have so many locks and waiters more.
    fn has_room(&self, session: SessionId, account: Account, (locks, waiters): (usize, usize)) -> bool {
        let Limits { of_session, of_file } = self.limits;
        let allows = |bound: Bound, user: usize, all: usize| match account {
            Account::Root => all <= bound.all,
            _ => user <= bound.user && all <= bound.all - bound.all / 4,
        };
        [(of_session, Some(session)), (of_file, None)]
            .into_iter()
            .all(|(bounds, only)| {
                let user = |of, by| only.is_none_or(|only| only == of) && by == account;
                let all = |of, _| only.is_none_or(|only| only == of);
                let waiting = [self.waiters(user), self.waiters(all)].map(|count| count + waiters);
                let held = [self.locks(user), self.locks(all)].map(|count| count + locks);
                let room = [0, 1].map(|at| held[at] + ADDED * waiting[at]);
                let may_wait = waiters == 0 || allows(bounds.waiters, waiting[0], waiting[1]);
                may_wait && (locks + waiters == 0 || allows(bounds.locks, room[0], room[1]))
            })
    }

    /// How many locks more there are with this one.
    fn growth(&self, holder: Holder, lock: &Lock, account: Account) -> usize {
        let mut next = self.clone();
        next.set(holder, lock, account);
        next.locks(|_, _| true).saturating_sub(self.locks(|_, _| true))
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

/// Locks, their model, and the time.
struct Play {
    locks: Locks,
    model: Model,
    grants: Grants,
    now: Duration,
    tickets: u64,
}

impl Play {
    fn new(limits: Limits) -> Self {
        let mut locks = Locks::default();
        locks.tallies.limits = limits;
        let model = Model {
            limits,
            ..Model::default()
        };
        Self {
            locks,
            model,
            grants: Grants::new(),
            now: Duration::ZERO,
            tickets: 0,
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Lock(ask) => self.lock(&ask)?,
            Step::Unlock(session, owner, kind, range) => {
                self.unlock((sessions(session), LockOwner(owner)), (span(range), KINDS[kind]))?;
            }
            Step::Cancel(which, back) => {
                let waits: Vec<_> = self.model.waiting.keys().copied().collect();
                if let Some((session, ticket)) = waits.get(which % waits.len().max(1)).copied() {
                    self.model.waiting.remove(&(session, ticket));
                    let state = self.locks.cancel(session, ticket, back, &mut self.grants);
                    prop_assert_eq!(state, LockState::Free);
                }
            }
            Step::End(session) => {
                let session = sessions(session);
                self.model.held.retain(|(of, _), _| *of != session);
                self.model.waiting.retain(|(of, _), _| *of != session);
                self.locks.end(session, &mut self.grants);
            }
            Step::Tick(milliseconds) => {
                self.now += Duration::from_millis(milliseconds.into());
                let more = self.locks.tick(self.now, &mut self.grants);
                prop_assert!(!more, "a tick ends what so few have to do");
            }
        }
        self.model.granted(&mut self.grants)?;
        let sound = self.locks.check(|_, _| true);
        prop_assert!(sound.is_ok(), "{sound:?}");
        Ok(())
    }

    fn lock(&mut self, ask: &Ask) -> Result<(), TestCaseError> {
        self.tickets += 1;
        let (session, ticket) = (sessions(ask.session), LockTicket(self.tickets));
        let (account, wait) = (ACCOUNTS[ask.account], ask.wait);
        let lock = Lock {
            owner: LockOwner(ask.owner),
            kind: KINDS[ask.kind],
            exclusive: ask.exclusive,
            span: span(ask.range),
            // No circles here: they have tests of their own.
            process: 0,
        };
        let asked = Asked {
            session,
            account,
            ino: FILE,
            ticket,
            lock,
            wait,
        };
        let (holder, model) = ((session, lock.owner), &mut self.model);
        model.prepare(holder, &lock);
        let free = model.is_free(holder, &lock);
        let has_room = model.has_room(session, account, (model.growth(holder, &lock, account), 0));
        let may_wait = model.has_room(session, account, (0, 1));
        match self.locks.lock(&asked, self.now, &mut self.grants) {
            Ok(LockState::Held) => {
                prop_assert!(free, "two holders: {lock:?}");
                prop_assert!(has_room, "beyond a bound: {lock:?}");
                model.set(holder, &lock, account);
            }
            Ok(LockState::Waiting) => {
                prop_assert!(wait);
                prop_assert!(may_wait, "beyond a bound: {lock:?}");
                model.waiting.insert((session, ticket), (lock, account));
            }
            Err(MetaError::Locked) => prop_assert!(!wait && !free, "{lock:?}"),
            Err(MetaError::TooManyLocks) => {
                prop_assert!(
                    free && !has_room || wait && !may_wait,
                    "within all bounds: {lock:?}"
                );
            }
            other => prop_assert!(false, "{other:?}"),
        }
        Ok(())
    }

    fn unlock(&mut self, holder: Holder, (span, kind): (Span, LockKind)) -> Result<(), TestCaseError> {
        let mut next = self.model.clone();
        next.cut(holder, span, kind);
        let all = |_, _| true;
        let more = next.locks(all).saturating_sub(self.model.locks(all));
        // Of one kind there is one more where the span is the middle, though locks of another kind go.
        let of_kind = |model: &Model, kind| model.locks_of_kind(kind, all);
        let splits = KINDS
            .iter()
            .any(|kind| of_kind(&next, *kind) > of_kind(&self.model, *kind));
        let what = (span, kind);
        let result = self
            .locks
            .unlock((holder.0, FILE), holder.1, what, &mut self.grants);
        if result == Err(MetaError::TooManyLocks) {
            let has_room = |account: &Account| self.model.has_room(holder.0, *account, (2, 0));
            prop_assert!(splits && !ACCOUNTS.iter().all(has_room), "within all bounds");
            return Ok(());
        }
        prop_assert_eq!(result, Ok(()));
        prop_assert!(
            self.model.has_room(holder.0, Account::Root, (more, 0)),
            "beyond a bound"
        );
        self.model = next;
        Ok(())
    }
}

/// Runs the steps; then everybody gives back what they hold, one after the other, and whoever waits gets it.
fn run(steps: Vec<Step>, limits: Limits) -> Result<(), TestCaseError> {
    let mut play = Play::new(limits);
    for step in steps {
        play.step(step)?;
    }
    end(play)
}

/// Whoever waits gets it in the end.
fn end(play: Play) -> Result<(), TestCaseError> {
    let Play {
        mut locks,
        mut model,
        mut grants,
        mut now,
        ..
    } = play;
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
        run(steps, Limits::default())?;
    }

    #[test]
    fn locks_agree_with_it_at_their_bounds(steps in prop::collection::vec(step(), 0..80)) {
        run(steps, NARROW)?;
    }
}
