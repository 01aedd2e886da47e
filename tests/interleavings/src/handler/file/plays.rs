//! Transfers that run while their layout is recalled. An inode is a lock around what is known of the layout and the present epoch, as in
//! `fs/src/handler/file/inode.rs`; the arena is cells, one for each transfer.

use super::epoch::Epoch;
use crate::explore::{block_on, explore, join};
use crate::sync::{Arc, Memory, Mutex};
use loom::thread;

/// An inode whose layout maps the arena until it is recalled.
struct Inode {
    state: Mutex<State>,
    arena: [Memory; 2],
}

struct State {
    mapped: bool,
    epoch: Arc<Epoch>,
}

impl Inode {
    fn new() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            state: Mutex::new(State {
                mapped: true,
                epoch: Epoch::new(),
            }),
            arena: Default::default(),
        })
    }

    /// The epoch, if there is a layout to transfer by.
    fn plan(&self) -> Option<Arc<Epoch>> {
        let state = self.state.lock();
        state.mapped.then(|| state.epoch.clone())
    }

    /// A transfer to `place`, if it may begin.
    fn transfer(&self, place: usize) {
        if let Some(epoch) = self.plan() {
            self.run(place, epoch);
        }
    }

    fn run(&self, place: usize, epoch: Arc<Epoch>) {
        drop(self.arena[place].write());
        drop(epoch);
    }

    fn recall(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.state.lock();
        state.mapped = false;
        Epoch::retire(&mut state.epoch)
    }

    /// What the node does when the recall is acknowledged.
    fn reuse(&self) {
        for place in &self.arena {
            drop(place.write());
        }
    }
}

/// Two transfers begin or not while a layout is recalled: the wait ends, and then none runs and none begins.
pub fn a_recall_ends_when_the_last_transfer_has_ended() {
    explore(|| {
        let inode = Inode::new();
        let transfers = [0, 1].map(|place| {
            let inode = std::sync::Arc::clone(&inode);
            thread::spawn(move || inode.transfer(place))
        });
        block_on(inode.recall());
        inode.reuse();
        join(transfers);
    });
}

/// Two transfers run for certain when the layout is recalled.
pub fn a_recall_waits_for_transfers_that_run() {
    explore(|| {
        let inode = Inode::new();
        let transfers = [0, 1].map(|place| {
            let epoch = inode.plan().expect("there is a layout");
            let inode = std::sync::Arc::clone(&inode);
            thread::spawn(move || inode.run(place, epoch))
        });
        block_on(inode.recall());
        inode.reuse();
        join(transfers);
    });
}

/// A second recall, on another thread, comes while the first one waits: neither ends before the transfer of the first epoch.
pub fn a_later_recall_waits_for_transfers_of_earlier_epochs() {
    explore(|| {
        let inode = Inode::new();
        let epoch = inode.plan().expect("there is a layout");
        let runs = std::sync::Arc::clone(&inode);
        let transfer = thread::spawn(move || runs.run(0, epoch));
        let first = inode.recall();
        let second = inode.recall();
        let reads = std::sync::Arc::clone(&inode);
        let acknowledges = thread::spawn(move || {
            block_on(second);
            drop(reads.arena[0].read());
        });
        block_on(first);
        drop(inode.arena[0].read());
        join([transfer, acknowledges]);
    });
}

/// A transfer that begins after a recall, on a layout that was learnt anew, does not hold that recall up.
pub fn a_recall_does_not_wait_for_transfers_of_later_epochs() {
    explore(|| {
        let inode = Inode::new();
        let epoch = inode.plan().expect("there is a layout");
        let runs = std::sync::Arc::clone(&inode);
        let transfer = thread::spawn(move || runs.run(0, epoch));
        let recall = inode.recall();
        inode.state.lock().mapped = true;
        let later = inode.plan();
        block_on(recall);
        drop(inode.arena[0].write());
        drop(later);
        join([transfer]);
    });
}
