//! The operation and the queue of the handler's executor, and what they play.

#[allow(dead_code, unreachable_pub, reason = "a play calls what it needs")]
#[path = "../../../../fs/src/executor/signals.rs"]
pub(crate) mod signals;
#[allow(dead_code, reason = "a play calls what it needs")]
#[path = "../../../../fs/src/executor/kill_watch.rs"]
pub(crate) mod kill_watch;
#[allow(dead_code, reason = "a play calls what it needs")]
#[path = "../../../../fs/src/executor/queue.rs"]
mod queue;
#[path = "../../../../fs/src/executor/task.rs"]
mod task;
mod operation;
mod plays;

pub use plays::*;
