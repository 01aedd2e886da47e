//! What a few names of a few files may lead to, when several programs exchange, move, link and remove them at once.
//!
//! A call takes effect in one moment between its beginning and its answer. So this keeps every state that some order of the calls explains,
//! each with the answers that the calls under way have earned in it; an answer leaves only the states in which it was earned. A call
//! without an answer is under way until nothing of it can arrive any more, and nobody knows then whether it was done. A node that dies
//! comes back as it was at some moment since the last fsync.

use nix::libc::{EEXIST, ENOENT};
use std::collections::{BTreeMap, BTreeSet};

/// Names there are.
pub(super) const NAMES: usize = 4;
/// Files there are, each of which has a name of its own, too, that nobody touches.
pub(super) const FILES: usize = 3;
/// Calls under way at most: each multiplies the states.
const AT_ONCE: usize = 4;

/// To which file each name leads.
pub(super) type Names = [Option<usize>; NAMES];

/// A call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Exchange { from: usize, to: usize },
    Move { from: usize, to: usize },
    Replace { from: usize, to: usize },
    Link { file: usize, to: usize },
    Remove { name: usize },
    Find { name: usize },
}

/// What a call gave: a file if it looked for one; or why it did nothing.
pub(super) type Outcome = Result<Option<usize>, i32>;

/// A call under way.
#[derive(Clone, Copy, Debug)]
struct Pending {
    operation: Operation,
    host: usize,
    /// The node died meanwhile: any answer may be.
    shaken: bool,
    /// No answer comes any more.
    lost: bool,
}

/// One way in which it may have gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct OperationState {
    names: Names,
    /// What the calls have earned that are done and not answered.
    earned: BTreeMap<u64, Outcome>,
}

/// All that may be.
#[derive(Clone, Debug)]
pub(super) struct Operations {
    states: BTreeSet<OperationState>,
    pending: BTreeMap<u64, Pending>,
    /// When each of the states was one last, since the last fsync.
    moments: BTreeMap<Names, u64>,
}

impl Operation {
    /// Its kind.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Exchange { .. } => "rename-exchange",
            Self::Move { .. } => "rename-noreplace",
            Self::Replace { .. } => "rename-shared",
            Self::Link { .. } => "link",
            Self::Remove { .. } => "unlink-shared",
            Self::Find { .. } => "lookup-shared",
        }
    }

    /// Does it at once.
    fn act(self, names: &mut Names) -> Outcome {
        match self {
            Self::Find { name } => return names[name].map(Some).ok_or(ENOENT),
            Self::Remove { name } => {
                names[name].take().ok_or(ENOENT)?;
            }
            Self::Link { to, .. } if names[to].is_some() => return Err(EEXIST),
            Self::Link { file, to } => names[to] = Some(file),
            Self::Exchange { from, to } | Self::Move { from, to } | Self::Replace { from, to } => {
                let source = names[from].ok_or(ENOENT)?;
                match (self, names[to]) {
                    (Self::Exchange { .. }, None) => return Err(ENOENT),
                    (Self::Exchange { .. }, Some(_)) => names.swap(from, to),
                    (Self::Move { .. }, Some(_)) => return Err(EEXIST),
                    // Two names of one file: nothing is to be done.
                    (_, Some(target)) if target == source => {}
                    _ => names[to] = names[from].take(),
                }
            }
        }
        Ok(None)
    }
}

impl Default for Operations {
    fn default() -> Self {
        Self {
            states: BTreeSet::from([OperationState::of(Names::default())]),
            pending: BTreeMap::new(),
            moments: BTreeMap::from([(Names::default(), 0)]),
        }
    }
}

impl OperationState {
    fn of(names: Names) -> Self {
        Self {
            names,
            earned: BTreeMap::new(),
        }
    }
}

impl Operations {
    /// Whether one more call may begin.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < AT_ONCE
    }

    pub(super) fn begins(&mut self, call: u64, operation: Operation, host: usize) {
        let pending = Pending {
            operation,
            host,
            shaken: false,
            lost: false,
        };
        self.pending.insert(call, pending);
    }

    /// A call was answered.
    pub(super) fn answered(&mut self, call: u64, outcome: Outcome, now: u64) -> Result<(), String> {
        let shaken = self.pending.get(&call).is_none_or(|pending| pending.shaken);
        let before = self.names();
        self.spread(now);
        self.states
            .retain(|state| shaken || state.earned.get(&call) == Some(&outcome));
        self.forget(call);
        match self.states.is_empty() {
            true => Err(format!("no order of the calls explains it; before it {before:?}")),
            false => Ok(()),
        }
    }

    /// No answer came, and none will.
    pub(super) fn loses(&mut self, call: u64) {
        self.pending.entry(call).and_modify(|pending| pending.lost = true);
    }

    /// A host died with all its calls.
    pub(super) fn loses_host(&mut self, host: usize) {
        let of_host = self.pending.values_mut().filter(|pending| pending.host == host);
        of_host.for_each(|pending| pending.lost = true);
    }

    /// Nothing of the lost calls of these hosts can arrive any more.
    pub(super) fn settles(&mut self, calm: impl Fn(usize) -> bool, now: u64) {
        let over = |pending: &Pending| pending.lost && calm(pending.host);
        let pending = self.pending.iter();
        let over: Vec<_> = pending
            .filter(|(_, call)| over(call))
            .map(|(call, _)| *call)
            .collect();
        if !over.is_empty() {
            self.spread(now);
            over.into_iter().for_each(|call| self.forget(call));
        }
    }

    /// An fsync that began then has put into the store all that had been answered.
    pub(super) fn synced(&mut self, began: u64, now: u64) {
        self.note(now);
        self.moments.retain(|_, last| *last >= began);
    }

    /// The node died.
    pub(super) fn died(&mut self, now: u64) {
        self.spread(now);
        self.pending
            .values_mut()
            .for_each(|pending| pending.shaken = true);
        self.states = self
            .moments
            .keys()
            .map(|names| OperationState::of(*names))
            .collect();
    }

    /// What the names may lead to.
    pub(super) fn names(&self) -> BTreeSet<Names> {
        self.states.iter().map(|state| state.names).collect()
    }

    /// Any of the calls under way may have taken effect, in any order.
    fn spread(&mut self, now: u64) {
        let mut new: Vec<_> = self.states.iter().cloned().collect();
        while let Some(state) = new.pop() {
            for (call, pending) in &self.pending {
                let mut next = state.clone();
                if next.earned.contains_key(call) {
                    continue;
                }
                let outcome = pending.operation.act(&mut next.names);
                next.earned.insert(*call, outcome);
                if self.states.insert(next.clone()) {
                    new.push(next);
                }
            }
        }
        self.note(now);
    }

    fn note(&mut self, now: u64) {
        let names = self.names();
        self.moments.extend(names.into_iter().map(|names| (names, now)));
    }

    fn forget(&mut self, call: u64) {
        self.pending.remove(&call);
        let states = std::mem::take(&mut self.states).into_iter();
        self.states = states
            .map(|mut state| {
                state.earned.remove(&call);
                state
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SWAP: Operation = Operation::Exchange { from: 0, to: 1 };

    /// Two names lead to two files.
    fn two() -> Operations {
        let mut operations = Operations::default();
        for file in 0..2 {
            operations.begins(file as u64, Operation::Link { file, to: file }, 0);
            operations.answered(file as u64, Ok(None), 1).unwrap();
        }
        operations
    }

    fn finds(operations: &Operations, file: usize) -> bool {
        let mut operations = operations.clone();
        operations.begins(99, Operation::Find { name: 0 }, 0);
        operations.answered(99, Ok(Some(file)), 99).is_ok()
    }

    #[test]
    fn the_number_of_exchanges_decides_where_each_file_is() {
        let mut operations = two();
        for call in 10..13 {
            operations.begins(call, SWAP, (call % 2) as usize);
        }
        for call in 10..13 {
            operations.answered(call, Ok(None), call).unwrap();
        }
        assert!(finds(&operations, 1) && !finds(&operations, 0));
        operations.begins(20, SWAP, 0);
        assert!(finds(&operations, 1) && finds(&operations, 0), "one is under way");
        operations.loses(20);
        operations.settles(|_| true, 21);
        assert!(finds(&operations, 1) && finds(&operations, 0), "nobody knows");
        operations.begins(22, Operation::Find { name: 1 }, 0);
        operations.answered(22, Ok(Some(0)), 23).unwrap();
        assert!(
            finds(&operations, 1) && !finds(&operations, 0),
            "somebody has looked"
        );
    }

    #[test]
    fn a_call_that_was_answered_is_not_done_later() {
        let mut operations = two();
        operations.begins(10, Operation::Move { from: 0, to: 1 }, 0);
        assert!(
            operations.clone().answered(10, Ok(None), 11).is_err(),
            "something is there"
        );
        operations.answered(10, Err(EEXIST), 11).unwrap();
        operations.begins(12, Operation::Remove { name: 1 }, 1);
        operations.answered(12, Ok(None), 13).unwrap();
        assert!(finds(&operations, 0));
        operations.begins(14, Operation::Remove { name: 1 }, 1);
        assert!(operations.answered(14, Ok(None), 15).is_err(), "removed twice");
    }

    #[test]
    fn a_dead_node_comes_back_as_it_was_since_the_last_fsync() {
        let mut operations = two();
        operations.synced(5, 6);
        operations.begins(10, SWAP, 0);
        operations.answered(10, Ok(None), 11).unwrap();
        let mut died = operations.clone();
        died.died(12);
        assert!(finds(&died, 0) && finds(&died, 1));
        operations.synced(12, 13);
        operations.died(14);
        assert!(finds(&operations, 1) && !finds(&operations, 0));
    }
}
