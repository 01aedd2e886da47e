//! The play: who does what next, and when.

use super::ground::Ground;
use super::history::HOSTS;
use super::looks::{Looks, Thing};
use super::marks::NAMES;
use super::operations::{FILES, Operations};
use super::past::Past;
use super::plan::{Doing, Plan, start};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rdmafs_fs::handler::HandleId;
use rdmafs_fs::handler::testing::{HostId, Rules, Simulation};
use rdmafs_rdma::buffer::Buffer;
use rdmafs_rdma::sim::Pace;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub(super) const LEASE: Duration = Duration::from_secs(10);
pub(super) const ARENA: u64 = 192 * 4096;
/// From this one on they are of files that are appended to.
const LOGS: usize = 6;
/// Operations under way on a host at most.
pub(super) const AT_ONCE: usize = 6;
/// Steps between two faults, on average.
const CALM: u32 = 400;
/// The node dies in the middle of one append of so many, so many steps after its beginning.
const DIES_IN_APPEND: u32 = 80;
const MIDDLE: Range<u64> = 3..16;
/// Lines of the trace that are told when something goes wrong.
const TRACE: usize = 60;

/// What a play did.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Operations that programs began.
    pub operations: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, well.
    pub well: u64,
    /// Posts, messages and completions.
    pub fabric: u64,
    /// Deaths, pauses, partitions, broken connections, restarts.
    pub faults: u64,
    /// Writes that landed.
    pub landed: u64,
    /// Of these, in what their file had given up.
    pub late: u64,
    /// How often each kind of operation gave what.
    pub outcomes: BTreeMap<String, u64>,
}

pub(super) struct File {
    pub(super) past: Past,
    /// An fsync of it was answered well, in this life of the node or before.
    pub(super) durable: bool,
}

#[derive(Clone, Copy, Default)]
pub(super) struct Name {
    pub(super) holds: Option<u64>,
    /// An answer was lost: somebody must look.
    pub(super) unknown: bool,
    /// Of whose call no answer came. While it may still be on its way, it is too early to look; until somebody has looked, the name may
    /// long have led elsewhere, or its file be removed.
    pub(super) lost_by: Option<usize>,
    pub(super) busy: bool,
}

pub(super) struct Handle {
    pub(super) host: usize,
    pub(super) ino: u64,
    pub(super) id: HandleId,
    pub(super) opened: u64,
    pub(super) since: Duration,
    pub(super) closing: bool,
}

pub(super) struct Play {
    pub(super) sim: Simulation,
    pub(super) random: StdRng,
    pub(super) step: u64,
    pub(super) names: [Name; NAMES],
    pub(super) files: BTreeMap<u64, File>,
    pub(super) handles: BTreeMap<u64, Handle>,
    pub(super) doing: Vec<Doing>,
    pub(super) operations: Operations,
    pub(super) looks: Looks,
    /// The files of these.
    pub(super) kept: [u64; FILES],
    pub(super) ground: Arc<Mutex<Ground>>,
    /// Until when each host's failures are excused, and what it writes may be lost.
    pub(super) trouble: [Duration; HOSTS],
    pub(super) shaken: [Duration; HOSTS],
    /// When a host that is dead or stopped goes on.
    pub(super) goes_on: [Option<Duration>; HOSTS],
    pub(super) node_returns: Option<Duration>,
    /// Over which connection each host had its leases when the node died last.
    pub(super) old_leases: [Option<u64>; HOSTS],
    /// The step at which the node dies.
    dies_at: Option<u64>,
    pub(super) unheard: bool,
    pub(super) faults: bool,
    pub(super) played: Played,
    trace: VecDeque<String>,
}

/// Plays so many operations by one seed, then lets everything come to rest and looks whether anything is left.
///
/// # Errors
/// What broke which promise, after the last steps that led there.
pub fn play(seed: u64, operations: u64) -> Result<Played, String> {
    let mut play = Play::new(seed);
    play.keep_files();
    (0..NAMES).for_each(|name| play.looks.starts(Thing::Name(name), 0, 0));
    let mut done = Ok(());
    while done.is_ok() && play.played.operations < operations {
        done = play.next();
    }
    let done = done.and_then(|()| play.come_to_rest());
    play.played.fabric = play.sim.sim().operations();
    (play.played.landed, play.played.late) = {
        let ground = play.ground.lock();
        (ground.landed, ground.late)
    };
    let notified = |why| {
        let trace: Vec<_> = play.trace.iter().map(String::as_str).collect();
        format!(
            "seed {seed}, step {}: {why}\nafter\n{}",
            play.step,
            trace.join("\n")
        )
    };
    done.map_err(notified)?;
    Ok(play.played)
}

impl Name {
    /// Whether that file must outlive the node if it was synced: no call is under way, and none had its answer lost with its host, that may
    /// have removed it or put another in its place.
    pub(super) fn keeps(&self, ino: u64) -> bool {
        self.holds == Some(ino) && !self.busy && self.lost_by.is_none()
    }
}

impl Play {
    fn new(seed: u64) -> Self {
        let rules = Rules {
            arena: ARENA,
            seed,
            pace: Pace::Latency {
                min: Duration::from_micros(20),
                max: Duration::from_millis(3),
                queues: 2,
            },
            lease: LEASE,
            prompt: false,
            leases: true,
        };
        let ground = Arc::new(Mutex::new(Ground::new(ARENA)));
        let mut sim = Simulation::new(rules);
        sim.watch(ground.clone());
        for _ in 0..HOSTS {
            sim.add_host();
        }
        Self {
            sim,
            random: StdRng::seed_from_u64(seed),
            step: 1,
            names: Default::default(),
            files: BTreeMap::new(),
            handles: BTreeMap::new(),
            doing: Vec::new(),
            operations: Operations::default(),
            looks: Looks::default(),
            kept: [0; FILES],
            ground,
            trouble: [Duration::ZERO; HOSTS],
            shaken: [Duration::ZERO; HOSTS],
            goes_on: [None; HOSTS],
            node_returns: None,
            old_leases: [None; HOSTS],
            dies_at: None,
            unheard: false,
            faults: true,
            played: Played::default(),
            trace: VecDeque::new(),
        }
    }

    /// One step: perhaps a fault, perhaps an operation begins, then everybody does what can be done, and answers are judged.
    fn next(&mut self) -> Result<(), String> {
        self.step += 1;
        self.return_due()?;
        self.settle_operations();
        self.settle_looks();
        if self.faults && self.random.random_ratio(1, CALM) {
            self.fault();
        }
        if self.dies_at.take_if(|at| *at <= self.step).is_some() {
            self.kill_node(Duration::from_millis(100));
        }
        if self.random.random_ratio(1, 50) {
            // A lull: what was begun ends, leases run on.
            let lull = self.random.random_range(0.0..10.0);
            self.rest(Duration::from_secs_f64(lull))?;
        }
        let host = self.random.random_range(0..HOSTS);
        if self.is_working(host) && self.in_flight(host) < AT_ONCE && self.random.random_bool(0.7) {
            self.begin(host);
        }
        self.proceed()
    }

    /// Everybody does what can be done now; then a little time passes.
    pub(super) fn proceed(&mut self) -> Result<(), String> {
        self.sim.settle();
        for _ in 0..self.random.random_range(0..3) {
            self.look()?;
            // The store is the slowest.
            let _any = match self.random.random_ratio(1, 8) {
                true => self.sim.commit(),
                false => self.sim.fence() || self.sim.clean(),
            };
            self.sim.settle();
        }
        self.sim.settle();
        self.hear();
        self.judge_answers()?;
        self.look()?;
        let until = self.sim.now() + Duration::from_micros(self.random.random_range(0..4000));
        self.sim.pass(until);
        Ok(())
    }

    /// What the arena's oracle complained of.
    pub(super) fn look(&self) -> Result<(), String> {
        match &self.ground.lock().wrong {
            Some(wrong) => Err(wrong.clone()),
            None => Ok(()),
        }
    }

    /// Who has heard all that was said knows of every cut.
    pub(super) fn hear(&mut self) {
        if !self.unheard {
            return;
        }
        let mut all = true;
        for host in 0..HOSTS {
            let ends = self.sim.connections(HostId(host));
            let heard = !self.sim.is_stopped(HostId(host)) && ends.iter().all(|end| end.has_heard_all());
            all &= heard;
            if heard {
                let step = self.step;
                self.files
                    .values_mut()
                    .for_each(|file| file.past.heard(host, step));
            }
        }
        self.unheard = !all;
    }

    pub(super) fn is_working(&self, host: usize) -> bool {
        self.sim.is_alive(HostId(host)) && !self.sim.is_stopped(HostId(host))
    }

    pub(super) fn in_flight(&self, host: usize) -> usize {
        self.doing.iter().filter(|doing| doing.host == host).count()
    }

    /// Begins an operation on a host, if the one that comes to mind can be.
    fn begin(&mut self, host: usize) {
        let Some(plan) = self.choose(host) else { return };
        self.begin_plan(host, plan);
    }

    pub(super) fn begin_plan(&mut self, host: usize, plan: Plan) {
        self.step += 1;
        let handle = plan.handle().and_then(|handle| self.handles.get(&handle));
        let id = handle.map_or(HandleId(0), |handle| handle.id);
        let written = match plan {
            Plan::Write { ino, from, to, .. } => Some((ino, (from, to))),
            Plan::Append { ino, cells, .. } => Some((ino, (0, cells))),
            _ => None,
        };
        let data = written.and_then(|(ino, cells)| self.bytes(ino, cells, host));
        if written.is_some() && data.is_none() {
            return;
        }
        self.expect(host, plan);
        self.played.operations += 1;
        self.tell(format!("host {host} begins {plan:?}"));
        let answer = start(&self.sim, host, plan, id, data);
        self.doing.push(Doing {
            plan,
            host,
            began: self.step,
            since: self.sim.now(),
            of_old: self.holds_old(host),
            answer,
        });
    }

    /// Whether what the host holds by lease is from before the node's last death.
    fn holds_old(&self, host: usize) -> bool {
        let over = self.sim.leases_over(HostId(host));
        over.is_some() && over == self.old_leases[host]
    }

    /// What a write writes.
    fn bytes(&mut self, ino: u64, cells: (u64, u64), host: usize) -> Option<Buffer> {
        let file = self.files.get_mut(&ino)?;
        let bytes = file.past.writes((ino, self.step), cells, host);
        self.sim.buffer(HostId(host), &bytes)
    }

    /// What else may happen from now on.
    fn expect(&mut self, host: usize, plan: Plan) {
        match plan {
            Plan::Open {
                ino, truncate: true, ..
            } => self.cut(ino, 0, host),
            Plan::Cut { ino, size } => self.cut(ino, size, host),
            Plan::Close { handle, .. } => {
                let handle = self.handles.get_mut(&handle).expect("an open handle");
                handle.closing = true;
            }
            Plan::Create { name, .. } => self.changes_name(name, host, None),
            Plan::Unlink { name } => self.changes_name(name, host, Some(0)),
            Plan::Look { name } => self.names[name].busy = true,
            Plan::Rename { from, to } => {
                let moved = self.names[from].holds;
                self.changes_name(to, host, moved);
                // Its file keeps a name.
                self.looks.begins((self.step, host), Thing::Name(from), Some(0));
                self.names[from].busy = true;
            }
            Plan::Mark { mark, ino } => self.expect_mark(host, mark, ino),
            Plan::Append { .. } if self.random.random_ratio(1, DIES_IN_APPEND) => {
                self.dies_at = Some(self.step + self.random.random_range(MIDDLE));
            }
            Plan::Operation { operation, .. } => self.operations.begins(self.step, operation, host),
            Plan::Open { .. } | Plan::Write { .. } | Plan::Append { .. } => {}
            Plan::Read { .. } | Plan::Sync { .. } => {}
        }
    }

    /// A call begins that makes the name lead there, or to a new inode; what it leads to until now has no name then.
    fn changes_name(&mut self, name: usize, host: usize, to: Option<u64>) {
        let call = (self.step, host);
        self.names[name].busy = true;
        self.looks.begins(call, Thing::Name(name), to);
        if let Some(ino) = self.names[name].holds {
            self.looks.begins(call, Thing::Links(ino), Some(0));
        }
    }

    fn cut(&mut self, ino: u64, size: u64, host: usize) {
        let step = self.step;
        if let Some(file) = self.files.get_mut(&ino) {
            file.past.cuts(size, host, step);
        }
    }

    pub(super) fn open_at(&self, host: usize) -> Vec<u64> {
        let open = self.handles.iter();
        open.filter(|(_, handle)| handle.host == host && !handle.closing)
            .map(|(number, _)| *number)
            .collect()
    }

    pub(super) fn new_file(&mut self, ino: u64, log: bool) {
        self.files.entry(ino).or_insert(File {
            past: Past::new(log),
            durable: false,
        });
    }

    pub(super) fn tell(&mut self, what: String) {
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace
            .push_back(format!("  {} {:?} {what}", self.step, self.sim.now()));
    }
}

/// Whether the file of that name is appended to.
pub(super) fn is_log(name: usize) -> bool {
    name >= LOGS
}

impl Played {
    /// Takes another play in.
    pub fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.answered += other.answered;
        self.well += other.well;
        self.fabric += other.fabric;
        self.faults += other.faults;
        self.landed += other.landed;
        self.late += other.late;
        for (outcome, times) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += times;
        }
    }

    /// Operations begun and answered, steps of the fabric, and faults.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.operations + self.answered + self.fabric + self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_file_unless_a_call_may_have_removed_it() {
        let known = Name {
            holds: Some(7),
            ..Name::default()
        };
        assert!(known.keeps(7) && !known.keeps(8));
        let node_died = Name {
            unknown: true,
            ..known
        };
        assert!(node_died.keeps(7));
        let in_flight = Name { busy: true, ..known };
        assert!(!in_flight.keeps(7));
        let lost_by = Some(0);
        let unanswered = Name {
            unknown: true,
            lost_by,
            ..known
        };
        assert!(!unanswered.keeps(7), "its unlink may have been done");
    }
}
